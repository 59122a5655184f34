//! Matrices of a run whose rules are loaded again: what was seen stays seen.
//!
//! Matrices, rows, hosts and zones are numbered by their files, and known by their names here.

use std::collections::HashMap;

use super::matrix::{Matrix, OTHER};
use super::matrix_run::{End, Ground, MatrixRun, Run};
use crate::site::{HostId, ZoneId};

impl MatrixRun {
    /// Goes on under other rules. Rows, hosts and zones of a name that is still there keep what was counted of
    /// them, by the rules of that time; flows of an end that is gone are unjudged.
    #[must_use]
    pub fn renewed(self, from: Ground<'_>, to: Ground<'_>) -> Self {
        let hosts = hosts(from, to);
        let mut renewed = Self::new(to);
        renewed.seen.extend(self.seen.iter().filter_map(|id| hosts.get(id)));
        for run in &mut renewed.runs {
            let matrix = run.matrix(to);
            let old = self.runs.iter().find(|old| old.matrix(from).id == matrix.id);
            if let Some(old) = old {
                run.take_over(old, (old.matrix(from), matrix), &hosts);
            }
        }
        renewed.unjudged = self.unjudged;
        for ((initiator, responder), counts) in &self.pairs {
            let ends = [*initiator, *responder].map(|end| self.end(end, from, &renewed, to));
            if let [Some(initiator), Some(responder)] = ends {
                let pair = renewed.pairs.entry((initiator, responder)).or_default();
                pair.allowed += counts.allowed;
                pair.violating += counts.violating;
                pair.attempted += counts.attempted;
            } else {
                renewed.unjudged += counts.allowed + counts.violating + counts.attempted;
            }
        }
        renewed
    }

    /// Returns what an end is under other rules.
    fn end(&self, end: End, from: Ground<'_>, renewed: &Self, to: Ground<'_>) -> Option<End> {
        match end {
            End::Zone(zone) => {
                let name = &from.site.zone(zone).name;
                let place = to.site.zones().iter().position(|zone| zone.name == *name)?;
                Some(End::Zone(ZoneId(place.try_into().ok()?)))
            }
            End::Party(run, parties) => {
                let matrix = self.runs[usize::from(run)].matrix(from);
                let is_same = |run: &Run| run.matrix(to).id == matrix.id;
                let place = renewed.runs.iter().position(is_same)?;
                let parties = renamed(parties, matrix, renewed.runs[place].matrix(to));
                (parties != 0).then_some(End::Party(place.try_into().ok()?, parties))
            }
        }
    }
}

impl Run {
    fn take_over(
        &mut self,
        from: &Self,
        (old, new): (&Matrix, &Matrix),
        hosts: &HashMap<HostId, HostId>,
    ) {
        self.seen |= renamed(from.seen, old, new);
        let renumbered = |host: &Option<HostId>| match host {
            None => Some(None),
            Some(id) => hosts.get(id).copied().map(Some),
        };
        for (place, row) in new.rows.iter().enumerate() {
            let Some(before) = old.rows.iter().position(|old| old.id == row.id) else { continue };
            self.counts[place] = from.counts[before];
            self.used_by[place].extend(from.used_by[before].iter().filter_map(renumbered));
            let tried = from.tried_by[before].iter();
            self.tried_by[place]
                .extend(tried.filter_map(|(host, count)| Some((renumbered(host)?, *count))));
        }
    }
}

/// Returns the hosts that are still there, by name.
fn hosts(from: Ground<'_>, to: Ground<'_>) -> HashMap<HostId, HostId> {
    let id = |place: usize| place.try_into().ok().map(HostId);
    let named: HashMap<&str, usize> = to
        .site
        .hosts()
        .iter()
        .enumerate()
        .map(|(place, host)| (host.name.as_str(), place))
        .collect();
    let pair = |(place, host): (usize, &crate::site::Host)| {
        Some((id(place)?, id(*named.get(host.name.as_str())?)?))
    };
    from.site.hosts().iter().enumerate().filter_map(pair).collect()
}

/// Returns the parties of the same names.
fn renamed(parties: u32, from: &Matrix, to: &Matrix) -> u32 {
    let named = from.parties.iter().enumerate().filter(|(place, _)| parties & 1 << place != 0);
    let places = named.filter_map(|(_, name)| to.parties.iter().position(|party| party == name));
    places.fold(parties & OTHER, |all, place| all | 1 << place)
}
