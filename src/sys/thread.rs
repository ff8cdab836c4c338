//! Threads that the library makes in the application's processes and in its own, and their cancellation.

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use super::process;

unsafe extern "C-unwind" {
    // A thread with a pending cancellation request may end in these functions, so the C library may unwind from them.
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    fn pthread_setcanceltype(kind: c_int, before: *mut c_int) -> c_int;
    fn pthread_testcancel();
}

const CANCEL_ENABLE: c_int = 0;
const CANCEL_DISABLE: c_int = 1;
const CANCEL_DEFERRED: c_int = 0;

/// Sets the calling thread's cancellation state: `CANCEL_ENABLE` or `CANCEL_DISABLE`. Returns the previous state.
fn set_cancel_state(state: c_int) -> c_int {
    let mut before = CANCEL_ENABLE;
    // SAFETY: the callers pass a valid state, and the C library writes the previous one to a local variable.
    unsafe { pthread_setcancelstate(state, &mut before) };
    before
}

/// Sets the calling thread's cancellation type, see pthread_setcanceltype(3). Returns the previous type.
fn set_cancel_type(kind: c_int) -> c_int {
    let mut before = CANCEL_DEFERRED;
    // SAFETY: the callers pass a valid type, and the C library writes the previous one to a local variable.
    unsafe { pthread_setcanceltype(kind, &mut before) };
    before
}

/// A guard that keeps the calling thread from being cancelled (pthread_cancel(3)) until [`end`](Uncancelled::end) is
/// called. The C functions of the library except `sam_hc_send` hold it.
#[derive(Debug)]
#[must_use = "the thread cannot be cancelled until end() is called"]
pub struct Uncancelled {
    state: c_int,
    kind: c_int,
    /// Makes this type neither `Send` nor `Sync`, because it restores the cancellation state of the thread that made
    /// it.
    _thread: PhantomData<*const ()>,
}

impl Uncancelled {
    /// Disables cancellation of the calling thread until `end` is called.
    pub fn begin() -> Uncancelled {
        // The C library cancels an asynchronously cancellable thread with a signal, which may arrive just after this
        // call. Its handler checks only the type and not the state (glibc 2.36), so the type changes first. glibc also
        // sets the asynchronous type inside each cancellation point. The library has none: `sys::direct` replaces them.
        let kind = set_cancel_type(CANCEL_DEFERRED);
        Uncancelled { state: set_cancel_state(CANCEL_DISABLE), kind, _thread: PhantomData }
    }

    /// Restores the cancellation state and type that the calling thread had before [`begin`](Uncancelled::begin).
    ///
    /// Does not return if the previous type is asynchronous and a request is pending: the C library unwinds the thread
    /// from here. So this is not done by a destructor, and the caller must hold no value with a destructor.
    pub fn end(self) {
        set_cancel_state(self.state);
        if self.kind != CANCEL_DEFERRED {
            // SAFETY: the function has no arguments. It may unwind, and its ABI is C-unwind.
            unsafe { pthread_testcancel() };
            set_cancel_type(self.kind);
        }
    }
}

/// Runs `body`, a call of the application's code, so that the thread can be cancelled by pthread_cancel(3) meanwhile.
/// Before and after that the thread, which the library has made, cannot be cancelled.
pub fn cancellable<T>(body: impl FnOnce() -> T) -> T {
    set_cancel_state(CANCEL_ENABLE);
    let result = body();
    set_cancel_state(CANCEL_DISABLE);
    result
}

/// Runs `body` in a new detached thread with the default stack size and the caller's signal mask.
///
/// The thread can be cancelled only in [`cancellable`]. There the application's code may also end the thread.
///
/// # Errors
/// The error number of pthread_attr_init(3) or pthread_create(3).
pub fn spawn_detached(body: fn()) -> Result<(), i32> {
    extern "C-unwind" fn run(body: *mut c_void) -> *mut c_void {
        set_cancel_state(CANCEL_DISABLE);
        // SAFETY: spawn_detached converted a fn() to this pointer. Both have the same size on Linux.
        let body = unsafe { std::mem::transmute::<*mut c_void, fn()>(body) };
        body();
        ptr::null_mut()
    }
    // SAFETY: the attributes are initialised before their use and destroyed after it. All zeros is a valid value for
    // the memory of both structures. The thread gets its only argument by value. The transmute changes the ABI from
    // C-unwind to C, as the type in the libc crate demands. Both call in the same way, and the C library, which may
    // unwind the function when the thread ends, calls it as C code.
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

/// Runs `main` in the calling thread and `background` in a second thread, both with `shared`. Ends the process when
/// `main` returns, with exit code 0.
///
/// If `main` panics or the thread cannot be made, the exit code is 1. The application's exit handlers do not run.
pub fn run_beside<T: Sync>(shared: &T, background: fn(&T), main: impl FnOnce(&T)) -> ! {
    struct Task<'a, T>(&'a T, fn(&T));
    extern "C" fn run<T>(task: *mut c_void) -> *mut c_void {
        // SAFETY: run_beside passed a pointer to a Task of this type, which is valid until the process ends.
        let Task(shared, background) = unsafe { &*task.cast::<Task<'_, T>>() };
        background(shared);
        ptr::null_mut()
    }
    let task = Task(shared, background);
    let argument = (&raw const task).cast_mut().cast();
    // SAFETY: `task` is valid until the process ends, because this function never returns or unwinds. T is Sync, so
    // both threads may use it. NULL stands for the default attributes.
    let failed = unsafe {
        let mut thread = std::mem::zeroed::<libc::pthread_t>();
        libc::pthread_create(&mut thread, ptr::null(), run::<T>, argument)
    };
    let done = failed == 0 && catch_unwind(AssertUnwindSafe(|| main(shared))).is_ok();
    process::exit_now((!done).into())
}
