//! Several interfaces' blocks → one sequence in the order of time.
//!
//! A network tap gives the two directions of a connection on two interfaces; read one after the other,
//! answers would come before their questions.

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant};

use crate::capture::{BLOCK_LEN, Block, Merged};
use crate::packet::Timestamp;

/// How long frames may be held back for an interface that says nothing, whatever its clock shows.
const HOLD_MAX: Duration = Duration::from_millis(50);

/// Frames of several interfaces on their way into one order.
pub(super) struct Merge {
    lanes: Vec<Lane>,
    held_since: Option<Instant>,
}

struct Lane {
    blocks: VecDeque<Block>,
    /// The next frame of the first block.
    next: usize,
    /// Nothing older than this is going to come.
    seen: Timestamp,
    ended: bool,
}

impl Lane {
    fn head(&self) -> Option<Timestamp> {
        self.blocks.front().map(|block| block.frames[self.next].time)
    }
}

impl Merge {
    pub(super) fn new(lanes: usize) -> Self {
        let lane =
            || Lane { blocks: VecDeque::new(), next: 0, seen: Timestamp(i64::MIN), ended: false };
        Self { lanes: (0..lanes).map(|_| lane()).collect(), held_since: None }
    }

    /// Takes an interface's next frames; an empty block is given back at the next chance.
    pub(super) fn block(&mut self, lane: usize, block: Block) {
        let Some(last) = block.frames.iter().map(|frame| frame.time).max() else { return };
        self.held_since.get_or_insert_with(Instant::now);
        self.mark(lane, last);
        self.lanes[lane].blocks.push_back(block);
    }

    /// Learns that an interface has nothing older than this to say.
    pub(super) fn mark(&mut self, lane: usize, seen: Timestamp) {
        let lane = &mut self.lanes[lane];
        lane.seen = lane.seen.max(seen);
    }

    /// Learns that an interface has nothing more to say.
    pub(super) fn end(&mut self, lane: usize) {
        self.lanes[lane].ended = true;
    }

    /// Tells whether all interfaces ended and all frames are out.
    pub(super) fn is_over(&self) -> bool {
        self.lanes.iter().all(|lane| lane.ended && lane.blocks.is_empty())
    }

    /// Moves the frames whose turn it is into `out`; returns whether there were any.
    pub(super) fn next(&mut self, out: &mut Block, free: &mut dyn FnMut(Block)) -> bool {
        let overdue = self.held_since.is_some_and(|since| since.elapsed() > HOLD_MAX);
        let open = self.lanes.iter().filter(|lane| !lane.ended).map(|lane| lane.seen);
        let limit =
            if overdue { Timestamp(i64::MAX) } else { open.min().unwrap_or(Timestamp(i64::MAX)) };
        while let Some(lane) = self.earliest(limit) {
            let rest = self.rest_of_others(lane).min(limit);
            let lane = &mut self.lanes[lane];
            let block = &mut lane.blocks[0];
            // A whole block whose turn it is changes hands without a copy.
            if lane.next == 0 && block.frames.iter().all(|frame| frame.time <= rest) {
                if !out.frames.is_empty() {
                    return true;
                }
                mem::swap(out, block);
                if let Some(empty) = lane.blocks.pop_front() {
                    free(empty);
                }
                self.note_held();
                return true;
            }
            let record = block.frames[lane.next];
            let bytes = record.span.of(&block.bytes);
            if out.bytes.len() + bytes.len() > BLOCK_LEN && !out.frames.is_empty() {
                return true;
            }
            if block.merged.binary_search_by_key(&lane.next, |merged| merged.index).is_ok() {
                out.merged.push(Merged { index: out.frames.len(), packets: 1, headers_len: 0 });
            }
            out.push(record.time, record.point, record.link, record.wire_len, bytes);
            lane.next += 1;
            if lane.next == block.frames.len() {
                lane.next = 0;
                if let Some(mut empty) = lane.blocks.pop_front() {
                    empty.clear();
                    free(empty);
                }
            }
        }
        let moved = !out.frames.is_empty();
        if moved {
            self.note_held();
        }
        moved
    }

    /// Returns the lane with the earliest frame, if that is not beyond the limit.
    fn earliest(&self, limit: Timestamp) -> Option<usize> {
        let heads = self.lanes.iter().enumerate();
        let heads = heads.filter_map(|(index, lane)| lane.head().map(|time| (time, index)));
        heads.min().filter(|(time, _)| *time <= limit).map(|(_, index)| index)
    }

    /// Returns the earliest frame of all other lanes.
    fn rest_of_others(&self, lane: usize) -> Timestamp {
        let others = self.lanes.iter().enumerate().filter(|(index, _)| *index != lane);
        others.filter_map(|(_, lane)| lane.head()).min().unwrap_or(Timestamp(i64::MAX))
    }

    fn note_held(&mut self) {
        let held = self.lanes.iter().any(|lane| !lane.blocks.is_empty());
        self.held_since = held.then(Instant::now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{LinkType, PointId};

    fn block(point: u16, times: &[i64]) -> Block {
        let mut block = Block::default();
        for time in times {
            block.push(Timestamp(*time), PointId(point), LinkType::RAW, 1, &time.to_be_bytes());
        }
        block
    }

    fn drain(merge: &mut Merge) -> Vec<i64> {
        let mut times = Vec::new();
        let mut out = Block::default();
        while merge.next(&mut out, &mut drop) {
            for index in 0..out.frames.len() {
                let frame = out.frame(index, 1);
                assert_eq!(frame.bytes, frame.time.0.to_be_bytes());
                times.push(frame.time.0);
            }
            out.clear();
        }
        times
    }

    #[test]
    fn frames_of_two_interfaces_come_in_the_order_of_time() {
        let mut merge = Merge::new(2);
        merge.block(0, block(0, &[1, 3, 5]));
        assert!(drain(&mut merge).is_empty(), "the other interface may have an older one");
        merge.block(1, block(1, &[2, 4]));
        assert_eq!(drain(&mut merge), [1, 2, 3, 4]);
        merge.mark(1, Timestamp(9));
        assert_eq!(drain(&mut merge), [5]);
        merge.block(0, block(0, &[6, 7]));
        assert_eq!(drain(&mut merge), [6, 7]);
    }

    #[test]
    fn an_interface_that_ended_holds_nobody_up() {
        let mut merge = Merge::new(2);
        merge.block(0, block(0, &[1, 2]));
        merge.end(1);
        assert_eq!(drain(&mut merge), [1, 2]);
        assert!(!merge.is_over());
        merge.end(0);
        assert!(merge.is_over());
    }

    #[test]
    fn an_interface_that_says_nothing_holds_others_up_only_for_a_while() {
        let mut merge = Merge::new(2);
        merge.block(0, block(0, &[1]));
        merge.held_since = Instant::now().checked_sub(2 * HOLD_MAX);
        assert_eq!(drain(&mut merge), [1]);
    }

    #[test]
    fn nothing_is_lost_whatever_the_interleaving() {
        let mut merge = Merge::new(3);
        for start in 0..100 {
            for lane in 0..3_u16 {
                let base = start * 30 + i64::from(lane);
                let times: Vec<i64> = (0..10).map(|n| base + n * 3).collect();
                merge.block(usize::from(lane), block(lane, &times));
            }
        }
        (0..3).for_each(|lane| merge.end(lane));
        assert_eq!(drain(&mut merge), (0..3000).collect::<Vec<_>>());
        assert!(merge.is_over());
    }
}
