//! What the process may do: asks for what a capture needs, and gives up the rest.
//!
//! Takes the user's wishes; gives a [`SandboxReport`] that says what is in force. Everything here concerns
//! the calling thread and those it starts later: call it before the first thread starts.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, Scope, path_beneath_rules,
};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, dumpable_behavior, geteuid, getrlimit,
    set_dumpable_behavior, setrlimit,
};
pub use rustix::thread::CapabilitySet;
use rustix::thread::{
    CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use rustix::{io, thread};
use serde::Serialize;

use crate::error::{Error, Result};

/// Rights of files that are read: whatever the kernel may add later is not among them.
const READ: &[AccessFs] = &[AccessFs::ReadFile, AccessFs::ReadDir];

/// Rights of directories that reports are written in, rotation included.
const WRITE: &[AccessFs] = &[
    AccessFs::ReadFile,
    AccessFs::ReadDir,
    AccessFs::WriteFile,
    AccessFs::MakeReg,
    AccessFs::RemoveFile,
    AccessFs::Truncate,
];

/// What libpcap reads to open an interface, and what the tool reads of itself and of interfaces.
const SYSTEM_PATHS: &[&str] = &["/sys/class/net", "/sys/devices", "/proc/self"];

/// The rules are written against this state of the kernel's interface; newer rights, as that of reaching
/// a Unix socket by its path, would cut off the service manager.
const LANDLOCK: ABI = ABI::V6;

/// Capabilities that a capture through libpcap needs.
pub const PCAP_CAPABILITIES: CapabilitySet = CapabilitySet::NET_RAW;

/// Capabilities that a capture through eBPF needs.
pub const EBPF_CAPABILITIES: CapabilitySet =
    CapabilitySet::NET_ADMIN.union(CapabilitySet::BPF).union(CapabilitySet::PERFMON);

/// Sees to it that no memory of the process ends in a core file or another process' hands: buffers
/// hold bytes of streams.
///
/// Meant for the first lines of `main`, whatever the command.
pub fn harden() {
    // What fails leaves things as they were; the sandbox report tells what is in force.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Tells whether the process may open an interface through libpcap.
pub fn may_capture() -> bool {
    has(PCAP_CAPABILITIES)
}

/// Tells whether the process has these capabilities in force.
pub fn has(wanted: CapabilitySet) -> bool {
    effective().contains(wanted)
}

/// Returns the capabilities in force.
pub fn effective() -> CapabilitySet {
    capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective)
}

/// Returns the command that lets this program capture without root.
pub fn setcap_hint() -> String {
    let program = env::current_exe().unwrap_or_else(|_| PathBuf::from("portreeve"));
    format!("run as root, or once: sudo {}", setcap_line(&program))
}

/// Returns the `setcap` command for a program.
pub fn setcap_line(program: &Path) -> String {
    let names = "cap_net_raw,cap_net_admin,cap_bpf,cap_perfmon";
    format!("setcap {names}=ep {}", program.display())
}

/// A user that the process goes on as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The number of the user's own group.
    pub gid: u32,
}

impl User {
    /// Finds a user by name, or by number as `UID` or `UID:GID`.
    pub fn find(name: &str) -> Result<Self> {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self::find_in(name, &passwd).ok_or_else(|| {
            Error::about("--user", format!("no such user: {name}"))
                .hint("users of a directory service are named by number, as 1000:1000")
        })
    }

    fn find_in(name: &str, passwd: &str) -> Option<Self> {
        let entries = passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, uid, gid) = (fields.next()?, fields.nth(1)?, fields.next()?);
            Some((name, Self { uid: uid.parse().ok()?, gid: gid.parse().ok()? }))
        });
        let numbers = || {
            if let Some((uid, gid)) = name.split_once(':') {
                return Some(Self { uid: uid.parse().ok()?, gid: gid.parse().ok()? });
            }
            let uid = name.parse().ok()?;
            let mut same = entries.clone().map(|(_, user)| user).filter(|user| user.uid == uid);
            Some(same.next().unwrap_or(Self { uid, gid: uid }))
        };
        entries.clone().find(|(entry, _)| *entry == name).map(|(_, user)| user).or_else(numbers)
    }

    /// Returns the user who called `sudo`, if the process is root by way of it.
    pub fn of_sudo() -> Option<Self> {
        if !geteuid().is_root() {
            return None;
        }
        let number = |name| env::var(name).ok()?.parse().ok();
        let user = Self { uid: number("SUDO_UID")?, gid: number("SUDO_GID")? };
        (user.uid != 0).then_some(user)
    }
}

/// What the process keeps.
#[derive(Debug, Clone)]
pub struct Keep {
    /// The user to go on as; `None` stays who it is.
    pub user: Option<User>,
    /// Capabilities that are needed later: to take an interface up again.
    pub capabilities: CapabilitySet,
    /// Files and directories that are read again when the configuration is reloaded.
    pub read: Vec<PathBuf>,
    /// Directories that reports are written in.
    pub write: Vec<PathBuf>,
}

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SandboxReport {
    /// No program that is started can have more rights.
    pub no_new_privs: bool,
    /// The user that the process goes on as.
    pub uid: u32,
    /// Capabilities that are left.
    pub capabilities: Vec<String>,
    /// `full`, `partial` (the kernel knows fewer rights), or `none`.
    pub landlock: &'static str,
    /// No memory ends in a core file.
    pub core_dumps_off: bool,
}

impl SandboxReport {
    /// Tells what is in force when nothing is given up.
    pub fn without() -> Self {
        Self::now("none")
    }

    fn now(landlock: &'static str) -> Self {
        let left = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
        let dumpable = dumpable_behavior().ok() == Some(DumpableBehavior::NotDumpable);
        Self {
            no_new_privs: thread::no_new_privs().unwrap_or(false),
            uid: geteuid().as_raw(),
            capabilities: names(left),
            landlock,
            core_dumps_off: dumpable || getrlimit(Resource::Core).current == Some(0),
        }
    }
}

impl fmt::Display for SandboxReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let privileges = if self.no_new_privs { "no new privileges" } else { "not confined" };
        write!(f, "{privileges}, user {}, ", self.uid)?;
        match self.capabilities.as_slice() {
            [] => f.write_str("no capability")?,
            kept if kept.len() > 5 => write!(f, "{} capabilities", kept.len())?,
            kept => write!(f, "{}", kept.join(" "))?,
        }
        let cores = if self.core_dumps_off { "off" } else { "on" };
        write!(f, ", Landlock {}, core dumps {cores}", self.landlock)
    }
}

/// Gives up everything that is not kept, and tells what is in force.
///
/// # Errors
///
/// When a user was asked for and the process cannot become it, or when something cannot be given up that
/// the kernel lets every process give up.
pub fn confine(keep: &Keep) -> Result<SandboxReport> {
    let failed = |what: &'static str| {
        move |error: io::Errno| {
            Error::new(format!("cannot give up privileges: {what}: {error}"))
                .hint("--no-sandbox goes on without")
        }
    };
    let held = capabilities(None).map_err(failed("capget"))?.permitted;
    let kept = held & keep.capabilities;
    // Only who has the right can narrow what programs started later may gain; without it there is
    // nothing to gain from.
    if held.contains(CapabilitySet::SETPCAP) {
        for capability in all_capabilities() {
            if !kept.contains(capability) {
                let _ = remove_capability_from_bounding_set(capability);
            }
        }
    }
    if let Some(user) = keep.user.filter(|user| user.uid != geteuid().as_raw()) {
        let (uid, gid) = (rustix::fs::Uid::from_raw(user.uid), rustix::fs::Gid::from_raw(user.gid));
        set_keep_capabilities(true).map_err(failed("keepcaps"))?;
        set_thread_groups(&[]).map_err(failed("setgroups"))?;
        set_thread_res_gid(gid, gid, gid).map_err(failed("setresgid"))?;
        set_thread_res_uid(uid, uid, uid).map_err(failed("setresuid"))?;
        set_keep_capabilities(false).map_err(failed("keepcaps"))?;
    }
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(failed("capset"))?;
    let _ = clear_ambient_capability_set();
    set_no_new_privs(true).map_err(failed("no_new_privs"))?;
    // A change of user makes the process dumpable by the kernel's own rules.
    harden();
    let landlock = restrict(keep).map_err(|error| {
        Error::new(format!("cannot give up privileges: Landlock: {error}"))
            .hint("--no-sandbox goes on without")
    })?;
    Ok(SandboxReport::now(landlock))
}

/// Leaves only some directories reachable, and no TCP at all.
fn restrict(keep: &Keep) -> std::result::Result<&'static str, landlock::RulesetError> {
    let flags = |rights: &[AccessFs]| -> BitFlags<AccessFs> { rights.iter().copied().collect() };
    let system = SYSTEM_PATHS.iter().map(PathBuf::from);
    let read = keep.read.iter().cloned().chain(system);
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::Signal)?
        .create()?
        .add_rules(path_beneath_rules(read, flags(READ)))?
        .add_rules(path_beneath_rules(&keep.write, flags(WRITE)))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => "full",
        RulesetStatus::PartiallyEnforced => "partial",
        RulesetStatus::NotEnforced => "none",
    })
}

/// Number of `CAP_CHECKPOINT_RESTORE`, the last one in 2026 (include/uapi/linux/capability.h).
const LAST_CAPABILITY: u32 = 40;

/// Returns the kernel's capabilities one by one.
fn all_capabilities() -> impl Iterator<Item = CapabilitySet> {
    (0..=LAST_CAPABILITY).map(|bit| CapabilitySet::from_bits_retain(1 << bit))
}

/// Returns the names of capabilities, as `capability.h` has them.
pub fn names(set: CapabilitySet) -> Vec<String> {
    all_capabilities()
        .filter(|one| set.contains(*one))
        .map(|one| match one.iter_names().next() {
            Some((name, _)) => format!("cap_{}", name.to_ascii_lowercase()),
            None => format!("cap_{}", one.bits().trailing_zeros()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1001::/home/alice:/bin/sh\nodd\n";

    #[test]
    fn a_user_is_found_by_name_and_by_number() {
        let alice = Some(User { uid: 1000, gid: 1001 });
        assert_eq!(User::find_in("alice", PASSWD), alice);
        assert_eq!(User::find_in("1000", PASSWD), alice);
        assert_eq!(User::find_in("1000:5", PASSWD), Some(User { uid: 1000, gid: 5 }));
        assert_eq!(User::find_in("77", PASSWD), Some(User { uid: 77, gid: 77 }));
        assert_eq!(User::find_in("bob", PASSWD), None);
        assert_eq!(User::find_in("-1", PASSWD), None);
    }

    #[test]
    fn the_report_names_what_is_kept() {
        let report = SandboxReport {
            no_new_privs: true,
            uid: 1000,
            capabilities: names(CapabilitySet::NET_RAW),
            landlock: "full",
            core_dumps_off: true,
        };
        let text = "no new privileges, user 1000, cap_net_raw, Landlock full, core dumps off";
        assert_eq!(report.to_string(), text);
    }

    #[test]
    fn the_setcap_line_names_the_program() {
        let line = setcap_line(Path::new("/usr/bin/portreeve"));
        assert!(line.ends_with("=ep /usr/bin/portreeve"), "{line}");
        assert!(line.starts_with("setcap cap_net_raw,"), "{line}");
    }

    #[test]
    fn core_dumps_are_off_after_hardening() {
        harden();
        assert!(SandboxReport::without().core_dumps_off);
    }
}
