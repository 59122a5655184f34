//! Findings as published: flows are judged again, and each finding is an alert.

use std::cell::OnceCell;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::findings::{self, Findings};
use super::hosts::Hosts;
use super::pen::Pen;
use super::sums::LOOK_AHEAD;
use super::tags::{TagNumber, Tagged, Tags};
use super::told::Told;
use super::view::View;
use super::{Join, Setting, lines};
use crate::error::Result;
use crate::packet::Timestamp;
use crate::pipeline::outputs::Outputs;
use crate::policy::baseline::Key;
use crate::policy::{Cover, EvidenceNote, Finding, Ground, MatrixRun, Subject, Trigger};
use crate::report::ndjson;
use crate::report::record::{
    AlertRecord, BaselineState, EvidenceRecord, Record, RuleRecord, SuppressionRecord,
};

/// What alerts are written with: made once for many.
pub(super) struct Desk {
    pub(super) rules: Vec<RuleRecord>,
    pub(super) accepted: Vec<SuppressionRecord>,
}

/// One finding on its way out.
struct Alert<'f> {
    finding: &'f Finding,
    cover: Cover,
    baseline: Option<BaselineState>,
    update: bool,
}

/// What judging flows again takes, and writing their findings.
struct Judge<'a> {
    ground: Ground<'a>,
    pen: Pen<'a>,
    hosts: &'a Hosts,
    tags: &'a Tags<'a>,
    tag_of: &'a [TagNumber],
    findings: &'a Findings,
    desk: &'a Desk,
}

/// A flow with findings.
struct Judged<'v> {
    view: View<'v>,
    tagged: &'v Tagged<'v>,
    subject: Subject<'v>,
}

impl<'a> Judge<'a> {
    /// Judges flows again that had findings, and hands out each finding with its flow and that flow's place.
    fn again<E>(
        &self,
        flows: &[u32],
        mut take: impl FnMut(&Judged<'a>, usize, Finding) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let Self { ground, pen, .. } = *self;
        // What a matrix says of a flow does not depend on other flows.
        let mut matrices = MatrixRun::new(ground);
        let places = pen.scene.places;
        let mut of_flow = Vec::new();
        for (index, flow) in flows.iter().enumerate() {
            if index.is_multiple_of(LOOK_AHEAD) {
                let ahead = flows[index..].iter().take(LOOK_AHEAD);
                pen.scene.load(&ahead.map(|flow| &places[*flow as usize]));
            }
            let flow = *flow as usize;
            let view = pen.scene.view(&places[flow]);
            let tagged = self.tags.tagged(self.tag_of[flow]);
            let host = self.hosts.of(view.responder().ip());
            let subject = findings::subject(ground, &view, tagged, host);
            ground.policy.judge(&subject, ground.site, &mut of_flow);
            matrices.flow(ground, &subject, &mut of_flow);
            of_flow.extend_from_slice(self.findings.across(flow));
            let judged = Judged { view, tagged, subject };
            for finding in of_flow.drain(..) {
                take(&judged, flow, finding)?;
            }
        }
        Ok(())
    }

    /// Writes the lines of flows' findings, of which none went out before and none is in a baseline.
    fn lines(&self, flows: &[u32], out: &mut Vec<u8>, written: &AtomicU64) -> io::Result<()> {
        let Ground { policy, site, .. } = self.ground;
        self.again(flows, |judged, flow, finding| {
            let cover = policy.cover_of(&finding, &judged.subject, site);
            let alert = Alert { finding: &finding, cover, baseline: None, update: false };
            written.fetch_add(1, Ordering::Relaxed);
            let place = &self.pen.scene.places[flow];
            let around = self.pen.around(place, &judged.view);
            alert.record(self.pen, self.desk, (&judged.view, judged.tagged), &around, |record| {
                ndjson::write_alert(record, out)
            })
        })
    }
}

impl Alert<'_> {
    /// Makes the alert's record and hands it to `take`.
    fn record<T>(
        &self,
        pen: Pen<'_>,
        desk: &Desk,
        (view, tagged): (&View<'_>, &Tagged<'_>),
        around: &super::pen::Around<'_>,
        take: impl FnOnce(&AlertRecord<'_>) -> T,
    ) -> T {
        let finding = self.finding;
        let suppression = match self.cover {
            Cover::By(index) => Some(&desk.accepted[index]),
            Cover::None | Cover::Expired(_) => None,
        };
        let mut envelope = around.envelope(view);
        envelope.timestamp = finding.first.time;
        take(&AlertRecord {
            envelope,
            tag: pen.tag_record(view, tagged),
            rule: &desk.rules[finding.rule],
            severity: finding.severity,
            count: finding.count,
            update: self.update,
            first_frame: pen.frame_in_file(finding.first.frame, view),
            first_seen: finding.first.time,
            last_seen: finding.last.time,
            evidence: evidence(pen, view, finding),
            suppression,
            baseline: self.baseline,
            row: None,
        })
    }
}

fn evidence<'f>(pen: Pen<'_>, view: &View<'f>, finding: &'f Finding) -> Vec<EvidenceRecord<'f>> {
    let record = |note: &'f EvidenceNote| match note {
        EvidenceNote::Seen(kind) => {
            let evidence = view.facts?.evidence.iter().find(|one| one.kind == *kind)?;
            let frame = pen.frame_in_file(evidence.first.frame, view);
            Some(EvidenceRecord::of(evidence, frame))
        }
        EvidenceNote::Note(note) => {
            let frame = pen.frame_in_file(note.first.frame, view);
            Some(EvidenceRecord {
                count: note.count,
                last_seen: note.last.time,
                detail: Some(&note.detail),
                ..EvidenceRecord::once(note.kind, frame, note.first.time)
            })
        }
    };
    finding.evidence.iter().filter_map(record).collect()
}

impl Join<'_> {
    /// Writes every finding, in the order of the flows: those that went out before as updates.
    pub(super) fn write_alerts(
        &self,
        findings: &Findings,
        told: &mut Told,
        outputs: &mut Outputs,
    ) -> Result<()> {
        let Setting { policy, site, past, .. } = self.setting;
        let desk = self.desk();
        let judge = Judge {
            ground: self.setting.ground(),
            pen: self.pen(),
            hosts: &self.hosts,
            tags: &self.tags,
            tag_of: &self.tag_of,
            findings,
            desk: &desk,
        };
        let flows = findings.flows();
        let is_simple = told.is_empty() && !past.is_held_against() && outputs.take_nothing_else();
        if self.setting.threads && lines::are_many(flows.len()) && is_simple {
            let written = AtomicU64::new(0);
            let make = |flows: &&[u32], out: &mut Vec<u8>| judge.lines(flows, out, &written);
            let all = lines::write(|| flows.chunks(lines::CHUNK_LEN), &make, outputs);
            told.add(written.into_inner());
            return all;
        }
        judge.again(flows, |judged, flow, mut finding| {
            let Judged { view, tagged, subject } = judged;
            let before = told.rule_of(view.flow, &finding, policy);
            finding.rule = before.unwrap_or(finding.rule);
            told.settle(view.flow, &finding);
            let cover = policy.cover_of(&finding, subject, site);
            let baseline = past.state(|| Key::of(policy, &finding, subject), finding.last.time);
            let alert = Alert { finding: &finding, cover, baseline, update: before.is_some() };
            let around = judge.pen.around(&self.places[flow], view);
            alert.record(judge.pen, &desk, (view, tagged), &around, |record| {
                outputs.record(Record::Alert(record))
            })
        })
    }

    /// Writes the findings that may go out at once and did not yet; returns when each was seen. Counts
    /// nothing: more may come of each flow.
    pub(super) fn write_news(
        &mut self,
        told: &mut Told,
        outputs: &mut Outputs,
    ) -> Result<Vec<Timestamp>> {
        // Mostly nothing is new that a rule speaks of.
        let desk = OnceCell::new();
        let Setting { policy, site, past, .. } = self.setting;
        let (mut seen, mut of_flow) = (Vec::new(), Vec::new());
        for flow in 0..self.places.len() {
            let place = self.places[flow];
            let view = self.view(&place);
            let host = self.hosts.of(view.responder().ip());
            let tag = self.tags.of(&view, host, &self.hosts.learned);
            let tagged = self.tags.tagged(tag);
            let subject = self.subject(&view, tagged, host);
            policy.judge(&subject, site, &mut of_flow);
            let around = self.pen().around(&place, &view);
            for finding in of_flow.drain(..) {
                // What speaks against its port may yet turn out to be at home there.
                let may_change = finding.kind.trigger() == Trigger::Mismatch;
                if may_change || !told.tell(view.flow, &finding, policy) {
                    continue;
                }
                seen.push(finding.first.time);
                let cover = policy.cover_of(&finding, &subject, site);
                let baseline =
                    past.state(|| Key::of(policy, &finding, &subject), finding.last.time);
                let alert = Alert { finding: &finding, cover, baseline, update: false };
                let desk = desk.get_or_init(|| self.desk());
                alert.record(self.pen(), desk, (&view, tagged), &around, |record| {
                    outputs.record(Record::Alert(record))
                })?;
            }
        }
        Ok(seen)
    }

    /// Returns what alerts are written with.
    pub(super) fn desk(&self) -> Desk {
        let suppressions = self.setting.site.suppressions.iter();
        let accepted = suppressions.map(|suppression| SuppressionRecord {
            reason: suppression.reason.clone(),
            until: suppression.until.clone(),
            file: suppression.file.to_string_lossy().into_owned(),
            line: suppression.line,
        });
        Desk { rules: self.rule_records(), accepted: accepted.collect() }
    }
}
