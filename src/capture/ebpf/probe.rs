//! What this machine allows.

use std::path::Path;

use aya::maps::MapType;
use aya::programs::ProgramType;
use aya::util::KernelVersion;

/// `CAP_…` of `include/uapi/linux/capability.h`, by number.
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// What the kernel and the process's capabilities allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Support {
    /// The kernel's release, as it names itself.
    pub kernel: String,
    /// Atomic operations that the program needs: from 5.12 on.
    pub is_recent: bool,
    /// The kernel's own type data; good to have, not needed.
    pub btf: bool,
    /// Programs that see the traffic of an interface may be loaded.
    pub programs: bool,
    /// Ring buffers: from 5.8 on.
    pub ring_buffer: bool,
    /// TCX, from 6.6 on; without it the program is attached through clsact.
    pub tcx: bool,
    /// Capabilities that are needed and missing.
    pub missing: Vec<&'static str>,
    /// Whether an interface may be made promiscuous.
    pub promiscuous: bool,
}

impl Support {
    /// Returns why the backend cannot be used here, if it cannot.
    pub fn obstacle(&self) -> Option<String> {
        if !self.is_recent {
            return Some(format!("kernel {} is older than 5.12", self.kernel));
        }
        if !self.missing.is_empty() {
            return Some(format!("{} missing", self.missing.join(" and ")));
        }
        if !self.programs {
            return Some("the kernel refuses eBPF programs".to_owned());
        }
        (!self.ring_buffer).then(|| "the kernel has no eBPF ring buffer".to_owned())
    }
}

/// Finds out what this machine allows, without attaching anything.
pub fn probe() -> Support {
    let held = capabilities();
    let has = |bit: u32| held >> bit & 1 == 1;
    let mut missing = Vec::new();
    if !has(BPF) && !has(SYS_ADMIN) {
        missing.push("CAP_BPF");
    }
    if !has(NET_ADMIN) {
        missing.push("CAP_NET_ADMIN");
    }
    // The verifier asks for it: the program computes where in a map it counts.
    if !has(PERFMON) && !has(SYS_ADMIN) {
        missing.push("CAP_PERFMON");
    }
    let may_ask = missing.is_empty();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Support {
        kernel: kernel.trim().to_owned(),
        is_recent: is_at_least(5, 12),
        btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        programs: may_ask
            && aya::sys::is_program_supported(ProgramType::SchedClassifier).unwrap_or(false),
        ring_buffer: may_ask && aya::sys::is_map_supported(MapType::RingBuf).unwrap_or(false),
        tcx: has_tcx(),
        missing,
        promiscuous: has(NET_RAW),
    }
}

/// Tells whether programs can be attached through TCX.
pub(super) fn has_tcx() -> bool {
    is_at_least(6, 6)
}

fn is_at_least(major: u8, minor: u8) -> bool {
    KernelVersion::current().is_ok_and(|kernel| kernel >= KernelVersion::new(major, minor, 0))
}

/// Returns the effective capabilities of this thread, a bit each (proc(5)).
fn capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_obstacle_is_named() {
        let good = Support {
            kernel: "6.1.0".to_owned(),
            is_recent: true,
            btf: true,
            programs: true,
            ring_buffer: true,
            tcx: false,
            missing: vec![],
            promiscuous: true,
        };
        assert_eq!(good.obstacle(), None);
        let missing = vec!["CAP_BPF", "CAP_NET_ADMIN"];
        let poor = Support { missing, programs: false, ring_buffer: false, ..good.clone() };
        assert_eq!(poor.obstacle().unwrap(), "CAP_BPF and CAP_NET_ADMIN missing");
        let old = Support { kernel: "5.4.0".to_owned(), is_recent: false, ..good };
        assert_eq!(old.obstacle().unwrap(), "kernel 5.4.0 is older than 5.12");
    }
}
