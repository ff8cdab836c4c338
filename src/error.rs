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
                write!(f, "{file} cannot be opened (CS_ERR_NOT_SUPPORTED), the recovery policy needs it: install it")
            }
            Error::Corosync(code) => {
                let (name, hint) = cs_error(*code);
                write!(f, "corosync cannot be reached ({name}), the recovery policy needs it{hint}")
            }
            Error::Unreachable => f.write_str(
                "corosync cannot be reached (CS_ERR_BAD_HANDLE), the recovery policy needs it: it is not running, or \
                 refuses this user",
            ),
            Error::SupervisorLost => f.write_str("the supervisor has ended"),
            Error::DescriptorLost => f.write_str("the application closed a descriptor of the library"),
            Error::System(errno) => write!(f, "{}", std::io::Error::from_raw_os_error(*errno)),
            Error::Internal => f.write_str("internal error of the library"),
        }
    }
}

/// Returns the name of an error of corosync's client library, a `cs_error_t`, and what the administrator can do about
/// it. Used for the log line about a failed connection to corosync.
fn cs_error(code: i32) -> (&'static str, &'static str) {
    match code {
        2 => ("CS_ERR_LIBRARY", ": it is not running, or refuses this user"),
        3 => ("CS_ERR_VERSION", ": its client library has another version"),
        4 => ("CS_ERR_INIT", ""),
        5 => ("CS_ERR_TIMEOUT", ": it is running, but does not answer"),
        6 => ("CS_ERR_TRY_AGAIN", ": it is starting, or not running"),
        8 => ("CS_ERR_NO_MEMORY", ": this machine has too little memory"),
        10 => ("CS_ERR_BUSY", ""),
        11 | 100 => (
            if code == 11 { "CS_ERR_ACCESS" } else { "CS_ERR_SECURITY" },
            ": allow this user in uidgid of corosync.conf(5)",
        ),
        12 => ("CS_ERR_NOT_EXIST", ": it is not running, or runs without this service"),
        18 => ("CS_ERR_NO_RESOURCES", ": a limit of this process or of corosync is too low"),
        19 => ("CS_ERR_NOT_SUPPORTED", ": it runs without this service"),
        _ => ("an error that has no name in <corosync/corotypes.h>", ""),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_of_corosync_is_shown_by_its_name_and_with_a_hint() {
        assert_eq!(
            Error::Corosync(2).to_string(),
            "corosync cannot be reached (CS_ERR_LIBRARY), the recovery policy needs it: it is not running, or \
             refuses this user"
        );
        for code in (0..=30).chain([100]) {
            let text = Error::Corosync(code).to_string();
            assert!(text.contains("CS_ERR_") || text.contains("no name"), "{code}: {text}");
            assert!(!text.contains(&format!(" {code} ")) && text.len() < 160, "{code}: {text}");
        }
    }
}
