//! Programs built for corosync's libsam run unchanged with this library, which is found by `LD_LIBRARY_PATH` or forced
//! in by `LD_PRELOAD`.

mod common;

use std::{collections::BTreeSet, fs, path::PathBuf};

use common::{Built, Ended::Exit, Library, Program, prefix};

/// Runs a program that was built for corosync's libsam with corosync's libsam, and with this library in both ways.
fn unchanged(command: &[&str], exit: i32, says: &[&str]) {
    let program = Program::new(Built::WithOriginal, command);
    for library in [Library::Original, Library::Ours, Library::OursPreloaded] {
        program.run(library).expect(Exit(exit), says);
    }
}

fn unchanged_program_registers() {
    unchanged(&["register"], 0, &["instance 1: a new pid, the parent is the caller"]);
}

fn unchanged_program_is_restarted_after_crash() {
    let says = [
        "instance 1: memory as it was at sam_register, the same supervisor",
        "instance 2: memory as it was at sam_register, the same supervisor",
        "instance 3: memory as it was at sam_register, the same supervisor",
        "instance 4: memory as it was at sam_register, the same supervisor",
    ];
    unchanged(&["restart", "10000", "signal", "11"], 5, &says);
}

fn unchanged_program_is_warned_and_restarted_after_hang() {
    unchanged(&["hang", "RESTART"], 0, &["instance 1", "warned by SIGTERM", "instance 2"]);
}

fn unchanged_program_gets_its_own_warning_signal() {
    let says = ["instance 1", "warned by 10", "instance 2", "warned by 10", "instance 3"];
    unchanged(&["warning_signal", "10", "before"], 0, &says);
}

fn unchanged_program_is_restarted_when_its_callback_says_unhealthy() {
    unchanged(&["callback_unhealthy"], 0, &["instance 1", "unhealthy", "warned", "instance 2"]);
}

fn unchanged_program_keeps_its_data() {
    unchanged(&["data_large"], 0, &["8 MiB, intact", "6 bytes, small"]);
}

/// Returns the files named libsam or libqb that a process has mapped.
fn mapped(pid: &str) -> BTreeSet<PathBuf> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the maps of a living process");
    let paths = maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..]));
    let is_library = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libsam.") || name.starts_with("libqb.")
    };
    paths.map(PathBuf::from).filter(is_library).collect()
}

fn corosyncs_libsam_is_not_mapped() {
    let program = Program::new(Built::WithOriginal, &["wait"]);
    let ours = BTreeSet::from([prefix().join("lib/libsam.so.4").canonicalize().unwrap()]);
    for library in [Library::Original, Library::Ours, Library::OursPreloaded] {
        let running = program.start(library);
        let instance = running.wait_for("# instance ");
        for pid in [instance, running.pid().to_string()] {
            let mapped = mapped(&pid);
            match library {
                Library::Original => assert!(mapped.is_disjoint(&ours), "pid {pid} has mapped {mapped:?}"),
                _ => assert_eq!(mapped, ours, "files mapped by pid {pid} with {library:?}"),
            }
        }
    }
}

common::runner::tests![
    threads: Some(6), // they sleep most of the time
    unchanged_program_registers,
    unchanged_program_is_restarted_after_crash,
    unchanged_program_is_warned_and_restarted_after_hang,
    unchanged_program_gets_its_own_warning_signal,
    unchanged_program_is_restarted_when_its_callback_says_unhealthy,
    unchanged_program_keeps_its_data,
    corosyncs_libsam_is_not_mapped,
];
