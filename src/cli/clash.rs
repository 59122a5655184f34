//! What a run reads and what it writes → no file is both, and none is written twice.

use std::fs;
use std::path::{Path, PathBuf};

use crate::capture::file::peek_first_time;
use crate::error::{Error, Result};

/// Symbolic links that are followed to where a file would be made: as many as Linux follows (`path_resolution(7)`).
const LINKS_MAX: usize = 40;

/// The files of a run, each known by what it is and not by what it is called.
#[derive(Default)]
pub(super) struct Files {
    read: Vec<Place>,
    written: Vec<Place>,
}

/// What tells a file from all others.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// One that is there: hard links and symbolic links to it are the same.
    #[cfg(unix)]
    There { device: u64, inode: u64 },
    /// One by its full name: it will be made there.
    Named(PathBuf),
}

impl Files {
    /// Notes what the run reads. Of a directory it is `member` that tells which of its files are read.
    pub(super) fn reads(&mut self, path: &Path, member: fn(&Path) -> bool) {
        let Ok(entries) = fs::read_dir(path) else {
            self.read.extend(place(path));
            return;
        };
        let files = entries.flatten().map(|entry| entry.path());
        self.read.extend(files.filter(|path| member(path)).filter_map(|path| place(&path)));
    }

    /// Notes what the run writes; refuses what it reads, and what it writes already. A device or a pipe takes
    /// any number.
    pub(super) fn writes(&mut self, path: &Path) -> Result<()> {
        let Some(place) = place(path) else { return Ok(()) };
        let refused = if self.read.contains(&place) {
            "the run reads it"
        } else if self.written.contains(&place) {
            "two outputs go there"
        } else {
            self.written.push(place);
            return Ok(());
        };
        Err(Error::at_path(path, refused).hint("write to another file"))
    }
}

/// Tells whether a file of a directory is a capture: what else lies there is not read.
pub(super) fn is_capture(path: &Path) -> bool {
    peek_first_time(path).is_some()
}

/// Tells whether a file of a directory belongs to a catalogue.
pub(super) fn is_toml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

/// Finds out which file a name means; `None` for what is no regular file, and where none can be made.
fn place(path: &Path) -> Option<Place> {
    if let Ok(file) = fs::metadata(path) {
        return if file.is_file() { there(path, &file) } else { None };
    }
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(target) = fs::read_link(&path) else { break };
        path = folder(&path).join(target);
    }
    Some(Place::Named(fs::canonicalize(folder(&path)).ok()?.join(path.file_name()?)))
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere a file's full name may not be had")]
fn there(_path: &Path, file: &fs::Metadata) -> Option<Place> {
    use std::os::unix::fs::MetadataExt;
    Some(Place::There { device: file.dev(), inode: file.ino() })
}

#[cfg(not(unix))]
fn there(path: &Path, _file: &fs::Metadata) -> Option<Place> {
    fs::canonicalize(path).ok().map(Place::Named)
}

fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or_else(|| Path::new("."))
}
