//! First bytes → which protocol it is, and who began.
//!
//! Takes what each side of a connection began with; gives a verdict once one probe is sure. Ports only
//! weigh in where bytes alone are a weak sign. A probe that said no is not asked again.

use std::sync::LazyLock;

use super::{
    Probe, Protocol, Sender, amqp, cassandra, databridge, dns, hazelcast, hdfs, http1, http2,
    kafka, kerberos, ldap, look, mqtt, ntp, quic, rmi, snmp, spark, ssh, syslog, thrift, tls,
    websocket,
};
use crate::packet::Side;

/// First bytes of a side that are enough for every probe to make up its mind; more need not be kept.
pub const START_LEN_MAX: usize = 1024;

/// The beginning of one side's bytes, as far as they are known.
#[derive(Clone, Copy)]
pub struct Start<'a> {
    /// Contiguous bytes, from the first one of the stream or of a segment.
    pub bytes: &'a [u8],
    /// They are the stream's first: it was not joined midway.
    pub from_first: bool,
    /// What the other side began with; empty while it is silent or absent.
    pub other: &'a [u8],
    /// Port of this side, then of the other.
    pub ports: [u16; 2],
    /// Nothing more comes from either side.
    pub ended: bool,
}

/// What the probes say of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is this protocol.
    Confirmed {
        /// The initiator's protocol.
        protocol: Protocol,
        /// The side that began; `None` where both ends of the protocol send such bytes.
        initiator: Option<Side>,
    },
    /// More bytes may tell.
    Undecided,
    /// None of the protocols, on either side.
    Excluded,
}

/// The probes that may still say yes, by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prober {
    candidates: [u32; 2],
}

impl Default for Prober {
    fn default() -> Self {
        Self { candidates: [ALL; 2] }
    }
}

impl Prober {
    /// Tells whether no probe is left for one side: its bytes need not be kept.
    pub fn is_excluded(&self, side: Side) -> bool {
        self.candidates[side.index()] == 0
    }

    /// Forgets the verdicts on one side, to begin again at the start of another segment.
    pub fn restart(&mut self, side: Side) {
        self.candidates[side.index()] = ALL;
    }

    /// Asks the remaining probes after one side got its first or more bytes.
    ///
    /// A server that answers in its own protocol to what is none does not name the connection: what the
    /// responder's bytes show counts only while the other side's do not speak against it.
    pub fn probe(&mut self, side: Side, start: &Start<'_>) -> Outcome {
        let Some(first) = start.bytes.first() else { return self.undecided() };
        let mut left = self.candidates[side.index()] & BY_FIRST_BYTE[usize::from(*first)];
        let others = self.candidates[side.other().index()];
        let mut open = left;
        while open != 0 {
            let index = open.trailing_zeros();
            let bit = 1 << index;
            open &= !bit;
            let (protocol, probe) = PROBES[index as usize];
            match probe(start) {
                Probe::Undecided => {}
                Probe::Excluded => left &= !bit,
                Probe::Confirmed(sender) => {
                    let initiator = match sender {
                        Sender::Initiator => Some(side),
                        Sender::Responder => Some(side.other()),
                        Sender::Either => None,
                    };
                    if sender == Sender::Initiator || others & bit != 0 {
                        return Outcome::Confirmed { protocol, initiator };
                    }
                    left &= !bit;
                }
            }
        }
        self.candidates[side.index()] = left;
        self.undecided()
    }

    fn undecided(self) -> Outcome {
        if self.candidates == [0; 2] { Outcome::Excluded } else { Outcome::Undecided }
    }
}

/// One protocol's look at the first bytes.
type Look = fn(&Start<'_>) -> Probe;

/// Every probe, the surest signatures first: where two say yes, the first one is believed.
/// The two commonest stand first, so that most flows need no other; their signatures exclude all others.
const PROBES: [(Protocol, Look); 19] = [
    (Protocol::Tls, tls::probe),
    (Protocol::Http, http1::probe),
    (Protocol::Rmi, rmi::probe),
    (Protocol::Amqp, amqp::probe),
    (Protocol::Hazelcast, hazelcast::probe),
    (Protocol::Hdfs, hdfs::probe),
    (Protocol::Ssh, ssh::probe),
    (Protocol::Http2, http2::probe),
    (Protocol::Thrift, thrift::probe),
    (Protocol::Mqtt, mqtt::probe),
    (Protocol::Ldap, ldap::probe),
    (Protocol::Cassandra, cassandra::probe),
    (Protocol::Databridge, databridge::probe),
    (Protocol::Kerberos, kerberos::probe),
    (Protocol::Dns, dns::probe),
    (Protocol::Kafka, kafka::probe),
    (Protocol::Spark, spark::probe),
    (Protocol::Syslog, syslog::probe),
    (Protocol::WebSocket, websocket::probe),
];

/// One bit a probe.
const ALL: u32 = (1 << PROBES.len()) - 1;

/// The probes that a first byte does not exclude whatever comes behind it: most bytes leave a few, so that
/// bytes of something else cost little, packet by packet.
static BY_FIRST_BYTE: LazyLock<[u32; 256]> = LazyLock::new(|| {
    let mut table = [0; 256];
    for (byte, open) in (0..=255_u8).zip(&mut table) {
        for from_first in [false, true] {
            for ports in CONTEXTS {
                let start = Start { bytes: &[byte], from_first, other: &[], ports, ended: false };
                for (index, (_, probe)) in PROBES.iter().enumerate() {
                    *open |= u32::from(probe(&start) != Probe::Excluded) << index;
                }
            }
        }
    }
    table
});

/// Ports that a probe may weigh in: of a server, of its client, of MQTT and its client, of two clients.
const CONTEXTS: [[u16; 2]; 5] =
    [[80, 50_000], [50_000, 80], [1883, 50_000], [50_000, 1883], [50_000, 50_001]];

/// Compares with a signature that opens a stream.
pub(super) fn begins_with(bytes: &[u8], signature: &[u8], sender: Sender) -> Probe {
    if bytes.starts_with(signature) {
        Probe::Confirmed(sender)
    } else if signature.starts_with(bytes) {
        Probe::Undecided
    } else {
        Probe::Excluded
    }
}

/// One datagram to look at.
#[derive(Clone, Copy)]
pub struct Datagram<'a> {
    /// Its bytes, as far as they were captured.
    pub bytes: &'a [u8],
    /// How many there were on the wire.
    pub len: usize,
    /// Port of its sender, then of the other side.
    pub ports: [u16; 2],
}

/// One protocol's look at a datagram.
type Glance = fn(&Datagram<'_>) -> look::Look;

/// Every look at a datagram, the surest signatures first.
const DATAGRAMS: [(Protocol, Glance); 9] = [
    (Protocol::Snmp, snmp::datagram),
    (Protocol::Quic, |it| quic::datagram(it.bytes)),
    (Protocol::Kerberos, |it| kerberos::datagram(it.bytes, it.len, it.ports)),
    (Protocol::Ldap, |it| ldap::datagram(it.bytes, it.len)),
    (Protocol::Hazelcast, |it| hazelcast::datagram(it.bytes)),
    (Protocol::Thrift, |it| thrift::datagram(it.bytes)),
    (Protocol::Dns, |it| dns::datagram(it.bytes, it.len, it.ports)),
    (Protocol::Ntp, |it| ntp::datagram(it.bytes, it.len, it.ports)),
    (Protocol::Syslog, |it| syslog::datagram(it.bytes)),
];

/// Looks at one datagram: what it is can be told from its bytes alone, or not at all.
pub fn datagram(datagram: &Datagram<'_>) -> Option<(Protocol, Sender)> {
    DATAGRAMS
        .iter()
        .find_map(|(protocol, look)| look(datagram).ok().map(|sender| (*protocol, sender)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::inspect::testing::{CLIENT, SERVER, probe_ended};

    /// Ports of the catalogue and of what else is recognised: a hint that must not be enough.
    const PORTS: [u16; 24] = [
        22, 53, 88, 123, 161, 162, 389, 514, 1883, 4000, 5353, 5672, 7077, 7611, 8000, 8280, 9042,
        9092, 9611, 9999, 10389, 45_564, 50_010, 54_310,
    ];

    fn one_datagram(bytes: &[u8], ports: [u16; 2]) -> Option<(Protocol, Sender)> {
        datagram(&Datagram { bytes, len: bytes.len(), ports })
    }

    #[test]
    fn random_bytes_name_nothing_on_any_port() {
        // A generator of its own, so that every run sees the same (xorshift64*).
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut roll = move || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
        };
        for round in 0..20_000_usize {
            let len = usize::try_from(roll() % 96).unwrap();
            let mut bytes: Vec<u8> = (0..len).map(|_| roll().to_le_bytes()[0]).collect();
            if round % 2 == 0 {
                // Half of them begin with zeros, as lengths do.
                let zeros = len.min(3);
                bytes[..zeros].fill(0);
            }
            let port = PORTS[round % PORTS.len()];
            assert_eq!(one_datagram(&bytes, [50_000, port]), None, "{port}: {bytes:x?}");
            let outcome = probe_ended([port, 50_000], &[(CLIENT, bytes.clone())]);
            assert_eq!(outcome, Outcome::Undecided, "{port}: {bytes:x?}");
        }
    }

    #[test]
    fn words_of_scanners_and_repeated_bytes_name_nothing() {
        let words: [&[u8]; 12] = [
            b"\r\n\r\n",
            b"\x00",
            b"\n",
            b"help\r\n",
            b"\x01default\n",
            b"probe",
            b"hello world\n",
            b"HELO x\r\n",
            b"USER anonymous\r\n",
            b"{\"id\":1}",
            b"<xml/>",
            b"version\n",
        ];
        let repeated: Vec<Vec<u8>> = (0..=255_u8).map(|byte| vec![byte; 64]).collect();
        for bytes in words.into_iter().chain(repeated.iter().map(Vec::as_slice)) {
            for port in PORTS {
                assert_eq!(one_datagram(bytes, [50_000, port]), None, "{port}: {bytes:x?}");
                let outcome = probe_ended([port, 50_000], &[(CLIENT, bytes.to_vec())]);
                assert_eq!(outcome, Outcome::Undecided, "{port}: {bytes:x?}");
            }
        }
    }

    #[test]
    fn a_server_that_answers_nonsense_does_not_name_the_connection() {
        let nonsense: [&[u8]; 4] =
            [b"\xff\xfe\xfd nonsense", b"\r\n\r\n", b"\0\0\0\0\0\0\0\0", b"EHLO gw\r\n"];
        for (_, _, answer) in OPENINGS {
            for nonsense in nonsense {
                let talk = [(CLIENT, nonsense.to_vec()), (SERVER, answer.to_vec())];
                for port in PORTS {
                    let outcome = probe_ended([port, 50_000], &talk);
                    assert_eq!(outcome, Outcome::Undecided, "{nonsense:?}: {answer:?} on {port}");
                }
            }
        }
    }

    /// What clients begin with, and what servers answer, by protocol.
    const OPENINGS: [(Protocol, &[u8], &[u8]); 15] = [
        (
            Protocol::Tls,
            b"\x16\x03\x01\0\x2f\x01\0\0\x2b\x03\x03RRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRR\0\0\x02\x13\x01\x01\0\0\0",
            b"\x15\x03\x03\0\x02\x02\x46",
        ),
        (
            Protocol::Http,
            b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        ),
        (Protocol::Rmi, b"JRMI\0\x02\x4b", b"\x4e\0\x0810.0.0.9\0\0\xc3\x50"),
        (Protocol::Amqp, b"AMQP\0\0\x09\x01", b"AMQP\0\0\x09\x01"),
        (Protocol::Amqp, b"AMQP\x03\x01\0\0", b"AMQP\x03\x01\0\0"),
        (Protocol::Hazelcast, b"HZC\x04\0\x10\0\0", b"HZC\x04\0\x10\0\0"),
        (Protocol::Hdfs, b"hrpc\x09\0\xdf\0\0\0\x1b", b"\0\0\0\x10\x08\0"),
        (
            Protocol::Ssh,
            b"SSH-2.0-OpenSSH_9.2\r\n\0\0\x04\xfc\x06\x14",
            b"SSH-2.0-OpenSSH_9.2\r\n\0\0\x04\xfc\x06\x14",
        ),
        (
            Protocol::Http2,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
            b"\0\0\0\x04\0\0\0\0\0",
        ),
        (
            Protocol::Thrift,
            b"\x80\x01\0\x01\0\0\0\x07publish\0\0\0\x01\x0c\0\x01\0\0",
            b"\x80\x01\0\x03\0\0\0\x07publish\0\0\0\x01\x0b\0\x01\0\0\0\0\0",
        ),
        (
            Protocol::Mqtt,
            b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04abcd",
            b"\x20\x02\0\x01",
        ),
        (
            Protocol::Ldap,
            b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0",
            b"\x30\x0c\x02\x01\0\x78\x07\x0a\x01\x02\x04\0\x04\0",
        ),
        (
            Protocol::Cassandra,
            b"\x04\0\0\0\x05\0\0\0\0",
            b"\x84\0\0\0\0\0\0\0\x10\0\0\0\x0a\0\x0ainvalid x",
        ),
        (
            Protocol::Databridge,
            b"\0\0\0\0\x12\0\0\0\x05\0\0\0\x05adminadmin",
            b"\x01\0\0\0\x40\0\0\0\x02org.wso2.carbon.databridge.commons.exception.Authentication123no",
        ),
        (
            Protocol::Kafka,
            b"\0\0\0\x12\0\x12\0\0\0\0\0\x01\0\x08rdkafka1",
            b"\0\0\0\x0a\0\0\0\x01\0\x23\0\0\0\0",
        ),
    ];

    #[test]
    fn whatever_a_server_answers_the_client_names_the_connection() {
        for (protocol, opening, _) in OPENINGS {
            for (answered, _, answer) in OPENINGS {
                let talk = [(CLIENT, opening.to_vec()), (SERVER, answer.to_vec())];
                for port in PORTS {
                    let Outcome::Confirmed { protocol: named, initiator } =
                        probe_ended([port, 50_000], &talk)
                    else {
                        panic!("{protocol:?} answered by {answered:?} is not named");
                    };
                    assert_eq!(named, protocol, "answered by {answered:?} on {port}");
                    assert_ne!(initiator, Some(SERVER), "{protocol:?}, {answered:?}");
                }
            }
        }
    }

    /// Asks the probes that the table excludes, which must say the same.
    fn hold_excluded(start: &Start<'_>) {
        let open = BY_FIRST_BYTE[usize::from(start.bytes[0])];
        for (index, (protocol, probe)) in PROBES.iter().enumerate() {
            let agrees = open >> index & 1 == 1 || probe(start) == Probe::Excluded;
            assert!(agrees, "{protocol:?}: {:x?} to {:x?}", start.bytes, start.other);
        }
    }

    #[test]
    fn what_a_first_byte_excludes_its_probe_excludes_too() {
        let openings = OPENINGS.iter().flat_map(|(_, opening, answer)| [*opening, *answer]);
        let others: [&[u8]; 3] = [b"", OPENINGS[1].1, OPENINGS[14].1];
        for run in openings.chain([&b"\r\n\nSSH-2.0-x\r\n"[..], &[b'a'; 80], &[0; 80]]) {
            let mut bytes = run.to_vec();
            for first in 0..=255 {
                bytes[0] = first;
                for other in others {
                    for (from_first, ports) in [(false, [50_000, 1883]), (true, [53, 50_000])] {
                        let start =
                            Start { bytes: &bytes, from_first, other, ports, ended: from_first };
                        hold_excluded(&start);
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_a_panic(
            one in prop::collection::vec(any::<u8>(), 0..200),
            other in prop::collection::vec(any::<u8>(), 0..200),
            first in any::<u8>(),
            ports in any::<[u16; 2]>(),
        ) {
            for first in [first, 0, 0x30, 0x10, b'<'] {
                let mut bytes = vec![first];
                bytes.extend(&one);
                let _ = one_datagram(&bytes, ports);
                for (from_first, ended) in [(false, false), (true, true)] {
                    let (bytes, other) = (&bytes, &other);
                    hold_excluded(&Start { bytes, from_first, other, ports, ended });
                }
                let talk = [(CLIENT, bytes), (SERVER, other.clone())];
                let _ = probe_ended(ports, &talk);
            }
        }
    }
}
