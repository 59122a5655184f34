//! LDAP (RFC 4511): binds with a password in clear, and the way to TLS.

mod probe;
#[cfg(test)]
mod tests;

use super::ber::{self, tag};
use super::frames::{Frame, Frames, Next, Read, Size};
use super::look::Fault;
use super::tls::Tls;
use super::{Context, EvidenceKind, Inspector, Progress, Uninspected};
use crate::packet::{At, Side};

pub(super) use probe::{datagram, probe};

/// Bytes of one message that are held: a bind has a name and a password.
const HELD_MAX: usize = 8 << 10;

/// Largest message that is believed; directories refuse far smaller ones from clients.
const LEN_MAX: u64 = 256 << 20;

/// The operation that asks for TLS (RFC 4511 §4.14).
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

/// First byte of a TLS record that begins a handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;

/// Operations (RFC 4511 §4.2 to §4.12).
mod op {
    pub(super) const BIND: u8 = 0x60;
    pub(super) const EXTENDED: u8 = 0x77;
}

/// LDAP's reader.
pub struct Ldap {
    client: Side,
    requests: Frames,
    /// The client asked for TLS and has sent nothing since.
    asked_tls: bool,
    /// What follows is TLS.
    tls: Option<Tls>,
}

impl Ldap {
    /// Begins with the side that asks.
    pub fn new(client: Side) -> Self {
        Self { client, requests: Frames::new(HELD_MAX), asked_tls: false, tls: None }
    }

    /// Goes over to TLS.
    fn upgrade(&mut self, context: &mut Context<'_>) -> &mut Tls {
        context.facts.upgraded = true;
        let client = self.client;
        self.tls.get_or_insert_with(|| Tls::new(client))
    }

    /// Returns the memory of what is held until more comes, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.requests.held_bytes() + self.tls.as_ref().map_or(0, Tls::held_bytes)
    }
}

/// What one message changes.
enum Step {
    Go,
    AskTls,
}

/// Reads one message of the client's.
fn request(frame: &Frame<'_>, context: &mut Context<'_>) -> Step {
    let Ok(message) = ber::first(frame.bytes) else { return Step::Go };
    let mut fields = message.open();
    if fields.number(tag::INTEGER).is_err() {
        return Step::Go;
    }
    let Ok(operation) = fields.next() else { return Step::Go };
    match operation.tag {
        op::BIND => bind(&operation, frame.at, context),
        op::EXTENDED => {
            let oid = operation.open().expect(0x80);
            if oid.is_ok_and(|oid| oid.body == START_TLS) {
                return Step::AskTls;
            }
        }
        _ => {}
    }
    Step::Go
}

/// Counts a bind with a password in clear: simple (RFC 4511 §4.2), or SASL PLAIN (RFC 4616).
fn bind(operation: &ber::Element<'_>, at: At, context: &mut Context<'_>) {
    let mut fields = operation.open();
    let mut credentials = || {
        fields.number(tag::INTEGER)?;
        let name = fields.expect(tag::OCTETS)?;
        Ok((name, fields.next()?))
    };
    let Ok::<_, Fault>((name, authentication)) = credentials() else {
        // A name beyond all bounds: what is behind it is not known.
        context.facts.uninspected.add(Uninspected::LIMIT);
        return;
    };
    match authentication.tag {
        // What is not whole is never guessed.
        _ if !authentication.is_whole() => context.facts.uninspected.add(Uninspected::LIMIT),
        0x80 => context.login(EvidenceKind::LdapSimpleBind, at, name.body, authentication.body),
        0xa3 => {
            let mut sasl = authentication.open();
            let is_plain = sasl.expect(tag::OCTETS).is_ok_and(|name| name.body == b"PLAIN");
            if let (true, Ok(response)) = (is_plain, sasl.expect(tag::OCTETS)) {
                context.plain(EvidenceKind::LdapSimpleBind, at, response.body);
            }
        }
        _ => {}
    }
}

/// Returns a message's length.
fn size(head: &[u8]) -> Size {
    if head.first().is_some_and(|first| *first != tag::SEQUENCE) {
        return Size::Bad;
    }
    match ber::first(head) {
        Ok(message) if message.total_len() as u64 <= LEN_MAX && message.len >= 5 => {
            Size::Is(message.total_len() as u64)
        }
        Ok(_) | Err(Fault::Bad) => Size::Bad,
        Err(Fault::Short) => Size::Need((head.len() + 1).max(2)),
    }
}

impl Ldap {
    /// Reads the client's messages up to the end of the piece, or to where TLS begins.
    fn requests(&mut self, at: At, bytes: &[u8], context: &mut Context<'_>) -> Progress {
        let client = self.client;
        if self.requests.is_lost() && probe::is_message(bytes) {
            self.requests = Frames::new(HELD_MAX);
        }
        let mut rest = bytes;
        loop {
            if self.asked_tls && !rest.is_empty() {
                // Only the next byte tells whether the server agreed: 22, a handshake.
                self.asked_tls = false;
                if rest[0] == TLS_HANDSHAKE {
                    return self.upgrade(context).data(client, at, rest, context);
                }
            }
            let read = self.requests.push(rest, at, size, |frame| match request(&frame, context) {
                Step::AskTls if frame.is_whole() => Next::Stop,
                _ => Next::Go,
            });
            if read != Read::Stopped {
                return Progress::More;
            }
            self.asked_tls = true;
            rest = &rest[rest.len() - self.requests.unread_len()..];
            if rest.is_empty() {
                return Progress::More;
            }
        }
    }
}

impl Inspector for Ldap {
    fn data(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) -> Progress {
        match &mut self.tls {
            Some(tls) => tls.data(side, at, bytes, context),
            None if side == self.client => self.requests(at, bytes, context),
            None => Progress::More,
        }
    }

    fn gap(&mut self, side: Side, len: u64, context: &mut Context<'_>) -> Progress {
        if let Some(tls) = &mut self.tls {
            return tls.gap(side, len, context);
        }
        if side == self.client && !self.requests.gap(len) {
            context.facts.uninspected.add(Uninspected::HOLE);
        }
        Progress::More
    }

    fn close(&mut self, side: Side, context: &mut Context<'_>) -> Progress {
        match &mut self.tls {
            Some(tls) => tls.close(side, context),
            None if side == self.client => {
                // A message whose length is wrong is never whole; a server may read it all the same.
                if let Some(frame) = self.requests.cut() {
                    request(&frame, context);
                }
                Progress::Enough
            }
            None => Progress::More,
        }
    }

    fn skippable(&self, side: Side) -> u64 {
        match &self.tls {
            Some(tls) => tls.skippable(side),
            None if side == self.client => match self.requests.skippable() {
                // A lost side waits for a message to begin.
                u64::MAX => 0,
                skippable => skippable,
            },
            None => u64::MAX,
        }
    }
}
