//! A machine of its own for a test: private processes, network, /run, /dev/shm and /var/lib/corosync. It ends, with
//! everything in it, when the value is dropped or the test process dies, however it dies: its first process reads
//! from a pipe that the test holds, and the kernel ends the others together with it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::machine::{Ability, require};

/// Far longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// bash, because it reaps what is orphaned in there.
const FIRST_PROCESS: &str = "
    mount -t proc proc /proc &&
    mount -t tmpfs tmpfs /run &&
    mount -t tmpfs tmpfs /dev/shm &&
    mkdir -p /run/corosync /var/lib/corosync &&
    mount -t tmpfs tmpfs /var/lib/corosync &&
    ip link set lo up &&
    echo ready
    while read -r _; do :; done";

pub struct Namespace {
    outside: Child,
    /// Its first process, as seen from outside.
    pub first: i32,
}

impl Namespace {
    pub fn new() -> Namespace {
        require(&[Ability::Cluster]);
        let mut outside = Command::new("unshare")
            .args(["--mount", "--net", "--pid", "--fork", "--", "bash", "-c", FIRST_PROCESS])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare (util-linux)");
        let mut answer = String::new();
        BufReader::new(outside.stdout.take().unwrap()).read_line(&mut answer).unwrap();
        let first = only_child(outside.id()).unwrap_or(0);
        let namespace = Namespace { outside, first };
        assert_eq!(answer, "ready\n", "these tests need root, unshare, bash and ip (iproute2)");
        namespace
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
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command inside, that is given up after a while.
    pub fn run(&self, line: &str) -> Output {
        self.command("timeout")
            .arg("10")
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

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.outside.stdin.take());
        for _ in 0..500 {
            if !matches!(self.outside.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(10));
        }
        if self.first > 0 {
            let _ = kill(Pid::from_raw(self.first), Signal::SIGKILL);
        }
        let _ = self.outside.wait();
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
