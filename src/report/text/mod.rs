//! Text: a report for people, the verdict first.
//!
//! Takes the records as they come and keeps only sums, so that its memory is bounded; writes everything at
//! the end. A live run sees each new finding at once, on one line. Says nothing that depends on the clock
//! or the number of workers, and nothing from the wire goes out unescaped.

mod findings;
mod page;
mod sections;
mod seen;
mod verdict;

use std::io::{self, Write};

use super::Sink;
use super::record::{AlertRecord, BaselineState, HostRecord, Record, RowRecord};
use super::summary::Summary;
use super::time::{DayAndTime, Readable, TimeOfDay, same_day, same_year};
use crate::packet::Timestamp;
use findings::Findings;
use page::Page;

/// Items shown of one list: a screen; the totals beside it are exact, and NDJSON has them all.
const LIST_MAX: usize = 20;

/// Matrix rows kept: more than all shipped matrices have together.
const ROWS_MAX: usize = 1_000;

/// How the text is to look.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Columns of the page; 80 is readable, more is used.
    pub width: usize,
    /// The writer understands ANSI colours.
    pub color: bool,
    /// The run is live: findings are shown as they come, and come again when their count is final.
    pub live: bool,
}

impl Default for Options {
    /// A plain page of 80 columns.
    fn default() -> Self {
        Self { width: 80, color: false, live: false }
    }
}

/// Writes a report for people.
pub struct Text {
    out: Box<dyn Write + Send>,
    options: Options,
    findings: Findings,
    hosts: Vec<HostRecord>,
    hosts_beyond: u64,
    hosts_plain: u64,
    rows: Vec<RowRecord>,
}

impl Text {
    /// Writes to `out`.
    pub fn new(out: Box<dyn Write + Send>, options: Options) -> Self {
        Self {
            out,
            options,
            findings: Findings::default(),
            hosts: Vec::new(),
            hosts_beyond: 0,
            hosts_plain: 0,
            rows: Vec::new(),
        }
    }

    fn alert(&mut self, alert: &AlertRecord<'_>) -> io::Result<()> {
        let live = self.options.live;
        let is_new = self.findings.add(alert, live);
        if live && is_new {
            writeln!(self.out, "{}", findings::live_line(alert, Clock::Full))?;
        }
        Ok(())
    }

    /// Hosts that are none of the products, as far as anybody knows, are only counted: they are many.
    fn host(&mut self, host: &HostRecord) {
        if host.products.is_empty() && host.name.is_none() && host.notes.is_empty() {
            self.hosts_plain += 1;
        } else if self.hosts.len() < LIST_MAX {
            self.hosts.push(host.clone());
        } else {
            self.hosts_beyond += 1;
        }
    }
}

impl Sink for Text {
    fn record(&mut self, record: Record<'_>) -> io::Result<()> {
        match record {
            Record::Alert(alert) => self.alert(alert)?,
            Record::Host(host) => self.host(host),
            Record::Row(row) if self.rows.len() < ROWS_MAX => self.rows.push(row.clone()),
            Record::Flow(_) | Record::Row(_) | Record::Stats(_) => {}
        }
        Ok(())
    }

    fn wants_flows(&self) -> bool {
        false
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        let mut page = Page::new(self.options.width, self.options.color);
        let clock = Clock::of(summary);
        verdict::write(&mut page, summary, &self.findings, clock);
        self.findings.write(&mut page, clock);
        self.findings.write_accepted(&mut page);
        sections::baseline_gone(&mut page, summary);
        sections::not_proved(&mut page, summary);
        sections::disabled(&mut page, summary);
        sections::zones(&mut page, summary);
        sections::rows(&mut page, &self.rows);
        sections::services(&mut page, summary);
        sections::hosts(&mut page, &self.hosts, self.hosts_beyond, self.hosts_plain);
        sections::ledger(&mut page, summary);
        sections::inputs(&mut page, summary, clock);
        self.out.write_all(page.text().as_bytes())?;
        self.out.flush()
    }
}

/// How a time is shown: only those of its parts that the run has more than one of.
#[derive(Debug, Clone, Copy)]
enum Clock {
    Full,
    OneYear,
    OneDay,
}

impl Clock {
    fn of(summary: &Summary) -> Self {
        match (summary.totals.start, summary.totals.end) {
            (Some(start), Some(end)) if same_day(start, end) => Self::OneDay,
            (Some(start), Some(end)) if same_year(start, end) => Self::OneYear,
            _ => Self::Full,
        }
    }

    fn show(self, time: Timestamp) -> String {
        match self {
            Self::Full => Readable(time).to_string(),
            Self::OneYear => DayAndTime(time).to_string(),
            Self::OneDay => TimeOfDay(time).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::super::fixtures::{self, Shared};
    use super::super::summary::Outcome;
    use super::*;
    use crate::error::is_unprintable;

    fn played(options: Options) -> String {
        let out = Shared::default();
        fixtures::play(&mut Text::new(Box::new(out.clone()), options));
        out.text()
    }

    #[test]
    fn the_report_at_80_columns_is_the_published_one() {
        let text = played(Options::default());
        snapbox::assert_data_eq!(text, snapbox::file!["../testdata/report-80.txt"].raw());
    }

    #[test]
    fn the_report_at_200_columns_is_the_published_one() {
        let text = played(Options { width: 200, ..Options::default() });
        snapbox::assert_data_eq!(text, snapbox::file!["../testdata/report-200.txt"].raw());
    }

    #[test]
    fn nothing_hostile_reaches_the_terminal() {
        let text = played(Options { live: true, ..Options::default() });
        let found = text.chars().find(|c| *c != '\n' && is_unprintable(*c));
        assert_eq!(found, None);
    }

    #[test]
    fn colour_changes_nothing_but_the_colour() {
        let colored = played(Options { color: true, ..Options::default() });
        let stripped = anstream::adapter::strip_str(&colored).to_string();
        assert_eq!(stripped, played(Options::default()));
        assert!(colored.len() > stripped.len());
    }

    #[test]
    fn only_words_that_must_stay_whole_are_wider_than_the_page() {
        for width in (72..=200).step_by(7) {
            for line in played(Options { width, ..Options::default() }).lines() {
                let word = line.split(' ').map(UnicodeWidthStr::width).max().unwrap_or(0);
                let fits = line.width() <= width.max(word + 6);
                assert!(fits, "at {width} columns: {line}");
            }
        }
    }

    /// The same words on one line.
    fn flat(text: &str) -> String {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The end of a run without any record.
    fn ended(change: impl Fn(&mut Summary)) -> String {
        let out = Shared::default();
        let mut summary = fixtures::summary();
        change(&mut summary);
        Text::new(Box::new(out.clone()), Options::default()).finish(&summary).unwrap();
        out.text()
    }

    #[test]
    fn a_pass_says_so_first() {
        let text = ended(|summary| {
            summary.verdict.result = Outcome::Pass;
            summary.verdict.reasons.clear();
        });
        assert!(
            text.starts_with("PASS  No rule was broken. Nothing is high or worse.\n"),
            "{text}"
        );
        assert!(!text.contains("Not proved"));
    }

    #[test]
    fn an_inconclusive_run_says_what_could_hide_a_finding() {
        let text = ended(|summary| summary.verdict.result = Outcome::Inconclusive);
        assert!(text.starts_with("INCONCLUSIVE  No rule was broken."), "{text}");
        assert!(text.contains("Not proved: this could hide a finding\n  snaplen     12 flows"));
    }

    #[test]
    fn a_ledger_that_does_not_balance_is_not_hidden() {
        let text = ended(|summary| summary.ledger.total.classified -= 1);
        assert!(text.contains("Packet ledger: IT DOES NOT BALANCE"), "{text}");
    }

    #[test]
    fn a_run_of_two_days_says_which() {
        let text = ended(|summary| summary.totals.end = Some(fixtures::at(86_400_000)));
        let text = flat(&text);
        assert!(text.contains("2026-11-22 06:50:00.000 to 11-23 06:50:00 UTC (1 d 0 h)"), "{text}");
    }

    #[test]
    fn a_live_finding_is_one_line_at_once_and_counts_once() {
        let out = Shared::default();
        let options = Options { live: true, ..Options::default() };
        let mut sink = Text::new(Box::new(out.clone()), options);
        for flow in 0..3 {
            let envelope = fixtures::envelope("10.0.2.7:40000", "10.0.3.10:8280", flow + 1);
            let mut alert = fixtures::bearer(envelope, 1, "one", fixtures::REQUEST);
            sink.record(Record::Alert(&alert)).unwrap();
            (alert.update, alert.count) = (true, 5);
            sink.record(Record::Alert(&alert)).unwrap();
        }
        assert_eq!(out.text().lines().count(), 1, "{}", out.text());
        assert!(out.text().contains("critical"), "{}", out.text());
        sink.finish(&fixtures::summary()).unwrap();
        assert!(out.text().contains("15 times in 3 flows by 1 client"), "{}", out.text());
    }

    #[test]
    fn memory_is_bounded_and_totals_stay_exact() {
        let out = Shared::default();
        let mut sink = Text::new(Box::new(out.clone()), Options::default());
        for host in 0..9_000_u32 {
            let initiator = format!("{}:1", std::net::Ipv4Addr::from_bits(host));
            let envelope = fixtures::envelope(&initiator, "10.0.3.10:8280", 1);
            sink.record(Record::Alert(&fixtures::alert(2, envelope, 2))).unwrap();
        }
        sink.finish(&fixtures::summary()).unwrap();
        let text = out.text();
        assert!(text.lines().count() < 150);
        let text = flat(&text);
        assert!(text.contains("18,000 times in 9,000 flows by at least 8,192 clients"), "{text}");
        assert!(text.contains("… and at least 8,172 more: 17,960 times in 8,980 flows"), "{text}");
    }
}
