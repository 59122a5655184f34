//! The flows of a reading: as many as there is memory for.

use super::Subjects;
use crate::flow::{Flow, Table};
use crate::packet::{FlowKey, Packet, Timestamp};
use crate::report::community_id::flow_id;

/// Bytes that a flow takes: itself, its share of an index that has just grown, and how far its sides have come.
const FLOW_COST: u64 = size_of::<Flow>() as u64 + 32 + 96;

/// Flows that there is always room for.
const FLOWS_MIN: u64 = 1 << 12;

/// What a flow is called in both readings: its id, and its first frame. A number is used again when its flow
/// had to go, and what may be shown of one flow must never be shown of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FlowName {
    pub(super) id: u64,
    first_frame: u64,
}

/// A table in which the least wanted flows make room for new ones. What goes depends on the packets alone, so
/// that both readings have the same flows.
pub(super) struct Flows<'a> {
    subjects: &'a Subjects,
    table: Table,
    max: usize,
    /// A flow with findings had to go while it was open.
    pub(super) is_limited: bool,
}

impl<'a> Flows<'a> {
    pub(super) fn new(subjects: &'a Subjects, memory: u64) -> Self {
        let max = usize::try_from((memory / FLOW_COST).max(FLOWS_MIN)).unwrap_or(usize::MAX);
        Self { subjects, table: Table::default(), max, is_limited: false }
    }

    /// Finds the flow of a packet; calls with each flow that had to go for it.
    pub(super) fn packet(
        &mut self,
        packet: &Packet,
        gone: impl FnMut(FlowName),
    ) -> (FlowName, &Flow) {
        if self.table.len() >= self.max {
            self.make_room(packet.at.time, gone);
        }
        let (_, flow) = self.table.packet(packet);
        (name(flow), flow)
    }

    /// Learns that a flow's opening was refused.
    pub(super) fn refuse(&mut self, hash: u64, key: &FlowKey) {
        self.table.refuse(hash, key);
    }

    /// Lets half of the flows go: what is over first, then attempts, then what has no findings; of these the
    /// longest silent.
    fn make_room(&mut self, now: Timestamp, mut gone: impl FnMut(FlowName)) {
        let wanted = |flow: &Flow| {
            let has_findings = self.subjects.has_findings(name(flow).id);
            (!flow.is_over(now), has_findings, flow.has_payload(), flow.last)
        };
        let mut order: Vec<_> =
            self.table.numbers().map(|number| (wanted(self.table.flow(number)), number)).collect();
        let half = order.len() / 2;
        order.select_nth_unstable(half);
        order.truncate(half.max(1));
        for ((is_open, has_findings, ..), number) in order {
            if let Some(flow) = self.table.remove(number) {
                self.is_limited |= is_open && has_findings;
                gone(name(&flow));
            }
        }
    }
}

fn name(flow: &Flow) -> FlowName {
    FlowName { id: flow_id(&flow.key, flow.first.frame), first_frame: flow.first.frame }
}
