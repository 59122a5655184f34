//! The pcap format (draft-ietf-opsawg-pcap) and its relatives.
//!
//! Takes a window of the file's bytes, gives spans. This is the per-packet path of reading.

use crate::capture::FrameRecord;
use crate::capture::file::bytes::Order;
use crate::capture::file::container::{
    Container, Damage, Detected, Outlook, RECORD_LEN_MAX, Sink, Walk, absurd, span,
};
use crate::capture::file::link::link_type;
use crate::capture::file::points::Points;
use crate::capture::file::variant;
use crate::packet::{LinkType, PointId, Timestamp};

/// What the first four bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Magic {
    /// The byte order of the file.
    pub(super) order: Order,
    /// Which relative it is.
    pub(super) kind: Kind,
}

/// The relatives that have a magic of their own (wireshark's wiretap/libpcap.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// 0xa1b2c3d4: microseconds.
    Standard,
    /// 0xa1b23c4d: nanoseconds.
    Nanoseconds,
    /// 0xa1b2cd34: Kuznetsov's patch, with longer record headers.
    Modified,
    /// 0x1c0001ac: IXIA's hardware capture, nanoseconds, a longer file header.
    IxiaHardware,
    /// 0x1c0001ab: IXIA's software capture, microseconds, a longer file header.
    IxiaSoftware,
}

impl Magic {
    /// Tells the relative, if the bytes are a magic of pcap at all.
    pub(super) fn of(bytes: [u8; 4]) -> Option<Self> {
        [Order::Little, Order::Big].into_iter().find_map(|order| {
            let kind = match order.u32(bytes) {
                0xa1b2_c3d4 => Kind::Standard,
                0xa1b2_3c4d => Kind::Nanoseconds,
                0xa1b2_cd34 => Kind::Modified,
                0x1c00_01ac => Kind::IxiaHardware,
                0x1c00_01ab => Kind::IxiaSoftware,
                _ => return None,
            };
            Some(Self { order, kind })
        })
    }

    /// Returns the length of the file header.
    fn header_len(self) -> usize {
        match self.kind {
            Kind::Standard | Kind::Nanoseconds | Kind::Modified => 24,
            // The total length of the records follows.
            Kind::IxiaHardware | Kind::IxiaSoftware => 28,
        }
    }
}

/// Which of the two lengths of a record header comes first.
///
/// Version 2.3 interchanged them, and some programs wrote 2.3 without doing so (libpcap's sf-pcap.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lengths {
    CapturedFirst,
    WireFirst,
    /// As the smaller one cannot be the length on the wire.
    Unsure,
}

/// A pcap file in the middle of being read.
#[derive(Debug)]
pub(super) struct Pcap {
    order: Order,
    record_header_len: usize,
    fraction_ns: i64,
    lengths: Lengths,
    link: LinkType,
    point: PointId,
}

/// Reads the file header.
pub(super) fn detect(
    magic: Magic,
    bytes: &[u8],
    outlook: Outlook,
    points: &mut Points,
) -> Detected {
    let Some(header) = bytes.get(..magic.header_len()).and_then(|h| h.first_chunk::<24>()) else {
        return Detected::Short(magic.header_len());
    };
    let order = magic.order;
    let major = order.u16([header[4], header[5]]);
    let minor = order.u16([header[6], header[7]]);
    let snap_len = order.u32([header[16], header[17], header[18], header[19]]);
    let network = order.u32([header[20], header[21], header[22], header[23]]);
    if major < 2 {
        return Detected::Unreadable(Damage::new(format!(
            "pcap of version {major}.{minor}, which is not known"
        )));
    }
    let lengths = match (major, minor) {
        // DG/UX wrote 543.0 and the old order.
        (2, 0..=2) | (543, _) => Lengths::WireFirst,
        (2, 3) => Lengths::Unsure,
        _ => Lengths::CapturedFirst,
    };
    let aix = (magic.kind == Kind::Standard && (major, minor) == (2, 2))
        .then(|| aix_link_type(network))
        .flatten();
    let record_header_len = if lengths == Lengths::CapturedFirst {
        let records = &bytes[magic.header_len()..];
        match variant::record_header_len(magic, records, snap_len, outlook) {
            Ok(len) => len,
            Err(need) => return Detected::Short(magic.header_len() + need),
        }
    } else {
        variant::STANDARD_HEADER_LEN
    };
    let nanoseconds = matches!(magic.kind, Kind::Nanoseconds | Kind::IxiaHardware) || aix.is_some();
    let pcap = Pcap {
        order,
        record_header_len,
        fraction_ns: if nanoseconds { 1 } else { 1_000 },
        lengths,
        link: aix.unwrap_or_else(|| link_type(network)),
        point: points.of(None),
    };
    Detected::Found(Container::Pcap(pcap), magic.header_len())
}

/// AIX writes version 2.2, nanoseconds, and interface types of RFC 1573 (wiretap/libpcap.c).
fn aix_link_type(network: u32) -> Option<LinkType> {
    match network {
        6 => Some(LinkType::ETHERNET),
        9 => Some(LinkType(6)),
        15 => Some(LinkType(10)),
        24 => Some(LinkType::NULL),
        _ => None,
    }
}

impl Pcap {
    /// Walks the records from `at` to the end of the window.
    pub(super) fn walk(&mut self, bytes: &[u8], mut at: usize, sink: &mut Sink<'_>) -> Walk {
        loop {
            let Some(header) = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) else {
                return Walk::short(at, self.record_header_len);
            };
            let word =
                |i: usize| self.order.u32([header[i], header[i + 1], header[i + 2], header[i + 3]]);
            let (captured_len, wire_len) = self.lengths.sort(word(8), word(12));
            if captured_len as usize > RECORD_LEN_MAX {
                return Walk::damaged(at, absurd("a frame", captured_len.into()));
            }
            let start = at + self.record_header_len;
            let end = start + captured_len as usize;
            if end > bytes.len() {
                return Walk::short(at, end - at);
            }
            // Neither product can overflow: both factors fit in 32 bits.
            let time = i64::from(word(0)) * 1_000_000_000 + i64::from(word(4)) * self.fraction_ns;
            sink.frames.push(FrameRecord {
                time: Timestamp(time),
                span: span(start, captured_len),
                wire_len,
                link: self.link,
                point: self.point,
            });
            at = end;
        }
    }
}

impl Lengths {
    /// Returns the captured length and the length on the wire.
    #[inline]
    fn sort(self, first: u32, second: u32) -> (u32, u32) {
        match self {
            Self::CapturedFirst => (first, second),
            Self::WireFirst => (second, first),
            Self::Unsure => (first.min(second), first.max(second)),
        }
    }
}
