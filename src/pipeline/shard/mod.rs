//! One logical shard: its flows, what inspection keeps of them, its share of every limit.
//!
//! Takes packets and their payload in the order of capture; gives flows with their facts. A plain
//! struct: which thread owns it changes nothing.

mod room;

use std::collections::BTreeMap;

use crate::capture::{FlowCount, Verdict};
use crate::decode::Quoted;
use crate::flow::index::FlowNumber;
use crate::flow::{Flow, NO_SLOT, Slot, Table};
use crate::inspect::connection::Connection;
use crate::inspect::datagrams::Datagrams;
use crate::inspect::{Facts, Progress, Protocol, Tools};
use crate::packet::{FlowKey, Packet, PointId, Side, TcpFlags, Transport};

pub use room::{Answer, Ask, FRAME_COST_MAX, Part};

/// Marks a flow about which inspection has nothing more to learn and nothing to say.
const NOTHING_TO_SAY: Slot = NO_SLOT - 1;

/// Flags of a segment that says something without payload.
const CONTROL: u8 = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST;

/// What inspection keeps of one flow.
enum Inspected {
    /// A TCP connection that is still read.
    Connection(Box<Connection>),
    /// A UDP exchange that is still read.
    Datagrams(Datagrams),
    /// Decided.
    Facts(Box<Facts>),
    /// A free place.
    Free,
}

/// The flows of one logical shard.
#[derive(Default)]
pub struct Shard {
    table: Table,
    inspected: Vec<Inspected>,
    free: Vec<Slot>,
    /// Frames of flows that were seen at another point than the flow's first one.
    elsewhere: BTreeMap<(FlowNumber, PointId), u64>,
    /// Memory of what is held for flows, in bytes: behind holes, of messages that are not whole, of facts.
    held: usize,
    /// Connections that are still looked into.
    connections: usize,
    /// Exchanges that are still looked into.
    exchanges: usize,
    /// Flows about which something new was found since the last question.
    changed: Vec<FlowNumber>,
    /// Somebody asks what is new.
    asked: bool,
    /// Bytes held at which reading ends where most is held; nothing before anybody said how much may be.
    relieve_at: Option<usize>,
}

impl Shard {
    /// Takes one packet; see [`Shard::packet_of`].
    pub fn packet(&mut self, packet: &Packet, bytes: &[u8], tools: &Tools) -> Option<Verdict> {
        self.packet_of(packet, self.touch(packet.hash), bytes, tools)
    }

    /// Takes one packet; `likely` is what [`Shard::touch`] said of its hash. A verdict holds for the whole
    /// five-tuple, and is given again with each packet that need not have come.
    #[inline]
    pub fn packet_of(
        &mut self,
        packet: &Packet,
        likely: FlowNumber,
        bytes: &[u8],
        tools: &Tools,
    ) -> Option<Verdict> {
        let (number, flow) = self.table.packet_of(packet, likely);
        let slot = flow.slot;
        let is_empty = packet.payload.len == 0 && packet.cut_len == 0;
        // What says nothing itself may still tell that the bytes before it were lost.
        let says_nothing = slot == NO_SLOT && is_empty && !flow.tcp.has_sent(packet.side);
        if packet.point != flow.point {
            self.note_elsewhere(number, packet);
        }
        if slot == NOTHING_TO_SAY || packet.counted_only || says_nothing {
            return (slot == NOTHING_TO_SAY).then_some(Verdict::Enough);
        }
        match packet.key.transport() {
            // A bare acknowledgement tells a stream nothing.
            Transport::Tcp if is_empty && !packet.tcp.flags.has(CONTROL) => None,
            Transport::Tcp if passes(&mut self.inspected, slot, packet) => None,
            Transport::Tcp => {
                let verdict = self.segment(number, packet, bytes, tools);
                if self.relieve_at.is_some_and(|max| self.held > max) {
                    self.relieve(tools);
                }
                verdict
            }
            Transport::Udp if !is_empty => self.datagram(number, packet, bytes, tools),
            Transport::Udp => None,
        }
    }

    /// Adds what a kernel counted. A flow of which a frame was lost before it was decided is not wholly
    /// looked into.
    pub fn count(&mut self, packet: &Packet, count: &FlowCount) {
        let number = self.table.count(packet, count);
        if packet.point != self.table.flow(number).point {
            *self.elsewhere.entry((number, packet.point)).or_default() += count.packets;
        }
        if count.lost == 0 {
            return;
        }
        let flow = self.table.flow_mut(number);
        if flow.slot == NO_SLOT {
            let inspected = match packet.key.transport() {
                Transport::Tcp => {
                    self.connections += 1;
                    Inspected::Connection(Box::default())
                }
                Transport::Udp => {
                    self.exchanges += 1;
                    Inspected::Datagrams(Datagrams::default())
                }
            };
            flow.slot = place(&mut self.inspected, &mut self.free, || inspected);
        }
        match self.inspected.get_mut(flow.slot as usize) {
            Some(Inspected::Connection(connection)) => connection.lose(),
            Some(Inspected::Datagrams(datagrams)) => {
                let held_before = datagrams.held_bytes();
                datagrams.lose();
                self.held += datagrams.held_bytes() - held_before;
            }
            Some(Inspected::Facts(_) | Inspected::Free) | None => {}
        }
    }

    /// Tells whether a verdict that a packet led to holds for its five-tuple: no other connection contends
    /// for it, and this packet does not open or close one.
    pub fn is_settled(&self, packet: &Packet) -> bool {
        let turns = packet.tcp.flags.has(CONTROL);
        !turns && self.table.is_contested(packet.hash, &packet.key) == Some(false)
    }

    /// Learns that a flow's packet was refused.
    pub fn refuse(&mut self, quoted: &Quoted) {
        self.table.refuse(quoted.hash, &quoted.key);
    }

    /// Loads what a packet of this hash needs first; see [`Table::touch`].
    #[inline]
    pub fn touch(&self, hash: u64) -> FlowNumber {
        self.table.touch(hash)
    }

    /// Loads the flow that [`Shard::touch`] pointed to; returns its place among what is inspected.
    #[inline]
    pub fn touch_flow(&self, number: FlowNumber) -> (Slot, u64) {
        self.table.touch_flow(number)
    }

    /// Loads what a packet with payload needs first of the flow with this place, and the payload itself where it is
    /// going to be read; returns something of it.
    #[inline]
    pub fn touch_reader(&self, slot: Slot, packet: &Packet, bytes: &[u8]) -> u64 {
        match self.inspected.get(slot as usize) {
            Some(Inspected::Connection(connection)) => {
                let of_reader = connection.touch();
                if connection.passes(packet) { of_reader } else { of_reader ^ touch(packet, bytes) }
            }
            _ => 0,
        }
    }

    /// Loads what was found in the flow with this place; returns something of it.
    #[inline]
    pub fn touch_facts(&self, slot: Slot) -> u64 {
        match self.inspected.get(slot as usize) {
            Some(Inspected::Facts(facts)) => {
                facts.requests ^ facts.evidence.len() as u64 ^ u64::from(facts.upgraded)
            }
            _ => 0,
        }
    }

    /// Ends all inspection: what was still undecided is decided with what there is.
    pub fn finish(&mut self, tools: &Tools) {
        for number in 0..self.table.places() {
            let flow = self.table.flow_mut(number);
            if flow.is_vacant() {
                continue;
            }
            let Some(place) = self.inspected.get_mut(flow.slot as usize) else { continue };
            let facts = match std::mem::replace(place, Inspected::Free) {
                Inspected::Connection(connection) => end_of(*connection, flow, tools),
                Inspected::Datagrams(datagrams) => datagrams.finish(),
                decided => {
                    *place = decided;
                    continue;
                }
            };
            match boxed(facts) {
                Some(facts) => *place = Inspected::Facts(facts),
                None => flow.slot = NOTHING_TO_SAY,
            }
        }
    }

    /// Returns the flows with what was found in them; complete after [`Shard::finish`].
    pub fn flows(&self) -> impl Iterator<Item = (FlowNumber, &Flow)> {
        self.table.numbers().map(|number| (number, self.table.flow(number)))
    }

    /// Returns the number of flows.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Tells whether there is no flow.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Returns a flow.
    pub fn flow(&self, number: FlowNumber) -> &Flow {
        self.table.flow(number)
    }

    /// Returns what was found in a flow, if it was looked into and something was.
    pub fn facts(&self, number: FlowNumber) -> Option<&Facts> {
        match self.inspected.get(self.table.flow(number).slot as usize)? {
            Inspected::Facts(facts) => Some(facts),
            Inspected::Connection(connection) => Some(connection.facts()),
            Inspected::Datagrams(datagrams) => datagrams.facts(),
            Inspected::Free => None,
        }
    }

    /// Returns the other points than its first one at which frames of a flow were seen, in order.
    pub fn elsewhere(&self, number: FlowNumber) -> impl Iterator<Item = (PointId, u64)> + '_ {
        let of = (number, PointId(0))..=(number, PointId(u16::MAX));
        self.elsewhere.range(of).map(|(&(_, point), &frames)| (point, frames))
    }

    fn segment(
        &mut self,
        number: FlowNumber,
        packet: &Packet,
        bytes: &[u8],
        tools: &Tools,
    ) -> Option<Verdict> {
        let flow = self.table.flow_mut(number);
        if flow.slot == NO_SLOT {
            self.connections += 1;
            flow.slot =
                place(
                    &mut self.inspected,
                    &mut self.free,
                    || Inspected::Connection(Box::default()),
                );
        }
        let slot = flow.slot;
        let place = &mut self.inspected[slot as usize];
        let Inspected::Connection(connection) = place else { return Some(Verdict::Enough) };
        let held_before = connection.held_bytes();
        let payload = packet.payload.of(bytes);
        let before = self.asked.then(|| telling(connection.facts()));
        let progress = connection.packet(packet, payload, &flow.tcp, tools);
        self.held = (self.held + connection.held_bytes()).saturating_sub(held_before);
        if before.is_some_and(|before| before != telling(connection.facts())) {
            self.changed.push(number);
        }
        if progress == Progress::More {
            return None;
        }
        let Inspected::Connection(connection) = std::mem::replace(place, Inspected::Free) else {
            return None;
        };
        self.held = self.held.saturating_sub(connection.held_bytes());
        let facts = connection.finish(ports_of(&packet.key), tools);
        self.connections -= 1;
        self.decide(number, slot, facts);
        Some(Verdict::Enough)
    }

    fn datagram(
        &mut self,
        number: FlowNumber,
        packet: &Packet,
        bytes: &[u8],
        tools: &Tools,
    ) -> Option<Verdict> {
        let flow = self.table.flow_mut(number);
        if flow.slot == NO_SLOT {
            self.exchanges += 1;
            let begin = || Inspected::Datagrams(Datagrams::default());
            flow.slot = place(&mut self.inspected, &mut self.free, begin);
        }
        let slot = flow.slot;
        let place = &mut self.inspected[slot as usize];
        let Inspected::Datagrams(datagrams) = place else { return Some(Verdict::Enough) };
        let held_before = datagrams.held_bytes();
        let before = self.asked.then(|| datagrams.facts().map(telling));
        let progress = datagrams.packet(packet, packet.payload.of(bytes), tools);
        if before.is_some_and(|before| before != datagrams.facts().map(telling)) {
            self.changed.push(number);
        }
        if progress == Progress::More {
            self.held = (self.held + datagrams.held_bytes()).saturating_sub(held_before);
            return None;
        }
        let Inspected::Datagrams(datagrams) = std::mem::replace(place, Inspected::Free) else {
            return None;
        };
        self.held = self.held.saturating_sub(held_before);
        let facts = datagrams.finish();
        self.exchanges -= 1;
        self.decide(number, slot, facts);
        Some(Verdict::Enough)
    }

    /// Keeps what was found, or frees the place when that is nothing.
    fn decide(&mut self, number: FlowNumber, slot: Slot, facts: Facts) {
        if let Some(facts) = boxed(facts) {
            self.held += facts.held_bytes();
            self.inspected[slot as usize] = Inspected::Facts(facts);
        } else {
            self.free.push(slot);
            self.table.flow_mut(number).slot = NOTHING_TO_SAY;
        }
    }

    #[cold]
    fn note_elsewhere(&mut self, number: FlowNumber, packet: &Packet) {
        *self.elsewhere.entry((number, packet.point)).or_default() += u64::from(packet.frames);
    }
}

/// Ends the inspection of a connection. Bare acknowledgements were not shown to it, and may be all that tells
/// of a side's bytes.
fn end_of(mut connection: Connection, flow: &Flow, tools: &Tools) -> Facts {
    for side in Side::BOTH {
        if flow.tcp.has_sent(side)
            && let Some(start) = flow.tcp.stream_start(side)
        {
            connection.expect(side, start);
        }
    }
    connection.finish(ports_of(&flow.key), tools)
}

/// Loads the first cache lines of a payload, which another thread may have written: a head is rarely longer.
#[inline]
fn touch(packet: &Packet, bytes: &[u8]) -> u64 {
    const LINES_LEN: usize = 12 * 64;
    let payload = packet.payload.of(bytes);
    let lines = payload[..payload.len().min(LINES_LEN)].iter().step_by(64);
    lines.fold(0, |loaded, byte| loaded ^ u64::from(*byte))
}

/// Tells whether a packet is in the middle of bytes that nobody looks at, as most of a body are.
#[inline]
fn passes(inspected: &mut [Inspected], slot: Slot, packet: &Packet) -> bool {
    match inspected.get_mut(slot as usize) {
        Some(Inspected::Connection(connection)) => connection.pass(packet),
        _ => false,
    }
}

/// Returns what was found, if anything was.
fn boxed(facts: Facts) -> Option<Box<Facts>> {
    (facts != Facts::default()).then(|| Box::new(facts))
}

/// Takes a free place, or makes one.
fn place(
    inspected: &mut Vec<Inspected>,
    free: &mut Vec<Slot>,
    make: impl FnOnce() -> Inspected,
) -> Slot {
    if let Some(slot) = free.pop() {
        inspected[slot as usize] = make();
        return slot;
    }
    inspected.push(make());
    Slot::try_from(inspected.len() - 1).expect("fewer places than flows")
}

/// Returns what of a flow's facts changes when a rule may have something new to judge.
fn telling(facts: &Facts) -> (Option<Protocol>, usize, usize, bool, Option<u16>, bool) {
    let tls = facts.tls.as_deref();
    (
        facts.protocol,
        facts.evidence.len(),
        facts.learned.len(),
        facts.upgraded,
        tls.and_then(|tls| tls.version),
        tls.is_some_and(|tls| tls.certificate.is_some()),
    )
}

fn ports_of(key: &FlowKey) -> [u16; 2] {
    [key.port(Side::Low), key.port(Side::High)]
}
