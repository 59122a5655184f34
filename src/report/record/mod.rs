//! The published records: what a flow, an alert, a host, a matrix row and a live interval look like to
//! whoever reads a report.
//!
//! Plain data, apart from the inner types: the join fills them, the sinks write them. Flows and alerts borrow,
//! because there are many. Text is as it was on the wire; the sinks escape it.

mod alert;
mod host;

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};

use serde::{Serialize, Serializer};

use crate::inspect::Uninspected;
use crate::packet::{ObservationPoint, Timestamp, Transport};
pub use crate::policy::Severity;

pub use alert::{
    AlertRecord, BaselineState, EvidenceRecord, FingerprintRecord, HttpRecord, JwtRecord,
    RuleRecord, SuppressionRecord,
};
pub use host::{HostPorts, HostRecord, PortRecord, RowRecord, RowStatus, StatsRecord};

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
    /// The outer address from which the initiator's packets came, where the kind has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src_ip: Option<IpAddr>,
    /// The outer address to which they went.
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
    /// Offload joined some of its packets before they were captured: through libpcap they count as captured.
    pub merged: bool,
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
    /// The server asked for a client certificate, or did not; absent where that is encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<bool>,
    /// The version is the server's choice, not the client's offer.
    pub negotiated: bool,
}

/// Serializes what has a `Display` as a string.
pub(super) fn as_text<T: Display, S: Serializer>(value: &T, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(value)
}

/// Tells whether a count can be left out.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(super) fn is_zero(count: &u64) -> bool {
    *count == 0
}
