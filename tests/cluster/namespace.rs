//! A machine of its own for a test: private processes, network, /run, /dev/shm and /var/lib. It ends, with
//! everything in it, when the value is dropped or the test process dies, however it dies: its first process reads
//! from a pipe that the test holds, and the kernel ends the others together with it.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::{
    PATIENCE, Running, forget_settings,
    machine::{Ability, require, with_corosync},
};

/// bash, because it reaps what is orphaned in there.
const FIRST_PROCESS: &str = "
    mount -t proc proc /proc &&
    mount -t tmpfs tmpfs /run &&
    mount -t tmpfs tmpfs /dev/shm &&
    mount -t tmpfs tmpfs /var/lib &&
    mkdir /run/corosync /var/lib/corosync &&
    ip link set lo up &&
    echo ready
    while read -r _; do :; done";

pub struct Namespace {
    _outside: Running,
    /// Its first process, as seen from outside.
    pub first: i32,
}

impl Namespace {
    pub fn new() -> Namespace {
        require(&[Ability::Cluster]);
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--net", "--pid", "--fork", "--", "bash", "-c", FIRST_PROCESS]);
        unshare.stdin(Stdio::piped());
        let outside = Running::start_with_one_pipe(unshare);
        outside.wait_for("ready");
        let first = only_child(outside.pid()).expect("the first process");
        Namespace { _outside: outside, first }
    }

    /// A command that runs inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "--mount",
            "--net",
            "--pid",
            "--root",
            "--target",
            &self.first.to_string(),
            "--",
            program,
        ]);
        forget_settings(&mut command);
        with_corosync(&mut command);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command inside, that is given up after a while.
    pub fn run(&self, line: &str) -> Output {
        self.command("timeout")
            .arg("40")
            .args(line.split_whitespace())
            .output()
            .expect("nsenter (util-linux)")
    }

    /// Runs a command inside that has to succeed.
    pub fn must(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Sends a signal to a process inside, by its pid in there.
    pub fn signal(&self, pid: i32, signal: Signal) {
        self.must(&format!("kill -s {} {pid}", signal.as_str().trim_start_matches("SIG")));
    }

    /// Whether a process inside lives, by its pid in there.
    pub fn lives(&self, pid: i32) -> bool {
        lives(&format!("{}/{pid}", self.path("/proc")))
    }

    /// A path inside, as seen from outside.
    pub fn path(&self, inside: &str) -> String {
        format!("/proc/{}/root{inside}", self.first)
    }
}

/// The child of a process that has one.
pub fn only_child(parent: u32) -> Option<i32> {
    wait_for(|| {
        fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?.trim().parse().ok()
    })
}

/// Whether the process with this folder in /proc lives, a zombie does not.
pub fn lives(folder: &str) -> bool {
    let stat = fs::read_to_string(format!("{folder}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Waits until there is an answer; None when there is none for too long.
pub fn wait_for<T>(mut answer: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    loop {
        if let Some(answer) = answer() {
            return Some(answer);
        }
        if begin.elapsed() > PATIENCE {
            return None;
        }
        sleep(Duration::from_millis(10));
    }
}
