//! The cluster helper as the supervisor sees it: starts the helper, and starts it again when it has ended or corosync
//! blocks it. The supervisor never waits for the helper.

#![deny(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::unistd::Pid;

use super::backoff::Backoff;
use super::log_event::{Kind, LogEvent};
use super::machine::Rules;
use crate::cluster::{Channels, Doorbell, Subject, helper};
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::shared::cmap_record::{CmapRecord, CmapState};
use crate::shared::mailbox::{ClusterReport, QuorumState};
use crate::sys::client_library::Refusal;
use crate::sys::process::{self, Origin};
use crate::sys::signals::{self, Signal};
use crate::sys::{self, clock, hidden_process};
use crate::time::MonotonicTime;

/// The longest wait of `sam_initialize` and `sam_register` for corosync's first answer. A corosync that starts or that
/// changes its membership answers within two seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time that `sam_register` waits until its keys are removed from cmap, after it could not fork the first
/// instance.
const WITHDRAW_TIMEOUT: Duration = Duration::from_secs(1);

/// A helper without a sign of life for this time is killed. It is several times as long as a busy machine and a change
/// of corosync's membership take.
const STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause before the supervisor starts the cluster helper again. It doubles from 100 ms to 5 s. So a helper that
/// always ends at once is started twelve times per minute in the long run, which a machine does not notice.
const RESTART_BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// The state of the helper process: it runs, was killed, or is to be started after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HelperState {
    /// The helper runs. Its next sign of life is due at `check_at`.
    Running { pid: Pid, check_at: MonotonicTime },
    /// The supervisor has killed the helper because it gave no sign of life.
    Killed { pid: Pid },
    /// The helper has ended, and is started again at `until`.
    Pausing { until: MonotonicTime },
}

/// The cluster helper as the supervisor sees it: starts it, asks it, and replaces it when it ends or stalls.
#[derive(Debug)]
pub struct HelperHandle {
    channels: Channels,
    subject: Subject,
    state: HelperState,
    backoff: Backoff,
    corosync_was_lost: bool,
}

/// Returns `Ok` if corosync's quorum service can be reached, for `sam_initialize`. A short-lived process connects to
/// it. That process is forked so that the application neither gets its SIGCHLD nor can wait for it.
///
/// # Errors
/// The quorum service cannot be reached, or the library for it is not installed.
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
    let connection_result = channels.mailbox.supervisor_end().wait_for_connection(Duration::ZERO);
    /// `CS_ERR_TIMEOUT`, corosync's error code for an answer that did not come in time. `sam_initialize` returns it if
    /// the quorum service gave no answer within `CONNECT_TIMEOUT`.
    const TIMEOUT: i32 = 5;
    match connection_result {
        Some(Ok(())) => Ok(()),
        Some(Err(Refusal::Code(code))) => Err(Error::Corosync(code)),
        Some(Err(Refusal::Missing)) => Err(Error::NotInstalled(sys::quorum::FILE)),
        None => Err(Error::Corosync(TIMEOUT)),
    }
}

/// Runs `body` in a child process, which ends after that. The child keeps no descriptor of the application, only those
/// by which it wakes the supervisor, is woken, and notices the end of the supervisor. Returns the pid of the child.
fn fork(channels: &Channels, body: impl FnOnce(&Channels, &Origin)) -> nix::Result<Pid> {
    let origin = Origin::current();
    channels.mailbox.supervisor_end().expect_new_helper();
    // SAFETY: the child takes no lock of the application: it uses the allocator, which fork(3) keeps usable, its own
    // copy of the library's memory, and corosync's libraries, which it opens itself. The caller has all signals
    // blocked.
    #[allow(unsafe_code)]
    let forked = unsafe { process::fork() };
    match forked? {
        Some(pid) => Ok(pid),
        None => process::run_and_exit(|| {
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

/// Kills the child process `pid` and waits for its end.
fn end(pid: Pid) {
    // If another thread of the application has reaped the child, the pid may be another process's by now.
    if process::is_alive(pid) {
        let _ = signals::kill(pid, Signal::KILL);
    }
    process::reap(pid);
}

impl HelperHandle {
    /// Starts the helper. With CMAP, waits until cmap shows that the process is registered.
    ///
    /// # Errors
    /// The kernel refused memory, descriptors or the process. With CMAP also: corosync cannot be reached, or the
    /// library for it is not installed.
    pub fn new(rules: Rules) -> Result<HelperHandle> {
        let Rules { recovery, quorum, cmap, interval, .. } = rules;
        let policy = Policy { recovery, quorum, cmap };
        let subject = Subject { policy, interval, pid: process::own_pid() };
        let channels = Channels::new()?;
        if cmap {
            channels
                .mailbox
                .supervisor_end()
                .request(CmapRecord { state: CmapState::Stopped, last_updated: None });
        }
        let pid = fork(&channels, |channels, supervisor| helper::serve(channels, supervisor, subject))?;
        let state = HelperState::Running { pid, check_at: clock::now() + STALL_TIMEOUT };
        let handle =
            HelperHandle { channels, subject, state, backoff: RESTART_BACKOFF, corosync_was_lost: false };
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

    /// Kills the cluster helper, because the supervisor ends. A helper that has yet to show in cmap how the supervisor
    /// ended is left running: it ends by itself when cmap shows that, or when corosync ends. This function does not
    /// wait for it.
    pub fn close(self) {
        if !self.channels.mailbox.owes_final_state() {
            self.end_helper();
        }
    }

    /// Kills the cluster helper, because `sam_register` could not fork the first instance. With CMAP, first waits a
    /// second at most until the helper has removed the keys of this process from cmap.
    pub fn withdraw(self) {
        if self.subject.policy.cmap {
            self.publish(CmapRecord { state: CmapState::Gone, last_updated: None });
            let deadline = clock::now() + WITHDRAW_TIMEOUT;
            while self.channels.mailbox.owes_final_state() && clock::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.end_helper();
    }

    /// Kills the cluster helper process and waits for its end.
    fn end_helper(self) {
        if let Some(pid) = self.pid() {
            end(pid);
        }
    }

    /// Returns the [`Doorbell`] of the instances, for a process that was just forked as one. Drops the rest of the handle.
    pub fn into_doorbell(self) -> Doorbell {
        self.channels.doorbell
    }

    /// Returns the descriptor that becomes readable when the helper has stored a new report.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.channels.supervisor_waker.as_fd()
    }

    /// Requests that cmap shows `record`, and wakes the helper.
    pub fn publish(&self, record: CmapRecord) {
        self.channels.mailbox.supervisor_end().request(record);
        self.channels.helper_waker.wake();
    }

    /// Returns what the cluster helper has last reported about corosync.
    pub fn report(&self) -> ClusterReport {
        self.channels.supervisor_waker.drain();
        self.channels.mailbox.report()
    }

    /// Records that the child `pid` of the supervisor has ended. If `pid` is the cluster helper,
    /// [`check`](HelperHandle::check) starts a new helper after a pause. Other pids are ignored.
    pub fn ended(&mut self, pid: Pid) {
        match self.state {
            HelperState::Running { pid: ours, .. } | HelperState::Killed { pid: ours } if ours == pid => {
                self.state = HelperState::Pausing { until: clock::now() + self.backoff.advance() };
            }
            _ => {}
        }
    }

    /// Returns the pid of the helper, if it has not ended.
    pub fn pid(&self) -> Option<Pid> {
        match self.state {
            HelperState::Running { pid, .. } | HelperState::Killed { pid } => Some(pid),
            HelperState::Pausing { .. } => None,
        }
    }

    /// Returns when to call [`check`](HelperHandle::check) at the latest: when the next sign of life of the cluster
    /// helper is due, or when a new helper is to be started. `None` while a killed helper has not ended.
    pub fn wake_at(&self) -> Option<MonotonicTime> {
        match self.state {
            HelperState::Running { check_at, .. } => Some(check_at),
            HelperState::Killed { .. } => None,
            HelperState::Pausing { until } => Some(until),
        }
    }

    /// Kills a cluster helper that gave no sign of life for 5 s, and starts a new helper in place of one that has
    /// ended. Returns the event to log, such as the loss of the connection to corosync.
    pub fn check(&mut self) -> Option<LogEvent> {
        let now = clock::now();
        match self.state {
            HelperState::Running { pid, check_at } if now >= check_at => {
                let last_sign = self.channels.mailbox.supervisor_end().last_sign_of_life();
                if now >= last_sign + STALL_TIMEOUT {
                    let _ = signals::kill(pid, Signal::KILL);
                    self.state = HelperState::Killed { pid };
                    let silent = now.saturating_since(last_sign);
                    return Some(LogEvent::of_cluster(Kind::CorosyncStalled { silent }));
                }
                self.backoff.reset();
                self.state = HelperState::Running { pid, check_at: last_sign.min(now) + STALL_TIMEOUT };
            }
            HelperState::Pausing { until } if now >= until => {
                let subject = self.subject;
                let serve = |channels: &_, supervisor: &_| helper::serve(channels, supervisor, subject);
                self.state = match fork(&self.channels, serve) {
                    Ok(pid) => HelperState::Running { pid, check_at: now + STALL_TIMEOUT },
                    Err(_) => HelperState::Pausing { until: now + self.backoff.pause() },
                };
            }
            _ => {}
        }
        let ClusterReport { quorum, lost, .. } = self.channels.mailbox.report();
        if lost == self.corosync_was_lost {
            return None;
        }
        self.corosync_was_lost = lost;
        let loses_quorum = quorum == QuorumState::Gone;
        Some(LogEvent::of_cluster(if lost {
            Kind::CorosyncLost { loses_quorum }
        } else {
            Kind::CorosyncBack
        }))
    }
}
