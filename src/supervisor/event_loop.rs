//! What the kernel says becomes events for the machine; the machine's effects become system calls.

use std::collections::VecDeque;
use std::iter;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::group::Group;
use super::machine::{Effect, Event, Machine, Rules};
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
use crate::sys::process::{self, Change, Forked, Status, TimerSlack};
use crate::sys::signals::{self, ChildSignal, Inbox, Received};
use crate::sys::{clock, program};

/// How much of a kind is taken at a time: an instance may make signals and children faster than they can be dealt
/// with.
const NEWS: usize = 1000;

/// How long a spare may take to take over before the supervisor goes on, in ns.
const PATIENCE: u64 = 1_000_000;

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
                supervisor.send(libc::SIGKILL);
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
    /// Made in advance: it may end before it has taken over.
    was_spare: bool,
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
        let group = if settings.kill_group { Some(Group::new().map_err(refused)?) } else { None };
        let _child_signal = ChildSignal::set_aside().map_err(refused)?;
        let corosync = match rules.quorum || rules.cmap {
            true => Some(Link::new(rules)?),
            false => None,
        };
        Ok(Supervisor {
            machine: Machine::new(rules, warn_signal),
            inbox,
            group,
            _child_signal,
            slack: TimerSlack::current(),
            log: Log::open(settings.log),
            untold: Vec::new(),
            summary: Summary::default(),
            status: status(rules),
            showcase: Showcase::open(),
            notifier: if settings.notify { notifier() } else { None },
            child: None,
            ended: Vec::new(),
            spare: None,
            next_board: None,
            corosync,
        })
    }

    /// Makes an instance: the spare takes over if one waits, else one is forked.
    fn launch(&mut self, id: u32, warn_signal: i32) -> nix::Result<Launch> {
        if let Some(spare) = self.spare.take() {
            if process::is_alive(spare.pid) {
                spare.board.hold_lifeline();
                spare.board.release(id, warn_signal);
                // It may have been woken on this processor, and there is much to do here.
                spare.board.wait_until_risen(PATIENCE);
                return Ok(self.watch(spare));
            }
            self.showcase.free(spare.board);
        }
        let supervisor = process::own_pid();
        let board = self.next_board.take().map_or_else(|| self.showcase.board(), Ok)?;
        board.set_warn_signal(warn_signal);
        // Before the fork: a supervisor that is killed right after it must not go unnoticed.
        board.hold_lifeline();
        Ok(match self.fork(board)? {
            (Forked::Child, board) => Launch::InChild(Newborn::new(supervisor, id, board, self.take_bell())),
            (Forked::Parent(pid), board) => self.watch(Child { pid, board, pidfd: None, was_spare: false }),
        })
    }

    /// Forks a spare: the next instance, which waits here until it is to take over.
    fn prepare(&mut self) -> nix::Result<Launch> {
        let supervisor = process::own_pid();
        let board = self.showcase.board()?;
        Ok(match self.fork(board)? {
            (Forked::Child, board) => Launch::InChild(Newborn::spare(supervisor, board, self.take_bell())),
            (Forked::Parent(pid), board) => {
                self.spare = Some(Child { pid, board, pidfd: None, was_spare: true });
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
            return Ok((Forked::Child, board));
        }
        TimerSlack::LEAST.set();
        match forked {
            Ok(parent) => {
                board.keep_from_others();
                Ok((parent, board))
            }
            Err(errno) => {
                self.showcase.free(board);
                Err(errno)
            }
        }
    }

    fn take_bell(&mut self) -> Option<Doorbell> {
        self.corosync.take().map(Link::into_bell)
    }

    fn watch(&mut self, child: Child) -> Launch {
        let pid = child.pid;
        self.child = Some(Child { pidfd: process::pidfd(pid).ok(), ..child });
        Launch::Made(Event::Launched { pid })
    }

    /// Until the end of the supervisor, or in a new instance.
    fn run(&mut self, first: Event) -> Outcome {
        if let Event::Launched { pid } = first {
            self.summary.launched(1, pid);
        }
        if let Some(notifier) = &mut self.notifier {
            notifier.tell(self.summary.to_string());
        }
        let mut events = VecDeque::from([first]);
        loop {
            while let Some(event) = events.pop_front() {
                for effect in self.step(event) {
                    match effect {
                        Effect::Launch { id, warn_signal } => match self.launch(id, warn_signal) {
                            Ok(Launch::InChild(newborn)) => return Outcome::Born(newborn),
                            Ok(Launch::Made(event)) => events.push_front(event),
                            Err(errno) => events.push_front(Event::LaunchFailed(errno as i32)),
                        },
                        Effect::Prepare => match self.prepare() {
                            Ok(Launch::InChild(newborn)) => return Outcome::Born(newborn),
                            Ok(Launch::Made(event)) => events.push_back(event),
                            Err(_) => events.push_back(Event::SpareLost),
                        },
                        Effect::Send(number) => self.send(number),
                        Effect::PassOn(received) => {
                            if let Some(child) = &self.child {
                                let _ = signals::pass_on(child.pid, received);
                            }
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
                                self.untold.push(Notice::GroupEnded { id, ended, left });
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
                        Effect::Tell(notice) => self.untold.push(notice),
                        Effect::Finish(status) => {
                            // What arrived for a program that has ended is not for its exit handlers.
                            self.arrived().for_each(drop);
                            if let Some(spare) = self.spare.take() {
                                let _ = signals::send(spare.pid, libc::SIGKILL);
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
            for Child { board, .. } in self.ended.drain(..) {
                self.showcase.free(board);
            }
            if self.next_board.is_none() {
                self.next_board = self.showcase.board().ok();
            }
            self.wait();
            self.collect(&mut events);
        }
    }

    /// Asks the machine. The page is read before the clock: see Board::view.
    fn step(&mut self, event: Event) -> Vec<Effect> {
        let Some(child) = &self.child else {
            return self.machine.step(clock::now(), event, &crate::board::View::GONE);
        };
        let view = child.board.view();
        let effects = self.machine.step(clock::now(), event, &view);
        if matches!(event, Event::Died(_) | Event::Stillborn(_)) {
            // Its pid may soon be another's; and the next instance never has its page.
            self.ended.extend(self.child.take());
        }
        effects
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
        self.status.place = self.child.as_ref().and_then(|child| child.board.place());
        self.status.restarts = self.summary.restarts();
        if let Some((last, time)) = self.summary.last().filter(|(_, time)| *time != self.status.last_at) {
            (self.status.last, self.status.last_at) = (last.to_owned(), time);
        }
        self.showcase.show(&self.status);
    }

    fn send(&self, number: i32) {
        if let Some(child) = &self.child {
            // It cannot be gone: it is reaped by us alone. Nothing could be done where the kernel refuses.
            let _ = signals::send(child.pid, number);
        }
    }

    /// Sleeps until the kernel has something to say, or it is time to look at the instance.
    fn wait(&self) {
        let timeout = self.wake_at().map(|at| at.saturating_sub(clock::now()));
        let mut fds = vec![PollFd::new(self.inbox.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.pidfd().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        fds.extend(self.corosync.as_ref().map(|link| PollFd::new(link.fd(), PollFlags::POLLIN)));
        let until = timeout.map(|ns| TimeSpec::from_duration(std::time::Duration::from_nanos(ns)));
        if ppoll(&mut fds, until, None).is_err() {
            // The limit of descriptors was lowered below what poll(2) is given: look again and again instead.
            const PAUSE: u64 = 10_000_000;
            let pause = timeout.unwrap_or(PAUSE).min(PAUSE);
            std::thread::sleep(std::time::Duration::from_nanos(pause));
        }
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
    fn collect(&mut self, events: &mut VecDeque<Event>) {
        for received in self.arrived() {
            if received.number != libc::SIGCHLD {
                let shared = received.by_kernel && self.shares_terminal(received.number);
                events.push_back(Event::Signal { received, shared });
            }
        }
        // Other children than the instance are the application's, from before it registered, or were handed to
        // this process as the first of a container: they are reaped and forgotten.
        for (pid, change) in iter::from_fn(process::next_change).take(NEWS) {
            if let Some(child) = self.child.as_ref().filter(|child| child.pid == pid) {
                events.push_back(match change {
                    Change::Ended(status) if child.was_spare && !child.board.has_risen() => {
                        Event::Stillborn(status)
                    }
                    Change::Ended(status) => Event::Died(status),
                    Change::Stopped => Event::Stopped,
                });
            } else if self.spare.as_ref().is_some_and(|spare| spare.pid == pid) && change != Change::Stopped {
                if let Some(spare) = self.spare.take() {
                    self.showcase.free(spare.board);
                }
                events.push_back(Event::SpareLost);
            } else if let Change::Ended(_) = change {
                if let Some(corosync) = &mut self.corosync {
                    corosync.ended(pid);
                }
                if let Some(group) = &mut self.group {
                    group.forget(pid);
                }
            }
        }
        if let Some(corosync) = &mut self.corosync {
            events.push_back(Event::Corosync(corosync.report()));
            self.untold.extend(corosync.tend());
        }
        events.push_back(Event::Tick);
    }

    /// Whether a terminal that sends this signal sends it to the instance as well.
    fn shares_terminal(&self, number: i32) -> bool {
        use libc::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH};
        [SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH].contains(&number)
            && self.child.as_ref().is_some_and(|child| process::shares_group_with(child.pid))
    }
}

/// Of a supervisor that has done nothing yet.
fn status(rules: Rules) -> Shown {
    let Rules { recovery, quorum, cmap, interval, .. } = rules;
    Shown {
        supervisor: process::own_pid(),
        policy: Policy { recovery, quorum, cmap }.bits(),
        interval,
        place: None,
        id: 1,
        pid: 0,
        restarts: 0,
        stage: Stage::Launching,
        until: 0,
        last_at: 0,
        last: String::new(),
        program: program::name(),
    }
}
