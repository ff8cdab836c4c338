//! systemd's notification protocol (sd_notify(3)): tells the service manager what is supervised, and that the
//! supervisor is alive. Never waits: a status that the service manager cannot take now is sent again with the next
//! message.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::unistd::Pid;

use crate::log;
use crate::time::MonotonicTime;

/// A connection to the service manager, which usually is systemd.
#[derive(Debug)]
pub struct ServiceManager {
    address: SocketAddr,
    /// The socket by which messages are sent to the service manager. `None` if the process had no free descriptor: the
    /// next message tries again to open it.
    socket: Option<UnixDatagram>,
    /// The status line that was not sent to the service manager yet. `None` if the last one was sent.
    pending_status: Option<String>,
    watchdog: Option<Watchdog>,
}

/// The service manager's watchdog (WATCHDOG_USEC in sd_watchdog_enabled(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Watchdog {
    /// The time between two messages by which the supervisor tells the service manager that it is alive: half of
    /// WATCHDOG_USEC.
    period: Duration,
    /// The time at which the supervisor next tells the service manager that it is alive. `None` before the first
    /// message, which is sent at once.
    due: Option<MonotonicTime>,
}

impl ServiceManager {
    /// Opens the connection of the supervisor `own_pid`. Returns `None` if no service manager asks for notifications.
    /// `variable` returns the value of an environment variable.
    pub fn open(variable: impl Fn(&str) -> Option<Vec<u8>>, own_pid: Pid) -> Option<ServiceManager> {
        let address = address(&variable("NOTIFY_SOCKET")?)?;
        let number = |name| String::from_utf8(variable(name)?).ok()?.parse::<u64>().ok();
        let is_ours = variable("WATCHDOG_PID").is_none()
            || number("WATCHDOG_PID") == u64::try_from(own_pid.as_raw()).ok();
        let limit = number("WATCHDOG_USEC").filter(|&limit| is_ours && limit > 1);
        // sd_watchdog_enabled(3) recommends half of the limit.
        let watchdog = limit.map(|limit| Watchdog { period: Duration::from_micros(limit) / 2, due: None });
        Some(ServiceManager { address, socket: log::datagram_socket(), pending_status: None, watchdog })
    }

    /// Sets the status line for the service manager, such as `instance 1 (pid 70), 0 restarts`. The next call of
    /// [`send_due`](ServiceManager::send_due) sends it, and `systemctl status` shows it.
    pub fn set_status(&mut self, status: String) {
        self.pending_status = Some(status);
    }

    /// Returns when to call [`send_due`](ServiceManager::send_due) at the latest, so that the watchdog of the service
    /// manager does not take the supervisor for hung. `None` without a watchdog, and before the first call.
    pub fn due(&self) -> Option<MonotonicTime> {
        self.watchdog?.due
    }

    /// Sends the service manager the status line if it has changed, and `WATCHDOG=1` if that message is due.
    pub fn send_due(&mut self, now: MonotonicTime) {
        if let Some(status) = self.pending_status.take() {
            if !self.send(&format!("STATUS={status}\n")) {
                self.pending_status = Some(status);
            }
        }
        if let Some(watchdog) = self.watchdog.filter(|watchdog| watchdog.due.is_none_or(|due| now >= due)) {
            self.send("WATCHDOG=1\n");
            self.watchdog = Some(Watchdog { due: Some(now + watchdog.period), ..watchdog });
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

/// Returns the address in NOTIFY_SOCKET: a path, or `@` and the name of an abstract socket.
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
        ServiceManager::open(
            |name| found(name).map(|(_, value)| value.as_bytes().to_vec()),
            Pid::from_raw(4711),
        )
    }

    #[test]
    fn notify_socket_is_a_path_or_an_abstract_name() {
        assert!(open(&[("NOTIFY_SOCKET", "/run/systemd/notify")]).is_some());
        assert!(open(&[("NOTIFY_SOCKET", "@/org/systemd/notify")]).is_some());
        for address in ["", "@", "/", "run/notify", "vsock:2:1234", &format!("/{}", "x".repeat(200))] {
            assert!(open(&[("NOTIFY_SOCKET", address)]).is_none(), "{address:?}");
        }
        assert!(open(&[("WATCHDOG_USEC", "1000000")]).is_none());
    }

    #[test]
    fn watchdog_that_names_this_process_is_fed_twice_per_period() {
        let period = |variables: &[(&str, &str)]| {
            let socket = [("NOTIFY_SOCKET", "@test")];
            open(&[&socket, variables].concat()).unwrap().watchdog.map(|watchdog| watchdog.period)
        };
        assert_eq!(period(&[]), None);
        assert_eq!(period(&[("WATCHDOG_USEC", "30000000")]), Some(Duration::from_secs(15)));
        assert_eq!(
            period(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "4711")]),
            Some(Duration::from_secs(15))
        );
        assert_eq!(period(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "4712")]), None);
        assert_eq!(period(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "")]), None);
        for limit in ["", "0", "-1", "soon"] {
            assert_eq!(period(&[("WATCHDOG_USEC", limit)]), None, "{limit:?}");
        }
    }
}
