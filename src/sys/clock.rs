//! The one clock: CLOCK_MONOTONIC, in ns. It stands still while the machine is suspended and ignores changes of
//! the wall clock.

/// Now, in ns. Through the vDSO: no system call on usual machines.
#[inline]
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: time is writable; CLOCK_MONOTONIC exists on every Linux, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The time since the machine was booted, suspended times included, in ns: the clock of the start times in /proc.
pub fn since_boot() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: time is writable; CLOCK_BOOTTIME exists on every Linux since 2.6.39.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The time of day, in ns since 1970.
pub fn time_of_day() -> u64 {
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    time.map_or(0, |time| time.as_nanos() as u64)
}

/// ns as the kernel's structure.
pub(super) fn timespec(ns: u64) -> libc::timespec {
    libc::timespec { tv_sec: (ns / 1_000_000_000) as _, tv_nsec: (ns % 1_000_000_000) as _ }
}

/// The local date and time as syslog has it: `Nov 22 04:05:06`.
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
