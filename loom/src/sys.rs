//! What the shared source needs of the system, as a model.

/// Atomic words in the place of std's.
pub mod atomic {
    pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}

/// Memory that processes share. Loom's threads stand for processes: they all run in one thread of the system.
pub mod machine {
    use std::any::Any;
    use std::cell::RefCell;
    use std::sync::Arc;

    thread_local! {
        static MEMORY: RefCell<(usize, Vec<Arc<dyn Any + Send + Sync>>)> = const { RefCell::new((0, Vec::new())) };
    }

    /// There is no memory yet.
    pub fn boot() {
        MEMORY.take();
    }

    /// A process that asks for memory from now on gets what was given out since boot(), in the same order.
    pub fn fork() {
        MEMORY.with_borrow_mut(|(next, _)| *next = 0);
    }

    pub(super) fn memory<T: Send + Sync + 'static>(make: impl FnOnce() -> T) -> Arc<T> {
        MEMORY.with_borrow_mut(|(next, given)| {
            if *next == given.len() {
                given.push(Arc::new(make()));
            }
            *next += 1;
            Arc::clone(&given[*next - 1]).downcast().expect("processes that ask in the same order")
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

/// There are no signals.
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

    /// Whoever waits looks again and again.
    pub fn wait(_word: &AtomicU32, _expected: u32, _timeout: Option<std::time::Duration>) {
        loom::thread::yield_now();
    }

    pub fn wake_all(_word: &AtomicU32) {}
}
