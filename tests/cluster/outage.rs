//! corosync hangs, dies and comes back: supervision goes on as if nothing had happened, and when it is back the keys
//! and the verdict on quorum are right.

use nix::sys::signal::Signal;

use crate::corosync::Node;
use crate::program::Program;
use crate::{CMAP, LATE, QUIT, QUORUM, RESTART, now, watch_for};

const INTERVAL: u64 = 1500;

/// The three ways in which corosync does not answer.
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

fn register(node: &Node, policy: u32) -> (Program, i64) {
    let initialize = format!("initialize {INTERVAL} {policy}");
    let mut program = Program::steps(&node.namespace, &[&initialize, "register"]);
    let supervisor = program.hear("supervisor").number;
    (program, supervisor)
}

fn wait_for_state(node: &Node, supervisor: i64, state: &str) {
    let (key, value) = (format!("{supervisor}.state"), format!("(str) = {state}"));
    node.wait(&format!("the state {state:?} of {supervisor}"), || {
        let keys = node.keys("resources.process.");
        let whole = ["recovery", "poll_period", "last_updated"];
        keys.get(&key) == Some(&value)
            && whole.iter().all(|key| keys.contains_key(&format!("{supervisor}.{key}")))
    });
}

/// Crashes and hangs, each found and mended in time.
fn assert_supervised(program: &mut Program) {
    for _ in 0..2 {
        let begin = program.does("time").at;
        program.tell("raise 11");
        let next = program.hear("register");
        assert!(next.at < begin + LATE, "restart took {} ms\n{program}", next.at - begin);
        // With cmap the start may wait for a second.
        let start = program.does("start");
        assert_eq!(start.number, 1, "{program}");
        assert!(start.at < next.at + 1000 + LATE, "start took {} ms\n{program}", start.at - next.at);

        program.do_all(&["note"]);
        let warned = program.hear("warned");
        let silent = warned.at - start.at;
        // The clock of the silence runs from within sam_start, which may have waited after that.
        assert!(silent < INTERVAL + LATE, "warned after {silent} ms\n{program}");
        let next = program.hear("register");
        // What the program says of its warning may be late as well.
        let took = next.at - warned.at;
        assert!((INTERVAL / 2..INTERVAL + LATE).contains(&took), "killed after {took} ms\n{program}");
        program.do_all(&["start", "beat"]);
    }
}

fn supervision_goes_on(outage: Outage) {
    let mut node = Node::alone();
    let (mut program, supervisor) = register(&node, RESTART | CMAP);
    program.do_all(&["start", "beat"]);
    outage.begin(&mut node);
    assert_supervised(&mut program);
    let stop = program.does("time").at;
    let stopped = {
        program.do_all(&["stop"]);
        program.does("time").at
    };
    assert!(stopped < stop + 1000 + LATE, "sam_stop took {} ms", stopped - stop);
    outage.end(&mut node);
    wait_for_state(&node, supervisor, "stopped");
    if outage == Outage::Dead {
        program.logs("corosync lost");
        program.logs("corosync is back");
    }
    program.do_all(&["start"]);
    wait_for_state(&node, supervisor, "running");
    program.do_all(&["silence", "stop"]);
    program.tell("exit 0");
    assert_eq!(program.ends(), 0);
    node.wait_for_no_keys();
}

pub fn a_frozen_corosync_delays_no_recovery() {
    supervision_goes_on(Outage::Frozen);
}

pub fn a_dead_corosync_delays_no_recovery() {
    supervision_goes_on(Outage::Dead);
}

pub fn keys_are_written_again_for_a_corosync_that_was_restarted() {
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

pub fn while_corosync_is_frozen_its_last_word_on_quorum_holds() {
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

pub fn a_side_process_that_is_blocked_for_too_long_is_made_anew() {
    let node = Node::alone();
    let (mut program, supervisor) = register(&node, RESTART | CMAP);
    program.do_all(&["start", "beat"]);
    let side = side_process(&node, supervisor).expect("a side process");
    node.freeze();
    node.wait("another side process", || side_process(&node, supervisor).is_some_and(|next| next != side));
    program.logs("corosync has not answered for ");
    node.thaw();
    program.do_all(&["stop"]);
    wait_for_state(&node, supervisor, "stopped");

    // And one that dies.
    let side = side_process(&node, supervisor).expect("a side process");
    node.namespace.signal(side, Signal::SIGKILL);
    program.do_all(&["start"]);
    wait_for_state(&node, supervisor, "running");
    assert_ne!(side_process(&node, supervisor), Some(side));
}

pub fn an_end_that_a_frozen_corosync_could_not_show_is_shown_when_it_is_back() {
    let node = Node::alone();
    let (mut clean, clean_pid) = register(&node, RESTART | CMAP);
    let (mut failed, failed_pid) = register(&node, QUIT | CMAP);
    for program in [&mut clean, &mut failed] {
        program.do_all(&["start", "beat"]);
    }
    let sides = [clean_pid, failed_pid].map(|pid| side_process(&node, pid).expect("a side process"));
    node.freeze();
    let begin = clean.does("time").at;
    clean.do_all(&["silence", "stop"]);
    clean.tell("exit 0");
    assert_eq!(clean.ends(), 0);
    assert!(now() < begin + 2500 + LATE, "{} ms", now() - begin);
    failed.tell("raise 11");
    assert_eq!(failed.ends(), 128 + 11);
    node.thaw();
    wait_for_state(&node, failed_pid, "failed");
    node.wait("the keys to go", || node.keys("resources.process.").len() == 4);
    for side in sides {
        node.wait("the end of the side processes", || !node.namespace.lives(side));
    }
}

/// The child of the supervisor that talks to corosync.
fn side_process(node: &Node, supervisor: i64) -> Option<i32> {
    let read = |path: String| std::fs::read_to_string(node.namespace.path(&path)).unwrap_or_default();
    let children = read(format!("/proc/{supervisor}/task/{supervisor}/children"));
    let mut children = children.split_whitespace();
    children.find(|pid| read(format!("/proc/{pid}/comm")).trim() == "sam-corosync")?.parse().ok()
}

pub fn the_side_process_ends_with_its_supervisor_and_holds_nothing_of_the_application() {
    let node = Node::alone();
    let (program, supervisor) = register(&node, RESTART | CMAP | QUORUM);
    let side = side_process(&node, supervisor).expect("a side process");
    let folder = node.namespace.path(&format!("/proc/{side}/fd"));
    for entry in std::fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        let target = std::fs::read_link(entry.path()).unwrap_or_default().display().to_string();
        assert!(!target.starts_with("pipe:"), "{:?} is {target}", entry.file_name());
    }
    node.namespace.signal(supervisor as i32, Signal::SIGKILL);
    node.wait("the end of the side process", || !node.namespace.lives(side));
    drop(program);
}

pub fn a_frozen_corosync_holds_up_neither_initialize_nor_register_for_ever() {
    let node = Node::alone();
    node.freeze();
    let mut program = Program::steps(&node.namespace, &[]);
    assert_eq!(program.does(&format!("initialize 1000 {}", RESTART | QUORUM)).number, 5, "{program}");
    assert_eq!(program.does(&format!("initialize 1000 {}", RESTART | CMAP)).number, 1);
    assert_eq!(program.does("register").number, 9, "{program}");
    node.thaw();
    program.do_all(&["register", "start"]);
}
