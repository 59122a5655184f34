//! WebSocket (RFC 6455 §5.2): tells its frames from what they are not.
//!
//! A credential of WebSocket is in its handshake, which is HTTP. What the frames carry is the application's,
//! pushed in either direction: text in them that looks like a request is none, and nothing of them is read.

/// What bytes at the place of a frame are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// A frame, or its beginning.
    Yes,
    /// Something else.
    No,
}

/// Looks at the first bytes of a client's frame, as far as they are there. A client masks all it sends, and
/// reserved bits but the first (compression, RFC 7692) are 0.
pub(super) fn of_client(bytes: &[u8]) -> Frame {
    let is_frame = match bytes {
        [] => true,
        [first] => is_first(*first),
        [first, second, ..] => {
            let is_control = first & 0x08 != 0;
            let len = second & 0x7f;
            is_first(*first)
                && second & 0x80 != 0
                && (!is_control || (len <= 125 && first & 0x80 != 0))
        }
    };
    if is_frame { Frame::Yes } else { Frame::No }
}

fn is_first(byte: u8) -> bool {
    byte & 0x30 == 0 && matches!(byte & 0x0f, 0..=2 | 8..=10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_frames_are_masked_and_its_requests_are_none() {
        assert_eq!(of_client(&[0x81, 0x85, 1, 2, 3, 4]), Frame::Yes);
        assert_eq!(of_client(&[0x88, 0x80, 0, 0, 0, 0]), Frame::Yes);
        assert_eq!(of_client(&[0xc2, 0xfe]), Frame::Yes);
        assert_eq!(of_client(&[0x81, 0x05, b'h']), Frame::No);
        assert_eq!(of_client(&[0x08, 0x80]), Frame::No);
        assert_eq!(of_client(b"GET / HTTP/1.1"), Frame::No);
        assert_eq!(of_client(&[0x16, 3, 1]), Frame::No);
    }
}
