//! A robust futex by which an instance notices the end of its supervisor without a system call.
//!
//! The supervisor's thread holds the futex from before the fork. When that thread ends for any reason, also by SIGKILL,
//! the kernel marks the futex word with `FUTEX_OWNER_DIED`, see set_robust_list(2). The instance reads the word.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// A lifeline in shared memory: the kernel's `struct robust_list` and the futex word that belongs to it.
///
/// The word holds the thread id of the holder. In a marked lifeline the thread id is 0.
#[repr(C)]
pub struct Lifeline {
    next: AtomicPtr<Lifeline>,
    holder: AtomicU32,
}

/// The head of a thread's list of robust futexes, the kernel's `struct robust_list_head`.
#[repr(C)]
struct Head {
    next: AtomicPtr<Lifeline>,
    futex_offset: libc::c_long,
    pending: AtomicPtr<Lifeline>,
}

/// The list of the supervisor's thread. It contains the one lifeline that the thread holds, or nothing.
static HELD: Head = Head {
    next: AtomicPtr::new(ptr::null_mut()),
    futex_offset: std::mem::offset_of!(Lifeline, holder) as libc::c_long,
    pending: AtomicPtr::new(ptr::null_mut()),
};

impl Lifeline {
    /// Stores the calling thread as the holder. To be called before the fork, so that the child never sees the lifeline
    /// without a holder.
    pub fn take(&self) {
        // SAFETY: gettid(2) has no arguments and always succeeds.
        let thread = unsafe { libc::syscall(libc::SYS_gettid) } as u32;
        self.holder.store(thread, Ordering::Release);
    }

    /// Has the kernel mark this lifeline, and no other, when the calling thread ends.
    ///
    /// This replaces the thread's list of robust mutexes, which the supervisor does not use. [`RobustList`] can restore
    /// the list.
    pub fn hold(&self) {
        let end = end_of_list();
        self.next.store(end, Ordering::Relaxed);
        HELD.next.store(ptr::from_ref(self).cast_mut(), Ordering::Release);
        // SAFETY: the head is static and has the layout of the kernel's structure. The list goes through memory that is
        // shared with an untrusted instance, which may write anything there. That is safe: at the end of this thread
        // the kernel copies each link with checks, follows at most 2048 links (ROBUST_LIST_LIMIT), and marks only words
        // that hold the id of this thread. If the call fails, the instance still gets the parent-death signal.
        unsafe { libc::syscall(libc::SYS_set_robust_list, &raw const HELD, size_of::<Head>()) };
    }

    /// Removes the lifeline from the kernel's list. To be called before its memory is unmapped. Does nothing if this
    /// lifeline is not held.
    pub(super) fn release(&self) {
        let this = ptr::from_ref(self).cast_mut();
        let _ = HELD.next.compare_exchange(this, end_of_list(), Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Marks the lifeline in the same way as the kernel does when the holder ends.
    pub fn mark(&self) {
        self.holder.store(libc::FUTEX_OWNER_DIED, Ordering::Release);
    }

    /// Returns `true` if the holder has ended, or [`mark`](Lifeline::mark) was called. The kernel clears the thread id
    /// when it marks the word.
    #[inline]
    pub fn is_marked(&self) -> bool {
        self.holder.load(Ordering::Relaxed) & libc::FUTEX_TID_MASK == 0
    }
}

/// A thread's list of robust mutexes, as the C library registered it with the kernel. Kept to undo [`Lifeline::hold`].
#[derive(Debug)]
pub struct RobustList {
    head: *mut libc::c_void,
    size: usize,
}

impl RobustList {
    /// Returns the list of robust futexes that the calling thread has registered.
    pub fn current() -> RobustList {
        let mut list = RobustList { head: ptr::null_mut(), size: 0 };
        // SAFETY: both pointers are valid during the call, and the kernel writes one word to each (get_robust_list(2)).
        unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut list.head, &raw mut list.size) };
        list
    }

    /// Registers the list for the calling thread again. To be called in the thread that called `current`.
    pub fn restore(&self) {
        // SAFETY: the C library registered this list for the same thread, so it stays valid while the thread lives.
        unsafe { libc::syscall(libc::SYS_set_robust_list, self.head, self.size) };
    }
}

/// Returns the pointer that ends the list: the kernel's list is circular, so its last link points to the head.
fn end_of_list() -> *mut Lifeline {
    (&raw const HELD).cast_mut().cast()
}
