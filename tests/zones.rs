//! Zones, components and declared transports over captures of our own: what a row allows, what none allows,
//! what was missed, and what is said where nobody knows the zones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Ran, of_type, own, run, summary};
use crate::wire::{Wire, request};

/// The six zones of IBM's Table 1.
const ZONES: [&str; 6] = ["public", "protected", "gateway", "management", "portal", "analytics"];

/// What Table 1 allows, with its ambiguous rows resolved: from, to, port, protocol, rows.
const ALLOWED: [(&str, &str, &str, &str, &[&str]); 22] = [
    ("public", "gateway", "443", "tls", &["1"]),
    ("public", "portal", "443", "tls", &["10"]),
    ("protected", "gateway", "22", "ssh", &["2"]),
    ("protected", "gateway", "9090", "tls", &["2"]),
    ("protected", "management", "443", "tls", &["3", "4", "5", "11"]),
    ("protected", "management", "22", "ssh", &["4", "5"]),
    ("protected", "portal", "443", "tls", &["5"]),
    ("protected", "portal", "22", "ssh", &["5"]),
    ("gateway", "analytics", "443", "tls", &["6"]),
    ("management", "gateway", "3000", "tls", &["7a"]),
    ("gateway", "management", "443", "tls", &["7b"]),
    ("management", "portal", "443", "tls", &["8"]),
    ("portal", "management", "443", "tls", &["9"]),
    ("management", "analytics", "443", "tls", &["15"]),
    ("portal", "analytics", "443", "tls", &["16"]),
    ("management", "public", "443", "tls", &["17"]),
    ("portal", "public", "443", "tls", &["17", "18"]),
    ("analytics", "public", "123", "ntp", &["13"]),
    ("analytics", "protected", "123", "ntp", &["13"]),
    ("analytics", "public", "53", "dns", &["14"]),
    ("analytics", "protected", "53", "dns", &["14"]),
    ("analytics", "management", "53", "dns", &["14"]),
];

/// Ports that are tried between every two zones.
const PORTS: [(&str, &str); 9] = [
    ("22", "ssh"),
    ("443", "tls"),
    ("3000", "tls"),
    ("5550", "tls"),
    ("5554", "tls"),
    ("8443", "tls"),
    ("9022", "ssh"),
    ("9090", "tls"),
    ("9443", "tls"),
];

/// Returns the third byte of a zone's addresses.
fn number(zone: &str) -> usize {
    1 + ZONES.iter().position(|known| *known == zone).unwrap()
}

fn client(zone: &str) -> String {
    format!("10.9.{}.7", number(zone))
}

fn server(zone: &str, port: &str) -> String {
    format!("10.9.{}.20:{port}", number(zone))
}

fn six_zones(policy: &str) -> String {
    let zones = ZONES.iter().map(|zone| {
        format!("[[zone]]\nname = \"{zone}\"\nprefixes = [\"10.9.{}.0/24\"]\n", number(zone))
    });
    zones.collect::<String>() + "[policy]\n" + policy
}

/// Files of one test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn site(&self, text: &str) -> PathBuf {
        let path = self.path("site.toml");
        fs::write(&path, text).unwrap();
        path
    }

    fn capture(&self, wire: &Wire, snaplen: usize) -> PathBuf {
        let path = self.path(&format!("capture-{snaplen}.pcap"));
        wire.write(&path, snaplen);
        path
    }
}

/// Enough for every frame.
const WHOLE: usize = 65_535;

fn analyze(capture: &Path, site: Option<&Path>, format: &str) -> Ran {
    let mut arguments = vec!["analyze", "--format", format, capture.to_str().unwrap()];
    if let Some(site) = site {
        arguments.extend(["--site", site.to_str().unwrap()]);
    }
    run(arguments)
}

/// Returns the alerts of a kind as rule and responder.
fn found(records: &[Value], kind: &str) -> Vec<(String, String)> {
    let alerts = of_type(records, "alert").into_iter();
    let of_kind = alerts.filter(|alert| own(alert, "finding")["kind"] == kind);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    of_kind
        .map(|alert| {
            let responder = format!("{}:{}", text(&alert["dest_ip"]), alert["dest_port"]);
            (text(&own(alert, "finding")["rule"]), responder)
        })
        .collect()
}

/// Returns what became of each row of a matrix.
fn rows(records: &[Value], matrix: &str) -> BTreeMap<String, String> {
    let rows = of_type(records, "row").into_iter().map(|record| own(record, "row"));
    let of_it = rows.filter(|row| row["pack"] == matrix);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    of_it.map(|row| (text(&row["row"]), text(&row["status"]))).collect()
}

fn add_allowed(wire: &mut Wire) {
    let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01";
    let answer = b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0\x07example\x03com\0\0\x01\0\x01\
        \xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01";
    let clock =
        |first: u8| [&[first, 2, 6, 0xec][..], &[0; 36], &[0xe9, 1, 2, 3, 4, 5, 6, 7]].concat();
    for (from, to, port, protocol, _) in ALLOWED {
        let (client, server) = (client(from), server(to, port));
        match protocol {
            "dns" => wire.datagrams(&client, &server, query, answer),
            "ntp" => wire.datagrams(&client, &server, &clock(0x23), &clock(0x24)),
            protocol => wire.spoken(&client, &server, protocol),
        }
    }
}

#[test]
fn the_rows_of_table_1_are_satisfied_and_the_rest_is_listed_as_unused() {
    let folder = Folder::new();
    let site = folder.site(&six_zones("packs = [\"ibm-api-connect\", \"ibm-api-connect-zones\"]"));
    let mut wire = Wire::default();
    add_allowed(&mut wire);
    let capture = folder.capture(&wire, WHOLE);
    let ran = analyze(&capture, Some(&site), "ndjson");
    let records = ran.records();
    assert_eq!(ran.code, 0);
    assert_eq!(found(&records, "zone-violation"), []);
    let rows = rows(&records, "ibm-api-connect-zones");
    let used: BTreeSet<&str> = ALLOWED.iter().flat_map(|(.., rows)| *rows).copied().collect();
    for (row, status) in &rows {
        // Rows of Tables 2 and 3 only say that a port is in use.
        if row.starts_with('t') {
            assert!(matches!(status.as_str(), "satisfied" | "unused"), "{row}: {status}");
        } else {
            let expected = if used.contains(row.as_str()) { "satisfied" } else { "unused" };
            assert_eq!(status, expected, "row {row}");
        }
    }
    assert_eq!(rows["12"], "unused", "the operator is to say what it allows");
    let text = analyze(&capture, Some(&site), "text").text().to_owned();
    assert!(text.contains("unused     rows 12, t2-22-out"), "{text}");
}

#[test]
fn each_forbidden_conversation_is_one_violation() {
    let folder = Folder::new();
    let site = folder.site(&six_zones("packs = [\"ibm-api-connect-zones\"]"));
    let mut wire = Wire::default();
    add_allowed(&mut wire);
    let mut forbidden: Vec<(String, String)> = Vec::new();
    for (from, to) in ZONES.iter().flat_map(|from| ZONES.map(|to| (*from, to))) {
        for (port, protocol) in PORTS {
            let is_allowed = ALLOWED.iter().any(|row| (row.0, row.1, row.2) == (from, to, port));
            if from == to || is_allowed {
                continue;
            }
            wire.spoken(&client(from), &server(to, port), protocol);
            let grave = from == "public" && matches!(to, "gateway" | "management");
            let rule = if grave { "public-to-inside" } else { "not-allowed" };
            forbidden.push((format!("ibm-api-connect-zones/{rule}"), server(to, port)));
        }
    }
    // Tried, and within a zone: no violation.
    wire.silent(&client("public"), &server("management", "443"));
    wire.refused(&client("gateway"), &server("portal", "443"));
    wire.refused(&client("protected"), &server("analytics", "443"));
    wire.spoken(&client("gateway"), &server("gateway", "16380"), "silence");
    let capture = folder.capture(&wire, WHOLE);

    let ran = analyze(&capture, Some(&site), "ndjson");
    let records = ran.records();
    let mut violations = found(&records, "zone-violation");
    violations.sort();
    forbidden.sort();
    assert!(forbidden.len() > 200);
    assert_eq!(violations, forbidden);
    assert_eq!(ran.code, 1);
    let alerts = of_type(&records, "alert").into_iter();
    let grave = alerts.filter(|alert| own(alert, "finding")["severity"] == "critical");
    assert_eq!(grave.count(), 8 + 9, "what reaches the gateway or management zone from public");

    let text = analyze(&capture, Some(&site), "text").text().to_owned();
    let zones = text.split("\nZones: ").nth(1).expect("the matrix is there");
    let line = |zone: &str| zones.lines().find(|line| line.starts_with(&format!("  {zone} ")));
    assert!(line("public").is_some_and(|line| line.contains("9! 1?")), "{zones}");
    assert!(line("analytics").is_some_and(|line| line.contains('!')), "{zones}");
}

#[test]
fn without_a_site_file_zones_are_said_to_be_unknown() {
    let folder = Folder::new();
    let mut wire = Wire::default();
    wire.spoken(&client("public"), &server("management", "5550"), "tls");
    let capture = folder.capture(&wire, WHOLE);
    let ran = analyze(&capture, None, "ndjson");
    let records = ran.records();
    assert_eq!(found(&records, "zone-violation"), []);
    assert_eq!(of_type(&records, "row").len(), 0);
    assert!(summary(&records)["portreeve"].get("zones").is_none());
    let open = summary(&records)["portreeve"]["verdict"]["not_exercised"].to_string();
    assert!(open.contains("no site file names any"), "{open}");
    let text = analyze(&capture, None, "text").text().to_owned();
    assert!(text.contains("zones: unknown, since no site file names any"), "{text}");
    // One line stands for all rules that wait for zones; NDJSON has each.
    assert!(!text.contains("it judges zones"), "{text}");
    let rules = summary(&records)["portreeve"]["rules"].as_array().unwrap();
    let waiting = rules.iter().filter(|rule| rule.get("skipped").is_some()).count();
    assert!(waiting > 1 && open.contains(&format!("and {waiting} rules judge nothing")), "{open}");

    // A pack that needs zones of a site that has none says so, and finds nothing either.
    let site = folder.site("[policy]\npacks = [\"ibm-api-connect-zones\"]\n");
    let ran = analyze(&capture, Some(&site), "ndjson");
    assert_eq!(found(&ran.records(), "zone-violation"), []);
    let open = summary(&ran.records())["portreeve"]["verdict"]["not_exercised"].to_string();
    assert!(open.contains("names none of its zones and components"), "{open}");
}

/// A part of a distributed deployment: its name, its address, what it is in the site file.
type Part = (&'static str, &'static str, &'static str);

fn components(parts: &[Part], policy: &str) -> String {
    let hosts = parts.iter().map(|(name, address, product)| {
        format!(
            "[[host]]\nname = \"{name}\"\naddresses = [\"{address}\"]\nproducts = [\"{product}\"]\n"
        )
    });
    hosts.collect::<String>() + "[policy]\n" + policy
}

/// Plays a deployment in which all that is expected is there but for one flow that nobody tried and one that
/// was only tried; and one conversation that no row allows.
fn distributed(
    parts: &[Part],
    matrix: &str,
    needed: &[(&str, &str, &str, &str)],
    [missing, tried]: [&str; 2],
    forbidden: (&str, &str, &str),
) {
    let folder = Folder::new();
    let policy = format!("packs = [\"{matrix}\"]\nexpect = [\"{matrix}\"]\n");
    let site = folder.site(&components(parts, &policy));
    let at = |name: &str| parts.iter().find(|part| part.0 == name).unwrap().1;
    let mut wire = Wire::default();
    for (row, from, to, port) in needed {
        let (from, to) = (at(from), format!("{}:{port}", at(to)));
        if *row == tried {
            wire.silent(from, &to);
        } else if *row != missing {
            let protocol = if *port == "5672" { "amqp" } else { "tls" };
            let protocol = if *port == "9611" { "silence" } else { protocol };
            wire.spoken(from, &to, protocol);
        }
    }
    let whole = folder.capture(&wire, WHOLE);
    let records = analyze(&whole, Some(&site), "ndjson").records();
    let absences: BTreeSet<String> = of_type(&records, "alert")
        .into_iter()
        .map(|alert| own(alert, "finding"))
        .filter(|finding| finding["kind"] == "expected-flow-absent")
        .map(|finding| finding["row"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(absences, [missing, tried].map(str::to_owned).into());
    assert_eq!(found(&records, "zone-violation"), []);
    let rows = rows(&records, matrix);
    assert_eq!(rows[missing], "unused");
    assert_eq!(rows[tried], "attempted");
    for (row, ..) in needed.iter().filter(|row| ![missing, tried].contains(&row.0)) {
        assert_eq!(rows[*row], "satisfied", "row {row}");
    }
    let (from, to, port) = forbidden;
    wire.spoken(at(from), &format!("{}:{port}", at(to)), "tls");
    let records = analyze(&folder.capture(&wire, WHOLE - 1), Some(&site), "ndjson").records();
    let expected = (format!("{matrix}/not-allowed"), format!("{}:{port}", at(to)));
    assert_eq!(found(&records, "zone-violation"), [expected]);
}

#[test]
fn what_version_4_needs_and_what_was_missed() {
    let parts = [
        ("gw", "10.8.1.10", "wso2-api-manager-4/gateway"),
        ("cp", "10.8.2.10", "wso2-api-manager-4/control-plane"),
        ("tm", "10.8.3.10", "wso2-api-manager-4/traffic-manager"),
    ];
    let needed = [
        ("gateway-control-plane-https", "gw", "cp", "9443"),
        ("gateway-control-plane-amqp", "gw", "cp", "5672"),
        ("gateway-traffic-manager-events", "gw", "tm", "9611"),
        ("gateway-traffic-manager-login", "gw", "tm", "9711"),
        ("gateway-traffic-manager-amqp", "gw", "tm", "5672"),
        ("control-plane-gateway-https", "cp", "gw", "9443"),
        ("traffic-manager-control-plane", "tm", "cp", "9443"),
    ];
    let missed = ["gateway-control-plane-amqp", "gateway-traffic-manager-login"];
    distributed(&parts, "wso2-api-manager-4-distributed", &needed, missed, ("tm", "gw", "9443"));
}

#[test]
fn what_version_3_needs_and_what_was_missed() {
    let parts = [
        ("gw", "10.8.1.10", "wso2-api-manager-3/gateway"),
        ("km", "10.8.2.10", "wso2-api-manager-3/key-manager"),
        ("tm", "10.8.3.10", "wso2-api-manager-3/traffic-manager"),
        ("pub", "10.8.4.10", "wso2-api-manager-3/publisher"),
        ("dev", "10.8.5.10", "wso2-api-manager-3/devportal"),
    ];
    let needed = [
        ("gateway-key-manager-https", "gw", "km", "9443"),
        ("gateway-traffic-manager-events", "gw", "tm", "9611"),
        ("gateway-traffic-manager-login", "gw", "tm", "9711"),
        ("gateway-traffic-manager-amqp", "gw", "tm", "5672"),
        ("publisher-gateway-https", "pub", "gw", "9443"),
        ("devportal-key-manager-https", "dev", "km", "9443"),
    ];
    let missed = ["gateway-key-manager-https", "gateway-traffic-manager-events"];
    distributed(&parts, "wso2-api-manager-3-distributed", &needed, missed, ("km", "pub", "9443"));
}

/// A deployment of version 4 in server zones, and its clients outside.
const CLEAN: &str = r#"
[[zone]]
name = "internet"
prefixes = ["198.51.100.0/24"]

[[zone]]
name = "servers"
prefixes = ["10.8.0.0/16"]
trust = "server"

[[host]]
name = "gw"
addresses = ["10.8.1.10"]
products = ["wso2-api-manager-4/gateway"]

[[host]]
name = "cp"
addresses = ["10.8.2.10"]
products = ["wso2-api-manager-4/control-plane"]

[policy]
packs = ["wso2", "ibm-api-connect", "wso2-api-manager-4-distributed"]
expect = ["wso2-api-manager-4-distributed"]
"#;

fn clean() -> Wire {
    let mut wire = Wire::default();
    let (gateway, control_plane) = ("10.8.1.10", "10.8.2.10");
    for port in ["8243", "8099", "8021"] {
        wire.spoken("198.51.100.9", &format!("{gateway}:{port}"), "tls");
    }
    wire.spoken("198.51.100.9", &format!("{control_plane}:9443"), "tls");
    for port in ["9443", "8672", "9711"] {
        wire.spoken(gateway, &format!("{control_plane}:{port}"), "tls");
    }
    wire.spoken(gateway, &format!("{control_plane}:9611"), "silence");
    wire.spoken(control_plane, &format!("{gateway}:9443"), "tls");
    wire
}

fn severities(records: &[Value]) -> BTreeSet<String> {
    let alerts = of_type(records, "alert").into_iter();
    alerts.map(|alert| own(alert, "finding")["severity"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_clean_deployment_passes() {
    let folder = Folder::new();
    let site = folder.site(CLEAN);
    let ran = analyze(&folder.capture(&clean(), WHOLE), Some(&site), "ndjson");
    let records = ran.records();
    assert_eq!(severities(&records), BTreeSet::new(), "{records:#?}");
    assert_eq!(ran.code, 0);
    assert_eq!(summary(&records)["portreeve"]["verdict"]["result"], "pass");
}

#[test]
fn clear_http_without_a_credential_passes_and_cut_it_proves_nothing() {
    let folder = Folder::new();
    let site = folder.site(CLEAN);
    let mut wire = clean();
    wire.spoken("198.51.100.9", "10.8.1.10:8280", "http");
    let ran = analyze(&folder.capture(&wire, WHOLE), Some(&site), "ndjson");
    assert_eq!(severities(&ran.records()), ["medium".to_owned()].into());
    assert_eq!(ran.code, 0);

    let ran = analyze(&folder.capture(&wire, 96), Some(&site), "ndjson");
    let records = ran.records();
    assert_eq!(ran.code, 3, "what was cut could hide a credential");
    let verdict = &summary(&records)["portreeve"]["verdict"];
    assert_eq!(verdict["result"], "inconclusive");
    assert_eq!(verdict["reasons"][0]["reason"], "snaplen");
    assert_eq!(verdict["reasons"][0]["flows"], 1, "TLS hides nothing more for being cut");
    assert_eq!(verdict["reasons"].as_array().map(Vec::len), Some(1));

    let mut wire = clean();
    wire.connection(
        "198.51.100.9",
        "10.8.1.10:8280",
        &[crate::wire::Said::Client(request("/", "Authorization: Bearer CANARY-token-0001\r\n"))],
    );
    assert_eq!(analyze(&folder.capture(&wire, WHOLE - 2), Some(&site), "ndjson").code, 1);
}

#[test]
fn what_is_said_to_be_off_is_proved_disproved_or_left_open() {
    let folder = Folder::new();
    let host = |name: &str, address: &str, offset: &str| {
        format!(
            "[[host]]\nname = \"{name}\"\naddresses = [\"{address}\"]\n\
             products = [\"wso2-api-manager-4/gateway\"]\n{offset}"
        )
    };
    let hosts = [
        host("refuses", "10.8.1.1", "offset = 1\n"),
        host("is-silent", "10.8.1.2", "offset = 1\n"),
        host("answers", "10.8.1.3", "offset = 1\n"),
        host("is-not-tried", "10.8.1.4", "offset = 1\n"),
        host("says-no-offset", "10.8.1.5", ""),
        host("is-half-heard", "10.8.1.6", "offset = 1\n"),
    ];
    let policy = "[policy]\ndisabled = [\"wso2-api-manager-4/gateway-http\"]\n";
    let site = folder.site(&(hosts.concat() + policy));
    let mut wire = Wire::default();
    wire.refused("10.8.9.9", "10.8.1.1:8281");
    wire.silent("10.8.9.9", "10.8.1.2:8281");
    wire.spoken("10.8.9.9", "10.8.1.3:8281", "http");
    // Nobody sends data before an answer.
    wire.half_heard("10.8.9.9", "10.8.1.6:8281", &request("/", ""));
    // At its offset this is another port.
    wire.spoken("10.8.9.9", "10.8.1.4:8280", "silence");
    // Its other ports show the offset.
    for port in ["8245", "9101", "9445"] {
        wire.spoken("10.8.9.9", &format!("10.8.1.5:{port}"), "tls");
    }
    wire.refused("10.8.9.9", "10.8.1.5:8282");
    // Nobody said that this host runs it.
    wire.spoken("10.8.9.9", "10.8.7.7:8280", "http");
    let capture = folder.capture(&wire, WHOLE);
    let ran = analyze(&capture, Some(&site), "ndjson");
    let records = ran.records();
    let proofs = summary(&records)["portreeve"]["disabled"].as_array().unwrap();
    let proofs: Vec<(&str, &str, u64)> = proofs
        .iter()
        .map(|proof| {
            let text = |field: &str| proof[field].as_str().unwrap();
            (text("host"), text("state"), proof["port"].as_u64().unwrap())
        })
        .collect();
    let expected = [
        ("refuses", "refused", 8281),
        ("is-silent", "silent", 8281),
        ("answers", "open", 8281),
        ("is-not-tried", "not exercised", 8281),
        ("says-no-offset", "refused", 8282),
        ("is-half-heard", "open", 8281),
    ];
    assert_eq!(proofs, expected);
    let open = found(&records, "disabled-port-open");
    let at = |responder: &str| ("wso2/disabled-port-open".to_owned(), responder.to_owned());
    assert_eq!(open, [at("10.8.1.3:8281"), at("10.8.1.6:8281")]);
    assert_eq!(ran.code, 1);
    let text = analyze(&capture, Some(&site), "text").text().to_owned();
    let told = text.split("\nDeclared disabled: ").nth(1).expect("it is told");
    for (state, host) in [("refused", "refuses"), ("silent", "is-silent"), ("open", "answers")] {
        let says = |line: &str| line.starts_with(&format!("  {state:<9}")) && line.contains(host);
        assert!(told.lines().any(says), "{state}: {told}");
    }
    assert!(text.contains("nobody tried to reach it, which proves"), "{text}");
}
