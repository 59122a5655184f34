//! Pass, findings or inconclusive: what could hide something.

use super::view::View;
use super::{Join, Seen};
use crate::capture::{Dropped, InputSummary};
use crate::inspect::Uninspected;
use crate::pipeline::ledger::Ledger;
use crate::policy::verdict::{Doubt, Doubts, Outcome as Judged};
use crate::report::summary::{Outcome, Reason, Verdict};

/// Clear and undecided flows in which bytes are missing.
#[derive(Default)]
pub(super) struct Blind {
    holes: u64,
    cuts: u64,
    samples: u64,
    /// Flows that were thrown out, or whose reader was, while they were looked into.
    pub(super) evicted: u64,
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
        self.samples += u64::from(facts.uninspected.has(Uninspected::SAMPLE));
        self.evicted += u64::from(facts.uninspected.has(Uninspected::MEMORY));
    }
}

impl Join<'_> {
    /// Judges the run.
    pub(super) fn verdict(&self, seen: &Seen, ledger: &Ledger, inputs: &[InputSummary]) -> Verdict {
        let mut doubts = Doubts::default();
        doubts.add(Doubt::Hole, seen.sums.blind.holes);
        doubts.add(Doubt::Snaplen, seen.sums.blind.cuts);
        doubts.add(Doubt::LostSample, seen.sums.blind.samples);
        // Nobody knows whose they were; each was of one flow at most.
        let datagrams = self.gathered.front.decoder.fragments_evicted();
        doubts.add(Doubt::Evicted, seen.sums.blind.evicted + datagrams);
        let Dropped { kernel, ring, queue } = ledger.total().dropped;
        doubts.add(Doubt::Dropped, kernel + ring + queue);
        let broken = inputs.iter().filter(|input| input.broken.is_some());
        doubts.add(Doubt::UnreadTail, broken.count() as u64);
        let fail_on = self.setting.fail_on;
        let result = match Judged::of(seen.findings.worst(), fail_on, &doubts) {
            Judged::Pass => Outcome::Pass,
            Judged::Findings => Outcome::Findings,
            Judged::Inconclusive => Outcome::Inconclusive,
        };
        let reasons = doubts.iter().map(|(doubt, count)| reason(doubt, count)).collect();
        Verdict { result, fail_on, reasons, not_exercised: self.not_exercised(seen) }
    }
}

fn reason(doubt: Doubt, count: u64) -> Reason {
    let (flows, packets) = match doubt {
        Doubt::Dropped => (None, Some(count)),
        Doubt::UnreadTail => (None, None),
        _ => (Some(count), None),
    };
    Reason { reason: doubt.name(), flows, packets, detail: doubt.detail().to_owned() }
}
