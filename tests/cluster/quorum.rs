//! Running only while the partition is quorate.

use nix::sys::signal::Signal::{SIGTERM, SIGUSR1};

use crate::common::{Built, build};
use crate::corosync::Node;
use crate::namespace::Namespace;
use crate::program::Program;
use crate::{CMAP, LATE, QUIT, QUORUM, RESTART, watch_for};

fn register(node: &Node, interval: u64, policy: u32) -> Program {
    Program::steps(&node.namespace, &[&format!("initialize {interval} {policy}"), "register"])
}

/// From what a program said to what the supervisor did; both may be late.
fn assert_takes(begin: u64, end: u64, expected: u64, program: &Program) {
    let took = end - begin;
    assert!((expected / 2..expected + LATE).contains(&took), "{took} ms, not {expected}\n{program}");
}

pub fn start_waits_for_quorum_and_loss_ends_the_instance_whatever_it_sends() {
    let node = Node::alone();
    node.lose_quorum();
    let mut program = register(&node, 1000, RESTART | QUORUM);
    program.tell("start");
    watch_for(1500);
    assert!(!program.has_said("start"), "{program}");
    node.regain_quorum();
    assert_eq!(program.hear("start").number, 1);

    program.do_all(&["note", "beat"]);
    node.lose_quorum();
    let warned = program.hear("warned");
    assert_eq!(warned.number, i64::from(SIGTERM as i32));
    let next = program.hear("register");
    assert_takes(warned.at, next.at, 1000, &program);
    assert!(!program.has_said("warned"), "once is enough\n{program}");
    program.logs("quorum lost");
    program.logs("must not run without quorum, sent SIGTERM");
    program.logs("ran on without quorum, killed");

    program.tell("start");
    watch_for(1500);
    assert!(!program.has_said("start"), "{program}");
    node.regain_quorum();
    let start = program.hear("start");
    assert_eq!((start.number, start.pid), (1, next.pid), "{program}");
    program.logs("quorum regained");
}

pub fn without_an_interval_an_instance_outlives_quorum_by_a_second() {
    let node = Node::alone();
    let mut program = register(&node, 0, RESTART | QUORUM);
    program.do_all(&["start", "note"]);
    node.lose_quorum();
    let warned = program.hear("warned");
    let next = program.hear("register");
    assert_takes(warned.at, next.at, 1000, &program);
}

pub fn a_warm_spare_waits_for_quorum_as_well() {
    let node = Node::alone();
    let steps = build(Built::WithOurs, "steps");
    let mut program = Program::start_under(&node.namespace, &["SAM_STANDBY=1"], &steps);
    program.do_all(&[&format!("initialize 3000 {}", RESTART | QUORUM | CMAP), "register"]);
    for _ in 0..2 {
        program.do_all(&["start", "note", "beat"]);
        node.lose_quorum();
        program.hear("register");
        program.tell("start");
        watch_for(1000);
        assert!(!program.has_said("start"), "{program}");
        node.regain_quorum();
        assert_eq!(program.hear("start").number, 1);
        program.tell("raise 9");
        program.hear("register");
    }
}

pub fn under_quit_the_supervisor_ends_with_the_instance() {
    let node = Node::alone();
    let mut program = register(&node, 1500, QUIT | QUORUM);
    program.do_all(&["start", "note", "beat"]);
    node.lose_quorum();
    assert_eq!(program.ends(), 128 + 9, "{program}");
}

pub fn stopping_in_the_warning_calls_it_off() {
    let node = Node::alone();
    let mut program = register(&node, 1500, RESTART | QUORUM);
    program.do_all(&["start"]);
    program.does("obey");
    program.do_all(&["beat"]);
    node.lose_quorum();
    let stopped = program.hear("stopped");
    assert_eq!(stopped.number, 1);
    program.tell("start");
    watch_for(1200);
    assert!(!program.has_said("start"), "{program}");
    node.regain_quorum();
    let start = program.hear("start");
    assert_eq!((start.number, start.pid), (1, stopped.pid), "{program}");
}

pub fn who_is_not_started_is_left_alone() {
    let node = Node::alone();
    let mut program = register(&node, 300, RESTART | QUORUM);
    program.does("note");
    node.lose_quorum();
    watch_for(900);
    program.does("silence");
    assert!(!program.text().contains("warned"), "{program}");
}

pub fn an_instance_that_waits_takes_signals_and_can_be_ended() {
    let node = Node::alone();
    node.lose_quorum();
    let mut program = register(&node, 1000, RESTART | QUORUM | CMAP);
    let instance = program.does("answer").pid;
    let supervisor = program.does("parent").number as i32;
    program.tell("start");
    let key = format!("{supervisor}.state");
    node.wait("the state in cmap", || {
        let keys = node.keys("resources.process.");
        keys.get(&key).is_some_and(|state| state == "(str) = waiting for quorum")
    });
    node.namespace.signal(instance, SIGUSR1);
    assert_eq!(program.hear("answered").number, 1);
    node.namespace.signal(supervisor, SIGTERM);
    assert_eq!(program.ends(), 128 + SIGTERM as i32, "{program}");
}

pub fn corosync_gone_is_quorum_lost_and_its_return_is_noticed() {
    let mut node = Node::alone();
    let mut program = register(&node, 1500, RESTART | QUORUM);
    program.do_all(&["start", "note", "beat"]);
    node.kill();
    let warned = program.hear("warned");
    let next = program.hear("register");
    assert_takes(warned.at, next.at, 1500, &program);
    program.tell("start");
    node.start();
    node.wait_quorate(true);
    assert_eq!(program.hear("start").number, 1);
}

/// Runs `c-tests/unseen_child.c`, which reports every child and every SIGCHLD that it sees. Returns what `call` returned
/// first.
fn sees_no_child(namespace: &Namespace, environment: &[&str], call: &str) -> i64 {
    let mut program = Program::start_under(namespace, environment, &build(Built::WithOurs, "unseen_child"));
    let code = program.hear(call).number;
    let signals = program.hear("signals").number;
    let children = program.hear("children").number;
    assert_eq!((signals, children), (0, 0), "SIGCHLDs and children that the program saw: {program}");
    assert_eq!(program.ends(), 0, "{program}");
    code
}

pub fn initialize_shows_the_program_no_child_and_no_sigchld() {
    let node = Node::alone();
    for environment in [&[][..], &["SUBREAPER=1"]] {
        assert_eq!(sees_no_child(&node.namespace, environment, "initialize"), 1);
    }
    node.freeze();
    // CS_ERR_TIMEOUT.
    assert_eq!(sees_no_child(&node.namespace, &["SUBREAPER=1"], "initialize"), 5);
}

pub fn initialize_works_while_other_threads_make_and_free_memory() {
    let namespace = Namespace::new();
    assert_eq!(sees_no_child(&namespace, &["CALLS=100"], "initialize"), 2, "what libquorum says");
}

pub fn a_register_that_fails_leaves_no_sigchld() {
    let namespace = Namespace::new();
    assert_eq!(sees_no_child(&namespace, &["REGISTER=1"], "register"), 9);
}
