//! Fragments: what is joined, what is lost, and that every frame is counted once.

use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use crate::capture::Block;
use crate::decode::{Decoded, Decoder, Options, Stop};
use crate::packet::{LinkType, Packet, PointId, Timestamp};

use super::corpus::{end6, ethernet, join, outer4, outer6, udp};
use super::{block_of, decode_all};

const SECOND: i64 = 1_000_000_000;

/// Cuts an IP packet without options or extension headers into fragments of `size` payload bytes.
fn fragments(ip: &[u8], id: u8, size: usize) -> Vec<Vec<u8>> {
    let head_len = if ip[0] >> 4 == 4 { 20 } else { 40 };
    let (head, payload) = ip.split_at(head_len);
    let last = payload.len().div_ceil(size) - 1;
    payload
        .chunks(size)
        .enumerate()
        .map(|(index, data)| fragment(head, id, index * size, index < last, data))
        .collect()
}

fn fragment(head: &[u8], id: u8, start: usize, more: bool, data: &[u8]) -> Vec<u8> {
    let mut head = head.to_vec();
    if head[0] >> 4 == 4 {
        let len = u16::try_from(20 + data.len()).unwrap().to_be_bytes();
        head[2..4].copy_from_slice(&len);
        head[4..6].copy_from_slice(&[0, id]);
        let word = u16::try_from(start / 8).unwrap() | u16::from(more) << 13;
        head[6..8].copy_from_slice(&word.to_be_bytes());
        return join(&[&head, data]);
    }
    let len = u16::try_from(8 + data.len()).unwrap().to_be_bytes();
    head[4..6].copy_from_slice(&len);
    let next = std::mem::replace(&mut head[6], 44);
    let word = (u16::try_from(start).unwrap() | u16::from(more)).to_be_bytes();
    join(&[&head, &[next, 0], &word, &[0, 0, 0, id], data])
}

/// A UDP datagram whose payload tells each byte's place.
fn datagram(is_v6: bool, len: usize) -> (Vec<u8>, Vec<u8>) {
    let payload: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let ip = if is_v6 { outer6(17, &udp(53, &payload)) } else { outer4(17, &udp(53, &payload)) };
    (ip, payload)
}

/// What became of some frames.
#[derive(Default)]
struct Run {
    packets: Vec<Packet>,
    held: usize,
    stops: Vec<Stop>,
    lost: u64,
}

impl Run {
    fn joined(&self) -> Vec<&Packet> {
        self.packets.iter().filter(|packet| !packet.counted_only).collect()
    }
}

/// Decodes a block to the end and checks that every frame was counted once.
fn run(decoder: &mut Decoder, block: &mut Block) -> Run {
    let mut run = Run::default();
    for index in 0..block.frames.len() {
        match decoder.decode(block, index, index as u64 + 1) {
            Decoded::Packet(packet) => {
                run.packets.push(packet);
                run.packets.extend(decoder.elsewhere());
            }
            Decoded::Held => run.held += 1,
            Decoded::Stop(stop) => run.stops.push(stop),
            Decoded::Unreachable(_) => run.stops.push(Stop::Icmp),
        }
    }
    decoder.finish();
    run.lost = decoder.lost_fragments().map(|(_, frames)| frames).sum();
    let joined: u64 = run.packets.iter().map(|packet| u64::from(packet.frames)).sum();
    assert_eq!(joined + run.stops.len() as u64 + run.lost, block.frames.len() as u64);
    run
}

fn run_raw(frames: &[Vec<u8>]) -> (Run, Block) {
    let mut block = block_of(LinkType::RAW, frames);
    let run = run(&mut Decoder::new(Options::default()), &mut block);
    (run, block)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn fragments_rejoin_in_any_order_with_copies(
        is_v6: bool,
        len in 100_usize..3_000,
        eights in 1_usize..13,
        seed in any::<u64>(),
        copies in prop::collection::vec(any::<Index>(), 0..5),
    ) {
        let (ip, payload) = datagram(is_v6, len);
        let mut frames = fragments(&ip, 7, eights * 8);
        let fragment_count = frames.len();
        let copies: Vec<_> = copies.iter().map(|copy| copy.get(&frames).clone()).collect();
        frames.extend(copies);
        // A shuffle that proptest can shrink away: sort by a hash of the place.
        let mut order: Vec<usize> = (0..frames.len()).collect();
        order.sort_by_key(|&at| (at as u64 + 1).wrapping_mul(seed | 1));
        let frames: Vec<_> = order.iter().map(|&at| frames[at].clone()).collect();
        let wire_len: usize = frames.iter().map(Vec::len).sum();

        let (run, block) = run_raw(&frames);
        prop_assert_eq!(run.lost, 0);
        prop_assert_eq!(&run.stops, &[]);
        let joined = run.joined();
        prop_assert_eq!(joined.len(), 1);
        prop_assert_eq!(joined[0].payload.of(&block.bytes), &payload);
        prop_assert_eq!(joined[0].cut_len, 0);
        prop_assert!(joined[0].frames as usize >= fragment_count);
        prop_assert!(run.packets.iter().all(|packet| packet.key == joined[0].key));
        let counted: u32 = run.packets.iter().map(|packet| packet.wire_len).sum();
        prop_assert_eq!(counted as usize, wire_len);
    }

    #[test]
    fn a_missing_fragment_loses_the_others_and_no_more(
        is_v6: bool,
        seen in subsequence((0..8).collect::<Vec<usize>>(), 0..8),
    ) {
        let (ip, _) = datagram(is_v6, 8 * 40 - 8);
        let all = fragments(&ip, 7, 40);
        let frames: Vec<_> = seen.iter().map(|&at| all[at].clone()).collect();
        let (run, _) = run_raw(&frames);
        prop_assert_eq!(run.lost, seen.len() as u64);
        prop_assert_eq!(run.held, seen.len());
    }

    #[test]
    fn any_soup_of_fragments_balances(
        soup in prop::collection::vec(
            (any::<bool>(), 0_u8..3, 0_usize..12, any::<bool>(), 0_usize..40, 0_i64..80, 0_u16..3),
            0..60,
        ),
        bytes_max in 0_usize..4_000,
    ) {
        let mut block = Block::default();
        for (is_v6, id, eights, more, len, time, point) in soup {
            let (ip, _) = datagram(is_v6, 0);
            let head = &ip[..if is_v6 { 40 } else { 20 }];
            let frame = fragment(head, id, eights * 8, more, &vec![0; len]);
            let wire_len = u32::try_from(frame.len()).unwrap();
            block.push(Timestamp(time * SECOND), PointId(point), LinkType::RAW, wire_len, &frame);
        }
        let options = Options { fragment_bytes_max: bytes_max, ..Options::default() };
        run(&mut Decoder::new(options), &mut block);
    }
}

#[test]
fn a_copy_after_the_datagram_was_joined_only_counts() {
    for is_v6 in [false, true] {
        let (ip, _) = datagram(is_v6, 100);
        let parts = fragments(&ip, 7, 64);
        let (run, _) = run_raw(&[&parts[..], &parts[..]].concat());
        assert_eq!((run.held, run.lost, run.stops.len()), (1, 0, 0));
        let [joined, copies @ ..] = &run.packets[..] else { panic!() };
        assert_eq!((joined.counted_only, joined.frames), (false, 2));
        assert_eq!(copies.len(), 2);
        for copy in copies {
            assert!(copy.counted_only && copy.frames == 1 && copy.payload.len == 0);
            assert_eq!((copy.key, copy.side, copy.hash), (joined.key, joined.side, joined.hash));
        }
    }
}

#[test]
fn a_copy_of_an_overlapping_fragment_only_counts() {
    let (ip, _) = datagram(false, 100);
    let (head, data) = ip.split_at(20);
    let frames = [
        fragment(head, 7, 0, true, &data[..40]),
        fragment(head, 7, 24, true, &data[24..80]),
        fragment(head, 7, 72, false, &data[72..]),
    ];
    let (run, _) = run_raw(&[frames.clone(), frames].concat());
    assert_eq!((run.joined().len(), run.lost, run.packets.len()), (1, 0, 4));
}

#[test]
fn a_copy_of_many_tiny_pieces_only_counts() {
    let (ip, _) = datagram(false, 8 * 400);
    let frames = fragments(&ip, 7, 8);
    let (run, _) = run_raw(&[frames.clone(), frames.clone()].concat());
    assert_eq!((run.joined().len(), run.lost), (1, 0));
    assert_eq!(run.packets.len(), 1 + frames.len());
}

#[test]
fn a_reused_id_begins_another_datagram() {
    let (first, _) = datagram(false, 100);
    let (second, payload) = datagram(false, 120);
    let (run, block) = run_raw(&[fragments(&first, 7, 64), fragments(&second, 7, 64)].concat());
    assert_eq!((run.joined().len(), run.lost), (2, 0));
    assert_eq!(run.packets[1].payload.of(&block.bytes), payload);
}

#[test]
fn fragments_of_other_points_are_counted_there() {
    let (ip, _) = datagram(false, 200);
    let parts = fragments(&ip, 7, 72);
    assert_eq!(parts.len(), 3);
    let mut block = Block::default();
    for (part, point) in [(0, 1), (1, 1), (0, 2), (2, 2)] {
        let wire_len = u32::try_from(parts[part].len()).unwrap();
        block.push(Timestamp(0), PointId(point), LinkType::RAW, wire_len, &parts[part]);
    }
    let run = run(&mut Decoder::new(Options::default()), &mut block);
    let [joined, elsewhere] = &run.packets[..] else { panic!() };
    assert_eq!((joined.point, joined.frames, joined.counted_only), (PointId(2), 2, false));
    assert_eq!((elsewhere.point, elsewhere.frames, elsewhere.counted_only), (PointId(1), 2, true));
    assert_eq!(joined.key, elsewhere.key);
    let len = |part: usize| u32::try_from(parts[part].len()).unwrap();
    assert_eq!((joined.wire_len, elsewhere.wire_len), (len(0) + len(2), len(0) + len(1)));
}

#[test]
fn an_incomplete_datagram_is_given_up_after_thirty_seconds() {
    let (ip, _) = datagram(false, 100);
    let parts = fragments(&ip, 7, 64);
    for (seconds, joined) in [(30, 1), (31, 0)] {
        let mut block = Block::default();
        for (part, time) in parts.iter().zip([0, seconds]) {
            let wire_len = u32::try_from(part.len()).unwrap();
            block.push(Timestamp(time * SECOND), PointId(0), LinkType::RAW, wire_len, part);
        }
        let run = run(&mut Decoder::new(Options::default()), &mut block);
        assert_eq!(run.joined().len(), joined, "{seconds}");
        assert_eq!(run.lost, if joined == 1 { 0 } else { 2 });
    }
}

#[test]
fn the_oldest_datagram_makes_room() {
    let frames: Vec<_> = (0..10).map(|id| fragments(&datagram(false, 1_000).0, id, 512)).collect();
    let mut block = Block::default();
    for half in 0..2 {
        for parts in &frames {
            block.push(Timestamp(0), PointId(0), LinkType::RAW, 532, &parts[half]);
        }
    }
    // Each half datagram costs its 512 bytes and the two overheads, so that four fit.
    let options = Options { fragment_bytes_max: 4 * 900, ..Options::default() };
    let run = run(&mut Decoder::new(options), &mut block);
    assert!(run.lost >= 12, "{}", run.lost);
    assert!(run.joined().is_empty(), "first halves were given up before their second came");
}

#[test]
fn in_ipv4_the_first_bytes_of_an_overlap_win() {
    let (ip, payload) = datagram(false, 120);
    let (head, body) = ip.split_at(20);
    let frames = [
        fragment(head, 7, 0, true, &body[..64]),
        fragment(head, 7, 32, true, &[0xee; 64]),
        fragment(head, 7, 96, false, &body[96..]),
    ];
    let (run, block) = run_raw(&frames);
    let joined = run.joined();
    let got = joined[0].payload.of(&block.bytes);
    assert_eq!(got[..56], payload[..56]);
    assert_eq!(got[56..88], [0xee; 32]);
    assert_eq!(got[88..], payload[88..]);
    assert_eq!(joined[0].frames, 3);
}

#[test]
fn in_ipv6_an_overlap_ends_the_datagram_for_good() {
    let (ip, _) = datagram(true, 120);
    let (head, body) = ip.split_at(40);
    let frames = [
        fragment(head, 7, 0, true, &body[..64]),
        fragment(head, 7, 32, true, &[0xee; 64]),
        fragment(head, 7, 64, true, &body[64..96]),
        fragment(head, 7, 96, false, &body[96..]),
    ];
    let (run, _) = run_raw(&frames);
    assert_eq!(run.joined().len(), 0);
    assert_eq!(run.stops, [Stop::Fragment; 3]);
    assert_eq!(run.lost, 1);
}

#[test]
fn impossible_fragments_are_malformed() {
    let (ip, _) = datagram(false, 100);
    let head = &ip[..20];
    let frames = [
        fragment(head, 1, 65_528, false, &[0; 64]),
        fragment(head, 2, 0, true, &[0; 13]),
        fragment(head, 3, 8, true, &[]),
    ];
    let (run, _) = run_raw(&frames);
    assert_eq!(run.stops, [Stop::Malformed; 3]);
}

#[test]
fn a_cut_fragment_leaves_what_is_contiguous() {
    let (ip, payload) = datagram(false, 200);
    let parts = fragments(&ip, 7, 104);
    let mut block = Block::default();
    block.push(Timestamp(0), PointId(0), LinkType::RAW, 124, &parts[0][..80]);
    block.push(Timestamp(0), PointId(0), LinkType::RAW, 124, &parts[1]);
    let run = run(&mut Decoder::new(Options::default()), &mut block);
    let joined = run.joined()[0];
    // 20 bytes of IP and 8 of UDP stand before.
    assert_eq!(joined.payload.of(&block.bytes), &payload[..52]);
    assert_eq!(joined.cut_len, 148);
}

#[test]
fn fragments_that_can_make_no_flow_are_not_held() {
    let ip = outer4(1, &[0; 100]);
    let (run, _) = run_raw(&fragments(&ip, 7, 64));
    assert_eq!((run.held, &run.stops[..]), (0, &[Stop::Icmp; 2][..]));
    let ip = outer6(50, &[0; 100]);
    let (run, _) = run_raw(&fragments(&ip, 7, 64));
    assert_eq!((run.held, &run.stops[..]), (0, &[Stop::Opaque; 2][..]));
}

#[test]
fn a_joined_datagram_that_is_no_flow_loses_its_frames() {
    let ip = outer4(47, &[&[0, 0, 0x88, 0xcc][..], &[0; 100]].concat());
    let (run, _) = run_raw(&fragments(&ip, 7, 64));
    assert_eq!((run.lost, &run.stops[..]), (1, &[Stop::OtherTransport][..]));
}

#[test]
fn a_fragmented_tunnel_shows_its_inner_packet() {
    let (inner, payload) = datagram(true, 300);
    let vxlan = join(&[&[8, 0, 0, 0, 0, 0, 42, 0], &ethernet(0x86dd, &inner)]);
    for outer in [
        outer4(17, &udp(4789, &vxlan)),
        outer6(41, &inner),
        outer4(47, &join(&[&[0, 0, 0x86, 0xdd], &inner])),
    ] {
        let (run, block) = run_raw(&fragments(&outer, 7, 104));
        let [packet] = run.joined()[..] else { panic!("{:?}", run.stops) };
        assert_eq!(packet.payload.of(&block.bytes), payload);
        assert_eq!(packet.key.port(packet.side.other()), 53);
        assert_ne!(packet.key.encap().0, 0);
    }
}

#[test]
fn fragments_inside_a_tunnel_and_fragments_of_those_are_joined() {
    let (inner, payload) = datagram(false, 300);
    let carry = |inner: &[u8]| outer6(47, &join(&[&[0, 0, 8, 0], inner]));
    let once: Vec<_> = fragments(&inner, 7, 104).iter().map(|part| carry(part)).collect();
    let twice: Vec<_> = once.iter().zip(1..).flat_map(|(ip, id)| fragments(ip, id, 64)).collect();
    for (frames, count) in [(&once, once.len()), (&twice, twice.len())] {
        let (run, block) = run_raw(frames);
        let [packet] = run.joined()[..] else { panic!("{:?}", run.stops) };
        assert_eq!(packet.payload.of(&block.bytes), payload);
        assert_eq!(packet.frames as usize, count);
        assert_eq!(run.held, count - 1);
    }
}

#[test]
fn fragments_of_two_vlans_do_not_mix() {
    let (ip, _) = datagram(false, 100);
    let parts = fragments(&ip, 7, 64);
    let tag = |id, ip: &[u8]| ethernet(0x8100, &join(&[&[0, id, 8, 0], ip]));
    let mut block = block_of(LinkType::ETHERNET, &[tag(1, &parts[0]), tag(2, &parts[1])]);
    let run = run(&mut Decoder::new(Options::default()), &mut block);
    assert_eq!((run.joined().len(), run.lost), (0, 2));
}

#[test]
fn a_fragment_with_other_ends_is_of_another_datagram() {
    let (ip, _) = datagram(true, 100);
    let mut parts = fragments(&ip, 7, 64);
    parts[1][24..40].copy_from_slice(&end6(99));
    let (run, _) = run_raw(&parts);
    assert_eq!((run.joined().len(), run.lost), (0, 2));
}

#[test]
fn the_payload_of_each_joined_datagram_lies_in_its_block() {
    let frames: Vec<_> = (0..5)
        .flat_map(|id| fragments(&datagram(false, 100 + usize::from(id)).0, id, 64))
        .collect();
    let mut block = block_of(LinkType::RAW, &frames);
    let decoded = decode_all(&mut Decoder::new(Options::default()), &mut block);
    let lens: Vec<_> = decoded
        .iter()
        .filter_map(|decoded| match decoded {
            Decoded::Packet(packet) => Some(packet.payload.of(&block.bytes).len()),
            _ => None,
        })
        .collect();
    assert_eq!(lens, [100, 101, 102, 103, 104]);
}
