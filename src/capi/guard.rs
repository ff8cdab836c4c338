//! The one way from Rust to C: no panic crosses it, and every error becomes its code.

use core::panic::PanicInfo;
use std::fmt::Arguments;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use super::corotypes::cs_error_t;
use crate::error::{Error, Result};
use crate::instance::session;
use crate::sys;
use crate::sys::thread::Uncancelled;

/// Runs the body of a C function. After an error of the system, errno says which. The calling thread cannot be cancelled
/// meanwhile: the C library would unwind frames of Rust.
#[inline(always)]
pub(super) fn guarded(body: impl FnOnce() -> Result<()>) -> cs_error_t {
    // The thread may still be cancelled, at any instruction, where its type of cancellation is asynchronous. Frames that
    // catch or drop something cannot be unwound from everywhere, so they are those of another function.
    #[inline(never)]
    fn caught(body: impl FnOnce() -> Result<()>) -> cs_error_t {
        guarded_store(body)
    }
    let uncancelled = Uncancelled::begin();
    let code = caught(body);
    uncancelled.end();
    code
}

/// As guarded(), for a body without a cancellation point.
#[inline(always)]
pub(super) fn guarded_store(body: impl FnOnce() -> Result<()>) -> cs_error_t {
    // The session's own state changes only in single steps, so a panic leaves none half done.
    match catch_unwind(AssertUnwindSafe(body)).unwrap_or(Err(Error::Internal)) {
        Ok(()) => cs_error_t::CS_OK,
        Err(error) => {
            if let Error::System(errno) = error {
                sys::set_errno(errno);
            }
            error.into()
        }
    }
}

/// Called for a panic in place of std's handler, which writes to a stream of the application and is accompanied by a
/// symboliser as large as all of this library. The Makefile puts it there.
#[unsafe(no_mangle)]
extern "Rust" fn sam_panicked(info: &PanicInfo<'_>) -> ! {
    match info.location() {
        Some(place) => unwind(format_args!("internal error at {place}: {}", info.message())),
        None => unwind(format_args!("internal error: {}", info.message())),
    }
}

/// Called in place of std's handler, which ends the process, where memory is needed and there is none.
#[unsafe(no_mangle)]
extern "Rust" fn sam_out_of_memory(size: usize, _align: usize) -> ! {
    unwind(format_args!("internal error: no memory for {size} bytes"))
}

/// Back to who called into the library. Said once, as it may happen at every call, or while it is said.
fn unwind(what: Arguments<'_>) -> ! {
    static SAID: AtomicBool = AtomicBool::new(false);
    if std::thread::panicking() {
        std::process::abort();
    }
    if !SAID.swap(true, Ordering::Relaxed) {
        session::complain(what);
    }
    resume_unwind(Box::new(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_the_library_error() {
        assert_eq!(guarded(|| panic!("on purpose")), cs_error_t::CS_ERR_LIBRARY);
    }

    #[test]
    fn an_error_of_the_system_is_told_in_errno() {
        assert_eq!(guarded(|| Err(Error::System(libc::EMFILE))), cs_error_t::CS_ERR_LIBRARY);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EMFILE));
    }
}
