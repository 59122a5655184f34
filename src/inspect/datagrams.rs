//! One UDP exchange under inspection.
//!
//! Takes a flow's datagrams; gives [`Facts`]. A datagram stands for itself: what it is can be told from
//! its bytes alone, or not at all.

use super::{Facts, Progress, Tools, Uninspected, probe};
use crate::packet::{Packet, Side};

/// Datagrams that may go by unrecognised before the exchange is left alone.
const UNRECOGNISED_MAX: u8 = 8;

/// A UDP exchange whose datagrams are looked into.
#[derive(Default)]
pub struct Datagrams {
    facts: Facts,
    unrecognised: u8,
}

impl Datagrams {
    /// Takes one datagram.
    pub fn packet(&mut self, packet: &Packet, payload: &[u8], tools: &Tools) -> Progress {
        let ports = [packet.key.port(Side::Low), packet.key.port(Side::High)];
        let mut context = tools.context(&mut self.facts);
        let known = probe::datagram(ports, packet.side, packet.at, payload, &mut context);
        if !known {
            if packet.cut_len > 0 {
                self.facts.uninspected.add(Uninspected::SNAPLEN);
            }
            self.unrecognised += 1;
            if self.unrecognised >= UNRECOGNISED_MAX {
                return Progress::Enough;
            }
        }
        Progress::More
    }

    /// Learns that a datagram was counted and lost.
    pub fn lose(&mut self) {
        self.facts.uninspected.add(Uninspected::HOLE);
    }

    /// Returns the facts so far.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Ends the exchange and returns all that was found.
    pub fn finish(self) -> Facts {
        self.facts
    }
}
