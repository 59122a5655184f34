//! What a service manager wants to hear (`sd_notify(3)`), where there is one.

use std::env;
use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// The way to the service manager.
pub(super) struct Service {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// Half the time after which silence counts as death.
    alive_every: Option<Duration>,
    told: Instant,
}

impl Service {
    /// Finds the service manager that started this process, if one did.
    pub(super) fn of_environment() -> Self {
        let to = env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let address = address(&name)?;
            UnixDatagram::unbound().ok().map(|socket| (socket, address))
        });
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        let for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let alive_every = number("WATCHDOG_USEC").filter(|_| for_us).map(Duration::from_micros);
        Self { to, alive_every: alive_every.map(|every| every / 2), told: Instant::now() }
    }

    /// Says something; nobody may be listening.
    pub(super) fn say(&self, what: &str) {
        if let Some((socket, address)) = &self.to {
            let _ = socket.send_to_addr(what.as_bytes(), address);
        }
    }

    /// Says that the process is alive, when it is time to.
    pub(super) fn alive(&mut self) {
        if self.alive_every.is_some_and(|every| self.told.elapsed() >= every) {
            self.told = Instant::now();
            self.say("WATCHDOG=1");
        }
    }
}

/// Returns the address of a path, or of an abstract name behind `@`.
fn address(name: &OsString) -> Option<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
        _ => SocketAddr::from_pathname(name).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_an_abstract_name_are_both_found() {
        assert!(address(&"/run/systemd/notify".into()).unwrap().as_pathname().is_some());
        let abstract_name = address(&"@portreeve".into()).unwrap();
        assert_eq!(abstract_name.as_abstract_name(), Some(&b"portreeve"[..]));
    }

    #[test]
    fn what_is_said_arrives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let to =
            Some((UnixDatagram::unbound().unwrap(), SocketAddr::from_pathname(&path).unwrap()));
        let service = Service { to, alive_every: None, told: Instant::now() };
        service.say("READY=1");
        let mut buffer = [0; 64];
        let len = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"READY=1");
    }
}
