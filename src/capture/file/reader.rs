//! Reads one input: fills blocks with its bytes and records the frames in them.

use std::io::{self, Read};
use std::mem;
use std::path::PathBuf;

use crate::capture::Block;
use crate::capture::file::container::{Container, Damage, Detected, Outlook, Rest, Sink, Walk};
use crate::capture::file::points::Points;
use crate::capture::file::stream::Stream;
use crate::error::Error;

/// What a read gave.
pub(super) enum Fill {
    /// At least one frame.
    Frames,
    /// The input was read to its end.
    Ended,
    /// The input is no capture, or empty.
    Foreign(Error),
    /// The input cannot be read further.
    Broken(Error),
}

/// One input in the middle of being read.
///
/// Bytes go from the file straight into a block and stay there; only a record that the block's end
/// cuts is carried over to the next one.
pub(super) struct Reader {
    name: PathBuf,
    stream: Stream,
    state: State,
    container: Option<Container>,
    block_len: usize,
    /// Bytes that the next block is filled with, so that it holds no more frames than stay in a cache.
    full_len: usize,
    /// Bytes asked for at once where they are read as they come: follows what is given, so that no
    /// large block is made ready for little.
    ask_len: usize,
    /// The cut record, from the last block.
    carry: Vec<u8>,
    /// Offset of the next block's first byte in the decompressed file.
    offset: u64,
    /// Bytes to be thrown away before that.
    skip: u64,
    /// What is to be said once the frames before it are handed over.
    failure: Option<Fill>,
}

/// How the stream is doing.
enum State {
    Open,
    Ended,
    Failed(io::Error),
}

/// Frames that a block is to hold, about: what is known of them, some 150 bytes each, is written by one
/// thread and read by another while it is in the cache.
const FRAMES_IN_BLOCK: usize = 4096;

/// Bytes that a block is filled with at least, however small its frames are.
const FULL_LEN_MIN: usize = 128 << 10;

/// What a pipe of Linux gives at once.
const ASK_LEN_MIN: usize = 64 << 10;

/// A buffer that grew for one huge record is given back beyond so many blocks' length.
const SPARE_BLOCKS: usize = 4;

impl Reader {
    /// Starts to read a stream.
    pub(super) fn new(name: PathBuf, stream: Stream, block_len: usize) -> Self {
        Self {
            name,
            stream,
            state: State::Open,
            container: None,
            block_len: block_len.max(1),
            full_len: block_len.max(1),
            ask_len: ASK_LEN_MIN,
            carry: Vec::new(),
            offset: 0,
            skip: 0,
            failure: None,
        }
    }

    /// Fills a block with frames, or says what else there is.
    pub(super) fn fill(&mut self, block: &mut Block, points: &mut Points) -> Fill {
        block.frames.clear();
        if let Some(failure) = self.failure.take() {
            return failure;
        }
        let Block { bytes, frames, .. } = block;
        if bytes.capacity() / SPARE_BLOCKS > self.block_len.max(ASK_LEN_MIN) {
            *bytes = Vec::new();
        }
        let mut filled = self.carry.len();
        grow(bytes, filled);
        bytes[..filled].copy_from_slice(&self.carry);
        self.carry.clear();
        let mut need = 0;
        loop {
            self.read(bytes, &mut filled, need);
            let walk = self.walk(&bytes[..filled], &mut Sink { frames, points });
            self.offset += walk.used as u64;
            let outcome = match walk.rest {
                Rest::Skip(len) => {
                    self.skip = len - (filled - walk.used) as u64;
                    self.offset += (filled - walk.used) as u64;
                    filled = walk.used;
                    need = 0;
                    None
                }
                Rest::Short(len) => {
                    need = len;
                    self.end(&bytes[walk.used..filled], len)
                }
                Rest::Damaged(damage) => Some(Fill::Broken(self.error(damage, &bytes[..filled]))),
                Rest::Foreign(damage) => Some(Fill::Foreign(self.error(damage, &bytes[..filled]))),
            };
            if !frames.is_empty() {
                self.failure = outcome;
                let wanted_len = walk.used / frames.len() * FRAMES_IN_BLOCK;
                self.full_len = wanted_len.max(FULL_LEN_MIN).min(self.block_len);
                self.carry.extend_from_slice(&bytes[walk.used..filled]);
                bytes.truncate(walk.used);
                return Fill::Frames;
            }
            if let Some(outcome) = outcome {
                bytes.clear();
                return outcome;
            }
            if walk.used > 0 {
                bytes.copy_within(walk.used..filled, 0);
                filled -= walk.used;
            }
        }
    }

    /// Reads behind the first `filled` bytes until the block is full and holds `need` bytes, or as much
    /// as comes at once.
    fn read(&mut self, bytes: &mut Vec<u8>, filled: &mut usize, need: usize) {
        let as_it_comes = self.stream.as_it_comes();
        let len = if as_it_comes {
            self.full_len.min(*filled + self.ask_len).max(*filled + 1)
        } else {
            self.full_len
        };
        let len = len.max(need);
        grow(bytes, len);
        while matches!(self.state, State::Open) && *filled < len {
            let asked = len - *filled;
            match self.stream.read(&mut bytes[*filled..len]) {
                Ok(0) => self.state = State::Ended,
                Ok(given) => {
                    self.adapt(asked, given);
                    let given = self.skip_some(bytes, *filled, given);
                    *filled += given;
                    if as_it_comes && given > 0 {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.state = State::Failed(error),
            }
        }
    }

    fn adapt(&mut self, asked: usize, given: usize) {
        if given == asked {
            self.ask_len = (self.ask_len * 2).min(self.block_len.max(ASK_LEN_MIN));
        } else if given < self.ask_len / 4 {
            self.ask_len = (self.ask_len / 2).max(ASK_LEN_MIN);
        }
    }

    /// Throws away what is to be skipped of the bytes just read; returns how many remain.
    fn skip_some(&mut self, bytes: &mut [u8], at: usize, given: usize) -> usize {
        let gone = usize::try_from(self.skip).unwrap_or(usize::MAX).min(given);
        if gone > 0 {
            bytes.copy_within(at + gone..at + given, at);
            self.skip -= gone as u64;
            self.offset += gone as u64;
        }
        given - gone
    }

    /// Walks the records of a window, over whatever it steps over inside.
    fn walk(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> Walk {
        let mut at = 0;
        if self.container.is_none() {
            let outlook = Outlook {
                ended: !matches!(self.state, State::Open),
                as_it_comes: self.stream.as_it_comes(),
            };
            match Container::detect(bytes, outlook, sink.points) {
                Detected::Found(container, header_len) => {
                    self.container = Some(container);
                    at = header_len;
                }
                Detected::Short(need) => return Walk::short(0, need),
                Detected::Unreadable(damage) => return Walk::damaged(0, damage),
                Detected::Foreign(damage) => return Walk { used: 0, rest: Rest::Foreign(damage) },
            }
        }
        let container = self.container.as_mut().expect("it was found above");
        loop {
            let walk = container.walk(bytes, at, sink);
            match walk.rest {
                Rest::Skip(len) if len <= (bytes.len() - walk.used) as u64 => {
                    at = walk.used + usize::try_from(len).expect("it is inside the window");
                }
                _ => return walk,
            }
        }
    }

    /// Says how the input ended, if it did; `window` begins with a record that needs `need` bytes.
    fn end(&mut self, window: &[u8], need: usize) -> Option<Fill> {
        match mem::replace(&mut self.state, State::Ended) {
            State::Open => {
                self.state = State::Open;
                None
            }
            State::Failed(error) => {
                let cause = self.stream.cause(&error);
                Some(Fill::Broken(Error::at_offset(&self.name, self.offset, cause)))
            }
            State::Ended => Some(self.ended(window, need)),
        }
    }

    fn ended(&self, window: &[u8], need: usize) -> Fill {
        let left = window.len();
        let missing = match &self.container {
            None if left == 0 => return Fill::Foreign(Error::at_path(&self.name, "is empty")),
            Some(container) if left == 0 && self.skip == 0 && container.may_end() => {
                return Fill::Ended;
            }
            None => format!("cut in the file header: {left} of {need} bytes are there"),
            Some(_) if self.skip > 0 => {
                format!("cut in mid-record: {} bytes are missing", self.skip)
            }
            Some(_) => format!("cut in mid-record: {left} of {need} bytes are there"),
        };
        Fill::Broken(self.error(Damage::new(missing), window))
    }

    /// Says what is wrong with the bytes of a window.
    fn error(&self, damage: Damage, window: &[u8]) -> Error {
        let error = Error::at_offset(&self.name, self.offset, damage.cause);
        match damage.hint.or_else(|| is_text_converted(window).then_some(TEXT_CONVERTED)) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

const TEXT_CONVERTED: &str =
    "each line feed follows a carriage return, as after a text-mode copy; copy it in binary mode";

/// Line feeds that make a text conversion likely: by chance, one in 256 follows a carriage return.
const LINE_FEEDS_MIN: usize = 4;

/// Tells whether bytes look as if each line feed had been given a carriage return.
fn is_text_converted(bytes: &[u8]) -> bool {
    let mut feeds = memchr::memchr_iter(b'\n', bytes);
    let all_follow = feeds.clone().all(|at| at == 0 || bytes[at - 1] == b'\r');
    all_follow && feeds.nth(LINE_FEEDS_MIN - 1).is_some()
}

/// Makes sure that a buffer has `len` bytes. Those it has stay as they are: a recycled block is full of
/// old bytes, and to clear a block for each read would cost as much as the read itself.
fn grow(bytes: &mut Vec<u8>, len: usize) {
    if bytes.len() < len {
        bytes.resize(len, 0);
    }
}
