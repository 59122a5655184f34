//! JSON that a terminal shows as it is.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::Formatter;

use crate::error::is_unprintable;

/// Returns a value as one line of [`Careful`] JSON, its end included.
pub fn line(value: &impl Serialize) -> serde_json::Result<String> {
    let mut line = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut line, Careful))?;
    line.push(b'\n');
    String::from_utf8(line).map_err(serde::de::Error::custom)
}

/// Compact JSON in which every character that could do something to a terminal is a `\u` escape: the
/// same text to a parser, harmless to `cat`.
pub struct Careful;

impl Formatter for Careful {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // serde_json has taken out everything below a space.
        if fragment.is_ascii() && memchr::memchr(0x7f, fragment.as_bytes()).is_none() {
            return writer.write_all(fragment.as_bytes());
        }
        let mut clean = 0;
        for (at, character) in fragment.char_indices().filter(|(_, c)| is_unprintable(*c)) {
            writer.write_all(&fragment.as_bytes()[clean..at])?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            clean = at + character.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[clean..])
    }
}
