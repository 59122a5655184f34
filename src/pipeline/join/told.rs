//! Which alerts went out before their count was final.

use std::collections::HashMap;

use crate::flow::Flow;
use crate::policy::{Finding, FindingKind, Policy};
use crate::report::community_id::flow_id;

/// Alerts that wait for their final count; what is beyond goes out once, with its final count. Some 80
/// bytes each.
const WAITING_MAX: usize = 1 << 20;

/// Alerts by flow and kind, each with the rule that it went out under: it keeps that.
#[derive(Default)]
pub(super) struct Told {
    waiting: HashMap<(u64, FindingKind), String>,
    alerts: u64,
}

impl Told {
    /// Returns how many alerts went out, updates not counted.
    pub(super) fn alerts(&self) -> u64 {
        self.alerts
    }

    /// Tells whether no alert waits for its final count.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Notes that so many alerts went out with their final counts.
    pub(super) fn add(&mut self, alerts: u64) {
        self.alerts += alerts;
    }

    /// Notes that an alert is about to go out; returns false when it must not, or did before.
    pub(super) fn tell(&mut self, flow: &Flow, finding: &Finding, policy: &Policy) -> bool {
        let key = key(flow, finding.kind);
        if self.waiting.len() >= WAITING_MAX || self.waiting.contains_key(&key) {
            return false;
        }
        self.waiting.insert(key, policy.rules()[finding.rule].id.clone());
        self.alerts += 1;
        true
    }

    /// Returns the rule under which an alert went out before. A rule that is gone since counts as the
    /// finding's own.
    pub(super) fn rule_of(&self, flow: &Flow, finding: &Finding, policy: &Policy) -> Option<usize> {
        if self.waiting.is_empty() {
            return None;
        }
        let rule = self.waiting.get(&key(flow, finding.kind))?;
        let place = policy.rules().iter().position(|known| known.id == *rule);
        Some(place.unwrap_or(finding.rule))
    }

    /// Notes that an alert's count is final.
    pub(super) fn settle(&mut self, flow: &Flow, finding: &Finding) {
        let before = self.waiting.remove(&key(flow, finding.kind));
        self.alerts += u64::from(before.is_none());
    }
}

fn key(flow: &Flow, kind: FindingKind) -> (u64, FindingKind) {
    (flow_id(&flow.key, flow.first.frame), kind)
}
