//! The functions of libsam that sam-run uses, see sam_overview(3).

use std::ffi::{c_int, c_uint};
use std::io;

#[link(name = "sam")]
unsafe extern "C" {
    fn sam_initialize(time_interval: c_int, recovery_policy: c_uint) -> c_uint;
    fn sam_register(instance_id: *mut c_uint) -> c_uint;
    fn sam_start() -> c_uint;
    fn sam_stop() -> c_uint;
    fn sam_hc_send() -> c_uint;
}

/// The recovery policy.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The next instance follows after a failure.
    pub restart: bool,
    /// The instance runs only while the partition is quorate.
    pub quorum: bool,
    /// corosync's cmap shows the state.
    pub cmap: bool,
}

/// An error of a function of libsam.
#[derive(Debug)]
pub struct Error {
    function: &'static str,
    code: c_uint,
    cause: io::Error,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Error { function, code, cause } = self;
        match code {
            2 => write!(f, "{function}: CS_ERR_LIBRARY: {cause}"),
            7 => write!(f, "{function}: CS_ERR_INVALID_PARAM: a SAM_ variable is invalid, see the log"),
            8 => write!(f, "{function}: CS_ERR_NO_MEMORY"),
            9 => write!(f, "{function}: CS_ERR_BAD_HANDLE: corosync does not answer"),
            20 => write!(f, "{function}: CS_ERR_NOT_SUPPORTED: corosync's client library is not installed"),
            _ => write!(f, "{function}: error {code}, see the log"),
        }
    }
}

impl From<Error> for String {
    fn from(error: Error) -> String {
        error.to_string()
    }
}

fn checked(function: &'static str, code: c_uint) -> Result<(), Error> {
    let cause = io::Error::last_os_error();
    if code == 1 { Ok(()) } else { Err(Error { function, code, cause }) }
}

/// Opens the session. `interval_ms` is the longest silence allowed; 0: no limit.
pub fn initialize(interval_ms: c_int, policy: Policy) -> Result<(), Error> {
    let Policy { restart, quorum, cmap } = policy;
    let policy = if restart { 2 } else { 1 } | if quorum { 0x08 } else { 0 } | if cmap { 0x10 } else { 0 };
    // SAFETY: sam_initialize takes numbers.
    checked("sam_initialize", unsafe { sam_initialize(interval_ms, policy) })
}

/// Makes the calling process the supervisor. Returns in each instance, with its id.
pub fn register() -> Result<u32, Error> {
    let mut id = 0;
    // SAFETY: sam_register writes one number to the pointer. This process has one thread, so a fork is safe.
    checked("sam_register", unsafe { sam_register(&mut id) })?;
    Ok(id)
}

/// Starts health checking. Waits for quorum if the policy says so.
pub fn start() -> Result<(), Error> {
    // SAFETY: sam_start has no argument.
    checked("sam_start", unsafe { sam_start() })
}

/// Stops health checking: the end of the instance ends the supervisor.
pub fn stop() {
    // SAFETY: sam_stop has no argument. It fails if health checking is not started, and then there is nothing to stop.
    let _ = unsafe { sam_stop() };
}

/// Sends a heartbeat. Once the supervisor has ended, SIGTERM says so, so an error is ignored.
pub fn heartbeat() {
    // SAFETY: sam_hc_send has no argument.
    let _ = unsafe { sam_hc_send() };
}
