//! Text of a given width: aligned tables and wrapped paragraphs. All text goes through [`Printable`].

use crate::error::Printable;

/// The narrowest text that is laid out; below it, lines run over.
const WIDTH_MIN: usize = 40;

/// The narrowest last column of a table: the longest word that comes there.
const LAST_MIN: usize = 12;

/// Spaces before a table and between its columns.
const GAP: usize = 2;

/// Lays out rows under a heading: every column as wide as its longest cell, so that ids can be copied
/// whole; the last one wraps at words. The first column is aligned to the right.
pub(in crate::cli) fn table<const N: usize>(
    text: &mut String,
    width: usize,
    heading: [&str; N],
    rows: Vec<[String; N]>,
) {
    let heading = heading.map(str::to_uppercase);
    let rows: Vec<[String; N]> = std::iter::once(heading)
        .chain(rows.into_iter().map(|row| row.map(|cell| Printable(&cell).to_string())))
        .collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let before_last: usize = widths[..N - 1].iter().map(|width| width + GAP).sum::<usize>() + GAP;
    let last_width = width.saturating_sub(before_last).max(LAST_MIN);
    for row in &rows {
        let mut line = " ".repeat(GAP);
        for (column, (cell, width)) in row.iter().zip(widths).take(N - 1).enumerate() {
            let cell = match column {
                0 => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            };
            line.push_str(&cell);
            line.push_str(&" ".repeat(GAP));
        }
        for (index, part) in wrapped(&row[N - 1], last_width).iter().enumerate() {
            if index > 0 {
                line = " ".repeat(before_last);
            }
            line.push_str(part);
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
}

/// Writes a paragraph behind a label, the following lines indented as far as its text.
pub(in crate::cli) fn labelled(
    text: &mut String,
    width: usize,
    indent: usize,
    label: &str,
    body: &str,
) {
    let label = format!("{:indent$}{}", "", Printable(label));
    let hanging = label.chars().count();
    let room = width.max(WIDTH_MIN).saturating_sub(hanging).max(LAST_MIN);
    let body = Printable(body).to_string();
    for (index, part) in wrapped(&body, room).iter().enumerate() {
        let line =
            if index == 0 { format!("{label}{part}") } else { format!("{:hanging$}{part}", "") };
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// Breaks text into lines of a width at words; at least one line.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut column = 0;
    for word in text.split_whitespace() {
        let len = word.chars().count();
        let line = lines.last_mut().expect("one line at least");
        if line.is_empty() {
            line.push_str(word);
            column = len;
        } else if column + 1 + len <= width {
            line.push(' ');
            line.push_str(word);
            column += 1 + len;
        } else {
            lines.push(word.to_owned());
            column = len;
        }
    }
    lines
}
