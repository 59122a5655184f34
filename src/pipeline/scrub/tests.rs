//! Frames in which payload stands where headers are looked for.

use std::io::Cursor;

use etherparse::PacketBuilder;

use super::{Found, Reading, Scope, Scrubbed, Subjects, scrub};
use crate::capture::Source;
use crate::capture::file::{Files, Options};
use crate::decode;
use crate::inspect::secret::Fingerprinter;
use crate::inspect::{self, Tools};
use crate::pipeline::{Config, Gathered, Workers, gather};

const MEMORY: u64 = 256 << 20;

const SECRET: &[u8] = b"CANARY-0123456789-abcdefghijklmnopqrstuvwxyz";

fn pcap(link: u32, frames: &[(Vec<u8>, usize)]) -> Vec<u8> {
    let words = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 0, link];
    let mut file: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    for (bytes, wire_len) in frames {
        let lens = [bytes.len(), *wire_len].map(|len| u32::try_from(len).unwrap());
        file.extend([[1, 0], lens].concat().iter().flat_map(|word| word.to_le_bytes()));
        file.extend(bytes);
    }
    file
}

fn run(file: &[u8]) -> Gathered {
    let mut source = Files::from_reader("t", Cursor::new(file.to_vec()), &Options::default());
    let tools =
        Tools { options: inspect::Options::default(), fingerprinter: Fingerprinter::new(b"test") };
    let mut config = Config {
        workers: Workers::Inline,
        decode: decode::Options::default(),
        separate: false,
        since: None,
        until: None,
        filter: None,
        on_progress: Box::new(|_| {}),
        on_broken: Box::new(|_| {}),
    };
    gather(&mut source, &mut config, &tools).unwrap()
}

fn scrubbed(file: &[u8]) -> Vec<u8> {
    scrubbed_within(file, MEMORY).0
}

fn scrubbed_within(file: &[u8], memory: u64) -> (Vec<u8>, Scrubbed) {
    let subjects =
        Subjects::new(&run(file), &Found::new(Scope::Everything, MEMORY), Scope::Everything);
    let open = || -> crate::error::Result<Box<dyn Source>> {
        let bytes = Cursor::new(file.to_vec());
        Ok(Box::new(Files::from_reader("t", bytes, &Options::default())))
    };
    let mut reading = Reading {
        decode: decode::Options::default(),
        separate: false,
        since: None,
        until: None,
        filter: None,
    };
    let mut out = Vec::new();
    let scrubbed =
        scrub(open, &mut reading, &subjects, Scope::Everything, memory, &mut out).unwrap();
    (out, scrubbed)
}

/// Returns what must be the same: each flow's packets and bytes, whether it was refused, and the stops.
fn outline(file: &[u8]) -> (Vec<String>, String) {
    let gathered = run(file);
    let flows = gathered.shards.iter().flat_map(crate::pipeline::shard::Shard::flows);
    let mut flows: Vec<_> = flows
        .map(|(_, flow)| {
            format!("{:?} {:?} {:?} {}", flow.key, flow.packets, flow.bytes, flow.is_refused())
        })
        .collect();
    flows.sort();
    (flows, format!("{:?}", gathered.front.ledger.total().stopped))
}

/// A segment whose data are the secret.
fn segment() -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(4000, 8280, 1, 100);
    builder.write(&mut bytes, SECRET).unwrap();
    bytes
}

fn with(mut bytes: Vec<u8>, at: usize, value: u8) -> Vec<u8> {
    bytes[at] = value;
    bytes
}

fn ip(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let head = [0x45, 0, len[0], len[1], 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1];
    [&head, payload].concat()
}

#[test]
fn payload_in_the_place_of_headers_is_overwritten() {
    let whole = segment();
    let udp = |len: u8, payload: &[u8]| ip(17, &[&[1, 0, 2, 0, 0, len, 0, 0], payload].concat());
    let error = |quote: &[u8]| ip(1, &[&[3, 3, 0, 0, 0, 0, 0, 0], quote].concat());
    let mut samples = vec![
        // Data offsets that cannot be, and one that is too large.
        with(whole.clone(), 32, 0x00),
        with(whole.clone(), 32, 0x40),
        with(whole.clone(), 32, 0xf0),
        with(whole.clone(), 32, 0xa0),
        udp(3, SECRET),
        udp(0, SECRET),
        udp(200, SECRET),
        // Errors that quote more than the ports.
        error(&whole),
        error(&with(whole.clone(), 32, 0x00)),
        error(&udp(3, SECRET)),
        ip(1, &[&[8, 0, 0, 0, 0, 0, 0, 0], SECRET].concat()),
        // Nothing that makes a flow.
        ip(132, SECRET),
        ip(47, &[&[0, 0, 0x88, 0xcc], SECRET].concat()),
        ip(50, SECRET),
        ip(115, &[&[0, 0, 0, 9], SECRET].concat()),
        with(whole.clone(), 0, 0x44),
        with(whole.clone(), 0, 0x95),
        with(whole.clone(), 3, 5),
        [whole.clone(), SECRET.to_vec()].concat(),
        // A tunnel's port with something else in it.
        ip(17, &[&[1, 0, 0x12, 0xb5, 0, 8 + 44, 0, 0], SECRET].concat()),
        ip(17, &[&[1, 0, 0x12, 0xb5, 0, 16 + 44, 0, 0, 8, 0, 0, 0, 0, 0, 7, 0], SECRET].concat()),
        // A fragment whose others never come, and one that cannot be.
        with(with(whole.clone(), 6, 0x20), 7, 0),
        with(with(whole.clone(), 6, 0x3f), 7, 0xff),
    ];
    let frames: Vec<(Vec<u8>, usize)> = samples.drain(..).map(|f| (f.clone(), f.len())).collect();
    for (bytes, wire_len) in &frames {
        for cut in [bytes.len(), bytes.len() - 3, 60, 45, 38, 30, 24, 10] {
            let cut = cut.min(bytes.len());
            let file = pcap(101, &[(bytes[..cut].to_vec(), *wire_len)]);
            let out = scrubbed(&file);
            let leak = SECRET.windows(4).find(|part| memchr::memmem::find(&out, part).is_some());
            assert_eq!(leak, None, "{bytes:02x?} cut to {cut}: {out:02x?}");
            assert_eq!(outline(&file), outline(&out), "{bytes:02x?} cut to {cut}");
        }
    }
    let file = pcap(101, &frames);
    assert_eq!(outline(&file), outline(&scrubbed(&file)));
    let unknown = pcap(147, &[(SECRET.to_vec(), SECRET.len())]);
    assert_eq!(outline(&unknown), outline(&scrubbed(&unknown)));
}

/// Returns the number of times that bytes stand in others.
fn count(bytes: &[u8], part: &[u8]) -> usize {
    memchr::memmem::find_iter(bytes, part).count()
}

#[test]
fn flows_beyond_the_memory_are_overwritten_whole() {
    const CLIENTS: u16 = 9_000;
    let request = [b"GET /path HTTP/1.1\r\nAuthorization: Bearer ", SECRET, b"\r\n\r\n"].concat();
    let mut frames = Vec::new();
    // Every connection is open while all others begin, so that none is over when there is no room.
    for (seq, len) in [(1, 60), (61, request.len() - 60)] {
        for client in 0..CLIENTS {
            let [high, low] = client.to_be_bytes();
            let head = PacketBuilder::ipv4([10, 1, high, low], [10, 0, 0, 2], 64);
            let mut bytes = Vec::new();
            let from = usize::try_from(seq - 1).unwrap();
            let payload = &request[from..from + len];
            head.tcp(4000, 8280, seq, 100).ack(1).write(&mut bytes, payload).unwrap();
            frames.push((bytes.clone(), bytes.len()));
        }
    }
    let file = pcap(101, &frames);
    let (all, scrubbed) = scrubbed_within(&file, MEMORY);
    assert_eq!((scrubbed.frames, scrubbed.is_limited), (u64::from(CLIENTS) * 2, false));
    assert_eq!(count(&all, b"GET /path HTTP/1.1"), usize::from(CLIENTS));
    let (few, scrubbed) = scrubbed_within(&file, 1 << 20);
    assert_eq!((scrubbed.frames, scrubbed.is_limited), (u64::from(CLIENTS) * 2, true));
    assert!(count(&few, b"GET /path HTTP/1.1") < usize::from(CLIENTS));
    for out in [all, few] {
        assert_eq!(SECRET.windows(4).map(|part| count(&out, part)).sum::<usize>(), 0);
    }
}

#[test]
fn a_long_connection_is_overwritten_from_where_the_memory_ends() {
    const REQUESTS: usize = 4_000;
    let mut frames = Vec::new();
    let mut seq = 1;
    for _ in 0..REQUESTS {
        let request =
            [b"GET /path HTTP/1.1\r\nAuthorization: Bearer ", SECRET, b"\r\n\r\n"].concat();
        let head = PacketBuilder::ipv4([10, 1, 0, 1], [10, 0, 0, 2], 64);
        let mut bytes = Vec::new();
        head.tcp(4000, 8280, seq, 100).ack(1).write(&mut bytes, &request).unwrap();
        seq += u32::try_from(request.len()).unwrap();
        frames.push((bytes.clone(), bytes.len()));
    }
    let file = pcap(101, &frames);
    let (whole, scrubbed) = scrubbed_within(&file, MEMORY);
    assert_eq!((scrubbed.frames, scrubbed.is_limited), (REQUESTS as u64, false));
    assert_eq!(count(&whole, b"GET /path HTTP/1.1"), REQUESTS);
    let (part, scrubbed) = scrubbed_within(&file, 1 << 20);
    assert_eq!((scrubbed.frames, scrubbed.is_limited), (REQUESTS as u64, true));
    let shown = count(&part, b"GET /path HTTP/1.1");
    assert!((1..REQUESTS).contains(&shown), "{shown} requests");
    for out in [whole, part] {
        assert_eq!(SECRET.windows(4).map(|four| count(&out, four)).sum::<usize>(), 0);
    }
}
