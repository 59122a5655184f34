//! A run over files within a memory limit.
//!
//! When the frames since the last question may have filled what was free then, the shards are asked for
//! room. A shard that has none lets flows go: what ended, then attempts that nobody answered, then what is
//! decided, and what is still looked into last. These flows are judged, written and summed up at once, and
//! then forgotten. The questions stand at the same frames of a file however many workers there are, and
//! each shard answers for itself, so that the report does not depend on who shares the work.

use crate::capture::Source;
use crate::error::Result;
use crate::inspect::Tools;

use super::crew::{Alone, Threads};
use super::front::{Batch, Crew, Front};
use super::join::{Carried, Setting};
use super::outputs::Outputs;
use super::shard::{Ask, FRAME_COST_MAX};
use super::{Config, Gathered, SHARDS, Workers, flows_budget};

/// Frames between two questions at least, as each has every thread wait, if a quarter of the room is enough
/// for what they may bring.
const ASK_FRAMES_MIN: u64 = 1 << 16;

/// Memory that a byte of a frame may lead to: it is held, and what was found in it is kept.
const COST_OF_A_BYTE: u64 = 2;

/// How much memory flows may take, and what is made of those that go.
pub struct Limit<'a> {
    /// Bytes in all.
    pub memory: u64,
    /// By which flows that go are judged.
    pub setting: &'a Setting<'a>,
}

/// Reads a source to its end; returns what was seen and what stays of the flows that had to go.
pub fn gather(
    source: &mut dyn Source,
    config: &mut Config,
    tools: &Tools,
    limit: &Limit<'_>,
    outputs: &mut Outputs,
) -> Result<(Gathered, Carried)> {
    let mut run = Run {
        gathered: Gathered { front: Front::new(config), shards: Vec::new() },
        carried: Carried::default(),
        asked: Asked::default(),
        turn: 0,
    };
    let shards = match config.workers {
        Workers::Inline => {
            let mut crew = Alone::new(tools);
            run.read(source, config, &mut crew, limit, outputs)?;
            crew.finish()
        }
        Workers::Threads(workers) => std::thread::scope(|scope| {
            let mut crew = Threads::start(scope, workers.get(), tools)?;
            let read = run.read(source, config, &mut crew, limit, outputs);
            // A dead worker is why the front could not go on, and the better message.
            let shards = crew.finish()?;
            read.map(|()| shards)
        })?,
    };
    run.gathered.shards = shards;
    Ok((run.gathered, run.carried))
}

struct Run {
    gathered: Gathered,
    carried: Carried,
    asked: Asked,
    turn: u32,
}

/// How things stood at the last question.
#[derive(Default)]
struct Asked {
    frames: u64,
    wire_bytes: u64,
    cost: u64,
}

impl Run {
    fn read(
        &mut self,
        source: &mut dyn Source,
        config: &mut Config,
        crew: &mut dyn Crew,
        limit: &Limit<'_>,
        outputs: &mut Outputs,
    ) -> Result<()> {
        let mut batches: Vec<Batch> = (0..crew.lanes()).map(|_| crew.batch()).collect();
        // The shards are told how much there is.
        self.make_room(source, crew, limit, outputs)?;
        while self.gathered.front.step(source, config, crew, &mut batches)? {
            if self.may_be_full(limit) {
                self.make_room(source, crew, limit, outputs)?;
            }
        }
        self.gathered.front.close(source);
        Ok(())
    }

    /// Tells whether what came since the last question may have filled what was free.
    fn may_be_full(&self, limit: &Limit<'_>) -> bool {
        let front = &self.gathered.front;
        let frames = front.frames - self.asked.frames;
        let held = COST_OF_A_BYTE * (front.wire_bytes - self.asked.wire_bytes);
        let (more, budget) = (frames * FRAME_COST_MAX + held, flows_budget(limit.memory));
        let is_due = frames >= ASK_FRAMES_MIN || more >= budget / 4;
        is_due && self.asked.cost + more >= budget
    }

    /// Asks every shard for room and folds what had to go.
    fn make_room(
        &mut self,
        source: &dyn Source,
        crew: &mut dyn Crew,
        limit: &Limit<'_>,
        outputs: &mut Outputs,
    ) -> Result<()> {
        self.turn = self.turn.wrapping_add(1);
        let now = self.gathered.front.span.map(|(_, latest)| latest).unwrap_or_default();
        let budget = usize::try_from(flows_budget(limit.memory)).unwrap_or(usize::MAX);
        let cost_max = budget / SHARDS;
        for lane in 0..crew.lanes() {
            let mut batch = crew.batch();
            batch.ask = Some(Ask { turn: self.turn, news: false, now, cost_max });
            crew.send(lane, batch);
        }
        crew.go()?;
        let mut parts = Vec::new();
        let front = &self.gathered.front;
        self.asked = Asked { frames: front.frames, wire_bytes: front.wire_bytes, cost: 0 };
        for told in crew.all_answers()? {
            self.asked.cost += told.cost;
            parts.extend(told.folded);
        }
        if parts.is_empty() {
            return Ok(());
        }
        // The workers answer in any order.
        parts.sort_unstable_by_key(|part| (part.flow.first.frame, part.flow.key));
        self.carried.fold(parts, &mut self.gathered, source.points(), limit.setting, outputs)
    }
}
