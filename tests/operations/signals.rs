//! Signals to the supervisor, signals that the supervisor may not send, and the log lines about both.

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};

use crate::common::{
    Built, Ended, Library, Outcome, Program, Running,
    machine::{Ability, require},
};
use crate::{PATIENCE, start};

fn start_program(command: &[&str], variables: &[(&str, &str)]) -> Running {
    let program = Program::new(Built::WithOurs, command);
    let mut command = program.command(Library::Ours);
    command.envs(variables.iter().copied());
    program.start_as(command)
}

fn supervisor(program: &Running) -> Pid {
    Pid::from_raw(program.pid() as i32)
}

/// Returns the number of log lines that end with `end`.
fn count_lines(outcome: &Outcome, end: &str) -> usize {
    outcome.errors().iter().filter(|line| line.ends_with(end)).count()
}

pub fn signals_during_restart_delay_reach_next_instance_once_it_is_started() {
    let outcome =
        start_program(&["held_signals", "start"], &[("SAM_RESTART_DELAY", "3000")]).finish(PATIENCE);
    outcome.expect(Ended::Exit(3), &["instance 1", "instance 2", "SIGUSR1: 1, values 10 20 30"]);
    assert_eq!(count_lines(&outcome, ", and none will get it"), 0, "{outcome}");
}

pub fn signals_for_instance_that_ends_before_it_is_started_are_dropped_and_logged() {
    let outcome = start_program(&["held_signals", "end"], &[("SAM_RESTART_DELAY", "3000")]).finish(PATIENCE);
    outcome.expect(Ended::Exit(4), &["instance 1", "instance 2"]);
    let line = "dropped SIGUSR1: no instance was ready when it arrived, and none will get it";
    assert_eq!(count_lines(&outcome, line), 1, "{outcome}");
    assert_eq!(count_lines(&outcome, ", and none will get it"), 4, "{outcome}");
}

pub fn termination_signal_that_the_program_survives_is_logged_and_shown_by_sam_status() {
    let program = start(&["0", "hang"], &[]);
    let pid = program.wait_for("# pid of 1 ");
    super::status::listed_when(&program, |one| one["state"] == "running");
    kill(supervisor(&program), Signal::SIGTERM).unwrap();
    let line = program.wait_for_error("no restart will follow");
    assert!(
        line.ends_with(&format!(
            "stopping: SIGTERM from process {} passed on to instance 1 (pid {pid}), no restart will follow when it ends",
            std::process::id()
        )),
        "{line}"
    );
    let (one, code) = super::status::listed_when(&program, |one| one["state"] == "told to end");
    assert_eq!((one["well"].as_bool(), code), (Some(false), 1), "{one}");
    kill(supervisor(&program), Signal::SIGTERM).unwrap();
    kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
    let outcome = program.finish(PATIENCE);
    outcome.expect(Ended::By(Signal::SIGKILL), &["instance 1"]);
    assert_eq!(count_lines(&outcome, "no restart will follow when it ends"), 1, "{outcome}");
}

pub fn sigterm_for_the_whole_group_reaches_the_instance_once_when_forwarding_is_off() {
    let program = start_program(&["count_terms"], &[("SAM_FORWARD_SIGNALS", "0")]);
    program.wait_for("# ready ");
    killpg(supervisor(&program), Signal::SIGTERM).unwrap();
    // The end is final also without forwarding.
    program.finish(PATIENCE).expect(Ended::Exit(3), &["SIGTERM: 1"]);
}

pub fn sigterm_for_the_supervisor_alone_makes_the_end_final_also_when_forwarding_is_off() {
    let program = start_program(&["count_terms"], &[("SAM_FORWARD_SIGNALS", "0")]);
    let pid = program.wait_for("# ready ");
    kill(supervisor(&program), Signal::SIGTERM).unwrap();
    program.wait_for_error(&format!(
        "not passed on to instance 1 (pid {pid}) (SAM_FORWARD_SIGNALS=0), no restart"
    ));
    kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
    program.finish(PATIENCE).expect(Ended::By(Signal::SIGKILL), &[]);
}

pub fn sigterm_for_the_supervisor_alone_is_forwarded_by_default() {
    for variables in [&[][..], &[("SAM_FORWARD_SIGNALS", "1")]] {
        let program = start_program(&["count_terms"], variables);
        program.wait_for("# ready ");
        kill(supervisor(&program), Signal::SIGTERM).unwrap();
        program.finish(PATIENCE).expect(Ended::Exit(3), &["SIGTERM: 1"]);
    }
}

pub fn kill_that_is_refused_is_logged_once() {
    require(&[Ability::OtherUser]);
    let outcome = start_program(&["kill_refused"], &[]).finish(PATIENCE);
    outcome.expect(Ended::Exit(3), &["instance 1", "lives", "instance 2"]);
    assert_eq!(
        outcome.errors().iter().filter(|line| line.contains("Operation not permitted")).count(),
        1,
        "{outcome}"
    );
}

pub fn daemon_of_helper_forked_before_sam_register_outlives_kill_group() {
    for standby in ["0", "1"] {
        let variables = [("SAM_KILL_GROUP", "1"), ("SAM_STANDBY", standby)];
        let outcome = start_program(&["helper_daemon"], &variables).finish(PATIENCE);
        outcome.expect(Ended::Exit(0), &["the helper's daemon: there", "the instance's orphan: gone"]);
    }
}
