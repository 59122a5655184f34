//! HTTP/2's frames (RFC 9113) and WebSocket's (RFC 6455): headers of frames are shown, of header blocks what
//! [`hpack`] shows, of data nothing.

use super::presented::Presented;
use super::{Step, filled, hpack};

/// The client's connection preface (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const FRAME_HEADER_LEN: usize = 9;

mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const PRIORITY: u8 = 2;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PUSH_PROMISE: u8 = 5;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;
}

mod flag {
    pub(super) const END_HEADERS: u8 = 0x04;
    pub(super) const PADDED: u8 = 0x08;
    pub(super) const PRIORITY: u8 = 0x20;
}

/// One side of a connection.
#[derive(Default)]
pub(super) struct Http2 {
    is_begun: bool,
    /// What this side presented so far.
    presented: Presented,
}

impl Http2 {
    pub(super) fn step(&mut self, held: &[u8]) -> Step {
        if !self.is_begun {
            if held.starts_with(PREFACE) {
                self.is_begun = true;
                return Step::Show(PREFACE.to_vec());
            }
            if PREFACE.starts_with(held) {
                return Step::More;
            }
            self.is_begun = true;
        }
        let Some(header) = held.first_chunk::<FRAME_HEADER_LEN>() else { return Step::More };
        let len = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let head = header.to_vec();
        match header[3] {
            kind::HEADERS | kind::PUSH_PROMISE => block(held, &mut self.presented),
            kind::PRIORITY | kind::RST_STREAM | kind::SETTINGS | kind::WINDOW_UPDATE => {
                Step::Pass(head, len.into(), len <= 4_096)
            }
            kind::DATA if header[4] & flag::PADDED != 0 && len > 0 => {
                let Some(padding) = held.get(FRAME_HEADER_LEN) else { return Step::More };
                Step::Pass([&head, &[*padding][..]].concat(), u64::from(len) - 1, false)
            }
            kind::GOAWAY if len >= 8 => match held.get(..FRAME_HEADER_LEN + 8) {
                Some(shown) => Step::Pass(shown.to_vec(), u64::from(len) - 8, false),
                None => Step::More,
            },
            _ => Step::Pass(head, len.into(), false),
        }
    }
}

/// Shows a header block: one frame, or several that go on.
fn block(held: &[u8], presented: &mut Presented) -> Step {
    let mut out = filled(0);
    let mut fragments: Vec<(usize, usize)> = Vec::new();
    loop {
        let at = out.len();
        let Some(header) = held.get(at..).and_then(<[u8]>::first_chunk::<FRAME_HEADER_LEN>) else {
            return Step::More;
        };
        let is_first = at == 0;
        if !is_first && header[3] != kind::CONTINUATION {
            return Step::Stop;
        }
        let len = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let begin = at + FRAME_HEADER_LEN;
        let end = begin + usize::try_from(len).unwrap_or(usize::MAX / 2);
        let Some(payload) = held.get(begin..end) else { return Step::More };
        out.extend_from_slice(header);
        let (mut before, mut padding) = (0, 0);
        if is_first {
            let is_padded = header[4] & flag::PADDED != 0;
            padding =
                if is_padded { payload.first().map_or(0, |len| usize::from(*len)) } else { 0 };
            before = usize::from(is_padded);
            if header[3] == kind::PUSH_PROMISE {
                before += 4;
            } else if header[4] & flag::PRIORITY != 0 {
                before += 5;
            }
        }
        if before + padding > payload.len() {
            return Step::Stop;
        }
        out.extend_from_slice(&payload[..before]);
        out.extend(filled(payload.len() - before));
        fragments.push((begin + before, end - padding));
        if header[4] & flag::END_HEADERS != 0 {
            break;
        }
    }
    let whole: Vec<u8> =
        fragments.iter().flat_map(|(from, to)| held[*from..*to].iter().copied()).collect();
    let mut rest = &hpack::shown(&whole, presented)[..];
    for (from, to) in fragments {
        let (fragment, behind) = rest.split_at(to - from);
        out[from..to].copy_from_slice(fragment);
        rest = behind;
    }
    Step::Show(out)
}

/// Shows the head of a frame of WebSocket (RFC 6455 §5.2).
pub(super) fn websocket(held: &[u8]) -> Step {
    let Some(&[_, second]) = held.first_chunk::<2>() else { return Step::More };
    let (len_len, short) = match second & 0x7f {
        126 => (2, 0),
        127 => (8, 0),
        len => (0, u64::from(len)),
    };
    let head_len = 2 + len_len + if second & 0x80 == 0 { 0 } else { 4 };
    let Some(head) = held.get(..head_len) else { return Step::More };
    let len = head[2..2 + len_len].iter().fold(short, |len, byte| len << 8 | u64::from(*byte));
    Step::Pass(head.to_vec(), len, false)
}
