//! Which backend watches the interfaces of `live`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::live::{Args, Backend};
use crate::capture::Source;
use crate::capture::privileges::CapabilitySet;
use crate::error::{Error, Result};
use crate::pipeline::FrameFilter;

/// Blocks that may wait for the workers, an interface.
pub(super) const QUEUE_LEN: usize = 64;

/// An open capture.
pub(super) struct Capture {
    pub(super) source: Box<dyn Source>,
    /// As reports name it.
    pub(super) backend: &'static str,
    /// As people are told.
    pub(super) shown: String,
    /// Capabilities that it needs to take an interface up again.
    pub(super) needs: CapabilitySet,
    /// What it leaves to the pipeline to filter.
    pub(super) filter: Option<FrameFilter>,
}

/// Opens the interfaces.
pub(super) fn open(args: &Args, stop: &Arc<AtomicBool>) -> Result<Capture> {
    // libpcap sees what the user's own tools see, on every kind of interface.
    let by_pcap = match args.backend {
        Backend::Auto => cfg!(feature = "live"),
        Backend::Ebpf => false,
        Backend::Pcap => true,
    };
    if by_pcap { pcap(args, stop) } else { ebpf(args, stop) }
}

#[cfg(feature = "live")]
fn pcap(args: &Args, stop: &Arc<AtomicBool>) -> Result<Capture> {
    use crate::capture::live::{Live, Options, libpcap_version};
    use crate::capture::privileges::PCAP_CAPABILITIES;
    let options = Options {
        interfaces: args.interfaces.clone(),
        snaplen: args.snaplen,
        promiscuous: !args.no_promisc,
        buffer_len: u32::try_from(args.buffer).unwrap_or(u32::MAX),
        queue_len: args.queue.max(1),
        filter: args.run.filter.clone(),
        stop: Arc::clone(stop),
    };
    Ok(Capture {
        source: Box::new(Live::open(&options)?),
        backend: "libpcap",
        shown: libpcap_version(),
        needs: PCAP_CAPABILITIES,
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
    use crate::capture::ebpf::{Ebpf, Options};
    use crate::capture::privileges::{EBPF_CAPABILITIES, PCAP_CAPABILITIES};
    if args.run.filter.is_some() {
        return Err(Error::about("--filter", "the eBPF backend counts before any filter")
            .hint("--backend pcap takes filters"));
    }
    let options = Options {
        snaplen: (args.snaplen < super::live::SNAPLEN).then_some(args.snaplen),
        promiscuous: !args.no_promisc,
        ignore_vlan: args.run.ignore_vlan,
        stop: Arc::clone(stop),
        ..Options::default()
    };
    let names: Vec<&str> = args.interfaces.iter().map(String::as_str).collect();
    Ok(Capture {
        source: Box::new(Ebpf::open(&names, &options)?),
        backend: "ebpf",
        shown: "eBPF".to_owned(),
        needs: EBPF_CAPABILITIES | PCAP_CAPABILITIES,
        filter: None,
    })
}

#[cfg(not(all(feature = "ebpf", target_os = "linux")))]
fn ebpf(_args: &Args, _stop: &Arc<AtomicBool>) -> Result<Capture> {
    Err(Error::about("--backend", "this build has no eBPF")
        .hint("--backend pcap captures without it"))
}
