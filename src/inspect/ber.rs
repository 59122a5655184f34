//! BER elements (ITU-T X.690 §8.1), as far as the bytes are there; for LDAP, SNMP and Kerberos.
//!
//! Only what these allow: tags of one byte, definite lengths. An element must lie in its parent.

use super::look::{Fault, Look, OrShort, ensure};

/// An element whose body may not be there in full.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    /// Class, form and number.
    pub(super) tag: u8,
    /// Length of the body as printed.
    pub(super) len: usize,
    /// Bytes before the body.
    pub(super) header_len: usize,
    /// The body, as much of it as is there.
    pub(super) body: &'a [u8],
}

impl<'a> Element<'a> {
    /// Returns the length of header and body.
    pub(super) fn total_len(&self) -> usize {
        self.header_len.saturating_add(self.len)
    }

    /// Tells whether the whole body is there.
    pub(super) fn is_whole(&self) -> bool {
        self.body.len() == self.len
    }

    /// Begins to read the elements inside.
    pub(super) fn open(&self) -> Walk<'a> {
        Walk { rest: self.body, left: self.len }
    }
}

/// Largest tag of one byte: above, the number goes on in the next one.
const TAG_LONG: u8 = 0x1f;

/// Bytes that a length is written in at most: liblber takes as many as a long has.
const LEN_BYTES_MAX: usize = 8;

/// Returns the element that the bytes begin with.
pub(super) fn first(bytes: &[u8]) -> Look<Element<'_>> {
    let tag = *bytes.first().or_short()?;
    ensure(tag & TAG_LONG != TAG_LONG)?;
    let short = *bytes.get(1).or_short()?;
    let (len, header_len) = if short < 0x80 {
        (usize::from(short), 2)
    } else {
        // 0x80 would be the indefinite form.
        let count = usize::from(short & 0x7f);
        ensure((1..=LEN_BYTES_MAX).contains(&count))?;
        // Four bytes are more than any message has: what is before them is zero.
        let zeros = bytes.get(2..2 + count.saturating_sub(4)).or_short()?;
        ensure(zeros.iter().all(|byte| *byte == 0))?;
        let digits = bytes.get(2 + zeros.len()..2 + count).or_short()?;
        let len = digits.iter().fold(0, |sum: u32, byte| sum << 8 | u32::from(*byte));
        (usize::try_from(len).map_err(|_| Fault::Bad)?, 2 + count)
    };
    let body = bytes.get(header_len..).unwrap_or_default();
    Ok(Element { tag, len, header_len, body: body.get(..len).unwrap_or(body) })
}

/// Reads the elements inside another one.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    rest: &'a [u8],
    /// Bytes of the parent that were not read yet, whether there or not.
    left: usize,
}

impl<'a> Walk<'a> {
    /// Tells whether the parent has no more elements.
    pub(super) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Returns the next element's tag.
    pub(super) fn peek(&self) -> Option<u8> {
        if self.left == 0 { None } else { self.rest.first().copied() }
    }

    /// Takes the next element.
    pub(super) fn next(&mut self) -> Look<Element<'a>> {
        ensure(self.left >= 2)?;
        let element = first(self.rest)?;
        let total = element.total_len();
        ensure(total <= self.left)?;
        self.left -= total;
        self.rest = self.rest.get(total..).unwrap_or_default();
        Ok(element)
    }

    /// Takes the next element, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Look<Element<'a>> {
        if let Some(there) = self.rest.first() {
            ensure(*there == tag)?;
        }
        self.next()
    }

    /// Takes an INTEGER or ENUMERATED of at most four bytes.
    pub(super) fn number(&mut self, tag: u8) -> Look<i32> {
        let element = self.expect(tag)?;
        ensure((1..=4).contains(&element.len))?;
        if !element.is_whole() {
            return Err(Fault::Short);
        }
        let sign = if element.body[0] & 0x80 == 0 { 0 } else { -1 };
        Ok(element.body.iter().fold(sign, |sum: i32, byte| sum << 8 | i32::from(*byte)))
    }
}

/// Universal tags.
pub(super) mod tag {
    pub(in crate::inspect) const INTEGER: u8 = 0x02;
    pub(in crate::inspect) const OCTETS: u8 = 0x04;
    pub(in crate::inspect) const OID: u8 = 0x06;
    pub(in crate::inspect) const ENUMERATED: u8 = 0x0a;
    pub(in crate::inspect) const SEQUENCE: u8 = 0x30;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_come_short_and_long() {
        let short = first(&[0x30, 3, 2, 1, 5]).unwrap_or_else(|_| panic!("an element"));
        assert_eq!((short.len, short.header_len, short.is_whole()), (3, 2, true));
        let long = [0x30, 0x84, 0, 0, 0, 3, 2, 1, 5];
        let long = first(&long).unwrap_or_else(|_| panic!("an element"));
        assert_eq!((long.len, long.header_len), (3, 6));
        assert_eq!(long.open().number(tag::INTEGER), Ok(5));
        let longer = [0x30, 0x85, 0, 0, 0, 0, 3, 2, 1, 5];
        let longer = first(&longer).unwrap_or_else(|_| panic!("an element"));
        assert_eq!((longer.len, longer.header_len, longer.is_whole()), (3, 7, true));
        assert!(matches!(first(&[0x30, 0x85, 1, 0, 0, 0, 3]), Err(Fault::Bad)));
        assert!(matches!(first(&[0x30, 0x80]), Err(Fault::Bad)));
        assert!(matches!(first(&[0x30, 0x82, 1]), Err(Fault::Short)));
    }

    #[test]
    fn an_element_lies_in_its_parent() {
        let parent = first(&[0x30, 3, 4, 9, 1]).unwrap_or_else(|_| panic!("an element"));
        assert!(matches!(parent.open().next(), Err(Fault::Bad)));
    }

    #[test]
    fn numbers_are_signed() {
        let parent = first(&[0x30, 3, 2, 1, 0xff]).unwrap_or_else(|_| panic!("an element"));
        assert_eq!(parent.open().number(tag::INTEGER), Ok(-1));
    }
}
