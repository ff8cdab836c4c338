//! The one way from Rust to C: no panic crosses it, and every error becomes its code.

use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use super::corotypes::cs_error_t;
use crate::error::{Error, Result};
use crate::instance::session;
use crate::sys;
use crate::sys::thread::Uncancelled;

/// Runs `body`, which does the work of one C function, and converts its result and any panic to a `cs_error_t`. After a
/// failed system call errno is that of the call. The calling thread cannot be cancelled meanwhile, because the C
/// library would unwind frames of Rust.
#[inline(always)]
pub(super) fn guarded(body: impl FnOnce() -> Result<()>) -> cs_error_t {
    // The thread may still be cancelled, at any instruction, where its type of cancellation is asynchronous. Frames
    // that catch or drop something cannot be unwound from everywhere, so they are those of another function.
    #[inline(never)]
    fn caught(body: impl FnOnce() -> Result<()>) -> cs_error_t {
        guarded_store(body)
    }
    let uncancelled = Uncancelled::begin();
    let code = caught(body);
    uncancelled.end();
    code
}

/// Runs `body`, which does the work of `sam_hc_send`, and converts its result and any panic to a `cs_error_t`. Unlike
/// [`guarded`] it does not disable the cancellation of the calling thread. So `body` must call no function that is a
/// cancellation point (pthreads(7)).
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

/// Makes the first panic in this library a line in the log; later ones are not logged. std's own hook would write to
/// the standard error of the application. The hook belongs to the copy of std in this library: panics of an application
/// in Rust do not reach it.
pub(super) fn log_panics() {
    static IS_SET: AtomicBool = AtomicBool::new(false);
    const ADVICE: &str = "a bug of this library, please report it";
    static LOGGED: AtomicBool = AtomicBool::new(false);
    // Setting a hook takes a lock of std, which a signal handler that calls the library must not wait for.
    if IS_SET.swap(true, Ordering::Relaxed) {
        return;
    }
    panic::set_hook(Box::new(|info| {
        // Once: a fault may occur again at every call, or while its message is written.
        if LOGGED.swap(true, Ordering::Relaxed) {
            return;
        }
        let payload = info.payload();
        let message = payload.downcast_ref::<&str>().copied();
        let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let message = message.unwrap_or("panic");
        match info.location() {
            Some(place) => {
                session::complain(format_args!("internal error at {place}: {message} ({ADVICE})"));
            }
            None => session::complain(format_args!("internal error: {message} ({ADVICE})")),
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::policy::Policy;

    #[test]
    fn a_panic_becomes_the_library_error() {
        assert_eq!(guarded(|| panic!("on purpose")), cs_error_t::CS_ERR_LIBRARY);
    }

    #[test]
    fn an_error_of_the_system_is_told_in_errno() {
        assert_eq!(guarded(|| Err(Error::System(libc::EMFILE))), cs_error_t::CS_ERR_LIBRARY);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EMFILE));
    }

    #[test]
    fn panic_is_logged_once_and_nothing_else_is_printed() {
        // The hook and the session are for a whole process, so the test runs itself once more.
        const IS_CHILD: &str = "SAM_TEST_PANICS";
        if std::env::var_os(IS_CHILD).is_some() {
            log_panics();
            session::initialize(0, Policy::from_bits(1).unwrap()).unwrap();
            for number in 1..=2 {
                assert_eq!(guarded(|| panic!("number {number}")), cs_error_t::CS_ERR_LIBRARY);
            }
            return;
        }
        let name = "capi::guard::tests::panic_is_logged_once_and_nothing_else_is_printed";
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", name])
            .env(IS_CHILD, "1")
            .env("SAM_LOG", "stderr")
            .output()
            .unwrap();
        assert!(child.status.success(), "{child:?}");
        let printed = String::from_utf8(child.stderr).unwrap();
        let lines: Vec<&str> = printed.lines().collect();
        let [line] = lines[..] else { panic!("{lines:#?}") };
        assert!(line.starts_with("sam[") && line.contains(": number 1 (a bug "), "{line}");
        assert!(line.contains("]: internal error at src/capi/guard.rs:"), "{line}");
    }
}
