//! A cursor over hostile bytes: every read may find too few, none panics.

/// Reads big-endian fields from the front of a slice.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first of the bytes.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns what has not been read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Tells whether everything was read.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes the next `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    /// Takes up to `len` bytes: what there is of a field that was cut.
    pub(super) fn take_upto(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Takes the next bytes as an array.
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    /// Takes one byte.
    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes two bytes.
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Takes three bytes.
    pub(super) fn u24(&mut self) -> Option<u32> {
        self.array::<3>().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// Takes four bytes.
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes eight bytes.
    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Takes a field behind its length of one byte.
    pub(super) fn bytes8(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.take(usize::from(len))
    }

    /// Takes a field behind its length of two bytes.
    pub(super) fn bytes16(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// Takes a field behind its length of four bytes.
    pub(super) fn bytes32(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.take(usize::try_from(len).ok()?)
    }
}

/// Tells whether the bytes are text in UTF-8 (or begin such) without control characters.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    let text = match std::str::from_utf8(bytes) {
        Ok(_) => bytes,
        // A character that was cut at the end of what was captured is no fault.
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        Err(_) => return false,
    };
    text.iter().all(|&byte| byte >= 0x20 && byte != 0x7f)
}

/// Tells whether the bytes are a UUID as text (RFC 9562 §4).
pub(super) fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Returns text from the wire, cut to `max` bytes; not escaped, as every output escapes for itself.
pub(super) fn wire_text(bytes: &[u8], max: usize) -> String {
    let cut = bytes.get(..max).unwrap_or(bytes);
    String::from_utf8_lossy(cut).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_longer_than_the_bytes_is_none_and_nothing_is_taken_of_it() {
        let mut reader = Reader::new(&[0, 3, 1, 2]);
        assert!(reader.bytes16().is_none());
        assert_eq!(reader.rest(), [1, 2]);
        assert_eq!(reader.take_upto(9), [1, 2]);
        assert!(reader.is_empty() && reader.u8().is_none());
    }

    #[test]
    fn text_may_be_cut_inside_a_character_but_holds_no_control_characters() {
        assert!(is_text("naïve".as_bytes()));
        assert!(is_text(&"naï".as_bytes()[..3]));
        assert!(!is_text(b"a\0b"));
        assert!(!is_text(&[b'a', 0xff, b'b']));
    }

    #[test]
    fn a_uuid_has_its_dashes_in_place() {
        assert!(is_uuid(b"123e4567-e89b-12d3-a456-426614174000"));
        assert!(!is_uuid(b"123e4567-e89b-12d3-a456-42661417400"));
        assert!(!is_uuid(b"123e4567ee89b-12d3-a456-426614174000"));
    }
}
