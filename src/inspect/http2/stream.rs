//! The streams of a connection of which something is still to be learned.

use super::hpack::Fields;
use crate::inspect::http1::{Content, Description, Firsts, Framing, Method, Presented, trim};
use crate::inspect::tunnel::Tunnel;
use crate::inspect::{Context, Inspector as _, Uninspected};
use crate::packet::{At, Side};

/// Streams that are remembered at a time: what servers allow (100 to 256), unless all of them matter.
const STREAMS_MAX: usize = 256;

/// Tunnels of one connection that are looked into at a time: each holds what a connection holds.
const TUNNELS_MAX: usize = 8;

/// Streams of interest.
#[derive(Default)]
pub(super) struct Streams(Vec<Stream>);

struct Stream {
    id: u32,
    method: Method,
    /// The evidence whose first request this is.
    firsts: Firsts,
    /// Its answer, once seen.
    status: Option<u16>,
    /// What is said of the request.
    description: Option<Box<Description>>,
    /// The request's body.
    form: Option<Content>,
    /// The response's body.
    issued: Option<Content>,
    /// What runs through a CONNECT (RFC 9113 §8.5).
    tunnel: Option<Box<Tunnel>>,
}

impl Stream {
    fn new(id: u32, method: Method, firsts: Firsts) -> Self {
        let (description, form, issued, tunnel) = (None, None, None, None);
        Self { id, method, firsts, status: None, description, form, issued, tunnel }
    }
}

impl Streams {
    /// Returns the memory of what is remembered, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        let content = |content: &Option<Content>| content.as_ref().map_or(0, Content::held_bytes);
        let of_one = |stream: &Stream| {
            let description = stream.description.as_ref();
            description.map_or(0, |description| description.held_bytes())
                + content(&stream.form)
                + content(&stream.issued)
        };
        self.0.capacity() * size_of::<Stream>() + self.0.iter().map(of_one).sum::<usize>()
    }

    /// Adds the request that asked for HTTP/2.
    pub(super) fn upgraded(&mut self, firsts: Firsts, method: Method) {
        if self.find(1).is_none() {
            self.0.push(Stream::new(1, method, firsts));
        }
    }

    /// Notes a request, if anything is to be learned of its body or its answer.
    pub(super) fn ask(
        &mut self,
        id: u32,
        presented: &Presented,
        (firsts, counted): (Firsts, Firsts),
        at: At,
        context: &mut Context<'_>,
        describe: impl FnOnce() -> Description,
    ) {
        let framing = &presented.framing;
        let has_body = !matches!(framing.method, Method::Get | Method::Head | Method::Connect);
        if !has_body && firsts.is_empty() && framing.method != Method::Connect {
            return;
        }
        let mut stream = Stream::new(id, framing.method, firsts);
        if has_body {
            stream.form = Content::of_request(framing, at, counted);
            stream.description = Some(Box::new(describe()));
        }
        self.remove(id);
        self.push(stream, context);
    }

    fn push(&mut self, stream: Stream, context: &mut Context<'_>) {
        if self.0.len() >= STREAMS_MAX {
            let oldest = self.0.remove(0);
            if oldest.form.is_some() || oldest.issued.is_some() {
                context.facts.uninspected.add(Uninspected::LIMIT);
            }
        }
        self.0.push(stream);
    }

    fn find(&mut self, id: u32) -> Option<&mut Stream> {
        self.0.iter_mut().rev().find(|stream| stream.id == id)
    }

    /// Takes the head of a final response.
    pub(super) fn answer(
        &mut self,
        id: u32,
        status: u16,
        fields: &Fields,
        at: At,
        client_seen: bool,
        context: &mut Context<'_>,
    ) {
        let mut framing = Framing::default();
        for (name, value) in fields.iter() {
            framing.note(name, trim(value));
        }
        context.facts.wso2_server |= framing.wso2_server;
        let found = self.find(id);
        // A request that is not remembered had no body, if it was seen at all.
        let unknown = client_seen.then_some(Method::Get);
        let method = found.as_ref().map(|stream| stream.method).or(unknown);
        let issued = Content::of_response(&framing, status, method, at);
        if let Some(stream) = found {
            stream.firsts.answered(status, context.facts);
            stream.status = Some(status);
            if stream.method == Method::Connect {
                if !(200..300).contains(&status) {
                    stream.tunnel = None;
                }
            } else {
                stream.issued = issued;
            }
        } else if issued.is_some() {
            let mut stream = Stream::new(id, Method::Get, Firsts::default());
            stream.status = Some(status);
            stream.issued = issued;
            self.push(stream, context);
        }
    }

    /// Tells whether a side's DATA on a stream are looked into.
    pub(super) fn reads(&self, id: u32, from_client: bool) -> bool {
        self.0.iter().any(|stream| {
            stream.id == id
                && (stream.reads_tunnel()
                    || if from_client { stream.form.is_some() } else { stream.issued.is_some() })
        })
    }

    /// Begins a tunnel on the stream of a CONNECT, for the bytes of its first DATA.
    pub(super) fn open_tunnel(&mut self, id: u32, tunnel: Tunnel, context: &mut Context<'_>) {
        if self.0.iter().filter(|stream| stream.tunnel.is_some()).count() >= TUNNELS_MAX {
            context.facts.uninspected.add(Uninspected::LIMIT);
        } else if let Some(stream) = self.find(id) {
            stream.tunnel = Some(Box::new(tunnel));
        }
    }

    /// Tells whether a stream is that of a CONNECT that was not refused, and has no tunnel yet.
    pub(super) fn wants_tunnel(&mut self, id: u32) -> bool {
        self.find(id).is_some_and(|stream| {
            let is_open = stream.status.is_none_or(|status| (200..300).contains(&status));
            stream.method == Method::Connect && stream.tunnel.is_none() && is_open
        })
    }

    /// Takes content of a stream.
    pub(super) fn content(
        &mut self,
        id: u32,
        (side, from_client): (Side, bool),
        at: At,
        bytes: &[u8],
        context: &mut Context<'_>,
    ) {
        let Some(stream) = self.find(id) else { return };
        if let Some(tunnel) = &mut stream.tunnel {
            tunnel.data(side, at, bytes, context);
            return;
        }
        let content = if from_client { &mut stream.form } else { &mut stream.issued };
        if content.as_mut().is_some_and(|content| !content.take(bytes)) {
            stream.end(from_client, false, context);
        }
    }

    /// One side of a stream has ended.
    pub(super) fn end(
        &mut self,
        id: u32,
        from_client: bool,
        whole: bool,
        context: &mut Context<'_>,
    ) {
        if let Some(stream) = self.find(id) {
            stream.end(from_client, whole, context);
            // The response may end before the request's body does.
            if !from_client && stream.form.is_none() && stream.tunnel.is_none() {
                self.remove(id);
            }
        }
    }

    /// Forgets a stream.
    pub(super) fn remove(&mut self, id: u32) {
        self.0.retain(|stream| stream.id != id);
    }

    /// One side sends no more: what its bodies presented so far is counted.
    pub(super) fn lose(&mut self, from_client: bool, context: &mut Context<'_>) {
        for stream in &mut self.0 {
            stream.end(from_client, false, context);
        }
    }
}

impl Stream {
    fn reads_tunnel(&self) -> bool {
        let reads = |tunnel: &Tunnel| Side::BOTH.iter().any(|side| tunnel.skippable(*side) == 0);
        self.tunnel.as_deref().is_some_and(reads)
    }

    fn end(&mut self, from_client: bool, whole: bool, context: &mut Context<'_>) {
        if let Some(mut tunnel) = self.tunnel.take_if(|_| !from_client) {
            // What the client sends after its server has ended is read by nobody.
            for side in Side::BOTH {
                tunnel.close(side, context);
            }
        }
        let content = if from_client { self.form.take() } else { self.issued.take() };
        let Some(content) = content else { return };
        let description = &self.description;
        let firsts =
            content.end(whole, context, || description.as_deref().cloned().unwrap_or_default());
        self.firsts.join(firsts);
        if let Some(status) = self.status {
            self.firsts.answered(status, context.facts);
        }
    }
}

/// Describes the request of the fields.
pub(super) fn describe(fields: &Fields, named: &[String]) -> Description {
    let mut description = Description::default();
    let pseudo = |name: &[u8]| fields.value(name).unwrap_or(b"");
    description.request(pseudo(b":method"), pseudo(b":path"));
    for (name, value) in fields.iter() {
        description.field(name, value, named);
    }
    description
}
