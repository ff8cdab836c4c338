//! Ends the supervisor with the exit status of its last instance.

use std::sync::atomic::{AtomicI32, Ordering};

use super::limits::{Limits, Resource};
use super::process::ExitStatus;
use super::signals::{self, Signal};

/// The signal with which the supervisor kills itself after the application's exit handlers, because that signal killed
/// its last instance. 0 for none.
static FINAL_SIGNAL: AtomicI32 = AtomicI32::new(0);

/// The exit code of a supervisor that does not know how its instance ended.
const UNKNOWN_STATUS_CODE: i32 = 255;

/// Ends the calling process, the supervisor, in the same way as its last instance: with the exit code or by the signal
/// in `status`.
///
/// The application's exit handlers run first. A signal that dumps core leaves no second core file.
pub fn exit_as(status: ExitStatus) -> ! {
    let code = match status {
        ExitStatus::Exited(code) => code,
        ExitStatus::Unknown => UNKNOWN_STATUS_CODE,
        ExitStatus::Killed { signal, .. } => {
            FINAL_SIGNAL.store(signal.number(), Ordering::Relaxed);
            // The code that a shell reports for a process killed by the signal (bash(1), EXIT STATUS). It is used where
            // the signal does not kill: the first process of a PID namespace survives it (pid_namespaces(7)).
            128 + signal.number()
        }
    };
    // SAFETY: exit(3) must not be called by an exit handler (POSIX), and this function is not. The application's
    // handlers run in the same state as when the application itself calls exit(3).
    unsafe { libc::exit(code) }
}

/// Kills the process with [`FINAL_SIGNAL`], if that is set. Runs as the library's destructor, after the application's
/// exit handlers.
extern "C" fn raise_final_signal() {
    let Some(signal) = Signal::from_number(FINAL_SIGNAL.load(Ordering::Relaxed)) else { return };
    let _ = Limits { soft: 0, hard: 0 }.set(Resource::Core);
    // SAFETY: prctl takes numbers. fflush accepts NULL and flushes all streams. All zeros is a valid sigaction and a
    // valid sigset_t, and the pointers to them are valid during the calls. The default disposition runs no handler.
    unsafe {
        // The limit does not apply to core dumps that core_pattern pipes to a program (core(5)).
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        // exit(3) flushes the streams after the destructors, and the signal prevents that.
        libc::fflush(std::ptr::null_mut());
        let mut default = std::mem::zeroed::<libc::sigaction>();
        default.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal.number(), &default, std::ptr::null_mut());
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal.number());
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
    }
    signals::send_to_self(signal);
}

#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = raise_final_signal;
