//! What a host was found to run, and what each of its ports may therefore be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::super::{Basis, Tag};
use super::explain::rows_at;
use super::{Confidence, Fit, Place, PortFacts, is_ordinary, is_shown};
use crate::catalog::{Candidate, Catalog, Port, ProductId, Service, ServiceId};
use crate::packet::Transport;

/// A service on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Placed {
    /// TCP or UDP.
    pub transport: Transport,
    /// The port.
    pub port: u16,
    /// The service.
    pub service: ServiceId,
}

/// A port of a product that is at another offset than the product's other ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stray {
    /// TCP or UDP.
    pub transport: Transport,
    /// The port.
    pub port: u16,
    /// The service that is there.
    pub service: ServiceId,
    /// The offset that puts it there.
    pub offset: u16,
}

/// One product on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The product.
    pub product: ProductId,
    /// The part of it that the site names.
    pub component: Option<String>,
    /// The user's offset; `None` is as shipped, with built-in offsets where there are some.
    pub offset: Option<u16>,
    /// The answering ports that it explains.
    pub ports: Vec<Placed>,
    /// The built-in offset of the rows that the user's offset moves; `None` is all of them.
    pub(super) built_in: Option<u16>,
    /// How much speaks for it.
    pub(super) weight: i32,
}

impl Instance {
    /// Returns its rows that are on a port.
    pub fn rows_at<'c>(
        &self,
        catalog: &'c Catalog,
        transport: Transport,
        port: u16,
    ) -> impl Iterator<Item = Candidate> + use<'c, '_> {
        let place = (port, transport);
        rows_at(catalog, self.product, self.offset, self.built_in, place).filter(|candidate| {
            let row = catalog.service(candidate.service);
            self.component.as_ref().is_none_or(|component| row.is_in(component))
        })
    }

    /// Returns the offset that its ports have: the user's, or the one built in where it is one.
    pub fn effective_offset(&self, catalog: &Catalog) -> Option<u16> {
        if self.offset.is_some() {
            return self.offset;
        }
        let shown = self.ports.iter().map(|placed| placed.service);
        let all = catalog.product(self.product).services.iter().copied();
        let built_in = |services: &mut dyn Iterator<Item = ServiceId>| {
            let moving = services.map(|id| catalog.service(id)).filter(|row| row.offset.moves());
            moving.map(|row| row.built_in_offset).collect::<BTreeSet<u16>>()
        };
        let mut offsets = built_in(&mut shown.into_iter());
        if offsets.is_empty() {
            offsets = built_in(&mut all.into_iter());
        }
        match offsets.len() {
            0 => Some(0),
            1 => offsets.first().copied(),
            _ => None,
        }
    }

    /// Says what it is: `wso2-micro-integrator as shipped (offset 10)`.
    pub fn describe(&self, catalog: &Catalog) -> String {
        let id = &catalog.product(self.product).id;
        let component = self.component.as_ref().map_or_else(String::new, |name| format!("/{name}"));
        match (self.offset, self.effective_offset(catalog)) {
            (Some(offset), _) => format!("{id}{component} at offset {offset}"),
            (None, Some(0)) => format!("{id}{component}"),
            (None, Some(built_in)) => format!("{id}{component} as shipped (offset {built_in})"),
            (None, None) => format!("{id}{component} as shipped"),
        }
    }

    pub(super) fn explains(&self, service: ServiceId) -> bool {
        self.ports.iter().any(|placed| placed.service == service)
    }

    /// Returns its ports as strays of an instance at another offset.
    pub(super) fn strays(&self, catalog: &Catalog) -> Vec<Stray> {
        let stray = |placed: &Placed| Stray {
            transport: placed.transport,
            port: placed.port,
            service: placed.service,
            offset: self.offset.unwrap_or_else(|| catalog.service(placed.service).built_in_offset),
        };
        self.ports.iter().map(stray).collect()
    }
}

/// What a host was found to run.
#[derive(Debug, Clone)]
pub struct HostReading {
    /// What runs on it, the surest first; empty where nothing fits.
    pub instances: Vec<Instance>,
    /// How sure that is.
    pub confidence: Confidence,
    /// What fits the ports of the first instance as well or nearly so, the likeliest first.
    pub alternatives: Vec<Instance>,
    /// Ports of its products that are at another offset than the rest: it is of a partial offset.
    pub strays: Vec<Stray>,
    /// Ports that its products open as they ship, and that nobody was seen to try.
    pub never_seen: Vec<Placed>,
    /// Ports that answered and that the catalogue does not know, on a host that is one of its products.
    pub uncatalogued: Vec<(Transport, u16)>,
    /// It answered on more than [`PORTS_MAX`](super::PORTS_MAX) ports, and was not read.
    pub answers_everywhere: bool,
    /// The site says products or an offset.
    pub(super) declared: bool,
    pub(super) ports: BTreeMap<Place, PortFacts>,
}

impl HostReading {
    /// Tells whether the host is one of the catalogue's products by more than a lone port.
    pub fn is_product(&self) -> bool {
        self.confidence >= Confidence::Medium
    }

    /// Returns the products that fit, the likeliest first, each once: those that run there, then those
    /// that could be there instead.
    pub fn products(&self) -> Vec<ProductId> {
        let mut products = Vec::new();
        for instance in self.instances.iter().chain(&self.alternatives) {
            if !products.contains(&instance.product) {
                products.push(instance.product);
            }
        }
        products
    }

    /// Returns the offset of the first instance.
    pub fn offset(&self, catalog: &Catalog) -> Option<u16> {
        self.instances.first()?.effective_offset(catalog)
    }

    /// Says what a port of the host may be, by its products if they have something there, else by the
    /// port's documented services.
    pub fn service_at(&self, catalog: &Catalog, transport: Transport, port: u16) -> Tag {
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut basis = None;
        for instance in &self.instances {
            for candidate in instance.rows_at(catalog, transport, port) {
                add(&mut candidates, candidate);
                let row = catalog.service(candidate.service);
                basis.get_or_insert_with(|| self.basis_of(instance, row));
            }
        }
        for stray in &self.strays {
            if (stray.transport, stray.port) == (transport, port) {
                add(&mut candidates, Candidate { service: stray.service, offset: stray.offset });
                basis.get_or_insert(Basis::OffsetInferred);
            }
        }
        let silent = PortFacts::default();
        let facts = self.ports.get(&(port, transport)).unwrap_or(&silent);
        let fits = |candidate: &Candidate| {
            facts.fit(catalog.service(candidate.service)) != Fit::Contradicts
        };
        let Some(basis) = basis else {
            let tag = super::super::by_port(catalog, transport, port);
            if tag.candidates.is_empty() || tag.candidates.iter().any(fits) {
                return tag;
            }
            return self.moved_instead(catalog, transport, port, fits).unwrap_or(tag);
        };
        candidates.sort_by_key(|candidate| !fits(candidate));
        if !self.declared {
            for other in &self.alternatives {
                for candidate in other.rows_at(catalog, transport, port) {
                    add(&mut candidates, candidate);
                }
            }
            // Content beats port: where the products' own rows cannot say what was recognised, the port
            // may still be any other service that is documented there.
            if !candidates.iter().any(fits) {
                for candidate in catalog.candidates(transport, port) {
                    add(&mut candidates, *candidate);
                }
            }
        }
        Tag { candidates, basis: Some(basis) }
    }

    /// Says what a port may be where nothing documented there can say what was recognised: what any
    /// product has there at an offset that the host is known to have.
    fn moved_instead(
        &self,
        catalog: &Catalog,
        transport: Transport,
        port: u16,
        fits: impl Fn(&Candidate) -> bool,
    ) -> Option<Tag> {
        let mut candidates = Vec::new();
        for offset in self.instances.iter().filter_map(|instance| instance.offset) {
            for candidate in catalog.at_offset(transport, port, offset) {
                let row = catalog.service(candidate.service);
                if row.offset.moves() && is_shown(row) && fits(&candidate) {
                    add(&mut candidates, candidate);
                }
            }
        }
        let basis = Some(Basis::OffsetInferred);
        (!candidates.is_empty()).then_some(Tag { candidates, basis })
    }

    fn basis_of(&self, instance: &Instance, row: &Service) -> Basis {
        match instance.offset {
            _ if self.declared => Basis::Inventory,
            Some(_) if row.offset.moves() => Basis::OffsetInferred,
            _ => Basis::Port,
        }
    }

    /// Says in words what is ambiguous, and which ports disagree.
    pub fn notes(&self, catalog: &Catalog) -> Vec<String> {
        let mut notes = Vec::new();
        if self.answers_everywhere {
            notes.push(format!("answers on more than {} ports: not read", super::PORTS_MAX));
        }
        if let Some(first) = self.instances.first() {
            let rivals = self.alternatives.iter().filter(|other| {
                other.offset != first.offset || other.ports.len() >= first.ports.len()
            });
            let rivals: Vec<String> = rivals.map(|other| other.describe(catalog)).collect();
            if let Some((named, more)) =
                rivals.split_at_checked(RIVALS_NAMED).or(Some((&rivals, &[])))
                && !named.is_empty()
            {
                let first = first.describe(catalog);
                let more = match more.len() {
                    0 => String::new(),
                    more => format!(", or {more} more"),
                };
                notes.push(format!("ambiguous: {first}, or {}{more}", named.join(", or ")));
            }
        }
        if !self.strays.is_empty() {
            let mut note = "partial offset:".to_owned();
            for (index, stray) in self.strays.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                let id = &catalog.service(stray.service).id;
                let name = match stray.transport {
                    Transport::Tcp => "tcp",
                    Transport::Udp => "udp",
                };
                write!(note, "{comma} {}/{name} is {id} at offset {}", stray.port, stray.offset)
                    .expect("a String takes all");
            }
            notes.push(note);
        }
        notes
    }

    /// Returns the answering ports that no instance and no stray explains.
    pub(super) fn open_ports(&self, catalog: &Catalog) -> BTreeMap<Place, PortFacts> {
        let is_stray =
            |place: Place| self.strays.iter().any(|stray| (stray.port, stray.transport) == place);
        let is_explained = |place: Place, facts: &PortFacts| {
            self.instances.iter().any(|instance| {
                let mut rows = instance.rows_at(catalog, place.1, place.0);
                rows.any(|row| facts.fit(catalog.service(row.service)) != Fit::Contradicts)
            })
        };
        let answered = self.ports.iter().filter(|(_, facts)| facts.answered);
        answered
            .filter(|(place, facts)| !is_stray(**place) && !is_explained(**place, facts))
            .map(|(place, facts)| (*place, facts.clone()))
            .collect()
    }

    /// Compares what its products should open with what was seen.
    pub(super) fn compare(&mut self, catalog: &Catalog) {
        if !self.is_product() {
            return;
        }
        let mut never_seen = BTreeSet::new();
        for instance in &self.instances {
            never_seen.extend(self.missing(catalog, instance));
        }
        self.never_seen = never_seen.into_iter().collect();
        let open = self.open_ports(catalog);
        let unknown = open.keys().filter(|(port, transport)| {
            let mut own = self.instances.iter().flat_map(|i| i.rows_at(catalog, *transport, *port));
            own.next().is_none() && !catalog.is_catalogued(*transport, *port)
        });
        self.uncatalogued = unknown.map(|(port, transport)| (*transport, *port)).collect();
    }

    /// Returns the ports that an instance opens as it ships, and that nobody was seen to try. Of parts of
    /// the product that show nothing, nothing is expected.
    fn missing(&self, catalog: &Catalog, instance: &Instance) -> Vec<Placed> {
        let shown = instance.ports.iter().map(|placed| catalog.service(placed.service));
        let parts: BTreeSet<&String> = shown.flat_map(|row| &row.components).collect();
        let is_expected = |row: &Service| {
            let of_part = match &instance.component {
                Some(component) => row.is_in(component),
                None => {
                    row.components.is_empty() || row.components.iter().any(|c| parts.contains(c))
                }
            };
            of_part
                && is_shown(row)
                && is_ordinary(catalog, row)
                && instance.built_in.is_none_or(|b| !row.offset.moves() || row.built_in_offset == b)
        };
        let mut missing = Vec::new();
        for service in &catalog.product(instance.product).services {
            let row = catalog.service(*service);
            if !is_expected(row) || self.strays.iter().any(|stray| stray.service == *service) {
                continue;
            }
            let there = instance.offset.map_or(Some(row.port), |offset| row.port_at(offset));
            let Some(Port::Number(port)) = there else { continue };
            for transport in row.transports.iter() {
                if !self.ports.contains_key(&(port, transport)) {
                    missing.push(Placed { transport, port, service: *service });
                }
            }
        }
        missing
    }
}

fn add(candidates: &mut Vec<Candidate>, candidate: Candidate) {
    if !candidates.iter().any(|known| known.service == candidate.service) {
        candidates.push(candidate);
    }
}

/// Alternatives that a note names: a line of text has no room for a dozen.
const RIVALS_NAMED: usize = 4;
