//! A root supervisor with hostile instances that run as user nobody. They write garbage to all memory shared with the
//! supervisor, and flood it with signals and children. The supervisor keeps running, signals only its instance, uses
//! little processor time, and ends silent instances on time. The next instance starts whatever it finds in the data
//! store.

mod common;

use std::{process::Command, thread, time::Duration};

use common::{
    Built,
    Ended::{By, ByRealTime, Exit},
    Library, Outcome, PATIENCE, Program, Running,
    machine::{Ability, require},
    prefix,
};

/// The interval of `c-tests/hostile.c`.
const INTERVAL: Duration = Duration::from_millis(100);

/// The time for which each instance does harm.
const HARM: Duration = Duration::from_secs(4);

/// Runs hostile instances and returns the outcome. Fails if they left a process behind.
fn run(harm: &str, seed: u64, time: Duration) -> Outcome {
    let command = ["hostile", harm, &seed.to_string(), &time.as_millis().to_string()];
    let outcome = Program::new(Built::WithOurs, &command).run(Library::Ours);
    assert!(outcome.left_behind.is_empty(), "seed {seed}: {outcome}");
    outcome
}

/// Returns `true` if the instances reached their hang, and if the supervisor then replaced the hung instance on time.
fn was_replaced(seed: u64, outcome: &Outcome) -> bool {
    let said = outcome.says();
    let expected = ["hangs", "instance after the hang", "new data"];
    if !said.starts_with(&expected[..1]) {
        return false;
    }
    // Before its hang the instance restores the page as it was after sam_start: started and silent.
    assert!(said == expected && outcome.ended == Exit(0), "seed {seed}: {outcome}");
    let time = outcome.time_after("hangs");
    assert!(
        time < 3 * INTERVAL + Duration::from_secs(20),
        "seed {seed}: hung instance replaced only after {time:?}: {outcome}"
    );
    true
}

fn garbage_from_unprivileged_instances_does_not_stop_root_supervisor() {
    const SEEDS: u64 = 24;
    require(&[Ability::OtherUser]);
    let outcomes: Vec<_> = thread::scope(|scope| {
        let start = |seed| scope.spawn(move || (seed, run("words", seed, HARM)));
        let running: Vec<_> = (1..=SEEDS).map(start).collect();
        running.into_iter().map(|one| one.join().expect("no thread panics")).collect()
    });
    let mut replaced = 0;
    for (seed, outcome) in outcomes {
        if was_replaced(seed, &outcome) {
            replaced += 1;
        } else {
            // The garbage ended the recovery: the instance was killed, or warned by a deadly signal that the garbage
            // named, while its page said that health checking was stopped.
            let by_signal = matches!(outcome.ended, By(_) | ByRealTime(_));
            assert!(by_signal && outcome.says().is_empty(), "seed {seed}: {outcome}");
        }
        let (busy, lived) = (outcome.note("processor"), outcome.lived.as_millis() as i64);
        assert!(
            busy * 20 < lived,
            "seed {seed}: the supervisor used {busy} ms of processor time in {lived} ms: {outcome}"
        );
    }
    println!("{replaced} of {SEEDS} programs reached the hang after {HARM:?}");
    assert!(replaced > 0, "no program reached the hang");
}

fn flood_of_signals_and_children_does_not_delay_restart() {
    require(&[Ability::OtherUser]);
    let outcome = run("signals", 1, Duration::from_secs(1));
    assert!(was_replaced(1, &outcome), "{outcome}");
}

/// Starts an instance as user nobody that looks for pages of its supervisor.
fn reach(aim: &str, variables: &[(&str, &str)]) -> Running {
    require(&[Ability::OtherUser]);
    let program = Program::new(Built::WithOurs, &["reach_pages", aim]);
    let mut command = program.command(Library::Ours);
    command.envs(variables.iter().copied());
    program.start_as(command)
}

fn instance_as_nobody_cannot_forge_what_sam_status_shows_root() {
    let program = reach("forge", &[]);
    let reached = program.wait_for("reached ");
    let mut status = Command::new(prefix().join("bin/sam-status"));
    let output = status.args(["--json", &program.pid().to_string()]).output().expect("run sam-status");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        shown.contains(r#""program":"reach_pages""#) && shown.contains(r#""state":"running""#),
        "the instance reached {reached}; sam-status shows {shown}"
    );
    assert_eq!(reached, "nothing");
}

fn instance_as_nobody_cannot_send_heartbeats_for_a_hung_successor() {
    let program = reach("revive", &[("SAM_STANDBY", "0")]);
    program.finish(PATIENCE).expect(Exit(0), &["instance 1", "instance 2", "hangs", "instance 3"]);
}

fn instance_as_nobody_cannot_release_the_spare() {
    let program = reach("release", &[("SAM_STANDBY", "1")]);
    program.finish(PATIENCE).expect(Exit(0), &["instance 1", "reached nothing"]);
}

fn page_that_names_a_process_of_another_user_does_not_get_that_process_adopted() {
    require(&[Ability::OtherUser]);
    for standby in ["0", "1"] {
        let program = Program::new(Built::WithOurs, &["forged_claim"]);
        let mut command = program.command(Library::Ours);
        command.env("SAM_STANDBY", standby);
        let outcome = program.start_as(command).finish(PATIENCE);
        let instances: Vec<String> = (1..=7).map(|id| format!("instance {id}")).collect();
        let instances: Vec<&str> = instances.iter().map(String::as_str).collect();
        outcome.expect(Exit(0), &instances);
        let adopted = outcome.errors().iter().any(|line| line.contains("is supervised in its place"));
        assert!(!adopted, "the supervisor adopted a process of another user: {outcome}");
    }
}

common::runner::tests![
    garbage_from_unprivileged_instances_does_not_stop_root_supervisor,
    flood_of_signals_and_children_does_not_delay_restart,
    instance_as_nobody_cannot_forge_what_sam_status_shows_root,
    instance_as_nobody_cannot_send_heartbeats_for_a_hung_successor,
    instance_as_nobody_cannot_release_the_spare,
    page_that_names_a_process_of_another_user_does_not_get_that_process_adopted,
];
