//! Threads of the library inside the application.

use std::ffi::c_void;
use std::ptr;

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
