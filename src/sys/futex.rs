//! Waiting for a word to change, across processes.

use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::clock;

/// Sleeps while `word` is `expected`, until another thread wakes this one, a signal arrives, or `timeout` has passed. May
/// also return for no reason, so the caller has to look at the word.
pub fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    let timeout = timeout.map(clock::timespec);
    // SAFETY: word is a live aligned u32; the timeout is NULL or points to a timespec that outlives the call.
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

/// Wakes all threads that wait on `word`.
pub fn wake_all(word: &AtomicU32) {
    // SAFETY: word is a live aligned u32; waking reads no memory.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}
