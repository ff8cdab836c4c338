//! What the kernel says becomes events for the machine; the machine's effects become system calls.

use std::collections::VecDeque;
use std::iter;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::group::Group;
use super::heir::{self, Heirs, Late};
use super::machine::{self, Effect, Event, Machine, Rules};
use super::newborn::{Instance, Newborn};
use super::notice::Notice;
use super::notifier::Notifier;
use super::showcase::Showcase;
use super::summary::Summary;
use crate::board::Board;
use crate::corosync::Doorbell;
use crate::corosync::link::Link;
use crate::error::{Error, Result};
use crate::log::Log;
use crate::policy::Policy;
use crate::status::{Stage, Status as Shown};
use crate::sys::inspection::Inspection;
use crate::sys::lifeline::RobustList;
use crate::sys::mark::Mark;
use crate::sys::process::{self, Change, Forked, Origin, Status, Subreaper, TimerSlack};
use crate::sys::signals::{self, ChildSignal, Inbox, Received};
use crate::sys::{clock, program};
use crate::sys::{heap, relative};

/// How much of a kind is taken at a time: an instance may make signals and children faster than they can be dealt
/// with.
const NEWS: usize = 1000;

/// Events for which there is memory at any time, beside the news.
const OWN_EVENTS: usize = 16;

/// How long a spare may take to take over before the supervisor goes on, in ns.
const PATIENCE: u64 = 1_000_000;

/// How often to look at an instance that has no pidfd, in ns: a thread of the application may take the SIGCHLD that
/// tells of its end.
const GLANCE: u64 = 250_000_000;

/// The first pause before looking again whether a spare has taken over that is to be sent signals, and the longest,
/// in ns.
const RISING: (u64, u64) = (1_000_000, 1_000_000_000);

/// How long to wait for the end of an instance that is exiting when a signal arrives that ends the program, in ns.
const EXIT: u64 = 100_000_000;

/// How long the supervisor waits at its end for the end of the spare that it has killed, in ns.
const BURIAL: u64 = 100_000_000;

/// What became of the calling process.
#[derive(Debug)]
pub enum Role {
    /// It is a new instance: the first, or a later one.
    Instance(Instance),
    /// It is the supervisor, and has nothing left to do but to end like this.
    Supervisor(Status),
}

/// Makes the first instance and supervises it and its successors. Returns in each instance, and in the
/// supervisor at its end. All signals are blocked by the caller. After an error no instance was made, and the
/// process is as it was. Calls `become_supervisor` in the supervisor once there is a first instance.
pub fn supervise(rules: Rules, warn_signal: i32, become_supervisor: &dyn Fn()) -> Result<Role> {
    Ok(match run(rules, warn_signal, become_supervisor)? {
        Outcome::Born(newborn) => Role::Instance(newborn.take_over()),
        Outcome::Over(status) => Role::Supervisor(status),
    })
}

/// What a process has become that was the supervisor, or was forked by it.
enum Outcome {
    Born(Newborn),
    Over(Status),
}

fn run(rules: Rules, warn_signal: i32, become_supervisor: &dyn Fn()) -> Result<Outcome> {
    let mut supervisor = Supervisor::new(rules, warn_signal)?;
    let lifeline = RobustList::current();
    let first = match supervisor.launch(1, warn_signal) {
        Ok(first) => first,
        Err(errno) => {
            lifeline.restore();
            if let Some(corosync) = supervisor.corosync.take() {
                corosync.withdraw();
            }
            return Err(Error::System(errno as i32));
        }
    };
    match first {
        Launch::InChild(newborn) => Ok(Outcome::Born(newborn)),
        Launch::Made(launched) => {
            become_supervisor();
            let own_pid = process::own_pid();
            let outcome = catch_unwind(AssertUnwindSafe(|| supervisor.run(launched)));
            outcome.map_err(|_| Error::Internal).or_else(|error| {
                if process::own_pid() != own_pid {
                    return Err(error);
                }
                // Nothing may fail upward in the supervisor: the application must not go on here.
                let _ = supervisor.child.as_ref().map(|child| child.send(libc::SIGKILL));
                Ok(Outcome::Over(Status::Killed { signal: libc::SIGABRT, core: false }))
            })
        }
    }
}

/// What launch() has done.
enum Launch {
    /// This process is the new instance, or the spare.
    InChild(Newborn),
    /// It was made; to be told to the machine.
    Made(Event),
}

/// The instance that lives, or the spare.
struct Child {
    pid: i32,
    board: Board,
    /// Tells its end even where a thread of the application takes SIGCHLD. None when no descriptor was left.
    pidfd: Option<OwnedFd>,
    /// Made in advance, and not seen to have taken over yet: it may end before, and throws signals away that reach it
    /// before.
    was_spare: bool,
    /// When it became the instance, or earlier, in ns since boot.
    born: u64,
}

/// An instance that exited with 0, and may go on in another process.
struct Left {
    child: Child,
    user: u32,
    ended: u64,
}

impl Child {
    fn new(pid: i32, board: Board, was_spare: bool, born: u64) -> Child {
        Child { pid, board, pidfd: None, was_spare, born }
    }

    /// Sends it a signal. Where it has a pidfd, no other process gets the signal, even if a thread of the application
    /// has reaped the child and its pid was used again.
    fn send(&self, number: i32) -> nix::Result<()> {
        match &self.pidfd {
            Some(pidfd) => signals::send_through(pidfd.as_fd(), self.pid, number),
            None => signals::send(self.pid, number),
        }
    }

    /// Passes a signal on to it.
    fn pass_on(&self, received: Received) -> nix::Result<()> {
        if received.value.is_some() {
            signals::pass_on(self.pid, received)
        } else {
            self.send(received.number)
        }
    }

    /// Returns `true` once it is known to keep the signals that it is sent.
    fn keeps_signals(&mut self) -> bool {
        // What it says later is not asked for any more.
        self.was_spare = self.was_spare && !self.board.has_risen();
        !self.was_spare
    }
}

struct Supervisor {
    machine: Machine,
    inbox: Inbox,
    _child_signal: ChildSignal,
    slack: TimerSlack,
    log: Log,
    /// What is to be said when there is nothing more urgent to do.
    untold: Vec<Notice>,
    summary: Summary,
    /// What sam-status shows.
    status: Shown,
    showcase: Showcase,
    /// Where the administrator asks for it.
    notifier: Option<Notifier>,
    /// Where the administrator asks for it.
    group: Option<Group>,
    child: Option<Child>,
    /// Signals for a spare that has not taken over yet, in order, and the pause before the next look at it, in ns.
    unsent: Vec<Received>,
    rising: u64,
    /// While there is no `child`: the instance that was, as long as it may go on in another process.
    left: Option<Left>,
    /// Children from before `sam_register`.
    early: Vec<i32>,
    /// What instances and their descendants have, and descendants of other children do not.
    mark: Mark,
    /// What an instance leaves behind becomes a child of the supervisor.
    _adopts: Subreaper,
    /// Instances are in another PID namespace.
    apart: bool,
    /// The first child is process 1 of a new PID namespace.
    makes_init: bool,
    /// Those that have ended: what is left of them is put away when there is nothing more urgent to do.
    ended: Vec<Child>,
    /// The next instance, waiting.
    spare: Option<Child>,
    /// The page of the next instance, made while there is memory. No instance has ever had it: it is made after
    /// their forks, and gone before the next of them goes on.
    next_board: Option<Board>,
    /// Where the policy asks for quorum or cmap.
    corosync: Option<Link>,
}

impl Supervisor {
    fn new(rules: Rules, warn_signal: i32) -> Result<Supervisor> {
        let refused = |errno: Errno| Error::System(errno as i32);
        let settings = rules.settings;
        let notifier = || Notifier::open(program::variable, process::own_pid());
        let inbox = Inbox::new().map_err(refused)?;
        let _child_signal = ChildSignal::set_aside().map_err(refused)?;
        let _adopts = Subreaper::become_one().map_err(refused)?;
        let early =
            if process::has_children() { process::children(Path::new("/proc/self")) } else { Vec::new() };
        let mut machine = Machine::new(rules, warn_signal);
        machine.reserve().map_err(|_| refused(Errno::ENOMEM))?;
        let mark = Mark::new(clock::now() ^ process::own_pid() as u64);
        let group = settings.kill_group.then(|| Group::new(mark, &early));
        let makes_init = process::next_child_is_init();
        let corosync = match rules.quorum || rules.cmap {
            true => Some(Link::new(rules)?),
            false => None,
        };
        Ok(Supervisor {
            machine,
            inbox,
            group,
            _child_signal,
            slack: TimerSlack::current(),
            log: Log::open(settings.log),
            untold: Vec::with_capacity(OWN_EVENTS),
            summary: Summary::default(),
            status: status(rules),
            showcase: Showcase::open(),
            notifier: if settings.notify { notifier() } else { None },
            child: None,
            unsent: Vec::new(),
            rising: RISING.0,
            left: None,
            early,
            mark,
            _adopts,
            apart: process::children_are_apart(),
            makes_init,
            ended: Vec::new(),
            spare: None,
            next_board: None,
            corosync,
        })
    }

    /// Makes an instance: the spare takes over if one waits, else one is forked.
    fn launch(&mut self, id: u32, warn_signal: i32) -> nix::Result<Launch> {
        let born = clock::since_boot();
        if let Some(spare) = self.spare.take() {
            if process::is_alive(spare.pid) {
                spare.board.hold_lifeline();
                spare.board.release(id, warn_signal);
                // It may have been woken on this processor, and there is much to do here.
                spare.board.wait_until_risen(PATIENCE);
                return Ok(self.watch(Child { born, ..spare }));
            }
        }
        let supervisor = process::own_pid();
        let board = self.next_board.take().map_or_else(|| self.showcase.board(), Ok)?;
        board.set_warn_signal(warn_signal);
        // Before the fork: a supervisor that is killed right after it must not go unnoticed.
        board.hold_lifeline();
        Ok(match self.fork(board)? {
            (Forked::Child, board) => Launch::InChild(Newborn::new(supervisor, id, board, self.take_bell())),
            (Forked::Parent(pid), board) => self.watch(Child::new(pid, board, false, born)),
        })
    }

    /// Makes `pid`, which was found to go on in the place of the instance, the instance.
    fn adopt(&mut self, pid: i32) -> Option<Event> {
        let left = self.left.take()?;
        let pidfd = process::pidfd(pid).ok();
        // After the descriptor was opened: a child that is not reaped is the process that was found.
        if process::is_reaped_by_another(pid) {
            self.left = Some(left);
            return Some(Event::Heir(Heirs::None));
        }
        left.child.board.set_heir(pid);
        self.child = Some(Child { pid, pidfd, was_spare: false, ..left.child });
        Some(Event::Adopted { pid })
    }

    /// Forks a spare: the next instance, which waits here until it is to take over.
    fn prepare(&mut self) -> nix::Result<Launch> {
        let supervisor = process::own_pid();
        let origin = Origin::current();
        let board = self.showcase.board()?;
        Ok(match self.fork(board)? {
            (Forked::Child, board) => {
                Launch::InChild(Newborn::spare(supervisor, &origin, board, self.take_bell()))
            }
            (Forked::Parent(pid), board) => {
                self.spare = Some(Child::new(pid, board, true, 0));
                Launch::Made(Event::SpareMade)
            }
        })
    }

    /// Forks a process that alone shares `board` with this one.
    fn fork(&self, mut board: Board) -> nix::Result<(Forked, Board)> {
        // Children inherit it.
        self.slack.set();
        let forked = process::fork();
        if forked == Ok(Forked::Child) {
            self.mark.set();
            board.close_file();
            return Ok((Forked::Child, board));
        }
        TimerSlack::LEAST.set();
        let parent = forked?;
        board.keep_from_others();
        Ok((parent, board))
    }

    fn take_bell(&mut self) -> Option<Doorbell> {
        self.corosync.take().map(Link::into_bell)
    }

    fn watch(&mut self, child: Child) -> Launch {
        let pid = child.pid;
        self.unsent.clear();
        self.rising = RISING.0;
        self.child = Some(Child { pidfd: process::pidfd(pid).ok(), ..child });
        Launch::Made(Event::Launched { pid })
    }

    /// Until the end of the supervisor, or in a new instance.
    fn run(&mut self, first: Event) -> Outcome {
        if let Event::Launched { pid } = first {
            self.summary.launched(1, pid);
        }
        // No instance has inherited them.
        signals::disarm_timers();
        if let Some(notifier) = &mut self.notifier {
            notifier.tell(self.summary.to_string());
        }
        let mut events = VecDeque::with_capacity(OWN_EVENTS);
        events.push_back(first);
        loop {
            while let Some(event) = events.pop_front() {
                for effect in self.step(event) {
                    match effect {
                        Effect::Launch { id, warn_signal } => match self.launch(id, warn_signal) {
                            Ok(Launch::InChild(newborn)) => return Outcome::Born(newborn),
                            Ok(Launch::Made(event)) => events.push_front(event),
                            Err(Errno::ENOMEM) if self.makes_init => {
                                events.push_front(Event::LaunchImpossible)
                            }
                            Err(errno) => events.push_front(Event::LaunchFailed(errno as i32)),
                        },
                        Effect::SeekHeir => {
                            let found = self.left.as_ref().map_or(Heirs::None, |left| self.heirs(left));
                            events.push_front(Event::Heir(found));
                        }
                        Effect::Adopt(pid) => {
                            self.adopt(pid).into_iter().for_each(|adopted| events.push_front(adopted));
                        }
                        Effect::Prepare => match self.prepare() {
                            Ok(Launch::InChild(newborn)) => return Outcome::Born(newborn),
                            Ok(Launch::Made(event)) => events.push_back(event),
                            Err(_) => events.push_back(Event::SpareLost),
                        },
                        Effect::Send(number) => {
                            // SIGKILL ends a spare, too, that does not take over.
                            let received = Received::of_our_own(number);
                            let refused = if number == libc::SIGKILL {
                                self.deliver(received)
                            } else {
                                self.pass_on(received)
                            };
                            refused.into_iter().for_each(|refused| events.push_front(refused));
                        }
                        Effect::PassOn(received) => {
                            self.pass_on(received).into_iter().for_each(|refused| events.push_front(refused));
                        }
                        Effect::Inspect => {
                            if let Some(child) = &self.child {
                                events.push_front(Event::Inspected(Inspection::of(child.pid)));
                            }
                        }
                        Effect::EndGroup(id) => {
                            let spare = self.spare.as_ref().map(|spare| spare.pid);
                            let side = self.corosync.as_ref().and_then(Link::pid);
                            let others: Vec<i32> = [spare, side].into_iter().flatten().collect();
                            let group = self.group.as_mut();
                            let (ended, left) = group.map_or((0, 0), |group| group.end(&others));
                            if (ended, left) != (0, 0) {
                                self.note(Notice::GroupEnded { id, ended, left });
                            }
                        }
                        Effect::Suspend => signals::send_to_self(libc::SIGSTOP),
                        Effect::Admit(since) => {
                            if let Some(child) = &self.child {
                                child.board.admit(since);
                            }
                        }
                        Effect::Show(since) => {
                            if let Some(child) = &self.child {
                                child.board.show(since);
                            }
                        }
                        Effect::Publish(record) => {
                            if let Some(corosync) = &self.corosync {
                                corosync.show(record);
                                // It may be shown already: there will be no news of it then.
                                events.push_back(Event::Corosync(corosync.report()));
                            }
                        }
                        Effect::Tell(notice) => self.note(notice),
                        Effect::Finish(status) => {
                            // What arrived for a program that has ended is not for its exit handlers.
                            self.arrived().for_each(drop);
                            if let Some(spare) =
                                self.spare.take().filter(|spare| process::is_alive(spare.pid))
                            {
                                let _ = signals::send(spare.pid, libc::SIGKILL);
                                // In another PID namespace, process 1 cannot end before this one is reaped.
                                process::reap_until(spare.pid, clock::now().saturating_add(BURIAL));
                            }
                            self.tell();
                            if let Some(corosync) = self.corosync.take() {
                                corosync.close();
                            }
                            return Outcome::Over(status);
                        }
                    }
                }
            }
            self.tell();
            self.ended.clear();
            if self.next_board.is_none() {
                self.next_board = self.showcase.board().ok();
            }
            let may_have_ended = self.wait();
            self.collect(may_have_ended, &mut events);
        }
    }

    /// Asks the machine. The page is read before the clock: see Board::view.
    fn step(&mut self, event: Event) -> Vec<Effect> {
        let Some(child) = self.child.as_ref().or(self.left.as_ref().map(|left| &left.child)) else {
            return self.machine.step(clock::now(), event, &crate::board::View::GONE);
        };
        let view = child.board.view();
        let sought = event == Event::Left || self.machine.seeks_heir();
        let effects = self.machine.step(clock::now(), event, &view);
        let mut ended = None;
        if matches!(event, Event::Died(_) | Event::Stillborn(_)) {
            // Its pid may soon be another's; and the next instance never has its page.
            ended = self.child.take();
        } else if sought && self.child.is_none() && !self.machine.seeks_heir() {
            ended = self.left.take().map(|left| left.child);
        }
        if let Some(child) = ended {
            child.board.close();
            self.ended.push(child);
        }
        effects
    }

    /// Puts off a line of the log until there is nothing more urgent to do, or no memory for one more.
    fn note(&mut self, notice: Notice) {
        if self.untold.try_reserve(1).is_err() {
            self.tell();
        }
        self.untold.push(notice);
    }

    fn tell(&mut self) {
        for &notice in &self.untold {
            self.log.write(&notice.entry());
            self.summary.note(notice, clock::time_of_day());
        }
        if let Some(notifier) = &mut self.notifier {
            if !self.untold.is_empty() {
                notifier.tell(self.summary.to_string());
            }
            notifier.tend(clock::now());
        }
        self.untold.clear();
        self.show();
    }

    fn show(&mut self) {
        let (stage, until) = self.machine.stage();
        (self.status.stage, self.status.until) = (stage, until);
        self.status.id = self.machine.id();
        self.status.pid = self.summary.pid().unwrap_or(0);
        self.status.board = self.child.as_ref().and_then(|child| child.board.place());
        self.status.restarts = self.summary.restarts();
        self.status.end_is_final = self.machine.end_is_final();
        if let Some((last, time)) = self.summary.last().filter(|(_, time)| *time != self.status.last_at) {
            (self.status.last, self.status.last_at) = (last.to_owned(), time);
        }
        self.showcase.show(&self.status);
    }

    /// Sends the instance a signal, as soon as it keeps those that it is sent. Returns the event if it is refused.
    fn pass_on(&mut self, received: Received) -> Option<Event> {
        if self.child.as_mut().is_some_and(|child| !child.keeps_signals()) {
            // As in the kernel there is a limit to them.
            let has_room = self.unsent.len() < NEWS && self.unsent.try_reserve(1).is_ok();
            self.unsent.extend(has_room.then_some(received));
            return None;
        }
        self.deliver(received)
    }

    fn deliver(&self, received: Received) -> Option<Event> {
        let refused = self.child.as_ref()?.pass_on(received).err()?;
        // A child that another thread has reaped is found to be dead, see collect().
        let signal = received.number;
        (refused != Errno::ESRCH).then_some(Event::Refused { signal, errno: refused as i32 })
    }

    /// Sends what waits for a spare to take over, if it has.
    fn deliver_unsent(&mut self, events: &mut VecDeque<Event>) {
        if self.unsent.is_empty() {
            return;
        }
        if self.child.as_mut().is_some_and(Child::keeps_signals) {
            let unsent = std::mem::take(&mut self.unsent);
            for refused in unsent.into_iter().filter_map(|received| self.deliver(received)) {
                if events.try_reserve(OWN_EVENTS).is_ok() {
                    events.push_back(refused);
                }
            }
        } else {
            self.rising = (self.rising * 2).min(RISING.1);
        }
    }

    /// Sleeps until the kernel has something to say, or it is time to look at the instance. Returns `true` if the
    /// instance may have ended.
    fn wait(&self) -> bool {
        let mut timeout = self.wake_at().map(|at| at.saturating_sub(clock::now()));
        if !self.unsent.is_empty() {
            timeout = Some(timeout.unwrap_or(self.rising).min(self.rising));
        }
        let is_unseen = self.child.is_some() && self.pidfd().is_none();
        if is_unseen {
            timeout = Some(timeout.unwrap_or(GLANCE).min(GLANCE));
        }
        let mut fds = vec![PollFd::new(self.inbox.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.pidfd().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        fds.extend(self.corosync.as_ref().map(|link| PollFd::new(link.fd(), PollFlags::POLLIN)));
        let until = timeout.map(|ns| TimeSpec::from_duration(std::time::Duration::from_nanos(ns)));
        if ppoll(&mut fds, until, None).is_err() {
            // The limit of descriptors was lowered below what poll(2) is given: look again and again instead.
            const PAUSE: u64 = 10_000_000;
            let pause = timeout.unwrap_or(PAUSE).min(PAUSE);
            std::thread::sleep(std::time::Duration::from_nanos(pause));
            return true;
        }
        is_unseen || self.pidfd().is_some() && fds[1].any() == Some(true)
    }

    fn wake_at(&self) -> Option<u64> {
        // One by one: what the compiler makes of an array of options, valgrind takes for a use of what was never set.
        let mut wake_at = self.machine.wake_at();
        if let Some(link) = &self.corosync {
            wake_at = wake_at.into_iter().chain([link.wake_at()]).min();
        }
        if let Some(notifier) = &self.notifier {
            wake_at = wake_at.into_iter().chain(notifier.due()).min();
        }
        wake_at
    }

    fn pidfd(&self) -> Option<&OwnedFd> {
        self.child.as_ref()?.pidfd.as_ref()
    }

    fn arrived(&self) -> impl Iterator<Item = Received> {
        iter::from_fn(|| self.inbox.take()).take(NEWS)
    }

    /// What has happened. Signals come first: who told the program to end must be known before it ends.
    fn collect(&mut self, may_have_ended: bool, events: &mut VecDeque<Event>) {
        let earlier = events.len();
        for received in self.arrived() {
            if received.number != libc::SIGCHLD {
                let shared = received.by_kernel && self.shares_terminal(received.number);
                events.push_back(Event::Signal { received, shared });
            }
            // What there is no memory for stays with the kernel until it is asked again.
            if events.try_reserve(OWN_EVENTS).is_err() {
                break;
            }
        }
        let is_last_word =
            |event: &Event| matches!(event, Event::Signal { received, .. } if machine::ends(received.number));
        if let Some(child) = &self.child {
            if events.iter().skip(earlier).any(is_last_word) && relative::is_exiting(child.pid) {
                // The signal came too late for the instance. A process that it has forked may go on in its place.
                process::await_end(child.pid, EXIT);
            }
        }
        let mut instance_ended = false;
        // Other children than the instance are the application's, from before it registered, or were handed to
        // this process as the first of a container: they are reaped and forgotten.
        for (pid, user, change) in iter::from_fn(process::next_change).take(NEWS) {
            if let Some(child) = self.child.as_mut().filter(|child| child.pid == pid) {
                instance_ended |= matches!(change, Change::Ended(_));
                let event = match change {
                    Change::Ended(status) => child_ended(child, status),
                    Change::Stopped(signal) => Event::Stopped(signal),
                };
                events.push_back(match event {
                    Event::Died(Status::Exited(0)) if self.leave(user) => Event::Left,
                    event => event,
                });
            } else if self.spare.as_ref().is_some_and(|spare| spare.pid == pid) {
                if matches!(change, Change::Ended(_)) {
                    self.lose_spare(events);
                }
            } else if let Change::Ended(_) = change {
                self.early.retain(|&early| early != pid);
                if let Some(corosync) = &mut self.corosync {
                    corosync.ended(pid);
                }
                if let Some(group) = &mut self.group {
                    group.forget(pid);
                }
            }
            if events.try_reserve(OWN_EVENTS).is_err() {
                break;
            }
        }
        // A thread that the application left in this process may reap any child: their ends are not told then.
        if may_have_ended && !instance_ended {
            if let Some(child) = &mut self.child {
                if process::is_reaped_by_another(child.pid) {
                    instance_ended = true;
                    events.push_back(child_ended(child, Status::Unknown));
                } else if child.pidfd.is_none() {
                    child.pidfd = process::pidfd(child.pid).ok();
                }
            }
        }
        if instance_ended {
            self.note_missed(earlier, events);
        } else {
            self.deliver_unsent(events);
        }
        if self.spare.as_ref().is_some_and(|spare| process::is_reaped_by_another(spare.pid)) {
            self.lose_spare(events);
        }
        if let Some(corosync) = &mut self.corosync {
            if let Some(pid) = corosync.pid().filter(|&pid| process::is_reaped_by_another(pid)) {
                corosync.ended(pid);
            }
            events.push_back(Event::Corosync(corosync.report()));
            corosync.tend().into_iter().for_each(|notice| self.untold.push(notice));
        }
        events.push_back(Event::Tick);
    }

    fn lose_spare(&mut self, events: &mut VecDeque<Event>) {
        self.spare = None;
        events.push_back(Event::SpareLost);
    }

    /// The instance has ended: signals among the events from `earlier` on, and those that it was not sent yet, may not have
    /// reached it. What tells the program to end is known before its end all the same, unless another process may go on
    /// in its place: that one is to be told.
    fn note_missed(&mut self, earlier: usize, events: &mut VecDeque<Event>) {
        let goes_on = self.left.is_some();
        let is_missed = |received: &Received| goes_on || !machine::ends(received.number);
        for event in events.iter_mut().skip(earlier) {
            match *event {
                Event::Signal { received, shared: false } if is_missed(&received) => {
                    *event = Event::Missed(received);
                }
                _ => {}
            }
        }
        for received in self.unsent.drain(..).filter(is_missed).rev() {
            if events.try_reserve(OWN_EVENTS).is_ok() {
                events.insert(earlier, Event::Missed(received));
            }
        }
    }

    /// The instance, a process of `user`, exited with 0. Returns `true` if it may go on in another process.
    fn leave(&mut self, user: u32) -> bool {
        let Some(child) = self.child.take() else { return false };
        // A thread that the application left in this process may have reaped them.
        self.early.retain(|&early| !process::is_reaped_by_another(early));
        let left = Left { child, user, ended: clock::since_boot() };
        if self.heirs(&left) == Heirs::None {
            self.child = Some(left.child);
            return false;
        }
        self.left = Some(left);
        true
    }

    fn heirs(&self, left: &Left) -> Heirs {
        let late = Late {
            user: left.user,
            born: left.child.born,
            ended: left.ended,
            named: left.child.board.claimant(),
            has_forked: left.child.board.has_forked(),
            was_apart: self.apart,
            mark: Some(self.mark).filter(|mark| mark.can_be_set()),
        };
        let spare = self.spare.as_ref().map(|spare| spare.pid);
        let side = self.corosync.as_ref().and_then(Link::pid);
        let others = heap::gather([spare, side].into_iter().flatten().chain(self.early.iter().copied()));
        heir::find(&late, &others)
    }

    /// Whether a terminal that sends this signal sends it to the instance as well.
    fn shares_terminal(&self, number: i32) -> bool {
        use libc::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH};
        if [SIGHUP, SIGCONT].contains(&number) && process::leads_session() {
            // The terminal hung up: these two go to the leader of its session alone (tty_io.c of Linux,
            // tty_signal_session_leader()).
            return false;
        }
        [SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH].contains(&number)
            && self.child.as_ref().is_some_and(|child| process::shares_group_with(child.pid))
    }
}

/// Returns the event that tells of the end of the instance.
fn child_ended(child: &mut Child, status: Status) -> Event {
    if child.keeps_signals() { Event::Died(status) } else { Event::Stillborn(status) }
}

/// Of a supervisor that has done nothing yet.
fn status(rules: Rules) -> Shown {
    let Rules { recovery, quorum, cmap, interval, .. } = rules;
    Shown {
        supervisor: process::own_pid(),
        policy: Policy { recovery, quorum, cmap }.bits(),
        interval,
        board: None,
        id: 1,
        pid: 0,
        restarts: 0,
        end_is_final: false,
        stage: Stage::Launching,
        until: 0,
        last_at: 0,
        last: String::new(),
        program: program::name(),
    }
}
