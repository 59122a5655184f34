//! Syslog: `<priority>`, then a version (RFC 5424 §6), a date (RFC 3164 §4.1.2) or the text at once, as some
//! loggers send it. Over TCP each message ends with a line or has its length before it (RFC 6587 §3.4).

use super::bytes::Reader;
use super::look::{Fault, Look, OrShort, any_of, ensure, verdict};
use super::probe::Start;
use super::{Probe, Sender};

/// Highest priority: facility 23, severity 7.
const PRIORITY_MAX: u32 = 191;

/// Bytes of text behind a priority that are enough over TCP, where text may be anything's.
const TEXT_LEN_MIN: usize = 8;

/// Text that is looked at over TCP.
const TEXT_LEN_MAX: usize = 128;

/// Longest message whose length is told before it that is believed.
const COUNTED_LEN_MAX: u32 = 1 << 20;

/// Looks at the first bytes of one side of a TCP connection.
pub(super) fn probe(start: &Start<'_>) -> Probe {
    verdict(any_of(&[line(start.bytes, start.ended), counted(start.bytes)]))
}

/// Looks at a datagram: all of it must be text.
pub(super) fn datagram(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    priority(&mut reader)?;
    let text = reader.rest();
    // A zero at the end is a C string's.
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    ensure(!text.is_empty() && is_message(text))?;
    ensure(text.iter().any(u8::is_ascii_alphanumeric))?;
    Ok(Sender::Initiator)
}

/// A message that ends with its line, or with the connection.
fn line(bytes: &[u8], ended: bool) -> Look {
    let mut reader = Reader::new(bytes);
    priority(&mut reader)?;
    let text = reader.rest();
    let end = text.iter().position(|byte| matches!(byte, b'\n' | 0)).unwrap_or(text.len());
    let is_over = end < text.len() || ended || end >= TEXT_LEN_MAX;
    let text = &text[..end.min(TEXT_LEN_MAX)];
    ensure(is_message(text))?;
    if !is_over {
        return Err(Fault::Short);
    }
    ensure(text.len() >= TEXT_LEN_MIN && !text.starts_with(b"<"))?;
    Ok(Sender::Initiator)
}

/// A message behind its length; only RFC 5424 and dates are believed there.
fn counted(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    let len = digits(&mut reader, 7, b' ')?;
    ensure((8..=COUNTED_LEN_MAX).contains(&len))?;
    priority(&mut reader)?;
    let text = reader.rest();
    let version = text.get(..2).or_short()?;
    if version == b"1 " {
        return Ok(Sender::Initiator);
    }
    let date = text.get(..4).or_short()?;
    let months = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    ensure(date[3] == b' ' && months.chunks(3).any(|month| month == &date[..3]))?;
    Ok(Sender::Initiator)
}

/// Takes `<priority>`: one to three digits, without a zero before others.
fn priority(reader: &mut Reader<'_>) -> Look<()> {
    reader.expect(b"<")?;
    ensure(digits(reader, 3, b'>')? <= PRIORITY_MAX)
}

/// Takes a number of up to `digits_max` digits and what ends it.
fn digits(reader: &mut Reader<'_>, digits_max: usize, end: u8) -> Look<u32> {
    let mut value = 0;
    for count in 0..=digits_max {
        let byte = reader.u8().or_short()?;
        if byte == end {
            ensure(count > 0)?;
            return Ok(value);
        }
        ensure(byte.is_ascii_digit() && (count == 0 || value > 0))?;
        value = value * 10 + u32::from(byte - b'0');
    }
    Err(Fault::Bad)
}

/// Tells whether bytes are a message's text: UTF-8 or another superset of ASCII, tabs and line ends.
fn is_message(text: &[u8]) -> bool {
    let is_odd = |byte: &u8| *byte < 0x20 && !matches!(byte, b'\t' | b'\r' | b'\n' | 0x1b);
    let foreign = text.iter().filter(|byte| byte.is_ascii()).count() * 2 < text.len();
    !text.iter().any(is_odd)
        && !text.contains(&0x7f)
        && (!foreign || std::str::from_utf8(text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Protocol;
    use crate::inspect::probe::Outcome;
    use crate::inspect::testing::{
        CLIENT, from_client, named_in_all_pieces, never_named, probe_ended,
    };

    const MODERN: &[u8] = b"<165>1 2026-11-24T02:40:00.003Z gw1 wso2 2411 ID47 - started";
    const OLD: &[u8] = b"<34>Nov 24 02:40:00 gw1 wso2carbon: started";

    #[test]
    fn datagrams_are_told_by_content() {
        for text in [MODERN, OLD, b"<11>ERROR {Axis2} - down\n\tat x\n", b"<0>kernel: panic\0"] {
            assert_eq!(datagram(text), Ok(Sender::Initiator));
        }
        for text in
            [&b"<192>no"[..], b"<>no", b"<1234>no", b"<01>no", b"<13>", b"<13>\x01\x02", b"<13> \n"]
        {
            assert_eq!(datagram(text).ok(), None, "{text:?}");
        }
    }

    #[test]
    fn over_tcp_lines_and_counted_messages_are_told() {
        let outcome = from_client(Protocol::Syslog);
        for text in [MODERN, OLD, b"<11>ERROR {Axis2} - down"] {
            let mut line = text.to_vec();
            line.push(b'\n');
            named_in_all_pieces(outcome, CLIENT, &line);
            assert_eq!(probe_ended([514, 50_000], &[(CLIENT, text.to_vec())]), outcome);
        }
        for text in [MODERN, OLD] {
            let mut counted = format!("{} ", text.len()).into_bytes();
            counted.extend(text);
            named_in_all_pieces(outcome, CLIENT, &counted);
        }
        let open = probe_ended([514, 50_000], &[(CLIENT, b"<13>".to_vec())]);
        assert_eq!(open, Outcome::Undecided);
        never_named(&[(CLIENT, b"<?xml version=\"1.0\"?>\n".to_vec())]);
        never_named(&[(CLIENT, b"12 <13>hello world\n".to_vec())]);
    }
}
