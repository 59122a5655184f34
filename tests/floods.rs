//! Floods beside real connections, and forged segments inside them: memory stays below its limit, every
//! token of the real ones counts, and what had to go is told by the verdict.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use etherparse::PacketBuilder;
use serde_json::Value;

use crate::support::{command, imbalance, number, of_type, own, run, summary};

const SYN: u8 = 1;
const ACK: u8 = 2;
const FIN: u8 = 4;
const RST: u8 = 8;

/// The least limit that is a promise.
const LIMIT: u64 = 192 << 20;

const GATEWAY: [u8; 4] = [10, 0, 3, 10];

/// One end of a connection.
type End = ([u8; 4], u16);

/// A pcap file in the making.
struct Capture {
    bytes: Vec<u8>,
    frames: u64,
    /// Where the last frame's record begins.
    last: usize,
}

impl Capture {
    fn new() -> Self {
        let words = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1_u32];
        Self {
            bytes: words.iter().flat_map(|word| word.to_le_bytes()).collect(),
            frames: 0,
            last: 0,
        }
    }

    fn frame(&mut self, frame: &[u8]) {
        self.frames += 1;
        self.last = self.bytes.len();
        let micros = u32::try_from(self.frames * 20).unwrap();
        let len = u32::try_from(frame.len()).unwrap();
        for word in [1_795_425_300 + micros / 1_000_000, micros % 1_000_000, len, len] {
            self.bytes.extend_from_slice(&word.to_le_bytes());
        }
        self.bytes.extend_from_slice(frame);
    }

    /// Takes the last frame back.
    fn take_last(&mut self) -> Vec<u8> {
        let record = self.bytes.split_off(self.last);
        record[16..].to_vec()
    }

    fn tcp(&mut self, [from, to]: [End; 2], flags: u8, [seq, ack]: [u32; 2], payload: &[u8]) {
        let ip = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(from.0, to.0, 64);
        let mut head = ip.tcp(from.1, to.1, seq, 60_000);
        head = if flags & SYN == 0 { head } else { head.syn() };
        head = if flags & ACK == 0 { head } else { head.ack(ack) };
        head = if flags & FIN == 0 { head } else { head.fin() };
        head = if flags & RST == 0 { head } else { head.rst() };
        let mut frame = Vec::new();
        head.write(&mut frame, payload).unwrap();
        self.frame(&frame);
    }

    fn udp(&mut self, [from, to]: [End; 2], payload: &[u8]) {
        let ip = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(from.0, to.0, 64);
        let mut frame = Vec::new();
        ip.udp(from.1, to.1).write(&mut frame, payload).unwrap();
        self.frame(&frame);
    }

    /// Analyses it; the ledger balances, whatever else.
    fn analyze(&self, arguments: &[&str]) -> Vec<Value> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flood.pcap");
        fs::write(&path, &self.bytes).unwrap();
        analyze(&path, arguments)
    }
}

fn analyze(path: &Path, arguments: &[&str]) -> Vec<Value> {
    let path = path.to_str().unwrap();
    let ran = run([&["analyze", "--format=ndjson", path], arguments].concat());
    assert!(matches!(ran.code, 0 | 1 | 3), "{}", ran.err);
    let records = ran.records();
    assert_eq!(imbalance(summary(&records)), None);
    records
}

/// A real connection: a client of the gateway that presents a token with every request.
struct Client {
    ends: [End; 2],
    next: [u32; 2],
    requests: u64,
    /// Only what the client sends was captured.
    one_sided: bool,
}

impl Client {
    fn open(capture: &mut Capture, number: u8, one_sided: bool) -> Self {
        let ends = [([10, 9, 0, number], 40_000), (GATEWAY, 8280)];
        let mut client = Self { ends, next: [0xffff_ff00, 5000], requests: 0, one_sided };
        client.send(capture, 0, SYN, &[]);
        client.next[0] = client.next[0].wrapping_add(1);
        client.send(capture, 1, SYN | ACK, &[]);
        client.next[1] += 1;
        client.send(capture, 0, ACK, &[]);
        client
    }

    /// Sends from the client, 0, or from the server, 1.
    fn send(&mut self, capture: &mut Capture, from: usize, flags: u8, payload: &[u8]) {
        let numbers = [self.next[from], self.next[1 - from]];
        if from == 0 || !self.one_sided {
            capture.tcp([self.ends[from], self.ends[1 - from]], flags, numbers, payload);
        }
        self.next[from] = self.next[from].wrapping_add(u32::try_from(payload.len()).unwrap());
    }

    fn request(&mut self, capture: &mut Capture) {
        self.requests += 1;
        let token = format!("CANARY-{}-{}", self.ends[0].0[3], self.requests);
        let request =
            format!("GET /a HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\n\r\n");
        self.send(capture, 0, ACK, request.as_bytes());
        self.send(capture, 1, ACK, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
}

/// Returns how many tokens of the real clients were found.
fn tokens(records: &[Value]) -> u64 {
    let of_client = |alert: &&Value| {
        own(alert, "finding")["kind"] == "plaintext-bearer"
            && alert["src_ip"].as_str().is_some_and(|address| address.starts_with("10.9.0."))
    };
    let alerts = of_type(records, "alert").into_iter().filter(of_client);
    alerts.map(|alert| number(&own(alert, "finding")["count"])).sum()
}

/// A flood of some frames, of which the `n`-th is made here.
type Flood<'a> = &'a dyn Fn(&mut Capture, u32);

fn client_of(n: u32) -> End {
    let [_, a, b, c] = n.to_be_bytes();
    ([11, a, b, c], 1024)
}

/// Sends a flood while clients go on; proves what holds of every flood, and returns the verdict's reasons.
fn floods(what: &str, frames: u32, flood: Flood<'_>) -> Vec<String> {
    let mut capture = Capture::new();
    let mut clients: Vec<Client> = (1..=5).map(|n| Client::open(&mut capture, n, false)).collect();
    for n in 0..frames {
        if n % (frames / 4) == 0 {
            for client in &mut clients {
                client.request(&mut capture);
            }
        }
        flood(&mut capture, n);
    }
    for client in &mut clients {
        client.request(&mut capture);
    }
    let records = capture.analyze(&["--memory-limit=192M", "--workers=2"]);
    let summary = summary(&records);
    let presented: u64 = clients.iter().map(|client| client.requests).sum();
    assert_eq!(tokens(&records), presented, "{what}");
    let peak = number(&own(summary, "run")["peak_memory_bytes"]);
    assert!(peak > 0 && peak < LIMIT, "{what}: {peak} bytes of memory");
    let ledger = &own(summary, "ledger")["total"];
    assert_eq!(number(&ledger["received"]), capture.frames, "{what}");
    let verdict = own(summary, "verdict");
    let reasons = verdict["reasons"].as_array().unwrap().iter();
    let reasons: Vec<String> =
        reasons.map(|reason| reason["reason"].as_str().unwrap().to_owned()).collect();
    let evicted = number(&ledger["evicted"]) + number(&ledger["uninspected"]["memory"]);
    let undecided = reasons.iter().any(|reason| reason == "evicted");
    assert!(evicted > 0 || !undecided, "{what}: {verdict}");
    reasons
}

#[test]
fn half_requests_fill_no_memory_and_hide_no_token() {
    let reasons = floods("half requests", 24_000, &|capture, n| {
        let request = format!("GET /{n} HTTP/1.1\r\nHost: gw\r\nX-Pad: {}", "x".repeat(400));
        capture.tcp([client_of(n), (GATEWAY, 8280)], ACK, [1, 1], request.as_bytes());
    });
    assert!(reasons.contains(&"evicted".to_owned()), "they were thrown out undecided: {reasons:?}");
}

#[test]
fn unanswered_openings_are_no_loss() {
    let reasons = floods("openings", 60_000, &|capture, n| {
        capture.tcp([client_of(n), (GATEWAY, 8280)], SYN, [n, 0], &[]);
    });
    assert!(reasons.is_empty(), "{reasons:?}");
}

#[test]
fn tables_of_http2_fill_no_memory_and_hide_no_token() {
    // A table of 64 KiB, then fields of two bytes that each take an entry of it.
    let mut block = vec![0x3f, 0xe1, 0xff, 0x03];
    block.extend([0x44, 0x00].repeat(680));
    let len = u8::try_from(block.len() >> 8).unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    bytes.extend([0, len, u8::try_from(block.len() & 0xff).unwrap(), 1, 4, 0, 0, 0, 1]);
    bytes.extend(block);
    let reasons = floods("tables", 3_000, &|capture, n| {
        capture.tcp([client_of(n), (GATEWAY, 8280)], SYN, [0, 0], &[]);
        capture.tcp([client_of(n), (GATEWAY, 8280)], ACK, [1, 1], &bytes);
    });
    assert!(reasons.contains(&"evicted".to_owned()), "{reasons:?}");
}

#[test]
fn segments_behind_holes_fill_no_memory_and_hide_no_token() {
    floods("holes", 40_000, &|capture, n| {
        // Twenty segments of a byte each behind a hole, in each connection.
        let ends = [client_of(n / 20), (GATEWAY, 8280)];
        if n % 20 == 0 {
            capture.tcp(ends, SYN, [0, 0], &[]);
        }
        capture.tcp(ends, ACK, [100 + n % 20 * 2, 1], b"x");
    });
}

#[test]
fn many_alerts_fill_no_memory_and_each_counts() {
    let mut capture = Capture::new();
    for n in 0..6_000 {
        let secret = format!("{n:0>300}");
        let request = format!(
            "GET /{secret} HTTP/1.1\r\nHost: {secret}\r\nUser-Agent: {secret}\r\napikey: {n}\r\n\
             Authorization: Bearer t{n}\r\nInternal-Key: {n}\r\nCookie: JSESSIONID={n}\r\n\r\n"
        );
        capture.tcp([client_of(n), (GATEWAY, 8280)], ACK, [1, 1], request.as_bytes());
    }
    let records = capture.analyze(&["--memory-limit=192M"]);
    let summary = summary(&records);
    let peak = number(&own(summary, "run")["peak_memory_bytes"]);
    assert!(peak < LIMIT, "{peak} bytes of memory");
    for kind in ["plaintext-bearer", "api-key-cleartext", "internal-key-cleartext"] {
        let alerts = of_type(&records, "alert").into_iter();
        let count = alerts.filter(|alert| own(alert, "finding")["kind"] == kind).count();
        assert_eq!(count, 6_000, "{kind}");
    }
}

/// Runs the binary; returns its exit code, what it said, and the most memory that it took, as seen every few
/// milliseconds: the kernel's own peak, also of what comes after the report.
#[cfg(target_os = "linux")]
fn peak_of(arguments: &[&str]) -> (i32, String, u64) {
    let mut child = command()
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().expect("it can be waited for").is_none() {
        let told = fs::read_to_string(&status).unwrap_or_default();
        let line = told.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) << 10);
        std::thread::sleep(Duration::from_millis(5));
    }
    let out = child.wait_with_output().expect("it ended");
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stderr).into_owned(), peak)
}

#[cfg(target_os = "linux")]
#[test]
fn evidence_of_many_flows_keeps_to_the_limit() {
    let mut capture = Capture::new();
    for n in 0..150_000 {
        let request =
            format!("GET /{n} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer t{n}\r\n\r\n");
        capture.tcp([client_of(n), (GATEWAY, 8280)], ACK, [1, 1], request.as_bytes());
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, evidence) =
        (folder.path().join("flood.pcap"), folder.path().join("evidence.pcapng"));
    fs::write(&path, &capture.bytes).unwrap();
    let [path, copy] = [&path, &evidence].map(|path| path.to_str().unwrap());
    let copy = format!("--evidence={copy}");
    let (code, said, peak) = peak_of(&["analyze", "--memory-limit=192M", &copy, path]);
    assert_eq!(code, 1, "{said}");
    assert!(peak > 0 && peak < LIMIT, "{peak} bytes of memory");
    // Each flow is in it, overwritten or not.
    let len = fs::metadata(evidence).unwrap().len();
    assert!(len > capture.bytes.len() as u64, "{len} bytes of evidence; {said}");
}

#[test]
fn exchanges_that_nobody_knows_are_thrown_out_before_connections() {
    let reasons = floods("datagrams", 250_000, &|capture, n| {
        capture.udp([client_of(n), (GATEWAY, 12_345)], b"nobody knows what this is");
    });
    assert!(reasons.contains(&"evicted".to_owned()), "{reasons:?}");
}

#[test]
fn a_flood_of_fragments_hides_nothing_in_silence() {
    let mut capture = Capture::new();
    let mut client = Client::open(&mut capture, 1, true);
    client.request(&mut capture);
    let whole = capture.take_last();
    // The request comes in two fragments, and a flood of the first ones of others in between.
    let fragment = |id: u16, from: usize, to: usize, more: bool, source: u8| {
        let payload = &whole[34..];
        let mut frame = whole[..34].to_vec();
        let len = u16::try_from(20 + to - from).unwrap();
        frame[16..18].copy_from_slice(&len.to_be_bytes());
        frame[18..20].copy_from_slice(&id.to_be_bytes());
        let place = u16::try_from(from / 8).unwrap() | u16::from(more) << 13;
        frame[20..22].copy_from_slice(&place.to_be_bytes());
        frame[27] ^= source;
        frame.extend(&payload[from..to]);
        frame
    };
    let len = whole.len() - 34;
    capture.frame(&fragment(7, 0, 40, true, 0));
    for n in 0..20_000_u32 {
        let [.., source, high, low] = n.to_be_bytes();
        capture.frame(&fragment(u16::from_be_bytes([high, low]), 0, 40, true, source | 0x80));
    }
    capture.frame(&fragment(7, 40, len, false, 0));
    let records = capture.analyze(&[]);
    assert_eq!(tokens(&records), 0);
    let verdict = &own(summary(&records), "verdict");
    assert_eq!(verdict["result"], "inconclusive", "{verdict}");
    assert_eq!(verdict["reasons"][0]["reason"], "evicted", "{verdict}");
}

/// A forged segment: who sends it, its flags, and how far from the true ones its numbers are.
type Forged = (usize, u8, [u32; 2]);

/// Half of all numbers.
const FAR: u32 = 1 << 31;

/// What a forger may send into a connection.
const FORGERIES: [(&str, &[Forged]); 17] = [
    ("an opening", &[(0, SYN, [7777, 0])]),
    ("an opening behind", &[(0, SYN, [0xffff_0000, 0])]),
    ("the other end's opening", &[(1, SYN, [99_999, 0])]),
    ("an answer to no opening", &[(1, SYN | ACK, [70_000, 0])]),
    ("an answer with other numbers", &[(1, SYN | ACK, [70_000, 0x1234_5678])]),
    ("an opening and its answer", &[(0, SYN, [FAR, 0]), (1, SYN | ACK, [7, FAR + 1])]),
    (
        "a whole handshake",
        &[(0, SYN, [FAR, 0]), (1, SYN | ACK, [7, FAR + 1]), (0, ACK, [FAR + 1, 8])],
    ),
    (
        "two handshakes",
        &[
            (0, SYN, [FAR, 0]),
            (1, SYN | ACK, [7, FAR + 1]),
            (0, SYN, [FAR + 50_000, 0]),
            (1, SYN | ACK, [1 << 20, FAR + 50_001]),
        ],
    ),
    ("a reset in place", &[(0, RST, [0, 0]), (1, RST | ACK, [0, 0])]),
    ("a reset near by", &[(0, RST, [1000, 0]), (1, RST, [0xffff_f000, 0])]),
    ("a reset far away", &[(0, RST, [FAR, 0]), (1, RST | ACK, [1 << 28, 1 << 30])]),
    ("a reset and an opening", &[(0, RST, [0, 0]), (0, SYN, [1 << 24, 0])]),
    ("an end in place", &[(0, FIN | ACK, [0, 0])]),
    ("the server's end in place", &[(1, FIN | ACK, [0, 0])]),
    ("an end ahead", &[(0, FIN | ACK, [146, 0]), (1, FIN | ACK, [300_000, 0])]),
    ("an end behind", &[(0, FIN | ACK, [0xffff_fff0, 0]), (1, FIN | ACK, [0xff00_0000, 0])]),
    ("an end far away", &[(0, FIN | ACK, [FAR - 5, 1 << 29]), (1, FIN | ACK, [1 << 27, 9])]),
];

#[test]
fn forged_segments_do_not_blind_the_inspection() {
    for one_sided in [false, true] {
        for (what, forged) in FORGERIES {
            let mut capture = Capture::new();
            let mut client = Client::open(&mut capture, 1, one_sided);
            for _ in 0..4 {
                client.request(&mut capture);
                for &(from, flags, away) in forged {
                    let (seq, ack) = (client.next[from], client.next[1 - from]);
                    let numbers = [seq.wrapping_add(away[0]), ack.wrapping_add(away[1])];
                    let ends = [client.ends[from], client.ends[1 - from]];
                    capture.tcp(ends, flags, numbers, &[]);
                }
            }
            client.request(&mut capture);
            let records = capture.analyze(&[]);
            assert_eq!(tokens(&records), 5, "{what}, one-sided: {one_sided}");
        }
    }
}

#[test]
fn a_storm_of_forged_segments_does_not_blind_the_inspection() {
    let mut capture = Capture::new();
    let mut clients: Vec<Client> = (1..=3).map(|n| Client::open(&mut capture, n, false)).collect();
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        u32::try_from(random >> 32).unwrap()
    };
    let flags = [SYN, RST, RST | ACK, FIN | ACK, SYN | ACK];
    for _ in 0..6 {
        for client in &mut clients {
            client.request(&mut capture);
        }
        for _ in 0..5_000 {
            let client = &clients[next() as usize % clients.len()];
            let from = next() as usize % 2;
            let ends = [client.ends[from], client.ends[1 - from]];
            capture.tcp(ends, flags[next() as usize % flags.len()], [next(), next()], &[]);
        }
    }
    for client in &mut clients {
        client.request(&mut capture);
    }
    let records = capture.analyze(&[]);
    assert_eq!(tokens(&records), 21);
}

#[test]
fn hosts_beyond_the_limit_are_told() {
    const HOSTS: u32 = (1 << 14) + 5;
    let mut capture = Capture::new();
    for n in 0..HOSTS {
        let ends = [client_of(n), (client_of(n).0, 8280)];
        capture.tcp(ends, SYN, [100, 0], &[]);
        capture.tcp([ends[1], ends[0]], SYN | ACK, [500, 101], &[]);
    }
    let records = capture.analyze(&[]);
    let warnings = own(summary(&records), "warnings").to_string();
    assert!(warnings.contains("5 hosts beyond the limit"), "{warnings}");
}
