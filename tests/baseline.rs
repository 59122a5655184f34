//! A baseline of one run accepts what it found, and nothing else.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Ran, of_type, own, run, summary};
use crate::wire::Wire;

#[test]
fn a_baseline_accepts_what_it_was_made_of_and_tells_what_is_new_and_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("baseline.toml");
    let path = path.to_str().unwrap();
    let demo = "captures/demo.pcap";
    assert_eq!(run(["analyze", demo, "--write-baseline", path]).code, 1);
    assert_eq!(run(["analyze", demo, "--baseline", path]).code, 0, "nothing is new");

    let new = run(["analyze", "captures/http/token-in-header.pcap", "--baseline", path]);
    assert_eq!(new.code, 1, "another client is new");
    assert!(new.text().contains("Gone since the baseline"), "{}", new.text());

    let spoilt = fs::read_to_string(path).unwrap().replace("wso2/bearer-over-http", "wso2/x");
    fs::write(path, spoilt).unwrap();
    let refused = run(["analyze", demo, "--baseline", path]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("unknown rule `wso2/x`"), "{}", refused.err);
}

/// Two hosts that expect much of each other, one transport that is said to be off, and zones that do the same.
const HOSTS: &str = r#"
[[host]]
name = "gw"
addresses = ["10.8.1.10"]
products = ["wso2-api-manager-4/gateway"]

[[host]]
name = "cp"
addresses = ["10.8.2.10"]
products = ["wso2-api-manager-4/control-plane"]

[[zone]]
name = "portal"
prefixes = ["10.8.5.0/24"]

[[zone]]
name = "analytics"
prefixes = ["10.8.6.0/24"]

[policy]
packs = ["wso2", "wso2-api-manager-4-distributed", "ibm-api-connect-zones"]
expect = ["wso2-api-manager-4-distributed", "ibm-api-connect-zones"]
disabled = ["wso2-api-manager-4/gateway-http"]
"#;

/// Writes the first look at the hosts; `more` is what is there besides.
fn capture(path: &Path, more: impl FnOnce(&mut Wire)) {
    let mut wire = Wire::default();
    wire.spoken("10.8.1.10", "10.8.2.10:9443", "tls");
    wire.spoken("10.8.5.1", "192.0.2.1:443", "tls");
    wire.spoken("10.8.6.1", "192.0.2.1:443", "tls");
    more(&mut wire);
    wire.write(path, 65_535);
}

/// Returns the findings by how they stand to the baseline.
fn standing(ran: &Ran, state: &str) -> Vec<String> {
    let records = ran.records();
    let alerts = of_type(&records, "alert").into_iter().map(|alert| own(alert, "finding"));
    let alerts = alerts.filter(|finding| finding["baseline"] == state);
    let name = |finding: &Value| match finding["row"].as_str() {
        Some(row) => row.to_owned(),
        None => finding["rule"].as_str().unwrap().to_owned(),
    };
    alerts.map(name).collect()
}

#[test]
fn absences_and_open_ports_are_new_known_or_gone_like_any_finding() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("site.toml"), HOSTS).unwrap();
    let run = |capture: &str, more: &[&str]| {
        let site = path("site.toml");
        let all =
            ["analyze", capture, "--site", &site, "--format", "ndjson", "--fail-on", "medium"];
        run(all.iter().chain(more))
    };
    let (first, baseline) = (path("first.pcap"), path("baseline.toml"));
    capture(Path::new(&first), |wire| wire.spoken("10.8.9.9", "10.8.1.10:8280", "silence"));
    let ran = run(&first, &["--write-baseline", &baseline]);
    assert_eq!(ran.code, 1);
    let text = fs::read_to_string(&baseline).unwrap();
    for entry in [
        "row = \"gateway-control-plane-amqp\"",
        "row = \"16\"",
        "rule = \"wso2/disabled-port-open\"\ninitiator = \"10.8.9.9\"\nresponder = \"10.8.1.10\"\nport = 8280\n",
    ] {
        assert!(text.contains(entry), "{entry}:\n{text}");
    }
    // The same again: nothing new, nothing gone, and what is known does not fail the run.
    let same = run(&first, &["--baseline", &baseline]);
    assert_eq!(standing(&same, "new"), Vec::<String>::new());
    assert!(standing(&same, "unchanged").contains(&"gateway-control-plane-amqp".to_owned()));
    assert!(standing(&same, "unchanged").contains(&"wso2/disabled-port-open".to_owned()));
    assert!(summary(&same.records())["portreeve"].get("baseline_gone").is_none());
    assert_eq!(same.code, 0, "{}", same.err);
    let junit = path("report.xml");
    run(&first, &["--baseline", &baseline, "-o", &format!("junit={junit}")]);
    let junit = fs::read_to_string(junit).unwrap();
    assert!(!junit.contains("<failure") && junit.contains("failures=\"0\""), "{junit}");
    assert!(junit.contains("wso2/disabled-port-open: 1 accepted by the baseline"), "{junit}");

    // The port is closed to the one and open to another client; the broker was reached.
    let second = path("second.pcap");
    capture(Path::new(&second), |wire| {
        wire.refused("10.8.9.9", "10.8.1.10:8280");
        wire.spoken("10.8.1.10", "10.8.2.10:5672", "amqp");
        wire.spoken("10.8.9.8", "10.8.1.10:8280", "silence");
    });
    let later = run(&second, &["--baseline", &baseline]);
    assert_eq!(standing(&later, "new"), ["wso2/disabled-port-open"], "another client");
    let gone = summary(&later.records())["portreeve"]["baseline_gone"].to_string();
    assert!(gone.contains("gateway-control-plane-amqp"), "{gone}");
    assert!(gone.contains("wso2/disabled-port-open"), "{gone}");
    assert_eq!(later.code, 1);

    // Without the zones and hosts nothing of it is judged: it is not gone.
    let ran =
        crate::support::run(["analyze", &first, "--baseline", &baseline, "--format", "ndjson"]);
    let gone = &summary(&ran.records())["portreeve"]["baseline_gone"].to_string();
    assert!(!gone.contains("expected-flow-absent"), "{gone}");
    let warnings = summary(&ran.records())["portreeve"]["warnings"].to_string();
    assert!(warnings.contains("does not judge"), "{warnings}");
}

#[test]
fn an_absence_can_be_accepted_by_its_row_or_its_zones() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let first = path("first.pcap");
    capture(Path::new(&first), |_| {});
    let suppressed = |more: &str| {
        fs::write(path("site.toml"), format!("{HOSTS}\n{more}")).unwrap();
        let ran = run(["analyze", &first, "--site", &path("site.toml"), "--format", "ndjson"]);
        let records = if ran.code == 2 { Vec::new() } else { ran.records() };
        let alerts = of_type(&records, "alert").into_iter().map(|alert| own(alert, "finding"));
        let rows = alerts.filter(|finding| finding.get("suppressed").is_some());
        let rows: Vec<String> = rows.map(|finding| finding["row"].to_string()).collect();
        (rows, ran.err)
    };
    let entry = "[[suppress]]\nuntil = 2030-01-01\nreason = \"r\"\n";
    let v4 = "rule = \"wso2-api-manager-4-distributed/expected-flow-absent\"\n";
    let zones = "rule = \"ibm-api-connect-zones/expected-flow-absent\"\n";
    let of = |more: &str| suppressed(&format!("{entry}{more}")).0;
    assert_eq!(
        of(&format!("{v4}row = \"gateway-control-plane-amqp\"\n")),
        ["\"gateway-control-plane-amqp\""]
    );
    assert_eq!(
        of(&format!("{v4}initiator = \"10.8.2.10\"\n")),
        ["\"control-plane-gateway-https\""]
    );
    assert_eq!(of(&format!("{zones}initiator = \"portal\"\n")), ["\"16\""]);
    assert_eq!(of(&format!("{zones}initiator = \"analytics\"\n")), Vec::<String>::new());

    // One that covers nothing is told, so that nobody believes in it.
    let ran = run(["analyze", &first, "--site", &path("site.toml"), "--format", "ndjson"]);
    let open = summary(&ran.records())["portreeve"]["verdict"]["not_exercised"].to_string();
    assert!(open.contains("it covers nothing that was found"), "{open}");

    let (_, error) = suppressed(&format!("{entry}{v4}row = \"gateway-contorl-plane-amqp\"\n"));
    assert!(error.contains("site.toml:") && error.contains("has no row"), "{error}");
    assert!(error.contains("did you mean `gateway-control-plane-amqp`?"), "{error}");
    let (_, error) = suppressed(&format!("{entry}rule = \"wso2/bearer-over-http\"\nrow = \"1\"\n"));
    assert!(error.contains("`row` says nothing of rule `wso2/bearer-over-http`"), "{error}");
}

#[test]
fn what_is_accepted_is_not_said_to_be_no_broken_rule() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (baseline, site) = (path("baseline.toml"), path("site.toml"));
    let demo = "captures/demo.pcap";
    assert_eq!(run(["analyze", demo, "--write-baseline", &baseline]).code, 1);
    let known = run(["analyze", demo, "--baseline", &baseline]);
    let expected = "PASS  Nothing new: 34 findings are in the baseline.\n";
    assert!(known.text().starts_with(expected), "{}", known.text());

    let accepted = |rules: &[&str]| {
        let entry =
            |rule| format!("[[suppress]]\nrule = \"{rule}\"\nuntil = 2030-01-01\nreason = \"r\"\n");
        fs::write(&site, rules.iter().map(entry).collect::<String>()).unwrap();
        run(["analyze", "captures/http/token-in-header.pcap", "--site", &site])
    };
    let all = accepted(&["wso2/bearer-over-http", "wso2/http-passthrough-in-use"]);
    let expected = "PASS  Nothing new: 2 findings are accepted by suppressions.\n";
    assert!(all.code == 0 && all.text().starts_with(expected), "{}", all.text());
    let one = accepted(&["wso2/bearer-over-http"]);
    let expected = "PASS  1 rule broken: 1 medium; 1 finding. Nothing new is high or worse.\n";
    assert!(one.code == 0 && one.text().starts_with(expected), "{}", one.text());
}

#[test]
fn packs_that_a_site_file_leaves_out_are_said_to_be_off() {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site.toml");
    let token = "captures/http/token-in-header.pcap";
    let with = |text: &str, format: &str| {
        fs::write(&site, text).unwrap();
        run(["analyze", token, "--site", site.to_str().unwrap(), "--format", format])
    };
    let off = |text: &str| {
        let records = with(text, "ndjson").records();
        let open = own(summary(&records), "verdict")["not_exercised"].as_array().unwrap().clone();
        let packs = open.iter().filter(|open| open["detail"].as_str().unwrap().starts_with("off"));
        let packs = packs.map(|open| open["subject"].as_str().unwrap().to_owned());
        packs.collect::<Vec<_>>()
    };
    let distributed =
        ["pack wso2-api-manager-3-distributed", "pack wso2-api-manager-4-distributed"];
    let alone = "[policy]\npacks = [\"ibm-api-connect-zones\"]\n";
    assert_eq!(off(alone), [&["pack ibm-api-connect", "pack wso2"][..], &distributed].concat());
    let text = with(alone, "text");
    assert!(text.text().contains("pack wso2: off, since the site file's `packs` does not name it"));
    let zones = "[[zone]]\nname = \"public\"\nprefixes = [\"10.0.2.0/24\"]\n";
    assert_eq!(off(zones), [&["pack ibm-api-connect-zones"][..], &distributed].concat());
    assert_eq!(off("[policy]\nauth_headers = [\"X-Auth\"]\n"), Vec::<String>::new());
}
