//! Ports → what explains them best.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::reading::{HostReading, Instance, Placed, Stray};
use super::{
    Confidence, Declared, Fit, HostReader, NEAR_OFFSET_MAX, Place, PortFacts, is_ordinary, is_shown,
};
use crate::catalog::{Candidate, Catalog, Lifecycle, ProductId, Service, ServiceId};

/// A way to explain ports: a product as it ships, or one built-in offset's part of it at a user's offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    product: ProductId,
    /// `None` is as shipped.
    offset: Option<u16>,
    /// The built-in offset of the rows that the user's offset moves; `None` is all of them.
    built_in: Option<u16>,
}

/// What speaks for an explanation.
#[derive(Debug, Clone, Default)]
struct Case {
    /// The explained ports with their weight and service.
    ports: BTreeMap<Place, (i32, ServiceId)>,
    /// Of these, the ones that an offset put there.
    moved: usize,
    /// What speaks against it.
    against: i32,
}

impl Case {
    fn add(&mut self, place: Place, weight: i32, service: ServiceId) {
        let known = self.ports.entry(place).or_insert((i32::MIN, service));
        if weight > known.0 {
            *known = (weight, service);
        }
    }

    fn weight(&self) -> i32 {
        self.ports.values().map(|(weight, _)| weight.max(&0)).sum()
    }
}

/// An explanation with its score.
#[derive(Debug, Clone)]
struct Explanation {
    key: Key,
    case: Case,
    score: i32,
}

impl Explanation {
    fn into_instance(self, component: Option<String>) -> Instance {
        let ports = self.case.ports.iter().filter(|(_, (weight, _))| *weight > 0);
        Instance {
            product: self.key.product,
            component,
            offset: self.key.offset,
            built_in: self.key.built_in,
            ports: ports
                .map(|((port, transport), (_, service))| Placed {
                    transport: *transport,
                    port: *port,
                    service: *service,
                })
                .collect(),
            weight: self.case.weight(),
        }
    }
}

/// Which explanations are asked for.
struct Question<'a> {
    reader: &'a HostReader<'a>,
    declared: &'a Declared,
    /// Offsets that are tried beside as shipped.
    offsets: Vec<u16>,
}

/// Reads a host.
pub(super) fn read(
    reader: &HostReader<'_>,
    declared: &Declared,
    ports: BTreeMap<Place, PortFacts>,
    answers_everywhere: bool,
) -> HostReading {
    let offsets = match declared.offset {
        Some(offset) => vec![offset],
        None => reader.offsets(&ports),
    };
    let question = Question { reader, declared, offsets };
    let mut reading = HostReading {
        instances: Vec::new(),
        confidence: Confidence::None,
        alternatives: Vec::new(),
        strays: Vec::new(),
        never_seen: Vec::new(),
        uncatalogued: Vec::new(),
        answers_everywhere,
        declared: !declared.products.is_empty() || declared.offset.is_some(),
        ports,
    };
    if declared.products.is_empty() {
        question.infer(&mut reading);
    } else {
        question.look_up(&mut reading);
    }
    reading.compare(reader.catalog);
    reading
}

impl Question<'_> {
    fn catalog(&self) -> &Catalog {
        self.reader.catalog
    }

    /// Finds out what runs on a host of which the site says no product.
    fn infer(&self, reading: &mut HostReading) {
        let mut ranked = self.ranked(&reading.ports).into_iter();
        let Some(best) = ranked.next().filter(|best| best.case.weight() >= LOW_WEIGHT) else {
            return;
        };
        let close = ranked.take_while(|other| other.score * 10 >= best.score * CLOSE_TENTHS);
        let alternatives: Vec<Explanation> = close.take(ALTERNATIVES_MAX).collect();
        reading.confidence = confidence(&best, &alternatives);
        reading.alternatives =
            alternatives.into_iter().map(|other| other.into_instance(None)).collect();
        reading.instances.push(best.into_instance(None));
        self.add_others(reading);
        if !reading.strays.is_empty() {
            reading.confidence = reading.confidence.lowered();
        }
    }

    /// Finds what else runs on the host: products that explain what the first one leaves open, and ports
    /// of the first one that are at another offset than the rest.
    fn add_others(&self, reading: &mut HostReading) {
        while reading.instances.len() < INSTANCES_MAX {
            let open = reading.open_ports(self.catalog());
            let ranked = self.ranked(&open);
            let Some(best) = ranked.first() else { break };
            let first = &reading.instances[0];
            // The first product is as good an explanation as any that explains no more.
            let own = ranked.iter().find(|other| {
                other.key.product == first.product && other.score >= best.score - OWN_BONUS
            });
            let next = own.unwrap_or(best);
            if next.case.ports.len() < 2 || next.case.weight() < MEDIUM_WEIGHT {
                break;
            }
            let instance = next.clone().into_instance(None);
            let is_part_of_first = instance.product == first.product
                && instance.ports.iter().all(|placed| !first.explains(placed.service));
            if is_part_of_first {
                let strays = instance.strays(self.catalog());
                reading.strays.extend(strays);
            } else {
                reading.instances.push(instance);
            }
        }
        let is_moved = reading.instances[0].offset.is_some();
        if is_moved && reading.confidence >= Confidence::Medium {
            self.add_unmoved(reading, 0);
        }
    }

    /// Finds ports of a moved product that stayed where the documents have them.
    fn add_unmoved(&self, reading: &mut HostReading, instance: usize) {
        let catalog = self.catalog();
        let moved = &reading.instances[instance];
        let mut strays = Vec::new();
        for ((port, transport), facts) in reading.open_ports(catalog) {
            let stays = catalog.candidates(transport, port).iter().find(|candidate| {
                let row = catalog.service(candidate.service);
                row.product == moved.product
                    && moved.component.as_ref().is_none_or(|component| row.is_in(component))
                    && row.offset.moves()
                    && is_shown(row)
                    && facts.fit(row) != Fit::Contradicts
                    && !moved.explains(candidate.service)
            });
            if let Some(Candidate { service, offset }) = stays {
                strays.push(Stray { transport, port, service: *service, offset: *offset });
            }
        }
        reading.strays.extend(strays);
    }

    /// Places the products that the site declares.
    fn look_up(&self, reading: &mut HostReading) {
        reading.confidence = Confidence::Declared;
        let ranked = self.ranked(&reading.ports);
        for (product, component) in &self.declared.products {
            let of_product = |other: &&Explanation| other.key.product == *product;
            let best = ranked.iter().find(of_product);
            let offset = match (self.declared.offset, best) {
                (Some(offset), _) => Some(offset),
                (None, Some(best)) if best.case.moved >= 2 => best.key.offset,
                (None, _) => None,
            };
            let key = Key { product: *product, offset, built_in: None };
            let case = self.case(key, component.as_deref(), &reading.ports);
            let explanation = Explanation { key, score: 0, case };
            reading.instances.push(explanation.into_instance(component.clone()));
        }
        for instance in 0..reading.instances.len() {
            if reading.instances[instance].offset.is_some() {
                self.add_unmoved(reading, instance);
            }
        }
    }

    /// Returns the case for one explanation alone.
    fn case(&self, key: Key, component: Option<&str>, ports: &BTreeMap<Place, PortFacts>) -> Case {
        let mut case = Case::default();
        for (place, facts) in ports.iter().filter(|(_, facts)| facts.answered) {
            for candidate in rows_at(self.catalog(), key.product, key.offset, None, *place) {
                let row = self.catalog().service(candidate.service);
                if component.is_none_or(|component| row.is_in(component)) {
                    case.add(*place, weight(self.catalog(), row, facts, *place), candidate.service);
                }
            }
        }
        case
    }

    /// Returns every explanation of the ports, the best first.
    fn ranked(&self, ports: &BTreeMap<Place, PortFacts>) -> Vec<Explanation> {
        let mut cases: BTreeMap<Key, Case> = BTreeMap::new();
        let mut fixed: BTreeMap<ProductId, Case> = BTreeMap::new();
        for (place, facts) in ports {
            self.weigh_port(*place, facts, &mut cases, &mut fixed);
        }
        let mut explanations: Vec<Explanation> = cases
            .into_iter()
            .filter(|(_, case)| case.weight() > 0)
            .filter(|(key, case)| self.may_be_moved(*key, case))
            .map(|(key, mut case)| {
                if key.offset.is_some()
                    && let Some(fixed) = fixed.get(&key.product)
                {
                    for (place, (weight, service)) in &fixed.ports {
                        case.add(*place, *weight, *service);
                    }
                    case.against += fixed.against;
                }
                let score = self.score(key, &case);
                Explanation { key, case, score }
            })
            .collect();
        explanations.sort_by_key(|explanation| {
            let key = explanation.key;
            let rank = self.catalog().product(key.product).rank;
            (Reverse(explanation.score), key.offset, rank, key)
        });
        explanations
    }

    /// An offset that nobody declared needs two ports of one product, far ones three.
    fn may_be_moved(&self, key: Key, case: &Case) -> bool {
        match key.offset {
            None => true,
            Some(_) if self.declared.offset.is_some() => true,
            Some(offset) => case.moved >= if offset <= NEAR_OFFSET_MAX { 2 } else { 3 },
        }
    }

    fn score(&self, key: Key, case: &Case) -> i32 {
        let product = self.catalog().product(key.product);
        let as_shipped = if key.offset.is_none() { AS_SHIPPED_BONUS } else { 0 };
        let retired = if product.lifecycle == Lifecycle::Retired { RETIRED_MALUS } else { 0 };
        case.weight() + as_shipped - retired - case.against
    }

    /// Adds one port to the cases of all explanations that have something there.
    fn weigh_port(
        &self,
        place: Place,
        facts: &PortFacts,
        cases: &mut BTreeMap<Key, Case>,
        fixed: &mut BTreeMap<ProductId, Case>,
    ) {
        let catalog = self.catalog();
        let (port, transport) = place;
        let weigh = |case: &mut Case, candidate: Candidate, is_moved: bool| {
            let row = catalog.service(candidate.service);
            if facts.answered {
                let weight = weight(catalog, row, facts, place);
                if weight > 0 {
                    case.moved += usize::from(is_moved && !case.ports.contains_key(&place));
                    case.add(place, weight, candidate.service);
                } else {
                    case.against -= weight;
                }
            } else if facts.refused && is_moved && is_ordinary(catalog, row) {
                // Where the documents have it, a port that is turned off says nothing: they tell how.
                case.against += REFUSED_WEIGHT;
            }
        };
        let is_asked = |candidate: &Candidate| {
            let row = catalog.service(candidate.service);
            is_shown(row) && self.admits(row)
        };
        if self.declared.offset.is_none() {
            for candidate in catalog.candidates(transport, port).iter().copied().filter(is_asked) {
                let product = catalog.service(candidate.service).product;
                let key = Key { product, offset: None, built_in: None };
                weigh(cases.entry(key).or_default(), candidate, false);
            }
        }
        for offset in &self.offsets {
            for candidate in catalog.at_offset(transport, port, *offset).filter(is_asked) {
                let row = catalog.service(candidate.service);
                let is_moved = row.offset.moves() && row.port_at(*offset) == Some(exactly(port));
                let is_as_shipped =
                    row.built_in_offset == *offset && self.declared.offset.is_none();
                if is_moved && !is_as_shipped {
                    let built_in = Some(row.built_in_offset);
                    let key = Key { product: row.product, offset: Some(*offset), built_in };
                    weigh(cases.entry(key).or_default(), candidate, true);
                }
            }
        }
        // No offset reaches beyond the last port, so that only what offsets do not move is left.
        for candidate in catalog.at_offset(transport, port, u16::MAX).filter(is_asked) {
            let product = catalog.service(candidate.service).product;
            weigh(fixed.entry(product).or_default(), candidate, false);
        }
    }

    fn admits(&self, row: &Service) -> bool {
        let products = &self.declared.products;
        products.is_empty()
            || products.iter().any(|(product, component)| {
                *product == row.product
                    && component.as_ref().is_none_or(|component| row.is_in(component))
            })
    }
}

fn exactly(port: u16) -> crate::catalog::Port {
    crate::catalog::Port::Number(port)
}

/// Returns the rows of a product, at a user's offset or as shipped, that are on a port.
pub(super) fn rows_at(
    catalog: &Catalog,
    product: ProductId,
    offset: Option<u16>,
    built_in: Option<u16>,
    (port, transport): Place,
) -> impl Iterator<Item = Candidate> {
    let documented = offset.is_none().then(|| catalog.candidates(transport, port).iter().copied());
    let moved = offset.map(|offset| catalog.at_offset(transport, port, offset));
    let all = documented.into_iter().flatten().chain(moved.into_iter().flatten());
    all.filter(move |candidate| {
        let row = catalog.service(candidate.service);
        row.product == product
            && is_shown(row)
            && (offset.is_none()
                || !row.offset.moves()
                || built_in.is_none_or(|built_in| built_in == row.built_in_offset))
    })
}

/// Says how much a port speaks for a row: less than nothing where it speaks against it.
fn weight(catalog: &Catalog, row: &Service, facts: &PortFacts, (port, _): Place) -> i32 {
    let ordinary = is_ordinary(catalog, row);
    let full = match facts.fit(row) {
        Fit::Confirms => CONFIRMED_WEIGHT,
        Fit::Silent => SILENT_WEIGHT,
        Fit::Contradicts => return if ordinary { -CONTRADICTED_WEIGHT } else { 0 },
    };
    let halved = u32::from(!ordinary) + u32::from(port < 1024 || POPULAR.contains(&port));
    (full >> halved).max(1)
}

/// Says how sure the best explanation is.
fn confidence(best: &Explanation, alternatives: &[Explanation]) -> Confidence {
    let (weight, ports) = (best.case.weight(), best.case.ports.len());
    let alone = if weight >= HIGH_WEIGHT && ports >= 3 {
        Confidence::High
    } else if weight >= MEDIUM_WEIGHT && ports >= 2 {
        Confidence::Medium
    } else {
        Confidence::Low
    };
    let elsewhere = alternatives.iter().any(|other| {
        other.key.offset != best.key.offset && other.case.weight() * 10 >= weight * RIVAL_TENTHS
    });
    if elsewhere { alone.lowered() } else { alone }
}

/// A port whose content is what the row says.
const CONFIRMED_WEIGHT: i32 = 4;

/// A port that answers, and that is all.
const SILENT_WEIGHT: i32 = 2;

/// A port of a row that is on by default, and speaks something else.
const CONTRADICTED_WEIGHT: i32 = 3;

/// A port of a row that is on by default, and refuses: a firewall may do that.
const REFUSED_WEIGHT: i32 = 1;

/// Most installations leave the offset as it ships.
const AS_SHIPPED_BONUS: i32 = 3;

/// Retired products are met, but seldom.
const RETIRED_MALUS: i32 = 2;

/// What another product must have over the first one to explain what that leaves open.
const OWN_BONUS: i32 = 1;

/// One port whose content fits a row that is on by default, and whose number nobody else likes.
const LOW_WEIGHT: i32 = CONFIRMED_WEIGHT;

/// Two such ports, or three that only answer.
const MEDIUM_WEIGHT: i32 = 6;

/// Three such ports, or five that only answer.
const HIGH_WEIGHT: i32 = 10;

/// An alternative is one that has so many tenths of the best score.
const CLOSE_TENTHS: i32 = 6;

/// An alternative at another offset that explains so many tenths as much makes the reading less sure.
const RIVAL_TENTHS: i32 = 8;

/// Alternatives that are kept; products that share the common ports are a dozen.
const ALTERNATIVES_MAX: usize = 16;

/// Products on one host: an all-in-one demonstration has five or six.
const INSTANCES_MAX: usize = 8;

/// Numbers above 1023 that much other software listens on: they count half.
const POPULAR: [u16; 22] = [
    1883, 2222, 3000, 3306, 4000, 4040, 5672, 7000, 7001, 8000, 8080, 8081, 8443, 8883, 9000, 9001,
    9042, 9090, 9091, 9092, 9094, 9200,
];
