//! Who works on the shards: the calling thread alone, or together with threads of its own.
//!
//! The shards lie in lanes. A lane's batches are worked on in order and by one thread at a time, whichever
//! is free; so a flow's packets keep their order, and no thread waits while another has work left. The
//! calling thread reads ahead of the others by a few blocks and then takes a lane itself.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};

use super::SHARDS;
use super::front::{Batch, Crew, shard_of};
use super::shard::{Answer, Shard};
use crate::capture::{Block, Verdict};
use crate::error::{Error, Result};
use crate::flow::NO_SLOT;
use crate::inspect::Tools;
use crate::packet::Packet;

/// Lanes that threads share: some for each of a few threads, so that they end together. A power of two.
const LANES: usize = 8;

/// Batches that may be under way before the calling thread works on one itself: those of two blocks, few
/// enough to stay in cache.
const UNDER_WAY_MAX: usize = 2 * LANES;

/// Packets whose table entries are loaded before the first of them is looked at.
const LOOK_AHEAD: usize = 16;

/// Verdicts that may wait to be taken, in batches; what does not fit comes again.
const VERDICTS_LEN: usize = 64;

/// What the workers have to say about a packet's flow.
type Verdicts = Vec<(Packet, Verdict)>;

/// Shards whose packets one thread at a time looks at: every `OF`-th, beginning with the lane's number.
struct Lane<const OF: usize> {
    number: usize,
    shards: Vec<Shard>,
    /// Given later than those of the run's start, and used in their place.
    renewed: Option<Arc<Tools>>,
}

impl<const OF: usize> Lane<OF> {
    fn new(number: usize) -> Self {
        let shards = (number..SHARDS).step_by(OF).map(|_| Shard::default()).collect();
        Self { number, shards, renewed: None }
    }

    #[inline]
    fn shard(&mut self, hash: u64) -> &mut Shard {
        &mut self.shards[shard_of(hash) / OF]
    }

    /// Takes a batch; writes down what the source is to be told, and answers what the batch asks.
    fn work(&mut self, batch: &Batch, tools: &Tools, verdicts: &mut Verdicts) -> Option<Answer> {
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
            self.load_ahead(packets);
            for packet in packets {
                if !refusals.is_empty() || !counts.is_empty() {
                    self.take_between(done, &mut refusals, &mut counts);
                }
                debug_assert_eq!(shard_of(packet.hash) % OF, self.number, "it has another lane");
                let shard = self.shard(packet.hash);
                let verdict = shard.packet(packet, &block.bytes, tools);
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
        refusals: &mut &'b [(usize, super::front::Quoted)],
        counts: &mut &'b [(usize, Packet, super::front::FlowCount)],
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

    /// Loads index entries, then flows, then their readers, so that the cache misses of several packets
    /// overlap.
    #[inline]
    fn load_ahead(&self, packets: &[Packet]) {
        let mut numbers = [0; LOOK_AHEAD];
        for (number, packet) in numbers.iter_mut().zip(packets) {
            *number = self.shards[shard_of(packet.hash) / OF].touch(packet.hash);
        }
        let mut slots = [NO_SLOT; LOOK_AHEAD];
        let mut loaded = 0;
        for ((number, slot), packet) in numbers.iter().zip(&mut slots).zip(packets) {
            let (of_flow, some) = self.shards[shard_of(packet.hash) / OF].touch_flow(*number);
            *slot = if packet.payload.len > 0 { of_flow } else { NO_SLOT };
            loaded ^= some;
        }
        for (slot, packet) in slots.iter().zip(packets) {
            if *slot != NO_SLOT {
                loaded ^= self.shards[shard_of(packet.hash) / OF].touch_reader(*slot);
            }
        }
        std::hint::black_box(loaded);
    }
}

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

    fn send(&mut self, _lane: usize, mut batch: Batch) -> Result<()> {
        self.told.extend(self.lane.work(&batch, self.tools, &mut self.verdicts));
        if let Some(block) = batch.clear() {
            self.recycle(block);
        }
        self.spare = Some(batch);
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

/// One lane among threads.
struct Shared {
    /// Held while a thread works on it; never waited for, as a lane is ready only once at a time.
    lane: Mutex<Lane<LANES>>,
    waiting: Mutex<Waiting>,
}

/// The batches that a lane has before it.
#[derive(Default)]
struct Waiting {
    batches: VecDeque<Batch>,
    /// The lane is ready to be taken, or a thread works on it.
    is_taken: bool,
}

/// What threads are told.
enum Turn {
    /// A lane has work.
    Lane(usize),
    /// There is no more.
    End,
}

/// What every thread needs to work on any lane, and the way back of what is used again.
#[derive(Clone)]
struct Floor<'env> {
    lanes: Arc<[Shared; LANES]>,
    ready: Sender<Turn>,
    batches: Sender<Batch>,
    blocks: Sender<Block>,
    verdicts: Sender<Verdicts>,
    told: Sender<Answer>,
    /// A defect ended the work on a batch; the run cannot be whole.
    failed: Arc<AtomicBool>,
    tools: &'env Tools,
}

impl Floor<'_> {
    /// Adds a batch to a lane's.
    fn add(&self, lane: usize, batch: Batch) {
        let shared = &self.lanes[lane];
        let mut waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.batches.push_back(batch);
        if !std::mem::replace(&mut waiting.is_taken, true) {
            drop(waiting);
            self.offer(Turn::Lane(lane));
        }
    }

    /// Works on a lane's next batch and gives it back empty.
    fn work(&self, number: usize) {
        let shared = &self.lanes[number];
        let next = || shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut batch) = next().batches.pop_front() else { return };
        let mut verdicts = Verdicts::new();
        let worked = catch_unwind(AssertUnwindSafe(|| {
            let mut lane = shared.lane.lock().unwrap_or_else(PoisonError::into_inner);
            lane.work(&batch, self.tools, &mut verdicts)
        }));
        let told = worked.unwrap_or_else(|_| {
            self.failed.store(true, Ordering::Relaxed);
            None
        });
        {
            let mut waiting = next();
            waiting.is_taken = !waiting.batches.is_empty();
            if waiting.is_taken {
                drop(waiting);
                self.offer(Turn::Lane(number));
            }
        }
        if !verdicts.is_empty() {
            // Nobody takes them, or too slowly: they come again.
            let _ = self.verdicts.try_send(verdicts);
        }
        if let Some(told) = told {
            // Nobody listens any more when the run is about to end.
            let _ = self.told.send(told);
        }
        if let Some(block) = batch.clear() {
            let _ = self.blocks.send(block);
        }
        let _ = self.batches.send(batch);
    }

    fn offer(&self, turn: Turn) {
        // Without a listener the run is over.
        let _ = self.ready.send(turn);
    }
}

/// The calling thread, which takes turns with others.
pub struct Threads<'env> {
    floor: Floor<'env>,
    ready: Receiver<Turn>,
    batches: Receiver<Batch>,
    blocks: Receiver<Block>,
    verdicts: Receiver<Verdicts>,
    told: Receiver<Answer>,
    workers: usize,
    spare: Vec<Batch>,
    /// Batches that did not come back yet.
    under_way: usize,
}

impl<'env> Threads<'env> {
    /// Starts so many workers beside the calling thread.
    pub fn start<'scope>(
        scope: &'scope Scope<'scope, 'env>,
        workers: usize,
        tools: &'env Tools,
    ) -> Result<Self> {
        let lane =
            |number| Shared { lane: Mutex::new(Lane::new(number)), waiting: Mutex::default() };
        // Nothing here is unbounded: who sends a batch has taken part in limiting them, and whoever asks
        // waits for the answer before asking again.
        let (ready_to, ready) = unbounded();
        let (batches_back, batches) = unbounded();
        let (blocks_back, blocks) = unbounded();
        let (verdicts_back, verdicts) = bounded(VERDICTS_LEN);
        let (told_back, told) = unbounded();
        let floor = Floor {
            lanes: Arc::new(std::array::from_fn(lane)),
            ready: ready_to,
            batches: batches_back,
            blocks: blocks_back,
            verdicts: verdicts_back,
            told: told_back,
            failed: Arc::default(),
            tools,
        };
        let spare = Vec::new();
        let mut crew =
            Self { floor, ready, batches, blocks, verdicts, told, workers: 0, spare, under_way: 0 };
        for worker in 0..workers {
            let (floor, ready) = (crew.floor.clone(), crew.ready.clone());
            std::thread::Builder::new()
                .name(format!("worker-{worker}"))
                .spawn_scoped(scope, move || {
                    while let Ok(Turn::Lane(lane)) = ready.recv() {
                        floor.work(lane);
                    }
                })
                .map_err(|error| Error::new(format!("cannot start a worker thread: {error}")))?;
            crew.workers += 1;
        }
        Ok(crew)
    }

    /// Lets the work end and returns the shards, in the order of their numbers.
    pub fn finish(self) -> Result<Vec<Shard>> {
        self.finish_telling().map(|(shards, _)| shards)
    }

    /// Lets the work end; returns the shards and the answers that nobody took yet.
    pub fn finish_telling(mut self) -> Result<(Vec<Shard>, Vec<Answer>)> {
        for lane in 0..LANES {
            let batch = Batch { ends: true, ..self.batch() };
            self.under_way += 1;
            self.floor.add(lane, batch);
        }
        self.help_until(|crew| crew.under_way == 0)?;
        let mut by_lane = Vec::new();
        for shared in self.floor.lanes.iter() {
            let mut lane = shared.lane.lock().unwrap_or_else(PoisonError::into_inner);
            by_lane.push(std::mem::take(&mut lane.shards).into_iter());
        }
        let shards = (0..SHARDS).filter_map(|shard| by_lane[shard % LANES].next()).collect();
        Ok((shards, self.told.try_iter().collect()))
    }

    /// Takes turns with the others until there is no need for it any more.
    fn help_until(&mut self, is_enough: impl Fn(&Self) -> bool) -> Result<()> {
        self.take_back();
        while !is_enough(self) {
            select! {
                recv(self.ready) -> turn => if let Ok(Turn::Lane(lane)) = turn {
                    self.floor.work(lane);
                },
                recv(self.batches) -> batch => if let Ok(batch) = batch {
                    self.under_way -= 1;
                    self.spare.push(batch);
                },
            }
            self.take_back();
        }
        if self.floor.failed.load(Ordering::Relaxed) { Err(worker_died()) } else { Ok(()) }
    }

    /// Takes what came back.
    fn take_back(&mut self) {
        for batch in self.batches.try_iter() {
            self.under_way -= 1;
            self.spare.push(batch);
        }
    }
}

impl Drop for Threads<'_> {
    /// Tells the others that there is no more, whatever ended the calling thread's part.
    fn drop(&mut self) {
        for _ in 0..self.workers {
            self.floor.offer(Turn::End);
        }
    }
}

impl Crew for Threads<'_> {
    fn lanes(&self) -> usize {
        LANES
    }

    fn batch(&mut self) -> Batch {
        self.spare.pop().unwrap_or_default()
    }

    fn block(&mut self) -> Block {
        self.blocks.try_recv().unwrap_or_default()
    }

    fn send(&mut self, lane: usize, batch: Batch) -> Result<()> {
        self.under_way += 1;
        self.floor.add(lane, batch);
        self.help_until(|crew| crew.under_way <= UNDER_WAY_MAX)
    }

    fn recycle(&mut self, block: Block) {
        let _ = self.floor.blocks.send(block);
    }

    fn verdicts(&mut self, take: &mut dyn FnMut(&Packet, Verdict)) {
        for (packet, verdict) in self.verdicts.try_iter().flatten() {
            take(&packet, verdict);
        }
    }

    fn answers(&mut self) -> Vec<Answer> {
        self.told.try_iter().collect()
    }

    fn all_answers(&mut self) -> Result<Vec<Answer>> {
        // A lane's answer is sent before its batch comes back.
        self.help_until(|crew| crew.under_way == 0)?;
        Ok(self.answers())
    }
}

fn worker_died() -> Error {
    Error::new("a worker thread died; the run is not complete")
        .hint("this is a defect of portreeve: please report it with the message above")
}
