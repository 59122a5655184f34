//! WebSocket (RFC 6455 §5.2): frame by frame over their payload, and how to tell them from other bytes.
//!
//! A credential of WebSocket is in its handshake, which is HTTP. What the frames carry is the application's,
//! pushed in either direction: text in them that looks like a request is none, and nothing of it is read. So a few
//! frames are enough, and what is behind a handshake and no frame is nothing either.

use super::frames::{Frames, Next, Size};
use super::probe::Start;
use super::{Context, Inspector, Probe, Progress, Sender};
use crate::packet::{At, Side};

/// Frames of the client that show it for sure: what else begins like one has no second one behind it.
const CLIENT_FRAMES: u32 = 2;

/// Frames of a server whose client is silent or was not captured; a subscriber may never say anything.
const SERVER_FRAMES: u32 = 8;

/// Longest header: two bytes, eight of length, four of the mask.
const HEADER_LEN_MAX: usize = 14;

/// Bytes of a text that a connection joined midway is known by.
const TEXT_LEN_MIN: usize = 8;

/// Frames with a payload behind one another that a connection joined midway is known by, without a text.
const CHAIN_MIN: u32 = 3;

/// Opcodes (RFC 6455 §5.2).
mod opcode {
    pub(super) const TEXT: u8 = 1;
    pub(super) const BINARY: u8 = 2;
    pub(super) const CLOSE: u8 = 8;
    pub(super) const PONG: u8 = 10;
}

/// What the first bytes of a frame say of it.
enum Head {
    /// Header and payload.
    Is { header_len: usize, payload_len: u64 },
    /// So many bytes are needed to say.
    Need(usize),
    /// No frame.
    Bad,
}

/// Reads a frame's header. A client masks all it sends and a server nothing (§5.1); reserved bits but the first
/// (compression, RFC 7692) are 0; what controls is short and whole (§5.5).
fn head(bytes: &[u8], from_client: bool) -> Head {
    let Some(&first) = bytes.first() else { return Head::Need(2) };
    if first & 0x30 != 0
        || !matches!(first & 0x0f, 0..=opcode::BINARY | opcode::CLOSE..=opcode::PONG)
    {
        return Head::Bad;
    }
    let Some(&second) = bytes.get(1) else { return Head::Need(2) };
    let is_control = first & 0x08 != 0;
    let short = second & 0x7f;
    if (second & 0x80 != 0) != from_client || (is_control && (short > 125 || first & 0xc0 != 0x80))
    {
        return Head::Bad;
    }
    let len_len = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let header_len = 2 + len_len + if from_client { 4 } else { 0 };
    let Some(long) = bytes.get(2..2 + len_len).filter(|_| bytes.len() >= header_len) else {
        return Head::Need(header_len);
    };
    let long = long.iter().fold(0_u64, |len, byte| len << 8 | u64::from(*byte));
    let payload_len = if len_len == 0 { short.into() } else { long };
    // The shortest form has to be used, and the highest bit is 0.
    let is_shortest = match len_len {
        2 => payload_len > 125,
        8 => payload_len > 0xffff && payload_len >> 63 == 0,
        _ => true,
    };
    if is_shortest { Head::Is { header_len, payload_len } } else { Head::Bad }
}

/// Tells whether bytes may begin a client's frame, as far as they are there.
pub(super) fn may_be_clients(bytes: &[u8]) -> bool {
    !matches!(head(bytes, true), Head::Bad)
}

/// The reader of what comes behind a handshake.
pub(super) struct WebSocket {
    client: Side,
    frames: [Frames; 2],
    seen: [u32; 2],
}

impl WebSocket {
    /// Begins behind the handshake.
    pub(super) fn new(client: Side) -> Self {
        let frames = [Frames::new(HEADER_LEN_MAX), Frames::new(HEADER_LEN_MAX)];
        Self { client, frames, seen: [0; 2] }
    }

    fn progress(&self) -> Progress {
        let [clients, servers] =
            [self.client, self.client.other()].map(|side| self.seen[side.index()]);
        let is_none = self.frames[self.client.index()].is_lost();
        if is_none || clients >= CLIENT_FRAMES || servers >= SERVER_FRAMES {
            Progress::Enough
        } else {
            Progress::More
        }
    }
}

impl Inspector for WebSocket {
    fn data(&mut self, side: Side, at: At, bytes: &[u8], _: &mut Context<'_>) -> Progress {
        let from_client = side == self.client;
        let size = |bytes: &[u8]| match head(bytes, from_client) {
            Head::Is { header_len, payload_len } => Size::Is(header_len as u64 + payload_len),
            Head::Need(len) => Size::Need(len),
            Head::Bad => Size::Bad,
        };
        let seen = &mut self.seen[side.index()];
        self.frames[side.index()].push(bytes, at, size, |_| {
            *seen += 1;
            Next::Go
        });
        self.progress()
    }

    fn gap(&mut self, side: Side, len: u64, _: &mut Context<'_>) -> Progress {
        // No frame presents anything, so that none is missed.
        self.frames[side.index()].gap(len);
        self.progress()
    }

    fn close(&mut self, _: Side, _: &mut Context<'_>) -> Progress {
        self.progress()
    }

    fn skippable(&self, side: Side) -> u64 {
        self.frames[side.index()].skippable()
    }
}

/// Asks whether the bytes of a connection joined midway are frames: a text, or several of them.
pub(super) fn probe(start: &Start<'_>) -> Probe {
    if start.from_first {
        // It begins as HTTP.
        return Probe::Excluded;
    }
    let sender = match start.bytes {
        // A message is not told by its middle.
        [first, ..] if *first < 0x80 || first % 16 == 0 => return Probe::Excluded,
        [] | [_] => return Probe::Undecided,
        [_, second, ..] if second & 0x80 != 0 => Sender::Initiator,
        _ => Sender::Responder,
    };
    let from_client = sender == Sender::Initiator;
    match chain(start.bytes, from_client) {
        Chain::Sure => Probe::Confirmed(sender),
        Chain::Open => Probe::Undecided,
        Chain::No => Probe::Excluded,
    }
}

/// What a run of bytes is, read as frames.
enum Chain {
    /// Frames for sure.
    Sure,
    /// Too few bytes, or too few frames.
    Open,
    /// None.
    No,
}

fn chain(bytes: &[u8], from_client: bool) -> Chain {
    let (mut rest, mut count, mut has_text) = (bytes, 0, false);
    while !rest.is_empty() {
        let (header_len, payload_len) = match head(rest, from_client) {
            Head::Is { header_len, payload_len } => (header_len, payload_len),
            Head::Need(_) => return Chain::Open,
            Head::Bad => return Chain::No,
        };
        let is_continued = matches!(rest[0] & 0x0f, 0);
        if count == 0 && (rest[0] & 0x80 == 0 || is_continued || payload_len == 0) {
            // Zeros look like frames without an end.
            return Chain::No;
        }
        let (header, behind) = rest.split_at(header_len);
        let len = usize::try_from(payload_len).unwrap_or(usize::MAX);
        let Some(payload) = behind.get(..len) else { return Chain::Open };
        let is_plain = header[0] & 0x4f == opcode::TEXT && header[0] & 0x80 != 0;
        if is_plain {
            let mask = if from_client { &header[header_len - 4..] } else { &[0; 4][..] };
            if !is_text(payload, mask) {
                return Chain::No;
            }
            has_text |= len >= TEXT_LEN_MIN;
        }
        count += u32::from(len > 0);
        rest = &behind[len..];
    }
    if has_text || count >= CHAIN_MIN { Chain::Sure } else { Chain::Open }
}

/// Tells whether a payload is text under its mask (§5.3, §8.1), with no control characters but white space.
fn is_text(payload: &[u8], mask: &[u8]) -> bool {
    let plain: Vec<u8> =
        payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    std::str::from_utf8(&plain).is_ok()
        && plain.iter().all(|byte| *byte >= 0x20 || matches!(byte, b'\t' | b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::probe::Outcome;
    use crate::inspect::testing::{
        CLIENT, SERVER, Talk, from_client, probe, probe_from, read_with, same_in_all_pieces,
        survives_mutations,
    };
    use crate::inspect::{Options, Protocol};

    fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
        let mut bytes = vec![first];
        let bit = if mask.is_some() { 0x80 } else { 0 };
        match payload.len() {
            len @ 0..=125 => bytes.push(bit | u8::try_from(len).unwrap()),
            len @ 126..=0xffff => {
                bytes.push(bit | 0x7e);
                bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
            }
            len => {
                bytes.push(bit | 0x7f);
                bytes.extend((len as u64).to_be_bytes());
            }
        }
        bytes.extend(mask.unwrap_or_default().iter().take(if bit > 0 { 4 } else { 0 }));
        let mask = mask.unwrap_or([0; 4]);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    const MASK: Option<[u8; 4]> = Some([0xa1, 0, 0x7f, 0x33]);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n";

    #[test]
    fn a_clients_frames_are_masked_and_its_requests_are_none() {
        for bytes in [&[0x81, 0x85, 1, 2, 3, 4][..], &[0x88, 0x80, 0, 0, 0, 0], &[0xc2, 0xfe], &[]]
        {
            assert!(may_be_clients(bytes), "{bytes:x?}");
        }
        for bytes in
            [&[0x81, 0x05, b'h'][..], &[0x08, 0x80], b"GET /", &[0x16, 3, 1], &[0x89, 0xfe]]
        {
            assert!(!may_be_clients(bytes), "{bytes:x?}");
        }
        assert!(!may_be_clients(&[0x82, 0xfe, 0, 5, 1, 2, 3, 4]), "a short length in a long form");
    }

    fn talk() -> Talk {
        vec![
            (SERVER, [frame(0x81, REQUEST, None), frame(0x89, b"x", None)].concat()),
            (CLIENT, frame(0x01, REQUEST, MASK)),
            (SERVER, frame(0x82, &[7; 70_000], None)),
            (CLIENT, [frame(0x8a, b"x", MASK), frame(0x80, &[b'G'; 300], MASK)].concat()),
            (CLIENT, REQUEST.to_vec()),
        ]
    }

    #[test]
    fn a_few_frames_of_the_client_are_enough_and_none_presents_anything() {
        let begin = || WebSocket::new(CLIENT);
        let (facts, enough) = read_with(begin(), &talk(), &Options::default());
        assert_eq!(enough, Some(4));
        assert!(facts.evidence.is_empty() && facts.requests == 0);
        let mut short = talk();
        short.truncate(3);
        short[2].1.truncate(40);
        same_in_all_pieces(begin, &short);
        let pushes: Talk = (0..9).map(|_| (SERVER, frame(0x81, REQUEST, None))).collect();
        assert_eq!(read_with(begin(), &pushes, &Options::default()).1, Some(8));
        survives_mutations(begin, &short);
    }

    #[test]
    fn what_is_no_frame_behind_a_handshake_is_nothing() {
        let talk = [(SERVER, frame(0x81, b"hello", None)), (CLIENT, REQUEST.to_vec())];
        let (facts, enough) = read_with(WebSocket::new(CLIENT), &talk, &Options::default());
        assert!(facts.evidence.is_empty() && enough == Some(2));
    }

    #[test]
    fn a_connection_joined_midway_is_known_by_text_or_by_several_frames() {
        let midway = |talk: &[(Side, Vec<u8>)]| probe_from(false, [8099, 50_000], talk);
        let is = |talk: &[(Side, Vec<u8>)]| midway(talk) == from_client(Protocol::WebSocket);
        assert!(is(&[(CLIENT, frame(0x81, b"{\"type\":1}", MASK))]));
        assert!(is(&[(SERVER, frame(0x81, REQUEST, None))]));
        assert!(is(&[(
            CLIENT,
            [frame(0x82, &[1; 9], MASK), frame(0x8a, b"x", MASK), frame(0x82, &[1; 200], MASK)]
                .concat()
        )]));
        let one = frame(0x82, &[1; 9], MASK);
        assert!(!is(&[(CLIENT, one.clone())]));
        assert!(!is(&[(SERVER, vec![0; 64])]));
        assert!(!is(&[(CLIENT, [&one[..], b"GET / HTTP/1.1\r\n"].concat())]));
        assert!(!is(&[(SERVER, frame(0x81, &[0, 1, 2, 3, 4], None))]));
        assert!(!is(&[(SERVER, frame(0x81, REQUEST, None)[..20].to_vec())]));
        let named = probe([8099, 50_000], &[(CLIENT, frame(0x81, b"{\"type\":1}", MASK))]);
        assert!(!matches!(named, Outcome::Confirmed { protocol: Protocol::WebSocket, .. }));
    }
}
