//! System calls that take a time.
//!
//! A 32-bit architecture has two of each: one with 32 bits for the seconds, and since Linux 5.1 one with 64 bits. A
//! kernel may be built without the former (CONFIG_COMPAT_32BIT_TIME).

use std::ffi::{c_int, c_long};
use std::ptr;

use libc::timespec;

/// A system call that takes a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimedCall {
    /// The call whose time is a `timespec` of the C library.
    number: c_long,
    /// The call whose time has 64 bits for the seconds. All 32-bit architectures have the same numbers.
    number_on_32_bits: c_long,
}

/// The time of the calls with 64 bits for the seconds, `__kernel_timespec` in the headers of Linux.
#[repr(C)]
struct WideTime {
    seconds: i64,
    ns: i64,
}

impl TimedCall {
    pub(super) const CLOCK_NANOSLEEP: TimedCall = TimedCall::new(libc::SYS_clock_nanosleep, 407);
    pub(super) const FUTEX: TimedCall = TimedCall::new(libc::SYS_futex, 422);
    pub(super) const PPOLL: TimedCall = TimedCall::new(libc::SYS_ppoll, 414);
    pub(super) const RT_SIGTIMEDWAIT: TimedCall = TimedCall::new(libc::SYS_rt_sigtimedwait, 421);

    const fn new(number: c_long, number_on_32_bits: c_long) -> TimedCall {
        TimedCall { number, number_on_32_bits }
    }

    /// Makes the call, and returns its result. `arguments` gets the address of a copy of `time`, which is 0 for `None`,
    /// and returns the arguments. Afterwards `time` is what the kernel has made of the copy.
    ///
    /// # Safety
    /// The arguments keep to the conditions of the system call.
    pub(super) unsafe fn make(
        self,
        time: &mut Option<timespec>,
        arguments: impl Fn(usize) -> [usize; 5],
    ) -> c_int {
        let call = |number, [a, b, c, d, e]: [usize; 5]| {
            // SAFETY: the caller keeps to the conditions, and the time is valid during the call.
            unsafe { libc::syscall(number, a, b, c, d, e) as c_int }
        };
        if cfg!(target_pointer_width = "32") {
            let mut wide = time.map(|time| WideTime { seconds: time.tv_sec as _, ns: time.tv_nsec as _ });
            let result = call(self.number_on_32_bits, arguments(address(&mut wide)));
            if result != -1 || super::errno() != libc::ENOSYS {
                *time = wide.map(|wide| timespec { tv_sec: wide.seconds as _, tv_nsec: wide.ns as _ });
                return result;
            }
        }
        call(self.number, arguments(address(time)))
    }
}

/// Returns where a value is, or 0 if there is none.
fn address<T>(value: &mut Option<T>) -> usize {
    value.as_mut().map_or(0, |value| ptr::from_mut(value).expose_provenance())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn call_without_the_other_form_falls_back() {
        const NO_SUCH_CALL: c_long = 1023;
        for call in [TimedCall::PPOLL, TimedCall { number_on_32_bits: NO_SUCH_CALL, ..TimedCall::PPOLL }] {
            let begin = Instant::now();
            let mut time = Some(timespec { tv_sec: 0, tv_nsec: 20_000_000 });
            // SAFETY: with no descriptors and no mask the call only sleeps.
            let result = unsafe { call.make(&mut time, |time| [0, 0, time, 0, 0]) };
            assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
            assert!(begin.elapsed() >= Duration::from_millis(20), "{:?}", begin.elapsed());
            // ppoll(2) of the kernel, unlike the C library's, says how much time was left.
            assert!(time.is_some_and(|left| (left.tv_sec, left.tv_nsec) == (0, 0)));
        }
    }
}
