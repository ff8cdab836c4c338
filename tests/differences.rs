//! Where ours differs from the C library on purpose: one table, each row run on both, so that it shows what the
//! C library does and what ours does. What differs in codes alone is in `codes.rs`.

mod common;

use std::fs;

use common::{
    Built, Ended,
    Ended::{By, Exit, Never},
    Library, Program, left_out,
};
use nix::sys::signal::Signal::{SIGKILL, SIGPIPE, SIGSEGV, SIGTERM};

/// How a program ends, and what it says until then.
struct Shown(Ended, &'static [&'static str]);

const fn shows(ended: Ended, says: &'static [&'static str]) -> Shown {
    Shown(ended, says)
}

/// The original never does what ours does. How it goes wrong is left to chance.
const GOES_WRONG: Option<Shown> = None;

fn show(difference: &str, command: &[&str], original: impl Into<Option<Shown>>, ours: Shown) {
    println!("{difference}");
    let program = Program::new(Built::WithOurs, command);
    match original.into() {
        Some(Shown(Never, says)) => program.run_until_stuck(Library::Original).expect(Never, says),
        Some(Shown(ended, says)) => program.run(Library::Original).expect(ended, says),
        None => {
            let outcome = program.run_until_stuck(Library::Original);
            assert!(outcome.ended != ours.0 || outcome.says() != ours.1, "no difference: {outcome}");
        }
    }
    program.run(Library::Ours).expect(ours.0, ours.1);
}

macro_rules! differences {
    ($($name:ident: $why:literal, $command:expr, original: $original:expr, ours: $ours:expr;)*) => {
        $(#[test]
        fn $name() {
            show($why, &$command, $original, $ours);
        })*
    };
}

differences! {
    // A heartbeat
    heartbeats_do_not_wait_for_the_supervisor:
        "a heartbeat is a store to memory, not a write to a pipe that fills up",
        ["heartbeat_flood"],
        original: shows(Never, &["supervisor stopped"]),
        ours: shows(Exit(0), &["supervisor stopped", "200000 heartbeats"]);
    heartbeats_without_system_calls:
        "a heartbeat makes no system call, so a filter that allows none lets it pass",
        ["heartbeat_seccomp"],
        original: shows(Exit(0), &[]), // killed by the filter, passed out as success
        ours: shows(Exit(42), &[]);

    // Calls in handlers and threads
    handlers_may_call_sam:
        "a call may interrupt a call; the C library holds a mutex and deadlocks",
        ["handler_calls"],
        original: shows(Never, &[]),
        ours: shows(Exit(0), &["1000 handlers, all answers right"]);
    heartbeats_during_a_store:
        "heartbeats of one thread get into the middle of another's data on the C library's pipe",
        ["heartbeat_in_store"],
        original: GOES_WRONG,
        ours: shows(Exit(0), &["50 stores, the last one whole"]);

    // Descriptors
    a_child_does_not_hide_the_death:
        "the kernel tells of a death; the C library waits for the end of a pipe that children hold open",
        ["exec_child"],
        original: shows(Never, &["instance 1"]),
        ours: shows(Exit(0), &["instance 1", "instance 2"]);
    descriptors_are_closed_on_exec:
        "programs that the instance starts get no descriptor of the library",
        ["close_on_exec"],
        original: shows(Exit(0), &["2 more descriptors"]),
        ours: shows(Exit(0), &["0 more descriptors"]);
    closing_everything_keeps_heartbeats:
        "supervision needs no descriptor in the instance",
        ["close_everything", "beat"],
        original: shows(Exit(99), &["instance 1", "sam_start: 2", "sam_hc_send(): 9"]),
        ours: shows(Exit(0), &["instance 1", "sam_start: 1", "alive after four intervals"]);
    closing_everything_keeps_hang_detection:
        "supervision needs no descriptor in the instance",
        ["close_everything", "hang"],
        original: shows(Never, &["instance 1", "sam_start: 2"]),
        ours: shows(Exit(0), &["instance 1", "sam_start: 1", "warned", "instance 2", "kept"]);
    closing_everything_keeps_restarts:
        "supervision needs no descriptor in the instance",
        ["close_everything", "crash"],
        original: shows(Exit(0), &["instance 1", "sam_start: 2"]),
        ours: shows(Exit(0), &["instance 1", "sam_start: 1", "instance 2", "kept"]);
    the_program_s_files_are_its_own:
        "a descriptor number that has become another file's is left alone",
        ["own_files"],
        original: shows(Never, &["instance 1", "the library wrote into the program's files"]),
        ours: shows(Exit(0), &[
            "instance 1",
            "the program's files are as they were",
            "instance 2",
            "data of the last completed store",
        ]);

    standard_descriptors_stay_closed:
        "the library's descriptors never become stdin, stdout or stderr of a program that closed them",
        ["std_closed"],
        original: shows(Exit(0), &["instance 2: 1 accidents, kept"]),
        ours: shows(Exit(0), &["instance 2: 0 accidents, kept"]);

    // How the supervisor ends
    a_crash_is_passed_out:
        "the supervisor ends by the signal its last instance ended by, not with success",
        ["die", "QUIT", "0", "started", "signal", "11"],
        original: shows(Exit(0), &["instance 1: started"]),
        ours: shows(By(SIGSEGV), &["instance 1: started"]);
    a_crash_while_not_started_is_passed_out:
        "the supervisor ends by the signal its last instance ended by, not with success",
        ["die", "RESTART", "300", "registered", "signal", "15"],
        original: shows(Exit(0), &["instance 1: registered"]),
        ours: shows(By(SIGTERM), &["instance 1: registered"]);
    a_hang_is_passed_out:
        "the supervisor ends by the signal its last instance ended by, not with success",
        ["hang", "QUIT"],
        original: shows(Exit(0), &["instance 1", "warned by SIGTERM"]),
        ours: shows(By(SIGKILL), &["instance 1", "warned by SIGTERM"]);
    exit_handlers_run_before_the_signal:
        "the supervisor's exit handlers run, once, also when it ends by a signal",
        ["exit_handlers", "crash"],
        original: shows(Exit(0), &["instance 1", "instance leaves", "instance 2", "supervisor leaves"]),
        ours: shows(By(SIGSEGV), &["instance 1", "instance leaves", "instance 2", "supervisor leaves"]);
    the_exit_code_with_sigchld_ignored:
        "the exit code is passed out also when the program ignores SIGCHLD",
        ["sigchld_ignored"],
        original: shows(Exit(0), &["instance 1"]),
        ours: shows(Exit(7), &["instance 1"]);

    // Restarts that fail
    no_process_to_be_had:
        "a restart that fails is tried again; the C library returns into the program, in the supervisor",
        ["fork_fails", "processes"],
        original: shows(Exit(1), &[
            "instance 1",
            "the program's code runs in the supervisor: sam_register: 2",
            "the limit is lifted",
        ]),
        ours: shows(Exit(0), &["instance 1", "the limit is lifted", "instance 2"]);
    no_descriptor_to_be_had:
        "a restart needs no descriptor; the C library returns into the program, in the supervisor",
        ["fork_fails", "descriptors"],
        original: shows(Exit(1), &[
            "instance 1",
            "the program's code runs in the supervisor: sam_register: 2",
            "the limit is lifted",
        ]),
        ours: shows(Exit(0), &["instance 1", "instance 2", "the limit is lifted"]);

    // Signals to the supervisor
    sigterm_reaches_the_instance:
        "a signal to the supervisor is passed on, and the end that it brings is passed out",
        ["signal_supervisor", "15", "default"],
        original: shows(By(SIGTERM), &["instance 1", "the instance lives on unwatched"]),
        ours: shows(By(SIGTERM), &["instance 1"]);
    sigterm_is_handled_in_the_instance:
        "handlers run in the instance; an end after SIGTERM is final",
        ["signal_supervisor", "15", "handled"],
        original: shows(Exit(5), &["instance 1", "handled in the supervisor", "instance 2"]),
        ours: shows(Exit(6), &["instance 1", "handled in the instance"]);
    sigint_is_handled_in_the_instance:
        "handlers run in the instance; an end after SIGINT is final",
        ["signal_supervisor", "2", "handled"],
        original: shows(Exit(5), &["instance 1", "handled in the supervisor", "instance 2"]),
        ours: shows(Exit(6), &["instance 1", "handled in the instance"]);
    sigquit_is_handled_in_the_instance:
        "handlers run in the instance; an end after SIGQUIT is final",
        ["signal_supervisor", "3", "handled"],
        original: shows(Exit(5), &["instance 1", "handled in the supervisor", "instance 2"]),
        ours: shows(Exit(6), &["instance 1", "handled in the instance"]);
    sighup_is_handled_in_the_instance:
        "handlers run in the instance; an end after SIGHUP is like any other",
        ["signal_supervisor", "1", "handled"],
        original: shows(Exit(5), &["instance 1", "handled in the supervisor", "instance 2"]),
        ours: shows(Exit(5), &["instance 1", "handled in the instance", "instance 2"]);
    sigusr1_is_handled_in_the_instance:
        "handlers run in the instance; an end after SIGUSR1 is like any other",
        ["signal_supervisor", "10", "handled"],
        original: shows(Exit(5), &["instance 1", "handled in the supervisor", "instance 2"]),
        ours: shows(Exit(5), &["instance 1", "handled in the instance", "instance 2"]);
    the_supervisor_s_death_ends_the_instance:
        "no instance lives on unwatched: it gets SIGTERM, and calls say CS_ERR_LIBRARY without SIGPIPE",
        ["orphan", "keep"],
        original: shows(By(SIGKILL), &[
            "supervised, sam_hc_send: 1",
            "the instance lives on unwatched",
            "SIGPIPE",
            "sam_hc_send: 2",
            "SIGPIPE",
            "sam_data_store: 2",
            "SIGPIPE",
            "sam_stop: 2",
        ]),
        ours: shows(By(SIGKILL), &[
            "supervised, sam_hc_send: 1",
            "SIGTERM",
            "sam_hc_send: 2",
            "sam_data_store: 2",
            "sam_stop: 2",
        ]);

    // Data
    a_store_is_answered_without_the_supervisor_s_memory:
        "the supervisor never holds the data, so it cannot fail to",
        ["store_refused"],
        original: shows(Never, &[]),
        ours: shows(Exit(0), &["answered"]);
    a_store_cut_off_by_death_never_was:
        "the earlier data stays whole, and supervision goes on",
        ["store_cut_off"],
        original: shows(By(SIGPIPE), &[]), // the supervisor, writing its answer
        ours: shows(Exit(0), &["25 instances, data damaged: 0"]);

    // Time
    a_suspended_machine_is_not_a_hang:
        "silence counts only while the supervisor could have seen a heartbeat",
        ["late_supervisor", "both"],
        original: shows(Exit(1), &["instance 1", "warned", "instance 2"]),
        ours: shows(Exit(0), &["instance 1", "alive"]);
    every_silence_begins_with_a_warning:
        "a heartbeat after the warning calls the kill off, and so the next silence is warned of again",
        ["next_silence"],
        original: shows(Exit(0), &["instance 1", "warned", "late heartbeat: 1", "instance 2"]),
        ours: shows(Exit(0), &["instance 1", "warned", "late heartbeat: 1", "warned", "instance 2"]);

    // Callbacks
    bad_news_of_a_callback_count_at_once:
        "the recovery begins at the callback's word; the C library falls silent for an interval first",
        ["callback_prompt"],
        original: shows(Exit(0), &["warned an interval later"]),
        ours: shows(Exit(0), &["warned at once"]);
    callbacks_have_a_thread_s_stack:
        "a callback has the stack of a thread, not 32 KiB",
        ["callback_stack"],
        original: shows(Exit(1), &["instance 1", "instance 2"]), // the first one crashed
        ours: shows(Exit(0), &["instance 1", "called"]);
    short_intervals_do_not_spin:
        "an interval of 2 ms is 2 ms, not a busy loop",
        ["callback_often"],
        original: shows(Exit(0), &["far more often than once per interval"]),
        ours: shows(Exit(0), &["about once per interval"]);
    a_negative_interval_is_none:
        "a negative interval is 0 in every respect, so there is none for a callback either",
        ["callback_without_limit", "-1"],
        original: shows(Exit(0), &["sam_hc_callback_register: 1"]),
        ours: shows(Exit(0), &["sam_hc_callback_register: 7"]);
}

/// For the reason above the original stops here more often than not: nothing to rely on.
#[test]
fn every_call_from_any_thread() {
    Program::new(Built::WithOurs, &["threads"]).run(Library::Ours).expect(Exit(0), &["0 strange answers"]);
}

/// Giving up rights takes away the kernel's promise of a signal when the supervisor dies: `sam_start` asks for it
/// again.
#[test]
fn the_supervisor_s_death_ends_an_instance_that_gave_up_its_rights() {
    let program = Program::new(Built::WithOurs, &["orphan", "drop"]);
    let unwatched = "the instance lives on unwatched";
    let original = program.run(Library::Original);
    if original.says() == ["not root"] {
        left_out("only root has rights to give up");
        return;
    }
    assert!(original.ended == By(SIGKILL) && original.says()[1] == unwatched, "{original}");
    let says =
        ["supervised, sam_hc_send: 1", "SIGTERM", "sam_hc_send: 2", "sam_data_store: 2", "sam_stop: 2"];
    program.run(Library::Ours).expect(By(SIGKILL), &says);
}

/// The supervisor ends by the signal of its instance, but the core file that says why is the instance's.
#[test]
fn the_supervisor_leaves_no_core_file() {
    let folder = format!("{}/crash_dump.{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    fs::create_dir(&folder).expect("a folder for core files");
    let outcome = Program::new(Built::WithOurs, &["crash_dump", &folder]).run(Library::Ours);
    fs::remove_dir_all(&folder).expect("remove the core files");
    outcome.expect(By(SIGSEGV), &[]);
    assert!(!outcome.core_dumped, "{outcome}");
}
