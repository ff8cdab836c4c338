//! The event loop of the supervisor: what the kernel reports becomes events for the machine, and the effects that the
//! machine returns become system calls.

#![deny(unsafe_code)]

use std::iter;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::unistd::Pid;

use super::backoff::Backoff;
use super::daemonized::{self, Candidates, ExitedInstance};
use super::helper_handle::HelperHandle;
use super::kill_group::KillGroup;
use super::log_event::{self, Kind, LogEvent};
use super::machine::{self, Effect, Event, Machine, Rules};
use super::queue::Queue;
use super::service_manager::{Progress, ServiceManager};
use super::status_writer::{self, StatusWriter};
use super::summary::Summary;
use crate::cluster::Doorbell;
use crate::error::{Error, Result};
use crate::instance::forked_child::ForkedChild;
use crate::log::Log;
use crate::policy::Policy;
use crate::shared::control_page::{ControlPage, InstanceEnd, SupervisorEnd, View};
use crate::shared::status_page::{Activity, Status, Text};
use crate::sys::child_info;
use crate::sys::descent_mark::DescentMark;
use crate::sys::inspection::Inspection;
use crate::sys::lifeline::RobustList;
use crate::sys::process::{self, ChildChange, ExitStatus, Origin, Subreaper, TimerSlack};
use crate::sys::signals::{self, ChildSignal, Received, Signal, SignalFd};
use crate::sys::{clock, heap, program};
use crate::time::{self, MonotonicTime};

/// The number of signals, and of ended children, that the supervisor takes from the kernel before it checks the
/// deadlines again. An instance may send signals, or fork children that end, faster than the supervisor can handle
/// them.
const BATCH: usize = 96;

/// The number of events for which the supervisor reserves memory: received signals, ended children, signals that a
/// spare could not get yet (`BATCH` of each), one result for each effect, and a few others.
const MAX_EVENTS: usize = 3 * BATCH + machine::MAX_EFFECTS + 8;

// Larger buffers would come from the heap of the application, which may be full.
const _: () = assert!(size_of::<Event>() * MAX_EVENTS <= heap::HUGE);
const _: () = assert!(size_of::<Effect>() * machine::MAX_EFFECTS <= heap::HUGE);
const _: () = assert!(size_of::<Supervisor>() <= heap::STATE);

/// The events that are not handled yet, in order.
type Events = Queue<Event, 8>;

/// The number of ended instances whose resources the supervisor frees later, before it waits for the kernel. More of them
/// never come together.
const MAX_ENDED: usize = 2;

/// The number of log lines for which the supervisor reserves memory. It writes them when no event is left to handle, or
/// as soon as there are this many.
const MAX_PENDING_LOG: usize = 6;

/// The longest time that the supervisor sleeps while a spare, a process forked in advance, takes over as the instance.
/// The spare needs some 50 us for that, and may have to run on the processor of the supervisor.
const TAKEOVER_TIMEOUT: Duration = Duration::from_millis(1);

/// The sleep of the supervisor after it has forked an instance. The kernel may have placed the instance on the processor
/// of the supervisor, which has a log line to write and the next control page to make. The instance needs some 50 us to
/// return from sam_register.
const HEAD_START: Duration = Duration::from_millis(1);

/// The pause between two checks whether a spare, a process forked in advance, has taken over as the instance. The
/// supervisor makes them only while it keeps signals for the spare. The pause doubles from 1 ms to 1 s.
const TAKEOVER_BACKOFF: Backoff = Backoff::new(Duration::from_millis(1), Duration::from_secs(1));

/// The pause between two looks at an instance that has no pidfd. A thread of the application may take the SIGCHLD that
/// tells of its end. Four wake-ups per second cost no measurable time.
const NO_PIDFD_POLL: Duration = Duration::from_millis(250);

/// The longest sleep of the supervisor while the kernel refuses ppoll(2). After each sleep it checks for signals, ended
/// children, reports of the cluster helper, and deadlines that have passed.
const NO_POLL_PAUSE: Duration = Duration::from_millis(10);

/// The longest wait of the supervisor for the end of an instance that is already exiting when SIGTERM, SIGINT or
/// SIGQUIT arrives. It is enough to free the memory of most programs. If the instance takes longer, the supervisor goes
/// on meanwhile.
const EXITING_TIMEOUT: Duration = Duration::from_millis(100);

/// The longest wait, at the end of the supervisor, for the end of the spare that it has killed. The spare was forked in
/// advance and has never run the application, so it has hardly any memory to free.
const SPARE_END_TIMEOUT: Duration = Duration::from_millis(100);

/// The role of a process that returns from [`supervise`].
#[derive(Debug)]
pub enum Role {
    /// The supervisor has forked this process. It becomes the next instance, either at once or, as a spare, when the
    /// supervisor needs it.
    Child(ForkedChild),
    /// This process is the supervisor, and there is nothing left to supervise. It has to end with this exit code, or by
    /// this signal.
    Supervisor(ExitStatus),
}

/// Makes the first instance, and supervises it and its successors. Returns in each process that was forked, and in the
/// supervisor at its end. All signals are blocked by the caller. Calls `become_supervisor` in the supervisor when the
/// first instance is made.
///
/// # Errors
/// No instance was made, and the process is as it was.
pub fn supervise(rules: Rules, warn_signal: Option<Signal>, become_supervisor: &dyn Fn()) -> Result<Role> {
    let mut place = Supervisor::new(rules, warn_signal)?;
    let supervisor = place.first_mut().ok_or(Error::Internal)?;
    let lifeline = RobustList::current();
    // A thread may end as soon as the instance runs.
    let threads = process::threads().unwrap_or(1);
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
    let role = catch_unwind(AssertUnwindSafe(|| supervisor.run(first, threads)));
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
    /// `true` if the child was forked as a spare, and is not known to have taken over as the instance. A spare discards
    /// signals.
    was_spare: bool,
    /// The time from the boot of the machine until the child became the instance, or until shortly before.
    born: Duration,
}

/// An instance that exited with 0, and in whose place another process may go on.
struct Exited {
    child: Child,
    user: u32,
    /// The time from the boot of the machine until shortly after the instance exited.
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

    /// Returns `true` if the child handles signals as an instance does. Returns `false` for a spare, a process forked
    /// in advance, that has not taken over as the instance yet: it discards signals.
    fn accepts_signals(&mut self) -> bool {
        // A hostile instance may take its word back later, so the page is not read again.
        self.was_spare = self.was_spare && !self.control_page.took_over();
        !self.was_spare
    }

    /// Returns the event that tells the state machine of the end of this child with `status`. The event says whether an
    /// instance ended, or a spare that was to become the instance.
    fn ended(&mut self, status: ExitStatus) -> Event {
        if self.accepts_signals() { Event::Died(status) } else { Event::SpareDied(status) }
    }
}

/// The reasons for which the supervisor has woken up.
struct Woken {
    /// Signals have arrived.
    by_signals: bool,
    /// The instance may have ended.
    may_have_ended: bool,
}

struct Supervisor {
    rules: Rules,
    machine: Machine,
    signal_fd: SignalFd,
    _child_signal: ChildSignal,
    slack: TimerSlack,
    log: Log,
    /// Events that are logged when nothing more urgent is left to do.
    pending_log: Queue<LogEvent, MAX_PENDING_LOG>,
    summary: Summary,
    /// The contents of the status page, which sam-status shows.
    status: Status,
    status_writer: StatusWriter,
    /// The connection to systemd. `None` without SAM_NOTIFY.
    service_manager: Option<ServiceManager>,
    /// The list of processes that dead instances left behind, and that the supervisor kills. `None` unless
    /// SAM_KILL_GROUP=1 is set.
    group: Option<KillGroup>,
    child: Option<Child>,
    /// Signals for a spare that has not taken over yet, in order.
    unsent_signals: Vec<Received>,
    takeover: Backoff,
    /// The instance that exited with 0, while the supervisor searches for a process that goes on in its place. `None`
    /// while there is a `child`.
    exited: Option<Exited>,
    /// The pids of children that the application had before `sam_register`, and of spares that were dropped.
    earlier_children: Vec<Pid>,
    /// The mark (a resource limit, see [`DescentMark`]) that instances and their descendants have. By it the supervisor
    /// tells them from the descendants of its other children.
    descent_mark: DescentMark,
    /// Makes the supervisor a subreaper, see PR_SET_CHILD_SUBREAPER in prctl(2): processes that an instance leaves
    /// behind become children of the supervisor.
    _adopts: Subreaper,
    /// `true` if the instances are in another PID namespace than the supervisor. Then their orphans do not become
    /// children of the supervisor.
    instances_in_other_pid_namespace: bool,
    /// `true` if the first process that the supervisor forks is process 1 of a new PID namespace, see
    /// pid_namespaces(7). When that process has ended, fork(2) fails with ENOMEM for ever.
    first_child_is_init: bool,
    /// Instances that have ended. Their resources are freed when nothing more urgent is left to do.
    ended: [Option<Child>; MAX_ENDED],
    /// The list of actions that the state machine asks for. Its memory is reserved when the supervisor is made, because
    /// the Rust standard library aborts a process that gets no more memory.
    effects: Vec<Effect>,
    /// Memory for the list of events that wait until the state machine handles them. It is reserved as well.
    far_events: Vec<Event>,
    /// The spare, a process that was forked in advance and waits to become the next instance.
    spare: Option<Child>,
    /// The memory that the supervisor will share with the next instance. It is made early, while there is memory. The
    /// living instance cannot access it.
    next_control_page: Option<ControlPage>,
    /// The cluster helper, if the policy needs quorum or cmap.
    helper: Option<HelperHandle>,
    /// Children other than the instance may have ended and are not reaped yet.
    has_unreaped: bool,
    /// The work that can wait until the next instance is made is done.
    is_tidy: bool,
    /// An instance was just made. The work that can wait is done when the instance has had some time on the processor, or when
    /// the supervisor is woken. Not twice in turn: instances that end at once do not keep the supervisor from it.
    gives_head_start: bool,
}

impl Supervisor {
    /// Returns a list of one, because std ends the process if there is no memory for a box.
    // Not inlined: a new instance copies each page of the stack that it returns through.
    #[inline(never)]
    fn new(rules: Rules, warn_signal: Option<Signal>) -> Result<Box<[Supervisor]>> {
        // These come first, so that they are on one page, see `heap`.
        let mut supervisor = heap::reserve(1)?;
        let effects = heap::reserve(machine::MAX_EFFECTS)?;
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
        supervisor.push(Supervisor {
            rules,
            machine,
            signal_fd,
            group,
            _child_signal,
            slack: TimerSlack::current(),
            log: Log::open(settings.log),
            pending_log: Queue::new(Vec::new()),
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
            ended: [const { None }; MAX_ENDED],
            effects,
            far_events: heap::reserve(MAX_EVENTS)?,
            spare: None,
            next_control_page: None,
            helper,
            has_unreaped: false,
            is_tidy: false,
            gives_head_start: false,
        });
        Ok(supervisor.into_boxed_slice())
    }

    /// Runs the supervisor until the program has ended for good. `first` is the event that says that the first instance
    /// was made, and `threads` the number of threads that the process had before. Also returns in each process that the
    /// supervisor forks as an instance or a spare.
    fn run(&mut self, first: Event, threads: u64) -> Role {
        if let Event::Launched { pid } = first {
            self.summary.launched(1, pid);
            self.log.write(&log_event::started(&self.rules, pid));
        }
        if threads > 1 {
            self.log.write(&log_event::threads_left(threads - 1));
        }
        // After the fork: an instance does not inherit timers (fork(2)), so these are for this process.
        signals::disarm_timers();
        if let Some(service_manager) = &mut self.service_manager {
            service_manager.set_status(self.summary.to_string());
        }
        let mut events = Events::new(std::mem::take(&mut self.far_events));
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
            if !self.gives_head_start {
                self.tidy();
            }
            let woken = self.wait();
            self.gives_head_start = false;
            self.collect(woken, &mut events);
        }
    }

    /// Does the work that can wait until the next instance is made.
    #[inline(never)]
    fn tidy(&mut self) {
        self.is_tidy = true;
        self.write_log();
        self.ended = [const { None }; MAX_ENDED];
        if self.next_control_page.is_none() {
            self.next_control_page = self.status_writer.control_page().ok();
        }
    }

    /// Passes `event` to the state machine, together with the contents of the control page of the instance. Adds the
    /// actions that the state machine asks for to `effects`.
    #[inline(never)]
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
            if let Some(place) = self.ended.iter_mut().find(|place| place.is_none()) {
                *place = Some(child);
            }
        }
    }

    /// Carries out one action that the state machine has asked for. If the result is an event, it mostly goes to the
    /// front of `events`, because the others are to be handled after it. Returns `Break` in a new child, and when the
    /// supervisor is to end.
    #[inline(never)]
    fn apply(&mut self, effect: Effect, events: &mut Events) -> ControlFlow<Role> {
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
            Effect::DropSpare => {
                self.drop_spare();
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

    /// Makes the next instance, with this id and warning signal. Releases the spare, a process forked in advance, if
    /// there is one, and forks otherwise. Returns the event `Launched` in the supervisor, and `Break` in the process
    /// that was forked.
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
        let supervisor = Pid::from_raw(self.status.supervisor);
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
                self.gives_head_start = std::mem::take(&mut self.is_tidy);
                ControlFlow::Continue(self.watch(Child::new(pid, control_page, false, born)))
            }
        })
    }

    /// Forks a spare, which waits until the supervisor releases it as the next instance. Returns the event `SpareMade`
    /// in the supervisor, and `Break` in the spare.
    #[inline(never)]
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

    /// Kills the spare. It is reaped when the kernel tells of its end.
    #[inline(never)]
    fn drop_spare(&mut self) {
        let Some(spare) = self.spare.take() else { return };
        // If another thread of the application has reaped the spare, the pid may be another process's by now.
        if process::is_alive(spare.pid) {
            let _ = spare.send(Signal::KILL);
        }
        if self.earlier_children.try_reserve(1).is_ok() {
            self.earlier_children.push(spare.pid);
        }
    }

    /// Forks the supervisor. Only the supervisor and the new process can access `control_page`. Returns `Break` with
    /// the instance's end of the page in the new process, and the pid and the supervisor's end in the supervisor.
    fn fork(
        &mut self,
        control_page: ControlPage,
    ) -> nix::Result<ControlFlow<InstanceEnd, (Pid, SupervisorEnd)>> {
        // The child inherits the slack.
        self.slack.set();
        let began = clock::now();
        // SAFETY: the child takes no lock of another thread before it returns from sam_register: it uses the allocator,
        // which fork(3) keeps usable, and the session, whose lock this thread holds. All signals are blocked.
        #[allow(unsafe_code)]
        let forked = unsafe { process::fork() };
        match forked {
            Ok(None) => {
                self.descent_mark.set();
                Ok(ControlFlow::Break(control_page.into_instance_end()))
            }
            Ok(Some(pid)) => {
                TimerSlack::LEAST.set();
                self.machine.note_fork(clock::now().saturating_since(began));
                Ok(ControlFlow::Continue((pid, control_page.into_supervisor_end())))
            }
            Err(errno) => {
                TimerSlack::LEAST.set();
                Err(errno)
            }
        }
    }

    fn take_doorbell(&mut self) -> Option<Doorbell> {
        // The test avoids a write to the state of the supervisor, for which a new instance would copy the page.
        if self.helper.is_some() { self.helper.take().map(HelperHandle::into_doorbell) } else { None }
    }

    fn watch(&mut self, child: Child) -> Event {
        let pid = child.pid;
        self.unsent_signals.clear();
        self.takeover.reset();
        self.child = Some(Child { pidfd: process::pidfd(pid).ok(), ..child });
        Event::Launched { pid }
    }

    /// Makes the process `pid` the instance, in the place of the instance that exited with 0. Returns the event
    /// `Adopted`. If another thread has reaped `pid`, returns the event for a search that found no process.
    #[inline(never)]
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

    /// Kills the processes that the dead instance `id` left behind, and logs their number if there were any. Does
    /// nothing unless SAM_KILL_GROUP=1 is set.
    #[inline(never)]
    fn kill_group(&mut self, id: u32) {
        let others = self.other_children();
        let (ended, left) = self.group.as_mut().map_or((0, 0), |group| group.end(&others));
        if (ended, left) != (0, 0) {
            let kind = Kind::GroupEnded { ended, left };
            self.log(LogEvent { id: Some(id), pid: None, kind });
        }
    }

    /// Returns the pids of the children that do not belong to an instance: the spare, the cluster helper, and the
    /// children from before `sam_register`.
    fn other_children(&self) -> Vec<Pid> {
        let spare = self.spare.as_ref().map(|spare| spare.pid);
        let helper = self.helper.as_ref().and_then(HelperHandle::pid);
        let own = [spare, helper].into_iter().flatten();
        heap::gather(own.chain(self.earlier_children.iter().copied()))
    }

    /// Prepares the end of the supervisor: discards pending signals, kills the spare, writes the log, and ends the
    /// cluster helper.
    #[inline(never)]
    fn finish(&mut self) {
        // Discard pending signals, so that the exit handlers of the application do not receive them.
        self.signal_fd.arrived(BATCH).for_each(drop);
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

    /// Adds a log line to those that `write_log` writes when no event is left to handle. Writes them at once if the
    /// list is full.
    fn log(&mut self, event: LogEvent) {
        if self.pending_log.count() == MAX_PENDING_LOG {
            self.write_log();
        }
        self.pending_log.push_back(event);
    }

    fn write_log(&mut self) {
        let has_news = self.pending_log.count() > 0;
        while let Some(event) = self.pending_log.pop_front() {
            if !self.log.is_off() {
                self.log.write(&event.entry());
            }
            let since_1970 = clock::time_of_day();
            self.summary.note(event, since_1970);
            if let Some(details) = &mut self.status.details {
                status_writer::note(details, &event, clock::now(), since_1970);
            }
        }
        let progress = self.progress();
        if let Some(service_manager) = &mut self.service_manager {
            if has_news {
                service_manager.set_status(self.summary.to_string());
            }
            service_manager.send_due(clock::now(), progress);
        }
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
        if let Some(details) = &mut self.status.details {
            details.born = self.child.as_ref().map_or(0, |child| time::ns(child.born));
        }
        let last = self.summary.last().map(|(last, since_1970)| (last, time::ns(since_1970)));
        if let Some((last, last_at)) = last.filter(|(_, last_at)| *last_at != self.status.last_at) {
            (self.status.last, self.status.last_at) = (Text::of(last), last_at);
        }
        self.status_writer.write(&self.status);
    }

    /// Sends the instance a signal, or keeps the signal until the instance accepts signals. Returns an event if the
    /// kernel refuses to send the signal.
    #[inline(never)]
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

    /// Sends the signals that the supervisor keeps for a spare, a process forked in advance. Does so as soon as the
    /// spare has taken over as the instance. Adds an event to `events` for each signal that the kernel refuses.
    fn deliver_unsent(&mut self, events: &mut Events) {
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

    /// Sleeps until a signal arrives, the instance ends, the cluster helper wakes the supervisor, or a deadline comes.
    /// Returns the reasons for which it has woken up.
    #[inline(never)]
    fn wait(&self) -> Woken {
        let pidfd = self.child.as_ref().and_then(|child| child.pidfd.as_ref());
        let is_unseen = self.child.is_some() && pidfd.is_none();
        let due = self.wake_at().map(|at| at.saturating_since(clock::now()));
        let takeover = (!self.unsent_signals.is_empty()).then(|| self.takeover.pause());
        let poll = is_unseen.then_some(NO_PIDFD_POLL);
        let (unreaped, head_start) = match self.gives_head_start {
            true => (None, Some(HEAD_START)),
            false => (self.has_unreaped.then_some(Duration::ZERO), None),
        };
        // One by one: valgrind takes what the compiler makes of an array of options for a use of uninitialised memory.
        let timeout = due.into_iter().chain(takeover).chain(poll).chain(unreaped).chain(head_start).min();
        let signal_fd = self.signal_fd.as_fd();
        let others = pidfd.map(AsFd::as_fd).into_iter().chain(self.helper.as_ref().map(HelperHandle::fd));
        let mut fds = [signal_fd; 3];
        let mut count = 1;
        for fd in others {
            fds[count] = fd;
            count += 1;
        }
        let mut fds = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        if ppoll(&mut fds[..count], timeout.map(clock::time_spec), None).is_err() {
            // The limit of descriptors (RLIMIT_NOFILE) was lowered below the number that poll(2) is given.
            std::thread::sleep(timeout.unwrap_or(NO_POLL_PAUSE).min(NO_POLL_PAUSE));
            return Woken { by_signals: true, may_have_ended: true };
        }
        let is_ready = |fd: &PollFd| fd.any() == Some(true);
        Woken {
            by_signals: is_ready(&fds[0]),
            may_have_ended: is_unseen || pidfd.is_some() && is_ready(&fds[1]),
        }
    }

    fn wake_at(&self) -> Option<MonotonicTime> {
        let helper = self.helper.as_ref().and_then(HelperHandle::wake_at);
        let service_manager = self.service_manager.as_ref().and_then(ServiceManager::due);
        self.machine.wake_at().into_iter().chain(helper).chain(service_manager).min()
    }

    /// Adds an event for each signal, ended child and report of the cluster helper that has arrived. Signals come
    /// first: the state machine has to know of a termination signal before it learns that the instance has ended.
    #[inline(never)]
    fn collect(&mut self, woken: Woken, events: &mut Events) {
        let Woken { by_signals, may_have_ended } = woken;
        let has_read_signals = by_signals || may_have_ended;
        if has_read_signals {
            self.collect_signals(events);
        }
        let has_ended = self.collect_children(has_read_signals, events)
            || may_have_ended && self.find_reaped_instance(events);
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

    fn collect_signals(&self, events: &mut Events) {
        let mut ends_program = false;
        for received in self.signal_fd.arrived(BATCH).filter(|received| received.signal != Signal::CHLD) {
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

    /// Reaps children. Returns `true` if the instance has ended. Then other children are reaped in the next round, after
    /// the next instance was made, unless the supervisor has to tell them from those that the instance left behind.
    fn collect_children(&mut self, has_read_signals: bool, events: &mut Events) -> bool {
        let mut instance_ended = false;
        self.has_unreaped = false;
        for (pid, user, change) in iter::from_fn(process::next_change).take(BATCH) {
            if self.child.as_ref().is_some_and(|child| child.pid == pid) {
                instance_ended |= matches!(change, ChildChange::Ended(_));
                if instance_ended && !has_read_signals {
                    self.collect_signals(events);
                }
                let Some(child) = &mut self.child else { break };
                let event = match change {
                    ChildChange::Ended(status) => child.ended(status),
                    ChildChange::Stopped(signal) => Event::Stopped(signal),
                };
                events.push_back(match event {
                    Event::Died(ExitStatus::Exited(0)) if self.leave(user) => Event::MayHaveDaemonized,
                    event => event,
                });
                if instance_ended && self.group.is_none() {
                    self.has_unreaped = true;
                    break;
                }
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

    /// Checks whether another thread has reaped the instance, and if so, adds the event of its end to `events` and
    /// returns `true`. A thread that the application left in this process may reap any child, and the kernel does not
    /// report the end again.
    fn find_reaped_instance(&mut self, events: &mut Events) -> bool {
        let Some(child) = &mut self.child else { return false };
        let is_reaped = process::is_reaped_by_another(child.pid);
        if is_reaped {
            events.push_back(child.ended(ExitStatus::Unknown));
        } else if child.pidfd.is_none() {
            child.pidfd = process::pidfd(child.pid).ok();
        }
        is_reaped
    }

    fn lose_spare(&mut self, events: &mut Events) {
        self.spare = None;
        events.push_back(Event::SpareLost);
    }

    /// Turns the signals that may not have reached the instance before its end into `Missed` events, so that the next
    /// instance gets them. SIGTERM, SIGINT and SIGQUIT count as received, unless another process may go on in the place
    /// of the instance.
    fn note_missed(&mut self, events: &mut Events) {
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

    /// Moves the instance, a process of `user` that exited with 0, from `child` to `exited` if a process that it forked
    /// may go on in its place. Returns `true` then. Otherwise the instance stays in `child`, and the result is `false`.
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

    #[inline(never)]
    fn daemon_candidates(&self, exited: &Exited) -> Candidates {
        let control_page = &exited.child.control_page;
        let instance = ExitedInstance {
            user: exited.user,
            born: exited.child.born,
            ended: exited.ended,
            named: control_page.claimant().map(Pid::from_raw),
            has_forked: control_page.has_forked(),
            was_apart: self.instances_in_other_pid_namespace,
            mark: self.descent_mark.can_be_set().then_some(self.descent_mark),
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
        last: Text::EMPTY,
        program: Text::of(program::name()),
        details: Some(status_writer::details()),
    }
}
