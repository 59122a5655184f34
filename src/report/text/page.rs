//! A page of text: lines of a given width, wrapped at words, coloured where the terminal can.

use std::fmt::{self, Display, Write as _};

use anstyle::{AnsiColor, Style};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::error::Printable;
use crate::report::record::Severity;
use crate::report::time::three_digits;

/// The narrowest page that is laid out: the numbers beside a name need as much. Below it, lines run over.
const WIDTH_MIN: usize = 72;

/// The style of headings and of a rule's title.
pub(super) const BOLD: Style = Style::new().bold();

/// The style of what may be skipped.
pub(super) const DIM: Style = Style::new().dimmed();

/// Returns the style of a severity's word.
pub(super) fn severity_style(severity: Severity) -> Style {
    match severity {
        Severity::Critical => AnsiColor::Red.on_default().bold(),
        Severity::High => AnsiColor::Red.on_default(),
        Severity::Medium => AnsiColor::Yellow.on_default(),
        Severity::Low => AnsiColor::Cyan.on_default(),
        Severity::Info => DIM,
    }
}

/// Lines of text, gathered and written at once.
pub(super) struct Page {
    text: String,
    pub(super) width: usize,
    color: bool,
}

impl Page {
    pub(super) fn new(width: usize, color: bool) -> Self {
        Self { text: String::new(), width: width.max(WIDTH_MIN), color }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Ends a section.
    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// Begins a section: its name, and in the same line what it says in short.
    pub(super) fn heading(&mut self, name: &str, short: &str) {
        self.blank();
        let colon = if short.is_empty() { "" } else { ": " };
        self.labelled(0, &format!("{name}{colon}"), BOLD, short);
    }

    /// Writes a line as it is, unless it is too long: then it is cut.
    pub(super) fn line(&mut self, indent: usize, style: Style, text: &str) {
        let text = cut(&Printable(text).to_string(), self.width.saturating_sub(indent));
        self.push(indent, style, &text);
    }

    /// Writes text behind a label, wrapped at words under its own beginning; a label that takes more than
    /// half of the page has a line of its own. A word longer than a line is left whole: an address or a
    /// path that is broken cannot be copied.
    pub(super) fn labelled(&mut self, indent: usize, label: &str, style: Style, text: &str) {
        let label = Printable(label).to_string();
        let mut hang = indent + columns(&label);
        let mut lead = self.painted(style, &label);
        if hang > self.width / 2 && hang + columns(text) > self.width {
            lead = self.painted(style, label.trim_end());
            self.raw(indent, &lead);
            lead.clear();
            hang = indent + 4;
        }
        let lines = wrap(&Printable(text).to_string(), self.width.saturating_sub(hang));
        let mut lines = lines.iter().map(String::as_str);
        if lead.is_empty() {
            lines.by_ref().take(1).for_each(|line| self.raw(hang, line));
        } else {
            self.raw(indent, &format!("{lead}{}", lines.next().unwrap_or_default()));
        }
        lines.for_each(|line| self.raw(hang, line));
    }

    /// Writes a paragraph, wrapped at words.
    pub(super) fn paragraph(&mut self, indent: usize, text: &str) {
        self.labelled(indent, "", Style::new(), text);
    }

    /// Writes text of several lines as it stands; a line that is too long is wrapped under its own
    /// indentation.
    pub(super) fn block(&mut self, indent: usize, text: &str) {
        for line in text.lines() {
            let own = line.chars().take_while(|c| *c == ' ').count();
            if indent + columns(line) <= self.width {
                self.raw(indent, &Printable(line).to_string());
            } else {
                self.paragraph(indent + own, line);
            }
        }
    }

    /// Packs fragments into as few lines as they need. One that is longer than a line has lines of its own; one
    /// with a word that is longer is cut.
    pub(super) fn packed(&mut self, indent: usize, style: Style, fragments: &[String]) {
        const GAP: &str = " · ";
        let room = self.width.saturating_sub(indent);
        let mut line = String::new();
        for fragment in fragments {
            let fragment = Printable(fragment).to_string();
            let parts = wrap(&fragment, room.saturating_sub(HANG_LEN));
            let wraps = parts.iter().all(|part| columns(part) + HANG_LEN <= room);
            if wraps && columns(&fragment) > room {
                if !line.is_empty() {
                    self.push(indent, style, &line);
                    line.clear();
                }
                for (place, part) in parts.iter().enumerate() {
                    let hang = if place == 0 { 0 } else { HANG_LEN };
                    self.push(indent + hang, style, part);
                }
                continue;
            }
            let fragment = cut(&fragment, room);
            let len = columns(&line) + columns(GAP) + columns(&fragment);
            if !line.is_empty() && len > room {
                self.push(indent, style, &line);
                line.clear();
            }
            if !line.is_empty() {
                line.push_str(GAP);
            }
            line.push_str(&fragment);
        }
        if !line.is_empty() {
            self.push(indent, style, &line);
        }
    }

    /// Writes a table, without those optional columns that do not fit. A first cell that leaves the numbers
    /// no room is wrapped at blanks, or has lines of its own above them.
    pub(super) fn table(&mut self, indent: usize, mut grid: Grid) {
        while grid.width() + indent > self.width && grid.drop_optional() {}
        let room = self.width.saturating_sub(indent + grid.width_of_numbers());
        let leads: Vec<_> = grid.rows.iter_mut().map(|row| row.fit(room)).collect();
        let table = grid.table();
        let mut lines = table.lines();
        self.push(indent, DIM, lines.next().unwrap_or_default().trim_end());
        for (row, lead) in grid.rows.iter().zip(leads) {
            if let Some(lead) = lead {
                self.paragraph(indent, &lead);
            }
            for line in lines.by_ref().take(row.height()) {
                self.push(indent, row.style, line.trim_end());
            }
            self.packed(indent + 4, DIM, &row.details);
        }
    }

    /// Writes a table if it fits as it is; tells whether it did.
    pub(super) fn try_table(&mut self, indent: usize, grid: Grid) -> bool {
        let fits = grid.width() + indent <= self.width;
        if fits {
            self.table(indent, grid);
        }
        fits
    }

    fn push(&mut self, indent: usize, style: Style, clean: &str) {
        let painted = self.painted(style, clean);
        self.raw(indent, &painted);
    }

    /// Ends a line without blanks.
    fn raw(&mut self, indent: usize, text: &str) {
        let text = text.trim_end();
        let indent = if text.is_empty() { 0 } else { indent };
        let _ = writeln!(self.text, "{:indent$}{text}", "");
    }

    fn painted(&self, style: Style, text: &str) -> String {
        if self.color && !text.is_empty() && style != Style::new() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

/// Cells that become a table: the first column is text, the others are numbers.
pub(super) struct Grid {
    titles: Vec<String>,
    optional: Vec<&'static str>,
    left: &'static [&'static str],
    rows: Vec<Row>,
}

/// A row of a table, and what stands under it.
struct Row {
    style: Style,
    cells: Vec<String>,
    details: Vec<String>,
}

impl Grid {
    pub(super) fn new<T: ToString>(titles: impl IntoIterator<Item = T>) -> Self {
        let titles = titles.into_iter().map(|title| Printable(&title.to_string()).to_string());
        Self { titles: titles.collect(), optional: Vec::new(), left: &[], rows: Vec::new() }
    }

    /// Names the columns that may be left out where the page is narrow, the least needed first.
    pub(super) fn optional(mut self, titles: &[&'static str]) -> Self {
        self.optional = titles.to_vec();
        self
    }

    /// Names the columns beside the first that hold text and are set to the left.
    pub(super) fn left(mut self, titles: &'static [&'static str]) -> Self {
        self.left = titles;
        self
    }

    pub(super) fn row(&mut self, style: Style, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|cell| Printable(&cell).to_string()).collect();
        self.rows.push(Row { style, cells, details: Vec::new() });
    }

    /// Says more of the last row.
    pub(super) fn details(&mut self, details: Vec<String>) {
        if let Some(row) = self.rows.last_mut() {
            row.details = details;
        }
    }

    fn width(&self) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.cells.first()).chain(self.titles.first());
        cells.map(|cell| columns(cell)).max().unwrap_or(0) + self.width_of_numbers()
    }

    /// Returns the width of all columns but the first, with the gaps before them.
    fn width_of_numbers(&self) -> usize {
        let column = |column: usize| {
            let cells = self.rows.iter().map(|row| &row.cells[column]);
            let widths = cells.chain([&self.titles[column]]).map(|cell| columns(cell));
            GAP_LEN + widths.max().unwrap_or(0)
        };
        (1..self.titles.len()).map(column).sum()
    }

    fn drop_optional(&mut self) -> bool {
        if self.optional.is_empty() {
            return false;
        }
        let title = self.optional.remove(0);
        if let Some(column) = self.titles.iter().position(|known| *known == title) {
            self.titles.remove(column);
            for row in &mut self.rows {
                row.cells.remove(column);
            }
        }
        true
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(&self.titles);
        table.set_content_arrangement(ContentArrangement::Disabled);
        for row in &self.rows {
            table.add_row(&row.cells);
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, if index + 1 < self.titles.len() { 2 } else { 0 }));
            let title = self.titles.get(index).map_or("", String::as_str);
            if index > 0 && !self.left.contains(&title) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

impl Row {
    /// Makes the first cell fit: wraps it under its own indentation, or, where a word is too long for
    /// that, takes it out and returns it.
    fn fit(&mut self, room: usize) -> Option<String> {
        let first = &self.cells[0];
        if columns(first) <= room {
            return None;
        }
        let own = first.chars().take_while(|c| *c == ' ').count();
        let lines = wrap(first, room.saturating_sub(own + 2));
        if !first.contains(ARROW) && lines.iter().all(|line| own + 2 + columns(line) <= room) {
            let hang = format!("\n{:1$}", "", own + 2);
            self.cells[0] = format!("{:own$}{}", "", lines.join(&hang));
            return None;
        }
        Some(std::mem::take(&mut self.cells[0]))
    }

    /// Returns how many lines the row takes.
    fn height(&self) -> usize {
        self.cells[0].split('\n').count()
    }
}

/// By how much the second line of a note is indented.
const HANG_LEN: usize = 2;

/// Stands between a client and its server; the two are not torn apart inside a table.
pub(super) const ARROW: &str = " -> ";

/// Blanks between two columns.
const GAP_LEN: usize = 2;

/// Breaks text at blanks into lines of at most `width` characters, as far as its words allow.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut len = 0;
    for word in text.split_whitespace() {
        let word_len = columns(word);
        match lines.last_mut() {
            Some(line) if len + 1 + word_len <= width => {
                line.push(' ');
                line.push_str(word);
                len += 1 + word_len;
            }
            _ => {
                lines.push(word.to_owned());
                len = word_len;
            }
        }
    }
    lines
}

/// Returns the columns that text takes on a terminal: a Chinese character takes two.
fn columns(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// Cuts text to `width` columns, with an ellipsis where something is missing.
pub(super) fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let fits = |character: &char| {
        let wide = character.width().unwrap_or(0);
        let fits = wide <= left;
        left = left.saturating_sub(wide);
        fits
    };
    let mut out: String = text.chars().take_while(fits).collect();
    out.push('…');
    out
}

/// Shows a count with its thousands apart: `41,337`.
pub(super) struct Grouped(pub(super) u64);

impl Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut out = String::with_capacity(digits.len() + digits.len() / 3);
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                out.push(',');
            }
            out.push(digit);
        }
        f.pad(&out)
    }
}

/// Shows a number of bytes: exactly below 10,000, then in decimal units.
pub(super) struct Bytes(pub(super) u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..10_000 => write!(f, "{} B", Grouped(self.0)),
            10_000..1_000_000 => three_digits(f, self.0, 1_000, "kB"),
            1_000_000..1_000_000_000 => three_digits(f, self.0, 1_000_000, "MB"),
            1_000_000_000..1_000_000_000_000 => three_digits(f, self.0, 1_000_000_000, "GB"),
            _ => three_digits(f, self.0, 1_000_000_000_000, "TB"),
        }
    }
}

/// Shows a count with its noun: `1 flow`, `2 flows`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", Grouped(count))
}

/// Joins a list as prose: `a`, `a and b`, `a, b and c`.
pub(super) fn prose(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(Grouped(0).to_string(), "0");
        assert_eq!(Grouped(999).to_string(), "999");
        assert_eq!(Grouped(1_234_567).to_string(), "1,234,567");
        assert_eq!(format!("{:>7}", Grouped(1_000)), "  1,000");
        assert_eq!(Bytes(9_999).to_string(), "9,999 B");
        assert_eq!(Bytes(18_234_567).to_string(), "18.2 MB");
        assert_eq!(counted(1, "flow"), "1 flow");
        assert_eq!(counted(1_000, "flow"), "1,000 flows");
        assert_eq!(prose(&["a".into(), "b".into(), "c".into()]), "a, b and c");
    }

    #[test]
    fn long_words_stay_whole_and_long_lines_wrap() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("2001:db8:85a3:1111::7334 x", 7), ["2001:db8:85a3:1111::7334", "x"]);
        assert_eq!(cut("äöüß", 3), "äö…");
    }

    #[test]
    fn no_line_but_of_one_long_word_is_wider_than_the_page() {
        let mut page = Page::new(WIDTH_MIN, false);
        page.labelled(2, "label  ", BOLD, &"word ".repeat(40));
        page.packed(4, DIM, &["a".repeat(100), "b".repeat(20), "c".repeat(20)]);
        page.line(3, BOLD, &"x".repeat(100));
        assert!(
            page.text().lines().all(|line| line.chars().count() <= WIDTH_MIN),
            "{}",
            page.text()
        );
        assert!(!page.text().contains('\x1b'));
    }

    #[test]
    fn a_table_drops_what_is_optional_before_it_wraps() {
        let grid = || {
            let mut grid = Grid::new(["name", "flows", "spoken"]).optional(&["spoken"]);
            grid.row(BOLD, ["a service".into(), "12".into(), "http".into()]);
            grid
        };
        let mut wide = Page::new(80, false);
        wide.table(2, grid());
        assert!(wide.text().contains("spoken") && wide.text().contains("http"));
        let mut cells = grid();
        cells.row(
            BOLD,
            ["a service with a long name of many words ".repeat(2), "7".into(), "x".into()],
        );
        let mut narrow = Page::new(WIDTH_MIN, false);
        narrow.table(2, cells);
        assert!(!narrow.text().contains("spoken"));
        assert!(
            narrow.text().lines().all(|line| line.chars().count() <= WIDTH_MIN),
            "{}",
            narrow.text()
        );
    }
}
