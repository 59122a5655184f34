//! Policy files → a [`Policy`]: which are loaded, and what is worked out of them beforehand.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::compile::Source;
use super::file::File;
use super::kind::{FindingKind, Trigger};
use super::matrix::Matrix;
use super::rule::{Quick, Rule};
use super::{ByService, Disabled, Pack, Policy, embedded, suppress};
use crate::catalog::toml_text::{self, with_hint};
use crate::catalog::{Catalog, ServiceId};
use crate::error::{Error, Result, unread};
use crate::inspect::EvidenceKind;
use crate::site::{Named, Site};

/// Rules that a policy may have: what an index of 16 bits can name.
const RULES_MAX: usize = 65_535;

impl Policy {
    /// Loads the packs that the site chooses, its own files and `extra_files`, in this order.
    ///
    /// Every name in them and in the site's `[policy]` and `[[suppress]]` is checked here.
    pub fn load(catalog: &Catalog, site: &Site, extra_files: &[PathBuf]) -> Result<Self> {
        let mut texts: Vec<(PathBuf, String, bool)> = Vec::new();
        for (path, text) in chosen_packs(site)? {
            texts.push((path.into(), text.to_owned(), true));
        }
        for (path, line) in &site.policy.files {
            let text = toml_text::read_as(path, |error| unread_of_site(site, path, *line, &error))?;
            texts.push((path.clone(), text, false));
        }
        for path in extra_files {
            texts.push((path.clone(), toml_text::read(path)?, false));
        }
        Self::of(catalog, site, &texts)
    }

    /// Loads every pack that ships, whatever the site chooses: what there is to list and to explain.
    pub fn all_shipped(catalog: &Catalog, site: &Site) -> Result<Self> {
        let packs = embedded::PACKS.iter();
        let texts: Vec<_> =
            packs.map(|(path, text)| ((*path).into(), (*text).to_owned(), true)).collect();
        Self::of(catalog, site, &texts)
    }

    /// Makes the policy of files: where each came from, its text, and whether it ships.
    fn of(catalog: &Catalog, site: &Site, texts: &[(PathBuf, String, bool)]) -> Result<Self> {
        let mut hash = Sha256::new();
        let mut loaded = Loaded::default();
        check_aliases(texts, site)?;
        for (path, text, shipped) in texts {
            for part in [path.file_name().unwrap_or_default().as_encoded_bytes(), text.as_bytes()] {
                hash.update(part.len().to_be_bytes());
                hash.update(part);
            }
            loaded.add(&Source { path, text, shipped: *shipped, catalog, site })?;
        }
        loaded.choose_matrices(site)?;
        let Loaded { packs, rules, matrices } = loaded;
        if rules.len() > RULES_MAX {
            return Err(Error::new(format!("more than {RULES_MAX} rules")));
        }
        let content_hash = hash.finalize().iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a String takes all");
            hex
        });
        let suppressions = suppress::by_rule(&rules, &matrices, site)?;
        Ok(Self {
            by_kind: by_kind(&rules, catalog),
            kinds_of_evidence: kinds_of_evidence(&rules),
            disabled: disabled(catalog, site),
            suppressions,
            packs,
            quick: rules.iter().map(Quick::of).collect(),
            rules,
            matrices,
            content_hash,
        })
    }
}

/// An error about a file that the site file names.
fn unread_of_site(site: &Site, path: &Path, line: usize, error: &std::io::Error) -> Error {
    let cause = format!("`{}` {}", path.display(), unread(error));
    let place = site.path().unwrap_or_else(|| Path::new("site.toml"));
    Error::at_line(place, line, cause)
        .hint("a relative path in `files` begins beside the site file")
}

/// Returns what the site declares disabled, and whether it names hosts that run it.
fn disabled(catalog: &Catalog, site: &Site) -> Vec<Disabled> {
    let declared = site.policy.disabled.iter().map(|(service, _)| *service);
    let has_hosts = |id| site.hosts().iter().any(|host| host.runs(catalog.service(id)));
    declared.map(|service| Disabled { service, has_hosts: has_hosts(service) }).collect()
}

/// Refuses a zone's `as` that neither a pack that ships nor a file of the user's knows.
fn check_aliases(texts: &[(PathBuf, String, bool)], site: &Site) -> Result<()> {
    if site.zones().iter().all(|zone| zone.alias.is_none()) {
        return Ok(());
    }
    let shipped = embedded::PACKS.iter().map(|(_, text)| *text);
    let texts = shipped.chain(texts.iter().map(|(_, text, _)| text.as_str()));
    // A file that cannot be read is reported where it is loaded.
    let files: Vec<File> = texts.filter_map(|text| toml::from_str(text).ok()).collect();
    let known: BTreeSet<&str> = files.iter().flat_map(File::zone_names).collect();
    for zone in site.zones() {
        let Some(alias) = zone.alias.as_deref().filter(|alias| !known.contains(alias)) else {
            continue;
        };
        let path = site.path().unwrap_or_else(|| Path::new("site.toml"));
        let error = Error::at_line(path, zone.line, format!("no pack knows a zone `{alias}`"));
        return Err(with_hint(error, alias, known.iter().copied()));
    }
    Ok(())
}

/// Returns the packs that the site chooses, and those that it expects: path and text.
fn chosen_packs(site: &Site) -> Result<Vec<(&'static str, &'static str)>> {
    let mut chosen: Vec<(&str, &str)> = Vec::new();
    match &site.policy.packs {
        None => {
            chosen.extend(embedded::PACKS.iter().filter(|(path, _)| !needs_zones(path)).copied());
        }
        Some(names) => {
            for named in names {
                chosen.push(pack(named, site)?);
            }
        }
    }
    for named in &site.policy.expect {
        // What ships nowhere may be a matrix of the user's own files: checked when they are read.
        chosen.extend(pack(named, site).ok());
    }
    let mut seen = HashSet::new();
    chosen.retain(|(path, _)| seen.insert(*path));
    Ok(chosen)
}

fn pack(named: &Named, site: &Site) -> Result<(&'static str, &'static str)> {
    let found = embedded::PACKS.iter().find(|(path, _)| pack_name(path) == named.name);
    found.copied().ok_or_else(|| unknown("pack", named, site, shipped_names()))
}

pub(super) fn shipped_names<'a>() -> impl Iterator<Item = &'a str> {
    embedded::PACKS.iter().map(|(path, _)| -> &'a str { pack_name(path) })
}

/// An error about a name in the site file.
fn unknown<'a>(
    what: &str,
    named: &Named,
    site: &Site,
    known: impl IntoIterator<Item = &'a str>,
) -> Error {
    let path = site.path().unwrap_or_else(|| Path::new("site.toml"));
    let error = Error::at_line(path, named.line, format!("unknown {what} `{}`", named.name));
    with_hint(error, &named.name, known)
}

/// Returns a shipped pack's id, which is its file's name.
pub(super) fn pack_name(path: &str) -> &str {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    name.strip_suffix(".toml").unwrap_or(name)
}

/// Tells whether a shipped pack judges zones or components, so that it is loaded only when asked for.
fn needs_zones(path: &str) -> bool {
    pack_name(path).ends_with("-zones") || pack_name(path).ends_with("-distributed")
}

/// What was read so far.
#[derive(Default)]
struct Loaded {
    packs: Vec<Pack>,
    rules: Vec<Rule>,
    matrices: Vec<Matrix>,
}

impl Loaded {
    /// Adds one file.
    fn add(&mut self, source: &Source<'_>) -> Result<()> {
        let file = source.file()?;
        self.add_rules(&file, source)?;
        self.matrices.extend(source.matrix(&file)?);
        for row in &file.row {
            let Some(named) = &row.matrix else {
                if file.party.is_empty() {
                    let cause = "a row without `matrix` in a file without [[party]]";
                    return Err(source.error(row.id.span(), cause));
                }
                continue;
            };
            let name = named.get_ref();
            let found = self.matrices.iter().position(|matrix| matrix.id == *name);
            let Some(index) = found else {
                let cause = format!("matrix `{name}` is not loaded");
                let mut known: Vec<&str> =
                    self.matrices.iter().map(|matrix| matrix.id.as_str()).collect();
                known.extend(shipped_names());
                return Err(with_hint(source.error(named.span(), cause), name, known));
            };
            source.add_row(&mut self.matrices[index], row)?;
        }
        self.packs.extend(file.pack.map(|pack| Pack {
            id: pack.id.into_inner().0,
            title: pack.title.0,
            file: source.path.to_string_lossy().into_owned(),
        }));
        Ok(())
    }

    /// Adds the rules of one file; ids and signature ids are unique over all files.
    fn add_rules(&mut self, file: &File, source: &Source<'_>) -> Result<()> {
        let mut ids: HashMap<String, usize> = HashMap::new();
        let mut signatures: HashMap<u32, usize> = HashMap::new();
        for (index, rule) in self.rules.iter().enumerate() {
            ids.insert(rule.id.clone(), index);
            signatures.insert(rule.signature_id, index);
        }
        for (entry, rule) in file.rule.iter().zip(source.rules(file)?) {
            let has_it = |index: &usize| {
                let first: &Rule = &self.rules[*index];
                format!("{}:{} has it already", first.file, first.line)
            };
            if let Some(index) = ids.get(&rule.id) {
                let cause = format!("duplicate rule id `{}`: {}", rule.id, has_it(index));
                return Err(source.error(entry.id.span(), cause));
            }
            if let Some(index) = signatures.get(&rule.signature_id) {
                let cause =
                    format!("duplicate signature_id {}: {}", rule.signature_id, has_it(index));
                return Err(source.error(entry.signature_id.span(), cause));
            }
            ids.insert(rule.id.clone(), self.rules.len());
            signatures.insert(rule.signature_id, self.rules.len());
            self.rules.push(rule);
        }
        Ok(())
    }

    /// Settles which matrices are judged and which expected, and which rules wait for zones in vain.
    fn choose_matrices(&mut self, site: &Site) -> Result<()> {
        for matrix in &mut self.matrices {
            let is_named = |names: &[Named]| names.iter().any(|named| named.name == matrix.id);
            let ships = shipped_names().any(|name| name == matrix.id);
            matrix.judged = !ships || site.policy.packs.as_deref().is_some_and(is_named);
            matrix.expected = is_named(&site.policy.expect);
            let waiting = self.rules.iter_mut().filter(|rule| {
                matches!(rule.kind, FindingKind::ZoneViolation | FindingKind::ExpectedFlowAbsent)
                    && rule.pack.as_deref() == Some(matrix.id.as_str())
            });
            for rule in waiting {
                rule.skipped = rule.skipped.or(matrix.skipped).or(match rule.kind {
                    FindingKind::ExpectedFlowAbsent if !matrix.expected => {
                        Some("the site file's `expect` does not name its matrix")
                    }
                    FindingKind::ZoneViolation if !matrix.judged => {
                        Some("the site file's `packs` does not name its matrix")
                    }
                    _ => None,
                });
            }
        }
        for named in &site.policy.expect {
            if !self.matrices.iter().any(|matrix| matrix.id == named.name) {
                let mut known: Vec<&str> =
                    self.matrices.iter().map(|matrix| matrix.id.as_str()).collect();
                known.extend(shipped_names().filter(|name| needs_zones(name)));
                return Err(unknown("matrix", named, site, known));
            }
        }
        Ok(())
    }
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
