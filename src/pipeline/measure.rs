//! How long each stage takes, alone and together, on frames that are held in memory.

use std::time::Instant;

use hdrhistogram::Histogram;

use super::shard::Shard;
use super::{Config, Gathered, gather};
use crate::capture::held::Held;
use crate::capture::{Block, Event, InputSummary, Source};
use crate::decode::{Decoded, Decoder, Options};
use crate::error::Result;
use crate::flow::Table;
use crate::inspect::secret::Fingerprinter;
use crate::inspect::{self, EvidenceKind, Tools};
use crate::packet::{ObservationPoint, Packet};

/// Seconds of one stage over all frames, the fastest and the median of several runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Taken {
    /// The fastest.
    pub best: f64,
    /// The median.
    pub median: f64,
    /// How many there were.
    pub runs: usize,
}

/// What a run over the whole pipeline found: what a mix knows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Flows.
    pub flows: u64,
    /// Requests with a bearer token.
    pub tokens: u64,
    /// Flows with at least one.
    pub token_flows: u64,
    /// Frames that reached a flow.
    pub packets: u64,
}

/// The stages that can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Copying the blocks: what stands for reading.
    Read,
    /// Frames to packets.
    Decode,
    /// Packets to flows.
    Flow,
    /// Packets to flows, and what they carry to the readers of protocols: what that takes beyond
    /// [`Stage::Flow`] is inspection's.
    Inspect,
}

impl Stage {
    /// Every stage, in the order of the data.
    pub const ALL: [Self; 4] = [Self::Read, Self::Decode, Self::Flow, Self::Inspect];

    /// Returns the name as reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Decode => "decode",
            Self::Flow => "flow",
            Self::Inspect => "inspect",
        }
    }
}

/// Repeats a measurement until a time is over, at least once.
pub fn repeat(seconds: f64, mut once: impl FnMut() -> Result<f64>) -> Result<Taken> {
    let started = Instant::now();
    let mut all = Vec::new();
    while all.is_empty() || started.elapsed().as_secs_f64() < seconds {
        all.push(once()?);
    }
    all.sort_by(f64::total_cmp);
    Ok(Taken { best: all[0], median: all[all.len() / 2], runs: all.len() })
}

/// Runs one stage over all frames and returns the seconds it took; what it needs is made before.
pub fn stage(stage: Stage, held: &Held) -> Result<f64> {
    let mut replay = held.replay();
    let mut block = Block::default();
    match stage {
        Stage::Read => {
            let started = Instant::now();
            while matches!(replay.next(&mut block)?, Event::Frames) {
                std::hint::black_box(&block);
            }
            Ok(started.elapsed().as_secs_f64())
        }
        Stage::Decode => {
            let mut taken = 0.0;
            each_block(held, &mut |block, decoder, packets, first| {
                let started = Instant::now();
                decode(block, decoder, packets, first);
                taken += started.elapsed().as_secs_f64();
            })?;
            Ok(taken)
        }
        Stage::Flow => Ok(flows(held, 0)?.0),
        Stage::Inspect => Ok(inspection(held, 0)?.0),
    }
}

/// Runs one stage over all frames, and returns the seconds that the second half took and how many frames were in
/// it: tables have grown by then, and most connections are under way.
pub fn steady(stage: Stage, held: &Held) -> Result<(f64, u64)> {
    let half = held.frames() / 2;
    match stage {
        Stage::Read | Stage::Decode => Ok((self::stage(stage, held)?, held.frames())),
        Stage::Flow => flows(held, half),
        Stage::Inspect => inspection(held, half),
    }
}

/// Gives all packets to a table; returns the seconds that those of blocks after so many frames took, and their number.
fn flows(held: &Held, after: u64) -> Result<(f64, u64)> {
    let (mut taken, mut table) = ((0.0, 0), Table::default());
    each_block(held, &mut |block, decoder, packets, first| {
        decode(block, decoder, packets, first);
        let started = Instant::now();
        for packet in packets.iter() {
            table.packet(packet);
        }
        if first > after {
            taken.0 += started.elapsed().as_secs_f64();
            taken.1 += block.frames.len() as u64;
        }
    })?;
    std::hint::black_box(table.len());
    Ok(taken)
}

/// Gives all packets to a shard and ends its readers; returns the seconds that those of blocks after so many frames,
/// and the end, took, and their number.
fn inspection(held: &Held, after: u64) -> Result<(f64, u64)> {
    let (mut taken, mut shard) = ((0.0, 0), Shard::default());
    let tools = Tools {
        options: inspect::Options::default(),
        fingerprinter: Fingerprinter::new(b"a key for measuring"),
    };
    each_block(held, &mut |block, decoder, packets, first| {
        decode(block, decoder, packets, first);
        let started = Instant::now();
        for packet in packets.iter() {
            shard.packet(packet, &block.bytes, &tools);
        }
        if first > after {
            taken.0 += started.elapsed().as_secs_f64();
            taken.1 += block.frames.len() as u64;
        }
    })?;
    let started = Instant::now();
    shard.finish(&tools);
    Ok((taken.0 + started.elapsed().as_secs_f64(), taken.1))
}

/// What is done with a block: its frames decoded with the decoder into packets, from a running number on.
type OnBlock<'a> = dyn FnMut(&mut Block, &mut Decoder, &mut Vec<Packet>, u64) + 'a;

fn each_block(held: &Held, on_block: &mut OnBlock<'_>) -> Result<()> {
    let (mut replay, mut block) = (held.replay(), Block::default());
    let (mut decoder, mut packets) = (Decoder::new(Options::default()), Vec::new());
    let mut number = 1;
    while matches!(replay.next(&mut block)?, Event::Frames) {
        packets.clear();
        on_block(&mut block, &mut decoder, &mut packets, number);
        number += block.frames.len() as u64;
    }
    Ok(())
}

fn decode(block: &mut Block, decoder: &mut Decoder, packets: &mut Vec<Packet>, first: u64) {
    let mut index = 0;
    while index < block.frames.len() {
        let number = first + index as u64;
        let (bytes, frames) = (&block.bytes, &block.frames[index..]);
        index += decoder.decode_run(bytes, frames, number, |packet| packets.push(packet));
        if index < block.frames.len() {
            if let Decoded::Packet(packet) = decoder.decode(block, index, first + index as u64) {
                packets.push(packet);
            }
            index += 1;
        }
    }
}

/// Runs the pipeline up to the join and returns what it found, the seconds it took, and how long each
/// block kept the reader from the next, in nanoseconds.
pub fn whole(
    held: &Held,
    config: &mut Config,
    tools: &Tools,
    blocks: &mut Histogram<u64>,
) -> Result<(Gathered, f64)> {
    let mut source = Timed { source: held.replay(), handed: None, blocks };
    let started = Instant::now();
    let gathered = gather(&mut source, config, tools)?;
    Ok((gathered, started.elapsed().as_secs_f64()))
}

/// Counts what a mix knows of itself.
pub fn found(gathered: &Gathered) -> Found {
    let mut found = Found { flows: 0, tokens: 0, token_flows: 0, packets: 0 };
    for shard in &gathered.shards {
        for (number, flow) in shard.flows() {
            found.flows += 1;
            found.packets += flow.packets_total();
            let evidence = shard.facts(number).map(|facts| facts.evidence.as_slice());
            let tokens = evidence
                .and_then(|all| all.iter().find(|one| one.kind == EvidenceKind::BearerToken))
                .map_or(0, |evidence| evidence.count);
            found.tokens += tokens;
            found.token_flows += u64::from(tokens > 0);
        }
    }
    found
}

/// Notes how long each block keeps the reader from the next one.
struct Timed<'a, S> {
    source: S,
    handed: Option<Instant>,
    blocks: &'a mut Histogram<u64>,
}

impl<S: Source> Source for Timed<'_, S> {
    fn next(&mut self, block: &mut Block) -> Result<Event> {
        if let Some(handed) = self.handed.take() {
            let taken = u64::try_from(handed.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.blocks.record(taken).unwrap_or_default();
        }
        let event = self.source.next(block);
        self.handed = Some(Instant::now());
        event
    }

    fn points(&self) -> &[ObservationPoint] {
        self.source.points()
    }

    fn inputs(&self) -> Vec<InputSummary> {
        self.source.inputs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::mix::{Amount, Mix, Recipe};

    #[test]
    fn the_second_half_is_what_steady_state_takes() {
        let amount = Amount { packets: 20_000, flows: 64, seed: 1 };
        let held = Held::of(&mut Mix::new(Recipe::Gateway, amount)).expect("memory can be read");
        for stage in [Stage::Flow, Stage::Inspect] {
            let (seconds, frames) = steady(stage, &held).expect("memory can be read");
            assert!(seconds > 0.0);
            assert!((8_000..=10_000).contains(&frames), "{frames} of 20,000");
        }
    }
}
