//! A flow's responder, host, offset and content → [`Tag`]: what a flow is said to be, and why.
//!
//! Takes the catalogue's candidates of the responder's port, narrowed by what the site declares or the host
//! shows; gives the service that names the flow and every other one that it could be. Runs at the join, once
//! an endpoint and not once a packet: packets follow their flow. Never looks at bytes; what was recognised
//! in them comes in as [`Heard`].

pub mod host;

use crate::catalog::{AppProtocol, Candidate, Catalog, Encryption, Service};
use crate::packet::Transport;

/// Why a flow has its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// The protocol seen there is that of a service without a number of its own.
    Content,
    /// The site file says what runs on the host.
    Inventory,
    /// A server named the endpoint to its client.
    Learned,
    /// The host's ports fit its products at one offset.
    OffsetInferred,
    /// The port is documented.
    Port,
}

impl Basis {
    /// Returns the name as reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Inventory => "inventory",
            Self::Learned => "learned",
            Self::OffsetInferred => "offset-inferred",
            Self::Port => "port",
        }
    }
}

/// What was recognised of a flow's bytes, in the catalogue's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Heard {
    /// No payload.
    Nothing,
    /// Bytes that nobody recognises.
    Unknown,
    /// TLS or QUIC: what is inside is not known.
    Tls,
    /// A protocol in clear.
    Clear(AppProtocol),
    /// A protocol that began in clear and was handed over to TLS.
    Upgraded(AppProtocol),
}

impl Heard {
    /// Tells whether a service's row has nothing against what was heard.
    ///
    /// `http` admits h2c, gRPC and `WebSocket`, `websocket` admits `http`; `upgrade` admits clear and TLS;
    /// `either` admits both. Silence and bytes that nobody recognises speak against nothing.
    pub fn is_admitted_by(self, service: &Service) -> bool {
        match self {
            Self::Nothing | Self::Unknown => true,
            // Where the source does not say what is spoken, it does not say that it is in clear either.
            Self::Tls => {
                service.encryption != Encryption::None || service.protocol == AppProtocol::Any
            }
            Self::Clear(protocol) => {
                service.encryption != Encryption::Tls && service.speaks(protocol)
            }
            Self::Upgraded(protocol) => {
                matches!(service.encryption, Encryption::Upgrade | Encryption::Either)
                    && service.speaks(protocol)
            }
        }
    }
}

/// What an endpoint is said to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tag {
    /// Every service that it could be, the one that names it first.
    pub candidates: Vec<Candidate>,
    /// Why; `None` exactly where there is no candidate.
    pub basis: Option<Basis>,
}

impl Tag {
    /// Returns the service that names the flow, with the offset under which it listens there.
    pub fn service(&self) -> Option<Candidate> {
        self.candidates.first().copied()
    }

    /// Tells whether everything that it could be speaks against what was heard; never where there is no
    /// candidate.
    pub fn disagrees(&self, catalog: &Catalog, heard: Heard) -> bool {
        !self.candidates.is_empty()
            && !self.candidates.iter().any(|c| heard.is_admitted_by(catalog.service(c.service)))
    }
}

/// Tags an endpoint by the port's documented services alone.
pub fn by_port(catalog: &Catalog, transport: Transport, port: u16) -> Tag {
    let candidates = catalog.candidates(transport, port).to_vec();
    let basis = (!candidates.is_empty()).then_some(Basis::Port);
    Tag { candidates, basis }
}

/// Tags an endpoint without candidates by what was heard there: a service that listens at random.
pub fn by_content(catalog: &Catalog, transport: Transport, heard: Heard) -> Tag {
    let Heard::Clear(protocol) = heard else { return Tag::default() };
    let random = catalog.random(transport, protocol);
    let candidates: Vec<Candidate> = random.collect();
    let basis = (!candidates.is_empty()).then_some(Basis::Content);
    Tag { candidates, basis }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_speaks_against_the_rows_that_cannot_say_it() {
        let catalog = Catalog::embedded();
        let tag = |port| by_port(catalog, Transport::Tcp, port);
        let http = Heard::Clear(AppProtocol::Http);
        assert!(!tag(8280).disagrees(catalog, http));
        assert!(tag(8280).disagrees(catalog, Heard::Tls));
        assert!(tag(8243).disagrees(catalog, http));
        assert!(!tag(8243).disagrees(catalog, Heard::Tls));
        assert!(tag(8280).disagrees(catalog, Heard::Clear(AppProtocol::Amqp)));
        for silent in [Heard::Nothing, Heard::Unknown] {
            assert!(!tag(8243).disagrees(catalog, silent));
        }
        assert!(!tag(1).disagrees(catalog, http), "a port without a candidate has no mismatch");
        assert_eq!(tag(1).basis, None);
        assert_eq!(tag(8280).basis, Some(Basis::Port));
    }
}
