//! What cmap is to show, and when it is worth telling corosync.

#![forbid(unsafe_code)]

use crate::corosync::record::{Record, State};

/// The longest interval, in ns, for which corosync's watchdog service looks at the heartbeats in the rhythm of the
/// process itself: beyond it would give a healthy one up.
const LONGEST: u64 = 120_000 * 1_000_000;

/// The shortest pause between two heartbeats that are published, in ns. The watchdog service looks twice a second
/// at most.
const LEAST_PAUSE: u64 = 125 * 1_000_000;

/// What is known of the keys.
#[derive(Debug, Clone, Hash)]
pub struct Publisher {
    /// The interval in ns, where heartbeats are worth publishing.
    interval: Option<u64>,
    wanted: Option<Record>,
    /// The state that can be read.
    pub shown: Option<State>,
    due: Option<u64>,
}

impl Publisher {
    /// Nothing was published yet. The interval is in ns.
    pub fn new(interval: u64) -> Publisher {
        let interval = (1..=LONGEST).contains(&interval).then_some(interval);
        Publisher { interval, wanted: None, shown: None, due: None }
    }

    /// When to be asked for the next heartbeat.
    pub fn due(&self) -> Option<u64> {
        self.due
    }

    /// The state that is wanted can be read.
    pub fn is_done(&self) -> bool {
        self.shown.is_some() && self.shown == self.wanted.map(|wanted| wanted.state)
    }

    /// The process is in `state`, and its last heartbeat was at `heard`. What to publish, if it is time to.
    pub fn publish(&mut self, now: u64, state: State, heard: u64) -> Option<Record> {
        let last_updated = match (state, self.interval) {
            (State::Running, Some(_)) | (State::Failed, _) => heard,
            // Nobody is to mind its age.
            _ => 0,
        };
        let record = Record { state, last_updated };
        let changed = self.wanted.is_none_or(|wanted| wanted.state != state);
        if !changed && self.due.is_none_or(|due| now < due) {
            return None;
        }
        let pause = self.interval.filter(|_| state == State::Running);
        self.due = pause.map(|interval| now + (interval / 4).max(LEAST_PAUSE));
        if self.wanted == Some(record) {
            return None;
        }
        if changed {
            // Said again when it is found to be so.
            self.shown = None;
        }
        self.wanted = Some(record);
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
            (State::Stopped, 1000, false),
            (State::Waiting, 1000, false),
            (State::Running, 1000, true),
            (State::Running, 1, true),
            (State::Running, 120_000, true),
            (State::Running, 120_001, false),
            (State::Running, 0, false),
            (State::Failed, 0, true),
            (State::Failed, 1000, true),
        ] {
            let record = Publisher::new(interval * MS).publish(5000 * MS, state, 4900 * MS);
            let last_updated = if aged { 4900 * MS } else { 0 };
            assert_eq!(record, Some(Record { state, last_updated }), "{state:?}, {interval} ms");
        }
    }

    #[test]
    fn a_state_is_published_at_once_and_once_and_heartbeats_four_times_per_interval() {
        for (interval, pause) in [(1000, 250), (10_000, 2500), (100, 125)] {
            let mut publisher = Publisher::new(interval * MS);
            assert!(publisher.publish(1, State::Stopped, 0).is_some());
            assert!(publisher.publish(2, State::Stopped, 2).is_none());
            let begin = 1000 * MS;
            let mut published = vec![];
            for now in (begin..begin + 4 * pause * MS).step_by(5 * MS as usize) {
                published.extend(
                    publisher.publish(now, State::Running, now - 1).map(|record| record.last_updated),
                );
            }
            let expected: Vec<u64> = (0..4).map(|beat| begin + beat * pause * MS - 1).collect();
            assert_eq!(published, expected);
            assert_eq!(publisher.due(), Some(begin + 4 * pause * MS));
            // A heartbeat that is not new is not published, and is asked for again.
            let due = begin + 4 * pause * MS;
            assert!(publisher.publish(due, State::Running, expected[3]).is_none());
            assert_eq!(publisher.due(), Some(due + pause * MS));
            assert!(publisher.publish(due + 1, State::Stopped, due).is_some());
            assert_eq!(publisher.due(), None);
        }
    }

    #[test]
    fn a_state_is_done_when_it_is_shown_and_not_before() {
        let mut publisher = Publisher::new(0);
        assert!(!publisher.is_done());
        for state in [State::Stopped, State::Running, State::Stopped] {
            publisher.publish(1, state, 1);
            assert!(!publisher.is_done());
            publisher.shown = Some(state);
            assert!(publisher.is_done());
        }
    }
}
