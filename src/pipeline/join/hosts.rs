//! What the flows show of their responders: which ports answered, what was spoken there, which endpoints
//! servers named to their clients.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::learned::Learned;
use super::view::View;
use crate::catalog::{AppProtocol, Catalog};
use crate::classify::Heard;
use crate::classify::host::{self, Declared, HostReader, HostReading};
use crate::packet::Transport;
use crate::site::Site;

/// Ports of all hosts that are kept: every port of a platform many times over; some 25 MB if each is a host
/// of its own. A scan that is answered everywhere fills it and takes nothing from the hosts known before.
const LISTENERS_MAX: usize = 1 << 17;

/// What one port of a host did.
pub(super) struct Listener {
    pub(super) port: u16,
    pub(super) transport: Transport,
    pub(super) answered: bool,
    pub(super) refused: bool,
    pub(super) flows: u64,
    /// In order.
    heard: Vec<Heard>,
    pub(super) app_proto: Option<&'static str>,
}

impl Listener {
    fn new(port: u16, transport: Transport) -> Self {
        Self {
            port,
            transport,
            answered: false,
            refused: false,
            flows: 0,
            heard: Vec::new(),
            app_proto: None,
        }
    }

    fn place(&self) -> (u16, Transport) {
        (self.port, self.transport)
    }
}

/// One responder.
#[derive(Default)]
pub(super) struct HostFacts {
    /// By port and transport. A list: a scan shows many hosts with one port each.
    pub(super) listeners: Vec<Listener>,
    /// Something was seen since it was read that may change what it is.
    is_changed: bool,
    /// There was no room to read it.
    is_unread: bool,
    /// It calls itself a product of the platform, or speaks what only such a product speaks.
    says_product: bool,
    /// What was found to run on it; hosts with the same listeners share it.
    reading: Option<Arc<HostReading>>,
}

impl HostFacts {
    /// Returns what was found to run on the host.
    pub(super) fn reading(&self) -> Option<&HostReading> {
        self.reading.as_deref()
    }

    /// Tells whether content or its other ports say that it is one of the products.
    pub(super) fn is_product(&self) -> bool {
        self.says_product || self.reading().is_some_and(HostReading::is_product)
    }

    /// Returns its listeners as they are read.
    fn as_read(&self) -> Vec<host::Listener> {
        let listeners = self.listeners.iter().map(|listener| {
            let Listener { port, transport, answered, refused, ref heard, .. } = *listener;
            let heard = heard.iter().copied().collect::<BTreeSet<_>>();
            host::Listener { transport, port, answered, refused, heard }
        });
        listeners.collect()
    }
}

/// All responders that answered.
#[derive(Default)]
pub(super) struct Hosts {
    by_address: HashMap<IpAddr, HostFacts, foldhash::fast::RandomState>,
    listeners: usize,
    pub(super) learned: Learned,
    /// How often a flow showed something of a port for which there was no room.
    beyond: u64,
    /// Hosts that were not read for want of room.
    unread: usize,
    /// Hosts that are to be read.
    changed: Vec<IpAddr>,
    /// Hosts that were read.
    readings: usize,
    /// What was found by listeners, of hosts that the site does not declare.
    shared: Shared,
}

/// A platform's hosts are copies of one another, and come one after the other.
type Shared = HashMap<Vec<host::Listener>, Arc<HostReading>, foldhash::fast::RandomState>;

/// Readings that are kept for hosts to come.
const SHARED_MAX: usize = 1 << 10;

/// Hosts that are read, by address: every host of a platform and its neighbours. What is beyond is known by
/// its ports alone.
const READINGS_MAX: usize = 1 << 14;

impl Hosts {
    /// Notes what a flow shows of its responder, if that answered.
    pub(super) fn see(&mut self, view: &View<'_>, app_proto: &'static str) {
        self.learned.learn(view);
        if !view.is_answered() {
            return;
        }
        let heard = view.heard_of_responder();
        let says_product = view.facts.is_some_and(|facts| facts.wso2_server)
            || heard == Heard::Clear(AppProtocol::Databridge);
        let Some(listener) = self.listener(view, says_product, true) else { return };
        listener.flows += 1;
        if !matches!(app_proto, "none" | "unknown") {
            listener.app_proto.get_or_insert(app_proto);
        }
        let is_new = match listener.heard.binary_search(&heard) {
            Ok(_) => false,
            Err(place) => {
                listener.heard.reserve_exact(1);
                listener.heard.insert(place, heard);
                true
            }
        };
        if is_new || !listener.answered {
            listener.answered = true;
            self.note_changed(view.responder().ip());
        }
    }

    /// Notes a flow that its responder turned away, if that is a host that answers elsewhere or that the site
    /// declares.
    pub(super) fn see_refused(&mut self, view: &View<'_>, site: &Site) {
        let responder = view.responder();
        let is_declared = site.host_of(responder.ip()).is_some();
        let Some(listener) = self.listener(view, false, is_declared) else { return };
        listener.flows += u64::from(!view.is_answered());
        if !listener.refused {
            listener.refused = true;
            self.note_changed(responder.ip());
        }
    }

    /// Returns what is known of the port that a flow went to, made when it is new; `None` when there are too
    /// many, or the host is new and is not to be made.
    fn listener(
        &mut self,
        view: &View<'_>,
        says_product: bool,
        makes_host: bool,
    ) -> Option<&mut Listener> {
        let responder = view.responder();
        let full = self.listeners >= LISTENERS_MAX;
        let host = match self.by_address.entry(responder.ip()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if !makes_host => return None,
            Entry::Vacant(_) if full => {
                self.beyond += 1;
                return None;
            }
            Entry::Vacant(new) => new.insert(HostFacts::default()),
        };
        host.says_product |= says_product;
        let (port, transport) = (responder.port(), view.transport());
        let place = host.listeners.binary_search_by_key(&(port, transport), Listener::place);
        let place = match place {
            Ok(place) => place,
            Err(_) if full => {
                self.beyond += 1;
                return None;
            }
            Err(place) => {
                self.listeners += 1;
                if host.listeners.is_empty() {
                    host.listeners.reserve_exact(1);
                }
                host.listeners.insert(place, Listener::new(port, transport));
                place
            }
        };
        Some(&mut host.listeners[place])
    }

    fn note_changed(&mut self, address: IpAddr) {
        if let Some(host) = self.by_address.get_mut(&address)
            && !std::mem::replace(&mut host.is_changed, true)
        {
            self.changed.push(address);
        }
    }

    /// Returns how often a flow showed something of a port that is beyond the limit.
    pub(super) fn beyond(&self) -> u64 {
        self.beyond
    }

    /// Returns how many hosts were not read, since there are too many.
    pub(super) fn unread(&self) -> usize {
        self.unread
    }

    /// Goes over to another catalogue or site: every host is read anew.
    pub(super) fn forget_readings(&mut self) {
        self.readings = 0;
        self.shared.clear();
        self.unread = 0;
        self.changed.clear();
        self.changed.extend(self.by_address.keys().copied());
        for host in self.by_address.values_mut() {
            (host.is_changed, host.is_unread, host.reading) = (true, false, None);
        }
    }

    /// Works out what runs on each host of which something new was seen: on those that the site declares, and
    /// on those that answered where the catalogue, at some offset, has something.
    pub(super) fn read(&mut self, catalog: &Catalog, site: &Site) {
        let mut changed = std::mem::take(&mut self.changed);
        if changed.is_empty() {
            return;
        }
        // Whoever is first while there is room does not depend on a hash.
        changed.sort_unstable();
        let reader = HostReader::new(catalog);
        for address in changed {
            let Some(host) = self.by_address.get_mut(&address) else { continue };
            host.is_changed = false;
            let declared = site
                .host_of(address)
                .map(|host| Declared { products: host.products.clone(), offset: host.offset });
            let mut listeners = host.listeners.iter();
            if declared.is_none()
                && host.listeners.len() < 2
                && !listeners
                    .any(|listener| catalog.is_catalogued(listener.transport, listener.port))
            {
                continue;
            }
            if host.reading.is_none() {
                if self.readings >= READINGS_MAX {
                    self.unread += usize::from(!std::mem::replace(&mut host.is_unread, true));
                    continue;
                }
                self.readings += 1;
            }
            let listeners = host.as_read();
            host.reading = Some(match declared {
                Some(declared) => Arc::new(reader.read(&declared, &listeners)),
                None => match self.shared.entry(listeners) {
                    Entry::Occupied(same) => Arc::clone(same.get()),
                    Entry::Vacant(new) => {
                        let reading = Arc::new(reader.read(&Declared::default(), new.key()));
                        Arc::clone(new.insert(reading))
                    }
                },
            });
        }
        if self.shared.len() > SHARED_MAX {
            // Few hosts are like these: most readings are on the way to others.
            self.shared = Shared::default();
        }
    }

    /// Tells whether any host has ports at several offsets.
    pub(super) fn has_strays(&self) -> bool {
        let mut readings = self.by_address.values().filter_map(HostFacts::reading);
        readings.any(|reading| !reading.strays.is_empty())
    }

    /// Returns what is known of a host.
    #[inline]
    pub(super) fn of(&self, address: IpAddr) -> Option<&HostFacts> {
        self.by_address.get(&address)
    }

    /// Returns what was found to run on a host.
    pub(super) fn reading(&self, address: IpAddr) -> Option<&HostReading> {
        self.of(address)?.reading()
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
