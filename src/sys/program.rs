//! What the calling process was started as, and with.

use std::ffi::{CStr, CString, c_char};

unsafe extern "C" {
    static program_invocation_short_name: *const c_char;
    fn secure_getenv(name: *const c_char) -> *const c_char;
}

/// The name of the program, without its folder, fit for a line of text.
pub fn name() -> String {
    // SAFETY: the C library points it to a text before main, and leaves it alone afterwards.
    let name = unsafe {
        match program_invocation_short_name {
            name if name.is_null() => c"",
            name => CStr::from_ptr(name),
        }
    };
    name.to_string_lossy().replace(char::is_control, "?")
}

/// A variable of the environment; None in a program that runs with more privileges than its caller.
pub fn variable(name: &str) -> Option<Vec<u8>> {
    let name = CString::new(name).ok()?;
    // SAFETY: name is a C string. The value is copied before anything else runs in this thread; that no other
    // thread changes the environment meanwhile is what every user of getenv(3) hopes for.
    unsafe {
        let value = secure_getenv(name.as_ptr());
        (!value.is_null()).then(|| CStr::from_ptr(value).to_bytes().to_vec())
    }
}
