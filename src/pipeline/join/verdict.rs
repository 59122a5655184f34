//! Pass, findings or inconclusive: what could hide something.

use super::{Carried, Join};
use crate::capture::InputSummary;
use crate::inspect::Uninspected;
use crate::pipeline::ledger::Ledger;
use crate::report::summary::{Outcome, Reason, Verdict};

impl Join<'_> {
    /// Judges the run.
    pub(super) fn verdict(
        &self,
        carried: &Carried,
        ledger: &Ledger,
        inputs: &[InputSummary],
    ) -> Verdict {
        let mut reasons = carried.blind.reasons();
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
        let result = if carried.worst.is_some_and(|worst| worst >= fail_on) {
            Outcome::Findings
        } else if reasons.is_empty() {
            Outcome::Pass
        } else {
            Outcome::Inconclusive
        };
        Verdict { result, fail_on, reasons, not_exercised: Vec::new() }
    }

    /// Counts the clear and undecided flows in which bytes are missing.
    pub(super) fn blind(&self) -> Blind {
        let mut blind = Blind::default();
        for place in &self.places {
            let view = self.view(place);
            let Some(facts) = view.facts else { continue };
            if facts.uninspected.is_empty() || view.encrypted() == Some(true) {
                continue;
            }
            blind.holes += u64::from(facts.uninspected.has(Uninspected::HOLE));
            blind.cuts += u64::from(facts.uninspected.has(Uninspected::SNAPLEN));
        }
        blind
    }
}

/// Clear and undecided flows in which bytes are missing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Blind {
    /// Bytes were never captured.
    holes: u64,
    /// Frames were cut.
    cuts: u64,
}

impl Blind {
    pub(super) fn add(&mut self, other: Self) {
        self.holes += other.holes;
        self.cuts += other.cuts;
    }

    fn reasons(self) -> Vec<Reason> {
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
