//! The head of a report: pass or not, over what, and what to know of the run.

use anstyle::AnsiColor;

use super::findings::Findings;
use super::page::{Grouped, Page, counted, prose};
use super::{Clock, LIST_MAX};
use crate::report::summary::{Outcome, Summary, Verdict};
use crate::report::time::{Readable, Span};

/// Writes the verdict: what a reader at three in the morning needs.
pub(super) fn write(page: &mut Page, summary: &Summary, findings: &Findings, clock: Clock) {
    let verdict = &summary.verdict;
    let (style, said) = headline(summary, findings);
    let label = format!("{}  ", verdict.result.name().to_uppercase());
    page.labelled(0, &label, style.on_default().bold(), &said);
    let indent = label.len();
    if verdict.result == Outcome::Findings && !verdict.reasons.is_empty() {
        page.paragraph(indent, "Inconclusive as well: more could be hidden, see \"Not proved\".");
    }
    let totals = &summary.totals;
    let mut scope = vec![
        counted(summary.provenance.inputs.len() as u64, "input"),
        counted(summary.ledger.total.received, "packet"),
        counted(totals.traffic.flows, "flow"),
    ];
    if let (Some(start), Some(end)) = (totals.start, totals.end) {
        let span = Span(end.since(start));
        scope.push(format!("{} to {} UTC ({span})", Readable(start), clock.show(end)));
    }
    page.paragraph(indent, &scope.join(", "));
    for warning in summary.warnings.iter().take(LIST_MAX) {
        page.labelled(indent, "warning: ", AnsiColor::Yellow.on_default(), warning);
    }
}

/// Says what was found, and what was not.
fn headline(summary: &Summary, findings: &Findings) -> (AnsiColor, String) {
    let by_severity = findings.by_severity();
    let broken: u64 = by_severity.iter().map(|(_, count)| count).sum();
    let severities: Vec<String> = by_severity
        .iter()
        .map(|(severity, count)| format!("{} {}", Grouped(*count), severity.name()))
        .collect();
    let accepted = accepted(findings);
    let is_empty = summary.totals.traffic.flows == 0;
    let found = match broken {
        0 if is_empty => "Nothing was judged: see the warning.".to_owned(),
        0 => match &accepted {
            Some(accepted) => format!("Nothing new: {accepted}."),
            None => "No rule was broken.".to_owned(),
        },
        _ => format!(
            "{} broken: {}; {}.",
            counted(broken, "rule"),
            prose(&severities),
            counted(findings.total(), "finding")
        ),
    };
    let nothing = if accepted.is_some() { "Nothing new" } else { "Nothing" };
    let (style, tail) = outcome(&summary.verdict, nothing);
    // That nothing was judged, or that nothing is new, says it all.
    let says_all = broken == 0 && (is_empty || accepted.is_some());
    let tail = if says_all && summary.verdict.result == Outcome::Pass { "" } else { &tail };
    (style, format!("{found} {tail}").trim_end().to_owned())
}

/// Returns the verdict's colour, and what it says of the severity that fails a run.
fn outcome(verdict: &Verdict, nothing: &str) -> (AnsiColor, String) {
    let none = format!("{nothing} is {} or worse", verdict.fail_on.name());
    match verdict.result {
        Outcome::Pass => (AnsiColor::Green, format!("{none}.")),
        Outcome::Findings => (AnsiColor::Red, String::new()),
        Outcome::Inconclusive => {
            (AnsiColor::Yellow, format!("{none}, but something could hide it: see \"Not proved\"."))
        }
    }
}

/// Says how many findings the baseline and suppressions accept.
fn accepted(findings: &Findings) -> Option<String> {
    let are = |count: u64| if count == 1 { "is" } else { "are" };
    let known = findings.unchanged();
    let known = (known > 0)
        .then(|| format!("{} {} in the baseline", counted(known, "finding"), are(known)));
    let suppressed = findings.suppressed();
    let suppressed = (suppressed > 0).then(|| {
        let subject = counted(suppressed, "finding");
        format!("{subject} {} accepted by suppressions", are(suppressed))
    });
    let said: Vec<String> = known.into_iter().chain(suppressed).collect();
    (!said.is_empty()).then(|| prose(&said))
}
