//! Resource limits of the calling process, with 64 bits on every architecture (getrlimit(2)).

use std::ptr;

use nix::errno::Errno;

/// A resource whose use is limited.
#[derive(Debug, Clone, Copy)]
pub enum Resource {
    /// The size of a core file (RLIMIT_CORE).
    Core,
    /// The number of file locks (RLIMIT_LOCKS).
    Locks,
}

/// The limits of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The limit that is in force.
    pub soft: u64,
    /// The limit up to which the process may raise `soft`.
    pub hard: u64,
}

impl Limits {
    /// Returns the limits of `resource`.
    ///
    /// # Errors
    /// The error of getrlimit(2).
    pub fn of(resource: Resource) -> nix::Result<Limits> {
        let mut limits = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the pointer is valid during the call, which writes there. No new limits are passed.
        Errno::result(unsafe { libc::prlimit64(0, resource.number(), ptr::null(), &mut limits) })?;
        Ok(Limits { soft: limits.rlim_cur, hard: limits.rlim_max })
    }

    /// Makes these the limits of `resource`.
    ///
    /// # Errors
    /// The error of setrlimit(2).
    pub fn set(self, resource: Resource) -> nix::Result<()> {
        let limits = libc::rlimit64 { rlim_cur: self.soft, rlim_max: self.hard };
        // SAFETY: the pointer is valid during the call, which reads from it. The former limits are not asked for.
        Errno::result(unsafe { libc::prlimit64(0, resource.number(), &limits, ptr::null_mut()) }).map(drop)
    }
}

#[cfg(target_env = "gnu")]
type Number = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Number = libc::c_int;

impl Resource {
    fn number(self) -> Number {
        match self {
            Resource::Core => libc::RLIMIT_CORE,
            Resource::Locks => libc::RLIMIT_LOCKS,
        }
    }
}
