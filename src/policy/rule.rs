//! One rule: what it says, what it asks of a flow, and how specific that is.

use super::judge::View;
use super::kind::{FindingKind, Severity};
use super::words::Ports;
use crate::catalog::{ProductId, Service, ServiceId};
use crate::site::ZoneId;

/// One rule of the policy.
#[derive(Debug, Clone)]
pub struct Rule {
    /// `wso2/bearer-over-http`.
    pub id: String,
    /// One sentence, without a full stop.
    pub title: String,
    /// What a finding by it says.
    pub kind: FindingKind,
    /// How grave that is.
    pub severity: Severity,
    /// EVE's `signature_id`: fixed for the rule, and its own.
    pub signature_id: u32,
    /// The document it rests on.
    pub source: String,
    /// What to do; may be several lines.
    pub remedy: String,
    /// Where it came from: `catalog/policy/wso2.toml`, or the user's file.
    pub file: String,
    /// Its first line there, from 1.
    pub line: usize,
    /// The pack that it belongs to; `None` for a rule of the user's.
    pub pack: Option<String>,
    /// Why it cannot be met in this deployment, if it cannot: a zone rule without zones.
    pub skipped: Option<&'static str>,
    /// How narrow it is: the greatest one of a kind names the finding. See [`Field::weight`].
    pub specificity: u32,
    /// What it asks of a flow, field by field as its file has it.
    pub asks: Vec<(&'static str, String)>,
    /// What must not be so, field by field as its file has it.
    pub excludes: Vec<(&'static str, String)>,
    /// Kinds of evidence that it takes, one bit each.
    pub(super) evidence: u32,
    pub(super) on_service: Conditions<ServiceTest>,
    pub(super) on_flow: Conditions<Test>,
}

impl Rule {
    /// Tells whether a service, or the lack of one, is what the rule is about.
    pub(super) fn takes_service(&self, service: Option<(ServiceId, &Service)>) -> bool {
        self.on_service.all.iter().all(|test| test.holds(service))
            && !self.on_service.none.iter().any(|test| test.holds(service))
    }

    /// Tells whether a flow to a service that the rule takes meets the rest of it.
    pub(super) fn takes_flow(&self, view: &View<'_>) -> bool {
        self.on_flow.all.iter().all(|test| test.holds(view))
            && !self.on_flow.none.iter().any(|test| test.holds(view))
    }
}

/// What a rule asks, as far as a few bits can say it: most rules are out by it, without a look at the rule.
///
/// Whatever a rule does not ask has every bit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quick {
    ports: Ports,
    protocols: u32,
    initiator_zones: u64,
    responder_zones: u64,
    initiator_trusts: u8,
    responder_trusts: u8,
}

/// The bit of no zone, and of zones beyond those with a bit of their own.
const NO_ZONE: u32 = 62;

/// The bit of every zone that has none of its own.
const FURTHER_ZONE: u32 = 63;

/// Returns the bit of a zone.
pub(super) fn zone_bit(zone: Option<ZoneId>) -> u64 {
    let place = zone.map_or(NO_ZONE, |zone| {
        if u32::from(zone.0) < NO_ZONE { u32::from(zone.0) } else { FURTHER_ZONE }
    });
    1 << place
}

impl Quick {
    pub(super) fn of(rule: &Rule) -> Self {
        let mut quick = Self {
            ports: Ports(0, u16::MAX),
            protocols: u32::MAX,
            initiator_zones: u64::MAX,
            responder_zones: u64::MAX,
            initiator_trusts: u8::MAX,
            responder_trusts: u8::MAX,
        };
        let zone_bits =
            |zones: &[ZoneId]| zones.iter().fold(0, |bits, z| bits | zone_bit(Some(*z)));
        let trusts = |bits: u32| u8::try_from(bits).unwrap_or(u8::MAX);
        for test in &rule.on_flow.all {
            match test {
                Test::Port(ports) => {
                    let first = ports.iter().map(|range| range.0).min().unwrap_or(u16::MAX);
                    let last = ports.iter().map(|range| range.1).max().unwrap_or(0);
                    quick.ports = Ports(first, last);
                }
                Test::Protocol(protocols) => quick.protocols = *protocols,
                Test::InitiatorZone(zones) => quick.initiator_zones = zone_bits(zones),
                Test::ResponderZone(zones) => quick.responder_zones = zone_bits(zones),
                Test::InitiatorTrust(bits) => quick.initiator_trusts = trusts(*bits),
                Test::ResponderTrust(bits) => quick.responder_trusts = trusts(*bits),
                _ => {}
            }
        }
        quick
    }

    /// Tells whether a flow may meet the rule.
    pub(super) fn may_take(&self, view: &View<'_>) -> bool {
        self.ports.contains(view.subject.responder.port())
            && self.protocols & view.protocol != 0
            && self.initiator_zones & view.initiator_zone != 0
            && self.responder_zones & view.responder_zone != 0
            && u32::from(self.initiator_trusts) & view.initiator_trust != 0
            && u32::from(self.responder_trusts) & view.responder_trust != 0
    }
}

/// What must hold, and what must not.
#[derive(Debug, Clone)]
pub(super) struct Conditions<T> {
    pub(super) all: Vec<T>,
    pub(super) none: Vec<T>,
}

impl<T> Default for Conditions<T> {
    fn default() -> Self {
        Self { all: Vec::new(), none: Vec::new() }
    }
}

/// A field of a rule that the flow's service alone decides: asked once, when the policy is loaded.
#[derive(Debug, Clone)]
pub(super) enum ServiceTest {
    /// One of these roles, one bit each.
    Role(u32),
    /// One of these products.
    Product(Vec<ProductId>),
    /// One of these services.
    Service(Vec<ServiceId>),
    /// One of these directions, one bit each.
    Direction(u32),
    /// One of these lifecycles, one bit each; of the row.
    Lifecycle(u32),
    /// There is a service, or there is none.
    Catalogued(bool),
}

impl ServiceTest {
    fn holds(&self, service: Option<(ServiceId, &Service)>) -> bool {
        let Some((id, service)) = service else { return matches!(self, Self::Catalogued(false)) };
        match self {
            Self::Role(roles) => roles & 1 << service.role as u32 != 0,
            Self::Product(products) => products.contains(&service.product),
            Self::Service(services) => services.contains(&id),
            Self::Direction(directions) => {
                service.direction.is_some_and(|direction| directions & 1 << direction as u32 != 0)
            }
            Self::Lifecycle(lifecycles) => lifecycles & 1 << service.lifecycle as u32 != 0,
            Self::Catalogued(wanted) => *wanted,
        }
    }
}

/// A field of a rule that is asked for each flow.
#[derive(Debug, Clone)]
pub(super) enum Test {
    /// One of these protocols was recognised, one bit each.
    Protocol(u32),
    /// The application's data are encrypted, or are not.
    Encrypted(bool),
    /// One of these kinds of evidence, one bit each.
    Evidence(u32),
    /// One of these faults, one bit each.
    Certificate(u32),
    /// One of these transports, one bit each.
    Transport(u32),
    /// The responder's port.
    Port(Vec<Ports>),
    /// The host is known to be one of the products.
    KnownHost(bool),
    /// The initiator's zone.
    InitiatorZone(Vec<ZoneId>),
    /// The responder's zone.
    ResponderZone(Vec<ZoneId>),
    /// The initiator's trust, one bit each.
    InitiatorTrust(u32),
    /// The responder's trust, one bit each.
    ResponderTrust(u32),
    /// Exactly one end is in a server zone.
    CrossesTrust(bool),
}

impl Test {
    fn holds(&self, view: &View<'_>) -> bool {
        match self {
            Self::Protocol(protocols) => protocols & view.protocol != 0,
            Self::Encrypted(wanted) => view.subject.encrypted == Some(*wanted),
            Self::Evidence(kinds) => kinds & view.evidence != 0,
            Self::Certificate(faults) => faults & view.certificate != 0,
            Self::Transport(transports) => transports & 1 << view.subject.transport as u32 != 0,
            Self::Port(ports) => {
                let port = view.subject.responder.port();
                ports.iter().any(|range| range.contains(port))
            }
            Self::KnownHost(wanted) => view.subject.host_is_product == *wanted,
            Self::InitiatorZone(zones) => {
                view.subject.initiator_zone.is_some_and(|zone| zones.contains(&zone))
            }
            Self::ResponderZone(zones) => {
                view.subject.responder_zone.is_some_and(|zone| zones.contains(&zone))
            }
            Self::InitiatorTrust(trusts) => trusts & view.initiator_trust != 0,
            Self::ResponderTrust(trusts) => trusts & view.responder_trust != 0,
            Self::CrossesTrust(wanted) => view.crosses_trust == *wanted,
        }
    }

    /// Tells whether the field needs zones of the site file to hold.
    pub(super) fn needs_zones(&self) -> bool {
        matches!(
            self,
            Self::InitiatorZone(_)
                | Self::ResponderZone(_)
                | Self::InitiatorTrust(_)
                | Self::ResponderTrust(_)
                | Self::CrossesTrust(true)
        )
    }
}

/// The fields of a rule, for how specific they make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `service`, by its whole id.
    Service,
    /// `port`.
    Port,
    /// `product`, by its whole id, or `service` by a pattern.
    Product,
    /// `initiator_zone` or `responder_zone`.
    Zone,
    /// `role`.
    Role,
    /// `product` by a pattern.
    ProductPattern,
    /// `initiator_trust`, `responder_trust` or `crosses_trust`.
    Trust,
    /// `protocol` or `certificate`.
    Protocol,
    /// Any other field, and each field of `not`.
    Other,
}

impl Field {
    /// Returns what a field that is set adds to a rule's specificity.
    ///
    /// A rule that names a service beats one that names a port, a product, a zone, a role, a pattern of
    /// products, in this order and whatever else the other one says. A field counts the same whether it has one
    /// value or several. Among equally specific rules the user's own come first, then the graver one, then the
    /// first in its file.
    pub fn weight(self) -> u32 {
        match self {
            Self::Service => 1 << 18,
            Self::Port => 1 << 16,
            Self::Product => 1 << 14,
            Self::Zone => 1 << 12,
            Self::Role => 1 << 10,
            Self::ProductPattern => 1 << 9,
            Self::Trust => 1 << 7,
            Self::Protocol => 1 << 5,
            Self::Other => 1,
        }
    }
}
