//! The check command, which tells whether the program works.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, setpgid};
use sam_run::values::show_time;

use crate::agent::End;
use crate::program::Inherited;

/// A command that is run again and again.
pub struct Check {
    command: String,
    every: Duration,
    timeout: Duration,
    /// The time of the next start.
    due: Instant,
    /// The check that runs: its pid, which is also its process group, and its start.
    running: Option<(Pid, Instant)>,
    /// The last log line about a check that failed.
    said: Option<String>,
}

impl Check {
    /// Returns a check that is due at `now`.
    pub fn new(command: String, (every, timeout): (Duration, Duration), now: Instant) -> Check {
        Check { command, every, timeout, due: now, running: None, said: None }
    }

    /// Returns when to call `run_due`.
    pub fn due(&self) -> Instant {
        self.running.map_or(self.due, |(_, started)| started + self.timeout)
    }

    /// Starts the check, or ends one that takes too long. Returns a line for the log.
    pub fn run_due(&mut self, now: Instant, inherited: &Inherited) -> Option<String> {
        if now < self.due() {
            return None;
        }
        if let Some((pid, _)) = self.running.take() {
            let _ = killpg(pid, Signal::SIGKILL);
            self.due = self.due.max(now);
            return self.failed(format!("was killed after {}", show_time(self.timeout)));
        }
        self.due = now + self.every;
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(&self.command);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        for variable in ["NOTIFY_SOCKET", "WATCHDOG_USEC"] {
            command.env_remove(variable);
        }
        inherited.pass_on(&mut command, || Ok(setpgid(Pid::from_raw(0), Pid::from_raw(0))?));
        match command.spawn() {
            Ok(child) => {
                self.running = Some((Pid::from_raw(child.id() as i32), now));
                None
            }
            Err(error) => self.failed(format!("cannot be started: {error}")),
        }
    }

    /// Takes the end of a child. Returns `None` if it was not the check, otherwise whether the check succeeded, and a
    /// line for the log.
    pub fn ended(&mut self, pid: Pid, end: End) -> Option<(bool, Option<String>)> {
        self.running.take_if(|(running, _)| *running == pid)?;
        // Processes that the command has left behind are of no use.
        let _ = killpg(pid, Signal::SIGKILL);
        Some(match end {
            End::Exited(0) => {
                let again = self.said.take().map(|_| format!("check `{}` succeeds again", self.command));
                (true, again)
            }
            end => (false, self.failed(end.to_string())),
        })
    }

    /// Ends a check that runs.
    pub fn kill(&mut self) {
        if let Some((pid, _)) = self.running.take() {
            let _ = killpg(pid, Signal::SIGKILL);
        }
    }

    /// Returns a line for the log, unless the last one said the same.
    fn failed(&mut self, how: String) -> Option<String> {
        let line = format!("check `{}` {how}", self.command);
        (self.said.replace(line.clone()).as_ref() != Some(&line)).then_some(line)
    }
}
