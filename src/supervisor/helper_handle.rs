//! The supervisor's end: starts the side process, and starts it anew when it dies or stalls. Never waits for it.

#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::log_event::LogEvent;
use super::machine::Rules;
use crate::cluster::{Channels, Doorbell, Subject, helper};
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::shared::cmap_record::{CmapRecord, CmapState};
use crate::shared::mailbox::ClusterReport;
use crate::sys::client_library::Refusal;
use crate::sys::process::{self, Forked, Origin};
use crate::sys::{self, clock, hidden_process, signals};

/// How long a call waits for corosync's first answer, in ns: beyond that nobody would believe that it returns.
const CONNECT_TIMEOUT: u64 = 5_000_000_000;

/// A side process that gives no sign of life for so long, in ns, is killed. Several times what a busy machine and
/// a change of the membership take.
const STALL_TIMEOUT: u64 = 5_000_000_000;

/// The first pause before a side process is made anew, and the longest, in ns.
const RESTART_PAUSES: (u64, u64) = (100_000_000, 5_000_000_000);

/// What the side process is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HelperState {
    /// It runs; looked at when `look_at` has come.
    Running { pid: i32, look_at: u64 },
    /// It was killed because it stalled.
    Killed { pid: i32 },
    /// It is made anew when this has come.
    Pausing { until: u64 },
}

/// The supervisor's end.
#[derive(Debug)]
pub struct HelperHandle {
    channels: Channels,
    subject: Subject,
    state: HelperState,
    pause: u64,
    corosync_was_lost: bool,
}

/// Asks for `sam_initialize` whether corosync's quorum service can be reached at all. A child asks, which is ended when
/// the answer is there. Its parent is a process that the application does not see, so the application sees neither.
pub fn probe() -> Result<()> {
    let channels = Channels::new()?;
    let failed = hidden_process::run(|| match fork(&channels, |channels, _| helper::probe(channels)) {
        Ok(child) => {
            let _ = channels.mailbox.supervisor_end().wait_for_connection(CONNECT_TIMEOUT);
            end(child);
            0
        }
        Err(errno) => errno as u8,
    })?;
    if failed != 0 {
        return Err(Error::System(failed.into()));
    }
    let connection_result = channels.mailbox.supervisor_end().wait_for_connection(0);
    /// `CS_ERR_TIMEOUT`.
    const TIMEOUT: i32 = 5;
    match connection_result {
        Some(Ok(())) => Ok(()),
        Some(Err(Refusal::Code(code))) => Err(Error::Corosync(code)),
        Some(Err(Refusal::Missing)) => Err(Error::NotInstalled(sys::quorum::FILE)),
        None => Err(Error::Corosync(TIMEOUT)),
    }
}

/// Runs `body` in a child that shares nothing with the application but its memory.
fn fork(channels: &Channels, body: impl FnOnce(&Channels, &Origin)) -> nix::Result<i32> {
    let origin = Origin::current();
    channels.mailbox.supervisor_end().expect_new_helper();
    match process::fork()? {
        Forked::Parent(pid) => Ok(pid),
        Forked::Child => process::run_and_exit(|| {
            if origin.has_ended() {
                return;
            }
            process::set_name(c"sam-corosync");
            let (supervisor_waker, helper_waker) =
                (channels.supervisor_waker.number(), channels.helper_waker.number());
            process::close_all_except([
                supervisor_waker,
                helper_waker,
                origin.descriptor().unwrap_or(helper_waker),
            ]);
            body(channels, &origin);
        }),
    }
}

/// Ends a child.
fn end(pid: i32) {
    // Another thread may have reaped it, and its pid may be another's by now.
    if process::is_alive(pid) {
        let _ = signals::send(pid, libc::SIGKILL);
    }
    process::reap(pid);
}

impl HelperHandle {
    /// Starts the side process. With CMAP, only when it reaches corosync and has shown that the process is registered.
    pub fn new(rules: Rules) -> Result<HelperHandle> {
        let Rules { recovery, quorum, cmap, interval, .. } = rules;
        let policy = Policy { recovery, quorum, cmap };
        let subject = Subject { policy, interval: interval / 1_000_000, pid: process::own_pid() };
        let channels = Channels::new()?;
        if cmap {
            channels
                .mailbox
                .supervisor_end()
                .request(CmapRecord { state: CmapState::Stopped, last_updated: 0 });
        }
        let pid = fork(&channels, |channels, supervisor| helper::serve(channels, supervisor, subject))?;
        let state = HelperState::Running { pid, look_at: clock::now() + STALL_TIMEOUT };
        let handle =
            HelperHandle { channels, subject, state, pause: RESTART_PAUSES.0, corosync_was_lost: false };
        if cmap {
            let refused = match handle.channels.mailbox.supervisor_end().wait_for_connection(CONNECT_TIMEOUT)
            {
                Some(Ok(())) => return Ok(handle),
                Some(Err(Refusal::Missing)) => Error::NotInstalled(sys::cmap::FILE),
                _ => Error::Unreachable,
            };
            handle.end_helper();
            return Err(refused);
        }
        Ok(handle)
    }

    /// The supervisor ends. A side process that could not show yet how it ended goes on until it could, or corosync
    /// is gone.
    pub fn close(self) {
        if !self.channels.mailbox.owes_final_state() {
            self.end_helper();
        }
    }

    /// There will be no supervisor: takes back what is shown, if that can be done soon, and ends the side process.
    pub fn withdraw(self) {
        const CONNECT_TIMEOUT: u64 = 1_000_000_000;
        if self.subject.policy.cmap {
            self.publish(CmapRecord { state: CmapState::Gone, last_updated: 0 });
            let deadline = clock::now() + CONNECT_TIMEOUT;
            while self.channels.mailbox.owes_final_state() && clock::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.end_helper();
    }

    /// Ends the side process.
    fn end_helper(self) {
        if let Some(pid) = self.pid() {
            end(pid);
        }
    }

    /// In an instance: all of the link that it needs.
    pub fn into_doorbell(self) -> Doorbell {
        self.channels.doorbell
    }

    /// Becomes readable when there is something to see.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.channels.supervisor_waker.as_fd()
    }

    /// Has cmap show this as soon as corosync takes it.
    pub fn publish(&self, record: CmapRecord) {
        self.channels.mailbox.supervisor_end().request(record);
        self.channels.helper_waker.wake();
    }

    /// What there is to see.
    pub fn report(&self) -> ClusterReport {
        self.channels.supervisor_waker.drain();
        self.channels.mailbox.report()
    }

    /// The child `pid` ended. Whether it was the side process.
    pub fn ended(&mut self, pid: i32) -> bool {
        match self.state {
            HelperState::Running { pid: ours, .. } | HelperState::Killed { pid: ours } if ours == pid => {
                self.state = HelperState::Pausing { until: clock::now() + self.pause };
                self.pause = (self.pause * 2).min(RESTART_PAUSES.1);
                true
            }
            _ => false,
        }
    }

    /// The side process, if there is one.
    pub fn pid(&self) -> Option<i32> {
        match self.state {
            HelperState::Running { pid, .. } | HelperState::Killed { pid } => Some(pid),
            HelperState::Pausing { .. } => None,
        }
    }

    /// When to call check().
    pub fn wake_at(&self) -> u64 {
        match self.state {
            HelperState::Running { look_at, .. } => look_at,
            HelperState::Killed { .. } => u64::MAX,
            HelperState::Pausing { until } => until,
        }
    }

    /// Sees to the side process, and says what there is to say about it.
    pub fn check(&mut self) -> Option<LogEvent> {
        let now = clock::now();
        match self.state {
            HelperState::Running { pid, look_at } if now >= look_at => {
                let alive = self.channels.mailbox.supervisor_end().last_sign_of_life();
                if now >= alive.saturating_add(STALL_TIMEOUT) {
                    let _ = signals::send(pid, libc::SIGKILL);
                    self.state = HelperState::Killed { pid };
                    return Some(LogEvent::CorosyncStalled { silent: now - alive });
                }
                // It works: it may be made anew at once when it dies.
                self.pause = RESTART_PAUSES.0;
                self.state = HelperState::Running { pid, look_at: alive.min(now) + STALL_TIMEOUT };
            }
            HelperState::Pausing { until } if now >= until => {
                let subject = self.subject;
                let serve = |channels: &_, supervisor: &_| helper::serve(channels, supervisor, subject);
                self.state = match fork(&self.channels, serve) {
                    Ok(pid) => HelperState::Running { pid, look_at: now + STALL_TIMEOUT },
                    Err(_) => HelperState::Pausing { until: now + self.pause },
                };
            }
            _ => {}
        }
        let lost = self.channels.mailbox.report().lost;
        if lost == self.corosync_was_lost {
            return None;
        }
        self.corosync_was_lost = lost;
        Some(if lost { LogEvent::CorosyncLost } else { LogEvent::CorosyncBack })
    }
}
