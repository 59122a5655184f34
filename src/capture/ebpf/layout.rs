//! The layouts that the program and its loader share; portreeve.bpf.h has the other half.

use crate::packet::{EncapId, FlowKey, Transport};

/// Bytes of a `struct flow_key`.
pub(super) const KEY_LEN: usize = 48;

/// Bytes of a `struct flow`.
pub(super) const FLOW_LEN: usize = 160;

/// Bytes of a `struct frame_record` in front of its frame.
pub(super) const FRAME_RECORD_LEN: usize = 40;

/// Orders of one run of the program, as `ORDERS_MAX` there.
pub(super) const ORDERS_MAX: usize = 32;

/// Bytes of a `struct order`.
pub(super) const ORDER_LEN: usize = 80;

/// A flow's key as the kernel's maps have it: compared, never read but for its parts below. That of an entry in
/// the second map is marked so ([`mark_more`]): a flow may have one in both.
pub(super) type KernelKey = [u8; KEY_LEN];

/// Where a key says that its entry is in the second map.
const IN_MORE_AT: usize = 46;

/// Sums since the kernel made an entry, by side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) packets: [u64; 2],
    pub(super) bytes: [u64; 2],
    pub(super) lost: [u64; 2],
}

/// What the kernel knows of a flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct KernelFlow {
    pub(super) sums: Sums,
    /// The sums when the present connection opened.
    pub(super) before: Sums,
    pub(super) born_ns: u64,
    pub(super) last_ns: u64,
    pub(super) isn: [u32; 2],
    /// `next` of the connection before the present one.
    pub(super) former_next: [u32; 2],
    /// A bit a side.
    pub(super) former_known: u8,
    pub(super) next: [u32; 2],
    pub(super) generation: u32,
    pub(super) state: u32,
    pub(super) untold: bool,
    pub(super) opened: bool,
    /// A bit a side.
    pub(super) isn_known: u8,
    /// A bit a side that sent FIN; both for RST.
    pub(super) closed: u8,
    /// A bit a side.
    pub(super) next_known: u8,
    /// Offload joined some of the packets.
    pub(super) merged: bool,
    /// A bit a side whose FIN was lost; both for RST.
    pub(super) ended: u8,
}

/// The bit of `struct flow`'s `seen` that tells of offload.
const SEEN_MERGED: u8 = 16;

/// The lower of the bits that tell of ends which were lost.
const SEEN_END_LOST: u8 = 32;

/// A flow that the program counts.
pub(super) const LIVE: u32 = 0;

/// A flow about to be deleted, which counts no more.
pub(super) const DYING: u32 = 1;

/// What the ring holds.
pub(super) enum Record<'a> {
    Frame(FrameHead, &'a [u8]),
    Counts(KernelKey, KernelFlow),
}

/// What the program says of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) ifindex: u32,
    pub(super) time_ns: u64,
    pub(super) len: u32,
    pub(super) packets: u32,
    pub(super) headers_len: u32,
    /// Type and content of the tag that the kernel took out of the frame.
    pub(super) vlan: Option<(u16, u16)>,
    pub(super) is_ip: bool,
}

/// What the program is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Stop handing up a flow that opened no later than this.
    Mute(u64),
    /// Hand it up again.
    Unmute,
    /// Stop counting a flow whose last packet was at this time.
    Die(u64),
    /// Delete a flow that is dying.
    Bury,
}

/// Reads numbers from the front of some bytes, in the machine's order; 0 behind their end.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((first, rest)) = self.0.split_first_chunk::<N>() else {
            self.0 = &[];
            return [0; N];
        };
        self.0 = rest;
        *first
    }

    fn u8(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from_ne_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_ne_bytes(self.take())
    }

    fn u64_pair(&mut self) -> [u64; 2] {
        [self.u64(), self.u64()]
    }
}

impl KernelFlow {
    /// Reads a `struct flow`.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut r = Reader(bytes);
        let mut flow = Self::default();
        flow.sums.packets = r.u64_pair();
        flow.sums.bytes = r.u64_pair();
        flow.last_ns = r.u64();
        flow.next = [r.u32(), r.u32()];
        flow.state = r.u32();
        flow.generation = r.u32();
        let _muted = r.u8();
        flow.untold = r.u8() != 0;
        flow.opened = r.u8() != 0;
        flow.isn_known = r.u8();
        flow.closed = r.u8();
        flow.next_known = r.u8();
        let seen = r.u8();
        flow.merged = seen & SEEN_MERGED != 0;
        flow.ended = (seen / SEEN_END_LOST) & 3;
        let _to_tell = r.u8();
        flow.sums.lost = r.u64_pair();
        flow.before = Sums { packets: r.u64_pair(), bytes: r.u64_pair(), lost: r.u64_pair() };
        flow.born_ns = r.u64();
        let _told = r.u32();
        flow.isn = [r.u32(), r.u32()];
        flow.former_next = [r.u32(), r.u32()];
        flow.former_known = r.u8();
        flow
    }
}

impl<'a> Record<'a> {
    /// Reads a record of the ring; nothing when it is none of the program's.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut r = Reader(bytes);
        match r.u32() {
            1 => {
                let (ifindex, time_ns, len, copied) = (r.u32(), r.u64(), r.u32(), r.u32());
                let (packets, headers_len) = (r.u32(), r.u32());
                let (content, kind) = (r.u16(), r.u16());
                let vlan = (kind != 0).then_some((kind, content));
                let is_ip = r.u32() != 0;
                let frame = bytes.get(FRAME_RECORD_LEN..)?.get(..copied as usize)?;
                let head = FrameHead {
                    ifindex,
                    time_ns,
                    len,
                    packets: packets.max(1),
                    headers_len,
                    vlan,
                    is_ip,
                };
                Some(Self::Frame(head, frame))
            }
            2 => {
                let _zero = r.u32();
                let key = r.take();
                Some(Self::Counts(key, KernelFlow::read(r.0)))
            }
            _ => None,
        }
    }
}

/// Writes the key under which the program knows a flow.
pub(super) fn kernel_key(key: &FlowKey, vlans: [u16; 2], ifindex: u32) -> KernelKey {
    let mut bytes = [0; KEY_LEN];
    let [low, high] = key.address_bytes();
    bytes[..16].copy_from_slice(low);
    bytes[16..32].copy_from_slice(high);
    let ports = crate::packet::Side::BOTH.map(|side| key.port(side));
    for (at, number) in (32..).step_by(2).zip(ports.into_iter().chain(vlans)) {
        bytes[at..at + 2].copy_from_slice(&number.to_ne_bytes());
    }
    bytes[40..44].copy_from_slice(&ifindex.to_ne_bytes());
    bytes[44] = key.transport().number();
    bytes[45] = u8::from(key.is_v6());
    bytes
}

/// Reads a key of the program: the flow as if it travelled in nothing, its VLANs, its interface.
pub(super) fn flow_key(bytes: &KernelKey) -> (FlowKey, [u16; 2], u32) {
    let mut r = Reader(bytes);
    let (low, high): ([u8; 16], [u8; 16]) = (r.take(), r.take());
    let ports = [r.u16(), r.u16()];
    let vlans = [r.u16(), r.u16()];
    let ifindex = r.u32();
    let transport = transport(bytes);
    let _transport = r.u8();
    let (key, _) = if r.u8() == 1 {
        FlowKey::v6((low, ports[0]), (high, ports[1]), transport, EncapId(0))
    } else {
        let v4 = |wide: [u8; 16]| [wide[0], wide[1], wide[2], wide[3]];
        FlowKey::v4((v4(low), ports[0]), (v4(high), ports[1]), transport, EncapId(0))
    };
    (key, vlans, ifindex)
}

/// Marks the key of an entry in the second map of flows.
pub(super) fn mark_more(key: &mut KernelKey) {
    key[IN_MORE_AT] = 1;
}

/// Tells whether a key is that of an entry in the second map of flows.
pub(super) fn is_in_more(key: &KernelKey) -> bool {
    key[IN_MORE_AT] != 0
}

/// Returns the transport of a key of the program.
pub(super) fn transport(bytes: &KernelKey) -> Transport {
    if bytes[44] == Transport::Tcp.number() { Transport::Tcp } else { Transport::Udp }
}

/// Writes a `struct order`.
pub(super) fn order_bytes(order: Order, key: &KernelKey) -> [u8; ORDER_LEN] {
    let (what, time_ns): (u32, u64) = match order {
        Order::Mute(time_ns) => (1, time_ns),
        Order::Unmute => (2, 0),
        Order::Die(time_ns) => (3, time_ns),
        Order::Bury => (4, 0),
    };
    let mut bytes = [0; ORDER_LEN];
    bytes[16..20].copy_from_slice(&what.to_ne_bytes());
    bytes[24..32].copy_from_slice(&time_ns.to_ne_bytes());
    bytes[32..].copy_from_slice(key);
    bytes
}
