//! Transports that the site declares disabled, and what the capture proves of each.

use std::collections::HashMap;
use std::net::IpAddr;

use super::judge::Subject;
use crate::catalog::{Catalog, Port, ServiceId};
use crate::packet::Transport;
use crate::site::Site;

/// What became of an attempt to reach a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Nobody answered.
    Silent,
    /// The host said no: a reset, an ICMP unreachable.
    Refused,
    /// The host answered.
    Answered,
}

/// What the capture proves of a transport that is said to be off. Ordered: `Open` is the gravest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortState {
    /// Somebody tried, and the host refused.
    Refused,
    /// Somebody tried, and nothing came back.
    Silent,
    /// Nobody tried: that proves nothing.
    NotExercised,
    /// It answered.
    Open,
}

impl PortState {
    /// Returns the name as reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Silent => "silent",
            Self::NotExercised => "not exercised",
            Self::Open => "open",
        }
    }
}

/// One endpoint that should not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortProof {
    /// The service that is declared disabled.
    pub service: ServiceId,
    /// The declared host, where the site has one that runs the product.
    pub host: Option<String>,
    /// The address; `None` where no host of the product is declared or was met.
    pub address: Option<IpAddr>,
    /// The port under the host's offset; where the site does not say that, the one that was tried.
    pub port: u16,
    /// TCP or UDP.
    pub transport: Transport,
    /// What was proved.
    pub state: PortState,
    /// Attempts that were seen.
    pub flows: u64,
}

/// All endpoints that should not answer. Fed with every flow of a run.
#[derive(Debug)]
pub struct DisabledRun {
    proofs: Vec<PortProof>,
    by_address: HashMap<IpAddr, Vec<Watched>>,
    /// Services that no declared host runs: any host whose endpoint may be it counts.
    anywhere: Vec<usize>,
}

/// A proof of a declared host.
#[derive(Debug, Clone, Copy)]
struct Watched {
    proof: usize,
    /// Where it listens at the offset that the site declares. Without one, the service is where the host's other
    /// ports say that it is.
    ports: Option<Port>,
}

/// Addresses of one declared host that are watched: a prefix of more is a network, not a host.
const ADDRESSES_MAX: usize = 256;

impl DisabledRun {
    /// Begins with no flow.
    pub fn new(site: &Site, catalog: &Catalog) -> Self {
        let mut run = Self { proofs: Vec::new(), by_address: HashMap::new(), anywhere: Vec::new() };
        for (id, _) in &site.policy.disabled {
            let service = catalog.service(*id);
            let ports = |offset: Option<u16>| {
                let port = offset.map_or(Some(service.port), |offset| service.port_at(offset));
                port.and_then(Port::first)
            };
            let before = run.proofs.len();
            for host in site.hosts() {
                let port = ports(host.offset).filter(|_| host.runs(service));
                let Some(port) = port else { continue };
                for transport in service.transports.iter() {
                    let addresses = host.prefixes.iter().flat_map(ipnet::IpNet::hosts);
                    for address in addresses.take(ADDRESSES_MAX) {
                        let watched = Watched {
                            proof: run.proofs.len(),
                            ports: host.offset.and_then(|offset| service.port_at(offset)),
                        };
                        run.by_address.entry(address).or_default().push(watched);
                        run.proofs.push(PortProof {
                            service: *id,
                            host: Some(host.name.clone()),
                            address: Some(address),
                            port,
                            transport,
                            state: PortState::NotExercised,
                            flows: 0,
                        });
                    }
                }
            }
            if run.proofs.len() == before
                && let Some(port) = ports(None)
            {
                for transport in service.transports.iter() {
                    run.anywhere.push(run.proofs.len());
                    run.proofs.push(PortProof {
                        service: *id,
                        host: None,
                        address: None,
                        port,
                        transport,
                        state: PortState::NotExercised,
                        flows: 0,
                    });
                }
            }
        }
        run
    }

    /// Looks at one flow.
    pub fn flow(&mut self, subject: &Subject<'_>, reach: Reach) {
        if self.proofs.is_empty() {
            return;
        }
        let (address, port) = (subject.responder.ip().to_canonical(), subject.responder.port());
        let may_be = |proof: &PortProof| {
            proof.transport == subject.transport
                && subject.tag.candidates.iter().any(|c| c.service == proof.service)
        };
        for watched in self.by_address.get(&address).into_iter().flatten() {
            let proof = &mut self.proofs[watched.proof];
            let is_there = match watched.ports {
                Some(ports) => ports.contains(port) && proof.transport == subject.transport,
                None => may_be(proof),
            };
            if is_there {
                proof.see(port, reach);
            }
        }
        for index in &self.anywhere {
            let proof = &mut self.proofs[*index];
            if may_be(proof) {
                proof.see(port, reach);
            }
        }
    }

    /// Takes over what was proved of the same endpoints by another site file.
    pub fn take_over(&mut self, from: &Self, from_catalog: &Catalog, catalog: &Catalog) {
        for proof in &mut self.proofs {
            let id = &catalog.service(proof.service).id;
            let is_same = |old: &&PortProof| {
                let same = (old.address, old.port, old.transport);
                same == (proof.address, proof.port, proof.transport)
                    && from_catalog.service(old.service).id == *id
            };
            if let Some(old) = from.proofs.iter().find(is_same) {
                (proof.state, proof.flows) = (old.state, old.flows);
            }
        }
    }

    /// Returns what was proved of each endpoint, in the order of the site file.
    pub fn proofs(&self) -> &[PortProof] {
        &self.proofs
    }
}

impl PortProof {
    fn see(&mut self, port: u16, reach: Reach) {
        self.flows += 1;
        let state = match reach {
            Reach::Silent => PortState::Silent,
            Reach::Refused => PortState::Refused,
            Reach::Answered => PortState::Open,
        };
        if self.state == PortState::NotExercised || self.state < state {
            (self.state, self.port) = (state, port);
        }
    }
}
