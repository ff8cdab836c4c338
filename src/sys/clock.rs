//! The clocks of the system.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::time::MonotonicTime;

/// Returns the time that CLOCK_MONOTONIC shows. The C library reads it through the vDSO (vdso(7)), which is no system
/// call on most machines.
#[inline]
pub fn now() -> MonotonicTime {
    // CLOCK_MONOTONIC exists on every Linux.
    MonotonicTime::from_ns(read(libc::CLOCK_MONOTONIC))
}

/// Returns the time since the machine was booted, suspended times included. /proc has the start times of processes on
/// this clock.
pub fn since_boot() -> Duration {
    // CLOCK_BOOTTIME exists since Linux 2.6.39.
    Duration::from_nanos(read(libc::CLOCK_BOOTTIME))
}

/// Returns the time that `clock` shows, in ns, or 0 if there is no such clock.
#[inline]
fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes to a structure that is ours.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Returns the time since the beginning of 1970 (UTC).
pub fn time_of_day() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Converts a duration to the structure `timespec` of system calls.
pub(super) fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec { tv_sec: duration.as_secs() as _, tv_nsec: duration.subsec_nanos() as _ }
}

/// Returns the local date and time in the format of syslog: `Nov 22 04:05:06`.
pub fn local_date() -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // SAFETY: both calls get valid pointers; where the time does not fit into a tm it stays zeroed.
    let date = unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut date = std::mem::zeroed::<libc::tm>();
        libc::localtime_r(&now, &mut date);
        date
    };
    let month = MONTHS[date.tm_mon as usize % MONTHS.len()];
    format!("{month} {:2} {:02}:{:02}:{:02}", date.tm_mday, date.tm_hour, date.tm_min, date.tm_sec)
}
