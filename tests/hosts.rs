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
