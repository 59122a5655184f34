//! Frames of common shapes become packets: what nearly all frames cost.

use super::ip::Ends;
use super::walk::Body;
use super::{Decoder, Direction, fast};
use crate::capture::FrameRecord;
use crate::packet::{At, EncapId, FlowKey, LinkType, Packet, Span};

impl Decoder {
    /// Decodes a frame of one of the commonest shapes; `None` leaves it to [`Decoder::decode_oddity`].
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "one caller a run, and a packet is large to hand over"
    )]
    pub fn decode_plain(
        &mut self,
        bytes: &[u8],
        record: &FrameRecord,
        number: u64,
    ) -> Option<Packet> {
        if let Some(trace) = &mut self.trace {
            // The hot path does not say where it found what.
            trace.clear();
            return None;
        }
        let plain = fast::read(record.span.of(bytes), record.link, &self.options.rules())?;
        let encap = self.in_vlans(plain.vlans);
        Some(self.plain_packet(plain.ends, &plain.body, encap, record, number))
    }

    /// Decodes frames as long as they are of the commonest shapes of all, from running number `number` on;
    /// returns how many were.
    #[inline]
    pub fn decode_run(
        &self,
        bytes: &[u8],
        frames: &[FrameRecord],
        number: u64,
        mut take: impl FnMut(Packet),
    ) -> usize {
        if self.trace.is_some() {
            return 0;
        }
        let (encap, rules) = (self.encaps.plain(), self.options.rules());
        for (index, record) in frames.iter().enumerate() {
            let plain = match record.link {
                LinkType::ETHERNET => fast::ipv4(record.span.of(bytes), &rules),
                _ => None,
            };
            let Some((ends, body)) = plain else { return index };
            take(self.plain_packet(ends, &body, encap, record, number + index as u64));
        }
        frames.len()
    }

    /// Makes the packet of a single frame that travels in nothing but VLANs.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "once a packet, and a packet is large to hand over")]
    fn plain_packet(
        &self,
        ends: Ends,
        body: &Body,
        encap: EncapId,
        record: &FrameRecord,
        number: u64,
    ) -> Packet {
        let direction = self.direction(ends, body, encap);
        let &Body { payload, cut_len, tcp, .. } = body;
        Packet {
            key: direction.key,
            hash: direction.hash,
            at: At { frame: number, time: record.time },
            wire_len: record.wire_len,
            frames: 1,
            payload: Span { start: record.span.start + payload.start, len: payload.len },
            cut_len,
            tcp,
            point: record.point,
            side: direction.side,
            outer: direction.outer,
            counted_only: false,
            merged: false,
        }
    }

    /// Makes the key of a packet, and its hash.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "once a packet, and too much to hand over")]
    pub(super) fn direction(&self, ends: Ends, body: &Body, encap: EncapId) -> Direction {
        let [from, to] = body.ports;
        let (key, side) = match ends {
            Ends::V4 { src, dst } => FlowKey::v4((src, from), (dst, to), body.transport, encap),
            Ends::V6 { src, dst } => FlowKey::v6((src, from), (dst, to), body.transport, encap),
        };
        Direction { hash: key.hash64(&self.seed), key, side, outer: 0 }
    }
}
