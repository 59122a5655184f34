//! The credentials in a client's frames.

use super::probe::HEADERS;
use super::{HEADER_LEN, Step, Version};
use crate::inspect::bytes::Reader;
use crate::inspect::frames::Frame;
use crate::inspect::{Context, EvidenceKind, Uninspected};

/// Fields of AMQPLAIN's table that are looked at.
const FIELDS_MAX: usize = 16;

/// Reads one frame, or a header.
pub(super) fn frame(
    frame: &Frame<'_>,
    version: Option<Version>,
    awaits_response: bool,
    context: &mut Context<'_>,
) -> Step {
    let bytes = frame.bytes;
    if bytes.starts_with(b"AMQP") {
        let told = bytes.get(4..HEADER_LEN);
        let header = HEADERS.iter().find(|(known, _)| told == Some(known));
        return header.map_or(Step::Done, |(_, version)| Step::Begin(*version));
    }
    let found = match version {
        Some(Version::V0) => of_v0(bytes),
        Some(Version::V0_10) => of_v0_10(bytes),
        Some(Version::V1) => of_v1(bytes),
        None => Some(Said::Nothing),
    };
    match found {
        Some(Said::Nothing) => Step::Go,
        Some(Said::Over) => Step::Done,
        Some(Said::Login { mechanism, response: None }) => {
            if mechanism == b"PLAIN" {
                Step::AwaitResponse
            } else {
                Step::Done
            }
        }
        Some(Said::Login { mechanism, response: Some(response) }) => {
            log_in(mechanism, response, frame, context);
            Step::Done
        }
        Some(Said::Response(response)) => {
            if awaits_response {
                context.plain(EvidenceKind::AmqpLogin, frame.at, response);
            }
            Step::Done
        }
        // The frame ends too early, or is longer than what is held.
        None => {
            if !frame.is_whole() {
                context.facts.uninspected.add(Uninspected::LIMIT);
            }
            Step::Done
        }
    }
}

/// What a frame says of a login.
enum Said<'a> {
    /// Nothing: the login is still to come.
    Nothing,
    /// It was before, or there was none.
    Over,
    /// The mechanism, with its response where that is not left for later.
    Login { mechanism: &'a [u8], response: Option<&'a [u8]> },
    /// What answers the server's challenge.
    Response(&'a [u8]),
}

fn log_in(mechanism: &[u8], response: &[u8], frame: &Frame<'_>, context: &mut Context<'_>) {
    match mechanism {
        b"PLAIN" => context.plain(EvidenceKind::AmqpLogin, frame.at, response),
        b"AMQPLAIN" => {
            let (user, password) = amqplain(response);
            context.login(EvidenceKind::AmqpLogin, frame.at, user, password);
        }
        _ => {}
    }
}

/// Returns user and password of a table: name, type `S`, long string (AMQP 0-8's default mechanism).
fn amqplain(table: &[u8]) -> (&[u8], &[u8]) {
    let mut reader = Reader::new(table);
    let (mut user, mut password): (&[u8], &[u8]) = (&[], &[]);
    for _ in 0..FIELDS_MAX {
        let Some(name) = reader.bytes8() else { break };
        if reader.u8() != Some(b'S') {
            break;
        }
        let Some(value) = reader.bytes32() else { break };
        match name {
            b"LOGIN" => user = value,
            b"PASSWORD" => password = value,
            _ => {}
        }
    }
    (user, password)
}

/// Start-ok or secure-ok of 0-8 to 0-9-1 (AMQP 0-9-1 §1.4.2); anything else of another class comes later.
fn of_v0(bytes: &[u8]) -> Option<Said<'_>> {
    let mut reader = Reader::new(bytes);
    let kind = reader.u8()?;
    let (_channel, _len) = (reader.u16()?, reader.u32()?);
    if kind != 1 {
        return Some(Said::Nothing);
    }
    match (reader.u16()?, reader.u16()?) {
        (10, 11) => {
            let _properties = reader.bytes32()?;
            let mechanism = reader.bytes8()?;
            let response = reader.bytes32()?;
            let response = (!response.is_empty()).then_some(response);
            Some(Said::Login { mechanism, response })
        }
        (10, 21) => Some(Said::Response(reader.bytes32()?)),
        (10, _) => Some(Said::Nothing),
        _ => Some(Said::Over),
    }
}

/// Start-ok or secure-ok of 0-10 (AMQP 0-10 §9.1): packed fields, the first octet says which are there.
fn of_v0_10(bytes: &[u8]) -> Option<Said<'_>> {
    let mut reader = Reader::new(bytes);
    let _flags = reader.u8()?;
    let kind = reader.u8()?;
    reader.take(10)?;
    if kind != 0 {
        return Some(Said::Over);
    }
    let [class, code] = [reader.u8()?, reader.u8()?];
    if class != 1 {
        return Some(Said::Over);
    }
    let packed = reader.u8()?;
    reader.u8()?;
    match code {
        2 => {
            if packed & 1 != 0 {
                reader.bytes32()?;
            }
            let mechanism = if packed & 2 == 0 { &[][..] } else { reader.bytes8()? };
            let response = if packed & 4 == 0 { None } else { Some(reader.bytes32()?) };
            Some(Said::Login { mechanism, response: response.filter(|it| !it.is_empty()) })
        }
        4 => Some(Said::Response(if packed & 1 == 0 { &[] } else { reader.bytes32()? })),
        _ => Some(Said::Nothing),
    }
}

/// SASL's init or response of 1.0 (AMQP 1.0 §5.3.3): a described list.
fn of_v1(bytes: &[u8]) -> Option<Said<'_>> {
    let mut reader = Reader::new(bytes);
    let _len = reader.u32()?;
    let body_at = usize::from(reader.u8()?) * 4;
    let kind = reader.u8()?;
    if kind != 1 {
        return Some(Said::Over);
    }
    let Some(body) = bytes.get(body_at.max(8)..).filter(|body| !body.is_empty()) else {
        return Some(Said::Nothing);
    };
    let mut reader = Reader::new(body);
    let described = reader.u8()?;
    if described != 0 {
        return Some(Said::Nothing);
    }
    let code = descriptor(&mut reader)?;
    if !matches!(code, INIT | RESPONSE) {
        return Some(Said::Nothing);
    }
    match reader.u8()? {
        0xc0 => reader.take(2)?,
        0xd0 => reader.take(8)?,
        _ => return Some(Said::Nothing),
    };
    match code {
        INIT => {
            let mechanism = value(&mut reader)?;
            // A list may end before the response.
            let response = if reader.is_empty() { &[] } else { value(&mut reader)? };
            let response = (!response.is_empty()).then_some(response);
            Some(Said::Login { mechanism, response })
        }
        _ => Some(Said::Response(value(&mut reader)?)),
    }
}

/// Codes of the two descriptions that matter.
const INIT: u64 = 0x41;
const RESPONSE: u64 = 0x43;

/// What stands for any other description.
const OTHER: u64 = 0;

/// Takes what describes a list: a code, or the symbol that stands for it (AMQP 1.0 §1.5, §5.3.3).
fn descriptor(reader: &mut Reader<'_>) -> Option<u64> {
    let symbol = match reader.u8()? {
        0x53 => return Some(reader.u8()?.into()),
        0x80 => return reader.u64(),
        0xa3 => reader.bytes8()?,
        0xb3 => reader.bytes32()?,
        _ => return Some(OTHER),
    };
    Some(match symbol {
        b"amqp:sasl-init:list" => INIT,
        b"amqp:sasl-response:list" => RESPONSE,
        _ => OTHER,
    })
}

/// Takes a symbol, string or binary of 1.0; a null is empty.
fn value<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    match reader.u8()? {
        0x40 => Some(&[]),
        0xa0 | 0xa1 | 0xa3 => reader.bytes8(),
        0xb0 | 0xb1 | 0xb3 => reader.bytes32(),
        _ => None,
    }
}
