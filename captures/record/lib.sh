# What the recording scripts share: a network namespace of their own, a capture of its loopback interface,
# and an end that leaves nothing behind. Sourced, with bash; needs root, iproute2 and tcpdump.
set -euo pipefail

die() { echo "$0: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "needs root, to make a network namespace"
[ $# = 1 ] || die "say where the capture is to go: $0 OUT.pcap"
out=$(realpath -m "$1")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
space="portreeve-record-$$"
work=$(mktemp -d)
chmod 755 "$work"
started=()

finish() {
    set +e
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null; done
    for pid in "${started[@]}"; do wait "$pid" 2>/dev/null; done
    ip netns del "$space" 2>/dev/null
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

need() { for tool; do command -v "$tool" >/dev/null || die "needs $tool"; done; }
need ip tcpdump

ip netns add "$space"
ip -n "$space" link set lo up

# Runs something in the namespace, for at most a minute.
inside() { timeout 60 ip netns exec "$space" "$@"; }

# Starts a server in the namespace; it ends with the script.
server() {
    ip netns exec "$space" "$@" >"$work/server.$RANDOM.log" 2>&1 &
    started+=($!)
}

# Waits until somebody listens on a TCP port.
listening() {
    for _ in $(seq 300); do
        if ip netns exec "$space" ss -Hltn "sport = :$1" | grep -q .; then return; fi
        read -rt 0.1 <> <(:) || true
    done
    tail -n 5 "$work"/server.*.log >&2
    die "nobody listens on port $1"
}

# Begins to capture; returns when tcpdump is ready.
capture() {
    ip netns exec "$space" tcpdump -Z root -U -B 8192 -i lo -w "$out" "$@" 2>"$work/tcpdump.log" &
    tcpdump_pid=$!
    started+=("$tcpdump_pid")
    for _ in $(seq 100); do
        grep -q listening "$work/tcpdump.log" && return
        read -rt 0.1 <> <(:) || true
    done
    die "tcpdump does not start: $(cat "$work/tcpdump.log")"
}

# Ends the capture, once its last frames are written.
captured() {
    read -rt 1 <> <(:) || true
    kill -INT "$tcpdump_pid"
    wait "$tcpdump_pid" || true
    echo "$out: $(stat -c %s "$out") bytes" >&2
}
