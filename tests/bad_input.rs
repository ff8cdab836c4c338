//! The instance is not trusted: whatever it writes to the memory it shares with its supervisor, the supervisor goes
//! on, stays idle, and ends the instance on time. And what the library is given does not end the program.

mod common;

use std::{thread, time::Duration};

use common::{
    Built,
    Ended::{By, Exit},
    Library, Outcome, PATIENCE, Program,
};
use nix::sys::signal::Signal::{SIGKILL, SIGTERM};

/// As in `c-tests/scribble.c`.
const INTERVAL: Duration = Duration::from_millis(300);

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

/// All at once: most of the time they wait.
fn scribble_all(patterns: &[&str], then: &str) -> Vec<Outcome> {
    thread::scope(|scope| {
        let start = |&pattern| scope.spawn(move || scribble(pattern, then));
        let running: Vec<_> = patterns.iter().map(start).collect();
        running.into_iter().map(|one| one.join().expect("see above")).collect()
    })
}

fn is_ended_on_time(outcome: &Outcome) -> bool {
    !outcome.says().contains(&"not killed, supervisor idle")
        && outcome.time_after("scribbled") < 2 * INTERVAL + Duration::from_secs(20)
}

fn rubbish_does_not_keep_a_hang_from_being_ended() {
    let patterns = ["zeros", "ones", "random", "future0", "future1", "future2", "future3"];
    let mut started = scribble_all(&patterns, "restart");
    started.retain(|outcome| outcome.note("sam_start") == 1);
    assert!(!started.is_empty(), "no instance could start again");
    for outcome in started {
        assert!(is_ended_on_time(&outcome), "{outcome}");
    }
}

fn rubbish_alone_does_not_disturb_the_supervisor() {
    // What the rubbish says may be that the instance has stopped: then it is as if it had called sam_stop.
    scribble_all(&["zeros", "ones", "random", "random", "random"], "leave");
}

fn a_time_to_come_extends_no_deadline() {
    let outcomes = scribble_all(&["future0", "future1", "future2", "future3"], "leave");
    // One of them says that the instance is started, and will be for another hour.
    let seen: String = outcomes.iter().map(Outcome::to_string).collect();
    assert!(outcomes.iter().any(is_ended_on_time), "none ended on time:\n{seen}");
}

fn setting_longer_than_memory_is_malformed() {
    let outcome = Program::new(Built::WithOurs, &["no_memory"]).run(Library::Ours);
    assert_eq!(
        (outcome.ended, outcome.says()),
        (Exit(0), vec!["sam_initialize 7", "sam_initialize 1"]),
        "{outcome}"
    );
}

/// Runs a program that gets no more memory after a while, with all that an administrator can set. Returns what it said in
/// the end: an instance after 100 restarts, or which call was refused.
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

fn a_failing_allocator_ends_neither_the_program_nor_its_supervisor() {
    for allocations in ["0", "1", "2", "3", "5", "10", "20", "40"] {
        // The library's own blocks do.
        assert_eq!(run_until_memory_is_short(&["heap", allocations]), "instance 101", "{allocations}");
    }
}

fn a_full_address_space_ends_neither_the_program_nor_its_supervisor() {
    let last: Vec<_> = ["0", "16", "64", "128", "256", "1024", "16384"]
        .iter()
        .map(|kib| run_until_memory_is_short(&["space", kib]))
        .collect();
    assert_eq!(last.first().unwrap(), "sam_initialize is refused", "{last:?}");
    assert_eq!(last.last().unwrap(), "instance 101", "{last:?}");
}

common::runner::tests![
    rubbish_does_not_keep_a_hang_from_being_ended,
    rubbish_alone_does_not_disturb_the_supervisor,
    a_time_to_come_extends_no_deadline,
    setting_longer_than_memory_is_malformed,
    a_failing_allocator_ends_neither_the_program_nor_its_supervisor,
    a_full_address_space_ends_neither_the_program_nor_its_supervisor,
];
