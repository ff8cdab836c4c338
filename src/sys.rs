//! Every raw system call, and every `unsafe` that is not the C edge, as small safe functions.

pub mod after_fork;
pub mod atomic;
pub mod child_info;
pub mod client_library;
pub mod clock;
pub mod cmap;
pub mod descent_mark;
mod direct;
pub mod event_count;
pub mod event_fd;
pub mod exit_as;
pub mod ffi_buf;
pub mod futex;
mod heap;
pub mod hidden_process;
pub mod inspection;
pub mod lifeline;
pub mod lock;
pub mod memory_file;
mod package_note;
pub mod process;
pub mod program;
pub mod quorum;
pub mod shared_page;
pub mod signals;
pub mod stderr;
pub mod stream_socket;
pub mod thread;

use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

/// The same file under a number that is not that of standard input, output or error, which a program may have
/// closed to open something of its own in its place.
fn above_standard(fd: OwnedFd) -> nix::Result<OwnedFd> {
    let number = fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(libc::STDERR_FILENO + 1))?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sets errno of the calling thread.
pub fn set_errno(errno: i32) {
    Errno::from_raw(errno).set();
}

/// errno of the calling thread.
pub fn errno() -> i32 {
    Errno::last_raw()
}
