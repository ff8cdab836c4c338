//! The programs of `examples/`: they compile without a warning, and show what they are meant to show.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};

use common::tools::{Scratch, build_example, command, example, run};

/// Compiles an example with `compiler`. Returns a command that runs it.
fn compile(scratch: &Scratch, compiler: &[&str], file: &str) -> Command {
    command(build_example(scratch, compiler, file))
}

/// Compiles a C example with gcc and clang. Returns a command that runs the program of gcc.
fn c(scratch: &Scratch, file: &str) -> Command {
    compile(scratch, &["clang", "-std=c11", "-D_GNU_SOURCE"], file);
    compile(scratch, &["gcc", "-std=c11", "-D_GNU_SOURCE"], file)
}

/// Runs an example and compares its exit code and its output.
fn prints(example: Command, exit: i32, lines: &[&str]) {
    let name = format!("{example:?}");
    let (status, text) = run(example);
    assert!(
        status.code() == Some(exit) && text.lines().eq(lines.iter().copied()),
        "expected exit code {exit} and output {lines:#?}, but {name} ended with {status} and printed:\n{text}"
    );
}

fn every_example_is_tested() {
    let there: BTreeSet<String> = fs::read_dir(example(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    let tested = [
        "daemon.c",
        "poll_loop.c",
        "quorum.c",
        "raii.cpp",
        "state.c",
        "supervised.py",
        "supervised.service",
        "warning.c",
    ];
    assert_eq!(there, tested.map(str::to_owned).into());
}

fn daemon_that_crashes_is_restarted() {
    let scratch = Scratch::new("daemon");
    let mut daemon = c(&scratch, "daemon.c");
    daemon.arg("3");
    prints(daemon, 0, &["instance 1 works", "instance 2 works", "instance 2 is done"]);
}

fn poll_loop_that_hangs_is_restarted() {
    let scratch = Scratch::new("poll_loop");
    let says = [
        "instance 1: hello",
        "instance 1: hang",
        "instance 2: hello",
        "instance 2: hang",
        "instance 2: quit",
    ];
    prints(c(&scratch, "poll_loop.c"), 0, &says);
}

fn state_survives_crash_and_item_that_caused_it_is_skipped() {
    let scratch = Scratch::new("state");
    let says = [
        "instance 1: \"state\", 5 letters so far",
        "instance 1: \"survives\", 13 letters so far",
        "instance 2: the one before ended at \"poison\", which is left out",
        "instance 2: \"as\", 15 letters so far",
        "instance 2: \"well\", 19 letters so far",
    ];
    prints(c(&scratch, "state.c"), 0, &says);
}

fn warning_handler_saves_only_consistent_state() {
    let scratch = Scratch::new("warning");
    let says = [
        "instance 1: credit 0, debit 0",
        "warned: saves",
        "instance 2: credit 20, debit 20",
        "instance 2: credit 60, debit 60",
    ];
    prints(c(&scratch, "warning.c"), 0, &says);
}

fn quorum_is_waited_for_or_corosync_reported_unreachable() {
    let scratch = Scratch::new("quorum");
    let (status, text) = run(c(&scratch, "quorum.c"));
    let works = ["instance 1 waits for quorum", "instance 1 works"];
    match status.code() {
        // The machine runs corosync.
        Some(0) => assert!(text.lines().eq(works), "{text}"),
        Some(1) => assert!(text.lines().any(|line| line.starts_with("quorum: corosync")), "{text}"),
        _ => panic!("the quorum example ended with {status}:\n{text}"),
    }
}

fn exception_that_leaves_cxx_block_stops_health_checking() {
    let scratch = Scratch::new("raii");
    compile(&scratch, &["clang++", "-std=c++11"], "raii.cpp");
    let says = [
        "instance 1: step 1",
        "instance 1: step 2",
        "instance 2: step 1",
        "instance 2: step 2",
        "instance 2: step 3",
        "instance 2 gives up: no paper",
    ];
    prints(compile(&scratch, &["g++", "-std=c++11"], "raii.cpp"), 3, &says);
}

fn python_program_that_crashes_is_restarted_with_its_data() {
    let mut python = command("/usr/bin/python3");
    python.arg(example("supervised.py"));
    prints(python, 0, &["instance 2 has one two three"]);
}

/// Runs `systemd-analyze verify` on a unit. Returns its status and its output.
fn verify(unit: &Path) -> (ExitStatus, String) {
    let mut verify = command("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no"]).arg(unit);
    run(verify)
}

fn systemd_accepts_the_unit() {
    let scratch = Scratch::new("unit");
    let text = fs::read_to_string(example("supervised.service")).unwrap();
    let real = text.replace("/usr/local/bin/daemon", "/bin/true");
    assert_ne!(real, text, "the unit does not start /usr/local/bin/daemon");

    let broken = scratch.path("broken.service");
    fs::write(&broken, real.replace("KillMode=mixed", "KillMode=sometimes")).unwrap();
    let (_, said) = verify(&broken);
    assert!(said.contains("kill mode"), "systemd-analyze did not report KillMode=sometimes: {said}");

    let unit = scratch.path("supervised.service");
    fs::write(&unit, real).unwrap();
    let (status, said) = verify(&unit);
    assert!(status.success() && said.is_empty(), "systemd-analyze verify ended with {status}:\n{said}");
}

common::runner::tests![
    every_example_is_tested,
    daemon_that_crashes_is_restarted,
    poll_loop_that_hangs_is_restarted,
    state_survives_crash_and_item_that_caused_it_is_skipped,
    warning_handler_saves_only_consistent_state,
    quorum_is_waited_for_or_corosync_reported_unreachable,
    exception_that_leaves_cxx_block_stops_health_checking,
    python_program_that_crashes_is_restarted_with_its_data,
    systemd_accepts_the_unit,
];
