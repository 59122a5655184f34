//! Flows and hosts as published.

use std::net::IpAddr;

use super::hosts::HostFacts;
use super::resolve;
use super::tags::Tagged;
use super::view::View;
use super::{Join, Place, end_of};
use crate::classify::host::Confidence;
use crate::classify::{self, Basis, Tag};
use crate::decode::Encap;
use crate::error::Result;
use crate::packet::{ObservationPoint, Side};
use crate::pipeline::outputs::Outputs;
use crate::policy::{PortProof, PortState};
use crate::report::community_id::flow_id;
use crate::report::record::{
    Envelope, FlowRecord, HostPorts, HostRecord, PortRecord, Record, TagRecord, TlsRecord,
    TunnelRecord,
};

/// What an envelope borrows: made once for each flow that is written.
pub(super) struct Around<'a> {
    points: Vec<&'a ObservationPoint>,
    tunnel: Vec<TunnelRecord<'a>>,
    encap: &'a Encap,
}

impl<'a> Join<'a> {
    /// Returns what a flow travelled in and where it was seen.
    pub(super) fn around(&self, place: &Place, view: &View<'a>) -> Around<'a> {
        let encap = self.gathered.front.decoder.encap(view.flow.key.encap());
        let is_answer = view.flow.first_side != view.initiator_side();
        let tunnel = encap
            .tunnels
            .iter()
            .enumerate()
            .map(|(place, tunnel)| {
                // A mirror sends both directions from itself to its collector.
                let is_answer = is_answer && !tunnel.kind.is_mirror();
                let turned = (view.flow.outer >> place & 1 == 1) != is_answer;
                let ends =
                    tunnel.ends.map(|[low, high]| if turned { [high, low] } else { [low, high] });
                TunnelRecord {
                    kind: tunnel.kind.name(),
                    id: tunnel.id,
                    src_ip: ends.map(|[src, _]| src),
                    dest_ip: ends.map(|[_, dest]| dest),
                }
            })
            .collect();
        let elsewhere = self.gathered.shards[place.shard()].elsewhere(place.number());
        let points = std::iter::once(view.flow.point)
            .chain(elsewhere.map(|(point, _)| point))
            .filter_map(|point| self.points.get(usize::from(point.0)))
            .collect();
        Around { points, tunnel, encap }
    }
}

impl<'a> Around<'a> {
    /// Returns what every line about a flow begins with.
    pub(super) fn envelope(&self, view: &View<'a>) -> Envelope<'_> {
        Envelope {
            timestamp: view.flow.last,
            initiator: view.initiator(),
            responder: view.responder(),
            transport: view.transport(),
            app_proto: resolve::app_proto(view.flow, view.facts),
            flow_id: flow_id(&view.flow.key, view.flow.first.frame),
            points: &self.points,
            vlan: &self.encap.vlans,
            tunnel: &self.tunnel,
        }
    }
}

impl<'a> Join<'a> {
    /// Writes every flow, by first frame.
    pub(super) fn write_flows(&self, outputs: &mut Outputs) -> Result<()> {
        if !outputs.want_flows() {
            return Ok(());
        }
        for (place, tag) in self.places.iter().zip(&self.tag_of) {
            let view = self.view(place);
            let around = self.around(place, &view);
            let (initiator, responder) = (view.initiator_side(), view.responder_side());
            let of = |counts: [u64; 2], side: Side| counts[side.index()];
            let history = resolve::history(view.flow, initiator);
            let record = FlowRecord {
                envelope: around.envelope(&view),
                tag: self.tag_record(&view, self.tags.tagged(*tag)),
                pkts_toserver: of(view.flow.packets, initiator),
                pkts_toclient: of(view.flow.packets, responder),
                bytes_toserver: of(view.flow.bytes, initiator),
                bytes_toclient: of(view.flow.bytes, responder),
                start: view.flow.first.time,
                end: view.flow.last,
                state: resolve::state(view.flow),
                reason: resolve::reason(view.flow),
                encrypted: view.encrypted(),
                initiator_known: view.direction.known,
                conn_state: resolve::conn_state(view.flow, initiator),
                history: &history,
                first_frame: self.frame_in_file(view.flow.first.frame, &view),
                handshake_rtt_ns: (view.flow.handshake_ns > 0).then_some(view.flow.handshake_ns),
                requests: view.facts.map_or(0, |facts| facts.requests),
                tls: view.facts.and_then(|facts| facts.tls.as_deref()).map(|tls| TlsRecord {
                    sni: tls.sni.as_deref(),
                    alpn: &tls.alpn,
                    version: tls.version.and_then(tls_version),
                    cipher: tls.cipher,
                    client_certificate: tls.client_certificate,
                    negotiated: tls.negotiated,
                }),
                merged: view.flow.is_merged(),
                uninspected: view.facts.map(|facts| facts.uninspected).unwrap_or_default(),
            };
            outputs.record(Record::Flow(&record))?;
        }
        Ok(())
    }

    pub(super) fn tag_record<'b>(
        &'b self,
        view: &View<'_>,
        tagged: &'b Tagged<'a>,
    ) -> TagRecord<'b> {
        TagRecord {
            service: tagged.service.map(|service| service.id.as_str()),
            role: tagged.service.map(|service| service.role.name()),
            product: tagged.product,
            offset: tagged.tag.service().map(|candidate| i32::from(candidate.offset)),
            basis: tagged.tag.basis.map(Basis::name),
            candidates: &tagged.others,
            initiator_zone: self.zone_name(view.initiator().ip()),
            responder_zone: self.zone_name(view.responder().ip()),
        }
    }

    fn zone_name(&self, address: IpAddr) -> Option<&str> {
        let site = self.setting.site;
        site.zone_of(address).map(|zone| site.zone(zone).name.as_str())
    }

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
            zone: self.zone_name(address).map(str::to_owned),
            products,
            offset: reading.and_then(|reading| reading.offset(catalog)).map(i32::from),
            confidence: reading.map_or(Confidence::None, |reading| reading.confidence).name(),
            ports,
            notes,
        }
    }
}

/// Returns the name of a protocol version (RFC 8446 §4.2.1).
fn tls_version(version: u16) -> Option<&'static str> {
    Some(match version {
        0x0002 => "SSL 2.0",
        0x0300 => "SSL 3.0",
        0x0301 => "TLS 1.0",
        0x0302 => "TLS 1.1",
        0x0303 => "TLS 1.2",
        0x0304 => "TLS 1.3",
        _ => return None,
    })
}
