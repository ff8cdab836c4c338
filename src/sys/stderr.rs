//! The standard error of the program, which the supervisor shares with the instance.
//!
//! Standard error may be any kind of file, a socket, or closed. Its flags belong to the application as well, so this
//! library cannot set `O_NONBLOCK`. Each kind of file needs another way to write without waiting.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::SFlag;

use super::large_file::Attributes;

/// The device and the inode number of the file that was standard error when the library was loaded, which is before
/// `main` for a program that links it. 0: standard error was closed.
static AT_START: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// Stores which file is standard error. Runs as the library's constructor.
extern "C" fn remember() {
    if let Some((device, inode)) = identity() {
        AT_START[0].store(device, Relaxed);
        AT_START[1].store(inode, Relaxed);
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = remember;

/// Returns the device and the inode number of standard error, or `None` if it is closed.
fn identity() -> Option<(u64, u64)> {
    let Attributes { device, inode, .. } = Attributes::of(&std::io::stderr()).ok()?;
    Some((device, inode))
}

/// Returns `true` if standard error is the file with this device and inode number.
pub fn is(file: Option<(u64, u64)>) -> bool {
    file.is_some() && identity() == file
}

/// Returns `true` if standard error is still the file with which the program was started. Another file may be one of
/// the program's own.
pub fn is_as_at_start() -> bool {
    is(Some((AT_START[0].load(Relaxed), AT_START[1].load(Relaxed))))
}

/// Writes a line to standard error without waiting. The caller must have blocked all signals.
///
/// # Errors
/// `EAGAIN` if the write would have to wait, or the error of write(2).
pub fn write(line: &[u8]) -> nix::Result<()> {
    let written = match send(line) {
        Err(Errno::ENOTSOCK) => write_file(line),
        sent => sent,
    };
    match written {
        // The kernel sends a signal together with these errors (signal(7)). It is not for the application, which wrote
        // nothing.
        Err(Errno::EPIPE) => super::signals::forget_pending(super::signals::Signal::PIPE),
        Err(Errno::EFBIG) => super::signals::forget_pending(super::signals::Signal::XFSZ),
        _ => {}
    }
    written
}

fn send(line: &[u8]) -> nix::Result<()> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads the line, whose pointer and length are valid during the call. If the descriptor is
    // closed or no socket, the call fails.
    Errno::result(unsafe { libc::send(libc::STDERR_FILENO, line.as_ptr().cast(), line.len(), flags) })
        .map(drop)
}

fn write_file(line: &[u8]) -> nix::Result<()> {
    // SAFETY: the number is not -1. The application may have closed the descriptor, but the calls below only pass the
    // number to the kernel, and then fail with EBADF. std borrows descriptor 2 in the same way (AsFd for Stderr).
    let stderr = unsafe { BorrowedFd::borrow_raw(libc::STDERR_FILENO) };
    let kind = SFlag::from_bits_truncate(Attributes::of(&stderr)?.mode) & SFlag::S_IFMT;
    let mut fds = [PollFd::new(stderr, PollFlags::POLLOUT)];
    if poll(&mut fds, PollTimeout::ZERO)? == 0 {
        return Err(Errno::EAGAIN);
    }
    if kind == SFlag::S_IFIFO {
        // Another process may fill the pipe after the check by poll(2), so a usual write could wait.
        match write_without_waiting(line) {
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => {}
            written => return written,
        }
    }
    nix::unistd::write(stderr, line).map(drop)
}

/// Writes a line to standard error, which is a pipe. Never waits, even if another process fills the pipe just before
/// the write (RWF_NOWAIT in pwritev2(2)).
///
/// # Errors
/// `EAGAIN` if the pipe is full. `EOPNOTSUPP` before Linux 6.4, where pipes do not support `RWF_NOWAIT`.
fn write_without_waiting(line: &[u8]) -> nix::Result<()> {
    let part = IoSlice::new(line);
    // SAFETY: std guarantees that IoSlice has the layout of iovec, and the slice is valid during the call. The offset
    // -1 stands for the current position of the file (pwritev2(2)).
    let written =
        unsafe { libc::pwritev2(libc::STDERR_FILENO, (&raw const part).cast(), 1, -1, libc::RWF_NOWAIT) };
    Errno::result(written).map(drop)
}
