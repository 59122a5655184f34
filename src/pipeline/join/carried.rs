//! What stays of flows that were judged and let go while a run goes on.
//!
//! A run of hours cannot keep every flow. A flow that ended a while ago is tagged, judged and written with
//! what is known by then, adds to the sums, and is forgotten. A run over files lets nothing go before its
//! end.

use super::hosts::Hosts;
use super::told::Told;
use super::{Join, Seen, Setting};
use crate::error::Result;
use crate::packet::{ObservationPoint, Timestamp};
use crate::pipeline::Gathered;
use crate::pipeline::ledger::Ledger;
use crate::pipeline::outputs::Outputs;
use crate::pipeline::shard::{Part, Shard};

/// What stays of flows that are gone.
#[derive(Default)]
pub struct Carried {
    /// What they showed of their hosts.
    pub(super) hosts: Hosts,
    /// The alerts that went out.
    pub(super) told: Told,
    seen: Option<Seen>,
    flows: u64,
}

impl Carried {
    /// Returns how many flows were let go.
    pub fn flows(&self) -> u64 {
        self.flows
    }

    /// Returns how many alerts went out, updates not counted.
    pub fn alerts(&self) -> u64 {
        self.told.alerts()
    }

    /// Adds what became of the frames of flows that were let go.
    pub fn add_to(&self, ledger: &mut Ledger) {
        if let Some(seen) = &self.seen {
            ledger.add(&seen.sums.ledger);
        }
    }

    /// Judges flows that go on and writes what is new; returns when each new finding was seen.
    /// `gathered` lends its front; it holds no flows while this runs.
    pub fn peek(
        &mut self,
        parts: Vec<Part>,
        gathered: &mut Gathered,
        points: &[ObservationPoint],
        setting: &Setting<'_>,
        outputs: &mut Outputs,
    ) -> Result<Vec<Timestamp>> {
        gathered.shards = vec![shard_of(parts)];
        let mut join = Join::new(gathered, points, setting, self);
        let written = join.write_news(&mut self.told, outputs);
        self.hosts = join.hosts;
        gathered.shards.clear();
        written
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
        let mut seen = self.seen(gathered, setting);
        for part in parts.iter().filter(|part| part.evicted) {
            seen.sums.ledger.point(part.flow.point).evicted += 1;
            seen.sums.blind.evicted += u64::from(part.undecided);
        }
        gathered.shards = vec![shard_of(parts)];
        let mut join = Join::new(gathered, points, setting, self);
        join.meet_hosts();
        join.look(&mut seen, &self.told);
        join.find_shared(&mut seen);
        let written = join
            .write_alerts(&seen.findings, &mut self.told, outputs)
            .and_then(|()| join.write_flows(outputs));
        self.hosts = join.hosts;
        self.seen = Some(seen);
        gathered.shards.clear();
        written
    }

    /// Goes over to other rules: what the sums are numbered by has other numbers now.
    pub fn renumber(&mut self, from: &Setting<'_>, to: &Setting<'_>) {
        self.hosts.forget_readings();
        if let Some(seen) = &mut self.seen {
            seen.sums.totals.renumber(from.catalog, to.catalog);
            seen.findings.renumber(from.policy, to.policy);
            seen.across.renew(from, to);
        }
    }

    /// Returns the sums to add to, up to the time that the front has seen.
    pub(super) fn seen(&mut self, gathered: &Gathered, setting: &Setting<'_>) -> Seen {
        let mut seen = self.seen.take().unwrap_or_else(|| Seen::new(gathered, setting));
        seen.findings.go_on(gathered.front.span);
        seen
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
