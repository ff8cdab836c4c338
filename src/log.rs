//! The log of a supervisor: one line per recovery step.
//!
//! The environment variable SAM_LOG selects syslog, the systemd journal or standard error. Without it, the log goes to
//! a place where the line is read. Writing never waits, because the supervisor must not be late. A line that cannot be
//! written at once is lost. The number of lost lines is written before the next line that succeeds.

#![forbid(unsafe_code)]

mod step;

use std::ffi::{CStr, OsStr};
use std::fmt::{Display, Write as _};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::errno::Errno;

pub use self::step::Step;
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
    /// The kind of event that the line reports, by which programs that read the journal find it.
    pub step: Step,
    /// The text of the log line, without the prefix `sam: `.
    pub text: String,
    /// Further fields of the log line for the systemd journal: names without the prefix `SAM_`, and values.
    pub fields: Vec<(&'static str, String)>,
}

/// The log of one process, open to the destination that SAM_LOG names.
#[derive(Debug)]
pub struct Log {
    route: Route,
    /// `true` if SAM_LOG chooses no destination, and standard error goes to the systemd journal.
    stderr_is_journal: bool,
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
            Route::Found | Route::Syslog | Route::Journal => datagram_socket(),
            Route::Stderr | Route::Off => None,
        };
        let stderr_is_journal = matches!(route, Route::Found | Route::Journal)
            && program::variable("JOURNAL_STREAM").is_some_and(|stream| stderr::is(parse_stream(&stream)));
        Log { route, stderr_is_journal, program: program::name(), socket, stream: None, lost: 0 }
    }

    /// Returns `true` if the log is written nowhere.
    pub fn is_off(&self) -> bool {
        self.route == Route::Off
    }

    /// Writes the one line of a process that may end at once. journald finds the unit of a datagram by the pid of the
    /// sender, and fails if that has ended. A line on standard error belongs to the unit in any case, so it goes there
    /// if the journal reads it.
    pub fn say(&mut self, priority: Priority, step: Step, text: impl Display) {
        let entry = Entry { priority, step, text: text.to_string(), fields: vec![] };
        if !(self.stderr_is_journal && write_to_journal_stream(&entry).is_ok()) {
            self.write(&entry);
        }
    }

    /// Writes one line to the log without waiting. Lines that could not be written before are first reported by one
    /// line with their number.
    pub fn write(&mut self, entry: &Entry) {
        if self.route == Route::Off {
            return;
        }
        if self.lost > 0 {
            let lines_were = if self.lost == 1 { "line of this log was" } else { "lines of this log were" };
            let text = format!(
                "{} {lines_were} lost before this line: the log took no lines, supervision went on",
                self.lost
            );
            let (priority, step) = (Priority::Warning, Step::LinesLost);
            if self.send(&Entry { priority, step, text, fields: vec![] }).is_ok() {
                self.lost = 0;
            }
        }
        if self.lost > 0 || self.send(entry).is_err() {
            self.lost += 1;
        }
    }

    /// Sends one log line to the destination that SAM_LOG names, or that was found.
    ///
    /// # Errors
    /// The line could not be sent without waiting, so it is lost.
    fn send(&mut self, entry: &Entry) -> io::Result<()> {
        match self.route {
            Route::Off => Ok(()),
            Route::Stderr => write_to_stderr(entry),
            Route::Syslog => self.write_to_syslog(entry),
            // A sandbox may hide the socket of the journal, but it leaves standard error.
            Route::Journal | Route::Found if self.stderr_is_journal => {
                self.write_to_journal(entry).or_else(unless_full(|| write_to_journal_stream(entry)))
            }
            Route::Journal => self.write_to_journal(entry),
            // In a container, standard error often is the only log. The program may have opened a file of its own in
            // the place of standard error, which must not get the line.
            Route::Found => {
                self.write_to_syslog(entry).or_else(unless_full(|| match stderr::is_as_at_start() {
                    true => write_to_stderr(entry),
                    false => Err(io::ErrorKind::NotFound.into()),
                }))
            }
        }
    }

    fn write_to_journal(&mut self, entry: &Entry) -> io::Result<()> {
        let datagram = journal_entry(&self.program, entry);
        self.send_to(JOURNAL, datagram.as_bytes())
    }

    fn write_to_syslog(&mut self, entry: &Entry) -> io::Result<()> {
        let (date, priority) = (clock::local_date(), (DAEMON << 3) | entry.priority as u8);
        let (program, pid, text) = (&self.program, process::own_pid(), &entry.text);
        self.send_to_syslog(format!("<{priority}>{date} {program}[{pid}]: sam: {text}\0").as_bytes())
    }

    /// Sends a record that ends with a NUL byte to the syslog daemon.
    ///
    /// As syslog(3) does, this sends a datagram without the NUL byte. If the daemon has a stream socket, the record is
    /// sent there with the NUL byte.
    ///
    /// # Errors
    /// The record is lost.
    fn send_to_syslog(&mut self, record: &[u8]) -> io::Result<()> {
        /// The number of attempts to send one log record. After a restart of the syslog daemon the old connection
        /// fails, and the new socket may be of the other type, so a second attempt is needed.
        const ATTEMPTS: usize = 2;
        let mut failed = io::Error::from(Errno::EPIPE);
        for _ in 0..ATTEMPTS {
            if self.stream.is_none() {
                let path = OsStr::from_bytes(SYSLOG.to_bytes());
                match self.send_to(path, &record[..record.len() - 1]) {
                    Ok(()) => return Ok(()),
                    // EPROTOTYPE: the socket is not for datagrams (connect(2)).
                    Err(error) if error.raw_os_error() != Some(libc::EPROTOTYPE) => return Err(error),
                    Err(_) => self.stream = Some(Stream::connect(SYSLOG)?),
                }
            }
            let Some(stream) = &self.stream else { continue };
            match stream.send(record) {
                Ok(()) => return Ok(()),
                Err(Errno::EAGAIN) => return Err(Errno::EAGAIN.into()),
                Err(errno) => (self.stream, failed) = (None, errno.into()),
            }
        }
        Err(failed)
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

/// Returns a handler of an error that does `otherwise`, unless the log daemon is there and could not take the line.
fn unless_full(otherwise: impl FnOnce() -> io::Result<()>) -> impl FnOnce(io::Error) -> io::Result<()> {
    |error| if error.kind() == io::ErrorKind::WouldBlock { Err(error) } else { otherwise() }
}

fn write_to_stderr(entry: &Entry) -> io::Result<()> {
    let line = format!("sam[{}]: {}\n", process::own_pid(), entry.text);
    Ok(stderr::write(line.as_bytes())?)
}

/// Writes an entry to standard error, which the journal reads. The journal adds the name and the pid, and takes the
/// number for the priority (sd-daemon(3)).
fn write_to_journal_stream(entry: &Entry) -> io::Result<()> {
    Ok(stderr::write(format!("<{}>sam: {}\n", entry.priority as u8, entry.text).as_bytes())?)
}

/// Returns a non-blocking Unix datagram socket that is bound to no path. Close-on-exec. Returns `None` if the process
/// has no free descriptor.
pub fn datagram_socket() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

/// Returns the device and the inode number in JOURNAL_STREAM (systemd.exec(5)), or `None` if it has another form.
fn parse_stream(stream: &[u8]) -> Option<(u64, u64)> {
    let (device, inode) = std::str::from_utf8(stream).ok()?.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

/// Formats an entry for the native protocol of systemd-journald(8): one field per line. No value contains a line break,
/// so the binary form of fields is not needed. journald adds the pid.
fn journal_entry(program: &str, entry: &Entry) -> String {
    let (priority, step) = (entry.priority as u8, entry.step);
    let mut text = format!(
        "MESSAGE=sam: {}\nPRIORITY={priority}\nSYSLOG_FACILITY={DAEMON}\nSYSLOG_IDENTIFIER={program}\n\
         MESSAGE_ID={}\nSAM_STEP={}\n",
        entry.text,
        step.message_id(),
        step.name()
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
            step: Step::Warned,
            text: "instance 4 (pid 456) silent".to_owned(),
            fields: vec![("INSTANCE", "4".to_owned()), ("REASON", "silent".to_owned())],
        };
        assert_eq!(
            journal_entry("prog", &entry),
            "MESSAGE=sam: instance 4 (pid 456) silent\nPRIORITY=4\nSYSLOG_FACILITY=3\n\
             SYSLOG_IDENTIFIER=prog\nMESSAGE_ID=c8c4ccfdda5c1a07b6d9b83941dcc93f\nSAM_STEP=warned\n\
             SAM_INSTANCE=4\nSAM_REASON=silent\n"
        );
    }

    #[test]
    fn journal_stream_is_a_device_and_an_inode_number() {
        assert_eq!(parse_stream(b"9:8675309"), Some((9, 8_675_309)));
        for other in [&b""[..], b"9", b":", b"9:", b"9:x", b"9:1:2", b"-1:2", b"\xff:1"] {
            assert_eq!(parse_stream(other), None, "{other:?}");
        }
    }

    #[test]
    fn documentation_lists_every_step_with_its_message_id() {
        let text = include_str!("../docs/log.md");
        for step in Step::ALL {
            let row = format!("| `{}` | {} |", step.name(), step.message_id());
            assert!(text.contains(&row), "docs/log.md has no row {row}");
        }
    }

    #[test]
    fn steps_have_distinct_names_and_message_ids() {
        for (number, step) in Step::ALL.iter().enumerate() {
            let id = step.message_id();
            assert!(
                id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
                "{id}"
            );
            for other in &Step::ALL[..number] {
                assert!(step.name() != other.name() && id != other.message_id(), "{step:?} and {other:?}");
            }
        }
    }
}
