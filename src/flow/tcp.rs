//! What a flow knows of its TCP connection: sequence numbers, how far it came, Zeek's words for it.

use crate::packet::{Packet, Side, TcpFlags};

/// How far from the expected sequence number a reset may lie and still count: the largest window
/// without scaling behind, one mebibyte ahead. A blind forger hits it once in some 4,000 tries.
const RESET_BEHIND: u32 = 65_535;
const RESET_AHEAD: u32 = 1 << 20;

/// Bits of what one side has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done(u8);

impl Done {
    const SYN: u8 = 1;
    const SYN_ACK: u8 = 2;
    const FIN: u8 = 4;
    const RST: u8 = 8;
    const DATA: u8 = 16;
    /// The sequence numbers are known from this side's own SYN.
    const OWN_SEQ: u8 = 32;
    /// The sequence numbers are known, if only from what the other side acknowledged.
    const SEQ: u8 = 64;

    fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    fn add(&mut self, bits: u8) {
        self.0 |= bits;
    }

    fn remove(&mut self, bits: u8) {
        self.0 &= !bits;
    }
}

/// One side's sequence numbers and deeds.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpSide {
    /// Number of the SYN; where none was seen, of the byte before the first one known.
    first: u32,
    /// The highest number sent so far, plus one.
    next: u32,
    done: Done,
}

impl TcpSide {
    /// Goes on to the end of a packet, of so many bytes and `control` numbers more. What carries no bytes
    /// costs a forger nothing: it counts near what is expected.
    #[inline]
    fn advance(&mut self, seq: u32, len: u32, control: u32) {
        let ahead = seq.wrapping_add(len + control).wrapping_sub(self.next);
        let ahead_max = if len > 0 { i32::MAX as u32 } else { RESET_AHEAD };
        if ahead <= ahead_max {
            self.next = self.next.wrapping_add(ahead);
        }
    }
}

/// Both sides of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp {
    sides: [TcpSide; 2],
}

/// What a packet means to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It belongs to it.
    Ordinary,
    /// It completes the handshake: the acknowledgement of the SYN/ACK.
    Established,
    /// A reset outside the window: counted, without effect.
    IgnoredReset,
}

impl Tcp {
    fn side(&self, side: Side) -> &TcpSide {
        &self.sides[side.index()]
    }

    /// Takes a packet of the connection.
    #[inline]
    pub fn step(&mut self, packet: &Packet) -> Step {
        let turns = packet.tcp.flags.has(TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST);
        let other = self.sides[packet.side.other().index()].done;
        let side = &mut self.sides[packet.side.index()];
        // The commonest packet by far: of a side that spoke before, to one whose numbers are known.
        if !turns && side.done.has(Done::DATA) && other.has(Done::SEQ) {
            side.advance(packet.tcp.seq, packet.payload.len + packet.cut_len, 0);
            return Step::Ordinary;
        }
        self.turn(packet)
    }

    /// Takes a packet that may change what is known of the connection.
    fn turn(&mut self, packet: &Packet) -> Step {
        let (flags, seq) = (packet.tcp.flags, packet.tcp.seq);
        let (this, that) = (packet.side.index(), packet.side.other().index());
        if flags.has(TcpFlags::RST) && !self.reset_counts(packet) {
            return Step::IgnoredReset;
        }
        let ends = !self.sides[this].done.has(Done::SEQ) || self.is_in_window(packet);
        let was_answered = self.sides[that].done.has(Done::SYN_ACK);
        let spoke = self.sides[this].done.has(Done::DATA | Done::FIN | Done::RST);
        let corrects = self.corrects(packet);
        let side = &mut self.sides[this];
        let payload_len = packet.payload.len + packet.cut_len;
        let spent =
            payload_len + u32::from(flags.has(TcpFlags::SYN)) + u32::from(flags.has(TcpFlags::FIN));
        if flags.has(TcpFlags::SYN) {
            if corrects {
                // What it answered before was another connection, or it refused at first.
                side.done.remove(Done::SEQ | Done::RST);
            }
            if !side.done.has(Done::SEQ) {
                side.first = seq;
            }
            if side.first == seq {
                side.done.add(Done::OWN_SEQ);
            }
            side.done.add(if flags.has(TcpFlags::ACK) { Done::SYN_ACK } else { Done::SYN });
        } else if !side.done.has(Done::SEQ) && !flags.has(TcpFlags::RST) {
            side.first = seq.wrapping_sub(1);
        }
        if side.done.has(Done::SEQ) {
            side.advance(seq, payload_len, spent - payload_len);
        } else {
            side.next = seq.wrapping_add(spent);
        }
        side.done.add(Done::SEQ);
        // Data in an opening (RFC 7413) show no more than the opening does.
        if payload_len > 0 && !flags.is_syn() {
            side.done.add(Done::DATA);
        }
        if flags.has(TcpFlags::FIN) && ends {
            side.done.add(Done::FIN);
        }
        if flags.has(TcpFlags::RST) {
            side.done.add(Done::RST);
        }
        let other = &mut self.sides[that];
        if flags.has(TcpFlags::ACK) && !other.done.has(Done::SEQ) {
            other.first = packet.tcp.ack.wrapping_sub(1);
            other.next = packet.tcp.ack;
            other.done.add(Done::SEQ);
        }
        let completes = was_answered
            && !spoke
            && flags.has(TcpFlags::ACK)
            && !flags.has(TcpFlags::SYN | TcpFlags::RST)
            && self.sides[this].done.has(Done::SYN)
            && packet.tcp.ack == self.sides[that].first.wrapping_add(1);
        if completes { Step::Established } else { Step::Ordinary }
    }

    /// Returns how far a number is from where a side goes on; the largest one where that is unknown.
    pub fn gap(&self, side: Side, next: u32) -> u32 {
        let side = self.side(side);
        if side.done.has(Done::SEQ) { apart(next, side.next) } else { u32::MAX }
    }

    /// Learns of a side's packets that were counted elsewhere: its initial number where that is known,
    /// and the number that follows.
    pub fn counted(&mut self, side: Side, isn: Option<u32>, next: Option<u32>) {
        let side = &mut self.sides[side.index()];
        if let Some(isn) = isn
            && !side.done.has(Done::OWN_SEQ)
        {
            side.first = isn;
            side.next = isn.wrapping_add(1);
            side.done.add(Done::OWN_SEQ | Done::SEQ);
        }
        let Some(next) = next else { return };
        if !side.done.has(Done::SEQ) {
            side.first = next.wrapping_sub(1);
            side.next = next;
            side.done.add(Done::SEQ);
        } else if is_after(next, side.next) {
            side.next = next;
            side.done.add(Done::DATA);
        }
    }

    /// Learns which sides ended in packets that nobody saw: a bit a side, the lower one's lowest.
    pub fn ended(&mut self, sides: u8) {
        for side in Side::BOTH.into_iter().filter(|side| sides >> side.index() & 1 == 1) {
            self.sides[side.index()].done.add(Done::FIN);
        }
    }

    /// A reset counts only in window (RFC 5961 §3.2), or as the answer to a SYN.
    fn reset_counts(&self, packet: &Packet) -> bool {
        let (side, other) = (self.side(packet.side), self.side(packet.side.other()));
        if packet.tcp.flags.has(TcpFlags::ACK)
            && !side.done.has(Done::OWN_SEQ)
            && other.done.has(Done::SYN)
        {
            return packet.tcp.ack == other.first.wrapping_add(1) || packet.tcp.ack == other.next;
        }
        if !side.done.has(Done::SEQ) {
            return true;
        }
        self.is_in_window(packet)
    }

    /// Tells whether a packet lies near what is expected of its side, whose numbers are known.
    fn is_in_window(&self, packet: &Packet) -> bool {
        let from = self.side(packet.side).next.wrapping_sub(RESET_BEHIND);
        packet.tcp.seq.wrapping_sub(from) <= RESET_BEHIND + RESET_AHEAD
    }

    /// Tells whether a SYN or SYN/ACK opens another connection than this one.
    pub fn is_another_opening(&self, packet: &Packet) -> bool {
        let side = self.side(packet.side);
        // Else the other side spoke first, and said nothing about this side's numbers.
        side.done.has(Done::SEQ) && packet.tcp.seq != side.first && !self.corrects(packet)
    }

    /// Tells whether a SYN/ACK gives its side's numbers where they were guessed from a reset or from an
    /// acknowledgement without data: the SYN was refused at first, or met what was left of a connection of
    /// before (RFC 9293 §3.5.1).
    fn corrects(&self, packet: &Packet) -> bool {
        let (side, other) = (self.side(packet.side), self.side(packet.side.other()));
        packet.tcp.flags.is_syn_ack()
            && !side.done.has(Done::OWN_SEQ | Done::DATA | Done::FIN)
            && other.done.has(Done::OWN_SEQ)
            && packet.tcp.ack == other.first.wrapping_add(1)
    }

    /// Takes over from the connection before it that a side sent the opening which this one answers.
    pub fn inherit_opening(&mut self, before: &Self) -> Option<Side> {
        let opens = |side: &Side| {
            let (this, that) = (self.side(*side), before.side(*side));
            this.done.has(Done::SEQ)
                && !this.done.has(Done::OWN_SEQ)
                && that.done.has(Done::SYN)
                && that.first == this.first
        };
        let side = Side::BOTH.into_iter().find(opens)?;
        self.sides[side.index()].done.add(Done::SYN | Done::OWN_SEQ);
        Some(side)
    }

    /// Tells whether neither side has sent bytes.
    pub fn is_without_data(&self) -> bool {
        self.sides.iter().all(|side| !side.done.has(Done::DATA))
    }

    /// Tells whether the connection is over: closed by both sides, or reset.
    pub fn is_over(&self) -> bool {
        let [low, high] = &self.sides;
        (low.done.has(Done::FIN) && high.done.has(Done::FIN))
            || low.done.has(Done::RST)
            || high.done.has(Done::RST)
    }

    /// Tells whether every side that was heard has closed.
    pub fn is_closed(&self) -> bool {
        let closed =
            |side: Side| self.side(side).done.has(Done::FIN) || self.is_one_sided(side.other());
        let [low, high] = &self.sides;
        (low.done.has(Done::FIN) || high.done.has(Done::FIN)) && Side::BOTH.into_iter().all(closed)
    }

    /// Tells whether only one side was ever heard.
    pub fn is_one_sided(&self, side: Side) -> bool {
        let other = self.side(side.other()).done;
        !other.has(Done::SYN | Done::SYN_ACK | Done::FIN | Done::RST | Done::DATA | Done::OWN_SEQ)
    }

    /// Returns how far a packet lies from what this connection expects: by the number that fits better, then by
    /// the other one. Smaller fits better.
    pub fn distance(&self, packet: &Packet) -> (u32, u32) {
        let (side, other) = (self.side(packet.side), self.side(packet.side.other()));
        let seq = packet.tcp.seq;
        // A repeated SYN lies where it began, however far the connection has come.
        let expected = if packet.tcp.flags.has(TcpFlags::SYN) { side.first } else { side.next };
        let by_seq = if side.done.has(Done::SEQ) { apart(seq, expected) } else { u32::MAX };
        // What was never heard itself says nothing that could outweigh the sender's own numbers.
        let acks = packet.tcp.flags.has(TcpFlags::ACK)
            && other.done.has(Done::SEQ)
            && !self.is_one_sided(packet.side);
        let by_ack = if acks { apart(packet.tcp.ack, other.next) } else { u32::MAX };
        (by_seq.min(by_ack), by_seq.max(by_ack))
    }

    /// Tells whether a packet of the other side acknowledges this side's SYN.
    pub fn is_acknowledged_by(&self, packet: &Packet) -> bool {
        let other = self.side(packet.side.other());
        // Whoever answers an opening has nothing else to acknowledge.
        let ahead_max = if packet.tcp.flags.has(TcpFlags::SYN) { 0 } else { RESET_AHEAD };
        packet.tcp.flags.has(TcpFlags::ACK)
            && other.done.has(Done::OWN_SEQ)
            && packet.tcp.ack.wrapping_sub(other.first.wrapping_add(1)) <= ahead_max
    }

    /// Tells whether a side has sent bytes, by its numbers: with none captured, these were lost.
    pub fn has_sent(&self, side: Side) -> bool {
        let side = self.side(side);
        let empty = 1 + u32::from(side.done.has(Done::FIN));
        side.done.has(Done::OWN_SEQ) && is_after(side.next, side.first.wrapping_add(empty))
    }

    /// Returns the sequence number of a side's first byte, where its SYN was seen or acknowledged.
    pub fn stream_start(&self, side: Side) -> Option<u32> {
        let (this, other) = (self.side(side), self.side(side.other()));
        let from_handshake = this.done.has(Done::OWN_SEQ)
            || (this.done.has(Done::SEQ) && other.done.has(Done::SYN_ACK));
        from_handshake.then(|| this.first.wrapping_add(1))
    }

    /// Returns the side whose SYN, or whose other side's SYN/ACK, makes it the initiator.
    pub fn initiator(&self) -> Option<Side> {
        let by = |bit: u8| {
            let [low, high] = &self.sides;
            match (low.done.has(bit), high.done.has(bit)) {
                (true, false) => Some(Side::Low),
                (false, true) => Some(Side::High),
                _ => None,
            }
        };
        by(Done::SYN).or_else(|| by(Done::SYN_ACK).map(Side::other))
    }

    /// Tells whether the responder answered the SYN, or data flowed.
    pub fn is_answered(&self) -> bool {
        self.sides.iter().any(|side| side.done.has(Done::SYN_ACK | Done::DATA))
    }

    /// Tells whether a side answered: a SYN/ACK, or data of its own.
    pub fn is_answered_by(&self, side: Side) -> bool {
        self.side(side).done.has(Done::SYN_ACK | Done::DATA)
    }

    /// Tells whether a SYN was answered by nothing but a reset.
    pub fn is_refused(&self, initiator: Side) -> bool {
        let (from, to) = (self.side(initiator), self.side(initiator.other()));
        from.done.has(Done::SYN)
            && to.done.has(Done::RST)
            && !to.done.has(Done::SYN_ACK | Done::DATA)
    }

    /// Returns Zeek's `conn_state` (scripts/base/protocols/conn/main.zeek).
    pub fn conn_state(&self, initiator: Side) -> &'static str {
        let (from, to) = (self.side(initiator).done, self.side(initiator.other()).done);
        let opened = from.has(Done::SYN);
        let answered = to.has(Done::SYN_ACK);
        match (opened, answered) {
            (true, false) if to.has(Done::RST) => "REJ",
            (true, false) if from.has(Done::RST) => "RSTOS0",
            (true, false) if from.has(Done::FIN) && !to.has(Done::DATA) => "SH",
            (true, false) if to.has(Done::DATA | Done::FIN) => "OTH",
            (true, false) => "S0",
            (false, true) if to.has(Done::RST) => "RSTRH",
            (false, true) if to.has(Done::FIN) && !from.has(Done::FIN | Done::DATA) => "SHR",
            // An answer to what was not captured, and nothing of the other side after it.
            (false, true) if !from.has(Done::FIN | Done::RST | Done::DATA) => "OTH",
            (false, false) => "OTH",
            _ if from.has(Done::RST) => "RSTO",
            _ if to.has(Done::RST) => "RSTR",
            _ if from.has(Done::FIN) && to.has(Done::FIN) => "SF",
            _ if from.has(Done::FIN) => "S2",
            _ if to.has(Done::FIN) => "S3",
            _ => "S1",
        }
    }
}

/// Tells whether one sequence number comes after another (RFC 9293 §3.4).
pub(crate) fn is_after(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

/// Returns the distance of two sequence numbers, whichever comes first.
fn apart(a: u32, b: u32) -> u32 {
    a.wrapping_sub(b).min(b.wrapping_sub(a))
}
