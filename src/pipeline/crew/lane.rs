//! The shards of one lane, and how a batch is taken.

use std::sync::Arc;

use super::Verdicts;
use crate::capture::Block;
use crate::capture::FlowCount;
use crate::decode::Quoted;
use crate::flow::NO_SLOT;
use crate::flow::index::{FlowNumber, NO_FLOW};
use crate::inspect::Tools;
use crate::packet::Packet;
use crate::pipeline::SHARDS;
use crate::pipeline::front::{Batch, shard_of};
use crate::pipeline::shard::{Answer, Shard};

/// Packets whose table entries are loaded before the first of them is looked at.
const LOOK_AHEAD: usize = 16;

/// Shards whose packets one thread at a time looks at: every `OF`-th, beginning with the lane's number.
pub(super) struct Lane<const OF: usize> {
    number: usize,
    pub(super) shards: Vec<Shard>,
    /// Given later than those of the run's start, and used in their place.
    renewed: Option<Arc<Tools>>,
}

impl<const OF: usize> Lane<OF> {
    pub(super) fn new(number: usize) -> Self {
        let shards = (number..SHARDS).step_by(OF).map(|_| Shard::default()).collect();
        Self { number, shards, renewed: None }
    }

    #[inline]
    fn shard(&mut self, hash: u64) -> &mut Shard {
        &mut self.shards[shard_of(hash) / OF]
    }

    /// Takes a batch; writes down what the source is to be told, and answers what the batch asks.
    pub(super) fn work(
        &mut self,
        batch: &Batch,
        tools: &Tools,
        verdicts: &mut Verdicts,
    ) -> Option<Answer> {
        if let Some(renewed) = &batch.tools {
            self.renewed = Some(Arc::clone(renewed));
        }
        let renewed = self.renewed.clone();
        let tools = renewed.as_deref().unwrap_or(tools);
        if let Some(block) = &batch.block {
            self.take(batch, block, tools, verdicts);
        }
        if batch.ends {
            for shard in &mut self.shards {
                shard.finish(tools);
            }
        }
        let ask = batch.ask?;
        let mut told = Answer::default();
        for (index, shard) in self.shards.iter_mut().enumerate() {
            shard.answer(&ask, index * OF + self.number, &mut told, tools);
        }
        Some(told)
    }

    fn take(&mut self, batch: &Batch, block: &Block, tools: &Tools, verdicts: &mut Verdicts) {
        let (mut refusals, mut counts) = (&batch.refusals[..], &batch.counts[..]);
        let mut done = 0;
        for packets in batch.packets.chunks(LOOK_AHEAD) {
            let likely = self.load_ahead(packets, &block.bytes);
            for (packet, likely) in packets.iter().zip(likely) {
                if !refusals.is_empty() || !counts.is_empty() {
                    self.take_between(done, &mut refusals, &mut counts);
                }
                debug_assert_eq!(shard_of(packet.hash) % OF, self.number, "it has another lane");
                let shard = self.shard(packet.hash);
                let verdict = shard.packet_of(packet, likely, &block.bytes, tools);
                if batch.steers
                    && let Some(verdict) = verdict
                    && shard.is_settled(packet)
                {
                    verdicts.push((*packet, verdict));
                }
                done += 1;
            }
        }
        self.take_between(usize::MAX, &mut refusals, &mut counts);
    }

    /// Takes what came before a packet of the batch and is none itself.
    #[cold]
    fn take_between<'b>(
        &mut self,
        packet: usize,
        refusals: &mut &'b [(usize, Quoted)],
        counts: &mut &'b [(usize, Packet, FlowCount)],
    ) {
        while let Some(((before, quoted), rest)) = refusals.split_first()
            && *before <= packet
        {
            self.shard(quoted.hash).refuse(quoted);
            *refusals = rest;
        }
        while let Some(((before, packet_of, count), rest)) = counts.split_first()
            && *before <= packet
        {
            self.shard(packet_of.hash).count(packet_of, count);
            *counts = rest;
        }
    }

    /// Loads index entries, then flows, then their readers with what they are going to read, so that the cache
    /// misses of several packets overlap. Returns which flow each packet very likely belongs to.
    #[inline]
    fn load_ahead(&self, packets: &[Packet], bytes: &[u8]) -> [FlowNumber; LOOK_AHEAD] {
        let shard = |packet: &Packet| &self.shards[shard_of(packet.hash) / OF];
        let mut numbers = [NO_FLOW; LOOK_AHEAD];
        for (number, packet) in numbers.iter_mut().zip(packets) {
            *number = shard(packet).touch(packet.hash);
        }
        let mut slots = [NO_SLOT; LOOK_AHEAD];
        let mut loaded = 0;
        for ((number, slot), packet) in numbers.iter().zip(&mut slots).zip(packets) {
            let (of_flow, some) = shard(packet).touch_flow(*number);
            *slot = if packet.payload.len > 0 { of_flow } else { NO_SLOT };
            loaded ^= some;
        }
        for (slot, packet) in slots.iter().zip(packets) {
            if *slot != NO_SLOT {
                loaded ^= shard(packet).touch_reader(*slot, packet, bytes);
            }
        }
        std::hint::black_box(loaded);
        numbers
    }
}
