//! HTTP/1.0 and 1.1 by real framing (RFC 9112): which bytes are heads, and what their credentials are.
//!
//! Takes both sides of a connection; gives evidence of presented credentials. Bodies are skipped by their
//! framing, unless a form may hold a token. A head that another parser would reject is still read line by
//! line. Never looks for credentials in bodies of other kinds, in responses, or behind an upgrade.

mod body;
mod credentials;
mod form;
mod head;
mod probe;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::{Context, Inspector, Progress, Protocol, Uninspected};
use crate::packet::{At, Side};
use body::Body;
use credentials::Presented;
use form::Form;
use head::{Framing, head_end};
pub(super) use probe::probe;

/// Bytes of one head that are held: servers allow 8 to 48 KiB. Beyond it, whole lines are evaluated and
/// dropped, so that a longer head is read all the same.
pub const HEAD_LEN_MAX: usize = 64 << 10;

/// Requests whose answers may lag behind: what clients pipeline, many times over.
const UNANSWERED_MAX: usize = 256;

/// HTTP/1's reader.
pub struct Http1 {
    client: Side,
    requests: Half,
    responses: Half,
    unanswered: VecDeque<Asked>,
    presented: Presented,
    form: Option<Form>,
    /// The last request asked for another protocol; nobody has answered yet.
    switching: bool,
}

/// What is remembered of a request until its answer.
#[derive(Clone, Copy)]
struct Asked {
    head: bool,
    connect: bool,
    upgrade: Upgrade,
    evidence: bool,
}

/// Which protocol a request asked to go on with.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Upgrade {
    /// None.
    #[default]
    None,
    /// `WebSocket` (RFC 6455).
    WebSocket,
    /// HTTP/2 (RFC 7540 §3.2).
    Http2,
    /// Any other.
    Other,
}

/// One side's place in its messages.
#[derive(Default)]
struct Half {
    state: State,
    held: Vec<u8>,
    scanned: usize,
    start: At,
}

#[derive(Default)]
enum State {
    /// Between messages.
    #[default]
    Start,
    /// Inside a head.
    Head,
    /// Inside a body.
    Body(Body),
    /// Not read any more.
    Dead,
}

impl Http1 {
    /// Begins with the side that sends the requests.
    pub fn new(client: Side) -> Self {
        Self {
            client,
            requests: Half::default(),
            responses: Half::default(),
            unanswered: VecDeque::new(),
            presented: Presented::default(),
            form: None,
            switching: false,
        }
    }

    fn half(&mut self, side: Side) -> &mut Half {
        if side == self.client { &mut self.requests } else { &mut self.responses }
    }

    /// Takes what of a head is there; returns the bytes used up.
    fn take_head(&mut self, side: Side, bytes: &[u8], context: &mut Context<'_>) -> usize {
        let half = self.half(side);
        if half.held.is_empty() {
            if let Some(end) = head_end(bytes, 0) {
                self.message(side, &bytes[..end], context);
                return end;
            }
            half.held.extend_from_slice(bytes);
        } else {
            let known = half.held.len();
            half.held.extend_from_slice(bytes);
            if let Some(end) = head_end(&half.held, half.scanned) {
                let held = std::mem::take(&mut half.held);
                half.scanned = 0;
                self.message(side, &held[..end], context);
                return end.saturating_sub(known);
            }
        }
        // A line end may be followed by the blank line's: look at it again.
        half.scanned = half.held.len().saturating_sub(2);
        if half.held.len() > HEAD_LEN_MAX {
            self.spill(side, context);
        }
        bytes.len()
    }

    /// A head is longer than what is held: its whole lines are evaluated and dropped.
    fn spill(&mut self, side: Side, context: &mut Context<'_>) {
        let half = self.half(side);
        // The last whole line stays: it may be folded.
        let lines = memchr::memrchr(b'\n', &half.held)
            .and_then(|last| memchr::memrchr(b'\n', &half.held[..last]))
            .map(|end| end + 1);
        let Some(end) = lines else {
            // One line without an end: nobody knows what it would have been.
            half.held.truncate(0);
            half.scanned = 0;
            context.facts.uninspected.add(Uninspected::LIMIT);
            return;
        };
        let rest = half.held.split_off(end);
        let whole = std::mem::replace(&mut half.held, rest);
        half.scanned = 0;
        if side == self.client {
            self.presented.lines(&whole, context);
        }
    }

    /// Takes a whole head.
    fn message(&mut self, side: Side, head: &[u8], context: &mut Context<'_>) {
        if side == self.client {
            self.request(head, context);
        } else {
            self.response(head, context);
        }
    }

    fn request(&mut self, head: &[u8], context: &mut Context<'_>) {
        let at = self.requests.start;
        let mut presented = std::mem::take(&mut self.presented);
        presented.lines(head, context);
        let framing = presented.framing;
        let evidence = presented.report(at, head, context);
        context.facts.requests += 1;
        let (is_head, connect) = (framing.method_is(b"HEAD"), framing.method_is(b"CONNECT"));
        if self.unanswered.len() < UNANSWERED_MAX {
            let upgrade = framing.upgrade;
            self.unanswered.push_back(Asked { head: is_head, connect, upgrade, evidence });
        }
        self.switching = connect || framing.upgrade != Upgrade::None;
        self.form = (framing.form && !framing.method_is(b"GET"))
            .then(|| Form::new(at, presented.has_bearer(), head));
        self.requests.state = match framing.body_of_request() {
            Some(body) => State::Body(body),
            None => State::Start,
        };
        if matches!(self.requests.state, State::Start) {
            self.form = None;
        }
    }

    fn response(&mut self, head: &[u8], context: &mut Context<'_>) {
        let (status, framing) = head::response(head);
        if framing.wso2_server {
            context.facts.wso2_server = true;
        }
        let informational = (100..200).contains(&status) && status != 101;
        if informational {
            self.responses.state = State::Start;
            return;
        }
        let asked = self.unanswered.pop_front();
        if asked.is_some_and(|asked| asked.evidence) {
            for evidence in &mut context.facts.evidence {
                if let Some(http) = &mut evidence.http
                    && http.status.is_none()
                {
                    http.status = Some(status);
                }
            }
        }
        let connected = asked.is_some_and(|a| a.connect) && (200..300).contains(&status);
        if status == 101 {
            self.switch(asked.map_or(framing.upgrade, |a| a.upgrade), context);
            return;
        }
        if connected {
            // What follows is a conversation of its own; clear HTTP is read, the rest is not.
            self.switching = true;
            self.responses.state = State::Start;
            return;
        }
        if asked.is_some_and(|a| a.connect || a.upgrade != Upgrade::None) {
            self.switching = false;
        }
        let no_body =
            asked.is_some_and(|a| a.head) || status == 204 || status == 304 || status == 0;
        self.responses.state = if no_body {
            State::Start
        } else {
            framing.body_of_response().map_or(State::Start, State::Body)
        };
    }

    /// The server agreed to another protocol.
    fn switch(&mut self, upgrade: Upgrade, context: &mut Context<'_>) {
        match upgrade {
            Upgrade::WebSocket => context.facts.protocol = Some(Protocol::WebSocket),
            Upgrade::Http2 => {
                context.facts.protocol = Some(Protocol::Http2);
                context.facts.uninspected.add(Uninspected::LIMIT);
            }
            Upgrade::None | Upgrade::Other => {}
        }
        self.requests.state = State::Dead;
        self.responses.state = State::Dead;
    }

    /// Takes bytes of a body; returns the bytes used up.
    fn take_body(&mut self, side: Side, bytes: &[u8], context: &mut Context<'_>) -> usize {
        let from_client = side == self.client;
        let Self { requests, responses, form, .. } = self;
        let half = if from_client { requests } else { responses };
        let State::Body(body) = &mut half.state else { return bytes.len() };
        let mut form = if from_client { form.as_mut() } else { None };
        let taken = body.take(bytes, |content| {
            if let Some(form) = &mut form {
                form.content(content, context);
            }
        });
        if body.is_over() {
            if let Some(form) = form {
                form.end(context);
            }
            if from_client {
                self.form = None;
            }
            self.half(side).state = State::Start;
        } else if body.is_lost() {
            // A chunk that is none: what follows is read as lines.
            self.form = None;
            self.half(side).state = State::Start;
        }
        taken
    }

    /// Looks at the first byte behind a message.
    fn take_start(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) -> usize {
        let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let Some(rest) = bytes.get(blank..).filter(|rest| !rest.is_empty()) else {
            return bytes.len();
        };
        if side == self.client && rest.starts_with(b"PRI * HTTP/2.0") {
            context.facts.protocol = Some(Protocol::Http2);
            context.facts.uninspected.add(Uninspected::LIMIT);
            self.requests.state = State::Dead;
            self.responses.state = State::Dead;
            return bytes.len();
        }
        let switching = self.switching;
        let half = self.half(side);
        let goes_on = !switching || probe::may_be_http(rest);
        half.state = if goes_on { State::Head } else { State::Dead };
        half.start = at;
        blank
    }

    /// Counts what is complete of a head that will not be finished.
    fn give_up_head(&mut self, context: &mut Context<'_>) {
        let held = std::mem::take(&mut self.requests.held);
        self.requests.scanned = 0;
        if !matches!(self.requests.state, State::Head) {
            return;
        }
        let whole = memchr::memrchr(b'\n', &held).map_or(0, |end| end + 1);
        let mut presented = std::mem::take(&mut self.presented);
        presented.lines(&held[..whole], context);
        if whole > 0 || presented.is_any() {
            context.facts.requests += 1;
            presented.report(self.requests.start, &held[..whole], context);
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

impl Inspector for Http1 {
    fn data(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) -> Progress {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = match self.half(side).state {
                State::Start => self.take_start(side, at, rest, context),
                State::Head => self.take_head(side, rest, context),
                State::Body(_) => self.take_body(side, rest, context),
                State::Dead => break,
            };
            rest = rest.get(taken..).unwrap_or(&[]);
        }
        self.progress()
    }

    fn gap(&mut self, side: Side, len: u64, context: &mut Context<'_>) -> Progress {
        let has_form = side == self.client && self.form.is_some();
        if let State::Body(body) = &mut self.half(side).state
            && body.skip(len)
        {
            if has_form {
                context.facts.uninspected.add(Uninspected::HOLE);
                self.form = None;
            }
            let over = matches!(&self.half(side).state, State::Body(body) if body.is_over());
            if over {
                self.half(side).state = State::Start;
            }
            return Progress::More;
        }
        if matches!(self.half(side).state, State::Dead) {
            return self.progress();
        }
        if side == self.client {
            self.give_up_head(context);
            self.form = None;
        }
        context.facts.uninspected.add(Uninspected::HOLE);
        self.half(side).state = State::Dead;
        self.progress()
    }

    fn close(&mut self, side: Side, context: &mut Context<'_>) -> Progress {
        if side == self.client {
            self.give_up_head(context);
        }
        self.half(side).state = State::Dead;
        self.progress()
    }

    fn skippable(&self, side: Side) -> u64 {
        let from_client = side == self.client;
        let half = if from_client { &self.requests } else { &self.responses };
        match &half.state {
            State::Body(_) if from_client && self.form.is_some() => 0,
            State::Body(body) => body.skippable(),
            State::Dead => u64::MAX,
            State::Start | State::Head => 0,
        }
    }
}
