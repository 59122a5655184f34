//! The captures of the tree: what `captures/truth.json` says must be found is found, and nothing else.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{
    FINDINGS, Sum, analyze, captures, evidence, gathered_files, imbalance, number, of_type, own,
    summary, truth,
};

/// Kinds beside the credentials that a capture has only if its truth names them.
const MISMATCHES: [&str; 3] = ["plaintext-on-tls-port", "tls-on-plain-port", "obsolete-tls"];

/// Returns findings as truth.json has them.
fn expected(truth: &Value) -> BTreeMap<&str, Sum> {
    let findings = truth["findings"].as_object().into_iter().flatten();
    let sum = |sum: &Value| Sum { flows: number(&sum["flows"]), count: number(&sum["count"]) };
    findings.map(|(kind, value)| (kind.as_str(), sum(value))).collect()
}

/// Returns counts by name, those of 0 left out.
fn counts(value: &Value) -> BTreeMap<&str, u64> {
    let counts = value.as_object().into_iter().flatten();
    counts.map(|(name, count)| (name.as_str(), number(count))).filter(|(_, n)| *n > 0).collect()
}

/// Says of one capture how the report differs from the truth.
fn differences(name: &str, truth: &Value) -> Vec<String> {
    let (ran, records) = analyze(&captures()[name]);
    let mut differences = Vec::new();
    let mut differ = |what: &str, expected: String, found: String| {
        if expected != found {
            differences.push(format!("{name}: {what}: expected {expected}, found {found}"));
        }
    };
    if let Some(code) = truth["exit"].as_i64() {
        differ("exit code", code.to_string(), ran.code.to_string());
        if code == 2 {
            differ("records", "0".to_owned(), records.len().to_string());
            return differences;
        }
    }
    let summary = summary(&records);
    let ledger = &own(summary, "ledger")["total"];
    let all = |value: &Value| format!("{:?}", counts(value));
    if let Some(frames) = truth["frames"].as_u64() {
        differ("frames", frames.to_string(), number(&ledger["received"]).to_string());
    }
    let flows = of_type(&records, "flow");
    differ("flows", truth["flows"].to_string(), flows.len().to_string());
    // Files hold what was on the wire: a mark of offload would be another mark's bit.
    let merged = flows.iter().filter(|flow| own(flow, "merged") == &Value::Bool(true)).count();
    differ("flows merged by offload", "0".to_owned(), merged.to_string());
    for key in ["stopped", "uninspected"].into_iter().filter(|key| truth[*key].is_object()) {
        differ(key, all(&truth[key]), all(&ledger[key]));
    }
    if truth["roles"].is_object() {
        let mut roles: BTreeMap<&str, u64> = BTreeMap::new();
        for role in flows.iter().filter_map(|flow| own(flow, "role").as_str()) {
            *roles.entry(role).or_default() += 1;
        }
        differ("roles", all(&truth["roles"]), format!("{roles:?}"));
    }
    differ("the ledger", "None".to_owned(), format!("{:?}", imbalance(summary)));
    let broken = own(summary, "provenance")["inputs"][0]["broken"].is_string();
    differ("broken", truth["broken"].as_bool().unwrap_or(false).to_string(), broken.to_string());
    let (mut found, mut first): (BTreeMap<&str, Sum>, Vec<u64>) = Default::default();
    for alert in of_type(&records, "alert") {
        let finding = own(alert, "finding");
        let kind = finding["kind"].as_str().expect("a finding has a kind");
        let sum = found.entry(kind).or_default();
        sum.flows += 1;
        sum.count += number(&finding["count"]);
        if kind == "plaintext-bearer" {
            first.push(number(&finding["first_frame"]));
        }
    }
    let expected = expected(truth);
    found.retain(|kind, _| {
        let is_credential = FINDINGS.iter().any(|(_, name)| name == kind);
        is_credential || MISMATCHES.contains(kind) || expected.contains_key(kind)
    });
    differ("findings", format!("{expected:?}"), format!("{found:?}"));
    if let Some(frame) = truth["first_frame"].as_u64() {
        differ("first frame", format!("{:?}", [frame]), format!("{first:?}"));
    }
    differences
}

#[test]
fn the_report_says_what_the_captures_show() {
    let differences: Vec<_> =
        truth().iter().flat_map(|(name, truth)| differences(name, truth)).collect();
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
}

#[test]
fn inspection_sees_what_the_captures_show() {
    let mut differences = Vec::new();
    for (name, path) in captures() {
        let truth = &truth()[&name];
        if truth["findings"].is_null() {
            continue;
        }
        let mut expected = expected(truth);
        expected.retain(|kind, _| FINDINGS.iter().any(|(_, name)| name == kind));
        for workers in [0, 2] {
            let found = evidence(&gathered_files(std::slice::from_ref(&path), workers));
            if found != expected {
                differences.push(format!("{name}: expected {expected:?}, found {found:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
}
