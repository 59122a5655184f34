//! Questions to a shard while a run goes on: what is new in its flows, and which of them may go.

use super::{Inspected, NOTHING_TO_SAY, Shard, boxed, end_of};
use crate::flow::index::FlowNumber;
use crate::flow::{Flow, Slot};
use crate::inspect::{Facts, Tools, Uninspected};
use crate::packet::{PointId, Timestamp};

/// How long a flow that ended is kept whole: late repetitions of its last segments still find it, and
/// what other flows show of its host by then counts for it too.
const KEPT_ENDED_NS: u64 = 30 * 1_000_000_000;

/// How long after it is told from one that goes on a silent connection is looked at for what it needs no more:
/// some times, and then no more.
const RESTED_WITHIN_NS: u64 = 5 * 1_000_000_000;

/// Every so many questions a shard looks through all of its flows for ended ones.
const SWEEP_TURNS: u32 = 16;

/// What a flow costs in the table and its index, in bytes; see the memory limit.
const FLOW_COST: usize = size_of::<Flow>() + 32;

/// What a connection that is looked into costs beside, in bytes: its reader; bytes that are held come on top.
const READER_COST: usize = (1 << 10) + (1 << 7);

/// What an exchange of datagrams that is looked into costs beside, in bytes; what was found comes on top.
const EXCHANGE_COST: usize = size_of::<Inspected>() + 16;

/// What is known of a decided flow costs, in bytes, beside what was found.
const FACTS_COST: usize = size_of::<Facts>() + size_of::<Inspected>() + 16;

/// What a flow costs for each point beside its first one, in bytes: its place in a tree.
const ELSEWHERE_COST: usize = 48;

/// What a frame may add to the cost of the flows, in bytes, beside what it is long itself.
pub const FRAME_COST_MAX: u64 = (FLOW_COST + READER_COST + FACTS_COST) as u64;

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
    /// What these cost, in bytes.
    pub cost: u64,
}

/// One flow on its way to the join. Boxed: lists of many grow.
pub struct Part {
    /// The flow.
    pub flow: Box<Flow>,
    /// What was found in it.
    pub facts: Option<Box<Facts>>,
    /// Its frames at other points than its first one.
    pub elsewhere: Vec<(PointId, u64)>,
    /// It was thrown out of a full table, and more of it may come.
    pub evicted: bool,
    /// It was thrown out while it was still looked into.
    pub undecided: bool,
}

impl Shard {
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
        // Frames that come before the next question may take it beyond.
        self.relieve_at = Some(ask.cost_max + ask.cost_max / 2);
        told.flows += self.len() as u64;
        told.cost += self.cost() as u64;
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
                flow: Box::new(self.table.flow(number).clone()),
                facts: self.facts(number).cloned().map(Box::new),
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
            self.inspected.push(Inspected::Facts(facts));
        }
        let number = self.table.adopt(*flow);
        self.elsewhere
            .extend(elsewhere.into_iter().map(|(point, frames)| ((number, point), frames)));
    }

    /// Lets go of flows that ended a while ago, and of what those need no more that fell silent.
    fn sweep(&mut self, now: Timestamp, told: &mut Answer, tools: &Tools) {
        for number in 0..self.table.places() {
            let flow = self.table.flow(number);
            let silent_ns = now.since(flow.last);
            if silent_ns <= KEPT_ENDED_NS || flow.is_vacant() {
                continue;
            }
            if flow.is_over(now) || flow.tcp.is_closed() {
                self.table.settle(number);
                self.fold(number, false, told, tools);
            } else if silent_ns <= KEPT_ENDED_NS + RESTED_WITHIN_NS
                && let Some(Inspected::Connection(connection)) =
                    self.inspected.get_mut(flow.slot as usize)
            {
                let held_before = connection.held_bytes();
                connection.rest();
                self.held = (self.held + connection.held_bytes()).saturating_sub(held_before);
            }
        }
    }

    /// Lets go of a sixteenth of what flows may cost: first what ended, then attempts that nobody answered,
    /// then what is decided, each the longest silent first; what is still looked into goes last.
    #[cold]
    fn make_room(&mut self, ask: &Ask, told: &mut Answer, tools: &Tools) {
        let spare = ask.cost_max - ask.cost_max / 16;
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

    /// What is held is half as much again as all flows may cost, before the next question: a few bytes of the
    /// wire may stand for many. Ends the reading of the connections that hold the most; what is known of them
    /// stays.
    #[cold]
    pub(super) fn relieve(&mut self, tools: &Tools) {
        let Some(max) = self.relieve_at else { return };
        let mut order: Vec<_> = self
            .flows()
            .filter_map(|(number, flow)| match self.inspected.get(flow.slot as usize) {
                Some(Inspected::Connection(connection)) => {
                    Some((std::cmp::Reverse(connection.held_bytes()), number))
                }
                _ => None,
            })
            .collect();
        order.sort_unstable();
        for (_, number) in order {
            if self.held <= max - max / 4 {
                break;
            }
            let flow = self.table.flow(number);
            let slot = flow.slot;
            let place = &mut self.inspected[slot as usize];
            let Inspected::Connection(connection) = std::mem::replace(place, Inspected::Free)
            else {
                continue;
            };
            self.held = self.held.saturating_sub(connection.held_bytes());
            let mut facts = end_of(*connection, flow, tools);
            facts.uninspected.add(Uninspected::MEMORY);
            self.connections -= 1;
            self.decide(number, slot, facts);
        }
        // What is decided stays until the next question; it need not be looked at with every packet.
        self.relieve_at = Some(max.max(self.held + max / 4));
    }

    /// Returns what would be lost with a flow.
    fn worth(&self, flow: &Flow, now: Timestamp) -> Worth {
        if flow.is_over(now) || flow.tcp.is_closed() {
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
        let Some(flow) = self.table.remove(number).map(Box::new) else { return };
        let (mut facts, mut undecided) = (None, false);
        if let Some(place) = self.inspected.get_mut(flow.slot as usize) {
            facts = match std::mem::replace(place, Inspected::Free) {
                Inspected::Connection(connection) => {
                    undecided = evicted;
                    self.connections -= 1;
                    self.held = self.held.saturating_sub(connection.held_bytes());
                    boxed(end_of(*connection, &flow, tools))
                }
                Inspected::Datagrams(datagrams) => {
                    undecided = evicted && datagrams.protocol().is_none();
                    self.exchanges -= 1;
                    self.held = self.held.saturating_sub(datagrams.held_bytes());
                    boxed(datagrams.finish())
                }
                Inspected::Facts(facts) => {
                    self.held = self.held.saturating_sub(facts.held_bytes());
                    Some(facts)
                }
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
        let open = self.connections + self.exchanges;
        let decided = self.inspected.len() - self.free.len() - open;
        self.table.len() * FLOW_COST
            + decided * FACTS_COST
            + self.connections * READER_COST
            + self.exchanges * EXCHANGE_COST
            + self.elsewhere.len() * ELSEWHERE_COST
            + self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::testing::{CLIENT, SERVER, tcp, udp};
    use crate::inspect::Options;
    use crate::inspect::secret::Fingerprinter;
    use crate::packet::TcpFlags;

    /// A question of SNMP's second version for a system's description, with the community `public` (RFC 3416).
    const QUESTION: &[u8] =
        b"\x30\x26\x02\x01\x01\x04\x06public\xa0\x19\x02\x01\x01\x02\x01\0\x02\x01\0\
        \x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x01\0\x05\0";

    /// Returns what flows cost to which one datagram came each, and of how many something was found.
    fn cost_of(payload: &[u8], port: u16, flows: u16) -> (u64, usize) {
        let tools =
            Tools { options: Options::default(), fingerprinter: Fingerprinter::new(b"key") };
        let mut shard = Shard::default();
        for client in 0..flows {
            let (from, to) = (format!("10.0.0.1:{}", 20_000 + client), format!("10.0.0.2:{port}"));
            let packet = udp(&from, &to, 0, u32::try_from(payload.len()).unwrap());
            shard.packet(&packet, payload, &tools);
        }
        let found = shard.flows().filter(|(number, _)| shard.facts(*number).is_some()).count();
        let ask = Ask { turn: 0, news: false, now: Timestamp(0), cost_max: usize::MAX / 4 };
        let mut told = Answer::default();
        shard.answer(&ask, 0, &mut told, &tools);
        let cost = told.cost;
        shard.answer(&Ask { cost_max: 0, ..ask }, 0, &mut told, &tools);
        assert!(shard.is_empty() && shard.held == 0, "what went is counted no more");
        (cost, found)
    }

    #[test]
    fn a_silent_connection_lets_go_of_its_last_bytes_and_goes_on() {
        let tools =
            Tools { options: Options::default(), fingerprinter: Fingerprinter::new(b"key") };
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer abc\r\n\r\n";
        let len = u32::try_from(request.len()).unwrap();
        let mut shard = Shard::default();
        shard.packet(&tcp(CLIENT, SERVER, TcpFlags::SYN, 99, 0, 0), b"", &tools);
        shard.packet(&tcp(CLIENT, SERVER, TcpFlags::ACK, 100, 1, len), request, &tools);
        let mut cost_at = |seconds: i64| {
            let mut told = Answer::default();
            for turn in 0..SWEEP_TURNS {
                let now = Timestamp(seconds * 1_000_000_000);
                let ask = Ask { turn, news: true, now, cost_max: usize::MAX / 4 };
                told = Answer::default();
                shard.answer(&ask, 0, &mut told, &tools);
            }
            (told.cost, told.flows)
        };
        let (lively, silent) = (cost_at(29), cost_at(31));
        assert_eq!((lively.1, silent.1), (1, 1), "it does not end by silence");
        assert!(silent.0 < lively.0, "{} {}", silent.0, lively.0);
        shard.packet(&tcp(CLIENT, SERVER, TcpFlags::ACK, 100 + len, 1, len), request, &tools);
        let (number, _) = shard.flows().next().unwrap();
        assert_eq!(shard.facts(number).unwrap().requests, 2);
    }

    #[test]
    fn what_was_found_of_an_exchange_counts_while_it_goes_on() {
        let (nothing, found) = cost_of(b"nobody knows what this is", 9999, 100);
        assert_eq!(found, 0);
        let (something, found) = cost_of(QUESTION, 161, 100);
        assert_eq!(found, 100);
        // A community and that it is a default one: two entries of evidence at least.
        let least = 100 * 2 * size_of::<crate::inspect::facts::Evidence>() as u64;
        assert!(something > nothing + least, "{something} {nothing}");
    }
}
