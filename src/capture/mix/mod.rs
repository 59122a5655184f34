//! Made-up traffic for measurements: deterministic, and knows its own truth.
//!
//! Takes a recipe; gives the frames of many interleaved connections, as a tap on a gateway would see
//! them, block by block. The [`Truth`] grows with what was made, so that a run over a mix can be
//! checked: a fast wrong answer is no answer. The secrets in it are made up too.

mod conversation;
mod dice;

use super::{Block, Event, InputSummary, Source};
use crate::error::Result;
use crate::packet::{LinkType, ObservationPoint, PointId, Timestamp};
use conversation::{Conversation, Step};
pub use dice::Dice;

/// Connections under way at one time: as many as a gateway with a few hundred clients holds open.
const UNDER_WAY: usize = 512;

/// The first packet's time: 2026-01-01 00:00 UTC.
const START: Timestamp = Timestamp(1_767_225_600_000_000_000);

/// Which traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipe {
    /// A gateway: two thirds of the packets HTTP on 8280 with bearer tokens, the rest TLS and others;
    /// some 650 bytes a packet, 42 packets a flow.
    Gateway,
    /// Small packets of 64 to 90 bytes, ten a flow, no HTTP.
    Small,
}

/// What is in the traffic that was made so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Truth {
    /// Packets.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// Flows of which at least one packet was made.
    pub flows: u64,
    /// HTTP requests whose head was made to its end.
    pub requests: u64,
    /// Requests among them with a bearer token.
    pub tokens: u64,
    /// Flows with at least one such request.
    pub token_flows: u64,
}

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    /// Packets to make.
    pub packets: u64,
    /// Flows to spread them over; 0 leaves it to the recipe.
    pub flows: u64,
    /// What the dice begin with.
    pub seed: u64,
}

/// Makes the frames of a mix.
pub struct Mix {
    recipe: Recipe,
    amount: Amount,
    dice: Dice,
    under_way: Vec<Conversation>,
    begun: u64,
    now: Timestamp,
    truth: Truth,
    points: [ObservationPoint; 1],
}

impl Mix {
    /// Begins a mix.
    pub fn new(recipe: Recipe, amount: Amount) -> Self {
        let point =
            ObservationPoint { file: None, interface: Some(recipe.name().to_owned()), input: 0 };
        Self {
            recipe,
            amount,
            dice: Dice::new(amount.seed),
            under_way: Vec::new(),
            begun: 0,
            now: START,
            truth: Truth::default(),
            points: [point],
        }
    }

    /// Returns what is in the traffic that was made so far.
    pub fn truth(&self) -> Truth {
        self.truth
    }

    /// Makes one frame.
    fn frame(&mut self, block: &mut Block) {
        let concurrent = UNDER_WAY.min(usize::try_from(self.wanted_flows()).unwrap_or(UNDER_WAY));
        while self.under_way.len() < concurrent {
            let rounds = self.rounds();
            self.under_way.push(Conversation::begin(
                self.recipe,
                self.begun,
                rounds,
                &mut self.dice,
            ));
            self.begun += 1;
        }
        let index = self.dice.below(self.under_way.len() as u64);
        let index = usize::try_from(index).unwrap_or(0);
        self.now.0 += 1000 + i64::try_from(self.dice.below(8000)).unwrap_or(0);
        let conversation = &mut self.under_way[index];
        let is_first = conversation.is_new();
        let had_token = conversation.has_token();
        let start = block.bytes.len();
        let Step { requests, tokens, over } = conversation.step(&mut block.bytes, &mut self.dice);
        let len = block.bytes.len() - start;
        let record = super::FrameRecord {
            time: self.now,
            span: crate::packet::Span {
                start: u32::try_from(start).unwrap_or(0),
                len: u32::try_from(len).unwrap_or(0),
            },
            wire_len: u32::try_from(len).unwrap_or(0),
            link: LinkType::ETHERNET,
            point: PointId(0),
        };
        block.frames.push(record);
        self.truth.packets += 1;
        self.truth.bytes += len as u64;
        self.truth.flows += u64::from(is_first);
        self.truth.requests += requests;
        self.truth.tokens += tokens;
        self.truth.token_flows += u64::from(tokens > 0 && !had_token);
        if over {
            self.under_way.swap_remove(index);
        }
    }

    fn wanted_flows(&self) -> u64 {
        let by_recipe = self.amount.packets / self.recipe.packets_per_flow();
        if self.amount.flows > 0 { self.amount.flows } else { by_recipe.max(1) }
    }

    /// Returns how many exchanges the next conversation has, so that the flows come out as wanted.
    fn rounds(&mut self) -> u64 {
        let packets_per_flow = self.amount.packets / self.wanted_flows();
        let mean = self.recipe.rounds(packets_per_flow);
        (1 + self.dice.below((2 * mean).max(2) - 1)).max(1)
    }
}

impl Recipe {
    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Small => "small",
        }
    }

    fn packets_per_flow(self) -> u64 {
        match self {
            Self::Gateway => 42,
            Self::Small => 10,
        }
    }

    /// Returns the exchanges that make up so many packets, beside opening and end.
    fn rounds(self, packets: u64) -> u64 {
        match self {
            Self::Gateway => packets.saturating_sub(6) / 7,
            Self::Small => packets.saturating_sub(6) / 2,
        }
        .max(1)
    }
}

impl Source for Mix {
    fn next(&mut self, block: &mut Block) -> Result<Event> {
        if self.truth.packets >= self.amount.packets {
            return Ok(Event::End);
        }
        block.clear();
        while block.bytes.len() < super::BLOCK_LEN && self.truth.packets < self.amount.packets {
            self.frame(block);
        }
        Ok(Event::Frames)
    }

    fn points(&self) -> &[ObservationPoint] {
        &self.points
    }

    fn inputs(&self) -> Vec<InputSummary> {
        vec![InputSummary {
            name: format!("mix:{}", self.recipe.name()),
            frames: self.truth.packets,
            bytes: self.truth.bytes,
            ..InputSummary::default()
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(recipe: Recipe, packets: u64) -> (Vec<Vec<u8>>, Truth) {
        let mut mix = Mix::new(recipe, Amount { packets, flows: 0, seed: 1 });
        let mut frames = Vec::new();
        loop {
            let mut block = Block::default();
            match mix.next(&mut block).expect("a mix never fails") {
                Event::Frames => {
                    frames
                        .extend((0..block.frames.len()).map(|i| block.frame(i, 1).bytes.to_vec()));
                }
                _ => return (frames, mix.truth()),
            }
        }
    }

    #[test]
    fn a_mix_is_the_same_each_time_and_as_large_as_asked_for() {
        for recipe in [Recipe::Gateway, Recipe::Small] {
            let (frames, truth) = make(recipe, 20_000);
            assert_eq!((frames, truth), make(recipe, 20_000));
            assert_eq!(truth.packets, 20_000);
        }
    }

    #[test]
    fn the_gateway_mix_has_the_shape_that_was_measured() {
        let (frames, truth) = make(Recipe::Gateway, 200_000);
        let mean = truth.bytes / truth.packets;
        assert!((560..740).contains(&mean), "{mean} bytes a packet");
        let per_flow = truth.packets / truth.flows;
        assert!((34..50).contains(&per_flow), "{per_flow} packets a flow");
        let share = truth.tokens * 100 / truth.requests;
        assert!((27..33).contains(&share), "{share} % of the requests have tokens");
        let on_8280 =
            frames.iter().filter(|f| f[34..36] == [0x20, 0x58] || f[36..38] == [0x20, 0x58]);
        let share = on_8280.count() * 100 / frames.len();
        assert!((60..73).contains(&share), "{share} % of the packets are on 8280");
    }
}
