//! Captures of real servers: what their clients did is found, and nothing else; also from one direction, joined
//! midway, out of order, sent again, mirrored, in other pieces, in a VLAN, over IPv6.

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

const SHOWN: [Shown; 17] = [
    Shown {
        name: "amqp",
        ports: &[5672],
        flows: &[("amqp", 5), ("http", 1)],
        evidence: &[("amqp-login-cleartext", 3, 3), ("default-credentials", 2, 2)],
    },
    Shown { name: "cassandra", ports: &[9042, 9043], flows: &[("cassandra", 9)], evidence: &[] },
    Shown { name: "dns", ports: &[53, 5300], flows: &[("dns", 10)], evidence: &[] },
    Shown {
        name: "h2o",
        ports: &[54_321, 54_322, 54_332],
        flows: &[("http", 1), ("unknown", 4)],
        evidence: &[],
    },
    Shown { name: "hazelcast", ports: &[5701], flows: &[("hazelcast", 2)], evidence: &[] },
    Shown { name: "hdfs", ports: &[8020, 50_010], flows: &[("hdfs", 4)], evidence: &[] },
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
    Shown { name: "kafka", ports: &[42_851], flows: &[("http", 1), ("kafka", 13)], evidence: &[] },
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
    Shown { name: "spark", ports: &[7077], flows: &[("spark", 1)], evidence: &[] },
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

/// Where things lie in a record: Ethernet with IPv4 or IPv6, TCP or UDP.
#[derive(Clone, Copy)]
struct Place {
    /// Offset of the IP header.
    ip: usize,
    /// Offset of the segment or datagram.
    segment: usize,
    is_tcp: bool,
    /// Offset of its payload.
    payload: usize,
    /// Where the IP packet ends; what is behind it pads the frame.
    end: usize,
}

/// TCP's flags.
const FIN: u8 = 1;
const SYN: u8 = 2;

impl Place {
    fn of(record: &[u8]) -> Self {
        let ip = RECORD_HEADER_LEN + ETHERNET_LEN;
        let word = |at: usize| usize::from(u16::from_be_bytes([record[at], record[at + 1]]));
        let (protocol, segment, end) = if record[ip] >> 4 == 4 {
            (record[ip + 9], ip + usize::from(record[ip] & 15) * 4, ip + word(ip + 2))
        } else {
            (record[ip + 6], ip + IP6_LEN, ip + IP6_LEN + word(ip + 4))
        };
        let is_tcp = protocol == TCP;
        let payload = segment + if is_tcp { usize::from(record[segment + 12] >> 4) * 4 } else { 8 };
        Self { ip, segment, is_tcp, payload, end }
    }

    fn has_payload(&self) -> bool {
        self.payload < self.end
    }
}

const ETHERNET_LEN: usize = 14;
const IP6_LEN: usize = 40;
const TCP: u8 = 6;

/// Source port, destination port and TCP flags of a record (0 for UDP).
fn ports(record: &[u8]) -> (u16, u16, u8) {
    let place = Place::of(record);
    let port = |at: usize| u16::from_be_bytes([record[at], record[at + 1]]);
    let flags = if place.is_tcp { record[place.segment + 13] } else { 0 };
    (port(place.segment), port(place.segment + 2), flags)
}

/// Makes a record of a frame, at the time of another record.
fn record(like: &[u8], frame: &[u8]) -> Vec<u8> {
    let len = u32::try_from(frame.len()).unwrap().to_le_bytes();
    [&like[..8], &len, &len, frame].concat()
}

/// Puts a frame into a VLAN.
fn in_a_vlan(like: &[u8]) -> Vec<u8> {
    let frame = &like[RECORD_HEADER_LEN..];
    record(like, &[&frame[..12], &[0x81, 0, 0x20, 42], &frame[12..]].concat())
}

/// Puts what IPv4 carried into IPv6, between addresses that end as the old ones did.
fn over_ipv6(like: &[u8]) -> Vec<u8> {
    let place = Place::of(like);
    if like[place.ip] >> 4 != 4 {
        return like.to_vec();
    }
    let segment = &like[place.segment..place.end];
    let len = u16::try_from(segment.len()).unwrap().to_be_bytes();
    let prefix = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let [source, destination] = [12, 16].map(|at| &like[place.ip + at..place.ip + at + 4]);
    let frame = [
        &like[RECORD_HEADER_LEN..RECORD_HEADER_LEN + 12],
        &[0x86, 0xdd, 0x60, 0, 0, 0],
        &len,
        &[like[place.ip + 9], 64],
        &prefix,
        source,
        &prefix,
        destination,
        segment,
    ];
    record(like, &frame.concat())
}

/// Cuts a TCP segment into segments of at most `size` bytes.
fn in_pieces(like: &[u8], size: usize) -> Vec<Vec<u8>> {
    let place = Place::of(like);
    let payload = &like[place.payload..place.end];
    if !place.is_tcp || payload.len() <= size {
        return vec![like.to_vec()];
    }
    let sequence = place.segment + 4;
    let first = u32::from_be_bytes(like[sequence..sequence + 4].try_into().unwrap());
    let pieces = payload.chunks(size).enumerate().map(|(number, piece)| {
        let mut frame = [&like[RECORD_HEADER_LEN..place.payload], piece].concat();
        let at = |offset: usize| offset - RECORD_HEADER_LEN;
        let number = u32::try_from(number * size).unwrap();
        frame[at(sequence)..][..4].copy_from_slice(&first.wrapping_add(number).to_be_bytes());
        let is_last = number as usize + piece.len() == payload.len();
        frame[at(place.segment) + 13] &= if is_last { 0xff } else { !FIN };
        let ip = at(place.ip);
        let (field, header_len) = if frame[ip] >> 4 == 4 { (2, 0) } else { (4, IP6_LEN) };
        let len = u16::try_from(frame.len() - ip - header_len).unwrap();
        frame[ip + field..][..2].copy_from_slice(&len.to_be_bytes());
        record(like, &frame)
    });
    pieces.collect()
}

/// Sends every segment with payload again, some records later.
fn sent_again_later(records: &[Vec<u8>]) -> Vec<Vec<u8>> {
    const LATER: usize = 3;
    let mut all = Vec::new();
    for (index, record) in records.iter().enumerate() {
        all.push(record.clone());
        let before = index.checked_sub(LATER).map(|index| &records[index]);
        all.extend(
            before.filter(|it| Place::of(it).is_tcp && Place::of(it).has_payload()).cloned(),
        );
    }
    all
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
        let opens = |record: &Vec<u8>| ports(record).2 & SYN != 0;
        let gathered = capture.of(capture.records.iter().filter(|it| !opens(it)).cloned());
        assert_eq!(names(&gathered), shown.flows(), "{}", shown.name);
        assert_eq!(evidence(&gathered), shown.evidence(), "{}", shown.name);
    }
}

/// Holds that records made of a capture show what it shows.
fn holds(shown: &Shown, how: &str, records: impl IntoIterator<Item = Vec<u8>>) {
    let gathered = shown.capture().of(records);
    assert_eq!(names(&gathered), shown.flows(), "{}, {how}", shown.name);
    assert_eq!(evidence(&gathered), shown.evidence(), "{}, {how}", shown.name);
}

#[test]
fn neighbours_out_of_order_show_the_same() {
    for shown in &SHOWN {
        let mut swapped = shown.capture().records;
        swapped.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
        holds(shown, "swapped", swapped);
    }
}

#[test]
fn what_is_sent_again_or_mirrored_counts_once() {
    for shown in &SHOWN {
        let records = shown.capture().records;
        holds(shown, "sent again", sent_again_later(&records));
        holds(shown, "mirrored", records.iter().flat_map(|it| [it.clone(), it.clone()]));
    }
}

#[test]
fn in_a_vlan_and_over_ipv6_it_shows_the_same() {
    for shown in &SHOWN {
        let records = shown.capture().records;
        holds(shown, "in a VLAN", records.iter().map(|it| in_a_vlan(it)));
        holds(shown, "over IPv6", records.iter().map(|it| over_ipv6(it)));
        holds(shown, "in a VLAN over IPv6", records.iter().map(|it| in_a_vlan(&over_ipv6(it))));
    }
}

#[test]
fn however_the_segments_are_cut_it_shows_the_same() {
    for shown in &SHOWN {
        let records = shown.capture().records;
        for size in [1, 2, 7, 48] {
            let pieces = records.iter().flat_map(|it| in_pieces(it, size));
            holds(shown, &format!("in pieces of {size}"), pieces);
        }
    }
}

/// Leaves out what opens each flow: the handshake, and the first bytes of either side.
fn from_the_middle(records: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut begun = std::collections::BTreeSet::new();
    let goes_on = |record: &&Vec<u8>| {
        let (from, to, flags) = ports(record);
        let place = Place::of(record);
        !place.is_tcp || flags & SYN == 0 && (!place.has_payload() || !begun.insert((from, to)))
    };
    records.iter().filter(goes_on).cloned().collect()
}

/// What is still told where the opening of each flow was missed. The rest is not named: Hazelcast's and SSH's
/// bytes, what is encrypted, bodies of HTTP.
const MIDWAY: [(&str, &[(&str, u64)]); 17] = [
    ("amqp", &[("amqp", 4)]),
    ("cassandra", &[("cassandra", 2)]),
    ("dns", &[("dns", 8)]),
    ("h2o", &[("unknown", 4)]),
    ("hazelcast", &[]),
    ("hdfs", &[("unknown", 1)]),
    ("jmx", &[("rmi", 13), ("tls", 1)]),
    ("kafka", &[("kafka", 3)]),
    ("krb5", &[("krb5", 3)]),
    // What asked for TLS was missed, the handshake was not.
    ("ldap", &[("ldap", 5), ("tls", 1)]),
    ("mqtt", &[("mqtt", 6)]),
    ("ntp", &[("ntp", 3)]),
    ("snmp", &[("snmp", 6)]),
    ("spark", &[("spark", 1)]),
    ("ssh", &[("unknown", 2)]),
    ("syslog", &[("syslog", 3)]),
    ("thrift", &[("thrift", 10)]),
];

#[test]
fn joined_midway_what_can_be_told_is_told() {
    for (shown, (name, expected)) in SHOWN.iter().zip(MIDWAY) {
        assert_eq!(shown.name, name);
        let gathered = shown.capture().of(from_the_middle(&shown.capture().records));
        assert_eq!(names(&gathered), expected.iter().copied().collect(), "{name}");
        let all = shown.evidence();
        for (kind, sum) in evidence(&gathered) {
            let most = all.get(kind).copied().unwrap_or_default();
            assert!(sum.flows <= most.flows && sum.count <= most.count, "{name}: {kind}");
        }
    }
}
