//! Kerberos 5 (RFC 4120): messages over UDP, and behind their length over TCP. What they carry is encrypted
//! or public; only the name is wanted.

use super::ber::{self, tag};
use super::bytes::Reader;
use super::look::{Look, OrShort, ensure, verdict};
use super::probe::Start;
use super::{Probe, Sender};

/// Kerberos' port (RFC 4120 §7.2.1).
const PORT: u16 = 88;

/// Largest message over TCP that is believed: tickets with large authorisation data have some 64 KiB.
const LEN_MAX: u32 = 1 << 20;

/// Looks at the first bytes of one side of a TCP connection (RFC 4120 §7.2.2).
pub(super) fn probe(start: &Start<'_>) -> Probe {
    verdict(over_tcp(start.bytes))
}

fn over_tcp(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    reader.expect(&[0])?;
    let mut len = Reader::new(bytes);
    let len = len.u32().or_short()?;
    ensure((20..=LEN_MAX).contains(&len))?;
    message(&bytes[4..], len as usize)
}

/// Looks at a datagram, of which `len` bytes were on the wire.
pub(super) fn datagram(bytes: &[u8], len: usize, ports: [u16; 2]) -> Look {
    // On its port, version and type are enough, and lengths may be wrong.
    if ports.contains(&PORT) {
        return message(bytes, ber::first(bytes)?.total_len());
    }
    message(bytes, len)
}

/// `[APPLICATION type] SEQUENCE { pvno, msg-type, … }`, of a given length (RFC 4120 §5.4 to §5.9).
fn message(bytes: &[u8], len: usize) -> Look {
    let message = ber::first(bytes)?;
    let kind = message.tag & 0x1f;
    ensure(message.tag & 0xe0 == 0x60 && message.total_len() == len)?;
    let sender = match kind {
        // AS-REQ, TGS-REQ, AP-REQ.
        10 | 12 | 14 => Sender::Initiator,
        // AS-REP, TGS-REP, AP-REP, KRB-ERROR.
        11 | 13 | 15 | 30 => Sender::Responder,
        // KRB-SAFE, KRB-PRIV, KRB-CRED.
        20..=22 => Sender::Either,
        _ => return Err(super::look::Fault::Bad),
    };
    let mut outer = message.open();
    let body = outer.expect(tag::SEQUENCE)?;
    ensure(outer.is_over())?;
    let mut fields = body.open();
    // Requests to a KDC number their fields from 1, all others from 0.
    let first = if matches!(kind, 10 | 12) { 0xa1 } else { 0xa0 };
    for (field, value) in [(first, 5), (first + 1, i32::from(kind))] {
        let field = fields.expect(field)?;
        ensure(field.len <= 6)?;
        ensure(field.open().number(tag::INTEGER)? == value)?;
    }
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Protocol;
    use crate::inspect::look::Fault;
    use crate::inspect::testing::{
        CLIENT, SERVER, from_client, hex, named_in_all_pieces, never_named,
    };

    /// A message's beginning, its lengths in the long form.
    fn as_message(tag: u8, first: u8, kind: u8) -> Vec<u8> {
        let mut bytes = vec![tag, 0x81, 200, 0x30, 0x81, 197];
        bytes.extend([first, 3, 2, 1, 5, first + 1, 3, 2, 1, kind]);
        bytes.resize(203, 0xa3);
        bytes
    }

    fn look(bytes: &[u8], len: usize) -> Look {
        datagram(bytes, len, [50_000, 8000])
    }

    #[test]
    fn on_its_port_the_length_may_be_wrong() {
        let request = as_message(0x6a, 0xa1, 10);
        assert_eq!(datagram(&request, 204, [50_000, 88]), Ok(Sender::Initiator));
        assert_eq!(datagram(&[0x6a; 40], 40, [50_000, 88]), Err(Fault::Bad));
    }

    #[test]
    fn a_message_is_told_over_udp_and_tcp() {
        let request = as_message(0x6a, 0xa1, 10);
        assert_eq!(look(&request, 203), Ok(Sender::Initiator));
        assert_eq!(look(&request, 204), Err(Fault::Bad));
        assert_eq!(look(&as_message(0x7e, 0xa0, 30), 203), Ok(Sender::Responder));
        let mut stream = hex("000000cb");
        stream.extend(&request);
        named_in_all_pieces(from_client(Protocol::Kerberos), CLIENT, &stream);
        let mut answer = hex("000000cb");
        answer.extend(as_message(0x6b, 0xa0, 11));
        named_in_all_pieces(from_client(Protocol::Kerberos), SERVER, &answer);
    }

    #[test]
    fn version_and_type_must_fit() {
        assert_eq!(look(&as_message(0x6a, 0xa1, 12), 203), Err(Fault::Bad));
        assert_eq!(look(&as_message(0x6a, 0xa0, 10), 203), Err(Fault::Bad));
        let mut request = as_message(0x6a, 0xa1, 10);
        request[10] = 4;
        assert_eq!(look(&request, 203), Err(Fault::Bad));
        let mut stream = hex("000000cc");
        stream.extend(as_message(0x6a, 0xa1, 10));
        never_named(&[(CLIENT, stream)]);
    }
}
