//! The clocks of the system.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::time::TimeSpec;

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

/// Converts a duration to the structure `timespec` of system calls. A longer one becomes the longest that fits, which is
/// 68 years on a 32-bit architecture.
pub(super) fn timespec(duration: Duration) -> libc::timespec {
    let seconds = duration.as_secs().try_into().unwrap_or(libc::time_t::MAX);
    libc::timespec { tv_sec: seconds, tv_nsec: duration.subsec_nanos() as _ }
}

/// Returns a duration as a time of nix. Longer ones become the longest that fits.
pub fn time_spec(duration: Duration) -> TimeSpec {
    timespec(duration).into()
}

/// Returns the local date and time in the format of syslog: `Nov 22 04:05:06`.
pub fn local_date() -> String {
    date_at(time_of_day().as_secs())
}

/// Returns the local date and time at which so many seconds have passed since the beginning of 1970 (UTC).
fn date_at(seconds: u64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    // SAFETY: the call gets valid pointers; where the time does not fit into a tm it stays zeroed.
    let date = unsafe {
        let mut date = std::mem::zeroed::<libc::tm>();
        localtime(&seconds, &mut date);
        date
    };
    let month = MONTHS[date.tm_mon as usize % MONTHS.len()];
    format!("{month} {:2} {:02}:{:02}:{:02}", date.tm_mday, date.tm_hour, date.tm_min, date.tm_sec)
}

#[cfg(target_pointer_width = "64")]
use libc::localtime_r as localtime;

#[cfg(target_pointer_width = "32")]
unsafe extern "C" {
    /// As localtime_r(3), with a time of 64 bits. In glibc since 2.34; localtime_r itself takes one of 32 bits, which ends
    /// in 2038.
    #[link_name = "__localtime64_r"]
    fn localtime(seconds: *const i64, to: *mut libc::tm) -> *mut libc::tm;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_after_2038_is_right() {
        // 2100-07-15 12:00 UTC. No time zone is more than a day away.
        let date = date_at(4_119_336_000);
        assert!(["Jul 14", "Jul 15", "Jul 16"].iter().any(|day| date.starts_with(day)), "{date}");
    }

    #[test]
    fn duration_beyond_the_system_calls_is_the_longest_they_take() {
        let time = timespec(Duration::MAX);
        assert_eq!((time.tv_sec, time.tv_nsec), (libc::time_t::MAX, 999_999_999));
        assert_eq!(timespec(Duration::from_millis(2500)).tv_nsec, 500_000_000);
    }
}
