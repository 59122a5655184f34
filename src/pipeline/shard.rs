//! One logical shard: its flows, what inspection keeps of them, its share of every limit.
//!
//! Takes packets and their payload in the order of capture; gives flows with their facts. A plain
//! struct: which thread owns it changes nothing.

use std::collections::BTreeMap;

use crate::capture::{FlowCount, Verdict};
use crate::decode::Quoted;
use crate::flow::index::FlowNumber;
use crate::flow::{Flow, NO_SLOT, Slot, Table};
use crate::inspect::connection::Connection;
use crate::inspect::datagrams::Datagrams;
use crate::inspect::{Facts, Progress, Protocol, Tools};
use crate::packet::{FlowKey, Packet, PointId, Side, TcpFlags, Timestamp, Transport};

/// Marks a flow about which inspection has nothing more to learn and nothing to say.
const NOTHING_TO_SAY: Slot = NO_SLOT - 1;

/// What inspection keeps of one flow.
enum Inspected {
    /// A TCP connection that is still read.
    Connection(Box<Connection>),
    /// A UDP exchange that is still read.
    Datagrams(Box<Datagrams>),
    /// Decided.
    Facts(Box<Facts>),
    /// A free place.
    Free,
}

/// How long a flow that ended is kept whole: late repetitions of its last segments still find it, and
/// what other flows show of its host by then counts for it too.
const KEPT_ENDED_NS: u64 = 30 * 1_000_000_000;

/// Every so many questions a shard looks through all of its flows for ended ones.
const SWEEP_TURNS: u32 = 16;

/// What a flow costs in the table and its index, in bytes; see the memory limit.
const FLOW_COST: usize = size_of::<Flow>() + 16;

/// What a flow that is looked into costs beside, in bytes: its reader; bytes that are held come on top.
const READER_COST: usize = 1 << 10;

/// What is known of a decided flow costs, in bytes, on average.
const FACTS_COST: usize = 384;

/// What would be lost with a flow. Ordered: the first is let go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// Nothing: it ended.
    Ended,
    /// A SYN that nobody answered.
    Attempt,
    /// Counts: what it is, is known.
    Decided,
    /// An exchange that is still looked into.
    Datagrams,
    /// A connection that is still looked into.
    Connection,
}

/// A question to the shards while the run goes on.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// Counts the questions.
    pub turn: u32,
    /// Asks what is new and what ended; otherwise only for room.
    pub news: bool,
    /// The latest packet's time.
    pub now: Timestamp,
    /// Bytes that all flows of one shard may cost.
    pub cost_max: usize,
}

/// What one worker's shards have to say.
#[derive(Default)]
pub struct Answer {
    /// Copies of flows about which something new was found that may be a finding.
    pub changed: Vec<Part>,
    /// Flows that left their shard: ended a while ago, or thrown out.
    pub folded: Vec<Part>,
    /// Flows that are left.
    pub flows: u64,
}

/// One flow on its way to the join.
pub struct Part {
    /// The flow.
    pub flow: Flow,
    /// What was found in it.
    pub facts: Option<Facts>,
    /// Its frames at other points than its first one.
    pub elsewhere: Vec<(PointId, u64)>,
    /// It was thrown out of a full table, and more of it may come.
    pub evicted: bool,
    /// It was thrown out while it was still looked into.
    pub undecided: bool,
}

/// The flows of one logical shard.
#[derive(Default)]
pub struct Shard {
    table: Table,
    inspected: Vec<Inspected>,
    free: Vec<Slot>,
    /// Frames of flows that were seen at another point than the flow's first one.
    elsewhere: BTreeMap<(FlowNumber, PointId), u64>,
    /// Bytes that connections hold: behind holes, of heads that are not whole.
    held: usize,
    /// Connections and exchanges that are still looked into.
    readers: usize,
    /// Flows about which something new was found since the last question.
    changed: Vec<FlowNumber>,
    /// Somebody asks what is new.
    asked: bool,
}

impl Shard {
    /// Takes one packet. A verdict holds for the whole five-tuple, and is given again with each packet
    /// that need not have come.
    #[inline]
    pub fn packet(&mut self, packet: &Packet, bytes: &[u8], tools: &Tools) -> Option<Verdict> {
        let number = self.table.packet(packet);
        let flow = self.table.flow(number);
        if packet.point != flow.point {
            self.note_elsewhere(number, packet);
        }
        let slot = self.table.flow(number).slot;
        let is_empty = packet.payload.len == 0 && packet.cut_len == 0;
        // What says nothing itself may still tell that the bytes before it were lost.
        let says_nothing = || is_empty && !self.table.flow(number).tcp.has_sent(packet.side);
        if slot == NOTHING_TO_SAY || packet.counted_only || (slot == NO_SLOT && says_nothing()) {
            return (slot == NOTHING_TO_SAY).then_some(Verdict::Enough);
        }
        match packet.key.transport() {
            Transport::Tcp => self.segment(number, packet, bytes, tools),
            Transport::Udp if !is_empty => self.datagram(number, packet, bytes, tools),
            Transport::Udp => None,
        }
    }

    /// Adds what a kernel counted. A flow of which a frame was lost before it was decided is not wholly
    /// looked into.
    pub fn count(&mut self, packet: &Packet, count: &FlowCount) {
        let number = self.table.count(packet, count);
        if packet.point != self.table.flow(number).point {
            *self.elsewhere.entry((number, packet.point)).or_default() += count.packets;
        }
        if count.lost == 0 {
            return;
        }
        let flow = self.table.flow_mut(number);
        if flow.slot == NO_SLOT {
            self.readers += 1;
            let transport = packet.key.transport();
            flow.slot = place(&mut self.inspected, &mut self.free, || match transport {
                Transport::Tcp => Inspected::Connection(Box::default()),
                Transport::Udp => Inspected::Datagrams(Box::default()),
            });
        }
        match self.inspected.get_mut(flow.slot as usize) {
            Some(Inspected::Connection(connection)) => connection.lose(),
            Some(Inspected::Datagrams(datagrams)) => datagrams.lose(),
            Some(Inspected::Facts(_) | Inspected::Free) | None => {}
        }
    }

    /// Tells whether a verdict that a packet led to holds for its five-tuple: no other connection contends
    /// for it, and this packet does not open or close one.
    pub fn is_settled(&self, packet: &Packet) -> bool {
        let turns = packet.tcp.flags.has(TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST);
        !turns && self.table.is_contested(packet.hash, &packet.key) == Some(false)
    }

    /// Learns that a flow's packet was refused.
    pub fn refuse(&mut self, quoted: &Quoted) {
        self.table.refuse(quoted.hash, &quoted.key);
    }

    /// Loads what a packet of this hash needs first; see [`Table::touch`].
    #[inline]
    pub fn touch(&self, hash: u64) -> FlowNumber {
        self.table.touch(hash)
    }

    /// Loads the flow that [`Shard::touch`] pointed to.
    #[inline]
    pub fn touch_flow(&self, number: FlowNumber) -> u64 {
        self.table.touch_flow(number)
    }

    /// Ends all inspection: what was still undecided is decided with what there is.
    pub fn finish(&mut self, tools: &Tools) {
        for number in self.table.numbers() {
            let flow = self.table.flow(number);
            let ports = ports_of(&flow.key);
            let Some(place) = self.inspected.get_mut(flow.slot as usize) else { continue };
            let facts = match std::mem::replace(place, Inspected::Free) {
                Inspected::Connection(connection) => connection.finish(ports, tools),
                Inspected::Datagrams(datagrams) => datagrams.finish(),
                decided => {
                    *place = decided;
                    continue;
                }
            };
            *place = Inspected::Facts(Box::new(facts));
        }
    }

    /// Returns the flows with what was found in them; complete after [`Shard::finish`].
    pub fn flows(&self) -> impl Iterator<Item = (FlowNumber, &Flow)> {
        self.table.numbers().map(|number| (number, self.table.flow(number)))
    }

    /// Returns the number of flows.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Tells whether there is no flow.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Returns a flow.
    pub fn flow(&self, number: FlowNumber) -> &Flow {
        self.table.flow(number)
    }

    /// Returns what was found in a flow, if it was looked into and something was.
    pub fn facts(&self, number: FlowNumber) -> Option<&Facts> {
        match self.inspected.get(self.table.flow(number).slot as usize)? {
            Inspected::Facts(facts) => Some(facts),
            Inspected::Connection(connection) => Some(connection.facts()),
            Inspected::Datagrams(datagrams) => Some(datagrams.facts()),
            Inspected::Free => None,
        }
    }

    /// Returns the other points than its first one at which frames of a flow were seen, in order.
    pub fn elsewhere(&self, number: FlowNumber) -> impl Iterator<Item = (PointId, u64)> + '_ {
        let of = (number, PointId(0))..=(number, PointId(u16::MAX));
        self.elsewhere.range(of).map(|(&(_, point), &frames)| (point, frames))
    }

    /// Answers what is new, and lets go of flows that ended a while ago or that there is no room for.
    pub fn answer(&mut self, ask: &Ask, index: usize, told: &mut Answer, tools: &Tools) {
        if ask.news {
            self.tell_news(told);
            if (ask.turn as usize).wrapping_add(index).is_multiple_of(SWEEP_TURNS as usize) {
                self.sweep(ask.now, told, tools);
            }
        }
        if self.cost() > ask.cost_max {
            self.make_room(ask, told, tools);
        }
        told.flows += self.len() as u64;
    }

    /// Copies the flows about which something new was found.
    fn tell_news(&mut self, told: &mut Answer) {
        self.asked = true;
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        for number in changed {
            if self.table.flow(number).is_vacant() {
                continue;
            }
            told.changed.push(Part {
                flow: self.table.flow(number).clone(),
                facts: self.facts(number).cloned(),
                elsewhere: self.elsewhere(number).collect(),
                evicted: false,
                undecided: false,
            });
        }
    }

    /// Takes in a flow that left another shard.
    pub fn adopt(&mut self, part: Part) {
        let Part { mut flow, facts, elsewhere, .. } = part;
        flow.slot = NOTHING_TO_SAY;
        if let Some(facts) = facts {
            flow.slot = Slot::try_from(self.inspected.len()).unwrap_or(NOTHING_TO_SAY);
            self.inspected.push(Inspected::Facts(Box::new(facts)));
        }
        let number = self.table.adopt(flow);
        self.elsewhere
            .extend(elsewhere.into_iter().map(|(point, frames)| ((number, point), frames)));
    }

    /// Lets go of flows that ended a while ago.
    fn sweep(&mut self, now: Timestamp, told: &mut Answer, tools: &Tools) {
        for number in 0..self.table.places() {
            let flow = self.table.flow(number);
            if flow.is_over(now) && now.since(flow.last) > KEPT_ENDED_NS {
                self.fold(number, false, told, tools);
            }
        }
    }

    /// Lets go of an eighth of what flows may cost: first what ended, then attempts that nobody answered,
    /// then what is decided, each the longest silent first; what is still looked into goes last.
    #[cold]
    fn make_room(&mut self, ask: &Ask, told: &mut Answer, tools: &Tools) {
        let spare = ask.cost_max - ask.cost_max / 8;
        let mut order: Vec<_> = self
            .flows()
            .map(|(number, flow)| (self.worth(flow, ask.now), flow.last, number))
            .collect();
        // A guess at how many have to go; sorting all of them would cost more than letting some go.
        let excess = self.cost().saturating_sub(spare) / FLOW_COST + 1;
        if excess < order.len() {
            order.select_nth_unstable(excess);
            order[..=excess].sort_unstable();
        } else {
            order.sort_unstable();
        }
        for (worth, _, number) in order {
            if self.cost() <= spare {
                break;
            }
            self.table.settle(number);
            self.fold(number, worth > Worth::Ended, told, tools);
        }
    }

    /// Returns what would be lost with a flow.
    fn worth(&self, flow: &Flow, now: Timestamp) -> Worth {
        if flow.is_over(now) {
            return Worth::Ended;
        }
        match self.inspected.get(flow.slot as usize) {
            Some(Inspected::Connection(_)) => Worth::Connection,
            Some(Inspected::Datagrams(_)) => Worth::Datagrams,
            _ if !flow.tcp.is_answered() && !flow.has_payload() => Worth::Attempt,
            _ => Worth::Decided,
        }
    }

    /// Hands a flow to whoever asks and forgets it.
    fn fold(&mut self, number: FlowNumber, evicted: bool, told: &mut Answer, tools: &Tools) {
        let Some(flow) = self.table.remove(number) else { return };
        let (mut facts, mut undecided) = (None, false);
        if let Some(place) = self.inspected.get_mut(flow.slot as usize) {
            let ports = ports_of(&flow.key);
            facts = match std::mem::replace(place, Inspected::Free) {
                Inspected::Connection(connection) => {
                    undecided = evicted;
                    self.readers -= 1;
                    self.held -= connection.held_bytes();
                    Some(connection.finish(ports, tools))
                }
                Inspected::Datagrams(datagrams) => {
                    undecided = evicted && datagrams.facts().protocol.is_none();
                    self.readers -= 1;
                    Some(datagrams.finish())
                }
                Inspected::Facts(facts) => Some(*facts),
                Inspected::Free => None,
            };
            self.free.push(flow.slot);
        }
        let elsewhere: Vec<_> = self.elsewhere(number).collect();
        for (point, _) in &elsewhere {
            self.elsewhere.remove(&(number, *point));
        }
        told.folded.push(Part { flow, facts, elsewhere, evicted, undecided });
    }

    /// Returns what the flows cost, in bytes.
    fn cost(&self) -> usize {
        let decided = self.inspected.len() - self.free.len() - self.readers;
        self.table.len() * FLOW_COST + decided * FACTS_COST + self.readers * READER_COST + self.held
    }

    fn segment(
        &mut self,
        number: FlowNumber,
        packet: &Packet,
        bytes: &[u8],
        tools: &Tools,
    ) -> Option<Verdict> {
        let flow = self.table.flow_mut(number);
        if flow.slot == NO_SLOT {
            self.readers += 1;
            flow.slot =
                place(
                    &mut self.inspected,
                    &mut self.free,
                    || Inspected::Connection(Box::default()),
                );
        }
        let slot = flow.slot;
        let place = &mut self.inspected[slot as usize];
        let Inspected::Connection(connection) = place else { return Some(Verdict::Enough) };
        let held_before = connection.held_bytes();
        let starts = Side::BOTH.map(|side| flow.tcp.stream_start(side));
        let (opener, payload) = (flow.tcp.initiator(), packet.payload.of(bytes));
        let before = self.asked.then(|| telling(connection.facts()));
        let progress = connection.packet(packet, payload, starts, opener, tools);
        self.held = self.held + connection.held_bytes() - held_before;
        if before.is_some_and(|before| before != telling(connection.facts())) {
            self.changed.push(number);
        }
        if progress == Progress::More {
            return None;
        }
        let Inspected::Connection(connection) = std::mem::replace(place, Inspected::Free) else {
            return None;
        };
        self.held -= connection.held_bytes();
        let facts = connection.finish(ports_of(&packet.key), tools);
        self.decide(number, slot, facts);
        Some(Verdict::Enough)
    }

    fn datagram(
        &mut self,
        number: FlowNumber,
        packet: &Packet,
        bytes: &[u8],
        tools: &Tools,
    ) -> Option<Verdict> {
        let flow = self.table.flow_mut(number);
        if flow.slot == NO_SLOT {
            self.readers += 1;
            flow.slot =
                place(&mut self.inspected, &mut self.free, || Inspected::Datagrams(Box::default()));
        }
        let slot = flow.slot;
        let place = &mut self.inspected[slot as usize];
        let Inspected::Datagrams(datagrams) = place else { return Some(Verdict::Enough) };
        let before = self.asked.then(|| telling(datagrams.facts()));
        let progress = datagrams.packet(packet, packet.payload.of(bytes), tools);
        if before.is_some_and(|before| before != telling(datagrams.facts())) {
            self.changed.push(number);
        }
        if progress == Progress::More {
            return None;
        }
        let Inspected::Datagrams(datagrams) = std::mem::replace(place, Inspected::Free) else {
            return None;
        };
        let facts = datagrams.finish();
        self.decide(number, slot, facts);
        Some(Verdict::Enough)
    }

    /// Keeps what was found, or frees the place when that is nothing.
    fn decide(&mut self, number: FlowNumber, slot: Slot, facts: Facts) {
        self.readers -= 1;
        if facts == Facts::default() {
            self.free.push(slot);
            self.table.flow_mut(number).slot = NOTHING_TO_SAY;
        } else {
            self.inspected[slot as usize] = Inspected::Facts(Box::new(facts));
        }
    }

    #[cold]
    fn note_elsewhere(&mut self, number: FlowNumber, packet: &Packet) {
        *self.elsewhere.entry((number, packet.point)).or_default() += u64::from(packet.frames);
    }
}

/// Takes a free place, or makes one.
fn place(
    inspected: &mut Vec<Inspected>,
    free: &mut Vec<Slot>,
    make: impl FnOnce() -> Inspected,
) -> Slot {
    if let Some(slot) = free.pop() {
        inspected[slot as usize] = make();
        return slot;
    }
    inspected.push(make());
    Slot::try_from(inspected.len() - 1).expect("fewer places than flows")
}

/// Returns what of a flow's facts changes when a rule may have something new to judge.
fn telling(facts: &Facts) -> (Option<Protocol>, usize, usize, bool, Option<u16>, bool) {
    let tls = facts.tls.as_deref();
    (
        facts.protocol,
        facts.evidence.len(),
        facts.learned.len(),
        facts.upgraded,
        tls.and_then(|tls| tls.version),
        tls.is_some_and(|tls| tls.certificate.is_some()),
    )
}

fn ports_of(key: &FlowKey) -> [u16; 2] {
    [key.port(Side::Low), key.port(Side::High)]
}
