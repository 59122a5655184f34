//! What concerns several flows: matrices, shared secrets, declared transports, offsets that disagree.

use std::collections::BTreeMap;

use super::view::View;
use super::{Join, Seen, Setting};
use crate::packet::At;
use crate::policy::{
    DisabledRun, EvidenceNote, Finding, FindingKind, MatrixRun, NO_ZONES, Note, PortProof,
    PortState, Reach, Subject, TokenUse,
};
use crate::report::record::{RowRecord, RowStatus};
use crate::report::summary::{DisabledRecord, NotExercised, ZONES_UNKNOWN, ZonePair, ZoneTotals};

/// What is gathered over all flows of a run.
pub(super) struct Across {
    pub(super) matrices: MatrixRun,
    pub(super) tokens: TokenUse,
    pub(super) disabled: DisabledRun,
    /// Flows of earlier looks, and of all so far.
    flows: [u64; 2],
}

impl Across {
    pub(super) fn new(setting: &Setting<'_>) -> Self {
        Self {
            matrices: MatrixRun::new(setting.ground()),
            tokens: TokenUse::default(),
            disabled: DisabledRun::new(setting.site, setting.catalog),
            flows: [0; 2],
        }
    }

    /// Prepares for other flows than those seen so far, which are gone.
    pub(super) fn go_on(&mut self) {
        self.flows[0] = self.flows[1];
    }

    /// Goes on under another site and policy: what was seen of rows and endpoints that are still there stays.
    pub(super) fn renew(&mut self, from: &Setting<'_>, to: &Setting<'_>) {
        let matrices = std::mem::replace(&mut self.matrices, MatrixRun::new(to.ground()));
        self.matrices = matrices.renewed(from.ground(), to.ground());
        let mut disabled = DisabledRun::new(to.site, to.catalog);
        disabled.take_over(&self.disabled, from.catalog, to.catalog);
        self.disabled = disabled;
    }

    /// Looks at one flow, the `flow`-th of the places; adds what a matrix finds.
    pub(super) fn see(
        &mut self,
        setting: &Setting<'_>,
        flow: usize,
        view: &View<'_>,
        subject: &Subject<'_>,
        findings: &mut Vec<Finding>,
    ) {
        self.matrices.flow(setting.ground(), subject, findings);
        self.tokens.flow(subject, self.flows[0] + flow as u64);
        self.flows[1] += 1;
        let reach = if view.was_answered() {
            Reach::Answered
        } else if view.is_refused() {
            Reach::Refused
        } else {
            Reach::Silent
        };
        self.disabled.flow(subject, reach);
    }

    /// Returns the zones' conversations, where zones or components are known.
    pub(super) fn zones(&self, setting: &Setting<'_>) -> Option<ZoneTotals> {
        let pairs: Vec<ZonePair> = self
            .matrices
            .pairs(setting.ground())
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
    pub(super) fn across_flows(&self, across: &mut Across) -> BTreeMap<usize, Vec<Finding>> {
        let mut findings = self.shared_tokens(across);
        self.partial_offsets(&mut findings);
        findings
    }

    /// Returns the findings on secrets of which it showed since the last call that several clients present
    /// them, by a flow of those at hand.
    pub(super) fn shared_tokens(&self, across: &mut Across) -> BTreeMap<usize, Vec<Finding>> {
        let mut findings: BTreeMap<usize, Vec<Finding>> = BTreeMap::new();
        if let Some(rule) = self.setting.policy.rule_of(FindingKind::TokenShared) {
            for token in across.tokens.take_shared() {
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
                let before = across.flows[0];
                let Some(flow) = token.flow.checked_sub(before) else { continue };
                let flow = usize::try_from(flow).unwrap_or(usize::MAX);
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
    pub(super) fn row_records(&self, across: &Across) -> Vec<RowRecord> {
        use crate::policy::RowStatus as Status;
        let rows = across.matrices.rows(self.setting.ground());
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
    pub(super) fn not_exercised(&self, seen: &Seen) -> Vec<NotExercised> {
        let mut all = Vec::new();
        let site = self.setting.site;
        if site.policy.packs.is_some() || !site.zones().is_empty() {
            all.extend(self.setting.policy.packs_off().map(|name| NotExercised {
                subject: format!("pack {name}"),
                detail: "off, since the site file's `packs` does not name it".to_owned(),
            }));
        }
        if site.zones().is_empty() {
            all.push(self.zones_unknown());
        }
        for matrix in self.setting.policy.matrices() {
            if let Some(why) = matrix.skipped.filter(|_| matrix.judged || matrix.expected) {
                all.push(NotExercised { subject: matrix.id.clone(), detail: why.to_owned() });
            }
        }
        let proofs = self.disabled_records(&seen.across).into_iter();
        let open = proofs.filter(|proof| proof.state == PortState::NotExercised.name());
        all.extend(open.map(|proof| NotExercised {
            subject: proof.to_string(),
            detail: "declared disabled; nobody tried to reach it, which proves nothing".to_owned(),
        }));
        all.extend(seen.findings.unused(self.setting.policy, self.setting.site));
        all
    }

    fn zones_unknown(&self) -> NotExercised {
        let rules = self.setting.policy.rules().iter();
        let waiting = match rules.filter(|rule| rule.skipped == Some(NO_ZONES)).count() {
            0 => String::new(),
            1 => ", and 1 rule judges nothing".to_owned(),
            more => format!(", and {more} rules judge nothing"),
        };
        NotExercised {
            subject: ZONES_UNKNOWN.to_owned(),
            detail: format!(
                "unknown, since no site file names any: no traffic between them is judged{waiting}"
            ),
        }
    }

    /// Returns what was proved of each transport that the site declares disabled.
    pub(super) fn disabled_records(&self, across: &Across) -> Vec<DisabledRecord> {
        let proofs = across.disabled.proofs().iter();
        let record = |proof: &PortProof| DisabledRecord {
            service: self.setting.catalog.service(proof.service).id.clone(),
            host: proof.host.clone(),
            address: proof.address,
            port: proof.port,
            transport: proof.transport,
            state: proof.state.name(),
            flows: proof.flows,
        };
        proofs.map(record).collect()
    }
}
