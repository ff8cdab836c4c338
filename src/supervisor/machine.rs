//! Every decision of the supervisor: events in, effects out. No system call, and no clock but `now`.

#![forbid(unsafe_code)]

use super::cmap_requests::CmapRequests;
use super::daemonized::Candidates;
use super::log_event::{Delivery, LogEvent, Reason};
use super::restarts::Restarts;
use crate::policy::Recovery;
use crate::settings::Settings;
use crate::shared::cmap_record::{CmapRecord, CmapState};
use crate::shared::control_page::{Phase, View};
use crate::shared::mailbox::{ClusterReport, QuorumState};
use crate::shared::status_page::Activity;
use crate::sys::inspection::Inspection;
use crate::sys::process::ExitStatus;
use crate::sys::signals::Received;

/// The machine is done with nothing to wait for but the kernel's word.
const NEVER: u64 = u64::MAX;

/// The first pause after an instance could not be made, and the longest, in ns. From "at once" to a rate that a
/// machine out of processes does not feel.
const RETRY_PAUSES: (u64, u64) = (10_000_000, 1_000_000_000);

/// How long an instance may outlive quorum when there is no interval, in ns.
const QUORUM_GRACE: u64 = 1_000_000_000;

/// How long the end is put off until it can be read in cmap, in ns.
const CMAP_ACK_TIMEOUT: u64 = 1_000_000_000;

/// How long after a SIGTSTP, SIGTTIN or SIGTTOU a SIGSTOP of the instance counts as the answer to it, in ns: some
/// programs save their terminal in a handler and then stop themselves by SIGSTOP.
const STOP_ANSWER_TIME: u64 = 1_000_000_000;

/// How many real-time signals are held at most while there is no instance. The kernel queues these, and merges all
/// others.
const MAX_HELD_REALTIME: usize = 64;

/// The first real-time signal as the kernel counts them.
const FIRST_REAL_TIME: i32 = 32;

/// The age below which an instance is new, in ns: its handlers may not be installed yet, and a sender that signals
/// every process of the program may have missed it.
const NEW_INSTANCE_AGE: u64 = 1_000_000_000;

/// The pauses between two looks for the process that goes on in the place of an instance: the first and the longest, in
/// ns.
const SEARCH_PAUSES: (u64, u64) = (10_000_000, 1_000_000_000);

/// How long a process must live on, in ns, before it is taken for the one that goes on without a call. It may have been
/// forked to execute another program.
const DAEMON_SETTLE_TIME: u64 = 100_000_000;

/// How long before an instance exits with 0 a signal may have been sent to it, in ns, that it had no time to pass on to the
/// process which it forked to go on in its place.
const SIGNAL_CROSSING_TIME: u64 = 100_000_000;

/// How often to look for a debugger, in ns: four times per interval, within these bounds.
const DEBUGGER_POLL: (u64, u64) = (10_000_000, 1_000_000_000);

/// What a supervisor is told once.
#[derive(Debug, Clone, Copy, Hash)]
pub struct Rules {
    /// The longest silence allowed, in ns; 0: no limit.
    pub interval: u64,
    /// What happens after an instance was lost.
    pub recovery: Recovery,
    /// The last signal number of the system.
    pub last_signal: i32,
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
        pid: i32,
    },
    /// The instance that was asked for could not be made; errno.
    LaunchFailed(i32),
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
        pid: i32,
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
    Stopped(i32),
    /// The instance could not be sent this signal; errno.
    Refused {
        /// The signal.
        signal: i32,
        /// Why.
        errno: i32,
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
        warn_signal: i32,
    },
    /// Make a spare: the next instance, waiting.
    MakeSpare,
    /// Look for a process that goes on in the place of the instance, which exited with 0.
    FindDaemon,
    /// Adopt this process as the instance.
    Adopt(i32),
    /// Send this signal to the instance.
    Send(i32),
    /// Send the instance what was received.
    Forward(Received),
    /// See what the instance is being put through.
    Inspect,
    /// End what the instance with this number, which is dead, left behind of its own children.
    KillGroup(u32),
    /// Stop the supervisor as the instance has stopped, until somebody continues both.
    Suspend,
    /// Let the instance start that waits for quorum since then.
    GrantStart(u64),
    /// Tell the instance that the phase which it entered then can be read in cmap.
    AckPublished(u64),
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
    Warned { at: u64, last_activity: u64 },
    /// Started, and quorum was lost at `at`: no heartbeat saves it.
    QuorumLost { at: u64 },
    /// Sent the signal for a hang; it has until `until` to end.
    HangSignalSent { until: u64 },
    /// Killed; its death will be told.
    Killed,
}

/// An instance under watch.
#[derive(Debug, Clone, Copy, Hash)]
struct Watch {
    pid: i32,
    born: u64,
    /// A debugger traces it.
    traced: bool,
    /// Its core file is being written.
    dumping: bool,
    /// When a debugger was last seen; 0: never.
    traced_until: u64,
    health: Health,
    /// The latest word heard from it.
    last_activity: u64,
    /// Until when the supervisor owes it time, because it was late itself.
    not_before: u64,
    /// Whether it owed it time since the last word.
    extension_used: bool,
    /// What the next loss is put down to, when it is not the instance's own doing.
    reason: Option<Reason>,
    /// When the supervisor decided to end the instance; NEVER: it did not.
    end_decided_at: u64,
    /// When to send SIGKILL again that the kernel refused to deliver; NEVER: not at all.
    retry_kill_at: u64,
    /// The pause before the next such try, in ns; 0: no signal was refused yet.
    kill_retry_pause: u64,
}

impl Watch {
    /// The time of the last word from the instance.
    fn note_activity(&mut self, now: u64, view: &View) -> u64 {
        let last_activity = last_activity(now, self, view);
        if last_activity > self.last_activity {
            self.last_activity = last_activity;
            self.extension_used = false;
        }
        last_activity
    }

    /// Returns the phase that counts. What an instance says after the decision to end it does not: a handler of the
    /// signal for a hang cannot call the recovery off.
    fn phase(&self, view: &View) -> Phase {
        if view.since <= self.end_decided_at { view.phase } else { Phase::Started }
    }

    /// Marks the instance as one that is to end, from `now` on.
    fn decide_end(&mut self, now: u64) {
        self.end_decided_at = self.end_decided_at.min(now);
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
        since: u64,
        pause: u64,
    },
    /// Nothing is left to be done but that cmap shows it: until `until` at most, then the end is this.
    Closing {
        status: ExitStatus,
        until: u64,
    },
    Finished,
}

/// The next instance, forked in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Spare {
    /// None, and none is to be made before this time.
    Due(u64),
    /// It waits, or is being made.
    Ready,
}

/// The supervisor's mind.
#[derive(Debug, Clone, Hash)]
pub struct Machine {
    rules: Rules,
    state: State,
    wake: u64,
    spare: Spare,
    /// The pause before the next try to make a spare.
    spare_retry: u64,
    /// The number of the instance that lives, or is to be made.
    id: u32,
    warn_signal: i32,
    /// Somebody told the program to end: its end is final.
    end_is_final: bool,
    /// The last signal passed on that is to end the program, and when.
    last_end_signal: Option<(u64, Received)>,
    /// When a terminal's user told the program to stop until it is continued.
    stopping: Option<u64>,
    /// When the last instance was lost; 0 for the first.
    lost: u64,
    restarts: Restarts,
    /// The supervisor's own pause between two tries to make an instance.
    retry: u64,
    /// How the last instance ended.
    last_status: ExitStatus,
    /// Signals that arrived while there was no instance to pass them to, or none but one that was just made. It gets
    /// them when it is started: by then its handlers are installed.
    held: Vec<Received>,
    /// When to look whether the instance is started that they are held for, and the pause before the look after.
    held_look: (u64, u64),
    /// A real-time signal was dropped because too many are held.
    overflowed: bool,
    /// What is known of the partition.
    quorum: QuorumState,
    /// The beginning of the last wait for quorum that was ended, and of the last phase that was said to be shown.
    answered: (u64, u64),
    cmap: CmapRequests,
}

impl Machine {
    /// The machine of a supervisor whose first instance, number 1, is being made.
    pub fn new(rules: Rules, warn_signal: i32) -> Machine {
        Machine {
            rules,
            state: State::Launching,
            wake: NEVER,
            spare: Spare::Due(NEVER),
            spare_retry: RETRY_PAUSES.0,
            id: 1,
            warn_signal,
            end_is_final: false,
            last_end_signal: None,
            stopping: None,
            lost: 0,
            restarts: Restarts::new(rules.settings.restart_limit, rules.settings.restart_delay),
            retry: RETRY_PAUSES.0,
            last_status: ExitStatus::Exited(0),
            held: Vec::new(),
            held_look: (NEVER, RETRY_PAUSES.0),
            overflowed: false,
            quorum: QuorumState::Unknown,
            answered: (0, 0),
            cmap: CmapRequests::new(rules.interval),
        }
    }

    /// When to be woken with a Tick, in ns; None: not at all.
    pub fn wake_at(&self) -> Option<u64> {
        let spare = match (self.spare, self.state) {
            (Spare::Due(at), State::Watching(_)) => at,
            // None is made before there is an instance that it could follow.
            _ => NEVER,
        };
        let held = match self.state {
            State::Watching(_) if !self.held.is_empty() => self.held_look.0,
            _ => NEVER,
        };
        let heartbeat = match self.state {
            State::Watching(_) => self.cmap.due().unwrap_or(NEVER),
            // Nothing is published of an instance that exited, until its place is taken.
            _ => NEVER,
        };
        let wake = self.wake.min(spare).min(held).min(heartbeat);
        (wake != NEVER).then_some(wake)
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

    /// What happens to the instance, and until when in ns; 0: without limit.
    pub fn activity(&self) -> (Activity, u64) {
        match self.state {
            State::Launching => (Activity::Launching, 0),
            State::AwaitingDaemon { .. } => (Activity::Launching, 0),
            State::Pausing => (Activity::Pausing, self.wake),
            State::Watching(watch) if watch.traced && self.waits_for_debugger(&watch) => (Activity::Held, 0),
            State::Watching(watch) => match watch.health {
                Health::Healthy => (Activity::Watched, 0),
                Health::Warned { at, .. } => {
                    (Activity::Warned, at.saturating_add(self.rules.interval).max(watch.not_before))
                }
                Health::QuorumLost { at } => (Activity::Warned, at.saturating_add(self.quorum_grace())),
                Health::HangSignalSent { until } => (Activity::Ending, until),
                Health::Killed => (Activity::Ending, 0),
            },
            State::Closing { .. } | State::Finished => (Activity::Over, 0),
        }
    }

    /// Takes note of what happened and says what to do. `view` is the instance's page, read before `now`.
    pub fn step(&mut self, now: u64, event: Event, view: &View) -> Vec<Effect> {
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

    fn supervise(&mut self, now: u64, event: Event, view: &View) -> Vec<Effect> {
        match (self.state, event) {
            (State::Finished, _) => vec![],
            (State::Launching, Event::Launched { pid }) => self.launched(now, pid),
            (State::Launching, Event::LaunchFailed(errno)) => self.launch_failed(now, errno),
            (State::Pausing, Event::Tick) if now >= self.wake => self.launch(),
            (State::Watching(watch), Event::Tick) if self.must_inspect(now, &watch) => vec![Effect::Inspect],
            (State::Watching(watch), Event::Tick) => self.evaluate(now, watch, view),
            (State::Watching(watch), Event::Inspected(found)) => self.inspected(now, watch, found, view),
            (State::Watching(watch), Event::Died(status)) => self.died(now, watch, status, view),
            (State::Watching(watch), Event::MayHaveDaemonized) => self.may_have_daemonized(now, watch, view),
            (State::AwaitingDaemon { .. }, Event::Tick) => vec![Effect::FindDaemon],
            (State::AwaitingDaemon { watch, since, pause }, Event::DaemonSearched(found)) => {
                self.daemon_searched(now, watch, since, pause, found, view)
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
                self.end_is_final |= ends_program(received.number);
                self.hold(received).into_iter().collect()
            }
            (_, Event::Signal { received, shared }) => self.signal(now, received, shared, view),
            // Stale news: of an instance that is gone, or a wake-up that came early.
            _ => vec![],
        }
    }

    /// A spare is made as soon as an instance lives that it could follow.
    fn maintain_spare(&mut self, now: u64, event: Event) -> Option<Effect> {
        if !self.rules.settings.standby || self.rules.recovery == Recovery::Quit {
            return None;
        }
        match event {
            Event::SpareMade => self.spare_retry = RETRY_PAUSES.0,
            Event::SpareLost => {
                self.spare = Spare::Due(now + self.spare_retry);
                self.spare_retry = (self.spare_retry * 2).min(RETRY_PAUSES.1);
            }
            Event::Launched { .. } => self.spare = Spare::Due(now),
            _ => {}
        }
        let Spare::Due(at) = self.spare else { return None };
        if now < at || !matches!(self.state, State::Watching(_)) {
            return None;
        }
        self.spare = Spare::Ready;
        Some(Effect::MakeSpare)
    }

    fn launch(&mut self) -> Vec<Effect> {
        self.state = State::Launching;
        self.wake = NEVER;
        vec![Effect::Launch { id: self.id, warn_signal: self.warn_signal }]
    }

    fn launched(&mut self, now: u64, pid: i32) -> Vec<Effect> {
        let mut effects = vec![];
        if self.lost != 0 {
            let took = now - self.lost;
            effects.push(Effect::Log(LogEvent::Restarted { id: self.id, pid, took }));
        }
        effects.extend(self.forward_end_signals(now, pid));
        self.retry = RETRY_PAUSES.0;
        self.stopping = None;
        self.state = State::Watching(Watch {
            pid,
            born: now,
            traced: false,
            dumping: false,
            traced_until: 0,
            health: Health::Healthy,
            last_activity: 0,
            not_before: 0,
            extension_used: false,
            reason: None,
            end_decided_at: NEVER,
            retry_kill_at: NEVER,
            kill_retry_pause: 0,
        });
        self.wake = self.next_tick(now);
        effects
    }

    fn launch_failed(&mut self, now: u64, errno: i32) -> Vec<Effect> {
        let pause = self.retry;
        self.retry = (pause * 2).min(RETRY_PAUSES.1);
        self.state = State::Pausing;
        self.wake = now + pause;
        vec![Effect::Log(LogEvent::LaunchFailed { id: self.id, errno, pause })]
    }

    fn launch_impossible(&mut self, now: u64) -> Vec<Effect> {
        let mut effects = vec![Effect::Log(LogEvent::NoMoreProcesses { id: self.id })];
        let state = if self.end_is_final { CmapState::Gone } else { CmapState::Failed };
        effects.extend(self.close(now, self.last_status, state));
        effects
    }

    /// The instance exited with 0. That is an end like any other if it was told to end, or had said that it would. What
    /// is still held it was not told, and what it was told a moment ago it may have been too far gone to hear.
    fn may_have_daemonized(&mut self, now: u64, mut watch: Watch, view: &View) -> Vec<Effect> {
        let is_untold = self.held.iter().any(|held| ends_program(held.number))
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
        self.state = State::AwaitingDaemon { watch, since: now, pause: SEARCH_PAUSES.0 };
        self.wake = NEVER;
        vec![Effect::FindDaemon]
    }

    /// Returns what an instance that exited with 0 at `since` may not have heard.
    fn unconfirmed_end_signal(&self, since: u64) -> Option<Received> {
        self.last_end_signal
            .filter(|(at, _)| since < at.saturating_add(SIGNAL_CROSSING_TIME))
            .map(|(_, received)| received)
    }

    /// Returns `true` if the instance was warned or is to end, and has said nothing since that calls it off.
    fn is_in_recovery(&self, now: u64, watch: &Watch, view: &View) -> bool {
        if watch.phase(view) != Phase::Started {
            return false;
        }
        let last_activity = last_activity(now, watch, view);
        let is_unhealthy = self.rules.interval != 0 && reject_future(now, view.unhealthy) >= last_activity;
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
        now: u64,
        watch: Watch,
        since: u64,
        pause: u64,
        found: Candidates,
        view: &View,
    ) -> Vec<Effect> {
        let heartbeats_are_due = view.phase == Phase::Started && self.rules.interval != 0;
        let patience = match found {
            Candidates::None => 0,
            Candidates::Caller(pid) => return vec![Effect::Adopt(pid)],
            Candidates::Only(pid)
                if !heartbeats_are_due && now >= since.saturating_add(DAEMON_SETTLE_TIME) =>
            {
                return vec![Effect::Adopt(pid)];
            }
            _ if heartbeats_are_due => self.rules.interval,
            Candidates::OutOfReach(_) => QUORUM_GRACE,
            Candidates::Only(_) | Candidates::Several => NEVER,
        };
        let patience = if self.end_is_final { patience.min(QUORUM_GRACE) } else { patience };
        let until = since.saturating_add(patience);
        if now < until {
            let mut effects = vec![];
            if self.wake == NEVER {
                effects.push(Effect::Log(LogEvent::MayHaveDaemonized { id: self.id, pid: watch.pid }));
            }
            self.state = State::AwaitingDaemon { watch, since, pause: (pause * 2).min(SEARCH_PAUSES.1) };
            self.wake = now.saturating_add(pause).min(until);
            return effects;
        }
        if found == Candidates::None {
            // Nobody is left who was to be told.
            self.held.retain(|held| !ends_program(held.number));
        }
        let lives_on = !heartbeats_are_due || reject_future(now, view.heartbeat) > since;
        match found {
            Candidates::OutOfReach(pid) if lives_on => self.out_of_reach(now, pid),
            _ => self.died(now, watch, ExitStatus::Exited(0), view),
        }
    }

    /// The program goes on in a process that cannot be supervised. It is not started again beside that.
    fn out_of_reach(&mut self, now: u64, pid: Option<i32>) -> Vec<Effect> {
        let mut effects = vec![Effect::Log(LogEvent::OutOfReach { id: self.id, pid: pid.unwrap_or(0) })];
        if self.rules.settings.kill_group {
            effects.push(Effect::KillGroup(self.id));
        }
        effects.extend(self.close(now, ExitStatus::Exited(0), CmapState::Gone));
        effects
    }

    fn adopted(&mut self, now: u64, watch: Watch, since: u64, pid: i32) -> Vec<Effect> {
        let event = LogEvent::Adopted { id: self.id, pid, before: watch.pid };
        let mut effects = vec![Effect::Log(event)];
        if let Some(unconfirmed_end_signal) = self.unconfirmed_end_signal(since) {
            self.hold(unconfirmed_end_signal);
        }
        effects.extend(self.forward_end_signals(now, pid));
        let traced_until = if watch.traced { now } else { watch.traced_until };
        self.state = State::Watching(Watch {
            pid,
            traced: false,
            dumping: false,
            traced_until,
            health: Health::Healthy,
            kill_retry_pause: 0,
            ..watch
        });
        self.wake = self.next_tick(now);
        effects
    }

    /// So it seems: an instance may make its page say that it never took over. That gets it around nothing.
    fn spare_died(&mut self, now: u64, status: ExitStatus) -> Vec<Effect> {
        let mut effects = vec![];
        if self.rules.settings.kill_group {
            effects.push(Effect::KillGroup(self.id));
        }
        if self.end_is_final {
            effects.extend(self.close(now, status, CmapState::Gone));
            return effects;
        }
        match self.restarts.next(now, 0) {
            Ok(_) => {
                effects.extend(self.publish(now, CmapState::Stopped, 0));
                effects.extend(self.launch_failed(now, libc::ECHILD));
            }
            Err(limit) => {
                effects.push(Effect::Log(LogEvent::LimitReached { id: self.id, limit }));
                effects.extend(self.close(now, status, CmapState::Failed));
            }
        }
        effects
    }

    fn next_tick(&self, now: u64) -> u64 {
        if self.rules.interval == 0 { NEVER } else { now.saturating_add(self.rules.interval) }
    }

    /// Whether there is more to know of the instance than the page says, before it is judged.
    fn must_inspect(&self, now: u64, watch: &Watch) -> bool {
        self.looks_for_debuggers() || matches!(watch.health, Health::HangSignalSent { until } if now >= until)
    }

    fn looks_for_debuggers(&self) -> bool {
        self.rules.settings.debug_hold && self.rules.interval != 0
    }

    fn inspected(&mut self, now: u64, mut watch: Watch, found: Inspection, view: &View) -> Vec<Effect> {
        let mut effects = vec![];
        let traced = found.traced && self.rules.settings.debug_hold;
        if traced != watch.traced {
            effects.push(Effect::Log(LogEvent::Traced { id: self.id, pid: watch.pid, traced }));
        }
        watch.traced = traced;
        watch.dumping = found.dumping;
        if traced {
            // Silence counts from the moment when the debugger leaves.
            watch.traced_until = now;
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
    fn evaluate(&mut self, now: u64, mut watch: Watch, view: &View) -> Vec<Effect> {
        let mut effects = vec![];
        let lateness = now.saturating_sub(self.wake);
        self.wake = self.next_tick(now);
        if watch.health == Health::Killed {
            // Nothing is left to be done, unless the kernel refused it.
            if now >= watch.retry_kill_at {
                watch.retry_kill_at = NEVER;
                effects.push(Effect::Send(libc::SIGKILL));
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
        } else if self.rules.interval != 0 {
            self.check_deadline(now, lateness, &mut watch, view, &mut effects);
        }
        if self.looks_for_debuggers() && self.wake != NEVER {
            self.wake =
                self.wake.min(now + (self.rules.interval / 4).clamp(DEBUGGER_POLL.0, DEBUGGER_POLL.1));
        }
        self.state = State::Watching(watch);
        effects
    }

    /// The kernel did not let the supervisor send a signal, most likely because the instance has become another
    /// user. A kill is tried again: the instance may become what it was.
    fn refused(&mut self, now: u64, mut watch: Watch, signal: i32, errno: i32) -> Vec<Effect> {
        let mut effects = vec![];
        if watch.kill_retry_pause == 0 {
            watch.kill_retry_pause = RETRY_PAUSES.0;
            effects.push(Effect::Log(LogEvent::SignalRefused { id: self.id, pid: watch.pid, signal, errno }));
        }
        if watch.health == Health::Killed && signal == libc::SIGKILL {
            watch.retry_kill_at = now.saturating_add(watch.kill_retry_pause);
            watch.kill_retry_pause = (watch.kill_retry_pause * 2).min(RETRY_PAUSES.1);
            self.wake = watch.retry_kill_at;
        }
        self.state = State::Watching(watch);
        effects
    }

    fn hang_signal_sent(&self, now: u64) -> Health {
        let timeout = self.rules.settings.hang_signal.map_or(0, |signal| signal.timeout);
        Health::HangSignalSent { until: now.saturating_add(timeout) }
    }

    /// How long an instance may outlive quorum.
    fn quorum_grace(&self) -> u64 {
        if self.rules.interval == 0 { QUORUM_GRACE } else { self.rules.interval }
    }

    /// It was sent the signal for a hang, and has until `until` to end; less when quorum is lost meanwhile.
    fn after_hang_signal(&mut self, now: u64, mut until: u64, watch: &mut Watch, effects: &mut Vec<Effect>) {
        if self.lacks_quorum() {
            until = until.min(now.saturating_add(self.quorum_grace()));
            watch.health = Health::HangSignalSent { until };
        }
        self.wake = until;
        if now >= until {
            watch.health = Health::Killed;
            self.wake = NEVER;
            let event =
                LogEvent::KilledAfterHangSignal { id: self.id, pid: watch.pid, dumping: watch.dumping };
            effects.push(Effect::Log(event));
            effects.push(Effect::Send(libc::SIGKILL));
        }
    }

    fn check_deadline(
        &mut self,
        now: u64,
        lateness: u64,
        watch: &mut Watch,
        view: &View,
        effects: &mut Vec<Effect>,
    ) {
        let interval = self.rules.interval;
        let last_activity = watch.note_activity(now, view);
        if let Health::Warned { at, last_activity: before } = watch.health {
            if last_activity > before {
                let silent = last_activity - before;
                effects.push(Effect::Log(LogEvent::Recovered { id: self.id, pid: watch.pid, silent, at }));
                watch.health = Health::Healthy;
                watch.reason = None;
            }
        }
        let unhealthy = reject_future(now, view.unhealthy);
        if watch.health == Health::Healthy && unhealthy >= last_activity && unhealthy > 0 {
            // It has warned itself, at that moment.
            watch.health = Health::Warned { at: unhealthy, last_activity };
            watch.reason = Some(Reason::Unhealthy);
            effects.push(Effect::Log(LogEvent::Unhealthy { id: self.id, pid: watch.pid }));
        }
        let deadline = match watch.health {
            Health::Healthy => last_activity.saturating_add(interval),
            Health::Warned { at, .. } => at.saturating_add(interval),
            // Not for its silence any more.
            Health::QuorumLost { .. } | Health::HangSignalSent { .. } | Health::Killed => NEVER,
        }
        .max(watch.not_before);
        if now < deadline {
            self.wake = deadline;
            return;
        }
        if let Some(until) = extension_for_lateness(now, lateness, interval, watch) {
            self.wake = until;
            return;
        }
        watch.extension_used = false;
        let silent = now - last_activity;
        match watch.health {
            Health::Healthy => {
                let signal = self.warn_signal(view);
                watch.health = Health::Warned { at: now, last_activity };
                watch.reason = Some(Reason::Silent);
                let event = LogEvent::Warned { id: self.id, pid: watch.pid, silent, limit: interval, signal };
                effects.push(Effect::Log(event));
                if signal != 0 {
                    effects.push(Effect::Send(signal));
                }
            }
            Health::Warned { .. } => {
                let hang_signal = self.rules.settings.hang_signal.map(|signal| signal.number);
                let signal = hang_signal.unwrap_or(libc::SIGKILL);
                watch.health =
                    if hang_signal.is_some() { self.hang_signal_sent(now) } else { Health::Killed };
                watch.decide_end(now);
                self.wake = if let Health::HangSignalSent { until } = watch.health { until } else { NEVER };
                effects.push(Effect::Log(LogEvent::Killed { id: self.id, pid: watch.pid, silent, signal }));
                effects.push(Effect::Send(signal));
            }
            Health::QuorumLost { .. } | Health::HangSignalSent { .. } | Health::Killed => {}
        }
    }

    fn lacks_quorum(&self) -> bool {
        self.rules.quorum && matches!(self.quorum, QuorumState::No | QuorumState::Gone)
    }

    /// Quorum was lost: the instance is warned at once, and killed when its time is up, whatever it does but to stop.
    fn enforce_quorum(&mut self, now: u64, watch: &mut Watch, view: &View, effects: &mut Vec<Effect>) {
        let at = match watch.health {
            Health::Killed => {
                self.wake = NEVER;
                return;
            }
            Health::QuorumLost { at } => at,
            // On its way out already: see after_hang_signal().
            Health::HangSignalSent { .. } => return,
            Health::Healthy | Health::Warned { .. } => {
                let signal = self.warn_signal(view);
                effects.push(Effect::Log(LogEvent::QuorumWarning { id: self.id, pid: watch.pid, signal }));
                if signal != 0 {
                    effects.push(Effect::Send(signal));
                }
                watch.reason = Some(Reason::NoQuorum);
                now
            }
        };
        watch.health = Health::QuorumLost { at };
        self.wake = at.saturating_add(self.quorum_grace());
        if now >= self.wake {
            watch.health = Health::Killed;
            watch.decide_end(now);
            self.wake = NEVER;
            effects.push(Effect::Log(LogEvent::KilledForQuorum { id: self.id, pid: watch.pid }));
            effects.push(Effect::Send(libc::SIGKILL));
        }
    }

    /// What the side process reports.
    fn corosync(&mut self, now: u64, report: ClusterReport, view: &View) -> Vec<Effect> {
        self.cmap.published = report.published;
        if let State::Closing { status, .. } = self.state {
            return if self.cmap.is_done() { self.finish(status) } else { vec![] };
        }
        let lacked = self.lacks_quorum();
        self.quorum = report.quorum;
        let mut effects = vec![];
        if self.lacks_quorum() != lacked {
            effects.push(Effect::Log(if lacked { LogEvent::QuorumBack } else { LogEvent::QuorumLost }));
            if let State::Watching(watch) = self.state {
                effects.extend(self.evaluate(now, watch, view));
            }
        }
        effects
    }

    fn publish(&mut self, now: u64, state: CmapState, last_activity: u64) -> Option<Effect> {
        let record = self.rules.cmap.then(|| self.cmap.publish(now, state, last_activity)).flatten();
        record.map(Effect::Publish)
    }

    /// Answers what the instance waits for, and has cmap show what has changed.
    fn answer_instance(&mut self, now: u64, watch: &Watch, view: &View, effects: &mut Vec<Effect>) {
        let (state, last_activity) = match watch.phase(view) {
            // Its heartbeats count no more either.
            Phase::Started if watch.end_decided_at != NEVER => {
                (CmapState::Running, watch.last_activity.max(watch.born))
            }
            Phase::Waiting => (CmapState::Waiting, 0),
            // Nobody is to mind the age of what a debugger holds.
            Phase::Started if watch.traced => (CmapState::Running, 0),
            Phase::Started => (CmapState::Running, last_activity(now, watch, view)),
            Phase::Registered | Phase::Stopped | Phase::Finalized => (CmapState::Stopped, 0),
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
    fn warn_signal(&mut self, view: &View) -> i32 {
        if (0..=self.rules.last_signal).contains(&view.warn_signal) {
            self.warn_signal = view.warn_signal;
        }
        self.warn_signal
    }

    fn died(&mut self, now: u64, watch: Watch, status: ExitStatus, view: &View) -> Vec<Effect> {
        self.warn_signal(view);
        self.last_status = status;
        let phase = watch.phase(view);
        let is_final = self.end_is_final
            || self.rules.recovery == Recovery::Quit
            || phase != Phase::Started
            // To give up calls no recovery off: it is a failure all the same, so it counts at any time.
            || view.marked_failed;
        let mut effects =
            vec![Effect::Log(LogEvent::Lost { id: self.id, pid: watch.pid, status, reason: watch.reason })];
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
        match self.restarts.next(now, now.saturating_sub(watch.born)) {
            Ok(pause) => {
                effects.extend(self.publish(now, CmapState::Stopped, 0));
                self.lost = now;
                // Ids are C ints to the programs that use them.
                self.id = if self.id >= i32::MAX as u32 { 0 } else { self.id + 1 };
                effects.extend(self.launch_after(now, pause));
            }
            Err(limit) => {
                effects.push(Effect::Log(LogEvent::LimitReached { id: self.id, limit }));
                effects.extend(self.close(now, status, CmapState::Failed));
            }
        }
        effects
    }

    fn launch_after(&mut self, now: u64, pause: u64) -> Vec<Effect> {
        if pause == 0 {
            return self.launch();
        }
        self.state = State::Pausing;
        self.wake = now + pause;
        vec![Effect::Log(LogEvent::Delayed { id: self.id, pause })]
    }

    /// Ends the supervisor, as soon as cmap shows how it ended.
    fn close(&mut self, now: u64, status: ExitStatus, state: CmapState) -> Vec<Effect> {
        let id = self.id;
        let dropped = |held: Received| Effect::Log(LogEvent::SignalDropped { id, signal: held.number });
        let mut effects: Vec<Effect> = self.held.drain(..).map(dropped).collect();
        if let Some(published) = self.publish(now, state, now) {
            let until = now.saturating_add(CMAP_ACK_TIMEOUT);
            self.state = State::Closing { status, until };
            self.wake = until;
            effects.push(published);
        } else {
            effects.extend(self.finish(status));
        }
        effects
    }

    fn finish(&mut self, status: ExitStatus) -> Vec<Effect> {
        self.state = State::Finished;
        self.wake = NEVER;
        self.spare = Spare::Ready;
        vec![Effect::Finish(status)]
    }

    fn signal(&mut self, now: u64, received: Received, shared: bool, view: &View) -> Vec<Effect> {
        let signal = received.number;
        let news = ends_program(signal) && !self.end_is_final;
        self.end_is_final |= ends_program(signal);
        // Job control: the shell waits for the supervisor, which stops when the instance has stopped.
        if stops_program(signal) {
            self.stopping = Some(now);
        } else if signal == libc::SIGCONT {
            self.stopping = None;
            self.held.retain(|held| !stops_program(held.number));
        }
        match self.state {
            State::Watching(ref mut watch) => {
                watch.note_activity(now, view);
                if signal == libc::SIGCONT && self.rules.interval != 0 && !watch.extension_used {
                    // The supervisor may have been stopped, and the instance with it. Or not: every process of
                    // the session may send this signal, the instance too.
                    watch.extension_used = true;
                    watch.not_before = now.saturating_add(self.rules.interval);
                    self.wake = self.wake.max(watch.not_before);
                }
                let (pid, age) = (watch.pid, now.saturating_sub(watch.born));
                let is_new = self.lost != 0 && age < NEW_INSTANCE_AGE && view.phase == Phase::Registered;
                if is_new
                    && !ends_program(signal)
                    && !stops_program(signal)
                    && signal != libc::SIGCONT
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
                    effects.push(Effect::Log(LogEvent::ToldToEnd { id: self.id, pid, signal, delivery }));
                }
                effects
            }
            State::Pausing if self.end_is_final => {
                self.close(now, ExitStatus::Killed { signal, core: false }, CmapState::Gone)
            }
            State::Closing { .. } | State::Finished => vec![],
            // Where the administrator says that every sender signals every process, this one is there and has it.
            State::AwaitingDaemon { .. } if !shared && self.delivery(received, 0) == Delivery::Withheld => {
                vec![]
            }
            State::Launching | State::Pausing | State::AwaitingDaemon { .. } => {
                self.hold(received).into_iter().collect()
            }
        }
    }

    /// Returns how a signal that only the supervisor is known to have got comes to an instance of this age.
    fn delivery(&self, received: Received, age: u64) -> Delivery {
        // The administrator says that every sender signals the instance as well. The kernel does not; and an
        // instance that was just made may have been missed.
        let withheld = self.rules.settings.withhold_signals && !received.by_kernel;
        let missed = ends_program(received.number) && age < NEW_INSTANCE_AGE;
        if withheld && !missed { Delivery::Withheld } else { Delivery::Forwarded }
    }

    /// Keeps a signal for the next instance, as the kernel keeps signals that are blocked.
    fn hold(&mut self, received: Received) -> Option<Effect> {
        let signal = received.number;
        let is_full = if signal < FIRST_REAL_TIME {
            if self.held.iter().any(|held| held.number == signal) {
                return None;
            }
            false
        } else {
            self.held.iter().filter(|held| held.number >= FIRST_REAL_TIME).count() >= MAX_HELD_REALTIME
        };
        if !is_full {
            self.held.push(received);
            return None;
        }
        let is_first = !self.overflowed;
        self.overflowed = true;
        is_first.then_some(Effect::Log(LogEvent::SignalDropped { id: self.id, signal }))
    }

    /// Passes held signals on that are to end the program: they are never put off. The others wait until the instance,
    /// which is there from `now` on, is started.
    fn forward_end_signals(&mut self, now: u64, pid: i32) -> Vec<Effect> {
        let (end_signals, held): (Vec<Received>, _) =
            self.held.drain(..).partition(|held| ends_program(held.number));
        self.held = held;
        self.held_look = (now + RETRY_PAUSES.0, RETRY_PAUSES.0 * 2);
        let mut effects = vec![];
        for received in end_signals {
            self.last_end_signal = Some((now, received));
            effects.push(Effect::Forward(received));
            let signal = received.number;
            effects.push(Effect::Log(LogEvent::ToldToEnd {
                id: self.id,
                pid,
                signal,
                delivery: Delivery::Forwarded,
            }));
        }
        effects
    }

    /// Passes held signals on to an instance that has got as far as `sam_start`.
    fn forward_held(&mut self, now: u64, view: &View, effects: &mut Vec<Effect>) {
        if self.held.is_empty() {
            return;
        }
        if matches!(view.phase, Phase::Started | Phase::Stopped | Phase::Waiting) {
            if self.held.iter().any(|held| stops_program(held.number)) {
                self.stopping = Some(now);
            }
            self.overflowed = false;
            effects.extend(self.held.drain(..).map(Effect::Forward));
        } else if now >= self.held_look.0 {
            // sam_start wakes nobody.
            let pause = self.held_look.1;
            self.held_look = (now + pause, (pause * 2).min(RETRY_PAUSES.1));
        }
    }

    /// Returns `true` if the supervisor is to stop as the instance did, because a terminal's user told both to.
    fn follows_stop(&self, now: u64, signal: i32) -> bool {
        let Some(stop_received) = self.stopping else { return false };
        stops_program(signal) || now < stop_received.saturating_add(STOP_ANSWER_TIME)
    }
}

/// Returns `true` for the signals after which the end of the program is final.
pub fn ends_program(signal: i32) -> bool {
    matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT)
}

/// Returns `true` for the signals by which a terminal stops a program.
fn stops_program(signal: i32) -> bool {
    matches!(signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)
}

/// A stamp of the instance. One from the future was never true.
fn reject_future(now: u64, stamp: u64) -> u64 {
    if stamp <= now { stamp } else { 0 }
}

/// The last word of the instance.
fn last_activity(now: u64, watch: &Watch, view: &View) -> u64 {
    reject_future(now, view.since)
        .max(reject_future(now, view.heartbeat))
        .max(watch.born)
        .max(watch.traced_until)
}

/// The supervisor was woken much later than it wanted: it did not see what the instance did meanwhile, and
/// whatever held it up may have held up the instance as well. It owes the instance the time that it was late, up
/// to an interval; once per word heard and stage.
fn extension_for_lateness(now: u64, lateness: u64, interval: u64, watch: &mut Watch) -> Option<u64> {
    if watch.extension_used || lateness <= interval / 4 {
        return None;
    }
    watch.extension_used = true;
    watch.not_before = now.saturating_add(lateness.min(interval));
    Some(watch.not_before)
}

#[cfg(test)]
mod tests;
