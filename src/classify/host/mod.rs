//! What a host's ports tell of it: which products, at which offset, and how sure that is.
//!
//! Takes the ports of one host (answered, refused, what was recognised there) and what the site declares of
//! it; gives a [`HostReading`], which then tells what each port of the host may be. A pure function of its
//! arguments. One reading costs the host's ports times the offsets that at least two of them share; a host
//! that answers on more than [`PORTS_MAX`] ports is not read at all.
//!
//! Content beats port: a port counts for a service only where what was recognised there fits it. One lone
//! port proves no offset. What fits equally well is kept as an alternative, and a port of the host may then
//! be any of them.

mod explain;
mod reading;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use self::reading::{HostReading, Instance, Placed, Stray};
use super::Heard;
use crate::catalog::{AppProtocol, Catalog, Lifecycle, ProductId, Service, Status};
use crate::packet::Transport;

/// Ports that a host may answer on and still be read. A host with every product of the family has some
/// hundred; one with more than this is scanned and answers everywhere, which proves nothing.
pub const PORTS_MAX: usize = 256;

/// One port of a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Listener {
    /// TCP or UDP.
    pub transport: Transport,
    /// Its number.
    pub port: u16,
    /// It answered at least once.
    pub answered: bool,
    /// It turned somebody away.
    pub refused: bool,
    /// What was recognised there.
    pub heard: BTreeSet<Heard>,
}

/// What the site declares of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// What runs on it, each with the part of the product where the user names one.
    pub products: Vec<(ProductId, Option<String>)>,
    /// The port offset, which replaces a built-in one.
    pub offset: Option<u16>,
}

/// How sure a reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// Nothing fits.
    None,
    /// One port alone, or something else fits nearly as well.
    Low,
    /// Two ports or more fit.
    Medium,
    /// Three ports or more fit, and what was recognised there confirms them.
    High,
    /// The site file says so.
    Declared,
}

impl Confidence {
    /// Returns the name as reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Declared => "declared",
        }
    }

    fn lowered(self) -> Self {
        match self {
            Self::High => Self::Medium,
            Self::Medium => Self::Low,
            other => other,
        }
    }
}

/// Reads hosts by one catalogue.
#[derive(Debug)]
pub struct HostReader<'a> {
    catalog: &'a Catalog,
    /// Base ports of the rows that an offset moves, with the transports that they have there.
    bases: Vec<(u16, Transport)>,
}

impl<'a> HostReader<'a> {
    /// Makes a reader; costs a walk over the catalogue.
    pub fn new(catalog: &'a Catalog) -> Self {
        let moving = catalog.services().iter().filter(|row| row.offset.moves() && is_shown(row));
        let bases: BTreeSet<(u16, Transport)> = moving
            .filter_map(|row| Some((row.base_port()?, row.transports)))
            .flat_map(|(base, transports)| transports.iter().map(move |t| (base, t)))
            .collect();
        Self { catalog, bases: bases.into_iter().collect() }
    }

    /// Reads one host.
    pub fn read(&self, declared: &Declared, listeners: &[Listener]) -> HostReading {
        let answered = listeners.iter().filter(|listener| listener.answered).count();
        let mut ports: BTreeMap<Place, PortFacts> = BTreeMap::new();
        if answered <= PORTS_MAX {
            for listener in listeners {
                ports.entry((listener.port, listener.transport)).or_default().add(listener);
            }
        }
        explain::read(self, declared, ports, answered > PORTS_MAX)
    }

    /// Returns the offsets that at least two answering ports share, those of most ports first.
    fn offsets(&self, ports: &BTreeMap<Place, PortFacts>) -> Vec<u16> {
        let mut votes: BTreeMap<u16, usize> = BTreeMap::new();
        for ((port, transport), facts) in ports.iter().filter(|(_, facts)| facts.answered) {
            for (base, on) in &self.bases {
                let Some(offset) = port.checked_sub(*base) else { break };
                let fits = || {
                    let rows = self.catalog.at_offset(*transport, *base, 0);
                    rows.map(|row| self.catalog.service(row.service)).any(|row| {
                        row.offset.moves() && is_shown(row) && facts.fit(row) != Fit::Contradicts
                    })
                };
                if on == transport && fits() {
                    *votes.entry(offset).or_default() += 1;
                }
            }
        }
        let needed = |offset: u16| if offset <= NEAR_OFFSET_MAX { 2 } else { 3 };
        let mut shared: Vec<(usize, u16)> = votes
            .into_iter()
            .filter(|(offset, votes)| *votes >= needed(*offset))
            .map(|(offset, votes)| (votes, offset))
            .collect();
        shared.sort_by_key(|(votes, offset)| (std::cmp::Reverse(*votes), *offset));
        shared.truncate(OFFSETS_MAX);
        shared.into_iter().map(|(_, offset)| offset).collect()
    }
}

/// A port of the host.
type Place = (u16, Transport);

/// What one port did.
#[derive(Debug, Clone, Default)]
struct PortFacts {
    answered: bool,
    refused: bool,
    heard: BTreeSet<Heard>,
}

/// How what was recognised on a port goes with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// Something was recognised, and the row says just that.
    Confirms,
    /// Nothing was recognised, or the row says nothing.
    Silent,
    /// Something was recognised, and the row cannot say any of it.
    Contradicts,
}

impl PortFacts {
    fn add(&mut self, listener: &Listener) {
        self.answered |= listener.answered;
        self.refused |= listener.refused;
        let telling = listener.heard.iter().filter(|heard| is_telling(**heard));
        self.heard.extend(telling.copied());
    }

    fn fit(&self, row: &Service) -> Fit {
        if self.heard.is_empty() {
            return Fit::Silent;
        }
        // One client that says something else does not make the port another service.
        if !self.heard.iter().any(|heard| heard.is_admitted_by(row)) {
            return Fit::Contradicts;
        }
        if row.protocol == AppProtocol::Any { Fit::Silent } else { Fit::Confirms }
    }
}

fn is_telling(heard: Heard) -> bool {
    !matches!(heard, Heard::Nothing | Heard::Unknown)
}

/// Tells whether a row can show on the host itself: the far end of its connections cannot.
fn is_shown(row: &Service) -> bool {
    row.is_listener() && row.port != crate::catalog::Port::None
}

/// Tells whether a row is nothing out of the ordinary where its product runs.
fn is_ordinary(catalog: &Catalog, row: &Service) -> bool {
    let is_left_over = row.lifecycle == Lifecycle::Retired
        && catalog.product(row.product).lifecycle == Lifecycle::Current;
    row.default_on && !is_left_over && row.status != Status::Suspect
}

/// Offsets up to here need two ports that share them, larger ones three: operators count up from 1, and
/// with every number further two ports share one by chance more easily.
const NEAR_OFFSET_MAX: u16 = 100;

/// Offsets that are tried: the true one has more votes than these chance ones together.
const OFFSETS_MAX: usize = 32;
