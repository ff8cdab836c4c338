//! Signals: blocked while the library must not be interrupted, taken and passed on by the supervisor.

use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, sigaction,
};
use nix::sys::signalfd::{self, SfdFlags};

/// The signal mask of a thread.
#[derive(Debug, Clone, Copy)]
pub struct Mask(SigSet);

impl Mask {
    /// Puts the mask into force in the calling thread. Returns the one that was in force before.
    pub fn set(self) -> Mask {
        let mut before = SigSet::empty();
        // Fails for a wrong first argument only.
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.0), Some(&mut before));
        Mask(before)
    }
}

/// All signals are blocked in the calling thread until this is dropped.
#[derive(Debug)]
pub struct Blocked {
    before: Mask,
    /// Belongs to the thread that made it.
    _thread: PhantomData<*const ()>,
}

impl Blocked {
    /// Blocks all signals.
    pub fn all() -> Blocked {
        Blocked { before: Mask(SigSet::all()).set(), _thread: PhantomData }
    }

    /// Returns the mask that was in force before, and will be again.
    pub fn mask_before(&self) -> Mask {
        self.before
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.before.set();
    }
}

/// Lets the calling thread take the signals that the hardware raises for what the thread itself does: they kill
/// where they are blocked, without asking a handler.
pub fn unblock_faults() {
    use Signal::{SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
    let faults: SigSet = [SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP].into_iter().collect();
    let _ = pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&faults), None);
}

/// Discards every signal that is pending for the calling process, or the first of so many that there is no end to
/// them.
pub fn discard_pending() {
    const MOST: usize = 1 << 20;
    // SAFETY: the set is initialised by sigfillset; the zero timeout makes the calls return at once.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&mut set);
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let _ = (0..MOST).take_while(|_| libc::sigtimedwait(&set, ptr::null_mut(), &at_once) > 0).count();
    }
}

/// Disarms the interval timers of the calling process: alarm(2) and setitimer(2).
pub fn disarm_timers() {
    for timer in [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF] {
        // SAFETY: all zeros is a timer that is not armed; the old value is not asked for.
        unsafe { libc::setitimer(timer, &std::mem::zeroed(), ptr::null_mut()) };
    }
}

/// Takes a blocked signal back that the calling thread caused by what it just did.
pub(super) fn forget_pending(number: i32) {
    // SAFETY: the set is initialised by sigemptyset; the zero timeout makes the call return at once.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, number);
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        libc::sigtimedwait(&set, ptr::null_mut(), &at_once);
    }
}

/// The application's disposition of SIGCHLD, set aside until this is dropped: while it is ignored the kernel throws
/// the status of dead children away. SIGCHLD is blocked all the time.
#[derive(Debug)]
pub struct ChildSignal {
    before: SigAction,
    /// It was pending before, for a child of the application.
    was_pending: bool,
}

impl ChildSignal {
    /// Sets SIGCHLD to its default.
    pub fn reset_to_default() -> nix::Result<ChildSignal> {
        let was_pending = is_pending(libc::SIGCHLD);
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default disposition runs no code.
        let before = unsafe { sigaction(Signal::SIGCHLD, &default) }?;
        Ok(ChildSignal { before, was_pending })
    }
}

impl Drop for ChildSignal {
    fn drop(&mut self) {
        // One of the library's own children may have caused it, which is not the application's business.
        let is_new = !self.was_pending && is_pending(libc::SIGCHLD);
        if is_new {
            forget_pending(libc::SIGCHLD);
        }
        // SAFETY: it was in force before, for the same process image.
        let _ = unsafe { sigaction(Signal::SIGCHLD, &self.before) };
        if is_new && super::process::has_dead_child() {
            send_to_self(libc::SIGCHLD);
        }
    }
}

fn is_pending(number: i32) -> bool {
    // SAFETY: the set is initialised by sigemptyset and filled in by sigpending.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        libc::sigpending(&mut set) == 0 && libc::sigismember(&set, number) == 1
    }
}

/// A signal that somebody sent to the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Received {
    /// Its number.
    pub number: i32,
    /// What sigqueue(3) sent with it.
    pub value: Option<u64>,
    /// The kernel's own word, such as that of a terminal, not kill(2).
    pub by_kernel: bool,
}

impl Received {
    /// A signal that the supervisor sends on its own behalf.
    pub fn of_our_own(number: i32) -> Received {
        Received { number, value: None, by_kernel: false }
    }
}

/// Where the blocked signals of this process arrive.
#[derive(Debug)]
pub struct SignalFd(signalfd::SignalFd);

impl SignalFd {
    /// Takes all signals that are blocked.
    pub fn new() -> nix::Result<SignalFd> {
        signalfd::SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map(SignalFd)
    }

    /// Returns the next signal that has arrived, if any. What the kernel has to say of this process alone, of its
    /// timers and limits, is left out.
    pub fn take(&self) -> Option<Received> {
        let info = loop {
            let info = self.0.read_signal().ok().flatten()?;
            if !concerns_receiver_alone(info.ssi_signo as i32, info.ssi_code) {
                break info;
            }
        };
        Some(Received {
            number: info.ssi_signo as i32,
            value: (info.ssi_code == libc::SI_QUEUE).then_some(info.ssi_ptr),
            by_kernel: info.ssi_code == libc::SI_KERNEL,
        })
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Returns `true` for a signal of a timer that this process has made, or of a limit that it has reached.
fn concerns_receiver_alone(number: i32, code: i32) -> bool {
    use libc::{SIGALRM, SIGPROF, SIGVTALRM, SIGXCPU, SIGXFSZ};
    let is_own = [SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGXFSZ].contains(&number);
    code == libc::SI_TIMER || is_own && code == libc::SI_KERNEL
}

/// The last signal number of this system.
pub fn last() -> i32 {
    libc::SIGRTMAX()
}

/// Sends signal `number` to `process`; as with kill(2), an error says that it did not arrive.
pub fn send(process: i32, number: i32) -> nix::Result<()> {
    // SAFETY: kill touches no memory of ours.
    nix::errno::Errno::result(unsafe { libc::kill(process, number) }).map(drop)
}

/// Sends signal `number` to the process that `pidfd` stands for, and whose pid is `process`; as send().
pub fn send_through(pidfd: BorrowedFd<'_>, process: i32, number: i32) -> nix::Result<()> {
    let no_info = ptr::null::<libc::siginfo_t>();
    // SAFETY: pidfd_send_signal touches no memory of ours where it is given no info.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, no_info, 0) };
    match nix::errno::Errno::result(sent) {
        Ok(_) => Ok(()),
        Err(nix::errno::Errno::ESRCH) => Err(nix::errno::Errno::ESRCH),
        // A filter of system calls may know kill(2) only.
        Err(_) => send(process, number),
    }
}

/// Sends a signal to the calling process.
pub fn send_to_self(number: i32) {
    let _ = send(std::process::id() as i32, number);
}

/// Passes a received signal on to `process`, with the value that came with it.
pub fn forward(process: i32, received: Received) -> nix::Result<()> {
    let Some(value) = received.value else {
        return send(process, received.number);
    };
    // SAFETY: sigqueue touches no memory of ours; the value is passed as the number it came as.
    let sent = unsafe {
        libc::sigqueue(
            process,
            received.number,
            libc::sigval { sival_ptr: ptr::without_provenance_mut(value as usize) },
        )
    };
    nix::errno::Errno::result(sent).map(drop)
}
