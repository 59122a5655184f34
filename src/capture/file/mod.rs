//! Reads saved captures: pcap and its relatives, pcapng, snoop; plain, gzip, zstd or lz4; files,
//! directories, standard input.
//!
//! Takes names, gives blocks of frames that lie where the file was read to. A block never holds frames
//! of two inputs. What cannot be read costs only itself: the frames before it count, the next input
//! goes on. Needs no libpcap, decodes no frame.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::capture::{BLOCK_LEN, Block, Dropped, Event, InputSummary, Source};
use crate::error::{Error, Result};
use crate::packet::{ObservationPoint, PointId};

use self::input::Planned;
use self::points::Points;
use self::reader::{Fill, Reader};
use self::stream::Stream;

pub use self::input::{Input, peek_first_time};

#[cfg(test)]
mod builder;
mod bytes;
mod container;
mod input;
mod link;
mod pcap;
mod pcapng;
mod points;
mod reader;
mod snoop;
mod stream;
#[cfg(test)]
mod tests;
mod variant;

/// How files are read.
#[derive(Debug, Clone)]
pub struct Options {
    /// The inputs have nothing to do with each other: they are read in the order given. Otherwise they
    /// are read in the order of their first packets.
    pub separate: bool,
    /// Bytes that a block offers; a longer record makes its block longer.
    pub block_len: usize,
    /// Bytes of its output that a decompressor may look back on, of those that let the file choose: zstd. What
    /// wants more is not read.
    pub window_max: u64,
}

/// What `zstd --long` makes, and the tool itself reads without being told to.
const WINDOW_LEN: u64 = 128 << 20;

impl Default for Options {
    fn default() -> Self {
        Self { separate: false, block_len: BLOCK_LEN, window_max: WINDOW_LEN }
    }
}

/// Saved captures as one source of frames.
pub struct Files {
    queue: VecDeque<Planned>,
    current: Option<Current>,
    points: Points,
    inputs: Vec<InputSummary>,
    skipped: u64,
    progress: Progress,
    block_len: usize,
    window_max: u64,
}

/// The input that is being read; its summary is the last one.
struct Current {
    reader: Reader,
    found: bool,
    read_before: u64,
}

/// How far the reading has come; can be watched from another thread.
#[derive(Debug, Clone)]
pub struct Progress {
    read: Arc<AtomicU64>,
    total: Option<u64>,
}

impl Progress {
    /// Returns the bytes read so far, as stored.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Returns the bytes of all inputs, as stored; `None` where one of them is no file.
    pub fn total(&self) -> Option<u64> {
        self.total
    }
}

impl Files {
    /// Plans to read the inputs. What cannot be opened is said when its turn comes.
    pub fn open(inputs: Vec<Input>, options: &Options) -> Result<Self> {
        let mut planned = input::expand(inputs)?;
        if !options.separate && planned.len() > 1 {
            planned = input::order(planned, options.window_max);
        }
        let mut total = Some(0u64);
        for input in &planned {
            let len = match input {
                Planned::File { path, .. } => match path.metadata() {
                    Ok(file) if file.is_file() => Some(file.len()),
                    Ok(_) => None,
                    Err(_) => Some(0),
                },
                Planned::Unreadable(..) => Some(0),
                Planned::Stdin | Planned::Reader(..) => None,
            };
            total = total.zip(len).map(|(total, len)| total.saturating_add(len));
        }
        Ok(Self::of(planned, total, options))
    }

    /// Plans to read anything that yields bytes, as they come.
    pub fn from_reader(
        name: impl Into<String>,
        reader: impl Read + Send + 'static,
        options: &Options,
    ) -> Self {
        Self::of(vec![Planned::Reader(name.into(), Box::new(reader))], None, options)
    }

    /// Returns how the reading can be watched.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Counts the files of directories, so far, that were left out because they are no captures.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn of(planned: Vec<Planned>, total: Option<u64>, options: &Options) -> Self {
        Self {
            queue: planned.into(),
            current: None,
            points: Points::default(),
            inputs: Vec::new(),
            skipped: 0,
            progress: Progress { read: Arc::default(), total },
            block_len: options.block_len,
            window_max: options.window_max,
        }
    }

    /// Starts to read an input.
    fn begin(&mut self, planned: Planned) -> std::result::Result<(), Error> {
        let read = Arc::clone(&self.progress.read);
        let read_before = self.progress.read();
        let (path, found, stream) = match planned {
            Planned::File { path, found } => {
                let stream = Stream::open(&path, read, self.window_max);
                (path, found, stream)
            }
            Planned::Stdin => {
                let stdin = Box::new(io::stdin());
                (PathBuf::from("-"), false, Stream::new(stdin, true, read, self.window_max))
            }
            Planned::Reader(name, bytes) => {
                (PathBuf::from(name), false, Stream::new(bytes, true, read, self.window_max))
            }
            Planned::Unreadable(path, error) => (path, false, Err(error)),
        };
        let name = path.to_string_lossy().into_owned();
        let input = u32::try_from(self.inputs.len()).expect("inputs are limited");
        self.points.enter(input, &name, self.queue.len());
        self.inputs.push(InputSummary { name, ..InputSummary::default() });
        let stream = stream.map_err(|error| Error::unread(&path, &error))?;
        let reader = Reader::new(path, stream, self.block_len);
        self.current = Some(Current { reader, found, read_before });
        Ok(())
    }

    /// Adds a block's frames to the summary of the current input.
    fn account(&mut self, block: &Block) {
        let summary = self.inputs.last_mut().expect("an input is being read");
        summary.frames += block.frames.len() as u64;
        for frame in &block.frames {
            let (first, last) = summary.span.get_or_insert((frame.time, frame.time));
            *first = frame.time.min(*first);
            *last = frame.time.max(*last);
        }
    }

    /// Ends the current input.
    fn finish(&mut self) {
        if let (Some(current), Some(summary)) = (self.current.take(), self.inputs.last_mut()) {
            summary.bytes = self.progress.read() - current.read_before;
        }
    }

    fn break_off(&mut self, error: Error) -> Event {
        self.finish();
        if let Some(summary) = self.inputs.last_mut() {
            summary.broken = Some(error.to_string());
        }
        Event::Broken(error)
    }
}

impl Source for Files {
    fn next(&mut self, block: &mut Block) -> Result<Event> {
        loop {
            let Some(current) = &mut self.current else {
                let Some(planned) = self.queue.pop_front() else { return Ok(Event::End) };
                if let Err(error) = self.begin(planned) {
                    return Ok(self.break_off(error));
                }
                continue;
            };
            match current.reader.fill(block, &mut self.points) {
                Fill::Frames => {
                    self.account(block);
                    return Ok(Event::Frames);
                }
                Fill::Ended => self.finish(),
                Fill::Foreign(_) if current.found => {
                    self.finish();
                    self.inputs.pop();
                    self.skipped += 1;
                }
                Fill::Foreign(error) | Fill::Broken(error) => return Ok(self.break_off(error)),
            }
        }
    }

    fn points(&self) -> &[ObservationPoint] {
        self.points.list()
    }

    fn dropped(&self, point: PointId) -> Dropped {
        Dropped { kernel: self.points.dropped(point), ..Dropped::default() }
    }

    fn inputs(&self) -> Vec<InputSummary> {
        let mut inputs = self.inputs.clone();
        if let (Some(current), Some(summary)) = (&self.current, inputs.last_mut()) {
            summary.bytes = self.progress.read() - current.read_before;
        }
        inputs
    }
}
