//! The front of the pipeline: reads, decodes, hashes, and deals packets to the shards' owners.
//!
//! Runs on the calling thread. One message a block and worker; blocks and batches come back and are
//! used again, so that nothing is allocated per packet.

use std::sync::Arc;

pub use crate::capture::FlowCount;
pub use crate::decode::Quoted;

use super::ledger::Ledger;
use super::shard::{Answer, Ask};
use super::{Config, SHARDS};
use crate::capture::{Block, Event, FrameRecord, Merged, Source, Steering, Verdict};
use crate::decode::{Decoded, Decoder, Stop};
use crate::error::{Error, Result};
use crate::inspect::Tools;
use crate::packet::{At, FlowKey, Frame, Packet, PointId, Span, TcpHeader, Timestamp};

/// Frames and counts of a block that are a little work.
const FEW: usize = 512;

/// Packets of one block for one lane of shards.
#[derive(Default)]
pub struct Batch {
    /// The bytes that the packets' spans point into.
    pub block: Option<Arc<Block>>,
    /// The packets, in the order of capture.
    pub packets: Vec<Packet>,
    /// Refusals, each with the number of packets that come before it.
    pub refusals: Vec<(usize, Quoted)>,
    /// What a kernel counted, each with the number of packets that come before it.
    pub counts: Vec<(usize, Packet, FlowCount)>,
    /// Verdicts are wanted.
    pub steers: bool,
    /// Asks what is new; comes without packets.
    pub ask: Option<Ask>,
    /// Inspection goes on with these.
    pub tools: Option<Arc<Tools>>,
    /// Nothing comes after it: what was undecided is decided with what there is.
    pub ends: bool,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.packets.is_empty() && self.refusals.is_empty() && self.counts.is_empty()
    }

    /// Forgets the content and keeps the memory; returns the block when this was its last user.
    pub fn clear(&mut self) -> Option<Block> {
        self.packets.clear();
        self.refusals.clear();
        self.counts.clear();
        self.ask = None;
        self.tools = None;
        self.ends = false;
        self.block.take().and_then(Arc::into_inner)
    }
}

/// What takes the front's batches: the calling thread alone, or with others.
pub trait Crew {
    /// Returns how many lanes the shards lie in: a power of two.
    fn lanes(&self) -> usize;
    /// Returns an empty batch.
    fn batch(&mut self) -> Batch;
    /// Returns a block to be filled, as its last user left it.
    fn block(&mut self) -> Block;
    /// Puts a batch before a lane; work on it may wait for [`Crew::go`].
    fn send(&mut self, lane: usize, batch: Batch);
    /// Has what was sent worked on.
    fn go(&mut self) -> Result<()>;
    /// The same for a little work: the calling thread does it unless others are at work, as waking one costs more.
    fn go_here(&mut self) -> Result<()>;
    /// Takes a block back that no packet points into.
    fn recycle(&mut self, block: Block);
    /// Hands out the verdicts that the workers gave since the last call. Some may be lost: a verdict is
    /// given again as long as packets come that it makes needless.
    fn verdicts(&mut self, take: &mut dyn FnMut(&Packet, Verdict));
    /// Returns what the workers answered to the questions put to them so far.
    fn answers(&mut self) -> Vec<Answer>;
    /// Waits until every lane has answered the question that was just put to it.
    fn all_answers(&mut self) -> Result<Vec<Answer>>;
}

/// Frames of one point that came one after another.
#[derive(Default)]
struct Received {
    point: PointId,
    packets: u64,
    wire_bytes: u64,
    first: Timestamp,
    last: Timestamp,
}

/// What the front knows at the end.
pub struct Front {
    /// The loss ledger as far as the front can tell; flows add what was classified.
    pub ledger: Ledger,
    /// Made the keys; tells what their encapsulation ids stand for.
    pub decoder: Decoder,
    /// Running number of the first frame of each input.
    pub input_starts: Vec<u64>,
    /// Inputs that could not be read to their end.
    pub broken: Vec<Error>,
    /// Time of the first and last frame.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Frames read so far.
    pub frames: u64,
    /// Bytes that they had on the wire.
    pub wire_bytes: u64,
}

impl Front {
    /// Begins with nothing read.
    pub fn new(config: &Config) -> Self {
        Self {
            ledger: Ledger::default(),
            decoder: Decoder::new(config.decode.clone()),
            input_starts: Vec::new(),
            broken: Vec::new(),
            span: None,
            frames: 0,
            wire_bytes: 0,
        }
    }

    /// Reads a source to its end.
    pub fn run(
        &mut self,
        source: &mut dyn Source,
        config: &mut Config,
        crew: &mut dyn Crew,
    ) -> Result<()> {
        let mut batches: Vec<Batch> = (0..crew.lanes()).map(|_| crew.batch()).collect();
        while self.step(source, config, crew, &mut batches)? {}
        self.close(source);
        Ok(())
    }

    /// Takes the source's next event; returns whether there may be more.
    pub fn step(
        &mut self,
        source: &mut dyn Source,
        config: &mut Config,
        crew: &mut dyn Crew,
        batches: &mut [Batch],
    ) -> Result<bool> {
        let steers = source.steers();
        if steers {
            self.steer(source, crew);
        }
        let mut block = crew.block();
        match source.next(&mut block)? {
            Event::Frames => {
                self.enter_input(source, &block, config);
                self.deal(&mut block, config, batches);
                let block = Arc::new(block);
                for (lane, batch) in batches.iter_mut().enumerate() {
                    if batch.is_empty() {
                        continue;
                    }
                    batch.block = Some(Arc::clone(&block));
                    batch.steers = steers;
                    let full = std::mem::replace(batch, crew.batch());
                    crew.send(lane, full);
                }
                if block.frames.len() + block.counts.len() <= FEW {
                    crew.go_here()?;
                } else {
                    crew.go()?;
                }
                if let Some(block) = Arc::into_inner(block) {
                    crew.recycle(block);
                }
                (config.on_progress)(self.frames);
            }
            Event::Tick(_) => crew.recycle(block),
            Event::Notice(error) => {
                crew.recycle(block);
                (config.on_broken)(&error);
            }
            Event::Broken(error) => {
                crew.recycle(block);
                (config.on_broken)(&error);
                self.broken.push(error);
            }
            Event::End => return Ok(false),
        }
        Ok(true)
    }

    /// Closes the books when there is no more.
    pub fn close(&mut self, source: &dyn Source) {
        self.decoder.finish();
        self.collect_lost_fragments();
        self.note_dropped(source);
    }

    /// Takes over what the source knows to be lost.
    pub fn note_dropped(&mut self, source: &dyn Source) {
        for index in 0..source.points().len() {
            let id = PointId(u16::try_from(index).unwrap_or(u16::MAX));
            self.ledger.point(id).dropped = source.dropped(id);
        }
    }

    /// Notes where an input begins; unrelated inputs are domains of their own.
    fn enter_input(&mut self, source: &dyn Source, block: &Block, config: &Config) {
        let Some(first) = block.frames.first() else { return };
        let Some(point) = source.points().get(usize::from(first.point.0)) else { return };
        let input = point.input as usize;
        if input >= self.input_starts.len() {
            self.input_starts.resize(input + 1, self.frames + 1);
            if config.separate {
                self.decoder.enter_domain(point.input);
            }
        }
    }

    /// Decodes a block's frames and deals them out.
    fn deal(&mut self, block: &mut Block, config: &mut Config, batches: &mut [Batch]) {
        if block.merged.is_empty() && block.counts.is_empty() && !config.has_filters() {
            self.deal_plain(block, batches);
        } else {
            self.deal_each(block, config, batches);
        }
        self.frames += block.frames.len() as u64;
        self.collect_lost_fragments();
    }

    /// Deals out frames that are all wanted, and of which each stands for itself: nearly all blocks are such.
    fn deal_plain(&mut self, block: &mut Block, batches: &mut [Batch]) {
        let first_number = self.frames + 1;
        self.receive_all(&block.frames);
        let mut index = 0;
        while let Some(frames) = block.frames.get(index..).filter(|frames| !frames.is_empty()) {
            let (bytes, number) = (&block.bytes, first_number + index as u64);
            let ledger = &mut self.ledger;
            index += self.decoder.decode_run(bytes, frames, number, |packet| {
                if packet.cut_len > 0 {
                    note_cut(ledger, packet.point);
                }
                batches[lane_of(packet.hash, batches.len())].packets.push(packet);
            });
            if let Some(&record) = block.frames.get(index) {
                let number = first_number + index as u64;
                let whole = Merged { index, packets: 1, headers_len: 0 };
                self.deal_one(block, &record, (number, whole, false), batches);
                index += 1;
            }
        }
    }

    /// Deals out frames of which some are not wanted or stand for several, between what a kernel counted.
    fn deal_each(&mut self, block: &mut Block, config: &mut Config, batches: &mut [Batch]) {
        let first_number = self.frames + 1;
        let has_filters = config.has_filters();
        let (mut merged, mut counted) = (0, 0);
        let mut run = Received::default();
        for index in 0..block.frames.len() {
            if !block.counts.is_empty() {
                counted = self.deal_counts(&block.counts, counted, index, batches);
            }
            let record = block.frames[index];
            let number = first_number + index as u64;
            let merged_before = merged;
            let whole = whole_of(&block.merged, &mut merged, index);
            self.receive(&mut run, &record, whole);
            if has_filters && !keeps(config, &block.frame(index, first_number)) {
                self.ledger.point(record.point).filtered += u64::from(whole.packets);
                continue;
            }
            self.deal_one(block, &record, (number, whole, merged != merged_before), batches);
        }
        self.close_run(&run);
        self.deal_counts(&block.counts, counted, block.frames.len(), batches);
    }

    /// Deals out one frame: its number, what it stands for, and whether that was merged.
    #[inline(never)]
    fn deal_one(
        &mut self,
        block: &mut Block,
        record: &FrameRecord,
        (number, whole, merged): (u64, Merged, bool),
        batches: &mut [Batch],
    ) {
        if let Some(mut packet) = self.decoder.decode_plain(&block.bytes, record, number) {
            packet.frames = whole.packets;
            packet.merged = merged;
            packet.wire_len = packet.wire_len.saturating_add(whole.headers_len);
            if packet.cut_len > 0 {
                note_cut(&mut self.ledger, record.point);
            }
            batches[lane_of(packet.hash, batches.len())].packets.push(packet);
        } else {
            self.deal_oddity(block, record, (number, whole), batches);
        }
    }

    /// Deals out what the short way of decoding did not read.
    #[inline(never)]
    fn deal_oddity(
        &mut self,
        block: &mut Block,
        record: &FrameRecord,
        (number, whole): (u64, Merged),
        batches: &mut [Batch],
    ) {
        let (packets, lanes) = (u64::from(whole.packets), batches.len());
        match self.decoder.decode_oddity(block, record, number) {
            Decoded::Packet(mut packet) => {
                packet.frames += whole.packets - 1;
                packet.wire_len = packet.wire_len.saturating_add(whole.headers_len);
                if packet.cut_len > 0 {
                    note_cut(&mut self.ledger, record.point);
                }
                batches[lane_of(packet.hash, lanes)].packets.push(packet);
                for packet in self.decoder.elsewhere() {
                    batches[lane_of(packet.hash, lanes)].packets.push(packet);
                }
            }
            Decoded::Held => {}
            Decoded::Stop(stop) => self.ledger.stop(record.point, stop, packets),
            Decoded::Unreachable(quoted) => {
                self.ledger.stop(record.point, Stop::Icmp, packets);
                let batch = &mut batches[lane_of(quoted.hash, lanes)];
                batch.refusals.push((batch.packets.len(), quoted));
            }
        }
    }

    /// Counts a frame as received; the ledger is told once for frames of one point that come together.
    #[inline]
    fn receive(&mut self, run: &mut Received, record: &FrameRecord, whole: Merged) {
        if run.point != record.point || run.packets == 0 {
            self.close_run(run);
            *run = Received {
                point: record.point,
                first: record.time,
                last: record.time,
                ..Received::default()
            };
        }
        run.packets += u64::from(whole.packets);
        run.wire_bytes += u64::from(record.wire_len) + u64::from(whole.headers_len);
        run.first = run.first.min(record.time);
        run.last = run.last.max(record.time);
    }

    /// Counts frames as received of which each stands for itself.
    fn receive_all(&mut self, frames: &[FrameRecord]) {
        for run in frames.chunk_by(|one, next| one.point == next.point) {
            let Some(first) = run.first() else { continue };
            let mut received = Received {
                point: first.point,
                packets: run.len() as u64,
                wire_bytes: 0,
                first: first.time,
                last: first.time,
            };
            for record in run {
                received.wire_bytes += u64::from(record.wire_len);
                received.first = received.first.min(record.time);
                received.last = received.last.max(record.time);
            }
            self.close_run(&received);
        }
    }

    fn close_run(&mut self, run: &Received) {
        if run.packets == 0 {
            return;
        }
        self.ledger.point(run.point).received += run.packets;
        self.wire_bytes += run.wire_bytes;
        self.see_time(run.first, run.last);
    }

    fn see_time(&mut self, first: Timestamp, last: Timestamp) {
        let span = self.span.get_or_insert((first, last));
        span.0 = span.0.min(first);
        span.1 = span.1.max(last);
    }

    /// Deals out the counts from index `from` that come before a frame; returns the index of the next.
    #[inline]
    fn deal_counts(
        &mut self,
        counts: &[(usize, FlowCount)],
        from: usize,
        frame: usize,
        batches: &mut [Batch],
    ) -> usize {
        let mut next = from;
        while let Some((before, count)) = counts.get(next)
            && *before <= frame
        {
            next += 1;
            self.deal_count(count, frame, batches);
        }
        next
    }

    fn deal_count(&mut self, count: &FlowCount, frame: usize, batches: &mut [Batch]) {
        let ledger = self.ledger.point(count.point);
        ledger.received += count.packets;
        self.wire_bytes += count.bytes;
        if count.lost > 0 {
            *ledger.uninspected.entry("sample").or_default() += count.lost;
        }
        self.see_time(count.begun, count.last);
        let key = count.key.in_encap(self.decoder.in_vlans(count.vlans));
        let at = At { frame: self.frames + 1 + frame as u64, time: count.begun };
        let packet = counted(key, at, self.decoder.hash(&key), count);
        let batch = &mut batches[lane_of(packet.hash, batches.len())];
        batch.counts.push((batch.packets.len(), packet, *count));
    }

    /// Hands the workers' verdicts back to the source.
    fn steer(&self, source: &mut dyn Source, crew: &mut dyn Crew) {
        crew.verdicts(&mut |packet, verdict| {
            let Some(vlans) = self.decoder.only_vlans(packet.key.encap()) else { return };
            let Packet { key, point, at, .. } = *packet;
            source.steer(&Steering { key, vlans, point, time: at.time, verdict });
        });
    }

    fn collect_lost_fragments(&mut self) {
        for (point, frames) in self.decoder.lost_fragments() {
            self.ledger.stop(point, Stop::Fragment, frames);
        }
    }
}

#[cold]
fn note_cut(ledger: &mut Ledger, point: PointId) {
    *ledger.point(point).uninspected.entry("snaplen").or_default() += 1;
}

/// Returns what a frame stands for on the wire; `next` is the first of `merged` not yet passed.
#[inline]
fn whole_of(merged: &[Merged], next: &mut usize, index: usize) -> Merged {
    match merged.get(*next) {
        Some(whole) if whole.index == index => {
            *next += 1;
            *whole
        }
        _ => Merged { index, packets: 1, headers_len: 0 },
    }
}

/// Makes the packet that stands for a kernel's count: it has no content.
fn counted(key: FlowKey, at: At, hash: u64, count: &FlowCount) -> Packet {
    Packet {
        key,
        hash,
        at,
        wire_len: 0,
        frames: 0,
        payload: Span::default(),
        cut_len: 0,
        tcp: TcpHeader::default(),
        point: count.point,
        outer: 0,
        side: count.side,
        counted_only: true,
        merged: count.merged,
    }
}

/// Returns the logical shard of a key's hash: its top bits, since the table uses the low ones.
#[inline]
pub fn shard_of(hash: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "the number is below 64")]
    let shard = (hash >> (64 - SHARDS.trailing_zeros())) as usize;
    shard
}

/// Returns the lane that the shard of a key's hash lies in.
#[inline]
fn lane_of(hash: u64, lanes: usize) -> usize {
    shard_of(hash) & (lanes - 1)
}

/// Tells whether the user wants to see a frame.
fn keeps(config: &mut Config, frame: &Frame<'_>) -> bool {
    let in_span = config.since.is_none_or(|since| frame.time >= since)
        && config.until.is_none_or(|until| frame.time <= until);
    in_span && config.filter.as_mut().is_none_or(|filter| filter(frame))
}
