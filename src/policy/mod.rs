//! Facts of a flow, a host, a zone → findings: rules, matrices, suppressions, the verdict.
//!
//! Takes TOML, the packs in the binary and the user's files; gives a [`Policy`] that judges flows at the
//! join, once each. Holds no state of a run: the same flow gives the same findings in any order.

mod compile;
mod embedded;
mod file;
mod judge;
mod kind;
mod rule;
mod suppress;
#[cfg(test)]
mod tests;
mod words;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use self::compile::Source;
use crate::catalog::toml_text::with_hint;
use crate::catalog::{Catalog, ServiceId};
use crate::error::{Error, Result};
use crate::inspect::EvidenceKind;
use crate::site::{Named, Site};
pub use judge::{EvidenceNote, Finding, Note, Subject};
pub use kind::{FindingKind, Severity, Trigger};
pub use rule::{Field, Rule};
pub use suppress::Cover;

/// Rules that a policy may have: what an index of 16 bits can name.
const RULES_MAX: usize = 65_535;

/// A file of rules that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// Its name in site files.
    pub id: String,
    /// What it is about.
    pub title: String,
    /// Where it came from.
    pub file: String,
}

/// All rules of a run, with what is worked out of them beforehand.
#[derive(Debug)]
pub struct Policy {
    packs: Vec<Pack>,
    rules: Vec<Rule>,
    /// For each kind: the rules that a service, or none, can meet.
    by_kind: Vec<ByService>,
    /// For each kind of evidence: the kinds of findings that rules make of it, one bit each.
    kinds_of_evidence: [u64; EvidenceKind::ALL.len()],
    /// Services that the site declares disabled.
    disabled: Vec<ServiceId>,
    /// For each rule: the site's suppressions that name it.
    suppressions: Vec<Vec<usize>>,
    content_hash: String,
}

/// The rules of one kind, the most specific first.
#[derive(Debug, Default)]
struct ByService {
    /// For no service and then for each of the catalogue: where its rules lie.
    spans: Vec<(u32, u32)>,
    rules: Vec<u16>,
}

impl Policy {
    /// Loads the packs that the site chooses, its own files and `extra_files`, in this order.
    ///
    /// Every name in them and in the site's `[policy]` and `[[suppress]]` is checked here.
    pub fn load(catalog: &Catalog, site: &Site, extra_files: &[PathBuf]) -> Result<Self> {
        let mut texts: Vec<(PathBuf, String, bool)> = Vec::new();
        for (path, text) in chosen_packs(site)? {
            texts.push((path.into(), text.to_owned(), true));
        }
        for path in site.policy.files.iter().chain(extra_files) {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Error::at_path(path, error.to_string()))?;
            texts.push((path.clone(), text, false));
        }
        let mut hash = Sha256::new();
        let (mut packs, mut rules) = (Vec::new(), Vec::new());
        for (path, text, shipped) in &texts {
            for part in [path.file_name().unwrap_or_default().as_encoded_bytes(), text.as_bytes()] {
                hash.update(part.len().to_be_bytes());
                hash.update(part);
            }
            let source = Source { path, text, shipped: *shipped, catalog, site };
            packs.extend(add_rules(&mut rules, &source)?);
        }
        if rules.len() > RULES_MAX {
            return Err(Error::new(format!("more than {RULES_MAX} rules")));
        }
        let content_hash = hash.finalize().iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a String takes all");
            hex
        });
        let suppressions = suppress::by_rule(&rules, site)?;
        Ok(Self {
            by_kind: by_kind(&rules, catalog),
            kinds_of_evidence: kinds_of_evidence(&rules),
            disabled: site.policy.disabled.iter().map(|(service, _)| *service).collect(),
            suppressions,
            packs,
            rules,
            content_hash,
        })
    }

    /// Returns every rule, in the order of packs and files; a [`Finding`]'s `rule` is a place in it.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns the packs that are loaded, in order; rules of a file without `[pack]` are in none.
    pub fn packs(&self) -> &[Pack] {
        &self.packs
    }

    /// Returns the SHA-256 of the policy's files, in hexadecimal.
    pub fn content_hash(&self) -> &str {
        &self.content_hash
    }

    /// Returns the rule that names findings of a kind that the join raises, if the policy has one.
    pub fn rule_of(&self, kind: FindingKind) -> Option<usize> {
        self.rules_for(kind, None).first().map(|index| usize::from(*index))
    }

    fn rules_for(&self, kind: FindingKind, service: Option<ServiceId>) -> &[u16] {
        let of_kind = &self.by_kind[kind as usize];
        let slot = service.map_or(0, |id| usize::from(id.0) + 1);
        let (from, to) = of_kind.spans.get(slot).copied().unwrap_or_default();
        &of_kind.rules[from as usize..to as usize]
    }
}

/// Returns the packs that the site chooses: path and text.
fn chosen_packs(site: &Site) -> Result<Vec<(&'static str, &'static str)>> {
    let Some(names) = &site.policy.packs else {
        return Ok(embedded::PACKS
            .iter()
            .filter(|(path, _)| !needs_zones(path))
            .copied()
            .collect());
    };
    let pack = |named: &Named| {
        let found = embedded::PACKS.iter().find(|(path, _)| pack_name(path) == named.name);
        found.copied().ok_or_else(|| {
            let cause = format!("unknown pack `{}`", named.name);
            let path = site.path().unwrap_or_else(|| Path::new("site.toml"));
            let error = Error::at_line(path, named.line, cause);
            with_hint(error, &named.name, embedded::PACKS.iter().map(|(path, _)| pack_name(path)))
        })
    };
    names.iter().map(pack).collect()
}

/// Returns a shipped pack's id, which is its file's name.
fn pack_name(path: &str) -> &str {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    name.strip_suffix(".toml").unwrap_or(name)
}

/// Tells whether a shipped pack judges zones or components, so that it is loaded only when asked for.
fn needs_zones(path: &str) -> bool {
    pack_name(path).ends_with("-zones") || pack_name(path).ends_with("-distributed")
}

/// Adds the rules of one file and returns its pack; ids and signature ids are unique over all files.
fn add_rules(rules: &mut Vec<Rule>, source: &Source<'_>) -> Result<Option<Pack>> {
    let file = source.file()?;
    let mut ids: HashMap<String, usize> = HashMap::new();
    let mut signatures: HashMap<u32, usize> = HashMap::new();
    for (index, rule) in rules.iter().enumerate() {
        ids.insert(rule.id.clone(), index);
        signatures.insert(rule.signature_id, index);
    }
    for (entry, rule) in file.rule.iter().zip(source.rules(&file)?) {
        let has_it = |index: &usize| {
            let first: &Rule = &rules[*index];
            format!("{}:{} has it already", first.file, first.line)
        };
        if let Some(index) = ids.get(&rule.id) {
            let cause = format!("duplicate rule id `{}`: {}", rule.id, has_it(index));
            return Err(source.error(entry.id.span(), cause));
        }
        if let Some(index) = signatures.get(&rule.signature_id) {
            let cause = format!("duplicate signature_id {}: {}", rule.signature_id, has_it(index));
            return Err(source.error(entry.signature_id.span(), cause));
        }
        ids.insert(rule.id.clone(), rules.len());
        signatures.insert(rule.signature_id, rules.len());
        rules.push(rule);
    }
    Ok(file.pack.map(|pack| Pack {
        id: pack.id.into_inner().0,
        title: pack.title.0,
        file: source.path.to_string_lossy().into_owned(),
    }))
}

/// Works out which rules of a kind each service can meet, in the order in which they name a finding.
fn by_kind(rules: &[Rule], catalog: &Catalog) -> Vec<ByService> {
    let mut order: Vec<u16> = (0..rules.len()).filter_map(|index| index.try_into().ok()).collect();
    order.sort_by_key(|index| {
        let rule = &rules[usize::from(*index)];
        (Reverse(rule.specificity), rule.pack.is_some(), Reverse(rule.severity), *index)
    });
    let ids = (0..catalog.services().len()).filter_map(|id| id.try_into().ok()).map(ServiceId);
    let slots: Vec<_> =
        std::iter::once(None).chain(ids.map(|id| Some((id, catalog.service(id))))).collect();
    let of_kind = |kind: &FindingKind| {
        let of_kind = order.iter().filter(|index| rules[usize::from(**index)].kind == *kind);
        let of_kind: Vec<u16> = of_kind.copied().collect();
        let mut by_service = ByService::default();
        for slot in &slots {
            let from = by_service.rules.len();
            let takes = |index: &&u16| rules[usize::from(**index)].takes_service(*slot);
            by_service.rules.extend(of_kind.iter().filter(takes));
            by_service.spans.push((place(from), place(by_service.rules.len())));
        }
        by_service
    };
    FindingKind::ALL.iter().map(of_kind).collect()
}

fn place(index: usize) -> u32 {
    u32::try_from(index).expect("65,535 rules of one kind for 65,536 services fit into 32 bits")
}

fn kinds_of_evidence(rules: &[Rule]) -> [u64; EvidenceKind::ALL.len()] {
    let mut kinds = [0; EvidenceKind::ALL.len()];
    for rule in rules.iter().filter(|rule| rule.kind.trigger() == Trigger::Evidence) {
        for (place, kinds) in kinds.iter_mut().enumerate() {
            if rule.evidence & 1 << place != 0 {
                *kinds |= rule.kind.bit();
            }
        }
    }
    kinds
}
