//! A lock whose holder is not interrupted by signal handlers, and that does not stay held in a forked process.

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::after_fork;
use super::signals::{Blocked, Mask};

/// A value that one thread at a time can use. All signals are blocked in that thread, so no signal handler finds the
/// lock taken by the thread that it has interrupted.
///
/// fork(2) copies a taken lock to a process that does not have the thread which took it. So a lock that another process
/// has taken counts as free, and the value is as that thread left it in the middle of its work. A thread that forks
/// while it has the lock frees it in the new process before it takes it again.
pub struct Lock<T> {
    /// 0 for a free lock, `u32::MAX` for a closed one. Otherwise the number of the process in which a thread has taken
    /// the lock, see [`after_fork::generation`].
    state: AtomicU32,
    value: UnsafeCell<T>,
}

const FREE: u32 = 0;
const CLOSED: u32 = u32::MAX;

// SAFETY: the value is reached through lock() alone, which lets in one thread at a time. A new process has a value of
// its own, and one thread.
unsafe impl<T: Send> Sync for Lock<T> {}

/// The right of the calling thread to use the value of a lock. Dropping it frees the lock, and restores the signal
/// mask.
pub struct Locked<'a, T> {
    lock: &'a Lock<T>,
    /// Restores the signal mask. As the last field it is dropped when the lock is free.
    blocked: Blocked,
}

impl<T> Lock<T> {
    /// Makes a free lock for `value`.
    pub const fn new(value: T) -> Lock<T> {
        Lock { state: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
    }

    /// Blocks all signals in the calling thread, and waits until no other thread of this process has the lock. Returns
    /// `None` if the lock is closed, as in a supervisor.
    ///
    /// The calling thread must not have this lock already.
    pub fn lock(&self) -> Option<Locked<'_, T>> {
        /// The pause between two attempts to take the lock while another thread has it. That is rare, and takes a short
        /// time.
        const PAUSE: Duration = Duration::from_micros(20);
        let blocked = Blocked::all();
        let held = after_fork::generation();
        let mut expected = FREE;
        loop {
            match self.state.compare_exchange(expected, held, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(Locked { lock: self, blocked }),
                Err(CLOSED) => return None,
                Err(now) if now == held => {
                    expected = FREE;
                    std::thread::sleep(PAUSE);
                }
                // Free meanwhile, or held by a thread that this process does not have.
                Err(now) => expected = now,
            }
        }
    }

    /// Returns the value without taking the lock. For tests and fuzz targets, which have the only reference to the
    /// lock.
    #[cfg(any(test, fuzzing))]
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("state", &self.state).finish_non_exhaustive()
    }
}

impl<T> Locked<'_, T> {
    /// Closes the lock: until this is dropped, [`Lock::lock`] returns `None` to the threads that wait and to new
    /// callers. A process that becomes a supervisor closes its locks, so that calls by the application's other threads
    /// fail.
    pub fn close(&self) {
        self.lock.state.store(CLOSED, Ordering::Release);
    }

    /// Returns the signal mask that the calling thread had before it took the lock. Dropping this restores it.
    pub fn mask_before(&self) -> Mask {
        self.blocked.mask_before()
    }
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this thread alone reaches the value until self is dropped.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and self is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Locked<'_, T> {
    fn drop(&mut self) {
        self.lock.state.store(FREE, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_at_a_time() {
        const TIMES: u64 = 20_000;
        let lock = Lock::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..TIMES).for_each(|_| *lock.lock().unwrap() += 1));
            }
        });
        assert_eq!(*lock.lock().unwrap(), 4 * TIMES);
    }

    #[test]
    fn thread_that_waits_for_a_lock_that_is_closed_is_turned_away() {
        let lock = Lock::new(());
        let locked = lock.lock().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lock.lock().is_none());
            locked.close();
            assert!(waiting.join().unwrap());
        });
        drop(locked);
        assert!(lock.lock().is_some());
    }

    #[test]
    fn lock_that_another_process_has_taken_is_free() {
        let lock = Lock::new(7);
        lock.state.store(after_fork::generation() + 1, Ordering::Relaxed);
        assert_eq!(*lock.lock().unwrap(), 7);
        assert_eq!(lock.state.load(Ordering::Relaxed), FREE);
    }

    #[test]
    fn signals_are_blocked_during_a_turn() {
        use nix::sys::signal::{SigSet, Signal};
        let is_blocked = || SigSet::thread_get_mask().unwrap().contains(Signal::SIGTERM);
        let lock = Lock::new(());
        assert!(!is_blocked());
        let locked = lock.lock().unwrap();
        assert!(is_blocked());
        drop(locked);
        assert!(!is_blocked());
    }
}
