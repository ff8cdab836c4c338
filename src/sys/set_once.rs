//! A value that is set once and read without a lock.

use std::cell::UnsafeCell;
use std::fmt;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU8, Ordering};

/// A place for a value that one thread sets. A reader that comes earlier finds nothing and does not wait.
///
/// For a value that a new instance sets. The `set` of once_cell and std waits for a thread that sets the value, so it
/// would never return in a process that another thread forks meanwhile. Its code is on pages that a new instance has not
/// read yet.
pub struct SetOnce<T> {
    state: AtomicU8,
    value: UnsafeCell<MaybeUninit<T>>,
}

const EMPTY: u8 = 0;
const BEING_SET: u8 = 1;
const SET: u8 = 2;

// SAFETY: the value is written by the one thread that has changed the state from EMPTY, and is read by others only after
// that thread has stored SET. It may be sent to the thread that drops it.
unsafe impl<T: Send + Sync> Sync for SetOnce<T> {}

impl<T> SetOnce<T> {
    /// Returns an empty place.
    pub const fn empty() -> SetOnce<T> {
        SetOnce { state: AtomicU8::new(EMPTY), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// Returns the value, or `None` if it is not set yet.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // SAFETY: SET is stored after the value was written, and the value never changes afterwards.
        (self.state.load(Ordering::Acquire) == SET).then(|| unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// Sets the value.
    ///
    /// # Errors
    /// The value, if there is one already or another thread is setting one.
    pub fn set(&self, value: T) -> Result<(), T> {
        if self.state.compare_exchange(EMPTY, BEING_SET, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return Err(value);
        }
        // SAFETY: this thread alone changed the state from EMPTY, and no thread reads the value before SET is stored.
        unsafe { (*self.value.get()).write(value) };
        self.state.store(SET, Ordering::Release);
        Ok(())
    }
}

impl<T> Drop for SetOnce<T> {
    fn drop(&mut self) {
        if *self.state.get_mut() == SET {
            // SAFETY: the value was written, and nothing refers to it any more.
            unsafe { self.value.get_mut().assume_init_drop() };
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for SetOnce<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SetOnce").field(&self.get()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn first_value_stays() {
        let place = SetOnce::empty();
        assert_eq!(place.get(), None);
        assert_eq!(place.set("first"), Ok(()));
        assert_eq!(place.set("second"), Err("second"));
        assert_eq!(place.get(), Some(&"first"));
    }

    #[test]
    fn value_is_dropped_once() {
        let value = Arc::new(());
        let place = SetOnce::empty();
        place.set(Arc::clone(&value)).unwrap();
        assert!(place.set(Arc::clone(&value)).is_err());
        assert_eq!(Arc::strong_count(&value), 2);
        drop(place);
        assert_eq!(Arc::strong_count(&value), 1);
        drop(SetOnce::<Arc<()>>::empty());
    }

    #[test]
    fn one_of_many_threads_sets_the_value() {
        let place = SetOnce::empty();
        let place = &place;
        let winners = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|number| scope.spawn(move || place.set(number).is_ok())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).filter(|&won| won).count()
        });
        assert_eq!(winners, 1);
        assert!(place.get().is_some());
    }
}
