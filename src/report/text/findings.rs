//! Findings of one rule from one client to one server, summed: thousands of flows become one line.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use anstyle::Style;

use super::page::{ARROW, BOLD, DIM, Grid, Grouped, Page, counted, cut, severity_style};
use super::seen::{Seen, TEXT_MAX};
use super::{Clock, LIST_MAX};
use crate::error::Printable;
use crate::inspect::secret::Fingerprint;
use crate::packet::Timestamp;
use crate::report::record::{
    AlertRecord, EvidenceRecord, RuleRecord, Severity, SuppressionRecord, TagRecord,
};

/// Pairs of client and server that are kept apart, over all rules; the rest counts in its rule's
/// totals. A pair of a hostile client takes some kilobytes, so this bounds a report at some 30 MB.
const PAIRS_MAX: usize = 8_192;

/// Pairs that each rule has room for, whatever others took: a flood of what matters little hides nothing.
const PAIRS_OF_RULE_MIN: usize = 64;

/// Findings of a live run that wait for their final count.
const OPEN_MAX: usize = 65_536;

/// Secrets shown of one pair.
const SECRETS_SHOWN: usize = 4;

/// All findings of a run.
#[derive(Default)]
pub(super) struct Findings {
    rules: BTreeMap<String, Group>,
    suppressed: BTreeMap<(String, Pair), Suppressed>,
    unchanged: u64,
    /// All that suppressions accept, beyond what is kept of them too.
    accepted: u64,
    /// Counts that went out before they were final, by flow and rule.
    open: HashMap<(u64, u32), u64>,
    pairs: usize,
}

/// Who sent to whom.
type Pair = (IpAddr, SocketAddr);

/// The findings of one rule.
struct Group {
    rule: RuleRecord,
    severity: Severity,
    sum: Sum,
    services: BTreeSet<String>,
    /// Boxed: the map may grow without moving them.
    pairs: HashMap<Pair, Box<PairSum>, foldhash::fast::RandomState>,
    beyond: Sum,
    /// What was missed, of rules that are about flows which were not seen.
    missed: Vec<String>,
}

/// Findings and how often they count.
#[derive(Default, Clone, Copy)]
struct Sum {
    flows: u64,
    count: u64,
}

/// The findings of one rule, client and server.
struct PairSum {
    sum: Sum,
    first: Timestamp,
    last: Timestamp,
    secrets: Seen<Fingerprint>,
    secret_word: &'static str,
    requests: Seen<String>,
    /// Clients that a proxy named.
    forwarded_for: Seen<String>,
    agents: Seen<String>,
    issuers: Seen<String>,
    users: Seen<String>,
    notes: Seen<String>,
}

/// Suppressed findings of one rule, client and server.
struct Suppressed {
    sum: Sum,
    suppression: SuppressionRecord,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.flows += other.flows;
        self.count += other.count;
    }
}

impl Findings {
    /// Counts an alert; tells whether it is the first of its rule, client and server.
    ///
    /// A live run tells each flow's finding twice: at once, and when its count is final.
    pub(super) fn add(&mut self, alert: &AlertRecord<'_>, live: bool) -> bool {
        let sum = self.settled(alert, live);
        let pair = (alert.envelope.initiator.ip(), alert.envelope.responder);
        if let Some(suppression) = alert.suppression {
            self.accepted += sum.flows;
            let key = (alert.rule.id.clone(), pair);
            if self.suppressed.len() < PAIRS_MAX || self.suppressed.contains_key(&key) {
                let known = self.suppressed.entry(key).or_insert_with(|| Suppressed {
                    sum: Sum::default(),
                    suppression: suppression.clone(),
                });
                known.sum.add(sum);
            }
            return false;
        }
        if alert.baseline == Some(super::BaselineState::Unchanged) {
            self.unchanged += sum.flows;
            return false;
        }
        let group = match self.rules.get_mut(&alert.rule.id) {
            Some(group) => group,
            None => {
                self.rules.entry(alert.rule.id.clone()).or_insert_with(|| Group::new(alert.rule))
            }
        };
        group.severity = group.severity.max(alert.severity);
        group.sum.add(sum);
        if let Some(service) = alert.tag.service
            && group.services.len() < LIST_MAX
            && !group.services.contains(service)
        {
            group.services.insert(service.to_owned());
        }
        if alert.row.is_some() {
            let detail = alert.evidence.iter().find_map(|seen| seen.detail);
            if let Some(detail) = detail.filter(|_| group.missed.len() < LIST_MAX) {
                group.missed.push(detail.to_owned());
            }
            return false;
        }
        let is_full = self.pairs >= PAIRS_MAX && group.pairs.len() >= PAIRS_OF_RULE_MIN;
        match group.pairs.entry(pair) {
            Entry::Occupied(mut known) => {
                known.get_mut().add(alert, sum);
                false
            }
            Entry::Vacant(_) if is_full => {
                group.beyond.add(sum);
                false
            }
            Entry::Vacant(new) => {
                self.pairs += 1;
                new.insert(Box::new(PairSum::new(alert))).add(alert, sum);
                true
            }
        }
    }

    /// Returns what an alert adds to the sums: of an update, only what was not counted before.
    fn settled(&mut self, alert: &AlertRecord<'_>, live: bool) -> Sum {
        let key = (alert.envelope.flow_id, alert.rule.signature_id);
        if alert.update {
            let before = self.open.remove(&key);
            let flows = u64::from(before.is_none());
            return Sum { flows, count: alert.count.saturating_sub(before.unwrap_or(0)) };
        }
        if live && self.open.len() < OPEN_MAX {
            self.open.insert(key, alert.count);
        }
        Sum { flows: 1, count: alert.count }
    }

    /// Returns how many findings count.
    pub(super) fn total(&self) -> u64 {
        self.rules.values().map(|group| group.sum.flows).sum()
    }

    /// Returns how many rules are broken, and how many of each severity, the gravest first.
    pub(super) fn by_severity(&self) -> Vec<(Severity, u64)> {
        let count = |severity| {
            let same = self.rules.values().filter(|group| group.severity == severity);
            u64::try_from(same.count()).unwrap_or(u64::MAX)
        };
        let counts = Severity::ALL.into_iter().map(|severity| (severity, count(severity)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Writes every rule that was broken, the gravest first.
    pub(super) fn write(&self, page: &mut Page, clock: Clock) {
        let mut groups: Vec<_> = self.rules.values().collect();
        groups.sort_by(|a, b| {
            (b.severity, b.sum.flows, &a.rule.id).cmp(&(a.severity, a.sum.flows, &b.rule.id))
        });
        for group in groups {
            page.blank();
            group.write(page, clock);
        }
    }

    /// Returns how many findings the baseline has.
    pub(super) fn unchanged(&self) -> u64 {
        self.unchanged
    }

    /// Returns how many findings suppressions accept.
    pub(super) fn suppressed(&self) -> u64 {
        self.accepted
    }

    /// Writes what was found and accepted before.
    pub(super) fn write_accepted(&self, page: &mut Page) {
        if !self.suppressed.is_empty() {
            page.heading("Suppressed", &counted(self.accepted, "finding"));
            for ((rule, pair), known) in self.suppressed.iter().take(LIST_MAX) {
                let Suppressed { sum, suppression } = known;
                let line = format!(
                    "{rule}: {}, {} in {}",
                    ends(*pair),
                    counted(sum.count, "time"),
                    counted(sum.flows, "flow")
                );
                page.paragraph(2, &line);
                let place = match (suppression.file.as_str(), suppression.line) {
                    ("", _) => String::new(),
                    (file, line) => format!(" ({file}:{line})"),
                };
                page.paragraph(
                    6,
                    &format!("until {}: {}{place}", suppression.until, suppression.reason),
                );
            }
            more(page, self.suppressed.len());
        }
        if self.unchanged > 0 {
            page.heading(
                "Baseline",
                &format!("{} known before", counted(self.unchanged, "finding")),
            );
        }
    }
}

impl Group {
    fn new(rule: &RuleRecord) -> Self {
        Self {
            rule: rule.clone(),
            severity: Severity::Info,
            sum: Sum::default(),
            services: BTreeSet::new(),
            pairs: HashMap::default(),
            beyond: Sum::default(),
            missed: Vec::new(),
        }
    }

    fn write(&self, page: &mut Page, clock: Clock) {
        let label = format!("{:<10}", self.severity.name().to_uppercase());
        page.labelled(0, &label, severity_style(self.severity), &self.rule.title);
        page.paragraph(10, &self.short());
        page.blank();
        if self.missed.is_empty() {
            self.write_pairs(page, clock);
        }
        for detail in &self.missed {
            page.paragraph(2, detail);
        }
        if !self.missed.is_empty() {
            more(page, usize::try_from(self.sum.flows).unwrap_or(usize::MAX));
        }
        page.blank();
        page.line(2, BOLD, "What to do");
        page.block(4, &self.rule.remedy);
        page.labelled(2, "Source: ", DIM, &self.rule.source);
    }

    /// Says in one sentence how often the rule was broken, by how many, and where.
    fn short(&self) -> String {
        if !self.missed.is_empty() {
            return format!("{}: {} missed", self.rule.id, counted(self.sum.flows, "flow"));
        }
        let clients: BTreeSet<_> = self.pairs.keys().map(|(client, _)| client).collect();
        let secrets: BTreeSet<_> =
            self.pairs.values().flat_map(|pair| &pair.secrets.values).collect();
        let at_least = |yes: bool| if yes { "at least " } else { "" };
        let beyond = self.beyond.flows > 0;
        let mut text = format!(
            "{}: {} in {} by {}{}",
            self.rule.id,
            counted(self.sum.count, "time"),
            counted(self.sum.flows, "flow"),
            at_least(beyond),
            counted(clients.len() as u64, "client"),
        );
        if !secrets.is_empty() {
            let word =
                self.pairs.values().map(|pair| pair.secret_word).filter(|w| *w != "secret").min();
            let least = at_least(beyond || self.pairs.values().any(|pair| pair.secrets.beyond));
            let secrets = counted(secrets.len() as u64, word.unwrap_or("secret"));
            text = format!("{text} with {least}{secrets}");
        }
        if !self.services.is_empty() {
            let services: Vec<_> = self.services.iter().map(String::as_str).collect();
            text = format!("{text} on {}", services.join(", "));
        }
        text
    }

    fn write_pairs(&self, page: &mut Page, clock: Clock) {
        let mut pairs: Vec<_> = self.pairs.iter().collect();
        pairs.sort_by_key(|(pair, known)| (std::cmp::Reverse(known.sum.count), **pair));
        let shown = &pairs[..pairs.len().min(LIST_MAX)];
        let mut senders: BTreeMap<Fingerprint, BTreeSet<IpAddr>> = BTreeMap::new();
        for ((client, _), known) in &pairs {
            for secret in &known.secrets.values {
                senders.entry(*secret).or_default().insert(*client);
            }
        }
        let mut grid = Grid::new(["client -> server", "times", "flows", "first", "last"]);
        for (pair, known) in shown {
            grid.row(
                Style::new(),
                [
                    ends(**pair),
                    Grouped(known.sum.count).to_string(),
                    Grouped(known.sum.flows).to_string(),
                    clock.show(known.first),
                    clock.show(known.last),
                ],
            );
            grid.details(known.details(pair.0, &senders));
        }
        page.table(2, grid);
        let rest = pairs[shown.len()..].iter().fold(self.beyond, |mut sum, (_, known)| {
            sum.add(known.sum);
            sum
        });
        if rest.flows > 0 {
            let pairs_left = (pairs.len() - shown.len()) as u64;
            let least = if self.beyond.flows > 0 { "at least " } else { "" };
            let line = format!(
                "… and {least}{} more: {} in {}",
                Grouped(pairs_left.max(1)),
                counted(rest.count, "time"),
                counted(rest.flows, "flow"),
            );
            page.paragraph(2, &line);
        }
    }
}

impl PairSum {
    fn new(alert: &AlertRecord<'_>) -> Self {
        Self {
            sum: Sum::default(),
            first: alert.first_seen,
            last: alert.last_seen,
            secrets: Seen::default(),
            secret_word: "secret",
            requests: Seen::default(),
            forwarded_for: Seen::default(),
            agents: Seen::default(),
            issuers: Seen::default(),
            users: Seen::default(),
            notes: Seen::default(),
        }
    }

    fn add(&mut self, alert: &AlertRecord<'_>, sum: Sum) {
        self.sum.add(sum);
        self.first = self.first.min(alert.first_seen);
        self.last = self.last.max(alert.last_seen);
        let TagRecord { initiator_zone, responder_zone, .. } = alert.tag;
        if let (Some(from), Some(to)) = (initiator_zone, responder_zone) {
            self.notes.add_text(&["zone ", from, " to ", to]);
        }
        for evidence in &alert.evidence {
            self.add_evidence(evidence);
        }
    }

    fn add_evidence(&mut self, evidence: &EvidenceRecord<'_>) {
        for known in &evidence.fingerprints {
            self.secret_word = secret_word(evidence.kind);
            self.secrets.add(known.fingerprint);
        }
        self.secrets.beyond |= evidence.fingerprints_beyond > 0;
        self.notes.add_text(&[evidence.detail.unwrap_or_default()]);
        self.users.add_text(&[evidence.user.unwrap_or_default()]);
        if let Some(http) = evidence.http {
            let gap = if http.method.is_empty() { "" } else { " " };
            self.requests.add_text(&[http.method, gap, http.host, http.path]);
            self.forwarded_for.add_text(&[http.forwarded_for]);
            self.agents.add_text(&[http.user_agent]);
        }
        if let Some(jwt) = evidence.jwt {
            self.issuers.add_text(&[jwt.iss]);
        }
    }

    /// Returns what else there is to say of the pair.
    fn details(
        &self,
        client: IpAddr,
        senders: &BTreeMap<Fingerprint, BTreeSet<IpAddr>>,
    ) -> Vec<String> {
        let mut details: Vec<String> = self.requests.shown("").into_iter().collect();
        for secret in self.secrets.values.iter().take(SECRETS_SHOWN) {
            let mut others = senders[secret].iter().filter(|sender| **sender != client);
            let shared = match (others.next(), others.count()) {
                (None, _) => String::new(),
                (Some(one), 0) => format!(", also from {one}"),
                (Some(one), more) => format!(", also from {one} and {more} more"),
            };
            details.push(format!("{} {secret}{shared}", self.secret_word));
        }
        details.extend(self.secrets.more_than(SECRETS_SHOWN).map(|more| format!("and {more}")));
        details.extend(self.notes.values.iter().cloned());
        details.extend(self.users.shown("user "));
        details.extend(self.forwarded_for.shown("on behalf of "));
        details.extend(self.issuers.shown("issued by "));
        details.extend(self.agents.shown("agent "));
        details
    }
}

/// Returns what a kind of evidence calls its secrets.
fn secret_word(kind: &str) -> &'static str {
    match kind {
        "bearer-token" | "token-issued" | "backend-jwt" | "jwt-unsigned" | "token-expired" => {
            "token"
        }
        "api-key" | "internal-key" => "key",
        "session-cookie" => "cookie",
        _ => "secret",
    }
}

/// Shows who sent to whom.
pub(super) fn ends((client, server): Pair) -> String {
    format!("{client}{ARROW}{server}")
}

/// Says how many items of a list were not shown.
pub(super) fn more(page: &mut Page, len: usize) {
    if len > LIST_MAX {
        page.paragraph(2, &format!("… and {} more", Grouped((len - LIST_MAX) as u64)));
    }
}

/// Shows one alert on one line, for a live run.
pub(super) fn live_line(alert: &AlertRecord<'_>, clock: Clock) -> String {
    let request = alert
        .evidence
        .iter()
        .find_map(|evidence| evidence.http)
        .map(|http| format!("  {} {}{}", http.method, http.host, cut(http.path, TEXT_MAX)));
    let line = format!(
        "{}  {:<8}  {}  {}{}",
        clock.show(alert.first_seen),
        alert.severity.name(),
        ends((alert.envelope.initiator.ip(), alert.envelope.responder)),
        alert.rule.title,
        request.unwrap_or_default(),
    );
    Printable(&line).to_string()
}
