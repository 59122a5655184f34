//! What each flow's endpoint is said to be, worked out once an endpoint.

use std::collections::HashMap;
use std::net::IpAddr;

use super::hosts::HostFacts;
use super::learned::Learned;
use super::view::View;
use crate::catalog::{AppProtocol, Catalog, Role, Service};
use crate::classify::{self, Basis, Heard, Tag};
use crate::packet::Transport;

/// A tag with the names that reports show of it.
pub(super) struct Tagged<'a> {
    pub(super) tag: Tag,
    pub(super) service: Option<&'a Service>,
    pub(super) product: Option<&'a str>,
    /// Ids of the other services that it could be.
    pub(super) others: Vec<&'a str>,
}

/// Names a tag: an index into [`Tags`].
pub(super) type TagNumber = u32;

/// The tags of all endpoints.
pub(super) struct Tags<'a> {
    catalog: &'a Catalog,
    tagged: Vec<Tagged<'a>>,
    by_endpoint: HashMap<(Option<IpAddr>, u16, Transport), TagNumber, foldhash::fast::RandomState>,
    by_content: HashMap<(Transport, Heard), TagNumber>,
    learned: Option<TagNumber>,
}

impl<'a> Tags<'a> {
    pub(super) fn new(catalog: &'a Catalog) -> Self {
        let mut tags = Self {
            catalog,
            tagged: Vec::new(),
            by_endpoint: HashMap::default(),
            by_content: HashMap::new(),
            learned: None,
        };
        tags.add(Tag::default());
        tags
    }

    pub(super) fn tagged(&self, number: TagNumber) -> &Tagged<'a> {
        &self.tagged[number as usize]
    }

    /// Returns the tag of a flow.
    pub(super) fn of(
        &mut self,
        view: &View<'_>,
        host: Option<&HostFacts>,
        learned: &Learned,
    ) -> TagNumber {
        let responder = view.responder();
        let reading = host.and_then(HostFacts::reading);
        let key = (reading.map(|_| responder.ip()), responder.port(), view.transport());
        let known = if let Some(known) = self.by_endpoint.get(&key) {
            *known
        } else {
            let (transport, port) = (view.transport(), responder.port());
            let tag = match reading {
                Some(reading) => reading.service_at(self.catalog, transport, port),
                None => classify::by_port(self.catalog, transport, port),
            };
            let number = self.add(tag);
            self.by_endpoint.insert(key, number);
            number
        };
        if learned.has(view, known == NO_TAG) && !self.is_jmx(known) {
            return self.learned(view);
        }
        if known == NO_TAG { self.content(view) } else { known }
    }

    fn is_jmx(&self, number: TagNumber) -> bool {
        let service = self.tagged(number).service;
        service.is_some_and(|service| service.protocol == AppProtocol::Rmi)
    }

    /// Returns the tag of an endpoint that a registry named: the JMX server at random.
    fn learned(&mut self, view: &View<'_>) -> TagNumber {
        if let Some(known) = self.learned {
            return known;
        }
        let random = self.catalog.random(view.transport(), AppProtocol::Rmi);
        let jmx = random.filter(|c| self.catalog.service(c.service).role == Role::Jmx);
        let candidates: Vec<_> = jmx.collect();
        let basis = (!candidates.is_empty()).then_some(Basis::Learned);
        let number = self.add(Tag { candidates, basis });
        self.learned = Some(number);
        number
    }

    fn content(&mut self, view: &View<'_>) -> TagNumber {
        let key = (view.transport(), view.heard);
        if let Some(known) = self.by_content.get(&key) {
            return *known;
        }
        let tag = classify::by_content(self.catalog, view.transport(), view.heard);
        let number = self.add(tag);
        self.by_content.insert(key, number);
        number
    }

    fn add(&mut self, tag: Tag) -> TagNumber {
        if tag.candidates.is_empty() && !self.tagged.is_empty() {
            return NO_TAG;
        }
        let service = tag.service().map(|c| self.catalog.service(c.service));
        let product = service.map(|service| self.catalog.product(service.product).id.as_str());
        let mut others = Vec::new();
        for candidate in tag.candidates.iter().skip(1) {
            let id = self.catalog.service(candidate.service).id.as_str();
            if !others.contains(&id) && service.is_none_or(|service| service.id != id) {
                others.push(id);
            }
        }
        self.tagged.push(Tagged { tag, service, product, others });
        u32::try_from(self.tagged.len() - 1).expect("fewer tags than endpoints")
    }
}

/// The tag of whatever has no service.
pub(super) const NO_TAG: TagNumber = 0;
