//! What fails around a run: inputs that break off, outputs that take nothing, files that are not what they
//! should be, clocks that jump, workers that die. Each ends in the right exit code and one line that says
//! what to do; none in a panic, and none in a pass.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use portreeve::capture::file::{Files, Options};
use portreeve::capture::{Block, Event, Source};
use portreeve::inspect::secret::Fingerprinter;
use portreeve::inspect::{self, Tools};
use portreeve::packet::{
    At, EncapId, FlowKey, Packet, PointId, Span, TcpHeader, Timestamp, Transport,
};
use portreeve::pipeline::crew::Threads;
use portreeve::pipeline::front::{Batch, Crew};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Ran, command, imbalance, own, root, run, summary};

pub(crate) const TOKEN: &str = "captures/http/token-in-header.pcap";

/// Proves that a run failed as it should: exit code 2, one error in one line, at most one hint.
pub(crate) fn fails(ran: &Ran, says: &str, what: &str) {
    assert_eq!(ran.code, 2, "{what}: {}", ran.err);
    let lines: Vec<&str> = ran.err.lines().collect();
    assert!(lines[0].starts_with("error: ") && lines[0].contains(says), "{what}: {}", ran.err);
    let has_hint = lines.get(1).is_some_and(|line| line.starts_with("hint: "));
    assert_eq!(lines.len(), 1 + usize::from(has_hint), "{what}: {}", ran.err);
}

/// Runs the binary with its standard output in a file.
fn run_into(arguments: &[&str], out: File) -> Ran {
    let output = command().args(arguments).stdout(out).output().expect("the binary runs");
    Ran {
        code: output.status.code().expect("the run was not killed"),
        out: Vec::new(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn writable(path: &str) -> File {
    OpenOptions::new().write(true).open(path).expect("it can be opened")
}

/// Makes a FIFO.
fn fifo(folder: &TempDir, name: &str) -> PathBuf {
    let path = folder.path().join(name);
    let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo is there");
    assert!(made.success());
    path
}

/// Gives some bytes, then an error.
struct Failing(Cursor<Vec<u8>>);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Ok(0) => Err(io::Error::from_raw_os_error(5)),
            read => read,
        }
    }
}

#[test]
fn a_read_error_keeps_the_frames_before_it_and_says_where() {
    let bytes = fs::read(root().join(TOKEN)).unwrap();
    for len in [0, 3, 23, 24, 30, 105, 106, 120, 400] {
        let reader = Failing(Cursor::new(bytes[..len].to_vec()));
        let mut source = Files::from_reader("disk", reader, &Options::default());
        let (mut block, mut frames, mut broken) = (Block::default(), 0, None);
        loop {
            match source.next(&mut block).unwrap() {
                Event::Frames => frames += block.frames.len(),
                Event::Broken(error) => broken = Some(error.to_string()),
                Event::End => break,
                Event::Tick(_) | Event::Notice(_) => {}
            }
        }
        let broken = broken.unwrap_or_else(|| panic!("the error after {len} bytes is lost"));
        assert!(broken.starts_with("disk: "), "{broken}");
        assert!(broken.contains("error"), "{broken}");
        // A file header of 24 bytes, a record of 16 and 66.
        assert_eq!(frames > 0, len >= 106, "{len}: {broken}");
        assert_eq!(source.inputs()[0].broken.as_deref(), Some(&broken[..]));
    }
}

#[test]
fn a_folder_or_a_device_in_place_of_a_file_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    // That nothing was found in nothing is no pass.
    fails(&run(["analyze", path]), "no capture was found", "an empty folder");
    fails(&run(["scrub", path, "/dev/null"]), "", "an empty folder");
    for (flag, says) in [("--site", path), ("--policy", path)] {
        fails(&run(["analyze", flag, path, TOKEN]), says, flag);
    }
    fails(&run(["analyze", "--catalog", path, TOKEN]), "no catalogue file", "an empty folder");
}

#[test]
fn a_baseline_that_cannot_be_written_is_told_and_the_earlier_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("baseline.toml");
    let name = path.to_str().unwrap();
    assert_eq!(run(["analyze", "--write-baseline", name, TOKEN]).code, 1);
    let earlier = fs::read(&path).unwrap();
    // Nothing may become longer than a few bytes: a disk that fills.
    let binary = env!("CARGO_BIN_EXE_portreeve");
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" analyze --write-baseline \"$1\" \"$2\"";
    let output = Command::new("sh")
        .args(["-c", script, binary, name, root().join(TOKEN).to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be written"), "{output:?}");
    assert_eq!(fs::read(&path).unwrap(), earlier);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // Where it can be written it replaces the earlier one, and where none can be made the run ends at once.
    assert_eq!(run(["analyze", "--write-baseline", name, TOKEN]).code, 1);
    assert_eq!(fs::read(&path).unwrap(), earlier);
    let ran = run(["analyze", "--write-baseline", "/no/such/folder/file", TOKEN]);
    fails(&ran, "cannot be written", "a baseline");
    assert!(ran.out.is_empty());
    fails(
        &run(["analyze", "--write-baseline=/dev/full", TOKEN]),
        "cannot be written",
        "a baseline",
    );
}

#[test]
fn a_pipe_whose_writer_dies_in_a_record_is_inconclusive() {
    let bytes = fs::read(root().join(TOKEN)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = fifo(&folder, "capture");
    // In the middle of the second record's header, and of its frame.
    for len in [110, 150] {
        let (there, part) = (path.clone(), bytes[..len].to_vec());
        let writer = std::thread::spawn(move || {
            let mut pipe = OpenOptions::new().write(true).open(there).unwrap();
            pipe.write_all(&part).unwrap();
        });
        let ran = run(["analyze", "--format=ndjson", path.to_str().unwrap()]);
        writer.join().unwrap();
        assert_eq!(ran.code, 3, "{}", ran.err);
        assert!(ran.err.starts_with("error: ") && ran.err.contains("offset 106"), "{}", ran.err);
        let records = ran.records();
        let summary = summary(&records);
        assert_eq!(own(summary, "verdict")["result"], "inconclusive");
        assert_eq!(own(summary, "ledger")["total"]["received"], 1);
        assert_eq!(imbalance(summary), None);
    }
}

#[test]
fn a_full_disk_is_an_error_on_every_way_out() {
    for format in ["text", "ndjson", "sarif", "junit"] {
        let ran = run_into(&["analyze", "--format", format, TOKEN], writable("/dev/full"));
        fails(&ran, "standard output: cannot be written", format);
        let output = format!("{format}=/dev/full");
        let ran = run(["analyze", "-o", &output, TOKEN]);
        fails(&ran, "/dev/full: cannot be written", format);
    }
    let ran = run(["analyze", "--evidence", "/dev/full", TOKEN]);
    fails(&ran, "/dev/full: cannot be written", "--evidence");
    let ran = run(["scrub", TOKEN, "/dev/full"]);
    fails(&ran, "/dev/full: cannot be written", "scrub");
    for arguments in [
        &["catalog", "list"][..],
        &["catalog", "show", "8280"],
        &["policy", "list"],
        &["policy", "explain", "wso2/bearer-over-http"],
        &["completions", "bash"],
        &["man"],
    ] {
        let ran = run_into(arguments, writable("/dev/full"));
        fails(&ran, "standard output: cannot be written", &arguments.join(" "));
    }
}

#[test]
fn a_reader_that_goes_away_changes_no_exit_code() {
    for format in ["text", "ndjson", "sarif", "junit"] {
        let mut child = command()
            .args(["analyze", "--format", format, TOKEN])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{format}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{format}");
    }
}

#[test]
fn an_output_that_cannot_be_made_stops_the_run_before_it_reads() {
    let folder = tempfile::tempdir().unwrap();
    let locked = folder.path().join("locked");
    fs::write(&locked, "kept").unwrap();
    let mut permissions = fs::metadata(&locked).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&locked, permissions).unwrap();
    let mut places = vec![
        folder.path().to_path_buf(),
        folder.path().join("no/such/folder"),
        locked.join("below-a-file"),
        PathBuf::from("/proc/self/no-such-file"),
    ];
    // Whoever may do everything may write to it.
    if OpenOptions::new().append(true).open(&locked).is_err() {
        places.push(locked.clone());
    }
    for place in &places {
        let place = place.to_str().unwrap();
        let ran = run(["analyze", "-o", &format!("ndjson={place}"), TOKEN]);
        fails(&ran, "cannot be written", place);
        assert!(ran.out.is_empty(), "{place}");
        fails(&run(["analyze", "--evidence", place, TOKEN]), "cannot be written", place);
        fails(&run(["scrub", TOKEN, place]), "cannot be written", place);
    }
    assert_eq!(fs::read(&locked).unwrap(), b"kept");
}

/// What is wrong with a file, and in which line it is said to be, where lines can be told.
const NO_SITE: [(&str, &[u8], &str); 9] = [
    ("no TOML", b"[[zone]\nname = 1", ":1"),
    ("an unknown key", b"\n\n[[zone]]\nnmae = \"a\"\n", ":4"),
    ("a huge number", b"[[host]]\nname = \"a\"\noffset = 99999999999999999999\n", ":3"),
    (
        "a number below 0",
        b"[[host]]\nname = \"a\"\naddresses = [\"10.0.0.1\"]\noffset = -1\n",
        ":4",
    ),
    ("no address", b"[[host]]\nname = \"a\"\naddresses = [\"10.0.0.\"]\n", ":3"),
    ("bytes of no text", b"[[zone]]\nname = \"\xff\xfe\"\n", ""),
    ("a cut", b"[[zone]]\nname = \"pub", ":2"),
    ("zeros", b"\0\0\0\0\0\0\0\0", ":1"),
    ("escapes of a terminal", b"[[zone]]\n\"\\u001b[31m\\u202e\" = 1\n", ":2"),
];

#[test]
fn what_is_wrong_with_a_users_file_is_said_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.toml");
    let file = path.to_str().unwrap();
    for (what, bytes, line) in NO_SITE {
        fs::write(&path, bytes).unwrap();
        for flag in ["--site", "--policy"] {
            let ran = run(["analyze", flag, file, TOKEN]);
            let says = if flag == "--policy" { file.to_owned() } else { format!("{file}{line}") };
            fails(&ran, &says, &format!("{flag} with {what}"));
            assert!(ran.out.is_empty(), "{what}");
            let is_plain = |c| c == '\n' || !portreeve::error::is_unprintable(c);
            assert!(ran.err.chars().all(is_plain), "{what}: {:?}", ran.err);
        }
        let ran = run(["analyze", "--catalog", folder.path().to_str().unwrap(), TOKEN]);
        fails(&ran, file, &format!("--catalog with {what}"));
    }
    for flag in ["--site", "--policy", "--catalog", "--fingerprint-key"] {
        fails(&run(["analyze", flag, "/no/such/file", TOKEN]), "/no/such/file", flag);
    }
}

#[test]
fn a_users_file_is_read_once_so_that_no_change_falls_between() {
    let folder = tempfile::tempdir().unwrap();
    let path = fifo(&folder, "site.toml");
    let there = path.clone();
    // A second reading would find no writer, and wait for one.
    let writer = std::thread::spawn(move || {
        fs::write(there, "[[zone]]\nname = \"z\"\nprefixes = [\"10.0.0.0/8\"]\n").unwrap();
    });
    let ran = run(["analyze", "--format=ndjson", "--site", path.to_str().unwrap(), TOKEN]);
    writer.join().unwrap();
    assert_eq!(ran.code, 1, "{}", ran.err);
    let records = ran.records();
    let provenance = own(summary(&records), "provenance");
    assert!(provenance["site_sha256"].is_string(), "{provenance}");
}

/// What a clock shows, in seconds and microseconds, by a record's number and the seconds it has.
type Clock<'a> = &'a dyn Fn(usize, u32) -> (u32, u32);

/// Returns a pcap file with the times of its records changed.
fn with_times(path: &Path, time: Clock<'_>) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    let number = |bytes: &[u8], at: usize| {
        u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
    };
    let (mut at, mut record) = (24, 0);
    while at < bytes.len() {
        let (seconds, fraction) = time(record, number(&bytes, at));
        bytes[at..at + 4].copy_from_slice(&seconds.to_le_bytes());
        bytes[at + 4..at + 8].copy_from_slice(&fraction.to_le_bytes());
        at += 16 + usize::try_from(number(&bytes, at + 8)).unwrap();
        record += 1;
    }
    bytes
}

#[test]
fn a_clock_that_jumps_changes_no_finding() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jumps.pcap");
    let kinds = |records: &[Value]| -> Vec<String> {
        let alerts = records.iter().filter(|record| record["event_type"] == "alert");
        alerts.map(|alert| own(alert, "finding")["kind"].to_string()).collect()
    };
    let capture = root().join(TOKEN);
    let expected = kinds(&run(["analyze", "--format=ndjson", TOKEN]).records());
    assert!(!expected.is_empty());
    let clocks: [(&str, Clock<'_>); 6] = [
        ("backwards", &|record, start| (start - 60 * u32::try_from(record).unwrap(), 0)),
        ("to and fro", &|record, start| (if record % 2 == 0 { start } else { start - 86_400 }, 0)),
        ("to the epoch", &|record, start| (if record < 4 { start } else { 0 }, 0)),
        ("to the end of time", &|record, start| (if record < 4 { start } else { u32::MAX }, 0)),
        ("nowhere", &|_, _| (0, 0)),
        ("beyond a second", &|_, start| (start, u32::MAX)),
    ];
    for (what, clock) in clocks {
        fs::write(&path, with_times(&capture, clock)).unwrap();
        for workers in ["1", "3"] {
            let file = path.to_str().unwrap();
            let ran = run(["analyze", "--format=ndjson", "--workers", workers, file]);
            assert_eq!(ran.code, 1, "{what}: {}", ran.err);
            let records = ran.records();
            assert_eq!(kinds(&records), expected, "{what}");
            let summary = summary(&records);
            assert_eq!(imbalance(summary), None, "{what}");
            let totals = own(summary, "totals");
            assert!(totals["start"].as_str() <= totals["end"].as_str(), "{what}: {totals}");
        }
        for format in ["text", "sarif", "junit"] {
            let ran = run(["analyze", "--format", format, path.to_str().unwrap()]);
            assert_eq!(ran.code, 1, "{what} as {format}: {}", ran.err);
        }
    }
}

/// Returns a packet whose hash leads to a shard.
fn packet_of(shard: u64) -> Packet {
    let ends = (([10, 0, 0, 1], 40_000), ([10, 0, 0, 2], 8280));
    let (key, side) = FlowKey::v4(ends.0, ends.1, Transport::Tcp, EncapId::default());
    Packet {
        key,
        hash: shard << 58,
        at: At { frame: 1, time: Timestamp(0) },
        wire_len: 60,
        frames: 1,
        payload: Span::default(),
        cut_len: 0,
        tcp: TcpHeader::default(),
        point: PointId(0),
        side,
        outer: 0,
        counted_only: false,
        merged: false,
    }
}

#[test]
fn a_worker_that_dies_fails_the_run() {
    let tools = Tools {
        options: inspect::Options::default(),
        fingerprinter: Fingerprinter::new(b"integration"),
    };
    std::thread::scope(|scope| {
        let mut crew = Threads::start(scope, 5, &tools).unwrap();
        // Packets that belong to other lanes: the only way to make a worker panic from outside.
        let mut batch = Batch { block: Some(Arc::default()), ..Batch::default() };
        batch.packets.extend((0..64).map(packet_of));
        crew.send(4, batch);
        let error = crew.finish().err().expect("it is no pass");
        assert!(error.to_string().contains("a worker thread died"), "{error}");
        assert!(error.hint_text().is_some());
    });
}
