//! A child process that the application does not notice.

use std::ffi::{c_int, c_void};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::process;
use super::signals::Signal;

/// The size in bytes of the stack for the hidden child process that [`run`] makes. The kernel allocates memory only for
/// the pages that are used.
///
/// The application's pthread_atfork(3) handlers run on this stack if the function that runs there forks, so it is not
/// small.
#[allow(clippy::unwrap_used)] // evaluated at compile time, which clippy 1.85 does not consider
const STACK_BYTES: NonZeroUsize = NonZeroUsize::new(1 << 20).unwrap();

/// The size in bytes of the guard below the stack of a hidden child process, where any access is an error. A multiple
/// of all page sizes of Linux.
const GUARD_BYTES: usize = 1 << 16;

/// The exit code of a hidden child process in which the function that it ran panicked.
const PANIC_CODE: u8 = u8::MAX;

/// Runs `body` in a new process, and returns the value that `body` returned, or 255 if `body` panicked. The caller must
/// have blocked all signals.
///
/// The application notices neither a child nor a SIGCHLD. The process is made by clone(2) without a termination signal,
/// so only calls with `__WALL` or `__WCLONE` wait for it, see wait(2).
///
/// The process shares the memory and the descriptors of the caller. As with vfork(2), the calling thread sleeps until
/// the process has ended. The other threads of the application run on, and release the locks that they hold. So `body`
/// may call any function of the C library, also fork(2).
///
/// A tracer or an emulator may copy the memory instead of sharing it. So the only results of `body` that reach the
/// caller for certain are its return value and changes to memory that is mapped MAP_SHARED.
///
/// # Errors
/// `ENOMEM` or `EAGAIN` if the kernel refuses the stack or the process. `ECHILD` if the process was killed.
pub fn run(body: impl FnOnce() -> u8) -> nix::Result<u8> {
    let stack = Stack::new()?;
    let mut task = Some(body);
    clone_and_wait(&stack, &mut task)
}

/// Clones a process that runs the function in `task` on `stack`, and waits for its end. Returns the value of that
/// function, which is the exit code of the process. The process takes the function out of `task`.
fn clone_and_wait<F: FnOnce() -> u8>(stack: &Stack, task: &mut Option<F>) -> nix::Result<u8> {
    extern "C" fn start<F: FnOnce() -> u8>(task: *mut c_void) -> c_int {
        process::signal_on_death_of_parent(Some(Signal::KILL));
        // SAFETY: clone_and_wait passed a pointer to a task of this type. It is the only user of the task, because the
        // thread that owns it sleeps until this process has ended.
        let task = unsafe { &mut *task.cast::<Option<F>>() };
        let done = catch_unwind(AssertUnwindSafe(|| task.take().map_or(PANIC_CODE, |body| body())));
        process::exit_now(done.unwrap_or(PANIC_CODE).into())
    }
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES;
    // SAFETY: the pointer to the stack is the top of an unused mapping, as clone(2) demands. Stack and task are valid
    // for the life of the process, because CLONE_VFORK suspends this thread until then. No other thread uses them. The
    // task has the type that `start` expects. The process shares the thread-local variables of this thread, which does
    // not run.
    let cloned = unsafe { libc::clone(start::<F>, stack.top(), flags, std::ptr::from_mut(task).cast()) };
    let pid = Errno::result(cloned)?;
    let mut status = 0;
    // SAFETY: the pointer to the status is valid during the call, which writes there.
    while Errno::result(unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) }) != Ok(pid) {
        if Errno::last() != Errno::EINTR {
            return Err(Errno::ECHILD);
        }
    }
    if libc::WIFEXITED(status) { Ok(libc::WEXITSTATUS(status) as u8) } else { Err(Errno::ECHILD) }
}

/// A mapped stack for a hidden child process, with a guard below it.
struct Stack(NonNull<c_void>);

impl Stack {
    #[allow(clippy::unwrap_used)] // evaluated at compile time, which clippy 1.85 does not consider
    const LENGTH: NonZeroUsize = NonZeroUsize::new(STACK_BYTES.get() + GUARD_BYTES).unwrap();

    fn new() -> nix::Result<Stack> {
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE | MapFlags::MAP_STACK;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: without MAP_FIXED the kernel chooses an unused address, so no existing memory changes.
        let stack = Stack(unsafe { mmap_anonymous(None, Self::LENGTH, access, flags)? });
        // SAFETY: the guard is a part of the new mapping, which nothing uses yet.
        unsafe { mprotect(stack.0, GUARD_BYTES, ProtFlags::PROT_NONE)? };
        Ok(stack)
    }

    /// Returns the end of the mapped memory, where a stack begins. Stacks grow down on all Linux targets of Rust.
    fn top(&self) -> *mut c_void {
        // SAFETY: the result is one past the last byte of the mapping, which pointer arithmetic may reach.
        unsafe { self.0.as_ptr().byte_add(Self::LENGTH.get()) }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: `new` made the mapping with this length, and the process that used it has ended.
        let _ = unsafe { munmap(self.0, Self::LENGTH.get()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::signals::Blocked;

    #[test]
    fn body_runs_in_a_child_process_and_returns_its_value() {
        let _blocked = Blocked::all();
        let own = process::own_pid();
        let parent = |_: &()| process::parent() == Some(own) && process::own_pid() != own;
        assert_eq!(run(|| u8::from(parent(&()))), Ok(1));
        assert_eq!(run(|| 254), Ok(254));
    }

    #[test]
    fn panic_or_kill_of_body_is_reported() {
        let _blocked = Blocked::all();
        assert_eq!(run(|| std::panic::resume_unwind(Box::new(()))), Ok(PANIC_CODE));
        let killed = run(|| {
            crate::sys::signals::send_to_self(Signal::KILL);
            0
        });
        assert_eq!(killed, Err(Errno::ECHILD));
    }
}
