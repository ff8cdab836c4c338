//! Finds the process that goes on in the place of an instance that exited with 0, as daemon(3) makes it.
//!
//! The supervisor is the subreaper of its instances, so what an instance leaves behind becomes a child of the supervisor.
//! The control page may name the process that goes on. That word is not trusted: only a child of the supervisor is
//! accepted, that was forked while the instance lived, executed no other program, and that the instance's user could
//! signal. Never the spare, the cluster helper, or a child from before `sam_register`.

#![forbid(unsafe_code)]

use std::path::Path;

use crate::sys::heap;
use crate::sys::mark::Mark;
use crate::sys::process;
use crate::sys::relative::{self, Relative};
use crate::sys::signals;

/// A process forked so shortly before the end of the instance, in ns, may be a daemon that goes on in its place.
const FRESH: u64 = 2_000_000_000;

/// What was found in place of an instance that exited with 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heirs {
    /// No process that could go on in its place.
    None,
    /// This process has called the library, and can be supervised.
    Caller(i32),
    /// This process may call the library yet. No other can.
    Only(i32),
    /// Several processes may call the library yet.
    Several,
    /// A process may go on that cannot be supervised: this one, where its pid is known.
    OutOfReach(Option<i32>),
}

/// An instance that exited with 0.
#[derive(Debug, Clone, Copy)]
pub struct Late {
    /// Its real user id.
    pub user: u32,
    /// When it was forked, or earlier, in ns since boot.
    pub born: u64,
    /// When it ended, or later, in ns since boot.
    pub ended: u64,
    /// The pid that its page names.
    pub named: Option<i32>,
    /// Its page says that it has forked.
    pub has_forked: bool,
    /// It was in another PID namespace: its orphans do not become children of the supervisor.
    pub was_apart: bool,
    /// What its descendants have. `None` where no process can have it.
    pub mark: Option<Mark>,
}

/// Looks for them. `others` are children of the supervisor that no instance left behind.
pub fn find(late: &Late, others: &[i32]) -> Heirs {
    if late.was_apart {
        return if late.has_forked { Heirs::OutOfReach(None) } else { Heirs::None };
    }
    let alive = |pid: i32| signals::send(pid, 0) != Err(nix::errno::Errno::ESRCH);
    let named = late.named.filter(|pid| !others.contains(pid));
    if !process::has_children() {
        return named.filter(|&pid| alive(pid)).map_or(Heirs::None, |pid| Heirs::OutOfReach(Some(pid)));
    }
    let children = process::children(Path::new("/proc/self"));
    if children.is_empty() && late.has_forked {
        // /proc cannot be read.
        return Heirs::OutOfReach(late.named);
    }
    let children = children.into_iter().filter(|pid| !others.contains(pid));
    let found = heap::gather(children.filter_map(Relative::of));
    let is_marked = |pid| late.mark.is_none_or(|mark| mark.is_on(pid));
    choose(late, named, &found, alive, is_marked)
}

fn choose(
    late: &Late,
    named: Option<i32>,
    found: &[Relative],
    alive: impl Fn(i32) -> bool,
    is_marked: impl Fn(i32) -> bool,
) -> Heirs {
    let is_left_by_it = |child: &&Relative| {
        child.has_our_memory
            && child.started.saturating_add(relative::tick()) > late.born
            // Otherwise an instance without rights could have the supervisor signal the processes of others.
            && (late.user == 0 || child.users.contains(&late.user))
    };
    let left = heap::gather(found.iter().filter(is_left_by_it));
    if let Some(caller) = left.iter().find(|child| Some(child.pid) == named) {
        return Heirs::Caller(caller.pid);
    }
    if let Some(pid) = named.filter(|&pid| alive(pid)) {
        // It may be the grandchild of a process that is there, and become a child when that ends.
        return Heirs::OutOfReach(Some(pid));
    }
    // A worker that was forked long ago is not waited for, and neither is an orphan of another child of the supervisor.
    let may_be_daemon = |child: &&&Relative| {
        (child.leads_session || child.started.saturating_add(FRESH) >= late.ended) && is_marked(child.pid)
    };
    let mut daemons = left.iter().filter(may_be_daemon);
    match (daemons.next(), daemons.next()) {
        (None, _) => Heirs::None,
        (Some(only), None) => Heirs::Only(only.pid),
        (Some(_), Some(_)) => Heirs::Several,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const LATE: Late = Late {
        user: 0,
        born: 100 * S,
        ended: 200 * S,
        named: None,
        has_forked: true,
        was_apart: false,
        mark: None,
    };

    fn child(pid: i32) -> Relative {
        Relative { pid, has_our_memory: true, leads_session: false, started: 199 * S, users: [7, 7] }
    }

    fn chosen(late: Late, found: &[Relative]) -> Heirs {
        choose(&late, late.named, found, |pid| pid < 100, |pid| pid != 80)
    }

    #[test]
    fn the_process_that_called_is_chosen_and_no_other() {
        let named = Late { named: Some(71), ..LATE };
        assert_eq!(chosen(named, &[child(70), child(71), child(72)]), Heirs::Caller(71));
        let old = Relative { started: 150 * S, ..child(71) };
        assert_eq!(chosen(named, &[old]), Heirs::Caller(71), "however long ago it was forked");
        assert_eq!(chosen(named, &[child(70)]), Heirs::OutOfReach(Some(71)), "no child");
        let dead = Late { named: Some(171), ..LATE };
        assert_eq!(chosen(dead, &[child(70)]), Heirs::Only(70));
    }

    #[test]
    fn a_page_that_names_a_process_which_the_instance_could_not_signal_is_not_believed() {
        let named = Late { named: Some(71), user: 65534, ..LATE };
        assert_eq!(chosen(named, &[child(71)]), Heirs::OutOfReach(Some(71)));
        for users in [[65534, 1], [1, 65534]] {
            assert_eq!(chosen(named, &[Relative { users, ..child(71) }]), Heirs::Caller(71));
        }
        let early = Relative { started: 99 * S, ..child(71) };
        let executed = Relative { has_our_memory: false, ..child(71) };
        for other in [early, executed] {
            assert_eq!(chosen(Late { named: Some(71), ..LATE }, &[other]), Heirs::OutOfReach(Some(71)));
            assert_eq!(chosen(LATE, &[other]), Heirs::None);
        }
    }

    #[test]
    fn processes_like_daemons_are_waited_for_and_old_workers_are_not() {
        let worker = Relative { started: 150 * S, ..child(70) };
        assert_eq!(chosen(LATE, &[worker]), Heirs::None);
        let leader = Relative { leads_session: true, ..worker };
        assert_eq!(chosen(LATE, &[worker, leader]), Heirs::Only(70));
        assert_eq!(chosen(LATE, &[worker, child(71)]), Heirs::Only(71));
        assert_eq!(chosen(LATE, &[leader, child(71)]), Heirs::Several);
        assert_eq!(chosen(LATE, &[]), Heirs::None);
        assert_eq!(
            chosen(LATE, &[Relative { leads_session: true, ..child(80) }]),
            Heirs::None,
            "no descendant"
        );
        assert_eq!(
            chosen(Late { named: Some(80), ..LATE }, &[child(80)]),
            Heirs::Caller(80),
            "it has a page"
        );
    }
}
