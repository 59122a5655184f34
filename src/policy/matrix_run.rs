//! Flows → what became of each row of the matrices, and what no row allows.

use std::collections::{BTreeMap, HashMap, HashSet};

use foldhash::fast::RandomState;

use super::Policy;
use super::file::Judges;
use super::judge::{EvidenceNote, Finding, Note, Subject};
use super::kind::FindingKind;
use super::matrix::{Matrix, OTHER, Row, Use};
use crate::catalog::Catalog;
use crate::classify::{Heard, Tag};
use crate::inspect::Protocol;
use crate::site::{HostId, Site, ZoneId};

/// What became of a row. Ordered: `Violated` is the gravest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowStatus {
    /// Used as allowed.
    Satisfied,
    /// Never seen.
    Unused,
    /// Only tried: SYN without answer, or refused.
    Attempted,
    /// Used against the row.
    Violated,
}

/// Flows of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowCounts {
    /// Used as allowed.
    pub satisfied: u64,
    /// Only tried.
    pub attempted: u64,
    /// Used against the row: another protocol than it asks for, or between zones where it allows nothing.
    pub violated: u64,
}

impl RowCounts {
    /// Returns what became of the row.
    pub fn status(self) -> RowStatus {
        match self {
            Self { violated: 1.., .. } => RowStatus::Violated,
            Self { satisfied: 1.., .. } => RowStatus::Satisfied,
            Self { attempted: 1.., .. } => RowStatus::Attempted,
            _ => RowStatus::Unused,
        }
    }
}

/// Flows from one zone or component to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PairCounts {
    /// Flows that a row allows, or that stay in their zone.
    pub allowed: u64,
    /// Flows that no row allows.
    pub violating: u64,
    /// Flows that only tried.
    pub attempted: u64,
}

/// What matrices are judged by; the same for all flows of one [`MatrixRun`].
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The rules and matrices.
    pub policy: &'a Policy,
    /// Zones and hosts.
    pub site: &'a Site,
    /// The services that rows name.
    pub catalog: &'a Catalog,
}

/// What became of all matrices of a policy, by the flows that were held against them. Fed with every flow
/// of a run.
#[derive(Debug)]
pub struct MatrixRun {
    pub(super) runs: Vec<Run>,
    pub(super) seen: HashSet<HostId, RandomState>,
    pub(super) pairs: BTreeMap<(End, End), PairCounts>,
    pub(super) unjudged: u64,
}

/// One matrix.
#[derive(Debug)]
pub(super) struct Run {
    /// Its place among the policy's matrices.
    pub(super) matrix: usize,
    pub(super) counts: Vec<RowCounts>,
    /// Parties of which any address was seen.
    pub(super) seen: u32,
    /// For each row, the hosts that used it as allowed and those that only tried.
    pub(super) used_by: Vec<HashSet<Option<HostId>, RandomState>>,
    pub(super) tried_by: Vec<HashMap<Option<HostId>, u64, RandomState>>,
}

/// One end of a flow, by the name under which pairs are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Zone(ZoneId),
    /// A matrix and a set of its parties.
    Party(u16, u32),
}

/// What one matrix says of one flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// An end is nobody that it knows, or both are in one place.
    Nothing,
    Allowed,
    Attempted,
    Violated,
}

impl MatrixRun {
    /// Begins with no flow.
    pub fn new(ground: Ground<'_>) -> Self {
        let run = |(place, matrix): (usize, &Matrix)| Run {
            matrix: place,
            counts: vec![RowCounts::default(); matrix.rows.len()],
            seen: 0,
            used_by: vec![HashSet::default(); matrix.rows.len()],
            tried_by: vec![HashMap::default(); matrix.rows.len()],
        };
        let matrices = ground.policy.matrices().iter().enumerate();
        Self {
            runs: matrices.filter(|(_, matrix)| matrix.skipped.is_none()).map(run).collect(),
            seen: HashSet::default(),
            pairs: BTreeMap::new(),
            unjudged: 0,
        }
    }

    /// Holds one flow against every matrix; adds a finding if no row allows it.
    pub fn flow(&mut self, ground: Ground<'_>, subject: &Subject<'_>, findings: &mut Vec<Finding>) {
        if self.runs.is_empty() && ground.site.zones().is_empty() {
            return;
        }
        let ends = [
            (subject.initiator.ip(), subject.initiator_zone),
            (subject.responder.ip(), subject.responder_zone),
        ];
        let hosts = ends.map(|(address, _)| ground.site.host_id_of(address));
        self.seen.extend(hosts.into_iter().flatten());
        let mut verdict = Said::Nothing;
        for run in &mut self.runs {
            let matrix = run.matrix(ground);
            let said = run.flow(matrix, subject, hosts);
            if said == Said::Violated && verdict != Said::Violated {
                findings.extend(violation(ground, run, subject, hosts));
            }
            verdict = graver(verdict, said);
        }
        self.count_pair(ground, subject, hosts, verdict);
    }

    fn count_pair(
        &mut self,
        ground: Ground<'_>,
        subject: &Subject<'_>,
        hosts: [Option<HostId>; 2],
        verdict: Said,
    ) {
        let zones = [subject.initiator_zone, subject.responder_zone];
        let end = |side: usize| {
            let by_party = || {
                let runs = self.runs.iter().enumerate();
                let known = runs
                    .map(|(place, run)| (place, parties_of(run.matrix(ground), hosts[side], None)));
                let mut known = known.filter(|(_, parties)| *parties != OTHER);
                known.next().map(|(place, parties)| {
                    End::Party(u16::try_from(place).unwrap_or(u16::MAX), parties)
                })
            };
            zones[side].map(End::Zone).or_else(by_party)
        };
        let (Some(initiator), Some(responder)) = (end(0), end(1)) else {
            self.unjudged += 1;
            return;
        };
        let pair = self.pairs.entry((initiator, responder)).or_default();
        match verdict {
            Said::Violated => pair.violating += 1,
            _ if !subject.established => pair.attempted += 1,
            _ => pair.allowed += 1,
        }
    }

    /// Returns every row that was judged with its matrix and what became of it, in order.
    pub fn rows<'a>(
        &'a self,
        ground: Ground<'a>,
    ) -> impl Iterator<Item = (&'a Matrix, &'a Row, RowCounts)> {
        self.runs.iter().flat_map(move |run| {
            let matrix = run.matrix(ground);
            let rows = matrix.rows.iter().zip(&run.counts);
            rows.map(move |(row, counts)| (matrix, row, *counts))
        })
    }

    /// Returns flows with an end in no named zone and of no known component: counted, not judged.
    pub fn unjudged(&self) -> u64 {
        self.unjudged
    }

    /// Returns the pairs of zones or components that were seen, in order of names.
    pub fn pairs(&self, ground: Ground<'_>) -> Vec<(String, String, PairCounts)> {
        let name = |end: End| match end {
            End::Zone(zone) => ground.site.zone(zone).name.clone(),
            End::Party(run, parties) => self.runs[usize::from(run)].matrix(ground).names(parties),
        };
        let mut pairs: Vec<_> = self
            .pairs
            .iter()
            .map(|((initiator, responder), counts)| (name(*initiator), name(*responder), *counts))
            .collect();
        pairs.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        pairs
    }
}

/// Returns the parties that an address is: by what its host runs, else by its zone.
pub(super) fn parties_of(matrix: &Matrix, host: Option<HostId>, zone: Option<ZoneId>) -> u32 {
    let by_host = host.map_or(0, |id| matrix.of_host[usize::from(id.0)]);
    if by_host != 0 {
        return by_host;
    }
    match zone.map_or(0, |zone| matrix.of_zone[usize::from(zone.0)]) {
        0 => OTHER,
        parties => parties,
    }
}

impl Run {
    pub(super) fn matrix<'a>(&self, ground: Ground<'a>) -> &'a Matrix {
        &ground.policy.matrices()[self.matrix]
    }

    fn flow(&mut self, matrix: &Matrix, subject: &Subject<'_>, hosts: [Option<HostId>; 2]) -> Said {
        let zones = [subject.initiator_zone, subject.responder_zone];
        let is = [parties_of(matrix, hosts[0], zones[0]), parties_of(matrix, hosts[1], zones[1])];
        self.seen |= is[0] | is[1];
        if is == [OTHER, OTHER] {
            return Said::Nothing;
        }
        let mut allowed = self.count(matrix, subject, hosts, is, false);
        if !allowed && !subject.initiator_known {
            allowed = self.count(matrix, subject, hosts, is, true);
        }
        if allowed {
            return Said::Allowed;
        }
        if !subject.established {
            return Said::Attempted;
        }
        // Named by its zone or by what it runs; the inside of one place is its own affair.
        let named = |side: usize| is[side] != OTHER || zones[side].is_some();
        let same_place = is[0] & is[1] != 0
            || matrix.judges == Judges::Zones && zones[0].is_some() && zones[0] == zones[1];
        if !named(0) || !named(1) || same_place || !matrix.judged {
            return Said::Nothing;
        }
        Said::Violated
    }

    /// Counts a flow in the rows that it is about; tells whether one of them allows it.
    ///
    /// `turned` holds the flow the other way round: where nobody knows who began, both ways are tried.
    fn count(
        &mut self,
        matrix: &Matrix,
        subject: &Subject<'_>,
        hosts: [Option<HostId>; 2],
        is: [u32; 2],
        turned: bool,
    ) -> bool {
        let (from, to, port) = if turned {
            (1, 0, subject.initiator.port())
        } else {
            (0, 1, subject.responder.port())
        };
        let nothing = Tag::default();
        let tag = if turned { &nothing } else { subject.tag };
        let spoken = spoken(subject);
        let zones = [subject.initiator_zone, subject.responder_zone];
        let between_zones = zones[0].is_some() && zones[1].is_some() && zones[0] != zones[1];
        let about = |used: &&Use| used.is_about(port, subject.transport, tag);
        let admits = |used: &Use| match used {
            Use::Ports { spoken: Some(wanted), .. } => spoken.is_none_or(|is| is & wanted != 0),
            Use::Ports { spoken: None, .. } => true,
            Use::Service(id) => subject.heard.is_admitted_by(subject.catalog.service(*id)),
        };
        let rows = matrix.rows.iter().enumerate();
        let rows = rows.filter(|(_, row)| row.is_between(is[from], is[to]));
        let met: Vec<(usize, &Row, bool)> = rows
            .filter(|(_, row)| row.uses.iter().any(|used| about(&used)))
            .map(|(place, row)| {
                let admitted = row.uses.iter().filter(about).any(admits);
                (place, row, row.permits && admitted)
            })
            .collect();
        let allowed = met.iter().any(|(_, _, allows)| *allows);
        for (place, row, allows) in met {
            let counts = &mut self.counts[place];
            if !subject.established {
                counts.attempted += 1;
                *self.tried_by[place].entry(hosts[from]).or_default() += 1;
            } else if allows || !row.permits && (allowed || !between_zones) {
                counts.satisfied += 1;
                self.used_by[place].insert(hosts[from]);
            } else if !turned {
                counts.violated += 1;
            }
        }
        allowed
    }
}

/// Returns what was spoken as bits of protocols; `None` while nobody knows.
fn spoken(subject: &Subject<'_>) -> Option<u32> {
    let tls = 1 << Protocol::Tls as u32;
    let recognised = subject.facts.and_then(|facts| facts.protocol).map(|p| 1 << p as u32);
    match subject.heard {
        Heard::Nothing | Heard::Unknown => None,
        Heard::Tls => Some(recognised.unwrap_or(tls)),
        Heard::Upgraded(_) => Some(recognised.unwrap_or(0) | tls),
        Heard::Clear(protocol) => recognised
            .or_else(|| Protocol::from_name(protocol.name()).map(|protocol| 1 << protocol as u32)),
    }
}

fn graver(a: Said, b: Said) -> Said {
    let rank = |said| match said {
        Said::Nothing => 0,
        Said::Allowed => 1,
        Said::Attempted => 2,
        Said::Violated => 3,
    };
    if rank(b) > rank(a) { b } else { a }
}

/// Makes the finding of a flow that no row of a matrix allows.
fn violation(
    ground: Ground<'_>,
    run: &Run,
    subject: &Subject<'_>,
    hosts: [Option<HostId>; 2],
) -> Option<Finding> {
    let Ground { policy, site, .. } = ground;
    let matrix = run.matrix(ground);
    let index = policy.rule_met(FindingKind::ZoneViolation, &matrix.id, subject, site)?;
    let name = |side: usize, zone: Option<ZoneId>| {
        let parties = parties_of(matrix, hosts[side], zone);
        match (parties, zone) {
            (OTHER, Some(zone)) => site.zone(zone).name.clone(),
            _ => matrix.names(parties),
        }
    };
    let names = (name(0, subject.initiator_zone), name(1, subject.responder_zone));
    let detail = format!(
        "{} → {} on {}/{}: no row of {} allows it",
        names.0,
        names.1,
        subject.responder.port(),
        subject.transport,
        matrix.id
    );
    Some(Finding {
        rule: index,
        kind: FindingKind::ZoneViolation,
        severity: policy.rules()[index].severity,
        count: 1,
        first: subject.first,
        last: subject.last,
        evidence: vec![EvidenceNote::Note(Note::once("zone", detail, subject.first))],
    })
}
