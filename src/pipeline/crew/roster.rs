//! Who works on what next, and what comes back.
//!
//! Each lane has a home: the thread that takes it whenever it can, as what the lane's flows need is in that
//! thread's cache. Others take it only where they have nothing else to do, so that nobody waits while there is
//! work. One lock guards all of it; it is held for a few instructions, some ten times a block.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::{LANES, Verdicts};
use crate::capture::Block;
use crate::pipeline::front::Batch;
use crate::pipeline::shard::Answer;

/// The number of the thread that reads; workers are numbered from 1 on.
pub(super) const READER: usize = 0;

/// Of the lanes, those at home with the reader where there is one worker: reading and decoding leave it time for
/// about a quarter of the rest. With more workers it has none to spare.
const READERS: usize = LANES / 4;

/// Verdicts that may wait to be taken, in batches; what does not fit comes again.
const VERDICTS_LEN: usize = 64;

/// Emptied blocks that are kept: as many as are under way in a steady run. What a stall took beside goes back to the
/// system.
const BLOCKS_MAX: usize = 4;

/// The lanes' batches, and what was done with them.
pub(super) struct Roster {
    state: Mutex<State>,
    /// Something was added that a worker may wait for.
    added: Condvar,
    /// Something came back that the reader may wait for.
    returned: Condvar,
    homes: [usize; LANES],
}

#[derive(Default)]
struct State {
    lanes: [Waiting; LANES],
    /// Lanes that have a batch and nobody who works on it, the one that waits longest first.
    ready: VecDeque<usize>,
    back: Back,
    /// Emptied blocks, the one that was used last at the end: it is in a cache.
    blocks: Vec<Block>,
    /// Workers that wait.
    idle: usize,
    /// The reader waits.
    reader_waits: bool,
    is_over: bool,
}

/// The batches that a lane has before it.
#[derive(Default)]
struct Waiting {
    batches: VecDeque<Batch>,
    /// The lane is ready to be taken, or a thread works on it.
    is_taken: bool,
}

/// What came back since the reader last looked.
#[derive(Default)]
pub(super) struct Back {
    /// Emptied batches.
    pub(super) batches: Vec<Batch>,
    /// What the source is to be told.
    pub(super) verdicts: Vec<Verdicts>,
    /// Answers to questions; each is here before its batch is.
    pub(super) told: Vec<Answer>,
}

impl State {
    /// Keeps an emptied block; returns it where there are enough.
    fn keep(&mut self, block: Option<Block>) -> Option<Block> {
        if self.blocks.len() < BLOCKS_MAX {
            self.blocks.extend(block);
            return None;
        }
        block
    }
}

impl Roster {
    /// Begins with nothing to do, for so many workers beside the reader.
    pub(super) fn new(workers: usize) -> Self {
        let readers = if workers == 1 { READERS } else { 0 };
        let home = |lane: usize| match lane.checked_sub(readers) {
            None => READER,
            Some(of_workers) => 1 + of_workers % workers.max(1),
        };
        Self {
            state: Mutex::default(),
            added: Condvar::new(),
            returned: Condvar::new(),
            homes: std::array::from_fn(home),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds batches, each to its lane's, and wakes no more workers than there is work for.
    pub(super) fn add(&self, batches: &mut Vec<(usize, Batch)>) {
        let mut state = self.lock();
        for (lane, batch) in batches.drain(..) {
            let waiting = &mut state.lanes[lane];
            waiting.batches.push_back(batch);
            if !std::mem::replace(&mut waiting.is_taken, true) {
                state.ready.push_back(lane);
            }
        }
        let wanted = state.idle.min(state.ready.len());
        drop(state);
        (0..wanted).for_each(|_| self.added.notify_one());
    }

    /// Waits for a lane's next batch; nothing when the run is over.
    pub(super) fn next(&self, thread: usize) -> Option<(usize, Batch)> {
        let mut state = self.lock();
        loop {
            if state.is_over {
                return None;
            }
            if let Some(turn) = self.pick(&mut state, thread) {
                return Some(turn);
            }
            state.idle += 1;
            state = self.added.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Waits until batches came back, or for a lane's next batch while none did.
    pub(super) fn next_or_back(&self) -> Option<(usize, Batch)> {
        let mut state = self.lock();
        loop {
            if !state.back.batches.is_empty() {
                return None;
            }
            if let Some(turn) = self.pick(&mut state, READER) {
                return Some(turn);
            }
            state.reader_waits = true;
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.reader_waits = false;
        }
    }

    /// Picks a lane that is at home with a thread, else the one that waits longest.
    fn pick(&self, state: &mut State, thread: usize) -> Option<(usize, Batch)> {
        let own = state.ready.iter().position(|lane| self.homes[*lane] == thread);
        let lane = state.ready.remove(own.unwrap_or(0))?;
        let batch = state.lanes[lane].batches.pop_front()?;
        Some((lane, batch))
    }

    /// Gives a lane back, and the batch that was worked on with what came of it. Where there is more to do on the
    /// lane, a worker is woken: who gives it back may be the reader, which may have something else to do.
    pub(super) fn done(
        &self,
        lane: usize,
        mut batch: Batch,
        verdicts: Verdicts,
        told: Option<Answer>,
    ) {
        let block = batch.clear();
        let mut state = self.lock();
        let has_more = !state.lanes[lane].batches.is_empty();
        if has_more {
            state.ready.push_back(lane);
        } else {
            state.lanes[lane].is_taken = false;
        }
        if !verdicts.is_empty() && state.back.verdicts.len() < VERDICTS_LEN {
            state.back.verdicts.push(verdicts);
        }
        state.back.told.extend(told);
        let needless = state.keep(block);
        state.back.batches.push(batch);
        let (reader_waits, is_any_idle) = (state.reader_waits, state.idle > 0);
        drop(state);
        drop(needless);
        if has_more && is_any_idle {
            self.added.notify_one();
        }
        if reader_waits {
            self.returned.notify_one();
        }
    }

    /// Takes what of one kind came back.
    pub(super) fn take<T: Default>(&self, of: impl FnOnce(&mut Back) -> &mut T) -> T {
        std::mem::take(of(&mut self.lock().back))
    }

    /// Returns a block to be filled, as its last user left it.
    pub(super) fn block(&self) -> Block {
        self.lock().blocks.pop().unwrap_or_default()
    }

    /// Takes a block back.
    pub(super) fn recycle(&self, block: Block) {
        let needless = self.lock().keep(Some(block));
        drop(needless);
    }

    /// Lets all workers end: there is no more.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        drop(state);
        self.added.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes_of(roster: &Roster, thread: usize) -> Vec<usize> {
        (0..LANES).filter(|lane| roster.homes[*lane] == thread).collect()
    }

    #[test]
    fn every_lane_is_at_home_somewhere() {
        assert_eq!(lanes_of(&Roster::new(1), READER).len(), READERS);
        assert_eq!(lanes_of(&Roster::new(1), 1).len(), LANES - READERS);
        for workers in 2..=LANES {
            let roster = Roster::new(workers);
            assert!(lanes_of(&roster, READER).is_empty());
            assert!((1..=workers).all(|worker| !lanes_of(&roster, worker).is_empty()));
        }
    }

    #[test]
    fn a_thread_takes_its_own_lane_first_and_others_when_it_has_none() {
        let roster = Roster::new(1);
        for lane in [LANES - 1, 0, 1] {
            roster.add(&mut vec![(lane, Batch::default())]);
        }
        let turns: Vec<_> = (0..3).filter_map(|_| roster.next(READER)).map(|turn| turn.0).collect();
        assert_eq!(turns, [0, 1, LANES - 1]);
    }

    #[test]
    fn a_lane_is_with_one_thread_at_a_time_and_its_batches_keep_their_order() {
        let roster = Roster::new(1);
        for ends in [false, true] {
            roster.add(&mut vec![(3, Batch { ends, ..Batch::default() })]);
        }
        let (lane, first) = roster.next(1).unwrap();
        assert!(lane == 3 && !first.ends);
        assert!(roster.pick(&mut roster.lock(), READER).is_none(), "somebody works on it");
        roster.done(lane, first, Verdicts::new(), None);
        assert!(roster.next_or_back().is_none(), "a batch came back");
        assert_eq!(roster.take(|back| &mut back.batches).len(), 1);
        assert!(roster.next(READER).unwrap().1.ends);
        roster.end();
        assert!(roster.next(1).is_none());
    }
}
