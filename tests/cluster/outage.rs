//! A corosync that hangs, dies and comes back. Supervision continues meanwhile. When corosync is back, the keys and the
//! quorum state are right.

use nix::sys::signal::Signal;

use crate::corosync::Node;
use crate::program::Program;
use crate::{CMAP, LATE_MS, QUIT, QUORUM, RESTART, now_ms, watch_for};

const INTERVAL_MS: u64 = 2000;

/// The ways in which corosync does not answer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outage {
    Frozen,
    Dead,
}

impl Outage {
    fn begin(self, node: &mut Node) {
        match self {
            Outage::Frozen => node.freeze(),
            Outage::Dead => node.kill(),
        }
    }

    fn end(self, node: &mut Node) {
        match self {
            Outage::Frozen => node.thaw(),
            Outage::Dead => node.start(),
        }
        node.wait_quorate(true);
    }
}

/// Starts a program with this policy, registered. Returns it and the pid of its supervisor.
fn register(node: &Node, policy: u32) -> (Program, i64) {
    let initialize = format!("initialize {INTERVAL_MS} {policy}");
    let mut program = Program::steps(&node.namespace, &[&initialize, "register"]);
    let supervisor = program.hear("supervisor").number;
    (program, supervisor)
}

/// Waits until cmap has all keys of a supervisor, with this state.
fn wait_for_state(node: &Node, supervisor: i64, state: &str) {
    let (key, value) = (format!("{supervisor}.state"), format!("(str) = {state}"));
    node.wait(&format!("the state {state:?} of {supervisor}"), || {
        let keys = node.keys("resources.process.");
        let whole = ["recovery", "poll_period", "last_updated"];
        keys.get(&key) == Some(&value)
            && whole.iter().all(|key| keys.contains_key(&format!("{supervisor}.{key}")))
    });
}

/// Checks that a crash leads to a restart, and silence to a warning and a restart, each in time, twice.
fn assert_supervised(program: &mut Program) {
    for _ in 0..2 {
        let begin = program.does("time").at_ms;
        program.tell("raise 11");
        let next = program.hear("register");
        assert!(
            next.at_ms < begin + LATE_MS,
            "restart after a crash took {} ms\n{program}",
            next.at_ms - begin
        );
        // With CMAP, sam_start may wait up to 1 s for corosync.
        let start = program.does("start");
        assert_eq!(start.number, 1, "{program}");
        assert!(
            start.at_ms < next.at_ms + 1000 + LATE_MS,
            "sam_start took {} ms\n{program}",
            start.at_ms - next.at_ms
        );

        program.do_all(&["note"]);
        let warned = program.hear("warned");
        let silent = warned.at_ms - start.at_ms;
        // The interval begins within sam_start, which may have waited for corosync after that.
        assert!(silent < INTERVAL_MS + LATE_MS, "warned {silent} ms after sam_start\n{program}");
        let next = program.hear("register");
        // The program may report the warning late.
        let took = next.at_ms - warned.at_ms;
        assert!(
            (INTERVAL_MS / 2..INTERVAL_MS + LATE_MS).contains(&took),
            "killed {took} ms after the warning\n{program}"
        );
        program.do_all(&["start", "beat"]);
    }
}

/// Checks that supervision continues during an outage, and that the keys are right after it.
fn supervision_goes_on(outage: Outage) {
    let mut node = Node::alone();
    let (mut program, supervisor) = register(&node, RESTART | CMAP);
    program.do_all(&["start", "beat"]);
    outage.begin(&mut node);
    assert_supervised(&mut program);
    let stop = program.does("time").at_ms;
    let stopped = {
        program.do_all(&["stop"]);
        program.does("time").at_ms
    };
    assert!(stopped < stop + 1000 + LATE_MS, "sam_stop took {} ms", stopped - stop);
    outage.end(&mut node);
    wait_for_state(&node, supervisor, "stopped");
    if outage == Outage::Dead {
        program.logs("connection to corosync lost");
        program.logs("connection to corosync regained");
    }
    program.do_all(&["start"]);
    wait_for_state(&node, supervisor, "running");
    program.do_all(&["silence", "stop"]);
    program.tell("exit 0");
    assert_eq!(program.ends(), 0);
    node.wait_for_no_keys();
}

pub fn frozen_corosync_delays_no_recovery() {
    supervision_goes_on(Outage::Frozen);
}

pub fn dead_corosync_delays_no_recovery() {
    supervision_goes_on(Outage::Dead);
}

pub fn restarted_corosync_gets_keys_of_running_programs_again() {
    let mut node = Node::alone();
    let (mut running, running_pid) = register(&node, RESTART | CMAP);
    running.do_all(&["start", "beat"]);
    let (_registered, registered_pid) = register(&node, QUIT | CMAP);
    let (mut over, over_pid) = register(&node, RESTART | CMAP);
    over.tell("exit 0");
    over.ends();
    node.kill();
    node.start();
    wait_for_state(&node, running_pid, "running");
    wait_for_state(&node, registered_pid, "stopped");
    assert!(!node.keys("resources.process.").contains_key(&format!("{over_pid}.state")));
    assert_eq!(node.failures(), [""; 0], "{}", node.log());
}

pub fn frozen_corosync_leaves_last_quorum_state_in_force() {
    let node = Node::alone();
    let (mut program, _) = register(&node, RESTART | QUORUM | CMAP);
    program.do_all(&["start", "beat"]);
    node.freeze();
    assert_supervised(&mut program);
    assert!(!program.text().contains("refused"), "{program}");
    node.thaw();
    node.lose_quorum();
    program.hear("register");
    program.tell("start");
    watch_for(1000);
    assert!(!program.has_said("start"), "{program}");
    node.regain_quorum();
    assert_eq!(program.hear("start").number, 1);
}

pub fn blocked_or_killed_cluster_helper_is_restarted() {
    let node = Node::alone();
    let (mut program, supervisor) = register(&node, RESTART | CMAP);
    program.do_all(&["start", "beat"]);
    let helper = cluster_helper(&node, supervisor).expect("the supervisor has a cluster helper");
    node.freeze();
    node.wait("another cluster helper", || {
        cluster_helper(&node, supervisor).is_some_and(|next| next != helper)
    });
    program.logs("no answer from corosync for ");
    node.thaw();
    program.do_all(&["stop"]);
    wait_for_state(&node, supervisor, "stopped");

    // The supervisor also replaces a cluster helper that dies.
    let helper = cluster_helper(&node, supervisor).expect("the supervisor has a cluster helper");
    node.namespace.signal(helper, Signal::SIGKILL);
    program.do_all(&["start"]);
    wait_for_state(&node, supervisor, "running");
    assert_ne!(cluster_helper(&node, supervisor), Some(helper));
}

pub fn end_while_corosync_is_frozen_is_published_after_thaw() {
    let node = Node::alone();
    let (mut clean, clean_pid) = register(&node, RESTART | CMAP);
    let (mut failed, failed_pid) = register(&node, QUIT | CMAP);
    for program in [&mut clean, &mut failed] {
        program.do_all(&["start", "beat"]);
    }
    let helpers = [clean_pid, failed_pid]
        .map(|pid| cluster_helper(&node, pid).expect("the supervisor has a cluster helper"));
    node.freeze();
    let begin = clean.does("time").at_ms;
    clean.do_all(&["silence", "stop"]);
    clean.tell("exit 0");
    assert_eq!(clean.ends(), 0);
    assert!(
        now_ms() < begin + 1000 + INTERVAL_MS + LATE_MS,
        "the end took {} ms while corosync was frozen",
        now_ms() - begin
    );
    failed.tell("raise 11");
    assert_eq!(failed.ends(), 128 + 11);
    node.thaw();
    wait_for_state(&node, failed_pid, "failed");
    node.wait("the keys to go", || node.keys("resources.process.").len() == 4);
    for helper in helpers {
        node.wait("the end of the cluster helper", || !node.namespace.lives(helper));
    }
}

/// Returns the pid of the cluster helper, which is the child of the supervisor named sam-corosync.
fn cluster_helper(node: &Node, supervisor: i64) -> Option<i32> {
    let read = |path: String| std::fs::read_to_string(node.namespace.path(&path)).unwrap_or_default();
    let children = read(format!("/proc/{supervisor}/task/{supervisor}/children"));
    let mut children = children.split_whitespace();
    children.find(|pid| read(format!("/proc/{pid}/comm")).trim() == "sam-corosync")?.parse().ok()
}

pub fn cluster_helper_holds_no_pipe_of_application_and_ends_with_supervisor() {
    let node = Node::alone();
    let (program, supervisor) = register(&node, RESTART | CMAP | QUORUM);
    let helper = cluster_helper(&node, supervisor).expect("the supervisor has a cluster helper");
    let folder = node.namespace.path(&format!("/proc/{helper}/fd"));
    for entry in std::fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        let target = std::fs::read_link(entry.path()).unwrap_or_default().display().to_string();
        assert!(
            !target.starts_with("pipe:"),
            "descriptor {:?} of the cluster helper is {target}",
            entry.file_name()
        );
    }
    node.namespace.signal(supervisor as i32, Signal::SIGKILL);
    node.wait("the end of the cluster helper", || !node.namespace.lives(helper));
    drop(program);
}

pub fn frozen_corosync_makes_quorum_initialize_and_cmap_register_fail() {
    let node = Node::alone();
    node.freeze();
    let mut program = Program::steps(&node.namespace, &[]);
    assert_eq!(program.does(&format!("initialize 1000 {}", RESTART | QUORUM)).number, 5, "{program}");
    assert_eq!(program.does(&format!("initialize 1000 {}", RESTART | CMAP)).number, 1);
    assert_eq!(program.does("register").number, 9, "{program}");
    node.thaw();
    program.do_all(&["register", "start"]);
}
