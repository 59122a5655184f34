//! The schema of a policy file, as catalog/policy/README.md documents it.

use serde::Deserialize;
use serde::de::{self, Deserializer};
use toml::Spanned;

use super::kind::{FindingKind, Severity};
use super::words::{By, CertificateFault, OneOrMany, Ports, Trust};
use crate::catalog::{Direction, Lifecycle, Role};
use crate::inspect::{EvidenceKind, Protocol};
use crate::packet::Transport;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) pack: Option<PackEntry>,
    #[serde(default)]
    pub(super) party: Vec<PartyEntry>,
    #[serde(default)]
    pub(super) row: Vec<RowEntry>,
    #[serde(default)]
    pub(super) rule: Vec<RuleEntry>,
}

impl File {
    /// Returns every name of a zone that the file's parties and rules use.
    pub(super) fn zone_names(&self) -> impl Iterator<Item = &str> {
        let parties = self.party.iter().filter_map(|party| party.zone.as_ref());
        let rules = self.rule.iter().flat_map(|rule| [&rule.matches, &rule.not]);
        let rules = rules.flat_map(|entry| [&entry.initiator_zone, &entry.responder_zone]);
        let rules = rules.flatten().map(Spanned::get_ref);
        parties.chain(rules).flat_map(|names| &names.0).map(String::as_str)
    }
}

/// `[pack]`: what a file of rules that belong together is called.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PackEntry {
    pub(super) id: Spanned<Text>,
    pub(super) title: Text,
    #[serde(default)]
    pub(super) judges: Judges,
}

/// `judges = "components"`: between what a matrix judges traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Judges {
    /// Between parts of a product, wherever they are.
    Components,
    /// Between zones: what stays in one is its own affair.
    #[default]
    Zones,
}

/// `[[party]]`: who may be an end of a pack's rows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PartyEntry {
    pub(super) id: Spanned<Text>,
    /// Zones that it is, by the pack's name for them.
    pub(super) zone: Option<OneOrMany<String>>,
    /// Parts of products that it is: `product` or `product/component`.
    pub(super) component: Option<OneOrMany<String>>,
    /// The party that does its work where the site has no host of its own for it.
    pub(super) stand_in: Option<Spanned<String>>,
}

/// `[[row]]`: who may talk to whom.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RowEntry {
    pub(super) id: Spanned<Text>,
    /// The matrix that the row is added to, where it is not its own file's.
    pub(super) matrix: Option<Spanned<String>>,
    pub(super) initiator: Spanned<OneOrMany<String>>,
    pub(super) responder: Spanned<OneOrMany<String>>,
    /// What may be used; a row without it waits for the operator to say.
    #[serde(default, rename = "use")]
    pub(super) uses: Vec<Spanned<String>>,
    /// The row allows what it names; one that does not says only that a port is in use.
    #[serde(default = "yes")]
    pub(super) permits: bool,
    /// The deployment does not work without it.
    #[serde(default)]
    pub(super) expected: bool,
    pub(super) note: Option<Text>,
}

fn yes() -> bool {
    true
}

/// `[[rule]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleEntry {
    pub(super) id: Spanned<RuleId>,
    pub(super) title: Text,
    pub(super) kind: Spanned<By<FindingKind>>,
    pub(super) severity: By<Severity>,
    pub(super) signature_id: Spanned<u32>,
    pub(super) source: Text,
    pub(super) remedy: Text,
    #[serde(default, rename = "match")]
    pub(super) matches: MatchEntry,
    #[serde(default)]
    pub(super) not: MatchEntry,
}

/// `[rule.match]`: every field must hold; `[rule.not]`: none may hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MatchEntry {
    pub(super) role: Option<OneOrMany<Role>>,
    pub(super) product: Option<Spanned<OneOrMany<String>>>,
    pub(super) service: Option<Spanned<OneOrMany<String>>>,
    pub(super) direction: Option<OneOrMany<Direction>>,
    pub(super) lifecycle: Option<OneOrMany<Lifecycle>>,
    pub(super) catalogued: Option<bool>,
    pub(super) known_host: Option<bool>,
    pub(super) protocol: Option<OneOrMany<By<Protocol>>>,
    pub(super) encrypted: Option<bool>,
    pub(super) evidence: Option<OneOrMany<By<EvidenceKind>>>,
    pub(super) certificate: Option<OneOrMany<By<CertificateFault>>>,
    pub(super) transport: Option<OneOrMany<By<Transport>>>,
    pub(super) port: Option<OneOrMany<Ports>>,
    pub(super) initiator_zone: Option<Spanned<OneOrMany<String>>>,
    pub(super) responder_zone: Option<Spanned<OneOrMany<String>>>,
    pub(super) initiator_trust: Option<OneOrMany<By<Trust>>>,
    pub(super) responder_trust: Option<OneOrMany<By<Trust>>>,
    pub(super) crosses_trust: Option<bool>,
}

/// Text that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.trim().is_empty() {
            return Err(de::Error::custom("empty text where something should be said"));
        }
        Ok(Self(text.trim_end().to_owned()))
    }
}

/// `pack/name`, of lower-case words joined by hyphens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RuleId(pub(super) String);

impl<'de> Deserialize<'de> for RuleId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_name = |name: &str| {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
            !name.is_empty() && name.chars().all(fits)
        };
        match text.split_once('/') {
            Some((pack, name)) if is_name(pack) && is_name(name) => Ok(Self(text)),
            _ => Err(de::Error::custom(format!(
                "rule id `{text}` is not `pack/name`, of lower-case letters, digits and hyphens"
            ))),
        }
    }
}
