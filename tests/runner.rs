//! The runner of the tests: it runs a test again only if the machine was late, and never forgives a fault for good. The
//! tests here run this program again with one of the tests of `inner`, and stop processes of it.

mod common;

use std::{
    env, fs,
    path::Path,
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{
    Built, Ended,
    Ended::Exit,
    Library, Outcome, PATIENCE, Program, Running, canary,
    runner::{self, Test, allow_lateness},
};
use nix::{
    sys::signal::{
        Signal,
        Signal::{SIGCONT, SIGSTOP, SIGTERM},
        kill,
    },
    unistd::Pid,
};

/// The variable that names the inner test.
const INNER: &str = "LIBSAM_TEST_INNER";
/// The lateness that a test with a healthy program allows, which is warned after an interval of 6 s. Beside busy sessions
/// a process may get no processor for seconds.
const ALLOWED: Duration = Duration::from_secs(4);
/// The lateness that the test without a program allows.
const ALLOWED_WITHOUT: Duration = Duration::from_millis(500);

/// Expects a healthy program to be left alone until it is told to end.
fn healthy_program_is_left_alone() {
    allow_lateness(ALLOWED);
    let program = Program::new(Built::WithOurs, &["service", "0", "6000"]).start(Library::Ours);
    program.wait_for("instance 1 runs");
    println!("supervisor {}", program.pid());
    program.finish(PATIENCE).expect(Exit(0), &["instance 1 runs", "got SIGTERM", "SIGTERMs: 1"]);
}

/// Finds a fault each time, and waits until the machine was late.
fn fault_is_there() {
    allow_lateness(ALLOWED_WITHOUT);
    let begin = Instant::now();
    println!("attempt");
    while canary::lateness_since(begin) <= ALLOWED_WITHOUT && begin.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(1));
    }
    panic!("a fault");
}

/// Starts this program with an inner test.
fn start(inner: &str) -> Running {
    let mut command = Command::new(env::current_exe().expect("the path of this program"));
    command.env(INNER, inner).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::start(command)
}

/// Waits for a line that begins with `start`, and returns the rest.
fn next(inner: &mut Running, start: &str) -> String {
    loop {
        let line =
            inner.next_line().unwrap_or_else(|| panic!("the inner test ended without a line {start:?}"));
        if let Some(rest) = line.strip_prefix(start) {
            return rest.to_owned();
        }
    }
}

fn signal(process: u32, signal: Signal) {
    kill(Pid::from_raw(process as i32), signal).expect("send a signal");
}

/// Stops an instance until its supervisor has killed it.
fn stall_instance(supervisor: u32) {
    let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children"));
    let instance = children.expect("the children of the supervisor").trim().parse().expect("one instance");
    signal(instance, SIGSTOP);
    let folder = format!("/proc/{instance}");
    let deadline = Instant::now() + PATIENCE;
    while Path::new(&folder).exists() {
        assert!(Instant::now() < deadline, "the supervisor has not killed the stopped instance");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Returns the lines of the runner about repetitions.
fn repetitions(outcome: &Outcome) -> Vec<&str> {
    outcome.says().into_iter().filter(|line| line.starts_with("repeated ")).collect()
}

/// Fails unless the inner test ended like this, after so many repetitions.
fn expect(outcome: &Outcome, ended: Ended, repeated: usize) {
    let seen = repetitions(outcome);
    assert!(outcome.ended == ended && seen.len() == repeated, "{repeated} repetitions expected: {outcome}");
}

/// The exit status of a test program with a test that failed.
const FAILED: Ended = Exit(101);

fn stall_of_instance_alone_is_a_failure() {
    allow_lateness(ALLOWED);
    let mut inner = start("healthy_program_is_left_alone");
    let supervisor = next(&mut inner, "supervisor ").parse().expect("a pid");
    stall_instance(supervisor);
    signal(supervisor, SIGTERM);
    expect(&inner.finish(PATIENCE), FAILED, 0);
}

fn stall_that_the_canary_sees_repeats_the_test() {
    let mut inner = start("healthy_program_is_left_alone");
    let supervisor = next(&mut inner, "supervisor ").parse().expect("a pid");
    signal(inner.pid(), SIGSTOP);
    stall_instance(supervisor);
    signal(inner.pid(), SIGCONT);
    signal(supervisor, SIGTERM);
    let supervisor = next(&mut inner, "supervisor ").parse().expect("a pid");
    signal(supervisor, SIGTERM);
    expect(&inner.finish(PATIENCE), Exit(0), 1);
}

fn fault_is_found_on_a_late_machine() {
    let mut inner = start("fault_is_there");
    for _ in 0..4 {
        next(&mut inner, "attempt");
        signal(inner.pid(), SIGSTOP);
        thread::sleep(ALLOWED_WITHOUT + Duration::from_millis(100));
        signal(inner.pid(), SIGCONT);
    }
    expect(&inner.finish(PATIENCE), FAILED, 3);
}

fn main() -> ExitCode {
    let inner: [(&str, fn()); 2] = [
        ("healthy_program_is_left_alone", healthy_program_is_left_alone),
        ("fault_is_there", fault_is_there),
    ];
    let outer: [(&str, fn()); 3] = [
        ("stall_of_instance_alone_is_a_failure", stall_of_instance_alone_is_a_failure),
        ("stall_that_the_canary_sees_repeats_the_test", stall_that_the_canary_sees_repeats_the_test),
        ("fault_is_found_on_a_late_machine", fault_is_found_on_a_late_machine),
    ];
    let wanted = env::var(INNER).ok();
    let inner = inner.into_iter().filter(|(name, _)| wanted.as_deref() == Some(name));
    let outer = outer.into_iter().filter(|_| wanted.is_none());
    let tests = inner.chain(outer).map(|(name, body)| -> Test { (name.to_owned(), Box::new(body)) });
    runner::run(tests.collect(), None)
}
