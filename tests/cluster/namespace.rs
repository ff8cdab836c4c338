//! A namespace for a test: an isolated machine with its own processes, network, /run, /dev/shm and /var/lib.
//!
//! The namespace ends with all its processes when the value is dropped, or when the test process dies for any reason.
//! Its first process reads from a pipe that the test holds, and the kernel kills the others when that process ends.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::{
    PATIENCE, Running, forget_settings,
    machine::{Ability, require, with_corosync},
};

/// The script of the first process. It is run by bash, because bash reaps orphans.
const FIRST_PROCESS: &str = "
    mount -t proc proc /proc &&
    mount -t tmpfs tmpfs /run &&
    mount -t tmpfs tmpfs /dev/shm &&
    mount -t tmpfs tmpfs /var/lib &&
    mkdir /run/corosync /var/lib/corosync &&
    ip link set lo up &&
    echo ready
    while read -r _; do :; done";

/// An isolated machine.
pub struct Namespace {
    _outside: Running,
    /// The pid of its first process, as seen from outside.
    pub first: i32,
}

impl Namespace {
    /// Makes a namespace. Ends the calling test as skipped if this machine cannot make one.
    pub fn new() -> Namespace {
        require(&[Ability::Cluster]);
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--net", "--pid", "--fork", "--", "bash", "-c", FIRST_PROCESS]);
        unshare.stdin(Stdio::piped());
        let outside = Running::start_with_one_pipe(unshare);
        outside.wait_for("ready");
        let first = only_child(outside.pid()).expect("the first process has started");
        Namespace { _outside: outside, first }
    }

    /// Returns a command that runs a program in the namespace.
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

    /// Runs a command in the namespace, at most for 40 s.
    pub fn run(&self, line: &str) -> Output {
        self.command("timeout")
            .arg("40")
            .args(line.split_whitespace())
            .output()
            .expect("nsenter (util-linux)")
    }

    /// Runs a command in the namespace, which must succeed. Returns its output.
    pub fn must(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Sends a signal to a process, given by its pid in the namespace.
    pub fn signal(&self, pid: i32, signal: Signal) {
        self.must(&format!("kill -s {} {pid}", signal.as_str().trim_start_matches("SIG")));
    }

    /// Returns `true` if a process lives, given by its pid in the namespace.
    pub fn lives(&self, pid: i32) -> bool {
        lives(&format!("{}/{pid}", self.path("/proc")))
    }

    /// Returns the path outside of a path inside the namespace.
    pub fn path(&self, inside: &str) -> String {
        format!("/proc/{}/root{inside}", self.first)
    }
}

/// Waits until a process has one child, and returns the pid of the child.
pub fn only_child(parent: u32) -> Option<i32> {
    wait_for(|| {
        fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?.trim().parse().ok()
    })
}

/// Returns `true` if the process with this folder in /proc lives and is not a zombie.
pub fn lives(folder: &str) -> bool {
    let stat = fs::read_to_string(format!("{folder}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Waits until `answer` returns a value. Returns `None` if it has not after `PATIENCE`.
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
