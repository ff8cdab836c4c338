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
use crate::settings::Settings;
use crate::shared::cmap_record::{CmapRecord, CmapState};
use crate::shared::control_page::{Phase, View};
use crate::shared::mailbox::{ClusterReport, QuorumState};
use crate::shared::status_page::Activity;
use crate::sys::inspection::Inspection;
use crate::sys::process::ExitStatus;
use crate::sys::signals::{Received, Signal};
use crate::time::MonotonicTime;

pub use self::signals::ends_program;

/// The number of effects that one event has at most: one for each held signal, two for each of the three that end the
/// program, and a few others.
pub const MAX_EFFECTS: usize = signals::MAX_HELD + 16;

/// The pause before an instance, a spare or a kill is tried again that the kernel has refused. From a time that no user
/// notices to a rate that does not load a machine which has no processes left.
const RETRY_BACKOFF: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));

/// The rules of one supervisor. They never change.
#[derive(Debug, Clone, Copy, Hash)]
pub struct Rules {
    /// The longest silence that is allowed between two heartbeats. `None`: no limit.
    pub interval: Option<Duration>,
    /// The answer to the loss of an instance.
    pub recovery: Recovery,
    /// The settings that the administrator has made in the environment.
    pub settings: Settings,
    /// The instance may run only while the cluster partition is quorate.
    pub quorum: bool,
    /// corosync's cmap shows the state of the program.
    pub cmap: bool,
}

/// Something that has happened, which the event loop tells the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The instance was made, as `Effect::Launch` asked for.
    Launched {
        /// The pid of the new instance.
        pid: Pid,
    },
    /// The kernel refused to make the instance, with this error of fork(2).
    LaunchFailed(Errno),
    /// No instance can ever be made again, see `Kind::NoMoreProcesses`.
    LaunchImpossible,
    /// Time has passed. Comes at the time that `wake_at` returned, and may come at any other time.
    Tick,
    /// The instance has ended with this exit status.
    Died(ExitStatus),
    /// The instance exited with 0, and the supervisor has other children.
    MayHaveDaemonized,
    /// The search for a process that goes on in the place of the instance had this result.
    DaemonSearched(Candidates),
    /// The supervisor adopted this process: it is the instance from now on.
    Adopted {
        /// The pid of the process that is the instance now.
        pid: Pid,
    },
    /// The instance was a spare, and has ended before it took over.
    SpareDied(ExitStatus),
    /// The spare was made, as `Effect::MakeSpare` asked for.
    SpareMade,
    /// The kernel refused to make the spare, or the spare has ended.
    SpareLost,
    /// This signal has stopped the instance.
    Stopped(Signal),
    /// The kernel refused to send the instance a signal.
    Refused {
        /// The signal that the kernel refused to send to the instance.
        signal: Signal,
        /// The error with which the kernel refused.
        errno: Errno,
    },
    /// The cluster helper has reported this about corosync.
    Corosync(ClusterReport),
    /// The inspection of the instance had this result.
    Inspected(Inspection),
    /// The supervisor received a signal when the instance was already dead.
    Missed(Received),
    /// The service manager aborts the program, because its watchdog got no sign of life from the supervisor in time.
    Aborted,
    /// The supervisor received a signal.
    Signal {
        /// The signal that arrived at the supervisor.
        received: Received,
        /// A terminal sent the signal to the instance as well.
        shared: bool,
    },
}

/// Something that the machine asks the event loop to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make an instance: release the spare, or fork.
    Launch {
        /// The id of the new instance.
        id: u32,
        /// The warning signal of the instance, if it has one.
        warn_signal: Option<Signal>,
    },
    /// Fork a spare, which waits until it is released as the next instance.
    MakeSpare,
    /// Look for a process that goes on in the place of the instance, which exited with 0.
    FindDaemon,
    /// Make the process with this pid the instance.
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
    /// Let the instance start that has waited for quorum since this time.
    GrantStart(MonotonicTime),
    /// Tell the instance that cmap shows the phase which it entered at this time.
    AckPublished(MonotonicTime),
    /// Ask the cluster helper to show this record in cmap.
    Publish(CmapRecord),
    /// Write a log line about this step.
    Log(LogEvent),
    /// End the supervisor with the exit status or signal that this says.
    Finish(ExitStatus),
}

/// The state of the supervisor: one of the rows of the first table.
#[derive(Debug, Clone, Copy, Hash)]
enum State {
    /// The machine has asked for an instance and waits for the answer.
    Launching,
    /// The machine asks for an instance at `Machine::wake`.
    Pausing,
    /// An instance lives, and the supervisor watches it.
    Watching(Watch),
    /// The instance exited with 0 at `since`. A process that it forked may go on in its place.
    AwaitingDaemon { watch: Watch, since: MonotonicTime, backoff: Backoff },
    /// The supervisor ends with `status` when cmap shows how it ends, or at `until`.
    Closing { status: ExitStatus, until: MonotonicTime },
    /// The supervisor has nothing left to do and ends.
    Finished,
}

/// The state machine that makes every decision of a supervisor.
#[derive(Debug, Clone, Hash)]
pub struct Machine {
    rules: Rules,
    state: State,
    /// The time at which the state needs a `Tick`.
    wake: Option<MonotonicTime>,
    spare: Spare,
    spare_retry: Backoff,
    /// The id of the living instance. Between two instances, the id of the next one.
    id: u32,
    warn_signal: Option<Signal>,
    /// The program was told to end: no restart follows the end of the instance.
    end_is_final: bool,
    /// The last signal that was passed on to end the program, and when.
    last_end_signal: Option<(MonotonicTime, Received)>,
    /// The time at which a terminal told the program to stop, until it is continued.
    stop_received: Option<MonotonicTime>,
    /// The time at which the last instance was lost.
    lost_at: Option<MonotonicTime>,
    restarts: Restarts,
    launch_retry: Backoff,
    last_status: ExitStatus,
    held: HeldSignals,
    quorum: QuorumState,
    /// The beginning of the last wait for quorum that was granted. 0 ns: none was.
    granted: MonotonicTime,
    /// The beginning of the last phase that was acknowledged as published. 0 ns: none was.
    acknowledged: MonotonicTime,
    cmap: CmapRequests,
}

impl Machine {
    /// Returns the machine of a supervisor that is making its first instance, number 1.
    pub fn new(rules: Rules, warn_signal: Option<Signal>) -> Machine {
        Machine {
            rules,
            state: State::Launching,
            wake: None,
            spare: Spare::Due(None),
            spare_retry: RETRY_BACKOFF,
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

    /// Returns when to handle a `Tick` at the latest. `None`: never.
    pub fn wake_at(&self) -> Option<MonotonicTime> {
        if !matches!(self.state, State::Watching(_)) {
            // While no instance lives, no spare is made, no signal waits for its start, and no heartbeat is published.
            return self.wake;
        }
        self.wake.into_iter().chain(self.spare.due()).chain(self.held.due()).chain(self.cmap.due()).min()
    }

    /// Returns the id of the instance that lives, or is made next.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Returns `true` once the program was told to end: no restart follows the end of the instance.
    pub fn end_is_final(&self) -> bool {
        self.end_is_final
    }

    /// Returns `true` while the machine waits for a process that goes on in the place of the instance.
    pub fn searches_daemon(&self) -> bool {
        matches!(self.state, State::AwaitingDaemon { .. })
    }

    /// Returns what happens to the instance, and until when if there is a limit.
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

    /// Handles an event that happened at `now`, and adds what is to be done to `effects`, in order. `view` is the
    /// control page of the instance, read before `now`.
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

    /// The first table: what follows from each event in each state.
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

    /// Answers the end of the instance: makes the next one, or ends the supervisor.
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
        self.log(Some(watch.pid), Kind::Lost { status, reason: watch.reason, planned }, effects);
        self.kill_group(effects);
        if is_final {
            // An instance that ends after a termination signal has not failed.
            let obeyed = self.end_is_final && watch.reason.is_none();
            let failed = self.rules.recovery == Recovery::Quit && phase == Phase::Started && !obeyed;
            let state = if failed || view.marked_failed { CmapState::Failed } else { CmapState::Gone };
            return self.close(now, status, state, effects);
        }
        let ran = now.saturating_since(watch.born);
        if let Some(delay) = self.record_restart(now, ran, status, effects) {
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

    /// Decides what follows when a spare ends that was released but had not taken over: another instance is made with
    /// the same id. A hostile instance may pretend to be such a spare, so the restart limit and the end of the program
    /// apply here as well.
    fn spare_died(&mut self, now: MonotonicTime, status: ExitStatus, effects: &mut Vec<Effect>) {
        self.kill_group(effects);
        if self.end_is_final {
            return self.close(now, status, CmapState::Gone, effects);
        }
        if self.record_restart(now, Duration::ZERO, status, effects).is_some() {
            self.retry_launch(now, Errno::ECHILD, effects);
        }
    }

    /// Records a restart after an instance that ran for the time `ran` and ended with `status`. Returns the delay
    /// before the restart. Returns `None` and ends the supervisor if the restart would exceed the limit.
    fn record_restart(
        &mut self,
        now: MonotonicTime,
        ran: Duration,
        status: ExitStatus,
        effects: &mut Vec<Effect>,
    ) -> Option<Duration> {
        match self.restarts.next(now, ran) {
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

    /// Ends the supervisor, as soon as cmap shows how it ends.
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

    /// Takes over the warning signal from the control page, unless that is no signal.
    fn update_warn_signal(&mut self, view: &View) {
        let signal = Signal::from_number(view.warn_signal);
        if signal.is_some() || view.warn_signal == 0 {
            self.warn_signal = signal;
        }
    }
}

#[cfg(test)]
mod tests;
