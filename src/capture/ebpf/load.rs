//! Loads the program and attaches it. Nothing is pinned: TCX links end with the process; filters of
//! clsact, which do not, are removed at the end, or at the next start.

use std::os::fd::OwnedFd;

use aya::maps::{Array, HashMap, Map, MapData, RingBuf};
use aya::programs::tc::{self, NlOptions, SchedClassifierLinkId, TcAttachOptions};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};
use aya::{Ebpf as Object, EbpfLoader};

use super::{Attach, Options, probe, sys};
use crate::error::{Error, Result};

/// The program, compiled by `build.rs` or taken from the tree.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/portreeve.bpf.o"));

/// Entry for interfaces whose frames begin with Ethernet.
const ETHERNET: &str = "portreeve_eth";
/// Entry for interfaces whose frames begin with IP.
const IP: &str = "portreeve_ip";
/// Entry for the loader's own orders; never attached.
const ORDER: &str = "portreeve_order";

/// UDP ports of tunnels that the program has room for.
pub(super) const TUNNEL_PORTS_MAX: usize = 16;

/// Bytes that the ring has at least: two of the largest frames that offload makes, in pages.
const RING_LEN_MIN: u32 = 1 << 18;

/// Bytes that the ring has at most: beyond it lengths no longer fit 32 bits.
const RING_LEN_MAX: u32 = 1 << 30;

/// What the loaded program gave us.
pub(super) struct Loaded {
    /// Owns the programs and whatever is attached.
    object: Object,
    pub(super) tables: Tables,
    pub(super) ring: RingBuf<MapData>,
    pub(super) losses: HashMap<MapData, u32, [u64; 2]>,
    links: Vec<(&'static str, SchedClassifierLinkId)>,
    /// Names that tell another process that our filters are not stale.
    names: Vec<OwnedFd>,
}

/// The kernel's tables of flows.
pub(super) struct Tables {
    /// What most flows are in.
    pub(super) flows: MapData,
    /// Those that found no room there.
    pub(super) more: MapData,
    /// Entries ever made there.
    made: Array<MapData, u64>,
    /// Entries deleted there.
    pub(super) buried: u64,
}

impl Tables {
    /// Tells whether the second table holds anything.
    pub(super) fn uses_more(&self) -> bool {
        self.made.get(&0, 0).map_or(true, |made| made > self.buried)
    }
}

/// Loads the program; it sees nothing until it is attached.
pub(super) fn load(options: &Options) -> Result<Loaded> {
    let mut tunnel_ports = [0u32; TUNNEL_PORTS_MAX];
    if options.tunnel_ports.len() > TUNNEL_PORTS_MAX {
        let most = format!("more than {TUNNEL_PORTS_MAX} UDP ports of tunnels");
        return Err(Error::about("eBPF", most).hint("use --backend pcap"));
    }
    for (to, from) in tunnel_ports.iter_mut().zip(&options.tunnel_ports) {
        *to = u32::from(*from);
    }
    let ring_len = options.ring_len.clamp(RING_LEN_MIN, RING_LEN_MAX).next_power_of_two();
    let ignore_vlan = u32::from(options.ignore_vlan);
    let snaplen = options.snaplen.unwrap_or(u32::MAX).max(1);
    let mut object = EbpfLoader::new()
        .override_global("copy_max", &snaplen, true)
        .override_global("ignore_vlan", &ignore_vlan, true)
        .override_global("tunnel_ports", &tunnel_ports, true)
        .override_global("wake_len", &(u64::from(ring_len) / 4).min(super::WAKE_LEN), true)
        .override_global("udp_idle_ns", &super::UDP_IDLE_NS, true)
        .override_global("has_more", &u32::from(options.flows_max > options.flows_near), true)
        .map_max_entries("flows", options.flows_max.min(options.flows_near))
        .map_max_entries("more", options.flows_max.saturating_sub(options.flows_near).max(1))
        .map_max_entries("ring", ring_len)
        .load(OBJECT)
        .map_err(|error| failed("cannot load the eBPF program", &error))?;
    for name in [ETHERNET, IP, ORDER] {
        program(&mut object, name)?
            .load()
            .map_err(|error| failed("the kernel refuses the eBPF program", &error))?;
    }
    let tables = tables(&mut object)?;
    let ring = object.take_map("ring").ok_or_else(not_ours)?;
    let losses = object.take_map("losses").ok_or_else(not_ours)?;
    Ok(Loaded {
        tables,
        ring: RingBuf::try_from(ring).map_err(|error| failed("no ring buffer", &error))?,
        losses: HashMap::try_from(losses).map_err(|error| failed("no table of losses", &error))?,
        object,
        links: Vec::new(),
        names: Vec::new(),
    })
}

/// Takes the tables of flows out of the loaded program.
fn tables(object: &mut Object) -> Result<Tables> {
    let Some(Map::HashMap(flows)) = object.take_map("flows") else { return Err(not_ours()) };
    let Some(Map::HashMap(more)) = object.take_map("more") else { return Err(not_ours()) };
    let made = object.take_map("more_made").ok_or_else(not_ours)?;
    let made = Array::try_from(made).map_err(|error| failed("no count of flows", &error))?;
    Ok(Tables { flows, more, made, buried: 0 })
}

impl Loaded {
    /// Attaches the program to an interface: to both directions, but to one of the loopback, where each
    /// packet passes both.
    pub(super) fn attach(
        &mut self,
        name: &str,
        interface: sys::Interface,
        is_ip: bool,
        attach: Attach,
    ) -> Result<()> {
        self.losses
            .insert(interface.index, [0; 2], 0)
            .map_err(|error| about(name, "no room in the table of losses", &error))?;
        let uses_tcx = match attach {
            Attach::Auto => probe::has_tcx(),
            Attach::Tcx => true,
            Attach::Clsact => false,
        };
        if !uses_tcx {
            self.prepare_clsact(name, interface.index)?;
        }
        let entry = if is_ip { IP } else { ETHERNET };
        let directions = [TcAttachType::Ingress, TcAttachType::Egress];
        let directions = if interface.is_loopback { &directions[..1] } else { &directions[..] };
        for &direction in directions {
            // First of all: a program before this one may take packets away.
            let how = if uses_tcx {
                TcAttachOptions::TcxOrder(LinkOrder::first())
            } else {
                TcAttachOptions::Netlink(NlOptions { priority: 1, ..NlOptions::default() })
            };
            let link = program(&mut self.object, entry)?
                .attach_with_options(name, direction, how)
                .map_err(|error| about(name, "cannot attach the eBPF program", &error))?;
            self.links.push((entry, link));
        }
        Ok(())
    }

    /// Makes the queueing discipline that filters hang on, and removes what a killed run left there.
    fn prepare_clsact(&mut self, name: &str, index: u32) -> Result<()> {
        // There already, it stays as it is, whoever made it.
        let made = tc::qdisc_add_clsact(name);
        let owner = sys::exclusive(&format!("portreeve-clsact-{index}"))
            .map_err(|error| about(name, "cannot mark the interface as watched", &error))?;
        let Some(owner) = owner else { return Ok(()) };
        self.names.push(owner);
        if made.is_err() {
            for direction in [TcAttachType::Ingress, TcAttachType::Egress] {
                for entry in [ETHERNET, IP] {
                    // Mostly there is none.
                    drop(tc::qdisc_detach_program(name, direction, entry));
                }
            }
        }
        Ok(())
    }

    /// Detaches the program from everything: no packet is counted any more when this returns. An
    /// interface that is gone took its own with it.
    pub(super) fn detach(&mut self) {
        for (entry, link) in self.links.drain(..) {
            if let Ok(program) = program(&mut self.object, entry) {
                drop(program.detach(link));
            }
        }
        self.names.clear();
    }

    /// Returns the entry that takes orders.
    pub(super) fn order_program(&mut self) -> Result<OwnedFd> {
        let fd = program(&mut self.object, ORDER)?.fd().map_err(|_| not_ours())?;
        let fd = std::os::fd::AsFd::as_fd(fd).try_clone_to_owned();
        fd.map_err(|error| failed("no file descriptor is left", &error))
    }
}

fn program<'a>(object: &'a mut Object, name: &str) -> Result<&'a mut SchedClassifier> {
    let program = object.program_mut(name).ok_or_else(not_ours)?;
    program.try_into().map_err(|_| not_ours())
}

fn not_ours() -> Error {
    Error::about("eBPF", "the compiled program is not the one of this version")
        .hint("this is a defect of portreeve's build: please report it")
}

fn failed(what: &str, error: &dyn std::error::Error) -> Error {
    about("eBPF", what, error)
}

/// Tells what failed, with the innermost cause, which names the system call's error.
fn about(name: &str, what: &str, error: &dyn std::error::Error) -> Error {
    let mut cause = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        cause = inner.to_string();
        source = inner.source();
    }
    // The verifier's log has many lines; its last one says why.
    let line = cause.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("unknown cause");
    Error::about(name, format!("{what}: {}", line.trim()))
        .hint("portreeve doctor says what is missing; --backend pcap does without eBPF")
}
