//! Captures → the same captures without what is secret in them.
//!
//! Reads the inputs twice more after a run: once to learn which bytes of each stream may be shown, once to
//! write the frames. Every frame keeps its place, time and length; headers stay, of payload only what
//! [`redact`](crate::inspect::redact) shows. A frame that joined no flow keeps what was read of it as
//! headers. So the result has the same flows.

mod flows;
mod found;
mod frames;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::{self, Write};

pub use self::found::Found;
use super::{FrameFilter, Gathered, flows_budget};
use crate::capture::write::PcapngWriter;
use crate::capture::{Block, Event, FrameRecord, Source};
use crate::decode::{self, Decoded, Decoder};
use crate::error::{Error, Result};
use crate::inspect::Protocol;
use crate::packet::{Frame, Packet, Timestamp};
use crate::report::community_id::flow_id;
use frames::Frames;
use plan::Scan;

/// Which frames are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All.
    Everything,
    /// Those of flows with findings.
    Findings,
}

/// How the inputs were read; they are read the same way again.
pub struct Reading {
    /// How frames are read.
    pub decode: decode::Options,
    /// Inputs have nothing to do with each other.
    pub separate: bool,
    /// Frames before this time are left out.
    pub since: Option<Timestamp>,
    /// Frames after this time are left out.
    pub until: Option<Timestamp>,
    /// Frames that it rejects are left out.
    pub filter: Option<FrameFilter>,
}

/// What is known of the flows of a run.
pub struct Subjects {
    flows: HashMap<u64, Subject>,
    /// Comments, one line for each rule, of flows that broke the same rules.
    comments: Vec<Vec<String>>,
    is_limited: bool,
}

/// What is known of one flow.
#[derive(Clone, Copy, Default)]
struct Subject {
    protocol: Option<Protocol>,
    /// The place of its comments, where something was found.
    comments: Option<u32>,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Frames.
    pub frames: u64,
    /// There was not memory for all flows: some are overwritten whole, or are missing in evidence.
    pub is_limited: bool,
}

impl Subjects {
    /// Takes what a run found out, of all flows or of those with findings.
    pub fn new(gathered: &Gathered, found: &Found, scope: Scope) -> Self {
        let (mut flows, sets) = found.take();
        for shard in &gathered.shards {
            for (number, flow) in shard.flows() {
                let Some(protocol) = shard.facts(number).and_then(|facts| facts.protocol) else {
                    continue;
                };
                let id = flow_id(&flow.key, flow.first.frame);
                match flows.get_mut(&id) {
                    Some(subject) => subject.protocol = Some(protocol),
                    None if scope == Scope::Findings => {}
                    None => {
                        flows.insert(id, Subject { protocol: Some(protocol), comments: None });
                    }
                }
            }
        }
        let comment = |rule: &String| format!("portreeve: {rule}");
        let comments = sets.iter().map(|rules| rules.iter().map(comment).collect()).collect();
        Self { flows, comments, is_limited: found.is_limited() }
    }

    /// Returns the bytes of memory that it takes: an entry has a byte beside it, and an eighth of the places is empty.
    fn held_bytes(&self) -> usize {
        self.flows.capacity() / 7 * 8 * (size_of::<(u64, Subject)>() + 1)
    }

    fn protocol(&self, id: u64) -> Option<Protocol> {
        self.flows.get(&id)?.protocol
    }

    fn has_findings(&self, id: u64) -> bool {
        self.flows.get(&id).is_some_and(|subject| subject.comments.is_some())
    }

    fn comments(&self, id: u64) -> &[String] {
        let place = self.flows.get(&id).and_then(|subject| subject.comments);
        place.and_then(|place| self.comments.get(place as usize)).map_or(&[], Vec::as_slice)
    }
}

/// Reads sources that give the same frames, and writes them without secrets, within a memory limit.
pub fn scrub(
    mut open: impl FnMut() -> Result<Box<dyn Source>>,
    reading: &mut Reading,
    subjects: &Subjects,
    scope: Scope,
    memory: u64,
    out: impl Write,
) -> Result<Scrubbed> {
    // What is known of the flows is in the way of the rest.
    let budget = flows_budget(memory).saturating_sub(subjects.held_bytes() as u64).max(memory / 16);
    let mut scan = Scan::new(subjects, scope, budget);
    read(open()?.as_mut(), reading, &mut scan)?;
    let plans = scan.finish();
    let is_limited = plans.is_limited || subjects.is_limited;
    let program = concat!("portreeve ", env!("CARGO_PKG_VERSION"));
    let writer = PcapngWriter::new(out, program).map_err(cannot_write)?;
    let mut frames = Frames::new(subjects, plans, scope, budget, &reading.decode, writer);
    read(open()?.as_mut(), reading, &mut frames)?;
    let frames = frames.finish()?;
    Ok(Scrubbed { frames, is_limited })
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err calls")]
fn cannot_write(error: io::Error) -> Error {
    Error::new(format!("cannot be written: {error}"))
}

/// One frame with what became of it.
struct Seen<'a> {
    record: FrameRecord,
    number: u64,
    decoded: Decoded,
    block: &'a Block,
    decoder: &'a Decoder,
    source: &'a dyn Source,
}

/// What looks at each frame.
trait Visitor {
    /// Takes a frame.
    fn frame(&mut self, seen: &Seen<'_>) -> Result<()>;
    /// Takes a packet that only adds to counts.
    fn elsewhere(&mut self, packet: &Packet);
}

/// Reads a source to its end, as a run does.
fn read(source: &mut dyn Source, reading: &mut Reading, visitor: &mut impl Visitor) -> Result<()> {
    let mut decoder = Decoder::traced(reading.decode.clone());
    let (mut block, mut number, mut input) = (Block::default(), 0, None);
    loop {
        match source.next(&mut block)? {
            Event::Frames => {}
            Event::End => return Ok(()),
            _ => continue,
        }
        let first = block.frames.first().map_or(0, |frame| usize::from(frame.point.0));
        let of_input = source.points().get(first).map(|point| point.input);
        if reading.separate && of_input != input {
            decoder.enter_domain(of_input.unwrap_or(0));
        }
        input = of_input;
        for index in 0..block.frames.len() {
            number += 1;
            if !reading.keeps(&block.frame(index, 0)) {
                continue;
            }
            let decoded = decoder.decode(&mut block, index, number);
            let record = block.frames[index];
            let seen = Seen {
                record,
                number,
                decoded,
                block: &block,
                decoder: &decoder,
                source: &*source,
            };
            visitor.frame(&seen)?;
            for packet in decoder.elsewhere() {
                visitor.elsewhere(&packet);
            }
        }
        drop(decoder.lost_fragments());
    }
}

impl Reading {
    fn keeps(&mut self, frame: &Frame<'_>) -> bool {
        let in_span = self.since.is_none_or(|since| frame.time >= since)
            && self.until.is_none_or(|until| frame.time <= until);
        in_span && self.filter.as_mut().is_none_or(|filter| filter(frame))
    }
}
