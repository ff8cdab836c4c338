//! Ending the calling process as another one ended.

use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::resource::{Resource, setrlimit};

use super::process::ExitStatus;
use super::signals::{self, Signal};

/// The signal to die of when the exit handlers have run; 0: none.
static LAST_SIGNAL: AtomicI32 = AtomicI32::new(0);

/// The exit code of a supervisor whose instance ended in a way that is not known.
const UNKNOWN: i32 = 255;

/// Ends the calling process as `status` says: the same exit code, or the same signal, without a core file of its
/// own. The application's exit handlers run first.
pub fn exit_as(status: ExitStatus) -> ! {
    let code = match status {
        ExitStatus::Exited(code) => code,
        ExitStatus::Unknown => UNKNOWN,
        ExitStatus::Killed { signal, .. } => {
            LAST_SIGNAL.store(signal.number(), Ordering::Relaxed);
            // What a shell says of a process that died of the signal: seen where it cannot kill, as in the first
            // process of a container.
            128 + signal.number()
        }
    };
    // SAFETY: exit runs the handlers that the application registered, as it would have at its own end.
    unsafe { libc::exit(code) }
}

/// Runs as the library's destructor, behind the program's own exit handlers.
extern "C" fn die_of_last_signal() {
    let Some(signal) = Signal::from_number(LAST_SIGNAL.load(Ordering::Relaxed)) else { return };
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    // SAFETY: prctl takes numbers; flushing and the default disposition run no code of the application; the set
    // is initialised by sigemptyset before use.
    unsafe {
        // A core_pattern that pipes to a program ignores the limit of 0.
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        // exit(3) would flush the streams later than this.
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
static DESTRUCTOR: extern "C" fn() = die_of_last_signal;
