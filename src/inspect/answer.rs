//! The responder's first bytes → what it speaks, whatever it was asked in.
//!
//! A client names a connection, and may be mistaken: it sends HTTP where TLS is spoken, and gets an alert.
//! Only protocols that are known by a signature are named.

use super::Protocol;
use super::probe::{Outcome, Prober, Start};
use crate::packet::Side;

/// What the responder's own first bytes show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answer {
    /// None were seen by a reader.
    #[default]
    Unheard,
    /// They do not tell.
    Unclear,
    /// A protocol that has a signature.
    In(Protocol),
    /// They begin its stream, and are nothing that belongs to what it was asked in.
    Foreign,
}

/// Looks at the first bytes that a responder sent to what it was asked in.
pub(super) fn look(side: Side, start: &Start<'_>, asked: Option<Protocol>) -> Answer {
    let mut prober = Prober::default();
    match prober.probe(side, start) {
        Outcome::Confirmed { protocol, initiator } if initiator != Some(side) => match protocol {
            Protocol::Amqp
            | Protocol::Hazelcast
            | Protocol::Http
            | Protocol::Http2
            | Protocol::Ssh
            | Protocol::Tls => Answer::In(protocol),
            _ => Answer::Unclear,
        },
        _ if start.from_first && is_foreign(asked, start.bytes) => Answer::Foreign,
        _ => Answer::Unclear,
    }
}

/// Tells whether a stream that begins so is no answer to what was asked; of most protocols nobody can say.
fn is_foreign(asked: Option<Protocol>, bytes: &[u8]) -> bool {
    match asked {
        Some(Protocol::Http) => {
            const VERSION: &[u8] = b"HTTP/";
            let line = bytes.trim_ascii_start();
            !line.starts_with(VERSION) && !VERSION.starts_with(line)
        }
        // Types of records (RFC 8446 §5.1).
        Some(Protocol::Tls) => bytes.first().is_some_and(|kind| !(20..=24).contains(kind)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::testing::SERVER;

    fn answer(bytes: &[u8], from_first: bool) -> Answer {
        let start = Start { bytes, from_first, other: &[], ports: [8243, 50_000], ended: true };
        look(SERVER, &start, Some(Protocol::Http))
    }

    #[test]
    fn an_answer_is_known_by_its_own_signature() {
        assert_eq!(answer(b"\x15\x03\x03\0\x02\x02\x0a", true), Answer::In(Protocol::Tls));
        assert_eq!(answer(b"HTTP/1.1 400 Bad Request\r\n", true), Answer::In(Protocol::Http));
        assert_eq!(answer(b"AMQP\0\0\x09\x01", true), Answer::In(Protocol::Amqp));
        assert_eq!(answer(b"SSH-2.0-x\r\n", true), Answer::In(Protocol::Ssh));
    }

    #[test]
    fn what_is_no_answer_is_foreign_only_at_the_beginning() {
        assert_eq!(answer(b"?????", true), Answer::Foreign);
        assert_eq!(answer(b"?????", false), Answer::Unclear);
        assert_eq!(answer(b"HT", true), Answer::Unclear);
        assert_eq!(answer(b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n", true), Answer::Foreign);
    }
}
