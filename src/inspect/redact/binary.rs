//! Protocols of which only some parts are in clear text: what looks like text is overwritten, numbers stay.

use super::FILL;

/// Characters in a row that are text and no number.
const TEXT_LEN_MIN: usize = 3;

/// What is known beside text and numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Java's calls with serialized objects.
    Rmi,
    /// Thrift's messages, in any of its protocols.
    Thrift,
    /// Nothing.
    Other,
}

/// Openings, with how many bytes of them are structure.
const OPENINGS: [(&[u8], usize); 8] = [
    (b"JRMI", 7),
    (b"HZC", 3),
    (b"CB2", 3),
    (b"CP2", 3),
    (b"hrpc", 7),
    // Hadoop's data transfer.
    (&[0, 0x1c], 3),
    // Between nodes of Cassandra (`PROTOCOL_MAGIC`), with flags.
    (&[0xca, 0x55, 0x2d, 0xfa], 8),
    // A server's yes to JRMI, and the length of its client's name.
    (&[0x4e, 0], 3),
];

/// A call and an answer in a stream of objects, with the numbers that follow: object, operation, hash.
const CALLS: [(&[u8], usize); 2] = [
    (&[0x50, 0xac, 0xed, 0, 5, 0x77, 0x22], 7 + 34),
    (&[0x51, 0xac, 0xed, 0, 5, 0x77, 0x0f], 7 + 15),
];

/// Words that are no secret: methods by which a login is known, blocks of a pool.
const NAMES: [&[u8]; 9] = [
    b"connect",
    b"login",
    b"newClient",
    b"authenticate",
    b"AUTHENTICATE",
    b"SaslHandshake",
    b"jmxrmi",
    b"lookup",
    b"BP-",
];

/// The reference in a stub, before the host and port that it names.
const REFERENCES: [&[u8]; 2] = [b"UnicastRef2", b"UnicastRef"];

/// The longest name of a method or a class that is shown.
const NAME_LEN_MAX: usize = 128;

/// Shows everything but text. At the edges, where text may have been cut, one character is enough for it.
pub(super) fn shown(kind: Kind, bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let mut at = opening(kind, bytes).min(bytes.len());
    while at < bytes.len() {
        let rest = &bytes[at..];
        if let Some(len) = structure(kind, rest) {
            at += len.min(rest.len());
            continue;
        }
        if let Some((prefix_len, len)) = prefixed(kind, rest) {
            let text = &bytes[at + prefix_len..at + prefix_len + len];
            if !NAMES.contains(&text) {
                out[at + prefix_len..at + prefix_len + len].fill(FILL);
            }
            at += prefix_len + len;
            continue;
        }
        let len = rest.iter().take_while(|byte| is_text(**byte)).count();
        let wide = wide_len(rest);
        let has_wide_letters = rest[..wide].iter().any(|byte| *byte != 0 && byte.is_ascii());
        let is_wide_cut = (at == 0 || at + wide + 1 >= bytes.len()) && has_wide_letters;
        let wide = if wide >= 2 * TEXT_LEN_MIN || is_wide_cut { wide } else { 0 };
        // A number may begin with a high bit; a cut word has letters.
        let has_letters = rest[..len].iter().any(u8::is_ascii);
        let is_at_edge = (at == 0 || at + len == bytes.len()) && has_letters;
        if len >= TEXT_LEN_MIN || is_at_edge {
            out[at..at + len].fill(FILL);
        }
        if wide > 0 {
            for byte in out[at..at + wide].iter_mut().filter(|byte| **byte != 0) {
                *byte = FILL;
            }
        }
        at += len.max(wide).max(1);
    }
    out
}

/// Returns how many of the first bytes are structure.
fn opening(kind: Kind, bytes: &[u8]) -> usize {
    if kind == Kind::Thrift {
        return message(bytes).or_else(|| Some(4 + message(bytes.get(4..)?)?)).unwrap_or(0);
    }
    let known = OPENINGS.iter().find(|(word, _)| bytes.starts_with(word));
    let len = known.map_or(0, |(_, len)| *len);
    block_of_hdfs(bytes).or_else(|| options_of_cql(bytes)).unwrap_or(len)
}

/// The length of what leads to a block's pool in Hadoop's data transfer: version, operation, and the numbers and
/// lengths of four nested fields at most.
fn block_of_hdfs(bytes: &[u8]) -> Option<usize> {
    let [0, 0x1c, 80..=90, ..] = bytes else { return None };
    let number = |at: usize| {
        let digits = bytes.get(at..)?.iter().take(5).take_while(|byte| **byte & 0x80 != 0).count();
        Some(at + digits + 1)
    };
    let mut at = number(3)?;
    for _ in 0..4 {
        at = number(at).filter(|_| bytes.get(at) == Some(&0x0a)).and_then(number)?;
        if bytes.get(at..)?.starts_with(b"BP-") {
            return Some(at + 3);
        }
    }
    None
}

/// The length of an OPTIONS of CQL in the versions that are letters, too: it has no body.
fn options_of_cql(bytes: &[u8]) -> Option<usize> {
    matches!(bytes, [0x41 | 0x42, 0, _, _, 5, 0, 0, 0, 0, ..]).then_some(9)
}

/// Returns the length of a message's head, up to the type of its first field.
fn message(bytes: &[u8]) -> Option<usize> {
    let word = |at: usize| {
        let word = bytes.get(at..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_be_bytes(*word)).ok()
    };
    let name = |at: usize, len: usize| {
        let name = bytes.get(at..at.checked_add(len)?)?;
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_:".contains(byte);
        let digits = name.iter().filter(|byte| byte.is_ascii_digit()).count();
        let is_name = !name.is_empty() && digits <= 2 && name.iter().all(is_word);
        (len <= NAME_LEN_MAX && is_name).then_some(at + len)
    };
    match bytes {
        // The binary protocol with a version: kind, name, number.
        [0x80, 1, _, 1..=4, ..] => Some(name(8, word(4)?)? + 4 + 1),
        // The compact one: kind, number, name.
        [0x82, kind, rest @ ..] if kind & 0x1f == 1 => {
            let number_len = rest.iter().take(5).take_while(|byte| **byte & 0x80 != 0).count() + 1;
            let len = usize::from(*rest.get(number_len)?);
            Some(name(2 + number_len + 1, len)? + 1)
        }
        // The binary one without: name, kind, number.
        [0, 0, 0, len, ..] if *len >= 3 => {
            let kind_at = name(4, word(0)?)?;
            matches!(bytes.get(kind_at)?, 1..=4).then_some(kind_at + 1 + 4 + 1)
        }
        _ => None,
    }
}

/// Returns the length of what is known to be structure in a stream of Java's objects.
fn structure(kind: Kind, rest: &[u8]) -> Option<usize> {
    if kind != Kind::Rmi {
        return None;
    }
    if let Some((_, len)) = CALLS.iter().find(|(word, _)| rest.starts_with(word)) {
        // The null that stands for no credentials at all.
        return Some(len + usize::from(rest.get(*len..) == Some(&[0x70])));
    }
    if let Some(len) = reference(rest) {
        return Some(len);
    }
    // A class: its name and its number.
    let [0x72, a, b, name @ ..] = rest else { return None };
    let len = usize::from(u16::from_be_bytes([*a, *b]));
    let name = name.get(..len).filter(|_| (1..=NAME_LEN_MAX).contains(&len))?;
    let is_class = |byte: &u8| byte.is_ascii_alphanumeric() || b"._$[;/".contains(byte);
    (name.contains(&b'.') && name.iter().all(is_class)).then_some(3 + len + 8)
}

/// Returns the length of a stub's reference: its name, then the host and port of a server.
fn reference(rest: &[u8]) -> Option<usize> {
    let long = |at: usize| Some(usize::from(u16::from_be_bytes(*rest.get(at..)?.first_chunk()?)));
    let word_end = 2 + long(0)?;
    let word = REFERENCES.iter().find(|word| rest.get(2..word_end) == Some(**word))?;
    // Newer ones tell beforehand whether they use a factory.
    let at = word_end + usize::from(word.len() == REFERENCES[0].len());
    let host_end = at + 2 + long(at).filter(|len| *len <= NAME_LEN_MAX).unwrap_or(0);
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b".:-%".contains(byte);
    let is_named = rest.get(at + 2..host_end).is_some_and(|host| host.iter().all(is_host));
    Some(if is_named { host_end + 4 } else { word_end })
}

/// Returns the length of a length and of the text behind it, where one fits the other.
fn prefixed(kind: Kind, rest: &[u8]) -> Option<(usize, usize)> {
    let fits = |prefix_len: usize, len: usize| {
        let text = rest.get(prefix_len..prefix_len.checked_add(len)?)?;
        (len > 0 && text.iter().all(|byte| is_text(*byte))).then_some((prefix_len, len))
    };
    if let (Kind::Rmi, [0x74, a, b, ..]) = (kind, rest)
        && let Some(found) = fits(3, usize::from(u16::from_be_bytes([*a, *b])))
    {
        return Some(found);
    }
    let word = rest.first_chunk::<4>();
    let big = word.map_or(0, |word| u32::from_be_bytes(*word));
    // Hazelcast's clients count from the other end.
    let little = word.filter(|_| kind == Kind::Other).map_or(0, |word| u32::from_le_bytes(*word));
    let small = |len: u32| usize::try_from(len).ok().filter(|len| *len < 1 << 16);
    // One character behind its length is no number only where it is a letter.
    let is_word = |(prefix_len, len): &(usize, usize)| {
        *len > 1 || rest.get(*prefix_len).is_some_and(u8::is_ascii_alphanumeric)
    };
    let by_long = [big, little].into_iter().find_map(|len| fits(4, small(len)?)).filter(is_word);
    let short = rest.first_chunk().map_or(0, |short| u16::from_be_bytes(*short));
    by_long.or_else(|| fits(2, usize::from(short)).filter(|(_, len)| *len >= 2))
}

/// Returns the length of text in two bytes a character.
fn wide_len(rest: &[u8]) -> usize {
    let is_wide = |pair: &&[u8]| matches!(**pair, [0, byte] | [byte, 0] if is_text(byte));
    2 * rest.chunks_exact(2).take_while(is_wide).count()
}

fn is_text(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | 0x80.. | b'\t' | b'\n' | b'\r')
}
