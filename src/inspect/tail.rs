//! Bytes of one side that are searched for signatures, whatever lies between them.
//!
//! For protocols whose messages do not tell their length. Keeps what may be the beginning of something,
//! bounded, with the packet that brought each piece.

use crate::packet::At;

/// The end of what was read, and the packets it came in.
#[derive(Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    /// Where each piece ends in `bytes`, and its packet.
    pieces: Vec<(usize, At)>,
}

impl Tail {
    /// Adds the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8], at: At) {
        self.bytes.extend_from_slice(bytes);
        self.pieces.push((self.bytes.len(), at));
    }

    /// Returns what is kept.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the memory of what is kept, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.pieces.capacity() * size_of::<(usize, At)>()
    }

    /// Returns the packet that brought the byte at an offset.
    pub(super) fn at(&self, offset: usize) -> At {
        let place = self.pieces.partition_point(|(end, _)| *end <= offset);
        self.pieces
            .get(place)
            .or_else(|| self.pieces.last())
            .map(|piece| piece.1)
            .unwrap_or_default()
    }

    /// Lets go of the first bytes.
    pub(super) fn release(&mut self, len: usize) {
        let len = len.min(self.bytes.len());
        self.bytes.drain(..len);
        self.pieces.retain_mut(|(end, _)| {
            let keeps = *end > len;
            *end = end.saturating_sub(len);
            keeps
        });
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.pieces.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::testing::at;

    #[test]
    fn every_byte_keeps_its_packet() {
        let mut tail = Tail::default();
        tail.push(b"abc", at(1));
        tail.push(b"d", at(2));
        tail.push(b"ef", at(3));
        tail.release(2);
        assert_eq!(tail.bytes(), b"cdef");
        let frames: Vec<_> = (0..4).map(|offset| tail.at(offset).frame).collect();
        assert_eq!(frames, [1, 2, 3, 3]);
        tail.release(9);
        assert!(tail.bytes().is_empty());
    }
}
