//! Streams cut, shuffled and repeated in every way, as captures in memory through the whole library:
//! each presented token counts once, whatever TCP did to it.

use etherparse::PacketBuilder;
use proptest::prelude::*;

use crate::support::{Sum, evidence, gathered, own, run_with_input, summary};

/// What one client says in one connection, with the requests of it that present a token.
const STREAMS: &[(&str, u64)] = &[
    ("GET / HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer CANARY-1\r\n\r\n", 1),
    ("GET /?access_token=CANARY-1&x=1 HTTP/1.1\r\nHost: gw\r\n\r\n", 1),
    (
        "POST /a HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: 23\r\n\r\nx=1&access_token=CANARY",
        1,
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1f\r\nGET / HTTP/1.1\r\nAuthorizatio:\r\n\
         \r\n0\r\n\r\nGET / HTTP/1.1\r\nAuthorization:\r\n Bearer\tCANARY-1\r\n\r\n",
        1,
    ),
    (
        "GET /a HTTP/1.1\r\nAuthorization: Bearer CANARY-1\r\n\r\nGET /b HTTP/1.1\r\n\r\n\
         GET /c HTTP/1.1\r\nauthorization : bearer CANARY-2\r\n\r\n",
        2,
    ),
    (
        "POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\nAuthorization: Bearer CANARY-1\
         GET / HTTP/1.1\r\nAuthorization: Basic eDp5\r\n\r\n",
        0,
    ),
    ("GET / HTTP/1.1\r\nAuthorization: Bearer \r\nX-Authorization: Bearer CANARY-1\r\n\r\n", 0),
];

const CLIENT: [u8; 4] = [10, 0, 2, 7];
const GATEWAY: [u8; 4] = [10, 0, 3, 10];

/// A pcap file in the making.
struct Capture {
    bytes: Vec<u8>,
    micros: u32,
}

/// One segment: where it begins in its stream, and its bytes.
type Segment<'a> = (usize, &'a [u8]);

impl Capture {
    fn new() -> Self {
        let mut bytes = Vec::new();
        for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1_u32] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        Self { bytes, micros: 0 }
    }

    fn frame(&mut self, frame: &[u8]) {
        self.micros += 50;
        let len = u32::try_from(frame.len()).unwrap();
        for word in [1_795_425_300 + self.micros / 1_000_000, self.micros % 1_000_000, len, len] {
            self.bytes.extend_from_slice(&word.to_le_bytes());
        }
        self.bytes.extend_from_slice(frame);
    }

    /// Appends a segment of the client, or of the gateway.
    fn segment(
        &mut self,
        port: u16,
        from_client: bool,
        seq: u32,
        ack: u32,
        flags: &str,
        data: &[u8],
    ) {
        let (src, dst) = if from_client { (CLIENT, GATEWAY) } else { (GATEWAY, CLIENT) };
        let (from, to) = if from_client { (port, 8280) } else { (8280, port) };
        let packet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4(src, dst, 64)
            .tcp(from, to, seq, 64240);
        let packet = if flags.contains('S') { packet.syn() } else { packet };
        let packet = if flags.contains('F') { packet.fin() } else { packet };
        let packet = if flags.contains('A') { packet.ack(ack) } else { packet };
        let mut frame = Vec::new();
        packet.write(&mut frame, data).unwrap();
        self.frame(&frame);
    }

    /// Appends a connection whose client sends segments in the given order.
    fn connection(&mut self, port: u16, first: u32, stream: &[u8], segments: &[Segment<'_>]) {
        let (start, end) = (first.wrapping_add(1), 77_000);
        self.segment(port, true, first, 0, "S", b"");
        self.segment(port, false, end - 1, start, "SA", b"");
        self.segment(port, true, start, end, "A", b"");
        for (at, data) in segments {
            let seq = start.wrapping_add(u32::try_from(*at).unwrap());
            self.segment(port, true, seq, end, "A", data);
        }
        let after = start.wrapping_add(u32::try_from(stream.len()).unwrap());
        self.segment(port, false, end, after, "A", b"HTTP/1.1 204 No Content\r\n\r\n");
        self.segment(port, true, after, end + 27, "FA", b"");
        self.segment(port, false, end + 27, after.wrapping_add(1), "FA", b"");
    }
}

fn bearers(capture: Capture, workers: usize) -> Sum {
    let found = evidence(&gathered(capture.bytes, workers));
    found.get("plaintext-bearer").copied().unwrap_or_default()
}

/// Cuts a stream into segments of the given lengths; the last one repeats.
fn cut<'a>(stream: &'a [u8], lens: &[usize]) -> Vec<Segment<'a>> {
    let (mut segments, mut at, mut index) = (Vec::new(), 0, 0);
    while at < stream.len() {
        let len = lens[index.min(lens.len() - 1)].min(stream.len() - at);
        segments.push((at, &stream[at..at + len]));
        (at, index) = (at + len, index + 1);
    }
    segments
}

#[test]
fn a_token_cut_at_any_byte_counts_once() {
    for (stream, expected) in STREAMS {
        let bytes = stream.as_bytes();
        for swapped in [false, true] {
            let mut capture = Capture::new();
            for at in 1..bytes.len() {
                let mut segments = vec![(0, &bytes[..at]), (at, &bytes[at..])];
                if swapped {
                    segments.reverse();
                }
                capture.connection(20_000 + u16::try_from(at).unwrap(), 9, bytes, &segments);
            }
            let cuts = bytes.len() as u64 - 1;
            let flows = if *expected > 0 { cuts } else { 0 };
            let sum = Sum { flows, count: expected * cuts };
            assert_eq!(bearers(capture, 0), sum, "{stream:?}, swapped: {swapped}");
        }
    }
}

#[test]
fn single_bytes_in_any_direction_and_twice_count_once() {
    let mut capture = Capture::new();
    let (mut flows, mut count) = (0, 0);
    for (index, (stream, expected)) in (0_u16..).zip(STREAMS) {
        let bytes = stream.as_bytes();
        let forward = cut(bytes, &[1]);
        let backward: Vec<_> = forward.iter().rev().copied().collect();
        let twice: Vec<_> = forward.iter().flat_map(|segment| [*segment; 2]).collect();
        let again = [forward.clone(), vec![(0, bytes)]].concat();
        // The last one wraps around in the middle of the stream.
        let orders =
            [(forward, 9), (backward, 9), (twice.clone(), 9), (again, 9), (twice, u32::MAX - 20)];
        for (order, (segments, first)) in (0_u16..).zip(&orders) {
            capture.connection(20_000 + 10 * index + order, *first, bytes, segments);
        }
        flows += if *expected > 0 { 5 } else { 0 };
        count += 5 * expected;
    }
    assert_eq!(bearers(capture, 2), Sum { flows, count });
}

#[test]
fn a_lost_request_is_a_hole_wherever_it_stood() {
    let plain = b"GET / HTTP/1.1\r\n\r\n";
    let token = STREAMS[0].0.as_bytes();
    let stream = [&plain[..], token, plain].concat();
    let (second, third) = (plain.len(), plain.len() + token.len());
    let (all, first) = ((0, &stream[..]), (0, &plain[..]));
    for (segments, code) in [
        (vec![all], 1),
        (vec![first, (third, plain)], 3),
        (vec![first], 3),
        (vec![(second, &stream[second..])], 3),
        (vec![], 3),
    ] {
        let mut capture = Capture::new();
        capture.connection(20_000, 9, &stream, &segments);
        let ran = run_with_input(&["analyze", "--format", "ndjson", "-"], &capture.bytes);
        assert_eq!(ran.code, code, "{segments:?}: {}", ran.err);
        let records = ran.records();
        let uninspected = &own(summary(&records), "ledger")["total"]["uninspected"];
        assert_eq!(uninspected["hole"], if code == 3 { 1.into() } else { serde_json::Value::Null });
    }
    // Without the answer, whose bytes nobody knows of, the handshake and the ends are all there is.
    let mut capture = Capture::new();
    capture.segment(20_000, true, 9, 0, "S", b"");
    capture.segment(20_000, false, 99, 10, "SA", b"");
    capture.segment(20_000, true, 10, 100, "A", b"");
    capture.segment(20_000, true, 80, 100, "FA", b"");
    let ran = run_with_input(&["analyze", "-"], &capture.bytes);
    assert_eq!(ran.code, 3, "{}", ran.err);
}

/// Several streams of one connection, one after the other.
fn conversation() -> impl Strategy<Value = (Vec<u8>, u64)> {
    prop::collection::vec(0..STREAMS.len(), 1..4).prop_map(|picks| {
        let bytes = picks.iter().flat_map(|pick| STREAMS[*pick].0.bytes()).collect();
        (bytes, picks.iter().map(|pick| STREAMS[*pick].1).sum())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn any_cuts_in_any_order_with_any_repetition_count_once(
        (bytes, expected) in conversation(),
        lens in prop::collection::vec(1_usize..60, 1..20),
        reach in 1_u32..9,
        keys in prop::collection::vec(any::<u32>(), 64),
        repeated in prop::collection::vec((any::<prop::sample::Index>(), 1_usize..90), 0..6),
        first in prop_oneof![any::<u32>(), (u32::MAX - 300)..=u32::MAX],
        workers in 0_usize..3,
    ) {
        let segments = cut(&bytes, &lens);
        // Segments come late by up to a few places: what networks and capture cards do.
        let mut places: Vec<_> = (0_u32..).zip(segments).collect();
        places.sort_by_key(|(place, _)| place + keys[*place as usize % keys.len()] % reach);
        let mut segments: Vec<_> = places.into_iter().map(|(_, segment)| segment).collect();
        for (at, len) in &repeated {
            let at = at.index(bytes.len());
            let end = (at + len).min(bytes.len());
            let place = keys[at % keys.len()] as usize % (segments.len() + 1);
            segments.insert(place, (at, &bytes[at..end]));
        }
        let mut capture = Capture::new();
        capture.connection(20_001, first, &bytes, &segments);
        let flows = u64::from(expected > 0);
        prop_assert_eq!(bearers(capture, workers), Sum { flows, count: expected });
    }
}
