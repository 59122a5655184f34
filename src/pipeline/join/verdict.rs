//! Pass, findings or inconclusive: what could hide something.

use super::view::View;
use super::{Join, Seen};
use crate::capture::InputSummary;
use crate::inspect::Uninspected;
use crate::pipeline::ledger::Ledger;
use crate::report::summary::{Outcome, Reason, Verdict};

/// Clear and undecided flows in which bytes are missing.
#[derive(Default)]
pub(super) struct Blind {
    holes: u64,
    cuts: u64,
}

impl Blind {
    /// Looks at one flow.
    pub(super) fn see(&mut self, view: &View<'_>) {
        let Some(facts) = view.facts else { return };
        if facts.uninspected.is_empty() || view.encrypted() == Some(true) {
            return;
        }
        self.holes += u64::from(facts.uninspected.has(Uninspected::HOLE));
        self.cuts += u64::from(facts.uninspected.has(Uninspected::SNAPLEN));
    }

    fn reasons(&self) -> Vec<Reason> {
        let reasons = [
            ("hole", self.holes, "bytes of clear or undecided flows were not captured"),
            (
                "snaplen",
                self.cuts,
                "clear or undecided flows were cut; capture with a larger snaplen",
            ),
        ];
        let some = reasons.into_iter().filter(|(_, flows, _)| *flows > 0);
        some.map(|(reason, flows, detail)| Reason {
            reason,
            flows: Some(flows),
            packets: None,
            detail: detail.to_owned(),
        })
        .collect()
    }
}

impl Join<'_> {
    /// Judges the run.
    pub(super) fn verdict(&self, seen: &Seen, ledger: &Ledger, inputs: &[InputSummary]) -> Verdict {
        let mut reasons = seen.blind.reasons();
        let total = ledger.total();
        let dropped = total.dropped.kernel + total.dropped.ring + total.dropped.queue;
        if dropped > 0 {
            reasons.push(Reason {
                reason: "dropped",
                flows: None,
                packets: Some(dropped),
                detail: "packets were lost before they could be looked at".to_owned(),
            });
        }
        if total.evicted > 0 {
            reasons.push(Reason {
                reason: "evicted",
                flows: None,
                packets: Some(total.evicted),
                detail:
                    "flows were thrown out of a full table before they ended; raise --memory-limit"
                        .to_owned(),
            });
        }
        let broken = inputs.iter().filter(|input| input.broken.is_some()).count();
        if broken > 0 {
            reasons.push(Reason {
                reason: "unread-tail",
                flows: None,
                packets: None,
                detail: format!("{broken} input(s) could not be read to the end"),
            });
        }
        let fail_on = self.setting.fail_on;
        let result = if seen.findings.worst().is_some_and(|worst| worst >= fail_on) {
            Outcome::Findings
        } else if reasons.is_empty() {
            Outcome::Pass
        } else {
            Outcome::Inconclusive
        };
        Verdict { result, fail_on, reasons, not_exercised: Vec::new() }
    }
}
