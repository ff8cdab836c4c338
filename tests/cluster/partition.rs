//! A cluster of three nodes from which one node is cut off.

use std::time::Duration;

use crate::common::{Built, build};
use crate::corosync::{Cluster, TOKEN_MS};
use crate::program::Program;
use crate::{LATE_MS, QUORUM, RESTART, now_ms};

/// The interval. It is longer than corosync takes, after the token timeout, to agree on the remaining nodes.
const INTERVAL_MS: u64 = 2000;

/// Starts a program with heartbeats on each node.
fn beating(cluster: &Cluster) -> Vec<Program> {
    let initialize = format!("initialize {INTERVAL_MS} {}", RESTART | QUORUM);
    let start = |index: usize| {
        let steps = [&initialize, "register", "start", "note", "beat"];
        Program::steps(&cluster.nodes[index].namespace, &steps)
    };
    (0..3).map(start).collect()
}

pub fn node_cut_off_loses_its_instance_in_time_and_others_keep_running() {
    let cluster = Cluster::of_three();
    let mut programs = beating(&cluster);
    for cut in 0..3 {
        let others: Vec<usize> = (0..3).filter(|&index| index != cut).collect();
        let begin = now_ms();
        cluster.cut_off(cut);
        let program = &mut programs[cut];
        let warned = program.hear("warned");
        let next = program.hear("register");
        let (took, limit) = (next.at_ms - begin, TOKEN_MS + 2 * INTERVAL_MS + LATE_MS);
        assert!(
            took < limit,
            "the instance was replaced {took} ms after the cut, the limit is {limit} ms\n{program}"
        );
        assert!(
            next.at_ms >= warned.at_ms + INTERVAL_MS / 2,
            "the instance was killed less than half an interval after its warning\n{program}"
        );
        program.tell("start");
        std::thread::sleep(Duration::from_millis(INTERVAL_MS));
        assert!(!program.has_said("start"), "{program}");
        for other in others {
            let program = &mut programs[other];
            assert!(
                !program.has_said("warned") && !program.has_said("instance"),
                "node {other} of the majority was warned or restarted\n{program}"
            );
        }
        cluster.heal(cut);
        let program = &mut programs[cut];
        let start = program.hear("start");
        assert_eq!((start.number, start.pid), (1, next.pid), "{program}");
        program.do_all(&["note", "beat"]);
    }
    for program in &programs {
        assert!(!program.has_said("warned") && !program.has_said("register"), "{program}");
        assert!(!program.text().contains("refused"), "{program}");
    }
}

pub fn hung_group_member_is_restarted_and_joins_again() {
    let cluster = Cluster::of_three();
    let program = build(Built::WithOurs, "group_member");
    let mut watcher = Program::start(&cluster.nodes[0].namespace, &program);
    assert_eq!(watcher.hear("members").number, 1);
    let mut member = Program::start(&cluster.nodes[1].namespace, &program);
    let first = member.hear("joined").pid;
    assert_eq!(watcher.hear("members").number, 2);
    cluster.nodes[1].namespace.signal(first, nix::sys::signal::Signal::SIGUSR1);
    member.hear("hangs");
    assert_eq!(watcher.hear("members").number, 1, "{watcher}");
    let second = member.hear("joined").pid;
    assert_ne!(first, second);
    assert_eq!(watcher.hear("members").number, 2, "{watcher}");
    assert_eq!(watcher.hear("member-2").number, i64::from(second), "{watcher}");
}
