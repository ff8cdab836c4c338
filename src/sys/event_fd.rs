//! Wakes a process that sleeps in poll(2).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// An event descriptor, by which one process wakes another one that polls it, see eventfd(2). It is readable from
/// [`wake`](EventFdWaker::wake) to [`drain`](EventFdWaker::drain). Close-on-exec.
#[derive(Debug)]
pub struct EventFdWaker(OwnedFd);

impl EventFdWaker {
    /// Makes an event descriptor that is not readable yet.
    ///
    /// # Errors
    /// The error of eventfd(2) or fcntl(2), such as `EMFILE` if the process has no free descriptor.
    pub fn new() -> nix::Result<EventFdWaker> {
        let fd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        super::above_standard(fd.into()).map(EventFdWaker)
    }

    /// Makes the descriptor readable, which wakes the process that polls it.
    pub fn wake(&self) {
        // Fails only if the kernel's counter would exceed 2^64 - 2. The descriptor is readable then.
        let _ = nix::unistd::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes the descriptor unreadable again. Called by the process that was woken.
    pub fn drain(&self) {
        let _ = nix::unistd::read(&self.0, &mut [0; 8]);
    }

    /// Returns the number of the event descriptor.
    pub fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for EventFdWaker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
