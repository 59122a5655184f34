//! Facts of a flow, a host, a zone → findings: rules, matrices, suppressions, the verdict.
//!
//! Takes TOML, the packs in the binary and the user's files; gives a [`Policy`] that judges flows at the
//! join, once each. Holds no state of a run: the same flow gives the same findings in any order.

mod absence;
pub mod baseline;
mod compile;
mod disabled;
mod embedded;
mod file;
mod judge;
mod kind;
mod load;
mod matrix;
mod matrix_run;
mod renewal;
mod rule;
mod shared;
mod suppress;
#[cfg(test)]
mod tests;
pub mod verdict;
mod words;

use std::fmt;

use crate::catalog::ServiceId;
use crate::inspect::EvidenceKind;
pub use absence::Absence;
pub use disabled::{DisabledRun, PortProof, PortState, Reach};
pub use judge::{EvidenceNote, Finding, Note, Subject};
pub use kind::{FindingKind, Severity, Trigger};
pub use matrix::{Matrix, Row};
pub use matrix_run::{Ground, MatrixRun, PairCounts, RowCounts, RowStatus};
use rule::Quick;
pub use rule::{Field, Rule};
pub use shared::{SharedToken, TokenUse};
pub use suppress::Cover;

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

/// Why a rule about zones is not judged where none are known.
pub const NO_ZONES: &str = "it judges zones, and the site file names none";

/// All rules of a run, with what is worked out of them beforehand.
pub struct Policy {
    packs: Vec<Pack>,
    rules: Vec<Rule>,
    /// For each rule: what it asks in a few bits.
    quick: Vec<Quick>,
    matrices: Vec<Matrix>,
    /// For each kind: the rules that a service, or none, can meet.
    by_kind: Vec<ByService>,
    /// For each kind of evidence: the kinds of findings that rules make of it, one bit each.
    kinds_of_evidence: [u64; EvidenceKind::ALL.len()],
    /// Services that the site declares disabled.
    disabled: Vec<Disabled>,
    /// For each rule: the site's suppressions that name it.
    suppressions: Vec<Vec<usize>>,
    content_hash: String,
}

/// A service that is declared disabled.
struct Disabled {
    service: ServiceId,
    /// The site declares hosts that run it: it is theirs alone that is meant.
    has_hosts: bool,
}

/// The rules of one kind, the most specific first.
#[derive(Default)]
struct ByService {
    /// For no service and then for each of the catalogue: where its rules lie.
    spans: Vec<(u32, u32)>,
    rules: Vec<u16>,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("packs", &self.packs).finish_non_exhaustive()
    }
}

impl Policy {
    /// Returns every rule, in the order of packs and files; a [`Finding`]'s `rule` is a place in it.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns the packs that are loaded, in order; rules of a file without `[pack]` are in none.
    pub fn packs(&self) -> &[Pack] {
        &self.packs
    }

    /// Returns the packs that ship and are not loaded, by their names in site files.
    pub fn packs_off(&self) -> impl Iterator<Item = &'static str> {
        let is_on = |name: &&str| self.packs.iter().any(|pack| pack.id == **name);
        load::shipped_names().filter(move |name| !is_on(name))
    }

    /// Returns the SHA-256 of the policy's files, in hexadecimal.
    pub fn content_hash(&self) -> &str {
        &self.content_hash
    }

    /// Returns the rule that names findings of a kind that the join raises, if the policy has one.
    pub fn rule_of(&self, kind: FindingKind) -> Option<usize> {
        self.rules_for(kind, None).first().map(|index| usize::from(*index))
    }

    /// Returns every matrix, in the order of packs and files.
    pub fn matrices(&self) -> &[Matrix] {
        &self.matrices
    }

    /// Returns the rule of a pack that names findings of a kind that the join raises of no flow.
    fn rule_of_pack(&self, kind: FindingKind, pack: &str) -> Option<usize> {
        let rules = self.rules_for(kind, None).iter().map(|index| usize::from(*index));
        let mut rules = rules.filter(|index| self.rules[*index].pack.as_deref() == Some(pack));
        rules.next()
    }

    fn rules_for(&self, kind: FindingKind, service: Option<ServiceId>) -> &[u16] {
        let of_kind = &self.by_kind[kind as usize];
        let slot = service.map_or(0, |id| usize::from(id.0) + 1);
        let (from, to) = of_kind.spans.get(slot).copied().unwrap_or_default();
        &of_kind.rules[from as usize..to as usize]
    }
}
