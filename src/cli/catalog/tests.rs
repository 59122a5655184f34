use clap::Parser;
use serde::Deserialize;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// Answers a command line at a width of 80.
fn answered(line: &[&str]) -> Result<String> {
    let line = std::iter::once(&"catalog").chain(line);
    answer(&Line::parse_from(line).args, 80)
}

/// The published shape of a row; a field that is not here may not be there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read for its names and types")]
struct Row {
    id: String,
    product: String,
    name: String,
    role: Role,
    port: Option<PortValue>,
    transport: String,
    protocol: crate::catalog::AppProtocol,
    encryption: crate::catalog::Encryption,
    base_port: Option<u16>,
    built_in_offset: u16,
    offset: crate::catalog::OffsetBehaviour,
    direction: Option<crate::catalog::Direction>,
    default_on: bool,
    versions: String,
    lifecycle: crate::catalog::Lifecycle,
    status: crate::catalog::Status,
    source: String,
    section: Option<String>,
    as_printed: Option<String>,
    note: Option<String>,
    components: Vec<String>,
    networks: Vec<String>,
    asked_port: Option<u16>,
    at_offset: Option<u16>,
    documented: Option<bool>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged)]
enum PortValue {
    Number(u16),
    Range(String),
}

fn rows(line: &[&str]) -> Vec<Row> {
    let text = answered(&[line, &["--format", "ndjson"]].concat()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn every_row_is_listed_once_a_transport() {
    let rows = rows(&["list"]);
    let services = Catalog::embedded().services();
    let expected: usize = services.iter().map(|service| service.transports.iter().count()).sum();
    assert_eq!(rows.len(), expected);
    let mut seen = std::collections::BTreeSet::new();
    for row in &rows {
        assert!(seen.insert((row.id.clone(), row.transport.clone())), "{}", row.id);
        assert!(row.id.starts_with(&format!("{}/", row.product)));
    }
}

#[test]
fn a_port_is_a_number_a_range_or_null() {
    let port = |id: &str| {
        let rows = rows(&["explain", id]);
        rows.into_iter().next().and_then(|row| row.port)
    };
    assert_eq!(port("wso2-api-manager-4/gateway-http"), Some(PortValue::Number(8280)));
    assert_eq!(port("wso2-api-manager-4/cluster-member"), Some(PortValue::Number(4000)));
    assert_eq!(port("wso2-iot-server/fcm"), Some(PortValue::Range("5228-5230".into())));
    assert_eq!(port("wso2-api-manager-4/jmx-local"), None);
}

#[test]
fn the_list_is_filtered_by_product_role_and_port() {
    let all = rows(&["list", "--product", "wso2-micro-integrator"]);
    assert!(!all.is_empty() && all.iter().all(|row| row.product == "wso2-micro-integrator"));
    let gateways = rows(&["list", "--role", "gateway"]);
    assert!(!gateways.is_empty() && gateways.iter().all(|row| row.role == Role::Gateway));
    let udp = rows(&["list", "--port", "8000/udp"]);
    assert!(!udp.is_empty() && udp.iter().all(|row| row.transport == "udp"));
    let moved = rows(&["list", "--port", "8283", "--offset", "3"]);
    assert!(moved.iter().any(|row| row.id == "wso2-micro-integrator/http"));
    assert!(moved.iter().all(|row| row.port == Some(PortValue::Number(8283))));
    for line in [["list", "--product", "wso2-micro-integrater"], ["list", "--role", "gatway"]] {
        assert!(answered(&line).unwrap_err().hint_text().unwrap().contains("did you mean"));
    }
}

#[test]
fn show_9999_tells_of_the_swap_and_that_content_decides() {
    let text = answered(&["show", "9999"]).unwrap();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains("The documents say RMIServer; the product's configuration says RMIRegistry")
    );
    assert!(words.contains("content decides"));
    assert!(words.contains("\u{201c}9999 - RMIServer port."), "the documents' words: {words}");
    assert!(words.contains("wso2-api-manager-4/jmx-registry"));
}

#[test]
fn show_8290_names_the_micro_integrator_and_an_api_manager_at_offset_10() {
    let text = answered(&["show", "8290"]).unwrap();
    let line = |id: &str| {
        text.lines().find(|line| line.split_whitespace().any(|word| word == id)).expect(id)
    };
    assert!(line("wso2-micro-integrator/http").contains("10 built in"));
    assert!(line("wso2-api-manager-4/gateway-http").trim_start().starts_with("10 "));
    let shown = rows(&["show", "8290/tcp"]);
    let row = |id: &str| shown.iter().find(|row| row.id == id).expect(id);
    let integrator = row("wso2-micro-integrator/http");
    assert_eq!((integrator.documented, integrator.at_offset), (Some(true), Some(10)));
    let manager = row("wso2-api-manager-4/gateway-http");
    assert_eq!((manager.documented, manager.at_offset), (Some(false), Some(10)));
    assert_eq!(manager.port, Some(PortValue::Number(8290)));
}

#[test]
fn an_offset_replaces_the_built_in_one_in_every_command() {
    let shown = rows(&["show", "8283", "--offset", "3"]);
    assert!(shown.iter().any(|row| row.id == "wso2-micro-integrator/http"));
    assert!(!rows(&["show", "8293", "--offset", "3"]).iter().any(|row| row.name.contains("HTTP")));
    let explained = rows(&["explain", "wso2-micro-integrator/http", "--offset", "3"]);
    assert_eq!(explained[0].port, Some(PortValue::Number(8283)));
    assert_eq!(explained[0].base_port, Some(8280));
    let error = answered(&["list", "--offset", "60000"]).unwrap_err();
    assert!(error.to_string().contains("above 65535"), "{error}");
}

#[test]
fn ports_and_offsets_out_of_range_are_refused() {
    assert_eq!(endpoint("8280/UDP").unwrap().transport, Some(Transport::Udp));
    for text in ["0", "70000", "-1", "8280/sctp", "http", ""] {
        assert!(endpoint(text).is_err(), "{text}");
    }
    assert_eq!(offset("10"), Ok(10));
    for text in ["-1", "65536", "ten", "1.5"] {
        assert!(offset(text).is_err(), "{text}");
    }
}

#[test]
fn text_fits_80_columns_and_ids_stay_whole() {
    let catalog = Catalog::embedded();
    let list = answered(&["list"]).unwrap();
    for product in catalog.products() {
        for id in &product.services {
            let (_, local) = catalog.service(*id).id.split_once('/').unwrap();
            assert!(list.split_whitespace().any(|word| word == local), "{local}");
        }
    }
    for text in [
        list,
        answered(&["show", "9443"]).unwrap(),
        answered(&["show", "9999"]).unwrap(),
        answered(&["show", "8290"]).unwrap(),
        answered(&["explain", "servlet-https"]).unwrap(),
    ] {
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

#[test]
fn explain_takes_the_name_behind_the_slash_and_hints_at_the_nearest() {
    let text = answered(&["explain", "gateway-http"]).unwrap();
    assert!(text.contains("wso2-api-manager-4/gateway-http:"));
    assert!(text.contains("wso2-api-manager-3/gateway-http:"));
    let error = answered(&["explain", "wso2-api-manager-4/gateway-htp"]).unwrap_err();
    assert_eq!(error.hint_text(), Some("did you mean `wso2-api-manager-4/gateway-http`?"));
}

#[test]
fn a_port_that_nobody_knows_says_so() {
    assert_eq!(
        answered(&["show", "65000"]).unwrap(),
        "nothing in the catalogue listens on 65000\n"
    );
    assert_eq!(answered(&["show", "65000", "--format", "ndjson"]).unwrap(), "");
}

const SERVICES: &str = "# Network services\n\
    ftp-data\t20/tcp\n\
    ssh\t\t22/tcp\t\t\t# SSH Remote Login Protocol\n\
    domain\t\t53/tcp\n\
    domain\t\t53/udp\n\
    https\t\t443/tcp\n\
    ldap\t\t389/tcp\n\
    sctp-thing\t9/sctp\n\
    http-alt\t8080/tcp\twebcache\n\
    z'quote\"\t7/tcp\n";

const PROTOS: &str = "# Format:\n\
    # <tcp|udp>:<port>,<tcp|udp>:<port>,.....@<proto>\n\
    tcp:81,tcp:8181@HTTP\n\
    udp:5061-5062@SIP\n\
    tcp:860,udp:860,tcp:3260,udp:3260@iSCSI\n\
    tcp:3000@ntop=300\n\
    host:\"googlesyndication.com\"@Google\n\
    ip:213.75.170.11/32:443@CustomProtocol\n";

/// Imports a list and returns the file's text with the catalogue that `check` would make of it.
fn imported(name: &str, list: &str) -> (String, Catalog) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(name);
    std::fs::write(&file, list).unwrap();
    let text = answered(&["import", file.to_str().unwrap()]).unwrap();
    let checked = dir.path().join("catalog");
    std::fs::create_dir(&checked).unwrap();
    std::fs::write(checked.join("imported.toml"), &text).unwrap();
    let answer = answered(&["check", checked.to_str().unwrap()]).unwrap();
    assert!(answer.contains("1 product,"), "{answer}");
    let catalog = Catalog::load(&checked).unwrap();
    (text, catalog)
}

#[test]
fn etc_services_becomes_a_catalogue_that_check_accepts() {
    let (text, catalog) = imported("services", SERVICES);
    assert_eq!(catalog.services().len(), 7);
    let named = |port, transport| {
        let first = catalog.candidates(transport, port)[0];
        catalog.service(first.service)
    };
    assert_eq!(named(53, Transport::Tcp).id, named(53, Transport::Udp).id);
    assert_eq!(named(443, Transport::Tcp).encryption, crate::catalog::Encryption::Tls);
    assert_eq!(named(20, Transport::Tcp).name, "ftp-data");
    assert_eq!(named(7, Transport::Tcp).name, "z'quote\"");
    assert!(text.contains("# Line 8 left out"), "{text}");
}

#[test]
fn ndpi_lines_become_a_catalogue_that_check_accepts() {
    let (text, catalog) = imported("protos.txt", PROTOS);
    assert_eq!(catalog.services().len(), 6);
    assert_eq!(catalog.candidates(Transport::Udp, 5062).len(), 1);
    assert_eq!(catalog.candidates(Transport::Tcp, 5062).len(), 0);
    assert_eq!(catalog.candidates(Transport::Tcp, 8181).len(), 1);
    assert_eq!(catalog.candidates(Transport::Udp, 3260).len(), 1);
    let ntop = catalog.candidates(Transport::Tcp, 3000)[0];
    assert_eq!(catalog.service(ntop.service).name, "ntop");
    assert_eq!(text.matches("left out").count(), 2, "{text}");
}

#[test]
fn a_faulty_list_is_a_one_line_error_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("list");
    for (list, line, expected) in [
        ("http 80/tcp\nrubbish\n", 2, "neither"),
        ("http 70000/tcp\n", 1, "port 70000 is above 65535"),
        ("tcp:90-80@X\n", 1, "does not go upwards"),
        ("tcp:x@X\n", 1, "no port from 1 to 65535"),
        ("tcp:80@\n", 1, "a name is missing"),
    ] {
        std::fs::write(&file, list).unwrap();
        let error = answered(&["import", file.to_str().unwrap()]).unwrap_err().to_string();
        assert!(error.contains(&format!("list:{line}: ")) && error.contains(expected), "{error}");
    }
    std::fs::write(&file, "# nothing\n").unwrap();
    assert!(answered(&["import", file.to_str().unwrap()]).is_err());
}

#[test]
fn control_characters_of_a_list_are_escaped() {
    let (text, _) = imported("services", "e\u{1b}[31m\u{202e}vil 99/tcp\n");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
}

#[test]
fn a_catalogue_of_the_users_replaces_the_embedded_one() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("services");
    std::fs::write(&list, "mine 4711/tcp\n").unwrap();
    let text = answered(&["import", list.to_str().unwrap(), "--product", "Mine!"]).unwrap();
    let catalog = tempfile::tempdir().unwrap();
    std::fs::write(catalog.path().join("mine.toml"), text).unwrap();
    let rows = rows(&["list", "--catalog", catalog.path().to_str().unwrap()]);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].id, "mine/mine");
}

#[test]
fn the_answer_goes_to_the_writer() {
    let mut out = Vec::new();
    let args = Line::parse_from(["catalog", "show", "8280/tcp"]).args;
    run(&args, &mut out).unwrap();
    assert!(String::from_utf8(out).unwrap().starts_with("8280/tcp\n"));
}

#[test]
fn a_line_that_is_left_out_has_spaces_for_its_tabs() {
    let (text, _) = imported("services", "http 80/tcp\nrtmp\t\t1/ddp\t# Routing\n");
    assert!(text.contains("# Line 2 left out, no TCP or UDP port: \"rtmp 1/ddp"), "{text}");
    assert!(!text.contains("\\U00000009"), "{text}");
}

#[test]
fn a_product_is_explained_by_its_services() {
    let text = answered(&["explain", "wso2-api-manager-4"]).unwrap();
    assert!(text.starts_with("wso2-api-manager-4: "), "{text}");
    assert!(text.contains("  8280/tcp  gateway-http  "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let listed = answered(&["list", "--product", "wso2-api-manager-4", "--format", "ndjson"]);
    let line = ["explain", "wso2-api-manager-4", "--format", "ndjson"];
    assert_eq!(answered(&line).unwrap(), listed.unwrap());
    let error = answered(&["explain", "wso2-api-manger-4"]).unwrap_err();
    assert_eq!(error.hint_text(), Some("did you mean `wso2-api-manager-4`?"));
}
