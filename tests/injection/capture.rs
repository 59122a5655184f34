//! A capture with one text in every place that its sender chooses.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use etherparse::PacketBuilder;
use serde_json::Value;

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

    /// Adds datagrams: what each end says in turn, the client first.
    fn datagrams(&mut self, port: u16, talk: &[&[u8]]) {
        self.client_port += 1;
        let ports = [40_000 + self.client_port, port];
        for (turn, bytes) in talk.iter().enumerate() {
            let (from, to) = (turn % 2, 1 - turn % 2);
            let ip = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(ENDS[from], ENDS[to], 64);
            let mut frame = Vec::new();
            ip.udp(ports[from], ports[to]).write(&mut frame, bytes).unwrap();
            self.frames.push(frame);
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
fn handshake(name: &[u8], subject: &[u8], issuer: &[u8]) -> [Vec<u8>; 2] {
    let sni = counted(2, &[&[0][..], &counted(2, name)].concat());
    let alpn = counted(2, &counted(1, name));
    let extensions = [&[0, 0][..], &counted(2, &sni), &[0, 16], &counted(2, &alpn)].concat();
    let random = [7; 32];
    let client =
        [&[3, 3][..], &random, &[0], &counted(2, &[0, 0x2f]), &[1, 0], &counted(2, &extensions)];
    let server = [&[3, 1][..], &random, &[0, 0, 0x2f, 0]].concat();
    let chain = counted(3, &counted(3, &certificate(subject, issuer)));
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

/// Returns a payload behind the name of its place.
fn named(name: &str, payload: &[u8]) -> Vec<u8> {
    [name.as_bytes(), payload].concat()
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Requests of HTTP/1.1: line and headers, a form, credentials.
fn http(frames: &mut Frames, payload: &[u8]) {
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
    frames.connection(8280, &[&request, ANSWER]);
    // A token in any case, whatever the payload does to the request above.
    let token = token(payload);
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    frames.connection(8280, &[request.as_bytes(), ANSWER]);
    frames.connection(7777, &[request.as_bytes(), ANSWER]);
    let user = STANDARD.encode([&named("USER-", payload)[..], b":canary-pw-1"].concat());
    let login = format!("GET /services HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {user}\r\n\r\n");
    frames.connection(9763, &[login.as_bytes(), ANSWER]);
    let escaped: Vec<String> = payload.iter().map(|byte| format!("%{byte:02x}")).collect();
    let escaped = escaped.concat();
    let form = format!("grant_type=password&username=FORM-{escaped}&password=canary-pw-3");
    let login = format!(
        "POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    );
    frames.connection(8280, &[login.as_bytes(), ANSWER]);
}

/// A request of HTTP/2 whose fields are literals (RFC 7541 §6.2.2, RFC 9113 §6.2).
fn http2(frames: &mut Frames, payload: &[u8]) {
    let field = |index: &[u8], value: &[u8]| [index, &counted(1, value)].concat();
    let block = [
        vec![0x82, 0x86],
        field(&[0x04], &named("/PATH2-", payload)),
        field(&[0x01], &named("HOST2-", payload)),
        field(&[0x0f, 43], &named("AGENT2-", payload)),
        field(&[0x0f, 8], b"Bearer CANARY-2"),
    ]
    .concat();
    let head = [&counted(3, &block)[..3], &[1, 5, 0, 0, 0, 1]].concat();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    frames.connection(8280, &[&[&preface[..], &settings, &head, &block].concat(), &settings]);
}

/// Logins of brokers and directories.
fn logins(frames: &mut Frames, payload: &[u8]) {
    let mqtt = [
        &counted(2, b"MQTT")[..],
        &[4, 0xc2, 0, 60],
        &counted(2, &named("CLIENT-", payload)),
        &counted(2, &named("MQTT-", payload)),
        &counted(2, b"canary-pw-2"),
    ]
    .concat();
    frames.connection(1883, &[&[&[0x10][..], &counted(1, &mqtt)].concat(), &[0x20, 2, 0, 0]]);
    let bind = [der(2, &[3]), der(4, &named("LDAP-", payload)), der(0x80, b"canary-pw-4")].concat();
    let bind = der(0x30, &[der(2, &[1]), der(0x60, &bind)].concat());
    let bound = der(0x30, &[der(2, &[1]), der(0x61, &[10, 1, 0, 4, 0, 4, 0])].concat());
    frames.connection(10389, &[&bind, &bound]);
    let method = |id: u8, body: &[u8]| {
        let body = [&[0, 10, 0, id][..], body].concat();
        [&[1, 0, 0][..], &counted(4, &body), &[0xce]].concat()
    };
    let entry = [&counted(1, b"product")[..], b"S", &counted(4, payload)].concat();
    let start = [&[0, 9][..], &counted(4, &entry), &counted(4, b"PLAIN"), &counted(4, b"en_US")];
    let response = [b"\0", &named("AMQP-", payload)[..], b"\0canary-pw-5"].concat();
    let start_ok = [
        &counted(4, &entry)[..],
        &counted(1, b"PLAIN"),
        &counted(4, &response),
        &counted(1, b"en_US"),
    ];
    let (start, start_ok) = (method(10, &start.concat()), method(11, &start_ok.concat()));
    frames.connection(5672, &[b"AMQP\0\0\x09\x01", &start, &start_ok]);
}

/// A registry that names an endpoint, and a JMX client that logs in (JRMP, Java Object Serialization).
fn rmi(frames: &mut Frames, payload: &[u8]) {
    let call = |object: u64, operation: i32, hash: u64, argument: &[u8]| {
        [
            &[0x50, 0xac, 0xed, 0, 5, 0x77, 0x22][..],
            &object.to_be_bytes(),
            &[0; 14],
            &operation.to_be_bytes(),
            &hash.to_be_bytes(),
            argument,
        ]
        .concat()
    };
    let string = |text: &[u8]| [&[0x74][..], &counted(2, text)].concat();
    let lookup = call(0, 2, 0x4415_4dc9_d4e6_3bdf, &string(b"jmxrmi"));
    let named_host = [counted(2, b"UnicastRef"), counted(2, &named("RMI-", payload))].concat();
    let answer =
        [&[0x51, 0xac, 0xed, 0, 5, 0x77, 0x0f, 1][..], &[0; 14], &named_host, &[0, 0, 0x2b, 0x67]];
    let credentials = [
        &[0x75, 0x72][..],
        &counted(2, b"[Ljava.lang.String;"),
        &[0; 8],
        &[2, 0, 0, 0x78, 0x70, 0, 0, 0, 2],
        &string(&named("JMX-", payload)),
        &string(b"canary-pw-6"),
    ];
    let login = call(7, -1, 0xf0e0_74ea_ad0c_aea8, &credentials.concat());
    let yes = [&[0x4e, 0][..], &counted(1, b"10.0.0.7"), &[0, 0, 0x9c, 0x41]].concat();
    frames.connection(9999, &[b"JRMI\0\x02K", &yes, &lookup, &answer.concat()]);
    frames.connection(11_111, &[b"JRMI\0\x02K", &yes, &login]);
}

/// What is only recognised, and shown nowhere: names of DNS and Kerberos, communities, greetings.
fn recognised(frames: &mut Frames, payload: &[u8]) {
    let greeting = [b"SSH-2.0-", payload, b"\r\n"].concat();
    frames.connection(22, &[&greeting, &greeting]);
    let text = |tag: u8, text: &[u8]| der(tag, &der(0x1b, text));
    let name = der(
        0xa1,
        &der(
            0x30,
            &[der(0xa0, &der(2, &[1])), der(0xa1, &der(0x30, &der(0x1b, payload)))].concat(),
        ),
    );
    let body = der(0xa4, &der(0x30, &[name, text(0xa2, payload)].concat()));
    let request = [der(0xa1, &der(2, &[5])), der(0xa2, &der(2, &[10])), body].concat();
    frames.datagrams(88, &[&der(0x6a, &der(0x30, &request))]);
    let variables = [der(2, &[1]), der(2, &[0]), der(2, &[0]), der(0x30, &[])].concat();
    let get = [der(2, &[1]), der(4, payload), der(0xa0, &variables)].concat();
    frames.datagrams(161, &[&der(0x30, &get)]);
    frames.datagrams(1161, &[&der(0x30, &get)]);
    let label = counted(1, &payload[..payload.len().min(63)]);
    let query = [&[1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &label, &[0, 0, 1, 0, 1]].concat();
    frames.datagrams(53, &[&query]);
    let log = [b"<13>1 2026-11-23T09:15:00Z ", payload, b" app - - - ", payload].concat();
    frames.datagrams(514, &[&log]);
}

/// Makes a capture with one payload in every place.
pub(super) fn capture(payload: &[u8], folder: &Path) -> PathBuf {
    let mut frames = Frames::default();
    http(&mut frames, payload);
    http2(&mut frames, payload);
    let [client, server] =
        handshake(&named("SNI-", payload), &named("SUBJECT-", payload), &named("ISSUER-", payload));
    frames.connection(8243, &[&client, &server]);
    logins(&mut frames, payload);
    rmi(&mut frames, payload);
    recognised(&mut frames, payload);
    let mut name = named("FILE-", payload);
    name.retain(|byte| *byte != b'/' && *byte != 0);
    name.extend(b".pcapng");
    let path = folder.join(OsString::from_vec(name));
    frames.write(&path, &named("IF-", payload));
    path
}
