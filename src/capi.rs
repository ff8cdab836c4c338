//! The C edge: the twelve functions of `<corosync/sam.h>`, in header order. Each checks what C handed over,
//! calls the session and converts the answer. The comments here are printed into the header.
#![allow(non_camel_case_types)]

pub mod corotypes;
mod guard;

use core::ffi::{c_int, c_uint, c_void};

use self::corotypes::cs_error_t;
use self::guard::{guarded, guarded_store, log_panics};
use crate::error::Error;
use crate::policy::Policy;
use crate::session;
use crate::sys::foreign::{Bytes, HealthCheck, Room};

/// What happens when the instance is lost, and on what conditions it runs.
///
/// QUIT or RESTART, each alone or together (|) with QUORUM, CMAP or both.
#[cfg(cbindgen)]
#[repr(C)]
pub enum sam_recovery_policy_t {
    /// The supervisor ends, as the instance did.
    SAM_RECOVERY_POLICY_QUIT = 1,
    /// The next instance is started, as the first was at sam_register().
    SAM_RECOVERY_POLICY_RESTART = 2,
    /// Flag: run only while the cluster partition is quorate.
    SAM_RECOVERY_POLICY_QUORUM = 0x08,
    /// QUIT with QUORUM.
    SAM_RECOVERY_POLICY_QUORUM_QUIT = 0x09,
    /// RESTART with QUORUM.
    SAM_RECOVERY_POLICY_QUORUM_RESTART = 0x0a,
    /// Flag: show the state in corosync's cmap.
    SAM_RECOVERY_POLICY_CMAP = 0x10,
    /// The old name of CMAP.
    SAM_RECOVERY_POLICY_CONFDB = 0x10,
}
/// C can pass any number for its enum.
///
/// cbindgen:ignore
#[cfg(not(cbindgen))]
pub type sam_recovery_policy_t = c_uint;

/// Health check of event driven operation: 0 means healthy, anything else starts the recovery at once.
///
/// Runs in a thread of the library with a normal stack, while health checking is started, with the signal mask of
/// the thread that registered it. May call any sam function. A callback that takes longer than three quarters of
/// the interval counts as a hang.
pub type sam_hc_callback_t = Option<unsafe extern "C-unwind" fn() -> c_int>;

/// Opens the session of this process: how long the instance may be silent, and what happens when it is lost.
///
/// time_interval: the longest silence allowed between two heartbeats while started, in ms. 0 or negative: no
/// limit, only the end of the instance counts.
///
/// recovery_policy: see sam_recovery_policy_t.
///
/// Returns CS_OK; CS_ERR_BAD_HANDLE: initialised before; CS_ERR_INVALID_PARAM: no such policy, or a malformed
/// SAM_ variable in the environment; CS_ERR_NO_MEMORY; CS_ERR_LIBRARY: the system refused a descriptor or
/// memory (see errno); CS_ERR_NOT_SUPPORTED: the policy needs a client library of corosync that is not
/// installed; with QUORUM also the error of that library. After an error nothing is open.
///
/// Until it has succeeded, not for a signal handler that may have interrupted malloc(3) or the like.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn sam_initialize(
    time_interval: c_int,
    recovery_policy: sam_recovery_policy_t,
) -> cs_error_t {
    log_panics();
    guarded(|| session::initialize(time_interval, Policy::from_bits(recovery_policy)?))
}

/// Ends the session: from now on no recovery takes place. The supervisor stays until this process ends, and
/// ends as it does.
///
/// Returns CS_OK; CS_ERR_BAD_HANDLE: not initialised, or finalised before.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn sam_finalize() -> cs_error_t {
    guarded(session::finalize)
}

/// Starts health checking; also a first heartbeat. With QUORUM it waits until the partition is quorate.
///
/// Returns CS_OK; CS_ERR_BAD_HANDLE: not registered, or started already; CS_ERR_LIBRARY: the supervisor is gone.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn sam_start() -> cs_error_t {
    guarded(session::start)
}

/// Stops health checking. Called by a handler of the warning signal, it calls the recovery off.
///
/// Returns CS_OK; CS_ERR_BAD_HANDLE: not started; CS_ERR_LIBRARY: the supervisor is gone.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn sam_stop() -> cs_error_t {
    guarded(session::stop)
}

/// Sets the signal that warns the instance, one interval before it is killed. SIGTERM unless set.
///
/// warn_signal: 0 (no warning) to SIGRTMAX. SIGKILL: no warning, and the kill comes when the warning would.
///
/// Returns CS_OK; CS_ERR_BAD_HANDLE: not initialised, or finalised; CS_ERR_INVALID_PARAM: no such signal, the
/// one set before stays; CS_ERR_LIBRARY: the supervisor is gone.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn sam_warn_signal_set(warn_signal: c_int) -> cs_error_t {
    guarded(|| session::set_warn_signal(warn_signal))
}

/// Splits the process in two: the caller stays behind as the supervisor and does not return; the call returns
/// in its child, the instance, and again in each later instance.
///
/// instance_id: where to put the number of the instance: 1 for the first, one more at every restart, 0 after
/// INT_MAX. May be NULL.
///
/// Returns CS_OK; CS_ERR_BAD_HANDLE: not initialised, or registered before; CS_ERR_LIBRARY: no first instance
/// could be made (see errno), and the caller goes on as it was; with CMAP, CS_ERR_BAD_HANDLE when corosync
/// cannot be reached and CS_ERR_NOT_SUPPORTED when its client library is not installed.
///
/// Until it has succeeded, not for a signal handler that may have interrupted malloc(3) or the like.
///
/// # Safety
/// instance_id is NULL or points to an unsigned int.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sam_register(instance_id: *mut c_uint) -> cs_error_t {
    guarded(|| {
        let id = session::register()?;
        // SAFETY: the caller promises NULL or room for one unsigned int.
        if let Some(place) = unsafe { instance_id.as_mut() } {
            *place = id;
        }
        Ok(())
    })
}

/// Sends a heartbeat: the instance is well. One store to shared memory, no system call.
///
/// Returns CS_OK; CS_ERR_BAD_HANDLE: not started; CS_ERR_LIBRARY: the supervisor is gone.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn sam_hc_send() -> cs_error_t {
    guarded_store(session::heartbeat)
}

/// Registers the callback of event driven health checks; NULL goes back to sam_hc_send().
///
/// Returns CS_OK; CS_ERR_BAD_HANDLE: not registered, or started; CS_ERR_INVALID_PARAM: the interval is 0, or
/// NULL and there never was one; CS_ERR_LIBRARY: no thread could be made (see errno), or the supervisor is gone.
///
/// Until it has succeeded, not for a signal handler that may have interrupted malloc(3) or the like.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn sam_hc_callback_register(cb: sam_hc_callback_t) -> cs_error_t {
    // SAFETY: the caller hands over a function that can be called from any thread.
    guarded(|| session::register_callback(cb.map(|check| unsafe { HealthCheck::new(check) })))
}

/// Tells the size of the stored data in bytes; 0 when there is none.
///
/// Returns CS_OK; CS_ERR_INVALID_PARAM: size is NULL; CS_ERR_BAD_HANDLE: not initialised, or finalised;
/// CS_ERR_LIBRARY: the application closed the library's descriptors and it cannot get at the data. After an error
/// *size is as it was.
///
/// # Safety
/// size is NULL or points to a size_t.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sam_data_getsize(size: *mut usize) -> cs_error_t {
    guarded(|| {
        // SAFETY: the caller promises NULL or room for one size_t.
        let size = unsafe { size.as_mut() }.ok_or(Error::InvalidArgument)?;
        *size = session::stored_size()?;
        Ok(())
    })
}

/// Copies the stored data to the caller; does nothing when there is none.
///
/// data: where to; size: its room in bytes, at least what sam_data_getsize() tells.
///
/// Returns CS_OK; CS_ERR_INVALID_PARAM: data is NULL or size too small, and nothing was copied;
/// CS_ERR_BAD_HANDLE: not initialised, or finalised; CS_ERR_LIBRARY: the application closed the library's
/// descriptors and it cannot get at the data.
///
/// # Safety
/// data is NULL or points to size writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sam_data_restore(data: *mut c_void, size: usize) -> cs_error_t {
    guarded(|| {
        if data.is_null() {
            return Err(Error::InvalidArgument);
        }
        // SAFETY: the caller promises size writable bytes.
        session::restore(unsafe { Room::new(data.cast(), size) })
    })
}

/// Stores data that later instances can restore. A store that is cut off leaves the earlier data whole.
///
/// data: what to store, NULL forgets what is stored; size: in bytes, ignored with NULL.
///
/// Returns CS_OK; CS_ERR_BAD_HANDLE: not initialised, or finalised; CS_ERR_TOO_BIG: SSIZE_MAX bytes or more;
/// CS_ERR_NO_MEMORY: more than this machine has memory for; CS_ERR_LIBRARY: the supervisor is gone, or the
/// application closed the library's descriptors and it has no room for more. After an error the earlier data
/// is intact.
///
/// # Safety
/// data is NULL or points to size readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sam_data_store(data: *const c_void, size: usize) -> cs_error_t {
    guarded(|| {
        let size = if data.is_null() { 0 } else { size };
        // SAFETY: the caller promises size readable bytes.
        session::store(unsafe { Bytes::new(data.cast(), size) })
    })
}

/// Gives up: the instance is killed without a warning and never restarted, and the state in cmap becomes
/// "failed", on which corosync's watchdog acts. Does not return when it succeeds.
///
/// Returns CS_ERR_BAD_HANDLE: not registered, or finalised; CS_ERR_INVALID_PARAM: the policy is without CMAP;
/// CS_ERR_LIBRARY: the supervisor is gone.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn sam_mark_failed() -> cs_error_t {
    guarded(session::mark_failed)
}

impl From<Error> for cs_error_t {
    fn from(error: Error) -> Self {
        match error {
            Error::WrongState => cs_error_t::CS_ERR_BAD_HANDLE,
            Error::InvalidArgument => cs_error_t::CS_ERR_INVALID_PARAM,
            Error::TooBig => cs_error_t::CS_ERR_TOO_BIG,
            Error::NoMemory => cs_error_t::CS_ERR_NO_MEMORY,
            Error::NotInstalled(_) => cs_error_t::CS_ERR_NOT_SUPPORTED,
            Error::Unreachable => cs_error_t::CS_ERR_BAD_HANDLE,
            Error::Corosync(code) => of_corosync(code),
            Error::SupervisorLost | Error::DescriptorLost | Error::System(_) | Error::Internal => {
                cs_error_t::CS_ERR_LIBRARY
            }
        }
    }
}

/// What corosync's client library said.
fn of_corosync(code: i32) -> cs_error_t {
    use cs_error_t::*;
    let known = [
        CS_ERR_LIBRARY,
        CS_ERR_VERSION,
        CS_ERR_INIT,
        CS_ERR_TIMEOUT,
        CS_ERR_TRY_AGAIN,
        CS_ERR_NO_MEMORY,
        CS_ERR_BUSY,
        CS_ERR_ACCESS,
        CS_ERR_NOT_EXIST,
        CS_ERR_NO_RESOURCES,
        CS_ERR_NOT_SUPPORTED,
        CS_ERR_SECURITY,
    ];
    known.into_iter().find(|&error| error as i32 == code).unwrap_or(CS_ERR_LIBRARY)
}
