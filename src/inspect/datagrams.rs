//! One UDP exchange under inspection.
//!
//! Takes a flow's datagrams; gives [`Facts`]. A datagram stands for itself: what it is can be told from
//! its bytes alone, or not at all.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use super::probe::Datagram;
use super::{Facts, Progress, Protocol, Sender, Tools, Uninspected, probe, snmp};
use crate::packet::{At, Packet, Side, Timestamp};

/// Datagrams that may go by unrecognised before the exchange is left alone.
const UNRECOGNISED_MAX: u8 = 8;

/// How long after a datagram its copy by a mirror port comes at most. A client that asks again because nobody
/// answered waits far longer, a second by Net-SNMP's default.
const COPY_WITHIN_NS: u64 = 10_000_000;

/// Datagrams of the latest time that a copy is looked for among: a mirror port may swap neighbours.
const RECENT_LEN: usize = 4;

/// A UDP exchange whose datagrams are looked into.
#[derive(Default)]
pub struct Datagrams {
    facts: Facts,
    unrecognised: u8,
    /// Each side has sent something unrecognised.
    has_nonsense: [bool; 2],
    /// What came last, where requests are counted.
    recent: Option<Box<Recent>>,
}

/// The last few datagrams, by side, hash and time.
#[derive(Default)]
struct Recent {
    seen: [Option<(Side, u64, Timestamp)>; RECENT_LEN],
    next: usize,
}

impl Recent {
    /// Remembers a datagram; tells whether it is one that came just before, captured twice.
    fn has_just_seen(&mut self, side: Side, bytes: &[u8], time: Timestamp) -> bool {
        let hash = FixedState::with_seed(0).hash_one(bytes);
        let is_copy = self.seen.iter().flatten().any(|seen| {
            (seen.0, seen.1) == (side, hash)
                && time.since(seen.2).max(seen.2.since(time)) <= COPY_WITHIN_NS
        });
        self.seen[self.next] = Some((side, hash, time));
        self.next = (self.next + 1) % RECENT_LEN;
        is_copy
    }
}

impl Datagrams {
    /// Takes one datagram.
    pub fn packet(&mut self, packet: &Packet, payload: &[u8], tools: &Tools) -> Progress {
        let (key, side) = (&packet.key, packet.side);
        let datagram = Datagram {
            bytes: payload,
            len: payload.len() + packet.cut_len as usize,
            ports: [key.port(side), key.port(side.other())],
        };
        if self.facts.protocol.is_none() && !self.recognise(&datagram, side, packet.at) {
            if packet.cut_len > 0 {
                self.facts.uninspected.add(Uninspected::SNAPLEN);
            }
            self.unrecognised += 1;
            return if self.unrecognised >= UNRECOGNISED_MAX {
                Progress::Enough
            } else {
                Progress::More
            };
        }
        match self.facts.protocol {
            Some(Protocol::Snmp) => {
                let recent = self.recent.get_or_insert_default();
                if recent.has_just_seen(side, payload, packet.at.time) {
                    return Progress::More;
                }
                let mut context = tools.context(&mut self.facts);
                let was_read = snmp::read(&datagram, packet.at, &mut context);
                if !was_read && packet.cut_len > 0 {
                    self.facts.uninspected.add(Uninspected::SNAPLEN);
                }
                Progress::More
            }
            _ => Progress::Enough,
        }
    }

    /// Looks what it is. A server that answers in its own protocol to what is none does not name the
    /// exchange.
    fn recognise(&mut self, datagram: &Datagram<'_>, side: Side, at: At) -> bool {
        let Some((protocol, sender)) = probe::datagram(datagram) else {
            self.has_nonsense[side.index()] = true;
            return false;
        };
        if sender == Sender::Responder && self.has_nonsense[side.other().index()] {
            return false;
        }
        self.facts.protocol = Some(protocol);
        self.facts.recognised = Some(at);
        self.facts.initiator = match sender {
            Sender::Initiator => Some(side),
            Sender::Responder => Some(side.other()),
            Sender::Either => None,
        };
        true
    }

    /// Learns that a datagram was counted and lost.
    pub fn lose(&mut self) {
        self.facts.uninspected.add(Uninspected::SAMPLE);
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
