//! Formats and places → sinks.

use std::io::{self, IsTerminal, Write};

use super::rotate::{Reopener, Rotating, Rotation};
use super::values::{Format, Output};
use crate::error::{Error, Result};
use crate::pipeline::outputs::Outputs;
use crate::report::Sink;
use crate::report::junit::Junit;
use crate::report::ndjson::Ndjson;
use crate::report::sarif::Sarif;
use crate::report::text::{self, Text};

/// Columns of a report that goes to no terminal.
const WIDTH: usize = 80;

/// Opens standard output in one format and files in others; returns what opens the files again.
pub(super) fn open(
    format: Format,
    files: &[Output],
    live: bool,
    rotation: Rotation,
) -> Result<(Outputs, Vec<Reopener>)> {
    let (mut outputs, mut reopeners) = (Outputs::default(), Vec::new());
    let options = text::Options { width: width(), color: color(), live };
    outputs.add("standard output", sink(format, Box::new(io::stdout()), options));
    for output in files {
        let file = Rotating::create(&output.path, rotation)
            .map_err(|error| Error::at_path(&output.path, format!("cannot be written: {error}")))?;
        reopeners.push(file.reopener());
        let options = text::Options { live, ..text::Options::default() };
        let name = output.path.to_string_lossy();
        outputs.add(name, sink(output.format, Box::new(file), options));
    }
    Ok((outputs, reopeners))
}

fn sink(format: Format, out: Box<dyn Write + Send>, options: text::Options) -> Box<dyn Sink> {
    match format {
        Format::Text => Box::new(Text::new(out, options)),
        Format::Ndjson if options.live => Box::new(Ndjson::new(out).bounded()),
        Format::Ndjson => Box::new(Ndjson::new(out)),
        Format::Sarif => Box::new(Sarif::new(out)),
        Format::Junit => Box::new(Junit::new(out)),
    }
}

/// Returns the columns of the terminal; `COLUMNS` has the last word.
pub(super) fn width() -> usize {
    if let Some(columns) = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()) {
        return columns;
    }
    if !io::stdout().is_terminal() {
        return WIDTH;
    }
    terminal_size::terminal_size_of(io::stdout()).map_or(WIDTH, |(width, _)| usize::from(width.0))
}

/// Tells whether standard output is a pipe that nobody reads any more, also while nothing is written.
#[cfg(any(feature = "live", all(feature = "ebpf", target_os = "linux")))]
pub(super) fn reader_has_gone() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let out = io::stdout();
    let mut asked = [PollFd::new(&out, PollFlags::empty())];
    poll(&mut asked, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
        && asked[0].revents().contains(PollFlags::ERR)
}

/// Tells whether standard output takes colours: a terminal, and nobody objects (no-color.org).
fn color() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}
