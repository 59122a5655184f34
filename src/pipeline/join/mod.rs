//! The join: where the shards' results meet and become records.
//!
//! Takes flows with their facts; finds what concerns several flows, runs the policy, and gives records in
//! their published order: alerts, flows (by first frame), hosts, rows, summary. Nothing here depends on how
//! many workers there were.

pub mod ledger;
pub mod resolve;
pub mod totals;

use std::net::SocketAddr;

use crate::capture::Source;
use crate::catalog::{Catalog, Service};
use crate::decode::Encap;
use crate::error::{Error, Result};
use crate::flow::Flow;
use crate::flow::index::FlowNumber;
use crate::inspect::{Facts, Uninspected};
use crate::packet::{ObservationPoint, Side, Timestamp};
use crate::report::Sink;
use crate::report::community_id::flow_id;
use crate::report::record::{Envelope, FlowRecord, Record, Severity, TagRecord, TlsRecord, TunnelRecord};
use crate::report::summary::{
    InputRecord, Outcome, Provenance, Reason, RunRecord, Summary, Totals as TotalsRecord, Verdict,
};
use crate::report::timeline::TimelineBuilder;

use super::Gathered;
use resolve::Direction;
use totals::{Item, Names, Totals};

/// What the join goes by.
pub struct Setting<'a> {
    /// The port catalogue.
    pub catalog: &'a Catalog,
    /// From which severity on a finding fails the run.
    pub fail_on: Severity,
    /// The user's own words for what was left out.
    pub provenance: Provenance,
}

/// One flow's place: its shard and number there.
#[derive(Debug, Clone, Copy)]
struct Place {
    first_frame: u64,
    number: FlowNumber,
    shard: u8,
}

/// Everything that the join looks at.
struct Join<'a> {
    gathered: &'a Gathered,
    setting: &'a Setting<'a>,
    points: &'a [ObservationPoint],
}

/// One flow with everything that was found about it.
struct View<'a> {
    flow: &'a Flow,
    facts: Option<&'a Facts>,
    direction: Direction,
    encap: &'a Encap,
    service: Option<&'a Service>,
    candidates: Vec<&'a str>,
}

impl View<'_> {
    fn initiator(&self) -> SocketAddr {
        self.flow.key.endpoint(self.direction.initiator)
    }

    fn responder(&self) -> SocketAddr {
        self.flow.key.endpoint(self.direction.initiator.other())
    }
}
