//! The name and the environment of the program.

use std::ffi::{CStr, CString, c_char};

unsafe extern "C" {
    static program_invocation_short_name: *const c_char;
    fn secure_getenv(name: *const c_char) -> *const c_char;
}

/// The largest number of bytes that are read of the program's name or of an environment variable. The user who starts
/// the program chooses how long these are, and memory may be short.
const MAX_BYTES: usize = 1024;

/// Returns the name of the program: the value of SAM_NAME, or without it the file name without directories. It is cut
/// off after 1024 bytes. Control characters are replaced by `?`, so that the name fits in one line of text.
pub fn name() -> String {
    if let Some(chosen) = variable("SAM_NAME").filter(|chosen| !chosen.is_empty()) {
        return in_one_line(&chosen);
    }
    // SAFETY: the C library sets the pointer to a C string before main (program_invocation_name(3)). A program that
    // changes the pointer must set it to a C string as well, because error(3) and others print it.
    let name = unsafe {
        match program_invocation_short_name {
            name if name.is_null() => &[],
            name => beginning(CStr::from_ptr(name)),
        }
    };
    in_one_line(name)
}

fn in_one_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace(char::is_control, "?")
}

/// Returns the value of an environment variable, or `None` if it is not set. Always `None` in a program that runs with
/// more privileges than the user who started it, see secure_getenv(3). A value is cut off after 1024 bytes: no setting
/// has a valid value as long as that.
pub fn variable(name: &str) -> Option<Vec<u8>> {
    let name = CString::new(name).ok()?;
    // SAFETY: `name` is a C string, and so is the value that the C library returns. It is valid until another thread
    // changes the environment. The application must not do that during a call of this library, as with every caller of
    // getenv(3).
    unsafe {
        let value = secure_getenv(name.as_ptr());
        (!value.is_null()).then(|| beginning(CStr::from_ptr(value)).to_vec())
    }
}

fn beginning(text: &CStr) -> &[u8] {
    let text = text.to_bytes();
    &text[..text.len().min(MAX_BYTES)]
}
