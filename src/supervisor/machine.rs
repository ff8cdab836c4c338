//! Every decision of the supervisor. Events come in, and effects go out. The machine makes no system call and reads no
//! clock: the time comes with each event.
//!
//! The machine is made of two tables. The first one, in `Machine::supervise`, is a match of the state of the supervisor
//! and the event. The second one, in `health.rs`, is a match of the health of a living instance and what the supervisor
//! finds out about it.

#![forbid(unsafe_code)]

mod cluster;
mod daemon_search;
mod health;
mod signals;
mod spare;

use std::collections::TryReserveError;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;

use self::health::Watch;
use self::signals::HeldSignals;
use self::spare::Spare;
use super::backoff::Backoff;
use super::cmap_requests::CmapRequests;
use super::daemonized::Candidates;
use super::log_event::{Kind, LogEvent};
use super::restarts::Restarts;
use crate::policy::Recovery;
use crate::settings::{RestartLimit, Settings};
use crate::shared::cmap_record::{CmapRecord, CmapState};
use crate::shared::control_page::{Phase, View};
use crate::shared::mailbox::{ClusterReport, QuorumState};
use crate::shared::status_page::Activity;
use crate::sys::inspection::Inspection;
use crate::sys::process::ExitStatus;
use crate::sys::signals::{Received, Signal};
use crate::time::MonotonicTime;

pub use self::health::ABORT_GRACE;
pub use self::signals::ends_program;

/// The highest number of effects that one event can have: one for each signal that is kept for the next instance, one
/// more for each of SIGTERM, SIGINT and SIGQUIT, and a few others. The event loop reserves memory for so many.
pub const MAX_EFFECTS: usize = signals::MAX_HELD + 16;

/// The pause before the supervisor tries again to fork an instance or a spare, or to send SIGKILL, after the kernel has
/// refused it. It doubles from 10 ms, which no user notices, to 1 s, which does not load a machine that has no
/// processes left.
const RETRY_BACKOFF: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));

/// The parameters of one supervisor: the policy and the interval that the program passed to `sam_initialize`, and the
/// settings in its environment. They never change.
#[derive(Debug, Clone, Copy, Hash)]
pub struct Rules {
    /// The longest silence that is allowed between two heartbeats. `None`: no limit.
    pub interval: Option<Duration>,
    /// The recovery policy that the program passed to `sam_initialize`: restart an instance that was lost, or quit.
    pub recovery: Recovery,
    /// The settings that the administrator has made by environment variables, such as SAM_RESTART_LIMIT.
    pub settings: Settings,
    /// `true` if the instance may run only while the cluster partition is quorate.
    pub quorum: bool,
    /// `true` if cmap, corosync's key-value store, is to show the state of the program.
    pub cmap: bool,
}

/// Something that has happened, which the event loop tells the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The event loop has made an instance, as the machine asked for by [`Effect::Launch`].
    Launched {
        /// The pid of the new instance.
        pid: Pid,
    },
    /// The event loop could not make the instance that the machine asked for by [`Effect::Launch`]. The error is that
    /// of fork(2), or of the preparation for it.
    LaunchFailed(Errno),
    /// No instance can ever be made again, because process 1 of the PID namespace of the instances has ended.
    LaunchImpossible,
    /// Time has passed. The event loop sends this event at the time that [`Machine::wake_at`] returned, and may send it
    /// at any other time.
    Tick,
    /// The instance has ended with this exit status.
    Died(ExitStatus),
    /// The instance exited with 0, and a process that it forked may go on in its place, as daemon(3) makes it.
    MayHaveDaemonized,
    /// The event loop has looked for a process that goes on in the place of the exited instance, as the machine asked
    /// for by [`Effect::FindDaemon`]. This is what it found.
    DaemonSearched(Candidates),
    /// The event loop has made this process the instance, as the machine asked for by [`Effect::Adopt`].
    Adopted {
        /// The pid of the adopted process, which is the instance from now on.
        pid: Pid,
    },
    /// The spare, a process forked in advance, was to become the instance, and has ended with this exit status before
    /// it took over.
    SpareDied(ExitStatus),
    /// The event loop has forked a spare, as the machine asked for by [`Effect::MakeSpare`]. A spare is a process that
    /// waits to become the next instance.
    SpareMade,
    /// There is no spare, which is a process that waits to become the next instance: the kernel refused to fork it, or
    /// it has ended.
    SpareLost,
    /// This signal has stopped the instance.
    Stopped(Signal),
    /// The kernel refused to send the instance a signal.
    Refused {
        /// The signal that the kernel refused to send to the instance.
        signal: Signal,
        /// The error that the kernel returned for the signal to the instance, such as EPERM.
        errno: Errno,
    },
    /// The latest report of the cluster helper, the process that talks to corosync: whether there is quorum, and what
    /// state cmap shows. The event loop sends it each time before a `Tick`, also if nothing has changed.
    Corosync(ClusterReport),
    /// The event loop has inspected the instance, as the machine asked for by [`Effect::Inspect`]: it knows whether a
    /// debugger traces the instance, and whether the kernel writes its core file.
    Inspected(Inspection),
    /// The supervisor received this signal to forward it, but the instance has ended and may not have got it.
    Missed(Received),
    /// The service manager aborts the program, because its watchdog got no sign of life from the supervisor in time.
    Aborted,
    /// The supervisor received a signal, which is to be forwarded to the instance.
    Signal {
        /// The signal that arrived at the supervisor.
        received: Received,
        /// `true` if the terminal also sent the signal to the instance, so the supervisor need not forward it.
        shared: bool,
    },
}

/// Something that the machine asks the event loop to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make the next instance. The event loop releases the spare, a process forked in advance, or forks if there is no
    /// spare.
    Launch {
        /// The id of the new instance.
        id: u32,
        /// The signal by which the supervisor warns the instance before it kills the instance. `None`: no warning.
        warn_signal: Option<Signal>,
    },
    /// Fork a spare, which waits until it is released as the next instance.
    MakeSpare,
    /// End the spare, because the instance has recovered.
    DropSpare,
    /// Look for a process that goes on in the place of the instance, which exited with 0.
    FindDaemon,
    /// Make the process with this pid the instance. It is a process that the instance, which exited with 0, has forked.
    Adopt(Pid),
    /// Send this signal to the instance.
    Send(Signal),
    /// Pass the signal that the supervisor received on to the instance.
    Forward(Received),
    /// Find out whether a debugger traces the instance, and whether the kernel writes its core file.
    Inspect,
    /// End the processes that the dead instance with this id left behind.
    KillGroup(u32),
    /// Stop the supervisor as the instance was stopped, until both are continued.
    Suspend,
    /// Let the instance return from `sam_start`, where it has waited for quorum since this time.
    GrantStart(MonotonicTime),
    /// Tell the instance that cmap shows its phase, such as started or stopped. This is the time at which the instance
    /// entered the phase. `sam_start` and `sam_stop` wait for that.
    AckPublished(MonotonicTime),
    /// Ask the cluster helper to show this record in cmap.
    Publish(CmapRecord),
    /// Write a line about this event to the log, such as a warning or a restart.
    Log(LogEvent),
    /// End the supervisor with this exit code, or by this signal.
    Finish(ExitStatus),
}

/// The state of the supervisor. `Machine::supervise` is a table that says what follows from each event in each state.
#[derive(Debug, Clone, Copy, Hash)]
enum State {
    /// The machine has asked the event loop for an instance, and waits for the event that says whether it was made.
    Launching,
    /// No instance lives, and the supervisor pauses. At the time [`Machine::wake`], the machine asks the event loop for
    /// the next instance.
    Pausing,
    /// An instance lives, and the supervisor watches it.
    Watching(Watch),
    /// The instance exited with 0 at `since`. A process that it forked may go on in its place.
    AwaitingDaemon { watch: Watch, since: MonotonicTime, backoff: Backoff },
    /// The program has ended for good. The supervisor ends with `status` as soon as cmap shows how the program ended,
    /// and at `until` at the latest.
    Closing { status: ExitStatus, until: MonotonicTime },
    /// The supervisor has nothing left to do and ends.
    Finished,
}

/// The state machine that makes every decision of a supervisor.
#[derive(Debug, Clone, Hash)]
pub struct Machine {
    rules: Rules,
    state: State,
    /// The time at which the machine needs the next [`Event::Tick`], as far as its `state` is concerned. `None`: no
    /// time.
    wake: Option<MonotonicTime>,
    spare: Spare,
    spare_retry: Backoff,
    /// The time that the last fork took.
    fork_time: Duration,
    /// The id of the living instance. Between two instances, the id of the next one.
    id: u32,
    warn_signal: Option<Signal>,
    /// `true` once the program was told to end, by SIGTERM, SIGINT or SIGQUIT. No restart follows the end of the
    /// instance then.
    end_is_final: bool,
    /// The last SIGTERM, SIGINT or SIGQUIT that was forwarded to an instance, and the time at which that happened.
    last_end_signal: Option<(MonotonicTime, Received)>,
    /// The time at which the supervisor last received a signal by which terminals stop a program, such as SIGTSTP.
    /// `None` after SIGCONT, and for a new instance.
    stop_received: Option<MonotonicTime>,
    /// The time at which the last instance was lost.
    lost_at: Option<MonotonicTime>,
    restarts: Restarts,
    launch_retry: Backoff,
    last_status: ExitStatus,
    held: HeldSignals,
    quorum: QuorumState,
    /// The time at which the instance began the last wait for quorum that the machine has ended by
    /// [`Effect::GrantStart`]. Zero before the first such effect.
    granted: MonotonicTime,
    /// The time at which the instance entered the phase that cmap shows, as [`Effect::AckPublished`] last told the
    /// instance. Zero before the first such effect.
    acknowledged: MonotonicTime,
    cmap: CmapRequests,
}

impl Machine {
    /// Returns the state machine of a supervisor that is making its first instance, number 1. `warn_signal` is the
    /// signal by which the supervisor warns the instance before it kills the instance. `None`: no warning.
    pub fn new(rules: Rules, warn_signal: Option<Signal>) -> Machine {
        Machine {
            rules,
            state: State::Launching,
            wake: None,
            spare: Spare::Due(None),
            spare_retry: RETRY_BACKOFF,
            fork_time: Duration::ZERO,
            id: 1,
            warn_signal,
            end_is_final: false,
            last_end_signal: None,
            stop_received: None,
            lost_at: None,
            restarts: Restarts::new(rules.settings.restart_limit, rules.settings.restart_delay),
            launch_retry: RETRY_BACKOFF,
            last_status: ExitStatus::Exited(0),
            held: HeldSignals::new(),
            quorum: QuorumState::Unknown,
            granted: MonotonicTime::from_ns(0),
            acknowledged: MonotonicTime::from_ns(0),
            cmap: CmapRequests::new(rules.interval),
        }
    }

    /// Returns the time at which the event loop has to send the machine an [`Event::Tick`] at the latest. `None`: no
    /// time.
    pub fn wake_at(&self) -> Option<MonotonicTime> {
        if !matches!(self.state, State::Watching(_)) {
            // While no instance lives, no spare is made, no signal waits for its start, and no heartbeat is published.
            return self.wake;
        }
        self.wake.into_iter().chain(self.spare_due()).chain(self.held.due()).chain(self.cmap.due()).min()
    }

    /// Records the time that a fork took.
    pub fn note_fork(&mut self, took: Duration) {
        self.fork_time = took;
    }

    /// Returns the id of the instance that lives, or is made next.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Returns `true` once the program was told to end: no restart follows the end of the instance.
    pub fn end_is_final(&self) -> bool {
        self.end_is_final
    }

    /// Returns `true` while the supervisor looks for a process that goes on in the place of an instance which exited
    /// with 0, as daemon(3) makes it.
    pub fn searches_daemon(&self) -> bool {
        matches!(self.state, State::AwaitingDaemon { .. })
    }

    /// Returns what the supervisor does at the moment, for sam-status: it launches, watches, warns or ends the
    /// instance, or pauses. The time is the one at which that ends, if it is limited.
    pub fn activity(&self) -> (Activity, Option<MonotonicTime>) {
        match self.state {
            State::Launching | State::AwaitingDaemon { .. } => (Activity::Launching, None),
            State::Pausing => (Activity::Pausing, self.wake),
            State::Watching(watch) => self.activity_of(&watch),
            State::Closing { .. } | State::Finished => (Activity::Over, None),
        }
    }

    /// Reserves all memory that the machine ever needs.
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn reserve(&mut self) -> Result<(), TryReserveError> {
        self.restarts.reserve()?;
        self.held.reserve()
    }

    /// Decides what the supervisor does about an event that happened at `now`. Adds that to `effects`, in the order in
    /// which it is to be done. `view` is what the instance has stored on its control page, read before `now`.
    pub fn handle(&mut self, now: MonotonicTime, event: Event, view: &View, effects: &mut Vec<Effect>) {
        self.supervise(now, event, view, effects);
        if let State::Watching(watch) = self.state {
            self.answer_instance(now, &watch, view, effects);
            // At other events the instance may be dead, and the event that tells of it is not handled yet.
            if event == Event::Tick {
                self.forward_held(now, view, effects);
            }
        }
        self.maintain_spare(now, event, effects);
    }

    /// Decides what follows from `event` in the present state of the supervisor: sets the next state, and adds what is
    /// to be done to `effects`. The arms of the match are a table of all states and events.
    fn supervise(&mut self, now: MonotonicTime, event: Event, view: &View, effects: &mut Vec<Effect>) {
        match (self.state, event) {
            (State::Finished, _) => {}
            (State::Closing { .. }, Event::Missed(_)) => {}
            (State::Closing { status, until }, Event::Tick) if now >= until => self.finish(status, effects),
            (_, Event::Corosync(report)) => self.take_report(now, report, view, effects),

            (State::Launching, Event::Launched { pid }) => self.launched(now, pid, effects),
            (State::Launching, Event::LaunchFailed(errno)) => self.retry_launch(now, errno, effects),
            (State::Launching, Event::LaunchImpossible) => self.give_up_launching(now, effects),
            (State::Pausing, Event::Tick) if self.is_due(now) => self.launch(effects),

            (State::Watching(watch), Event::Tick) if self.must_inspect(now, &watch) => {
                effects.push(Effect::Inspect);
            }
            (State::Watching(watch), Event::Tick) => self.evaluate(now, watch, view, effects),
            (State::Watching(watch), Event::Inspected(found)) => {
                self.inspected(now, watch, found, view, effects);
            }
            (State::Watching(watch), Event::Refused { signal, errno }) => {
                self.refused(now, watch, (signal, errno), view, effects);
            }
            (State::Watching(_), Event::Stopped(signal)) if self.follows_stop(now, signal) => {
                effects.push(Effect::Suspend);
            }
            (State::Watching(watch), Event::Died(status)) => self.died(now, watch, status, view, effects),
            (State::Watching(_), Event::SpareDied(status)) => self.spare_died(now, status, effects),
            (State::Watching(watch), Event::MayHaveDaemonized) => {
                self.may_have_daemonized(now, watch, view, effects);
            }

            (State::AwaitingDaemon { .. }, Event::Tick) => effects.push(Effect::FindDaemon),
            (State::AwaitingDaemon { watch, since, backoff }, Event::DaemonSearched(found)) => {
                self.daemon_searched(now, (watch, since, backoff), found, view, effects);
            }
            (State::AwaitingDaemon { watch, since, .. }, Event::Adopted { pid }) => {
                self.adopted(now, watch, since, pid, effects);
            }

            (State::Watching(watch), Event::Aborted) => self.aborted(now, watch, effects),
            // Nothing lives that could end in its own way, as after SIGTERM.
            (_, Event::Aborted) => {
                self.signal(now, Received::sent_by_supervisor(Signal::TERM), false, view, effects);
            }
            (_, Event::Missed(received)) => self.signal_missed(received, effects),
            (_, Event::Signal { received, shared }) => self.signal(now, received, shared, view, effects),
            // The event is about an instance that has ended, or comes early.
            _ => {}
        }
    }

    fn is_due(&self, now: MonotonicTime) -> bool {
        self.wake.is_some_and(|at| now >= at)
    }

    /// Logs an event of the instance. `pid` is its pid, if that is known.
    fn log(&self, pid: Option<Pid>, kind: Kind, effects: &mut Vec<Effect>) {
        effects.push(Effect::Log(LogEvent { id: Some(self.id), pid, kind }));
    }

    fn launch(&mut self, effects: &mut Vec<Effect>) {
        self.state = State::Launching;
        self.wake = None;
        effects.push(Effect::Launch { id: self.id, warn_signal: self.warn_signal });
    }

    fn launched(&mut self, now: MonotonicTime, pid: Pid, effects: &mut Vec<Effect>) {
        if let Some(lost_at) = self.lost_at {
            self.log(Some(pid), Kind::Restarted { took: now.saturating_since(lost_at) }, effects);
        }
        self.forward_end_signals(now, pid, effects);
        self.launch_retry.reset();
        self.stop_received = None;
        self.state = State::Watching(Watch::new(pid, now));
        self.wake = self.next_tick(now);
    }

    fn retry_launch(&mut self, now: MonotonicTime, errno: Errno, effects: &mut Vec<Effect>) {
        let pause = self.launch_retry.advance();
        self.state = State::Pausing;
        self.wake = Some(now + pause);
        self.log(None, Kind::LaunchFailed { errno, pause }, effects);
    }

    fn give_up_launching(&mut self, now: MonotonicTime, effects: &mut Vec<Effect>) {
        self.log(None, Kind::NoMoreProcesses, effects);
        let state = if self.end_is_final { CmapState::Gone } else { CmapState::Failed };
        self.close(now, self.last_status, state, effects);
    }

    /// Decides what follows from the end of the instance with `status`: asks for the next instance, at once or after a
    /// pause, or ends the supervisor.
    fn died(
        &mut self,
        now: MonotonicTime,
        watch: Watch,
        status: ExitStatus,
        view: &View,
        effects: &mut Vec<Effect>,
    ) {
        self.update_warn_signal(view);
        self.last_status = status;
        let phase = watch.phase(view);
        let is_final = self.end_is_final
            || self.rules.recovery == Recovery::Quit
            || phase != Phase::Started
            // sam_mark_failed calls no recovery off, so it counts also after the decision to end the instance.
            || view.marked_failed;
        let planned = self.is_planned(phase, &watch, status, view);
        let ran = now.saturating_since(watch.born);
        let restart = (!is_final).then(|| self.restarts.next(now, ran));
        let (reason, restarts) = (watch.reason, matches!(restart, Some(Ok(_))));
        self.log(Some(watch.pid), Kind::Lost { status, reason, planned, restarts }, effects);
        self.kill_group(effects);
        let Some(restart) = restart else {
            // An instance that ends after a termination signal has not failed.
            let obeyed = self.end_is_final && watch.reason.is_none();
            let failed = self.rules.recovery == Recovery::Quit && phase == Phase::Started && !obeyed;
            let state = if failed || view.marked_failed { CmapState::Failed } else { CmapState::Gone };
            return self.close(now, status, state, effects);
        };
        if let Some(delay) = self.follow_restart(now, restart, status, effects) {
            self.lost_at = Some(now);
            // An id is an int in C.
            self.id = if self.id >= i32::MAX as u32 { 0 } else { self.id + 1 };
            self.launch_after(now, delay, effects);
        }
    }

    /// Returns `true` if the instance ended as it was told, or as it had said by `sam_stop` or `sam_finalize`.
    fn is_planned(&self, phase: Phase, watch: &Watch, status: ExitStatus, view: &View) -> bool {
        let obeyed = match status {
            ExitStatus::Exited(_) | ExitStatus::Unknown => true,
            ExitStatus::Killed { signal, .. } => ends_program(signal),
        };
        let said = phase != Phase::Started && status == ExitStatus::Exited(0);
        watch.reason.is_none() && !view.marked_failed && (self.end_is_final && obeyed || said)
    }

    /// Decides what follows when a spare, a process forked in advance, ends while it takes over as the instance:
    /// another instance is made with the same id. A hostile instance may pretend to be a spare, so the restart limit
    /// and the end of the program apply as well.
    fn spare_died(&mut self, now: MonotonicTime, status: ExitStatus, effects: &mut Vec<Effect>) {
        self.kill_group(effects);
        if self.end_is_final {
            return self.close(now, status, CmapState::Gone, effects);
        }
        let restart = self.restarts.next(now, Duration::ZERO);
        if self.follow_restart(now, restart, status, effects).is_some() {
            self.retry_launch(now, Errno::ECHILD, effects);
        }
    }

    /// Decides what follows from `restart`, the result of [`Restarts::next`] after an instance that ended with
    /// `status`. Returns the delay before the restart. Returns `None` and ends the supervisor if the restart would exceed
    /// the limit.
    fn follow_restart(
        &mut self,
        now: MonotonicTime,
        restart: Result<Duration, RestartLimit>,
        status: ExitStatus,
        effects: &mut Vec<Effect>,
    ) -> Option<Duration> {
        match restart {
            Ok(delay) => {
                self.publish(now, CmapState::Stopped, None, effects);
                Some(delay)
            }
            Err(limit) => {
                self.log(None, Kind::LimitReached { limit }, effects);
                self.close(now, status, CmapState::Failed, effects);
                None
            }
        }
    }

    fn kill_group(&self, effects: &mut Vec<Effect>) {
        if self.rules.settings.kill_group {
            effects.push(Effect::KillGroup(self.id));
        }
    }

    fn launch_after(&mut self, now: MonotonicTime, pause: Duration, effects: &mut Vec<Effect>) {
        if pause.is_zero() {
            return self.launch(effects);
        }
        self.state = State::Pausing;
        self.wake = Some(now + pause);
        self.log(None, Kind::Delayed { pause }, effects);
    }

    /// Ends the supervisor with `status`. With CMAP, first asks the cluster helper to show `state` in cmap, and waits
    /// until cmap shows it, for a second at most. Drops the signals that are kept for a next instance.
    fn close(&mut self, now: MonotonicTime, status: ExitStatus, state: CmapState, effects: &mut Vec<Effect>) {
        self.drop_held(effects);
        if self.publish(now, state, Some(now), effects) {
            let until = now + cluster::CMAP_ACK_TIMEOUT;
            self.state = State::Closing { status, until };
            self.wake = Some(until);
        } else {
            self.finish(status, effects);
        }
    }

    fn finish(&mut self, status: ExitStatus, effects: &mut Vec<Effect>) {
        self.state = State::Finished;
        self.wake = None;
        self.spare = Spare::Ready;
        effects.push(Effect::Finish(status));
    }

    /// Stores the warning signal that the instance has set on its control page, so that the next instance has the same.
    /// 0 means no warning. A number that is no signal is ignored.
    fn update_warn_signal(&mut self, view: &View) {
        let signal = Signal::from_number(view.warn_signal);
        if signal.is_some() || view.warn_signal == 0 {
            self.warn_signal = signal;
        }
    }
}

#[cfg(test)]
mod tests;
