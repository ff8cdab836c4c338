//! Finds the process that goes on in the place of an instance that exited with 0, as daemon(3) makes it.
//!
//! The supervisor is the subreaper of its instances, so what an instance leaves behind becomes a child of the
//! supervisor. The control page may name the process that goes on. That word is not trusted: only a child of the
//! supervisor is accepted, that was forked while the instance lived, executed no other program, and that the instance's
//! user could signal. Never the spare, the cluster helper, or a child from before `sam_register`.

#![forbid(unsafe_code)]

use std::path::Path;
use std::time::Duration;

use nix::unistd::Pid;

use crate::sys::child_info::{self, ChildInfo};
use crate::sys::descent_mark::DescentMark;
use crate::sys::heap;
use crate::sys::process;
use crate::sys::signals;

/// A process that was forked this short time before the end of the instance may be a daemon that goes on in its place.
/// daemon(3) exits right after its fork. Two seconds are enough for that on a busy machine, and a worker is seldom so
/// young.
const FRESH: Duration = Duration::from_secs(2);

/// The processes that may go on in the place of an instance that exited with 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candidates {
    /// No process that could go on in its place.
    None,
    /// This process has called the library, and can be supervised.
    Caller(Pid),
    /// This process may call the library yet. No other can.
    Only(Pid),
    /// Several processes are left that may call the library later.
    Several,
    /// A process may go on that cannot be supervised: this one, where its pid is known.
    OutOfReach(Option<Pid>),
}

/// An instance that exited with 0, for the search of the process that goes on in its place.
#[derive(Debug, Clone, Copy)]
pub struct ExitedInstance {
    /// The real user id of the instance.
    pub user: u32,
    /// The time at which the instance was forked, or shortly before, as the time since the machine was booted.
    pub born: Duration,
    /// The time from the boot of the machine until it ended, or until shortly after.
    pub ended: Duration,
    /// The pid of the process that asks on the control page to be adopted.
    pub named: Option<Pid>,
    /// Its control page says that it has forked.
    pub has_forked: bool,
    /// The instance was in another PID namespace, so its orphans do not become children of the supervisor.
    pub was_apart: bool,
    /// The mark of its descendants. `None` if no process can have the mark.
    pub mark: Option<DescentMark>,
}

/// Looks for a process that goes on in place of an instance that has exited, as daemon(3) leaves one. `others` are the
/// children of the supervisor that no instance left behind.
pub fn find(exited: &ExitedInstance, others: &[Pid]) -> Candidates {
    if exited.was_apart {
        return if exited.has_forked { Candidates::OutOfReach(None) } else { Candidates::None };
    }
    let named = exited.named.filter(|pid| !others.contains(pid));
    if !process::has_children() {
        return named
            .filter(|&pid| signals::exists(pid))
            .map_or(Candidates::None, |pid| Candidates::OutOfReach(Some(pid)));
    }
    let read_children = || process::children(Path::new("/proc/self"));
    let children = read_children();
    if exited.has_forked && children.is_empty() {
        // /proc cannot be read.
        return Candidates::OutOfReach(exited.named);
    }
    let mut found = living(children, read_children, ChildInfo::of);
    found.retain(|child| !others.contains(&child.pid));
    let is_marked = |pid| exited.mark.is_none_or(|mark| mark.is_on(pid));
    choose(exited, named, &found, signals::exists, is_marked)
}

/// Returns the living ones among the children of this process, which `children` lists. A child that ends after the list
/// was read has left its own children to this process, and these are not in that list. So the list is read again until
/// no child has ended in between. The kernel hands children over before it shows the end of their parent (exit_notify()
/// of Linux).
fn living(
    mut children: Vec<Pid>,
    read_children: impl Fn() -> Vec<Pid>,
    info: impl Fn(Pid) -> Option<ChildInfo>,
) -> Vec<ChildInfo> {
    /// A program that forks and exits without end does not hold the supervisor up: it is looked at again later.
    const MOST_READS: usize = 100;
    let mut known_dead = Vec::new();
    let mut living = Vec::new();
    for _ in 0..MOST_READS {
        living = heap::gather(children.iter().copied().filter_map(&info));
        let is_alive = |pid: &Pid| living.iter().any(|child: &ChildInfo| child.pid == *pid);
        let dead = heap::gather(children.into_iter().filter(|pid| !is_alive(pid)));
        if dead.iter().all(|pid| known_dead.contains(pid)) {
            break;
        }
        known_dead = dead;
        children = read_children();
    }
    living
}

fn choose(
    exited: &ExitedInstance,
    named: Option<Pid>,
    found: &[ChildInfo],
    exists: impl Fn(Pid) -> bool,
    is_marked: impl Fn(Pid) -> bool,
) -> Candidates {
    let is_left_by_it = |child: &&ChildInfo| {
        child.has_our_memory
            && child.started.saturating_add(child_info::tick()) > exited.born
            // Otherwise an instance without rights could have the supervisor signal the processes of others.
            && (exited.user == 0 || child.users.contains(&exited.user))
    };
    let left = heap::gather(found.iter().filter(is_left_by_it));
    if let Some(caller) = left.iter().find(|child| Some(child.pid) == named) {
        return Candidates::Caller(caller.pid);
    }
    if let Some(pid) = named.filter(|&pid| exists(pid)) {
        // It may be the grandchild of a process that is there, and become a child when that ends.
        return Candidates::OutOfReach(Some(pid));
    }
    // A worker that was forked long ago is not waited for, and neither is an orphan of another child of the supervisor.
    let may_be_daemon = |child: &&&ChildInfo| {
        (child.leads_session || child.started.saturating_add(FRESH) >= exited.ended) && is_marked(child.pid)
    };
    let mut daemons = left.iter().filter(may_be_daemon);
    match (daemons.next(), daemons.next()) {
        (None, _) => Candidates::None,
        (Some(only), None) => Candidates::Only(only.pid),
        (Some(_), Some(_)) => Candidates::Several,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: ExitedInstance = ExitedInstance {
        user: 0,
        born: Duration::from_secs(100),
        ended: Duration::from_secs(200),
        named: None,
        has_forked: true,
        was_apart: false,
        mark: None,
    };

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number)
    }

    fn child(number: i32) -> ChildInfo {
        ChildInfo {
            pid: pid(number),
            has_our_memory: true,
            leads_session: false,
            started: Duration::from_secs(199),
            users: [7, 7],
        }
    }

    fn chosen(exited: ExitedInstance, found: &[ChildInfo]) -> Candidates {
        choose(&exited, exited.named, found, |pid| pid.as_raw() < 100, |pid| pid.as_raw() != 80)
    }

    #[test]
    fn child_of_a_child_that_ends_during_the_search_is_found() {
        let reads = std::cell::Cell::new(0);
        let read_children = || {
            reads.set(reads.get() + 1);
            // 70 ends after the first read, and leaves 71.
            if reads.get() == 1 { vec![pid(70)] } else { vec![pid(70), pid(71)] }
        };
        let found =
            living(read_children(), read_children, |pid| (pid.as_raw() != 70).then(|| child(pid.as_raw())));
        assert_eq!((found, reads.get()), (vec![child(71)], 2));
    }

    #[test]
    fn children_that_end_without_end_stop_the_search() {
        let next = std::cell::Cell::new(0);
        let read_children = || vec![pid(next.replace(next.get() + 1))];
        assert_eq!(living(read_children(), read_children, |_| None), []);
    }

    #[test]
    fn process_that_called_is_chosen() {
        let named = ExitedInstance { named: Some(pid(71)), ..LATE };
        assert_eq!(chosen(named, &[child(70), child(71), child(72)]), Candidates::Caller(pid(71)));
        let old = ChildInfo { started: Duration::from_secs(150), ..child(71) };
        assert_eq!(chosen(named, &[old]), Candidates::Caller(pid(71)), "however long ago it was forked");
        assert_eq!(chosen(named, &[child(70)]), Candidates::OutOfReach(Some(pid(71))), "no child");
        let dead = ExitedInstance { named: Some(pid(171)), ..LATE };
        assert_eq!(chosen(dead, &[child(70)]), Candidates::Only(pid(70)));
    }

    #[test]
    fn named_process_that_the_instance_could_not_signal_is_refused() {
        let named = ExitedInstance { named: Some(pid(71)), user: 65534, ..LATE };
        assert_eq!(chosen(named, &[child(71)]), Candidates::OutOfReach(Some(pid(71))));
        for users in [[65534, 1], [1, 65534]] {
            assert_eq!(chosen(named, &[ChildInfo { users, ..child(71) }]), Candidates::Caller(pid(71)));
        }
        let early = ChildInfo { started: Duration::from_secs(99), ..child(71) };
        let executed = ChildInfo { has_our_memory: false, ..child(71) };
        for other in [early, executed] {
            assert_eq!(
                chosen(ExitedInstance { named: Some(pid(71)), ..LATE }, &[other]),
                Candidates::OutOfReach(Some(pid(71)))
            );
            assert_eq!(chosen(LATE, &[other]), Candidates::None);
        }
    }

    #[test]
    fn processes_like_daemons_are_candidates_and_old_workers_are_not() {
        let worker = ChildInfo { started: Duration::from_secs(150), ..child(70) };
        assert_eq!(chosen(LATE, &[worker]), Candidates::None);
        let leader = ChildInfo { leads_session: true, ..worker };
        assert_eq!(chosen(LATE, &[worker, leader]), Candidates::Only(pid(70)));
        assert_eq!(chosen(LATE, &[worker, child(71)]), Candidates::Only(pid(71)));
        assert_eq!(chosen(LATE, &[leader, child(71)]), Candidates::Several);
        assert_eq!(chosen(LATE, &[]), Candidates::None);
        assert_eq!(
            chosen(LATE, &[ChildInfo { leads_session: true, ..child(80) }]),
            Candidates::None,
            "no descendant"
        );
        assert_eq!(
            chosen(ExitedInstance { named: Some(pid(80)), ..LATE }, &[child(80)]),
            Candidates::Caller(pid(80)),
            "it has a page"
        );
    }
}
