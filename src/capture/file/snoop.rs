//! The snoop format of Solaris (RFC 1761).

use crate::capture::FrameRecord;
use crate::capture::file::bytes::Order;
use crate::capture::file::container::{
    Container, Damage, Detected, RECORD_LEN_MAX, Sink, Walk, absurd, span,
};
use crate::capture::file::link::snoop_link_type;
use crate::capture::file::points::{Losses, Points};
use crate::packet::{LinkType, PointId, Timestamp};

/// The first bytes of a file.
pub(super) const MAGIC: [u8; 8] = *b"snoop\0\0\0";

const FILE_HEADER_LEN: usize = 16;
const RECORD_HEADER_LEN: usize = 24;

/// A snoop file in the middle of being read.
pub(super) struct Snoop {
    link: LinkType,
    point: PointId,
    losses: Losses,
}

/// Reads the file header.
pub(super) fn detect(bytes: &[u8], points: &mut Points) -> Detected {
    let Some(header) = bytes.first_chunk::<FILE_HEADER_LEN>() else {
        return Detected::Short(FILE_HEADER_LEN);
    };
    if !header.starts_with(&MAGIC) {
        return Detected::Foreign(Damage::new("is no capture: its magic is not snoop's"));
    }
    let version = Order::Big.u32([header[8], header[9], header[10], header[11]]);
    // RFC 1761 has 2 only; 3 to 5 are analysers of Shomiti, with the same records (wiretap/snoop.c).
    if !(2..=5).contains(&version) {
        return Detected::Unreadable(Damage::new(format!(
            "snoop of version {version}, which is not known"
        )));
    }
    let network = Order::Big.u32([header[12], header[13], header[14], header[15]]);
    let snoop =
        Snoop { link: snoop_link_type(network), point: points.of(None), losses: Losses::default() };
    Detected::Found(Container::Snoop(snoop), FILE_HEADER_LEN)
}

impl Snoop {
    /// Walks the records from `at` to the end of the window.
    pub(super) fn walk(&mut self, bytes: &[u8], mut at: usize, sink: &mut Sink<'_>) -> Walk {
        loop {
            let Some(header) = bytes.get(at..).and_then(|b| b.first_chunk::<RECORD_HEADER_LEN>())
            else {
                return Walk::short(at, RECORD_HEADER_LEN);
            };
            let word =
                |i: usize| Order::Big.u32([header[i], header[i + 1], header[i + 2], header[i + 3]]);
            let (wire_len, captured_len, record_len) = (word(0), word(4), word(8) as usize);
            if record_len > RECORD_LEN_MAX {
                return Walk::damaged(at, absurd("a record", record_len as u64));
            }
            if record_len < RECORD_HEADER_LEN + captured_len as usize {
                let cause =
                    format!("a record of {record_len} bytes with a frame of {captured_len} bytes");
                return Walk::damaged(at, Damage::new(cause));
            }
            if record_len > bytes.len() - at {
                return Walk::short(at, record_len);
            }
            self.losses.since_start(word(12).into(), self.point, sink.points);
            sink.frames.push(FrameRecord {
                time: Timestamp::from_parts(word(16).into(), i64::from(word(20)) * 1_000),
                span: span(at + RECORD_HEADER_LEN, captured_len),
                wire_len,
                link: self.link,
                point: self.point,
            });
            at += record_len;
        }
    }
}
