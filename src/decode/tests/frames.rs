//! Single frames: what is read of each shape, what is left of it when it is cut, and what stops it.

use std::net::SocketAddr;

use crate::capture::Block;
use crate::decode::{Decoded, Decoder, Options, Stop};
use crate::packet::{LinkType, Packet, PointId, Side, TcpFlags, Timestamp, Transport};

use super::corpus::{
    self, PAYLOAD, Sample, ethernet, ipv4, ipv6, join, outer4, outer6, samples, udp,
};
use super::{block_of, decode_all};

/// Decodes a frame of which only the first bytes were captured.
fn decode_cut(decoder: &mut Decoder, link: LinkType, frame: &[u8], captured: usize) -> Decoded {
    let mut block = Block::default();
    let wire_len = u32::try_from(frame.len()).unwrap();
    block.push(Timestamp(0), PointId(0), link, wire_len, &frame[..captured]);
    decoder.decode(&mut block, 0, 1)
}

fn decode_one(link: LinkType, frame: &[u8]) -> Decoded {
    decode_cut(&mut Decoder::new(Options::default()), link, frame, frame.len())
}

fn packet(decoded: Decoded) -> Packet {
    match decoded {
        Decoded::Packet(packet) => packet,
        other => panic!("no packet: {other:?}"),
    }
}

fn stop(decoded: Decoded) -> Stop {
    match decoded {
        Decoded::Stop(stop) => stop,
        other => panic!("no stop: {other:?}"),
    }
}

fn ends(packet: &Packet) -> [SocketAddr; 2] {
    [packet.key.endpoint(packet.side), packet.key.endpoint(packet.side.other())]
}

fn is_inner(packet: &Packet) -> bool {
    packet.key.transport() == Transport::Tcp && ends(packet).map(|end| end.port()) == [40_000, 8280]
}

#[test]
fn every_shape_shows_the_segment_inside_and_what_it_travels_in() {
    for Sample { name, link, bytes, vlans, tunnels } in samples() {
        let mut decoder = Decoder::new(Options::default());
        let mut block = block_of(link, &[bytes]);
        let packet = packet(decode_all(&mut decoder, &mut block)[0]);
        assert!(is_inner(&packet), "{name}: {packet:?}");
        assert_eq!(packet.payload.of(&block.bytes), PAYLOAD, "{name}");
        assert_eq!((packet.cut_len, packet.frames), (0, 1), "{name}");
        assert_eq!((packet.tcp.seq, packet.tcp.ack, packet.tcp.window), (1_000, 7, 512), "{name}");
        assert!(packet.tcp.flags.has(TcpFlags::ACK), "{name}");
        let encap = decoder.encap(packet.key.encap());
        let seen: Vec<_> = encap.tunnels.iter().map(|t| (t.kind.name(), t.id)).collect();
        assert_eq!((&encap.vlans, &seen), (&vlans, &tunnels), "{name}");
        assert_eq!(packet.key.encap().0 == 0, vlans.is_empty() && tunnels.is_empty(), "{name}");
    }
}

#[test]
fn a_cut_frame_keeps_its_ports() {
    for Sample { name, link, bytes, .. } in samples() {
        let mut decoder = Decoder::new(Options::default());
        let whole = packet(decode_cut(&mut decoder, link, &bytes, bytes.len()));
        // The samples' TCP headers have no options.
        let ports_end = whole.payload.start as usize - 20 + 4;
        for captured in 0..bytes.len() {
            let decoded = decode_cut(&mut decoder, link, &bytes, captured);
            match decoded {
                Decoded::Packet(cut) if captured >= ports_end => {
                    assert_eq!(cut.key, whole.key, "{name} at {captured}");
                    assert_eq!(
                        cut.payload.len + cut.cut_len,
                        whole.payload.len,
                        "{name} at {captured}"
                    );
                    assert_eq!(cut.wire_len, whole.wire_len);
                }
                // A tunnel cut before its inner ports leaves the outer ones.
                Decoded::Packet(cut) => {
                    assert_eq!(cut.key.transport(), Transport::Udp, "{name} at {captured}");
                }
                Decoded::Stop(stop) if captured < ports_end => {
                    assert_eq!(stop, Stop::Truncated, "{name} at {captured}");
                }
                other => panic!("{name} at {captured}: {other:?}"),
            }
        }
    }
}

#[test]
fn padding_is_no_payload() {
    for ip in [ipv4(), ipv6()] {
        let kind = if ip[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
        let mut block = block_of(LinkType::ETHERNET, &[ethernet(kind, &join(&[&ip, &[0xee; 30]]))]);
        let packet = packet(Decoder::new(Options::default()).decode(&mut block, 0, 1));
        assert_eq!(packet.payload.of(&block.bytes), PAYLOAD);
        assert_eq!(packet.cut_len, 0);
    }
}

#[test]
fn a_udp_length_ends_the_payload_and_zero_does_not() {
    let mut bytes = udp(53, b"answer, then padding");
    for (stated, expected) in [
        (14, &b"answer"[..]),
        (0, b"answer, then padding"),
        (3, b""),
        (999, b"answer, then padding"),
    ] {
        bytes[4..6].copy_from_slice(&u16::to_be_bytes(stated));
        let mut block = block_of(LinkType::RAW, &[outer4(17, &bytes)]);
        let packet = packet(Decoder::new(Options::default()).decode(&mut block, 0, 1));
        assert_eq!(packet.payload.of(&block.bytes), expected, "{stated}");
    }
}

#[test]
fn an_impossible_data_offset_leaves_ports_and_nothing_else() {
    for offset in [0x00, 0x40, 0xf0] {
        let mut bytes = ipv4();
        bytes[32] = offset;
        bytes.truncate(20 + 24);
        bytes[2..4].copy_from_slice(&[0, 44]);
        let packet = packet(decode_one(LinkType::RAW, &bytes));
        assert!(is_inner(&packet));
        assert_eq!((packet.payload.len, packet.cut_len), (0, 0));
        assert_eq!(packet.tcp, crate::packet::TcpHeader::default());
    }
}

#[test]
fn an_ip_length_beyond_the_frame_counts_as_cut() {
    let mut bytes = ipv4();
    let len = u16::try_from(bytes.len() + 100).unwrap();
    bytes[2..4].copy_from_slice(&len.to_be_bytes());
    let packet = packet(decode_one(LinkType::RAW, &bytes));
    assert_eq!((packet.payload.len as usize, packet.cut_len), (PAYLOAD.len(), 100));
}

#[test]
fn stops_name_their_reason() {
    let v4 = ipv4();
    let mut short = v4.clone();
    short[2..4].copy_from_slice(&[0, 19]);
    let mut no_header = v4.clone();
    no_header[0] = 0x44;
    let ports_missing = [&v4[..2], &[0, 22], &v4[4..22]].concat();
    let tail = [0; 40];
    for (expected, link, frame) in [
        (Stop::Arp, LinkType::ETHERNET, ethernet(0x0806, &tail)),
        (Stop::Arp, LinkType::ETHERNET, ethernet(0x8035, &tail)),
        (Stop::Icmp, LinkType::RAW, outer4(1, &tail)),
        (Stop::Icmp, LinkType::RAW, outer6(58, &tail)),
        (Stop::Malformed, LinkType::RAW, short),
        (Stop::Malformed, LinkType::RAW, no_header),
        (Stop::Malformed, LinkType::RAW, ports_missing),
        (Stop::Malformed, LinkType::RAW, vec![0x30]),
        (Stop::Malformed, LinkType::ETHERNET, vec![0; 5]),
        (Stop::Malformed, LinkType::ETHERNET, ethernet(0x8100, &[0, 7, 0x81, 0].repeat(20))),
        (Stop::NotIp, LinkType::ETHERNET, ethernet(0x88cc, &tail)),
        (Stop::NotIp, LinkType::ETHERNET, ethernet(38, &[0x42, 0x42, 3, 0])),
        (Stop::NotIp, LinkType::ETHERNET, ethernet(0x8863, &tail)),
        (Stop::Opaque, LinkType::ETHERNET, ethernet(0x88e5, &[0x0c; 40])),
        (Stop::Opaque, LinkType::RAW, outer4(50, &tail)),
        (Stop::Opaque, LinkType::RAW, outer6(50, &tail)),
        (Stop::OtherTransport, LinkType::RAW, outer4(132, &tail)),
        (Stop::OtherTransport, LinkType::RAW, outer6(59, &[])),
        (Stop::OtherTransport, LinkType::RAW, outer4(47, &[0, 0, 0x88, 0xcc, 0, 0])),
        (Stop::OtherTransport, LinkType::RAW, outer4(47, &[0; 4])),
        (
            Stop::OtherTransport,
            LinkType::RAW,
            outer4(47, &join(&[&[0, 0, 8, 0], &outer4(47, &[0; 4])])),
        ),
        (Stop::UnknownLink, LinkType(147), tail.to_vec()),
    ] {
        assert_eq!(stop(decode_one(link, &frame)), expected, "{link:?} {frame:02x?}");
    }
}

#[test]
fn an_unknown_link_type_is_told_once() {
    let mut decoder = Decoder::new(Options::default());
    for link in [147, 148, 147, 1] {
        decode_cut(&mut decoder, LinkType(link), &[0; 60], 60);
    }
    assert_eq!(decoder.unknown_links(), [LinkType(147), LinkType(148)]);
    for link in 200..300 {
        decode_cut(&mut decoder, LinkType(link), &[0; 60], 60);
    }
    assert_eq!(decoder.unknown_links().len(), 16);
}

#[test]
fn what_is_no_flow_in_a_tunnel_leaves_the_outer_packet() {
    let ping = outer4(1, &[8, 0, 0, 0, 0, 0, 0, 0]);
    let head = [8, 0, 0, 0, 0, 0, 42, 0];
    for inner in [ethernet(0x0800, &ping), ethernet(0x0806, &[0; 28]), vec![0xff; 60], Vec::new()] {
        let payload = join(&[&head, &inner]);
        let frame = ethernet(0x0800, &outer4(17, &udp(4789, &payload)));
        let mut decoder = Decoder::new(Options::default());
        let mut block = block_of(LinkType::ETHERNET, &[frame]);
        let packet = packet(decoder.decode(&mut block, 0, 1));
        assert_eq!(ends(&packet).map(|end| end.port()), [50_000, 4789]);
        assert_eq!(packet.payload.of(&block.bytes), payload);
        assert_eq!(packet.key.encap().0, 0);
    }
}

#[test]
fn a_configured_port_carries_vxlan() {
    let head = [8, 0, 0, 0, 0, 0, 42, 0];
    let frame = outer4(17, &udp(5555, &join(&[&head, &ethernet(0x0800, &ipv4())])));
    assert_eq!(packet(decode_one(LinkType::RAW, &frame)).key.transport(), Transport::Udp);
    let options = Options { vxlan_ports: vec![5555], ..Options::default() };
    let decoded = decode_cut(&mut Decoder::new(options), LinkType::RAW, &frame, frame.len());
    assert!(is_inner(&packet(decoded)));
}

#[test]
fn both_directions_of_a_tunnel_are_one_flow_and_two_tenants_are_two() {
    let turn = |ip: &[u8]| join(&[&ip[..12], &ip[16..20], &ip[12..16], &ip[20..]]);
    let reply = {
        let ip = turn(&ipv4());
        join(&[&ip[..20], &ip[22..24], &ip[20..22], &ip[24..]])
    };
    let vxlan = |vni, inner: &[u8]| {
        outer4(17, &udp(4789, &join(&[&[8, 0, 0, 0, 0, 0, vni, 0], &ethernet(0x0800, inner)])))
    };
    let gtp = |teid, inner: &[u8]| {
        let len = u8::try_from(inner.len()).unwrap();
        outer4(17, &udp(2152, &join(&[&[0x30, 255, 0, len, 0, 0, 0, teid], inner])))
    };
    let mut decoder = Decoder::new(Options::default());
    let mut decode =
        |frame: &[u8]| packet(decode_cut(&mut decoder, LinkType::RAW, frame, frame.len()));
    let there = decode(&vxlan(1, &ipv4()));
    let back = decode(&turn(&vxlan(1, &reply)));
    assert_eq!((there.key, there.hash), (back.key, back.hash));
    assert_eq!(there.side, back.side.other());
    assert_ne!(decode(&vxlan(2, &ipv4())).key, there.key);
    let up = decode(&gtp(1, &ipv4()));
    let down = decode(&turn(&gtp(2, &reply)));
    assert_eq!(up.key, down.key);
    assert_eq!(up.side, down.side.other());
    assert_ne!(up.key, there.key);
}

#[test]
fn vlan_ids_can_be_left_out() {
    let tag = |id| ethernet(0x8100, &join(&[&[0, id, 8, 0], &ipv4()]));
    let options = Options { ignore_vlan: true, ..Options::default() };
    let mut decoder = Decoder::new(options);
    let mut key =
        |frame: &[u8]| packet(decode_cut(&mut decoder, LinkType::ETHERNET, frame, frame.len())).key;
    assert_eq!(key(&tag(1)), key(&tag(2)));
    assert_eq!(key(&tag(1)).encap().0, 0);
}

#[test]
fn another_domain_has_other_flows() {
    let mut decoder = Decoder::new(Options::default());
    let mut block = block_of(LinkType::RAW, &[ipv4()]);
    let first = packet(decoder.decode(&mut block, 0, 1));
    decoder.enter_domain(1);
    let second = packet(decoder.decode(&mut block, 0, 2));
    assert_ne!(first.key, second.key);
    assert_eq!(decoder.encap(second.key.encap()).domain, 1);
}

#[test]
fn a_refused_packet_is_told_with_its_sender() {
    let quoted = &ipv4()[..28];
    let mut decoder = Decoder::new(Options::default());
    let mut decode = |frame: &[u8]| decode_cut(&mut decoder, LinkType::RAW, frame, frame.len());
    let sent = packet(decode(&ipv4()));
    let error = |kind, code| outer4(1, &join(&[&[kind, code, 0, 0, 0, 0, 0, 0], quoted]));
    match decode(&error(3, 3)) {
        Decoded::Unreachable(told) => {
            assert_eq!((told.key, told.hash, told.side), (sent.key, sent.hash, sent.side));
        }
        other => panic!("{other:?}"),
    }
    // "Fragmentation needed", time exceeded and an echo refuse nothing.
    for (kind, code) in [(3, 4), (11, 0), (8, 0)] {
        assert_eq!(stop(decode(&error(kind, code))), Stop::Icmp);
    }
    let quoted = &ipv6()[..48];
    let sent = packet(decode(&ipv6()));
    match decode(&outer6(58, &join(&[&[1, 4, 0, 0, 0, 0, 0, 0], quoted]))) {
        Decoded::Unreachable(told) => assert_eq!((told.key, told.side), (sent.key, sent.side)),
        other => panic!("{other:?}"),
    }
    // Cut before the ports.
    let cut = outer4(1, &join(&[&[3, 3, 0, 0, 0, 0, 0, 0], &ipv4()[..22]]));
    assert_eq!(stop(decode(&cut)), Stop::Icmp);
}

#[test]
fn the_end_of_a_route_is_the_receiver() {
    let route = join(&[&[6, 2, 0, 1, 0, 0, 0, 0], &corpus::end6(9)]);
    let whole = ipv6();
    let len = u16::try_from(whole.len() - 40 + route.len()).unwrap().to_be_bytes();
    let ip = join(&[&whole[..4], &len, &[43], &whole[7..40], &route, &whole[40..]]);
    let packet = packet(decode_one(LinkType::RAW, &ip));
    assert_eq!(ends(&packet)[1].ip().to_string(), "fd00::9");
    assert!(Side::BOTH.contains(&packet.side));
}
