//! One process wakes another that sleeps in poll(2).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// An event descriptor, readable while it rings. Close-on-exec.
#[derive(Debug)]
pub struct EventFdWaker(OwnedFd);

impl EventFdWaker {
    /// A silent one.
    pub fn new() -> nix::Result<EventFdWaker> {
        let fd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        super::above_standard(fd.into()).map(EventFdWaker)
    }

    /// Rings, until it is silenced.
    pub fn wake(&self) {
        // Fails only when it has rung 2^64 times.
        let _ = nix::unistd::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Silences it.
    pub fn drain(&self) {
        let _ = nix::unistd::read(&self.0, &mut [0; 8]);
    }

    /// The descriptor's number.
    pub fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for EventFdWaker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
