//! Points in time of the monotonic clock.
//!
//! Uses nothing else of the crate, because sam-status and the loom models are built from this file too.

#![forbid(unsafe_code)]

use std::ops::Add;
use std::time::Duration;

/// A time of CLOCK_MONOTONIC, with a resolution of 1 ns. This clock stands still while the machine is suspended, and
/// ignores changes of the time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonotonicTime(u64);

impl MonotonicTime {
    /// Returns the time at which CLOCK_MONOTONIC shows `ns` nanoseconds.
    pub const fn from_ns(ns: u64) -> MonotonicTime {
        MonotonicTime(ns)
    }

    /// Returns the time in a word of a shared page, in ns, or `None` for 0, which stands for no time there.
    pub fn from_word(ns: u64) -> Option<MonotonicTime> {
        (ns != 0).then_some(MonotonicTime(ns))
    }

    /// Returns the value that CLOCK_MONOTONIC shows at this time, in ns.
    pub const fn as_ns(self) -> u64 {
        self.0
    }

    /// Returns the duration from `earlier` to this time, or zero if `earlier` is later than this time.
    pub const fn saturating_since(self, earlier: MonotonicTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for MonotonicTime {
    type Output = MonotonicTime;

    /// Returns the time that is `duration` later. A sum of more than 2^64 - 1 ns becomes the latest time that the type
    /// can hold.
    fn add(self, duration: Duration) -> MonotonicTime {
        MonotonicTime(self.0.saturating_add(ns(duration)))
    }
}

/// Returns the length of a duration in ns. A duration of more than 2^64 - 1 ns, which is 584 years, is returned as 2^64
/// - 1.
pub fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_differences_beyond_the_clock_end_at_its_limits() {
        let time = MonotonicTime::from_ns(10);
        assert_eq!(time + Duration::from_nanos(5), MonotonicTime::from_ns(15));
        assert_eq!(time + Duration::MAX, MonotonicTime::from_ns(u64::MAX));
        assert_eq!((time + Duration::from_secs(2)).saturating_since(time), Duration::from_secs(2));
        assert_eq!(time.saturating_since(time + Duration::from_secs(2)), Duration::ZERO);
    }
}
