//! Every flow judged, and what the findings add up to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::across::Across;
use super::hosts::HostFacts;
use super::tags::Tagged;
use super::told::Told;
use super::view::View;
use super::{Join, Seen, Setting};
use crate::packet::{At, Timestamp};
use crate::policy::baseline::Key;
use crate::policy::{Cover, Finding, Ground, Policy, Severity, Subject};
use crate::report::record::{BaselineState, RuleRecord};
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

    /// Returns the flows with findings: indices into the join's places, in order.
    pub(super) fn flows(&self) -> &[u32] {
        &self.flows
    }

    /// Returns what only several flows show, by the flow that it is reported with.
    pub(super) fn across(&self, flow: usize) -> &[Finding] {
        self.across.get(&flow).map_or(&[], Vec::as_slice)
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

impl Join<'_> {
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
    pub(super) fn host_of(&self, view: &View<'_>) -> Option<&HostFacts> {
        self.hosts.of(view.responder().ip())
    }

    pub(super) fn subject<'s>(
        &'s self,
        view: &View<'s>,
        tagged: &'s Tagged<'_>,
        host: Option<&HostFacts>,
    ) -> Subject<'s> {
        subject(self.setting.ground(), view, tagged, host)
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

/// Returns a flow as rules see it.
pub(super) fn subject<'s>(
    ground: Ground<'s>,
    view: &View<'s>,
    tagged: &'s Tagged<'_>,
    host: Option<&HostFacts>,
) -> Subject<'s> {
    let (initiator, responder) = (view.initiator(), view.responder());
    let site = ground.site;
    Subject {
        catalog: ground.catalog,
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
