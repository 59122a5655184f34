//! First bytes → whether this is HTTP/1. Lenient: what another parser would reject is still HTTP here.

use crate::inspect::probe::Start;
use crate::inspect::{Probe, Sender};

/// Characters of the longest method that is believed.
const METHOD_LEN_MAX: usize = 32;

/// Methods that need no version behind the target to be believed.
const KNOWN: [&[u8]; 12] = [
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"DELETE",
    b"CONNECT",
    b"OPTIONS",
    b"TRACE",
    b"PATCH",
    b"PROPFIND",
    b"MERGE",
    b"COPY",
];

/// Asks whether a side began with HTTP/1.
pub(in crate::inspect) fn probe(start: &Start<'_>) -> Probe {
    let blank = start.bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let bytes = &start.bytes[blank..];
    if bytes.is_empty() {
        return Probe::Undecided;
    }
    if let Some(version) = bytes.strip_prefix(b"HTTP/") {
        return match version {
            [b'0' | b'1', b'.', _, b' ' | b'\t', a, ..] if a.is_ascii_digit() => {
                Probe::Confirmed(Sender::Responder)
            }
            [] | [b'0' | b'1'] | [b'0' | b'1', b'.'] | [b'0' | b'1', b'.', _] => Probe::Undecided,
            [b'0' | b'1', b'.', _, b' ' | b'\t'] => Probe::Undecided,
            _ => Probe::Excluded,
        };
    }
    if b"HTTP/".starts_with(bytes) {
        return Probe::Undecided;
    }
    request(bytes)
}

/// Tells whether bytes may begin a request, as far as they are there.
pub(super) fn may_be_http(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/") || request(bytes) != Probe::Excluded
}

fn request(bytes: &[u8]) -> Probe {
    let method_len = bytes.iter().take_while(|byte| is_token(**byte)).count();
    let method = &bytes[..method_len];
    if method_len == 0 || method_len > METHOD_LEN_MAX || bytes.starts_with(b"PRI * HTTP/2") {
        return Probe::Excluded;
    }
    let Some(behind) = bytes.get(method_len..).filter(|rest| !rest.is_empty()) else {
        return Probe::Undecided;
    };
    if behind[0] == b':' {
        return header_first(method, behind);
    }
    let gap = behind.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    if gap == 0 {
        return Probe::Excluded;
    }
    let target = &behind[gap..];
    let known = KNOWN.iter().any(|known| method.eq_ignore_ascii_case(known));
    let line = target.split(|byte| *byte == b'\n').next().unwrap_or(target);
    let ended = line.len() < target.len();
    let is_http = line.windows(5).any(|word| word.eq_ignore_ascii_case(b"HTTP/"));
    match target.first() {
        Some(b'/') if known => Probe::Confirmed(Sender::Initiator),
        Some(byte) if !byte.is_ascii_graphic() && *byte != b'\r' => Probe::Excluded,
        Some(_) if ended && is_http => Probe::Confirmed(Sender::Initiator),
        Some(_) if ended || line.iter().take(64).any(|byte| *byte == 0) => Probe::Excluded,
        _ => Probe::Undecided,
    }
}

/// A stream that begins with a header line: no request, and still something that a server may read.
fn header_first(name: &[u8], behind: &[u8]) -> Probe {
    let telling: [&[u8]; 3] = [b"authorization", b"host", b"proxy-authorization"];
    if !telling.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return Probe::Excluded;
    }
    let ended = memchr::memchr(b'\n', behind).is_some();
    if ended { Probe::Confirmed(Sender::Initiator) } else { Probe::Undecided }
}

/// Tells whether a byte may be in a token (RFC 9110 §5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
