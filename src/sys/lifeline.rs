//! A robust futex by which an instance notices the end of its supervisor without a system call.
//!
//! The supervisor's thread holds the futex from before the fork. When that thread ends for any reason, also by SIGKILL,
//! the kernel marks the futex word with `FUTEX_OWNER_DIED`, see set_robust_list(2). The instance reads the word.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// A futex word in shared memory that the kernel marks when the supervisor's thread ends, however it ends. The instance
/// reads the word to notice the end of its supervisor.
///
/// The layout is that of the kernel's `struct robust_list`, with the futex word behind it. The word contains the thread
/// id of the supervisor's thread, its holder. In a marked word the thread id is 0.
#[repr(C)]
pub struct Lifeline {
    next: AtomicPtr<Lifeline>,
    holder: AtomicU32,
}

/// The head of a thread's list of robust futexes, the kernel's `struct robust_list_head` (set_robust_list(2)).
#[repr(C)]
struct Head {
    next: AtomicPtr<Lifeline>,
    futex_offset: libc::c_long,
    pending: AtomicPtr<Lifeline>,
}

/// The supervisor's list of robust futexes, whose words the kernel marks when the supervisor's thread ends. It contains
/// one [`Lifeline`], that of the present instance, or nothing.
static HELD: Head = Head {
    next: AtomicPtr::new(ptr::null_mut()),
    futex_offset: std::mem::offset_of!(Lifeline, holder) as libc::c_long,
    pending: AtomicPtr::new(ptr::null_mut()),
};

impl Lifeline {
    /// Stores the calling thread, the supervisor's, as the holder of this futex. Called before the fork, so that the
    /// instance never sees the word without a holder.
    pub fn take(&self) {
        // SAFETY: gettid(2) has no arguments and always succeeds.
        let thread = unsafe { libc::syscall(libc::SYS_gettid) } as u32;
        self.holder.store(thread, Ordering::Release);
    }

    /// Has the kernel mark this futex word, and no other, when the calling thread, the supervisor's, ends.
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

    /// Removes this futex from the kernel's list of the calling thread. Called before the memory of the futex is
    /// unmapped. Does nothing if the list does not contain this futex.
    pub(super) fn release(&self) {
        let this = ptr::from_ref(self).cast_mut();
        let _ = HELD.next.compare_exchange(this, end_of_list(), Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Marks this futex word, as the kernel does when the supervisor's thread ends. The supervisor calls this for an
    /// instance that has ended, so that processes left behind by it notice.
    pub fn mark(&self) {
        self.holder.store(libc::FUTEX_OWNER_DIED, Ordering::Release);
    }

    /// Returns `true` if the supervisor's thread, which holds this futex, has ended, or [`mark`](Lifeline::mark) was
    /// called. The thread id in the word is 0 in both cases.
    #[inline]
    pub fn is_marked(&self) -> bool {
        self.holder.load(Ordering::Relaxed) & libc::FUTEX_TID_MASK == 0
    }
}

/// The list of robust mutexes that the C library has registered with the kernel for one thread. Kept to restore it
/// after [`Lifeline::hold`] has replaced it, if `sam_register` fails.
#[derive(Debug)]
pub struct RobustList {
    head: *mut libc::c_void,
    size: usize,
}

impl RobustList {
    /// Returns the list of robust mutexes that is registered for the calling thread, as its address and size. The list
    /// itself is not copied.
    pub fn current() -> RobustList {
        let mut list = RobustList { head: ptr::null_mut(), size: 0 };
        // SAFETY: both pointers are valid during the call, and the kernel writes one word to each (get_robust_list(2)).
        unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut list.head, &raw mut list.size) };
        list
    }

    /// Registers this list of robust mutexes with the kernel for the calling thread again. That must be the thread that
    /// called [`current`](RobustList::current).
    pub fn restore(&self) {
        // SAFETY: the C library registered this list for the same thread, so it stays valid while the thread lives.
        unsafe { libc::syscall(libc::SYS_set_robust_list, self.head, self.size) };
    }
}

/// Returns the pointer that ends the supervisor's list of robust futexes. The kernel's list is circular, so its last
/// link points to the head.
fn end_of_list() -> *mut Lifeline {
    (&raw const HELD).cast_mut().cast()
}
