//! Stream bytes → the bytes that may be shown of them.
//!
//! Takes both sides of a connection whose protocol is known, or a datagram; gives the same number of bytes
//! with everything overwritten that is not known to be structure: a method, a path, the name of a header, a
//! length. What may stay is listed, never what must go: a secret in an unexpected place goes with the rest.
//! What is left reads as the same protocol.

mod amqp;
mod ber;
mod binary;
mod body;
mod databridge;
mod datagram;
mod head;
mod hpack;
mod http;
mod http2;
mod mqtt;
mod presented;
mod records;
#[cfg(test)]
mod tests;

use crate::inspect::Protocol;
use crate::packet::Side;

pub use datagram::datagram;

/// What stands where a byte was overwritten.
pub const FILL: u8 = b'X';

/// Bytes of one side that are held until they can be read: a whole message of LDAP or a header block of
/// HTTP/2. A longer one is overwritten from end to end, and so is what follows it.
const HELD_LEN_MAX: usize = 256 << 10;

/// Held bytes that are looked at again with each piece. More of them are looked at when an eighth has come to
/// them, so that a message in single bytes costs no more than its length.
const LOOK_LEN_MAX: usize = 1 << 10;

/// The bytes that may be shown of one side's stream; everything between them is overwritten.
#[derive(Default)]
pub struct Shown {
    runs: Vec<Run>,
    bytes: Vec<u8>,
}

/// Bytes that follow each other in the stream.
#[derive(Clone, Copy)]
struct Run {
    at: u64,
    start: usize,
    len: usize,
}

impl Shown {
    /// Adds bytes; they come in the order of the stream.
    fn add(&mut self, at: u64, bytes: &[u8]) {
        if bytes.iter().all(|byte| *byte == FILL) {
            return;
        }
        match self.runs.last_mut() {
            Some(run) if run.at + run.len as u64 == at => run.len += bytes.len(),
            _ => self.runs.push(Run { at, start: self.bytes.len(), len: bytes.len() }),
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the bytes of memory that it takes beside itself.
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.runs.capacity() * size_of::<Run>()
    }

    /// Gives memory back that is kept for more to come.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.runs.shrink_to_fit();
    }

    /// Tells whether nothing may be shown.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Overwrites a segment that begins at an offset of the stream.
    pub fn write(&self, at: u64, segment: &mut [u8]) {
        segment.fill(FILL);
        let end = at + segment.len() as u64;
        let first = self.runs.partition_point(|run| run.at + run.len as u64 <= at);
        for run in self.runs[first..].iter().take_while(|run| run.at < end) {
            let from = run.at.max(at);
            let to = (run.at + run.len as u64).min(end);
            let within = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
            let source = run.start + within(from - run.at);
            let len = within(to - from);
            segment[within(from - at)..][..len].copy_from_slice(&self.bytes[source..][..len]);
        }
    }
}

/// Overwrites a connection of a known protocol.
pub struct Redactor {
    sides: [Half; 2],
}

/// One side.
struct Half {
    reader: Reader,
    /// Bytes not yet decided, and where in the stream they begin.
    held: Vec<u8>,
    at: u64,
    /// How many must be held before it is worth to look at them again.
    look_len: usize,
    /// Bytes to come that need not be held: shown or not.
    pass: u64,
    pass_shown: bool,
}

/// What reads one side.
enum Reader {
    Amqp(amqp::Amqp),
    Ber(ber::Framing),
    Binary(binary::Kind),
    Databridge,
    Http(Box<http::Http>),
    Http2(http2::Http2),
    Mqtt,
    /// A message of DNS behind its length of two bytes.
    PrefixedDns,
    Ssh(records::Ssh),
    Syslog,
    Tls,
    WebSocket,
    /// Nothing more is shown.
    Stopped,
}

/// What a reader makes of the bytes that are held.
enum Step {
    /// It needs more of them.
    More,
    /// The first bytes become these, as many as there are.
    Show(Vec<u8>),
    /// The first bytes become these; so many more are shown as they are, or overwritten.
    Pass(Vec<u8>, u64, bool),
    /// Another protocol begins here.
    Become(Reader),
    /// Nothing more can be read.
    Stop,
}

impl Redactor {
    /// Returns the bytes of memory that it takes beside itself.
    pub fn held_bytes(&self) -> usize {
        self.sides.iter().map(|side| side.held.capacity()).sum()
    }

    /// Begins a connection of a protocol.
    pub fn new(protocol: Protocol) -> Self {
        let half = || Half {
            reader: Reader::of(protocol),
            held: Vec::new(),
            at: 0,
            look_len: 0,
            pass: 0,
            pass_shown: false,
        };
        Self { sides: [half(), half()] }
    }

    /// Takes the next bytes of a side, which begin at an offset of its stream.
    pub fn data(&mut self, side: Side, at: u64, bytes: &[u8], shown: &mut Shown) {
        self.sides[side.index()].data(at, bytes, shown);
    }

    /// Learns that bytes of a side are missing.
    pub fn gap(&mut self, side: Side, len: u64, shown: &mut Shown) {
        self.sides[side.index()].gap(len, shown);
    }

    /// Learns that a side sends no more.
    pub fn close(&mut self, side: Side, shown: &mut Shown) {
        let half = &mut self.sides[side.index()];
        half.run(shown);
        half.give_up(shown);
    }

    /// Returns how many of the next bytes of a side may be missing without loss.
    pub fn skippable(&self, side: Side) -> u64 {
        let half = &self.sides[side.index()];
        match &half.reader {
            Reader::Stopped => u64::MAX,
            Reader::Http(http) if half.held.is_empty() => http.skippable(),
            _ => half.pass,
        }
    }

    /// Tells whether anything of a side may still be shown.
    pub fn wants(&self, side: Side) -> bool {
        !matches!(self.sides[side.index()].reader, Reader::Stopped)
    }

    /// Tells whether bytes in the middle of a connection look like the beginning of something.
    pub fn begins(&self, side: Side, bytes: &[u8]) -> bool {
        match &self.sides[side.index()].reader {
            Reader::Http(_) => http::begins(bytes),
            Reader::Tls => records::is_record(bytes),
            _ => true,
        }
    }
}

impl Half {
    fn data(&mut self, at: u64, bytes: &[u8], shown: &mut Shown) {
        if matches!(self.reader, Reader::Stopped) {
            return;
        }
        if self.held.is_empty() {
            self.at = at;
        }
        let passed = usize::try_from(self.pass).unwrap_or(usize::MAX).min(bytes.len());
        if passed > 0 {
            if self.pass_shown {
                shown.add(self.at, &bytes[..passed]);
            }
            self.pass -= passed as u64;
            self.at += passed as u64;
        }
        self.held.extend_from_slice(&bytes[passed..]);
        if self.held.len() >= self.look_len {
            self.run(shown);
        }
    }

    fn gap(&mut self, len: u64, shown: &mut Shown) {
        self.run(shown);
        if self.held.is_empty() && len <= self.pass {
            self.pass -= len;
            return;
        }
        if let Reader::Http(http) = &mut self.reader
            && self.held.is_empty()
            && http.skip(len)
        {
            self.run(shown);
            return;
        }
        self.give_up(shown);
    }

    /// Shows what may be shown of a message that is not whole, and stops.
    fn give_up(&mut self, shown: &mut Shown) {
        if let Reader::Http(http) = &mut self.reader {
            http.end();
            self.run(shown);
        }
        let text = match &self.reader {
            // A message that says it is longer ends with the connection.
            Reader::Ber(ber::Framing::Bare) => ber::shown(&self.held),
            Reader::Http(http) => http.cut(&self.held),
            Reader::Syslog => records::syslog_line(&self.held),
            _ => Vec::new(),
        };
        shown.add(self.at, &text);
        self.stop();
    }

    fn stop(&mut self) {
        self.reader = Reader::Stopped;
        self.held = Vec::new();
    }

    /// Reads what is held as far as it goes.
    fn run(&mut self, shown: &mut Shown) {
        self.look_len = 0;
        while !self.held.is_empty() || matches!(&self.reader, Reader::Http(http) if http.is_over())
        {
            let lead = if self.at == 0 { records::proxy_header(&self.held) } else { None };
            match lead.unwrap_or_else(|| self.reader.step(&self.held)) {
                Step::More if self.held.len() > HELD_LEN_MAX => return self.stop(),
                Step::More => {
                    if self.held.len() > LOOK_LEN_MAX {
                        self.look_len = self.held.len() + self.held.len() / 8;
                    }
                    return;
                }
                Step::Show(text) => self.take(&text, shown),
                Step::Pass(text, pass, pass_shown) => {
                    self.take(&text, shown);
                    let passed = usize::try_from(pass).unwrap_or(usize::MAX).min(self.held.len());
                    if pass_shown {
                        shown.add(self.at, &self.held[..passed]);
                    }
                    self.drop_front(passed);
                    (self.pass, self.pass_shown) = (pass - passed as u64, pass_shown);
                }
                Step::Become(reader) => self.reader = reader,
                Step::Stop => return self.stop(),
            }
        }
    }

    fn take(&mut self, text: &[u8], shown: &mut Shown) {
        shown.add(self.at, text);
        self.drop_front(text.len());
    }

    fn drop_front(&mut self, len: usize) {
        self.at += len as u64;
        self.held.drain(..len);
    }
}

impl Reader {
    fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Amqp => Self::Amqp(amqp::Amqp::default()),
            Protocol::Dns => Self::PrefixedDns,
            Protocol::Http | Protocol::Http2 | Protocol::WebSocket => Self::Http(Box::default()),
            Protocol::Kerberos => Self::Ber(ber::Framing::Prefixed),
            Protocol::Ldap | Protocol::Snmp => Self::Ber(ber::Framing::Bare),
            Protocol::Mqtt => Self::Mqtt,
            Protocol::Ssh => Self::Ssh(records::Ssh::default()),
            Protocol::Syslog => Self::Syslog,
            Protocol::Tls => Self::Tls,
            Protocol::Cassandra
            | Protocol::Hazelcast
            | Protocol::Hdfs
            | Protocol::Kafka
            | Protocol::Spark => Self::Binary(binary::Kind::Other),
            Protocol::Databridge => Self::Databridge,
            Protocol::Rmi => Self::Binary(binary::Kind::Rmi),
            Protocol::Thrift => Self::Binary(binary::Kind::Thrift),
            Protocol::Ntp | Protocol::Quic => Self::Stopped,
        }
    }

    fn step(&mut self, held: &[u8]) -> Step {
        match self {
            Self::Amqp(amqp) => amqp.step(held),
            Self::Ber(framing) => framing.step(held),
            Self::Binary(kind) => Step::Show(binary::shown(*kind, held)),
            Self::Databridge => databridge::step(held),
            Self::Http(http) => http.step(held),
            Self::Http2(http2) => http2.step(held),
            Self::Mqtt => mqtt::step(held),
            Self::PrefixedDns => datagram::prefixed_dns(held),
            Self::Ssh(ssh) => ssh.step(held),
            Self::Syslog => records::syslog(held),
            Self::Tls => records::tls(held),
            Self::WebSocket => http2::websocket(held),
            Self::Stopped => Step::Stop,
        }
    }
}

/// Returns a copy with all bytes overwritten.
fn filled(len: usize) -> Vec<u8> {
    vec![FILL; len]
}
