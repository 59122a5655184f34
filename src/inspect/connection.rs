//! One TCP connection under inspection: reassembly, recognition, then the protocol's own reader.
//!
//! Takes a flow's packets; gives [`Facts`]. Until the protocol is known, the first bytes of each side
//! are kept (bounded) and offered to the prober; then they are replayed, piece by piece, so that
//! evidence points to the packet that brought it.

use super::answer::{self, Answer};
use super::opening::{Opening, OpeningState};
use super::probe::{Outcome, Prober, START_LEN_MAX, Start};
use super::proxy::{self, Lead};
use super::{Context, Facts, Inspection, Inspector, Progress, Protocol, Uninspected};
use crate::flow::stream::{Stream, StreamSink};
use crate::flow::tcp::Tcp;
use crate::packet::{At, Packet, Side};

/// A connection whose bytes are looked into.
pub struct Connection {
    stream: Stream,
    reader: Reader,
    facts: Facts,
    /// How much of the facts was there when their memory was measured, and that memory in bytes.
    measured: (usize, usize),
    /// Memory of all that is held, in bytes.
    held: usize,
}

/// How far a connection is known.
enum Reader {
    /// Not yet recognised.
    Probing(Box<Probing>),
    /// Recognised, and worth reading on.
    Reading(Inspection),
    /// Nothing more to learn.
    Done,
}

/// What is kept of a connection while its protocol is not known.
struct Probing {
    prober: Prober,
    sides: [Opening; 2],
}

/// A connection together with what its readers need, for the time of one packet.
struct Reading<'a, 'c> {
    reader: &'a mut Reader,
    context: &'a mut Context<'c>,
    ports: [u16; 2],
    /// What the handshake told, while packets come: read only where it matters.
    tcp: Option<&'a Tcp>,
}

impl Connection {
    /// Begins with nothing known.
    pub fn new() -> Self {
        let probing = Probing { prober: Prober::default(), sides: Default::default() };
        Self {
            stream: Stream::default(),
            reader: Reader::Probing(Box::new(probing)),
            facts: Facts::default(),
            measured: (0, 0),
            held: 0,
        }
    }

    /// Takes one packet; `tcp` tells who opened the connection, and the numbers of the sides' first bytes, where
    /// that was seen.
    pub fn packet(
        &mut self,
        packet: &Packet,
        payload: &[u8],
        tcp: &Tcp,
        tools: &super::Tools,
    ) -> Progress {
        let Self { stream, reader, facts, .. } = self;
        let mut context = tools.context(facts);
        let ports = [packet.key.port(Side::Low), packet.key.port(Side::High)];
        let start = tcp.stream_start(packet.side);
        if start.is_none()
            && let Reader::Probing(probing) = reader
        {
            probing.sides[packet.side.index()].midway = true;
        }
        let mut sink = Reading { reader, context: &mut context, ports, tcp: Some(tcp) };
        stream.segment(packet, payload, start, &mut sink);
        if stream.is_closed() {
            sink.end();
        }
        self.measure();
        self.progress()
    }

    /// Takes a packet in the middle of bytes that nobody looks at; tells whether it was one.
    #[inline]
    pub fn pass(&mut self, packet: &Packet) -> bool {
        self.stream.pass(packet)
    }

    /// Tells whether a packet is likely one that [`Connection::pass`] takes.
    #[inline]
    pub fn passes(&self, packet: &Packet) -> bool {
        self.stream.passes(packet)
    }

    /// Loads what the next packet needs first, so that cache misses overlap. Returns something of what was
    /// loaded, for [`std::hint::black_box`].
    #[inline]
    pub fn touch(&self) -> u64 {
        let of_reader = match &self.reader {
            Reader::Reading(inspection) => inspection.touch(),
            _ => 0,
        };
        of_reader ^ self.stream.touch()
    }

    /// Tells whether there is anything left to learn.
    fn progress(&self) -> Progress {
        if matches!(self.reader, Reader::Done) { Progress::Enough } else { Progress::More }
    }

    /// Lets go of what a connection needs only while packets follow one another.
    pub fn rest(&mut self) {
        self.stream.rest();
        self.measure();
    }

    /// Learns that a packet with payload was counted and lost.
    pub fn lose(&mut self) {
        self.facts.uninspected.add(Uninspected::SAMPLE);
    }

    /// Returns the facts so far.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Returns the memory of what is held, in bytes: behind holes, of what is not whole yet, of what was found.
    pub fn held_bytes(&self) -> usize {
        self.held
    }

    fn measure(&mut self) {
        let of_reader = match &self.reader {
            Reader::Reading(inspection) => inspection.held_bytes(),
            Reader::Probing(probing) => probing.sides.iter().map(Opening::held_bytes).sum(),
            Reader::Done => 0,
        };
        // Most packets add nothing to what was found.
        let items = self.facts.items();
        if self.measured.0 != items {
            self.measured = (items, self.facts.held_bytes());
        }
        self.held = self.stream.held_bytes() + of_reader + self.measured.1;
    }

    /// Learns the number of the first byte of a side that sent some, before the connection ends.
    pub fn expect(&mut self, side: Side, start: u32) {
        self.stream.expect(side, start);
    }

    /// Ends the connection and returns all that was found.
    pub fn finish(mut self, ports: [u16; 2], tools: &super::Tools) -> Facts {
        let Self { stream, reader, facts, .. } = &mut self;
        let mut context = tools.context(facts);
        let mut sink = Reading { reader, context: &mut context, ports, tcp: None };
        stream.finish(&mut sink);
        sink.end();
        self.facts
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}

impl Reading<'_, '_> {
    /// Both sides have ended: what was undecided for want of bytes is decided with what there is.
    fn end(&mut self) {
        let first = self.opener().unwrap_or_else(|| self.likely_client());
        for side in [first, first.other()] {
            let outcome = self.ask(side, true);
            if let Outcome::Confirmed { protocol, initiator } = outcome {
                self.confirm(protocol, initiator);
                break;
            }
        }
        *self.reader = Reader::Done;
    }

    /// Asks the probes about the bytes that one side began with; `ended` when that is all there is.
    fn ask(&mut self, side: Side, ended: bool) -> Outcome {
        let Reader::Probing(probing) = self.reader else { return Outcome::Excluded };
        let Probing { prober, sides } = &mut **probing;
        let (this, that) = (&sides[side.index()], &sides[side.other().index()]);
        prober.probe(side, &this.start(&this.bytes, &that.bytes, ports_of(side, self.ports), ended))
    }

    /// Asks the probes about the first bytes of a side before they are kept.
    fn ask_first(&mut self, side: Side, bytes: &[u8]) -> Outcome {
        let Reader::Probing(probing) = self.reader else { return Outcome::Excluded };
        let Probing { prober, sides } = &mut **probing;
        let (this, that) = (&sides[side.index()], &sides[side.other().index()]);
        prober.probe(side, &this.start(bytes, &that.bytes, ports_of(side, self.ports), false))
    }

    fn probe(&mut self, side: Side, at: At, bytes: &[u8]) {
        let Reader::Probing(probing) = self.reader else { return };
        let is_other_silent = probing.sides[side.other().index()].is_silent();
        let opening = &mut probing.sides[side.index()];
        if opening.state != OpeningState::Open {
            return;
        }
        if opening.midway && !opening.bytes.is_empty() && is_request(bytes, side, self.ports) {
            // What is kept was the end of something: a request begins a piece of its own.
            opening.bytes.clear();
            opening.pieces.clear();
            probing.prober.restart(side);
        }
        let outcome = if opening.pieces.is_empty() && matches!(proxy::lead(bytes), Lead::None) {
            // Mostly the first bytes tell, and need not be kept.
            let outcome = self.ask_first(side, bytes);
            if let Outcome::Confirmed { protocol, initiator } = outcome
                && is_other_silent
            {
                self.begin(protocol, initiator);
                self.context.facts.recognised = Some(at);
                self.data(side, at, bytes);
                return;
            }
            self.keep(side, at, bytes);
            outcome
        } else {
            self.keep(side, at, bytes);
            let Reader::Probing(probing) = self.reader else { return };
            if !probing.sides[side.index()].strip_lead() {
                return;
            }
            self.ask(side, false)
        };
        self.follow_outcome(outcome, side, at, bytes);
    }

    fn keep(&mut self, side: Side, at: At, bytes: &[u8]) {
        let Reader::Probing(probing) = self.reader else { return };
        let opening = &mut probing.sides[side.index()];
        opening.bytes.extend_from_slice(bytes);
        opening.pieces.push((opening.bytes.len(), at));
    }

    /// Does what the probes' verdict on a side asks for; `bytes` are the last ones it was about.
    fn follow_outcome(&mut self, outcome: Outcome, side: Side, at: At, bytes: &[u8]) {
        if let Outcome::Confirmed { protocol, initiator } = outcome {
            self.confirm(protocol, initiator);
            return;
        }
        let Reader::Probing(probing) = self.reader else { return };
        let Probing { prober, sides } = &mut **probing;
        let held = sides[side.index()].bytes.len();
        let out_of_probes = outcome == Outcome::Excluded || prober.is_excluded(side);
        if !out_of_probes && held <= START_LEN_MAX {
            return;
        }
        let opening = &mut sides[side.index()];
        let is_one_piece = opening.pieces.len() == 1;
        opening.bytes.clear();
        opening.pieces.clear();
        if opening.midway {
            // What did not go on as it began may be followed by a beginning.
            prober.restart(side);
            if !is_one_piece {
                self.probe(side, at, bytes);
            }
            return;
        }
        opening.state = OpeningState::Excluded;
        opening.bytes = Vec::new();
        if sides.iter().all(|side| side.state != OpeningState::Open) {
            *self.reader = Reader::Done;
        }
    }

    /// The protocol is known: its reader begins. Returns what was kept until then.
    fn begin(&mut self, protocol: Protocol, initiator: Option<Side>) -> Option<[Opening; 2]> {
        let client = initiator.or_else(|| self.opener()).unwrap_or_else(|| self.likely_client());
        let Reader::Probing(probing) = std::mem::replace(self.reader, Reader::Done) else {
            return None;
        };
        let sides = probing.sides;
        // A side that has not spoken yet may be in the middle of something, too.
        let midway = Side::BOTH.map(|side| {
            let opening = &sides[side.index()];
            opening.midway || (opening.is_silent() && !has_start(self.tcp, side))
        });
        *self.reader = Reader::Reading(Inspection::begin(protocol, client, midway));
        self.context.facts.protocol = Some(protocol);
        self.context.facts.initiator = initiator;
        Some(sides)
    }

    /// The protocol is known: its reader takes what was kept, in the order of capture.
    fn confirm(&mut self, protocol: Protocol, initiator: Option<Side>) {
        let Some([low, high]) = self.begin(protocol, initiator) else { return };
        let recognised = low.pieces.last().into_iter().chain(high.pieces.last()).map(|p| p.1).max();
        self.context.facts.recognised = recognised;
        // A piece that was captured early waited for those before it: no side's order changes.
        let mut pieces: Vec<(At, At, Side, usize, usize)> = Vec::new();
        for (side, opening) in [(Side::Low, &low), (Side::High, &high)] {
            let (mut from, mut given) = (0, At::default());
            for (to, at) in &opening.pieces {
                given = given.max(*at);
                pieces.push((given, *at, side, from, *to));
                from = *to;
            }
        }
        pieces.sort_by_key(|piece| piece.0);
        for (_, at, side, from, to) in pieces {
            let opening = if side == Side::Low { &low } else { &high };
            self.data(side, at, &opening.bytes[from..to]);
        }
        for (side, opening) in [(Side::Low, &low), (Side::High, &high)] {
            if opening.state == OpeningState::Closed {
                self.close(side);
            }
        }
    }

    /// Returns the side that opened the connection, where that was seen.
    fn opener(&self) -> Option<Side> {
        self.tcp.and_then(Tcp::initiator)
    }

    /// Returns the side with the higher port, where nothing else tells the client.
    fn likely_client(&self) -> Side {
        if self.ports[0] >= self.ports[1] { Side::Low } else { Side::High }
    }

    fn follow(&mut self, progress: Progress) {
        if progress == Progress::Enough {
            *self.reader = Reader::Done;
        }
    }
}

/// Tells whether the handshake told the number of a side's first byte.
fn has_start(tcp: Option<&Tcp>, side: Side) -> bool {
    tcp.is_some_and(|tcp| tcp.stream_start(side).is_some())
}

/// Returns the port of a side, then of the other.
fn ports_of(side: Side, [low, high]: [u16; 2]) -> [u16; 2] {
    if side == Side::Low { [low, high] } else { [high, low] }
}

/// Tells whether bytes in the middle of a connection begin a request for sure: of HTTP, or a call of RMI.
fn is_request(bytes: &[u8], side: Side, ports: [u16; 2]) -> bool {
    let ports = ports_of(side, ports);
    let start = Start { bytes, from_first: false, other: &[], ports, ended: false };
    let outcome = Prober::default().probe(side, &start);
    matches!(
        outcome,
        Outcome::Confirmed { protocol: Protocol::Http | Protocol::Rmi, initiator: Some(by) }
            if by == side
    )
}

impl StreamSink for Reading<'_, '_> {
    fn data(&mut self, side: Side, at: At, bytes: &[u8]) {
        match self.reader {
            Reader::Reading(inspection) => {
                let facts = &*self.context.facts;
                if facts.answer == Answer::Unheard && facts.initiator == Some(side.other()) {
                    let is_whole = facts.uninspected.is_empty();
                    let from_first = is_whole && has_start(self.tcp, side);
                    let ports = ports_of(side, self.ports);
                    // A server may greet whoever comes, and wait.
                    let start = Start { bytes, from_first, other: &[], ports, ended: true };
                    self.context.facts.answer = answer::look(side, &start, facts.protocol);
                }
                let progress = inspection.data(side, at, bytes, self.context);
                self.follow(progress);
            }
            Reader::Probing(_) => self.probe(side, at, bytes),
            Reader::Done => {}
        }
    }

    fn gap(&mut self, side: Side, len: u64, cut: bool) {
        let reason = if cut { Uninspected::SNAPLEN } else { Uninspected::HOLE };
        match self.reader {
            Reader::Reading(inspection) => {
                let before = self.context.facts.uninspected;
                let progress = inspection.gap(side, len, self.context);
                let after = &mut self.context.facts.uninspected;
                if cut && after.has(Uninspected::HOLE) && !before.has(Uninspected::HOLE) {
                    after.remove(Uninspected::HOLE);
                    after.add(Uninspected::SNAPLEN);
                }
                self.follow(progress);
            }
            Reader::Probing(probing) => {
                // What comes behind the hole may begin something, as in a stream joined midway.
                let opening = &mut probing.sides[side.index()];
                if opening.state == OpeningState::Open {
                    if cut || !opening.midway {
                        self.context.facts.uninspected.add(reason);
                    }
                    *opening = Opening { midway: true, ..Opening::default() };
                }
            }
            Reader::Done => {}
        }
    }

    fn close(&mut self, side: Side) {
        match self.reader {
            Reader::Reading(inspection) => {
                let progress = inspection.close(side, self.context);
                self.follow(progress);
            }
            Reader::Probing(probing) => {
                let opening = &mut probing.sides[side.index()];
                if opening.state == OpeningState::Open {
                    opening.state = OpeningState::Closed;
                }
            }
            Reader::Done => {}
        }
    }

    fn conflict(&mut self, _side: Side) {
        self.context.facts.uninspected.add(Uninspected::OVERLAP);
    }

    fn skippable(&self, side: Side) -> u64 {
        match &*self.reader {
            Reader::Reading(inspection) => inspection.skippable(side),
            Reader::Probing(_) => 0,
            Reader::Done => u64::MAX,
        }
    }

    fn passes(&self, side: Side) -> u64 {
        match &*self.reader {
            Reader::Reading(inspection) => inspection.passes(side),
            Reader::Probing(_) | Reader::Done => 0,
        }
    }

    fn passed(&mut self, side: Side, len: u32) {
        if let Reader::Reading(inspection) = self.reader {
            inspection.passed(side, len);
        }
    }

    fn wants(&self, side: Side) -> bool {
        match &*self.reader {
            Reader::Reading(_) => true,
            Reader::Probing(probing) => probing.sides[side.index()].state == OpeningState::Open,
            Reader::Done => false,
        }
    }

    fn begins(&mut self, side: Side, bytes: &[u8]) -> bool {
        if matches!(proxy::lead(bytes), Lead::Header(_)) {
            return true;
        }
        match self.reader {
            Reader::Reading(_) => true,
            Reader::Probing(_) => {
                let ports = ports_of(side, self.ports);
                // A prober of its own: what this segment is not, another one may be.
                let mut prober = Prober::default();
                let start = Start { bytes, from_first: false, other: &[], ports, ended: false };
                prober.probe(side, &start);
                !prober.is_excluded(side)
            }
            Reader::Done => false,
        }
    }
}
