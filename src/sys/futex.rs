//! Waiting for a word to change, across processes.

use std::ptr;
use std::sync::atomic::AtomicU32;

use super::clock;

/// Sleeps while `word` is `expected`, until woken, interrupted by a signal, or `timeout` ns have passed. May
/// also return for no reason: look at the word.
pub fn wait(word: &AtomicU32, expected: u32, timeout: Option<u64>) {
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

/// Wakes everybody who waits on `word`.
pub fn wake_all(word: &AtomicU32) {
    // SAFETY: word is a live aligned u32; waking reads no memory.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}
