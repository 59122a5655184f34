//! The words that all rooms share: time, where a frame was seen, a flow's key and its sides.

use std::fmt;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A packet's time in nanoseconds since 1970-01-01 UTC; earlier times are negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Joins seconds and nanoseconds; a nanosecond part of a second or more is carried over, and what
    /// no longer fits stays at the end of the range.
    pub fn from_parts(seconds: i64, nanoseconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
    }

    /// Returns the nanoseconds from `earlier` to here; 0 when time runs backwards.
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

/// Names one observation point (RFC 7011 §2): an interface, or an interface inside a capture file.
///
/// An index into the table of points that a source announces; see
/// [`ObservationPoint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PointId(pub u16);

/// Where frames were seen: an interface, or an interface inside a capture file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObservationPoint {
    /// The capture file as the user named it; `None` on a live interface.
    pub file: Option<String>,
    /// The interface's name, where the file tells it or the capture is live.
    pub interface: Option<String>,
    /// Which of the run's inputs this is, counted from 0.
    pub input: u32,
}

/// A link-layer header type by its number in the tcpdump registry (`LINKTYPE_…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: the address family in the byte order of the capturing host.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// Raw IP, version 4 or 6 by its first nibble.
    pub const RAW: Self = Self(101);
    /// OpenBSD loopback: the address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture, version 1 (the `any` device).
    pub const LINUX_SLL: Self = Self(113);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);
}

/// One frame as captured.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    /// The packet's time.
    pub time: Timestamp,
    /// The run's running number of the frame, counted from 1 over all inputs.
    pub number: u64,
    /// Where it was seen.
    pub point: PointId,
    /// How its first bytes are to be read.
    pub link: LinkType,
    /// Its length on the wire, in bytes.
    pub wire_len: u32,
    /// The bytes that were captured.
    pub bytes: &'a [u8],
}

/// The transports that make flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP, IP protocol 6.
    Tcp,
    /// UDP, IP protocol 17.
    Udp,
}

impl Transport {
    /// Returns the IP protocol number.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// Returns the name as the catalogue and the site file write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One of a flow's two ends, by the order of the [`FlowKey`]: says nothing about who began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The end whose address and port sort first.
    Low,
    /// The other end.
    High,
}

impl Side {
    /// Both sides, in order.
    pub const BOTH: [Self; 2] = [Self::Low, Self::High];

    /// Returns the other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Low => Self::High,
            Self::High => Self::Low,
        }
    }

    /// Returns 0 or 1, for arrays with one place a side.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Names what a flow travels in: its capture domain, VLAN ids and tunnels.
///
/// An index into the table that `decode` keeps; 0 is plain traffic of the first domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EncapId(pub u32);

/// Addresses and ports of one packet, as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FiveTuple {
    /// Sender.
    pub src: SocketAddr,
    /// Receiver.
    pub dst: SocketAddr,
    /// TCP or UDP.
    pub transport: Transport,
}

/// The canonical five-tuple with VLAN and tunnel ids: the same for both directions.
///
/// IPv4 addresses lie in the first four bytes. The ends are ordered by address, then port.
#[derive(Debug, Clone, Copy, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::derived_hash_with_manual_eq, reason = "the same fields are equal")]
pub struct FlowKey {
    addresses: [[u8; 16]; 2],
    /// The lower end's in the upper half.
    ports: u32,
    encap: EncapId,
    transport: Transport,
    v6: bool,
}

impl PartialEq for FlowKey {
    /// Compares without a branch but the last: of two keys with the same hash, all is equal.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let words = |key: &Self| {
            let [low, high] = key.addresses.map(u128::from_ne_bytes);
            let kind = (key.transport as u32) << 1 | u32::from(key.v6);
            (low, high, key.ports, key.encap.0, kind)
        };
        let (this, that) = (words(self), words(other));
        let rest = (this.2 ^ that.2) | (this.3 ^ that.3) | (this.4 ^ that.4);
        (this.0 ^ that.0) | (this.1 ^ that.1) | u128::from(rest) == 0
    }
}

impl FlowKey {
    /// Builds the key of an IPv4 packet and tells on which side its sender is.
    #[inline]
    pub fn v4(
        src: ([u8; 4], u16),
        dst: ([u8; 4], u16),
        transport: Transport,
        encap: EncapId,
    ) -> (Self, Side) {
        let rank =
            |(a, port): ([u8; 4], u16)| u64::from(u32::from_be_bytes(a)) << 16 | u64::from(port);
        let (from, to) = (rank(src), rank(dst));
        // No branch: which end sorts first is as good as random.
        let side = if from <= to { Side::Low } else { Side::High };
        let ranks = [from.min(to), from.max(to)];
        #[expect(clippy::cast_possible_truncation, reason = "the parts that the rank was made of")]
        let (addresses, ports) = (
            ranks.map(|rank| u128::from(((rank >> 16) as u32).swap_bytes()).to_le_bytes()),
            joined(ranks[0] as u16, ranks[1] as u16),
        );
        (Self { addresses, ports, encap, transport, v6: false }, side)
    }

    /// Builds the key of an IPv6 packet and tells on which side its sender is.
    #[inline]
    pub fn v6(
        src: ([u8; 16], u16),
        dst: ([u8; 16], u16),
        transport: Transport,
        encap: EncapId,
    ) -> (Self, Side) {
        let (low, high, side) =
            if src <= dst { (src, dst, Side::Low) } else { (dst, src, Side::High) };
        let addresses = [low.0, high.0];
        (Self { addresses, ports: joined(low.1, high.1), encap, transport, v6: true }, side)
    }

    /// Builds the key of a packet and tells on which side its sender is.
    pub fn new(tuple: FiveTuple, encap: EncapId) -> (Self, Side) {
        let (src, dst) = (tuple.src, tuple.dst);
        match (src.ip(), dst.ip()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                Self::v4((a.octets(), src.port()), (b.octets(), dst.port()), tuple.transport, encap)
            }
            (a, b) => Self::v6(
                (to_v6(a).octets(), src.port()),
                (to_v6(b).octets(), dst.port()),
                tuple.transport,
                encap,
            ),
        }
    }

    /// Returns the same five-tuple in another encapsulation.
    #[must_use]
    pub fn in_encap(self, encap: EncapId) -> Self {
        Self { encap, ..self }
    }

    /// Returns the address bytes of both sides; an IPv4 address lies in the first four.
    pub fn address_bytes(&self) -> &[[u8; 16]; 2] {
        &self.addresses
    }

    /// Tells whether the addresses are IPv6.
    pub fn is_v6(&self) -> bool {
        self.v6
    }

    /// Returns address and port of one side.
    pub fn endpoint(&self, side: Side) -> SocketAddr {
        SocketAddr::new(self.address(side), self.port(side))
    }

    /// Returns the address of one side.
    pub fn address(&self, side: Side) -> IpAddr {
        let bytes = self.addresses[side.index()];
        if self.v6 {
            IpAddr::V6(Ipv6Addr::from(bytes))
        } else {
            IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]))
        }
    }

    /// Returns the port of one side.
    pub fn port(&self, side: Side) -> u16 {
        let [a, b, c, d] = self.ports.to_be_bytes();
        u16::from_be_bytes(if side == Side::Low { [a, b] } else { [c, d] })
    }

    /// Returns the transport.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Returns what the flow travels in.
    pub fn encap(&self) -> EncapId {
        self.encap
    }

    /// Hashes the key; the seed keeps an attacker from choosing where flows land.
    #[inline]
    pub fn hash64(&self, seed: &foldhash::fast::FixedState) -> u64 {
        use std::hash::Hasher;
        let mut hasher = seed.build_hasher();
        let [low, high] = self.addresses.map(u128::from_le_bytes);
        let rest = u64::from(self.ports) | u64::from(self.encap.0) << 32;
        if self.v6 {
            hasher.write_u128(low);
            hasher.write_u128(high);
        } else {
            // Four bytes each; the rest is zero.
            hasher.write_u128(low | high << 64);
        }
        hasher.write_u64(rest);
        hasher.write_u64(u64::from(self.transport.number()));
        hasher.finish()
    }
}

/// Joins the ports of both ends, so that they sort as the ends do.
fn joined(low: u16, high: u16) -> u32 {
    u32::from(low) << 16 | u32::from(high)
}

/// Maps an IPv4 address into IPv6 (RFC 4291 §2.5.5.2); leaves an IPv6 address as it is.
fn to_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// The TCP header fields that flows and inspection need (RFC 9293 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpHeader {
    /// Sequence number of the first payload byte (of the SYN where it is set).
    pub seq: u32,
    /// Acknowledgement number; meaningful only with [`TcpFlags::ACK`].
    pub ack: u32,
    /// Window as printed, not scaled.
    pub window: u16,
    /// Control bits.
    pub flags: TcpFlags,
}

/// TCP's control bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgement field is significant.
    pub const ACK: u8 = 0x10;

    /// Tells whether any of the given bits is set.
    pub fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    /// Tells whether this opens a connection: SYN without ACK.
    pub fn is_syn(self) -> bool {
        self.0 & (Self::SYN | Self::ACK) == Self::SYN
    }

    /// Tells whether this answers an opening: SYN with ACK.
    pub fn is_syn_ack(self) -> bool {
        self.0 & (Self::SYN | Self::ACK) == Self::SYN | Self::ACK
    }
}

/// A packet's place in the capture: what evidence points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct At {
    /// The run's running frame number, from 1 over all inputs.
    pub frame: u64,
    /// The frame's time.
    pub time: Timestamp,
}

/// A decoded frame, or several that were joined from fragments.
#[derive(Debug, Clone, Copy)]
pub struct Packet {
    /// The flow it belongs to.
    pub key: FlowKey,
    /// The key's keyed hash.
    pub hash: u64,
    /// Frame number and time; of joined fragments, the frame that completed them.
    pub at: At,
    /// Bytes on the wire of all its frames.
    pub wire_len: u32,
    /// How many frames it was; more than 1 only for joined fragments.
    pub frames: u32,
    /// Where its payload lies in the block.
    pub payload: Span,
    /// How many payload bytes were on the wire but not captured (snaplen).
    pub cut_len: u32,
    /// The TCP header; all zero for UDP.
    pub tcp: TcpHeader,
    /// Where it was seen.
    pub point: PointId,
    /// The sender's side.
    pub side: Side,
    /// For each tunnel around it, outermost in the lowest bit: it went from the higher outer address to the
    /// lower one.
    pub outer: u8,
    /// It only adds to counters: its content came, or comes, with another packet of the flow.
    pub counted_only: bool,
    /// Offload joined several packets of the wire before they were captured.
    pub merged: bool,
}

/// A range of a block's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

impl Span {
    /// Returns the bytes of the range, or an empty slice where it does not lie in `bytes`.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        let start = self.start as usize;
        bytes.get(start..start + self.len as usize).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_have_one_key_and_opposite_sides() {
        let tuple = |a: &str, b: &str| FiveTuple {
            src: a.parse().unwrap(),
            dst: b.parse().unwrap(),
            transport: Transport::Tcp,
        };
        for (a, b) in [("10.0.0.1:4000", "10.0.0.2:80"), ("[::1]:9", "[::1]:8")] {
            let (there, from) = FlowKey::new(tuple(a, b), EncapId(7));
            let (back, to) = FlowKey::new(tuple(b, a), EncapId(7));
            assert_eq!(there, back);
            assert_eq!(from, to.other());
            assert_eq!(there.endpoint(from), a.parse().unwrap());
            let seed = foldhash::fast::FixedState::with_seed(1);
            assert_eq!(there.hash64(&seed), back.hash64(&seed));
        }
    }

    #[test]
    fn a_nanosecond_part_beyond_a_second_is_carried() {
        assert_eq!(Timestamp::from_parts(1, 2_000_000_001), Timestamp(3_000_000_001));
    }
}
