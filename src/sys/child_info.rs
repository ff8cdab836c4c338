//! Facts about a child that this process has not forked itself, from /proc.

use std::time::Duration;

use nix::unistd::Pid;

use super::{proc_file, process};
use crate::time;

/// The flag `PF_FORKNOEXEC` of the kernel in /proc/PID/stat: the process was forked, and has executed no program since.
const FORKED_WITHOUT_EXEC: u64 = 0x40;

/// Facts from /proc about a living child that the supervisor has not forked itself. They show whether the child can be
/// the successor of an instance that called daemon(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildInfo {
    /// The pid of the child.
    pub pid: Pid,
    /// `true` if the child has executed no program since it was forked, so that it still has the memory of this
    /// library.
    pub has_our_memory: bool,
    /// `true` if the child leads a session, as daemon(3) makes it do.
    pub leads_session: bool,
    /// The time from the boot of the machine until the child was forked, rounded down to the kernel's clock tick.
    pub started: Duration,
    /// The real and the saved user id of the child.
    pub users: [u32; 2],
}

impl ChildInfo {
    /// Reads from /proc the facts about `pid`, a child of the calling process that is not reaped yet. Returns `None` if
    /// that is no living child, or if /proc cannot be read.
    pub fn of(pid: Pid) -> Option<ChildInfo> {
        let (mut stat, mut status) = ([0; 1024], [0; 4096]);
        let stat = read(pid, "stat", &mut stat)?;
        let status = read(pid, "status", &mut status)?;
        ChildInfo::in_text(pid, process::own_pid(), stat, status)
    }

    fn in_text(pid: Pid, parent: Pid, stat: &str, status: &str) -> Option<ChildInfo> {
        let number = |place| field(stat, place)?.parse::<u64>().ok();
        let is_living_child =
            !matches!(field(stat, 3)?, "Z" | "X") && number(4)? == u64::try_from(parent.as_raw()).ok()?;
        let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        let user = |place| users.split_ascii_whitespace().nth(place)?.parse().ok();
        is_living_child.then_some(ChildInfo {
            pid,
            leads_session: number(6)? == u64::try_from(pid.as_raw()).ok()?,
            has_our_memory: number(9)? & FORKED_WITHOUT_EXEC != 0,
            started: Duration::from_nanos(number(22)?.saturating_mul(time::ns(tick()))),
            users: [user(0)?, user(2)?],
        })
    }
}

/// The flag `PF_EXITING` of the kernel in /proc/PID/stat: the process is exiting.
const EXITING: u64 = 0x4;

/// Returns `true` if `process` is exiting, so that it runs no code of its own any more. Returns `false` if /proc cannot
/// be read.
pub fn is_exiting(process: Pid) -> bool {
    let mut room = [0; 1024];
    read(process, "stat", &mut room).is_some_and(has_exiting_flag)
}

fn has_exiting_flag(stat: &str) -> bool {
    let flags = field(stat, 9).and_then(|flags| flags.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & EXITING != 0)
}

/// Returns a field of the text of /proc/PID/stat by its number in proc_pid_stat(5), from 3 on. The second field, the
/// name of the process, may contain spaces and parentheses, so the fields after it are counted.
fn field(stat: &str, number: usize) -> Option<&str> {
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split_ascii_whitespace().nth(number - 3)
}

/// Returns the kernel's clock tick, which is the unit of start times in /proc/PID/stat.
pub fn tick() -> Duration {
    // SAFETY: sysconf takes a number.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Duration::from_secs(1) / u32::try_from(per_second).unwrap_or(100).max(1)
}

/// Reads /proc/`pid`/`name` into `room`, and returns it as text. Text that does not fit, or follows the first byte that
/// is not UTF-8, is cut off. Returns `None` if the file cannot be read.
fn read<'a>(pid: Pid, name: &str, room: &'a mut [u8]) -> Option<&'a str> {
    let text = proc_file::read(pid, name, room);
    // The name of a process may be cut in the middle of a character, or be none at all.
    let start = text.iter().rposition(|&byte| byte == b')').filter(|_| name == "stat").unwrap_or(0);
    let text = &text[start..];
    let end = match std::str::from_utf8(text) {
        Ok(_) => text.len(),
        Err(error) => error.valid_up_to(),
    };
    std::str::from_utf8(&text[..end]).ok().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tdaemon\nState:\tS (sleeping)\nUid:\t10\t11\t12\t13\nGid:\t1\t1\t1\t1\n";

    #[test]
    fn stat_and_status_of_a_living_child_are_parsed() {
        let stat = |state: &str, session: i32, flags: u64| {
            format!(
                "71 (a) b) {state} 70 71 {session} 0 -1 {flags} 9 0 0 0 1 2 0 0 20 0 1 0 4500 1000 50 18446744073709551615"
            )
        };
        let found =
            ChildInfo::in_text(Pid::from_raw(71), Pid::from_raw(70), &stat("S", 71, 0x400040), STATUS);
        let expected = ChildInfo {
            pid: Pid::from_raw(71),
            has_our_memory: true,
            leads_session: true,
            started: tick() * 4500,
            users: [10, 12],
        };
        assert_eq!(found, Some(expected));
        let found =
            ChildInfo::in_text(Pid::from_raw(71), Pid::from_raw(70), &stat("S", 60, 0x400000), STATUS);
        assert_eq!(found, Some(ChildInfo { has_our_memory: false, leads_session: false, ..expected }));
        assert_eq!(
            ChildInfo::in_text(Pid::from_raw(71), Pid::from_raw(70), &stat("Z", 71, 0x40), STATUS),
            None,
            "dead"
        );
        assert_eq!(
            ChildInfo::in_text(Pid::from_raw(71), Pid::from_raw(69), &stat("S", 71, 0x40), STATUS),
            None,
            "another's child"
        );
        for rubbish in ["", "71", "71 (x) ", "71 (x) S", "71 (x) S 70 x y z"] {
            assert_eq!(
                ChildInfo::in_text(Pid::from_raw(71), Pid::from_raw(70), rubbish, STATUS),
                None,
                "{rubbish:?}"
            );
        }
        assert_eq!(
            ChildInfo::in_text(Pid::from_raw(71), Pid::from_raw(70), &stat("S", 71, 0x40), "Name:\tx\n"),
            None
        );
    }

    #[test]
    fn process_that_exits_is_told_from_one_that_runs() {
        let stat = |flags: u64| format!("71 (a) b) R 70 71 71 0 -1 {flags} 9 0 0 0");
        assert!(has_exiting_flag(&stat(0x400044)));
        assert!(!has_exiting_flag(&stat(0x400040)));
        assert!(!has_exiting_flag("71 (a) R"));
        assert!(!is_exiting(process::own_pid()));
    }

    #[test]
    fn process_that_is_no_child_is_not_found() {
        assert_eq!(ChildInfo::of(process::own_pid()), None);
        assert_eq!(ChildInfo::of(Pid::from_raw(1 << 30)), None);
    }
}
