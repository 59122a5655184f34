//! The eBPF backend on real interfaces. Needs root, a kernel that allows it, `ip` and python3; says so
//! where it is skipped.
//!
//! Each test makes two network namespaces with a veth pair between them, runs itself again inside the
//! first one, where it watches, and speaks from the second one. What it made it removes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portreeve::capture::ebpf::{Attach, Ebpf, Options};
use portreeve::capture::{Block, Event, Source};
use portreeve::decode;
use portreeve::inspect::secret::Fingerprinter;
use portreeve::inspect::{EvidenceKind, Tools};
use portreeve::packet::{PointId, Side};
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
    ["ip", "python3"].iter().find(missing).map(|program| format!("no {program}"))
}

/// Runs a test inside namespaces of its own.
fn in_lab(test: &str, body: impl FnOnce(&Inside)) {
    if let Ok(names) = std::env::var(INSIDE) {
        let (here, there) = names.split_once(' ').unwrap();
        return body(&Inside { here: here.to_owned(), there: there.to_owned() });
    }
    if let Some(obstacle) = obstacle() {
        writeln!(std::io::stderr(), "SKIPPED ebpf::{test}: {obstacle}").unwrap();
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

    fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
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

fn watch(interfaces: &[&str], options: Options) -> Watch {
    let stop = Arc::clone(&options.stop);
    // Attached before anything is sent.
    let mut source = Ebpf::open(interfaces, &options).unwrap();
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
                let mut buffer = [0; 65536];
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
        s.sendall(b'POST /t/%d HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer tok%d-%d\r\nContent-Length: 300\r\n\r\n' % (m, n, m) + body)
        s.recv(65536)
    s.close()
print('done')
";

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn tokens_on_an_unlisted_port_are_found() {
    in_lab("tokens_on_an_unlisted_port_are_found", |inside| {
        let watch = watch(&["here"], Options::default());
        serve(18280, OK);
        let mut peer = inside.peer(HTTP_CLIENT);
        assert_eq!(peer.line(), "done");
        peer.end();
        let seen = watch.end();
        assert_eq!(evidence(&seen.gathered, EvidenceKind::BearerToken), 100);
        assert_eq!(counts(&seen.gathered).len(), 20);
    });
}
