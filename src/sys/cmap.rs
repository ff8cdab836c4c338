//! libcmap: the keys that corosync keeps.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::fd::BorrowedFd;
use std::ptr;

use libloading::os::unix::Library;

use super::client_library::{self, INVALID_PARAM, NOT_EXIST, Refusal, answer};

/// The library's file.
pub const FILE: &str = "libcmap.so.4";

type Initialize = unsafe extern "C" fn(*mut u64) -> c_int;
type Finalize = unsafe extern "C" fn(u64) -> c_int;
type FdGet = unsafe extern "C" fn(u64, *mut c_int) -> c_int;
type SetString = unsafe extern "C" fn(u64, *const c_char, *const c_char) -> c_int;
type SetUint64 = unsafe extern "C" fn(u64, *const c_char, u64) -> c_int;
type Get = unsafe extern "C" fn(u64, *const c_char, *mut c_void, *mut usize, *mut c_int) -> c_int;
type Delete = unsafe extern "C" fn(u64, *const c_char) -> c_int;

/// The library.
#[derive(Debug)]
pub struct CmapLibrary {
    initialize: Initialize,
    finalize: Finalize,
    fd_get: FdGet,
    set_string: SetString,
    set_uint64: SetUint64,
    get: Get,
    delete: Delete,
    _library: Library,
}

/// A connection to corosync's cmap service. Every call may block for as long as corosync likes.
#[derive(Debug)]
pub struct Cmap<'a> {
    library: &'a CmapLibrary,
    handle: u64,
    fd: c_int,
}

impl CmapLibrary {
    /// Opens the library.
    pub fn open() -> Result<CmapLibrary, Refusal> {
        let library = client_library::open(FILE)?;
        // SAFETY: the types are those of <corosync/cmap.h>, where cs_error_t and cmap_value_types_t are enums.
        unsafe {
            Ok(CmapLibrary {
                initialize: client_library::function(&library, c"cmap_initialize")?,
                finalize: client_library::function(&library, c"cmap_finalize")?,
                fd_get: client_library::function(&library, c"cmap_fd_get")?,
                set_string: client_library::function(&library, c"cmap_set_string")?,
                set_uint64: client_library::function(&library, c"cmap_set_uint64")?,
                get: client_library::function(&library, c"cmap_get")?,
                delete: client_library::function(&library, c"cmap_delete")?,
                _library: library,
            })
        }
    }

    /// Connects.
    pub fn connect(&self) -> Result<Cmap<'_>, Refusal> {
        let mut connection = Cmap { library: self, handle: 0, fd: -1 };
        // SAFETY: the handle's place outlives the call.
        if let Err(refusal) = answer(unsafe { (self.initialize)(&raw mut connection.handle) }) {
            // There is nothing to close, whatever was written to the handle.
            connection.handle = 0;
            return Err(refusal);
        }
        // SAFETY: the handle is open, the descriptor's place outlives the call.
        answer(unsafe { (self.fd_get)(connection.handle, &raw mut connection.fd) })?;
        Ok(connection)
    }
}

impl Cmap<'_> {
    /// Hangs up when corosync is gone.
    pub fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the library keeps it open as long as the connection.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }

    /// Sets a key to a string.
    pub fn set_string(&self, key: &CStr, value: &CStr) -> Result<(), Refusal> {
        // SAFETY: the handle is open, the strings outlive the call.
        answer(unsafe { (self.library.set_string)(self.handle, key.as_ptr(), value.as_ptr()) })
    }

    /// Sets a key to a number.
    pub fn set_uint64(&self, key: &CStr, value: u64) -> Result<(), Refusal> {
        // SAFETY: the handle is open, the key outlives the call.
        answer(unsafe { (self.library.set_uint64)(self.handle, key.as_ptr(), value) })
    }

    /// The string that a key is set to; an empty one for what is longer than any of ours.
    pub fn string(&self, key: &CStr) -> Result<Option<CString>, Refusal> {
        let mut value = [0_u8; 64];
        let mut size = value.len();
        // SAFETY: the handle is open; key, value and size outlive the call, and size is that of value.
        let got = answer(unsafe {
            (self.library.get)(
                self.handle,
                key.as_ptr(),
                value.as_mut_ptr().cast(),
                &raw mut size,
                ptr::null_mut(),
            )
        });
        match got {
            Ok(()) => Ok(CStr::from_bytes_until_nul(&value).ok().map(CStr::to_owned)),
            Err(NOT_EXIST) => Ok(None),
            Err(INVALID_PARAM) => Ok(Some(CString::default())),
            Err(refusal) => Err(refusal),
        }
    }

    /// Deletes a key, if it is set.
    pub fn delete(&self, key: &CStr) -> Result<(), Refusal> {
        // SAFETY: the handle is open, the key outlives the call.
        match answer(unsafe { (self.library.delete)(self.handle, key.as_ptr()) }) {
            Err(NOT_EXIST) => Ok(()),
            answer => answer,
        }
    }
}

impl Drop for Cmap<'_> {
    fn drop(&mut self) {
        if self.handle != 0 {
            // SAFETY: the handle is open, and used no more.
            unsafe { (self.library.finalize)(self.handle) };
        }
    }
}
