//! The part of corosync's libquorum that this library uses, see quorum_overview(3).

use std::ffi::{c_int, c_uint};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering};

use libloading::os::unix::Library;

use super::client_library::{self, Refusal, TRY_AGAIN, answer};

/// The file name of libquorum, corosync's client library for quorum.
pub const FILE: &str = "libquorum.so.5";

const CS_TRACK_CURRENT: c_uint = 1;
const CS_TRACK_CHANGES: c_uint = 2;
const CS_DISPATCH_ONE_NONBLOCKING: c_int = 4;

/// The functions that libquorum calls back, as the structure `quorum_callbacks_t` of <corosync/quorum.h>.
#[repr(C)]
struct Callbacks {
    notify: extern "C" fn(u64, u32, u64, u32, *mut u32),
}

type Initialize = unsafe extern "C" fn(*mut u64, *mut Callbacks, *mut u32) -> c_int;
type Finalize = unsafe extern "C" fn(u64) -> c_int;
type FdGet = unsafe extern "C" fn(u64, *mut c_int) -> c_int;
type TrackStart = unsafe extern "C" fn(u64, c_uint) -> c_int;
type Dispatch = unsafe extern "C" fn(u64, c_int) -> c_int;

/// corosync's client library libquorum, loaded at run time, and the functions of it that the cluster helper calls.
#[derive(Debug)]
pub struct QuorumLibrary {
    initialize: Initialize,
    finalize: Finalize,
    fd_get: FdGet,
    trackstart: TrackStart,
    dispatch: Dispatch,
    _library: Library,
}

/// A connection to corosync's quorum service, which reports whether the cluster partition is quorate.
#[derive(Debug)]
pub struct QuorumConnection<'a> {
    library: &'a QuorumLibrary,
    handle: u64,
    fd: c_int,
}

/// The quorum of the cluster partition in corosync's last notification: 0 for none yet, 1 for not quorate, 2 for
/// quorate.
///
/// One word is enough, because a process has at most one connection at a time.
static LAST_NOTIFICATION: AtomicU32 = AtomicU32::new(0);

/// Stores whether the cluster partition is quorate. libquorum calls this function in [`QuorumConnection::news`].
extern "C" fn notify(_handle: u64, quorate: u32, _ring: u64, _entries: u32, _members: *mut u32) {
    LAST_NOTIFICATION.store(1 + u32::from(quorate != 0), Ordering::Relaxed);
}

impl QuorumLibrary {
    /// Loads corosync's client library libquorum, by which the cluster helper learns of quorum.
    ///
    /// # Errors
    /// `Missing` if the library, or one of its functions, is not installed.
    pub fn open() -> Result<QuorumLibrary, Refusal> {
        let library = client_library::open(FILE)?;
        // SAFETY: the types are those in <corosync/quorum.h>. C passes its enums cs_error_t and cs_dispatch_flags_t as
        // int. The struct keeps the library loaded for as long as the functions can be called.
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

    /// Connects to corosync's quorum service, and subscribes to the present state and all changes. May block for an
    /// unlimited time if corosync does not answer.
    ///
    /// # Errors
    /// The `cs_error_t` of quorum_initialize(3), quorum_fd_get(3) or quorum_trackstart(3).
    pub fn connect(&self) -> Result<QuorumConnection<'_>, Refusal> {
        let mut connection = QuorumConnection { library: self, handle: 0, fd: -1 };
        let mut callbacks = Callbacks { notify };
        let mut provider = 0;
        LAST_NOTIFICATION.store(0, Ordering::Relaxed);
        // SAFETY: all three pointers are valid during the call. The library copies the callbacks.
        let begun = answer(unsafe {
            (self.initialize)(&raw mut connection.handle, &raw mut callbacks, &raw mut provider)
        });
        if begun.is_err() {
            // A failed call may have written to the handle. Zero keeps `drop` from closing it.
            connection.handle = 0;
            return begun.map(|()| connection);
        }
        // SAFETY: the handle is open, and the pointer is valid during the call, which writes the descriptor there.
        unsafe {
            answer((self.fd_get)(connection.handle, &raw mut connection.fd))?;
            answer((self.trackstart)(connection.handle, CS_TRACK_CURRENT | CS_TRACK_CHANGES))?;
        }
        Ok(connection)
    }
}

impl QuorumConnection<'_> {
    /// Returns the descriptor of the connection to corosync's quorum service. It becomes readable when corosync has
    /// sent a notification.
    pub fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the library keeps the descriptor open until quorum_finalize, which `drop` calls. The borrow ends
        // before that.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }

    /// Handles the notifications that corosync has sent. Returns `true` if the partition is quorate by the last one,
    /// and `None` before the first one.
    ///
    /// # Errors
    /// The `cs_error_t` of quorum_dispatch(3): the connection is lost.
    pub fn news(&self) -> Result<Option<bool>, Refusal> {
        loop {
            // SAFETY: the handle is open. The library calls `notify`, whose type is quorum_notification_fn_t.
            match answer(unsafe { (self.library.dispatch)(self.handle, CS_DISPATCH_ONE_NONBLOCKING) }) {
                Ok(()) => {}
                Err(TRY_AGAIN) => break,
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(match LAST_NOTIFICATION.load(Ordering::Relaxed) {
            0 => None,
            notification => Some(notification == 2),
        })
    }
}

impl Drop for QuorumConnection<'_> {
    fn drop(&mut self) {
        if self.handle != 0 {
            // SAFETY: the handle is open, and no call can use it after `drop`.
            unsafe { (self.library.finalize)(self.handle) };
        }
    }
}

const _: () = assert!(size_of::<Callbacks>() == size_of::<*const ()>());
