//! Protocols of which only some parts are in clear text: what looks like text is overwritten, numbers stay.

use super::FILL;

/// Characters in a row that are text and no number.
const TEXT_LEN_MIN: usize = 3;

/// Words by which these protocols are known.
const WORDS: [&[u8]; 6] = [b"JRMI", b"HZC", b"CB2", b"CP2", b"hrpc", b"BP-"];

/// Methods of Thrift and RMI by which a login is known; their names are no secret.
const NAMES: [&[u8]; 8] = [
    b"connect",
    b"login",
    b"newClient",
    b"authenticate",
    b"AUTHENTICATE",
    b"SaslHandshake",
    b"jmxrmi",
    b"lookup",
];

/// Shows everything but text. At the edges, where text may have been cut, one character is enough for it.
pub(super) fn shown(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        if let Some(word) = WORDS.iter().find(|word| at == 0 && rest.starts_with(word)) {
            at += word.len();
            continue;
        }
        if let Some((prefix_len, len)) = prefixed(rest) {
            let text = &bytes[at + prefix_len..at + prefix_len + len];
            if !NAMES.contains(&text) {
                out[at + prefix_len..at + prefix_len + len].fill(FILL);
            }
            at += prefix_len + len;
            continue;
        }
        let len = rest.iter().take_while(|byte| is_text(**byte)).count();
        let wide = wide_len(rest);
        // A number may begin with a high bit, as Thrift's version does; a cut word has letters.
        let has_letters = rest[..len].iter().any(u8::is_ascii);
        let is_at_edge = (at == 0 || at + len == bytes.len()) && has_letters;
        if len >= TEXT_LEN_MIN || is_at_edge {
            out[at..at + len].fill(FILL);
        } else if wide > 0 {
            for byte in out[at..at + wide].iter_mut().filter(|byte| **byte != 0) {
                *byte = FILL;
            }
        }
        at += len.max(wide).max(1);
    }
    out
}

/// Returns the length of a length and of the text behind it, where one fits the other.
fn prefixed(rest: &[u8]) -> Option<(usize, usize)> {
    let fits = |prefix_len: usize, len: usize| {
        let text = rest.get(prefix_len..prefix_len.checked_add(len)?)?;
        (len > 0 && text.iter().all(|byte| is_text(*byte))).then_some((prefix_len, len))
    };
    let word = rest.first_chunk::<4>();
    let big = word.map_or(0, |word| u32::from_be_bytes(*word));
    let little = word.map_or(0, |word| u32::from_le_bytes(*word));
    let short = rest.first_chunk().map_or(0, |short| u16::from_be_bytes(*short));
    let small = |len: u32| usize::try_from(len).ok().filter(|len| *len < 1 << 16);
    let by_long = [big, little].into_iter().find_map(|len| fits(4, small(len)?));
    by_long.or_else(|| fits(2, usize::from(short).checked_sub(0).filter(|len| *len >= 2)?))
}

/// Returns the length of text in two bytes a character.
fn wide_len(rest: &[u8]) -> usize {
    let is_wide = |pair: &&[u8]| matches!(**pair, [0, byte] | [byte, 0] if is_text(byte));
    let len = 2 * rest.chunks_exact(2).take_while(is_wide).count();
    if len >= 2 * TEXT_LEN_MIN { len } else { 0 }
}

fn is_text(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | 0x80.. | b'\t' | b'\n' | b'\r')
}
