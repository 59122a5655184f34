//! The calling thread does everything.

use super::Verdicts;
use super::lane::Lane;
use crate::capture::{Block, Verdict};
use crate::error::Result;
use crate::inspect::Tools;
use crate::packet::Packet;
use crate::pipeline::front::{Batch, Crew};
use crate::pipeline::shard::{Answer, Shard};

/// The calling thread does everything.
pub struct Alone<'a> {
    lane: Lane<1>,
    spare: Option<Batch>,
    blocks: Vec<Block>,
    verdicts: Verdicts,
    told: Vec<Answer>,
    tools: &'a Tools,
}

impl<'a> Alone<'a> {
    /// Owns all shards.
    pub fn new(tools: &'a Tools) -> Self {
        let (spare, blocks, verdicts, told) = (None, Vec::new(), Vec::new(), Vec::new());
        Self { lane: Lane::new(0), spare, blocks, verdicts, told, tools }
    }

    /// Ends the work and returns the shards.
    pub fn finish(mut self) -> Vec<Shard> {
        let end = Batch { ends: true, ..Batch::default() };
        self.lane.work(&end, self.tools, &mut self.verdicts);
        self.lane.shards
    }
}

impl Crew for Alone<'_> {
    fn lanes(&self) -> usize {
        1
    }

    fn batch(&mut self) -> Batch {
        self.spare.take().unwrap_or_default()
    }

    fn block(&mut self) -> Block {
        self.blocks.pop().unwrap_or_default()
    }

    fn send(&mut self, _lane: usize, mut batch: Batch) {
        self.told.extend(self.lane.work(&batch, self.tools, &mut self.verdicts));
        if let Some(block) = batch.clear() {
            self.recycle(block);
        }
        self.spare = Some(batch);
    }

    fn go(&mut self) -> Result<()> {
        Ok(())
    }

    fn go_here(&mut self) -> Result<()> {
        Ok(())
    }

    fn recycle(&mut self, block: Block) {
        self.blocks.push(block);
    }

    fn verdicts(&mut self, take: &mut dyn FnMut(&Packet, Verdict)) {
        for (packet, verdict) in self.verdicts.drain(..) {
            take(&packet, verdict);
        }
    }

    fn answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.told)
    }

    fn all_answers(&mut self) -> Result<Vec<Answer>> {
        Ok(self.answers())
    }
}
