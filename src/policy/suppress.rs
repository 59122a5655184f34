//! Findings that somebody accepted until a day.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::judge::{Finding, Subject};
use super::rule::Rule;
use super::{Policy, embedded};
use crate::catalog::toml_text::with_hint;
use crate::error::{Error, Result};
use crate::site::{Site, Suppression};

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
        let mut cover = Cover::None;
        for index in &self.suppressions[finding.rule] {
            let suppression = &site.suppressions[*index];
            if !is_about(suppression, subject) {
                continue;
            }
            if finding.last.time < suppression.ends {
                return Cover::By(*index);
            }
            if cover == Cover::None {
                cover = Cover::Expired(*index);
            }
        }
        cover
    }
}

fn is_about(suppression: &Suppression, subject: &Subject<'_>) -> bool {
    let (initiator, responder) = (subject.initiator, subject.responder);
    suppression.port.is_none_or(|port| port == responder.port())
        && suppression
            .initiator
            .is_none_or(|place| place.contains(initiator.ip(), subject.initiator_zone))
        && suppression
            .responder
            .is_none_or(|place| place.contains(responder.ip(), subject.responder_zone))
}

/// Returns for each rule the suppressions that name it; a name that no rule has is an error.
pub(super) fn by_rule(rules: &[Rule], site: &Site) -> Result<Vec<Vec<usize>>> {
    let mut by_rule = vec![Vec::new(); rules.len()];
    for (index, suppression) in site.suppressions.iter().enumerate() {
        if let Some(rule) = rules.iter().position(|rule| rule.id == suppression.rule) {
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
