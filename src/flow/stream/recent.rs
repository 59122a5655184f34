//! The last bytes of a side, so that a copy with other content shows.

use std::ops::Range;

use super::Stream;
use crate::flow::tcp::is_after;

/// Bytes of a side that are remembered, so that a copy with other content shows: more than one full segment,
/// as such a copy follows the first one closely. A power of two.
pub(super) const RECENT_LEN_MAX: usize = 2 << 10;

/// The smallest room.
const ROOM_MIN: usize = 1 << 8;

/// The last bytes that were given and mattered.
#[derive(Default)]
pub(super) struct Recent {
    /// A ring whose length is a power of two: a byte lies where the low bits of its number say.
    ring: Box<[u8]>,
    /// How many of its bytes are known.
    len: u32,
    /// Number behind the last one.
    end: u32,
}

impl Recent {
    /// Takes the next bytes, which begin at a number.
    pub(super) fn add(&mut self, seq: u32, bytes: &[u8]) {
        if seq != self.end {
            self.len = 0;
        }
        self.end = seq.wrapping_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        let bytes = &bytes[bytes.len().saturating_sub(RECENT_LEN_MAX)..];
        let len = (self.len as usize + bytes.len()).min(RECENT_LEN_MAX);
        if self.ring.len() < len {
            self.grow(len, bytes.len());
        }
        #[expect(clippy::cast_possible_truncation, reason = "both are at most the ring's length")]
        let (whole, added) = (len as u32, bytes.len() as u32);
        self.len = whole;
        let (first, second) = self.places(self.end.wrapping_sub(added), bytes.len());
        let (head, tail) = bytes.split_at(first.len());
        self.ring[first].copy_from_slice(head);
        self.ring[second].copy_from_slice(tail);
    }

    /// Makes room for `len` bytes, of which the last `added` are not there yet.
    #[cold]
    fn grow(&mut self, len: usize, added: usize) {
        let room = len.next_power_of_two().max(ROOM_MIN);
        let grown = Self { ring: vec![0; room].into(), ..*self };
        let old = std::mem::replace(self, grown);
        let start =
            self.end.wrapping_sub(u32::try_from(added).unwrap_or(u32::MAX)).wrapping_sub(old.len);
        let mut seq = start;
        let (first, second) = old.places(start, old.len as usize);
        for part in [&old.ring[first], &old.ring[second]] {
            let (head, tail) = self.places(seq, part.len());
            let split = head.len();
            self.ring[head].copy_from_slice(&part[..split]);
            self.ring[tail].copy_from_slice(&part[split..]);
            seq = seq.wrapping_add(u32::try_from(part.len()).unwrap_or(u32::MAX));
        }
    }

    /// Returns the two places in the ring of so many bytes from a number on; no more than it has room for.
    fn places(&self, seq: u32, len: usize) -> (Range<usize>, Range<usize>) {
        let room = self.ring.len();
        let from = if room == 0 { 0 } else { seq as usize & (room - 1) };
        let first = len.min(room - from);
        (from..from + first, 0..len - first)
    }

    /// Tells whether a copy of earlier bytes differs, as far as these are remembered.
    pub(super) fn differs(&self, seq: u32, copy: &[u8]) -> bool {
        let start = self.end.wrapping_sub(self.len);
        let (from, skipped) =
            if is_after(seq, start) { (seq, 0) } else { (start, start.wrapping_sub(seq) as usize) };
        let known = self.end.wrapping_sub(from) as usize;
        let Some(copy) = copy.get(skipped..) else { return false };
        if known > self.len as usize {
            return false;
        }
        let both = known.min(copy.len());
        let (first, second) = self.places(from, both);
        let (head, tail) = copy[..both].split_at(first.len());
        self.ring[first] != *head || self.ring[second] != *tail
    }

    /// Returns the memory that it takes, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.ring.len()
    }
}

impl Stream {
    /// Forgets the last bytes of both sides: a copy with other content follows the first one closely.
    pub fn rest(&mut self) {
        for half in &mut self.halves {
            half.recent = Recent::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{RECENT_LEN_MAX, Recent};

    proptest! {
        #[test]
        fn a_copy_is_compared_with_the_last_bytes_and_no_others(
            isn in any::<u32>(),
            lens in prop::collection::vec(0usize..1500, 1..8),
            gap in prop::option::of(0usize..8),
            (from, len) in (0usize..6000, 0usize..3000),
            (odd, bit) in (any::<prop::sample::Index>(), 0u8..8),
        ) {
            let number = |at: usize| isn.wrapping_add(u32::try_from(at).unwrap());
            let text: Vec<u8> = (0..20_000_u32).map(|at| (at ^ at >> 7).to_le_bytes()[0]).collect();
            let (mut recent, mut known, mut at) = (Recent::default(), 0..0, 0);
            for (index, len) in lens.into_iter().enumerate() {
                if gap == Some(index) {
                    at += 1;
                    known.start = at;
                }
                recent.add(number(at), &text[at..at + len]);
                at += len;
                known = known.start.max(at.saturating_sub(RECENT_LEN_MAX))..at;
            }
            let mut copy = text[from..from + len].to_vec();
            prop_assert!(!recent.differs(number(from), &copy), "it is the same");
            if !copy.is_empty() {
                let odd = odd.index(copy.len());
                copy[odd] ^= 1 << bit;
                let is_known = known.contains(&(from + odd));
                prop_assert_eq!(recent.differs(number(from), &copy), is_known);
            }
            prop_assert!(recent.held_bytes() <= RECENT_LEN_MAX);
        }
    }
}
