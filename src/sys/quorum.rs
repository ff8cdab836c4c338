//! libquorum: whether the cluster partition of this machine is quorate.

use std::ffi::{c_int, c_uint};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering};

use libloading::os::unix::Library;

use super::client_library::{self, Refusal, TRY_AGAIN, answer};

/// The library's file.
pub const FILE: &str = "libquorum.so.5";

const CS_TRACK_CURRENT: c_uint = 1;
const CS_TRACK_CHANGES: c_uint = 2;
const CS_DISPATCH_ONE_NONBLOCKING: c_int = 4;

/// `quorum_callbacks_t`.
#[repr(C)]
struct Callbacks {
    notify: extern "C" fn(u64, u32, u64, u32, *mut u32),
}

type Initialize = unsafe extern "C" fn(*mut u64, *mut Callbacks, *mut u32) -> c_int;
type Finalize = unsafe extern "C" fn(u64) -> c_int;
type FdGet = unsafe extern "C" fn(u64, *mut c_int) -> c_int;
type TrackStart = unsafe extern "C" fn(u64, c_uint) -> c_int;
type Dispatch = unsafe extern "C" fn(u64, c_int) -> c_int;

/// The library.
#[derive(Debug)]
pub struct QuorumLibrary {
    initialize: Initialize,
    finalize: Finalize,
    fd_get: FdGet,
    trackstart: TrackStart,
    dispatch: Dispatch,
    _library: Library,
}

/// A connection to corosync's quorum service.
#[derive(Debug)]
pub struct QuorumConnection<'a> {
    library: &'a QuorumLibrary,
    handle: u64,
    fd: c_int,
}

/// What corosync said last: 0 nothing, 1 not quorate, 2 quorate. A process has one connection at a time.
static SAID: AtomicU32 = AtomicU32::new(0);

extern "C" fn notify(_handle: u64, quorate: u32, _ring: u64, _entries: u32, _members: *mut u32) {
    SAID.store(1 + u32::from(quorate != 0), Ordering::Relaxed);
}

impl QuorumLibrary {
    /// Opens the library.
    pub fn open() -> Result<QuorumLibrary, Refusal> {
        let library = client_library::open(FILE)?;
        // SAFETY: the types are those of <corosync/quorum.h>, where cs_error_t and cs_dispatch_flags_t are enums.
        unsafe {
            Ok(QuorumLibrary {
                initialize: client_library::function(&library, c"quorum_initialize")?,
                finalize: client_library::function(&library, c"quorum_finalize")?,
                fd_get: client_library::function(&library, c"quorum_fd_get")?,
                trackstart: client_library::function(&library, c"quorum_trackstart")?,
                dispatch: client_library::function(&library, c"quorum_dispatch")?,
                _library: library,
            })
        }
    }

    /// Connects, and asks to be told the state now and at every change. May block for as long as corosync likes.
    pub fn connect(&self) -> Result<QuorumConnection<'_>, Refusal> {
        let mut connection = QuorumConnection { library: self, handle: 0, fd: -1 };
        let mut callbacks = Callbacks { notify };
        let mut provider = 0;
        SAID.store(0, Ordering::Relaxed);
        // SAFETY: the handle, callbacks and provider outlive the call.
        let begun = answer(unsafe {
            (self.initialize)(&raw mut connection.handle, &raw mut callbacks, &raw mut provider)
        });
        if begun.is_err() {
            // There is nothing to close, whatever was written to the handle.
            connection.handle = 0;
            return begun.map(|()| connection);
        }
        // SAFETY: the handle is open, the descriptor's place outlives the call.
        unsafe {
            answer((self.fd_get)(connection.handle, &raw mut connection.fd))?;
            answer((self.trackstart)(connection.handle, CS_TRACK_CURRENT | CS_TRACK_CHANGES))?;
        }
        Ok(connection)
    }
}

impl QuorumConnection<'_> {
    /// Becomes readable when there is news.
    pub fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the library keeps it open as long as the connection.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }

    /// Whether the partition is quorate, by the latest news; None before the first. An error: the connection is
    /// lost.
    pub fn news(&self) -> Result<Option<bool>, Refusal> {
        loop {
            // SAFETY: the handle is open; notify() takes what the library calls it with.
            match answer(unsafe { (self.library.dispatch)(self.handle, CS_DISPATCH_ONE_NONBLOCKING) }) {
                Ok(()) => {}
                Err(TRY_AGAIN) => break,
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(match SAID.load(Ordering::Relaxed) {
            0 => None,
            said => Some(said == 2),
        })
    }
}

impl Drop for QuorumConnection<'_> {
    fn drop(&mut self) {
        if self.handle != 0 {
            // SAFETY: the handle is open, and used no more.
            unsafe { (self.library.finalize)(self.handle) };
        }
    }
}

const _: () = assert!(size_of::<Callbacks>() == size_of::<*const ()>());
