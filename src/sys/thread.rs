//! Threads of the library: inside the application, and in processes of its own.

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use super::process;

/// What tells the calling thread from every other one of this process; never 0.
pub fn own() -> u64 {
    // SAFETY: pthread_self has no arguments and cannot fail.
    unsafe { libc::pthread_self() as u64 }
}

unsafe extern "C-unwind" {
    // Each may carry out a request that is pending, and does not return then.
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    fn pthread_setcanceltype(kind: c_int, before: *mut c_int) -> c_int;
    fn pthread_testcancel();
}

const CANCEL_ENABLE: c_int = 0;
const CANCEL_DISABLE: c_int = 1;
const CANCEL_DEFERRED: c_int = 0;

/// Lets the calling thread be cancelled, or keeps it from that. Returns the state before.
fn set_cancel_state(state: c_int) -> c_int {
    let mut before = CANCEL_ENABLE;
    // SAFETY: the C library writes the former state to a place that is ours; both states exist.
    unsafe { pthread_setcancelstate(state, &mut before) };
    before
}

/// Sets the type of cancellation of the calling thread. Returns the type before.
fn set_cancel_type(kind: c_int) -> c_int {
    let mut before = CANCEL_DEFERRED;
    // SAFETY: the C library writes the former type to a place that is ours; both types exist.
    unsafe { pthread_setcanceltype(kind, &mut before) };
    before
}

/// The calling thread cannot be cancelled, see pthread_cancel(3), until end() is called.
#[derive(Debug)]
#[must_use = "the thread cannot be cancelled until end() is called"]
pub struct Uncancelled {
    state: c_int,
    kind: c_int,
    /// Belongs to the thread that made it.
    _thread: PhantomData<*const ()>,
}

impl Uncancelled {
    /// From now on.
    pub fn begin() -> Uncancelled {
        // An asynchronous request is a signal, which may be on its way when the thread forbids it: the handler of the C
        // library (2.36) looks at the type alone. It is asynchronous in each cancellation point as well: sys::direct
        // sees to it that there are none.
        let kind = set_cancel_type(CANCEL_DEFERRED);
        Uncancelled { state: set_cancel_state(CANCEL_DISABLE), kind, _thread: PhantomData }
    }

    /// Restores the state from before. Does not return if a request has arrived and the thread's type of cancellation
    /// is asynchronous: so this is no destructor, and the caller must have nothing to drop.
    pub fn end(self) {
        set_cancel_state(self.state);
        if self.kind != CANCEL_DEFERRED {
            // SAFETY: it has no arguments.
            unsafe { pthread_testcancel() };
            set_cancel_type(self.kind);
        }
    }
}

/// Runs `body`, in which the calling thread can be cancelled, as a new thread can.
pub fn cancellable<T>(body: impl FnOnce() -> T) -> T {
    set_cancel_state(CANCEL_ENABLE);
    let result = body();
    set_cancel_state(CANCEL_DISABLE);
    result
}

/// Runs `body` in a new detached thread. It has the system's usual stack size, and blocks every signal that the
/// caller blocks. It cannot be cancelled but in cancellable(), and what `body` calls there may end it.
pub fn spawn_detached(body: fn()) -> Result<(), i32> {
    extern "C-unwind" fn run(body: *mut c_void) -> *mut c_void {
        set_cancel_state(CANCEL_DISABLE);
        // SAFETY: spawn_detached passed a fn() in the pointer, which is as large.
        let body = unsafe { std::mem::transmute::<*mut c_void, fn()>(body) };
        body();
        ptr::null_mut()
    }
    // SAFETY: attributes are initialised before and destroyed after use, and the thread gets all it needs by value.
    // The C library calls the function as C code would, and may unwind it.
    unsafe {
        let run = std::mem::transmute::<
            extern "C-unwind" fn(*mut c_void) -> *mut c_void,
            extern "C" fn(*mut c_void) -> *mut c_void,
        >(run);
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
