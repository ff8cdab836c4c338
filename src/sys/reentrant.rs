//! A lock for what signal handlers use as well, without a system call: a handler that interrupts the holder comes in.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::signals::Blocked;
use super::thread;

/// Something that one thread at a time can reach, and that thread's signal handlers meanwhile.
#[derive(Debug)]
pub struct Reentrant<T> {
    /// The thread that holds it; 0: none; SHUT: nobody else will ever hold it.
    holder: AtomicU64,
    inside: T,
}

/// In place of a thread.
const SHUT: u64 = u64::MAX;

// SAFETY: what is inside is reached through enter() alone, which lets in one thread at a time.
unsafe impl<T: Send> Sync for Reentrant<T> {}

/// The way in, until this is dropped.
#[derive(Debug)]
pub struct Entered<'a, T> {
    of: &'a Reentrant<T>,
    /// In a handler that interrupted the holder. No other can interrupt this one: there are two in it at most.
    nested: Option<Blocked>,
    /// Belongs to the thread that made it.
    _thread: PhantomData<*const ()>,
}

impl<T> Reentrant<T> {
    /// A lock that nobody holds.
    pub fn new(inside: T) -> Reentrant<T> {
        Reentrant { holder: AtomicU64::new(0), inside }
    }

    /// For who has it alone.
    #[cfg(any(test, fuzzing))]
    pub fn inside(&mut self) -> &T {
        &self.inside
    }

    /// Waits for other threads. Returns None if the one that holds it has shut it.
    pub fn enter(&self) -> Option<Entered<'_, T>> {
        /// Who comes second looks again in a moment: it is rare.
        const MOMENT: Duration = Duration::from_micros(20);
        let this = thread::own();
        let nested = loop {
            match self.holder.compare_exchange(0, this, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => break None,
                Err(holder) if holder == this => break Some(Blocked::all()),
                Err(SHUT) => return None,
                Err(_) => std::thread::sleep(MOMENT),
            }
        };
        Some(Entered { of: self, nested, _thread: PhantomData })
    }
}

impl<T> Entered<'_, T> {
    /// Whether it is in use already, by what this has interrupted.
    pub fn is_nested(&self) -> bool {
        self.nested.is_some()
    }

    /// Turns away the threads that wait, and those that come, until this is dropped.
    pub fn shut(&self) {
        self.of.holder.store(SHUT, Ordering::Release);
    }
}

impl<T> Deref for Entered<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.of.inside
    }
}

impl<T> Drop for Entered<'_, T> {
    fn drop(&mut self) {
        if self.nested.is_none() {
            self.of.holder.store(0, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_holder_comes_in_again_and_stays_the_holder() {
        let lock = Reentrant::new(Cell::new(1));
        let outer = lock.enter().unwrap();
        {
            let inner = lock.enter().unwrap();
            assert_eq!((outer.is_nested(), inner.is_nested()), (false, true));
            inner.set(2);
        }
        assert_eq!((outer.get(), lock.holder.load(Ordering::Relaxed)), (2, thread::own()));
        drop(outer);
        assert_eq!(lock.holder.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_thread_at_a_time() {
        const TIMES: u64 = 20_000;
        let lock = Reentrant::new(Cell::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..TIMES {
                        let count = lock.enter().unwrap();
                        count.set(count.get() + 1);
                    }
                });
            }
        });
        assert_eq!(lock.enter().unwrap().get(), 4 * TIMES);
    }

    #[test]
    fn a_thread_that_waits_for_a_lock_that_is_shut_is_turned_away() {
        let lock = Reentrant::new(Cell::new(0));
        let outer = lock.enter().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lock.enter().is_none());
            outer.shut();
            assert!(waiting.join().unwrap());
        });
        drop(outer);
        assert!(lock.enter().is_some());
    }
}
