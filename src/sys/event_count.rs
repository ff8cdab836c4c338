//! A counter of events that other threads and processes can wait for.

use std::time::Duration;

use super::atomic::{AtomicU32, Ordering};
use super::{clock, futex};
use crate::time::MonotonicTime;

/// A counter of events, in a word that may be in memory shared with other processes.
///
/// A waiter reads the count, then checks its condition, then waits until the count differs from the one that it read.
/// So the waiter misses no event that occurs between its check and its wait.
#[derive(Debug, Clone, Copy)]
pub struct EventCount<'a>(pub &'a AtomicU32);

impl EventCount<'_> {
    /// Counts an event, and wakes all waiters.
    pub fn notify(self) {
        self.0.fetch_add(1, Ordering::Release);
        futex::wake_all(self.0);
    }

    /// Returns the number of events so far, modulo 2^32.
    pub fn count(self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// Waits while the count is `seen`, for at most `timeout`. Also returns when a signal handler has run, and may
    /// return without a reason (spurious wake-up).
    pub fn wait_once(self, seen: u32, timeout: Duration) {
        futex::wait(self.0, seen, Some(timeout));
    }

    /// Waits until the count is no longer `seen`. Returns `false` if `deadline` passed first. `None` waits without a
    /// limit.
    pub fn wait(self, seen: u32, deadline: Option<MonotonicTime>) -> bool {
        while self.count() == seen {
            let left = deadline.map(|deadline| deadline.saturating_since(clock::now()));
            if left == Some(Duration::ZERO) {
                return false;
            }
            futex::wait(self.0, seen, left);
        }
        true
    }
}
