//! Threads of the library: inside the application, and in processes of its own.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use super::process;

/// What tells the calling thread from every other one of this process; never 0.
pub fn own() -> u64 {
    // SAFETY: pthread_self has no arguments and cannot fail.
    unsafe { libc::pthread_self() as u64 }
}

/// Runs `body` in a new detached thread. It has the system's usual stack size, and blocks every signal that the
/// caller blocks.
pub fn spawn_detached(body: fn()) -> Result<(), i32> {
    extern "C" fn run(body: *mut c_void) -> *mut c_void {
        // SAFETY: spawn_detached passed a fn() in the pointer, which is as large.
        let body = unsafe { std::mem::transmute::<*mut c_void, fn()>(body) };
        body();
        ptr::null_mut()
    }
    // SAFETY: attributes are initialised before and destroyed after use, and the thread gets all it needs by value.
    unsafe {
        let mut attributes = std::mem::zeroed::<libc::pthread_attr_t>();
        let mut thread = std::mem::zeroed::<libc::pthread_t>();
        let failed = libc::pthread_attr_init(&mut attributes);
        if failed != 0 {
            return Err(failed);
        }
        libc::pthread_attr_setdetachstate(&mut attributes, libc::PTHREAD_CREATE_DETACHED);
        let failed = libc::pthread_create(&mut thread, &attributes, run, body as *mut c_void);
        libc::pthread_attr_destroy(&mut attributes);
        if failed == 0 { Ok(()) } else { Err(failed) }
    }
}

/// Runs `main`, and beside it `aside` in a thread of its own, on what they share. Ends the process, without a word to
/// the application's exit handlers, when `main` returns, or when there can be no thread.
pub fn run_beside<T: Sync>(shared: &T, aside: fn(&T), main: impl FnOnce(&T)) -> ! {
    struct Task<'a, T>(&'a T, fn(&T));
    extern "C" fn run<T>(task: *mut c_void) -> *mut c_void {
        // SAFETY: run_beside passed a Task, which is there until the process ends.
        let Task(shared, aside) = unsafe { &*task.cast::<Task<'_, T>>() };
        aside(shared);
        ptr::null_mut()
    }
    let task = Task(shared, aside);
    let argument = (&raw const task).cast_mut().cast();
    // SAFETY: the new thread gets a pointer to what stays in place until the process ends, below; T may be shared.
    let failed = unsafe {
        let mut thread = std::mem::zeroed::<libc::pthread_t>();
        libc::pthread_create(&mut thread, ptr::null(), run::<T>, argument)
    };
    let done = failed == 0 && catch_unwind(AssertUnwindSafe(|| main(shared))).is_ok();
    process::exit_now((!done).into())
}
