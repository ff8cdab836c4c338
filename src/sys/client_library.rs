//! corosync's client libraries, opened at run time. No process of the application ever opens them, and who uses
//! no policy that asks for them needs none of them.

use std::ffi::{CStr, c_int, c_void};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// Why a call did not do what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The library, or something in it, is not there.
    Missing,
    /// What the library answered, a `cs_error_t`.
    Code(c_int),
}

/// `CS_ERR_TRY_AGAIN`.
pub const TRY_AGAIN: Refusal = Refusal::Code(6);
/// `CS_ERR_INVALID_PARAM`.
pub const INVALID_PARAM: Refusal = Refusal::Code(7);
/// `CS_ERR_NOT_EXIST`.
pub const NOT_EXIST: Refusal = Refusal::Code(12);

/// What a C function that returns `cs_error_t` has said.
pub(super) fn answer(code: c_int) -> Result<(), Refusal> {
    if code == 1 { Ok(()) } else { Err(Refusal::Code(code)) }
}

/// Opens a library.
pub(super) fn open(name: &str) -> Result<Library, Refusal> {
    // SAFETY: corosync's libraries and what they need run no code of note when they are loaded.
    unsafe { Library::open(Some(name), RTLD_NOW | RTLD_LOCAL) }.map_err(|_| Refusal::Missing)
}

/// The function `name` of the library.
///
/// # Safety
/// F is the type of that function.
pub(super) unsafe fn function<F: Copy>(library: &Library, name: &CStr) -> Result<F, Refusal> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: the caller knows the type.
    unsafe { library.get::<F>(name.to_bytes_with_nul()) }.map(|symbol| *symbol).map_err(|_| Refusal::Missing)
}
