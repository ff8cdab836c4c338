//! The state that cmap is to show, and the times at which a heartbeat is worth publishing there.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::shared::cmap_record::{CmapRecord, CmapState};
use crate::time::MonotonicTime;

/// The longest interval for which heartbeats are published. corosync's watchdog service looks at a process once per
/// interval up to this limit, and every 6 s beyond it (measured with corosync 3.1.10). Then it would take a healthy
/// process for failed.
const LONGEST_INTERVAL: Duration = Duration::from_millis(120_000);

/// The shortest pause between two heartbeats that are published. corosync's watchdog service looks twice per second at
/// most, so four times as often is enough.
const LEAST_PAUSE: Duration = Duration::from_millis(125);

/// The state that cmap (corosync's key-value store) is to show of the supervised program, and the state that it shows.
/// By this record the supervisor requests each new state once, and new heartbeats four times per interval at most.
#[derive(Debug, Clone, Hash)]
pub struct CmapRequests {
    /// The longest silence that the program allows between two heartbeats. `None` if no heartbeats are published,
    /// because there is no limit or it exceeds `LONGEST_INTERVAL`.
    interval: Option<Duration>,
    requested: Option<CmapRecord>,
    /// The state of the program that cmap shows, as the cluster helper last reported it. `None` if that is not known.
    pub published: Option<CmapState>,
    due: Option<MonotonicTime>,
}

impl CmapRequests {
    /// Returns the record of a supervisor that has not asked the cluster helper yet to show anything in cmap.
    /// `interval` is the longest silence that the program allows between two heartbeats, `None` for no limit.
    pub fn new(interval: Option<Duration>) -> CmapRequests {
        let interval = interval.filter(|&interval| interval <= LONGEST_INTERVAL);
        CmapRequests { interval, requested: None, published: None, due: None }
    }

    /// Returns when to call [`publish`](CmapRequests::publish) again, so that cmap shows a newer heartbeat. `None`
    /// while no heartbeats are published.
    pub fn due(&self) -> Option<MonotonicTime> {
        self.due
    }

    /// Returns `true` if cmap shows the state that the supervisor requested last. Returns `false` before the first
    /// request.
    pub fn is_done(&self) -> bool {
        self.published.is_some() && self.published == self.requested.map(|requested| requested.state)
    }

    /// Notes that the program is in `state` at `now`, and sent its last heartbeat at `last_heartbeat`. Returns the
    /// record that the cluster helper is to show in cmap, or `None` if there is nothing new. A heartbeat alone counts
    /// as new four times per interval at most.
    pub fn publish(
        &mut self,
        now: MonotonicTime,
        state: CmapState,
        last_heartbeat: Option<MonotonicTime>,
    ) -> Option<CmapRecord> {
        // In all other cases the watchdog is not to look at the age of the heartbeat.
        let has_age = state == CmapState::Failed || state == CmapState::Running && self.interval.is_some();
        let record = CmapRecord { state, last_updated: last_heartbeat.filter(|_| has_age) };
        let changed = self.requested.is_none_or(|requested| requested.state != state);
        if !changed && self.due.is_none_or(|due| now < due) {
            return None;
        }
        let interval = self.interval.filter(|_| state == CmapState::Running);
        self.due = interval.map(|interval| now + (interval / 4).max(LEAST_PAUSE));
        if self.requested == Some(record) {
            return None;
        }
        if changed {
            // The cluster helper reports the new state when cmap shows it.
            self.published = None;
        }
        self.requested = Some(record);
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(ms: u64) -> MonotonicTime {
        MonotonicTime::from_ns(ms * 1_000_000)
    }

    #[test]
    fn running_process_with_an_interval_that_the_watchdog_supports_has_an_age() {
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
            let interval = (interval != 0).then_some(ms(interval));
            let record = CmapRequests::new(interval).publish(at(5000), state, Some(at(4900)));
            let last_updated = aged.then_some(at(4900));
            assert_eq!(record, Some(CmapRecord { state, last_updated }), "{state:?}, {interval:?}");
        }
    }

    #[test]
    fn state_is_published_at_once_and_once_and_heartbeats_four_times_per_interval() {
        for (interval, pause) in [(1000, 250), (10_000, 2500), (100, 125)] {
            let mut requests = CmapRequests::new(Some(ms(interval)));
            assert!(requests.publish(at(1), CmapState::Stopped, None).is_some());
            assert!(requests.publish(at(2), CmapState::Stopped, Some(at(2))).is_none());
            let mut published = vec![];
            for now in (1000..1000 + 4 * pause).step_by(5) {
                let record = requests.publish(at(now), CmapState::Running, Some(at(now - 1)));
                published.extend(record.and_then(|record| record.last_updated));
            }
            assert_eq!(published, [0, 1, 2, 3].map(|beat| at(1000 + beat * pause - 1)));
            let due = 1000 + 4 * pause;
            assert_eq!(requests.due(), Some(at(due)));
            // A heartbeat that is not new is not published, and is asked for again.
            assert!(requests.publish(at(due), CmapState::Running, published.last().copied()).is_none());
            assert_eq!(requests.due(), Some(at(due + pause)));
            assert!(requests.publish(at(due + 1), CmapState::Stopped, Some(at(due))).is_some());
            assert_eq!(requests.due(), None);
        }
    }

    #[test]
    fn state_is_done_when_cmap_shows_it_and_not_before() {
        let mut requests = CmapRequests::new(None);
        assert!(!requests.is_done());
        for state in [CmapState::Stopped, CmapState::Running, CmapState::Stopped] {
            requests.publish(at(1), state, Some(at(1)));
            assert!(!requests.is_done());
            requests.published = Some(state);
            assert!(requests.is_done());
        }
    }
}
