//! Tools that watch every access to memory: valgrind both processes, library and all; the sanitizers of the compiler
//! the C side, and what the library does to its buffers. Each program does what it does without them.

mod common;

use std::{
    io::Write,
    process::{Command, Stdio},
    thread,
};

use common::{Built, Library, Outcome, PATIENCE, Program, SANITIZERS, left_out, reset_process_state};

/// Programs that call all functions between them, in threads and callbacks. None of them minds being slow.
const PROGRAMS: [&[&str]; 9] = [
    &["callback_calls", "5000"], // every function
    &["data"],
    &["data_buffer"],
    &["data_large"],
    &["exit_handlers", "exit"],
    &["finalize", "registered"],
    &["restart", "0", "exit", "7"],
    &["threads"],
    &["warning_signal", "10", "after"],
];

/// Every function in every state, each in processes of its own, and instances that live for milliseconds: too many
/// for valgrind, as are a thousand handlers.
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

/// Runs each program as it is and under a tool, some at a time, and fails if the tool complains of one or it behaves
/// differently. A complaint is a line on standard error that the program does not print by itself.
fn compare(programs: &[&[&str]], watched: impl Fn(&[&str]) -> Outcome + Sync) {
    const AT_A_TIME: usize = 4;
    let compare_one = |command: &[&str]| {
        let plain = Program::new(Built::WithOurs, command).run(Library::Ours);
        let outcome = watched(command);
        let mut complaints = outcome.errors();
        // Valgrind begins what it has to say about itself with "--".
        complaints.retain(|line| !line.starts_with("sam[") && !line.starts_with("--"));
        assert!(complaints.is_empty(), "{command:?}: {complaints:#?}");
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

#[test]
fn valgrind_finds_no_error_and_no_leak_in_either_process() {
    reset_process_state();
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|answer| answer.status.success()) {
        return left_out("no valgrind");
    }
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

#[test]
fn sanitizers_find_nothing_in_the_programs() {
    reset_process_state();
    if !sanitizers_work() {
        return left_out("the C compiler has no sanitizers");
    }
    compare(&[&PROGRAMS[..], &FAST].concat(), |command| {
        let program = Program::new(Built::Sanitized, command);
        let mut command = program.command(Library::Ours);
        // Valgrind looks for those.
        command.env("ASAN_OPTIONS", "detect_leaks=0");
        program.start_as(command).finish(PATIENCE)
    });
}

fn sanitizers_work() -> bool {
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut compiler = Command::new(compiler)
        .args(SANITIZERS)
        .args(["-x", "c", "-", "-o", "/dev/null"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("run the C compiler");
    let mut source = compiler.stdin.take().expect("a pipe");
    source.write_all(b"int main(void) { return 0; }").expect("give it a program");
    drop(source);
    compiler.wait().expect("wait for it").success()
}
