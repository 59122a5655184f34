//! The calls that carry a password, and their arguments.

use crate::inspect::bytes::Reader;
use crate::inspect::look::{Fault, Look, OrShort, ensure, is_word};

/// Fields of an argument struct and entries of a map that are read.
const FIELDS_MAX: usize = 16;

/// Longest name of a service before a call's that is believed.
pub(super) const SERVICE_LEN_MAX: usize = 96;

/// A call that was found in a stream.
pub(super) struct Call {
    /// Offset of the message's first byte.
    pub(super) begins_at: usize,
    /// Offset of its arguments.
    arguments_at: usize,
    is_compact: bool,
}

/// A user's name and password.
type Credentials<'a> = (&'a [u8], &'a [u8]);

/// Looks whether a name that was found at an offset, with its length or a colon before it, is a call's.
pub(super) fn call_at(bytes: &[u8], found_at: usize, found_len: usize) -> Option<Call> {
    if bytes.get(found_at) != Some(&b':') {
        return named_at(bytes, found_at);
    }
    let end = found_at + found_len;
    let earliest = found_at.saturating_sub(SERVICE_LEN_MAX + 1);
    let service = bytes[earliest..found_at].iter().rev().take_while(|byte| is_word(**byte)).count();
    // The length, which may look like a letter itself, lies behind one of these bytes or before the first.
    (found_at.saturating_sub(service + 1).max(earliest)..found_at)
        .filter(|at| usize::from(bytes[*at]) == end - at - 1)
        .find_map(|at| named_at(bytes, at))
}

/// Looks whether a name, whose length is at an offset, is a call's.
fn named_at(bytes: &[u8], name_at: usize) -> Option<Call> {
    let behind = name_at + 1 + usize::from(*bytes.get(name_at)?);
    let before = &bytes[..name_at];
    if let Some(front) = before.strip_suffix(&[0, 0, 0]) {
        return match front {
            // Strict: the version and the kind are before the name.
            [.., 0x80, 1, _, 1 | 4] => Some(Call {
                begins_at: front.len() - 4,
                arguments_at: behind + 4,
                is_compact: false,
            }),
            // Old: the kind is behind it, or still to come.
            _ => matches!(bytes.get(behind), None | Some(1 | 4)).then_some(Call {
                begins_at: front.len(),
                arguments_at: behind + 5,
                is_compact: false,
            }),
        };
    }
    // Compact: first byte, kind, and a number of one to five bytes.
    (1..=5).find_map(|digits| {
        let begins_at = name_at.checked_sub(digits + 2)?;
        let [first, kind, number @ ..] = &bytes[begins_at..name_at] else { return None };
        let (last, high) = number.split_last()?;
        let fits = *first == 0x82
            && matches!(kind, 0x21 | 0x81)
            && last & 0x80 == 0
            && high.iter().all(|digit| digit & 0x80 != 0);
        fits.then_some(Call { begins_at, arguments_at: behind, is_compact: true })
    })
}

/// Reads user and password of a call.
pub(super) fn credentials<'a>(bytes: &'a [u8], call: &Call) -> Look<Credentials<'a>> {
    let arguments = bytes.get(call.arguments_at..).or_short()?;
    if !call.is_compact && bytes.get(call.begins_at) != Some(&0x80) {
        ensure(matches!(bytes[call.arguments_at - 5], 1 | 4))?;
    }
    let mut fields = Fields { reader: Reader::new(arguments), is_compact: call.is_compact };
    let mut strings: [Option<&[u8]>; 2] = [None; 2];
    let mut last = 0;
    for _ in 0..FIELDS_MAX {
        let Some((id, kind)) = fields.field(&mut last)? else { break };
        match (id, kind) {
            (1 | 2, Kind::Text) => strings[usize::from(id - 1)] = Some(fields.text()?),
            (1, Kind::Struct) => return fields.request(),
            _ => return Err(Fault::Bad),
        }
    }
    match strings {
        [Some(user), Some(password)] => Ok((user, password)),
        _ => Err(Fault::Bad),
    }
}

/// Types of the fields that are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Struct,
    Map,
    Other,
}

/// Reads fields of either protocol.
struct Fields<'a> {
    reader: Reader<'a>,
    is_compact: bool,
}

impl<'a> Fields<'a> {
    /// Takes a field's number and type; `None` at the end of the struct.
    fn field(&mut self, last: &mut u16) -> Look<Option<(u16, Kind)>> {
        let byte = self.reader.u8().or_short()?;
        if byte == 0 {
            return Ok(None);
        }
        if !self.is_compact {
            let kind = match byte {
                11 => Kind::Text,
                12 => Kind::Struct,
                13 => Kind::Map,
                _ => Kind::Other,
            };
            return Ok(Some((self.reader.u16().or_short()?, kind)));
        }
        let kind = match byte & 0x0f {
            8 => Kind::Text,
            11 => Kind::Map,
            12 => Kind::Struct,
            _ => Kind::Other,
        };
        let id = match u16::from(byte >> 4) {
            // The number itself, in zigzag.
            0 => u16::try_from(self.reader.varint(3)? >> 1).map_err(|_| Fault::Bad)?,
            step => *last + step,
        };
        ensure(id < 1 << 12)?;
        *last = id;
        Ok(Some((id, kind)))
    }

    fn text(&mut self) -> Look<&'a [u8]> {
        if self.is_compact {
            let len = usize::try_from(self.reader.varint(5)?).map_err(|_| Fault::Bad)?;
            self.reader.take(len).or_short()
        } else {
            self.reader.bytes32().or_short()
        }
    }

    /// Reads Cassandra's `AuthenticationRequest`: a map of `username` and `password`.
    fn request(&mut self) -> Look<Credentials<'a>> {
        let Some((1, Kind::Map)) = self.field(&mut 0)? else { return Err(Fault::Bad) };
        let count = if self.is_compact {
            let count = self.reader.varint(5)?;
            ensure(count == 0 || self.reader.u8().or_short()? == 0x88)?;
            count
        } else {
            ensure(self.reader.u16().or_short()? == 0x0b0b)?;
            u64::from(self.reader.u32().or_short()?)
        };
        ensure(count <= FIELDS_MAX as u64)?;
        let (mut user, mut password): Credentials<'a> = (&[], &[]);
        for _ in 0..count {
            let (key, value) = (self.text()?, self.text()?);
            match key {
                b"username" => user = value,
                b"password" => password = value,
                _ => {}
            }
        }
        Ok((user, password))
    }
}
