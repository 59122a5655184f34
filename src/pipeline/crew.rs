//! Who owns the shards: worker threads behind bounded channels, or the calling thread itself.

use std::panic::resume_unwind;
use std::thread::{Scope, ScopedJoinHandle};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};

use super::SHARDS;
use super::front::{Batch, Crew, shard_of};
use super::shard::{Answer, Shard};
use crate::capture::{Block, Verdict};
use crate::error::{Error, Result};
use crate::inspect::Tools;
use crate::packet::Packet;

/// Batches that may wait for one worker: enough to ride out a slow block, few enough to stay in cache.
const QUEUE_LEN: usize = 4;

/// Packets whose table entries are loaded before the first of them is looked at.
const LOOK_AHEAD: usize = 16;

/// Verdicts that may wait to be taken, in batches; what does not fit comes again.
const VERDICTS_LEN: usize = 64;

/// How long an answer is waited for before it is asked whether the worker still lives.
const DEAD_AFTER: std::time::Duration = std::time::Duration::from_millis(100);

/// What the workers have to say about a packet's flow.
type Verdicts = Vec<(Packet, Verdict)>;

/// Lets the shards of one worker answer, when a batch asks something.
fn answer(shards: &mut [Shard], batch: &Batch, tools: &Tools) -> Option<Answer> {
    let ask = batch.ask?;
    let mut told = Answer::default();
    for (index, shard) in shards.iter_mut().enumerate() {
        shard.answer(&ask, index, &mut told, tools);
    }
    Some(told)
}

/// Lets the shards of one worker take a batch; writes down what the source is to be told.
fn work(
    shards: &mut [Shard],
    workers: usize,
    batch: &Batch,
    tools: &Tools,
    verdicts: &mut Verdicts,
) {
    let Some(block) = &batch.block else { return };
    let mut refusals = batch.refusals.iter().peekable();
    let mut counts = batch.counts.iter().peekable();
    let mut done = 0;
    for packets in batch.packets.chunks(LOOK_AHEAD) {
        load_ahead(shards, workers, packets);
        for packet in packets {
            while let Some((_, quoted)) = refusals.next_if(|(before, _)| *before <= done) {
                shards[shard_of(quoted.hash) / workers].refuse(quoted);
            }
            while let Some((_, packet, count)) = counts.next_if(|(before, ..)| *before <= done) {
                shards[shard_of(packet.hash) / workers].count(packet, count);
            }
            let shard = &mut shards[shard_of(packet.hash) / workers];
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
    for (_, packet, count) in counts {
        shards[shard_of(packet.hash) / workers].count(packet, count);
    }
    for (_, quoted) in refusals {
        shards[shard_of(quoted.hash) / workers].refuse(quoted);
    }
}

/// Loads index entries, then flows, so that the cache misses of several packets overlap.
#[inline]
fn load_ahead(shards: &[Shard], workers: usize, packets: &[Packet]) {
    let mut numbers = [0; LOOK_AHEAD];
    for (number, packet) in numbers.iter_mut().zip(packets) {
        *number = shards[shard_of(packet.hash) / workers].touch(packet.hash);
    }
    let mut loaded = 0;
    for (number, packet) in numbers.iter().zip(packets) {
        loaded ^= shards[shard_of(packet.hash) / workers].touch_flow(*number);
    }
    std::hint::black_box(loaded);
}

/// Makes the shards of one worker of several: every `workers`-th, beginning with its own number.
fn shards_of(worker: usize, workers: usize) -> Vec<Shard> {
    (worker..SHARDS).step_by(workers).map(|_| Shard::default()).collect()
}

/// The calling thread does everything.
pub struct Alone<'a> {
    shards: Vec<Shard>,
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
        Self { shards: shards_of(0, 1), spare, blocks, verdicts, told, tools }
    }

    /// Ends the work and returns the shards.
    pub fn finish(mut self) -> Vec<Shard> {
        for shard in &mut self.shards {
            shard.finish(self.tools);
        }
        self.shards
    }
}

impl Crew for Alone<'_> {
    fn workers(&self) -> usize {
        1
    }

    fn batch(&mut self) -> Batch {
        self.spare.take().unwrap_or_default()
    }

    fn block(&mut self) -> Block {
        self.blocks.pop().unwrap_or_default()
    }

    fn send(&mut self, _worker: usize, mut batch: Batch) -> Result<()> {
        work(&mut self.shards, 1, &batch, self.tools, &mut self.verdicts);
        self.told.extend(answer(&mut self.shards, &batch, self.tools));
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

/// Worker threads, each with its shards.
pub struct Threads<'scope> {
    queues: Vec<Sender<Batch>>,
    batches: Receiver<Batch>,
    blocks: Receiver<Block>,
    blocks_back: Sender<Block>,
    verdicts: Receiver<Verdicts>,
    told: Receiver<Answer>,
    handles: Vec<ScopedJoinHandle<'scope, Vec<Shard>>>,
}

impl<'scope> Threads<'scope> {
    /// Starts the workers.
    pub fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        workers: usize,
        tools: &'env Tools,
    ) -> Result<Self> {
        // As many as can be under way, so that giving one back never blocks.
        let under_way = workers * (QUEUE_LEN + 2) + 2;
        let (batches_back, batches) = bounded(under_way);
        let (blocks_back, blocks) = bounded(under_way);
        let (verdicts_back, verdicts) = bounded(VERDICTS_LEN);
        // Whoever asks waits for the answer before asking again.
        let (told_back, told) = unbounded();
        let mut queues = Vec::new();
        let mut handles = Vec::new();
        for worker in 0..workers {
            let (sender, queue) = bounded::<Batch>(QUEUE_LEN);
            queues.push(sender);
            let back = Back {
                batches: batches_back.clone(),
                blocks: blocks_back.clone(),
                verdicts: verdicts_back.clone(),
                told: told_back.clone(),
            };
            let handle = std::thread::Builder::new()
                .name(format!("shards-{worker}"))
                .spawn_scoped(scope, move || serve(worker, workers, &queue, &back, tools))
                .map_err(|error| Error::new(format!("cannot start a worker thread: {error}")))?;
            handles.push(handle);
        }
        Ok(Self { queues, batches, blocks, blocks_back, verdicts, told, handles })
    }

    /// Lets the workers end and returns their shards, in the order of the shards' numbers.
    pub fn finish(self) -> Result<Vec<Shard>> {
        self.finish_telling().map(|(shards, _)| shards)
    }

    /// Lets the workers end; returns their shards and the answers that nobody took yet.
    pub fn finish_telling(self) -> Result<(Vec<Shard>, Vec<Answer>)> {
        drop(self.queues);
        let workers = self.handles.len();
        let mut by_worker = Vec::new();
        for handle in self.handles {
            match handle.join() {
                Ok(shards) => by_worker.push(shards.into_iter()),
                Err(panic) if cfg!(test) => resume_unwind(panic),
                Err(_) => return Err(worker_died()),
            }
        }
        let shards = (0..SHARDS).filter_map(|shard| by_worker[shard % workers].next()).collect();
        Ok((shards, self.told.try_iter().collect()))
    }
}

/// The way back of what is used again.
struct Back {
    batches: Sender<Batch>,
    blocks: Sender<Block>,
    verdicts: Sender<Verdicts>,
    told: Sender<Answer>,
}

/// One worker's life.
fn serve(
    worker: usize,
    workers: usize,
    queue: &Receiver<Batch>,
    back: &Back,
    tools: &Tools,
) -> Vec<Shard> {
    let mut shards = shards_of(worker, workers);
    for mut batch in queue {
        let mut verdicts = Verdicts::new();
        work(&mut shards, workers, &batch, tools, &mut verdicts);
        if !verdicts.is_empty() {
            discard_if_full(back.verdicts.try_send(verdicts));
        }
        if let Some(told) = answer(&mut shards, &batch, tools) {
            // Nobody listens any more when the run is about to end.
            let _ = back.told.send(told);
        }
        if let Some(block) = batch.clear() {
            discard_if_full(back.blocks.try_send(block));
        }
        discard_if_full(back.batches.try_send(batch));
    }
    for shard in &mut shards {
        shard.finish(tools);
    }
    shards
}

/// What cannot be kept for later use is freed.
fn discard_if_full<T>(sent: std::result::Result<(), TrySendError<T>>) {
    drop(sent);
}

impl Crew for Threads<'_> {
    fn workers(&self) -> usize {
        self.queues.len()
    }

    fn batch(&mut self) -> Batch {
        self.batches.try_recv().unwrap_or_default()
    }

    fn block(&mut self) -> Block {
        self.blocks.try_recv().unwrap_or_default()
    }

    fn send(&mut self, worker: usize, batch: Batch) -> Result<()> {
        self.queues[worker].send(batch).map_err(|_| worker_died())
    }

    fn recycle(&mut self, block: Block) {
        discard_if_full(self.blocks_back.try_send(block));
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
        let mut told = Vec::new();
        while told.len() < self.queues.len() {
            match self.told.recv_timeout(DEAD_AFTER) {
                Ok(answer) => told.push(answer),
                Err(_) if self.handles.iter().any(ScopedJoinHandle::is_finished) => {
                    return Err(worker_died());
                }
                Err(_) => {}
            }
        }
        Ok(told)
    }
}

fn worker_died() -> Error {
    Error::new("a worker thread died; the run is not complete")
        .hint("this is a defect of portreeve: please report it with the message above")
}
