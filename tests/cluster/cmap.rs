//! The keys in cmap, after every step.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::common::{Built, build};
use crate::corosync::Node;
use crate::namespace::Namespace;
use crate::program::Program;
use crate::{CMAP, QUIT, QUORUM, RESTART, now};

/// What corosync-cmapctl shows of a supervisor.
fn keys_of(node: &Node, supervisor: i64) -> BTreeMap<String, String> {
    node.keys(&format!("resources.process.{supervisor}."))
}

/// The value of `last_updated` in ms.
fn last_updated(keys: &BTreeMap<String, String>) -> u64 {
    let value = keys.get("last_updated").unwrap_or_else(|| panic!("no last_updated in {keys:?}"));
    let ns: u64 = value.strip_prefix("(u64) = ").expect("an u64").parse().unwrap();
    ns / 1_000_000
}

fn assert_state(keys: &BTreeMap<String, String>, state: &str) {
    assert_eq!(keys.get("state"), Some(&format!("(str) = {state}")), "{keys:?}");
}

pub fn the_four_keys_follow_every_step() {
    let node = Node::alone();
    let before = now();
    let mut program = Program::steps(&node.namespace, &["initialize 1000 18", "register"]);
    let supervisor = program.hear("supervisor").number;
    let keys = keys_of(&node, supervisor);
    assert_state(&keys, "stopped");
    assert_eq!(keys["poll_period"], "(u64) = 1000");
    assert_eq!(keys["recovery"], "(str) = restart");
    assert_eq!(last_updated(&keys), 0, "its age is nobody's business before it starts");

    program.do_all(&["callback", "start"]);
    let keys = keys_of(&node, supervisor);
    assert_state(&keys, "running");
    let first = last_updated(&keys);
    assert!(first >= before && first <= now(), "{first}, {before}");
    node.wait("a later heartbeat", || last_updated(&keys_of(&node, supervisor)) > first + 500);
    let later = last_updated(&keys_of(&node, supervisor));
    assert!(later <= now(), "no heartbeat comes from the future");

    program.do_all(&["stop"]);
    assert_state(&keys_of(&node, supervisor), "stopped");
    program.do_all(&["start"]);
    assert_state(&keys_of(&node, supervisor), "running");

    program.tell("raise 9");
    assert_eq!(program.hear("instance").number, 2);
    node.wait("the next instance", || keys_of(&node, supervisor)["state"] == "(str) = stopped");
    program.do_all(&["start"]);
    assert_state(&keys_of(&node, supervisor), "running");
    program.do_all(&["stop", "finalize"]);
    assert_state(&keys_of(&node, supervisor), "stopped");
    program.tell("exit 3");
    assert_eq!(program.ends(), 3, "{program}");
    node.wait_for_no_keys();
}

pub fn a_program_linked_against_the_original_runs_unchanged() {
    let node = Node::alone();
    let policy = RESTART | QUORUM | CMAP;
    let mut program =
        Program::relinked_steps(&node.namespace, &[&format!("initialize 500 {policy}"), "register"]);
    let supervisor = program.hear("supervisor").number;
    let maps = fs::read_to_string(node.namespace.path(&format!("/proc/{supervisor}/maps"))).unwrap();
    assert!(maps.contains("/lib/libsam.so.4.4.0") && !maps.contains("libcorosync_common"), "{maps}");
    program.do_all(&["start", "note", "beat"]);
    assert_state(&keys_of(&node, supervisor), "running");
    node.lose_quorum();
    program.hear("warned");
    assert_eq!(program.hear("instance").number, 2);
    program.tell("start");
    node.wait("the wait for quorum", || {
        keys_of(&node, supervisor).get("state").is_some_and(|state| state == "(str) = waiting for quorum")
    });
    node.regain_quorum();
    assert_eq!(program.hear("start").number, 1);
    program.tell("mark_failed");
    assert_eq!(program.ends(), 128 + 9);
    node.wait("the last state", || keys_of(&node, supervisor)["state"] == "(str) = failed");
}

pub fn a_heartbeat_is_published_as_its_true_time() {
    let node = Node::alone();
    let mut program = Program::steps(&node.namespace, &["initialize 4000 17", "register"]);
    let supervisor = program.hear("supervisor").number;
    let begin = now();
    program.do_all(&["start"]);
    let end = now();
    // Published again a second later, and two: there was no heartbeat, so it stays as it is.
    while now() < end + 2500 {
        let keys = keys_of(&node, supervisor);
        assert_state(&keys, "running");
        let shown = last_updated(&keys);
        assert!((begin..=end).contains(&shown), "{shown} is not between {begin} and {end}");
    }
}

pub fn who_is_lost_for_good_leaves_the_state_failed() {
    let node = Node::alone();
    for (policy, steps, status) in [
        (QUIT, vec!["start", "raise 11"], 128 + 11),
        (QUIT, vec!["start", "exit 0"], 0),
        (QUIT, vec!["start", "mark_failed"], 128 + 9),
        (RESTART, vec!["start", "mark_failed"], 128 + 9),
        (RESTART, vec!["mark_failed"], 128 + 9),
        (RESTART, vec!["start", "stop", "mark_failed"], 128 + 9),
    ] {
        let initialize = format!("initialize 1000 {}", policy | CMAP);
        let mut program = Program::steps(&node.namespace, &[&initialize, "register"]);
        let supervisor = program.hear("supervisor").number;
        let before = now();
        for step in &steps {
            program.tell(step);
        }
        assert_eq!(program.ends(), status, "{steps:?} {program}");
        node.wait("the last state", || keys_of(&node, supervisor)["state"] == "(str) = failed");
        let keys = keys_of(&node, supervisor);
        assert!(last_updated(&keys) >= before, "{keys:?}");
        let recovery = if policy == QUIT { "(str) = quit" } else { "(str) = restart" };
        assert_eq!(keys["recovery"], recovery);
    }
}

pub fn who_ends_in_order_leaves_nothing() {
    let node = Node::alone();
    for (policy, steps, status) in [
        (QUIT, vec!["exit 4"], 4),
        (QUIT, vec!["start", "stop", "raise 15"], 128 + 15),
        (QUIT, vec!["start", "finalize", "exit 0"], 0),
        (RESTART, vec!["raise 11"], 128 + 11),
        (RESTART, vec!["start", "stop", "exit 0"], 0),
        (RESTART, vec!["start", "finalize", "exit 5"], 5),
    ] {
        let initialize = format!("initialize 0 {}", policy | CMAP);
        let mut program = Program::steps(&node.namespace, &[&initialize, "register"]);
        for step in &steps {
            program.tell(step);
        }
        assert_eq!(program.ends(), status, "{steps:?} {program}");
        node.wait_for_no_keys();
    }
}

pub fn who_is_told_to_end_has_not_failed() {
    use nix::sys::signal::Signal::SIGTERM;
    let node = Node::alone();
    for (policy, handler, status) in [(QUIT, "leave", 0), (RESTART, "leave", 0), (RESTART, "beat", 128 + 15)]
    {
        let initialize = format!("initialize 2000 {}", policy | CMAP);
        let mut program = Program::steps(&node.namespace, &[&initialize, "register"]);
        let supervisor = program.hear("supervisor").number;
        program.do_all(&["start", "beat", handler]);
        node.namespace.signal(supervisor as i32, SIGTERM);
        assert_eq!(program.ends(), status, "{program}");
        node.wait_for_no_keys();
    }
}

pub fn what_an_earlier_process_with_the_same_pid_left_is_cleared_away() {
    let node = Node::alone();
    let mut program = Program::steps(&node.namespace, &[]);
    let supervisor = program.does("initialize 1000 18").pid;
    for (key, kind, value) in
        [("recovery", "str", "quit"), ("last_updated", "u64", "5"), ("state", "str", "failed")]
    {
        node.namespace
            .must(&format!("corosync-cmapctl -s resources.process.{supervisor}.{key} {kind} {value}"));
    }
    program.do_all(&["register", "callback", "start"]);
    let keys = keys_of(&node, supervisor.into());
    assert_state(&keys, "running");
    assert_eq!(keys["recovery"], "(str) = restart");
    // The watchdog service begins anew with a state that is created.
    let cleared = format!("resource \"{supervisor}\" deleted from cmap!");
    node.wait(&cleared, || node.log().contains(&cleared));
}

pub fn without_corosync_the_policies_that_need_it_are_refused() {
    let machine = Namespace::new();
    let mut program = Program::steps(&machine, &[]);
    for policy in [QUIT | QUORUM, RESTART | QUORUM, QUIT | QUORUM | CMAP] {
        let said = program.does(&format!("initialize 1000 {policy}"));
        assert_eq!(said.number, 2, "what libquorum says\n{program}");
    }
    // Nothing is open after an error.
    assert_eq!(program.does(&format!("initialize 1000 {}", RESTART | CMAP)).number, 1);
    let register = program.does("register");
    assert_eq!(register.number, 9, "{program}");
    assert_eq!(program.does("start").pid, register.pid, "the caller goes on as it was");
    let caller = register.pid;
    let children =
        fs::read_to_string(machine.path(&format!("/proc/{caller}/task/{caller}/children"))).unwrap();
    assert_eq!(children, "", "no process is left behind");

    for policy in [QUIT, RESTART] {
        let mut program =
            Program::steps(&machine, &[&format!("initialize 1000 {policy}"), "register", "start"]);
        program.do_all(&["stop"]);
    }
}

pub fn a_first_instance_that_cannot_be_made_leaves_nothing_behind() {
    let node = Node::alone();
    // The first fork is that of the side process.
    let strace = [
        "strace",
        "-o",
        "/dev/null",
        "-e",
        "trace=clone,clone3",
        "-e",
        "inject=clone,clone3:error=EAGAIN:when=2",
    ];
    let mut program = Program::start_under(&node.namespace, &strace, &build(Built::WithOurs, "steps"));
    let caller = program.does(&format!("initialize 1000 {}", RESTART | CMAP)).pid;
    let register = program.does("register");
    assert_eq!((register.number, register.pid), (2, caller), "{program}");
    node.wait_for_no_keys();
    let children = fs::read_to_string(node.namespace.path(&format!("/proc/{caller}/task/{caller}/children")));
    assert_eq!(children.unwrap(), "");
    let register = program.does("register");
    assert_eq!(register.number, 1, "{program}");
    assert_state(&keys_of(&node, caller.into()), "stopped");
}

pub fn without_the_client_libraries_the_policies_that_need_them_are_not_supported() {
    let node = Node::alone();
    for library in ["libquorum.so.5", "libcmap.so.4"] {
        let file = file_of(library);
        node.namespace.must(&format!("mount --bind /dev/null {file}"));
    }
    let mut program = Program::steps(&node.namespace, &[]);
    assert_eq!(program.does(&format!("initialize 1000 {}", RESTART | QUORUM)).number, 19, "{program}");
    program.logs("libquorum.so.5");
    assert_eq!(program.does(&format!("initialize 1000 {}", RESTART | CMAP)).number, 1, "{program}");
    assert_eq!(program.does("register").number, 19, "{program}");
    program.logs("libcmap.so.4");
    Program::steps(&node.namespace, &["initialize 1000 2", "register", "start", "stop"]);
}

/// Where the loader finds a library.
fn file_of(library: &str) -> String {
    let cache = Command::new("/sbin/ldconfig").arg("-p").output().expect("ldconfig");
    let cache = String::from_utf8(cache.stdout).unwrap();
    let line = cache.lines().find(|line| line.trim_start().starts_with(library)).expect("installed");
    let path = line.rsplit(" => ").next().unwrap();
    fs::canonicalize(path).unwrap().display().to_string()
}

pub fn instances_never_map_the_client_libraries() {
    let node = Node::alone();
    let policy = RESTART | QUORUM | CMAP;
    let mut program =
        Program::steps(&node.namespace, &[&format!("initialize 1000 {policy}"), "register", "start"]);
    program.tell("raise 9");
    let instance = program.hear("register").pid;
    let supervisor = program.hear("supervisor").number;
    for pid in [i64::from(instance), supervisor] {
        let maps = fs::read_to_string(node.namespace.path(&format!("/proc/{pid}/maps"))).unwrap();
        assert!(maps.contains("libsam.so.4"), "{maps}");
        for library in ["libcmap", "libquorum", "libqb"] {
            assert!(!maps.contains(library), "{library} in {pid}:\n{maps}");
        }
    }
}

pub fn start_stop_and_finalize_return_when_the_state_is_readable_or_after_a_second() {
    /// How long a call waits for a corosync that does not answer, in ms. The clocks are rounded.
    const PATIENCE: u64 = 1000 - 2;
    let node = Node::alone();
    for interval in [0, 800] {
        let initialize = format!("initialize {interval} {}", RESTART | CMAP);
        let mut program = Program::steps(&node.namespace, &[&initialize, "register"]);
        let supervisor = program.hear("supervisor").number;
        program.do_all(&["note"]);

        // A call that did not wait for the state would return at once.
        node.freeze();
        for call in ["start", "stop", "start", "finalize"] {
            let begin = program.does("time").at;
            let end = program.does(call);
            let took = end.at - begin;
            assert_eq!(end.number, 1, "{call}\n{program}");
            assert!(took >= PATIENCE, "interval {interval}: {call} took {took} ms\n{program}");
            assert!(took < PATIENCE + 5000, "interval {interval}: {call} took {took} ms\n{program}");
        }
        assert!(!program.text().contains("warned"), "the wait counts as no silence\n{program}");
        node.thaw();
        node.wait("the last state", || {
            keys_of(&node, supervisor).get("state").is_some_and(|state| state == "(str) = stopped")
        });
        program.tell("exit 0");
        assert_eq!(program.ends(), 0, "{program}");
        node.wait_for_no_keys();

        let mut program = Program::steps(&node.namespace, &[&initialize, "register"]);
        let supervisor = program.hear("supervisor").number;
        program.do_all(&["note", "start"]);
        assert_state(&keys_of(&node, supervisor), "running");
        program.do_all(&["finalize"]);
        assert_state(&keys_of(&node, supervisor), "stopped");
        program.tell("exit 0");
        assert_eq!(program.ends(), 0, "{program}");
    }
}
