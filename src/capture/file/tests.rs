//! What holds for every container, compression and way of reading.

use std::collections::VecDeque;
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::{env, fs};

use flate2::write::GzEncoder;
use lz4_flex::frame::FrameEncoder;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::capture::file::builder::{Packet, PcapKind, PcapngWriter, packets, snoop};
use crate::capture::file::bytes::Order;
use crate::capture::file::{Files, Input, Options, peek_first_time};
use crate::capture::{Block, Event, InputSummary, Source};
use crate::packet::{LinkType, ObservationPoint, PointId, Timestamp};

/// Everything that a frame is, with its bytes taken out of the block.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    time: Timestamp,
    wire_len: u32,
    link: LinkType,
    point: PointId,
    bytes: Vec<u8>,
}

/// All that a run gave.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    frames: Vec<Seen>,
    errors: Vec<String>,
    hints: Vec<String>,
    points: Vec<ObservationPoint>,
    dropped: Vec<u64>,
    inputs: Vec<InputSummary>,
    skipped: u64,
}

fn run(mut files: Files) -> Run {
    let mut block = Block::default();
    let (mut frames, mut errors, mut hints) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        match files.next(&mut block).unwrap() {
            Event::Frames => {
                assert!(!block.frames.is_empty());
                let inputs = block
                    .frames
                    .iter()
                    .map(|frame| files.points()[usize::from(frame.point.0)].input)
                    .collect::<Vec<_>>();
                assert!(inputs.iter().all(|input| *input == inputs[0]), "one input a block");
                for (i, record) in block.frames.iter().enumerate() {
                    let frame = block.frame(i, 1);
                    assert_eq!(frame.bytes.len(), record.span.len as usize, "a span in its block");
                    frames.push(Seen {
                        time: frame.time,
                        wire_len: frame.wire_len,
                        link: frame.link,
                        point: frame.point,
                        bytes: frame.bytes.to_vec(),
                    });
                }
                // What decode appends behind the frames.
                block.bytes.extend_from_slice(b"joined fragments");
            }
            Event::Broken(error) => {
                hints.extend(error.hint_text().map(str::to_owned));
                errors.push(error.to_string());
            }
            Event::End => break,
            Event::Notice(_) | Event::Tick(_) => panic!("files have none"),
        }
    }
    let ids = (0..files.points().len()).map(|id| PointId(u16::try_from(id).unwrap()));
    let dropped = ids.map(|id| files.dropped(id).kernel).collect();
    Run {
        frames,
        errors,
        hints,
        points: files.points().to_vec(),
        dropped,
        inputs: files.inputs(),
        skipped: files.skipped(),
    }
}

fn options(block_len: usize) -> Options {
    Options { block_len, ..Options::default() }
}

/// Reads from memory with blocks of some length.
fn read_in(bytes: &[u8], block_len: usize) -> Run {
    run(Files::from_reader("mem", Cursor::new(bytes.to_vec()), &options(block_len)))
}

fn read(bytes: &[u8]) -> Run {
    read_in(bytes, 1 << 20)
}

/// Gives no more than a few bytes at once, as a pipe may.
struct Dribble {
    bytes: VecDeque<u8>,
    at_once: usize,
}

impl Read for Dribble {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(self.at_once);
        self.bytes.read(&mut buffer[..len])
    }
}

/// What a reader must make of packets that were written.
fn expected(packets: &[Packet], link: LinkType) -> Vec<Seen> {
    packets
        .iter()
        .map(|packet| Seen {
            time: Timestamp(i64::try_from(packet.time_us).unwrap() * 1_000),
            wire_len: packet.wire_len,
            link,
            point: PointId(0),
            bytes: packet.bytes.clone(),
        })
        .collect()
}

fn pcapng(order: Order, packets: &[Packet]) -> Vec<u8> {
    let mut writer = PcapngWriter::new(order);
    writer.interface(1, 0, &[(2, b"eth0".to_vec())]);
    for (i, packet) in packets.iter().enumerate() {
        match i % 3 {
            0 => writer.packet(packet, &[]),
            1 => writer.packet(packet, &[(1, b"a comment".to_vec())]),
            _ => writer.obsolete_packet(packet, u16::MAX),
        };
        if i % 7 == 0 {
            // A block that nobody knows, longer than tiny blocks are.
            writer.block(0x0bad, |out| out.bytes.extend([0xee; 300]));
        }
    }
    writer.bytes()
}

/// One file of every container, and whether frames of it have a name.
fn every_container() -> Vec<(&'static str, Vec<u8>)> {
    let packets = packets(40);
    vec![
        ("pcap", PcapKind::usual(Order::Little).write(&packets)),
        ("big-endian pcap", PcapKind::usual(Order::Big).write(&packets)),
        (
            "pcap in nanoseconds",
            PcapKind { magic: 0xa1b2_3c4d, ..PcapKind::usual(Order::Big) }.write(&packets),
        ),
        (
            "modified pcap",
            PcapKind {
                magic: 0xa1b2_cd34,
                record_extra: &[1, 0, 0, 0, 0, 8, 0, 0],
                ..PcapKind::usual(Order::Little)
            }
            .write(&packets),
        ),
        (
            "pcap modified for debugging",
            PcapKind {
                magic: 0xa1b2_cd34,
                record_extra: &[1, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0],
                ..PcapKind::usual(Order::Little)
            }
            .write(&packets),
        ),
        (
            "IXIA hardware",
            PcapKind { magic: 0x1c00_01ac, file_extra: &[0; 4], ..PcapKind::usual(Order::Little) }
                .write(&packets),
        ),
        (
            "IXIA software",
            PcapKind { magic: 0x1c00_01ab, file_extra: &[0; 4], ..PcapKind::usual(Order::Big) }
                .write(&packets),
        ),
        (
            "pcap 2.2",
            PcapKind { version: (2, 2), ..PcapKind::usual(Order::Little) }.write(&packets),
        ),
        ("pcapng", pcapng(Order::Little, &packets)),
        ("big-endian pcapng", pcapng(Order::Big, &packets)),
        ("snoop", snoop(&packets, 0)),
    ]
}

#[test]
fn every_container_gives_the_packets_that_were_written() {
    for (name, bytes) in every_container() {
        let run = read(&bytes);
        assert_eq!(run.errors, [""; 0], "{name}");
        assert_eq!(run.frames, expected(&packets(40), LinkType::ETHERNET), "{name}");
        assert_eq!(run.inputs[0].frames, 40, "{name}");
        assert_eq!(run.inputs[0].bytes, bytes.len() as u64, "{name}");
        let (first, last) = run.inputs[0].span.unwrap();
        assert_eq!(first, run.frames[0].time, "{name}");
        assert_eq!(last, run.frames[39].time, "{name}");
    }
}

/// Reads a file of some bytes; unlike a pipe, it can be looked at before it is read.
fn read_file(bytes: &[u8]) -> Run {
    let directory = temporary(&[("file", bytes)]);
    let path = directory.path().join("file");
    run(Files::open(vec![Input::from(path)], &options(700)).unwrap())
}

#[test]
fn record_headers_without_a_magic_of_their_own_are_recognised_in_files() {
    for record_extra in [
        &[1, 0, 0, 0, 0, 8, 0, 0][..], // ss990417
        &[0x01, 0xb6, 0xbf, 0x9f],     // Nokia
    ] {
        let kind = PcapKind { record_extra, ..PcapKind::usual(Order::Little) };
        let run = read_file(&kind.write(&packets(40)));
        assert_eq!(run.errors, [""; 0]);
        assert!(run.frames == expected(&packets(40), LinkType::ETHERNET), "{record_extra:?}");
    }
}

#[test]
fn odd_packets_are_no_reason_to_doubt_the_record_headers() {
    let mut packets = packets(5);
    for packet in &mut packets {
        packet.wire_len = 0;
    }
    let run = read_file(&PcapKind::usual(Order::Big).write(&packets));
    assert!(run.frames == expected(&packets, LinkType::ETHERNET), "{:?}", run.errors);
}

#[test]
fn aix_has_its_own_numbers_and_nanoseconds() {
    let kind = PcapKind { version: (2, 2), network: 6, ..PcapKind::usual(Order::Big) };
    let run = read(&kind.write(&[Packet { time_us: 5_000_123, ..Packet::new(1, 60) }]));
    assert_eq!(run.frames[0].time, Timestamp(5_000_000_123));
    assert_eq!(run.frames[0].link, LinkType::ETHERNET);
    assert_eq!(run.frames[0].bytes.len(), 60);
}

#[test]
fn any_block_length_gives_the_same_run() {
    for (name, bytes) in every_container() {
        let cut = &bytes[..bytes.len() - 3];
        for bytes in [&bytes[..], cut] {
            let whole = read(bytes);
            for block_len in [1, 2, 7, 16, 24, 100, 333, 1000, 4096] {
                assert_eq!(read_in(bytes, block_len), whole, "{name}, blocks of {block_len}");
            }
        }
    }
}

#[test]
fn frames_come_as_soon_as_a_pipe_gives_them() {
    /// Fails when more is asked for than was sent.
    struct Pipe(VecDeque<Vec<u8>>);
    impl Read for Pipe {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut next = self.0.pop_front().expect("asked for more than was sent");
            let rest = next.split_off(next.len().min(buffer.len()));
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
            buffer[..next.len()].copy_from_slice(&next);
            Ok(next.len())
        }
    }
    for (bytes, header_len) in [
        (PcapKind::usual(Order::Little).write(&packets(1)), 24),
        (pcapng(Order::Little, &packets(1)), 28 + 32),
    ] {
        let (header, record) = bytes.split_at(header_len);
        let pipe = Pipe([header.to_vec(), record.to_vec()].into());
        let mut files = Files::from_reader("-", pipe, &Options::default());
        let mut block = Block::default();
        assert!(matches!(files.next(&mut block).unwrap(), Event::Frames));
        assert_eq!(block.frames.len(), 1);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

type Compress = fn(&[u8]) -> Vec<u8>;
const COMPRESSIONS: [(&str, Compress); 3] = [("gzip", gzip), ("zstd", zstd), ("lz4", lz4)];

#[test]
fn a_compressed_capture_is_read_like_a_plain_one() {
    for (name, compress) in COMPRESSIONS {
        for (container, bytes) in every_container() {
            let run = read(&compress(&bytes));
            assert_eq!(run.errors, [""; 0], "{container} in {name}");
            assert_eq!(run.frames.len(), 40, "{container} in {name}");
        }
    }
}

#[test]
fn a_stream_that_looks_back_further_than_may_be_held_is_not_read() {
    let bytes = PcapKind::usual(Order::Little).write(&packets(40));
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(24).unwrap();
    encoder.write_all(&bytes).unwrap();
    let compressed = encoder.finish().unwrap();
    let read = |window_max: u64| {
        let options = Options { window_max, ..Options::default() };
        run(Files::from_reader("mem", Cursor::new(compressed.clone()), &options))
    };
    for window_max in [16 << 20, (32 << 20) - 1, u64::MAX] {
        assert_eq!((read(window_max).errors.len(), read(window_max).frames.len()), (0, 40));
    }
    for window_max in [0, 8 << 20, (16 << 20) - 1] {
        let run = read(window_max);
        assert_eq!(run.frames.len(), 0);
        assert!(run.errors[0].contains("raise --memory-limit"), "{:?}", run.errors);
    }
}

#[test]
fn several_compressed_members_are_one_capture() {
    let bytes = PcapKind::usual(Order::Little).write(&packets(40));
    for (name, compress) in COMPRESSIONS {
        let mut members = compress(&bytes[..1001]);
        members.extend(compress(&[]));
        members.extend(compress(&bytes[1001..]));
        let run = read(&members);
        assert_eq!(run.errors, [""; 0], "{name}");
        assert_eq!(run.frames.len(), 40, "{name}");
    }
}

#[test]
fn a_cut_compressed_capture_gives_its_readable_part_and_an_error() {
    // Random bytes do not compress, so that each part of the stream holds a part of the packets.
    let mut state = 1u32;
    let mut packets = packets(400);
    for byte in packets.iter_mut().flat_map(|packet| &mut packet.bytes) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = state.to_be_bytes()[0];
    }
    let bytes = PcapKind::usual(Order::Little).write(&packets);
    for (name, compress) in COMPRESSIONS {
        let two = [compress(&bytes[..20_000]), compress(&bytes[20_000..])].concat();
        for cut in [two.len() - 1, two.len() - 5, two.len() / 2 + 50] {
            let run = read(&two[..cut]);
            assert_eq!(run.errors.len(), 1, "{name} cut at {cut}");
            assert!(run.errors[0].contains("cut"), "{}", run.errors[0]);
            assert!(run.frames.len() > 100, "{name} cut at {cut}: {}", run.frames.len());
            assert_eq!(
                run.frames,
                expected(&packets[..run.frames.len()], LinkType::ETHERNET),
                "{name} cut at {cut}"
            );
        }
    }
}

#[test]
fn what_is_compressed_twice_is_no_capture() {
    let bytes = gzip(&gzip(&PcapKind::usual(Order::Little).write(&packets(1))));
    assert!(read(&bytes).errors[0].contains("compressed twice"));
}

#[test]
fn a_file_cut_in_a_record_gives_what_is_before_and_says_where() {
    let bytes = PcapKind::usual(Order::Little).write(&packets(3));
    let run = read(&bytes[..bytes.len() - 10]);
    assert_eq!(run.frames.len(), 2);
    assert_eq!(run.errors, ["mem: offset 93: cut in mid-record: 80 of 90 bytes are there"]);
    assert_eq!(run.inputs[0].broken.as_deref(), Some(&*run.errors[0]));
    let run = read(&bytes[..10]);
    assert_eq!(run.errors, ["mem: offset 0: cut in the file header: 10 of 24 bytes are there"]);
}

#[test]
fn an_absurd_length_is_an_error_and_costs_no_memory() {
    let mut bytes = PcapKind::usual(Order::Little).write(&packets(2));
    let at = bytes.len();
    bytes.extend([0; 8]);
    bytes.extend(u32::MAX.to_le_bytes());
    bytes.extend(u32::MAX.to_le_bytes());
    bytes.extend([0; 4000]);
    let run = read_in(&bytes, 512);
    assert_eq!(run.frames.len(), 2);
    assert!(run.errors[0].starts_with(&format!("mem: offset {at}: a frame of 4294967295 bytes")));
}

#[test]
fn an_empty_file_and_a_text_are_no_captures() {
    assert_eq!(read(b"").errors, ["mem: is empty"]);
    let run = read(b"2024-01-01 no capture\n");
    assert_eq!(
        run.errors,
        ["mem: offset 0: is no capture: it starts with the bytes 323032342d30312d"]
    );
    assert_eq!(run.points, []);
    assert_eq!(read(b"snoopy, a dog of some fame").errors.len(), 1);
}

#[test]
fn a_capture_without_packets_is_fine() {
    let run = read(&PcapKind::usual(Order::Little).write(&[]));
    assert_eq!(run.errors, [""; 0]);
    assert_eq!(run.inputs[0].span, None);
    assert_eq!(read(&PcapngWriter::new(Order::Big).bytes()).errors, [""; 0]);
}

#[test]
fn a_text_conversion_is_named() {
    let crlf = |bytes: &[u8]| {
        let mut out = Vec::new();
        for byte in bytes {
            if *byte == b'\n' {
                out.push(b'\r');
            }
            out.push(*byte);
        }
        out
    };
    let latin_to_utf8 =
        |bytes: &[u8]| bytes.iter().map(|b| char::from(*b)).collect::<String>().into_bytes();
    let pcap = PcapKind::usual(Order::Little).write(&packets(30));
    let ng = pcapng(Order::Little, &packets(30));
    assert!(read(&crlf(&ng)).errors[0].contains("text conversion"));
    assert!(read(&latin_to_utf8(&pcap)).errors[0].contains("UTF-8"));

    // In pcap it shows only at the first line feed.
    let mut packets = packets(40);
    for packet in &mut packets {
        packet.bytes.extend(b"\n");
    }
    let run = read(&crlf(&PcapKind::usual(Order::Little).write(&packets)));
    assert!(run.hints.iter().any(|hint| hint.contains("text-mode copy")), "{:?}", run.errors);
}

#[test]
fn time_may_run_backwards() {
    let mut packets = packets(3);
    packets[2].time_us = 5;
    let run = read(&PcapKind::usual(Order::Little).write(&packets));
    assert_eq!(run.frames[2].time, Timestamp(5_000));
    assert_eq!(run.inputs[0].span.unwrap(), (Timestamp(5_000), run.frames[1].time));
}

#[test]
fn interfaces_have_their_own_link_type_resolution_and_offset() {
    let mut writer = PcapngWriter::new(Order::Little);
    writer
        .interface(1, 0, &[(2, b"eth0".to_vec()), (9, vec![9])])
        .interface(113, 0, &[(2, b"any".to_vec()), (9, vec![0x8a])])
        .interface(12, 0, &[(9, vec![12]), (14, 100u64.to_le_bytes().to_vec())])
        .interface(101, 0, &[(9, vec![0]), (14, (-1i64).to_le_bytes().to_vec())]);
    for (interface, ticks) in [(0, 7_000_000_123), (1, 3 * 1024 + 512), (2, 5_999_000), (3, 4)] {
        writer.packet(&Packet { interface, time_us: ticks, ..Packet::new(0, 9) }, &[]);
    }
    writer.section(Order::Big).interface(1, 0, &[(2, b"eth0".to_vec())]);
    writer.packet(&Packet::new(1, 10), &[]);
    let run = read(&writer.bytes());
    assert_eq!(run.errors, [""; 0]);
    let times: Vec<i64> = run.frames.iter().map(|frame| frame.time.0).collect();
    assert_eq!(
        times,
        [7_000_000_123, 3_500_000_000, 100_000_005_999, 3_000_000_000, 1_700_000_000_001_000_000]
    );
    let links: Vec<u16> = run.frames.iter().map(|frame| frame.link.0).collect();
    assert_eq!(links, [1, 113, 101, 101, 1]);
    let names: Vec<_> = run.points.iter().map(|point| point.interface.as_deref()).collect();
    assert_eq!(names, [Some("eth0"), Some("any"), None]);
    assert_eq!(run.frames[4].point, run.frames[0].point, "one name, one point");
}

#[test]
fn a_simple_packet_is_cut_to_the_snaplen_and_takes_the_time_before_it() {
    let mut writer = PcapngWriter::new(Order::Big);
    let packet = Packet { wire_len: 90, ..Packet::new(3, 60) };
    writer.interface(1, 60, &[]).packet(&packet, &[]).simple_packet(&packet);
    let run = read(&writer.bytes());
    assert_eq!(run.frames[1], run.frames[0]);
    assert_eq!(run.frames[1].bytes.len(), 60);
}

#[test]
fn lost_frames_are_those_that_the_file_tells() {
    let count = |n: u64| n.to_be_bytes().to_vec();
    let mut writer = PcapngWriter::new(Order::Big);
    writer
        .interface(1, 0, &[(2, b"a".to_vec())])
        .interface(1, 0, &[(2, b"b".to_vec())])
        .packet(&Packet::new(0, 1), &[(4, count(2))])
        .obsolete_packet(&Packet { interface: 1, ..Packet::new(0, 1) }, 3)
        .statistics(0, &[(5, count(10)), (7, count(1))])
        .statistics(0, &[(5, count(12)), (7, count(1))])
        .statistics(9, &[(5, count(99))]);
    let run = read(&writer.bytes());
    assert_eq!(run.errors, [""; 0]);
    assert_eq!(run.dropped, [13, 3]);
    assert_eq!(read(&snoop(&packets(3), 8)).dropped, [8]);
}

#[test]
fn absurd_options_end_the_options_only() {
    let mut writer = PcapngWriter::new(Order::Little);
    writer.block(1, |out| {
        out.u16(1);
        out.u16(0);
        out.u32(0);
        for (code, len) in [(9, 0), (14, 2), (2, u16::MAX)] {
            out.u16(code);
            out.u16(len);
            out.u32(0);
        }
    });
    writer.packet(&Packet::new(0, 5), &[]);
    let run = read(&writer.bytes());
    assert_eq!(run.errors, [""; 0]);
    assert_eq!(run.frames.len(), 1);
}

#[test]
fn a_snoop_record_must_hold_its_frame() {
    let mut bytes = snoop(&packets(2), 0);
    let at = bytes.len() - 40 - 24;
    bytes[at + 8..at + 12].copy_from_slice(&30u32.to_be_bytes());
    let run = read(&bytes);
    assert_eq!(run.frames.len(), 1);
    assert!(run.errors[0].contains("a record of 30 bytes with a frame of 37"), "{:?}", run.errors);
}

#[test]
fn damaged_blocks_are_errors() {
    let start = || {
        let mut writer = PcapngWriter::new(Order::Little);
        writer.interface(1, 0, &[]).packet(&Packet::new(0, 1), &[]);
        writer
    };
    let mut undescribed = start();
    undescribed.packet(&Packet { interface: 4, ..Packet::new(0, 1) }, &[]);
    let mut overlong = start();
    overlong.block(6, |out| (0..5).for_each(|_| out.u32(900)));
    let mut short = start();
    short.block(6, |out| out.u32(0));
    let mut no_interface = PcapngWriter::new(Order::Little);
    no_interface.simple_packet(&Packet::new(0, 1));
    let mut trailer = start().bytes();
    *trailer.last_mut().unwrap() ^= 1;
    for (bytes, frames, says) in [
        (undescribed.bytes(), 1, "interface 4"),
        (overlong.bytes(), 1, "a frame of 900 bytes"),
        (short.bytes(), 1, "too short"),
        (no_interface.bytes(), 0, "interface 0"),
        (trailer, 0, "begins with length 36"),
    ] {
        let run = read(&bytes);
        assert_eq!(run.frames.len(), frames, "{says}");
        assert!(run.errors[0].contains(says), "{:?}", run.errors);
    }
}

#[test]
fn a_million_interfaces_are_bounded() {
    let mut writer = PcapngWriter::new(Order::Little);
    for i in 0..70_000u32 {
        writer.interface(1, 0, &[(2, format!("veth{i}").into_bytes())]);
    }
    writer.packet(&Packet { interface: 69_999, ..Packet::new(0, 5) }, &[]);
    let run = read(&writer.bytes());
    assert_eq!(run.errors, [""; 0]);
    let point = &run.points[usize::from(run.frames[0].point.0)];
    assert_eq!(point.interface.as_deref(), Some("(others)"));
    assert!(run.points.len() < 2000);
}

fn temporary(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(directory.path().join(name), bytes).unwrap();
    }
    directory
}

fn file_names(run: &Run) -> Vec<&str> {
    run.inputs.iter().map(|input| input.name.rsplit('/').next().unwrap()).collect()
}

#[test]
fn files_are_read_in_the_order_of_their_first_packets_unless_separate() {
    let at =
        |time_us| PcapKind::usual(Order::Little).write(&[Packet { time_us, ..Packet::new(0, 4) }]);
    let directory = temporary(&[
        ("a.pcap", &at(3_000_000)),
        ("b.pcap.gz", &gzip(&at(1_000_000))),
        ("c.pcapng", &pcapng(Order::Big, &[Packet { time_us: 2_000_000, ..Packet::new(0, 4) }])),
        ("d.pcap", &at(2_500_000)[..30]),
    ]);
    let given = || {
        let names = ["a.pcap", "b.pcap.gz", "c.pcapng", "d.pcap"];
        names.map(|name| Input::from(directory.path().join(name))).to_vec()
    };
    let sorted = run(Files::open(given(), &Options::default()).unwrap());
    assert_eq!(file_names(&sorted), ["b.pcap.gz", "c.pcapng", "a.pcap", "d.pcap"]);
    assert_eq!(sorted.frames.len(), 3);
    assert_eq!(sorted.errors.len(), 1);
    let separate = Options { separate: true, ..Options::default() };
    let separate = run(Files::open(given(), &separate).unwrap());
    assert_eq!(file_names(&separate), ["a.pcap", "b.pcap.gz", "c.pcapng", "d.pcap"]);
    assert_eq!(peek_first_time(&directory.path().join("c.pcapng")), Some(Timestamp(2_000_000_000)));
    assert_eq!(peek_first_time(&directory.path().join("d.pcap")), None);
}

#[test]
fn a_directory_leaves_out_what_is_no_capture_but_not_what_is_damaged() {
    let pcap = PcapKind::usual(Order::Little).write(&packets(2));
    let directory = temporary(&[
        ("README", b"these are captures"),
        ("empty", b""),
        ("cut.pcap", &pcap[..45]),
        ("one.pcap", &pcap),
    ]);
    fs::create_dir(directory.path().join("inside")).unwrap();
    fs::write(directory.path().join("inside/two.pcap"), &pcap).unwrap();
    let inputs = vec![Input::from(directory.path())];
    let whole = run(Files::open(inputs, &Options::default()).unwrap());
    assert_eq!(file_names(&whole), ["cut.pcap", "one.pcap"]);
    assert_eq!((whole.frames.len(), whole.errors.len(), whole.skipped), (3, 1, 2));

    let named = vec![Input::from(directory.path().join("README"))];
    let named = run(Files::open(named, &Options::default()).unwrap());
    assert_eq!((named.errors.len(), named.skipped), (1, 0));
}

#[test]
fn a_missing_file_costs_only_itself() {
    let directory = temporary(&[("one.pcap", &PcapKind::usual(Order::Little).write(&packets(2)))]);
    let inputs = ["none.pcap", "one.pcap"].map(|name| Input::from(directory.path().join(name)));
    let run = run(Files::open(inputs.to_vec(), &Options::default()).unwrap());
    assert_eq!(run.frames.len(), 2);
    assert!(
        run.errors[0].contains("none.pcap: cannot be opened: No such file"),
        "{:?}",
        run.errors
    );
}

#[test]
fn progress_ends_at_the_total() {
    let pcap = PcapKind::usual(Order::Little).write(&packets(20));
    let directory = temporary(&[("a.pcap", &pcap), ("b.pcap.zst", &zstd(&pcap))]);
    let files = Files::open(vec![Input::from(directory.path())], &Options::default()).unwrap();
    let progress = files.progress();
    assert_eq!(progress.read(), 0);
    run(files);
    assert_eq!(Some(progress.read()), progress.total());
    assert!(progress.read() > pcap.len() as u64);
}

#[test]
fn a_dash_is_standard_input() {
    assert_eq!(Input::from("-"), Input::Stdin);
    assert_eq!(Input::from("./-"), Input::Path("./-".into()));
}

fn captures() -> PathBuf {
    env::var_os("PORTREEVE_CAPTURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures/public"),
        PathBuf::from,
    )
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that does nothing has to say so")]
fn public_captures_have_the_packets_that_capinfos_counts() {
    let captures = captures();
    let Ok(truth) = fs::read(captures.join("GROUND_TRUTH.json")) else {
        eprintln!("skipped: no public captures in {}", captures.display());
        return;
    };
    let truth: serde_json::Value = serde_json::from_slice(&truth).unwrap();
    let truth = truth.as_object().unwrap();
    assert!(truth.len() > 50);
    let mut wrong = Vec::new();
    for (name, figures) in truth {
        let path = captures.join("captures").join(name);
        let bytes = fs::read(&path).unwrap();
        let by_path = Files::open(vec![Input::from(path)], &options(1 << 20)).unwrap();
        let ways = [run(by_path), read_in(&bytes, 1000), read(&lz4(&bytes))];
        let whole = figures["capinfos_rc"] == 0 && figures["tshark_rc"] == 0;
        for run in ways {
            let counted = run.frames.len() as u64;
            if figures["capinfos_packets"] != counted || run.errors.is_empty() != whole {
                let says = &figures["capinfos_packets"];
                wrong.push(format!("{name}: {counted}, not {says}: {:?}", run.errors));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Frames that came whole before a change of the file must be the same.
fn assert_prefix(original: &Run, changed: &Run, at: usize, bytes: &[u8]) {
    let before = read(&bytes[..at]).frames.len();
    assert!(changed.frames.len() >= before);
    assert_eq!(changed.frames[..before], original.frames[..before]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_truncated_file_gives_a_prefix(which in 0..11usize, at: Index, block_len in 1..600usize) {
        let (_, bytes) = every_container().swap_remove(which);
        let at = at.index(bytes.len());
        let whole = read(&bytes);
        let cut = read_in(&bytes[..at], block_len);
        prop_assert!(cut.frames.len() <= whole.frames.len());
        prop_assert_eq!(&cut.frames[..], &whole.frames[..cut.frames.len()]);
    }

    #[test]
    fn a_changed_byte_neither_panics_nor_changes_what_is_before(
        which in 0..11usize,
        at: Index,
        byte: u8,
        block_len in 1..600usize,
    ) {
        let (_, bytes) = every_container().swap_remove(which);
        let at = at.index(bytes.len());
        let whole = read(&bytes);
        let mut changed = bytes.clone();
        changed[at] = byte;
        let mut run = read_in(&changed, block_len);
        let mut at_once = read(&changed);
        // How much is read of a damaged file is all that the block length may change.
        run.inputs[0].bytes = 0;
        at_once.inputs[0].bytes = 0;
        prop_assert!(run == at_once, "at {at}: {:?} {:?}", run.errors, at_once.errors);
        // The layout of records is guessed from the first three of them.
        if at > 400 {
            assert_prefix(&whole, &run, at, &bytes);
        }
        // A record has at least a header, so no change makes frames of nothing.
        prop_assert!(run.frames.len() <= bytes.len() / 16);
    }

    #[test]
    fn noise_never_panics(
        magic in prop::sample::select(vec![
            &b"\xd4\xc3\xb2\xa1"[..], b"\x4d\x3c\xb2\xa1", b"\x34\xcd\xb2\xa1", b"\xa1\xb2\xcd\x34",
            b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\x01\0", b"snoop\0\0\0\0\0\0\x02",
            b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"",
        ]),
        noise in prop::collection::vec(any::<u8>(), 0..2000),
        block_len in 1..600usize,
    ) {
        let bytes = [magic, &noise[..]].concat();
        let run = read_in(&bytes, block_len);
        prop_assert!(run.inputs.len() == 1);
    }

    #[test]
    fn any_way_of_giving_the_bytes_gives_the_same_run(
        which in 0..11usize,
        at_once in 1..300usize,
        block_len in 1..600usize,
    ) {
        let (_, bytes) = every_container().swap_remove(which);
        let dribble = Dribble { bytes: bytes.clone().into(), at_once };
        let run = run(Files::from_reader("mem", dribble, &options(block_len)));
        prop_assert!(run == read(&bytes));
    }
}
