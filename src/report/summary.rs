//! The end of a report: totals, the ledger, the verdict, and where all of it came from.
//!
//! Everything here follows from the input alone, but for [`RunRecord`], which stands apart and can be left out.

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

pub use super::proof::{BaselineEntry, DisabledRecord};
use super::record::{RuleRecord, Severity, is_zero};
use super::timeline::Timeline;
use crate::capture::InputSummary;
use crate::capture::privileges::SandboxReport;
use crate::packet::Timestamp;

/// What the whole run says.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The run's last packet; 1970 when there was none.
    #[serde(skip)]
    pub timestamp: Timestamp,
    /// Pass or not, and why.
    pub verdict: Verdict,
    /// All flows.
    pub totals: Totals,
    /// Flows by role, in the report's order.
    pub roles: Vec<RoleTotals>,
    /// Flows by service, in the report's order.
    pub services: Vec<ServiceTotals>,
    /// Flows without a service.
    pub unclassified: Traffic,
    /// What became of each frame.
    pub ledger: LedgerRecord,
    /// Conversations between zones, where zones are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zones: Option<ZoneTotals>,
    /// Each rule with its findings, rules without any too.
    pub rules: Vec<RuleTotals>,
    /// Counts over time by rule and initiator.
    pub timeline: Timeline,
    /// What was proved of each transport that the site declares disabled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disabled: Vec<DisabledRecord>,
    /// What the baseline has and the run does not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub baseline_gone: Vec<BaselineEntry>,
    /// What the user should know of the run: an expired suppression, an unread tail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What was read, by which version, under which rules.
    pub provenance: Provenance,
    /// Wall-clock figures; left out where reports are compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunRecord>,
}

/// Pass, findings or inconclusive, with the reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The verdict.
    pub result: Outcome,
    /// From which severity on a finding fails the run.
    pub fail_on: Severity,
    /// What could hide something; also listed when there are findings.
    pub reasons: Vec<Reason>,
    /// What the capture could not prove.
    pub not_exercised: Vec<NotExercised>,
}

/// The verdict's first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing at or above the threshold, and nothing that could hide it.
    Pass,
    /// At least one finding at or above the threshold.
    Findings,
    /// No such finding, but something could hide one.
    Inconclusive,
}

impl Outcome {
    /// Returns the name as reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Findings => "findings",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// One thing that makes a run inconclusive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Its name from the closed list: `dropped`, `evicted`, `folded`, `unread-tail`, `snaplen`, `hole`,
    /// `lost-sample`, ….
    pub reason: &'static str,
    /// How many flows it touches, where flows can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flows: Option<u64>,
    /// How many packets it touches, where packets can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
    /// One sentence without a full stop: what could be hidden, and how to avoid it.
    pub detail: String,
}

/// One thing that the capture could not prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotExercised {
    /// What: a rule, a declared port, a matrix row.
    pub subject: String,
    /// Why not, in one sentence without a full stop.
    pub detail: String,
}

/// The subject of [`NotExercised`] that stands for every rule which waits for zones.
pub const ZONES_UNKNOWN: &str = "zones";

/// Flows with their packets, bytes and clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Traffic {
    /// Flows.
    pub flows: u64,
    /// Packets of both sides.
    pub packets: u64,
    /// Wire bytes of both sides.
    pub bytes: u64,
    /// Different initiator addresses; where a warning says that there were more than a run tells apart, at least so
    /// many.
    pub clients: u64,
}

/// All flows of the run, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// All flows.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Different responder addresses.
    pub hosts: u64,
    /// Time of the first packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// Time of the last packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
}

/// Flows of one role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoleTotals {
    /// The role.
    pub role: String,
    /// Its flows.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Handshake round-trip times of its flows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt: Option<Rtt>,
}

/// Flows of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceTotals {
    /// The service's id.
    pub service: String,
    /// Its role.
    pub role: String,
    /// Its name for people: `gateway HTTP transport`.
    pub name: String,
    /// Ports it was found on, `8280/tcp`.
    pub ports: Vec<String>,
    /// Protocols seen there, the commonest first.
    pub app_protos: Vec<String>,
    /// Its flows.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Handshake round-trip times of its flows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt: Option<Rtt>,
}

/// Handshake round-trip times in packet time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rtt {
    /// Handshakes measured.
    pub count: u64,
    /// Median, in nanoseconds.
    pub p50_ns: u64,
    /// 90th percentile, in nanoseconds.
    pub p90_ns: u64,
    /// 99th percentile, in nanoseconds.
    pub p99_ns: u64,
    /// Longest, in nanoseconds.
    pub max_ns: u64,
    /// The `HdrHistogram`, V2 in base64; only where a service has it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub histogram: String,
}

/// What became of each frame, in total and by observation point.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct LedgerRecord {
    /// The sum of the points.
    pub total: Ledger,
    /// One a point, in order of input.
    pub points: Vec<PointLedger>,
}

/// The ledger of one observation point.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PointLedger {
    /// The capture file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcap_filename: Option<String>,
    /// The interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_iface: Option<String>,
    /// Its counts.
    #[serde(flatten)]
    pub ledger: Ledger,
    /// The interface's own counters, which are not exact.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub interface: BTreeMap<&'static str, u64>,
}

/// Frames by what became of them; balances to the packet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Ledger {
    /// What was offered: received and dropped.
    pub offered: u64,
    /// Frames that reached us.
    pub received: u64,
    /// Frames that the filter or the time span rejected.
    pub filtered: u64,
    /// Frames whose flow has a service.
    pub classified: u64,
    /// Frames whose flow has none.
    pub unclassified: u64,
    /// Frames that joined no flow, by reason.
    pub stopped: BTreeMap<&'static str, u64>,
    /// Frames not decided yet; 0 at the end.
    pub in_flight: u64,
    /// Frames lost before they reached us, by cause.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Flows thrown out of a full table.
    pub evicted: u64,
    /// Frames or flows that were counted but not looked into, by reason.
    pub uninspected: BTreeMap<&'static str, u64>,
}

impl Ledger {
    /// Returns the sum of all stops.
    pub fn stopped_total(&self) -> u64 {
        self.stopped.values().sum()
    }

    /// Returns the sum of all drops.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Tells whether every frame is accounted for.
    pub fn balances(&self) -> bool {
        let accounted = self.filtered
            + self.classified
            + self.unclassified
            + self.stopped_total()
            + self.in_flight;
        self.received == accounted && self.offered == self.received + self.dropped_total()
    }

    /// Adds another ledger to this one.
    pub fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.received += other.received;
        self.filtered += other.filtered;
        self.classified += other.classified;
        self.unclassified += other.unclassified;
        self.in_flight += other.in_flight;
        self.evicted += other.evicted;
        let pairs = [
            (&mut self.stopped, &other.stopped),
            (&mut self.dropped, &other.dropped),
            (&mut self.uninspected, &other.uninspected),
        ];
        for (into, from) in pairs {
            for (name, count) in from {
                *into.entry(name).or_default() += count;
            }
        }
    }
}

/// Conversations between zones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ZoneTotals {
    /// Flows with an end in no named zone: counted, not judged.
    pub unjudged: u64,
    /// One a pair that was seen, in order of names.
    pub pairs: Vec<ZonePair>,
}

/// Flows from one zone to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ZonePair {
    /// The zone that begins.
    pub initiator: String,
    /// The zone that answers.
    pub responder: String,
    /// Flows that a row allows.
    pub allowed: u64,
    /// Flows that no row allows.
    pub violating: u64,
    /// Flows that only tried.
    pub attempted: u64,
}

/// A rule with what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleTotals {
    /// The rule; published by its id, kind and severity.
    #[serde(flatten, serialize_with = "rule_names")]
    pub rule: RuleRecord,
    /// Alerts, suppressed ones not counted.
    pub alerts: u64,
    /// The sum of their counts.
    pub count: u64,
    /// Suppressed alerts.
    #[serde(skip_serializing_if = "is_zero")]
    pub suppressed: u64,
    /// The rule could not be judged, and why: a zone rule without zones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

/// What was read, by which version, under which rules.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Provenance {
    /// portreeve's version.
    pub version: String,
    /// SHA-256 of the catalogue, in hexadecimal.
    pub catalog_sha256: String,
    /// SHA-256 of the policy, in hexadecimal.
    pub policy_sha256: String,
    /// SHA-256 of the site file, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site_sha256: Option<String>,
    /// The BPF filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Earlier packets were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Later packets were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Inputs in the order they were read.
    pub inputs: Vec<InputRecord>,
}

/// One input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputRecord {
    /// The file as the user named it, or the interface.
    pub name: String,
    /// Bytes read, as stored; 0 for an interface.
    pub bytes: u64,
    /// Frames read.
    pub frames: u64,
    /// Time of the first frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// Time of the last frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// Why not all of it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
}

impl From<&InputSummary> for InputRecord {
    fn from(input: &InputSummary) -> Self {
        Self {
            name: input.name.clone(),
            bytes: input.bytes,
            frames: input.frames,
            start: input.span.map(|(start, _)| start),
            end: input.span.map(|(_, end)| end),
            broken: input.broken.clone(),
        }
    }
}

/// Wall-clock figures of the run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRecord {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Processor seconds of all threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    /// Packets a second.
    pub packets_per_second: f64,
    /// Wire bits a second.
    pub bits_per_second: f64,
    /// Workers.
    pub workers: usize,
    /// Peak resident memory, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// What only a live run has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveRecord>,
}

/// What only a live run has to say of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveRecord {
    /// What captured: `libpcap`, `ebpf`.
    pub backend: &'static str,
    /// Privileges that were given up, and those that were kept.
    pub sandbox: SandboxReport,
    /// From the packet that brought a finding about to its way out; absent when there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding_latency: Option<Rtt>,
}

/// Publishes of a rule what tells it: its id, kind and severity. Its text is in each alert.
fn rule_names<S: Serializer>(rule: &RuleRecord, out: S) -> Result<S::Ok, S::Error> {
    let mut map = out.serialize_map(Some(3))?;
    map.serialize_entry("rule", &rule.id)?;
    map.serialize_entry("kind", &rule.kind)?;
    map.serialize_entry("severity", &rule.severity)?;
    map.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_balances_only_when_every_frame_is_accounted_for() {
        let mut ledger = Ledger {
            offered: 12,
            received: 10,
            filtered: 1,
            classified: 4,
            unclassified: 2,
            stopped: [("arp", 2), ("fragment", 1)].into(),
            dropped: [("kernel", 2)].into(),
            ..Ledger::default()
        };
        assert!(ledger.balances());
        let mut sum = ledger.clone();
        sum.add(&ledger);
        assert!(sum.balances());
        assert_eq!((sum.received, sum.stopped["arp"], sum.dropped_total()), (20, 4, 4));
        ledger.in_flight = 1;
        assert!(!ledger.balances());
        ledger.received += 1;
        assert!(!ledger.balances(), "what was offered is short by one");
    }
}
