//! The commit of the data store and the words of the control page, in every order in which the stores of one process
//! may become visible to another.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU64, Ordering::Relaxed};
use loom::thread;
use sam::shared::control_page::{ControlPage, Phase};
use sam::shared::data_store::{DataStore, Slots};
use sam::sys::machine;
use sam::time::MonotonicTime;

/// Returns the data that the next instance finds.
fn restored(store: &DataStore) -> Vec<u8> {
    let mut room = [0xee; 2];
    store.restore(room[..].as_mut().into()).expect("room for all there is");
    room.into_iter().take_while(|&byte| byte != 0xee).collect()
}

/// Checks that another process sees a store as a whole or not at all. What that process sees meanwhile is also what a
/// store leaves behind that is cut off.
fn one_store_at_a_time(before: &'static [&'static [u8]], during: &'static [u8]) {
    // Loom tries different orders depending on which thread is the new one, so run both.
    for store_in_new_thread in [false, true] {
        loom::model(move || {
            machine::boot();
            let instance = DataStore::of(Slots::shared().expect("memory"));
            machine::fork();
            let next = DataStore::of(Slots::shared().expect("the same memory"));
            for &data in before {
                instance.store(data.into()).expect("room");
            }
            let old = before.last().copied().unwrap_or_default();
            let store = move || instance.store(during.into()).expect("store succeeds");
            let look = move || {
                let found = restored(&next);
                assert!(found == old || found == during, "found {found:?}, expected {old:?} or {during:?}");
                next
            };
            let next = if store_in_new_thread {
                let storing = thread::spawn(store);
                let next = look();
                storing.join().expect("a store");
                next
            } else {
                let looking = thread::spawn(look);
                store();
                looking.join().expect("a look")
            };
            assert_eq!(restored(&next), during, "data after the store");
        });
    }
}

#[test]
fn first_store_is_seen_whole_or_not_at_all() {
    one_store_at_a_time(&[], &[1, 1]);
}

#[test]
fn later_store_is_seen_whole_or_not_at_all() {
    one_store_at_a_time(&[&[1, 1], &[2, 2]], &[3, 3]);
}

#[test]
fn store_of_another_size_is_seen_with_its_own_size() {
    one_store_at_a_time(&[&[1]], &[2, 2]);
    one_store_at_a_time(&[&[1, 1]], &[2]);
    one_store_at_a_time(&[&[1, 1]], &[]);
}

/// Returns the time as the supervisor reads it: never before a time on the page that it has seen, if the order is kept.
fn now(clock: &AtomicU64) -> MonotonicTime {
    at(clock.load(Relaxed))
}

fn later(clock: &AtomicU64) -> MonotonicTime {
    at(clock.fetch_add(1, Relaxed) + 1)
}

fn at(ns: u64) -> MonotonicTime {
    MonotonicTime::from_ns(ns)
}

#[test]
fn start_is_seen_with_its_heartbeat_and_no_time_is_seen_early() {
    loom::model(|| {
        machine::boot();
        let (page, supervisor) = ControlPage::both_ends();
        let clock = Arc::new(AtomicU64::new(0));
        let instance = {
            let clock = Arc::clone(&clock);
            thread::spawn(move || {
                // The order of Session::start, heartbeat and stop.
                let start = later(&clock);
                page.heartbeat(start);
                page.enter(Phase::Started, start);
                page.heartbeat(later(&clock));
                page.enter(Phase::Stopped, later(&clock));
            })
        };
        // The order of the supervisor's event loop: first the page, then the clock.
        let view = supervisor.view();
        let now = now(&clock);
        assert!(view.since <= now && view.heartbeat <= Some(now), "{view:?} at {now:?}");
        if view.phase != Phase::Registered {
            assert!(view.heartbeat >= Some(at(1)), "{view:?}");
        }
        if view.phase == Phase::Stopped {
            assert!(view.heartbeat == Some(at(2)) && view.since == at(3), "{view:?}");
        }
        instance.join().expect("an instance");
    });
}

#[test]
fn unhealthy_report_is_seen_after_last_heartbeat() {
    loom::model(|| {
        machine::boot();
        let (page, supervisor) = ControlPage::both_ends();
        let instance = {
            thread::spawn(move || {
                page.heartbeat(at(1));
                page.enter(Phase::Started, at(1));
                // The order of callback_thread::run_checks: no heartbeat follows "unhealthy".
                page.heartbeat(at(2));
                page.report_unhealthy(at(3));
            })
        };
        let first = supervisor.view();
        let second = supervisor.view();
        assert!(second.heartbeat >= first.heartbeat && second.since >= first.since, "{first:?}, {second:?}");
        assert!(first.unhealthy.is_none() || second.heartbeat == Some(at(2)), "{first:?}, {second:?}");
        instance.join().expect("an instance");
    });
}

#[test]
fn released_spare_takes_over_with_given_id_and_warning_signal() {
    loom::model(|| {
        machine::boot();
        let (page, supervisor) = ControlPage::both_ends();
        let spare = {
            thread::spawn(move || {
                let id = page.wait_for_release();
                page.confirm_takeover();
                (id, page.warn_signal())
            })
        };
        supervisor.release(7, 10);
        assert_eq!(spare.join().expect("a spare"), (7, 10));
        assert!(supervisor.took_over());
    });
}
