//! Sums over flows: by role, by service, by client, with round-trip times.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2Serializer};

use crate::packet::Transport;
use crate::report::summary::{RoleTotals, Rtt, ServiceTotals, Traffic};

/// Different clients that are told apart in one sum; beyond it the number stays there. Some 20 MB a
/// million addresses.
const CLIENTS_MAX: usize = 1 << 20;

/// Significant digits of the round-trip times: one part in a thousand.
const RTT_DIGITS: u8 = 3;

/// What is summed up of one flow.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// Address of the initiator.
    pub client: IpAddr,
    /// The responder's port and transport.
    pub port: (u16, Transport),
    /// The initiator's protocol.
    pub app_proto: &'a str,
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
    clients: HashSet<IpAddr, foldhash::fast::RandomState>,
    rtt: Option<Histogram<u64>>,
    ports: BTreeSet<(u16, Transport)>,
    app_protos: BTreeMap<String, u64>,
}

impl Sum {
    /// Adds one flow.
    pub fn add(&mut self, item: &Item<'_>) {
        self.flows += 1;
        self.packets += item.packets;
        self.bytes += item.bytes;
        if self.clients.len() < CLIENTS_MAX {
            self.clients.insert(item.client);
        }
        if item.handshake_ns > 0 {
            let histogram = self.rtt.get_or_insert_with(|| {
                Histogram::new(RTT_DIGITS).expect("three digits are a valid precision")
            });
            // Fails only beyond 64 bits; a saturating record would not let the histogram grow.
            histogram.record(item.handshake_ns).unwrap_or_default();
        }
        if !self.ports.contains(&item.port) && self.ports.len() < PORTS_MAX {
            self.ports.insert(item.port);
        }
        if let Some(count) = self.app_protos.get_mut(item.app_proto) {
            *count += 1;
        } else {
            self.app_protos.insert(item.app_proto.to_owned(), 1);
        }
    }

    /// Returns the published form.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            flows: self.flows,
            packets: self.packets,
            bytes: self.bytes,
            clients: self.clients.len() as u64,
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

/// Sums by role and by service.
#[derive(Default)]
pub struct Totals {
    /// All flows.
    pub all: Sum,
    /// Flows without a service.
    pub unclassified: Sum,
    services: HashMap<String, (String, String, Sum)>,
    roles: HashMap<String, Sum>,
    responders: HashSet<IpAddr, foldhash::fast::RandomState>,
}

/// What a flow's service is called.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// Its id.
    pub service: &'a str,
    /// Its role.
    pub role: &'a str,
    /// Its name for people.
    pub name: &'a str,
}

impl Totals {
    /// Adds one flow; `names` is `None` where it has no service.
    pub fn add(&mut self, item: &Item<'_>, responder: IpAddr, names: Option<Names<'_>>) {
        self.all.add(item);
        if self.responders.len() < CLIENTS_MAX {
            self.responders.insert(responder);
        }
        let Some(names) = names else {
            self.unclassified.add(item);
            return;
        };
        if !self.services.contains_key(names.service) {
            let entry = (names.role.to_owned(), names.name.to_owned(), Sum::default());
            self.services.insert(names.service.to_owned(), entry);
        }
        if let Some((_, _, sum)) = self.services.get_mut(names.service) {
            sum.add(item);
        }
        if !self.roles.contains_key(names.role) {
            self.roles.insert(names.role.to_owned(), Sum::default());
        }
        if let Some(sum) = self.roles.get_mut(names.role) {
            sum.add(item);
        }
    }

    /// Returns the number of different responders.
    pub fn hosts(&self) -> u64 {
        self.responders.len() as u64
    }

    /// Returns the sums by role, most flows first.
    pub fn by_role(&self) -> Vec<RoleTotals> {
        let mut roles: Vec<_> = self
            .roles
            .iter()
            .map(|(role, sum)| RoleTotals {
                role: role.clone(),
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
    pub fn by_service(&self) -> Vec<ServiceTotals> {
        let mut services: Vec<_> = self
            .services
            .iter()
            .map(|(service, (role, name, sum))| ServiceTotals {
                service: service.clone(),
                role: role.clone(),
                name: name.clone(),
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

fn commonest_first(counts: &BTreeMap<String, u64>) -> Vec<String> {
    let mut names: Vec<_> = counts.iter().collect();
    names.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    names.into_iter().map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_times_are_within_a_thousandth() {
        let mut sum = Sum::default();
        for handshake_ns in [600_000, 800_000, 41_000_000, u64::MAX] {
            let client = IpAddr::from([10, 0, 2, 7]);
            let port = (8280, Transport::Tcp);
            sum.add(&Item { client, port, app_proto: "http", packets: 1, bytes: 60, handshake_ns });
        }
        let rtt = sum.rtt(true).expect("four were measured");
        assert_eq!((rtt.count, rtt.max_ns), (4, u64::MAX));
        assert!(rtt.p50_ns.abs_diff(800_000) <= 800, "{}", rtt.p50_ns);
    }
}
