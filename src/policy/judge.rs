//! One flow → its findings: at most one a kind, named by the most specific rule that it meets.

use std::net::SocketAddr;

use super::Policy;
use super::kind::{FindingKind, Severity};
use super::rule::{Rule, zone_bit};
use super::words::{CertificateFault, Trust};
use crate::catalog::{AppProtocol, Catalog, Encryption, Service, ServiceId};
use crate::classify::{Heard, Tag};
use crate::inspect::facts::TlsFacts;
use crate::inspect::{EvidenceKind, Facts};
use crate::packet::{At, Transport};
use crate::site::{Site, ZoneId};

/// One flow as rules see it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The catalogue that the tag is of.
    pub catalog: &'a Catalog,
    /// Who began.
    pub initiator: SocketAddr,
    /// Who answered.
    pub responder: SocketAddr,
    /// It is known who began, by more than having been seen first.
    pub initiator_known: bool,
    /// TCP or UDP.
    pub transport: Transport,
    /// What the responder's endpoint is said to be.
    pub tag: &'a Tag,
    /// What was recognised of its bytes.
    pub heard: Heard,
    /// What inspection found.
    pub facts: Option<&'a Facts>,
    /// The application's data are encrypted; `None` while nobody knows.
    pub encrypted: Option<bool>,
    /// TCP with SYN/ACK or data, UDP with data.
    pub established: bool,
    /// The responder answered: it was heard, or the initiator sent data over TCP, which needs an answer.
    pub answered: bool,
    /// Bytes of the initiator were captured: what was heard is not the responder's alone.
    pub initiator_spoke: bool,
    /// Site, inference or content say that the responder is one of the products.
    pub host_is_product: bool,
    /// The initiator's zone.
    pub initiator_zone: Option<ZoneId>,
    /// The responder's zone.
    pub responder_zone: Option<ZoneId>,
    /// The flow's first packet.
    pub first: At,
    /// The flow's last packet.
    pub last: At,
}

impl<'a> Subject<'a> {
    /// Returns the service that rules look at: the first candidate that has nothing against what was
    /// heard, else the one that names the flow.
    pub fn service(&self) -> Option<(ServiceId, &'a Service)> {
        let named = |id: ServiceId| (id, self.catalog.service(id));
        let mut candidates = self.tag.candidates.iter().map(|candidate| named(candidate.service));
        let admitted = candidates.find(|(_, service)| self.heard.is_admitted_by(service));
        admitted.or_else(|| self.tag.service().map(|candidate| named(candidate.service)))
    }

    /// Returns what kind of mismatch there is between what was heard and everything the endpoint could be.
    pub fn mismatch(&self) -> Option<FindingKind> {
        if !self.tag.disagrees(self.catalog, self.heard) {
            return None;
        }
        let some_row = |fits: &dyn Fn(&Service) -> bool| {
            self.tag.candidates.iter().any(|c| fits(self.catalog.service(c.service)))
        };
        let demands_tls = || some_row(&|service| service.encryption == Encryption::Tls);
        Some(match self.heard {
            Heard::Tls => FindingKind::TlsOnPlainPort,
            // SSH is no plaintext, whatever it is doing there.
            Heard::Clear(AppProtocol::Ssh) => FindingKind::UnexpectedProtocol,
            // What a server says in clear to a silent client shows nothing of what clients may send.
            Heard::Clear(protocol) if !self.initiator_spoke => {
                if some_row(&|service| service.speaks(protocol)) {
                    return None;
                }
                FindingKind::UnexpectedProtocol
            }
            Heard::Clear(_) | Heard::Upgraded(_) if demands_tls() => {
                FindingKind::PlaintextOnTlsPort
            }
            Heard::Upgraded(protocol) if some_row(&|service| service.protocol == protocol) => {
                FindingKind::TlsOnPlainPort
            }
            _ => FindingKind::UnexpectedProtocol,
        })
    }

    /// Tells whether a protocol in clear was recognised; SSH is none.
    fn is_clear(&self) -> bool {
        matches!(self.heard, Heard::Clear(protocol) if protocol != AppProtocol::Ssh)
            && self.encrypted != Some(true)
    }

    /// The packet that showed the protocol, else the first one.
    fn recognised(&self) -> At {
        self.facts.and_then(|facts| facts.recognised).unwrap_or(self.first)
    }
}

/// A rule met by a flow.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The rule: an index into [`Policy::rules`].
    pub rule: usize,
    /// What it says; the rule's kind.
    pub kind: FindingKind,
    /// How grave it is here, which may be less than the rule's.
    pub severity: Severity,
    /// How often, by the kind's definition.
    pub count: u64,
    /// The first packet that shows it.
    pub first: At,
    /// The last packet that shows it.
    pub last: At,
    /// What shows it.
    pub evidence: Vec<EvidenceNote>,
}

/// What shows a finding.
#[derive(Debug, Clone, PartialEq)]
pub enum EvidenceNote {
    /// The flow's own evidence of this kind, in its [`Facts`].
    Seen(EvidenceKind),
    /// Something else about the flow.
    Note(Note),
}

/// One sentence about a flow.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// What it is about: `protocol`, `tls`, `certificate`, `connection`, `zone`, ….
    pub kind: &'static str,
    /// The sentence, without a full stop. Text from the wire is in it as it was.
    pub detail: String,
    /// How often.
    pub count: u64,
    /// The first packet that shows it.
    pub first: At,
    /// The last packet that shows it.
    pub last: At,
}

impl Note {
    /// Makes a note of what one packet shows.
    pub fn once(kind: &'static str, detail: impl Into<String>, at: At) -> Self {
        Self { kind, detail: detail.into(), count: 1, first: at, last: at }
    }
}

/// A subject with what several rules ask of it, as sets of one bit each.
pub(super) struct View<'a> {
    pub(super) subject: &'a Subject<'a>,
    pub(super) protocol: u32,
    pub(super) evidence: u32,
    pub(super) certificate: u32,
    pub(super) initiator_trust: u32,
    pub(super) responder_trust: u32,
    pub(super) initiator_zone: u64,
    pub(super) responder_zone: u64,
    pub(super) crosses_trust: bool,
}

impl<'a> View<'a> {
    fn new(subject: &'a Subject<'a>, site: &Site) -> Self {
        let trust = |zone: Option<ZoneId>| match zone {
            None => Trust::Unknown,
            Some(zone) if site.zone(zone).trust_server => Trust::Server,
            Some(_) => Trust::Other,
        };
        let (initiator, responder) = (trust(subject.initiator_zone), trust(subject.responder_zone));
        let facts = subject.facts;
        let protocol = facts.and_then(|facts| facts.protocol);
        Self {
            subject,
            protocol: 1 << protocol.map_or(NO_PROTOCOL, |protocol| protocol as u32),
            evidence: facts.map_or(0, |facts| {
                facts.evidence.iter().fold(0, |bits, seen| bits | 1 << seen.kind as u32)
            }),
            certificate: tls(facts).map_or(0, certificate_faults),
            initiator_trust: 1 << initiator as u32,
            responder_trust: 1 << responder as u32,
            initiator_zone: zone_bit(subject.initiator_zone),
            responder_zone: zone_bit(subject.responder_zone),
            crosses_trust: (initiator == Trust::Server) != (responder == Trust::Server),
        }
    }
}

/// The bit of a protocol that nobody recognised.
const NO_PROTOCOL: u32 = 31;

fn tls(facts: Option<&Facts>) -> Option<&TlsFacts> {
    facts.and_then(|facts| facts.tls.as_deref())
}

fn certificate_faults(tls: &TlsFacts) -> u32 {
    let Some(certificate) = &tls.certificate else { return 0 };
    let faults = [
        (certificate.expired, CertificateFault::Expired),
        (certificate.self_signed, CertificateFault::SelfSigned),
        (certificate.product_default, CertificateFault::ProductDefault),
    ];
    faults
        .into_iter()
        .filter(|(there, _)| *there)
        .fold(0, |bits, (_, fault)| bits | 1 << fault as u32)
}

/// The lowest version of TLS that is not obsolete: 1.2 (RFC 8996 §4, §5).
const TLS_VERSION_MIN: u16 = 0x0303;

impl Policy {
    /// Finds what rules say of one flow, at most one finding a kind, and adds it to `findings`.
    ///
    /// Costs a few nanoseconds where nothing triggers a rule: which rules a service can meet was worked out
    /// when the policy was loaded.
    pub fn judge(&self, subject: &Subject<'_>, site: &Site, findings: &mut Vec<Finding>) {
        let service = subject.service();
        let view = View::new(subject, site);
        let judge = Judge { policy: self, view, service: service.map(|(id, _)| id) };
        if judge.view.evidence != 0 {
            judge.evidence(findings);
        }
        // What speaks against everything that the port could be is not that service.
        let disagrees = subject.tag.disagrees(subject.catalog, subject.heard);
        let mismatch = if disagrees { subject.mismatch() } else { None };
        if let Some(kind) = mismatch {
            judge.mismatch(kind, findings);
        }
        if let Some(tls) = tls(subject.facts) {
            judge.tls(tls, findings);
        }
        if !subject.established {
            return;
        }
        if !disagrees {
            if subject.is_clear() {
                let detail = || format!("{} in clear", judge.protocol_name());
                judge.by_note(FindingKind::CleartextTransport, "protocol", detail, findings);
            }
            let reached = if subject.answered { ANSWERED } else { "datagrams were sent" };
            let detail = || reached.to_owned();
            judge.by_note(FindingKind::ExposedManagement, "connection", detail, findings);
        }
        if subject.initiator_known && subject.answered {
            let detail = || ANSWERED.to_owned();
            judge.by_note(FindingKind::UncataloguedService, "connection", detail, findings);
        }
        if subject.answered && !self.disabled.is_empty() {
            judge.disabled(site, findings);
        }
    }

    /// Returns the rule of a pack that names a finding of a kind that the join raises for a flow.
    pub(super) fn rule_met(
        &self,
        kind: FindingKind,
        pack: &str,
        subject: &Subject<'_>,
        site: &Site,
    ) -> Option<usize> {
        let service = subject.service().map(|(id, _)| id);
        let judge = Judge { policy: self, view: View::new(subject, site), service };
        judge.met(kind).find(|(_, rule)| rule.pack.as_deref() == Some(pack)).map(|(index, _)| index)
    }
}

/// One flow before the rules.
struct Judge<'a> {
    policy: &'a Policy,
    view: View<'a>,
    service: Option<ServiceId>,
}

impl Judge<'_> {
    /// Returns the rules of a kind that the flow meets, the one that names the finding first.
    fn met(&self, kind: FindingKind) -> impl Iterator<Item = (usize, &Rule)> {
        let rules = self.policy.rules_for(kind, self.service).iter();
        let rules = rules.map(|index| usize::from(*index));
        let rules = rules.filter(|index| self.policy.quick[*index].may_take(&self.view));
        let rules = rules.map(|index| (index, &self.policy.rules[index]));
        rules.filter(|(_, rule)| rule.takes_flow(&self.view))
    }

    fn evidence(&self, findings: &mut Vec<Finding>) {
        let Some(facts) = self.view.subject.facts else { return };
        let seen = facts.evidence.iter().map(|seen| seen.kind as usize);
        let kinds = seen.fold(0, |kinds, seen| kinds | self.policy.kinds_of_evidence[seen]);
        for kind in FindingKind::ALL.iter().filter(|kind| kinds & kind.bit() != 0) {
            let mut met = self.met(*kind);
            let Some((index, rule)) = met.next() else { continue };
            // What only less specific rules of the kind take is shown, and not counted.
            let shown = met.fold(rule.evidence, |kinds, (_, other)| kinds | other.evidence);
            let mut finding = Finding {
                rule: index,
                kind: *kind,
                severity: rule.severity,
                count: 0,
                first: At { frame: u64::MAX, ..self.view.subject.last },
                last: self.view.subject.first,
                evidence: Vec::new(),
            };
            for seen in &facts.evidence {
                let bit = 1 << seen.kind as u32;
                if rule.evidence & bit != 0 {
                    if finding.count == 0 {
                        (finding.first, finding.last) = (seen.first, seen.last);
                    }
                    finding.count += seen.count;
                    finding.first = finding.first.min(seen.first);
                    finding.last = finding.last.max(seen.last);
                }
                if shown & bit != 0 {
                    finding.evidence.push(EvidenceNote::Seen(seen.kind));
                }
            }
            findings.push(finding);
        }
    }

    fn mismatch(&self, kind: FindingKind, findings: &mut Vec<Finding>) {
        let before = findings.len();
        let at = self.view.subject.recognised();
        self.by_note_at(kind, "protocol", at, || self.mismatch_detail(), findings);
        if let Some(finding) = findings.get_mut(before)
            && !self.view.subject.host_is_product
        {
            // 8000, 4000 and 9090 are popular numbers.
            finding.severity = finding.severity.min(Severity::Low);
        }
    }

    /// Says what was spoken, and what the port is for instead: `http in TLS`, of how many services.
    fn mismatch_detail(&self) -> String {
        let subject = self.view.subject;
        let services = || subject.tag.candidates.iter().map(|c| subject.catalog.service(c.service));
        let mut wanted: Vec<String> = Vec::new();
        for service in services() {
            let how = match service.encryption {
                Encryption::None => " in clear",
                Encryption::Tls => " in TLS",
                Encryption::Either | Encryption::Upgrade => "",
            };
            let one = format!("{}{how}", service.protocol);
            if !wanted.contains(&one) && wanted.len() < EXPECTED_MAX {
                wanted.push(one);
            }
        }
        let first = services().next().map_or("", |service| service.id.as_str());
        let more = match services().count().saturating_sub(1) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let clear = if subject.is_clear() { " in clear" } else { "" };
        let spoken = self.protocol_name();
        format!("{spoken}{clear} was spoken; the port is {}: {first}{more}", wanted.join(" or "))
    }

    fn tls(&self, tls: &TlsFacts, findings: &mut Vec<Finding>) {
        let at = self.view.subject.recognised();
        if let Some(version) = tls.version
            && tls.negotiated
            && version < TLS_VERSION_MIN
        {
            let detail = || format!("the server chose {}", tls_name(version));
            self.by_note_at(FindingKind::ObsoleteTls, "tls", at, detail, findings);
        }
        if self.view.certificate != 0
            && let Some(certificate) = &tls.certificate
        {
            let detail = || {
                let faults = [
                    (certificate.product_default, "the one that ships with the product"),
                    (certificate.expired, "expired"),
                    (certificate.self_signed, "self-signed"),
                ];
                let faults = faults.into_iter().filter(|(there, _)| *there).map(|(_, text)| text);
                let faults: Vec<&str> = faults.collect();
                format!("the certificate of {} is {}", certificate.subject, faults.join(", "))
            };
            self.by_note_at(FindingKind::WeakCertificate, "certificate", at, detail, findings);
        }
    }

    fn disabled(&self, site: &Site, findings: &mut Vec<Finding>) {
        let subject = self.view.subject;
        let (port, host) = (subject.responder.port(), site.host_of(subject.responder.ip()));
        let mut declared = self.policy.disabled.iter().filter(|disabled| {
            let service = subject.catalog.service(disabled.service);
            let may_be = || subject.tag.candidates.iter().any(|c| c.service == disabled.service);
            match host.filter(|host| host.runs(service)) {
                Some(host) if host.offset.is_some() => {
                    host.listens_at(service, port)
                        && service.transports.iter().any(|one| one == subject.transport)
                }
                Some(_) => may_be(),
                None => !disabled.has_hosts && may_be(),
            }
        });
        if let Some(disabled) = declared.next() {
            let id = &subject.catalog.service(disabled.service).id;
            let detail = || format!("{id} is declared disabled, and answered");
            self.by_note(FindingKind::DisabledPortOpen, "connection", detail, findings);
        }
    }

    fn by_note(
        &self,
        kind: FindingKind,
        about: &'static str,
        detail: impl Fn() -> String,
        findings: &mut Vec<Finding>,
    ) {
        let at = match about {
            "protocol" => self.view.subject.recognised(),
            _ => self.view.subject.first,
        };
        self.by_note_at(kind, about, at, detail, findings);
    }

    /// Adds the finding of a kind that counts one a flow, if a rule is met.
    fn by_note_at(
        &self,
        kind: FindingKind,
        about: &'static str,
        at: At,
        detail: impl Fn() -> String,
        findings: &mut Vec<Finding>,
    ) {
        let Some((index, rule)) = self.met(kind).next() else { return };
        findings.push(Finding {
            rule: index,
            kind,
            severity: rule.severity,
            count: 1,
            first: at,
            last: at,
            evidence: vec![EvidenceNote::Note(Note::once(about, detail(), at))],
        });
    }

    fn protocol_name(&self) -> &'static str {
        if let Some(protocol) = self.view.subject.facts.and_then(|facts| facts.protocol) {
            return protocol.name();
        }
        match self.view.subject.heard {
            Heard::Nothing | Heard::Unknown => "unknown",
            Heard::Tls => "tls",
            Heard::Clear(protocol) | Heard::Upgraded(protocol) => protocol.name(),
        }
    }
}

/// What is said of a flow that was answered.
const ANSWERED: &str = "a connection was answered";

/// Different protocols that a mismatch says were expected: enough to see what the port is for.
const EXPECTED_MAX: usize = 3;

fn tls_name(version: u16) -> String {
    match version {
        0x0002 => "SSL 2.0".to_owned(),
        0x0300 => "SSL 3.0".to_owned(),
        0x0301 => "TLS 1.0".to_owned(),
        0x0302 => "TLS 1.1".to_owned(),
        other => format!("version {other:#06x}"),
    }
}
