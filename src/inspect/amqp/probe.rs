//! Tells AMQP by its header, or by one frame of a connection that was joined midway.

use crate::inspect::bytes::Reader;
use crate::inspect::look::{Fault, Look, OrShort, any_of, ensure, verdict};
use crate::inspect::probe::Start;
use crate::inspect::{Probe, Sender};

use super::Version;

/// What stands behind "AMQP" in a header, and what is spoken then; `None` is TLS.
pub(super) const HEADERS: [([u8; 4], Option<Version>); 8] = [
    ([0, 0, 9, 1], Some(Version::V0)),
    ([1, 1, 0, 9], Some(Version::V0)),
    ([1, 1, 9, 1], Some(Version::V0)),
    ([1, 1, 8, 0], Some(Version::V0)),
    ([1, 1, 0, 10], Some(Version::V0_10)),
    ([0, 1, 0, 0], Some(Version::V1)),
    ([3, 1, 0, 0], Some(Version::V1)),
    ([2, 1, 0, 0], None),
];

/// End of a frame before 0-10 (AMQP 0-9-1 §2.3).
const FRAME_END: u8 = 0xce;

/// Largest frame that is believed at the beginning of a stream.
const FRAME_LEN_MAX: u32 = 16 << 20;

/// Looks at the first bytes of one side.
///
/// A server answers a header that it does not like, and anything else, with its own: so a header alone
/// does not tell the client.
pub(in crate::inspect) fn probe(start: &Start<'_>) -> Probe {
    let bytes = start.bytes;
    verdict(any_of(&[header(bytes), frame(bytes), frame_0_10(bytes), frame_1(bytes)]))
}

fn header(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    reader.expect(b"AMQP")?;
    let there = reader.rest();
    let there = &there[..there.len().min(4)];
    ensure(HEADERS.iter().any(|(known, _)| known.starts_with(there)))?;
    reader.take(4).or_short()?;
    Ok(Sender::Either)
}

/// A frame of 0-8 to 0-9-1: type, channel, length, body, end.
fn frame(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    let kind = reader.expect_u8(|kind| matches!(kind, 1..=3 | 8))?;
    let channel = reader.u16().or_short()?;
    let len = reader.u32().or_short()?;
    ensure(len <= FRAME_LEN_MAX)?;
    let mut body = reader;
    let mut sender = Sender::Either;
    match kind {
        1 => {
            ensure(len >= 4)?;
            let class = body.u16().or_short()?;
            ensure(matches!(class, 10 | 20 | 30 | 40 | 50 | 60 | 70 | 80 | 85 | 90))?;
            let method = body.u16().or_short()?;
            ensure((1..=120).contains(&method))?;
            match (class, method) {
                // Start and its answer.
                (10, 10) => sender = Sender::Responder,
                (10, 11) => sender = Sender::Initiator,
                _ => {}
            }
        }
        2 => {
            // A content header: class, a weight of 0, the body's length.
            ensure(len >= 14)?;
            ensure(body.u16().or_short()? == 60)?;
            ensure(body.u16().or_short()? == 0)?;
        }
        3 => ensure(len > 0 && channel > 0)?,
        _ => ensure(len == 0 && channel == 0)?,
    }
    reader.take(len as usize).or_short()?;
    reader.expect(&[FRAME_END])?;
    // A body may be anything's; another frame or nothing must be behind it.
    ensure(kind != 3 || matches!(reader.rest(), [] | [1..=3 | 8, ..]))?;
    Ok(sender)
}

/// A control of 0-10 (AMQP 0-10 §4.4.1): flags, type, length, track, channel, class and code.
fn frame_0_10(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    reader.expect(&[0x0f, 0])?;
    ensure(reader.u16().or_short()? >= 14)?;
    reader.expect(&[0, 0])?;
    reader.u16().or_short()?;
    reader.expect(&[0; 4])?;
    let class = reader.expect_u8(|class| matches!(class, 1 | 2))?;
    let code = reader.expect_u8(|code| (1..=12).contains(&code))?;
    Ok(match (class, code) {
        (1, 1 | 3 | 5 | 8) => Sender::Responder,
        (1, 2 | 4 | 6 | 7) => Sender::Initiator,
        _ => Sender::Either,
    })
}

/// A frame of 1.0 (AMQP 1.0 §2.3.1): length, offset of the body, type, channel, a described list.
fn frame_1(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    reader.expect_u8(|high| high == 0)?;
    let len = reader.u24().or_short()?;
    ensure((12..=FRAME_LEN_MAX).contains(&len))?;
    reader.expect(&[2])?;
    let kind = reader.expect_u8(|kind| kind <= 1)?;
    reader.u16().or_short()?;
    reader.expect(&[0, 0x53])?;
    let code = reader.u8().or_short()?;
    let sender = match (kind, code) {
        (0, 0x10..=0x18) => Sender::Either,
        (1, 0x40 | 0x42 | 0x44) => Sender::Responder,
        (1, 0x41 | 0x43) => Sender::Initiator,
        _ => return Err(Fault::Bad),
    };
    reader.expect_u8(|list| matches!(list, 0x45 | 0xc0 | 0xd0))?;
    Ok(sender)
}
