//! corosync's watchdog service, which resets the machine when a resource fails. It must not see a failure while a
//! program only waits, and it must see the loss of a program.

use crate::corosync::Node;
use crate::program::Program;
use crate::{CMAP, QUIT, QUORUM, RESTART, watch_for};

/// Executes the steps and then waits. Fails if the watchdog service reports a failure.
fn assert_not_reported(node: &Node, steps: &[&str], wait_ms: u64) {
    let mut program = Program::steps(&node.namespace, &steps[..2]);
    for step in &steps[2..] {
        program.tell(step);
    }
    watch_for(wait_ms);
    assert_eq!(node.failures(), [""; 0], "{steps:?}\n{}", node.log());
    let supervisor = program.hear("supervisor").number as i32;
    assert!(node.namespace.lives(supervisor), "{program}");
    let keys = node.keys("resources.process.");
    assert!(keys.contains_key(&format!("{supervisor}.state")), "{keys:?}");
}

pub fn program_that_is_not_started_is_not_reported() {
    let node = Node::alone();
    assert_not_reported(&node, &[&format!("initialize 1000 {}", QUIT | CMAP), "register"], 10_000);
}

pub fn program_that_waits_for_quorum_is_not_reported() {
    let node = Node::alone();
    node.lose_quorum();
    let initialize = format!("initialize 1000 {}", QUIT | CMAP | QUORUM);
    assert_not_reported(&node, &[&initialize, "register", "start"], 10_000);
}

pub fn program_without_interval_and_heartbeats_is_not_reported() {
    let node = Node::alone();
    assert_not_reported(&node, &[&format!("initialize 0 {}", QUIT | CMAP), "register", "start"], 15_000);
}

pub fn program_that_stops_and_starts_health_checking_is_not_reported() {
    let node = Node::alone();
    let mut program =
        Program::steps(&node.namespace, &[&format!("initialize 2000 {}", QUIT | CMAP), "register"]);
    program.do_all(&["start", "beat"]);
    watch_for(5000);
    program.do_all(&["silence", "stop"]);
    watch_for(5000);
    program.do_all(&["start", "beat"]);
    watch_for(5000);
    assert_eq!(node.failures(), [""; 0], "{}", node.log());
    program.do_all(&["silence", "stop", "start", "stop"]);
    program.tell("exit 0");
    assert_eq!(program.ends(), 0);
    watch_for(2000);
    assert_eq!(node.failures(), [""; 0], "{}", node.log());
}

/// Executes the steps, and waits until the watchdog service reports a failure.
fn assert_reported(policy: u32, steps: &[&str]) {
    let node = Node::alone();
    let mut program =
        Program::steps(&node.namespace, &[&format!("initialize 1000 {}", policy | CMAP), "register"]);
    let supervisor = program.hear("supervisor").number;
    for step in steps {
        program.tell(step);
    }
    program.ends();
    let report = format!("resource \"{supervisor}\" failed!");
    node.wait(&report, || node.log().contains(&report));
}

pub fn hang_under_quit_is_reported() {
    assert_reported(QUIT, &["note", "start"]);
}

pub fn crash_under_quit_is_reported() {
    assert_reported(QUIT, &["start", "raise 11"]);
}

pub fn mark_failed_is_reported() {
    assert_reported(RESTART, &["start", "mark_failed"]);
}
