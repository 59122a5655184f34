//! What needs neither root nor a kernel that allows eBPF.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::giving::{Giving, Watched};
use super::layout::{FLOW_LEN, FRAME_RECORD_LEN, Record, flow_key, kernel_key};
use crate::capture::Block;
use crate::packet::{EncapId, FiveTuple, FlowKey, LinkType, PointId, Timestamp, Transport};

/// The source's hash is in the object in the tree, which builds without clang take.
#[test]
fn the_prebuilt_object_was_built_from_the_source_in_the_tree() {
    let mut hash = Sha256::new();
    hash.update(include_bytes!("portreeve.bpf.c"));
    hash.update(include_bytes!("portreeve.bpf.h"));
    hash.update(include_bytes!("headers.bpf.h"));
    hash.update(include_bytes!("tables.bpf.h"));
    let mut hex = String::new();
    for byte in hash.finalize() {
        write!(hex, "{byte:02x}").unwrap();
    }
    let object = include_bytes!("portreeve.bpf.o");
    let found = object.windows(hex.len()).any(|window| window == hex.as_bytes());
    assert!(found, "the source changed: run scripts/ebpf-object");
}

#[test]
fn no_tunnel_of_the_decoder_is_keyed_by_its_outer_ports() {
    let known = super::Options::default().tunnel_ports;
    for port in crate::decode::Options::default().tunnel_ports() {
        assert!(known.contains(&port), "{port}");
    }
}

#[test]
fn a_key_survives_its_way_through_the_kernel() {
    let ends = [("10.0.0.9:40000", "10.0.0.2:8280"), ("[fd00::1]:1", "[fd00::1]:2")];
    for (src, dst) in ends {
        for transport in [Transport::Tcp, Transport::Udp] {
            let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
            let (key, _) = FlowKey::new(FiveTuple { src, dst, transport }, EncapId(9));
            let bytes = kernel_key(&key, [7, 8], 3);
            assert_eq!(flow_key(&bytes), (key.in_encap(EncapId(0)), [7, 8], 3));
        }
    }
}

/// A record of the ring as the program writes it.
fn frame_record(packets: u32, vlan: [u16; 2], frame: &[u8]) -> Vec<u8> {
    let len = u32::try_from(frame.len()).unwrap();
    let mut record = Vec::new();
    for number in [1, 5] {
        record.extend_from_slice(&u32::to_ne_bytes(number));
    }
    record.extend_from_slice(&u64::to_ne_bytes(1_000));
    for number in [len, len, packets, (packets - 1) * 54] {
        record.extend_from_slice(&u32::to_ne_bytes(number));
    }
    for number in vlan {
        record.extend_from_slice(&u16::to_ne_bytes(number));
    }
    record.extend_from_slice(&u32::to_ne_bytes(0));
    assert_eq!(record.len(), FRAME_RECORD_LEN);
    record.extend_from_slice(frame);
    // Records have fixed sizes: what lies behind the frame means nothing.
    record.extend_from_slice(&[0xee; 64]);
    record
}

#[test]
fn a_frame_gets_its_tag_back_and_stands_for_all_its_packets() {
    let mut giving = Giving::new(500);
    giving.watched.push(Watched::new("here", 5, None));
    let mut block = Block::default();
    let frame = b"addressesabc\x08\x00payload";
    for (packets, vlan) in [(1, [0, 0]), (3, [0x2007, 0x8100])] {
        let record = frame_record(packets, vlan, frame);
        let Some(Record::Frame(head, bytes)) = Record::read(&record) else { panic!("a frame") };
        giving.frame(&head, bytes, &mut block);
    }
    let [plain, tagged] = block.frames[..] else { panic!("two frames") };
    assert_eq!(plain.span.of(&block.bytes), frame);
    assert_eq!(tagged.span.of(&block.bytes), b"addressesabc\x81\x00\x20\x07\x08\x00payload");
    assert_eq!((plain.wire_len, tagged.wire_len), (21, 25));
    assert_eq!((plain.time, plain.link), (Timestamp(1_500), LinkType::ETHERNET));
    assert_eq!(tagged.point, PointId(0));
    let [merged] = block.merged[..] else { panic!("one of several packets") };
    assert_eq!((merged.index, merged.packets, merged.headers_len), (1, 3, 108));
}

#[test]
fn a_record_that_is_cut_or_foreign_is_none() {
    let whole = frame_record(1, [0, 0], b"frame");
    assert!(Record::read(&whole).is_some());
    for len in 0..FRAME_RECORD_LEN + 5 {
        let read = Record::read(&whole[..len]);
        let is_empty = matches!(read, None | Some(Record::Frame(_, [])));
        assert!(is_empty, "{len}");
    }
    assert!(Record::read(&[9; FLOW_LEN]).is_none());
}

#[test]
fn a_clock_that_was_set_makes_nothing_later_than_it_is() {
    let mut giving = Giving::new(5_000_000);
    assert_eq!(giving.wall(10), Timestamp(5_000_010));
    giving.set_clock(5_000_900);
    assert_eq!(giving.wall(10), Timestamp(5_000_010), "less than the measurement's error");
    giving.set_clock(2_000_000);
    assert_eq!(giving.wall(10_000_000), Timestamp(12_000_000));
    assert_eq!(giving.earliest_kernel_ns(Timestamp(12_000_000)), 7_000_000);
}
