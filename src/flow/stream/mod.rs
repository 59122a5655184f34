//! Segments of a connection → each side's bytes in order, with the holes.
//!
//! Takes TCP segments as captured; gives them to a [`StreamSink`] in stream order. Segments in order
//! pass without a copy. What comes early is held (bounded); the first copy of a byte wins; a hole is
//! given up when the limit is reached, when the sink would skip it anyway, or at the end.

mod passing;
mod recent;

use crate::packet::{At, Packet, Side, TcpFlags};

use super::tcp::is_after;
use recent::Recent;

/// Bytes that one side may hold behind a hole: four unscaled windows.
pub const HELD_BYTES_MAX: usize = 256 << 10;

/// Segments that one side may hold behind a hole, so that one-byte segments cost no more than others.
pub const HELD_SEGMENTS_MAX: usize = 1024;

/// How far ahead of the expected byte a segment may lie; beyond it the number is forged or the
/// connection another one (the largest scaled window is 1 GiB, RFC 7323 §2.3; real ones stay far below).
pub const AHEAD_MAX: u32 = 64 << 20;

/// What takes a connection's bytes.
pub trait StreamSink {
    /// Takes the next bytes of a side; `at` is the packet that brought them.
    fn data(&mut self, side: Side, at: At, bytes: &[u8]);

    /// Learns that bytes of a side are missing: `cut` when they were on the wire but not captured whole.
    fn gap(&mut self, side: Side, len: u64, cut: bool);

    /// Learns that a side sends no more.
    fn close(&mut self, side: Side);

    /// Learns that two copies of the same bytes of a side differ; the first one was taken.
    fn conflict(&mut self, side: Side);

    /// Returns how many of the next bytes of a side may be missing without loss.
    fn skippable(&self, side: Side) -> u64;

    /// Returns how many of the next bytes of a side it need not be given, as long as nothing else comes.
    fn passes(&self, _side: Side) -> u64 {
        0
    }

    /// Learns that so many bytes of a side came which it need not be given.
    fn passed(&mut self, _side: Side, _len: u32) {}

    /// Tells whether a side's bytes are still of interest.
    fn wants(&self, side: Side) -> bool;

    /// Tells whether bytes in the middle of a connection look like the beginning of something.
    fn begins(&mut self, side: Side, bytes: &[u8]) -> bool;
}

/// Reassembles both sides of one connection.
#[derive(Default)]
pub struct Stream {
    halves: [Half; 2],
}

/// One side's reassembly.
#[derive(Default)]
struct Half {
    /// Sequence number of the next byte for the sink.
    next: u32,
    /// Bytes from there on that the sink need not be given.
    passing: u32,
    /// Bytes before it that the sink was not given and does not know of.
    passed: u32,
    phase: Phase,
    /// Segments of which none began anything, while it was joined midway.
    sought: u8,
    /// Segments that cannot be given yet, in the order of their numbers.
    held: Vec<Held>,
    held_bytes: usize,
    /// Number behind the last byte, once a FIN told it.
    end: Option<u32>,
    /// The highest number that the other side acknowledged, or that stood in a packet without payload.
    told: Option<u32>,
    recent: Recent,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Joined midway: nothing seen yet that begins something.
    #[default]
    Seeking,
    /// Bytes are given in order.
    Flowing,
    /// Everything was given.
    Closed,
}

/// A segment behind a hole.
struct Held {
    seq: u32,
    at: At,
    bytes: Box<[u8]>,
    /// Bytes after these that were on the wire but not captured.
    cut_len: u32,
}

/// What a held segment costs beside its bytes.
const HELD_COST: usize = size_of::<Held>() + 16;

impl Held {
    /// Returns the number behind its last captured byte.
    fn end(&self) -> u32 {
        self.seq.wrapping_add(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX))
    }
}

impl Stream {
    /// Takes one packet of the connection. `start` is the number of the side's first byte, where the
    /// handshake told it.
    pub fn segment(
        &mut self,
        packet: &Packet,
        payload: &[u8],
        start: Option<u32>,
        sink: &mut impl StreamSink,
    ) {
        self.catch_up(sink);
        self.take(packet, payload, start, sink);
        self.look_ahead(sink);
    }

    fn take(
        &mut self,
        packet: &Packet,
        payload: &[u8],
        start: Option<u32>,
        sink: &mut impl StreamSink,
    ) {
        let side = packet.side;
        let is_reset = packet.tcp.flags.has(TcpFlags::RST);
        if packet.tcp.flags.has(TcpFlags::ACK) && !is_reset {
            self.halves[side.other().index()].tell(packet.tcp.ack);
        }
        let half = &mut self.halves[side.index()];
        if half.phase == Phase::Closed {
            return;
        }
        let syn = u32::from(packet.tcp.flags.has(TcpFlags::SYN));
        let seq = packet.tcp.seq.wrapping_add(syn);
        if half.phase == Phase::Seeking
            && let Some(start) = start
        {
            half.next = start;
            half.phase = Phase::Flowing;
            half.drain(side, sink);
        }
        let whole_len = packet.payload.len + packet.cut_len;
        if packet.tcp.flags.has(TcpFlags::FIN) {
            half.end = Some(seq.wrapping_add(whole_len));
        }
        if whole_len == 0 && !is_reset {
            half.tell(seq);
        } else if whole_len > 0 && sink.wants(side) {
            half.payload(side, seq, packet, payload, sink);
        }
        self.close_if_over(sink);
    }

    /// Closes the sides when both are over. A FIN alone may be forged, and then the side goes on.
    fn close_if_over(&mut self, sink: &mut impl StreamSink) {
        let over = Side::BOTH.map(|side| self.halves[side.index()].is_over(sink.wants(side)));
        if over == [true; 2] {
            for side in Side::BOTH {
                self.halves[side.index()].close(side, sink);
            }
        }
    }

    /// Learns the number of the first byte of a side that sent some: without one of them captured, they are a
    /// hole.
    pub fn expect(&mut self, side: Side, start: u32) {
        let half = &mut self.halves[side.index()];
        if half.phase == Phase::Seeking && half.held.is_empty() {
            half.next = start;
            half.phase = Phase::Flowing;
        }
    }

    /// Gives what is still held, with its holes, and closes both sides: the connection or the capture
    /// is over.
    pub fn finish(&mut self, sink: &mut impl StreamSink) {
        self.catch_up(sink);
        for side in Side::BOTH {
            let half = &mut self.halves[side.index()];
            half.give_up(side, 0, sink);
            if half.phase != Phase::Closed {
                half.tell_lost_tail(side, sink);
                half.phase = Phase::Closed;
                sink.close(side);
            }
        }
    }

    /// Loads what the next segment needs first; returns something of it.
    #[inline]
    pub fn touch(&self) -> u64 {
        u64::from(self.halves[0].next ^ self.halves[1].next)
    }

    /// Tells whether both sides have ended.
    pub fn is_closed(&self) -> bool {
        self.halves.iter().all(|half| half.phase == Phase::Closed)
    }

    /// Returns the memory of what is held behind holes and remembered for comparison, in bytes.
    pub fn held_bytes(&self) -> usize {
        let of_half = |half: &Half| {
            half.held_bytes + half.held.capacity() * HELD_COST + half.recent.held_bytes()
        };
        self.halves.iter().map(of_half).sum()
    }
}

impl Half {
    fn payload(
        &mut self,
        side: Side,
        seq: u32,
        packet: &Packet,
        payload: &[u8],
        sink: &mut impl StreamSink,
    ) {
        if self.phase == Phase::Seeking {
            if !sink.begins(side, payload) {
                self.seek(side, seq, packet, payload, sink);
                return;
            }
            self.next = seq;
            self.phase = Phase::Flowing;
        }
        let ahead = seq.wrapping_sub(self.next);
        if ahead == 0 {
            self.give(side, packet.at, payload, packet.cut_len, sink);
        } else if ahead < 1 << 31 {
            if ahead > AHEAD_MAX {
                return;
            }
            self.hold(side, seq, packet.at, payload, packet.cut_len, sink);
            if self.held.len() > HELD_SEGMENTS_MAX || self.held_bytes > HELD_BYTES_MAX {
                self.give_up(side, HELD_BYTES_MAX / 2, sink);
            }
        } else {
            self.retransmitted(side, seq, packet, payload, sink);
        }
        if !self.held.is_empty() {
            self.drain(side, sink);
        }
    }

    /// Gives bytes that are next in order.
    #[inline]
    fn give(&mut self, side: Side, at: At, bytes: &[u8], cut_len: u32, sink: &mut impl StreamSink) {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if sink.skippable(side) < u64::from(len) {
            self.recent.add(self.next, bytes);
        }
        self.next = self.next.wrapping_add(len);
        if len > 0 {
            sink.data(side, at, bytes);
        }
        if cut_len > 0 {
            self.next = self.next.wrapping_add(cut_len);
            sink.gap(side, u64::from(cut_len), true);
        }
    }

    /// Looks at bytes of which some were given before: checks what is remembered, gives what is new.
    fn retransmitted(
        &mut self,
        side: Side,
        seq: u32,
        packet: &Packet,
        payload: &[u8],
        sink: &mut impl StreamSink,
    ) {
        // A probe of an idle connection may carry one byte of garbage (RFC 9293 §3.8.4).
        let is_probe = packet.payload.len + packet.cut_len == 1 && seq.wrapping_add(1) == self.next;
        if !is_probe && self.recent.differs(seq, payload) {
            sink.conflict(side);
        }
        let old_len = self.next.wrapping_sub(seq);
        if let Some(new) = payload.get(old_len as usize..)
            && !new.is_empty()
        {
            self.give(side, packet.at, new, packet.cut_len, sink);
        } else {
            let whole_len = packet.payload.len + packet.cut_len;
            let missing = whole_len.saturating_sub(old_len);
            if missing > 0 && packet.cut_len >= missing {
                self.next = self.next.wrapping_add(missing);
                sink.gap(side, u64::from(missing), true);
            }
        }
    }

    /// Keeps a segment for later; of bytes that are held already, the first copy stays.
    fn hold(
        &mut self,
        side: Side,
        seq: u32,
        at: At,
        payload: &[u8],
        cut_len: u32,
        sink: &mut impl StreamSink,
    ) {
        let (mut seq, mut rest) = (seq, payload);
        loop {
            let place = self.held.partition_point(|held| !is_after(held.end(), seq));
            let free = match self.held.get(place) {
                None => rest.len(),
                Some(held) if is_after(held.seq, seq) => {
                    rest.len().min(held.seq.wrapping_sub(seq) as usize)
                }
                Some(held) => {
                    let from = seq.wrapping_sub(held.seq) as usize;
                    let known = held.bytes.get(from..).unwrap_or(&[]);
                    let both = known.len().min(rest.len());
                    if known[..both] != rest[..both] {
                        sink.conflict(side);
                    }
                    rest = &rest[both..];
                    seq = held.end();
                    if rest.is_empty() {
                        return;
                    }
                    continue;
                }
            };
            let is_last = free == rest.len();
            let piece = &rest[..free];
            let cut_len = if is_last { cut_len } else { 0 };
            self.held_bytes += piece.len();
            self.held.insert(place, Held { seq, at, bytes: piece.into(), cut_len });
            if is_last {
                return;
            }
            rest = &rest[free..];
            seq = seq.wrapping_add(u32::try_from(free).unwrap_or(u32::MAX));
        }
    }

    /// Gives what is held and has become next in order.
    fn drain(&mut self, side: Side, sink: &mut impl StreamSink) {
        if self.phase != Phase::Flowing {
            return;
        }
        let mut done = 0;
        while let Some(held) = self.held.get(done) {
            let ahead = held.seq.wrapping_sub(self.next);
            let hole = u64::from(ahead);
            if ahead != 0 && ahead < 1 << 31 {
                if hole > sink.skippable(side) {
                    break;
                }
                self.next = held.seq;
                sink.gap(side, hole, false);
            }
            let held = std::mem::replace(
                &mut self.held[done],
                Held { seq: 0, at: At::default(), bytes: Box::default(), cut_len: 0 },
            );
            done += 1;
            self.held_bytes -= held.bytes.len();
            let old_len = self.next.wrapping_sub(held.seq) as usize;
            if let Some(new) = held.bytes.get(old_len..) {
                if old_len > 0 && self.recent.differs(held.seq, &held.bytes) {
                    sink.conflict(side);
                }
                self.give(side, held.at, new, held.cut_len, sink);
            }
        }
        self.held.drain(..done);
        if self.held.is_empty() {
            // Its room counts as held.
            self.held = Vec::new();
        }
    }

    /// Declares holes lost, first things first, until no more than `keep_bytes` are held.
    fn give_up(&mut self, side: Side, keep_bytes: usize, sink: &mut impl StreamSink) {
        if self.phase == Phase::Seeking {
            // Nothing began here: what was held is of no use.
            self.held = Vec::new();
            self.held_bytes = 0;
            return;
        }
        while let Some(first) = self.held.first() {
            if keep_bytes > 0
                && self.held_bytes <= keep_bytes
                && self.held.len() <= HELD_SEGMENTS_MAX / 2
            {
                break;
            }
            let hole = first.seq.wrapping_sub(self.next);
            if hole != 0 && hole < 1 << 31 {
                self.next = first.seq;
                sink.gap(side, u64::from(hole), false);
            }
            self.drain(side, sink);
            if !sink.wants(side) {
                self.held = Vec::new();
                self.held_bytes = 0;
            }
        }
    }

    /// Learns that all bytes before a number were sent.
    fn tell(&mut self, number: u32) {
        if self.told.is_none_or(|told| is_after(number, told)) {
            self.told = Some(number);
        }
    }

    /// The last bytes may be missing, with nothing behind them: a FIN stands where they end, or other numbers
    /// tell of them. One number beyond the known bytes may be that of a FIN.
    fn tell_lost_tail(&mut self, side: Side, sink: &mut impl StreamSink) {
        if self.phase != Phase::Flowing || !sink.wants(side) {
            return;
        }
        let told = self.told.filter(|told| *told != self.next.wrapping_add(1));
        let Some(end) = self.end.or(told) else { return };
        let missing = end.wrapping_sub(self.next);
        if (1..=AHEAD_MAX).contains(&missing) {
            self.next = end;
            sink.gap(side, u64::from(missing), false);
        }
    }

    /// Nothing begins in a segment of a side that was joined midway. The newest ones are kept: they may turn out
    /// to follow a beginning that was captured late. In the middle of bulk none is, and they are let go.
    fn seek(
        &mut self,
        side: Side,
        seq: u32,
        packet: &Packet,
        payload: &[u8],
        sink: &mut impl StreamSink,
    ) {
        self.sought = self.sought.saturating_add(1);
        if self.sought > SOUGHT_MAX {
            self.held = Vec::new();
            self.held_bytes = 0;
            return;
        }
        self.hold(side, seq, packet.at, payload, packet.cut_len, sink);
        while self.held.len() > SEEK_SEGMENTS_MAX || self.held_bytes > SEEK_BYTES_MAX {
            let oldest = self
                .held
                .iter()
                .enumerate()
                .min_by_key(|(_, held)| held.at)
                .map_or(0, |(index, _)| index);
            let held = self.held.remove(oldest);
            self.held_bytes -= held.bytes.len();
        }
    }

    /// Tells whether everything up to the side's end was given.
    fn is_over(&mut self, is_wanted: bool) -> bool {
        let Some(end) = self.end else { return self.phase == Phase::Closed };
        if self.phase == Phase::Flowing && is_after(self.next, end) {
            // Bytes behind it were given: the FIN was forged or is of another time.
            self.end = None;
            return false;
        }
        let given =
            if self.phase == Phase::Seeking { self.held.is_empty() } else { end == self.next };
        given || !is_wanted || self.phase == Phase::Closed
    }

    fn close(&mut self, side: Side, sink: &mut impl StreamSink) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closed;
            self.held = Vec::new();
            self.held_bytes = 0;
            sink.close(side);
        }
    }
}

/// Segments kept while nothing has begun: three behind a late one have it sent again (RFC 5681 §3.2).
const SEEK_SEGMENTS_MAX: usize = 4;

/// Segments in which nothing begins until a side is taken for bulk, of which none is kept.
const SOUGHT_MAX: u8 = 64;

/// Bytes kept while nothing has begun.
const SEEK_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::recent::RECENT_LEN_MAX;
    use super::*;
    use crate::flow::testing::{CLIENT, SERVER, tcp};

    /// Writes down what it is told.
    #[derive(Default)]
    struct Tape {
        bytes: Vec<u8>,
        gaps: Vec<(usize, u64)>,
        conflicts: usize,
        closed: bool,
        skippable: u64,
    }

    impl StreamSink for Tape {
        fn data(&mut self, _side: Side, _at: At, bytes: &[u8]) {
            self.bytes.extend_from_slice(bytes);
        }
        fn gap(&mut self, _side: Side, len: u64, _cut: bool) {
            self.gaps.push((self.bytes.len(), len));
        }
        fn close(&mut self, _side: Side) {
            self.closed = true;
        }
        fn conflict(&mut self, _side: Side) {
            self.conflicts += 1;
        }
        fn skippable(&self, _side: Side) -> u64 {
            self.skippable
        }
        fn wants(&self, _side: Side) -> bool {
            true
        }
        fn begins(&mut self, _side: Side, bytes: &[u8]) -> bool {
            bytes.first() == Some(&b'G')
        }
    }

    fn push(stream: &mut Stream, tape: &mut Tape, seq: u32, bytes: &[u8], start: Option<u32>) {
        let len = u32::try_from(bytes.len()).unwrap();
        let packet = tcp(CLIENT, SERVER, TcpFlags::ACK, seq, 0, len);
        stream.segment(&packet, bytes, start, tape);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_order_with_repetitions_gives_the_same_bytes(
            isn in any::<u32>(),
            cuts in prop::collection::vec(1usize..40, 1..20),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        ) {
            let text: Vec<u8> = (0..251).cycle().take(cuts.iter().sum::<usize>()).collect();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push((from, &text[from..from + cut]));
                from += cut;
            }
            let start = isn.wrapping_add(1);
            let (mut stream, mut tape) = (Stream::default(), Tape::default());
            let send = |stream: &mut Stream, tape: &mut Tape, piece: &(usize, &[u8])| {
                let seq = start.wrapping_add(u32::try_from(piece.0).unwrap());
                push(stream, tape, seq, piece.1, Some(start));
            };
            for index in &order {
                send(&mut stream, &mut tape, index.get(&pieces));
            }
            for piece in &pieces {
                send(&mut stream, &mut tape, piece);
            }
            prop_assert_eq!(&tape.bytes, &text);
            prop_assert!(tape.gaps.is_empty());
            prop_assert_eq!(tape.conflicts, 0);
            prop_assert!(stream.held_bytes() <= RECENT_LEN_MAX);
        }

        #[test]
        fn any_segments_stay_within_the_limits(
            segments in prop::collection::vec((any::<u16>(), 0usize..3000), 0..200),
        ) {
            let (mut stream, mut tape) = (Stream::default(), Tape::default());
            for (seq, len) in segments {
                push(&mut stream, &mut tape, u32::from(seq) * 64, &vec![7; len], Some(0));
                let held = stream.halves[0].held_bytes + stream.halves[1].held_bytes;
                prop_assert!(held <= HELD_BYTES_MAX + 3000);
                let places = 2 * HELD_SEGMENTS_MAX * HELD_COST;
                prop_assert!(stream.held_bytes() <= held + places + 2 * RECENT_LEN_MAX);
            }
            stream.finish(&mut tape);
            prop_assert!(stream.held_bytes() <= 2 * RECENT_LEN_MAX);
        }
    }

    #[test]
    fn a_hole_is_told_at_the_end_and_skipped_at_once_where_nobody_misses_it() {
        let (mut stream, mut tape) = (Stream::default(), Tape::default());
        push(&mut stream, &mut tape, 100, b"abc", Some(100));
        push(&mut stream, &mut tape, 105, b"fg", None);
        assert_eq!(tape.bytes, b"abc");
        tape.skippable = 2;
        push(&mut stream, &mut tape, 107, b"h", None);
        assert_eq!((tape.bytes.as_slice(), tape.gaps.as_slice()), (&b"abcfgh"[..], &[(3, 2)][..]));
        tape.skippable = 0;
        push(&mut stream, &mut tape, 110, b"k", None);
        stream.finish(&mut tape);
        assert_eq!(tape.gaps, [(3, 2), (6, 2)]);
        assert_eq!(tape.bytes, b"abcfghk");
    }

    #[test]
    fn the_first_copy_wins_and_another_content_is_told() {
        let (mut stream, mut tape) = (Stream::default(), Tape::default());
        push(&mut stream, &mut tape, 100, b"abc", Some(100));
        push(&mut stream, &mut tape, 100, b"abc", None);
        assert_eq!(tape.conflicts, 0);
        push(&mut stream, &mut tape, 100, b"aXc", None);
        assert_eq!(tape.conflicts, 1, "given bytes came again with another content");
        push(&mut stream, &mut tape, 106, b"ghi", None);
        push(&mut stream, &mut tape, 105, b"fGHIj", None);
        assert_eq!(tape.conflicts, 2, "held bytes came again with another content");
        push(&mut stream, &mut tape, 103, b"de", None);
        assert_eq!(tape.bytes, b"abcdefghij");
    }

    #[test]
    fn a_copy_of_a_part_with_another_content_is_told() {
        for (seq, copy) in
            [(100, &b"aX"[..]), (102, b"Xd"), (99, b"?aX"), (104, b"Xfg"), (103, b"d?")]
        {
            let (mut stream, mut tape) = (Stream::default(), Tape::default());
            push(&mut stream, &mut tape, 100, b"abc", Some(100));
            push(&mut stream, &mut tape, 103, b"de", None);
            push(&mut stream, &mut tape, 101, b"bcd", None);
            assert_eq!(tape.conflicts, 0);
            push(&mut stream, &mut tape, seq, copy, None);
            assert_eq!(tape.conflicts, 1, "{seq}");
        }
    }

    #[test]
    fn a_copy_of_a_long_gone_part_tells_nothing() {
        let (mut stream, mut tape) = (Stream::default(), Tape::default());
        push(&mut stream, &mut tape, 100, b"abc", Some(100));
        push(&mut stream, &mut tape, 103, &[b'z'; RECENT_LEN_MAX], None);
        push(&mut stream, &mut tape, 100, b"abX", None);
        assert_eq!(tape.conflicts, 0);
        push(&mut stream, &mut tape, 100, &[b'z'; RECENT_LEN_MAX + 3], None);
        assert_eq!(tape.conflicts, 0);
        let mut copy = [b'z'; 5];
        copy[4] = b'X';
        push(&mut stream, &mut tape, 100, &copy, None);
        assert_eq!(tape.conflicts, 1);
    }

    #[test]
    fn the_garbage_of_a_keep_alive_probe_is_no_other_copy() {
        let (mut stream, mut tape) = (Stream::default(), Tape::default());
        push(&mut stream, &mut tape, 100, b"ab", Some(100));
        push(&mut stream, &mut tape, 102, b"c", None);
        push(&mut stream, &mut tape, 102, b"\0", None);
        assert_eq!(tape.conflicts, 0);
        push(&mut stream, &mut tape, 101, b"\0", None);
        assert_eq!(tape.conflicts, 1);
    }

    #[test]
    fn a_stream_joined_midway_starts_at_the_first_segment_that_begins_something() {
        let (mut stream, mut tape) = (Stream::default(), Tape::default());
        push(&mut stream, &mut tape, 500, b"body", None);
        push(&mut stream, &mut tape, 514, b"after", None);
        push(&mut stream, &mut tape, 504, b"GET / HTTP", None);
        assert_eq!(tape.bytes, b"GET / HTTPafter");
    }

    #[test]
    fn a_lost_tail_is_told_by_the_fin_behind_it_or_by_its_acknowledgement() {
        let fin = |seq| tcp(CLIENT, SERVER, TcpFlags::ACK | TcpFlags::FIN, seq, 0, 0);
        let ack = |ack| tcp(SERVER, CLIENT, TcpFlags::ACK, 500, ack, 0);
        for (last, gaps) in [
            (fin(103), vec![]),
            (fin(110), vec![(3, 7)]),
            (ack(90), vec![]),
            (ack(103), vec![]),
            // The client's FIN may not have been captured.
            (ack(104), vec![]),
            (ack(105), vec![(3, 2)]),
            (tcp(CLIENT, SERVER, TcpFlags::ACK, 106, 0, 0), vec![(3, 3)]),
            (tcp(CLIENT, SERVER, TcpFlags::RST, 106, 0, 0), vec![]),
            (ack(103_u32.wrapping_add(AHEAD_MAX + 1)), vec![]),
        ] {
            let (mut stream, mut tape) = (Stream::default(), Tape::default());
            push(&mut stream, &mut tape, 100, b"abc", Some(100));
            stream.segment(&last, b"", None, &mut tape);
            stream.finish(&mut tape);
            assert_eq!(tape.gaps, gaps, "{last:?}");
        }
    }

    #[test]
    fn a_fin_of_another_time_does_not_close_the_stream() {
        let (mut stream, mut tape) = (Stream::default(), Tape::default());
        push(&mut stream, &mut tape, 100, b"abc", Some(100));
        let fin = tcp(CLIENT, SERVER, TcpFlags::ACK | TcpFlags::FIN, 50, 0, 0);
        stream.segment(&fin, b"", None, &mut tape);
        push(&mut stream, &mut tape, 103, b"def", None);
        assert!(!tape.closed);
        let fin = tcp(CLIENT, SERVER, TcpFlags::ACK | TcpFlags::FIN, 106, 0, 0);
        stream.segment(&fin, b"", None, &mut tape);
        assert!(!tape.closed, "it may be forged as long as the other side goes on");
        let fin = tcp(SERVER, CLIENT, TcpFlags::ACK | TcpFlags::FIN, 900, 107, 0);
        stream.segment(&fin, b"", None, &mut tape);
        assert!(tape.closed);
        assert_eq!(tape.bytes, b"abcdef");
    }
}
