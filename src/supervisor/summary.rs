//! How it stands with a supervised program, on one line.

#![forbid(unsafe_code)]

use std::fmt;

use super::log_event::LogEvent;

/// The instance of the moment, and how it came to be.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Number and pid of the instance that lives.
    instance: Option<(u32, i32)>,
    launches: u64,
    /// The last thing of note that happened to an instance, and when in ns since 1970.
    last: Option<(String, u64)>,
    /// What is being waited for while there is no instance.
    awaited: Option<LogEvent>,
}

impl Summary {
    /// Instance `id` was made.
    pub fn launched(&mut self, id: u32, pid: i32) {
        self.instance = Some((id, pid));
        self.launches += 1;
        self.awaited = None;
    }

    /// Takes note of what happened at `time` ns since 1970.
    pub fn note(&mut self, event: LogEvent, time: u64) {
        match event {
            LogEvent::Restarted { id, pid, .. } => self.launched(id, pid),
            LogEvent::GroupEnded { .. } => {}
            LogEvent::Adopted { id, pid, .. } => {
                self.instance = Some((id, pid));
                self.awaited = None;
                self.last = Some((event.to_string(), time));
            }
            LogEvent::MayHaveDaemonized { .. } => {
                self.instance = None;
                self.awaited = Some(event);
            }
            LogEvent::Delayed { .. } | LogEvent::LaunchFailed { .. } => {
                self.instance = None;
                self.awaited = Some(event);
            }
            LogEvent::LimitReached { .. } => self.awaited = Some(event),
            LogEvent::Lost { .. } => {
                self.instance = None;
                self.last = Some((event.to_string(), time));
            }
            _ => self.last = Some((event.to_string(), time)),
        }
    }

    /// The pid of the instance that lives.
    pub fn pid(&self) -> Option<i32> {
        self.instance.map(|(_, pid)| pid)
    }

    /// The last thing of note that happened to an instance, and when in ns since 1970.
    pub fn last(&self) -> Option<(&str, u64)> {
        self.last.as_ref().map(|(last, time)| (last.as_str(), *time))
    }

    /// How many instances were made after the first.
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
    fn it_names_the_instance_its_predecessors_and_what_happened_last() {
        let mut summary = Summary::default();
        summary.launched(1, 70);
        assert_eq!(summary.to_string(), "instance 1 (pid 70), 0 restarts");
        summary.note(LogEvent::Lost { id: 1, pid: 70, status: ExitStatus::Exited(3), reason: None }, 1);
        assert_eq!(
            summary.to_string(),
            "no instance, 0 restarts, last: instance 1 (pid 70) exited 3",
            "while the next is made"
        );
        summary.note(LogEvent::Delayed { id: 2, pause: 250_000_000 }, 1);
        assert_eq!(
            summary.to_string(),
            "instance 2 follows in 250 ms, 0 restarts, last: instance 1 (pid 70) exited 3"
        );
        summary.note(LogEvent::Restarted { id: 2, pid: 71, took: 1 }, 1);
        assert_eq!(summary.to_string(), "instance 2 (pid 71), 1 restart, last: instance 1 (pid 70) exited 3");
    }
}
