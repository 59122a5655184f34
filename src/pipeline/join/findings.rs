//! Every flow judged, and the findings as published.

use std::collections::BTreeSet;

use super::view::View;
use super::{Carried, Join, Place};
use crate::error::Result;
use crate::packet::{At, Timestamp};
use crate::pipeline::outputs::Outputs;
use crate::policy::{Cover, EvidenceNote, Finding, Severity, Subject, Trigger};
use crate::report::community_id::flow_id;
use crate::report::record::{AlertRecord, EvidenceRecord, Record, RuleRecord, SuppressionRecord};
use crate::report::summary::RuleTotals;
use crate::report::timeline::{Timeline, TimelineBuilder};
use crate::site::Site;

/// All findings of a run, in the order of their flows.
#[derive(Default)]
pub(super) struct Findings {
    all: Vec<Judged>,
    /// Suppressions that would have covered a finding and are over.
    expired: BTreeSet<usize>,
}

/// A finding and the flow that it is about.
struct Judged {
    /// The flow: an index into the join's places.
    flow: usize,
    finding: Finding,
    suppression: Option<usize>,
    /// An alert went out for it before.
    update: bool,
}

impl Findings {
    /// Returns the gravest severity of what nobody accepted.
    fn worst(&self) -> Option<Severity> {
        let open = self.all.iter().filter(|judged| judged.suppression.is_none());
        open.map(|judged| judged.finding.severity).max()
    }

    /// Returns a warning for each suppression that is over and would have covered something.
    fn expired<'s>(&'s self, site: &'s Site) -> impl Iterator<Item = String> + 's {
        self.expired.iter().map(|index| {
            let suppression = &site.suppressions[*index];
            format!(
                "{}:{}: the suppression of {} ended on {} and no longer covers what was found",
                suppression.file.display(),
                suppression.line,
                suppression.rule,
                suppression.until
            )
        })
    }
}

impl Join<'_> {
    /// Asks the policy about every flow.
    pub(super) fn judge(&self) -> Findings {
        let (mut findings, mut of_flow) = (Findings::default(), Vec::new());
        for flow in 0..self.places.len() {
            let view = self.view(&self.places[flow]);
            let subject = self.subject(flow, &view);
            self.setting.policy.judge(&subject, self.setting.site, &mut of_flow);
            for finding in of_flow.drain(..) {
                let suppression =
                    match self.setting.policy.cover_of(&finding, &subject, self.setting.site) {
                        Cover::None => None,
                        Cover::By(index) => Some(index),
                        Cover::Expired(index) => {
                            findings.expired.insert(index);
                            None
                        }
                    };
                findings.all.push(Judged { flow, finding, suppression, update: false });
            }
        }
        findings
    }

    fn subject<'s>(&'s self, flow: usize, view: &View<'s>) -> Subject<'s> {
        let tagged = self.tags.tagged(self.tag_of[flow]);
        let (initiator, responder) = (view.initiator(), view.responder());
        let site = self.setting.site;
        Subject {
            catalog: self.setting.catalog,
            initiator,
            responder,
            initiator_known: view.direction.known,
            transport: view.transport(),
            tag: &tagged.tag,
            heard: view.heard,
            facts: view.facts,
            encrypted: view.encrypted(),
            established: view.is_established(),
            host_is_product: self.hosts.is_product(responder.ip()),
            initiator_zone: site.zone_of(initiator.ip()),
            responder_zone: site.zone_of(responder.ip()),
            first: view.flow.first,
            last: At { frame: view.flow.first.frame, time: view.flow.last },
        }
    }

    /// Writes every finding, in the order of the flows.
    pub(super) fn write_alerts(&self, findings: &Findings, outputs: &mut Outputs) -> Result<()> {
        let rules = self.rule_records();
        let accepted: Vec<SuppressionRecord> = self
            .setting
            .site
            .suppressions
            .iter()
            .map(|suppression| SuppressionRecord {
                reason: suppression.reason.clone(),
                until: suppression.until.clone(),
                file: suppression.file.to_string_lossy().into_owned(),
                line: suppression.line,
            })
            .collect();
        for judged in &findings.all {
            let place = &self.places[judged.flow];
            let view = self.view(place);
            let around = self.around(place, &view);
            let finding = &judged.finding;
            let mut envelope = self.envelope(&view, &around);
            envelope.timestamp = finding.first.time;
            let record = AlertRecord {
                envelope,
                tag: self.tag_record(&view, self.tags.tagged(self.tag_of[judged.flow])),
                rule: &rules[finding.rule],
                severity: finding.severity,
                count: finding.count,
                update: judged.update,
                first_frame: self.frame_in_file(finding.first.frame, &view),
                first_seen: finding.first.time,
                last_seen: finding.last.time,
                evidence: self.evidence(place, &view, finding),
                suppression: judged.suppression.map(|index| &accepted[index]),
                baseline: None,
            };
            outputs.record(Record::Alert(&record))?;
        }
        Ok(())
    }

    fn evidence<'f>(
        &self,
        _place: &Place,
        view: &View<'f>,
        finding: &'f Finding,
    ) -> Vec<EvidenceRecord<'f>> {
        let record = |note: &'f EvidenceNote| match note {
            EvidenceNote::Seen(kind) => {
                let evidence = view.facts?.evidence.iter().find(|one| one.kind == *kind)?;
                let frame = self.frame_in_file(evidence.first.frame, view);
                Some(EvidenceRecord::of(evidence, frame))
            }
            EvidenceNote::Note(note) => {
                let frame = self.frame_in_file(note.first.frame, view);
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

    fn rule_records(&self) -> Vec<RuleRecord> {
        let rules = self.setting.policy.rules().iter();
        rules
            .map(|rule| RuleRecord {
                id: rule.id.clone(),
                kind: rule.kind.name().to_owned(),
                title: rule.title.clone(),
                severity: rule.severity,
                signature_id: rule.signature_id,
                file: rule.file.clone(),
                line: rule.line,
                source: rule.source.clone(),
                remedy: rule.remedy.clone(),
            })
            .collect()
    }

    /// Keeps of findings that may go out at once those that did not yet, and notes that they did; returns
    /// when each was seen.
    pub(super) fn keep_new(
        &self,
        findings: &mut Findings,
        carried: &mut Carried,
    ) -> Vec<Timestamp> {
        let mut seen = Vec::new();
        findings.all.retain(|judged| {
            // What speaks against its port may yet turn out to be at home there.
            let is_sure = judged.finding.kind.trigger() != Trigger::Mismatch;
            let rule = &self.setting.policy.rules()[judged.finding.rule].id;
            let is_new = is_sure && carried.tell(self.id_of(judged), judged.finding.kind, rule);
            if is_new {
                seen.push(judged.finding.first.time);
            }
            is_new
        });
        seen
    }

    /// Makes findings final: those that went out before are updates under the rule that they had, and all
    /// of them count.
    pub(super) fn settle(&self, findings: &mut Findings, carried: &mut Carried) {
        let rules = self.setting.policy.rules();
        for judged in &mut findings.all {
            if let Some(rule) = carried.told(self.id_of(judged), judged.finding.kind) {
                judged.update = true;
                let kept = rules.iter().position(|known| known.id == *rule);
                judged.finding.rule = kept.unwrap_or(judged.finding.rule);
            }
            let finding = &judged.finding;
            let initiator = self.view(&self.places[judged.flow]).initiator().ip();
            let is_open = judged.suppression.is_none();
            carried.count(&rules[finding.rule].id, initiator, finding, is_open);
        }
        carried.worst = carried.worst.max(findings.worst());
        carried.expired.extend(findings.expired(self.setting.site));
    }

    /// Returns what names a finding's flow.
    fn id_of(&self, judged: &Judged) -> u64 {
        let flow = self.places[judged.flow].flow(&self.gathered.shards);
        flow_id(&flow.key, flow.first.frame)
    }

    /// Sums the findings up by rule; rules without any are listed too.
    pub(super) fn rule_totals(&self, carried: &Carried) -> Vec<RuleTotals> {
        let skipped = self.setting.policy.rules().iter().map(|rule| rule.skipped);
        let rules = self.rule_records().into_iter().zip(skipped);
        rules
            .map(|(rule, skipped)| {
                let sums = carried.sums_of(&rule.id);
                RuleTotals {
                    rule,
                    alerts: sums.alerts,
                    count: sums.count,
                    suppressed: sums.suppressed,
                    skipped: skipped.map(str::to_owned),
                }
            })
            .collect()
    }

    /// Counts the findings over time.
    pub(super) fn timeline(&self, carried: &Carried) -> Timeline {
        let (start, end) = self.gathered.front.span.unwrap_or_default();
        let mut timeline = TimelineBuilder::new(start, end);
        carried.fill(&mut timeline);
        timeline.build()
    }
}
