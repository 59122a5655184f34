//! One case: its schema, and how its flows are put before the policy.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use portreeve::catalog::{AppProtocol, Catalog, Service};
use portreeve::classify::{Basis, Heard, Tag, by_content, by_port};
use portreeve::inspect::facts::{CertificateFacts, TlsFacts};
use portreeve::inspect::secret::Fingerprinter;
use portreeve::inspect::{EvidenceKind, Facts, Protocol};
use portreeve::packet::{At, Timestamp, Transport};
use portreeve::policy::{
    Cover, DisabledRun, Finding, FindingKind, Ground, MatrixRun, Policy, Reach, RowStatus, Subject,
    TokenUse,
};
use portreeve::site::Site;
use serde::Deserialize;

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// The point that it makes.
    pub(crate) about: String,
    /// The site file.
    #[serde(default)]
    site: String,
    #[serde(default)]
    flow: Vec<FlowEntry>,
    /// Kinds that the join raises of a host as a whole: their findings are of flow 0.
    #[serde(default)]
    raised: Vec<String>,
    #[serde(default)]
    finding: Vec<FindingEntry>,
    /// Rows that were seen; every other one is unused.
    row: Option<Vec<RowEntry>>,
    #[serde(default)]
    absence: Vec<AbsenceEntry>,
    port: Option<Vec<PortEntry>>,
    unjudged: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowEntry {
    #[serde(default = "client")]
    initiator: String,
    responder: String,
    #[serde(default)]
    udp: bool,
    /// A protocol as reports name it; `amqp+tls` for one that was handed over to TLS; without it silence.
    spoken: Option<String>,
    #[serde(default)]
    evidence: BTreeMap<String, u64>,
    /// The secret of all its evidence.
    secret: Option<String>,
    tls: Option<String>,
    #[serde(default)]
    certificate: Vec<String>,
    /// `silent`, `refused` or `answered`.
    #[serde(default = "answered")]
    reach: String,
    #[serde(default)]
    known_host: bool,
    #[serde(default = "yes")]
    initiator_known: bool,
    /// What was spoken is the responder's alone.
    #[serde(default)]
    initiator_silent: bool,
    /// Seconds since 1970 of its packets.
    #[serde(default)]
    time: i64,
    /// Rules that it only just does not meet.
    #[serde(default)]
    near_miss: Vec<String>,
}

fn client() -> String {
    "10.0.2.7:40000".to_owned()
}

fn answered() -> String {
    "answered".to_owned()
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FindingEntry {
    rule: String,
    severity: String,
    #[serde(default = "one")]
    count: u64,
    /// Counted from 1.
    #[serde(default = "one")]
    flow: u64,
    /// `suppressed` or `expired`.
    cover: Option<String>,
}

fn one() -> u64 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RowEntry {
    row: String,
    status: String,
    #[serde(default = "one")]
    count: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AbsenceEntry {
    rule: String,
    row: String,
    initiator: String,
    port: u16,
    #[serde(default)]
    attempted: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PortEntry {
    endpoint: String,
    state: String,
    #[serde(default)]
    flows: u64,
}

impl Case {
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Returns the rules that it expects to be met.
    pub(crate) fn fired(&self) -> impl Iterator<Item = &str> {
        let absent = self.absence.iter().map(|absence| absence.rule.as_str());
        self.finding.iter().map(|finding| finding.rule.as_str()).chain(absent)
    }

    /// Returns the rules that a flow of it only just does not meet.
    pub(crate) fn near_misses(&self) -> impl Iterator<Item = &str> {
        self.flow.iter().flat_map(|flow| &flow.near_miss).map(String::as_str)
    }

    /// Compares what is found with what is expected, and returns the difference as text.
    pub(crate) fn check(&self) -> Result<(), String> {
        let catalog = Catalog::embedded();
        let site = Site::parse(Path::new("site.toml"), &self.site, catalog)
            .map_err(|error| error.to_string())?;
        let policy = Policy::load(catalog, &site, &[]).map_err(|error| error.to_string())?;
        let mut run = Run {
            site: &site,
            policy: &policy,
            matrices: MatrixRun::new(Ground { policy: &policy, site: &site, catalog }),
            disabled: DisabledRun::new(&site, catalog),
            tokens: TokenUse::default(),
            found: Vec::new(),
        };
        for (number, flow) in (1..).zip(&self.flow) {
            run.flow(number, flow);
        }
        run.shared();
        for kind in &self.raised {
            let kind = FindingKind::from_name(kind).unwrap_or_else(|| panic!("kind `{kind}`"));
            let rule = policy.rule_of(kind).map(|index| &policy.rules()[index]);
            run.found.extend(rule.map(|r| format!("flow 0: {} {} ×1 open", r.id, r.severity)));
        }
        let mut found = run.found.clone();
        found.sort();
        let mut expected: Vec<String> = self.finding.iter().map(FindingEntry::line).collect();
        expected.sort();
        let mut difference = compare("findings", &expected, &found);
        for (number, flow) in (1..).zip(&self.flow) {
            for rule in &flow.near_miss {
                if found.iter().any(|line| line.starts_with(&format!("flow {number}: {rule} "))) {
                    let _ = writeln!(difference, "flow {number} meets {rule}");
                }
            }
        }
        difference += &self.check_run(&run);
        if difference.is_empty() { Ok(()) } else { Err(difference) }
    }

    fn check_run(&self, run: &Run<'_>) -> String {
        let mut difference = String::new();
        if let Some(rows) = &self.row {
            let expected: Vec<String> = rows
                .iter()
                .map(|row| format!("{}: {} {}", row.row, row.status, row.count))
                .collect();
            difference += &compare("rows", &expected, &run.rows());
        }
        let expected: Vec<String> = self.absence.iter().map(AbsenceEntry::line).collect();
        difference += &compare("absences", &expected, &run.absences());
        if let Some(ports) = &self.port {
            let expected: Vec<String> = ports
                .iter()
                .map(|port| format!("{}: {} by {}", port.endpoint, port.state, port.flows))
                .collect();
            difference += &compare("ports", &expected, &run.ports());
        }
        if let Some(unjudged) = self.unjudged
            && unjudged != run.matrices.unjudged()
        {
            let _ = writeln!(difference, "{} flows not judged", run.matrices.unjudged());
        }
        difference
    }
}

impl FindingEntry {
    fn line(&self) -> String {
        let cover = self.cover.as_deref().unwrap_or("open");
        let Self { rule, severity, count, flow, .. } = self;
        format!("flow {flow}: {rule} {severity} ×{count} {cover}")
    }
}

impl AbsenceEntry {
    fn line(&self) -> String {
        let Self { rule, row, initiator, port, attempted } = self;
        format!("{rule} {row}: {initiator} → {port}, tried {attempted}")
    }
}

fn compare(what: &str, expected: &[String], found: &[String]) -> String {
    if expected == found {
        return String::new();
    }
    let list = |lines: &[String]| lines.iter().fold(String::new(), |all, one| all + "\n    " + one);
    format!("  {what} expected:{}\n  {what} found:{}\n", list(expected), list(found))
}

/// A case's flows before the policy.
struct Run<'a> {
    site: &'a Site,
    policy: &'a Policy,
    matrices: MatrixRun,
    disabled: DisabledRun,
    tokens: TokenUse,
    found: Vec<String>,
}

impl<'a> Run<'a> {
    fn ground(&self) -> Ground<'a> {
        Ground { policy: self.policy, site: self.site, catalog: Catalog::embedded() }
    }

    fn flow(&mut self, number: u64, flow: &FlowEntry) {
        let (heard, facts) = (flow.heard(), flow.facts(number));
        let subject = self.subject(number, flow, heard, &facts);
        let tag = tag(&subject, self.site);
        let subject = Subject { tag: &tag, ..subject };
        let mut findings = Vec::new();
        self.policy.judge(&subject, self.site, &mut findings);
        self.matrices.flow(self.ground(), &subject, &mut findings);
        self.disabled.flow(&subject, flow.reach());
        self.tokens.flow(&subject, number);
        let mut kinds: Vec<FindingKind> = findings.iter().map(|finding| finding.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), findings.len(), "one finding a kind");
        for finding in &findings {
            self.add(number, finding, self.policy.cover_of(finding, &subject, self.site));
        }
    }

    fn add(&mut self, number: u64, finding: &Finding, cover: Cover) {
        let cover = match cover {
            Cover::None => "open",
            Cover::By(_) => "suppressed",
            Cover::Expired(_) => "expired",
        };
        let rule = &self.policy.rules()[finding.rule].id;
        let Finding { severity, count, .. } = finding;
        self.found.push(format!("flow {number}: {rule} {severity} ×{count} {cover}"));
    }

    fn shared(&mut self) {
        let Some(index) = self.policy.rule_of(FindingKind::TokenShared) else { return };
        let rule = &self.policy.rules()[index];
        for token in self.tokens.take_shared() {
            let line = format!(
                "flow {}: {} {} ×{} open",
                token.flow,
                rule.id,
                rule.severity,
                token.clients.len()
            );
            self.found.push(line);
        }
    }

    fn subject<'s>(
        &self,
        number: u64,
        flow: &FlowEntry,
        heard: Heard,
        facts: &'s Facts,
    ) -> Subject<'s> {
        static NOTHING: std::sync::LazyLock<Tag> = std::sync::LazyLock::new(Tag::default);
        let initiator: SocketAddr = flow.initiator.parse().unwrap();
        let responder: SocketAddr = flow.responder.parse().unwrap();
        let encrypted = match heard {
            Heard::Nothing | Heard::Unknown => None,
            Heard::Tls | Heard::Upgraded(_) | Heard::Clear(AppProtocol::Ssh) => Some(true),
            Heard::Clear(_) => Some(false),
        };
        Subject {
            catalog: Catalog::embedded(),
            initiator,
            responder,
            initiator_known: flow.initiator_known,
            transport: if flow.udp { Transport::Udp } else { Transport::Tcp },
            tag: &NOTHING,
            heard,
            facts: Some(facts),
            encrypted,
            established: flow.udp || flow.reach() == Reach::Answered,
            answered: flow.reach() == Reach::Answered,
            initiator_spoke: !flow.initiator_silent,
            host_is_product: flow.known_host
                || self.site.host_of(responder.ip()).is_some_and(|host| !host.products.is_empty()),
            initiator_zone: self.site.zone_of(initiator.ip()),
            responder_zone: self.site.zone_of(responder.ip()),
            first: flow.at(number),
            last: flow.at(number),
        }
    }

    fn rows(&self) -> Vec<String> {
        let used = self.matrices.rows(self.ground()).filter_map(|(_, row, counts)| {
            let (status, count) = match counts.status() {
                RowStatus::Unused => return None,
                RowStatus::Satisfied => ("satisfied", counts.satisfied),
                RowStatus::Attempted => ("attempted", counts.attempted),
                RowStatus::Violated => ("violated", counts.violated),
            };
            Some(format!("{}: {status} {count}", row.id))
        });
        used.collect()
    }

    fn absences(&self) -> Vec<String> {
        let absences = self.matrices.absences(self.ground());
        let line = |absence: &portreeve::policy::Absence| {
            let rule = &self.policy.rules()[absence.rule].id;
            format!(
                "{rule} {}: {} → {}, tried {}",
                absence.row, absence.initiator, absence.port, absence.attempted
            )
        };
        absences.iter().map(line).collect()
    }

    fn ports(&self) -> Vec<String> {
        let proofs = self.disabled.proofs().iter();
        proofs
            .map(|proof| {
                let address =
                    proof.address.map_or_else(|| "*".to_owned(), |address| address.to_string());
                format!("{address}:{}: {} by {}", proof.port, proof.state.name(), proof.flows)
            })
            .collect()
    }
}

/// Tags an endpoint: by what the site declares of its host, else by its port, else by content.
fn tag(subject: &Subject<'_>, site: &Site) -> Tag {
    let (catalog, transport) = (subject.catalog, subject.transport);
    let port = subject.responder.port();
    let declared = site.host_of(subject.responder.ip()).filter(|host| !host.products.is_empty());
    if let Some(host) = declared {
        let runs = |service: &Service| {
            host.products.iter().any(|(product, part)| {
                *product == service.product
                    && part.as_deref().is_none_or(|part| service.is_in(part))
            })
        };
        let all: Vec<_> = match host.offset {
            Some(offset) => catalog.at_offset(transport, port, offset).collect(),
            None => catalog.candidates(transport, port).to_vec(),
        };
        let candidates: Vec<_> =
            all.into_iter().filter(|c| runs(catalog.service(c.service))).collect();
        let basis = (!candidates.is_empty()).then_some(Basis::Inventory);
        return Tag { candidates, basis };
    }
    let by_port = by_port(catalog, transport, port);
    if by_port.basis.is_some() { by_port } else { by_content(catalog, transport, subject.heard) }
}

impl FlowEntry {
    fn at(&self, number: u64) -> At {
        At { frame: number, time: Timestamp(self.time * 1_000_000_000) }
    }

    fn reach(&self) -> Reach {
        match self.reach.as_str() {
            "silent" => Reach::Silent,
            "refused" => Reach::Refused,
            "answered" => Reach::Answered,
            other => panic!("reach `{other}`"),
        }
    }

    fn heard(&self) -> Heard {
        let Some(spoken) = &self.spoken else { return Heard::Nothing };
        if let Some(name) = spoken.strip_suffix("+tls") {
            return Heard::Upgraded(app_protocol(name));
        }
        match spoken.as_str() {
            "unknown" => Heard::Unknown,
            "tls" | "quic" => Heard::Tls,
            name => Heard::Clear(app_protocol(name)),
        }
    }

    fn facts(&self, number: u64) -> Facts {
        let at = self.at(number);
        let spoken = self.spoken.as_deref().unwrap_or_default();
        let mut facts = Facts {
            protocol: Protocol::from_name(spoken.trim_end_matches("+tls")),
            recognised: Some(at),
            ..Facts::default()
        };
        let secret = self.secret.as_ref().map(|s| Fingerprinter::new(b"key").of(s.as_bytes()));
        for (name, count) in &self.evidence {
            let kind = EvidenceKind::from_name(name).unwrap_or_else(|| panic!("evidence `{name}`"));
            for _ in 0..*count {
                facts.observe(kind, at, secret);
            }
        }
        let version = self.tls.as_deref().map(|version| match version {
            "1.0" => 0x0301,
            "1.1" => 0x0302,
            "1.2" => 0x0303,
            "1.3" => 0x0304,
            other => panic!("TLS version `{other}`"),
        });
        if version.is_some() || !self.certificate.is_empty() {
            let has = |fault: &str| self.certificate.iter().any(|known| known == fault);
            let certificate = CertificateFacts {
                subject: "CN=localhost".to_owned(),
                expired: has("expired"),
                self_signed: has("self-signed"),
                product_default: has("product-default"),
                ..CertificateFacts::default()
            };
            facts.tls = Some(Box::new(TlsFacts {
                version,
                negotiated: true,
                certificate: Some(Box::new(certificate)),
                ..TlsFacts::default()
            }));
        }
        facts
    }
}

fn app_protocol(name: &str) -> AppProtocol {
    match name {
        "http2" => AppProtocol::Http,
        name => AppProtocol::from_name(name).unwrap_or_else(|| panic!("protocol `{name}`")),
    }
}
