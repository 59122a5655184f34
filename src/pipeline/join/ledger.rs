//! The ledger as published.

use std::collections::BTreeMap;

use crate::capture::Dropped;
use crate::decode::Stop;
use crate::packet::ObservationPoint;
use crate::pipeline::ledger::{Ledger, PointLedger};
use crate::report::summary;

/// Writes the ledger in its published form.
pub fn record(ledger: &Ledger, points: &[ObservationPoint]) -> summary::LedgerRecord {
    let named = points.iter().zip(ledger.points());
    summary::LedgerRecord {
        total: of(&ledger.total()),
        points: named
            .map(|(point, ledger)| summary::PointLedger {
                pcap_filename: point.file.clone(),
                in_iface: point.interface.clone(),
                ledger: of(ledger),
                interface: BTreeMap::new(),
            })
            .collect(),
    }
}

fn of(point: &PointLedger) -> summary::Ledger {
    let Dropped { kernel, ring, queue } = point.dropped;
    summary::Ledger {
        offered: point.received + kernel + ring + queue,
        received: point.received,
        filtered: point.filtered,
        classified: point.classified,
        unclassified: point.unclassified,
        stopped: not_zero(Stop::ALL.into_iter().map(Stop::name).zip(point.stopped)),
        in_flight: point.in_flight(),
        dropped: not_zero([("kernel", kernel), ("queue", queue), ("ring", ring)]),
        evicted: point.evicted,
        uninspected: point.uninspected.clone(),
    }
}

fn not_zero(counts: impl IntoIterator<Item = (&'static str, u64)>) -> BTreeMap<&'static str, u64> {
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}
