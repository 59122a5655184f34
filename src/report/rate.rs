//! How many alerts a live run may write in a second of packet time.
//!
//! A flood of forged findings would fill a disk and bury what matters. Each rule has its own share, so that
//! a flood of one hides nothing of another. What is withheld counts in every sum, and is counted by itself.

use std::collections::BTreeMap;

use super::ndjson::Ndjson;
use super::record::AlertRecord;

/// Alerts of one rule that go out in one second: more than anybody follows, and some 15 MB.
pub const ALERTS_A_SECOND_MAX: u64 = 10_000;

/// Seconds that are told apart, beyond how far findings lie apart in time: a final count comes when its flow ended
/// half a minute ago. An alert of yet another second, as after a clock was set back, begins anew.
const SECONDS: u8 = 64;

/// Counts the alerts of the latest seconds of packet time, each on its own: a run's end has final counts of many.
#[derive(Default)]
pub(super) struct Rate {
    written: BTreeMap<String, Seconds>,
    withheld: BTreeMap<String, u64>,
}

/// A rule's alerts by second: each second with its number, at its place.
struct Seconds([(i64, u64); SECONDS as usize]);

impl Seconds {
    fn at(&mut self, second: i64) -> &mut u64 {
        let place = usize::try_from(second.rem_euclid(SECONDS.into())).unwrap_or(0);
        let place = &mut self.0[place];
        if place.0 != second {
            *place = (second, 0);
        }
        &mut place.1
    }
}

impl Rate {
    /// Tells whether an alert may go out.
    pub(super) fn allows(&mut self, alert: &AlertRecord<'_>) -> bool {
        let second = alert.last_seen.0.div_euclid(1_000_000_000);
        let rule = &alert.rule.id;
        let written = match self.written.get_mut(rule) {
            Some(written) => written,
            None => self.written.entry(rule.clone()).or_insert(Seconds([(0, 0); SECONDS as usize])),
        };
        let written = written.at(second);
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
        assert!(!rate.allows(&flood), "it had its share");
        assert_eq!(rate.withheld().values().sum::<u64>(), 51);
    }

    #[test]
    fn a_run_s_end_has_the_final_counts_of_half_a_minute() {
        let mut rate = Rate::default();
        // Frames are a millisecond apart; each second has as many first counts as final ones.
        let ends = "10.0.2.7:2000";
        for second in 0..30 {
            for _ in 0..ALERTS_A_SECOND_MAX / 2 {
                assert!(rate.allows(&alert(
                    0,
                    envelope(ends, "10.0.3.10:8280", second * 1_000),
                    1
                )));
            }
        }
        for second in 0..30 {
            for _ in 0..ALERTS_A_SECOND_MAX / 2 {
                assert!(rate.allows(&alert(
                    0,
                    envelope(ends, "10.0.3.10:8280", second * 1_000),
                    2
                )));
            }
        }
        assert!(rate.withheld().is_empty());
    }
}
