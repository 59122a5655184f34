//! Captures that can be shared: what `scrub` and `--evidence` write has the same flows, and no secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use portreeve::capture::file::{Files, Options};
use portreeve::capture::{Block, Event, Source};
use serde_json::Value;

use crate::secrets::leaks;
use crate::support::{
    all_captures, analyze, captures, number, of_type, own, public_set, run, summary,
};

/// Real captures whose flows differ, and why that is right.
const ACCEPTED: [(&str, &str); 2] = [
    // Copies of bytes that differ: both are overwritten, and so no longer do.
    ("ndpi__fuzz-2006-06-26-2594.pcap", "uninspected"),
    ("ndpi__reasm_crash_anon.pcapng", "uninspected"),
];

/// Findings that need the secret itself: those who share the copy cannot know it.
const BY_VALUE: [&str; 4] =
    ["default-credentials", "token-expired", "jwt-unsigned", "token-shared"];

/// What must be the same of a flow.
fn flows(records: &[Value], without: Option<&str>) -> BTreeMap<String, u64> {
    let mut flows = BTreeMap::new();
    for record in of_type(records, "flow") {
        let envelope = ["src_ip", "src_port", "dest_ip", "dest_port", "proto", "app_proto", "vlan"];
        let ours = ["conn_state", "history", "first_frame", "tunnel", "uninspected", "requests"];
        let envelope = envelope.map(|name| record[name].to_string());
        let ours = ours.iter().filter(|name| Some(**name) != without);
        let ours: Vec<_> = ours.map(|name| own(record, name).to_string()).collect();
        let flow = format!("{envelope:?} {} {ours:?}", record["flow"]);
        *flows.entry(flow).or_default() += 1;
    }
    flows
}

/// Returns findings by kind, with the sum of their counts.
fn findings(records: &[Value]) -> BTreeMap<String, u64> {
    let mut findings = BTreeMap::new();
    for alert in of_type(records, "alert") {
        let finding = own(alert, "finding");
        let kind = finding["kind"].as_str().unwrap().to_owned();
        if !BY_VALUE.contains(&kind.as_str()) {
            *findings.entry(kind).or_default() += number(&finding["count"]);
        }
    }
    findings
}

fn stopped(records: &[Value]) -> &Value {
    &own(summary(records), "ledger")["total"]["stopped"]
}

/// Scrubs a capture; `None` where it cannot be read.
fn scrubbed(capture: &Path, folder: &Path) -> Option<PathBuf> {
    let out = folder.join("scrubbed.pcapng");
    let ran = run([Path::new("scrub"), capture, &out]);
    match ran.code {
        0 => Some(out),
        2 => {
            assert!(ran.err.contains("nothing could be read"), "{}", ran.err);
            None
        }
        code => panic!("{code}: {}", ran.err),
    }
}

/// Says how a scrubbed capture differs from its original.
fn difference(name: &str, path: &Path, folder: &Path, without: Option<&str>) -> Vec<String> {
    let Some(out) = scrubbed(path, folder) else { return Vec::new() };
    let (_, before) = analyze(path);
    let (_, after) = analyze(&out);
    let mut differences = Vec::new();
    let (before_flows, after_flows) = (flows(&before, without), flows(&after, without));
    for flow in before_flows.keys().filter(|flow| !after_flows.contains_key(*flow)) {
        differences.push(format!("{name}: no more: {flow}"));
    }
    for flow in after_flows.keys().filter(|flow| !before_flows.contains_key(*flow)) {
        differences.push(format!("{name}: new: {flow}"));
    }
    if stopped(&before) != stopped(&after) {
        differences.push(format!("{name}: {} is now {}", stopped(&before), stopped(&after)));
    }
    for leak in leaks(&std::fs::read(&out).unwrap()) {
        differences.push(format!("{name}: holds {leak}"));
    }
    differences
}

#[test]
fn a_scrubbed_capture_has_the_same_flows_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let mut differences = Vec::new();
    for (name, path) in all_captures() {
        differences.extend(difference(&name, &path, folder.path(), None));
    }
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
}

#[test]
fn a_scrubbed_capture_has_the_findings_that_need_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    for (name, path) in captures() {
        let Some(out) = scrubbed(&path, folder.path()) else { continue };
        let (before, after) = (analyze(&path).1, analyze(&out).1);
        assert_eq!(findings(&before), findings(&after), "{name}");
    }
}

#[test]
fn a_scrubbed_real_capture_has_the_same_flows() {
    let test = "a_scrubbed_real_capture_has_the_same_flows";
    let Some(set) = public_set(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut differences = Vec::new();
    for entry in std::fs::read_dir(set.join("captures")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let accepted = ACCEPTED.iter().find(|(file, _)| *file == name);
        let without = accepted.map(|(_, field)| *field);
        differences.extend(difference(&name, &path, folder.path(), without));
        if without.is_some() {
            let all = difference(&name, &path, folder.path(), None);
            assert!(!all.is_empty(), "{name} is accepted without need");
        }
    }
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
}

/// Returns the number of frames of a capture.
fn frames(path: &Path) -> u64 {
    let mut source = Files::open(vec![path.into()], &Options::default()).unwrap();
    let (mut block, mut frames) = (Block::default(), 0);
    loop {
        match source.next(&mut block).unwrap() {
            Event::Frames => frames += block.frames.len() as u64,
            Event::End => return frames,
            _ => {}
        }
    }
}

#[test]
fn evidence_is_the_packets_of_flows_with_findings() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("evidence.pcapng");
    for name in ["demo.pcap", "link/ipv4-fragments-reversed.pcap", "http/mirrored-twice.pcap"] {
        let path = &captures()[name];
        let arguments = [
            Path::new("analyze"),
            path,
            "--format".as_ref(),
            "ndjson".as_ref(),
            "--evidence".as_ref(),
            &out,
        ];
        let records = run(arguments).records();
        let ids: Vec<_> = of_type(&records, "alert").iter().map(|r| r["flow_id"].clone()).collect();
        let with_findings = of_type(&records, "flow").into_iter();
        let with_findings = with_findings.filter(|flow| ids.contains(&flow["flow_id"]));
        let packets = with_findings
            .map(|flow| ["pkts_toserver", "pkts_toclient"].map(|n| number(&flow["flow"][n])))
            .map(|[there, back]| there + back);
        assert_eq!(frames(&out), packets.sum::<u64>(), "{name}");
        let bytes = std::fs::read(&out).unwrap();
        assert_eq!(leaks(&bytes), Vec::<String>::new(), "{name}");
        for alert in of_type(&records, "alert") {
            let rule = own(alert, "finding")["rule"].as_str().unwrap();
            let comment = format!("portreeve: {rule}");
            assert!(memchr::memmem::find(&bytes, comment.as_bytes()).is_some(), "{name}: {rule}");
        }
        assert_eq!(findings(&analyze(&out).1), findings(&records), "{name}");
    }
}

#[test]
fn evidence_leaves_out_what_the_run_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("evidence.pcapng");
    let path = &captures()["demo.pcap"];
    let evidence = |more: &[&str]| {
        let mut arguments: Vec<&Path> = vec!["analyze".as_ref(), path, "--evidence".as_ref(), &out];
        arguments.extend(more.iter().map(Path::new));
        let ran = run(arguments);
        assert_ne!(ran.code, 2, "{}", ran.err);
        frames(&out)
    };
    let all = evidence(&[]);
    let some = evidence(&["--until", "2026-11-23T09:16:00Z"]);
    assert!(some > 0 && some < all, "{some} of {all}");
    if cfg!(feature = "live") {
        let some = evidence(&["--filter", "tcp port 8280"]);
        assert!(some > 0 && some < all, "{some} of {all}");
    }
}

#[test]
fn evidence_without_findings_is_an_empty_capture() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("evidence.pcapng");
    let path = &captures()["link/no-flows.pcap"];
    let ran = run([Path::new("analyze"), path, "--evidence".as_ref(), &out]);
    assert_eq!((ran.code, frames(&out)), (0, 0), "{}", ran.err);
}

#[test]
fn what_cannot_be_read_twice_or_would_be_lost_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.pcap");
    std::fs::copy(&captures()["demo.pcap"], &input).unwrap();
    let before = std::fs::read(&input).unwrap();
    let out = folder.path().join("out.pcapng");
    let link = folder.path().join("link.pcap");
    std::os::unix::fs::symlink(&input, &link).unwrap();
    for arguments in [
        vec![Path::new("scrub"), &input, &input],
        vec![Path::new("scrub"), &input, &link],
        vec![Path::new("scrub"), Path::new("-"), &out],
        vec![Path::new("analyze"), &input, "--evidence".as_ref(), &input],
        vec![Path::new("analyze"), folder.path(), "--evidence".as_ref(), &out],
        vec![Path::new("analyze"), "-".as_ref(), "--evidence".as_ref(), &out],
        vec![Path::new("scrub"), &folder.path().join("absent"), &out],
    ] {
        let ran = run(&arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.starts_with("error: "), "{arguments:?}: {}", ran.err);
        assert!(!out.exists(), "{arguments:?}");
    }
    assert_eq!(std::fs::read(&input).unwrap(), before);
}
