//! A model of the parts of `sys` that the shared source needs.

/// Loom's atomic words in place of std's.
pub mod atomic {
    pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}

/// Memory between processes. Loom's threads stand for processes, and all run in one thread of the system.
pub mod machine {
    use std::any::Any;
    use std::cell::RefCell;
    use std::sync::Arc;

    thread_local! {
        static MEMORY: RefCell<(usize, Vec<Arc<dyn Any + Send + Sync>>)> = const { RefCell::new((0, Vec::new())) };
    }

    /// Forgets all memory, for the next run of a model.
    pub fn boot() {
        MEMORY.take();
    }

    /// Begins a new process: it receives the memory that was made since `boot`, in the same order.
    pub fn fork() {
        MEMORY.with_borrow_mut(|(next, _)| *next = 0);
    }

    pub(super) fn memory<T: Send + Sync + 'static>(make: impl FnOnce() -> T) -> Arc<T> {
        MEMORY.with_borrow_mut(|(next, given)| {
            if *next == given.len() {
                given.push(Arc::new(make()));
            }
            *next += 1;
            Arc::clone(&given[*next - 1]).downcast().expect("all processes ask for memory in the same order")
        })
    }
}

/// A clock that stands still.
pub mod clock {
    use crate::time::MonotonicTime;

    pub fn now() -> MonotonicTime {
        MonotonicTime::from_ns(0)
    }
}

#[path = "../../src/sys/event_count.rs"]
pub mod event_count;
#[path = "../../src/sys/ffi_buf.rs"]
pub mod ffi_buf;
pub mod lock;
pub mod memory_file;
pub mod shared_page;

/// Signals, which the models do not have.
pub mod signals {
    #[derive(Debug)]
    pub struct Blocked;

    impl Blocked {
        pub fn all() -> Blocked {
            Blocked
        }
    }
}

pub mod futex {
    use loom::sync::atomic::AtomicU32;

    /// Returns at once, after a switch to another thread. The caller checks its condition again.
    pub fn wait(_word: &AtomicU32, _expected: u32, _timeout: Option<std::time::Duration>) {
        loom::thread::yield_now();
    }

    pub fn wake_all(_word: &AtomicU32) {}
}
