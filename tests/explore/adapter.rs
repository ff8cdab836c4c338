//! Translates between the state machine and the exploration. No other file of the exploration names an item of the
//! library, so that a change of names there changes this file only.

use std::{fmt, hash::Hash, time::Duration};

use nix::{errno::Errno, unistd::Pid};
use sam::{
    policy::Recovery,
    settings::{HangSignal, RestartDelay, RestartLimit, Settings},
    shared::{
        cmap_record::CmapState,
        control_page::{self, View},
        mailbox::{ClusterReport, QuorumState},
        status_page::Activity,
    },
    supervisor::{
        daemonized::Candidates,
        log_event::{Kind, LogEvent, Reason},
        machine::{Effect, Event, Machine, Rules},
    },
    sys::{
        inspection::Inspection,
        process::ExitStatus,
        signals::{Received, Signal},
    },
    time::{self, MonotonicTime},
};

use super::{
    Config, HANG_GRACE, HANG_SIGNAL, INTERVAL, RESTART_PAUSE, RESTART_WINDOW, RESTARTS, WARN_SIGNAL,
};

/// The end of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    Exit(i32),
    Signal(i32, bool),
    Unknown,
}

/// The phase of an instance on its control page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    Registered,
    Waiting,
    Started,
    Stopped,
    Finalized,
}

/// The control page of an instance. Times are in ns, 0 for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Page {
    pub phase: Phase,
    pub since: u64,
    pub heartbeat: u64,
    pub unhealthy: u64,
    pub warn_signal: i32,
    pub marked_failed: bool,
}

/// The quorum state that the cluster helper reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quorum {
    Unknown,
    Yes,
    No,
    Gone,
}

/// The state of a supervised program in cmap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    Stopped,
    Running,
    Waiting,
    Failed,
    Gone,
}

/// A signal that the supervisor receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Arrival {
    pub number: i32,
    /// True if the terminal has sent the signal to the instance as well.
    pub shared: bool,
}

/// The process that continues in place of an instance that exited with 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Found {
    None,
    /// A process that has called the library.
    Caller,
    /// The only process that may call the library later.
    Only,
    /// More than one such process.
    Several,
    /// A process that cannot be supervised.
    OutOfReach,
}

/// An event for the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    Launched(i32),
    LaunchFailed,
    Tick,
    Died(End),
    MayHaveDaemonized,
    /// The process found, and its pid.
    DaemonSearched(Found, i32),
    Adopted(i32),
    LaunchImpossible,
    SpareDied(End),
    SpareMade,
    SpareLost,
    StoppedBy(i32),
    Refused(i32),
    Cluster(Quorum, Option<Key>),
    Inspected {
        traced: bool,
        dumping: bool,
    },
    Missed(i32),
    Signal(Arrival),
    Aborted,
}

/// The reason for which an instance was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    Silent,
    Unhealthy,
    NoQuorum,
}

/// A log event. Times are in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Warned { silent: u64, signal: i32 },
    Unhealthy,
    Recovered { silent: u64, at: u64 },
    Killed { silent: u64, signal: i32 },
    KilledAfterHangSignal { dumping: bool },
    Aborted,
    KilledAfterAbort,
    Traced(bool),
    SignalRefused { signal: i32 },
    ToldToEnd { signal: i32 },
    SignalDropped { signal: i32 },
    QuorumWarning { signal: i32 },
    KilledForQuorum,
    QuorumLost,
    QuorumBack,
    Lost { end: End, blame: Option<Blame>, planned: bool },
    Restarted { took: u64 },
    LaunchFailed { pause: u64 },
    Delayed { pause: u64 },
    LimitReached,
    MayHaveDaemonized,
    Adopted { before: i32 },
    OutOfReach,
    NoMoreProcesses,
    Other,
}

/// An effect of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Launch { id: u32, warn_signal: i32 },
    MakeSpare,
    DropSpare,
    FindDaemon,
    Adopt(i32),
    Send(i32),
    Forward(i32),
    Inspect,
    KillGroup(u32),
    Suspend,
    GrantStart(u64),
    AckPublished(u64),
    Publish(Key, u64),
    Log { line: Line, id: Option<u32>, pid: Option<i32> },
    Finish(End),
}

/// The activity of the supervisor that sam-status shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shown {
    Launching,
    Watched,
    Warned,
    Ending,
    Held,
    Pausing,
    Over,
}

/// The state machine of the supervisor.
#[derive(Clone, Hash)]
pub struct Supervisor(Machine);

impl Supervisor {
    pub fn new(config: Config) -> Supervisor {
        let settings = Settings {
            restart_limit: config
                .limit
                .then_some(RestartLimit { restarts: RESTARTS, window: ns(RESTART_WINDOW) }),
            restart_delay: config
                .delay
                .then_some(RestartDelay { first: ns(RESTART_PAUSE.0), last: ns(RESTART_PAUSE.1) }),
            standby: config.standby,
            hang_signal: config
                .hang
                .then_some(HangSignal { signal: signal(HANG_SIGNAL), timeout: ns(HANG_GRACE) }),
            debug_hold: config.hold,
            kill_group: config.kill_group,
            withhold_signals: config.withhold,
            ..Settings::default()
        };
        let rules = Rules {
            interval: config.interval.then_some(ns(INTERVAL)),
            recovery: if config.restart { Recovery::Restart } else { Recovery::Quit },
            settings,
            quorum: config.quorum,
            cmap: config.cmap,
        };
        let mut machine = Machine::new(rules, Signal::from_number(WARN_SIGNAL));
        if config.slow_fork {
            machine.note_fork(ns(INTERVAL / 8));
        }
        Supervisor(machine)
    }

    pub fn step(&mut self, now: u64, fact: Fact, page: Option<&Page>) -> impl Iterator<Item = Deed> + use<> {
        let view = page.map_or(View::NO_INSTANCE, view);
        let mut effects = vec![];
        self.0.handle(at(now), event(fact), &view, &mut effects);
        effects.into_iter().map(deed)
    }

    pub fn wake_at(&self) -> Option<u64> {
        self.0.wake_at().map(MonotonicTime::as_ns)
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn end_is_final(&self) -> bool {
        self.0.end_is_final()
    }

    pub fn activity(&self) -> (Shown, u64) {
        let (activity, until) = self.0.activity();
        let shown = match activity {
            Activity::Launching => Shown::Launching,
            Activity::Watched => Shown::Watched,
            Activity::Warned => Shown::Warned,
            Activity::Ending => Shown::Ending,
            Activity::Held => Shown::Held,
            Activity::Pausing => Shown::Pausing,
            Activity::Over => Shown::Over,
        };
        (shown, until.map_or(0, MonotonicTime::as_ns))
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn view(page: &Page) -> View {
    let phase = match page.phase {
        Phase::Registered => control_page::Phase::Registered,
        Phase::Waiting => control_page::Phase::Waiting,
        Phase::Started => control_page::Phase::Started,
        Phase::Stopped => control_page::Phase::Stopped,
        Phase::Finalized => control_page::Phase::Finalized,
    };
    let Page { since, heartbeat, unhealthy, warn_signal, marked_failed, .. } = *page;
    let stamp = |ns| Some(ns).filter(|&ns| ns != 0).map(at);
    View {
        phase,
        since: at(since),
        heartbeat: stamp(heartbeat),
        unhealthy: stamp(unhealthy),
        warn_signal,
        marked_failed,
    }
}

fn at(ns: u64) -> MonotonicTime {
    MonotonicTime::from_ns(ns)
}

fn ns(ns: u64) -> Duration {
    Duration::from_nanos(ns)
}

fn signal(number: i32) -> Signal {
    Signal::from_number(number).unwrap_or_else(|| panic!("{number} is no signal"))
}

fn event(fact: Fact) -> Event {
    let received = |number| Received { signal: signal(number), value: None, by_kernel: false, sender: None };
    match fact {
        Fact::Launched(pid) => Event::Launched { pid: Pid::from_raw(pid) },
        Fact::LaunchFailed => Event::LaunchFailed(Errno::EAGAIN),
        Fact::Tick => Event::Tick,
        Fact::Died(end) => Event::Died(status(end)),
        Fact::MayHaveDaemonized => Event::MayHaveDaemonized,
        Fact::DaemonSearched(found, pid) => Event::DaemonSearched(match found {
            Found::None => Candidates::None,
            Found::Caller => Candidates::Caller(Pid::from_raw(pid)),
            Found::Only => Candidates::Only(Pid::from_raw(pid)),
            Found::Several => Candidates::Several,
            Found::OutOfReach => Candidates::OutOfReach(Some(Pid::from_raw(pid))),
        }),
        Fact::Adopted(pid) => Event::Adopted { pid: Pid::from_raw(pid) },
        Fact::LaunchImpossible => Event::LaunchImpossible,
        Fact::SpareDied(end) => Event::SpareDied(status(end)),
        Fact::SpareMade => Event::SpareMade,
        Fact::SpareLost => Event::SpareLost,
        Fact::StoppedBy(number) => Event::Stopped(signal(number)),
        Fact::Refused(number) => Event::Refused { signal: signal(number), errno: Errno::EPERM },
        Fact::Cluster(quorum, published) => Event::Corosync(ClusterReport {
            quorum: match quorum {
                Quorum::Unknown => QuorumState::Unknown,
                Quorum::Yes => QuorumState::Yes,
                Quorum::No => QuorumState::No,
                Quorum::Gone => QuorumState::Gone,
            },
            published: published.map(|key| match key {
                Key::Stopped => CmapState::Stopped,
                Key::Running => CmapState::Running,
                Key::Waiting => CmapState::Waiting,
                Key::Failed => CmapState::Failed,
                Key::Gone => CmapState::Gone,
            }),
            lost: quorum == Quorum::Gone,
        }),
        Fact::Inspected { traced, dumping } => Event::Inspected(Inspection { traced, dumping }),
        Fact::Aborted => Event::Aborted,
        Fact::Missed(number) => Event::Missed(received(number)),
        Fact::Signal(Arrival { number, shared }) => {
            Event::Signal { received: Received { by_kernel: shared, ..received(number) }, shared }
        }
    }
}

fn status(end: End) -> ExitStatus {
    match end {
        End::Exit(code) => ExitStatus::Exited(code),
        End::Signal(number, core) => ExitStatus::Killed { signal: signal(number), core },
        End::Unknown => ExitStatus::Unknown,
    }
}

fn end(status: ExitStatus) -> End {
    match status {
        ExitStatus::Exited(code) => End::Exit(code),
        ExitStatus::Killed { signal, core } => End::Signal(signal.number(), core),
        ExitStatus::Unknown => End::Unknown,
    }
}

/// Translates an effect of the machine.
fn deed(effect: Effect) -> Deed {
    match effect {
        Effect::Launch { id, warn_signal } => {
            Deed::Launch { id, warn_signal: warn_signal.map_or(0, Signal::number) }
        }
        Effect::MakeSpare => Deed::MakeSpare,
        Effect::DropSpare => Deed::DropSpare,
        Effect::FindDaemon => Deed::FindDaemon,
        Effect::Adopt(pid) => Deed::Adopt(pid.as_raw()),
        Effect::Send(signal) => Deed::Send(signal.number()),
        Effect::Forward(received) => Deed::Forward(received.signal.number()),
        Effect::Inspect => Deed::Inspect,
        Effect::KillGroup(id) => Deed::KillGroup(id),
        Effect::Suspend => Deed::Suspend,
        Effect::GrantStart(since) => Deed::GrantStart(since.as_ns()),
        Effect::AckPublished(since) => Deed::AckPublished(since.as_ns()),
        Effect::Publish(record) => {
            let key = match record.state {
                CmapState::Stopped => Key::Stopped,
                CmapState::Running => Key::Running,
                CmapState::Waiting => Key::Waiting,
                CmapState::Failed => Key::Failed,
                CmapState::Gone => Key::Gone,
            };
            Deed::Publish(key, record.last_updated.map_or(0, MonotonicTime::as_ns))
        }
        Effect::Log(event) => logged(event),
        Effect::Finish(status) => Deed::Finish(end(status)),
    }
}

fn logged(event: LogEvent) -> Deed {
    let line = match event.kind {
        Kind::Warned { silent, signal, .. } => {
            Line::Warned { silent: time::ns(silent), signal: signal.map_or(0, Signal::number) }
        }
        Kind::Unhealthy { .. } => Line::Unhealthy,
        Kind::Recovered { silent, at } => Line::Recovered { silent: time::ns(silent), at: at.as_ns() },
        Kind::Killed { silent, signal, .. } => {
            Line::Killed { silent: time::ns(silent), signal: signal.number() }
        }
        Kind::KilledAfterHangSignal { dumping, .. } => Line::KilledAfterHangSignal { dumping },
        Kind::Aborted => Line::Aborted,
        Kind::KilledAfterAbort => Line::KilledAfterAbort,
        Kind::Traced { traced } => Line::Traced(traced),
        Kind::SignalRefused { signal, errno: _ } => Line::SignalRefused { signal: signal.number() },
        Kind::ToldToEnd { signal, .. } => Line::ToldToEnd { signal: signal.number() },
        Kind::SignalDropped { signal } => Line::SignalDropped { signal: signal.number() },
        Kind::QuorumWarning { signal, .. } => {
            Line::QuorumWarning { signal: signal.map_or(0, Signal::number) }
        }
        Kind::KilledForQuorum { .. } => Line::KilledForQuorum,
        Kind::QuorumLost => Line::QuorumLost,
        Kind::QuorumBack => Line::QuorumBack,
        Kind::Lost { status, reason, planned, .. } => {
            let blame = reason.map(|reason| match reason {
                Reason::Silent => Blame::Silent,
                Reason::Unhealthy => Blame::Unhealthy,
                Reason::NoQuorum => Blame::NoQuorum,
            });
            Line::Lost { end: end(status), blame, planned }
        }
        Kind::Restarted { took } => Line::Restarted { took: time::ns(took) },
        Kind::LaunchFailed { errno: _, pause } => Line::LaunchFailed { pause: time::ns(pause) },
        Kind::Delayed { pause } => Line::Delayed { pause: time::ns(pause) },
        Kind::LimitReached { limit: _ } => Line::LimitReached,
        Kind::MayHaveDaemonized { .. } => Line::MayHaveDaemonized,
        Kind::Adopted { before } => Line::Adopted { before: before.as_raw() },
        Kind::OutOfReach => Line::OutOfReach,
        Kind::NoMoreProcesses => Line::NoMoreProcesses,
        Kind::GroupEnded { .. }
        | Kind::CorosyncLost { .. }
        | Kind::CorosyncBack
        | Kind::CorosyncStalled { .. } => Line::Other,
    };
    // The pid of a process that cannot be supervised is not that of an instance.
    let pid = event.pid.filter(|_| line != Line::OutOfReach).map(Pid::as_raw);
    Deed::Log { line, id: event.id, pid }
}
