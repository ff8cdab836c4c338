//! The log lines of the supervisor: one for each step of a recovery.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::machine::{ABORT_GRACE, Rules};
use crate::log::{Entry, Priority, Step};
use crate::policy::Policy;
use crate::settings::RestartLimit;
use crate::sys::process::ExitStatus;
use crate::sys::signals::Signal;
use crate::time::MonotonicTime;

/// The version of this library, as log lines print it.
const VERSION: &str = env!("CARGO_PKG_VERSION");

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

/// The manner in which a signal that the supervisor received gets to the instance: forwarded by the supervisor, sent by
/// the terminal, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The supervisor forwarded the signal to the instance.
    Forwarded,
    /// The terminal sent the signal to both the supervisor and the instance, so the supervisor does not forward it.
    ByTerminal,
    /// The supervisor did not pass the signal on, because SAM_FORWARD_SIGNALS is 0.
    Withheld,
    /// There is no instance: the signal arrived during the delay before a restart.
    NoInstance,
}

/// An event that the supervisor writes to the log as one line, such as the kill or the restart of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEvent {
    /// The id of the instance that the log line is about. `None` for events that concern corosync alone.
    pub id: Option<u32>,
    /// The pid of the instance that the log line is about. `None` if it is not known, or if there is no instance.
    pub pid: Option<Pid>,
    /// The event itself with its details, such as the kill or the restart of the instance.
    pub kind: Kind,
}

/// The events that the supervisor writes to the log. Each of them becomes one line, see [`LogEvent`].
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
        /// The signal that follows after a further interval without a heartbeat: SIGKILL, or the signal of
        /// SAM_HANG_SIGNAL.
        then: Signal,
    },
    /// The callback of the instance returned "unhealthy". The library in the instance has sent the instance its warning
    /// signal, so the supervisor sends none.
    Unhealthy {
        /// The time that is left to the instance until the supervisor sends it the signal `then`.
        after: Duration,
        /// The signal that follows unless the instance recovers: SIGKILL, or the signal of SAM_HANG_SIGNAL.
        then: Signal,
    },
    /// A heartbeat arrived after the warning, so the instance is not killed.
    Recovered {
        /// The time from the last heartbeat before the warning to the first heartbeat after it.
        silent: Duration,
        /// The time at which the supervisor warned the instance.
        at: MonotonicTime,
    },
    /// The instance sent no heartbeat for an interval after its warning. The supervisor sent it SIGKILL, or the signal
    /// of SAM_HANG_SIGNAL if that is set.
    Killed {
        /// The time from the last heartbeat of the instance until the supervisor sent the signal.
        silent: Duration,
        /// The signal that was sent: SIGKILL, or the signal of SAM_HANG_SIGNAL.
        signal: Signal,
        /// The time until SIGKILL follows the signal of SAM_HANG_SIGNAL. `None`: the signal was SIGKILL.
        grace: Option<Duration>,
    },
    /// The instance did not end in time after the signal of SAM_HANG_SIGNAL, and the supervisor sent it SIGKILL.
    KilledAfterHangSignal {
        /// The signal of SAM_HANG_SIGNAL.
        hang_signal: Signal,
        /// The time since the supervisor sent that signal.
        after: Duration,
        /// `true` if the kernel was still writing the core file of the instance when the supervisor sent SIGKILL. The
        /// file is incomplete then.
        dumping: bool,
    },
    /// The watchdog of the service manager got no sign of life from the supervisor in time. The instance was sent
    /// SIGTERM, and no restart follows.
    Aborted,
    /// The instance did not end in time after `Aborted`, and was sent SIGKILL.
    KilledAfterAbort,
    /// A debugger began to trace the instance, or ceased to trace it. Logged only if SAM_DEBUG_HOLD is set: then the
    /// supervisor checks no deadlines of a traced instance.
    Traced {
        /// `true` if a debugger began to trace the instance, `false` if it detached.
        traced: bool,
    },
    /// The kernel refused to send the instance a signal.
    SignalRefused {
        /// The signal that the kernel refused to send.
        signal: Signal,
        /// The error that the kernel returned for the signal to the instance, such as EPERM.
        errno: Errno,
    },
    /// The program was told to end by a signal: no restart follows the end of this instance.
    ToldToEnd {
        /// The signal by which the program was told to end.
        signal: Signal,
        /// The process that sent the signal, if it is known.
        sender: Option<Pid>,
        /// The manner in which the instance got the signal: from the supervisor, from the terminal, or not at all.
        delivery: Delivery,
    },
    /// A signal that arrived while no instance ran was never passed on.
    SignalDropped {
        /// The signal that arrived at the supervisor, and that no instance received.
        signal: Signal,
    },
    /// The supervisor has killed the processes that a dead instance left behind, because SAM_KILL_GROUP is set.
    GroupEnded {
        /// The number of processes that the dead instance had left behind and that the supervisor has ended.
        ended: usize,
        /// The number of processes that the dead instance had left behind and that did not end, or could not be sent
        /// SIGKILL.
        left: usize,
    },
    /// Quorum was lost while the instance was started. The instance was sent the warning signal, if it has one.
    QuorumWarning {
        /// The warning signal that was sent. `None`: the program wants no warning.
        signal: Option<Signal>,
        /// The time until SIGKILL follows, unless the instance stops or ends.
        after: Duration,
    },
    /// The instance neither stopped nor ended in time after the loss of quorum, and was sent SIGKILL.
    KilledForQuorum {
        /// The warning signal that was sent at the loss of quorum. `None`: the program wants no warning.
        warned_by: Option<Signal>,
        /// The time since the loss of quorum.
        after: Duration,
    },
    /// The cluster partition is not quorate any more.
    QuorumLost,
    /// The cluster partition is quorate again.
    QuorumBack,
    /// corosync cannot be reached any more.
    CorosyncLost {
        /// `true` if the recovery policy asks for quorum, and corosync cannot tell it any more. This is a loss of quorum.
        loses_quorum: bool,
    },
    /// corosync can be reached again.
    CorosyncBack,
    /// corosync blocked the cluster helper for too long. The helper was killed, and will be started again.
    CorosyncStalled {
        /// The time since the last sign of life of the helper.
        silent: Duration,
    },
    /// The instance has ended, for any reason: it exited, or a signal of the supervisor, of the kernel or of another
    /// process ended it.
    Lost {
        /// The exit status of the instance.
        status: ExitStatus,
        /// The reason for which the supervisor had warned or killed the instance. `None` if it had done neither.
        reason: Option<Reason>,
        /// The program was told to end, or had said that it would.
        planned: bool,
        /// `true` if the supervisor makes the next instance, `false` if the supervisor ends.
        restarts: bool,
    },
    /// The instance exited with 0, and a process that it forked may go on in its place.
    MayHaveDaemonized {
        /// The longest time that the supervisor waits for that process. `None`: no limit, while there is such a process.
        limit: Option<Duration>,
    },
    /// The instance exited with 0, and a process that it forked is the instance from now on. The pid in the
    /// [`LogEvent`] is the pid of that process.
    Adopted {
        /// The pid of the instance that exited.
        before: Pid,
    },
    /// The instance exited with 0, and the program goes on in a process that the supervisor cannot adopt, usually
    /// because it is not its child. The supervisor ends. The pid in the [`LogEvent`] is the pid of that process, where
    /// it is known.
    OutOfReach,
    /// The next instance cannot be made, because the first process of the PID namespace of the instances has ended.
    NoMoreProcesses,
    /// The supervisor has made the next instance.
    Restarted {
        /// The time from the moment when the supervisor noticed the end of the former instance until the new instance
        /// was made. A restart delay is part of it.
        took: Duration,
    },
    /// The next instance could not be made, usually because fork(2) failed. The supervisor tries again after a pause.
    LaunchFailed {
        /// The error of fork(2). ECHILD if a spare, a process forked in advance, ended before it took over as the
        /// instance.
        errno: Errno,
        /// The pause before the supervisor tries again to make the instance.
        pause: Duration,
    },
    /// The supervisor pauses before it makes the next instance, because SAM_RESTART_DELAY is set.
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
    /// Returns an event that is about quorum or corosync, and about no instance.
    pub const fn of_cluster(kind: Kind) -> LogEvent {
        LogEvent { id: None, pid: None, kind }
    }

    /// Returns the value of the field SAM_REASON, if the event has a reason.
    pub fn reason(&self) -> Option<&'static str> {
        self.kind.class().2
    }

    /// Returns the event as an entry of the log.
    pub fn entry(&self) -> Entry {
        let (priority, step, reason) = self.kind.class();
        let mut fields = Vec::with_capacity(MAX_FIELDS);
        fields.extend(self.id.map(|id| ("INSTANCE", id.to_string())));
        fields.extend(self.pid.map(|pid| ("PID", pid.to_string())));
        fields.extend(reason.map(|reason| ("REASON", reason.to_owned())));
        fields.extend(self.kind.signal().map(|signal| ("SIGNAL", signal.to_string())));
        match self.kind {
            Kind::Lost { status: ExitStatus::Exited(code), .. } => {
                fields.push(("EXIT_STATUS", code.to_string()));
            }
            Kind::Lost { status: ExitStatus::Killed { core, .. }, .. } => {
                fields.push(("CORE", u8::from(core).to_string()));
            }
            Kind::ToldToEnd { sender: Some(sender), .. } => fields.push(("SENDER_PID", sender.to_string())),
            _ => {}
        }
        Entry { priority, step, text: self.to_string(), fields }
    }
}

/// Returns the line with which a supervisor begins, whose first instance is `pid`.
pub fn started(rules: &Rules, pid: Pid) -> Entry {
    let Rules { recovery, quorum, cmap, interval, settings } = *rules;
    let policy = Policy { recovery, quorum, cmap };
    let mut text = format!("supervising {}: policy {policy}", Subject(Some(1), Some(pid)));
    text += &interval
        .map_or(", no interval".to_owned(), |interval| format!(", interval {} ms", interval.as_millis()));
    if let Some(limit) = settings.restart_limit {
        text += &format!(", at most {} restarts within {} s", limit.restarts, limit.window.as_secs());
    }
    if let Some(delay) = settings.restart_delay {
        text += &format!(", restart delay {}..{} ms", delay.first.as_millis(), delay.last.as_millis());
    }
    text += &format!(", libsam-rs {VERSION}");
    let fields = vec![
        ("INSTANCE", "1".to_owned()),
        ("PID", pid.to_string()),
        ("POLICY", policy.to_string()),
        ("INTERVAL_MS", interval.unwrap_or_default().as_millis().to_string()),
        ("VERSION", VERSION.to_owned()),
    ];
    Entry { priority: Priority::Info, step: Step::Started, text, fields }
}

/// Returns the line about threads of the program that were there at `sam_register`. They stay in the supervisor.
pub fn threads_left(threads: u64) -> Entry {
    let (were, do_not) = if threads == 1 { ("thread was", "does not") } else { ("threads were", "do not") };
    let text = format!(
        "{threads} {were} started before sam_register and {do_not} exist in the instances: the program should start \
         threads after sam_register"
    );
    let fields = vec![("THREADS", threads.to_string())];
    Entry { priority: Priority::Warning, step: Step::Threads, text, fields }
}

/// The number of fields of a log line, apart from those that every line has.
const MAX_FIELDS: usize = 8;

impl Kind {
    /// Returns the signal that the event is about, if there is one.
    fn signal(&self) -> Option<Signal> {
        match *self {
            Kind::Warned { signal, .. } | Kind::QuorumWarning { signal, .. } => signal,
            Kind::Killed { signal, .. } | Kind::SignalRefused { signal, .. } => Some(signal),
            Kind::ToldToEnd { signal, .. } | Kind::SignalDropped { signal } => Some(signal),
            Kind::Lost { status: ExitStatus::Killed { signal, .. }, .. } => Some(signal),
            Kind::KilledAfterHangSignal { .. } | Kind::KilledForQuorum { .. } => Some(Signal::KILL),
            Kind::KilledAfterAbort => Some(Signal::KILL),
            Kind::Aborted => Some(Signal::TERM),
            _ => None,
        }
    }

    /// Returns the priority of the log line, and the values of two fields in the systemd journal. SAM_STEP names the
    /// event, and SAM_REASON says why it happened, where that is not obvious.
    fn class(&self) -> (Priority, Step, Option<&'static str>) {
        use Priority::{Error, Info, Notice, Warning};
        match self {
            Kind::Warned { .. } => (Warning, Step::Warned, Some("silent")),
            Kind::Unhealthy { .. } => (Warning, Step::Warned, Some("unhealthy")),
            Kind::QuorumWarning { .. } => (Warning, Step::Warned, Some("no-quorum")),
            Kind::Recovered { .. } => (Notice, Step::Recovered, None),
            Kind::Killed { .. } | Kind::KilledAfterHangSignal { .. } => (Error, Step::Killed, Some("silent")),
            Kind::KilledForQuorum { .. } => (Error, Step::Killed, Some("no-quorum")),
            Kind::Aborted => (Error, Step::Aborted, Some("watchdog")),
            Kind::KilledAfterAbort => (Error, Step::Killed, Some("watchdog")),
            Kind::Traced { traced: true } => (Notice, Step::Held, Some("debugger")),
            Kind::Traced { traced: false } => (Notice, Step::Released, Some("debugger")),
            Kind::SignalRefused { .. } => (Error, Step::Refused, None),
            Kind::ToldToEnd { .. } => (Info, Step::Stopping, Some("signal")),
            Kind::SignalDropped { .. } => (Warning, Step::SignalDropped, Some("signal")),
            Kind::GroupEnded { left: 0, .. } => (Notice, Step::GroupEnded, None),
            Kind::GroupEnded { .. } => (Warning, Step::GroupEnded, None),
            Kind::QuorumLost => (Warning, Step::QuorumLost, None),
            Kind::QuorumBack => (Notice, Step::QuorumBack, None),
            Kind::CorosyncLost { .. } | Kind::CorosyncStalled { .. } => (Warning, Step::CorosyncLost, None),
            Kind::CorosyncBack => (Notice, Step::CorosyncBack, None),
            Kind::Lost { status, reason, planned: true, .. } => {
                (Info, Step::Stopped, Some(cause(*status, *reason)))
            }
            Kind::Lost { status, reason, .. } => (Error, Step::Lost, Some(cause(*status, *reason))),
            Kind::MayHaveDaemonized { .. } => (Notice, Step::Left, None),
            Kind::Adopted { .. } => (Notice, Step::Adopted, None),
            Kind::OutOfReach => (Error, Step::GaveUp, Some("not-a-child")),
            Kind::NoMoreProcesses => (Error, Step::GaveUp, Some("pid-namespace")),
            Kind::Restarted { .. } => (Notice, Step::Restarted, None),
            Kind::LaunchFailed { .. } => (Error, Step::Delayed, Some("fork")),
            Kind::Delayed { .. } => (Notice, Step::Delayed, None),
            Kind::LimitReached { .. } => (Error, Step::GaveUp, Some("restart-limit")),
        }
    }
}

/// Returns the value of the journal field SAM_REASON in the log line for the end of an instance. It is the reason for
/// which the supervisor warned or ended the instance, or else the way in which the instance ended.
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
            Kind::Warned { silent, limit, signal, then } => {
                let (silent, limit, warning) = (silent.as_millis(), limit.as_millis(), Warning(signal));
                write!(f, "{subject} silent for {silent} ms (limit {limit}), {warning}, ")?;
                write!(f, "{then} follows in {limit} ms without a heartbeat")
            }
            Kind::Unhealthy { after, then } => {
                write!(f, "{subject} failed its health check, ")?;
                write!(f, "{then} follows in {} ms unless it recovers", after.as_millis())
            }
            Kind::Recovered { silent, .. } => {
                write!(
                    f,
                    "{subject} recovered after at most {} ms of silence and runs on",
                    silent.as_millis()
                )
            }
            Kind::Killed { silent, signal, grace } => {
                let silent = silent.as_millis();
                write!(f, "{subject} still silent after {silent} ms, sent {signal}")?;
                grace.map_or(Ok(()), |grace| {
                    write!(f, " (SAM_HANG_SIGNAL), SIGKILL follows in {} ms", grace.as_millis())
                })
            }
            Kind::KilledAfterHangSignal { hang_signal, after, dumping } => {
                let after = after.as_millis();
                write!(f, "{subject} did not end within {after} ms after {hang_signal} (SAM_HANG_SIGNAL), ")?;
                let dumped = if dumping { ", its core file is incomplete (see SAM_HANG_GRACE)" } else { "" };
                write!(f, "sent SIGKILL{dumped}")
            }
            Kind::Aborted => {
                f.write_str("the service manager's watchdog sent SIGABRT to the late supervisor, ")?;
                write!(f, "which sent SIGTERM to {subject} and ends with it")
            }
            Kind::KilledAfterAbort => {
                let grace = ABORT_GRACE.as_secs();
                write!(f, "{subject} did not end within {grace} s after SIGTERM (watchdog), ")?;
                f.write_str("sent SIGKILL, the supervisor ends with it")
            }
            Kind::Traced { traced: true } => {
                write!(
                    f,
                    "{subject} is traced by a debugger, its heartbeats are not checked until that detaches"
                )?;
                f.write_str(" (SAM_DEBUG_HOLD)")
            }
            Kind::Traced { traced: false } => {
                write!(f, "{subject} is no longer traced by a debugger, its heartbeats are checked again")
            }
            Kind::SignalRefused { signal, errno } => {
                write!(f, "{subject} cannot be sent {signal}: {}", errno.desc())?;
                f.write_str(match errno {
                    Errno::EPERM => " (usually it runs as another user)",
                    // The limit of sigqueue(3).
                    Errno::EAGAIN => " (too many signals are pending)",
                    _ => "",
                })?;
                f.write_str(match signal {
                    Signal::KILL => ", it runs on, trying again",
                    _ => ", the signal is lost",
                })
            }
            Kind::ToldToEnd { signal, sender, delivery } => {
                write!(f, "stopping: {signal}")?;
                if let Some(sender) = sender {
                    write!(f, " from process {sender}")?;
                }
                match delivery {
                    Delivery::Forwarded => write!(f, " passed on to {subject}"),
                    Delivery::ByTerminal => write!(f, " sent to {subject} by the terminal"),
                    Delivery::Withheld => write!(f, " not passed on to {subject} (SAM_FORWARD_SIGNALS=0)"),
                    Delivery::NoInstance => {
                        return write!(
                            f,
                            " arrived while no instance ran, {subject} is not started, the supervisor ends"
                        );
                    }
                }?;
                f.write_str(", no restart will follow when it ends")
            }
            Kind::SignalDropped { signal } => {
                write!(f, "dropped {signal}: no instance was ready when it arrived, and none will get it")
            }
            Kind::GroupEnded { ended, left } => {
                let processes = |number| if number == 1 { "process" } else { "processes" };
                write!(f, "ended {ended} {} that {subject} left behind (SAM_KILL_GROUP)", processes(ended))?;
                if left > 0 {
                    write!(f, ", {left} {} could not be ended", processes(left))?;
                }
                Ok(())
            }
            Kind::QuorumWarning { signal, after } => {
                write!(f, "{subject} must not run without quorum, {}, ", Warning(signal))?;
                write!(f, "SIGKILL follows in {} ms unless it stops", after.as_millis())
            }
            Kind::KilledForQuorum { warned_by, after } => {
                write!(f, "{subject} still runs {} ms after the loss of quorum", after.as_millis())?;
                warned_by.map_or(Ok(()), |signal| write!(f, " and {signal}"))?;
                f.write_str(", sent SIGKILL")
            }
            Kind::QuorumLost => f.write_str(
                "quorum lost: a started instance has to stop, and sam_start waits until quorum is regained",
            ),
            Kind::QuorumBack => f.write_str("quorum regained: instances may start"),
            Kind::CorosyncLost { loses_quorum } => {
                f.write_str("connection to corosync lost, connecting again, ")?;
                f.write_str(if loses_quorum {
                    "it counts as a loss of quorum"
                } else {
                    "supervision goes on"
                })
            }
            Kind::CorosyncBack => f.write_str("connection to corosync regained"),
            Kind::CorosyncStalled { silent } => {
                let silent = silent.as_millis();
                write!(f, "no answer from corosync for {silent} ms, connecting again, supervision goes on")
            }
            Kind::Lost { status, reason, planned, restarts } => {
                let after = match reason {
                    None => "",
                    Some(Reason::Silent) => " after its silence",
                    Some(Reason::NoQuorum) => " after the loss of quorum",
                    Some(Reason::Unhealthy) => " after it failed its health check",
                };
                let stopped = if planned { "stopped: " } else { "" };
                let next = if restarts { " and is restarted" } else { ", the supervisor ends" };
                write!(f, "{stopped}{subject} {status}{after}{next}")
            }
            Kind::MayHaveDaemonized { limit } => {
                write!(f, "{subject} exited 0 and may have gone into the background, waiting ")?;
                limit.map_or(Ok(()), |limit| write!(f, "at most {} ms ", limit.as_millis()))?;
                f.write_str("for the process that goes on")
            }
            Kind::Adopted { before } => {
                let (before, pid) = (Subject(self.id, Some(before)), self.pid.map_or(0, Pid::as_raw));
                write!(
                    f,
                    "{before} went into the background: it exited 0, pid {pid} is supervised in its place"
                )
            }
            Kind::OutOfReach => {
                match self.pid {
                    Some(pid) => write!(f, "{id_alone} went into the background as pid {pid}, which runs on"),
                    None => write!(f, "{id_alone} exited 0 and may go on in another process"),
                }?;
                f.write_str(" without supervision, the supervisor ends (start it in the foreground)")
            }
            Kind::NoMoreProcesses => {
                write!(
                    f,
                    "{subject} cannot be started: process 1 of its PID namespace has ended, the supervisor ends"
                )
            }
            Kind::Restarted { took } => {
                let tenths = took.as_micros() / 100;
                write!(f, "restarted as {subject} in {}.{} ms", tenths / 10, tenths % 10)
            }
            Kind::LaunchFailed { errno, pause } => {
                let why = match errno {
                    Errno::EAGAIN => "Resource temporarily unavailable (usually a limit of processes)",
                    Errno::ECHILD => "the process that was forked for it in advance has ended",
                    errno => errno.desc(),
                };
                write!(f, "{subject} could not be started: {why}, next try in {} ms", pause.as_millis())
            }
            Kind::Delayed { pause } => {
                write!(f, "{subject} is started in {} ms (restart delay)", pause.as_millis())
            }
            Kind::LimitReached { limit } => {
                let (restarts, seconds) = (limit.restarts, limit.window.as_secs());
                write!(
                    f,
                    "restart limit reached ({restarts} restarts within {seconds} s), the supervisor ends"
                )
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
            None => f.write_str("no warning signal is set"),
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
            ExitStatus::Unknown => f.write_str("ended with an unknown exit status"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::status_page::{Status, Text};

    const PID: Pid = Pid::from_raw(456);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn about(id: u32, pid: i32, kind: Kind) -> LogEvent {
        LogEvent { id: Some(id), pid: (pid > 0).then(|| Pid::from_raw(pid)), kind }
    }

    fn told(id: u32, pid: i32, delivery: Delivery) -> LogEvent {
        let sender = Some(Pid::from_raw(1));
        about(id, pid, Kind::ToldToEnd { signal: Signal::TERM, sender, delivery })
    }

    fn lost(status: ExitStatus, planned: bool, restarts: bool) -> LogEvent {
        about(4, 456, Kind::Lost { status, reason: None, planned, restarts })
    }

    /// Returns the events that docs/log.md has an example of.
    fn examples() -> Vec<LogEvent> {
        let (term, abrt, kill) = (Signal::TERM, Signal::ABRT, Signal::KILL);
        let warned = Some(term);
        let silent = ms(4004);
        let limit = RestartLimit { restarts: 5, window: Duration::from_secs(60) };
        vec![
            told(4, 456, Delivery::Forwarded),
            told(5, 0, Delivery::NoInstance),
            lost(ExitStatus::Exited(0), true, false),
            lost(ExitStatus::Killed { signal: Signal::SEGV, core: true }, false, true),
            lost(ExitStatus::Exited(1), false, false),
            about(5, 460, Kind::Restarted { took: Duration::from_micros(400) }),
            about(5, 0, Kind::Delayed { pause: ms(100) }),
            about(5, 0, Kind::LaunchFailed { errno: Errno::EAGAIN, pause: ms(10) }),
            about(4, 0, Kind::LimitReached { limit }),
            about(4, 460, Kind::OutOfReach),
            about(5, 0, Kind::NoMoreProcesses),
            about(4, 456, Kind::Warned { silent: ms(2004), limit: ms(2000), signal: warned, then: kill }),
            about(4, 456, Kind::Unhealthy { after: ms(2000), then: kill }),
            about(4, 456, Kind::QuorumWarning { signal: warned, after: ms(2000) }),
            about(4, 456, Kind::Recovered { silent: ms(2100), at: MonotonicTime::from_ns(0) }),
            about(4, 456, Kind::Killed { silent, signal: kill, grace: None }),
            about(4, 456, Kind::Killed { silent, signal: abrt, grace: Some(ms(10_000)) }),
            about(
                4,
                456,
                Kind::KilledAfterHangSignal { hang_signal: abrt, after: ms(10_000), dumping: false },
            ),
            about(4, 456, Kind::KilledForQuorum { warned_by: warned, after: ms(2000) }),
            about(4, 456, Kind::KilledAfterAbort),
            about(4, 456, Kind::Aborted),
            about(4, 456, Kind::Traced { traced: true }),
            about(4, 456, Kind::Traced { traced: false }),
            about(4, 456, Kind::SignalRefused { signal: kill, errno: Errno::EPERM }),
            about(5, 0, Kind::SignalDropped { signal: Signal::from_number(libc::SIGUSR1).unwrap() }),
            about(4, 0, Kind::GroupEnded { ended: 2, left: 0 }),
            about(4, 0, Kind::GroupEnded { ended: 2, left: 1 }),
            about(4, 456, Kind::MayHaveDaemonized { limit: Some(ms(2000)) }),
            about(4, 460, Kind::Adopted { before: PID }),
            LogEvent::of_cluster(Kind::QuorumLost),
            LogEvent::of_cluster(Kind::QuorumBack),
            LogEvent::of_cluster(Kind::CorosyncLost { loses_quorum: true }),
            LogEvent::of_cluster(Kind::CorosyncLost { loses_quorum: false }),
            LogEvent::of_cluster(Kind::CorosyncStalled { silent: ms(5000) }),
            LogEvent::of_cluster(Kind::CorosyncBack),
        ]
    }

    #[test]
    fn documentation_shows_each_line_as_it_is_written() {
        let documentation = include_str!("../../docs/log.md");
        let entries = examples().into_iter().map(|event| event.entry());
        for Entry { priority, step, text, .. } in entries.chain([threads_left(2)]) {
            let priority = format!("{priority:?}").to_lowercase();
            let row = format!("| `{}` | {priority} | {text} |", step.name());
            assert!(documentation.contains(&row), "docs/log.md has no row {row}");
        }
    }

    #[test]
    fn lines_are_short_and_fit_on_the_status_page() {
        for event in examples() {
            let text = event.to_string();
            assert!(text.len() <= 140, "{} bytes: {text}", text.len());
            let status = Status { last: Text::of(event), ..Status::example() };
            assert_eq!(status.last.to_string(), text);
        }
    }
}
