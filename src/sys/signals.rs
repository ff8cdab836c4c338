//! Signals: blocking them in the library, and receiving and sending them in the supervisor.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

use nix::errno::Errno;
use nix::sys::signal::{
    self, SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, pthread_sigmask, sigaction,
};
use nix::sys::signalfd::{self, SfdFlags};
use nix::unistd::Pid;

use super::after_fork;

/// A signal of this system, with a number from 1 to SIGRTMAX. nix's type does not have the real-time signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(i32);

/// The first real-time signal of the kernel (SIGRTMIN in signal(7)). The C library keeps the first two to itself.
const FIRST_REAL_TIME: i32 = 32;

#[allow(missing_docs)] // see signal(7)
impl Signal {
    pub const HUP: Signal = Signal(libc::SIGHUP);
    pub const INT: Signal = Signal(libc::SIGINT);
    pub const QUIT: Signal = Signal(libc::SIGQUIT);
    pub const ABRT: Signal = Signal(libc::SIGABRT);
    pub const KILL: Signal = Signal(libc::SIGKILL);
    pub const USR1: Signal = Signal(libc::SIGUSR1);
    pub const SEGV: Signal = Signal(libc::SIGSEGV);
    pub const USR2: Signal = Signal(libc::SIGUSR2);
    pub const PIPE: Signal = Signal(libc::SIGPIPE);
    pub const ALRM: Signal = Signal(libc::SIGALRM);
    pub const TERM: Signal = Signal(libc::SIGTERM);
    pub const CHLD: Signal = Signal(libc::SIGCHLD);
    pub const CONT: Signal = Signal(libc::SIGCONT);
    pub const STOP: Signal = Signal(libc::SIGSTOP);
    pub const TSTP: Signal = Signal(libc::SIGTSTP);
    pub const TTIN: Signal = Signal(libc::SIGTTIN);
    pub const TTOU: Signal = Signal(libc::SIGTTOU);
    pub const XCPU: Signal = Signal(libc::SIGXCPU);
    pub const XFSZ: Signal = Signal(libc::SIGXFSZ);
    pub const VTALRM: Signal = Signal(libc::SIGVTALRM);
    pub const PROF: Signal = Signal(libc::SIGPROF);
    pub const WINCH: Signal = Signal(libc::SIGWINCH);
}

impl Signal {
    /// Returns the signal with this number, or `None` if this system has no such signal.
    pub fn from_number(number: i32) -> Option<Signal> {
        (1..=libc::SIGRTMAX()).contains(&number).then_some(Signal(number))
    }

    /// Returns the signal with this name, such as SIGTERM or TERM, or `None`. Real-time signals have no names here.
    pub fn from_name(name: &str) -> Option<Signal> {
        let name = name.strip_prefix("SIG").unwrap_or(name);
        let mut signals = signal::Signal::iterator();
        signals
            .find(|signal| signal.as_str().strip_prefix("SIG") == Some(name))
            .map(|signal| Signal(signal as i32))
    }

    /// Returns the number of the signal.
    pub const fn number(self) -> i32 {
        self.0
    }

    /// Returns `true` for a real-time signal. The kernel queues these, and merges others of one number.
    pub const fn is_real_time(self) -> bool {
        self.0 >= FIRST_REAL_TIME
    }
}

/// The name of the signal, as `kill -l` has it: SIGTERM, SIGRTMIN+2.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match signal::Signal::try_from(self.0) {
            Ok(signal) => f.write_str(signal.as_str()),
            Err(_) if self.0 == libc::SIGRTMIN() => f.write_str("SIGRTMIN"),
            Err(_) if self.0 > libc::SIGRTMIN() => write!(f, "SIGRTMIN+{}", self.0 - libc::SIGRTMIN()),
            Err(_) => write!(f, "signal {}", self.0),
        }
    }
}

/// The signal mask of a thread: the signals that it blocks.
#[derive(Debug, Clone, Copy)]
pub struct Mask(SigSet);

impl Mask {
    /// Sets the signal mask of the calling thread to this one. Returns the former mask.
    pub fn set(self) -> Mask {
        let mut before = SigSet::empty();
        // Fails for a wrong first argument only.
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.0), Some(&mut before));
        Mask(before)
    }
}

/// A guard that keeps all signals blocked in the calling thread until it is dropped.
#[derive(Debug)]
pub struct Blocked {
    before: Mask,
    /// Makes this type neither `Send` nor `Sync`, because the signal mask to restore is that of the thread that blocked
    /// signals.
    _thread: PhantomData<*const ()>,
}

impl Blocked {
    /// Blocks all signals in the calling thread until the result is dropped.
    #[inline(never)] // It uses much stack, and a new instance copies each page of the stack that it returns through.
    pub fn all() -> Blocked {
        Blocked { before: Mask(SigSet::all()).set(), _thread: PhantomData }
    }

    /// Returns the signal mask that the calling thread had before this guard blocked all signals. Dropping the guard
    /// restores it.
    pub fn mask_before(&self) -> Mask {
        self.before
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.before.set();
    }
}

/// Unblocks the signals of hardware faults, such as SIGSEGV, in the calling thread. Where they are blocked, the kernel
/// kills the process and runs no handler (sigprocmask(2)).
pub fn unblock_faults() {
    use signal::Signal::{SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
    let faults: SigSet = [SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP].into_iter().collect();
    let _ = pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&faults), None);
}

/// Discards the signals that are pending for the calling thread and its process. Stops after 2^20 signals, because
/// other processes may send them without end.
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

/// Discards a pending signal that the calling thread has just caused, such as SIGPIPE by a write. The signal is
/// blocked, so it has reached no handler.
pub(super) fn forget_pending(signal: Signal) {
    // SAFETY: the set is initialised by sigemptyset; the zero timeout makes the call return at once.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal.0);
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        libc::sigtimedwait(&set, ptr::null_mut(), &at_once);
    }
}

/// A guard that keeps SIGCHLD at its default action until it is dropped. While SIGCHLD is ignored, the kernel discards
/// the exit status of children (wait(2)). The caller has SIGCHLD blocked all the time.
#[derive(Debug)]
pub struct ChildSignal {
    before: SigAction,
    /// `true` if SIGCHLD was pending before this guard was made, because a child of the application had changed.
    was_pending: bool,
    /// The number of the process that made this, see `after_fork::generation`.
    maker: u32,
}

impl ChildSignal {
    /// Sets the action of SIGCHLD to its default. The application's own action is restored when the result is dropped.
    pub fn reset_to_default() -> nix::Result<ChildSignal> {
        let was_pending = is_pending(Signal::CHLD);
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default disposition runs no code.
        let before = unsafe { sigaction(signal::Signal::SIGCHLD, &default) }?;
        Ok(ChildSignal { before, was_pending, maker: after_fork::generation() })
    }
}

impl ChildSignal {
    fn restore(&self) {
        // SAFETY: it was in force before, for the same process image.
        let _ = unsafe { sigaction(signal::Signal::SIGCHLD, &self.before) };
    }
}

impl Drop for ChildSignal {
    fn drop(&mut self) {
        if self.maker != after_fork::generation() {
            // A forked process has no pending signal (fork(2)), and most programs leave SIGCHLD alone.
            if !matches!(self.before.handler(), SigHandler::SigDfl) || !self.before.flags().is_empty() {
                self.restore();
            }
            return;
        }
        // One of the library's own children may have caused it, which is not the application's business.
        let is_new = !self.was_pending && is_pending(Signal::CHLD);
        if is_new {
            forget_pending(Signal::CHLD);
        }
        self.restore();
        if is_new && super::process::has_dead_child() {
            send_to_self(Signal::CHLD);
        }
    }
}

fn is_pending(signal: Signal) -> bool {
    // SAFETY: the set is initialised by sigemptyset and filled in by sigpending.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        libc::sigpending(&mut set) == 0 && libc::sigismember(&set, signal.0) == 1
    }
}

/// A signal that arrived at the supervisor, with the value that its sender gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Received {
    /// The signal that arrived at the supervisor.
    pub signal: Signal,
    /// The value that the sender gave the signal by sigqueue(3). `None` if it used kill(2) or was the kernel.
    pub value: Option<u64>,
    /// `true` if the kernel sent the signal, for example SIGINT after Ctrl-C in a terminal. `false` if a process sent
    /// it.
    pub by_kernel: bool,
    /// The process that sent the signal. `None` if the kernel sent it, or a process of another PID namespace.
    pub sender: Option<Pid>,
}

impl Received {
    /// Returns a signal of the supervisor itself, such as SIGKILL for a hung instance, in the form of one that arrived.
    /// So both are sent to the instance in the same way.
    pub fn sent_by_supervisor(signal: Signal) -> Received {
        Received { signal, value: None, by_kernel: false, sender: None }
    }
}

/// The number of signals that one call reads.
const AT_A_TIME: usize = 2;

/// A descriptor from which the supervisor reads the signals that arrive, all of which it blocks, see signalfd(2).
#[derive(Debug)]
pub struct SignalFd(signalfd::SignalFd);

impl SignalFd {
    /// Opens a descriptor on which all blocked signals of the calling process arrive, see signalfd(2).
    pub fn new() -> nix::Result<SignalFd> {
        signalfd::SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map(SignalFd)
    }

    /// Returns the signals that have arrived at the supervisor, about `most` of them at most. Leaves out the signals that
    /// the kernel sends for timers and resource limits of the supervisor itself.
    pub fn arrived(&self, most: usize) -> impl Iterator<Item = Received> {
        // Fewer signals than there was room for were the last ones, so no further call is needed to find that out.
        let mut is_last = false;
        let some = std::iter::from_fn(move || {
            let some = (!is_last).then(|| self.take_some())?;
            is_last = some.len() < AT_A_TIME;
            Some(some)
        });
        let infos = some.take(most.div_ceil(AT_A_TIME)).flatten();
        infos.filter(|info| !concerns_receiver_alone(Signal(info.ssi_signo as i32), info.ssi_code)).map(
            |info| Received {
                signal: Signal(info.ssi_signo as i32),
                value: (info.ssi_code == libc::SI_QUEUE).then_some(info.ssi_ptr),
                by_kernel: info.ssi_code == libc::SI_KERNEL,
                sender: sender(info.ssi_code, info.ssi_pid),
            },
        )
    }

    /// Takes the next signals that have arrived.
    fn take_some(&self) -> impl ExactSizeIterator<Item = signalfd::siginfo> + use<> {
        // SAFETY: the structure consists of numbers, and the kernel fills in whole ones.
        let (infos, bytes) = unsafe {
            let mut infos = std::mem::zeroed::<[signalfd::siginfo; AT_A_TIME]>();
            let bytes = libc::read(self.0.as_raw_fd(), infos.as_mut_ptr().cast(), size_of_val(&infos));
            (infos, bytes)
        };
        let count = usize::try_from(bytes).unwrap_or(0) / size_of::<signalfd::siginfo>();
        infos.into_iter().take(count)
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Returns the sender of a signal. Other codes than these say nothing of a process (sigaction(2)).
fn sender(code: i32, pid: u32) -> Option<Pid> {
    let names_sender = [libc::SI_USER, libc::SI_QUEUE, libc::SI_TKILL].contains(&code);
    i32::try_from(pid).ok().filter(|&pid| names_sender && pid > 0).map(Pid::from_raw)
}

/// Returns `true` if the kernel sent the signal for a timer or a resource limit of the process that received it. The
/// supervisor does not forward such a signal to the instance. `code` is the signal's si_code, see sigaction(2).
fn concerns_receiver_alone(signal: Signal, code: i32) -> bool {
    let own = [Signal::ALRM, Signal::VTALRM, Signal::PROF, Signal::XCPU, Signal::XFSZ];
    let is_own = own.contains(&signal);
    code == libc::SI_TIMER || is_own && code == libc::SI_KERNEL
}

/// Sends a signal to a process.
///
/// # Errors
/// The errors of kill(2): the signal did not arrive.
pub fn kill(process: Pid, signal: Signal) -> nix::Result<()> {
    // SAFETY: kill touches no memory of ours.
    Errno::result(unsafe { libc::kill(process.as_raw(), signal.0) }).map(drop)
}

/// Returns `true` if there is a process with this pid, living or dead and not reaped yet.
pub fn exists(process: Pid) -> bool {
    // SAFETY: kill touches no memory of ours. Signal 0 is sent to no process, see kill(2).
    Errno::result(unsafe { libc::kill(process.as_raw(), 0) }) != Err(Errno::ESRCH)
}

/// Sends a signal to the process that `pidfd` refers to. `process` is the pid of that process, to be used if the kernel
/// does not allow sending by pidfd.
///
/// # Errors
/// The errors of kill(2): the signal did not arrive.
pub fn kill_through(pidfd: BorrowedFd<'_>, process: Pid, signal: Signal) -> nix::Result<()> {
    let no_info = ptr::null::<libc::siginfo_t>();
    // SAFETY: pidfd_send_signal touches no memory of ours where it is given no info.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal.0, no_info, 0) };
    match Errno::result(sent) {
        Ok(_) => Ok(()),
        Err(Errno::ESRCH) => Err(Errno::ESRCH),
        // A filter of system calls (seccomp(2)) may allow kill(2) alone.
        Err(_) => kill(process, signal),
    }
}

/// Sends a signal to the calling process.
pub fn send_to_self(signal: Signal) {
    let _ = kill(super::process::own_pid(), signal);
}

/// Sends a signal with the value `value` to a process, see sigqueue(3).
///
/// # Errors
/// The errors of sigqueue(3): the signal did not arrive.
pub fn queue(process: Pid, signal: Signal, value: u64) -> nix::Result<()> {
    let value = libc::sigval { sival_ptr: ptr::without_provenance_mut(value as usize) };
    // SAFETY: sigqueue touches no memory of ours; the value is passed as the number that it came as.
    Errno::result(unsafe { libc::sigqueue(process.as_raw(), signal.0, value) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_from_1_to_the_last_real_time_signal_is_a_signal() {
        assert!((1..=64).all(|number| Signal::from_number(number).is_some_and(|signal| signal.0 == number)));
        assert!([i32::MIN, -1, 0, 65, i32::MAX].iter().all(|&number| Signal::from_number(number).is_none()));
    }

    #[test]
    fn signal_is_shown_by_its_name() {
        let names = [15, 9, 34, 36, 64, 32].map(|number| Signal(number).to_string());
        assert_eq!(names, ["SIGTERM", "SIGKILL", "SIGRTMIN", "SIGRTMIN+2", "SIGRTMIN+30", "signal 32"]);
        assert_eq!(
            ["TERM", "SIGTERM", "term"].map(Signal::from_name),
            [Some(Signal::TERM), Some(Signal::TERM), None]
        );
    }
}
