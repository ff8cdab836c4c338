//! What cmap is to show of a supervisor.

#![forbid(unsafe_code)]

use std::ffi::CStr;

/// The state of a supervised process, as corosync's watchdog service reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CmapState {
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

impl CmapState {
    /// The value of the key. None: there are no keys.
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

    /// The state that a word of the desk stands for.
    pub fn from_word(word: u64) -> Option<CmapState> {
        use CmapState::{Failed, Gone, Running, Stopped, Waiting};
        [Stopped, Running, Waiting, Failed, Gone].into_iter().find(|&state| state as u64 == word)
    }
}

/// A state, and when the last heartbeat was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CmapRecord {
    /// The state.
    pub state: CmapState,
    /// CLOCK_MONOTONIC in ns. 0: not to be looked at.
    pub last_updated: u64,
}

impl CmapRecord {
    /// Both in one word, which is never 0.
    pub fn to_word(self) -> u64 {
        self.last_updated << CmapState::BITS | self.state as u64
    }

    /// What to_word() made; None for 0.
    pub fn from_word(word: u64) -> Option<CmapRecord> {
        let state = CmapState::from_word(word & ((1 << CmapState::BITS) - 1))?;
        Some(CmapRecord { state, last_updated: word >> CmapState::BITS })
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
            for last_updated in [0, 1, 123_456_789_012_345] {
                let record = CmapRecord { state, last_updated };
                assert_eq!(CmapRecord::from_word(record.to_word()), Some(record));
            }
            assert_eq!(CmapState::from_word(state as u64), Some(state));
        }
        assert_eq!(CmapRecord::from_word(0), None);
    }
}
