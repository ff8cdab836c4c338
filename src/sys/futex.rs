//! Waiting for a word in memory to change, also by another process, see futex(2).

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::clock;
use super::timed_call::TimedCall;

/// Sleeps if `word` is `expected`, until [`wake_all`] is called, a signal arrives, or `timeout` has passed.
///
/// May also return without a reason (spurious wake-up), so the caller must check the word again.
pub fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    let mut timeout = timeout.map(clock::timespec);
    let address = word.as_ptr().expose_provenance();
    // SAFETY: the reference guarantees that `word` is a valid and aligned u32. The kernel reads it, and the timeout.
    unsafe {
        TimedCall::FUTEX
            .make(&mut timeout, |timeout| [address, libc::FUTEX_WAIT as usize, expected as usize, timeout, 0])
    };
}

/// Wakes all threads and processes that wait on `word`.
pub fn wake_all(word: &AtomicU32) {
    let address = word.as_ptr().expose_provenance();
    // SAFETY: the reference guarantees that `word` is a valid and aligned u32. The call does not change it.
    unsafe {
        TimedCall::FUTEX.make(&mut None, |_| [address, libc::FUTEX_WAKE as usize, i32::MAX as usize, 0, 0])
    };
}
