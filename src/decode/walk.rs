//! The general path: walks the layers of a frame, whatever they are, down to the innermost TCP or UDP.
//!
//! A [`Walk`] stands at an offset of a buffer; each [`Step`] names what begins there. A step reads its
//! header, moves on and names the next. Every step that can repeat either consumes bytes or has a
//! depth limit, so a walk ends.

use crate::packet::{LinkType, Span, TcpFlags, TcpHeader, Transport};

use super::Stop;
use super::encap::{Depth, Layers, Tunnel, TunnelKind};
use super::fragment::Joined;
use super::ip::Ends;

/// What begins at the walk's offset.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// A frame of a link type.
    Link(LinkType),
    /// An Ethernet frame.
    Ethernet,
    /// What an Ethernet type names.
    EtherType(u16),
    /// A label stack.
    Mpls,
    /// PPP's protocol field, after any HDLC framing.
    Ppp,
    /// IP, version 4 or 6 by its first nibble.
    Ip,
    /// What an IP protocol number names.
    Protocol(u8),
    /// Nothing more to walk.
    End(Found),
}

/// Where a walk ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found {
    /// The innermost TCP or UDP.
    Segment(Segment),
    /// A fragment.
    Fragment(Part),
    /// The packet that an ICMP error says was refused.
    Refused(Segment),
}

/// The innermost TCP or UDP, and what it travels in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) ends: Ends,
    pub(super) body: Body,
    pub(super) depth: Depth,
}

/// A TCP or UDP header, and where its payload lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Body {
    /// Source, destination.
    pub(super) ports: [u16; 2],
    pub(super) transport: Transport,
    /// All zero for UDP.
    pub(super) tcp: TcpHeader,
    /// Relative to the buffer that was read.
    pub(super) payload: Span,
    /// Payload bytes that were on the wire but not captured.
    pub(super) cut_len: u32,
}

impl Body {
    /// No packet: what is known of one that only counts.
    pub(super) const EMPTY: Self = Self {
        ports: [0; 2],
        transport: Transport::Udp,
        tcp: TcpHeader { seq: 0, ack: 0, window: 0, flags: TcpFlags(0) },
        payload: Span { start: 0, len: 0 },
        cut_len: 0,
    };
}

/// An IP fragment and where its data lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) ends: Ends,
    pub(super) id: u32,
    /// The protocol that tells datagrams apart; 0 in IPv6.
    pub(super) name_protocol: u8,
    pub(super) protocol: u8,
    pub(super) start: u32,
    pub(super) len: u32,
    pub(super) more: bool,
    /// Relative to the walk's buffer.
    pub(super) data: Span,
}

/// What a walk must know beside the bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) ignore_vlan: bool,
    pub(super) vxlan_ports: &'a [u16],
}

/// A walk through one buffer.
pub(super) struct Walk<'a> {
    pub(super) bytes: &'a [u8],
    /// Where the current layer begins; at most `end`.
    pub(super) at: usize,
    /// Where its captured bytes end; at most the buffer's length.
    pub(super) end: usize,
    /// Where it ended on the wire, by the innermost length that says so.
    pub(super) wire_end: usize,
    pub(super) rules: Rules<'a>,
    pub(super) layers: Layers,
    pub(super) ends: Option<Ends>,
    /// The flow if nothing inside is one.
    outer: Option<Segment>,
    /// Reads the packet that an ICMP error quotes: no tunnels, no fragments.
    pub(super) is_quote: bool,
    /// Tags and headers passed that do not count as VLAN or tunnel.
    headers: usize,
}

/// Headers of all kinds on the way to the ports; a real packet stays below twenty.
const HEADERS_MAX: usize = 64;

impl<'a> Walk<'a> {
    /// Begins a walk at the start of a buffer; `wire_len` is how long it was on the wire.
    pub(super) fn new(bytes: &'a [u8], wire_len: usize, rules: Rules<'a>) -> Self {
        Self {
            bytes,
            at: 0,
            end: bytes.len(),
            wire_end: wire_len.max(bytes.len()),
            rules,
            layers: Layers::new(),
            ends: None,
            outer: None,
            is_quote: false,
            headers: 0,
        }
    }

    /// Goes on with the payload of a joined datagram, `bytes`, that travels in `layers`.
    pub(super) fn inside(
        bytes: &'a [u8],
        joined: &Joined,
        layers: Layers,
        rules: Rules<'a>,
    ) -> Self {
        let walk = Self::new(bytes, joined.len as usize, rules);
        Self { layers, ends: Some(joined.name.ends), ..walk }
    }

    /// Walks to the end. What stops inside a UDP tunnel leaves the tunnel's own packet.
    pub(super) fn run(&mut self, first: Step) -> Result<Found, Stop> {
        let found = self.walk(first);
        match (found, self.outer) {
            (Ok(Found::Segment(_) | Found::Fragment(_)), _) | (_, None) => found,
            (_, Some(outer)) => Ok(Found::Segment(outer)),
        }
    }

    fn walk(&mut self, first: Step) -> Result<Found, Stop> {
        let mut step = first;
        loop {
            self.headers += 1;
            if self.headers > HEADERS_MAX {
                return Err(Stop::Malformed);
            }
            step = match step {
                Step::Link(link) => self.link(link),
                Step::Ethernet => self.ethernet(),
                Step::EtherType(number) => self.ether_type(number),
                Step::Mpls => self.mpls(),
                Step::Ppp => self.ppp(),
                Step::Ip => self.ip(),
                Step::Protocol(number) => self.protocol(number),
                Step::End(found) => return Ok(found),
            }?;
        }
    }

    /// Keeps a packet as the flow, in case that nothing inside it is one.
    pub(super) fn keep_outer(&mut self, segment: Segment) {
        self.outer.get_or_insert(segment);
    }

    /// Enters a tunnel whose outer addresses are those of the IP layer just passed.
    pub(super) fn enter(&mut self, kind: TunnelKind, id: Option<u32>) -> Result<(), Stop> {
        let turned = self.ends.is_some_and(Ends::is_turned);
        let ends = self.ends.map(Ends::sorted);
        self.layers.push_tunnel(Tunnel { kind, id, ends }, turned).ok_or(Stop::Malformed)
    }

    /// Enters a tunnel that has no addresses of its own.
    pub(super) fn enter_unaddressed(
        &mut self,
        kind: TunnelKind,
        id: Option<u32>,
    ) -> Result<(), Stop> {
        self.layers.push_tunnel(Tunnel { kind, id, ends: None }, false).ok_or(Stop::Malformed)
    }

    /// Returns the captured bytes of the current layer.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..self.end).unwrap_or(&[])
    }

    /// Returns the next bytes and stays.
    pub(super) fn peek<const N: usize>(&self) -> Result<&'a [u8; N], Stop> {
        self.rest().first_chunk().ok_or_else(|| self.short_of(N))
    }

    /// Returns the next bytes and moves past them.
    pub(super) fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], Stop> {
        let bytes = self.peek()?;
        self.at += N;
        Ok(bytes)
    }

    /// Moves past bytes.
    pub(super) fn skip(&mut self, len: usize) -> Result<(), Stop> {
        if len > self.end - self.at {
            return Err(self.short_of(len));
        }
        self.at += len;
        Ok(())
    }

    /// Ends the current layer where its own length says; what follows is padding.
    ///
    /// A length beyond the enclosing layer is believed as the length on the wire: some tools cut
    /// frames without saying so in the record.
    pub(super) fn limit(&mut self, len: usize) {
        self.wire_end = self.at.saturating_add(len);
        self.end = self.end.min(self.wire_end);
    }

    /// Says why `len` bytes are not there: cut by the capture, or never sent.
    pub(super) fn short_of(&self, len: usize) -> Stop {
        if self.wire_end.saturating_sub(self.at) >= len { Stop::Truncated } else { Stop::Malformed }
    }

    /// Returns the span of what was captured of the current layer, and how many bytes were cut.
    pub(super) fn remainder(&self) -> (Span, u32) {
        let span = Span { start: narrow(self.at), len: narrow(self.end.saturating_sub(self.at)) };
        (span, narrow(self.wire_end.saturating_sub(self.end.max(self.at))))
    }
}

/// Narrows a length; blocks and datagrams stay far below 4 GiB.
pub(super) fn narrow(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Reads two bytes.
pub(super) fn be16(bytes: [u8; 2]) -> u16 {
    u16::from_be_bytes(bytes)
}
