//! Memory checkers. Valgrind checks both processes, library included. The sanitizers of the compiler check the C
//! programs, and the use that the library makes of their buffers. Each program must behave as it does without the
//! checker.

mod common;

use std::thread;

use common::{
    Built, Library, Outcome, PATIENCE, Program,
    machine::{Ability, require},
};

/// Programs that together call every function, also in threads and callbacks, and that have no tight time limits.
const PROGRAMS: [&[&str]; 9] = [
    &["callback_calls", "5000"], // calls every function
    &["data"],
    &["data_buffer"],
    &["data_large"],
    &["exit_handlers", "exit"],
    &["finalize", "registered"],
    &["restart", "0", "exit", "7"],
    &["threads"],
    &["warning_signal", "10", "after"],
];

/// Programs that are too slow under Valgrind: every function in every state, each call in its own process, instances
/// that live for milliseconds, and a thousand signal handlers.
const FAST: [&[&str]; 8] = [
    &["store_cut_off"],
    &["handler_calls"],
    &["codes", "U", "0", "RESTART"],
    &["codes", "I", "0", "RESTART"],
    &["codes", "R", "10000", "RESTART"],
    &["codes", "S", "10000", "RESTART"],
    &["codes", "P", "10000", "QUIT"],
    &["codes", "F", "10000", "RESTART"],
];

/// Runs each program without and with a checker, several at a time. Fails if the checker reports a problem or the
/// program behaves differently. A report is a line on standard error that the program does not write itself.
fn compare(programs: &[&[&str]], watched: impl Fn(&[&str]) -> Outcome + Sync) {
    const AT_A_TIME: usize = 4;
    let compare_one = |command: &[&str]| {
        let plain = Program::new(Built::WithOurs, command).run(Library::Ours);
        let outcome = watched(command);
        let mut complaints = outcome.errors();
        // Valgrind starts its own notes with "--".
        complaints.retain(|line| !line.starts_with("sam[") && !line.starts_with("--"));
        assert!(complaints.is_empty(), "{command:?} caused these reports: {complaints:#?}");
        plain.expect(outcome.ended, &outcome.says());
        assert!(outcome.left_behind.is_empty(), "{outcome}");
    };
    for some in programs.chunks(AT_A_TIME) {
        thread::scope(|scope| {
            for command in some {
                scope.spawn(move || compare_one(command));
            }
        });
    }
}

fn valgrind_finds_no_error_and_no_leak_in_either_process() {
    require(&[Ability::Valgrind]);
    let valgrind = [
        "valgrind",
        "--quiet",
        "--leak-check=full",
        "--show-leak-kinds=definite",
        "--errors-for-leak-kinds=definite",
    ];
    compare(&PROGRAMS, |command| {
        let program = Program::new(Built::WithOurs, command);
        program.start_as(program.command_through(&valgrind, Library::Ours)).finish(PATIENCE)
    });
}

fn sanitizers_find_no_error_in_the_programs() {
    require(&[Ability::Sanitizers]);
    compare(&[&PROGRAMS[..], &FAST].concat(), |command| {
        let program = Program::new(Built::Sanitized, command);
        let mut command = program.command(Library::Ours);
        // Leaks are Valgrind's part.
        command.env("ASAN_OPTIONS", "detect_leaks=0");
        program.start_as(command).finish(PATIENCE)
    });
}

common::runner::tests![
    valgrind_finds_no_error_and_no_leak_in_either_process,
    sanitizers_find_no_error_in_the_programs,
];
