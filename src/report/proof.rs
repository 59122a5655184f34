//! What a run proves of transports that are said to be off, and of what was found before.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use super::record::as_text;
use crate::packet::Transport;

/// What the capture proves of one endpoint that should not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DisabledRecord {
    /// The service that is declared disabled.
    pub service: String,
    /// The declared host; absent where none runs the product, so that any may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The host's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The port under the host's offset.
    pub port: u16,
    /// TCP or UDP.
    #[serde(serialize_with = "as_text")]
    pub transport: Transport,
    /// `refused`, `silent`, `open` or `not exercised`, which is no proof.
    pub state: &'static str,
    /// Attempts that were seen.
    pub flows: u64,
}

impl fmt::Display for DisabledRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on ", self.service)?;
        match (&self.host, self.address) {
            (Some(host), Some(address)) => write!(f, "{host} ({address})")?,
            _ => f.write_str("any host")?,
        }
        write!(f, ", {}/{}", self.port, self.transport)
    }
}

/// What a baseline entry names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BaselineEntry {
    /// The rule.
    pub rule: String,
    /// The initiator, where the entry has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiator: Option<String>,
    /// The responder, where the entry has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responder: Option<String>,
    /// The port, where the entry has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The row of a matrix, where the entry has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
    /// Whether the run saw the responder answer at all: of one that it did not see, nothing is proved. Absent
    /// where the entry names no single responder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responder_seen: Option<bool>,
}

impl fmt::Display for BaselineEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let any = |end: &Option<String>| end.clone().unwrap_or_else(|| "any".to_owned());
        write!(f, "{}: {} -> {}", self.rule, any(&self.initiator), any(&self.responder))?;
        if let Some(port) = self.port {
            write!(f, " port {port}")?;
        }
        if let Some(row) = &self.row {
            write!(f, " row {row}")?;
        }
        if self.responder_seen == Some(false) {
            f.write_str(" (its responder was not seen, which proves nothing)")?;
        }
        Ok(())
    }
}
