//! Buffers that the application passes as a pointer and a length.
//!
//! The types here are no slices, because the length may be wrong in a call that fails. A slice of a wrong length is
//! undefined behaviour even if nothing reads it. No function here accesses the memory before a call has checked its
//! arguments.

use std::marker::PhantomData;

/// A buffer of the application that the library reads.
#[derive(Debug, Clone, Copy)]
pub struct InBuf<'a> {
    start: *const u8,
    length: usize,
    _lent: PhantomData<&'a [u8]>,
}

impl InBuf<'_> {
    /// Makes a buffer of a pointer and a length in bytes.
    ///
    /// # Safety
    /// If the call that gets the buffer succeeds, `start` must point to `length` readable bytes until that call
    /// returns. With a `length` of 0, `start` may be any pointer.
    pub unsafe fn new(start: *const u8, length: usize) -> Self {
        InBuf { start, length, _lent: PhantomData }
    }

    /// Returns a buffer whose `length` is wrong, to test calls that must fail.
    #[cfg(test)]
    pub fn pretended(length: usize) -> Self {
        // SAFETY: the condition of `new` applies to calls that succeed, and the test expects that the call fails.
        unsafe { InBuf::new(b"x".as_ptr(), length) }
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Returns `true` if the length is 0.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Copies all bytes to `target`.
    ///
    /// # Safety
    /// `target` must point to `len()` writable bytes, which must not overlap with the buffer.
    pub(super) unsafe fn copy_to(&self, target: *mut u8) {
        // SAFETY: the caller of `new` promised readable bytes. The caller of this function promised writable ones that
        // do not overlap.
        unsafe { self.start.copy_to_nonoverlapping(target, self.length) };
    }
}

impl<'a> From<&'a [u8]> for InBuf<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        // SAFETY: a slice is readable for its lifetime, and the buffer has the same lifetime.
        unsafe { InBuf::new(bytes.as_ptr(), bytes.len()) }
    }
}

/// A buffer of the application that the library writes to.
#[derive(Debug)]
pub struct OutBuf<'a> {
    start: *mut u8,
    length: usize,
    _lent: PhantomData<&'a mut [u8]>,
}

impl OutBuf<'_> {
    /// Makes a buffer of a pointer and a length in bytes.
    ///
    /// # Safety
    /// `start` must point to as many writable bytes as the call that gets the buffer writes. A call never writes more
    /// than `length` bytes.
    pub unsafe fn new(start: *mut u8, length: usize) -> Self {
        OutBuf { start, length, _lent: PhantomData }
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Returns `true` if the length is 0.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Copies `length` bytes from `source` to the start of the buffer, but not more than fit.
    ///
    /// # Safety
    /// `source` must point to `length` readable bytes, which must not overlap with the buffer.
    pub(super) unsafe fn fill(&mut self, source: *const u8, length: usize) {
        // SAFETY: the caller of `new` promised writable bytes. The caller of this function promised readable ones that
        // do not overlap.
        unsafe { self.start.copy_from_nonoverlapping(source, length.min(self.length)) };
    }
}

impl<'a> From<&'a mut [u8]> for OutBuf<'a> {
    fn from(bytes: &'a mut [u8]) -> Self {
        // SAFETY: a mutable slice is writable for its lifetime, and the buffer has the same lifetime.
        unsafe { OutBuf::new(bytes.as_mut_ptr(), bytes.len()) }
    }
}

/// The callback of the application that checks its health.
#[derive(Debug, Clone, Copy)]
pub struct HealthCheck(unsafe extern "C-unwind" fn() -> core::ffi::c_int);

impl HealthCheck {
    /// Makes a health check of a C function.
    ///
    /// # Safety
    /// The library must be allowed to call `check` from any thread, and any number of times.
    pub unsafe fn new(check: unsafe extern "C-unwind" fn() -> core::ffi::c_int) -> Self {
        HealthCheck(check)
    }

    /// Calls the check. Returns `true` if the check says that the application is healthy.
    ///
    /// The check may end its thread with pthread_exit(3), or be cancelled. The C library then unwinds the caller's
    /// frames without returning to them. So callers must hold no value with a destructor across this call, and must not
    /// catch the unwinding.
    pub fn is_healthy(self) -> bool {
        // SAFETY: the caller of `new` promised that the function can be called from any thread, at any time.
        unsafe { (self.0)() == 0 }
    }
}
