//! Where frames come from: a [`Source`] fills recycled [`Block`]s and yields [`Event`]s.
//!
//! Takes files, pipes and interfaces; gives frames in the order of capture, each with its observation
//! point. Never decodes a frame.

use crate::error::{Error, Result};
use crate::packet::{FlowKey, Frame, LinkType, ObservationPoint, PointId, Side, Span, Timestamp};

#[cfg(all(feature = "ebpf", target_os = "linux"))]
pub mod ebpf;
pub mod file;
pub mod held;
#[cfg(feature = "live")]
pub mod live;
pub mod mix;
pub mod privileges;
pub mod write;

/// Bytes that a block offers for frames: large enough to make a hand-over rare, small enough that the few that are
/// under way stay in a core's second-level cache.
pub const BLOCK_LEN: usize = 512 << 10;

/// Frames in the bytes that they were read with.
///
/// A block is filled by a source, decoded in place, looked at by the shards and then recycled.
#[derive(Default)]
pub struct Block {
    /// The bytes; what the frames' spans point into.
    pub bytes: Vec<u8>,
    /// The frames, in the order of capture.
    pub frames: Vec<FrameRecord>,
    /// Which of the frames stand for several on the wire, in the order of the frames; mostly none.
    pub merged: Vec<Merged>,
    /// What a kernel counted, each with the number of frames that come before it; mostly none.
    pub counts: Vec<(usize, FlowCount)>,
}

/// A frame that offload made of several: each had its own headers on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    /// The frame's index in its block.
    pub index: usize,
    /// Packets on the wire; 1 where nobody knows how many they were.
    pub packets: u32,
    /// Bytes on the wire beyond the frame's own: the headers of all packets but one.
    pub headers_len: u32,
}

/// Where one frame lies in its block, and what its container says of it.
#[derive(Debug, Clone, Copy)]
pub struct FrameRecord {
    /// The packet's time.
    pub time: Timestamp,
    /// The captured bytes.
    pub span: Span,
    /// Its length on the wire, in bytes.
    pub wire_len: u32,
    /// How its first bytes are to be read.
    pub link: LinkType,
    /// Where it was seen.
    pub point: PointId,
}

impl Block {
    /// Forgets the content and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.frames.clear();
        self.merged.clear();
        self.counts.clear();
    }

    /// Appends a frame's bytes and its record.
    ///
    /// # Panics
    ///
    /// When the block would grow beyond 4 GiB; sources hand a block on long before.
    pub fn push(
        &mut self,
        time: Timestamp,
        point: PointId,
        link: LinkType,
        wire_len: u32,
        bytes: &[u8],
    ) {
        let start = u32::try_from(self.bytes.len()).expect("a block is far below 4 GiB");
        let len = u32::try_from(bytes.len()).expect("a frame is far below 4 GiB");
        self.bytes.extend_from_slice(bytes);
        self.frames.push(FrameRecord { time, span: Span { start, len }, wire_len, link, point });
    }

    /// Returns a frame by its index; `first_number` is the running number of the block's first frame.
    pub fn frame(&self, index: usize, first_number: u64) -> Frame<'_> {
        let record = &self.frames[index];
        Frame {
            time: record.time,
            number: first_number + index as u64,
            point: record.point,
            link: record.link,
            wire_len: record.wire_len,
            bytes: record.span.of(&self.bytes),
        }
    }
}

/// What a source has to say.
pub enum Event {
    /// The block that was handed in now holds frames, or a kernel's counts, or both.
    Frames,
    /// Time passes though nothing was captured: flows may end, findings may go out.
    Tick(Timestamp),
    /// An input could not be read to its end; what it gave before counts. Reading goes on with the
    /// next input.
    Broken(Error),
    /// What the user should know of an input that goes on: an interface went away, or is back.
    Notice(Error),
    /// There is no more.
    End,
}

/// Packets and bytes that a kernel counted for one side of a flow, and that are given in no frame.
#[derive(Debug, Clone, Copy)]
pub struct FlowCount {
    /// The flow, as if it travelled in nothing.
    pub key: FlowKey,
    /// The VLAN ids that it travels in, from outside in; 0 where there is none.
    pub vlans: [u16; 2],
    /// The sender's side.
    pub side: Side,
    /// Where it was seen.
    pub point: PointId,
    /// Packets since the last count.
    pub packets: u64,
    /// Wire bytes since the last count.
    pub bytes: u64,
    /// How many of the packets had payload that should have been given in a frame, and was lost.
    pub lost: u64,
    /// Some of the packets were joined by offload; they count as on the wire.
    pub merged: bool,
    /// A bit a side, the lower one's lowest, that is known to have ended, though no frame of its end is given.
    pub ended: u8,
    /// Begins another flow than the one known by this key: no frame of its opening is given.
    pub opens: bool,
    /// Initial sequence number of this side, where a kernel saw it.
    pub isn: Option<u32>,
    /// The sequence number that follows the last counted packet, where it is known.
    pub next_seq: Option<u32>,
    /// The same, also of a connection that is over: tells which of the five-tuple's connections this is.
    pub belongs: Option<u32>,
    /// Time of the connection's first packet, as far as the kernel knows.
    pub begun: Timestamp,
    /// Time of the flow's last packet.
    pub last: Timestamp,
}

/// What inspection decided about a flow: goes back to a source that copies payload on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing more is to be learned: stop copying payload until the next connection.
    Enough,
    /// Clear traffic that may hold a credential at any time: keep sending.
    KeepSending,
}

/// A verdict and what it is about.
///
/// May be lost on its way: whoever gives one gives it again when frames of the flow go on coming.
#[derive(Debug, Clone, Copy)]
pub struct Steering {
    /// The flow; what it travels in stands in `vlans`.
    pub key: FlowKey,
    /// The VLAN ids that it travels in, from outside in; 0 where there is none.
    pub vlans: [u16; 2],
    /// Where the packet was seen that led to the verdict.
    pub point: PointId,
    /// The time of that packet: a connection that opened later is not meant.
    pub time: Timestamp,
    /// The verdict.
    pub verdict: Verdict,
}

/// Frames that a source knows to be lost, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Dropped by the kernel before the capture saw them.
    pub kernel: u64,
    /// Frames lost in a full ring buffer, and counted in no flow.
    pub ring: u64,
    /// Frames lost because portreeve's own queue was full.
    pub queue: u64,
}

/// A place that frames come from.
pub trait Source: Send {
    /// Fills `block`, or says what else happened. What the block held before is forgotten: it may come
    /// in as it was last left, and a source that reads into it in place is faster when its bytes were
    /// not cleared.
    ///
    /// Returns `Err` only for what ends the whole run.
    fn next(&mut self, block: &mut Block) -> Result<Event>;

    /// Returns the observation points known so far; a [`PointId`] is an index into it. It only grows.
    fn points(&self) -> &[ObservationPoint];

    /// Returns what is known to be lost at a point, so far.
    fn dropped(&self, _point: PointId) -> Dropped {
        Dropped::default()
    }

    /// Tells whether [`Source::steer`] is of any use.
    fn steers(&self) -> bool {
        false
    }

    /// Takes what inspection decided about a flow.
    fn steer(&mut self, _steering: &Steering) {}

    /// Returns what a summary says of the inputs.
    fn inputs(&self) -> Vec<InputSummary> {
        Vec::new()
    }
}

/// What one input gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InputSummary {
    /// The name as the user gave it, or an interface.
    pub name: String,
    /// Bytes read, as stored (compressed where it is); 0 for an interface.
    pub bytes: u64,
    /// Frames it gave.
    pub frames: u64,
    /// Times of its first and last frame.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Why it could not be read to its end.
    pub broken: Option<String>,
}
