//! Tells Thrift by one message: its kind, an identifier as its name, and how its arguments begin.

use crate::inspect::bytes::Reader;
use crate::inspect::look::{Fault, Look, OrShort, any_of, ensure, is_word, verdict};
use crate::inspect::probe::Start;
use crate::inspect::{Probe, Sender};

/// Longest name of a method that is believed, with its service's where several share a connection.
const NAME_LEN_MAX: u32 = 128;

/// Largest frame that is believed: Thrift's own limit of a message; Cassandra's is 15 MB.
const FRAME_LEN_MAX: u32 = 100 << 20;

/// First byte of the compact protocol.
const COMPACT: u8 = 0x82;

/// Kinds of messages.
mod kind {
    pub(super) const CALL: u8 = 1;
    pub(super) const ONE_WAY: u8 = 4;
}

/// Looks at the first bytes of one side.
pub(in crate::inspect) fn probe(start: &Start<'_>) -> Probe {
    let bytes = start.bytes;
    verdict(any_of(&[message(bytes), old(bytes), framed(bytes)]))
}

/// Looks at a datagram; the old protocol is too weak a sign there.
pub(in crate::inspect) fn datagram(bytes: &[u8]) -> Look {
    any_of(&[message(bytes), framed(bytes)])
}

fn message(bytes: &[u8]) -> Look {
    any_of(&[strict(bytes), compact(bytes)])
}

/// A frame's length, then a message that lies in it.
fn framed(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    let len = reader.u32().or_short()?;
    ensure((5..=FRAME_LEN_MAX).contains(&len))?;
    let rest = reader.rest();
    let there = &rest[..rest.len().min(len as usize)];
    let looked = any_of(&[message(there), old(there)]);
    // A message that is cut by its own frame is none.
    if looked == Err(Fault::Short) && there.len() == len as usize {
        Err(Fault::Bad)
    } else {
        looked
    }
}

/// The binary protocol with a version: 80 01, kind, name, number.
fn strict(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    reader.expect(&[0x80, 1])?;
    reader.u8().or_short()?;
    let kind = reader.expect_u8(is_kind)?;
    name(&mut reader)?;
    reader.u32().or_short()?;
    reader.expect_u8(is_field)?;
    Ok(sender(kind))
}

/// The binary protocol without: name, kind, number.
fn old(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    let method = name(&mut reader)?;
    ensure(method.len() >= 3)?;
    let kind = reader.expect_u8(is_kind)?;
    reader.u32().or_short()?;
    if reader.expect_u8(is_field)? != 0 {
        // Numbers of fields are small; results have 0.
        ensure(reader.u16().or_short()? <= 255)?;
    }
    Ok(sender(kind))
}

/// The compact protocol: 82, kind and version, number, name.
fn compact(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    reader.expect(&[COMPACT])?;
    let kind = reader.expect_u8(|byte| byte & 0x1f == 1 && is_kind(byte >> 5))? >> 5;
    reader.varint(5)?;
    let len = reader.varint(2)?;
    ensure((1..=u64::from(NAME_LEN_MAX)).contains(&len))?;
    identifier(&mut reader, usize::try_from(len).unwrap_or(usize::MAX))?;
    // A field's type in the lower half, or the end.
    reader.expect_u8(|byte| byte == 0 || matches!(byte & 0x0f, 1..=13))?;
    Ok(sender(kind))
}

fn name<'a>(reader: &mut Reader<'a>) -> Look<&'a [u8]> {
    let there = &reader.rest()[..reader.rest().len().min(3)];
    ensure(there.iter().all(|byte| *byte == 0))?;
    let len = reader.u32().or_short()?;
    ensure((1..=NAME_LEN_MAX).contains(&len))?;
    identifier(reader, len as usize)
}

fn identifier<'a>(reader: &mut Reader<'a>, len: usize) -> Look<&'a [u8]> {
    ensure(
        reader.rest().first().is_none_or(|first| first.is_ascii_alphabetic() || *first == b'_'),
    )?;
    reader.expect_all(len, is_word)
}

fn is_kind(kind: u8) -> bool {
    (kind::CALL..=kind::ONE_WAY).contains(&kind)
}

/// Types of fields (`TType`), and the end of a struct.
fn is_field(kind: u8) -> bool {
    matches!(kind, 0 | 2..=4 | 6 | 8 | 10..=16)
}

fn sender(kind: u8) -> Sender {
    if matches!(kind, kind::CALL | kind::ONE_WAY) { Sender::Initiator } else { Sender::Responder }
}
