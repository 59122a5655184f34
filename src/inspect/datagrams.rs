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

/// A UDP exchange whose datagrams are looked into. Small, as most that are unknown stay so.
#[derive(Default)]
pub struct Datagrams {
    found: Option<Box<Found>>,
    unrecognised: u8,
    /// Each side has sent something unrecognised.
    has_nonsense: [bool; 2],
}

/// What is known of an exchange of which anything is.
#[derive(Default)]
struct Found {
    facts: Facts,
    /// What came last, where requests are counted.
    recent: Recent,
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
        if self.protocol().is_none() && !self.recognise(&datagram, side, packet.at) {
            if packet.cut_len > 0 {
                self.found().facts.uninspected.add(Uninspected::SNAPLEN);
            }
            self.unrecognised += 1;
            return if self.unrecognised >= UNRECOGNISED_MAX {
                Progress::Enough
            } else {
                Progress::More
            };
        }
        if self.protocol() != Some(Protocol::Snmp) {
            return Progress::Enough;
        }
        let Found { facts, recent } = self.found();
        if recent.has_just_seen(side, payload, packet.at.time) {
            return Progress::More;
        }
        let was_read = snmp::read(&datagram, packet.at, &mut tools.context(facts));
        if !was_read && packet.cut_len > 0 {
            facts.uninspected.add(Uninspected::SNAPLEN);
        }
        Progress::More
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
        let facts = &mut self.found().facts;
        facts.protocol = Some(protocol);
        facts.recognised = Some(at);
        facts.initiator = match sender {
            Sender::Initiator => Some(side),
            Sender::Responder => Some(side.other()),
            Sender::Either => None,
        };
        true
    }

    fn found(&mut self) -> &mut Found {
        self.found.get_or_insert_default()
    }

    /// Returns what is spoken, once that is known.
    pub fn protocol(&self) -> Option<Protocol> {
        self.facts()?.protocol
    }

    /// Learns that a datagram was counted and lost.
    pub fn lose(&mut self) {
        self.found().facts.uninspected.add(Uninspected::SAMPLE);
    }

    /// Returns the facts so far, if there are any.
    pub fn facts(&self) -> Option<&Facts> {
        self.found.as_deref().map(|found| &found.facts)
    }

    /// Returns the memory of what was found, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.found.as_ref().map_or(0, |found| size_of::<Found>() + found.facts.held_bytes())
    }

    /// Ends the exchange and returns all that was found.
    pub fn finish(self) -> Facts {
        self.found.map(|found| found.facts).unwrap_or_default()
    }
}
