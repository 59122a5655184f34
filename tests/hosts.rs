//! Hosts are told apart by their ports, and by what the site says of them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{of_type, own, run};

const CAPTURE: &str = "captures/hosts/offsets.pcap";

/// Each host with its product and the offset of its ports; what ships with several has none.
const HOSTS: [(&str, &str, Option<u64>); 6] = [
    ("10.30.0.10", "wso2-api-manager-4", Some(0)),
    ("10.30.0.11", "wso2-api-manager-4", Some(1)),
    ("10.30.0.13", "wso2-api-manager-4", Some(3)),
    ("10.30.0.20", "wso2-api-manager-4", Some(10)),
    ("10.30.0.30", "wso2-api-manager-analytics", None),
    ("10.30.0.40", "wso2-micro-integrator", Some(10)),
];

fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    own(record, field).as_str().unwrap_or("")
}

/// Returns for each responder the products of its flows and the bases of their tags.
fn tags(records: &[Value]) -> BTreeMap<String, Vec<(String, String)>> {
    let mut tags: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for flow in of_type(records, "flow") {
        let tag = (text(flow, "product").to_owned(), text(flow, "basis").to_owned());
        tags.entry(flow["dest_ip"].as_str().unwrap().to_owned()).or_default().push(tag);
    }
    tags
}

#[test]
fn hosts_at_several_offsets_are_told_apart_and_nothing_of_theirs_is_a_mismatch() {
    let records = run(["analyze", CAPTURE, "--format", "ndjson"]).records();
    for (address, product, offset) in HOSTS {
        let hosts = of_type(&records, "host");
        let mut hosts = hosts.iter().map(|host| own(host, "host"));
        let host = hosts.find(|host| host["address"] == address).unwrap();
        assert_eq!(host["products"][0], product, "{address}");
        assert_eq!(host["offset"].as_u64(), offset, "{address}");
    }
    let tags = tags(&records);
    for (address, product, offset) in HOSTS {
        let inferred = product == "wso2-api-manager-4" && offset != Some(0);
        let basis = if inferred { "offset-inferred" } else { "port" };
        for tag in &tags[address] {
            assert_eq!(tag, &(product.to_owned(), basis.to_owned()), "{address}");
        }
    }
    for alert in of_type(&records, "alert") {
        assert_eq!(own(alert, "finding")["kind"], "cleartext-transport");
    }
}

#[test]
fn what_the_site_says_of_a_host_is_the_basis_of_its_flows() {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site.toml");
    let host = |(address, product, offset): &(&str, &str, Option<u64>)| {
        let offset = match offset {
            Some(offset) if *product != "wso2-micro-integrator" => format!("offset = {offset}\n"),
            _ => String::new(),
        };
        format!(
            "[[host]]\nname = \"{address}\"\naddresses = [\"{address}\"]\nproducts = [\"{product}\"]\n{offset}"
        )
    };
    std::fs::write(&site, HOSTS.iter().map(host).collect::<String>()).unwrap();
    let site = site.to_str().unwrap();
    let records = run(["analyze", CAPTURE, "--format", "ndjson", "--site", site]).records();
    let tags = tags(&records);
    for (address, product, _) in HOSTS {
        for tag in &tags[address] {
            assert_eq!(tag, &(product.to_owned(), "inventory".to_owned()), "{address}");
        }
    }
    for alert in of_type(&records, "alert") {
        assert_eq!(own(alert, "finding")["kind"], "cleartext-transport");
    }
}

#[test]
fn what_a_host_has_beside_its_product_is_told() {
    let records = run(["analyze", "captures/hosts/listeners.pcap", "--format", "ndjson"]).records();
    let host = |address: &str| {
        let hosts = of_type(&records, "host");
        let mut hosts = hosts.iter().map(|host| own(host, "host"));
        hosts.find(|host| host["address"] == address).unwrap().clone()
    };
    let ports = |host: &Value, what: &str| -> Vec<u64> {
        let ports = host["ports"][what].as_array().unwrap();
        ports.iter().map(|port| port["port"].as_u64().unwrap()).collect()
    };
    let findings = |kind: &str| -> Vec<(String, u64)> {
        let alerts = of_type(&records, "alert");
        let alerts = alerts.iter().filter(|alert| own(alert, "finding")["kind"] == kind);
        let place = |alert: &Value| {
            (
                alert["dest_ip"].as_str().unwrap().to_owned(),
                alert["dest_port"].as_u64().unwrap_or(0),
            )
        };
        alerts.map(|alert| place(alert)).collect()
    };

    let manager = host("10.30.1.10");
    assert_eq!(manager["products"][0], "wso2-api-manager-4");
    assert_eq!(manager["offset"], 0);
    assert_eq!(ports(&manager, "answered"), [8243, 8280, 9443, 9611, 9711, 9763, 12345]);
    assert_eq!(ports(&manager, "refused"), [5672]);
    let never_seen = ports(&manager, "never_seen");
    assert!(never_seen.contains(&8099) && !never_seen.contains(&5672), "{never_seen:?}");
    assert_eq!(findings("uncatalogued-service"), [("10.30.1.10".to_owned(), 12345)]);
    assert_eq!(host("10.30.1.50")["products"], Value::Array(Vec::new()));

    let torn = host("10.30.1.11");
    assert_eq!(
        (&torn["products"][0], torn["offset"].as_u64()),
        (&"wso2-api-manager-4".into(), Some(1))
    );
    assert!(
        torn["notes"]
            .to_string()
            .contains("9763/tcp is wso2-api-manager-4/servlet-http at offset 0")
    );
    let [(address, _)] = &findings("partial-offset")[..] else { panic!("one host is torn") };
    assert_eq!(address, "10.30.1.11");
}
