//! Hostile and malformed input. An instance that writes garbage to the control page neither stops nor occupies its
//! supervisor, which ends the instance on time. Input that exceeds the memory does not end the program.

mod common;

use std::{thread, time::Duration};

use common::{
    Built,
    Ended::{By, Exit},
    Library, Outcome, Program,
};
use nix::sys::signal::Signal::{SIGKILL, SIGTERM};

/// The interval of `c-tests/scribble.c`.
const INTERVAL: Duration = Duration::from_millis(300);

/// Runs an instance that writes `pattern` to the control page, then does `then`. Fails if the supervisor is busy, ends
/// otherwise than it may, or leaves a process behind.
fn scribble(pattern: &str, then: &str) -> Outcome {
    let outcome = Program::new(Built::WithOurs, &["scribble", pattern, then]).run(Library::Ours);
    let said = outcome.says();
    assert!(said.starts_with(&["instance 1", "scribbled"]), "{outcome}");
    assert!(outcome.left_behind.is_empty() && !said.contains(&"not killed, supervisor busy"), "{outcome}");
    match said.contains(&"instance 2") {
        true => assert!(outcome.ended == Exit(0) && said.last() == Some(&"new data"), "{outcome}"),
        false => assert!([By(SIGTERM), By(SIGKILL)].contains(&outcome.ended), "{outcome}"),
    }
    outcome
}

/// Runs one instance per pattern, all at the same time because they sleep most of the time.
fn scribble_all(patterns: &[&str], then: &str) -> Vec<Outcome> {
    thread::scope(|scope| {
        let start = |&pattern| scope.spawn(move || scribble(pattern, then));
        let running: Vec<_> = patterns.iter().map(start).collect();
        running.into_iter().map(|one| one.join().expect("no thread panics")).collect()
    })
}

/// Returns `true` if the supervisor ended the instance within two intervals, plus 20 s for a busy machine.
fn is_ended_on_time(outcome: &Outcome) -> bool {
    !outcome.says().contains(&"not killed, supervisor idle")
        && outcome.time_after("scribbled") < 2 * INTERVAL + Duration::from_secs(20)
}

fn hang_after_garbage_on_page_is_ended_on_time() {
    let patterns = ["zeros", "ones", "random", "future0", "future1", "future2", "future3"];
    let mut started = scribble_all(&patterns, "restart");
    started.retain(|outcome| outcome.note("sam_start") == 1);
    assert!(!started.is_empty(), "sam_start failed in every instance");
    for outcome in started {
        assert!(is_ended_on_time(&outcome), "{outcome}");
    }
}

fn garbage_on_page_leaves_supervisor_idle() {
    // A pattern may say that the instance has stopped. Then the supervisor treats the instance as after sam_stop.
    scribble_all(&["zeros", "ones", "random", "random", "random"], "leave");
}

fn future_time_on_page_extends_no_deadline() {
    let outcomes = scribble_all(&["future0", "future1", "future2", "future3"], "leave");
    // One of the patterns says that the instance is started and active for another hour.
    let seen: String = outcomes.iter().map(Outcome::to_string).collect();
    assert!(outcomes.iter().any(is_ended_on_time), "no instance was ended on time:\n{seen}");
}

fn a_lack_of_memory_is_an_error_and_not_the_end() {
    let outcome = Program::new(Built::WithOurs, &["no_memory"]).run(Library::Ours);
    assert_eq!(
        (outcome.ended, outcome.says()),
        (Exit(0), vec!["sam_initialize 2", "sam_initialize 1"]),
        "{outcome}"
    );
}

common::runner::tests![
    hang_after_garbage_on_page_is_ended_on_time,
    garbage_on_page_leaves_supervisor_idle,
    future_time_on_page_extends_no_deadline,
    a_lack_of_memory_is_an_error_and_not_the_end,
];
