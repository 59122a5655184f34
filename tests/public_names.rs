//! Protocol names against two opinions on captures that nobody of this project made: tshark's, and a look at
//! the first bytes. Runs where they lie beside the package.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use portreeve::inspect::Protocol;
use portreeve::packet::{Side, Transport};

use crate::support::{gathered_files, public_set};

/// Transport and the two endpoints, the smaller one first, as the reference writes them.
type Tuple = (String, String, String);

/// What the reference says of a flow.
struct Opinion {
    tshark: String,
    magic: String,
}

/// Where the opinions are mistaken or miss something: capture, port of one end, the name that is right,
/// and why.
const EXCEPTIONS: [(&str, &str, Option<Protocol>, &str); 5] = [
    (
        "ndpi__fuzz-2006-06-26-2594.pcap",
        "",
        None,
        "bytes were changed at random: no question parses",
    ),
    ("mercury__emix.pcap", " 1080", None, "the client speaks SOCKS; HTTP is inside"),
    ("ndpi__cassandra.pcap", " 7000", Some(Protocol::Cassandra), "a node's magic number is there"),
    (
        "zeek__ipv6-http-atomic-frag.pcap",
        " 80",
        Some(Protocol::Http),
        "both were asked without fragments",
    ),
    (
        "zeek__reassembly.pcap",
        " 80",
        Some(Protocol::Http),
        "the client sends SEARCH with a path that never ends",
    ),
];

/// Returns what a name of the reference's is called here.
fn ours(name: &str) -> Option<Protocol> {
    Some(match name {
        "amqp" => Protocol::Amqp,
        "cql" => Protocol::Cassandra,
        "dns" | "mdns" | "llmnr" => Protocol::Dns,
        "h2" | "http2" => Protocol::Http2,
        "http" | "http1" => Protocol::Http,
        "kafka" => Protocol::Kafka,
        "kerberos" => Protocol::Kerberos,
        "ldap" | "cldap" => Protocol::Ldap,
        "mqtt" => Protocol::Mqtt,
        "ntp" => Protocol::Ntp,
        "quic" => Protocol::Quic,
        "rmi" => Protocol::Rmi,
        "snmp" => Protocol::Snmp,
        "ssh" => Protocol::Ssh,
        "syslog" => Protocol::Syslog,
        "thrift" => Protocol::Thrift,
        "tls" => Protocol::Tls,
        _ => return None,
    })
}

/// What was HTTP before its handshake is HTTP to the reference.
fn as_begun(protocol: Protocol) -> Protocol {
    if protocol == Protocol::WebSocket { Protocol::Http } else { protocol }
}

fn names(list: &str) -> BTreeSet<Protocol> {
    list.split(',').filter_map(ours).collect()
}

fn tuple(transport: &str, one: String, other: String) -> Tuple {
    let (low, high) = if one <= other { (one, other) } else { (other, one) };
    (transport.to_owned(), low, high)
}

fn opinions(table: &Path) -> BTreeMap<Tuple, Opinion> {
    let text = std::fs::read_to_string(table).unwrap();
    let mut found = BTreeMap::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [transport, a, a_port, b, b_port, _, _, kind, tshark, magic] = fields[..] else {
            panic!("{}: {line}", table.display());
        };
        if kind != "outer" {
            let opinion = Opinion { tshark: tshark.to_owned(), magic: magic.to_owned() };
            found.insert(
                tuple(transport, format!("{a} {a_port}"), format!("{b} {b_port}")),
                opinion,
            );
        }
    }
    found
}

/// Returns the names that the flows of each tuple got.
fn named(capture: &Path) -> BTreeMap<Tuple, BTreeSet<Protocol>> {
    let gathered = gathered_files(&[capture.to_owned()], 0);
    let mut found: BTreeMap<Tuple, BTreeSet<Protocol>> = BTreeMap::new();
    for shard in &gathered.shards {
        for (number, flow) in shard.flows() {
            let transport = if flow.key.transport() == Transport::Tcp { "tcp" } else { "udp" };
            let end = |side: Side| format!("{} {}", flow.key.address(side), flow.key.port(side));
            let names = found.entry(tuple(transport, end(Side::Low), end(Side::High))).or_default();
            let protocol = shard.facts(number).and_then(|facts| facts.protocol);
            names.extend(protocol.map(as_begun));
        }
    }
    found
}

#[test]
fn names_agree_where_two_opinions_do() {
    let Some(folder) = public_set("names_agree_where_two_opinions_do") else { return };
    let mut wrong = Vec::new();
    let mut agreed = 0;
    let mut captures: Vec<_> = std::fs::read_dir(folder.join("captures"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    captures.sort();
    for capture in captures {
        let file = capture.file_name().unwrap().to_str().unwrap().to_owned();
        let found = named(&capture);
        for (tuple, opinion) in opinions(&folder.join(format!("gt/{file}.flows.tsv"))) {
            let both: BTreeSet<_> =
                names(&opinion.tshark).intersection(&names(&opinion.magic)).copied().collect();
            let said = found.get(&tuple).cloned().unwrap_or_default();
            let fits = if both.is_empty() {
                // What neither knows is not ours to know, or one of them has the better eye.
                let either = &names(&opinion.tshark) | &names(&opinion.magic);
                said.is_subset(&either)
            } else {
                !said.is_disjoint(&both)
            };
            if fits {
                agreed += usize::from(!both.is_empty());
                continue;
            }
            let exception = EXCEPTIONS.iter().any(|(name, port, right, _)| {
                *name == file
                    && [&tuple.1, &tuple.2].iter().any(|end| port.is_empty() || end.ends_with(port))
                    && said.iter().copied().next() == *right
            });
            if !exception {
                let Opinion { tshark, magic } = opinion;
                wrong.push(format!(
                    "{file} {tuple:?}: tshark {tshark}, bytes {magic}, here {said:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} agree; not so:\n{}", agreed, wrong.join("\n"));
}
