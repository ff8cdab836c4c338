//! What the supervisor tells the operator: one line per recovery step.

#![forbid(unsafe_code)]

use std::fmt;

use crate::environment::RestartLimit;
use crate::log::{Entry, Priority};
use crate::sys::process::Status;

/// Why an instance was lost, when it was the supervisor's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It was silent for too long.
    Silent,
    /// Its health check said that it is not well.
    Unhealthy,
    /// Quorum was lost.
    NoQuorum,
}

/// How a signal that the supervisor got came to the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The supervisor passed it on.
    PassedOn,
    /// The terminal sent it to both.
    Shared,
    /// Not by the supervisor: SAM_FORWARD_SIGNALS is 0.
    Withheld,
}

/// One step of a recovery. Times in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The instance was silent for too long and was sent `signal` (0: none).
    Warned {
        /// Number of the instance.
        id: u32,
        /// Its pid.
        pid: i32,
        /// How long it was silent.
        silent: u64,
        /// How long it may be.
        limit: u64,
        /// The signal.
        signal: i32,
    },
    /// The instance's own callback said that it is not well, and it warned itself.
    Unhealthy {
        /// Number of the instance.
        id: u32,
        /// Its pid.
        pid: i32,
    },
    /// A heartbeat came after the warning.
    Recovered {
        /// Number of the instance.
        id: u32,
        /// Its pid.
        pid: i32,
        /// How long it was silent.
        silent: u64,
        /// When it had been warned.
        at: u64,
    },
    /// The warning did not help; it was sent `signal`, SIGKILL or the one for a hang.
    Killed {
        /// Number of the instance.
        id: u32,
        /// Its pid.
        pid: i32,
        /// How long it was silent.
        silent: u64,
        /// The signal.
        signal: i32,
    },
    /// It did not end in time after the signal for a hang; it was sent SIGKILL.
    Overdue {
        /// Number of the instance.
        id: u32,
        /// Its pid.
        pid: i32,
        /// Its core file was still being written.
        dumping: bool,
    },
    /// A debugger began to trace it, or left it.
    Traced {
        /// Number of the instance.
        id: u32,
        /// Its pid.
        pid: i32,
        /// It began.
        traced: bool,
    },
    /// The kernel did not let the supervisor send the instance a signal; errno.
    Refused {
        /// Number of the instance.
        id: u32,
        /// Its pid.
        pid: i32,
        /// The signal.
        signal: i32,
        /// Why.
        errno: i32,
    },
    /// The program was told to end by `signal`: no restart follows the end of this instance.
    Final {
        /// Number of the instance.
        id: u32,
        /// Its pid.
        pid: i32,
        /// The signal.
        signal: i32,
        /// How it came to the instance.
        way: Way,
    },
    /// A signal that arrived while there was no instance was never passed on.
    Dropped {
        /// Number of the instance that it was held for.
        id: u32,
        /// The signal.
        signal: i32,
    },
    /// What a dead instance left behind of its own children was ended.
    GroupEnded {
        /// Number of the instance.
        id: u32,
        /// So many were ended.
        ended: usize,
        /// So many could not be.
        left: usize,
    },
    /// The instance was started when quorum was lost, and was sent `signal` (0: none).
    Condemned {
        /// Number of the instance.
        id: u32,
        /// Its pid.
        pid: i32,
        /// The signal.
        signal: i32,
    },
    /// It neither stopped nor ended in time; it was sent SIGKILL.
    Outlived {
        /// Number of the instance.
        id: u32,
        /// Its pid.
        pid: i32,
    },
    /// The cluster partition is not quorate any more.
    QuorumLost,
    /// It is quorate again.
    QuorumBack,
    /// corosync cannot be reached any more.
    CorosyncLost,
    /// It can be reached again.
    CorosyncBack,
    /// The process that talks to corosync has not got on with its work for so long: corosync blocks it. It was
    /// killed, and will be made anew.
    CorosyncStalled {
        /// Since its last sign of life.
        silent: u64,
    },
    /// The instance is gone.
    Lost {
        /// Number of the instance.
        id: u32,
        /// Its pid.
        pid: i32,
        /// How it ended.
        status: Status,
        /// What the supervisor had against it.
        reason: Option<Reason>,
    },
    /// The instance exited with 0, and a process that it forked may go on in its place.
    Left {
        /// Number of the instance.
        id: u32,
        /// Its pid.
        pid: i32,
    },
    /// The instance exited with 0, and a process that it forked is the instance from now on.
    Adopted {
        /// Number of the instance.
        id: u32,
        /// The pid of that process.
        pid: i32,
        /// The pid of the instance so far.
        before: i32,
    },
    /// The instance exited with 0, and the program goes on in a process that cannot be supervised.
    Strayed {
        /// Number of the instance.
        id: u32,
        /// The pid of that process; 0: not known.
        pid: i32,
    },
    /// The next instance cannot be made, because the first process of the PID namespace of the instances has ended.
    NoMoreProcesses {
        /// Number of the next instance.
        id: u32,
    },
    /// The next instance was made.
    Restarted {
        /// Number of the instance.
        id: u32,
        /// Its pid.
        pid: i32,
        /// From the news of the loss.
        took: u64,
    },
    /// The next instance could not be made; errno. The next try follows after `pause`.
    LaunchFailed {
        /// Number of the instance.
        id: u32,
        /// Why.
        errno: i32,
        /// Until the next try.
        pause: u64,
    },
    /// The next instance is made after a pause.
    Delayed {
        /// Number of the next instance.
        id: u32,
        /// The pause.
        pause: u64,
    },
    /// There were too many restarts: the supervisor gives up.
    LimitReached {
        /// Number of the last instance.
        id: u32,
        /// What was allowed.
        limit: RestartLimit,
    },
}

impl Notice {
    /// As an entry of the log.
    pub fn entry(&self) -> Entry {
        let mut fields = vec![("STEP", self.step().to_owned())];
        fields.extend(self.instance().map(|id| ("INSTANCE", id.to_string())));
        fields.extend(self.pid().map(|pid| ("PID", pid.to_string())));
        fields.extend(self.reason().map(|reason| ("REASON", reason.to_owned())));
        Entry { priority: self.priority(), text: self.to_string(), fields }
    }

    fn priority(&self) -> Priority {
        match self {
            Notice::Lost { status: Status::Exited(0), reason: None, .. } => Priority::Info,
            Notice::Recovered { .. }
            | Notice::Restarted { .. }
            | Notice::Left { .. }
            | Notice::Adopted { .. }
            | Notice::Delayed { .. }
            | Notice::Traced { .. }
            | Notice::GroupEnded { left: 0, .. }
            | Notice::Final { .. }
            | Notice::QuorumBack
            | Notice::CorosyncBack => Priority::Notice,
            Notice::Warned { .. }
            | Notice::Unhealthy { .. }
            | Notice::GroupEnded { .. }
            | Notice::Dropped { .. }
            | Notice::Condemned { .. }
            | Notice::QuorumLost
            | Notice::CorosyncLost
            | Notice::CorosyncStalled { .. } => Priority::Warning,
            Notice::Killed { .. }
            | Notice::Overdue { .. }
            | Notice::Outlived { .. }
            | Notice::Refused { .. }
            | Notice::Lost { .. }
            | Notice::LaunchFailed { .. }
            | Notice::Strayed { .. }
            | Notice::NoMoreProcesses { .. }
            | Notice::LimitReached { .. } => Priority::Error,
        }
    }

    fn step(&self) -> &'static str {
        match self {
            Notice::Warned { .. } | Notice::Unhealthy { .. } | Notice::Condemned { .. } => "warned",
            Notice::Recovered { .. } => "recovered",
            Notice::Killed { .. } | Notice::Overdue { .. } | Notice::Outlived { .. } => "killed",
            Notice::QuorumLost => "quorum-lost",
            Notice::QuorumBack => "quorum-back",
            Notice::CorosyncLost | Notice::CorosyncStalled { .. } => "corosync-lost",
            Notice::CorosyncBack => "corosync-back",
            Notice::Traced { traced: true, .. } => "held",
            Notice::Traced { traced: false, .. } => "released",
            Notice::GroupEnded { .. } => "group-ended",
            Notice::Refused { .. } => "refused",
            Notice::Final { .. } => "final",
            Notice::Dropped { .. } => "signal-dropped",
            Notice::Lost { .. } => "lost",
            Notice::Restarted { .. } => "restarted",
            Notice::LaunchFailed { .. } | Notice::Delayed { .. } => "delayed",
            Notice::Left { .. } => "left",
            Notice::Adopted { .. } => "adopted",
            Notice::LimitReached { .. } | Notice::Strayed { .. } | Notice::NoMoreProcesses { .. } => {
                "gave-up"
            }
        }
    }

    fn instance(&self) -> Option<u32> {
        match *self {
            Notice::Warned { id, .. }
            | Notice::Unhealthy { id, .. }
            | Notice::Recovered { id, .. }
            | Notice::Killed { id, .. }
            | Notice::Overdue { id, .. }
            | Notice::Traced { id, .. }
            | Notice::GroupEnded { id, .. }
            | Notice::Refused { id, .. }
            | Notice::Final { id, .. }
            | Notice::Dropped { id, .. }
            | Notice::Lost { id, .. }
            | Notice::Restarted { id, .. }
            | Notice::LaunchFailed { id, .. }
            | Notice::Delayed { id, .. }
            | Notice::LimitReached { id, .. }
            | Notice::Left { id, .. }
            | Notice::Adopted { id, .. }
            | Notice::Strayed { id, .. }
            | Notice::NoMoreProcesses { id }
            | Notice::Condemned { id, .. }
            | Notice::Outlived { id, .. } => Some(id),
            Notice::QuorumLost
            | Notice::QuorumBack
            | Notice::CorosyncLost
            | Notice::CorosyncBack
            | Notice::CorosyncStalled { .. } => None,
        }
    }

    fn pid(&self) -> Option<i32> {
        match *self {
            Notice::Warned { pid, .. }
            | Notice::Unhealthy { pid, .. }
            | Notice::Recovered { pid, .. }
            | Notice::Killed { pid, .. }
            | Notice::Overdue { pid, .. }
            | Notice::Traced { pid, .. }
            | Notice::Refused { pid, .. }
            | Notice::Final { pid, .. }
            | Notice::Lost { pid, .. }
            | Notice::Restarted { pid, .. }
            | Notice::Left { pid, .. }
            | Notice::Adopted { pid, .. }
            | Notice::Condemned { pid, .. }
            | Notice::Outlived { pid, .. } => Some(pid),
            Notice::Strayed { pid, .. } => Some(pid).filter(|&pid| pid != 0),
            _ => None,
        }
    }

    fn reason(&self) -> Option<&'static str> {
        match self {
            Notice::Warned { .. } | Notice::Killed { .. } | Notice::Overdue { .. } => Some("silent"),
            Notice::Traced { .. } => Some("debugger"),
            Notice::Unhealthy { .. } => Some("unhealthy"),
            Notice::Lost { status, reason, .. } => Some(match (reason, status) {
                (Some(Reason::Silent), _) => "silent",
                (Some(Reason::Unhealthy), _) => "unhealthy",
                (Some(Reason::NoQuorum), _) => "no-quorum",
                (None, Status::Exited(_)) => "exited",
                (None, Status::Killed { .. }) => "signal",
                (None, Status::Unknown) => "unknown",
            }),
            Notice::Final { .. } | Notice::Dropped { .. } => Some("signal"),
            Notice::LaunchFailed { .. } => Some("fork"),
            Notice::LimitReached { .. } => Some("restart-limit"),
            Notice::Strayed { .. } => Some("not-a-child"),
            Notice::NoMoreProcesses { .. } => Some("pid-namespace"),
            Notice::Condemned { .. } | Notice::Outlived { .. } => Some("no-quorum"),
            _ => None,
        }
    }
}

/// ns as ms.
fn ms(ns: u64) -> u64 {
    ns / 1_000_000
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Notice::Warned { id, pid, silent, limit, signal } => {
                write!(f, "instance {id} (pid {pid}) silent for {} ms (limit {}), ", ms(silent), ms(limit))?;
                if signal == 0 {
                    f.write_str("no warning wanted")
                } else {
                    write!(f, "sent {}", Name(signal))
                }
            }
            Notice::Unhealthy { id, pid } => {
                write!(f, "instance {id} (pid {pid}) failed its health check and warned itself")
            }
            Notice::Recovered { id, pid, silent, .. } => {
                write!(f, "instance {id} (pid {pid}) recovered, silent for {} ms at most", ms(silent))
            }
            Notice::Killed { id, pid, silent, signal } => {
                let silent = ms(silent);
                write!(f, "instance {id} (pid {pid}) silent for {silent} ms in spite of the warning, ")?;
                if signal == libc::SIGKILL {
                    f.write_str("killed")
                } else {
                    write!(f, "sent {}", Name(signal))
                }
            }
            Notice::Overdue { id, pid, dumping } => {
                let dumped = if dumping { ", its core file cut short" } else { "" };
                write!(f, "instance {id} (pid {pid}) did not end in time, killed{dumped}")
            }
            Notice::Traced { id, pid, traced: true } => {
                write!(f, "instance {id} (pid {pid}) is traced by a debugger, health checks held")
            }
            Notice::Traced { id, pid, traced: false } => {
                write!(f, "instance {id} (pid {pid}) is traced no more, health checks go on")
            }
            Notice::Refused { id, pid, signal, errno } => {
                let why = nix::errno::Errno::from_raw(errno).desc();
                write!(f, "instance {id} (pid {pid}) cannot be sent {}: {why}", Name(signal))?;
                if signal == libc::SIGKILL { f.write_str(", tried again") } else { Ok(()) }
            }
            Notice::Final { id, pid, signal, way } => {
                let name = Name(signal);
                match way {
                    Way::PassedOn => write!(f, "{name} passed on to instance {id} (pid {pid})"),
                    Way::Shared => write!(f, "{name} sent to instance {id} (pid {pid}) by the terminal"),
                    Way::Withheld => write!(f, "{name} not passed on to instance {id} (pid {pid})"),
                }?;
                f.write_str(", no restart will follow")
            }
            Notice::Dropped { id, signal } => {
                write!(
                    f,
                    "{} for instance {id} dropped, it arrived while there was no instance",
                    Name(signal)
                )
            }
            Notice::GroupEnded { id, ended, left } => {
                let processes = |number| if number == 1 { "process" } else { "processes" };
                write!(f, "ended {ended} {} that instance {id} left behind", processes(ended))?;
                if left > 0 {
                    write!(f, ", {left} {} could not be ended", processes(left))?;
                }
                Ok(())
            }
            Notice::Condemned { id, pid, signal } => {
                write!(f, "instance {id} (pid {pid}) must not run without quorum, ")?;
                if signal == 0 {
                    f.write_str("no warning wanted")
                } else {
                    write!(f, "sent {}", Name(signal))
                }
            }
            Notice::Outlived { id, pid } => {
                write!(f, "instance {id} (pid {pid}) ran on without quorum, killed")
            }
            Notice::QuorumLost => f.write_str("quorum lost"),
            Notice::QuorumBack => f.write_str("quorum regained"),
            Notice::CorosyncLost => f.write_str("corosync lost"),
            Notice::CorosyncBack => f.write_str("corosync is back"),
            Notice::CorosyncStalled { silent } => {
                write!(f, "corosync has not answered for {} ms, asked anew", ms(silent))
            }
            Notice::Lost { id, pid, status, reason } => {
                write!(f, "instance {id} (pid {pid}) {status}")?;
                match reason {
                    None => Ok(()),
                    Some(Reason::Silent) => f.write_str(" after its silence"),
                    Some(Reason::NoQuorum) => f.write_str(" for want of quorum"),
                    Some(Reason::Unhealthy) => f.write_str(" after it failed its health check"),
                }
            }
            Notice::Left { id, pid } => {
                write!(
                    f,
                    "instance {id} (pid {pid}) exited 0, a process that it forked may go on in its place"
                )
            }
            Notice::Adopted { id, pid, before } => {
                write!(f, "instance {id} (pid {before}) exited 0 and goes on in pid {pid}, which it forked")
            }
            Notice::Strayed { id, pid } => {
                write!(f, "instance {id} exited 0 and goes on in a process that cannot be supervised")?;
                if pid != 0 {
                    write!(f, " (pid {pid})")?;
                }
                f.write_str(", giving up")
            }
            Notice::NoMoreProcesses { id } => {
                write!(
                    f,
                    "instance {id} cannot be started: process 1 of its PID namespace has ended, giving up"
                )
            }
            Notice::Restarted { id, pid, took } => {
                let tenths = took / 100_000;
                write!(f, "restarted as instance {id} (pid {pid}) in {}.{} ms", tenths / 10, tenths % 10)
            }
            Notice::LaunchFailed { id, errno, pause } => {
                let why = nix::errno::Errno::from_raw(errno).desc();
                write!(f, "instance {id} could not be started: {why}, next try in {} ms", ms(pause))
            }
            Notice::Delayed { id, pause } => {
                write!(f, "instance {id} follows in {} ms", ms(pause))
            }
            Notice::LimitReached { limit, .. } => {
                let seconds = limit.window / 1_000_000_000;
                write!(f, "restart limit reached ({} within {seconds} s), giving up", limit.restarts)
            }
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Status::Exited(code) => write!(f, "exited {code}"),
            Status::Killed { signal, core } => {
                write!(f, "died of {}{}", Name(signal), if core { " (core dumped)" } else { "" })
            }
            Status::Unknown => f.write_str("ended, its exit status is unknown"),
        }
    }
}

/// A signal by its name, SIGTERM and the like.
struct Name(i32);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match nix::sys::signal::Signal::try_from(self.0) {
            Ok(signal) => f.write_str(signal.as_str()),
            Err(_) => write!(f, "signal {}", self.0),
        }
    }
}
