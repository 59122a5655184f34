//! IPv4 and IPv6: lengths, extension headers, fragments.

use std::net::IpAddr;

use etherparse::err::{ipv4, ipv6};
use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};

use super::Stop;
use super::encap::TunnelKind;
use super::walk::{Found, Part, Step, Walk, be16, narrow};

/// IP protocol numbers (IANA), also those of IPv6 extension headers.
pub(super) mod protocol {
    pub(in crate::decode) const HOP_BY_HOP: u8 = 0;
    pub(in crate::decode) const ICMP: u8 = 1;
    pub(in crate::decode) const IPV4: u8 = 4;
    pub(in crate::decode) const TCP: u8 = 6;
    pub(in crate::decode) const UDP: u8 = 17;
    pub(in crate::decode) const IPV6: u8 = 41;
    pub(in crate::decode) const ROUTING: u8 = 43;
    pub(in crate::decode) const FRAGMENT: u8 = 44;
    pub(in crate::decode) const GRE: u8 = 47;
    pub(in crate::decode) const ESP: u8 = 50;
    pub(in crate::decode) const AUTHENTICATION: u8 = 51;
    pub(in crate::decode) const ICMPV6: u8 = 58;
    pub(in crate::decode) const DESTINATION_OPTIONS: u8 = 60;
    /// IP in IP as KA9Q numbered it.
    pub(in crate::decode) const IPIP: u8 = 94;
    pub(in crate::decode) const ETHERIP: u8 = 97;
    pub(in crate::decode) const L2TP: u8 = 115;
    pub(in crate::decode) const MOBILITY: u8 = 135;
    pub(in crate::decode) const MPLS: u8 = 137;
    pub(in crate::decode) const HIP: u8 = 139;
    pub(in crate::decode) const SHIM6: u8 = 140;
    pub(in crate::decode) const ETHERNET: u8 = 143;
}

/// Sender and receiver of an IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Ends {
    V4 { src: [u8; 4], dst: [u8; 4] },
    V6 { src: [u8; 16], dst: [u8; 16] },
}

impl Ends {
    pub(super) fn is_v6(self) -> bool {
        matches!(self, Self::V6 { .. })
    }

    /// Tells whether the sender has the higher address.
    pub(super) fn is_turned(self) -> bool {
        match self {
            Self::V4 { src, dst } => src > dst,
            Self::V6 { src, dst } => src > dst,
        }
    }

    /// Returns both addresses, the lower first.
    pub(super) fn sorted(self) -> [IpAddr; 2] {
        let mut ends: [IpAddr; 2] = match self {
            Self::V4 { src, dst } => [src.into(), dst.into()],
            Self::V6 { src, dst } => [src.into(), dst.into()],
        };
        ends.sort_unstable();
        ends
    }
}

impl Walk<'_> {
    pub(super) fn ip(&mut self) -> Result<Step, Stop> {
        match self.peek::<1>()?[0] >> 4 {
            4 => self.ipv4(),
            6 => self.ipv6(),
            _ => Err(Stop::Malformed),
        }
    }

    fn ipv4(&mut self) -> Result<Step, Stop> {
        let header = Ipv4HeaderSlice::from_slice(self.rest()).map_err(|e| match e {
            ipv4::HeaderSliceError::Len(len) => self.short_of(len.required_len),
            ipv4::HeaderSliceError::Content(_) => Stop::Malformed,
        })?;
        let header_len = header.slice().len();
        match usize::from(header.total_len()) {
            // Left to the network card: the packet fills the frame (TSO, BIG TCP).
            0 => {}
            total if total < header_len => return Err(Stop::Malformed),
            total => self.limit(total),
        }
        self.skip(header_len)?;
        self.ends = Some(Ends::V4 { src: header.source(), dst: header.destination() });
        let number = header.protocol().0;
        if !header.is_fragmenting_payload() {
            return Ok(Step::Protocol(number));
        }
        let start = u32::from(header.fragments_offset().value()) * 8;
        let id = u32::from(header.identification());
        self.fragment(Part {
            name_protocol: number,
            ..self.part(id, number, start, header.more_fragments())?
        })
    }

    fn ipv6(&mut self) -> Result<Step, Stop> {
        let header = Ipv6HeaderSlice::from_slice(self.rest()).map_err(|e| match e {
            ipv6::HeaderSliceError::Len(len) => self.short_of(len.required_len),
            ipv6::HeaderSliceError::Content(_) => Stop::Malformed,
        })?;
        self.skip(header.slice().len())?;
        let number = header.next_header().0;
        match usize::from(header.payload_length()) {
            // A jumbogram says its length in an option (RFC 2675 §2), or the network card will.
            0 if number == protocol::HOP_BY_HOP => {
                if let Some(len) = self.jumbo_len() {
                    self.limit(len);
                }
            }
            0 => {}
            len => self.limit(len),
        }
        self.ends = Some(Ends::V6 { src: header.source(), dst: header.destination() });
        Ok(Step::Protocol(number))
    }

    /// Returns the jumbo payload length of the hop-by-hop header that follows.
    fn jumbo_len(&self) -> Option<usize> {
        const PAD1: u8 = 0;
        const JUMBO: u8 = 0xc2;
        let len = (usize::from(*self.rest().get(1)?) + 1) * 8;
        let mut options = self.rest().get(2..len)?;
        loop {
            match *options {
                [PAD1, ref next @ ..] => options = next,
                [JUMBO, 4, a, b, c, d, ..] => {
                    return usize::try_from(u32::from_be_bytes([a, b, c, d])).ok();
                }
                [_, len, ref next @ ..] => options = next.get(usize::from(len)..)?,
                _ => return None,
            }
        }
    }

    /// What an IP protocol number names: an extension header, a tunnel or a transport.
    pub(super) fn protocol(&mut self, number: u8) -> Result<Step, Stop> {
        let is_v6 = self.ends.is_some_and(Ends::is_v6);
        match number {
            protocol::TCP => self.tcp(),
            protocol::UDP => self.udp(),
            protocol::ICMP | protocol::ICMPV6 => self.icmp(number),
            protocol::AUTHENTICATION => {
                let &[next, len, ..] = self.peek::<8>()?;
                self.skip((usize::from(len) + 2) * 4)?;
                Ok(Step::Protocol(next))
            }
            protocol::ROUTING if is_v6 => {
                self.follow_route();
                self.extension()
            }
            _ if is_v6 && is_extension(number) => self.extension(),
            protocol::FRAGMENT if is_v6 => self.fragment_header(),
            protocol::ESP => Err(Stop::Opaque),
            _ if self.is_quote => Err(Stop::OtherTransport),
            protocol::IPV4 | protocol::IPV6 | protocol::IPIP => {
                self.enter(TunnelKind::IpInIp, None)?;
                Ok(Step::Ip)
            }
            protocol::GRE => self.gre(),
            protocol::MPLS => Ok(Step::Mpls),
            protocol::L2TP => self.l2tp_session(),
            protocol::ETHERIP => {
                self.skip(2)?;
                self.enter(TunnelKind::EtherIp, None)?;
                Ok(Step::Ethernet)
            }
            protocol::ETHERNET => {
                self.enter(TunnelKind::EtherIp, None)?;
                Ok(Step::Ethernet)
            }
            _ => Err(Stop::OtherTransport),
        }
    }

    /// Passes an extension header of the common form (RFC 6564 §4).
    fn extension(&mut self) -> Result<Step, Stop> {
        let &[next, len] = self.peek::<2>()?;
        self.skip((usize::from(len) + 1) * 8)?;
        Ok(Step::Protocol(next))
    }

    /// Takes the last address of a route not yet finished for the receiver: it is the one that answers,
    /// and the one in the transport's checksum (RFC 8200 §8.1).
    fn follow_route(&mut self) {
        let rest = self.rest();
        let &[_, len, kind, left, ..] = rest else { return };
        if left == 0 {
            return;
        }
        let at = match kind {
            // A segment list stands in reverse (RFC 8754 §2).
            4 => 8,
            // Type 0 lists in order (RFC 2460 §4.4); type 2 has one address (RFC 6275 §6.4).
            0 | 2 => (8 + usize::from(len) * 8).saturating_sub(16).max(8),
            _ => return,
        };
        let last = rest.get(at..).and_then(<[u8]>::first_chunk);
        if let (Some(&last), Some(Ends::V6 { dst, .. })) = (last, &mut self.ends) {
            *dst = last;
        }
    }

    /// The IPv6 fragment header (RFC 8200 §4.5); an atomic fragment is a whole packet (RFC 6946).
    fn fragment_header(&mut self) -> Result<Step, Stop> {
        let &[next, _, a, b, id @ ..] = self.take::<8>()?;
        let word = be16([a, b]);
        let (start, more) = (u32::from(word & 0xfff8), word & 1 != 0);
        if start == 0 && !more {
            return Ok(Step::Protocol(next));
        }
        self.fragment(self.part(u32::from_be_bytes(id), next, start, more)?)
    }

    fn part(&self, id: u32, protocol: u8, start: u32, more: bool) -> Result<Part, Stop> {
        let (data, _) = self.remainder();
        let ends = self.ends.ok_or(Stop::Malformed)?;
        let len = narrow(self.wire_end.saturating_sub(self.at));
        Ok(Part { ends, id, name_protocol: 0, protocol, start, len, more, data })
    }

    /// Ends at a fragment; not at one of a protocol that makes no flow, whole or not.
    fn fragment(&self, part: Part) -> Result<Step, Stop> {
        if self.is_quote {
            // The ports are in the first.
            return if part.start == 0 {
                Ok(Step::Protocol(part.protocol))
            } else {
                Err(Stop::Icmp)
            };
        }
        match part.protocol {
            protocol::ICMP | protocol::ICMPV6 => Err(Stop::Icmp),
            protocol::ESP => Err(Stop::Opaque),
            protocol::TCP
            | protocol::UDP
            | protocol::IPV4
            | protocol::IPV6
            | protocol::IPIP
            | protocol::GRE
            | protocol::MPLS
            | protocol::ETHERIP
            | protocol::ETHERNET
            | protocol::L2TP
            | protocol::AUTHENTICATION => Ok(Step::End(Found::Fragment(part))),
            number if part.ends.is_v6() && is_extension(number) => {
                Ok(Step::End(Found::Fragment(part)))
            }
            _ => Err(Stop::OtherTransport),
        }
    }

    /// Tells whether an IPv4 header with lengths that fit seems to begin here.
    pub(super) fn is_ipv4_plausible(&self) -> bool {
        let Ok(&[first, _, a, b, ..]) = self.peek::<20>() else { return false };
        let total = usize::from(be16([a, b]));
        (0x45..=0x4f).contains(&first)
            && total >= usize::from(first & 0x0f) * 4
            && total <= self.wire_end.saturating_sub(self.at)
    }
}

fn is_extension(number: u8) -> bool {
    matches!(
        number,
        protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::DESTINATION_OPTIONS
            | protocol::MOBILITY
            | protocol::HIP
            | protocol::SHIM6
    )
}
