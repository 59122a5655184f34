//! NDJSON: one JSON object a line, in the EVE envelope that Suricata's users know.
//!
//! At the top stands nothing but EVE's own; what is ours lies under `portreeve`. `schema.json` beside this
//! file says the same to machines.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::community_id::CommunityId;
use super::json::Careful;
use super::rate::Rate;
use super::record::{
    AlertRecord, BaselineState, Envelope, EvidenceRecord, FlowRecord, HostRecord, Record,
    RowRecord, Severity, StatsRecord, SuppressionRecord, TagRecord, TlsRecord, TunnelRecord,
    is_zero,
};
use super::summary::{Ledger, Summary};
use super::{SCHEMA_VERSION, Sink};
use crate::inspect::Uninspected;
use crate::packet::{ObservationPoint, Timestamp, Transport};

/// The JSON Schema (draft 2020-12) of every line.
pub const SCHEMA: &str = include_str!("schema.json");

/// Bytes that are gathered before they are written: some seventy flows.
const BUFFER_LEN: usize = 1 << 16;

/// Writes each record as it comes, and the summary last.
pub struct Ndjson {
    out: Box<dyn Write + Send>,
    buffer: Vec<u8>,
    pub(super) rate: Option<Rate>,
}

impl Ndjson {
    /// Writes to `out`, in large pieces.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, buffer: Vec::with_capacity(BUFFER_LEN + (BUFFER_LEN >> 2)), rate: None }
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        write_line(line, &mut self.buffer)?;
        if self.buffer.len() >= BUFFER_LEN { self.hand_on() } else { Ok(()) }
    }

    fn hand_on(&mut self) -> io::Result<()> {
        let written = self.out.write_all(&self.buffer);
        self.buffer.clear();
        written
    }
}

/// Writes a flow's line.
pub fn write_flow(flow: &FlowRecord<'_>, out: &mut Vec<u8>) -> io::Result<()> {
    write_line(&flow_line(flow), out)
}

/// Writes an alert's line.
pub fn write_alert(alert: &AlertRecord<'_>, out: &mut Vec<u8>) -> io::Result<()> {
    write_line(&alert_line(alert), out)
}

fn write_line(line: &impl Serialize, out: &mut Vec<u8>) -> io::Result<()> {
    line.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, Careful))?;
    out.push(b'\n');
    Ok(())
}

impl Sink for Ndjson {
    fn record(&mut self, record: Record<'_>) -> io::Result<()> {
        match record {
            Record::Alert(alert) if self.rate.as_mut().is_some_and(|r| !r.allows(alert)) => Ok(()),
            Record::Alert(alert) => self.line(&alert_line(alert)),
            Record::Flow(flow) => self.line(&flow_line(flow)),
            Record::Host(host) => self.line(&HostLine::of(host)),
            Record::Row(row) => self.line(&RowLine::of(row)),
            Record::Stats(stats) => self.line(&StatsLine::of(stats)),
        }
    }

    fn takes_lines(&self) -> bool {
        // Who counts what goes out in a second has to see each alert.
        self.rate.is_none()
    }

    fn lines(&mut self, lines: &[u8]) -> io::Result<()> {
        self.hand_on()?;
        self.out.write_all(lines)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_on()?;
        self.out.flush()
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        let rate = self.rate.take().unwrap_or_default();
        self.line(&SummaryLine::of(summary, rate.withheld()))?;
        self.flush()
    }
}

/// What every line about a flow begins with, in Suricata's order.
#[derive(Serialize)]
struct Head<'a> {
    timestamp: Timestamp,
    flow_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_iface: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pcap_filename: Option<&'a str>,
    event_type: &'static str,
    #[serde(skip_serializing_if = "<[u16]>::is_empty")]
    vlan: &'a [u16],
    src_ip: IpAddr,
    src_port: u16,
    dest_ip: IpAddr,
    dest_port: u16,
    proto: &'static str,
    app_proto: &'a str,
    community_id: CommunityId,
}

impl<'a> Head<'a> {
    fn of(envelope: &Envelope<'a>, event_type: &'static str) -> Self {
        let Envelope { initiator, responder, transport, .. } = *envelope;
        let point = envelope.points.first();
        let file = point.and_then(|point| point.file.as_deref());
        let interface = point.and_then(|point| point.interface.as_deref());
        Self {
            timestamp: envelope.timestamp,
            flow_id: envelope.flow_id,
            in_iface: if file.is_none() { interface } else { None },
            pcap_filename: file,
            event_type,
            vlan: envelope.vlan,
            src_ip: initiator.ip(),
            src_port: initiator.port(),
            dest_ip: responder.ip(),
            dest_port: responder.port(),
            proto: match transport {
                Transport::Tcp => "TCP",
                Transport::Udp => "UDP",
            },
            app_proto: envelope.app_proto,
            community_id: CommunityId::of(initiator, responder, transport),
        }
    }
}

/// What `portreeve` begins with on a line about a flow.
#[derive(Serialize)]
struct Common<'a> {
    schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<&'a str>,
    candidates: &'a [&'a str],
    #[serde(skip_serializing_if = "Zones::is_empty")]
    zones: Zones<'a>,
    #[serde(skip_serializing_if = "<[TunnelRecord<'_>]>::is_empty")]
    tunnel: &'a [TunnelRecord<'a>],
    #[serde(skip_serializing_if = "Points::is_told")]
    points: Points<'a>,
}

impl<'a> Common<'a> {
    fn of(tag: &TagRecord<'a>, envelope: &Envelope<'a>) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            service: tag.service,
            role: tag.role,
            product: tag.product,
            offset: tag.offset,
            basis: tag.basis,
            candidates: tag.candidates,
            zones: Zones { initiator: tag.initiator_zone, responder: tag.responder_zone },
            tunnel: envelope.tunnel,
            points: Points(envelope.points),
        }
    }
}

#[derive(Serialize)]
struct Zones<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    initiator: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    responder: Option<&'a str>,
}

impl Zones<'_> {
    fn is_empty(&self) -> bool {
        self.initiator.is_none() && self.responder.is_none()
    }
}

/// All observation points of a flow.
struct Points<'a>(&'a [&'a ObservationPoint]);

impl Points<'_> {
    /// Tells whether the head says all there is: one point, and no interface inside a file.
    fn is_told(&self) -> bool {
        match self.0 {
            [] => true,
            [point] => point.file.is_none() || point.interface.is_none(),
            _ => false,
        }
    }
}

impl Serialize for Points<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Point<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            pcap_filename: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            in_iface: Option<&'a str>,
        }
        out.collect_seq(self.0.iter().map(|point| Point {
            pcap_filename: point.file.as_deref(),
            in_iface: point.interface.as_deref(),
        }))
    }
}

#[derive(Serialize)]
struct FlowLine<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    flow: FlowEve<'a>,
    portreeve: FlowOurs<'a>,
}

/// EVE's `flow`.
#[derive(Serialize)]
struct FlowEve<'a> {
    pkts_toserver: u64,
    pkts_toclient: u64,
    bytes_toserver: u64,
    bytes_toclient: u64,
    start: Timestamp,
    end: Timestamp,
    state: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct FlowOurs<'a> {
    #[serde(flatten)]
    common: Common<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encrypted: Option<bool>,
    initiator_known: bool,
    conn_state: &'a str,
    history: &'a str,
    first_frame: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake_rtt_ns: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    requests: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsRecord<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    merged: bool,
    uninspected: Reasons,
}

/// Why not everything was looked into: an object with `true` by reason.
struct Reasons(Uninspected);

impl Serialize for Reasons {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(None)?;
        for name in self.0.names() {
            map.serialize_entry(name, &true)?;
        }
        map.end()
    }
}

fn flow_line<'a>(flow: &FlowRecord<'a>) -> FlowLine<'a> {
    FlowLine {
        head: Head::of(&flow.envelope, "flow"),
        flow: FlowEve {
            pkts_toserver: flow.pkts_toserver,
            pkts_toclient: flow.pkts_toclient,
            bytes_toserver: flow.bytes_toserver,
            bytes_toclient: flow.bytes_toclient,
            start: flow.start,
            end: flow.end,
            state: flow.state,
            reason: flow.reason,
        },
        portreeve: FlowOurs {
            common: Common::of(&flow.tag, &flow.envelope),
            encrypted: flow.encrypted,
            initiator_known: flow.initiator_known,
            conn_state: flow.conn_state,
            history: flow.history,
            first_frame: flow.first_frame,
            handshake_rtt_ns: flow.handshake_rtt_ns,
            requests: flow.requests,
            tls: flow.tls,
            merged: flow.merged,
            uninspected: Reasons(flow.uninspected),
        },
    }
}

#[derive(Serialize)]
struct AlertLine<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    alert: AlertEve<'a>,
    portreeve: AlertOurs<'a>,
}

/// EVE's `alert`.
#[derive(Serialize)]
struct AlertEve<'a> {
    signature: &'a str,
    signature_id: u32,
    category: &'a str,
    severity: u8,
}

#[derive(Serialize)]
struct AlertOurs<'a> {
    #[serde(flatten)]
    common: Common<'a>,
    finding: Finding<'a>,
}

#[derive(Serialize)]
struct Finding<'a> {
    rule: &'a str,
    kind: &'a str,
    severity: Severity,
    title: &'a str,
    count: u64,
    update: bool,
    first_frame: u64,
    first_seen: Timestamp,
    last_seen: Timestamp,
    evidence: &'a [EvidenceRecord<'a>],
    remedy: &'a str,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressed: Option<&'a SuppressionRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<BaselineState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<&'a str>,
}

fn alert_line<'a>(alert: &'a AlertRecord<'a>) -> AlertLine<'a> {
    let rule = alert.rule;
    AlertLine {
        head: Head::of(&alert.envelope, "alert"),
        alert: AlertEve {
            signature: &rule.title,
            signature_id: rule.signature_id,
            category: &rule.kind,
            severity: alert.severity.number(),
        },
        portreeve: AlertOurs {
            common: Common::of(&alert.tag, &alert.envelope),
            finding: Finding {
                rule: &rule.id,
                kind: &rule.kind,
                severity: alert.severity,
                title: &rule.title,
                count: alert.count,
                update: alert.update,
                first_frame: alert.first_frame,
                first_seen: alert.first_seen,
                last_seen: alert.last_seen,
                evidence: &alert.evidence,
                remedy: &rule.remedy,
                source: &rule.source,
                suppressed: alert.suppression,
                baseline: alert.baseline,
                row: alert.row,
            },
        },
    }
}

/// A line about a host; EVE readers find its address where a responder's is.
#[derive(Serialize)]
struct HostLine<'a> {
    timestamp: Timestamp,
    event_type: &'static str,
    dest_ip: IpAddr,
    portreeve: HostOurs<'a>,
}

#[derive(Serialize)]
struct HostOurs<'a> {
    schema_version: u32,
    host: &'a HostRecord,
}

impl<'a> HostLine<'a> {
    fn of(host: &'a HostRecord) -> Self {
        Self {
            timestamp: host.timestamp,
            event_type: "host",
            dest_ip: host.address,
            portreeve: HostOurs { schema_version: SCHEMA_VERSION, host },
        }
    }
}

#[derive(Serialize)]
struct RowLine<'a> {
    timestamp: Timestamp,
    event_type: &'static str,
    portreeve: RowOurs<'a>,
}

#[derive(Serialize)]
struct RowOurs<'a> {
    schema_version: u32,
    row: &'a RowRecord,
}

impl<'a> RowLine<'a> {
    fn of(row: &'a RowRecord) -> Self {
        let portreeve = RowOurs { schema_version: SCHEMA_VERSION, row };
        Self { timestamp: row.timestamp, event_type: "row", portreeve }
    }
}

#[derive(Serialize)]
struct StatsLine<'a> {
    timestamp: Timestamp,
    event_type: &'static str,
    portreeve: StatsOurs<'a>,
}

#[derive(Serialize)]
struct StatsOurs<'a> {
    schema_version: u32,
    stats: &'a StatsRecord,
    ledger: LiveLedger<'a>,
}

/// The ledger of a live run, which is told in total only.
#[derive(Serialize)]
struct LiveLedger<'a> {
    total: &'a Ledger,
}

impl<'a> StatsLine<'a> {
    fn of(stats: &'a StatsRecord) -> Self {
        let ledger = LiveLedger { total: &stats.ledger };
        let portreeve = StatsOurs { schema_version: SCHEMA_VERSION, stats, ledger };
        Self { timestamp: stats.timestamp, event_type: "stats", portreeve }
    }
}

#[derive(Serialize)]
struct SummaryLine<'a> {
    timestamp: Timestamp,
    event_type: &'static str,
    portreeve: SummaryOurs<'a>,
}

#[derive(Serialize)]
struct SummaryOurs<'a> {
    schema_version: u32,
    #[serde(flatten)]
    summary: &'a Summary,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    withheld: &'a BTreeMap<String, u64>,
}

impl<'a> SummaryLine<'a> {
    fn of(summary: &'a Summary, withheld: &'a BTreeMap<String, u64>) -> Self {
        let portreeve = SummaryOurs { schema_version: SCHEMA_VERSION, summary, withheld };
        Self { timestamp: summary.timestamp, event_type: "summary", portreeve }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::fixtures::{self, HOSTILE, Shared};
    use super::*;

    fn played() -> String {
        let out = Shared::default();
        fixtures::play(&mut Ndjson::new(Box::new(out.clone())));
        out.text()
    }

    fn lines(text: &str) -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// One line of each kind, the richest of its kind.
    fn one_of_each() -> Vec<Value> {
        let mut richest: Vec<(String, Value)> = Vec::new();
        for line in lines(&played()) {
            let kind = line["event_type"].as_str().unwrap().to_owned();
            let len = line.to_string().len();
            match richest.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, known)) if known.to_string().len() < len => *known = line,
                Some(_) => {}
                None => richest.push((kind, line)),
            }
        }
        richest.into_iter().map(|(_, line)| line).collect()
    }

    fn validator() -> jsonschema::Validator {
        let schema = serde_json::from_str(SCHEMA).unwrap();
        jsonschema::meta::validate(&schema).unwrap();
        jsonschema::draft202012::new(&schema).unwrap()
    }

    #[test]
    fn every_kind_of_record_is_valid_by_the_schema() {
        let validator = validator();
        let lines = lines(&played());
        let mut kinds: Vec<_> = lines.iter().map(|line| line["event_type"].to_string()).collect();
        for line in &lines {
            let error = validator.validate(line).err().map(|error| error.to_string());
            assert_eq!(error, None, "{line}");
        }
        kinds.dedup();
        let order = ["alert", "flow", "host", "row", "stats", "summary"].map(|k| format!("{k:?}"));
        assert_eq!(kinds, order);
    }

    #[test]
    fn an_unknown_field_anywhere_breaks_the_schema() {
        fn spoil(value: &Value, spoilt: &mut Vec<Value>, rebuild: &dyn Fn(Value) -> Value) {
            match value {
                Value::Object(map) => {
                    let mut with = map.clone();
                    with.insert("surplus".to_owned(), Value::from("text"));
                    spoilt.push(rebuild(Value::Object(with)));
                    for (key, inner) in map {
                        spoil(inner, spoilt, &|new| {
                            let mut with = map.clone();
                            with.insert(key.clone(), new);
                            rebuild(Value::Object(with))
                        });
                    }
                }
                Value::Array(items) => {
                    for (index, inner) in items.iter().enumerate() {
                        spoil(inner, spoilt, &|new| {
                            let mut with = items.clone();
                            with[index] = new;
                            rebuild(Value::Array(with))
                        });
                    }
                }
                _ => {}
            }
        }
        let validator = validator();
        let mut spoilt = Vec::new();
        for line in one_of_each() {
            spoil(&line, &mut spoilt, &|new| new);
        }
        assert!(spoilt.len() > 50, "only {} objects", spoilt.len());
        for line in spoilt {
            assert!(!validator.is_valid(&line), "{line}");
        }
    }

    #[test]
    fn nothing_is_null_and_nothing_but_portreeve_is_added_at_the_top() {
        fn has_null(value: &Value) -> bool {
            match value {
                Value::Null => true,
                Value::Array(items) => items.iter().any(has_null),
                Value::Object(map) => map.values().any(has_null),
                _ => false,
            }
        }
        let eve = [
            "timestamp",
            "flow_id",
            "in_iface",
            "pcap_filename",
            "event_type",
            "vlan",
            "src_ip",
            "src_port",
            "dest_ip",
            "dest_port",
            "proto",
            "app_proto",
            "community_id",
            "flow",
            "alert",
            "portreeve",
        ];
        for line in one_of_each() {
            assert!(!has_null(&line), "{line}");
            for key in line.as_object().unwrap().keys() {
                assert!(eve.contains(&key.as_str()), "{key}");
            }
        }
    }

    #[test]
    fn hostile_text_comes_back_whole_and_cannot_reach_a_terminal() {
        let text = played();
        assert!(!text.chars().any(|c| c != '\n' && crate::error::is_unprintable(c)));
        let flow = lines(&text).into_iter().find(|l| l["portreeve"]["tls"].is_object()).unwrap();
        assert_eq!(flow["portreeve"]["tls"]["sni"], HOSTILE);
    }

    #[test]
    fn a_flow_s_line_is_the_published_one() {
        let text = played();
        let line = text.lines().find(|line| line.contains(r#""event_type":"flow""#)).unwrap();
        snapbox::assert_data_eq!(line, snapbox::file!["testdata/flow.ndjson"].raw());
    }

    #[test]
    fn run_is_left_out_when_it_is_not_given() {
        let out = Shared::default();
        let summary = Summary { run: None, ..fixtures::summary() };
        Ndjson::new(Box::new(out.clone())).finish(&summary).unwrap();
        let line = &lines(&out.text())[0];
        assert!(line["portreeve"].get("run").is_none());
        assert!(validator().is_valid(line));
    }
}
