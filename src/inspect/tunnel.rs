//! What runs inside a connection after a CONNECT or an upgrade: recognised and read like any other.

use super::probe::{Outcome, Prober, START_LEN_MAX, Start};
use super::{Context, Inspection, Inspector, Progress, Protocol, Uninspected};
use crate::packet::{At, Side};

/// Tunnels inside tunnels that are looked into: a proxy behind a proxy, and one more.
pub(super) const DEPTH_MAX: u8 = 3;

/// A nested conversation.
pub(super) struct Tunnel {
    client: Side,
    depth: u8,
    state: State,
}

enum State {
    /// Not yet recognised.
    Probing(Probing),
    /// Recognised.
    Reading(Box<Inspection>),
    /// Nothing more to learn.
    Done,
}

#[derive(Default)]
struct Probing {
    prober: Prober,
    starts: [Vec<u8>; 2],
    /// What came, in the order of capture: side, packet, length.
    pieces: Vec<(Side, At, usize)>,
    closed: [bool; 2],
}

impl Tunnel {
    /// Begins at a depth of so many tunnels around it; `client` opened the outer connection.
    pub(super) fn new(client: Side, depth: u8) -> Self {
        let state =
            if depth < DEPTH_MAX { State::Probing(Probing::default()) } else { State::Done };
        Self { client, depth, state }
    }

    /// Returns the memory of what is held, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        let inside = match &self.state {
            State::Probing(probing) => {
                let starts: usize = probing.starts.iter().map(Vec::capacity).sum();
                starts + probing.pieces.capacity() * size_of::<(Side, At, usize)>()
            }
            State::Reading(inspection) => inspection.held_bytes() + size_of::<Inspection>(),
            State::Done => 0,
        };
        size_of::<Self>() + inside
    }

    fn probe(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) -> Progress {
        let State::Probing(probing) = &mut self.state else { return Progress::Enough };
        let Probing { prober, starts, pieces, .. } = probing;
        if prober.is_excluded(side) || starts[side.index()].len() > START_LEN_MAX {
            return Progress::More;
        }
        starts[side.index()].extend_from_slice(bytes);
        pieces.push((side, at, bytes.len()));
        let start = Start {
            bytes: &starts[side.index()],
            from_first: true,
            other: &starts[side.other().index()],
            ended: false,
            // The ports are the proxy's, and say nothing of what is inside.
            ports: [0; 2],
        };
        let is_full = |side: Side| starts[side.index()].len() > START_LEN_MAX;
        match prober.probe(side, &start) {
            Outcome::Confirmed { protocol, initiator } => {
                self.confirm(protocol, initiator, context)
            }
            Outcome::Undecided
                if !Side::BOTH.iter().all(|side| prober.is_excluded(*side) || is_full(*side)) =>
            {
                Progress::More
            }
            _ => {
                self.state = State::Done;
                Progress::Enough
            }
        }
    }

    fn confirm(
        &mut self,
        protocol: Protocol,
        initiator: Option<Side>,
        context: &mut Context<'_>,
    ) -> Progress {
        let State::Probing(probing) = std::mem::replace(&mut self.state, State::Done) else {
            return Progress::Enough;
        };
        if protocol.is_encrypted() {
            context.facts.upgraded = true;
        }
        let client = initiator.unwrap_or(self.client);
        let mut inspection = Inspection::nested(protocol, client, self.depth + 1);
        let mut read = [0; 2];
        for (side, at, len) in probing.pieces {
            let from = &mut read[side.index()];
            let bytes = &probing.starts[side.index()][*from..*from + len];
            *from += len;
            if inspection.data(side, at, bytes, context) == Progress::Enough {
                return Progress::Enough;
            }
        }
        for side in Side::BOTH {
            if probing.closed[side.index()] {
                inspection.close(side, context);
            }
        }
        self.state = State::Reading(Box::new(inspection));
        Progress::More
    }

    fn follow(&mut self, progress: Progress) -> Progress {
        if progress == Progress::Enough {
            self.state = State::Done;
        }
        progress
    }
}

impl Inspector for Tunnel {
    fn data(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) -> Progress {
        match &mut self.state {
            State::Probing(_) => self.probe(side, at, bytes, context),
            State::Reading(inspection) => {
                let progress = inspection.data(side, at, bytes, context);
                self.follow(progress)
            }
            State::Done => Progress::Enough,
        }
    }

    fn gap(&mut self, side: Side, len: u64, context: &mut Context<'_>) -> Progress {
        match &mut self.state {
            State::Probing(_) => {
                context.facts.uninspected.add(Uninspected::HOLE);
                self.state = State::Done;
                Progress::Enough
            }
            State::Reading(inspection) => {
                let progress = inspection.gap(side, len, context);
                self.follow(progress)
            }
            State::Done => Progress::Enough,
        }
    }

    fn close(&mut self, side: Side, context: &mut Context<'_>) -> Progress {
        match &mut self.state {
            State::Probing(probing) => {
                probing.closed[side.index()] = true;
                Progress::More
            }
            State::Reading(inspection) => {
                let progress = inspection.close(side, context);
                self.follow(progress)
            }
            State::Done => Progress::Enough,
        }
    }

    fn skippable(&self, side: Side) -> u64 {
        match &self.state {
            State::Probing(_) => 0,
            State::Reading(inspection) => inspection.skippable(side),
            State::Done => u64::MAX,
        }
    }
}
