//! One line on standard error that tells how a live run goes, where that is a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use terminal_size::terminal_size_of;

use crate::pipeline::live::Status;

/// How often the line is written anew.
const EVERY: Duration = Duration::from_secs(1);

/// Columns of a terminal that does not tell.
const WIDTH: usize = 80;

/// The line, and what it said last.
pub(super) struct StatusLine {
    is_terminal: bool,
    is_shown: bool,
    at: Instant,
    before: Status,
}

impl StatusLine {
    pub(super) fn new() -> Self {
        Self {
            is_terminal: io::stderr().is_terminal(),
            is_shown: false,
            at: Instant::now(),
            before: Status::default(),
        }
    }

    /// Writes the line when it is time to.
    pub(super) fn show(&mut self, status: &Status) {
        if !self.is_terminal || self.at.elapsed() < EVERY {
            return;
        }
        // A line that wraps could not be taken away.
        let width = terminal_size_of(io::stderr()).map_or(WIDTH, |(width, _)| usize::from(width.0));
        let mut line = line(status, &self.before, self.at.elapsed());
        line.truncate(width.saturating_sub(1));
        (self.at, self.before, self.is_shown) = (Instant::now(), status.clone(), true);
        let mut err = io::stderr().lock();
        let _ = write!(err, "\r\x1b[K{line}").and_then(|()| err.flush());
    }

    /// Takes the line away, so that something can be written in its place.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let mut err = io::stderr().lock();
            let _ = write!(err, "\r\x1b[K").and_then(|()| err.flush());
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "rates for people")]
fn line(now: &Status, before: &Status, interval: Duration) -> String {
    let rate = |now: u64, before: u64| (now - before) as f64 / interval.as_secs_f64();
    let packets = rate(now.frames, before.frames);
    let megabits = rate(now.wire_bytes, before.wire_bytes) * 8.0 / 1e6;
    let (flows, alerts, lost) = (now.flows_open, now.alerts, now.lost);
    // What matters most comes first: a narrow terminal shows no more.
    format!(
        "{alerts} findings  {lost} lost  {packets:.0} packets/s  {megabits:.1} Mbit/s  {flows} flows"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_rates_of_the_interval() {
        let before = Status { frames: 100, wire_bytes: 1_000, ..Status::default() };
        let now = Status {
            frames: 300,
            wire_bytes: 251_000,
            flows_open: 7,
            alerts: 2,
            lost: 1,
            ..before
        };
        let before = Status { frames: 100, wire_bytes: 1_000, ..Status::default() };
        assert_eq!(
            line(&now, &before, Duration::from_secs(2)),
            "2 findings  1 lost  100 packets/s  1.0 Mbit/s  7 flows"
        );
    }
}
