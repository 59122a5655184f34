//! The loss ledger: every frame is in exactly one place, per observation point and in total.
//!
//! `received = filtered + classified + unclassified + stopped + in_flight`, and
//! `offered = received + dropped`. What was counted but not looked into stands beside it.

use std::collections::BTreeMap;

use crate::capture::Dropped;
use crate::decode::Stop;
use crate::packet::PointId;

/// Frames of one observation point by what became of them before the flow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PointLedger {
    /// Frames that the source gave.
    pub received: u64,
    /// Frames that the user's filter or time span left out.
    pub filtered: u64,
    /// Frames that joined no flow, by reason, in the order of [`Stop::ALL`].
    pub stopped: [u64; Stop::ALL.len()],
    /// Frames whose flow has a service.
    pub classified: u64,
    /// Frames whose flow has none.
    pub unclassified: u64,
    /// Flows that were thrown out of a full table; their frames are counted in one of the two above.
    pub evicted: u64,
    /// Frames that are known to be lost.
    pub dropped: Dropped,
    /// What was counted and not looked into, by reason: frames for `snaplen`, else flows.
    pub uninspected: BTreeMap<&'static str, u64>,
}

impl PointLedger {
    /// Returns the frames that joined no flow.
    pub fn stopped_total(&self) -> u64 {
        self.stopped.iter().sum()
    }

    /// Returns the frames that are in none of the other places: held fragments while the run goes on,
    /// nothing at its end.
    pub fn in_flight(&self) -> u64 {
        let placed = self.filtered + self.classified + self.unclassified + self.stopped_total();
        self.received.saturating_sub(placed)
    }

    /// Tells whether no frame was counted twice or lost.
    pub fn balances(&self) -> bool {
        self.received == self.filtered + self.classified + self.unclassified + self.stopped_total()
    }

    /// Adds another point's frames.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.filtered += other.filtered;
        for (mine, theirs) in self.stopped.iter_mut().zip(other.stopped) {
            *mine += theirs;
        }
        self.classified += other.classified;
        self.unclassified += other.unclassified;
        self.evicted += other.evicted;
        self.dropped.kernel += other.dropped.kernel;
        self.dropped.ring += other.dropped.ring;
        self.dropped.queue += other.dropped.queue;
        for (reason, count) in &other.uninspected {
            *self.uninspected.entry(reason).or_default() += count;
        }
    }
}

/// The ledgers of all points.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    points: Vec<PointLedger>,
}

impl Ledger {
    /// Returns a point's ledger, making it when it is new.
    #[inline]
    pub fn point(&mut self, point: PointId) -> &mut PointLedger {
        let index = usize::from(point.0);
        if index >= self.points.len() {
            self.points.resize_with(index + 1, PointLedger::default);
        }
        &mut self.points[index]
    }

    /// Returns the ledgers by point.
    pub fn points(&self) -> &[PointLedger] {
        &self.points
    }

    /// Adds another ledger, point by point.
    pub fn add(&mut self, other: &Self) {
        for (index, theirs) in other.points.iter().enumerate() {
            self.point(PointId(u16::try_from(index).unwrap_or(u16::MAX))).add(theirs);
        }
    }

    /// Returns the sum of all points.
    pub fn total(&self) -> PointLedger {
        let mut total = PointLedger::default();
        for point in &self.points {
            total.add(point);
        }
        total
    }

    /// Counts frames that joined no flow.
    #[inline]
    pub fn stop(&mut self, point: PointId, stop: Stop, frames: u64) {
        let index = Stop::ALL.iter().position(|s| *s == stop).unwrap_or(0);
        self.point(point).stopped[index] += frames;
    }
}
