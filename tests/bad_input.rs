//! Hostile and malformed input. An instance that writes garbage to the control page neither stops nor occupies its
//! supervisor, which ends the instance on time. Input that exceeds the memory does not end the program.

mod common;

use std::{thread, time::Duration};

use common::{
    Built,
    Ended::{By, Exit},
    Library, Outcome, PATIENCE, Program,
};
use nix::sys::signal::Signal::{SIGKILL, SIGTERM};

/// The interval of `c-tests/scribble.c`.
const INTERVAL: Duration = Duration::from_millis(1500);

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

fn setting_longer_than_memory_is_malformed() {
    let outcome = Program::new(Built::WithOurs, &["no_memory"]).run(Library::Ours);
    assert_eq!(
        (outcome.ended, outcome.says()),
        (Exit(0), vec!["sam_initialize 7", "sam_initialize 1"]),
        "{outcome}"
    );
}

/// Runs a program that gets no more memory after some allocations, with all settings on. Returns its line: the instance
/// after 100 restarts, or the call that was refused.
fn run_until_memory_is_short(limit: &[&str]) -> String {
    let program = Program::new(Built::WithOurs, &[&["failing_heap"], limit].concat());
    let mut command = program.command(Library::Ours);
    command.envs([
        ("SAM_LOG", "stderr"),
        ("SAM_RESTART_LIMIT", "1000/1"),
        ("SAM_KILL_GROUP", "1"),
        ("SAM_STANDBY", "1"),
        ("SAM_NOTIFY", "1"),
        ("NOTIFY_SOCKET", "@libsam-test-nobody"),
    ]);
    let outcome = program.start_as(command).finish(PATIENCE);
    let foreign: Vec<_> = outcome.errors().into_iter().filter(|line| !line.starts_with("sam[")).collect();
    assert!(outcome.ended == Exit(0) && outcome.says().len() == 1, "{limit:?}: {outcome}");
    assert!(foreign.is_empty(), "{limit:?}: {foreign:#?}");
    outcome.says()[0].to_owned()
}

fn failing_allocator_ends_neither_program_nor_supervisor() {
    for allocations in ["0", "1", "2", "3", "5", "10", "20", "40"] {
        // The library's own blocks suffice.
        assert_eq!(run_until_memory_is_short(&["heap", allocations]), "instance 101", "{allocations}");
    }
}

fn full_address_space_ends_neither_program_nor_supervisor() {
    let last: Vec<_> = ["0", "16", "64", "128", "256", "1024", "16384"]
        .iter()
        .map(|kib| run_until_memory_is_short(&["space", kib]))
        .collect();
    assert_eq!(last.first().unwrap(), "sam_register is refused", "{last:?}");
    assert_eq!(last.last().unwrap(), "instance 101", "{last:?}");
}

common::runner::tests![
    hang_after_garbage_on_page_is_ended_on_time,
    garbage_on_page_leaves_supervisor_idle,
    future_time_on_page_extends_no_deadline,
    setting_longer_than_memory_is_malformed,
    failing_allocator_ends_neither_program_nor_supervisor,
    full_address_space_ends_neither_program_nor_supervisor,
];
