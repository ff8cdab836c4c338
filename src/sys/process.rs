//! Processes: fork, wait, and the attributes of the calling process.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::prctl;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::signals::Signal;
use super::{after_fork, clock, heap};
use crate::time::MonotonicTime;

/// Forks the calling process. The child has the calling thread alone. Returns the pid of the child, or `None` in the
/// child.
///
/// # Safety
/// The child has a copy of every lock that another thread holds at this moment, and no thread that unlocks it. So until
/// it executes a program or ends, the child must take no lock that another thread of the caller may hold: the library's
/// own are held by the calling thread or by none, and the C library (glibc 2.36, `fork(3)`) hands over its allocator
/// and its streams unlocked. The calling thread has all signals blocked, so that no handler runs in the child before it
/// is ready.
///
/// # Errors
/// The errors of fork(2).
pub unsafe fn fork() -> nix::Result<Option<Pid>> {
    // SAFETY: the caller keeps to the conditions above.
    let child = Errno::result(unsafe { libc::fork() })?;
    Ok((child != 0).then_some(Pid::from_raw(child)))
}

/// Returns a pidfd of `process`: a descriptor that becomes readable when that process ends, see pidfd_open(2).
/// Close-on-exec.
pub fn pidfd(process: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: pidfd_open touches no memory.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, process.as_raw(), 0) })?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The way in which a process has ended: its exit status, or the signal that killed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitStatus {
    /// The process exited with this code, 0 to 255.
    Exited(i32),
    /// A signal killed the process.
    Killed {
        /// The signal that killed the process.
        signal: Signal,
        /// `true` if the kernel wrote a core file of the process.
        core: bool,
    },
    /// The exit status is not known, because another thread of the calling process has reaped the process.
    Unknown,
}

/// A change of the state of a child of the supervisor, as waitid(2) reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildChange {
    /// The child has ended, and the calling process has reaped it.
    Ended(ExitStatus),
    /// This signal stopped the child.
    Stopped(Signal),
}

/// Returns the pid and the real user id of a child of the calling process whose state has changed, and the change, or
/// `None` if there is no such child. Reaps a child that has ended.
pub fn next_change() -> Option<(Pid, u32, ChildChange)> {
    let options = libc::WEXITED | libc::WSTOPPED | libc::WNOHANG;
    // SAFETY: info is plain data that the kernel fills in; its pid is 0 when there is no news.
    let (pid, user, status, code) = unsafe {
        let mut info = std::mem::zeroed::<libc::siginfo_t>();
        if libc::waitid(libc::P_ALL, 0, &mut info, options) != 0 {
            return None;
        }
        (info.si_pid(), info.si_uid(), info.si_status(), info.si_code)
    };
    let change = match (code, Signal::from_number(status)) {
        _ if pid == 0 => return None,
        (libc::CLD_EXITED, _) => ChildChange::Ended(ExitStatus::Exited(status)),
        (libc::CLD_KILLED | libc::CLD_DUMPED, Some(signal)) => {
            ChildChange::Ended(ExitStatus::Killed { signal, core: code == libc::CLD_DUMPED })
        }
        (libc::CLD_KILLED | libc::CLD_DUMPED, None) => ChildChange::Ended(ExitStatus::Unknown),
        (_, signal) => ChildChange::Stopped(signal.unwrap_or(Signal::STOP)),
    };
    Some((Pid::from_raw(pid), user, change))
}

/// Returns `true` if the child with the pid `child` has ended, or with the kind `P_ALL` if any child of the calling
/// process has. Reaps none (WNOWAIT in waitid(2)).
///
/// # Errors
/// `ECHILD` if the calling process has no such child, or none at all.
fn look_at_children(kind: libc::idtype_t, child: libc::id_t) -> nix::Result<bool> {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: info is plain data that the kernel fills in; its pid stays 0 if no child has ended.
    unsafe {
        let mut info = std::mem::zeroed::<libc::siginfo_t>();
        Errno::result(libc::waitid(kind, child, &mut info, options))?;
        Ok(info.si_pid() != 0)
    }
}

/// Returns the number of threads of the calling process, or `None` where /proc cannot be read.
pub fn threads() -> Option<u64> {
    // Each is a folder, and so a link, beside the two that every folder has (proc_task_getattr() of Linux).
    std::fs::metadata("/proc/self/task").ok()?.nlink().checked_sub(2)
}

/// Returns `true` if the calling process has any child, living or dead and not reaped yet.
pub fn has_children() -> bool {
    look_at_children(libc::P_ALL, 0).is_ok()
}

/// Returns `true` if `child`, a child of the calling process that it has not reaped, still lives.
pub fn is_alive(child: Pid) -> bool {
    look_at_children(libc::P_PID, child.as_raw() as libc::id_t) == Ok(false)
}

/// Returns `true` if any child of the calling process has ended and is not reaped yet.
pub fn has_dead_child() -> bool {
    look_at_children(libc::P_ALL, 0) == Ok(true)
}

/// Returns `true` if another thread of the calling process has reaped `child`. The caller knows that it has not done so
/// itself.
pub fn is_reaped_by_another(child: Pid) -> bool {
    look_at_children(libc::P_PID, child.as_raw() as libc::id_t) == Err(Errno::ECHILD)
}

/// Waits until `child`, a child of the calling process, has ended, for `timeout` at most. Does not reap it.
pub fn await_end(child: Pid, timeout: Duration) {
    let Ok(ending) = pidfd(child) else { return };
    let mut fds = [PollFd::new(ending.as_fd(), PollFlags::POLLIN)];
    let _ = ppoll(&mut fds, Some(clock::time_spec(timeout)), None);
}

/// Waits until `child`, a child of the calling process, has ended, and reaps it. Returns `false` if it has not ended by
/// `deadline`.
pub fn reap_until(child: Pid, deadline: MonotonicTime) -> bool {
    /// The pause between two checks whether the child has ended. Used if the process has no free descriptor for a
    /// pidfd.
    const PAUSE: Duration = Duration::from_millis(1);
    let ending = pidfd(child).ok();
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => {}
            // The child has ended, or another thread has reaped it.
            _ => return true,
        }
        let left = deadline.saturating_since(clock::now());
        if left.is_zero() {
            return false;
        }
        match &ending {
            Some(ending) => {
                let mut fds = [PollFd::new(ending.as_fd(), PollFlags::POLLIN)];
                let _ = ppoll(&mut fds, Some(clock::time_spec(left)), None);
            }
            None => std::thread::sleep(left.min(PAUSE)),
        }
    }
}

/// Returns the pids of the children of a process, living or dead and not reaped yet. `process` is the folder of that
/// process in /proc. The list is empty if /proc cannot be read, and incomplete if memory is short.
pub fn children(process: &Path) -> Vec<Pid> {
    let threads = std::fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let pids =
        |list: String| heap::gather(list.split(' ').filter_map(|pid| pid.parse().ok()).map(Pid::from_raw));
    heap::gather(lists.flat_map(pids))
}

/// A guard that makes the calling process, the supervisor, the parent of orphans among its descendants
/// (PR_SET_CHILD_SUBREAPER in prctl(2)). Dropping it restores the former attribute. In a process that was forked meanwhile
/// this sets the attribute, which a process does not inherit.
#[derive(Debug)]
pub struct Subreaper {
    before: bool,
    /// The number of the process that made this, see `after_fork::generation`.
    maker: u32,
}

impl Subreaper {
    /// Makes the calling process, the supervisor, the parent of orphans among its descendants (PR_SET_CHILD_SUBREAPER
    /// in prctl(2)), until the result is dropped.
    ///
    /// # Errors
    /// The error of prctl(2).
    pub fn become_one() -> nix::Result<Subreaper> {
        let before = prctl::get_child_subreaper()?;
        prctl::set_child_subreaper(true)?;
        Ok(Subreaper { before, maker: after_fork::generation() })
    }
}

impl Drop for Subreaper {
    fn drop(&mut self) {
        let is_set = self.maker == after_fork::generation();
        if is_set != self.before {
            let _ = prctl::set_child_subreaper(self.before);
        }
    }
}

/// Returns the pid of the parent of the calling process, or `None` if the parent is in another PID namespace.
pub fn parent() -> Option<Pid> {
    // getppid(2) returns 0 then.
    let parent = nix::unistd::getppid();
    (parent.as_raw() != 0).then_some(parent)
}

/// The supervisor as the parent of the processes that it is about to fork. These processes use this value to find out
/// whether the supervisor has ended, also from another PID namespace.
#[derive(Debug)]
pub struct Origin {
    pid: Pid,
    /// A pidfd of the supervisor, which becomes readable when the supervisor ends. `None` if the process had no free
    /// descriptor. In this case children in another PID namespace do not notice the end.
    pidfd: Option<OwnedFd>,
}

impl Origin {
    /// Returns a value by which the children that the calling process is about to fork can notice its end.
    pub fn current() -> Origin {
        Origin { pid: own_pid(), pidfd: pidfd(own_pid()).ok() }
    }

    /// Returns `true` if the process that made this value, the parent of the calling process, has ended. Called in a
    /// child of that process.
    pub fn has_ended(&self) -> bool {
        match parent() {
            // The parent is in another PID namespace, and that does not change when it has ended.
            None => self.pidfd.as_ref().is_some_and(|pidfd| {
                let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
                matches!(ppoll(&mut fds, Some(clock::time_spec(Duration::ZERO)), None), Ok(1))
            }),
            Some(parent) => parent != self.pid,
        }
    }

    /// Returns the number of the pidfd that [`has_ended`](Origin::has_ended) polls, so that a child which closes its
    /// descriptors can keep it open. `None` if the process had no free descriptor.
    pub fn descriptor(&self) -> Option<RawFd> {
        self.pidfd.as_ref().map(AsRawFd::as_raw_fd)
    }
}

/// Returns `true` if the next child of the calling process is the first process of a new PID namespace. When that child
/// ends, the kernel ends all others in the namespace, and no further child can be forked (pid_namespaces(7)).
pub fn next_child_is_init() -> bool {
    // The kernel has no such namespace to show before its first process is there.
    let namespace = |name: &str| std::fs::metadata(Path::new("/proc/self/ns").join(name));
    namespace("pid").is_ok()
        && namespace("pid_for_children").is_err_and(|error| error.raw_os_error() == Some(libc::ENOENT))
}

/// Returns the pid of the calling process.
pub fn own_pid() -> Pid {
    // Pid::this() is not inlined, so the compiler would expect a panic. Then sam_hc_send would catch panics, and could
    // not be unwound when its thread is cancelled asynchronously.
    nix::unistd::getpid()
}

/// Has the kernel send `signal` to the calling process when the thread that forked it ends. `None`: no signal.
///
/// Each thread has such a signal of its own, and the kernel sends all of them. The kernel forgets the signal of a
/// thread that changes its credentials, and new threads do not inherit it (PR_SET_PDEATHSIG in prctl(2)).
pub fn signal_on_death_of_parent(signal: Option<Signal>) {
    let number = signal.map_or(0, Signal::number);
    // SAFETY: PR_SET_PDEATHSIG takes a number.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, number as libc::c_ulong, 0, 0, 0) };
}

/// Returns the signal that the calling thread has last set by `signal_on_death_of_parent`. `None` if it has set none,
/// or if its credentials have changed since.
pub fn signal_on_death_of_parent_now() -> Option<Signal> {
    let mut signal = 0;
    // SAFETY: PR_GET_PDEATHSIG writes a number to a place that is ours.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal, 0, 0, 0) };
    Signal::from_number(signal)
}

/// The timer slack of a thread: the time by which the kernel may delay its timers, to wake several threads at once. In
/// ns, as PR_SET_TIMERSLACK in prctl(2) takes it.
#[derive(Debug, Clone, Copy)]
pub struct TimerSlack(libc::c_ulong);

impl TimerSlack {
    /// The smallest timer slack that the kernel allows, 1 ns. The supervisor has it, so that it does not miss
    /// deadlines.
    pub const LEAST: TimerSlack = TimerSlack(1);

    /// The value by which the kernel restores the timer slack that a thread inherited when it was made: 0, see
    /// PR_SET_TIMERSLACK in prctl(2).
    pub const INHERITED: TimerSlack = TimerSlack(0);

    /// Returns the timer slack that lets the kernel delay timers by the duration `slack`, of at least 1 ns.
    pub fn of(slack: Duration) -> TimerSlack {
        TimerSlack(libc::c_ulong::try_from(slack.as_nanos().max(1)).unwrap_or(libc::c_ulong::MAX))
    }

    /// Returns the timer slack that the calling thread has now.
    pub fn current() -> TimerSlack {
        // SAFETY: PR_GET_TIMERSLACK takes no argument.
        let slack = unsafe { libc::prctl(libc::PR_GET_TIMERSLACK, 0, 0, 0, 0) };
        TimerSlack(libc::c_ulong::try_from(slack).unwrap_or(0))
    }

    /// Sets the timer slack of the calling thread: the time by which the kernel may delay its timers. Threads and
    /// processes that it makes later inherit it.
    pub fn set(self) {
        // SAFETY: PR_SET_TIMERSLACK takes a number.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, self.0, 0, 0, 0) };
    }
}

/// Returns `true` if the children of the calling process are in another PID namespace, and that already has processes.
pub fn children_are_apart() -> bool {
    let namespace = |name: &str| std::fs::read_link(Path::new("/proc/self/ns").join(name)).ok();
    let of_children = namespace("pid_for_children");
    of_children.is_some() && of_children != namespace("pid")
}

/// Moves the calling process to a process group of its own, so that it does not get the signals that are sent to its
/// group.
pub fn leave_group() {
    let this = Pid::from_raw(0);
    let _ = nix::unistd::setpgid(this, this);
}

/// Moves the calling process to the process group of `process`.
pub fn join_group_of(process: Pid) {
    if let Ok(group) = nix::unistd::getpgid(Some(process)) {
        let _ = nix::unistd::setpgid(Pid::from_raw(0), group);
    }
}

/// Ends the calling process at once, without exit handlers.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit runs no code of the process.
    unsafe { libc::_exit(code) }
}

/// Returns `true` if `process` is in the process group of the calling process, and so gets the same signals of a
/// terminal.
pub fn shares_group_with(process: Pid) -> bool {
    nix::unistd::getpgid(Some(process)) == Ok(nix::unistd::getpgrp())
}

/// Returns `true` if the calling process is the leader of its session.
pub fn leads_session() -> bool {
    nix::unistd::getsid(None) == Ok(nix::unistd::getpid())
}

/// Sets the name under which ps(1) and /proc show the calling thread, and its process if it is the first thread.
pub fn set_name(name: &CStr) {
    // SAFETY: PR_SET_NAME reads a string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Runs `body`, and ends the calling process without running the application's exit handlers. The exit code is 0, or 1
/// if `body` panics.
pub fn run_and_exit(body: impl FnOnce()) -> ! {
    let done = catch_unwind(AssertUnwindSafe(body));
    exit_now(done.is_err().into())
}

/// Closes every descriptor of the calling process except those in `kept`, and opens /dev/null in place of the standard
/// ones.
pub fn close_all_except<const N: usize>(mut kept: [RawFd; N]) {
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
    // SAFETY: who calls close_all_except() uses none of them any more, and neither takes memory.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, last, 0) != 0 {
            // Before Linux 5.9.
            for fd in first..=last.min(libc::sysconf(libc::_SC_OPEN_MAX) as RawFd) {
                libc::close(fd);
            }
        }
    }
}

/// Waits until `child`, a child of the calling process, has ended, and reaps it. Returns at once if another thread has
/// reaped it.
pub fn reap(child: Pid) {
    while waitpid(child, None) == Err(Errno::EINTR) {}
}
