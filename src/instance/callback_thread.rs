//! Event driven health checks: a thread in the instance that sends a heartbeat four times per interval, and asks the
//! application's callback before every fourth.
//!
//! The session makes the thread when the first callback is registered. The thread sleeps on a futex unless health
//! checking is started, so `sam_start` and `sam_stop` are safe in signal handlers. A process that the instance forks,
//! and that goes on in its place, makes a thread of its own in `sam_start`.
//!
//! The callback runs with the signal mask of the thread that registered it, and can be cancelled as any thread. Between
//! two calls the thread blocks all signals but those of hardware faults, so that no handler of the application runs in
//! it unexpectedly, and cannot be cancelled. A callback that ends the thread (pthread_exit(3)) counts as one that does
//! not return: the heartbeats stop. The C library unwinds the thread's frames then, so these have nothing to drop where
//! the callback is called.

use std::time::Duration;

use crate::error::Result;
use crate::sys::event_count::EventCount;
use crate::sys::ffi_buf::HealthCheck;
use crate::sys::process::{self, TimerSlack};
use crate::sys::signals::{Mask, Signal};
use crate::sys::{clock, signals, thread};

/// Each heartbeat may be late by three quarters of an interval before the supervisor takes it for silence.
const HEARTBEATS_PER_INTERVAL: u32 = 4;
/// The kernel may delay a heartbeat by this part of an interval, so that it wakes many threads at once.
const SLACK_DIVISOR: u32 = 8;

/// A callback of the application.
#[derive(Debug, Clone, Copy)]
pub struct Callback {
    /// The function that the thread calls.
    pub health_check: HealthCheck,
    /// The signal mask of the thread that registered it.
    pub mask: Mask,
}

/// The session, as far as the thread needs it.
pub trait Host {
    /// Returns the longest silence allowed. Not zero: without a limit there is no thread.
    fn interval(&self) -> Duration;

    /// Returns the count of the changes that the thread has to look at.
    fn changes(&self) -> EventCount<'_>;

    /// Returns `true` if the session has ended for good.
    fn is_over(&self) -> bool;

    /// Returns the callback while health checking is started.
    fn callback_to_run(&self) -> Option<Callback>;

    /// Sends a heartbeat.
    ///
    /// # Errors
    /// Health checking is not started, or the supervisor has ended.
    fn heartbeat(&self) -> Result<()>;

    /// Begins the recovery because the callback returned "unhealthy", unless `is_current` returns `false`: then health
    /// checking was stopped meanwhile, or another callback was registered.
    fn report_unhealthy(&self, is_current: &dyn Fn() -> bool);

    /// Returns `true` if this process is the instance: it returned from `sam_register`, or was adopted.
    fn is_instance(&self) -> bool;

    /// Returns `true` if the end of the parent of this process is the end of its supervisor. That is not so in a
    /// process that the instance forked, while the instance lives.
    fn is_child_of_supervisor(&self) -> bool;

    /// Returns `true` if the supervisor of this instance has ended.
    fn supervisor_is_gone(&self) -> bool;
}

/// The body of the thread: runs the callback while health checking is started, until the session is over.
pub fn run(host: &dyn Host) {
    signals::unblock_faults();
    let mut death_signal = ParentDeathSignal { was_delivered: false };
    loop {
        let seen = host.changes().count();
        if host.is_over() {
            return;
        }
        death_signal.rearm(host);
        if let Some(callback) = host.callback_to_run() {
            if !run_checks(host, callback, seen, &mut death_signal) {
                host.report_unhealthy(&|| host.changes().count() == seen);
            }
        }
        host.changes().wait(seen, None);
    }
}

/// Sends heartbeats and asks the callback until something changes. Returns `false` if the callback returned
/// "unhealthy". The callback has the timer slack of the application.
fn run_checks(host: &dyn Host, callback: Callback, seen: u32, death_signal: &mut ParentDeathSignal) -> bool {
    let pause = (host.interval() / HEARTBEATS_PER_INTERVAL).max(Duration::from_nanos(1));
    let slack = TimerSlack::of(host.interval() / SLACK_DIVISOR);
    slack.set();
    let mut due = clock::now() + pause;
    for heartbeat in 1.. {
        if host.changes().wait(seen, Some(due)) {
            break;
        }
        death_signal.rearm(host);
        if heartbeat % HEARTBEATS_PER_INTERVAL == 0 {
            TimerSlack::INHERITED.set();
            let own_mask = callback.mask.set();
            let is_healthy = thread::cancellable(|| callback.health_check.is_healthy());
            own_mask.set();
            slack.set();
            if !is_healthy {
                return false;
            }
        }
        // Refused if the callback has stopped health checking.
        let _ = host.heartbeat();
        due = (due + pause).max(clock::now());
    }
    true
}

/// The SIGTERM that tells the application of the end of its supervisor. The application gets it once.
///
/// The kernel sends the parent-death signal of each thread, and takes it away from a thread whose credentials change
/// (PR_SET_PDEATHSIG in prctl(2)). So this thread alone has one, and arms it again whenever it wakes. If the supervisor
/// has ended while none was armed, the thread sends the signal itself.
struct ParentDeathSignal {
    was_delivered: bool,
}

impl ParentDeathSignal {
    /// Arms the signal unless it is armed. To be called at each wake-up.
    fn rearm(&mut self, host: &dyn Host) {
        if self.was_delivered
            || process::signal_on_death_of_parent_now() == Some(Signal::TERM)
            || !host.is_child_of_supervisor()
        {
            return;
        }
        let parent = process::parent();
        let mut is_lost = host.supervisor_is_gone();
        if !is_lost {
            process::signal_on_death_of_parent(Some(Signal::TERM));
            // The kernel marks the control page some time before it gives the child another parent, and sends the
            // signal when it does the latter. If that has happened meanwhile, it was most likely before the signal was
            // armed. A parent in another PID namespace is `None` before and after.
            is_lost = host.supervisor_is_gone() && (parent.is_none() || process::parent() != parent);
        }
        // The supervisor closes the control page of an instance that has ended. Processes that such an instance left
        // behind are not told.
        if is_lost && host.is_instance() {
            self.was_delivered = true;
            signals::send_to_self(Signal::TERM);
        }
    }
}
