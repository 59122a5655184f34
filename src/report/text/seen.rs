//! Different values of one pair of client and server, as many as a list shows.

/// Different secrets, requests, … kept apart for one pair: enough to see reuse.
const SEEN_MAX: usize = 8;

/// Characters kept of one text from the wire: a line of a wide terminal.
pub(super) const TEXT_MAX: usize = 160;

/// Different values in the order they came, as many as a list shows.
pub(super) struct Seen<T> {
    pub(super) values: Vec<T>,
    pub(super) beyond: bool,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self { values: Vec::new(), beyond: false }
    }
}

impl<T: PartialEq> Seen<T> {
    pub(super) fn add(&mut self, value: T) {
        if self.values.contains(&value) {
            return;
        }
        if self.values.len() < SEEN_MAX {
            self.values.push(value);
        } else {
            self.beyond = true;
        }
    }

    /// Says how many there are beside the first `shown`, if any.
    pub(super) fn more_than(&self, shown: usize) -> Option<String> {
        let more = self.values.len().saturating_sub(shown);
        match (more, self.beyond) {
            (0, false) => None,
            (_, false) => Some(format!("{more} more")),
            (_, true) => Some(format!("at least {} more", more + 1)),
        }
    }
}

impl Seen<String> {
    /// Adds a text of several parts, cut; parts that are all empty add nothing.
    pub(super) fn add_text(&mut self, parts: &[&str]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len == 0 || self.beyond {
            return;
        }
        if len > TEXT_MAX {
            self.add(parts.iter().flat_map(|part| part.chars()).take(TEXT_MAX).collect());
        } else if !self.values.iter().any(|known| is_joined(known, parts)) {
            // The commonest case, a request like one before, costs no allocation.
            self.add(parts.concat());
        }
    }

    /// Shows the first one behind a label, and how many more there are.
    pub(super) fn shown(&self, label: &str) -> Option<String> {
        let first = self.values.first()?;
        let more = self.more_than(1).map(|more| format!(" and {more}")).unwrap_or_default();
        Some(format!("{label}{first}{more}"))
    }
}

/// Tells whether a text is these parts, one behind another.
fn is_joined(text: &str, parts: &[&str]) -> bool {
    parts.iter().try_fold(text, |rest, part| rest.strip_prefix(part)) == Some("")
}
