//! Spark's RPC: frames of its network-common library since 1.6, Akka's remoting before.

use super::bytes::Reader;
use super::look::{Look, OrShort, any_of, ensure, verdict};
use super::probe::Start;
use super::{Probe, Sender};

/// Largest frame: `TransportFrameDecoder` refuses what a Java array cannot hold.
const FRAME_LEN_MAX: u64 = 0x7fff_ffff;

/// Length of the frame's own length and its type.
const FRAME_HEADER_LEN: u64 = 9;

/// Longest association of Akka that is believed; it holds two addresses.
const AKKA_LEN_MAX: u32 = 64 << 10;

/// Looks at the first bytes of one side.
pub(super) fn probe(start: &Start<'_>) -> Probe {
    verdict(any_of(&[frame(start.bytes), akka(start.bytes)]))
}

/// A frame whose body's length and own length agree (`Message.java`, `MessageEncoder.java`).
fn frame(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    reader.expect(&[0; 4])?;
    let len = u64::from(reader.u32().or_short()?);
    ensure((FRAME_HEADER_LEN + 4..=FRAME_LEN_MAX).contains(&len))?;
    let kind = reader.u8().or_short()?;
    let (fixed_len, sender) = match kind {
        // Chunk request: stream and index.
        0 => {
            ensure(len == FRAME_HEADER_LEN + 12)?;
            let _stream = reader.u64().or_short()?;
            ensure(reader.u32().or_short()? < 1 << 20)?;
            return Ok(Sender::Initiator);
        }
        // RPC request, answer, failure: number and length of the body.
        3 => (12, Sender::Either),
        4 | 5 => (12, Sender::Responder),
        // Stream request: its name. One-way message: length of the body.
        6 => (4, Sender::Initiator),
        9 => (4, Sender::Either),
        _ => return Err(super::look::Fault::Bad),
    };
    if fixed_len == 12 {
        let _number = reader.u64().or_short()?;
    }
    let body_len = u64::from(reader.u32().or_short()?);
    ensure(len == FRAME_HEADER_LEN + fixed_len + body_len)?;
    Ok(sender)
}

/// Length, then an instruction to associate (field 2) or a payload (field 1) that names an actor system.
fn akka(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    reader.expect(&[0, 0])?;
    let len = u32::from(reader.u16().or_short()?);
    ensure((8..=AKKA_LEN_MAX).contains(&len))?;
    let field = reader.expect_u8(|tag| matches!(tag, 0x0a | 0x12))?;
    let before = reader.rest().len();
    let inner = reader.varint(3)?;
    let digits = before - reader.rest().len();
    ensure(inner + 1 + digits as u64 == u64::from(len))?;
    if field == 0x12 {
        reader.expect(&[0x08])?;
        reader.expect_u8(|command| (1..=6).contains(&command))?;
        reader.expect(&[0x12])?;
    } else {
        reader.expect_u8(|tag| matches!(tag, 0x0a | 0x12))?;
    }
    let body_len = usize::try_from(inner).unwrap_or(usize::MAX);
    let rest = reader.rest();
    let there = &rest[..rest.len().min(body_len)];
    if memchr::memmem::find(there, b"akka").is_some() {
        return Ok(Sender::Either);
    }
    reader.take(body_len).or_short()?;
    Err(super::look::Fault::Bad)
}

#[cfg(test)]
mod tests {
    use crate::inspect::Protocol;
    use crate::inspect::probe::Outcome;
    use crate::inspect::testing::{CLIENT, SERVER, hex, named_in_all_pieces, never_named};

    const SPARK: Outcome = Outcome::Confirmed { protocol: Protocol::Spark, initiator: None };

    #[test]
    fn a_request_is_told_by_lengths_that_agree() {
        let mut request = hex("00000000 00000039 03 4a5b6c7d8e9f0011 00000024");
        request.extend([7; 0x24]);
        named_in_all_pieces(SPARK, CLIENT, &request);
        request[20] ^= 1;
        never_named(&[(CLIENT, request)]);
        named_in_all_pieces(SPARK, CLIENT, &hex("00000000 00000012 09 00000005 0102030405"));
    }

    #[test]
    fn an_answer_alone_names_it_too() {
        let answer = hex("00000000 0000001a 04 4a5b6c7d8e9f0011 00000005 0102030405");
        let expected = Outcome::Confirmed { protocol: Protocol::Spark, initiator: Some(CLIENT) };
        named_in_all_pieces(expected, SERVER, &answer);
    }

    #[test]
    fn the_old_remoting_is_told_by_its_association() {
        let address = b"\x0a\x0bsparkDriver\x12\x03gw1\x18\xb9\x3c\x22\x08akka.tcp";
        let mut handshake = vec![0x0a, u8::try_from(address.len()).unwrap()];
        handshake.extend(address);
        handshake.extend([0x11, 1, 2, 3, 4, 5, 6, 7, 8]);
        let mut instruction = vec![8, 1, 0x12, u8::try_from(handshake.len()).unwrap()];
        instruction.extend(handshake);
        let inner = u8::try_from(instruction.len()).unwrap();
        let mut bytes = vec![0, 0, 0, inner + 2, 0x12, inner];
        bytes.extend(&instruction);
        named_in_all_pieces(SPARK, CLIENT, &bytes);
        bytes[5] += 1;
        never_named(&[(CLIENT, bytes)]);
    }
}
