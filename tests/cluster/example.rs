//! The quorum example, run as a user would run it.

use crate::common::tools::{Scratch, build_example};
use crate::corosync::Node;
use crate::program::Program;
use crate::watch_for;

pub fn quorum_example_works_once_quorum_is_regained() {
    let scratch = Scratch::new("quorum");
    let binary = build_example(&scratch, &["gcc", "-std=c11", "-D_GNU_SOURCE"], "quorum.c");
    let node = Node::alone();
    node.lose_quorum();
    let mut program = Program::start(&node.namespace, &binary);
    program.logs("instance 1 waits for quorum");
    watch_for(1000);
    assert!(!program.text().contains("works"), "{program}");

    node.regain_quorum();
    program.logs("instance 1 works");
    assert_eq!(program.ends(), 0, "{program}");
}
