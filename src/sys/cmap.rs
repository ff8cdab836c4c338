//! The part of corosync's libcmap that this library uses, see cmap_overview(3).

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::fd::BorrowedFd;
use std::ptr;

use libloading::os::unix::Library;

use super::client_library::{self, INVALID_PARAM, NOT_EXIST, Refusal, answer};

/// The file name of libcmap, corosync's client library for cmap.
pub const FILE: &str = "libcmap.so.4";

type Initialize = unsafe extern "C" fn(*mut u64) -> c_int;
type Finalize = unsafe extern "C" fn(u64) -> c_int;
type FdGet = unsafe extern "C" fn(u64, *mut c_int) -> c_int;
type SetString = unsafe extern "C" fn(u64, *const c_char, *const c_char) -> c_int;
type SetUint64 = unsafe extern "C" fn(u64, *const c_char, u64) -> c_int;
type Get = unsafe extern "C" fn(u64, *const c_char, *mut c_void, *mut usize, *mut c_int) -> c_int;
type Delete = unsafe extern "C" fn(u64, *const c_char) -> c_int;

/// corosync's client library libcmap, loaded at run time, and the functions of it that the cluster helper calls.
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

/// A connection to corosync's cmap service. Each call may block for an unlimited time if corosync does not answer.
#[derive(Debug)]
pub struct Cmap<'a> {
    library: &'a CmapLibrary,
    handle: u64,
    fd: c_int,
}

impl CmapLibrary {
    /// Loads corosync's client library libcmap, by which the cluster helper writes to cmap.
    ///
    /// # Errors
    /// `Missing` if the library, or one of its functions, is not installed.
    pub fn open() -> Result<CmapLibrary, Refusal> {
        let library = client_library::open(FILE)?;
        // SAFETY: the types are those in <corosync/cmap.h>. C passes its enums cs_error_t and cmap_value_types_t as
        // int. The struct keeps the library loaded for as long as the functions can be called.
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

    /// Connects the calling process to corosync's cmap service. May block for an unlimited time if corosync does not
    /// answer.
    ///
    /// # Errors
    /// The `cs_error_t` of cmap_initialize(3) or cmap_fd_get(3).
    pub fn connect(&self) -> Result<Cmap<'_>, Refusal> {
        let mut connection = Cmap { library: self, handle: 0, fd: -1 };
        // SAFETY: the pointer is valid during the call, which writes the handle there.
        if let Err(refusal) = answer(unsafe { (self.initialize)(&raw mut connection.handle) }) {
            // A failed call may have written to the handle. Zero keeps `drop` from closing it.
            connection.handle = 0;
            return Err(refusal);
        }
        // SAFETY: the handle is open, and the pointer is valid during the call, which writes the descriptor there.
        answer(unsafe { (self.fd_get)(connection.handle, &raw mut connection.fd) })?;
        Ok(connection)
    }
}

impl Cmap<'_> {
    /// Returns the descriptor of the connection to corosync's cmap service. poll(2) reports `POLLHUP` on it when
    /// corosync has ended.
    pub fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the library keeps the descriptor open until cmap_finalize, which `drop` calls. The borrow ends before
        // that.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }

    /// Sets the cmap key `key` to a string.
    ///
    /// # Errors
    /// The `cs_error_t` of cmap_set_string(3).
    pub fn set_string(&self, key: &CStr, value: &CStr) -> Result<(), Refusal> {
        // SAFETY: the handle is open, and both pointers are C strings that are valid during the call.
        answer(unsafe { (self.library.set_string)(self.handle, key.as_ptr(), value.as_ptr()) })
    }

    /// Sets the cmap key `key` to a number.
    ///
    /// # Errors
    /// The `cs_error_t` of cmap_set_uint64(3).
    pub fn set_uint64(&self, key: &CStr, value: u64) -> Result<(), Refusal> {
        // SAFETY: the handle is open, and the key is a C string that is valid during the call.
        answer(unsafe { (self.library.set_uint64)(self.handle, key.as_ptr(), value) })
    }

    /// Returns the string that the cmap key `key` is set to, or `None` if the key is not set.
    ///
    /// A value that is longer than 63 bytes is returned as an empty string. This library writes no such values.
    ///
    /// # Errors
    /// The `cs_error_t` of cmap_get(3).
    pub fn string(&self, key: &CStr) -> Result<Option<CString>, Refusal> {
        let mut value = [0_u8; 64];
        let mut size = value.len();
        // SAFETY: the handle is open, and all pointers are valid during the call. cmap_get writes at most `size` bytes
        // to `value`, and `size` is its length. It accepts NULL for the type (cmap_get(3)).
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
            // The value does not fit.
            Err(INVALID_PARAM) => Ok(Some(CString::default())),
            Err(refusal) => Err(refusal),
        }
    }

    /// Deletes the cmap key `key`. Succeeds also if the key is not set.
    ///
    /// # Errors
    /// The `cs_error_t` of cmap_delete(3).
    pub fn delete(&self, key: &CStr) -> Result<(), Refusal> {
        // SAFETY: the handle is open, and the key is a C string that is valid during the call.
        match answer(unsafe { (self.library.delete)(self.handle, key.as_ptr()) }) {
            Err(NOT_EXIST) => Ok(()),
            answer => answer,
        }
    }
}

impl Drop for Cmap<'_> {
    fn drop(&mut self) {
        if self.handle != 0 {
            // SAFETY: the handle is open, and no call can use it after `drop`.
            unsafe { (self.library.finalize)(self.handle) };
        }
    }
}
