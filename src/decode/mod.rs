//! Frame → [`Packet`] or [`Stop`].
//!
//! Takes frames in the order of capture; gives the packet of the innermost TCP or UDP layer, with its
//! key, or the reason why the frame joins no flow. Owns what must be known before the key: fragments
//! (bounded) and the table of encapsulations. Never fails, never panics, never looks at payload.

use std::net::IpAddr;

use crate::capture::Block;
use crate::packet::{EncapId, FlowKey, Packet, PointId, Side};

/// Why a frame joined no flow. Counted, never an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stop {
    /// Address resolution; no IP.
    Arp,
    /// A fragment whose datagram was never completed, or could not be held.
    Fragment,
    /// ICMP or ICMPv6.
    Icmp,
    /// A length or a header that cannot be.
    Malformed,
    /// An Ethernet frame of another network protocol.
    NotIp,
    /// Encrypted below the transport: ESP, MACsec.
    Opaque,
    /// IP with a transport that makes no flow here: SCTP, GRE with nothing known inside, OSPF.
    OtherTransport,
    /// Captured too short to know its ports.
    Truncated,
    /// A link type that is not read.
    UnknownLink,
}

impl Stop {
    /// Every reason, in the order of their names.
    pub const ALL: [Self; 9] = [
        Self::Arp,
        Self::Fragment,
        Self::Icmp,
        Self::Malformed,
        Self::NotIp,
        Self::Opaque,
        Self::OtherTransport,
        Self::Truncated,
        Self::UnknownLink,
    ];

    /// Returns the name as reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::Fragment => "fragment",
            Self::Icmp => "icmp",
            Self::Malformed => "malformed",
            Self::NotIp => "not-ip",
            Self::Opaque => "opaque",
            Self::OtherTransport => "other-transport",
            Self::Truncated => "truncated",
            Self::UnknownLink => "unknown-link",
        }
    }
}

/// What became of one frame.
#[derive(Debug, Clone, Copy)]
pub enum Decoded {
    /// It has ports: a packet of a flow.
    Packet(Packet),
    /// A fragment, held until its datagram is complete. It is counted when that happens, or as
    /// [`Stop::Fragment`] when [`Decoder::lost_fragments`] gives it up.
    Held,
    /// It joins no flow.
    Stop(Stop),
    /// An ICMP error: joins no flow, and tells that the quoted packet was refused.
    Unreachable(Quoted),
}

/// The packet that an ICMP error quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted {
    /// The flow of the quoted packet.
    pub key: FlowKey,
    /// The key's keyed hash.
    pub hash: u64,
    /// Who had sent the quoted packet.
    pub side: Side,
}

/// How frames are to be read.
#[derive(Debug, Clone)]
pub struct Options {
    /// Seeds the hash of flow keys.
    pub hash_seed: u64,
    /// Leaves VLAN ids out of the key.
    pub ignore_vlan: bool,
    /// UDP ports that carry VXLAN beside 4789 and 8472.
    pub vxlan_ports: Vec<u16>,
    /// Bytes that fragments may hold in all.
    pub fragment_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hash_seed: 0,
            ignore_vlan: false,
            vxlan_ports: Vec::new(),
            fragment_bytes_max: FRAGMENT_BYTES_MAX,
        }
    }
}

/// One layer that carries another network inside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// Which encapsulation.
    pub kind: TunnelKind,
    /// VNI, key, session or label, where the kind has one.
    pub id: Option<u32>,
    /// Outer addresses, sorted; a layer without own addresses (MPLS, PPPoE) has none.
    pub ends: Option<[IpAddr; 2]>,
}

/// The encapsulations that are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TunnelKind {
    /// ERSPAN I to III (draft-foschiano-erspan-03).
    Erspan,
    /// Geneve (RFC 8926).
    Geneve,
    /// GRE (RFC 2784, RFC 2890), also transparent Ethernet bridging.
    Gre,
    /// GTP-U (3GPP TS 29.281).
    Gtp,
    /// IP in IP: 4in4 (RFC 2003), 6in4 (RFC 4213), 4in6 (RFC 2473).
    IpInIp,
    /// MPLS label stack (RFC 3032).
    Mpls,
    /// PPP over Ethernet (RFC 2516).
    Pppoe,
    /// Teredo (RFC 4380).
    Teredo,
    /// VXLAN (RFC 7348).
    Vxlan,
}

impl TunnelKind {
    /// Returns the name as reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Erspan => "erspan",
            Self::Geneve => "geneve",
            Self::Gre => "gre",
            Self::Gtp => "gtp",
            Self::IpInIp => "ip-in-ip",
            Self::Mpls => "mpls",
            Self::Pppoe => "pppoe",
            Self::Teredo => "teredo",
            Self::Vxlan => "vxlan",
        }
    }
}

/// What a flow travels in. Part of the flow key, as an [`EncapId`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Encap {
    /// Captures that have nothing to do with each other are different domains.
    pub domain: u32,
    /// VLAN ids, outermost first.
    pub vlans: Vec<u16>,
    /// Tunnels, outermost first.
    pub tunnels: Vec<Tunnel>,
}

/// Bytes that incomplete datagrams may hold: 1,000 of the largest.
pub const FRAGMENT_BYTES_MAX: usize = 64 << 20;

/// Turns frames into packets; one for the whole run, since fragments cross flows.
pub struct Decoder {
    options: Options,
}

impl Decoder {
    /// Makes a decoder that holds nothing yet.
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// Starts another capture domain: flows before and after have nothing to do with each other.
    pub fn enter_domain(&mut self, _domain: u32) {}

    /// Decodes one frame of a block; `number` is its running number in the run.
    ///
    /// The payload of joined fragments is appended to the block's bytes, so that a packet's span always
    /// points into its block.
    pub fn decode(&mut self, _block: &mut Block, _index: usize, _number: u64) -> Decoded {
        let _ = &self.options;
        Decoded::Stop(Stop::NotIp)
    }

    /// Returns packets that only add to the counts of the flow last decoded: fragments that came in at
    /// another observation point than the one that completed the datagram.
    pub fn elsewhere(&mut self) -> std::vec::Drain<'_, Packet> {
        todo!()
    }

    /// Returns the fragments given up since the last call, by observation point.
    pub fn lost_fragments(&mut self) -> std::vec::Drain<'_, (PointId, u64)> {
        todo!()
    }

    /// Gives up every fragment still held; called once, at the end.
    pub fn finish(&mut self) {}

    /// Returns what a key's id stands for.
    pub fn encap(&self, _id: EncapId) -> &Encap {
        todo!()
    }
}
