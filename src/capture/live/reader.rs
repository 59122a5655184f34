//! The life of one capture thread: interface → blocks, without ever waiting for whoever takes them.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender};

use super::tap::{LinkState, Opener, RETIRE_MS, Tap};
use crate::capture::{BLOCK_LEN, Block, Merged};
use crate::error::Error;
use crate::packet::{LinkType, PointId, Timestamp};

/// Frames that are read before the thread looks up: some 100 µs of work at the highest rates.
const FRAMES_PER_READ: usize = 1024;

/// Frames of one block: their records then take as much room as [`BLOCK_LEN`] small frames.
const BLOCK_FRAMES: usize = 1 << 14;

/// Longest wait for frames: what is told to the merger and the stop flag are looked at as often.
const WAIT: Duration = Duration::from_millis(10);

/// How often the kernel's counters are read: far more often than 32 bits can wrap.
const COUNTERS_EVERY: Duration = Duration::from_millis(100);

/// How often it is checked that the interface is still there.
const STATE_EVERY: Duration = Duration::from_millis(250);

/// How long frames that were captured before the stop are still fetched.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// A message to the source.
pub(super) enum Message {
    /// Frames.
    Block(Block),
    /// Nothing older than this is going to come.
    Mark(Timestamp),
    /// What the user should know of the interface.
    Notice(Error),
    /// The thread ended.
    Ended,
}

/// What a thread and the source both know of an interface.
#[derive(Default)]
pub(super) struct Shared {
    /// Frames that the kernel had no room for.
    pub(super) kernel: AtomicU64,
    /// Frames that were read and then found no room in the queue.
    pub(super) queue: AtomicU64,
    /// Blocks that wait in the queue.
    pub(super) queued: AtomicUsize,
    /// Times that the interface was lost.
    pub(super) losses: AtomicU64,
}

/// One capture thread.
pub(super) struct Reader {
    pub(super) name: String,
    pub(super) point: usize,
    pub(super) opener: Box<dyn Opener>,
    pub(super) queue: Sender<(usize, Message)>,
    pub(super) free: Receiver<Block>,
    pub(super) shared: Arc<Shared>,
    pub(super) stop: Arc<AtomicBool>,
    /// Blocks that may wait in the queue.
    pub(super) queue_len: usize,
    /// Somebody needs to know how far the interface is.
    pub(super) marks: bool,
}

impl Reader {
    /// Reads until the stop flag is raised; takes the interface up again when it was lost.
    pub(super) fn run(mut self, first: Box<dyn Tap>) {
        let mut filler = Filler::new(&self);
        let mut tap = Some(first);
        while let Some(open) = tap {
            filler.link = open.link();
            filler.wire_max = self.opener.wire_max();
            let lost = self.read_until_lost(open, &mut filler);
            if !lost {
                break;
            }
            self.shared.losses.fetch_add(1, Ordering::Relaxed);
            self.notice("went away; its frames are missed until it returns");
            tap = self.reopen();
            if tap.is_some() {
                self.notice("is back");
            }
        }
        filler.finish();
        let _ = self.queue.send((self.point, Message::Ended));
    }

    /// Returns whether the interface was lost, as against the run stopped.
    fn read_until_lost(&mut self, mut tap: Box<dyn Tap>, filler: &mut Filler) -> bool {
        let mut kernel = Wrapping::default();
        let mut state = LinkState::Up;
        let (mut counted, mut checked) = (Instant::now(), Instant::now());
        let mut stopping: Option<(Instant, Timestamp)> = None;
        let mut more = false;
        loop {
            if !more {
                tap.wait(WAIT);
            }
            let waited_until = now();
            let Ok(frames) =
                tap.read(FRAMES_PER_READ, &mut |t, len, bytes| filler.take(t, len, bytes))
            else {
                filler.hand_over();
                self.count(&mut *tap, &mut kernel);
                return true;
            };
            more = frames == FRAMES_PER_READ;
            if !more {
                filler.hand_over();
            }
            if frames == 0 && self.marks {
                // What came later than that may still lie in a buffer of the kernel's.
                let quiet = Timestamp(waited_until.0 - 2 * i64::from(RETIRE_MS) * 1_000_000);
                let _ = self.queue.try_send((self.point, Message::Mark(quiet)));
            }
            if counted.elapsed() >= COUNTERS_EVERY {
                self.count(&mut *tap, &mut kernel);
                counted = Instant::now();
            }
            if checked.elapsed() >= STATE_EVERY {
                checked = Instant::now();
                filler.wire_max = self.opener.wire_max();
                let new = self.opener.state();
                match (state, new) {
                    (_, LinkState::Gone) => {
                        self.count(&mut *tap, &mut kernel);
                        return true;
                    }
                    (LinkState::Up, LinkState::Down) => self.notice("is down or has no carrier"),
                    (LinkState::Down, LinkState::Up) => self.notice("is up again"),
                    _ => {}
                }
                state = new;
            }
            if self.stop.load(Ordering::Relaxed) {
                let (since, at) = *stopping.get_or_insert_with(|| (Instant::now(), now()));
                let retired =
                    since.elapsed() > 3 * Duration::from_millis(RETIRE_MS.unsigned_abs().into());
                let drained = (frames == 0 && retired) || filler.last > at;
                if drained || since.elapsed() > DRAIN_MAX {
                    self.count(&mut *tap, &mut kernel);
                    return false;
                }
            }
        }
    }

    /// Waits for the interface to return; `None` when the run is stopped meanwhile.
    fn reopen(&mut self) -> Option<Box<dyn Tap>> {
        let mut told = String::new();
        while !self.stop.load(Ordering::Relaxed) {
            match self.opener.open() {
                Ok(tap) => return Some(tap),
                Err(error) => {
                    let text = error.to_string();
                    if self.opener.state() != LinkState::Gone && text != told {
                        let _ = self.queue.try_send((self.point, Message::Notice(error)));
                        told = text;
                    }
                }
            }
            if self.marks {
                let _ = self.queue.try_send((self.point, Message::Mark(now())));
            }
            std::thread::sleep(WAIT * 10);
        }
        None
    }

    fn count(&self, tap: &mut dyn Tap, kernel: &mut Wrapping) {
        if let Some(dropped) = tap.dropped() {
            self.shared.kernel.fetch_add(kernel.advance(dropped), Ordering::Relaxed);
        }
    }

    fn notice(&self, what: &str) {
        let error = Error::about(&self.name, what);
        let _ = self.queue.try_send((self.point, Message::Notice(error)));
    }
}

/// Fills blocks and hands them over.
struct Filler {
    block: Block,
    link: LinkType,
    /// Bytes of the longest frame that is one packet on the wire.
    wire_max: u32,
    last: Timestamp,
    point: usize,
    queue: Sender<(usize, Message)>,
    free: Receiver<Block>,
    shared: Arc<Shared>,
    queue_len: usize,
}

impl Filler {
    fn new(reader: &Reader) -> Self {
        Self {
            block: Block::default(),
            link: LinkType::ETHERNET,
            wire_max: u32::MAX,
            last: Timestamp(i64::MIN),
            point: reader.point,
            queue: reader.queue.clone(),
            free: reader.free.clone(),
            shared: Arc::clone(&reader.shared),
            queue_len: reader.queue_len,
        }
    }

    fn take(&mut self, time: Timestamp, wire_len: u32, bytes: &[u8]) {
        let full = self.block.bytes.len() + bytes.len() > BLOCK_LEN
            || self.block.frames.len() == BLOCK_FRAMES;
        if full && !self.hand_over() {
            let lost = self.block.frames.len() as u64;
            self.shared.queue.fetch_add(lost, Ordering::Relaxed);
            self.block.clear();
        }
        self.last = self.last.max(time);
        let point = PointId(u16::try_from(self.point).unwrap_or(u16::MAX));
        if wire_len > self.wire_max {
            let index = self.block.frames.len();
            self.block.merged.push(Merged { index, packets: 1, headers_len: 0 });
        }
        self.block.push(time, point, self.link, wire_len, bytes);
    }

    /// Hands the block over when there is room; returns whether it is empty now. While there is none,
    /// the block goes on growing to its full size before anything is lost.
    fn hand_over(&mut self) -> bool {
        if self.block.frames.is_empty() {
            return true;
        }
        if self.shared.queued.load(Ordering::Acquire) >= self.queue_len {
            return false;
        }
        let mut next = self.free.try_recv().unwrap_or_default();
        next.clear();
        self.shared.queued.fetch_add(1, Ordering::AcqRel);
        let full = mem::replace(&mut self.block, next);
        // The channel has room for every interface's share, so that this never waits; it fails when
        // nobody reads any more.
        let _ = self.queue.send((self.point, Message::Block(full)));
        true
    }

    /// Hands over the last block; waits for room, as the run ends.
    fn finish(&mut self) {
        let begun = Instant::now();
        while !self.hand_over() {
            if begun.elapsed() > DRAIN_MAX {
                self.shared.queue.fetch_add(self.block.frames.len() as u64, Ordering::Relaxed);
                return;
            }
            std::thread::sleep(WAIT);
        }
    }
}

/// A 32-bit counter of the kernel's that wraps round.
#[derive(Debug, Default)]
struct Wrapping(u32);

impl Wrapping {
    /// Returns by how much the counter grew since the last look.
    fn advance(&mut self, now: u32) -> u64 {
        let grown = now.wrapping_sub(self.0);
        self.0 = now;
        u64::from(grown)
    }
}

/// Returns the time of day, as the kernel stamps frames with it.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_counter_may_wrap() {
        let mut counter = Wrapping::default();
        assert_eq!(counter.advance(u32::MAX - 1), u64::from(u32::MAX - 1));
        assert_eq!(counter.advance(3), 5);
        assert_eq!(counter.advance(3), 0);
    }
}
