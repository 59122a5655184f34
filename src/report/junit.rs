//! JUnit XML, as CI servers read it: a test case a rule.
//!
//! A rule fails by findings at or above `--fail-on` that nobody accepted; what it found below that is its
//! output. An inconclusive run is an error of a case of its own. There is no standard; the elements are
//! those of Ant's report, which Jenkins, GitLab and GitHub's actions take.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io::{self, Write};

use super::Sink;
use super::record::{AlertRecord, Record, Severity};
use super::summary::{Outcome, RuleTotals, Summary};
use super::time::Readable;
use crate::error::Printable;

/// Findings of one rule that are written out; the rest is a number.
const LINES_MAX: usize = 100;

/// Gathers findings by rule and writes everything at the end.
pub struct Junit {
    out: Box<dyn Write + Send>,
    by_rule: HashMap<String, Found>,
}

/// What one rule found.
#[derive(Default)]
struct Found {
    lines: Vec<(Severity, String)>,
    beyond: u64,
    worst: Option<Severity>,
    accepted: u64,
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
        found.worst = found.worst.max(Some(alert.severity));
        if found.lines.len() >= LINES_MAX {
            found.beyond += 1;
            return;
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
        if let Some(detail) = alert.evidence.iter().find_map(|seen| seen.detail) {
            let _ = write!(line, " ({detail})");
        }
        found.lines.push((alert.severity, line));
    }

    fn document(&self, summary: &Summary) -> String {
        let none = Found::default();
        let fail_on = summary.verdict.fail_on;
        let mut cases = String::new();
        let (mut failures, mut skipped) = (0, 0);
        for totals in &summary.rules {
            let found = self.by_rule.get(&totals.rule.id).unwrap_or(&none);
            let fails = found.worst.is_some_and(|worst| worst >= fail_on);
            let is_skipped = !fails && found.lines.is_empty() && totals.skipped.is_some();
            failures += u32::from(fails);
            skipped += u32::from(is_skipped);
            case(&mut cases, totals, found, fails, is_skipped);
        }
        let errors = u32::from(summary.verdict.result == Outcome::Inconclusive);
        verdict(&mut cases, summary);
        let tests = summary.rules.len() + 1;
        let time = Readable(summary.timestamp).to_string().replacen(' ', "T", 1);
        let counts = format!(
            "name=\"portreeve\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\""
        );
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts} time=\"0\">\n  \
             <testsuite {counts} skipped=\"{skipped}\" time=\"0\" timestamp=\"{}\">\n{cases}  </testsuite>\n</testsuites>\n",
            &time[..19]
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

/// Writes the case of one rule.
fn case(out: &mut String, totals: &RuleTotals, found: &Found, fails: bool, is_skipped: bool) {
    let rule = &totals.rule;
    let pack = rule.id.split_once('/').map_or("rules", |(pack, _)| pack);
    let _ = write!(
        out,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"0\"",
        Xml(pack),
        Xml(&rule.id)
    );
    let mut lines: Vec<&str> = found.lines.iter().map(|(_, line)| line.as_str()).collect();
    let beyond = format!("and {} more", found.beyond);
    if found.beyond > 0 {
        lines.push(&beyond);
    }
    let accepted = format!("{} accepted by suppressions", found.accepted);
    if found.accepted > 0 {
        lines.push(&accepted);
    }
    let listed = lines.join("\n");
    if fails {
        let count = found.lines.len() as u64 + found.beyond;
        let severity = found.worst.unwrap_or(rule.severity);
        let _ = writeln!(
            out,
            ">\n      <failure message=\"{}: {count} finding(s)\" type=\"{severity}\">{}</failure>\n    </testcase>",
            Xml(&rule.title),
            Xml(&format!("{listed}\n\n{}\n\nBy: {}", rule.remedy, rule.source))
        );
    } else if let (true, Some(why)) = (is_skipped, &totals.skipped) {
        let _ = writeln!(out, ">\n      <skipped message=\"{}\"/>\n    </testcase>", Xml(why));
    } else if listed.is_empty() {
        let _ = writeln!(out, "/>");
    } else {
        let text = Xml(&listed);
        let _ = writeln!(out, ">\n      <system-out>{text}</system-out>\n    </testcase>");
    }
}

/// Writes the case that stands for the run as a whole: whether something could hide a finding.
fn verdict(out: &mut String, summary: &Summary) {
    let reasons: Vec<String> = summary
        .verdict
        .reasons
        .iter()
        .map(|reason| format!("{}: {}", reason.reason, reason.detail))
        .chain(summary.warnings.iter().cloned())
        .collect();
    let listed = reasons.join("\n");
    let _ = write!(out, "    <testcase classname=\"portreeve\" name=\"conclusive\" time=\"0\"");
    if summary.verdict.result == Outcome::Inconclusive {
        let _ = writeln!(
            out,
            ">\n      <error message=\"inconclusive\" type=\"inconclusive\">{}</error>\n    </testcase>",
            Xml(&listed)
        );
    } else if listed.is_empty() {
        let _ = writeln!(out, "/>");
    } else {
        let text = Xml(&listed);
        let _ = writeln!(out, ">\n      <system-out>{text}</system-out>\n    </testcase>");
    }
}

/// Text as XML content or attribute: what XML 1.0 (§2.2) forbids and what a terminal obeys is escaped as
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
