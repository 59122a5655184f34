//! The reader of a recognised protocol.

use super::amqp::Amqp;
use super::databridge::Databridge;
use super::http1::Http1;
use super::http2::Http2;
use super::ldap::Ldap;
use super::mqtt::Mqtt;
use super::rmi::Rmi;
use super::thrift::Thrift;
use super::tls::Tls;
use super::{Context, Inspector, Progress, Protocol};
use crate::packet::{At, Side};

/// One protocol's reader. An enum and not a trait object: it lives in place, and `match` says what there is.
pub enum Inspection {
    /// HTTP/1.
    Http(Box<Http1>),
    /// HTTP/2 in clear.
    Http2(Box<Http2>),
    /// TLS, until it encrypts.
    Tls(Box<Tls>),
    /// AMQP.
    Amqp(Box<Amqp>),
    /// WSO2's databridge.
    Databridge(Box<Databridge>),
    /// LDAP, and TLS behind StartTLS.
    Ldap(Box<Ldap>),
    /// MQTT, up to its CONNECT.
    Mqtt(Box<Mqtt>),
    /// Java RMI.
    Rmi(Box<Rmi>),
    /// Thrift.
    Thrift(Box<Thrift>),
    /// Recognised, and nothing of it is read.
    Named,
}

impl Inspection {
    /// Begins to read a protocol whose client is on the given side; `midway` tells for each side whether
    /// its stream was joined after its beginning.
    pub fn begin(protocol: Protocol, client: Side, midway: [bool; 2]) -> Self {
        match protocol {
            Protocol::Http => Self::Http(Box::new(Http1::new(client).midway(midway))),
            Protocol::Http2 => Self::Http2(Box::new(Http2::new(client).midway(midway))),
            Protocol::Tls => Self::Tls(Box::new(Tls::new(client))),
            Protocol::Amqp => Self::Amqp(Box::new(Amqp::new(client))),
            Protocol::Databridge => Self::Databridge(Box::new(Databridge::new(client))),
            Protocol::Ldap => Self::Ldap(Box::new(Ldap::new(client))),
            Protocol::Mqtt => Self::Mqtt(Box::new(Mqtt::new(client))),
            Protocol::Rmi => Self::Rmi(Box::new(Rmi::new(client, midway != [false; 2]))),
            Protocol::Thrift => Self::Thrift(Box::new(Thrift::new(client))),
            _ => Self::Named,
        }
    }

    /// Begins to read what runs inside another conversation, at a depth of so many around it.
    pub(super) fn nested(protocol: Protocol, client: Side, depth: u8) -> Self {
        match protocol {
            Protocol::Http => Self::Http(Box::new(Http1::new(client).nested(depth))),
            Protocol::Http2 => Self::Http2(Box::new(Http2::new(client).nested(depth))),
            _ => Self::begin(protocol, client, [false; 2]),
        }
    }
}

impl Inspection {
    /// Loads what the next bytes need first, of readers that are large; returns something of it.
    #[inline]
    pub fn touch(&self) -> u64 {
        match self {
            Self::Http(http) => http.touch(),
            _ => 0,
        }
    }

    /// Returns the memory of what is held until more comes, in bytes: parts of messages, tables of fields.
    pub fn held_bytes(&self) -> usize {
        match self {
            Self::Http(http) => http.held_bytes(),
            Self::Http2(http2) => http2.held_bytes(),
            Self::Tls(tls) => tls.held_bytes(),
            Self::Amqp(amqp) => amqp.held_bytes(),
            Self::Databridge(databridge) => databridge.held_bytes(),
            Self::Ldap(ldap) => ldap.held_bytes(),
            Self::Mqtt(mqtt) => mqtt.held_bytes(),
            Self::Rmi(rmi) => rmi.held_bytes(),
            Self::Thrift(thrift) => thrift.held_bytes(),
            Self::Named => 0,
        }
    }
}

impl Inspector for Inspection {
    fn data(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) -> Progress {
        match self {
            Self::Http(http) => http.data(side, at, bytes, context),
            Self::Http2(http2) => http2.data(side, at, bytes, context),
            Self::Tls(tls) => tls.data(side, at, bytes, context),
            Self::Amqp(amqp) => amqp.data(side, at, bytes, context),
            Self::Databridge(databridge) => databridge.data(side, at, bytes, context),
            Self::Ldap(ldap) => ldap.data(side, at, bytes, context),
            Self::Mqtt(mqtt) => mqtt.data(side, at, bytes, context),
            Self::Rmi(rmi) => rmi.data(side, at, bytes, context),
            Self::Thrift(thrift) => thrift.data(side, at, bytes, context),
            Self::Named => Progress::Enough,
        }
    }

    fn gap(&mut self, side: Side, len: u64, context: &mut Context<'_>) -> Progress {
        match self {
            Self::Http(http) => http.gap(side, len, context),
            Self::Http2(http2) => http2.gap(side, len, context),
            Self::Tls(tls) => tls.gap(side, len, context),
            Self::Amqp(amqp) => amqp.gap(side, len, context),
            Self::Databridge(databridge) => databridge.gap(side, len, context),
            Self::Ldap(ldap) => ldap.gap(side, len, context),
            Self::Mqtt(mqtt) => mqtt.gap(side, len, context),
            Self::Rmi(rmi) => rmi.gap(side, len, context),
            Self::Thrift(thrift) => thrift.gap(side, len, context),
            Self::Named => Progress::Enough,
        }
    }

    fn close(&mut self, side: Side, context: &mut Context<'_>) -> Progress {
        match self {
            Self::Http(http) => http.close(side, context),
            Self::Http2(http2) => http2.close(side, context),
            Self::Tls(tls) => tls.close(side, context),
            Self::Amqp(amqp) => amqp.close(side, context),
            Self::Databridge(databridge) => databridge.close(side, context),
            Self::Ldap(ldap) => ldap.close(side, context),
            Self::Mqtt(mqtt) => mqtt.close(side, context),
            Self::Rmi(rmi) => rmi.close(side, context),
            Self::Thrift(thrift) => thrift.close(side, context),
            Self::Named => Progress::Enough,
        }
    }

    fn skippable(&self, side: Side) -> u64 {
        match self {
            Self::Http(http) => http.skippable(side),
            Self::Http2(http2) => http2.skippable(side),
            Self::Tls(tls) => tls.skippable(side),
            Self::Amqp(amqp) => amqp.skippable(side),
            Self::Databridge(databridge) => databridge.skippable(side),
            Self::Ldap(ldap) => ldap.skippable(side),
            Self::Mqtt(mqtt) => mqtt.skippable(side),
            Self::Rmi(rmi) => rmi.skippable(side),
            Self::Thrift(thrift) => thrift.skippable(side),
            Self::Named => u64::MAX,
        }
    }

    fn passes(&self, side: Side) -> u64 {
        match self {
            Self::Http(http) => http.passes(side),
            _ => 0,
        }
    }

    fn passed(&mut self, side: Side, len: u32) {
        if let Self::Http(http) = self {
            http.passed(side, len);
        }
    }
}
