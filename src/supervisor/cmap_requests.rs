//! What cmap is to show, and when it is worth telling corosync.

#![forbid(unsafe_code)]

use crate::shared::cmap_record::{CmapRecord, CmapState};

/// The longest interval, in ns, for which corosync's watchdog service looks at the heartbeats in the rhythm of the
/// process itself: beyond it would give a healthy one up.
const LONGEST: u64 = 120_000 * 1_000_000;

/// The shortest pause between two heartbeats that are published, in ns. The watchdog service looks twice a second
/// at most.
const LEAST_PAUSE: u64 = 125 * 1_000_000;

/// What is known of the keys.
#[derive(Debug, Clone, Hash)]
pub struct CmapRequests {
    /// The interval in ns, where heartbeats are worth publishing.
    interval: Option<u64>,
    requested: Option<CmapRecord>,
    /// The state that can be read.
    pub published: Option<CmapState>,
    due: Option<u64>,
}

impl CmapRequests {
    /// Nothing was published yet. The interval is in ns.
    pub fn new(interval: u64) -> CmapRequests {
        let interval = (1..=LONGEST).contains(&interval).then_some(interval);
        CmapRequests { interval, requested: None, published: None, due: None }
    }

    /// When to be asked for the next heartbeat.
    pub fn due(&self) -> Option<u64> {
        self.due
    }

    /// The state that is wanted can be read.
    pub fn is_done(&self) -> bool {
        self.published.is_some() && self.published == self.requested.map(|requested| requested.state)
    }

    /// The process is in `state`, and its last heartbeat was at `heard`. What to publish, if it is time to.
    pub fn publish(&mut self, now: u64, state: CmapState, last_heartbeat: u64) -> Option<CmapRecord> {
        let last_updated = match (state, self.interval) {
            (CmapState::Running, Some(_)) | (CmapState::Failed, _) => last_heartbeat,
            // Nobody is to mind its age.
            _ => 0,
        };
        let record = CmapRecord { state, last_updated };
        let changed = self.requested.is_none_or(|requested| requested.state != state);
        if !changed && self.due.is_none_or(|due| now < due) {
            return None;
        }
        let pause = self.interval.filter(|_| state == CmapState::Running);
        self.due = pause.map(|interval| now + (interval / 4).max(LEAST_PAUSE));
        if self.requested == Some(record) {
            return None;
        }
        if changed {
            // Said again when it is found to be so.
            self.published = None;
        }
        self.requested = Some(record);
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn only_a_running_process_with_a_limit_that_the_reader_knows_has_an_age() {
        for (state, interval, aged) in [
            (CmapState::Stopped, 1000, false),
            (CmapState::Waiting, 1000, false),
            (CmapState::Running, 1000, true),
            (CmapState::Running, 1, true),
            (CmapState::Running, 120_000, true),
            (CmapState::Running, 120_001, false),
            (CmapState::Running, 0, false),
            (CmapState::Failed, 0, true),
            (CmapState::Failed, 1000, true),
        ] {
            let record = CmapRequests::new(interval * MS).publish(5000 * MS, state, 4900 * MS);
            let last_updated = if aged { 4900 * MS } else { 0 };
            assert_eq!(record, Some(CmapRecord { state, last_updated }), "{state:?}, {interval} ms");
        }
    }

    #[test]
    fn a_state_is_published_at_once_and_once_and_heartbeats_four_times_per_interval() {
        for (interval, pause) in [(1000, 250), (10_000, 2500), (100, 125)] {
            let mut requests = CmapRequests::new(interval * MS);
            assert!(requests.publish(1, CmapState::Stopped, 0).is_some());
            assert!(requests.publish(2, CmapState::Stopped, 2).is_none());
            let begin = 1000 * MS;
            let mut published = vec![];
            for now in (begin..begin + 4 * pause * MS).step_by(5 * MS as usize) {
                published.extend(
                    requests.publish(now, CmapState::Running, now - 1).map(|record| record.last_updated),
                );
            }
            let expected: Vec<u64> = (0..4).map(|beat| begin + beat * pause * MS - 1).collect();
            assert_eq!(published, expected);
            assert_eq!(requests.due(), Some(begin + 4 * pause * MS));
            // A heartbeat that is not new is not published, and is asked for again.
            let due = begin + 4 * pause * MS;
            assert!(requests.publish(due, CmapState::Running, expected[3]).is_none());
            assert_eq!(requests.due(), Some(due + pause * MS));
            assert!(requests.publish(due + 1, CmapState::Stopped, due).is_some());
            assert_eq!(requests.due(), None);
        }
    }

    #[test]
    fn a_state_is_done_when_it_is_shown_and_not_before() {
        let mut requests = CmapRequests::new(0);
        assert!(!requests.is_done());
        for state in [CmapState::Stopped, CmapState::Running, CmapState::Stopped] {
            requests.publish(1, state, 1);
            assert!(!requests.is_done());
            requests.published = Some(state);
            assert!(requests.is_done());
        }
    }
}
