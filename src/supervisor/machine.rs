//! Every decision of the supervisor: events in, effects out. No system call, and no clock but `now`.

#![forbid(unsafe_code)]

use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::backoff::Backoff;
use super::cmap_requests::CmapRequests;
use super::daemonized::Candidates;
use super::log_event::{Delivery, Kind, LogEvent, Reason};
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

/// The pause before an instance, a spare or a kill is tried again that the kernel has refused. From a time that no user notices
/// to a rate that does not load a machine which has no processes left.
const RETRY_BACKOFF: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));

/// How long an instance may outlive quorum when there is no interval, in ns.
const QUORUM_GRACE: Duration = Duration::from_secs(1);

/// How long the end is put off until it can be read in cmap, in ns.
const CMAP_ACK_TIMEOUT: Duration = Duration::from_secs(1);

/// How long after a SIGTSTP, SIGTTIN or SIGTTOU a SIGSTOP of the instance counts as the answer to it, in ns: some
/// programs save their terminal in a handler and then stop themselves by SIGSTOP.
const STOP_ANSWER_TIME: Duration = Duration::from_secs(1);

/// How many real-time signals are held at most while there is no instance. The kernel queues these, and merges all
/// others.
const MAX_HELD_REALTIME: usize = 64;

/// The age below which an instance is new, in ns: its handlers may not be installed yet, and a sender that signals
/// every process of the program may have missed it.
const NEW_INSTANCE_AGE: Duration = Duration::from_secs(1);

/// The pauses between two looks for the process that goes on in the place of an instance: the first and the longest, in
/// ns.
const SEARCH_BACKOFF: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));

/// How long a process must live on, in ns, before it is taken for the one that goes on without a call. It may have been
/// forked to execute another program.
const DAEMON_SETTLE_TIME: Duration = Duration::from_millis(100);

/// How long before an instance exits with 0 a signal may have been sent to it, in ns, that it had no time to pass on to the
/// process which it forked to go on in its place.
const SIGNAL_CROSSING_TIME: Duration = Duration::from_millis(100);

/// How often to look for a debugger, in ns: four times per interval, within these bounds.
const DEBUGGER_POLL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// What a supervisor is told once.
#[derive(Debug, Clone, Copy, Hash)]
pub struct Rules {
    /// The longest silence allowed. `None`: no limit.
    pub interval: Option<Duration>,
    /// What happens after an instance was lost.
    pub recovery: Recovery,
    /// What the administrator asks for.
    pub settings: Settings,
    /// Run only while the cluster partition is quorate.
    pub quorum: bool,
    /// Show the state in corosync's cmap.
    pub cmap: bool,
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The instance that was asked for has been made.
    Launched {
        /// Its pid.
        pid: Pid,
    },
    /// The instance that was asked for could not be made.
    LaunchFailed(Errno),
    /// The time that `wake_at` named has come. Harmless at any other time.
    Tick,
    /// The instance ended.
    Died(ExitStatus),
    /// The instance exited with 0, and the supervisor has other children.
    MayHaveDaemonized,
    /// What was found in the place of an instance that exited with 0.
    DaemonSearched(Candidates),
    /// The supervisor adopted the process with this pid: it is the instance from now on.
    Adopted {
        /// Its pid.
        pid: Pid,
    },
    /// The instance that was asked for could not be made, and none ever can: see `LogEvent::NoMoreProcesses`.
    LaunchImpossible,
    /// The instance was a spare that ended before it took over.
    SpareDied(ExitStatus),
    /// The spare that was asked for has been made.
    SpareMade,
    /// The spare could not be made, or ended.
    SpareLost,
    /// This signal stopped the instance.
    Stopped(Signal),
    /// The instance could not be sent this signal.
    Refused {
        /// The signal.
        signal: Signal,
        /// Why.
        errno: Errno,
    },
    /// What corosync's side has found and done so far.
    Corosync(ClusterReport),
    /// What was found in the instance that was to be inspected.
    Inspected(Inspection),
    /// A signal arrived at the supervisor whose instance was dead by then.
    Missed(Received),
    /// A signal arrived at the supervisor.
    Signal {
        /// The signal.
        received: Received,
        /// It came from a terminal that sent it to the instance as well.
        shared: bool,
    },
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make the instance with this number, to be warned by this signal.
    Launch {
        /// Its number.
        id: u32,
        /// Its warning signal.
        warn_signal: Option<Signal>,
    },
    /// Make a spare: the next instance, waiting.
    MakeSpare,
    /// Look for a process that goes on in the place of the instance, which exited with 0.
    FindDaemon,
    /// Adopt this process as the instance.
    Adopt(Pid),
    /// Send this signal to the instance.
    Send(Signal),
    /// Send the instance what was received.
    Forward(Received),
    /// See what the instance is being put through.
    Inspect,
    /// End what the instance with this number, which is dead, left behind of its own children.
    KillGroup(u32),
    /// Stop the supervisor as the instance has stopped, until somebody continues both.
    Suspend,
    /// Let the instance start that waits for quorum since then.
    GrantStart(MonotonicTime),
    /// Tell the instance that the phase which it entered then can be read in cmap.
    AckPublished(MonotonicTime),
    /// Have cmap show this.
    Publish(CmapRecord),
    /// Say what happened.
    Log(LogEvent),
    /// End the supervisor, as this says.
    Finish(ExitStatus),
}

/// What is known of the instance's silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Health {
    /// Nothing to object to.
    Healthy,
    /// Warned at `at`; the last word before that was heard at `last_activity`.
    Warned { at: MonotonicTime, last_activity: MonotonicTime },
    /// Started, and quorum was lost at `at`: no heartbeat saves it.
    QuorumLost { at: MonotonicTime },
    /// Sent the signal for a hang; it has until `until` to end.
    HangSignalSent { until: MonotonicTime },
    /// Killed; its death will be told.
    Killed,
}

/// An instance under watch.
#[derive(Debug, Clone, Copy, Hash)]
struct Watch {
    pid: Pid,
    born: MonotonicTime,
    /// A debugger traces it.
    traced: bool,
    /// Its core file is being written.
    dumping: bool,
    /// When a debugger was last seen.
    traced_until: Option<MonotonicTime>,
    health: Health,
    /// The latest word heard from it.
    last_activity: Option<MonotonicTime>,
    /// Until when the supervisor owes it time, because it was late itself.
    not_before: Option<MonotonicTime>,
    /// Whether it owed it time since the last word.
    extension_used: bool,
    /// What the next loss is put down to, when it is not the instance's own doing.
    reason: Option<Reason>,
    /// When the supervisor decided to end the instance.
    end_decided_at: Option<MonotonicTime>,
    /// When to send SIGKILL again that the kernel refused to deliver.
    retry_kill_at: Option<MonotonicTime>,
    /// The pause before the next such try, once the kernel has refused a signal.
    kill_retry: Option<Backoff>,
}

impl Watch {
    /// The time of the last word from the instance.
    fn note_activity(&mut self, now: MonotonicTime, view: &View) -> MonotonicTime {
        let last_activity = last_activity(now, self, view);
        if Some(last_activity) > self.last_activity {
            self.last_activity = Some(last_activity);
            self.extension_used = false;
        }
        last_activity
    }

    /// Returns the phase that counts. What an instance says after the decision to end it does not: a handler of the
    /// signal for a hang cannot call the recovery off.
    fn phase(&self, view: &View) -> Phase {
        if self.end_decided_at.is_none_or(|at| view.since <= at) { view.phase } else { Phase::Started }
    }

    /// Marks the instance as one that is to end, from `now` on.
    fn decide_end(&mut self, now: MonotonicTime) {
        self.end_decided_at.get_or_insert(now);
    }
}

#[derive(Debug, Clone, Copy, Hash)]
enum State {
    /// Waiting for the answer to Launch.
    Launching,
    /// It is to be made at `wake`, after a pause or a try that failed.
    Pausing,
    Watching(Watch),
    /// The instance exited with 0 at `since`. A process that it forked may go on in its place.
    AwaitingDaemon {
        watch: Watch,
        since: MonotonicTime,
        backoff: Backoff,
    },
    /// Nothing is left to be done but that cmap shows it: until `until` at most, then the end is this.
    Closing {
        status: ExitStatus,
        until: MonotonicTime,
    },
    Finished,
}

/// The next instance, forked in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Spare {
    /// None, and none is to be made before this time.
    Due(Option<MonotonicTime>),
    /// It waits, or is being made.
    Ready,
}

/// The supervisor's mind.
#[derive(Debug, Clone, Hash)]
pub struct Machine {
    rules: Rules,
    state: State,
    wake: Option<MonotonicTime>,
    spare: Spare,
    /// The pause before the next try to make a spare.
    spare_retry: Backoff,
    /// The number of the instance that lives, or is to be made.
    id: u32,
    warn_signal: Option<Signal>,
    /// Somebody told the program to end: its end is final.
    end_is_final: bool,
    /// The last signal passed on that is to end the program, and when.
    last_end_signal: Option<(MonotonicTime, Received)>,
    /// When a terminal's user told the program to stop until it is continued.
    stopping: Option<MonotonicTime>,
    /// When the last instance was lost.
    lost: Option<MonotonicTime>,
    restarts: Restarts,
    /// The supervisor's own pause between two tries to make an instance.
    retry: Backoff,
    /// How the last instance ended.
    last_status: ExitStatus,
    /// Signals that arrived while there was no instance to pass them to, or none but one that was just made. It gets
    /// them when it is started: by then its handlers are installed.
    held: Vec<Received>,
    /// When to look whether the instance is started that they are held for, and the pause before the look after.
    held_look: Option<MonotonicTime>,
    held_backoff: Backoff,
    /// A real-time signal was dropped because too many are held.
    overflowed: bool,
    /// What is known of the partition.
    quorum: QuorumState,
    /// The beginning of the last wait for quorum that was ended, and of the last phase that was said to be shown.
    answered: (MonotonicTime, MonotonicTime),
    cmap: CmapRequests,
}

impl Machine {
    /// The machine of a supervisor whose first instance, number 1, is being made.
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
            stopping: None,
            lost: None,
            restarts: Restarts::new(rules.settings.restart_limit, rules.settings.restart_delay),
            retry: RETRY_BACKOFF,
            last_status: ExitStatus::Exited(0),
            held: Vec::new(),
            held_look: None,
            held_backoff: RETRY_BACKOFF,
            overflowed: false,
            quorum: QuorumState::Unknown,
            answered: (MonotonicTime::from_ns(0), MonotonicTime::from_ns(0)),
            cmap: CmapRequests::new(rules.interval),
        }
    }

    /// Returns when to call `step` with a `Tick` at the latest. `None`: never.
    pub fn wake_at(&self) -> Option<MonotonicTime> {
        if !matches!(self.state, State::Watching(_)) {
            // While there is no instance, no spare is made for it, no signal is held for its start, and nothing is published.
            return self.wake;
        }
        let spare = if let Spare::Due(at) = self.spare { at } else { None };
        let held = self.held_look.filter(|_| !self.held.is_empty());
        self.wake.into_iter().chain(spare).chain(held).chain(self.cmap.due()).min()
    }

    /// The number of the instance that lives, or is to be made.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Returns `true` once the program was told to end: no restart follows the end of its instance.
    pub fn end_is_final(&self) -> bool {
        self.end_is_final
    }

    /// Returns `true` while a process is looked for that goes on in the place of the instance.
    pub fn searches_daemon(&self) -> bool {
        matches!(self.state, State::AwaitingDaemon { .. })
    }

    /// Returns what happens to the instance, and until when if there is a limit.
    pub fn activity(&self) -> (Activity, Option<MonotonicTime>) {
        match self.state {
            State::Launching | State::AwaitingDaemon { .. } => (Activity::Launching, None),
            State::Pausing => (Activity::Pausing, self.wake),
            State::Watching(watch) if watch.traced && self.waits_for_debugger(&watch) => {
                (Activity::Held, None)
            }
            State::Watching(watch) => match watch.health {
                Health::Healthy => (Activity::Watched, None),
                Health::Warned { at, .. } => {
                    (Activity::Warned, Some(at + self.interval()).max(watch.not_before))
                }
                Health::QuorumLost { at } => (Activity::Warned, Some(at + self.quorum_grace())),
                Health::HangSignalSent { until } => (Activity::Ending, Some(until)),
                Health::Killed => (Activity::Ending, None),
            },
            State::Closing { .. } | State::Finished => (Activity::Over, None),
        }
    }

    fn interval(&self) -> Duration {
        self.rules.interval.unwrap_or_default()
    }

    /// Returns an entry of the log about the instance.
    fn log(&self, pid: Option<Pid>, kind: Kind) -> Effect {
        Effect::Log(LogEvent { id: Some(self.id), pid, kind })
    }

    /// Takes note of what happened and says what to do. `view` is the instance's page, read before `now`.
    pub fn step(&mut self, now: MonotonicTime, event: Event, view: &View) -> Vec<Effect> {
        let mut effects = self.supervise(now, event, view);
        if let State::Watching(watch) = self.state {
            self.answer_instance(now, &watch, view, &mut effects);
            // Other events may come before the news that the instance is dead.
            if event == Event::Tick {
                self.forward_held(now, view, &mut effects);
            }
        }
        effects.extend(self.maintain_spare(now, event));
        effects
    }

    fn supervise(&mut self, now: MonotonicTime, event: Event, view: &View) -> Vec<Effect> {
        match (self.state, event) {
            (State::Finished, _) => vec![],
            (State::Launching, Event::Launched { pid }) => self.launched(now, pid),
            (State::Launching, Event::LaunchFailed(errno)) => self.launch_failed(now, errno),
            (State::Pausing, Event::Tick) if self.is_due(now) => self.launch(),
            (State::Watching(watch), Event::Tick) if self.must_inspect(now, &watch) => vec![Effect::Inspect],
            (State::Watching(watch), Event::Tick) => self.evaluate(now, watch, view),
            (State::Watching(watch), Event::Inspected(found)) => self.inspected(now, watch, found, view),
            (State::Watching(watch), Event::Died(status)) => self.died(now, watch, status, view),
            (State::Watching(watch), Event::MayHaveDaemonized) => self.may_have_daemonized(now, watch, view),
            (State::AwaitingDaemon { .. }, Event::Tick) => vec![Effect::FindDaemon],
            (State::AwaitingDaemon { watch, since, backoff }, Event::DaemonSearched(found)) => {
                self.daemon_searched(now, watch, since, backoff, found, view)
            }
            (State::AwaitingDaemon { watch, since, .. }, Event::Adopted { pid }) => {
                self.adopted(now, watch, since, pid)
            }
            (State::Launching, Event::LaunchImpossible) => self.launch_impossible(now),
            (State::Watching(_), Event::SpareDied(status)) => self.spare_died(now, status),
            (State::Watching(_), Event::Stopped(signal)) if self.follows_stop(now, signal) => {
                vec![Effect::Suspend]
            }
            (State::Watching(watch), Event::Refused { signal, errno }) => {
                self.refused(now, watch, signal, errno)
            }
            (_, Event::Corosync(report)) => self.corosync(now, report, view),
            (State::Closing { status, until }, Event::Tick) if now >= until => self.finish(status),
            (State::Closing { .. }, Event::Missed(_)) => vec![],
            (_, Event::Missed(received)) => {
                self.end_is_final |= ends_program(received.signal);
                self.hold(received).into_iter().collect()
            }
            (_, Event::Signal { received, shared }) => self.signal(now, received, shared, view),
            // Stale news: of an instance that is gone, or a wake-up that came early.
            _ => vec![],
        }
    }

    /// A spare is made as soon as an instance lives that it could follow.
    fn maintain_spare(&mut self, now: MonotonicTime, event: Event) -> Option<Effect> {
        if !self.rules.settings.standby || self.rules.recovery == Recovery::Quit {
            return None;
        }
        match event {
            Event::SpareMade => self.spare_retry.reset(),
            Event::SpareLost => self.spare = Spare::Due(Some(now + self.spare_retry.advance())),
            Event::Launched { .. } => self.spare = Spare::Due(Some(now)),
            _ => {}
        }
        let Spare::Due(Some(at)) = self.spare else { return None };
        if now < at || !matches!(self.state, State::Watching(_)) {
            return None;
        }
        self.spare = Spare::Ready;
        Some(Effect::MakeSpare)
    }

    fn launch(&mut self) -> Vec<Effect> {
        self.state = State::Launching;
        self.wake = None;
        vec![Effect::Launch { id: self.id, warn_signal: self.warn_signal }]
    }

    fn launched(&mut self, now: MonotonicTime, pid: Pid) -> Vec<Effect> {
        let mut effects = vec![];
        if let Some(lost) = self.lost {
            effects.push(self.log(Some(pid), Kind::Restarted { took: now.saturating_since(lost) }));
        }
        effects.extend(self.forward_end_signals(now, pid));
        self.retry.reset();
        self.stopping = None;
        self.state = State::Watching(Watch {
            pid,
            born: now,
            traced: false,
            dumping: false,
            traced_until: None,
            health: Health::Healthy,
            last_activity: None,
            not_before: None,
            extension_used: false,
            reason: None,
            end_decided_at: None,
            retry_kill_at: None,
            kill_retry: None,
        });
        self.wake = self.next_tick(now);
        effects
    }

    fn launch_failed(&mut self, now: MonotonicTime, errno: Errno) -> Vec<Effect> {
        let pause = self.retry.advance();
        self.state = State::Pausing;
        self.wake = Some(now + pause);
        vec![self.log(None, Kind::LaunchFailed { errno, pause })]
    }

    fn launch_impossible(&mut self, now: MonotonicTime) -> Vec<Effect> {
        let mut effects = vec![self.log(None, Kind::NoMoreProcesses)];
        let state = if self.end_is_final { CmapState::Gone } else { CmapState::Failed };
        effects.extend(self.close(now, self.last_status, state));
        effects
    }

    /// The instance exited with 0. That is an end like any other if it was told to end, or had said that it would. What
    /// is still held it was not told, and what it was told a moment ago it may have been too far gone to hear.
    fn may_have_daemonized(&mut self, now: MonotonicTime, mut watch: Watch, view: &View) -> Vec<Effect> {
        let is_untold = self.held.iter().any(|held| ends_program(held.signal))
            || self.unconfirmed_end_signal(now).is_some();
        let was_told = self.end_is_final && !is_untold;
        let may_go_on = matches!(watch.phase(view), Phase::Registered | Phase::Waiting | Phase::Started)
            && !view.marked_failed
            && !was_told
            && !self.is_in_recovery(now, &watch, view);
        if !may_go_on {
            return self.died(now, watch, ExitStatus::Exited(0), view);
        }
        (watch.health, watch.reason) = (Health::Healthy, None);
        self.state = State::AwaitingDaemon { watch, since: now, backoff: SEARCH_BACKOFF };
        self.wake = None;
        vec![Effect::FindDaemon]
    }

    /// Returns what an instance that exited with 0 at `since` may not have heard.
    fn unconfirmed_end_signal(&self, since: MonotonicTime) -> Option<Received> {
        self.last_end_signal
            .filter(|(at, _)| since < *at + SIGNAL_CROSSING_TIME)
            .map(|(_, received)| received)
    }

    /// Returns `true` if the instance was warned or is to end, and has said nothing since that calls it off.
    fn is_in_recovery(&self, now: MonotonicTime, watch: &Watch, view: &View) -> bool {
        if watch.phase(view) != Phase::Started {
            return false;
        }
        let last_activity = last_activity(now, watch, view);
        let is_unhealthy = self.rules.interval.is_some() && past(now, view.unhealthy) >= Some(last_activity);
        match watch.health {
            Health::Healthy => is_unhealthy,
            Health::Warned { last_activity: before, .. } => is_unhealthy || last_activity <= before,
            Health::QuorumLost { .. } | Health::HangSignalSent { .. } | Health::Killed => true,
        }
    }

    /// Decides what follows from `found`. A process that called the library is adopted. Where no heartbeat is due, so is
    /// the only one that may call it: nobody else would pass signals on to it. Where heartbeats are due, the first one
    /// is waited for, an interval at most.
    fn daemon_searched(
        &mut self,
        now: MonotonicTime,
        watch: Watch,
        since: MonotonicTime,
        mut backoff: Backoff,
        found: Candidates,
        view: &View,
    ) -> Vec<Effect> {
        let heartbeats_are_due = view.phase == Phase::Started && self.rules.interval.is_some();
        let patience = match found {
            Candidates::None => Some(Duration::ZERO),
            Candidates::Caller(pid) => return vec![Effect::Adopt(pid)],
            Candidates::Only(pid) if !heartbeats_are_due && now >= since + DAEMON_SETTLE_TIME => {
                return vec![Effect::Adopt(pid)];
            }
            _ if heartbeats_are_due => self.rules.interval,
            Candidates::OutOfReach(_) => Some(QUORUM_GRACE),
            Candidates::Only(_) | Candidates::Several => None,
        };
        let limit = self.end_is_final.then_some(QUORUM_GRACE);
        let until = patience.into_iter().chain(limit).min().map(|patience| since + patience);
        if until.is_none_or(|until| now < until) {
            let mut effects = vec![];
            if self.wake.is_none() {
                effects.push(self.log(Some(watch.pid), Kind::MayHaveDaemonized));
            }
            let next = now + backoff.advance();
            self.state = State::AwaitingDaemon { watch, since, backoff };
            self.wake = Some(until.map_or(next, |until| until.min(next)));
            return effects;
        }
        if found == Candidates::None {
            // Nobody is left who was to be told.
            self.held.retain(|held| !ends_program(held.signal));
        }
        let lives_on = !heartbeats_are_due || past(now, view.heartbeat) > Some(since);
        match found {
            Candidates::OutOfReach(pid) if lives_on => self.out_of_reach(now, pid),
            _ => self.died(now, watch, ExitStatus::Exited(0), view),
        }
    }

    /// The program goes on in a process that cannot be supervised. It is not started again beside that.
    fn out_of_reach(&mut self, now: MonotonicTime, pid: Option<Pid>) -> Vec<Effect> {
        let mut effects = vec![self.log(pid, Kind::OutOfReach)];
        if self.rules.settings.kill_group {
            effects.push(Effect::KillGroup(self.id));
        }
        effects.extend(self.close(now, ExitStatus::Exited(0), CmapState::Gone));
        effects
    }

    fn adopted(&mut self, now: MonotonicTime, watch: Watch, since: MonotonicTime, pid: Pid) -> Vec<Effect> {
        let mut effects = vec![self.log(Some(pid), Kind::Adopted { before: watch.pid })];
        if let Some(unconfirmed_end_signal) = self.unconfirmed_end_signal(since) {
            self.hold(unconfirmed_end_signal);
        }
        effects.extend(self.forward_end_signals(now, pid));
        let traced_until = if watch.traced { Some(now) } else { watch.traced_until };
        self.state = State::Watching(Watch {
            pid,
            traced: false,
            dumping: false,
            traced_until,
            health: Health::Healthy,
            kill_retry: None,
            ..watch
        });
        self.wake = self.next_tick(now);
        effects
    }

    /// So it seems: an instance may make its page say that it never took over. That gets it around nothing.
    fn spare_died(&mut self, now: MonotonicTime, status: ExitStatus) -> Vec<Effect> {
        let mut effects = vec![];
        if self.rules.settings.kill_group {
            effects.push(Effect::KillGroup(self.id));
        }
        if self.end_is_final {
            effects.extend(self.close(now, status, CmapState::Gone));
            return effects;
        }
        match self.restarts.next(now, Duration::ZERO) {
            Ok(_) => {
                effects.extend(self.publish(now, CmapState::Stopped, None));
                effects.extend(self.launch_failed(now, Errno::ECHILD));
            }
            Err(limit) => {
                effects.push(self.log(None, Kind::LimitReached { limit }));
                effects.extend(self.close(now, status, CmapState::Failed));
            }
        }
        effects
    }

    fn is_due(&self, now: MonotonicTime) -> bool {
        self.wake.is_some_and(|at| now >= at)
    }

    fn next_tick(&self, now: MonotonicTime) -> Option<MonotonicTime> {
        self.rules.interval.map(|interval| now + interval)
    }

    /// Whether there is more to know of the instance than the page says, before it is judged.
    fn must_inspect(&self, now: MonotonicTime, watch: &Watch) -> bool {
        self.looks_for_debuggers() || matches!(watch.health, Health::HangSignalSent { until } if now >= until)
    }

    fn looks_for_debuggers(&self) -> bool {
        self.rules.settings.debug_hold && self.rules.interval.is_some()
    }

    fn inspected(
        &mut self,
        now: MonotonicTime,
        mut watch: Watch,
        found: Inspection,
        view: &View,
    ) -> Vec<Effect> {
        let mut effects = vec![];
        let traced = found.traced && self.rules.settings.debug_hold;
        if traced != watch.traced {
            effects.push(self.log(Some(watch.pid), Kind::Traced { traced }));
        }
        watch.traced = traced;
        watch.dumping = found.dumping;
        if traced {
            // Silence counts from the moment when the debugger leaves.
            watch.traced_until = Some(now);
            match watch.health {
                Health::Healthy | Health::Warned { .. } => {
                    watch.health = Health::Healthy;
                    watch.reason = None;
                }
                Health::HangSignalSent { .. } if !self.lacks_quorum() => {
                    watch.health = self.hang_signal_sent(now)
                }
                Health::HangSignalSent { .. } | Health::QuorumLost { .. } | Health::Killed => {}
            }
        }
        effects.extend(self.evaluate(now, watch, view));
        effects
    }

    /// Returns `true` if nothing is done to the instance while a debugger traces it. A lack of quorum does not wait.
    fn waits_for_debugger(&self, watch: &Watch) -> bool {
        match watch.health {
            Health::Healthy | Health::Warned { .. } => true,
            Health::HangSignalSent { .. } => !self.lacks_quorum(),
            Health::QuorumLost { .. } | Health::Killed => false,
        }
    }

    /// Looks at the instance: is it silent for too long?
    fn evaluate(&mut self, now: MonotonicTime, mut watch: Watch, view: &View) -> Vec<Effect> {
        let mut effects = vec![];
        let lateness = self.wake.map_or(Duration::ZERO, |wake| now.saturating_since(wake));
        self.wake = self.next_tick(now);
        if watch.health == Health::Killed {
            // Nothing is left to be done, unless the kernel refused it.
            if watch.retry_kill_at.is_some_and(|at| now >= at) {
                watch.retry_kill_at = None;
                effects.push(Effect::Send(Signal::KILL));
            }
            self.wake = watch.retry_kill_at;
        } else if let Health::HangSignalSent { until } = watch.health {
            // Whatever it does now but to end.
            self.after_hang_signal(now, until, &mut watch, &mut effects);
        } else if view.phase != Phase::Started {
            // Not under health checks: a warning that is out is called off.
            watch.health = Health::Healthy;
            watch.reason = None;
        } else if self.lacks_quorum() || matches!(watch.health, Health::QuorumLost { .. }) {
            self.enforce_quorum(now, &mut watch, view, &mut effects);
        } else if self.rules.interval.is_some() {
            self.check_deadline(now, lateness, &mut watch, view, &mut effects);
        }
        if self.looks_for_debuggers() {
            let poll = now + (self.interval() / 4).clamp(DEBUGGER_POLL.0, DEBUGGER_POLL.1);
            self.wake = self.wake.map(|wake| wake.min(poll));
        }
        self.state = State::Watching(watch);
        effects
    }

    /// The kernel did not let the supervisor send a signal, most likely because the instance has become another
    /// user. A kill is tried again: the instance may become what it was.
    fn refused(&mut self, now: MonotonicTime, mut watch: Watch, signal: Signal, errno: Errno) -> Vec<Effect> {
        let mut effects = vec![];
        if watch.kill_retry.is_none() {
            effects.push(self.log(Some(watch.pid), Kind::SignalRefused { signal, errno }));
        }
        let kill_retry = watch.kill_retry.get_or_insert(RETRY_BACKOFF);
        if watch.health == Health::Killed && signal == Signal::KILL {
            watch.retry_kill_at = Some(now + kill_retry.advance());
            self.wake = watch.retry_kill_at;
        }
        self.state = State::Watching(watch);
        effects
    }

    fn hang_signal_sent(&self, now: MonotonicTime) -> Health {
        let timeout = self.rules.settings.hang_signal.map_or(Duration::ZERO, |hang| hang.timeout);
        Health::HangSignalSent { until: now + timeout }
    }

    /// How long an instance may outlive quorum.
    fn quorum_grace(&self) -> Duration {
        self.rules.interval.unwrap_or(QUORUM_GRACE)
    }

    /// It was sent the signal for a hang, and has until `until` to end; less when quorum is lost meanwhile.
    fn after_hang_signal(
        &mut self,
        now: MonotonicTime,
        mut until: MonotonicTime,
        watch: &mut Watch,
        effects: &mut Vec<Effect>,
    ) {
        if self.lacks_quorum() {
            until = until.min(now + self.quorum_grace());
            watch.health = Health::HangSignalSent { until };
        }
        self.wake = Some(until);
        if now >= until {
            watch.health = Health::Killed;
            self.wake = None;
            let dumping = watch.dumping;
            effects.push(self.log(Some(watch.pid), Kind::KilledAfterHangSignal { dumping }));
            effects.push(Effect::Send(Signal::KILL));
        }
    }

    fn check_deadline(
        &mut self,
        now: MonotonicTime,
        lateness: Duration,
        watch: &mut Watch,
        view: &View,
        effects: &mut Vec<Effect>,
    ) {
        let interval = self.interval();
        let last_activity = watch.note_activity(now, view);
        if let Health::Warned { at, last_activity: before } = watch.health {
            if last_activity > before {
                let silent = last_activity.saturating_since(before);
                effects.push(self.log(Some(watch.pid), Kind::Recovered { silent, at }));
                watch.health = Health::Healthy;
                watch.reason = None;
            }
        }
        let unhealthy = past(now, view.unhealthy).filter(|&at| at >= last_activity);
        if let (Health::Healthy, Some(at)) = (watch.health, unhealthy) {
            // It has warned itself, at that moment.
            watch.health = Health::Warned { at, last_activity };
            watch.reason = Some(Reason::Unhealthy);
            effects.push(self.log(Some(watch.pid), Kind::Unhealthy));
        }
        let deadline = match watch.health {
            Health::Healthy => last_activity + interval,
            Health::Warned { at, .. } => at + interval,
            // evaluate() comes here for these two alone.
            Health::QuorumLost { .. } | Health::HangSignalSent { .. } | Health::Killed => return,
        };
        let deadline = watch.not_before.map_or(deadline, |not_before| deadline.max(not_before));
        if now < deadline {
            self.wake = Some(deadline);
            return;
        }
        if let Some(until) = extension_for_lateness(now, lateness, interval, watch) {
            self.wake = Some(until);
            return;
        }
        watch.extension_used = false;
        let silent = now.saturating_since(last_activity);
        match watch.health {
            Health::Healthy => {
                let signal = self.warn_signal(view);
                watch.health = Health::Warned { at: now, last_activity };
                watch.reason = Some(Reason::Silent);
                effects.push(self.log(Some(watch.pid), Kind::Warned { silent, limit: interval, signal }));
                effects.extend(signal.map(Effect::Send));
            }
            Health::Warned { .. } => {
                let hang_signal = self.rules.settings.hang_signal.map(|hang| hang.signal);
                let signal = hang_signal.unwrap_or(Signal::KILL);
                watch.health =
                    if hang_signal.is_some() { self.hang_signal_sent(now) } else { Health::Killed };
                watch.decide_end(now);
                self.wake =
                    if let Health::HangSignalSent { until } = watch.health { Some(until) } else { None };
                effects.push(self.log(Some(watch.pid), Kind::Killed { silent, signal }));
                effects.push(Effect::Send(signal));
            }
            Health::QuorumLost { .. } | Health::HangSignalSent { .. } | Health::Killed => {}
        }
    }

    fn lacks_quorum(&self) -> bool {
        self.rules.quorum && matches!(self.quorum, QuorumState::No | QuorumState::Gone)
    }

    /// Quorum was lost: the instance is warned at once, and killed when its time is up, whatever it does but to stop.
    fn enforce_quorum(
        &mut self,
        now: MonotonicTime,
        watch: &mut Watch,
        view: &View,
        effects: &mut Vec<Effect>,
    ) {
        let at = match watch.health {
            Health::Killed => {
                self.wake = None;
                return;
            }
            Health::QuorumLost { at } => at,
            // On its way out already: see after_hang_signal().
            Health::HangSignalSent { .. } => return,
            Health::Healthy | Health::Warned { .. } => {
                let signal = self.warn_signal(view);
                effects.push(self.log(Some(watch.pid), Kind::QuorumWarning { signal }));
                effects.extend(signal.map(Effect::Send));
                watch.reason = Some(Reason::NoQuorum);
                now
            }
        };
        watch.health = Health::QuorumLost { at };
        self.wake = Some(at + self.quorum_grace());
        if self.is_due(now) {
            watch.health = Health::Killed;
            watch.decide_end(now);
            self.wake = None;
            effects.push(self.log(Some(watch.pid), Kind::KilledForQuorum));
            effects.push(Effect::Send(Signal::KILL));
        }
    }

    /// What the side process reports.
    fn corosync(&mut self, now: MonotonicTime, report: ClusterReport, view: &View) -> Vec<Effect> {
        self.cmap.published = report.published;
        if let State::Closing { status, .. } = self.state {
            return if self.cmap.is_done() { self.finish(status) } else { vec![] };
        }
        let lacked = self.lacks_quorum();
        self.quorum = report.quorum;
        let mut effects = vec![];
        if self.lacks_quorum() != lacked {
            let kind = if lacked { Kind::QuorumBack } else { Kind::QuorumLost };
            effects.push(Effect::Log(LogEvent::of_cluster(kind)));
            if let State::Watching(watch) = self.state {
                effects.extend(self.evaluate(now, watch, view));
            }
        }
        effects
    }

    fn publish(
        &mut self,
        now: MonotonicTime,
        state: CmapState,
        last_activity: Option<MonotonicTime>,
    ) -> Option<Effect> {
        let record = self.rules.cmap.then(|| self.cmap.publish(now, state, last_activity)).flatten();
        record.map(Effect::Publish)
    }

    /// Answers what the instance waits for, and has cmap show what has changed.
    fn answer_instance(&mut self, now: MonotonicTime, watch: &Watch, view: &View, effects: &mut Vec<Effect>) {
        let (state, last_activity) = match watch.phase(view) {
            // Its heartbeats count no more either.
            Phase::Started if watch.end_decided_at.is_some() => {
                (CmapState::Running, watch.last_activity.max(Some(watch.born)))
            }
            Phase::Waiting => (CmapState::Waiting, None),
            // Nobody is to mind the age of what a debugger holds.
            Phase::Started if watch.traced => (CmapState::Running, None),
            Phase::Started => (CmapState::Running, Some(last_activity(now, watch, view))),
            Phase::Registered | Phase::Stopped | Phase::Finalized => (CmapState::Stopped, None),
        };
        effects.extend(self.publish(now, state, last_activity));
        if self.cmap.is_done() && self.answered.1 != view.since {
            self.answered.1 = view.since;
            effects.push(Effect::AckPublished(view.since));
        }
        if state == CmapState::Waiting && self.quorum == QuorumState::Yes && self.answered.0 != view.since {
            self.answered.0 = view.since;
            effects.push(Effect::GrantStart(view.since));
        }
    }

    /// The signal that the instance wants to be warned by, or the last one that made sense.
    fn warn_signal(&mut self, view: &View) -> Option<Signal> {
        let signal = Signal::from_number(view.warn_signal);
        if signal.is_some() || view.warn_signal == 0 {
            self.warn_signal = signal;
        }
        self.warn_signal
    }

    fn died(&mut self, now: MonotonicTime, watch: Watch, status: ExitStatus, view: &View) -> Vec<Effect> {
        self.warn_signal(view);
        self.last_status = status;
        let phase = watch.phase(view);
        let is_final = self.end_is_final
            || self.rules.recovery == Recovery::Quit
            || phase != Phase::Started
            // To give up calls no recovery off: it is a failure all the same, so it counts at any time.
            || view.marked_failed;
        let mut effects = vec![self.log(Some(watch.pid), Kind::Lost { status, reason: watch.reason })];
        if self.rules.settings.kill_group {
            effects.push(Effect::KillGroup(self.id));
        }
        if is_final {
            // Who ends because it was told to has not failed.
            let obeyed = self.end_is_final && watch.reason.is_none();
            let failed = self.rules.recovery == Recovery::Quit && phase == Phase::Started && !obeyed;
            let state = if failed || view.marked_failed { CmapState::Failed } else { CmapState::Gone };
            effects.extend(self.close(now, status, state));
            return effects;
        }
        match self.restarts.next(now, now.saturating_since(watch.born)) {
            Ok(pause) => {
                effects.extend(self.publish(now, CmapState::Stopped, None));
                self.lost = Some(now);
                // Ids are C ints to the programs that use them.
                self.id = if self.id >= i32::MAX as u32 { 0 } else { self.id + 1 };
                effects.extend(self.launch_after(now, pause));
            }
            Err(limit) => {
                effects.push(self.log(None, Kind::LimitReached { limit }));
                effects.extend(self.close(now, status, CmapState::Failed));
            }
        }
        effects
    }

    fn launch_after(&mut self, now: MonotonicTime, pause: Duration) -> Vec<Effect> {
        if pause.is_zero() {
            return self.launch();
        }
        self.state = State::Pausing;
        self.wake = Some(now + pause);
        vec![self.log(None, Kind::Delayed { pause })]
    }

    /// Ends the supervisor, as soon as cmap shows how it ended.
    fn close(&mut self, now: MonotonicTime, status: ExitStatus, state: CmapState) -> Vec<Effect> {
        let id = Some(self.id);
        let dropped = |held: Received| {
            Effect::Log(LogEvent { id, pid: None, kind: Kind::SignalDropped { signal: held.signal } })
        };
        let mut effects: Vec<Effect> = self.held.drain(..).map(dropped).collect();
        if let Some(published) = self.publish(now, state, Some(now)) {
            let until = now + CMAP_ACK_TIMEOUT;
            self.state = State::Closing { status, until };
            self.wake = Some(until);
            effects.push(published);
        } else {
            effects.extend(self.finish(status));
        }
        effects
    }

    fn finish(&mut self, status: ExitStatus) -> Vec<Effect> {
        self.state = State::Finished;
        self.wake = None;
        self.spare = Spare::Ready;
        vec![Effect::Finish(status)]
    }

    fn signal(&mut self, now: MonotonicTime, received: Received, shared: bool, view: &View) -> Vec<Effect> {
        let signal = received.signal;
        let news = ends_program(signal) && !self.end_is_final;
        self.end_is_final |= ends_program(signal);
        // Job control: the shell waits for the supervisor, which stops when the instance has stopped.
        if stops_program(signal) {
            self.stopping = Some(now);
        } else if signal == Signal::CONT {
            self.stopping = None;
            self.held.retain(|held| !stops_program(held.signal));
        }
        match self.state {
            State::Watching(ref mut watch) => {
                watch.note_activity(now, view);
                if signal == Signal::CONT && self.rules.interval.is_some() && !watch.extension_used {
                    // The supervisor may have been stopped, and the instance with it. Or not: every process of
                    // the session may send this signal, the instance too.
                    watch.extension_used = true;
                    let not_before = now + self.rules.interval.unwrap_or_default();
                    watch.not_before = Some(not_before);
                    self.wake = self.wake.map(|wake| wake.max(not_before));
                }
                let (pid, age) = (watch.pid, now.saturating_since(watch.born));
                let is_new = self.lost.is_some() && age < NEW_INSTANCE_AGE && view.phase == Phase::Registered;
                if is_new
                    && !ends_program(signal)
                    && !stops_program(signal)
                    && signal != Signal::CONT
                    && !shared
                {
                    // As if it had arrived a moment ago, when there was no instance.
                    return self.hold(received).into_iter().collect();
                }
                let delivery = if shared { Delivery::ByTerminal } else { self.delivery(received, age) };
                let mut effects = vec![];
                if delivery == Delivery::Forwarded {
                    effects.push(Effect::Forward(received));
                    if ends_program(signal) {
                        self.last_end_signal = Some((now, received));
                    }
                }
                if news {
                    effects.push(self.log(Some(pid), Kind::ToldToEnd { signal, delivery }));
                }
                effects
            }
            State::Pausing if self.end_is_final => {
                self.close(now, ExitStatus::Killed { signal, core: false }, CmapState::Gone)
            }
            State::Closing { .. } | State::Finished => vec![],
            // Where the administrator says that every sender signals every process, this one is there and has it.
            State::AwaitingDaemon { .. }
                if !shared && self.delivery(received, Duration::ZERO) == Delivery::Withheld =>
            {
                vec![]
            }
            State::Launching | State::Pausing | State::AwaitingDaemon { .. } => {
                self.hold(received).into_iter().collect()
            }
        }
    }

    /// Returns how a signal that only the supervisor is known to have got comes to an instance of this age.
    fn delivery(&self, received: Received, age: Duration) -> Delivery {
        // The administrator says that every sender signals the instance as well. The kernel does not; and an
        // instance that was just made may have been missed.
        let withheld = self.rules.settings.withhold_signals && !received.by_kernel;
        let missed = ends_program(received.signal) && age < NEW_INSTANCE_AGE;
        if withheld && !missed { Delivery::Withheld } else { Delivery::Forwarded }
    }

    /// Keeps a signal for the next instance, as the kernel keeps signals that are blocked.
    fn hold(&mut self, received: Received) -> Option<Effect> {
        let signal = received.signal;
        let is_full = if signal.is_real_time() {
            self.held.iter().filter(|held| held.signal.is_real_time()).count() >= MAX_HELD_REALTIME
        } else {
            if self.held.iter().any(|held| held.signal == signal) {
                return None;
            }
            false
        };
        if !is_full {
            self.held.push(received);
            return None;
        }
        let is_first = !self.overflowed;
        self.overflowed = true;
        is_first.then(|| self.log(None, Kind::SignalDropped { signal }))
    }

    /// Passes held signals on that are to end the program: they are never put off. The others wait until the instance,
    /// which is there from `now` on, is started.
    fn forward_end_signals(&mut self, now: MonotonicTime, pid: Pid) -> Vec<Effect> {
        let (end_signals, held): (Vec<Received>, _) =
            self.held.drain(..).partition(|held| ends_program(held.signal));
        self.held = held;
        self.held_backoff.reset();
        self.held_look = Some(now + self.held_backoff.advance());
        let mut effects = vec![];
        for received in end_signals {
            self.last_end_signal = Some((now, received));
            effects.push(Effect::Forward(received));
            let signal = received.signal;
            let delivery = Delivery::Forwarded;
            effects.push(self.log(Some(pid), Kind::ToldToEnd { signal, delivery }));
        }
        effects
    }

    /// Passes held signals on to an instance that has got as far as `sam_start`.
    fn forward_held(&mut self, now: MonotonicTime, view: &View, effects: &mut Vec<Effect>) {
        if self.held.is_empty() {
            return;
        }
        if matches!(view.phase, Phase::Started | Phase::Stopped | Phase::Waiting) {
            if self.held.iter().any(|held| stops_program(held.signal)) {
                self.stopping = Some(now);
            }
            self.overflowed = false;
            effects.extend(self.held.drain(..).map(Effect::Forward));
        } else if self.held_look.is_some_and(|at| now >= at) {
            // sam_start wakes nobody.
            self.held_look = Some(now + self.held_backoff.advance());
        }
    }

    /// Returns `true` if the supervisor is to stop as the instance did, because a terminal's user told both to.
    fn follows_stop(&self, now: MonotonicTime, signal: Signal) -> bool {
        let Some(stop_received) = self.stopping else { return false };
        stops_program(signal) || now < stop_received + STOP_ANSWER_TIME
    }
}

/// Returns `true` for the signals after which the end of the program is final.
pub fn ends_program(signal: Signal) -> bool {
    [Signal::TERM, Signal::INT, Signal::QUIT].contains(&signal)
}

/// Returns `true` for the signals by which a terminal stops a program.
fn stops_program(signal: Signal) -> bool {
    [Signal::TSTP, Signal::TTIN, Signal::TTOU].contains(&signal)
}

/// Returns a time on the control page, unless it is in the future: then the instance forged it.
fn past(now: MonotonicTime, time: Option<MonotonicTime>) -> Option<MonotonicTime> {
    time.filter(|&time| time <= now)
}

/// Returns the time of the last sign of life of the instance.
fn last_activity(now: MonotonicTime, watch: &Watch, view: &View) -> MonotonicTime {
    let signs = past(now, Some(view.since)).max(past(now, view.heartbeat)).max(watch.traced_until);
    signs.map_or(watch.born, |sign| sign.max(watch.born))
}

/// The supervisor was woken much later than it wanted: it did not see what the instance did meanwhile, and
/// whatever held it up may have held up the instance as well. It owes the instance the time that it was late, up
/// to an interval; once per word heard and stage.
fn extension_for_lateness(
    now: MonotonicTime,
    lateness: Duration,
    interval: Duration,
    watch: &mut Watch,
) -> Option<MonotonicTime> {
    if watch.extension_used || lateness <= interval / 4 {
        return None;
    }
    watch.extension_used = true;
    watch.not_before = Some(now + lateness.min(interval));
    watch.not_before
}

#[cfg(test)]
mod tests;
