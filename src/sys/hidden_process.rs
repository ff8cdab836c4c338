//! A process that the application does not see.

use std::ffi::{c_int, c_void};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::process;
use super::signals::Signal;

/// Bytes of stack for `body`, in memory only where it is used. The C library runs the application's fork handlers
/// there.
const STACK: NonZeroUsize = NonZeroUsize::new(1 << 20).unwrap();

/// Bytes below the stack that nobody may touch; a multiple of every page size in use.
const GUARD: usize = 1 << 16;

/// The exit status after a panic.
const PANICKED: u8 = u8::MAX;

/// Runs `body` in a process of its own, and returns what `body` returned; a panic is 255.
///
/// The application sees neither a child nor a SIGCHLD. The process is cloned without a signal for its end, so only a
/// call with `__WALL` or `__WCLONE` waits for it, see wait(2).
///
/// The process shares the memory and the descriptors of the caller, and the calling thread sleeps until it has ended,
/// as after vfork(2). `body` may use all of the C library, fork(2) included: the locks that other threads hold are
/// released by these threads. A tracer or an emulator may make a copy of the memory instead, so `body` has to report
/// by its return value or by memory mapped MAP_SHARED. The caller blocks all signals.
///
/// # Errors
/// Memory for the stack or the process was refused, or the process was killed (ECHILD).
pub fn run(body: impl FnOnce() -> u8) -> nix::Result<u8> {
    let stack = Stack::new()?;
    let mut task = Some(body);
    clone_and_wait(&stack, &mut task)
}

fn clone_and_wait<F: FnOnce() -> u8>(stack: &Stack, task: &mut Option<F>) -> nix::Result<u8> {
    extern "C" fn start<F: FnOnce() -> u8>(task: *mut c_void) -> c_int {
        process::signal_on_death_of_parent(Some(Signal::KILL));
        // SAFETY: clone_and_wait passed a task of this type, and its thread sleeps until this process has ended.
        let task = unsafe { &mut *task.cast::<Option<F>>() };
        let done = catch_unwind(AssertUnwindSafe(|| task.take().map_or(PANICKED, |body| body())));
        process::exit_now(done.unwrap_or(PANICKED).into())
    }
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES;
    // SAFETY: the stack is unused and outlives the process, because CLONE_VFORK holds the caller until then; the task
    // does, too, and is of the type that start() expects. No other thread uses either.
    let cloned = unsafe { libc::clone(start::<F>, stack.top(), flags, std::ptr::from_mut(task).cast()) };
    let pid = Errno::result(cloned)?;
    let mut status = 0;
    // SAFETY: the status outlives the call.
    while Errno::result(unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) }) != Ok(pid) {
        if Errno::last() != Errno::EINTR {
            return Err(Errno::ECHILD);
        }
    }
    if libc::WIFEXITED(status) { Ok(libc::WEXITSTATUS(status) as u8) } else { Err(Errno::ECHILD) }
}

/// A stack with a guard below it.
struct Stack(NonNull<c_void>);

impl Stack {
    const LENGTH: NonZeroUsize = NonZeroUsize::new(STACK.get() + GUARD).unwrap();

    fn new() -> nix::Result<Stack> {
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE | MapFlags::MAP_STACK;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let stack = Stack(unsafe { mmap_anonymous(None, Self::LENGTH, access, flags)? });
        // SAFETY: the mapping was just made, and nobody uses it yet.
        unsafe { mprotect(stack.0, GUARD, ProtFlags::PROT_NONE)? };
        Ok(stack)
    }

    /// The end of the mapping: stacks grow down on every architecture that Rust has.
    fn top(&self) -> *mut c_void {
        // SAFETY: one past the last byte of the mapping.
        unsafe { self.0.as_ptr().byte_add(Self::LENGTH.get()) }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by new(), and the process that ran on it has ended.
        let _ = unsafe { munmap(self.0, Self::LENGTH.get()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::signals::Blocked;

    #[test]
    fn body_runs_in_another_process_that_wait_does_not_find() {
        let _blocked = Blocked::all();
        let own = process::own_pid();
        let parent = |_: &()| process::parent() == Some(own) && process::own_pid() != own;
        assert_eq!(run(|| u8::from(parent(&()))), Ok(1));
        assert_eq!(run(|| 254), Ok(254));
    }

    #[test]
    fn a_body_that_panics_or_is_killed_is_reported() {
        let _blocked = Blocked::all();
        assert_eq!(run(|| std::panic::resume_unwind(Box::new(()))), Ok(PANICKED));
        let killed = run(|| {
            crate::sys::signals::send_to_self(Signal::KILL);
            0
        });
        assert_eq!(killed, Err(Errno::ECHILD));
    }
}
