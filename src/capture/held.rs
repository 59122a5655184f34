//! Frames held in memory: what a measurement reads again and again without a disk in between.

use super::{Block, Event, InputSummary, Source};
use crate::error::Result;
use crate::packet::ObservationPoint;

/// All blocks of a source.
pub struct Held {
    blocks: Vec<Block>,
    points: Vec<ObservationPoint>,
    inputs: Vec<InputSummary>,
}

impl Held {
    /// Reads a source to its end.
    pub fn of(source: &mut dyn Source) -> Result<Self> {
        let mut blocks = Vec::new();
        loop {
            let mut block = Block::default();
            match source.next(&mut block)? {
                Event::Frames => blocks.push(block),
                Event::Notice(_) | Event::Tick(_) => {}
                Event::Broken(error) => return Err(error),
                Event::End => break,
            }
        }
        Ok(Self { blocks, points: source.points().to_vec(), inputs: source.inputs() })
    }

    /// Returns the blocks.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Counts the frames.
    pub fn frames(&self) -> u64 {
        self.blocks.iter().map(|block| block.frames.len() as u64).sum()
    }

    /// Counts the bytes that they had on the wire.
    pub fn wire_bytes(&self) -> u64 {
        let frames = self.blocks.iter().flat_map(|block| &block.frames);
        frames.map(|frame| u64::from(frame.wire_len)).sum()
    }

    /// Returns a source that gives copies of the blocks, once.
    pub fn replay(&self) -> Replay<'_> {
        Replay { held: self, next: 0 }
    }
}

/// Gives copies of blocks that are held.
pub struct Replay<'a> {
    held: &'a Held,
    next: usize,
}

impl Source for Replay<'_> {
    fn next(&mut self, block: &mut Block) -> Result<Event> {
        let Some(held) = self.held.blocks.get(self.next) else { return Ok(Event::End) };
        self.next += 1;
        block.bytes.clone_from(&held.bytes);
        block.frames.clone_from(&held.frames);
        block.merged.clone_from(&held.merged);
        block.counts.clone_from(&held.counts);
        Ok(Event::Frames)
    }

    fn points(&self) -> &[ObservationPoint] {
        &self.held.points
    }

    fn inputs(&self) -> Vec<InputSummary> {
        self.held.inputs.clone()
    }
}
