//! What the calling process was started as, and with.

use std::ffi::{CStr, CString, c_char};

unsafe extern "C" {
    static program_invocation_short_name: *const c_char;
    fn secure_getenv(name: *const c_char) -> *const c_char;
}

/// Bytes of a name or a value that are read. The caller of the program chooses how long it is, and memory may be short.
const LONGEST: usize = 1024;

/// The name of the program, without its folder, fit for a line of text. What exceeds 1024 bytes is cut off.
pub fn name() -> String {
    // SAFETY: the C library points it to a text before main, and leaves it alone afterwards.
    let name = unsafe {
        match program_invocation_short_name {
            name if name.is_null() => &[],
            name => beginning(CStr::from_ptr(name)),
        }
    };
    String::from_utf8_lossy(name).replace(char::is_control, "?")
}

/// A variable of the environment; None in a program that runs with more privileges than its caller. What exceeds 1024
/// bytes is cut off: no setting has a value as long as that.
pub fn variable(name: &str) -> Option<Vec<u8>> {
    let name = CString::new(name).ok()?;
    // SAFETY: name is a C string. The value is copied before anything else runs in this thread; that no other
    // thread changes the environment meanwhile is what every user of getenv(3) hopes for.
    unsafe {
        let value = secure_getenv(name.as_ptr());
        (!value.is_null()).then(|| beginning(CStr::from_ptr(value)).to_vec())
    }
}

fn beginning(text: &CStr) -> &[u8] {
    let text = text.to_bytes();
    &text[..text.len().min(LONGEST)]
}
