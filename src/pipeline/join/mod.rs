//! The join: where the shards' results meet and become records.
//!
//! Takes flows with their facts; finds what concerns several flows, runs the policy, and gives records in
//! their published order: alerts, flows (by first frame), hosts, rows, summary. Nothing here depends on how
//! many workers there were.

mod learned;
pub mod ledger;
pub mod resolve;
pub mod totals;

mod absent;
mod across;
mod addresses;
mod alerts;
mod carried;
mod findings;
mod flows;
mod host_records;
mod hosts;
mod lines;
mod past;
mod pen;
mod places;

mod sums;
mod tags;
mod told;
mod verdict;
mod view;

use crate::capture::{InputSummary, Source};
use crate::catalog::Catalog;
use crate::error::Result;
use crate::packet::{ObservationPoint, Timestamp};
use crate::policy::{Ground, Policy};
use crate::report::record::{Record, Severity};
use crate::report::summary::{Provenance, RunRecord, Summary, Totals as TotalsRecord};
use crate::site::Site;

use super::Gathered;
use super::ledger::PointLedger;
use super::outputs::Outputs;
use across::Across;
pub use carried::Carried;
use findings::Findings;
use hosts::Hosts;
pub use past::Past;
use pen::Pen;
use places::Place;
use sums::{Scene, Summer, Sums};
use tags::{TagNumber, Tags};
use told::Told;
use view::View;

/// What the join goes by.
pub struct Setting<'a> {
    /// The port catalogue.
    pub catalog: &'a Catalog,
    /// What the user knows of the deployment.
    pub site: &'a Site,
    /// The rules.
    pub policy: &'a Policy,
    /// What an earlier run found, and what this one finds.
    pub past: &'a Past,
    /// From which severity on a finding fails the run.
    pub fail_on: Severity,
    /// The join may use a second thread.
    pub threads: bool,
    /// The user's own words for what was left out.
    pub provenance: Provenance,
}

impl<'a> Setting<'a> {
    /// Returns what matrices are judged by.
    fn ground(&self) -> Ground<'a> {
        Ground { policy: self.policy, site: self.site, catalog: self.catalog }
    }
}

/// What is said of an entry of the baseline that means nothing here.
const NOT_JUDGED_ONE: &str = "1 entry of the baseline is of a rule that this run does not judge: it is neither found nor gone";

/// Flows for which a second thread is worth its start.
const THREADS_FLOWS_MIN: usize = 8192;

/// Everything that the join looks at.
struct Join<'a> {
    gathered: &'a Gathered,
    setting: &'a Setting<'a>,
    points: &'a [ObservationPoint],
    places: Vec<Place>,
    hosts: Hosts,
    tags: Tags<'a>,
    /// One a place.
    tag_of: Vec<TagNumber>,
}

/// What one look at every flow gathers.
struct Seen {
    findings: Findings,
    across: Across,
    sums: Sums,
}

impl Seen {
    fn new(gathered: &Gathered, setting: &Setting<'_>) -> Self {
        Self {
            findings: Findings::new(setting.policy, gathered.front.span),
            across: Across::new(setting),
            sums: Sums::default(),
        }
    }
}

/// Writes the report of all that was seen, and returns its summary.
pub fn report(
    gathered: &Gathered,
    source: &dyn Source,
    setting: &Setting<'_>,
    outputs: &mut Outputs,
    run: impl FnOnce() -> Option<RunRecord>,
) -> Result<Summary> {
    report_after(Carried::default(), gathered, source, setting, outputs, run)
}

/// Writes the report of all that was seen after some flows were judged and let go, and returns its summary.
pub fn report_after(
    mut carried: Carried,
    gathered: &Gathered,
    source: &dyn Source,
    setting: &Setting<'_>,
    outputs: &mut Outputs,
    run: impl FnOnce() -> Option<RunRecord>,
) -> Result<Summary> {
    let mut join = Join::new(gathered, source.points(), setting, &mut carried);
    join.meet_hosts();
    let mut seen = carried.seen(gathered, setting);
    join.look(&mut seen, &carried.told);
    join.find_across(&mut seen);
    join.write_alerts(&seen.findings, &mut carried.told, outputs)?;
    join.write_absences(&mut seen, outputs)?;
    join.write_flows(outputs)?;
    for host in join.host_records(seen.across.disabled.proofs()) {
        outputs.record(Record::Host(&host))?;
    }
    for row in join.row_records(&seen.across) {
        outputs.record(Record::Row(&row))?;
    }
    let mut summary = join.summary(&seen, &source.inputs());
    summary.run = run();
    outputs.finish(&summary)?;
    Ok(summary)
}

impl<'a> Join<'a> {
    /// Begins with what is known of the hosts so far.
    fn new(
        gathered: &'a Gathered,
        points: &'a [ObservationPoint],
        setting: &'a Setting<'a>,
        carried: &mut Carried,
    ) -> Self {
        Self {
            gathered,
            setting,
            points,
            places: places::in_order(&gathered.shards),
            hosts: std::mem::take(&mut carried.hosts),
            tags: Tags::new(setting.catalog),
            tag_of: Vec::new(),
        }
    }

    fn scene(&self) -> Scene<'_> {
        let shards = &self.gathered.shards;
        Scene { catalog: self.setting.catalog, shards, places: &self.places }
    }

    fn pen(&self) -> Pen<'_> {
        let front = &self.gathered.front;
        Pen {
            scene: self.scene(),
            site: self.setting.site,
            decoder: &front.decoder,
            points: self.points,
            input_starts: &front.input_starts,
        }
    }

    fn view(&self, place: &Place) -> View<'a> {
        let shards = &self.gathered.shards;
        View::new(self.setting.catalog, place.flow(shards), place.facts(shards))
    }

    /// Finds out what each responder did.
    fn meet_hosts(&mut self) {
        let mut refused = Vec::new();
        for index in 0..self.places.len() {
            self.scene().load_ahead(index);
            let view = self.view(&self.places[index]);
            self.hosts.see(&view, resolve::app_proto(view.flow, view.facts));
            if view.is_refused() {
                refused.push(index);
            }
        }
        for index in refused {
            let view = self.view(&self.places[index]);
            self.hosts.see_refused(&view, self.setting.site);
        }
        self.hosts.read(self.setting.catalog, self.setting.site);
    }

    /// Says of each flow what it is, judges it, and puts it into the sums and its frames into the ledger.
    fn look(&mut self, seen: &mut Seen, told: &Told) {
        let Seen { findings, across, sums } = seen;
        across.go_on();
        self.tag_of.reserve_exact(self.places.len());
        let places = std::mem::take(&mut self.places);
        let shards = &self.gathered.shards;
        let scene = Scene { catalog: self.setting.catalog, shards, places: &places };
        std::thread::scope(|scope| {
            let is_many = places.len() >= THREADS_FLOWS_MIN;
            let mut summer = if self.setting.threads && is_many {
                Summer::start(scope, scene, sums)
            } else {
                Summer::Here { scene, sums, next: 0 }
            };
            for (flow, place) in places.iter().enumerate() {
                scene.load_ahead(flow);
                let view = scene.view(place);
                let host = self.hosts.of(view.responder().ip());
                let tag = self.tags.of(&view, host, &self.hosts.learned);
                self.tag_of.push(tag);
                let tagged = self.tags.tagged(tag);
                summer.add(tagged.tag.service().map(|candidate| candidate.service));
                self.judge(flow, &view, (tagged, host), (findings, across), told);
            }
            summer.end();
        });
        self.places = places;
    }

    fn summary(&self, seen: &Seen, inputs: &[InputSummary]) -> Summary {
        let span = self.gathered.front.span;
        let catalog = self.setting.catalog;
        let mut provenance = self.setting.provenance.clone();
        provenance.inputs = inputs.iter().map(Into::into).collect();
        let mut ledger = self.gathered.front.ledger.clone();
        ledger.add(&seen.sums.ledger);
        Summary {
            timestamp: end_of(self.gathered),
            verdict: self.verdict(seen, &ledger, inputs),
            totals: TotalsRecord {
                traffic: seen.sums.totals.all(),
                hosts: seen.sums.totals.hosts(),
                start: span.map(|(start, _)| start),
                end: span.map(|(_, end)| end),
            },
            roles: seen.sums.totals.by_role(catalog),
            services: seen.sums.totals.by_service(catalog),
            unclassified: seen.sums.totals.unclassified(),
            ledger: ledger::record(&ledger, self.points),
            zones: seen.across.zones(self.setting),
            rules: self.rule_totals(&seen.findings),
            timeline: seen.findings.timeline(),
            disabled: self.disabled_records(&seen.across),
            baseline_gone: self.setting.past.gone(|host| self.hosts.is_known(host)),
            warnings: self.warnings(seen, &ledger.total()),
            provenance,
            run: None,
        }
    }

    fn warnings(&self, seen: &Seen, total: &PointLedger) -> Vec<String> {
        let decoder = &self.gathered.front.decoder;
        let mut warnings: Vec<String> = nothing_judged(total).into_iter().collect();
        let links = decoder.unknown_links().iter();
        warnings.extend(
            links.map(|link| format!("link type {} is not read: its frames are stopped", link.0)),
        );
        if decoder.encaps_folded() > 0 {
            warnings.push(format!(
                "{} frames came in VLANs or tunnels beyond the limit: their flows may be merged",
                decoder.encaps_folded()
            ));
        }
        if self.hosts.beyond() > 0 {
            warnings.push(format!(
                "{} flows went to ports of hosts beyond the limit: these hosts are not listed, and their flows are \
                 tagged by their ports alone",
                self.hosts.beyond()
            ));
        }
        if self.hosts.unread() > 0 {
            warnings.push(format!(
                "{} hosts beyond the limit: what runs on them was not worked out, and their flows are tagged by their ports alone",
                self.hosts.unread()
            ));
        }
        if seen.across.tokens.beyond() > 0 {
            warnings.push(format!(
                "{} times a secret was presented that could not be followed any more: that several clients share one may have been missed",
                seen.across.tokens.beyond()
            ));
        }
        if seen.sums.totals.has_more_addresses() {
            warnings.push(
                "more than a million different addresses: there are at least so many clients and hosts as is said"
                    .to_owned(),
            );
        }
        warnings.extend(seen.findings.expired(self.setting.site));
        if self.setting.past.beyond() > 0 {
            warnings.push(format!(
                "{} findings are not in the new baseline, which is full: accept whole networks by suppressions instead",
                self.setting.past.beyond()
            ));
        }
        match self.setting.past.not_judged() {
            0 => {}
            1 => warnings.push(NOT_JUDGED_ONE.to_owned()),
            more => warnings.push(format!(
                "{more} entries of the baseline are of rules that this run does not judge: they are neither found nor gone"
            )),
        }
        warnings
    }
}

/// Says why there was nothing to judge, where there was nothing: that no rule was broken in it is no proof.
fn nothing_judged(total: &PointLedger) -> Option<String> {
    let why = match (total.received, total.filtered) {
        _ if total.classified + total.unclassified > 0 => return None,
        (0, _) => "no packet was read: see whether what captures works",
        (received, filtered) if received == filtered => {
            "the filter or the time span left no packet: see whether it is meant so"
        }
        _ => {
            "no packet is part of a connection or an exchange: see whether the right traffic was captured"
        }
    };
    Some(format!("nothing was judged, since {why}"))
}

/// Returns the time that a record without a time of its own bears: the run's last packet.
fn end_of(gathered: &Gathered) -> Timestamp {
    gathered.front.span.map(|(_, end)| end).unwrap_or_default()
}
