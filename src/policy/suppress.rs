//! Findings that somebody accepted until a day.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::Deserialize;

use super::judge::{Finding, Subject};
use super::kind::FindingKind;
use super::matrix::Matrix;
use super::rule::Rule;
use super::{Absence, Policy, embedded};
use crate::catalog::toml_text::with_hint;
use crate::error::{Error, Result};
use crate::packet::Timestamp;
use crate::site::{Place, Site, Suppression, ZoneId};

/// What the site's suppressions say of one finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cover {
    /// None names it.
    None,
    /// This one covers it: an index into [`Site::suppressions`].
    By(usize),
    /// This one would, but its last day is over: it warns and does not suppress.
    Expired(usize),
}

impl Policy {
    /// Returns the suppression that covers a finding.
    ///
    /// A suppression holds to the end of its last day, UTC, by the packet time of the finding's last
    /// evidence: what is seen after that day is news.
    pub fn suppression_of(
        &self,
        finding: &Finding,
        subject: &Subject<'_>,
        site: &Site,
    ) -> Option<usize> {
        match self.cover_of(finding, subject, site) {
            Cover::By(index) => Some(index),
            Cover::None | Cover::Expired(_) => None,
        }
    }

    /// Returns what the suppressions say of a finding, also when the one that names it has expired.
    pub fn cover_of(&self, finding: &Finding, subject: &Subject<'_>, site: &Site) -> Cover {
        let ends = Ends {
            initiator: (Some(subject.initiator.ip()), subject.initiator_zone),
            responder: (Some(subject.responder.ip()), subject.responder_zone),
            port: subject.responder.port(),
            row: None,
        };
        self.cover(finding.rule, &ends, finding.last.time, site)
    }

    /// Returns what the suppressions say of a flow that was missed; `end` is the run's last packet.
    pub fn cover_of_absence(&self, absence: &Absence, end: Timestamp, site: &Site) -> Cover {
        let ends = Ends {
            initiator: (absence.initiator_address, absence.initiator_zone),
            responder: (absence.responder_address, absence.responder_zone),
            port: absence.port,
            row: Some(&absence.row),
        };
        self.cover(absence.rule, &ends, end, site)
    }

    fn cover(&self, rule: usize, ends: &Ends<'_>, last: Timestamp, site: &Site) -> Cover {
        let mut cover = Cover::None;
        for index in &self.suppressions[rule] {
            let suppression = &site.suppressions[*index];
            if !is_about(suppression, ends) {
                continue;
            }
            if last < suppression.ends {
                return Cover::By(*index);
            }
            if cover == Cover::None {
                cover = Cover::Expired(*index);
            }
        }
        cover
    }
}

/// What a suppression is held against: both ends with their zones, the responder's port, a matrix row.
struct Ends<'a> {
    initiator: End,
    responder: End,
    port: u16,
    row: Option<&'a str>,
}

/// An address, where it is one and not a zone as a whole, and its zone.
type End = (Option<IpAddr>, Option<ZoneId>);

fn is_about(suppression: &Suppression, ends: &Ends<'_>) -> bool {
    let is_at = |place: Option<Place>, (address, zone): End| match (place, address) {
        (None, _) => true,
        (Some(place), Some(address)) => place.contains(address, zone),
        (Some(place), None) => zone.is_some_and(|zone| place == Place::Zone(zone)),
    };
    suppression.port.is_none_or(|port| port == ends.port)
        && suppression.row.as_deref().is_none_or(|row| ends.row == Some(row))
        && is_at(suppression.initiator, ends.initiator)
        && is_at(suppression.responder, ends.responder)
}

/// Refuses a row that the rule's matrix does not have, and one of a rule that is about no rows.
pub(super) fn check_row(entry: &Suppression, rule: &Rule, matrices: &[Matrix]) -> Result<()> {
    let Some(row) = &entry.row else { return Ok(()) };
    let error = |cause: String| Error::at_line(&entry.file, entry.line, cause);
    if rule.kind != FindingKind::ExpectedFlowAbsent {
        let cause = format!("`row` says nothing of rule `{}`, which is about flows", rule.id);
        return Err(error(cause).hint("leave `row` out, and name `initiator`, `responder`, `port`"));
    }
    let of_pack = matrices.iter().find(|matrix| rule.pack.as_ref() == Some(&matrix.id));
    let known = || of_pack.into_iter().flat_map(|matrix| &matrix.rows).map(|row| row.id.as_str());
    if of_pack.is_none() || known().any(|known| known == row) {
        return Ok(());
    }
    Err(with_hint(error(format!("rule `{}` has no row `{row}`", rule.id)), row, known()))
}

/// Returns for each rule the suppressions that name it; a name that no rule has is an error.
pub(super) fn by_rule(rules: &[Rule], matrices: &[Matrix], site: &Site) -> Result<Vec<Vec<usize>>> {
    let mut by_rule = vec![Vec::new(); rules.len()];
    for (index, suppression) in site.suppressions.iter().enumerate() {
        if let Some(rule) = rules.iter().position(|rule| rule.id == suppression.rule) {
            check_row(suppression, &rules[rule], matrices)?;
            by_rule[rule].push(index);
            continue;
        }
        // A pack that is not loaded today keeps its suppressions.
        let shipped = shipped_ids();
        if !shipped.contains(&suppression.rule) {
            let cause = format!("unknown rule `{}`", suppression.rule);
            let error = Error::at_line(&suppression.file, suppression.line, cause);
            let known = rules.iter().map(|rule| rule.id.as_str());
            let known = known.chain(shipped.iter().map(String::as_str));
            return Err(with_hint(error, &suppression.rule, known));
        }
    }
    Ok(by_rule)
}

/// Tells whether any pack that ships has a rule.
pub(super) fn ships(rule: &str) -> bool {
    shipped_ids().contains(rule)
}

/// Returns the ids of every rule that ships, of packs that are not loaded too.
fn shipped_ids() -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Ids {
        #[serde(default)]
        rule: Vec<Id>,
    }
    #[derive(Deserialize)]
    struct Id {
        id: String,
    }
    let packs = embedded::PACKS.iter();
    let files = packs.filter_map(|(_, text)| toml::from_str::<Ids>(text).ok());
    files.flat_map(|file| file.rule).map(|rule| rule.id).collect()
}
