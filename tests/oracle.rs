//! The behaviour that corosync's libsam and this library share. Each test runs a program with corosync's libsam first,
//! then with this library, and expects the same end and output of both.

mod common;

use common::{
    Built, Ended,
    Ended::{By, Exit},
    Library, Outcome, Program,
    machine::{Ability, require},
};
use nix::sys::signal::Signal::SIGKILL;

/// The outcomes of a program with corosync's libsam and with this library.
struct Both(Vec<Outcome>);

/// Applies `check` to both outcomes.
impl Both {
    fn each(&self, check: impl Fn(&Outcome)) {
        self.0.iter().for_each(check);
    }
}

/// Runs a program with both libraries, and expects this end and output of both.
fn both(command: &[&str], ended: Ended, says: &[&str]) -> Both {
    both_but_end(command, ended, ended, says)
}

/// Runs a program with both libraries, and expects this output of both, and the end that each has.
fn both_but_end(command: &[&str], original: Ended, ours: Ended, says: &[&str]) -> Both {
    let program = Program::new(Built::WithOurs, command);
    let run = |library| {
        let outcome = program.run(library);
        outcome.expect(if library == Library::Original { original } else { ours }, says);
        outcome
    };
    Both(common::libraries().into_iter().map(run).collect())
}

fn register_returns_in_a_new_process() {
    both(&["register"], Exit(0), &["instance 1: a new pid, the parent is the caller"]);
}

fn register_with_null_id_returns_in_a_new_process() {
    both(&["register", "null"], Exit(0), &["instance 77: a new pid, the parent is the caller"]);
}

fn failed_register_can_be_retried() {
    let program = Program::new(Built::WithOurs, &["register_fails"]);
    for library in common::libraries() {
        let outcome = program.run(library);
        // corosync's libsam returns CS_ERR_LIBRARY, and CS_ERR_BAD_HANDLE since 3.1.10.
        let is_9 = library == Library::Original && outcome.text().starts_with("sam_register: 9,");
        let result = format!("sam_register: {}, Resource temporarily unavailable", if is_9 { 9 } else { 2 });
        outcome.expect(Exit(3), &[&result, "sam_start: 9", "instance 1"]);
    }
}

fn final_exit_of_instance_is_exit_code_of_supervisor() {
    both(&["die", "RESTART", "10000", "registered", "exit", "7"], Exit(7), &["instance 1: registered"]);
    both(&["die", "QUIT", "0", "registered", "exit", "7"], Exit(7), &["instance 1: registered"]);
    both(&["die", "RESTART", "0", "stopped", "exit", "8"], Exit(8), &["instance 1: stopped"]);
    both(&["die", "QUIT", "10000", "stopped", "exit", "0"], Exit(0), &["instance 1: stopped"]);
    both(&["die", "QUIT", "0", "started", "exit", "255"], Exit(255), &["instance 1: started"]);
    both(&["die", "QUIT", "10000", "started", "exit", "0"], Exit(0), &["instance 1: started"]);
}

fn exit_or_crash_of_started_instance_restarts_it() {
    let instances = [
        "instance 1: memory as it was at sam_register, the same supervisor",
        "instance 2: memory as it was at sam_register, the same supervisor",
        "instance 3: memory as it was at sam_register, the same supervisor",
        "instance 4: memory as it was at sam_register, the same supervisor",
    ];
    for interval in ["0", "10000"] {
        for end in [["exit", "0"], ["exit", "7"], ["signal", "11"], ["signal", "9"]] {
            both(&["restart", interval, end[0], end[1]], Exit(5), &instances);
        }
    }
}

fn instance_id_counts_restarts() {
    both(&["restart_often", "20"], Exit(0), &["20 instances, counted one by one"]);
}

fn hang_is_warned_then_killed_then_restarted() {
    let says = ["instance 1", "warned by SIGTERM", "instance 2"];
    both(&["hang", "RESTART"], Exit(0), &says).each(|outcome| {
        let interval = outcome.note("interval");
        let warned = outcome.note("warned");
        let killed = outcome.note("killed");
        // Timers do not fire early, apart from rounding to 1 ms. How late they fire depends on the machine.
        assert!(warned >= interval - 1, "{outcome}");
        assert!(killed >= 2 * interval - 1, "{outcome}");
    });
}

fn heartbeats_in_time_keep_the_instance() {
    both(&["alive"], Exit(0), &["instance 1: alive after three intervals"]);
}

fn silence_counts_only_between_start_and_stop() {
    let says = [
        "registered: silence is ignored",
        "stopped: silence is ignored",
        "warned an interval after the start",
    ];
    both_but_end(&["start"], Exit(0), By(SIGKILL), &says); // tests/faults.rs explains the end
}

fn interval_of_0_or_less_sets_no_deadline() {
    let says = ["instance 1: silent for a second", "instance 2"];
    both(&["no_limit", "0"], Exit(0), &says);
    both(&["no_limit", "-1"], Exit(0), &says);
}

fn heartbeat_after_warning_cancels_kill() {
    both(&["late_heartbeat"], Exit(0), &["instance 1", "warned", "alive three intervals after the warning"]);
}

fn stop_in_warning_handler_cancels_recovery() {
    both(&["stop_in_warning"], Exit(3), &["warned, sam_stop: 1", "instance 1: alive"]);
}

fn warning_signal_set_before_register_is_sent() {
    let says = ["instance 1", "warned by 10", "instance 2", "warned by 10", "instance 3"];
    both(&["warning_signal", "10", "before"], Exit(0), &says);
}

fn warning_signal_set_by_instance_is_kept_for_the_next() {
    let says = ["instance 1", "warned by 12", "instance 2", "warned by 12", "instance 3"];
    both(&["warning_signal", "12", "after"], Exit(0), &says);
}

fn warning_signal_0_kills_without_warning() {
    both(&["warning_signal", "0", "before"], Exit(0), &["instance 1", "instance 2", "instance 3"]);
    both(&["warning_signal", "0", "after"], Exit(0), &["instance 1", "instance 2", "instance 3"]);
}

fn warning_signal_sigkill_kills_without_warning() {
    both(&["warning_signal", "9", "before"], Exit(0), &["instance 1", "instance 2", "instance 3"]);
    both(&["warning_signal", "9", "after"], Exit(0), &["instance 1", "instance 2", "instance 3"]);
}

fn instance_killed_by_its_warning_is_restarted() {
    both(&["default_warning", "hang"], Exit(0), &["instance 1", "instance 2"]);
}

fn stopped_instance_is_killed_and_restarted() {
    both(&["default_warning", "stop"], Exit(0), &["instance 1", "instance 2"]);
}

fn healthy_callback_is_called_while_started_and_keeps_the_instance() {
    let says = [
        "instance 1: alive, called never before the start, about once per interval while started, never after the stop",
    ];
    both(&["callback_healthy"], Exit(0), &says);
}

fn unhealthy_callback_leads_to_warning_and_restart() {
    both(&["callback_unhealthy"], Exit(0), &["instance 1", "unhealthy", "warned", "instance 2"]);
}

fn hanging_callback_leads_to_warning_and_restart() {
    both(&["callback_hangs"], Exit(0), &["instance 1", "checking", "warned", "instance 2"]);
}

fn callback_that_ends_its_thread_leads_to_warning_and_restart() {
    for how in ["exit", "cancel"] {
        both(&["callback_exits", how], Exit(0), &["instance 1", "cleanup", "warned", "instance 2"]);
    }
}

fn removed_callback_requires_heartbeats_again() {
    let says = ["silent and alive with the callback", "alive by its own heartbeats", "warned"];
    both_but_end(&["callback_removed"], Exit(0), By(SIGKILL), &says); // tests/faults.rs explains the end
}

fn every_function_called_in_callback_returns_its_usual_code() {
    let says = [
        "sam_initialize: 9",
        "sam_register: 9",
        "sam_start: 9",
        "sam_hc_send: 1",
        "sam_warn_signal_set: 1",
        "sam_data_store: 1",
        "sam_data_getsize: 1",
        "sam_data_restore: 1",
        "7 bytes, inside",
        "sam_mark_failed: 7",
        "sam_hc_callback_register: 9",
        "sam_stop: 1",
        "sam_hc_callback_register: 1",
        "sam_finalize: 1",
        "instance 1: alive, not called again",
    ];
    both(&["callback_calls"], Exit(6), &says);
}

fn callback_with_a_negative_interval_is_never_called() {
    both(&["callback_without_limit", "-1"], Exit(0), &["sam_hc_callback_register: 1", "not called"]);
}

fn stored_data_survives_restarts() {
    let says = [
        "instance 0: 0 bytes, \"\"",
        "instance 0: 7 bytes, \"before\"",
        "instance 1: 7 bytes, \"before\"",
        "instance 2: 7 bytes, \"before\"",
        "instance 2: 23 bytes, \"by the second instance\"",
        "instance 3: 23 bytes, \"by the second instance\"",
        "instance 4: 14 bytes, \"while started\"",
        "instance 4: 0 bytes, \"\"",
        "instance 5: 0 bytes, \"\"",
        "instance 6: 0 bytes, \"\"",
    ];
    both(&["data"], Exit(0), &says);
}

fn restore_writes_the_data_and_no_byte_more() {
    let says = [
        "restore into 8 bytes: 1, --------",
        "restore into 8 bytes: 1, four----",
        "restore into 4 bytes: 1, four----",
        "restore into 3 bytes: 7, --------",
        "restore into 0 bytes: 7, --------",
        "restore into 8 bytes: 1, four----",
        "restore into 4 bytes: 1, four----",
        "restore into 3 bytes: 7, --------",
        "restore into 0 bytes: 7, --------",
        "restore into 8 bytes: 1, five!---",
        "restore into 4 bytes: 7, --------",
        "restore into 8 bytes: 1, --------",
        "restore into 0 bytes: 1, --------",
    ];
    both(&["data_buffer"], Exit(0), &says);
}

fn large_data_survives_restarts() {
    both(&["data_large"], Exit(0), &["8 MiB, intact", "6 bytes, small"]);
}

fn store_under_file_size_limit_succeeds_or_is_refused() {
    both(&["store_file_limit"], Exit(0), &["instance 1", "stored or refused"]);
}

fn finalized_instance_is_neither_killed_nor_restarted() {
    both(&["finalize", "registered"], Exit(7), &["instance 1: alive"]);
    both(&["finalize", "started"], Exit(7), &["instance 1: alive"]);
}

fn instances_inherit_signal_mask_and_dispositions() {
    let signals = "1 blocked 2 handled 10 blocked 12 ignored 13 ignored 17 ignored";
    let says = ["initialized", "registered", "started", "registered", "started"];
    let says = says.map(|when| format!("{when}: {signals}"));
    both(&["signals"], Exit(0), &says.each_ref().map(String::as_str));
}

fn exit_handlers_run_in_each_instance_and_once_in_supervisor() {
    let says = ["instance 1", "instance leaves", "instance 2", "instance leaves", "supervisor leaves"];
    both(&["exit_handlers", "exit"], Exit(4), &says);
}

fn stopped_supervisor_does_not_kill_healthy_instance() {
    both(&["late_supervisor", "supervisor"], Exit(0), &["instance 1", "alive"]);
}

fn instance_that_dropped_privileges_is_supervised() {
    require(&[Ability::OtherUser]);
    let says = ["instance 1: ", "instance 2: data of instance 1", "instance 3: data of instance 2"];
    both(&["drop_rights"], Exit(0), &says);
}

fn data_is_readable_after_supervisor_was_killed() {
    both(&["data_orphan"], By(SIGKILL), &["sam_data_getsize: 1", "sam_data_restore: 1", "5 bytes, kept"]);
}

common::runner::tests![
    threads: Some(8), // they sleep most of the time
    register_returns_in_a_new_process,
    register_with_null_id_returns_in_a_new_process,
    failed_register_can_be_retried,
    final_exit_of_instance_is_exit_code_of_supervisor,
    exit_or_crash_of_started_instance_restarts_it,
    instance_id_counts_restarts,
    hang_is_warned_then_killed_then_restarted,
    heartbeats_in_time_keep_the_instance,
    silence_counts_only_between_start_and_stop,
    interval_of_0_or_less_sets_no_deadline,
    heartbeat_after_warning_cancels_kill,
    stop_in_warning_handler_cancels_recovery,
    warning_signal_set_before_register_is_sent,
    warning_signal_set_by_instance_is_kept_for_the_next,
    warning_signal_0_kills_without_warning,
    instance_killed_by_its_warning_is_restarted,
    stopped_instance_is_killed_and_restarted,
    healthy_callback_is_called_while_started_and_keeps_the_instance,
    unhealthy_callback_leads_to_warning_and_restart,
    hanging_callback_leads_to_warning_and_restart,
    removed_callback_requires_heartbeats_again,
    every_function_called_in_callback_returns_its_usual_code,
    stored_data_survives_restarts,
    restore_writes_the_data_and_no_byte_more,
    large_data_survives_restarts,
    store_under_file_size_limit_succeeds_or_is_refused,
    finalized_instance_is_neither_killed_nor_restarted,
    instances_inherit_signal_mask_and_dispositions,
    exit_handlers_run_in_each_instance_and_once_in_supervisor,
    stopped_supervisor_does_not_kill_healthy_instance,
    instance_that_dropped_privileges_is_supervised,
    warning_signal_sigkill_kills_without_warning,
    callback_that_ends_its_thread_leads_to_warning_and_restart,
    callback_with_a_negative_interval_is_never_called,
    data_is_readable_after_supervisor_was_killed,
];
