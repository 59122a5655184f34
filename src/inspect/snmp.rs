//! SNMP v1, v2c (RFC 1157, RFC 3416) and v3 (RFC 3412) over UDP: communities travel in clear.

use super::ber::{self, Walk, tag};
use super::look::{Fault, Look, OrShort, ensure};
use super::probe::Datagram;
use super::{Context, EvidenceKind, Sender};
use crate::packet::At;

/// Ports of agents and of those who take traps (RFC 3417 §3.1).
const PORTS: [u16; 2] = [161, 162];

/// Longest community that is believed.
const COMMUNITY_LEN_MAX: usize = 255;

/// Communities that agents ship with.
const DEFAULTS: [&[u8]; 2] = [b"public", b"private"];

/// Kinds of messages (RFC 3416 §3, RFC 1157 §4.1).
mod pdu {
    pub(super) const GET: u8 = 0xa0;
    pub(super) const RESPONSE: u8 = 0xa2;
    pub(super) const TRAP_1: u8 = 0xa4;
    pub(super) const TRAP_2: u8 = 0xa7;
    pub(super) const REPORT: u8 = 0xa8;
}

/// Looks at a datagram.
pub(super) fn datagram(it: &Datagram<'_>) -> Look {
    match parse(it)? {
        Message::Community { pdu: pdu::RESPONSE | pdu::REPORT, .. } => Ok(Sender::Responder),
        Message::Community { .. } => Ok(Sender::Initiator),
        Message::V3 => Ok(Sender::Either),
    }
}

/// Counts the community of a request; tells whether the datagram could be read.
pub(super) fn read(datagram: &Datagram<'_>, at: At, context: &mut Context<'_>) -> bool {
    let (community, pdu) = match parse(datagram) {
        Ok(Message::Community { community, pdu }) => (community, pdu),
        Ok(Message::V3) => return true,
        Err(_) => return false,
    };
    // A response and a report say the request's again; a trap asks for nothing.
    let is_request = !matches!(pdu, pdu::RESPONSE | pdu::REPORT | pdu::TRAP_1 | pdu::TRAP_2);
    if !is_request || community.is_empty() {
        return true;
    }
    context.facts.observe(EvidenceKind::SnmpCommunity, at, None);
    if DEFAULTS.contains(&community) {
        context.facts.observe(EvidenceKind::DefaultCredentials, at, None);
    }
    true
}

/// What of a message is in clear.
enum Message<'a> {
    Community { community: &'a [u8], pdu: u8 },
    V3,
}

fn parse<'a>(it: &Datagram<'a>) -> Look<Message<'a>> {
    let bytes = it.bytes;
    ensure(bytes.first().is_none_or(|first| *first == tag::SEQUENCE))?;
    let message = ber::first(bytes)?;
    // On their ports agents are lenient with lengths, and so are we.
    let on_port = it.ports.iter().any(|port| PORTS.contains(port));
    ensure(on_port || message.total_len() == it.len)?;
    let mut fields = message.open();
    match fields.number(tag::INTEGER)? {
        0 | 1 => {
            let community = fields.expect(tag::OCTETS)?;
            ensure(community.len <= COMMUNITY_LEN_MAX)?;
            if !community.is_whole() {
                return Err(Fault::Short);
            }
            let pdu = fields.peek().or_short()?;
            ensure((pdu::GET..=pdu::REPORT).contains(&pdu))?;
            if on_port {
                ensure(community.body.iter().all(u8::is_ascii_graphic))?;
                return Ok(Message::Community { community: community.body, pdu });
            }
            let data = fields.next()?;
            ensure(fields.is_over())?;
            let mut data_fields = data.open();
            if data.tag == pdu::TRAP_1 {
                data_fields.expect(tag::OID)?;
            } else {
                numbers(&mut data_fields)?;
            }
            Ok(Message::Community { community: community.body, pdu: data.tag })
        }
        3 => {
            let mut header = fields.expect(tag::SEQUENCE)?.open();
            header.number(tag::INTEGER)?;
            // Every engine takes 484 bytes (RFC 3412 §6).
            ensure(header.number(tag::INTEGER)? >= 484)?;
            let flags = header.expect(tag::OCTETS)?;
            ensure(flags.len == 1 && *flags.body.first().or_short()? <= 7)?;
            ensure(header.number(tag::INTEGER)? > 0 && header.is_over())?;
            fields.expect(tag::OCTETS)?;
            Ok(Message::V3)
        }
        _ => Err(Fault::Bad),
    }
}

/// Request number, error and its index (or two numbers of a bulk request), and the variables.
fn numbers(fields: &mut Walk<'_>) -> Look<()> {
    for _ in 0..3 {
        let number = fields.expect(tag::INTEGER)?;
        // An unsigned 32-bit number may take five bytes.
        ensure((1..=5).contains(&number.len))?;
    }
    fields.expect(tag::SEQUENCE)?;
    ensure(fields.is_over())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::secret::Fingerprinter;
    use crate::inspect::testing::{at, evidence, hex};
    use crate::inspect::{Facts, Options};

    /// A message of version `version` whose community is `community`.
    fn message(version: u8, community: &[u8], pdu: u8) -> Vec<u8> {
        let mut body = vec![2, 1, version, 4, u8::try_from(community.len()).unwrap()];
        body.extend(community);
        body.extend([pdu, 25]);
        body.extend(hex("0204 12345678 020100 020100 300b 3009 0605 2b06010201 0500"));
        let mut bytes = vec![0x30, u8::try_from(body.len()).unwrap()];
        bytes.extend(body);
        bytes
    }

    fn look(bytes: &[u8], len: usize) -> Look {
        datagram(&Datagram { bytes, len, ports: [50_000, 9000] })
    }

    #[test]
    fn on_its_port_lengths_may_be_wrong() {
        let mut bytes = message(0, b"public", 0xa0);
        bytes[1] -= 1;
        let on = |bytes| datagram(&Datagram { bytes, len: bytes.len(), ports: [50_000, 161] });
        assert_eq!(on(&bytes[..]), Ok(Sender::Initiator));
        assert_eq!(on(&[0x30; 60]), Err(Fault::Bad));
        assert_eq!(on(b"0hello, agent"), Err(Fault::Bad));
    }

    fn counts(messages: &[Vec<u8>]) -> Vec<(EvidenceKind, u64, u64)> {
        let mut facts = Facts::default();
        let fingerprinter = Fingerprinter::new(b"key");
        let options = Options::default();
        let mut context =
            Context { facts: &mut facts, fingerprinter: &fingerprinter, options: &options };
        for (frame, bytes) in (1..).zip(messages) {
            let datagram = Datagram { bytes, len: bytes.len(), ports: [50_000, 161] };
            read(&datagram, at(frame), &mut context);
        }
        evidence(&facts)
    }

    #[test]
    fn messages_are_told_with_their_sender() {
        let look = |bytes: &[u8]| look(bytes, bytes.len());
        assert_eq!(look(&message(0, b"public", 0xa0)), Ok(Sender::Initiator));
        assert_eq!(look(&message(1, b"public", 0xa2)), Ok(Sender::Responder));
        let v3 = hex("303e020103 3011 020420dd06a9 020300ffe3 040104 020103
            0410 300e 0400 020100 020100 0400 0400 0400  3014 0400 0400 a00e 0204 25810c1a 020100 020100 3000");
        assert_eq!(look(&v3), Ok(Sender::Either));
    }

    #[test]
    fn lengths_must_agree_with_the_datagram() {
        let bytes = message(1, b"public", 0xa0);
        assert_eq!(look(&bytes, bytes.len() + 1), Err(Fault::Bad));
        assert_eq!(look(&bytes[..9], 9), Err(Fault::Bad));
        for place in [0, 1, 2, 3, 4, 5, 6, 13, 14, 15, 16] {
            let mut wrong = bytes.clone();
            wrong[place] ^= 0x41;
            assert!(look(&wrong, wrong.len()).is_err(), "byte {place}");
        }
    }

    #[test]
    fn communities_of_requests_count_and_those_that_agents_ship_with_twice() {
        let messages = [
            message(1, b"S3cret", 0xa0),
            message(1, b"S3cret", 0xa2),
            message(0, b"public", 0xa1),
            message(1, b"", 0xa0),
            message(1, b"traps", 0xa7),
            message(1, b"bulk", 0xa5),
        ];
        let expected =
            [(EvidenceKind::SnmpCommunity, 3, 1), (EvidenceKind::DefaultCredentials, 1, 3)];
        assert_eq!(counts(&messages), expected);
    }
}
