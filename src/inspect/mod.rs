//! Stream bytes → facts: which protocol, which credentials, what the other end said of them.
//!
//! Takes each side's bytes in order, with the holes; gives [`Facts`]. One file a protocol. Never keeps a
//! secret: what a parser saw leaves it as a keyed [`Fingerprint`](secret::Fingerprint) or not at all.

pub mod amqp;
mod answer;
mod api_connect;
mod ber;
mod bytes;
mod cassandra;
pub mod connection;
pub mod databridge;
pub mod datagrams;
mod dns;
pub mod facts;
mod frames;
mod hazelcast;
mod hdfs;
pub mod http1;
pub mod http2;
mod http_context;
mod inspection;
mod jwt;
mod kafka;
mod kerberos;
pub mod ldap;
mod login;
mod look;
mod memory;
pub mod mqtt;
mod ntp;
mod opening;
pub mod probe;
mod proxy;
mod quic;
pub mod redact;
pub mod rmi;
mod secrecy;
pub mod secret;
mod snmp;
mod spark;
mod ssh;
mod syslog;
mod tail;
#[cfg(test)]
mod testing;
pub mod thrift;
pub mod tls;
mod tunnel;
mod websocket;

use crate::packet::{At, Side};
pub use answer::Answer;
pub use facts::{Evidence, EvidenceKind, Facts, Protocol, Uninspected};
pub use inspection::Inspection;
use secret::Fingerprinter;

/// What inspectors are told from outside.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Operator-named authorisation headers, in lower case.
    pub auth_headers: Vec<String>,
    /// Shows user names instead of their fingerprints.
    pub show_users: bool,
}

/// What inspection needs beside the bytes; one for the whole run.
#[derive(Clone)]
pub struct Tools {
    /// What the operator said.
    pub options: Options,
    /// Turns a secret into what may be reported of it.
    pub fingerprinter: Fingerprinter,
}

impl Tools {
    /// Returns what an inspector has at hand for one flow.
    pub fn context<'a>(&'a self, facts: &'a mut Facts) -> Context<'a> {
        Context { facts, fingerprinter: &self.fingerprinter, options: &self.options }
    }
}

/// What an inspector has at hand while it looks at bytes: where its facts go, and how secrets leave it.
pub struct Context<'a> {
    /// The flow's facts so far.
    pub facts: &'a mut Facts,
    /// Turns a secret into what may be reported of it.
    pub fingerprinter: &'a Fingerprinter,
    /// What the operator said.
    pub options: &'a Options,
}

/// What an inspector wants after it saw bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Keep the bytes coming.
    More,
    /// Nothing more can be learned from this flow: opaque, or decided.
    Enough,
}

/// One protocol's reader of a connection. A plain struct: no clock, no thread, no file.
///
/// `data` comes in stream order on each side, in pieces of any size; the two sides are interleaved as
/// captured. A hole is told by `gap`, before the bytes behind it; after `close` nothing more comes from
/// that side.
pub trait Inspector {
    /// Takes the next bytes of one side; `at` is the packet that brought the first of them.
    fn data(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) -> Progress;

    /// Learns that `len` bytes of one side were never captured.
    fn gap(&mut self, side: Side, len: u64, context: &mut Context<'_>) -> Progress;

    /// Learns that one side sends no more, or that the capture ended.
    fn close(&mut self, side: Side, context: &mut Context<'_>) -> Progress;

    /// Returns how many of the next bytes of one side may be left out without being missed: the rest
    /// of a body of known length. A hole inside them is no loss.
    fn skippable(&self, _side: Side) -> u64 {
        0
    }

    /// Returns how many of the next bytes of one side need not be shown, if nothing else comes before them.
    /// Of these, [`Inspector::passed`] tells instead, but never of the last one.
    fn passes(&self, _side: Side) -> u64 {
        0
    }

    /// Learns that bytes came which need not be shown.
    fn passed(&mut self, _side: Side, _len: u32) {}
}

/// What a probe says of the first bytes of a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// It is this protocol, and the bytes came from the given end.
    Confirmed(Sender),
    /// Too few bytes to say.
    Undecided,
    /// It is something else.
    Excluded,
}

/// Which end of the conversation sent the probed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The client: a request, a ClientHello.
    Initiator,
    /// The server: a response, a ServerHello.
    Responder,
    /// Either: both ends of this protocol send such bytes.
    Either,
}
