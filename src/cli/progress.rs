//! How far a long run has come, on a terminal.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::capture::file::Progress;

/// Bytes from which on a run is long enough for a bar.
const SHOWN_FROM: u64 = 100 << 20;

/// Returns a bar on standard error, or one that nobody sees: for a short run, or where standard error is
/// no terminal.
pub(super) fn bar(progress: &Progress) -> ProgressBar {
    let total = progress.total().filter(|total| *total >= SHOWN_FROM);
    let Some(total) = total.filter(|_| std::io::stderr().is_terminal()) else {
        return ProgressBar::hidden();
    };
    let style = ProgressStyle::with_template(
        "{bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} left",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style)
}
