//! What the kernel says becomes events for the machine; the machine's effects become system calls.

use std::collections::VecDeque;
use std::iter;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::daemonized::{self, Candidates, ExitedInstance};
use super::kill_group::KillGroup;
use super::log_event::LogEvent;
use super::machine::{self, Effect, Event, Machine, Rules};
use super::service_manager::ServiceManager;
use super::status_writer::StatusWriter;
use super::summary::Summary;
use crate::cluster::Doorbell;
use crate::error::{Error, Result};
use crate::instance::forked_child::{ForkedChild, Instance};
use crate::log::Log;
use crate::policy::Policy;
use crate::shared::control_page::{ControlPage, InstanceEnd, SupervisorEnd};
use crate::shared::status_page::{Activity, Status};
use crate::supervisor::helper_handle::HelperHandle;
use crate::sys::child_info;
use crate::sys::descent_mark::DescentMark;
use crate::sys::inspection::Inspection;
use crate::sys::lifeline::RobustList;
use crate::sys::process::{self, ChildChange, ExitStatus, Forked, Origin, Subreaper, TimerSlack};
use crate::sys::signals::{self, ChildSignal, Received, SignalFd};
use crate::sys::{clock, program};

/// How much of a kind is taken at a time: an instance may make signals and children faster than they can be dealt
/// with.
const BATCH: usize = 1000;

/// How long a spare may take to take over before the supervisor goes on, in ns.
const TAKEOVER_TIMEOUT: u64 = 1_000_000;

/// How often to look at an instance that has no pidfd, in ns: a thread of the application may take the SIGCHLD that
/// tells of its end.
const NO_PIDFD_POLL: u64 = 250_000_000;

/// The first pause before looking again whether a spare has taken over that is to be sent signals, and the longest,
/// in ns.
const TAKEOVER_PAUSES: (u64, u64) = (1_000_000, 1_000_000_000);

/// How long to wait for the end of an instance that is exiting when a signal arrives that ends the program, in ns.
const EXITING_TIMEOUT: u64 = 100_000_000;

/// How long the supervisor waits at its end for the end of the spare that it has killed, in ns.
const SPARE_END_TIMEOUT: u64 = 100_000_000;

/// What became of the calling process.
#[derive(Debug)]
pub enum Role {
    /// It is a new instance: the first, or a later one.
    Instance(Instance),
    /// It is the supervisor, and has nothing left to do but to end like this.
    Supervisor(ExitStatus),
}

/// Makes the first instance and supervises it and its successors. Returns in each instance, and in the
/// supervisor at its end. All signals are blocked by the caller. After an error no instance was made, and the
/// process is as it was. Calls `become_supervisor` in the supervisor once there is a first instance.
pub fn supervise(rules: Rules, warn_signal: i32, become_supervisor: &dyn Fn()) -> Result<Role> {
    Ok(match run(rules, warn_signal, become_supervisor)? {
        Outcome::Forked(child) => Role::Instance(child.take_over()),
        Outcome::Over(status) => Role::Supervisor(status),
    })
}

/// What a process has become that was the supervisor, or was forked by it.
enum Outcome {
    Forked(ForkedChild),
    Over(ExitStatus),
}

fn run(rules: Rules, warn_signal: i32, become_supervisor: &dyn Fn()) -> Result<Outcome> {
    let mut supervisor = Supervisor::new(rules, warn_signal)?;
    let lifeline = RobustList::current();
    let first = match supervisor.launch(1, warn_signal) {
        Ok(first) => first,
        Err(errno) => {
            lifeline.restore();
            if let Some(helper) = supervisor.helper.take() {
                helper.withdraw();
            }
            return Err(Error::System(errno as i32));
        }
    };
    match first {
        Launch::InChild(child) => Ok(Outcome::Forked(child)),
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
                Ok(Outcome::Over(ExitStatus::Killed { signal: libc::SIGABRT, core: false }))
            })
        }
    }
}

/// What launch() has done.
enum Launch {
    /// This process is the new instance, or the spare.
    InChild(ForkedChild),
    /// It was made; to be told to the machine.
    Made(Event),
}

/// What a fork with a control page has made of the calling process.
enum Fork {
    InChild(InstanceEnd),
    /// With the pid of the child.
    InParent(i32, SupervisorEnd),
}

/// The instance that lives, or the spare.
struct Child {
    pid: i32,
    control_page: SupervisorEnd,
    /// Tells its end even where a thread of the application takes SIGCHLD. None when no descriptor was left.
    pidfd: Option<OwnedFd>,
    /// Made in advance, and not seen to have taken over yet: it may end before, and throws signals away that reach it
    /// before.
    was_spare: bool,
    /// When it became the instance, or earlier, in ns since boot.
    born: u64,
}

/// An instance that exited with 0, and may go on in another process.
struct Exited {
    child: Child,
    user: u32,
    ended: u64,
}

impl Child {
    fn new(pid: i32, control_page: SupervisorEnd, was_spare: bool, born: u64) -> Child {
        Child { pid, control_page, pidfd: None, was_spare, born }
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
    fn forward(&self, received: Received) -> nix::Result<()> {
        if received.value.is_some() {
            signals::forward(self.pid, received)
        } else {
            self.send(received.number)
        }
    }

    /// Returns `true` once it is known to keep the signals that it is sent.
    fn accepts_signals(&mut self) -> bool {
        // What it says later is not asked for any more.
        self.was_spare = self.was_spare && !self.control_page.took_over();
        !self.was_spare
    }
}

struct Supervisor {
    machine: Machine,
    signal_fd: SignalFd,
    _child_signal: ChildSignal,
    slack: TimerSlack,
    log: Log,
    /// What is to be said when there is nothing more urgent to do.
    pending_log: Vec<LogEvent>,
    summary: Summary,
    /// What sam-status shows.
    status: Status,
    status_writer: StatusWriter,
    /// Where the administrator asks for it.
    service_manager: Option<ServiceManager>,
    /// Where the administrator asks for it.
    group: Option<KillGroup>,
    child: Option<Child>,
    /// Signals for a spare that has not taken over yet, in order, and the pause before the next look at it, in ns.
    unsent_signals: Vec<Received>,
    takeover_pause: u64,
    /// While there is no `child`: the instance that was, as long as it may go on in another process.
    exited: Option<Exited>,
    /// Children from before `sam_register`.
    earlier_children: Vec<i32>,
    /// What instances and their descendants have, and descendants of other children do not.
    descent_mark: DescentMark,
    /// What an instance leaves behind becomes a child of the supervisor.
    _adopts: Subreaper,
    /// Instances are in another PID namespace.
    instances_in_other_pid_namespace: bool,
    /// The first child is process 1 of a new PID namespace.
    first_child_is_init: bool,
    /// Those that have ended: what is left of them is put away when there is nothing more urgent to do.
    ended: Vec<Child>,
    /// The next instance, waiting.
    spare: Option<Child>,
    /// The page of the next instance, made while there is memory. No instance has ever had it: it is made after
    /// their forks, and gone before the next of them goes on.
    next_control_page: Option<ControlPage>,
    /// Where the policy asks for quorum or cmap.
    helper: Option<HelperHandle>,
}

impl Supervisor {
    fn new(rules: Rules, warn_signal: i32) -> Result<Supervisor> {
        let refused = |errno: Errno| Error::System(errno as i32);
        let settings = rules.settings;
        let service_manager = || ServiceManager::open(program::variable, process::own_pid());
        let signal_fd = SignalFd::new().map_err(refused)?;
        let _child_signal = ChildSignal::reset_to_default().map_err(refused)?;
        let _adopts = Subreaper::become_one().map_err(refused)?;
        let earlier_children =
            if process::has_children() { process::children(Path::new("/proc/self")) } else { Vec::new() };
        let descent_mark = DescentMark::new(clock::now() ^ process::own_pid() as u64);
        let group = settings.kill_group.then(|| KillGroup::new(descent_mark, &earlier_children));
        let first_child_is_init = process::next_child_is_init();
        let helper = match rules.quorum || rules.cmap {
            true => Some(HelperHandle::new(rules)?),
            false => None,
        };
        Ok(Supervisor {
            machine: Machine::new(rules, warn_signal),
            signal_fd,
            group,
            _child_signal,
            slack: TimerSlack::current(),
            log: Log::open(settings.log),
            pending_log: Vec::new(),
            summary: Summary::default(),
            status: status(rules),
            status_writer: StatusWriter::open(),
            service_manager: if settings.notify { service_manager() } else { None },
            child: None,
            unsent_signals: Vec::new(),
            takeover_pause: TAKEOVER_PAUSES.0,
            exited: None,
            earlier_children,
            descent_mark,
            _adopts,
            instances_in_other_pid_namespace: process::children_are_apart(),
            first_child_is_init,
            ended: Vec::new(),
            spare: None,
            next_control_page: None,
            helper,
        })
    }

    /// Makes an instance: the spare takes over if one waits, else one is forked.
    fn launch(&mut self, id: u32, warn_signal: i32) -> nix::Result<Launch> {
        let born = clock::since_boot();
        if let Some(spare) = self.spare.take() {
            if process::is_alive(spare.pid) {
                spare.control_page.hold_lifeline();
                spare.control_page.release(id, warn_signal);
                // It may have been woken on this processor, and there is much to do here.
                spare.control_page.wait_for_takeover(TAKEOVER_TIMEOUT);
                return Ok(self.watch(Child { born, ..spare }));
            }
        }
        let supervisor = process::own_pid();
        let control_page =
            self.next_control_page.take().map_or_else(|| self.status_writer.control_page(), Ok)?;
        control_page.set_warn_signal(warn_signal);
        // Before the fork: a supervisor that is killed right after it must not go unnoticed.
        control_page.hold_lifeline();
        Ok(match self.fork(control_page)? {
            Fork::InChild(control_page) => {
                Launch::InChild(ForkedChild::new(supervisor, id, control_page, self.take_doorbell()))
            }
            Fork::InParent(pid, control_page) => self.watch(Child::new(pid, control_page, false, born)),
        })
    }

    /// Makes `pid`, which was found to go on in the place of the instance, the instance.
    fn adopt(&mut self, pid: i32) -> Option<Event> {
        let exited = self.exited.take()?;
        let pidfd = process::pidfd(pid).ok();
        // After the descriptor was opened: a child that is not reaped is the process that was found.
        if process::is_reaped_by_another(pid) {
            self.exited = Some(exited);
            return Some(Event::DaemonSearched(Candidates::None));
        }
        exited.child.control_page.set_adopted(pid);
        self.child = Some(Child { pid, pidfd, was_spare: false, ..exited.child });
        Some(Event::Adopted { pid })
    }

    /// Forks a spare: the next instance, which waits here until it is to take over.
    fn make_spare(&mut self) -> nix::Result<Launch> {
        let supervisor = process::own_pid();
        let origin = Origin::current();
        let control_page = self.status_writer.control_page()?;
        Ok(match self.fork(control_page)? {
            Fork::InChild(control_page) => {
                Launch::InChild(ForkedChild::spare(supervisor, &origin, control_page, self.take_doorbell()))
            }
            Fork::InParent(pid, control_page) => {
                self.spare = Some(Child::new(pid, control_page, true, 0));
                Launch::Made(Event::SpareMade)
            }
        })
    }

    /// Forks a process that alone shares `control_page` with this one.
    fn fork(&self, control_page: ControlPage) -> nix::Result<Fork> {
        // Children inherit it.
        self.slack.set();
        match process::fork() {
            Ok(Forked::Child) => {
                self.descent_mark.set();
                Ok(Fork::InChild(control_page.into_instance_end()))
            }
            parent => {
                TimerSlack::LEAST.set();
                let Forked::Parent(pid) = parent? else { return Err(Errno::ECHILD) };
                Ok(Fork::InParent(pid, control_page.into_supervisor_end()))
            }
        }
    }

    fn take_doorbell(&mut self) -> Option<Doorbell> {
        self.helper.take().map(HelperHandle::into_doorbell)
    }

    fn watch(&mut self, child: Child) -> Launch {
        let pid = child.pid;
        self.unsent_signals.clear();
        self.takeover_pause = TAKEOVER_PAUSES.0;
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
        if let Some(service_manager) = &mut self.service_manager {
            service_manager.set_status(self.summary.to_string());
        }
        let mut events = VecDeque::from([first]);
        loop {
            while let Some(event) = events.pop_front() {
                for effect in self.step(event) {
                    match effect {
                        Effect::Launch { id, warn_signal } => match self.launch(id, warn_signal) {
                            Ok(Launch::InChild(child)) => return Outcome::Forked(child),
                            Ok(Launch::Made(event)) => events.push_front(event),
                            Err(Errno::ENOMEM) if self.first_child_is_init => {
                                events.push_front(Event::LaunchImpossible)
                            }
                            Err(errno) => events.push_front(Event::LaunchFailed(errno as i32)),
                        },
                        Effect::FindDaemon => {
                            let found = self
                                .exited
                                .as_ref()
                                .map_or(Candidates::None, |exited| self.daemon_candidates(exited));
                            events.push_front(Event::DaemonSearched(found));
                        }
                        Effect::Adopt(pid) => {
                            self.adopt(pid).into_iter().for_each(|adopted| events.push_front(adopted));
                        }
                        Effect::MakeSpare => match self.make_spare() {
                            Ok(Launch::InChild(child)) => return Outcome::Forked(child),
                            Ok(Launch::Made(event)) => events.push_back(event),
                            Err(_) => events.push_back(Event::SpareLost),
                        },
                        Effect::Send(number) => {
                            // SIGKILL ends a spare, too, that does not take over.
                            let received = Received::of_our_own(number);
                            let refused = if number == libc::SIGKILL {
                                self.deliver(received)
                            } else {
                                self.forward(received)
                            };
                            refused.into_iter().for_each(|refused| events.push_front(refused));
                        }
                        Effect::Forward(received) => {
                            self.forward(received).into_iter().for_each(|refused| events.push_front(refused));
                        }
                        Effect::Inspect => {
                            if let Some(child) = &self.child {
                                events.push_front(Event::Inspected(Inspection::of(child.pid)));
                            }
                        }
                        Effect::KillGroup(id) => {
                            let spare = self.spare.as_ref().map(|spare| spare.pid);
                            let helper = self.helper.as_ref().and_then(HelperHandle::pid);
                            let others: Vec<i32> = [spare, helper].into_iter().flatten().collect();
                            let group = self.group.as_mut();
                            let (ended, left) = group.map_or((0, 0), |group| group.end(&others));
                            if (ended, left) != (0, 0) {
                                self.pending_log.push(LogEvent::GroupEnded { id, ended, left });
                            }
                        }
                        Effect::Suspend => signals::send_to_self(libc::SIGSTOP),
                        Effect::GrantStart(since) => {
                            if let Some(child) = &self.child {
                                child.control_page.grant_start(since);
                            }
                        }
                        Effect::AckPublished(since) => {
                            if let Some(child) = &self.child {
                                child.control_page.ack_published(since);
                            }
                        }
                        Effect::Publish(record) => {
                            if let Some(helper) = &self.helper {
                                helper.publish(record);
                                // It may be shown already: there will be no news of it then.
                                events.push_back(Event::Corosync(helper.report()));
                            }
                        }
                        Effect::Log(event) => self.pending_log.push(event),
                        Effect::Finish(status) => {
                            // What arrived for a program that has ended is not for its exit handlers.
                            self.arrived().for_each(drop);
                            if let Some(spare) =
                                self.spare.take().filter(|spare| process::is_alive(spare.pid))
                            {
                                let _ = signals::send(spare.pid, libc::SIGKILL);
                                // In another PID namespace, process 1 cannot end before this one is reaped.
                                process::reap_until(
                                    spare.pid,
                                    clock::now().saturating_add(SPARE_END_TIMEOUT),
                                );
                            }
                            self.write_log();
                            if let Some(helper) = self.helper.take() {
                                helper.close();
                            }
                            return Outcome::Over(status);
                        }
                    }
                }
            }
            self.write_log();
            self.ended.clear();
            if self.next_control_page.is_none() {
                self.next_control_page = self.status_writer.control_page().ok();
            }
            let may_have_ended = self.wait();
            self.collect(may_have_ended, &mut events);
        }
    }

    /// Asks the machine. The page is read before the clock: see ControlPage::view.
    fn step(&mut self, event: Event) -> Vec<Effect> {
        let Some(child) = self.child.as_ref().or(self.exited.as_ref().map(|exited| &exited.child)) else {
            return self.machine.step(clock::now(), event, &crate::shared::control_page::View::NO_INSTANCE);
        };
        let view = child.control_page.view();
        let sought = event == Event::MayHaveDaemonized || self.machine.searches_daemon();
        let effects = self.machine.step(clock::now(), event, &view);
        let mut ended = None;
        if matches!(event, Event::Died(_) | Event::SpareDied(_)) {
            // Its pid may soon be another's; and the next instance never has its page.
            ended = self.child.take();
        } else if sought && self.child.is_none() && !self.machine.searches_daemon() {
            ended = self.exited.take().map(|exited| exited.child);
        }
        if let Some(child) = ended {
            child.control_page.close();
            self.ended.push(child);
        }
        effects
    }

    fn write_log(&mut self) {
        for &event in &self.pending_log {
            self.log.write(&event.entry());
            self.summary.note(event, clock::time_of_day());
        }
        if let Some(service_manager) = &mut self.service_manager {
            if !self.pending_log.is_empty() {
                service_manager.set_status(self.summary.to_string());
            }
            service_manager.send_due(clock::now());
        }
        self.pending_log.clear();
        self.update_status();
    }

    fn update_status(&mut self) {
        let (activity, until) = self.machine.activity();
        (self.status.activity, self.status.until) = (activity, until);
        self.status.id = self.machine.id();
        self.status.pid = self.summary.pid().unwrap_or(0);
        self.status.control_page = self.child.as_ref().and_then(|child| child.control_page.location());
        self.status.restarts = self.summary.restarts();
        self.status.end_is_final = self.machine.end_is_final();
        if let Some((last, time)) = self.summary.last().filter(|(_, time)| *time != self.status.last_at) {
            (self.status.last, self.status.last_at) = (last.to_owned(), time);
        }
        self.status_writer.write(&self.status);
    }

    /// Sends the instance a signal, as soon as it keeps those that it is sent. Returns the event if it is refused.
    fn forward(&mut self, received: Received) -> Option<Event> {
        if self.child.as_mut().is_some_and(|child| !child.accepts_signals()) {
            // As in the kernel there is a limit to them.
            self.unsent_signals.extend((self.unsent_signals.len() < BATCH).then_some(received));
            return None;
        }
        self.deliver(received)
    }

    fn deliver(&self, received: Received) -> Option<Event> {
        let refused = self.child.as_ref()?.forward(received).err()?;
        // A child that another thread has reaped is found to be dead, see collect().
        let signal = received.number;
        (refused != Errno::ESRCH).then_some(Event::Refused { signal, errno: refused as i32 })
    }

    /// Sends what waits for a spare to take over, if it has.
    fn deliver_unsent(&mut self, events: &mut VecDeque<Event>) {
        if self.unsent_signals.is_empty() {
            return;
        }
        if self.child.as_mut().is_some_and(Child::accepts_signals) {
            let unsent_signals = std::mem::take(&mut self.unsent_signals);
            events.extend(unsent_signals.into_iter().filter_map(|received| self.deliver(received)));
        } else {
            self.takeover_pause = (self.takeover_pause * 2).min(TAKEOVER_PAUSES.1);
        }
    }

    /// Sleeps until the kernel has something to say, or it is time to look at the instance. Returns `true` if the
    /// instance may have ended.
    fn wait(&self) -> bool {
        let mut timeout = self.wake_at().map(|at| at.saturating_sub(clock::now()));
        if !self.unsent_signals.is_empty() {
            timeout = Some(timeout.unwrap_or(self.takeover_pause).min(self.takeover_pause));
        }
        let is_unseen = self.child.is_some() && self.pidfd().is_none();
        if is_unseen {
            timeout = Some(timeout.unwrap_or(NO_PIDFD_POLL).min(NO_PIDFD_POLL));
        }
        let mut fds = vec![PollFd::new(self.signal_fd.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.pidfd().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        fds.extend(self.helper.as_ref().map(|helper| PollFd::new(helper.fd(), PollFlags::POLLIN)));
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
        if let Some(helper) = &self.helper {
            wake_at = wake_at.into_iter().chain([helper.wake_at()]).min();
        }
        if let Some(service_manager) = &self.service_manager {
            wake_at = wake_at.into_iter().chain(service_manager.due()).min();
        }
        wake_at
    }

    fn pidfd(&self) -> Option<&OwnedFd> {
        self.child.as_ref()?.pidfd.as_ref()
    }

    fn arrived(&self) -> impl Iterator<Item = Received> {
        iter::from_fn(|| self.signal_fd.take()).take(BATCH)
    }

    /// What has happened. Signals come first: who told the program to end must be known before it ends.
    fn collect(&mut self, may_have_ended: bool, events: &mut VecDeque<Event>) {
        let earlier = events.len();
        for received in self.arrived() {
            if received.number != libc::SIGCHLD {
                let shared = received.by_kernel && self.shares_terminal(received.number);
                events.push_back(Event::Signal { received, shared });
            }
        }
        let is_last_word = |event: &Event| matches!(event, Event::Signal { received, .. } if machine::ends_program(received.number));
        if let Some(child) = &self.child {
            if events.iter().skip(earlier).any(is_last_word) && child_info::is_exiting(child.pid) {
                // The signal came too late for the instance. A process that it has forked may go on in its place.
                process::await_end(child.pid, EXITING_TIMEOUT);
            }
        }
        let mut instance_ended = false;
        // Other children than the instance are the application's, from before it registered, or were handed to
        // this process as the first of a container: they are reaped and forgotten.
        for (pid, user, change) in iter::from_fn(process::next_change).take(BATCH) {
            if let Some(child) = self.child.as_mut().filter(|child| child.pid == pid) {
                instance_ended |= matches!(change, ChildChange::Ended(_));
                let event = match change {
                    ChildChange::Ended(status) => child_ended(child, status),
                    ChildChange::Stopped(signal) => Event::Stopped(signal),
                };
                events.push_back(match event {
                    Event::Died(ExitStatus::Exited(0)) if self.leave(user) => Event::MayHaveDaemonized,
                    event => event,
                });
            } else if self.spare.as_ref().is_some_and(|spare| spare.pid == pid) {
                if matches!(change, ChildChange::Ended(_)) {
                    self.lose_spare(events);
                }
            } else if let ChildChange::Ended(_) = change {
                self.earlier_children.retain(|&earlier_children| earlier_children != pid);
                if let Some(helper) = &mut self.helper {
                    helper.ended(pid);
                }
                if let Some(group) = &mut self.group {
                    group.forget(pid);
                }
            }
        }
        // A thread that the application left in this process may reap any child: their ends are not told then.
        if may_have_ended && !instance_ended {
            if let Some(child) = &mut self.child {
                if process::is_reaped_by_another(child.pid) {
                    instance_ended = true;
                    events.push_back(child_ended(child, ExitStatus::Unknown));
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
        if let Some(helper) = &mut self.helper {
            if let Some(pid) = helper.pid().filter(|&pid| process::is_reaped_by_another(pid)) {
                helper.ended(pid);
            }
            events.push_back(Event::Corosync(helper.report()));
            self.pending_log.extend(helper.check());
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
        let goes_on = self.exited.is_some();
        let is_missed = |received: &Received| goes_on || !machine::ends_program(received.number);
        for event in events.iter_mut().skip(earlier) {
            match *event {
                Event::Signal { received, shared: false } if is_missed(&received) => {
                    *event = Event::Missed(received);
                }
                _ => {}
            }
        }
        for received in self.unsent_signals.drain(..).filter(is_missed).rev() {
            events.insert(earlier, Event::Missed(received));
        }
    }

    /// The instance, a process of `user`, exited with 0. Returns `true` if it may go on in another process.
    fn leave(&mut self, user: u32) -> bool {
        let Some(child) = self.child.take() else { return false };
        // A thread that the application left in this process may have reaped them.
        self.earlier_children.retain(|&earlier_children| !process::is_reaped_by_another(earlier_children));
        let exited = Exited { child, user, ended: clock::since_boot() };
        if self.daemon_candidates(&exited) == Candidates::None {
            self.child = Some(exited.child);
            return false;
        }
        self.exited = Some(exited);
        true
    }

    fn daemon_candidates(&self, exited: &Exited) -> Candidates {
        let exited = ExitedInstance {
            user: exited.user,
            born: exited.child.born,
            ended: exited.ended,
            named: exited.child.control_page.claimant(),
            has_forked: exited.child.control_page.has_forked(),
            was_apart: self.instances_in_other_pid_namespace,
            mark: Some(self.descent_mark).filter(|mark| mark.can_be_set()),
        };
        let spare = self.spare.as_ref().map(|spare| spare.pid);
        let helper = self.helper.as_ref().and_then(HelperHandle::pid);
        let others: Vec<i32> =
            [spare, helper].into_iter().flatten().chain(self.earlier_children.iter().copied()).collect();
        daemonized::find(&exited, &others)
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
fn child_ended(child: &mut Child, status: ExitStatus) -> Event {
    if child.accepts_signals() { Event::Died(status) } else { Event::SpareDied(status) }
}

/// Of a supervisor that has done nothing yet.
fn status(rules: Rules) -> Status {
    let Rules { recovery, quorum, cmap, interval, .. } = rules;
    Status {
        supervisor: process::own_pid(),
        policy: Policy { recovery, quorum, cmap }.bits(),
        interval,
        control_page: None,
        id: 1,
        pid: 0,
        restarts: 0,
        end_is_final: false,
        activity: Activity::Launching,
        until: 0,
        last_at: 0,
        last: String::new(),
        program: program::name(),
    }
}
