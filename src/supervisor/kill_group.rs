//! Ends the processes that a dead instance left behind.

#![forbid(unsafe_code)]

use std::path::Path;
use std::time::Duration;

use nix::unistd::Pid;

use crate::sys::descent_mark::DescentMark;
use crate::sys::process;
use crate::sys::signals::{self, Signal};
use crate::sys::{clock, heap};

/// The longest wait for processes that were killed. A process that takes longer is held by the kernel, such as by a
/// disk that does not answer, and may stay for ever.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Finds and kills the child processes that dead instances left behind, for SAM_KILL_GROUP.
///
/// The supervisor is a subreaper, so the kernel makes it the parent of orphans among its descendants. These are
/// descendants of its instances, and of children from before `sam_register`, which it leaves alone.
#[derive(Debug)]
pub struct KillGroup {
    /// The mark (a resource limit, see [`DescentMark`]) that instances and their descendants have. Only children with
    /// the mark are killed.
    mark: DescentMark,
    /// The pids of children of the supervisor that could not be sent SIGKILL, or did not end within a second after it.
    /// They are not tried again.
    spared: Vec<Pid>,
}

impl KillGroup {
    /// Returns the killer of left processes for a supervisor that is about to make its first instance. Only processes
    /// with `mark` will be killed, which the instances and all their descendants have.
    pub fn new(mark: DescentMark) -> KillGroup {
        KillGroup { mark, spared: Vec::new() }
    }

    /// Records that the child `pid` is reaped. The kernel may give the pid to another process.
    pub fn forget(&mut self, pid: Pid) {
        self.spared.retain(|&spared| spared != pid);
    }

    /// Kills all processes that dead instances left behind, and waits a second at most until they have ended. Leaves
    /// the pids in `others` alone, which are children of the supervisor that no instance left behind. Returns how many
    /// processes have ended, and how many have not.
    pub fn end(&mut self, others: &[Pid]) -> (usize, usize) {
        let deadline = clock::now() + END_TIMEOUT;
        let (mut ended, mut left) = (0, 0);
        // The children of a process that has ended become children of the supervisor, and are found in the next round.
        loop {
            let mut found = process::children(Path::new("/proc/self"));
            found.retain(|pid| !self.spared.contains(pid) && !others.contains(pid) && self.mark.is_on(*pid));
            if found.is_empty() || clock::now() >= deadline {
                return (ended, left + found.len());
            }
            let killed = heap::gather(found.iter().map(|&pid| signals::kill(pid, Signal::KILL).is_ok()));
            for (pid, killed) in found.into_iter().zip(killed) {
                if killed && process::reap_until(pid, deadline) {
                    ended += 1;
                } else {
                    // The next round does not wait for it again.
                    left += 1;
                    self.spared.push(pid);
                }
            }
        }
    }
}
