//! A run that has no end of its own: findings go out as they come, and what ended is let go.
//!
//! The front goes on dealing packets; several times a second it puts a question into each worker's queue.
//! The workers answer with copies of the flows in which something new was found and with the flows that
//! ended a while ago. The join judges the former at once and the latter for good, on this thread: while it
//! does, packets wait in the source's own queue. Nothing here waits for a worker.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;

use crate::capture::Source;
use crate::error::{Error, Result};
use crate::inspect::Tools;
use crate::packet::Timestamp;
use crate::report::Record;
use crate::report::record::StatsRecord;
use crate::report::summary::{Rtt, RunRecord, Summary};

use super::crew::{Alone, Threads};
use super::front::{Batch, Crew, Front};
use super::join::{self, Carried, Setting};
use super::ledger::Ledger;
use super::outputs::Outputs;
use super::shard::{Answer, Ask, Part};
use super::{Config, Gathered, SHARDS, Workers, flows_budget};

/// How often the workers are asked what is new: findings then go out well within 100 ms.
pub const ASK_EVERY: Duration = Duration::from_millis(20);

/// How often they are asked when nothing came: for flows to be let go.
const ASK_IDLE_EVERY: Duration = Duration::from_millis(500);

/// Flows of which a question is a little work: some are looked at each time.
const FEW_FLOWS: u64 = 1 << 16;

/// How often flows that left are judged, and how many at once: some milliseconds of work.
const FOLD_EVERY: Duration = Duration::from_millis(50);
const FOLD_AT_ONCE: usize = 1024;

/// Flows that may wait to be judged; when there are more, findings wait instead.
const LEAVING_MAX: usize = 1 << 17;

/// How often whoever runs this is told how it goes.
const PULSE_EVERY: Duration = Duration::from_millis(100);

/// Significant digits of the findings' latency: one part in a thousand.
const LATENCY_DIGITS: u8 = 3;

/// How a live run is bounded and told of.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Bytes for flows and what is held of them.
    pub memory_limit: u64,
    /// Time between two `stats` records.
    pub stats_every: Duration,
    /// Time between two questions to the workers while frames come.
    pub ask_every: Duration,
}

/// How it goes.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Frames so far.
    pub frames: u64,
    /// Bytes that they had on the wire.
    pub wire_bytes: u64,
    /// Flows in the tables.
    pub flows_open: u64,
    /// Flows so far.
    pub flows: u64,
    /// Alerts so far, updates not counted.
    pub alerts: u64,
    /// Frames that are known to be lost.
    pub lost: u64,
}

/// Whoever runs this.
pub trait Watcher {
    /// Returns what to go by from now on.
    fn setting(&self) -> Setting<'_>;

    /// Told how it goes, several times a second. Whoever goes over to other rules here tells `carried`.
    fn pulse(&mut self, status: &Status, carried: &mut Carried) -> Result<()>;

    /// Returns what inspection is to go on with, when that changed.
    fn renewed_tools(&mut self) -> Option<Arc<Tools>> {
        None
    }

    /// Told that something is about to be written.
    fn make_way(&mut self) {}

    /// Returns the run's figures at its end.
    fn figures(&self, status: &Status, finding_latency: Option<Rtt>) -> Option<RunRecord>;
}

/// Watches a source until it ends, and writes the report.
pub fn run(
    source: &mut dyn Source,
    config: &mut Config,
    tools: &Tools,
    outputs: &mut Outputs,
    watcher: &mut dyn Watcher,
    options: Options,
) -> Result<Summary> {
    let mut live = Live::new(config, options);
    let (shards, told) = match config.workers {
        Workers::Inline => {
            let mut crew = Alone::new(tools);
            live.watch(source, config, &mut crew, outputs, watcher)?;
            let told = crew.answers();
            (crew.finish(), told)
        }
        Workers::Threads(workers) => std::thread::scope(|scope| {
            let mut crew = Threads::start(scope, workers.get(), tools)?;
            let watched = live.watch(source, config, &mut crew, outputs, watcher);
            // A dead worker is why the front could not go on, and the better message.
            let finished = crew.finish_telling()?;
            watched.map(|()| finished)
        })?,
    };
    for told in told {
        live.take(told, source, outputs, watcher)?;
    }
    live.fold(usize::MAX, source, outputs, watcher)?;
    live.gathered.shards = shards;
    let status = live.status();
    watcher.make_way();
    // A run without any packet has a time all the same.
    live.gathered.front.span.get_or_insert_with(|| (time_of_day(), time_of_day()));
    let setting = watcher.setting();
    let latency = join::totals::published(&live.latency, true);
    let figures = || watcher.figures(&status, latency);
    join::report_after(live.carried, &live.gathered, source, &setting, outputs, figures)
}

/// The state of a live run.
struct Live {
    gathered: Gathered,
    carried: Carried,
    options: Options,
    /// Questions so far.
    turn: u32,
    /// Answers that have not come yet.
    awaited: usize,
    asked: Instant,
    asked_frames: u64,
    /// Flows that left their shards and wait to be judged.
    leaving: VecDeque<Part>,
    folded: Instant,
    /// Flows left in the tables by the answers of this turn, and of the last whole one.
    flows_open: [u64; 2],
    stats: Stats,
    /// From the packet that brought a finding about to its way out.
    latency: Histogram<u64>,
}

/// What the last `stats` record knew.
struct Stats {
    at: Instant,
    frames: u64,
    wire_bytes: u64,
}

impl Live {
    fn new(config: &Config, options: Options) -> Self {
        let now = Instant::now();
        Self {
            gathered: Gathered { front: Front::new(config), shards: Vec::new() },
            carried: Carried::default(),
            options,
            turn: 0,
            awaited: 0,
            asked: now,
            asked_frames: 0,
            leaving: VecDeque::new(),
            folded: now,
            flows_open: [0; 2],
            stats: Stats { at: now, frames: 0, wire_bytes: 0 },
            latency: Histogram::new(LATENCY_DIGITS).expect("three digits are a valid precision"),
        }
    }

    fn watch(
        &mut self,
        source: &mut dyn Source,
        config: &mut Config,
        crew: &mut dyn Crew,
        outputs: &mut Outputs,
        watcher: &mut dyn Watcher,
    ) -> Result<()> {
        let mut batches: Vec<Batch> = (0..crew.lanes()).map(|_| crew.batch()).collect();
        let mut pulsed = Instant::now();
        // The first question makes the shards note what is new.
        self.put_question(crew)?;
        while self.gathered.front.step(source, config, crew, &mut batches)? {
            self.ask(crew)?;
            for told in crew.answers() {
                self.take(told, source, outputs, watcher)?;
            }
            if self.leaving.len() > LEAVING_MAX {
                self.fold(self.leaving.len(), source, outputs, watcher)?;
            } else if self.folded.elapsed() >= FOLD_EVERY {
                self.fold(FOLD_AT_ONCE, source, outputs, watcher)?;
            }
            if pulsed.elapsed() >= PULSE_EVERY {
                pulsed = Instant::now();
                self.gathered.front.note_dropped(source);
                let status = self.status();
                watcher.pulse(&status, &mut self.carried)?;
                if let Some(tools) = watcher.renewed_tools() {
                    renew(crew, &tools)?;
                }
                // A file of another name begins here, whatever there is to write.
                outputs.flush()?;
            }
            if self.stats.at.elapsed() >= self.options.stats_every {
                watcher.make_way();
                self.write_stats(outputs)?;
            }
            if outputs.is_closed() {
                return Err(Error::about("output", "its reader has gone away"));
            }
        }
        self.gathered.front.close(source);
        Ok(())
    }

    /// Puts a question to the workers when it is time and the last one was answered.
    fn ask(&mut self, crew: &mut dyn Crew) -> Result<()> {
        let front = &self.gathered.front;
        let is_idle = front.frames == self.asked_frames;
        let every = if is_idle { ASK_IDLE_EVERY } else { self.options.ask_every };
        if self.awaited > 0 || self.asked.elapsed() < every {
            return Ok(());
        }
        self.put_question(crew)
    }

    fn put_question(&mut self, crew: &mut dyn Crew) -> Result<()> {
        let front = &self.gathered.front;
        let is_idle = front.frames == self.asked_frames;
        self.asked_frames = front.frames;
        self.asked = Instant::now();
        self.turn = self.turn.wrapping_add(1);
        let latest = front.span.map(|(_, latest)| latest).unwrap_or_default();
        // On a silent link packet time stands still, and flows would never be let go.
        let now = if is_idle { latest.max(time_of_day()) } else { latest };
        let budget = flows_budget(self.options.memory_limit);
        let cost_max = usize::try_from(budget).unwrap_or(usize::MAX) / SHARDS;
        for lane in 0..crew.lanes() {
            let mut batch = crew.batch();
            batch.ask = Some(Ask { turn: self.turn, news: true, now, cost_max });
            crew.send(lane, batch);
            self.awaited += 1;
        }
        if self.flows_open[1] <= FEW_FLOWS { crew.go_here() } else { crew.go() }
    }

    /// Takes a worker's answer.
    fn take(
        &mut self,
        told: Answer,
        source: &dyn Source,
        outputs: &mut Outputs,
        watcher: &mut dyn Watcher,
    ) -> Result<()> {
        self.awaited = self.awaited.saturating_sub(1);
        self.flows_open[0] += told.flows;
        if self.awaited == 0 {
            self.flows_open = [0, self.flows_open[0]];
        }
        let points = source.points();
        if !told.changed.is_empty() {
            watcher.make_way();
            let setting = watcher.setting();
            let gathered = &mut self.gathered;
            let seen = self.carried.peek(told.changed, gathered, points, &setting, outputs)?;
            outputs.flush()?;
            let now = time_of_day();
            for time in seen {
                // It grows as needed; a time that no histogram holds is none.
                let _ = self.latency.record(now.since(time));
            }
        }
        self.leaving.extend(told.folded);
        Ok(())
    }

    /// Judges flows that left for good: some at a time, so that no finding waits for all of them.
    fn fold(
        &mut self,
        parts: usize,
        source: &dyn Source,
        outputs: &mut Outputs,
        watcher: &mut dyn Watcher,
    ) -> Result<()> {
        let parts: Vec<Part> = self.leaving.drain(..parts.min(self.leaving.len())).collect();
        if parts.is_empty() {
            return Ok(());
        }
        self.folded = Instant::now();
        watcher.make_way();
        let (setting, points) = (watcher.setting(), source.points());
        self.carried.fold(parts, &mut self.gathered, points, &setting, outputs)?;
        outputs.flush()
    }

    fn status(&self) -> Status {
        let front = &self.gathered.front;
        let dropped = front.ledger.total().dropped;
        let left: usize = self.gathered.shards.iter().map(super::shard::Shard::len).sum();
        let flows_open = self.flows_open[1].max(left as u64);
        Status {
            frames: front.frames,
            wire_bytes: front.wire_bytes,
            flows_open,
            flows: self.carried.flows() + self.leaving.len() as u64 + flows_open,
            alerts: self.carried.alerts(),
            lost: dropped.kernel + dropped.ring + dropped.queue,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "rates for people")]
    fn write_stats(&mut self, outputs: &mut Outputs) -> Result<()> {
        let interval = self.stats.at.elapsed();
        let status = self.status();
        let rate = |now: u64, before: u64| (now - before) as f64 / interval.as_secs_f64();
        let mut ledger: Ledger = self.gathered.front.ledger.clone();
        self.carried.add_to(&mut ledger);
        let record = StatsRecord {
            timestamp: time_of_day(),
            interval_ns: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX),
            packets_per_second: rate(status.frames, self.stats.frames),
            bits_per_second: rate(status.wire_bytes, self.stats.wire_bytes) * 8.0,
            flows_open: status.flows_open,
            flows: status.flows,
            alerts: status.alerts,
            ledger: join::ledger::record(&ledger, &[]).total,
        };
        self.stats =
            Stats { at: Instant::now(), frames: status.frames, wire_bytes: status.wire_bytes };
        outputs.record(Record::Stats(&record))?;
        outputs.flush()
    }
}

/// Has every lane inspect by other tools from here on.
fn renew(crew: &mut dyn Crew, tools: &Arc<Tools>) -> Result<()> {
    for lane in 0..crew.lanes() {
        let mut batch = crew.batch();
        batch.tools = Some(Arc::clone(tools));
        crew.send(lane, batch);
    }
    crew.go()
}

/// Returns the time of day, as the kernel stamps packets with it.
fn time_of_day() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
