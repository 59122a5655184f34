//! Lines of an HTTP head: which of their bytes may be shown.

use super::presented::Presented;
use super::{FILL, filled};

/// A header's name longer than this is none that is known.
const NAME_LEN_MAX: usize = 64;

/// A longer segment of a path, or parameter's name, may be a key.
const WORD_LEN_MAX: usize = 32;

/// Digits in a segment of a path beyond which it may be a key.
const WORD_DIGITS_MAX: usize = 4;

/// Digits in a name beyond which it may be a key; percent-encoded ones have some.
const NAME_DIGITS_MAX: usize = 4;

/// Digits in the name of a header beyond which it may be a key.
const HEADER_DIGITS_MAX: usize = 2;

/// Headers whose value says nothing about who may do what, and which a copy needs as they are.
const PLAIN: [&str; 13] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "http2-settings",
    "keep-alive",
    "mime-version",
    "proxy-connection",
    "sec-websocket-version",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Headers whose value says nothing about who may do what, unless a client repeats a secret there.
const FREE: [&str; 29] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-request-headers",
    "access-control-request-method",
    "age",
    "allow",
    "cache-control",
    "content-language",
    "date",
    "dnt",
    "expires",
    "forwarded",
    "host",
    "last-modified",
    "max-forwards",
    "origin",
    "pragma",
    "range",
    "retry-after",
    "server",
    "user-agent",
    "vary",
    "x-forwarded-for",
];

/// Schemes of authentication (IANA) that are shown in front of what is overwritten.
const SCHEMES: [&str; 12] = [
    "Basic",
    "Bearer",
    "Digest",
    "DPoP",
    "GNAP",
    "HOBA",
    "Mutual",
    "Negotiate",
    "NTLM",
    "OAuth",
    "SCRAM-SHA-256",
    "PrivateToken",
];

/// Parameters of Digest (RFC 7616 §3.4).
const DIGEST: [&str; 11] = [
    "algorithm",
    "cnonce",
    "nc",
    "nonce",
    "opaque",
    "qop",
    "realm",
    "response",
    "uri",
    "userhash",
    "username",
];

/// What a header's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Value {
    /// Shown.
    Plain,
    /// Shown, but for what was presented elsewhere.
    Free,
    /// A scheme, then a secret.
    Credential,
    /// Names with secrets.
    Cookie,
    /// Overwritten.
    #[default]
    Secret,
}

/// Tells what the value of a header is.
pub(super) fn value_of(name: &[u8]) -> Value {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    if PLAIN.iter().any(|known| is(known)) {
        Value::Plain
    } else if FREE.iter().any(|known| is(known)) {
        Value::Free
    } else if is("cookie") || is("set-cookie") {
        Value::Cookie
    } else {
        Value::Credential
    }
}

/// Returns the length of a head, up to and with its blank line, where that is there.
pub(super) fn len(held: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line_len = memchr::memchr(b'\n', &held[at..])? + 1;
        let line = &held[at..at + line_len];
        at += line_len;
        if line.trim_ascii().is_empty() && !matches!(line[0], b' ' | b'\t') {
            return Some(at);
        }
    }
}

/// Splits a line into the name of a header and the place behind its colon.
pub(super) fn split(line: &[u8]) -> Option<(&[u8], usize)> {
    let colon = memchr::memchr(b':', line)?;
    let name = line[..colon].trim_ascii_end();
    let is_name =
        !name.is_empty() && name.len() <= NAME_LEN_MAX && name.iter().all(|byte| is_token(*byte));
    is_name.then_some((name, colon + 1))
}

/// Shows the name of a header with its colon, unless it may be a key: a line in the middle of something
/// else may look like a header.
pub(super) fn name_shown(name: &[u8]) -> Vec<u8> {
    let digits = name.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits <= HEADER_DIGITS_MAX { name.to_vec() } else { blank(name) }
}

/// Shows a value with what is around it, line ends included.
pub(super) fn value(kind: Value, bytes: &[u8], presented: &Presented) -> Vec<u8> {
    match kind {
        Value::Plain => bytes.to_vec(),
        Value::Free => {
            let mut out = bytes.to_vec();
            presented.overwrite(&mut out);
            out
        }
        Value::Credential => credential(bytes),
        Value::Cookie => cookie(bytes),
        Value::Secret => blank(bytes),
    }
}

/// Overwrites everything but white space.
pub(super) fn blank(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|&byte| if byte.is_ascii_whitespace() { byte } else { FILL }).collect()
}

/// Tells whether a word is a scheme that is known.
pub(super) fn is_scheme(word: &[u8]) -> bool {
    SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme.as_bytes()))
}

/// Shows a scheme that is known, and of Digest the names of its parameters.
fn credential(bytes: &[u8]) -> Vec<u8> {
    let begin = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let word_len = bytes[begin..].iter().take_while(|byte| is_token(**byte)).count();
    let word = &bytes[begin..begin + word_len];
    let behind = bytes.get(begin + word_len);
    let known = SCHEMES.iter().find(|scheme| word.eq_ignore_ascii_case(scheme.as_bytes()));
    let mut out = blank(bytes);
    let is_word = behind.is_none_or(u8::is_ascii_whitespace);
    let Some(scheme) = known.filter(|_| is_word) else { return out };
    let end = begin + word_len;
    out[..end].copy_from_slice(&bytes[..end]);
    if *scheme == "Digest" {
        parameters(&bytes[end..], &mut out[end..]);
    }
    out
}

/// Shows `name="` of each parameter, and what ends its value.
fn parameters(bytes: &[u8], out: &mut [u8]) {
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let name_at = rest.iter().take_while(|b| b.is_ascii_whitespace() || **b == b',').count();
        let name_len = rest[name_at..].iter().take_while(|byte| is_token(**byte)).count();
        let (begin, end) = (at + name_at, at + name_at + name_len);
        let name = &bytes[begin..end];
        if bytes.get(end) != Some(&b'=')
            || !DIGEST.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
        {
            return;
        }
        out[at..=end].copy_from_slice(&bytes[at..=end]);
        at = end + 1;
        if bytes.get(at) == Some(&b'"') {
            let Some(len) = memchr::memchr(b'"', &bytes[at + 1..]) else { return };
            out[at] = b'"';
            out[at + 1 + len] = b'"';
            at += len + 2;
        } else {
            at +=
                bytes[at..].iter().take_while(|b| !b.is_ascii_whitespace() && **b != b',').count();
        }
    }
}

/// Shows the names of cookies.
fn cookie(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for (index, pair) in bytes.split(|byte| *byte == b';').enumerate() {
        if index > 0 {
            out.push(b';');
        }
        out.extend(pair_shown(pair, blank));
    }
    out
}

/// Shows the name of `name=value`; not where the equals sign may be the padding of base64.
pub(super) fn pair_shown(pair: &[u8], rest: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let Some(equals) = memchr::memchr(b'=', pair) else { return rest(pair) };
    let (name, value) = (&pair[..equals], &pair[equals + 1..]);
    let has_value = value.iter().any(|byte| *byte != b'=' && !byte.is_ascii_whitespace());
    let is_shown = has_value && is_name(name.trim_ascii());
    let name = if is_shown { name.to_vec() } else { rest(name) };
    [name.as_slice(), b"=", &rest(value)].concat()
}

/// Tells whether the name of a parameter or a cookie is a name, and no key.
fn is_name(name: &[u8]) -> bool {
    let digits = name.iter().filter(|byte| byte.is_ascii_digit()).count();
    name.len() <= WORD_LEN_MAX
        && name.iter().all(|byte| is_token(*byte) || b"[]".contains(byte))
        && digits <= NAME_DIGITS_MAX
        && (digits == 0 || !name.contains(&b'-'))
        && !looks_secret(name)
}

/// Shows the first line of a message: method, path, names of the query, version; version and status.
pub(super) fn first_line(line: &[u8], presented: &Presented) -> Vec<u8> {
    let text_len =
        line.len() - line.iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
    let (text, end) = line.split_at(text_len);
    let mut out = match text {
        [b'H' | b'h', b'T' | b't', b'T' | b't', b'P' | b'p', b'/', ..] => status_line(text),
        _ => request_line(text, presented),
    };
    out.extend_from_slice(end);
    out
}

fn status_line(text: &[u8]) -> Vec<u8> {
    let mut words = text.split(|byte| *byte == b' ');
    let (version, status) = (words.next().unwrap_or(&[]), words.next().unwrap_or(&[]));
    let shown_len = version.len() + 1 + status.len();
    let is_status =
        status.len() == 3 && status.iter().all(u8::is_ascii_digit) && version.len() <= 8;
    let mut out = if is_status { text[..shown_len].to_vec() } else { Vec::new() };
    let reason = &text[out.len()..];
    let is_plain = reason.len() <= WORD_LEN_MAX
        && reason.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b' ');
    out.extend(if is_plain && is_status { reason.to_vec() } else { blank(reason) });
    out
}

fn request_line(text: &[u8], presented: &Presented) -> Vec<u8> {
    let is_gap = |byte: &u8| matches!(byte, b' ' | b'\t');
    let method_len = text.iter().position(is_gap).unwrap_or(text.len());
    let method = &text[..method_len];
    let is_method = (1..=20).contains(&method_len)
        && method.iter().all(|b| b.is_ascii_alphabetic() || b"-_".contains(b));
    if !is_method {
        return blank(text);
    }
    let mut out = if method_len < text.len() { method.to_vec() } else { filled(method_len) };
    let rest = &text[method_len..];
    let gap = rest.iter().take_while(|byte| is_gap(byte)).count();
    out.extend_from_slice(&rest[..gap]);
    let rest = &rest[gap..];
    let target_end = rest.iter().position(is_gap).unwrap_or(rest.len());
    out.extend(target(&rest[..target_end], presented));
    let version = &rest[target_end..];
    let bare = version.trim_ascii();
    let is_version =
        bare.len() <= 8 && bare.get(..5).is_some_and(|w| w.eq_ignore_ascii_case(b"HTTP/"));
    out.extend(if is_version { version.to_vec() } else { blank(version) });
    out
}

/// Returns the target in a request's first line.
pub(super) fn target_of(line: &[u8]) -> &[u8] {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.nth(1).unwrap_or(&[])
}

/// Shows a target: scheme, host, path, and the names of its query's parameters; nothing of it in which a
/// secret stands that was presented.
pub(super) fn target(bytes: &[u8], presented: &Presented) -> Vec<u8> {
    let mut out = structure(bytes);
    presented.overwrite_target(bytes, &mut out);
    out
}

fn structure(bytes: &[u8]) -> Vec<u8> {
    let query_at = memchr::memchr2(b'?', b'#', bytes).unwrap_or(bytes.len());
    let (path, query) = bytes.split_at(query_at);
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = path;
    if let Some(scheme) = memchr::memmem::find(path, b"://").filter(|at| *at <= 8) {
        let (before, after) = path.split_at(scheme + 3);
        let authority_len = memchr::memchr(b'/', after).unwrap_or(after.len());
        let (authority, path) = after.split_at(authority_len);
        // A user and a password may stand before the host.
        let user_len = memchr::memrchr(b'@', authority).unwrap_or(0);
        out.extend_from_slice(before);
        out.extend(filled(user_len));
        out.extend_from_slice(&authority[user_len..]);
        rest = path;
    }
    for (index, segment) in rest.split(|byte| *byte == b'/').enumerate() {
        if index > 0 {
            out.push(b'/');
        }
        // Parameters of a segment hold session ids (`;jsessionid=`).
        let bare = memchr::memchr(b';', segment).unwrap_or(segment.len());
        out.extend(if is_word(&segment[..bare]) {
            [&segment[..bare], &filled(segment.len() - bare)].concat()
        } else {
            filled(segment.len())
        });
    }
    if let Some((mark, parameters)) = query.split_first() {
        out.push(*mark);
        for (index, parameter) in parameters.split(|byte| *byte == b'&').enumerate() {
            if index > 0 {
                out.push(b'&');
            }
            out.extend(pair_shown(parameter, |bytes| filled(bytes.len())));
        }
    }
    out
}

/// Tells whether a segment of a path is a name, and no key or number.
fn is_word(segment: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~*:,".contains(byte);
    segment.len() <= WORD_LEN_MAX
        && segment.iter().all(is_plain)
        && segment.iter().filter(|byte| byte.is_ascii_digit()).count() <= WORD_DIGITS_MAX
        && !segment.starts_with(b"eyJ")
        && !looks_secret(segment)
}

/// Tells whether a word mixes cases or digits as keys do: small, large and digits in one, without a hump.
fn looks_secret(word: &[u8]) -> bool {
    let changes = word.windows(2).filter(|pair| class(pair[0]) != class(pair[1])).count();
    word.len() >= 16 && changes > word.len() / 2
}

fn class(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    }
}

/// Tells whether a byte may be in a token (RFC 9110 §5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
