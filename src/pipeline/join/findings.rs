//! Every flow judged, and the findings as published.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::across::Across;
use super::hosts::HostFacts;
use super::records::Around;
use super::sums::LOOK_AHEAD;
use super::tags::Tagged;
use super::told::Told;
use super::view::View;
use super::{Join, Seen, Setting};
use crate::error::Result;
use crate::packet::{At, Timestamp};
use crate::pipeline::outputs::Outputs;
use crate::policy::baseline::Key;
use crate::policy::{Cover, EvidenceNote, Finding, MatrixRun, Policy, Severity, Subject, Trigger};
use crate::report::record::{
    AlertRecord, BaselineState, EvidenceRecord, Record, RuleRecord, SuppressionRecord,
};
use crate::report::summary::{NotExercised, RuleTotals};
use crate::report::timeline::{Timeline, TimelineBuilder};
use crate::site::Site;

/// What is remembered of the findings while flows are looked at. Not the findings themselves: a policy
/// holds no state, so that a flow judged again has the same ones, and a million flows may have some.
pub(super) struct Findings {
    /// Flows with findings: indices into the join's places.
    flows: Vec<u32>,
    /// The gravest of what nobody accepted.
    worst: Option<Severity>,
    by_rule: Vec<Sum>,
    timeline: TimelineBuilder,
    /// Suppressions that would have covered a finding and are over.
    expired: BTreeSet<usize>,
    /// Suppressions that covered a finding.
    used: BTreeSet<usize>,
    /// Findings that only several flows show, by flow.
    across: BTreeMap<usize, Vec<Finding>>,
    /// Room for the findings of the flow at hand.
    of_flow: Vec<Finding>,
}

/// The findings of one rule.
#[derive(Default, Clone, Copy)]
struct Sum {
    alerts: u64,
    count: u64,
    suppressed: u64,
}

impl Findings {
    /// Begins without any.
    pub(super) fn new(policy: &Policy, span: Option<(Timestamp, Timestamp)>) -> Self {
        let (start, end) = span.unwrap_or_default();
        Self {
            flows: Vec::new(),
            worst: None,
            by_rule: vec![Sum::default(); policy.rules().len()],
            timeline: TimelineBuilder::new(start, end),
            expired: BTreeSet::new(),
            used: BTreeSet::new(),
            across: BTreeMap::new(),
            of_flow: Vec::new(),
        }
    }

    /// Prepares for other flows, up to another time.
    pub(super) fn go_on(&mut self, span: Option<(Timestamp, Timestamp)>) {
        let (start, end) = span.unwrap_or_default();
        self.flows.clear();
        self.timeline.widen(start, end);
    }

    /// Takes over the sums by the rules of one policy into those by another; a rule that is gone takes
    /// its sums with it.
    pub(super) fn renumber(&mut self, from: &Policy, to: &Policy) {
        let old = std::mem::take(&mut self.by_rule);
        let known: HashMap<&str, Sum> =
            from.rules().iter().map(|rule| rule.id.as_str()).zip(old).collect();
        let rules = to.rules().iter();
        self.by_rule =
            rules.map(|rule| known.get(rule.id.as_str()).copied().unwrap_or_default()).collect();
        // Their numbers mean the old site's suppressions.
        self.expired.clear();
        self.used.clear();
    }

    /// Returns the gravest severity of what nobody accepted.
    pub(super) fn worst(&self) -> Option<Severity> {
        self.worst
    }

    pub(super) fn add(&mut self, finding: &Finding, cover: Cover) {
        let sum = &mut self.by_rule[finding.rule];
        match cover {
            Cover::By(index) => {
                sum.suppressed += 1;
                self.used.insert(index);
            }
            Cover::None | Cover::Expired(_) => {
                sum.alerts += 1;
                sum.count += finding.count;
                self.worst = self.worst.max(Some(finding.severity));
            }
        }
        if let Cover::Expired(index) = cover {
            self.expired.insert(index);
        }
    }

    /// Returns the counts over time.
    pub(super) fn timeline(&self) -> Timeline {
        self.timeline.clone().build()
    }

    /// Returns the suppressions that covered nothing, though their rules were judged.
    pub(super) fn unused<'s>(
        &'s self,
        policy: &'s Policy,
        site: &'s Site,
    ) -> impl Iterator<Item = NotExercised> + 's {
        let judged = policy.rules().iter().filter(|rule| rule.skipped.is_none());
        let judged: BTreeSet<&str> = judged.map(|rule| rule.id.as_str()).collect();
        let all = site.suppressions.iter().enumerate();
        let idle = all.filter(move |(index, suppression)| {
            let met = self.used.contains(index) || self.expired.contains(index);
            !met && judged.contains(suppression.rule.as_str())
        });
        idle.map(|(_, it)| NotExercised {
            subject: format!("suppression of {}, {}:{}", it.rule, it.file.display(), it.line),
            detail: "it covers nothing that was found".to_owned(),
        })
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

impl<'a> Join<'a> {
    /// Asks the policy about one flow, the `flow`-th of the places.
    pub(super) fn judge(
        &self,
        flow: usize,
        view: &View<'_>,
        (tagged, host): (&Tagged<'_>, Option<&HostFacts>),
        (findings, across): (&mut Findings, &mut Across),
        told: &Told,
    ) {
        let Setting { policy, site, .. } = self.setting;
        let subject = self.subject(view, tagged, host);
        let mut of_flow = std::mem::take(&mut findings.of_flow);
        policy.judge(&subject, site, &mut of_flow);
        across.see(self.setting, flow, view, &subject, &mut of_flow);
        if !of_flow.is_empty() {
            let flow = u32::try_from(flow).expect("fewer flows than 32 bits name");
            findings.flows.push(flow);
        }
        for mut finding in of_flow.drain(..) {
            if let Some(rule) = told.rule_of(view.flow, &finding, policy) {
                finding.rule = rule;
            }
            self.note(&finding, &subject, findings);
        }
        findings.of_flow = of_flow;
    }

    /// Takes a finding into the sums.
    fn note(&self, finding: &Finding, subject: &Subject<'_>, findings: &mut Findings) {
        let Setting { policy, site, past, .. } = self.setting;
        let cover = policy.cover_of(finding, subject, site);
        let key = || Key::of(policy, finding, subject);
        if !matches!(cover, Cover::By(_)) {
            past.note(key);
        }
        if past.state(key, finding.last.time) == Some(BaselineState::Unchanged) {
            return;
        }
        findings.add(finding, cover);
        let (rule, client) = (&policy.rules()[finding.rule].id, subject.initiator.ip());
        findings.timeline.add(rule, client, finding.first.time, finding.count);
    }

    /// Adds what only several flows show.
    pub(super) fn find_across(&self, seen: &mut Seen) {
        let extra = self.across_flows(&mut seen.across);
        self.add_across(extra, &mut seen.findings);
    }

    /// Adds what only several flows show and what does not wait for the end.
    pub(super) fn find_shared(&self, seen: &mut Seen) {
        let extra = self.shared_tokens(&mut seen.across);
        self.add_across(extra, &mut seen.findings);
    }

    fn add_across(&self, extra: BTreeMap<usize, Vec<Finding>>, findings: &mut Findings) {
        for (flow, of_flow) in &extra {
            let view = self.view(&self.places[*flow]);
            let tagged = self.tags.tagged(self.tag_of[*flow]);
            let subject = self.subject(&view, tagged, self.host_of(&view));
            for finding in of_flow {
                self.note(finding, &subject, findings);
            }
            findings.flows.extend(u32::try_from(*flow));
        }
        if !extra.is_empty() {
            findings.flows.sort_unstable();
            findings.flows.dedup();
        }
        findings.across = extra;
    }

    /// Returns what is known of a flow's responder.
    fn host_of(&self, view: &View<'_>) -> Option<&HostFacts> {
        self.hosts.of(view.responder().ip())
    }

    fn subject<'s>(
        &'s self,
        view: &View<'s>,
        tagged: &'s Tagged<'_>,
        host: Option<&HostFacts>,
    ) -> Subject<'s> {
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
            answered: view.was_answered(),
            initiator_spoke: view.flow.has_payload_of(view.initiator_side()),
            host_is_product: host.is_some_and(HostFacts::is_product),
            initiator_zone: site.zone_of(initiator.ip()),
            responder_zone: site.zone_of(responder.ip()),
            first: view.flow.first,
            last: At { frame: view.flow.first.frame, time: view.flow.last },
        }
    }

    /// Writes every finding, in the order of the flows: those that went out before as updates.
    pub(super) fn write_alerts(
        &self,
        findings: &Findings,
        told: &mut Told,
        outputs: &mut Outputs,
    ) -> Result<()> {
        if findings.flows.is_empty() {
            return Ok(());
        }
        let desk = self.desk();
        let Setting { policy, site, past, .. } = self.setting;
        let mut of_flow = Vec::new();
        let ground = self.setting.ground();
        let mut matrices = MatrixRun::new(ground);
        for (index, flow) in findings.flows.iter().enumerate() {
            if index.is_multiple_of(LOOK_AHEAD) {
                let ahead = findings.flows[index..].iter().take(LOOK_AHEAD);
                self.scene().load(&ahead.map(|flow| &self.places[*flow as usize]));
            }
            let flow = *flow as usize;
            let view = self.view(&self.places[flow]);
            let tagged = self.tags.tagged(self.tag_of[flow]);
            let subject = self.subject(&view, tagged, self.host_of(&view));
            policy.judge(&subject, site, &mut of_flow);
            matrices.flow(ground, &subject, &mut of_flow);
            of_flow.extend(findings.across.get(&flow).into_iter().flatten().cloned());
            let around = self.around(&self.places[flow], &view);
            for mut finding in of_flow.drain(..) {
                let before = told.rule_of(view.flow, &finding, policy);
                finding.rule = before.unwrap_or(finding.rule);
                told.settle(view.flow, &finding);
                let cover = policy.cover_of(&finding, &subject, site);
                let baseline =
                    past.state(|| Key::of(policy, &finding, &subject), finding.last.time);
                let update = before.is_some();
                let alert = Alert { finding: &finding, cover, baseline, update };
                self.write_alert(&alert, &view, tagged, (&desk, &around), outputs)?;
            }
        }
        Ok(())
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
            let around = self.around(&place, &view);
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
                self.write_alert(&alert, &view, tagged, (desk, &around), outputs)?;
            }
        }
        Ok(seen)
    }

    fn write_alert(
        &self,
        alert: &Alert<'_>,
        view: &View<'a>,
        tagged: &Tagged<'_>,
        (desk, around): (&Desk, &Around<'a>),
        outputs: &mut Outputs,
    ) -> Result<()> {
        let finding = alert.finding;
        let suppression = match alert.cover {
            Cover::By(index) => Some(&desk.accepted[index]),
            Cover::None | Cover::Expired(_) => None,
        };
        let mut envelope = around.envelope(view);
        envelope.timestamp = finding.first.time;
        let record = AlertRecord {
            envelope,
            tag: self.tag_record(view, tagged),
            rule: &desk.rules[finding.rule],
            severity: finding.severity,
            count: finding.count,
            update: alert.update,
            first_frame: self.frame_in_file(finding.first.frame, view),
            first_seen: finding.first.time,
            last_seen: finding.last.time,
            evidence: self.evidence(view, finding),
            suppression,
            baseline: alert.baseline,
            row: None,
        };
        outputs.record(Record::Alert(&record))
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

    fn evidence<'f>(&self, view: &View<'f>, finding: &'f Finding) -> Vec<EvidenceRecord<'f>> {
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

    pub(super) fn rule_records(&self) -> Vec<RuleRecord> {
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

    /// Returns the findings by rule; rules without any are listed too.
    pub(super) fn rule_totals(&self, findings: &Findings) -> Vec<RuleTotals> {
        let skipped = self.setting.policy.rules().iter().map(|rule| rule.skipped);
        let records = self.rule_records().into_iter().zip(skipped).zip(&findings.by_rule);
        records
            .map(|((rule, skipped), sum)| RuleTotals {
                rule,
                alerts: sum.alerts,
                count: sum.count,
                suppressed: sum.suppressed,
                skipped: skipped.map(str::to_owned),
            })
            .collect()
    }
}
