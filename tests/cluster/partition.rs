//! A cluster that is really cut in two.

use std::time::Duration;

use crate::common::{Built, build};
use crate::corosync::{Cluster, TOKEN};
use crate::program::Program;
use crate::{LATE, QUORUM, RESTART, now};

/// Longer than what corosync takes, beyond the token timeout, to agree on who is left.
const INTERVAL: u64 = 2000;

fn beating(cluster: &Cluster) -> Vec<Program> {
    let initialize = format!("initialize {INTERVAL} {}", RESTART | QUORUM);
    let start = |index: usize| {
        let steps = [&initialize, "register", "start", "note", "beat"];
        Program::steps(&cluster.nodes[index].namespace, &steps)
    };
    (0..3).map(start).collect()
}

pub fn who_is_cut_off_is_gone_in_time_and_the_others_run_on() {
    let cluster = Cluster::of_three();
    let mut programs = beating(&cluster);
    for cut in 0..3 {
        let others: Vec<usize> = (0..3).filter(|&index| index != cut).collect();
        let begin = now();
        cluster.cut_off(cut);
        let program = &mut programs[cut];
        let warned = program.hear("warned");
        let next = program.hear("register");
        let (took, limit) = (next.at - begin, TOKEN + 2 * INTERVAL + LATE);
        assert!(took < limit, "gone after {took} ms, not within {limit}\n{program}");
        assert!(next.at >= warned.at + INTERVAL / 2, "it was given its interval\n{program}");
        program.tell("start");
        std::thread::sleep(Duration::from_millis(INTERVAL));
        assert!(!program.has_said("start"), "{program}");
        for other in others {
            let program = &mut programs[other];
            assert!(!program.has_said("warned") && !program.has_said("instance"), "node {other}\n{program}");
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

pub fn a_group_member_that_hangs_is_restarted_and_joins_again() {
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
