//! Every raw system call, and every `unsafe` that is not the C edge, as small safe functions.

pub mod clock;
pub mod ending;
pub mod foreign;
pub mod futex;
pub mod lifeline;
pub mod memory_file;
pub mod process;
pub mod shared_page;
pub mod signals;
pub mod thread;

/// Sets errno of the calling thread.
pub fn set_errno(errno: i32) {
    nix::errno::Errno::from_raw(errno).set();
}

/// errno of the calling thread.
pub fn errno() -> i32 {
    nix::errno::Errno::last_raw()
}
