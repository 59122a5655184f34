//! Interfaces watched by an eBPF program: the kernel counts, user space looks.
//!
//! Every packet is counted exactly once. A packet that the program hands up is given as a frame, and
//! counts by being received; what it does not hand up (packets of a connection about which nothing more
//! is to be learned, bare acknowledgements, what the ring has no room for) it counts in the flow, and
//! the differences of these sums are given as [`FlowCount`](super::FlowCount)s, at the latest before the
//! next frame that opens or closes a connection. What cannot be keyed in the
//! kernel (tunnels, fragments, other protocols) is handed up whole, or lost and counted as such.
//!
//! Verdicts come back through [`Source::steer`]; they hold for connections that opened before the packet
//! that led to them. The kernel forgets idle flows in two steps, so that no packet is lost in between:
//! an entry that is *dying* counts no more, its packets are handed up; a second later it is deleted.

mod counters;
mod giving;
mod layout;
mod load;
mod probe;
mod sys;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{BLOCK_LEN, Block, Dropped, Event, InputSummary, Source, Steering, Verdict};
use crate::error::{Error, Result};
use crate::packet::{ObservationPoint, PointId, Transport};
use counters::{Pressure, is_idle};
use giving::{Giving, Watched};
use layout::{DYING, KernelFlow, KernelKey, ORDERS_MAX, Order, Record};
use load::Loaded;

pub use probe::{Support, probe};

/// Bytes that the backend takes beside its ring: the kernel's type data while it loads, and a reading of
/// the whole table of flows.
pub const OWN_MEMORY: u64 = 48 << 20;

/// The name that stands for all interfaces elsewhere; this backend does not know it.
pub const ANY: &str = "any";

/// Silence after which a UDP five-tuple begins another flow; the flow table has the same limit.
const UDP_IDLE_NS: u64 = 180_000_000_000;

/// Bytes in the ring that wake the reader: wake-ups cost both sides more than the packets do.
const WAKE_LEN: u64 = 256 << 10;

/// Time after which the ring is read in any case: findings are out well within 100 ms, and a wake-up costs as much
/// as a hundred packets do in the kernel.
const POLL_MS: i32 = 30;

/// Time between two readings of the kernel's sums: what people see move, and far more than a program
/// may be under way with an entry.
const SWEEP_NS: u64 = 1_000_000_000;

/// Time for which a muted flow is remembered: longer than a verdict is under way.
const MUTED_NS: u64 = 10_000_000_000;

/// `ARPHRD_…` of `include/uapi/linux/if_arp.h`: Ethernet and the loopback, whose frames look like it.
const HARDWARE_ETHERNET: [u16; 2] = [1, 772];

/// Interfaces whose frames begin with IP: PPP, IP tunnels, raw IP, and those that say nothing (tun,
/// `WireGuard`).
const HARDWARE_IP: [u16; 8] = [512, 519, 768, 769, 776, 778, 823, 0xfffe];

/// UDP ports of GTP-U, Teredo, VXLAN (two), its generic extension and Geneve.
const TUNNEL_PORTS: [u16; 6] = [2152, 3544, 4789, 8472, 4790, 6081];

/// How the program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Attach {
    /// Through TCX where the kernel has it, else through clsact.
    #[default]
    Auto,
    /// Through TCX.
    Tcx,
    /// Through clsact.
    Clsact,
}

/// How interfaces are watched.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of a frame that are copied at most; all of it without a limit.
    pub snaplen: Option<u32>,
    /// Makes the interfaces promiscuous.
    pub promiscuous: bool,
    /// Flows that the kernel counts at one time; packets of more are handed up. 256 bytes each.
    pub flows_max: u32,
    /// How many of them the first of the kernel's two tables takes. Its buckets, 16 bytes each, stay in a core's cache
    /// so; in one table for all a look-up waits longer for its bucket than for all else.
    pub flows_near: u32,
    /// Bytes of the ring buffer, rounded up to a power of two: what user space may lag behind.
    pub ring_len: u32,
    /// Leaves VLAN ids out of the key; must be as for decoding.
    pub ignore_vlan: bool,
    /// UDP ports whose datagrams may hold tunnels, and are handed up whole; at most 16. Must hold
    /// every port that decoding takes for one: beside the six assigned ones, the user's own.
    pub tunnel_ports: Vec<u16>,
    /// How the program is attached.
    pub attach: Attach,
    /// Ends the capture when it becomes true.
    pub stop: Arc<AtomicBool>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            snaplen: None,
            promiscuous: true,
            flows_max: 1 << 17,
            flows_near: 1 << 14,
            ring_len: 32 << 20,
            ignore_vlan: false,
            tunnel_ports: TUNNEL_PORTS.to_vec(),
            attach: Attach::Auto,
            stop: Arc::default(),
        }
    }
}

/// What the kernel's sums were at one time; given when the ring was read up to there.
struct Snapshot {
    time_ns: u64,
    /// What has news.
    flows: Vec<(KernelKey, KernelFlow)>,
    /// What may go. In a flood these are all, and hardly one has news.
    idle: Vec<Idle>,
    /// How many flows the kernel holds.
    total: usize,
}

/// A flow that the kernel may forget.
struct Idle {
    key: KernelKey,
    last_ns: u64,
    is_dying: bool,
}

/// How far the end of the capture has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Watching,
    /// Detached; what is under way is still read.
    Ending,
    Ended,
}

/// Watches interfaces through an eBPF program.
pub struct Ebpf {
    loaded: Loaded,
    order_program: OwnedFd,
    waker: sys::Waker,
    batches: sys::Batches,
    giving: Giving,
    /// What verdicts ask of the program, and was not asked yet.
    orders: Vec<(Order, KernelKey)>,
    /// When flows were last to be muted, in the program's time.
    muted: HashMap<KernelKey, u64, foldhash::fast::RandomState>,
    points: Vec<ObservationPoint>,
    notices: VecDeque<Error>,
    /// It was told why an interface that is back cannot be watched.
    told_unfit: bool,
    snapshot: Option<Snapshot>,
    swept_ns: u64,
    /// The ring held more than the last block took.
    has_more: bool,
    phase: Phase,
    flows_max: usize,
    pressure: Pressure,
    promiscuous: bool,
    attach: Attach,
    stop: Arc<AtomicBool>,
}

impl Ebpf {
    /// Loads the program and attaches it to interfaces, given by name.
    pub fn open(names: &[&str], options: &Options) -> Result<Self> {
        if let Some(obstacle) = probe().obstacle() {
            return Err(Error::about("eBPF", obstacle)
                .hint("portreeve doctor says more; --backend pcap does without eBPF"));
        }
        let mut loaded = load::load(options)?;
        let order_program = loaded.order_program()?;
        let waker = sys::Waker::new(loaded.ring.as_fd())
            .map_err(|error| Error::about("eBPF", format!("cannot wait on the ring: {error}")))?;
        let mut ebpf = Self {
            loaded,
            order_program,
            waker,
            batches: sys::Batches::new(),
            giving: Giving::new(sys::wall_offset_ns()),
            orders: Vec::new(),
            muted: HashMap::default(),
            points: Vec::new(),
            notices: VecDeque::new(),
            told_unfit: false,
            snapshot: None,
            swept_ns: sys::monotonic_ns(),
            has_more: true,
            phase: Phase::Watching,
            flows_max: options.flows_max as usize,
            pressure: Pressure::None,
            promiscuous: options.promiscuous,
            attach: options.attach,
            stop: Arc::clone(&options.stop),
        };
        for name in names {
            ebpf.watch(name)?;
        }
        Ok(ebpf)
    }

    /// Begins to watch an interface.
    fn watch(&mut self, name: &str) -> Result<()> {
        let interface = sys::interface(name).map_err(|error| {
            Error::about(name, format!("cannot be watched: {error}"))
                .hint("ip link lists the interfaces")
        })?;
        if self.giving.watched.iter().any(|watched| watched.index() == interface.index) {
            return Err(Error::about(name, "is given twice"));
        }
        let membership = self.attach(name, interface)?;
        let input = u32::try_from(self.points.len()).unwrap_or(u32::MAX);
        self.points.push(ObservationPoint { file: None, interface: Some(name.to_owned()), input });
        self.giving.watched.push(Watched::new(name, interface.index, membership));
        Ok(())
    }

    /// Attaches the program to an interface; returns what keeps it promiscuous.
    fn attach(&mut self, name: &str, interface: sys::Interface) -> Result<Option<OwnedFd>> {
        let is_ip = HARDWARE_IP.contains(&interface.hardware);
        if !is_ip && !HARDWARE_ETHERNET.contains(&interface.hardware) {
            let kind = interface.hardware;
            let cause = format!("hardware type {kind} is neither Ethernet nor IP");
            return Err(Error::about(name, cause).hint("--backend pcap may know it"));
        }
        let membership = if self.promiscuous && !interface.is_loopback && !is_ip {
            let membership = sys::promiscuous(interface.index).map_err(|error| {
                Error::about(name, format!("cannot be made promiscuous: {error}"))
                    .hint("CAP_NET_RAW allows it; --no-promisc does without")
            })?;
            Some(membership)
        } else {
            None
        };
        self.loaded.attach(name, interface, is_ip, self.attach)?;
        Ok(membership)
    }

    /// Returns packets that found no room in the kernel's table of flows, so far: they were handed up
    /// whole, or are among those lost in the ring.
    pub fn flow_full(&self) -> u64 {
        self.giving.watched.iter().map(|watched| self.losses(watched)[1]).sum()
    }

    /// Returns an interface's losses: in the ring, and for want of room among the flows.
    fn losses(&self, watched: &Watched) -> [u64; 2] {
        let of = |index| self.loaded.losses.get(index, 0).unwrap_or_default();
        let add = |sum: [u64; 2], next: [u64; 2]| [sum[0] + next[0], sum[1] + next[1]];
        watched.indices().iter().map(of).fold([0; 2], add)
    }

    /// Reads the ring until it is empty or the block is full. A snapshot goes where it belongs: behind
    /// all that was in the ring when it was made.
    fn read_ring(&mut self, block: &mut Block) -> Option<Snapshot> {
        let Self { loaded, giving, snapshot, .. } = self;
        let mut given = None;
        self.has_more = true;
        while block.bytes.len() < BLOCK_LEN {
            let Some(item) = loaded.ring.next() else {
                self.has_more = false;
                break;
            };
            match Record::read(&item) {
                Some(Record::Frame(head, bytes)) => {
                    if let Some(due) = snapshot.take_if(|due| head.time_ns > due.time_ns) {
                        giving.snapshot(&due.flows, block);
                        given = Some(due);
                    }
                    giving.frame(&head, bytes, block);
                }
                Some(Record::Counts(key, flow)) => giving.counts(&key, &flow, block),
                None => {}
            }
        }
        if !self.has_more
            && let Some(due) = snapshot.take()
        {
            giving.snapshot(&due.flows, block);
            given = Some(due);
        }
        given
    }

    /// Reads all sums from the kernel.
    fn take_snapshot(&mut self) -> Result<()> {
        let Self { batches, loaded, giving, pressure, .. } = self;
        let pressure = *pressure;
        let now_ns = sys::monotonic_ns();
        let mut snapshot = Snapshot { time_ns: 0, flows: Vec::new(), idle: Vec::new(), total: 0 };
        let mut take = |key: KernelKey, flow: KernelFlow| {
            snapshot.total += 1;
            let is_dying = flow.state == DYING;
            if is_dying || is_idle(&flow, is_udp(&key), now_ns, pressure) {
                snapshot.idle.push(Idle { key, last_ns: flow.last_ns, is_dying });
            }
            if giving.has_news(&key, &flow) {
                snapshot.flows.push((key, flow));
            }
        };
        let tables = &loaded.tables;
        let mut read = batches.read(tables.flows.fd().as_fd(), &mut take);
        if read.is_ok() && tables.uses_more() {
            read = batches.read(tables.more.fd().as_fd(), |mut key, flow| {
                layout::mark_more(&mut key);
                take(key, flow);
            });
        }
        read.map_err(|error| Error::about("eBPF", format!("cannot read the counters: {error}")))?;
        // The order of a map is none; connections on one key follow each other.
        snapshot.flows.sort_unstable_by_key(|(_, flow)| flow.born_ns);
        // It belongs behind the frames of the time that the reading took: what is new in them was told
        // with them.
        snapshot.time_ns = sys::monotonic_ns();
        self.swept_ns = snapshot.time_ns;
        self.pressure = Pressure::of(snapshot.total, self.flows_max);
        self.snapshot = Some(snapshot);
        Ok(())
    }

    /// Lets the kernel forget idle flows whose sums were given: dying first, so that nobody counts in
    /// them any more, and gone at the next snapshot.
    fn forget_idle(&mut self, snapshot: &Snapshot) {
        let order =
            |idle: &Idle| if idle.is_dying { Order::Bury } else { Order::Die(idle.last_ns) };
        let orders: Vec<_> = snapshot.idle.iter().map(|idle| (order(idle), idle.key)).collect();
        for (order, key) in self.carry_out(&orders) {
            if matches!(order, Order::Bury) {
                self.giving.forget(key);
                self.loaded.tables.buried += u64::from(layout::is_in_more(key));
            }
        }
        self.muted.retain(|_, muted_ns| muted_ns.saturating_add(MUTED_NS) > snapshot.time_ns);
    }

    /// Has the program carry out orders, many at a time; returns those that it did. What fails is asked for again.
    fn carry_out<'o>(&self, orders: &'o [(Order, KernelKey)]) -> Vec<&'o (Order, KernelKey)> {
        let mut done = Vec::new();
        let mut packet = Vec::with_capacity(ORDERS_MAX * layout::ORDER_LEN);
        for some in orders.chunks(ORDERS_MAX) {
            packet.clear();
            for (order, key) in some {
                packet.extend_from_slice(&layout::order_bytes(*order, key));
            }
            let answer = sys::run(self.order_program.as_fd(), &packet).unwrap_or(0);
            done.extend(
                some.iter()
                    .enumerate()
                    .filter(|(bit, _)| answer >> bit & 1 == 1)
                    .map(|(_, order)| order),
            );
        }
        done
    }

    /// Finds out which interfaces are gone, which an attached program is not told, and which are back.
    fn check_interfaces(&mut self) {
        for index in 0..self.giving.watched.len() {
            let watched = &mut self.giving.watched[index];
            let name = watched.name.clone();
            if !watched.is_gone && !sys::exists(watched.index()) {
                watched.lose();
                let cause = "went away; its frames are missed until it returns";
                self.notices.push_back(Error::about(name, cause));
            } else if watched.is_gone
                && let Ok(interface) = sys::interface(&name)
            {
                match self.attach(&name, interface) {
                    Ok(membership) => {
                        self.giving.watched[index].regain(interface.index, membership);
                        self.notices.push_back(Error::about(name, "is back"));
                    }
                    // It may be half made; it is tried again.
                    Err(error) if sys::exists(interface.index) && !self.told_unfit => {
                        self.told_unfit = true;
                        self.notices.push_back(error);
                    }
                    Err(_) => {}
                }
            }
            self.check_state(index);
        }
    }

    /// Finds out whether an interface that is there went down, or is up again.
    fn check_state(&mut self, index: usize) {
        let watched = &mut self.giving.watched[index];
        if watched.is_gone {
            return;
        }
        let is_down = sys::is_down(&watched.name);
        if std::mem::replace(&mut watched.is_down, is_down) != is_down {
            let what = if is_down { "is down or has no carrier" } else { "is up again" };
            self.notices.push_back(Error::about(&watched.name, what));
        }
    }

    fn is_to_end(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Tells whether a flow is UDP.
fn is_udp(key: &KernelKey) -> bool {
    layout::transport(key) == Transport::Udp
}

impl Source for Ebpf {
    fn next(&mut self, block: &mut Block) -> Result<Event> {
        block.clear();
        if let Some(notice) = self.notices.pop_front() {
            return Ok(Event::Notice(notice));
        }
        if self.phase == Phase::Ended {
            return Ok(Event::End);
        }
        self.carry_out(&self.orders);
        self.orders.clear();
        if !self.has_more && !self.is_to_end() {
            self.waker
                .wait(POLL_MS)
                .map_err(|error| Error::about("eBPF", format!("cannot wait: {error}")))?;
        }
        let now_ns = sys::monotonic_ns();
        if self.phase == Phase::Watching && self.is_to_end() {
            self.loaded.detach();
            self.phase = Phase::Ending;
            self.take_snapshot()?;
        } else if self.snapshot.is_none() && now_ns.saturating_sub(self.swept_ns) > SWEEP_NS {
            self.check_interfaces();
            self.giving.set_clock(sys::wall_offset_ns());
            self.take_snapshot()?;
        }
        if let Some(snapshot) = self.read_ring(block)
            && self.phase == Phase::Watching
        {
            self.forget_idle(&snapshot);
        }
        if self.phase == Phase::Ending && !self.has_more {
            self.phase = Phase::Ended;
        }
        if block.frames.is_empty() && block.counts.is_empty() {
            return Ok(Event::Tick(self.giving.wall(sys::monotonic_ns())));
        }
        Ok(Event::Frames)
    }

    fn points(&self) -> &[ObservationPoint] {
        &self.points
    }

    fn dropped(&self, point: PointId) -> Dropped {
        let watched = self.giving.watched.get(usize::from(point.0));
        let ring = watched.map_or(0, |watched| self.losses(watched)[0]);
        Dropped { ring, ..Dropped::default() }
    }

    fn steers(&self) -> bool {
        true
    }

    fn steer(&mut self, steering: &Steering) {
        let Some(watched) = self.giving.watched.get(usize::from(steering.point.0)) else { return };
        let key = layout::kernel_key(&steering.key, steering.vlans, watched.index());
        if steering.verdict == Verdict::KeepSending {
            self.muted.remove(&key);
            self.orders.push((Order::Unmute, key));
            return;
        }
        let time_ns = self.giving.earliest_kernel_ns(steering.time);
        // The packet was under way when the flow was muted.
        if self.muted.get(&key).is_some_and(|muted_ns| time_ns <= *muted_ns) {
            return;
        }
        // Also where it could not be muted, for want of an entry, say: later packets ask again.
        self.orders.push((Order::Mute(time_ns), key));
        self.muted.insert(key, sys::monotonic_ns());
    }

    fn inputs(&self) -> Vec<InputSummary> {
        self.giving.watched.iter().map(Watched::summary).collect()
    }
}
