//! What an earlier run found, and what this one finds for later ones.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::packet::Timestamp;
use crate::policy::baseline::{self, Baseline, Key};
use crate::report::record::BaselineState;
use crate::report::summary::BaselineEntry;
use crate::site::Place;

/// Endpoints and rules that are noted for a new baseline at most: more than anybody reads. What is beyond is told.
const NOTED_MAX: usize = 1 << 18;

/// What each takes, in bytes.
const NOTED_COST: u64 = 256;

/// The baseline that a run is held against, and the one that it makes.
#[derive(Default)]
pub struct Past {
    baseline: Option<RefCell<Baseline>>,
    noted: Option<RefCell<BTreeMap<Key, u64>>>,
    noted_max: usize,
    /// Findings for which the new baseline had no room.
    beyond: Cell<u64>,
}

impl Past {
    /// Holds a run against a baseline, and notes what it finds where asked to, in so many bytes.
    pub fn new(baseline: Option<Baseline>, note_within: Option<u64>) -> Self {
        let noted_max = note_within.map_or(0, |bytes| bytes / NOTED_COST);
        Self {
            baseline: baseline.map(RefCell::new),
            noted: note_within.map(|_| RefCell::default()),
            noted_max: usize::try_from(noted_max).map_or(NOTED_MAX, |max| max.min(NOTED_MAX)),
            beyond: Cell::new(0),
        }
    }

    /// Takes over what was noted and met before the baseline was read again.
    pub fn take_over(&mut self, from: &Self) {
        if let (Some(baseline), Some(before)) = (&self.baseline, &from.baseline) {
            baseline.borrow_mut().take_over(&before.borrow());
        }
        if let (Some(noted), Some(before)) = (&self.noted, &from.noted) {
            noted.swap(before);
            self.beyond.set(from.beyond.get());
        }
    }

    /// Tells whether there is a baseline of an earlier run.
    pub(super) fn is_held_against(&self) -> bool {
        self.baseline.is_some()
    }

    /// Tells how a finding, seen last at a time, stands to the baseline; `None` without one.
    pub(super) fn state(
        &self,
        key: impl FnOnce() -> Key,
        last: Timestamp,
    ) -> Option<BaselineState> {
        let baseline = self.baseline.as_ref()?;
        let known = baseline.borrow_mut().knows(&key(), last);
        Some(if known { BaselineState::Unchanged } else { BaselineState::New })
    }

    /// Notes a finding that nobody accepted.
    pub(super) fn note(&self, key: impl FnOnce() -> Key) {
        let Some(noted) = &self.noted else { return };
        let (mut noted, key) = (noted.borrow_mut(), key());
        if noted.len() < self.noted_max || noted.contains_key(&key) {
            *noted.entry(key).or_default() += 1;
        } else {
            self.beyond.set(self.beyond.get() + 1);
        }
    }

    /// Returns how many findings the new baseline had no room for.
    pub(super) fn beyond(&self) -> u64 {
        self.beyond.get()
    }

    /// Returns what the baseline has and the run did not show.
    ///
    /// `is_seen` tells whether a host was seen.
    pub(super) fn gone(&self, is_seen: impl Fn(IpAddr) -> bool) -> Vec<BaselineEntry> {
        let Some(baseline) = &self.baseline else { return Vec::new() };
        let text = |place: Option<Place>| match place? {
            Place::Prefix(prefix) if prefix.prefix_len() == prefix.max_prefix_len() => {
                Some(prefix.addr().to_string())
            }
            Place::Prefix(prefix) => Some(prefix.to_string()),
            Place::Zone(_) => None,
        };
        let baseline = baseline.borrow();
        let gone = baseline.gone().map(|entry| BaselineEntry {
            rule: entry.rule.clone(),
            initiator: text(entry.initiator),
            responder: text(entry.responder),
            port: entry.port,
            row: entry.row.clone(),
            responder_seen: match entry.responder {
                Some(Place::Prefix(prefix)) if prefix.prefix_len() == prefix.max_prefix_len() => {
                    Some(is_seen(prefix.addr()))
                }
                _ => None,
            },
        });
        gone.collect()
    }

    /// Returns how many entries of the baseline are of rules that the run does not judge.
    pub(super) fn not_judged(&self) -> usize {
        self.baseline.as_ref().map_or(0, |baseline| baseline.borrow().not_judged())
    }

    /// Returns the run's own baseline: a file of suppressions. `end` is the run's last packet.
    pub fn write(&self, end: Timestamp) -> String {
        let noted = self.noted.as_ref().map(RefCell::borrow);
        let noted = noted.iter().flat_map(|noted| noted.iter());
        baseline::write(noted.map(|(key, count)| (key, *count)), end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_new_baseline_has_no_room_for_is_counted() {
        let past = Past::new(None, Some(1 << 20));
        let key = |n: u32| Key {
            rule: "r".to_owned(),
            initiator: Some(n.to_be_bytes().into()),
            responder: None,
            port: 0,
            row: None,
        };
        let max = (1 << 20) / u32::try_from(NOTED_COST).unwrap();
        for n in (0..max + 3).chain(0..5) {
            past.note(|| key(n));
        }
        assert_eq!(past.beyond(), 3);
        let mut next = Past::new(None, Some(1 << 20));
        next.take_over(&past);
        assert_eq!(next.beyond(), 3);
    }
}
