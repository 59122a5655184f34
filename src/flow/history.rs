//! Zeek's `history`: one letter for each thing that happened first, in order.

use crate::packet::{Packet, Side, TcpFlags};

/// Letters that a flow keeps; what happens later is not written down. A whole connection with
/// retransmissions and a reset takes twelve.
const LETTERS_MAX: usize = 14;

/// What a connection did, in order; each letter once a side, as Zeek writes them
/// (scripts/base/protocols/conn/main.zeek).
#[derive(Clone, Copy, Default)]
pub struct History {
    letters: [u8; LETTERS_MAX],
    len: u8,
}

/// Of `a` and `d` of each side, those that a history has: most packets of a long flow need no more.
#[derive(Clone, Copy, Default)]
pub struct Written(u8);

impl History {
    const HIGH: u8 = 0x80;

    /// Adds the letters of a TCP packet.
    #[inline]
    pub fn packet(&mut self, packet: &Packet, written: &mut Written) {
        let flags = packet.tcp.flags;
        let has_data = packet.payload.len + packet.cut_len > 0;
        // The two commonest packets of a long flow, long written down.
        if !flags.has(TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST) {
            let bit = 1 << (2 * packet.side.index() + usize::from(has_data));
            if written.0 & bit == 0 {
                written.0 |= bit;
                self.add(packet.side, if has_data { b'd' } else { b'a' });
            }
            return;
        }
        match (flags.has(TcpFlags::SYN), flags.has(TcpFlags::FIN), flags.has(TcpFlags::RST)) {
            (true, true, _) | (true, _, true) => self.add(packet.side, b'q'),
            (_, true, true) => self.add(packet.side, b'i'),
            (true, _, _) if flags.has(TcpFlags::ACK) => self.add(packet.side, b'h'),
            (true, _, _) => self.add(packet.side, b's'),
            _ => {}
        }
        if has_data {
            self.add(packet.side, b'd');
        }
        if flags.has(TcpFlags::FIN) {
            self.add(packet.side, b'f');
        }
        if flags.has(TcpFlags::RST) {
            self.add(packet.side, b'r');
        }
    }

    /// Adds a letter of one side, unless it is there: `t` retransmitted, `g` a hole.
    pub fn add(&mut self, side: Side, letter: u8) {
        let letter = if side == Side::High { letter | Self::HIGH } else { letter };
        let len = usize::from(self.len);
        if len < LETTERS_MAX && !self.letters[..len].contains(&letter) {
            self.letters[len] = letter;
            self.len += 1;
        }
    }

    /// Puts the opening of a side before what is written.
    pub fn begin(&mut self, side: Side) {
        let len = usize::from(self.len).min(LETTERS_MAX - 1);
        self.letters.copy_within(..len, 1);
        self.letters[0] = if side == Side::High { b's' | Self::HIGH } else { b's' };
        self.len = u8::try_from(len + 1).unwrap_or(self.len);
    }

    /// Writes the history, the initiator's letters in upper case.
    pub fn to_text(&self, initiator: Side) -> String {
        let letters = &self.letters[..usize::from(self.len)];
        let write = |letter: &u8| {
            let side = if letter & Self::HIGH == 0 { Side::Low } else { Side::High };
            let letter = char::from(letter & !Self::HIGH);
            if side == initiator { letter.to_ascii_uppercase() } else { letter }
        };
        letters.iter().map(write).collect()
    }
}
