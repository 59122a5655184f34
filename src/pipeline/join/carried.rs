//! What stays of flows that were judged and let go while a run goes on.
//!
//! A run of hours cannot keep every flow. A flow that ended a while ago is tagged, judged and written with
//! what is known by then, adds to the sums, and is forgotten.

use super::hosts::Hosts;
use super::totals::Totals;
use super::verdict::Blind;
use super::{Join, Setting};
use crate::error::Result;
use crate::packet::ObservationPoint;
use crate::pipeline::Gathered;
use crate::pipeline::ledger::Ledger;
use crate::pipeline::outputs::Outputs;
use crate::pipeline::shard::{Part, Shard};

/// What stays of flows that are gone.
#[derive(Default)]
pub struct Carried {
    /// What they showed of their hosts.
    pub(super) hosts: Hosts,
    /// Their sums.
    pub(super) totals: Totals,
    /// What became of their frames.
    pub(super) ledger: Ledger,
    /// Those in which bytes were missing.
    pub(super) blind: Blind,
    flows: u64,
}

impl Carried {
    /// Returns how many flows were let go.
    pub fn flows(&self) -> u64 {
        self.flows
    }

    /// Returns what became of their frames.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Judges and writes flows for good. `gathered` lends its front; it holds no flows while this runs.
    pub fn fold(
        &mut self,
        parts: Vec<Part>,
        gathered: &mut Gathered,
        points: &[ObservationPoint],
        setting: &Setting<'_>,
        outputs: &mut Outputs,
    ) -> Result<()> {
        self.flows += parts.len() as u64;
        for part in parts.iter().filter(|part| part.evicted) {
            self.ledger.point(part.flow.point).evicted += part.flow.packets_total();
        }
        gathered.shards = vec![shard_of(parts)];
        let mut join = Join::new(gathered, points, setting, self);
        join.meet_hosts();
        join.tag();
        join.sum_up(self);
        let written = join.write_flows(outputs);
        self.hosts = join.hosts;
        gathered.shards.clear();
        written
    }
}

/// Puts flows into a shard of their own, where the join looks for them.
fn shard_of(parts: Vec<Part>) -> Shard {
    let mut shard = Shard::default();
    for part in parts {
        shard.adopt(part);
    }
    shard
}
