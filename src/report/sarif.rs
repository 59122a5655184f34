//! SARIF 2.1.0 (OASIS, <https://docs.oasis-open.org/sarif/sarif/v2.1.0/>), for code scanning and CI.
//!
//! A result is what a rule says of one endpoint: flows that differ only in their client or their time are
//! one result with a count, whose fingerprint stays the same from run to run. It points at the rule's file
//! and line, since a capture has no source code, and names the endpoint as logical location.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::SocketAddr;

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Sink;
use super::json::Careful;
use super::record::{AlertRecord, BaselineState, Record, RuleRecord, Severity, SuppressionRecord};
use super::summary::{BaselineEntry, Outcome, RuleTotals, Summary};
use crate::error::Printable;
use crate::packet::Transport;

/// Where the schema is published.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// Names the way in which fingerprints are made; another way needs another name.
const FINGERPRINT: &str = "portreeve/v1";

/// Hexadecimal digits of a fingerprint: 128 bits, as no two results of a run may share one.
const FINGERPRINT_LEN: usize = 32;

/// Results of one rule: more endpoints than a platform has, and with all rules what code scanning takes at
/// once. What is beyond is counted in a notification.
const RESULTS_MAX: usize = 1_000;

/// Gathers results and writes everything at the end.
pub struct Sarif {
    out: Box<dyn Write + Send>,
    results: Vec<Finding>,
    by_key: HashMap<Key, usize>,
    /// By rule, the number of its results, and the flows of those that are beyond.
    by_rule: BTreeMap<String, (usize, u64)>,
}

/// What makes two alerts one result.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    rule: String,
    role: String,
    responder: SocketAddr,
    transport: Transport,
    suppression: Option<(String, usize)>,
    baseline: Option<BaselineState>,
    row: Option<String>,
}

/// One result on its way.
struct Finding {
    key: Key,
    severity: Severity,
    service: Option<String>,
    suppression: Option<SuppressionRecord>,
    flows: u64,
    count: u64,
    /// The first alert: who, and when.
    initiator: SocketAddr,
    first_seen: String,
    detail: Option<String>,
}

impl Sarif {
    /// Writes to `out`, at the end of the report.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, results: Vec::new(), by_key: HashMap::new(), by_rule: BTreeMap::new() }
    }

    fn alert(&mut self, alert: &AlertRecord<'_>) {
        if alert.update {
            // The flow was counted when its alert went out first.
            return;
        }
        let key = Key {
            rule: alert.rule.id.clone(),
            role: alert.tag.role.unwrap_or("unclassified").to_owned(),
            responder: alert.envelope.responder,
            transport: alert.envelope.transport,
            suppression: alert.suppression.map(|s| (s.file.clone(), s.line)),
            baseline: alert.baseline,
            row: alert.row.map(str::to_owned),
        };
        if let Some(index) = self.by_key.get(&key) {
            let known = &mut self.results[*index];
            known.flows += 1;
            known.count += alert.count;
            known.severity = known.severity.max(alert.severity);
            return;
        }
        let (results, beyond) = self.by_rule.entry(key.rule.clone()).or_default();
        if *results >= RESULTS_MAX {
            *beyond += 1;
            return;
        }
        *results += 1;
        self.by_key.insert(key.clone(), self.results.len());
        self.results.push(Finding {
            key,
            severity: alert.severity,
            service: alert.tag.service.map(str::to_owned),
            suppression: alert.suppression.cloned(),
            flows: 1,
            count: alert.count,
            initiator: alert.envelope.initiator,
            first_seen: utc(alert.first_seen),
            detail: alert.evidence.iter().find_map(|seen| seen.detail).map(str::to_owned),
        });
    }

    fn log(&self, summary: &Summary) -> Value {
        let index: HashMap<&str, usize> =
            summary.rules.iter().enumerate().map(|(i, rule)| (rule.rule.id.as_str(), i)).collect();
        let rule = |id: &str| index.get(id).map(|at| (*at, &summary.rules[*at].rule));
        let results = self.results.iter().map(|finding| finding.result(rule(&finding.key.rule)));
        let gone = summary.baseline_gone.iter().map(|entry| absent(entry, rule(&entry.rule)));
        let results: Vec<Value> = results.chain(gone).collect();
        json!({
            "$schema": SCHEMA,
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": {
                    "name": "portreeve",
                    "semanticVersion": summary.provenance.version,
                    "rules": summary.rules.iter().map(descriptor).collect::<Vec<_>>(),
                }},
                "invocations": [invocation(summary, &self.beyond())],
                "results": results,
                "columnKind": "unicodeCodePoints",
                "properties": {
                    "verdict": summary.verdict.result.name(),
                    "failOn": summary.verdict.fail_on,
                    "catalogSha256": summary.provenance.catalog_sha256,
                    "policySha256": summary.provenance.policy_sha256,
                    "siteSha256": summary.provenance.site_sha256,
                },
            }],
        })
    }
}

impl Sarif {
    /// Says of each rule with too many results how much is left out.
    fn beyond(&self) -> Vec<String> {
        let rules = self.by_rule.iter().filter(|(_, (_, beyond))| *beyond > 0);
        rules
            .map(|(rule, (results, beyond))| {
                format!("{rule}: {beyond} more flows at other endpoints than the first {results}")
            })
            .collect()
    }
}

impl Sink for Sarif {
    fn record(&mut self, record: Record<'_>) -> io::Result<()> {
        if let Record::Alert(alert) = record {
            self.alert(alert);
        }
        Ok(())
    }

    fn wants_flows(&self) -> bool {
        false
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        let log = self.log(summary);
        let mut text = Vec::new();
        log.serialize(&mut serde_json::Serializer::with_formatter(&mut text, Careful))?;
        text.push(b'\n');
        self.out.write_all(&text)?;
        self.out.flush()
    }
}

impl Finding {
    /// Says where it is: the endpoint, or the row of a matrix that was missed. A name, and one that says all.
    fn place(&self) -> [String; 2] {
        let Key { rule, responder, transport, row, .. } = &self.key;
        match row {
            None => [responder.to_string(), format!("{responder}/{transport}")],
            Some(row) => {
                let pack = rule.split_once('/').map_or(rule.as_str(), |(pack, _)| pack);
                [format!("row {row}"), format!("{pack}/{row}")]
            }
        }
    }

    fn text(&self, title: &str) -> String {
        let detail = self.detail.as_ref().map(|detail| Printable(detail).to_string());
        if let (Some(_), Some(detail)) = (&self.key.row, &detail) {
            return format!("{title}: {detail}");
        }
        let flows = if self.flows == 1 { "flow" } else { "flows" };
        let text = format!(
            "{title}: {}/{}, {} {flows}, first from {} at {}",
            self.key.responder, self.key.transport, self.flows, self.initiator, self.first_seen
        );
        detail.map_or_else(|| text.clone(), |detail| format!("{text}. {detail}"))
    }

    fn result(&self, rule: Option<(usize, &RuleRecord)>) -> Value {
        let title = rule.map_or(self.key.rule.as_str(), |(_, rule)| rule.title.as_str());
        let [name, full_name] = self.place();
        let mut result = json!({
            "ruleId": self.key.rule,
            "kind": "fail",
            "level": level(self.severity),
            "message": { "text": self.text(&Printable(title).to_string()) },
            "locations": [location(&name, &full_name, rule)],
            "partialFingerprints": { FINGERPRINT: self.fingerprint() },
            "occurrenceCount": self.flows,
            "properties": {
                "severity": self.severity,
                "count": self.count,
                "role": self.key.role,
            },
        });
        if let Some((index, _)) = rule {
            result["ruleIndex"] = index.into();
        }
        if let Some(service) = &self.service {
            result["properties"]["service"] = service.as_str().into();
        }
        if let Some(state) = self.key.baseline {
            result["baselineState"] = state.name().into();
        }
        // An empty array says that suppressions were looked for and none covers the result (§3.27.23).
        result["suppressions"] = match &self.suppression {
            None => json!([]),
            Some(suppression) => json!([{
                "kind": "external",
                "status": "accepted",
                "justification": format!("{} (until {})", suppression.reason, suppression.until),
            }]),
        };
        result
    }

    /// Returns what stays the same from run to run: rule, role, port and responder, and the row that was missed.
    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        let responder = self.key.responder;
        let port = format!("{}/{}", responder.port(), self.key.transport);
        let address = responder.ip().to_string();
        for part in
            [&self.key.rule, &self.key.role, &port, &address].into_iter().chain(&self.key.row)
        {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        let hex =
            hash.finalize().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        hex[..FINGERPRINT_LEN].to_owned()
    }
}

/// Returns where a result is: the rule's file and line, and what it is about.
fn location(name: &str, full_name: &str, rule: Option<(usize, &RuleRecord)>) -> Value {
    let mut location = json!({
        "logicalLocations": [{ "name": name, "fullyQualifiedName": full_name, "kind": "resource" }],
    });
    if let Some((_, rule)) = rule {
        location["physicalLocation"] = json!({
            "artifactLocation": { "uri": uri(&rule.file) },
            "region": { "startLine": rule.line.max(1) },
        });
    }
    location
}

/// Returns what the baseline has and the run does not: nothing to be alarmed about, so that a reader that
/// knows nothing of baselines shows no alert for it.
fn absent(entry: &BaselineEntry, rule: Option<(usize, &RuleRecord)>) -> Value {
    let responder = entry.responder.as_deref().unwrap_or("any");
    let name =
        entry.port.map_or_else(|| responder.to_owned(), |port| format!("{responder} port {port}"));
    let text = format!("Gone since the baseline: {entry}");
    let mut result = json!({
        "ruleId": entry.rule,
        "kind": "pass",
        "level": "none",
        "message": { "text": Printable(&text).to_string() },
        "locations": [location(&name, &name, rule)],
        "baselineState": "absent",
        "suppressions": [],
    });
    if let Some((index, _)) = rule {
        result["ruleIndex"] = index.into();
    }
    result
}

fn descriptor(totals: &RuleTotals) -> Value {
    let rule = &totals.rule;
    let mut properties = json!({
        "kind": rule.kind,
        "severity": rule.severity,
        "signatureId": rule.signature_id,
        // GitHub's code scanning sorts by it.
        "security-severity": security_severity(rule.severity),
        "tags": ["security", rule.kind],
    });
    if let Some(skipped) = &totals.skipped {
        properties["skipped"] = skipped.as_str().into();
    }
    json!({
        "id": rule.id,
        "shortDescription": { "text": rule.title },
        "fullDescription": { "text": format!("{}. By: {}", rule.title, rule.source) },
        "help": { "text": rule.remedy },
        "defaultConfiguration": { "level": level(rule.severity) },
        "properties": properties,
    })
}

/// Says how the run went; what could hide something is a notification.
fn invocation(summary: &Summary, beyond: &[String]) -> Value {
    let note = |id: &str, level: &str, text: &str| json!({ "descriptor": { "id": id }, "level": level, "message": { "text": Printable(text).to_string() } });
    let doubts = summary.verdict.reasons.iter().map(|reason| {
        let level =
            if summary.verdict.result == Outcome::Inconclusive { "error" } else { "warning" };
        note(reason.reason, level, &reason.detail)
    });
    let warnings = summary.warnings.iter().map(|warning| note("warning", "warning", warning));
    let beyond = beyond.iter().map(|text| note("results-beyond", "warning", text));
    let unproved =
        summary.verdict.not_exercised.iter().map(|open| {
            note("not-exercised", "note", &format!("{}: {}", open.subject, open.detail))
        });
    let mut invocation = json!({
        "executionSuccessful": true,
        "toolExecutionNotifications": doubts.chain(warnings).chain(beyond).chain(unproved).collect::<Vec<_>>(),
    });
    if let (Some(start), Some(end)) = (summary.totals.start, summary.totals.end) {
        // Packet time, so that the same capture gives the same file.
        invocation["properties"] = json!({ "firstPacket": utc(start), "lastPacket": utc(end) });
    }
    invocation
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

fn security_severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "3.0",
        Severity::Info => "0.1",
    }
}

/// Returns a time as RFC 3339 has it: `2026-11-22T06:50:00.123Z`.
fn utc(time: crate::packet::Timestamp) -> String {
    super::time::Readable(time).to_string().replacen(' ', "T", 1) + "Z"
}

/// Returns a path as a URI reference (RFC 3986 §4.1): absolute ones with `file://`.
fn uri(path: &str) -> String {
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            write!(uri, "%{byte:02X}").expect("a String takes all");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::fixtures::{self, HOSTILE, Shared};
    use super::*;

    fn played() -> (String, Value) {
        let out = Shared::default();
        fixtures::play(&mut Sarif::new(Box::new(out.clone())));
        let text = out.text();
        let log = serde_json::from_str(&text).unwrap();
        (text, log)
    }

    /// Returns the schema where cargo has fetched the crate that carries it; nothing builds that crate.
    fn schema() -> Option<Value> {
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home =
            home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
        let sources = std::fs::read_dir(home.join("registry/src")).ok()?;
        let crates = sources.filter_map(|source| std::fs::read_dir(source.ok()?.path()).ok());
        let is_it = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("serde-sarif-"))
        };
        let mut paths = crates.flatten().filter_map(|entry| Some(entry.ok()?.path())).filter(is_it);
        let text = std::fs::read_to_string(paths.next()?.join("src/schema.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "a skip is a visible line")]
    fn a_report_is_valid_by_the_published_schema() {
        let Some(mut schema) = schema() else {
            eprintln!("skipped: `cargo fetch` brings the SARIF schema");
            return;
        };
        // As published, the pattern of `language`, which we do not write, is no regular expression.
        for part in ["run", "toolComponent"] {
            let language = &mut schema["definitions"][part]["properties"]["language"];
            language.as_object_mut().unwrap().remove("pattern");
        }
        let validator =
            jsonschema::draft7::options().should_validate_formats(true).build(&schema).unwrap();
        let (_, log) = played();
        let errors: Vec<String> =
            validator.iter_errors(&log).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }

    #[test]
    fn every_result_points_at_its_rule_and_its_endpoint() {
        let (_, log) = played();
        let run = &log["runs"][0];
        let results = run["results"].as_array().unwrap();
        let gone = |result: &&Value| result["baselineState"] == "absent";
        assert_eq!(results.iter().filter(gone).count(), fixtures::summary().baseline_gone.len());
        for result in results.iter().filter(gone) {
            assert_eq!((&result["kind"], &result["level"]), (&"pass".into(), &"none".into()));
        }
        for result in results.iter().filter(|result| !gone(result)) {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            let rule = &run["tool"]["driver"]["rules"][index];
            assert_eq!(rule["id"], result["ruleId"]);
            let location = &result["locations"][0];
            assert!(location["physicalLocation"]["region"]["startLine"].as_u64().unwrap() >= 1);
            let name = location["logicalLocations"][0]["name"].as_str().unwrap();
            assert!(name.parse::<SocketAddr>().is_ok(), "{name}");
            assert!(result["suppressions"].is_array());
        }
    }

    #[test]
    fn flows_to_one_endpoint_are_one_result_whose_fingerprint_stays() {
        let result = |initiators: &[&str]| {
            let out = Shared::default();
            let mut sarif = Sarif::new(Box::new(out.clone()));
            for (frame, initiator) in (1..).zip(initiators) {
                let envelope = fixtures::envelope(initiator, "10.0.3.10:8280", frame);
                sarif.record(Record::Alert(&fixtures::alert(0, envelope, 2))).unwrap();
            }
            sarif.finish(&fixtures::summary()).unwrap();
            let log: Value = serde_json::from_str(&out.text()).unwrap();
            let mut results = log["runs"][0]["results"].as_array().unwrap().clone();
            results.retain(|result| result["baselineState"] != "absent");
            assert_eq!(results.len(), 1);
            results[0].clone()
        };
        let one = result(&["10.0.2.7:40000"]);
        let two = result(&["10.0.2.8:40000", "10.0.2.9:40000"]);
        assert_eq!(one["partialFingerprints"], two["partialFingerprints"]);
        assert_eq!((&one["occurrenceCount"], &two["occurrenceCount"]), (&1.into(), &2.into()));
        assert_eq!(two["properties"]["count"], 4);
    }

    #[test]
    fn accepted_findings_say_who_accepted_them_and_hostile_text_does_nothing() {
        let accepted = SuppressionRecord {
            reason: format!("legacy {HOSTILE}"),
            until: "2027-01-31".into(),
            file: "site.toml".into(),
            line: 7,
        };
        let out = Shared::default();
        let mut sarif = Sarif::new(Box::new(out.clone()));
        let envelope = fixtures::envelope("10.0.2.7:40000", "10.0.3.10:8280", 1);
        let mut alert = fixtures::alert(0, envelope, 1);
        alert.suppression = Some(&accepted);
        alert.baseline = Some(BaselineState::Unchanged);
        sarif.record(Record::Alert(&alert)).unwrap();
        sarif.finish(&fixtures::summary()).unwrap();
        let text = out.text();
        assert!(!text.trim_end().contains(crate::error::is_unprintable), "{text}");
        let log: Value = serde_json::from_str(&text).unwrap();
        let result = &log["runs"][0]["results"][0];
        assert_eq!(result["suppressions"][0]["status"], "accepted");
        assert_eq!(result["baselineState"], "unchanged");
    }

    #[test]
    fn paths_become_uri_references() {
        assert_eq!(uri("catalog/policy/wso2.toml"), "catalog/policy/wso2.toml");
        assert_eq!(uri("/tmp/my rules.toml"), "file:///tmp/my%20rules.toml");
    }
}
