//! The one way from Rust to C: no panic crosses it, and every error becomes its code.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::corotypes::cs_error_t;
use crate::error::{Error, Result};
use crate::sys;

/// Runs the body of a C function. After an error of the system, errno says which.
pub(super) fn guarded(body: impl FnOnce() -> Result<()>) -> cs_error_t {
    // The session's own state changes only in single steps, so a panic leaves none half done.
    match catch_unwind(AssertUnwindSafe(body)).unwrap_or(Err(Error::Internal)) {
        Ok(()) => cs_error_t::CS_OK,
        Err(error) => {
            if let Error::System(errno) = error {
                sys::set_errno(errno);
            }
            error.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_the_library_error() {
        assert_eq!(guarded(|| panic!("on purpose")), cs_error_t::CS_ERR_LIBRARY);
    }

    #[test]
    fn an_error_of_the_system_is_told_in_errno() {
        assert_eq!(guarded(|| Err(Error::System(libc::EMFILE))), cs_error_t::CS_ERR_LIBRARY);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EMFILE));
    }
}
