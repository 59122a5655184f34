//! Where secrets stand in a request: which names have them, and which of their words they are.
//!
//! What is shown of a request, in a report or in a copy of its bytes, is searched for what was presented: a
//! client may repeat a token in its User-Agent, in the path, in Host.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::http1::is;
use super::login;

/// Longest Basic credentials whose user is looked at.
const BASIC_LEN_MAX: usize = 1024;

/// Shortest secret that is looked for inside other text; a shorter one masks only its equal.
pub(super) const SECRET_LEN_MIN: usize = 6;

/// Base64 as clients write it: with padding or without, and with stray bits at its end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Tells whether a header's value is, or may be, secret.
pub(super) fn is_secret(name: &[u8]) -> bool {
    let begins = |(at, byte): (usize, &u8)| match byte | 0x20 {
        b'a' => starts(&name[at..], b"auth"),
        b'c' => {
            let name = &name[at..];
            starts(name, b"cookie") || starts(name, b"client-id") || starts(name, b"client_id")
        }
        b'j' => starts(&name[at..], b"jwt"),
        b'k' => starts(&name[at..], b"key"),
        b'p' => starts(&name[at..], b"passw"),
        b's' => starts(&name[at..], b"secret") || starts(&name[at..], b"session"),
        b't' => starts(&name[at..], b"token"),
        _ => false,
    };
    name.iter().enumerate().any(begins)
}

/// Tells whether a name begins with a known one, which is in lower case.
#[inline]
fn starts<const LEN: usize>(name: &[u8], known: &[u8; LEN]) -> bool {
    name.get(..LEN).is_some_and(|start| is(start, known))
}

/// Hands over the words of a header that is secret: each whole, what stands behind a name, a password.
pub(super) fn of_header(value: &[u8], mut take: impl FnMut(&[u8])) {
    let mut is_bearer = false;
    for word in value.split(|byte| matches!(byte, b' ' | b'\t' | b',' | b';' | b'"')) {
        if is(word, b"bearer") || is(word, b"basic") || is(word, b"digest") {
            is_bearer = is(word, b"bearer");
            continue;
        }
        take(word);
        if let Some(equals) = memchr::memchr(b'=', word).filter(|at| at + 1 < word.len()) {
            take(&word[equals + 1..]);
        }
        if !is_bearer
            && let Some(plain) = basic(word)
            && let Some(colon) = memchr::memchr(b':', &plain)
            && !login::is_default(&plain[..colon], &plain[colon + 1..])
        {
            take(&plain[colon + 1..]);
        }
    }
}

/// Hands over the values of a query's secret parameters, as they stand and decoded.
pub(super) fn of_query(target: &[u8], mut take: impl FnMut(&[u8])) {
    let Some(query) = memchr::memchr(b'?', target) else { return };
    for parameter in target[query + 1..].split(|byte| *byte == b'&') {
        if let Some(equals) = memchr::memchr(b'=', parameter)
            && is_secret(&percent_decoded(&parameter[..equals]))
        {
            take(&parameter[equals + 1..]);
            take(&percent_decoded(&parameter[equals + 1..]));
        }
    }
}

/// Tells whether a secret stands in some text.
pub(super) fn stands_in(secret: &[u8], text: &[u8]) -> bool {
    secret.len() <= text.len()
        && (text == secret
            || (secret.len() >= SECRET_LEN_MIN && memchr::memmem::find(text, secret).is_some()))
}

/// Decodes Basic credentials: `user:password`.
pub(super) fn basic(credentials: &[u8]) -> Option<Vec<u8>> {
    let credentials = credentials.trim_ascii();
    if credentials.is_empty() || credentials.len() > BASIC_LEN_MAX {
        return None;
    }
    BASE64.decode(credentials).ok()
}

/// Decodes `%41` and `+`.
pub(super) fn percent_decoded(bytes: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((byte, behind)) = rest.split_first() {
        let hex = |digit: Option<&u8>| digit.and_then(|d| char::from(*d).to_digit(16));
        match (byte, hex(behind.first()), hex(behind.get(1))) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high << 4 | low).unwrap_or(b'?'));
                rest = &behind[2..];
                continue;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(*byte),
        }
        rest = behind;
    }
    Cow::Owned(out)
}
