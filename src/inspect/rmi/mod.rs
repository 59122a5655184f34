//! Java RMI (JRMP): JMX logins, JMX without any, and the endpoints that registries name.
//!
//! Calls and answers do not tell their length: Java's serialisation would have to be understood whole. Each
//! begins with a signature of seven bytes, and what is of interest stands close behind it, so the streams
//! are searched. Sources: OpenJDK's `TCPTransport`, `StreamRemoteCall`, `RegistryImpl_Stub`, `TCPEndpoint`.

mod object;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use memchr::memmem;

use super::bytes::{Reader, is_text};
use super::look::{Fault, Look, OrShort, any_of, ensure, verdict};
use super::probe::Start;
use super::tail::Tail;
use super::{Context, EvidenceKind, Inspector, Probe, Progress, Sender, Uninspected};
use crate::packet::{At, Side};
use object::Argument;

/// A call: its operation, a new object stream, a block of 34 bytes.
const CALL: [u8; 7] = [0x50, 0xac, 0xed, 0, 5, 0x77, 0x22];

/// An answer: its operation, a new object stream, a block of 15 bytes.
const RETURN: [u8; 7] = [0x51, 0xac, 0xed, 0, 5, 0x77, 0x0f];

/// A call up to its arguments: object, operation, hash.
const CALL_LEN: usize = 41;

/// Hash of the registry's interface.
const REGISTRY: u64 = 0x4415_4dc9_d4e6_3bdf;

/// Hash of `RMIServer.newClient(Object)`, which takes a JMX client's credentials.
const NEW_CLIENT: u64 = 0xf0e0_74ea_ad0c_aea8;

/// Bytes behind a signature in which what it announces must end.
const HELD_MAX: usize = 8 << 10;

/// Bytes behind a call or an answer in which its stub must begin.
const STUB_WITHIN: usize = 16 << 10;

/// Bytes that are kept before what is searched next: as many as a signature's beginning has.
const KEPT_LEN: usize = 16;

/// Calls without an answer that are remembered: JRMP lets a connection have one.
const ASKED_MAX: usize = 16;

/// Looks at the first bytes of one side.
pub(super) fn probe(start: &Start<'_>) -> Probe {
    let bytes = start.bytes;
    verdict(any_of(&[opening(bytes), acknowledged(bytes), operation(bytes)]))
}

/// "JRMI", version, protocol: streamed, single operation, multiplexed.
fn opening(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    reader.expect(b"JRMI\0")?;
    reader.expect_u8(|version| matches!(version, 1 | 2))?;
    reader.expect_u8(|protocol| matches!(protocol, 0x4b..=0x4d))?;
    Ok(Sender::Initiator)
}

/// The server's yes: the client's host and port as it sees them, and nothing more before a call.
fn acknowledged(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    reader.expect(&[ACKNOWLEDGED, 0])?;
    let host_len = usize::from(reader.expect_u8(|len| len >= 2)?);
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_%".contains(&byte);
    reader.expect_all(host_len, is_host)?;
    let port = reader.u32().or_short()?;
    ensure((1..=0xffff).contains(&port))?;
    ensure(matches!(reader.rest(), [] | [0x51 | 0x53, ..]))?;
    Ok(Sender::Responder)
}

/// A call or an answer of a connection that was joined midway.
fn operation(bytes: &[u8]) -> Look {
    match bytes.first().or_short()? {
        0x50 => Reader::new(bytes).expect(&CALL).map(|()| Sender::Initiator),
        0x51 => Reader::new(bytes).expect(&RETURN).map(|()| Sender::Responder),
        _ => Err(Fault::Bad),
    }
}

/// What a call asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// The registry's lookup, or a JMX connection with credentials: the answer has a stub.
    Stub,
    /// A JMX connection without credentials.
    Admission(At),
    Other,
}

/// RMI's reader.
pub struct Rmi {
    client: Side,
    halves: [Half; 2],
    /// The connection was seen from its first byte on, without a hole: answers follow calls one by one.
    is_aligned: bool,
    asked: VecDeque<Asked>,
    /// An answer that came before its call (the sides may be captured out of order): whether it was normal.
    early: Option<bool>,
    has_called: bool,
    session: Session,
    /// Bytes that came of the client while there was no session.
    client_len: u64,
}

/// Whether there is a session: a header alone is sent to whatever listens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Session {
    /// Nothing came yet.
    Silent,
    /// The client's header came, and no answer to it; the packet is the first one.
    Offered(At),
    /// It is noted, or the server speaks something else.
    Settled,
}

/// Length of a client's header: name, version, protocol.
const HEADER_LEN: u64 = 7;

/// A server's yes to a header.
const ACKNOWLEDGED: u8 = 0x4e;

/// One side's search.
#[derive(Default)]
struct Half {
    tail: Tail,
    /// Where in the tail the search goes on.
    from: usize,
    /// Bytes that may still pass before the stub that is looked for begins; 0 when none is.
    stub_within: usize,
}

impl Rmi {
    /// Begins with the side that calls; `midway` when a side was joined after its beginning.
    pub fn new(client: Side, midway: bool) -> Self {
        Self {
            client,
            halves: Default::default(),
            is_aligned: !midway,
            asked: VecDeque::new(),
            early: None,
            has_called: false,
            session: Session::Silent,
            client_len: 0,
        }
    }

    /// Notes a session in clear, once there is one: the server says yes, or the client goes on.
    fn settle(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) {
        let first = if let Session::Offered(first) = self.session { first } else { at };
        self.session = Session::Offered(first);
        let Some(begins) = bytes.first() else { return };
        if side == self.client {
            self.client_len += bytes.len() as u64;
            if self.is_aligned && self.client_len <= HEADER_LEN {
                return;
            }
        } else if self.is_aligned && *begins != ACKNOWLEDGED {
            self.session = Session::Settled;
            return;
        }
        self.session = Session::Settled;
        context.facts.observe(EvidenceKind::JmxClear, first, None);
    }

    /// Searches what is new on one side.
    fn search(&mut self, side: Side, context: &mut Context<'_>) {
        let from_client = side == self.client;
        let signature = if from_client { &CALL } else { &RETURN };
        loop {
            let half = &mut self.halves[side.index()];
            let bytes = half.tail.bytes();
            let new = &bytes[half.from..];
            let operation = memmem::find(new, signature);
            let stub = if half.stub_within == 0 {
                None
            } else {
                let within = operation.unwrap_or(new.len()).min(half.stub_within);
                memmem::find(&new[..within.min(new.len())], object::UNICAST_REF)
            };
            let Some(at) = stub.or(operation).map(|offset| half.from + offset) else {
                self.pass(side);
                return;
            };
            let read = if stub.is_some() {
                self.stub(side, at, context)
            } else if from_client {
                self.call(side, at, context)
            } else {
                self.answer(side, at, context)
            };
            let half = &mut self.halves[side.index()];
            let held_len = half.tail.bytes().len() - at;
            if read == Err(Fault::Short) && held_len < HELD_MAX {
                half.stub_within = half.stub_within.saturating_sub(at - half.from);
                let released = at.saturating_sub(KEPT_LEN);
                half.tail.release(released);
                half.from = at - released;
                return;
            }
            if read == Err(Fault::Short) {
                context.facts.uninspected.add(Uninspected::LIMIT);
            }
            if stub.is_some() && read.is_ok() {
                half.stub_within = 0;
            }
            half.from = at + 1;
        }
    }

    /// Lets go of what was searched, but for what may be the beginning of a signature.
    fn pass(&mut self, side: Side) {
        let half = &mut self.halves[side.index()];
        let len = half.tail.bytes().len();
        let searched = len.saturating_sub(KEPT_LEN).max(half.from);
        half.stub_within = half.stub_within.saturating_sub(searched - half.from);
        let released = searched.saturating_sub(KEPT_LEN);
        half.tail.release(released);
        half.from = searched - released;
    }

    /// Reads a call of the client's.
    fn call(&mut self, side: Side, at: usize, context: &mut Context<'_>) -> Look<()> {
        let half = &mut self.halves[side.index()];
        let frame = half.tail.at(at);
        let call = half.tail.bytes().get(at..).unwrap_or_default();
        ensure(call.len() >= CALL_LEN).map_err(|_| Fault::Short)?;
        let (head, arguments) = call.split_at(CALL_LEN);
        let mut reader = Reader::new(&head[CALL.len()..]);
        let object = reader.u64();
        reader.take(14);
        let (operation, hash) = (reader.u32(), reader.u64());
        let asked = match (object, operation, hash) {
            (Some(0), Some(2), Some(REGISTRY)) => Asked::Stub,
            (Some(0), Some(0 | 3), Some(REGISTRY)) => {
                // The server binds itself: its stub is in the call.
                half.stub_within = STUB_WITHIN;
                Asked::Other
            }
            (_, Some(u32::MAX), Some(NEW_CLIENT)) => match object::credentials(arguments)? {
                Argument::Null => Asked::Admission(frame),
                Argument::Credentials { user, password } => {
                    context.login(EvidenceKind::JmxLogin, frame, user, password);
                    Asked::Stub
                }
                Argument::Object => {
                    context.facts.observe(EvidenceKind::JmxLogin, frame, None);
                    Asked::Stub
                }
            },
            _ => Asked::Other,
        };
        self.has_called = true;
        if let Some(is_normal) = self.early.take() {
            admit(asked, is_normal, context);
        } else {
            if self.asked.len() == ASKED_MAX {
                self.asked.clear();
            }
            self.asked.push_back(asked);
        }
        Ok(())
    }

    /// Reads an answer of the server's.
    fn answer(&mut self, side: Side, at: usize, context: &mut Context<'_>) -> Look<()> {
        let half = &mut self.halves[side.index()];
        let answer = half.tail.bytes().get(at..).unwrap_or_default();
        let is_normal = *answer.get(RETURN.len()).or_short()? == 1;
        half.stub_within = 0;
        match self.asked.pop_front() {
            Some(asked) => {
                if is_normal && asked != Asked::Other {
                    half.stub_within = STUB_WITHIN;
                }
                admit(asked, is_normal, context);
            }
            None if self.is_aligned => {
                self.early = Some(is_normal);
                half.stub_within = if is_normal { STUB_WITHIN } else { 0 };
            }
            // The call was not seen: the client's direction may be absent.
            None if is_normal && !self.has_called => half.stub_within = STUB_WITHIN,
            None => {}
        }
        Ok(())
    }

    /// Reads what a stub refers to, and remembers it.
    fn stub(&mut self, side: Side, at: usize, context: &mut Context<'_>) -> Look<()> {
        let half = &self.halves[side.index()];
        let before = at.checked_sub(2).ok_or(Fault::Bad)?;
        let endpoint = object::endpoint(&half.tail.bytes()[before..])?;
        ensure(is_text(endpoint.host))?;
        context.facts.learn(super::facts::LearnedEndpoint {
            host: String::from_utf8_lossy(endpoint.host).into_owned(),
            port: endpoint.port,
            tls: endpoint.tls,
            at: half.tail.at(at),
        });
        Ok(())
    }

    /// Returns the memory of what is held until more comes, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.halves.iter().map(|half| half.tail.held_bytes()).sum()
    }
}

/// Notes that a server let a client in that offered nothing.
fn admit(asked: Asked, is_normal: bool, context: &mut Context<'_>) {
    if let (Asked::Admission(at), true) = (asked, is_normal) {
        context.facts.observe(EvidenceKind::JmxNoAuth, at, None);
    }
}

impl Inspector for Rmi {
    fn data(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) -> Progress {
        if self.session != Session::Settled {
            self.settle(side, at, bytes, context);
        }
        self.halves[side.index()].tail.push(bytes, at);
        self.search(side, context);
        Progress::More
    }

    fn gap(&mut self, side: Side, _len: u64, context: &mut Context<'_>) -> Progress {
        context.facts.uninspected.add(Uninspected::HOLE);
        self.halves[side.index()] = Half::default();
        self.asked.clear();
        self.early = None;
        self.is_aligned = false;
        Progress::More
    }

    fn close(&mut self, side: Side, context: &mut Context<'_>) -> Progress {
        // The server's direction may not have been captured.
        if let (Session::Offered(first), true) = (self.session, side == self.client) {
            self.session = Session::Settled;
            context.facts.observe(EvidenceKind::JmxClear, first, None);
        }
        Progress::More
    }
}
