//! The supervisor's end: starts the side process, and starts it anew when it dies or stalls. Never waits for it.

#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::desk::Report;
use super::record::{Record, State};
use super::side::{self, Subject};
use super::{Doorbell, Wiring};
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::supervisor::machine::Rules;
use crate::supervisor::notice::Notice;
use crate::sys::client_library::Refusal;
use crate::sys::process::{self, Forked, Origin};
use crate::sys::{self, clock, signals, unseen};

/// How long a call waits for corosync's first answer, in ns: beyond that nobody would believe that it returns.
const PATIENCE: u64 = 5_000_000_000;

/// A side process that gives no sign of life for so long, in ns, is killed. Several times what a busy machine and
/// a change of the membership take.
const STALL: u64 = 5_000_000_000;

/// The first pause before a side process is made anew, and the longest, in ns.
const PAUSE: (u64, u64) = (100_000_000, 5_000_000_000);

/// What the side process is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// It runs; looked at when `look_at` has come.
    Running { pid: i32, look_at: u64 },
    /// It was killed because it stalled.
    Killed { pid: i32 },
    /// It is made anew when this has come.
    Pausing { until: u64 },
}

/// The supervisor's end.
#[derive(Debug)]
pub struct Link {
    wiring: Wiring,
    subject: Subject,
    life: Life,
    pause: u64,
    was_lost: bool,
}

/// Asks for `sam_initialize` whether corosync's quorum service can be reached at all. A child asks, which is ended when
/// the answer is there. Its parent is a process that the application does not see, so the application sees neither.
pub fn probe() -> Result<()> {
    let wiring = Wiring::new()?;
    let failed = unseen::run(|| match fork(&wiring, |wiring, _| side::probe(wiring)) {
        Ok(asked) => {
            let _ = wiring.desk.verdict(PATIENCE);
            end(asked);
            0
        }
        Err(errno) => errno as u8,
    })?;
    if failed != 0 {
        return Err(Error::System(failed.into()));
    }
    let verdict = wiring.desk.verdict(0);
    /// `CS_ERR_TIMEOUT`.
    const TIMEOUT: i32 = 5;
    match verdict {
        Some(Ok(())) => Ok(()),
        Some(Err(Refusal::Code(code))) => Err(Error::Corosync(code)),
        Some(Err(Refusal::Missing)) => Err(Error::NotInstalled(sys::quorum::FILE)),
        None => Err(Error::Corosync(TIMEOUT)),
    }
}

/// Runs `body` in a child that shares nothing with the application but its memory.
fn fork(wiring: &Wiring, body: impl FnOnce(&Wiring, &Origin)) -> nix::Result<i32> {
    let origin = Origin::current();
    wiring.desk.sign_of_life();
    match process::fork()? {
        Forked::Parent(pid) => Ok(pid),
        Forked::Child => process::run_and_exit(|| {
            if origin.has_ended() {
                return;
            }
            process::set_name(c"sam-corosync");
            let (to_supervisor, to_side) = (wiring.to_supervisor.number(), wiring.to_side.number());
            process::close_all_but([to_supervisor, to_side, origin.descriptor().unwrap_or(to_side)]);
            body(wiring, &origin);
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

impl Link {
    /// Starts the side process. With CMAP, only when it reaches corosync and has shown that the process is registered.
    pub fn new(rules: Rules) -> Result<Link> {
        let Rules { recovery, quorum, cmap, interval, .. } = rules;
        let policy = Policy { recovery, quorum, cmap };
        let subject = Subject { policy, interval: interval / 1_000_000, pid: process::own_pid() };
        let wiring = Wiring::new()?;
        if cmap {
            wiring.desk.want(Record { state: State::Stopped, last_updated: 0 });
        }
        let pid = fork(&wiring, |wiring, supervisor| side::serve(wiring, supervisor, subject))?;
        let life = Life::Running { pid, look_at: clock::now() + STALL };
        let link = Link { wiring, subject, life, pause: PAUSE.0, was_lost: false };
        if cmap {
            let refused = match link.wiring.desk.verdict(PATIENCE) {
                Some(Ok(())) => return Ok(link),
                Some(Err(Refusal::Missing)) => Error::NotInstalled(sys::cmap::FILE),
                _ => Error::Unreachable,
            };
            link.give_up();
            return Err(refused);
        }
        Ok(link)
    }

    /// The supervisor ends. A side process that could not show yet how it ended goes on until it could, or corosync
    /// is gone.
    pub fn close(self) {
        if !self.wiring.desk.is_owing() {
            self.give_up();
        }
    }

    /// There will be no supervisor: takes back what is shown, if that can be done soon, and ends the side process.
    pub fn withdraw(self) {
        const PATIENCE: u64 = 1_000_000_000;
        if self.subject.policy.cmap {
            self.show(Record { state: State::Gone, last_updated: 0 });
            let deadline = clock::now() + PATIENCE;
            while self.wiring.desk.is_owing() && clock::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.give_up();
    }

    /// Ends the side process.
    fn give_up(self) {
        if let Some(pid) = self.pid() {
            end(pid);
        }
    }

    /// In an instance: all of the link that it needs.
    pub fn into_bell(self) -> Doorbell {
        self.wiring.bell
    }

    /// Becomes readable when there is something to see.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.wiring.to_supervisor.as_fd()
    }

    /// Has cmap show this as soon as corosync takes it.
    pub fn show(&self, record: Record) {
        self.wiring.desk.want(record);
        self.wiring.to_side.ring();
    }

    /// What there is to see.
    pub fn report(&self) -> Report {
        self.wiring.to_supervisor.silence();
        self.wiring.desk.report()
    }

    /// The child `pid` ended. Whether it was the side process.
    pub fn ended(&mut self, pid: i32) -> bool {
        match self.life {
            Life::Running { pid: ours, .. } | Life::Killed { pid: ours } if ours == pid => {
                self.life = Life::Pausing { until: clock::now() + self.pause };
                self.pause = (self.pause * 2).min(PAUSE.1);
                true
            }
            _ => false,
        }
    }

    /// The side process, if there is one.
    pub fn pid(&self) -> Option<i32> {
        match self.life {
            Life::Running { pid, .. } | Life::Killed { pid } => Some(pid),
            Life::Pausing { .. } => None,
        }
    }

    /// When to call tend().
    pub fn wake_at(&self) -> u64 {
        match self.life {
            Life::Running { look_at, .. } => look_at,
            Life::Killed { .. } => u64::MAX,
            Life::Pausing { until } => until,
        }
    }

    /// Sees to the side process, and says what there is to say about it.
    pub fn tend(&mut self) -> Option<Notice> {
        let now = clock::now();
        match self.life {
            Life::Running { pid, look_at } if now >= look_at => {
                let alive = self.wiring.desk.last_sign_of_life();
                if now >= alive.saturating_add(STALL) {
                    let _ = signals::send(pid, libc::SIGKILL);
                    self.life = Life::Killed { pid };
                    return Some(Notice::CorosyncStalled { silent: now - alive });
                }
                // It works: it may be made anew at once when it dies.
                self.pause = PAUSE.0;
                self.life = Life::Running { pid, look_at: alive.min(now) + STALL };
            }
            Life::Pausing { until } if now >= until => {
                let subject = self.subject;
                let serve = |wiring: &_, supervisor: &_| side::serve(wiring, supervisor, subject);
                self.life = match fork(&self.wiring, serve) {
                    Ok(pid) => Life::Running { pid, look_at: now + STALL },
                    Err(_) => Life::Pausing { until: now + self.pause },
                };
            }
            _ => {}
        }
        let lost = self.wiring.desk.report().lost;
        if lost == self.was_lost {
            return None;
        }
        self.was_lost = lost;
        Some(if lost { Notice::CorosyncLost } else { Notice::CorosyncBack })
    }
}
