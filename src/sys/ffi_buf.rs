//! Memory of the application, as C hands it over: a pointer and a length. The library does not access the memory before
//! it has checked that the call is legal and that the length is possible.

use std::marker::PhantomData;
use std::ops::Range;

/// The size in bytes of the smallest memory page of any machine on which the library runs.
const PAGE: usize = 4096;

/// Bytes in the application's memory that it passed to a function of the library for reading, such as the data of
/// `sam_data_store`.
#[derive(Debug, Clone, Copy)]
pub struct InBuf<'a> {
    start: *const u8,
    length: usize,
    _lent: PhantomData<&'a [u8]>,
}

impl InBuf<'_> {
    /// Describes the `length` bytes at `start`, as a C function of the library got them from the application. Accesses
    /// none of them.
    ///
    /// # Safety
    /// `start` points to `length` readable bytes as long as the result is used. With a `length` of 0, `start` may be
    /// anything. So it may with a `length` that the function which gets the result refuses.
    pub unsafe fn new(start: *const u8, length: usize) -> Self {
        InBuf { start, length, _lent: PhantomData }
    }

    /// Describes `length` bytes that do not exist, for a test of a function that has to refuse so many.
    #[cfg(test)]
    pub fn pretended(length: usize) -> Self {
        // SAFETY: the call is refused, so nothing is promised.
        unsafe { InBuf::new(b"x".as_ptr(), length) }
    }

    /// Returns the number of bytes that the application passed.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Returns `true` if the application passed no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns the bytes whose indexes are in `range`. Indexes beyond the last byte are left out.
    pub fn part(&self, range: Range<usize>) -> Self {
        let start = range.start.min(self.length);
        let length = range.end.clamp(start, self.length) - start;
        InBuf { start: self.start.wrapping_add(start), length, _lent: PhantomData }
    }

    /// Reads one byte of each memory page, with signals not blocked yet. An application that handles SIGSEGV to make
    /// its pages accessible does so now, and not while the library has all signals blocked.
    pub fn touch(&self) {
        for place in (0..self.length).step_by(PAGE).chain(self.length.checked_sub(1)) {
            // SAFETY: new() was promised readable bytes.
            unsafe { self.start.add(place).read_volatile() };
        }
    }

    /// Copies the application's bytes to `target`.
    ///
    /// # Safety
    /// `target` has room for the bytes, and does not overlap them.
    pub(super) unsafe fn copy_to(&self, target: *mut u8) {
        // SAFETY: the caller of new() promised readable bytes, the caller of this function a target.
        unsafe { self.start.copy_to_nonoverlapping(target, self.length) };
    }
}

impl<'a> From<&'a [u8]> for InBuf<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        // SAFETY: a slice is what new() wants.
        unsafe { InBuf::new(bytes.as_ptr(), bytes.len()) }
    }
}

/// Room in the application's memory that it passed to a function of the library for writing, such as that of
/// `sam_data_restore`.
#[derive(Debug)]
pub struct OutBuf<'a> {
    start: *mut u8,
    length: usize,
    _lent: PhantomData<&'a mut [u8]>,
}

impl OutBuf<'_> {
    /// Describes the room of `length` bytes at `start`, as a C function of the library got it from the application.
    /// Accesses none of it.
    ///
    /// # Safety
    /// `start` points to as many writable bytes as the call writes, which are `length` at most. Nothing else uses them
    /// during the call.
    pub unsafe fn new(start: *mut u8, length: usize) -> Self {
        OutBuf { start, length, _lent: PhantomData }
    }

    /// Returns the number of bytes that fit in the application's room.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Returns `true` if no byte fits in the application's room.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns the room for the bytes whose indexes are in `range`. Indexes beyond the end of the room are left out.
    pub fn part(&mut self, range: Range<usize>) -> OutBuf<'_> {
        let start = range.start.min(self.length);
        let length = range.end.clamp(start, self.length) - start;
        OutBuf { start: self.start.wrapping_add(start), length, _lent: PhantomData }
    }

    /// Writes one byte of each memory page of the room, without changing it, with signals not blocked yet. An
    /// application that handles SIGSEGV to make its pages accessible does so now, and not while the library has all
    /// signals blocked.
    pub fn touch(&mut self) {
        for place in (0..self.length).step_by(PAGE).chain(self.length.checked_sub(1)) {
            // SAFETY: new() was promised writable bytes, which are the call's alone.
            unsafe {
                let byte = self.start.add(place);
                byte.write_volatile(byte.read_volatile());
            }
        }
    }

    /// Fills the application's room with as many bytes from `source`.
    ///
    /// # Safety
    /// `source` has as many readable bytes, and does not overlap the room.
    pub(super) unsafe fn fill(&mut self, source: *const u8) {
        // SAFETY: new() was promised the room, this function the source.
        unsafe { self.start.copy_from_nonoverlapping(source, self.length) };
    }
}

impl<'a> From<&'a mut [u8]> for OutBuf<'a> {
    fn from(room: &'a mut [u8]) -> Self {
        // SAFETY: a slice is what new() wants.
        unsafe { OutBuf::new(room.as_mut_ptr(), room.len()) }
    }
}

/// The application's function that says whether it is healthy, as passed to `sam_hc_callback_register`.
#[derive(Debug, Clone, Copy)]
pub struct HealthCheck(unsafe extern "C-unwind" fn() -> core::ffi::c_int);

impl HealthCheck {
    /// Takes the application's health check function.
    ///
    /// # Safety
    /// `check` can be called from any thread, as often as wanted.
    pub unsafe fn new(check: unsafe extern "C-unwind" fn() -> core::ffi::c_int) -> Self {
        HealthCheck(check)
    }

    /// Calls the application's health check function. Returns `true` if it says that the application is healthy, by a
    /// result of 0.
    ///
    /// The check may end its thread with pthread_exit(3), or be cancelled: the C library then unwinds the frames of the
    /// caller, which must have nothing to drop at this call, and catch nothing.
    pub fn is_healthy(self) -> bool {
        // SAFETY: new() was promised that it can be called.
        unsafe { (self.0)() == 0 }
    }
}
