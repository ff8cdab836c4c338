//! The state that cmap shows of a supervisor, in one word of the mailbox.

#![forbid(unsafe_code)]

use std::ffi::CStr;

use crate::time::MonotonicTime;

/// The state of a supervised process, as corosync's watchdog service reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CmapState {
    /// Registered, or stopped. The watchdog ignores its silence.
    Stopped = 1,
    /// Health checking is started, and the watchdog expects heartbeats.
    Running = 2,
    /// The instance waits in `sam_start` until the partition is quorate.
    Waiting = 3,
    /// Ended for good without having stopped health checking. The watchdog acts on this state.
    Failed = 4,
    /// The program has ended in order, and cmap has no keys of it.
    Gone = 5,
}

impl CmapState {
    /// Returns the value of the key `state`. `None`: cmap has no keys.
    pub fn name(self) -> Option<&'static CStr> {
        match self {
            CmapState::Stopped => Some(c"stopped"),
            CmapState::Running => Some(c"running"),
            CmapState::Waiting => Some(c"waiting for quorum"),
            CmapState::Failed => Some(c"failed"),
            CmapState::Gone => None,
        }
    }

    const BITS: u32 = 3;

    /// Returns the state that the number `word` of the mailbox stands for. Returns `None` if the number stands for no
    /// state.
    pub fn from_word(word: u64) -> Option<CmapState> {
        use CmapState::{Failed, Gone, Running, Stopped, Waiting};
        [Stopped, Running, Waiting, Failed, Gone].into_iter().find(|&state| state as u64 == word)
    }
}

/// A state, and the time of the last heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CmapRecord {
    /// The state that cmap shows.
    pub state: CmapState,
    /// The time of the last heartbeat. `None`: the watchdog is not to look at the time.
    pub last_updated: Option<MonotonicTime>,
}

impl CmapRecord {
    /// Returns state and time in one word, which is never 0.
    pub fn to_word(self) -> u64 {
        self.last_updated.map_or(0, MonotonicTime::as_ns) << CmapState::BITS | self.state as u64
    }

    /// Returns the record that `to_word` put into a word. `None` for 0.
    pub fn from_word(word: u64) -> Option<CmapRecord> {
        let state = CmapState::from_word(word & ((1 << CmapState::BITS) - 1))?;
        let last_updated = Some(word >> CmapState::BITS).filter(|&ns| ns != 0).map(MonotonicTime::from_ns);
        Some(CmapRecord { state, last_updated })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_travels_in_one_word() {
        for state in
            [CmapState::Stopped, CmapState::Running, CmapState::Waiting, CmapState::Failed, CmapState::Gone]
        {
            for last_updated in [None, Some(1), Some(123_456_789_012_345)] {
                let last_updated = last_updated.map(MonotonicTime::from_ns);
                let record = CmapRecord { state, last_updated };
                assert_eq!(CmapRecord::from_word(record.to_word()), Some(record));
            }
            assert_eq!(CmapState::from_word(state as u64), Some(state));
        }
        assert_eq!(CmapRecord::from_word(0), None);
    }
}
