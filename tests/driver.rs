//! The test driver (`tests/common`): it ends every process that a program has started, and it protects programs from
//! the settings of the caller of the tests.

mod common;

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use common::{Ended, Running};
use nix::sys::signal::{SigHandler, Signal, signal};

/// Starts a shell script with one pipe for standard output and standard error.
fn start(script: &str) -> Running {
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).stdin(Stdio::piped());
    Running::start_with_one_pipe(shell)
}

/// Returns `true` if the process exists and is not a zombie.
fn lives(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn process_that_left_group_and_pipe_is_reported_and_ended() {
    // The shell waits until sleep(1) has begun, because a process has no environment, and so no mark, during exec.
    let script = "setsid sleep 600 >/dev/null 2>&1 & echo $!
        until grep -qs '(sleep) S' /proc/$!/stat; do sleep 0.01; done
        exit 3";
    let outcome = start(script).finish(Duration::from_secs(60));
    let pid = outcome.says()[0];
    assert_eq!(outcome.ended, Ended::Exit(3), "{outcome}");
    assert_eq!(outcome.left_behind, [format!("{pid} (sleep) S")], "{outcome}");
    assert!(!lives(pid), "{outcome}");
}

fn dropped_program_is_ended_with_its_descendants() {
    let program = start("setsid sleep 600 & echo $!; sleep 600 & echo $!; wait");
    let pids = [program.wait_for(""), program.wait_for("")];
    drop(program);
    assert!(!pids.iter().any(|pid| lives(pid)), "{pids:?}");
}

fn program_that_only_sleeps_is_stuck_and_one_that_runs_is_not() {
    let outcome = start("echo asleep; exec sleep 600").finish_when_stuck();
    assert!(outcome.is(Ended::Never, &["asleep"]) && outcome.lived < Duration::from_secs(50), "{outcome}");
    let outcome = start("for i in $(seq 30); do sleep 0.2; done; echo done").finish_when_stuck();
    assert!(outcome.is(Ended::Exit(0), &["done"]), "{outcome}");
}

fn lines_to_and_from_program_keep_their_order() {
    let mut program = start("while read -r line; do echo out $line; echo error $line >&2; done; exit 7");
    for word in ["one", "two"] {
        program.tell(word);
        assert_eq!(program.next_line(), Some(format!("out {word}")));
        assert_eq!(program.next_line(), Some(format!("error {word}")));
    }
    assert_eq!(program.unread(), [""; 0]);
}

fn signals_ignored_by_caller_are_reset_in_program() {
    for ignored in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGUSR1] {
        // SAFETY: ignoring a signal runs no code.
        unsafe { signal(ignored, SigHandler::SigIgn) }.unwrap();
    }
    let outcome = start("exec cat /proc/self/status").finish(Duration::from_secs(60));
    // Signals 32 and 33 are reserved for the C library (signal(7)).
    let reserved = 3_u64 << 31;
    for name in ["SigBlk:\t", "SigIgn:\t"] {
        let set = outcome.says().into_iter().find_map(|line| line.strip_prefix(name)).unwrap();
        assert_eq!(u64::from_str_radix(set, 16).unwrap() & !reserved, 0, "{outcome}");
    }
}

common::runner::tests![
    process_that_left_group_and_pipe_is_reported_and_ended,
    dropped_program_is_ended_with_its_descendants,
    program_that_only_sleeps_is_stuck_and_one_that_runs_is_not,
    lines_to_and_from_program_keep_their_order,
    signals_ignored_by_caller_are_reset_in_program,
];
