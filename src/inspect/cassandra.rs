//! Cassandra: messages between nodes (`HandshakeProtocol.java`) and CQL's native protocol, versions 1 to 6
//! (`native_protocol_v1.spec` to `v5.spec`). Its Thrift interface is Thrift.

use super::bytes::Reader;
use super::look::{Fault, Look, OrShort, any_of, ensure, is_printable, verdict};
use super::probe::Start;
use super::{Probe, Sender};

/// What a node begins with to another one.
const PROTOCOL_MAGIC: [u8; 4] = [0xca, 0x55, 0x2d, 0xfa];

/// Highest version of the messages between nodes that is believed: 4.0 has 12.
const NODE_VERSION_MAX: u32 = 40;

/// Largest CQL message (`native_protocol_v4.spec` §2.5).
const BODY_LEN_MAX: u32 = 256 << 20;

/// Entries of STARTUP's map: version, compression, and what drivers say of themselves.
const OPTIONS_MAX: u16 = 64;

/// Looks at the first bytes of one side.
pub(super) fn probe(start: &Start<'_>) -> Probe {
    verdict(any_of(&[between_nodes(start.bytes), cql(start.bytes)]))
}

/// Magic number, then flags with the version in bits 8 to 15.
fn between_nodes(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    reader.expect(&PROTOCOL_MAGIC)?;
    let version = reader.u32().or_short()? >> 8 & 0xff;
    ensure((1..=NODE_VERSION_MAX).contains(&version))?;
    Ok(Sender::Initiator)
}

/// A message of CQL whose header and first field fit.
fn cql(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    // DataStax' own versions are 0x41 and 0x42; its drivers try them first.
    let first = reader.expect_u8(|version| matches!(version & 0x7f, 1..=6 | 0x41 | 0x42))?;
    let (version, is_response) = (first & 0x7f, first & 0x80 != 0);
    reader.expect_u8(|flags| flags < 0x20)?;
    if version >= 3 {
        reader.u16().or_short()?;
    } else {
        reader.u8().or_short()?;
    }
    let opcode = reader.expect_u8(|opcode| opcode <= 0x10)?;
    let len = reader.u32().or_short()?;
    ensure(len <= BODY_LEN_MAX)?;
    let mut body = Body { reader, left: u64::from(len) };
    if is_response {
        response(opcode, len, &mut body)?;
        Ok(Sender::Responder)
    } else {
        request(opcode, len, &mut body)?;
        Ok(Sender::Initiator)
    }
}

/// A message's body: fields must lie in it.
struct Body<'a> {
    reader: Reader<'a>,
    left: u64,
}

impl<'a> Body<'a> {
    fn use_up(&mut self, len: u64) -> Look<()> {
        ensure(len <= self.left)?;
        self.left -= len;
        Ok(())
    }

    fn u16(&mut self) -> Look<u16> {
        self.use_up(2)?;
        self.reader.u16().or_short()
    }

    fn u32(&mut self) -> Look<u32> {
        self.use_up(4)?;
        self.reader.u32().or_short()
    }

    /// A string of the alphabet that names have.
    fn name(&mut self) -> Look<&'a [u8]> {
        let len = self.u16()?;
        self.use_up(u64::from(len))?;
        ensure(len > 0)?;
        self.reader.expect_all(usize::from(len), is_printable)
    }

    /// A query's text: as much as is there has to be text.
    fn query(&mut self) -> Look<()> {
        let len = self.u32()?;
        self.use_up(u64::from(len))?;
        ensure(len >= 4)?;
        let shown = usize::try_from(len).unwrap_or(usize::MAX).min(16);
        self.reader
            .expect_all(shown, |byte| is_printable(byte) || matches!(byte, b'\n' | b'\r' | b'\t'))
            .map(|_| ())
    }
}

fn request(opcode: u8, len: u32, body: &mut Body<'_>) -> Look<()> {
    match opcode {
        // STARTUP: a map that has the version of CQL.
        0x01 => {
            ensure((1..=OPTIONS_MAX).contains(&body.u16()?))?;
            let key = body.name()?;
            ensure(key.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_'))
        }
        // OPTIONS has no body.
        0x05 => ensure(len == 0),
        // QUERY, PREPARE.
        0x07 | 0x09 => body.query(),
        // EXECUTE: the identifier is an MD5 of the query.
        0x0a => {
            ensure(body.u16()? == 16)?;
            body.use_up(16)?;
            body.reader.take(16).or_short()?;
            ensure(body.left >= 2)
        }
        // REGISTER: names of events.
        0x0b => {
            ensure((1..=8).contains(&body.u16()?))?;
            let event = body.name()?;
            ensure(event.ends_with(b"_CHANGE"))
        }
        // BATCH: type and number of queries.
        0x0d => {
            body.use_up(1)?;
            body.reader.expect_u8(|kind| kind <= 2)?;
            ensure(body.u16()? > 0)?;
            body.use_up(1)?;
            body.reader.expect_u8(|kind| kind <= 1).map(|_| ())
        }
        _ => Err(Fault::Bad),
    }
}

fn response(opcode: u8, len: u32, body: &mut Body<'_>) -> Look<()> {
    match opcode {
        // ERROR: a code and a message.
        0x00 => {
            ensure(body.u32()? <= 0x2500)?;
            body.name().map(|_| ())
        }
        // READY has no body.
        0x02 => ensure(len == 0),
        // AUTHENTICATE: a class.
        0x03 => {
            let class = body.name()?;
            ensure(class.contains(&b'.'))
        }
        // SUPPORTED: names of options.
        0x06 => {
            ensure((1..=OPTIONS_MAX).contains(&body.u16()?))?;
            body.name().map(|_| ())
        }
        // RESULT: void, rows, keyspace, prepared, schema change.
        0x08 => ensure((1..=5).contains(&body.u32()?)),
        // EVENT.
        0x0c => {
            let event = body.name()?;
            ensure(event.ends_with(b"_CHANGE"))
        }
        _ => Err(Fault::Bad),
    }
}

#[cfg(test)]
mod tests {
    use crate::inspect::Protocol;
    use crate::inspect::probe::Outcome;
    use crate::inspect::testing::{
        CLIENT, SERVER, from_client, hex, named_in_all_pieces, never_named,
    };

    const CASSANDRA: Outcome =
        Outcome::Confirmed { protocol: Protocol::Cassandra, initiator: Some(CLIENT) };

    /// STARTUP of a version, with a stream of one or two bytes.
    fn startup(version: u8) -> Vec<u8> {
        let mut body = vec![0, 1, 0, 11];
        body.extend(b"CQL_VERSION\0\x053.0.0");
        let mut bytes = vec![version, 0, 0];
        bytes.extend((version >= 3).then_some(0));
        bytes.push(1);
        bytes.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn cql_is_told_in_every_version() {
        for version in 1..=6 {
            named_in_all_pieces(CASSANDRA, CLIENT, &startup(version));
        }
        named_in_all_pieces(CASSANDRA, CLIENT, &hex("04 00 0000 05 00000000"));
        named_in_all_pieces(CASSANDRA, CLIENT, &hex("42 00 0000 05 00000000"));
        named_in_all_pieces(CASSANDRA, SERVER, &hex("84 00 0000 02 00000000"));
        assert_eq!(from_client(Protocol::Cassandra), CASSANDRA);
    }

    #[test]
    fn nodes_are_told_by_their_magic_number() {
        named_in_all_pieces(CASSANDRA, CLIENT, &hex("ca552dfa 00000c08"));
        named_in_all_pieces(CASSANDRA, CLIENT, &hex("ca552dfa 00000a00"));
        never_named(&[(CLIENT, hex("ca552dfa 00000000"))]);
    }

    #[test]
    fn lengths_and_opcodes_must_fit() {
        let mut wrong = startup(4);
        wrong[8] = 3;
        never_named(&[(CLIENT, wrong)]);
        never_named(&[(CLIENT, hex("04 00 0000 05 00000001 00"))]);
        never_named(&[(CLIENT, hex("04 00 0000 04 00000000"))]);
        never_named(&[(CLIENT, hex("04 00 0000 07 00000008 00000004 00010203"))]);
    }
}
