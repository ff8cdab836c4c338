//! The log lines of the supervisor: one for each step of a recovery.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::log::{Entry, Priority};
use crate::settings::RestartLimit;
use crate::sys::process::ExitStatus;
use crate::sys::signals::Signal;
use crate::time::MonotonicTime;

/// The reason why the supervisor warned or ended an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The instance sent no heartbeat for longer than the interval.
    Silent,
    /// The health check of the instance returned "unhealthy".
    Unhealthy,
    /// The cluster partition lost quorum.
    NoQuorum,
}

/// The way of a signal from the supervisor, which received it, to the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The supervisor forwarded the signal to the instance.
    Forwarded,
    /// The terminal sent the signal to the supervisor and to the instance.
    ByTerminal,
    /// The supervisor did not pass the signal on, because SAM_FORWARD_SIGNALS is 0.
    Withheld,
}

/// One step of a recovery, which becomes one line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEvent {
    /// The id of the instance that the event is about, if there is one.
    pub id: Option<u32>,
    /// The pid of that instance, where it is known.
    pub pid: Option<Pid>,
    /// The kind of step.
    pub kind: Kind,
}

/// The kinds of steps of a recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The instance was silent for too long and was sent the warning signal, if it has one.
    Warned {
        /// The time since the last heartbeat.
        silent: Duration,
        /// The longest silence that is allowed: the interval.
        limit: Duration,
        /// The warning signal that was sent. `None`: the program wants no warning.
        signal: Option<Signal>,
    },
    /// The callback of the instance returned "unhealthy", and the instance warned itself.
    Unhealthy,
    /// A heartbeat arrived after the warning, so the instance is not killed.
    Recovered {
        /// The time between the last heartbeat before the warning and this one.
        silent: Duration,
        /// The time at which the supervisor warned the instance.
        at: MonotonicTime,
    },
    /// No heartbeat came after the warning. The instance was sent SIGKILL, or the signal for a hang.
    Killed {
        /// The time since the last heartbeat.
        silent: Duration,
        /// The signal that was sent: SIGKILL, or the signal of SAM_HANG_SIGNAL.
        signal: Signal,
    },
    /// The instance did not end in time after the signal for a hang, and was sent SIGKILL.
    KilledAfterHangSignal {
        /// The kernel was still writing the core file.
        dumping: bool,
    },
    /// The watchdog of the service manager got no sign of life from the supervisor in time. The instance was sent
    /// SIGTERM, and no restart follows.
    Aborted,
    /// The instance did not end in time after `Aborted`, and was sent SIGKILL.
    KilledAfterAbort,
    /// A debugger began to trace the instance, or detached from it.
    Traced {
        /// `true` if a debugger began to trace the instance, `false` if it detached.
        traced: bool,
    },
    /// The kernel refused to send the instance a signal.
    SignalRefused {
        /// The signal that the kernel refused to send.
        signal: Signal,
        /// The error with which the kernel refused.
        errno: Errno,
    },
    /// The program was told to end by a signal: no restart follows the end of this instance.
    ToldToEnd {
        /// The signal by which the program was told to end.
        signal: Signal,
        /// The way of the signal to the instance.
        delivery: Delivery,
    },
    /// A signal that arrived while there was no instance was never passed on.
    SignalDropped {
        /// The signal that no instance received.
        signal: Signal,
    },
    /// Processes that a dead instance left behind were ended.
    GroupEnded {
        /// The number of processes that the supervisor has ended.
        ended: usize,
        /// The number of processes that could not be ended.
        left: usize,
    },
    /// Quorum was lost while the instance was started. The instance was sent the warning signal, if it has one.
    QuorumWarning {
        /// The warning signal that was sent. `None`: the program wants no warning.
        signal: Option<Signal>,
    },
    /// The instance neither stopped nor ended in time after the loss of quorum, and was sent SIGKILL.
    KilledForQuorum,
    /// The cluster partition is not quorate any more.
    QuorumLost,
    /// The cluster partition is quorate again.
    QuorumBack,
    /// corosync cannot be reached any more.
    CorosyncLost,
    /// corosync can be reached again.
    CorosyncBack,
    /// corosync blocked the cluster helper for too long. The helper was killed, and will be started again.
    CorosyncStalled {
        /// The time since the last sign of life of the helper.
        silent: Duration,
    },
    /// The instance has ended, for any reason.
    Lost {
        /// The exit status of the instance.
        status: ExitStatus,
        /// The reason for which the supervisor had warned or killed the instance. `None` if it had done neither.
        reason: Option<Reason>,
    },
    /// The instance exited with 0, and a process that it forked may go on in its place.
    MayHaveDaemonized,
    /// The instance exited with 0, and a process that it forked is the instance from now on. The pid of the event is
    /// that of the process.
    Adopted {
        /// The pid of the instance that exited.
        before: Pid,
    },
    /// The instance exited with 0, and the program goes on in a process that cannot be supervised. The pid of the event
    /// is that of the process.
    OutOfReach,
    /// The next instance cannot be made, because the first process of the PID namespace of the instances has ended.
    NoMoreProcesses,
    /// The supervisor has made the next instance.
    Restarted {
        /// The time since the supervisor noticed the loss.
        took: Duration,
    },
    /// The kernel refused to make the next instance.
    LaunchFailed {
        /// The error of fork(2).
        errno: Errno,
        /// The pause before the next try.
        pause: Duration,
    },
    /// The next instance is made after a pause.
    Delayed {
        /// The pause before the restart.
        pause: Duration,
    },
    /// The supervisor gives up, because there were too many restarts.
    LimitReached {
        /// The limit on restarts that was reached.
        limit: RestartLimit,
    },
}

impl LogEvent {
    /// Returns an event that is about no instance.
    pub const fn of_cluster(kind: Kind) -> LogEvent {
        LogEvent { id: None, pid: None, kind }
    }

    /// Returns the event as an entry of the log.
    pub fn entry(&self) -> Entry {
        let (priority, step, reason) = self.kind.class();
        let mut fields = vec![("STEP", step.to_owned())];
        fields.extend(self.id.map(|id| ("INSTANCE", id.to_string())));
        fields.extend(self.pid.map(|pid| ("PID", pid.to_string())));
        fields.extend(reason.map(|reason| ("REASON", reason.to_owned())));
        Entry { priority, text: self.to_string(), fields }
    }
}

impl Kind {
    /// Returns how much the event matters, and the values of the journal fields SAM_STEP and SAM_REASON.
    fn class(&self) -> (Priority, &'static str, Option<&'static str>) {
        use Priority::{Error, Info, Notice, Warning};
        match self {
            Kind::Warned { .. } => (Warning, "warned", Some("silent")),
            Kind::Unhealthy => (Warning, "warned", Some("unhealthy")),
            Kind::QuorumWarning { .. } => (Warning, "warned", Some("no-quorum")),
            Kind::Recovered { .. } => (Notice, "recovered", None),
            Kind::Killed { .. } | Kind::KilledAfterHangSignal { .. } => (Error, "killed", Some("silent")),
            Kind::KilledForQuorum => (Error, "killed", Some("no-quorum")),
            Kind::Aborted => (Error, "aborted", Some("watchdog")),
            Kind::KilledAfterAbort => (Error, "killed", Some("watchdog")),
            Kind::Traced { traced: true } => (Notice, "held", Some("debugger")),
            Kind::Traced { traced: false } => (Notice, "released", Some("debugger")),
            Kind::SignalRefused { .. } => (Error, "refused", None),
            Kind::ToldToEnd { .. } => (Notice, "final", Some("signal")),
            Kind::SignalDropped { .. } => (Warning, "signal-dropped", Some("signal")),
            Kind::GroupEnded { left: 0, .. } => (Notice, "group-ended", None),
            Kind::GroupEnded { .. } => (Warning, "group-ended", None),
            Kind::QuorumLost => (Warning, "quorum-lost", None),
            Kind::QuorumBack => (Notice, "quorum-back", None),
            Kind::CorosyncLost | Kind::CorosyncStalled { .. } => (Warning, "corosync-lost", None),
            Kind::CorosyncBack => (Notice, "corosync-back", None),
            Kind::Lost { status: ExitStatus::Exited(0), reason: None } => (Info, "lost", Some("exited")),
            Kind::Lost { status, reason } => (Error, "lost", Some(cause(*status, *reason))),
            Kind::MayHaveDaemonized => (Notice, "left", None),
            Kind::Adopted { .. } => (Notice, "adopted", None),
            Kind::OutOfReach => (Error, "gave-up", Some("not-a-child")),
            Kind::NoMoreProcesses => (Error, "gave-up", Some("pid-namespace")),
            Kind::Restarted { .. } => (Notice, "restarted", None),
            Kind::LaunchFailed { .. } => (Error, "delayed", Some("fork")),
            Kind::Delayed { .. } => (Notice, "delayed", None),
            Kind::LimitReached { .. } => (Error, "gave-up", Some("restart-limit")),
        }
    }
}

/// Returns the value of SAM_REASON for the end of an instance.
fn cause(status: ExitStatus, reason: Option<Reason>) -> &'static str {
    match (reason, status) {
        (Some(Reason::Silent), _) => "silent",
        (Some(Reason::Unhealthy), _) => "unhealthy",
        (Some(Reason::NoQuorum), _) => "no-quorum",
        (None, ExitStatus::Exited(_)) => "exited",
        (None, ExitStatus::Killed { .. }) => "signal",
        (None, ExitStatus::Unknown) => "unknown",
    }
}

impl fmt::Display for LogEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = Subject(self.id, self.pid);
        let id_alone = Subject(self.id, None);
        match self.kind {
            Kind::Warned { silent, limit, signal } => {
                let (silent, limit) = (silent.as_millis(), limit.as_millis());
                write!(f, "{subject} silent for {silent} ms (limit {limit}), {}", Warning(signal))
            }
            Kind::Unhealthy => write!(f, "{subject} failed its health check and warned itself"),
            Kind::Recovered { silent, .. } => {
                write!(f, "{subject} recovered, silent for {} ms at most", silent.as_millis())
            }
            Kind::Killed { silent, signal } => {
                write!(f, "{subject} silent for {} ms in spite of the warning, ", silent.as_millis())?;
                if signal == Signal::KILL { f.write_str("killed") } else { write!(f, "sent {signal}") }
            }
            Kind::KilledAfterHangSignal { dumping } => {
                let dumped = if dumping { ", its core file cut short" } else { "" };
                write!(f, "{subject} did not end in time, killed{dumped}")
            }
            Kind::Aborted => {
                write!(f, "aborted by the service manager's watchdog, SIGTERM sent to {subject}, ")?;
                f.write_str("no restart will follow")
            }
            Kind::KilledAfterAbort => write!(f, "{subject} did not end in time, killed"),
            Kind::Traced { traced: true } => {
                write!(f, "{subject} is traced by a debugger, health checks held")
            }
            Kind::Traced { traced: false } => write!(f, "{subject} is traced no more, health checks go on"),
            Kind::SignalRefused { signal, errno } => {
                let again = if signal == Signal::KILL { ", tried again" } else { "" };
                write!(f, "{subject} cannot be sent {signal}: {}{again}", errno.desc())
            }
            Kind::ToldToEnd { signal, delivery } => {
                match delivery {
                    Delivery::Forwarded => write!(f, "{signal} passed on to {subject}"),
                    Delivery::ByTerminal => write!(f, "{signal} sent to {subject} by the terminal"),
                    Delivery::Withheld => write!(f, "{signal} not passed on to {subject}"),
                }?;
                f.write_str(", no restart will follow")
            }
            Kind::SignalDropped { signal } => {
                write!(f, "{signal} for {subject} dropped, it arrived while there was no instance")
            }
            Kind::GroupEnded { ended, left } => {
                let processes = |number| if number == 1 { "process" } else { "processes" };
                write!(f, "ended {ended} {} that {subject} left behind", processes(ended))?;
                if left > 0 {
                    write!(f, ", {left} {} could not be ended", processes(left))?;
                }
                Ok(())
            }
            Kind::QuorumWarning { signal } => {
                write!(f, "{subject} must not run without quorum, {}", Warning(signal))
            }
            Kind::KilledForQuorum => write!(f, "{subject} ran on without quorum, killed"),
            Kind::QuorumLost => f.write_str("quorum lost"),
            Kind::QuorumBack => f.write_str("quorum regained"),
            Kind::CorosyncLost => f.write_str("corosync lost"),
            Kind::CorosyncBack => f.write_str("corosync is back"),
            Kind::CorosyncStalled { silent } => {
                write!(f, "corosync has not answered for {} ms, asked anew", silent.as_millis())
            }
            Kind::Lost { status, reason } => {
                let after = match reason {
                    None => "",
                    Some(Reason::Silent) => " after its silence",
                    Some(Reason::NoQuorum) => " for want of quorum",
                    Some(Reason::Unhealthy) => " after it failed its health check",
                };
                write!(f, "{subject} {status}{after}")
            }
            Kind::MayHaveDaemonized => {
                write!(f, "{subject} exited 0, a process that it forked may go on in its place")
            }
            Kind::Adopted { before } => {
                let (before, pid) = (Subject(self.id, Some(before)), self.pid.map_or(0, Pid::as_raw));
                write!(f, "{before} exited 0 and goes on in pid {pid}, which it forked")
            }
            Kind::OutOfReach => {
                write!(f, "{id_alone} exited 0 and goes on in a process that cannot be supervised")?;
                if let Some(pid) = self.pid {
                    write!(f, " (pid {pid})")?;
                }
                f.write_str(", giving up")
            }
            Kind::NoMoreProcesses => {
                write!(f, "{subject} cannot be started: process 1 of its PID namespace has ended, giving up")
            }
            Kind::Restarted { took } => {
                let tenths = took.as_micros() / 100;
                write!(f, "restarted as {subject} in {}.{} ms", tenths / 10, tenths % 10)
            }
            Kind::LaunchFailed { errno, pause } => {
                let (why, pause) = (errno.desc(), pause.as_millis());
                write!(f, "{subject} could not be started: {why}, next try in {pause} ms")
            }
            Kind::Delayed { pause } => write!(f, "{subject} follows in {} ms", pause.as_millis()),
            Kind::LimitReached { limit } => {
                let (restarts, seconds) = (limit.restarts, limit.window.as_secs());
                write!(f, "restart limit reached ({restarts} within {seconds} s), giving up")
            }
        }
    }
}

/// The instance in a log line: `instance 4 (pid 456)`.
struct Subject(Option<u32>, Option<Pid>);

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instance {}", self.0.unwrap_or(0))?;
        self.1.map_or(Ok(()), |pid| write!(f, " (pid {pid})"))
    }
}

/// A warning signal, or the lack of one, as log lines print it.
struct Warning(Option<Signal>);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(signal) => write!(f, "sent {signal}"),
            None => f.write_str("no warning wanted"),
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ExitStatus::Exited(code) => write!(f, "exited {code}"),
            ExitStatus::Killed { signal, core } => {
                write!(f, "died of {signal}{}", if core { " (core dumped)" } else { "" })
            }
            ExitStatus::Unknown => f.write_str("ended, its exit status is unknown"),
        }
    }
}
