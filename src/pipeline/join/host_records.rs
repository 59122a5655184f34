//! Hosts as published.

use std::net::IpAddr;

use super::hosts::HostFacts;
use super::{Join, end_of};
use crate::classify::host::Confidence;
use crate::classify::{self, Tag};
use crate::policy::{PortProof, PortState};
use crate::report::record::{HostPorts, HostRecord, PortRecord};

impl Join<'_> {
    /// Returns the responders that answered, with what their ports did.
    pub(super) fn host_records(&self, proofs: &[PortProof]) -> impl Iterator<Item = HostRecord> {
        let hosts = self.hosts.in_order().into_iter();
        hosts.map(move |(address, host)| self.host_record(address, host, proofs))
    }

    fn host_record(&self, address: IpAddr, host: &HostFacts, proofs: &[PortProof]) -> HostRecord {
        let catalog = self.setting.catalog;
        let reading = host.reading();
        let name = |tag: Tag| tag.service().map(|c| catalog.service(c.service).id.clone());
        let mut ports = HostPorts::default();
        for listener in &host.listeners {
            let (port, transport) = (listener.port, listener.transport);
            let tag = match reading {
                Some(reading) => reading.service_at(catalog, transport, port),
                None => classify::by_port(catalog, transport, port),
            };
            let app_proto = listener.app_proto.map(str::to_owned);
            let flows = listener.flows;
            let record = PortRecord { port, transport, service: name(tag), app_proto, flows };
            if listener.answered {
                ports.answered.push(record);
            } else if listener.refused {
                ports.refused.push(record);
            }
        }
        let mut notes = Vec::new();
        let mut products = Vec::new();
        if let Some(reading) = reading {
            ports.never_seen.extend(reading.never_seen.iter().map(|placed| PortRecord {
                port: placed.port,
                transport: placed.transport,
                service: Some(catalog.service(placed.service).id.clone()),
                app_proto: None,
                flows: 0,
            }));
            notes = reading.notes(catalog);
            products.extend(reading.products().iter().map(|id| catalog.product(*id).id.clone()));
        }
        notes.extend(self.hosts.learned.notes(address));
        let about = proofs.iter().filter(|proof| proof.address == Some(address));
        notes.extend(about.filter(|proof| proof.state != PortState::NotExercised).map(|proof| {
            let id = &catalog.service(proof.service).id;
            let PortProof { port, transport, state, .. } = proof;
            format!("{id} on {port}/{transport} is declared disabled: {}", state.name())
        }));
        HostRecord {
            timestamp: end_of(self.gathered),
            address,
            name: self.setting.site.host_of(address).map(|host| host.name.clone()),
            zone: self.pen().zone_name(address).map(str::to_owned),
            products,
            offset: reading.and_then(|reading| reading.offset(catalog)).map(i32::from),
            confidence: reading.map_or(Confidence::None, |reading| reading.confidence).name(),
            ports,
            notes,
        }
    }
}
