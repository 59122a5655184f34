//! HTTP/1.0 and 1.1 by real framing (RFC 9112): which bytes are heads, and what their credentials are.
//!
//! Takes both sides of a connection; gives evidence of presented credentials. Bodies are passed over by
//! their framing, unless they may hold a credential: forms, SOAP requests, JSON answers. A head that another
//! parser would reject is still read line by line. What follows an upgrade or a CONNECT has its own reader.
//! Never looks for credentials in other bodies or in the heads of responses.

mod answers;
mod body;
mod content;
mod credentials;
mod describe;
mod form;
mod head;
mod json;
mod message;
mod probe;
mod soap;
mod switch;
#[cfg(test)]
mod tests;

use super::{Context, Inspector, Progress, Uninspected};
use crate::packet::{At, Side};
use answers::Answers;
use body::Body;
pub(super) use content::Content;
pub(super) use credentials::{Firsts, Presented};
pub(super) use describe::Description;
pub(super) use head::{Framing, Method, is, trim};
use head::{head_end, rescan_from, whole_lines};
pub(super) use probe::probe;
use switch::{Next, Upgrade};

/// Bytes of one head that are held: servers allow 8 to 48 KiB. Beyond it, whole lines are evaluated and
/// dropped, so that a longer head is read all the same; a single line of this length is not.
pub const HEAD_LEN_MAX: usize = 64 << 10;

/// HTTP/1's reader. Holds heads and tokens, and therefore has no `Debug`.
pub struct Http1 {
    client: Side,
    /// Tunnels around this conversation.
    depth: u8,
    requests: Half,
    responses: Half,
    /// What the request's head at hand presents.
    presented: Presented,
    /// What is said of a request whose head was too long to be held.
    spilled: Option<Box<Description>>,
    /// What the response's head at hand says.
    answer: (Option<u16>, Framing),
    answers: Answers,
    /// The head of the last request with a body, and its number.
    posted: (u32, Vec<u8>),
    /// The body of the request at hand, where it may hold a credential.
    form: Option<Content>,
    /// The body of the response at hand, where it may issue a token.
    issued: Option<Content>,
    /// The request and the status that it answers.
    issued_of: (Option<u32>, u16),
    /// What the last request asked to go on with; nobody has answered yet.
    asked: Upgrade,
    /// The server agreed: what comes behind the request at hand is the new protocol's.
    agreed: bool,
    /// The server answered before it saw the body that the client announced.
    refused: bool,
    next: Option<Next>,
}

/// One side's place in its messages.
#[derive(Default)]
struct Half {
    state: State,
    held: Vec<u8>,
    scanned: usize,
    start: At,
    /// Joined midway, and what is held may begin a request or be the end of something else.
    unsure: bool,
    /// The rest of a line that is too long is passed over.
    in_long_line: bool,
}

#[derive(Default)]
enum State {
    /// Between messages.
    #[default]
    Start,
    /// Nothing known: a piece that begins a message is waited for.
    Seek,
    /// Inside a head.
    Head,
    /// Inside a body.
    Body(Body),
    /// Another protocol's.
    Switched,
    /// Not read any more.
    Dead,
}

impl Http1 {
    /// Begins with the side that sends the requests.
    pub fn new(client: Side) -> Self {
        Self {
            client,
            depth: 0,
            requests: Half::default(),
            responses: Half::default(),
            presented: Presented::default(),
            spilled: None,
            answer: (None, Framing::default()),
            answers: Answers::default(),
            posted: (0, Vec::new()),
            form: None,
            issued: None,
            issued_of: (None, 0),
            asked: Upgrade::None,
            agreed: false,
            refused: false,
            next: None,
        }
    }

    /// Tells which sides were joined after their beginning: there, a message is waited for.
    #[must_use]
    pub fn midway(mut self, midway: [bool; 2]) -> Self {
        for side in Side::BOTH {
            if midway[side.index()] {
                self.half(side).state = State::Seek;
                self.answers.begin_midway();
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

    /// Loads the place in both sides' messages; returns something of it.
    #[inline]
    pub(super) fn touch(&self) -> u64 {
        (self.requests.scanned ^ self.responses.scanned) as u64
    }

    /// Returns the memory of what is held, in bytes: heads and bodies that are not whole, requests without
    /// an answer.
    pub(super) fn held_bytes(&self) -> usize {
        let heads = self.requests.held.capacity() + self.responses.held.capacity();
        let content = |content: &Option<Content>| content.as_ref().map_or(0, Content::held_bytes);
        let next = match &self.next {
            Some(Next::Http2(http2)) => http2.held_bytes(),
            Some(Next::Tunnel(tunnel)) => tunnel.held_bytes(),
            Some(Next::WebSocket(_)) | None => 0,
        };
        heads
            + self.posted.1.capacity()
            + content(&self.form)
            + content(&self.issued)
            + self.presented.held_bytes()
            + self.spilled.as_ref().map_or(0, |spilled| spilled.held_bytes())
            + self.answers.held_bytes()
            + next
    }

    fn half(&mut self, side: Side) -> &mut Half {
        if side == self.client { &mut self.requests } else { &mut self.responses }
    }

    /// Looks for a message at the beginning of a piece.
    fn take_seek(&mut self, side: Side, at: At, bytes: &[u8]) -> usize {
        let from_client = side == self.client;
        let begins =
            if from_client { probe::may_be_request(bytes) } else { probe::may_be_response(bytes) };
        if !begins {
            return bytes.len();
        }
        let half = self.half(side);
        half.unsure = from_client && !probe::is_request(bytes);
        half.state = State::Head;
        half.start = at;
        0
    }

    /// What a stream was joined at and looked like a beginning may turn out to be none.
    fn doubt(&mut self, bytes: &[u8]) {
        let half = &mut self.requests;
        if probe::is_request(&half.held) {
            half.unsure = false;
        } else if probe::is_request(bytes) || !probe::may_be_request(&half.held) {
            half.held.clear();
            half.scanned = 0;
            half.unsure = false;
            half.state = State::Seek;
        }
    }

    /// Looks at the first byte behind a message.
    fn take_start(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) -> usize {
        if side == self.client && self.agreed {
            self.requests.state = State::Switched;
            return 0;
        }
        let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let Some(rest) = bytes.get(blank..).filter(|rest| !rest.is_empty()) else {
            return bytes.len();
        };
        if side != self.client {
            let begins = probe::may_be_response(rest);
            self.responses.state = if begins { State::Head } else { State::Seek };
            self.responses.start = at;
            return if begins { blank } else { bytes.len() };
        }
        if self.asked != Upgrade::None && !probe::may_be_http(rest) {
            // The answer is not captured, or is late: the bytes themselves decide.
            self.go_on_with(self.asked, rest, context);
            return 0;
        }
        self.requests.state = State::Head;
        self.requests.start = at;
        blank
    }

    /// Takes what of a head is there; returns the bytes used up.
    fn take_head(&mut self, side: Side, bytes: &[u8], context: &mut Context<'_>) -> usize {
        let half = self.half(side);
        if half.in_long_line {
            let Some(end) = memchr::memchr(b'\n', bytes) else { return bytes.len() };
            half.in_long_line = false;
            // The end of the line stays, as a blank line may follow.
            half.held.push(b'\n');
            return end + 1;
        }
        if half.held.is_empty() {
            if let Some(end) = self.whole_message(side, bytes, context) {
                return end;
            }
            self.half(side).held.extend_from_slice(bytes);
        } else {
            let known = half.held.len();
            half.held.extend_from_slice(bytes);
            if let Some(end) = head_end(&half.held, half.scanned) {
                let mut held = std::mem::take(&mut half.held);
                half.scanned = 0;
                self.message(side, &held[..end], context);
                held.clear();
                // The memory is for the next head, unless that would be a burden.
                if held.capacity() <= HELD_KEPT_MAX {
                    self.half(side).held = held;
                }
                return end.saturating_sub(known);
            }
        }
        let half = self.half(side);
        half.scanned = rescan_from(&half.held);
        if half.held.len() > HEAD_LEN_MAX {
            self.spill(side, context);
        }
        bytes.len()
    }

    /// A head is longer than what is held: its whole lines are evaluated and dropped.
    fn spill(&mut self, side: Side, context: &mut Context<'_>) {
        let is_first = side == self.client && self.spilled.is_none();
        let half = self.half(side);
        half.scanned = 0;
        let last = memchr::memrchr(b'\n', &half.held).map(|last| last + 1);
        // The last whole line stays: it may be folded.
        let end =
            last.and_then(|last| memchr::memrchr(b'\n', &half.held[..last - 1])).map(|end| end + 1);
        let whole = if let Some(end) = end {
            let rest = half.held.split_off(end);
            std::mem::replace(&mut half.held, rest)
        } else {
            // One line without an end: nobody knows what it would have been, nor what it folds.
            half.in_long_line = true;
            context.facts.uninspected.add(Uninspected::LIMIT);
            let mut whole = std::mem::take(&mut half.held);
            let is_folded = last.is_some_and(|last| matches!(whole.get(last), Some(b' ' | b'\t')));
            if let Some(last) = last.filter(|_| !is_folded) {
                whole.truncate(last);
            } else if is_folded || !is_first || !credentials::end_cut_line(&mut whole) {
                return;
            }
            whole
        };
        if side == self.client {
            let description = self.spilled.get_or_insert_default();
            description.lines(&whole, &context.options.auth_headers);
            self.presented.lines(&whole, self.requests.start, context);
        } else {
            let (status, _) = head::response(&whole, &mut self.answer.1);
            self.answer.0 = self.answer.0.or(status);
        }
    }

    /// Takes bytes of a body; returns the bytes used up.
    fn take_body(&mut self, side: Side, bytes: &[u8], context: &mut Context<'_>) -> usize {
        let from_client = side == self.client;
        if from_client && std::mem::take(&mut self.refused) && probe::may_be_request(bytes) {
            // The body was refused, and the client goes on without it.
            self.end_content(side, false, context);
            self.requests.state = State::Start;
            return 0;
        }
        let Self { requests, responses, form, issued, .. } = self;
        let (half, content) = if from_client { (requests, form) } else { (responses, issued) };
        let State::Body(body) = &mut half.state else { return bytes.len() };
        let taken = if let Some(content) = content {
            let mut wanted = true;
            let taken = body.take(bytes, |part| wanted = wanted && content.take(part));
            if body.is_over() || body.is_lost() || !wanted {
                let is_over = body.is_over();
                self.end_content(side, is_over, context);
            }
            taken
        } else {
            body.take(bytes, |_| {})
        };
        let half = self.half(side);
        if matches!(&half.state, State::Body(body) if body.is_over() || body.is_lost()) {
            // Behind a chunk that is none, a request's bytes are read as lines.
            half.state = State::Start;
        }
        taken
    }

    /// Counts what is complete of a head that will not be finished.
    fn give_up_head(&mut self, context: &mut Context<'_>) {
        let mut held = std::mem::take(&mut self.requests.held);
        self.requests.scanned = 0;
        if !matches!(self.requests.state, State::Head) {
            return;
        }
        if self.spilled.is_none()
            && whole_lines(&held) == 0
            && !credentials::end_cut_line(&mut held)
        {
            return;
        }
        let whole = &held[..whole_lines(&held)];
        self.presented.lines(whole, self.requests.start, context);
        self.report_request(whole, context);
        context.facts.requests += 1;
    }

    /// Gives bytes to the reader of the new protocol.
    fn pass(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) {
        let progress = match &mut self.next {
            Some(next) => next.data(side, at, bytes, context),
            // The request that asked for it is still to come.
            None => Progress::More,
        };
        self.follow(progress);
    }

    /// The new protocol's reader may have had enough.
    fn follow(&mut self, progress: Progress) {
        if progress == Progress::Enough {
            for half in [&mut self.requests, &mut self.responses] {
                if matches!(half.state, State::Switched) {
                    half.state = State::Dead;
                }
            }
        }
    }

    fn progress(&self) -> Progress {
        let dead = |half: &Half| matches!(half.state, State::Dead);
        if dead(&self.requests) && dead(&self.responses) {
            Progress::Enough
        } else {
            Progress::More
        }
    }
}

/// Memory for a head that is kept between heads.
const HELD_KEPT_MAX: usize = 4 << 10;

impl Inspector for Http1 {
    fn data(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) -> Progress {
        if side != self.client
            && bytes.starts_with(b"HTTP/1.")
            && self.answers.next().is_some()
            && matches!(&self.responses.state, State::Body(body) if body.is_until_close())
        {
            // A body without a length that did not end with the connection.
            self.end_content(side, true, context);
            self.responses.state = State::Start;
        }
        if side == self.client && self.requests.unsure {
            self.doubt(bytes);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = match self.half(side).state {
                State::Start => self.take_start(side, at, rest, context),
                State::Seek => self.take_seek(side, at, rest),
                State::Head => self.take_head(side, rest, context),
                State::Body(_) => self.take_body(side, rest, context),
                State::Switched => {
                    self.pass(side, at, rest, context);
                    break;
                }
                State::Dead => break,
            };
            rest = rest.get(taken..).unwrap_or(&[]);
        }
        self.progress()
    }

    fn gap(&mut self, side: Side, len: u64, context: &mut Context<'_>) -> Progress {
        let from_client = side == self.client;
        let has_content = if from_client { self.form.is_some() } else { self.issued.is_some() };
        match &mut self.half(side).state {
            // Nothing begins where nothing was found yet.
            State::Dead | State::Seek => return self.progress(),
            State::Switched => {
                let progress = self.next.as_mut().map(|next| next.gap(side, len, context));
                self.follow(progress.unwrap_or(Progress::More));
                return self.progress();
            }
            State::Body(body) => {
                let in_body = body.skip(len);
                let is_over = body.is_over();
                if has_content {
                    context.facts.uninspected.add(Uninspected::HOLE);
                    self.end_content(side, false, context);
                }
                if in_body {
                    if is_over {
                        self.half(side).state = State::Start;
                    }
                    return Progress::More;
                }
            }
            State::Start | State::Head => {}
        }
        if from_client {
            self.give_up_head(context);
        }
        context.facts.uninspected.add(Uninspected::HOLE);
        self.answers.lose();
        self.half(side).state = State::Dead;
        self.progress()
    }

    fn close(&mut self, side: Side, context: &mut Context<'_>) -> Progress {
        let from_client = side == self.client;
        match &self.half(side).state {
            State::Switched => {
                let progress = self.next.as_mut().map(|next| next.close(side, context));
                self.follow(progress.unwrap_or(Progress::More));
                return self.progress();
            }
            State::Body(body) => {
                let is_whole = body.is_until_close();
                self.end_content(side, is_whole, context);
            }
            State::Head if from_client => self.give_up_head(context),
            _ => {}
        }
        let half = self.half(side);
        half.state = State::Dead;
        half.held = Vec::new();
        self.progress()
    }

    fn skippable(&self, side: Side) -> u64 {
        let from_client = side == self.client;
        let half = if from_client { &self.requests } else { &self.responses };
        match &half.state {
            State::Body(_) if from_client && (self.form.is_some() || self.refused) => 0,
            State::Body(_) if !from_client && self.issued.is_some() => 0,
            State::Body(body) => body.skippable(),
            State::Dead => u64::MAX,
            State::Switched => self.next.as_ref().map_or(u64::MAX, |next| next.skippable(side)),
            State::Start | State::Seek | State::Head => 0,
        }
    }

    fn passes(&self, side: Side) -> u64 {
        let from_client = side == self.client;
        let half = if from_client { &self.requests } else { &self.responses };
        match &half.state {
            // Whatever comes may begin an answer.
            State::Body(body) if body.is_until_close() || half.unsure => 0,
            State::Body(_) => self.skippable(side),
            _ => 0,
        }
    }

    fn passed(&mut self, side: Side, len: u32) {
        if let State::Body(body) = &mut self.half(side).state {
            body.skip(len.into());
        }
    }
}
