//! What concerns several flows: matrices, shared secrets, declared transports, offsets that disagree.

use std::collections::BTreeMap;

use super::Join;
use super::view::View;
use crate::packet::At;
use crate::policy::{
    DisabledRun, EvidenceNote, Finding, FindingKind, MatrixRun, Note, PortState, Reach, Subject,
    TokenUse,
};
use crate::report::record::{RowRecord, RowStatus};
use crate::report::summary::{NotExercised, ZonePair, ZoneTotals};

/// What is gathered over all flows of a run.
pub(super) struct Across<'a> {
    pub(super) matrices: MatrixRun<'a>,
    pub(super) tokens: TokenUse,
    pub(super) disabled: DisabledRun,
    /// Counts the looks: a flow's place means nothing in the next one.
    pub(super) look: u64,
}

/// Bits of a flow's number that are its place; the others are the look.
const PLACE_BITS: u32 = 32;

impl<'a> Across<'a> {
    pub(super) fn new(setting: &super::Setting<'a>) -> Self {
        Self {
            matrices: MatrixRun::new(setting.policy, setting.site, setting.catalog),
            tokens: TokenUse::default(),
            disabled: DisabledRun::new(setting.site, setting.catalog),
            look: 0,
        }
    }

    /// Looks at one flow, the `flow`-th of the places; adds what a matrix finds.
    pub(super) fn see(
        &mut self,
        flow: usize,
        view: &View<'_>,
        subject: &Subject<'_>,
        findings: &mut Vec<Finding>,
    ) {
        self.matrices.flow(subject, findings);
        self.tokens.flow(subject, self.look << PLACE_BITS | flow as u64);
        let reach = if view.is_answered() {
            Reach::Answered
        } else if view.is_refused() {
            Reach::Refused
        } else {
            Reach::Silent
        };
        self.disabled.flow(subject, reach);
    }

    /// Returns the zones' conversations, where zones or components are known.
    pub(super) fn zones(&self) -> Option<ZoneTotals> {
        let pairs: Vec<ZonePair> = self
            .matrices
            .pairs()
            .into_iter()
            .map(|(initiator, responder, counts)| ZonePair {
                initiator,
                responder,
                allowed: counts.allowed,
                violating: counts.violating,
                attempted: counts.attempted,
            })
            .collect();
        let unjudged = self.matrices.unjudged();
        (!pairs.is_empty()).then_some(ZoneTotals { unjudged, pairs })
    }
}

impl Join<'_> {
    /// Returns the findings that only several flows show, by the flow that they are reported with.
    pub(super) fn across_flows(&self, across: &Across<'_>) -> BTreeMap<usize, Vec<Finding>> {
        let mut findings = self.shared_tokens(across);
        self.partial_offsets(&mut findings);
        findings
    }

    /// Returns the findings on secrets of which this look showed that several clients present them.
    pub(super) fn shared_tokens(&self, across: &Across<'_>) -> BTreeMap<usize, Vec<Finding>> {
        let mut findings: BTreeMap<usize, Vec<Finding>> = BTreeMap::new();
        if let Some(rule) = self.setting.policy.rule_of(FindingKind::TokenShared) {
            for token in across.tokens.shared() {
                if token.flow >> PLACE_BITS != across.look {
                    continue;
                }
                let others: Vec<String> = token.clients.iter().map(ToString::to_string).collect();
                let detail = format!(
                    "{} {} was presented by {} clients: {}",
                    token.kind.name(),
                    token.fingerprint,
                    others.len(),
                    others.join(", ")
                );
                let note = Note {
                    kind: "token",
                    detail,
                    count: token.count,
                    first: token.first,
                    last: token.last,
                };
                let place = token.flow & ((1 << PLACE_BITS) - 1);
                let flow = usize::try_from(place).unwrap_or(usize::MAX);
                self.add(&mut findings, flow, FindingKind::TokenShared, rule, note);
            }
        }
        findings
    }

    /// A host whose ports are at several offsets is reported with the first flow to a port that disagrees.
    fn partial_offsets(&self, findings: &mut BTreeMap<usize, Vec<Finding>>) {
        let Some(rule) = self.setting.policy.rule_of(FindingKind::PartialOffset) else { return };
        let mut told = std::collections::BTreeSet::new();
        let catalog = self.setting.catalog;
        if !self.hosts.has_strays() {
            return;
        }
        for (flow, place) in self.places.iter().enumerate() {
            let view = self.view(place);
            let responder = view.responder();
            let Some(reading) = self.hosts.reading(responder.ip()) else { continue };
            let at_port = (view.transport(), responder.port());
            let is_stray = reading.strays.iter().any(|s| (s.transport, s.port) == at_port);
            if !is_stray || !view.is_answered() || !told.insert(responder.ip()) {
                continue;
            }
            let notes = reading.notes(catalog);
            let detail = notes.into_iter().find(|note| note.starts_with("partial offset"));
            let note = Note::once("offset", detail.unwrap_or_default(), view.flow.first);
            self.add(findings, flow, FindingKind::PartialOffset, rule, note);
        }
    }

    /// Adds a note to the flow's finding of a kind: a flow has one of each.
    fn add(
        &self,
        findings: &mut BTreeMap<usize, Vec<Finding>>,
        flow: usize,
        kind: FindingKind,
        rule: usize,
        note: Note,
    ) {
        let of_flow = findings.entry(flow).or_default();
        let (first, last): (At, At) = (note.first, note.last);
        if let Some(finding) = of_flow.iter_mut().find(|finding| finding.kind == kind) {
            finding.count += 1;
            finding.first = finding.first.min(first);
            finding.last = finding.last.max(last);
            finding.evidence.push(EvidenceNote::Note(note));
            return;
        }
        let severity = self.setting.policy.rules()[rule].severity;
        let evidence = vec![EvidenceNote::Note(note)];
        of_flow.push(Finding { rule, kind, severity, count: 1, first, last, evidence });
    }

    /// Returns what became of each row of the matrices.
    pub(super) fn row_records(&self, across: &Across<'_>) -> Vec<RowRecord> {
        use crate::policy::RowStatus as Status;
        let rows = across.matrices.rows();
        rows.map(|(matrix, row, counts)| RowRecord {
            timestamp: super::end_of(self.gathered),
            pack: matrix.id.clone(),
            row: row.id.clone(),
            initiator: row.initiator.clone(),
            responder: row.responder.clone(),
            services: row.services.clone(),
            status: match counts.status() {
                Status::Satisfied => RowStatus::Satisfied,
                Status::Unused => RowStatus::Unused,
                Status::Attempted => RowStatus::Attempted,
                Status::Violated => RowStatus::Violated,
            },
            satisfied: counts.satisfied,
            attempted: counts.attempted,
            violated: counts.violated,
            note: row.note.clone(),
        })
        .collect()
    }

    /// Returns what the capture could not prove.
    pub(super) fn not_exercised(&self, across: &Across<'_>) -> Vec<NotExercised> {
        let mut all = Vec::new();
        for matrix in self.setting.policy.matrices() {
            if let Some(why) = matrix.skipped.filter(|_| matrix.judged || matrix.expected) {
                all.push(NotExercised { subject: matrix.id.clone(), detail: why.to_owned() });
            }
        }
        for proof in across.disabled.proofs() {
            let id = &self.setting.catalog.service(proof.service).id;
            let host = match (&proof.host, proof.address) {
                (Some(host), Some(address)) => format!("{host} ({address})"),
                _ => "any host".to_owned(),
            };
            if proof.state == PortState::NotExercised {
                all.push(NotExercised {
                    subject: format!("{id} on {host}, {}/{}", proof.port, proof.transport),
                    detail: "declared disabled; nobody tried to reach it, which proves nothing"
                        .to_owned(),
                });
            }
        }
        all
    }
}
