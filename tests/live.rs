//! Live runs between network namespaces that each test makes and removes; skipped, visibly, where that is
//! not permitted.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::net::{
    CLIENT, Ended, FLOOD, MAC, Net, PATIENCE, SENDER, balanced, contents, is_alert, lines, must,
    vanishes_and_returns, wait,
};
use crate::support;

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
    let kept = match summary["run"]["live"]["backend"].as_str() {
        Some("ebpf") => &["cap_net_admin", "cap_net_raw", "cap_perfmon", "cap_bpf"][..],
        _ => &["cap_net_raw"],
    };
    assert_eq!(sandbox["capabilities"], serde_json::json!(kept));
    assert_eq!(sandbox["core_dumps_off"], true);
    let text: String = run.records.iter().map(Value::to_string).collect();
    assert!(!text.contains("c4n4ry"), "a token in the report");
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
    let sent: u64 = net.python("a", SENDER, &["va", "1", capture]).parse().unwrap();
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
    vanishes_and_returns(&net, &[]);
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

/// Sends one request with a credential in a header of the operator's own.
const OWN_HEADER: &str = r"
import urllib.request
request = urllib.request.Request('http://10.77.0.2:8280/own', headers={'X-Auth': 'Bearer c4n4ry-own'})
urllib.request.urlopen(request, timeout=20).read()
";

#[test]
fn a_reload_brings_the_new_authorisation_headers() {
    let Some(net) = Net::new() else { return };
    let _server = net.serve("b");
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site.toml");
    fs::write(&site, "").unwrap();
    let arguments = ["-i", "va", "--format", "ndjson", "--site", site.to_str().unwrap()];
    let mut run = net.watch("a", &arguments);
    net.python("a", OWN_HEADER, &[]);
    replace(&site, "[policy]\nauth_headers = [\"X-Auth\"]\n");
    run.signal("HUP");
    run.wait_for_word("reloaded");
    // The lanes are told with the next packets.
    net.python("a", OWN_HEADER, &[]);
    run.wait_for(|record| is_alert(record, "plaintext-bearer"));
    run.signal("INT");
    assert_eq!(run.end(), 1);
    let flows: BTreeSet<_> = run
        .records
        .iter()
        .filter(|record| is_alert(record, "plaintext-bearer"))
        .map(|record| record["src_port"].to_string())
        .collect();
    assert_eq!(flows.len(), 1, "the header of before the reload was none");
}

#[test]
fn a_report_file_that_was_moved_is_opened_again_by_a_hangup() {
    let Some(net) = Net::new() else { return };
    let _server = net.serve("b");
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("report"), dir.path().join("report.1"));
    let output = format!("ndjson={}", path.display());
    let mut run = net.watch("a", &["-i", "va", "--format", "ndjson", "-o", &output]);
    net.python("a", CLIENT, &["10.77.0.2"]);
    run.wait_for(|record| is_alert(record, "plaintext-bearer"));
    fs::rename(&path, &moved).unwrap();
    run.signal("HUP");
    run.wait_for_word("reloaded");
    let deadline = Instant::now() + PATIENCE;
    while !path.exists() {
        assert!(Instant::now() < deadline, "a new file begins in time");
    }
    net.python("a", CLIENT, &["[fd77::2]"]);
    run.wait_for(|record| is_alert(record, "plaintext-bearer") && record["dest_ip"] == "fd77::2");
    run.signal("INT");
    run.end();
    let read = |path: &Path| -> Vec<Value> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (before, after) = (read(&moved), read(&path));
    assert!(before.iter().any(|record| is_alert(record, "plaintext-bearer")));
    assert!(before.iter().all(|record| record["dest_ip"] != "fd77::2"));
    assert_eq!([before, after].concat(), run.records);
}

#[test]
fn frames_of_any_belong_to_the_interface_that_they_name() {
    let Some(net) = Net::new() else { return };
    let _server = net.serve("b");
    let mut run = net.watch("b", &["-i", "any", "--format", "ndjson"]);
    net.python("a", CLIENT, &["10.77.0.2"]);
    net.python("b", CLIENT, &["10.77.0.2"]);
    for interface in ["vb", "lo"] {
        let is_it = |record: &Value| {
            is_alert(record, "plaintext-bearer") && record["in_iface"] == interface
        };
        if !run.records.iter().any(is_it) {
            run.wait_for(is_it);
        }
    }
    run.signal("INT");
    assert_eq!(run.end(), 1);
    let ledger = &run.summary()["ledger"];
    let mut names: Vec<_> = ledger["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| (point["in_iface"].as_str().unwrap(), balanced(point) > 0))
        .collect();
    names.sort_unstable();
    assert_eq!(names, [("any", false), ("lo", true), ("vb", true)]);
    balanced(&ledger["total"]);
}

#[test]
fn a_baseline_is_written_at_the_end_of_a_confined_run() {
    let Some(net) = Net::new() else { return };
    let _server = net.serve("b");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("baseline.toml");
    let named = path.to_str().unwrap();
    let mut run = net.watch("a", &["-i", "va", "--format", "ndjson", "--write-baseline", named]);
    net.python("a", CLIENT, &["10.77.0.2"]);
    run.wait_for(|record| is_alert(record, "plaintext-bearer"));
    // Before its flow is judged for good.
    run.signal("HUP");
    run.wait_for_word("reloaded");
    run.signal("INT");
    assert_eq!(run.end(), 1, "{:?}", run.words);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("port = 8280"), "{text}");
    let ran = support::run(["live", "-i", "lo", "--write-baseline", "/proc/nowhere"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("/proc/nowhere: cannot be written"), "{}", ran.err);
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
    let sent = net.python("a", SENDER, &["va", "1", capture.to_str().unwrap()]);
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
    net.python("a", SENDER, &["va", "4", capture.to_str().unwrap()]);
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
    const CAPTURING: &str = "-net_raw,-net_admin,-bpf,-perfmon,-sys_admin";
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", CAPTURING, "--inh-caps", CAPTURING]);
    command.arg(env!("CARGO_BIN_EXE_portreeve")).args(arguments).stdin(Stdio::null());
    let mut probe = Command::new("setpriv");
    let able = probe.args(["--bounding-set", CAPTURING, "true"]).stderr(Stdio::null()).status();
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
fn an_interface_that_is_called_as_a_terminal_obeys_is_shown_harmlessly() {
    let Some(net) = Net::new() else { return };
    let name = "c\x1b[31m\u{202e}";
    must(&["-n", &net.namespace("a"), "link", "add", name, "type", "veth", "peer", "name", "d"]);
    must(&["-n", &net.namespace("a"), "link", "set", name, "up"]);
    for (arguments, code) in [
        (&["doctor"][..], 0),
        (&["live", "-i", name, "--duration", "1"], 0),
        (&["live", "-i", "no-such-if"], 2),
    ] {
        let mut command = net.at("a", env!("CARGO_BIN_EXE_portreeve"));
        let output = command.args(arguments).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains("c\\u{1b}[31m\\u{202e}"), "{text}");
        let bad = text.chars().find(|c| *c != '\n' && portreeve::error::is_unprintable(*c));
        assert_eq!(bad, None, "{text:?}");
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

/// Sends SYNs from made-up addresses as fast as it goes, and says how many.
const SYN_FLOOD: &str = r"
import socket, struct, sys
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((sys.argv[1], 0))
ethernet = bytes.fromhex('020000007702' '020000007701' '0800')
for number in range(int(sys.argv[2])):
    mixed = number * 2654435761 & 0xffffffff
    source = 0x0b000000 | mixed & 0xffffff
    ip = struct.pack('>BBHHHBBHII', 0x45, 0, 40, 0, 0, 64, 6, 0, source, 0x0a4d0002)
    tcp = struct.pack('>HHIIBBHHH', 1024 + number % 60000, mixed >> 18, mixed, 0, 0x50, 2, 65535, 0, 0)
    out.send(ethernet + ip + tcp)
print(number + 1)
";

#[test]
fn a_flood_of_syns_stays_within_its_memory_and_raises_no_alert() {
    const LIMIT: u64 = 192 << 20;
    let Some(net) = Net::new() else { return };
    for backend in ["auto", "pcap"] {
        let arguments = ["-i", "va", "--format", "ndjson", "--stats", "1", "--backend", backend];
        let mut run = net.watch("a", &[&arguments[..], &["--memory-limit", "192M"]].concat());
        let sent: u64 = net.python("b", SYN_FLOOD, &["vb", "60000"]).parse().unwrap();
        run.wait_for_frames(sent);
        run.signal("INT");
        run.end();
        let summary = run.summary();
        assert!(balanced(&summary["ledger"]["total"]) >= sent, "{backend}");
        let peak = summary["run"]["peak_memory_bytes"].as_u64().unwrap();
        assert!(peak <= LIMIT, "{backend}: {peak}");
        assert!(run.records.iter().all(|record| record["event_type"] != "alert"), "{backend}");
    }
}

#[test]
fn a_run_that_saw_nothing_asks_whether_it_is_the_right_interface() {
    let Some(net) = Net::new() else { return };
    must(&["-n", &net.namespace("a"), "link", "add", "dummy0", "type", "veth"]);
    let mut run = net.watch("a", &["-i", "dummy0", "--format", "ndjson", "--duration", "1"]);
    assert_eq!(run.end(), 0);
    assert!(run.words.iter().any(|line| line.contains("no packet came through dummy0")));
    let time = run.records.last().unwrap()["timestamp"].as_str().unwrap();
    assert!(!time.starts_with("1970"), "{time}");
}
