//! Text that an attacker chooses: whatever stands in names, paths, certificates, interfaces and file names,
//! no output lets it move a cursor, end a string or become a tag, and every format reads back.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use etherparse::PacketBuilder;
use portreeve::error::is_unprintable;
use serde_json::Value;

use crate::support::{Ran, command};

/// What is tried in every place: ANSI, C1, bell, quotes, markup, ends of sections, hidden and turning
/// characters, and bytes that are no UTF-8. Behind each stands a letter, so that none is trimmed.
const PAYLOADS: [&[u8]; 12] = [
    b"\x1b[31;1mred\x1b[0m",
    b"\x1b]0;title\x07.",
    b"\xc2\x9b31m.",
    b"\x9b31m.",
    b"\xff\xfe\xc3\x28.",
    b"\"'`\\.",
    b"\"},{\"event_type\":\"alert\"}",
    b"<b>&amp;]]>--><!--.",
    b"\xe2\x80\xae\xe2\x81\xa6\xe2\x80\x8b\xef\xbb\xbf.",
    b"\xe2\x80\xa8\xe2\x80\xa9\xc2\x85\xef\xbf\xbe.",
    b"${jndi:ldap://a/b}%s%n{}{{.}}",
    b"\x7f\x08\x08\x0b\x0c\t.",
];

/// The client and the server of every conversation.
const ENDS: [[u8; 4]; 2] = [[10, 0, 0, 7], [10, 0, 0, 8]];

/// Frames of a capture; made one conversation after the other.
#[derive(Default)]
struct Frames {
    frames: Vec<Vec<u8>>,
    client_port: u16,
}

impl Frames {
    /// Adds a connection: a handshake, then what each end says in turn, the client first.
    fn connection(&mut self, port: u16, talk: &[&[u8]]) {
        self.client_port += 1;
        let ports = [40_000 + self.client_port, port];
        let mut next = [1000_u32, 5000];
        self.segment(ports, 0, next, Some(false), &[]);
        next[0] += 1;
        self.segment(ports, 1, next, Some(true), &[]);
        next[1] += 1;
        for (turn, bytes) in talk.iter().enumerate() {
            for piece in bytes.chunks(1400) {
                self.segment(ports, turn % 2, next, None, piece);
                next[turn % 2] += u32::try_from(piece.len()).unwrap();
            }
        }
    }

    /// Adds a segment; `syn` says whether it opens, and whether it answers an opening.
    fn segment(
        &mut self,
        ports: [u16; 2],
        from: usize,
        next: [u32; 2],
        syn: Option<bool>,
        payload: &[u8],
    ) {
        let to = 1 - from;
        let head = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(ENDS[from], ENDS[to], 64).tcp(
            ports[from],
            ports[to],
            next[from],
            60_000,
        );
        let head = if syn.is_some() { head.syn() } else { head };
        let head = if syn == Some(false) { head } else { head.ack(next[to]) };
        let mut frame = Vec::new();
        head.write(&mut frame, payload).unwrap();
        self.frames.push(frame);
    }

    /// Writes them as pcapng, seen at an interface of this name and with a comment each.
    fn write(&self, path: &Path, interface: &[u8]) {
        let mut file = block(0x0a0d_0d0a, &{
            let mut body = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
            body.extend([1, 0, 0, 0]);
            body.extend([0xff; 8]);
            body
        });
        let mut body = vec![1, 0, 0, 0, 0, 0, 4, 0];
        body.extend(option(2, interface));
        body.extend(option(3, interface));
        body.extend([0; 4]);
        file.extend(block(1, &body));
        for (number, frame) in (0_u64..).zip(&self.frames) {
            // 2026-11-23 09:15:00 UTC in microseconds.
            let time = 1_795_425_300_000_000 + number * 1000;
            let len = u32::try_from(frame.len()).unwrap();
            let high = u32::try_from(time >> 32).unwrap();
            let low = u32::try_from(time & 0xffff_ffff).unwrap();
            let mut body = Vec::new();
            for field in [0, high, low, len, len] {
                body.extend(field.to_le_bytes());
            }
            body.extend(padded(frame));
            body.extend(option(1, interface));
            body.extend([0; 4]);
            file.extend(block(6, &body));
        }
        fs::write(path, file).unwrap();
    }
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(4), 0);
    padded
}

/// Returns an option of pcapng (draft-ietf-opsawg-pcapng §3.5).
fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).unwrap();
    [&code.to_le_bytes()[..], &len.to_le_bytes(), &padded(value)].concat()
}

/// Returns a block of pcapng (draft-ietf-opsawg-pcapng §3.1).
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 12).unwrap().to_le_bytes();
    [&kind.to_le_bytes()[..], &len, body, &len].concat()
}

/// Returns bytes behind their length of so many bytes.
fn counted(len_bytes: usize, bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&len[4 - len_bytes..], bytes].concat()
}

/// Returns a value of DER.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).unwrap().to_be_bytes();
    let head =
        if content.len() < 128 { vec![tag, len[1]] } else { vec![tag, 0x82, len[0], len[1]] };
    [&head[..], content].concat()
}

/// Returns an expired certificate of a subject and an issuer (RFC 5280 §4.1).
fn certificate(subject: &[u8], issuer: &[u8]) -> Vec<u8> {
    let name = |value: &[u8]| {
        let attribute = [der(6, &[0x55, 4, 3]), der(12, value)].concat();
        der(0x30, &der(0x31, &der(0x30, &attribute)))
    };
    let rsa = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1];
    let algorithm =
        |last: u8| der(0x30, &[der(6, &[&rsa[..], &[last]].concat()), der(5, &[])].concat());
    let validity = [der(23, b"200101000000Z"), der(23, b"210101000000Z")].concat();
    let key = [algorithm(1), der(3, &[0, 0x30, 6, 2, 1, 3, 2, 1, 3])].concat();
    let body = [
        der(0xa0, &der(2, &[2])),
        der(2, &[7]),
        algorithm(11),
        name(issuer),
        der(0x30, &validity),
        name(subject),
        der(0x30, &key),
    ]
    .concat();
    der(0x30, &[der(0x30, &body), algorithm(11), der(3, &[0, 1, 2, 3])].concat())
}

fn record(kind: u8, message: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &counted(2, &[&[kind][..], &counted(3, message)].concat())].concat()
}

/// Returns what both ends say before TLS 1.0 encrypts (RFC 2246 §7.4, RFC 6066 §3).
fn handshake(name: &[u8], subject: &[u8]) -> [Vec<u8>; 2] {
    let sni = counted(2, &[&[0][..], &counted(2, name)].concat());
    let alpn = counted(2, &counted(1, name));
    let extensions = [&[0, 0][..], &counted(2, &sni), &[0, 16], &counted(2, &alpn)].concat();
    let random = [7; 32];
    let client =
        [&[3, 3][..], &random, &[0], &counted(2, &[0, 0x2f]), &[1, 0], &counted(2, &extensions)];
    let server = [&[3, 1][..], &random, &[0, 0, 0x2f, 0]].concat();
    let chain = counted(3, &counted(3, &certificate(subject, b"issuer")));
    [
        record(1, &client.concat()),
        [record(2, &server), record(11, &chain), record(14, &[])].concat(),
    ]
}

/// Returns a token whose issuer and algorithm are what they should not be.
fn token(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload);
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(serde_json::json!({ "alg": format!("none{text}"), "typ": "JWT" }));
    let body = part(serde_json::json!({ "iss": format!("ISS-{text}"), "exp": 1 }));
    format!("{head}.{body}.CANARY-c2ln")
}

/// Makes a capture with one payload in every place.
fn capture(payload: &[u8], folder: &Path) -> PathBuf {
    let named = |name: &str| [name.as_bytes(), payload].concat();
    let mut frames = Frames::default();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let request = [
        &b"GET /PATH-"[..],
        &payload.split(|byte| *byte == b' ').collect::<Vec<_>>().concat(),
        b" HTTP/1.1\r\nHost: HOST-",
        payload,
        b"\r\nUser-Agent: AGENT-",
        payload,
        b"\r\nX-Forwarded-For: XFF-",
        payload,
        b"\r\nAuthorization: Bearer ",
        token(payload).as_bytes(),
        b"\r\n\r\n",
    ]
    .concat();
    frames.connection(8280, &[&request, answer]);
    let user = base64::engine::general_purpose::STANDARD
        .encode([&named("USER-")[..], b":canary-pw-1"].concat());
    let login = format!("GET /services HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {user}\r\n\r\n");
    frames.connection(9763, &[login.as_bytes(), answer]);
    let [client, server] = handshake(&named("SNI-"), &named("SUBJECT-"));
    frames.connection(8243, &[&client, &server]);
    let mqtt = [
        &counted(2, b"MQTT")[..],
        &[4, 0xc2, 0, 60],
        &counted(2, b"id"),
        &counted(2, &named("MQTT-")),
        &counted(2, b"canary-pw-2"),
    ]
    .concat();
    frames.connection(1883, &[&[&[0x10][..], &counted(1, &mqtt)].concat(), &[0x20, 2, 0, 0]]);
    let mut name = named("FILE-");
    name.retain(|byte| *byte != b'/' && *byte != 0);
    name.extend(b".pcapng");
    let path = folder.join(OsString::from_vec(name));
    frames.write(&path, &named("IF-"));
    path
}

fn analyze(format: &str, path: &Path, evidence: Option<&Path>) -> Ran {
    let mut command = command();
    command.args(["analyze", "--show-users", "--format", format]).arg(path);
    if let Some(evidence) = evidence {
        command.arg("--evidence").arg(evidence);
    }
    let output = command.output().unwrap();
    let err = String::from_utf8(output.stderr).expect("messages are UTF-8");
    Ran { code: output.status.code().unwrap(), out: output.stdout, err }
}

/// Proves that text can go to a terminal.
fn is_plain(text: &str, what: &str) {
    let bad = text.chars().find(|c| *c != '\n' && is_unprintable(*c));
    assert_eq!(bad, None, "{what}: {text:?}");
}

/// Returns every string of a value.
fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(strings).collect(),
        Value::Object(fields) => fields.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn no_text_of_an_attacker_does_anything_in_any_format() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen: Vec<&str> = Vec::new();
    let places = ["PATH-", "HOST-", "AGENT-", "XFF-", "USER-", "SNI-", "SUBJECT-", "MQTT-", "ISS-"];
    for payload in PAYLOADS {
        let what = payload.escape_ascii().to_string();
        let path = capture(payload, folder.path());
        let text = analyze("text", &path, None);
        assert_eq!(text.code, 1, "{what}: {}", text.err);
        is_plain(text.text(), &what);
        is_plain(&text.err, &what);

        let lines = analyze("ndjson", &path, None);
        is_plain(lines.text(), &what);
        let records = lines.records();
        // What a payload puts between the lines would be a record more.
        assert!(records.iter().all(|record| record["portreeve"].is_object()), "{what}");
        let said: Vec<&str> = records.iter().flat_map(strings).collect();
        for place in places.into_iter().chain(["FILE-", "IF-"]) {
            let whole = format!("{place}{}", String::from_utf8_lossy(payload));
            // Cut to what may stand there, or whole: what was on the wire comes back.
            if said.iter().any(|text| text.contains(&whole)) && !seen.contains(&place) {
                seen.push(place);
            }
        }

        let sarif = analyze("sarif", &path, None);
        is_plain(sarif.text(), &what);
        let log: Value = serde_json::from_str(sarif.text()).expect("SARIF is JSON");
        let results = log["runs"][0]["results"].as_array().unwrap();
        let alerts = records.iter().filter(|record| record["event_type"] == "alert").count();
        assert_eq!(results.len(), alerts, "{what}");
        for result in results {
            is_plain(result["message"]["text"].as_str().unwrap(), &what);
        }

        let junit = analyze("junit", &path, None);
        is_plain(junit.text(), &what);
        let tree = roxmltree::Document::parse(junit.text()).expect("JUnit is XML");
        let names = [
            "testsuites",
            "testsuite",
            "testcase",
            "failure",
            "skipped",
            "system-err",
            "system-out",
            "properties",
            "property",
        ];
        for node in tree.descendants().filter(roxmltree::Node::is_element) {
            assert!(names.contains(&node.tag_name().name()), "{what}: {:?}", node.tag_name());
        }
    }
    for place in places.into_iter().chain(["FILE-", "IF-"]) {
        assert!(seen.contains(&place), "{place} is in no report");
    }
}

#[test]
fn evidence_of_hostile_captures_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    for payload in PAYLOADS {
        let what = payload.escape_ascii().to_string();
        let path = capture(payload, folder.path());
        let evidence = folder.path().join("evidence.pcapng");
        let ran = analyze("text", &path, Some(&evidence));
        assert_eq!(ran.code, 1, "{what}: {}", ran.err);
        let again = analyze("ndjson", &evidence, None);
        assert!(matches!(again.code, 0 | 1), "{what}: {}", again.err);
        is_plain(again.text(), &what);
        is_plain(&again.err, &what);
        let ran = command().arg("scrub").arg(&path).arg(&evidence).output().unwrap();
        assert_eq!(ran.status.code(), Some(0), "{what}");
        is_plain(std::str::from_utf8(&ran.stdout).unwrap(), &what);
        is_plain(std::str::from_utf8(&ran.stderr).unwrap(), &what);
    }
}

#[test]
fn a_hostile_name_in_a_message_stays_in_its_line() {
    let folder = tempfile::tempdir().unwrap();
    for payload in PAYLOADS {
        let mut name = payload.to_vec();
        name.retain(|byte| *byte != b'/');
        name.push(b'\n');
        let path = folder.path().join(OsString::from_vec(name));
        fs::write(&path, b"\xd4\xc3\xb2\xa1 no capture, whatever it begins with").unwrap();
        for arguments in [
            vec![OsString::from("analyze"), path.clone().into()],
            vec!["analyze".into(), "--site".into(), path.clone().into(), "x".into()],
            vec!["analyze".into(), "--catalog".into(), path.clone().into(), "x".into()],
            vec!["policy".into(), "check".into(), path.clone().into()],
            vec!["catalog".into(), "check".into(), path.clone().into()],
            vec!["catalog".into(), "import".into(), path.clone().into()],
            vec!["scrub".into(), path.clone().into(), "/dev/null".into()],
        ] {
            let output = command().args(&arguments).output().unwrap();
            assert_ne!(output.status.code(), Some(0), "{arguments:?}");
            let err = String::from_utf8(output.stderr).expect("messages are UTF-8");
            is_plain(&err, &format!("{arguments:?}"));
            let lines = err.lines().all(|line| {
                ["error: ", "hint: ", "warning: "].iter().any(|start| line.starts_with(start))
            });
            assert!(lines, "{arguments:?}: {err}");
        }
    }
}

#[test]
fn a_hostile_argument_stays_in_its_line() {
    for payload in PAYLOADS {
        let word = |before: &str, after: &str| {
            let bytes = [before.as_bytes(), payload, b"\n", after.as_bytes()].concat();
            OsString::from_vec(bytes)
        };
        for arguments in [
            vec![word("x", "")],
            vec!["analyze".into(), word("--", "")],
            vec!["analyze".into(), word("--format=", ""), "x".into()],
            vec!["analyze".into(), "--workers".into(), word("", ""), "x".into()],
            vec!["analyze".into(), word("--since=", ""), "x".into()],
            vec!["analyze".into(), "--memory-limit".into(), word("", ""), "x".into()],
            vec!["analyze".into(), "-o".into(), word("text", "=y"), "x".into()],
            vec!["analyze".into(), "--filter".into(), word("", ""), word("no-such-", "")],
            vec!["bench".into(), word("--mix=", "")],
            vec!["catalog".into(), "show".into(), word("", "")],
            vec!["catalog".into(), "explain".into(), word("", "")],
            vec!["policy".into(), "explain".into(), word("", "")],
            vec!["completions".into(), word("", "")],
            vec!["live".into(), "-i".into(), word("no", ""), "--duration".into(), word("", "")],
        ] {
            let output = command().args(&arguments).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{arguments:?}");
            assert!(output.stdout.is_empty(), "{arguments:?}");
            let err = String::from_utf8(output.stderr).expect("messages are UTF-8");
            is_plain(&err, &format!("{arguments:?}"));
            assert!(err.starts_with("error: "), "{arguments:?}: {err}");
        }
    }
}
