//! A supervisor that is root, with instances as nobody that write rubbish to all memory that they share with it, and
//! give it signals and children to deal with: it goes on, signals nobody but its instance, has little to do, and ends
//! on time who falls silent; and the next instance does not mind what it finds.

mod common;

use std::{process::Command, thread, time::Duration};

use common::{
    Built,
    Ended::{By, ByRealTime, Exit},
    Library, Outcome, PATIENCE, Program, Running,
    machine::{Ability, require},
    prefix,
};

/// As in `c-tests/hostile.c`.
const INTERVAL: Duration = Duration::from_millis(100);

/// How long the instances do what harm they can.
const HARM: Duration = Duration::from_secs(4);

/// What such instances did.
fn run(harm: &str, seed: u64, time: Duration) -> Outcome {
    let command = ["hostile", harm, &seed.to_string(), &time.as_millis().to_string()];
    let outcome = Program::new(Built::WithOurs, &command).run(Library::Ours);
    assert!(outcome.left_behind.is_empty(), "seed {seed}: {outcome}");
    outcome
}

/// Whether the instances came as far as to fall silent, and all went well then.
fn was_replaced(seed: u64, outcome: &Outcome) -> bool {
    let said = outcome.says();
    let expected = ["hangs", "instance after the hang", "new data"];
    if !said.starts_with(&expected[..1]) {
        return false;
    }
    // The page as it was after sam_start says that it is started and silent.
    assert!(said == expected && outcome.ended == Exit(0), "seed {seed}: {outcome}");
    let time = outcome.time_after("hangs");
    assert!(time < 3 * INTERVAL + Duration::from_secs(20), "seed {seed}, replaced after {time:?}: {outcome}");
    true
}

fn rubbish_at_random_moments() {
    const SEEDS: u64 = 24;
    require(&[Ability::OtherUser]);
    let outcomes: Vec<_> = thread::scope(|scope| {
        let start = |seed| scope.spawn(move || (seed, run("words", seed, HARM)));
        let running: Vec<_> = (1..=SEEDS).map(start).collect();
        running.into_iter().map(|one| one.join().expect("see above")).collect()
    });
    let mut replaced = 0;
    for (seed, outcome) in outcomes {
        if was_replaced(seed, &outcome) {
            replaced += 1;
        } else {
            // Killed, or warned by a deadly signal that the rubbish names, while its page said that health checking
            // was stopped: then there is no recovery.
            let by_signal = matches!(outcome.ended, By(_) | ByRealTime(_));
            assert!(by_signal && outcome.says().is_empty(), "seed {seed}: {outcome}");
        }
        let (busy, lived) = (outcome.note("processor"), outcome.lived.as_millis() as i64);
        assert!(
            busy * 20 < lived,
            "seed {seed}: the supervisor was busy for {busy} of {lived} ms: {outcome}"
        );
    }
    println!("{replaced} of {SEEDS} instances fell silent after {HARM:?}");
    assert!(replaced > 0, "no instance came far enough to fall silent");
}

fn signals_and_children_without_end() {
    require(&[Ability::OtherUser]);
    let outcome = run("signals", 1, Duration::from_secs(1));
    assert!(was_replaced(1, &outcome), "{outcome}");
}

/// Starts an instance as nobody that looks for pages of its supervisor.
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
        "reached {reached}: {shown}"
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
        let program = Program::new(Built::WithOurs, &["name_heir"]);
        let mut command = program.command(Library::Ours);
        command.env("SAM_STANDBY", standby);
        let outcome = program.start_as(command).finish(PATIENCE);
        let instances: Vec<String> = (1..=7).map(|id| format!("instance {id}")).collect();
        let instances: Vec<&str> = instances.iter().map(String::as_str).collect();
        outcome.expect(Exit(0), &instances);
        let adopted = outcome.errors().iter().any(|line| line.contains("goes on in"));
        assert!(!adopted, "{outcome}");
    }
}

common::runner::tests![
    rubbish_at_random_moments,
    signals_and_children_without_end,
    instance_as_nobody_cannot_forge_what_sam_status_shows_root,
    instance_as_nobody_cannot_send_heartbeats_for_a_hung_successor,
    instance_as_nobody_cannot_release_the_spare,
    page_that_names_a_process_of_another_user_does_not_get_that_process_adopted,
];
