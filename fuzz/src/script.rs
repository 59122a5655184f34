//! Bytes → what happens in turn: a little language, so that seeds are readable and every mutation of one
//! still means something.
//!
//! `0xF5`, which UTF-8 never has, begins an operation of one byte, some with one byte behind it; all else
//! is data.

/// What begins an operation.
pub const MARK: u8 = 0xF5;

/// What happens next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Op<'a> {
    /// Bytes of the side whose turn it is.
    Data(&'a [u8]),
    /// `00`: the other side's turn.
    Turn,
    /// `01 n`: so many bytes are missing, by powers of two from 16 on.
    Gap(u32),
    /// `02`: the bytes so far are a piece of their own.
    Cut,
    /// `03`: this side sends no more.
    Close,
    /// `04 n`: so many of the last bytes come again, perhaps with other content.
    Back(u32),
    /// `05`: this side resets the connection.
    Reset,
    /// `06 n`: so many bytes more of this piece were not captured.
    Short(u32),
    /// `07`: the same five-tuple opens again.
    Reopen,
    /// `08 n`: the next piece lies so far ahead, and what is between comes behind it.
    Ahead(u32),
}

/// Returns what happens.
pub fn ops(mut rest: &[u8]) -> impl Iterator<Item = Op<'_>> {
    std::iter::from_fn(move || {
        let (&first, behind) = rest.split_first()?;
        if first != MARK {
            let len = rest.iter().position(|byte| *byte == MARK).unwrap_or(rest.len());
            let (data, behind) = rest.split_at(len);
            rest = behind;
            return Some(Op::Data(data));
        }
        let code = behind.first().copied().unwrap_or(MARK);
        let count = size(behind.get(1).copied().unwrap_or(0));
        let (op, len) = match code {
            0 => (Op::Turn, 2),
            1 => (Op::Gap(count), 3),
            2 => (Op::Cut, 2),
            3 => (Op::Close, 2),
            4 => (Op::Back(count), 3),
            5 => (Op::Reset, 2),
            6 => (Op::Short(count), 3),
            7 => (Op::Reopen, 2),
            8 => (Op::Ahead(count), 3),
            // Any other code stands for the mark itself.
            _ => (Op::Data(&rest[..1]), 2),
        };
        rest = rest.get(len..).unwrap_or(&[]);
        Some(op)
    })
}

/// Small counts as they are, larger ones by powers of two up to 2³¹.
fn size(byte: u8) -> u32 {
    match byte {
        0..=15 => u32::from(byte),
        _ => 1 << (4 + (byte - 16) % 28),
    }
}
