//! AMQP 0-8 to 0-9-1, 0-10 and 1.0: a login by PLAIN or AMQPLAIN, and the way to TLS.
//!
//! What comes behind the login is passed over: it is the last thing of interest.

mod login;
mod probe;
#[cfg(test)]
mod tests;

use std::cell::Cell;

use super::frames::{Frames, Next, Read, Size};
use super::tls::Tls;
use super::{Context, Inspector, Progress, Uninspected};
use crate::packet::{At, Side};

pub(super) use probe::probe;

/// Bytes of one frame that are held: what a client says of itself stands before its credentials.
const HELD_MAX: usize = 16 << 10;

/// Largest frame that is believed (RabbitMQ's `frame_max` is 128 KiB, Qpid's 64 KiB).
const FRAME_LEN_MAX: u64 = 256 << 20;

/// First byte of a TLS record that begins a handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;

/// Length of a header: "AMQP" and four bytes.
const HEADER_LEN: usize = 8;

/// What frames look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// 0-8 to 0-9-1.
    V0,
    /// 0-10.
    V0_10,
    /// 1.0.
    V1,
}

/// AMQP's reader.
pub struct Amqp {
    client: Side,
    requests: Frames,
    version: Option<Version>,
    /// The client chose PLAIN, and its response is still to come.
    awaits_response: bool,
    /// The client asked for TLS and has sent nothing since.
    asked_tls: bool,
    /// What follows is TLS.
    tls: Option<Tls>,
}

/// What a frame of the client's changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Go,
    /// The response to the server's challenge is the password.
    AwaitResponse,
    /// Another header: these frames follow, or TLS.
    Begin(Option<Version>),
    /// The login is over.
    Done,
}

impl Amqp {
    /// Begins with the side that connects.
    pub fn new(client: Side) -> Self {
        Self {
            client,
            requests: Frames::new(HELD_MAX),
            version: None,
            awaits_response: false,
            asked_tls: false,
            tls: None,
        }
    }

    /// Reads the client's frames up to the end of the piece, or to where TLS begins.
    fn requests(&mut self, at: At, bytes: &[u8], context: &mut Context<'_>) -> Progress {
        let mut rest = bytes;
        while !rest.is_empty() {
            if std::mem::take(&mut self.asked_tls) && rest[0] == TLS_HANDSHAKE {
                context.facts.upgraded = true;
                let client = self.client;
                let tls = self.tls.get_or_insert_with(|| Tls::new(client));
                return tls.data(client, at, rest, context);
            }
            let version = Cell::new(self.version);
            let awaits_response = self.awaits_response;
            let mut last = Step::Go;
            let size = |head: &[u8]| size(head, version.get());
            let read = self.requests.push(rest, at, size, |frame| {
                let spoken = version.get().or_else(|| guess(frame.bytes));
                last = login::frame(&frame, spoken, awaits_response, context);
                if last == Step::Go { Next::Go } else { Next::Stop }
            });
            match (read, last) {
                (Read::Bad, _) | (_, Step::Done) => return Progress::Enough,
                (Read::All, _) => return Progress::More,
                (Read::Stopped, Step::AwaitResponse) => self.awaits_response = true,
                (Read::Stopped, Step::Begin(version)) => {
                    self.asked_tls = version.is_none();
                    self.version = version;
                }
                (Read::Stopped, Step::Go) => {}
            }
            rest = &rest[rest.len() - self.requests.unread_len()..];
        }
        Progress::More
    }

    /// Returns the memory of what is held until more comes, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.requests.held_bytes() + self.tls.as_ref().map_or(0, Tls::held_bytes)
    }
}

/// Returns what the frames of a connection that was joined midway look like.
fn guess(head: &[u8]) -> Option<Version> {
    match head.first()? {
        1..=3 | 8 => Some(Version::V0),
        0x0f => Some(Version::V0_10),
        0 => Some(Version::V1),
        _ => None,
    }
}

/// Returns the length of a header or of a frame.
fn size(head: &[u8], version: Option<Version>) -> Size {
    let there = &head[..head.len().min(4)];
    if !there.is_empty() && b"AMQP".starts_with(there) {
        return if there.len() < 4 { Size::Need(4) } else { Size::Is(HEADER_LEN as u64) };
    }
    let len = match (version.or_else(|| guess(head)), head) {
        (_, []) => return Size::Need(1),
        (Some(Version::V0), [kind, ..]) if !matches!(kind, 1..=4 | 8) => return Size::Bad,
        (Some(Version::V0), [_, _, _, a, b, c, d, ..]) => {
            u64::from(u32::from_be_bytes([*a, *b, *c, *d])) + 8
        }
        (Some(Version::V0), _) => return Size::Need(7),
        (Some(Version::V0_10), [_, _, a, b, ..]) => match u16::from_be_bytes([*a, *b]) {
            0..12 => return Size::Bad,
            len => u64::from(len),
        },
        (Some(Version::V1), [a, b, c, d, ..]) => match u32::from_be_bytes([*a, *b, *c, *d]) {
            0..8 => return Size::Bad,
            len => u64::from(len),
        },
        (Some(_), _) => return Size::Need(4),
        (None, _) => return Size::Bad,
    };
    if len <= FRAME_LEN_MAX { Size::Is(len) } else { Size::Bad }
}

impl Inspector for Amqp {
    fn data(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) -> Progress {
        match &mut self.tls {
            Some(tls) => tls.data(side, at, bytes, context),
            None if side == self.client => self.requests(at, bytes, context),
            None => Progress::More,
        }
    }

    fn gap(&mut self, side: Side, len: u64, context: &mut Context<'_>) -> Progress {
        if let Some(tls) = &mut self.tls {
            return tls.gap(side, len, context);
        }
        if side == self.client && !self.requests.gap(len) {
            context.facts.uninspected.add(Uninspected::HOLE);
            return Progress::Enough;
        }
        Progress::More
    }

    fn close(&mut self, side: Side, context: &mut Context<'_>) -> Progress {
        match &mut self.tls {
            Some(tls) => tls.close(side, context),
            None if side == self.client => Progress::Enough,
            None => Progress::More,
        }
    }

    fn skippable(&self, side: Side) -> u64 {
        match &self.tls {
            Some(tls) => tls.skippable(side),
            None if side == self.client => self.requests.skippable(),
            None => u64::MAX,
        }
    }
}
