//! Exchanges of datagrams.

use portreeve::inspect::Progress;
use portreeve::inspect::datagrams::Datagrams;
use portreeve::packet::{
    At, EncapId, FlowKey, Packet, PointId, Side, Span, TcpHeader, Timestamp, Transport,
};

use super::script::{Op, ops};
use super::tools;

/// Ports of the first byte, which some protocols ask for.
const PORTS: [u16; 8] = [53, 88, 123, 161, 389, 443, 514, 45_564];

/// Looks into an exchange; a turn or a cut ends a datagram.
pub fn datagrams(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let server = ([10, 0, 0, 2], PORTS[usize::from(choice) % PORTS.len()]);
    let (key, client) =
        FlowKey::v4(([10, 0, 0, 1], 40_000), server, Transport::Udp, EncapId::default());
    let (mut exchange, tools) = (Datagrams::default(), tools());
    let mut sender: Side = client;
    let (mut bytes, mut cut_len, mut frame) = (Vec::new(), 0, 0);
    for op in ops(rest).chain([Op::Cut]) {
        match op {
            Op::Data(more) => bytes.extend_from_slice(more),
            Op::Short(len) => cut_len = len.min(65_535),
            Op::Turn | Op::Cut => {
                frame += 1;
                let len = u32::try_from(bytes.len()).expect("a small input");
                let packet = Packet {
                    key,
                    hash: 0,
                    at: At { frame, time: Timestamp(0) },
                    wire_len: len + 28,
                    frames: 1,
                    payload: Span { start: 0, len },
                    cut_len,
                    tcp: TcpHeader::default(),
                    point: PointId(0),
                    side: sender,
                    outer: 0,
                    counted_only: false,
                    merged: false,
                };
                if exchange.packet(&packet, &bytes, &tools) == Progress::Enough {
                    break;
                }
                bytes.clear();
                cut_len = 0;
                if op == Op::Turn {
                    sender = sender.other();
                }
            }
            _ => {}
        }
    }
    let _ = exchange.finish();
}
