//! Frame → [`Packet`] or [`Stop`].
//!
//! Takes frames in the order of capture; gives the packet of the innermost TCP or UDP layer, with its
//! key, or the reason why the frame joins no flow. Owns what must be known before the key: fragments
//! (bounded) and the table of encapsulations. Never fails, never panics, never looks at payload.

use foldhash::fast::FixedState;

use crate::capture::{Block, FrameRecord};
use crate::packet::{At, EncapId, FlowKey, LinkType, Packet, PointId, Side, Span, TcpHeader};

mod encap;
mod ether;
mod fast;
mod fragment;
mod ip;
mod link;
mod plain;
mod trace;
mod transport;
mod tunnel;
mod walk;
mod wlan;

pub use encap::{ENCAPS_MAX, Encap, TUNNEL_DEPTH_MAX, Tunnel, TunnelKind, VLAN_DEPTH_MAX};
pub use trace::{Origin, Trace};

use encap::{Encaps, Layers};
use fragment::{Fate, Fragment, Fragments, Joined, Tally};
use walk::{Body, Found, Rules, Segment, Step, Walk, narrow};

/// Why a frame joined no flow. Counted, never an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stop {
    /// Address resolution; no IP.
    Arp,
    /// A fragment whose datagram was never completed, or could not be held.
    Fragment,
    /// ICMP or `ICMPv6`.
    Icmp,
    /// A length or a header that cannot be.
    Malformed,
    /// An Ethernet frame of another network protocol.
    NotIp,
    /// Encrypted below the transport: ESP, `MACsec`.
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

impl Options {
    /// Returns the UDP ports that are taken for tunnels until their content says otherwise.
    pub fn tunnel_ports(&self) -> Vec<u16> {
        tunnel::port::ALL.into_iter().chain(self.vxlan_ports.iter().copied()).collect()
    }

    fn rules(&self) -> Rules<'_> {
        Rules { ignore_vlan: self.ignore_vlan, vxlan_ports: &self.vxlan_ports }
    }
}

/// Bytes that incomplete datagrams may hold: 1,000 of the largest.
pub const FRAGMENT_BYTES_MAX: usize = 64 << 20;

/// Link types that are remembered as unknown: enough to name them all in one message.
const UNKNOWN_LINKS_MAX: usize = 16;

/// Turns frames into packets; one for the whole run, since fragments cross flows.
pub struct Decoder {
    options: Options,
    seed: FixedState,
    encaps: Encaps,
    fragments: Fragments,
    /// Where the frames of the packet at hand were seen; several when it was joined.
    tallies: Vec<Tally>,
    elsewhere: Vec<Packet>,
    unknown_links: Vec<LinkType>,
    trace: Option<Trace>,
}

/// One direction of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Direction {
    key: FlowKey,
    hash: u64,
    side: Side,
    /// See [`Packet::outer`].
    outer: u8,
}

impl Decoder {
    /// Makes a decoder that holds nothing yet.
    pub fn new(options: Options) -> Self {
        Self {
            seed: FixedState::with_seed(options.hash_seed),
            encaps: Encaps::new(options.hash_seed),
            fragments: Fragments::new(options.hash_seed, options.fragment_bytes_max),
            tallies: Vec::new(),
            elsewhere: Vec::new(),
            unknown_links: Vec::new(),
            trace: None,
            options,
        }
    }

    /// Makes a decoder that tells where it found what; see [`Decoder::trace`].
    pub fn traced(options: Options) -> Self {
        Self { trace: Some(Trace::default()), ..Self::new(options) }
    }

    /// Returns where the frame last decoded has what; `None` unless made by [`Decoder::traced`].
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// Starts another capture domain: flows before and after have nothing to do with each other.
    pub fn enter_domain(&mut self, domain: u32) {
        self.encaps.enter_domain(domain);
    }

    /// Decodes one frame of a block; `number` is its running number in the run.
    ///
    /// The payload of joined fragments is appended to the block's bytes, so that a packet's span always
    /// points into its block.
    ///
    /// # Panics
    ///
    /// When the block has no frame of that index. No content of a frame makes it panic.
    pub fn decode(&mut self, block: &mut Block, index: usize, number: u64) -> Decoded {
        let record = block.frames[index];
        let mut found = None;
        self.decode_run(&block.bytes, &[record], number, |packet| found = Some(packet));
        match found.or_else(|| self.decode_plain(&block.bytes, &record, number)) {
            Some(packet) => Decoded::Packet(packet),
            None => self.decode_oddity(block, &record, number),
        }
    }

    /// Returns the id of what travels in up to two VLANs, from outside in; 0 stands for none.
    #[inline]
    pub fn in_vlans(&mut self, vlans: [u16; 2]) -> EncapId {
        match vlans {
            [0, 0] => self.encaps.plain(),
            [id, 0] => self.encaps.single(id),
            ids => self.encaps.double(ids),
        }
    }

    /// Returns the VLAN ids that an id stands for, where it stands for up to two and nothing else.
    pub fn only_vlans(&self, id: EncapId) -> Option<[u16; 2]> {
        let encap = self.encap(id);
        match encap.vlans[..] {
            _ if !encap.tunnels.is_empty() => None,
            [] => Some([0, 0]),
            [outer] => Some([outer, 0]),
            [outer, inner] => Some([outer, inner]),
            _ => None,
        }
    }

    /// Returns the keyed hash that this decoder gives to a key.
    pub fn hash(&self, key: &FlowKey) -> u64 {
        key.hash64(&self.seed)
    }

    /// Returns packets that only add to the counts of the flow last decoded: fragments that came in at
    /// another observation point than the one that completed the datagram.
    pub fn elsewhere(&mut self) -> std::vec::Drain<'_, Packet> {
        self.elsewhere.drain(..)
    }

    /// Returns the fragments given up since the last call, by observation point; a point may come more
    /// than once.
    pub fn lost_fragments(&mut self) -> std::vec::Drain<'_, (PointId, u64)> {
        self.fragments.lost()
    }

    /// Counts the incomplete datagrams that were given up because too many others came.
    pub fn fragments_evicted(&self) -> u64 {
        self.fragments.evicted()
    }

    /// Gives up every fragment still held; called once, at the end.
    pub fn finish(&mut self) {
        self.fragments.finish();
    }

    /// Returns what a key's id stands for.
    ///
    /// # Panics
    ///
    /// When the id is not of this decoder.
    pub fn encap(&self, id: EncapId) -> &Encap {
        self.encaps.get(id)
    }

    /// Counts the frames whose encapsulation came when [`ENCAPS_MAX`] others were known, and which so
    /// share one id.
    pub fn encaps_folded(&self) -> u64 {
        self.encaps.folded()
    }

    /// Returns the link types that were met and are not read, in the order of first sight; at most 16.
    pub fn unknown_links(&self) -> &[LinkType] {
        &self.unknown_links
    }

    /// Reads what [`Decoder::decode_plain`] does not.
    #[inline(never)]
    pub fn decode_oddity(
        &mut self,
        block: &mut Block,
        record: &FrameRecord,
        number: u64,
    ) -> Decoded {
        let at = At { frame: number, time: record.time };
        let tally = Tally { point: record.point, frames: 1, wire_len: record.wire_len };
        self.tallies.clear();
        self.tallies.push(tally);
        let mut base = record.span.start;
        let frame = record.span.of(&block.bytes);
        let mut walk = Walk::new(frame, record.wire_len as usize, self.options.rules());
        let mut found = walk.run(Step::Link(record.link));
        let mut read_len = walk.at;
        let mut layers = walk.layers;
        let mut whole: Option<Joined> = None;
        loop {
            self.note_headers(read_len);
            let part = match found {
                Ok(Found::Fragment(part)) => part,
                Ok(Found::Segment(segment)) => {
                    let direction = self.direction_of(&segment, &layers);
                    if let Some(whole) = whole {
                        self.fragments.remember(whole, Some(direction), at.time);
                    }
                    let Span { start, len } = segment.body.payload;
                    let payload = Span { start: base + start, len };
                    let body = Body { payload, ..segment.body };
                    return Decoded::Packet(self.packet(direction, &body, at, tally));
                }
                Ok(Found::Refused(segment)) => {
                    let quote = block.bytes.get(base as usize + read_len..).unwrap_or(&[]);
                    let quoted_len = segment.body.payload.start as usize;
                    self.note_headers(read_len + quoted_len.min(trace::quoted_headers_len(quote)));
                    let Direction { key, hash, side, .. } = self.direction_of(&segment, &layers);
                    self.drop_whole(whole, tally, at);
                    return Decoded::Unreachable(Quoted { key, hash, side });
                }
                Err(stop) => {
                    self.drop_whole(whole, tally, at);
                    return self.stopped(stop, record.link);
                }
            };
            let buffer = block.bytes.get(base as usize..).unwrap_or(&[]);
            let encap = self.encaps.of(&layers, layers.depth());
            let trace = self.trace.as_mut();
            let origins = trace.map_or_else(Vec::new, |trace| trace.of_fragment(&part, number));
            let fragment = Fragment::of(&part, encap, part.data.of(buffer), &origins);
            let fate = self.fragments.add(&fragment, at.time, &mut self.tallies);
            // An outer datagram that was joined only to find a fragment in it is no longer needed.
            if let Some(outer) = whole.take() {
                self.fragments.remember(outer, None, at.time);
            }
            match fate {
                Fate::Held => return Decoded::Held,
                Fate::Lost(stop) => {
                    self.drop_whole(None, tally, at);
                    return Decoded::Stop(stop);
                }
                Fate::Copy(direction) => {
                    let packet = self.packet(direction, &Body::EMPTY, at, tally);
                    return Decoded::Packet(count_only(packet));
                }
                Fate::Joined(joined) => {
                    base = narrow(block.bytes.len());
                    joined.write(&mut block.bytes);
                    let bytes = block.bytes.get(base as usize..).unwrap_or(&[]);
                    let rules = self.options.rules();
                    let mut walk = Walk::inside(bytes, &joined, layers, rules);
                    found = walk.run(Step::Protocol(joined.protocol));
                    (read_len, layers) = (walk.at, walk.layers);
                    if let Some(trace) = &mut self.trace {
                        trace.join(base, joined.origins());
                    }
                    whole = Some(joined);
                }
            }
        }
    }

    fn note_headers(&mut self, len: usize) {
        if let Some(trace) = &mut self.trace {
            trace.headers_len = narrow(len);
        }
    }

    fn direction_of(&mut self, segment: &Segment, layers: &Layers) -> Direction {
        let encap = self.encaps.of(layers, segment.depth);
        let outer = layers.turned(segment.depth);
        Direction { outer, ..self.direction(segment.ends, &segment.body, encap) }
    }

    /// Makes the packet of all frames at hand; those of other points go to [`Self::elsewhere`].
    fn packet(&mut self, direction: Direction, body: &Body, at: At, own: Tally) -> Packet {
        let Direction { key, hash, side, outer } = direction;
        let &Body { tcp, payload, cut_len, .. } = body;
        let whole = Packet {
            key,
            hash,
            at,
            wire_len: own.wire_len,
            frames: own.frames,
            payload,
            cut_len,
            tcp,
            point: own.point,
            side,
            outer,
            counted_only: false,
            merged: false,
        };
        let mut packet = whole;
        self.elsewhere.clear();
        for &Tally { point, frames, wire_len } in &self.tallies {
            if point == own.point {
                packet = Packet { wire_len, frames, ..packet };
            } else {
                let counted = Packet { wire_len, frames, point, ..whole };
                self.elsewhere.push(count_only(counted));
            }
        }
        packet
    }

    /// Counts the frames of a datagram that joins no flow, but for the one at hand, as lost fragments.
    fn drop_whole(&mut self, whole: Option<Joined>, own: Tally, at: At) {
        for tally in &mut self.tallies {
            if tally.point == own.point {
                tally.frames -= 1;
            }
        }
        self.tallies.retain(|tally| tally.frames > 0);
        self.fragments.count_lost(&self.tallies);
        if let Some(whole) = whole {
            self.fragments.remember(whole, None, at.time);
        }
    }

    fn stopped(&mut self, stop: Stop, link: LinkType) -> Decoded {
        if stop == Stop::UnknownLink
            && !self.unknown_links.contains(&link)
            && self.unknown_links.len() < UNKNOWN_LINKS_MAX
        {
            self.unknown_links.push(link);
        }
        Decoded::Stop(stop)
    }
}

/// Leaves of a packet what adds to counters.
fn count_only(packet: Packet) -> Packet {
    let (payload, tcp) = (Span::default(), TcpHeader::default());
    Packet { payload, cut_len: 0, tcp, counted_only: true, ..packet }
}

#[cfg(test)]
mod tests;
