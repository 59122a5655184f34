//! One flow with everything that was found about it.

use std::net::SocketAddr;

use super::resolve::{self, Direction};
use crate::catalog::{AppProtocol, Catalog};
use crate::classify::Heard;
use crate::flow::Flow;
use crate::inspect::{Facts, Protocol};
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
    let said = match protocol {
        Protocol::Tls | Protocol::Quic => return Heard::Tls,
        Protocol::Http2 => AppProtocol::Http,
        other => match AppProtocol::from_name(other.name()) {
            Some(said) => said,
            None => return Heard::Unknown,
        },
    };
    // TLS in a tunnel through HTTP is spoken to somebody else; the service itself heard HTTP.
    let is_http = matches!(said, AppProtocol::Http | AppProtocol::Websocket);
    if facts.upgraded && !is_http { Heard::Upgraded(said) } else { Heard::Clear(said) }
}
