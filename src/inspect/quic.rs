//! QUIC (RFC 9000): named by its long headers; all else of it is encrypted.

use super::Sender;
use super::bytes::Reader;
use super::look::{Fault, Look};

/// Longest connection id of versions 1 and 2 (RFC 9000 §17.2).
const ID_LEN_MAX: usize = 20;

/// Looks at one datagram. What follows an exchange's long headers is not looked at any more.
pub(super) fn datagram(bytes: &[u8]) -> Look {
    if is_long_header(bytes) == Some(true) { Ok(Sender::Either) } else { Err(Fault::Bad) }
}

/// Tells whether a datagram begins with a long header of a version that is known (RFC 9000 §17.2).
fn is_long_header(bytes: &[u8]) -> Option<bool> {
    let mut reader = Reader::new(bytes);
    let first = reader.u8()?;
    let version = reader.u32()?;
    let (to, from) = (reader.bytes8()?, reader.bytes8()?);
    if first & 0x80 == 0 || to.len() > ID_LEN_MAX || from.len() > ID_LEN_MAX {
        return Some(false);
    }
    if version == 0 {
        // Version Negotiation lists versions, and nothing else (RFC 9000 §17.2.1).
        let list = reader.rest();
        let versions = list.chunks(4).filter_map(|version| version.try_into().ok());
        let known = versions.map(u32::from_be_bytes).any(is_version);
        return Some(!list.is_empty() && list.len().is_multiple_of(4) && known);
    }
    // The fixed bit (§17.2); an Initial needs an id of 8 bytes, or is an answer to one.
    Some(
        first & 0x40 != 0 && is_version(version) && to.len() + from.len() > 0 && !reader.is_empty(),
    )
}

/// Version 1, version 2 (RFC 9369), the drafts, and Facebook's.
fn is_version(version: u32) -> bool {
    matches!(version, 1 | 0x6b33_43cf | 0xff00_0001..=0xff00_0022 | 0xface_b000..=0xface_b00f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_quic(bytes: &[u8]) -> bool {
        datagram(bytes).is_ok()
    }

    #[test]
    fn long_headers_of_known_versions_are_quic() {
        let initial = |version: [u8; 4]| {
            let mut bytes = vec![0xc3];
            bytes.extend(version);
            bytes.extend([8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x44, 0x9e]);
            bytes.resize(1200, 0x5a);
            bytes
        };
        assert!(is_quic(&initial([0, 0, 0, 1])));
        assert!(is_quic(&initial([0x6b, 0x33, 0x43, 0xcf])));
        assert!(is_quic(&initial([0xff, 0, 0, 29])));
        assert!(!is_quic(&initial([0, 0, 0, 3])));
        assert!(is_quic(&[0x80, 0, 0, 0, 0, 1, 7, 1, 9, 0, 0, 0, 1]));
        assert!(!is_quic(&[0x80, 0, 0, 0, 0, 1, 7, 1, 9, 0, 0, 0]));
    }

    #[test]
    fn other_datagrams_are_none() {
        let dns = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, b'w', b'w', b'w', 0, 0, 1, 0, 1];
        assert!(!is_quic(&dns));
        assert!(!is_quic(&[0x43; 1200]));
        assert!(!is_quic(&[]));
    }
}
