//! Which backend watches the interfaces of `live`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::live::{Args, Backend};
use crate::capture::Source;
use crate::capture::privileges::CapabilitySet;
use crate::error::{Error, Result};
use crate::pipeline::FrameFilter;

/// Blocks that may wait for the workers, an interface.
pub(super) const QUEUE_LEN: usize = 128;

/// An open capture.
pub(super) struct Capture {
    pub(super) source: Box<dyn Source>,
    /// As reports name it.
    pub(super) backend: &'static str,
    /// As people are told.
    pub(super) shown: String,
    /// Capabilities that it needs to take an interface up again.
    pub(super) needs: CapabilitySet,
    /// Bytes that it takes beside its buffers; the flows have less.
    pub(super) memory: u64,
    /// What it leaves to the pipeline to filter.
    pub(super) filter: Option<FrameFilter>,
}

/// Opens the interfaces.
pub(super) fn open(args: &Args, stop: &Arc<AtomicBool>) -> Result<Capture> {
    match args.backend {
        Backend::Ebpf => ebpf(args, stop),
        Backend::Pcap => pcap(args, stop),
        Backend::Auto => {
            let why_not = match against_ebpf(&args.interfaces, args.run.filter.is_some()) {
                Some(obstacle) => obstacle,
                None => match ebpf(args, stop) {
                    Ok(capture) => return Ok(capture),
                    Err(error) => error.to_string(),
                },
            };
            let mut capture = pcap(args, stop)?;
            capture.shown = format!("{}, not eBPF: {why_not}", capture.shown);
            Ok(capture)
        }
    }
}

/// Returns why the eBPF backend cannot watch some interfaces here, if it cannot.
#[cfg(all(feature = "ebpf", target_os = "linux"))]
pub(super) fn against_ebpf(interfaces: &[String], has_filter: bool) -> Option<String> {
    use crate::capture::ebpf::{ANY, probe};
    if has_filter {
        return Some("it counts before any filter".to_owned());
    }
    if interfaces.iter().any(|name| name == ANY) {
        return Some("it watches interfaces by name".to_owned());
    }
    probe().obstacle()
}

/// Returns why there is no eBPF backend.
#[cfg(not(all(feature = "ebpf", target_os = "linux")))]
pub(super) fn against_ebpf(_interfaces: &[String], _has_filter: bool) -> Option<String> {
    Some("not in this build".to_owned())
}

#[cfg(feature = "live")]
fn pcap(args: &Args, stop: &Arc<AtomicBool>) -> Result<Capture> {
    use crate::capture::live::{BUFFER_LEN, Live, Options, libpcap_version};
    use crate::capture::privileges::PCAP_CAPABILITIES;
    let options = Options {
        interfaces: args.interfaces.clone(),
        snaplen: args.snaplen,
        promiscuous: !args.no_promisc,
        buffer_len: args.buffer.map_or(BUFFER_LEN, |len| u32::try_from(len).unwrap_or(u32::MAX)),
        queue_len: args.queue.max(1),
        filter: args.run.filter.clone(),
        stop: Arc::clone(stop),
    };
    Ok(Capture {
        source: Box::new(Live::open(&options)?),
        backend: "libpcap",
        shown: libpcap_version(),
        needs: PCAP_CAPABILITIES,
        memory: 0,
        filter: None,
    })
}

#[cfg(not(feature = "live"))]
fn pcap(_args: &Args, _stop: &Arc<AtomicBool>) -> Result<Capture> {
    Err(Error::about("--backend", "this build does not capture through libpcap")
        .hint("build it with the feature `live`, which needs libpcap"))
}

#[cfg(all(feature = "ebpf", target_os = "linux"))]
fn ebpf(args: &Args, stop: &Arc<AtomicBool>) -> Result<Capture> {
    use crate::capture::ebpf::{Ebpf, OWN_MEMORY, Options, probe};
    use crate::capture::privileges::{EBPF_CAPABILITIES, PCAP_CAPABILITIES};
    if args.run.filter.is_some() {
        return Err(Error::about("--filter", "the eBPF backend counts before any filter")
            .hint("--backend pcap takes filters"));
    }
    let mut options = Options {
        snaplen: (args.snaplen < super::live::SNAPLEN).then_some(args.snaplen),
        promiscuous: !args.no_promisc,
        ignore_vlan: args.run.ignore_vlan,
        stop: Arc::clone(stop),
        ..Options::default()
    };
    options.tunnel_ports.extend(&args.run.vxlan_ports);
    if let Some(buffer) = args.buffer {
        options.ring_len = u32::try_from(buffer).unwrap_or(u32::MAX);
    }
    let names: Vec<&str> = args.interfaces.iter().map(String::as_str).collect();
    Ok(Capture {
        source: Box::new(Ebpf::open(&names, &options)?),
        backend: "ebpf",
        shown: format!(
            "eBPF (kernel {}, {})",
            probe().kernel,
            if probe().tcx { "TCX" } else { "clsact" }
        ),
        needs: EBPF_CAPABILITIES | PCAP_CAPABILITIES,
        memory: OWN_MEMORY,
        filter: None,
    })
}

#[cfg(not(all(feature = "ebpf", target_os = "linux")))]
fn ebpf(_args: &Args, _stop: &Arc<AtomicBool>) -> Result<Capture> {
    Err(Error::about("--backend", "this build has no eBPF")
        .hint("--backend pcap captures without it"))
}
