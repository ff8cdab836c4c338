//! Waiting for a word in memory to change, also by another process, see futex(2).

use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::clock;

/// Sleeps if `word` is `expected`, until [`wake_all`] is called, a signal arrives, or `timeout` has passed.
///
/// May also return without a reason (spurious wake-up), so the caller must check the word again.
pub fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    let timeout = timeout.map(clock::timespec);
    // SAFETY: the reference guarantees that `word` is a valid and aligned u32. The timeout is NULL, or points to a
    // timespec that is valid during the call.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            expected,
            timeout.as_ref().map_or(ptr::null(), ptr::from_ref),
        )
    };
}

/// Wakes all threads and processes that wait on `word`.
pub fn wake_all(word: &AtomicU32) {
    // SAFETY: the reference guarantees that `word` is a valid and aligned u32. The call does not change it.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}
