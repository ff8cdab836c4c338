//! A mark that all descendants of a process inherit, and that other processes can see.
//!
//! The kernel does not show whose child an orphan was. The soft limit of the number of file locks (RLIMIT_LOCKS, see
//! getrlimit(2)) survives fork, exec and a change of user, is shown in /proc/PID/limits, and has no effect since
//! Linux 2.4.25.

use std::path::Path;

use nix::unistd::Pid;

use super::limits::{Limits, Resource};

/// The name of the limit RLIMIT_LOCKS in /proc/PID/limits. The kernel ignores this limit, so the library uses it as a
/// mark.
const NAME: &str = "Max file locks";

/// A mark by which a supervisor recognises its instances and their descendants, orphans among them: a value of the soft
/// limit RLIMIT_LOCKS. Descendants inherit the limit, /proc shows it, and it has no effect since Linux 2.4.25.
#[derive(Debug, Clone, Copy)]
pub struct DescentMark {
    soft: u32,
    /// The hard limit, which stays as it was. `None` if it is lower than `soft`.
    hard: Option<u64>,
}

impl DescentMark {
    /// Returns the mark for the instances of one supervisor, the calling process: a value for the soft limit
    /// RLIMIT_LOCKS, which no administrator would set. Supervisors with different seeds most likely have different marks.
    pub fn new(seed: u64) -> DescentMark {
        // A limit that nobody would set.
        let soft = ((seed ^ (seed >> 30)) as u32 & 0x3fff_ffff) | 0x4000_0000;
        let hard = Limits::of(Resource::Locks).ok().map(|limits| limits.hard);
        DescentMark { soft, hard: hard.filter(|&hard| hard >= soft.into()) }
    }

    /// Marks the calling process, a new instance, and its later descendants, by the soft limit RLIMIT_LOCKS. Does
    /// nothing if the hard limit is lower than the mark's value.
    pub fn set(self) {
        if let Some(hard) = self.hard {
            let _ = Limits { soft: self.soft.into(), hard }.set(Resource::Locks);
        }
    }

    /// Returns `true` if the instances and their descendants can have this mark: the hard limit RLIMIT_LOCKS is not
    /// lower than the mark's value.
    pub fn can_be_set(self) -> bool {
        self.hard.is_some()
    }

    /// Returns `true` if `process` has this mark, so that it is an instance of the supervisor or a descendant of one.
    /// Returns `false` if /proc cannot be read.
    pub fn is_on(self, process: Pid) -> bool {
        let limits = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("limits"));
        limits.is_ok_and(|limits| DescentMark::in_limits(&limits) == Some(self.soft))
    }

    /// Returns the soft limit that the file /proc/PID/limits shows, unless there is none.
    fn in_limits(limits: &str) -> Option<u32> {
        let line = limits.lines().find_map(|line| line.strip_prefix(NAME))?;
        line.split_whitespace().next()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_file_shows_the_mark() {
        let limits = |soft: &str| {
            format!("Max locked memory 65536 65536 bytes\nMax file locks   {soft}   unlimited  locks\n")
        };
        assert_eq!(DescentMark::in_limits(&limits("1073741824")), Some(1 << 30));
        assert_eq!(DescentMark::in_limits(&limits("unlimited")), None);
        assert_eq!(DescentMark::in_limits(""), None);
    }

    #[test]
    fn process_that_was_not_marked_has_no_mark() {
        for seed in [0, 1, u64::MAX] {
            assert!(!DescentMark::new(seed).is_on(Pid::this()));
        }
    }
}
