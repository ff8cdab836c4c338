//! corosync's watchdog service resets the machine for a failed resource: it must not be told of one that only
//! waits, and must be told of one that was lost.

use crate::corosync::Node;
use crate::program::Program;
use crate::{CMAP, QUIT, QUORUM, RESTART, watch_for};

/// The steps, then nothing for so many ms: the watchdog service must not mind.
fn assert_unsuspected(node: &Node, steps: &[&str], ms: u64) {
    let mut program = Program::steps(&node.namespace, &steps[..2]);
    for step in &steps[2..] {
        program.tell(step);
    }
    watch_for(ms);
    assert_eq!(node.failures(), [""; 0], "{steps:?}\n{}", node.log());
    let supervisor = program.hear("supervisor").number as i32;
    assert!(node.namespace.lives(supervisor), "{program}");
    let keys = node.keys("resources.process.");
    assert!(keys.contains_key(&format!("{supervisor}.state")), "{keys:?}");
}

pub fn registered_and_not_started_is_no_failure() {
    let node = Node::alone();
    assert_unsuspected(&node, &[&format!("initialize 1000 {}", QUIT | CMAP), "register"], 10_000);
}

pub fn waiting_for_quorum_is_no_failure() {
    let node = Node::alone();
    node.lose_quorum();
    let initialize = format!("initialize 1000 {}", QUIT | CMAP | QUORUM);
    assert_unsuspected(&node, &[&initialize, "register", "start"], 10_000);
}

pub fn idling_without_an_interval_is_no_failure() {
    let node = Node::alone();
    assert_unsuspected(&node, &[&format!("initialize 0 {}", QUIT | CMAP), "register", "start"], 15_000);
}

pub fn stopped_and_started_again_with_heartbeats_is_no_failure() {
    let node = Node::alone();
    let mut program =
        Program::steps(&node.namespace, &[&format!("initialize 1000 {}", QUIT | CMAP), "register"]);
    program.do_all(&["start", "beat"]);
    watch_for(3000);
    program.do_all(&["silence", "stop"]);
    watch_for(3000);
    program.do_all(&["start", "beat"]);
    watch_for(3000);
    assert_eq!(node.failures(), [""; 0], "{}", node.log());
    program.do_all(&["silence", "stop", "start", "stop"]);
    program.tell("exit 0");
    assert_eq!(program.ends(), 0);
    watch_for(2000);
    assert_eq!(node.failures(), [""; 0], "{}", node.log());
}

/// The watchdog service has to report it.
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

pub fn a_hang_under_quit_is_reported() {
    assert_reported(QUIT, &["note", "start"]);
}

pub fn a_crash_under_quit_is_reported() {
    assert_reported(QUIT, &["start", "raise 11"]);
}

pub fn mark_failed_is_reported() {
    assert_reported(RESTART, &["start", "mark_failed"]);
}
