//! Packets for tests: a connection between two fixed ends.

use foldhash::fast::FixedState;

use crate::packet::{
    At, EncapId, FiveTuple, FlowKey, Packet, PointId, Span, TcpFlags, TcpHeader, Timestamp,
    Transport,
};

/// The end that opens connections in tests.
pub(crate) const CLIENT: &str = "10.0.0.9:40000";
/// The end that answers.
pub(crate) const SERVER: &str = "10.0.0.2:8280";

/// A TCP packet of `len` payload bytes from one end to the other.
pub(crate) fn tcp(from: &str, to: &str, flags: u8, seq: u32, ack: u32, len: u32) -> Packet {
    let mut packet = bare(from, to, Transport::Tcp);
    packet.tcp = TcpHeader { seq, ack, window: 65_535, flags: TcpFlags(flags) };
    packet.payload = Span { start: 0, len };
    packet.wire_len = 54 + len;
    packet
}

/// A UDP packet of `len` payload bytes, at a time.
pub(crate) fn udp(from: &str, to: &str, seconds: i64, len: u32) -> Packet {
    let mut packet = bare(from, to, Transport::Udp);
    packet.at.time = Timestamp::from_parts(seconds, 0);
    packet.payload = Span { start: 0, len };
    packet.wire_len = 42 + len;
    packet
}

fn bare(from: &str, to: &str, transport: Transport) -> Packet {
    let tuple = FiveTuple {
        src: from.parse().expect("an address in a test"),
        dst: to.parse().expect("an address in a test"),
        transport,
    };
    let (key, side) = FlowKey::new(tuple, EncapId::default());
    Packet {
        key,
        hash: key.hash64(&FixedState::with_seed(7)),
        at: At::default(),
        wire_len: 0,
        frames: 1,
        payload: Span::default(),
        cut_len: 0,
        tcp: TcpHeader::default(),
        point: PointId(0),
        outer: 0,
        side,
        counted_only: false,
        merged: false,
    }
}
