//! Processes: making them, watching them, ending with them.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::prctl;
use nix::sys::time::TimeSpec;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{clock, heap};

/// What fork(2) made of the calling process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    /// This is the new process.
    Child,
    /// This is the old one; the child's pid.
    Parent(i32),
}

/// Forks the calling thread's process.
///
/// Nothing is said here about locks that other threads hold: the callers hold their own, and glibc keeps its
/// allocator usable in the child.
pub fn fork() -> nix::Result<Forked> {
    // SAFETY: fork copies the process; glibc's own locks are handled by it, ours are held by the calling thread.
    match Errno::result(unsafe { libc::fork() })? {
        0 => Ok(Forked::Child),
        child => Ok(Forked::Parent(child)),
    }
}

/// A descriptor that becomes readable when `child` ends. Close-on-exec.
pub fn pidfd(child: i32) -> nix::Result<OwnedFd> {
    // SAFETY: pidfd_open touches no memory.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, child, 0) })?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// With this exit code, 0 to 255.
    Exited(i32),
    /// Killed by this signal.
    Killed {
        /// The signal.
        signal: i32,
        /// Whether a core file was written.
        core: bool,
    },
    /// In a way that is not known: another thread of the calling process has waited for it.
    Unknown,
}

/// News of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It ended, and is reaped.
    Ended(Status),
    /// This signal stopped it.
    Stopped(i32),
}

/// News of any child, if there is some: its pid, its real user id, and what happened. Children that ended are reaped.
pub fn next_change() -> Option<(i32, u32, Change)> {
    let options = libc::WEXITED | libc::WSTOPPED | libc::WNOHANG;
    // SAFETY: info is plain data that the kernel fills in; its pid is 0 when there is no news.
    let (pid, user, status, code) = unsafe {
        let mut info = std::mem::zeroed::<libc::siginfo_t>();
        if libc::waitid(libc::P_ALL, 0, &mut info, options) != 0 {
            return None;
        }
        (info.si_pid(), info.si_uid(), info.si_status(), info.si_code)
    };
    let change = match code {
        _ if pid == 0 => return None,
        libc::CLD_EXITED => Change::Ended(Status::Exited(status)),
        libc::CLD_KILLED => Change::Ended(Status::Killed { signal: status, core: false }),
        libc::CLD_DUMPED => Change::Ended(Status::Killed { signal: status, core: true }),
        _ => Change::Stopped(status),
    };
    Some((pid, user, change))
}

/// Returns `true` if the calling process has any child, dead ones that are not reaped among them.
pub fn has_children() -> bool {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: info is plain data that the kernel fills in.
    unsafe {
        let mut info = std::mem::zeroed::<libc::siginfo_t>();
        libc::waitid(libc::P_ALL, 0, &mut info, options) == 0
    }
}

/// Whether `child`, which is not reaped yet, still lives.
pub fn is_alive(child: i32) -> bool {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: info is plain data that the kernel fills in; its pid is 0 when there is no news.
    unsafe {
        let mut info = std::mem::zeroed::<libc::siginfo_t>();
        libc::waitid(libc::P_PID, child as libc::id_t, &mut info, options) == 0 && info.si_pid() == 0
    }
}

/// Returns `true` if a child has ended and is not reaped yet.
pub fn has_dead_child() -> bool {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: info is plain data that the kernel fills in; its pid is 0 when there is no news.
    unsafe {
        let mut info = std::mem::zeroed::<libc::siginfo_t>();
        libc::waitid(libc::P_ALL, 0, &mut info, options) == 0 && info.si_pid() != 0
    }
}

/// Returns `true` if `child`, which the calling process has not reaped, is no child of it any more: another thread
/// has reaped it.
pub fn is_reaped_by_another(child: i32) -> bool {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: info is plain data that the kernel fills in.
    let done = unsafe {
        let mut info = std::mem::zeroed::<libc::siginfo_t>();
        libc::waitid(libc::P_PID, child as libc::id_t, &mut info, options)
    };
    Errno::result(done) == Err(Errno::ECHILD)
}

/// Waits until `child` has ended, or for `patience` ns at most. Does not reap it.
pub fn await_end(child: i32, patience: u64) {
    let Ok(ending) = pidfd(child) else { return };
    let mut fds = [PollFd::new(ending.as_fd(), PollFlags::POLLIN)];
    let _ = ppoll(&mut fds, Some(TimeSpec::from_duration(Duration::from_nanos(patience))), None);
}

/// Waits until `child` has ended and reaps it; false when it has not by `until`.
pub fn reap_until(child: i32, until: u64) -> bool {
    /// The pause between two looks where there is nothing to wait on.
    const PAUSE: u64 = 1_000_000;
    let ending = pidfd(child).ok();
    loop {
        match waitpid(Pid::from_raw(child), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => {}
            // Gone, or somebody else has reaped it.
            _ => return true,
        }
        let left = until.saturating_sub(clock::now());
        if left == 0 {
            return false;
        }
        match &ending {
            Some(ending) => {
                let mut fds = [PollFd::new(ending.as_fd(), PollFlags::POLLIN)];
                let _ = ppoll(&mut fds, Some(TimeSpec::from_duration(Duration::from_nanos(left))), None);
            }
            None => std::thread::sleep(Duration::from_nanos(left.min(PAUSE))),
        }
    }
}

/// The pids of the children of a process, dead ones that are not reaped among them. `process` is its folder in /proc.
/// Empty where the kernel does not say. There are fewer where memory is short.
pub fn children(process: &Path) -> Vec<i32> {
    let threads = std::fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    heap::gather(lists.flat_map(|list| heap::gather(list.split(' ').filter_map(|pid| pid.parse().ok()))))
}

/// While it is there the calling process inherits the orphans among its descendants; then it is as before.
#[derive(Debug)]
pub struct Subreaper {
    before: bool,
}

impl Subreaper {
    /// From now on.
    pub fn become_one() -> nix::Result<Subreaper> {
        let before = prctl::get_child_subreaper()?;
        prctl::set_child_subreaper(true)?;
        Ok(Subreaper { before })
    }
}

impl Drop for Subreaper {
    fn drop(&mut self) {
        let _ = prctl::set_child_subreaper(self.before);
    }
}

/// The pid of the process that made this one, or of the one that inherited it.
pub fn parent() -> i32 {
    nix::unistd::getppid().as_raw()
}

/// A process as the children that it forks know it: they can tell whether it has ended, also from another PID
/// namespace.
#[derive(Debug)]
pub struct Origin {
    pid: i32,
    /// `None` when no descriptor was left. Children in another PID namespace cannot tell then.
    pidfd: Option<OwnedFd>,
}

impl Origin {
    /// The calling process, which is about to fork.
    pub fn current() -> Origin {
        Origin { pid: own_pid(), pidfd: pidfd(own_pid()).ok() }
    }

    /// Returns `true` if the process has ended. To be asked by its child.
    pub fn has_ended(&self) -> bool {
        match parent() {
            // The parent is in another PID namespace. It stays 0 when that process has ended.
            0 => self.pidfd.as_ref().is_some_and(|pidfd| {
                let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
                matches!(ppoll(&mut fds, Some(TimeSpec::from_duration(Duration::ZERO)), None), Ok(1))
            }),
            parent => parent != self.pid,
        }
    }

    /// Returns the descriptor that `has_ended` needs.
    pub fn descriptor(&self) -> Option<RawFd> {
        self.pidfd.as_ref().map(AsRawFd::as_raw_fd)
    }
}

/// Returns `true` if the next child is the first process of a new PID namespace: when that child ends, the kernel ends
/// all others in the namespace, and no further child can be forked (pid_namespaces(7)).
pub fn next_child_is_init() -> bool {
    // The kernel has no such namespace to show before its first process is there.
    let namespace = |name: &str| std::fs::metadata(Path::new("/proc/self/ns").join(name));
    namespace("pid").is_ok()
        && namespace("pid_for_children").is_err_and(|error| error.raw_os_error() == Some(libc::ENOENT))
}

/// The pid of the calling process.
pub fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// Has the kernel send `signal` to the calling process when the thread that forked it ends; 0: none. Each thread has
/// such a signal of its own, and the kernel sends all of them. Forgotten by the kernel when the thread changes its
/// credentials, and not inherited by new threads.
pub fn signal_on_death_of_parent(signal: i32) {
    // SAFETY: PR_SET_PDEATHSIG takes a number.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, 0, 0, 0) };
}

/// Returns the signal that the kernel would send when the thread that forked this process ends, as the calling thread
/// has asked for; 0 if it has not, or if the thread's credentials have changed since.
pub fn signal_on_death_of_parent_now() -> i32 {
    let mut signal = 0;
    // SAFETY: PR_GET_PDEATHSIG writes a number to a place that is ours.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal, 0, 0, 0) };
    signal
}

/// How far the kernel may delay the timers of the calling thread, in ns.
#[derive(Debug, Clone, Copy)]
pub struct TimerSlack(libc::c_ulong);

impl TimerSlack {
    /// As little as there is.
    pub const LEAST: TimerSlack = TimerSlack(1);

    /// What the thread began with: that of the thread which made it.
    pub const INHERITED: TimerSlack = TimerSlack(0);

    /// So many ns; at least 1.
    pub fn of(ns: u64) -> TimerSlack {
        TimerSlack(libc::c_ulong::try_from(ns.max(1)).unwrap_or(libc::c_ulong::MAX))
    }

    /// What is in force.
    pub fn current() -> TimerSlack {
        // SAFETY: PR_GET_TIMERSLACK takes no argument.
        let slack = unsafe { libc::prctl(libc::PR_GET_TIMERSLACK, 0, 0, 0, 0) };
        TimerSlack(libc::c_ulong::try_from(slack).unwrap_or(0))
    }

    /// Puts it in force. Children inherit it.
    pub fn set(self) {
        // SAFETY: PR_SET_TIMERSLACK takes a number.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, self.0, 0, 0, 0) };
    }
}

/// Returns `true` if the children of the calling process are in another PID namespace that already has processes.
pub fn children_are_apart() -> bool {
    let namespace = |name: &str| std::fs::read_link(Path::new("/proc/self/ns").join(name)).ok();
    let of_children = namespace("pid_for_children");
    of_children.is_some() && of_children != namespace("pid")
}

/// Puts the calling process into a group of its own, away from what is sent to the whole group.
pub fn leave_group() {
    let this = nix::unistd::Pid::from_raw(0);
    let _ = nix::unistd::setpgid(this, this);
}

/// Puts the calling process into the group of `process`.
pub fn join_group_of(process: i32) {
    if let Ok(group) = nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(process))) {
        let _ = nix::unistd::setpgid(nix::unistd::Pid::from_raw(0), group);
    }
}

/// Ends the calling process at once, without exit handlers.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit runs no code of the process.
    unsafe { libc::_exit(code) }
}

/// Whether `process` is in the process group of the calling one, and so gets the same signals of a terminal.
pub fn shares_group_with(process: i32) -> bool {
    nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(process))) == Ok(nix::unistd::getpgrp())
}

/// Returns `true` if the calling process is the leader of its session.
pub fn leads_session() -> bool {
    nix::unistd::getsid(None) == Ok(nix::unistd::getpid())
}

/// The name of the calling process, as ps and /proc show it.
pub fn set_name(name: &CStr) {
    // SAFETY: PR_SET_NAME reads a string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Ends the calling process when `body` is done, without a word to the application's exit handlers.
pub fn run_and_exit(body: impl FnOnce()) -> ! {
    let done = catch_unwind(AssertUnwindSafe(body));
    exit_now(done.is_err().into())
}

/// Closes every descriptor of the calling process but these, and puts /dev/null in place of the standard ones.
pub fn close_all_but<const N: usize>(mut kept: [RawFd; N]) {
    kept.sort_unstable();
    let mut first = 0;
    for fd in kept {
        close_range(first, fd - 1);
        first = fd + 1;
    }
    close_range(first, RawFd::MAX);
    // SAFETY: the path is a string; the descriptors that open returns are the lowest free ones.
    unsafe { while (0..2).contains(&libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC)) {} }
}

fn close_range(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    // SAFETY: who calls close_all_but() uses none of them any more, and neither takes memory.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, last, 0) != 0 {
            // Before Linux 5.9.
            for fd in first..=last.min(libc::sysconf(libc::_SC_OPEN_MAX) as RawFd) {
                libc::close(fd);
            }
        }
    }
}

/// Waits for the end of a child. Returns at once when somebody else has waited for it.
pub fn reap(child: i32) {
    let child = nix::unistd::Pid::from_raw(child);
    while nix::sys::wait::waitpid(child, None) == Err(Errno::EINTR) {}
}
