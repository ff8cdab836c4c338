//! The limit on restarts, and the delay before each.

#![forbid(unsafe_code)]

use std::collections::{TryReserveError, VecDeque};
use std::time::Duration;

use super::backoff::Backoff;
use crate::settings::{RestartDelay, RestartLimit};
use crate::time::MonotonicTime;

/// An instance that has run for this many times the delay before it has recovered: the next delay is the first one
/// again. SAM_RESTART_DELAY is documented so in sam_environment(7).
const RECOVERED: u32 = 10;

/// The restarts that a supervisor has made, for the limit and the delay.
#[derive(Debug, Clone, Hash)]
pub struct Restarts {
    limit: Option<RestartLimit>,
    delay: Option<Backoff>,
    /// The times of the latest restarts, as many as the limit allows.
    latest: VecDeque<MonotonicTime>,
    /// The pause that was made before the last restart.
    last_delay: Duration,
}

impl Restarts {
    /// Returns the record of a supervisor that has not restarted anything yet.
    pub fn new(limit: Option<RestartLimit>, delay: Option<RestartDelay>) -> Restarts {
        Restarts {
            limit,
            delay: delay.map(|delay| Backoff::new(delay.first, delay.last)),
            latest: VecDeque::new(),
            last_delay: Duration::ZERO,
        }
    }

    /// Reserves the memory for as many restarts as the limit allows, so that `next` needs none.
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn reserve(&mut self) -> Result<(), TryReserveError> {
        self.latest.try_reserve_exact(self.limit.map_or(0, |limit| limit.restarts))
    }

    /// Records a restart at `now`, after an instance that ran for the time `ran`. Returns the delay before the restart.
    ///
    /// # Errors
    /// The limit, if this restart would exceed it.
    pub fn next(&mut self, now: MonotonicTime, ran: Duration) -> Result<Duration, RestartLimit> {
        if let Some(limit) = self.limit {
            while self.latest.front().is_some_and(|&at| now.saturating_since(at) >= limit.window) {
                self.latest.pop_front();
            }
            if self.latest.len() >= limit.restarts {
                return Err(limit);
            }
            self.latest.push_back(now);
        }
        if let Some(delay) = &mut self.delay {
            if ran / RECOVERED >= self.last_delay {
                delay.reset();
            }
            self.last_delay = delay.advance();
        }
        Ok(self.last_delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(seconds: u64) -> MonotonicTime {
        MonotonicTime::from_ns(0) + Duration::from_secs(seconds)
    }

    #[test]
    fn restarts_without_limit_and_delay_come_at_once_for_ever() {
        let mut restarts = Restarts::new(None, None);
        assert!((1..100_000).all(|now| restarts.next(at(now), Duration::ZERO) == Ok(Duration::ZERO)));
    }

    #[test]
    fn restart_beyond_the_limit_within_the_window_is_refused() {
        let limit = RestartLimit { restarts: 3, window: Duration::from_secs(10) };
        let mut restarts = Restarts::new(Some(limit), None);
        let mut is_restarted = |seconds| restarts.next(at(seconds), Duration::ZERO).is_ok();
        assert_eq!([is_restarted(100), is_restarted(105), is_restarted(109)], [true; 3]);
        // The first has just left the window; three are in it then.
        assert_eq!([is_restarted(110), is_restarted(114)], [true, false]);
        // Giving up is for ever in the supervisor; the window itself slides on.
        assert_eq!(
            [is_restarted(115), is_restarted(118), is_restarted(119), is_restarted(120)],
            [true, false, true, true]
        );
        assert_eq!([is_restarted(124), is_restarted(1000)], [false, true]);
        assert_eq!(restarts.next(at(1000), Duration::ZERO), Ok(Duration::ZERO));
        assert_eq!(restarts.next(at(1000), Duration::ZERO), Ok(Duration::ZERO));
        assert_eq!(restarts.next(at(1000), Duration::ZERO), Err(limit));
    }

    #[test]
    fn delay_doubles_up_to_the_longest() {
        let delay = RestartDelay { first: ms(100), last: ms(500) };
        let mut restarts = Restarts::new(None, Some(delay));
        let pauses = [0; 6].map(|_| restarts.next(at(0), Duration::ZERO).unwrap());
        assert_eq!(pauses, [100, 200, 400, 500, 500, 500].map(ms));
    }

    #[test]
    fn run_of_ten_delays_brings_the_first_delay_back() {
        let delay = RestartDelay { first: ms(100), last: ms(1600) };
        let mut restarts = Restarts::new(None, Some(delay));
        let mut after = |ran| restarts.next(at(0), ms(ran)).unwrap().as_millis();
        assert_eq!([after(0), after(999), after(1999)], [100, 200, 400]);
        assert_eq!(after(4000), 100, "ten times 400");
        assert_eq!([after(999), after(2000)], [200, 100]);
    }

    #[test]
    fn delay_without_a_range_stays_as_it_is() {
        let delay = RestartDelay { first: ms(70), last: ms(70) };
        let mut restarts = Restarts::new(None, Some(delay));
        assert!((0..5).all(|now| restarts.next(at(now), Duration::ZERO) == Ok(ms(70))));
    }
}
