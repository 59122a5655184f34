//! What Ethernet types name: tags, LLC, MPLS, PPP, and IP.

use etherparse::{EtherType, ether_type};

use super::Stop;
use super::encap::TunnelKind;
use super::walk::{Step, Walk, be16};

/// Ethernet types that etherparse does not name.
pub(super) mod number {
    /// Provider tags of old switches.
    pub(in crate::decode) const OLD_PROVIDER_TAGS: std::ops::RangeInclusive<u16> = 0x9100..=0x9300;
    pub(in crate::decode) const MPLS: u16 = 0x8847;
    /// MPLS with upstream-assigned labels.
    pub(in crate::decode) const MPLS_UPSTREAM: u16 = 0x8848;
    pub(in crate::decode) const PPPOE_SESSION: u16 = 0x8864;
    /// Largest length of an 802.3 frame; above 1535 it is a type (IEEE 802.3 §3.2.6).
    pub(in crate::decode) const LENGTH_MAX: u16 = 1500;
    pub(in crate::decode) const RARP: u16 = 0x8035;
    /// Ethernet in GRE, Geneve and others.
    pub(in crate::decode) const TRANSPARENT_ETHERNET: u16 = 0x6558;
    pub(in crate::decode) const PPP: u16 = 0x880b;
    /// Cisco's security group tag.
    pub(in crate::decode) const CISCO_METADATA: u16 = 0x8909;
    /// Cisco's virtual interface tag (802.1Qbh).
    pub(in crate::decode) const VN_TAG: u16 = 0x8926;
    /// IEEE 802.1BR port extension.
    pub(in crate::decode) const E_TAG: u16 = 0x893f;
    pub(in crate::decode) const NSH: u16 = 0x894f;
    pub(in crate::decode) const PROVIDER_BACKBONE: u16 = 0x88e7;
}

impl Walk<'_> {
    pub(super) fn ether_type(&mut self, number: u16) -> Result<Step, Stop> {
        match EtherType(number) {
            ether_type::IPV4 | ether_type::IPV6 => Ok(Step::Ip),
            ether_type::VLAN_TAGGED_FRAME | ether_type::PROVIDER_BRIDGING => self.vlan(),
            ether_type::ARP | EtherType(number::RARP) => Err(Stop::Arp),
            EtherType(number::MPLS | number::MPLS_UPSTREAM) => Ok(Step::Mpls),
            EtherType(number::PPPOE_SESSION) => self.pppoe(),
            ether_type::MACSEC => self.macsec(),
            EtherType(number::PROVIDER_BACKBONE) => self.provider_backbone(),
            EtherType(number::TRANSPARENT_ETHERNET) => Ok(Step::Ethernet),
            EtherType(number::PPP) => self.hdlc(),
            EtherType(number::NSH) => self.nsh(),
            EtherType(number::VN_TAG) => self.tag::<6>(),
            EtherType(number::CISCO_METADATA | number::E_TAG) => self.tag::<8>(),
            EtherType(tag)
                if number::OLD_PROVIDER_TAGS.contains(&tag) && tag.trailing_zeros() >= 8 =>
            {
                self.vlan()
            }
            EtherType(len) if len <= number::LENGTH_MAX => self.llc(),
            _ => Err(self.not_ip()),
        }
    }

    /// Returns why a network protocol other than IP makes no flow; inside IP it is another transport.
    pub(super) fn not_ip(&self) -> Stop {
        if self.ends.is_some() { Stop::OtherTransport } else { Stop::NotIp }
    }

    /// 802.1Q (IEEE 802.1Q §9.6): a priority tag has no VLAN.
    fn vlan(&mut self) -> Result<Step, Stop> {
        let &[a, b, c, d] = self.take::<4>()?;
        let id = be16([a, b]) & 0x0fff;
        if id != 0 && !self.rules.ignore_vlan {
            self.layers.push_vlan(id).ok_or(Stop::Malformed)?;
        }
        Ok(Step::EtherType(be16([c, d])))
    }

    /// A tag that says nothing about the flow, with an Ethernet type at its end.
    fn tag<const N: usize>(&mut self) -> Result<Step, Stop> {
        let tag = self.take::<N>()?;
        let last = tag.last_chunk::<2>().ok_or(Stop::Malformed)?;
        Ok(Step::EtherType(be16(*last)))
    }

    /// 802.2 LLC: IP is either an SAP of its own or in SNAP (RFC 1042).
    pub(super) fn llc(&mut self) -> Result<Step, Stop> {
        match *self.peek::<3>()? {
            [0xaa, 0xaa, 0x03] => match *self.take::<8>()? {
                // RFC 1042, and 802.1H's bridge tunnel.
                [_, _, _, 0, 0, 0 | 0xf8, a, b] if be16([a, b]) > number::LENGTH_MAX => {
                    Ok(Step::EtherType(be16([a, b])))
                }
                // Bridged Ethernet with and without its check sequence (RFC 2684 §5.2).
                [_, _, _, 0, 0x80, 0xc2, 0, 1 | 7] => Ok(Step::Ethernet),
                _ => Err(self.not_ip()),
            },
            [0x06, 0x06, 0x03] => {
                self.skip(3)?;
                Ok(Step::Ip)
            }
            _ => Err(self.not_ip()),
        }
    }

    /// `MACsec` (IEEE 802.1AE §9.3): opaque unless it only authenticates.
    fn macsec(&mut self) -> Result<Step, Stop> {
        const HAS_CHANNEL: u8 = 0x20;
        const ENCRYPTED_OR_CHANGED: u8 = 0x0c;
        let flags = self.take::<6>()?[0];
        if flags & ENCRYPTED_OR_CHANGED != 0 {
            return Err(Stop::Opaque);
        }
        if flags & HAS_CHANNEL != 0 {
            self.skip(8)?;
        }
        Ok(Step::EtherType(be16(*self.take::<2>()?)))
    }

    /// The service tag of 802.1ah: priority, a 24-bit service id, then the customer's Ethernet.
    fn provider_backbone(&mut self) -> Result<Step, Stop> {
        let &[_, a, b, c] = self.take::<4>()?;
        self.enter_unaddressed(TunnelKind::Pbb, Some(u32::from_be_bytes([0, a, b, c])))?;
        Ok(Step::Ethernet)
    }

    /// `PPPoE`'s session stage (RFC 2516 §4).
    fn pppoe(&mut self) -> Result<Step, Stop> {
        let &[version_and_type, code, a, b, c, d] = self.take::<6>()?;
        if version_and_type != 0x11 || code != 0 {
            return Err(Stop::Malformed);
        }
        self.limit(usize::from(be16([c, d])));
        self.enter_unaddressed(TunnelKind::Pppoe, Some(u32::from(be16([a, b]))))?;
        Ok(Step::Ppp)
    }

    /// PPP's protocol field, one byte when compressed (RFC 1661 §2).
    pub(super) fn ppp(&mut self) -> Result<Step, Stop> {
        let first = self.take::<1>()?[0];
        let protocol =
            if first & 1 == 1 { u16::from(first) } else { be16([first, self.take::<1>()?[0]]) };
        match protocol {
            0x0021 | 0x0057 => Ok(Step::Ip),
            0x0281 | 0x0283 => Ok(Step::Mpls),
            // Encrypted (RFC 1968), and the compressed form that MPPE uses (RFC 3078).
            0x0053 | 0x00fd => Err(Stop::Opaque),
            _ => Err(self.not_ip()),
        }
    }

    /// A label stack (RFC 3032 §2.1). What follows it is said nowhere but in the labels' meaning, so it
    /// is recognised: IP by its version, else Ethernet with or without a control word (RFC 4448 §4.6).
    pub(super) fn mpls(&mut self) -> Result<Step, Stop> {
        let label = loop {
            let entry = u32::from_be_bytes(*self.take::<4>()?);
            if entry & 0x100 != 0 {
                break entry >> 12;
            }
        };
        self.enter_unaddressed(TunnelKind::Mpls, Some(label))?;
        let first = self.peek::<1>()?[0];
        match first >> 4 {
            4 if !self.is_ethernet(0) || self.is_ipv4_plausible() => Ok(Step::Ip),
            6 if !self.is_ethernet(0) => Ok(Step::Ip),
            0 if !self.is_ethernet(0) || self.is_ethernet(4) => {
                self.skip(4)?;
                Ok(Step::Ethernet)
            }
            // The associated channel (RFC 5586) carries no user's traffic.
            1 if !self.is_ethernet(0) => Err(self.not_ip()),
            _ => Ok(Step::Ethernet),
        }
    }

    /// Tells whether an Ethernet header with a known type seems to lie at an offset.
    pub(super) fn is_ethernet(&self, offset: usize) -> bool {
        let kind = self.rest().get(offset + 12..).and_then(<[u8]>::first_chunk);
        kind.is_some_and(|&kind| {
            matches!(
                EtherType(be16(kind)),
                ether_type::IPV4
                    | ether_type::IPV6
                    | ether_type::ARP
                    | ether_type::VLAN_TAGGED_FRAME
                    | ether_type::PROVIDER_BRIDGING
                    | EtherType(number::MPLS | number::PPPOE_SESSION | number::NSH)
            )
        })
    }
}
