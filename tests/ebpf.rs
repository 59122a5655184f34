//! The eBPF backend on real interfaces. Needs root, a kernel that allows it, `ip` and python3; says so
//! where it is skipped.
//!
//! Each test makes two network namespaces with a veth pair between them, runs itself again inside the
//! first one, where it watches, and speaks from the second one. What it made it removes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aya::programs::{SchedClassifier, TcAttachType};
use portreeve::capture::ebpf::{Attach, Ebpf, Options};
use portreeve::capture::file::{self, Files, Input};
use portreeve::capture::{Block, Event, Source};
use portreeve::decode;
use portreeve::flow::Flow;
use portreeve::inspect::secret::Fingerprinter;
use portreeve::inspect::{EvidenceKind, Tools, Uninspected};
use portreeve::packet::{PointId, Side, Transport};
use portreeve::pipeline::{Config, Gathered, Workers, gather};

/// Set in the process that runs inside the namespace: names both.
const INSIDE: &str = "PORTREEVE_TEST_NAMESPACES";

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);

const HERE: &str = "10.213.0.1";
const THERE: &str = "10.213.0.2";

/// Two namespaces and the pair `here`–`there` between them.
struct Lab {
    here: String,
    there: String,
}

impl Lab {
    fn ip(args: &[&str]) {
        let output = Command::new("ip").args(args).output().expect("ip runs");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip {}: {message}", args.join(" "));
    }

    fn build(test: &str) -> Self {
        let name = |end: &str| format!("pr{}{end}-{}", std::process::id(), test.len());
        let lab = Self { here: name("a"), there: name("b") };
        for namespace in [&lab.here, &lab.there] {
            Self::ip(&["netns", "add", namespace]);
            // No traffic of the machine's own: what is counted is what the test sent.
            let quiet = "for f in default all; do \
                echo 1 >/proc/sys/net/ipv6/conf/$f/disable_ipv6; done";
            Self::ip(&["netns", "exec", namespace, "sh", "-c", quiet]);
            Self::ip(&["-n", namespace, "link", "set", "lo", "up"]);
        }
        let (here, there) = (lab.here.as_str(), lab.there.as_str());
        let pair = ["type", "veth", "peer", "name", "there", "netns", there];
        Self::ip(&[&["-n", here, "link", "add", "here"][..], &pair[..]].concat());
        for (namespace, link, address) in [(here, "here", HERE), (there, "there", THERE)] {
            let address = format!("{address}/24");
            Self::ip(&["-n", namespace, "addr", "add", &address, "dev", link]);
            Self::ip(&["-n", namespace, "link", "set", link, "gso_max_segs", "1"]);
            Self::ip(&["-n", namespace, "link", "set", link, "up"]);
        }
        lab
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [&self.here, &self.there] {
            drop(Command::new("ip").args(["netns", "del", namespace]).status());
        }
    }
}

/// Why the tests cannot run here, if they cannot.
fn obstacle() -> Option<String> {
    if let Some(obstacle) = portreeve::capture::ebpf::probe().obstacle() {
        return Some(obstacle);
    }
    let missing = |program: &&&str| {
        let mut found = Command::new(program);
        found.arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err()
    };
    ["ip", "python3", "tcpdump", "tc"].iter().find(missing).map(|program| format!("no {program}"))
}

/// Says on a line of its own, past the harness that would swallow it, what was not tested.
fn skip(reason: &str) {
    let line = format!("SKIPPED {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Runs a test inside namespaces of its own.
fn in_lab(test: &str, body: impl FnOnce(&Inside)) {
    if let Ok(names) = std::env::var(INSIDE) {
        let (here, there) = names.split_once(' ').unwrap();
        return body(&Inside { here: here.to_owned(), there: there.to_owned() });
    }
    if let Some(obstacle) = obstacle() {
        skip(&format!("ebpf::{test}: {obstacle}"));
        return;
    }
    let lab = Lab::build(test);
    let own = std::env::current_exe().unwrap();
    let output = Command::new("ip")
        .args(["netns", "exec", &lab.here])
        .arg(own)
        .args(["--exact", &format!("ebpf::{test}"), "--nocapture", "--test-threads", "1"])
        .env(INSIDE, format!("{} {}", lab.here, lab.there))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "inside the namespace:\n{text}\n{error}");
    assert!(text.contains("1 passed"), "the test ran inside: {text}");
}

/// What a test has inside its namespace.
struct Inside {
    here: String,
    there: String,
}

impl Inside {
    /// Starts a Python program in the other namespace.
    fn peer(&self, program: &str) -> Peer {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.there, "python3", "-u", "-c", program])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Peer { child, lines }
    }
}

/// A program in the other namespace.
struct Peer {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Peer {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn end(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

/// A capture that runs on a thread of its own until it is stopped.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// What a capture saw.
struct Seen {
    gathered: Gathered,
    dropped: u64,
    flow_full: u64,
}

fn watch(interfaces: &[&str], options: &Options) -> Watch {
    let stop = Arc::clone(&options.stop);
    // Attached before anything is sent.
    let mut source = Ebpf::open(interfaces, options).unwrap();
    let thread = std::thread::spawn(move || {
        let gathered = run(&mut source);
        let points = 0..u16::try_from(source.points().len()).unwrap();
        let dropped = points.map(|point| source.dropped(PointId(point)).ring).sum();
        Seen { gathered, dropped, flow_full: source.flow_full() }
    });
    Watch { stop, thread }
}

impl Watch {
    fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn run(source: &mut dyn Source) -> Gathered {
    let mut config = Config {
        workers: Workers::Threads(2.try_into().unwrap()),
        decode: decode::Options::default(),
        separate: false,
        since: None,
        until: None,
        filter: None,
        on_progress: Box::new(|_| {}),
        on_broken: Box::new(|_| {}),
    };
    let fingerprinter = Fingerprinter::new(b"test");
    let tools = Tools { options: portreeve::inspect::Options::default(), fingerprinter };
    gather(source, &mut config, &tools).unwrap()
}

/// Packets and bytes by the two ends of each flow, in the order of the flows' first packets.
type Counts = BTreeMap<(SocketAddr, SocketAddr), Vec<([u64; 2], [u64; 2])>>;

fn counts(gathered: &Gathered) -> Counts {
    let mut counts = Counts::new();
    let mut flows: Vec<_> =
        gathered.shards.iter().flat_map(|shard| shard.flows().map(|(_, flow)| flow)).collect();
    flows.sort_by_key(|flow| flow.first);
    for flow in flows {
        let ends = (flow.key.endpoint(Side::Low), flow.key.endpoint(Side::High));
        counts.entry(ends).or_default().push((flow.packets, flow.bytes));
    }
    counts
}

fn packets_of_port(counts: &Counts, port: u16) -> u64 {
    let flows = counts.iter().filter(|((a, b), _)| a.port() == port || b.port() == port);
    flows.flat_map(|(_, flows)| flows).map(|(packets, _)| packets[0] + packets[1]).sum()
}

/// Zeek's state and history of each TCP flow, in the order of their first packets.
fn histories(gathered: &Gathered) -> Vec<(SocketAddr, SocketAddr, &'static str, String)> {
    let mut flows: Vec<_> =
        gathered.shards.iter().flat_map(|shard| shard.flows().map(|(_, flow)| flow)).collect();
    flows.retain(|flow| flow.key.transport() == Transport::Tcp);
    flows.sort_by_key(|flow| flow.first);
    let row = |flow: &&Flow| {
        let initiator = flow.tcp.initiator().expect("each was seen from its SYN on");
        let (low, high) = (flow.key.endpoint(Side::Low), flow.key.endpoint(Side::High));
        (low, high, flow.tcp.conn_state(initiator), flow.history.to_text(initiator))
    };
    flows.iter().map(row).collect()
}

/// A capture by tcpdump of the interface `here`.
struct Dump {
    child: Child,
    errors: BufReader<std::process::ChildStderr>,
    dir: tempfile::TempDir,
}

impl Dump {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new("tcpdump")
            .args(["-Z", "root", "-i", "here", "-s", "2000", "-B", "65536", "-U", "-w"])
            .arg(dir.path().join("beside.pcap"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(errors.read_line(&mut line).unwrap() > 0, "tcpdump listens");
        }
        Self { child, errors, dir }
    }

    /// Waits until it has written all that was sent so far.
    fn settle(&self) {
        const LAST: &[u8] = b"the last packet of the capture";
        let socket = UdpSocket::bind((HERE, 0)).unwrap();
        socket.set_broadcast(true).unwrap();
        socket.send_to(LAST, "10.213.0.255:9").unwrap();
        let end = Instant::now() + PATIENCE;
        loop {
            let bytes = std::fs::read(self.dir.path().join("beside.pcap")).unwrap();
            let tail = &bytes[bytes.len().saturating_sub(4096)..];
            if tail.windows(LAST.len()).any(|window| window == LAST) {
                return;
            }
            assert!(Instant::now() < end, "tcpdump writes in time");
            std::thread::yield_now();
        }
    }

    /// Ends it and reads what it wrote.
    fn end(mut self) -> Gathered {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        let told: Vec<String> = self.errors.lines().map(Result::unwrap).collect();
        assert!(told.iter().any(|line| line.starts_with("0 packets dropped")), "{told:?}");
        let path = self.dir.path().join("beside.pcap");
        run(&mut Files::open(vec![Input::Path(path)], &file::Options::default()).unwrap())
    }
}

/// How often each kind of evidence was seen in all flows.
fn evidence(gathered: &Gathered, kind: EvidenceKind) -> u64 {
    let facts = gathered.shards.iter().flat_map(|shard| {
        shard.flows().filter_map(|(number, _)| shard.facts(number)).collect::<Vec<_>>()
    });
    facts.flat_map(|facts| &facts.evidence).filter(|e| e.kind == kind).map(|e| e.count).sum()
}

/// Takes everything that comes, as a server that answers every read with the same bytes.
fn serve(port: u16, answer: &'static [u8]) {
    let listener = TcpListener::bind((HERE, port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut buffer = [0; 16384];
                while let Ok(len) = std::io::Read::read(&mut stream, &mut buffer) {
                    if len == 0 || stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

const HTTP_CLIENT: &str = r"
import socket
for n in range(20):
    s = socket.create_connection(('10.213.0.1', 18280))
    for m in range(5):
        body = b'x' * 300
        s.sendall(b'POST /t/%d HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer tok%d-%d\r\n'
                  b'Content-Length: 300\r\n\r\n' % (m, n, m) + body)
        s.recv(65536)
    s.close()
print('done')
";

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What nobody recognises.
const OPAQUE: &[u8] = b"\xfe\xca\x00\x01\x02\x03\xfe\xca\x00\x01\x02\x03\xfe\xca\x00\x01";

/// An opaque conversation of as many requests as the argument says, on a local port of its own.
const OPAQUE_CLIENT: &str = r"
import socket, sys
def opaque(port, requests, local=0, len=1000, drain=False):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
    s.bind(('10.213.0.2', local))
    s.connect(('10.213.0.1', port))
    for n in range(requests):
        s.sendall(b'\xfe\xca\0\1' * (len // 4))
        s.recv(65536)
        yield
    if drain:
        s.shutdown(socket.SHUT_WR)
        while s.recv(65536): pass
    s.close()
";

/// Every flow of port 18280 and 19999 as tcpdump saw it: the same packets, bytes and order.
#[test]
fn counts_and_tokens_are_those_of_a_capture_taken_beside() {
    in_lab("counts_and_tokens_are_those_of_a_capture_taken_beside", |inside| {
        let dump = Dump::start();
        let watch = watch(&["here"], &Options::default());
        serve(18280, OK);
        serve(19999, OPAQUE);
        let program = format!(
            "{OPAQUE_CLIENT}\n{HTTP_CLIENT}\nimport time\n\
            for _ in opaque(19999, 3000): time.sleep(0.0005)\n\
            for i in range(3):\n  for _ in opaque(19999, 5): pass\nprint('all')"
        );
        let mut peer = inside.peer(&program);
        assert_eq!((peer.line(), peer.line()), ("done".to_owned(), "all".to_owned()));
        peer.end();
        dump.settle();
        let seen = watch.end();
        let file = dump.end();
        assert_eq!(evidence(&seen.gathered, EvidenceKind::BearerToken), 100);
        assert_eq!(evidence(&file, EvidenceKind::BearerToken), 100);
        assert_eq!(counts(&seen.gathered), counts(&file));
        assert_eq!(histories(&seen.gathered), histories(&file));
        let (frames, packets) = (seen.gathered.front.frames, file.front.frames);
        assert!(frames < packets / 2, "opaque packets stay in the kernel: {frames} of {packets}");
        let total = seen.gathered.front.ledger.total();
        assert!(total.received >= packets, "{} of {packets}", total.received);
        assert_eq!(seen.dropped + seen.flow_full, 0);
    });
}

/// Frames of every odd kind, as bytes on the wire.
const ODDITIES: &str = r"
import socket, struct
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('there', 0))
eth = b'\xff' * 6 + b'\x02\0\0\0\0\x02'
def send(frame):
    for n in range(3): s.send(frame)
def sum16(b):
    t = sum(struct.unpack('>%dH' % (len(b) // 2), b))
    t = (t & 0xffff) + (t >> 16)
    return ~(t + (t >> 16)) & 0xffff
def ip4(proto, body, frag=0, options=b'', src='10.9.0.1', dst='10.9.0.2', id=7):
    def head(c): return struct.pack('>BBHHHBBH', 0x45 + len(options) // 4, 0,
        20 + len(options) + len(body), id, frag, 64, proto, c) + socket.inet_aton(src) + \
        socket.inet_aton(dst) + options
    return head(sum16(head(0))) + body
def ip6(next, body):
    return struct.pack('>IHBB', 0x60000000, len(body), next, 64) + b'\xfd' + b'\0' * 14 + b'\1' + \
        b'\xfd' + b'\0' * 14 + b'\2' + body
def udp(sport, dport, body): return struct.pack('>HHHH', sport, dport, 8 + len(body), 0) + body
def tcp(sport, dport, body, flags=24, seq=100, options=b''):
    return struct.pack('>HHIIBBHHH', sport, dport, seq, 1, (5 + len(options) // 4) << 4, flags,
        1000, 0, 0) + options + body
def e(kind, body): return eth + struct.pack('>H', kind) + body
def vlan(id, kind, body, tag=0x8100): return tag, struct.pack('>HH', id, kind) + body
send(e(0x800, ip4(17, udp(1001, 2001, b'plain'))))
send(e(0x800, ip4(17, udp(1002, 2002, b'padded'))) + b'\0' * 30)
send(e(0x800, ip4(6, tcp(1003, 2003, b'options', options=b'\1' * 12), options=b'\1\1\1\0')))
send(e(*vlan(7, 0x800, ip4(17, udp(1004, 2004, b'vlan')))))
send(e(*vlan(0, 0x800, ip4(17, udp(1005, 2005, b'priority')))))
tag, body = vlan(8, 0x800, ip4(6, tcp(1006, 2006, b'two tags')))
send(e(*vlan(9, tag, body, tag=0x88a8)))
tag, body = vlan(3, *vlan(2, 0x800, ip4(17, udp(1007, 2007, b'three tags'))))
send(e(*vlan(1, tag, body)))
send(e(0x86dd, ip6(17, udp(1008, 2008, b'six'))))
hop = b'\x3c\0\1\4\0\0\0\0'
dst = b'\x06\1\1\x0c' + b'\0' * 12
send(e(0x86dd, ip6(0, hop + dst + tcp(1009, 2009, b'extensions'))))
route = b'\x11\2\0\1\0\0\0\0' + b'\xfd' + b'\0' * 14 + b'\7'
send(e(0x86dd, ip6(43, route + udp(1010, 2010, b'route'))))
send(e(0x86dd, ip6(44, b'\x11\0\0\0\0\0\0\1' + udp(1011, 2011, b'atomic'))))
big = udp(1012, 2012, b'f' * 1992)
send(e(0x800, ip4(17, big[:1000], frag=0x2000, id=1)) ); send(e(0x800, ip4(17, big[1000:], frag=125, id=1)))
send(e(0x800, ip4(17, big[:1000], frag=0x2000, id=2)) )
inner = e(0x800, ip4(6, tcp(1013, 2013, b'inside')))
send(e(0x800, ip4(17, udp(1014, 4789, b'\x08\0\0\0\0\0\x2a\0' + inner))))
send(e(0x800, ip4(47, b'\0\0\x08\0' + ip4(17, udp(1015, 2015, b'gre')))))
send(e(0x800, ip4(4, ip4(17, udp(1016, 2016, b'ipip')))))
send(e(0x800, ip4(1, b'\x08\0\xf7\xff\0\0\0\0')))
send(e(0x800, ip4(132, b'\0' * 12)))
send(e(0x88cc, b'\0' * 50))
send(e(0x800, ip4(6, tcp(1017, 2017, b''))[:30]))
send(e(0x800, ip4(6, b'\x03\xfa\x07\xe2' + b'\0' * 16)))
send(e(0x800, ip4(17, struct.pack('>HHHH', 1018, 2018, 7, 0))))
send(e(0x800, ip4(17, udp(1019, 2019, b'to itself'), src='10.9.0.1', dst='10.9.0.1')))
send(e(0x800, ip4(17, udp(2020, 1020, b'back'), src='10.9.0.2', dst='10.9.0.1')))
print('done')
";

#[test]
fn every_odd_frame_counts_as_in_a_capture_taken_beside() {
    in_lab("every_odd_frame_counts_as_in_a_capture_taken_beside", |inside| {
        let dump = Dump::start();
        let watch = watch(&["here"], &Options::default());
        let mut peer = inside.peer(ODDITIES);
        assert_eq!(peer.line(), "done");
        peer.end();
        dump.settle();
        let seen = watch.end().gathered;
        let file = dump.end();
        assert_eq!(counts(&seen), counts(&file));
        let (seen, file) = (seen.front.ledger.total(), file.front.ledger.total());
        assert_eq!(seen, file);
        assert!(seen.received > 70);
    });
}

#[test]
fn a_stalled_user_space_loses_no_count_and_marks_what_it_missed() {
    in_lab("a_stalled_user_space_loses_no_count_and_marks_what_it_missed", |inside| {
        let dump = Dump::start();
        let options = Options { ring_len: 1 << 18, ..Options::default() };
        let stop = Arc::clone(&options.stop);
        let mut source = Ebpf::open(&["here"], &options).unwrap();
        serve(19999, OPAQUE);
        // Three connections on one five-tuple, and nobody reads.
        let program = format!(
            "{OPAQUE_CLIENT}\nfor i in range(3):\n  for _ in opaque(19999, 400, 40000 + i // 2): pass\n\
            print('done')"
        );
        let mut peer = inside.peer(&program);
        assert_eq!(peer.line(), "done");
        peer.end();
        dump.settle();
        let dumped = dump.end();
        stop.store(true, Ordering::Relaxed);
        let seen = run(&mut source);
        assert_eq!(counts(&seen), counts(&dumped));
        assert_eq!(source.dropped(PointId(0)).ring, 0, "every packet was keyed or handed up");
        let marked: u64 = seen.front.ledger.total().uninspected["sample"];
        assert!(marked > 500, "{marked}");
        let facts = seen.shards.iter().flat_map(|shard| {
            let ours = shard.flows().filter(|(_, flow)| flow.key.port(Side::Low) == 19999);
            ours.map(|(number, _)| shard.facts(number).map(|facts| facts.uninspected))
        });
        let marks: Vec<_> = facts.collect();
        assert_eq!(marks.len(), 3);
        // Of the first one enough was in the ring to decide that it is opaque.
        let marked = marks.iter().filter(|mark| mark.is_some_and(|m| m.has(Uninspected::SAMPLE)));
        assert_eq!(marked.count(), 2);
    });
}

/// The first connection is opaque and muted; the next one on the same five-tuple is clear.
#[test]
fn a_reused_tuple_is_looked_into_again() {
    in_lab("a_reused_tuple_is_looked_into_again", |inside| {
        let dump = Dump::start();
        let watch = watch(&["here"], &Options::default());
        serve(18281, OK);
        let program = format!(
            "{OPAQUE_CLIENT}\nimport time\n\
            for _ in opaque(18281, 600, 40001): time.sleep(0.0005)\n\
            s = socket.socket()\n\
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
            s.bind(('10.213.0.2', 40001))\n\
            s.connect(('10.213.0.1', 18281))\n\
            s.sendall(b'GET / HTTP/1.1\\r\\nHost: a\\r\\nAuthorization: Bearer x\\r\\n\\r\\n')\n\
            s.recv(100)\n\
            s.close()\n\
            print('done')"
        );
        let mut peer = inside.peer(&program);
        assert_eq!(peer.line(), "done");
        peer.end();
        dump.settle();
        let seen = watch.end().gathered;
        let file = dump.end();
        assert_eq!(evidence(&seen, EvidenceKind::BearerToken), 1);
        assert_eq!(counts(&seen), counts(&file));
        assert_eq!(histories(&seen), histories(&file));
        assert!(seen.front.frames < file.front.frames, "the first was muted");
    });
}

#[test]
fn what_offload_merged_is_counted_as_on_the_wire() {
    in_lab("what_offload_merged_is_counted_as_on_the_wire", |inside| {
        for (namespace, link) in [(&inside.here, "here"), (&inside.there, "there")] {
            Lab::ip(&["-n", namespace, "link", "set", link, "gso_max_segs", "64"]);
        }
        let dump = Dump::start();
        let watch = watch(&["here"], &Options::default());
        serve(19998, b"\xfe\xca");
        let program = format!(
            "{OPAQUE_CLIENT}\nfor _ in opaque(19998, 40, len=200000, drain=True): pass\nprint('done')"
        );
        let mut peer = inside.peer(&program);
        assert_eq!(peer.line(), "done");
        peer.end();
        dump.settle();
        let seen = watch.end().gathered;
        let file = dump.end();
        // Ethernet, IPv4, TCP with timestamps; the SYN has eight bytes of options more.
        let sent = |gathered: &Gathered| {
            let all = counts(gathered);
            let (ends, flows) = all.iter().find(|(ends, _)| ends.0.port() == 19998).unwrap();
            let [(packets, bytes)] = flows[..] else { panic!("one flow: {flows:?}") };
            let side = usize::from(ends.1.ip() == THERE.parse::<IpAddr>().unwrap());
            (packets[side], bytes[side] - packets[side] * 66 - 8)
        };
        let ((packets, payload), (merged, beside)) = (sent(&seen), sent(&file));
        assert_eq!(payload, beside);
        assert!(payload >= 40 * 200_000);
        assert!(packets >= payload.div_ceil(1448));
        assert!(merged < packets / 2, "they came merged: {merged} for {packets}");
    });
}

#[test]
fn the_loopback_counts_each_packet_once() {
    in_lab("the_loopback_counts_each_packet_once", |_| {
        let watch = watch(&["lo", "here"], &Options::default());
        let receiver = UdpSocket::bind("127.0.0.1:2222").unwrap();
        for _ in 0..50 {
            let sender = UdpSocket::bind("127.0.0.1:2223").unwrap();
            sender.send_to(b"hello", "127.0.0.1:2222").unwrap();
            receiver.recv(&mut [0; 16]).unwrap();
        }
        let seen = watch.end().gathered;
        assert_eq!(packets_of_port(&counts(&seen), 2222), 50);
        assert_eq!(seen.front.ledger.points()[0].received, 50);
    });
}

#[test]
fn a_full_table_of_flows_loses_nothing_and_is_told() {
    in_lab("a_full_table_of_flows_loses_nothing_and_is_told", |inside| {
        let options = Options { flows_max: 64, ..Options::default() };
        let watch = watch(&["here"], &options);
        let mut peer = inside.peer(
            r"
import socket
for port in range(1000, 1200):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('10.213.0.2', port))
    for n in range(100): s.sendto(b'hello', ('10.213.0.1', 7))
    s.close()
print('done')
",
        );
        assert_eq!(peer.line(), "done");
        peer.end();
        let seen = watch.end();
        // 64 flows have an entry, and a few of other CPUs' caches may.
        assert!(seen.flow_full >= 130 * 100, "{}", seen.flow_full);
        let all = counts(&seen.gathered);
        assert_eq!(all.len(), 200);
        assert_eq!(packets_of_port(&all, 7), 200 * 100);
    });
}

/// With few entries closed connections are forgotten within seconds.
#[test]
fn forgotten_flows_make_room_and_lose_no_count() {
    forget("forgotten_flows_make_room_and_lose_no_count", 64, 64);
}

/// There is no room for all without the second table.
#[test]
fn flows_of_the_second_table_are_forgotten_and_lose_no_count() {
    forget("flows_of_the_second_table_are_forgotten_and_lose_no_count", 8, 72);
}

/// Has more connections than entries come and go, beside a long one.
fn forget(name: &str, flows_near: u32, flows_max: u32) {
    in_lab(name, |inside| {
        let dump = Dump::start();
        let options = Options { flows_max, flows_near, ..Options::default() };
        let watch = watch(&["here"], &options);
        serve(19999, OPAQUE);
        let program = format!(
            "{OPAQUE_CLIENT}\nimport time\n\
            long = opaque(19999, 10**6, 41000)\n\
            for wave in range(2):\n\
            \x20 for i in range(60):\n    for _ in opaque(19999, 3, 40000 + i): next(long)\n\
            \x20 time.sleep(3.5)\n  for i in range(1000): next(long)\nprint('done')"
        );
        let mut peer = inside.peer(&program);
        assert_eq!(peer.line(), "done");
        drop(peer.child.kill());
        dump.settle();
        let seen = watch.end();
        let file = dump.end();
        assert_eq!(counts(&seen.gathered), counts(&file));
        assert_eq!(seen.flow_full, 0, "there was room for all");
    });
}

#[test]
fn an_interface_that_went_away_is_told_and_watched_again_when_it_is_back() {
    let name = "an_interface_that_went_away_is_told_and_watched_again_when_it_is_back";
    in_lab(name, |inside| {
        let options = Options::default();
        let mut source = Ebpf::open(&["here"], &options).unwrap();
        let mut block = Block::default();
        let mut told = |source: &mut Ebpf| {
            let end = Instant::now() + PATIENCE;
            while Instant::now() < end {
                if let Event::Notice(error) = source.next(&mut block).unwrap() {
                    return error.to_string();
                }
            }
            panic!("told in time");
        };
        Lab::ip(&["link", "del", "here"]);
        assert_eq!(told(&mut source), "here: went away; its frames are missed until it returns");
        let pair = ["type", "veth", "peer", "name", "there", "netns", &inside.there];
        Lab::ip(&[&["link", "add", "here"][..], &pair[..]].concat());
        Lab::ip(&["addr", "add", &format!("{HERE}/24"), "dev", "here"]);
        Lab::ip(&["link", "set", "here", "up"]);
        Lab::ip(&["-n", &inside.there, "link", "set", "there", "up"]);
        assert_eq!(told(&mut source), "here: is back");
        let socket = UdpSocket::bind((HERE, 0)).unwrap();
        socket.set_broadcast(true).unwrap();
        socket.send_to(b"again", "10.213.0.255:9").unwrap();
        options.stop.store(true, Ordering::Relaxed);
        assert_eq!(packets_of_port(&counts(&run(&mut source)), 9), 1);
        assert_eq!(source.inputs()[0].broken.as_deref(), Some("the interface went away 1 times"));
    });
}

/// Attaches in a process of its own and kills it.
fn kill_a_watcher(attach: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ebpf::a_watcher_to_be_killed", "--ignored", "--nocapture"])
        .env("PORTREEVE_TEST_ATTACH", attach)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("watching")));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[ignore = "what other tests start and kill"]
fn a_watcher_to_be_killed() {
    let Ok(attach) = std::env::var("PORTREEVE_TEST_ATTACH") else { return };
    let attach = if attach == "clsact" { Attach::Clsact } else { Attach::Tcx };
    let mut source = Ebpf::open(&["here"], &Options { attach, ..Options::default() }).unwrap();
    writeln!(std::io::stdout(), "watching").unwrap();
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        source.next(&mut Block::default()).unwrap();
    }
}

fn programs_attached() -> usize {
    let query = |direction| SchedClassifier::query_tcx("here", direction).unwrap().1.len();
    query(TcAttachType::Ingress) + query(TcAttachType::Egress)
}

fn filters_attached() -> usize {
    let list = |direction| {
        let output = Command::new("tc").args(["filter", "show", "dev", "here", direction]).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.matches(" handle ").count()
    };
    list("ingress") + list("egress")
}

#[test]
fn a_killed_watcher_leaves_nothing_behind() {
    in_lab("a_killed_watcher_leaves_nothing_behind", |_| {
        if !portreeve::capture::ebpf::probe().tcx {
            return;
        }
        kill_a_watcher("tcx");
        // The kernel takes links back as the process ends, if not before it is waited for.
        let end = Instant::now() + PATIENCE;
        while programs_attached() > 0 {
            assert!(Instant::now() < end, "detached in time");
            std::thread::yield_now();
        }
    });
}

#[test]
fn stale_filters_are_removed_and_those_of_others_stay() {
    in_lab("stale_filters_are_removed_and_those_of_others_stay", |_| {
        let options = || Options { attach: Attach::Clsact, ..Options::default() };
        kill_a_watcher("clsact");
        assert_eq!(filters_attached(), 2, "filters outlive their process");
        let first = Ebpf::open(&["here"], &options()).unwrap();
        assert_eq!(filters_attached(), 2, "the stale ones are gone");
        let second = Ebpf::open(&["here"], &options()).unwrap();
        assert_eq!(filters_attached(), 4, "the first one's are not stale");
        drop(first);
        assert_eq!(filters_attached(), 2);
        drop(second);
        assert_eq!(filters_attached(), 0);
    });
}

#[test]
fn clsact_counts_as_tcx_does() {
    in_lab("clsact_counts_as_tcx_does", |inside| {
        let dump = Dump::start();
        let watch = watch(&["here"], &Options { attach: Attach::Clsact, ..Options::default() });
        serve(18280, OK);
        let mut peer = inside.peer(HTTP_CLIENT);
        assert_eq!(peer.line(), "done");
        peer.end();
        dump.settle();
        let seen = watch.end().gathered;
        let file = dump.end();
        assert_eq!(counts(&seen), counts(&file));
        assert_eq!(evidence(&seen, EvidenceKind::BearerToken), 100);
    });
}

/// An interface without Ethernet headers. Skipped where the kernel has no IP tunnels.
#[test]
fn an_interface_that_begins_with_ip_is_read() {
    in_lab("an_interface_that_begins_with_ip_is_read", |inside| {
        for (namespace, local, remote, own) in [
            (&inside.here, HERE, THERE, "10.214.0.1/24"),
            (&inside.there, THERE, HERE, "10.214.0.2/24"),
        ] {
            let made = Command::new("ip")
                .args(["-n", namespace, "link", "add", "tunnel", "type", "ipip"])
                .args(["local", local, "remote", remote])
                .output()
                .unwrap();
            if !made.status.success() {
                let reason = String::from_utf8_lossy(&made.stderr).trim().to_owned();
                skip(&format!("no IP tunnels here: {reason}"));
                return;
            }
            Lab::ip(&["-n", namespace, "addr", "add", own, "dev", "tunnel"]);
            Lab::ip(&["-n", namespace, "link", "set", "tunnel", "up"]);
        }
        let watch = watch(&["tunnel"], &Options::default());
        let receiver = UdpSocket::bind("10.214.0.1:2222").unwrap();
        let mut peer = inside.peer(
            "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
            for n in range(30): s.sendto(b'hello', ('10.214.0.1', 2222))\nprint('done')",
        );
        assert_eq!(peer.line(), "done");
        peer.end();
        receiver.recv(&mut [0; 16]).unwrap();
        let seen = watch.end().gathered;
        assert_eq!(packets_of_port(&counts(&seen), 2222), 30);
        let total = seen.front.ledger.total();
        assert_eq!(total.stopped_total(), 0);
    });
}
