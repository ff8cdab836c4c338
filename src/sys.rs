//! Every raw system call, and every `unsafe` that is not the C edge, as small safe functions.

pub mod atomic;
pub mod bell;
pub mod client_library;
pub mod clock;
pub mod cmap;
mod direct;
pub mod ending;
pub mod foreign;
pub mod forked;
pub mod futex;
pub mod heap;
pub mod inspection;
pub mod lifeline;
pub mod mark;
pub mod memory_file;
mod package_note;
pub mod process;
pub mod program;
pub mod quorum;
pub mod reentrant;
pub mod relative;
pub mod shared_page;
pub mod signals;
pub mod stderr;
pub mod stream;
pub mod thread;
pub mod unseen;

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
