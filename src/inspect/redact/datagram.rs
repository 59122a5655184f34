//! Datagrams: each stands for itself.

use super::{FILL, Redactor, Shown, Step, ber, filled, records};
use crate::inspect::Protocol;
use crate::packet::Side;

/// Shows what may be shown of a datagram; of one that nobody recognised, nothing.
pub fn datagram(protocol: Option<Protocol>, bytes: &mut [u8]) {
    let shown = match protocol {
        None => filled(bytes.len()),
        Some(Protocol::Dns) => dns(bytes),
        // The packet without its extensions (RFC 5905 §7.3).
        Some(Protocol::Ntp) => first(bytes, 48),
        // Initial packets hold the client's hello; what is behind them is encrypted (RFC 9000 §17.2).
        Some(Protocol::Quic) if bytes.first().is_some_and(|first| first & 0x80 != 0) => return,
        Some(Protocol::Quic) => first(bytes, 1),
        Some(Protocol::Kerberos | Protocol::Ldap | Protocol::Snmp) => ber::shown(bytes),
        Some(Protocol::Syslog) => records::syslog_line(bytes),
        Some(protocol) => {
            let (mut redactor, mut shown) = (Redactor::new(protocol), Shown::default());
            redactor.data(Side::Low, 0, bytes, &mut shown);
            redactor.close(Side::Low, &mut shown);
            shown.write(0, bytes);
            return;
        }
    };
    bytes.copy_from_slice(&shown);
}

fn first(bytes: &[u8], len: usize) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out[len.min(bytes.len())..].fill(FILL);
    out
}

/// Shows a message of DNS behind its length.
pub(super) fn prefixed_dns(held: &[u8]) -> Step {
    let Some(&len) = held.first_chunk::<2>() else { return Step::More };
    match held.get(2..2 + usize::from(u16::from_be_bytes(len))) {
        Some(message) => Step::Show([&len, &dns(message)[..]].concat()),
        None => Step::More,
    }
}

/// Shows header, lengths and types of a message of DNS (RFC 1035 §4.1); names and data are overwritten.
fn dns(message: &[u8]) -> Vec<u8> {
    let mut out = filled(message.len());
    let Some(header) = message.first_chunk::<12>() else { return out };
    out[..12].copy_from_slice(header);
    let count = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
    let mut at = 12;
    let questions = count(4);
    let records = count(6) + count(8) + count(10);
    for number in 0..questions + records {
        let Some(next) = name(message, at, &mut out) else { return out };
        at = next;
        let fixed_len = if number < questions { 4 } else { 10 };
        let Some(fixed) = message.get(at..at + fixed_len) else { return out };
        if !is_type_and_class([fixed[0], fixed[1], fixed[2], fixed[3]]) {
            return out;
        }
        out[at..at + fixed_len].copy_from_slice(fixed);
        at += fixed_len;
        if number >= questions {
            at += usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        }
    }
    out
}

/// Tells whether a type and a class may be such: Internet, Chaos, Hesiod, none, any, with the flag of
/// multicast (RFC 6762 §10.2); the options of RFC 6891 §6.1.2 have a size in place of the class.
fn is_type_and_class([a, b, c, d]: [u8; 4]) -> bool {
    let (kind, class) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    kind == 41 || matches!(class & 0x7fff, 1 | 3 | 4 | 254 | 255)
}

/// Shows the lengths of a name's labels; returns where it ends.
fn name(message: &[u8], mut at: usize, out: &mut [u8]) -> Option<usize> {
    loop {
        let len = *message.get(at)?;
        match len {
            0 => {
                out[at] = 0;
                return Some(at + 1);
            }
            0xc0.. => {
                let pointer = message.get(at..at + 2)?;
                out[at..at + 2].copy_from_slice(pointer);
                return Some(at + 2);
            }
            1..=63 => {
                out[at] = len;
                at += 1 + usize::from(len);
            }
            _ => return None,
        }
    }
}
