//! Formats and places → sinks.

use std::io::{self, IsTerminal, Write};

use super::rotate::{Rotating, Rotation};
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

/// Opens standard output in one format and files in others.
pub(super) fn open(
    format: Format,
    files: &[Output],
    live: bool,
    rotation: Rotation,
) -> Result<Outputs> {
    let mut outputs = Outputs::default();
    let options = text::Options { width: width(), color: color(), live };
    outputs.add("standard output", sink(format, Box::new(io::stdout()), options));
    for output in files {
        let file = Rotating::create(&output.path, rotation)
            .map_err(|error| Error::at_path(&output.path, format!("cannot be written: {error}")))?;
        let options = text::Options { live, ..text::Options::default() };
        let name = output.path.to_string_lossy();
        outputs.add(name, sink(output.format, Box::new(file), options));
    }
    Ok(outputs)
}

fn sink(format: Format, out: Box<dyn Write + Send>, options: text::Options) -> Box<dyn Sink> {
    match format {
        Format::Text => Box::new(Text::new(out, options)),
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

/// Tells whether standard output takes colours: a terminal, and nobody objects (no-color.org).
fn color() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}
