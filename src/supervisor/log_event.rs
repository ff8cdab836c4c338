//! What the supervisor tells the operator: one line per recovery step.

#![forbid(unsafe_code)]

use std::fmt;

use crate::log::{Entry, Priority};
use crate::settings::RestartLimit;
use crate::sys::process::ExitStatus;

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
pub enum Delivery {
    /// The supervisor passed it on.
    Forwarded,
    /// The terminal sent it to both.
    ByTerminal,
    /// Not by the supervisor: SAM_FORWARD_SIGNALS is 0.
    Withheld,
}

/// One step of a recovery. Times in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogEvent {
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
    KilledAfterHangSignal {
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
    SignalRefused {
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
    ToldToEnd {
        /// Number of the instance.
        id: u32,
        /// Its pid.
        pid: i32,
        /// The signal.
        signal: i32,
        /// How it came to the instance.
        delivery: Delivery,
    },
    /// A signal that arrived while there was no instance was never passed on.
    SignalDropped {
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
    QuorumWarning {
        /// Number of the instance.
        id: u32,
        /// Its pid.
        pid: i32,
        /// The signal.
        signal: i32,
    },
    /// It neither stopped nor ended in time; it was sent SIGKILL.
    KilledForQuorum {
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
        status: ExitStatus,
        /// What the supervisor had against it.
        reason: Option<Reason>,
    },
    /// The instance exited with 0, and a process that it forked may go on in its place.
    MayHaveDaemonized {
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
    OutOfReach {
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

impl LogEvent {
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
            LogEvent::Lost { status: ExitStatus::Exited(0), reason: None, .. } => Priority::Info,
            LogEvent::Recovered { .. }
            | LogEvent::Restarted { .. }
            | LogEvent::MayHaveDaemonized { .. }
            | LogEvent::Adopted { .. }
            | LogEvent::Delayed { .. }
            | LogEvent::Traced { .. }
            | LogEvent::GroupEnded { left: 0, .. }
            | LogEvent::ToldToEnd { .. }
            | LogEvent::QuorumBack
            | LogEvent::CorosyncBack => Priority::Notice,
            LogEvent::Warned { .. }
            | LogEvent::Unhealthy { .. }
            | LogEvent::GroupEnded { .. }
            | LogEvent::SignalDropped { .. }
            | LogEvent::QuorumWarning { .. }
            | LogEvent::QuorumLost
            | LogEvent::CorosyncLost
            | LogEvent::CorosyncStalled { .. } => Priority::Warning,
            LogEvent::Killed { .. }
            | LogEvent::KilledAfterHangSignal { .. }
            | LogEvent::KilledForQuorum { .. }
            | LogEvent::SignalRefused { .. }
            | LogEvent::Lost { .. }
            | LogEvent::LaunchFailed { .. }
            | LogEvent::OutOfReach { .. }
            | LogEvent::NoMoreProcesses { .. }
            | LogEvent::LimitReached { .. } => Priority::Error,
        }
    }

    fn step(&self) -> &'static str {
        match self {
            LogEvent::Warned { .. } | LogEvent::Unhealthy { .. } | LogEvent::QuorumWarning { .. } => "warned",
            LogEvent::Recovered { .. } => "recovered",
            LogEvent::Killed { .. }
            | LogEvent::KilledAfterHangSignal { .. }
            | LogEvent::KilledForQuorum { .. } => "killed",
            LogEvent::QuorumLost => "quorum-lost",
            LogEvent::QuorumBack => "quorum-back",
            LogEvent::CorosyncLost | LogEvent::CorosyncStalled { .. } => "corosync-lost",
            LogEvent::CorosyncBack => "corosync-back",
            LogEvent::Traced { traced: true, .. } => "held",
            LogEvent::Traced { traced: false, .. } => "released",
            LogEvent::GroupEnded { .. } => "group-ended",
            LogEvent::SignalRefused { .. } => "refused",
            LogEvent::ToldToEnd { .. } => "final",
            LogEvent::SignalDropped { .. } => "signal-dropped",
            LogEvent::Lost { .. } => "lost",
            LogEvent::Restarted { .. } => "restarted",
            LogEvent::LaunchFailed { .. } | LogEvent::Delayed { .. } => "delayed",
            LogEvent::MayHaveDaemonized { .. } => "left",
            LogEvent::Adopted { .. } => "adopted",
            LogEvent::LimitReached { .. }
            | LogEvent::OutOfReach { .. }
            | LogEvent::NoMoreProcesses { .. } => "gave-up",
        }
    }

    fn instance(&self) -> Option<u32> {
        match *self {
            LogEvent::Warned { id, .. }
            | LogEvent::Unhealthy { id, .. }
            | LogEvent::Recovered { id, .. }
            | LogEvent::Killed { id, .. }
            | LogEvent::KilledAfterHangSignal { id, .. }
            | LogEvent::Traced { id, .. }
            | LogEvent::GroupEnded { id, .. }
            | LogEvent::SignalRefused { id, .. }
            | LogEvent::ToldToEnd { id, .. }
            | LogEvent::SignalDropped { id, .. }
            | LogEvent::Lost { id, .. }
            | LogEvent::Restarted { id, .. }
            | LogEvent::LaunchFailed { id, .. }
            | LogEvent::Delayed { id, .. }
            | LogEvent::LimitReached { id, .. }
            | LogEvent::MayHaveDaemonized { id, .. }
            | LogEvent::Adopted { id, .. }
            | LogEvent::OutOfReach { id, .. }
            | LogEvent::NoMoreProcesses { id }
            | LogEvent::QuorumWarning { id, .. }
            | LogEvent::KilledForQuorum { id, .. } => Some(id),
            LogEvent::QuorumLost
            | LogEvent::QuorumBack
            | LogEvent::CorosyncLost
            | LogEvent::CorosyncBack
            | LogEvent::CorosyncStalled { .. } => None,
        }
    }

    fn pid(&self) -> Option<i32> {
        match *self {
            LogEvent::Warned { pid, .. }
            | LogEvent::Unhealthy { pid, .. }
            | LogEvent::Recovered { pid, .. }
            | LogEvent::Killed { pid, .. }
            | LogEvent::KilledAfterHangSignal { pid, .. }
            | LogEvent::Traced { pid, .. }
            | LogEvent::SignalRefused { pid, .. }
            | LogEvent::ToldToEnd { pid, .. }
            | LogEvent::Lost { pid, .. }
            | LogEvent::Restarted { pid, .. }
            | LogEvent::MayHaveDaemonized { pid, .. }
            | LogEvent::Adopted { pid, .. }
            | LogEvent::QuorumWarning { pid, .. }
            | LogEvent::KilledForQuorum { pid, .. } => Some(pid),
            LogEvent::OutOfReach { pid, .. } => Some(pid).filter(|&pid| pid != 0),
            _ => None,
        }
    }

    fn reason(&self) -> Option<&'static str> {
        match self {
            LogEvent::Warned { .. } | LogEvent::Killed { .. } | LogEvent::KilledAfterHangSignal { .. } => {
                Some("silent")
            }
            LogEvent::Traced { .. } => Some("debugger"),
            LogEvent::Unhealthy { .. } => Some("unhealthy"),
            LogEvent::Lost { status, reason, .. } => Some(match (reason, status) {
                (Some(Reason::Silent), _) => "silent",
                (Some(Reason::Unhealthy), _) => "unhealthy",
                (Some(Reason::NoQuorum), _) => "no-quorum",
                (None, ExitStatus::Exited(_)) => "exited",
                (None, ExitStatus::Killed { .. }) => "signal",
                (None, ExitStatus::Unknown) => "unknown",
            }),
            LogEvent::ToldToEnd { .. } | LogEvent::SignalDropped { .. } => Some("signal"),
            LogEvent::LaunchFailed { .. } => Some("fork"),
            LogEvent::LimitReached { .. } => Some("restart-limit"),
            LogEvent::OutOfReach { .. } => Some("not-a-child"),
            LogEvent::NoMoreProcesses { .. } => Some("pid-namespace"),
            LogEvent::QuorumWarning { .. } | LogEvent::KilledForQuorum { .. } => Some("no-quorum"),
            _ => None,
        }
    }
}

/// ns as ms.
fn ms(ns: u64) -> u64 {
    ns / 1_000_000
}

impl fmt::Display for LogEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            LogEvent::Warned { id, pid, silent, limit, signal } => {
                write!(f, "instance {id} (pid {pid}) silent for {} ms (limit {}), ", ms(silent), ms(limit))?;
                if signal == 0 {
                    f.write_str("no warning wanted")
                } else {
                    write!(f, "sent {}", SignalName(signal))
                }
            }
            LogEvent::Unhealthy { id, pid } => {
                write!(f, "instance {id} (pid {pid}) failed its health check and warned itself")
            }
            LogEvent::Recovered { id, pid, silent, .. } => {
                write!(f, "instance {id} (pid {pid}) recovered, silent for {} ms at most", ms(silent))
            }
            LogEvent::Killed { id, pid, silent, signal } => {
                let silent = ms(silent);
                write!(f, "instance {id} (pid {pid}) silent for {silent} ms in spite of the warning, ")?;
                if signal == libc::SIGKILL {
                    f.write_str("killed")
                } else {
                    write!(f, "sent {}", SignalName(signal))
                }
            }
            LogEvent::KilledAfterHangSignal { id, pid, dumping } => {
                let dumped = if dumping { ", its core file cut short" } else { "" };
                write!(f, "instance {id} (pid {pid}) did not end in time, killed{dumped}")
            }
            LogEvent::Traced { id, pid, traced: true } => {
                write!(f, "instance {id} (pid {pid}) is traced by a debugger, health checks held")
            }
            LogEvent::Traced { id, pid, traced: false } => {
                write!(f, "instance {id} (pid {pid}) is traced no more, health checks go on")
            }
            LogEvent::SignalRefused { id, pid, signal, errno } => {
                let why = nix::errno::Errno::from_raw(errno).desc();
                write!(f, "instance {id} (pid {pid}) cannot be sent {}: {why}", SignalName(signal))?;
                if signal == libc::SIGKILL { f.write_str(", tried again") } else { Ok(()) }
            }
            LogEvent::ToldToEnd { id, pid, signal, delivery } => {
                let name = SignalName(signal);
                match delivery {
                    Delivery::Forwarded => write!(f, "{name} passed on to instance {id} (pid {pid})"),
                    Delivery::ByTerminal => {
                        write!(f, "{name} sent to instance {id} (pid {pid}) by the terminal")
                    }
                    Delivery::Withheld => write!(f, "{name} not passed on to instance {id} (pid {pid})"),
                }?;
                f.write_str(", no restart will follow")
            }
            LogEvent::SignalDropped { id, signal } => {
                write!(
                    f,
                    "{} for instance {id} dropped, it arrived while there was no instance",
                    SignalName(signal)
                )
            }
            LogEvent::GroupEnded { id, ended, left } => {
                let processes = |number| if number == 1 { "process" } else { "processes" };
                write!(f, "ended {ended} {} that instance {id} left behind", processes(ended))?;
                if left > 0 {
                    write!(f, ", {left} {} could not be ended", processes(left))?;
                }
                Ok(())
            }
            LogEvent::QuorumWarning { id, pid, signal } => {
                write!(f, "instance {id} (pid {pid}) must not run without quorum, ")?;
                if signal == 0 {
                    f.write_str("no warning wanted")
                } else {
                    write!(f, "sent {}", SignalName(signal))
                }
            }
            LogEvent::KilledForQuorum { id, pid } => {
                write!(f, "instance {id} (pid {pid}) ran on without quorum, killed")
            }
            LogEvent::QuorumLost => f.write_str("quorum lost"),
            LogEvent::QuorumBack => f.write_str("quorum regained"),
            LogEvent::CorosyncLost => f.write_str("corosync lost"),
            LogEvent::CorosyncBack => f.write_str("corosync is back"),
            LogEvent::CorosyncStalled { silent } => {
                write!(f, "corosync has not answered for {} ms, asked anew", ms(silent))
            }
            LogEvent::Lost { id, pid, status, reason } => {
                write!(f, "instance {id} (pid {pid}) {status}")?;
                match reason {
                    None => Ok(()),
                    Some(Reason::Silent) => f.write_str(" after its silence"),
                    Some(Reason::NoQuorum) => f.write_str(" for want of quorum"),
                    Some(Reason::Unhealthy) => f.write_str(" after it failed its health check"),
                }
            }
            LogEvent::MayHaveDaemonized { id, pid } => {
                write!(
                    f,
                    "instance {id} (pid {pid}) exited 0, a process that it forked may go on in its place"
                )
            }
            LogEvent::Adopted { id, pid, before } => {
                write!(f, "instance {id} (pid {before}) exited 0 and goes on in pid {pid}, which it forked")
            }
            LogEvent::OutOfReach { id, pid } => {
                write!(f, "instance {id} exited 0 and goes on in a process that cannot be supervised")?;
                if pid != 0 {
                    write!(f, " (pid {pid})")?;
                }
                f.write_str(", giving up")
            }
            LogEvent::NoMoreProcesses { id } => {
                write!(
                    f,
                    "instance {id} cannot be started: process 1 of its PID namespace has ended, giving up"
                )
            }
            LogEvent::Restarted { id, pid, took } => {
                let tenths = took / 100_000;
                write!(f, "restarted as instance {id} (pid {pid}) in {}.{} ms", tenths / 10, tenths % 10)
            }
            LogEvent::LaunchFailed { id, errno, pause } => {
                let why = nix::errno::Errno::from_raw(errno).desc();
                write!(f, "instance {id} could not be started: {why}, next try in {} ms", ms(pause))
            }
            LogEvent::Delayed { id, pause } => {
                write!(f, "instance {id} follows in {} ms", ms(pause))
            }
            LogEvent::LimitReached { limit, .. } => {
                let seconds = limit.window / 1_000_000_000;
                write!(f, "restart limit reached ({} within {seconds} s), giving up", limit.restarts)
            }
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ExitStatus::Exited(code) => write!(f, "exited {code}"),
            ExitStatus::Killed { signal, core } => {
                write!(f, "died of {}{}", SignalName(signal), if core { " (core dumped)" } else { "" })
            }
            ExitStatus::Unknown => f.write_str("ended, its exit status is unknown"),
        }
    }
}

/// A signal by its name, SIGTERM and the like.
struct SignalName(i32);

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match nix::sys::signal::Signal::try_from(self.0) {
            Ok(signal) => f.write_str(signal.as_str()),
            Err(_) => write!(f, "signal {}", self.0),
        }
    }
}
