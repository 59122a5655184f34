//! HPACK's Huffman code (RFC 7541 §5.2, Appendix B).
//!
//! The code is canonical: the lengths of its 257 codes define it.

/// Length of each symbol's code in bits; the last one is the end of string.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

const LEN_MIN: usize = 5;
const LEN_MAX: usize = 30;
const END: u16 = 256;

/// The code, ordered for decoding.
struct Code {
    /// Symbols by length of their code, then by value.
    symbols: [u16; 257],
    /// For each length, the first code behind those of this length, at the top of 32 bits.
    limits: [u64; LEN_MAX + 1],
    /// For each length, its first code.
    first: [u32; LEN_MAX + 1],
    /// For each length, the place of its first symbol.
    place: [u16; LEN_MAX + 1],
}

const CODE: Code = code();

#[expect(
    clippy::cast_possible_truncation,
    reason = "symbols are below 257, and `From` is not const"
)]
const fn code() -> Code {
    let mut code = Code {
        symbols: [0; 257],
        limits: [0; LEN_MAX + 1],
        first: [0; LEN_MAX + 1],
        place: [0; LEN_MAX + 1],
    };
    let (mut next, mut filled, mut len) = (0_u32, 0, LEN_MIN);
    while len <= LEN_MAX {
        next <<= 1;
        code.first[len] = next;
        code.place[len] = filled as u16;
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == len {
                code.symbols[filled] = symbol as u16;
                filled += 1;
                next += 1;
            }
            symbol += 1;
        }
        code.limits[len] = (next as u64) << (32 - len);
        len += 1;
    }
    code
}

/// Decodes a string to the end of `out`; `None` where it is none, with what came before the fault. What
/// is left of the last byte is padding, and not looked at.
pub(super) fn decode(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (mut window, mut bits, mut rest) = (0_u64, 0_usize, bytes);
    loop {
        while bits <= 32
            && let Some((byte, behind)) = rest.split_first()
        {
            window |= u64::from(*byte) << (56 - bits);
            bits += 8;
            rest = behind;
        }
        let top = window >> 32;
        let Some(len) = (LEN_MIN..=LEN_MAX).find(|len| top < CODE.limits[*len]) else {
            // All ones: padding, or the end of string, which must not be there.
            return (bits < 8).then_some(());
        };
        if len > bits {
            return (bits < 8).then_some(());
        }
        let number = (top >> (32 - len)) - u64::from(CODE.first[len]);
        let place = usize::from(CODE.place[len]) + usize::try_from(number).ok()?;
        let symbol = *CODE.symbols.get(place)?;
        if symbol == END {
            return None;
        }
        out.push(u8::try_from(symbol).ok()?);
        window <<= len;
        bits -= len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(hex: &[u8]) -> Option<String> {
        let mut out = Vec::new();
        decode(hex, &mut out)?;
        String::from_utf8(out).ok()
    }

    #[test]
    fn the_examples_of_rfc_7541_are_read() {
        let domain = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&domain).as_deref(), Some("www.example.com"));
        assert_eq!(decoded(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).as_deref(), Some("no-cache"));
        let date = [
            0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b,
            0x81, 0x66, 0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
        ];
        assert_eq!(decoded(&date).as_deref(), Some("Mon, 21 Oct 2013 20:13:21 GMT"));
        assert_eq!(decoded(&[]).as_deref(), Some(""));
    }

    #[test]
    fn every_symbol_is_read() {
        for (symbol, len) in LENGTHS.into_iter().enumerate().take(256) {
            let len = usize::from(len);
            let place = CODE.symbols.iter().position(|s| usize::from(*s) == symbol).unwrap();
            let number = place - usize::from(CODE.place[len]);
            let code = u64::from(CODE.first[len]) + number as u64;
            let padded = code << (40 - len) | ((1 << (40 - len)) - 1);
            let bytes = &padded.to_be_bytes()[3..3 + len.div_ceil(8)];
            let mut out = Vec::new();
            assert_eq!(decode(bytes, &mut out), Some(()));
            assert_eq!(out, [u8::try_from(symbol).unwrap()]);
        }
    }

    #[test]
    fn the_end_of_string_and_too_much_padding_are_faults() {
        assert!(decoded(&[0xff; 4]).is_none());
        assert!(decoded(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf, 0xff, 0xff]).is_none());
    }
}
