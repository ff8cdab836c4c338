//! systemd's notification protocol, see sd_notify(3): what the supervisor supervises, and that it is itself alive.
//! Never waits: what does not get through now is tried again with the next word.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::log;

/// A connection to the service manager.
#[derive(Debug)]
pub struct ServiceManager {
    address: SocketAddr,
    /// None when there was no descriptor: to be tried again.
    socket: Option<UnixDatagram>,
    /// What it does not know yet.
    pending_log: Option<String>,
    watchdog: Option<Watchdog>,
}

/// The service manager wants a sign of life, by `due` ns the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Watchdog {
    period: u64,
    due: u64,
}

impl ServiceManager {
    /// For the process `own_pid`; None where no service manager asks for notifications. `variable` is the
    /// environment.
    pub fn open(variable: impl Fn(&str) -> Option<Vec<u8>>, own_pid: i32) -> Option<ServiceManager> {
        let address = address(&variable("NOTIFY_SOCKET")?)?;
        let number = |name| String::from_utf8(variable(name)?).ok()?.parse::<u64>().ok();
        let is_ours =
            variable("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == u64::try_from(own_pid).ok();
        let limit = number("WATCHDOG_USEC").filter(|&limit| is_ours && limit > 1);
        // Twice as often as it has to be.
        let watchdog = limit.map(|limit| Watchdog { period: limit.saturating_mul(1000) / 2, due: 0 });
        Some(ServiceManager { address, socket: log::datagram_socket(), pending_log: None, watchdog })
    }

    /// The service manager shall know how it stands.
    pub fn set_status(&mut self, status: String) {
        self.pending_log = Some(status);
    }

    /// When to call send_due(), in ns.
    pub fn due(&self) -> Option<u64> {
        self.watchdog.map(|watchdog| watchdog.due)
    }

    /// Sends what is to be sent at `now` ns.
    pub fn send_due(&mut self, now: u64) {
        if let Some(status) = self.pending_log.take() {
            if !self.send(&format!("STATUS={status}\n")) {
                self.pending_log = Some(status);
            }
        }
        if let Some(watchdog) = self.watchdog.filter(|watchdog| now >= watchdog.due) {
            self.send("WATCHDOG=1\n");
            self.watchdog = Some(Watchdog { due: now.saturating_add(watchdog.period), ..watchdog });
        }
    }

    fn send(&mut self, message: &str) -> bool {
        if self.socket.is_none() {
            self.socket = log::datagram_socket();
        }
        let sent = self.socket.as_ref().map(|socket| socket.send_to_addr(message.as_bytes(), &self.address));
        matches!(sent, Some(Ok(_)))
    }
}

/// A path, or `@` and the name of an abstract socket.
fn address(text: &[u8]) -> Option<SocketAddr> {
    match text {
        [b'/', _, ..] => SocketAddr::from_pathname(OsStr::from_bytes(text)).ok(),
        [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(variables: &[(&str, &str)]) -> Option<ServiceManager> {
        let found = |name: &str| variables.iter().find(|(variable, _)| *variable == name);
        ServiceManager::open(|name| found(name).map(|(_, value)| value.as_bytes().to_vec()), 4711)
    }

    #[test]
    fn sockets_are_paths_or_abstract() {
        assert!(open(&[("NOTIFY_SOCKET", "/run/systemd/notify")]).is_some());
        assert!(open(&[("NOTIFY_SOCKET", "@/org/systemd/notify")]).is_some());
        for address in ["", "@", "/", "run/notify", "vsock:2:1234", &format!("/{}", "x".repeat(200))] {
            assert!(open(&[("NOTIFY_SOCKET", address)]).is_none(), "{address:?}");
        }
        assert!(open(&[("WATCHDOG_USEC", "1000000")]).is_none());
    }

    #[test]
    fn the_watchdog_is_for_the_process_that_it_names_and_fed_at_half_its_time() {
        let period = |variables: &[(&str, &str)]| {
            let socket = [("NOTIFY_SOCKET", "@test")];
            open(&[&socket, variables].concat()).unwrap().watchdog.map(|watchdog| watchdog.period)
        };
        assert_eq!(period(&[]), None);
        assert_eq!(period(&[("WATCHDOG_USEC", "30000000")]), Some(15_000_000_000));
        assert_eq!(period(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "4711")]), Some(15_000_000_000));
        assert_eq!(period(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "4712")]), None);
        assert_eq!(period(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "")]), None);
        for limit in ["", "0", "-1", "soon"] {
            assert_eq!(period(&[("WATCHDOG_USEC", limit)]), None, "{limit:?}");
        }
    }
}
