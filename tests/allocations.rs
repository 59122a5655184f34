//! A packet of a connection that is known costs no allocation.

use etherparse::PacketBuilder;
use portreeve::capture::Block;
use portreeve::decode::{Decoded, Decoder, Options};
use portreeve::inspect::secret::Fingerprinter;
use portreeve::inspect::{self, EvidenceKind, Tools};
use portreeve::packet::{LinkType, Packet, PointId, Timestamp};
use portreeve::pipeline::shard::Shard;

/// Exchanges on one connection; some warm it up, as what is remembered of it has a bound.
const EXCHANGES: usize = 500;
const WARM: usize = 40;

/// Writes the frames of connections, and remembers the numbers.
struct Wire {
    block: Block,
    next: [u32; 2],
}

impl Wire {
    fn new() -> Self {
        Self { block: Block::default(), next: [1000, 9000] }
    }

    fn now(&self) -> Timestamp {
        Timestamp(i64::try_from(self.block.frames.len()).unwrap() * 1000)
    }

    /// Sends from the client, 0, or from the server, 1.
    fn tcp(&mut self, from: usize, port: u16, flags: &str, payload: &[u8]) {
        let (addresses, ports) = ([[10, 0, 0, 1], [10, 0, 0, 2]], [40_000, port]);
        let to = 1 - from;
        let ip = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(addresses[from], addresses[to], 64);
        let mut head = ip.tcp(ports[from], ports[to], self.next[from], 60_000);
        if flags.contains('S') {
            head = head.syn();
        }
        if flags.contains('A') {
            head = head.ack(self.next[to]);
        }
        let mut frame = Vec::new();
        head.write(&mut frame, payload).unwrap();
        let (time, len) = (self.now(), u32::try_from(frame.len()).unwrap());
        self.block.push(time, PointId(0), LinkType::ETHERNET, len, &frame);
        let spent = payload.len() + usize::from(flags.contains('S'));
        self.next[from] += u32::try_from(spent).unwrap();
    }

    fn udp(&mut self, port: u16, payload: &[u8]) {
        let ip = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
        let mut frame = Vec::new();
        ip.udp(40_000, port).write(&mut frame, payload).unwrap();
        let (time, len) = (self.now(), u32::try_from(frame.len()).unwrap());
        self.block.push(time, PointId(0), LinkType::ETHERNET, len, &frame);
    }

    fn opening(&mut self, port: u16) {
        self.tcp(0, port, "S", &[]);
        self.tcp(1, port, "SA", &[]);
        self.tcp(0, port, "A", &[]);
    }

    fn exchange(&mut self, port: u16) {
        let request = b"GET /a HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer abcdefgh\r\n\r\n";
        self.tcp(0, port, "A", request);
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n";
        let body = [b'x'; 4000];
        // A full segment: what is shorter may turn out to issue a token, and is held.
        let (first, rest) = body.split_at(1300);
        self.tcp(1, port, "A", &[head.as_bytes(), first].concat());
        for piece in rest.chunks(1300) {
            self.tcp(1, port, "A", piece);
            self.tcp(0, port, "A", &[]);
        }
    }
}

/// Decodes and looks into the frames; returns the allocations behind the first ones of them.
fn allocations(wire: &mut Wire, warm: usize) -> (u64, Shard) {
    let tools =
        Tools { options: inspect::Options::default(), fingerprinter: Fingerprinter::new(b"key") };
    let whole = wire.block.frames.len();
    let (mut decoder, mut shard) = (Decoder::new(Options::default()), Shard::default());
    let mut packets: Vec<Packet> = Vec::with_capacity(wire.block.frames.len());
    let mut take =
        |frames: std::ops::Range<usize>, packets: &mut Vec<Packet>, shard: &mut Shard| {
            packets.clear();
            for index in frames {
                match decoder.decode(&mut wire.block, index, index as u64 + 1) {
                    Decoded::Packet(packet) => packets.push(packet),
                    other => panic!("{other:?}"),
                }
            }
            for packet in packets.iter() {
                shard.packet(packet, &wire.block.bytes, &tools);
            }
        };
    take(0..warm, &mut packets, &mut shard);
    let counted =
        allocation_counter::measure(|| take(warm..whole, &mut packets, &mut shard)).count_total;
    (counted, shard)
}

#[test]
fn requests_with_a_token_on_a_known_connection_allocate_nothing() {
    let mut wire = Wire::new();
    wire.opening(8280);
    let mut warm = 0;
    for number in 0..EXCHANGES {
        if number == WARM {
            warm = wire.block.frames.len();
        }
        wire.exchange(8280);
    }
    let (counted, shard) = allocations(&mut wire, warm);
    let facts = shard.flows().find_map(|(number, _)| shard.facts(number)).expect("they were read");
    let tokens = facts.evidence.iter().find(|evidence| evidence.kind == EvidenceKind::BearerToken);
    assert_eq!(tokens.map(|evidence| evidence.count), Some(EXCHANGES as u64));
    assert_eq!(counted, 0, "allocations");
}

#[test]
fn what_is_decided_or_unknown_allocates_nothing() {
    let mut wire = Wire::new();
    wire.opening(9443);
    for _ in 0..20 {
        wire.tcp(0, 9443, "A", &[0xff; 300]);
        wire.tcp(1, 9443, "A", &[0xfe; 300]);
        wire.udp(9999, b"nobody knows what this is");
    }
    let warm = wire.block.frames.len();
    for _ in 0..1000 {
        wire.tcp(0, 9443, "A", &[0xff; 300]);
        wire.tcp(1, 9443, "A", &[0xfe; 1300]);
        wire.udp(9999, b"nobody knows what this is");
    }
    let (counted, shard) = allocations(&mut wire, warm);
    assert_eq!(shard.len(), 2);
    assert_eq!(counted, 0, "allocations");
}
