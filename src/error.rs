//! What stops a run: where it happened, what was expected, and a hint.
//!
//! Packets never fail: `decode` counts a [`Stop`](crate::decode::Stop) and goes on.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of everything that may stop a run.
pub type Result<T> = std::result::Result<T, Error>;

/// One reason why a run, or the reading of one input, stopped.
///
/// Prints as one line, `place: cause`, lower case and without a full stop; the hint is printed apart,
/// behind `hint:`.
///
/// ```
/// use portreeve::Error;
/// let error = Error::at_line("site.toml", 14, "port 70000 is above 65535").hint("did you mean 7000?");
/// assert_eq!(error.to_string(), "site.toml:14: port 70000 is above 65535");
/// assert_eq!(error.hint_text(), Some("did you mean 7000?"));
/// ```
#[derive(Debug)]
pub struct Error {
    place: Place,
    cause: String,
    hint: Option<String>,
}

/// Where an [`Error`] happened.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Nowhere,
    Path(PathBuf),
    Line(PathBuf, usize),
    Offset(PathBuf, u64),
    Named(String),
}

impl Error {
    /// An error without a place: usage, or the machine itself.
    pub fn new(cause: impl Into<String>) -> Self {
        Self { place: Place::Nowhere, cause: cause.into(), hint: None }
    }

    /// An error about a whole file or directory.
    pub fn at_path(path: impl AsRef<Path>, cause: impl Into<String>) -> Self {
        Self { place: Place::Path(path.as_ref().into()), cause: cause.into(), hint: None }
    }

    /// An error at a line, counted from 1, of a text file.
    pub fn at_line(path: impl AsRef<Path>, line: usize, cause: impl Into<String>) -> Self {
        Self { place: Place::Line(path.as_ref().into(), line), cause: cause.into(), hint: None }
    }

    /// An error at a byte offset, counted from 0, of a binary file (after decompression).
    pub fn at_offset(path: impl AsRef<Path>, offset: u64, cause: impl Into<String>) -> Self {
        Self { place: Place::Offset(path.as_ref().into(), offset), cause: cause.into(), hint: None }
    }

    /// An error about a file or directory that cannot be opened or read, in the words that all have in common.
    pub fn unread(path: impl AsRef<Path>, error: &io::Error) -> Self {
        let at_path = Self::at_path(&path, unread(error));
        match error.kind() {
            io::ErrorKind::NotFound if path.as_ref().is_relative() => {
                at_path.hint("a relative path begins in the folder in which portreeve runs")
            }
            _ => at_path,
        }
    }

    /// An error about a named thing: an interface, a flag.
    pub fn about(name: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { place: Place::Named(name.into()), cause: cause.into(), hint: None }
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns what the user can do about it, if anything is known.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns the cause alone, without its place.
    pub fn cause(&self) -> &str {
        &self.cause
    }
}

/// Says that a file cannot be opened, or that what is in it cannot be read, and why.
pub(crate) fn unread(error: &io::Error) -> String {
    let is_inside =
        matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof);
    format!("cannot be {}: {error}", if is_inside { "read" } else { "opened" })
}

impl fmt::Display for Error {
    /// Control characters, which a hostile file name may hold, are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Nowhere => {}
            Place::Path(path) => write!(f, "{}: ", Printable(&path.to_string_lossy()))?,
            Place::Line(path, line) => {
                write!(f, "{}:{line}: ", Printable(&path.to_string_lossy()))?;
            }
            Place::Offset(path, offset) => {
                write!(f, "{}: offset {offset}: ", Printable(&path.to_string_lossy()))?;
            }
            Place::Named(name) => write!(f, "{}: ", Printable(name))?,
        }
        write!(f, "{}", Printable(&self.cause))
    }
}

impl std::error::Error for Error {}

/// Shows text from outside with every control and direction-changing character escaped.
///
/// Text from the wire, from files and from file names goes through this before it reaches a terminal.
///
/// ```
/// use portreeve::error::Printable;
/// assert_eq!(Printable("a\x1b[31m\n\u{202e}b").to_string(), "a\\u{1b}[31m\\n\\u{202e}b");
/// ```
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut clean = 0;
        for (at, character) in self.0.char_indices() {
            if is_unprintable(character) {
                f.write_str(&self.0[clean..at])?;
                write!(f, "{}", character.escape_default())?;
                clean = at + character.len_utf8();
            }
        }
        f.write_str(&self.0[clean..])
    }
}

/// Tells whether a character could move the cursor, change the direction of text or hide: what Unicode 16 has as
/// `Default_Ignorable_Code_Point` (`DerivedCoreProperties.txt`), ends of lines, and marks of annotations.
pub fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Returns the candidate nearest to a misspelt name, if one is near enough to be meant.
///
/// ```
/// use portreeve::error::nearest;
/// assert_eq!(nearest("gatway", ["gateway", "servlet"]), Some("gateway"));
/// assert_eq!(nearest("zebra", ["gateway", "servlet"]), None);
/// ```
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits between two names in characters: what is missing, too much, another or, as in `htpt`, swapped with
/// its neighbour counts one each (optimal string alignment).
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    // The rows of the table for the last two characters of `a`.
    let mut rows = [vec![0; b.len() + 1], (0..=b.len()).collect::<Vec<usize>>()];
    for i in 0..a.len() {
        let mut row = vec![i + 1; b.len() + 1];
        for j in 0..b.len() {
            let substituted = rows[1][j] + usize::from(a[i] != b[j]);
            row[j + 1] = substituted.min(row[j] + 1).min(rows[1][j + 1] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                row[j + 1] = row[j + 1].min(rows[0][j - 1] + 1);
            }
        }
        rows.swap(0, 1);
        rows[1] = row;
    }
    rows[1][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_said_in_the_same_words() {
        let error = Error::unread("no/such", &io::ErrorKind::NotFound.into());
        assert_eq!(error.to_string(), "no/such: cannot be opened: entity not found");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("a relative path")));
        let error = Error::unread("/no/such", &io::ErrorKind::InvalidData.into());
        assert!(error.to_string().starts_with("/no/such: cannot be read: "), "{error}");
        assert_eq!(error.hint_text(), None);
    }

    #[test]
    fn swapped_letters_are_one_edit() {
        assert_eq!(edit_distance("htpt", "http"), 1);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("gatewya", "gateway"), 1);
        assert_eq!(nearest("htpt", ["mqtt", "http", "tls"]), Some("http"));
        assert_eq!(nearest("soruce", ["remedy", "source"]), Some("source"));
    }
}
