//! The state machine of a supervisor, and a model of its surroundings: the instance, its control page, the kernel and
//! corosync. The model allows exactly the acts that are possible in reality, and checks every answer of the machine
//! against the contract.

use super::{
    ABORT_GRACE, Config, FRESH, HANG_GRACE, HANG_SIGNAL, INTERVAL, NEVER, PATIENCE, PID, RESTART_PAUSE,
    RESTART_WINDOW, RESTARTS, SETTLED, START, TICK, WARN_SIGNAL,
    adapter::{Arrival, Blame, Deed, End, Fact, Found, Key, Line, Page, Phase, Quorum, Shown, Supervisor},
};

/// An act: something that happens in the surroundings. `Tick` may come at any time, as from the event loop. `Pass` is
/// time in which the supervisor does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// One step of the clock passes, and the supervisor does not run.
    Pass,
    /// The supervisor runs, and no time passes.
    Tick,
    /// Time passes until the supervisor wants to be woken, and the supervisor runs.
    Wake,
    /// As `Wake`, this number of steps later.
    WakeLate(u64),

    Heartbeat,
    Start,
    Stop,
    Finalize,
    Unhealthy,
    MarkFailed,
    WarnBy(i32),

    Die(End),
    /// The instance dies before the supervisor could forward this signal to it.
    MissAndDie(i32),
    /// The instance is a released spare that dies before it has taken over.
    SpareDiesFirst(End),
    /// The instance exits with 0, and this process continues in its place.
    Leave(Found),
    /// As `Leave`, before the supervisor could forward this signal.
    MissAndLeave(i32, Found),
    /// From now on the supervisor finds this process in place of the instance.
    NowFound(Found),
    /// A signal stops the instance.
    StopBy(i32),
    /// The kernel begins to write a core file of the instance.
    DumpCore,
    /// A debugger attaches to the instance.
    Attach,
    /// The debugger detaches.
    Detach,
    /// The instance changes to another user, so that the supervisor may not signal it.
    LeaveUser,
    /// The instance changes back to its first user.
    ReturnToUser,

    Launched,
    LaunchFailed,
    LaunchImpossible,
    SpareMade,
    SpareFailed,
    SpareDied,

    Arrives(Arrival),
    /// The watchdog of the service manager aborts the program.
    Abort,
    Partition(Quorum),
    /// cmap shows the record that was published last.
    CmapShows,

    /// The instance forges a word of its control page. The next acts do so, too.
    ForgePhase(Phase),
    ForgeSince(ForgedTime),
    ForgeHeartbeat(ForgedTime),
    ForgeUnhealthy(ForgedTime),
    ForgeWarnSignal(i32),
    ForgeMarkedFailed,
}

/// A time that an instance forges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgedTime {
    Never,
    Now,
    /// Two steps from now.
    Soon,
    /// A time in the far future.
    Far,
}

/// Marks a signal that the terminal has also sent to the instance.
const SHARED: bool = true;

const fn arrival(number: i32, shared: bool) -> Act {
    Act::Arrives(Arrival { number, shared })
}

const CRASH: End = End::Signal(libc::SIGSEGV, true);
const KILLED: End = End::Signal(libc::SIGKILL, false);
/// A real-time signal.
const REAL_TIME: i32 = 40;

pub const TIME: &[Act] = &[Act::Pass, Act::Tick, Act::Wake, Act::WakeLate(3), Act::WakeLate(7)];
/// The acts without which nothing else can happen.
pub const BASE: &[Act] = &[
    Act::Launched,
    Act::LaunchFailed,
    Act::SpareMade,
    Act::SpareFailed,
    Act::Start,
    Act::Die(CRASH),
    Act::Die(KILLED),
    Act::CmapShows,
];
pub const HEALTH: &[Act] = &[Act::Heartbeat, Act::Stop, Act::Unhealthy];
pub const ENDS_ITSELF: &[Act] = &[Act::Finalize, Act::MarkFailed];
pub const WARN_SIGNALS: &[Act] = &[Act::WarnBy(0), Act::WarnBy(libc::SIGKILL), Act::WarnBy(WARN_SIGNAL)];
pub const DEATHS: &[Act] = &[
    Act::Die(End::Exit(0)),
    Act::Die(End::Exit(3)),
    Act::Die(End::Unknown),
    Act::MissAndDie(libc::SIGHUP),
    Act::SpareDiesFirst(CRASH),
    Act::SpareDied,
];
pub const ADOPTION: &[Act] = &[
    Act::Leave(Found::Only),
    Act::Leave(Found::Several),
    Act::Leave(Found::OutOfReach),
    Act::MissAndLeave(libc::SIGTERM, Found::Several),
    Act::MissAndLeave(libc::SIGHUP, Found::Several),
    Act::NowFound(Found::None),
    Act::NowFound(Found::Only),
    Act::NowFound(Found::Caller),
    Act::LaunchImpossible,
];
pub const DEBUGGER: &[Act] = &[Act::Attach, Act::Detach];
pub const CORE: &[Act] = &[Act::DumpCore];
pub const USER: &[Act] = &[Act::LeaveUser, Act::ReturnToUser];
pub const TERM: &[Act] = &[arrival(libc::SIGTERM, !SHARED)];
pub const CONT: &[Act] = &[arrival(libc::SIGCONT, !SHARED)];
pub const SIGNALS: &[Act] = &[
    arrival(libc::SIGINT, SHARED),
    arrival(libc::SIGHUP, !SHARED),
    arrival(libc::SIGTSTP, SHARED),
    arrival(libc::SIGTSTP, !SHARED),
    arrival(REAL_TIME, !SHARED),
    Act::StopBy(libc::SIGTSTP),
    Act::StopBy(libc::SIGSTOP),
    Act::Abort,
];
pub const CLUSTER: &[Act] =
    &[Act::Partition(Quorum::Yes), Act::Partition(Quorum::No), Act::Partition(Quorum::Gone)];
pub const FORGERY: &[Act] = &[
    Act::ForgePhase(Phase::Registered),
    Act::ForgePhase(Phase::Waiting),
    Act::ForgePhase(Phase::Started),
    Act::ForgePhase(Phase::Stopped),
    Act::ForgePhase(Phase::Finalized),
    Act::ForgeSince(ForgedTime::Never),
    Act::ForgeSince(ForgedTime::Now),
    Act::ForgeSince(ForgedTime::Soon),
    Act::ForgeSince(ForgedTime::Far),
    Act::ForgeHeartbeat(ForgedTime::Never),
    Act::ForgeHeartbeat(ForgedTime::Now),
    Act::ForgeHeartbeat(ForgedTime::Soon),
    Act::ForgeHeartbeat(ForgedTime::Far),
    Act::ForgeUnhealthy(ForgedTime::Never),
    Act::ForgeUnhealthy(ForgedTime::Now),
    Act::ForgeUnhealthy(ForgedTime::Soon),
    Act::ForgeUnhealthy(ForgedTime::Far),
    Act::ForgeWarnSignal(0),
    Act::ForgeWarnSignal(-1),
    Act::ForgeWarnSignal(i32::MAX),
    Act::ForgeMarkedFailed,
];

/// A broken rule of the contract.
#[derive(Debug)]
pub struct Broken {
    pub rule: &'static str,
    pub detail: String,
}

const TWO: &str = "never two instances";
const FINAL: &str = "no restart after a final end, and a restart after any other";
const LOGGED: &str = "every loss is logged once";
const IN_TIME: &str = "no warning and no kill while heartbeats are in time";
const NO_WARNING: &str = "no kill without a warning an interval earlier";
const LATENESS: &str = "the supervisor's own lateness is added to the deadline";
const OUTLIVES: &str = "no instance outlives two intervals of silence";
const QUORUM: &str = "quorum loss: warned at once, killed after the grace";
const GRANTED: &str = "only quorum lets a waiting instance start";
const HELD: &str = "silence does not count while a debugger traces the instance";
const GRACE: &str = "SIGKILL follows the hang signal after the grace, not earlier and not later";
const SIGNALLED: &str = "no signal is lost, duplicated or sent without an instance";
const CMAP: &str = "cmap shows the true state";
const AWAKE: &str = "the machine wakes up in time and never spins";
const SHOWN: &str = "sam-status shows the true state";
const TRUE_LINE: &str = "log lines are true";
const ONE_SPARE: &str = "one spare at most, behind an instance that can be restarted";
const LIMITS: &str = "restarts respect their limit and their delay";
const ADOPTED: &str = "a process that continues in place of an instance is adopted, or ends the supervision";
const ABORTED: &str = "an aborted program ends after SIGTERM, and after SIGKILL a grace later";
const RETRIED: &str = "a refused kill is retried";
const LAST: &str = "the supervisor ends once, as its last instance ended";

/// Returns the broken rule from the calling function unless the condition holds.
macro_rules! must {
    ($holds:expr, $rule:expr, $($detail:tt)+) => {
        if !$holds {
            return Err(Broken { rule: $rule, detail: format!($($detail)+) });
        }
    };
}

type Checked = Result<(), Broken>;

/// The state of the supervisor according to the model. Times are in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Life {
    /// The machine has asked for an instance, and the fork is due.
    Launching,
    Lives,
    /// The instance exited with 0, and a process may continue in its place.
    Left {
        since: u64,
    },
    /// The next instance follows after a pause.
    Pausing {
        until: u64,
    },
    /// The supervisor waits until cmap shows the end.
    Closing {
        key: Key,
        end: End,
        until: u64,
    },
    Over,
}

/// The warm spare according to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Spare {
    None,
    Asked,
    Waits,
}

/// A warning for silence, or for "unhealthy". Times are in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Warning {
    at: u64,
    /// The last activity before the warning.
    activity_at: u64,
}

/// The instance according to the model. Times are in ns.
#[derive(Debug, Clone, Copy, Hash)]
struct Instance {
    /// The pid of the instance minus its id.
    pids: i32,
    forked_at: u64,
    /// True if the instance was a spare and may not have taken over yet.
    is_spare: bool,
    traced: bool,
    /// The time at which the supervisor last saw a debugger; 0: never.
    last_traced_at: u64,
    /// True if the supervisor saw a debugger when it last looked.
    was_traced: bool,
    dumping: bool,
    /// True if SIGKILL has been delivered.
    kill_delivered: bool,
    refuses: bool,
    refusal_logged: bool,
    retry_by: u64,
    /// The last activity: a heartbeat, or another word on the page.
    activity_at: u64,
    /// The time by which a silent instance must have been killed or sent the hang signal.
    kill_by: u64,
    /// True if the supervisor's lateness has already extended a deadline since the last activity or warning.
    extension_used: bool,
    /// The time before which the supervisor must not warn or kill.
    not_before: u64,
    activity: Shown,
    warning: Option<Warning>,
    /// The time of the warning for quorum loss.
    quorum_warned_at: u64,
    /// The time at which the supervisor decided to end the instance.
    decided_at: u64,
    /// The end of the grace after the hang signal.
    hang_grace_until: u64,
    /// The end of the grace after the service manager has aborted the program.
    abort_grace_until: u64,
    killed: bool,
    /// The reasons for which the instance was warned.
    warned_for: [bool; 3],
}

impl Instance {
    fn new(now: u64, is_spare: bool) -> Instance {
        Instance {
            pids: PID,
            forked_at: now,
            is_spare,
            traced: false,
            last_traced_at: 0,
            was_traced: false,
            dumping: false,
            kill_delivered: false,
            refuses: false,
            refusal_logged: false,
            retry_by: NEVER,
            activity_at: now,
            kill_by: NEVER,
            extension_used: false,
            not_before: 0,
            activity: Shown::Watched,
            warning: None,
            quorum_warned_at: NEVER,
            decided_at: NEVER,
            hang_grace_until: NEVER,
            abort_grace_until: NEVER,
            killed: false,
            warned_for: [false; 3],
        }
    }

    /// Returns the last activity as the supervisor counts it. The presence of a debugger counts as activity.
    fn last_activity(&self) -> u64 {
        self.activity_at.max(self.last_traced_at)
    }

    fn is_decided(&self) -> bool {
        self.decided_at != NEVER
    }

    fn is_aborted(&self) -> bool {
        self.abort_grace_until != NEVER
    }

    /// Notes activity of the instance.
    fn note_activity(&mut self, now: u64) {
        let is_news = now > self.last_activity();
        self.activity_at = now;
        self.kill_by = now + 2 * INTERVAL;
        if !is_news {
            return;
        }
        self.extension_used = false;
        self.not_before = 0;
    }
}

/// The effects and log events of one step of the machine.
#[derive(Debug, Default)]
struct Seen {
    /// The signal that the last log line announced.
    announced: Option<i32>,
    losses: u32,
    groups: u32,
    restarted: u32,
    finals: u32,
    aborted: bool,
    limit_reached: bool,
    launch_failed: Option<u64>,
    delayed: Option<u64>,
    launched: bool,
    finished: Option<End>,
    published: Option<Key>,
    forwarded: Option<i32>,
    inspects: bool,
    searches: bool,
    adopts: bool,
    out_of_reach: bool,
    suspends: bool,
    warned_for_silence: bool,
    warned_for_quorum: bool,
    quorum_logged: Option<bool>,
    traced_logged: Option<bool>,
    blame: Option<Blame>,
    refused: Vec<i32>,
}

#[derive(Debug, Clone, Hash)]
pub struct World {
    pub now: u64,
    pub config: Config,
    pub machine: Supervisor,
    life: Life,
    id: u32,
    instance: Instance,
    page: Page,
    found: Found,
    /// True if a termination signal arrived that no process could receive.
    undelivered_term: bool,
    last_end: End,
    spare: Spare,
    quorum: Quorum,
    /// The state that cmap shows.
    shown: Option<Key>,
    /// The state in cmap that was last reported to the supervisor, since it last published another state.
    reported: Option<Key>,
    /// The state published last, with `last_updated`, and the time of the publication.
    record: Option<(Key, u64)>,
    published_at: u64,
    /// The values of `since` for which the supervisor last granted a start and acknowledged a publication.
    granted: u64,
    acknowledged: u64,
    /// True if the program was told to end.
    told_to_end: bool,
    /// The time at which a terminal told the supervisor to stop; NEVER: it did not.
    stop_requested_at: u64,
    /// The numbers of signals that are held: SIGHUP, SIGTSTP, SIGCONT, real-time.
    pending: [u8; 4],
    /// The time of the last loss; 0: none.
    lost_at: u64,
    /// The times of the restarts that count for the limit; 0: none.
    restarts: [u64; RESTARTS],
    pause: u64,
    /// True if the instance has woken the supervisor. With quorum or cmap it does so when its phase changes.
    woken_by_instance: bool,
    /// True while the supervisor is awake: it has received an event, and will look at the instance before it sleeps
    /// again.
    awake: bool,
}

/// The acts and effects so far, as text for a report.
pub type Story<'a> = Option<&'a mut Vec<String>>;

impl World {
    /// Returns a supervisor whose first instance was just made.
    pub fn new(config: Config) -> Result<World, Broken> {
        let mut world = World {
            now: START,
            config,
            machine: Supervisor::new(config),
            life: Life::Launching,
            id: 1,
            instance: Instance::new(START, false),
            page: page(WARN_SIGNAL),
            found: Found::None,
            undelivered_term: false,
            last_end: End::Exit(0),
            spare: Spare::None,
            quorum: Quorum::Unknown,
            shown: None,
            reported: None,
            record: None,
            published_at: 0,
            granted: 0,
            acknowledged: 0,
            told_to_end: false,
            stop_requested_at: NEVER,
            pending: [0; 4],
            lost_at: 0,
            restarts: [0; RESTARTS],
            pause: 0,
            woken_by_instance: false,
            awake: false,
        };
        world.apply(Act::Launched, None)?;
        Ok(world)
    }

    fn pid(&self) -> i32 {
        self.instance.pids + self.id as i32
    }

    /// Returns the pid of the process that continues in place of the instance.
    fn next_pid(&self) -> i32 {
        let pids = if self.instance.pids == PID { 2 * PID } else { PID };
        pids + self.id as i32
    }

    fn lives(&self) -> bool {
        self.life == Life::Lives
    }

    fn lacks_quorum(&self) -> bool {
        self.config.quorum && matches!(self.quorum, Quorum::No | Quorum::Gone)
    }

    /// Returns the time between the warning for quorum loss and the kill.
    fn quorum_grace(&self) -> u64 {
        if self.config.interval { INTERVAL } else { PATIENCE }
    }

    /// Returns the phase that counts. The machine ignores what an instance writes after the decision to end it.
    fn phase(&self) -> Phase {
        if self.instance.is_decided() { Phase::Started } else { self.page.phase }
    }

    /// Returns `true` if this act is possible now.
    pub fn allows(&self, act: Act) -> bool {
        let config = &self.config;
        match self.life {
            Life::Over => return false,
            // The event loop makes an instance before it does anything else.
            Life::Launching => {
                return matches!(act, Act::Launched | Act::LaunchFailed | Act::LaunchImpossible);
            }
            _ => {}
        }
        if self.spare == Spare::Asked {
            return matches!(act, Act::SpareMade | Act::SpareFailed);
        }
        let instance = &self.instance;
        let lives = self.lives();
        let left = matches!(self.life, Life::Left { .. });
        let goes_on = left && self.found != Found::None;
        let writes = lives && !instance.kill_delivered && !instance.dumping;
        // A write at the moment of the decision may be seen before or after it.
        let is_in_doubt = instance.is_decided() && instance.decided_at == self.now;
        let can_call = (writes || goes_on) && !config.hostile && !is_in_doubt;
        let phase = self.page.phase;
        match act {
            Act::Pass | Act::Tick => true,
            Act::Wake | Act::WakeLate(_) => {
                !(self.woken_by_instance && act == Act::Wake)
                    && (self.awake || self.machine.wake_at().is_some_and(|at| at > self.now))
            }

            Act::Heartbeat => can_call && phase == Phase::Started && self.page.unhealthy != self.now,
            Act::Start => {
                let is_granted = phase == Phase::Waiting && self.granted == self.page.since;
                can_call && (matches!(phase, Phase::Registered | Phase::Stopped) || is_granted)
            }
            Act::Stop => can_call && phase == Phase::Started,
            Act::Finalize => can_call && phase != Phase::Finalized,
            Act::Unhealthy => {
                can_call
                    && config.interval
                    && phase == Phase::Started
                    && self.page.unhealthy < self.page.heartbeat
            }
            Act::MarkFailed => can_call && config.cmap && !matches!(phase, Phase::Finalized | Phase::Waiting),
            Act::WarnBy(signal) => can_call && self.page.warn_signal != signal,

            Act::Die(KILLED) => lives && instance.kill_delivered,
            Act::Die(CRASH) => lives && (!instance.kill_delivered || instance.dumping),
            Act::Die(_) | Act::MissAndDie(_) => writes,
            Act::SpareDiesFirst(_) => writes && instance.is_spare,
            Act::Leave(_) | Act::MissAndLeave(..) => writes,
            Act::NowFound(Found::None) => goes_on,
            Act::NowFound(Found::Only) => left && self.found == Found::Several,
            Act::NowFound(_) => left && matches!(self.found, Found::Only | Found::Several),
            Act::StopBy(_) => writes,
            Act::DumpCore => writes,
            Act::Attach => writes && !instance.traced,
            Act::Detach => lives && instance.traced,
            Act::LeaveUser => writes && !instance.refuses,
            Act::ReturnToUser => writes && instance.refuses,

            Act::Launched | Act::LaunchFailed | Act::LaunchImpossible => false,
            Act::SpareMade | Act::SpareFailed => false,
            Act::SpareDied => self.spare == Spare::Waits,

            // Two held signals are enough: more make no difference.
            Act::Arrives(arrival) => {
                (lives || !arrival.shared)
                    && class(arrival.number).is_none_or(|class| self.pending[class] < 2)
            }
            Act::Abort => true,
            Act::Partition(quorum) => (config.quorum || config.cmap) && quorum != self.quorum,
            Act::CmapShows => config.cmap && self.record.map(|(key, _)| key) != self.reported,

            Act::ForgePhase(forged) => writes && forged != phase,
            Act::ForgeSince(_) | Act::ForgeHeartbeat(_) | Act::ForgeUnhealthy(_) => writes,
            Act::ForgeWarnSignal(_) | Act::ForgeMarkedFailed => writes,
        }
    }

    /// Does an act, and checks how the machine reacts.
    pub fn apply(&mut self, act: Act, mut story: Story) -> Checked {
        let now = self.now;
        if let Some(story) = &mut story {
            story.push(format!("{:>7} ms  {act:?}", (now - START) / 1_000_000));
        }
        match act {
            Act::Tick => self.deliver(Fact::Tick, &mut story)?,
            Act::Pass | Act::Wake | Act::WakeLate(_) => {
                if self.tick_before_sleep(&mut story)? {
                    match act {
                        Act::WakeLate(ticks) => self.sleep(ticks),
                        Act::Wake => self.sleep(0),
                        _ => self.pass(1),
                    }
                    if act != Act::Pass {
                        self.deliver(Fact::Tick, &mut story)?;
                    }
                }
            }

            Act::Heartbeat => {
                self.page.heartbeat = now;
                self.instance.note_activity(now);
                self.successor_calls();
            }
            Act::Start if self.config.quorum && self.page.phase != Phase::Waiting => {
                self.enter(Phase::Waiting);
            }
            Act::Start => {
                self.page.heartbeat = now;
                self.enter(Phase::Started);
            }
            Act::Stop => self.enter(Phase::Stopped),
            Act::Finalize => self.enter(Phase::Finalized),
            Act::Unhealthy => {
                self.page.unhealthy = now;
                self.instance.kill_by = self.instance.kill_by.min(now + INTERVAL);
            }
            Act::MarkFailed => {
                self.page.marked_failed = true;
                self.instance.kill_delivered = true;
            }
            Act::WarnBy(signal) | Act::ForgeWarnSignal(signal) => {
                self.page.warn_signal = signal;
                self.instance.is_spare = false;
            }

            Act::Die(end) => self.deliver(Fact::Died(end), &mut story)?,
            Act::MissAndDie(signal) => {
                self.deliver(Fact::Missed(signal), &mut story)?;
                self.deliver(Fact::Died(CRASH), &mut story)?;
            }
            Act::SpareDiesFirst(end) => self.deliver(Fact::SpareDied(end), &mut story)?,
            Act::Leave(found) => {
                self.found = found;
                self.deliver(Fact::MayHaveDaemonized, &mut story)?;
            }
            Act::MissAndLeave(signal, found) => {
                self.found = found;
                self.deliver(Fact::Missed(signal), &mut story)?;
                self.deliver(Fact::MayHaveDaemonized, &mut story)?;
            }
            Act::NowFound(found) => self.found = found,
            Act::StopBy(signal) => self.deliver(Fact::StoppedBy(signal), &mut story)?,
            Act::DumpCore => self.instance.dumping = true,
            Act::Attach => self.instance.traced = true,
            Act::Detach => self.instance.traced = false,
            Act::LeaveUser => self.instance.refuses = true,
            Act::ReturnToUser => self.instance.refuses = false,

            Act::Launched => self.deliver(Fact::Launched(self.pid()), &mut story)?,
            Act::LaunchFailed => self.deliver(Fact::LaunchFailed, &mut story)?,
            Act::LaunchImpossible => self.deliver(Fact::LaunchImpossible, &mut story)?,
            Act::SpareMade => {
                self.spare = Spare::Waits;
                self.deliver(Fact::SpareMade, &mut story)?;
            }
            Act::SpareFailed | Act::SpareDied => {
                self.spare = Spare::None;
                self.deliver(Fact::SpareLost, &mut story)?;
            }

            Act::Abort => self.deliver(Fact::Aborted, &mut story)?,
            Act::Arrives(arrival) => self.deliver(Fact::Signal(arrival), &mut story)?,
            Act::Partition(quorum) => {
                self.quorum = quorum;
                self.deliver(Fact::Cluster(quorum, self.shown), &mut story)?;
            }
            Act::CmapShows => {
                self.shown = self.record.map(|(key, _)| key);
                self.deliver(Fact::Cluster(self.quorum, self.shown), &mut story)?;
            }

            Act::ForgePhase(phase) => {
                self.page.phase = phase;
                self.forged();
            }
            Act::ForgeSince(forged_time) => {
                self.page.since = self.forged_time(forged_time);
                self.forged();
            }
            Act::ForgeHeartbeat(forged_time) => {
                self.page.heartbeat = self.forged_time(forged_time);
                self.forged();
            }
            Act::ForgeUnhealthy(forged_time) => {
                self.page.unhealthy = self.forged_time(forged_time);
                self.forged();
            }
            Act::ForgeMarkedFailed => {
                self.page.marked_failed = !self.page.marked_failed;
                self.forged();
            }
        }
        self.check_rest()
    }

    /// Returns a forged time.
    fn forged_time(&self, forged_time: ForgedTime) -> u64 {
        match forged_time {
            ForgedTime::Never => 0,
            ForgedTime::Now => self.now,
            ForgedTime::Soon => self.now + 2 * TICK,
            ForgedTime::Far => u64::MAX >> 3,
        }
    }

    /// Notes that the instance forged a time. The time may count as activity as soon as it has come.
    fn forged(&mut self) {
        self.instance.note_activity(self.now);
        self.instance.kill_by += 2 * TICK;
    }

    /// Writes a phase to the page.
    fn enter(&mut self, phase: Phase) {
        (self.page.phase, self.page.since) = (phase, self.now);
        self.instance.is_spare = false;
        self.instance.note_activity(self.now);
        self.woken_by_instance = self.config.quorum || self.config.cmap;
        self.successor_calls();
    }

    /// Notes a call of the process that continues in place of the instance. The call tells the supervisor which process
    /// it is.
    fn successor_calls(&mut self) {
        if matches!(self.found, Found::Only | Found::Several) {
            self.found = Found::Caller;
        }
    }

    /// Gives the machine the tick that the event loop gives it after all other events, before it sleeps. Returns
    /// `false` if the supervisor has more to do then.
    fn tick_before_sleep(&mut self, story: &mut Story) -> Result<bool, Broken> {
        if self.awake {
            self.deliver(Fact::Tick, story)?;
            self.check_rest()?;
        }
        Ok(!self.awake && self.spare != Spare::Asked && self.life != Life::Over)
    }

    /// Lets time pass. Extends the deadline by the time that the supervisor overslept.
    fn pass(&mut self, ticks: u64) {
        let later = (self.now / TICK + ticks) * TICK;
        let wake = if self.woken_by_instance { self.now } else { self.machine.wake_at().unwrap_or(NEVER) };
        let overslept = later.saturating_sub(wake.max(self.now));
        self.now = later;
        let instance = &mut self.instance;
        if instance.kill_by != NEVER {
            instance.kill_by += 2 * overslept;
        }
    }

    /// Lets time pass until the machine wants to wake up, rounded up to steps of the clock, and `late` steps more.
    fn sleep(&mut self, late: u64) {
        let ticks = self.machine.wake_at().map_or(0, |wake| (wake - self.now).div_ceil(TICK));
        self.pass(ticks + late);
    }

    /// Gives an event to the machine, checks its effects, and gives it the events that follow from them.
    fn deliver(&mut self, fact: Fact, story: &mut Story) -> Checked {
        self.apply_event(fact);
        let before = self.machine.activity();
        let page = (self.lives() || matches!(self.life, Life::Left { .. })).then_some(self.page);
        let deeds = self.machine.step(self.now, fact, page.as_ref());
        let mut seen = Seen::default();
        let mut lines = vec![];
        for deed in deeds {
            if story.is_some() {
                lines.push(format!("{deed:?}"));
            }
            if let Err(broken) = self.check_deed(fact, before, deed, &mut seen) {
                if let Some(story) = story {
                    story.push(format!("              {fact:?} -> {}", lines.join(", ")));
                }
                return Err(broken);
            }
        }
        if let Some(story) = story {
            story.push(format!("              {fact:?} -> {}", lines.join(", ")));
        }
        self.check_step(fact, &seen)?;
        if seen.inspects {
            let Instance { traced, dumping, .. } = self.instance;
            self.deliver(Fact::Inspected { traced, dumping }, story)?;
        }
        if seen.searches {
            self.deliver(Fact::DaemonSearched(self.found, self.next_pid()), story)?;
        }
        if seen.adopts {
            self.deliver(Fact::Adopted(self.next_pid()), story)?;
        }
        for &signal in &seen.refused {
            self.deliver(Fact::Refused(signal), story)?;
        }
        self.awake = fact != Fact::Tick || self.life == Life::Launching;
        if fact == Fact::Tick {
            self.woken_by_instance = false;
            let wake = self.machine.wake_at();
            must!(
                wake.is_none_or(|at| at > self.now),
                AWAKE,
                "woken at its time, it wants to be woken {wake:?}"
            );
        }
        Ok(())
    }

    /// Applies an event to the model.
    fn apply_event(&mut self, fact: Fact) {
        let now = self.now;
        match fact {
            Fact::Launched(_) => {
                self.life = Life::Lives;
                self.instance = Instance::new(now, self.spare == Spare::Waits);
                self.page = page(self.page.warn_signal);
                self.spare = Spare::None;
                self.stop_requested_at = NEVER;
            }
            Fact::Adopted(pid) => {
                self.life = Life::Lives;
                self.found = Found::None;
                let instance = &mut self.instance;
                *instance = Instance {
                    pids: pid - self.id as i32,
                    // The silence is counted from now on.
                    kill_by: now + 2 * INTERVAL,
                    extension_used: true,
                    activity_at: instance.activity_at,
                    last_traced_at: if instance.was_traced { now } else { instance.last_traced_at },
                    ..Instance::new(instance.forked_at, false)
                };
            }
            Fact::Missed(libc::SIGTERM) | Fact::Aborted => self.told_to_end = true,
            Fact::Inspected { traced: true, .. } if self.config.hold => {
                let lacks_quorum = self.lacks_quorum();
                let instance = &mut self.instance;
                if now > instance.last_activity() {
                    instance.extension_used = false;
                }
                instance.last_traced_at = now;
                instance.kill_by = now + 2 * INTERVAL;
                let is_ending = instance.is_decided() || instance.is_aborted();
                if !is_ending && instance.quorum_warned_at == NEVER {
                    instance.activity = Shown::Watched;
                    instance.warning = None;
                } else if instance.hang_grace_until != NEVER && !instance.killed && !lacks_quorum {
                    instance.hang_grace_until = now + HANG_GRACE;
                }
            }
            Fact::Signal(Arrival { number, .. }) => match number {
                libc::SIGTERM | libc::SIGINT => self.told_to_end = true,
                libc::SIGTSTP => self.stop_requested_at = now,
                libc::SIGCONT => {
                    self.stop_requested_at = NEVER;
                    self.pending[1] = 0;
                    let instance = &mut self.instance;
                    if self.life == Life::Lives && self.config.interval && !instance.extension_used {
                        instance.kill_by = instance.kill_by.saturating_add(INTERVAL);
                    }
                }
                _ => {}
            },
            _ => {}
        }
        match fact {
            Fact::Inspected { traced, .. } => self.instance.was_traced = traced && self.config.hold,
            Fact::Cluster(_, shown) => self.reported = shown,
            _ => {}
        }
        // The supervisor looks at an instance that has lost quorum after the hang signal.
        if matches!(fact, Fact::Inspected { .. } | Fact::Cluster(..) | Fact::Tick) && self.lacks_quorum() {
            let until = now + self.quorum_grace();
            if self.instance.hang_grace_until != NEVER && !self.instance.killed {
                self.instance.hang_grace_until = self.instance.hang_grace_until.min(until);
            }
        }
    }

    /// Checks an effect of the machine.
    fn check_deed(&mut self, fact: Fact, before: (Shown, u64), deed: Deed, seen: &mut Seen) -> Checked {
        let (now, strict) = (self.now, !self.config.hostile);
        must!(self.life != Life::Over, LAST, "{deed:?} after the end");
        match deed {
            Deed::Launch { id, warn_signal } => {
                let died = matches!(fact, Fact::Died(_) | Fact::MayHaveDaemonized | Fact::DaemonSearched(..));
                if let Life::Left { since } = self.life {
                    self.check_nothing_continues(since)?;
                }
                must!(!self.lives() || died, TWO, "an instance is launched while another lives");
                must!(!seen.launched && self.life != Life::Launching, TWO, "two instances are launched");
                must!(
                    !matches!(self.life, Life::Closing { .. }),
                    FINAL,
                    "an instance is launched at the end"
                );
                if let Life::Pausing { until } = self.life {
                    must!(now >= until, LIMITS, "a restart before the end of the pause");
                }
                must!(id == self.id + u32::from(died), SHOWN, "instance {id} is launched");
                must!(
                    !strict || warn_signal == self.page.warn_signal,
                    SIGNALLED,
                    "the next instance has the warning signal {warn_signal}"
                );
                seen.launched = true;
            }
            Deed::MakeSpare => {
                let replaces = self.config.slow_fork && self.instance.activity == Shown::Warned;
                must!(
                    (self.config.standby || replaces) && self.config.restart,
                    ONE_SPARE,
                    "a spare is made without policy RESTART, or without SAM_STANDBY and without a warning"
                );
                must!(
                    self.lives() && !matches!(fact, Fact::Died(_)),
                    ONE_SPARE,
                    "a spare is made while no instance lives"
                );
                must!(self.spare == Spare::None, ONE_SPARE, "a second spare is made");
                self.spare = Spare::Asked;
            }
            Deed::DropSpare => {
                let is_called_off = self.page.phase != Phase::Started;
                let has_recovered = self.instance.activity == Shown::Watched || is_called_off;
                must!(
                    self.spare == Spare::Waits && !self.config.standby && has_recovered,
                    ONE_SPARE,
                    "a spare is dropped that may be needed"
                );
                self.spare = Spare::None;
            }
            Deed::FindDaemon => {
                must!(
                    matches!(self.life, Life::Left { .. }) || fact == Fact::MayHaveDaemonized,
                    ADOPTED,
                    "a process is searched while the instance lives"
                );
                seen.searches = true;
            }
            Deed::Adopt(pid) => {
                let Life::Left { since } = self.life else {
                    return Err(broken(TWO, format!("process {pid} is adopted while an instance lives")));
                };
                let is_settled =
                    self.found == Found::Only && now >= since + SETTLED && !self.awaits_heartbeat();
                must!(pid == self.next_pid(), ADOPTED, "process {pid} is adopted, which was not found");
                must!(
                    self.found == Found::Caller || is_settled,
                    ADOPTED,
                    "the candidate {:?} is adopted",
                    self.found
                );
                seen.adopts = true;
            }
            Deed::Send(signal) => self.check_sent(signal, seen)?,
            Deed::Forward(signal) => {
                must!(self.lives(), SIGNALLED, "signal {signal} is forwarded while no instance lives");
                let is_new = matches!(fact, Fact::Signal(Arrival { number, .. }) if number == signal);
                match class(signal) {
                    _ if is_new && seen.forwarded.is_none() => {}
                    // The instance may have exited before it could handle a signal that was forwarded to it.
                    None if matches!(fact, Fact::Adopted(_)) && self.told_to_end => {
                        self.undelivered_term = false
                    }
                    Some(class) if self.pending[class] > 0 => {
                        self.pending[class] -= 1;
                        if signal == libc::SIGTSTP {
                            self.stop_requested_at = now;
                        }
                    }
                    _ => must!(false, SIGNALLED, "signal {signal} is forwarded, but was not received"),
                }
                seen.forwarded = Some(signal);
                if self.instance.refuses {
                    seen.refused.push(signal);
                }
            }
            Deed::Inspect => {
                must!(self.lives(), TWO, "an inspection while no instance lives");
                seen.inspects = true;
            }
            Deed::KillGroup(id) => {
                must!(
                    id == self.id && self.config.kill_group && !seen.launched,
                    TWO,
                    "KillGroup for instance {id}"
                );
                seen.groups += 1;
            }
            Deed::Suspend => seen.suspends = true,
            Deed::GrantStart(since) => {
                let waits = self.page.phase == Phase::Waiting && since == self.page.since;
                must!(
                    self.lives() && self.quorum == Quorum::Yes,
                    GRANTED,
                    "a start is granted without quorum"
                );
                must!(
                    waits || !strict && self.page.since == since,
                    GRANTED,
                    "a start is granted, but no instance waits since {since}"
                );
                self.granted = since;
            }
            Deed::AckPublished(since) => {
                let shown = self.reported.is_some() && self.reported == self.record.map(|(key, _)| key);
                must!(self.lives() && shown, CMAP, "a publication is acknowledged that cmap does not show");
                self.acknowledged = since;
            }
            Deed::Publish(key, last_updated) => {
                must!(self.config.cmap, CMAP, "published without policy CMAP");
                must!(seen.published.is_none(), CMAP, "published twice");
                self.check_record(fact, key, last_updated, seen)?;
                if self.record.is_none_or(|(before, _)| before != key) {
                    self.reported = None;
                }
                seen.published = Some(key);
                self.published_at = now;
                self.record = Some((key, last_updated));
            }
            Deed::Finish(end) => {
                seen.finished = Some(end);
            }
            Deed::Log { line, id, pid } => {
                must!(seen.announced.is_none(), SIGNALLED, "a signal was logged and not sent");
                let is_named = id.is_none_or(|id| id == self.id || self.names_next(line, id));
                must!(is_named, TRUE_LINE, "the log line names instance {id:?}");
                must!(pid.is_none_or(|pid| pid == self.pid()), TRUE_LINE, "the log line names pid {pid:?}");
                self.check_line(fact, before, line, seen)?;
            }
        }
        Ok(())
    }

    fn awaits_heartbeat(&self) -> bool {
        self.page.phase == Phase::Started && self.config.interval
    }

    /// Checks a restart after an instance exited with 0: no process that has called the library may be left.
    fn check_nothing_continues(&self, since: u64) -> Checked {
        // The end of a program that was told to end is final, and is delayed only for a limited time.
        let waited = self.awaits_heartbeat() && self.now >= since + INTERVAL
            || self.told_to_end && self.now >= since + PATIENCE;
        let silent = self.found != Found::Caller && self.page.heartbeat <= since;
        must!(
            self.found == Found::None || waited && silent,
            TWO,
            "a restart while {:?} continues",
            self.found
        );
        Ok(())
    }

    /// Returns `true` if the log line is about the next instance, and `id` is the id of that instance.
    fn names_next(&self, line: Line, id: u32) -> bool {
        matches!(line, Line::Delayed { .. }) && id == self.id + 1
    }

    /// Checks a signal to the instance.
    fn check_sent(&mut self, signal: i32, seen: &mut Seen) -> Checked {
        must!(self.lives(), SIGNALLED, "signal {signal} is sent while no instance lives");
        let instance = &mut self.instance;
        if seen.announced.take() != Some(signal) {
            let again = instance.killed && instance.retry_by != NEVER && signal == libc::SIGKILL;
            must!(again, NO_WARNING, "signal {signal} is sent without a log line");
        }
        if instance.refuses {
            seen.refused.push(signal);
        } else if signal == libc::SIGKILL {
            instance.kill_delivered = true;
        }
        if signal == libc::SIGKILL {
            instance.retry_by = NEVER;
        }
        Ok(())
    }

    /// Checks a record for cmap.
    fn check_record(&mut self, fact: Fact, key: Key, last_updated: u64, seen: &Seen) -> Checked {
        let now = self.now;
        must!(self.record != Some((key, last_updated)), CMAP, "the same record is published again");
        must!(last_updated <= now, CMAP, "last_updated {last_updated} is in the future");
        let ended =
            matches!(fact, Fact::Died(_) | Fact::MayHaveDaemonized | Fact::SpareDied(_)) || !self.lives();
        match key {
            Key::Stopped | Key::Waiting => {
                must!(last_updated == 0, CMAP, "{key:?} with last_updated {last_updated}, expected 0")
            }
            Key::Failed => {
                must!(ended && last_updated == now, CMAP, "failed with last_updated {last_updated}")
            }
            Key::Gone => must!(ended, CMAP, "keys removed while an instance lives"),
            Key::Running if self.config.hostile => {}
            Key::Running => {
                must!(!ended, CMAP, "running after the end");
                let instance = &self.instance;
                let real = if !self.config.interval || instance.was_traced && !instance.is_decided() {
                    last_updated == 0
                } else if instance.is_decided() {
                    last_updated <= instance.last_activity()
                } else {
                    last_updated == instance.last_activity()
                };
                must!(real, CMAP, "last_updated {last_updated} is not the last heartbeat");
                if self.record.is_some_and(|(before, _)| before == Key::Running) {
                    must!(
                        now >= self.published_at + TICK,
                        CMAP,
                        "published twice within a step of the clock"
                    );
                }
            }
        }
        if !ended && !self.config.hostile {
            must!(key == self.key(), CMAP, "{key:?} is published in phase {:?}", self.phase());
        }
        must!(!ended || !seen.launched, CMAP, "the end is published after the launch");
        Ok(())
    }

    /// Returns the state that cmap must show of a living instance.
    fn key(&self) -> Key {
        match self.phase() {
            Phase::Started => Key::Running,
            Phase::Waiting => Key::Waiting,
            Phase::Registered | Phase::Stopped | Phase::Finalized => Key::Stopped,
        }
    }

    /// Checks a log event.
    fn check_line(&mut self, fact: Fact, before: (Shown, u64), line: Line, seen: &mut Seen) -> Checked {
        let (now, config) = (self.now, self.config);
        let strict = !config.hostile;
        let page = self.page;
        let (lacks_quorum, quorum_grace, phase) = (self.lacks_quorum(), self.quorum_grace(), self.phase());
        let started = phase == Phase::Started;
        let instance = &mut self.instance;
        let activity_at = instance.last_activity();
        let in_pause = matches!(self.life, Life::Pausing { .. }) && matches!(line, Line::ToldToEnd { .. });
        let about_instance = !in_pause
            && !matches!(
                line,
                Line::QuorumLost
                    | Line::QuorumBack
                    | Line::Delayed { .. }
                    | Line::LaunchFailed { .. }
                    | Line::LimitReached
                    | Line::SignalDropped { .. }
                    | Line::NoMoreProcesses
                    | Line::Other
            );
        let is_there = matches!(self.life, Life::Lives | Life::Left { .. });
        must!(!about_instance || is_there, TRUE_LINE, "{line:?} while no instance lives");
        match line {
            Line::Warned { silent, signal } => {
                must!(
                    config.interval && started && !instance.is_decided(),
                    IN_TIME,
                    "the instance is not health-checked"
                );
                if strict {
                    must!(instance.activity == Shown::Watched, IN_TIME, "the instance was already warned");
                    must!(
                        now >= activity_at + INTERVAL,
                        IN_TIME,
                        "warned after {} ms of silence",
                        (now - activity_at) / 1_000_000
                    );
                    must!(
                        !(config.hold && instance.traced),
                        HELD,
                        "warned while a debugger traces the instance"
                    );
                    must!(now >= instance.not_before, LATENESS, "warned before the extended deadline");
                    let late = now - (activity_at + INTERVAL);
                    must!(
                        instance.extension_used || late <= INTERVAL / 4,
                        LATENESS,
                        "warned by a late supervisor without an extension"
                    );
                    must!(silent == now - activity_at, TRUE_LINE, "the log line says silent for {silent} ns");
                    must!(
                        signal == page.warn_signal,
                        TRUE_LINE,
                        "the log line says warned by signal {signal}"
                    );
                }
                instance.warning = Some(Warning { at: now, activity_at });
                instance.activity = Shown::Warned;
                (instance.extension_used, instance.not_before) = (false, 0);
                instance.warned_for[Blame::Silent as usize] = true;
                seen.warned_for_silence = true;
                seen.announced = Some(signal).filter(|&signal| signal != 0);
            }
            Line::Unhealthy => {
                must!(
                    config.interval && started && !instance.is_decided(),
                    IN_TIME,
                    "the instance is not health-checked"
                );
                let at = page.unhealthy;
                must!(
                    at > 0 && at <= now && (!strict || at >= activity_at),
                    IN_TIME,
                    "the instance is healthy"
                );
                must!(
                    !(strict && config.hold && instance.traced) || at == now,
                    HELD,
                    "warned while a debugger traces the instance"
                );
                instance.warning = Some(Warning { at, activity_at });
                instance.activity = Shown::Warned;
                instance.warned_for[Blame::Unhealthy as usize] = true;
            }
            Line::Recovered { silent, at } => {
                let Some(warning) = instance.warning else {
                    return Err(broken(TRUE_LINE, "recovered without a warning".to_owned()));
                };
                if strict {
                    must!(activity_at > warning.activity_at, TRUE_LINE, "recovered without a heartbeat");
                    must!(
                        silent == activity_at - warning.activity_at && at == warning.at,
                        TRUE_LINE,
                        "the log line says silent for {silent} ns"
                    );
                }
                instance.warning = None;
                instance.activity = Shown::Watched;
            }
            Line::Killed { silent, signal } => {
                must!(
                    config.interval && started && !instance.is_decided(),
                    IN_TIME,
                    "the instance is not health-checked"
                );
                let Some(warning) = instance.warning else {
                    return Err(broken(NO_WARNING, "killed without a warning".to_owned()));
                };
                must!(
                    now >= warning.at + INTERVAL,
                    NO_WARNING,
                    "killed {} ns after the warning",
                    now - warning.at
                );
                if strict {
                    must!(
                        activity_at <= warning.activity_at,
                        IN_TIME,
                        "killed despite a heartbeat after the warning"
                    );
                    must!(
                        !(config.hold && instance.traced),
                        HELD,
                        "killed while a debugger traces the instance"
                    );
                    must!(now >= instance.not_before, LATENESS, "killed before the extended deadline");
                    let late = now - (warning.at + INTERVAL);
                    let extension_used =
                        instance.extension_used || instance.warned_for[Blame::Unhealthy as usize];
                    must!(
                        extension_used || late <= INTERVAL / 4,
                        LATENESS,
                        "killed by a late supervisor without an extension"
                    );
                    must!(silent == now - activity_at, TRUE_LINE, "the log line says silent for {silent} ns");
                }
                must!(
                    !matches!(before.0, Shown::Warned) || now >= before.1,
                    SHOWN,
                    "killed before the shown deadline {before:?}"
                );
                must!(
                    signal == if config.hang { HANG_SIGNAL } else { libc::SIGKILL },
                    GRACE,
                    "the log line says sent signal {signal}"
                );
                instance.decided_at = now;
                instance.activity = Shown::Ending;
                if config.hang {
                    instance.hang_grace_until = now + HANG_GRACE;
                } else {
                    instance.killed = true;
                }
                seen.warned_for_silence = true;
                seen.announced = Some(signal);
            }
            Line::KilledAfterHangSignal { dumping } => {
                must!(
                    instance.hang_grace_until != NEVER && !instance.killed,
                    GRACE,
                    "killed for the grace, but no hang signal was sent"
                );
                must!(
                    now >= instance.hang_grace_until,
                    GRACE,
                    "killed {} ns before the end of the grace",
                    instance.hang_grace_until - now
                );
                must!(dumping == instance.dumping, TRUE_LINE, "the log line says dumping: {dumping}");
                instance.killed = true;
                seen.announced = Some(libc::SIGKILL);
            }
            Line::Aborted => {
                must!(fact == Fact::Aborted, TRUE_LINE, "the log line says aborted");
                must!(!instance.is_aborted() && !instance.killed, ABORTED, "aborted twice");
                instance.abort_grace_until = now + ABORT_GRACE;
                instance.hang_grace_until = NEVER;
                instance.activity = Shown::Ending;
                seen.aborted = true;
                seen.announced = Some(libc::SIGTERM);
            }
            Line::KilledAfterAbort => {
                must!(instance.is_aborted() && !instance.killed, ABORTED, "killed, but not aborted");
                must!(now >= instance.abort_grace_until, ABORTED, "killed before the end of the grace");
                instance.killed = true;
                seen.announced = Some(libc::SIGKILL);
            }
            Line::QuorumWarning { signal } => {
                must!(!instance.is_aborted(), ABORTED, "warned after the abort");
                must!(lacks_quorum && started, QUORUM, "warned while quorate or not started");
                must!(!instance.is_decided() && instance.quorum_warned_at == NEVER, QUORUM, "warned twice");
                must!(
                    !strict || signal == page.warn_signal,
                    TRUE_LINE,
                    "the log line says warned by signal {signal}"
                );
                instance.quorum_warned_at = now;
                instance.activity = Shown::Warned;
                instance.warned_for[Blame::NoQuorum as usize] = true;
                seen.warned_for_quorum = true;
                seen.announced = Some(signal).filter(|&signal| signal != 0);
            }
            Line::KilledForQuorum => {
                must!(instance.quorum_warned_at != NEVER && started, QUORUM, "killed without a warning");
                must!(!instance.is_decided(), QUORUM, "killed twice");
                must!(now >= instance.quorum_warned_at + quorum_grace, QUORUM, "killed too early");
                instance.decided_at = now;
                instance.activity = Shown::Ending;
                instance.killed = true;
                seen.announced = Some(libc::SIGKILL);
            }
            Line::Traced(traced) => {
                must!(
                    config.hold && traced == instance.traced,
                    TRUE_LINE,
                    "the log line says traced: {traced}"
                );
                must!(seen.traced_logged.is_none(), TRUE_LINE, "logged twice");
                seen.traced_logged = Some(traced);
            }
            Line::SignalRefused { signal } => {
                must!(
                    fact == Fact::Refused(signal) && !instance.refusal_logged,
                    TRUE_LINE,
                    "the log line says signal {signal} was refused"
                );
                instance.refusal_logged = true;
            }
            Line::ToldToEnd { signal } => {
                must!(
                    matches!(signal, libc::SIGTERM | libc::SIGINT),
                    TRUE_LINE,
                    "the log line says told to end by signal {signal}"
                );
                seen.finals += 1;
            }
            Line::SignalDropped { signal } => {
                if signal == libc::SIGTERM && self.undelivered_term {
                    self.undelivered_term = false;
                    return Ok(());
                }
                let class = class(signal).filter(|&class| self.pending[class] > 0);
                must!(class.is_some(), SIGNALLED, "signal {signal} is dropped and was not held");
                class.into_iter().for_each(|class| self.pending[class] -= 1);
            }
            Line::QuorumLost => seen.quorum_logged = Some(false),
            Line::QuorumBack => seen.quorum_logged = Some(true),
            Line::Lost { end, blame, planned } => {
                let left =
                    matches!(fact, Fact::MayHaveDaemonized | Fact::DaemonSearched(..)) && end == End::Exit(0);
                must!(
                    left || fact == Fact::Died(end),
                    LOGGED,
                    "the log line says an instance was lost by {end:?}"
                );
                must!(
                    blame.is_none_or(|blame| instance.warned_for[blame as usize]),
                    TRUE_LINE,
                    "the log line gives the reason {blame:?}, for which there was no warning"
                );
                must!(blame.is_some() || !instance.is_decided(), TRUE_LINE, "the log line gives no reason");
                let said = end == End::Exit(0) && phase != Phase::Started;
                let crashed = matches!(end, End::Signal(signal, _) if signal != libc::SIGTERM);
                let as_told = self.told_to_end && !crashed;
                must!(
                    planned == (blame.is_none() && !page.marked_failed && (said || as_told)),
                    TRUE_LINE,
                    "the log line says planned: {planned}"
                );
                seen.losses += 1;
                seen.blame = blame;
            }
            Line::Restarted { took } => {
                must!(
                    self.lost_at != 0 && took == now - self.lost_at,
                    TRUE_LINE,
                    "the log line says restarted in {took} ns"
                );
                seen.restarted += 1;
            }
            Line::LaunchFailed { pause } => seen.launch_failed = Some(pause),
            Line::Delayed { pause } => seen.delayed = Some(pause),
            Line::LimitReached => seen.limit_reached = true,
            Line::MayHaveDaemonized => must!(
                self.life != Life::Lives,
                TRUE_LINE,
                "the log line says the instance may have daemonized, but it lives"
            ),
            Line::Adopted { before } => {
                must!(fact == Fact::Adopted(self.pid()), TRUE_LINE, "adoption logged without the event");
                must!(before == self.next_pid(), TRUE_LINE, "the log line says the pid was {before} before");
            }
            Line::OutOfReach => {
                must!(
                    self.found == Found::OutOfReach,
                    TRUE_LINE,
                    "the log line says out of reach, found is {:?}",
                    self.found
                );
                seen.out_of_reach = true;
            }
            Line::NoMoreProcesses => must!(
                fact == Fact::LaunchImpossible,
                TRUE_LINE,
                "the log line says no more processes, but the launch is possible"
            ),
            Line::Other => {}
        }
        Ok(())
    }

    /// Checks a loss: how it is logged, and what follows.
    fn check_loss(&mut self, end: End, seen: &Seen) -> Checked {
        must!(seen.losses == 1, LOGGED, "the loss is logged {} times", seen.losses);
        self.last_end = end;
        self.found = Found::None;
        self.check_death(end, seen)
    }

    /// Checks the effects of a step as a whole.
    fn check_step(&mut self, fact: Fact, seen: &Seen) -> Checked {
        let (now, config) = (self.now, self.config);
        let ends = matches!(
            fact,
            Fact::Died(_) | Fact::MayHaveDaemonized | Fact::DaemonSearched(..) | Fact::SpareDied(_)
        );
        must!(seen.announced.is_none(), SIGNALLED, "a signal was logged and not sent");
        must!(
            seen.quorum_logged.is_none() || matches!(fact, Fact::Cluster(..)),
            TRUE_LINE,
            "a quorum change is logged without a report"
        );
        let may_be_told_to_end = matches!(fact, Fact::Signal(_) | Fact::Adopted(_) | Fact::Aborted);
        must!(
            seen.finals == 0 || may_be_told_to_end,
            TRUE_LINE,
            "a termination signal is logged without one"
        );
        match fact {
            Fact::Died(end) => self.check_loss(end, seen)?,
            Fact::MayHaveDaemonized if seen.searches => {
                let may_go_on =
                    !matches!(self.phase(), Phase::Stopped | Phase::Finalized) && !self.page.marked_failed;
                must!(
                    may_go_on && !self.instance.is_decided() && !self.instance.is_aborted(),
                    ADOPTED,
                    "a process is searched although the instance was to end"
                );
                self.life = Life::Left { since: now };
            }
            Fact::MayHaveDaemonized => {
                let may_go_on = matches!(self.phase(), Phase::Registered | Phase::Waiting | Phase::Started)
                    && self.instance.warned_for == [false; 3]
                    && !(self.page.unhealthy > 0 && self.page.unhealthy >= self.instance.last_activity());
                must!(
                    self.told_to_end || self.page.marked_failed || !may_go_on,
                    ADOPTED,
                    "no process is searched"
                );
                self.undelivered_term = false;
                self.check_loss(End::Exit(0), seen)?;
            }
            Fact::DaemonSearched(..) if seen.losses > 0 => {
                if let Life::Left { since } = self.life {
                    self.check_nothing_continues(since)?;
                }
                // No process is left that could receive the signal.
                self.undelivered_term = false;
                self.check_loss(End::Exit(0), seen)?;
            }
            Fact::DaemonSearched(..) if seen.out_of_reach => {
                must!(seen.groups == u32::from(config.kill_group), TWO, "KillGroup {} times", seen.groups);
                self.forget_instance();
                self.check_end(End::Exit(0), Key::Gone, seen)?;
            }
            Fact::DaemonSearched(found, _) => {
                must!(found != Found::None, ADOPTED, "no process was found, and no loss is logged");
                must!(found != Found::Caller || seen.adopts, ADOPTED, "the caller is not adopted");
            }
            Fact::Adopted(_) => must!(
                !self.undelivered_term,
                SIGNALLED,
                "the adopted process does not receive the termination signal"
            ),
            Fact::LaunchImpossible => {
                let key = if self.told_to_end { Key::Gone } else { Key::Failed };
                self.check_end(self.last_end, key, seen)?;
            }
            Fact::SpareDied(end) => self.check_spare_death(end, seen)?,
            Fact::Launched(_) => {
                let expected = u32::from(self.lost_at != 0);
                must!(seen.restarted == expected, LOGGED, "a restart is logged {} times", seen.restarted);
                must!(!seen.launched, TWO, "an instance is launched");
            }
            Fact::LaunchFailed => {
                let pause = seen.launch_failed.unwrap_or(0);
                must!((1..=PATIENCE).contains(&pause), LOGGED, "a failed launch is retried after {pause} ns");
                self.life = Life::Pausing { until: now + pause };
            }
            Fact::Aborted if self.lives() => {
                let is_new = seen.aborted;
                must!(is_new || self.instance.is_aborted() || self.instance.killed, ABORTED, "not aborted");
            }
            Fact::Aborted => self.check_arrival(Arrival { number: libc::SIGTERM, shared: false }, seen)?,
            Fact::Signal(arrival) => self.check_arrival(arrival, seen)?,
            Fact::Missed(signal) => {
                self.undelivered_term |= signal == libc::SIGTERM;
                self.hold(signal);
            }
            Fact::StoppedBy(signal) => {
                let follows = self.stop_requested_at != NEVER
                    && (signal == libc::SIGTSTP || now < self.stop_requested_at.saturating_add(PATIENCE));
                must!(
                    seen.suspends == follows,
                    SIGNALLED,
                    "the supervisor suspends itself: {}",
                    seen.suspends
                );
            }
            Fact::Refused(libc::SIGKILL) if self.instance.killed => self.instance.retry_by = now + PATIENCE,
            Fact::Cluster(..) => self.check_report(seen)?,
            Fact::Tick => self.check_tick(seen)?,
            _ => {}
        }
        if !ends && fact != Fact::Tick {
            must!(!seen.launched, TWO, "an instance is launched");
        }
        must!(seen.groups == 0 || ends, TWO, "KillGroup without a death");
        must!(
            !seen.suspends || matches!(fact, Fact::StoppedBy(_)),
            SIGNALLED,
            "the supervisor suspends itself"
        );
        if matches!(fact, Fact::Tick | Fact::Inspected { .. }) && self.lives() && !seen.inspects {
            self.check_look(seen)?;
        }
        if seen.finished.is_some() {
            must!(!self.lives() && self.life == Life::Over, LAST, "the supervisor ends before its time");
        }
        self.check_answers()
    }

    /// Checks the end of an instance, apart from how it is logged.
    fn check_death(&mut self, end: End, seen: &Seen) -> Checked {
        let (now, config) = (self.now, self.config);
        let started = self.phase() == Phase::Started;
        let is_final = self.told_to_end || !config.restart || !started || self.page.marked_failed;
        must!(seen.groups == u32::from(config.kill_group), TWO, "KillGroup {} times", seen.groups);
        if config.hostile && self.instance.is_decided() && !is_final && seen.finished.is_some() {
            // The instance forged the time of an end that it announced too late.
            self.life = Life::Over;
            return Ok(());
        }
        let ran = now - self.instance.forked_at;
        let ended_on_request = self.told_to_end && seen.blame.is_none();
        let failed = self.page.marked_failed || !config.restart && started && !ended_on_request;
        self.forget_instance();
        if is_final {
            must!(!seen.launched && seen.delayed.is_none(), FINAL, "restarted after a final end");
            return self.check_end(end, if failed { Key::Failed } else { Key::Gone }, seen);
        }
        self.lost_at = now;
        let Some(pause) = self.next_restart(ran) else {
            must!(seen.limit_reached && !seen.launched, LIMITS, "restarted too often");
            return self.check_end(end, Key::Failed, seen);
        };
        self.id += 1;
        must!(!seen.limit_reached && seen.finished.is_none(), FINAL, "not restarted");
        must!(
            !config.cmap || self.record.is_some_and(|(key, _)| key == Key::Stopped),
            CMAP,
            "cmap does not show stopped between two instances"
        );
        if pause == 0 {
            must!(seen.launched, FINAL, "not restarted");
            self.life = Life::Launching;
        } else {
            must!(
                seen.delayed == Some(pause),
                LIMITS,
                "a delay of {:?} ns, expected {pause} ns",
                seen.delayed
            );
            self.life = Life::Pausing { until: now + pause };
        }
        Ok(())
    }

    /// Checks the death of a spare that was released and had not taken over.
    fn check_spare_death(&mut self, end: End, seen: &Seen) -> Checked {
        must!(!seen.launched, TWO, "an instance is launched without a pause");
        must!(seen.groups == u32::from(self.config.kill_group), TWO, "KillGroup {} times", seen.groups);
        self.forget_instance();
        if self.told_to_end {
            return self.check_end(end, Key::Gone, seen);
        }
        if self.next_restart(0).is_none() {
            must!(seen.limit_reached, LIMITS, "retried beyond the restart limit");
            return self.check_end(end, Key::Failed, seen);
        }
        let pause = seen.launch_failed.unwrap_or(0);
        must!(
            (1..=PATIENCE).contains(&pause),
            LOGGED,
            "the death of a spare is followed by a retry after {pause} ns"
        );
        self.life = Life::Pausing { until: self.now + pause };
        Ok(())
    }

    /// Resets the model to no instance.
    fn forget_instance(&mut self) {
        self.instance = Instance::new(START, false);
        self.page = page(self.page.warn_signal);
    }

    /// Returns the delay before the next restart in ns, or `None` if the restart limit is reached.
    fn next_restart(&mut self, ran: u64) -> Option<u64> {
        if self.config.limit {
            let free = self.restarts.iter_mut().find(|at| self.now - **at >= RESTART_WINDOW)?;
            *free = self.now;
        }
        if self.config.delay {
            let did_well = self.pause == 0 || ran / 10 >= self.pause;
            self.pause = if did_well { RESTART_PAUSE.0 } else { (2 * self.pause).min(RESTART_PAUSE.1) };
        }
        Some(self.pause)
    }

    /// Checks the end of the supervisor.
    fn check_end(&mut self, end: End, key: Key, seen: &Seen) -> Checked {
        must!(!seen.launched, FINAL, "an instance is launched");
        must!(self.pending == [0; 4], SIGNALLED, "held signals are not logged as dropped");
        if self.config.cmap {
            must!(
                seen.published == Some(key),
                CMAP,
                "published {:?} at the end, expected {key:?}",
                seen.published
            );
            must!(seen.finished.is_none(), CMAP, "the supervisor ends before cmap can show the end");
            self.life = Life::Closing { key, end, until: self.now + PATIENCE };
        } else {
            must!(
                seen.finished == Some(end),
                LAST,
                "the supervisor ends with {:?}, expected {end:?}",
                seen.finished
            );
            self.life = Life::Over;
        }
        Ok(())
    }

    /// Notes that the supervisor holds a signal.
    fn hold(&mut self, signal: i32) {
        if let Some(class) = class(signal) {
            let most = if signal == REAL_TIME { u8::MAX } else { 1 };
            self.pending[class] = (self.pending[class] + 1).min(most);
        }
    }

    /// Checks the reaction to a signal that the supervisor received.
    fn check_arrival(&mut self, arrival: Arrival, seen: &Seen) -> Checked {
        let (now, config, signal) = (self.now, self.config, arrival.number);
        let ends = matches!(signal, libc::SIGTERM | libc::SIGINT);
        match self.life {
            Life::Lives => {
                let instance = &mut self.instance;
                if signal == libc::SIGCONT && config.interval && !instance.extension_used {
                    instance.extension_used = true;
                    instance.not_before = now + INTERVAL;
                }
                let is_fresh = now - instance.forked_at < FRESH;
                let may_wait = class(signal).is_some_and(|class| class == 0 || class == 3)
                    && self.lost_at != 0
                    && is_fresh
                    && (self.page.phase == Phase::Registered);
                let forwarded = seen.forwarded == Some(signal);
                if arrival.shared {
                    must!(
                        !forwarded,
                        SIGNALLED,
                        "forwarded, although the terminal has sent it to the instance"
                    );
                } else if config.withhold && !(ends && is_fresh) && !may_wait {
                    must!(!forwarded, SIGNALLED, "forwarded despite SAM_FORWARD_SIGNALS=0");
                } else if may_wait {
                    must!(!forwarded, SIGNALLED, "forwarded before the instance has started");
                    self.hold(signal);
                } else {
                    must!(forwarded, SIGNALLED, "signal {signal} is not forwarded");
                }
            }
            Life::Pausing { .. } if self.told_to_end => {
                self.check_end(End::Signal(signal, false), Key::Gone, seen)?;
            }
            Life::Left { .. } => {
                self.undelivered_term |= ends;
                if !config.withhold {
                    self.hold(signal);
                }
            }
            Life::Pausing { .. } => self.hold(signal),
            Life::Launching | Life::Closing { .. } | Life::Over => {
                must!(seen.forwarded.is_none(), SIGNALLED, "forwarded while no instance lives");
            }
        }
        Ok(())
    }

    /// Checks the reaction to a report of the cluster helper.
    fn check_report(&mut self, seen: &Seen) -> Checked {
        if let Life::Closing { key, end, .. } = self.life {
            let finished = (self.shown == Some(key)).then_some(end);
            must!(
                seen.finished == finished,
                LAST,
                "the supervisor ends with {:?} while cmap shows {:?}",
                seen.finished,
                self.shown
            );
            if finished.is_some() {
                self.life = Life::Over;
            }
            return Ok(());
        }
        if seen.quorum_logged == Some(false) && self.lives() && self.page.phase == Phase::Started {
            let instance = &self.instance;
            let seen_to =
                instance.quorum_warned_at != NEVER || instance.is_decided() || instance.is_aborted();
            must!(seen_to, QUORUM, "quorum is lost, and the instance is not warned");
        }
        self.check_look_again(seen)
    }

    /// Checks the reaction to a tick.
    fn check_tick(&mut self, seen: &Seen) -> Checked {
        let now = self.now;
        match self.life {
            Life::Pausing { until } => {
                must!(seen.launched == (now >= until), LIMITS, "an instance is launched: {}", seen.launched);
                if seen.launched {
                    self.life = Life::Launching;
                }
            }
            Life::Closing { end, until, .. } => {
                let finished = (now >= until).then_some(end);
                must!(
                    seen.finished == finished,
                    LAST,
                    "the supervisor ends with {:?}, expected {finished:?}",
                    seen.finished
                );
                if finished.is_some() {
                    self.life = Life::Over;
                }
            }
            Life::Lives => {
                must!(!seen.launched, TWO, "an instance is launched while another lives");
                let handles_signals =
                    matches!(self.page.phase, Phase::Started | Phase::Stopped | Phase::Waiting);
                must!(
                    !handles_signals || self.pending == [0; 4],
                    SIGNALLED,
                    "signals are still held: {:?}",
                    self.pending
                );
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks what follows when the supervisor has looked at the instance.
    fn check_look(&mut self, seen: &Seen) -> Checked {
        let (now, config) = (self.now, self.config);
        let (started, lacks_quorum) = (self.page.phase == Phase::Started, self.lacks_quorum());
        let instance = &mut self.instance;
        if started && lacks_quorum && !config.hostile {
            let seen_to =
                instance.quorum_warned_at != NEVER || instance.is_decided() || instance.is_aborted();
            must!(seen_to, QUORUM, "the instance is started without quorum, and not warned");
        }
        let is_ending = instance.is_decided() || instance.is_aborted() || instance.quorum_warned_at != NEVER;
        let health_checked = started && config.interval && !is_ending;
        if health_checked && !seen.warned_for_silence && !instance.extension_used {
            let due = instance.warning.map_or(instance.last_activity(), |warning| warning.at) + INTERVAL;
            if now >= due {
                // The supervisor was late, so it extends the deadline by that time.
                instance.extension_used = true;
                instance.not_before = now + (now - due).min(INTERVAL);
            }
        }
        self.check_look_again(seen)
    }

    /// Updates the model when the supervisor has looked, or may have looked, at the instance.
    fn check_look_again(&mut self, seen: &Seen) -> Checked {
        let instance = &mut self.instance;
        let looked = self.life == Life::Lives && !seen.inspects;
        if looked && !instance.is_decided() && self.page.phase != Phase::Started {
            // A report of the cluster helper that changes nothing leads to no look.
            let (activity, _) = self.machine.activity();
            if matches!(activity, Shown::Watched | Shown::Held) {
                instance.activity = Shown::Watched;
                instance.warning = None;
                instance.quorum_warned_at = NEVER;
            }
        }
        Ok(())
    }

    /// Checks the answers to a living instance, and the state in cmap.
    fn check_answers(&self) -> Checked {
        if !self.lives() || self.config.hostile {
            return Ok(());
        }
        if self.config.quorum && self.phase() == Phase::Waiting && self.quorum == Quorum::Yes {
            must!(
                self.granted == self.page.since,
                GRANTED,
                "the partition is quorate, and the instance still waits"
            );
        }
        if self.config.cmap {
            let record = self.record.map(|(key, _)| key);
            must!(record == Some(self.key()), CMAP, "cmap shows {record:?} in phase {:?}", self.phase());
            must!(
                self.reported != record || self.acknowledged == self.page.since,
                CMAP,
                "the publication of the phase is not acknowledged"
            );
        }
        Ok(())
    }

    /// Checks the rules that hold whenever the supervisor sleeps or could sleep.
    fn check_rest(&self) -> Checked {
        let (now, config) = (self.now, &self.config);
        let wake = self.machine.wake_at();
        let sleeps = wake.is_none_or(|at| at > now) && !self.woken_by_instance && !self.awake;
        let (activity, until) = self.machine.activity();
        must!(
            self.machine.id() == self.id,
            SHOWN,
            "the machine shows instance {}, expected {}",
            self.machine.id(),
            self.id
        );
        must!(
            self.machine.end_is_final() == self.told_to_end,
            SHOWN,
            "the machine shows told to end: {}",
            self.machine.end_is_final()
        );
        match self.life {
            Life::Launching => {
                must!((activity, until) == (Shown::Launching, 0), SHOWN, "{activity:?} until {until}")
            }
            Life::Left { since } => {
                must!((activity, until) == (Shown::Launching, 0), SHOWN, "{activity:?} until {until}");
                must!(
                    wake.is_some_and(|at| at <= now + PATIENCE),
                    ADOPTED,
                    "wake-up at {wake:?} while a process is searched"
                );
                let limit = if self.awaits_heartbeat() { INTERVAL } else { PATIENCE };
                let begin = since.max(self.page.since);
                let is_limited =
                    self.awaits_heartbeat() || self.told_to_end || self.found == Found::OutOfReach;
                must!(
                    !sleeps || !is_limited || now < begin + limit + PATIENCE,
                    ADOPTED,
                    "a process is searched for too long"
                );
            }
            Life::Pausing { until: end } => {
                must!((activity, until) == (Shown::Pausing, end), SHOWN, "{activity:?} until {until}");
                must!(wake == Some(end), AWAKE, "wake-up at {wake:?} in a pause until {end}");
            }
            Life::Closing { until: end, .. } => {
                must!((activity, until) == (Shown::Over, 0), SHOWN, "{activity:?} until {until}");
                must!(wake == Some(end), AWAKE, "wake-up at {wake:?}, expected at the end {end}");
            }
            Life::Over => {
                must!((activity, until) == (Shown::Over, 0), SHOWN, "{activity:?} until {until}");
                must!(wake.is_none(), AWAKE, "wake-up at {wake:?} after the end");
            }
            Life::Lives => {}
        }
        if !self.lives() {
            return Ok(());
        }
        let instance = &self.instance;
        let started = self.page.phase == Phase::Started;
        if config.interval && !instance.is_decided() && !instance.is_aborted() {
            must!(
                wake.is_some_and(|at| at <= now + INTERVAL),
                AWAKE,
                "wake-up at {wake:?}, later than an interval from now"
            );
        }
        if self.pending != [0; 4] {
            must!(
                wake.is_some_and(|at| at <= now + PATIENCE),
                SIGNALLED,
                "wake-up at {wake:?} while signals are held"
            );
        }
        if sleeps {
            must!(
                now < instance.retry_by || instance.kill_delivered,
                RETRIED,
                "a refused kill is not retried"
            );
            if instance.hang_grace_until != NEVER && !instance.killed {
                must!(now < instance.hang_grace_until, GRACE, "the instance outlives the grace");
            }
            if instance.is_aborted() && !instance.killed {
                must!(now < instance.abort_grace_until, ABORTED, "the instance outlives the grace");
            }
            // A quorum loss has a deadline of its own.
            let not_checked = config.hold && instance.traced
                || instance.is_decided()
                || instance.is_aborted()
                || instance.kill_delivered
                || instance.quorum_warned_at != NEVER;
            if config.interval && started && !not_checked {
                must!(
                    now < instance.kill_by,
                    OUTLIVES,
                    "the instance lives {} ns longer than it may",
                    now - instance.kill_by
                );
            }
            if started
                && instance.quorum_warned_at != NEVER
                && !instance.is_decided()
                && !instance.is_aborted()
                && !instance.kill_delivered
            {
                must!(
                    now < instance.quorum_warned_at + self.quorum_grace(),
                    QUORUM,
                    "the instance outlives the grace after a quorum loss"
                );
            }
            if config.cmap && self.phase() == Phase::Started && config.interval && !config.hostile {
                let said = self.record.map_or(0, |(_, last_updated)| last_updated);
                let unseen = instance.is_decided() || instance.traced || instance.was_traced;
                let due = instance.last_activity().max(self.published_at) + TICK;
                // When a debugger has just detached, the next heartbeat is published.
                let soon = wake.is_some_and(|at| at <= now + TICK);
                let known = unseen || said >= instance.last_activity() || now <= due || soon;
                must!(known, CMAP, "the last heartbeat is not published");
            }
        }
        self.check_activity(activity, until, wake)
    }

    /// Checks the activity that sam-status shows.
    fn check_activity(&self, activity: Shown, until: u64, wake: Option<u64>) -> Checked {
        if self.config.hostile {
            return Ok(());
        }
        let instance = &self.instance;
        let goes_on = instance.quorum_warned_at != NEVER
            || instance.is_aborted()
            || instance.killed
            || instance.hang_grace_until != NEVER && self.lacks_quorum();
        let expected = if instance.was_traced && !goes_on { Shown::Held } else { instance.activity };
        must!(activity == expected, SHOWN, "the machine shows {activity:?}, expected {expected:?}");
        let deadline = match activity {
            Shown::Warned if instance.quorum_warned_at != NEVER => {
                instance.quorum_warned_at + self.quorum_grace()
            }
            Shown::Warned => instance.warning.map_or(0, |warning| warning.at + INTERVAL),
            Shown::Ending if instance.killed => 0,
            Shown::Ending if instance.is_aborted() => instance.abort_grace_until,
            Shown::Ending => instance.hang_grace_until,
            _ => 0,
        };
        // The supervisor's lateness and SIGCONT may extend the deadline.
        let put_off = activity == Shown::Warned && until > deadline && until <= self.now + INTERVAL;
        must!(
            until == deadline || put_off,
            SHOWN,
            "the machine shows {activity:?} until {until}, expected {deadline}"
        );
        if until != 0 && !self.awake {
            must!(
                wake.is_some_and(|at| at <= until),
                AWAKE,
                "wake-up at {wake:?}, after the deadline {until} of {activity:?}"
            );
        }
        Ok(())
    }
}

fn broken(rule: &'static str, detail: String) -> Broken {
    Broken { rule, detail }
}

/// Returns the page of an instance that has not written to it.
fn page(warn_signal: i32) -> Page {
    Page { phase: Phase::Registered, since: 0, heartbeat: 0, unhealthy: 0, warn_signal, marked_failed: false }
}

/// Returns the index in `World::pending` for a signal that may be held.
fn class(signal: i32) -> Option<usize> {
    match signal {
        libc::SIGHUP => Some(0),
        libc::SIGTSTP => Some(1),
        libc::SIGCONT => Some(2),
        REAL_TIME => Some(3),
        _ => None,
    }
}
