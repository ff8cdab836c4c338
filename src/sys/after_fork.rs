//! Tells a process that was forked from the instance apart from the instance, without a system call: fork(3) runs a
//! handler in the new process, which marks it there.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use super::{clock, process};
use crate::error::{Error, Result};

/// The variables that change in a process that was forked. They are in one place, because a new process copies each page
/// that it writes.
struct Descent {
    /// `true` if the calling process was forked from the one that last called [`become_instance`], so that it is not
    /// the instance itself.
    is_forked: AtomicBool,
    /// The pid of the calling process. The handler that fork(3) runs in the new process updates it. 0 before the first
    /// call of [`become_instance`].
    own: AtomicI32,
    /// The pid of the process that forked the calling one. The handler that fork(3) runs in the new process stores it.
    /// 0 until then.
    parent: AtomicI32,
    /// The number of forks between the calling process and the one that installed the fork handler, plus one.
    generation: AtomicU32,
}

static DESCENT: Descent = Descent {
    is_forked: AtomicBool::new(false),
    own: AtomicI32::new(0),
    parent: AtomicI32::new(0),
    generation: AtomicU32::new(1),
};

static INSTALLED: AtomicBool = AtomicBool::new(false);
static NOTE: OnceLock<fn()> = OnceLock::new();

/// Has `note` called in every process that is forked from now on, before fork(3) returns there. `note` must be safe in
/// signal handlers. Later calls of this function do nothing.
///
/// # Errors
/// `Error::NoMemory` if there is no memory for the handler.
pub fn install(note: fn()) -> Result<()> {
    if INSTALLED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let _ = NOTE.set(note);
    // SAFETY: the handler stays valid, for the library is never unloaded (-z nodelete); it makes no call but getpid(2)
    // and what the caller promises for `note`.
    match unsafe { libc::pthread_atfork(None, None, Some(in_child)) } {
        0 => Ok(()),
        _ => {
            INSTALLED.store(false, Ordering::Relaxed);
            Err(Error::NoMemory)
        }
    }
}

/// Returns a number that tells the calling process from its ancestors: it is larger than that of the process that
/// forked it, and never 0. A lock stores it, so that a copy of the lock in a forked process does not count as taken.
pub fn generation() -> u32 {
    DESCENT.generation.load(Ordering::Relaxed)
}

/// Stores in the new process of a fork that it was forked, and the pids of itself and of its parent. The C library
/// calls this before fork(3) returns in the new process.
unsafe extern "C" fn in_child() {
    DESCENT.parent.store(DESCENT.own.load(Ordering::Relaxed), Ordering::Relaxed);
    DESCENT.own.store(process::own_pid().as_raw(), Ordering::Relaxed);
    DESCENT.is_forked.store(true, Ordering::Relaxed);
    DESCENT.generation.fetch_add(1, Ordering::Relaxed);
    if let Some(note) = NOTE.get() {
        note();
    }
}

/// Stores that the calling process is the instance, so that [`is_forked`] returns `false`. Called after
/// `sam_initialize` and `sam_register`, and when the supervisor has adopted the process.
pub fn become_instance() {
    if generation() == 1 {
        // In a forked process the handler has stored the pid.
        DESCENT.own.store(process::own_pid().as_raw(), Ordering::Relaxed);
    }
    DESCENT.is_forked.store(false, Ordering::Relaxed);
}

/// Returns `true` in a process that was forked from the instance, and has not become the instance itself.
#[inline]
pub fn is_forked() -> bool {
    DESCENT.is_forked.load(Ordering::Relaxed)
}

/// Waits until the process that forked the calling one has ended, for `timeout` at most. Returns at once if that
/// process is in another PID namespace, because its end cannot be noticed there.
pub fn await_end_of_parent(timeout: Duration) {
    /// The time between two checks by [`await_end_of_parent`] whether the parent of the calling process has ended.
    const PAUSE: Duration = Duration::from_millis(1);
    let deadline = clock::now() + timeout;
    while process::parent().is_some() && !is_orphan() && clock::now() < deadline {
        std::thread::sleep(PAUSE);
    }
}

/// Returns `true` if the process that forked the calling one has ended. Always returns `false` if the present parent is
/// in another PID namespace, because its pid is unknown there.
pub fn is_orphan() -> bool {
    process::parent().is_some_and(|parent| parent.as_raw() != DESCENT.parent.load(Ordering::Relaxed))
}
