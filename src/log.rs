//! The log of a supervisor: one line per recovery step, to where the administrator wants it. Never waits: what
//! cannot be written now is lost, counted, and the count is said before the next line that gets through.

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

const SYSLOG: &CStr = c"/dev/log";
const JOURNAL: &str = "/run/systemd/journal/socket";

/// The syslog facility of daemons.
const DAEMON: u8 = 3;

/// How much a line matters, as syslog counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Something needs a look.
    Error = 3,
    /// Something may become an error.
    Warning = 4,
    /// Normal, but worth to know.
    Notice = 5,
    /// For the record.
    Info = 6,
}

/// A line, and what the journal is told beside it.
#[derive(Debug)]
pub struct Entry {
    /// How much it matters.
    pub priority: Priority,
    /// What happened, in words.
    pub text: String,
    /// Field names without their `SAM_`, and values.
    pub fields: Vec<(&'static str, String)>,
}

/// An open log.
#[derive(Debug)]
pub struct Log {
    route: Route,
    /// The name of the program.
    program: String,
    /// Kept open, as later there may be no descriptor left. None: to be tried again.
    socket: Option<UnixDatagram>,
    /// The connection to a syslog daemon that has a stream socket. None: to be tried again.
    stream: Option<Stream>,
    lost: u64,
}

impl Log {
    /// A log to `route`. What cannot be opened now is tried again at each line.
    pub fn open(route: Route) -> Log {
        let socket = match route {
            Route::Syslog | Route::Journal => datagram_socket(),
            Route::Stderr | Route::Off => None,
        };
        Log { route, program: program::name(), socket, stream: None, lost: 0 }
    }

    /// Writes one line.
    pub fn say(&mut self, priority: Priority, text: impl Display) {
        self.write(&Entry { priority, text: text.to_string(), fields: vec![] });
    }

    /// Writes an entry.
    pub fn write(&mut self, entry: &Entry) {
        if self.route == Route::Off {
            return;
        }
        if self.lost > 0 {
            let lines = if self.lost == 1 { "line" } else { "lines" };
            let text = format!("{} {lines} of this log lost before this", self.lost);
            if self.send(&Entry { priority: Priority::Warning, text, fields: vec![] }) {
                self.lost = 0;
            }
        }
        if self.lost > 0 || !self.send(entry) {
            self.lost += 1;
        }
    }

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

    /// Sends a record that ends with a NUL byte. As syslog(3), in a datagram without that byte, or to a stream socket
    /// if that is what the daemon has.
    fn send_to_syslog(&mut self, record: &[u8]) -> bool {
        /// A daemon that was started anew has closed the connection, and may have a socket of the other kind by now.
        const ATTEMPTS: usize = 2;
        for _ in 0..ATTEMPTS {
            if self.stream.is_none() {
                let path = OsStr::from_bytes(SYSLOG.to_bytes());
                match self.send_to(path, &record[..record.len() - 1]) {
                    Ok(()) => return true,
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

    fn send_to(&mut self, address: impl AsRef<Path>, datagram: &[u8]) -> io::Result<()> {
        if self.socket.is_none() {
            self.socket = datagram_socket();
        }
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        socket.send_to(datagram, address).map(drop)
    }
}

/// A socket that never waits. Close-on-exec.
pub fn datagram_socket() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

/// An entry as the journal's own protocol has it: one field a line. No value has a line break.
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
    fn the_journal_gets_one_field_a_line() {
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
