//! Real captures from public repositories, where they lie beside the package: read to the packet, and their
//! credentials found with their traps.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Ran, analyze, imbalance, number, of_type, own, public_set, summary};

/// Files that hold nothing that can be read: the run fails with a line that says so.
fn unreadable(set: &Path) -> BTreeSet<String> {
    let truth = ground_truth(set);
    let is = |file: &Value| number(&file["capinfos_packets"]) == 0;
    truth.into_iter().filter(|(_, file)| is(file)).map(|(name, _)| name).collect()
}

fn ground_truth(set: &Path) -> serde_json::Map<String, Value> {
    let text = fs::read_to_string(set.join("GROUND_TRUTH.json")).expect("the set has its truth");
    serde_json::from_str(&text).expect("it is an object by file")
}

fn files(set: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(set.join("captures")).expect("the set has its captures");
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 90, "the set is whole");
    files
}

fn name_of(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Runs each file once; the tests below look at the same runs.
fn each(test: &str, mut look: impl FnMut(&str, &Ran, &[Value])) {
    let Some(set) = public_set(test) else { return };
    for path in files(&set) {
        let (ran, records) = analyze(&path);
        assert!(!ran.err.contains("panicked"), "{}: {}", path.display(), ran.err);
        look(name_of(&path), &ran, &records);
    }
}

#[test]
fn every_packet_of_real_captures_is_in_the_ledger() {
    let test = "every_packet_of_real_captures_is_in_the_ledger";
    let Some(set) = public_set(test) else { return };
    let (truth, unreadable) = (ground_truth(&set), unreadable(&set));
    let mut faults = Vec::new();
    each(test, |name, ran, records| {
        if !(0..=3).contains(&ran.code) {
            faults.push(format!("{name}: exit code {}", ran.code));
        }
        if records.is_empty() {
            if !unreadable.contains(name) || !ran.err.contains(name) {
                faults.push(format!("{name}: not read: {}", ran.err));
            }
            return;
        }
        let summary = summary(records);
        let received = number(&own(summary, "ledger")["total"]["received"]);
        let expected = number(&truth[name]["capinfos_packets"]);
        if received != expected {
            faults
                .push(format!("{name}: {received} packets, capinfos says {expected}: {}", ran.err));
        }
        faults.extend(imbalance(summary).map(|fault| format!("{name}: {fault}")));
    });
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn credentials_of_real_captures_are_found_and_their_traps_are_not() {
    let test = "credentials_of_real_captures_are_found_and_their_traps_are_not";
    let Some(set) = public_set(test) else { return };
    let text = fs::read_to_string(set.join("AUTH.tsv")).expect("the set has its credentials");
    let mut expected = BTreeSet::new();
    for line in text.lines().skip(1) {
        let fields: Vec<_> = line.split('\t').collect();
        let kind = match fields[4] {
            "bearer" => "plaintext-bearer",
            "basic" => "basic-auth-cleartext",
            // NTLM is no finding; lines without a scheme are traps.
            _ => continue,
        };
        expected
            .insert(format!("{} {kind} {} {} -> {}", fields[0], fields[1], fields[5], fields[6]));
    }
    assert!(expected.len() > 3, "the list was read");
    let mut found = BTreeSet::new();
    each(test, |name, _, records| {
        for alert in of_type(records, "alert") {
            let finding = own(alert, "finding");
            let kind = finding["kind"].as_str().expect("a finding has a kind");
            if !["plaintext-bearer", "basic-auth-cleartext"].contains(&kind) {
                continue;
            }
            let end =
                |ip: &str, port: &str| format!("{}:{}", alert[ip].as_str().unwrap(), alert[port]);
            found.insert(format!(
                "{name} {kind} {} {} -> {}",
                finding["first_frame"],
                end("src_ip", "src_port"),
                end("dest_ip", "dest_port")
            ));
        }
    });
    assert_eq!(found, expected);
}
