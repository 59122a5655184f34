//! The system calls that neither `std` nor aya make for us, each behind a safe function.
#![expect(unsafe_code, reason = "system calls; each block says why it is sound")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::layout::{FLOW_LEN, KEY_LEN, KernelFlow, KernelKey};

/// `BPF_PROG_TEST_RUN`, `BPF_MAP_LOOKUP_BATCH` of `enum bpf_cmd`.
const PROG_TEST_RUN: libc::c_long = 10;
const MAP_LOOKUP_BATCH: libc::c_long = 24;

/// Entries read by one call: more than any bucket of a hash map holds, and some 800 KiB.
const BATCH_LEN: usize = 4096;

/// The part of `union bpf_attr` for batches.
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// The part of `union bpf_attr` for a program's run.
#[repr(C)]
#[derive(Default)]
struct RunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    zero: u32,
}

/// Calls `bpf(2)` with an attribute that the kernel may write to.
fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<()> {
    // SAFETY: the attribute is as long as stated and lives through the call; the pointers in it are
    // the caller's, to buffers that live as long as the attribute.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn number(fd: RawFd) -> u32 {
    u32::try_from(fd).unwrap_or(u32::MAX)
}

/// Buffers for reading a map of flows, kept from one reading to the next.
pub(super) struct Batches {
    keys: Vec<u8>,
    values: Vec<u8>,
}

impl Batches {
    pub(super) fn new() -> Self {
        Self { keys: vec![0; BATCH_LEN * KEY_LEN], values: vec![0; BATCH_LEN * FLOW_LEN] }
    }

    /// Reads all entries of the map of flows. What comes and goes meanwhile may be missed.
    pub(super) fn read(
        &mut self,
        map: BorrowedFd<'_>,
        mut take: impl FnMut(KernelKey, KernelFlow),
    ) -> io::Result<()> {
        // The kernel's mark of where to go on; its size is that of a bucket's number.
        let (mut mark, mut next_mark) = (0u64, 0u64);
        let mut is_first = true;
        loop {
            let mut attr = BatchAttr {
                in_batch: if is_first { 0 } else { ptr::from_mut(&mut mark) as u64 },
                out_batch: ptr::from_mut(&mut next_mark) as u64,
                keys: self.keys.as_mut_ptr() as u64,
                values: self.values.as_mut_ptr() as u64,
                count: u32::try_from(BATCH_LEN).unwrap_or(u32::MAX),
                map_fd: number(map.as_raw_fd()),
                ..BatchAttr::default()
            };
            let result = bpf(MAP_LOOKUP_BATCH, &mut attr);
            let is_last = match result {
                Ok(()) => false,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => continue,
                Err(error) => return Err(error),
            };
            let keys = self.keys.as_chunks::<KEY_LEN>().0;
            let values = self.values.as_chunks::<FLOW_LEN>().0;
            for (key, value) in keys.iter().zip(values).take(attr.count as usize) {
                take(*key, KernelFlow::read(value));
            }
            if is_last {
                return Ok(());
            }
            (mark, is_first) = (next_mark, false);
        }
    }
}

/// Runs a program once on a made-up packet of at most some kilobytes and returns its answer.
pub(super) fn run(program: BorrowedFd<'_>, packet: &[u8]) -> io::Result<u32> {
    let mut attr = RunAttr {
        prog_fd: number(program.as_raw_fd()),
        data_size_in: u32::try_from(packet.len()).unwrap_or(0),
        data_in: packet.as_ptr() as u64,
        repeat: 1,
        ..RunAttr::default()
    };
    bpf(PROG_TEST_RUN, &mut attr)?;
    Ok(attr.retval)
}

/// An interface as the kernel knows it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) index: u32,
    /// `ARPHRD_…`: what its frames begin with.
    pub(super) hardware: u16,
    pub(super) is_loopback: bool,
}

/// Finds an interface by its name.
pub(super) fn interface(name: &str) -> io::Result<Interface> {
    let c_name = CString::new(name).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    if c_name.as_bytes_with_nul().len() > libc::IFNAMSIZ {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    // SAFETY: the name is a string with its final NUL.
    let index = unsafe { libc::if_nametoindex(c_name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM)?;
    // SAFETY: all-zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c_name.as_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let mut ask = |what| {
        // SAFETY: both requests read the name and write into the same `ifreq`, which lives here.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), what, ptr::from_mut(&mut request)) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(request) }
    };
    let answer = ask(libc::SIOCGIFHWADDR)?;
    // SAFETY: this request wrote the hardware address.
    let hardware = unsafe { answer.ifr_ifru.ifru_hwaddr }.sa_family;
    let answer = ask(libc::SIOCGIFFLAGS)?;
    // SAFETY: this request wrote the flags.
    let flags = i32::from(unsafe { answer.ifr_ifru.ifru_flags });
    Ok(Interface { index, hardware, is_loopback: flags & libc::IFF_LOOPBACK != 0 })
}

/// Tells whether an interface of this index exists.
pub(super) fn exists(index: u32) -> bool {
    let mut name = [0; libc::IFNAMSIZ];
    // SAFETY: the buffer has the size that the call asks for.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    !found.is_null() || io::Error::last_os_error().raw_os_error() != Some(libc::ENXIO)
}

/// Tells whether an interface is down or has no carrier.
pub(super) fn is_down(name: &str) -> bool {
    let state = std::fs::read_to_string(format!("/sys/class/net/{name}/operstate"));
    state.is_ok_and(|state| matches!(state.trim(), "down" | "lowerlayerdown"))
}

fn socket(domain: i32, kind: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor that comes back is nobody else's.
    unsafe {
        let fd = libc::socket(domain, kind | libc::SOCK_CLOEXEC, 0);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Puts an interface into promiscuous mode for as long as the socket that comes back lives: the kernel
/// takes it back with the process, however that ends.
pub(super) fn promiscuous(index: u32) -> io::Result<OwnedFd> {
    // Protocol 0: the socket itself receives nothing.
    let socket = socket(libc::AF_PACKET, libc::SOCK_RAW)?;
    // SAFETY: all-zero is a valid `packet_mreq`.
    let mut membership: libc::packet_mreq = unsafe { std::mem::zeroed() };
    membership.mr_ifindex = i32::try_from(index).unwrap_or(0);
    membership.mr_type = u16::try_from(libc::PACKET_MR_PROMISC).unwrap_or(0);
    // SAFETY: the option's value is as long as stated and lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            ptr::from_ref(&membership).cast(),
            libc::socklen_t::try_from(size_of_val(&membership)).unwrap_or(0),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(socket) }
}

/// Takes a name that only one process can hold; freed with the process, however that ends.
/// Nothing when another one holds it.
pub(super) fn exclusive(name: &str) -> io::Result<Option<OwnedFd>> {
    let socket = socket(libc::AF_UNIX, libc::SOCK_DGRAM)?;
    // SAFETY: all-zero is a valid `sockaddr_un`.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::sa_family_t::try_from(libc::AF_UNIX).unwrap_or(0);
    // A name that begins with NUL lives in no file system (unix(7), abstract).
    for (to, from) in address.sun_path[1..].iter_mut().zip(name.as_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let len = size_of::<libc::sa_family_t>() + 1 + name.len();
    // SAFETY: the address is at least as long as stated and lives through the call.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            ptr::from_ref(&address).cast(),
            libc::socklen_t::try_from(len).unwrap_or(0),
        )
    };
    if result == 0 {
        return Ok(Some(socket));
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::EADDRINUSE) { Ok(None) } else { Err(error) }
}

/// Wakes its owner when the ring has much unread, not when it has anything at all.
pub(super) struct Waker(OwnedFd);

impl Waker {
    /// Waits on the ring's own wake-ups. Edge-triggered: a few records that came without one do not end
    /// the sleep, so that they gather.
    pub(super) fn new(ring: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: no pointers; the descriptor that comes back is nobody else's.
        let epoll = unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        let events = u32::try_from(libc::EPOLLIN).unwrap_or(0) | 1 << 31;
        let mut event = libc::epoll_event { events, u64: 0 };
        // SAFETY: both descriptors are open, and the event lives through the call.
        let result = unsafe {
            libc::epoll_ctl(
                epoll.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                ring.as_raw_fd(),
                ptr::from_mut(&mut event),
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(Self(epoll)) }
    }

    /// Sleeps until woken, or for so long.
    pub(super) fn wait(&self, timeout_ms: i32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: there is room for the one event asked for.
        let result = unsafe {
            libc::epoll_wait(self.0.as_raw_fd(), ptr::from_mut(&mut event), 1, timeout_ms)
        };
        let error = io::Error::last_os_error();
        if result < 0 && error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
        Ok(())
    }
}

/// Reads a clock in nanoseconds.
fn clock(id: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes into `time`, which lives here.
    unsafe { libc::clock_gettime(id, ptr::from_mut(&mut time)) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Returns the program's clock now.
pub(super) fn monotonic_ns() -> u64 {
    u64::try_from(clock(libc::CLOCK_MONOTONIC)).unwrap_or(0)
}

/// Returns what the wall clock is ahead of the program's clock, as exactly as a few readings allow.
pub(super) fn wall_offset_ns() -> i64 {
    let measure = || {
        let before = clock(libc::CLOCK_MONOTONIC);
        let wall = clock(libc::CLOCK_REALTIME);
        let after = clock(libc::CLOCK_MONOTONIC);
        (after - before, wall - (before + (after - before) / 2))
    };
    (0..5).map(|_| measure()).min().map_or(0, |(_, offset)| offset)
}
