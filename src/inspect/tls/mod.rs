//! TLS (RFC 5246, RFC 8446): what both ends say before they encrypt.
//!
//! Takes records of a connection, whole or in pieces; gives name, version, cipher suite and certificate.
//! Reads nothing after the handshake: as soon as both ends are done with what is in clear, that is enough.

mod certificate;
mod hello;
mod probe;

use super::frames::{Frame, Frames, Next, Size};
use super::{Context, Inspector, Progress, Uninspected};
use crate::packet::{At, Side};

pub(super) use probe::probe;

/// Bytes of one handshake message that are held until it is whole. A ClientHello with post-quantum key
/// shares has some 2 KiB; of a certificate chain the first certificate is wanted.
const HANDSHAKE_HELD_MAX: usize = 16 << 10;

/// Largest record that is believed: RFC 5246 §6.2.3 allows 2^14 + 2048.
const RECORD_LEN_MAX: usize = (1 << 14) + 2048;

/// Bytes of one end after which the other is taken to be absent from the capture.
const ALONE_MAX: u64 = 64 << 10;

/// TLS's reader.
pub struct Tls {
    client: Side,
    halves: [Half; 2],
}

/// What is known of one end's stream.
struct Half {
    header: [u8; HEADER_LEN],
    header_len: usize,
    /// Bytes of the current record that are still to come.
    left: usize,
    handshake: Frames,
    /// Everything behind this point is encrypted, or of no interest.
    done: bool,
    /// A record was seen.
    begun: bool,
    bytes: u64,
}

/// Type, version and length (RFC 8446 §5.1).
const HEADER_LEN: usize = 5;

impl Tls {
    /// Begins with the side that sent, or would have sent, the ClientHello.
    pub fn new(client: Side) -> Self {
        let half = || Half {
            header: [0; HEADER_LEN],
            header_len: 0,
            left: 0,
            handshake: Frames::new(HANDSHAKE_HELD_MAX),
            done: false,
            begun: false,
            bytes: 0,
        };
        Self { client, halves: [half(), half()] }
    }

    fn progress(&self) -> Progress {
        let [one, other] = &self.halves;
        let alone = |half: &Half, silent: &Half| silent.bytes == 0 && half.bytes > ALONE_MAX;
        if one.done && other.done || alone(one, other) || alone(other, one) {
            Progress::Enough
        } else {
            Progress::More
        }
    }

    /// Reads one handshake message, whole or its first bytes; tells whether more are wanted of this side.
    fn message(from_client: bool, frame: &Frame<'_>, context: &mut Context<'_>) -> Next {
        let Some((&[kind, ..], body)) = frame.bytes.split_first_chunk::<4>() else {
            return Next::Go;
        };
        match (kind, from_client) {
            (kind::CLIENT_HELLO, true) => {
                hello::client(body, context.facts.tls.get_or_insert_default());
                return Next::Stop;
            }
            (kind::SERVER_HELLO, false) => {
                let tls = context.facts.tls.get_or_insert_default();
                hello::server(body, tls);
                if tls.version.is_some_and(|version| version >= TLS_1_3) {
                    return Next::Stop;
                }
            }
            (kind::CERTIFICATE, false) => {
                let tls = context.facts.tls.get_or_insert_default();
                if tls.certificate.is_none() {
                    tls.certificate = certificate::leaf(body, frame.at.time).map(Box::new);
                }
            }
            (kind::CERTIFICATE_REQUEST, false) => {
                context.facts.tls.get_or_insert_default().client_certificate = Some(true);
            }
            (kind::SERVER_HELLO_DONE, false) => {
                context.facts.tls.get_or_insert_default().client_certificate.get_or_insert(false);
                return Next::Stop;
            }
            _ => {}
        }
        Next::Go
    }

    /// Returns the memory of what is held until more comes, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.halves.iter().map(|half| half.handshake.held_bytes()).sum()
    }
}

/// TLS 1.3's number; drafts of it (0x7fxx) are above, too.
const TLS_1_3: u16 = 0x0304;

/// Handshake types (RFC 8446 §4, RFC 5246 §7.4).
mod kind {
    pub(super) const CLIENT_HELLO: u8 = 1;
    pub(super) const SERVER_HELLO: u8 = 2;
    pub(super) const CERTIFICATE: u8 = 11;
    pub(super) const CERTIFICATE_REQUEST: u8 = 13;
    pub(super) const SERVER_HELLO_DONE: u8 = 14;
    /// `KeyUpdate`, the last one in use below 25.
    pub(super) const KEY_UPDATE: u8 = 24;
}

/// Record types (RFC 8446 §5.1).
mod record {
    pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(super) const ALERT: u8 = 21;
    pub(super) const HANDSHAKE: u8 = 22;
    pub(super) const APPLICATION_DATA: u8 = 23;
    pub(super) const HEARTBEAT: u8 = 24;
}

/// Returns a handshake message's length; encrypted ones rarely look like any.
fn message_size(head: &[u8]) -> Size {
    match head {
        [kind, ..] if *kind > kind::KEY_UPDATE => Size::Bad,
        [_, a, b, c, ..] => Size::Is(4 + u64::from(u32::from_be_bytes([0, *a, *b, *c]))),
        _ => Size::Need(4),
    }
}

/// Tells whether five bytes are a record's header.
fn is_header(header: [u8; HEADER_LEN]) -> bool {
    let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
    (record::CHANGE_CIPHER_SPEC..=record::HEARTBEAT).contains(&header[0])
        && header[1] == 3
        && header[2] <= 4
        && (1..=RECORD_LEN_MAX).contains(&len)
}

/// What a record does to its side, beside handshake messages.
enum Step {
    Go,
    /// The rest of this side is encrypted.
    Done,
    /// The handshake was before the capture began.
    Midway,
}

impl Half {
    /// Reads records up to the end of the piece.
    fn read(&mut self, from_client: bool, at: At, bytes: &[u8], context: &mut Context<'_>) -> Step {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.left == 0 {
                let wanted = (HEADER_LEN - self.header_len).min(rest.len());
                let (taken, behind) = rest.split_at(wanted);
                self.header[self.header_len..self.header_len + wanted].copy_from_slice(taken);
                self.header_len += wanted;
                rest = behind;
                if self.header_len < HEADER_LEN {
                    break;
                }
                self.header_len = 0;
                match self.begin_record(from_client, context) {
                    Step::Go => {}
                    step => return step,
                }
            }
            let (body, behind) = rest.split_at(self.left.min(rest.len()));
            rest = behind;
            self.left -= body.len();
            if self.header[0] == record::HANDSHAKE {
                let read = self.handshake.push(body, at, message_size, |frame| {
                    Tls::message(from_client, &frame, context)
                });
                if read != super::frames::Read::All {
                    return Step::Done;
                }
            } else if self.header[0] == record::ALERT && body.first() == Some(&2) {
                // A fatal alert ends the handshake (RFC 5246 §7.2).
                return Step::Done;
            }
        }
        Step::Go
    }

    fn begin_record(&mut self, from_client: bool, context: &mut Context<'_>) -> Step {
        let header = self.header;
        let first = !std::mem::replace(&mut self.begun, true);
        if !is_header(header) {
            // An SSLv2 ClientHello has the highest version that the client speaks (RFC 5246 E.2).
            if first && from_client && header[0] & 0x80 != 0 && header[2] == 1 {
                let tls = context.facts.tls.get_or_insert_default();
                let version = u16::from_be_bytes([header[3], header[4]]);
                tls.version.get_or_insert(version);
            }
            // Otherwise an answer in clear: the connection is not going to be encrypted, nor renamed.
            return Step::Done;
        }
        self.left = usize::from(u16::from_be_bytes([header[3], header[4]]));
        match header[0] {
            record::APPLICATION_DATA if first => Step::Midway,
            record::CHANGE_CIPHER_SPEC | record::APPLICATION_DATA => Step::Done,
            _ => Step::Go,
        }
    }
}

impl Inspector for Tls {
    fn data(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) -> Progress {
        let from_client = side == self.client;
        let half = &mut self.halves[side.index()];
        half.bytes = half.bytes.saturating_add(bytes.len() as u64);
        if !half.done {
            match half.read(from_client, at, bytes, context) {
                Step::Go => {}
                Step::Done => {
                    half.done = true;
                    half.handshake.lose();
                }
                Step::Midway => return Progress::Enough,
            }
        }
        self.progress()
    }

    fn gap(&mut self, side: Side, _len: u64, context: &mut Context<'_>) -> Progress {
        let half = &mut self.halves[side.index()];
        if !half.done {
            half.done = true;
            half.read_cut(side == self.client, context);
            context.facts.uninspected.add(Uninspected::HOLE);
        }
        self.progress()
    }

    fn close(&mut self, side: Side, context: &mut Context<'_>) -> Progress {
        let half = &mut self.halves[side.index()];
        if !half.done {
            half.done = true;
            half.read_cut(side == self.client, context);
        }
        self.progress()
    }

    fn skippable(&self, side: Side) -> u64 {
        if self.halves[side.index()].done { u64::MAX } else { 0 }
    }
}

impl Half {
    /// Reads what there is of a message that will never be whole: a name may stand in it.
    fn read_cut(&mut self, from_client: bool, context: &mut Context<'_>) {
        if let Some(frame) = self.handshake.cut() {
            Tls::message(from_client, &frame, context);
        }
        self.handshake.lose();
    }
}

#[cfg(test)]
mod tests;
