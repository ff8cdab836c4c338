//! The keys in cmap after each step of a program.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::common::{Built, build};
use crate::corosync::Node;
use crate::namespace::Namespace;
use crate::program::Program;
use crate::{CMAP, QUIT, QUORUM, RESTART, now_ms};

/// Returns the keys of a supervisor as corosync-cmapctl shows them.
fn keys_of(node: &Node, supervisor: i64) -> BTreeMap<String, String> {
    node.keys(&format!("resources.process.{supervisor}."))
}

/// Returns the value of `last_updated` in ms.
// The key is in ns.
fn last_updated_ms(keys: &BTreeMap<String, String>) -> u64 {
    let value = keys.get("last_updated").unwrap_or_else(|| panic!("no last_updated in {keys:?}"));
    let ns: u64 = value.strip_prefix("(u64) = ").expect("last_updated is a u64").parse().unwrap();
    ns / 1_000_000
}

/// Checks the value of `state`.
fn assert_state(keys: &BTreeMap<String, String>, state: &str) {
    assert_eq!(keys.get("state"), Some(&format!("(str) = {state}")), "{keys:?}");
}

pub fn keys_follow_every_call_and_restart() {
    let node = Node::alone();
    let before = now_ms();
    let mut program = Program::steps(&node.namespace, &["initialize 4000 18", "register"]);
    let supervisor = program.hear("supervisor").number;
    let keys = keys_of(&node, supervisor);
    assert_state(&keys, "stopped");
    assert_eq!(keys["poll_period"], "(u64) = 4000");
    assert_eq!(keys["recovery"], "(str) = restart");
    assert_eq!(last_updated_ms(&keys), 0, "last_updated before sam_start");

    program.do_all(&["callback", "start"]);
    let keys = keys_of(&node, supervisor);
    assert_state(&keys, "running");
    let first = last_updated_ms(&keys);
    assert!(
        first >= before && first <= now_ms(),
        "last_updated is {first} ms, sam_start was called after {before} ms"
    );
    node.wait("a later heartbeat", || last_updated_ms(&keys_of(&node, supervisor)) > first + 500);
    let later = last_updated_ms(&keys_of(&node, supervisor));
    assert!(later <= now_ms(), "last_updated must not be in the future");

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

pub fn program_built_for_corosyncs_libsam_runs_unchanged() {
    let node = Node::alone();
    let policy = RESTART | QUORUM | CMAP;
    let mut program =
        Program::relinked_steps(&node.namespace, &[&format!("initialize 1500 {policy}"), "register"]);
    let supervisor = program.hear("supervisor").number;
    let maps = fs::read_to_string(node.namespace.path(&format!("/proc/{supervisor}/maps"))).unwrap();
    assert!(maps.contains("/lib/libsam.so.4.4.0") && !maps.contains("libcorosync_common"), "{maps}");
    program.do_all(&["start", "note", "beat"]);
    assert_state(&keys_of(&node, supervisor), "running");
    node.lose_quorum();
    program.hear("warned");
    assert_eq!(program.hear("instance").number, 2);
    program.tell("start");
    node.wait("the state 'waiting for quorum'", || {
        keys_of(&node, supervisor).get("state").is_some_and(|state| state == "(str) = waiting for quorum")
    });
    node.regain_quorum();
    assert_eq!(program.hear("start").number, 1);
    program.tell("mark_failed");
    assert_eq!(program.ends(), 128 + 9);
    node.wait("the last state", || keys_of(&node, supervisor)["state"] == "(str) = failed");
}

pub fn last_updated_is_time_of_heartbeat_not_of_publication() {
    let node = Node::alone();
    let mut program = Program::steps(&node.namespace, &["initialize 6000 17", "register"]);
    let supervisor = program.hear("supervisor").number;
    let begin = now_ms();
    program.do_all(&["start"]);
    let end = now_ms();
    // The supervisor publishes the keys again after 1.5 s and 3 s. Without a heartbeat, last_updated must not change.
    while now_ms() < end + 3500 {
        let keys = keys_of(&node, supervisor);
        assert_state(&keys, "running");
        let shown = last_updated_ms(&keys);
        assert!((begin..=end).contains(&shown), "last_updated is {shown} ms, expected {begin} to {end} ms");
    }
}

pub fn instance_lost_without_restart_leaves_state_failed() {
    let node = Node::alone();
    for (policy, steps, status) in [
        (QUIT, vec!["start", "raise 11"], 128 + 11),
        (QUIT, vec!["start", "exit 0"], 0),
        (QUIT, vec!["start", "mark_failed"], 128 + 9),
        (RESTART, vec!["start", "mark_failed"], 128 + 9),
        (RESTART, vec!["mark_failed"], 128 + 9),
        (RESTART, vec!["start", "stop", "mark_failed"], 128 + 9),
    ] {
        let initialize = format!("initialize 10000 {}", policy | CMAP);
        let mut program = Program::steps(&node.namespace, &[&initialize, "register"]);
        let supervisor = program.hear("supervisor").number;
        let before = now_ms();
        for step in &steps {
            program.tell(step);
        }
        assert_eq!(program.ends(), status, "{steps:?} {program}");
        node.wait("the last state", || keys_of(&node, supervisor)["state"] == "(str) = failed");
        let keys = keys_of(&node, supervisor);
        assert!(last_updated_ms(&keys) >= before, "{keys:?}");
        let recovery = if policy == QUIT { "(str) = quit" } else { "(str) = restart" };
        assert_eq!(keys["recovery"], recovery);
    }
}

pub fn orderly_end_removes_keys() {
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

pub fn end_after_sigterm_to_supervisor_removes_keys() {
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

pub fn keys_of_earlier_process_with_same_pid_are_replaced() {
    let node = Node::alone();
    let mut program = Program::steps(&node.namespace, &[]);
    let supervisor = program.does("initialize 4000 18").pid;
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
    // The watchdog service tracks the state as a new resource only if the old key was deleted.
    let cleared = format!("resource \"{supervisor}\" deleted from cmap!");
    node.wait(&cleared, || node.log().contains(&cleared));
}

pub fn policies_that_need_corosync_are_refused_without_it() {
    let machine = Namespace::new();
    let mut program = Program::steps(&machine, &[]);
    for policy in [QUIT | QUORUM, RESTART | QUORUM, QUIT | QUORUM | CMAP] {
        let said = program.does(&format!("initialize 1000 {policy}"));
        assert_eq!(said.number, 2, "CS_ERR_LIBRARY from libquorum\n{program}");
    }
    // A failed sam_initialize leaves no session open, so the next call may succeed.
    assert_eq!(program.does(&format!("initialize 1000 {}", RESTART | CMAP)).number, 1);
    let register = program.does("register");
    assert_eq!(register.number, 9, "{program}");
    assert_eq!(
        program.does("start").pid,
        register.pid,
        "the caller must keep its pid after a failed sam_register"
    );
    let caller = register.pid;
    let children =
        fs::read_to_string(machine.path(&format!("/proc/{caller}/task/{caller}/children"))).unwrap();
    assert_eq!(children, "", "children left behind by a failed sam_register");

    for policy in [QUIT, RESTART] {
        let mut program =
            Program::steps(&machine, &[&format!("initialize 10000 {policy}"), "register", "start"]);
        program.do_all(&["stop"]);
    }
}

pub fn failed_fork_of_first_instance_leaves_no_key_and_no_process() {
    let node = Node::alone();
    // The first fork makes the cluster helper, so the second one fails.
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
    assert_eq!(children.unwrap(), "", "children left behind by a failed sam_register");
    let register = program.does("register");
    assert_eq!(register.number, 1, "{program}");
    assert_state(&keys_of(&node, caller.into()), "stopped");
}

pub fn policies_that_need_client_libraries_are_not_supported_without_them() {
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
    Program::steps(&node.namespace, &["initialize 10000 2", "register", "start", "stop"]);
}

/// Returns the file that the loader uses for a library.
fn file_of(library: &str) -> String {
    let cache = Command::new("/sbin/ldconfig").arg("-p").output().expect("run ldconfig");
    let cache = String::from_utf8(cache.stdout).unwrap();
    let line =
        cache.lines().find(|line| line.trim_start().starts_with(library)).expect("the library is installed");
    let path = line.rsplit(" => ").next().unwrap();
    fs::canonicalize(path).unwrap().display().to_string()
}

pub fn client_libraries_are_mapped_in_neither_instance_nor_supervisor() {
    let node = Node::alone();
    let policy = RESTART | QUORUM | CMAP;
    let mut program =
        Program::steps(&node.namespace, &[&format!("initialize 10000 {policy}"), "register", "start"]);
    program.tell("raise 9");
    let instance = program.hear("register").pid;
    let supervisor = program.hear("supervisor").number;
    for pid in [i64::from(instance), supervisor] {
        let maps = fs::read_to_string(node.namespace.path(&format!("/proc/{pid}/maps"))).unwrap();
        assert!(maps.contains("libsam.so.4"), "{maps}");
        for library in ["libcmap", "libquorum", "libqb"] {
            assert!(!maps.contains(library), "pid {pid} has mapped {library}:\n{maps}");
        }
    }
}

pub fn start_stop_and_finalize_return_when_the_state_is_readable_or_after_a_second() {
    /// How long a call waits for a corosync that does not answer, in ms. The library waits for 1000 ms; times are
    /// rounded to ms.
    const ACK_TIMEOUT_MS: u64 = 1000 - 2;
    let node = Node::alone();
    for interval in [0, 800] {
        let initialize = format!("initialize {interval} {}", RESTART | CMAP);
        let mut program = Program::steps(&node.namespace, &[&initialize, "register"]);
        let supervisor = program.hear("supervisor").number;
        program.do_all(&["note"]);

        // While corosync is frozen, a call returns late only if it waits for the state.
        node.freeze();
        for call in ["start", "stop", "start", "finalize"] {
            let begin = program.does("time").at_ms;
            let end = program.does(call);
            let took = end.at_ms - begin;
            assert_eq!(end.number, 1, "{call}\n{program}");
            assert!(took >= ACK_TIMEOUT_MS, "interval {interval}: {call} took {took} ms\n{program}");
            assert!(took < ACK_TIMEOUT_MS + 5000, "interval {interval}: {call} took {took} ms\n{program}");
        }
        assert!(
            !program.text().contains("warned"),
            "the instance was warned while a call waited for corosync\n{program}"
        );
        node.thaw();
        node.wait("the last state", || {
            keys_of(&node, supervisor).get("state").is_some_and(|state| state == "(str) = stopped")
        });
        program.tell("exit 0");
        assert_eq!(program.ends(), 0, "{program}");
        node.wait_for_no_keys();

        let mut program = Program::steps(&node.namespace, &[&initialize, "register"]);
        let supervisor = program.hear("supervisor").number;
        program.do_all(&["note", "start", "beat"]);
        assert_state(&keys_of(&node, supervisor), "running");
        program.do_all(&["silence", "finalize"]);
        assert_state(&keys_of(&node, supervisor), "stopped");
        program.tell("exit 0");
        assert_eq!(program.ends(), 0, "{program}");
        node.wait_for_no_keys();
    }
}
