//! The grammar of a probe: fields are read and checked one by one, and the first that is missing or wrong
//! ends the look.
//!
//! A look checks what is there before it asks for more, so that bytes of something else are excluded as
//! early as they show it.

use super::bytes::Reader;
use super::{Probe, Sender};

/// Why a look at bytes has not found the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bytes end before that can be said.
    Short,
    /// They are something else.
    Bad,
}

/// What a look at bytes gives.
pub(super) type Look<T = Sender> = Result<T, Fault>;

/// Turns a look into a probe's verdict.
pub(super) fn verdict(look: Look) -> Probe {
    match look {
        Ok(sender) => Probe::Confirmed(sender),
        Err(Fault::Short) => Probe::Undecided,
        Err(Fault::Bad) => Probe::Excluded,
    }
}

/// Ends a look where something does not hold.
pub(super) fn ensure(holds: bool) -> Look<()> {
    if holds { Ok(()) } else { Err(Fault::Bad) }
}

/// Turns "too few" into an end of the look.
pub(super) trait OrShort<T> {
    /// Returns the value, or the fault of bytes that are too few.
    fn or_short(self) -> Look<T>;
}

impl<T> OrShort<T> for Option<T> {
    fn or_short(self) -> Look<T> {
        self.ok_or(Fault::Short)
    }
}

/// Returns the first answer that is no exclusion; one that says yes counts before one that waits.
pub(super) fn any_of(looks: &[Look]) -> Look {
    let yes = looks.iter().find_map(|look| look.ok());
    let waits = looks.contains(&Err(Fault::Short));
    yes.ok_or(if waits { Fault::Short } else { Fault::Bad })
}

impl<'a> Reader<'a> {
    /// Takes exactly these bytes.
    pub(super) fn expect(&mut self, bytes: &[u8]) -> Look<()> {
        let there = &self.rest()[..self.rest().len().min(bytes.len())];
        ensure(bytes.starts_with(there))?;
        self.take(bytes.len()).or_short().map(|_| ())
    }

    /// Takes one byte of a kind.
    pub(super) fn expect_u8(&mut self, fits: impl Fn(u8) -> bool) -> Look<u8> {
        let byte = self.u8().or_short()?;
        ensure(fits(byte))?;
        Ok(byte)
    }

    /// Takes `len` bytes that are all of a kind.
    pub(super) fn expect_all(&mut self, len: usize, fits: impl Fn(u8) -> bool) -> Look<&'a [u8]> {
        let rest: &'a [u8] = self.rest();
        let there = &rest[..rest.len().min(len)];
        ensure(there.iter().all(|byte| fits(*byte)))?;
        self.take(len).or_short()
    }

    /// Takes an unsigned number in base 128, lowest digits first, of at most `digits_max` bytes.
    pub(super) fn varint(&mut self, digits_max: u32) -> Look<u64> {
        let mut value = 0;
        for digit in 0..digits_max {
            let byte = self.u8().or_short()?;
            value |= u64::from(byte & 0x7f) << (7 * digit);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Fault::Bad)
    }
}

/// Tells whether a byte is printable ASCII, a space included.
pub(super) fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e)
}

/// Tells whether a byte may be in a program's identifier.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.:-$".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_shows_before_what_is_missing() {
        let mut reader = Reader::new(b"JX");
        assert_eq!(reader.expect(b"JRMI"), Err(Fault::Bad));
        assert_eq!(Reader::new(b"JR").expect(b"JRMI"), Err(Fault::Short));
        assert_eq!(Reader::new(b"a\0").expect_all(9, is_word), Err(Fault::Bad));
        assert_eq!(Reader::new(b"ab").expect_all(9, is_word), Err(Fault::Short));
    }

    #[test]
    fn a_number_in_base_128_ends_where_it_must() {
        assert_eq!(Reader::new(&[0x80, 0x80, 1]).varint(4), Ok(1 << 14));
        assert_eq!(Reader::new(&[0x80, 0x80]).varint(4), Err(Fault::Short));
        assert_eq!(Reader::new(&[0x80, 0x80]).varint(2), Err(Fault::Bad));
    }

    #[test]
    fn of_several_looks_yes_goes_before_waiting() {
        let yes = Ok(Sender::Either);
        assert_eq!(any_of(&[Err(Fault::Short), yes]), yes);
        assert_eq!(any_of(&[Err(Fault::Bad), Err(Fault::Short)]), Err(Fault::Short));
        assert_eq!(any_of(&[Err(Fault::Bad)]), Err(Fault::Bad));
    }
}
