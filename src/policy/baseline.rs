//! What an earlier run found: written as suppressions, read to tell what is new and what is gone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use jiff::ToSpan;
use jiff::tz::TimeZone;

use super::judge::{Finding, Subject};
use super::{Absence, Policy, suppress};
use crate::catalog::Catalog;
use crate::catalog::toml_text::with_hint;
use crate::error::{Error, Result};
use crate::packet::Timestamp;
use crate::site::{Place, Site, Suppression};

/// Days for which a baseline holds from the run's last packet: who writes one has a year to clean up.
const DAYS_VALID: i64 = 365;

/// What a baseline entry is about: every flow between two addresses and to one port counts as the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The rule's id.
    pub rule: String,
    /// Who began; `None` for a zone as a whole.
    pub initiator: Option<IpAddr>,
    /// Who answered; `None` for a zone as a whole.
    pub responder: Option<IpAddr>,
    /// The responder's port.
    pub port: u16,
    /// The row of a matrix that was missed.
    pub row: Option<String>,
}

impl Key {
    /// Returns what a finding of a flow is known by.
    pub fn of(policy: &Policy, finding: &Finding, subject: &Subject<'_>) -> Self {
        Self {
            rule: policy.rules()[finding.rule].id.clone(),
            initiator: Some(subject.initiator.ip().to_canonical()),
            responder: Some(subject.responder.ip().to_canonical()),
            port: subject.responder.port(),
            row: None,
        }
    }

    /// Returns what a flow that was missed is known by.
    pub fn of_absence(policy: &Policy, absence: &Absence) -> Self {
        Self {
            rule: policy.rules()[absence.rule].id.clone(),
            initiator: absence.initiator_address.map(|address| address.to_canonical()),
            responder: absence.responder_address.map(|address| address.to_canonical()),
            port: absence.port,
            row: Some(absence.row.clone()),
        }
    }
}

/// The findings of an earlier run.
#[derive(Debug)]
pub struct Baseline {
    entries: Vec<Suppression>,
    states: Vec<State>,
    exact: HashMap<Key, Vec<usize>>,
    /// Entries by hand: a prefix, or a part left out.
    wide: HashMap<String, Vec<usize>>,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing met it so far.
    Gone,
    /// What it accepts is still there, or it is there after the entry's last day.
    Met,
    /// The run does not judge its rule: a pack that is not loaded, a zone rule without zones.
    NotJudged,
}

impl Baseline {
    /// Reads a baseline; its rules are those of `policy`.
    pub fn load(path: impl AsRef<Path>, catalog: &Catalog, policy: &Policy) -> Result<Self> {
        let site = Site::load(path, catalog)?;
        let known = || policy.rules().iter().map(|rule| rule.id.as_str());
        let mut baseline = Self {
            entries: site.suppressions,
            states: Vec::new(),
            exact: HashMap::new(),
            wide: HashMap::new(),
        };
        for (index, entry) in baseline.entries.iter().enumerate() {
            let rule = policy.rules().iter().find(|rule| rule.id == entry.rule);
            match rule {
                Some(rule) => suppress::check_row(entry, rule, policy.matrices())?,
                None if suppress::ships(&entry.rule) => {}
                None => {
                    let cause = format!("unknown rule `{}`", entry.rule);
                    let error = Error::at_line(&entry.file, entry.line, cause);
                    return Err(with_hint(error, &entry.rule, known()));
                }
            }
            let is_judged = rule.is_some_and(|rule| rule.skipped.is_none());
            baseline.states.push(if is_judged { State::Gone } else { State::NotJudged });
            let [initiator, responder] = [entry.initiator, entry.responder].map(single);
            if let (Some(_), Some(_), Some(port)) = (initiator, responder, entry.port) {
                let (rule, row) = (entry.rule.clone(), entry.row.clone());
                let key = Key { rule, initiator, responder, port, row };
                baseline.exact.entry(key).or_default().push(index);
            } else {
                baseline.wide.entry(entry.rule.clone()).or_default().push(index);
            }
        }
        Ok(baseline)
    }

    /// Tells whether a finding was there before, and remembers that it still is.
    ///
    /// An entry holds to the end of its last day, as a suppression does; what is found after it is new, and
    /// yet not gone.
    pub fn knows(&mut self, key: &Key, last: Timestamp) -> bool {
        let of_any_row = key.row.as_ref().map(|_| Key { row: None, ..key.clone() });
        let exact = std::iter::once(key).chain(&of_any_row).filter_map(|key| self.exact.get(key));
        let exact = exact.chain(self.wide.get(&key.rule)).flatten();
        let mut known = false;
        for index in exact {
            let entry = &self.entries[*index];
            if is_about(entry, key) {
                self.states[*index] = State::Met;
                known |= last < entry.ends;
            }
        }
        known
    }

    /// Takes over which entries were met when the file was read before.
    pub fn take_over(&mut self, from: &Self) {
        let about = |entry: &Suppression| {
            let Suppression { rule, initiator, responder, port, row, .. } = entry;
            (rule.clone(), *initiator, *responder, *port, row.clone())
        };
        let met = from.entries.iter().zip(&from.states).filter(|(_, state)| **state == State::Met);
        let met: HashSet<_> = met.map(|(entry, _)| about(entry)).collect();
        for (entry, state) in self.entries.iter().zip(&mut self.states) {
            if met.contains(&about(entry)) {
                *state = State::Met;
            }
        }
    }

    /// Returns the entries that nothing met, of rules that the run judges: what is gone.
    pub fn gone(&self) -> impl Iterator<Item = &Suppression> {
        let entries = self.entries.iter().zip(&self.states);
        entries.filter(|(_, state)| **state == State::Gone).map(|(entry, _)| entry)
    }

    /// Returns how many entries say nothing here, since the run does not judge their rules.
    pub fn not_judged(&self) -> usize {
        self.states.iter().filter(|state| **state == State::NotJudged).count()
    }
}

fn is_about(entry: &Suppression, key: &Key) -> bool {
    let is_there = |place: Option<Place>, address: Option<IpAddr>| {
        place.is_none_or(|place| address.is_some_and(|address| place.contains(address, None)))
    };
    entry.port.is_none_or(|port| port == key.port)
        && entry.row.as_ref().is_none_or(|row| key.row.as_ref() == Some(row))
        && is_there(entry.initiator, key.initiator)
        && is_there(entry.responder, key.responder)
}

/// Returns the one address that a place is.
fn single(place: Option<Place>) -> Option<IpAddr> {
    match place {
        Some(Place::Prefix(prefix)) if prefix.prefix_len() == prefix.max_prefix_len() => {
            Some(prefix.addr())
        }
        _ => None,
    }
}

/// Writes findings as a baseline: a site file of suppressions, sorted, each once.
///
/// `end` is the run's last packet. The text is the same for the same findings.
pub fn write<'k>(keys: impl IntoIterator<Item = (&'k Key, u64)>, end: Timestamp) -> String {
    let mut counts: BTreeMap<&Key, u64> = BTreeMap::new();
    for (key, count) in keys {
        *counts.entry(key).or_default() += count;
    }
    // Whoever reads it compares with the day's end, which has to be a time.
    let last = day_of(Timestamp(i64::MAX)).saturating_sub(1.day());
    let until = day_of(end).saturating_add(DAYS_VALID.days()).min(last);
    let mut text = String::from(
        "# Findings of an earlier run. Each entry holds to the end of its last day, UTC.\n",
    );
    for (key, count) in counts {
        let Key { rule, initiator, responder, port, row } = key;
        let mut say = |line: std::fmt::Arguments<'_>| {
            // A String takes all.
            let _ = text.write_fmt(line);
        };
        say(format_args!("\n[[suppress]]\nrule = \"{rule}\"\n"));
        for (name, address) in [("initiator", initiator), ("responder", responder)] {
            if let Some(address) = address {
                say(format_args!("{name} = \"{address}\"\n"));
            }
        }
        say(format_args!("port = {port}\n"));
        if let Some(row) = row {
            say(format_args!("row = {}\n", toml::Value::from(row.as_str())));
        }
        let how = match (row, count) {
            (Some(_), _) => "missing".to_owned(),
            (None, 1) => "seen once".to_owned(),
            (None, count) => format!("seen {count} times"),
        };
        let day = day_of(end);
        say(format_args!("until = {until}\nreason = \"baseline: {how} by {day}\"\n"));
    }
    text
}

fn day_of(time: Timestamp) -> jiff::civil::Date {
    let seconds = time.0.div_euclid(1_000_000_000);
    let at = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    TimeZone::UTC.to_datetime(at).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(rule: &str, initiator: &str) -> Key {
        let address = |text: &str| text.parse().unwrap();
        Key {
            rule: rule.into(),
            initiator: Some(address(initiator)),
            responder: Some(address("10.0.3.10")),
            port: 8280,
            row: None,
        }
    }

    fn load(text: &str) -> Result<Baseline> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("baseline.toml");
        std::fs::write(&path, text).unwrap();
        let catalog = Catalog::embedded();
        let policy = Policy::load(catalog, &Site::default(), &[]).unwrap();
        Baseline::load(&path, catalog, &policy)
    }

    #[test]
    fn what_was_written_is_known_and_the_rest_is_new_or_gone() {
        let (old, gone) =
            (key("wso2/bearer-over-http", "10.0.2.7"), key("wso2/basic-in-clear", "fd00::7"));
        let end = Timestamp(1_790_000_000_000_000_000);
        let text = write([(&old, 2), (&gone, 1), (&old, 3)], end);
        assert_eq!(text.matches("[[suppress]]").count(), 2);
        assert!(text.contains("seen 5 times by 2026-09-21"), "{text}");
        let mut baseline = load(&text).unwrap();
        assert!(baseline.knows(&old, end));
        assert!(!baseline.knows(&key("wso2/bearer-over-http", "10.0.2.8"), end));
        let gone: Vec<&str> = baseline.gone().map(|entry| entry.rule.as_str()).collect();
        assert_eq!(gone, ["wso2/basic-in-clear"]);
        let late = Timestamp(end.0 + 366 * 86_400_000_000_000);
        assert!(!baseline.knows(&old, late), "an entry that is over accepts nothing");
    }

    #[test]
    fn what_outlives_its_entry_is_new_and_not_gone() {
        let key = key("wso2/bearer-over-http", "10.0.2.7");
        let text = write([(&key, 1)], Timestamp(0));
        let twice = format!("{text}{}", &text[text.find("[[").unwrap()..]);
        let mut baseline = load(&twice).unwrap();
        assert!(!baseline.knows(&key, Timestamp(i64::MAX)));
        assert_eq!(baseline.gone().count(), 0);
    }

    #[test]
    fn a_clock_at_its_end_makes_no_baseline_that_cannot_be_read() {
        let key = key("wso2/bearer-over-http", "10.0.2.7");
        for end in [i64::MIN, i64::MAX] {
            let mut baseline = load(&write([(&key, 1)], Timestamp(end))).unwrap();
            assert_eq!(baseline.knows(&key, Timestamp(end)), end == i64::MIN);
        }
    }

    #[test]
    fn what_the_run_does_not_judge_is_not_gone() {
        let text = "[[suppress]]\nrule = \"ibm-api-connect-zones/not-allowed\"\nuntil = 2030-01-01\nreason = \"x\"\n";
        let baseline = load(text).unwrap();
        assert_eq!((baseline.gone().count(), baseline.not_judged()), (0, 1));
    }

    #[test]
    fn an_entry_by_hand_may_leave_parts_out() {
        let text = "[[suppress]]\nrule = \"wso2/bearer-over-http\"\ninitiator = \"10.0.2.0/24\"\nuntil = 2030-01-01\nreason = \"x\"\n";
        let mut baseline = load(text).unwrap();
        assert!(baseline.knows(&key("wso2/bearer-over-http", "10.0.2.9"), Timestamp(0)));
        assert!(!baseline.knows(&key("wso2/bearer-over-http", "10.0.4.9"), Timestamp(0)));
        assert!(!baseline.knows(&key("wso2/basic-in-clear", "10.0.2.9"), Timestamp(0)));
        let error = load(&text.replace("bearer-over-http", "bearer-over-htp")).unwrap_err();
        assert!(
            error.to_string().ends_with("baseline.toml:2: unknown rule `wso2/bearer-over-htp`")
        );
    }
}
