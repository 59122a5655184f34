//! Tunnels over IP and UDP.
//!
//! A port is a claim: what a UDP tunnel is said to carry must look like it, or the UDP packet itself is
//! the flow (the walk falls back to it whenever something in here stops).

use super::Stop;
use super::encap::TunnelKind;
use super::ether::number;
use super::walk::{Rules, Step, Walk, be16};

/// UDP ports of tunnels (IANA; 8472 is what Linux used for VXLAN before the assignment).
pub(super) mod port {
    pub(super) const L2TP: u16 = 1701;
    /// All of them.
    pub(in crate::decode) const ALL: [u16; 6] =
        [GTP_U, TEREDO, VXLAN, VXLAN_GPE, GENEVE, VXLAN_LINUX];
    pub(super) const GTP_U: u16 = 2152;
    pub(super) const TEREDO: u16 = 3544;
    pub(super) const VXLAN: u16 = 4789;
    pub(super) const VXLAN_GPE: u16 = 4790;
    pub(super) const GENEVE: u16 = 6081;
    pub(super) const MPLS: u16 = 6635;
    pub(super) const VXLAN_LINUX: u16 = 8472;
    pub(super) const TZSP: u16 = 37_008;
}

/// GRE's flags (RFC 2784 §2, RFC 2890 §2, RFC 1701; RFC 2637 §4.1 for version 1).
mod gre {
    pub(super) const CHECKSUM: u16 = 0x8000;
    pub(super) const ROUTING: u16 = 0x4000;
    pub(super) const KEY: u16 = 0x2000;
    pub(super) const SEQUENCE: u16 = 0x1000;
    /// Version 1 only.
    pub(super) const ACKNOWLEDGMENT: u16 = 0x0080;
    pub(super) const VERSION: u16 = 0x0007;
    pub(super) const ERSPAN: u16 = 0x88be;
    pub(super) const ERSPAN_III: u16 = 0x22eb;
    /// Cisco's web cache redirection; version 2 has a header of four bytes.
    pub(super) const WCCP: u16 = 0x883e;
}

/// Tunnels that are known by a UDP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UdpTunnel {
    Geneve,
    Gtp,
    L2tp,
    Mpls,
    Teredo,
    Tzsp,
    Vxlan,
    /// VXLAN that names what is inside (draft-ietf-nvo3-vxlan-gpe).
    VxlanGpe,
}

impl Rules<'_> {
    /// Returns the tunnel that a UDP packet with these ports may be.
    ///
    /// VXLAN and Geneve have the port in the destination (RFC 7348 §5, RFC 8926 §3.3), but translated
    /// replies come from it.
    #[inline]
    pub(super) fn tunnel(&self, [src, dst]: [u16; 2]) -> Option<UdpTunnel> {
        self.tunnel_of(dst).or_else(|| self.tunnel_of(src))
    }

    #[inline]
    fn tunnel_of(&self, number: u16) -> Option<UdpTunnel> {
        match number {
            port::VXLAN | port::VXLAN_LINUX => Some(UdpTunnel::Vxlan),
            port::VXLAN_GPE => Some(UdpTunnel::VxlanGpe),
            port::GENEVE => Some(UdpTunnel::Geneve),
            port::GTP_U => Some(UdpTunnel::Gtp),
            port::TEREDO => Some(UdpTunnel::Teredo),
            port::L2TP => Some(UdpTunnel::L2tp),
            port::MPLS => Some(UdpTunnel::Mpls),
            port::TZSP => Some(UdpTunnel::Tzsp),
            _ if self.vxlan_ports.contains(&number) => Some(UdpTunnel::Vxlan),
            _ => None,
        }
    }
}

impl Walk<'_> {
    pub(super) fn udp_tunnel(&mut self, tunnel: UdpTunnel) -> Result<Step, Stop> {
        match tunnel {
            UdpTunnel::Geneve => self.geneve(),
            UdpTunnel::Gtp => self.gtp(),
            UdpTunnel::L2tp => self.l2tp(),
            // RFC 7510 §3.
            UdpTunnel::Mpls => Ok(Step::Mpls),
            UdpTunnel::Teredo => self.teredo(),
            UdpTunnel::Tzsp => self.tzsp(),
            UdpTunnel::Vxlan => self.vxlan(false),
            UdpTunnel::VxlanGpe => self.vxlan(true),
        }
    }

    /// VXLAN (RFC 7348 §5), its group policy (which uses bytes that are reserved there) and its generic
    /// protocol extension, which names what is inside; on that one's own port even without the flag.
    fn vxlan(&mut self, names_protocol: bool) -> Result<Step, Stop> {
        const HAS_VNI: u8 = 0x08;
        const HAS_PROTOCOL: u8 = 0x04;
        let &[flags, _, _, protocol, a, b, c, _] = self.take::<8>()?;
        if flags & (HAS_VNI | HAS_PROTOCOL) == 0 {
            return Err(Stop::Malformed);
        }
        let vni = u32::from_be_bytes([0, a, b, c]);
        self.enter(TunnelKind::Vxlan, (flags & HAS_VNI != 0).then_some(vni))?;
        if flags & HAS_PROTOCOL != 0 || (names_protocol && protocol != 0) {
            return self.next_protocol(protocol);
        }
        if self.is_ethernet(0) { Ok(Step::Ethernet) } else { Err(Stop::Malformed) }
    }

    /// The next protocol of NSH and of VXLAN's extension (RFC 8300 §2.2).
    fn next_protocol(&mut self, number: u8) -> Result<Step, Stop> {
        match number {
            1 | 2 => Ok(Step::Ip),
            3 => Ok(Step::Ethernet),
            4 => self.nsh(),
            5 => Ok(Step::Mpls),
            _ => Err(self.not_ip()),
        }
    }

    /// The network service header (RFC 8300 §2): its length counts words of four bytes.
    pub(super) fn nsh(&mut self) -> Result<Step, Stop> {
        let &[_, len, _, next, a, b, c, _] = self.peek::<8>()?;
        let len = usize::from(len & 0x3f) * 4;
        if len < 8 {
            return Err(Stop::Malformed);
        }
        self.skip(len)?;
        self.enter_unaddressed(TunnelKind::Nsh, Some(u32::from_be_bytes([0, a, b, c])))?;
        self.next_protocol(next)
    }

    /// Geneve (RFC 8926 §3.4); options count words of four bytes.
    fn geneve(&mut self) -> Result<Step, Stop> {
        let &[first, _, t0, t1, vni @ ..] = self.take::<8>()?;
        if first >> 6 != 0 {
            return Err(Stop::Malformed);
        }
        self.skip(usize::from(first & 0x3f) * 4)?;
        self.enter(TunnelKind::Geneve, Some(u32::from_be_bytes(vni) >> 8))?;
        self.carried(be16([t0, t1]))
    }

    /// What a tunnel says that it carries: an Ethernet type, never a length. A keep-alive of GRE has 0.
    fn carried(&self, kind: u16) -> Result<Step, Stop> {
        if kind <= number::LENGTH_MAX { Err(self.not_ip()) } else { Ok(Step::EtherType(kind)) }
    }

    /// GTP-U (3GPP TS 29.281 §5): only a G-PDU carries a user's packet.
    fn gtp(&mut self) -> Result<Step, Stop> {
        const VERSION_1: u8 = 0x30;
        const HAS_OPTIONAL: u8 = 0x07;
        const HAS_EXTENSION: u8 = 0x04;
        const G_PDU: u8 = 255;
        let &[flags, message, p, q, teid @ ..] = self.take::<8>()?;
        if flags & 0xf0 != VERSION_1 || message != G_PDU {
            return Err(Stop::Malformed);
        }
        self.limit(usize::from(be16([p, q])));
        self.enter(TunnelKind::Gtp, Some(u32::from_be_bytes(teid)))?;
        if flags & HAS_OPTIONAL != 0 {
            let &[_, _, _, mut next] = self.take::<4>()?;
            while flags & HAS_EXTENSION != 0 && next != 0 {
                let len = usize::from(self.peek::<1>()?[0]) * 4;
                let header = self.rest().get(..len).ok_or_else(|| self.short_of(len))?;
                next = *header.last().ok_or(Stop::Malformed)?;
                self.skip(len)?;
            }
        }
        // A 5G session of type Ethernet has frames in it.
        let is_ip = matches!(self.peek::<1>()?[0] >> 4, 4 | 6);
        Ok(if !is_ip && self.is_ethernet(0) { Step::Ethernet } else { Step::Ip })
    }

    /// Teredo (RFC 4380 §5.1.1): authentication and origin may stand before the IPv6 packet.
    fn teredo(&mut self) -> Result<Step, Stop> {
        if let &[0, 1, id_len, authentication_len] = self.peek::<4>()? {
            self.skip(4 + usize::from(id_len) + usize::from(authentication_len) + 9)?;
        }
        if let &[0, 0] = self.peek::<2>()? {
            self.skip(8)?;
        }
        let &[first, _, _, _, p, q, ..] = self.peek::<40>()?;
        let len = usize::from(be16([p, q])) + 40;
        if first >> 4 != 6 || len > self.wire_end.saturating_sub(self.at) {
            return Err(Stop::Malformed);
        }
        self.enter(TunnelKind::Teredo, None)?;
        Ok(Step::Ip)
    }

    /// L2TP over UDP: version 2 carries PPP (RFC 2661 §3.1), version 3 sessions (RFC 3931 §4.1.2). Control
    /// messages carry nobody's packets.
    fn l2tp(&mut self) -> Result<Step, Stop> {
        const CONTROL: u16 = 0x8000;
        const LENGTH: u16 = 0x4000;
        const SEQUENCE: u16 = 0x0800;
        const OFFSET: u16 = 0x0200;
        const VERSION: u16 = 0x000f;
        let flags = be16(*self.peek::<2>()?);
        match flags & (CONTROL | VERSION) {
            2 => {}
            3 => {
                self.skip(4)?;
                return self.l2tp_session();
            }
            _ => return Err(Stop::Malformed),
        }
        if flags & LENGTH != 0 {
            let &[_, _, a, b] = self.peek::<4>()?;
            let len = usize::from(be16([a, b]));
            if len < 8 || len > self.wire_end.saturating_sub(self.at) {
                return Err(Stop::Malformed);
            }
            self.limit(len);
            self.skip(2)?;
        }
        self.skip(2)?;
        let session = u32::from_be_bytes(*self.take::<4>()?);
        if flags & SEQUENCE != 0 {
            self.skip(4)?;
        }
        if flags & OFFSET != 0 {
            let padding_len = usize::from(be16(*self.take::<2>()?));
            self.skip(padding_len)?;
        }
        self.enter(TunnelKind::L2tp, Some(session))?;
        self.hdlc()
    }

    /// A session of L2TP's version 3, also at once in IP (RFC 3931 §4.1.1): its number, and a cookie and a
    /// sublayer of lengths that only its ends know. What follows is Ethernet, or not read.
    pub(super) fn l2tp_session(&mut self) -> Result<Step, Stop> {
        let session = u32::from_be_bytes(*self.take::<4>()?);
        if session == 0 {
            return Err(Stop::OtherTransport);
        }
        let found = [0, 4, 8, 12].into_iter().find(|offset| self.is_ethernet(*offset));
        let is_cut = self.end < self.wire_end;
        let none = if is_cut { Stop::Truncated } else { Stop::OtherTransport };
        self.skip(found.ok_or(none)?)?;
        self.enter(TunnelKind::L2tp, Some(session))?;
        Ok(Step::Ethernet)
    }

    /// TZSP: version, type, protocol, then tags up to an end; a mirrored frame has a type of 0 or 1.
    fn tzsp(&mut self) -> Result<Step, Stop> {
        const PADDING: u8 = 0;
        const END: u8 = 1;
        let &[version, kind, a, b] = self.take::<4>()?;
        if version != 1 || kind > 1 {
            return Err(Stop::Malformed);
        }
        loop {
            match self.take::<1>()?[0] {
                PADDING => {}
                END => break,
                _ => {
                    let len = usize::from(self.take::<1>()?[0]);
                    self.skip(len)?;
                }
            }
        }
        self.enter(TunnelKind::Tzsp, None)?;
        match be16([a, b]) {
            1 => Ok(Step::Ethernet),
            0x12 => self.wlan(),
            _ => Err(self.not_ip()),
        }
    }

    /// GRE, by its version.
    pub(super) fn gre(&mut self) -> Result<Step, Stop> {
        let &[a, b, c, d] = self.take::<4>()?;
        let (flags, protocol) = (be16([a, b]), be16([c, d]));
        match flags & gre::VERSION {
            0 => self.gre_version_0(flags, protocol),
            1 => self.gre_version_1(flags, protocol),
            _ => Err(Stop::OtherTransport),
        }
    }

    fn gre_version_0(&mut self, flags: u16, protocol: u16) -> Result<Step, Stop> {
        if flags & (gre::CHECKSUM | gre::ROUTING) != 0 {
            self.skip(4)?;
        }
        let key =
            if flags & gre::KEY == 0 { None } else { Some(u32::from_be_bytes(*self.take::<4>()?)) };
        let has_sequence = flags & gre::SEQUENCE != 0;
        if has_sequence {
            self.skip(4)?;
        }
        if flags & gre::ROUTING != 0 {
            self.skip_source_route()?;
        }
        match protocol {
            gre::ERSPAN if !has_sequence => self.erspan_i(),
            gre::ERSPAN => self.erspan_ii(),
            gre::ERSPAN_III => self.erspan_iii(),
            _ => {
                self.enter(TunnelKind::Gre, key.map(|key| gre_id(flags, protocol, key)))?;
                if protocol != gre::WCCP {
                    return self.carried(protocol);
                }
                if self.peek::<1>()?[0] >> 4 != 4 {
                    self.skip(4)?;
                }
                Ok(Step::Ip)
            }
        }
    }

    /// Source route entries (RFC 1701): a family, an offset, a length; the last is all zero.
    fn skip_source_route(&mut self) -> Result<(), Stop> {
        loop {
            let &[a, b, _, len] = self.take::<4>()?;
            if len == 0 && be16([a, b]) == 0 {
                return Ok(());
            }
            self.skip(usize::from(len))?;
        }
    }

    /// PPTP: the key holds a length and the call id that the receiver chose.
    fn gre_version_1(&mut self, flags: u16, protocol: u16) -> Result<Step, Stop> {
        if flags & gre::KEY == 0 || protocol != number::PPP {
            return Err(Stop::OtherTransport);
        }
        let &[_, _, a, b] = self.take::<4>()?;
        if flags & gre::SEQUENCE != 0 {
            self.skip(4)?;
        }
        if flags & gre::ACKNOWLEDGMENT != 0 {
            self.skip(4)?;
        }
        self.enter(TunnelKind::Pptp, Some(u32::from(be16([a, b]))))?;
        // An acknowledgement alone carries nothing.
        if self.at == self.wire_end {
            return Err(Stop::OtherTransport);
        }
        self.hdlc()
    }

    /// Type I has no header of its own.
    fn erspan_i(&mut self) -> Result<Step, Stop> {
        self.enter(TunnelKind::Erspan, None)?;
        Ok(Step::Ethernet)
    }

    fn erspan_ii(&mut self) -> Result<Step, Stop> {
        let &[_, _, a, b, ..] = self.take::<8>()?;
        self.enter(TunnelKind::Erspan, Some(session(a, b)))?;
        Ok(Step::Ethernet)
    }

    /// Type III says what kind of frame it has, and whether a platform's header of eight bytes follows.
    fn erspan_iii(&mut self) -> Result<Step, Stop> {
        const IP: u16 = 2;
        let &[_, _, a, b, _, _, _, _, _, _, c, d] = self.take::<12>()?;
        self.enter(TunnelKind::Erspan, Some(session(a, b)))?;
        if d & 1 != 0 {
            self.skip(8)?;
        }
        Ok(if be16([c, d]) >> 10 & 0x1f == IP { Step::Ip } else { Step::Ethernet })
    }
}

/// Returns the session id: the low ten bits of the second word.
fn session(a: u8, b: u8) -> u32 {
    u32::from(be16([a, b]) & 0x03ff)
}

/// Returns what a GRE key says of the tenant.
///
/// A key is one configured number for both directions: it keeps tenants apart. NVGRE (RFC 7637 §3.2)
/// splits it into a 24-bit subnet, from 0x1000 on, and 8 bits of entropy that differ by flow and
/// direction.
fn gre_id(flags: u16, protocol: u16, key: u32) -> u32 {
    const SUBNET_MIN: u32 = 0x1000;
    let is_nvgre = protocol == number::TRANSPARENT_ETHERNET
        && flags & (gre::CHECKSUM | gre::SEQUENCE | gre::ROUTING) == 0
        && key >> 8 >= SUBNET_MIN;
    if is_nvgre { key >> 8 } else { key }
}
