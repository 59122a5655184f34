//! Captures of real servers: what their clients did is found, and nothing else; also from one direction, joined
//! after the handshake, with neighbours out of order, and twice.

use std::collections::BTreeMap;
use std::fs;

use portreeve::packet::Transport;
use portreeve::pipeline::Gathered;

use crate::support::{Sum, evidence, gathered, root};

/// What a capture must show.
struct Shown {
    name: &'static str,
    /// Ports of its servers.
    ports: &'static [u16],
    /// Flows by the name of their protocol.
    flows: &'static [(&'static str, u64)],
    /// Evidence by kind: flows, count.
    evidence: &'static [(&'static str, u64, u64)],
}

const SHOWN: [Shown; 11] = [
    Shown {
        name: "amqp",
        ports: &[5672],
        flows: &[("amqp", 5), ("http", 1)],
        evidence: &[("amqp-login-cleartext", 3, 3), ("default-credentials", 2, 2)],
    },
    Shown { name: "dns", ports: &[53, 5300], flows: &[("dns", 10)], evidence: &[] },
    Shown {
        name: "jmx",
        ports: &[9996, 9997, 9998, 9999, 11_108, 11_110, 11_111, 43_327],
        flows: &[("rmi", 13), ("tls", 1)],
        evidence: &[
            ("default-credentials", 2, 2),
            ("jmx-login-cleartext", 4, 4),
            ("jmx-no-auth", 1, 1),
            ("jmx-no-tls", 13, 13),
        ],
    },
    Shown { name: "krb5", ports: &[88], flows: &[("krb5", 6)], evidence: &[] },
    Shown {
        name: "ldap",
        ports: &[389, 10_389],
        flows: &[("ldap", 6)],
        evidence: &[("default-credentials", 1, 1), ("ldap-simple-bind-cleartext", 3, 3)],
    },
    Shown {
        name: "mqtt",
        ports: &[1883],
        flows: &[("mqtt", 6)],
        evidence: &[("default-credentials", 1, 1), ("mqtt-login-cleartext", 3, 3)],
    },
    Shown { name: "ntp", ports: &[123], flows: &[("ntp", 3)], evidence: &[] },
    Shown {
        name: "snmp",
        ports: &[161, 162],
        flows: &[("snmp", 6)],
        evidence: &[("default-credentials", 2, 5), ("snmp-community-cleartext", 4, 8)],
    },
    Shown { name: "ssh", ports: &[2222], flows: &[("http", 1), ("ssh", 2)], evidence: &[] },
    Shown { name: "syslog", ports: &[514, 1514], flows: &[("syslog", 7)], evidence: &[] },
    Shown {
        name: "thrift",
        ports: &[7611, 7612, 9160, 9161, 9162],
        flows: &[("thrift", 15)],
        evidence: &[("default-credentials", 5, 5), ("thrift-login-cleartext", 15, 15)],
    },
];

impl Shown {
    fn capture(&self) -> Capture {
        let path = root().join(format!("captures/real/{}.pcap", self.name));
        Capture::parse(&fs::read(path).expect("it is in the tree"))
    }

    fn evidence(&self) -> BTreeMap<&'static str, Sum> {
        self.evidence
            .iter()
            .map(|(kind, flows, count)| (*kind, Sum { flows: *flows, count: *count }))
            .collect()
    }

    fn flows(&self) -> BTreeMap<&'static str, u64> {
        self.flows.iter().copied().collect()
    }
}

/// A capture's header and its records, headers included.
struct Capture {
    header: Vec<u8>,
    records: Vec<Vec<u8>>,
}

const FILE_HEADER_LEN: usize = 24;
const RECORD_HEADER_LEN: usize = 16;

impl Capture {
    /// Reads what tcpdump writes on a little-endian machine.
    fn parse(bytes: &[u8]) -> Self {
        let (header, mut rest) = bytes.split_at(FILE_HEADER_LEN);
        let mut records = Vec::new();
        while !rest.is_empty() {
            let len = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
            let (record, behind) = rest.split_at(RECORD_HEADER_LEN + len);
            records.push(record.to_vec());
            rest = behind;
        }
        Self { header: header.to_vec(), records }
    }

    fn of(&self, records: impl IntoIterator<Item = Vec<u8>>) -> Gathered {
        let mut bytes = self.header.clone();
        bytes.extend(records.into_iter().flatten());
        gathered(bytes, 0)
    }
}

/// Source port, destination port and TCP flags of a record (0 for UDP); Ethernet with IPv4 or IPv6.
fn ports(record: &[u8]) -> (u16, u16, u8) {
    let packet = &record[RECORD_HEADER_LEN + 14..];
    let (protocol, segment) = if packet[0] >> 4 == 4 {
        (packet[9], &packet[usize::from(packet[0] & 15) * 4..])
    } else {
        (packet[6], &packet[40..])
    };
    let port = |at: usize| u16::from_be_bytes([segment[at], segment[at + 1]]);
    (port(0), port(2), if protocol == 6 { segment[13] } else { 0 })
}

/// Counts flows with payload by the name of their protocol.
fn names(gathered: &Gathered) -> BTreeMap<&'static str, u64> {
    let mut names = BTreeMap::new();
    for shard in &gathered.shards {
        for (number, flow) in shard.flows().filter(|(_, flow)| flow.has_payload()) {
            let protocol = shard.facts(number).and_then(|facts| facts.protocol);
            let name = protocol.map_or("unknown", portreeve::inspect::Protocol::name);
            assert!(name != "unknown" || flow.key.transport() == Transport::Tcp, "a datagram");
            *names.entry(name).or_default() += 1;
        }
    }
    names
}

#[test]
fn what_the_clients_did_is_found() {
    for shown in &SHOWN {
        let capture = shown.capture();
        let gathered = capture.of(capture.records.clone());
        assert_eq!(names(&gathered), shown.flows(), "{}", shown.name);
        assert_eq!(evidence(&gathered), shown.evidence(), "{}", shown.name);
        for shard in &gathered.shards {
            for (number, _) in shard.flows() {
                let facts = shard.facts(number);
                assert!(facts.is_none_or(|it| it.uninspected.is_empty()), "{}", shown.name);
            }
        }
    }
}

#[test]
fn the_clients_direction_alone_shows_the_same() {
    for shown in &SHOWN {
        let capture = shown.capture();
        let is_clients = |record: &Vec<u8>| shown.ports.contains(&ports(record).1);
        let gathered = capture.of(capture.records.iter().filter(|it| is_clients(it)).cloned());
        let mut expected = shown.flows();
        if shown.name == "ssh" {
            // Who only reads the greeting says nothing.
            expected.insert("ssh", 1);
        }
        assert_eq!(names(&gathered), expected, "{}", shown.name);
        let mut expected = shown.evidence();
        // That a client without credentials was let in is in the answer.
        expected.remove("jmx-no-auth");
        assert_eq!(evidence(&gathered), expected, "{}", shown.name);
    }
}

#[test]
fn without_the_handshakes_it_shows_the_same() {
    for shown in &SHOWN {
        let capture = shown.capture();
        let opens = |record: &Vec<u8>| ports(record).2 & 2 != 0;
        let gathered = capture.of(capture.records.iter().filter(|it| !opens(it)).cloned());
        assert_eq!(names(&gathered), shown.flows(), "{}", shown.name);
        assert_eq!(evidence(&gathered), shown.evidence(), "{}", shown.name);
    }
}

#[test]
fn neighbours_out_of_order_and_repeated_show_the_same() {
    for shown in &SHOWN {
        let capture = shown.capture();
        let mut swapped = capture.records.clone();
        swapped.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
        let gathered = capture.of(swapped);
        assert_eq!(names(&gathered), shown.flows(), "{}, swapped", shown.name);
        assert_eq!(evidence(&gathered), shown.evidence(), "{}, swapped", shown.name);
        if shown.name == "snmp" {
            // A datagram that comes again is another request.
            continue;
        }
        let twice = capture.records.iter().flat_map(|it| [it.clone(), it.clone()]);
        let gathered = capture.of(twice);
        assert_eq!(names(&gathered), shown.flows(), "{}, twice", shown.name);
        assert_eq!(evidence(&gathered), shown.evidence(), "{}, twice", shown.name);
    }
}
