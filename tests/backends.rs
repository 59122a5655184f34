//! Both backends of live capture and a file that tcpdump writes beside them, over the same traffic.
//!
//! Needs root, a kernel that allows eBPF, `ip`, python3 and tcpdump; says so where it is skipped.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::net::{
    Ended, Net, PATIENCE, Run, SENDER, balanced, contents, must, vanishes_and_returns, wait,
};
use crate::support;

/// Answers every request on some ports, and opaque bytes with opaque bytes; says when it listens.
const SERVER: &str = r"
import socket, sys, threading
def serve(connection):
    seen = b''
    with connection:
        while data := receive(connection):
            if data.startswith(b'\xfe\xca'):
                connection.sendall(b'\xca\xfe' * 50)
                continue
            seen += data
            while b'\r\n\r\n' in seen:
                _, seen = seen.split(b'\r\n\r\n', 1)
                connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
def receive(connection):
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b''
def listen(listener):
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
for port in map(int, sys.argv[1:]):
    listener = socket.create_server(('10.77.0.1', port), backlog=64)
    threading.Thread(target=listen, args=(listener,), daemon=True).start()
print('ready', flush=True)
threading.Event().wait()
";

/// Tokens on an unlisted port, at an offset, after 40 KiB of headers and in pieces; connections that are
/// opaque, one of which is followed by a clear one on the same ports.
const SPEAKER: &str = r"
import socket, time
def connect(port, local=0):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Closed by a reset, its port is free at once.
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.bind(('10.77.0.2', local))
    s.connect(('10.77.0.1', port))
    return s
def answered(s, count=1):
    seen = b''
    while seen.count(b'ok') < count:
        seen += s.recv(65536)
def request(path, token, headers=b''):
    line = b'GET /%s HTTP/1.1\r\nHost: gw\r\n' % path
    return line + headers + b'Authorization: Bearer %s\r\n\r\n' % token
def opaque(port, count, local=0, pause=0):
    s = connect(port, local)
    for n in range(count):
        s.sendall(b'\xfe\xca\0\1' * 200)
        s.recv(65536)
        if pause: time.sleep(pause)
    s.close()
for port in (18999, 8283):
    for n in range(5):
        s = connect(port)
        for m in range(4):
            s.sendall(request(b'pets', b'c4n4ry-%d-%d' % (n, m)))
            answered(s)
        s.close()
s = connect(8283)
s.sendall(request(b'late', b'c4n4ry-late', b''.join(b'X-%d: %s\r\n' % (n, b'x' * 1000) for n in range(40))))
answered(s)
for piece in [request(b'a', b'c4n4ry-pieces')[n:n + 7] for n in range(0, 70, 7)]:
    s.sendall(piece)
answered(s)
s.close()
opaque(19443, 400, pause=0.0005)
opaque(19443, 200, local=40001, pause=0.0005)
s = connect(19443, 40001)
s.sendall(request(b'again', b'c4n4ry-again'))
answered(s)
s.close()
for n in range(20):
    opaque(9446, 10)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(('10.77.0.2', 5353))
for n in range(40):
    u.sendto(b'\xfe\xca' * 50, ('10.77.0.1', 5683))
print('done')
";

/// The last packet of a capture.
const LAST: &str = "the last packet of the capture";

/// Sends it.
const END: &str = r"
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(sys.argv[1].encode(), ('10.77.0.1', 9))
";

/// Why these tests cannot run here, said on a line of its own, if they cannot.
fn is_skipped() -> bool {
    let obstacle = portreeve::capture::ebpf::probe().obstacle().or_else(|| {
        let mut tcpdump = Command::new("tcpdump");
        let ran = tcpdump.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        ran.err().map(|error| format!("no tcpdump: {error}"))
    });
    if let Some(obstacle) = &obstacle {
        let _ = writeln!(io::stderr(), "skipped: {obstacle}");
    }
    obstacle.is_some()
}

/// A net in which nobody speaks who was not asked to, and whose kernel joins up to so many segments.
fn quiet_net(segments: &str) -> Option<Net> {
    if is_skipped() {
        return None;
    }
    let net = Net::new()?;
    for (end, link) in [("a", "va"), ("b", "vb")] {
        let namespace = net.namespace(end);
        let quiet = "for f in default all; do \
            echo 1 >/proc/sys/net/ipv6/conf/$f/disable_ipv6; done";
        assert!(net.at(end, "sh").args(["-c", quiet]).status().unwrap().success());
        must(&["-n", &namespace, "link", "set", link, "mtu", "9000"]);
        must(&["-n", &namespace, "link", "set", link, "gso_max_segs", segments]);
    }
    Some(net)
}

/// A server that ends with its test.
fn serve(net: &Net, end: &str, ports: &[&str]) -> Ended {
    let mut command = net.at(end, "python3");
    let mut child =
        command.args(["-c", SERVER]).args(ports).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    Ended(child)
}

/// A capture by tcpdump.
struct Dump {
    child: Ended,
    errors: BufReader<std::process::ChildStderr>,
    dir: tempfile::TempDir,
}

impl Dump {
    fn start(net: &Net, end: &str, interface: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = net.at(end, "tcpdump");
        command.args(["-Z", "root", "-i", interface, "-s", "0", "-B", "65536", "-U", "-w"]);
        let mut child =
            command.arg(dir.path().join("beside.pcap")).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(errors.read_line(&mut line).unwrap() > 0, "tcpdump listens");
        }
        Self { child: Ended(child), errors, dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("beside.pcap")
    }

    /// Ends it when it has written the last packet that is sent now.
    fn end(&mut self, net: &Net) -> &Path {
        net.python("b", END, &[LAST]);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let bytes = fs::read(self.path()).unwrap();
            let tail = &bytes[bytes.len().saturating_sub(4096)..];
            if tail.windows(LAST.len()).any(|window| window == LAST.as_bytes()) {
                break;
            }
            assert!(Instant::now() < deadline, "tcpdump writes in time");
            std::thread::yield_now();
        }
        let id = self.child.0.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        assert!(wait(&mut self.child.0).is_some_and(|status| status.success()));
        let told: Vec<String> = (&mut self.errors).lines().map(Result::unwrap).collect();
        assert!(told.iter().any(|line| line.starts_with("0 packets dropped")), "{told:?}");
        self.dir.path()
    }
}

/// What three looks at the same traffic gave.
struct Beside {
    ebpf: Run,
    pcap: Run,
    file: Vec<Value>,
}

/// Watches the end `a` through both backends and tcpdump while somebody speaks.
fn watch_beside(net: &Net, speak: impl FnOnce()) -> Beside {
    let mut dump = Dump::start(net, "a", "va");
    let watch = |backend| {
        net.watch("a", &["-i", "va", "--backend", backend, "--format", "ndjson", "--stats", "1"])
    };
    let (mut ebpf, mut pcap) = (watch("ebpf"), watch("pcap"));
    speak();
    dump.end(net);
    let path = dump.path();
    let ran = support::run(["analyze", "--format", "ndjson", path.to_str().unwrap()]);
    let file = ran.records();
    for run in [&mut ebpf, &mut pcap] {
        run.signal("INT");
        assert_eq!(run.end(), ran.code, "{:?}", run.words);
        balanced(&run.summary()["ledger"]["total"]);
        assert_eq!(run.summary()["ledger"]["total"]["dropped"], serde_json::json!({}));
    }
    Beside { ebpf, pcap, file }
}

fn in_flows(ledger: &Value) -> u64 {
    ["classified", "unclassified"].iter().filter_map(|name| ledger[name].as_u64()).sum()
}

/// Asserts that two reports have the same findings and flows, and names those that differ.
fn assert_same(what: &str, one: &[Value], two: &[Value]) {
    let (one, two) = (contents(one), contents(two));
    let beyond = |a: &BTreeMap<String, u64>, b: &BTreeMap<String, u64>| -> Vec<String> {
        let own = a.iter().filter(|(name, count)| b.get(*name) != Some(*count));
        own.map(|(name, count)| format!("{count} × {name}")).take(20).collect()
    };
    let none = (Vec::<String>::new(), Vec::<String>::new());
    assert_eq!((beyond(&one.0, &two.0), beyond(&two.0, &one.0)), none, "alerts of {what}");
    assert_eq!((beyond(&one.1, &two.1), beyond(&two.1, &one.1)), none, "flows of {what}");
}

#[test]
fn the_same_traffic_gives_the_same_by_ebpf_by_libpcap_and_from_a_file() {
    let Some(net) = quiet_net("1") else { return };
    let _server = serve(&net, "a", &["18999", "8283", "9446", "19443"]);
    // A real JMX session on a learned port, and every capture of the tree that an Ethernet takes.
    let captures: Vec<String> = support::captures()
        .into_values()
        .filter(|path| sendable(path))
        .map(|path| path.to_str().unwrap().to_owned())
        .collect();
    assert!(captures.len() > 60, "{} captures", captures.len());
    let beside = watch_beside(&net, || {
        net.python("b", SPEAKER, &[]);
        let mut arguments = vec!["vb", "1"];
        arguments.extend(captures.iter().map(String::as_str));
        net.python("b", SENDER, &arguments);
    });
    let Beside { ebpf, pcap, file } = &beside;
    let tokens = |records: &[Value], port: u64| -> u64 {
        let of = contents(records).0;
        of.iter()
            .filter(|(name, _)| {
                name.contains(&format!(" {port} \"TCP\"")) && name.contains("plaintext-bearer")
            })
            .filter(|(name, _)| name.contains("10.77.0.2"))
            .map(|(_, count)| count)
            .sum()
    };
    for records in [&ebpf.records, &pcap.records, file] {
        assert_eq!(
            (tokens(records, 18999), tokens(records, 8283), tokens(records, 19443)),
            (20, 22, 1)
        );
    }
    assert_same("libpcap and the file", &pcap.records, file);
    assert_same("eBPF and the file", &ebpf.records, file);
    let total = in_flows(&file.last().unwrap()["portreeve"]["ledger"]["total"]);
    for run in [ebpf, pcap] {
        assert_eq!(in_flows(&run.summary()["ledger"]["total"]), total);
    }
}

/// Tells whether the sender reads a capture, and the net carries its frames.
fn sendable(path: &Path) -> bool {
    let bytes = fs::read(path).unwrap();
    if !bytes.starts_with(&[0xd4, 0xc3, 0xb2, 0xa1]) || bytes.get(20..22) != Some(&[1, 0]) {
        return false;
    }
    let number = |at: usize| {
        bytes.get(at..at + 4).map(|four| u32::from_le_bytes(four.try_into().unwrap()) as usize)
    };
    let mut at = 24;
    while let (Some(size), Some(wire)) = (number(at + 8), number(at + 12)) {
        if size != wire || !(14..=9000).contains(&size) {
            return false;
        }
        at += 16 + size;
    }
    at == bytes.len()
}

#[test]
fn what_offload_merged_is_marked_and_has_the_same_payload() {
    let Some(net) = quiet_net("64") else { return };
    for (end, link) in [("a", "va"), ("b", "vb")] {
        must(&["-n", &net.namespace(end), "link", "set", link, "mtu", "1500"]);
    }
    let _server = serve(&net, "a", &["18999", "8283", "9446", "19443"]);
    let program = format!(
        "{SPEAKER}\ns = connect(19443)\nfor n in range(40):\n    s.sendall(b'\\xfe\\xca\\0\\1' * 50000)\n    s.recv(65536)\ns.close()"
    );
    let Beside { ebpf, pcap, file } = watch_beside(&net, || {
        net.python("b", &program, &[]);
    });
    // Payload by the flow's ends; what a flow is marked with.
    let flows = |records: &[Value]| -> BTreeMap<String, (u64, u64, bool)> {
        let flows = records.iter().filter(|record| record["event_type"] == "flow");
        flows
            .filter(|flow| flow["proto"] == "TCP")
            .map(|flow| {
                let ends = [&flow["src_port"], &flow["dest_port"], &flow["portreeve"]["history"]];
                let number = |name: &str| flow["flow"][name].as_u64().unwrap();
                // Ethernet, IPv4 and TCP with time stamps; the SYN has eight bytes of options more.
                let payload = number("bytes_toserver") - 66 * number("pkts_toserver");
                let is_merged = flow["portreeve"].get("merged").is_some();
                (format!("{} {}", ends[0], ends[1]), (payload, number("pkts_toserver"), is_merged))
            })
            .collect()
    };
    let (ebpf, pcap, file) = (flows(&ebpf.records), flows(&pcap.records), flows(&file));
    let mut merged = 0;
    for (ends, (payload, packets, is_merged)) in &ebpf {
        let (beside, captured, marked) = pcap[ends];
        assert_eq!((*payload, *payload), (beside, file[ends].0), "payload of {ends}");
        assert_eq!(*is_merged, marked, "{ends}: {packets} packets, {captured} through libpcap");
        assert!(*packets == captured || *is_merged, "{ends}: {packets} and {captured}");
        merged += u64::from(*is_merged);
    }
    assert!(merged >= 2, "{merged} of {}", ebpf.len());
}

#[test]
fn two_interfaces_at_once_are_told_apart_by_both_backends() {
    let Some(net) = quiet_net("1") else { return };
    let (a, b) = (net.namespace("a"), net.namespace("b"));
    must(&["link", "add", "wa", "netns", &a, "type", "veth", "peer", "name", "wb", "netns", &b]);
    must(&["-n", &a, "link", "set", "wa", "up"]);
    must(&["-n", &b, "link", "set", "wb", "up"]);
    let capture = support::root().join("captures/demo.pcap");
    let capture = capture.to_str().unwrap();
    for backend in ["ebpf", "pcap"] {
        let arguments = ["-i", "va", "-i", "wa", "--backend", backend, "--format", "ndjson"];
        let mut run = net.watch("a", &[&arguments[..], &["--stats", "1"]].concat());
        // The directions of the connections on two interfaces, as a tap gives them.
        let (there, back) = directions(Path::new(capture));
        let sent = net.python("b", TWO_WAYS, &["vb", "wb", capture]);
        assert_eq!(sent, format!("{there} {back}"));
        run.wait_for_frames(there + back);
        run.signal("INT");
        run.end();
        let file = support::run(["analyze", "--format", "ndjson", capture]).records();
        assert_same(backend, &run.records, &file);
        let ledger = &run.summary()["ledger"];
        assert_eq!(balanced(&ledger["total"]), there + back);
        let points = ledger["points"].as_array().unwrap();
        let by_point: Vec<_> = points
            .iter()
            .map(|point| (point["in_iface"].as_str().unwrap(), balanced(point)))
            .collect();
        assert_eq!(by_point, [("va", there), ("wa", back)], "{backend}");
    }
}

/// Sends the frames of a capture through two interfaces: the lower source address through the first.
const TWO_WAYS: &str = r"
import socket, struct, sys
data = open(sys.argv[3], 'rb').read()
outs = []
for name in sys.argv[1:3]:
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    out.bind((name, 0))
    outs.append(out)
at, sent = 24, [0, 0]
while at < len(data):
    size = struct.unpack_from('<I', data, at + 8)[0]
    frame = data[at + 16:at + 16 + size]
    way = int(frame[6:12] > frame[0:6])
    outs[way].send(frame)
    sent[way] += 1
    at += 16 + size
print(*sent)
";

/// Counts the frames of a capture by direction, as the sender divides them.
fn directions(path: &Path) -> (u64, u64) {
    let bytes = fs::read(path).unwrap();
    let (mut at, mut sent) = (24, [0, 0]);
    while at < bytes.len() {
        let size = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        let frame = &bytes[at + 16..at + 16 + size];
        sent[usize::from(frame[6..12] > frame[0..6])] += 1;
        at += 16 + size;
    }
    (sent[0], sent[1])
}

#[test]
fn a_stalled_run_loses_no_count_and_is_inconclusive() {
    let Some(net) = quiet_net("1") else { return };
    let _server = serve(&net, "a", &["18999", "8283", "9446", "19443"]);
    let mut dump = Dump::start(&net, "a", "va");
    let arguments = ["-i", "va", "--backend", "ebpf", "--format", "ndjson", "--buffer", "256K"];
    let mut run = net.watch("a", &arguments);
    run.signal("STOP");
    net.python("b", SPEAKER, &[]);
    dump.end(&net);
    run.signal("CONT");
    run.signal("INT");
    run.end();
    let file = support::run(["analyze", "--format", "ndjson", dump.path().to_str().unwrap()]);
    let counted = |records: &[Value]| -> BTreeMap<String, u64> {
        let flows = records.iter().filter(|record| record["event_type"] == "flow");
        let mut all = BTreeMap::new();
        for flow in flows {
            let ports = [&flow["src_port"], &flow["dest_port"]].map(|port| port.as_u64().unwrap());
            let names = ["pkts_toserver", "pkts_toclient", "bytes_toserver", "bytes_toclient"];
            let mut ports = ports;
            ports.sort_unstable();
            for name in names {
                let sum: &mut u64 = all.entry(format!("{ports:?} {}", &name[..4])).or_default();
                *sum += flow["flow"][name].as_u64().unwrap();
            }
        }
        all
    };
    assert_eq!(counted(&run.records), counted(&file.records()));
    let summary = run.summary();
    let ledger = &summary["ledger"]["total"];
    balanced(ledger);
    assert!(ledger["uninspected"]["sample"].as_u64() > Some(10), "{ledger}");
    let reasons: Vec<_> = summary["verdict"]["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| reason["reason"].as_str().unwrap())
        .collect();
    assert!(!reasons.is_empty(), "{}", summary["verdict"]);
}

#[test]
fn an_interface_that_vanishes_is_taken_up_on_its_return_by_both_backends() {
    if is_skipped() {
        return;
    }
    let Some(net) = Net::new() else { return };
    for backend in ["ebpf", "pcap"] {
        vanishes_and_returns(&net, &["--backend", backend]);
    }
}

#[test]
fn the_backend_is_chosen_and_the_choice_explained() {
    let Some(net) = quiet_net("1") else { return };
    let words = |arguments: &[&str]| {
        let mut run = net.watch("a", &[arguments, &["--format", "ndjson"]].concat());
        run.signal("INT");
        run.end();
        let backend = run.summary()["run"]["live"]["backend"].as_str().unwrap().to_owned();
        (backend, run.words.iter().find(|line| line.contains("watching")).unwrap().clone())
    };
    let (backend, line) = words(&["-i", "va", "--filter", "tcp"]);
    assert_eq!(backend, "libpcap");
    assert!(line.contains("not eBPF: it counts before any filter"), "{line}");
    let (backend, line) = words(&["-i", "any"]);
    assert_eq!(backend, "libpcap");
    assert!(line.contains("not eBPF: it watches interfaces by name"), "{line}");
    let (backend, line) = words(&["-i", "va"]);
    assert_eq!(backend, "ebpf");
    assert!(line.contains("through eBPF"), "{line}");
}
