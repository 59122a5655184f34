//! Kafka: size, key of the call, version, number, client (`RequestHeader.json`).

use super::bytes::Reader;
use super::look::{Look, OrShort, any_of, ensure, is_printable, verdict};
use super::probe::Start;
use super::{Probe, Sender};

/// Largest request: `socket.request.max.bytes` is 100 MiB.
const SIZE_MAX: u32 = 100 << 20;

/// Highest key of a call that is believed; Kafka 4 has 92.
const KEY_MAX: u16 = 100;

/// Highest version of a call that is believed.
const VERSION_MAX: u16 = 20;

/// `ApiVersions`, what clients begin with since 0.10.
const API_VERSIONS: u16 = 18;

/// `Metadata`, what they began with before.
const METADATA: u16 = 3;

/// Looks at the first bytes of one side.
///
/// A request's header is a weak sign: it takes a body that fits, a second request or an answer with the
/// same number.
pub(super) fn probe(start: &Start<'_>) -> Probe {
    verdict(any_of(&[request(start), response(start)]))
}

/// What a request's header says.
#[derive(Clone, Copy)]
struct Header<'a> {
    size: u32,
    key: u16,
    version: u16,
    number: u32,
    client: Option<&'a [u8]>,
}

fn header<'a>(reader: &mut Reader<'a>) -> Look<Header<'a>> {
    reader.expect_u8_peek(|byte| byte <= 6)?;
    let size = reader.u32().or_short()?;
    ensure((10..=SIZE_MAX).contains(&size))?;
    let key = reader.u16().or_short()?;
    ensure(key <= KEY_MAX)?;
    let version = reader.u16().or_short()?;
    ensure(version <= VERSION_MAX)?;
    let number = reader.u32().or_short()?;
    let client_len = reader.u16().or_short()?;
    let client = if client_len == u16::MAX {
        None
    } else {
        ensure(client_len <= 255 && u32::from(client_len) + 10 <= size)?;
        Some(reader.expect_all(usize::from(client_len), is_printable)?)
    };
    Ok(Header { size, key, version, number, client })
}

fn request(start: &Start<'_>) -> Look {
    let mut reader = Reader::new(start.bytes);
    let first = header(&mut reader)?;
    let header_len = start.bytes.len() - reader.rest().len();
    let body_len = (first.size as usize + 4).checked_sub(header_len).unwrap_or(usize::MAX);
    match (first.key, first.version) {
        // No body in the first three versions; then fields that are tagged.
        (API_VERSIONS, 0..=2) => {
            // Some clients send an empty list of calls.
            ensure(matches!(body_len, 0 | 4) && first.number < 1 << 24)?;
            // Bytes of an empty body and of an empty name could be anything's.
            ensure(first.client.is_some_and(|client| !client.is_empty()))?;
            reader.expect(&[0; 4][..body_len])?;
            return Ok(Sender::Initiator);
        }
        (API_VERSIONS, _) => return software(&mut reader, body_len),
        (METADATA, 0..=8) if topics(&mut reader, body_len)? && first.client.is_some() => {
            return Ok(Sender::Initiator);
        }
        _ => {}
    }
    if let Some(behind) = start.bytes.get(first.size as usize + 4..)
        && !behind.is_empty()
    {
        let second = header(&mut Reader::new(behind))?;
        ensure(second.client == first.client)?;
        if second.number == first.number.wrapping_add(1) {
            return Ok(Sender::Initiator);
        }
    }
    answers(start.bytes, start.other).map(|()| Sender::Initiator)
}

/// Tagged fields, then the client's software and its version as compact strings (KIP-511).
fn software(reader: &mut Reader<'_>, body_len: usize) -> Look {
    ensure((3..=512).contains(&body_len))?;
    reader.expect(&[0])?;
    let mut used = 1;
    for _ in 0..2 {
        let len = usize::try_from(reader.varint(2)?).unwrap_or(usize::MAX);
        ensure((1..=256).contains(&len))?;
        let name = reader.expect_all(len - 1, is_printable)?;
        used += if len > 128 { 2 } else { 1 } + name.len();
    }
    reader.expect(&[0])?;
    ensure(used + 1 == body_len)?;
    Ok(Sender::Initiator)
}

/// Names of topics, of which none or one fits; tells whether that is enough.
fn topics(reader: &mut Reader<'_>, body_len: usize) -> Look<bool> {
    ensure(body_len >= 4)?;
    let count = reader.u32().or_short()?;
    if count == 0 || count == u32::MAX {
        ensure(body_len <= 8)?;
        return Ok(false);
    }
    ensure(count <= 100_000)?;
    let len = usize::from(reader.u16().or_short()?);
    ensure((1..=249).contains(&len) && len + 6 <= body_len)?;
    reader.expect_all(len, |byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))?;
    Ok(true)
}

/// An answer: its number is that of the other side's request.
fn response(start: &Start<'_>) -> Look {
    answers(start.other, start.bytes).map(|()| Sender::Responder)
}

/// Tells whether bytes begin an answer to a request.
fn answers(request: &[u8], response: &[u8]) -> Look<()> {
    let mut reader = Reader::new(response);
    reader.expect_u8_peek(|byte| byte <= 6)?;
    let size = reader.u32().or_short()?;
    ensure((4..=SIZE_MAX).contains(&size))?;
    let number = reader.u32().or_short()?;
    let asked = header(&mut Reader::new(request))?;
    ensure(asked.number == number && size > 4)?;
    // Without a client's name, zeros on both sides would do.
    ensure(asked.client.is_some_and(|client| !client.is_empty()) || asked.key | asked.version > 0)
}

impl Reader<'_> {
    /// Checks the next byte without taking it.
    fn expect_u8_peek(&self, fits: impl Fn(u8) -> bool) -> Look<()> {
        ensure(fits(*self.rest().first().or_short()?))
    }
}

#[cfg(test)]
mod tests {
    use crate::inspect::Protocol;
    use crate::inspect::probe::Outcome;
    use crate::inspect::testing::{
        CLIENT, SERVER, from_client, named_in_all_pieces, never_named, probe,
    };

    const KAFKA: Outcome =
        Outcome::Confirmed { protocol: Protocol::Kafka, initiator: Some(CLIENT) };

    fn call(key: u16, version: u16, number: u32, client: &[u8], body: &[u8]) -> Vec<u8> {
        let mut bytes =
            u32::try_from(10 + client.len() + body.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(key.to_be_bytes());
        bytes.extend(version.to_be_bytes());
        bytes.extend(number.to_be_bytes());
        bytes.extend(u16::try_from(client.len()).unwrap().to_be_bytes());
        bytes.extend(client);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn the_first_call_of_a_client_names_it() {
        named_in_all_pieces(KAFKA, CLIENT, &call(18, 0, 1, b"rdkafka", b""));
        named_in_all_pieces(KAFKA, CLIENT, &call(18, 0, 4, b"rdkafka", &[0; 4]));
        let body = b"\0\x12apache-kafka-java\x063.7.0\0";
        named_in_all_pieces(KAFKA, CLIENT, &call(18, 3, 0, b"console-producer", body));
        named_in_all_pieces(KAFKA, CLIENT, &call(3, 1, 7, b"sarama", b"\0\0\0\x01\0\x05audit"));
        assert_eq!(from_client(Protocol::Kafka), KAFKA);
    }

    #[test]
    fn another_call_needs_an_answer_or_a_second_one() {
        let fetch = call(1, 11, 77, b"consumer-1", &[0; 40]);
        never_named(&[(CLIENT, fetch.clone())]);
        let answer = b"\0\0\0\x20\0\0\0\x4d\0\0\0\0".to_vec();
        let talk = [(CLIENT, fetch.clone()), (SERVER, answer)];
        assert_eq!(probe([50_001, 50_000], &talk), KAFKA);
        let other = b"\0\0\0\x20\0\0\0\x4e\0\0\0\0".to_vec();
        never_named(&[(CLIENT, fetch.clone()), (SERVER, other)]);
        let mut two = fetch;
        two.extend(call(1, 11, 78, b"consumer-1", &[0; 40]));
        named_in_all_pieces(KAFKA, CLIENT, &two);
    }

    #[test]
    fn a_header_that_does_not_fit_is_none() {
        never_named(&[(CLIENT, call(18, 0, 1, b"", b""))]);
        never_named(&[(CLIENT, call(18, 0, 1, b"x\x01", b""))]);
        never_named(&[(CLIENT, call(18, 0, 1, b"rdkafka", b"\0\0\0\x01"))]);
        never_named(&[(CLIENT, call(200, 0, 1, b"rdkafka", b""))]);
    }
}
