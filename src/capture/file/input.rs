//! What a run reads, and in which order.

use std::fs;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::capture::Block;
use crate::capture::file::points::{INPUTS_MAX, Points};
use crate::capture::file::reader::{Fill, Reader};
use crate::capture::file::stream::{Bytes, Stream};
use crate::error::{Error, Result};
use crate::packet::Timestamp;

/// One input as the user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file, or a directory whose files are meant.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

impl<P: Into<PathBuf>> From<P> for Input {
    /// `-` is standard input.
    fn from(path: P) -> Self {
        let path = path.into();
        if path.as_os_str() == "-" { Self::Stdin } else { Self::Path(path) }
    }
}

/// One input as it will be read.
pub(super) enum Planned {
    /// A file; `found` in a directory, not named by the user.
    File { path: PathBuf, found: bool },
    /// Standard input.
    Stdin,
    /// Anything that yields bytes.
    Reader(String, Bytes),
    /// A directory that cannot be read.
    Unreadable(PathBuf, io::Error),
}

/// Stored bytes that a look at a file's first packet may cost.
const PEEK_LEN: u64 = 1 << 20;

/// Bytes of the file that are decompressed at once for it.
const PEEK_BLOCK_LEN: usize = 4 << 10;

/// Turns the user's inputs into what is read, in the given order.
pub(super) fn expand(inputs: Vec<Input>) -> Result<Vec<Planned>> {
    let mut planned = Vec::with_capacity(inputs.len());
    for input in inputs {
        match input {
            Input::Stdin => planned.push(Planned::Stdin),
            Input::Path(path) if path.is_dir() => match files_of(&path) {
                Ok(files) => planned
                    .extend(files.into_iter().map(|path| Planned::File { path, found: true })),
                Err(error) => planned.push(Planned::Unreadable(path, error)),
            },
            Input::Path(path) => planned.push(Planned::File { path, found: false }),
        }
    }
    if planned.len() > INPUTS_MAX {
        return Err(Error::new(format!("{} inputs, more than {INPUTS_MAX}", planned.len())).hint(
            "join some of them, with mergecap for example, or analyse them in several runs",
        ));
    }
    Ok(planned)
}

/// Returns the regular files of a directory, by name; not those of directories inside.
fn files_of(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Puts files in the order of their first packets. What cannot be looked into without being consumed
/// keeps its place; files without a packet come last.
pub(super) fn order(planned: Vec<Planned>, window_max: u64) -> Vec<Planned> {
    let mut files = Vec::new();
    let mut places: Vec<Option<Planned>> = Vec::with_capacity(planned.len());
    for input in planned {
        match input {
            Planned::File { path, found } if path.is_file() => {
                files.push((first_time(&path, window_max), path, found));
                places.push(None);
            }
            other => places.push(Some(other)),
        }
    }
    files.sort_by_key(|(time, ..)| (time.is_none(), *time));
    let mut files = files.into_iter().map(|(_, path, found)| Planned::File { path, found });
    places.into_iter().filter_map(|place| place.or_else(|| files.next())).collect()
}

/// Returns the time of a capture file's first packet; `None` where there is none near its beginning.
///
/// Reads a few KiB, as a rule.
pub fn peek_first_time(path: &Path) -> Option<Timestamp> {
    first_time(path, super::WINDOW_LEN)
}

fn first_time(path: &Path, window_max: u64) -> Option<Timestamp> {
    let file = File::open(path).ok()?;
    let bytes = Box::new(file.take(PEEK_LEN));
    let stream = Stream::new(bytes, false, Arc::default(), window_max).ok()?;
    let mut reader = Reader::new(path.into(), stream, PEEK_BLOCK_LEN);
    let mut block = Block::default();
    let mut points = Points::default();
    match reader.fill(&mut block, &mut points) {
        Fill::Frames => block.frames.first().map(|frame| frame.time),
        Fill::Ended | Fill::Foreign(_) | Fill::Broken(_) => None,
    }
}
