//! DNS (RFC 1035) over UDP and TCP, multicast DNS (RFC 6762) and LLMNR (RFC 4795) with it: only the name of
//! the protocol is wanted, so the whole message has to parse.

use super::bytes::Reader;
use super::look::{Fault, Look, OrShort, ensure, verdict};
use super::probe::Start;
use super::{Probe, Sender};

/// Ports of DNS, multicast DNS and LLMNR.
const PORTS: [u16; 3] = [53, 5353, 5355];

/// Header (RFC 1035 §4.1.1).
const HEADER_LEN: usize = 12;

/// Bytes of a message over TCP that are enough, however long it is.
const LONG_LEN_MIN: usize = 512;

/// Longest name with its lengths (RFC 1035 §2.3.4).
const NAME_LEN_MAX: usize = 255;

/// Questions that are believed: one, but for multicast DNS.
const QUESTIONS_MAX: u16 = 64;

/// Records of a section that are believed; a message of 64 KiB has fewer.
const RECORDS_MAX: u16 = 6000;

/// Looks at the first bytes of one side of a TCP connection (RFC 1035 §4.2.2).
pub(super) fn probe(start: &Start<'_>) -> Probe {
    let mut reader = Reader::new(start.bytes);
    verdict(reader.u16().or_short().and_then(|len| {
        let len = usize::from(len);
        ensure(len >= HEADER_LEN + 5)?;
        let there = &reader.rest()[..reader.rest().len().min(len)];
        let looked = message(there, len);
        // A long answer does not fit into what is kept: as far as it goes is enough then.
        let is_long = there.len() >= LONG_LEN_MIN && looked == Err(Fault::Short);
        if is_long { question_only(there) } else { looked }
    }))
}

/// Looks at a datagram, of which `len` bytes were on the wire.
pub(super) fn datagram(bytes: &[u8], len: usize, ports: [u16; 2]) -> Look {
    let looked = message(bytes, len);
    // What was cut has to be right as far as it goes; on a port of DNS a question is enough, whatever is
    // wrong behind it.
    let is_cut = looked == Err(Fault::Short) && bytes.len() < len;
    let on_port = looked.is_err() && ports.iter().any(|port| PORTS.contains(port));
    if is_cut || on_port { question_only(bytes) } else { looked }
}

/// Sections of a message: how many questions, answers, authorities, additional records.
struct Header {
    is_response: bool,
    counts: [u16; 4],
}

fn header(reader: &mut Reader<'_>) -> Look<Header> {
    let _id = reader.u16().or_short()?;
    let high = reader.u8().or_short()?;
    // Query, inverse query, status, notify, update, stateful operations.
    ensure(matches!(high >> 3 & 15, 0..=2 | 4..=6))?;
    let low = reader.u8().or_short()?;
    let is_response = high & 0x80 != 0;
    // A query has no error, and the bit before AD is zero in both (RFC 5395 §2).
    let code = low % 16;
    ensure(low & 0x40 == 0 && (is_response || code == 0) && code <= 11)?;
    let mut counts = [0; 4];
    for count in &mut counts {
        *count = reader.u16().or_short()?;
    }
    let [questions, records @ ..] = counts;
    ensure(questions <= QUESTIONS_MAX && records.iter().all(|count| *count <= RECORDS_MAX))?;
    let [answers, ..] = records;
    // A query asks; only an update's prerequisites and multicast's known answers stand where answers do.
    ensure(questions > 0 || is_response && answers > 0)?;
    Ok(Header { is_response, counts })
}

/// Parses the whole message, whose length must come out exactly.
fn message(bytes: &[u8], len: usize) -> Look {
    let mut reader = Reader::new(bytes);
    let Header { is_response, counts } = header(&mut reader)?;
    for _ in 0..counts[0] {
        question(&mut reader, bytes.len())?;
    }
    let records: u32 = counts[1..].iter().map(|count| u32::from(*count)).sum();
    for _ in 0..records {
        record(&mut reader, bytes.len())?;
    }
    ensure(reader.is_empty() && bytes.len() == len)?;
    Ok(if is_response { Sender::Responder } else { Sender::Initiator })
}

/// Parses the header and the first question.
fn question_only(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    let Header { is_response, counts } = header(&mut reader)?;
    ensure(counts[0] > 0)?;
    question(&mut reader, bytes.len())?;
    // An empty name would leave little to tell.
    ensure(bytes.len() - reader.rest().len() > HEADER_LEN + 6)?;
    Ok(if is_response { Sender::Responder } else { Sender::Initiator })
}

fn question(reader: &mut Reader<'_>, len: usize) -> Look<()> {
    name(reader, len)?;
    let kind = reader.u16().or_short()?;
    ensure(matches!(kind, 1..=300 | 0x7fff..=0x8001 | 0xff00..=0xffff))?;
    let class = reader.u16().or_short()?;
    // The highest bit asks for a unicast answer (RFC 6762 §5.4).
    ensure(matches!(class & 0x7fff, 1 | 3 | 4 | 254 | 255))
}

fn record(reader: &mut Reader<'_>, len: usize) -> Look<()> {
    name(reader, len)?;
    let kind = reader.u16().or_short()?;
    ensure(kind > 0)?;
    let class = reader.u16().or_short()?;
    // In an OPT the class is a size (RFC 6891 §6.1.2).
    ensure(kind == 41 || matches!(class & 0x7fff, 1 | 3 | 4 | 254 | 255))?;
    let _ttl = reader.u32().or_short()?;
    let data = reader.u16().or_short()?;
    reader.take(usize::from(data)).or_short().map(|_| ())
}

/// Takes a name; a pointer ends it and must lead into the message.
fn name(reader: &mut Reader<'_>, len: usize) -> Look<()> {
    let mut used = 1;
    loop {
        let label_len = reader.u8().or_short()?;
        match label_len {
            0 => return Ok(()),
            1..=63 => {
                let is_label = |byte| byte >= 0x20 && byte != 0x7f;
                let label = reader.expect_all(usize::from(label_len), is_label)?;
                ensure(!is_netbios(label))?;
                used += 1 + label.len();
                ensure(used <= NAME_LEN_MAX)?;
            }
            0xc0..=0xff => {
                let low = reader.u8().or_short()?;
                let to = usize::from(label_len & 0x3f) << 8 | usize::from(low);
                ensure((HEADER_LEN..len).contains(&to))?;
                return Ok(());
            }
            _ => return Err(Fault::Bad),
        }
    }
}

/// Tells whether a label is one of `NetBIOS`: 32 letters from A to P (RFC 1001 §14.1). That is not DNS.
fn is_netbios(label: &[u8]) -> bool {
    label.len() == 32 && label.iter().all(|byte| matches!(byte, b'A'..=b'P'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Protocol;
    use crate::inspect::testing::{
        CLIENT, SERVER, from_client, hex, named_in_all_pieces, never_named,
    };

    const QUERY: &str = "1a2b 0100 0001 0000 0000 0001
        03 677731 07 6578616d706c65 03 6f7267 00 0001 0001  00 0029 04d0 00000000 0000";
    const ANSWER: &str = "1a2b 8180 0001 0001 0000 0000
        03 677731 07 6578616d706c65 03 6f7267 00 0001 0001  c00c 0001 0001 0000003c 0004 0a000001";

    fn look(bytes: &[u8], len: usize) -> Look {
        datagram(bytes, len, [50_000, 9000])
    }

    #[test]
    fn on_its_port_a_question_is_enough() {
        let mut longer = hex(QUERY);
        longer.push(0);
        assert_eq!(datagram(&longer, longer.len(), [50_000, 53]), Ok(Sender::Initiator));
        for junk in [&[0; 40][..], b"hello, this is no name server at all", &[0xff; 64], &[1; 20]] {
            assert_eq!(datagram(junk, junk.len(), [50_000, 53]).ok(), None);
        }
    }

    #[test]
    fn a_message_is_told_when_all_of_it_parses() {
        let (query, answer) = (hex(QUERY), hex(ANSWER));
        assert_eq!(look(&query, query.len()), Ok(Sender::Initiator));
        assert_eq!(look(&answer, answer.len()), Ok(Sender::Responder));
        for len in 0..query.len() {
            assert!(look(&query[..len], len).is_err(), "cut to {len}");
        }
        let mut longer = query;
        longer.push(0);
        assert_eq!(look(&longer, longer.len()), Err(Fault::Bad));
    }

    #[test]
    fn a_captured_part_needs_its_question() {
        let query = hex(QUERY);
        assert_eq!(look(&query[..34], query.len()), Ok(Sender::Initiator));
        assert_eq!(look(&query[..20], query.len()), Err(Fault::Short));
    }

    #[test]
    fn over_tcp_a_length_stands_before_it() {
        let stream = |text: &str| {
            let message = hex(text);
            let mut bytes = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
            bytes.extend(message);
            bytes
        };
        named_in_all_pieces(from_client(Protocol::Dns), CLIENT, &stream(QUERY));
        named_in_all_pieces(from_client(Protocol::Dns), SERVER, &stream(ANSWER));
        let mut wrong = stream(QUERY);
        wrong[1] -= 1;
        never_named(&[(CLIENT, wrong)]);
    }

    #[test]
    fn what_only_looks_like_dns_is_none() {
        let netbios = hex(
            "8001 0110 0001 0000 0000 0000 20 4548464446454550454f46454341434143414341434143414341434143414341
             00 0020 0001",
        );
        assert_eq!(look(&netbios, netbios.len()), Err(Fault::Bad));
        for junk in [&[0; 12][..], &[0; 40], b"hello, this is no name server at all", &[0xff; 64]] {
            assert_eq!(look(junk, junk.len()), Err(Fault::Bad));
        }
    }
}
