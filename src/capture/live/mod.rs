//! Frames from interfaces through libpcap, and BPF expressions over frames.
//!
//! Takes names of interfaces; gives blocks of frames in the order of time, with notices when an interface
//! goes away or returns. Beside `pipeline` this is the only module that starts threads: one an
//! interface, because a capture must be read while everything else is busy. A thread never waits for
//! whoever takes its blocks: when the queue is full, it fills its block, then drops and counts.
//!
//! Frames pass libpcap's filter in the kernel, which does not count what it rejects.

mod filter;
mod merge;
mod places;
mod reader;
mod tap;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::{Block, Dropped, Event, InputSummary, Source};
use crate::error::{Error, Result};
use crate::packet::{ObservationPoint, PointId, Timestamp};
use merge::Merge;
use places::Places;
use reader::{Message, Reader, Shared, now};
use tap::{Device, Opener, Tap};

pub use filter::FileFilter;
pub use tap::{libpcap_version, link_name};

/// The name that stands for all interfaces.
pub const ANY: &str = "any";

/// Bytes of a frame that are captured unless the user says otherwise: all of it, also where the
/// device joins segments (tcpdump's default too).
pub const SNAPLEN: u32 = 262_144;

/// Bytes of the kernel's buffer for one interface: half a second of a busy gigabit link.
pub const BUFFER_LEN: u32 = 64 << 20;

/// Blocks that may wait for the pipeline, an interface: as much again, of large blocks.
pub const QUEUE_LEN: usize = 128;

/// Longest silence of the source: how late a stop, an idle flow's end or a finding may be noticed.
const TICK: Duration = Duration::from_millis(10);

/// Messages beside blocks that find room in the queue: marks and notices.
const MESSAGES_BESIDE: usize = 16;

/// How a capture is to be done.
#[derive(Debug, Clone)]
pub struct Options {
    /// The interfaces, or [`ANY`].
    pub interfaces: Vec<String>,
    /// Bytes of a frame that are captured.
    pub snaplen: u32,
    /// Frames for other hosts are captured too.
    pub promiscuous: bool,
    /// Bytes of the kernel's buffer, an interface.
    pub buffer_len: u32,
    /// Blocks that may wait for the pipeline, an interface.
    pub queue_len: usize,
    /// A BPF expression that the kernel lets frames through by.
    pub filter: Option<String>,
    /// Raised by whoever wants the capture to end.
    pub stop: Arc<AtomicBool>,
}

impl Options {
    /// Asks for all frames of some interfaces.
    pub fn new(interfaces: Vec<String>) -> Self {
        Self {
            interfaces,
            snaplen: SNAPLEN,
            promiscuous: true,
            buffer_len: BUFFER_LEN,
            queue_len: QUEUE_LEN,
            filter: None,
            stop: Arc::default(),
        }
    }
}

/// A capture on one or more interfaces.
///
/// [`Live::open`] opens them on the calling thread, so that privileges can be dropped before the first
/// [`Source::next`] starts the threads, which then inherit what is left.
pub struct Live {
    points: Vec<ObservationPoint>,
    inputs: Vec<InputSummary>,
    shared: Vec<Arc<Shared>>,
    waiting: Vec<(Reader, Box<dyn Tap>)>,
    threads: Vec<JoinHandle<()>>,
    messages: Receiver<(usize, Message)>,
    free: Sender<Block>,
    merge: Merge,
    /// Where there is `any`, tells its interfaces apart.
    places: Option<Places>,
    alive: usize,
    stop: Arc<AtomicBool>,
}

/// Emptied blocks that are kept for each interface: what a queue needs that is mostly short. What a stall took
/// beside goes back to the system.
const FREE_MAX: usize = 8;

impl Live {
    /// Opens the interfaces; nothing is read yet.
    pub fn open(options: &Options) -> Result<Self> {
        let mut seen = HashSet::new();
        let mut openers: Vec<(String, Box<dyn Opener>)> = Vec::new();
        for name in &options.interfaces {
            if !seen.insert(name) {
                return Err(Error::about(name, "is named twice"));
            }
            if name == ANY && options.interfaces.len() > 1 {
                return Err(Error::about(name, "stands for every interface")
                    .hint("name it alone, or only the others"));
            }
            openers.push((name.clone(), Box::new(Device::new(name, options)?)));
        }
        Self::with(openers, options)
    }

    fn with(openers: Vec<(String, Box<dyn Opener>)>, options: &Options) -> Result<Self> {
        let count = openers.len();
        let (queue, messages) = bounded(count * (options.queue_len + MESSAGES_BESIDE));
        let (free, free_blocks) = bounded(count * FREE_MAX);
        let mut live = Self {
            points: Vec::new(),
            inputs: Vec::new(),
            shared: Vec::new(),
            waiting: Vec::new(),
            threads: Vec::new(),
            messages,
            free,
            merge: Merge::new(count),
            places: None,
            alive: count,
            stop: Arc::clone(&options.stop),
        };
        for (point, (name, mut opener)) in openers.into_iter().enumerate() {
            if name == ANY {
                live.places = Some(Places::new(tap::asking_socket(&name)?, PointId(0)));
            }
            let tap = opener.open()?;
            let shared = Arc::new(Shared::default());
            live.points.push(ObservationPoint {
                file: None,
                interface: Some(name.clone()),
                input: 0,
            });
            live.inputs.push(InputSummary { name: name.clone(), ..InputSummary::default() });
            live.shared.push(Arc::clone(&shared));
            let reader = Reader {
                name,
                point,
                opener,
                queue: queue.clone(),
                free: free_blocks.clone(),
                shared,
                stop: Arc::clone(&options.stop),
                queue_len: options.queue_len,
                marks: count > 1,
            };
            live.waiting.push((reader, tap));
        }
        Ok(live)
    }

    /// Starts the capture threads.
    fn start(&mut self) -> Result<()> {
        for (reader, tap) in self.waiting.drain(..) {
            let thread = std::thread::Builder::new()
                .name(format!("capture-{}", reader.point))
                .spawn(move || reader.run(tap))
                .map_err(|error| Error::new(format!("cannot start a capture thread: {error}")))?;
            self.threads.push(thread);
        }
        Ok(())
    }

    /// Notes frames that are about to be handed on.
    fn hand_on(&mut self, block: &mut Block) -> Event {
        for frame in &block.frames {
            let input = &mut self.inputs[usize::from(frame.point.0)];
            input.frames += 1;
            let span = input.span.get_or_insert((frame.time, frame.time));
            span.0 = span.0.min(frame.time);
            span.1 = span.1.max(frame.time);
        }
        if let Some(places) = &mut self.places {
            places.place(block, &mut self.points);
        }
        Event::Frames
    }

    /// Tells whether a thread ended without a word.
    fn has_dead_thread(&self) -> bool {
        let finished = self.threads.iter().filter(|thread| thread.is_finished()).count();
        finished > self.points.len() - self.alive && self.messages.is_empty()
    }

    fn is_over(&self) -> bool {
        self.alive == 0 && self.merge.is_over()
    }
}

impl Source for Live {
    fn next(&mut self, block: &mut Block) -> Result<Event> {
        if !self.waiting.is_empty() {
            self.start()?;
        }
        block.clear();
        let deadline = Instant::now() + TICK;
        loop {
            let free = &self.free;
            if self.merge.next(block, &mut |empty| drop(free.try_send(empty))) {
                return Ok(self.hand_on(block));
            }
            if self.is_over() {
                return Ok(Event::End);
            }
            match self.messages.recv_deadline(deadline) {
                Ok((lane, Message::Block(full))) => {
                    self.shared[lane].queued.fetch_sub(1, Ordering::AcqRel);
                    self.merge.block(lane, full);
                }
                Ok((lane, Message::Mark(seen))) => self.merge.mark(lane, seen),
                Ok((_, Message::Notice(notice))) => return Ok(Event::Notice(notice)),
                Ok((lane, Message::Ended)) => {
                    self.alive -= 1;
                    self.merge.end(lane);
                }
                Err(RecvTimeoutError::Timeout) if !self.has_dead_thread() => {
                    return Ok(Event::Tick(now()));
                }
                Err(_) => {
                    return Err(Error::new("a capture thread died; the run is not complete"));
                }
            }
        }
    }

    fn points(&self) -> &[ObservationPoint] {
        &self.points
    }

    fn dropped(&self, point: PointId) -> Dropped {
        let Some(shared) = self.shared.get(usize::from(point.0)) else { return Dropped::default() };
        Dropped {
            kernel: shared.kernel.load(Ordering::Relaxed),
            ring: 0,
            queue: shared.queue.load(Ordering::Relaxed),
        }
    }

    fn inputs(&self) -> Vec<InputSummary> {
        let mut inputs = self.inputs.clone();
        for (input, shared) in inputs.iter_mut().zip(&self.shared) {
            let losses = shared.losses.load(Ordering::Relaxed);
            if losses > 0 {
                input.broken = Some(format!("the interface went away {losses} times"));
            }
        }
        inputs
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A thread may wait for room for its last words.
        while self.messages.try_recv().is_ok() {}
        let (_, closed) = bounded(0);
        drop(std::mem::replace(&mut self.messages, closed));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Returns the time of day, as the kernel stamps frames with it.
pub fn time_of_day() -> Timestamp {
    now()
}
