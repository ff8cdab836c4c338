//! What a dead instance leaves behind: SAM_KILL_GROUP.

use std::path::Path;

use crate::PATIENCE;
use crate::common::{Built, Ended, Library, Outcome, Program};

fn leave_children(variables: &[(&str, &str)]) -> Outcome {
    let program = Program::new(Built::WithOriginal, &["leave_children"]);
    let mut command = program.command(Library::Ours);
    command.envs(variables.iter().copied());
    program.start_as(command).finish(PATIENCE)
}

pub fn what_a_dead_instance_left_behind_ends_before_the_next_begins() {
    // A spare is a child of the supervisor, too, and left by nobody.
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
            let line = format!("ended 2 processes that instance {id} left behind");
            assert!(errors.iter().any(|error| error.ends_with(&line)), "{outcome}");
        }
    }
}

pub fn children_are_nobodys_business_unless_that_is_asked_for() {
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
        assert!(!Path::new(&format!("/proc/{last}")).exists(), "the test has ended it: {outcome}");
    }
}
