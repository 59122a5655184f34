//! Frames that nobody thought of: built by etherparse, mutated, cut; the hot path against the general one.

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice, VlanId};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::capture::Block;
use crate::decode::walk::{Found, Step, Walk};
use crate::decode::{Decoded, Decoder, Options, fast};
use crate::packet::{LinkType, PointId, Side, Timestamp, Transport};

use super::block_of;
use super::corpus::samples;

/// What a frame is built of.
#[derive(Debug, Clone)]
struct Plan {
    is_v6: bool,
    is_tcp: bool,
    vlans: Vec<u16>,
    ends: [[u8; 16]; 2],
    ports: [u16; 2],
    seq: u32,
    options_len: usize,
    payload: Vec<u8>,
}

prop_compose! {
    fn plans()(
        (is_v6, is_tcp) in any::<(bool, bool)>(),
        vlans in prop::collection::vec(1_u16..4_095, 0..3),
        ends in any::<[[u8; 16]; 2]>(),
        ports in prop::array::uniform2(10_000_u16..),
        seq: u32,
        options in 0_usize..11,
        payload in prop::collection::vec(any::<u8>(), 0..100),
    ) -> Plan {
        Plan { is_v6, is_tcp, vlans, ends, ports, seq, options_len: options * 4, payload }
    }
}

impl Plan {
    fn build(&self) -> Vec<u8> {
        let link = PacketBuilder::ethernet2([1; 6], [2; 6]);
        let id = |at: usize| VlanId::try_new(self.vlans[at]).unwrap();
        let v4 = |end: [u8; 16]| [end[0], end[1], end[2], end[3]];
        let [src, dst] = self.ends;
        macro_rules! ip {
            ($link:expr) => {
                match self.is_v6 {
                    true => $link.ipv6(src, dst, 64),
                    false => $link.ipv4(v4(src), v4(dst), 64),
                }
            };
        }
        let ip = match self.vlans.len() {
            0 => ip!(link),
            1 => ip!(link.single_vlan(id(0))),
            _ => ip!(link.double_vlan(id(0), id(1))),
        };
        let mut frame = Vec::new();
        let [from, to] = self.ports;
        if self.is_tcp {
            let tcp = ip.tcp(from, to, self.seq, 99).syn().ack(5);
            let tcp = tcp.options_raw(&vec![1; self.options_len]).unwrap();
            tcp.write(&mut frame, &self.payload).unwrap();
        } else {
            ip.udp(from, to).write(&mut frame, &self.payload).unwrap();
        }
        frame
    }
}

/// Checks that the general path reads a frame as the hot path did.
fn agree(frame: &[u8], link: LinkType, wire_len: usize) -> Result<(), TestCaseError> {
    let options = Options::default();
    let Some(plain) = fast::read(frame, link, &options.rules()) else { return Ok(()) };
    let mut walk = Walk::new(frame, wire_len, options.rules());
    let Ok(Found::Segment(segment)) = walk.run(Step::Link(link)) else {
        return Err(TestCaseError::fail("only the hot path finds a packet"));
    };
    prop_assert_eq!(segment.ends, plain.ends);
    prop_assert_eq!(segment.body, plain.body);
    let mut decoder = Decoder::new(Options::default());
    let encap = decoder.encaps.of(&walk.layers, segment.depth);
    let vlans: Vec<u16> = plain.vlans.into_iter().filter(|&id| id != 0).collect();
    prop_assert_eq!(&decoder.encap(encap).vlans, &vlans);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_etherparse_builds_is_read_as_it_was_meant(plan in plans()) {
        let frame = plan.build();
        let mut block = block_of(LinkType::ETHERNET, std::slice::from_ref(&frame));
        let mut decoder = Decoder::new(Options::default());
        let Decoded::Packet(packet) = decoder.decode(&mut block, 0, 1) else {
            return Err(TestCaseError::fail("no packet"));
        };
        prop_assert_eq!(packet.payload.of(&block.bytes), &plan.payload);
        prop_assert_eq!(packet.cut_len, 0);
        let ports = [packet.side, packet.side.other()].map(|side| packet.key.port(side));
        prop_assert_eq!(ports, plan.ports);
        let src = match packet.key.address(packet.side) {
            std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
            std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        prop_assert_eq!(&src[..], &plan.ends[0][..src.len()]);
        prop_assert_eq!(packet.key.transport() == Transport::Tcp, plan.is_tcp);
        if plan.is_tcp {
            prop_assert_eq!((packet.tcp.seq, packet.tcp.ack, packet.tcp.window), (plan.seq, 5, 99));
            prop_assert!(packet.tcp.flags.is_syn_ack());
        }
        prop_assert_eq!(&decoder.encap(packet.key.encap()).vlans, &plan.vlans);
        agree(&frame, LinkType::ETHERNET, frame.len())?;
    }

    #[test]
    fn the_hot_path_reads_nothing_that_the_general_one_reads_otherwise(
        plan in plans(),
        changes in prop::collection::vec((0_usize..80, any::<u8>()), 0..3),
        keep in 0_usize..200,
        extra in 0_usize..50,
    ) {
        let mut frame = plan.build();
        let wire_len = frame.len() + extra;
        for (at, byte) in changes {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        frame.truncate(keep);
        agree(&frame, LinkType::ETHERNET, wire_len)?;
    }

    #[test]
    fn what_etherparse_reads_of_a_changed_frame_is_read_alike(
        plan in plans(),
        changes in prop::collection::vec((12_usize..80, any::<u8>()), 0..3),
    ) {
        let mut frame = plan.build();
        for (at, byte) in changes {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        let Ok(sliced) = SlicedPacket::from_ethernet(&frame) else { return Ok(()) };
        // A route's end is the receiver here, and there are more tunnels than etherparse knows.
        let (ports, payload) = match &sliced.transport {
            Some(TransportSlice::Tcp(tcp)) => {
                ([tcp.source_port(), tcp.destination_port()], tcp.payload())
            }
            Some(TransportSlice::Udp(udp)) => {
                ([udp.source_port(), udp.destination_port()], udp.payload())
            }
            _ => return Ok(()),
        };
        if Options::default().rules().tunnel(ports).is_some() {
            return Ok(());
        }
        let mut block = block_of(LinkType::ETHERNET, std::slice::from_ref(&frame));
        let decoded = Decoder::new(Options::default()).decode(&mut block, 0, 1);
        let Decoded::Packet(packet) = decoded else {
            return Err(TestCaseError::fail(format!("{decoded:?}")));
        };
        let ours = [packet.side, packet.side.other()].map(|side| packet.key.port(side));
        prop_assert_eq!(ours, ports);
        prop_assert_eq!(packet.payload.of(&block.bytes), payload);
        if let Some(NetSlice::Ipv4(v4)) = &sliced.net {
            let low = packet.key.address(Side::Low);
            let ends = [v4.header().source_addr(), v4.header().destination_addr()];
            prop_assert!(ends.iter().any(|end| low == *end));
        }
    }

    #[test]
    fn no_change_of_any_frame_panics_or_loses_a_frame(
        sample in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..8),
        keep in any::<Index>(),
        wire_len in prop_oneof![Just(None), any::<u32>().prop_map(Some)],
        link in prop_oneof![9 => Just(None), 1 => (0_u16..300).prop_map(Some)],
    ) {
        let samples = samples();
        let sample = sample.get(&samples);
        let mut frame = sample.bytes.clone();
        for (at, byte) in changes {
            *at.get_mut(&mut frame) = byte;
        }
        let keep = keep.index(frame.len() + 1);
        let wire_len = wire_len.unwrap_or_else(|| u32::try_from(frame.len()).unwrap());
        let mut block = Block::default();
        let link = link.map_or(sample.link, LinkType);
        block.push(Timestamp(0), PointId(0), link, wire_len, &frame[..keep]);
        let mut decoder = Decoder::new(Options::default());
        let decoded = decoder.decode(&mut block, 0, 1);
        decoder.finish();
        let lost: u64 = decoder.lost_fragments().map(|(_, frames)| frames).sum();
        prop_assert_eq!(lost, u64::from(matches!(decoded, Decoded::Held)));
        if let Decoded::Packet(packet) = decoded {
            let end = packet.payload.start as usize + packet.payload.len as usize;
            prop_assert!(end <= block.bytes.len());
        }
    }

    #[test]
    fn the_short_ways_read_what_the_general_one_reads(
        sample in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..4),
        near in prop::collection::vec((12_usize..60, any::<u8>()), 0..3),
        keep in any::<Index>(),
    ) {
        let samples = samples();
        let sample = sample.get(&samples);
        let mut frame = sample.bytes.clone();
        for (at, byte) in changes {
            *at.get_mut(&mut frame) = byte;
        }
        for (at, byte) in near {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        let wire_len = u32::try_from(frame.len()).unwrap();
        let keep = keep.index(frame.len() + 1);
        let read = |mut decoder: Decoder| {
            let mut block = Block::default();
            block.push(Timestamp(7), PointId(0), sample.link, wire_len, &frame[..keep]);
            decoder.decode(&mut block, 0, 1)
        };
        // Who traces goes the general way.
        let (short, general) = (read(Decoder::new(Options::default())), read(Decoder::traced(Options::default())));
        prop_assert_eq!(format!("{short:?}"), format!("{general:?}"));
    }

    #[test]
    fn no_bytes_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        link in 0_u16..300,
    ) {
        let mut block = block_of(LinkType(link), &[bytes]);
        Decoder::new(Options::default()).decode(&mut block, 0, 1);
    }
}
