//! Who works on the shards: the calling thread alone, or together with threads of its own.
//!
//! The shards lie in lanes. A lane's batches are worked on in order and by one thread at a time, mostly the same
//! one, else whichever is free; so a flow's packets keep their order, and no thread waits while another has work
//! left. The calling thread reads ahead of the others by a few blocks and then takes a lane itself.

mod alone;
mod lane;
mod roster;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use super::SHARDS;
use super::front::{Batch, Crew};
use super::shard::{Answer, Shard};
use crate::capture::{Block, Verdict};
use crate::error::{Error, Result};
use crate::inspect::Tools;
use crate::packet::Packet;
pub use alone::Alone;
use lane::Lane;
use roster::Roster;

/// Lanes that threads share: some for each of a few threads, so that they end together. A power of two.
const LANES: usize = 8;

/// Batches that may be under way before the calling thread works on one itself: those of two blocks, few
/// enough to stay in cache.
const UNDER_WAY_MAX: usize = 2 * LANES;

/// What the workers have to say about a packet's flow.
type Verdicts = Vec<(Packet, Verdict)>;

/// What every thread needs to work on any lane.
#[derive(Clone)]
struct Floor<'env> {
    roster: Arc<Roster>,
    /// Each is held while a thread works on it; never waited for, as the roster gives it to one at a time.
    lanes: Arc<[Mutex<Lane<LANES>>; LANES]>,
    /// A defect ended the work on a batch; the run cannot be whole.
    failed: Arc<AtomicBool>,
    tools: &'env Tools,
}

impl Floor<'_> {
    /// Works on a lane's batch and gives it back empty.
    fn work(&self, (number, batch): (usize, Batch)) {
        let mut verdicts = Verdicts::new();
        let worked = catch_unwind(AssertUnwindSafe(|| {
            let mut lane = self.lanes[number].lock().unwrap_or_else(PoisonError::into_inner);
            lane.work(&batch, self.tools, &mut verdicts)
        }));
        let told = worked.unwrap_or_else(|_| {
            self.failed.store(true, Ordering::Relaxed);
            None
        });
        self.roster.done(number, batch, verdicts, told);
    }
}

/// The calling thread, which takes turns with others.
pub struct Threads<'env> {
    floor: Floor<'env>,
    spare: Vec<Batch>,
    /// What was sent and is not under way yet.
    sent: Vec<(usize, Batch)>,
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
        let floor = Floor {
            roster: Arc::new(Roster::new(workers)),
            lanes: Arc::new(std::array::from_fn(|number| Mutex::new(Lane::new(number)))),
            failed: Arc::default(),
            tools,
        };
        // Made before the workers: when one cannot be started, those before it are told to end.
        let crew = Self { floor, spare: Vec::new(), sent: Vec::new(), under_way: 0 };
        for worker in 1..=workers {
            let floor = crew.floor.clone();
            std::thread::Builder::new()
                .name(format!("worker-{}", worker - 1))
                .spawn_scoped(scope, move || {
                    while let Some(turn) = floor.roster.next(worker) {
                        floor.work(turn);
                    }
                })
                .map_err(|error| Error::new(format!("cannot start a worker thread: {error}")))?;
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
            self.send(lane, batch);
        }
        self.go()?;
        self.help_until(|crew| crew.under_way == 0)?;
        let mut by_lane = Vec::new();
        for lane in self.floor.lanes.iter() {
            let mut lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
            by_lane.push(std::mem::take(&mut lane.shards).into_iter());
        }
        let shards = (0..SHARDS).filter_map(|shard| by_lane[shard % LANES].next()).collect();
        Ok((shards, self.answers()))
    }

    /// Takes turns with the others until there is no need for it any more.
    fn help_until(&mut self, is_enough: impl Fn(&Self) -> bool) -> Result<()> {
        loop {
            self.take_back();
            if is_enough(self) {
                break;
            }
            if let Some(turn) = self.floor.roster.next_or_back() {
                self.floor.work(turn);
            }
        }
        if self.floor.failed.load(Ordering::Relaxed) { Err(worker_died()) } else { Ok(()) }
    }

    fn take_back(&mut self) {
        let back = self.floor.roster.take(|back| &mut back.batches);
        self.under_way -= back.len();
        self.spare.extend(back);
    }
}

impl Drop for Threads<'_> {
    /// Tells the others that there is no more, whatever ended the calling thread's part.
    fn drop(&mut self) {
        self.floor.roster.end();
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
        self.floor.roster.block()
    }

    fn send(&mut self, lane: usize, batch: Batch) {
        self.under_way += 1;
        self.sent.push((lane, batch));
    }

    fn go_here(&mut self) -> Result<()> {
        self.take_back();
        if self.under_way == self.sent.len() {
            for turn in self.sent.drain(..) {
                self.floor.work(turn);
            }
        }
        self.go()
    }

    fn go(&mut self) -> Result<()> {
        if !self.sent.is_empty() {
            self.floor.roster.add(&mut self.sent);
        }
        self.help_until(|crew| crew.under_way <= UNDER_WAY_MAX)
    }

    fn recycle(&mut self, block: Block) {
        self.floor.roster.recycle(block);
    }

    fn verdicts(&mut self, take: &mut dyn FnMut(&Packet, Verdict)) {
        let given = self.floor.roster.take(|back| &mut back.verdicts);
        for (packet, verdict) in given.into_iter().flatten() {
            take(&packet, verdict);
        }
    }

    fn answers(&mut self) -> Vec<Answer> {
        self.floor.roster.take(|back| &mut back.told)
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
