//! The errors of the library's calls. `src/capi.rs` converts them to `cs_error_t`.

#![forbid(unsafe_code)]

use std::fmt;

/// The reason why a call failed. A call that fails has changed nothing, unless its documentation says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The session is in a state in which the call is not allowed.
    WrongState,
    /// The caller passed an argument that is out of its range.
    InvalidArgument,
    /// The data is larger than any object in memory can be.
    TooBig,
    /// The machine has not enough free memory for the data.
    NoMemory,
    /// The recovery policy needs this client library of corosync, which cannot be loaded on this machine.
    NotInstalled(&'static str),
    /// corosync's client library returned this error, a `cs_error_t`.
    Corosync(i32),
    /// The recovery policy needs corosync, which cannot be reached.
    Unreachable,
    /// The supervisor has ended, so this instance is not supervised any more.
    SupervisorLost,
    /// The application has closed a descriptor of the library. Its number may belong to another file now.
    DescriptorLost,
    /// A system call failed with this `errno`.
    System(i32),
    /// A bug in this library: a panic was caught before it reached C code, or the library's state is not as it must be.
    Internal,
}

/// The result of a call that can fail with an [`Error`] of this library.
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::WrongState => f.write_str("call not allowed in the current state of the session"),
            Error::InvalidArgument => f.write_str("argument out of range"),
            Error::TooBig => f.write_str("data too large for the memory of a process"),
            Error::NoMemory => f.write_str("not enough memory"),
            Error::NotInstalled(file) => {
                write!(f, "{file} cannot be opened, and the recovery policy needs it")
            }
            Error::Corosync(code) => {
                write!(f, "corosync's client library returned error {code} ({})", cs_error_name(*code))
            }
            Error::Unreachable => f.write_str("corosync cannot be reached, and the recovery policy needs it"),
            Error::SupervisorLost => f.write_str("the supervisor has ended"),
            Error::DescriptorLost => f.write_str("the application closed a descriptor of the library"),
            Error::System(errno) => write!(f, "{}", std::io::Error::from_raw_os_error(*errno)),
            Error::Internal => f.write_str("internal error of the library"),
        }
    }
}

/// Returns the name of a `cs_error_t`, for the log line about a failed connection to corosync. For a code that
/// corosync's client libraries do not return there, the result names the header that lists all codes.
fn cs_error_name(code: i32) -> &'static str {
    match code {
        2 => "CS_ERR_LIBRARY",
        5 => "CS_ERR_TIMEOUT",
        6 => "CS_ERR_TRY_AGAIN",
        8 => "CS_ERR_NO_MEMORY",
        11 => "CS_ERR_ACCESS",
        12 => "CS_ERR_NOT_EXIST",
        18 => "CS_ERR_NO_RESOURCES",
        19 => "CS_ERR_NOT_SUPPORTED",
        100 => "CS_ERR_SECURITY",
        _ => "see <corosync/corotypes.h>",
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
