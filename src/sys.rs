//! Safe functions and types around system calls and the C library.
//!
//! All `unsafe` code of this library is here, except for the C functions in `src/capi`.

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
pub mod heap;
pub mod hidden_process;
pub mod inspection;
pub mod large_file;
pub mod lifeline;
mod limits;
pub mod lock;
pub mod memory_file;
mod package_note;
mod proc_file;
pub mod process;
pub mod program;
pub mod quorum;
pub mod set_once;
pub mod shared_page;
pub mod signals;
pub mod stderr;
pub mod stream_socket;
pub mod thread;
mod timed_call;

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

/// Returns a descriptor of the same file with a number above 2. Close-on-exec.
///
/// A program may close standard input, output or error, and expect that the next file it opens gets that number. So
/// this library keeps numbers 0 to 2 free.
///
/// # Errors
/// `EMFILE` if the process has no free descriptor, see fcntl(2).
fn above_standard(fd: OwnedFd) -> nix::Result<OwnedFd> {
    if fd.as_raw_fd() > libc::STDERR_FILENO {
        return Ok(fd);
    }
    let number = fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(libc::STDERR_FILENO + 1))?;
    // SAFETY: F_DUPFD_CLOEXEC returned a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sets `errno` of the calling thread.
pub fn set_errno(errno: i32) {
    Errno::from_raw(errno).set();
}

/// Returns `errno` of the calling thread.
pub fn errno() -> i32 {
    Errno::last_raw()
}
