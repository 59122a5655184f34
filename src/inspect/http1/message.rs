//! What is done when a message's head is whole, and when its body ends.

use super::answers::Asked;
use super::head::{self, Beginnings, Framing, Method};
use super::switch::{Next, Upgrade};
use super::{Content, Description, Firsts, Http1, State};
use crate::inspect::Context;
use crate::inspect::facts::Protocol;
use crate::inspect::http2::Http2;
use crate::inspect::tunnel::Tunnel;
use crate::inspect::websocket::{self, WebSocket};
use crate::packet::Side;

/// The beginning of HTTP/2's preface (RFC 9113 §3.4): it looks like a head, so that nobody mistakes it.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

impl Http1 {
    /// Takes a whole head, of which long parts may have been evaluated before.
    pub(super) fn message(&mut self, side: Side, head: &[u8], context: &mut Context<'_>) {
        if side == self.client {
            self.presented.lines(head, self.requests.start, context);
            self.request(head, context);
        } else {
            let (known, mut framing) = std::mem::take(&mut self.answer);
            let (status, _) = head::response(head, &mut framing);
            self.response(head, known.or(status), framing, context);
        }
    }

    /// Takes a head where all of it lies at the beginning of `bytes`, as most do; returns its length.
    pub(super) fn whole_message(
        &mut self,
        side: Side,
        bytes: &[u8],
        context: &mut Context<'_>,
    ) -> Option<usize> {
        if side == self.client {
            self.presented.clear();
            self.spilled = None;
            let Some(end) = self.presented.lines(bytes, self.requests.start, context) else {
                // It is read again when the rest is there.
                self.presented.clear();
                return None;
            };
            self.request(&bytes[..end], context);
            return Some(end);
        }
        self.answer = Default::default();
        let mut framing = Framing::default();
        let (status, end) = head::response(bytes, &mut framing);
        self.response(&bytes[..end?], status, framing, context);
        end
    }

    /// Goes on behind a request's head, whose lines were evaluated.
    fn request(&mut self, head: &[u8], context: &mut Context<'_>) {
        if head == PREFACE {
            self.go_on_with(Upgrade::Http2, head, context);
            self.pass(self.client, self.requests.start, head, context);
            return;
        }
        let counted = self.report_request(head, context);
        context.facts.requests += 1;
        let at = self.requests.start;
        let framing = self.presented.framing;
        let body = framing.body_of_request();
        self.requests.state = body.map_or(State::Start, State::Body);
        self.refused = false;
        if matches!(self.requests.state, State::Body(_)) {
            self.form = Content::of_request(&framing, at, counted);
        }
        if !matches!(framing.method, Method::Get | Method::Head | Method::Connect) {
            // An answer to it may issue a token.
            self.posted.0 = self.answers.last_number();
            self.posted.1.clear();
            self.posted.1.extend_from_slice(&head[..head.len().min(POSTED_LEN_MAX)]);
        }
    }

    /// Counts what a request's head presents, of which these are the last lines; returns what that is.
    pub(super) fn report_request(&mut self, lines: &[u8], context: &mut Context<'_>) -> Firsts {
        let at = self.requests.start;
        let counted = self.presented.kinds();
        let spilled = self.spilled.take();
        let named = &context.options.auth_headers;
        let firsts = self.presented.report(at, context.facts, || {
            let mut description = spilled.map_or_else(Description::default, |spilled| *spilled);
            description.lines(lines, named);
            description
        });
        let framing = &self.presented.framing;
        let upgrade = match framing.method {
            Method::Connect => Upgrade::Other,
            _ => framing.upgrade,
        };
        let (method, expects) = (framing.method, framing.expects);
        let answered = self.answers.ask(method, upgrade, expects, firsts, context.facts);
        self.asked = upgrade;
        if let Some((asked, status)) = answered {
            self.answered_before(asked, status, context);
        }
        counted
    }

    /// The answer to a request was captured before it.
    fn answered_before(&mut self, asked: Asked, status: u16, context: &mut Context<'_>) {
        let is_success = (200..300).contains(&status);
        if status == 101 || (asked.method == Method::Connect && is_success) {
            let offered =
                if asked.upgrade == Upgrade::None { Upgrade::Other } else { asked.upgrade };
            self.agree(offered, Some(asked), context);
        } else {
            self.asked = Upgrade::None;
        }
    }

    /// Goes on behind a response's head.
    fn response(
        &mut self,
        head: &[u8],
        status: Option<u16>,
        framing: Framing,
        context: &mut Context<'_>,
    ) {
        let status = status.unwrap_or(0);
        context.facts.wso2_server |= framing.wso2_server;
        if (100..200).contains(&status) && status != 101 {
            self.responses.state = State::Start;
            return;
        }
        let asked = self.answers.answer(status, context.facts);
        if status == 101 {
            let upgrade = asked.map_or(Upgrade::None, |asked| asked.upgrade);
            let upgrade = if upgrade == Upgrade::None { framing.upgrade } else { upgrade };
            let upgrade = if upgrade == Upgrade::None { Upgrade::Other } else { upgrade };
            if asked.is_none() && self.answers.is_early() {
                // The client's request is still to come, if it was captured.
                self.responses.state = State::Switched;
                self.begin_next(upgrade, None, context);
            } else {
                self.agree(upgrade, asked, context);
            }
            return;
        }
        let is_success = (200..300).contains(&status);
        let is_connect = asked.is_some_and(|asked| asked.method == Method::Connect);
        if is_connect && is_success {
            self.agree(Upgrade::Other, asked, context);
            return;
        }
        if let Some(asked) = asked
            && self.answers.is_last(asked.number)
        {
            self.asked = Upgrade::None;
            self.refused = asked.expects && matches!(self.requests.state, State::Body(_));
        }
        let is_head = asked.is_some_and(|asked| asked.method == Method::Head);
        let body =
            if is_head || matches!(status, 204 | 304) { None } else { framing.body_of_response() };
        self.responses.state = body.map_or(State::Start, State::Body);
        if matches!(self.responses.state, State::Body(_)) {
            let method = asked.map(|asked| asked.method);
            self.issued = Content::of_response(&framing, status, method, self.responses.start);
            self.issued_of = (asked.map(|asked| asked.number), status);
        }
        self.redirected(head, status, asked.map(|asked| asked.number), context);
    }

    /// A redirection may hand a token over in its target's fragment (RFC 6749 §4.2.2).
    fn redirected(&mut self, head: &[u8], status: u16, of: Option<u32>, context: &mut Context<'_>) {
        if !(300..400).contains(&status) || memchr::memmem::find(head, b"access_token").is_none() {
            return;
        }
        let mut issued = super::Presented::default();
        let at = self.responses.start;
        head::for_each_line(
            head,
            |_| {},
            &Beginnings::of(&[*b"lo"]),
            |name, value| {
                if name.eq_ignore_ascii_case(b"location") {
                    issued.redirected(&value, at, context);
                }
            },
        );
        let named = &context.options.auth_headers;
        let firsts = issued.report(at, context.facts, || self.describe_posted(of, named));
        firsts.answered(status, context.facts);
    }

    /// Describes a request with a body, where it is the one that is remembered.
    fn describe_posted(&self, number: Option<u32>, named: &[String]) -> Description {
        let mut description = Description::default();
        if number == Some(self.posted.0) {
            description.lines(&self.posted.1, named);
        }
        description
    }

    /// A body has ended, or will never end: what it presented is counted.
    pub(super) fn end_content(&mut self, side: Side, whole: bool, context: &mut Context<'_>) {
        let named = &context.options.auth_headers;
        if side == self.client {
            let Some(form) = self.form.take() else { return };
            let number = self.answers.last_number();
            let firsts = form.end(whole, context, || self.describe_posted(Some(number), named));
            self.answers.add(number, firsts, context.facts);
        } else {
            let Some(issued) = self.issued.take() else { return };
            let (number, status) = self.issued_of;
            let firsts = issued.end(whole, context, || self.describe_posted(number, named));
            firsts.answered(status, context.facts);
        }
    }

    /// The server agreed to go on with another protocol.
    fn agree(&mut self, upgrade: Upgrade, asked: Option<Asked>, context: &mut Context<'_>) {
        self.agreed = true;
        self.responses.state = State::Switched;
        self.begin_next(upgrade, asked, context);
        if matches!(self.requests.state, State::Start | State::Seek) {
            self.requests.state = State::Switched;
        }
    }

    /// The client goes on with another protocol, and its server's answer was not seen.
    pub(super) fn go_on_with(&mut self, upgrade: Upgrade, bytes: &[u8], context: &mut Context<'_>) {
        let is_other = upgrade == Upgrade::WebSocket && !websocket::may_be_clients(bytes);
        let upgrade = if is_other { Upgrade::Other } else { upgrade };
        let asked = self.answers.next().copied();
        self.begin_next(upgrade, asked, context);
        self.requests.state = State::Switched;
    }

    /// The connection speaks another protocol now; what is inside a tunnel does not name it.
    fn rename(&self, protocol: Protocol, context: &mut Context<'_>) {
        if self.depth == 0 {
            context.facts.protocol = Some(protocol);
        }
    }

    fn begin_next(&mut self, upgrade: Upgrade, asked: Option<Asked>, context: &mut Context<'_>) {
        if let Some(next) = &mut self.next {
            if let (Next::Http2(http2), Some(asked)) = (next, asked) {
                http2.upgrade(asked.firsts, asked.method);
            }
            return;
        }
        self.next = Some(if upgrade == Upgrade::Http2 {
            self.rename(Protocol::Http2, context);
            let mut http2 = Http2::new(self.client).nested(self.depth);
            if let Some(asked) = asked {
                http2.upgrade(asked.firsts, asked.method);
            }
            Next::Http2(Box::new(http2))
        } else if upgrade == Upgrade::WebSocket {
            self.rename(Protocol::WebSocket, context);
            Next::WebSocket(Box::new(WebSocket::new(self.client)))
        } else {
            Next::Tunnel(Box::new(Tunnel::new(self.client, self.depth)))
        });
    }
}

/// Bytes of a head that are remembered until its body or its answer ends.
const POSTED_LEN_MAX: usize = 4 << 10;
