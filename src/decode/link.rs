//! Link-layer headers: from a link type to what it carries.
//!
//! The numbers are those of the tcpdump registry (<https://www.tcpdump.org/linktypes.html>).

use crate::packet::LinkType;

use super::Stop;
use super::ether::number;
use super::walk::{Step, Walk, be16};

/// PPP, with HDLC framing or without.
const PPP: u16 = 9;
/// Raw IP as some BSDs number it.
const RAW_BSD: u16 = 12;
/// Raw IP as `OpenBSD` numbers it.
const RAW_OPENBSD: u16 = 14;
/// PPP in HDLC-like framing (RFC 1662).
const PPP_HDLC: u16 = 50;
/// PPP over Ethernet, from the `PPPoE` header on.
const PPP_ETHER: u16 = 51;
/// Cisco HDLC.
const C_HDLC: u16 = 104;
/// 802.11 without a radio header.
const WLAN: u16 = 105;
/// 802.11 after the Prism header.
const PRISM: u16 = 119;
/// 802.11 after a radiotap header.
const RADIOTAP: u16 = 127;
/// 802.11 after an AVS header.
const AVS: u16 = 163;
/// PPP with a direction in the first byte, as pppd writes it.
const PPP_PPPD: u16 = 166;
/// 802.11 and others after a header that names the link type (CACE's per-packet information).
const PPI: u16 = 192;
/// PPP after a byte that tells the direction.
const PPP_WITH_DIRECTION: u16 = 204;
/// Cisco HDLC after a byte that tells the direction.
const C_HDLC_WITH_DIRECTION: u16 = 205;
/// Linux netfilter log.
const NFLOG: u16 = 239;
/// Ethernet after four bytes of a `NetANALYZER`.
const NETANALYZER: u16 = 240;
/// Apple's header that names the link type of each packet.
const PKTAP: u16 = 258;

impl Walk<'_> {
    pub(super) fn link(&mut self, link: LinkType) -> Result<Step, Stop> {
        match link {
            LinkType::ETHERNET => Ok(Step::Ethernet),
            LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 | LinkType(RAW_BSD | RAW_OPENBSD) => {
                Ok(Step::Ip)
            }
            LinkType::LINUX_SLL => self.sll(),
            LinkType::LINUX_SLL2 => self.sll2(),
            LinkType::NULL | LinkType::LOOP => self.loopback(),
            LinkType(PPP | PPP_HDLC | C_HDLC) => self.hdlc(),
            LinkType(PPP_PPPD) => {
                // RFC 1662's address takes the place of the direction where there is none.
                if self.peek::<1>()?[0] <= 1 {
                    self.skip(1)?;
                }
                self.hdlc()
            }
            LinkType(PPP_ETHER) => Ok(Step::EtherType(number::PPPOE_SESSION)),
            LinkType(WLAN) => self.wlan(),
            LinkType(PRISM) => self.prism(),
            LinkType(RADIOTAP) => self.radiotap(),
            LinkType(AVS) => self.avs(),
            LinkType(PPI) => self.ppi(),
            LinkType(PPP_WITH_DIRECTION | C_HDLC_WITH_DIRECTION) => {
                self.skip(1)?;
                self.hdlc()
            }
            LinkType(NFLOG) => self.nflog(),
            LinkType(NETANALYZER) => {
                self.skip(4)?;
                Ok(Step::Ethernet)
            }
            LinkType(PKTAP) => self.pktap(),
            _ => Err(Stop::UnknownLink),
        }
    }

    pub(super) fn ethernet(&mut self) -> Result<Step, Stop> {
        let &[.., a, b] = self.take::<14>()?;
        Ok(Step::EtherType(be16([a, b])))
    }

    /// Linux cooked capture: the protocol is an Ethernet type, or a number below 0x600 for 802.2.
    fn sll(&mut self) -> Result<Step, Stop> {
        let &[.., a, b] = self.take::<16>()?;
        self.cooked(be16([a, b]))
    }

    fn sll2(&mut self) -> Result<Step, Stop> {
        let &[a, b, ..] = self.take::<20>()?;
        self.cooked(be16([a, b]))
    }

    fn cooked(&mut self, protocol: u16) -> Result<Step, Stop> {
        /// `LINUX_SLL_P_802_2`: an 802.2 LLC frame.
        const LLC: u16 = 4;
        if protocol == LLC { self.llc() } else { Ok(Step::EtherType(protocol)) }
    }

    /// An address family in the byte order of the capturing host, or of the network.
    fn loopback(&mut self) -> Result<Step, Stop> {
        let bytes = *self.peek::<4>()?;
        // HDLC framing in a file that calls itself loopback is what old captures of pppd are.
        if let [0xff, 0x03, ..] = bytes {
            return self.hdlc();
        }
        self.skip(4)?;
        let (little, big) = (u32::from_le_bytes(bytes), u32::from_be_bytes(bytes));
        family(little.min(big))
    }

    /// PPP or Cisco HDLC by the address byte (RFC 1662 §3.1, RFC 1547 §4.3.1).
    pub(super) fn hdlc(&mut self) -> Result<Step, Stop> {
        match *self.peek::<2>()? {
            [0xff, 0x03] => {
                self.skip(2)?;
                Ok(Step::Ppp)
            }
            [0x0f | 0x8f, _] => {
                let &[_, _, a, b] = self.take::<4>()?;
                Ok(Step::EtherType(be16([a, b])))
            }
            _ => Ok(Step::Ppp),
        }
    }

    /// Netfilter log: a family, then attributes in the capturing host's byte order; one is the packet.
    fn nflog(&mut self) -> Result<Step, Stop> {
        const PAYLOAD: u16 = 9;
        let &[family_byte, _version, _, _] = self.take::<4>()?;
        // An attribute's length tells the byte order: the first is always shorter than 256.
        let is_big = self.peek::<2>()?[0] == 0;
        let read = |bytes| if is_big { be16(bytes) } else { u16::from_le_bytes(bytes) };
        loop {
            let &[a, b, c, d] = self.peek::<4>()?;
            let len = usize::from(read([a, b]));
            if len < 4 {
                return Err(Stop::Malformed);
            }
            if read([c, d]) & 0x7fff == PAYLOAD {
                self.skip(4)?;
                self.limit(len - 4);
                return family(u32::from(family_byte));
            }
            self.skip(len.next_multiple_of(4))?;
        }
    }

    /// Per-packet information: the header's length and the link type of what follows, little-endian.
    fn ppi(&mut self) -> Result<Step, Stop> {
        let &[_version, _flags, a, b, link @ ..] = self.peek::<8>()?;
        let len = usize::from(u16::from_le_bytes([a, b]));
        let link = u16::try_from(u32::from_le_bytes(link)).unwrap_or(u16::MAX);
        if len < 8 || link == PPI {
            return Err(Stop::Malformed);
        }
        self.skip(len)?;
        Ok(Step::Link(LinkType(link)))
    }

    /// Apple's packet tap: the header's length and the link type of what follows, little-endian.
    fn pktap(&mut self) -> Result<Step, Stop> {
        let head = self.peek::<12>()?;
        let word = |at: usize| head.get(at..).and_then(<[u8]>::first_chunk).copied();
        let word = |at| word(at).map_or(u32::MAX, u32::from_le_bytes);
        let len = usize::try_from(word(0)).unwrap_or(usize::MAX);
        let link = u16::try_from(word(8)).unwrap_or(u16::MAX);
        if len < 12 || link == PKTAP {
            return Err(Stop::Malformed);
        }
        self.skip(len)?;
        Ok(Step::Link(LinkType(link)))
    }
}

/// Returns what an address family carries: `AF_INET` is 2 everywhere; `AF_INET6` is 10 on Linux, 23 on
/// Windows, 24 on NetBSD and OpenBSD, 28 on FreeBSD and `DragonFly`, 30 on Darwin.
fn family(number: u32) -> Result<Step, Stop> {
    match number {
        2 | 10 | 23 | 24 | 28 | 30 => Ok(Step::Ip),
        _ => Err(Stop::NotIp),
    }
}
