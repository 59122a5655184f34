//! Header blocks of HTTP/2 (RFC 7541): fields keep their names and the length of their values.
//!
//! A value that is Huffman-coded is overwritten by one of the same length on both sides of the coding,
//! so that the tables of a decoder grow and shrink as they did.

use super::head::{self, Value};
use super::presented::Presented;
use super::{FILL, filled};

/// Values that are shown, by their name's index in the static table (RFC 7541 appendix A): method, scheme,
/// status, encodings, length, type.
const SHOWN: [usize; 13] = [2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 28, 31];

/// Values that are shown but for what was presented elsewhere: authority, user-agent.
const FREE: [usize; 2] = [1, 58];

/// `cookie`.
const COOKIE: usize = 32;

/// The last name of the static table; behind it are names of earlier fields, which nobody keeps here.
const STATIC_LAST: usize = 61;

/// `:path`, with either of its two values.
const PATHS: [usize; 2] = [4, 5];

/// `authorization` and `proxy-authorization`.
const CREDENTIALS: [usize; 2] = [23, 49];

/// The longest name that is shown.
const NAME_LEN_MAX: usize = 64;

/// Symbols of the Huffman code by the length of their codes, each set in the order of its codes, with
/// the first code (RFC 7541 appendix B). Longer codes are no characters that are shown.
const CODES: [(u32, u32, &[u8]); 11] = [
    (5, 0x0, b"012aceiost"),
    (6, 0x14, b" %-./3456789=A_bdfghlmnpru"),
    (7, 0x5c, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, 0xf8, b"&*,;XZ"),
    (10, 0x3f8, b"!\"()?"),
    (11, 0x7fa, b"'+|"),
    (12, 0xffa, b"#>"),
    (13, 0x1ff8, b"\0$@[]~"),
    (14, 0x3ffc, b"^}"),
    (15, 0x7ffc, b"<`{"),
    (19, 0x7_fff0, b"\\\xc3\xd0"),
];

/// Lengths of longer codes with their first code and how many there are.
const LONG_CODES: [(u32, u32, u32); 10] = [
    (20, 0xf_ffe6, 8),
    (21, 0x1f_ffdc, 13),
    (22, 0x3f_ffd2, 26),
    (23, 0x7f_ffd8, 29),
    (24, 0xff_ffea, 12),
    (25, 0x1ff_ffec, 4),
    (26, 0x3ff_ffe0, 15),
    (27, 0x7ff_ffde, 19),
    (28, 0xfff_ffe2, 29),
    (30, 0x3fff_fffc, 3),
];

/// Shows a header block; from what cannot be read on, nothing.
pub(super) fn shown(block: &[u8], presented: &mut Presented) -> Vec<u8> {
    let mut at = 0;
    while let Some(field) = block.get(at..).and_then(Field::read) {
        field.learn(presented);
        at += field.len;
    }
    let mut out = Vec::with_capacity(block.len());
    while let Some(field) = block.get(out.len()..).and_then(Field::read) {
        field.show(&block[out.len()..], presented, &mut out);
    }
    out.resize(block.len(), FILL);
    out
}

/// One field, or a change of the table's size.
struct Field<'a> {
    index: usize,
    /// The name where it is a literal, with its place behind its length.
    name: Option<(Literal<'a>, usize)>,
    value: Option<(Literal<'a>, usize)>,
    len: usize,
}

impl<'a> Field<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let first = *bytes.first()?;
        let prefix_bits = match first {
            // Indexed field.
            0x80.. => 7,
            // Literal with indexing; size update; literal without.
            0x40..=0x7f => 6,
            0x20..=0x3f => 5,
            0x00..=0x1f => 4,
        };
        let (index, index_len) = integer(bytes, prefix_bits)?;
        let mut field = Self { index, name: None, value: None, len: index_len };
        if first < 0x80 && !(0x20..=0x3f).contains(&first) {
            if index == 0 {
                field.name = Some(field.literal(bytes)?);
            }
            field.value = Some(field.literal(bytes)?);
        }
        Some(field)
    }

    fn literal(&mut self, bytes: &'a [u8]) -> Option<(Literal<'a>, usize)> {
        let (literal, len) = string(bytes.get(self.len..)?)?;
        let at = self.len + len - literal.bytes.len();
        self.len += len;
        Some((literal, at))
    }

    /// Returns its name where that is a literal.
    fn name(&self) -> Option<Vec<u8>> {
        self.name.as_ref().and_then(|(name, _)| name.text())
    }

    fn learn(&self, presented: &mut Presented) {
        let Some((value, _)) = &self.value else { return };
        let Some(text) = value.text() else { return };
        let name = self.name();
        if PATHS.contains(&self.index) || name.as_deref() == Some(b":path") {
            presented.target(&text);
        } else if CREDENTIALS.contains(&self.index) || self.index == COOKIE {
            presented.unnamed(&text);
        } else if let Some(name) = name {
            presented.header(&name, &text);
        } else if self.index > STATIC_LAST {
            presented.unnamed(&text);
        }
    }

    fn show(&self, bytes: &[u8], presented: &Presented, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(&bytes[..self.len]);
        let mut write = |place: usize, text: &[u8]| {
            out[at + place..at + place + text.len()].copy_from_slice(text);
        };
        let is_named = |name: &Literal<'_>| name.bytes.len() <= NAME_LEN_MAX;
        if let Some((name, place)) = self.name.as_ref().filter(|(name, _)| !is_named(name)) {
            write(*place, &name.overwritten(0));
        }
        if let Some((value, place)) = &self.value {
            let name = self.name.as_ref().filter(|(name, _)| is_named(name));
            let name = name.and_then(|(name, _)| name.text());
            write(*place, &value_shown(value, self.index, name.as_deref(), presented));
        }
    }
}

fn value_shown(
    value: &Literal<'_>,
    index: usize,
    name: Option<&[u8]>,
    presented: &Presented,
) -> Vec<u8> {
    let kind = match name {
        _ if SHOWN.contains(&index) => Value::Plain,
        _ if FREE.contains(&index) => Value::Free,
        _ if CREDENTIALS.contains(&index) => Value::Credential,
        Some(b":authority") => Value::Free,
        Some(name) => head::value_of(name),
        None => Value::Secret,
    };
    if kind == Value::Plain {
        return value.bytes.to_vec();
    }
    let is_path = PATHS.contains(&index) || name == Some(b":path");
    let text = value.text();
    let masked = match &text {
        Some(text) if is_path => head::target(text, presented),
        Some(text) if matches!(kind, Value::Credential | Value::Free) => {
            head::value(kind, text, presented)
        }
        _ => Vec::new(),
    };
    // Up to the first character that is not shown.
    let text = text.unwrap_or_default();
    let kept = text.iter().zip(&masked).take_while(|(one, other)| one == other).count();
    if value.is_coded {
        value.overwritten(kept)
    } else if masked.is_empty() {
        filled(value.bytes.len())
    } else {
        masked
    }
}

/// Reads an integer (RFC 7541 §5.1); returns it and its length.
fn integer(bytes: &[u8], prefix_bits: u32) -> Option<(usize, usize)> {
    let mask = (1_usize << prefix_bits) - 1;
    let first = usize::from(*bytes.first()?) & mask;
    if first < mask {
        return Some((first, 1));
    }
    let mut value = mask;
    for (index, byte) in bytes.iter().enumerate().skip(1).take(4) {
        value += usize::from(byte & 0x7f) << (7 * (index - 1));
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// A string as it is coded.
struct Literal<'a> {
    bytes: &'a [u8],
    is_coded: bool,
}

/// Reads a string (RFC 7541 §5.2); returns it and its length with what is before it.
fn string(bytes: &[u8]) -> Option<(Literal<'_>, usize)> {
    let is_coded = *bytes.first()? & 0x80 != 0;
    let (len, len_len) = integer(bytes, 7)?;
    let end = len_len.checked_add(len)?;
    Some((Literal { bytes: bytes.get(len_len..end)?, is_coded }, end))
}

impl Literal<'_> {
    /// Returns the characters; `None` where they cannot be read.
    fn text(&self) -> Option<Vec<u8>> {
        if !self.is_coded {
            return Some(self.bytes.to_vec());
        }
        let (symbols, _) = symbols(self.bytes)?;
        symbols.into_iter().map(|symbol| symbol.character).collect()
    }

    /// Returns as many bytes with as many characters, the first `kept` of them the same.
    fn overwritten(&self, kept: usize) -> Vec<u8> {
        if !self.is_coded {
            return filled(self.bytes.len());
        }
        let Some((symbols, pad_len)) = symbols(self.bytes) else {
            return filled(self.bytes.len());
        };
        let (before, behind) = symbols.split_at(kept.min(symbols.len()));
        let mut bits = Bits::default();
        for symbol in before {
            bits.push(symbol.code, symbol.len);
        }
        // As many codes of as many bits in all, which says nothing of what they were.
        let total: u32 = behind.iter().map(|symbol| symbol.len).sum();
        if !bits.spread(u32::try_from(behind.len()).unwrap_or(u32::MAX), total) {
            return filled(self.bytes.len());
        }
        bits.push((1 << pad_len) - 1, pad_len);
        bits.bytes
    }
}

/// One code of a string.
struct Symbol {
    code: u32,
    len: u32,
    character: Option<u8>,
}

/// Reads the codes of a string, and how many bits of padding follow.
fn symbols(bytes: &[u8]) -> Option<(Vec<Symbol>, u32)> {
    let mut symbols = Vec::new();
    let (mut code, mut len) = (0_u32, 0_u32);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        (code, len) = (code << 1 | u32::from(bit), len + 1);
        if len > 30 {
            return None;
        }
        if let Some(symbol) = symbol(code, len) {
            symbols.push(symbol);
            (code, len) = (0, 0);
        }
    }
    (len < 8 && code == (1 << len) - 1).then_some((symbols, len))
}

fn symbol(code: u32, len: u32) -> Option<Symbol> {
    let short = CODES.iter().find(|(of_len, ..)| *of_len == len);
    if let Some((_, first, characters)) = short {
        let index = usize::try_from(code.checked_sub(*first)?).ok()?;
        return characters.get(index).map(|byte| Symbol { code, len, character: Some(*byte) });
    }
    let (_, first, count) = LONG_CODES.iter().find(|(of_len, ..)| *of_len == len)?;
    (code.checked_sub(*first)? < *count).then_some(Symbol { code, len, character: None })
}

/// Bits that become bytes, the first one the highest.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    len: u32,
}

impl Bits {
    fn push(&mut self, code: u32, len: u32) {
        for at in (0..len).rev() {
            if self.len.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = u8::from(code >> at & 1 == 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= bit << (7 - self.len % 8);
            }
            self.len += 1;
        }
    }

    /// Adds so many codes that have so many bits together; false where there are no such.
    fn spread(&mut self, mut count: u32, mut total: u32) -> bool {
        // The shortest codes: "0", "3", "X" of 5, 6 and 8 bits, and ":" of 7; "?" of 10; then longer ones.
        let codes = CODES.map(|(len, first, _)| (len, first));
        let long = LONG_CODES.map(|(len, first, _)| (len, first));
        while count > 0 {
            // What the others need at least, and may have at most.
            let (least, most) = ((count - 1) * 5, (count - 1).saturating_mul(30));
            // No code has nine bits.
            let fits = |len: u32| {
                let rest = total.checked_sub(len);
                rest.is_some_and(|rest| (least..=most).contains(&rest) && (count, rest) != (2, 9))
            };
            let average = total / count;
            let all = || codes.iter().chain(&long);
            let next =
                all().filter(|(len, _)| *len >= average && fits(*len)).min_by_key(|(len, _)| *len);
            let next =
                next.or_else(|| all().filter(|(len, _)| fits(*len)).max_by_key(|(len, _)| *len));
            let Some(&(len, code)) = next else { return false };
            self.push(code, len);
            (count, total) = (count - 1, total - len);
        }
        total == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn coded(text: &[u8]) -> Vec<u8> {
        let mut bits = Bits::default();
        for byte in text {
            let (len, first, set) = CODES.iter().find(|(_, _, set)| set.contains(byte)).unwrap();
            let index = set.iter().position(|one| one == byte).unwrap();
            bits.push(first + u32::try_from(index).unwrap(), *len);
        }
        let pad_len = (8 - bits.len % 8) % 8;
        bits.push((1 << pad_len) - 1, pad_len);
        bits.bytes
    }

    #[test]
    fn a_known_example_is_read() {
        // RFC 7541 appendix C.4.1.
        let bytes = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        let literal = Literal { bytes: &bytes, is_coded: true };
        assert_eq!(literal.text().unwrap(), b"www.example.com");
        assert_eq!(coded(b"www.example.com"), bytes);
    }

    proptest! {
        #[test]
        fn a_coded_value_is_overwritten_by_one_of_the_same_lengths(
            text in "[ -~]{0,60}", kept in 0_usize..10,
        ) {
            let bytes = coded(text.as_bytes());
            let literal = Literal { bytes: &bytes, is_coded: true };
            prop_assert_eq!(literal.text().unwrap(), text.as_bytes());
            let out = literal.overwritten(kept);
            prop_assert_eq!(out.len(), bytes.len());
            if out != filled(out.len()) {
                let again = Literal { bytes: &out, is_coded: true }.text().unwrap();
                prop_assert_eq!(again.len(), text.len());
                let kept = kept.min(text.len());
                prop_assert_eq!(&again[..kept], &text.as_bytes()[..kept]);
            }
        }

        #[test]
        fn any_block_keeps_its_length(block in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(shown(&block, &mut Presented::default()).len(), block.len());
        }
    }

    #[test]
    fn common_texts_can_be_overwritten() {
        for text in
            ["Bearer CANARY-0123456789", "/a?b=c", "~~~~", "{}", "aaaaaaaaaaaaaaaaaaaa", "XZ", "z&"]
        {
            let bytes = coded(text.as_bytes());
            let out = Literal { bytes: &bytes, is_coded: true }.overwritten(0);
            assert!(Literal { bytes: &out, is_coded: true }.text().is_some(), "{text}");
        }
    }

    #[test]
    fn a_token_goes_and_its_scheme_stays() {
        for is_coded in [false, true] {
            let text = b"Bearer CANARY-12345";
            let value = if is_coded { coded(text) } else { text.to_vec() };
            let len = u8::try_from(value.len()).unwrap() | if is_coded { 0x80 } else { 0 };
            let block = [&[0x82, 0x57, len][..], &value, &[0x84]].concat();
            let out = shown(&block, &mut Presented::default());
            assert_eq!((out[..3].to_vec(), out.last()), (block[..3].to_vec(), Some(&0x84)));
            let literal = Literal { bytes: &out[3..block.len() - 1], is_coded };
            let text = literal.text().unwrap();
            assert!(text.starts_with(b"Bearer ") && text.len() == 19);
            assert!(memchr::memmem::find(&text, b"CANARY").is_none());
        }
    }
}
