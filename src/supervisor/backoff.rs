//! Pauses that grow from try to try.

#![forbid(unsafe_code)]

use std::time::Duration;

/// The pause before the next try of an action that has failed. Each pause is twice as long as the one before, up to a
/// longest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Backoff {
    pause: Duration,
    first: Duration,
    last: Duration,
}

impl Backoff {
    /// Returns a backoff whose first pause is `first`. Each later pause is twice as long as the one before it, and
    /// never longer than `last`.
    pub const fn new(first: Duration, last: Duration) -> Backoff {
        Backoff { pause: first, first, last }
    }

    /// Returns the pause before the next try, and changes nothing.
    pub fn pause(&self) -> Duration {
        self.pause
    }

    /// Returns the pause before the next try. The pause after that will be twice as long, up to the longest one.
    pub fn advance(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(self.last);
        pause
    }

    /// Sets the pause back to the first and shortest one. To be called when a try has succeeded.
    pub fn reset(&mut self) {
        self.pause = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_doubles_up_to_the_longest_and_begins_again_after_a_success() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(10), ms(50));
        assert_eq!([0; 5].map(|_| backoff.advance()), [10, 20, 40, 50, 50].map(ms));
        backoff.reset();
        assert_eq!((backoff.pause(), backoff.advance(), backoff.pause()), (ms(10), ms(10), ms(20)));
    }
}
