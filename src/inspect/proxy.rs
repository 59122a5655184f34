//! The PROXY protocol (`proxy-protocol.txt` of HA-Proxy, versions 1 and 2): what a load balancer puts before a
//! connection's own bytes.

/// Longest line of version 1, its end included (§2.1).
const LINE_LEN_MAX: usize = 108;

/// What version 2 begins with (§2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes before the addresses of version 2.
const HEADER_LEN: usize = 16;

/// Longest header of version 2 that is believed. The addresses take 216 bytes at most, and what balancers
/// add (a certificate's name, an id) some hundred.
const ADDED_LEN_MAX: usize = 4 << 10;

/// What stands at the beginning of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    /// A header of so many bytes.
    Header(usize),
    /// What may be the beginning of a header.
    Partial,
    /// The connection's own bytes.
    None,
}

/// Looks at the first bytes of a connection.
pub(super) fn lead(bytes: &[u8]) -> Lead {
    match bytes.first() {
        Some(b'P') => line(bytes),
        Some(b'\r') => binary(bytes),
        _ => Lead::None,
    }
}

fn line(bytes: &[u8]) -> Lead {
    let starts: [&[u8]; 3] = [b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN"];
    let Some(start) = starts.iter().find(|start| bytes.starts_with(start)) else {
        let begins = starts.iter().any(|start| start.starts_with(bytes));
        return if begins { Lead::Partial } else { Lead::None };
    };
    let seen = &bytes[..bytes.len().min(LINE_LEN_MAX)];
    match memchr::memchr(b'\n', &seen[start.len()..]) {
        Some(end) => Lead::Header(start.len() + end + 1),
        None if seen.len() < LINE_LEN_MAX => Lead::Partial,
        None => Lead::None,
    }
}

fn binary(bytes: &[u8]) -> Lead {
    if !bytes.starts_with(SIGNATURE) {
        return if SIGNATURE.starts_with(bytes) { Lead::Partial } else { Lead::None };
    }
    match bytes.get(SIGNATURE.len()) {
        // Version 2, LOCAL or PROXY.
        None | Some(0x20 | 0x21) => {}
        Some(_) => return Lead::None,
    }
    let Some([a, b]) = bytes.get(HEADER_LEN - 2..HEADER_LEN) else { return Lead::Partial };
    let added = usize::from(u16::from_be_bytes([*a, *b]));
    if added > ADDED_LEN_MAX {
        Lead::None
    } else if bytes.len() < HEADER_LEN + added {
        Lead::Partial
    } else {
        Lead::Header(HEADER_LEN + added)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 8280\r\n";
    const V2: &[u8] =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\xc3\x50\x20\x58";

    #[test]
    fn headers_of_both_versions_are_measured_and_their_beginnings_waited_for() {
        for header in [V1, V2, b"PROXY UNKNOWN\r\n"] {
            let stream = [header, b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(lead(&stream), Lead::Header(header.len()));
            for len in 1..header.len() {
                assert_eq!(lead(&header[..len]), Lead::Partial, "{len}");
            }
        }
    }

    #[test]
    fn other_beginnings_are_none() {
        for bytes in [
            &b"POST / HTTP/1.1"[..],
            b"PROXY / HTTP/1.1",
            b"\r\n\r\nGET /",
            b"\r\n\r\n\0\r\nQUIT\n\x11",
            b"\x16\x03\x01",
            b"",
            &[b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat(),
        ] {
            assert_eq!(lead(bytes), Lead::None);
        }
    }
}
