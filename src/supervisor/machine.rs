//! Every decision of the supervisor: events in, effects out. No system call, and no clock but `now`.

#![forbid(unsafe_code)]

use std::collections::TryReserveError;

use super::heir::Heirs;
use super::notice::{Notice, Reason, Way};
use super::publisher::Publisher;
use super::restarts::Restarts;
use crate::board::{Phase, View};
use crate::corosync::desk::{Quorum, Report};
use crate::corosync::record::{Record, State};
use crate::environment::Settings;
use crate::policy::Recovery;
use crate::status::Stage;
use crate::sys::inspection::Inspection;
use crate::sys::process::Status;
use crate::sys::signals::Received;

/// The machine is done with nothing to wait for but the kernel's word.
const NEVER: u64 = u64::MAX;

/// The first pause after an instance could not be made, and the longest, in ns. From "at once" to a rate that a
/// machine out of processes does not feel.
const RETRY: (u64, u64) = (10_000_000, 1_000_000_000);

/// How long an instance may outlive quorum when there is no interval, in ns.
const REPRIEVE: u64 = 1_000_000_000;

/// How long the end is put off until it can be read in cmap, in ns.
const CLOSING: u64 = 1_000_000_000;

/// How long after a SIGTSTP, SIGTTIN or SIGTTOU a SIGSTOP of the instance counts as the answer to it, in ns: some
/// programs save their terminal in a handler and then stop themselves by SIGSTOP.
const STOPPING: u64 = 1_000_000_000;

/// How many real-time signals are held at most while there is no instance. The kernel queues these, and merges all
/// others.
const MOST_HELD: usize = 64;

/// The first real-time signal as the kernel counts them.
const FIRST_REAL_TIME: i32 = 32;

/// The age below which an instance is new, in ns: its handlers may not be installed yet, and a sender that signals
/// every process of the program may have missed it.
const FRESH: u64 = 1_000_000_000;

/// The pauses between two looks for the process that goes on in the place of an instance: the first and the longest, in
/// ns.
const SEEK: (u64, u64) = (10_000_000, 1_000_000_000);

/// How long a process must live on, in ns, before it is taken for the one that goes on without a call. It may have been
/// forked to execute another program.
const SETTLED: u64 = 100_000_000;

/// How long before an instance exits with 0 a signal may have been sent to it, in ns, that it had no time to pass on to the
/// process which it forked to go on in its place.
const CROSSING: u64 = 100_000_000;

/// How often to look for a debugger, in ns: four times per interval, within these bounds.
const GLANCE: (u64, u64) = (10_000_000, 1_000_000_000);

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
    Died(Status),
    /// The instance exited with 0, and the supervisor has other children.
    Left,
    /// What was found in the place of an instance that exited with 0.
    Heir(Heirs),
    /// The supervisor adopted the process with this pid: it is the instance from now on.
    Adopted {
        /// Its pid.
        pid: i32,
    },
    /// The instance that was asked for could not be made, and none ever can: see `Notice::NoMoreProcesses`.
    LaunchImpossible,
    /// The instance was a spare that ended before it took over.
    Stillborn(Status),
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
    Corosync(Report),
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
    Prepare,
    /// Look for a process that goes on in the place of the instance, which exited with 0.
    SeekHeir,
    /// Adopt this process as the instance.
    Adopt(i32),
    /// Send this signal to the instance.
    Send(i32),
    /// Send the instance what was received.
    PassOn(Received),
    /// See what the instance is being put through.
    Inspect,
    /// End what the instance with this number, which is dead, left behind of its own children.
    EndGroup(u32),
    /// Stop the supervisor as the instance has stopped, until somebody continues both.
    Suspend,
    /// Let the instance start that waits for quorum since then.
    Admit(u64),
    /// Tell the instance that the phase which it entered then can be read in cmap.
    Show(u64),
    /// Have cmap show this.
    Publish(Record),
    /// Say what happened.
    Tell(Notice),
    /// End the supervisor, as this says.
    Finish(Status),
}

/// What is known of the instance's silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Silence {
    /// Nothing to object to.
    Fine,
    /// Warned at `at`; the last word before that was heard at `heard`.
    Warned { at: u64, heard: u64 },
    /// Started, and quorum was lost at `at`: no heartbeat saves it.
    Condemned { at: u64 },
    /// Sent the signal for a hang; it has until `until` to end.
    Struck { until: u64 },
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
    released: u64,
    silence: Silence,
    /// The latest word heard from it.
    heard: u64,
    /// Until when the supervisor owes it time, because it was late itself.
    grace: u64,
    /// Whether it owed it time since the last word.
    graced: bool,
    /// What the next loss is put down to, when it is not the instance's own doing.
    reason: Option<Reason>,
    /// When the supervisor decided to end the instance; NEVER: it did not.
    decided: u64,
    /// When to send SIGKILL again that the kernel refused to deliver; NEVER: not at all.
    kill_at: u64,
    /// The pause before the next such try, in ns; 0: no signal was refused yet.
    kill_pause: u64,
}

impl Watch {
    /// The time of the last word from the instance.
    fn hear(&mut self, now: u64, view: &View) -> u64 {
        let heard = heard(now, self, view);
        if heard > self.heard {
            self.heard = heard;
            self.graced = false;
        }
        heard
    }

    /// Returns the phase that counts. What an instance says after the decision to end it does not: a handler of the
    /// signal for a hang cannot call the recovery off.
    fn phase(&self, view: &View) -> Phase {
        if view.since <= self.decided { view.phase } else { Phase::Started }
    }

    /// Marks the instance as one that is to end, from `now` on.
    fn decide(&mut self, now: u64) {
        self.decided = self.decided.min(now);
    }
}

#[derive(Debug, Clone, Copy, Hash)]
enum Life {
    /// Waiting for the answer to Launch.
    Launching,
    /// It is to be made at `wake`, after a pause or a try that failed.
    Pausing,
    Watching(Watch),
    /// The instance exited with 0 at `since`. A process that it forked may go on in its place.
    Left {
        watch: Watch,
        since: u64,
        pause: u64,
    },
    /// Nothing is left to be done but that cmap shows it: until `until` at most, then the end is this.
    Closing {
        status: Status,
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
    life: Life,
    wake: u64,
    spare: Spare,
    /// The pause before the next try to make a spare.
    spare_retry: u64,
    /// The number of the instance that lives, or is to be made.
    id: u32,
    warn_signal: i32,
    /// Somebody told the program to end: its end is final.
    ending: bool,
    /// The last signal passed on that is to end the program, and when.
    last_word: Option<(u64, Received)>,
    /// When a terminal's user told the program to stop until it is continued.
    stopping: Option<u64>,
    /// When the last instance was lost; 0 for the first.
    lost: u64,
    restarts: Restarts,
    /// The supervisor's own pause between two tries to make an instance.
    retry: u64,
    /// How the last instance ended.
    last_status: Status,
    /// Signals that arrived while there was no instance to pass them to, or none but one that was just made. It gets
    /// them when it is started: by then its handlers are installed.
    held: Vec<Received>,
    /// When to look whether the instance is started that they are held for, and the pause before the look after.
    held_look: (u64, u64),
    /// A real-time signal was dropped because too many are held.
    overflowed: bool,
    /// What is known of the partition.
    quorum: Quorum,
    /// The beginning of the last wait for quorum that was ended, and of the last phase that was said to be shown.
    answered: (u64, u64),
    publisher: Publisher,
}

impl Machine {
    /// The machine of a supervisor whose first instance, number 1, is being made.
    pub fn new(rules: Rules, warn_signal: i32) -> Machine {
        Machine {
            rules,
            life: Life::Launching,
            wake: NEVER,
            spare: Spare::Due(NEVER),
            spare_retry: RETRY.0,
            id: 1,
            warn_signal,
            ending: false,
            last_word: None,
            stopping: None,
            lost: 0,
            restarts: Restarts::new(rules.settings.restart_limit, rules.settings.restart_delay),
            retry: RETRY.0,
            last_status: Status::Exited(0),
            held: Vec::new(),
            held_look: (NEVER, RETRY.0),
            overflowed: false,
            quorum: Quorum::Unknown,
            answered: (0, 0),
            publisher: Publisher::new(rules.interval),
        }
    }

    /// Reserves memory for the restarts that are counted.
    pub fn reserve(&mut self) -> Result<(), TryReserveError> {
        self.restarts.reserve()
    }

    /// When to be woken with a Tick, in ns; None: not at all.
    pub fn wake_at(&self) -> Option<u64> {
        let spare = match (self.spare, self.life) {
            (Spare::Due(at), Life::Watching(_)) => at,
            // None is made before there is an instance that it could follow.
            _ => NEVER,
        };
        let held = match self.life {
            Life::Watching(_) if !self.held.is_empty() => self.held_look.0,
            _ => NEVER,
        };
        let heartbeat = match self.life {
            Life::Watching(_) => self.publisher.due().unwrap_or(NEVER),
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
        self.ending
    }

    /// Returns `true` while a process is looked for that goes on in the place of the instance.
    pub fn seeks_heir(&self) -> bool {
        matches!(self.life, Life::Left { .. })
    }

    /// What happens to the instance, and until when in ns; 0: without limit.
    pub fn stage(&self) -> (Stage, u64) {
        match self.life {
            Life::Launching => (Stage::Launching, 0),
            Life::Left { .. } => (Stage::Launching, 0),
            Life::Pausing => (Stage::Pausing, self.wake),
            Life::Watching(watch) if watch.traced && self.waits_for_debugger(&watch) => (Stage::Held, 0),
            Life::Watching(watch) => match watch.silence {
                Silence::Fine => (Stage::Watched, 0),
                Silence::Warned { at, .. } => {
                    (Stage::Warned, at.saturating_add(self.rules.interval).max(watch.grace))
                }
                Silence::Condemned { at } => (Stage::Warned, at.saturating_add(self.reprieve())),
                Silence::Struck { until } => (Stage::Ending, until),
                Silence::Killed => (Stage::Ending, 0),
            },
            Life::Closing { .. } | Life::Finished => (Stage::Over, 0),
        }
    }

    /// Takes note of what happened and says what to do. `view` is the instance's page, read before `now`.
    pub fn step(&mut self, now: u64, event: Event, view: &View) -> Vec<Effect> {
        let mut effects = self.supervise(now, event, view);
        if let Life::Watching(watch) = self.life {
            self.answer(now, &watch, view, &mut effects);
            // Other events may come before the news that the instance is dead.
            if event == Event::Tick {
                self.pass_on_held(now, view, &mut effects);
            }
        }
        effects.extend(self.keep_spare(now, event));
        effects
    }

    fn supervise(&mut self, now: u64, event: Event, view: &View) -> Vec<Effect> {
        match (self.life, event) {
            (Life::Finished, _) => vec![],
            (Life::Launching, Event::Launched { pid }) => self.launched(now, pid),
            (Life::Launching, Event::LaunchFailed(errno)) => self.launch_failed(now, errno),
            (Life::Pausing, Event::Tick) if now >= self.wake => self.launch(),
            (Life::Watching(watch), Event::Tick) if self.must_inspect(now, &watch) => vec![Effect::Inspect],
            (Life::Watching(watch), Event::Tick) => self.look(now, watch, view),
            (Life::Watching(watch), Event::Inspected(found)) => self.inspected(now, watch, found, view),
            (Life::Watching(watch), Event::Died(status)) => self.died(now, watch, status, view),
            (Life::Watching(watch), Event::Left) => self.left(now, watch, view),
            (Life::Left { .. }, Event::Tick) => vec![Effect::SeekHeir],
            (Life::Left { watch, since, pause }, Event::Heir(found)) => {
                self.seek(now, watch, since, pause, found, view)
            }
            (Life::Left { watch, since, .. }, Event::Adopted { pid }) => self.adopted(now, watch, since, pid),
            (Life::Launching, Event::LaunchImpossible) => self.launch_impossible(now),
            (Life::Watching(_), Event::Stillborn(status)) => self.stillborn(now, status),
            (Life::Watching(_), Event::Stopped(signal)) if self.is_stop_to_follow(now, signal) => {
                vec![Effect::Suspend]
            }
            (Life::Watching(watch), Event::Refused { signal, errno }) => {
                self.refused(now, watch, signal, errno)
            }
            (_, Event::Corosync(report)) => self.corosync(now, report, view),
            (Life::Closing { status, until }, Event::Tick) if now >= until => self.finish(status),
            (Life::Closing { .. }, Event::Missed(_)) => vec![],
            (_, Event::Missed(received)) => {
                self.ending |= ends(received.number);
                self.hold(received).into_iter().collect()
            }
            (_, Event::Signal { received, shared }) => self.signal(now, received, shared, view),
            // Stale news: of an instance that is gone, or a wake-up that came early.
            _ => vec![],
        }
    }

    /// A spare is made as soon as an instance lives that it could follow.
    fn keep_spare(&mut self, now: u64, event: Event) -> Option<Effect> {
        if !self.rules.settings.standby || self.rules.recovery == Recovery::Quit {
            return None;
        }
        match event {
            Event::SpareMade => self.spare_retry = RETRY.0,
            Event::SpareLost => {
                self.spare = Spare::Due(now + self.spare_retry);
                self.spare_retry = (self.spare_retry * 2).min(RETRY.1);
            }
            Event::Launched { .. } => self.spare = Spare::Due(now),
            _ => {}
        }
        let Spare::Due(at) = self.spare else { return None };
        if now < at || !matches!(self.life, Life::Watching(_)) {
            return None;
        }
        self.spare = Spare::Ready;
        Some(Effect::Prepare)
    }

    fn launch(&mut self) -> Vec<Effect> {
        self.life = Life::Launching;
        self.wake = NEVER;
        vec![Effect::Launch { id: self.id, warn_signal: self.warn_signal }]
    }

    fn launched(&mut self, now: u64, pid: i32) -> Vec<Effect> {
        let mut effects = vec![];
        if self.lost != 0 {
            let took = now - self.lost;
            effects.push(Effect::Tell(Notice::Restarted { id: self.id, pid, took }));
        }
        effects.extend(self.pass_on_last_words(now, pid));
        self.retry = RETRY.0;
        self.stopping = None;
        self.life = Life::Watching(Watch {
            pid,
            born: now,
            traced: false,
            dumping: false,
            released: 0,
            silence: Silence::Fine,
            heard: 0,
            grace: 0,
            graced: false,
            reason: None,
            decided: NEVER,
            kill_at: NEVER,
            kill_pause: 0,
        });
        self.wake = self.next_tick(now);
        effects
    }

    fn launch_failed(&mut self, now: u64, errno: i32) -> Vec<Effect> {
        let pause = self.retry;
        self.retry = (pause * 2).min(RETRY.1);
        self.life = Life::Pausing;
        self.wake = now + pause;
        vec![Effect::Tell(Notice::LaunchFailed { id: self.id, errno, pause })]
    }

    fn launch_impossible(&mut self, now: u64) -> Vec<Effect> {
        let mut effects = vec![Effect::Tell(Notice::NoMoreProcesses { id: self.id })];
        let state = if self.ending { State::Gone } else { State::Failed };
        effects.extend(self.close(now, self.last_status, state));
        effects
    }

    /// The instance exited with 0. That is an end like any other if it was told to end, or had said that it would. What
    /// is still held it was not told, and what it was told a moment ago it may have been too far gone to hear.
    fn left(&mut self, now: u64, mut watch: Watch, view: &View) -> Vec<Effect> {
        let is_untold = self.held.iter().any(|held| ends(held.number)) || self.unheard(now).is_some();
        let was_told = self.ending && !is_untold;
        let may_go_on = matches!(watch.phase(view), Phase::Registered | Phase::Waiting | Phase::Started)
            && !view.given_up
            && !was_told
            && !self.is_accused(now, &watch, view);
        if !may_go_on {
            return self.died(now, watch, Status::Exited(0), view);
        }
        (watch.silence, watch.reason) = (Silence::Fine, None);
        self.life = Life::Left { watch, since: now, pause: SEEK.0 };
        self.wake = NEVER;
        vec![Effect::SeekHeir]
    }

    /// Returns what an instance that exited with 0 at `since` may not have heard.
    fn unheard(&self, since: u64) -> Option<Received> {
        self.last_word.filter(|(at, _)| since < at.saturating_add(CROSSING)).map(|(_, received)| received)
    }

    /// Returns `true` if the instance was warned or is to end, and has said nothing since that calls it off.
    fn is_accused(&self, now: u64, watch: &Watch, view: &View) -> bool {
        if watch.phase(view) != Phase::Started {
            return false;
        }
        let heard = heard(now, watch, view);
        let is_unhealthy = self.rules.interval != 0 && believed(now, view.unhealthy) >= heard;
        match watch.silence {
            Silence::Fine => is_unhealthy,
            Silence::Warned { heard: before, .. } => is_unhealthy || heard <= before,
            Silence::Condemned { .. } | Silence::Struck { .. } | Silence::Killed => true,
        }
    }

    /// Decides what follows from `found`. A process that called the library is adopted. Where no heartbeat is due, so is
    /// the only one that may call it: nobody else would pass signals on to it. Where heartbeats are due, the first one
    /// is waited for, an interval at most.
    fn seek(
        &mut self,
        now: u64,
        watch: Watch,
        since: u64,
        pause: u64,
        found: Heirs,
        view: &View,
    ) -> Vec<Effect> {
        let heartbeats_are_due = view.phase == Phase::Started && self.rules.interval != 0;
        let patience = match found {
            Heirs::None => 0,
            Heirs::Caller(pid) => return vec![Effect::Adopt(pid)],
            Heirs::Only(pid) if !heartbeats_are_due && now >= since.saturating_add(SETTLED) => {
                return vec![Effect::Adopt(pid)];
            }
            _ if heartbeats_are_due => self.rules.interval,
            Heirs::OutOfReach(_) => REPRIEVE,
            Heirs::Only(_) | Heirs::Several => NEVER,
        };
        let patience = if self.ending { patience.min(REPRIEVE) } else { patience };
        let until = since.saturating_add(patience);
        if now < until {
            let mut effects = vec![];
            if self.wake == NEVER {
                effects.push(Effect::Tell(Notice::Left { id: self.id, pid: watch.pid }));
            }
            self.life = Life::Left { watch, since, pause: (pause * 2).min(SEEK.1) };
            self.wake = now.saturating_add(pause).min(until);
            return effects;
        }
        if found == Heirs::None {
            // Nobody is left who was to be told.
            self.held.retain(|held| !ends(held.number));
        }
        let lives_on = !heartbeats_are_due || believed(now, view.heartbeat) > since;
        match found {
            Heirs::OutOfReach(pid) if lives_on => self.stray(now, pid),
            _ => self.died(now, watch, Status::Exited(0), view),
        }
    }

    /// The program goes on in a process that cannot be supervised. It is not started again beside that.
    fn stray(&mut self, now: u64, pid: Option<i32>) -> Vec<Effect> {
        let mut effects = vec![Effect::Tell(Notice::Strayed { id: self.id, pid: pid.unwrap_or(0) })];
        if self.rules.settings.kill_group {
            effects.push(Effect::EndGroup(self.id));
        }
        effects.extend(self.close(now, Status::Exited(0), State::Gone));
        effects
    }

    fn adopted(&mut self, now: u64, watch: Watch, since: u64, pid: i32) -> Vec<Effect> {
        let told = Notice::Adopted { id: self.id, pid, before: watch.pid };
        let mut effects = vec![Effect::Tell(told)];
        if let Some(unheard) = self.unheard(since) {
            self.hold(unheard);
        }
        effects.extend(self.pass_on_last_words(now, pid));
        let released = if watch.traced { now } else { watch.released };
        self.life = Life::Watching(Watch {
            pid,
            traced: false,
            dumping: false,
            released,
            silence: Silence::Fine,
            kill_pause: 0,
            ..watch
        });
        self.wake = self.next_tick(now);
        effects
    }

    /// So it seems: an instance may make its page say that it never took over. That gets it around nothing.
    fn stillborn(&mut self, now: u64, status: Status) -> Vec<Effect> {
        let mut effects = vec![];
        if self.rules.settings.kill_group {
            effects.push(Effect::EndGroup(self.id));
        }
        if self.ending {
            effects.extend(self.close(now, status, State::Gone));
            return effects;
        }
        match self.restarts.next(now, 0) {
            Ok(_) => {
                effects.extend(self.publish(now, State::Stopped, 0));
                effects.extend(self.launch_failed(now, libc::ECHILD));
            }
            Err(limit) => {
                effects.push(Effect::Tell(Notice::LimitReached { id: self.id, limit }));
                effects.extend(self.close(now, status, State::Failed));
            }
        }
        effects
    }

    fn next_tick(&self, now: u64) -> u64 {
        if self.rules.interval == 0 { NEVER } else { now.saturating_add(self.rules.interval) }
    }

    /// Whether there is more to know of the instance than the page says, before it is judged.
    fn must_inspect(&self, now: u64, watch: &Watch) -> bool {
        self.looks_for_debuggers() || matches!(watch.silence, Silence::Struck { until } if now >= until)
    }

    fn looks_for_debuggers(&self) -> bool {
        self.rules.settings.debug_hold && self.rules.interval != 0
    }

    fn inspected(&mut self, now: u64, mut watch: Watch, found: Inspection, view: &View) -> Vec<Effect> {
        let mut effects = vec![];
        let traced = found.traced && self.rules.settings.debug_hold;
        if traced != watch.traced {
            effects.push(Effect::Tell(Notice::Traced { id: self.id, pid: watch.pid, traced }));
        }
        watch.traced = traced;
        watch.dumping = found.dumping;
        if traced {
            // Silence counts from the moment when the debugger leaves.
            watch.released = now;
            match watch.silence {
                Silence::Fine | Silence::Warned { .. } => {
                    watch.silence = Silence::Fine;
                    watch.reason = None;
                }
                Silence::Struck { .. } if !self.lacks_quorum() => watch.silence = self.struck(now),
                Silence::Struck { .. } | Silence::Condemned { .. } | Silence::Killed => {}
            }
        }
        effects.extend(self.look(now, watch, view));
        effects
    }

    /// Returns `true` if nothing is done to the instance while a debugger traces it. A lack of quorum does not wait.
    fn waits_for_debugger(&self, watch: &Watch) -> bool {
        match watch.silence {
            Silence::Fine | Silence::Warned { .. } => true,
            Silence::Struck { .. } => !self.lacks_quorum(),
            Silence::Condemned { .. } | Silence::Killed => false,
        }
    }

    /// Looks at the instance: is it silent for too long?
    fn look(&mut self, now: u64, mut watch: Watch, view: &View) -> Vec<Effect> {
        let mut effects = vec![];
        let late = now.saturating_sub(self.wake);
        self.wake = self.next_tick(now);
        if watch.silence == Silence::Killed {
            // Nothing is left to be done, unless the kernel refused it.
            if now >= watch.kill_at {
                watch.kill_at = NEVER;
                effects.push(Effect::Send(libc::SIGKILL));
            }
            self.wake = watch.kill_at;
        } else if let Silence::Struck { until } = watch.silence {
            // Whatever it does now but to end.
            self.strike(now, until, &mut watch, &mut effects);
        } else if view.phase != Phase::Started {
            // Not under health checks: a warning that is out is called off.
            watch.silence = Silence::Fine;
            watch.reason = None;
        } else if self.lacks_quorum() || matches!(watch.silence, Silence::Condemned { .. }) {
            self.condemn(now, &mut watch, view, &mut effects);
        } else if self.rules.interval != 0 {
            self.judge(now, late, &mut watch, view, &mut effects);
        }
        if self.looks_for_debuggers() && self.wake != NEVER {
            self.wake = self.wake.min(now + (self.rules.interval / 4).clamp(GLANCE.0, GLANCE.1));
        }
        self.life = Life::Watching(watch);
        effects
    }

    /// The kernel did not let the supervisor send a signal, most likely because the instance has become another
    /// user. A kill is tried again: the instance may become what it was.
    fn refused(&mut self, now: u64, mut watch: Watch, signal: i32, errno: i32) -> Vec<Effect> {
        let mut effects = vec![];
        if watch.kill_pause == 0 {
            watch.kill_pause = RETRY.0;
            effects.push(Effect::Tell(Notice::Refused { id: self.id, pid: watch.pid, signal, errno }));
        }
        if watch.silence == Silence::Killed && signal == libc::SIGKILL {
            watch.kill_at = now.saturating_add(watch.kill_pause);
            watch.kill_pause = (watch.kill_pause * 2).min(RETRY.1);
            self.wake = watch.kill_at;
        }
        self.life = Life::Watching(watch);
        effects
    }

    fn struck(&self, now: u64) -> Silence {
        let grace = self.rules.settings.hang_signal.map_or(0, |signal| signal.grace);
        Silence::Struck { until: now.saturating_add(grace) }
    }

    /// How long an instance may outlive quorum.
    fn reprieve(&self) -> u64 {
        if self.rules.interval == 0 { REPRIEVE } else { self.rules.interval }
    }

    /// It was sent the signal for a hang, and has until `until` to end; less when quorum is lost meanwhile.
    fn strike(&mut self, now: u64, mut until: u64, watch: &mut Watch, effects: &mut Vec<Effect>) {
        if self.lacks_quorum() {
            until = until.min(now.saturating_add(self.reprieve()));
            watch.silence = Silence::Struck { until };
        }
        self.wake = until;
        if now >= until {
            watch.silence = Silence::Killed;
            self.wake = NEVER;
            let told = Notice::Overdue { id: self.id, pid: watch.pid, dumping: watch.dumping };
            effects.push(Effect::Tell(told));
            effects.push(Effect::Send(libc::SIGKILL));
        }
    }

    fn judge(&mut self, now: u64, late: u64, watch: &mut Watch, view: &View, effects: &mut Vec<Effect>) {
        let interval = self.rules.interval;
        let heard = watch.hear(now, view);
        if let Silence::Warned { at, heard: before } = watch.silence {
            if heard > before {
                let silent = heard - before;
                effects.push(Effect::Tell(Notice::Recovered { id: self.id, pid: watch.pid, silent, at }));
                watch.silence = Silence::Fine;
                watch.reason = None;
            }
        }
        let unhealthy = believed(now, view.unhealthy);
        if watch.silence == Silence::Fine && unhealthy >= heard && unhealthy > 0 {
            // It has warned itself, at that moment.
            watch.silence = Silence::Warned { at: unhealthy, heard };
            watch.reason = Some(Reason::Unhealthy);
            effects.push(Effect::Tell(Notice::Unhealthy { id: self.id, pid: watch.pid }));
        }
        let deadline = match watch.silence {
            Silence::Fine => heard.saturating_add(interval),
            Silence::Warned { at, .. } => at.saturating_add(interval),
            // Not for its silence any more.
            Silence::Condemned { .. } | Silence::Struck { .. } | Silence::Killed => NEVER,
        }
        .max(watch.grace);
        if now < deadline {
            self.wake = deadline;
            return;
        }
        if let Some(grace) = grace_for_lateness(now, late, interval, watch) {
            self.wake = grace;
            return;
        }
        watch.graced = false;
        let silent = now - heard;
        match watch.silence {
            Silence::Fine => {
                let signal = self.warning(view);
                watch.silence = Silence::Warned { at: now, heard };
                watch.reason = Some(Reason::Silent);
                let told = Notice::Warned { id: self.id, pid: watch.pid, silent, limit: interval, signal };
                effects.push(Effect::Tell(told));
                if signal != 0 {
                    effects.push(Effect::Send(signal));
                }
            }
            Silence::Warned { .. } => {
                let hang_signal = self.rules.settings.hang_signal.map(|signal| signal.number);
                let signal = hang_signal.unwrap_or(libc::SIGKILL);
                watch.silence = if hang_signal.is_some() { self.struck(now) } else { Silence::Killed };
                watch.decide(now);
                self.wake = if let Silence::Struck { until } = watch.silence { until } else { NEVER };
                effects.push(Effect::Tell(Notice::Killed { id: self.id, pid: watch.pid, silent, signal }));
                effects.push(Effect::Send(signal));
            }
            Silence::Condemned { .. } | Silence::Struck { .. } | Silence::Killed => {}
        }
    }

    fn lacks_quorum(&self) -> bool {
        self.rules.quorum && matches!(self.quorum, Quorum::No | Quorum::Gone)
    }

    /// Quorum was lost: the instance is warned at once, and killed when its time is up, whatever it does but to stop.
    fn condemn(&mut self, now: u64, watch: &mut Watch, view: &View, effects: &mut Vec<Effect>) {
        let at = match watch.silence {
            Silence::Killed => {
                self.wake = NEVER;
                return;
            }
            Silence::Condemned { at } => at,
            // On its way out already: see strike().
            Silence::Struck { .. } => return,
            Silence::Fine | Silence::Warned { .. } => {
                let signal = self.warning(view);
                effects.push(Effect::Tell(Notice::Condemned { id: self.id, pid: watch.pid, signal }));
                if signal != 0 {
                    effects.push(Effect::Send(signal));
                }
                watch.reason = Some(Reason::NoQuorum);
                now
            }
        };
        watch.silence = Silence::Condemned { at };
        self.wake = at.saturating_add(self.reprieve());
        if now >= self.wake {
            watch.silence = Silence::Killed;
            watch.decide(now);
            self.wake = NEVER;
            effects.push(Effect::Tell(Notice::Outlived { id: self.id, pid: watch.pid }));
            effects.push(Effect::Send(libc::SIGKILL));
        }
    }

    /// What the side process reports.
    fn corosync(&mut self, now: u64, report: Report, view: &View) -> Vec<Effect> {
        self.publisher.shown = report.shown;
        if let Life::Closing { status, .. } = self.life {
            return if self.publisher.is_done() { self.finish(status) } else { vec![] };
        }
        let lacked = self.lacks_quorum();
        self.quorum = report.quorum;
        let mut effects = vec![];
        if self.lacks_quorum() != lacked {
            effects.push(Effect::Tell(if lacked { Notice::QuorumBack } else { Notice::QuorumLost }));
            if let Life::Watching(watch) = self.life {
                effects.extend(self.look(now, watch, view));
            }
        }
        effects
    }

    fn publish(&mut self, now: u64, state: State, heard: u64) -> Option<Effect> {
        let record = self.rules.cmap.then(|| self.publisher.publish(now, state, heard)).flatten();
        record.map(Effect::Publish)
    }

    /// Answers what the instance waits for, and has cmap show what has changed.
    fn answer(&mut self, now: u64, watch: &Watch, view: &View, effects: &mut Vec<Effect>) {
        let (state, heard) = match watch.phase(view) {
            // Its heartbeats count no more either.
            Phase::Started if watch.decided != NEVER => (State::Running, watch.heard.max(watch.born)),
            Phase::Waiting => (State::Waiting, 0),
            // Nobody is to mind the age of what a debugger holds.
            Phase::Started if watch.traced => (State::Running, 0),
            Phase::Started => (State::Running, heard(now, watch, view)),
            Phase::Registered | Phase::Stopped | Phase::Finalized => (State::Stopped, 0),
        };
        effects.extend(self.publish(now, state, heard));
        if self.publisher.is_done() && self.answered.1 != view.since {
            self.answered.1 = view.since;
            effects.push(Effect::Show(view.since));
        }
        if state == State::Waiting && self.quorum == Quorum::Yes && self.answered.0 != view.since {
            self.answered.0 = view.since;
            effects.push(Effect::Admit(view.since));
        }
    }

    /// The signal that the instance wants to be warned by, or the last one that made sense.
    fn warning(&mut self, view: &View) -> i32 {
        if (0..=self.rules.last_signal).contains(&view.warn_signal) {
            self.warn_signal = view.warn_signal;
        }
        self.warn_signal
    }

    fn died(&mut self, now: u64, watch: Watch, status: Status, view: &View) -> Vec<Effect> {
        self.warning(view);
        self.last_status = status;
        let phase = watch.phase(view);
        let final_ = self.ending
            || self.rules.recovery == Recovery::Quit
            || phase != Phase::Started
            // To give up calls no recovery off: it is a failure all the same, so it counts at any time.
            || view.given_up;
        let mut effects =
            vec![Effect::Tell(Notice::Lost { id: self.id, pid: watch.pid, status, reason: watch.reason })];
        if self.rules.settings.kill_group {
            effects.push(Effect::EndGroup(self.id));
        }
        if final_ {
            // Who ends because it was told to has not failed.
            let obeyed = self.ending && watch.reason.is_none();
            let failed = self.rules.recovery == Recovery::Quit && phase == Phase::Started && !obeyed;
            let state = if failed || view.given_up { State::Failed } else { State::Gone };
            effects.extend(self.close(now, status, state));
            return effects;
        }
        match self.restarts.next(now, now.saturating_sub(watch.born)) {
            Ok(pause) => {
                effects.extend(self.publish(now, State::Stopped, 0));
                self.lost = now;
                // Ids are C ints to the programs that use them.
                self.id = if self.id >= i32::MAX as u32 { 0 } else { self.id + 1 };
                effects.extend(self.launch_after(now, pause));
            }
            Err(limit) => {
                effects.push(Effect::Tell(Notice::LimitReached { id: self.id, limit }));
                effects.extend(self.close(now, status, State::Failed));
            }
        }
        effects
    }

    fn launch_after(&mut self, now: u64, pause: u64) -> Vec<Effect> {
        if pause == 0 {
            return self.launch();
        }
        self.life = Life::Pausing;
        self.wake = now + pause;
        vec![Effect::Tell(Notice::Delayed { id: self.id, pause })]
    }

    /// Ends the supervisor, as soon as cmap shows how it ended.
    fn close(&mut self, now: u64, status: Status, state: State) -> Vec<Effect> {
        let id = self.id;
        let dropped = |held: Received| Effect::Tell(Notice::Dropped { id, signal: held.number });
        let mut effects: Vec<Effect> = self.held.drain(..).map(dropped).collect();
        if let Some(published) = self.publish(now, state, now) {
            let until = now.saturating_add(CLOSING);
            self.life = Life::Closing { status, until };
            self.wake = until;
            effects.push(published);
        } else {
            effects.extend(self.finish(status));
        }
        effects
    }

    fn finish(&mut self, status: Status) -> Vec<Effect> {
        self.life = Life::Finished;
        self.wake = NEVER;
        self.spare = Spare::Ready;
        vec![Effect::Finish(status)]
    }

    fn signal(&mut self, now: u64, received: Received, shared: bool, view: &View) -> Vec<Effect> {
        let signal = received.number;
        let news = ends(signal) && !self.ending;
        self.ending |= ends(signal);
        // Job control: the shell waits for the supervisor, which stops when the instance has stopped.
        if stops(signal) {
            self.stopping = Some(now);
        } else if signal == libc::SIGCONT {
            self.stopping = None;
            self.held.retain(|held| !stops(held.number));
        }
        match self.life {
            Life::Watching(ref mut watch) => {
                watch.hear(now, view);
                if signal == libc::SIGCONT && self.rules.interval != 0 && !watch.graced {
                    // The supervisor may have been stopped, and the instance with it. Or not: every process of
                    // the session may send this signal, the instance too.
                    watch.graced = true;
                    watch.grace = now.saturating_add(self.rules.interval);
                    self.wake = self.wake.max(watch.grace);
                }
                let (pid, age) = (watch.pid, now.saturating_sub(watch.born));
                let is_new = self.lost != 0 && age < FRESH && view.phase == Phase::Registered;
                if is_new && !ends(signal) && !stops(signal) && signal != libc::SIGCONT && !shared {
                    // As if it had arrived a moment ago, when there was no instance.
                    return self.hold(received).into_iter().collect();
                }
                let way = if shared { Way::Shared } else { self.way(received, age) };
                let mut effects = vec![];
                if way == Way::PassedOn {
                    effects.push(Effect::PassOn(received));
                    if ends(signal) {
                        self.last_word = Some((now, received));
                    }
                }
                if news {
                    effects.push(Effect::Tell(Notice::Final { id: self.id, pid, signal, way }));
                }
                effects
            }
            Life::Pausing if self.ending => {
                self.close(now, Status::Killed { signal, core: false }, State::Gone)
            }
            Life::Closing { .. } | Life::Finished => vec![],
            // Where the administrator says that every sender signals every process, this one is there and has it.
            Life::Left { .. } if !shared && self.way(received, 0) == Way::Withheld => vec![],
            Life::Launching | Life::Pausing | Life::Left { .. } => self.hold(received).into_iter().collect(),
        }
    }

    /// Returns how a signal that only the supervisor is known to have got comes to an instance of this age.
    fn way(&self, received: Received, age: u64) -> Way {
        // The administrator says that every sender signals the instance as well. The kernel does not; and an
        // instance that was just made may have been missed.
        let withheld = self.rules.settings.withhold_signals && !received.by_kernel;
        let missed = ends(received.number) && age < FRESH;
        if withheld && !missed { Way::Withheld } else { Way::PassedOn }
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
            self.held.iter().filter(|held| held.number >= FIRST_REAL_TIME).count() >= MOST_HELD
        };
        if !is_full && self.held.try_reserve(1).is_ok() {
            self.held.push(received);
            return None;
        }
        let is_first = !self.overflowed;
        self.overflowed = true;
        is_first.then_some(Effect::Tell(Notice::Dropped { id: self.id, signal }))
    }

    /// Passes held signals on that are to end the program: they are never put off. The others wait until the instance,
    /// which is there from `now` on, is started.
    fn pass_on_last_words(&mut self, now: u64, pid: i32) -> Vec<Effect> {
        let (last_words, held): (Vec<Received>, _) = self.held.drain(..).partition(|held| ends(held.number));
        self.held = held;
        self.held_look = (now + RETRY.0, RETRY.0 * 2);
        let mut effects = vec![];
        for received in last_words {
            self.last_word = Some((now, received));
            effects.push(Effect::PassOn(received));
            let signal = received.number;
            effects.push(Effect::Tell(Notice::Final { id: self.id, pid, signal, way: Way::PassedOn }));
        }
        effects
    }

    /// Passes held signals on to an instance that has got as far as `sam_start`.
    fn pass_on_held(&mut self, now: u64, view: &View, effects: &mut Vec<Effect>) {
        if self.held.is_empty() {
            return;
        }
        if matches!(view.phase, Phase::Started | Phase::Stopped | Phase::Waiting) {
            if self.held.iter().any(|held| stops(held.number)) {
                self.stopping = Some(now);
            }
            self.overflowed = false;
            effects.extend(self.held.drain(..).map(Effect::PassOn));
        } else if now >= self.held_look.0 {
            // sam_start wakes nobody.
            let pause = self.held_look.1;
            self.held_look = (now + pause, (pause * 2).min(RETRY.1));
        }
    }

    /// Returns `true` if the supervisor is to stop as the instance did, because a terminal's user told both to.
    fn is_stop_to_follow(&self, now: u64, signal: i32) -> bool {
        let Some(told) = self.stopping else { return false };
        stops(signal) || now < told.saturating_add(STOPPING)
    }
}

/// Returns `true` for the signals after which the end of the program is final.
pub fn ends(signal: i32) -> bool {
    matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT)
}

/// Returns `true` for the signals by which a terminal stops a program.
fn stops(signal: i32) -> bool {
    matches!(signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)
}

/// A stamp of the instance. One from the future was never true.
fn believed(now: u64, stamp: u64) -> u64 {
    if stamp <= now { stamp } else { 0 }
}

/// The last word of the instance.
fn heard(now: u64, watch: &Watch, view: &View) -> u64 {
    believed(now, view.since).max(believed(now, view.heartbeat)).max(watch.born).max(watch.released)
}

/// The supervisor was woken much later than it wanted: it did not see what the instance did meanwhile, and
/// whatever held it up may have held up the instance as well. It owes the instance the time that it was late, up
/// to an interval; once per word heard and stage.
fn grace_for_lateness(now: u64, late: u64, interval: u64, watch: &mut Watch) -> Option<u64> {
    if watch.graced || late <= interval / 4 {
        return None;
    }
    watch.graced = true;
    watch.grace = now.saturating_add(late.min(interval));
    Some(watch.grace)
}

#[cfg(test)]
mod tests;
