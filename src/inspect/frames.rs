//! Cuts one side's stream into frames whose header tells their length.
//!
//! Takes pieces of any size; gives the beginning of each frame, as much of it as the protocol wants to
//! read, and passes over the rest without a copy. Holds at most that beginning.

use crate::packet::At;

/// What the bytes at the start of a frame say of its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// So many bytes are needed before that can be said; more than were given.
    Need(usize),
    /// The whole frame's length, header included; at least 1.
    Is(u64),
    /// This is no frame of the protocol.
    Bad,
}

/// One frame: its beginning, up to the limit of its [`Frames`].
#[derive(Clone, Copy)]
pub(super) struct Frame<'a> {
    /// The first bytes, header included.
    pub(super) bytes: &'a [u8],
    /// Length of the whole frame.
    pub(super) len: u64,
    /// The packet that brought its first byte.
    pub(super) at: At,
}

impl Frame<'_> {
    /// Tells whether `bytes` is all of it.
    pub(super) fn is_whole(&self) -> bool {
        self.bytes.len() as u64 == self.len
    }
}

/// Whether the next frame is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Yes.
    Go,
    /// No: the rest of the piece is left, too.
    Stop,
}

/// How far a piece was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// To its end.
    All,
    /// The reader of the frames said [`Next::Stop`].
    Stopped,
    /// Up to bytes that are no frame of the protocol.
    Bad,
}

/// One side's cutter.
pub(super) struct Frames {
    held: Vec<u8>,
    held_at: At,
    skip: u64,
    hold_max: usize,
    lost: bool,
    unread_len: usize,
}

impl Frames {
    /// Keeps up to `hold_max` bytes of each frame.
    pub(super) fn new(hold_max: usize) -> Self {
        Self {
            held: Vec::new(),
            held_at: At::default(),
            skip: 0,
            hold_max,
            lost: false,
            unread_len: 0,
        }
    }

    /// Returns how many of the next bytes are of no interest.
    pub(super) fn skippable(&self) -> u64 {
        if self.lost { u64::MAX } else { self.skip }
    }

    /// Tells whether framing was lost: nothing more can be read on this side.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Returns the bytes that are held of a frame that is not whole.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// Returns how many bytes at the end of the piece that [`Read::Stopped`] were not read.
    pub(super) fn unread_len(&self) -> usize {
        self.unread_len
    }

    /// Passes over bytes that were never captured; `false` when framing is lost by that.
    pub(super) fn gap(&mut self, len: u64) -> bool {
        if len <= self.skip {
            self.skip -= len;
        } else {
            self.lose();
        }
        !self.lost
    }

    /// Returns the beginning of a frame that will never be whole; its length is not known.
    pub(super) fn cut(&self) -> Option<Frame<'_>> {
        let held = self.held.as_slice();
        (!held.is_empty()).then_some(Frame { bytes: held, len: u64::MAX, at: self.held_at })
    }

    /// Gives the side up and lets its memory go.
    pub(super) fn lose(&mut self) {
        self.lost = true;
        self.held = Vec::new();
    }

    /// Takes the next bytes: asks `size` for a frame's length and hands each frame to `read`.
    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        at: At,
        size: impl Fn(&[u8]) -> Size,
        mut read: impl FnMut(Frame<'_>) -> Next,
    ) -> Read {
        if self.lost {
            return Read::All;
        }
        let mut filled = false;
        loop {
            let skipped = self.skip.min(bytes.len() as u64);
            self.skip -= skipped;
            bytes = &bytes[usize::try_from(skipped).unwrap_or(bytes.len())..];
            if bytes.is_empty() && !std::mem::take(&mut filled) {
                return Read::All;
            }
            let in_place = self.held.is_empty();
            let head = if in_place { bytes } else { self.held.as_slice() };
            let (keep, len) = match size(head) {
                Size::Is(len) => {
                    let keep = usize::try_from(len).unwrap_or(usize::MAX).min(self.hold_max);
                    (keep.max(1), len.max(1))
                }
                // A header longer than the limit is none that anybody sends.
                Size::Need(need) if need <= self.hold_max && need > head.len() => (need, 0),
                Size::Need(_) | Size::Bad => {
                    self.lose();
                    return Read::Bad;
                }
            };
            if head.len() < keep {
                if in_place {
                    self.held_at = at;
                }
                let wanted = (keep - self.held.len()).min(bytes.len());
                self.held.extend_from_slice(&bytes[..wanted]);
                bytes = &bytes[wanted..];
                if self.held.len() < keep {
                    return Read::All;
                }
                // Enough to ask for the length again, or to read the frame.
                filled = true;
                continue;
            }
            // Most frames begin and end inside a piece, or are passed over: no copy for them.
            let next = if in_place {
                let used = usize::try_from(len).unwrap_or(usize::MAX).min(bytes.len());
                self.skip = len - used as u64;
                let frame = Frame { bytes: &bytes[..keep], len, at };
                bytes = &bytes[used..];
                read(frame)
            } else {
                let held = std::mem::take(&mut self.held);
                self.skip = len - held.len() as u64;
                let next = read(Frame { bytes: &held, len, at: self.held_at });
                self.held = held;
                self.held.clear();
                next
            };
            if next == Next::Stop {
                self.unread_len = bytes.len();
                return Read::Stopped;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Timestamp;

    /// Length of one byte that counts itself; 0 is bad.
    fn size(head: &[u8]) -> Size {
        match head.first() {
            None => Size::Need(1),
            Some(0) => Size::Bad,
            Some(1) if head.len() < 3 => Size::Need(3),
            Some(1) => Size::Is(3 + u64::from(head[2])),
            Some(len) => Size::Is(u64::from(*len)),
        }
    }

    fn at(frame: u64) -> At {
        At { frame, time: Timestamp(0) }
    }

    fn cut(pieces: &[&[u8]], hold_max: usize) -> (Vec<(Vec<u8>, u64, u64)>, Read) {
        let mut frames = Frames::new(hold_max);
        let (mut seen, mut last) = (Vec::new(), Read::All);
        for (number, piece) in (1..).zip(pieces) {
            last = frames.push(piece, at(number), size, |frame| {
                seen.push((frame.bytes.to_vec(), frame.len, frame.at.frame));
                Next::Go
            });
        }
        (seen, last)
    }

    #[test]
    fn every_split_gives_the_same_frames_with_the_packet_of_their_first_byte() {
        let stream = [2, 9, 5, 1, 2, 3, 4, 1, 7, 2, 8, 8, 3, 1, 1];
        let whole = cut(&[&stream], 4).0;
        let lengths: Vec<_> = whole.iter().map(|(_, len, _)| *len).collect();
        assert_eq!(lengths, [2, 5, 5, 3]);
        assert_eq!(whole[1].0, [5, 1, 2, 3]);
        for split in 0..=stream.len() {
            let (seen, _) = cut(&[&stream[..split], &stream[split..]], 4);
            let starts = [0, 2, 7, 12];
            assert_eq!(seen.len(), whole.len(), "split at {split}");
            for ((one, other), start) in seen.iter().zip(&whole).zip(starts) {
                assert_eq!((&one.0, one.1), (&other.0, other.1), "split at {split}");
                assert_eq!(one.2, if start < split { 1 } else { 2 }, "split at {split}");
            }
        }
        let bytes: Vec<_> = stream.chunks(1).collect();
        assert_eq!(cut(&bytes, 4).0.len(), 4);
    }

    #[test]
    fn a_hole_in_what_is_passed_over_is_no_loss_and_elsewhere_is() {
        let mut frames = Frames::new(2);
        assert_eq!(frames.push(&[10, 1], at(1), size, |_| Next::Go), Read::All);
        assert_eq!(frames.skippable(), 8);
        assert!(frames.gap(8));
        assert!(!frames.gap(1));
        assert_eq!(frames.push(&[2, 1], at(1), size, |_| panic!("lost")), Read::All);
    }

    #[test]
    fn a_reader_that_stops_knows_what_it_left() {
        let mut frames = Frames::new(4);
        assert_eq!(frames.push(&[2, 1, 2, 1, 9], at(1), size, |_| Next::Stop), Read::Stopped);
        assert_eq!(frames.unread_len(), 3);
    }

    #[test]
    fn what_is_no_frame_ends_the_reading() {
        assert_eq!(cut(&[&[2, 1, 0, 2, 1]], 4).1, Read::Bad);
    }
}
