//! Live runs between network namespaces that each test makes and removes; skipped, visibly, where that is
//! not permitted.
#![cfg(feature = "live")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support;

/// Longest wait for anything: far beyond what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Hardware addresses of the two ends, without the last digit.
const MAC: &str = "02:00:00:00:77:0";

/// Sends the frames of a little-endian microsecond pcap file through an interface, and says how many.
const SENDER: &str = r"
import socket, struct, sys
name, path, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3])
data = open(path, 'rb').read()
frames, at = [], 24
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
const FLOOD: &str = r"
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
const SERVER: &str = r"
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
const CLIENT: &str = r"
import sys, urllib.request
for host in sys.argv[1:]:
    request = urllib.request.Request(f'http://{host}:8280/pets', headers={'Authorization': 'Bearer c4n4ry-t0ken'})
    urllib.request.urlopen(request, timeout=20).read()
";

/// Two network namespaces with a cable between them.
struct Net {
    name: String,
}

impl Net {
    /// Makes them, or says why the test is skipped.
    fn new() -> Option<Self> {
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

    fn namespace(&self, end: &str) -> String {
        format!("{}-{end}", self.name)
    }

    /// Lays the cable.
    fn connect(&self) {
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
    fn at(&self, end: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(end)]).arg(program);
        command.stdin(Stdio::null()).current_dir(support::root());
        command
    }

    /// Runs a Python script at one end and returns what it prints.
    fn python(&self, end: &str, script: &str, arguments: &[&str]) -> String {
        let output = self.at(end, "python3").args(["-c", script]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Starts the server, and returns when it listens.
    fn serve(&self, end: &str) -> Ended {
        let mut command = self.at(end, "python3");
        let mut child = command.args(["-c", SERVER]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Ended(child)
    }

    /// Starts a live run at one end, and returns when it watches.
    fn watch(&self, end: &str, arguments: &[&str]) -> Run {
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
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A live run.
struct Run {
    child: Ended,
    out: Receiver<String>,
    err: Receiver<String>,
    records: Vec<Value>,
    words: Vec<String>,
}

impl Run {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Self { child: Ended(child), out, err, records: Vec::new(), words: Vec::new() }
    }

    /// Waits for a line on standard error that holds these words.
    fn wait_for_word(&mut self, words: &str) {
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
    fn wait_for(&mut self, is_it: impl Fn(&Value) -> bool) {
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
    fn wait_for_frames(&mut self, frames: u64) {
        self.wait_for(|record| {
            record["event_type"] == "stats"
                && record["portreeve"]["ledger"]["total"]["offered"].as_u64() >= Some(frames)
        });
    }

    fn signal(&self, name: &str) {
        let signal = format!("-{name}");
        let sent = Command::new("kill").args([&signal, &self.child.0.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end and takes all that was still to come.
    fn end(&mut self) -> i32 {
        let status = wait(&mut self.child.0).expect("the run ends in time");
        let rest: Vec<String> = self.out.iter().collect();
        self.records.extend(rest.iter().map(|line| serde_json::from_str(line).expect("JSON")));
        self.words.extend(self.err.iter());
        status.code().unwrap_or_else(|| panic!("the run died: {status}"))
    }

    fn summary(&self) -> &Value {
        let last = self.records.last().expect("there are records");
        assert_eq!(last["event_type"], "summary");
        &last["portreeve"]
    }
}

/// Returns what is read, line by line.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
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
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

fn ip(arguments: &[&str]) -> io::Result<ExitStatus> {
    Command::new("ip").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status()
}

fn must(arguments: &[&str]) {
    assert!(ip(arguments).unwrap().success(), "ip {}", arguments.join(" "));
}

fn is_alert(record: &Value, kind: &str) -> bool {
    record["event_type"] == "alert" && record["portreeve"]["finding"]["kind"] == kind
}

/// Asserts that every frame is accounted for, and returns how many were offered.
fn balanced(ledger: &Value) -> u64 {
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

#[test]
fn a_token_between_a_real_client_and_server_is_found_at_once() {
    let Some(net) = Net::new() else { return };
    let _server = net.serve("b");
    let mut run = net.watch("a", &["-i", "va", "--format", "ndjson"]);
    net.python("a", CLIENT, &["10.77.0.2", "[fd77::2]"]);
    for address in ["10.77.0.2", "fd77::2"] {
        let is_it =
            |record: &Value| is_alert(record, "plaintext-bearer") && record["dest_ip"] == address;
        if !run.records.iter().any(is_it) {
            run.wait_for(is_it);
        }
    }
    run.signal("INT");
    assert_eq!(run.end(), 1);
    let bearer: Vec<_> = run.records.iter().filter(|r| is_alert(r, "plaintext-bearer")).collect();
    let updates = |update: bool| {
        let same = |r: &&&Value| {
            r["portreeve"]["finding"].get("update").is_some_and(|u| *u == Value::Bool(true))
                == update
        };
        bearer.iter().filter(same).count()
    };
    assert_eq!((updates(false), updates(true)), (2, 2));
    let summary = run.summary();
    balanced(&summary["ledger"]["total"]);
    let sandbox = &summary["run"]["live"]["sandbox"];
    assert_eq!(sandbox["no_new_privs"], true);
    assert_eq!(sandbox["capabilities"], serde_json::json!(["cap_net_raw"]));
    assert_eq!(sandbox["core_dumps_off"], true);
    let text: String = run.records.iter().map(Value::to_string).collect();
    assert!(!text.contains("c4n4ry"), "a token in the report");
}

/// What a report says, by what a file and a live run have in common.
pub(crate) fn contents(records: &[Value]) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
    let (mut alerts, mut flows) = (BTreeMap::new(), BTreeMap::new());
    for record in records {
        let ends = ["src_ip", "src_port", "dest_ip", "dest_port", "proto", "app_proto", "vlan"]
            .map(|name| record[name].to_string())
            .join(" ");
        if record["event_type"] == "alert" {
            let finding = &record["portreeve"]["finding"];
            let name = format!("{ends} {} {}", finding["kind"], finding["severity"]);
            // The last one that goes out for a flow and kind holds.
            alerts.insert(name, finding["count"].as_u64().unwrap());
        } else if record["event_type"] == "flow" {
            let flow = &record["flow"];
            let counts = ["pkts_toserver", "pkts_toclient", "bytes_toserver", "bytes_toclient"]
                .map(|name| flow[name].to_string())
                .join(" ");
            *flows.entry(format!("{ends} {counts} {}", flow["state"])).or_default() += 1;
        }
    }
    (alerts, flows)
}

#[test]
fn a_replayed_capture_gives_what_the_file_gives() {
    let Some(net) = Net::new() else { return };
    let capture = support::root().join("captures/demo.pcap");
    let capture = capture.to_str().unwrap();
    // What the two ends have to say of their own, as neighbour discovery, is not in the capture.
    let filter = format!("not ether src {MAC}1 and not ether src {MAC}2");
    let mut run =
        net.watch("b", &["-i", "vb", "--format", "ndjson", "--stats", "1", "--filter", &filter]);
    let sent: u64 = net.python("a", SENDER, &["va", capture, "1"]).parse().unwrap();
    run.wait_for_frames(sent);
    run.signal("TERM");
    let code = run.end();
    let ran = support::run(["analyze", "--format", "ndjson", capture]);
    assert_eq!(code, ran.code);
    let file = ran.records();
    assert_eq!(contents(&run.records), contents(&file));
    let ledger = &run.summary()["ledger"]["total"];
    assert_eq!(balanced(ledger), sent);
    assert_eq!(*ledger, file.last().unwrap()["portreeve"]["ledger"]["total"]);
}

#[test]
fn an_interface_that_vanishes_is_told_and_taken_up_on_its_return() {
    let Some(net) = Net::new() else { return };
    let mut run = net.watch("a", &["-i", "va", "--format", "ndjson"]);
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
    assert_eq!(verdict["reasons"][0]["reason"], "unread-tail", "{verdict}");
}

#[test]
fn an_interface_that_goes_down_is_told() {
    let Some(net) = Net::new() else { return };
    let mut run = net.watch("a", &["-i", "va", "--format", "ndjson"]);
    must(&["-n", &net.namespace("a"), "link", "set", "va", "down"]);
    run.wait_for_word("va: is down");
    must(&["-n", &net.namespace("a"), "link", "set", "va", "up"]);
    run.wait_for_word("va: is up again");
    run.signal("INT");
    run.end();
}

#[test]
fn every_lost_frame_is_counted() {
    let Some(net) = Net::new() else { return };
    // A kernel buffer of a few frames and a queue of one block.
    let arguments =
        ["-i", "va", "--format", "ndjson", "--stats", "1", "--buffer", "300K", "--queue", "1"];
    let mut run = net.watch("a", &[&arguments[..], &["--filter", "udp dst port 9"]].concat());
    let sent: u64 = net.python("a", FLOOD, &["10.77.0.2", "100000"]).parse().unwrap();
    run.wait_for_frames(sent);
    run.signal("INT");
    run.end();
    assert_eq!(balanced(&run.summary()["ledger"]["total"]), sent);
    let point = &run.summary()["ledger"]["points"][0];
    assert_eq!((point["in_iface"].as_str(), balanced(point)), (Some("va"), sent));
}

#[test]
fn a_reload_keeps_the_old_rules_when_the_new_ones_are_wrong() {
    let Some(net) = Net::new() else { return };
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site.toml");
    fs::write(&site, "").unwrap();
    let mut run = net.watch("a", &["-i", "va", "--site", site.to_str().unwrap()]);
    replace(&site, "[[zone]]\nname = 7\n");
    run.signal("HUP");
    run.wait_for_word("site.toml");
    run.wait_for_word("the rules stay as they were");
    replace(&site, "[[zone]]\nname = \"gateway\"\nprefixes = [\"10.77.0.0/24\"]\n");
    run.signal("HUP");
    run.wait_for_word("reloaded");
    run.signal("INT");
    let code = wait(&mut run.child.0).and_then(|status| status.code());
    assert_eq!(code, Some(0));
}

/// Puts another file in a file's place, as editors do.
fn replace(path: &Path, text: &str) {
    let beside: PathBuf = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(&beside, path).unwrap();
}

#[test]
fn a_rotated_report_loses_no_record() {
    let Some(net) = Net::new() else { return };
    let dir = tempfile::tempdir().unwrap();
    let output = format!("ndjson={}/report", dir.path().display());
    let capture = support::root().join("captures/demo.pcap");
    let arguments = ["-i", "vb", "--format", "ndjson", "-o", &output, "--rotate-size", "8K"];
    let mut run = net.watch("b", &[&arguments[..], &["--stats", "1"]].concat());
    let sent = net.python("a", SENDER, &["va", capture.to_str().unwrap(), "1"]);
    run.wait_for_frames(sent.parse().unwrap());
    run.signal("INT");
    run.end();
    let mut files = 0;
    let mut written = BTreeSet::new();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        written.extend(
            text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap().to_string()),
        );
        files += 1;
    }
    assert!(files > 3, "{files} files");
    let shown: BTreeSet<_> = run.records.iter().map(Value::to_string).collect();
    assert_eq!(written, shown);
}

#[test]
fn a_second_signal_ends_at_once() {
    let Some(net) = Net::new() else { return };
    // Nobody reads the report, so that its end never comes.
    let mut command = net.at("b", env!("CARGO_BIN_EXE_portreeve"));
    command.args(["live", "-i", "vb", "--format", "ndjson"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Ended(command.spawn().unwrap());
    let err = lines(child.0.stderr.take().unwrap());
    assert!(err.recv_timeout(PATIENCE).unwrap().contains("watching "));
    let capture = support::root().join("captures/demo.pcap");
    net.python("a", SENDER, &["va", capture.to_str().unwrap(), "4"]);
    let deadline = Instant::now() + PATIENCE;
    while child.0.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the run goes on");
        let _ = Command::new("kill").args(["-INT", &child.0.id().to_string()]).status();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(child.0.wait().unwrap().code(), Some(2));
}

#[test]
fn a_full_disk_ends_the_run_with_a_clear_error() {
    let Some(net) = Net::new() else { return };
    let _server = net.serve("b");
    let mut run = net.watch("a", &["-i", "va", "--format", "ndjson", "-o", "ndjson=/dev/full"]);
    net.python("a", CLIENT, &["10.77.0.2"]);
    run.wait_for_word("/dev/full: cannot be written");
    assert_eq!(run.end(), 2);
}

#[test]
fn a_reader_that_goes_away_ends_the_run_with_a_clear_error() {
    let Some(net) = Net::new() else { return };
    let mut command = net.at("a", env!("CARGO_BIN_EXE_portreeve"));
    command.args(["live", "-i", "va", "--format", "ndjson", "--stats", "1"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Ended(command.spawn().unwrap());
    drop(child.0.stdout.take());
    let status = wait(&mut child.0).expect("the run ends in time");
    assert_eq!(status.code(), Some(2));
    let mut text = String::new();
    child.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("its reader has gone away"), "{text}");
}

#[test]
fn the_duration_ends_the_run() {
    let Some(net) = Net::new() else { return };
    let mut run = net.watch("a", &["-i", "va", "--format", "ndjson", "--duration", "1"]);
    assert_eq!(run.end(), 0);
    balanced(&run.summary()["ledger"]["total"]);
}

/// Prepares a run without the right to capture; `None`, visibly, where it cannot be taken away.
fn without_permission(arguments: &[&str]) -> Option<Command> {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-net_raw", "--inh-caps", "-net_raw"]);
    command.arg(env!("CARGO_BIN_EXE_portreeve")).args(arguments).stdin(Stdio::null());
    let mut probe = Command::new("setpriv");
    let able = probe.args(["--bounding-set", "-net_raw", "true"]).stderr(Stdio::null()).status();
    if able.is_ok_and(|status| status.success()) {
        return Some(command);
    }
    let _ = writeln!(io::stderr(), "skipped: no permission to take a permission away");
    None
}

#[test]
fn a_lack_of_permission_is_told_with_the_setcap_line() {
    for arguments in [&["live", "-i", "lo"][..], &["doctor"]] {
        let Some(mut command) = without_permission(arguments) else { return };
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        let line = format!(
            "setcap cap_net_raw,cap_net_admin,cap_bpf,cap_perfmon=ep {}",
            env!("CARGO_BIN_EXE_portreeve")
        );
        assert!(text.contains(&line), "{text}");
    }
}

#[test]
fn usage_errors_name_the_flag_or_the_interface() {
    for (arguments, says) in [
        (&["live", "-i", "no-such-if"][..], "no-such-if: no such interface"),
        (&["live", "-i", "lo", "--filter", "tcp prt 1"], "--filter: "),
        (&["live", "-i", "lo", "--user", "no-such-user"], "no such user: no-such-user"),
    ] {
        let ran = support::run(arguments);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(says) || ran.err.contains("no permission"), "{}", ran.err);
    }
}

#[test]
fn a_report_overwrites_no_file_that_the_run_reads() {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site.toml");
    let text = "[[zone]]\nname = \"inside\"\nprefixes = [\"10.0.0.0/8\"]\n";
    fs::write(&site, text).unwrap();
    let (site, output) = (site.to_str().unwrap(), format!("ndjson={}", site.display()));
    let ran = support::run(["live", "-i", "lo", "--duration", "1", "--site", site, "-o", &output]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert_eq!(fs::read_to_string(site).unwrap(), text);
}

#[test]
fn the_service_unit_is_sound() {
    let unit = fs::read_to_string(support::root().join("deploy/portreeve.service")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("portreeve.service");
    let here = unit.replace("/usr/bin/portreeve", env!("CARGO_BIN_EXE_portreeve"));
    assert_ne!(unit, here, "the unit starts another program");
    fs::write(&path, here).unwrap();
    let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&path).output() else {
        let _ = writeln!(io::stderr(), "skipped: no systemd-analyze");
        return;
    };
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !text.contains("portreeve.service:"), "{text}");
}
