//! HTTP/2 in clear (RFC 9113): requests by their header blocks, and what they present.
//!
//! Takes both sides of a connection, from its preface or midway; gives evidence as HTTP/1 does. Frames of
//! no interest are passed over by their length, and so are bodies, unless they may hold a credential. A
//! table of fields that was filled before the capture began makes unknown what refers to it.

mod frame;
mod hpack;
mod huffman;
mod stream;
#[cfg(test)]
mod tests;

use super::http1::{Firsts, Method, Presented};
use super::tunnel::Tunnel;
use super::{Context, Inspector, Progress, Uninspected};
use crate::packet::{At, Side};
pub(super) use frame::probe;
use frame::{HEADER_LEN, Header, PREFACE, flag, kind};
use hpack::{Fields, Table};
use stream::Streams;

/// Bytes of one header block that are held, as of a head of HTTP/1. The table is not known behind a longer
/// one.
const BLOCK_LEN_MAX: usize = 64 << 10;

/// Bytes that are held of a side joined midway while they may begin a frame: more than one header.
const SEEK_LEN_MAX: usize = 64;

/// HTTP/2's reader. Holds fields and tokens, and therefore has no `Debug`.
pub struct Http2 {
    client: Side,
    halves: [Half; 2],
    streams: Streams,
    presented: Presented,
    fields: Fields,
    /// The client's stream with the highest number.
    last_stream: u32,
    /// Tunnels around this conversation.
    depth: u8,
}

/// One side's place in its frames.
struct Half {
    state: State,
    /// The frame at hand.
    frame: Header,
    at: At,
    /// Bytes of its payload that are still to come.
    left: usize,
    raw: [u8; HEADER_LEN],
    raw_len: usize,
    /// Bytes of padding at its end, once known.
    padding: Option<usize>,
    payload: Vec<u8>,
    block: Block,
    table: Table,
}

/// A header block over several frames.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    at: At,
    stream: u32,
    ends_stream: bool,
    is_push: bool,
    is_open: bool,
    too_long: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes of the preface were seen.
    Preface(usize),
    /// Nothing known: a piece that begins a frame is waited for.
    Seek,
    /// In frames.
    Frames,
    /// Not read any more.
    Dead,
}

impl Half {
    fn new(state: State) -> Self {
        Self {
            state,
            frame: Header::default(),
            at: At::default(),
            left: 0,
            raw: [0; HEADER_LEN],
            raw_len: 0,
            padding: None,
            payload: Vec::new(),
            block: Block::default(),
            table: Table::new(state == State::Seek),
        }
    }
}

impl Http2 {
    /// Begins with the side that sends the requests; the first bytes are the connection's.
    pub fn new(client: Side) -> Self {
        let mut halves = [Half::new(State::Frames), Half::new(State::Frames)];
        halves[client.index()].state = State::Preface(0);
        Self {
            client,
            halves,
            streams: Streams::default(),
            presented: Presented::default(),
            fields: Fields::default(),
            last_stream: 0,
            depth: 0,
        }
    }

    /// Tells which sides were joined after their beginning: there, a frame is waited for.
    #[must_use]
    pub fn midway(mut self, midway: [bool; 2]) -> Self {
        for side in Side::BOTH {
            if midway[side.index()] {
                self.halves[side.index()] = Half::new(State::Seek);
            }
        }
        self
    }

    /// Tells how many tunnels are around this conversation.
    #[must_use]
    pub(super) fn nested(mut self, depth: u8) -> Self {
        self.depth = depth;
        self
    }

    /// Returns the memory of what is held, in bytes: frames and blocks that are not whole, tables, requests
    /// without an answer.
    pub(super) fn held_bytes(&self) -> usize {
        let of_half = |half: &Half| {
            half.payload.capacity() + half.block.bytes.capacity() + half.table.held_bytes()
        };
        self.halves.iter().map(of_half).sum::<usize>()
            + size_of::<Self>()
            + self.fields.held_bytes()
            + self.presented.held_bytes()
            + self.streams.held_bytes()
    }

    /// Tells of which evidence the request that asked for HTTP/2 was the first: it is stream 1.
    pub(super) fn upgrade(&mut self, firsts: Firsts, method: Method) {
        self.streams.upgraded(firsts, method);
        self.last_stream = self.last_stream.max(1);
    }

    /// Takes bytes of the preface, of which so many were seen. Returns the bytes used up.
    fn take_preface(&mut self, side: Side, seen: usize, bytes: &[u8]) -> usize {
        let half = &mut self.halves[side.index()];
        let wanted = &PREFACE[seen..];
        let len = wanted.len().min(bytes.len());
        if bytes[..len] != wanted[..len] {
            half.state = if seen == 0 { State::Frames } else { State::Dead };
            return 0;
        }
        let seen = seen + len;
        half.state = if seen < PREFACE.len() { State::Preface(seen) } else { State::Frames };
        len
    }

    /// Looks for a frame, or the preface, where a piece of a side joined midway begins. Returns the bytes from
    /// there on.
    fn seek(&mut self, side: Side, bytes: &[u8]) -> Option<Vec<u8>> {
        let half = &mut self.halves[side.index()];
        // A small piece says too little, and is held until the next one.
        let held = std::mem::take(&mut half.payload);
        let joined = if held.is_empty() { Vec::new() } else { [&held, bytes].concat() };
        for begun in [joined.as_slice(), bytes] {
            let is_preface = PREFACE.starts_with(begun) || begun.starts_with(PREFACE);
            if begun.len() >= 3 && is_preface {
                // It is the beginning, only the handshake is missing.
                *half = Half::new(State::Preface(0));
                return Some(begun.to_vec());
            }
            if frame::begins(begun) {
                half.state = State::Frames;
                return Some(begun.to_vec());
            }
            if (1..=SEEK_LEN_MAX).contains(&begun.len()) && (is_preface || frame::may_begin(begun))
            {
                half.payload = begun.to_vec();
                return None;
            }
        }
        None
    }

    /// Takes bytes of frames; returns the bytes used up.
    fn take_frames(
        &mut self,
        side: Side,
        at: At,
        bytes: &[u8],
        context: &mut Context<'_>,
    ) -> usize {
        let half = &mut self.halves[side.index()];
        if half.left == 0 {
            if half.raw_len == 0 {
                half.at = at;
            }
            let len = (HEADER_LEN - half.raw_len).min(bytes.len());
            half.raw[half.raw_len..half.raw_len + len].copy_from_slice(&bytes[..len]);
            half.raw_len += len;
            if half.raw_len == HEADER_LEN {
                half.raw_len = 0;
                half.frame = Header::of(half.raw);
                half.left = half.frame.len;
                half.padding = (!half.frame.has(flag::PADDED)).then_some(0);
                half.payload.clear();
                if half.left == 0 {
                    self.frame(side, &[], context);
                }
            }
            return len;
        }
        let len = half.left.min(bytes.len());
        let part = &bytes[..len];
        half.left -= len;
        let is_over = half.left == 0;
        if half.frame.kind == kind::DATA {
            self.content(side, at, part, context);
            if is_over {
                self.frame(side, &[], context);
            }
        } else if !half.frame.is_held() {
            // Nothing in it is of interest.
        } else if is_over && half.payload.is_empty() {
            self.frame(side, part, context);
        } else {
            let free = BLOCK_LEN_MAX.saturating_sub(half.payload.len());
            half.payload.extend_from_slice(&part[..len.min(free)]);
            half.block.too_long |= len > free;
            if is_over {
                let payload = std::mem::take(&mut half.payload);
                self.frame(side, &payload, context);
                self.halves[side.index()].payload = payload;
            }
        }
        len
    }

    /// A frame is whole.
    fn frame(&mut self, side: Side, payload: &[u8], context: &mut Context<'_>) {
        let half = &mut self.halves[side.index()];
        let frame = half.frame;
        match frame.kind {
            kind::DATA if frame.has(flag::END_STREAM) => {
                let from_client = side == self.client;
                self.streams.end(frame.stream, from_client, true, context);
            }
            kind::HEADERS | kind::PUSH_PROMISE => {
                let block = &mut half.block;
                // A block that was not finished is a fault; what follows it cannot be known.
                if block.is_open {
                    half.table.forget();
                }
                let too_long = std::mem::take(&mut block.too_long);
                *block = Block {
                    bytes: std::mem::take(&mut block.bytes),
                    at: half.at,
                    stream: frame.stream,
                    ends_stream: frame.has(flag::END_STREAM),
                    is_push: frame.kind == kind::PUSH_PROMISE,
                    is_open: true,
                    too_long,
                };
                block.bytes.clear();
                let Some(fragment) = frame.fragment(payload) else {
                    block.is_open = false;
                    return;
                };
                self.fragment(side, fragment, context);
            }
            kind::CONTINUATION if half.block.is_open => self.fragment(side, payload, context),
            kind::RST_STREAM => {
                for from_client in [true, false] {
                    self.streams.end(frame.stream, from_client, false, context);
                }
                self.streams.remove(frame.stream);
            }
            _ => {}
        }
    }

    /// Takes the next part of a header block.
    fn fragment(&mut self, side: Side, fragment: &[u8], context: &mut Context<'_>) {
        let half = &mut self.halves[side.index()];
        let is_whole = half.frame.has(flag::END_HEADERS);
        let block = &mut half.block;
        if !is_whole || !block.bytes.is_empty() {
            block.too_long |= block.bytes.len() + fragment.len() > BLOCK_LEN_MAX;
            if !block.too_long {
                block.bytes.extend_from_slice(fragment);
            }
        }
        if !is_whole {
            return;
        }
        block.is_open = false;
        if std::mem::take(&mut block.too_long) {
            context.facts.uninspected.add(Uninspected::LIMIT);
            half.table.forget();
            return;
        }
        let held = std::mem::take(&mut block.bytes);
        let bytes = if held.is_empty() { fragment } else { held.as_slice() };
        let is_sound = half.table.decode(bytes, &mut self.fields);
        if !is_sound || self.fields.has_unknown {
            context.facts.uninspected.add(Uninspected::STATE);
        }
        if self.fields.is_cut {
            context.facts.uninspected.add(Uninspected::LIMIT);
        }
        half.block.bytes = held;
        let block = &half.block;
        let (at, stream, ends, is_push) =
            (block.at, block.stream, block.ends_stream, block.is_push);
        if side != self.client {
            if !is_push {
                self.response(stream, at, ends, context);
            }
        } else if !is_push {
            self.request(stream, at, ends, context);
        }
    }

    /// Takes the fields of a request, or its trailers.
    fn request(&mut self, stream: u32, at: At, ends: bool, context: &mut Context<'_>) {
        let has_pseudo = self.fields.iter().any(|(name, _)| name.starts_with(b":"));
        let is_new = stream > self.last_stream;
        self.last_stream = self.last_stream.max(stream);
        if !has_pseudo && !is_new {
            // Trailers: nothing in them is presented.
            if ends {
                self.streams.end(stream, true, true, context);
            }
            return;
        }
        let Self { presented, fields, .. } = self;
        presented.clear();
        let method = fields.value(b":method").unwrap_or(b"");
        let path = fields.value(b":path").unwrap_or(b"");
        presented.request(method, path, at, context);
        if fields.value(b":protocol").is_some() {
            // A CONNECT with a protocol opens a WebSocket, not a tunnel (RFC 8441 §4).
            presented.framing.method = Method::Get;
        }
        for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with(b":")) {
            presented.header(name, super::http1::trim(value), at, context);
        }
        context.facts.requests += 1;
        let counted = presented.kinds();
        let named = &context.options.auth_headers;
        let firsts = presented.report(at, context.facts, || stream::describe(fields, named));
        self.streams.ask(stream, presented, (firsts, counted), at, context, || {
            stream::describe(fields, named)
        });
        if ends {
            self.streams.end(stream, true, true, context);
        }
    }

    /// Takes the fields of a response, or its trailers.
    fn response(&mut self, stream: u32, at: At, ends: bool, context: &mut Context<'_>) {
        let status = self.fields.value(b":status").and_then(|s| std::str::from_utf8(s).ok());
        let status = status.and_then(|status| status.parse().ok());
        if let Some(status) = status.filter(|status| *status >= 200) {
            let client_seen = self.last_stream > 0;
            self.streams.answer(stream, status, &self.fields, at, client_seen, context);
        }
        if ends {
            self.streams.end(stream, false, true, context);
        }
    }

    /// Takes bytes of a DATA frame, padding included.
    fn content(&mut self, side: Side, at: At, part: &[u8], context: &mut Context<'_>) {
        let from_client = side == self.client;
        let half = &mut self.halves[side.index()];
        let mut part = part;
        let padding = if let Some(padding) = half.padding {
            padding
        } else {
            let Some((padding, behind)) = part.split_first() else { return };
            part = behind;
            *half.padding.insert(usize::from(*padding))
        };
        // The padding is at the frame's end.
        let in_content = (part.len() + half.left).saturating_sub(padding).min(part.len());
        let stream = half.frame.stream;
        if self.streams.wants_tunnel(stream) {
            self.streams.open_tunnel(stream, Tunnel::new(self.client, self.depth), context);
        }
        self.streams.content(stream, (side, from_client), at, &part[..in_content], context);
    }

    fn progress(&self) -> Progress {
        if self.halves.iter().all(|half| half.state == State::Dead) {
            Progress::Enough
        } else {
            Progress::More
        }
    }

    fn lose(&mut self, side: Side, context: &mut Context<'_>) {
        self.streams.lose(side == self.client, context);
        let half = &mut self.halves[side.index()];
        *half = Half::new(State::Dead);
    }
}

impl Inspector for Http2 {
    fn data(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) -> Progress {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = match self.halves[side.index()].state {
                State::Frames => self.take_frames(side, at, rest, context),
                State::Preface(seen) => self.take_preface(side, seen, rest),
                State::Seek => {
                    if let Some(found) = self.seek(side, rest) {
                        return self.data(side, at, &found, context);
                    }
                    break;
                }
                State::Dead => break,
            };
            rest = rest.get(taken..).unwrap_or(&[]);
        }
        self.progress()
    }

    fn gap(&mut self, side: Side, len: u64, context: &mut Context<'_>) -> Progress {
        let skippable = self.skippable(side);
        let half = &mut self.halves[side.index()];
        if half.state == State::Seek {
            half.payload.clear();
        }
        if half.state == State::Dead || half.state == State::Seek {
            return self.progress();
        }
        if len <= skippable {
            half.left = half.left.saturating_sub(usize::try_from(len).unwrap_or(usize::MAX));
            if half.left == 0 {
                self.frame(side, &[], context);
            }
            return self.progress();
        }
        context.facts.uninspected.add(Uninspected::HOLE);
        self.lose(side, context);
        self.progress()
    }

    fn close(&mut self, side: Side, context: &mut Context<'_>) -> Progress {
        self.lose(side, context);
        self.progress()
    }

    fn skippable(&self, side: Side) -> u64 {
        let half = &self.halves[side.index()];
        match half.state {
            State::Dead => u64::MAX,
            State::Frames if half.frame.is_held() => 0,
            State::Frames if half.frame.kind == kind::DATA => {
                let is_read = self.streams.reads(half.frame.stream, side == self.client);
                if is_read { 0 } else { half.left as u64 }
            }
            State::Frames => half.left as u64,
            State::Preface(_) | State::Seek => 0,
        }
    }
}
