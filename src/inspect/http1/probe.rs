//! First bytes → whether this is HTTP/1. Lenient: what another parser would reject is still HTTP here.

use crate::inspect::probe::Start;
use crate::inspect::{Probe, Sender};

/// Characters of the longest method that is believed.
const METHOD_LEN_MAX: usize = 32;

/// Bytes of a first line that are waited for before it is known not to be a request's: longer ones are
/// believed when they begin with a method that is known.
const LINE_LEN_MAX: usize = 1000;

/// The byte order mark in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Lines looked at behind a first one that is odd.
const LINES_MAX: usize = 16;

/// Bytes outside text that the first line of an odd request may have: a byte order mark has three.
const ODD_BYTES_MAX: usize = 4;

/// What HTTP/2 begins with, so that it looks like HTTP/1 (RFC 9113 §3.4).
const HTTP2: &[u8] = b"PRI * HTTP/2";

/// Methods that need no version behind the target to be believed.
const KNOWN: [&[u8]; 20] = [
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
    b"LOCK",
    b"MKCOL",
    b"MOVE",
    b"PROPPATCH",
    b"PURGE",
    b"QUERY",
    b"REPORT",
    b"SEARCH",
];

/// Lowest port that clients get from their system (Linux: 32768, RFC 6335: 49152).
const EPHEMERAL_MIN: u16 = 32_768;

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
                // A server answers nonsense in its own protocol; that names nothing.
                let asked = &start.other;
                if start.from_first && !asked.is_empty() && request(asked) == Probe::Excluded {
                    Probe::Excluded
                } else {
                    Probe::Confirmed(Sender::Responder)
                }
            }
            []
            | [b'0' | b'1']
            | [b'0' | b'1', b'.']
            | [b'0' | b'1', b'.', _]
            | [b'0' | b'1', b'.', _, b' ' | b'\t'] => Probe::Undecided,
            _ => Probe::Excluded,
        };
    }
    if b"HTTP/".starts_with(bytes) {
        return Probe::Undecided;
    }
    let [from, to] = start.ports;
    if !start.from_first && from < EPHEMERAL_MIN && to >= EPHEMERAL_MIN {
        // The middle of what a server sends may look like a request; it is none.
        return Probe::Excluded;
    }
    match request(bytes) {
        // Bytes before the method hide a request from a strict reader, and from none else.
        Probe::Excluded if start.from_first && !bytes.starts_with(HTTP2) => odd_request(bytes),
        probe => probe,
    }
}

/// Tells whether bytes may begin a response, as far as they are there.
pub(super) fn may_be_response(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/") || b"HTTP/".starts_with(bytes)
}

/// Tells whether bytes may begin a message, as far as they are there.
pub(super) fn may_be_http(bytes: &[u8]) -> bool {
    may_be_response(bytes) || request(bytes) != Probe::Excluded
}

/// Tells whether bytes begin a request for sure, or may do so and are too few to say.
pub(super) fn may_be_request(bytes: &[u8]) -> bool {
    request(bytes) != Probe::Excluded
}

/// Tells whether bytes begin a request for sure.
pub(super) fn is_request(bytes: &[u8]) -> bool {
    matches!(request(bytes), Probe::Confirmed(_))
}

/// Tells whether a line ends as a request line does: ` HTTP/1.1`, with any version.
pub(super) fn ends_with_version(line: &[u8]) -> bool {
    version_at(line).is_some()
}

/// Returns where the space before a request line's version is, if it ends in one.
pub(super) fn version_at(line: &[u8]) -> Option<usize> {
    let line = line.trim_ascii_end();
    let space = memchr::memrchr2(b' ', b'\t', line)?;
    let word = &line[space + 1..];
    let is_version = word.len() <= VERSION_LEN_MAX && word.get(..5).is_some_and(is_http);
    is_version.then_some(space)
}

/// Characters of the longest version that is believed: `HTTP/` and a number of some length.
const VERSION_LEN_MAX: usize = 12;

fn is_http(word: &[u8]) -> bool {
    super::head::is(word, b"http/")
}

fn request(bytes: &[u8]) -> Probe {
    let method_len = bytes.iter().take(METHOD_LEN_MAX + 1).take_while(|b| is_token(**b)).count();
    let method = &bytes[..method_len];
    if method_len == 0 || method_len > METHOD_LEN_MAX || bytes.starts_with(HTTP2) {
        return Probe::Excluded;
    }
    let Some(behind) = bytes.get(method_len..).filter(|rest| !rest.is_empty()) else {
        return Probe::Undecided;
    };
    let gap = behind.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    if gap == 0 {
        return Probe::Excluded;
    }
    let target = &behind[gap..];
    let line_len = memchr::memchr(b'\n', target);
    let line = &target[..line_len.unwrap_or(target.len())];
    if KNOWN.contains(&method) && is_target(method, line) {
        return Probe::Confirmed(Sender::Initiator);
    }
    match target.first() {
        Some(byte) if !byte.is_ascii_graphic() && *byte < 0x80 => Probe::Excluded,
        Some(_) if line_len.is_some() && ends_with_version(line) => {
            Probe::Confirmed(Sender::Initiator)
        }
        Some(_) if line_len.is_some() => Probe::Excluded,
        Some(first) if line.len() > LINE_LEN_MAX => {
            let is_word = method.len() > 2 && method.iter().all(u8::is_ascii_alphabetic);
            let is_path = *first == b'/' && line[..LINE_LEN_MAX].iter().all(u8::is_ascii_graphic);
            if is_word && is_path { Probe::Confirmed(Sender::Initiator) } else { Probe::Excluded }
        }
        Some(_) if line.iter().take(64).any(|byte| *byte == 0) => Probe::Excluded,
        _ => Probe::Undecided,
    }
}

/// Tells whether a target is one that the method can have (RFC 9112 §3.2).
fn is_target(method: &[u8], line: &[u8]) -> bool {
    let scheme =
        |known: &[u8]| line.get(..known.len()).is_some_and(|s| s.eq_ignore_ascii_case(known));
    match line.first() {
        Some(b'/') => true,
        Some(b'*') => method == b"OPTIONS" && matches!(line.get(1), Some(b' ' | b'\t' | b'\r')),
        Some(_) if method == b"CONNECT" => {
            let host =
                line.iter().take_while(|b| b.is_ascii_alphanumeric() || b".-_[]:".contains(b));
            let host = &line[..host.count()];
            let behind = line.get(host.len());
            memchr::memrchr(b':', host).is_some_and(|colon| colon + 1 < host.len())
                && matches!(behind, Some(b' ' | b'\t' | b'\r'))
        }
        _ => scheme(b"http://") || scheme(b"https://"),
    }
}

/// A stream whose first line is odd, and that is HTTP for a lenient server all the same: junk before the
/// method, no method, no version.
fn odd_request(bytes: &[u8]) -> Probe {
    let seen = &bytes[..bytes.len().min(LINE_LEN_MAX)];
    let is_marked = bytes.starts_with(MARK) || MARK.starts_with(bytes);
    if bytes.first().is_some_and(|byte| *byte >= 0x80) && !is_marked {
        return Probe::Excluded;
    }
    let is_odd = |byte: &&u8| **byte >= 0x7f || (**byte < 0x20 && !b"\t\r\n".contains(byte));
    if seen.iter().filter(is_odd).take(ODD_BYTES_MAX + 1).count() > ODD_BYTES_MAX {
        return Probe::Excluded;
    }
    let mut lines = seen.split_inclusive(|byte| *byte == b'\n');
    let Some(first) = lines.next().filter(|line| line.ends_with(b"\n")) else {
        return if seen.len() < bytes.len() { Probe::Excluded } else { Probe::Undecided };
    };
    if ends_with_version(first) || is_telling_header(first) {
        return Probe::Confirmed(Sender::Initiator);
    }
    if has_other_version(first) || !looks_like_words(first) {
        return Probe::Excluded;
    }
    for line in lines.take(LINES_MAX) {
        if !line.ends_with(b"\n") {
            return Probe::Undecided;
        }
        if is_telling_header(line) {
            return Probe::Confirmed(Sender::Initiator);
        }
        if memchr::memchr(b':', line).is_none() {
            return Probe::Excluded;
        }
    }
    if seen.len() < bytes.len() { Probe::Excluded } else { Probe::Undecided }
}

/// Tells whether a line is a header that only requests of HTTP begin with, beside SIP's and RTSP's, whose
/// first line tells them.
fn is_telling_header(line: &[u8]) -> bool {
    let telling: [&[u8]; 3] = [b"authorization", b"host", b"proxy-authorization"];
    memchr::memchr(b':', line).is_some_and(|colon| {
        let name = super::head::trim(&line[..colon]);
        telling.iter().any(|known| name.eq_ignore_ascii_case(known))
    })
}

/// Tells whether a line names the version of a relative: `SIP/2.0`, `RTSP/1.0`, `ICAP/1.0`.
fn has_other_version(line: &[u8]) -> bool {
    line.split(u8::is_ascii_whitespace).any(|word| {
        let name_len = word.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
        name_len >= 2
            && !word.starts_with(b"HTTP")
            && matches!(word.get(name_len..), Some([b'/', a, b'.', b, ..]) if a.is_ascii_digit() && b.is_ascii_digit())
    })
}

/// Tells whether a line has a method and a target, as a request line without its version.
fn looks_like_words(line: &[u8]) -> bool {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.next().is_some() && words.any(|target| target.contains(&b'/'))
}

/// Tells whether a byte may be in a token (RFC 9110 §5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
