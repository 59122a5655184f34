//! Made-up records of every kind, some of them hostile, for the sinks' tests.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};

use super::record::{
    AlertRecord, BaselineState, Envelope, EvidenceRecord, FingerprintRecord, FlowRecord, HostPorts,
    HostRecord, HttpRecord, JwtRecord, PortRecord, Record, RowRecord, RowStatus, RuleRecord,
    Severity, StatsRecord, SuppressionRecord, TagRecord, TlsRecord, TunnelRecord,
};
use super::summary::{
    BaselineEntry, DisabledRecord, InputRecord, Ledger, LedgerRecord, NotExercised, Outcome,
    PointLedger, Provenance, Reason, RoleTotals, Rtt, RuleTotals, RunRecord, ServiceTotals,
    Summary, Totals, Traffic, Verdict, ZonePair, ZoneTotals,
};
use super::timeline::TimelineBuilder;
use super::{Sink, community_id};
use crate::inspect::Uninspected;
use crate::inspect::secret::Fingerprinter;
use crate::packet::{EncapId, FiveTuple, FlowKey, ObservationPoint, Timestamp, Transport};

/// 2026-11-22 06:50:00 UTC.
pub(super) const START: Timestamp = Timestamp(1_795_330_200_000_000_000);

/// What a hostile peer writes where text is expected: a colour, a new line, a C1 control, a reversed
/// direction, markup, and a character that XML 1.0 forbids.
pub(super) const HOSTILE: &str =
    "\x1b[31mred\n\"quoted\"\t\u{9b}2J\u{202e}txt\u{7f}\u{0}<b>&amp;]]>\u{ffff}\u{e0041}é漢";

/// A writer whose bytes a test can read afterwards.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Milliseconds after the start.
pub(super) fn at(milliseconds: i64) -> Timestamp {
    Timestamp(START.0 + milliseconds * 1_000_000)
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Keeps a value for the whole test run, which spares the fixtures a second set of owned types.
pub(super) fn keep<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// An envelope of a TCP flow in `gateway.pcap`.
pub(super) fn envelope(initiator: &str, responder: &str, first_frame: u64) -> Envelope<'static> {
    let (src, dst) = (socket(initiator), socket(responder));
    let transport = Transport::Tcp;
    let (key, _) = FlowKey::new(FiveTuple { src, dst, transport }, EncapId(0));
    let file = Some("gateway.pcap".to_owned());
    let point = keep(ObservationPoint { file, interface: None, input: 0 });
    Envelope {
        timestamp: at(i64::try_from(first_frame).unwrap()),
        initiator: src,
        responder: dst,
        transport,
        app_proto: "http",
        flow_id: community_id::flow_id(&key, first_frame),
        points: keep([point]),
        vlan: &[],
        tunnel: &[],
    }
}

/// A service's tag on its own port.
pub(super) fn tag(service: &'static str, role: &'static str) -> TagRecord<'static> {
    TagRecord {
        service: Some(service),
        role: Some(role),
        product: service.split('/').next(),
        offset: Some(0),
        basis: Some("port"),
        ..TagRecord::default()
    }
}

/// A flow of one request.
pub(super) fn flow(envelope: Envelope<'static>, tag: TagRecord<'static>) -> FlowRecord<'static> {
    FlowRecord {
        envelope,
        tag,
        pkts_toserver: 6,
        pkts_toclient: 5,
        bytes_toserver: 1_204,
        bytes_toclient: 5_020,
        start: START,
        end: envelope.timestamp,
        state: "closed",
        reason: "shutdown",
        encrypted: Some(false),
        initiator_known: true,
        conn_state: "SF",
        history: "ShADadFf",
        first_frame: 1,
        handshake_rtt_ns: Some(1_250_000),
        requests: 1,
        tls: None,
        merged: false,
        uninspected: Uninspected::default(),
    }
}

pub(super) fn rules() -> Vec<RuleRecord> {
    let rule = |id: &str, kind: &str, title: &str, severity, signature_id, line, remedy: &str| {
        RuleRecord {
            id: id.to_owned(),
            kind: kind.to_owned(),
            title: title.to_owned(),
            severity,
            signature_id,
            file: "catalog/policy/wso2.toml".to_owned(),
            line,
            source: "WSO2 API Manager 3.x, Default Product Ports, attention box".to_owned(),
            remedy: remedy.to_owned(),
        }
    };
    vec![
        rule(
            "wso2/bearer-over-http",
            "plaintext-bearer",
            "OAuth bearer token in clear on the gateway's HTTP port",
            Severity::Critical,
            9_000_001,
            12,
            "Disable the gateway's HTTP transport in <API-M_HOME>/repository/conf/deployment.toml, \
             and let clients use 8243:\n\n[transport.passthru_http]\nenabled = false",
        ),
        rule(
            "wso2/basic-over-http",
            "basic-auth-cleartext",
            "Basic credentials in clear",
            Severity::High,
            9_000_002,
            31,
            "Use HTTPS.",
        ),
        rule(
            "wso2/clear-gateway",
            "cleartext-transport",
            "Clear HTTP transport of the gateway in use",
            Severity::Medium,
            9_000_010,
            52,
            "Disable it.",
        ),
        rule(
            "wso2/jmx-without-tls",
            "jmx-no-tls",
            "JMX without TLS",
            Severity::High,
            9_000_020,
            75,
            "Set com.sun.management.jmxremote.ssl.",
        ),
        rule(
            "ibm/zone-violation",
            "zone-violation",
            "Traffic that no row of the zone matrix allows",
            Severity::Critical,
            9_000_030,
            8,
            "Close the path in the firewall.",
        ),
    ]
}

/// Plays a whole run: alerts, flows, hosts, rows, a live interval, and the summary.
pub(super) fn play(sink: &mut dyn Sink) {
    play_alerts(sink);
    play_flows(sink);
    for host in hosts() {
        sink.record(Record::Host(&host)).unwrap();
    }
    for row in rows() {
        sink.record(Record::Row(&row)).unwrap();
    }
    let stats = StatsRecord {
        timestamp: at(2_000),
        interval_ns: 1_000_000_000,
        packets_per_second: 1_204.5,
        bits_per_second: 7.5e6,
        flows_open: 12,
        flows: 3_420,
        alerts: 3_418,
        ledger: ledger(),
    };
    sink.record(Record::Stats(&stats)).unwrap();
    sink.finish(&summary()).unwrap();
}

/// An alert of the rule with the given index.
pub(super) fn alert(rule: usize, envelope: Envelope<'static>, count: u64) -> AlertRecord<'static> {
    static RULES: LazyLock<Vec<RuleRecord>> = LazyLock::new(rules);
    let rule = &RULES[rule];
    AlertRecord {
        envelope,
        tag: tag("wso2-api-manager-4/gateway-http", "gateway"),
        rule,
        severity: rule.severity,
        count,
        update: false,
        first_frame: 4,
        first_seen: envelope.timestamp,
        last_seen: Timestamp(envelope.timestamp.0 + 40_000_000),
        evidence: Vec::new(),
        suppression: None,
        baseline: None,
        row: None,
    }
}

/// A request with a token in it.
pub(super) const REQUEST: HttpRecord<'static> = HttpRecord {
    method: "POST",
    host: "api.example.com:8280",
    path: "/pizzashack/1.0.0/order?expand&access_token",
    place: "header",
    forwarded_for: "203.0.113.9",
    user_agent: "okhttp/4.12.0",
    status: Some(201),
};

/// An alert on a bearer token; equal names of tokens have equal fingerprints.
pub(super) fn bearer(
    envelope: Envelope<'static>,
    count: u64,
    token: &str,
    http: HttpRecord<'static>,
) -> AlertRecord<'static> {
    let mut alert = alert(0, envelope, count);
    let fingerprint = Fingerprinter::new(b"fixture").of(token.as_bytes());
    alert.evidence.push(EvidenceRecord {
        count,
        last_seen: alert.last_seen,
        fingerprints: vec![FingerprintRecord { fingerprint, count }],
        http: Some(http),
        jwt: Some(JwtRecord { alg: "RS256", iss: "https://idp.example.com", exp: Some(1) }),
        ..EvidenceRecord::once("bearer-token", 4, alert.first_seen)
    });
    alert
}

fn play_alerts(sink: &mut dyn Sink) {
    let mut play = |alert: &AlertRecord<'_>| sink.record(Record::Alert(alert)).unwrap();
    for flow in 0..3_412 {
        let initiator = format!("10.0.2.7:{}", 20_000 + flow);
        let envelope = envelope(&initiator, "10.0.3.10:8280", 1 + flow * 100);
        play(&bearer(envelope, 1 + u64::from(flow == 7) * 988, "one", REQUEST));
    }
    let busy = HttpRecord { method: "GET", path: "/menu", forwarded_for: "", ..REQUEST };
    play(&bearer(envelope("10.0.2.9:41000", "10.0.3.10:8280", 77), 112, "one", busy));
    play(&bearer(envelope("10.0.2.9:41001", "10.0.3.10:8280", 78), 3, "two", busy));
    let long = (
        "[2001:db8:85a3:1111:2222:8a2e:1370:7334]:50123",
        "[2001:db8:85a3:ffff:2222:8a2e:1370:7335]:8280",
    );
    let hostile = HttpRecord {
        method: "GET",
        host: HOSTILE,
        path: HOSTILE,
        place: "query",
        forwarded_for: HOSTILE,
        user_agent: HOSTILE,
        status: None,
    };
    let mut alert_1 = bearer(envelope(long.0, long.1, 99), 1, "three", hostile);
    alert_1.evidence[0].fingerprints_beyond = 2;
    alert_1.evidence[0].user = Some(HOSTILE);
    play(&alert_1);

    let mut basic = alert(1, envelope("10.0.2.8:40001", "10.0.3.10:9763", 120), 2);
    basic.tag = tag("wso2-api-manager-4/servlet-http", "servlet");
    basic.evidence.push(EvidenceRecord {
        user: Some("5d1f00c2a9b3e774"),
        http: Some(HttpRecord { method: "GET", path: "/carbon/admin", ..REQUEST }),
        ..EvidenceRecord::once("basic-credentials", 121, at(121))
    });
    basic.baseline = Some(BaselineState::New);
    play(&basic);

    for client in 0..30 {
        let initiator = format!("10.0.4.{client}:40000");
        play(&alert(2, envelope(&initiator, "10.0.3.10:8280", 200 + client), 1));
    }

    let mut accepted = alert(1, envelope("10.0.2.7:50000", "10.0.3.10:9763", 130), 4);
    accepted.suppression = Some(keep(SuppressionRecord {
        reason: "legacy client, ticket 4711".to_owned(),
        until: "2027-01-31".to_owned(),
        file: "site.toml".to_owned(),
        line: 41,
    }));
    play(&accepted);

    let mut violation = alert(4, envelope("192.0.2.55:50001", "10.0.5.10:22", 140), 1);
    violation.tag = TagRecord {
        initiator_zone: Some("public"),
        responder_zone: Some("management"),
        ..tag("ibm-api-connect/ssh", "management")
    };
    violation.evidence.push(EvidenceRecord {
        detail: Some("no row allows 22/tcp from public to management"),
        ..EvidenceRecord::once("zone", 140, at(140))
    });
    play(&violation);
}

fn play_flows(sink: &mut dyn Sink) {
    let plain = flow(envelope("10.0.2.7:20000", "10.0.3.10:8280", 1), TagRecord::default());
    let mut full = flow(
        envelope("10.0.2.7:20001", "10.0.3.10:8244", 2),
        TagRecord {
            offset: Some(1),
            basis: Some("offset-inferred"),
            candidates: &["wso2-iot-server-3/gateway-https"],
            initiator_zone: Some("public"),
            responder_zone: Some("gateway"),
            ..tag("wso2-api-manager-4/gateway-https", "gateway")
        },
    );
    full.envelope.app_proto = "tls";
    full.envelope.vlan = &[100, 200];
    full.envelope.tunnel = keep([
        TunnelRecord {
            kind: "vxlan",
            id: Some(42),
            src_ip: Some([192, 0, 2, 1].into()),
            dest_ip: Some([192, 0, 2, 2].into()),
        },
        TunnelRecord { kind: "mpls", id: Some(16), src_ip: None, dest_ip: None },
    ]);
    let eth0 = keep(ObservationPoint {
        file: Some(HOSTILE.to_owned()),
        interface: Some("eth0".to_owned()),
        input: 1,
    });
    full.envelope.points = keep([full.envelope.points[0], eth0]);
    full.encrypted = Some(true);
    full.tls = Some(TlsRecord {
        sni: Some(HOSTILE),
        alpn: keep(["h2".to_owned(), HOSTILE.to_owned()]),
        version: Some("TLS 1.2"),
        cipher: Some(0xc02f),
        client_certificate: Some(false),
        negotiated: true,
    });
    full.uninspected.add(Uninspected::HOLE);
    full.uninspected.add(Uninspected::SNAPLEN);
    let mut live = flow(envelope("[fe80::1]:53000", "[fe80::2]:9999", 3), TagRecord::default());
    live.envelope.transport = Transport::Udp;
    live.envelope.app_proto = "unknown";
    live.envelope.points =
        keep([keep(ObservationPoint { file: None, interface: Some("eth1".to_owned()), input: 0 })]);
    live.encrypted = None;
    live.handshake_rtt_ns = None;
    live.requests = 0;
    for flow in [plain, full, live] {
        sink.record(Record::Flow(&flow)).unwrap();
    }
}

fn hosts() -> Vec<HostRecord> {
    let port = |port, service: &str, app_proto: Option<&str>, flows| PortRecord {
        port,
        transport: Transport::Tcp,
        service: Some(service.to_owned()),
        app_proto: app_proto.map(str::to_owned),
        flows,
    };
    vec![
        HostRecord {
            timestamp: at(492_000),
            address: [10, 0, 3, 10].into(),
            name: Some("gw-1".to_owned()),
            zone: Some("gateway".to_owned()),
            products: vec!["wso2-api-manager-4".to_owned()],
            offset: Some(0),
            confidence: "declared",
            ports: HostPorts {
                answered: vec![
                    port(8243, "gateway-https", Some("tls"), 12),
                    port(8280, "gateway-http", Some("http"), 3_415),
                    port(9763, "servlet-http", Some("http"), 2),
                ],
                refused: vec![port(9443, "servlet-https", None, 1)],
                never_seen: vec![
                    port(5672, "message-broker", None, 0),
                    port(9611, "databridge", None, 0),
                    port(9711, "databridge-tls", None, 0),
                    port(10389, "embedded-ldap", None, 0),
                ],
            },
            notes: Vec::new(),
        },
        HostRecord {
            timestamp: at(492_000),
            address: "2001:db8:85a3:ffff:2222:8a2e:1370:7335".parse().unwrap(),
            name: None,
            zone: None,
            products: vec!["wso2-api-manager-4".to_owned(), "wso2-api-manager-3".to_owned()],
            offset: None,
            confidence: "low",
            ports: HostPorts {
                answered: vec![port(8280, "gateway-http", Some("http"), 1)],
                ..HostPorts::default()
            },
            notes: vec!["one port fits two products".to_owned()],
        },
    ]
}

fn rows() -> Vec<RowRecord> {
    let row = |row: &str, initiator: &str, responder: &str, services: &str, status, counts| {
        let [satisfied, attempted, violated] = counts;
        RowRecord {
            timestamp: at(492_000),
            pack: "ibm-api-connect-zones".to_owned(),
            row: row.to_owned(),
            initiator: initiator.to_owned(),
            responder: responder.to_owned(),
            services: services.to_owned(),
            status,
            satisfied,
            attempted,
            violated,
            note: (status == RowStatus::Violated).then(|| "clear HTTP on 443".to_owned()),
        }
    };
    vec![
        row("1", "public", "gateway", "443/tcp", RowStatus::Satisfied, [120, 0, 0]),
        row("2", "protected", "management", "443/tcp", RowStatus::Violated, [4, 0, 2]),
        row("3", "management", "gateway", "5550/tcp, 3000/tcp", RowStatus::Attempted, [0, 3, 0]),
        row("4", "gateway", "management", "9443/tcp", RowStatus::Unused, [0, 0, 0]),
        row("5", "gateway", "analytics", "443/tcp", RowStatus::Unused, [0, 0, 0]),
    ]
}

fn ledger() -> Ledger {
    Ledger {
        offered: 41_337,
        received: 41_337,
        filtered: 0,
        classified: 39_000,
        unclassified: 1_200,
        stopped: [("arp", 1_000), ("icmp", 137)].into(),
        in_flight: 0,
        dropped: [].into(),
        evicted: 0,
        uninspected: [("snaplen", 12)].into(),
    }
}

fn rtt(count: u64) -> Rtt {
    Rtt {
        count,
        p50_ns: 840_000,
        p90_ns: 1_900_000,
        p99_ns: 12_300_000,
        max_ns: 1_204_000_000,
        histogram: String::new(),
    }
}

pub(super) fn summary() -> Summary {
    let traffic = |flows, packets, bytes, clients| Traffic { flows, packets, bytes, clients };
    let service = |service: &str, role: &str, name: &str, port: &str, proto: &str, traffic| {
        let rtt = Rtt { histogram: "SElTVEU=".to_owned(), ..rtt(12) };
        ServiceTotals {
            service: format!("wso2-api-manager-4/{service}"),
            role: role.to_owned(),
            name: name.to_owned(),
            ports: vec![port.to_owned()],
            app_protos: vec![proto.to_owned()],
            traffic,
            rtt: Some(rtt),
        }
    };
    let role = |role: &str, traffic, rtt| RoleTotals { role: role.to_owned(), traffic, rtt };
    let mut timeline = TimelineBuilder::new(START, at(492_000));
    timeline.add("wso2/bearer-over-http", [10, 0, 2, 7].into(), at(7), 4_400);
    timeline.add("wso2/bearer-over-http", [10, 0, 2, 7].into(), at(400_000), 1);
    let alerts = [(3_415, 4_516, 0), (1, 2, 1), (30, 30, 0), (0, 0, 0), (1, 1, 0)];
    let mut rules: Vec<_> = rules()
        .into_iter()
        .zip(alerts)
        .map(|(rule, (alerts, count, suppressed))| RuleTotals {
            rule,
            alerts,
            count,
            suppressed,
            skipped: None,
        })
        .collect();
    rules[3].skipped = Some("no JMX service was seen".to_owned());
    Summary {
        timestamp: at(492_000),
        verdict: verdict(),
        totals: Totals {
            traffic: traffic(3_460, 40_200, 18_234_567, 36),
            hosts: 3,
            start: Some(START),
            end: Some(at(492_000)),
        },
        roles: vec![
            role("gateway", traffic(3_457, 38_900, 18_200_000, 35), Some(rtt(3_457))),
            role("servlet", traffic(2, 60, 9_200, 2), Some(rtt(2))),
            role("management", traffic(1, 40, 8_100, 1), Some(rtt(1))),
        ],
        services: vec![
            service(
                "gateway-http",
                "gateway",
                "gateway HTTP transport",
                "8280/tcp",
                "http",
                traffic(3_445, 38_000, 17_900_000, 34),
            ),
            service(
                "gateway-https",
                "gateway",
                "gateway HTTPS transport",
                "8243/tcp",
                "tls",
                traffic(12, 900, 300_000, 3),
            ),
            service(
                "servlet-http",
                "servlet",
                "servlet transport, management console and REST APIs",
                "9763/tcp",
                "http",
                traffic(2, 60, 9_200, 2),
            ),
            service("ssh", "management", "SSH", "22/tcp", "ssh", traffic(1, 40, 8_100, 1)),
        ],
        unclassified: traffic(140, 1_200, 17_267, 12),
        ledger: LedgerRecord { total: ledger(), points: point_ledgers() },
        zones: Some(zones()),
        rules,
        timeline: timeline.build(),
        disabled: disabled(),
        baseline_gone: vec![BaselineEntry {
            rule: "wso2/basic-over-http".to_owned(),
            initiator: Some("10.0.2.99".to_owned()),
            responder: Some("10.0.3.10".to_owned()),
            port: Some(9763),
            row: None,
            responder_seen: Some(false),
        }],
        warnings: vec!["site.toml:52: the suppression of wso2/x ended on 2026-10-31".to_owned()],
        provenance: provenance(),
        run: Some(RunRecord {
            seconds: 0.5,
            cpu_seconds: Some(0.7),
            packets_per_second: 80_400.0,
            bits_per_second: 2.9e8,
            workers: 2,
            peak_memory_bytes: Some(12_000_000),
            live: None,
        }),
    }
}

fn disabled() -> Vec<DisabledRecord> {
    let record = |host: Option<&str>, port, state, flows| DisabledRecord {
        service: "wso2-api-manager-4/gateway-http".to_owned(),
        host: host.map(str::to_owned),
        address: host.map(|_| "10.0.3.11".parse().unwrap()),
        port,
        transport: Transport::Tcp,
        state,
        flows,
    };
    vec![record(Some("gw-2"), 8281, "refused", 2), record(None, 8280, "not exercised", 0)]
}

fn verdict() -> Verdict {
    Verdict {
        result: Outcome::Findings,
        fail_on: Severity::High,
        reasons: vec![Reason {
            reason: "snaplen",
            flows: Some(12),
            packets: Some(12),
            detail:
                "frames were cut, and what was cut could hide a credential; capture whole frames"
                    .to_owned(),
        }],
        not_exercised: vec![NotExercised {
            subject: "wso2-api-manager-4/gateway-http on 10.0.3.11".to_owned(),
            detail: "said to be disabled, and nobody tried it".to_owned(),
        }],
    }
}

fn point_ledgers() -> Vec<PointLedger> {
    let mut second = ledger();
    second.offered = 137;
    second.received = 137;
    (second.classified, second.unclassified) = (0, 0);
    second.stopped = [("icmp", 137)].into();
    second.uninspected = [].into();
    let mut first = ledger();
    first.offered -= 137;
    first.received -= 137;
    first.stopped = [("arp", 1_000)].into();
    vec![
        PointLedger {
            pcap_filename: Some("gateway.pcap".to_owned()),
            in_iface: None,
            ledger: first,
            interface: [].into(),
        },
        PointLedger {
            pcap_filename: Some(HOSTILE.to_owned()),
            in_iface: Some("eth0".to_owned()),
            ledger: second,
            interface: [("ifdrop", 0)].into(),
        },
    ]
}

fn zones() -> ZoneTotals {
    let pair = |initiator: &str, responder: &str, allowed, violating, attempted| ZonePair {
        initiator: initiator.to_owned(),
        responder: responder.to_owned(),
        allowed,
        violating,
        attempted,
    };
    ZoneTotals {
        unjudged: 3_300,
        pairs: vec![
            pair("management", "gateway", 0, 0, 3),
            pair("protected", "management", 4, 2, 0),
            pair("public", "gateway", 120, 0, 0),
            pair("public", "management", 0, 1, 0),
        ],
    }
}

fn provenance() -> Provenance {
    let input = |name: &str, bytes, frames, broken: Option<&str>| InputRecord {
        name: name.to_owned(),
        bytes,
        frames,
        start: Some(START),
        end: Some(at(492_000)),
        broken: broken.map(str::to_owned),
    };
    Provenance {
        version: "0.1.0".to_owned(),
        catalog_sha256: "0c".repeat(32),
        policy_sha256: "1d".repeat(32),
        site_sha256: Some("2e".repeat(32)),
        filter: Some("tcp or arp".to_owned()),
        since: None,
        until: None,
        inputs: vec![
            input("gateway.pcap", 18_900_000, 41_200, None),
            input(HOSTILE, 12_345, 137, Some("offset 12345: cut in mid-record")),
        ],
    }
}
