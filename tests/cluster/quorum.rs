//! The QUORUM policies: instances run only while their partition is quorate.

use std::{fs, os::unix::net::UnixDatagram, time::Duration};

use nix::sys::signal::Signal::{SIGTERM, SIGUSR1};

use crate::common::{Built, build};
use crate::corosync::Node;
use crate::namespace::Namespace;
use crate::program::Program;
use crate::{CMAP, LATE_MS, QUIT, QUORUM, RESTART, watch_for};

/// Starts a program with this interval in ms and this policy, registered.
fn register(node: &Node, interval: u64, policy: u32) -> Program {
    Program::steps(&node.namespace, &[&format!("initialize {interval} {policy}"), "register"])
}

/// Checks the time from a line of the program to an action of the supervisor, in ms. Both may be late.
fn assert_takes(begin_ms: u64, end_ms: u64, expected_ms: u64, program: &Program) {
    let took_ms = end_ms - begin_ms;
    assert!(
        (expected_ms / 2..expected_ms + LATE_MS).contains(&took_ms),
        "killed {took_ms} ms after the warning, expected about {expected_ms} ms\n{program}"
    );
}

pub fn start_waits_for_quorum_and_quorum_loss_kills_instance_despite_heartbeats() {
    let node = Node::alone();
    node.lose_quorum();
    let mut program = register(&node, 2000, RESTART | QUORUM);
    program.tell("start");
    watch_for(3000);
    assert!(!program.has_said("start"), "{program}");
    node.regain_quorum();
    assert_eq!(program.hear("start").number, 1);

    program.do_all(&["note", "beat"]);
    node.lose_quorum();
    let warned = program.hear("warned");
    assert_eq!(warned.number, i64::from(SIGTERM as i32));
    let next = program.hear("register");
    assert_takes(warned.at_ms, next.at_ms, 2000, &program);
    assert!(!program.has_said("warned"), "the instance was warned twice\n{program}");
    program.logs("quorum lost");
    program.logs("must not run without quorum, sent SIGTERM");
    program.logs("after the loss of quorum and SIGTERM, sent SIGKILL");

    program.tell("start");
    watch_for(3000);
    assert!(!program.has_said("start"), "{program}");
    node.regain_quorum();
    let start = program.hear("start");
    assert_eq!((start.number, start.pid), (1, next.pid), "{program}");
    program.logs("quorum regained");
}

/// With SAM_NOTIFY=ready.
pub fn wait_for_quorum_asks_service_manager_for_time_and_ready_follows_the_start() {
    let node = Node::alone();
    node.lose_quorum();
    let folder = std::env::temp_dir().join(format!("libsam-{}-quorum-notify", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut messages = vec![];
    let mut receive_until = |text: &str| {
        while !messages.last().is_some_and(|message: &String| message.starts_with(text)) {
            let mut buffer = [0; 4096];
            let length = manager.recv(&mut buffer).unwrap_or_else(|error| panic!("{error}: {messages:#?}"));
            messages.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        std::mem::take(&mut messages)
    };
    let socket = format!("NOTIFY_SOCKET={}", path.display());
    let words = ["env", "SAM_NOTIFY=ready", &socket];
    let mut program = Program::start_under(&node.namespace, &words, &build(Built::WithOurs, "steps"));
    program.do_all(&[&format!("initialize 1000 {}", RESTART | QUORUM), "register"]);
    program.tell("start");
    let waiting = receive_until("EXTEND_TIMEOUT_USEC=30000000");
    assert!(waiting[waiting.len() - 2].starts_with("STATUS=waiting for quorum: instance 1"), "{waiting:#?}");
    assert!(!program.has_said("start"), "{program}");
    node.regain_quorum();
    assert_eq!(program.hear("start").number, 1);
    let ready = receive_until("READY=1");
    assert!(waiting.iter().chain(&ready[..ready.len() - 1]).all(|message| !message.contains("READY")));
    fs::remove_dir_all(&folder).unwrap();
}

pub fn quorum_loss_without_interval_kills_instance_after_a_second() {
    let node = Node::alone();
    let mut program = register(&node, 0, RESTART | QUORUM);
    program.do_all(&["start", "note"]);
    node.lose_quorum();
    let warned = program.hear("warned");
    let next = program.hear("register");
    assert_takes(warned.at_ms, next.at_ms, 1000, &program);
}

pub fn warm_spare_that_takes_over_waits_for_quorum() {
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

pub fn quorum_loss_under_quit_ends_supervisor_with_instance() {
    let node = Node::alone();
    let mut program = register(&node, 1500, QUIT | QUORUM);
    program.do_all(&["start", "note", "beat"]);
    node.lose_quorum();
    assert_eq!(program.ends(), 128 + 9, "{program}");
}

pub fn stop_in_handler_of_quorum_warning_cancels_kill() {
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

pub fn quorum_loss_does_not_affect_instance_that_is_not_started() {
    let node = Node::alone();
    let mut program = register(&node, 300, RESTART | QUORUM);
    program.does("note");
    node.lose_quorum();
    watch_for(900);
    program.does("silence");
    assert!(!program.text().contains("warned"), "{program}");
}

pub fn instance_waiting_for_quorum_handles_signals_and_can_be_ended() {
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

pub fn death_of_corosync_counts_as_quorum_loss_until_it_is_restarted() {
    let mut node = Node::alone();
    let mut program = register(&node, 2000, RESTART | QUORUM);
    program.do_all(&["start", "note", "beat"]);
    node.kill();
    let warned = program.hear("warned");
    let next = program.hear("register");
    assert_takes(warned.at_ms, next.at_ms, 2000, &program);
    program.tell("start");
    node.start();
    node.wait_quorate(true);
    assert_eq!(program.hear("start").number, 1);
}

/// Runs `c-tests/unseen_child.c`, which reports every child and every SIGCHLD that it sees. Expects none, and returns
/// the code that `call` returned.
fn sees_no_child(namespace: &Namespace, environment: &[&str], call: &str) -> i64 {
    let mut program = Program::start_under(namespace, environment, &build(Built::WithOurs, "unseen_child"));
    let code = program.hear(call).number;
    let signals = program.hear("signals").number;
    let children = program.hear("children").number;
    assert_eq!(
        (signals, children),
        (0, 0),
        "numbers of SIGCHLD and of children that the program saw: {program}"
    );
    assert_eq!(program.ends(), 0, "{program}");
    code
}

pub fn initialize_causes_no_child_and_no_sigchld_in_the_program() {
    let node = Node::alone();
    for environment in [&[][..], &["SUBREAPER=1"]] {
        assert_eq!(sees_no_child(&node.namespace, environment, "initialize"), 1);
    }
    node.freeze();
    // 5 is CS_ERR_TIMEOUT.
    assert_eq!(sees_no_child(&node.namespace, &["SUBREAPER=1"], "initialize"), 5);
}

pub fn initialize_works_while_other_threads_allocate_memory() {
    let namespace = Namespace::new();
    assert_eq!(sees_no_child(&namespace, &["CALLS=100"], "initialize"), 2, "CS_ERR_LIBRARY from libquorum");
}

pub fn failed_register_causes_no_sigchld() {
    let namespace = Namespace::new();
    assert_eq!(sees_no_child(&namespace, &["REGISTER=1"], "register"), 9);
}
