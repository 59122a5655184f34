//! What stays of flows that were judged and let go while a run goes on.
//!
//! A run of hours cannot keep every flow. A flow that ended a while ago is tagged, judged and written with
//! what is known by then, adds to the sums, and is forgotten. A run over files lets nothing go before its
//! end, and these sums are all of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::hosts::Hosts;
use super::totals::Totals;
use super::verdict::Blind;
use super::{Join, Setting};
use crate::error::Result;
use crate::packet::{ObservationPoint, Timestamp};
use crate::pipeline::Gathered;
use crate::pipeline::ledger::Ledger;
use crate::pipeline::outputs::Outputs;
use crate::pipeline::shard::{Part, Shard};
use crate::policy::{Finding, FindingKind, Severity};
use crate::report::timeline::TimelineBuilder;

/// Alerts that wait for their final count; what is beyond goes out once, with its final count. Some 40
/// bytes each.
const TOLD_MAX: usize = 1 << 20;

/// Times of findings that are kept apart; beyond it neighbours are joined. Some 100 bytes each.
const MOMENTS_MAX: usize = 1 << 16;

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
    /// The gravest severity of what nobody accepted.
    pub(super) worst: Option<Severity>,
    /// Warnings of suppressions that are over.
    pub(super) expired: BTreeSet<String>,
    flows: u64,
    alerts: u64,
    /// The rule under which an alert went out, by flow and kind.
    told: HashMap<(u64, FindingKind), String>,
    sums: BTreeMap<String, RuleSums>,
    moments: Moments,
}

/// What a rule found.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RuleSums {
    pub(super) alerts: u64,
    pub(super) count: u64,
    pub(super) suppressed: u64,
}

impl Carried {
    /// Returns how many flows were let go.
    pub fn flows(&self) -> u64 {
        self.flows
    }

    /// Returns how many alerts went out, updates not counted.
    pub fn alerts(&self) -> u64 {
        self.alerts
    }

    /// Returns what became of the frames of flows that were let go.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
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
        join.tag();
        let mut findings = join.judge();
        let seen = join.keep_new(&mut findings, self);
        let written = join.write_alerts(&findings, outputs);
        self.hosts = join.hosts;
        gathered.shards.clear();
        written.map(|()| seen)
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
        let mut findings = join.judge();
        join.settle(&mut findings, self);
        join.sum_up(self);
        let written =
            join.write_alerts(&findings, outputs).and_then(|()| join.write_flows(outputs));
        self.hosts = join.hosts;
        gathered.shards.clear();
        written
    }

    /// Notes that an alert is about to go out; returns false when one did before.
    pub(super) fn tell(&mut self, flow: u64, kind: FindingKind, rule: &str) -> bool {
        if self.told.len() >= TOLD_MAX || self.told.contains_key(&(flow, kind)) {
            return false;
        }
        self.alerts += 1;
        self.told.insert((flow, kind), rule.to_owned()).is_none()
    }

    /// Returns the rule under which an alert went out before, and forgets it.
    pub(super) fn told(&mut self, flow: u64, kind: FindingKind) -> Option<String> {
        let told = self.told.remove(&(flow, kind));
        self.alerts += u64::from(told.is_none());
        told
    }

    /// Counts a finding that is final.
    pub(super) fn count(&mut self, rule: &str, initiator: IpAddr, found: &Finding, is_open: bool) {
        if !self.sums.contains_key(rule) {
            self.sums.insert(rule.to_owned(), RuleSums::default());
        }
        if let Some(sums) = self.sums.get_mut(rule) {
            sums.alerts += u64::from(is_open);
            sums.suppressed += u64::from(!is_open);
            sums.count += if is_open { found.count } else { 0 };
        }
        self.moments.add(rule, initiator, found.first.time, found.count);
    }

    /// Returns what a rule found so far.
    pub(super) fn sums_of(&self, rule: &str) -> RuleSums {
        self.sums.get(rule).copied().unwrap_or_default()
    }

    /// Adds all findings to a timeline.
    pub(super) fn fill(&self, timeline: &mut TimelineBuilder) {
        for ((rule, initiator, time), count) in &self.moments.counts {
            match initiator {
                Some(initiator) => timeline.add(rule, *initiator, *time, *count),
                None => timeline.add_beyond(rule, *time, *count),
            }
        }
    }
}

/// When findings were seen, by rule and initiator; no initiator stands for those beyond the limit.
#[derive(Default)]
struct Moments {
    counts: BTreeMap<(String, Option<IpAddr>, Timestamp), u64>,
    /// Times are multiples of this of [`WIDTHS_NS`].
    width: usize,
}

/// Widths of moments: a timeline's buckets are multiples of the first, and mostly of the next ones.
const WIDTHS_NS: [i64; 7] = [
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    60_000_000_000,
    3_600_000_000_000,
    86_400_000_000_000,
];

impl Moments {
    fn add(&mut self, rule: &str, initiator: IpAddr, time: Timestamp, count: u64) {
        let mut key = (rule.to_owned(), Some(initiator), self.round(time));
        if self.counts.len() >= MOMENTS_MAX && !self.counts.contains_key(&key) {
            self.join_neighbours();
            key.2 = self.round(time);
            if self.counts.len() >= MOMENTS_MAX {
                key.1 = None;
            }
        }
        *self.counts.entry(key).or_default() += count;
    }

    fn round(&self, time: Timestamp) -> Timestamp {
        Timestamp(time.0.saturating_sub(time.0.rem_euclid(WIDTHS_NS[self.width])))
    }

    /// Makes the times coarser until there is room again, or there is nothing left to join.
    #[cold]
    fn join_neighbours(&mut self) {
        while self.counts.len() > MOMENTS_MAX / 2 && self.width + 1 < WIDTHS_NS.len() {
            self.width += 1;
            for ((rule, initiator, time), count) in std::mem::take(&mut self.counts) {
                let time = self.round(time);
                *self.counts.entry((rule, initiator, time)).or_default() += count;
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_of_any_number_of_initiators_are_counted_in_bounded_space() {
        let mut moments = Moments::default();
        let total = u32::try_from(MOMENTS_MAX).unwrap() + 10_000;
        for number in 0..total {
            let time = Timestamp(i64::from(number) * 1_000_000_000);
            moments.add("rule", IpAddr::from(number.to_be_bytes()), time, 1);
        }
        // Of the time beyond the limit one entry a day is left, without an initiator.
        assert!(moments.counts.len() < MOMENTS_MAX + 10, "{}", moments.counts.len());
        assert_eq!(moments.counts.values().sum::<u64>(), u64::from(total));
    }

    #[test]
    fn an_alert_that_went_out_is_told_once_and_settled_once() {
        let mut carried = Carried::default();
        let kind = FindingKind::PlaintextBearer;
        assert!(carried.tell(7, kind, "wso2/bearer-over-http"));
        assert!(!carried.tell(7, kind, "wso2/bearer-over-http"));
        assert_eq!(carried.told(7, kind).as_deref(), Some("wso2/bearer-over-http"));
        assert_eq!(carried.told(7, kind), None);
        assert_eq!(carried.alerts(), 2);
    }
}
