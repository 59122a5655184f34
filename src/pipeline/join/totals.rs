//! Sums over flows: by service, and from these by role and in all, with round-trip times.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2Serializer};

use super::addresses::{Addresses, Marks};
use crate::catalog::{Catalog, Service, ServiceId};
use crate::packet::Transport;
use crate::report::summary::{RoleTotals, Rtt, ServiceTotals, Traffic};

/// Significant digits of the round-trip times: one part in a thousand.
const RTT_DIGITS: u8 = 3;

/// What is summed up of one flow.
#[derive(Debug, Clone, Copy)]
pub struct Item {
    /// Address of the initiator.
    pub client: IpAddr,
    /// The responder's port and transport.
    pub port: (u16, Transport),
    /// The initiator's protocol.
    pub app_proto: &'static str,
    /// Packets of both sides.
    pub packets: u64,
    /// Wire bytes of both sides.
    pub bytes: u64,
    /// From the SYN to the acknowledgement of the SYN/ACK; 0 when not seen.
    pub handshake_ns: u64,
}

/// One sum.
#[derive(Default)]
pub struct Sum {
    flows: u64,
    packets: u64,
    bytes: u64,
    clients: Marks,
    rtt: Option<Histogram<u64>>,
    ports: BTreeSet<(u16, Transport)>,
    last_port: Option<(u16, Transport)>,
    app_protos: Vec<(&'static str, u64)>,
}

impl Sum {
    /// Adds one flow of the client with a number, if it has one.
    fn add(&mut self, item: &Item, client: Option<u32>) {
        self.flows += 1;
        self.packets += item.packets;
        self.bytes += item.bytes;
        if let Some(client) = client {
            self.clients.add(client);
        }
        if item.handshake_ns > 0 {
            // Fails only beyond 64 bits; a saturating record would not let the histogram grow.
            self.rtt.get_or_insert_with(histogram).record(item.handshake_ns).unwrap_or_default();
        }
        if self.last_port != Some(item.port) && self.ports.len() < PORTS_MAX {
            self.ports.insert(item.port);
            self.last_port = Some(item.port);
        }
        self.count_protocol(item.app_proto, 1);
    }

    /// Adds another sum, without its ports.
    fn merge(&mut self, other: &Self) {
        self.flows += other.flows;
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.clients.merge(&other.clients);
        if let Some(rtt) = &other.rtt {
            // Both grow as they need to.
            self.rtt.get_or_insert_with(histogram).add(rtt).unwrap_or_default();
        }
        for (name, count) in &other.app_protos {
            self.count_protocol(name, *count);
        }
    }

    fn count_protocol(&mut self, name: &'static str, more: u64) {
        if let Some((_, count)) = self.app_protos.iter_mut().find(|(known, _)| *known == name) {
            *count += more;
        } else {
            self.app_protos.push((name, more));
        }
    }

    /// Returns the published form.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            flows: self.flows,
            packets: self.packets,
            bytes: self.bytes,
            clients: self.clients.len(),
        }
    }

    /// Returns round-trip times, with the histogram itself where asked for.
    fn rtt(&self, with_histogram: bool) -> Option<Rtt> {
        self.rtt.as_ref().and_then(|rtt| published(rtt, with_histogram))
    }
}

/// Returns a histogram of times in its published form; `None` when it is empty.
pub fn published(times: &Histogram<u64>, with_histogram: bool) -> Option<Rtt> {
    (!times.is_empty()).then(|| Rtt {
        count: times.len(),
        p50_ns: times.value_at_quantile(0.5),
        p90_ns: times.value_at_quantile(0.9),
        p99_ns: times.value_at_quantile(0.99),
        max_ns: times.max(),
        histogram: if with_histogram { encode(times) } else { String::new() },
    })
}

fn histogram() -> Histogram<u64> {
    Histogram::new(RTT_DIGITS).expect("three digits are a valid precision")
}

/// Writes a histogram as HdrHistogram V2 in base64, as its log readers take it.
fn encode(histogram: &Histogram<u64>) -> String {
    use base64::Engine;
    let mut bytes = Vec::new();
    V2Serializer::new()
        .serialize(histogram, &mut bytes)
        .map(|_| base64::engine::general_purpose::STANDARD.encode(bytes))
        .unwrap_or_default()
}

/// Ports of one service that are listed.
const PORTS_MAX: usize = 64;

/// Sums by service; all others follow from them.
#[derive(Default)]
pub struct Totals {
    /// Flows without a service.
    unclassified: Sum,
    /// By the service's place in the catalogue.
    services: Vec<Option<Box<Sum>>>,
    addresses: Addresses,
    responders: Marks,
    last_responder: Option<IpAddr>,
}

impl Totals {
    /// Adds one flow; `service` is `None` where it has none.
    pub fn add(&mut self, item: &Item, responder: IpAddr, service: Option<ServiceId>) {
        if self.last_responder != Some(responder) {
            if let Some(number) = self.addresses.number(responder) {
                self.responders.add(number);
            }
            self.last_responder = Some(responder);
        }
        let client = self.addresses.number(item.client);
        let Some(service) = service else {
            self.unclassified.add(item, client);
            return;
        };
        let place = usize::from(service.0);
        if place >= self.services.len() {
            self.services.resize_with(place + 1, || None);
        }
        self.services[place].get_or_insert_default().add(item, client);
    }

    /// Takes over the sums by one catalogue into those by another; a service that is gone leaves its flows
    /// without one.
    pub fn renumber(&mut self, from: &Catalog, to: &Catalog) {
        let places: HashMap<&str, usize> = to
            .services()
            .iter()
            .enumerate()
            .map(|(at, service)| (service.id.as_str(), at))
            .collect();
        let old = std::mem::take(&mut self.services);
        for (service, sum) in from.services().iter().zip(old) {
            let Some(sum) = sum else { continue };
            match places.get(service.id.as_str()) {
                Some(place) => {
                    if *place >= self.services.len() {
                        self.services.resize_with(place + 1, || None);
                    }
                    self.services[*place] = Some(sum);
                }
                None => self.unclassified.merge(&sum),
            }
        }
    }

    /// Returns the number of different responders.
    pub fn hosts(&self) -> u64 {
        self.responders.len()
    }

    /// Tells whether there were more addresses than are told apart: then clients and hosts are at least so many.
    pub fn has_more_addresses(&self) -> bool {
        self.addresses.is_beyond()
    }

    /// Returns the flows without a service.
    pub fn unclassified(&self) -> Traffic {
        self.unclassified.traffic()
    }

    /// Returns all flows.
    pub fn all(&self) -> Traffic {
        let mut all = Sum::default();
        for sum in self.services.iter().flatten() {
            all.merge(sum);
        }
        all.merge(&self.unclassified);
        all.traffic()
    }

    fn seen<'a>(&'a self, catalog: &'a Catalog) -> impl Iterator<Item = (&'a Service, &'a Sum)> {
        let services = catalog.services().iter().zip(&self.services);
        services.filter_map(|(service, sum)| sum.as_deref().map(|sum| (service, sum)))
    }

    /// Returns the sums by role, most flows first.
    pub fn by_role(&self, catalog: &Catalog) -> Vec<RoleTotals> {
        let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
        for (service, sum) in self.seen(catalog) {
            sums.entry(service.role.name()).or_default().merge(sum);
        }
        let mut roles: Vec<_> = sums
            .into_iter()
            .map(|(role, sum)| RoleTotals {
                role: role.to_owned(),
                traffic: sum.traffic(),
                rtt: sum.rtt(false),
            })
            .collect();
        roles.sort_by(|a, b| {
            b.traffic.flows.cmp(&a.traffic.flows).then_with(|| a.role.cmp(&b.role))
        });
        roles
    }

    /// Returns the sums by service, most flows first.
    pub fn by_service(&self, catalog: &Catalog) -> Vec<ServiceTotals> {
        let mut services: Vec<_> = self
            .seen(catalog)
            .map(|(service, sum)| ServiceTotals {
                service: service.id.clone(),
                role: service.role.name().to_owned(),
                name: service.name.clone(),
                ports: sum.ports.iter().map(|(port, t)| format!("{port}/{t}")).collect(),
                app_protos: commonest_first(&sum.app_protos),
                traffic: sum.traffic(),
                rtt: sum.rtt(true),
            })
            .collect();
        services.sort_by(|a, b| {
            b.traffic.flows.cmp(&a.traffic.flows).then_with(|| a.service.cmp(&b.service))
        });
        services
    }
}

fn commonest_first(counts: &[(&'static str, u64)]) -> Vec<String> {
    let mut names = counts.to_vec();
    names.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    names.into_iter().map(|(name, _)| name.to_owned()).collect()
}
