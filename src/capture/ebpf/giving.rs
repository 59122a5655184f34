//! What the program handed up → frames and counts of a block, in the wall clock's time.

use std::os::fd::OwnedFd;

use super::counters::{Counters, Difference};
use super::layout::{FrameHead, KernelFlow, KernelKey, flow_key};
use crate::capture::{Block, FlowCount, FrameRecord, InputSummary, Merged};
use crate::packet::{LinkType, PointId, Side, Span, Timestamp};

/// Change of the wall clock that is followed; less is the measurement's own error.
const CLOCK_STEP_NS: u64 = 1_000_000;

/// Bytes of an Ethernet header's addresses: a VLAN tag stands behind them.
const ETHERNET_ADDRESSES_LEN: usize = 12;

/// One watched interface.
pub(super) struct Watched {
    pub(super) name: String,
    /// Its index in the kernel; each time it comes back it has another one, the last of these.
    indices: Vec<u32>,
    /// It went away and has not come back.
    pub(super) is_gone: bool,
    /// It is there, and down or without a carrier.
    pub(super) is_down: bool,
    /// Times that it went away.
    absences: u32,
    frames: u64,
    span: Option<(Timestamp, Timestamp)>,
    /// Keeps it promiscuous.
    membership: Option<OwnedFd>,
}

impl Watched {
    pub(super) fn new(name: &str, index: u32, membership: Option<OwnedFd>) -> Self {
        Self {
            name: name.to_owned(),
            indices: vec![index],
            is_gone: false,
            is_down: false,
            absences: 0,
            frames: 0,
            span: None,
            membership,
        }
    }

    /// Returns its present index.
    pub(super) fn index(&self) -> u32 {
        self.indices.last().copied().unwrap_or(0)
    }

    /// Returns every index that it had.
    pub(super) fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Notes that it went away.
    pub(super) fn lose(&mut self) {
        (self.is_gone, self.is_down) = (true, false);
        self.absences += 1;
        self.membership = None;
    }

    /// Notes that it is back.
    pub(super) fn regain(&mut self, index: u32, membership: Option<OwnedFd>) {
        self.is_gone = false;
        if self.index() != index {
            self.indices.push(index);
        }
        self.membership = membership;
    }

    fn count(&mut self, packets: u64, first: Timestamp, last: Timestamp) {
        self.frames += packets;
        let span = self.span.get_or_insert((first, last));
        *span = (span.0.min(first), span.1.max(last));
    }

    pub(super) fn summary(&self) -> InputSummary {
        let absences = self.absences;
        let broken = (absences > 0).then(|| format!("the interface went away {absences} times"));
        let Self { name, frames, span, .. } = self;
        InputSummary { name: name.clone(), bytes: 0, frames: *frames, span: *span, broken }
    }
}

/// Gives what the program says, as the pipeline takes it.
pub(super) struct Giving {
    pub(super) watched: Vec<Watched>,
    counters: Counters,
    /// What the wall clock is ahead of the program's.
    ahead_ns: i64,
    /// What it was ahead before it was last set.
    formerly_ns: i64,
}

impl Giving {
    pub(super) fn new(ahead_ns: i64) -> Self {
        let (watched, counters) = (Vec::new(), Counters::default());
        Self { watched, counters, ahead_ns, formerly_ns: ahead_ns }
    }

    /// Follows the wall clock where it was set; its slow correction moves both clocks.
    pub(super) fn set_clock(&mut self, ahead_ns: i64) {
        if self.ahead_ns.abs_diff(ahead_ns) > CLOCK_STEP_NS {
            self.formerly_ns = self.ahead_ns;
            self.ahead_ns = ahead_ns;
        }
    }

    /// Returns the wall clock's time.
    pub(super) fn wall(&self, kernel_ns: u64) -> Timestamp {
        Timestamp(i64::try_from(kernel_ns).unwrap_or(i64::MAX).saturating_add(self.ahead_ns))
    }

    /// Returns the program's time; the earlier one where the clock was set meanwhile, so that nothing
    /// seems to be later than it is.
    pub(super) fn earliest_kernel_ns(&self, time: Timestamp) -> u64 {
        u64::try_from(time.0.saturating_sub(self.ahead_ns.max(self.formerly_ns))).unwrap_or(0)
    }

    fn point(&self, ifindex: u32) -> Option<(usize, PointId)> {
        let index = self.watched.iter().position(|watched| watched.indices.contains(&ifindex))?;
        Some((index, PointId(u16::try_from(index).ok()?)))
    }

    /// Gives a frame that was handed up, with the VLAN tag that the kernel had taken out of it.
    pub(super) fn frame(&mut self, head: &FrameHead, bytes: &[u8], block: &mut Block) {
        let Some((index, point)) = self.point(head.ifindex) else { return };
        let time = self.wall(head.time_ns);
        self.watched[index].count(u64::from(head.packets), time, time);
        let mut wire_len = head.len;
        let start = block.bytes.len();
        match (head.vlan, bytes.split_at_checked(ETHERNET_ADDRESSES_LEN)) {
            (Some((kind, content)), Some((addresses, rest))) if !head.is_ip => {
                block.bytes.extend_from_slice(addresses);
                block.bytes.extend_from_slice(&kind.to_be_bytes());
                block.bytes.extend_from_slice(&content.to_be_bytes());
                block.bytes.extend_from_slice(rest);
                wire_len += 4;
            }
            _ => block.bytes.extend_from_slice(bytes),
        }
        if head.packets > 1 {
            let (packets, headers_len) = (head.packets, head.headers_len);
            block.merged.push(Merged { index: block.frames.len(), packets, headers_len });
        }
        let narrow = |len: usize| u32::try_from(len).expect("a block is far below 4 GiB");
        let span = Span { start: narrow(start), len: narrow(block.bytes.len() - start) };
        let link = if head.is_ip { LinkType::RAW } else { LinkType::ETHERNET };
        block.frames.push(FrameRecord { time, span, wire_len, link, point });
    }

    /// Gives what a flow counted since the last time.
    pub(super) fn counts(&mut self, key: &KernelKey, flow: &KernelFlow, block: &mut Block) {
        let (tuple, vlans, ifindex) = flow_key(key);
        let Some((index, point)) = self.point(ifindex) else { return };
        let (born, last) = (self.wall(flow.born_ns), self.wall(flow.last_ns));
        let Self { counters, watched, .. } = self;
        let before = block.frames.len();
        counters.take(key, flow, |difference| {
            let Difference { side, packets, bytes, lost, opens, is_former } = difference;
            let known = |bits: u8| !is_former && bits >> side & 1 == 1;
            let last = if is_former { born } else { last };
            let next_seq = known(flow.next_known).then_some(flow.next[side]);
            let former_seq = (flow.former_known >> side & 1 == 1).then_some(flow.former_next[side]);
            watched[index].count(packets, born.min(last), last);
            let count = FlowCount {
                key: tuple,
                vlans,
                side: Side::BOTH[side],
                point,
                packets,
                bytes,
                lost,
                merged: !is_former && flow.merged,
                ended: if is_former { 0 } else { flow.ended },
                opens,
                isn: known(flow.isn_known).then_some(flow.isn[side]),
                next_seq,
                belongs: if is_former { former_seq } else { next_seq },
                begun: born,
                last,
            };
            block.counts.push((before, count));
        });
    }

    /// Gives what flows had counted at one time.
    pub(super) fn snapshot(&mut self, flows: &[(KernelKey, KernelFlow)], block: &mut Block) {
        for (key, flow) in flows {
            self.counts(key, flow, block);
        }
    }

    /// Tells whether a flow counted anything that was not given yet.
    pub(super) fn has_news(&self, key: &KernelKey, flow: &KernelFlow) -> bool {
        self.counters.has_news(key, flow)
    }

    /// Forgets a flow that the kernel forgot.
    pub(super) fn forget(&mut self, key: &KernelKey) {
        self.counters.forget(key);
    }
}
