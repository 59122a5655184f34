//! The join: where the shards' results meet and become records.
//!
//! Takes flows with their facts; finds what concerns several flows, runs the policy, and gives records in
//! their published order: alerts, flows (by first frame), hosts, rows, summary. Nothing here depends on how
//! many workers there were.

pub mod ledger;
pub mod resolve;
pub mod totals;

mod absent;
mod across;
mod carried;
mod findings;
mod hosts;
mod past;
mod places;
mod records;
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
use super::ledger::Ledger;
use super::outputs::Outputs;
use across::Across;
pub use carried::Carried;
use findings::Findings;
use hosts::Hosts;
pub use past::Past;
use places::Place;
use tags::{TagNumber, Tags};
use told::Told;
use totals::{Item, Totals};
use verdict::Blind;
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
    /// The user's own words for what was left out.
    pub provenance: Provenance,
}

impl<'a> Setting<'a> {
    /// Returns what matrices are judged by.
    fn ground(&self) -> Ground<'a> {
        Ground { policy: self.policy, site: self.site, catalog: self.catalog }
    }
}

/// Flows that are loaded before the first of them is looked at.
const LOOK_AHEAD: usize = 16;

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
    totals: Totals,
    ledger: Ledger,
    blind: Blind,
}

impl Seen {
    fn new(gathered: &Gathered, setting: &Setting<'_>) -> Self {
        Self {
            findings: Findings::new(setting.policy, gathered.front.span),
            across: Across::new(setting),
            totals: Totals::default(),
            ledger: Ledger::default(),
            blind: Blind::default(),
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

    /// Loads some flows and their facts at once, so that the cache misses overlap; called with each index.
    #[inline]
    fn load_ahead(&self, index: usize) {
        if index.is_multiple_of(LOOK_AHEAD) {
            let shards = &self.gathered.shards;
            let ahead = self.places[index..].iter().take(LOOK_AHEAD);
            let loaded = ahead.fold(0, |loaded, place| loaded ^ place.touch(shards));
            std::hint::black_box(loaded);
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
            self.load_ahead(index);
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
        seen.across.go_on();
        self.tag_of.reserve_exact(self.places.len());
        for flow in 0..self.places.len() {
            self.load_ahead(flow);
            let place = self.places[flow];
            let view = self.view(&place);
            let tag = self.tags.of(&view, &self.hosts);
            self.tag_of.push(tag);
            let tagged = self.tags.tagged(tag);
            let service = tagged.tag.service().map(|candidate| candidate.service);
            self.judge(flow, &view, tagged, seen, told);
            self.count_frames(&place, &view, service.is_some(), &mut seen.ledger);
            seen.blind.see(&view);
            let responder = view.responder();
            let item = Item {
                client: view.initiator().ip(),
                port: (responder.port(), view.transport()),
                app_proto: resolve::app_proto(view.flow, view.facts),
                packets: view.flow.packets_total(),
                bytes: view.flow.bytes_total(),
                handshake_ns: view.flow.handshake_ns,
            };
            seen.totals.add(&item, responder.ip(), service);
        }
    }

    /// A flow's frames may have been seen at several points.
    fn count_frames(&self, place: &Place, view: &View<'_>, classified: bool, ledger: &mut Ledger) {
        let shard = &self.gathered.shards[place.shard()];
        let mut here = view.flow.packets_total();
        let mut add = |point, frames: u64| {
            let at = ledger.point(point);
            *(if classified { &mut at.classified } else { &mut at.unclassified }) += frames;
        };
        for (point, frames) in shard.elsewhere(place.number()) {
            here = here.saturating_sub(frames);
            add(point, frames);
        }
        add(view.flow.point, here);
        if let Some(facts) = view.facts {
            let uninspected = &mut ledger.point(view.flow.point).uninspected;
            // Cut frames were counted as such when they came in.
            for reason in facts.uninspected.names().filter(|reason| *reason != "snaplen") {
                *uninspected.entry(reason).or_default() += 1;
            }
        }
    }

    fn summary(&self, seen: &Seen, inputs: &[InputSummary]) -> Summary {
        let span = self.gathered.front.span;
        let catalog = self.setting.catalog;
        let mut provenance = self.setting.provenance.clone();
        provenance.inputs = inputs.iter().map(Into::into).collect();
        let mut ledger = self.gathered.front.ledger.clone();
        ledger.add(&seen.ledger);
        Summary {
            timestamp: end_of(self.gathered),
            verdict: self.verdict(seen, &ledger, inputs),
            totals: TotalsRecord {
                traffic: seen.totals.all(),
                hosts: seen.totals.hosts(),
                start: span.map(|(start, _)| start),
                end: span.map(|(_, end)| end),
            },
            roles: seen.totals.by_role(catalog),
            services: seen.totals.by_service(catalog),
            unclassified: seen.totals.unclassified(),
            ledger: ledger::record(&ledger, self.points),
            zones: seen.across.zones(self.setting),
            rules: self.rule_totals(&seen.findings),
            timeline: seen.findings.timeline(),
            baseline_gone: self.setting.past.gone(),
            warnings: self.warnings(&seen.findings),
            provenance,
            run: None,
        }
    }

    fn warnings(&self, findings: &Findings) -> Vec<String> {
        let decoder = &self.gathered.front.decoder;
        let mut warnings: Vec<String> = decoder
            .unknown_links()
            .iter()
            .map(|link| format!("link type {} is not read: its frames are stopped", link.0))
            .collect();
        if decoder.encaps_folded() > 0 {
            warnings.push(format!(
                "{} frames came in VLANs or tunnels beyond the limit: their flows may be merged",
                decoder.encaps_folded()
            ));
        }
        warnings.extend(findings.expired(self.setting.site));
        warnings
    }

    /// Returns a frame's number in its own input file, counted from 1.
    fn frame_in_file(&self, running: u64, view: &View<'_>) -> u64 {
        let input = self.points.get(usize::from(view.flow.point.0)).map_or(0, |point| point.input);
        let starts = &self.gathered.front.input_starts;
        // The flow may have begun in an earlier file than the one in which the frame was.
        let start = starts[input as usize..].iter().rfind(|start| **start <= running);
        running - start.copied().unwrap_or(1) + 1
    }
}

/// Returns the time that a record without a time of its own bears: the run's last packet.
fn end_of(gathered: &Gathered) -> Timestamp {
    gathered.front.span.map(|(_, end)| end).unwrap_or_default()
}
