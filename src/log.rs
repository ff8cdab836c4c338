//! The log of a supervisor: one line per recovery step.
//!
//! The environment variable SAM_LOG selects syslog, the systemd journal or standard error. Writing never waits, because
//! the supervisor must not be late. A line that cannot be written at once is lost. The number of lost lines is written
//! before the next line that succeeds.

#![forbid(unsafe_code)]

use std::ffi::{CStr, OsStr};
use std::fmt::{Display, Write as _};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::errno::Errno;

use crate::settings::Route;
use crate::sys::stream_socket::Stream;
use crate::sys::{clock, process, program, stderr};

/// The path of the socket on which the syslog daemon receives log lines, as in syslog(3).
const SYSLOG: &CStr = c"/dev/log";
/// The path of the datagram socket on which systemd-journald(8) receives log entries.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// The number of the facility with which all lines are logged, LOG_DAEMON of syslog(3).
const DAEMON: u8 = 3;

/// The severity of a log line, with the numbers of syslog(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// An error that the administrator should look at.
    Error = 3,
    /// A condition that may lead to an error later.
    Warning = 4,
    /// A normal but significant event, syslog's "notice".
    Notice = 5,
    /// Information that asks nobody to act.
    Info = 6,
}

/// One line for the log, with the fields that only the systemd journal stores.
#[derive(Debug)]
pub struct Entry {
    /// The severity with which the line is logged.
    pub priority: Priority,
    /// The text of the log line, without the prefix `sam[PID]: `.
    pub text: String,
    /// The fields of the log line for the systemd journal: names without the prefix `SAM_`, and values.
    pub fields: Vec<(&'static str, String)>,
}

/// The log of one process, open to the destination that SAM_LOG names.
#[derive(Debug)]
pub struct Log {
    route: Route,
    /// The name of the program, which begins each line in syslog and is `SYSLOG_IDENTIFIER` in the journal.
    program: String,
    /// The Unix datagram socket from which log lines are sent to syslog or the systemd journal. It stays open, because
    /// the process may have no free descriptor later. `None`: it could not be made yet, and the next log line tries
    /// again.
    socket: Option<UnixDatagram>,
    /// The connection to a syslog daemon whose socket is a stream socket. `None` in all other cases.
    stream: Option<Stream>,
    /// The number of log lines that could not be written since the last successful one. The next successful write
    /// reports it.
    lost: u64,
}

impl Log {
    /// Opens a log that writes to `route`: syslog, the systemd journal or standard error. Never fails: if the process
    /// has no descriptor for a socket now, each log line tries again to make one.
    pub fn open(route: Route) -> Log {
        let socket = match route {
            Route::Syslog | Route::Journal => datagram_socket(),
            Route::Stderr | Route::Off => None,
        };
        Log { route, program: program::name(), socket, stream: None, lost: 0 }
    }

    /// Returns `true` if the log is written nowhere.
    pub fn is_off(&self) -> bool {
        self.route == Route::Off
    }

    /// Writes one line to the log, without fields for the systemd journal.
    pub fn say(&mut self, priority: Priority, text: impl Display) {
        self.write(&Entry { priority, text: text.to_string(), fields: vec![] });
    }

    /// Writes one line to the log without waiting. Lines that could not be written before are first reported by one
    /// line with their number.
    pub fn write(&mut self, entry: &Entry) {
        if self.route == Route::Off {
            return;
        }
        if self.lost > 0 {
            let lines_were = if self.lost == 1 { "line of this log was" } else { "lines of this log were" };
            let text = format!("{} {lines_were} lost before this line", self.lost);
            if self.send(&Entry { priority: Priority::Warning, text, fields: vec![] }) {
                self.lost = 0;
            }
        }
        if self.lost > 0 || !self.send(entry) {
            self.lost += 1;
        }
    }

    /// Sends one log line to the destination that SAM_LOG names. Returns `false` if it could not be sent without
    /// waiting, so that the line is lost.
    fn send(&mut self, entry: &Entry) -> bool {
        let line = format!("sam[{}]: {}", process::own_pid(), entry.text);
        match self.route {
            Route::Off => true,
            Route::Stderr => stderr::write(format!("{line}\n").as_bytes()).is_ok(),
            Route::Syslog => {
                let date = clock::local_date();
                let priority = DAEMON << 3 | entry.priority as u8;
                self.send_to_syslog(format!("<{priority}>{date} {}: {line}\0", self.program).as_bytes())
            }
            Route::Journal => {
                self.send_to(JOURNAL, journal_entry(&self.program, &line, entry).as_bytes()).is_ok()
            }
        }
    }

    /// Sends a log record that ends with a NUL byte to the syslog daemon. Returns `false` if it could not be sent.
    ///
    /// As syslog(3) does, this sends a datagram without the NUL byte. If the daemon has a stream socket, the record is
    /// sent there with the NUL byte.
    fn send_to_syslog(&mut self, record: &[u8]) -> bool {
        /// The number of attempts to send one log record. After a restart of the syslog daemon the old connection
        /// fails, and the new socket may be of the other type, so a second attempt is needed.
        const ATTEMPTS: usize = 2;
        for _ in 0..ATTEMPTS {
            if self.stream.is_none() {
                let path = OsStr::from_bytes(SYSLOG.to_bytes());
                match self.send_to(path, &record[..record.len() - 1]) {
                    Ok(()) => return true,
                    // EPROTOTYPE: the socket is not for datagrams (connect(2)).
                    Err(error) if error.raw_os_error() != Some(libc::EPROTOTYPE) => return false,
                    Err(_) => self.stream = Stream::connect(SYSLOG).ok(),
                }
            }
            let Some(stream) = &self.stream else { return false };
            match stream.send(record) {
                Ok(()) => return true,
                Err(Errno::EAGAIN) => return false,
                Err(_) => self.stream = None,
            }
        }
        false
    }

    /// Sends a datagram to the socket at the path `address`.
    fn send_to(&mut self, address: impl AsRef<Path>, datagram: &[u8]) -> io::Result<()> {
        if self.socket.is_none() {
            self.socket = datagram_socket();
        }
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        socket.send_to(datagram, address).map(drop)
    }
}

/// Returns a non-blocking Unix datagram socket that is bound to no path. Close-on-exec. Returns `None` if the process
/// has no free descriptor.
pub fn datagram_socket() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

/// Formats a log line for the native protocol of systemd-journald(8): one field per line. No value contains a line
/// break, so the binary form of fields is not needed.
fn journal_entry(program: &str, line: &str, entry: &Entry) -> String {
    let mut text = format!(
        "MESSAGE={line}\nPRIORITY={}\nSYSLOG_FACILITY={DAEMON}\nSYSLOG_IDENTIFIER={program}\n",
        entry.priority as u8
    );
    for (name, value) in &entry.fields {
        let _ = writeln!(text, "SAM_{name}={value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journal_entry_has_one_field_per_line() {
        let entry = Entry {
            priority: Priority::Warning,
            text: "instance 4 (pid 456) silent".to_owned(),
            fields: vec![("INSTANCE", "4".to_owned()), ("REASON", "silent".to_owned())],
        };
        assert_eq!(
            journal_entry("prog", "sam[123]: instance 4 (pid 456) silent", &entry),
            "MESSAGE=sam[123]: instance 4 (pid 456) silent\nPRIORITY=4\nSYSLOG_FACILITY=3\n\
             SYSLOG_IDENTIFIER=prog\nSAM_INSTANCE=4\nSAM_REASON=silent\n"
        );
    }
}
