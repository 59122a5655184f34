//! What others parse and read: the schema, and the reports of the demo as people see them.

use std::path::Path;

use jsonschema::Validator;
use portreeve::report::ndjson::SCHEMA;
use serde_json::Value;
use snapbox::{Data, assert_data_eq};

use crate::support::{all_captures, analyze, command, own, public_set, root, run};

fn validator() -> Validator {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    jsonschema::validator_for(&schema).expect("the schema is one")
}

/// Returns what of a report is against the schema.
fn against(validator: &Validator, path: &Path) -> Vec<String> {
    let (_, records) = analyze(path);
    let mut faults = Vec::new();
    for record in &records {
        for error in validator.iter_errors(record) {
            let place = error.instance_path().to_string();
            faults.push(format!("{}: {place}: {error}: {record}", path.display()));
        }
    }
    faults
}

#[test]
fn every_record_keeps_the_schema() {
    let validator = validator();
    let mut faults: Vec<_> =
        all_captures().values().flat_map(|path| against(&validator, path)).collect();
    if let Some(set) = public_set("every_record_keeps_the_schema") {
        for entry in std::fs::read_dir(set.join("captures")).unwrap() {
            faults.extend(against(&validator, &entry.unwrap().path()));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn what_a_site_declares_is_told_though_nothing_answered() {
    let site = ["--site", "tests/data/declared.toml"];
    let of_demo = ["analyze", "--format", "ndjson", "captures/demo.pcap"];
    let absences = run(of_demo.into_iter().chain(site)).records();
    let validator = validator();
    let absences: Vec<_> = absences
        .iter()
        .inspect(|record| assert!(validator.is_valid(record), "{record}"))
        .filter(|record| own(record, "finding")["kind"] == "expected-flow-absent")
        .collect();
    let mut ids: Vec<_> = absences.iter().map(|record| record["flow_id"].to_string()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert!(absences.len() > 1);
    assert_eq!(ids.len(), absences.len(), "one finding of a kind a flow");

    let refused = ["--site", "tests/data/declared.toml", "--filter", "port 9099"];
    let records = run(of_demo.into_iter().chain(refused)).records();
    let host = records.iter().find(|record| record["event_type"] == "host").expect("it refused");
    let host = own(host, "host");
    assert_eq!(host["ports"]["refused"][0]["port"], 9099);
    let notes = host["notes"].to_string();
    assert!(notes.contains("gateway-websocket on 9099/tcp is declared disabled"), "{notes}");
}

/// Returns the demo's report in so many columns.
fn demo(columns: &str) -> String {
    let output = command()
        .env("COLUMNS", columns)
        .args(["analyze", "--fingerprint-key", "tests/data/key", "captures/demo.pcap"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    without_hashes(&String::from_utf8(output.stdout).unwrap())
}

/// Replaces the hashes of catalogue and policy, which change with every port.
fn without_hashes(text: &str) -> String {
    let is_hash =
        |word: &str| word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let line = |line: &str| {
        if !line.contains("catalogue ") && !line.contains("policy ") {
            return line.to_owned();
        }
        let words = line.split(' ').map(|word| {
            if is_hash(word.trim_end_matches(',')) {
                word.replace(|c: char| c.is_ascii_hexdigit(), "#")
            } else {
                word.to_owned()
            }
        });
        words.collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn the_demo_reads_well_in_80_columns() {
    let text = demo("80");
    let longest = text.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(80), "a line has {longest:?} characters");
    assert_data_eq!(text, Data::read_from(&root().join("tests/data/demo-80.txt"), None).raw());
}

#[test]
fn the_demo_reads_well_in_200_columns() {
    assert_data_eq!(
        demo("200"),
        Data::read_from(&root().join("tests/data/demo-200.txt"), None).raw()
    );
}

#[test]
fn the_readme_shows_the_demo() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let shown = readme.split("```text\n").nth(1).and_then(|rest| rest.split("\n```").next());
    let shown = shown.expect("the README has an excerpt of the demo");
    let critical = shown.find("CRITICAL ").expect("the excerpt has the gravest finding");
    let golden = std::fs::read_to_string(root().join("tests/data/demo-80.txt")).unwrap();
    assert!(golden.contains(&shown[critical..]), "README.md shows another report than the demo's");
}
