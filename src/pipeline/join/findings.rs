//! Every flow judged, and the findings as published.

use std::collections::BTreeSet;

use super::tags::Tagged;
use super::view::View;
use super::{Join, Place, Setting};
use crate::error::Result;
use crate::packet::At;
use crate::pipeline::outputs::Outputs;
use crate::policy::{Cover, EvidenceNote, Finding, Severity, Subject};
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
    /// Room for the findings of the flow at hand.
    of_flow: Vec<Finding>,
}

/// A finding and the flow that it is about.
struct Judged {
    /// The flow: an index into the join's places.
    flow: usize,
    finding: Finding,
    suppression: Option<usize>,
}

impl Findings {
    /// Returns the gravest severity of what nobody accepted.
    pub(super) fn worst(&self) -> Option<Severity> {
        let open = self.all.iter().filter(|judged| judged.suppression.is_none());
        open.map(|judged| judged.finding.severity).max()
    }

    /// Returns a warning for each suppression that is over and would have covered something.
    pub(super) fn expired<'s>(&'s self, site: &'s Site) -> impl Iterator<Item = String> + 's {
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

impl<'a> Join<'a> {
    /// Asks the policy about one flow, the `flow`-th of the places.
    pub(super) fn judge(
        &self,
        flow: usize,
        view: &View<'_>,
        tagged: &Tagged<'_>,
        findings: &mut Findings,
    ) {
        let Setting { policy, site, .. } = self.setting;
        let subject = self.subject(view, tagged);
        let mut of_flow = std::mem::take(&mut findings.of_flow);
        policy.judge(&subject, site, &mut of_flow);
        for finding in of_flow.drain(..) {
            let suppression = match policy.cover_of(&finding, &subject, site) {
                Cover::None => None,
                Cover::By(index) => Some(index),
                Cover::Expired(index) => {
                    findings.expired.insert(index);
                    None
                }
            };
            findings.all.push(Judged { flow, finding, suppression });
        }
        findings.of_flow = of_flow;
    }

    fn subject<'s>(&'s self, view: &View<'s>, tagged: &'s Tagged<'_>) -> Subject<'s> {
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
                update: false,
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

    /// Sums the findings up by rule; rules without any are listed too.
    pub(super) fn rule_totals(&self, findings: &Findings) -> Vec<RuleTotals> {
        let skipped = self.setting.policy.rules().iter().map(|rule| rule.skipped);
        let mut totals: Vec<RuleTotals> = self
            .rule_records()
            .into_iter()
            .zip(skipped)
            .map(|(rule, skipped)| RuleTotals {
                rule,
                alerts: 0,
                count: 0,
                suppressed: 0,
                skipped: skipped.map(str::to_owned),
            })
            .collect();
        for judged in &findings.all {
            let totals = &mut totals[judged.finding.rule];
            if judged.suppression.is_some() {
                totals.suppressed += 1;
            } else {
                totals.alerts += 1;
                totals.count += judged.finding.count;
            }
        }
        totals
    }

    /// Counts the findings over time.
    pub(super) fn timeline(&self, findings: &Findings) -> Timeline {
        let (start, end) = self.gathered.front.span.unwrap_or_default();
        let mut timeline = TimelineBuilder::new(start, end);
        for judged in &findings.all {
            let finding = &judged.finding;
            let initiator = self.view(&self.places[judged.flow]).initiator().ip();
            let rule = &self.setting.policy.rules()[finding.rule].id;
            timeline.add(rule, initiator, finding.first.time, finding.count);
        }
        timeline.build()
    }
}
