//! `portreeve doctor`: what this machine lets portreeve do, and what it lacks.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use rustix::system::uname;

#[cfg(any(feature = "live", all(feature = "ebpf", target_os = "linux")))]
use super::source::against_ebpf;
use super::{FAILED, print};
use crate::capture::privileges::{self, EBPF_CAPABILITIES, PCAP_CAPABILITIES};
use crate::error::{Printable, Result};

/// Where the kernel shows its interfaces.
const FOLDER: &str = "/sys/class/net";

/// Tells everything; fails when nothing could be captured.
pub(super) fn run() -> Result<ExitCode> {
    let mut text = String::new();
    let kernel = uname();
    let release = kernel.release().to_string_lossy();
    let _ = writeln!(text, "kernel        {} {release}", kernel.sysname().to_string_lossy());
    let _ = writeln!(text, "libpcap       {}", libpcap());
    let _ = writeln!(text, "eBPF          {}", ebpf());
    let _ = writeln!(text, "capabilities  {}", capabilities());
    let _ = writeln!(text, "interfaces");
    for line in interfaces() {
        let _ = writeln!(text, "  {line}");
    }
    let by_pcap = cfg!(feature = "live") && privileges::may_capture();
    let obstacle = against_ebpf(&[], false);
    let ready = by_pcap || obstacle.is_none();
    let used = match (obstacle, by_pcap) {
        (None, true) => "eBPF; libpcap with --filter and for `any`".to_owned(),
        (None, false) => "eBPF".to_owned(),
        (Some(obstacle), true) => format!("libpcap, not eBPF: {obstacle}"),
        (Some(_), false) if cfg!(feature = "live") => {
            "nothing: no permission to capture".to_owned()
        }
        (Some(obstacle), false) => {
            format!("nothing: no libpcap in this build, not eBPF: {obstacle}")
        }
    };
    let _ = writeln!(text, "would use     {used}");
    if !privileges::may_capture() {
        let _ = writeln!(text, "to capture    {}", privileges::setcap_hint());
    }
    let printed = print(text.as_bytes())?;
    Ok(if ready { printed } else { ExitCode::from(FAILED) })
}

#[cfg(feature = "live")]
fn libpcap() -> String {
    crate::capture::live::libpcap_version()
}

#[cfg(not(feature = "live"))]
fn libpcap() -> String {
    "not in this build".to_owned()
}

#[cfg(all(feature = "ebpf", target_os = "linux"))]
fn ebpf() -> String {
    let support = crate::capture::ebpf::probe();
    let attach = if support.tcx { "attached through TCX" } else { "attached through clsact" };
    let btf = if support.btf { "BTF" } else { "no BTF, which is not needed" };
    match support.obstacle() {
        Some(obstacle) => format!("not usable: {obstacle}; would be {attach}; {btf}"),
        None => format!("usable, {attach}; ring buffer; {btf}"),
    }
}

#[cfg(not(all(feature = "ebpf", target_os = "linux")))]
fn ebpf() -> String {
    "not in this build".to_owned()
}

/// Returns why there is no eBPF backend.
#[cfg(not(any(feature = "live", all(feature = "ebpf", target_os = "linux"))))]
#[expect(clippy::unnecessary_wraps, reason = "as where there is one")]
fn against_ebpf(_interfaces: &[String], _has_filter: bool) -> Option<String> {
    Some("not in this build".to_owned())
}

fn capabilities() -> String {
    let held = privileges::effective();
    let wanted = PCAP_CAPABILITIES | EBPF_CAPABILITIES;
    match privileges::names(held & wanted).as_slice() {
        [] => "none that a capture needs".to_owned(),
        names => names.join(" "),
    }
}

/// Returns one line an interface: name, state, MTU, link type.
fn interfaces() -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(FOLDER)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name())
        .collect();
    names.sort();
    // The kernel takes any byte but blanks, `/` and `:` into a name.
    let shown = |name: &OsString| Printable(&name.to_string_lossy()).to_string();
    let width = names.iter().map(|name| shown(name).len()).max().unwrap_or(0);
    let read = |name: &OsString, what: &str| {
        let text = fs::read_to_string(Path::new(FOLDER).join(name).join(what));
        text.map_or_else(|_| "?".to_owned(), |text| text.trim().to_owned())
    };
    let lines = names.iter().map(|name| {
        let (state, mtu) = (read(name, "operstate"), read(name, "mtu"));
        let link = link(&name.to_string_lossy(), &read(name, "type"));
        format!("{:width$}  {state:8}  MTU {mtu:<6}  {link}", shown(name))
    });
    lines.collect()
}

/// Returns the link type that a capture would have; without permission, what the device itself says
/// (`ARPHRD_…`, `include/uapi/linux/if_arp.h`).
fn link(name: &str, hardware: &str) -> String {
    #[cfg(feature = "live")]
    if let Some(link) = crate::capture::live::link_name(name) {
        return link;
    }
    let _ = name;
    match hardware {
        "1" | "772" => "Ethernet".to_owned(),
        "65534" => "raw IP".to_owned(),
        "768" | "769" | "776" | "778" => "tunnel".to_owned(),
        other => format!("hardware type {other}"),
    }
}
