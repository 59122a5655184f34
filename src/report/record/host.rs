//! Hosts, matrix rows and live intervals.

use std::net::IpAddr;

use serde::Serialize;

use super::as_text;
use crate::packet::{Timestamp, Transport};
use crate::report::summary::Ledger;

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
