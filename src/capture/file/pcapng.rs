//! The pcapng format (draft-ietf-opsawg-pcapng).
//!
//! Takes a window of the file's bytes, gives spans. Packet blocks are walked here on the per-packet
//! path. Name resolution, decryption secrets, custom and unknown blocks are stepped over unread.

use crate::capture::FrameRecord;
use crate::capture::file::bytes::Order;
use crate::capture::file::container::{Damage, RECORD_LEN_MAX, Rest, Sink, Walk, absurd, span};
use crate::capture::file::link::link_type;
use crate::capture::file::points::Losses;
use crate::packet::{LinkType, PointId, Timestamp};

/// The type of a Section Header Block: the same in both byte orders, and hurt by any conversion of
/// line ends.
pub(super) const MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Interfaces of one section: a million of them, at 56 bytes each, is as far as belief goes.
pub(super) const INTERFACES_MAX: usize = 1 << 20;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// Type and length; a block ends with its length once more.
const BLOCK_HEADER_LEN: usize = 8;
const TRAILER_LEN: usize = 4;
const BLOCK_LEN_MIN: usize = BLOCK_HEADER_LEN + TRAILER_LEN;

/// Where the data of a Packet or Enhanced Packet Block begin.
const PACKET_DATA_AT: usize = 28;
const SIMPLE_PACKET_DATA_AT: usize = 12;
const SECTION_OPTIONS_AT: usize = 24;
const INTERFACE_OPTIONS_AT: usize = 16;
const STATISTICS_OPTIONS_AT: usize = 20;

const OPTION_END: u16 = 0;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;
const EPB_DROPCOUNT: u16 = 4;
const ISB_IFDROP: u16 = 5;
const ISB_OSDROP: u16 = 7;

/// A Packet Block's way of saying that it does not know how many frames were lost before it.
const DROPS_UNKNOWN: u16 = u16::MAX;

/// A pcapng file in the middle of being read.
pub(super) struct Pcapng {
    order: Order,
    interfaces: Vec<Interface>,
    /// The length that the end of a block stepped over must repeat.
    trailer: Option<usize>,
    /// A Simple Packet Block has no time; it gets that of the packet before it.
    last_time: Timestamp,
}

/// What packets of one interface have in common.
#[derive(Clone, Copy)]
struct Interface {
    clock: Clock,
    losses: Losses,
    /// 0 where there is no limit.
    snap_len: u32,
    link: LinkType,
    point: PointId,
}

impl Default for Pcapng {
    /// The byte order is the section header's to tell.
    fn default() -> Self {
        Self {
            order: Order::Little,
            interfaces: Vec::new(),
            trailer: None,
            last_time: Timestamp::default(),
        }
    }
}

impl Pcapng {
    /// Walks the blocks from `at` to the end of the window.
    pub(super) fn walk(&mut self, bytes: &[u8], mut at: usize, sink: &mut Sink<'_>) -> Walk {
        if let Some(len) = self.trailer {
            let Some(trailer) = self.order.u32_at(bytes, at) else {
                return Walk::short(at, TRAILER_LEN);
            };
            if let Err(damage) = check_trailer(len, trailer) {
                return Walk::damaged(at, damage);
            }
            self.trailer = None;
            at += TRAILER_LEN;
        }
        loop {
            at = match self.order {
                Order::Little => self.plain_packets(u32::from_le_bytes, bytes, at, sink),
                Order::Big => self.plain_packets(u32::from_be_bytes, bytes, at, sink),
            };
            let (kind, len) = match self.block_header(bytes, at) {
                Ok(header) => header,
                Err(rest) => return Walk { used: at, rest },
            };
            if !is_read(kind) {
                self.trailer = Some(len);
                return Walk { used: at, rest: Rest::Skip((len - TRAILER_LEN) as u64) };
            }
            if len > RECORD_LEN_MAX {
                return Walk::damaged(at, absurd("a block", len as u64));
            }
            let Some(block) = bytes.get(at..at + len) else { return Walk::short(at, len) };
            let (content, trailer) = block.split_at(len - TRAILER_LEN);
            let trailer = self.order.u32_at(trailer, 0).unwrap_or(0);
            let outcome =
                check_trailer(len, trailer).and_then(|()| self.block(kind, content, at, sink));
            if let Err(damage) = outcome {
                return Walk::damaged(at, damage);
            }
            at += len;
        }
    }

    /// Tells whether a file may end here.
    pub(super) fn may_end(&self) -> bool {
        self.trailer.is_none()
    }

    /// Takes Enhanced Packet Blocks as long as they are whole, sound and without options, which nearly
    /// all are; returns where something else begins.
    ///
    /// Halves the cost of a packet against [`Pcapng::block`], which could take them all.
    #[inline]
    fn plain_packets(
        &mut self,
        number: impl Fn([u8; 4]) -> u32,
        bytes: &[u8],
        mut at: usize,
        sink: &mut Sink<'_>,
    ) -> usize {
        while let Some(header) = bytes.get(at..).and_then(|b| b.first_chunk::<PACKET_DATA_AT>()) {
            let word = |i: usize| number([header[i], header[i + 1], header[i + 2], header[i + 3]]);
            let (len, captured_len) = (word(4), word(20));
            let trailer_at = PACKET_DATA_AT + padded(captured_len as usize);
            if word(0) != ENHANCED_PACKET || len as usize != trailer_at + TRAILER_LEN {
                break;
            }
            let trailer = bytes.get(at + trailer_at..).and_then(|b| b.first_chunk::<TRAILER_LEN>());
            if trailer.is_none_or(|trailer| number(*trailer) != len) {
                break;
            }
            let Some(interface) = self.interfaces.get(word(8) as usize) else { break };
            self.last_time = interface.clock.time(u64::from(word(12)) << 32 | u64::from(word(16)));
            sink.frames.push(FrameRecord {
                time: self.last_time,
                span: span(at + PACKET_DATA_AT, captured_len),
                wire_len: word(24),
                link: interface.link,
                point: interface.point,
            });
            at += len as usize;
        }
        at
    }

    /// Reads type and length of a block. A section header turns the byte order.
    #[inline]
    fn block_header(&mut self, bytes: &[u8], at: usize) -> Result<(u32, usize), Rest> {
        let header = bytes.get(at..).and_then(|rest| rest.first_chunk::<BLOCK_HEADER_LEN>());
        let Some([a, b, c, d, len @ ..]) = header else {
            return Err(Rest::Short(BLOCK_LEN_MIN));
        };
        let kind = self.order.u32([*a, *b, *c, *d]);
        if kind == SECTION_HEADER {
            let Some(magic) = bytes.get(at + 8..).and_then(|rest| rest.first_chunk::<4>()) else {
                return Err(Rest::Short(SECTION_OPTIONS_AT + TRAILER_LEN));
            };
            self.order = [Order::Little, Order::Big]
                .into_iter()
                .find(|order| order.u32(*magic) == BYTE_ORDER_MAGIC)
                .ok_or_else(|| {
                    Rest::Damaged(Damage::new("a section header without its byte-order magic"))
                })?;
        }
        let len = padded(self.order.u32(*len) as usize);
        if len < BLOCK_LEN_MIN {
            let cause = format!("a block of {len} bytes, less than the {BLOCK_LEN_MIN} it needs");
            return Err(Rest::Damaged(Damage::new(cause)));
        }
        Ok((kind, len))
    }

    /// Takes a whole block but for its trailer, which lies at `at` of the window.
    #[inline]
    fn block(
        &mut self,
        kind: u32,
        content: &[u8],
        at: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), Damage> {
        match kind {
            ENHANCED_PACKET | PACKET => self.packet(kind, content, at, sink),
            SIMPLE_PACKET => self.simple_packet(content, at, sink),
            INTERFACE_DESCRIPTION => self.interface(content, sink),
            INTERFACE_STATISTICS => self.statistics(content, sink),
            _ => self.section(content),
        }
    }

    /// Takes an Enhanced Packet Block, or the obsolete Packet Block, whose first four bytes differ.
    #[inline]
    fn packet(
        &mut self,
        kind: u32,
        content: &[u8],
        at: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), Damage> {
        let fixed = content.first_chunk::<PACKET_DATA_AT>().ok_or_else(|| too_short("packet"))?;
        let order = self.order;
        let word = |i: usize| order.u32([fixed[i], fixed[i + 1], fixed[i + 2], fixed[i + 3]]);
        let (id, drops) = if kind == ENHANCED_PACKET {
            (word(8), DROPS_UNKNOWN)
        } else {
            let id = order.u16([fixed[8], fixed[9]]);
            (u32::from(id), order.u16([fixed[10], fixed[11]]))
        };
        let captured_len = word(20);
        let options_at = padded(PACKET_DATA_AT + captured_len as usize);
        if PACKET_DATA_AT + captured_len as usize > content.len() {
            return Err(overlong(captured_len, content.len()));
        }
        let interface = self.interfaces.get_mut(id as usize).ok_or_else(|| undescribed(id))?;
        let time = interface.clock.time(u64::from(word(12)) << 32 | u64::from(word(16)));
        self.last_time = time;
        sink.frames.push(FrameRecord {
            time,
            span: span(at + PACKET_DATA_AT, captured_len),
            wire_len: word(24),
            link: interface.link,
            point: interface.point,
        });
        if drops != DROPS_UNKNOWN {
            interface.losses.before_packet(drops.into(), interface.point, sink.points);
        }
        if options_at < content.len()
            && kind == ENHANCED_PACKET
            && let Some(drops) = drop_count(order, &content[options_at..])
        {
            interface.losses.before_packet(drops, interface.point, sink.points);
        }
        Ok(())
    }

    /// Takes a Simple Packet Block: the first interface's, cut to its snaplen, without a time.
    fn simple_packet(
        &mut self,
        content: &[u8],
        at: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), Damage> {
        let wire_len = self
            .order
            .u32_at(content, BLOCK_HEADER_LEN)
            .ok_or_else(|| too_short("simple packet"))?;
        let interface = self.interfaces.first().ok_or_else(|| undescribed(0))?;
        let captured_len = match interface.snap_len {
            0 => wire_len,
            snap_len => wire_len.min(snap_len),
        };
        if SIMPLE_PACKET_DATA_AT + captured_len as usize > content.len() {
            return Err(overlong(captured_len, content.len()));
        }
        sink.frames.push(FrameRecord {
            time: self.last_time,
            span: span(at + SIMPLE_PACKET_DATA_AT, captured_len),
            wire_len,
            link: interface.link,
            point: interface.point,
        });
        Ok(())
    }

    /// Takes a Section Header Block: interfaces are numbered anew.
    fn section(&mut self, content: &[u8]) -> Result<(), Damage> {
        let major = self
            .order
            .u16_at(content, 12)
            .filter(|_| content.len() >= SECTION_OPTIONS_AT)
            .ok_or_else(|| too_short("section header"))?;
        if major != 1 {
            return Err(Damage::new(format!("pcapng of version {major}, which is not known")));
        }
        self.interfaces.clear();
        Ok(())
    }

    fn interface(&mut self, content: &[u8], sink: &mut Sink<'_>) -> Result<(), Damage> {
        let fixed = content
            .first_chunk::<INTERFACE_OPTIONS_AT>()
            .ok_or_else(|| too_short("interface description"))?;
        if self.interfaces.len() >= INTERFACES_MAX {
            let cause = format!("a section with more than {INTERFACES_MAX} interfaces");
            return Err(Damage::new(cause));
        }
        let order = self.order;
        let (mut name, mut resolution, mut offset_s) = (None, None, 0);
        for (code, value) in Options::new(order, &content[INTERFACE_OPTIONS_AT..]) {
            match (code, value) {
                (IF_NAME, _) => name = Some(value),
                (IF_TSRESOL, [exponent, ..]) => resolution = Some(*exponent),
                (IF_TSOFFSET, _) => {
                    if let Some(eight) = value.first_chunk() {
                        offset_s = order.u64(*eight).cast_signed();
                    }
                }
                _ => {}
            }
        }
        self.interfaces.push(Interface {
            clock: Clock::new(resolution, offset_s),
            losses: Losses::default(),
            snap_len: order.u32([fixed[12], fixed[13], fixed[14], fixed[15]]),
            link: link_type(order.u16([fixed[8], fixed[9]]).into()),
            point: sink.points.of(name),
        });
        Ok(())
    }

    /// Takes an Interface Statistics Block, whose counts are since the beginning of the capture.
    fn statistics(&mut self, content: &[u8], sink: &mut Sink<'_>) -> Result<(), Damage> {
        let order = self.order;
        let id = order
            .u32_at(content, BLOCK_HEADER_LEN)
            .filter(|_| content.len() >= STATISTICS_OPTIONS_AT)
            .ok_or_else(|| too_short("interface statistics"))?;
        // Statistics of an interface that is not described cost no packet.
        let Some(interface) = self.interfaces.get_mut(id as usize) else { return Ok(()) };
        let mut lost = 0u64;
        for (code, value) in Options::new(order, &content[STATISTICS_OPTIONS_AT..]) {
            if let (ISB_IFDROP | ISB_OSDROP, Some(eight)) = (code, value.first_chunk()) {
                lost = lost.saturating_add(order.u64(*eight));
            }
        }
        interface.losses.since_start(lost, interface.point, sink.points);
        Ok(())
    }
}

/// Tells whether a block's content is looked at. What a Decryption Secrets Block holds must never show
/// up anywhere, so it is not even looked at.
#[inline]
fn is_read(kind: u32) -> bool {
    matches!(
        kind,
        ENHANCED_PACKET
            | PACKET
            | SIMPLE_PACKET
            | INTERFACE_DESCRIPTION
            | INTERFACE_STATISTICS
            | SECTION_HEADER
    )
}

/// Returns a length with its padding to 32 bits. Some writers leave it out of a block's total length;
/// wireshark adds it too.
#[inline]
fn padded(len: usize) -> usize {
    (len + 3) & !3
}

#[inline]
fn check_trailer(len: usize, trailer: u32) -> Result<(), Damage> {
    if padded(trailer as usize) == len {
        return Ok(());
    }
    Err(Damage::new(format!("a block that begins with length {len} and ends with {trailer}")))
}

/// Returns a packet's count of frames lost before it.
#[cold]
fn drop_count(order: Order, options: &[u8]) -> Option<u64> {
    Options::new(order, options)
        .find(|(code, _)| *code == EPB_DROPCOUNT)
        .and_then(|(_, value)| value.first_chunk().map(|eight| order.u64(*eight)))
}

#[cold]
fn too_short(what: &str) -> Damage {
    Damage::new(format!("a {what} block that is too short"))
}

#[cold]
fn overlong(captured_len: u32, content_len: usize) -> Damage {
    Damage::new(format!("a frame of {captured_len} bytes in a block of {content_len}"))
}

#[cold]
fn undescribed(id: u32) -> Damage {
    Damage::new(format!("a packet of interface {id}, which the section does not describe"))
}

/// Walks the options of a block; ends where one does not fit.
struct Options<'a> {
    order: Order,
    rest: &'a [u8],
}

impl<'a> Options<'a> {
    fn new(order: Order, rest: &'a [u8]) -> Self {
        Self { order, rest }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let code = self.order.u16_at(self.rest, 0)?;
        let len = usize::from(self.order.u16_at(self.rest, 2)?);
        if code == OPTION_END {
            return None;
        }
        let value = self.rest.get(4..4 + len)?;
        self.rest = self.rest.get(4 + padded(len)..).unwrap_or(&[]);
        Some((code, value))
    }
}

/// How an interface's time stamps become nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Clock {
    scale: Scale,
    offset_ns: i64,
}

/// The unit of a time stamp.
#[derive(Debug, Clone, Copy)]
enum Scale {
    /// So many nanoseconds.
    Nanoseconds(u64),
    /// So many make a nanosecond.
    PerNanosecond(u64),
    /// Two to the so many make a second.
    BinaryPerSecond(u32),
}

impl Clock {
    /// Takes `if_tsresol` and `if_tsoffset`: a power of ten, or of two with the highest bit set;
    /// microseconds if nothing is said.
    fn new(resolution: Option<u8>, offset_s: i64) -> Self {
        let scale = match resolution.unwrap_or(6) {
            exponent @ 0..=9 => Scale::Nanoseconds(10u64.pow(9 - u32::from(exponent))),
            exponent @ 10..=0x7f => {
                Scale::PerNanosecond(10u64.saturating_pow(u32::from(exponent) - 9))
            }
            exponent => Scale::BinaryPerSecond(u32::from(exponent & 0x7f)),
        };
        Self { scale, offset_ns: offset_s.saturating_mul(1_000_000_000) }
    }

    #[inline]
    fn time(self, ticks: u64) -> Timestamp {
        let ns = match self.scale {
            Scale::Nanoseconds(each) => ticks.saturating_mul(each),
            Scale::PerNanosecond(count) => ticks / count,
            Scale::BinaryPerSecond(shift) => {
                u64::try_from((u128::from(ticks) * 1_000_000_000) >> shift).unwrap_or(u64::MAX)
            }
        };
        Timestamp(i64::try_from(ns).unwrap_or(i64::MAX).saturating_add(self.offset_ns))
    }
}
