//! The types of `<corosync/corotypes.h>`, which corosync's libraries share.
//!
//! `include/corotypes.toml` holds the parts of the header that no Rust code needs: the macros and the
//! inline clock.
#![allow(non_camel_case_types, non_snake_case)]

/// The result of a call of any of corosync's client libraries, such as libcmap, libquorum and libsam.
///
/// sam.h lists the codes that each function of libsam returns. The other codes are only returned by
/// corosync's other libraries.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum cs_error_t {
    /// The call succeeded.
    CS_OK = 1,
    /// The library failed, or a system call that it needs.
    CS_ERR_LIBRARY = 2,
    /// The versions of the library and of the service do not match.
    CS_ERR_VERSION = 3,
    /// Initialisation failed.
    CS_ERR_INIT = 4,
    /// The service did not answer in time.
    CS_ERR_TIMEOUT = 5,
    /// The service is busy: try the call again.
    CS_ERR_TRY_AGAIN = 6,
    /// An argument is invalid.
    CS_ERR_INVALID_PARAM = 7,
    /// There is not enough memory.
    CS_ERR_NO_MEMORY = 8,
    /// The call is not allowed in the present state, or the handle is unknown.
    CS_ERR_BAD_HANDLE = 9,
    /// The resource is in use.
    CS_ERR_BUSY = 10,
    /// The user has no access.
    CS_ERR_ACCESS = 11,
    /// The object does not exist.
    CS_ERR_NOT_EXIST = 12,
    /// The name is too long.
    CS_ERR_NAME_TOO_LONG = 13,
    /// The object exists already.
    CS_ERR_EXIST = 14,
    /// There is no space left.
    CS_ERR_NO_SPACE = 15,
    /// A signal interrupted the call.
    CS_ERR_INTERRUPT = 16,
    /// The name was not found.
    CS_ERR_NAME_NOT_FOUND = 17,
    /// There are not enough resources.
    CS_ERR_NO_RESOURCES = 18,
    /// The operation is not supported, or needs a library that is not installed.
    CS_ERR_NOT_SUPPORTED = 19,
    /// The operation is not allowed.
    CS_ERR_BAD_OPERATION = 20,
    /// The operation failed.
    CS_ERR_FAILED_OPERATION = 21,
    /// The communication with the service failed.
    CS_ERR_MESSAGE_ERROR = 22,
    /// The queue is full.
    CS_ERR_QUEUE_FULL = 23,
    /// The queue is not available.
    CS_ERR_QUEUE_NOT_AVAILABLE = 24,
    /// The flags are invalid.
    CS_ERR_BAD_FLAGS = 25,
    /// The size is too large.
    CS_ERR_TOO_BIG = 26,
    /// There are no sections left.
    CS_ERR_NO_SECTIONS = 27,
    /// The context was not found.
    CS_ERR_CONTEXT_NOT_FOUND = 28,
    /// There are too many groups.
    CS_ERR_TOO_MANY_GROUPS = 30,
    /// The security rules forbid the call.
    CS_ERR_SECURITY = 100,
}

/// The kinds of dispatch that a program passes to functions such as cmap_dispatch(3): how many events the
/// call handles, and whether it waits for them. No function of libsam takes this type.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum cs_dispatch_flags_t {
    /// The call waits for one event and handles it.
    CS_DISPATCH_ONE = 1,
    /// The call handles all events that have arrived, and does not wait.
    CS_DISPATCH_ALL = 2,
    /// The call handles events as they arrive, until the handle is closed.
    CS_DISPATCH_BLOCKING = 3,
    /// The call handles one event if one has arrived, and does not wait.
    CS_DISPATCH_ONE_NONBLOCKING = 4,
}

/// A time in nanoseconds. No function of libsam takes this type: each of corosync's other libraries
/// documents the zero point of its times.
pub type cs_time_t = i64;

/// A name of at most CS_MAX_NAME_LENGTH bytes, without a terminating zero byte. No function of libsam
/// takes this type.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct cs_name_t {
    /// The length of the name in bytes. The bytes of value beyond it have no meaning.
    pub length: u16,
    /// The bytes of the name. Only the first length bytes are in use.
    pub value: [u8; CS_MAX_NAME_LENGTH],
}

/// The version of a service of the corosync daemon. Only corosync's other libraries use this type; it is here because
/// programs find it in this header.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct cs_version_t {
    /// The release letter of the version of a service of the corosync daemon.
    pub releaseCode: core::ffi::c_char,
    /// The major version number of a service of the corosync daemon.
    pub majorVersion: u8,
    /// The minor version number of a service of the corosync daemon.
    pub minorVersion: u8,
}

/// The largest length of a name in a cs_name_t, in bytes.
pub const CS_MAX_NAME_LENGTH: usize = 256;
