//! `--evidence`: the packets of flows with findings, without their secrets.

use std::fs::{self, File, OpenOptions};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use super::{clash, warn};
use crate::capture::Source;
use crate::capture::file::{Files, Input, Options};
use crate::error::{Error, Result};
use crate::pipeline::Gathered;
use crate::pipeline::scrub::{self, Found, Reading, Scope, Subjects};
use crate::report::Sink;

/// A pcapng file that will hold the evidence of a run.
pub(super) struct Evidence {
    path: PathBuf,
    inputs: Vec<Input>,
    file: File,
    found: Found,
    memory: u64,
}

impl Evidence {
    /// Makes the file. Inputs are read again, so that none can be a pipe.
    pub(super) fn begin(path: &Path, inputs: &[Input], memory: u64) -> Result<Self> {
        for input in inputs {
            check_input(path, input)?;
        }
        let file = create(path)?;
        let (path, inputs, found) =
            (path.into(), inputs.to_vec(), Found::new(Scope::Findings, memory));
        Ok(Self { path, inputs, file, found, memory })
    }

    /// Returns what learns of the findings.
    pub(super) fn sink(&self) -> Box<dyn Sink> {
        Box::new(self.found.clone())
    }

    /// Writes the packets; the flows of the run are in the way of those of the next reading.
    pub(super) fn write(
        self,
        gathered: Gathered,
        reading: &mut Reading,
        options: &Options,
    ) -> Result<()> {
        let subjects = Subjects::new(&gathered, &self.found, Scope::Findings);
        drop(gathered);
        let copy = Copy {
            path: &self.path,
            file: self.file,
            inputs: &self.inputs,
            scope: Scope::Findings,
            memory: self.memory,
        };
        copy.write(options, reading, &subjects)
    }
}

/// What is to be written, and where.
pub(super) struct Copy<'a> {
    pub(super) path: &'a Path,
    pub(super) file: File,
    pub(super) inputs: &'a [Input],
    pub(super) scope: Scope,
    /// Bytes that the process may take.
    pub(super) memory: u64,
}

impl Copy<'_> {
    /// Reads the inputs again and writes what is to be written of them.
    pub(super) fn write(
        self,
        options: &Options,
        reading: &mut Reading,
        subjects: &Subjects,
    ) -> Result<()> {
        let open = || -> Result<Box<dyn Source>> {
            Ok(Box::new(Files::open(self.inputs.to_vec(), options)?))
        };
        let out = BufWriter::new(self.file);
        let written = scrub::scrub(open, reading, subjects, self.scope, self.memory, out)
            .map_err(|error| Error::at_path(self.path, error.to_string()))?;
        if written.is_limited {
            warn(match self.scope {
                Scope::Everything => {
                    "the capture has too many streams to look into all: some are overwritten whole"
                }
                Scope::Findings => {
                    "there are too many flows with findings for --memory-limit: the evidence lacks \
                     some of them, or shows them overwritten whole"
                }
            });
        }
        Ok(())
    }
}

/// Makes a file that nobody else may read: what was overlooked in it stays here.
pub(super) fn create(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| Error::at_path(path, format!("cannot be written: {error}")))
}

/// Refuses an input that cannot be read twice, and one that would be overwritten.
pub(super) fn check_input(path: &Path, input: &Input) -> Result<()> {
    let Input::Path(from) = input else {
        let error = Error::about("-", "standard input cannot be read a second time");
        return Err(error.hint("save it to a file first"));
    };
    let is_pipe = fs::metadata(from).is_ok_and(|file| !file.is_file() && !file.is_dir());
    if is_pipe {
        let error = Error::at_path(from, "it cannot be read a second time");
        return Err(error.hint("save it to a file first"));
    }
    let mut files = clash::Files::default();
    files.reads(from, clash::is_capture);
    files.writes(path)?;
    let place = |path: &Path| fs::canonicalize(path).ok();
    // A file made in a directory that is read would be read too.
    let folder = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => place(Path::new(".")),
        parent => parent.and_then(place),
    };
    let read = place(from);
    if read.is_some() && folder == read {
        let error = Error::at_path(path, "its folder is one of the inputs");
        return Err(error.hint("write to a file elsewhere"));
    }
    Ok(())
}
