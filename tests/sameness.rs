//! One input and one key give one report, byte for byte, however many threads made it.

use std::fs;

use serde_json::Value;

use crate::support::{public_set, root, run};

/// Returns a report; in NDJSON the summary's wall-clock figures are left out.
fn report(inputs: &[String], format: &str, workers: &str) -> String {
    let key = root().join("tests/data/key");
    let mut arguments = vec!["analyze", "--separate", "--format", format, "--workers", workers];
    arguments.extend(["--fingerprint-key", key.to_str().unwrap()]);
    arguments.extend(inputs.iter().map(String::as_str));
    let ran = run(arguments);
    assert!((0..=3).contains(&ran.code) && ran.code != 2, "{}", ran.err);
    if format != "ndjson" {
        return ran.text().to_owned();
    }
    let without_run = |line: &str| {
        let Some(at) = line.find("\"run\":{") else { return line.to_owned() };
        let end = at + line[at..].find('}').expect("it ends");
        format!("{}{}", &line[..at], &line[end + 1..])
    };
    ran.text().lines().map(without_run).collect::<Vec<_>>().join("\n")
}

fn same_with_any_workers(inputs: &[String]) {
    for format in ["text", "ndjson"] {
        let one = report(inputs, format, "1");
        assert!(one.len() > 1000, "a report says something");
        for workers in ["2", "7"] {
            let other = report(inputs, format, workers);
            let at = one.bytes().zip(other.bytes()).position(|(a, b)| a != b);
            let near = at.map(|at| {
                let from = at.saturating_sub(200);
                [&one, &other].map(|text| {
                    String::from_utf8_lossy(&text.as_bytes()[from..(at + 80).min(text.len())])
                        .into_owned()
                })
            });
            assert!(one == other, "{format} with {workers} workers differs near {near:?}");
        }
    }
}

#[test]
fn the_number_of_workers_changes_nothing() {
    let folders = ["demo.pcap", "http", "flow", "link", "file"];
    same_with_any_workers(&folders.map(|folder| format!("captures/{folder}")));
}

#[test]
fn the_number_of_workers_changes_nothing_of_real_captures() {
    let test = "the_number_of_workers_changes_nothing_of_real_captures";
    let Some(set) = public_set(test) else { return };
    same_with_any_workers(&[set.join("captures").to_str().unwrap().to_owned()]);
}

#[test]
fn one_key_gives_the_same_fingerprints_and_another_key_others() {
    let folder = tempfile::tempdir().unwrap();
    let prints = |key: Option<&str>| {
        let mut arguments = vec!["analyze".to_owned(), "--format=ndjson".to_owned()];
        if let Some(key) = key {
            let path = folder.path().join("key");
            fs::write(&path, key).unwrap();
            arguments.push(format!("--fingerprint-key={}", path.display()));
        }
        arguments.push("captures/demo.pcap".to_owned());
        let mut prints = Vec::new();
        for record in run(arguments).records() {
            let evidence = record["portreeve"]["finding"]["evidence"].as_array().cloned();
            let all = evidence.into_iter().flatten().flat_map(|evidence| {
                evidence["fingerprints"].as_array().cloned().unwrap_or_default()
            });
            prints.extend(all.map(|print: Value| print["fingerprint"].to_string()));
        }
        assert!(prints.len() > 5, "the demo has tokens");
        prints
    };
    let (one, again, other) = (prints(Some("one")), prints(Some("one")), prints(Some("other")));
    assert_eq!(one, again);
    assert!(one.iter().all(|print| !other.contains(print)), "another key, other fingerprints");
    assert_ne!(prints(None), prints(None), "without a key each run has its own");
}
