//! HTTP/1 by its framing (RFC 9112): heads line by line, bodies by what they are said to be.
//!
//! Requests and answers are told apart by their first line, so that each side is read for itself.

use super::body::Content;
use super::head::{self, Value};
use super::presented::Presented;
use super::{HELD_LEN_MAX, Reader, Step, filled, http2, records};

/// Digits of a chunk's length; more would be beyond 2^60.
const CHUNK_DIGITS_MAX: usize = 15;

/// One side of a connection.
#[derive(Default)]
pub(super) struct Http {
    state: State,
    message: Message,
    /// What the message at hand, or the last one, asked or agreed to go on with.
    upgrade: Upgrade,
    value: Value,
    /// What this side presented so far.
    presented: Presented,
    /// The head at hand was cut, or is longer than what is held: nobody knows what its end presents.
    is_cut: bool,
    is_ended: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between messages.
    #[default]
    Start,
    /// Behind the first line.
    Headers,
    /// In a line that was too long to wait for.
    LongLine,
    /// In content, so much of it left.
    Body(u64),
    /// Before the length of a chunk.
    Chunk,
    /// In a chunk, so much of it left.
    ChunkData(u64),
    /// Behind a chunk's data.
    ChunkEnd,
    /// Behind the last chunk.
    Trailers,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    #[default]
    None,
    WebSocket,
    Other,
}

/// What a head says of its message.
#[derive(Default, Clone, Copy)]
struct Message {
    status: Option<u16>,
    connect: bool,
    length: Option<u64>,
    chunked: bool,
    coded: bool,
    content: Content,
}

/// Tells whether bytes in the middle of a connection look like the beginning of a message.
pub(super) fn begins(bytes: &[u8]) -> bool {
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let bytes = &bytes[blank..];
    let word = bytes.iter().take_while(|byte| head::is_token(**byte)).count();
    bytes.starts_with(b"HTTP/")
        || (1..=32).contains(&word) && matches!(bytes.get(word), Some(b' ' | b'\t' | b':'))
}

impl Http {
    /// Learns that nothing follows.
    pub(super) fn end(&mut self) {
        self.is_ended = true;
    }

    /// Tells whether a step is due without any bytes.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Body(0) | State::ChunkData(0))
    }

    /// Returns the bytes that may be missing without loss.
    pub(super) fn skippable(&self) -> u64 {
        match self.state {
            State::Body(left) | State::ChunkData(left) => left,
            _ => 0,
        }
    }

    /// Leaves out bytes that were never captured; false when they reach beyond what is known.
    pub(super) fn skip(&mut self, len: u64) -> bool {
        match &mut self.state {
            State::Body(left) | State::ChunkData(left) if len <= *left => {
                *left -= len;
                self.message.content = Content::Opaque;
                true
            }
            _ => false,
        }
    }

    /// Shows a first line that was cut: of a target what its next delimiter has passed, since a user and a
    /// password may stand before a host.
    pub(super) fn cut(&self, held: &[u8]) -> Vec<u8> {
        let mut out = filled(held.len());
        if self.state == State::Start && begins(held) {
            let path = memchr::memchr(b' ', held).filter(|gap| held.get(gap + 1) == Some(&b'/'));
            let shown = match path {
                Some(gap) => {
                    gap + 1
                        + held[gap + 1..].iter().rposition(|b| b"/?&".contains(b)).unwrap_or(0)
                        + 1
                }
                None => held.iter().take_while(|byte| head::is_token(**byte)).count() + 1,
            };
            let shown = shown.min(held.len());
            out[..shown].copy_from_slice(&head::first_line(&held[..shown], &self.presented));
        }
        out
    }

    pub(super) fn step(&mut self, held: &[u8]) -> Step {
        match self.state {
            State::Start => self.start(held),
            State::Headers | State::Trailers => self.line(held),
            State::LongLine => {
                let end = memchr::memchr(b'\n', held).map(|end| end + 1);
                if end.is_some() {
                    self.state = State::Headers;
                }
                let len = end.unwrap_or(held.len());
                let mut text = filled(len);
                if end.is_some() {
                    text[len - 1] = b'\n';
                }
                Step::Show(text)
            }
            State::Body(0) => {
                self.state = State::Start;
                Step::Show(Vec::new())
            }
            State::ChunkData(0) => {
                self.state = State::ChunkEnd;
                Step::Show(Vec::new())
            }
            State::Body(left) | State::ChunkData(left) => self.content(held, left),
            State::Chunk => self.chunk(held),
            State::ChunkEnd => match held {
                [b'\r', b'\n', ..] => self.chunk_ended(b"\r\n"),
                [b'\n', ..] => self.chunk_ended(b"\n"),
                [b'\r'] => Step::More,
                _ => self.lost(),
            },
        }
    }

    fn chunk_ended(&mut self, end: &[u8]) -> Step {
        self.state = State::Chunk;
        Step::Show(end.to_vec())
    }

    /// What should be a chunk is none: what follows is read as lines, as the inspection does.
    fn lost(&mut self) -> Step {
        self.state = State::Start;
        Step::Show(Vec::new())
    }

    /// Looks at what begins between two messages.
    fn start(&mut self, held: &[u8]) -> Step {
        let blank = held.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if blank > 0 {
            return Step::Show(held[..blank].to_vec());
        }
        if records::is_hello(held) {
            return Step::Become(Reader::Tls);
        }
        if held.len() >= 3
            && http2::PREFACE.starts_with(&held[..held.len().min(http2::PREFACE.len())])
        {
            return Step::Become(Reader::Http2(http2::Http2::default()));
        }
        if !begins(held) {
            let is_whole = held.len() >= 24 || self.is_ended || !held[0].is_ascii_alphabetic();
            match self.upgrade {
                _ if !is_whole && memchr::memchr(b'\n', held).is_none() => return Step::More,
                Upgrade::WebSocket => return Step::Become(Reader::WebSocket),
                // A server's first frame of HTTP/2 is its settings.
                _ if held.get(3) == Some(&4) && held[0] == 0 => {
                    return Step::Become(Reader::Http2(http2::Http2::default()));
                }
                _ if held[0] == 0 && held.len() < 9 => return Step::More,
                _ => {}
            }
        }
        let Some(end) = memchr::memchr(b'\n', held) else { return self.long_line(held) };
        if !self.learn(held) {
            return Step::More;
        }
        let line = &held[..=end];
        self.message = Message::default();
        (self.upgrade, self.value) = (Upgrade::None, Value::Secret);
        self.state = State::Headers;
        if line.starts_with(b"HTTP/") {
            let status = line.split(|byte| *byte == b' ').nth(1).unwrap_or(&[]);
            let digits = std::str::from_utf8(status.trim_ascii()).ok();
            self.message.status = Some(digits.and_then(|digits| digits.parse().ok()).unwrap_or(0));
        } else if head::split(line).is_some_and(|(name, _)| is_telling(name)) {
            // A head that begins with a header.
            return self.header(line);
        }
        self.message.connect = line.get(..8).is_some_and(|w| w.eq_ignore_ascii_case(b"CONNECT "));
        Step::Show(head::first_line(line, &self.presented))
    }

    /// Learns what the head presents that begins here; false while its end is to come.
    fn learn(&mut self, held: &[u8]) -> bool {
        let head_len = head::len(held);
        if head_len.is_none() && !self.is_ended && held.len() <= HELD_LEN_MAX / 2 {
            return false;
        }
        self.is_cut = head_len.is_none_or(|len| len > HELD_LEN_MAX / 2);
        let head_len = head_len.unwrap_or(held.len());
        if held.starts_with(b"HTTP/") {
            // What a server answers is no secret of the client.
            return true;
        }
        let mut name: &[u8] = &[];
        for (index, line) in held[..head_len].split(|byte| *byte == b'\n').enumerate() {
            if matches!(line, [b' ' | b'\t', ..]) {
                self.presented.header(name, line);
            } else if let Some((named, value_at)) = head::split(line) {
                name = named;
                self.presented.header(name, &line[value_at..]);
            } else if index == 0 {
                self.presented.target(head::target_of(line));
            }
        }
        true
    }

    /// Waits for the end of a line, unless it is too long.
    fn long_line(&mut self, held: &[u8]) -> Step {
        if held.len() <= HELD_LEN_MAX / 2 {
            return Step::More;
        }
        self.state = State::LongLine;
        Step::Show(filled(held.len()))
    }

    /// Takes a line of a head or of trailers.
    fn line(&mut self, held: &[u8]) -> Step {
        let Some(end) = memchr::memchr(b'\n', held) else { return self.long_line(held) };
        let line = &held[..=end];
        if line.trim_ascii().is_empty() && !matches!(line[0], b' ' | b'\t') {
            self.head_ended();
            return Step::Show(line.to_vec());
        }
        if matches!(line[0], b' ' | b'\t') {
            // A folded value goes on (RFC 9112 §5.2).
            return Step::Show(head::value(self.value, line, &self.presented));
        }
        self.header(line)
    }

    fn header(&mut self, line: &[u8]) -> Step {
        let Some((name, value_at)) = head::split(line) else {
            self.value = Value::Secret;
            return Step::Show(head::blank(line));
        };
        let value = &line[value_at..];
        self.value = match head::value_of(name) {
            Value::Free if self.is_cut => Value::Secret,
            kind => kind,
        };
        self.note(name, value.trim_ascii());
        let shown = head::value(self.value, value, &self.presented);
        // A scheme that stands on the line is not looked for on the next.
        if self.value == Value::Credential && !value.trim_ascii().is_empty() {
            self.value = Value::Secret;
        }
        let (before, _) = line.split_at(value_at - 1);
        Step::Show([&head::name_shown(before), &b":"[..], &shown].concat())
    }

    fn note(&mut self, name: &[u8], value: &[u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let has = |word: &[u8]| value.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word));
        let message = &mut self.message;
        if is("content-length") && message.length.is_none() {
            let number = value.split(|byte| *byte == b',').next().unwrap_or(value);
            let digits = std::str::from_utf8(number.trim_ascii()).ok();
            message.length = digits.and_then(|digits| digits.parse().ok());
        } else if is("transfer-encoding") {
            message.chunked |= has(b"chunked");
        } else if is("content-type") {
            message.content = Content::of(value);
        } else if is("content-encoding") {
            message.coded |= !has(b"identity");
        } else if is("upgrade") {
            self.upgrade = if has(b"websocket") { Upgrade::WebSocket } else { Upgrade::Other };
        }
    }

    fn head_ended(&mut self) {
        if self.state == State::Trailers {
            self.state = State::Start;
            return;
        }
        let message = &mut self.message;
        if message.coded {
            message.content = Content::Opaque;
        }
        let has_no_body = message.connect
            || matches!(message.status, Some(0 | 100..=199 | 204 | 304))
            || (message.status.is_none() && message.length.is_none() && !message.chunked);
        self.state = match message.length {
            _ if has_no_body => State::Start,
            _ if message.chunked => State::Chunk,
            Some(length) => State::Body(length),
            None => State::Body(u64::MAX),
        };
    }

    /// Takes content. An answer to HEAD announces a body and has none (RFC 9110 §9.3.2), as has one to
    /// CONNECT: the next answer's head stands in its place.
    fn content(&mut self, held: &[u8], left: u64) -> Step {
        if self.message.status.is_some() {
            const VERSION: &[u8] = b"HTTP/1.";
            let is_begin = Some(left) == self.message.length || left == u64::MAX;
            if is_begin && held.starts_with(VERSION) {
                self.state = State::Start;
                return Step::Show(Vec::new());
            }
            if is_begin && !self.is_ended && VERSION.starts_with(held) {
                return Step::More;
            }
        }
        let there = usize::try_from(left).unwrap_or(usize::MAX).min(held.len());
        let is_last = there as u64 == left || self.is_ended;
        let text = self.message.content.take(&held[..there], is_last);
        if text.is_empty() {
            return Step::More;
        }
        let rest = if left == u64::MAX { left } else { left - text.len() as u64 };
        self.state = match self.state {
            State::ChunkData(_) => State::ChunkData(rest),
            _ => State::Body(rest),
        };
        // The first bytes of what follows are no longer where a head could be.
        self.message.length = None;
        if rest == u64::MAX {
            self.state = State::Body(rest - 1);
        }
        Step::Show(text)
    }

    /// Takes the length of a chunk (RFC 9112 §7.1).
    fn chunk(&mut self, held: &[u8]) -> Step {
        let digits = held.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let Some(end) = memchr::memchr(b'\n', held) else {
            return if held.len() > HELD_LEN_MAX / 2 { Step::Stop } else { Step::More };
        };
        let significant = held[..digits].iter().skip_while(|digit| **digit == b'0').count();
        let is_ended = held.get(digits).is_some_and(|byte| b"\r\n; \t".contains(byte));
        if digits == 0 || significant > CHUNK_DIGITS_MAX || !is_ended {
            return self.lost();
        }
        let digit = |byte: &u8| u64::from(char::from(*byte).to_digit(16).unwrap_or(0));
        let len = held[..digits].iter().fold(0, |len, byte| len << 4 | digit(byte));
        self.state = if len == 0 { State::Trailers } else { State::ChunkData(len) };
        Step::Show([&held[..digits], &extension(&held[digits..=end])].concat())
    }
}

/// Tells whether a header by itself shows that what begins with it is a head.
fn is_telling(name: &[u8]) -> bool {
    let known: [&[u8]; 3] = [b"authorization", b"host", b"proxy-authorization"];
    known.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Overwrites the extension of a chunk, but for what frames it.
fn extension(bytes: &[u8]) -> Vec<u8> {
    let mut out = head::blank(bytes);
    if bytes.first() == Some(&b';') {
        out[0] = b';';
    }
    out
}
