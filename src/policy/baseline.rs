//! What an earlier run found: written as suppressions, read to tell what is new and what is gone.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use jiff::ToSpan;
use jiff::tz::TimeZone;

use super::Policy;
use super::judge::{Finding, Subject};
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
    /// Who began.
    pub initiator: IpAddr,
    /// Who answered.
    pub responder: IpAddr,
    /// The responder's port.
    pub port: u16,
}

impl Key {
    /// Returns what a finding of a flow is known by.
    pub fn of(policy: &Policy, finding: &Finding, subject: &Subject<'_>) -> Self {
        Self {
            rule: policy.rules()[finding.rule].id.clone(),
            initiator: subject.initiator.ip().to_canonical(),
            responder: subject.responder.ip().to_canonical(),
            port: subject.responder.port(),
        }
    }
}

/// The findings of an earlier run.
#[derive(Debug)]
pub struct Baseline {
    entries: Vec<Suppression>,
    met: Vec<bool>,
    exact: HashMap<Key, usize>,
    /// Entries by hand: a prefix, or a part left out.
    wide: HashMap<String, Vec<usize>>,
}

impl Baseline {
    /// Reads a baseline; its rules are those of `policy`.
    pub fn load(path: impl AsRef<Path>, catalog: &Catalog, policy: &Policy) -> Result<Self> {
        let site = Site::load(path, catalog)?;
        let known = || policy.rules().iter().map(|rule| rule.id.as_str());
        let mut baseline = Self {
            entries: site.suppressions,
            met: Vec::new(),
            exact: HashMap::new(),
            wide: HashMap::new(),
        };
        baseline.met = vec![false; baseline.entries.len()];
        for (index, entry) in baseline.entries.iter().enumerate() {
            if !known().any(|rule| rule == entry.rule) && !super::suppress::ships(&entry.rule) {
                let cause = format!("unknown rule `{}`", entry.rule);
                let error = Error::at_line(&entry.file, entry.line, cause);
                return Err(with_hint(error, &entry.rule, known()));
            }
            let ends = [entry.initiator, entry.responder].map(single);
            if let ([Some(initiator), Some(responder)], Some(port)) = (ends, entry.port) {
                let key = Key { rule: entry.rule.clone(), initiator, responder, port };
                baseline.exact.insert(key, index);
            } else {
                baseline.wide.entry(entry.rule.clone()).or_default().push(index);
            }
        }
        Ok(baseline)
    }

    /// Tells whether a finding was there before, and remembers that it still is.
    ///
    /// An entry holds to the end of its last day, as a suppression does.
    pub fn knows(&mut self, key: &Key, last: Timestamp) -> bool {
        let exact = self.exact.get(key).copied();
        let wide = self.wide.get(&key.rule).into_iter().flatten().copied();
        let covers = |index: &usize| {
            let entry = &self.entries[*index];
            let is_there = |place: Option<Place>, address| {
                place.is_none_or(|place| place.contains(address, None))
            };
            last < entry.ends
                && entry.port.is_none_or(|port| port == key.port)
                && is_there(entry.initiator, key.initiator)
                && is_there(entry.responder, key.responder)
        };
        let found = exact.into_iter().chain(wide).find(covers);
        if let Some(index) = found {
            self.met[index] = true;
        }
        found.is_some()
    }

    /// Returns the entries that nothing met: what is gone.
    pub fn gone(&self) -> impl Iterator<Item = &Suppression> {
        self.entries.iter().zip(&self.met).filter(|(_, met)| !**met).map(|(entry, _)| entry)
    }
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
    let until = day_of(end).checked_add(DAYS_VALID.days()).unwrap_or(jiff::civil::Date::MAX);
    let mut text = String::from(
        "# Findings of an earlier run. Each entry holds to the end of its last day, UTC.\n",
    );
    for (key, count) in counts {
        let Key { rule, initiator, responder, port } = key;
        write!(
            text,
            "\n[[suppress]]\nrule = \"{rule}\"\ninitiator = \"{initiator}\"\nresponder = \"{responder}\"\n\
             port = {port}\nuntil = {until}\nreason = \"baseline: seen {count} times by {}\"\n",
            day_of(end)
        )
        .expect("a String takes all");
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
            initiator: address(initiator),
            responder: address("10.0.3.10"),
            port: 8280,
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
