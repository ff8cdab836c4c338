//! sam-run in a cluster: a program that does not use libsam runs on the quorate side only.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::common::prefix;
use crate::common::tools::{Scratch, write_script};
use crate::corosync::{Cluster, Node};
use crate::namespace::Namespace;
use crate::program::Program;
use crate::watch_for;

/// A program that ignores warnings, and reports its start in the form that [`Program`] reads.
const SCRIPT: &str = "#!/bin/sh
trap '' TERM
trap 'exit 3' USR1
read -r up _ </proc/uptime
echo \"${up%.*}000 $$ began $PPID\"
while :; do sleep 0.1; done
";

fn script(scratch: &Scratch) -> PathBuf {
    fs::create_dir_all(scratch.path("")).unwrap();
    let path = scratch.path("program");
    if !path.exists() {
        write_script(&path, SCRIPT);
    }
    path
}

fn start(namespace: &Namespace, options: &[&str], scratch: &Scratch) -> Program {
    let sam_run = prefix().join("bin/sam-run");
    let words = [&[sam_run.to_str().unwrap()], options, &["--"]].concat();
    Program::start_under(namespace, &words, &script(scratch))
}

pub fn sam_run_runs_program_on_the_quorate_side_only() {
    let scratch = Scratch::new("sam-run-quorum");
    let cluster = Cluster::of_three();
    let options = ["--quorum", "--interval", "2s"];
    let mut programs: Vec<Program> =
        cluster.nodes.iter().map(|node| start(&node.namespace, &options, &scratch)).collect();
    let pids: Vec<i32> = programs.iter_mut().map(|program| program.hear("began").pid).collect();
    for cut in 0..3 {
        let node = &cluster.nodes[cut];
        cluster.cut_off(cut);
        programs[cut].logs("must not run without quorum");
        programs[cut].logs("passed the warning on: sent SIGTERM");
        node.wait("the end of the program without quorum", || !node.namespace.lives(pids[cut]));
        watch_for(2000);
        for (index, program) in programs.iter().enumerate() {
            assert!(!program.has_said("began"), "node {index} started the program\n{program}");
        }
        cluster.heal(cut);
        assert_ne!(programs[cut].hear("began").pid, pids[cut], "{}", programs[cut]);
    }
}

pub fn sam_run_that_waits_for_quorum_starts_no_program_and_can_be_ended() {
    let scratch = Scratch::new("sam-run-waits");
    let node = Node::alone();
    node.lose_quorum();
    let mut program = start(&node.namespace, &["--quorum", "--cmap"], &scratch);
    let mut supervisor = None;
    node.wait("the state in cmap", || {
        let keys = node.keys("resources.process.");
        let waiting = keys.iter().find(|(_, state)| *state == "(str) = waiting for quorum");
        supervisor = waiting.and_then(|(key, _)| key.split('.').next()?.parse().ok());
        supervisor.is_some()
    });
    assert!(!program.text().contains("began"), "{program}");
    node.namespace.signal(supervisor.unwrap(), Signal::SIGTERM);
    assert_eq!(program.ends(), 128 + Signal::SIGTERM as i32, "{program}");
    node.wait_for_no_keys();
}

pub fn sam_run_without_an_agent_shows_its_state_in_cmap() {
    let scratch = Scratch::new("sam-run-cmap");
    let node = Node::alone();
    let mut program = start(&node.namespace, &["--cmap"], &scratch);
    let began = program.hear("began");
    let supervisor = began.number as i32;
    let state = format!("{supervisor}.state");
    node.wait("the state in cmap", || {
        node.keys("resources.process.").get(&state).is_some_and(|state| state == "(str) = running")
    });
    node.namespace.signal(began.pid, Signal::SIGUSR1);
    assert_ne!(program.hear("began").pid, began.pid, "{program}");
    node.namespace.signal(supervisor, Signal::SIGINT);
    assert_eq!(program.ends(), 128 + Signal::SIGINT as i32, "{program}");
    node.wait_for_no_keys();
}
