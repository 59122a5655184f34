//! JUnit XML, as CI servers read it: a test case a rule.
//!
//! A rule fails by findings at or above `--fail-on` that neither a suppression nor the baseline covers; what
//! else it found is the suite's output. A run in which something could hide a finding is an error of a case of
//! its own. There is no standard; the report keeps to what the published schemas of Ant's report (Windy Road,
//! `JUnit.xsd`) and of Jenkins' xUnit plug-in (`junit-10.xsd`) both allow. Ant's asks for the more: no output
//! of a case, and `properties`, `system-out`, `system-err`, `hostname`, `package` and `id` of every suite.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io::{self, Write};

use super::Sink;
use super::record::{AlertRecord, BaselineState, Record, RuleRecord, Severity};
use super::summary::Summary;
use super::time::Readable;
use crate::error::Printable;

/// Findings of one rule that are written out; the rest is a number.
const LINES_MAX: usize = 100;

/// Characters of a time to the second, without a zone: what Ant's schema asks for.
const SECONDS_LEN: usize = "2026-11-23T09:15:00".len();

/// Gathers findings by rule and writes everything at the end.
pub struct Junit {
    out: Box<dyn Write + Send>,
    by_rule: HashMap<String, Found>,
}

/// What one rule found.
#[derive(Default)]
struct Found {
    /// The first of those that nobody accepted.
    lines: Vec<String>,
    /// All of those that nobody accepted.
    open: u64,
    worst: Option<Severity>,
    accepted: u64,
    unchanged: u64,
}

impl Junit {
    /// Writes to `out`, at the end of the report.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, by_rule: HashMap::new() }
    }

    fn alert(&mut self, alert: &AlertRecord<'_>) {
        if alert.update {
            return;
        }
        let found = self.by_rule.entry(alert.rule.id.clone()).or_default();
        if alert.suppression.is_some() {
            found.accepted += 1;
            return;
        }
        if alert.baseline == Some(BaselineState::Unchanged) {
            found.unchanged += 1;
            return;
        }
        found.open += 1;
        found.worst = found.worst.max(Some(alert.severity));
        if found.lines.len() < LINES_MAX {
            found.lines.push(line(alert));
        }
    }

    fn document(&self, summary: &Summary) -> String {
        let none = Found::default();
        let fail_on = summary.verdict.fail_on;
        let (mut cases, mut out) = (String::new(), String::new());
        let (mut failures, mut skipped) = (0, 0);
        for totals in &summary.rules {
            let found = self.by_rule.get(&totals.rule.id).unwrap_or(&none);
            let outcome = match (&totals.skipped, found.worst) {
                (_, Some(worst)) if worst >= fail_on => Case::Failed(worst),
                (Some(why), None) => Case::Skipped(why),
                _ => Case::Passed,
            };
            failures += u32::from(matches!(outcome, Case::Failed(_)));
            skipped += u32::from(matches!(outcome, Case::Skipped(_)));
            case(&mut cases, &totals.rule, found, outcome);
            found.tell(&mut out, &totals.rule.id, matches!(outcome, Case::Failed(_)));
        }
        let errors = u32::from(!summary.verdict.reasons.is_empty());
        verdict(&mut cases, summary);
        unproved(&mut out, summary);
        let tests = summary.rules.len() + 1;
        let time = Readable(summary.timestamp).to_string().replacen(' ', "T", 1);
        let warnings = summary.warnings.iter().fold(String::new(), |all, one| {
            let one = Printable(one);
            format!("{all}{one}\n")
        });
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"portreeve\" package=\"portreeve\" \
             id=\"0\" timestamp=\"{}\" hostname=\"localhost\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" \
             skipped=\"{skipped}\" time=\"0\">\n{}{cases}    <system-out>{}</system-out>\n    \
             <system-err>{}</system-err>\n  </testsuite>\n</testsuites>\n",
            &time[..SECONDS_LEN],
            properties(summary),
            Xml(&out),
            Xml(&warnings),
        )
    }
}

impl Sink for Junit {
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
        self.out.write_all(self.document(summary).as_bytes())?;
        self.out.flush()
    }
}

/// What becomes of a rule's case.
#[derive(Clone, Copy)]
enum Case<'a> {
    Failed(Severity),
    Passed,
    Skipped(&'a str),
}

impl Found {
    /// Lists findings that fail no case, and those that are covered, in lines that begin with the rule.
    fn tell(&self, out: &mut String, rule: &str, told: bool) {
        if !told {
            for line in self.shown() {
                let _ = writeln!(out, "{rule}: {line}");
            }
        }
        for (count, by) in [(self.accepted, "suppressions"), (self.unchanged, "the baseline")] {
            if count > 0 {
                let _ = writeln!(out, "{rule}: {count} accepted by {by}");
            }
        }
    }

    /// Returns the findings that nobody accepted, as far as they are written out, and how many are not.
    fn shown(&self) -> impl Iterator<Item = String> {
        let beyond = self.open - self.lines.len() as u64;
        let rest = (beyond > 0).then(|| format!("and {beyond} more"));
        self.lines.iter().cloned().chain(rest)
    }
}

/// Shows one finding on one line.
fn line(alert: &AlertRecord<'_>) -> String {
    let detail = alert.evidence.iter().find_map(|seen| seen.detail);
    if let (Some(_), Some(detail)) = (alert.row, detail) {
        // No flow shows it: there are no ends to name.
        return format!("{} {}", alert.severity, Printable(detail));
    }
    let mut line = format!(
        "{} {} {} -> {} ×{}",
        alert.severity,
        Readable(alert.first_seen),
        alert.envelope.initiator,
        alert.envelope.responder,
        alert.count
    );
    if let Some(service) = alert.tag.service {
        let _ = write!(line, " {service}");
    }
    if let Some(detail) = detail {
        let _ = write!(line, " ({})", Printable(detail));
    }
    line
}

/// Writes where the report came from.
fn properties(summary: &Summary) -> String {
    let Summary { provenance, verdict, .. } = summary;
    let site = provenance.site_sha256.as_deref();
    let known = [
        ("version", Some(provenance.version.as_str())),
        ("catalog_sha256", Some(&provenance.catalog_sha256)),
        ("policy_sha256", Some(&provenance.policy_sha256)),
        ("site_sha256", site),
        ("filter", provenance.filter.as_deref()),
        ("verdict", Some(verdict.result.name())),
        ("fail_on", Some(verdict.fail_on.name())),
    ];
    let inputs = provenance.inputs.iter().map(|input| ("input", Some(input.name.as_str())));
    let mut out = String::from("    <properties>\n");
    for (name, value) in known.into_iter().chain(inputs) {
        if let Some(value) = value {
            let value = Attribute(value);
            let _ = writeln!(out, "      <property name=\"{name}\" value=\"{value}\"/>");
        }
    }
    out + "    </properties>\n"
}

/// Writes the case of one rule.
fn case(out: &mut String, rule: &RuleRecord, found: &Found, outcome: Case<'_>) {
    let pack = rule.id.split_once('/').map_or("rules", |(pack, _)| pack);
    begin(out, pack, &rule.id);
    match outcome {
        Case::Passed => out.push_str("/>\n"),
        Case::Skipped(why) => {
            let _ = writeln!(
                out,
                ">\n      <skipped message=\"{}\"/>\n    </testcase>",
                Attribute(why)
            );
        }
        Case::Failed(worst) => {
            let listed: Vec<String> = found.shown().collect();
            let text = format!(
                "{}\n\n{}\n\nBy: {}",
                listed.join("\n"),
                rule.remedy,
                Printable(&rule.source)
            );
            let message = format!("{}: {} finding(s)", rule.title, found.open);
            let _ = writeln!(
                out,
                ">\n      <failure message=\"{}\" type=\"{worst}\">{}</failure>\n    </testcase>",
                Attribute(&message),
                Xml(&text)
            );
        }
    }
}

/// Writes the case that stands for the run as a whole: whether something could hide a finding.
fn verdict(out: &mut String, summary: &Summary) {
    begin(out, "portreeve", "conclusive");
    let reasons = summary.verdict.reasons.iter();
    let reasons: Vec<String> = reasons
        .map(|reason| {
            let touched = match (reason.flows, reason.packets) {
                (Some(flows), _) => format!(" ({flows} flows)"),
                (None, Some(packets)) => format!(" ({packets} packets)"),
                (None, None) => String::new(),
            };
            format!("{}{touched}: {}", reason.reason, Printable(&reason.detail))
        })
        .collect();
    if reasons.is_empty() {
        out.push_str("/>\n");
        return;
    }
    let _ = writeln!(
        out,
        ">\n      <error message=\"something could hide a finding\" type=\"inconclusive\">{}</error>\n    </testcase>",
        Xml(&reasons.join("\n"))
    );
}

fn begin(out: &mut String, class: &str, name: &str) {
    let (class, name) = (Attribute(class), Attribute(name));
    let _ = write!(out, "    <testcase classname=\"{class}\" name=\"{name}\" time=\"0\"");
}

/// Lists what the capture could not prove, what it proved of transports that are said to be off, and what of the baseline is gone.
fn unproved(out: &mut String, summary: &Summary) {
    for open in &summary.verdict.not_exercised {
        let line = format!("{}: {}", open.subject, open.detail);
        let _ = writeln!(out, "not exercised: {}", Printable(&line));
    }
    for proof in summary.disabled.iter().filter(|proof| proof.flows > 0) {
        let line = format!("{proof}: {}", proof.state);
        let _ = writeln!(out, "declared disabled: {}", Printable(&line));
    }
    for entry in &summary.baseline_gone {
        let _ = writeln!(out, "gone since the baseline: {}", Printable(&entry.to_string()));
    }
}

/// Text as an attribute: on one line, since a parser makes blanks of line breaks there (XML 1.0 §3.3.3).
struct Attribute<'a>(&'a str);

impl fmt::Display for Attribute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Xml(&Printable(self.0).to_string()).fmt(f)
    }
}

/// Text as XML content: what XML 1.0 (§2.2) forbids and what a terminal obeys is escaped as
/// text, line breaks are kept.
struct Xml<'a>(&'a str);

impl fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, line) in self.0.split('\n').enumerate() {
            if place > 0 {
                f.write_char('\n')?;
            }
            for character in Printable(line).to_string().chars() {
                match character {
                    '&' => f.write_str("&amp;")?,
                    '<' => f.write_str("&lt;")?,
                    '>' => f.write_str("&gt;")?,
                    '"' => f.write_str("&quot;")?,
                    '\u{fffe}' | '\u{ffff}' => write!(f, "{}", character.escape_unicode())?,
                    other => f.write_char(other)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{self, HOSTILE, Shared};
    use super::super::record::SuppressionRecord;
    use super::*;

    fn written(feed: impl Fn(&mut Junit)) -> String {
        let out = Shared::default();
        let mut junit = Junit::new(Box::new(out.clone()));
        feed(&mut junit);
        out.text()
    }

    fn attribute(node: roxmltree::Node<'_, '_>, name: &str) -> u32 {
        node.attribute(name).unwrap().parse().unwrap()
    }

    #[test]
    fn a_report_has_a_case_a_rule_and_its_counts_are_right() {
        let text = written(|junit| fixtures::play(junit));
        let document = roxmltree::Document::parse(&text).unwrap();
        let suite = document.descendants().find(|node| node.has_tag_name("testsuite")).unwrap();
        let count = |name: &str| {
            let nodes = suite.descendants().filter(|node| node.has_tag_name(name));
            u32::try_from(nodes.count()).unwrap()
        };
        assert_eq!(attribute(suite, "tests"), count("testcase"));
        assert_eq!(attribute(suite, "failures"), count("failure"));
        assert_eq!(attribute(suite, "errors"), count("error"));
        assert_eq!(attribute(suite, "skipped"), count("skipped"));
        let rules = fixtures::summary().rules.len();
        assert_eq!(count("testcase") as usize, rules + 1);
        assert!(count("failure") > 0 && count("skipped") > 0);
    }

    #[test]
    fn hostile_text_stays_text() {
        let envelope = fixtures::envelope("10.0.2.7:40000", "10.0.3.10:8280", 1);
        let text = written(|junit| {
            let mut alert = fixtures::alert(0, envelope, 1);
            let mut evidence =
                super::super::record::EvidenceRecord::once("protocol", 1, alert.first_seen);
            evidence.detail = Some(HOSTILE);
            alert.evidence.push(evidence);
            junit.record(Record::Alert(&alert)).unwrap();
            junit.finish(&fixtures::summary()).unwrap();
        });
        let document = roxmltree::Document::parse(&text).unwrap();
        let failure = document.descendants().find(|node| node.has_tag_name("failure")).unwrap();
        assert!(failure.text().unwrap().contains("<b>&amp;]]>"));
        let mut lines = text.lines();
        assert!(!lines.any(|line| line.contains(crate::error::is_unprintable)));
    }

    #[test]
    fn accepted_findings_do_not_fail_and_many_are_cut() {
        let accepted = SuppressionRecord {
            reason: "x".into(),
            until: "2027-01-31".into(),
            file: "site.toml".into(),
            line: 7,
        };
        let envelope = fixtures::envelope("10.0.2.7:40000", "10.0.3.10:8280", 1);
        let text = written(|junit| {
            let mut alert = fixtures::alert(0, envelope, 1);
            alert.suppression = Some(&accepted);
            junit.record(Record::Alert(&alert)).unwrap();
            junit.finish(&fixtures::summary()).unwrap();
        });
        assert!(text.contains("1 accepted by suppressions") && !text.contains("<failure"));
        let text = written(|junit| {
            for _ in 0..LINES_MAX + 5 {
                junit.record(Record::Alert(&fixtures::alert(0, envelope, 1))).unwrap();
            }
            junit.finish(&fixtures::summary()).unwrap();
        });
        assert!(text.contains("105 finding(s)") && text.contains("and 5 more"));
    }
}
