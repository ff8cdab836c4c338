//! Quorum, cmap and the cluster, with real corosync daemons on machines of their own (namespaces).
//!
//! They are skipped where no namespaces can be made, which needs root.

#[path = "../common/mod.rs"]
mod common;
mod corosync;
mod namespace;
mod program;

mod cmap;
mod example;
mod outage;
mod partition;
mod quorum;
mod watchdog;

use std::time::Duration;

/// Recovery policies, as the steps program is told them.
const QUIT: u32 = 0x01;
const RESTART: u32 = 0x02;
const QUORUM: u32 = 0x08;
const CMAP: u32 = 0x10;

/// How late anything may be on a busy machine, in ms. Whatever would wait for a frozen corosync, or run on without
/// quorum, would do so for as long as the test lasts.
const LATE: u64 = 20_000;

/// CLOCK_MONOTONIC in ms.
fn now() -> u64 {
    sam::sys::clock::now().as_ns() / 1_000_000
}

/// Gives what must not happen the time to happen.
fn watch_for(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

common::runner::tests![
    threads: Some(8),
    cmap::the_four_keys_follow_every_step,
    cmap::a_program_linked_against_the_original_runs_unchanged,
    cmap::a_heartbeat_is_published_as_its_true_time,
    cmap::who_is_lost_for_good_leaves_the_state_failed,
    cmap::who_ends_in_order_leaves_nothing,
    cmap::who_is_told_to_end_has_not_failed,
    cmap::what_an_earlier_process_with_the_same_pid_left_is_cleared_away,
    cmap::without_corosync_the_policies_that_need_it_are_refused,
    cmap::a_first_instance_that_cannot_be_made_leaves_nothing_behind,
    cmap::without_the_client_libraries_the_policies_that_need_them_are_not_supported,
    cmap::instances_never_map_the_client_libraries,
    example::it_works_once_there_is_quorum,
    outage::a_frozen_corosync_delays_no_recovery,
    outage::a_dead_corosync_delays_no_recovery,
    outage::keys_are_written_again_for_a_corosync_that_was_restarted,
    outage::while_corosync_is_frozen_its_last_word_on_quorum_holds,
    outage::a_side_process_that_is_blocked_for_too_long_is_made_anew,
    outage::an_end_that_a_frozen_corosync_could_not_show_is_shown_when_it_is_back,
    outage::the_side_process_ends_with_its_supervisor_and_holds_nothing_of_the_application,
    outage::a_frozen_corosync_holds_up_neither_initialize_nor_register_for_ever,
    partition::who_is_cut_off_is_gone_in_time_and_the_others_run_on,
    partition::a_group_member_that_hangs_is_restarted_and_joins_again,
    quorum::start_waits_for_quorum_and_loss_ends_the_instance_whatever_it_sends,
    quorum::without_an_interval_an_instance_outlives_quorum_by_a_second,
    quorum::a_warm_spare_waits_for_quorum_as_well,
    quorum::under_quit_the_supervisor_ends_with_the_instance,
    quorum::stopping_in_the_warning_calls_it_off,
    quorum::who_is_not_started_is_left_alone,
    quorum::an_instance_that_waits_takes_signals_and_can_be_ended,
    quorum::corosync_gone_is_quorum_lost_and_its_return_is_noticed,
    watchdog::registered_and_not_started_is_no_failure,
    watchdog::waiting_for_quorum_is_no_failure,
    watchdog::idling_without_an_interval_is_no_failure,
    watchdog::stopped_and_started_again_with_heartbeats_is_no_failure,
    watchdog::a_hang_under_quit_is_reported,
    watchdog::a_crash_under_quit_is_reported,
    watchdog::mark_failed_is_reported,
    cmap::start_stop_and_finalize_return_when_the_state_is_readable_or_after_a_second,
    quorum::initialize_shows_the_program_no_child_and_no_sigchld,
    quorum::initialize_works_while_other_threads_make_and_free_memory,
    quorum::a_register_that_fails_leaves_no_sigchld,
];
