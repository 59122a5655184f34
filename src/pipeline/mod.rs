//! A source → records: the only module that starts threads.
//!
//! The [`front`] reads and decodes on the calling thread and deals packets to 64 logical [`shard`]s, which
//! a [`crew`] of workers owns; at the end their flows and facts meet in the [`join`], where what concerns
//! several flows is found, the policy runs, and the records go out in order.

pub mod bounded;
pub mod crew;
pub mod front;
pub mod join;
pub mod ledger;
pub mod live;
pub mod measure;
pub mod outputs;
pub mod scrub;
pub mod shard;

use std::num::NonZeroUsize;

use crate::capture::Source;
use crate::decode;
use crate::error::{Error, Result};
use crate::inspect::Tools;
use crate::packet::{Frame, Timestamp};
use crew::{Alone, Threads};
use front::Front;
use shard::Shard;

/// Logical shards: enough for many workers to share evenly, few enough for the cost of an empty one
/// not to show. A power of two.
pub const SHARDS: usize = 64;

/// Decides whether a frame is looked at.
pub type FrameFilter = Box<dyn FnMut(&Frame<'_>) -> bool + Send>;

/// How a run is to be done.
pub struct Config {
    /// Threads that own shards.
    pub workers: Workers,
    /// How frames are read.
    pub decode: decode::Options,
    /// Inputs have nothing to do with each other.
    pub separate: bool,
    /// Frames before this time are left out.
    pub since: Option<Timestamp>,
    /// Frames after this time are left out.
    pub until: Option<Timestamp>,
    /// Frames that it rejects are left out.
    pub filter: Option<FrameFilter>,
    /// Told the number of frames read, after each block.
    pub on_progress: Box<dyn FnMut(u64) + Send>,
    /// Told of an input that could not be read to its end.
    pub on_broken: Box<dyn FnMut(&Error) + Send>,
}

impl Config {
    /// Tells whether any frames may be left out.
    fn has_filters(&self) -> bool {
        self.since.is_some() || self.until.is_some() || self.filter.is_some()
    }
}

/// Who owns the shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// The calling thread, beside reading and decoding.
    Inline,
    /// So many threads of their own.
    Threads(NonZeroUsize),
}

/// What a process takes beside its flows, in bytes: blocks, lists of those that go, the join's sums.
const BESIDE_FLOWS: u64 = 128 << 20;

/// Returns what flows may cost of a memory limit, in bytes. A third of what is left beside the rest is the
/// allocator's, and of frames that come between two questions. Under some 192 MB the limit is that of the
/// flows alone.
pub(crate) fn flows_budget(limit: u64) -> u64 {
    (limit.saturating_sub(BESIDE_FLOWS) / 3 * 2).max(limit / 8)
}

/// All that was seen, before the join.
pub struct Gathered {
    /// What the front knows.
    pub front: Front,
    /// The shards, by number.
    pub shards: Vec<Shard>,
}

/// Reads a source to its end and returns what was seen.
pub fn gather(source: &mut dyn Source, config: &mut Config, tools: &Tools) -> Result<Gathered> {
    let mut front = Front::new(config);
    let shards = match config.workers {
        Workers::Inline => {
            let mut crew = Alone::new(tools);
            front.run(source, config, &mut crew)?;
            crew.finish()
        }
        Workers::Threads(workers) => std::thread::scope(|scope| {
            let mut crew = Threads::start(scope, workers.get(), tools)?;
            let read = front.run(source, config, &mut crew);
            // A dead worker is why the front could not go on, and the better message.
            let shards = crew.finish()?;
            read.map(|()| shards)
        })?,
    };
    Ok(Gathered { front, shards })
}
