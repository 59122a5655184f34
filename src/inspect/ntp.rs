//! NTP versions 1 to 4 (RFC 5905 §7.3), and its control and private messages on its own port.

use super::Sender;
use super::look::{Look, ensure};

/// NTP's port (RFC 5905 §7.2).
const PORT: u16 = 123;

/// Header without extensions.
const HEADER_LEN: usize = 48;

/// Largest packet that is believed; NTS's cookies are the longest extensions (RFC 8915 §5).
const LEN_MAX: usize = 1500;

/// Largest root delay or dispersion that is believed, in seconds; reaching 16 is unsynchronised already.
const ROOT_MAX: u16 = 64;

/// Seconds of an NTP timestamp at the beginning of 2000, and in 2036, when it begins again; a few years
/// behind that are real, too (RFC 5905 §6).
const YEAR_2000: u32 = 3_155_673_600;
const YEARS_LATER: u32 = 1 << 30;

/// Looks at a datagram, of which `len` bytes were on the wire.
pub(super) fn datagram(bytes: &[u8], len: usize, ports: [u16; 2]) -> Look {
    let on_port = ports.contains(&PORT);
    ensure(bytes.len() >= 12)?;
    let (version, mode) = (bytes[0] >> 3 & 7, bytes[0] & 7);
    match mode {
        6 | 7 => {
            ensure(on_port)?;
            if mode == 6 { control(bytes, len) } else { private(bytes, len) }
        }
        _ => {
            ensure((1..=4).contains(&version) && bytes.len() >= HEADER_LEN)?;
            ensure(len.is_multiple_of(4) && len <= LEN_MAX)?;
            time(bytes, len, on_port)
        }
    }
}

fn time(bytes: &[u8], len: usize, on_port: bool) -> Look {
    let (mode, stratum) = (bytes[0] & 7, bytes[1]);
    let word =
        |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    ensure(stratum <= 16)?;
    for root in [word(4), word(8)] {
        // Signed in the specification of the delay: a small negative one occurs.
        let seconds = u16::try_from(root >> 16).unwrap_or(u16::MAX);
        ensure(seconds <= ROOT_MAX || seconds == u16::MAX)?;
    }
    let is_now = |at: usize| word(at).wrapping_sub(YEAR_2000) < u32::MAX - YEAR_2000 + YEARS_LATER;
    let is_empty = |at: usize| word(at) == 0 && word(at + 4) == 0;
    let sender = match mode {
        // Symmetric peers, broadcast.
        1 | 2 | 5 => Sender::Either,
        3 => Sender::Initiator,
        4 => Sender::Responder,
        _ => return Err(super::look::Fault::Bad),
    };
    let poll = bytes[2];
    ensure(poll <= 24 || poll >= 0xf0)?;
    if mode == 3 {
        // A client may say nothing but its transmit time, and that at random.
        // Interleaved, it repeats the server's times; at random, too.
        let is_bare = word(4) == 0 && word(8) == 0 && is_empty(16);
        let is_full = is_now(40) && [16, 24, 32].into_iter().all(|at| is_empty(at) || is_now(at));
        ensure(on_port || len == HEADER_LEN)?;
        ensure(is_bare || is_full)?;
        let is_plain = is_bare && is_empty(24) && is_empty(32) && word(12) == 0;
        ensure(on_port || is_plain && stratum == 0 && is_now(40))?;
    } else {
        // The client's own time comes back as it was sent, and that may be at random.
        ensure(is_now(40) && [16, 32].into_iter().all(|at| is_empty(at) || is_now(at)))?;
        ensure(on_port || is_empty(24) || is_now(24))?;
        // A clock's resolution lies between a second and 2^-32.
        ensure(bytes[3] == 0 || bytes[3] >= 0xe0)?;
    }
    Ok(sender)
}

/// A control message (RFC 9327 §2): operation, offset, and the count of its data.
fn control(bytes: &[u8], len: usize) -> Look {
    let count = usize::from(u16::from_be_bytes([bytes[10], bytes[11]]));
    let operation = bytes[1] & 0x1f;
    ensure((1..=4).contains(&(bytes[0] >> 3 & 7)) && bytes[0] & 0xc0 == 0)?;
    ensure(matches!(operation, 1..=12 | 31) && (12 + count..=12 + count + 100).contains(&len))?;
    Ok(if bytes[1] & 0x80 == 0 { Sender::Initiator } else { Sender::Responder })
}

/// A private message of ntpd (`ntp_request.h`): implementation 0, 2 or 3, then a request code.
fn private(bytes: &[u8], len: usize) -> Look {
    ensure(matches!(bytes[0] >> 3 & 7, 1..=4) && matches!(bytes[2], 0 | 2 | 3) && bytes[3] <= 46)?;
    let size = usize::from(u16::from_be_bytes([bytes[6], bytes[7]]) & 0x0fff);
    let count = usize::from(u16::from_be_bytes([bytes[4], bytes[5]]) & 0x0fff);
    ensure(8 + size * count <= len)?;
    Ok(if bytes[0] & 0x80 == 0 { Sender::Initiator } else { Sender::Responder })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::look::Fault;
    use crate::inspect::testing::hex;

    const SERVER: &str = "24 02 06 e9 00000a12 00000b34 c0a80001
        eb00112233445566 eb00112244556677 eb00112250000000 eb00112250010000";

    fn look(bytes: &[u8], port: u16) -> Look {
        datagram(bytes, bytes.len(), [50_000, port])
    }

    #[test]
    fn a_server_is_told_on_any_port() {
        assert_eq!(look(&hex(SERVER), 123), Ok(Sender::Responder));
        assert_eq!(look(&hex(SERVER), 9000), Ok(Sender::Responder));
    }

    #[test]
    fn a_client_that_says_little_is_told_on_its_port() {
        let mut bare = vec![0; 48];
        bare[0] = 0x23;
        bare[3] = 0x20;
        bare[40..].copy_from_slice(&[0x92, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0]);
        assert_eq!(look(&bare, 123), Ok(Sender::Initiator));
        assert_eq!(look(&bare, 9000), Err(Fault::Bad));
        bare[40] = 0xeb;
        assert_eq!(look(&bare, 9000), Ok(Sender::Initiator));
    }

    #[test]
    fn control_and_private_messages_count_on_the_port_only() {
        let control = hex("16 02 0001 0000 0000 0000 0000");
        let monlist = hex("17 00 03 2a 00000000 00000000");
        for message in [control, monlist] {
            assert_eq!(look(&message, 123), Ok(Sender::Initiator));
            assert_eq!(look(&message, 9000), Err(Fault::Bad));
        }
    }

    #[test]
    fn nonsense_on_the_port_is_none() {
        for junk in [vec![0xa5; 48], vec![0x23; 48], vec![0x1b], b"hello".repeat(10)] {
            assert_eq!(look(&junk, 123), Err(Fault::Bad), "{junk:x?}");
        }
        let cut = hex(SERVER);
        assert_eq!(look(&cut[..47], 123), Err(Fault::Bad));
    }
}
