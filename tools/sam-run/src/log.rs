//! The agent's part of the log. It goes where the supervisor's goes (SAM_LOG), under the pid of the supervisor. Writing
//! never waits, because the agent must not be late with a heartbeat.

use std::env;
use std::fmt::Display;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use nix::unistd::Pid;

/// The facility LOG_DAEMON and the severity LOG_WARNING of syslog(3).
const PRIORITY: u8 = (3 << 3) | 4;

/// The socket of the syslog daemon.
const SYSLOG: &str = "/dev/log";

enum Route {
    Syslog(UnixDatagram),
    Journal(UnixDatagram),
    /// Standard error, with this before each line.
    Stderr(&'static str),
    Off,
}

/// The log.
pub struct Log {
    route: Route,
    supervisor: Pid,
    name: String,
}

impl Log {
    /// Opens the log. Reads SAM_LOG, which the library has found to be valid.
    pub fn open(supervisor: Pid, name: String) -> Log {
        let socket = || {
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok()?;
            Some(socket)
        };
        let route = match env::var("SAM_LOG").as_deref() {
            Ok("stderr") => Some(Route::Stderr("")),
            Ok("off") => None,
            Ok("syslog") => socket().map(Route::Syslog),
            // The rest is as in the library where SAM_LOG is `auto` or not set. The journal finds the unit of a
            // datagram by its sender, which may have ended by then. A line on standard error belongs to the unit.
            _ if stderr_is_journal() => Some(Route::Stderr("<4>")),
            Ok("journal") => socket().map(Route::Journal),
            _ if socket().is_some_and(|socket| socket.connect(SYSLOG).is_ok()) => socket().map(Route::Syslog),
            _ => Some(Route::Stderr("")),
        };
        Log { route: route.unwrap_or(Route::Off), supervisor, name }
    }

    /// Writes a line. A line that cannot be written at once is lost.
    pub fn say(&self, text: impl Display) {
        let line = format!("sam[{}]: {text}", self.supervisor).replace(char::is_control, " ");
        let name = &self.name;
        let _ = match &self.route {
            Route::Off => Ok(()),
            Route::Stderr(before) => say_on_stderr(&format!("{before}{line}")),
            Route::Syslog(socket) => {
                socket.send_to(format!("<{PRIORITY}>{name}: {line}").as_bytes(), SYSLOG).map(drop)
            }
            Route::Journal(socket) => {
                let fields =
                    format!("MESSAGE={line}\nPRIORITY=4\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER={name}\n");
                socket.send_to(fields.as_bytes(), "/run/systemd/journal/socket").map(drop)
            }
        };
    }
}

/// Returns `true` if JOURNAL_STREAM names the standard error of this process (systemd.exec(5)).
fn stderr_is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr()).is_ok_and(|file| stream == format!("{}:{}", file.st_dev, file.st_ino))
}

/// Writes a line to standard error unless that would wait. A pipe that is ready for writing takes 4096 bytes (pipe(7)).
fn say_on_stderr(line: &str) -> io::Result<()> {
    let mut stderr = io::stderr();
    let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let is_ready = poll(&mut fds, PollTimeout::ZERO).is_ok() && fds[0].revents() == Some(PollFlags::POLLOUT);
    let mut text: Vec<u8> = line.bytes().take(4095).collect();
    text.push(b'\n');
    if is_ready { stderr.write_all(&text) } else { Ok(()) }
}
