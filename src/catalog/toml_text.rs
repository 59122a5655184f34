//! TOML text → values, with errors that name file, line, what was expected and the nearest known name.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result, nearest};

/// Longest file that is read: twice what a baseline of all findings that are noted may have. A device never ends.
const LEN_MAX: u64 = 128 << 20;

/// Reads a file of TOML, of a bounded length.
pub fn read(path: &Path) -> Result<String> {
    read_as(path, |error| Error::unread(path, &error))
}

/// Reads a file of TOML, of a bounded length; `failed` says why that failed.
pub fn read_as(path: &Path, failed: impl Fn(std::io::Error) -> Error) -> Result<String> {
    let mut text = Vec::new();
    let file = File::open(path).map_err(&failed)?;
    file.take(LEN_MAX + 1).read_to_end(&mut text).map_err(&failed)?;
    if text.len() as u64 > LEN_MAX {
        return Err(Error::at_path(path, format!("longer than {} MiB", LEN_MAX >> 20)));
    }
    String::from_utf8(text).map_err(|error| {
        let line = line_of_byte(error.as_bytes(), error.utf8_error().valid_up_to());
        Error::at_line(path, line, "it is no text in UTF-8")
    })
}

/// Reads one TOML text; `path` is where it came from.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let line = line_of(text, error.span());
        let message = one_line(error.message());
        let hint = hint_for(&message);
        // Many names are of no help beside the one that was meant.
        let message = match message.split_once(", expected one of ") {
            Some((unknown, names)) if hint.is_some() && names.split(", ").count() > NAMES_MAX => {
                unknown
            }
            _ => &message,
        };
        let error = Error::at_line(path, line, message);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    })
}

/// Returns the line, counted from 1, on which a span begins; 1 without a span.
pub fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    line_of_byte(text.as_bytes(), span.map_or(0, |span| span.start).min(text.len()))
}

fn line_of_byte(text: &[u8], start: usize) -> usize {
    1 + memchr::memchr_iter(b'\n', &text[..start]).count()
}

/// Joins the parser's lines, since an error is one line.
fn one_line(message: &str) -> String {
    let line = message.split('\n').map(str::trim).collect::<Vec<_>>().join(", ");
    // The parser's word for one of several names.
    line.replacen("unknown variant", "unknown value", 1)
}

/// Known names that an error lists.
const NAMES_MAX: usize = 12;

/// What to write where a field is missing whose sense is not plain.
const MISSING: [(&str, &str); 3] = [
    ("source", "name the document that it rests on"),
    ("until", "name the last day on which it holds, as in until = 2027-01-31"),
    ("reason", "say who accepted it, and why"),
];

/// Finds the known name that was meant in serde's "unknown … `x`, expected one of `a`, `b`", and says what a
/// missing field is for.
fn hint_for(message: &str) -> Option<String> {
    if let Some(field) = message.strip_prefix("missing field `") {
        let (_, hint) = MISSING.iter().find(|(name, _)| field.strip_suffix('`') == Some(name))?;
        return Some((*hint).to_owned());
    }
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    did_you_mean(unknown, quoted)
}

/// Returns a hint at the known name nearest to one that is not known.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, known).map(|near| format!("did you mean `{near}`?"))
}

/// Adds to an error which name was meant, or which there are where none is near and they are few.
pub(crate) fn with_hint<'a>(
    error: Error,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Error {
    let mut listed: Vec<&str> = Vec::new();
    for known in known {
        if !listed.contains(&known) {
            listed.push(known);
        }
    }
    match did_you_mean(name, listed.iter().copied()) {
        Some(hint) => error.hint(hint),
        None if listed.is_empty() || listed.len() > NAMES_MAX => error,
        None => error.hint(format!("expected one of {}", listed.join(", "))),
    }
}
