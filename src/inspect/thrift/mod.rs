//! Thrift: binary protocol strict and old, compact protocol, framed or not; logins by `connect` (WSO2's
//! databridge) and `login` (Cassandra).
//!
//! Messages of the unframed protocols do not tell their length, so the client's stream is searched for the
//! calls that matter; what their names are made of must be a message's beginning.

mod login;
mod probe;
#[cfg(test)]
mod tests;

use super::look::Fault;
use super::tail::Tail;
use super::{Context, EvidenceKind, Inspector, Progress, Uninspected};
use crate::packet::{At, Side};

pub(super) use probe::{datagram, probe};

/// Names of the calls that carry a password, with their lengths before them as both protocols write them, or
/// behind the name of one of several services that share a connection (`TMultiplexedProtocol`).
const CALLS: [&[u8]; 4] = [b"\x07connect", b"\x05login", b":connect", b":login"];

/// Bytes that are kept before what is searched next: a message's beginning up to its name, and a service's.
const KEPT_LEN: usize = 16 + login::SERVICE_LEN_MAX;

/// Bytes of a call that are held until it is whole.
const HELD_MAX: usize = 4 << 10;

/// Thrift's reader.
pub struct Thrift {
    client: Side,
    tail: Tail,
    /// Where in the tail the search goes on.
    from: usize,
}

impl Thrift {
    /// Begins with the side that calls.
    pub fn new(client: Side) -> Self {
        Self { client, tail: Tail::default(), from: 0 }
    }

    fn search(&mut self, context: &mut Context<'_>) {
        loop {
            let bytes = self.tail.bytes();
            let new = &bytes[self.from..];
            let places = CALLS.iter().filter_map(|call| {
                memchr::memmem::find(new, call).map(|offset| (offset, call.len()))
            });
            let Some((offset, len)) = places.min() else { break };
            let found_at = self.from + offset;
            let Some(call) = login::call_at(bytes, found_at, len) else {
                self.from = found_at + 1;
                continue;
            };
            let begins_at = call.begins_at;
            match login::credentials(bytes, &call) {
                Ok((user, password)) => {
                    context.login(
                        EvidenceKind::ThriftLogin,
                        self.tail.at(begins_at),
                        user,
                        password,
                    );
                }
                Err(Fault::Short) if bytes.len() - begins_at < HELD_MAX => {
                    let released = begins_at.saturating_sub(KEPT_LEN);
                    self.from = found_at - released;
                    self.tail.release(released);
                    return;
                }
                Err(Fault::Short) => context.facts.uninspected.add(Uninspected::LIMIT),
                Err(Fault::Bad) => {}
            }
            self.from = found_at + 1;
        }
        // A name may have begun; before it stands what makes it a call.
        let len = self.tail.bytes().len();
        let searched = len.saturating_sub(CALLS[0].len()).max(self.from);
        let released = searched.saturating_sub(KEPT_LEN);
        self.from = searched - released;
        self.tail.release(released);
    }

    /// Returns the memory of what is held until more comes, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.tail.held_bytes()
    }
}

impl Inspector for Thrift {
    fn data(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) -> Progress {
        if side == self.client {
            self.tail.push(bytes, at);
            self.search(context);
        }
        Progress::More
    }

    fn gap(&mut self, side: Side, _len: u64, context: &mut Context<'_>) -> Progress {
        if side == self.client {
            context.facts.uninspected.add(Uninspected::HOLE);
            self.tail.clear();
            self.from = 0;
        }
        Progress::More
    }

    fn close(&mut self, side: Side, _context: &mut Context<'_>) -> Progress {
        if side == self.client { Progress::Enough } else { Progress::More }
    }

    fn skippable(&self, side: Side) -> u64 {
        if side == self.client { 0 } else { u64::MAX }
    }
}
