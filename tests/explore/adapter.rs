//! Translates between the state machine and the exploration. No other file of the exploration names an item of the
//! library, so that a change of names there changes this file only.

use std::{fmt, hash::Hash};

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
        log_event::{LogEvent, Reason},
        machine::{Effect, Event, Machine, Rules},
    },
    sys::{inspection::Inspection, process::ExitStatus, signals::Received},
};

use super::{
    Config, HANG_GRACE, HANG_SIGNAL, INTERVAL, LAST_SIGNAL, RESTART_PAUSE, RESTART_WINDOW, RESTARTS,
    WARN_SIGNAL,
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
    Traced(bool),
    SignalRefused { signal: i32 },
    ToldToEnd { signal: i32 },
    SignalDropped { signal: i32 },
    QuorumWarning { signal: i32 },
    KilledForQuorum,
    QuorumLost,
    QuorumBack,
    Lost { end: End, blame: Option<Blame> },
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
                .then_some(RestartLimit { restarts: RESTARTS, window: RESTART_WINDOW }),
            restart_delay: config
                .delay
                .then_some(RestartDelay { first: RESTART_PAUSE.0, last: RESTART_PAUSE.1 }),
            standby: config.standby,
            hang_signal: config.hang.then_some(HangSignal { number: HANG_SIGNAL, timeout: HANG_GRACE }),
            debug_hold: config.hold,
            kill_group: config.kill_group,
            withhold_signals: config.withhold,
            ..Settings::default()
        };
        let rules = Rules {
            interval: if config.interval { INTERVAL } else { 0 },
            recovery: if config.restart { Recovery::Restart } else { Recovery::Quit },
            last_signal: LAST_SIGNAL,
            settings,
            quorum: config.quorum,
            cmap: config.cmap,
        };
        Supervisor(Machine::new(rules, WARN_SIGNAL))
    }

    pub fn step(&mut self, now: u64, fact: Fact, page: Option<&Page>) -> impl Iterator<Item = Deed> + use<> {
        let view = page.map_or(View::NO_INSTANCE, view);
        self.0.step(now, event(fact), &view).into_iter().map(deed)
    }

    pub fn wake_at(&self) -> Option<u64> {
        self.0.wake_at()
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
        (shown, until)
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
    View { phase, since, heartbeat, unhealthy, warn_signal, marked_failed }
}

fn event(fact: Fact) -> Event {
    let received = |number| Received { number, value: None, by_kernel: false };
    match fact {
        Fact::Launched(pid) => Event::Launched { pid },
        Fact::LaunchFailed => Event::LaunchFailed(libc::EAGAIN),
        Fact::Tick => Event::Tick,
        Fact::Died(end) => Event::Died(status(end)),
        Fact::MayHaveDaemonized => Event::MayHaveDaemonized,
        Fact::DaemonSearched(found, pid) => Event::DaemonSearched(match found {
            Found::None => Candidates::None,
            Found::Caller => Candidates::Caller(pid),
            Found::Only => Candidates::Only(pid),
            Found::Several => Candidates::Several,
            Found::OutOfReach => Candidates::OutOfReach(Some(pid)),
        }),
        Fact::Adopted(pid) => Event::Adopted { pid },
        Fact::LaunchImpossible => Event::LaunchImpossible,
        Fact::SpareDied(end) => Event::SpareDied(status(end)),
        Fact::SpareMade => Event::SpareMade,
        Fact::SpareLost => Event::SpareLost,
        Fact::StoppedBy(signal) => Event::Stopped(signal),
        Fact::Refused(signal) => Event::Refused { signal, errno: libc::EPERM },
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
        Fact::Missed(number) => Event::Missed(received(number)),
        Fact::Signal(Arrival { number, shared }) => {
            Event::Signal { received: Received { by_kernel: shared, ..received(number) }, shared }
        }
    }
}

fn status(end: End) -> ExitStatus {
    match end {
        End::Exit(code) => ExitStatus::Exited(code),
        End::Signal(signal, core) => ExitStatus::Killed { signal, core },
        End::Unknown => ExitStatus::Unknown,
    }
}

fn end(status: ExitStatus) -> End {
    match status {
        ExitStatus::Exited(code) => End::Exit(code),
        ExitStatus::Killed { signal, core } => End::Signal(signal, core),
        ExitStatus::Unknown => End::Unknown,
    }
}

/// Translates an effect of the machine.
fn deed(effect: Effect) -> Deed {
    match effect {
        Effect::Launch { id, warn_signal } => Deed::Launch { id, warn_signal },
        Effect::MakeSpare => Deed::MakeSpare,
        Effect::FindDaemon => Deed::FindDaemon,
        Effect::Adopt(pid) => Deed::Adopt(pid),
        Effect::Send(signal) => Deed::Send(signal),
        Effect::Forward(received) => Deed::Forward(received.number),
        Effect::Inspect => Deed::Inspect,
        Effect::KillGroup(id) => Deed::KillGroup(id),
        Effect::Suspend => Deed::Suspend,
        Effect::GrantStart(since) => Deed::GrantStart(since),
        Effect::AckPublished(since) => Deed::AckPublished(since),
        Effect::Publish(record) => {
            let key = match record.state {
                CmapState::Stopped => Key::Stopped,
                CmapState::Running => Key::Running,
                CmapState::Waiting => Key::Waiting,
                CmapState::Failed => Key::Failed,
                CmapState::Gone => Key::Gone,
            };
            Deed::Publish(key, record.last_updated)
        }
        Effect::Log(notice) => logged(notice),
        Effect::Finish(status) => Deed::Finish(end(status)),
    }
}

fn logged(notice: LogEvent) -> Deed {
    let (line, id, pid) = match notice {
        LogEvent::Warned { id, pid, silent, limit: _, signal } => {
            (Line::Warned { silent, signal }, Some(id), Some(pid))
        }
        LogEvent::Unhealthy { id, pid } => (Line::Unhealthy, Some(id), Some(pid)),
        LogEvent::Recovered { id, pid, silent, at } => (Line::Recovered { silent, at }, Some(id), Some(pid)),
        LogEvent::Killed { id, pid, silent, signal } => {
            (Line::Killed { silent, signal }, Some(id), Some(pid))
        }
        LogEvent::KilledAfterHangSignal { id, pid, dumping } => {
            (Line::KilledAfterHangSignal { dumping }, Some(id), Some(pid))
        }
        LogEvent::Traced { id, pid, traced } => (Line::Traced(traced), Some(id), Some(pid)),
        LogEvent::SignalRefused { id, pid, signal, errno: _ } => {
            (Line::SignalRefused { signal }, Some(id), Some(pid))
        }
        LogEvent::ToldToEnd { id, pid, signal, delivery: _ } => {
            (Line::ToldToEnd { signal }, Some(id), Some(pid))
        }
        LogEvent::SignalDropped { id, signal } => (Line::SignalDropped { signal }, Some(id), None),
        LogEvent::QuorumWarning { id, pid, signal } => (Line::QuorumWarning { signal }, Some(id), Some(pid)),
        LogEvent::KilledForQuorum { id, pid } => (Line::KilledForQuorum, Some(id), Some(pid)),
        LogEvent::QuorumLost => (Line::QuorumLost, None, None),
        LogEvent::QuorumBack => (Line::QuorumBack, None, None),
        LogEvent::Lost { id, pid, status, reason } => {
            let blame = reason.map(|reason| match reason {
                Reason::Silent => Blame::Silent,
                Reason::Unhealthy => Blame::Unhealthy,
                Reason::NoQuorum => Blame::NoQuorum,
            });
            (Line::Lost { end: end(status), blame }, Some(id), Some(pid))
        }
        LogEvent::Restarted { id, pid, took } => (Line::Restarted { took }, Some(id), Some(pid)),
        LogEvent::LaunchFailed { id, errno: _, pause } => (Line::LaunchFailed { pause }, Some(id), None),
        LogEvent::Delayed { id, pause } => (Line::Delayed { pause }, Some(id), None),
        LogEvent::LimitReached { id, limit: _ } => (Line::LimitReached, Some(id), None),
        LogEvent::MayHaveDaemonized { id, pid } => (Line::MayHaveDaemonized, Some(id), Some(pid)),
        LogEvent::Adopted { id, pid, before } => (Line::Adopted { before }, Some(id), Some(pid)),
        LogEvent::OutOfReach { id, pid: _ } => (Line::OutOfReach, Some(id), None),
        LogEvent::NoMoreProcesses { id } => (Line::NoMoreProcesses, Some(id), None),
        LogEvent::GroupEnded { .. }
        | LogEvent::CorosyncLost
        | LogEvent::CorosyncBack
        | LogEvent::CorosyncStalled { .. } => (Line::Other, None, None),
    };
    Deed::Log { line, id, pid }
}
