//! A counter of events that other threads and processes can wait for.

use std::time::Duration;

use super::atomic::{AtomicU32, Ordering};
use super::{clock, futex};
use crate::time::MonotonicTime;

/// A counter that threads and processes can wait for, in a word that may be in memory shared with other processes.
///
/// A waiter reads the count, then checks its condition, then waits until the count differs from the one that it read.
/// So the waiter misses no event that occurs between its check and its wait.
#[derive(Debug, Clone, Copy)]
pub struct EventCount<'a>(pub &'a AtomicU32);

impl EventCount<'_> {
    /// Increments the counter, and wakes all threads and processes that wait for it to change.
    pub fn notify(self) {
        self.0.fetch_add(1, Ordering::Release);
        futex::wake_all(self.0);
    }

    /// Returns how often [`notify`](EventCount::notify) was called for this counter, modulo 2^32. A thread or process
    /// that wants to wait passes this number to [`wait`](EventCount::wait).
    pub fn count(self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// Sleeps while the counter is `seen`, for at most `timeout`. Also returns when a signal handler has run, and may
    /// return without a reason (spurious wake-up).
    pub fn wait_once(self, seen: u32, timeout: Duration) {
        futex::wait(self.0, seen, Some(timeout));
    }

    /// Sleeps until the counter is no longer `seen`, because a thread or process has called
    /// [`notify`](EventCount::notify). Returns `false` if `deadline` passed first. A deadline of `None` sets no limit.
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
