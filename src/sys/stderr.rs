//! The standard error of the program, which the supervisor shares with it: it may be anything, and nothing may be
//! changed about it.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};

/// Writes a line, or nothing and an error where that would have to wait. All signals are blocked by the caller.
pub fn write(line: &[u8]) -> nix::Result<()> {
    let written = match send(line) {
        Err(Errno::ENOTSOCK) => write_file(line),
        sent => sent,
    };
    match written {
        // The kernel sends these along, to a program that did nothing.
        Err(Errno::EPIPE) => super::signals::forget_pending(super::signals::Signal::PIPE),
        Err(Errno::EFBIG) => super::signals::forget_pending(super::signals::Signal::XFSZ),
        _ => {}
    }
    written
}

fn send(line: &[u8]) -> nix::Result<()> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads the line, and says so where the descriptor is none or no socket.
    Errno::result(unsafe { libc::send(libc::STDERR_FILENO, line.as_ptr().cast(), line.len(), flags) })
        .map(drop)
}

fn write_file(line: &[u8]) -> nix::Result<()> {
    // SAFETY: good for calls that look the number up; where it is closed they say so.
    let stderr = unsafe { BorrowedFd::borrow_raw(libc::STDERR_FILENO) };
    let kind = SFlag::from_bits_truncate(fstat(stderr)?.st_mode) & SFlag::S_IFMT;
    let mut fds = [PollFd::new(stderr, PollFlags::POLLOUT)];
    if poll(&mut fds, PollTimeout::ZERO)? == 0 {
        return Err(Errno::EAGAIN);
    }
    if kind == SFlag::S_IFIFO {
        // Somebody else may fill the pipe at this moment.
        match write_without_waiting(line) {
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => {}
            written => return written,
        }
    }
    nix::unistd::write(stderr, line).map(drop)
}

/// For pipes from Linux 6.4 on.
fn write_without_waiting(line: &[u8]) -> nix::Result<()> {
    let part = IoSlice::new(line);
    // SAFETY: an IoSlice is laid out as an iovec, and this one lives until the call is over. -1: where the file
    // stands.
    let written =
        unsafe { libc::pwritev2(libc::STDERR_FILENO, (&raw const part).cast(), 1, -1, libc::RWF_NOWAIT) };
    Errno::result(written).map(drop)
}
