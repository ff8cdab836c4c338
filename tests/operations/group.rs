//! SAM_KILL_GROUP: the processes that a dead instance leaves behind.

use std::path::Path;

use crate::PATIENCE;
use crate::common::{Built, Ended, Library, Outcome, Program};

/// Runs instances that crash and leave children behind.
fn leave_children(variables: &[(&str, &str)]) -> Outcome {
    let program = Program::new(Built::WithOriginal, &["leave_children"]);
    let mut command = program.command(Library::Ours);
    command.envs(variables.iter().copied());
    program.start_as(command).finish(PATIENCE)
}

pub fn kill_group_ends_leftover_processes_before_next_instance() {
    // A warm spare is also a child of the supervisor, but no instance left it behind.
    for standby in ["0", "1"] {
        let outcome = leave_children(&[("SAM_KILL_GROUP", "1"), ("SAM_STANDBY", standby)]);
        outcome.expect(
            Ended::Exit(1),
            &[
                "instance 1: 0 left, the early one is there",
                "instance 2: 0 left, the early one is there",
                "instance 3: 0 left, the early one is there",
            ],
        );
        let errors = outcome.errors();
        for id in 1..=3 {
            let line = format!("ended 2 processes that instance {id} left behind (SAM_KILL_GROUP)");
            assert!(errors.iter().any(|error| error.ends_with(&line)), "{outcome}");
        }
    }
}

pub fn leftover_processes_live_on_without_kill_group() {
    for variables in [&[][..], &[("SAM_KILL_GROUP", "0")]] {
        let outcome = leave_children(variables);
        assert_eq!(
            outcome.says(),
            [
                "instance 1: 0 left, the early one is there",
                "instance 2: 2 left, the early one is there",
                "instance 3: 2 left, the early one is there",
            ],
            "{outcome}"
        );
        assert_eq!(outcome.left_behind.len(), 6, "{outcome}");
        let last = outcome.note("left by 3:");
        assert!(
            !Path::new(&format!("/proc/{last}")).exists(),
            "the test driver did not end process {last}: {outcome}"
        );
    }
}
