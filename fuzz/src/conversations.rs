//! Connections: segments, streams of one protocol, and what may be shown of them.

use portreeve::capture::Block;
use portreeve::flow::stream::HELD_BYTES_MAX;
use portreeve::inspect::redact::{Redactor, Shown};
use portreeve::inspect::{Facts, Inspection, Inspector, Progress, Protocol};
use portreeve::packet::{
    At, EncapId, FlowKey, LinkType, Packet, PointId, Side, Span, TcpFlags, TcpHeader, Timestamp,
    Transport,
};
use portreeve::pipeline::shard::Shard;

use super::script::{Op, ops};
use super::tools;

/// Ports of [`reassembly`]'s first byte, which some protocols ask for.
const PORTS: [u16; 8] = [8280, 8243, 1883, 5672, 389, 7611, 11_111, 9042];

/// Facts that one flow may have, whatever is said in it.
const EVIDENCE_MAX: usize = 4096;

/// Makes the packets of one five-tuple.
struct Segments {
    shard: Shard,
    ports: (u16, u16),
    next: [u32; 2],
    opened: u32,
    frame: u64,
}

impl Segments {
    fn send(&mut self, side: usize, seq: u32, flags: u8, bytes: &[u8], cut_len: u32) {
        let ends = [([10, 0, 0, 1], self.ports.0), ([10, 0, 0, 2], self.ports.1)];
        let (key, from) =
            FlowKey::v4(ends[side], ends[1 - side], Transport::Tcp, EncapId::default());
        self.frame += 1;
        let mut block = Block::default();
        let time = Timestamp(i64::try_from(self.frame).expect("few frames") * 1000);
        block.push(time, PointId(0), LinkType::RAW, 0, bytes);
        let len = u32::try_from(bytes.len()).expect("a small input");
        let packet = Packet {
            key,
            hash: 7,
            at: At { frame: self.frame, time },
            wire_len: len.saturating_add(cut_len).saturating_add(40),
            frames: 1,
            payload: Span { start: 0, len },
            cut_len,
            tcp: TcpHeader {
                seq,
                ack: self.next[1 - side],
                window: 65_535,
                flags: TcpFlags(flags),
            },
            point: PointId(0),
            side: from,
            outer: 0,
            counted_only: false,
            merged: false,
        };
        let _ = self.shard.packet(&packet, &block.bytes, &tools());
    }

    /// Sends the next bytes of a side.
    fn go_on(&mut self, side: usize, flags: u8, bytes: &[u8], cut_len: u32) {
        self.send(side, self.next[side], TcpFlags::ACK | flags, bytes, cut_len);
        let len = u32::try_from(bytes.len()).expect("a small input").wrapping_add(cut_len);
        self.next[side] = self.next[side].wrapping_add(len);
    }

    fn shake_hands(&mut self) {
        self.opened += 1;
        // The second number wraps around soon.
        self.next = [1000_u32.wrapping_mul(self.opened), u32::MAX - 100];
        self.send(0, self.next[0], TcpFlags::SYN, &[], 0);
        self.next[0] = self.next[0].wrapping_add(1);
        self.send(1, self.next[1], TcpFlags::SYN | TcpFlags::ACK, &[], 0);
        self.next[1] = self.next[1].wrapping_add(1);
    }
}

/// Lets a flow table take the segments of one five-tuple, in and out of order. The first byte chooses the
/// server's port and whether the handshake was seen.
pub fn reassembly(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let ports = (40_000, PORTS[usize::from(choice) % PORTS.len()]);
    let mut segments =
        Segments { shard: Shard::default(), ports, next: [1, 1], opened: 0, frame: 0 };
    if choice & 0x80 == 0 {
        segments.shake_hands();
    }
    let (mut side, mut short) = (0, 0);
    let mut late: Option<(u32, u32)> = None;
    for op in ops(rest) {
        match op {
            Op::Data(bytes) => {
                // Frames are not longer.
                for bytes in bytes.chunks(1460) {
                    segments.go_on(side, 0, bytes, std::mem::take(&mut short));
                    if let Some((seq, len)) = late.take() {
                        let missing = &bytes[..bytes.len().min(len as usize)];
                        segments.send(side, seq, TcpFlags::ACK, missing, 0);
                    }
                }
            }
            Op::Turn => side = 1 - side,
            Op::Gap(len) => segments.next[side] = segments.next[side].wrapping_add(len),
            Op::Back(len) => segments.next[side] = segments.next[side].wrapping_sub(len),
            Op::Cut => segments.send(side, segments.next[side], TcpFlags::ACK, &[], 0),
            Op::Close => segments.go_on(side, TcpFlags::FIN, &[], 0),
            Op::Reset => segments.go_on(side, TcpFlags::RST, &[], 0),
            Op::Short(len) => short = len.min(65_535),
            Op::Reopen => segments.shake_hands(),
            Op::Ahead(len) => {
                late = Some((segments.next[side], len));
                segments.next[side] = segments.next[side].wrapping_add(len);
            }
        }
    }
    let mut shard = segments.shard;
    shard.finish(&tools());
    let total: u64 = shard.flows().map(|(_, flow)| flow.packets_total()).sum();
    assert_eq!(total, segments.frame, "every packet is in one flow");
    for (number, _) in shard.flows() {
        shard.facts(number).into_iter().for_each(bounded);
    }
}

/// Facts stay few, whatever is said.
fn bounded(facts: &Facts) {
    assert!(facts.evidence.len() <= EVIDENCE_MAX, "{} pieces of evidence", facts.evidence.len());
    assert!(facts.learned.len() <= EVIDENCE_MAX, "{} learned ports", facts.learned.len());
}

/// Reads HTTP/1. The first byte says on which side the client is and what was joined midway.
pub fn http1(data: &[u8]) {
    converse(Protocol::Http, data);
}

/// Reads HTTP/2.
pub fn http2(data: &[u8]) {
    converse(Protocol::Http2, data);
}

/// Reads TLS.
pub fn tls(data: &[u8]) {
    converse(Protocol::Tls, data);
}

/// Reads the protocol that the first byte names.
pub fn inspectors(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    converse(Protocol::ALL[usize::from(choice) % Protocol::ALL.len()], rest);
}

/// Lets the inspector of a protocol read a conversation.
fn converse(protocol: Protocol, data: &[u8]) {
    let Some((&setting, rest)) = data.split_first() else { return };
    let client = if setting & 1 == 0 { Side::High } else { Side::Low };
    let midway = [setting & 2 != 0, setting & 4 != 0];
    let single_bytes = setting & 8 != 0;
    let mut inspection = Inspection::begin(protocol, client, midway);
    let mut facts = Facts::default();
    let tools = tools();
    let (mut side, mut frame) = (client, 0);
    let mut closed = [false; 2];
    for op in ops(rest) {
        if closed[side.index()] && op != Op::Turn {
            continue;
        }
        frame += 1;
        let at = At { frame, time: Timestamp(0) };
        let mut context = tools.context(&mut facts);
        let progress = match op {
            Op::Data(bytes) => {
                let size = if single_bytes { 1 } else { bytes.len() };
                let mut give = |piece| inspection.data(side, at, piece, &mut context);
                bytes.chunks(size).map(&mut give).find(|progress| *progress == Progress::Enough)
            }
            Op::Turn => {
                side = side.other();
                None
            }
            Op::Gap(len) | Op::Short(len) | Op::Ahead(len) => {
                let gone = inspection.skippable(side).min(u64::from(len));
                Some(inspection.gap(side, gone.max(u64::from(len)), &mut context))
            }
            Op::Close => {
                closed[side.index()] = true;
                Some(inspection.close(side, &mut context))
            }
            Op::Back(_) | Op::Cut | Op::Reopen | Op::Reset => None,
        };
        if progress == Some(Progress::Enough) {
            break;
        }
    }
    for side in Side::BOTH.into_iter().filter(|side| !closed[side.index()]) {
        let _ = inspection.close(side, &mut tools.context(&mut facts));
    }
    bounded(&facts);
}

/// Overwrites a conversation of the protocol that the first byte names.
pub fn redact(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let protocol = Protocol::ALL[usize::from(choice) % Protocol::ALL.len()];
    let mut datagram = rest.to_vec();
    portreeve::inspect::redact::datagram(Some(protocol), &mut datagram);
    let mut redactor = Redactor::new(protocol);
    let mut shown = [Shown::default(), Shown::default()];
    let mut streams = [Vec::new(), Vec::new()];
    let mut side = Side::Low;
    for op in ops(rest) {
        let (shown, stream) = (&mut shown[side.index()], &mut streams[side.index()]);
        let at = stream.len() as u64;
        match op {
            Op::Data(bytes) if redactor.wants(side) => {
                redactor.data(side, at, bytes, shown);
                stream.extend_from_slice(bytes);
            }
            Op::Gap(len) => {
                // What is missing is zero in the stream to compare with; it is not shown.
                let len = len.min(4096);
                redactor.gap(side, u64::from(len), shown);
                stream.resize(stream.len() + len as usize, 0);
            }
            Op::Turn => side = side.other(),
            Op::Close => redactor.close(side, shown),
            _ => {}
        }
        let _ = redactor.skippable(side);
    }
    for side in Side::BOTH {
        redactor.close(side, &mut shown[side.index()]);
        let (shown, stream) = (&mut shown[side.index()], &streams[side.index()]);
        shown.shrink();
        assert!(
            shown.held_bytes() <= HELD_BYTES_MAX + 64 * stream.len(),
            "what is shown was there"
        );
        // However the stream is cut, the same bytes are shown.
        let mut whole = stream.clone();
        shown.write(0, &mut whole);
        let mut halves = stream.clone();
        let (front, back) = halves.split_at_mut(stream.len() / 3);
        shown.write(0, front);
        shown.write(front.len() as u64, back);
        assert_eq!(whole, halves, "a cut shows nothing else");
    }
}
