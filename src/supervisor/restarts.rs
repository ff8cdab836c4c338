//! How often instances are restarted, and after what pause.

#![forbid(unsafe_code)]

use std::collections::{TryReserveError, VecDeque};

use crate::environment::{RestartDelay, RestartLimit};

/// An instance that has run this many times as long as the pause before it has done well.
const RECOVERED: u64 = 10;

/// The restarts of a supervisor so far, and what was said about them.
#[derive(Debug, Clone, Hash)]
pub struct Restarts {
    limit: Option<RestartLimit>,
    delay: Option<RestartDelay>,
    /// When the latest ones were, as many as the limit allows.
    latest: VecDeque<u64>,
    /// The pause before the last one; 0: there was none.
    pause: u64,
}

impl Restarts {
    /// No restarts yet.
    pub fn new(limit: Option<RestartLimit>, delay: Option<RestartDelay>) -> Restarts {
        Restarts { limit, delay, latest: VecDeque::new(), pause: 0 }
    }

    /// Reserves memory for as many restarts as the limit allows, so that next() needs none.
    pub fn reserve(&mut self) -> Result<(), TryReserveError> {
        self.latest.try_reserve_exact(self.limit.map_or(0, |limit| limit.restarts))
    }

    /// One more at `now`, of an instance that ran for `ran` ns: the pause before it in ns, or the limit that it
    /// would go beyond.
    pub fn next(&mut self, now: u64, ran: u64) -> Result<u64, RestartLimit> {
        if let Some(limit) = self.limit {
            while self.latest.front().is_some_and(|&at| now - at >= limit.window) {
                self.latest.pop_front();
            }
            if self.latest.len() >= limit.restarts {
                return Err(limit);
            }
            self.latest.push_back(now);
        }
        if let Some(delay) = self.delay {
            let did_well = self.pause == 0 || ran / RECOVERED >= self.pause;
            self.pause = if did_well { delay.first } else { (self.pause * 2).min(delay.last) };
        }
        Ok(self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const S: u64 = 1_000_000_000;

    #[test]
    fn without_limit_and_delay_restarts_come_at_once_for_ever() {
        let mut restarts = Restarts::new(None, None);
        assert!((1..100_000).all(|now| restarts.next(now, 1) == Ok(0)));
    }

    #[test]
    fn more_than_the_limit_within_the_window_is_too_many() {
        let limit = RestartLimit { restarts: 3, window: 10 * S };
        let mut restarts = Restarts::new(Some(limit), None);
        let mut at = |seconds: u64| restarts.next(seconds * S, 0).is_ok();
        assert_eq!([at(100), at(105), at(109)], [true; 3]);
        // The first has just left the window; three are in it then.
        assert_eq!([at(110), at(114)], [true, false]);
        // Giving up is for ever in the supervisor; the window itself slides on.
        assert_eq!([at(115), at(118), at(119), at(120)], [true, false, true, true]);
        assert_eq!([at(124), at(1000)], [false, true]);
        assert_eq!(restarts.next(1000 * S, 0), Ok(0));
        assert_eq!(restarts.next(1000 * S, 0), Ok(0));
        assert_eq!(restarts.next(1000 * S, 0), Err(limit));
    }

    #[test]
    fn the_pause_doubles_up_to_the_longest() {
        let delay = RestartDelay { first: 100 * MS, last: 500 * MS };
        let mut restarts = Restarts::new(None, Some(delay));
        let pauses: Vec<u64> = (0..6).map(|now| restarts.next(now, 0).unwrap() / MS).collect();
        assert_eq!(pauses, [100, 200, 400, 500, 500, 500]);
    }

    #[test]
    fn a_run_of_ten_pauses_brings_the_first_pause_back() {
        let delay = RestartDelay { first: 100 * MS, last: 1600 * MS };
        let mut restarts = Restarts::new(None, Some(delay));
        let mut after = |ran: u64| restarts.next(0, ran * MS).unwrap() / MS;
        assert_eq!([after(0), after(999), after(1999)], [100, 200, 400]);
        assert_eq!(after(4000), 100, "ten times 400");
        assert_eq!([after(999), after(2000)], [200, 100]);
    }

    #[test]
    fn a_single_pause_stays_as_it_is() {
        let delay = RestartDelay { first: 70 * MS, last: 70 * MS };
        let mut restarts = Restarts::new(None, Some(delay));
        assert!((0..5).all(|now| restarts.next(now, 0) == Ok(70 * MS)));
    }
}
