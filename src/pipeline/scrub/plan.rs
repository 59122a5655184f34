//! First reading: which bytes of each stream may be shown.

use std::collections::{HashMap, HashSet};

use super::flows::{FlowName, Flows};
use super::{Scope, Seen, Subjects, Visitor};
use crate::decode::Decoded;
use crate::error::Result;
use crate::flow::stream::{Stream, StreamSink};
use crate::inspect::redact::{Redactor, Shown};
use crate::packet::{At, Packet, Side, TcpFlags, Transport};

/// What may be shown of all streams.
#[derive(Default)]
pub(super) struct Plans {
    pub(super) by_flow: HashMap<FlowName, Box<Plan>>,
    /// Frames with bytes that differ from those of an earlier copy.
    pub(super) conflicts: HashSet<u64>,
    pub(super) is_limited: bool,
}

/// Bytes of a place in a map of boxes that has just grown, and of the allocations behind it.
const PLACE_LEN: usize = 64 + 64;

/// What a frame takes in the set of conflicts.
const CONFLICT_LEN: usize = 24;

impl Plans {
    /// Takes what may be shown of a connection that is read to its end; returns the bytes that it takes.
    fn add(&mut self, name: FlowName, mut connection: Connection) -> usize {
        connection.with(0, |stream, sink| stream.finish(sink));
        let mut plan = connection.plan;
        if plan.shown.iter().all(Shown::is_empty) {
            return 0;
        }
        plan.shown.iter_mut().for_each(Shown::shrink);
        let len = plan.held_bytes();
        self.by_flow.insert(name, Box::new(plan));
        len
    }
}

/// What may be shown of one connection.
#[derive(Default)]
pub(super) struct Plan {
    /// The sequence number at which each side's stream begins.
    pub(super) base: [Option<u32>; 2],
    pub(super) shown: [Shown; 2],
}

impl Plan {
    fn held_bytes(&self) -> usize {
        size_of::<Self>() + PLACE_LEN + self.shown.iter().map(Shown::held_bytes).sum::<usize>()
    }
}

/// Learns what may be shown.
pub(super) struct Scan<'a> {
    subjects: &'a Subjects,
    scope: Scope,
    flows: Flows<'a>,
    connections: HashMap<FlowName, Box<Connection>>,
    held: usize,
    /// Bytes that may be held. Streams are overwritten from there on.
    held_max: usize,
    plans: Plans,
}

struct Connection {
    /// What reads it, until there is no more room.
    reader: Option<(Stream, Redactor)>,
    plan: Plan,
    /// Offset of the next byte of each side.
    at: [u64; 2],
}

/// A connection for the time of one packet.
struct Reading<'a> {
    redactor: &'a mut Redactor,
    plan: &'a mut Plan,
    at: &'a mut [u64; 2],
    /// Sequence number of the packet's first byte.
    seq: u32,
    conflict: bool,
}

impl<'a> Scan<'a> {
    /// Halves a budget: for the flows, and for what may be shown of them.
    pub(super) fn new(subjects: &'a Subjects, scope: Scope, budget: u64) -> Self {
        Self {
            subjects,
            scope,
            flows: Flows::new(subjects, budget / 2),
            connections: HashMap::new(),
            held: 0,
            held_max: usize::try_from(budget / 2).unwrap_or(usize::MAX),
            plans: Plans::default(),
        }
    }

    pub(super) fn finish(mut self) -> Plans {
        for (name, connection) in self.connections {
            self.plans.add(name, *connection);
        }
        self.plans.is_limited |= self.flows.is_limited;
        self.plans
    }

    /// Finds a packet's flow, and where the stream of its side begins. Of flows that had to go, what may be shown
    /// stays, without its readers.
    fn packet(&mut self, packet: &Packet) -> (FlowName, Option<u32>) {
        let Self { flows, connections, plans, held, .. } = self;
        let (name, flow) = flows.packet(packet, |gone| {
            let Some(connection) = connections.remove(&gone) else { return };
            *held -= connection.held_bytes();
            *held += plans.add(gone, *connection);
        });
        (name, flow.tcp.stream_start(packet.side))
    }

    fn segment(&mut self, name: FlowName, start: Option<u32>, packet: &Packet, seen: &Seen<'_>) {
        let connection = match self.connections.entry(name) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                let Some(protocol) = self.subjects.protocol(name.id) else { return };
                if self.scope == Scope::Findings && !self.subjects.has_findings(name.id) {
                    return;
                }
                if self.held > self.held_max {
                    self.plans.is_limited = true;
                    return;
                }
                let connection = Box::new(Connection {
                    reader: Some((Stream::default(), Redactor::new(protocol))),
                    plan: Plan::default(),
                    at: [0; 2],
                });
                self.held += connection.held_bytes();
                place.insert(connection)
            }
        };
        let before = connection.held_bytes();
        if self.held > self.held_max {
            self.plans.is_limited = true;
            connection.with(0, |stream, sink| stream.finish(sink));
            connection.reader = None;
            self.held = self.held + connection.held_bytes() - before;
            return;
        }
        let seq = first_byte(packet);
        let base = &mut connection.plan.base[packet.side.index()];
        *base = base.or(start);
        let payload = packet.payload.of(&seen.block.bytes);
        let conflict =
            connection.with(seq, |stream, sink| stream.segment(packet, payload, start, sink));
        self.held = self.held + connection.held_bytes() - before;
        if conflict {
            self.plans.conflicts.insert(packet.at.frame);
            self.held += CONFLICT_LEN;
        }
    }
}

/// Returns the sequence number of a packet's first byte: a SYN takes one.
pub(super) fn first_byte(packet: &Packet) -> u32 {
    packet.tcp.seq.wrapping_add(u32::from(packet.tcp.flags.has(TcpFlags::SYN)))
}

impl Visitor for Scan<'_> {
    fn frame(&mut self, seen: &Seen<'_>) -> Result<()> {
        match &seen.decoded {
            Decoded::Packet(packet) => {
                let (name, start) = self.packet(packet);
                if !packet.counted_only && packet.key.transport() == Transport::Tcp {
                    self.segment(name, start, packet, seen);
                }
            }
            Decoded::Unreachable(quoted) => self.flows.refuse(quoted.hash, &quoted.key),
            Decoded::Held | Decoded::Stop(_) => {}
        }
        Ok(())
    }

    fn elsewhere(&mut self, packet: &Packet) {
        self.packet(packet);
    }
}

impl Connection {
    /// Lets the stream give its bytes; tells whether two copies of some differed.
    fn with(&mut self, seq: u32, act: impl FnOnce(&mut Stream, &mut Reading<'_>)) -> bool {
        let Self { reader, plan, at } = self;
        let Some((stream, redactor)) = reader else { return false };
        let mut sink = Reading { redactor, plan, at, seq, conflict: false };
        act(stream, &mut sink);
        sink.conflict
    }

    fn held_bytes(&self) -> usize {
        let of_reader =
            |(stream, redactor): &(Stream, Redactor)| stream.held_bytes() + redactor.held_bytes();
        size_of::<Self>() + self.plan.held_bytes() + self.reader.as_ref().map_or(0, of_reader)
    }
}

impl StreamSink for Reading<'_> {
    fn data(&mut self, side: Side, _at: At, bytes: &[u8]) {
        let at = &mut self.at[side.index()];
        self.redactor.data(side, *at, bytes, &mut self.plan.shown[side.index()]);
        *at += bytes.len() as u64;
    }

    fn gap(&mut self, side: Side, len: u64, _cut: bool) {
        self.redactor.gap(side, len, &mut self.plan.shown[side.index()]);
        self.at[side.index()] += len;
    }

    fn close(&mut self, side: Side) {
        self.redactor.close(side, &mut self.plan.shown[side.index()]);
    }

    fn conflict(&mut self, _side: Side) {
        self.conflict = true;
    }

    fn skippable(&self, side: Side) -> u64 {
        self.redactor.skippable(side)
    }

    fn wants(&self, side: Side) -> bool {
        self.redactor.wants(side)
    }

    fn begins(&mut self, side: Side, bytes: &[u8]) -> bool {
        // As the inspection does: once a side is known, the other one is read from where it is.
        let is_known = self.plan.base.iter().any(Option::is_some);
        let begins = is_known || self.redactor.begins(side, bytes);
        if begins {
            self.plan.base[side.index()].get_or_insert(self.seq);
        }
        begins
    }
}
