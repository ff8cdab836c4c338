//! Quorum, cmap and clusters, with real corosync daemons in namespaces.
//!
//! The tests are skipped on a machine that cannot make the namespaces, which takes root.

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
mod run;
mod watchdog;

use std::time::Duration;

/// Recovery policies, as numbers for the program `steps`.
const QUIT: u32 = 0x01;
const RESTART: u32 = 0x02;
const QUORUM: u32 = 0x08;
const CMAP: u32 = 0x10;

/// The longest delay of an event in ms on a busy machine. A bug is still detected: a program that waits for a frozen corosync, or
/// that runs on without quorum, does so for as long as the test lasts.
const LATE_MS: u64 = 20_000;

/// Returns the CLOCK_MONOTONIC time in ms.
fn now_ms() -> u64 {
    sam::sys::clock::now().as_ns() / 1_000_000
}

/// Sleeps, so that an event that must not happen would have the time to happen.
fn watch_for(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

common::runner::tests![
    threads: Some(8),
    cmap::keys_follow_every_call_and_restart,
    cmap::program_built_for_corosyncs_libsam_runs_unchanged,
    cmap::last_updated_is_time_of_heartbeat_not_of_publication,
    cmap::instance_lost_without_restart_leaves_state_failed,
    cmap::orderly_end_removes_keys,
    cmap::end_after_sigterm_to_supervisor_removes_keys,
    cmap::keys_of_earlier_process_with_same_pid_are_replaced,
    cmap::policies_that_need_corosync_are_refused_without_it,
    cmap::failed_fork_of_first_instance_leaves_no_key_and_no_process,
    cmap::policies_that_need_client_libraries_are_not_supported_without_them,
    cmap::client_libraries_are_mapped_in_neither_instance_nor_supervisor,
    example::quorum_example_works_once_quorum_is_regained,
    outage::frozen_corosync_delays_no_recovery,
    outage::dead_corosync_delays_no_recovery,
    outage::restarted_corosync_gets_keys_of_running_programs_again,
    outage::frozen_corosync_leaves_last_quorum_state_in_force,
    outage::blocked_or_killed_cluster_helper_is_restarted,
    outage::end_while_corosync_is_frozen_is_published_after_thaw,
    outage::cluster_helper_holds_no_pipe_of_application_and_ends_with_supervisor,
    outage::frozen_corosync_makes_quorum_initialize_and_cmap_register_fail,
    partition::node_cut_off_loses_its_instance_in_time_and_others_keep_running,
    partition::hung_group_member_is_restarted_and_joins_again,
    quorum::start_waits_for_quorum_and_quorum_loss_kills_instance_despite_heartbeats,
    quorum::wait_for_quorum_asks_service_manager_for_time_and_ready_follows_the_start,
    quorum::quorum_loss_without_interval_kills_instance_after_a_second,
    quorum::warm_spare_that_takes_over_waits_for_quorum,
    quorum::quorum_loss_under_quit_ends_supervisor_with_instance,
    quorum::stop_in_handler_of_quorum_warning_cancels_kill,
    quorum::quorum_loss_does_not_affect_instance_that_is_not_started,
    quorum::instance_waiting_for_quorum_handles_signals_and_can_be_ended,
    quorum::death_of_corosync_counts_as_quorum_loss_until_it_is_restarted,
    run::sam_run_runs_program_on_the_quorate_side_only,
    run::sam_run_that_waits_for_quorum_starts_no_program_and_can_be_ended,
    run::sam_run_without_an_agent_shows_its_state_in_cmap,
    watchdog::program_that_is_not_started_is_not_reported,
    watchdog::program_that_waits_for_quorum_is_not_reported,
    watchdog::program_without_interval_and_heartbeats_is_not_reported,
    watchdog::program_that_stops_and_starts_health_checking_is_not_reported,
    watchdog::hang_under_quit_is_reported,
    watchdog::crash_under_quit_is_reported,
    watchdog::mark_failed_is_reported,
    cmap::start_stop_and_finalize_return_when_the_state_is_readable_or_after_a_second,
    quorum::initialize_causes_no_child_and_no_sigchld_in_the_program,
    quorum::initialize_works_while_other_threads_allocate_memory,
    quorum::failed_register_causes_no_sigchld,
];
