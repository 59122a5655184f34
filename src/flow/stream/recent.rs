//! The last bytes of a side, so that a copy with other content shows.

use crate::flow::tcp::is_after;

/// Bytes of a side that are remembered, so that a copy with other content shows: more than one full segment,
/// as such a copy follows the first one closely.
pub(super) const RECENT_LEN_MAX: usize = 2 << 10;

/// Bytes by which their room grows.
const GROWTH: usize = 1 << 9;

/// The last bytes that were given and mattered.
#[derive(Default)]
pub(super) struct Recent {
    bytes: Vec<u8>,
    /// Number behind the last one.
    end: u32,
}

impl Recent {
    /// Takes the next bytes, which begin at a number.
    pub(super) fn add(&mut self, seq: u32, bytes: &[u8]) {
        if seq != self.end {
            self.bytes.clear();
        }
        self.end = seq.wrapping_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        let bytes = &bytes[bytes.len().saturating_sub(RECENT_LEN_MAX)..];
        let room = RECENT_LEN_MAX - bytes.len();
        if self.bytes.len() > room {
            self.bytes.drain(..self.bytes.len() - room);
        }
        let len = self.bytes.len() + bytes.len();
        if self.bytes.capacity() < len {
            // Many a connection sends no more than its first segment.
            let is_first = self.bytes.capacity() == 0;
            let whole =
                if is_first { len } else { len.next_multiple_of(GROWTH).min(RECENT_LEN_MAX) };
            self.bytes.reserve_exact(whole - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Tells whether a copy of earlier bytes differs, as far as these are remembered.
    pub(super) fn differs(&self, seq: u32, copy: &[u8]) -> bool {
        let len = self.bytes.len();
        let start = self.end.wrapping_sub(u32::try_from(len).unwrap_or(u32::MAX));
        let (from, skipped) = if is_after(seq, start) {
            (seq.wrapping_sub(start) as usize, 0)
        } else {
            (0, start.wrapping_sub(seq) as usize)
        };
        let Some(copy) = copy.get(skipped..) else { return false };
        let known = self.bytes.get(from..).unwrap_or(&[]);
        let both = known.len().min(copy.len());
        known[..both] != copy[..both]
    }

    /// Returns the memory that it takes, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}
