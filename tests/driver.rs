//! The driver of the other tests: it ends whatever a program has started, and programs do not inherit what the caller of
//! the tests has set.

mod common;

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use common::{Ended, Running};
use nix::sys::signal::{SigHandler, Signal, signal};

fn start(script: &str) -> Running {
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).stdin(Stdio::piped());
    Running::start_with_one_pipe(shell)
}

/// Whether a process is there, other than as a zombie.
fn lives(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn process_that_left_group_and_pipe_is_reported_and_ended() {
    let outcome = start("setsid sleep 600 >/dev/null 2>&1 & echo $!; exit 3").finish(Duration::from_secs(60));
    let pid = outcome.says()[0];
    assert_eq!(outcome.ended, Ended::Exit(3), "{outcome}");
    assert_eq!(outcome.left_behind, [format!("{pid} (sleep) S")], "{outcome}");
    assert!(!lives(pid), "{outcome}");
}

fn dropped_program_ends_with_its_descendants() {
    let program = start("setsid sleep 600 & echo $!; sleep 600 & echo $!; wait");
    let pids = [program.wait_for(""), program.wait_for("")];
    drop(program);
    assert!(!pids.iter().any(|pid| lives(pid)), "{pids:?}");
}

fn program_that_sleeps_for_ever_is_stuck_and_one_that_moves_is_not() {
    let outcome = start("echo asleep; exec sleep 600").finish_when_stuck();
    assert!(outcome.is(Ended::Never, &["asleep"]) && outcome.lived < Duration::from_secs(50), "{outcome}");
    let outcome = start("for i in 1 2 3 4 5 6; do sleep 1; done; echo done").finish_when_stuck();
    assert!(outcome.is(Ended::Exit(0), &["done"]), "{outcome}");
}

fn program_reads_what_it_is_told_and_its_lines_keep_their_order() {
    let mut program = start("while read -r line; do echo out $line; echo error $line >&2; done; exit 7");
    for word in ["one", "two"] {
        program.tell(word);
        assert_eq!(program.next_line(), Some(format!("out {word}")));
        assert_eq!(program.next_line(), Some(format!("error {word}")));
    }
    assert_eq!(program.unread(), [""; 0]);
}

fn program_starts_with_default_signals_whatever_the_caller_ignores() {
    for ignored in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGUSR1] {
        // SAFETY: nothing runs when it is ignored.
        unsafe { signal(ignored, SigHandler::SigIgn) }.unwrap();
    }
    let outcome = start("exec cat /proc/self/status").finish(Duration::from_secs(60));
    // 32 and 33 are the C library's own.
    let reserved = 3_u64 << 31;
    for name in ["SigBlk:\t", "SigIgn:\t"] {
        let set = outcome.says().into_iter().find_map(|line| line.strip_prefix(name)).unwrap();
        assert_eq!(u64::from_str_radix(set, 16).unwrap() & !reserved, 0, "{outcome}");
    }
}

common::runner::tests![
    process_that_left_group_and_pipe_is_reported_and_ended,
    dropped_program_ends_with_its_descendants,
    program_that_sleeps_for_ever_is_stuck_and_one_that_moves_is_not,
    program_reads_what_it_is_told_and_its_lines_keep_their_order,
    program_starts_with_default_signals_whatever_the_caller_ignores,
];
