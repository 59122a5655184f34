//! Bytes that nobody looks at, passed over without a word to the sink.
//!
//! Most of a connection is the middle of bodies. There, a packet moves two numbers and touches neither the
//! reader nor what it found. Whatever else comes first tells the sink how far it got.

use super::{Phase, Stream, StreamSink};
use crate::packet::{Packet, Side, TcpFlags};

impl Stream {
    /// Takes a segment in order in the middle of bytes that the sink need not be given; tells whether it was
    /// one. Nothing else is touched for it.
    #[inline]
    pub fn pass(&mut self, packet: &Packet) -> bool {
        const TURNS: u8 = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST;
        let len = packet.payload.len;
        let half = &mut self.halves[packet.side.index()];
        // The last byte of what is passed over always comes to the sink.
        let is_inside = packet.tcp.seq == half.next && len < half.passing && len > 0;
        if !is_inside || packet.cut_len > 0 || packet.tcp.flags.has(TURNS) || half.end.is_some() {
            return false;
        }
        half.next = half.next.wrapping_add(len);
        half.passing -= len;
        half.passed += len;
        if packet.tcp.flags.has(TcpFlags::ACK) {
            self.halves[packet.side.other().index()].tell(packet.tcp.ack);
        }
        true
    }

    /// Tells whether a segment is likely one that [`Stream::pass`] takes.
    #[inline]
    pub fn passes(&self, packet: &Packet) -> bool {
        packet.payload.len < self.halves[packet.side.index()].passing
    }

    /// Tells the sink what it was not given.
    pub(super) fn catch_up(&mut self, sink: &mut impl StreamSink) {
        for side in Side::BOTH {
            let half = &mut self.halves[side.index()];
            half.passing = 0;
            if half.passed > 0 {
                sink.passed(side, std::mem::take(&mut half.passed));
            }
        }
    }

    /// Asks the sink what it need not be given.
    pub(super) fn look_ahead(&mut self, sink: &impl StreamSink) {
        for side in Side::BOTH {
            let half = &mut self.halves[side.index()];
            if half.phase == Phase::Flowing && half.held.is_empty() {
                half.passing = u32::try_from(sink.passes(side)).unwrap_or(u32::MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::flow::stream::{Stream, StreamSink};
    use crate::flow::testing::{CLIENT, SERVER, tcp};
    use crate::packet::{At, Side, TcpFlags};

    /// Messages of so many bytes of head and body, of which the heads matter.
    struct Messages {
        lens: Vec<(usize, usize)>,
        at: usize,
        heads: Vec<u8>,
        passed: usize,
    }

    impl Messages {
        fn new(lens: &[(usize, usize)]) -> Self {
            Self { lens: lens.to_vec(), at: 0, heads: Vec::new(), passed: 0 }
        }

        /// Returns how much is left of the body that the next byte is in.
        fn left(&self) -> usize {
            let mut start = 0;
            for (head, body) in &self.lens {
                let end = start + head + body;
                if self.at < end {
                    return if self.at < start + head { 0 } else { end - self.at };
                }
                start = end;
            }
            0
        }
    }

    impl StreamSink for Messages {
        fn data(&mut self, _side: Side, _at: At, bytes: &[u8]) {
            for byte in bytes {
                if self.left() == 0 {
                    self.heads.push(*byte);
                }
                self.at += 1;
            }
        }
        fn gap(&mut self, _side: Side, len: u64, _cut: bool) {
            self.at += usize::try_from(len).unwrap();
        }
        fn close(&mut self, _side: Side) {}
        fn conflict(&mut self, _side: Side) {}
        fn skippable(&self, _side: Side) -> u64 {
            0
        }
        fn passes(&self, side: Side) -> u64 {
            if side == CLIENT_SIDE { self.left() as u64 } else { 0 }
        }
        fn passed(&mut self, _side: Side, len: u32) {
            assert!((len as usize) < self.left(), "the last byte is given");
            self.at += len as usize;
            self.passed += len as usize;
        }
        fn wants(&self, _side: Side) -> bool {
            true
        }
        fn begins(&mut self, _side: Side, _bytes: &[u8]) -> bool {
            true
        }
    }

    const CLIENT_SIDE: Side = Side::High;

    proptest! {
        #[test]
        fn what_matters_is_given_whatever_is_passed(
            isn in any::<u32>(),
            lens in prop::collection::vec((1usize..30, 0usize..200), 1..6),
            cuts in prop::collection::vec(1usize..60, 1..80),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let text: Vec<u8> = (0..251).cycle().take(lens.iter().map(|(a, b)| a + b).sum()).collect();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.iter().cycle() {
                let to = (from + cut).min(text.len());
                pieces.push((from, &text[from..to]));
                from = to;
                if from == text.len() {
                    break;
                }
            }
            // Some pieces come again, and some early.
            for index in order {
                let (one, last) = (index.index(pieces.len()), pieces.len() - 1);
                pieces.push(pieces[one]);
                pieces.swap(one, last.min(one + 1));
            }
            let (mut stream, mut passing) = (Stream::default(), Messages::new(&lens));
            let (mut whole, mut given) = (Stream::default(), Messages::new(&lens));
            for (from, bytes) in pieces {
                let seq = isn.wrapping_add(u32::try_from(from).unwrap());
                let packet = tcp(CLIENT, SERVER, TcpFlags::ACK, seq, 0, u32::try_from(bytes.len()).unwrap());
                prop_assert_eq!(packet.side, CLIENT_SIDE);
                if !stream.pass(&packet) {
                    stream.segment(&packet, bytes, Some(isn), &mut passing);
                }
                whole.segment(&packet, bytes, Some(isn), &mut given);
            }
            stream.finish(&mut passing);
            whole.finish(&mut given);
            prop_assert_eq!(passing.heads, given.heads);
            prop_assert_eq!(passing.at, text.len());
            prop_assert_eq!(given.passed, 0);
        }
    }
}
