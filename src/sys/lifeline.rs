//! How an instance learns, without a system call, that its supervisor is gone: a robust futex. The supervisor
//! holds it from before the fork; when the thread that holds it ends, however it ends, the kernel marks the word
//! (FUTEX_OWNER_DIED, see set_robust_list(2)).

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// The kernel's `struct robust_list`, followed by the futex word that it stands for.
#[repr(C)]
pub struct Lifeline {
    next: AtomicPtr<Lifeline>,
    holder: AtomicU32,
}

/// The kernel's `struct robust_list_head`.
#[repr(C)]
struct Head {
    next: AtomicPtr<Lifeline>,
    futex_offset: libc::c_long,
    pending: AtomicPtr<Lifeline>,
}

static HELD: Head = Head {
    next: AtomicPtr::new(ptr::null_mut()),
    futex_offset: std::mem::offset_of!(Lifeline, holder) as libc::c_long,
    pending: AtomicPtr::new(ptr::null_mut()),
};

impl Lifeline {
    /// Names the calling thread as the holder. To be called before the fork, so that the child never sees the
    /// cord without a holder.
    pub fn take(&self) {
        // SAFETY: gettid has no arguments and cannot fail.
        let thread = unsafe { libc::syscall(libc::SYS_gettid) } as u32;
        self.holder.store(thread, Ordering::Release);
    }

    /// Has the kernel mark this cord, and no other, when the calling thread ends. The thread's list of robust
    /// mutexes is given up for it: the supervisor never takes one.
    pub fn hold(&self) {
        let end = end_of_list();
        self.next.store(end, Ordering::Relaxed);
        HELD.next.store(ptr::from_ref(self).cast_mut(), Ordering::Release);
        // SAFETY: the head is static and laid out as the kernel wants it. What it points to is shared with a
        // process that is not trusted: the kernel reads it with care when this thread ends, follows at most
        // 2048 links, and marks only words that hold this thread's id. Where the kernel refuses, the
        // parent-death signal alone tells the instance.
        unsafe { libc::syscall(libc::SYS_set_robust_list, &raw const HELD, size_of::<Head>()) };
    }

    /// Takes the cord off the kernel's list, before its memory goes. Nothing for a cord that is not held.
    pub(super) fn release(&self) {
        let this = ptr::from_ref(self).cast_mut();
        let _ = HELD.next.compare_exchange(this, end_of_list(), Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Marks this cord as the kernel does when the holder ends.
    pub fn mark(&self) {
        self.holder.store(libc::FUTEX_OWNER_DIED, Ordering::Release);
    }

    /// Returns `true` if the holder has ended, or the cord was cut. The kernel takes the thread id out of the word when
    /// it marks it.
    #[inline]
    pub fn is_marked(&self) -> bool {
        self.holder.load(Ordering::Relaxed) & libc::FUTEX_TID_MASK == 0
    }
}

/// The calling thread's list of robust mutexes, as the C library registered it.
#[derive(Debug)]
pub struct RobustList {
    head: *mut libc::c_void,
    size: usize,
}

impl RobustList {
    /// What is in force.
    pub fn current() -> RobustList {
        let mut list = RobustList { head: ptr::null_mut(), size: 0 };
        // SAFETY: the kernel writes two words that are ours.
        unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut list.head, &raw mut list.size) };
        list
    }

    /// Puts it in force again.
    pub fn restore(&self) {
        // SAFETY: the C library had registered it for this thread.
        unsafe { libc::syscall(libc::SYS_set_robust_list, self.head, self.size) };
    }
}

/// The list ends where it began.
fn end_of_list() -> *mut Lifeline {
    (&raw const HELD).cast_mut().cast()
}
