//! Memory of the application, as C hands it over: a pointer and a length that may promise more than there is,
//! and that nobody looks at before the call has been found good.

use std::marker::PhantomData;

/// Bytes to read.
#[derive(Debug, Clone, Copy)]
pub struct InBuf<'a> {
    start: *const u8,
    length: usize,
    _lent: PhantomData<&'a [u8]>,
}

impl InBuf<'_> {
    /// # Safety
    /// When the call that gets them succeeds, `start` pointed to `length` readable bytes until then; `length` 0
    /// promises nothing.
    pub unsafe fn new(start: *const u8, length: usize) -> Self {
        InBuf { start, length, _lent: PhantomData }
    }

    /// So many bytes that are not there, for a call that has to refuse them.
    #[cfg(test)]
    pub fn pretended(length: usize) -> Self {
        // SAFETY: the call is refused, so nothing is promised.
        unsafe { InBuf::new(b"x".as_ptr(), length) }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Copies them to `target`.
    ///
    /// # Safety
    /// `target` has room for them and is no part of them.
    pub(super) unsafe fn copy_to(&self, target: *mut u8) {
        // SAFETY: new() was promised readable bytes, this function a target.
        unsafe { self.start.copy_to_nonoverlapping(target, self.length) };
    }
}

impl<'a> From<&'a [u8]> for InBuf<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        // SAFETY: a slice is what new() wants.
        unsafe { InBuf::new(bytes.as_ptr(), bytes.len()) }
    }
}

/// Room to write to.
#[derive(Debug)]
pub struct OutBuf<'a> {
    start: *mut u8,
    length: usize,
    _lent: PhantomData<&'a mut [u8]>,
}

impl OutBuf<'_> {
    /// # Safety
    /// `start` points to as many writable bytes as the call writes, which are `length` at most.
    pub unsafe fn new(start: *mut u8, length: usize) -> Self {
        OutBuf { start, length, _lent: PhantomData }
    }

    /// How many bytes fit.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether none fit.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Fills the first `length` bytes from `source`; `length` is at most len().
    ///
    /// # Safety
    /// `source` has that many readable bytes and is no part of the room.
    pub(super) unsafe fn fill(&mut self, source: *const u8, length: usize) {
        // SAFETY: new() was promised the room, this function the source.
        unsafe { self.start.copy_from_nonoverlapping(source, length.min(self.length)) };
    }
}

impl<'a> From<&'a mut [u8]> for OutBuf<'a> {
    fn from(room: &'a mut [u8]) -> Self {
        // SAFETY: a slice is what new() wants.
        unsafe { OutBuf::new(room.as_mut_ptr(), room.len()) }
    }
}

/// The application's health check.
#[derive(Debug, Clone, Copy)]
pub struct HealthCheck(unsafe extern "C-unwind" fn() -> core::ffi::c_int);

impl HealthCheck {
    /// # Safety
    /// `check` can be called from any thread, as often as wanted.
    pub unsafe fn new(check: unsafe extern "C-unwind" fn() -> core::ffi::c_int) -> Self {
        HealthCheck(check)
    }

    /// Calls the check. Returns `true` if the check says that the application is healthy.
    ///
    /// The check may end its thread with pthread_exit(3), or be cancelled: the C library then unwinds the frames of the
    /// caller, which must have nothing to drop at this call, and catch nothing.
    pub fn is_healthy(self) -> bool {
        // SAFETY: new() was promised that it can be called.
        unsafe { (self.0)() == 0 }
    }
}
