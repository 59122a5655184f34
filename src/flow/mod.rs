//! Packet → [`Flow`]: exact counts by side, the TCP connection's state, and its bytes in order.
//!
//! Takes the packets of one shard in the order of capture; gives flows. One [`Table`] a shard: no lock,
//! no clock. A flow ends by its own packets' time, so that the answer does not depend on who shares
//! the table. Never looks at what the bytes mean.

mod contest;
pub mod history;
pub mod index;
pub mod stream;
pub mod tcp;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use crate::capture::FlowCount;
use crate::packet::{At, FlowKey, Packet, PointId, Side, TcpFlags, Timestamp, Transport};
use history::{History, Written};
use index::{FlowNumber, Index, NO_FLOW};
use tcp::{Step, Tcp};

/// Silence after which the next datagram of the same UDP five-tuple begins another flow: longer than
/// the minute between the heartbeats and log lines of the platforms watched here.
pub const UDP_IDLE_NS: u64 = 180 * 1_000_000_000;

/// Flows in one slab of memory: some 24 KiB, so that 64 shards of an idle tool stay small.
const SLAB_LEN: usize = 128;

/// What the owner of the table keeps for a flow elsewhere.
pub type Slot = u32;

/// The owner keeps nothing.
pub const NO_SLOT: Slot = Slot::MAX;

/// Both directions of one TCP connection or UDP exchange.
///
/// Kept by the sides of its key; who began is found at the end, from all that was seen. What every packet
/// needs lies in the first two cache lines.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct Flow {
    /// The canonical five-tuple.
    pub key: FlowKey,
    /// What the owner of the table keeps for this flow.
    pub slot: Slot,
    /// Packets sent by each side.
    pub packets: [u64; 2],
    /// Wire bytes sent by each side.
    pub bytes: [u64; 2],
    /// Time of the last packet.
    pub last: Timestamp,
    /// The connection's state; nothing for UDP.
    pub tcp: Tcp,
    /// Another connection of the same five-tuple: one that nobody acknowledged yet, or the one before it.
    tentative: FlowNumber,
    /// Where its first packet was seen.
    pub point: PointId,
    marks: u16,
    /// Of the history's commonest letters, those that are written down.
    written: Written,
    /// Who sent the first packet.
    pub first_side: Side,
    /// The ways in which the first packet went through its tunnels: see [`Packet::outer`].
    pub outer: u8,
    /// What happened, in order.
    pub history: History,
    /// Low half of the key's hash.
    tag: u32,
    /// The first packet.
    pub first: At,
    /// From the SYN to the acknowledgement of the SYN/ACK, in nanoseconds; 0 when not seen.
    pub handshake_ns: u64,
}

/// Every packet counts on it, and a million flows have it.
const _: () = assert!(size_of::<Flow>() == 192 && std::mem::offset_of!(Flow, first_side) <= 128);

impl Flow {
    const REFUSED: u16 = 1;
    const SYN_REPEATED: u16 = 1 << 1;
    const ENDED: u16 = 1 << 2;
    /// By side.
    const HAS_PAYLOAD: [u16; 2] = [1 << 3, 1 << 4];
    /// The place is free.
    const VACANT: u16 = 1 << 5;
    /// Stands beside an established connection of the same five-tuple.
    const TENTATIVE: u16 = 1 << 6;
    /// Some of its packets were joined by offload.
    const MERGED: u16 = 1 << 7;
    /// What stands beside it had its five-tuple before.
    const SUCCEEDS: u16 = 1 << 8;

    fn new(packet: &Packet) -> Self {
        Self {
            key: packet.key,
            tag: tag_of(packet.hash),
            first: packet.at,
            last: packet.at.time,
            packets: [0; 2],
            bytes: [0; 2],
            tcp: Tcp::default(),
            history: History::default(),
            handshake_ns: 0,
            slot: NO_SLOT,
            tentative: NO_FLOW,
            point: packet.point,
            first_side: packet.side,
            outer: packet.outer,
            marks: 0,
            written: Written::default(),
        }
    }

    /// Tells whether an ICMP error said that the responder is not to be reached.
    pub fn is_refused(&self) -> bool {
        self.marks & Self::REFUSED != 0
    }

    /// Tells whether any packet carried payload.
    pub fn has_payload(&self) -> bool {
        self.marks & (Self::HAS_PAYLOAD[0] | Self::HAS_PAYLOAD[1]) != 0
    }

    /// Tells whether any packet of a side carried payload.
    pub fn has_payload_of(&self, side: Side) -> bool {
        self.marks & Self::HAS_PAYLOAD[side.index()] != 0
    }

    /// Tells whether another connection took its five-tuple.
    pub fn is_ended(&self) -> bool {
        self.marks & Self::ENDED != 0
    }

    /// Tells whether offload joined some of its packets before they were captured.
    pub fn is_merged(&self) -> bool {
        self.marks & Self::MERGED != 0
    }

    /// Tells whether the place of the flow is free: there is none.
    pub fn is_vacant(&self) -> bool {
        self.marks & Self::VACANT != 0
    }

    /// Tells whether it is not settled yet which of two connections of the five-tuple goes on.
    pub fn is_contested(&self) -> bool {
        !self.is_ended() && (self.has_rival() || self.marks & Self::TENTATIVE != 0)
    }

    /// Tells whether a connection stands beside it that may yet take its five-tuple.
    fn has_rival(&self) -> bool {
        self.tentative != NO_FLOW && self.marks & (Self::SUCCEEDS | Self::ENDED) == 0
    }

    /// Tells whether the flow has ended by its own packets: no packet is going to join it but a late one.
    pub fn is_over(&self, now: Timestamp) -> bool {
        match self.key.transport() {
            _ if self.is_ended() => true,
            Transport::Tcp => self.tcp.is_over(),
            Transport::Udp => now.since(self.last) > UDP_IDLE_NS,
        }
    }

    /// Returns all packets.
    pub fn packets_total(&self) -> u64 {
        self.packets[0] + self.packets[1]
    }

    /// Returns all wire bytes.
    pub fn bytes_total(&self) -> u64 {
        self.bytes[0] + self.bytes[1]
    }

    /// Tells whether a packet of its five-tuple is its own without a look at what else there is, as most are.
    #[inline]
    fn goes_on_with(&self, packet: &Packet) -> bool {
        match packet.key.transport() {
            Transport::Tcp => self.tentative == NO_FLOW && !packet.tcp.flags.has(TcpFlags::SYN),
            Transport::Udp => packet.at.time.since(self.last) <= UDP_IDLE_NS,
        }
    }

    /// Takes a packet that belongs to it.
    #[inline]
    fn take(&mut self, packet: &Packet) {
        self.count(packet);
        if packet.counted_only {
            return;
        }
        if packet.payload.len + packet.cut_len > 0 {
            self.marks |= Self::HAS_PAYLOAD[packet.side.index()];
        }
        if packet.key.transport() == Transport::Tcp {
            self.history.packet(packet, &mut self.written);
            if self.tcp.step(packet) == Step::Established
                && self.handshake_ns == 0
                && self.marks & Self::SYN_REPEATED == 0
            {
                self.handshake_ns = packet.at.time.since(self.first.time);
            }
        }
    }

    /// Counts a packet, without a look at what it means.
    #[inline]
    fn count(&mut self, packet: &Packet) {
        let side = packet.side.index();
        self.packets[side] += u64::from(packet.frames);
        self.bytes[side] += u64::from(packet.wire_len);
        self.last = self.last.max(packet.at.time);
        self.marks |= u16::from(packet.merged) * Self::MERGED;
    }
}

/// The flows of one shard.
#[derive(Default)]
pub struct Table {
    index: Index,
    slabs: Vec<Vec<Flow>>,
    len: FlowNumber,
    free: Vec<FlowNumber>,
}

impl Table {
    /// Returns the number of flows, ended ones included, that the table holds.
    pub fn len(&self) -> usize {
        self.len as usize - self.free.len()
    }

    /// Tells whether the table holds no flow.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a flow by its number.
    #[inline]
    pub fn flow(&self, number: FlowNumber) -> &Flow {
        &self.slabs[number as usize / SLAB_LEN][number as usize % SLAB_LEN]
    }

    /// Returns a flow by its number.
    #[inline]
    pub fn flow_mut(&mut self, number: FlowNumber) -> &mut Flow {
        &mut self.slabs[number as usize / SLAB_LEN][number as usize % SLAB_LEN]
    }

    /// Looks a hash up without a look at the flow, so that a batch's cache misses overlap: returns the flow that
    /// a packet of it very likely belongs to, or [`NO_FLOW`].
    #[inline]
    pub fn touch(&self, hash: u64) -> FlowNumber {
        self.index.touch(tag_of(hash))
    }

    /// Loads what a packet needs of the flow that [`Table::touch`] pointed to; returns what its owner keeps
    /// for it, if it is one.
    #[inline]
    pub fn touch_flow(&self, number: FlowNumber) -> (Slot, u64) {
        if number >= self.len {
            return (NO_SLOT, 0);
        }
        let flow = self.flow(number);
        (flow.slot, flow.packets[0] ^ u64::from(flow.marks))
    }

    /// Takes a packet: finds or makes its flow and counts it there.
    pub fn packet(&mut self, packet: &Packet) -> (FlowNumber, &mut Flow) {
        self.packet_of(packet, self.touch(packet.hash))
    }

    /// Takes a packet of a hash of which [`Table::touch`] said before, at any time, to which flow it very likely
    /// belongs.
    #[inline]
    pub fn packet_of(&mut self, packet: &Packet, likely: FlowNumber) -> (FlowNumber, &mut Flow) {
        let number = if self.goes_on(likely, packet) { likely } else { self.number_of(packet) };
        let flow = self.flow_mut(number);
        flow.take(packet);
        (number, flow)
    }

    /// Finds the flow of a packet, or makes it.
    #[inline(never)]
    fn number_of(&mut self, packet: &Packet) -> FlowNumber {
        match self.find(packet.hash, &packet.key) {
            None => self.begin(packet),
            Some(known) if self.flow(known).goes_on_with(packet) => known,
            Some(known) => self.belonging(known, packet),
        }
    }

    /// Tells whether a flow is the one that a packet just goes on with, as nearly all are.
    #[inline]
    fn goes_on(&self, likely: FlowNumber, packet: &Packet) -> bool {
        self.is_known(likely, packet) && self.flow(likely).goes_on_with(packet)
    }

    /// Tells whether a flow is the one that a look-up of the packet's key finds.
    #[inline]
    fn is_known(&self, likely: FlowNumber, packet: &Packet) -> bool {
        // All flows of a key that the index does not lead to are marked so.
        const ELSEWHERE: u16 = Flow::ENDED | Flow::TENTATIVE | Flow::VACANT;
        if likely >= self.len {
            return false;
        }
        let flow = self.flow(likely);
        let is_known = flow.marks & ELSEWHERE == 0 && flow.key == packet.key;
        debug_assert!(!is_known || self.find(packet.hash, &packet.key) == Some(likely));
        is_known
    }

    /// Adds what a kernel counted for a flow; makes the flow when no frame of it came before.
    pub fn count(&mut self, packet: &Packet, count: &FlowCount) -> FlowNumber {
        let number = match self.find(packet.hash, &packet.key) {
            None => self.begin(packet),
            Some(known) if count.opens => self.succeed(known, packet),
            Some(known) => self.counted_in(known, count),
        };
        let flow = self.flow_mut(number);
        flow.packets[packet.side.index()] += count.packets;
        flow.bytes[packet.side.index()] += count.bytes;
        flow.last = flow.last.max(count.last);
        if count.lost > 0 {
            flow.marks |= Flow::HAS_PAYLOAD[packet.side.index()];
        }
        flow.marks |= u16::from(count.merged) * Flow::MERGED;
        if packet.key.transport() == Transport::Tcp {
            flow.tcp.counted(packet.side, count.isn, count.next_seq);
            flow.tcp.ended(count.ended);
        }
        number
    }

    /// Tells whether two connections contend for the packets of a key; nothing when it has no flow.
    pub fn is_contested(&self, hash: u64, key: &FlowKey) -> Option<bool> {
        self.find(hash, key).map(|number| self.flow(number).has_rival())
    }

    /// Marks the flow that an ICMP error quotes as refused, if there is one.
    pub fn refuse(&mut self, hash: u64, key: &FlowKey) {
        if let Some(number) = self.find(hash, key) {
            self.flow_mut(number).marks |= Flow::REFUSED;
        }
    }

    /// Returns the numbers of all flows.
    pub fn numbers(&self) -> impl Iterator<Item = FlowNumber> + '_ {
        (0..self.len).filter(|number| !self.flow(*number).is_vacant())
    }

    /// Returns the number of places for flows, taken or not: every flow's number is below it.
    pub fn places(&self) -> FlowNumber {
        self.len
    }

    /// Takes in a flow of another table, which no packet is going to find here.
    pub fn adopt(&mut self, flow: Flow) -> FlowNumber {
        self.put(flow)
    }

    /// Takes a flow out, so that its number may be used again; `None` for one that is being contested.
    pub fn remove(&mut self, number: FlowNumber) -> Option<Flow> {
        let flow = self.flow(number);
        if flow.is_contested() || flow.is_vacant() {
            return None;
        }
        self.settle(number);
        let flow = self.flow(number);
        let (tag, gone) = (flow.tag, flow.clone());
        self.index.remove(tag, number);
        self.flow_mut(number).marks = Flow::VACANT;
        self.free.push(number);
        Some(gone)
    }

    #[inline(never)]
    fn find(&self, hash: u64, key: &FlowKey) -> Option<FlowNumber> {
        self.index.find(tag_of(hash), |number| self.flow(number).key == *key)
    }

    #[inline(never)]
    fn begin(&mut self, packet: &Packet) -> FlowNumber {
        let number = self.add(packet);
        self.index.insert(tag_of(packet.hash), number);
        number
    }

    fn add(&mut self, packet: &Packet) -> FlowNumber {
        self.put(Flow::new(packet))
    }

    fn put(&mut self, flow: Flow) -> FlowNumber {
        if let Some(number) = self.free.pop() {
            *self.flow_mut(number) = flow;
            return number;
        }
        let number = self.len;
        if (number as usize).is_multiple_of(SLAB_LEN) {
            self.slabs.push(Vec::with_capacity(SLAB_LEN));
        }
        self.slabs.last_mut().expect("a slab was just made where there was no room").push(flow);
        self.len += 1;
        number
    }
}

/// Returns the half of a hash that the index uses; the shard was chosen by the other one.
fn tag_of(hash: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
    let tag = hash as u32;
    tag
}
