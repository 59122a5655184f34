//! Tells the container formats apart and walks their records.
//!
//! Takes a window of a file's (decompressed) bytes; gives the frames that lie in it whole, as spans of
//! that window. Never copies and never reads.

use crate::capture::FrameRecord;
use crate::capture::file::pcap::{self, Pcap};
use crate::capture::file::pcapng::{self, Pcapng};
use crate::capture::file::points::Points;
use crate::capture::file::snoop::{self, Snoop};
use crate::packet::Span;

/// Bytes that one record may have. The largest legal frames are far smaller (BIG TCP and USB stay
/// below 1 MiB); a length above this is damage, and believing it would cost memory.
pub(super) const RECORD_LEN_MAX: usize = 16 << 20;

/// What a walk fills.
pub(super) struct Sink<'a> {
    /// The frames found, as spans of the window.
    pub(super) frames: &'a mut Vec<FrameRecord>,
    /// The observation points of the run.
    pub(super) points: &'a mut Points,
}

/// How far a walk came.
pub(super) struct Walk {
    /// Bytes of the window that are done with.
    pub(super) used: usize,
    /// What is with the bytes behind them.
    pub(super) rest: Rest,
}

/// What is with the bytes behind the last whole record.
pub(super) enum Rest {
    /// At least so many bytes are needed to go on.
    Short(usize),
    /// So many bytes are of no interest; they may reach beyond the window.
    Skip(u64),
    /// Nothing behind here can be read.
    Damaged(Damage),
    /// This is no capture at all.
    Foreign(Damage),
}

/// What is wrong with a file.
#[derive(Debug)]
pub(super) struct Damage {
    /// What was found.
    pub(super) cause: String,
    /// What the user can do about it.
    pub(super) hint: Option<&'static str>,
}

impl Damage {
    /// Makes a damage without a hint.
    pub(super) fn new(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), hint: None }
    }
}

impl Walk {
    /// Stops at a record that needs more bytes than there are.
    pub(super) fn short(used: usize, need: usize) -> Self {
        Self { used, rest: Rest::Short(need) }
    }

    /// Stops at a record that cannot be read.
    pub(super) fn damaged(used: usize, damage: Damage) -> Self {
        Self { used, rest: Rest::Damaged(damage) }
    }
}

/// A container format in the middle of being read.
pub(super) enum Container {
    /// The format of libpcap and its relatives.
    Pcap(Pcap),
    /// The block format that followed it.
    Pcapng(Pcapng),
    /// The format of Solaris.
    Snoop(Snoop),
}

/// What the first bytes of a file are.
pub(super) enum Detected {
    /// A container, and the length of its file header.
    Found(Container, usize),
    /// The start of a container; at least so many bytes are needed to tell more.
    Short(usize),
    /// A container of an unreadable kind.
    Unreadable(Damage),
    /// No capture.
    Foreign(Damage),
}

/// What is known about the stream behind a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outlook {
    /// Nothing follows.
    pub(super) ended: bool,
    /// What follows may take long to come.
    pub(super) as_it_comes: bool,
}

impl Container {
    /// Tells the container by the first bytes of a file.
    pub(super) fn detect(bytes: &[u8], outlook: Outlook, points: &mut Points) -> Detected {
        let Some(magic) = bytes.first_chunk::<4>() else {
            if outlook.ended && !bytes.is_empty() {
                return Detected::Foreign(foreign(bytes));
            }
            return Detected::Short(4);
        };
        if let Some(magic) = pcap::Magic::of(*magic) {
            return pcap::detect(magic, bytes, outlook, points);
        }
        if *magic == pcapng::MAGIC {
            return Detected::Found(Self::Pcapng(Pcapng::default()), 0);
        }
        if snoop::MAGIC.starts_with(magic) {
            return snoop::detect(bytes, points);
        }
        if bytes.len() < FOREIGN_MAGIC_LEN && !outlook.ended {
            return Detected::Short(FOREIGN_MAGIC_LEN);
        }
        Detected::Foreign(foreign(bytes))
    }

    /// Walks the records from `at` to the end of the window.
    pub(super) fn walk(&mut self, bytes: &[u8], at: usize, sink: &mut Sink<'_>) -> Walk {
        match self {
            Self::Pcap(pcap) => pcap.walk(bytes, at, sink),
            Self::Pcapng(pcapng) => pcapng.walk(bytes, at, sink),
            Self::Snoop(snoop) => snoop.walk(bytes, at, sink),
        }
    }

    /// Tells whether a file may end here.
    pub(super) fn may_end(&self) -> bool {
        match self {
            Self::Pcapng(pcapng) => pcapng.may_end(),
            Self::Pcap(_) | Self::Snoop(_) => true,
        }
    }
}

/// Makes the span of a frame.
#[inline]
pub(super) fn span(start: usize, len: u32) -> Span {
    Span { start: u32::try_from(start).expect("a block is far below 4 GiB"), len }
}

/// Says that a record is longer than anything that can be.
pub(super) fn absurd(what: &str, len: u64) -> Damage {
    Damage::new(format!("{what} of {len} bytes, more than the {RECORD_LEN_MAX} that are read"))
}

/// What can be said of a file that is no capture, by its first bytes.
fn foreign(bytes: &[u8]) -> Damage {
    let known = FOREIGN.iter().find(|(magic, ..)| bytes.starts_with(magic));
    if let Some((_, what, hint)) = known {
        return Damage {
            cause: format!("is no capture that can be read: {what}"),
            hint: Some(hint),
        };
    }
    let shown =
        bytes.iter().take(8).fold(String::new(), |shown, byte| shown + &format!("{byte:02x}"));
    Damage {
        cause: format!("is no capture: it starts with the bytes {shown}"),
        hint: Some("pcap, pcapng and snoop are read, also in gzip, zstd or lz4"),
    }
}

/// Bytes of the longest known magic of a format that is not read.
const FOREIGN_MAGIC_LEN: usize = 8;

const AS_BINARY: &str = "copy the original again, in binary mode";
const CONVERT: &str = "convert it with: editcap -F pcapng IN OUT";
const UNPACK: &str = "unpack it first";

/// What people take for a readable capture, by its first bytes.
///
/// The magic of pcapng was chosen so that a conversion of line ends shows (draft-ietf-opsawg-pcapng,
/// section 4.1); the bytes of pcap's magic are not UTF-8, so a conversion of the character set shows.
const FOREIGN: [(&[u8], &str, &str); 16] = [
    (b"\r\n\r\r\r\n", "pcapng damaged by a text conversion (LF became CR LF)", AS_BINARY),
    (b"\r\n\r\n\r\n", "pcapng damaged by a text conversion of line ends", AS_BINARY),
    (b"\n\r\n", "pcapng damaged by a text conversion (CR LF became LF)", AS_BINARY),
    (b"\n\n\n", "pcapng damaged by a text conversion (CR became LF)", AS_BINARY),
    (b"\r\r\r\r", "pcapng damaged by a text conversion (LF became CR)", AS_BINARY),
    (b"\xc3\x94\xc3\x83", "pcap damaged by a conversion to UTF-8", AS_BINARY),
    (b"\xef\xbf\xbd\xc3\xb2", "pcap damaged by a conversion to UTF-8", AS_BINARY),
    (b"M<\xc2\xb2", "pcap damaged by a conversion to UTF-8", AS_BINARY),
    (b"M<\xef\xbf\xbd", "pcap damaged by a conversion to UTF-8", AS_BINARY),
    (b"\x1f\x8b", "it is compressed twice", UNPACK),
    (b"\x28\xb5\x2f\xfd", "it is compressed twice", UNPACK),
    (b"BZh", "bzip2 is not read", UNPACK),
    (b"\xfd7zXZ", "xz is not read", UNPACK),
    (b"PK\x03\x04", "it is a zip archive", UNPACK),
    (b"GMBU", "it is a Network Monitor capture", CONVERT),
    (b"XCP\0", "it is a Sniffer capture", CONVERT),
];
