//! Frames of HTTP/2 (RFC 9113 §4), and how to tell them from other bytes.

use crate::inspect::probe::{Start, begins_with};
use crate::inspect::{Probe, Sender};

/// The client's connection preface (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame's header.
pub(super) const HEADER_LEN: usize = 9;

/// Largest frame that is believed of a connection joined midway: what everybody sends, as few allow more
/// (RFC 9113 §4.2).
const MIDWAY_LEN_MAX: usize = 1 << 14;

/// Frame types (RFC 9113 §6).
pub(super) mod kind {
    pub(in crate::inspect::http2) const DATA: u8 = 0;
    pub(in crate::inspect::http2) const HEADERS: u8 = 1;
    pub(in crate::inspect::http2) const PRIORITY: u8 = 2;
    pub(in crate::inspect::http2) const RST_STREAM: u8 = 3;
    pub(in crate::inspect::http2) const SETTINGS: u8 = 4;
    pub(in crate::inspect::http2) const PUSH_PROMISE: u8 = 5;
    pub(in crate::inspect::http2) const PING: u8 = 6;
    pub(in crate::inspect::http2) const GOAWAY: u8 = 7;
    pub(in crate::inspect::http2) const WINDOW_UPDATE: u8 = 8;
    pub(in crate::inspect::http2) const CONTINUATION: u8 = 9;
}

/// Flags (RFC 9113 §6).
pub(super) mod flag {
    pub(in crate::inspect::http2) const END_STREAM: u8 = 0x01;
    pub(in crate::inspect::http2) const END_HEADERS: u8 = 0x04;
    pub(in crate::inspect::http2) const PADDED: u8 = 0x08;
    pub(in crate::inspect::http2) const PRIORITY: u8 = 0x20;
}

/// A frame's header.
#[derive(Default, Clone, Copy)]
pub(super) struct Header {
    pub(super) len: usize,
    pub(super) kind: u8,
    flags: u8,
    pub(super) stream: u32,
}

impl Header {
    /// Reads a header; the reserved bit is ignored (RFC 9113 §4.1).
    pub(super) fn of(raw: [u8; HEADER_LEN]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = raw;
        Self {
            len: usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c),
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        }
    }

    /// Tells whether a flag is set that the frame's type has.
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag & flags_of(self.kind) != 0
    }

    /// Tells whether the payload is held until it is whole.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.kind, kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION)
    }

    /// Returns the part of a header block in a frame of headers or of a promise: without padding, priority
    /// and the promised stream's number.
    pub(super) fn fragment<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        let (mut payload, mut padding) = (payload, 0);
        if self.has(flag::PADDED) {
            let (len, rest) = payload.split_first()?;
            (payload, padding) = (rest, usize::from(*len));
        }
        let skip = match self.kind {
            kind::HEADERS if self.has(flag::PRIORITY) => 5,
            kind::PUSH_PROMISE => 4,
            _ => 0,
        };
        let payload = payload.get(skip..)?;
        payload.get(..payload.len().checked_sub(padding)?)
    }

    /// Tells whether the header is one that its type can have; `None` for types that RFC 9113 lacks.
    fn is_sound(&self) -> bool {
        let on_stream = self.stream != 0;
        let fits = match self.kind {
            kind::DATA | kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION => on_stream,
            kind::PRIORITY => on_stream && self.len == 5,
            kind::RST_STREAM => on_stream && self.len == 4,
            kind::SETTINGS => !on_stream && self.len.is_multiple_of(6) && self.len <= 16 * 6,
            kind::PING => !on_stream && self.len == 8,
            kind::GOAWAY => !on_stream && self.len >= 8,
            kind::WINDOW_UPDATE => self.len == 4,
            _ => false,
        };
        fits && self.len <= MIDWAY_LEN_MAX && self.flags & !flags_of(self.kind) == 0
    }
}

/// Returns the flags that a type of frame can have.
fn flags_of(kind: u8) -> u8 {
    match kind {
        kind::DATA => flag::END_STREAM | flag::PADDED,
        kind::HEADERS => flag::END_STREAM | flag::END_HEADERS | flag::PADDED | flag::PRIORITY,
        kind::SETTINGS | kind::PING => 0x01,
        kind::PUSH_PROMISE => flag::END_HEADERS | flag::PADDED,
        kind::CONTINUATION => flag::END_HEADERS,
        _ => 0,
    }
}

/// Tells whether a piece in the middle of a connection begins with a frame for sure.
pub(super) fn begins(bytes: &[u8]) -> bool {
    matches!(chain(bytes), Chain::Sure(_))
}

/// Tells whether it may do so, as far as it goes.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    matches!(chain(bytes), Chain::Open)
}

/// What a run of bytes is, read as frames.
enum Chain {
    /// Frames, and who sent them where they tell.
    Sure(Sender),
    /// Too few bytes.
    Open,
    /// No frames.
    No,
}

/// Reads frames up to the end of the bytes: two sound headers, or one whose frame ends with the bytes, are
/// no accident.
fn chain(bytes: &[u8]) -> Chain {
    let (mut rest, mut count, mut sender) = (bytes, 0, Sender::Either);
    while !rest.is_empty() {
        let Some((raw, payload)) = rest.split_first_chunk::<HEADER_LEN>() else {
            return if count >= 2 { Chain::Sure(sender) } else { Chain::Open };
        };
        let header = Header::of(*raw);
        if raw[5] & 0x80 != 0 || !header.is_sound() {
            return Chain::No;
        }
        count += 1;
        if sender == Sender::Either {
            sender = sender_of(&header, payload);
        }
        let Some(behind) = payload.get(header.len..) else {
            let is_sure = count >= 2 || sender != Sender::Either;
            return if is_sure { Chain::Sure(sender) } else { Chain::Open };
        };
        rest = behind;
    }
    // All zeros but for one byte is what many a protocol begins with.
    let is_telling = count >= 2 || bytes.len() > HEADER_LEN;
    if is_telling { Chain::Sure(sender) } else { Chain::Open }
}

/// Tells who sends a frame by its first field: `:status` or another pseudo field of the static table.
fn sender_of(header: &Header, payload: &[u8]) -> Sender {
    if header.kind == kind::PUSH_PROMISE {
        return Sender::Responder;
    }
    if header.kind != kind::HEADERS {
        return Sender::Either;
    }
    let skip =
        usize::from(header.has(flag::PADDED)) + if header.has(flag::PRIORITY) { 5 } else { 0 };
    match payload.get(skip) {
        Some(0x88..=0x8e | 0x48..=0x4e | 0x08..=0x0e | 0x18..=0x1e) => Sender::Responder,
        Some(0x81..=0x87 | 0x41..=0x47 | 0x01..=0x07 | 0x11..=0x17) => Sender::Initiator,
        _ => Sender::Either,
    }
}

/// Asks whether a side began with HTTP/2: the preface, a server's settings, or frames of a connection that
/// was joined midway.
pub(in crate::inspect) fn probe(start: &Start<'_>) -> Probe {
    let bytes = start.bytes;
    match begins_with(bytes, PREFACE, Sender::Initiator) {
        Probe::Excluded => {}
        probe => return probe,
    }
    // A server begins with SETTINGS on stream 0 (RFC 9113 §3.4). It may send them before it knows what its
    // client speaks: they are no answer yet.
    let fixed = [(0, 0), (1, 0), (3, kind::SETTINGS), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0)];
    let is_opening = fixed.iter().all(|(at, byte)| bytes.get(*at).is_none_or(|b| b == byte));
    if start.from_first && !is_opening {
        return Probe::Excluded;
    }
    match chain(bytes) {
        Chain::Sure(Sender::Either) if is_opening => {
            let is_answered = start.other.starts_with(PREFACE);
            if is_answered { Probe::Confirmed(Sender::Responder) } else { Probe::Undecided }
        }
        Chain::Sure(sender) if !start.from_first || sender == Sender::Responder => {
            Probe::Confirmed(sender)
        }
        Chain::Sure(_) | Chain::Open => Probe::Undecided,
        Chain::No => Probe::Excluded,
    }
}
