//! One flow with everything that was found about it.

use std::net::SocketAddr;

use super::resolve::{self, Direction};
use crate::catalog::{AppProtocol, Catalog};
use crate::classify::Heard;
use crate::flow::Flow;
use crate::inspect::{Answer, Facts, Protocol};
use crate::packet::{Side, Transport};

/// A flow, what inspection found in it, and which way round it goes.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) flow: &'a Flow,
    pub(super) facts: Option<&'a Facts>,
    pub(super) direction: Direction,
    pub(super) heard: Heard,
}

impl<'a> View<'a> {
    pub(super) fn new(catalog: &Catalog, flow: &'a Flow, facts: Option<&'a Facts>) -> Self {
        let transport = flow.key.transport();
        let is_catalogued = |side: Side| catalog.is_catalogued(transport, flow.key.port(side));
        let direction = resolve::direction(flow, facts, is_catalogued);
        Self { flow, facts, direction, heard: heard(flow, facts) }
    }

    pub(super) fn transport(&self) -> Transport {
        self.flow.key.transport()
    }

    pub(super) fn initiator_side(&self) -> Side {
        self.direction.initiator
    }

    pub(super) fn responder_side(&self) -> Side {
        self.direction.initiator.other()
    }

    pub(super) fn initiator(&self) -> SocketAddr {
        self.flow.key.endpoint(self.initiator_side())
    }

    pub(super) fn responder(&self) -> SocketAddr {
        self.flow.key.endpoint(self.responder_side())
    }

    /// Tells whether the responder was heard: a SYN/ACK, data, or a datagram.
    pub(super) fn is_answered(&self) -> bool {
        let side = self.responder_side();
        match self.transport() {
            Transport::Tcp => self.flow.tcp.is_answered_by(side),
            Transport::Udp => self.flow.packets[side.index()] > 0,
        }
    }

    /// Tells whether the responder answered, also where only what the initiator sent was captured: over TCP
    /// nobody sends data before an answer.
    pub(super) fn was_answered(&self) -> bool {
        let by_data = self.transport() == Transport::Tcp && self.is_established();
        self.is_answered() || (by_data && !self.is_refused())
    }

    /// Tells whether the responder turned the flow away.
    pub(super) fn is_refused(&self) -> bool {
        self.flow.is_refused()
            || (self.transport() == Transport::Tcp
                && self.flow.tcp.is_refused(self.initiator_side()))
    }

    /// Tells whether anything was conveyed: a SYN/ACK, data, or any datagram.
    pub(super) fn is_established(&self) -> bool {
        match self.transport() {
            Transport::Tcp => self.flow.tcp.is_answered(),
            Transport::Udp => self.flow.has_payload(),
        }
    }

    /// Says what the responder speaks by its own bytes: a client names the connection, and may be mistaken.
    pub(super) fn heard_of_responder(&self) -> Heard {
        if self.transport() == Transport::Udp {
            return self.heard;
        }
        if !self.flow.has_payload_of(self.responder_side()) {
            return Heard::Nothing;
        }
        let asked = self.facts.filter(|facts| facts.initiator == Some(self.initiator_side()));
        let Some(facts) = asked else { return self.heard };
        match facts.answer {
            Answer::In(protocol) => {
                let answered = in_words(protocol);
                if is_like(self.heard, answered) { self.heard } else { answered }
            }
            Answer::Foreign => Heard::Unknown,
            Answer::Unclear | Answer::Unheard => self.heard,
        }
    }

    /// Tells whether the application's data are encrypted; `None` while nobody knows.
    pub(super) fn encrypted(&self) -> Option<bool> {
        let facts = self.facts?;
        facts.protocol.map(|protocol| protocol.is_encrypted() || facts.upgraded)
    }
}

/// Says in the catalogue's words what was recognised.
fn heard(flow: &Flow, facts: Option<&Facts>) -> Heard {
    let Some(facts) = facts else {
        return if flow.has_payload() { Heard::Unknown } else { Heard::Nothing };
    };
    let Some(protocol) = facts.protocol else { return Heard::Unknown };
    let Heard::Clear(said) = in_words(protocol) else { return in_words(protocol) };
    // TLS in a tunnel through HTTP is spoken to somebody else; the service itself heard HTTP.
    let is_http = matches!(said, AppProtocol::Http | AppProtocol::Websocket);
    if facts.upgraded && !is_http { Heard::Upgraded(said) } else { Heard::Clear(said) }
}

/// Says in the catalogue's words what a protocol is.
fn in_words(protocol: Protocol) -> Heard {
    match protocol {
        Protocol::Tls | Protocol::Quic => Heard::Tls,
        Protocol::Http2 => Heard::Clear(AppProtocol::Http),
        other => AppProtocol::from_name(other.name()).map_or(Heard::Unknown, Heard::Clear),
    }
}

/// Tells whether an answer is one to what was asked: a WebSocket begins with an answer of HTTP.
fn is_like(heard: Heard, answered: Heard) -> bool {
    let of_http = |said| matches!(said, AppProtocol::Http | AppProtocol::Websocket);
    match (heard, answered) {
        (Heard::Clear(asked), Heard::Clear(said)) if of_http(said) => of_http(asked),
        (Heard::Clear(asked) | Heard::Upgraded(asked), Heard::Clear(said)) => asked == said,
        (heard, answered) => heard == answered,
    }
}
