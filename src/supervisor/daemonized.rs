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

/// The result of [`find`]: the processes that may go on in the place of an instance which exited with 0. A program that
/// calls daemon(3) leaves such a process. The supervisor adopts one of them as the instance, searches again, or gives
/// up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candidates {
    /// No process is left that could go on in the place of the instance. The program has ended.
    None,
    /// This child of the supervisor goes on in the place of the instance: the instance forked it, and it has called the
    /// library since then. The supervisor can adopt it.
    Caller(Pid),
    /// This child of the supervisor is the only one that may go on in the place of the instance. The instance forked
    /// it, and it has not called the library so far.
    Only(Pid),
    /// At least two children of the supervisor may go on in the place of the instance. The instance forked them, and
    /// none has called the library so far.
    Several,
    /// A process may go on in the place of the instance that the supervisor cannot adopt, usually because it is not a
    /// child of the supervisor. Holds the pid of the process, where it is known.
    OutOfReach(Option<Pid>),
}

/// The facts about an instance that exited with 0, by which [`find`] looks for a process that goes on in its place.
/// daemon(3), for example, exits in the parent and goes on in the child.
#[derive(Debug, Clone, Copy)]
pub struct ExitedInstance {
    /// The real user id of the instance.
    pub user: u32,
    /// The time from the boot of the machine until the instance was forked, or until shortly before.
    pub born: Duration,
    /// The time from the boot of the machine until the instance ended, or until shortly after.
    pub ended: Duration,
    /// The pid of the process that asks to be adopted as the instance, from the control page of the instance. A process
    /// that the instance forked stores its own pid there, but a hostile process may store any pid.
    pub named: Option<Pid>,
    /// `true` if the control page says that the instance, or a process that the instance forked, has ever called
    /// fork(2).
    pub has_forked: bool,
    /// `true` if the instance was in another PID namespace than the supervisor. Then its orphans do not become children
    /// of the supervisor.
    pub was_apart: bool,
    /// The mark (a resource limit, see [`DescentMark`]) that all instances of the supervisor and their descendants
    /// have. `None` if the hard limit of the supervisor is too low for a mark.
    pub mark: Option<DescentMark>,
}

/// Looks for a process that goes on in the place of an instance which exited with 0, as daemon(3) leaves one. `others`
/// are children of the supervisor that are never chosen: the spare, the cluster helper, and children from before
/// `sam_register`.
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

/// Returns the living children of this process. `children` is a first list of their pids, and `read_children` reads the
/// list again. It is read until no child has ended since the last reading: a child that ends leaves its own children to
/// this process, and the kernel does so before it shows the end (exit_notify() of Linux).
fn living(
    mut children: Vec<Pid>,
    read_children: impl Fn() -> Vec<Pid>,
    info: impl Fn(Pid) -> Option<ChildInfo>,
) -> Vec<ChildInfo> {
    /// The highest number of times that one search reads the list of children. Without this limit, a program that forks
    /// and exits without end would keep the supervisor busy. The supervisor searches again later.
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
