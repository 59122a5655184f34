//! Rules, and flows that met them.

use serde::Serialize;

use super::{Envelope, Severity, TagRecord, as_text, is_zero};
use crate::inspect::secret::Fingerprint;
use crate::inspect::{Evidence, EvidenceKind};
use crate::packet::Timestamp;

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
    /// The row of the rule's matrix that was missed; what no flow shows has no ends but those that are declared.
    pub row: Option<&'a str>,
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
    pub fn of(evidence: &'a Evidence, first_frame: u64) -> Self {
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
            user: evidence.user.as_deref(),
            http: http.map(|http| HttpRecord {
                method: http.method(),
                host: http.host(),
                path: http.path(),
                place: http.place,
                forwarded_for: http.forwarded_for(),
                user_agent: http.user_agent(),
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
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
