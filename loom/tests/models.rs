//! The store's commit and the words of the page, in every order in which the stores of one process may become
//! visible to another.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU64, Ordering::Relaxed};
use loom::thread;
use sam::shared::control_page::{ControlPage, Phase};
use sam::shared::data_store::{DataStore, Slots};
use sam::sys::machine;
use sam::time::MonotonicTime;

/// What the next instance finds.
fn restored(store: &DataStore) -> Vec<u8> {
    let mut room = [0xee; 2];
    store.restore(room[..].as_mut().into()).expect("room for all there is");
    room.into_iter().take_while(|&byte| byte != 0xee).collect()
}

/// A store may be cut off anywhere: what it has done until then is what another process sees of it meanwhile.
fn one_store_at_a_time(before: &'static [&'static [u8]], during: &'static [u8]) {
    // Loom does not try the same orders when the threads change places, and finds more in both.
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
            let store = move || instance.store(during.into()).expect("room");
            let look = move || {
                let found = restored(&next);
                assert!(found == old || found == during, "{found:?} of {old:?} and {during:?}");
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
            assert_eq!(restored(&next), during, "after the store");
        });
    }
}

#[test]
fn the_first_store_is_seen_whole_or_not_at_all() {
    one_store_at_a_time(&[], &[1, 1]);
}

#[test]
fn a_later_store_leaves_what_was_stored_whole() {
    one_store_at_a_time(&[&[1, 1], &[2, 2]], &[3, 3]);
}

#[test]
fn size_and_data_belong_together() {
    one_store_at_a_time(&[&[1]], &[2, 2]);
    one_store_at_a_time(&[&[1, 1]], &[2]);
    one_store_at_a_time(&[&[1, 1]], &[]);
}

/// The clock as each process reads it: never ahead of a stamp that it has seen, if only the order is kept.
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
fn a_start_is_never_seen_without_its_heartbeat_and_no_stamp_before_its_time() {
    loom::model(|| {
        machine::boot();
        let (page, supervisor) = ControlPage::both_ends();
        let clock = Arc::new(AtomicU64::new(0));
        let instance = {
            let clock = Arc::clone(&clock);
            thread::spawn(move || {
                // As in Session::start, heartbeat and stop.
                let start = later(&clock);
                page.heartbeat(start);
                page.enter(Phase::Started, start);
                page.heartbeat(later(&clock));
                page.enter(Phase::Stopped, later(&clock));
            })
        };
        // As in the supervisor's event loop: the page first, then the clock.
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
fn an_instance_that_is_not_well_has_said_so_after_its_last_heartbeat() {
    loom::model(|| {
        machine::boot();
        let (page, supervisor) = ControlPage::both_ends();
        let instance = {
            thread::spawn(move || {
                page.heartbeat(at(1));
                page.enter(Phase::Started, at(1));
                // As in callback_thread::run_checks: after bad news no heartbeat follows.
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
fn a_spare_takes_over_as_who_it_was_told_to_be() {
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
