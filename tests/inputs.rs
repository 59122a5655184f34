//! Inputs that are no files, and compressed ones that are cut or swell: each ends at once or is read to its
//! end, and none is a pass by mistake.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::faults::{TOKEN, fails};
use crate::support::{analyze, number, own, root, run, summary};

/// What can stand in place of a file: its path, what is said of it as a capture, and as a file of the user's.
const NO_FILE: [(&str, &str, &str); 4] = [
    ("/dev/zero", "is no capture", "longer than"),
    ("/dev/null", "is empty", ""),
    ("SOCKET", "cannot be opened", "No such device"),
    ("FOLDER", "no capture was found", "Is a directory"),
];

#[test]
fn what_is_no_file_ends_the_run_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    for (path, as_capture, as_own) in NO_FILE {
        let path = match path {
            "SOCKET" => socket.to_str().unwrap(),
            "FOLDER" => empty.to_str().unwrap(),
            device => device,
        };
        let ran = run(["analyze", path]);
        assert_eq!(ran.code, 2, "{path}: {}", ran.err);
        assert!(ran.err.starts_with("error: ") && ran.err.contains(as_capture), "{}", ran.err);
        assert!(ran.out.is_empty(), "{path}");
        fails(&run(["scrub", path, "/dev/null"]), "", path);
        if as_own.is_empty() {
            continue;
        }
        for flag in ["--site", "--policy", "--baseline"] {
            fails(&run(["analyze", flag, path, TOKEN]), as_own, flag);
        }
    }
    fails(&run(["analyze", "--fingerprint-key", "/dev/zero", TOKEN]), "a key has at most", "key");
    let ran = run(["bench", "--compare=/dev/zero", "--packets=100", "--seconds=0.01"]);
    fails(&ran, "longer than", "bench");
}

/// Frames of a bomb, of 64 KiB each.
const FRAMES: u64 = 1 << 12;

/// Makes a gzip file of a capture and a quarter of a gibibyte in frames that hold nothing but zeros.
fn bomb(path: &Path) {
    let capture = fs::read(root().join(TOKEN)).unwrap();
    let len = 1_u32 << 16;
    let record: Vec<u8> =
        [1_795_425_400, 0, len, len].iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    let record = [record, vec![0; 1 << 16]].concat();
    let mut file = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
    file.write_all(&capture).unwrap();
    for _ in 0..FRAMES {
        file.write_all(&record).unwrap();
    }
    file.finish().unwrap();
}

#[test]
fn a_bomb_takes_no_memory_and_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.pcap.gz");
    bomb(&path);
    assert!(fs::metadata(&path).unwrap().len() < 4 << 20);
    let (ran, records) = analyze(&path);
    assert_eq!(ran.code, 1, "{}", ran.err);
    let summary = summary(&records);
    assert_eq!(own(summary, "ledger")["total"]["received"], FRAMES + 9);
    let peak = number(&own(summary, "run")["peak_memory_bytes"]);
    assert!(peak < 128 << 20, "{peak} bytes of memory");
}

/// Compresses in a format whose name is in the message.
type Compress = fn(&[u8]) -> Vec<u8>;

const COMPRESSIONS: [(&str, Compress); 3] = [
    ("gzip", |bytes| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }),
    ("zstd", |bytes| zstd::encode_all(bytes, 1).unwrap()),
    ("lz4", |bytes| {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }),
];

#[test]
fn a_compressed_capture_that_is_cut_is_never_a_pass() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut");
    let capture = fs::read(root().join(TOKEN)).unwrap();
    for (name, compress) in COMPRESSIONS {
        // Two members: the first one, which has all but the last record, stays whole.
        let whole = compress(&capture[..capture.len() - 60]);
        let both = [&whole[..], &compress(&capture[capture.len() - 60..])].concat();
        for len in (1..whole.len()).step_by(whole.len() / 12).chain(whole.len() + 1..both.len()) {
            fs::write(&path, &both[..len]).unwrap();
            let ran = run(["analyze", "--format=ndjson", path.to_str().unwrap()]);
            let what = format!("{name} cut to {len}: {}", ran.err);
            assert!(matches!(ran.code, 1..=3), "{what}");
            let first = ran.err.lines().next().expect("it is said");
            assert!(
                first.starts_with("error: ") && first.contains(&*path.to_string_lossy()),
                "{what}"
            );
            if len > whole.len() {
                assert_eq!(ran.code, 1, "{what}");
                assert!(ran.text().contains("\"unread-tail\""), "{what}");
            }
        }
    }
}
