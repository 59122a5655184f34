//! Frames of every shape that is read, each with the same TCP segment inside, put together by hand from
//! the documents that define the headers.

use std::iter::repeat_n;

use etherparse::PacketBuilder;

use crate::packet::LinkType;

/// What the segment inside carries.
pub(super) const PAYLOAD: &[u8] = b"GET /pets HTTP/1.1\r\nHost: gw\r\n\r\n";

/// A frame, and what it travels in: VLAN ids, then name and id of each tunnel.
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) link: LinkType,
    pub(super) bytes: Vec<u8>,
    pub(super) vlans: Vec<u16>,
    pub(super) tunnels: Vec<(&'static str, Option<u32>)>,
}

impl Sample {
    fn new(name: &'static str, link: LinkType, bytes: Vec<u8>) -> Self {
        Self { name, link, bytes, vlans: Vec::new(), tunnels: Vec::new() }
    }

    fn vlans(mut self, vlans: &[u16]) -> Self {
        self.vlans = vlans.to_vec();
        self
    }

    fn tunnel(mut self, name: &'static str, id: Option<u32>) -> Self {
        self.tunnels.push((name, id));
        self
    }
}

/// The segment from 10.0.0.1:40000 to 10.0.0.2:8280, as IPv4.
pub(super) fn ipv4() -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
    builder.tcp(40_000, 8280, 1_000, 512).ack(7).psh().write(&mut bytes, PAYLOAD).unwrap();
    bytes
}

/// The segment between the addresses of the same last byte in `fd00::/64`, as IPv6.
pub(super) fn ipv6() -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ipv6(end6(1), end6(2), 64);
    builder.tcp(40_000, 8280, 1_000, 512).ack(7).psh().write(&mut bytes, PAYLOAD).unwrap();
    bytes
}

pub(super) fn end6(last: u8) -> [u8; 16] {
    let mut end = [0; 16];
    (end[0], end[15]) = (0xfd, last);
    end
}

/// Puts headers in front of a payload.
pub(super) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub(super) fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    join(&[&[2, 0, 0, 0, 0, 2], &[2, 0, 0, 0, 0, 1], &kind.to_be_bytes(), payload])
}

/// An IPv4 packet between the tunnel's ends, 192.0.2.1 and 192.0.2.2.
pub(super) fn outer4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let head = [0x45, 0, len[0], len[1], 0, 1, 0x40, 0, 64, protocol, 0, 0];
    join(&[&head, &[192, 0, 2, 1], &[192, 0, 2, 2], payload])
}

pub(super) fn outer6(next: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    join(&[&[0x60, 0, 0, 0, len[0], len[1], next, 64], &end6(11), &end6(12), payload])
}

pub(super) fn udp(dst: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).unwrap();
    let fields = [50_000, dst, len, 0].map(u16::to_be_bytes).concat();
    join(&[&fields, payload])
}

fn udp_tunnel(port: u16, payload: &[u8]) -> Vec<u8> {
    ethernet(0x0800, &outer4(17, &udp(port, payload)))
}

fn gre(head: &[u8], payload: &[u8]) -> Vec<u8> {
    ethernet(0x0800, &outer4(47, &join(&[head, payload])))
}

fn with_extensions(first: u8, extensions: &[u8]) -> Vec<u8> {
    let whole = ipv6();
    let len = u16::try_from(whole.len() - 40 + extensions.len()).unwrap().to_be_bytes();
    let head = join(&[&whole[..4], &len, &[first], &whole[7..40]]);
    ethernet(0x86dd, &join(&[&head, extensions, &whole[40..]]))
}

/// All of them.
pub(super) fn samples() -> Vec<Sample> {
    [links(), tags(), extensions(), ip_tunnels(), udp_tunnels()].into_iter().flatten().collect()
}

fn links() -> Vec<Sample> {
    let (v4, v6) = (ipv4(), ipv6());
    let frame = ethernet(0x0800, &v4);
    let sll = |kind: u16| join(&[&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0], &kind.to_be_bytes()]);
    let mut sll2 = vec![0; 20];
    sll2[0..2].copy_from_slice(&[0x08, 0x00]);
    let snap = [0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0];
    let llc_len = u16::try_from(snap.len() + v4.len()).unwrap();
    let nflog_len = u16::try_from(v4.len() + 4).unwrap().to_le_bytes();
    let nflog = [2, 0, 0, 5, 5, 0, 10, 0, b'x', 0, 0, 0, nflog_len[0], nflog_len[1], 9, 0];
    let qos_data = join(&[&[0x88, 0x01], &[0; 24]]);
    let radiotap = [0, 0, 9, 0, 2, 0, 0, 0, 0x20];
    let mut pktap = vec![0; 108];
    (pktap[0], pktap[4], pktap[8]) = (108, 1, 1);
    let mut samples = vec![
        Sample::new("ethernet", LinkType::ETHERNET, frame.clone()),
        Sample::new("ethernet, IPv6", LinkType::ETHERNET, ethernet(0x86dd, &v6)),
        Sample::new("snap", LinkType::ETHERNET, ethernet(llc_len, &join(&[&snap, &v4]))),
        Sample::new("llc", LinkType::ETHERNET, ethernet(100, &join(&[&[6, 6, 3], &v4]))),
        Sample::new("sll", LinkType::LINUX_SLL, join(&[&sll(0x0800), &v4])),
        Sample::new("sll, IPv6", LinkType::LINUX_SLL, join(&[&sll(0x86dd), &v6])),
        Sample::new("sll, llc", LinkType::LINUX_SLL, join(&[&sll(4), &snap, &v4])),
        Sample::new("sll2", LinkType::LINUX_SLL2, join(&[&sll2, &v4])),
        Sample::new("loop", LinkType::LOOP, join(&[&[0, 0, 0, 24], &v6])),
        Sample::new("ppp", LinkType(9), join(&[&[0xff, 3, 0, 0x21], &v4])),
        Sample::new("ppp, bare", LinkType(9), join(&[&[0, 0x57], &v6])),
        Sample::new("ppp, compressed", LinkType(9), join(&[&[0x21], &v4])),
        Sample::new("ppp, framed", LinkType(50), join(&[&[0xff, 3, 0, 0x21], &v4])),
        Sample::new("cisco hdlc", LinkType(104), join(&[&[0x0f, 0, 8, 0], &v4])),
        Sample::new("pppd", LinkType(166), join(&[&[1, 3, 0, 0x21][..1], &[0, 0x21], &v4])),
        Sample::new("nflog", LinkType(239), join(&[&nflog, &v4])),
        Sample::new("netanalyzer", LinkType(240), join(&[&[0; 4], &frame])),
        Sample::new("pktap", LinkType(258), join(&[&pktap, &frame])),
        Sample::new("802.11", LinkType(105), join(&[&qos_data, &snap, &v4])),
        Sample::new("radiotap", LinkType(127), join(&[&radiotap, &qos_data, &[0; 2], &snap, &v4])),
        Sample::new("ppi", LinkType(192), join(&[&[0, 0, 8, 0, 1, 0, 0, 0], &frame])),
        Sample::new("ppp, direction", LinkType(204), join(&[&[1, 0xff, 3, 0, 0x21], &v4])),
        Sample::new("cisco hdlc, direction", LinkType(205), join(&[&[0, 0x0f, 0, 8, 0], &v4])),
        Sample::new("prism", LinkType(119), join(&[&[0; 144], &qos_data, &snap, &v4])),
    ];
    for link in [12, 14, 101, 228] {
        samples.push(Sample::new("raw", LinkType(link), v4.clone()));
    }
    samples.push(Sample::new("raw, IPv6", LinkType(229), v6.clone()));
    for family in [[2, 0, 0, 0], [0, 0, 0, 2]] {
        samples.push(Sample::new("null", LinkType::NULL, join(&[&family, &v4])));
    }
    for family in [10, 23, 24, 28, 30] {
        for family in [[family, 0, 0, 0], [0, 0, 0, family]] {
            samples.push(Sample::new("null, IPv6", LinkType::NULL, join(&[&family, &v6])));
        }
    }
    samples
}

fn tags() -> Vec<Sample> {
    let v4 = ipv4();
    let sample = |name, head: &[u8]| {
        let kind = u16::from_be_bytes([head[0], head[1]]);
        Sample::new(name, LinkType::ETHERNET, ethernet(kind, &join(&[&head[2..], &v4])))
    };
    let v4_len = u8::try_from(v4.len() + 2).unwrap();
    let inner = ethernet(0x0800, &v4);
    let around = |kind, head: &[u8]| ethernet(kind, &join(&[head, &inner]));
    let ethernet_frame = |name, bytes| Sample::new(name, LinkType::ETHERNET, bytes);
    vec![
        sample("vlan", &[0x81, 0, 0x20, 7, 8, 0]).vlans(&[7]),
        sample("priority", &[0x81, 0, 0x20, 0, 8, 0]),
        sample("qinq", &[0x88, 0xa8, 0, 7, 0x81, 0, 0, 8, 8, 0]).vlans(&[7, 8]),
        sample("three tags", &[0x91, 0, 0, 7, 0x92, 0, 0, 8, 0x81, 0, 0, 9, 8, 0])
            .vlans(&[7, 8, 9]),
        sample("vn-tag", &[0x89, 0x26, 0, 0, 0, 0, 8, 0]),
        sample("e-tag", &[0x89, 0x3f, 0, 0, 0, 0, 0, 0, 8, 0]),
        sample("cmd", &[0x89, 0x09, 1, 1, 0, 1, 0, 5, 8, 0]),
        sample("macsec, clear", &[0x88, 0xe5, 0, 0, 0, 0, 0, 1, 8, 0]),
        sample("mpls", &[0x88, 0x47, 0, 1, 0, 64, 0, 2, 1, 64]).tunnel("mpls", Some(32)),
        sample("pppoe", &[0x88, 0x64, 0x11, 0, 0, 5, 0, v4_len, 0, 0x21]).tunnel("pppoe", Some(5)),
        ethernet_frame("mpls, ethernet", around(0x8847, &[0, 2, 1, 64])).tunnel("mpls", Some(32)),
        ethernet_frame("mpls, control word", around(0x8847, &[0, 2, 1, 64, 0, 0, 0, 0]))
            .tunnel("mpls", Some(32)),
        ethernet_frame("pbb", around(0x88e7, &[0, 0, 1, 2])).tunnel("pbb", Some(0x102)),
        ethernet_frame("nsh", around(0x894f, &[0, 2, 2, 3, 0, 0, 9, 255])).tunnel("nsh", Some(9)),
    ]
}

fn extensions() -> Vec<Sample> {
    let (v4, v6) = (ipv4(), ipv6());
    let len = u16::try_from(v4.len() + 4).unwrap().to_be_bytes();
    let options = join(&[&[0x46, 0], &len, &v4[4..20], &[1, 1, 1, 0], &v4[20..]]);
    let no_len = join(&[&v4[..2], &[0, 0], &v4[4..]]);
    let no_len6 = join(&[&v6[..4], &[0, 0], &v6[6..]]);
    let jumbo_len = u8::try_from(v6.len() - 40 + 8).unwrap();
    let jumbo_option = [6, 0, 0xc2, 4, 0, 0, 0, jumbo_len];
    let jumbo = join(&[&v6[..4], &[0, 0, 0], &v6[7..40], &jumbo_option, &v6[40..]]);
    let authentication =
        [6, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    let authenticated_len = u16::try_from(v4.len() + 24).unwrap().to_be_bytes();
    let authenticated = join(&[
        &v4[..2],
        &authenticated_len,
        &v4[4..9],
        &[51],
        &v4[10..20],
        &authentication,
        &v4[20..],
    ]);
    let frame =
        |name, kind, payload: &[u8]| Sample::new(name, LinkType::ETHERNET, ethernet(kind, payload));
    let v6_frame = |name, bytes| Sample::new(name, LinkType::ETHERNET, bytes);
    let route = join(&[&[6, 2, 4, 1, 0, 0, 0, 0], &end6(2)]);
    let mut chain = vec![43, 0, 1, 4, 0, 0, 0, 0];
    chain.extend([60, 0, 0, 0, 0, 0, 0, 0, 51, 0, 1, 4, 0, 0, 0, 0]);
    chain.extend(authentication);
    vec![
        frame("options", 0x0800, &options),
        frame("length zero", 0x0800, &no_len),
        frame("length zero, IPv6", 0x86dd, &no_len6),
        frame("jumbogram", 0x86dd, &jumbo),
        frame("authentication", 0x0800, &authenticated),
        v6_frame("route", with_extensions(43, &route)),
        v6_frame("atomic fragment", with_extensions(44, &[6, 0, 0, 0, 0, 0, 0, 9])),
        v6_frame("chain", with_extensions(0, &chain)),
        v6_frame("mobility, hip, shim6", {
            let empty = |next| [next, 0, 0, 0, 0, 0, 0, 0];
            with_extensions(135, &join(&[&empty(139), &empty(140), &empty(6)]))
        }),
    ]
}

fn ip_tunnels() -> Vec<Sample> {
    let (v4, v6) = (ipv4(), ipv6());
    let inner = ethernet(0x0800, &v4);
    let frame = |name, bytes| Sample::new(name, LinkType::ETHERNET, bytes);
    let over4 = |protocol, payload: &[u8]| ethernet(0x0800, &outer4(protocol, payload));
    let over6 = |protocol, payload: &[u8]| ethernet(0x86dd, &outer6(protocol, payload));
    let mut gre_all = vec![0xf0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1];
    gre_all.extend([8, 0, 0, 4, 1, 2, 3, 4, 0, 0, 0, 0]);
    let pptp = [0x30, 0x81, 0x88, 0x0b, 0, 60, 0, 9, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 3, 0, 0x21];
    let erspan_iii = [0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 7, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1];
    vec![
        frame("4in4", over4(4, &v4)).tunnel("ip-in-ip", None),
        frame("6in4", over4(41, &v6)).tunnel("ip-in-ip", None),
        frame("4in6", over6(4, &v4)).tunnel("ip-in-ip", None),
        frame("6in6", over6(41, &v6)).tunnel("ip-in-ip", None),
        frame("etherip", over4(97, &join(&[&[0x30, 0], &inner]))).tunnel("etherip", None),
        frame("ethernet in ip", over6(143, &inner)).tunnel("etherip", None),
        frame("mpls in ip", over4(137, &join(&[&[0, 2, 1, 64], &v4]))).tunnel("mpls", Some(32)),
        frame("l2tp in ip", over4(115, &join(&[&[0, 0, 0, 7], &inner]))).tunnel("l2tp", Some(7)),
        frame("gre", gre(&[0, 0, 8, 0], &v4)).tunnel("gre", None),
        frame("gre, all fields", gre(&gre_all, &v4)).tunnel("gre", Some(5)),
        frame("gre, ethernet", gre(&[0x20, 0, 0x65, 0x58, 0, 0, 0, 5], &inner))
            .tunnel("gre", Some(5)),
        frame("nvgre", gre(&[0x20, 0, 0x65, 0x58, 0, 0x12, 0x34, 5], &inner))
            .tunnel("gre", Some(0x1234)),
        frame("wccp", gre(&[0, 0, 0x88, 0x3e, 1, 2, 3, 4], &v4)).tunnel("gre", None),
        frame("gre, mpls", gre(&[0, 0, 0x88, 0x47, 0, 2, 1, 64], &v4))
            .tunnel("gre", None)
            .tunnel("mpls", Some(32)),
        frame("pptp", gre(&pptp, &v4)).tunnel("pptp", Some(9)),
        frame("erspan I", gre(&[0, 0, 0x88, 0xbe], &inner)).tunnel("erspan", None),
        frame(
            "erspan II",
            gre(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 7, 0, 9, 0, 0, 0, 0], &inner),
        )
        .tunnel("erspan", Some(9)),
        frame("erspan III", gre(&join(&[&erspan_iii, &[0; 8]]), &inner)).tunnel("erspan", Some(9)),
    ]
}

fn udp_tunnels() -> Vec<Sample> {
    let (v4, v6) = (ipv4(), ipv6());
    let inner = ethernet(0x0800, &v4);
    let tagged = ethernet(0x8100, &join(&[&[0, 7, 8, 0], &v4]));
    let frame = |name, port, head: &[u8], payload: &[u8]| {
        Sample::new(name, LinkType::ETHERNET, udp_tunnel(port, &join(&[head, payload])))
    };
    let gtp_len = |extra| u16::try_from(v4.len() + extra).unwrap().to_be_bytes();
    let [h, l] = gtp_len(0);
    let gtp = [0x30, 255, h, l, 0, 0, 0, 77];
    let l2tp_len = u8::try_from(v4.len() + 18).unwrap();
    let [h, l] = gtp_len(8);
    let gtp_extended = [0x34, 255, h, l, 0, 0, 0, 77, 0, 0, 0, 0x85, 1, 0x10, 9, 0];
    let authentication: Vec<u8> = [0, 1, 1, 2, 9, 9, 9].into_iter().chain(repeat_n(0, 9)).collect();
    let origin = [0, 0, 1, 2, 3, 4, 5, 6];
    vec![
        frame("vxlan", 4789, &[8, 0, 0, 0, 0, 0, 42, 0], &inner).tunnel("vxlan", Some(42)),
        frame("vxlan, old port", 8472, &[8, 0, 0, 0, 0, 0, 42, 0], &inner)
            .tunnel("vxlan", Some(42)),
        frame("vxlan, group policy", 4789, &[0x88, 0, 0, 3, 0, 0, 42, 0], &tagged)
            .vlans(&[7])
            .tunnel("vxlan", Some(42)),
        frame("vxlan gpe", 4790, &[0x0c, 0, 0, 1, 0, 0, 42, 0], &v4).tunnel("vxlan", Some(42)),
        frame("vxlan gpe, nsh", 4790, &[0x0c, 0, 0, 4, 0, 0, 42, 0, 0, 2, 2, 1, 0, 0, 9, 255], &v4)
            .tunnel("vxlan", Some(42))
            .tunnel("nsh", Some(9)),
        frame("geneve", 6081, &[0, 0, 0x65, 0x58, 0, 0, 42, 0], &inner).tunnel("geneve", Some(42)),
        frame("geneve, options, IP", 6081, &[1, 0, 8, 0, 0, 0, 42, 0, 1, 2, 3, 4], &v4)
            .tunnel("geneve", Some(42)),
        frame("gtp", 2152, &gtp, &v4).tunnel("gtp", Some(77)),
        frame("gtp, extension", 2152, &gtp_extended, &v4).tunnel("gtp", Some(77)),
        frame("l2tp", 1701, &[0, 2, 0, 1, 0, 2, 0xff, 3, 0, 0x21], &v4)
            .tunnel("l2tp", Some(0x1_0002)),
        frame(
            "l2tp, all fields",
            1701,
            &[0x4a, 2, 0, l2tp_len, 0, 1, 0, 2, 0, 1, 0, 1, 0, 2, 9, 9, 0, 0x21],
            &v4,
        )
        .tunnel("l2tp", Some(0x1_0002)),
        frame("l2tp, version 3", 1701, &[0, 3, 0, 0, 0, 0, 0, 7, 1, 2, 3, 4], &inner)
            .tunnel("l2tp", Some(7)),
        frame("mpls in udp", 6635, &[0, 2, 1, 64], &v4).tunnel("mpls", Some(32)),
        frame("tzsp", 37_008, &[1, 0, 0, 1, 0x0a, 1, 9, 0, 1], &inner).tunnel("tzsp", None),
        frame("teredo", 3544, &[], &v6).tunnel("teredo", None),
        frame("teredo, headers", 3544, &join(&[&authentication, &origin]), &v6)
            .tunnel("teredo", None),
    ]
}
