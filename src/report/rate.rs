//! How many alerts a live run may write in a second of packet time.
//!
//! A flood of forged findings would fill a disk and bury what matters. Each rule has its own share, so that
//! a flood of one hides nothing of another. What is withheld counts in every sum, and is counted by itself.

use std::collections::BTreeMap;

use super::ndjson::Ndjson;
use super::record::AlertRecord;

/// Alerts of one rule that go out in one second: more than anybody follows, and some 15 MB.
pub const ALERTS_A_SECOND_MAX: u64 = 10_000;

/// How far findings may lie apart in time: a final count comes when its flow ended half a minute ago.
const BACK_SECONDS_MAX: i64 = 60;

/// Counts the alerts of the latest second of packet time.
#[derive(Default)]
pub(super) struct Rate {
    second: i64,
    written: BTreeMap<String, u64>,
    withheld: BTreeMap<String, u64>,
}

impl Rate {
    /// Tells whether an alert may go out.
    pub(super) fn allows(&mut self, alert: &AlertRecord<'_>) -> bool {
        let second = alert.last_seen.0.div_euclid(1_000_000_000);
        // A clock that was set back is another time, too.
        if second > self.second || second < self.second - BACK_SECONDS_MAX {
            self.second = second;
            self.written.values_mut().for_each(|written| *written = 0);
        }
        let rule = &alert.rule.id;
        let written = match self.written.get_mut(rule) {
            Some(written) => written,
            None => self.written.entry(rule.clone()).or_default(),
        };
        if *written < ALERTS_A_SECOND_MAX {
            *written += 1;
            return true;
        }
        match self.withheld.get_mut(rule) {
            Some(withheld) => *withheld += 1,
            None => drop(self.withheld.insert(rule.clone(), 1)),
        }
        false
    }

    /// Returns how many alerts were withheld, by rule.
    pub(super) fn withheld(&self) -> &BTreeMap<String, u64> {
        &self.withheld
    }
}

impl Ndjson {
    /// Bounds how many alerts go out in a second, as a live run must.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.rate = Some(Rate::default());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{alert, envelope};
    use super::*;

    #[test]
    fn a_flood_of_one_rule_hides_nothing_of_another_and_nothing_uncounted() {
        let mut rate = Rate::default();
        let at = |frame| envelope("10.0.2.7:2000", "10.0.3.10:8280", frame);
        let [flood, other, later] =
            [(0, 1), (1, 1), (0, 3_000)].map(|(rule, n)| alert(rule, at(n), 1));
        let times = ALERTS_A_SECOND_MAX + 50;
        let written = (0..times).filter(|_| rate.allows(&flood)).count() as u64;
        assert_eq!(written, ALERTS_A_SECOND_MAX);
        assert!(rate.allows(&other));
        assert!(rate.allows(&later), "a new second");
        assert_eq!(rate.withheld().values().sum::<u64>(), 50);
    }
}
