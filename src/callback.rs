//! Event driven health checks: a thread in the instance that sends a heartbeat four times per interval, and
//! before every fourth asks the application's callback whether it is well.
//!
//! The thread is made when the first callback is registered, and sleeps on a futex unless health checking is
//! started: so starting and stopping stay safe in signal handlers.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::session::{self, Session};
use crate::sys::foreign::HealthCheck;
use crate::sys::process::TimerSlack;
use crate::sys::{clock, futex, signals, thread};

/// Heartbeats per interval.
const BEATS: u64 = 4;
/// How far a heartbeat may be put off, in parts of an interval: the kernel wakes many threads at once.
const SLACK: u64 = 8;

/// The thread's alarm clock: every change that it must look at counts up the word.
#[derive(Debug, Default)]
pub struct Alarm(AtomicU32);

impl Alarm {
    /// Wakes the thread, to look at what has changed.
    pub fn ring(&self) {
        self.0.fetch_add(1, Ordering::Release);
        futex::wake_all(&self.0);
    }

    fn rings(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// Sleeps until the alarm has rung since `seen`, or `due` ns have come. Whether it has rung.
    fn sleep(&self, seen: u32, due: Option<u64>) -> bool {
        loop {
            if self.rings() != seen {
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
            while serve(session) {}
        }
    })
}

/// Works while health checking is started, then sleeps until something has changed. False when the session is
/// over.
fn serve(session: &Session) -> bool {
    let seen = session.alarm().rings();
    if session.is_over() {
        return false;
    }
    if let Some(check) = session.check_to_run() {
        if !watch(session, check, seen) {
            session.report_unhealthy(|| session.alarm().rings() == seen);
        }
    }
    session.alarm().sleep(seen, None);
    true
}

/// Beats and asks until the alarm rings (true), or the callback says that the instance is not well (false). The callback
/// has the timer slack of the application.
fn watch(session: &Session, check: HealthCheck, seen: u32) -> bool {
    let pause = (session.interval() / BEATS).max(1);
    let slack = TimerSlack::of(session.interval() / SLACK);
    slack.set();
    let mut due = clock::now() + pause;
    for beat in 1.. {
        if session.alarm().sleep(seen, Some(due)) {
            break;
        }
        if beat % BEATS == 0 {
            TimerSlack::INHERITED.set();
            let is_healthy = check.is_healthy();
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
