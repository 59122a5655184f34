//! Second reading: the frames are overwritten and written.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::io::Write;

use foldhash::fast::FixedState;

use super::flows::{FlowName, Flows};
use super::plan::{Plans, first_byte};
use super::{Scope, Seen, Subjects, Visitor, cannot_write};
use crate::capture::write::PcapngWriter;
use crate::capture::{Block, FrameRecord};
use crate::decode::{self, Decoded, Decoder, Origin, Stop};
use crate::error::Result;
use crate::inspect::redact::{FILL, datagram};
use crate::packet::{ObservationPoint, Packet, Transport};

/// Bytes of frames that wait for the fragments which complete their datagram. A fragment that is pushed out
/// is overwritten whole.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Fragments whose text is remembered for the copies that a second mirror port delivers.
const COPIES_MAX: usize = 4_096;

/// Farther from the bytes seen so far a segment is of another time or forged (see `flow::stream`).
const AHEAD_MAX: i64 = 64 << 20;

/// Stands where a copy of a byte differs from the first one.
const CONFLICT: u8 = b'Y';

/// Addresses and operation of ARP (RFC 826), which nobody keeps secret.
const ARP_LEN: usize = 28;

/// Bytes behind the last sound header that may be what is wrong with a frame, fewest first.
const FAULT_LENS: [usize; 6] = [0, 4, 8, 12, 20, 40];

/// Overwrites frames.
pub(super) struct Frames<'a, W: Write> {
    subjects: &'a Subjects,
    plans: Plans,
    scope: Scope,
    decode: decode::Options,
    writer: PcapngWriter<W>,
    flows: Flows<'a>,
    /// How far each side of a connection has come.
    reached: HashMap<FlowName, [u64; 2]>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    copies: HashMap<u64, Vec<u8>>,
    hasher: FixedState,
    points: Vec<ObservationPoint>,
    written: u64,
}

/// A frame that is not written yet.
struct Waiting {
    record: FrameRecord,
    number: u64,
    original: Vec<u8>,
    /// What will be written; never holds a secret.
    text: Vec<u8>,
    /// Where the data of a fragment begin.
    fragment_at: usize,
    flow: Option<FlowName>,
    is_open: bool,
}

impl<'a, W: Write> Frames<'a, W> {
    pub(super) fn new(
        subjects: &'a Subjects,
        plans: Plans,
        scope: Scope,
        budget: u64,
        decode: &decode::Options,
        writer: PcapngWriter<W>,
    ) -> Self {
        Self {
            subjects,
            plans,
            scope,
            decode: decode.clone(),
            writer,
            flows: Flows::new(subjects, budget / 2),
            reached: HashMap::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            copies: HashMap::new(),
            hasher: FixedState::with_seed(decode.hash_seed),
            points: Vec::new(),
            written: 0,
        }
    }

    /// Writes what still waits; returns the number of frames.
    pub(super) fn finish(mut self) -> Result<u64> {
        while let Some(frame) = self.waiting.pop_front() {
            self.write(&frame)?;
        }
        self.writer.finish().map_err(cannot_write)?;
        Ok(self.written)
    }

    /// Overwrites the payload of a packet.
    fn payload(&mut self, name: FlowName, packet: &Packet, payload: &mut [u8]) {
        if packet.key.transport() == Transport::Udp {
            return datagram(self.subjects.protocol(name.id), payload);
        }
        let side = packet.side.index();
        let Some(plan) = self.plans.by_flow.get(&name) else { return payload.fill(FILL) };
        let Some(base) = plan.base[side] else { return payload.fill(FILL) };
        let reached = &mut self.reached.entry(name).or_default()[side];
        let [a, b, c, d, ..] = reached.to_le_bytes();
        let expected = base.wrapping_add(u32::from_le_bytes([a, b, c, d]));
        let ahead = i64::from(first_byte(packet).wrapping_sub(expected).cast_signed());
        let at = i64::try_from(*reached).unwrap_or(i64::MAX).saturating_add(ahead);
        if ahead.abs() > AHEAD_MAX {
            return payload.fill(FILL);
        }
        // A keep-alive's byte may lie before the stream.
        let before = usize::try_from(-at).unwrap_or(0).min(payload.len());
        let (early, rest) = payload.split_at_mut(before);
        early.fill(FILL);
        let at = u64::try_from(at).unwrap_or(0);
        plan.shown[side].write(at, rest);
        *reached = (*reached).max(at + rest.len() as u64);
        if self.plans.conflicts.contains(&packet.at.frame)
            && let Some(first) = payload.first_mut()
        {
            *first = CONFLICT;
        }
    }

    /// Finds a packet's flow.
    fn packet(&mut self, packet: &Packet) -> FlowName {
        let Self { flows, reached, .. } = self;
        let gone = |gone| {
            reached.remove(&gone);
        };
        flows.packet(packet, gone).0
    }

    /// Takes a packet that was one frame.
    fn plain(&mut self, name: FlowName, packet: &Packet, headers_len: usize, frame: &mut Waiting) {
        let at = (packet.payload.start - frame.record.span.start) as usize;
        let (headers, behind) = frame.text.split_at_mut(at);
        overwrite_header(packet.key.transport(), headers, headers_len);
        let (payload, padding) = behind.split_at_mut(packet.payload.len as usize);
        self.payload(name, packet, payload);
        padding.fill(0);
        frame.flow = Some(name);
    }

    /// Takes a packet whose frame completed a datagram, or what of a datagram joined no flow.
    fn joined(&mut self, seen: &Seen<'_>, joined_at: u32, flow: Option<(FlowName, &Packet)>) {
        let Some(trace) = seen.decoder.trace() else { return };
        let original = seen.block.bytes.get(joined_at as usize..).unwrap_or(&[]);
        let mut text = original.to_vec();
        if let Some((name, packet)) = flow {
            let at = (packet.payload.start - joined_at) as usize;
            let (headers, behind) = text.split_at_mut(at);
            overwrite_header(packet.key.transport(), headers, trace.headers_len as usize);
            let (payload, padding) = behind.split_at_mut(packet.payload.len as usize);
            self.payload(name, packet, payload);
            padding.fill(FILL);
        } else {
            let shown = (trace.headers_len as usize).min(text.len());
            text[shown..].fill(FILL);
        }
        for origin in &trace.origins {
            let Some(frame) = self.find(origin.frame) else { continue };
            frame.flow = flow.map(|(name, _)| name);
            frame.is_open = false;
            frame.patch(origin, original, &text);
        }
        self.remember(&trace.origins);
    }

    fn find(&mut self, number: u64) -> Option<&mut Waiting> {
        let index = self.waiting.binary_search_by_key(&number, |frame| frame.number).ok()?;
        self.waiting.get_mut(index)
    }

    /// Remembers the text of fragments.
    fn remember(&mut self, origins: &[Origin]) {
        if self.copies.len() > COPIES_MAX {
            self.copies.clear();
        }
        for origin in origins {
            let Ok(index) = self.waiting.binary_search_by_key(&origin.frame, |frame| frame.number)
            else {
                continue;
            };
            let frame = &self.waiting[index];
            let hash = self.hasher.hash_one(&frame.original[frame.fragment_at..]);
            self.copies.insert(hash, frame.text[frame.fragment_at..].to_vec());
        }
    }

    /// Takes a copy of a fragment whose datagram was joined before.
    fn copy(&self, name: FlowName, frame: &mut Waiting) {
        let (original, text) = (&frame.original[frame.fragment_at..], &mut frame.text);
        let known = self.copies.get(&self.hasher.hash_one(original));
        match known.filter(|known| known.len() == original.len()) {
            Some(known) => text[frame.fragment_at..].copy_from_slice(known),
            None => text[frame.fragment_at..].fill(FILL),
        }
        frame.flow = Some(name);
    }

    /// Takes a frame that joined no flow.
    fn stopped(&self, stop: Stop, shown: usize, frame: &mut Waiting) {
        match stop {
            Stop::Arp => frame.show(shown + ARP_LEN),
            // What is wrong must still be wrong.
            Stop::Malformed | Stop::Truncated => {
                let _ = FAULT_LENS.iter().any(|len| {
                    frame.show(shown + len);
                    self.stop_of(frame) == Some(stop)
                });
            }
            _ => frame.show(shown),
        }
    }

    /// Returns why a frame, as overwritten, joins no flow.
    fn stop_of(&self, frame: &Waiting) -> Option<Stop> {
        let mut block = Block::default();
        let FrameRecord { time, point, link, wire_len, .. } = frame.record;
        block.push(time, point, link, wire_len, &frame.text);
        match Decoder::new(self.decode.clone()).decode(&mut block, 0, 1) {
            Decoded::Stop(stop) => Some(stop),
            _ => None,
        }
    }

    /// Writes what waits for nothing any more.
    fn flush(&mut self) -> Result<()> {
        while let Some(first) = self.waiting.front() {
            if first.is_open && self.waiting_bytes <= WAITING_BYTES_MAX {
                break;
            }
            let Some(frame) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= frame.original.len();
            self.write(&frame)?;
        }
        Ok(())
    }

    fn write(&mut self, frame: &Waiting) -> Result<()> {
        let comments = frame.flow.map_or(&[][..], |name| self.subjects.comments(name.id));
        if self.scope == Scope::Findings && comments.is_empty() {
            return Ok(());
        }
        let place = usize::from(frame.record.point.0);
        let (none, several) =
            (ObservationPoint::default(), self.points.iter().any(|p| p.input > 0));
        let point = self.points.get(place).unwrap_or(&none);
        self.writer
            .frame(&frame.record, &frame.text, point, several, comments)
            .map_err(cannot_write)?;
        self.written += 1;
        Ok(())
    }
}

impl<W: Write> Visitor for Frames<'_, W> {
    fn frame(&mut self, seen: &Seen<'_>) -> Result<()> {
        let known = self.points.len();
        self.points.extend(seen.source.points().iter().skip(known).cloned());
        let original = seen.record.span.of(&seen.block.bytes).to_vec();
        let trace = seen.decoder.trace().cloned().unwrap_or_default();
        let mut frame = Waiting {
            record: seen.record,
            number: seen.number,
            text: original.clone(),
            fragment_at: trace.fragment_at.map_or(original.len(), |at| at as usize),
            original,
            flow: None,
            is_open: false,
        };
        frame.text[frame.fragment_at..].fill(FILL);
        let mut flow = None;
        match &seen.decoded {
            Decoded::Packet(packet) => {
                let name = self.packet(packet);
                flow = Some((name, packet));
                if packet.counted_only {
                    self.copy(name, &mut frame);
                } else if trace.joined_at.is_none() {
                    self.plain(name, packet, trace.headers_len as usize, &mut frame);
                }
            }
            Decoded::Held => frame.is_open = true,
            Decoded::Stop(stop) if trace.fragment_at.is_none() => {
                self.stopped(*stop, trace.headers_len as usize, &mut frame);
            }
            Decoded::Stop(_) => {}
            Decoded::Unreachable(quoted) => {
                self.flows.refuse(quoted.hash, &quoted.key);
                if trace.fragment_at.is_none() {
                    frame.show(trace.headers_len as usize);
                }
            }
        }
        self.waiting_bytes += frame.original.len();
        self.waiting.push_back(frame);
        for origin in &trace.passed {
            if let Some(frame) = self.find(origin.frame) {
                frame.restore(origin);
            }
        }
        if let Some(joined_at) = trace.joined_at
            && !matches!(&seen.decoded, Decoded::Held)
            && !flow.is_some_and(|(_, packet)| packet.counted_only)
        {
            self.joined(seen, joined_at, flow);
        }
        self.flush()
    }

    fn elsewhere(&mut self, packet: &Packet) {
        self.packet(packet);
    }
}

/// Overwrites of a TCP or UDP header, which begins at `at` and ends with the bytes, what is no field: a data
/// offset that cannot be, or one that is not meant, makes a header of payload.
fn overwrite_header(transport: Transport, bytes: &mut [u8], at: usize) {
    // A tunnel that turned out to be none: its headers were read to the end.
    let Some(header) = bytes.get_mut(at..) else { return };
    let Some((_, rest)) = header.split_at_mut_checked(match transport {
        Transport::Tcp => 20,
        Transport::Udp => 8,
    }) else {
        return;
    };
    if transport == Transport::Udp {
        return rest.fill(FILL);
    }
    let mut options = rest;
    loop {
        let len = match *options {
            [] => return,
            // Options that end the list, or say nothing (RFC 9293 §3.1).
            [0 | 1, ..] => 1,
            // Segment size, window scale, selective acknowledgements, timestamps, multipath, Fast Open.
            [2..=5 | 8 | 30 | 34, len @ 2..=40, ..] if usize::from(len) <= options.len() => {
                usize::from(len)
            }
            _ => return options.fill(FILL),
        };
        options = &mut options[len..];
    }
}

impl Waiting {
    /// Shows the first bytes and no others.
    fn show(&mut self, len: usize) {
        self.text.copy_from_slice(&self.original);
        self.text[len.min(self.original.len())..].fill(FILL);
    }

    /// Shows a run of bytes as it is.
    fn restore(&mut self, origin: &Origin) {
        let (from, len) = (origin.offset as usize, origin.len as usize);
        if let (Some(text), Some(original)) =
            (self.text.get_mut(from..from + len), self.original.get(from..from + len))
        {
            text.copy_from_slice(original);
        }
    }

    /// Takes the text of a run of a joined datagram.
    fn patch(&mut self, origin: &Origin, joined: &[u8], text: &[u8]) {
        for index in 0..origin.len as usize {
            let (from, to) = (origin.at as usize + index, origin.offset as usize + index);
            let (Some(place), Some(own)) = (self.text.get_mut(to), self.original.get(to)) else {
                return;
            };
            *place = match (joined.get(from), text.get(from)) {
                (Some(first), Some(shown)) if first == own => *shown,
                (Some(_), _) => CONFLICT,
                (None, _) => FILL,
            };
        }
    }
}
