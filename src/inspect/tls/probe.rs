//! Tells TLS by its first bytes: a hello, or records of a connection that was joined midway.

use super::{HEADER_LEN, TLS_1_3, is_header, kind, record};
use crate::inspect::bytes::Reader;
use crate::inspect::probe::Start;
use crate::inspect::{Probe, Sender};

/// Looks at the first bytes of one side.
pub(in crate::inspect) fn probe(start: &Start<'_>) -> Probe {
    let bytes = start.bytes;
    if bytes.first().is_some_and(|byte| byte & 0x80 != 0) {
        return if start.from_first { ssl2_hello(bytes) } else { Probe::Excluded };
    }
    if !could_be_header(bytes) {
        return Probe::Excluded;
    }
    let Some((header, body)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Probe::Undecided;
    };
    match header[0] {
        record::HANDSHAKE => handshake(*header, body),
        record::ALERT => alert(*header, body),
        _ => midway(*header, body, start.other),
    }
}

/// Tells whether the bytes are a record's header as far as they go.
fn could_be_header(bytes: &[u8]) -> bool {
    // What is missing is filled in such that it passes.
    let mut header = [record::HANDSHAKE, 3, 3, 0, 1];
    for (slot, byte) in header.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    if bytes.len() == 4 {
        header[4] = u8::from(header[3] == 0);
    }
    is_header(header)
}

fn handshake(header: [u8; HEADER_LEN], body: &[u8]) -> Probe {
    let record_len = usize::from(u16::from_be_bytes([header[3], header[4]]));
    let Some(&message) = body.first() else { return Probe::Undecided };
    let sender = match message {
        kind::CLIENT_HELLO => Sender::Initiator,
        kind::SERVER_HELLO => Sender::Responder,
        _ => return midway(header, body, &[]),
    };
    if record_len < 6 {
        // A hello in pieces: the next record is at hand, or the type has to do.
        return Probe::Confirmed(sender);
    }
    // Length below 2^17, as any hello's, and a version.
    match body.get(1..6) {
        None => Probe::Undecided,
        Some([0 | 1, _, _, 3, 0..=4]) => Probe::Confirmed(sender),
        Some(_) => Probe::Excluded,
    }
}

/// An alert is two bytes, or somewhat more when encrypted (RFC 8446 §6). One in clear opens a stream only
/// as a server's answer.
fn alert(header: [u8; HEADER_LEN], body: &[u8]) -> Probe {
    match (u16::from_be_bytes([header[3], header[4]]), body) {
        (2, [1 | 2, _, ..]) => Probe::Confirmed(Sender::Responder),
        (2, [_, _, ..]) => Probe::Excluded,
        (2, _) => Probe::Undecided,
        (18..=128, _) => midway(header, body, &[]),
        _ => Probe::Excluded,
    }
}

/// Bytes of ciphertext that are looked at for their variety.
const SAMPLE_LEN: usize = 32;

/// Different bytes that 32 bytes of ciphertext have at least: 30 on average, fewer than 20 once in 10^12.
const SAMPLE_DIFFERENT_MIN: usize = 20;

/// A record behind the handshake: its length fits, another record follows, the other side sends records,
/// too, or its body looks encrypted.
fn midway(header: [u8; HEADER_LEN], body: &[u8], other: &[u8]) -> Probe {
    if u16::from_be_bytes([header[1], header[2]]) >= TLS_1_3 {
        // Records say 3.3 at most (RFC 8446 §5.1).
        return Probe::Excluded;
    }
    let confirmed = Probe::Confirmed(Sender::Either);
    let is_record = |bytes: &[u8]| bytes.first_chunk().is_some_and(|header| is_header(*header));
    if is_record(other) {
        return confirmed;
    }
    let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if let Some(behind) = body.get(len..) {
        return match behind {
            [] => confirmed,
            _ if is_record(behind) => confirmed,
            _ if could_be_header(behind) => Probe::Undecided,
            _ => Probe::Excluded,
        };
    }
    let Some(sample) = body.get(..SAMPLE_LEN) else { return Probe::Undecided };
    let mut seen = [0_u64; 4];
    for byte in sample {
        seen[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }
    let different: u32 = seen.iter().map(|bits| bits.count_ones()).sum();
    if different as usize >= SAMPLE_DIFFERENT_MIN { confirmed } else { Probe::Excluded }
}

/// A ClientHello in the format of SSL 2 that offers SSL 3 or later (RFC 5246 E.2), or SSL 2 itself.
fn ssl2_hello(bytes: &[u8]) -> Probe {
    match bytes {
        [_, _, message, ..] if *message != 1 => return Probe::Excluded,
        [_, _, _, major, minor, ..] if !matches!((major, minor), (3, 0..=4) | (0, 2)) => {
            return Probe::Excluded;
        }
        _ => {}
    }
    let mut reader = Reader::new(bytes);
    let mut fields =
        || Some((reader.u16()?, reader.u24()?, [reader.u16()?, reader.u16()?, reader.u16()?]));
    let Some((len, _, [suites, session, challenge])) = fields() else { return Probe::Undecided };
    let sum = 9 + u32::from(suites) + u32::from(session) + u32::from(challenge);
    let sane = suites > 0
        && suites % 3 == 0
        && matches!(session, 0 | 16 | 32)
        && matches!(challenge, 16..=32);
    if sane && sum == u32::from(len & 0x7fff) {
        Probe::Confirmed(Sender::Initiator)
    } else {
        Probe::Excluded
    }
}
