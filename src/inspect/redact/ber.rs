//! ASN.1 in its basic encoding (X.690): LDAP, Kerberos, SNMP. Tags, lengths, small numbers and object
//! identifiers are shown, strings are not.

use super::{Reader, Step, filled, records};

/// How messages follow each other.
#[derive(Clone, Copy)]
pub(super) enum Framing {
    /// Each is one element.
    Bare,
    /// Each is behind its length of four bytes (RFC 4120 §7.2.2).
    Prefixed,
}

/// Elements in elements; LDAP's filters nest a few deep.
const DEPTH_MAX: usize = 32;

/// The first byte of the longest length that is believed: eight bytes, of which the first ones are zero.
const LEN_FIRST_MAX: u8 = 0x88;

/// A string of octets.
const OCTETS: u8 = 0x04;

/// Bytes of a number that is shown: a 64-bit counter with its sign.
const NUMBER_LEN_MAX: usize = 9;

/// Strings that are names of the protocol: SASL's mechanisms, and the request for TLS (RFC 4511 §4.14).
const NAMES: [&[u8]; 8] = [
    b"PLAIN",
    b"LOGIN",
    b"EXTERNAL",
    b"GSSAPI",
    b"GSS-SPNEGO",
    b"DIGEST-MD5",
    b"CRAM-MD5",
    b"1.3.6.1.4.1.1466.20037",
];

impl Framing {
    pub(super) fn step(self, held: &[u8]) -> Step {
        let prefix_len = match self {
            Self::Bare if records::is_hello(held) => return Step::Become(Reader::Tls),
            Self::Bare => 0,
            Self::Prefixed => 4,
        };
        let Some(element) = held.get(prefix_len..).filter(|rest| !rest.is_empty()) else {
            return Step::More;
        };
        match header(element) {
            Header::Short => Step::More,
            Header::Bad => Step::Stop,
            Header::Whole { header_len, len, .. } => {
                let Some(end) = (prefix_len + header_len).checked_add(len) else {
                    return Step::Stop;
                };
                match held.get(prefix_len..end) {
                    Some(message) => Step::Show([&held[..prefix_len], &shown(message)].concat()),
                    None => Step::More,
                }
            }
        }
    }
}

/// What begins an element.
enum Header {
    Whole { tag: u8, header_len: usize, len: usize },
    Short,
    Bad,
}

fn header(bytes: &[u8]) -> Header {
    let [tag, first, rest @ ..] = bytes else { return Header::Short };
    // Tags of several bytes are in none of these protocols, nor is the indefinite length.
    if tag & 0x1f == 0x1f || *first == 0x80 || *first > LEN_FIRST_MAX {
        return Header::Bad;
    }
    if *first < 0x80 {
        return Header::Whole { tag: *tag, header_len: 2, len: usize::from(*first) };
    }
    let count = usize::from(first & 0x7f);
    let Some(digits) = rest.get(..count) else { return Header::Short };
    if digits.iter().take(count.saturating_sub(4)).any(|digit| *digit != 0) {
        return Header::Bad;
    }
    let len = digits.iter().fold(0_usize, |len, digit| len << 8 | usize::from(*digit));
    Header::Whole { tag: *tag, header_len: 2 + count, len }
}

/// Shows what of some elements may be shown.
pub(super) fn shown(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    elements(bytes, 0, &mut out);
    out.resize(bytes.len(), super::FILL);
    out
}

/// Agents are lenient with lengths: an element that says it is longer than what is there ends with it.
fn elements(mut bytes: &[u8], depth: usize, out: &mut Vec<u8>) {
    const CONSTRUCTED: u8 = 0x20;
    let mut is_behind_plain = false;
    while let Header::Whole { tag, header_len, len } = header(bytes) {
        let end = header_len.saturating_add(len);
        let (element, rest) = bytes.split_at(end.min(bytes.len()));
        let (head, content) = element.split_at(header_len);
        out.extend_from_slice(head);
        let end = out.len() + content.len();
        if tag & CONSTRUCTED != 0 {
            if depth < DEPTH_MAX {
                elements(content, depth + 1, out);
            }
        } else if content.len() == len && is_shown(tag, content) {
            out.extend_from_slice(content);
        }
        let start = end - content.len();
        out.resize(end, super::FILL);
        if is_behind_plain && tag == OCTETS {
            // Behind PLAIN: who, user and password, each ended by a zero (RFC 4616 §2).
            for (at, _) in content.iter().enumerate().filter(|(_, byte)| **byte == 0).take(2) {
                out[start + at] = 0;
            }
        }
        is_behind_plain = tag == OCTETS && content == b"PLAIN";
        bytes = rest;
    }
    out.extend(filled(bytes.len()));
}

/// Tells whether the content of a primitive element may be shown.
fn is_shown(tag: u8, content: &[u8]) -> bool {
    match tag {
        // Boolean, integer, enumeration; SNMP's counters, gauges and ticks (RFC 2578 §2).
        0x01 | 0x02 | 0x0a | 0x41..=0x43 | 0x46 => content.len() <= NUMBER_LEN_MAX,
        // Null, object identifier, time.
        0x05 | 0x06 => true,
        // Flags of SNMP's third version (RFC 3412 §6.4).
        0x04 if content.len() == 1 => content[0] <= 7,
        0x18 => content.iter().all(|byte| byte.is_ascii_digit() || *byte == b'Z'),
        _ => NAMES.contains(&content),
    }
}
