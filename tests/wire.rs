//! Captures made by a test: who spoke to whom, and what became of it. Times begin at 2026-11-23 09:15:00 UTC.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use etherparse::PacketBuilder;

/// Microseconds from one frame to the next.
const STEP_US: u64 = 500;

/// 2026-11-23 09:15:00 UTC, in microseconds.
const START_US: u64 = 1_795_425_300_000_000;

/// Bytes of a frame's headers: Ethernet, IPv4, TCP.
const HEADS_LEN: usize = 54;

/// Frames of a capture, one conversation after another.
#[derive(Default)]
pub(crate) struct Wire {
    frames: Vec<Vec<u8>>,
    clients: u16,
}

/// One end's bytes.
pub(crate) enum Said {
    Client(Vec<u8>),
    Server(Vec<u8>),
}

/// How a segment stands in its connection.
#[derive(Clone, Copy, PartialEq)]
enum Flags {
    Syn,
    SynAck,
    Data,
    Fin,
    Reset,
}

impl Wire {
    /// Adds a connection: a handshake, what the ends say, and its end.
    pub(crate) fn connection(&mut self, client: &str, server: &str, talk: &[Said]) {
        let ends = self.ends(client, server);
        let mut next = [1000_u32, 5000];
        for (from, flags) in [(0, Flags::Syn), (1, Flags::SynAck)] {
            self.segment(ends, from, next, flags, &[]);
            next[from] += 1;
        }
        self.segment(ends, 0, next, Flags::Data, &[]);
        for said in talk {
            let (from, bytes) = match said {
                Said::Client(bytes) => (0, bytes),
                Said::Server(bytes) => (1, bytes),
            };
            self.segment(ends, from, next, Flags::Data, bytes);
            next[from] += u32::try_from(bytes.len()).unwrap();
        }
        for from in [0, 1] {
            self.segment(ends, from, next, Flags::Fin, &[]);
            next[from] += 1;
        }
        self.segment(ends, 0, next, Flags::Data, &[]);
    }

    /// Adds a connection in which a protocol that opens so is spoken.
    pub(crate) fn spoken(&mut self, client: &str, server: &str, protocol: &str) {
        self.connection(client, server, &talk(protocol));
    }

    /// Adds a connection of which only what the client sent was captured.
    pub(crate) fn half_heard(&mut self, client: &str, server: &str, bytes: &[u8]) {
        let ends = self.ends(client, server);
        self.segment(ends, 0, [1000, 0], Flags::Syn, &[]);
        self.segment(ends, 0, [1001, 5001], Flags::Data, &[]);
        self.segment(ends, 0, [1001, 5001], Flags::Data, bytes);
    }

    /// Adds an attempt that nobody answers.
    pub(crate) fn silent(&mut self, client: &str, server: &str) {
        let ends = self.ends(client, server);
        for _ in 0..3 {
            self.segment(ends, 0, [1000, 0], Flags::Syn, &[]);
        }
    }

    /// Adds an attempt that the server turns away.
    pub(crate) fn refused(&mut self, client: &str, server: &str) {
        let ends = self.ends(client, server);
        self.segment(ends, 0, [1000, 0], Flags::Syn, &[]);
        self.segment(ends, 1, [1001, 0], Flags::Reset, &[]);
    }

    /// Adds datagrams there and back.
    pub(crate) fn datagrams(&mut self, client: &str, server: &str, ask: &[u8], answer: &[u8]) {
        let ends = self.ends(client, server);
        for (from, bytes) in [(0, ask), (1, answer)] {
            let (src, dst) = (ends[from], ends[1 - from]);
            let head = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(
                src.ip().octets(),
                dst.ip().octets(),
                64,
            );
            let mut frame = Vec::new();
            head.udp(src.port(), dst.port()).write(&mut frame, bytes).unwrap();
            self.frames.push(frame);
        }
    }

    /// Writes a pcap file with at most so many bytes of each frame.
    pub(crate) fn write(&self, path: &Path, snaplen: usize) {
        let mut file = Vec::new();
        for field in [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 262_144, 1] {
            file.extend(field.to_le_bytes());
        }
        for (number, frame) in (0_u64..).zip(&self.frames) {
            let time = START_US + number * STEP_US;
            let captured = &frame[..frame.len().min(snaplen)];
            for field in
                [time / 1_000_000, time % 1_000_000, captured.len() as u64, frame.len() as u64]
            {
                file.extend(u32::try_from(field).unwrap().to_le_bytes());
            }
            file.extend(captured);
        }
        fs::write(path, file).unwrap();
    }

    /// Returns the ends of a new conversation: a client without a port gets one of its own.
    fn ends(&mut self, client: &str, server: &str) -> [SocketAddrV4; 2] {
        self.clients += 1;
        let client: Ipv4Addr = client.parse().unwrap();
        [SocketAddrV4::new(client, 40_000 + self.clients), server.parse().unwrap()]
    }

    fn segment(
        &mut self,
        ends: [SocketAddrV4; 2],
        from: usize,
        next: [u32; 2],
        flags: Flags,
        payload: &[u8],
    ) {
        let (src, dst) = (ends[from], ends[1 - from]);
        let head = PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(src.ip().octets(), dst.ip().octets(), 64)
            .tcp(src.port(), dst.port(), next[from], 60_000);
        let acked = next[1 - from];
        let head = match flags {
            Flags::Syn => head.syn(),
            Flags::SynAck => head.syn().ack(acked),
            Flags::Data => head.ack(acked),
            Flags::Fin => head.fin().ack(acked),
            // A reset to a SYN acknowledges it and has no number of its own (RFC 9293 §3.5.2).
            Flags::Reset => {
                let head = PacketBuilder::ethernet2([2; 6], [4; 6])
                    .ipv4(src.ip().octets(), dst.ip().octets(), 64)
                    .tcp(src.port(), dst.port(), 0, 0);
                head.rst().ack(next[0])
            }
        };
        let mut frame = Vec::new();
        head.write(&mut frame, payload).unwrap();
        assert!(frame.len() == HEADS_LEN + payload.len());
        self.frames.push(frame);
    }
}

/// Returns how both ends of a protocol begin; of one that is not known, nothing.
fn talk(protocol: &str) -> Vec<Said> {
    let (client, server) = match protocol {
        "tls" => (client_hello(), server_hello()),
        "http" => {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            (request("/orders/2.1/list", ""), answer.to_vec())
        }
        "ssh" => {
            let hello = |name: &str| format!("SSH-2.0-{name}\r\n").into_bytes();
            return vec![Said::Server(hello("OpenSSH_9.2")), Said::Client(hello("OpenSSH_9.6"))];
        }
        "amqp" => (b"AMQP\0\0\x09\x01".to_vec(), amqp_start()),
        "silence" => return Vec::new(),
        other => panic!("protocol `{other}`"),
    };
    vec![Said::Client(client), Said::Server(server)]
}

/// Returns a request with more header lines, each with its end.
pub(crate) fn request(path: &str, headers: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: gw.example.com\r\nAccept: application/json\r\n\
         User-Agent: okhttp/4.12.0\r\n{headers}\r\n"
    )
    .into_bytes()
}

/// Returns bytes behind their length of so many bytes.
fn counted(len_bytes: usize, bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&len[4 - len_bytes..], bytes].concat()
}

/// Returns a handshake message in a record (RFC 8446 §4, §5.1).
fn record(kind: u8, message: &[u8]) -> Vec<u8> {
    [&[22, 3, 3][..], &counted(2, &[&[kind][..], &counted(3, message)].concat())].concat()
}

/// Returns a ClientHello that offers TLS 1.3 and 1.2 (RFC 8446 §4.1.2).
pub(crate) fn client_hello() -> Vec<u8> {
    let name = counted(2, &[&[0][..], &counted(2, b"gw.example.com")].concat());
    let versions = counted(1, &[3, 4, 3, 3]);
    let extensions = [&[0, 0][..], &counted(2, &name), &[0, 43], &counted(2, &versions)].concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &counted(2, &[0x13, 1, 0xc0, 0x2f]),
        &[1, 0],
        &counted(2, &extensions),
    ];
    record(1, &body.concat())
}

/// Returns a ServerHello that chooses TLS 1.3, and what follows under encryption.
fn server_hello() -> Vec<u8> {
    let extensions = [&[0, 43][..], &counted(2, &[3, 4])].concat();
    let body = [&[3, 3][..], &[9; 32], &[0, 0x13, 1, 0], &counted(2, &extensions)].concat();
    let sealed = [&[23, 3, 3][..], &counted(2, &[0x5a; 40])].concat();
    [record(2, &body), sealed].concat()
}

/// Returns a broker's `connection.start` (AMQP 0-9-1 §4.2.3).
fn amqp_start() -> Vec<u8> {
    let arguments =
        [&[0, 9][..], &counted(4, b""), &counted(4, b"PLAIN"), &counted(4, b"en_US")].concat();
    let method = [&[0, 10, 0, 10][..], &arguments].concat();
    [&[1, 0, 0][..], &counted(4, &method), &[0xce]].concat()
}
