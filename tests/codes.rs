//! The code that every call returns in every state, with and without an interval, under both policies, with corosync's
//! libsam and with this library.

mod common;

use std::collections::BTreeMap;

use common::{Built, Ended::Exit, Library, Program};

/// The states, as c-tests/codes.c names them: not initialized, initialized, registered, started, stopped, finalized.
const STATES: [&str; 6] = ["U", "I", "R", "S", "P", "F"];

/// A call and the codes that it returns in each of the `STATES`. `7|9` accepts both.
struct Row {
    call: &'static str,
    codes: &'static str,
    /// The codes of corosync's libsam where they differ, and the reason for the difference.
    original: Option<(&'static str, &'static str)>,
}

/// Makes a row of codes that both libraries return.
const fn row(call: &'static str, codes: &'static str) -> Row {
    Row { call, codes, original: None }
}

/// Makes a row in which corosync's libsam returns the codes `original`.
const fn differs(call: &'static str, codes: &'static str, original: &'static str, why: &'static str) -> Row {
    Row { call, codes, original: Some((original, why)) }
}

/// Makes a row that is not run with corosync's libsam. The size is larger than the buffer, so the result would depend
/// on the memory behind the buffer and on how much memory a process may map.
const fn ours_alone(call: &'static str, codes: &'static str) -> Row {
    differs(call, codes, LEFT_TO_CHANCE, "")
}

const LEFT_TO_CHANCE: &str = "left to chance";
const NO_SIGNAL: &str = "a signal that does not exist is refused";

const ANY_INTERVAL: &[Row] = &[
    row("sam_initialize QUIT", "1 9 9 9 9 9"),
    row("sam_initialize RESTART", "1 9 9 9 9 9"),
    row("sam_initialize interval -1", "1 9 9 9 9 9"),
    row("sam_initialize interval INT_MIN", "1 9 9 9 9 9"),
    row("sam_initialize interval INT_MAX", "1 9 9 9 9 9"),
    row("sam_initialize policy 0", "7 7|9 7|9 7|9 7|9 7|9"),
    row("sam_initialize policy 3", "7 7|9 7|9 7|9 7|9 7|9"),
    row("sam_initialize policy 4", "7 7|9 7|9 7|9 7|9 7|9"),
    row("sam_initialize policy 5", "7 7|9 7|9 7|9 7|9 7|9"),
    row("sam_initialize policy QUORUM alone", "7 7|9 7|9 7|9 7|9 7|9"),
    row("sam_initialize policy CMAP alone", "7 7|9 7|9 7|9 7|9 7|9"),
    row("sam_initialize policy 0x0b", "7 7|9 7|9 7|9 7|9 7|9"),
    row("sam_initialize policy 0x13", "7 7|9 7|9 7|9 7|9 7|9"),
    row("sam_initialize policy 0x21", "7 7|9 7|9 7|9 7|9 7|9"),
    row("sam_initialize policy -1", "7 7|9 7|9 7|9 7|9 7|9"),
    row("sam_register", "9 1 9 9 9 9"),
    row("sam_register NULL", "9 1 9 9 9 9"),
    row("sam_start", "9 9 1 9 1 9"),
    row("sam_stop", "9 9 9 1 9 9"),
    row("sam_hc_send", "9 9 9 1 9 9"),
    row("sam_hc_callback_register NULL", "9 9 7 9 7 9"),
    row("sam_hc_callback_register NULL twice", "9 9 7 9 7 9"),
    row("sam_mark_failed", "9 9 7 7 7 9"),
    row("sam_finalize", "9 1 1 1 1 9"),
    row("sam_data_getsize", "9 1 1 1 1 9"),
    row("sam_data_getsize NULL", "7 7 7 7 7 7"),
    row("sam_data_restore", "9 1 1 1 1 9"),
    row("sam_data_restore exact", "9 1 1 1 1 9"),
    row("sam_data_restore too small", "9 7 7 7 7 9"),
    row("sam_data_restore size 0", "9 7 7 7 7 9"),
    row("sam_data_restore NULL", "7 7 7 7 7 7"),
    row("sam_data_restore nothing stored", "9 1 1 1 1 9"),
    row("sam_data_store", "9 1 1 1 1 9"),
    row("sam_data_store size 0", "9 1 1 1 1 9"),
    row("sam_data_store NULL", "9 1 1 1 1 9"),
    row("sam_data_store NULL with a size", "9 1 1 1 1 9"),
    ours_alone("sam_data_store beyond memory", "9 8 8 8 8 9"),
    ours_alone("sam_data_store SSIZE_MAX", "9|26 26 26 26 26 9|26"),
    ours_alone("sam_data_store SIZE_MAX", "9|26 26 26 26 26 9|26"),
    row("sam_warn_signal_set SIGUSR1", "9 1 1 1 1 9"),
    row("sam_warn_signal_set last", "9 1 1 1 1 9"),
    row("sam_warn_signal_set 0", "9 1 1 1 1 9"),
    differs("sam_warn_signal_set -1", "9 7 7 7 7 9", "9 1 1 1 1 9", NO_SIGNAL),
    differs("sam_warn_signal_set INT_MIN", "9 7 7 7 7 9", "9 1 1 1 1 9", NO_SIGNAL),
    differs("sam_warn_signal_set past the last", "9 7 7 7 7 9", "9 1 1 1 1 9", NO_SIGNAL),
    differs("sam_warn_signal_set INT_MAX", "9 7 7 7 7 9", "9 1 1 1 1 9", NO_SIGNAL),
];

const WITH_INTERVAL: &[Row] = &[
    row("sam_hc_callback_register", "9 9 1 9 1 9"),
    row("sam_hc_callback_register again", "9 9 1 9 1 9"),
    row("sam_hc_callback_register NULL after one", "9 9 1 9 1 9"),
    row("sam_hc_callback_register NULL twice after one", "9 9 1 9 1 9"),
    row("sam_hc_send with a callback", "9 9 9 1 9 9"),
];

const WITHOUT_INTERVAL: &[Row] = &[row("sam_hc_callback_register", "9 9 7 9 7 9")];

/// Runs `c-tests/codes.c` in every state, and returns the codes of each call in the order of `STATES`.
fn answers(library: Library, interval: &str, policy: &str) -> BTreeMap<String, Vec<String>> {
    let mut answers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let differs = |call: &str| ANY_INTERVAL.iter().any(|row| row.call == call && row.original.is_some());
    for state in STATES {
        let mut arguments = vec!["codes", state, interval, policy];
        arguments.extend((library == Library::Original).then_some("stable"));
        let outcome = Program::new(Built::WithOurs, &arguments).run(library);
        assert!(outcome.ended == Exit(0) && outcome.left_behind.is_empty(), "state {state}: {outcome}");
        for line in outcome.says() {
            if let Some(call) = line.strip_prefix("! ") {
                // The supervisor of corosync's libsam may have died of SIGPIPE.
                assert!(
                    library == Library::Original && differs(call),
                    "{call:?} gave no code in state {state}: {outcome}"
                );
                continue;
            }
            let (call, code) = line
                .split_once(": ")
                .unwrap_or_else(|| panic!("unexpected line {line:?} in state {state}: {outcome}"));
            answers.entry(call.to_owned()).or_default().push(code.to_owned());
        }
    }
    answers
}

/// Compares the codes of both libraries with the tables.
fn check(interval: &str, policy: &str) {
    let more = if interval == "0" { WITHOUT_INTERVAL } else { WITH_INTERVAL };
    let mut wrong = Vec::new();
    for library in common::libraries() {
        let mut answers = answers(library, interval, policy);
        for row in ANY_INTERVAL.iter().chain(more) {
            let expected = match (row.original, library) {
                (Some((original, _)), Library::Original) => original,
                _ => row.codes,
            };
            if expected == LEFT_TO_CHANCE {
                continue;
            }
            let seen = answers.remove(row.call).unwrap_or_default();
            let fits = |(expected, seen): (&str, &String)| expected.split('|').any(|code| code == seen);
            if seen.len() != STATES.len() || !expected.split(' ').zip(&seen).all(fits) {
                let why = row.original.map_or("", |(_, why)| why);
                wrong.push(format!(
                    "{library:?} {}: {}, expected {expected} {why}",
                    row.call,
                    seen.join(" ")
                ));
            }
        }
        wrong.extend(answers.into_keys().map(|call| format!("{library:?} {call}: not in the table")));
    }
    assert!(
        wrong.is_empty(),
        "interval {interval} ms, policy {policy}, states {}:\n{}",
        STATES.join(" "),
        wrong.join("\n")
    );
}

fn policy_quit_with_interval_returns_listed_codes() {
    check("10000", "QUIT");
}

fn policy_quit_without_interval_returns_listed_codes() {
    check("0", "QUIT");
}

/// A negative interval sets no deadline. A callback is accepted, but never called.
fn policy_quit_with_negative_interval_returns_listed_codes() {
    check("-1", "QUIT");
}

fn policy_restart_with_interval_returns_listed_codes() {
    check("10000", "RESTART");
}

fn policy_restart_without_interval_returns_listed_codes() {
    check("0", "RESTART");
}

common::runner::tests![
    policy_quit_with_interval_returns_listed_codes,
    policy_quit_without_interval_returns_listed_codes,
    policy_restart_with_interval_returns_listed_codes,
    policy_restart_without_interval_returns_listed_codes,
    policy_quit_with_negative_interval_returns_listed_codes,
];
