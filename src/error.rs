//! Every way in which a call can fail, and the one map to what C is told.

#![forbid(unsafe_code)]

use std::fmt;

/// Why a call failed. Nothing has changed when one of these is returned, unless the call says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The call is not legal in the state that the session is in.
    WrongState,
    /// An argument is out of its range.
    InvalidArgument,
    /// More data than a process can hold.
    TooBig,
    /// More data than this machine has memory for at the moment.
    NoMemory,
    /// The policy needs this library, which cannot be opened on this machine.
    NotInstalled(&'static str),
    /// What corosync's client library said, a `cs_error_t`.
    Corosync(i32),
    /// corosync cannot be reached, and what was asked for needs it.
    Unreachable,
    /// The supervisor is gone: nobody watches this instance any more.
    SupervisorLost,
    /// A descriptor of the library was closed by the application and its number means another file by now.
    DescriptorLost,
    /// The system refused something; its errno.
    System(i32),
    /// The library broke its own rules (a panic was caught at the C edge).
    Internal,
}

/// What a call of ours returns.
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::WrongState => f.write_str("not legal in this state"),
            Error::InvalidArgument => f.write_str("argument out of range"),
            Error::TooBig => f.write_str("more data than a process can hold"),
            Error::NoMemory => f.write_str("not enough memory"),
            Error::NotInstalled(file) => {
                write!(f, "{file} cannot be opened, and the recovery policy needs it")
            }
            Error::Corosync(code) => write!(f, "corosync's client library says {code}"),
            Error::Unreachable => f.write_str("corosync cannot be reached"),
            Error::SupervisorLost => f.write_str("the supervisor is gone"),
            Error::DescriptorLost => f.write_str("a descriptor of the library was closed"),
            Error::System(errno) => write!(f, "{}", std::io::Error::from_raw_os_error(*errno)),
            Error::Internal => f.write_str("internal error"),
        }
    }
}

impl std::error::Error for Error {}

impl From<nix::errno::Errno> for Error {
    fn from(errno: nix::errno::Errno) -> Self {
        match errno {
            nix::errno::Errno::ENOMEM => Error::NoMemory,
            errno => Error::System(errno as i32),
        }
    }
}
