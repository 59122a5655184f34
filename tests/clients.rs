//! Recordings of real HTTP clients and servers: every credential counts as its sender logged it, and the same whatever
//! happened to the packets on their way into the capture.
//!
//! Beside each `captures/real/http-*.pcap` lies what its senders said they sent: a line a request with who, what,
//! and the finding that each credential of it is.

use std::collections::BTreeMap;
use std::fs;

use portreeve::inspect::Uninspected;
use portreeve::pipeline::Gathered;

use crate::support::{analyze, captures, evidence, gathered, number, of_type, own, root};

/// Captures, with flows by the name of their protocol.
const RECORDINGS: [(&str, &[(&str, u64)]); 5] = [
    ("http-curl", &[("http", 44), ("http2", 8), ("tls", 3)]),
    ("http-java", &[("http", 30), ("http2", 1), ("websocket", 1)]),
    ("http-load", &[("http", 8), ("http2", 13)]),
    ("http-node", &[("http", 11), ("http2", 1), ("websocket", 3)]),
    ("http-python", &[("http", 6), ("http2", 2), ("websocket", 2)]),
];

/// Every port below is a server's.
const EPHEMERAL_MIN: u16 = 32_768;

const FILE_HEADER_LEN: usize = 24;
const RECORD_HEADER_LEN: usize = 16;
const ETHERNET_LEN: usize = 14;
const SYN: u8 = 2;

type Counts = BTreeMap<String, u64>;

/// One recording: the file's header, its frames with their times, and what was sent.
struct Recording {
    name: &'static str,
    flows: &'static [(&'static str, u64)],
    frames: Vec<Frame>,
    sent: Counts,
}

/// One captured frame.
#[derive(Clone)]
struct Frame {
    time: [u8; 8],
    bytes: Vec<u8>,
    /// Bytes that the snapshot length cut off.
    cut_len: usize,
}

fn recordings() -> impl Iterator<Item = Recording> {
    RECORDINGS.iter().map(|(name, flows)| {
        let path = root().join(format!("captures/real/{name}.pcap"));
        let bytes = fs::read(path).expect("it is in the tree");
        let log = fs::read_to_string(root().join(format!("captures/real/{name}.log")));
        let mut sent = Counts::new();
        for line in log.expect("its log lies beside it").lines() {
            let kinds = line.split('\t').nth(2).expect("a line has three fields");
            for kind in kinds.split(',').filter(|kind| *kind != "-") {
                *sent.entry(kind.to_owned()).or_default() += 1;
            }
        }
        Recording { name, flows, frames: frames(&bytes[FILE_HEADER_LEN..]), sent }
    })
}

/// Reads the records that tcpdump writes on a little-endian machine.
fn frames(mut rest: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let len = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        let (record, behind) = rest.split_at(RECORD_HEADER_LEN + len);
        let mut bytes = record[RECORD_HEADER_LEN..].to_vec();
        // Short frames are padded.
        let ip = &bytes[ETHERNET_LEN..];
        let (at, more) = if ip[0] >> 4 == 4 { (2, 0) } else { (4, 40) };
        let ip_len = usize::from(u16::from_be_bytes([ip[at], ip[at + 1]])) + more;
        bytes.truncate(ETHERNET_LEN + ip_len);
        frames.push(Frame { time: record[..8].try_into().unwrap(), bytes, cut_len: 0 });
        rest = behind;
    }
    frames
}

impl Frame {
    fn ip_len(&self) -> usize {
        let ip = &self.bytes[ETHERNET_LEN..];
        if ip[0] >> 4 == 4 { usize::from(ip[0] & 15) * 4 } else { 40 }
    }

    fn tcp(&self) -> &[u8] {
        &self.bytes[ETHERNET_LEN + self.ip_len()..]
    }

    fn payload_at(&self) -> usize {
        ETHERNET_LEN + self.ip_len() + usize::from(self.tcp()[12] >> 4) * 4
    }

    fn payload(&self) -> &[u8] {
        &self.bytes[self.payload_at()..]
    }

    fn flags(&self) -> u8 {
        self.tcp()[13]
    }

    fn seq(&self) -> u32 {
        u32::from_be_bytes(self.tcp()[4..8].try_into().unwrap())
    }

    fn next_seq(&self) -> u32 {
        self.seq().wrapping_add(u32::try_from(self.payload().len()).unwrap())
    }

    /// Counts the tokens of look-alikes in bodies.
    fn decoys(&self) -> u64 {
        let payload = self.payload();
        let is_decoy = |word: &&[u8]| {
            word.starts_with(b"CANARY-") && word.windows(6).any(|it| it == b"-decoy")
        };
        payload.split(u8::is_ascii_whitespace).filter(is_decoy).count() as u64
    }

    /// Returns source and destination port.
    fn ports(&self) -> (u16, u16) {
        let tcp = self.tcp();
        (u16::from_be_bytes([tcp[0], tcp[1]]), u16::from_be_bytes([tcp[2], tcp[3]]))
    }

    fn is_clients(&self) -> bool {
        self.ports().1 < EPHEMERAL_MIN
    }

    /// Returns the ports of the client and of the server.
    fn connection(&self) -> (u16, u16) {
        let (from, to) = self.ports();
        if self.is_clients() { (from, to) } else { (to, from) }
    }

    /// Returns the same segment with a part of its payload.
    fn part(&self, from: usize, to: usize) -> Self {
        let at = self.payload_at();
        let mut bytes = self.bytes[..at].to_vec();
        bytes.extend_from_slice(&self.bytes[at + from..at + to]);
        let seq_at = ETHERNET_LEN + self.ip_len() + 4;
        let seq = u32::from_be_bytes(bytes[seq_at..seq_at + 4].try_into().unwrap());
        let from = u32::try_from(from).unwrap();
        bytes[seq_at..seq_at + 4].copy_from_slice(&seq.wrapping_add(from).to_be_bytes());
        if at + to < self.bytes.len() {
            // What ends the stream comes with its last byte.
            bytes[seq_at + 9] &= !1;
        }
        let mut frame = Self { bytes, ..self.clone() };
        frame.fit();
        frame
    }

    /// Cuts the payload into segments of so many bytes.
    fn pieces(&self, len: usize) -> Vec<Self> {
        let whole = self.payload().len();
        if whole == 0 {
            return vec![self.clone()];
        }
        (0..whole).step_by(len).map(|from| self.part(from, (from + len).min(whole))).collect()
    }

    /// Makes IP's length that of the frame.
    fn fit(&mut self) {
        let len = self.bytes.len() - ETHERNET_LEN;
        let is_v4 = self.bytes[ETHERNET_LEN] >> 4 == 4;
        let (at, len) = if is_v4 { (2, len) } else { (4, len - 40) };
        let len = u16::try_from(len).unwrap().to_be_bytes();
        self.bytes[ETHERNET_LEN + at..ETHERNET_LEN + at + 2].copy_from_slice(&len);
    }

    /// Puts bytes between the Ethernet addresses and what follows.
    fn tagged(&self, tags: &[u8]) -> Self {
        let mut bytes = self.bytes.clone();
        bytes.splice(12..12, tags.iter().copied());
        Self { bytes, ..self.clone() }
    }

    /// Turns IPv4 into IPv6.
    fn over_ipv6(&self) -> Self {
        let ip = &self.bytes[ETHERNET_LEN..];
        if ip[0] >> 4 == 6 {
            return self.clone();
        }
        let tcp = self.tcp();
        let len = u16::try_from(tcp.len()).unwrap().to_be_bytes();
        let mut bytes =
            [&self.bytes[..12], &[0x86, 0xdd, 0x60, 0, 0, 0, len[0], len[1], 6, 64]].concat();
        for at in [12, 16] {
            bytes.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            bytes.extend_from_slice(&ip[at..at + 4]);
        }
        bytes.extend_from_slice(tcp);
        Self { bytes, ..self.clone() }
    }

    /// Puts the frame into VXLAN over IPv4 (RFC 7348).
    fn over_vxlan(&self) -> Self {
        let udp_len = u16::try_from(16 + self.bytes.len()).unwrap();
        let (len, udp_len) = ((udp_len + 20).to_be_bytes(), udp_len.to_be_bytes());
        // Each end of the tunnel has its address.
        let (from, to) = if self.is_clients() { (1, 2) } else { (2, 1) };
        let head = [
            &[
                2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 8, 0, 0x45, 0, len[0], len[1], 0, 0, 0, 0,
                64, 17, 0, 0,
            ][..],
            &[10, 9, 0, from, 10, 9, 0, to, 0xc3, 0x50, 0x12, 0xb5, udp_len[0], udp_len[1], 0, 0],
            &[8, 0, 0, 0, 0, 0, 77, 0],
        ];
        Self { bytes: [&head.concat(), self.bytes.as_slice()].concat(), ..self.clone() }
    }

    /// Cuts the packet into fragments, the last one first; IPv4 only.
    fn fragments(&self, id: u16) -> Vec<Self> {
        let ip = &self.bytes[ETHERNET_LEN..];
        let body = &ip[self.ip_len()..];
        if ip[0] >> 4 != 4 || body.len() < 24 {
            return vec![self.clone()];
        }
        let cut = body.len() / 2 / 8 * 8;
        let fragment = |offset: usize, part: &[u8], more: bool| {
            let mut bytes = [&self.bytes[..ETHERNET_LEN + self.ip_len()], part].concat();
            bytes[ETHERNET_LEN + 4..ETHERNET_LEN + 6].copy_from_slice(&id.to_be_bytes());
            let field = u16::try_from(offset / 8).unwrap() | if more { 0x2000 } else { 0 };
            bytes[ETHERNET_LEN + 6..ETHERNET_LEN + 8].copy_from_slice(&field.to_be_bytes());
            let mut frame = Self { bytes, ..self.clone() };
            frame.fit();
            frame
        };
        vec![fragment(cut, &body[cut..], false), fragment(0, &body[..cut], true)]
    }

    /// Cuts the frame to a snapshot length.
    fn cut(&self, len: usize) -> Self {
        let kept = len.min(self.bytes.len());
        Self {
            cut_len: self.bytes.len() - kept,
            bytes: self.bytes[..kept].to_vec(),
            ..self.clone()
        }
    }
}

/// Reads frames as a capture of Ethernet.
fn read(frames: impl IntoIterator<Item = Frame>, workers: usize) -> Gathered {
    let mut capture = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1_u32] {
        capture.extend(word.to_le_bytes());
    }
    for frame in frames {
        capture.extend(frame.time);
        for len in [frame.bytes.len(), frame.bytes.len() + frame.cut_len] {
            capture.extend(u32::try_from(len).unwrap().to_le_bytes());
        }
        capture.extend(frame.bytes);
    }
    gathered(capture, workers)
}

fn counts(gathered: &Gathered) -> Counts {
    evidence(gathered).into_iter().map(|(kind, sum)| (kind.to_owned(), sum.count)).collect()
}

/// Counts flows with payload by the name of their protocol.
fn names(gathered: &Gathered) -> BTreeMap<&'static str, u64> {
    let mut names = BTreeMap::new();
    for shard in &gathered.shards {
        for (number, _) in shard.flows().filter(|(_, flow)| flow.has_payload()) {
            let protocol = shard.facts(number).and_then(|facts| facts.protocol);
            let name = protocol.map_or("unknown", portreeve::inspect::Protocol::name);
            *names.entry(name).or_default() += 1;
        }
    }
    names
}

/// Returns all reasons for which something was not looked into.
fn uninspected(gathered: &Gathered) -> Vec<&'static str> {
    let mut all = Uninspected::default();
    for shard in &gathered.shards {
        for facts in shard.flows().filter_map(|(number, _)| shard.facts(number)) {
            all.add(facts.uninspected);
        }
    }
    all.names().collect()
}

impl Recording {
    /// Proves that other frames of the same traffic show what was sent, and nothing else.
    fn shows_the_same(&self, what: &str, frames: &[Frame]) {
        for workers in [0, 2] {
            let gathered = read(frames.to_vec(), workers);
            assert_eq!(counts(&gathered), self.sent, "{}, {what}", self.name);
            assert_eq!(
                names(&gathered),
                self.flows.iter().copied().collect(),
                "{}, {what}",
                self.name
            );
            assert!(uninspected(&gathered).is_empty(), "{}, {what}", self.name);
        }
    }

    fn each(&self, change: impl Fn(&Frame) -> Frame) -> Vec<Frame> {
        self.frames.iter().map(change).collect()
    }

    fn many(&self, change: impl Fn(&Frame) -> Vec<Frame>) -> Vec<Frame> {
        self.frames.iter().flat_map(change).collect()
    }

    /// Returns the frames of each connection.
    fn connections(&self) -> BTreeMap<(u16, u16), Vec<Frame>> {
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for frame in &self.frames {
            all.entry(frame.connection()).or_default().push(frame.clone());
        }
        all
    }
}

#[test]
fn every_credential_counts_as_its_sender_logged_it() {
    for recording in recordings() {
        assert!(recording.sent["plaintext-bearer"] > 30, "{}", recording.name);
        recording.shows_the_same("as recorded", &recording.frames.clone());
    }
}

#[test]
fn out_of_order_and_repeated_it_counts_the_same() {
    for recording in recordings() {
        let mut swapped = recording.frames.clone();
        swapped.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
        recording.shows_the_same("neighbours swapped", &swapped);
        recording.shows_the_same("each twice", &recording.many(|it| vec![it.clone(), it.clone()]));
        // A mirror of both ports of a connection: the other copy comes behind the next frames.
        let mut mirrored = Vec::new();
        for (at, frame) in recording.frames.iter().enumerate() {
            mirrored.push(frame.clone());
            mirrored.extend(at.checked_sub(3).map(|early| recording.frames[early].clone()));
        }
        recording.shows_the_same("mirrored twice", &mirrored);
        let again = recording.many(|it| {
            let len = it.payload().len();
            let (one, two) = (it.part(0, len / 2), it.part(len / 3, len));
            if len > 2 { vec![one, it.clone(), two] } else { vec![it.clone()] }
        });
        recording.shows_the_same("sent again in overlapping parts", &again);
    }
}

#[test]
fn cut_into_other_segments_it_counts_the_same() {
    for recording in recordings() {
        for len in [1, 7, 100, 536] {
            if len == 1 && recording.frames.len() > 1000 {
                continue;
            }
            recording.shows_the_same(
                &format!("segments of {len} bytes"),
                &recording.many(|it| it.pieces(len)),
            );
        }
        let backward = recording.many(|it| {
            let mut pieces = it.pieces(100);
            pieces.reverse();
            pieces
        });
        recording.shows_the_same("segments backward", &backward);
        // What offload makes of segments that follow one another.
        let mut joined: Vec<Frame> = Vec::new();
        for frame in &recording.frames {
            if let Some(last) = joined.last_mut()
                && last.ports() == frame.ports()
                && last.next_seq() == frame.seq()
                && !last.payload().is_empty()
                && !frame.payload().is_empty()
                && last.bytes.len() < 20_000
            {
                last.bytes.extend_from_slice(frame.payload());
                last.fit();
                let flags_at = ETHERNET_LEN + last.ip_len() + 13;
                last.bytes[flags_at] |= frame.flags();
            } else {
                joined.push(frame.clone());
            }
        }
        assert!(joined.len() < recording.frames.len());
        recording.shows_the_same("segments joined", &joined);
    }
}

#[test]
fn in_vlans_tunnels_fragments_and_over_ipv6_it_counts_the_same() {
    for recording in recordings() {
        recording.shows_the_same("in a VLAN", &recording.each(|it| it.tagged(&[0x81, 0, 0, 7])));
        let tags = [0x88, 0xa8, 0, 7, 0x81, 0, 0, 9];
        recording.shows_the_same("in two VLANs", &recording.each(|it| it.tagged(&tags)));
        recording.shows_the_same("over IPv6", &recording.each(Frame::over_ipv6));
        recording.shows_the_same("in VXLAN", &recording.each(Frame::over_vxlan));
        let mut id = 0;
        let mut fragments = Vec::new();
        for frame in &recording.frames {
            id += 1;
            fragments.extend(frame.fragments(id));
        }
        recording.shows_the_same("in fragments", &fragments);
    }
}

#[test]
fn the_clients_direction_alone_counts_the_same() {
    for recording in recordings() {
        let clients = recording.frames.iter().filter(|it| it.is_clients()).cloned();
        let gathered = read(clients, 0);
        let mut sent = recording.sent.clone();
        sent.remove("token-issued-cleartext");
        assert_eq!(counts(&gathered), sent, "{}", recording.name);
        assert_eq!(
            names(&gathered),
            recording.flows.iter().copied().collect(),
            "{}",
            recording.name
        );
    }
}

#[test]
fn the_servers_direction_alone_presents_nothing() {
    for recording in recordings() {
        let servers = recording.frames.iter().filter(|it| !it.is_clients()).cloned();
        let mut sent = recording.sent.clone();
        sent.retain(|kind, _| kind == "token-issued-cleartext");
        assert_eq!(counts(&read(servers, 0)), sent, "{}", recording.name);
    }
}

#[test]
fn joined_behind_the_handshake_it_counts_the_same() {
    for recording in recordings() {
        let opens = |frame: &&Frame| frame.flags() & SYN != 0;
        let frames: Vec<_> = recording.frames.iter().filter(|it| !opens(it)).cloned().collect();
        recording.shows_the_same("without handshakes", &frames);
    }
}

/// Kinds that a request has in its head and that answers add nothing to.
fn bearers(gathered: &Gathered) -> u64 {
    counts(gathered).get("plaintext-bearer").copied().unwrap_or(0)
}

#[test]
fn what_begins_behind_the_place_where_a_connection_is_joined_counts() {
    let methods = ["GET ", "POST ", "PUT ", "HEAD "];
    let mut boundaries = 0;
    for recording in recordings() {
        for (ports, frames) in recording.connections() {
            let total = bearers(&read(frames.clone(), 0));
            let is_http1 = names(&read(frames.clone(), 0)).contains_key("http");
            let step = frames.len().div_ceil(24);
            let mut last = 0;
            for at in (0..frames.len()).step_by(step) {
                let what = format!("{} {ports:?} cut at {at}", recording.name);
                let before = bearers(&read(frames[..at].to_vec(), 0));
                let joined = read(frames[at..].to_vec(), 0);
                let behind = bearers(&joined);
                // Joined in a body, the look-alike in it cannot be told from a request.
                let decoys = frames[at..]
                    .iter()
                    .filter(|it| it.is_clients())
                    .map(Frame::decoys)
                    .sum::<u64>();
                assert!(
                    before >= last && before + behind <= total + decoys,
                    "{what}: {before}, {behind} of {total}"
                );
                last = before;
                let starts = |method: &&str| frames[at].payload().starts_with(method.as_bytes());
                if is_http1
                    && frames[at].is_clients()
                    && frames[at].decoys() == 0
                    && methods.iter().any(starts)
                {
                    boundaries += 1;
                    assert_eq!(before + behind, total, "{what}");
                }
            }
        }
    }
    assert!(boundaries > 50, "{boundaries}");
}

#[test]
fn what_is_missing_or_cut_is_told_where_it_may_hide_a_credential() {
    for recording in recordings() {
        for (ports, frames) in recording.connections() {
            let total = counts(&read(frames.clone(), 0));
            for (at, frame) in frames.iter().enumerate() {
                // What a bare acknowledgement alone tells of is not noticed.
                let goes_on = frames[at + 1..].iter().any(|it| it.ports() == frame.ports());
                if frame.payload().is_empty() || !goes_on {
                    continue;
                }
                let mut lost = frames.clone();
                lost.remove(at);
                let mut cut = frames.clone();
                cut[at] = frame.cut(frame.payload_at() + frame.payload().len() / 2);
                for (what, frames) in [("lost", lost), ("cut", cut)] {
                    let gathered = read(frames, 0);
                    let told = !uninspected(&gathered).is_empty();
                    assert!(
                        told || counts(&gathered) == total,
                        "{} {ports:?}, {at} {what}: {:?} of {total:?}",
                        recording.name,
                        counts(&gathered)
                    );
                }
            }
        }
        let short = read(recording.each(|it| it.cut(120)), 0);
        assert!(bearers(&short) < recording.sent["plaintext-bearer"], "{}", recording.name);
        assert!(uninspected(&short).contains(&"snaplen"), "{}", recording.name);
    }
}

/// Returns the alerts of a capture: port, kind, rule.
fn alerts(name: &str) -> Vec<(u64, String, String)> {
    let (_, records) = analyze(&root().join(format!("captures/real/{name}.pcap")));
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let alerts = of_type(&records, "alert");
    alerts
        .into_iter()
        .map(|it| {
            let finding = own(it, "finding");
            (number(&it["dest_port"]), text(&finding["kind"]), text(&finding["rule"]))
        })
        .collect()
}

#[test]
fn versions_and_certificates_of_real_tls_are_told() {
    let mut found = alerts("tls");
    found.sort();
    let expected = [
        (7711, "obsolete-tls", "wso2/obsolete-tls"),
        (7712, "obsolete-tls", "wso2/obsolete-tls"),
        (9443, "weak-certificate", "wso2/default-certificate"),
        (9444, "weak-certificate", "wso2/expired-certificate"),
        (9445, "weak-certificate", "wso2/self-signed-certificate"),
    ];
    assert_eq!(found, expected.map(|(port, kind, rule)| (port, kind.to_owned(), rule.to_owned())));
    let (_, records) = analyze(&root().join("captures/real/tls.pcap"));
    let mut asked = Counts::new();
    for flow in of_type(&records, "flow") {
        assert_eq!(flow["app_proto"], "tls");
        *asked.entry(own(flow, "tls")["client_certificate"].to_string()).or_default() += 1;
    }
    // TLS 1.3 encrypts it, a resumed session and a refused hello have none.
    let expected = [("false", 8), ("null", 3), ("true", 2)];
    assert_eq!(asked, expected.map(|(asked, count)| (asked.to_owned(), count)).into());
}

#[test]
fn tls_in_a_tunnel_is_none_on_the_proxys_port() {
    let found = alerts("http-curl");
    assert!(found.iter().all(|(_, kind, _)| kind != "tls-on-plain-port"), "{found:?}");
}

/// Captures whose point is where their segments are cut or what is missing.
const OF_SEGMENTS: [&str; 8] = [
    "conflicting-overlap",
    "hole-in-body",
    "hole-in-head",
    "joined-midway",
    "snaplen-in-token",
    "syn-data-sent-again",
    "syn-with-data",
    "answer-before-request",
];

#[test]
fn every_http_capture_counts_the_same_however_it_is_cut() {
    for (name, path) in captures() {
        let Some(short) = name.strip_prefix("http/").and_then(|it| it.strip_suffix(".pcap")) else {
            continue;
        };
        let bytes = fs::read(&path).unwrap();
        let whole = frames(&bytes[FILE_HEADER_LEN..]);
        let total = counts(&read(whole.clone(), 0));
        // Every beginning shows a part of it.
        let step = whole.len().div_ceil(60);
        for len in (0..whole.len()).step_by(step) {
            for (kind, count) in counts(&read(whole[..len].to_vec(), 0)) {
                assert!(count <= total[&kind], "{name}: {count} of {kind} in {len} frames");
            }
        }
        if OF_SEGMENTS.contains(&short) {
            continue;
        }
        let cut = |len: usize| whole.iter().flat_map(|it| it.pieces(len)).collect::<Vec<_>>();
        let twice: Vec<_> = whole.iter().flat_map(|it| [it.clone(), it.clone()]).collect();
        let tagged: Vec<_> = whole.iter().map(|it| it.tagged(&[0x81, 0, 0, 7])).collect();
        let in_ipv6: Vec<_> = whole.iter().map(Frame::over_ipv6).collect();
        for (what, frames) in [
            ("in single bytes", cut(1)),
            ("in threes", cut(3)),
            ("in segments of 50 bytes", cut(50)),
            ("twice", twice),
            ("in a VLAN", tagged),
            ("over IPv6", in_ipv6),
        ] {
            assert_eq!(counts(&read(frames, 0)), total, "{name}, {what}");
        }
    }
}
