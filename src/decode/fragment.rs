//! Reassembly of IPv4 and IPv6 fragments, before there is a flow key.
//!
//! Takes fragments in any order; gives the joined datagram, or the news that a fragment is held, is a
//! copy of one already joined, or is lost. Bounded in bytes, datagrams, pieces and time; when full, the
//! oldest datagram goes.
//!
//! Overlaps: in IPv4 the first bytes win, as in this tool's streams, because a watcher that discards a
//! datagram which the receiver accepts would miss what is in it. In IPv6 an overlap that is no exact copy
//! ends the datagram, because every receiver must do so (RFC 8200 §4.5).

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use crate::packet::{EncapId, PointId, Timestamp};

use super::ip::Ends;
use super::trace::Origin;
use super::walk::Part;
use super::{Direction, Stop};

/// Incomplete datagrams held: a busy resolver's clients have hundreds, an attack fills this.
const DATAGRAMS_MAX: usize = 16_384;

/// Pieces of one datagram: the largest datagram in pieces of 32 bytes, less than any link's smallest.
const PIECES_MAX: usize = 2_048;

/// How long a datagram may stay incomplete, in nanoseconds of packet time: Linux's `ipfrag_time`.
const INCOMPLETE_NS_MAX: u64 = 30_000_000_000;

/// How long a joined datagram is remembered, in nanoseconds of packet time, so that the copies which a
/// second mirror port delivers are known as such; shorter than an IPv4 id takes to come round again.
const JOINED_NS_MAX: u64 = 1_000_000_000;

/// Joined datagrams remembered.
const JOINED_MAX: usize = 4_096;

/// Pieces remembered of all joined datagrams: as many as have 64 each; the largest one on Ethernet has 45.
const JOINED_PIECES_MAX: usize = 64 * JOINED_MAX;

/// What a piece costs beside its bytes, so that empty ones are not free.
const PIECE_COST: usize = 64;

/// What a datagram costs beside its pieces.
const DATAGRAM_COST: usize = 256;

/// Places in frames that are remembered of one datagram: its pieces, and as many copies of them.
const ORIGINS_MAX: usize = 2 * PIECES_MAX;

/// Emptied datagrams kept for their memory.
const SPARE_MAX: usize = 64;

/// What makes fragments parts of one datagram (RFC 791 §3.2, RFC 8200 §4.5), here also what it travels in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) ends: Ends,
    pub(super) id: u32,
    /// The protocol; in IPv6, where only the first fragment says it, 0.
    pub(super) protocol: u8,
    pub(super) encap: EncapId,
}

/// One fragment.
pub(super) struct Fragment<'a> {
    pub(super) name: Name,
    /// Offset of its first byte in the datagram's payload.
    pub(super) start: u32,
    /// How many bytes of payload it had on the wire.
    pub(super) len: u32,
    /// What was captured of them.
    pub(super) data: &'a [u8],
    /// Whether more follow.
    pub(super) more: bool,
    /// What the payload begins with; decisive in the first fragment.
    pub(super) protocol: u8,
    /// Where the captured bytes lie in their frames, by their place in the datagram; empty unless traced.
    pub(super) origins: &'a [Origin],
}

impl<'a> Fragment<'a> {
    /// Makes a fragment of a part that a walk has found, its captured bytes, and what it travels in.
    pub(super) fn of(part: &Part, encap: EncapId, data: &'a [u8], origins: &'a [Origin]) -> Self {
        let &Part { ends, id, name_protocol: protocol, start, len, more, .. } = part;
        let name = Name { ends, id, protocol, encap };
        Self { name, start, len, data, more, protocol: part.protocol, origins }
    }
}

/// Frames that were seen at one observation point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) point: PointId,
    pub(super) frames: u32,
    pub(super) wire_len: u32,
}

/// What became of a fragment.
pub(super) enum Fate {
    /// Its datagram is incomplete.
    Held,
    /// It completed its datagram.
    Joined(Joined),
    /// A copy of a fragment whose datagram was joined and belongs to this flow.
    Copy(Direction),
    /// It can be no part of a datagram.
    Lost(Stop),
}

/// A complete datagram.
pub(super) struct Joined {
    pub(super) name: Name,
    /// What its payload begins with.
    pub(super) protocol: u8,
    /// How long its payload was on the wire.
    pub(super) len: u32,
    datagram: Datagram,
}

/// The incomplete datagrams, and the latest joined ones.
pub(super) struct Fragments {
    open: HashMap<Name, Datagram, FixedState>,
    /// Open datagrams from the oldest on; entries whose serial is gone are skipped.
    ages: VecDeque<(Name, u64)>,
    serial: u64,
    held_bytes: usize,
    bytes_max: usize,
    joined: HashMap<Name, Remembered, FixedState>,
    joined_ages: VecDeque<(Name, u64)>,
    joined_pieces: usize,
    hasher: FixedState,
    lost: Vec<(PointId, u64)>,
    /// Datagrams that were given up for want of room.
    evicted: u64,
    spare: Vec<Datagram>,
}

struct Remembered {
    serial: u64,
    time: Timestamp,
    flow: Direction,
    pieces: Vec<u64>,
}

#[derive(Default)]
struct Datagram {
    serial: u64,
    first: Timestamp,
    /// Known once the last fragment was seen.
    len: Option<u32>,
    protocol: Option<u8>,
    /// Disjoint, by start.
    pieces: Vec<Piece>,
    covered: u32,
    bytes: Vec<u8>,
    /// Of each fragment, so that a copy of it is known later.
    hashes: Vec<u64>,
    tallies: Vec<Tally>,
    origins: Vec<Origin>,
    /// Given up: what still comes of it is lost too.
    void: bool,
}

/// A part of a datagram that one fragment brought.
#[derive(Clone, Copy)]
struct Piece {
    start: u32,
    end: u32,
    /// Where its captured bytes lie in the datagram's buffer.
    at: usize,
    /// How many were captured; fewer than the piece is long when the frame was cut.
    captured: u32,
}

impl Fragments {
    pub(super) fn new(seed: u64, bytes_max: usize) -> Self {
        let state = FixedState::with_seed(seed);
        Self {
            open: HashMap::with_hasher(state.clone()),
            ages: VecDeque::new(),
            serial: 0,
            held_bytes: 0,
            bytes_max,
            joined: HashMap::with_hasher(state.clone()),
            hasher: state,
            joined_ages: VecDeque::new(),
            joined_pieces: 0,
            lost: Vec::new(),
            evicted: 0,
            spare: Vec::new(),
        }
    }

    /// Returns how many datagrams were given up for want of room.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Takes a fragment. `tallies` are the frames that it came in: one, or several when it is itself in
    /// a joined datagram. They become all frames of the datagram when it is joined.
    pub(super) fn add(
        &mut self,
        fragment: &Fragment<'_>,
        time: Timestamp,
        tallies: &mut Vec<Tally>,
    ) -> Fate {
        self.expire(time);
        if !fragment.is_possible() {
            return Fate::Lost(Stop::Malformed);
        }
        if let Some(flow) = self.recall(fragment, time) {
            return Fate::Copy(flow);
        }
        self.drop_outdated(fragment.name, time);
        let serial = &mut self.serial;
        let (ages, spare, held) = (&mut self.ages, &mut self.spare, &mut self.held_bytes);
        let datagram = self.open.entry(fragment.name).or_insert_with(|| {
            *serial += 1;
            *held += DATAGRAM_COST;
            ages.push_back((fragment.name, *serial));
            let spare = spare.pop().unwrap_or_default();
            Datagram { serial: *serial, first: time, ..spare }
        });
        let cost = datagram.cost();
        let taken = datagram.add(fragment);
        if datagram.hashes.len() < PIECES_MAX {
            datagram.hashes.push(fragment.hash(&self.hasher));
        }
        self.held_bytes = self.held_bytes + datagram.cost() - cost;
        if !taken {
            // The frames at hand are for the caller to count.
            let cost = datagram.cost();
            lose(&mut self.lost, &datagram.tallies);
            datagram.give_up();
            self.held_bytes = self.held_bytes + datagram.cost() - cost;
            return Fate::Lost(Stop::Fragment);
        }
        merge(&mut datagram.tallies, tallies);
        if datagram.origins.len() < ORIGINS_MAX {
            datagram.origins.extend_from_slice(fragment.origins);
        }
        if datagram.is_complete() {
            return Fate::Joined(self.join(fragment, tallies));
        }
        self.shrink();
        Fate::Held
    }

    /// Takes a joined datagram back, and remembers the flow that it belongs to, if any, so that copies of
    /// its fragments find it.
    pub(super) fn remember(&mut self, joined: Joined, flow: Option<Direction>, time: Timestamp) {
        let Joined { name, datagram, .. } = joined;
        if let Some(flow) = flow {
            let pieces = datagram.hashes.clone();
            self.forget(&name);
            self.serial += 1;
            self.joined_pieces += pieces.len();
            self.joined.insert(name, Remembered { serial: self.serial, time, flow, pieces });
            self.joined_ages.push_back((name, self.serial));
        }
        self.recycle(datagram);
        while self.joined_ages.len() > JOINED_MAX || self.joined_pieces > JOINED_PIECES_MAX {
            let Some((name, serial)) = self.joined_ages.pop_front() else { break };
            if self.joined.get(&name).is_some_and(|known| known.serial == serial) {
                self.forget(&name);
            }
        }
    }

    /// Forgets a joined datagram.
    fn forget(&mut self, name: &Name) {
        if let Some(known) = self.joined.remove(name) {
            self.joined_pieces -= known.pieces.len();
        }
    }

    /// Counts frames as lost, beside those that were lost here.
    pub(super) fn count_lost(&mut self, tallies: &[Tally]) {
        lose(&mut self.lost, tallies);
    }

    pub(super) fn lost(&mut self) -> std::vec::Drain<'_, (PointId, u64)> {
        self.lost.drain(..)
    }

    /// Gives up all that is held.
    pub(super) fn finish(&mut self) {
        while self.give_up_oldest() {}
        self.joined.clear();
        self.joined_ages.clear();
        self.joined_pieces = 0;
    }

    /// Returns the flow of a joined datagram that already had this very fragment. A fragment of the same
    /// name with other content is the beginning of another datagram.
    fn recall(&mut self, fragment: &Fragment<'_>, time: Timestamp) -> Option<Direction> {
        if self.joined.is_empty() || self.open.contains_key(&fragment.name) {
            return None;
        }
        let known = self.joined.get(&fragment.name)?;
        let hash = fragment.hash(&self.hasher);
        if time.since(known.time) <= JOINED_NS_MAX && known.pieces.contains(&hash) {
            return Some(known.flow);
        }
        self.forget(&fragment.name);
        None
    }

    fn join(&mut self, last: &Fragment<'_>, tallies: &mut Vec<Tally>) -> Joined {
        let mut datagram = self.open.remove(&last.name).expect("it was just filled");
        self.held_bytes -= datagram.cost();
        tallies.clear();
        tallies.append(&mut datagram.tallies);
        Joined {
            name: last.name,
            protocol: datagram.protocol.unwrap_or(last.protocol),
            len: datagram.len.unwrap_or(0),
            datagram,
        }
    }

    fn expire(&mut self, now: Timestamp) {
        while let Some((name, serial)) = self.ages.front() {
            match self.open.get(name) {
                Some(datagram)
                    if datagram.serial == *serial
                        && now.since(datagram.first) <= INCOMPLETE_NS_MAX =>
                {
                    break;
                }
                _ => self.pop_oldest(),
            }
        }
    }

    /// Gives up a datagram that is too old to be meant, where time has run backwards and so hidden its age.
    fn drop_outdated(&mut self, name: Name, now: Timestamp) {
        if self.open.get(&name).is_some_and(|known| now.since(known.first) > INCOMPLETE_NS_MAX) {
            self.remove(&name);
        }
    }

    fn shrink(&mut self) {
        let open = self.open.len();
        while self.held_bytes > self.bytes_max || self.open.len() > DATAGRAMS_MAX {
            if !self.give_up_oldest() {
                break;
            }
        }
        self.evicted += (open - self.open.len()) as u64;
        // A datagram that was joined leaves its entry behind; an old one in front may keep many.
        if self.ages.len() > 2 * DATAGRAMS_MAX {
            let open = &self.open;
            self.ages.retain(|(name, serial)| {
                open.get(name).is_some_and(|datagram| datagram.serial == *serial)
            });
        }
    }

    fn give_up_oldest(&mut self) -> bool {
        let is_any = !self.ages.is_empty();
        self.pop_oldest();
        is_any
    }

    fn pop_oldest(&mut self) {
        let Some((name, serial)) = self.ages.pop_front() else { return };
        if self.open.get(&name).is_some_and(|datagram| datagram.serial == serial) {
            self.remove(&name);
        }
    }

    fn remove(&mut self, name: &Name) {
        if let Some(datagram) = self.open.remove(name) {
            self.held_bytes -= datagram.cost();
            lose(&mut self.lost, &datagram.tallies);
            self.recycle(datagram);
        }
    }

    fn recycle(&mut self, mut datagram: Datagram) {
        if self.spare.len() < SPARE_MAX {
            datagram.clear();
            self.spare.push(datagram);
        }
    }
}

impl Fragment<'_> {
    /// Sums up where it belongs and what of it was captured.
    fn hash(&self, state: &FixedState) -> u64 {
        let mut hasher = state.build_hasher();
        hasher.write_u64(u64::from(self.start) << 32 | u64::from(self.len));
        hasher.write(self.data);
        hasher.finish()
    }

    /// Tells whether such a fragment can be: not empty, not beyond the largest datagram, and, when more
    /// follow, a multiple of 8 bytes long. RFC 8200 §4.5 has it discarded otherwise; what IPv4 hosts do
    /// differs, and no host sends it.
    fn is_possible(&self) -> bool {
        let end = u64::from(self.start) + u64::from(self.len);
        self.len > 0 && end <= 0xffff && (!self.more || self.len.is_multiple_of(8))
    }
}

impl Joined {
    /// Returns where its payload came from; empty unless traced.
    pub(super) fn origins(&self) -> &[Origin] {
        &self.datagram.origins
    }

    /// Appends the payload up to the first byte that was not captured.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for piece in &self.datagram.pieces {
            out.extend_from_slice(self.datagram.captured(piece));
            if piece.captured < piece.end - piece.start {
                break;
            }
        }
    }
}

impl Datagram {
    /// Takes a fragment; `false` when the datagram cannot be joined any more.
    fn add(&mut self, fragment: &Fragment<'_>) -> bool {
        let (start, end) = (fragment.start, fragment.start + fragment.len);
        if self.void || self.pieces.len() >= PIECES_MAX {
            return false;
        }
        // Two ends that differ, or bytes beyond the end: nobody knows which datagram is meant.
        let beyond = self.pieces.last().is_some_and(|last| last.end > end);
        if self.len.is_some_and(|len| end > len || (!fragment.more && end != len))
            || (!fragment.more && beyond)
        {
            return false;
        }
        if !fragment.more {
            self.len = Some(end);
        }
        if start == 0 && self.protocol.is_none() {
            self.protocol = Some(fragment.protocol);
        }
        if fragment.name.ends.is_v6() {
            self.add_alone(start, end, fragment.data)
        } else {
            self.add_around(start, end, fragment.data);
            true
        }
    }

    /// Adds a fragment that may overlap nothing, but may be a copy.
    fn add_alone(&mut self, start: u32, end: u32, data: &[u8]) -> bool {
        let at = self.pieces.partition_point(|piece| piece.end <= start);
        match self.pieces.get(at) {
            Some(next) if next.start < end => {
                next.start == start && next.end == end && self.captured(next) == data
            }
            _ => {
                self.insert(at, start, end, data);
                true
            }
        }
    }

    /// Adds what a fragment has that was not there before.
    fn add_around(&mut self, mut start: u32, end: u32, mut data: &[u8]) {
        let mut at = self.pieces.partition_point(|piece| piece.end <= start);
        while start < end {
            let (gap_end, next) = match self.pieces.get(at) {
                Some(next) if next.start < end => (next.start.max(start), next.end),
                _ => (end, end),
            };
            if start < gap_end {
                self.insert(
                    at,
                    start,
                    gap_end,
                    &data[..data.len().min((gap_end - start) as usize)],
                );
                at += 1;
            }
            data = data.get((next.min(end) - start) as usize..).unwrap_or(&[]);
            start = next;
            at += 1;
        }
    }

    fn insert(&mut self, index: usize, start: u32, end: u32, data: &[u8]) {
        let captured = u32::try_from(data.len()).unwrap_or(u32::MAX).min(end - start);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&data[..captured as usize]);
        self.pieces.insert(index, Piece { start, end, at, captured });
        self.covered += end - start;
    }

    fn captured(&self, piece: &Piece) -> &[u8] {
        &self.bytes[piece.at..piece.at + piece.captured as usize]
    }

    fn is_complete(&self) -> bool {
        self.len == Some(self.covered)
    }

    fn cost(&self) -> usize {
        DATAGRAM_COST + self.bytes.len() + PIECE_COST * self.pieces.len()
    }

    fn give_up(&mut self) {
        self.clear();
        self.void = true;
    }

    /// Forgets all but when it began.
    fn clear(&mut self) {
        let Self {
            serial: _,
            first: _,
            len,
            protocol,
            pieces,
            covered,
            bytes,
            hashes,
            tallies,
            origins,
            void,
        } = self;
        (*len, *protocol, *covered, *void) = (None, None, 0, false);
        pieces.clear();
        bytes.clear();
        hashes.clear();
        tallies.clear();
        origins.clear();
    }
}

/// Adds tallies to tallies, one entry a point.
fn merge(all: &mut Vec<Tally>, new: &[Tally]) {
    for tally in new {
        match all.iter_mut().find(|known| known.point == tally.point) {
            Some(known) => {
                known.frames += tally.frames;
                known.wire_len = known.wire_len.saturating_add(tally.wire_len);
            }
            None => all.push(*tally),
        }
    }
}

fn lose(lost: &mut Vec<(PointId, u64)>, tallies: &[Tally]) {
    for tally in tallies {
        match lost.last_mut() {
            Some((point, frames)) if *point == tally.point => *frames += u64::from(tally.frames),
            _ => lost.push((tally.point, u64::from(tally.frames))),
        }
    }
}
