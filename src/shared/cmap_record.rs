//! The state that cmap shows of a supervisor, in one word of the mailbox.

#![forbid(unsafe_code)]

use std::ffi::CStr;

use crate::time::MonotonicTime;

/// The state of a supervised program, as the cluster helper writes it to corosync's cmap. corosync's watchdog service
/// reads it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CmapState {
    /// The instance is registered, or has stopped health checking. The watchdog service of corosync ignores its
    /// silence.
    Stopped = 1,
    /// The instance has started health checking. The watchdog service of corosync expects heartbeats.
    Running = 2,
    /// The instance waits in `sam_start` until the cluster partition is quorate.
    Waiting = 3,
    /// The program has ended for good without an orderly stop, and the supervisor starts no further instance.
    /// corosync's watchdog service acts on this state.
    Failed = 4,
    /// The program has ended in order, and cmap has no keys of its supervisor any more.
    Gone = 5,
}

impl CmapState {
    /// Returns the text that the cluster helper writes to the cmap key `state` for this state. `None` for
    /// [`CmapState::Gone`]: cmap then has no key of this supervisor.
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

    /// Returns the state with the number `word`, which supervisor and cluster helper exchange in their shared memory.
    /// Returns `None` if no state has that number.
    pub fn from_word(word: u64) -> Option<CmapState> {
        use CmapState::{Failed, Gone, Running, Stopped, Waiting};
        [Stopped, Running, Waiting, Failed, Gone].into_iter().find(|&state| state as u64 == word)
    }
}

/// The values that the supervisor asks the cluster helper to write to corosync's cmap: the state of the program, and
/// the time of its last heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CmapRecord {
    /// The state of the program that cmap is to show in the key `state`.
    pub state: CmapState,
    /// The time of the instance's last heartbeat, for the cmap key `last_updated`. `None`: the key is 0, so corosync's
    /// watchdog service does not check the time.
    pub last_updated: Option<MonotonicTime>,
}

impl CmapRecord {
    /// Packs state and heartbeat time into one word, which the supervisor stores for the cluster helper in a single
    /// step. The word is never 0.
    pub fn to_word(self) -> u64 {
        (self.last_updated.map_or(0, MonotonicTime::as_ns) << CmapState::BITS) | self.state as u64
    }

    /// Returns the state and the heartbeat time that [`to_word`](CmapRecord::to_word) packed into `word`. Returns
    /// `None` for 0, which stands for no request.
    pub fn from_word(word: u64) -> Option<CmapRecord> {
        let state = CmapState::from_word(word & ((1 << CmapState::BITS) - 1))?;
        let last_updated = MonotonicTime::from_word(word >> CmapState::BITS);
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
