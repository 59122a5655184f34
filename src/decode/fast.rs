//! The commonest shapes, read by hand: Ethernet, cooked or raw, at most two VLAN tags, IPv4 without options or
//! IPv6 without extension headers, TCP or UDP, with whole headers and lengths that fit.
//!
//! Gives `None` for everything else, which the general path then reads from the start. Where both can
//! read a frame they agree; a property test holds them together.

use crate::packet::{LinkType, Span, TcpFlags, TcpHeader, Transport};

use super::ip::{Ends, protocol};
use super::walk::{Body, Rules, be16, narrow};

/// What the hot path reads of a frame.
pub(super) struct Plain {
    pub(super) ends: Ends,
    /// Relative to the frame.
    pub(super) body: Body,
    /// VLAN ids from outside in; 0 where there is none.
    pub(super) vlans: [u16; VLANS_MAX],
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const PROVIDER_VLAN: u16 = 0x88a8;

/// VLAN tags read here; frames with more are rare.
const VLANS_MAX: usize = 2;

/// Where the transport begins behind Ethernet's header and IPv4's.
const START: usize = 14 + 20;

/// Reads the commonest frames of all: Ethernet without tags, IPv4 without options, TCP or UDP. One look at the
/// length is enough for all that stands at a fixed place.
#[inline(always)]
#[expect(clippy::inline_always, reason = "once a packet, and too much to hand over")]
pub(super) fn ipv4(frame: &[u8], rules: &Rules<'_>) -> Option<(Ends, Body)> {
    let head: &[u8; START + 8] = frame.first_chunk()?;
    let two = |at: usize| be16([head[at], head[at + 1]]);
    let four = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
    // As for `read`: version 4, no options, no fragment.
    if two(12) != IPV4 || head[14] != 0x45 || two(20) & 0x3fff != 0 {
        return None;
    }
    let stated = usize::from(two(16)).checked_sub(20)?;
    let ends = Ends::V4 { src: four(26), dst: four(30) };
    let ports = [two(START), two(START + 2)];
    if head[23] == protocol::TCP {
        let head: &[u8; START + 20] = frame.first_chunk()?;
        let four = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
        let end = stated.min(frame.len() - START);
        let header_len = usize::from(head[46] >> 4) * 4;
        if header_len < 20 || header_len > end {
            return None;
        }
        let body = Body {
            ports,
            transport: Transport::Tcp,
            tcp: TcpHeader {
                seq: u32::from_be_bytes(four(38)),
                ack: u32::from_be_bytes(four(42)),
                window: be16([head[48], head[49]]),
                flags: TcpFlags(head[47]),
            },
            payload: Span { start: narrow(START + header_len), len: narrow(end - header_len) },
            cut_len: narrow(stated - end),
        };
        return Some((ends, body));
    }
    let len = usize::from(two(38));
    if head[23] != protocol::UDP || len < 8 || len > stated || rules.tunnel(ports).is_some() {
        return None;
    }
    let end = len.min(frame.len() - START);
    let body = Body {
        ports,
        transport: Transport::Udp,
        tcp: TcpHeader::default(),
        payload: Span { start: narrow(START + 8), len: narrow(end - 8) },
        cut_len: narrow(len - end),
    };
    Some((ends, body))
}

/// Reads a frame of a common shape.
#[inline(always)]
#[expect(clippy::inline_always, reason = "once a packet, and too much to hand over")]
pub(super) fn read(frame: &[u8], link: LinkType, rules: &Rules<'_>) -> Option<Plain> {
    let (mut kind, mut rest) = match link {
        LinkType::ETHERNET => {
            let (&[.., a, b], rest) = frame.split_first_chunk::<14>()?;
            (be16([a, b]), rest)
        }
        LinkType::LINUX_SLL => {
            let (&[.., a, b], rest) = frame.split_first_chunk::<16>()?;
            (be16([a, b]), rest)
        }
        LinkType::LINUX_SLL2 => {
            let (&[a, b, ..], rest) = frame.split_first_chunk::<20>()?;
            (be16([a, b]), rest)
        }
        LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 => match frame.first()? >> 4 {
            4 => (IPV4, frame),
            6 => (IPV6, frame),
            _ => return None,
        },
        _ => return None,
    };
    let mut vlans = [0; VLANS_MAX];
    let mut ids = vlans.iter_mut();
    for _ in 0..VLANS_MAX {
        if !matches!(kind, VLAN | PROVIDER_VLAN) {
            break;
        }
        let (&[a, b, c, d], after) = rest.split_first_chunk::<4>()?;
        let id = be16([a, b]) & 0x0fff;
        if id != 0 && !rules.ignore_vlan {
            *ids.next()? = id;
        }
        (kind, rest) = (be16([c, d]), after);
    }
    let (ends, number, stated, rest) = match kind {
        IPV4 => {
            let (ip, rest) = rest.split_first_chunk::<20>()?;
            // Version 4, no options; neither a fragment nor the first of some.
            if ip[0] != 0x45 || ip[6] & 0x3f | ip[7] != 0 {
                return None;
            }
            let stated = usize::from(be16([ip[2], ip[3]])).checked_sub(20)?;
            let src = [ip[12], ip[13], ip[14], ip[15]];
            let dst = [ip[16], ip[17], ip[18], ip[19]];
            (Ends::V4 { src, dst }, ip[9], stated, rest)
        }
        IPV6 => {
            let (ip, rest) = rest.split_first_chunk::<40>()?;
            if ip[0] >> 4 != 6 {
                return None;
            }
            let stated = usize::from(be16([ip[4], ip[5]]));
            let (_, addresses) = ip.split_first_chunk::<8>()?;
            let (&src, dst) = addresses.split_first_chunk::<16>()?;
            (Ends::V6 { src, dst: *dst.first_chunk()? }, ip[6], stated, rest)
        }
        _ => return None,
    };
    let start = frame.len() - rest.len();
    let body = transport(rest, start, stated, number, rules)?;
    Some(Plain { ends, body, vlans })
}

/// Reads the transport; `stated` is the length that the IP header gives.
#[inline(always)]
#[expect(clippy::inline_always, reason = "once a packet, and too much to hand over")]
fn transport(
    rest: &[u8],
    start: usize,
    stated: usize,
    number: u8,
    rules: &Rules<'_>,
) -> Option<Body> {
    match number {
        protocol::TCP => {
            let (&[a, b, c, d, s0, s1, s2, s3, a0, a1, a2, a3, offset, flags, w0, w1, ..], _) =
                rest.split_first_chunk::<20>()?;
            let header_len = usize::from(offset >> 4) * 4;
            let end = rest.len().min(stated);
            if header_len < 20 || header_len > end {
                return None;
            }
            Some(Body {
                ports: [be16([a, b]), be16([c, d])],
                transport: Transport::Tcp,
                tcp: TcpHeader {
                    seq: u32::from_be_bytes([s0, s1, s2, s3]),
                    ack: u32::from_be_bytes([a0, a1, a2, a3]),
                    window: be16([w0, w1]),
                    flags: TcpFlags(flags),
                },
                payload: Span { start: narrow(start + header_len), len: narrow(end - header_len) },
                cut_len: narrow(stated - end),
            })
        }
        protocol::UDP => {
            let (&[a, b, c, d, l0, l1, ..], _) = rest.split_first_chunk::<8>()?;
            let ports = [be16([a, b]), be16([c, d])];
            let len = usize::from(be16([l0, l1]));
            if len < 8 || len > stated || rules.tunnel(ports).is_some() {
                return None;
            }
            let end = rest.len().min(len);
            Some(Body {
                ports,
                transport: Transport::Udp,
                tcp: TcpHeader::default(),
                payload: Span { start: narrow(start + 8), len: narrow(end - 8) },
                cut_len: narrow(len - end),
            })
        }
        _ => None,
    }
}
