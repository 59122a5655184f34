//! Several connections of one five-tuple: to which of them a packet belongs, and which one goes on.
//!
//! Openings, answers and resets may be forged, and clients take their ports again. A connection that may be
//! another one stands *tentatively* beside the one that is known until its numbers are acknowledged.

use super::index::NO_FLOW;
use super::{Flow, FlowNumber, Table, UDP_IDLE_NS, tag_of};
use crate::capture::FlowCount;
use crate::packet::{Packet, TcpFlags, Transport};

impl Table {
    /// Ends a contest for a flow's five-tuple in its favour: whatever stood beside it stays an attempt.
    pub fn settle(&mut self, number: FlowNumber) {
        let flow = self.flow_mut(number);
        let beside = std::mem::replace(&mut flow.tentative, NO_FLOW);
        // Only a connection that another one took the five-tuple from has ended with another beside it.
        let linked = flow.marks & (Flow::SUCCEEDS | Flow::ENDED) != 0;
        flow.marks &= !Flow::SUCCEEDS;
        if beside == NO_FLOW {
            return;
        }
        let other = self.flow_mut(beside);
        if linked {
            other.tentative = NO_FLOW;
            other.marks &= !Flow::SUCCEEDS;
        } else {
            other.marks |= Flow::ENDED;
        }
    }

    /// The connection beside a known one takes the five-tuple over. Who forges an opening and its answer gets
    /// so far, too: the known one is still found by its own numbers.
    fn take_over(&mut self, known: FlowNumber, other: FlowNumber) {
        let flow = self.flow_mut(known);
        flow.tentative = other;
        flow.marks = (flow.marks & !Flow::SUCCEEDS) | Flow::ENDED;
        let (tag, before) = (flow.tag, flow.tcp);
        let flow = self.flow_mut(other);
        if let Some(opener) = flow.tcp.inherit_opening(&before) {
            flow.history.begin(opener);
            flow.marks |= Flow::SYN_REPEATED;
        }
        flow.tentative = known;
        flow.marks &= !(Flow::TENTATIVE | Flow::ENDED);
        flow.marks |= Flow::SUCCEEDS;
        self.index.replace(tag, known, other);
    }

    /// Decides to which connection of a known five-tuple a packet belongs that does not just go on with it.
    #[inline(never)]
    pub(super) fn belonging(&mut self, known: FlowNumber, packet: &Packet) -> FlowNumber {
        if packet.counted_only {
            return known;
        }
        match packet.key.transport() {
            Transport::Udp => {
                let silent_ns = packet.at.time.since(self.flow(known).last);
                if silent_ns > UDP_IDLE_NS { self.succeed(known, packet) } else { known }
            }
            Transport::Tcp => {
                let flow = self.flow(known);
                if packet.tcp.flags.has(TcpFlags::SYN) {
                    self.opening(known, packet)
                } else if flow.tentative == NO_FLOW {
                    known
                } else {
                    self.contested(known, packet)
                }
            }
        }
    }

    /// Decides which connection of a known five-tuple a kernel counted for: the one beside the known one where the
    /// numbers fit that better. A kernel takes a forged opening for another connection, too: it cannot decide.
    pub(super) fn counted_in(&self, known: FlowNumber, count: &FlowCount) -> FlowNumber {
        let flow = self.flow(known);
        let Some(next) = count.belongs.filter(|_| flow.tentative != NO_FLOW) else { return known };
        let gap = |number| self.flow(number).tcp.gap(count.side, next);
        if gap(flow.tentative) < gap(known) { flow.tentative } else { known }
    }

    /// A SYN or SYN/ACK on a known five-tuple: a repetition, an answer, or another connection.
    fn opening(&mut self, known: FlowNumber, packet: &Packet) -> FlowNumber {
        let flow = self.flow_mut(known);
        if !flow.tcp.is_another_opening(packet) {
            if packet.tcp.flags.is_syn() && flow.packets[packet.side.index()] > 0 {
                flow.marks |= Flow::SYN_REPEATED;
            }
            let tentative = flow.tentative;
            return if tentative == NO_FLOW { known } else { self.contested(known, packet) };
        }
        let tentative = flow.tentative;
        if tentative != NO_FLOW {
            let other = self.flow(tentative);
            if !other.tcp.is_another_opening(packet) || other.tcp.is_acknowledged_by(packet) {
                return self.contested(known, packet);
            }
        }
        // Even a closed connection is only replaced by one that is acknowledged: who closed it may be a forger.
        // Of an old connection and what took its place, the livelier stays. What only stood tentatively was
        // never acknowledged: it stays as it is, an attempt.
        let known = self.livelier(known);
        self.settle(known);
        let number = self.add(packet);
        self.flow_mut(number).marks |= Flow::TENTATIVE;
        self.flow_mut(known).tentative = number;
        number
    }

    /// Gives a five-tuple back to the connection that had it before, if that is the one whose packets go on;
    /// returns whose it is.
    fn livelier(&mut self, known: FlowNumber) -> FlowNumber {
        let flow = self.flow(known);
        if flow.marks & Flow::SUCCEEDS == 0 {
            return known;
        }
        let before = flow.tentative;
        if flow.has_payload() && self.flow(before).last < flow.last {
            return known;
        }
        self.take_over(known, before);
        before
    }

    /// A packet of a five-tuple with an established and a tentative connection.
    fn contested(&mut self, known: FlowNumber, packet: &Packet) -> FlowNumber {
        let tentative = self.flow(known).tentative;
        let (old, new) = (&self.flow(known).tcp, &self.flow(tentative).tcp);
        let opens = packet.tcp.flags.has(TcpFlags::SYN);
        let answers_new = new.is_acknowledged_by(packet) && !old.is_acknowledged_by(packet);
        let is_new = opens && (old.is_another_opening(packet) || answers_new);
        let (of_old, of_new) = (old.distance(packet), new.distance(packet));
        // One opening may have several answers, of which both numbers tell the one that is acknowledged.
        let fits_new = of_new.0 < of_old.0 || (old.is_without_data() && of_new < of_old);
        if !is_new && !fits_new {
            return known;
        }
        if self.flow(known).marks & Flow::SUCCEEDS != 0 {
            if packet.payload.len > 0 {
                self.take_over(known, tentative);
            }
            return tentative;
        }
        let is_reset = packet.tcp.flags.has(TcpFlags::RST);
        let acknowledged = !is_reset && new.is_acknowledged_by(packet);
        let one_sided = packet.payload.len > 0
            && old.is_one_sided(packet.side)
            && new.is_one_sided(packet.side);
        if acknowledged || one_sided {
            self.take_over(known, tentative);
        }
        tentative
    }

    /// Ends a flow and begins the next of the same key.
    pub(super) fn succeed(&mut self, known: FlowNumber, packet: &Packet) -> FlowNumber {
        self.settle(known);
        self.flow_mut(known).marks |= Flow::ENDED;
        let number = self.add(packet);
        self.index.replace(tag_of(packet.hash), known, number);
        number
    }
}
