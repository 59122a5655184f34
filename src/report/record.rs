//! The published records: what a flow, an alert, a host, a matrix row and a live interval look like to
//! whoever reads a report.
//!
//! Plain data, apart from the inner types: the join fills them, the sinks write them. Flows and alerts borrow,
//! because there are many. Text is as it was on the wire; the sinks escape it.

use std::net::{IpAddr, SocketAddr};

use serde::{Serialize, Serializer};

use super::summary::Ledger;
use crate::inspect::secret::Fingerprint;
use crate::inspect::{EvidenceKind, Uninspected};
use crate::packet::{ObservationPoint, Timestamp, Transport};

/// One record on its way to the sinks. The summary is not among them: it ends the report.
#[derive(Debug, Clone, Copy)]
pub enum Record<'a> {
    /// A rule met by a flow's evidence.
    Alert(&'a AlertRecord<'a>),
    /// One connection or UDP exchange.
    Flow(&'a FlowRecord<'a>),
    /// A responder and what it runs.
    Host(&'a HostRecord),
    /// A row of a zone or component matrix.
    Row(&'a RowRecord),
    /// A live interval.
    Stats(&'a StatsRecord),
}

/// Who spoke to whom, when and where it was seen: EVE's envelope.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// A flow's last packet; an alert's first evidence.
    pub timestamp: Timestamp,
    /// Address and port that began: `src_ip`, `src_port`.
    pub initiator: SocketAddr,
    /// Address and port that answered: `dest_ip`, `dest_port`.
    pub responder: SocketAddr,
    /// TCP or UDP.
    pub transport: Transport,
    /// The initiator's protocol; `unknown`, or `none` when no payload was seen.
    pub app_proto: &'a str,
    /// From [`flow_id`](super::community_id::flow_id).
    pub flow_id: u64,
    /// Where its frames were seen, the first frame's point first.
    pub points: &'a [&'a ObservationPoint],
    /// VLAN ids, outermost first.
    pub vlan: &'a [u16],
    /// Tunnels, outermost first.
    pub tunnel: &'a [TunnelRecord<'a>],
}

/// One layer that a flow is wrapped in.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct TunnelRecord<'a> {
    /// `gre`, `vxlan`, `mpls`, …
    pub kind: &'a str,
    /// Its key, VNI, session or label, where the kind has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// One outer address, where the kind has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src_ip: Option<IpAddr>,
    /// The other outer address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dest_ip: Option<IpAddr>,
}

/// What the catalogue, the site and the content make of a flow. Everything is left out where unknown.
#[derive(Debug, Clone, Copy, Default)]
pub struct TagRecord<'a> {
    /// Service id, `wso2-api-manager-3/gateway-http`.
    pub service: Option<&'a str>,
    /// Role of the service.
    pub role: Option<&'a str>,
    /// Product id.
    pub product: Option<&'a str>,
    /// The user's port offset that the service was found under.
    pub offset: Option<i32>,
    /// Why the flow has its service: `port`, `inventory`, `offset-inferred`, `learned`, `content`.
    pub basis: Option<&'a str>,
    /// Other services that the port could be.
    pub candidates: &'a [&'a str],
    /// The initiator's zone.
    pub initiator_zone: Option<&'a str>,
    /// The responder's zone.
    pub responder_zone: Option<&'a str>,
}

/// One connection, or one UDP exchange.
#[derive(Debug, Clone, Copy)]
pub struct FlowRecord<'a> {
    /// EVE's envelope.
    pub envelope: Envelope<'a>,
    /// What it is.
    pub tag: TagRecord<'a>,
    /// Packets from the initiator.
    pub pkts_toserver: u64,
    /// Packets from the responder.
    pub pkts_toclient: u64,
    /// Wire bytes of the initiator's frames.
    pub bytes_toserver: u64,
    /// Wire bytes of the responder's frames.
    pub bytes_toclient: u64,
    /// Time of the first packet.
    pub start: Timestamp,
    /// Time of the last packet.
    pub end: Timestamp,
    /// EVE's state: `new`, `established`, `closed`.
    pub state: &'a str,
    /// Why it ended: `timeout`, `forced` (the capture's end, a limit), `shutdown`.
    pub reason: &'a str,
    /// The application's data are encrypted; `None` while nobody knows.
    pub encrypted: Option<bool>,
    /// The initiator is known by more than having been seen first.
    pub initiator_known: bool,
    /// Zeek's `conn_state`.
    pub conn_state: &'a str,
    /// Zeek's `history`.
    pub history: &'a str,
    /// Frame number in its input file, from 1.
    pub first_frame: u64,
    /// SYN to SYN/ACK to ACK in packet time, in nanoseconds.
    pub handshake_rtt_ns: Option<u64>,
    /// Requests seen in clear, of protocols that have such.
    pub requests: u64,
    /// TLS's opening.
    pub tls: Option<TlsRecord<'a>>,
    /// Why not everything was looked into.
    pub uninspected: Uninspected,
}

/// What TLS said before it encrypted.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct TlsRecord<'a> {
    /// Server name that the client asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<&'a str>,
    /// Protocols that the client offered.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub alpn: &'a [String],
    /// `TLS 1.2`, or the number on the wire where it has no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'a str>,
    /// The cipher suite's number that the server chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cipher: Option<u16>,
    /// The version is the server's choice, not the client's offer.
    pub negotiated: bool,
}

/// How bad a finding is. Ordered: `Critical` is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Odd, and harmless alone.
    Low,
    /// Should be changed.
    Medium,
    /// Breaks a rule of the platform's documents.
    High,
    /// Gives access to whoever listens.
    Critical,
}

impl Severity {
    /// Every severity, the gravest first.
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Info];

    /// Returns the name as rules and reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Returns EVE's number: 1 is the gravest.
    pub fn number(self) -> u8 {
        match self {
            Self::Critical | Self::High => 1,
            Self::Medium => 2,
            Self::Low => 3,
            Self::Info => 4,
        }
    }
}

/// What the report says of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRecord {
    /// `wso2/bearer-over-http`.
    pub id: String,
    /// Finding kind, `plaintext-bearer`.
    pub kind: String,
    /// One sentence, without a full stop.
    pub title: String,
    /// Severity as the rule has it; an alert may have another.
    pub severity: Severity,
    /// EVE's `signature_id`: fixed for a rule.
    pub signature_id: u32,
    /// The rule's file: `catalog/policy/wso2.toml`, or the user's.
    pub file: String,
    /// The rule's first line in it, from 1.
    pub line: usize,
    /// The document it rests on.
    pub source: String,
    /// What to do; several lines.
    pub remedy: String,
}

/// A rule met by a flow's evidence: one a flow and kind.
#[derive(Debug, Clone)]
pub struct AlertRecord<'a> {
    /// The flow's envelope; its time is the first evidence's.
    pub envelope: Envelope<'a>,
    /// What the flow is.
    pub tag: TagRecord<'a>,
    /// The rule.
    pub rule: &'a RuleRecord,
    /// Severity here, which may be lower than the rule's.
    pub severity: Severity,
    /// How often, by the kind's definition.
    pub count: u64,
    /// An alert went out for it before.
    pub update: bool,
    /// Frame of the first evidence in its input file, from 1.
    pub first_frame: u64,
    /// Time of the first evidence.
    pub first_seen: Timestamp,
    /// Time of the last evidence.
    pub last_seen: Timestamp,
    /// What was seen.
    pub evidence: Vec<EvidenceRecord<'a>>,
    /// The suppression that covers it.
    pub suppression: Option<&'a SuppressionRecord>,
    /// How it stands to the baseline, where there is one.
    pub baseline: Option<BaselineState>,
}

/// One kind of evidence in one flow.
#[derive(Debug, Clone, Serialize)]
pub struct EvidenceRecord<'a> {
    /// What was seen: an [`EvidenceKind`]'s name, or `protocol`, `zone`, `connection`, ….
    pub kind: &'a str,
    /// How often.
    pub count: u64,
    /// Frame of the first one in its input file, from 1.
    pub first_frame: u64,
    /// Time of the first one.
    pub first_seen: Timestamp,
    /// Time of the last one.
    pub last_seen: Timestamp,
    /// What else there is to say, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
    /// Different secrets by keyed fingerprint.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fingerprints: Vec<FingerprintRecord>,
    /// How often secrets were seen beyond those listed.
    #[serde(skip_serializing_if = "is_zero")]
    pub fingerprints_beyond: u64,
    /// The user: a fingerprint, or the name where the operator asked for names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// The first request it was seen in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpRecord<'a>>,
    /// What the first JWT says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtRecord<'a>>,
}

impl<'a> EvidenceRecord<'a> {
    /// Makes evidence of a kind, seen once at one place; the rest is filled in by name.
    pub fn once(kind: &'a str, first_frame: u64, seen: Timestamp) -> Self {
        Self {
            kind,
            count: 1,
            first_frame,
            first_seen: seen,
            last_seen: seen,
            detail: None,
            fingerprints: Vec::new(),
            fingerprints_beyond: 0,
            user: None,
            http: None,
            jwt: None,
        }
    }

    /// Makes the published form of what inspection counted.
    pub fn of(evidence: &'a crate::inspect::Evidence, first_frame: u64) -> Self {
        let http = evidence.http.as_deref();
        let jwt = evidence.jwt.as_deref();
        Self {
            count: evidence.count,
            last_seen: evidence.last.time,
            fingerprints: evidence
                .secrets
                .iter()
                .map(|&(fingerprint, count)| FingerprintRecord { fingerprint, count })
                .collect(),
            fingerprints_beyond: evidence.secrets_beyond,
            http: http.map(|http| HttpRecord {
                method: &http.method,
                host: &http.host,
                path: &http.path,
                place: http.place,
                forwarded_for: &http.forwarded_for,
                user_agent: &http.user_agent,
                status: http.status,
            }),
            jwt: jwt.map(|jwt| JwtRecord { alg: &jwt.alg, iss: &jwt.iss, exp: jwt.exp }),
            ..Self::once(EvidenceKind::name(evidence.kind), first_frame, evidence.first.time)
        }
    }
}

/// A secret by its fingerprint.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct FingerprintRecord {
    /// Sixteen hexadecimal digits, equal for equal secrets under one key.
    #[serde(serialize_with = "as_text")]
    pub fingerprint: Fingerprint,
    /// How often it was seen in the flow.
    pub count: u64,
}

/// The request that a finding on HTTP was seen in; the path has no query values.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct HttpRecord<'a> {
    /// Request method.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub method: &'a str,
    /// Host header or authority.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub host: &'a str,
    /// Path, with the names of the query's parameters.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub path: &'a str,
    /// Where the credential was: `header`, `query`, `form`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub place: &'a str,
    /// The client that a proxy names.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub forwarded_for: &'a str,
    /// User-Agent.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub user_agent: &'a str,
    /// Status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// What a JWT says of itself.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct JwtRecord<'a> {
    /// Signature algorithm.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub alg: &'a str,
    /// Issuer.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub iss: &'a str,
    /// Expiry, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
}

/// Who decided that a finding is accepted, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SuppressionRecord {
    /// Why.
    pub reason: String,
    /// The last day, UTC, `2027-01-31`.
    pub until: String,
    /// The file that says so.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// The line in it, from 1.
    pub line: usize,
}

/// How a finding stands to the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BaselineState {
    /// The baseline does not have it.
    New,
    /// The baseline has it.
    Unchanged,
}

impl BaselineState {
    /// Returns SARIF's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Unchanged => "unchanged",
        }
    }
}

/// A responder, and what it seems or is known to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostRecord {
    /// The run's last packet.
    #[serde(skip)]
    pub timestamp: Timestamp,
    /// Its address.
    pub address: IpAddr,
    /// Its name in the site file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Products that fit, the likeliest first; more than one where it stays ambiguous.
    pub products: Vec<String>,
    /// The user's port offset, where it is known or inferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i32>,
    /// How sure that is: `declared` (by the site file), `high`, `medium`, `low`, `none`.
    pub confidence: &'static str,
    /// What its ports did.
    pub ports: HostPorts,
    /// What else there is to say: an ambiguity, a partial offset.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A host's ports by what they did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct HostPorts {
    /// Answered at least once.
    pub answered: Vec<PortRecord>,
    /// Refused, and never answered.
    pub refused: Vec<PortRecord>,
    /// Expected of its products, and never tried.
    pub never_seen: Vec<PortRecord>,
}

/// One port of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortRecord {
    /// Its number.
    pub port: u16,
    /// TCP or UDP.
    #[serde(serialize_with = "as_text")]
    pub transport: Transport,
    /// The service it has here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The protocol seen there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_proto: Option<String>,
    /// Its flows.
    pub flows: u64,
}

/// What became of a row of a matrix. Ordered: `Violated` is the gravest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowStatus {
    /// Used as allowed.
    Satisfied,
    /// Never seen.
    Unused,
    /// Only tried: SYN without answer, or refused.
    Attempted,
    /// Used against the row.
    Violated,
}

impl RowStatus {
    /// Returns the name as reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Satisfied => "satisfied",
            Self::Unused => "unused",
            Self::Attempted => "attempted",
            Self::Violated => "violated",
        }
    }
}

/// One row of a zone or component matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowRecord {
    /// The run's last packet.
    #[serde(skip)]
    pub timestamp: Timestamp,
    /// The matrix: `ibm-api-connect-zones`.
    pub pack: String,
    /// The row's id in it.
    pub row: String,
    /// Zone or component that begins.
    pub initiator: String,
    /// Zone or component that answers.
    pub responder: String,
    /// What it may use: `443/tcp`, `9443/tcp tls`.
    pub services: String,
    /// What became of it.
    pub status: RowStatus,
    /// Flows that used it as allowed.
    pub satisfied: u64,
    /// Flows that only tried.
    pub attempted: u64,
    /// Flows that broke it.
    pub violated: u64,
    /// The row's own note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A live interval: rates and the ledger so far.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatsRecord {
    /// The interval's end.
    #[serde(skip)]
    pub timestamp: Timestamp,
    /// Its length in nanoseconds.
    pub interval_ns: u64,
    /// Packets a second in it.
    pub packets_per_second: f64,
    /// Wire bits a second in it.
    pub bits_per_second: f64,
    /// Flows open at its end.
    pub flows_open: u64,
    /// Flows since the start.
    pub flows: u64,
    /// Alerts since the start, updates not counted.
    pub alerts: u64,
    /// The ledger since the start; published beside, as in the summary.
    #[serde(skip)]
    pub ledger: Ledger,
}

/// Serializes what has a `Display` as a string.
fn as_text<T: std::fmt::Display, S: Serializer>(value: &T, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(value)
}

/// Tells whether a count can be left out.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(super) fn is_zero(count: &u64) -> bool {
    *count == 0
}
