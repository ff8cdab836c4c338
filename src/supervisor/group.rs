//! What a dead instance left behind of its own children, and its end.

#![forbid(unsafe_code)]

use std::path::Path;

use crate::sys::mark::Mark;
use crate::sys::process;
use crate::sys::{clock, heap, signals};

/// How long to wait for processes that were killed, in ns. What the kernel holds for longer cannot be ended.
const PATIENCE: u64 = 1_000_000_000;

fn children() -> Vec<i32> {
    process::children(Path::new("/proc/self"))
}

/// The children of the supervisor, which is a subreaper. The kernel hands it those of its instances when their parents have died, and those
/// of other children, which are no business of the supervisor.
#[derive(Debug)]
pub struct Group {
    /// What every descendant of an instance has.
    mark: Mark,
    /// Children that no instance has left, or that cannot be ended.
    spared: Vec<i32>,
}

impl Group {
    /// Of a supervisor that is about to make its first instance: its children so far, `early`, are not touched.
    pub fn new(mark: Mark, early: &[i32]) -> Group {
        Group { mark, spared: heap::gather(early.iter().copied()) }
    }

    /// `pid` is reaped: others may get its number.
    pub fn forget(&mut self, pid: i32) {
        self.spared.retain(|&spared| spared != pid);
    }

    /// Ends all that an instance has left, but not these; a child of one that was ended is the supervisor's then. How many were ended, and how many
    /// could not be.
    pub fn end(&mut self, others: &[i32]) -> (usize, usize) {
        let until = clock::now().saturating_add(PATIENCE);
        let (mut ended, mut left) = (0, 0);
        loop {
            let mut found = children();
            found.retain(|pid| !self.spared.contains(pid) && !others.contains(pid) && self.mark.is_on(*pid));
            if found.is_empty() || clock::now() >= until {
                return (ended, left + found.len());
            }
            let killed = heap::gather(found.iter().map(|&pid| signals::send(pid, libc::SIGKILL).is_ok()));
            for (pid, killed) in found.into_iter().zip(killed) {
                if killed && process::reap_until(pid, until) {
                    ended += 1;
                } else {
                    // Not to be waited for again.
                    left += 1;
                    if self.spared.try_reserve(1).is_ok() {
                        self.spared.push(pid);
                    }
                }
            }
        }
    }
}
