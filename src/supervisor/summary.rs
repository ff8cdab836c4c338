//! The state of a supervised program on one line.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

use nix::unistd::Pid;

use super::log_event::{Kind, LogEvent};

/// A summary of the supervised program: the living instance, the number of restarts and the last event. As one line it
/// is the status that `systemctl status` shows, and sam-status shows parts of it.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Id and pid of the instance that lives.
    instance: Option<(u32, Pid)>,
    launches: u64,
    /// The last event that the summary names, and the time since 1970.
    last: Option<(LogEvent, Duration)>,
    /// The logged event that says what the supervisor waits for while no instance lives, such as the end of a restart
    /// delay. `None` if it waits for nothing.
    awaited: Option<LogEvent>,
}

impl Summary {
    /// Records that the instance `id` was made.
    pub fn launched(&mut self, id: u32, pid: Pid) {
        self.instance = Some((id, pid));
        self.launches += 1;
        self.awaited = None;
    }

    /// Records an event that was logged at `since_1970`, the time since the beginning of 1970.
    pub fn note(&mut self, event: LogEvent, since_1970: Duration) {
        let instance = event.id.zip(event.pid);
        match event.kind {
            Kind::Restarted { .. } => self.launches += 1,
            Kind::GroupEnded { .. } | Kind::Delayed { .. } | Kind::LaunchFailed { .. } => {}
            Kind::MayHaveDaemonized { .. } | Kind::LimitReached { .. } => {}
            _ => self.last = Some((event, since_1970)),
        }
        match event.kind {
            Kind::Restarted { .. } | Kind::Adopted { .. } => (self.instance, self.awaited) = (instance, None),
            Kind::MayHaveDaemonized { .. } | Kind::Delayed { .. } | Kind::LaunchFailed { .. } => {
                (self.instance, self.awaited) = (None, Some(event));
            }
            Kind::LimitReached { .. } => self.awaited = Some(event),
            Kind::Lost { .. } => self.instance = None,
            _ => {}
        }
    }

    /// Returns the pid of the living instance, or `None` if no instance lives.
    pub fn pid(&self) -> Option<Pid> {
        self.instance.map(|(_, pid)| pid)
    }

    /// Returns the last event, and its time since the beginning of 1970. `None` if there was no event yet.
    pub fn last(&self) -> Option<(LogEvent, Duration)> {
        self.last
    }

    /// Returns how many instances were made after the first.
    pub fn restarts(&self) -> u64 {
        self.launches.saturating_sub(1)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.instance, self.awaited) {
            (Some((id, pid)), _) => write!(f, "instance {id} (pid {pid})")?,
            (None, Some(awaited)) => write!(f, "{awaited}")?,
            (None, None) => f.write_str("no instance")?,
        }
        write!(f, ", {} restart{}", self.restarts(), if self.restarts() == 1 { "" } else { "s" })?;
        match &self.last {
            Some((last, _)) => write!(f, ", last: {last}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::ExitStatus;

    #[test]
    fn summary_names_the_instance_the_restarts_and_the_last_event() {
        let pid = |number| Some(Pid::from_raw(number));
        let mut summary = Summary::default();
        summary.launched(1, Pid::from_raw(70));
        assert_eq!(summary.to_string(), "instance 1 (pid 70), 0 restarts");
        let mut after = |id, pid, kind| {
            summary.note(LogEvent { id: Some(id), pid, kind }, Duration::from_secs(1));
            summary.to_string()
        };
        let lost = Kind::Lost { status: ExitStatus::Exited(3), reason: None, planned: false, restarts: true };
        assert_eq!(
            after(1, pid(70), lost),
            "no instance, 0 restarts, last: instance 1 (pid 70) exited 3 and is restarted",
            "while the next is made"
        );
        assert_eq!(
            after(2, None, Kind::Delayed { pause: Duration::from_millis(250) }),
            "instance 2 is started in 250 ms (restart delay), 0 restarts, last: instance 1 (pid 70) exited 3 and is restarted"
        );
        assert_eq!(
            after(2, pid(71), Kind::Restarted { took: Duration::from_nanos(1) }),
            "instance 2 (pid 71), 1 restart, last: instance 1 (pid 70) exited 3 and is restarted"
        );
    }
}
