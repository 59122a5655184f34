//! Findings over time: counts by rule and initiator in buckets, so that a picture can be drawn from the
//! report alone.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use serde::Serialize;

use crate::packet::Timestamp;

/// Buckets that a run's span is cut into at most: what a picture can show.
pub const BUCKETS_MAX: u64 = 240;

/// Initiators kept apart for one rule; the rest shares one series. Bounds the summary's length.
pub const SERIES_MAX: usize = 1_000;

/// Widths that people read, in nanoseconds; beyond the last one, whole days.
const WIDTHS_NS: [u64; 21] = [
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
    15_000_000_000,
    30_000_000_000,
    60_000_000_000,
    120_000_000_000,
    300_000_000_000,
    600_000_000_000,
    900_000_000_000,
    1_800_000_000_000,
    3_600_000_000_000,
    7_200_000_000_000,
    10_800_000_000_000,
    21_600_000_000_000,
    43_200_000_000_000,
    DAY_NS,
];

const DAY_NS: u64 = 86_400_000_000_000;

/// Counts over time by rule and initiator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timeline {
    /// The start of bucket 0: a multiple of the width since 1970.
    pub start: Timestamp,
    /// The width of a bucket.
    pub bucket_ns: u64,
    /// By rule, then initiator; what is beyond the limit comes last, without an initiator.
    pub series: Vec<Series>,
}

/// The counts of one rule and initiator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Series {
    /// The rule's id.
    pub rule: String,
    /// The initiator; left out for all those beyond the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiator: Option<IpAddr>,
    /// Buckets that are not empty: index and count, in order.
    pub buckets: Vec<(u64, u64)>,
}

/// Counts of one series, each in its bucket's place: a run has few buckets, and most of them soon count something.
#[derive(Debug, Clone, Default)]
struct Buckets(Vec<u64>);

impl Buckets {
    fn add(&mut self, bucket: u64, count: u64) {
        let place = usize::try_from(bucket).expect("a run has few buckets");
        if place >= self.0.len() {
            self.0.resize(place + 1, 0);
        }
        self.0[place] += count;
    }

    /// Returns the buckets that are not empty: index and count, in order.
    fn filled(&self) -> Vec<(u64, u64)> {
        (0..).zip(self.0.iter().copied()).filter(|(_, count)| *count > 0).collect()
    }
}

/// Sums findings into a [`Timeline`].
#[derive(Debug, Clone)]
pub struct TimelineBuilder {
    start: Timestamp,
    bucket_ns: u64,
    rules: BTreeMap<String, (BTreeMap<IpAddr, Buckets>, Buckets)>,
}

impl TimelineBuilder {
    /// Chooses the width for a run's span; the same span has the same width everywhere.
    pub fn new(start: Timestamp, end: Timestamp) -> Self {
        let least = end.since(start) / BUCKETS_MAX + 1;
        let bucket_ns = WIDTHS_NS
            .into_iter()
            .find(|width| *width >= least)
            .unwrap_or_else(|| least.div_ceil(DAY_NS) * DAY_NS);
        let width = i64::try_from(bucket_ns).unwrap_or(i64::MAX);
        let start = Timestamp(start.0.saturating_sub(start.0.rem_euclid(width)));
        Self { start, bucket_ns, rules: BTreeMap::new() }
    }

    /// Counts a finding at a time; before the start counts as the start.
    pub fn add(&mut self, rule: &str, initiator: IpAddr, time: Timestamp, count: u64) {
        if time.since(self.start) / self.bucket_ns > BUCKETS_MAX {
            self.widen(self.start, time);
        }
        let bucket = time.since(self.start) / self.bucket_ns;
        let (known, beyond) = match self.rules.get_mut(rule) {
            Some(series) => series,
            None => self.rules.entry(rule.to_owned()).or_default(),
        };
        let is_full = known.len() >= SERIES_MAX;
        let buckets = match known.entry(initiator) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if is_full => beyond,
            Entry::Vacant(new) => new.insert(Buckets::default()),
        };
        buckets.add(bucket, count);
    }

    /// Makes room for a longer span; what was counted goes to the bucket in which its own one began.
    pub fn widen(&mut self, start: Timestamp, end: Timestamp) {
        let wider = Self::new(start, end);
        if (wider.start, wider.bucket_ns) == (self.start, self.bucket_ns) {
            return;
        }
        let place = |bucket: u64| {
            let begun = i64::try_from(bucket * self.bucket_ns).unwrap_or(i64::MAX);
            Timestamp(self.start.0.saturating_add(begun)).since(wider.start) / wider.bucket_ns
        };
        let moved = |buckets: &mut Buckets| {
            for (bucket, count) in std::mem::take(buckets).filled() {
                buckets.add(place(bucket), count);
            }
        };
        let mut rules = std::mem::take(&mut self.rules);
        for (known, beyond) in rules.values_mut() {
            known.values_mut().for_each(moved);
            moved(beyond);
        }
        *self = Self { rules, ..wider };
    }

    /// Returns the published form.
    pub fn build(self) -> Timeline {
        let mut series = Vec::new();
        for (rule, (known, beyond)) in self.rules {
            let known = known.into_iter().map(|(initiator, buckets)| (Some(initiator), buckets));
            for (initiator, buckets) in known.chain([(None, beyond)]) {
                let buckets = buckets.filled();
                if !buckets.is_empty() {
                    series.push(Series { rule: rule.clone(), initiator, buckets });
                }
            }
        }
        Timeline { start: self.start, bucket_ns: self.bucket_ns, series }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn any_span_has_few_buckets() {
        for span in [0, 1, 59 * SECOND, 3_600 * SECOND, 86_400 * SECOND, i64::MAX - 1] {
            let mut timeline = TimelineBuilder::new(Timestamp(1), Timestamp(1 + span));
            timeline.add("r", IpAddr::from([10, 0, 0, 1]), Timestamp(1 + span), 1);
            let (last, _) = timeline.build().series[0].buckets[0];
            assert!(last <= BUCKETS_MAX, "{span} ns end in bucket {last}");
        }
    }

    #[test]
    fn counts_fall_into_buckets_of_their_rule_and_initiator() {
        let mut timeline = TimelineBuilder::new(Timestamp(0), Timestamp(3_600 * SECOND));
        assert_eq!(timeline.bucket_ns, 30_000_000_000);
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        timeline.add("b", b, Timestamp(95 * SECOND), 1);
        timeline.add("a", b, Timestamp(95 * SECOND), 1);
        timeline.add("a", a, Timestamp(29 * SECOND), 3);
        timeline.add("a", a, Timestamp(0), 1);
        timeline.add("a", a, Timestamp(30 * SECOND), 5);
        let series = |rule: &str, initiator, buckets: &[(u64, u64)]| Series {
            rule: rule.to_owned(),
            initiator: Some(initiator),
            buckets: buckets.to_vec(),
        };
        let expected = [
            series("a", a, &[(0, 4), (1, 5)]),
            series("a", b, &[(3, 1)]),
            series("b", b, &[(3, 1)]),
        ];
        assert_eq!(timeline.build().series, expected);
    }

    #[test]
    fn a_run_that_goes_on_keeps_its_counts() {
        let mut timeline = TimelineBuilder::new(Timestamp(0), Timestamp(10 * SECOND));
        let a = IpAddr::from([10, 0, 0, 1]);
        for second in 0..10 {
            timeline.add("a", a, Timestamp(second * SECOND), 1);
        }
        timeline.widen(Timestamp(0), Timestamp(3_600 * SECOND));
        timeline.add("a", a, Timestamp(3_599 * SECOND), 1);
        assert_eq!(timeline.build().series[0].buckets, [(0, 10), (119, 1)]);
    }

    #[test]
    fn a_finding_beyond_the_end_widens_the_span() {
        let mut timeline = TimelineBuilder::new(Timestamp(0), Timestamp(10 * SECOND));
        let a = IpAddr::from([10, 0, 0, 1]);
        timeline.add("a", a, Timestamp(9 * SECOND), 1);
        timeline.add("a", a, Timestamp(i64::MAX), 1);
        let buckets = &timeline.build().series[0].buckets;
        assert_eq!(buckets[0], (0, 1));
        assert!(buckets[1].0 <= BUCKETS_MAX && buckets[1].1 == 1, "{buckets:?}");
    }

    #[test]
    fn initiators_beyond_the_limit_share_one_series() {
        let mut timeline = TimelineBuilder::new(Timestamp(0), Timestamp(0));
        for host in 0..u32::try_from(SERIES_MAX).unwrap() + 5 {
            timeline.add("a", IpAddr::from(host.to_be_bytes()), Timestamp(0), 2);
        }
        let series = timeline.build().series;
        assert_eq!(series.len(), SERIES_MAX + 1);
        assert_eq!(series[SERIES_MAX].initiator, None);
        assert_eq!(series[SERIES_MAX].buckets, [(0, 10)]);
    }
}
