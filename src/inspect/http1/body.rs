//! Where a body ends (RFC 9112 §6, §7).

/// Digits that a chunk's length may have; more would be beyond 2^60.
const CHUNK_DIGITS_MAX: u8 = 15;

/// A body that is being passed over.
pub(super) struct Body(Kind);

enum Kind {
    Length(u64),
    Chunk(Chunk),
    UntilClose,
    Over,
    Lost,
}

/// A place in the chunked coding.
#[derive(Clone, Copy)]
enum Chunk {
    /// In the length, so many digits seen.
    Len(u64, u8),
    /// Behind the length, up to the line's end.
    Extension(u64),
    Data(u64),
    /// Behind the data, up to the line's end.
    End,
    /// In a trailer line; empty so far.
    Trailer(bool),
}

impl Body {
    /// A body of so many bytes.
    pub(super) fn length(len: u64) -> Self {
        Self(if len == 0 { Kind::Over } else { Kind::Length(len) })
    }

    /// A body in the chunked coding.
    pub(super) fn chunked() -> Self {
        Self(Kind::Chunk(Chunk::Len(0, 0)))
    }

    /// A body that ends with the connection.
    pub(super) fn until_close() -> Self {
        Self(Kind::UntilClose)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.0, Kind::Over)
    }

    pub(super) fn is_lost(&self) -> bool {
        matches!(self.0, Kind::Lost)
    }

    /// Tells whether only the end of the connection ends it.
    pub(super) fn is_until_close(&self) -> bool {
        matches!(self.0, Kind::UntilClose)
    }

    /// Returns the bytes that may be missing without loss.
    pub(super) fn skippable(&self) -> u64 {
        match self.0 {
            Kind::Length(left) | Kind::Chunk(Chunk::Data(left)) => left,
            Kind::UntilClose => u64::MAX,
            _ => 0,
        }
    }

    /// Leaves out bytes that were never captured; false when they reach beyond what is known.
    pub(super) fn skip(&mut self, len: u64) -> bool {
        if len > self.skippable() {
            return false;
        }
        match &mut self.0 {
            Kind::Length(left) => {
                *left -= len;
                if *left == 0 {
                    self.0 = Kind::Over;
                }
            }
            Kind::Chunk(Chunk::Data(left)) => {
                *left -= len;
                if *left == 0 {
                    self.0 = Kind::Chunk(Chunk::End);
                }
            }
            _ => {}
        }
        true
    }

    /// Takes bytes, hands the content on, and returns how many bytes belonged to the body.
    pub(super) fn take(&mut self, bytes: &[u8], mut content: impl FnMut(&[u8])) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match &mut self.0 {
                Kind::Over | Kind::Lost => break,
                Kind::UntilClose => {
                    content(rest);
                    at = bytes.len();
                }
                Kind::Length(left) | Kind::Chunk(Chunk::Data(left)) => {
                    let len = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    content(&rest[..len]);
                    at += len;
                    self.skip(len as u64);
                }
                Kind::Chunk(Chunk::Trailer(empty)) => {
                    let end = memchr::memchr(b'\n', rest);
                    *empty &= rest[..end.unwrap_or(rest.len())].iter().all(|byte| *byte == b'\r');
                    if end.is_some() {
                        let is_last = *empty;
                        self.0 =
                            if is_last { Kind::Over } else { Kind::Chunk(Chunk::Trailer(true)) };
                    }
                    at += end.map_or(rest.len(), |end| end + 1);
                }
                Kind::Chunk(chunk) => {
                    self.0 = step(*chunk, rest[0]);
                    // A byte that cannot be here is left to whoever reads on.
                    at += usize::from(!matches!(self.0, Kind::Lost));
                }
            }
        }
        at
    }
}

/// Takes one byte of the chunked coding outside the data. White space and signs of a number before the
/// length are accepted, as servers do that use their language's own reading of hexadecimal numbers.
fn step(chunk: Chunk, byte: u8) -> Kind {
    let next = match (chunk, byte) {
        (Chunk::Len(len, digits), byte) if byte.is_ascii_hexdigit() => {
            let digit = char::from(byte).to_digit(16).unwrap_or(0);
            if digits >= CHUNK_DIGITS_MAX {
                return Kind::Lost;
            }
            // Leading zeros are one digit, however many they are.
            let counted = if len == 0 { 1 } else { digits + 1 };
            Chunk::Len(len << 4 | u64::from(digit), counted)
        }
        (Chunk::Len(_, 0), b' ' | b'\t' | b'+') | (Chunk::Len(0, 1), b'x' | b'X') => {
            Chunk::Len(0, 0)
        }
        (Chunk::Len(len, 1..) | Chunk::Extension(len), b'\n') => after_len(len),
        (Chunk::Len(len, 1..), b'\r' | b';' | b' ' | b'\t') | (Chunk::Extension(len), _) => {
            Chunk::Extension(len)
        }
        (Chunk::End, b'\r') => Chunk::End,
        (Chunk::End, b'\n') => Chunk::Len(0, 0),
        _ => return Kind::Lost,
    };
    Kind::Chunk(next)
}

fn after_len(len: u64) -> Chunk {
    if len == 0 { Chunk::Trailer(true) } else { Chunk::Data(len) }
}
