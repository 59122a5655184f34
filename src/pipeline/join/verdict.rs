//! Pass, findings or inconclusive: what could hide something.

use super::Join;
use crate::capture::InputSummary;
use crate::inspect::Uninspected;
use crate::pipeline::ledger::Ledger;
use crate::report::summary::{Outcome, Reason, Verdict};

impl Join<'_> {
    /// Judges the run.
    pub(super) fn verdict(&self, ledger: &Ledger, inputs: &[InputSummary]) -> Verdict {
        let mut reasons = self.blind_flows();
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
        let broken = inputs.iter().filter(|input| input.broken.is_some()).count();
        if broken > 0 {
            reasons.push(Reason {
                reason: "unread-tail",
                flows: None,
                packets: None,
                detail: format!("{broken} input(s) could not be read to the end"),
            });
        }
        let result = if reasons.is_empty() { Outcome::Pass } else { Outcome::Inconclusive };
        Verdict { result, fail_on: self.setting.fail_on, reasons, not_exercised: Vec::new() }
    }

    /// Counts the clear and undecided flows in which bytes are missing.
    fn blind_flows(&self) -> Vec<Reason> {
        let (mut holes, mut cuts) = (0, 0);
        for place in &self.places {
            let view = self.view(place);
            let Some(facts) = view.facts else { continue };
            if facts.uninspected.is_empty() || view.encrypted() == Some(true) {
                continue;
            }
            holes += u64::from(facts.uninspected.has(Uninspected::HOLE));
            cuts += u64::from(facts.uninspected.has(Uninspected::SNAPLEN));
        }
        let reasons = [
            ("hole", holes, "bytes of clear or undecided flows were not captured"),
            ("snaplen", cuts, "clear or undecided flows were cut; capture with a larger snaplen"),
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
