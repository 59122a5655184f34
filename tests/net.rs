//! Two network namespaces with a cable between them, and live runs of the built binary inside: what the
//! tests of live capture have in common. What is made is removed; every wait is bounded.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support;

/// Longest wait for anything: far beyond what a loaded machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Hardware addresses of the two ends, without the last digit.
pub(crate) const MAC: &str = "02:00:00:00:77:0";

/// Sends the frames of little-endian microsecond pcap files through an interface, some times over, and says
/// how many.
pub(crate) const SENDER: &str = r"
import socket, struct, sys
name, repeats, paths = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
frames = []
for path in paths:
    data, at = open(path, 'rb').read(), 24
    while at < len(data):
        size = struct.unpack_from('<I', data, at + 8)[0]
        frames.append(data[at + 16:at + 16 + size])
        at += 16 + size
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((name, 0))
sent = 0
for _ in range(repeats):
    for frame in frames:
        out.send(frame)
        sent += 1
print(sent)
";

/// Sends UDP datagrams to the discard port as fast as it goes, and says how many.
pub(crate) const FLOOD: &str = r"
import socket, sys
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.connect((sys.argv[1], 9))
count, sent = int(sys.argv[2]), 0
while sent < count:
    try:
        out.send(b'x' * 200)
        sent += 1
    except ConnectionRefusedError:
        pass
print(sent)
";

/// Answers requests on both versions of IP; says when it listens.
pub(crate) const SERVER: &str = r"
import http.server, socket, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', '2')
        self.end_headers()
        self.wfile.write(b'ok')
    def log_message(self, *args):
        pass
class V6(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
servers = [http.server.ThreadingHTTPServer(('10.77.0.2', 8280), Handler), V6(('fd77::2', 8280), Handler)]
for server in servers:
    threading.Thread(target=server.serve_forever, daemon=True).start()
print('ready', flush=True)
threading.Event().wait()
";

/// Sends one request with a token to each address.
pub(crate) const CLIENT: &str = r"
import sys, urllib.request
for host in sys.argv[1:]:
    request = urllib.request.Request(f'http://{host}:8280/pets', headers={'Authorization': 'Bearer c4n4ry-t0ken'})
    urllib.request.urlopen(request, timeout=20).read()
";

/// Two network namespaces with a cable between them.
pub(crate) struct Net {
    name: String,
}

impl Net {
    /// Makes them, or says why the test is skipped.
    pub(crate) fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let net = Self { name: format!("portreeve-{}-{count}", std::process::id()) };
        for end in ["a", "b"] {
            let made = ip(&["netns", "add", &net.namespace(end)]);
            if !made.is_ok_and(|status| status.success()) {
                // Past the test's captured output: a skip must be seen.
                let _ = writeln!(io::stderr(), "skipped: no permission to make network namespaces");
                return None;
            }
        }
        net.connect();
        Some(net)
    }

    pub(crate) fn namespace(&self, end: &str) -> String {
        format!("{}-{end}", self.name)
    }

    /// Lays the cable.
    pub(crate) fn connect(&self) {
        let (a, b) = (self.namespace("a"), self.namespace("b"));
        must(&[
            "link", "add", "va", "netns", &a, "type", "veth", "peer", "name", "vb", "netns", &b,
        ]);
        for (namespace, name, number) in [(&a, "va", 1), (&b, "vb", 2)] {
            let mac = format!("{MAC}{number}");
            must(&["-n", namespace, "link", "set", name, "address", &mac]);
            let (v4, v6) = (format!("10.77.0.{number}/24"), format!("fd77::{number}/64"));
            must(&["-n", namespace, "addr", "add", &v4, "dev", name]);
            must(&["-n", namespace, "addr", "add", &v6, "dev", name, "nodad"]);
            must(&["-n", namespace, "link", "set", "lo", "up"]);
            must(&["-n", namespace, "link", "set", name, "up"]);
        }
    }

    /// Prepares a command at one end.
    pub(crate) fn at(&self, end: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(end)]).arg(program);
        command.stdin(Stdio::null()).current_dir(support::root());
        command
    }

    /// Runs a Python script at one end and returns what it prints.
    pub(crate) fn python(&self, end: &str, script: &str, arguments: &[&str]) -> String {
        let output = self.at(end, "python3").args(["-c", script]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Starts the server, and returns when it listens.
    pub(crate) fn serve(&self, end: &str) -> Ended {
        let mut command = self.at(end, "python3");
        let mut child = command.args(["-c", SERVER]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Ended(child)
    }

    /// Starts a live run at one end, and returns when it watches.
    pub(crate) fn watch(&self, end: &str, arguments: &[&str]) -> Run {
        let mut command = self.at(end, env!("CARGO_BIN_EXE_portreeve"));
        command.arg("live").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut run = Run::start(command);
        run.wait_for_word("watching ");
        run
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for end in ["a", "b"] {
            let _ = ip(&["netns", "del", &self.namespace(end)]);
        }
    }
}

/// A process that ends with its test.
pub(crate) struct Ended(pub(crate) Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A live run.
pub(crate) struct Run {
    pub(crate) child: Ended,
    out: Receiver<String>,
    err: Receiver<String>,
    pub(crate) records: Vec<Value>,
    pub(crate) words: Vec<String>,
}

impl Run {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Self { child: Ended(child), out, err, records: Vec::new(), words: Vec::new() }
    }

    /// Waits for a line on standard error that holds these words.
    pub(crate) fn wait_for_word(&mut self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.err.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("no `{words}` among {:?}", self.words));
            self.words.push(line);
            if self.words.last().is_some_and(|line| line.contains(words)) {
                return;
            }
        }
    }

    /// Waits for a record for which `is_it` holds.
    pub(crate) fn wait_for(&mut self, is_it: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.out.recv_timeout(left).expect("the record comes in time");
            self.records.push(serde_json::from_str(&line).expect("a line is JSON"));
            if self.records.last().is_some_and(&is_it) {
                return;
            }
        }
    }

    /// Waits until so many frames were offered, by the periodic records.
    pub(crate) fn wait_for_frames(&mut self, frames: u64) {
        self.wait_for(|record| {
            record["event_type"] == "stats"
                && record["portreeve"]["ledger"]["total"]["offered"].as_u64() >= Some(frames)
        });
    }

    pub(crate) fn signal(&self, name: &str) {
        let signal = format!("-{name}");
        let sent = Command::new("kill").args([&signal, &self.child.0.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end and takes all that was still to come.
    pub(crate) fn end(&mut self) -> i32 {
        let status = wait(&mut self.child.0).expect("the run ends in time");
        let rest: Vec<String> = self.out.iter().collect();
        self.records.extend(rest.iter().map(|line| serde_json::from_str(line).expect("JSON")));
        self.words.extend(self.err.iter());
        status.code().unwrap_or_else(|| panic!("the run died: {status}"))
    }

    pub(crate) fn summary(&self) -> &Value {
        let last = self.records.last().expect("there are records");
        assert_eq!(last["event_type"], "summary");
        &last["portreeve"]
    }
}

/// Returns what is read, line by line.
pub(crate) fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Waits for a process, bounded.
pub(crate) fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

pub(crate) fn ip(arguments: &[&str]) -> io::Result<ExitStatus> {
    Command::new("ip").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status()
}

pub(crate) fn must(arguments: &[&str]) {
    assert!(ip(arguments).unwrap().success(), "ip {}", arguments.join(" "));
}

pub(crate) fn is_alert(record: &Value, kind: &str) -> bool {
    record["event_type"] == "alert" && record["portreeve"]["finding"]["kind"] == kind
}

/// Asserts that every frame is accounted for, and returns how many were offered.
pub(crate) fn balanced(ledger: &Value) -> u64 {
    let sum = |value: &Value| -> u64 {
        value.as_object().map_or(0, |of| of.values().filter_map(Value::as_u64).sum())
    };
    let number = |name: &str| ledger[name].as_u64().unwrap();
    let placed = number("filtered") + number("classified") + number("unclassified");
    assert_eq!(number("received"), placed + sum(&ledger["stopped"]), "{ledger}");
    assert_eq!(number("offered"), number("received") + sum(&ledger["dropped"]), "{ledger}");
    assert_eq!(number("in_flight"), 0);
    number("offered")
}

/// What a report says, by what a file and a live run have in common.
pub(crate) fn contents(records: &[Value]) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
    let (mut last, mut flows) = (BTreeMap::new(), BTreeMap::new());
    for record in records {
        let ends = ["src_ip", "src_port", "dest_ip", "dest_port", "proto", "app_proto", "vlan"]
            .map(|name| record[name].to_string())
            .join(" ");
        if record["event_type"] == "alert" {
            let finding = &record["portreeve"]["finding"];
            let name = format!("{ends} {} {}", finding["kind"], finding["severity"]);
            // The last one that goes out for a flow and kind holds.
            let id = (record["flow_id"].as_u64(), finding["kind"].to_string());
            last.insert(id, (name, finding["count"].as_u64().unwrap()));
        } else if record["event_type"] == "flow" {
            let flow = &record["flow"];
            let counts = ["pkts_toserver", "pkts_toclient", "bytes_toserver", "bytes_toclient"]
                .map(|name| flow[name].to_string())
                .join(" ");
            *flows.entry(format!("{ends} {counts} {}", flow["state"])).or_default() += 1;
        }
    }
    let mut alerts = BTreeMap::new();
    for (name, count) in last.into_values() {
        *alerts.entry(name).or_default() += count;
    }
    (alerts, flows)
}

/// Takes a watched interface away and brings it back: the run tells of both, goes on, and knows what it missed.
pub(crate) fn vanishes_and_returns(net: &Net, backend: &[&str]) {
    let mut run = net.watch("a", &[&["-i", "va", "--format", "ndjson"], backend].concat());
    must(&["-n", &net.namespace("a"), "link", "del", "va"]);
    run.wait_for_word("va: went away");
    net.connect();
    run.wait_for_word("va: is back");
    let _server = net.serve("b");
    net.python("a", CLIENT, &["10.77.0.2"]);
    run.wait_for(|record| is_alert(record, "plaintext-bearer"));
    run.signal("INT");
    run.end();
    balanced(&run.summary()["ledger"]["total"]);
    let verdict = &run.summary()["verdict"];
    assert_eq!(verdict["reasons"][0]["reason"], "unread-tail", "{backend:?}: {verdict}");
}
