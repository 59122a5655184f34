//! What the flows show of their responders: which ports answered, what was spoken there, which endpoints
//! servers named to their clients.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::learned::Learned;
use super::view::View;
use crate::catalog::Catalog;
use crate::classify::Heard;
use crate::classify::host::{self, Declared, HostReader, HostReading};
use crate::inspect::Protocol;
use crate::packet::Transport;
use crate::site::Site;

/// Ports of all hosts that are kept: every port of a platform many times over; some 100 MB. A scan that is
/// answered everywhere fills it and takes nothing from the hosts known before.
const LISTENERS_MAX: usize = 1 << 20;

/// What one port of a host did.
#[derive(Default)]
pub(super) struct Listener {
    pub(super) answered: bool,
    pub(super) refused: bool,
    pub(super) flows: u64,
    pub(super) heard: BTreeSet<Heard>,
    pub(super) app_proto: Option<&'static str>,
}

/// One responder.
#[derive(Default)]
pub(super) struct HostFacts {
    pub(super) listeners: BTreeMap<(u16, Transport), Listener>,
    /// It calls itself a product of the platform, or speaks what only such a product speaks.
    pub(super) says_product: bool,
}

/// All responders that answered.
#[derive(Default)]
pub(super) struct Hosts {
    by_address: HashMap<IpAddr, HostFacts, foldhash::fast::RandomState>,
    listeners: usize,
    pub(super) learned: Learned,
    readings: HashMap<IpAddr, HostReading, foldhash::fast::RandomState>,
}

/// Hosts that are read, by address: every host of a platform and its neighbours. What is beyond is known by
/// its ports alone.
const READINGS_MAX: usize = 1 << 16;

impl Hosts {
    /// Notes what a flow shows of its responder, if that answered.
    pub(super) fn see(&mut self, view: &View<'_>, app_proto: &'static str) {
        self.learned.learn(view);
        if !view.is_answered() {
            return;
        }
        let responder = view.responder();
        let full = self.listeners >= LISTENERS_MAX;
        if full && !self.by_address.contains_key(&responder.ip()) {
            return;
        }
        let host = self.by_address.entry(responder.ip()).or_default();
        host.says_product |= view
            .facts
            .is_some_and(|facts| facts.wso2_server || facts.protocol == Some(Protocol::Databridge));
        let place = (responder.port(), view.transport());
        if full && !host.listeners.contains_key(&place) {
            return;
        }
        let listener = host.listeners.entry(place).or_insert_with(|| {
            self.listeners += 1;
            Listener::default()
        });
        listener.answered = true;
        listener.flows += 1;
        listener.heard.insert(view.heard);
        if !matches!(app_proto, "none" | "unknown") {
            listener.app_proto.get_or_insert(app_proto);
        }
    }

    /// Notes a flow that its responder turned away, if that is a host that answers elsewhere or that the site
    /// declares.
    pub(super) fn see_refused(&mut self, view: &View<'_>, site: &Site) {
        let responder = view.responder();
        if site.host_of(responder.ip()).is_some() {
            self.by_address.entry(responder.ip()).or_default();
        }
        let Some(host) = self.by_address.get_mut(&responder.ip()) else { return };
        let place = (responder.port(), view.transport());
        if self.listeners >= LISTENERS_MAX && !host.listeners.contains_key(&place) {
            return;
        }
        let listener = host.listeners.entry(place).or_insert_with(|| {
            self.listeners += 1;
            Listener::default()
        });
        listener.refused = true;
        listener.flows += u64::from(!view.is_answered());
    }

    /// Works out what runs on each host: on those that the site declares, and on those that answered
    /// where the catalogue, at some offset, has something.
    pub(super) fn read(&mut self, catalog: &Catalog, site: &Site) {
        let reader = HostReader::new(catalog);
        let mut readings = HashMap::default();
        for (address, host) in self.in_order() {
            if readings.len() >= READINGS_MAX {
                break;
            }
            let declared = site
                .host_of(address)
                .map(|host| Declared { products: host.products.clone(), offset: host.offset });
            let documented =
                |(port, transport): &(u16, Transport)| catalog.is_catalogued(*transport, *port);
            if declared.is_none()
                && host.listeners.len() < 2
                && !host.listeners.keys().any(documented)
            {
                continue;
            }
            let listeners = host.listeners.iter().map(|(&(port, transport), listener)| {
                let Listener { answered, refused, ref heard, .. } = *listener;
                host::Listener { transport, port, answered, refused, heard: heard.clone() }
            });
            let listeners: Vec<_> = listeners.collect();
            readings.insert(address, reader.read(&declared.unwrap_or_default(), &listeners));
        }
        self.readings = readings;
    }

    /// Tells whether any host has ports at several offsets.
    pub(super) fn has_strays(&self) -> bool {
        self.readings.values().any(|reading| !reading.strays.is_empty())
    }

    /// Returns what was found to run on a host.
    pub(super) fn reading(&self, address: IpAddr) -> Option<&HostReading> {
        self.readings.get(&address)
    }

    /// Tells whether content or the other ports of a responder say that it is one of the products.
    pub(super) fn is_product(&self, address: IpAddr) -> bool {
        self.by_address.get(&address).is_some_and(|host| host.says_product)
            || self.reading(address).is_some_and(HostReading::is_product)
    }

    /// Tells whether a host was seen to answer, or to refuse where the site declares it.
    pub(super) fn is_known(&self, address: IpAddr) -> bool {
        self.by_address.contains_key(&address)
    }

    /// Returns all of them, by address.
    pub(super) fn in_order(&self) -> Vec<(IpAddr, &HostFacts)> {
        let mut hosts: Vec<_> = self.by_address.iter().map(|(a, host)| (*a, host)).collect();
        hosts.sort_unstable_by_key(|(address, _)| *address);
        hosts
    }
}
