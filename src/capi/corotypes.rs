//! `<corosync/corotypes.h>`: the types that corosync's libraries share. What no Rust code needs (macros, the
//! inline clock) is written in `include/corotypes.toml`.
#![allow(non_camel_case_types, non_snake_case)]

/// What every call of corosync's libraries returns.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum cs_error_t {
    /// The call did what it says.
    CS_OK = 1,
    /// The library, or something that it needs of the system, failed.
    CS_ERR_LIBRARY = 2,
    /// The versions of library and service do not fit.
    CS_ERR_VERSION = 3,
    /// Initialisation failed.
    CS_ERR_INIT = 4,
    /// No answer in time.
    CS_ERR_TIMEOUT = 5,
    /// Cannot be done at the moment; call again.
    CS_ERR_TRY_AGAIN = 6,
    /// An argument is out of its range.
    CS_ERR_INVALID_PARAM = 7,
    /// Not enough memory.
    CS_ERR_NO_MEMORY = 8,
    /// Not legal in this state, or an unknown handle.
    CS_ERR_BAD_HANDLE = 9,
    /// In use.
    CS_ERR_BUSY = 10,
    /// Access denied.
    CS_ERR_ACCESS = 11,
    /// Does not exist.
    CS_ERR_NOT_EXIST = 12,
    /// Name too long.
    CS_ERR_NAME_TOO_LONG = 13,
    /// Exists already.
    CS_ERR_EXIST = 14,
    /// No space left.
    CS_ERR_NO_SPACE = 15,
    /// Interrupted by a signal.
    CS_ERR_INTERRUPT = 16,
    /// Name not found.
    CS_ERR_NAME_NOT_FOUND = 17,
    /// Not enough resources.
    CS_ERR_NO_RESOURCES = 18,
    /// Not supported.
    CS_ERR_NOT_SUPPORTED = 19,
    /// Operation not allowed.
    CS_ERR_BAD_OPERATION = 20,
    /// The operation failed.
    CS_ERR_FAILED_OPERATION = 21,
    /// Communication error.
    CS_ERR_MESSAGE_ERROR = 22,
    /// Queue full.
    CS_ERR_QUEUE_FULL = 23,
    /// Queue not available.
    CS_ERR_QUEUE_NOT_AVAILABLE = 24,
    /// Bad flags.
    CS_ERR_BAD_FLAGS = 25,
    /// Too large.
    CS_ERR_TOO_BIG = 26,
    /// No sections left.
    CS_ERR_NO_SECTIONS = 27,
    /// Context not found.
    CS_ERR_CONTEXT_NOT_FOUND = 28,
    /// Too many groups.
    CS_ERR_TOO_MANY_GROUPS = 30,
    /// Not allowed by security rules.
    CS_ERR_SECURITY = 100,
}

/// How a dispatch function of corosync's libraries works through what has arrived.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum cs_dispatch_flags_t {
    /// One event; waits for it.
    CS_DISPATCH_ONE = 1,
    /// Everything that has arrived.
    CS_DISPATCH_ALL = 2,
    /// Everything, until the handle is closed.
    CS_DISPATCH_BLOCKING = 3,
    /// One event, if one has arrived.
    CS_DISPATCH_ONE_NONBLOCKING = 4,
}

/// Time in ns.
pub type cs_time_t = i64;

/// A name of at most CS_MAX_NAME_LENGTH bytes, not ended by a zero byte.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct cs_name_t {
    /// Bytes of value in use.
    pub length: u16,
    /// The name.
    pub value: [u8; CS_MAX_NAME_LENGTH],
}

/// The version of a service.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct cs_version_t {
    /// Release, a letter.
    pub releaseCode: core::ffi::c_char,
    /// Major version.
    pub majorVersion: u8,
    /// Minor version.
    pub minorVersion: u8,
}

/// Bytes in a cs_name_t.
pub const CS_MAX_NAME_LENGTH: usize = 256;
