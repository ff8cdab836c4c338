//! Loading of corosync's client libraries at run time.
//!
//! Only the cluster helper and the probe of `sam_initialize` load them. The application's own processes never do. A
//! recovery policy without QUORUM and CMAP works on a machine where these libraries are not installed.

use std::ffi::{CStr, c_int, c_void};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// The reason why a call of one of corosync's client libraries failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The library cannot be loaded, or it lacks a function.
    Missing,
    /// The library returned this error code, a `cs_error_t`.
    Code(c_int),
}

/// `CS_ERR_TRY_AGAIN` of corosync's client libraries: corosync is busy, or there is nothing to dispatch.
pub const TRY_AGAIN: Refusal = Refusal::Code(6);
/// `CS_ERR_INVALID_PARAM` of corosync's client libraries: corosync did not accept an argument.
pub const INVALID_PARAM: Refusal = Refusal::Code(7);
/// `CS_ERR_NOT_EXIST`: the cmap key is not set.
pub const NOT_EXIST: Refusal = Refusal::Code(12);

/// Converts the `cs_error_t` that a function of corosync's client libraries returned. 1 is `CS_OK`.
pub(super) fn answer(code: c_int) -> Result<(), Refusal> {
    if code == 1 { Ok(()) } else { Err(Refusal::Code(code)) }
}

/// Loads the client library of corosync with the file name `name`.
pub(super) fn open(name: &str) -> Result<Library, Refusal> {
    // SAFETY: loading runs the constructors of the library and its dependencies, which must be sound. corosync's
    // libraries and libqb have none of their own (Debian 12). The other dependencies are system libraries that any
    // program may load.
    unsafe { Library::open(Some(name), RTLD_NOW | RTLD_LOCAL) }.map_err(|_| Refusal::Missing)
}

/// Returns the function with the given name of a loaded client library of corosync.
///
/// # Safety
/// `F` must be the type of that function. The function must not be called after `library` is dropped.
pub(super) unsafe fn function<F: Copy>(library: &Library, name: &CStr) -> Result<F, Refusal> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: the caller promises that F is the type of the symbol, and that it is not used after the library is
    // unloaded. The assertion above ensures that F is as large as a pointer.
    unsafe { library.get::<F>(name.to_bytes_with_nul()) }.map(|symbol| *symbol).map_err(|_| Refusal::Missing)
}
