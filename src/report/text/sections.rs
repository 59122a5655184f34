//! What a report says beside its findings: the verdict, the traffic, the ledger, where it came from.

use std::collections::{BTreeMap, BTreeSet};

use anstyle::{AnsiColor, Style};

use super::findings::more;
use super::page::{ARROW, BOLD, Bytes, DIM, Grid, Grouped, Page, counted, prose};
use super::{Clock, LIST_MAX};
use crate::policy::NO_ZONES;
use crate::report::record::{HostRecord, PortRecord, RowRecord, RowStatus};
use crate::report::summary::{Ledger, Rtt, Summary, Traffic, ZONES_UNKNOWN, ZonePair};
use crate::report::time::{Readable, Span};

/// Zones that a matrix can show side by side; more become a list.
const ZONES_ACROSS_MAX: usize = 12;

/// Ports shown of one host and state.
const PORTS_SHOWN: usize = 12;

/// Writes what the baseline has and the run does not.
pub(super) fn baseline_gone(page: &mut Page, summary: &Summary) {
    let gone = &summary.baseline_gone;
    if gone.is_empty() {
        return;
    }
    page.heading(
        "Gone since the baseline",
        &counted(gone.len() as u64, "entry").replace("ys", "ies"),
    );
    for entry in gone.iter().take(LIST_MAX) {
        page.paragraph(2, &entry.to_string());
    }
    more(page, gone.len());
}

/// Writes what could hide something, and what the capture did not show.
pub(super) fn not_proved(page: &mut Page, summary: &Summary) {
    let verdict = &summary.verdict;
    let skipped = skipped(summary);
    if !verdict.reasons.is_empty() {
        page.heading("Not proved", "this could hide a finding");
        for reason in &verdict.reasons {
            let mut touched = Vec::new();
            touched.extend(reason.flows.map(|flows| counted(flows, "flow")));
            touched.extend(reason.packets.map(|packets| counted(packets, "packet")));
            let label = format!("{:<12}", reason.reason);
            let touched =
                if touched.is_empty() { String::new() } else { touched.join(", ") + ": " };
            page.labelled(2, &label, BOLD, &format!("{touched}{}", reason.detail));
        }
    }
    let not_exercised = &verdict.not_exercised;
    if not_exercised.is_empty() && skipped.is_empty() {
        return;
    }
    page.heading("Not exercised", "the capture shows nothing of it, which proves nothing");
    for item in not_exercised.iter().take(LIST_MAX) {
        page.paragraph(2, &format!("{}: {}", item.subject, item.detail));
    }
    more(page, not_exercised.len());
    for (rule, why) in skipped.iter().take(LIST_MAX) {
        page.paragraph(2, &format!("{rule}: {why}"));
    }
    more(page, skipped.len());
}

/// Returns the rules that were not judged, and why; those that wait for zones are one line where none are known.
fn skipped(summary: &Summary) -> Vec<(&str, &str)> {
    let open = &summary.verdict.not_exercised;
    let folded = open.iter().any(|open| open.subject == ZONES_UNKNOWN);
    let rules = summary.rules.iter();
    rules
        .filter_map(|rule| Some((rule.rule.id.as_str(), rule.skipped.as_deref()?)))
        .filter(|(_, why)| !folded || *why != NO_ZONES)
        .collect()
}

/// Writes what was proved of the transports that are said to be off.
pub(super) fn disabled(page: &mut Page, summary: &Summary) {
    let tried: Vec<_> = summary.disabled.iter().filter(|proof| proof.flows > 0).collect();
    if tried.is_empty() {
        return;
    }
    page.heading("Declared disabled", "what attempts to reach it showed");
    for proof in tried.iter().take(LIST_MAX) {
        let style = if proof.state == "open" { BOLD } else { DIM };
        let text = format!("{proof}: {}", counted(proof.flows, "flow"));
        page.labelled(2, &format!("{:<9}", proof.state), style, &text);
    }
    more(page, tried.len());
}

/// Writes who speaks to whom by zone: a matrix, or a list where it would be too wide.
pub(super) fn zones(page: &mut Page, summary: &Summary) {
    let Some(zones) = &summary.zones else { return };
    let unjudged = counted(zones.unjudged, "flow");
    page.heading("Zones", "flows by zone, from row to column; ! not allowed, ? only tried");
    let columns: BTreeSet<&str> = zones.pairs.iter().map(|pair| pair.responder.as_str()).collect();
    let rows: BTreeSet<&str> = zones.pairs.iter().map(|pair| pair.initiator.as_str()).collect();
    let cell = |initiator: &str, responder: &str| {
        let same = |pair: &&_| is_pair(pair, initiator, responder);
        zones.pairs.iter().find(same).map_or_else(|| ".".to_owned(), zone_cell)
    };
    let mut grid = Grid::new(std::iter::once("").chain(columns.iter().copied()));
    for row in rows {
        let cells = columns.iter().map(|column| cell(row, column));
        grid.row(Style::new(), std::iter::once(row.to_owned()).chain(cells));
    }
    if columns.len() > ZONES_ACROSS_MAX || !page.try_table(2, grid) {
        for pair in &zones.pairs {
            let line = format!("{}{ARROW}{}  {}", pair.initiator, pair.responder, zone_cell(pair));
            page.line(2, Style::new(), &line);
        }
    }
    page.paragraph(2, &format!("{unjudged} with an end in no named zone: not judged"));
}

fn is_pair(pair: &ZonePair, initiator: &str, responder: &str) -> bool {
    pair.initiator == initiator && pair.responder == responder
}

fn zone_cell(pair: &ZonePair) -> String {
    let parts = [(pair.allowed, ""), (pair.violating, "!"), (pair.attempted, "?")];
    let shown: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, mark)| format!("{}{mark}", Grouped(count)))
        .collect();
    if shown.is_empty() { ".".to_owned() } else { shown.join(" ") }
}

/// Writes each matrix: what broke it or was tried row by row, the rest by its number.
pub(super) fn rows(page: &mut Page, rows: &[RowRecord]) {
    let mut packs: BTreeMap<&str, Vec<&RowRecord>> = BTreeMap::new();
    for row in rows {
        packs.entry(&row.pack).or_default().push(row);
    }
    let states =
        [RowStatus::Violated, RowStatus::Attempted, RowStatus::Satisfied, RowStatus::Unused];
    for (pack, rows) in packs {
        let of = |status| rows.iter().filter(move |row| row.status == status);
        let counts: Vec<String> = states
            .map(|status| (status, of(status).count() as u64))
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(status, count)| format!("{} {}", Grouped(count), status.name()))
            .collect();
        page.heading(
            &format!("Matrix {pack}"),
            &format!("{} of {}", prose(&counts), counted(rows.len() as u64, "row")),
        );
        for row in of(RowStatus::Violated).chain(of(RowStatus::Attempted)).take(LIST_MAX) {
            let flows = row.violated + row.attempted;
            let note = row.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
            let text = format!(
                "row {}: {} -> {} {}, {}{note}",
                row.row,
                row.initiator,
                row.responder,
                row.services,
                counted(flows, "flow")
            );
            page.labelled(2, &format!("{:<11}", row.status.name()), BOLD, &text);
        }
        for status in [RowStatus::Satisfied, RowStatus::Unused] {
            let names: Vec<&str> = of(status).map(|row| row.row.as_str()).collect();
            if !names.is_empty() {
                let label = format!("{:<11}", status.name());
                let noun = if names.len() == 1 { "row" } else { "rows" };
                page.labelled(2, &label, DIM, &format!("{noun} {}", names.join(", ")));
            }
        }
    }
}

/// Writes flows by role and service.
pub(super) fn services(page: &mut Page, summary: &Summary) {
    let titles =
        ["service", "spoken", "flows", "packets", "bytes", "clients", "p50", "p90", "p99", "max"];
    let mut grid = Grid::new(titles).left(&["spoken"]).optional(&["max", "p90", "spoken"]);
    let mut row = |style, name: String, spoken: String, traffic: &Traffic, rtt: Option<&Rtt>| {
        let span = |of: fn(&Rtt) -> u64| {
            rtt.map_or_else(|| "-".to_owned(), |rtt| Span(of(rtt)).to_string())
        };
        grid.row(
            style,
            [
                name,
                spoken,
                Grouped(traffic.flows).to_string(),
                Grouped(traffic.packets).to_string(),
                Bytes(traffic.bytes).to_string(),
                Grouped(traffic.clients).to_string(),
                span(|rtt| rtt.p50_ns),
                span(|rtt| rtt.p90_ns),
                span(|rtt| rtt.p99_ns),
                span(|rtt| rtt.max_ns),
            ],
        );
    };
    for role in &summary.roles {
        row(BOLD, role.role.clone(), String::new(), &role.traffic, role.rtt.as_ref());
        for service in summary.services.iter().filter(|service| service.role == role.role) {
            let name = format!("  {} {}", service.ports.join(", "), service.name);
            row(
                Style::new(),
                name,
                service.app_protos.join(", "),
                &service.traffic,
                service.rtt.as_ref(),
            );
        }
    }
    if summary.unclassified.flows > 0 {
        row(BOLD, "(no service)".to_owned(), String::new(), &summary.unclassified, None);
    }
    row(BOLD, "all flows".to_owned(), String::new(), &summary.totals.traffic, None);
    page.heading("Services", "p50 to max are handshake round-trip times");
    page.table(2, grid);
}

/// Writes what each responder runs, and what its ports did.
pub(super) fn hosts(page: &mut Page, hosts: &[HostRecord], beyond: u64, plain: u64) {
    if hosts.is_empty() && plain == 0 {
        return;
    }
    page.heading("Hosts", "");
    for host in hosts {
        let mut facts = Vec::new();
        facts.extend(host.name.clone());
        facts.extend(host.zone.as_ref().map(|zone| format!("zone {zone}")));
        facts.push(match host.products.as_slice() {
            [] => "no product fits".to_owned(),
            [product] => product.clone(),
            [product, others @ ..] => {
                format!("{product} or {}", counted(others.len() as u64, "other"))
            }
        });
        facts.extend(host.offset.map(|offset| format!("offset {offset}")));
        facts.push(match host.confidence {
            "declared" => "as the site file says".to_owned(),
            confidence => format!("confidence {confidence}"),
        });
        page.labelled(2, &format!("{}  ", host.address), BOLD, &facts.join(", "));
        let ports = &host.ports;
        for (label, ports) in [
            ("answered    ", &ports.answered),
            ("refused     ", &ports.refused),
            ("never seen  ", &ports.never_seen),
        ] {
            if !ports.is_empty() {
                page.labelled(6, label, DIM, &port_list(ports));
            }
        }
        for note in &host.notes {
            page.labelled(6, "note        ", DIM, note);
        }
    }
    if beyond > 0 {
        page.paragraph(2, &format!("… and {} more", Grouped(beyond)));
    }
    if plain > 0 {
        let hosts = counted(plain, "host");
        let verb = if plain == 1 { "shows" } else { "show" };
        page.paragraph(2, &format!("{hosts} that answered {verb} no product of the catalogue"));
    }
}

fn port_list(ports: &[PortRecord]) -> String {
    let mut shown: Vec<String> = ports.iter().take(PORTS_SHOWN).map(port_name).collect();
    if ports.len() > PORTS_SHOWN {
        shown.push(format!("… and {} more", ports.len() - PORTS_SHOWN));
    }
    shown.join(", ")
}

fn port_name(port: &PortRecord) -> String {
    let mut name = format!("{}/{}", port.port, port.transport);
    if let Some(service) = &port.service {
        name = format!("{name} {service}");
    }
    if let Some(app_proto) = &port.app_proto {
        name = format!("{name} ({app_proto})");
    }
    name
}

/// Writes the packet ledger as the sum that it is.
pub(super) fn ledger(page: &mut Page, summary: &Summary) {
    let total = &summary.ledger.total;
    let balance = if total.balances() { "it balances" } else { "IT DOES NOT BALANCE" };
    page.heading("Packet ledger", balance);
    let reasons = |counts: &BTreeMap<&'static str, u64>| {
        let items = counts.iter().filter(|(_, count)| **count > 0);
        items
            .map(|(name, count)| format!("{name} {}", Grouped(*count)))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let lines = [
        (total.classified, "classified", "their flow has a service".to_owned()),
        (total.unclassified, "unclassified", "their flow has none".to_owned()),
        (total.stopped_total(), "stopped", reasons(&total.stopped)),
        (total.filtered, "filtered", String::new()),
        (total.in_flight, "in flight", String::new()),
    ];
    let sum: u64 = lines.iter().map(|(count, ..)| count).sum();
    for (count, name, detail) in lines {
        if count > 0 || name != "in flight" {
            entry(page, count, name, &detail);
        }
    }
    page.line(2, DIM, "------------");
    let matches =
        if sum == total.received { "" } else { "accounted for, and not what was received" };
    entry(page, total.received, "received", matches);
    entry(page, total.dropped_total(), "dropped", &reasons(&total.dropped));
    if total.dropped_total() > 0 {
        entry(page, total.offered, "offered", "received and dropped");
    }
    let mut beside = Vec::new();
    if total.evicted > 0 {
        beside.push(format!("{} evicted", counted(total.evicted, "flow")));
    }
    let uninspected = reasons(&total.uninspected);
    if !uninspected.is_empty() {
        beside.push(format!("counted and not looked into: {uninspected}"));
    }
    if !beside.is_empty() {
        page.paragraph(2, &beside.join("; "));
    }
    points(page, summary);
}

fn entry(page: &mut Page, count: u64, name: &str, detail: &str) {
    page.labelled(2, &format!("{:>12}  {name:<14}", Grouped(count)), Style::new(), detail);
}

/// Writes the ledger of each observation point, where there is more than one.
fn points(page: &mut Page, summary: &Summary) {
    let points = &summary.ledger.points;
    if points.len() < 2 {
        return;
    }
    let mut grid = Grid::new([
        "point",
        "received",
        "filtered",
        "classified",
        "unclassified",
        "stopped",
        "dropped",
    ])
    .optional(&["filtered"]);
    for point in points.iter().take(LIST_MAX) {
        let names = [point.pcap_filename.as_deref(), point.in_iface.as_deref()];
        let name = names.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let Ledger { received, filtered, classified, unclassified, .. } = point.ledger;
        let counts = [
            received,
            filtered,
            classified,
            unclassified,
            point.ledger.stopped_total(),
            point.ledger.dropped_total(),
        ];
        grid.row(
            Style::new(),
            std::iter::once(name).chain(counts.map(|count| Grouped(count).to_string())),
        );
    }
    page.blank();
    page.table(2, grid);
    more(page, points.len());
}

/// Writes what was read, by which version, under which rules.
pub(super) fn inputs(page: &mut Page, summary: &Summary, clock: Clock) {
    let provenance = &summary.provenance;
    page.heading("Inputs", "");
    for input in provenance.inputs.iter().take(LIST_MAX) {
        let mut facts = Vec::new();
        if input.bytes > 0 {
            facts.push(Bytes(input.bytes).to_string());
        }
        facts.push(counted(input.frames, "frame"));
        if let (Some(start), Some(end)) = (input.start, input.end) {
            facts.push(format!("{} to {}", clock.show(start), clock.show(end)));
        }
        page.labelled(2, &format!("{}  ", input.name), BOLD, &facts.join(", "));
        if let Some(broken) = &input.broken {
            page.labelled(6, "broken: ", AnsiColor::Yellow.on_default(), broken);
        }
    }
    more(page, provenance.inputs.len());
    let short = |hash: &str| hash.chars().take(12).collect::<String>();
    let site = provenance.site_sha256.as_deref().map_or_else(|| "none".to_owned(), short);
    let mut made = format!(
        "portreeve {}, catalogue {}, policy {}, site {site}",
        provenance.version,
        short(&provenance.catalog_sha256),
        short(&provenance.policy_sha256),
    );
    if let Some(filter) = &provenance.filter {
        made = format!("{made}, filter \"{filter}\"");
    }
    if let Some(since) = provenance.since {
        made = format!("{made}, since {}", Readable(since));
    }
    if let Some(until) = provenance.until {
        made = format!("{made}, until {}", Readable(until));
    }
    page.blank();
    page.paragraph(2, &made);
}
