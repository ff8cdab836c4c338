//! What cmap is to show of a supervisor.

#![forbid(unsafe_code)]

use std::ffi::CStr;

/// The state of a supervised process, as corosync's watchdog service reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Registered, or stopped: nobody minds its silence.
    Stopped = 1,
    /// Under health checks.
    Running = 2,
    /// Held back in `sam_start`.
    Waiting = 3,
    /// Lost for good, without having been stopped.
    Failed = 4,
    /// Over: no keys.
    Gone = 5,
}

impl State {
    /// The value of the key. None: there are no keys.
    pub fn name(self) -> Option<&'static CStr> {
        match self {
            State::Stopped => Some(c"stopped"),
            State::Running => Some(c"running"),
            State::Waiting => Some(c"waiting for quorum"),
            State::Failed => Some(c"failed"),
            State::Gone => None,
        }
    }

    const BITS: u32 = 3;

    /// The state that a word of the desk stands for.
    pub fn from_word(word: u64) -> Option<State> {
        use State::{Failed, Gone, Running, Stopped, Waiting};
        [Stopped, Running, Waiting, Failed, Gone].into_iter().find(|&state| state as u64 == word)
    }
}

/// A state, and when the last heartbeat was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Record {
    /// The state.
    pub state: State,
    /// CLOCK_MONOTONIC in ns. 0: not to be looked at.
    pub last_updated: u64,
}

impl Record {
    /// Both in one word, which is never 0.
    pub fn to_word(self) -> u64 {
        self.last_updated << State::BITS | self.state as u64
    }

    /// What to_word() made; None for 0.
    pub fn from_word(word: u64) -> Option<Record> {
        let state = State::from_word(word & ((1 << State::BITS) - 1))?;
        Some(Record { state, last_updated: word >> State::BITS })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_travels_in_one_word() {
        for state in [State::Stopped, State::Running, State::Waiting, State::Failed, State::Gone] {
            for last_updated in [0, 1, 123_456_789_012_345] {
                let record = Record { state, last_updated };
                assert_eq!(Record::from_word(record.to_word()), Some(record));
            }
            assert_eq!(State::from_word(state as u64), Some(state));
        }
        assert_eq!(Record::from_word(0), None);
    }
}
