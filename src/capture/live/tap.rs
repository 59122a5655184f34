//! One open interface: what the reader needs of it, and libpcap's form of it.

#![expect(unsafe_code, reason = "two questions that the pcap crate does not ask of libpcap")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use pcap::{Active, Capture, Linktype, Precision};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketType, netdevice, socket};

use super::filter::bad_expression;
use super::{ANY, Options};
use crate::capture::privileges;
use crate::error::{Error, Result, nearest};
use crate::packet::{LinkType, Timestamp};

/// How long the kernel may keep a frame in a buffer that is not full: low enough for findings to go
/// out within 100 ms, high enough for a wake-up to bring many frames.
pub(super) const RETIRE_MS: i32 = 10;

/// Raw IP as libpcap numbers it in memory on Linux; another number than the one in files.
const DLT_RAW: i32 = 12;

unsafe extern "C" {
    /// `pcap_get_tstamp_precision(3PCAP)`.
    fn pcap_get_tstamp_precision(handle: *mut c_void) -> c_int;
    /// `pcap_lib_version(3PCAP)`.
    fn pcap_lib_version() -> *const c_char;
}

/// One open interface.
pub(super) trait Tap: Send {
    /// Waits until there may be frames, or the time is up.
    fn wait(&mut self, timeout: Duration);

    /// Hands out frames that are there, at most so many, and returns how many they were.
    fn read(&mut self, limit: usize, take: &mut Take<'_>) -> std::result::Result<usize, String>;

    /// Returns how many frames the kernel had no room for since the interface was opened; wraps.
    fn dropped(&mut self) -> Option<u32>;

    /// Returns how the frames' first bytes are to be read.
    fn link(&self) -> LinkType;
}

/// Takes a frame: its time, its length on the wire, its captured bytes.
pub(super) type Take<'a> = dyn FnMut(Timestamp, u32, &[u8]) + 'a;

/// What an interface is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkState {
    /// Frames may pass.
    Up,
    /// There, but down or without a carrier.
    Down,
    /// Not there; or another one of the same name is.
    Gone,
}

/// Opens one interface, again when it comes back.
pub(super) trait Opener: Send {
    /// Opens the interface.
    fn open(&mut self) -> Result<Box<dyn Tap>>;

    /// Tells what the interface that was opened last is doing.
    fn state(&mut self) -> LinkState;

    /// Returns the bytes of the interface's longest frame; a longer one is several that offload joined.
    fn wire_max(&self) -> u32 {
        u32::MAX
    }
}

/// Opens what the kernel is asked by for names and indices of interfaces.
pub(super) fn asking_socket(name: &str) -> Result<OwnedFd> {
    socket(AddressFamily::UNIX, SocketType::DGRAM, None)
        .map_err(|error| Error::about(name, format!("cannot ask the kernel: {error}")))
}

/// Opens an interface through libpcap.
pub(super) struct Device {
    name: String,
    options: Options,
    asking: OwnedFd,
    index: u32,
}

impl Device {
    pub(super) fn new(name: &str, options: &Options) -> Result<Self> {
        let asking = asking_socket(name)?;
        Ok(Self { name: name.to_owned(), options: options.clone(), asking, index: 0 })
    }

    fn current_index(&self) -> Option<u32> {
        netdevice::name_to_index(&self.asking, &self.name).ok()
    }

    fn activate(&self, promiscuous: bool) -> std::result::Result<Capture<Active>, pcap::Error> {
        let snaplen = i32::try_from(self.options.snaplen).unwrap_or(i32::MAX);
        let buffer_len = i32::try_from(self.options.buffer_len).unwrap_or(i32::MAX);
        Capture::from_device(self.name.as_str())?
            .promisc(promiscuous)
            .snaplen(snaplen)
            .buffer_size(buffer_len)
            .timeout(RETIRE_MS)
            .immediate_mode(false)
            .precision(Precision::Nano)
            .open()
    }
}

impl Opener for Device {
    fn open(&mut self) -> Result<Box<dyn Tap>> {
        let name = self.name.as_str();
        if name != ANY {
            self.index = self.current_index().ok_or_else(|| no_such_interface(name))?;
        }
        // An interface that cannot be promiscuous, as `any` and some tunnels, is captured as it is.
        let promiscuous = self.options.promiscuous && name != ANY;
        let opened = match self.activate(promiscuous) {
            Err(_) if promiscuous => self.activate(false),
            opened => opened,
        };
        let mut capture = opened.map_err(|error| cannot_open(name, &error))?;
        if name == ANY {
            // The second version names the interface of each frame; the first one does where it is older.
            let _ = capture.set_datalink(Linktype(i32::from(LinkType::LINUX_SLL2.0)));
        }
        if let Some(expression) = &self.options.filter {
            capture.filter(expression, true).map_err(|error| bad_expression(expression, &error))?;
        }
        let link = link_type(capture.get_datalink());
        // SAFETY: the handle is open, and only asked for a number that was fixed when it was opened.
        let precision = unsafe { pcap_get_tstamp_precision(capture.as_ptr().cast()) };
        let per_tick_ns = if precision == Precision::Nano as c_int { 1 } else { 1_000 };
        let capture = capture.setnonblock().map_err(|error| cannot_open(name, &error))?;
        Ok(Box::new(PcapTap { capture, link, per_tick_ns }))
    }

    fn state(&mut self) -> LinkState {
        if self.name == ANY {
            return LinkState::Up;
        }
        if self.current_index() != Some(self.index) {
            return LinkState::Gone;
        }
        match fs::read_to_string(format!("/sys/class/net/{}/operstate", self.name)) {
            Ok(state) if matches!(state.trim(), "down" | "lowerlayerdown") => LinkState::Down,
            _ => LinkState::Up,
        }
    }

    fn wire_max(&self) -> u32 {
        // Of `any` each frame names its own interface.
        if self.name == ANY { u32::MAX } else { wire_max(&self.name) }
    }
}

/// Returns the bytes of an interface's longest frame: its MTU, with an Ethernet header and two VLAN tags.
pub(super) fn wire_max(name: &str) -> u32 {
    const HEADERS_MAX: u32 = 14 + 2 * 4;
    let mtu = fs::read_to_string(format!("/sys/class/net/{name}/mtu")).ok();
    let mtu = mtu.and_then(|mtu| mtu.trim().parse::<u32>().ok());
    mtu.map_or(u32::MAX, |mtu| mtu.saturating_add(HEADERS_MAX))
}

/// An interface as libpcap reads it.
struct PcapTap {
    capture: Capture<Active>,
    link: LinkType,
    per_tick_ns: i64,
}

impl Tap for PcapTap {
    fn wait(&mut self, timeout: Duration) {
        // libpcap's own wait has no end on an idle link (pcap-linux.c, `set_poll_timeout`).
        let timeout = Timespec::try_from(timeout).unwrap_or_default();
        let fd = self.capture.as_fd();
        // Whatever went wrong shows at the next read.
        let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout));
    }

    fn read(&mut self, limit: usize, take: &mut Take<'_>) -> std::result::Result<usize, String> {
        let per_tick_ns = self.per_tick_ns;
        let read = self.capture.dispatch(Some(limit), |packet| {
            let ts = packet.header.ts;
            let time = Timestamp::from_parts(ts.tv_sec, ts.tv_usec * per_tick_ns);
            take(time, packet.header.len, packet.data);
        });
        read.map_err(|error| text_of(&error))
    }

    fn dropped(&mut self) -> Option<u32> {
        self.capture.stats().ok().map(|stat| stat.dropped)
    }

    fn link(&self) -> LinkType {
        self.link
    }
}

/// Returns libpcap's own words on its version.
pub fn libpcap_version() -> String {
    // SAFETY: returns a pointer to a string that lives as long as the library.
    unsafe { CStr::from_ptr(pcap_lib_version()) }.to_string_lossy().into_owned()
}

/// Returns what libpcap calls an interface's link type; `None` where it may not be opened.
pub fn link_name(interface: &str) -> Option<String> {
    let capture =
        Capture::from_device(interface).ok()?.snaplen(64).buffer_size(1 << 20).open().ok()?;
    let link = capture.get_datalink();
    link.get_description().or_else(|_| link.get_name()).ok()
}

/// Returns the registry's number for libpcap's.
pub(super) fn link_type(link: Linktype) -> LinkType {
    match link.0 {
        DLT_RAW => LinkType::RAW,
        other => LinkType(u16::try_from(other).unwrap_or(u16::MAX)),
    }
}

/// Returns the names of all interfaces.
pub(super) fn interface_names() -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| fs::metadata(format!("/sys/class/net/{name}")).is_ok_and(|m| m.is_dir()))
        .collect();
    names.sort();
    names
}

fn no_such_interface(name: &str) -> Error {
    let names = interface_names();
    let hint = match nearest(name, names.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("there are: {}", names.join(", ")),
    };
    Error::about(name, "no such interface").hint(hint)
}

fn cannot_open(name: &str, error: &pcap::Error) -> Error {
    if !privileges::may_capture() {
        return Error::about(name, "no permission to capture").hint(privileges::setcap_hint());
    }
    let state = fs::read_to_string(format!("/sys/class/net/{name}/operstate"));
    let error = Error::about(name, format!("cannot open: {}", text_of(error)));
    match state {
        Ok(state) if state.trim() == "down" => {
            error.hint(format!("the interface is down: ip link set {name} up"))
        }
        _ => error,
    }
}

fn text_of(error: &pcap::Error) -> String {
    match error {
        pcap::Error::PcapError(text) => text.clone(),
        other => other.to_string(),
    }
}
