//! SSH (RFC 4253): told by its version line; everything behind it is opaque.

use super::bytes::Reader;
use super::look::{Fault, Look, OrShort, ensure, is_printable};
use super::probe::Start;
use super::{Probe, Sender};

/// Longest version line, its end included (RFC 4253 §4.2).
const LINE_LEN_MAX: usize = 255;

/// Looks at the first bytes of one side.
///
/// Servers greet whoever connects, so a greeting alone does not say what the client speaks: it counts once
/// the client greets, too, once the key exchange goes on, or when nothing more comes.
pub(super) fn probe(start: &Start<'_>) -> Probe {
    // In the middle of something, text may hold such a line.
    let is_text =
        start.bytes.first().is_some_and(|byte| is_printable(*byte) || b"\t\r\n".contains(byte));
    let place =
        if start.from_first && is_text { version_line(start.bytes) } else { at_once(start.bytes) };
    let Some(at) = place else {
        return if may_still_come(start) { Probe::Undecided } else { Probe::Excluded };
    };
    let is_first = at == 0;
    let line = &start.bytes[at..];
    let sender = if is_first { Sender::Either } else { Sender::Responder };
    super::look::verdict(greeting(line).and_then(|line_len| {
        let behind = &line[line_len..];
        let is_answered = version_line(start.other).is_some();
        // A client sends no other lines before its own, as a server may: it asked for something else.
        let is_unanswered = start.other.is_empty() || b"SSH-".starts_with(start.other);
        if is_answered || is_unanswered && (start.ended || !behind.is_empty()) {
            ensure(behind.is_empty() || is_packet(behind))?;
            return Ok(sender);
        }
        Err(Fault::Short)
    }))
}

/// Returns where a version line begins that has nothing before it.
fn at_once(bytes: &[u8]) -> Option<usize> {
    bytes.starts_with(b"SSH-").then_some(0)
}

/// Returns where the version line begins: at once, or behind other lines of a server (RFC 4253 §4.2).
fn version_line(bytes: &[u8]) -> Option<usize> {
    let behind_others = || memchr::memmem::find(bytes, b"\nSSH-").map(|newline| newline + 1);
    at_once(bytes).or_else(behind_others)
}

/// Tells whether the version line may still come: it has begun, or lines of text are before it.
fn may_still_come(start: &Start<'_>) -> bool {
    let is_text = |byte: &u8| is_printable(*byte) || matches!(byte, b'\r' | b'\n' | b'\t');
    b"SSH-".starts_with(start.bytes)
        || start.from_first && start.other.is_empty() && start.bytes.iter().all(is_text)
}

/// Checks `SSH-protoversion-softwareversion` and returns the length of the line with its end.
fn greeting(line: &[u8]) -> Look<usize> {
    let mut reader = Reader::new(line);
    reader.expect(b"SSH-")?;
    reader.expect_u8(|major| matches!(major, b'1' | b'2'))?;
    reader.expect(b".")?;
    reader.expect_u8(|minor| minor.is_ascii_digit())?;
    if reader.expect_u8(|byte| byte == b'-' || byte.is_ascii_digit())? != b'-' {
        reader.expect(b"-")?;
    }
    let end = memchr::memchr(b'\n', line).unwrap_or(line.len());
    ensure(end < LINE_LEN_MAX)?;
    let text = &line[..end];
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    ensure(text.iter().all(|byte| is_printable(*byte) || *byte >= 0x80))?;
    line.get(..=end).or_short().map(<[u8]>::len)
}

/// Tells whether bytes begin a binary packet: length, padding, `SSH_MSG_KEXINIT` (RFC 4253 §6, §7.1); or one
/// of SSH 1, whose length is as small.
fn is_packet(bytes: &[u8]) -> bool {
    bytes[0] == 0 && bytes.get(1).is_none_or(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use crate::inspect::probe::Outcome;
    use crate::inspect::testing::{CLIENT, SERVER, probe, probe_ended};
    use crate::inspect::{Protocol, testing::from_client};

    const SSH: Outcome = Outcome::Confirmed { protocol: Protocol::Ssh, initiator: None };

    #[test]
    fn either_side_may_greet_first_and_both_name_it() {
        let one = (SERVER, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_vec());
        let other = (CLIENT, b"SSH-2.0-libssh_0.10\n".to_vec());
        assert_eq!(probe([2222, 50_000], &[one.clone(), other.clone()]), SSH);
        assert_eq!(probe([2222, 50_000], &[other.clone(), one.clone()]), SSH);
        assert_eq!(probe([2222, 50_000], std::slice::from_ref(&one)), Outcome::Undecided);
        assert_eq!(probe_ended([2222, 50_000], std::slice::from_ref(&one)), SSH);
        let mut alone = other;
        alone.1.extend([0, 0, 4, 0xfc, 6, 20]);
        assert_eq!(probe([2222, 50_000], &[alone]), SSH);
    }

    #[test]
    fn a_greeting_does_not_name_what_the_client_asks_for() {
        let talk = [
            (SERVER, b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()),
            (CLIENT, b"GET / HTTP/1.0\r\n\r\n".to_vec()),
        ];
        assert_eq!(probe([22, 50_000], &talk), from_client(Protocol::Http));
        let talk = [
            (SERVER, b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()),
            (CLIENT, b"\x01\x02\x03nonsense".to_vec()),
        ];
        assert_eq!(probe_ended([22, 50_000], &talk), Outcome::Undecided);
    }

    #[test]
    fn a_server_may_say_something_before() {
        let talk = [(SERVER, b"Authorized use only.\r\nSSH-2.0-x\r\n\0\0\x01\0".to_vec())];
        let responder = Outcome::Confirmed { protocol: Protocol::Ssh, initiator: Some(CLIENT) };
        assert_eq!(probe([22, 50_000], &talk), responder);
    }

    #[test]
    fn a_line_that_is_none_names_nothing() {
        for line in ["SSH-3.0-x\r\n", "SSH-two\r\n", "SSH-2.0-\x01\r\n", "SSH\r\n"] {
            let talk = [(CLIENT, line.as_bytes().to_vec())];
            assert_eq!(probe_ended([22, 50_000], &talk), Outcome::Undecided, "{line}");
        }
    }
}
