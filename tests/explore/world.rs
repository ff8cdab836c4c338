//! A supervisor's state machine with a small model of the truth around it: the instance, its page, the kernel and
//! corosync. The model does what is possible and nothing else, and holds every answer of the machine against the
//! contract.

use super::{
    Config, FRESH, HANG_GRACE, HANG_SIGNAL, INTERVAL, NEVER, PATIENCE, PID, RESTART_PAUSE, RESTART_WINDOW,
    RESTARTS, SETTLED, START, TICK, WARN_SIGNAL,
    adapter::{Arrival, Blame, Deed, End, Fact, Found, Key, Line, Page, Phase, Quorum, Shown, Supervisor},
};

/// Something that happens. `Tick` comes at any time, as in the event loop; `Pass` is time without the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// One tick of the clock passes, and the supervisor does not run.
    Pass,
    /// The supervisor runs.
    Tick,
    /// Time passes until the supervisor wants to be woken, and it runs.
    Wake,
    /// As Wake, so many ticks late.
    WakeLate(u64),

    Heartbeat,
    Start,
    Stop,
    Finalize,
    Unhealthy,
    MarkFailed,
    WarnBy(i32),

    Die(End),
    /// A signal arrives whose receiver was dead by then.
    MissAndDie(i32),
    /// The instance was a spare that ends before it takes over.
    SpareDiesFirst(End),
    /// The instance exits with 0, and this goes on in its place.
    Leave(Found),
    /// As Leave, where a signal arrives whose receiver was dead by then.
    MissAndLeave(i32, Found),
    /// Now this goes on in its place.
    NowFound(Found),
    /// A signal stops the instance.
    StopBy(i32),
    /// The kernel begins to write a core file of the instance.
    DumpCore,
    Attach,
    Detach,
    /// The instance becomes another user: the supervisor may not send it signals.
    LeaveUser,
    /// The instance becomes what it was.
    ReturnToUser,

    Launched,
    LaunchFailed,
    LaunchImpossible,
    SpareMade,
    SpareFailed,
    SpareDied,

    Arrives(Arrival),
    Partition(Quorum),
    /// cmap shows what was published last.
    CmapShows,

    /// The instance writes what it likes.
    ForgePhase(Phase),
    ForgeSince(Stamp),
    ForgeHeartbeat(Stamp),
    ForgeUnhealthy(Stamp),
    ForgeWarnSignal(i32),
    ForgeMarkedFailed,
}

/// A time that an instance forges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    Never,
    Now,
    /// Two ticks from now.
    Soon,
    Far,
}

const SHARED: bool = true;

const fn arrival(number: i32, shared: bool) -> Act {
    Act::Arrives(Arrival { number, shared })
}

const CRASH: End = End::Signal(libc::SIGSEGV, true);
const KILLED: End = End::Signal(libc::SIGKILL, false);
/// A real-time signal.
const REAL_TIME: i32 = 40;

pub const TIME: &[Act] = &[Act::Pass, Act::Tick, Act::Wake, Act::WakeLate(3), Act::WakeLate(7)];
/// What must happen for anything else to go on.
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
];
pub const CLUSTER: &[Act] =
    &[Act::Partition(Quorum::Yes), Act::Partition(Quorum::No), Act::Partition(Quorum::Gone)];
pub const FORGERY: &[Act] = &[
    Act::ForgePhase(Phase::Registered),
    Act::ForgePhase(Phase::Waiting),
    Act::ForgePhase(Phase::Started),
    Act::ForgePhase(Phase::Stopped),
    Act::ForgePhase(Phase::Finalized),
    Act::ForgeSince(Stamp::Never),
    Act::ForgeSince(Stamp::Now),
    Act::ForgeSince(Stamp::Soon),
    Act::ForgeSince(Stamp::Far),
    Act::ForgeHeartbeat(Stamp::Never),
    Act::ForgeHeartbeat(Stamp::Now),
    Act::ForgeHeartbeat(Stamp::Soon),
    Act::ForgeHeartbeat(Stamp::Far),
    Act::ForgeUnhealthy(Stamp::Never),
    Act::ForgeUnhealthy(Stamp::Now),
    Act::ForgeUnhealthy(Stamp::Soon),
    Act::ForgeUnhealthy(Stamp::Far),
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
const QUORUM: &str = "quorum lost: warned at once, killed when the time is up";
const ADMITTED: &str = "quorum, and nothing else, lets a waiting instance start";
const HELD: &str = "a debugger holds the silence";
const GRACE: &str = "the grace after the hang signal is kept, and no longer";
const SIGNALLED: &str = "no signal is lost, doubled or sent to nobody";
const CMAP: &str = "cmap shows what is";
const AWAKE: &str = "the machine wakes in time and never spins";
const SHOWN: &str = "what operators are shown is true";
const TRUE_LINE: &str = "a log line tells the truth";
const ONE_SPARE: &str = "one spare at most, behind an instance that can be restarted";
const LIMITS: &str = "restarts keep to their limit and their pauses";
const ADOPTED: &str =
    "a process that goes on in the place of an instance is adopted, or ends the supervision";
const RETRIED: &str = "a kill that was refused is tried again";
const LAST: &str = "the supervisor ends once, as its last instance ended";

macro_rules! must {
    ($holds:expr, $rule:expr, $($detail:tt)+) => {
        if !$holds {
            return Err(Broken { rule: $rule, detail: format!($($detail)+) });
        }
    };
}

type Checked = Result<(), Broken>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Life {
    /// An instance was asked for, and the answer is due.
    Launching,
    Lives,
    /// It exited with 0, and something may go on in its place.
    Left {
        since: u64,
    },
    /// The next one is made after a pause.
    Pausing {
        until: u64,
    },
    /// cmap is to show the end first.
    Closing {
        key: Key,
        end: End,
        until: u64,
    },
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Spare {
    None,
    Asked,
    Waits,
}

/// A warning for silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Warning {
    at: u64,
    /// The last word before it.
    word: u64,
}

/// The instance. Times in ns.
#[derive(Debug, Clone, Copy, Hash)]
struct Instance {
    /// Its pid is this and its number.
    pids: i32,
    born: u64,
    /// It was a spare and may not have taken over yet.
    is_spare: bool,
    traced: bool,
    /// When the supervisor last saw a debugger; 0: never.
    seen_traced: u64,
    /// What it saw last.
    known_traced: bool,
    dumping: bool,
    /// SIGKILL has reached it.
    doomed: bool,
    refuses: bool,
    refusal_told: bool,
    retry_by: u64,
    /// Its last heartbeat, or another word.
    word: u64,
    /// When it must have been killed or sent the hang signal, if it stays silent.
    kill_by: u64,
    /// The supervisor's lateness put a deadline off already since the last word or warning.
    excused: bool,
    /// No warning and no kill before this time.
    owed: u64,
    mood: Shown,
    warning: Option<Warning>,
    /// When it was warned for want of quorum.
    condemned: u64,
    /// When the supervisor decided to end it.
    decided: u64,
    /// Until when it may live after the hang signal.
    struck_until: u64,
    killed: bool,
    /// It was warned for this.
    blamed: [bool; 3],
}

impl Instance {
    fn new(now: u64, is_spare: bool) -> Instance {
        Instance {
            pids: PID,
            born: now,
            is_spare,
            traced: false,
            seen_traced: 0,
            known_traced: false,
            dumping: false,
            doomed: false,
            refuses: false,
            refusal_told: false,
            retry_by: NEVER,
            word: now,
            kill_by: NEVER,
            excused: false,
            owed: 0,
            mood: Shown::Watched,
            warning: None,
            condemned: NEVER,
            decided: NEVER,
            struck_until: NEVER,
            killed: false,
            blamed: [false; 3],
        }
    }

    /// Its last word as the supervisor counts: a debugger's presence is one.
    fn last_word(&self) -> u64 {
        self.word.max(self.seen_traced)
    }

    fn is_decided(&self) -> bool {
        self.decided != NEVER
    }

    /// It speaks for itself.
    fn speaks(&mut self, now: u64) {
        let is_news = now > self.last_word();
        self.word = now;
        self.kill_by = now + 2 * INTERVAL;
        if !is_news {
            return;
        }
        self.excused = false;
        self.owed = 0;
    }
}

/// What the machine asked for and said in one step.
#[derive(Debug, Default)]
struct Seen {
    /// The signal that the last log line announced.
    announced: Option<i32>,
    losses: u32,
    groups: u32,
    restarted: u32,
    finals: u32,
    limit_reached: bool,
    launch_failed: Option<u64>,
    delayed: Option<u64>,
    launched: bool,
    finished: Option<End>,
    published: Option<Key>,
    passed_on: Option<i32>,
    inspects: bool,
    seeks: bool,
    adopts: bool,
    strayed: bool,
    suspends: bool,
    warned_for_silence: bool,
    warned_for_quorum: bool,
    quorum_told: Option<bool>,
    traced_told: Option<bool>,
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
    /// A signal that is to end the program arrived when its process was gone.
    unheard_end: bool,
    last_end: End,
    spare: Spare,
    quorum: Quorum,
    /// What cmap shows, what was published last, and when.
    shown: Option<Key>,
    /// What the supervisor was told that cmap shows, since it last published another state.
    reported: Option<Key>,
    record: Option<(Key, u64)>,
    recorded: u64,
    /// The wait and the phase that were answered last.
    admitted: u64,
    answered: u64,
    /// Somebody told the program to end.
    told: bool,
    /// When a terminal told it to stop; NEVER: it did not.
    stopping: u64,
    /// Signals that were not passed on yet: SIGHUP, SIGTSTP, SIGCONT, real-time.
    pending: [u8; 4],
    /// The last loss; 0: none.
    lost: u64,
    /// The restarts that count for the limit; 0: none.
    restarts: [u64; RESTARTS],
    pause: u64,
    /// The instance has rung for the supervisor: with quorum or cmap it does when its phase changes.
    rung: bool,
    /// The supervisor is awake: it has been told something, and will look at the instance before it sleeps again.
    awake: bool,
}

/// What happened, for people.
pub type Story<'a> = Option<&'a mut Vec<String>>;

impl World {
    /// A supervisor whose first instance was just made.
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
            unheard_end: false,
            last_end: End::Exit(0),
            spare: Spare::None,
            quorum: Quorum::Unknown,
            shown: None,
            reported: None,
            record: None,
            recorded: 0,
            admitted: 0,
            answered: 0,
            told: false,
            stopping: NEVER,
            pending: [0; 4],
            lost: 0,
            restarts: [0; RESTARTS],
            pause: 0,
            rung: false,
            awake: false,
        };
        world.apply(Act::Launched, None)?;
        Ok(world)
    }

    fn pid(&self) -> i32 {
        self.instance.pids + self.id as i32
    }

    /// The pid of what goes on in its place.
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

    fn reprieve(&self) -> u64 {
        if self.config.interval { INTERVAL } else { PATIENCE }
    }

    /// The phase that counts: what an instance says after the decision to end it does not.
    fn phase(&self) -> Phase {
        if self.instance.is_decided() { Phase::Started } else { self.page.phase }
    }

    /// Returns `true` if this can happen now.
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
        let writes = lives && !instance.doomed && !instance.dumping;
        // What is said at the moment of a decision might be said before or after it.
        let is_in_doubt = instance.is_decided() && instance.decided == self.now;
        let speaks = (writes || goes_on) && !config.hostile && !is_in_doubt;
        let phase = self.page.phase;
        match act {
            Act::Pass | Act::Tick => true,
            Act::Wake | Act::WakeLate(_) => {
                !(self.rung && act == Act::Wake)
                    && (self.awake || self.machine.wake_at().is_some_and(|at| at > self.now))
            }

            Act::Heartbeat => speaks && phase == Phase::Started && self.page.unhealthy != self.now,
            Act::Start => {
                let is_admitted = phase == Phase::Waiting && self.admitted == self.page.since;
                speaks && (matches!(phase, Phase::Registered | Phase::Stopped) || is_admitted)
            }
            Act::Stop => speaks && phase == Phase::Started,
            Act::Finalize => speaks && phase != Phase::Finalized,
            Act::Unhealthy => {
                speaks
                    && config.interval
                    && phase == Phase::Started
                    && self.page.unhealthy < self.page.heartbeat
            }
            Act::MarkFailed => speaks && config.cmap && !matches!(phase, Phase::Finalized | Phase::Waiting),
            Act::WarnBy(signal) => speaks && self.page.warn_signal != signal,

            Act::Die(KILLED) => lives && instance.doomed,
            Act::Die(CRASH) => lives && (!instance.doomed || instance.dumping),
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

            // Beyond a few they are all the same.
            Act::Arrives(arrival) => {
                (lives || !arrival.shared)
                    && class(arrival.number).is_none_or(|class| self.pending[class] < 2)
            }
            Act::Partition(quorum) => (config.quorum || config.cmap) && quorum != self.quorum,
            Act::CmapShows => config.cmap && self.record.map(|(key, _)| key) != self.reported,

            Act::ForgePhase(forged) => writes && forged != phase,
            Act::ForgeSince(_) | Act::ForgeHeartbeat(_) | Act::ForgeUnhealthy(_) => writes,
            Act::ForgeWarnSignal(_) | Act::ForgeMarkedFailed => writes,
        }
    }

    /// Does it, and checks what the machine makes of it.
    pub fn apply(&mut self, act: Act, mut story: Story) -> Checked {
        let now = self.now;
        if let Some(story) = &mut story {
            story.push(format!("{:>7} ms  {act:?}", (now - START) / 1_000_000));
        }
        match act {
            Act::Tick => self.tell(Fact::Tick, &mut story)?,
            Act::Pass | Act::Wake | Act::WakeLate(_) => {
                if self.dozes(&mut story)? {
                    match act {
                        Act::WakeLate(ticks) => self.sleep(ticks),
                        Act::Wake => self.sleep(0),
                        _ => self.pass(1),
                    }
                    if act != Act::Pass {
                        self.tell(Fact::Tick, &mut story)?;
                    }
                }
            }

            Act::Heartbeat => {
                self.page.heartbeat = now;
                self.instance.speaks(now);
                self.heir_calls();
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
                self.instance.doomed = true;
            }
            Act::WarnBy(signal) | Act::ForgeWarnSignal(signal) => {
                self.page.warn_signal = signal;
                self.instance.is_spare = false;
            }

            Act::Die(end) => self.tell(Fact::Died(end), &mut story)?,
            Act::MissAndDie(signal) => {
                self.tell(Fact::Missed(signal), &mut story)?;
                self.tell(Fact::Died(CRASH), &mut story)?;
            }
            Act::SpareDiesFirst(end) => self.tell(Fact::SpareDied(end), &mut story)?,
            Act::Leave(found) => {
                self.found = found;
                self.tell(Fact::MayHaveDaemonized, &mut story)?;
            }
            Act::MissAndLeave(signal, found) => {
                self.found = found;
                self.tell(Fact::Missed(signal), &mut story)?;
                self.tell(Fact::MayHaveDaemonized, &mut story)?;
            }
            Act::NowFound(found) => self.found = found,
            Act::StopBy(signal) => self.tell(Fact::StoppedBy(signal), &mut story)?,
            Act::DumpCore => self.instance.dumping = true,
            Act::Attach => self.instance.traced = true,
            Act::Detach => self.instance.traced = false,
            Act::LeaveUser => self.instance.refuses = true,
            Act::ReturnToUser => self.instance.refuses = false,

            Act::Launched => self.tell(Fact::Launched(self.pid()), &mut story)?,
            Act::LaunchFailed => self.tell(Fact::LaunchFailed, &mut story)?,
            Act::LaunchImpossible => self.tell(Fact::LaunchImpossible, &mut story)?,
            Act::SpareMade => {
                self.spare = Spare::Waits;
                self.tell(Fact::SpareMade, &mut story)?;
            }
            Act::SpareFailed | Act::SpareDied => {
                self.spare = Spare::None;
                self.tell(Fact::SpareLost, &mut story)?;
            }

            Act::Arrives(arrival) => self.tell(Fact::Signal(arrival), &mut story)?,
            Act::Partition(quorum) => {
                self.quorum = quorum;
                self.tell(Fact::Cluster(quorum, self.shown), &mut story)?;
            }
            Act::CmapShows => {
                self.shown = self.record.map(|(key, _)| key);
                self.tell(Fact::Cluster(self.quorum, self.shown), &mut story)?;
            }

            Act::ForgePhase(phase) => {
                self.page.phase = phase;
                self.forged();
            }
            Act::ForgeSince(stamp) => {
                self.page.since = self.stamp(stamp);
                self.forged();
            }
            Act::ForgeHeartbeat(stamp) => {
                self.page.heartbeat = self.stamp(stamp);
                self.forged();
            }
            Act::ForgeUnhealthy(stamp) => {
                self.page.unhealthy = self.stamp(stamp);
                self.forged();
            }
            Act::ForgeMarkedFailed => {
                self.page.marked_failed = !self.page.marked_failed;
                self.forged();
            }
        }
        self.check_rest()
    }

    fn stamp(&self, stamp: Stamp) -> u64 {
        match stamp {
            Stamp::Never => 0,
            Stamp::Now => self.now,
            Stamp::Soon => self.now + 2 * TICK,
            Stamp::Far => u64::MAX >> 3,
        }
    }

    /// A stamp counts as soon as its time has come.
    fn forged(&mut self) {
        self.instance.speaks(self.now);
        self.instance.kill_by += 2 * TICK;
    }

    fn enter(&mut self, phase: Phase) {
        (self.page.phase, self.page.since) = (phase, self.now);
        self.instance.is_spare = false;
        self.instance.speaks(self.now);
        self.rung = self.config.quorum || self.config.cmap;
        self.heir_calls();
    }

    /// A call of what goes on in the place of the instance tells which process it is.
    fn heir_calls(&mut self) {
        if matches!(self.found, Found::Only | Found::Several) {
            self.found = Found::Caller;
        }
    }

    /// The supervisor goes to sleep: the event loop gives the machine a tick after all other events. Returns `false` if
    /// there is more to do then.
    fn dozes(&mut self, story: &mut Story) -> Result<bool, Broken> {
        if self.awake {
            self.tell(Fact::Tick, story)?;
            self.check_rest()?;
        }
        Ok(!self.awake && self.spare != Spare::Asked && self.life != Life::Over)
    }

    fn pass(&mut self, ticks: u64) {
        let later = (self.now / TICK + ticks) * TICK;
        let wake = if self.rung { self.now } else { self.machine.wake_at().unwrap_or(NEVER) };
        let overslept = later.saturating_sub(wake.max(self.now));
        self.now = later;
        let instance = &mut self.instance;
        if instance.kill_by != NEVER {
            instance.kill_by += 2 * overslept;
        }
    }

    /// Sleeps until the time that the machine named, rounded up to ticks, and so many ticks longer.
    fn sleep(&mut self, late: u64) {
        let ticks = self.machine.wake_at().map_or(0, |wake| (wake - self.now).div_ceil(TICK));
        self.pass(ticks + late);
    }

    fn tell(&mut self, fact: Fact, story: &mut Story) -> Checked {
        self.note(fact);
        let before = self.machine.mood();
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
            self.tell(Fact::Inspected { traced, dumping }, story)?;
        }
        if seen.seeks {
            self.tell(Fact::DaemonSearched(self.found, self.next_pid()), story)?;
        }
        if seen.adopts {
            self.tell(Fact::Adopted(self.next_pid()), story)?;
        }
        for &signal in &seen.refused {
            self.tell(Fact::Refused(signal), story)?;
        }
        self.awake = fact != Fact::Tick || self.life == Life::Launching;
        if fact == Fact::Tick {
            self.rung = false;
            let wake = self.machine.wake_at();
            must!(
                wake.is_none_or(|at| at > self.now),
                AWAKE,
                "woken at its time, it wants to be woken {wake:?}"
            );
        }
        Ok(())
    }

    /// What the fact changes.
    fn note(&mut self, fact: Fact) {
        let now = self.now;
        match fact {
            Fact::Launched(_) => {
                self.life = Life::Lives;
                self.instance = Instance::new(now, self.spare == Spare::Waits);
                self.page = page(self.page.warn_signal);
                self.spare = Spare::None;
                self.stopping = NEVER;
            }
            Fact::Adopted(pid) => {
                self.life = Life::Lives;
                self.found = Found::None;
                let instance = &mut self.instance;
                *instance = Instance {
                    pids: pid - self.id as i32,
                    // The silence is counted from now on.
                    kill_by: now + 2 * INTERVAL,
                    excused: true,
                    word: instance.word,
                    seen_traced: if instance.known_traced { now } else { instance.seen_traced },
                    ..Instance::new(instance.born, false)
                };
            }
            Fact::Missed(libc::SIGTERM) => self.told = true,
            Fact::Inspected { traced: true, .. } if self.config.hold => {
                let lacks_quorum = self.lacks_quorum();
                let instance = &mut self.instance;
                if now > instance.last_word() {
                    instance.excused = false;
                }
                instance.seen_traced = now;
                instance.kill_by = now + 2 * INTERVAL;
                if !instance.is_decided() && instance.condemned == NEVER {
                    instance.mood = Shown::Watched;
                    instance.warning = None;
                } else if instance.struck_until != NEVER && !instance.killed && !lacks_quorum {
                    instance.struck_until = now + HANG_GRACE;
                }
            }
            Fact::Signal(Arrival { number, .. }) => match number {
                libc::SIGTERM | libc::SIGINT => self.told = true,
                libc::SIGTSTP => self.stopping = now,
                libc::SIGCONT => {
                    self.stopping = NEVER;
                    self.pending[1] = 0;
                    let instance = &mut self.instance;
                    if self.life == Life::Lives && self.config.interval && !instance.excused {
                        instance.kill_by = instance.kill_by.saturating_add(INTERVAL);
                    }
                }
                _ => {}
            },
            _ => {}
        }
        match fact {
            Fact::Inspected { traced, .. } => self.instance.known_traced = traced && self.config.hold,
            Fact::Cluster(_, shown) => self.reported = shown,
            _ => {}
        }
        // The supervisor looks at an instance that lost quorum after the hang signal.
        if matches!(fact, Fact::Inspected { .. } | Fact::Cluster(..) | Fact::Tick) && self.lacks_quorum() {
            let until = now + self.reprieve();
            if self.instance.struck_until != NEVER && !self.instance.killed {
                self.instance.struck_until = self.instance.struck_until.min(until);
            }
        }
    }

    fn check_deed(&mut self, fact: Fact, before: (Shown, u64), deed: Deed, seen: &mut Seen) -> Checked {
        let (now, strict) = (self.now, !self.config.hostile);
        must!(self.life != Life::Over, LAST, "{deed:?} after the end");
        match deed {
            Deed::Launch { id, warn_signal } => {
                let died = matches!(fact, Fact::Died(_) | Fact::MayHaveDaemonized | Fact::DaemonSearched(..));
                if let Life::Left { since } = self.life {
                    self.check_lost_heir(since)?;
                }
                must!(!self.lives() || died, TWO, "an instance is asked for while one lives");
                must!(!seen.launched && self.life != Life::Launching, TWO, "two instances are asked for");
                must!(
                    !matches!(self.life, Life::Closing { .. }),
                    FINAL,
                    "an instance is asked for at the end"
                );
                if let Life::Pausing { until } = self.life {
                    must!(now >= until, LIMITS, "a restart before the end of the pause");
                }
                must!(id == self.id + u32::from(died), SHOWN, "instance {id} is asked for");
                must!(
                    !strict || warn_signal == self.page.warn_signal,
                    SIGNALLED,
                    "the next instance will be warned by {warn_signal}"
                );
                seen.launched = true;
            }
            Deed::MakeSpare => {
                must!(self.config.standby && self.config.restart, ONE_SPARE, "nobody wants a spare");
                must!(self.lives() && !matches!(fact, Fact::Died(_)), ONE_SPARE, "a spare of nobody");
                must!(self.spare == Spare::None, ONE_SPARE, "a spare is there or asked for");
                self.spare = Spare::Asked;
            }
            Deed::FindDaemon => {
                must!(
                    matches!(self.life, Life::Left { .. }) || fact == Fact::MayHaveDaemonized,
                    ADOPTED,
                    "an found is sought"
                );
                seen.seeks = true;
            }
            Deed::Adopt(pid) => {
                let Life::Left { since } = self.life else {
                    return Err(broken(TWO, format!("{pid} is adopted while an instance lives")));
                };
                let is_settled =
                    self.found == Found::Only && now >= since + SETTLED && !self.awaits_heartbeat();
                must!(pid == self.next_pid(), ADOPTED, "{pid} was not found");
                must!(self.found == Found::Caller || is_settled, ADOPTED, "{:?} is adopted", self.found);
                seen.adopts = true;
            }
            Deed::Send(signal) => self.check_sent(signal, seen)?,
            Deed::Forward(signal) => {
                must!(self.lives(), SIGNALLED, "signal {signal} is passed on to nobody");
                let is_new = matches!(fact, Fact::Signal(Arrival { number, .. }) if number == signal);
                match class(signal) {
                    _ if is_new && seen.passed_on.is_none() => {}
                    // Also what was passed on a moment before the instance exited.
                    None if matches!(fact, Fact::Adopted(_)) && self.told => self.unheard_end = false,
                    Some(class) if self.pending[class] > 0 => {
                        self.pending[class] -= 1;
                        if signal == libc::SIGTSTP {
                            self.stopping = now;
                        }
                    }
                    _ => must!(false, SIGNALLED, "signal {signal} is passed on that nobody sent"),
                }
                seen.passed_on = Some(signal);
                if self.instance.refuses {
                    seen.refused.push(signal);
                }
            }
            Deed::Inspect => {
                must!(self.lives(), TWO, "nobody is inspected");
                seen.inspects = true;
            }
            Deed::KillGroup(id) => {
                must!(
                    id == self.id && self.config.kill_group && !seen.launched,
                    TWO,
                    "the group {id} is ended"
                );
                seen.groups += 1;
            }
            Deed::Suspend => seen.suspends = true,
            Deed::GrantStart(since) => {
                let waits = self.page.phase == Phase::Waiting && since == self.page.since;
                must!(self.lives() && self.quorum == Quorum::Yes, ADMITTED, "let in without quorum");
                must!(waits || !strict && self.page.since == since, ADMITTED, "nobody waits since {since}");
                self.admitted = since;
            }
            Deed::AckPublished(since) => {
                let shown = self.reported.is_some() && self.reported == self.record.map(|(key, _)| key);
                must!(self.lives() && shown, CMAP, "the instance is told that cmap shows its phase");
                self.answered = since;
            }
            Deed::Publish(key, last_updated) => {
                must!(self.config.cmap, CMAP, "cmap is not asked for");
                must!(seen.published.is_none(), CMAP, "published twice");
                self.check_record(fact, key, last_updated, seen)?;
                if self.record.is_none_or(|(before, _)| before != key) {
                    self.reported = None;
                }
                seen.published = Some(key);
                self.recorded = now;
                self.record = Some((key, last_updated));
            }
            Deed::Finish(end) => {
                seen.finished = Some(end);
            }
            Deed::Log { line, id, pid } => {
                must!(seen.announced.is_none(), SIGNALLED, "a signal was announced and not sent");
                let is_named = id.is_none_or(|id| id == self.id || self.names_next(line, id));
                must!(is_named, TRUE_LINE, "the wrong instance: {id:?}");
                must!(pid.is_none_or(|pid| pid == self.pid()), TRUE_LINE, "the wrong pid: {pid:?}");
                self.check_line(fact, before, line, seen)?;
            }
        }
        Ok(())
    }

    fn awaits_heartbeat(&self) -> bool {
        self.page.phase == Phase::Started && self.config.interval
    }

    /// The rules for a restart after an instance left: nothing may go on that has shown itself.
    fn check_lost_heir(&self, since: u64) -> Checked {
        // The end of a program that was told to end is final, and is not put off for ever.
        let waited = self.awaits_heartbeat() && self.now >= since + INTERVAL
            || self.told && self.now >= since + PATIENCE;
        let silent = self.found != Found::Caller && self.page.heartbeat <= since;
        must!(self.found == Found::None || waited && silent, TWO, "restarted beside {:?}", self.found);
        Ok(())
    }

    /// These lines are of the instance to come.
    fn names_next(&self, line: Line, id: u32) -> bool {
        matches!(line, Line::Delayed { .. }) && id == self.id + 1
    }

    fn check_sent(&mut self, signal: i32, seen: &mut Seen) -> Checked {
        must!(self.lives(), SIGNALLED, "signal {signal} is sent to nobody");
        let instance = &mut self.instance;
        if seen.announced.take() != Some(signal) {
            let again = instance.killed && instance.retry_by != NEVER && signal == libc::SIGKILL;
            must!(again, NO_WARNING, "signal {signal} without a reason in the log");
        }
        if instance.refuses {
            seen.refused.push(signal);
        } else if signal == libc::SIGKILL {
            instance.doomed = true;
        }
        if signal == libc::SIGKILL {
            instance.retry_by = NEVER;
        }
        Ok(())
    }

    fn check_record(&mut self, fact: Fact, key: Key, last_updated: u64, seen: &Seen) -> Checked {
        let now = self.now;
        must!(self.record != Some((key, last_updated)), CMAP, "nothing has changed");
        must!(last_updated <= now, CMAP, "a heartbeat of the future");
        let ended =
            matches!(fact, Fact::Died(_) | Fact::MayHaveDaemonized | Fact::SpareDied(_)) || !self.lives();
        match key {
            Key::Stopped | Key::Waiting => must!(last_updated == 0, CMAP, "somebody would mind its age"),
            Key::Failed => must!(ended && last_updated == now, CMAP, "failed since {last_updated}"),
            Key::Gone => must!(ended, CMAP, "gone"),
            Key::Running if self.config.hostile => {}
            Key::Running => {
                must!(!ended, CMAP, "running");
                let instance = &self.instance;
                let real = if !self.config.interval || instance.known_traced && !instance.is_decided() {
                    last_updated == 0
                } else if instance.is_decided() {
                    last_updated <= instance.last_word()
                } else {
                    last_updated == instance.last_word()
                };
                must!(real, CMAP, "no heartbeat at {last_updated}");
                if self.record.is_some_and(|(before, _)| before == Key::Running) {
                    must!(now >= self.recorded + TICK, CMAP, "too often");
                }
            }
        }
        if !ended && !self.config.hostile {
            must!(key == self.key(), CMAP, "{key:?} for {:?}", self.phase());
        }
        must!(!ended || !seen.launched, CMAP, "said after the launch");
        Ok(())
    }

    /// What cmap is to show of an instance that lives.
    fn key(&self) -> Key {
        match self.phase() {
            Phase::Started => Key::Running,
            Phase::Waiting => Key::Waiting,
            Phase::Registered | Phase::Stopped | Phase::Finalized => Key::Stopped,
        }
    }

    fn check_line(&mut self, fact: Fact, before: (Shown, u64), line: Line, seen: &mut Seen) -> Checked {
        let (now, config) = (self.now, self.config);
        let strict = !config.hostile;
        let page = self.page;
        let (lacks_quorum, reprieve, phase) = (self.lacks_quorum(), self.reprieve(), self.phase());
        let started = phase == Phase::Started;
        let instance = &mut self.instance;
        let word = instance.last_word();
        let about_instance = !matches!(
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
                    "not under health checks"
                );
                if strict {
                    must!(instance.mood == Shown::Watched, IN_TIME, "it was warned already");
                    must!(now >= word + INTERVAL, IN_TIME, "silent for {} ms", (now - word) / 1_000_000);
                    must!(!(config.hold && instance.traced), HELD, "a debugger traces it");
                    must!(now >= instance.owed, LATENESS, "warned before the time that is owed");
                    let late = now - (word + INTERVAL);
                    must!(
                        instance.excused || late <= INTERVAL / 4,
                        LATENESS,
                        "warned by who was late himself"
                    );
                    must!(silent == now - word, TRUE_LINE, "silent for {silent} ns");
                    must!(signal == page.warn_signal, TRUE_LINE, "warned by {signal}");
                }
                instance.warning = Some(Warning { at: now, word });
                instance.mood = Shown::Warned;
                (instance.excused, instance.owed) = (false, 0);
                instance.blamed[Blame::Silent as usize] = true;
                seen.warned_for_silence = true;
                seen.announced = Some(signal).filter(|&signal| signal != 0);
            }
            Line::Unhealthy => {
                must!(
                    config.interval && started && !instance.is_decided(),
                    IN_TIME,
                    "not under health checks"
                );
                let at = page.unhealthy;
                must!(at > 0 && at <= now && (!strict || at >= word), IN_TIME, "it is well");
                must!(!(strict && config.hold && instance.traced) || at == now, HELD, "a debugger traces it");
                instance.warning = Some(Warning { at, word });
                instance.mood = Shown::Warned;
                instance.blamed[Blame::Unhealthy as usize] = true;
            }
            Line::Recovered { silent, at } => {
                let Some(warning) = instance.warning else {
                    return Err(broken(TRUE_LINE, "it was not warned".to_owned()));
                };
                if strict {
                    must!(word > warning.word, TRUE_LINE, "no heartbeat came");
                    must!(
                        silent == word - warning.word && at == warning.at,
                        TRUE_LINE,
                        "silent for {silent} ns"
                    );
                }
                instance.warning = None;
                instance.mood = Shown::Watched;
            }
            Line::Killed { silent, signal } => {
                must!(
                    config.interval && started && !instance.is_decided(),
                    IN_TIME,
                    "not under health checks"
                );
                let Some(warning) = instance.warning else {
                    return Err(broken(NO_WARNING, "it was not warned".to_owned()));
                };
                must!(now >= warning.at + INTERVAL, NO_WARNING, "{} ns after the warning", now - warning.at);
                if strict {
                    must!(word <= warning.word, IN_TIME, "a heartbeat came after the warning");
                    must!(!(config.hold && instance.traced), HELD, "a debugger traces it");
                    must!(now >= instance.owed, LATENESS, "killed before the time that is owed");
                    let late = now - (warning.at + INTERVAL);
                    let excused = instance.excused || instance.blamed[Blame::Unhealthy as usize];
                    must!(excused || late <= INTERVAL / 4, LATENESS, "killed by who was late himself");
                    must!(silent == now - word, TRUE_LINE, "silent for {silent} ns");
                }
                must!(
                    !matches!(before.0, Shown::Warned) || now >= before.1,
                    SHOWN,
                    "killed before {before:?}"
                );
                must!(
                    signal == if config.hang { HANG_SIGNAL } else { libc::SIGKILL },
                    GRACE,
                    "sent {signal}"
                );
                instance.decided = now;
                instance.mood = Shown::Ending;
                if config.hang {
                    instance.struck_until = now + HANG_GRACE;
                } else {
                    instance.killed = true;
                }
                seen.warned_for_silence = true;
                seen.announced = Some(signal);
            }
            Line::KilledAfterHangSignal { dumping } => {
                must!(instance.struck_until != NEVER && !instance.killed, GRACE, "no hang signal was sent");
                must!(now >= instance.struck_until, GRACE, "{} ns too early", instance.struck_until - now);
                must!(dumping == instance.dumping, TRUE_LINE, "dumping: {dumping}");
                instance.killed = true;
                seen.announced = Some(libc::SIGKILL);
            }
            Line::QuorumWarning { signal } => {
                must!(lacks_quorum && started, QUORUM, "warned while there is quorum, or not started");
                must!(!instance.is_decided() && instance.condemned == NEVER, QUORUM, "warned again");
                must!(!strict || signal == page.warn_signal, TRUE_LINE, "warned by {signal}");
                instance.condemned = now;
                instance.mood = Shown::Warned;
                instance.blamed[Blame::NoQuorum as usize] = true;
                seen.warned_for_quorum = true;
                seen.announced = Some(signal).filter(|&signal| signal != 0);
            }
            Line::KilledForQuorum => {
                must!(instance.condemned != NEVER && started, QUORUM, "it was not warned");
                must!(!instance.is_decided(), QUORUM, "it was killed already");
                must!(now >= instance.condemned + reprieve, QUORUM, "killed too early");
                instance.decided = now;
                instance.mood = Shown::Ending;
                instance.killed = true;
                seen.announced = Some(libc::SIGKILL);
            }
            Line::Traced(traced) => {
                must!(config.hold && traced == instance.traced, TRUE_LINE, "traced: {traced}");
                must!(seen.traced_told.is_none(), TRUE_LINE, "said twice");
                seen.traced_told = Some(traced);
            }
            Line::SignalRefused { signal } => {
                must!(
                    fact == Fact::Refused(signal) && !instance.refusal_told,
                    TRUE_LINE,
                    "{signal} was refused"
                );
                instance.refusal_told = true;
            }
            Line::ToldToEnd { signal } => {
                must!(matches!(signal, libc::SIGTERM | libc::SIGINT), TRUE_LINE, "told to end by {signal}");
                seen.finals += 1;
            }
            Line::SignalDropped { signal } => {
                if signal == libc::SIGTERM && self.unheard_end {
                    self.unheard_end = false;
                    return Ok(());
                }
                let class = class(signal).filter(|&class| self.pending[class] > 0);
                must!(class.is_some(), SIGNALLED, "{signal} is dropped and was not held");
                class.into_iter().for_each(|class| self.pending[class] -= 1);
            }
            Line::QuorumLost => seen.quorum_told = Some(false),
            Line::QuorumBack => seen.quorum_told = Some(true),
            Line::Lost { end, blame } => {
                let left =
                    matches!(fact, Fact::MayHaveDaemonized | Fact::DaemonSearched(..)) && end == End::Exit(0);
                must!(left || fact == Fact::Died(end), LOGGED, "no instance was lost by {end:?}");
                must!(
                    blame.is_none_or(|blame| instance.blamed[blame as usize]),
                    TRUE_LINE,
                    "{blame:?} was never the matter"
                );
                must!(blame.is_some() || !instance.is_decided(), TRUE_LINE, "the reason is left out");
                seen.losses += 1;
                seen.blame = blame;
            }
            Line::Restarted { took } => {
                must!(self.lost != 0 && took == now - self.lost, TRUE_LINE, "it took {took} ns");
                seen.restarted += 1;
            }
            Line::LaunchFailed { pause } => seen.launch_failed = Some(pause),
            Line::Delayed { pause } => seen.delayed = Some(pause),
            Line::LimitReached => seen.limit_reached = true,
            Line::MayHaveDaemonized => must!(self.life != Life::Lives, TRUE_LINE, "it lives"),
            Line::Adopted { before } => {
                must!(fact == Fact::Adopted(self.pid()), TRUE_LINE, "not adopted");
                must!(before == self.next_pid(), TRUE_LINE, "it was {before} before");
            }
            Line::OutOfReach => {
                must!(self.found == Found::OutOfReach, TRUE_LINE, "{:?} strayed", self.found);
                seen.strayed = true;
            }
            Line::NoMoreProcesses => must!(fact == Fact::LaunchImpossible, TRUE_LINE, "there are more"),
            Line::Other => {}
        }
        Ok(())
    }

    fn check_loss(&mut self, end: End, seen: &Seen) -> Checked {
        must!(seen.losses == 1, LOGGED, "logged {} times", seen.losses);
        self.last_end = end;
        self.found = Found::None;
        self.check_death(end, seen)
    }

    fn check_step(&mut self, fact: Fact, seen: &Seen) -> Checked {
        let (now, config) = (self.now, self.config);
        let ends = matches!(
            fact,
            Fact::Died(_) | Fact::MayHaveDaemonized | Fact::DaemonSearched(..) | Fact::SpareDied(_)
        );
        must!(seen.announced.is_none(), SIGNALLED, "a signal was announced and not sent");
        must!(
            seen.quorum_told.is_none() || matches!(fact, Fact::Cluster(..)),
            TRUE_LINE,
            "no word of quorum came"
        );
        let is_told = matches!(fact, Fact::Signal(_) | Fact::Adopted(_));
        must!(seen.finals == 0 || is_told, TRUE_LINE, "nobody told it to end");
        match fact {
            Fact::Died(end) => self.check_loss(end, seen)?,
            Fact::MayHaveDaemonized if seen.seeks => {
                let may_go_on =
                    !matches!(self.phase(), Phase::Stopped | Phase::Finalized) && !self.page.marked_failed;
                must!(may_go_on && !self.instance.is_decided(), ADOPTED, "it was to end");
                self.life = Life::Left { since: now };
            }
            Fact::MayHaveDaemonized => {
                let may_go_on = matches!(self.phase(), Phase::Registered | Phase::Waiting | Phase::Started)
                    && self.instance.blamed == [false; 3]
                    && !(self.page.unhealthy > 0 && self.page.unhealthy >= self.instance.last_word());
                must!(
                    self.told || self.page.marked_failed || !may_go_on,
                    ADOPTED,
                    "it goes on in no other process"
                );
                self.unheard_end = false;
                self.check_loss(End::Exit(0), seen)?;
            }
            Fact::DaemonSearched(..) if seen.losses > 0 => {
                if let Life::Left { since } = self.life {
                    self.check_lost_heir(since)?;
                }
                // Nobody is left who was to be told.
                self.unheard_end = false;
                self.check_loss(End::Exit(0), seen)?;
            }
            Fact::DaemonSearched(..) if seen.strayed => {
                must!(seen.groups == u32::from(config.kill_group), TWO, "what it left is ended");
                self.bury();
                self.check_end(End::Exit(0), Key::Gone, seen)?;
            }
            Fact::DaemonSearched(found, _) => {
                must!(found != Found::None, ADOPTED, "nothing goes on, and the instance is not lost");
                must!(found != Found::Caller || seen.adopts, ADOPTED, "the caller is not adopted");
            }
            Fact::Adopted(_) => must!(!self.unheard_end, SIGNALLED, "it is not told to end"),
            Fact::LaunchImpossible => {
                let key = if self.told { Key::Gone } else { Key::Failed };
                self.check_end(self.last_end, key, seen)?;
            }
            Fact::SpareDied(end) => self.check_stillborn(end, seen)?,
            Fact::Launched(_) => {
                let expected = u32::from(self.lost != 0);
                must!(seen.restarted == expected, LOGGED, "a restart is logged {} times", seen.restarted);
                must!(!seen.launched, TWO, "another instance is asked for");
            }
            Fact::LaunchFailed => {
                let pause = seen.launch_failed.unwrap_or(0);
                must!(
                    (1..=PATIENCE).contains(&pause),
                    LOGGED,
                    "a launch failed, tried again after {pause} ns"
                );
                self.life = Life::Pausing { until: now + pause };
            }
            Fact::Signal(arrival) => self.check_arrival(arrival, seen)?,
            Fact::Missed(signal) => {
                self.unheard_end |= signal == libc::SIGTERM;
                self.hold(signal);
            }
            Fact::StoppedBy(signal) => {
                let follows = self.stopping != NEVER
                    && (signal == libc::SIGTSTP || now < self.stopping.saturating_add(PATIENCE));
                must!(seen.suspends == follows, SIGNALLED, "suspended: {}", seen.suspends);
            }
            Fact::Refused(libc::SIGKILL) if self.instance.killed => self.instance.retry_by = now + PATIENCE,
            Fact::Cluster(..) => self.check_report(seen)?,
            Fact::Tick => self.check_tick(seen)?,
            _ => {}
        }
        if !ends && fact != Fact::Tick {
            must!(!seen.launched, TWO, "an instance is asked for");
        }
        must!(seen.groups == 0 || ends, TWO, "a group is ended");
        must!(!seen.suspends || matches!(fact, Fact::StoppedBy(_)), SIGNALLED, "suspended");
        if matches!(fact, Fact::Tick | Fact::Inspected { .. }) && self.lives() && !seen.inspects {
            self.check_look(seen)?;
        }
        if seen.finished.is_some() {
            must!(!self.lives() && self.life == Life::Over, LAST, "the supervisor ends before its time");
        }
        self.check_answers()
    }

    /// The rules for the end of an instance, but for how it is logged.
    fn check_death(&mut self, end: End, seen: &Seen) -> Checked {
        let (now, config) = (self.now, self.config);
        let started = self.phase() == Phase::Started;
        let is_final = self.told || !config.restart || !started || self.page.marked_failed;
        must!(
            seen.groups == u32::from(config.kill_group),
            TWO,
            "what it left is ended {} times",
            seen.groups
        );
        if config.hostile && self.instance.is_decided() && !is_final && seen.finished.is_some() {
            // It forged the time of an end that it announced too late.
            self.life = Life::Over;
            return Ok(());
        }
        let ran = now - self.instance.born;
        let obeyed = self.told && seen.blame.is_none();
        let failed = self.page.marked_failed || !config.restart && started && !obeyed;
        self.bury();
        if is_final {
            must!(!seen.launched && seen.delayed.is_none(), FINAL, "restarted");
            return self.check_end(end, if failed { Key::Failed } else { Key::Gone }, seen);
        }
        self.lost = now;
        let Some(pause) = self.next_restart(ran) else {
            must!(seen.limit_reached && !seen.launched, LIMITS, "restarted too often");
            return self.check_end(end, Key::Failed, seen);
        };
        self.id += 1;
        must!(!seen.limit_reached && seen.finished.is_none(), FINAL, "not restarted");
        must!(
            !config.cmap || self.record.is_some_and(|(key, _)| key == Key::Stopped),
            CMAP,
            "between two instances"
        );
        if pause == 0 {
            must!(seen.launched, FINAL, "not restarted");
            self.life = Life::Launching;
        } else {
            must!(
                seen.delayed == Some(pause),
                LIMITS,
                "a pause of {:?} in place of {pause} ns",
                seen.delayed
            );
            self.life = Life::Pausing { until: now + pause };
        }
        Ok(())
    }

    fn check_stillborn(&mut self, end: End, seen: &Seen) -> Checked {
        must!(!seen.launched, TWO, "at once");
        must!(
            seen.groups == u32::from(self.config.kill_group),
            TWO,
            "what it left is ended {} times",
            seen.groups
        );
        self.bury();
        if self.told {
            return self.check_end(end, Key::Gone, seen);
        }
        if self.next_restart(0).is_none() {
            must!(seen.limit_reached, LIMITS, "tried too often");
            return self.check_end(end, Key::Failed, seen);
        }
        let pause = seen.launch_failed.unwrap_or(0);
        must!((1..=PATIENCE).contains(&pause), LOGGED, "a spare ended, tried again after {pause} ns");
        self.life = Life::Pausing { until: self.now + pause };
        Ok(())
    }

    fn bury(&mut self) {
        self.instance = Instance::new(START, false);
        self.page = page(self.page.warn_signal);
    }

    /// The pause before the next restart in ns. None: there was one too many.
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

    /// The rules for the end of the supervisor.
    fn check_end(&mut self, end: End, key: Key, seen: &Seen) -> Checked {
        must!(!seen.launched, FINAL, "an instance is asked for");
        must!(self.pending == [0; 4], SIGNALLED, "signals were held and are not logged as dropped");
        if self.config.cmap {
            must!(seen.published == Some(key), CMAP, "{:?} in place of {key:?} at the end", seen.published);
            must!(seen.finished.is_none(), CMAP, "nobody can have seen the end");
            self.life = Life::Closing { key, end, until: self.now + PATIENCE };
        } else {
            must!(seen.finished == Some(end), LAST, "{:?} in place of {end:?}", seen.finished);
            self.life = Life::Over;
        }
        Ok(())
    }

    fn hold(&mut self, signal: i32) {
        if let Some(class) = class(signal) {
            let most = if signal == REAL_TIME { u8::MAX } else { 1 };
            self.pending[class] = (self.pending[class] + 1).min(most);
        }
    }

    fn check_arrival(&mut self, arrival: Arrival, seen: &Seen) -> Checked {
        let (now, config, signal) = (self.now, self.config, arrival.number);
        let ends = matches!(signal, libc::SIGTERM | libc::SIGINT);
        match self.life {
            Life::Lives => {
                let instance = &mut self.instance;
                if signal == libc::SIGCONT && config.interval && !instance.excused {
                    instance.excused = true;
                    instance.owed = now + INTERVAL;
                }
                let is_fresh = now - instance.born < FRESH;
                let may_wait = class(signal).is_some_and(|class| class == 0 || class == 3)
                    && self.lost != 0
                    && is_fresh
                    && (self.page.phase == Phase::Registered);
                let passed_on = seen.passed_on == Some(signal);
                if arrival.shared {
                    must!(!passed_on, SIGNALLED, "passed on, though the terminal sent it to both");
                } else if config.withhold && !(ends && is_fresh) && !may_wait {
                    must!(!passed_on, SIGNALLED, "passed on, though it is to be withheld");
                } else if may_wait {
                    must!(!passed_on, SIGNALLED, "passed on before it can be heard");
                    self.hold(signal);
                } else {
                    must!(passed_on, SIGNALLED, "{signal} is not passed on");
                }
            }
            Life::Pausing { .. } if self.told => {
                self.check_end(End::Signal(signal, false), Key::Gone, seen)?;
            }
            Life::Left { .. } => {
                self.unheard_end |= ends;
                if !config.withhold {
                    self.hold(signal);
                }
            }
            Life::Pausing { .. } => self.hold(signal),
            Life::Launching | Life::Closing { .. } | Life::Over => {
                must!(seen.passed_on.is_none(), SIGNALLED, "passed on to nobody");
            }
        }
        Ok(())
    }

    fn check_report(&mut self, seen: &Seen) -> Checked {
        if let Life::Closing { key, end, .. } = self.life {
            let finished = (self.shown == Some(key)).then_some(end);
            must!(seen.finished == finished, LAST, "{:?} while cmap shows {:?}", seen.finished, self.shown);
            if finished.is_some() {
                self.life = Life::Over;
            }
            return Ok(());
        }
        if seen.quorum_told == Some(false) && self.lives() && self.page.phase == Phase::Started {
            let instance = &self.instance;
            let seen_to = instance.condemned != NEVER || instance.is_decided();
            must!(seen_to, QUORUM, "quorum was lost and the instance is not warned");
        }
        self.check_look_again(seen)
    }

    fn check_tick(&mut self, seen: &Seen) -> Checked {
        let now = self.now;
        match self.life {
            Life::Pausing { until } => {
                must!(seen.launched == (now >= until), LIMITS, "an instance is asked for: {}", seen.launched);
                if seen.launched {
                    self.life = Life::Launching;
                }
            }
            Life::Closing { end, until, .. } => {
                let finished = (now >= until).then_some(end);
                must!(seen.finished == finished, LAST, "{:?} in place of {finished:?}", seen.finished);
                if finished.is_some() {
                    self.life = Life::Over;
                }
            }
            Life::Lives => {
                must!(!seen.launched, TWO, "an instance is asked for while one lives");
                let hears = matches!(self.page.phase, Phase::Started | Phase::Stopped | Phase::Waiting);
                must!(
                    !hears || self.pending == [0; 4],
                    SIGNALLED,
                    "signals are held back: {:?}",
                    self.pending
                );
            }
            _ => {}
        }
        Ok(())
    }

    /// After a look at the instance.
    fn check_look(&mut self, seen: &Seen) -> Checked {
        let (now, config) = (self.now, self.config);
        let (started, lacks_quorum) = (self.page.phase == Phase::Started, self.lacks_quorum());
        let instance = &mut self.instance;
        if started && lacks_quorum && !config.hostile {
            let seen_to = instance.condemned != NEVER || instance.is_decided();
            must!(seen_to, QUORUM, "started without quorum and not warned");
        }
        let judged = started && config.interval && !instance.is_decided() && instance.condemned == NEVER;
        if judged && !seen.warned_for_silence && !instance.excused {
            let due = instance.warning.map_or(instance.last_word(), |warning| warning.at) + INTERVAL;
            if now >= due {
                // It was late itself, and owes the instance that time.
                instance.excused = true;
                instance.owed = now + (now - due).min(INTERVAL);
            }
        }
        self.check_look_again(seen)
    }

    /// After a look, or after what may have been none.
    fn check_look_again(&mut self, seen: &Seen) -> Checked {
        let instance = &mut self.instance;
        let looked = self.life == Life::Lives && !seen.inspects;
        if looked && !instance.is_decided() && self.page.phase != Phase::Started {
            // A report of corosync that changes nothing is no look.
            let (mood, _) = self.machine.mood();
            if matches!(mood, Shown::Watched | Shown::Held) {
                instance.mood = Shown::Watched;
                instance.warning = None;
                instance.condemned = NEVER;
            }
        }
        Ok(())
    }

    /// What an instance that lives is told, and cmap shows.
    fn check_answers(&self) -> Checked {
        if !self.lives() || self.config.hostile {
            return Ok(());
        }
        if self.config.quorum && self.phase() == Phase::Waiting && self.quorum == Quorum::Yes {
            must!(self.admitted == self.page.since, ADMITTED, "quorum is there and the instance waits");
        }
        if self.config.cmap {
            let record = self.record.map(|(key, _)| key);
            must!(record == Some(self.key()), CMAP, "{record:?} for {:?}", self.phase());
            must!(
                self.reported != record || self.answered == self.page.since,
                CMAP,
                "the instance is not told that cmap shows its phase"
            );
        }
        Ok(())
    }

    /// What holds whenever the supervisor sleeps, or could.
    fn check_rest(&self) -> Checked {
        let (now, config) = (self.now, &self.config);
        let wake = self.machine.wake_at();
        let sleeps = wake.is_none_or(|at| at > now) && !self.rung && !self.awake;
        let (mood, until) = self.machine.mood();
        must!(self.machine.id() == self.id, SHOWN, "instance {} in place of {}", self.machine.id(), self.id);
        must!(
            self.machine.end_is_final() == self.told,
            SHOWN,
            "told to end: {}",
            self.machine.end_is_final()
        );
        match self.life {
            Life::Launching => must!((mood, until) == (Shown::Launching, 0), SHOWN, "{mood:?} until {until}"),
            Life::Left { since } => {
                must!((mood, until) == (Shown::Launching, 0), SHOWN, "{mood:?} until {until}");
                must!(
                    wake.is_some_and(|at| at <= now + PATIENCE),
                    ADOPTED,
                    "{wake:?} while an found is sought"
                );
                let limit = if self.awaits_heartbeat() { INTERVAL } else { PATIENCE };
                let begin = since.max(self.page.since);
                let is_limited = self.awaits_heartbeat() || self.told || self.found == Found::OutOfReach;
                must!(
                    !sleeps || !is_limited || now < begin + limit + PATIENCE,
                    ADOPTED,
                    "an found is sought for too long"
                );
            }
            Life::Pausing { until: end } => {
                must!((mood, until) == (Shown::Pausing, end), SHOWN, "{mood:?} until {until}");
                must!(wake == Some(end), AWAKE, "{wake:?} in a pause until {end}");
            }
            Life::Closing { until: end, .. } => {
                must!((mood, until) == (Shown::Over, 0), SHOWN, "{mood:?} until {until}");
                must!(wake == Some(end), AWAKE, "{wake:?} at the end, which comes at {end}");
            }
            Life::Over => {
                must!((mood, until) == (Shown::Over, 0), SHOWN, "{mood:?} until {until}");
                must!(wake.is_none(), AWAKE, "{wake:?} after the end");
            }
            Life::Lives => {}
        }
        if !self.lives() {
            return Ok(());
        }
        let instance = &self.instance;
        let started = self.page.phase == Phase::Started;
        if config.interval && !instance.is_decided() {
            must!(wake.is_some_and(|at| at <= now + INTERVAL), AWAKE, "{wake:?} with an interval");
        }
        if self.pending != [0; 4] {
            must!(wake.is_some_and(|at| at <= now + PATIENCE), SIGNALLED, "{wake:?} with signals held");
        }
        if sleeps {
            must!(now < instance.retry_by || instance.doomed, RETRIED, "a kill was refused long ago");
            if instance.struck_until != NEVER && !instance.killed {
                must!(now < instance.struck_until, GRACE, "it outlives the grace");
            }
            // The loss of quorum gives it a time of its own.
            let unjudged = config.hold && instance.traced
                || instance.is_decided()
                || instance.doomed
                || instance.condemned != NEVER;
            if config.interval && started && !unjudged {
                must!(now < instance.kill_by, OUTLIVES, "alive {} ns too long", now - instance.kill_by);
            }
            if started && instance.condemned != NEVER && !instance.is_decided() && !instance.doomed {
                must!(now < instance.condemned + self.reprieve(), QUORUM, "it outlives quorum");
            }
            if config.cmap && self.phase() == Phase::Started && config.interval && !config.hostile {
                let said = self.record.map_or(0, |(_, last_updated)| last_updated);
                let unseen = instance.is_decided() || instance.traced || instance.known_traced;
                let due = instance.last_word().max(self.recorded) + TICK;
                // Where a debugger has just left, with the next heartbeat.
                let soon = wake.is_some_and(|at| at <= now + TICK);
                let known = unseen || said >= instance.last_word() || now <= due || soon;
                must!(known, CMAP, "a heartbeat is not published");
            }
        }
        self.check_mood(mood, until, wake)
    }

    fn check_mood(&self, mood: Shown, until: u64, wake: Option<u64>) -> Checked {
        if self.config.hostile {
            return Ok(());
        }
        let instance = &self.instance;
        let goes_on = instance.condemned != NEVER
            || instance.killed
            || instance.struck_until != NEVER && self.lacks_quorum();
        let expected = if instance.known_traced && !goes_on { Shown::Held } else { instance.mood };
        must!(mood == expected, SHOWN, "{mood:?} in place of {expected:?}");
        let deadline = match mood {
            Shown::Warned if instance.condemned != NEVER => instance.condemned + self.reprieve(),
            Shown::Warned => instance.warning.map_or(0, |warning| warning.at + INTERVAL),
            Shown::Ending if !instance.killed => instance.struck_until,
            _ => 0,
        };
        // Lateness and SIGCONT may put it off.
        let put_off = mood == Shown::Warned && until > deadline && until <= self.now + INTERVAL;
        must!(until == deadline || put_off, SHOWN, "{mood:?} until {until} in place of {deadline}");
        if until != 0 && !self.awake {
            must!(wake.is_some_and(|at| at <= until), AWAKE, "{wake:?}, and {mood:?} until {until}");
        }
        Ok(())
    }
}

fn broken(rule: &'static str, detail: String) -> Broken {
    Broken { rule, detail }
}

/// A page that nobody has written to.
fn page(warn_signal: i32) -> Page {
    Page { phase: Phase::Registered, since: 0, heartbeat: 0, unhealthy: 0, warn_signal, marked_failed: false }
}

/// Where signals of this number are counted that wait for an instance.
fn class(signal: i32) -> Option<usize> {
    match signal {
        libc::SIGHUP => Some(0),
        libc::SIGTSTP => Some(1),
        libc::SIGCONT => Some(2),
        REAL_TIME => Some(3),
        _ => None,
    }
}
