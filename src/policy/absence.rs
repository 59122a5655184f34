//! Flows that a deployment needs and that were never seen to succeed.

use std::net::IpAddr;

use super::kind::{FindingKind, Severity};
use super::matrix::{Matrix, OTHER, Row};
use super::matrix_run::{Ground, MatrixRun, Run, parties_of};
use crate::packet::Transport;
use crate::site::{HostId, ZoneId};

/// A flow that the deployment needs, and that was never seen to succeed though both ends were seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absence {
    /// The rule that names it: an index into [`super::Policy::rules`].
    pub rule: usize,
    /// How grave that is.
    pub severity: Severity,
    /// The matrix.
    pub matrix: String,
    /// The row's id in it.
    pub row: String,
    /// Who should have begun: a host's or a zone's name.
    pub initiator: String,
    /// Its first address, where it is a host.
    pub initiator_address: Option<IpAddr>,
    /// Its zone.
    pub initiator_zone: Option<ZoneId>,
    /// Who should have answered: a host's or a zone's name.
    pub responder: String,
    /// Its first address, where it is a host.
    pub responder_address: Option<IpAddr>,
    /// Its zone.
    pub responder_zone: Option<ZoneId>,
    /// The port, moved by the responder's offset.
    pub port: u16,
    /// TCP or UDP.
    pub transport: Transport,
    /// Flows that only tried.
    pub attempted: u64,
    /// One sentence, without a full stop.
    pub detail: String,
}

impl MatrixRun {
    /// Returns what the site expects and the capture did not show, though it saw both ends.
    pub fn absences(&self, ground: Ground<'_>) -> Vec<Absence> {
        let expected = self.runs.iter().filter(|run| run.matrix(ground).expected);
        expected.flat_map(|run| self.absences_of(ground, run)).collect()
    }

    fn absences_of(&self, ground: Ground<'_>, run: &Run) -> Vec<Absence> {
        let mut absences = Vec::new();
        let matrix = run.matrix(ground);
        let Some(rule) = ground.policy.rule_of_pack(FindingKind::ExpectedFlowAbsent, &matrix.id)
        else {
            return absences;
        };
        for (place, row) in matrix.rows.iter().enumerate().filter(|(_, row)| row.expected) {
            for initiator in self.instances(ground, run, row.initiators) {
                let answers = self.instances(ground, run, row.responders);
                let mut others = answers.into_iter().filter(|to| to.is_none() || *to != initiator);
                let Some(responder) = others.next() else { continue };
                if run.used_by[place].contains(&initiator) {
                    continue;
                }
                let attempted = run.tried_by[place].get(&initiator).copied().unwrap_or(0);
                let ends = (initiator, responder);
                absences.push(absence(ground, matrix, row, rule, ends, attempted));
            }
        }
        absences
    }

    /// Returns the declared hosts of some parties that were seen; `None` for a zone as a whole.
    fn instances(&self, ground: Ground<'_>, run: &Run, parties: u32) -> Vec<Option<HostId>> {
        let (site, matrix) = (ground.site, run.matrix(ground));
        if parties & OTHER != 0 {
            return Vec::new();
        }
        let declared = (0..site.hosts().len()).filter_map(|id| id.try_into().ok()).map(HostId);
        let declared: Vec<HostId> = declared
            .filter(|id| {
                let first = site.hosts()[usize::from(id.0)].prefixes.first();
                let zone = first.and_then(|prefix| site.zone_of(prefix.addr()));
                parties_of(matrix, Some(*id), zone) & parties != 0
            })
            .collect();
        if declared.is_empty() {
            return if run.seen & parties == 0 { Vec::new() } else { vec![None] };
        }
        declared.into_iter().filter(|id| self.seen.contains(id)).map(Some).collect()
    }
}

/// Says what was not seen.
fn absence(
    ground: Ground<'_>,
    matrix: &Matrix,
    row: &Row,
    rule: usize,
    (initiator, responder): (Option<HostId>, Option<HostId>),
    attempted: u64,
) -> Absence {
    let host = |id: Option<HostId>| id.map(|id| &ground.site.hosts()[usize::from(id.0)]);
    let name = |id, zone: &str| host(id).map_or_else(|| zone.to_owned(), |h| h.name.clone());
    let address = |id| host(id).and_then(|host| host.prefixes.first()).map(ipnet::IpNet::addr);
    let zone = |id, parties: u32| match address(id) {
        Some(address) => ground.site.zone_of(address),
        None => matrix.zone_of(parties),
    };
    let offset = host(responder).and_then(|host| host.offset);
    let mut ends = row.uses.iter().filter_map(|used| used.port_at(offset, ground.catalog));
    let (port, transport) = ends.next().unwrap_or((0, Transport::Tcp));
    let how = if attempted > 0 { "was only tried" } else { "was never seen" };
    let names = (name(initiator, &row.initiator), name(responder, &row.responder));
    Absence {
        rule,
        severity: ground.policy.rules()[rule].severity,
        matrix: matrix.id.clone(),
        row: row.id.clone(),
        initiator_address: address(initiator),
        initiator_zone: zone(initiator, row.initiators),
        responder_address: address(responder),
        responder_zone: zone(responder, row.responders),
        port,
        transport,
        attempted,
        detail: format!(
            "{} → {} on {} {how}; row {} of {} needs it",
            names.0, row.responder, row.services, row.id, matrix.id
        ),
        initiator: names.0,
        responder: names.1,
    }
}
