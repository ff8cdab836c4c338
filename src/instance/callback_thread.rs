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

/// The number of heartbeats that the callback thread sends per interval, which is the longest silence that the
/// supervisor allows. So a heartbeat can be three quarters of an interval late before the supervisor takes the instance
/// for hung.
const HEARTBEATS_PER_INTERVAL: u32 = 4;
/// The divisor that gives the timer slack of the callback thread: an eighth of the interval. The kernel may delay each
/// heartbeat by that time, so that it wakes many threads at once (PR_SET_TIMERSLACK in prctl(2)).
const SLACK_DIVISOR: u32 = 8;

/// The health check callback that the application has registered by `sam_hc_callback_register`.
#[derive(Debug, Clone, Copy)]
pub struct Callback {
    /// The application's function that the callback thread calls once per interval. Its result says whether the
    /// application is healthy.
    pub health_check: HealthCheck,
    /// The signal mask of the thread that registered the callback. The callback runs with this mask.
    pub mask: Mask,
}

/// The operations of the session that the callback thread needs. [`Session`](super::session::Session) implements them.
pub trait Host {
    /// Returns the longest silence that the supervisor allows the instance. It is not zero: a session without a limit
    /// makes no callback thread.
    fn interval(&self) -> Duration;

    /// Returns the counter that the session increments whenever health checking starts or stops, or the session ends.
    /// The callback thread sleeps until it changes.
    fn changes(&self) -> EventCount<'_>;

    /// Returns `true` if the session has ended for good, so that the callback thread ends.
    fn is_over(&self) -> bool;

    /// Returns the callback that the callback thread has to call now. `None`: the application has registered none, or
    /// health checking is not started.
    fn callback_to_run(&self) -> Option<Callback>;

    /// Stores a heartbeat on the control page, for the supervisor.
    ///
    /// # Errors
    /// Health checking is not started, or the supervisor has ended.
    fn heartbeat(&self) -> Result<()>;

    /// Tells the supervisor that the callback returned "unhealthy", and sends this process the warning signal. Does
    /// nothing if `is_current` returns `false`: health checking was stopped while the callback ran.
    fn report_unhealthy(&self, is_current: &dyn Fn() -> bool);

    /// Returns `true` if this process is the instance: it returned from `sam_register`, or the supervisor adopted it.
    fn is_instance(&self) -> bool;

    /// Returns `true` if the parent of this process is the supervisor, so that the death of the parent tells of the
    /// supervisor's. Returns `false` in a process that the instance forked, as long as the instance lives.
    fn is_child_of_supervisor(&self) -> bool;

    /// Returns `true` if the supervisor of this instance has ended, or has marked the control page because the instance
    /// ended.
    fn supervisor_is_gone(&self) -> bool;
}

/// Runs the callback thread of an instance: sends heartbeats and calls the callback while health checking is started.
/// Returns when the session has ended.
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

/// Sends heartbeats, and calls the callback before every fourth, until the session's counter of changes is no longer
/// `seen`. Returns `false` if the callback returned "unhealthy", and `true` otherwise.
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

/// The parent-death signal of the callback thread: the kernel sends the application SIGTERM when its supervisor ends.
/// The application gets that SIGTERM once.
///
/// The kernel sends the parent-death signal of each thread, and takes it away from a thread whose credentials change
/// (PR_SET_PDEATHSIG in prctl(2)). So this thread alone has one, and sets it again whenever it wakes. If the supervisor
/// has ended while none was set, the thread sends the signal itself.
struct ParentDeathSignal {
    was_delivered: bool,
}

impl ParentDeathSignal {
    /// Sets SIGTERM as the parent-death signal of the callback thread again if the kernel has cleared it. If the
    /// supervisor has ended meanwhile, sends SIGTERM to the application at once. Called at each wake-up of the thread.
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
