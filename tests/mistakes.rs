//! What a client says by mistake, or was told by somebody, is no word of the host that it says it to.

use serde_json::Value;

use crate::support::{of_type, own, run};
use crate::wire::{Said, Wire, client_hello, request};

const CLIENT: &str = "10.40.0.9";
const HOST: &str = "10.40.0.10";

/// A fatal alert: unexpected message (RFC 8446 §6.2).
const ALERT: &[u8] = b"\x15\x03\x03\0\x02\x02\x0a";

/// Analyzes connections to ports of one host, each as a protocol opens, or with what the ends say.
fn analyze(wire: &Wire) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wire.pcap");
    wire.write(&path, 65_535);
    run(["analyze", path.to_str().unwrap(), "--format", "ndjson"]).records()
}

fn port(port: u16) -> String {
    format!("{HOST}:{port}")
}

/// Returns the flows' services and why they have them, by port.
fn services(records: &[Value]) -> Vec<(u64, String, String)> {
    let text = |flow: &Value, field| own(flow, field).as_str().unwrap_or("").to_owned();
    let flows = of_type(records, "flow");
    let tag = |flow: &Value| {
        (flow["dest_port"].as_u64().unwrap(), text(flow, "service"), text(flow, "basis"))
    };
    flows.iter().map(|flow| tag(flow)).collect()
}

/// Returns kind and port of each alert.
fn findings(records: &[Value]) -> Vec<(String, u64)> {
    let alerts = of_type(records, "alert");
    let kind = |alert: &Value| own(alert, "finding")["kind"].as_str().unwrap().to_owned();
    alerts.iter().map(|alert| (kind(alert), alert["dest_port"].as_u64().unwrap())).collect()
}

/// An API Manager at offset 1, as seen by clients of which one says something else on one port.
fn manager(mistaken: u16, talk: &[Said]) -> Vec<Value> {
    let mut wire = Wire::default();
    for (number, protocol) in [(8281, "http"), (8244, "tls"), (9444, "tls")] {
        if number == mistaken {
            wire.connection(CLIENT, &port(number), talk);
        } else {
            wire.spoken(CLIENT, &port(number), protocol);
        }
    }
    analyze(&wire)
}

#[test]
fn a_client_that_sends_http_to_tls_does_not_change_what_the_host_is() {
    let http = || Said::Client(request("/orders", ""));
    let answers: [&[Said]; 3] = [
        &[http(), Said::Server(ALERT.to_vec())],
        &[http()],
        &[http(), Said::Server(vec![b'?'; 9])],
    ];
    for number in [8244, 9444] {
        for talk in answers {
            let records = manager(number, talk);
            let expected =
                [(8281, "gateway-http"), (8244, "gateway-https"), (9444, "servlet-https")].map(
                    |(port, row)| {
                        (port, format!("wso2-api-manager-4/{row}"), "offset-inferred".to_owned())
                    },
                );
            assert_eq!(services(&records), expected);
            let plain = ("plaintext-on-tls-port".to_owned(), u64::from(number));
            assert!(findings(&records).contains(&plain), "{:?}", findings(&records));
        }
    }
}

#[test]
fn a_client_that_sends_tls_to_http_does_not_change_what_the_host_is() {
    let refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec();
    let records = manager(8281, &[Said::Client(client_hello()), Said::Server(refusal)]);
    assert_eq!(services(&records)[0].1, "wso2-api-manager-4/gateway-http");
    assert!(findings(&records).contains(&("tls-on-plain-port".to_owned(), 8281)));
}

#[test]
fn what_the_server_speaks_itself_changes_what_the_port_is() {
    let hello = server_speaks_http();
    let records = manager(8244, &hello);
    assert_ne!(services(&records)[1].1, "wso2-api-manager-4/gateway-https");
}

fn server_speaks_http() -> [Said; 2] {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
    [Said::Client(request("/orders", "")), Said::Server(answer)]
}

/// Returns text as Java writes it.
fn utf(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

/// Returns the opening of JRMP by both ends.
fn jrmp() -> Vec<Said> {
    let ack = [&[0x4e][..], &utf(CLIENT), &40_000_u32.to_be_bytes()].concat();
    vec![
        Said::Client(b"JRMI\0\x02\x4b".to_vec()),
        Said::Server(ack),
        Said::Client([utf(CLIENT), vec![0; 4]].concat()),
    ]
}

/// Returns how a client asks a registry, which names an endpoint.
fn lookup(host: &str, port: u32) -> Vec<Said> {
    let registry = 0x4415_4dc9_d4e6_3bdf_u64.to_be_bytes();
    let head = [&b"\x50\xac\xed\0\x05\x77\x22"[..], &[0; 22], &2_u32.to_be_bytes(), &registry];
    let ask = [&head.concat()[..], &[0x74], &utf("jmxrmi")].concat();
    let reference =
        [utf("UnicastRef"), utf(host), port.to_be_bytes().to_vec(), vec![0x11; 22], vec![1]];
    let reference = reference.concat();
    let stub = [
        &b"\x51\xac\xed\0\x05\x77\x0f\x01"[..],
        &[2; 14],
        b"\x73\x72",
        &utf("javax.management.remote.rmi.RMIServerImpl_Stub"),
        &[0, 0, 0, 0, 0, 0, 0, 2, 2, 0, 0, 0x78, 0x70, 0x77],
        &[u8::try_from(reference.len()).unwrap()],
        &reference,
        b"\x78",
    ];
    let mut talk = jrmp();
    talk.extend([Said::Client(ask), Said::Server(stub.concat())]);
    talk
}

#[test]
fn a_name_that_a_registry_gave_is_not_every_host_with_that_port() {
    let mut wire = Wire::default();
    wire.connection(CLIENT, &port(9999), &lookup("gw.example.org", 443));
    wire.connection(CLIENT, "203.0.113.80:443", &server_speaks_http());
    wire.spoken(CLIENT, "203.0.113.81:443", "tls");
    wire.connection(CLIENT, "203.0.113.82:443", &jrmp());
    let records = analyze(&wire);
    let services = services(&records);
    let bases: Vec<&str> = services[1..].iter().map(|(_, _, basis)| basis.as_str()).collect();
    assert_eq!(bases, ["port", "port", "learned"]);
    assert!(findings(&records).contains(&("plaintext-on-tls-port".to_owned(), 443)));
}
