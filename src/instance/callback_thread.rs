//! Event driven health checks: a thread in the instance that sends a heartbeat four times per interval, and
//! before every fourth asks the application's callback whether it is well.
//!
//! The thread is made when the first callback is registered, and sleeps on a futex unless health checking is
//! started: so starting and stopping stay safe in signal handlers.
//!
//! The callback runs with the signal mask of the thread that registered it, and can be cancelled as any thread. Between
//! two calls the thread keeps all signals blocked but those of hardware faults, so that no handler of the application
//! runs in it unexpectedly, and it cannot be cancelled. A callback that ends the thread (pthread_exit(3)) counts as one
//! that does not return: the heartbeats stop. For this, nothing that the thread calls a callback through has anything
//! to drop.
//!
//! From its first wake-up on the thread has the parent-death signal of the process, see `ParentDeathSignal`.
//!
//! A process that the instance forks, and that goes on in its place, has a thread of its own from `sam_start` on.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::instance::session::{self, Check, Session};
use crate::sys::process::{self, TimerSlack};
use crate::sys::{clock, futex, signals, thread};

/// Heartbeats per interval.
const HEARTBEATS_PER_INTERVAL: u64 = 4;
/// How far a heartbeat may be put off, in parts of an interval: the kernel wakes many threads at once.
const SLACK_DIVISOR: u64 = 8;

/// The thread's alarm clock: every change that it must look at counts up the word.
#[derive(Debug, Default)]
pub struct Alarm(AtomicU32);

impl Alarm {
    /// Wakes the thread, to look at what has changed.
    pub fn ring(&self) {
        self.0.fetch_add(1, Ordering::Release);
        futex::wake_all(&self.0);
    }

    fn count(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// Sleeps until the alarm has rung since `seen`, or `due` ns have come. Whether it has rung.
    fn sleep(&self, seen: u32, due: Option<u64>) -> bool {
        loop {
            if self.count() != seen {
                return true;
            }
            let left = due.map(|due| due.saturating_sub(clock::now()));
            if left == Some(0) {
                return false;
            }
            futex::wait(&self.0, seen, left);
        }
    }
}

/// Makes the thread. errno when it cannot be made.
pub fn spawn() -> Result<(), i32> {
    thread::spawn_detached(|| {
        signals::unblock_faults();
        if let Some(session) = session::current() {
            let mut death_signal = ParentDeathSignal { was_told: false };
            while serve(session, &mut death_signal) {}
        }
    })
}

/// The word of the supervisor's end to the application, SIGTERM, which it shall get once.
///
/// The kernel sends the parent-death signal of each thread, and takes it away from a thread whose credentials change
/// (PR_SET_PDEATHSIG in prctl(2)). So this thread alone has one, and arms it again whenever it wakes. It has to send the
/// signal itself if the supervisor has ended while nothing was armed.
struct ParentDeathSignal {
    was_told: bool,
}

impl ParentDeathSignal {
    /// To be called at each wake-up.
    fn rearm(&mut self, session: &Session) {
        if self.was_told
            || process::signal_on_death_of_parent_now() == libc::SIGTERM
            || !session.is_child_of_supervisor()
        {
            return;
        }
        let parent = process::parent();
        let mut is_lost = session.supervisor_is_gone();
        if !is_lost {
            process::signal_on_death_of_parent(libc::SIGTERM);
            // The kernel marks the page some time before it gives the child another parent, and sends the signal when
            // it does the latter. If that has happened meanwhile, it was most likely before the signal was armed. A
            // parent in another PID namespace is 0 before and after.
            is_lost = session.supervisor_is_gone() && (parent == 0 || process::parent() != parent);
        }
        // The supervisor closes the page of an instance that has ended: what it left behind is not told.
        if is_lost && session.is_instance() {
            self.was_told = true;
            signals::send_to_self(libc::SIGTERM);
        }
    }
}

/// Works while health checking is started, then sleeps until something has changed. False when the session is
/// over.
fn serve(session: &Session, death_signal: &mut ParentDeathSignal) -> bool {
    let seen = session.waker().count();
    if session.is_over() {
        return false;
    }
    death_signal.rearm(session);
    if let Some(check) = session.check_to_run() {
        if !run_checks(session, check, seen, death_signal) {
            session.report_unhealthy(|| session.waker().count() == seen);
        }
    }
    session.waker().sleep(seen, None);
    true
}

/// Beats and asks until the alarm rings (true), or the callback says that the instance is not well (false). The callback
/// has the timer slack of the application.
fn run_checks(session: &Session, check: Check, seen: u32, death_signal: &mut ParentDeathSignal) -> bool {
    let pause = (session.interval() / HEARTBEATS_PER_INTERVAL).max(1);
    let slack = TimerSlack::of(session.interval() / SLACK_DIVISOR);
    slack.set();
    let mut due = clock::now() + pause;
    for beat in 1.. {
        if session.waker().sleep(seen, Some(due)) {
            break;
        }
        death_signal.rearm(session);
        if beat % HEARTBEATS_PER_INTERVAL == 0 {
            TimerSlack::INHERITED.set();
            let own_mask = check.mask.set();
            let is_healthy = thread::cancellable(|| check.health.is_healthy());
            own_mask.set();
            slack.set();
            if !is_healthy {
                return false;
            }
        }
        // The callback may have stopped the health checks; a heartbeat would then be refused.
        let _ = session.heartbeat();
        due = (due + pause).max(clock::now());
    }
    true
}
