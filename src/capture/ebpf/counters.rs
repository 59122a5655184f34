//! The kernel's sums → differences, each given once, and which entries may go.
//!
//! Takes what the program says of a flow, from the ring or from its map; gives what was counted since.
//! A plain struct: no clock, no system call.

use std::collections::HashMap;

use super::layout::{KernelFlow, KernelKey, LIVE, Sums};

/// Silence after which a connection that both sides closed is forgotten by the kernel: its last retransmissions are
/// mostly over. A later one is handed up, and still finds its flow in user space; each reading of the whole table takes
/// as long as there are flows in it.
const CLOSED_IDLE_NS: u64 = 1_000_000_000;

/// Silence after which an open connection is. When it speaks again its packets are handed up until the
/// verdict comes again, so nothing is lost but time.
const TCP_IDLE_NS: u64 = 600_000_000_000;

/// Silence after which a UDP exchange is: longer than what ends a flow, so that the kernel knows that
/// the next datagram begins another.
const UDP_IDLE_NS: u64 = super::UDP_IDLE_NS + 20_000_000_000;

/// How full the kernel's table of flows is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pressure {
    /// There is room.
    None,
    /// More than three quarters are taken: a scan, or a busy hour.
    High,
    /// More than nine tenths are taken.
    Full,
}

impl Pressure {
    pub(super) fn of(flows: usize, flows_max: usize) -> Self {
        match () {
            () if flows > flows_max / 10 * 9 => Self::Full,
            () if flows > flows_max / 4 * 3 => Self::High,
            () => Self::None,
        }
    }

    /// Connections go earlier by this factor: after half a minute, after three seconds.
    fn hurry(self) -> u64 {
        match self {
            Self::None => 1,
            Self::High => 20,
            Self::Full => 200,
        }
    }
}

/// What was given of a flow.
#[derive(Debug, Default)]
struct Given {
    sums: Sums,
    /// The connection whose opening was given, by its number on this key.
    opened: Option<u32>,
}

/// One side's difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Difference {
    /// 0 or 1.
    pub(super) side: usize,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) lost: u64,
    /// Begins another flow.
    pub(super) opens: bool,
    /// Belongs to the connection before the present one.
    pub(super) is_former: bool,
}

/// What was given of all flows that the kernel counted anything of.
#[derive(Default)]
pub(super) struct Counters {
    given: HashMap<KernelKey, Given, foldhash::fast::RandomState>,
}

impl Counters {
    /// Gives what was counted of a flow since the last time.
    pub(super) fn take(
        &mut self,
        key: &KernelKey,
        flow: &KernelFlow,
        mut give: impl FnMut(Difference),
    ) {
        if flow.sums.packets == [0; 2] {
            return;
        }
        let given = self.given.entry(*key).or_default();
        given.sums.advance(&flow.before, |side, packets, bytes, lost| {
            give(Difference { side, packets, bytes, lost, opens: false, is_former: true });
        });
        let mut opens = flow.untold && flow.opened && given.opened != Some(flow.generation);
        let opened = &mut given.opened;
        given.sums.advance(&flow.sums, |side, packets, bytes, lost| {
            give(Difference { side, packets, bytes, lost, opens, is_former: false });
            if opens {
                *opened = Some(flow.generation);
            }
            opens = false;
        });
    }

    /// Tells whether a flow counted anything that was not given yet.
    pub(super) fn has_news(&self, key: &KernelKey, flow: &KernelFlow) -> bool {
        match self.given.get(key) {
            Some(given) => given.sums != flow.sums,
            None => flow.sums.packets != [0; 2],
        }
    }

    /// Forgets a flow whose entry the kernel deleted: the next one begins at 0.
    pub(super) fn forget(&mut self, key: &KernelKey) {
        self.given.remove(key);
    }
}

impl Sums {
    /// Raises these sums to others, which may be older; tells what is new, by side.
    fn advance(&mut self, to: &Self, mut tell: impl FnMut(usize, u64, u64, u64)) {
        for side in 0..2 {
            let raise = |from: &mut u64, to: u64| {
                let difference = to.saturating_sub(*from);
                *from += difference;
                difference
            };
            let packets = raise(&mut self.packets[side], to.packets[side]);
            let bytes = raise(&mut self.bytes[side], to.bytes[side]);
            let lost = raise(&mut self.lost[side], to.lost[side]);
            if packets | bytes | lost != 0 {
                tell(side, packets, bytes, lost);
            }
        }
    }
}

/// Tells whether the kernel may forget a flow. Under pressure only TCP goes earlier: a UDP exchange
/// that is forgotten too early would be taken for another one.
pub(super) fn is_idle(flow: &KernelFlow, is_udp: bool, now_ns: u64, pressure: Pressure) -> bool {
    let limit_ns = match (is_udp, flow.closed) {
        (true, _) => UDP_IDLE_NS,
        (false, 3) => CLOSED_IDLE_NS,
        (false, _) => TCP_IDLE_NS,
    };
    let hurry = if is_udp { 1 } else { pressure.hurry() };
    flow.state == LIVE && now_ns.saturating_sub(flow.last_ns) > limit_ns / hurry
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: KernelKey = [7; 48];

    fn sums(packets: [u64; 2]) -> Sums {
        Sums { packets, bytes: packets.map(|n| n * 100), lost: [0; 2] }
    }

    fn taken(counters: &mut Counters, flow: &KernelFlow) -> Vec<Difference> {
        let mut all = Vec::new();
        counters.take(&KEY, flow, |difference| all.push(difference));
        all
    }

    fn of(side: usize, packets: u64) -> Difference {
        let bytes = packets * 100;
        Difference { side, packets, bytes, lost: 0, opens: false, is_former: false }
    }

    #[test]
    fn each_packet_is_given_once_however_late_a_sum_comes() {
        let mut counters = Counters::default();
        let flow = |packets| KernelFlow { sums: sums(packets), ..KernelFlow::default() };
        assert_eq!(taken(&mut counters, &flow([3, 1])), [of(0, 3), of(1, 1)]);
        assert_eq!(taken(&mut counters, &flow([3, 5])), [of(1, 4)]);
        assert_eq!(taken(&mut counters, &flow([2, 5])), [], "an older sum adds nothing");
        assert_eq!(taken(&mut counters, &flow([4, 5])), [of(0, 1)]);
    }

    #[test]
    fn a_lost_opening_parts_the_counts_of_two_connections() {
        let mut counters = Counters::default();
        let first = KernelFlow { sums: sums([3, 1]), ..KernelFlow::default() };
        taken(&mut counters, &first);
        let second = KernelFlow {
            sums: sums([9, 2]),
            before: sums([5, 1]),
            generation: 1,
            untold: true,
            opened: true,
            ..KernelFlow::default()
        };
        let former = Difference { is_former: true, ..of(0, 2) };
        let opening = Difference { opens: true, ..of(0, 4) };
        assert_eq!(taken(&mut counters, &second), [former, opening, of(1, 1)]);
        let later = KernelFlow { sums: sums([10, 2]), ..second };
        assert_eq!(taken(&mut counters, &later), [of(0, 1)], "it opens once");
    }

    #[test]
    fn a_connection_whose_opening_was_handed_up_does_not_open_again() {
        let mut counters = Counters::default();
        let flow = KernelFlow { sums: sums([2, 0]), opened: true, ..KernelFlow::default() };
        assert_eq!(taken(&mut counters, &flow), [of(0, 2)]);
    }

    #[test]
    fn silence_ends_an_entry_and_pressure_ends_it_sooner() {
        let flow = |closed| KernelFlow { last_ns: 5, closed, ..KernelFlow::default() };
        let second = 1_000_000_000;
        assert!(is_idle(&flow(3), false, 11 * second, Pressure::None));
        assert!(!is_idle(&flow(1), false, 500 * second, Pressure::None));
        assert!(is_idle(&flow(1), false, 31 * second, Pressure::High));
        assert!(!is_idle(&flow(0), true, 190 * second, Pressure::Full));
        assert!(is_idle(&flow(0), true, 201 * second, Pressure::None));
        let dying = KernelFlow { state: super::super::layout::DYING, ..flow(3) };
        assert!(!is_idle(&dying, false, 500 * second, Pressure::None));
    }
}
