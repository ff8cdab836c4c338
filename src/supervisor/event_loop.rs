//! The event loop of the supervisor: what the kernel reports becomes events for the machine, and the effects that the
//! machine returns become system calls.

#![deny(unsafe_code)]

use std::collections::VecDeque;
use std::iter;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;

use super::backoff::Backoff;
use super::daemonized::{self, Candidates, ExitedInstance};
use super::helper_handle::HelperHandle;
use super::kill_group::KillGroup;
use super::log_event::{self, Kind, LogEvent};
use super::machine::{self, Effect, Event, Machine, Rules};
use super::service_manager::{Progress, ServiceManager};
use super::status_writer::StatusWriter;
use super::summary::Summary;
use crate::cluster::Doorbell;
use crate::error::{Error, Result};
use crate::instance::forked_child::ForkedChild;
use crate::log::Log;
use crate::policy::Policy;
use crate::shared::control_page::{ControlPage, InstanceEnd, SupervisorEnd, View};
use crate::shared::status_page::{Activity, Status};
use crate::sys::child_info;
use crate::sys::descent_mark::DescentMark;
use crate::sys::inspection::Inspection;
use crate::sys::lifeline::RobustList;
use crate::sys::process::{self, ChildChange, ExitStatus, Origin, Subreaper, TimerSlack};
use crate::sys::signals::{self, ChildSignal, Received, Signal, SignalFd};
use crate::sys::{clock, heap, program};
use crate::time::{self, MonotonicTime};

/// The number of signals, and of ended children, that the loop takes in one round. An instance may make them faster
/// than the supervisor can handle them, and the deadlines are checked once per round.
const BATCH: usize = 96;

/// The events for which there is memory at any time: a batch of signals, one of children and one of signals that a
/// spare did not get yet, what effects answer, and the rest of one round.
const MAX_EVENTS: usize = 3 * BATCH + machine::MAX_EFFECTS + 8;

// Larger buffers would come from the heap of the application, which may be full.
const _: () = assert!(size_of::<Event>() * MAX_EVENTS <= heap::HUGE);
const _: () = assert!(size_of::<Effect>() * machine::MAX_EFFECTS <= heap::HUGE);

/// The instances that end in one round at most, with one that ends while the supervisor looks for a process in its
/// place.
const MAX_ENDED: usize = 2;

/// The log lines for which there is memory at any time. The supervisor writes the log earlier when there are as many.
const MAX_PENDING_LOG: usize = 32;

/// The wait for a spare that takes over. It needs some 50 us, and a supervisor that sleeps leaves the processor to it.
const TAKEOVER_TIMEOUT: Duration = Duration::from_millis(1);

/// The pause between two looks whether a spare has taken over for which signals wait. The first is as long as the wait
/// before.
const TAKEOVER_BACKOFF: Backoff = Backoff::new(Duration::from_millis(1), Duration::from_secs(1));

/// The pause between two looks at an instance that has no pidfd. A thread of the application may take the SIGCHLD that
/// tells of its end. Four wake-ups per second cost no measurable time.
const NO_PIDFD_POLL: Duration = Duration::from_millis(250);

/// The pause between two looks at everything while the kernel refuses ppoll(2).
const NO_POLL_PAUSE: Duration = Duration::from_millis(10);

/// The wait for the end of an instance that is exiting when a signal arrives that ends the program. Long enough to free
/// the memory of most programs. A longer end is noticed later.
const EXITING_TIMEOUT: Duration = Duration::from_millis(100);

/// The wait, at the end of the supervisor, for the end of the spare that it has killed. A spare has nothing of its own
/// to free.
const SPARE_END_TIMEOUT: Duration = Duration::from_millis(100);

/// The role of the calling process when it leaves the event loop.
#[derive(Debug)]
pub enum Role {
    /// The process was forked by the supervisor: it is the next instance, or the spare.
    Child(ForkedChild),
    /// The process is the supervisor, and has to end as this status says.
    Supervisor(ExitStatus),
}

/// Makes the first instance, and supervises it and its successors. Returns in each process that was forked, and in the
/// supervisor at its end. All signals are blocked by the caller. Calls `become_supervisor` in the supervisor when the
/// first instance is made.
///
/// # Errors
/// No instance was made, and the process is as it was.
pub fn supervise(rules: Rules, warn_signal: Option<Signal>, become_supervisor: &dyn Fn()) -> Result<Role> {
    let mut supervisor = Supervisor::new(rules, warn_signal)?;
    let lifeline = RobustList::current();
    let first = match supervisor.launch(1, warn_signal) {
        Ok(ControlFlow::Break(role)) => return Ok(role),
        Ok(ControlFlow::Continue(launched)) => launched,
        Err(errno) => {
            lifeline.restore();
            if let Some(helper) = supervisor.helper.take() {
                helper.withdraw();
            }
            return Err(Error::System(errno as i32));
        }
    };
    become_supervisor();
    let own_pid = process::own_pid();
    let role = catch_unwind(AssertUnwindSafe(|| supervisor.run(first)));
    role.map_err(|_| Error::Internal).or_else(|error| {
        if process::own_pid() != own_pid {
            return Err(error);
        }
        // No error may reach the caller in the supervisor: the application must not go on in this process.
        let _ = supervisor.child.as_ref().map(|child| child.send(Signal::KILL));
        Ok(Role::Supervisor(ExitStatus::Killed { signal: Signal::ABRT, core: false }))
    })
}

/// A child of the supervisor that runs the application: the instance, or the spare.
struct Child {
    pid: Pid,
    control_page: SupervisorEnd,
    /// Reports the end of the child even if a thread of the application takes SIGCHLD. `None` if no descriptor was
    /// left.
    pidfd: Option<OwnedFd>,
    /// The child was forked as a spare, and is not known to have taken over. A spare discards signals.
    was_spare: bool,
    /// The time from the boot of the machine until the child became the instance, or until shortly before.
    born: Duration,
}

/// An instance that exited with 0, and in whose place another process may go on.
struct Exited {
    child: Child,
    user: u32,
    /// The time from the boot of the machine until shortly after the exit.
    ended: Duration,
}

impl Child {
    fn new(pid: Pid, control_page: SupervisorEnd, was_spare: bool, born: Duration) -> Child {
        Child { pid, control_page, pidfd: None, was_spare, born }
    }

    /// Sends the child a signal. With a pidfd no other process gets the signal, even if a thread of the application has
    /// reaped the child and the kernel has given its pid to another process.
    fn send(&self, signal: Signal) -> nix::Result<()> {
        match &self.pidfd {
            Some(pidfd) => signals::kill_through(pidfd.as_fd(), self.pid, signal),
            None => signals::kill(self.pid, signal),
        }
    }

    fn forward(&self, received: Received) -> nix::Result<()> {
        match received.value {
            Some(value) => signals::queue(self.pid, received.signal, value),
            None => self.send(received.signal),
        }
    }

    /// Returns `true` if the child does not discard signals.
    fn accepts_signals(&mut self) -> bool {
        // A hostile instance may take its word back later, so the page is not read again.
        self.was_spare = self.was_spare && !self.control_page.took_over();
        !self.was_spare
    }

    /// Returns the event for the end of the child.
    fn ended(&mut self, status: ExitStatus) -> Event {
        if self.accepts_signals() { Event::Died(status) } else { Event::SpareDied(status) }
    }
}

struct Supervisor {
    rules: Rules,
    machine: Machine,
    signal_fd: SignalFd,
    _child_signal: ChildSignal,
    slack: TimerSlack,
    log: Log,
    /// Events that are logged when nothing more urgent is left to do.
    pending_log: Vec<LogEvent>,
    summary: Summary,
    /// The contents of the status page, which sam-status shows.
    status: Status,
    status_writer: StatusWriter,
    /// The connection to systemd. `None` without SAM_NOTIFY.
    service_manager: Option<ServiceManager>,
    /// The processes that instances leave behind, with SAM_KILL_GROUP.
    group: Option<KillGroup>,
    child: Option<Child>,
    /// Signals for a spare that has not taken over yet, in order.
    unsent_signals: Vec<Received>,
    takeover: Backoff,
    /// While there is no `child`: the instance that was, as long as it may go on in another process.
    exited: Option<Exited>,
    /// The pids of children that the application had before `sam_register`.
    earlier_children: Vec<Pid>,
    /// The mark of instances and their descendants. Descendants of other children do not have it.
    descent_mark: DescentMark,
    /// Processes that an instance leaves behind become children of the supervisor.
    _adopts: Subreaper,
    /// The instances are in another PID namespace than the supervisor.
    instances_in_other_pid_namespace: bool,
    /// The first child is process 1 of a new PID namespace.
    first_child_is_init: bool,
    /// Instances that have ended. Their resources are freed when nothing more urgent is left to do.
    ended: Vec<Child>,
    /// Buffers of `run`. They have all the memory that they ever need, because std aborts a process without memory.
    effects: Vec<Effect>,
    events: VecDeque<Event>,
    spare: Option<Child>,
    /// The page of the next instance, made while there is memory. No instance can access it: it is made after the fork
    /// of the one instance, and the next fork hands it over.
    next_control_page: Option<ControlPage>,
    /// The cluster helper, if the policy needs quorum or cmap.
    helper: Option<HelperHandle>,
}

impl Supervisor {
    fn new(rules: Rules, warn_signal: Option<Signal>) -> Result<Supervisor> {
        let refused = |errno: Errno| Error::System(errno as i32);
        let settings = rules.settings;
        let signal_fd = SignalFd::new().map_err(refused)?;
        let _child_signal = ChildSignal::reset_to_default().map_err(refused)?;
        let _adopts = Subreaper::become_one().map_err(refused)?;
        let earlier_children =
            if process::has_children() { process::children(Path::new("/proc/self")) } else { Vec::new() };
        let descent_mark = DescentMark::new(clock::now().as_ns() ^ process::own_pid().as_raw() as u64);
        let group = settings.kill_group.then(|| KillGroup::new(descent_mark));
        let first_child_is_init = process::next_child_is_init();
        let helper = match rules.quorum || rules.cmap {
            true => Some(HelperHandle::new(rules)?),
            false => None,
        };
        let mut machine = Machine::new(rules, warn_signal);
        machine.reserve().map_err(|_| refused(Errno::ENOMEM))?;
        Ok(Supervisor {
            rules,
            machine,
            signal_fd,
            group,
            _child_signal,
            slack: TimerSlack::current(),
            log: Log::open(settings.log),
            pending_log: heap::reserve(MAX_PENDING_LOG)?,
            summary: Summary::default(),
            status: status(rules),
            status_writer: StatusWriter::open(),
            service_manager: ServiceManager::open(settings.notify, program::variable, process::own_pid()),
            child: None,
            unsent_signals: heap::reserve(BATCH)?,
            takeover: TAKEOVER_BACKOFF,
            exited: None,
            earlier_children,
            descent_mark,
            _adopts,
            instances_in_other_pid_namespace: process::children_are_apart(),
            first_child_is_init,
            ended: heap::reserve(MAX_ENDED)?,
            effects: heap::reserve(machine::MAX_EFFECTS)?,
            events: heap::reserve(MAX_EVENTS)?.into(),
            spare: None,
            next_control_page: None,
            helper,
        })
    }

    /// Runs until the end of the supervisor, or until the calling process is a new child.
    fn run(&mut self, first: Event) -> Role {
        if let Event::Launched { pid } = first {
            self.summary.launched(1, pid);
            self.log.write(&log_event::started(&self.rules, pid));
        }
        if let Some(threads) = process::threads().filter(|&threads| threads > 1) {
            self.log.write(&log_event::threads_left(threads - 1));
        }
        // After the fork: an instance does not inherit timers (fork(2)), so these are for this process.
        signals::disarm_timers();
        if let Some(service_manager) = &mut self.service_manager {
            service_manager.set_status(self.summary.to_string());
        }
        let mut events = std::mem::take(&mut self.events);
        let mut effects = std::mem::take(&mut self.effects);
        events.push_back(first);
        loop {
            while let Some(event) = events.pop_front() {
                self.handle(event, &mut effects);
                for effect in effects.drain(..) {
                    if let ControlFlow::Break(role) = self.apply(effect, &mut events) {
                        return role;
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

    /// Tells the machine of an event, and adds what is to be done to `effects`.
    fn handle(&mut self, event: Event, effects: &mut Vec<Effect>) {
        let Some(child) = self.child.as_ref().or(self.exited.as_ref().map(|exited| &exited.child)) else {
            return self.machine.handle(clock::now(), event, &View::NO_INSTANCE, effects);
        };
        // The page is read before the clock, see SupervisorEnd::view.
        let view = child.control_page.view();
        let searched = event == Event::MayHaveDaemonized || self.machine.searches_daemon();
        self.machine.handle(clock::now(), event, &view, effects);
        let mut ended = None;
        if matches!(event, Event::Died(_) | Event::SpareDied(_)) {
            ended = self.child.take();
        } else if searched && self.child.is_none() && !self.machine.searches_daemon() {
            ended = self.exited.take().map(|exited| exited.child);
        }
        if let Some(child) = ended {
            child.control_page.close();
            self.ended.push(child);
        }
    }

    /// Carries out what the machine asks for. An event that answers the effect goes to the front of `events`, because
    /// it happened before the others are handled. Returns `Break` in a new child, and at the end of the supervisor.
    fn apply(&mut self, effect: Effect, events: &mut VecDeque<Event>) -> ControlFlow<Role> {
        let answer = match effect {
            Effect::Launch { id, warn_signal } => match self.launch(id, warn_signal) {
                Ok(launched) => Some(launched?),
                Err(Errno::ENOMEM) if self.first_child_is_init => Some(Event::LaunchImpossible),
                Err(errno) => Some(Event::LaunchFailed(errno)),
            },
            Effect::MakeSpare => {
                events.push_back(match self.make_spare() {
                    Ok(made) => made?,
                    Err(_) => Event::SpareLost,
                });
                None
            }
            Effect::FindDaemon => {
                let exited = self.exited.as_ref();
                let found = exited.map_or(Candidates::None, |exited| self.daemon_candidates(exited));
                Some(Event::DaemonSearched(found))
            }
            Effect::Adopt(pid) => self.adopt(pid),
            // SIGKILL also ends a spare that does not take over.
            Effect::Send(Signal::KILL) => self.deliver(Received::sent_by_supervisor(Signal::KILL)),
            Effect::Send(signal) => self.forward(Received::sent_by_supervisor(signal)),
            Effect::Forward(received) => self.forward(received),
            Effect::Inspect => self.child.as_ref().map(|child| Event::Inspected(Inspection::of(child.pid))),
            Effect::KillGroup(id) => {
                self.kill_group(id);
                None
            }
            Effect::Suspend => {
                signals::send_to_self(Signal::STOP);
                None
            }
            Effect::GrantStart(since) => {
                if let Some(child) = &self.child {
                    child.control_page.grant_start(since);
                }
                None
            }
            Effect::AckPublished(since) => {
                if let Some(child) = &self.child {
                    child.control_page.ack_published(since);
                }
                None
            }
            Effect::Publish(record) => {
                if let Some(helper) = &self.helper {
                    helper.publish(record);
                    // If cmap shows the record already, the helper does not wake the supervisor.
                    events.push_back(Event::Corosync(helper.report()));
                }
                None
            }
            Effect::Log(event) => {
                self.log(event);
                None
            }
            Effect::Finish(status) => {
                self.finish();
                return ControlFlow::Break(Role::Supervisor(status));
            }
        };
        answer.into_iter().for_each(|answer| events.push_front(answer));
        ControlFlow::Continue(())
    }

    /// Makes an instance: the spare takes over if there is one, else an instance is forked. Returns the event that
    /// tells the machine, or `Break` in the new instance.
    fn launch(&mut self, id: u32, warn_signal: Option<Signal>) -> nix::Result<ControlFlow<Role, Event>> {
        let born = clock::since_boot();
        let warn_number = warn_signal.map_or(0, Signal::number);
        if let Some(spare) = self.spare.take() {
            if process::is_alive(spare.pid) {
                spare.control_page.hold_lifeline();
                spare.control_page.release(id, warn_number);
                // The kernel may have placed the spare on this processor, and the supervisor has much to do now.
                spare.control_page.wait_for_takeover(TAKEOVER_TIMEOUT);
                return Ok(ControlFlow::Continue(self.watch(Child { born, ..spare })));
            }
        }
        let supervisor = process::own_pid();
        let control_page =
            self.next_control_page.take().map_or_else(|| self.status_writer.control_page(), Ok)?;
        control_page.set_warn_signal(warn_number);
        // Before the fork, so that the instance notices a supervisor that is killed right after it.
        control_page.hold_lifeline();
        Ok(match self.fork(control_page)? {
            ControlFlow::Break(control_page) => {
                let child = ForkedChild::new(supervisor, id, control_page, self.take_doorbell());
                ControlFlow::Break(Role::Child(child))
            }
            ControlFlow::Continue((pid, control_page)) => {
                ControlFlow::Continue(self.watch(Child::new(pid, control_page, false, born)))
            }
        })
    }

    /// Forks a spare, which waits until it is to take over. Returns the event that tells the machine, or `Break` in the
    /// spare.
    fn make_spare(&mut self) -> nix::Result<ControlFlow<Role, Event>> {
        let supervisor = process::own_pid();
        let origin = Origin::current();
        let control_page = self.status_writer.control_page()?;
        Ok(match self.fork(control_page)? {
            ControlFlow::Break(control_page) => {
                let child = ForkedChild::spare(supervisor, &origin, control_page, self.take_doorbell());
                ControlFlow::Break(Role::Child(child))
            }
            ControlFlow::Continue((pid, control_page)) => {
                self.spare = Some(Child::new(pid, control_page, true, Duration::ZERO));
                ControlFlow::Continue(Event::SpareMade)
            }
        })
    }

    /// Forks a process that shares `control_page` with this one alone. Returns `Break` in the child.
    fn fork(&self, control_page: ControlPage) -> nix::Result<ControlFlow<InstanceEnd, (Pid, SupervisorEnd)>> {
        // The child inherits the slack.
        self.slack.set();
        // SAFETY: the child takes no lock of another thread before it returns from sam_register: it uses the allocator,
        // which fork(3) keeps usable, and the session, whose lock this thread holds. All signals are blocked.
        #[allow(unsafe_code)]
        match unsafe { process::fork() } {
            Ok(None) => {
                self.descent_mark.set();
                Ok(ControlFlow::Break(control_page.into_instance_end()))
            }
            Ok(Some(pid)) => {
                TimerSlack::LEAST.set();
                Ok(ControlFlow::Continue((pid, control_page.into_supervisor_end())))
            }
            Err(errno) => {
                TimerSlack::LEAST.set();
                Err(errno)
            }
        }
    }

    fn take_doorbell(&mut self) -> Option<Doorbell> {
        self.helper.take().map(HelperHandle::into_doorbell)
    }

    fn watch(&mut self, child: Child) -> Event {
        let pid = child.pid;
        self.unsent_signals.clear();
        self.takeover.reset();
        self.child = Some(Child { pidfd: process::pidfd(pid).ok(), ..child });
        Event::Launched { pid }
    }

    /// Makes `pid`, which was found to go on in the place of the instance, the instance.
    fn adopt(&mut self, pid: Pid) -> Option<Event> {
        let exited = self.exited.take()?;
        let pidfd = process::pidfd(pid).ok();
        // After the descriptor was opened: a child that is not reaped now is the process that was found.
        if process::is_reaped_by_another(pid) {
            self.exited = Some(exited);
            return Some(Event::DaemonSearched(Candidates::None));
        }
        exited.child.control_page.set_adopted(pid.as_raw());
        self.child = Some(Child { pid, pidfd, was_spare: false, ..exited.child });
        Some(Event::Adopted { pid })
    }

    /// Kills the processes that the instance `id` left behind.
    fn kill_group(&mut self, id: u32) {
        let others = self.other_children();
        let (ended, left) = self.group.as_mut().map_or((0, 0), |group| group.end(&others));
        if (ended, left) != (0, 0) {
            let kind = Kind::GroupEnded { ended, left };
            self.log(LogEvent { id: Some(id), pid: None, kind });
        }
    }

    /// Returns the pids of the children that no instance has left behind, and that are not the instance.
    fn other_children(&self) -> Vec<Pid> {
        let spare = self.spare.as_ref().map(|spare| spare.pid);
        let helper = self.helper.as_ref().and_then(HelperHandle::pid);
        let own = [spare, helper].into_iter().flatten();
        heap::gather(own.chain(self.earlier_children.iter().copied()))
    }

    /// Ends the spare and the helper, at the end of the supervisor.
    fn finish(&mut self) {
        // Discard pending signals, so that the exit handlers of the application do not receive them.
        self.arrived().for_each(drop);
        if let Some(spare) = self.spare.take().filter(|spare| process::is_alive(spare.pid)) {
            let _ = signals::kill(spare.pid, Signal::KILL);
            // In another PID namespace, process 1 cannot end before the spare is reaped (pid_namespaces(7)).
            process::reap_until(spare.pid, clock::now() + SPARE_END_TIMEOUT);
        }
        self.write_log();
        if let Some(helper) = self.helper.take() {
            helper.close();
        }
    }

    /// Puts a log line off until there is nothing more urgent to do.
    fn log(&mut self, event: LogEvent) {
        if self.pending_log.len() == MAX_PENDING_LOG {
            self.write_log();
        }
        self.pending_log.push(event);
    }

    fn write_log(&mut self) {
        for &event in &self.pending_log {
            self.log.write(&event.entry());
            self.summary.note(event, clock::time_of_day());
        }
        let progress = self.progress();
        if let Some(service_manager) = &mut self.service_manager {
            if !self.pending_log.is_empty() {
                service_manager.set_status(self.summary.to_string());
            }
            service_manager.send_due(clock::now(), progress);
        }
        self.pending_log.clear();
        self.update_status();
    }

    /// Returns the progress of the program, for the service manager.
    fn progress(&self) -> Progress {
        match (self.machine.activity(), &self.child) {
            ((Activity::Over, _), _) => Progress::IsOver,
            (_, Some(child)) => Progress::of(child.control_page.view().phase),
            (_, None) => Progress::Prepares,
        }
    }

    fn update_status(&mut self) {
        let (activity, until) = self.machine.activity();
        self.status.activity = activity;
        self.status.until = until.map_or(0, MonotonicTime::as_ns);
        self.status.id = self.machine.id();
        self.status.pid = self.summary.pid().map_or(0, Pid::as_raw);
        self.status.control_page = self.child.as_ref().and_then(|child| child.control_page.location());
        self.status.restarts = self.summary.restarts();
        self.status.end_is_final = self.machine.end_is_final();
        let last = self.summary.last().map(|(last, since_1970)| (last, time::ns(since_1970)));
        if let Some((last, last_at)) = last.filter(|(_, last_at)| *last_at != self.status.last_at) {
            (self.status.last, self.status.last_at) = (last.to_owned(), last_at);
        }
        self.status_writer.write(&self.status);
    }

    /// Sends the instance a signal, or keeps the signal until the instance accepts signals. Returns an event if the
    /// kernel refuses to send the signal.
    fn forward(&mut self, received: Received) -> Option<Event> {
        if self.child.as_mut().is_some_and(|child| !child.accepts_signals()) {
            // The kernel limits the number of pending signals too (RLIMIT_SIGPENDING in getrlimit(2)).
            self.unsent_signals.extend((self.unsent_signals.len() < BATCH).then_some(received));
            return None;
        }
        self.deliver(received)
    }

    fn deliver(&self, received: Received) -> Option<Event> {
        let errno = self.child.as_ref()?.forward(received).err()?;
        // If another thread has reaped the instance, `collect` finds that it has ended.
        (errno != Errno::ESRCH).then_some(Event::Refused { signal: received.signal, errno })
    }

    /// Sends the signals that wait for a spare to take over, if it has.
    fn deliver_unsent(&mut self, events: &mut VecDeque<Event>) {
        if self.unsent_signals.is_empty() {
            return;
        }
        if self.child.as_mut().is_some_and(Child::accepts_signals) {
            events.extend(self.unsent_signals.iter().filter_map(|&received| self.deliver(received)));
            self.unsent_signals.clear();
        } else {
            self.takeover.advance();
        }
    }

    /// Sleeps until the kernel reports something, or it is time to look at the instance. Returns `true` if the instance
    /// may have ended.
    fn wait(&self) -> bool {
        let pidfd = self.child.as_ref().and_then(|child| child.pidfd.as_ref());
        let is_unseen = self.child.is_some() && pidfd.is_none();
        let due = self.wake_at().map(|at| at.saturating_since(clock::now()));
        let takeover = (!self.unsent_signals.is_empty()).then(|| self.takeover.pause());
        let poll = is_unseen.then_some(NO_PIDFD_POLL);
        // One by one: valgrind takes what the compiler makes of an array of options for a use of uninitialised memory.
        let timeout = due.into_iter().chain(takeover).chain(poll).min();
        let mut fds = vec![PollFd::new(self.signal_fd.as_fd(), PollFlags::POLLIN)];
        fds.extend(pidfd.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        fds.extend(self.helper.as_ref().map(|helper| PollFd::new(helper.fd(), PollFlags::POLLIN)));
        if ppoll(&mut fds, timeout.map(TimeSpec::from_duration), None).is_err() {
            // The limit of descriptors (RLIMIT_NOFILE) was lowered below the number that poll(2) is given.
            std::thread::sleep(timeout.unwrap_or(NO_POLL_PAUSE).min(NO_POLL_PAUSE));
            return true;
        }
        is_unseen || pidfd.is_some() && fds[1].any() == Some(true)
    }

    fn wake_at(&self) -> Option<MonotonicTime> {
        let helper = self.helper.as_ref().and_then(HelperHandle::wake_at);
        let service_manager = self.service_manager.as_ref().and_then(ServiceManager::due);
        self.machine.wake_at().into_iter().chain(helper).chain(service_manager).min()
    }

    fn arrived(&self) -> impl Iterator<Item = Received> {
        iter::from_fn(|| self.signal_fd.take()).take(BATCH)
    }

    /// Turns what the kernel reports into events. Signals come first: the machine has to know that the program was told
    /// to end before it learns of the end.
    fn collect(&mut self, may_have_ended: bool, events: &mut VecDeque<Event>) {
        self.collect_signals(events);
        let has_ended = self.collect_children(events) || may_have_ended && self.find_reaped_instance(events);
        if has_ended {
            self.note_missed(events);
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
            let event = helper.check();
            event.into_iter().for_each(|event| self.log(event));
        }
        events.push_back(Event::Tick);
    }

    fn collect_signals(&self, events: &mut VecDeque<Event>) {
        let mut ends_program = false;
        for received in self.arrived().filter(|received| received.signal != Signal::CHLD) {
            let is_abort = |manager: &ServiceManager| manager.aborts_by(received, process::parent());
            if self.service_manager.as_ref().is_some_and(is_abort) {
                events.push_back(Event::Aborted);
                continue;
            }
            let shared = received.by_kernel && self.shares_terminal(received.signal);
            ends_program |= machine::ends_program(received.signal);
            events.push_back(Event::Signal { received, shared });
        }
        if let Some(child) = self.child.as_ref().filter(|_| ends_program) {
            if child_info::is_exiting(child.pid) {
                // The signal came too late for the instance. A process that it has forked may go on in its place.
                process::await_end(child.pid, EXITING_TIMEOUT);
            }
        }
    }

    /// Reaps children. Returns `true` if the instance has ended.
    fn collect_children(&mut self, events: &mut VecDeque<Event>) -> bool {
        let mut instance_ended = false;
        for (pid, user, change) in iter::from_fn(process::next_change).take(BATCH) {
            if let Some(child) = self.child.as_mut().filter(|child| child.pid == pid) {
                instance_ended |= matches!(change, ChildChange::Ended(_));
                let event = match change {
                    ChildChange::Ended(status) => child.ended(status),
                    ChildChange::Stopped(signal) => Event::Stopped(signal),
                };
                events.push_back(match event {
                    Event::Died(ExitStatus::Exited(0)) if self.leave(user) => Event::MayHaveDaemonized,
                    event => event,
                });
            } else if matches!(change, ChildChange::Stopped(_)) {
                // Another child than the instance.
            } else if self.spare.as_ref().is_some_and(|spare| spare.pid == pid) {
                self.lose_spare(events);
            } else {
                // A child of the application from before sam_register, the helper, or an orphan.
                self.earlier_children.retain(|&earlier_child| earlier_child != pid);
                if let Some(helper) = &mut self.helper {
                    helper.ended(pid);
                }
                if let Some(group) = &mut self.group {
                    group.forget(pid);
                }
            }
        }
        instance_ended
    }

    /// Returns `true` if another thread has reaped the instance. A thread that the application left in this process may
    /// reap any child, and the kernel does not report the end of that child again.
    fn find_reaped_instance(&mut self, events: &mut VecDeque<Event>) -> bool {
        let Some(child) = &mut self.child else { return false };
        let is_reaped = process::is_reaped_by_another(child.pid);
        if is_reaped {
            events.push_back(child.ended(ExitStatus::Unknown));
        } else if child.pidfd.is_none() {
            child.pidfd = process::pidfd(child.pid).ok();
        }
        is_reaped
    }

    fn lose_spare(&mut self, events: &mut VecDeque<Event>) {
        self.spare = None;
        events.push_back(Event::SpareLost);
    }

    /// Marks the signals that may not have reached the instance, which has ended: those among `events`, and those that
    /// were not sent yet. A signal that ends the program counts as received, unless another process may go on in the
    /// place of the instance: that process has to get the signal.
    fn note_missed(&mut self, events: &mut VecDeque<Event>) {
        let goes_on = self.exited.is_some();
        let is_missed = |received: &Received| goes_on || !machine::ends_program(received.signal);
        for event in events.iter_mut() {
            match *event {
                Event::Signal { received, shared: false } if is_missed(&received) => {
                    *event = Event::Missed(received);
                }
                _ => {}
            }
        }
        for received in self.unsent_signals.drain(..).filter(is_missed).rev() {
            events.push_front(Event::Missed(received));
        }
    }

    /// Sets an instance aside that exited with 0. Returns `true` if the instance, a process of `user`, may go on in
    /// another process.
    fn leave(&mut self, user: u32) -> bool {
        let Some(child) = self.child.take() else { return false };
        // A thread that the application left in this process may have reaped some of them.
        self.earlier_children.retain(|&earlier_child| !process::is_reaped_by_another(earlier_child));
        let exited = Exited { child, user, ended: clock::since_boot() };
        if self.daemon_candidates(&exited) == Candidates::None {
            self.child = Some(exited.child);
            return false;
        }
        self.exited = Some(exited);
        true
    }

    fn daemon_candidates(&self, exited: &Exited) -> Candidates {
        let control_page = &exited.child.control_page;
        let instance = ExitedInstance {
            user: exited.user,
            born: exited.child.born,
            ended: exited.ended,
            named: control_page.claimant().map(Pid::from_raw),
            has_forked: control_page.has_forked(),
            was_apart: self.instances_in_other_pid_namespace,
            mark: Some(self.descent_mark).filter(|mark| mark.can_be_set()),
        };
        daemonized::find(&instance, &self.other_children())
    }

    /// Returns `true` if a terminal that sends this signal sends it to the instance as well.
    fn shares_terminal(&self, signal: Signal) -> bool {
        if [Signal::HUP, Signal::CONT].contains(&signal) && process::leads_session() {
            // The terminal hung up: these two go to the leader of its session alone (tty_io.c of Linux,
            // tty_signal_session_leader()).
            return false;
        }
        let of_terminals = [
            Signal::CONT,
            Signal::HUP,
            Signal::INT,
            Signal::QUIT,
            Signal::TSTP,
            Signal::TTIN,
            Signal::TTOU,
            Signal::WINCH,
        ];
        of_terminals.contains(&signal)
            && self.child.as_ref().is_some_and(|child| process::shares_group_with(child.pid))
    }
}

/// Returns the status of a supervisor that has done nothing yet.
fn status(rules: Rules) -> Status {
    let Rules { recovery, quorum, cmap, interval, .. } = rules;
    Status {
        supervisor: process::own_pid().as_raw(),
        policy: Policy { recovery, quorum, cmap }.bits(),
        interval: interval.map_or(0, time::ns),
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
