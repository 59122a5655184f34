//! All flows of all shards, in the order of the report.

use super::super::shard::Shard;
use crate::flow::Flow;
use crate::flow::index::FlowNumber;
use crate::inspect::Facts;

/// One flow's place: its shard and number there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    first_frame: u64,
    number: FlowNumber,
    shard: u8,
}

impl Place {
    pub(super) fn flow<'a>(&self, shards: &'a [Shard]) -> &'a Flow {
        shards[usize::from(self.shard)].flow(self.number)
    }

    pub(super) fn facts<'a>(&self, shards: &'a [Shard]) -> Option<&'a Facts> {
        shards[usize::from(self.shard)].facts(self.number)
    }

    /// Loads the flow and what was found in it; returns something of it.
    #[inline]
    pub(super) fn touch(&self, shards: &[Shard]) -> u64 {
        let shard = &shards[usize::from(self.shard)];
        let flow = shard.flow(self.number);
        // One of each of its cache lines.
        let lines = flow.packets[0] ^ flow.bytes[1] ^ flow.first.frame;
        lines ^ shard.touch_facts(flow.slot)
    }

    /// Loads the first evidence that was found in the flow; returns something of it.
    #[inline]
    pub(super) fn touch_evidence(&self, shards: &[Shard]) -> u64 {
        let evidence = self.facts(shards).and_then(|facts| facts.evidence.first());
        evidence.map_or(0, |evidence| evidence.count ^ evidence.secrets_beyond)
    }

    /// Loads the secret of the first evidence, and the request that it was in; returns something of it.
    #[inline]
    pub(super) fn touch_secret(&self, shards: &[Shard]) -> u64 {
        let evidence = self.facts(shards).and_then(|facts| facts.evidence.first());
        evidence.map_or(0, |evidence| {
            let secret = evidence.secrets.first().map_or(0, |(_, count)| *count);
            let status = evidence.http.as_deref().and_then(|http| http.status);
            secret ^ u64::from(status.unwrap_or(0))
        })
    }

    pub(super) fn shard(&self) -> usize {
        usize::from(self.shard)
    }

    pub(super) fn number(&self) -> FlowNumber {
        self.number
    }
}

/// Returns the places of all flows by first frame, then key: the same whoever owned the shards.
pub(super) fn in_order(shards: &[Shard]) -> Vec<Place> {
    let mut places = Vec::with_capacity(shards.iter().map(Shard::len).sum());
    for (index, shard) in shards.iter().enumerate() {
        let shard_number = u8::try_from(index).expect("64 shards");
        places.extend(shard.flows().map(|(number, flow)| Place {
            first_frame: flow.first.frame,
            number,
            shard: shard_number,
        }));
    }
    // Stable: each shard's flows are nearly in order, which that makes use of.
    places.sort_by(|a, b| {
        let key = |place: &Place| place.flow(shards).key;
        a.first_frame.cmp(&b.first_frame).then_with(|| key(a).cmp(&key(b)))
    });
    places
}
