//! What records say of a flow: where it was seen, what it travelled in, what it is tagged.

use std::net::IpAddr;

use super::places::Place;
use super::resolve;
use super::sums::Scene;
use super::tags::Tagged;
use super::view::View;
use crate::classify::Basis;
use crate::decode::{Decoder, Encap};
use crate::packet::{ObservationPoint, Side};
use crate::report::community_id::flow_id;
use crate::report::record::{Envelope, FlowRecord, TagRecord, TlsRecord, TunnelRecord};
use crate::site::Site;

/// What an envelope borrows: made once for each flow that is written.
pub(super) struct Around<'a> {
    points: Vec<&'a ObservationPoint>,
    tunnel: Vec<TunnelRecord<'a>>,
    encap: &'a Encap,
}

/// What every record of a flow is made with.
#[derive(Clone, Copy)]
pub(super) struct Pen<'a> {
    pub(super) scene: Scene<'a>,
    pub(super) site: &'a Site,
    pub(super) decoder: &'a Decoder,
    pub(super) points: &'a [ObservationPoint],
    /// Running number of the first frame of each input.
    pub(super) input_starts: &'a [u64],
}

impl<'a> Pen<'a> {
    /// Returns what a flow travelled in and where it was seen.
    pub(super) fn around(self, place: &Place, view: &View<'a>) -> Around<'a> {
        let encap = self.decoder.encap(view.flow.key.encap());
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
        let elsewhere = self.scene.shards[place.shard()].elsewhere(place.number());
        let points = std::iter::once(view.flow.point)
            .chain(elsewhere.map(|(point, _)| point))
            .filter_map(|point| self.points.get(usize::from(point.0)))
            .collect();
        Around { points, tunnel, encap }
    }

    /// Returns a frame's number in its own input file, counted from 1.
    pub(super) fn frame_in_file(self, running: u64, view: &View<'_>) -> u64 {
        let input = self.points.get(usize::from(view.flow.point.0)).map_or(0, |point| point.input);
        // The flow may have begun in an earlier file than the one in which the frame was.
        let start = self.input_starts[input as usize..].iter().rfind(|start| **start <= running);
        running - start.copied().unwrap_or(1) + 1
    }

    /// Makes the record of a flow and hands it to `take`.
    pub(super) fn flow<T>(
        self,
        place: &Place,
        tagged: &Tagged<'_>,
        take: impl FnOnce(&FlowRecord<'_>) -> T,
    ) -> T {
        let view = self.scene.view(place);
        let around = self.around(place, &view);
        let (initiator, responder) = (view.initiator_side(), view.responder_side());
        let of = |counts: [u64; 2], side: Side| counts[side.index()];
        let history = resolve::history(view.flow, initiator);
        let record = FlowRecord {
            envelope: around.envelope(&view),
            tag: self.tag_record(&view, tagged),
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
        take(&record)
    }

    pub(super) fn tag_record<'b>(self, view: &View<'_>, tagged: &'b Tagged<'_>) -> TagRecord<'b>
    where
        'a: 'b,
    {
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

    /// Returns the name of an address's zone.
    pub(super) fn zone_name(self, address: IpAddr) -> Option<&'a str> {
        let site = self.site;
        site.zone_of(address).map(|zone| site.zone(zone).name.as_str())
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
