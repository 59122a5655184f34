//! Tells LDAP by one message whose lengths and operation fit, wherever the stream was joined.

use crate::inspect::ber::{self, Element, tag};
use crate::inspect::look::{Fault, Look, OrShort, ensure, verdict};
use crate::inspect::probe::Start;
use crate::inspect::{Probe, Sender};

/// Largest message that is believed at the beginning of a stream.
const LEN_MAX: usize = 64 << 20;

/// Looks at the first bytes of one side.
pub(in crate::inspect) fn probe(start: &Start<'_>) -> Probe {
    verdict(message(start.bytes))
}

/// Tells whether bytes begin a message.
pub(super) fn is_message(bytes: &[u8]) -> bool {
    message(bytes).is_ok()
}

/// Looks at a datagram, which connectionless LDAP (RFC 1798, and Active Directory) fills.
pub(in crate::inspect) fn datagram(bytes: &[u8], len: usize) -> Look {
    ensure(bytes.first() == Some(&tag::SEQUENCE))?;
    ensure(ber::first(bytes)?.total_len() == len)?;
    message(bytes)
}

/// `SEQUENCE { messageID, protocolOp, controls }` (RFC 4511 §4.1.1).
fn message(bytes: &[u8]) -> Look {
    ensure(bytes.first().is_none_or(|first| *first == tag::SEQUENCE))?;
    let message = ber::first(bytes)?;
    ensure((5..=LEN_MAX).contains(&message.len))?;
    let mut fields = message.open();
    ensure(fields.number(tag::INTEGER)? >= 0)?;
    let operation = fields.next()?;
    let sender = operation_fits(&operation)?;
    if !fields.is_over() && operation.is_whole() {
        // Controls, and nothing behind them.
        fields.expect(0xa0)?;
        ensure(fields.is_over())?;
    }
    Ok(sender)
}

fn operation_fits(operation: &Element<'_>) -> Look {
    let mut fields = operation.open();
    match operation.tag {
        // Bind: version, name, simple or SASL.
        0x60 => {
            ensure(matches!(fields.number(tag::INTEGER)?, 1..=3))?;
            let name = fields.expect(tag::OCTETS)?;
            ensure(name.len <= 64 << 10)?;
            if !name.is_whole() {
                // A long name does not fit into what is kept; its place says enough.
                return if name.len > 512 { Ok(Sender::Initiator) } else { Err(Fault::Short) };
            }
            ensure(matches!(fields.next()?.tag, 0x80 | 0xa3))?;
        }
        // Unbind, abandon, delete: nothing, a number, a name.
        0x42 => ensure(operation.len == 0)?,
        0x50 => {
            ensure((1..=4).contains(&operation.len))?;
        }
        0x4a => name(operation)?,
        // Search: base, scope, aliases, and the two limits.
        0x63 => {
            name(&fields.expect(tag::OCTETS)?)?;
            ensure(matches!(fields.number(tag::ENUMERATED)?, 0..=3))?;
            ensure(matches!(fields.number(tag::ENUMERATED)?, 0..=3))?;
            fields.number(tag::INTEGER)?;
        }
        // Modify, add, compare: name and list; rename: two names.
        0x66 | 0x68 | 0x6e => {
            name(&fields.expect(tag::OCTETS)?)?;
            fields.expect(tag::SEQUENCE)?;
        }
        0x6c => {
            name(&fields.expect(tag::OCTETS)?)?;
            name(&fields.expect(tag::OCTETS)?)?;
        }
        // Extended: an object's number as text.
        0x77 => {
            let oid = fields.expect(0x80)?;
            ensure((3..=128).contains(&oid.len))?;
            ensure(oid.body.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.'))?;
        }
        _ => return answer(operation),
    }
    Ok(Sender::Initiator)
}

fn answer(operation: &Element<'_>) -> Look {
    let mut fields = operation.open();
    match operation.tag {
        // Results: code, name, text.
        0x61 | 0x65 | 0x67 | 0x69 | 0x6b | 0x6d | 0x6f | 0x78 => {
            ensure((0..=0x2000).contains(&fields.number(tag::ENUMERATED)?))?;
            name(&fields.expect(tag::OCTETS)?)?;
            fields.expect(tag::OCTETS)?;
        }
        // An entry: name and attributes.
        0x64 => {
            name(&fields.expect(tag::OCTETS)?)?;
            fields.expect(tag::SEQUENCE)?;
        }
        // A reference: addresses.
        0x73 => name(&fields.expect(tag::OCTETS)?)?,
        0x79 => {
            ensure(matches!(fields.next()?.tag, 0x80 | 0x81))?;
        }
        _ => return Err(Fault::Bad),
    }
    Ok(Sender::Responder)
}

/// A name is text; all of it must be there before what is behind it can be read.
fn name(element: &Element<'_>) -> Look<()> {
    ensure(element.body.iter().all(|byte| *byte >= 0x20 && *byte != 0x7f))?;
    element.is_whole().then_some(()).or_short()
}
