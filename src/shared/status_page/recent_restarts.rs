//! The number of restarts within the last minutes.

use std::time::Duration;

/// The number of slots in which restarts are counted.
const SLOTS: usize = 10;

/// The restarts of the last five minutes: a number for each half minute.
///
/// The supervisor counts, and sam-status adds up at another time. So both give the time, and the numbers of half minutes
/// that have passed since are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecentRestarts {
    /// The half minute of the last count, counted from time 0.
    slot: u64,
    /// The restarts of each half minute. The place of a half minute is its number modulo [`SLOTS`].
    numbers: [u64; SLOTS],
}

impl RecentRestarts {
    /// The span of time in which a restart is recent. The oldest half minute in it is not complete yet.
    pub const WINDOW: Duration = Duration::from_secs(5 * 60);

    /// The length of a slot in ns.
    const SLOT_NS: u64 = Self::WINDOW.as_nanos() as u64 / SLOTS as u64;

    /// The number of words on the status page.
    pub(super) const WORDS: usize = 1 + SLOTS;

    /// Counts a restart at `now`, a time in ns.
    pub fn count(&mut self, now: u64) {
        self.advance(now);
        let number = &mut self.numbers[(self.slot % SLOTS as u64) as usize];
        *number = number.saturating_add(1);
    }

    /// Returns the number of recent restarts at `now`, a time in ns.
    pub fn number_at(mut self, now: u64) -> u64 {
        self.advance(now);
        self.numbers.iter().fold(0, |sum, &number| sum.saturating_add(number))
    }

    /// Forgets the restarts that are not recent any more at `now`.
    fn advance(&mut self, now: u64) {
        let slot = now / Self::SLOT_NS;
        let passed = slot.saturating_sub(self.slot).min(SLOTS as u64);
        for later in 0..passed {
            self.numbers[((slot - later) % SLOTS as u64) as usize] = 0;
        }
        self.slot = self.slot.max(slot);
    }

    /// Returns the words on the status page.
    pub(super) fn words(&self) -> [u64; Self::WORDS] {
        let mut words = [self.slot; Self::WORDS];
        words[1..].copy_from_slice(&self.numbers);
        words
    }

    /// Reads the words on a status page. Any words are valid.
    pub(super) fn of(words: &[u64; Self::WORDS]) -> RecentRestarts {
        let mut numbers = [0; SLOTS];
        numbers.copy_from_slice(&words[1..]);
        RecentRestarts { slot: words[0], numbers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a time in ns.
    fn at(seconds: u64) -> u64 {
        seconds * 1_000_000_000
    }

    #[test]
    fn restart_is_recent_for_the_window_without_its_last_half_minute() {
        let mut recent = RecentRestarts::default();
        recent.count(at(1000 * 30));
        assert_eq!(recent.number_at(at(1000 * 30)), 1);
        assert_eq!(recent.number_at(at(1010 * 30) - 1), 1);
        assert_eq!(recent.number_at(at(1010 * 30)), 0);
        assert_eq!(recent.number_at(at(5000 * 30)), 0);
    }

    #[test]
    fn restarts_of_all_half_minutes_are_added_up() {
        let mut recent = RecentRestarts::default();
        for second in 30_000..30_300 {
            recent.count(at(second));
        }
        assert_eq!(recent.number_at(at(30_299)), 300);
        assert_eq!(recent.number_at(at(30_300)), 270);
        recent.count(at(30_300));
        assert_eq!(recent.number_at(at(30_300)), 271);
    }

    #[test]
    fn time_before_the_last_count_changes_nothing() {
        let mut recent = RecentRestarts::default();
        recent.count(at(30_000));
        recent.count(at(10_000));
        assert_eq!(recent.number_at(at(20_000)), 2);
    }
}
