//! A report file that begins anew when it is large or old enough, or when somebody else moved it, between
//! two lines.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Names that one second may need before the search for a free one is given up.
const NAMES_A_SECOND_MAX: u32 = 10_000;

/// When a file begins anew.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rotation {
    /// When it is this large, in bytes.
    pub(super) size: Option<u64>,
    /// When it is this old.
    pub(super) age: Option<Duration>,
}

/// Opens a report file again under its name, for whoever moved the one that is written: `logrotate(8)`.
pub(super) struct Reopener {
    path: PathBuf,
    next: Arc<Mutex<Option<File>>>,
}

#[cfg_attr(not(feature = "live"), expect(dead_code, reason = "only live runs are told to"))]
impl Reopener {
    /// Opens the file anew; what is written from the next line on goes there. What is no regular file, as a
    /// device or a pipe, stays as it is.
    pub(super) fn reopen(&self) -> io::Result<()> {
        if fs::metadata(&self.path).is_ok_and(|metadata| !metadata.is_file()) {
            return Ok(());
        }
        let file = OpenOptions::new().append(true).create(true).open(&self.path)?;
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }

    /// Returns the file's name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A file under rotation.
pub(super) struct Rotating {
    path: PathBuf,
    file: File,
    /// Takes the place of `file` with the next line.
    next: Arc<Mutex<Option<File>>>,
    rotation: Rotation,
    written: u64,
    begun: Instant,
    /// The last byte ended a line.
    ends_line: bool,
}

impl Rotating {
    /// Begins the file.
    pub(super) fn create(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let file = begin(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            next: Arc::default(),
            rotation,
            written: 0,
            begun: Instant::now(),
            ends_line: true,
        })
    }

    /// Returns what opens the file again.
    pub(super) fn reopener(&self) -> Reopener {
        Reopener { path: self.path.clone(), next: Arc::clone(&self.next) }
    }

    /// Goes over to the file that was opened again, if one was.
    fn take_next(&mut self) -> io::Result<()> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(next) = next {
            self.file.flush()?;
            self.written = next.metadata().map_or(0, |metadata| metadata.len());
            (self.file, self.begun) = (next, Instant::now());
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        self.written > 0
            && (self.rotation.size.is_some_and(|size| self.written >= size)
                || self.rotation.age.is_some_and(|age| self.begun.elapsed() >= age))
    }

    /// Returns how many of the bytes still belong into this file.
    fn room(&self, bytes: &[u8]) -> usize {
        let full_at = match self.rotation.size {
            _ if self.is_due() => 0,
            None => return bytes.len(),
            Some(size) => {
                usize::try_from(size.saturating_sub(self.written + 1)).unwrap_or(usize::MAX)
            }
        };
        let rest = bytes.get(full_at..).unwrap_or_default();
        rest.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| full_at + end + 1)
    }

    /// Gives the file another name, with the time, and begins it anew.
    fn rotate(&mut self) -> io::Result<()> {
        self.file.flush()?;
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let name = self.path.as_os_str().to_owned();
        let named = |count: u32| {
            let mut name = name.clone();
            name.push(if count == 0 { format!(".{time}") } else { format!(".{time}-{count}") });
            PathBuf::from(name)
        };
        let free = (0..NAMES_A_SECOND_MAX).map(named).find(|name| !name.exists());
        let free = free.ok_or_else(|| io::Error::other("no name is left for the full file"))?;
        fs::rename(&self.path, free)?;
        self.file = begin(&self.path)?;
        (self.written, self.begun) = (0, Instant::now());
        Ok(())
    }
}

impl Write for Rotating {
    /// A line is never divided between two files, whatever pieces it comes in.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.ends_line {
            self.take_next()?;
            if self.is_due() {
                self.rotate()?;
            }
        }
        // A piece goes at most to the end of the line with which the file is full.
        let written = self.file.write(&bytes[..self.room(bytes)])?;
        self.written += written as u64;
        if let Some(last) = bytes[..written].last() {
            self.ends_line = *last == b'\n';
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.ends_line {
            self.take_next()?;
        }
        self.file.flush()
    }
}

/// Begins a file. What is written goes to its end, also where somebody cuts it meanwhile.
fn begin(path: &Path) -> io::Result<File> {
    // A device or a pipe has no end to go to.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return File::create(path);
    }
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    file.set_len(0)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_lost_or_divided() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.ndjson");
        let rotation = Rotation { size: Some(100), age: None };
        let mut file = Rotating::create(&path, rotation).unwrap();
        let lines = (0..200).map(|number| format!("{{\"number\":{number}}}\n"));
        let whole: String = lines.collect();
        let (one, two) = whole.as_bytes().split_at(whole.len() / 2);
        for piece in one.chunks(37) {
            file.write_all(piece).unwrap();
        }
        file.write_all(two).unwrap();
        file.flush().unwrap();
        let mut lines = Vec::new();
        let mut files = 0;
        for entry in fs::read_dir(dir.path()).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            assert!(text.is_empty() || text.ends_with('\n'));
            assert!(text.len() < 200, "{} bytes", text.len());
            lines.extend(text.lines().map(str::to_owned));
            files += 1;
        }
        assert!(files > 10, "{files} files");
        lines.sort();
        let mut expected: Vec<_> = whole.lines().map(str::to_owned).collect();
        expected.sort();
        assert_eq!(lines, expected);
    }

    #[test]
    fn an_old_file_begins_anew_with_the_next_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report");
        let rotation = Rotation { size: None, age: Some(Duration::ZERO) };
        let mut file = Rotating::create(&path, rotation).unwrap();
        file.write_all(b"one\n").unwrap();
        file.write_all(b"two\nthree\n").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_that_was_moved_is_opened_again_between_two_lines() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("report"), dir.path().join("report.1"));
        let mut file = Rotating::create(&path, Rotation::default()).unwrap();
        let reopener = file.reopener();
        file.write_all(b"one\ntw").unwrap();
        fs::rename(&path, &moved).unwrap();
        reopener.reopen().unwrap();
        file.flush().unwrap();
        file.write_all(b"o\n").unwrap();
        file.write_all(b"three\n").unwrap();
        let read = |path| fs::read_to_string(path).unwrap();
        assert_eq!((read(&moved), read(&path)), ("one\ntwo\n".into(), "three\n".into()));
        // Opened again where it was, it goes on where it ended.
        reopener.reopen().unwrap();
        file.write_all(b"four\n").unwrap();
        assert_eq!(read(&path), "three\nfour\n");
    }

    #[test]
    fn a_file_that_was_cut_begins_at_its_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report");
        let mut file = Rotating::create(&path, Rotation::default()).unwrap();
        file.write_all(b"one\n").unwrap();
        File::create(&path).unwrap();
        file.write_all(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn without_a_rotation_it_is_a_plain_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report");
        let mut file = Rotating::create(&path, Rotation::default()).unwrap();
        file.write_all(&[b'\n'; 1000]).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
