//! Bytes that nobody meant: every fuzz target over mutated seeds, and the built binary over mutated captures.
//!
//! Runs a sample; `PORTREEVE_MUTATIONS=10000` says how many mutations of each capture, and of each seed, to
//! run instead.

use std::collections::BTreeMap;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::{all_captures, imbalance, number, own, root, run, summary};

/// What the fuzz targets do, here without a fuzzer.
#[expect(unreachable_pub, reason = "it is a package of its own")]
#[path = "../fuzz/src/lib.rs"]
mod targets;

/// Mutations of each seed, unless told otherwise: seconds in all.
const OF_A_SEED: u64 = 20;

/// Endless continuations of each seed, unless told otherwise.
const OF_AN_END: u64 = 3;

/// Mutations of each capture, unless told otherwise: seconds in all.
const OF_A_CAPTURE: u64 = 8;

/// Mutated captures that one run of the binary reads.
const A_RUN: usize = 64;

/// No run may take longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Memory that no run may take: a fraction of the default limit, for what is small.
const MEMORY_MAX: u64 = 400 << 20;

/// Says how many mutations to run.
fn mutations(sample: u64) -> u64 {
    let told = std::env::var("PORTREEVE_MUTATIONS").ok();
    told.map_or(sample, |number| number.parse().expect("PORTREEVE_MUTATIONS is a number"))
}

/// Numbers that look random and are the same in every run (Marsaglia's xorshift).
struct Numbers(u64);

impl Numbers {
    fn of(seed: &str, turn: u64) -> Self {
        let mix = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        let start = seed.bytes().chain(turn.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, mix);
        Self(start | 1)
    }

    /// Returns a number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 16) % end.max(1) as u64).expect("it is below a usize")
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("it is below 256")
    }
}

/// Values at which lengths and counts turn over.
const ODD: [u8; 8] = [0, 1, 0x7f, 0x80, 0xf5, 0xfe, 0xff, b'\n'];

/// Changes one to eight places.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
    for _ in 0..=numbers.below(8) {
        let at = numbers.below(bytes.len() + 1);
        let end = (at + 1 + numbers.below(64)).min(bytes.len());
        match numbers.below(9) {
            0..=2 if at < bytes.len() => bytes[at] = numbers.byte(),
            3 if at < bytes.len() => bytes[at] = ODD[numbers.below(ODD.len())],
            4 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            5 => bytes.insert(at, numbers.byte()),
            6 if at < end => drop(bytes.drain(at..end)),
            7 if at < end => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            8 => {
                let from = numbers.below(other.len() + 1);
                let to = (from + numbers.below(200)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => bytes.truncate(at),
        }
    }
}

/// Returns the files of a folder by their names.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeMap::new() };
    let read = |path: PathBuf| {
        let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
        (name, fs::read(path).expect("it is readable"))
    };
    entries.map(|entry| read(entry.expect("it is readable").path())).collect()
}

/// Runs a target on some bytes, and says which they were when it fails.
fn hits(name: &str, target: fn(&[u8]), bytes: &[u8], what: &str) {
    let begun = Instant::now();
    let result = catch_unwind(|| target(bytes));
    let shown = bytes[..bytes.len().min(4096)].escape_ascii();
    assert!(result.is_ok(), "{name} fails on {what}: {shown}");
    let took = begun.elapsed();
    assert!(took < PATIENCE, "{name} takes {took:?} on {what}: {shown}");
}

#[test]
fn every_fuzz_target_holds_on_mutated_seeds() {
    for (name, target) in targets::TARGETS {
        let seeds = files(&root().join("fuzz/seeds").join(name));
        assert!(!seeds.is_empty(), "{name} has seeds");
        for (index, (seed, bytes)) in seeds.iter().enumerate() {
            hits(name, target, bytes, seed);
            let other = seeds.values().nth((index * 7 + 3) % seeds.len()).expect("it is below");
            for turn in 0..mutations(OF_A_SEED) {
                let mut mutated = bytes.clone();
                mutate(&mut mutated, other, &mut Numbers::of(seed, turn));
                hits(name, target, &mutated, &format!("{seed}, mutation {turn}"));
            }
        }
    }
}

/// What never ends: headers, white space, brackets, lengths, nested values, chunks, marks of the script.
const ENDLESS: [&[u8]; 14] = [
    b"a",
    b"\r\n",
    b"\r\n ",
    b"X-Header: value\r\n",
    b"Authorization: Bearer CANARY-1\r\n",
    b"1\r\na\r\n",
    b"{\"a\":[",
    b"&a=",
    b"\x30\x80",
    b"\x30\x84\x7f\xff\xff\xff",
    b"\x00",
    b"\xff",
    b"\xf5\x08\x01a",
    b"\xf5\x00a\xf5\x01\x01",
];

/// Length of what never ends: where a cost that grows with the square of the length would show.
const ENDLESS_LEN: usize = 64 << 10;

#[test]
fn what_never_ends_costs_no_more_than_its_length() {
    for (name, target) in targets::TARGETS {
        for (seed, bytes) in files(&root().join("fuzz/seeds").join(name)) {
            for turn in 0..mutations(OF_AN_END) {
                let mut numbers = Numbers::of(&seed, turn);
                let mut mutated = bytes.clone();
                mutated.truncate(2 + numbers.below(bytes.len() + 1));
                // Where a byte says how to read, bytes come one by one.
                let setting = usize::from(name == "inspectors");
                if turn % 2 == 0 && mutated.len() > setting {
                    mutated[setting] |= 8;
                }
                let pattern = ENDLESS[numbers.below(ENDLESS.len())];
                mutated.extend(pattern.iter().cycle().take(ENDLESS_LEN));
                hits(name, target, &mutated, &format!("{seed}, then {}", pattern.escape_ascii()));
            }
        }
    }
}

#[test]
fn every_crash_of_the_past_stays_mended() {
    for (name, target) in targets::TARGETS {
        for (case, bytes) in files(&root().join("fuzz/regressions").join(name)) {
            hits(name, target, &bytes, &case);
        }
    }
}

/// Reads mutated captures with the built binary, each as an input of its own.
fn hold(mutants: &mut Vec<PathBuf>) {
    let Some(first) = mutants.first() else { return };
    let what = format!("{} mutations, {} the first", mutants.len(), first.display());
    let mut arguments = vec!["analyze".into(), "--format=ndjson".into(), "--separate".into()];
    arguments.extend(mutants.drain(..).map(PathBuf::into_os_string));
    let begun = Instant::now();
    let ran = run(arguments);
    let took = begun.elapsed();
    assert!((0..=3).contains(&ran.code), "{what}: exit code {}: {}", ran.code, ran.err);
    assert!(!ran.err.contains("panicked"), "{what}: {}", ran.err);
    assert!(took < PATIENCE, "{what}: {took:?}");
    let records = ran.records();
    if ran.code == 2 {
        assert!(ran.err.contains("nothing could be read"), "{what}: {}", ran.err);
        return;
    }
    let summary = summary(&records);
    assert_eq!(imbalance(summary), None, "{what}");
    let peak = number(&own(summary, "run")["peak_memory_bytes"]);
    assert!(peak < MEMORY_MAX, "{what}: {peak} bytes of memory");
}

#[test]
fn every_mutated_capture_gives_a_balanced_report() {
    let folder = tempfile::tempdir().unwrap();
    let captures = all_captures();
    let mut mutants = Vec::new();
    for (index, (name, path)) in captures.iter().enumerate() {
        let bytes = fs::read(path).unwrap();
        let other = captures.values().nth((index * 7 + 3) % captures.len()).unwrap();
        let other = fs::read(other).unwrap();
        for turn in 0..mutations(OF_A_CAPTURE) {
            let (mut mutated, mut numbers) = (bytes.clone(), Numbers::of(name, turn));
            // Every fourth is only cut off.
            if turn % 4 == 0 {
                mutated.truncate(numbers.below(bytes.len() + 1));
            } else {
                mutate(&mut mutated, &other, &mut numbers);
            }
            let mutant = folder.path().join(format!("{}-{turn}", name.replace('/', "-")));
            fs::write(&mutant, mutated).unwrap();
            mutants.push(mutant);
            if mutants.len() == A_RUN {
                let written = mutants.clone();
                hold(&mut mutants);
                for mutant in &written {
                    fs::remove_file(mutant).unwrap();
                }
            }
        }
    }
    hold(&mut mutants);
}
