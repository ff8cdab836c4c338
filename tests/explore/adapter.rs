//! The state machine under the names that the exploration uses for it. Nothing else here names an item of the library,
//! so a renaming there changes this file only.

use std::{fmt, hash::Hash};

use sam::{
    board::{self, View},
    corosync::{
        desk::{Quorum as Partition, Report},
        record::State,
    },
    environment::{HangSignal, RestartDelay, RestartLimit, Settings},
    policy::Recovery,
    status::Stage,
    supervisor::{
        heir::Heirs,
        machine::{Effect, Event, Machine, Rules},
        notice::{Notice, Reason},
    },
    sys::{inspection::Inspection, process::Status, signals::Received},
};

use super::{
    Config, HANG_GRACE, HANG_SIGNAL, INTERVAL, LAST_SIGNAL, RESTART_PAUSE, RESTART_WINDOW, RESTARTS,
    WARN_SIGNAL,
};

/// How an instance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    Exit(i32),
    Signal(i32, bool),
    Unknown,
}

/// The phase that an instance has written to its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    Registered,
    Waiting,
    Started,
    Stopped,
    Finalized,
}

/// The page of an instance. Times in ns, 0: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Page {
    pub phase: Phase,
    pub since: u64,
    pub heartbeat: u64,
    pub unhealthy: u64,
    pub warn_signal: i32,
    pub given_up: bool,
}

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

/// A signal that arrives at the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Arrival {
    pub number: i32,
    /// A terminal sent it to the instance as well.
    pub shared: bool,
}

/// What goes on in the place of an instance that exited with 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Heir {
    None,
    /// A process that has called the library.
    Caller,
    /// The only process that may call it yet.
    Only,
    Several,
    /// One that cannot be supervised.
    OutOfReach,
}

/// An event: what the machine is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    Launched(i32),
    LaunchFailed,
    Tick,
    Died(End),
    Left,
    /// What was found, and its pid.
    Heir(Heir, i32),
    Adopted(i32),
    LaunchImpossible,
    Stillborn(End),
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    Silent,
    Unhealthy,
    NoQuorum,
}

/// A log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Warned { silent: u64, signal: i32 },
    Unhealthy,
    Recovered { silent: u64, at: u64 },
    Killed { silent: u64, signal: i32 },
    Overdue { dumping: bool },
    Traced(bool),
    Refused { signal: i32 },
    Final { signal: i32 },
    Dropped { signal: i32 },
    QuorumWarned { signal: i32 },
    Outlived,
    QuorumLost,
    QuorumBack,
    Lost { end: End, blame: Option<Blame> },
    Restarted { took: u64 },
    LaunchFailed { pause: u64 },
    Delayed { pause: u64 },
    LimitReached,
    Left,
    Adopted { before: i32 },
    Strayed,
    NoMoreProcesses,
    Other,
}

/// An effect: what the machine asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Launch { id: u32, warn_signal: i32 },
    Prepare,
    SeekHeir,
    Adopt(i32),
    Send(i32),
    PassOn(i32),
    Inspect,
    EndGroup(u32),
    Suspend,
    Admit(u64),
    Show(u64),
    Publish(Key, u64),
    Log { line: Line, id: Option<u32>, pid: Option<i32> },
    Finish(End),
}

/// What the machine says of the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mood {
    Launching,
    Watched,
    Warned,
    Ending,
    Held,
    Pausing,
    Over,
}

/// The machine.
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
            hang_signal: config.hang.then_some(HangSignal { number: HANG_SIGNAL, grace: HANG_GRACE }),
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
        let view = page.map_or(View::GONE, view);
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

    pub fn mood(&self) -> (Mood, u64) {
        let (stage, until) = self.0.stage();
        let mood = match stage {
            Stage::Launching => Mood::Launching,
            Stage::Watched => Mood::Watched,
            Stage::Warned => Mood::Warned,
            Stage::Ending => Mood::Ending,
            Stage::Held => Mood::Held,
            Stage::Pausing => Mood::Pausing,
            Stage::Over => Mood::Over,
        };
        (mood, until)
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn view(page: &Page) -> View {
    let phase = match page.phase {
        Phase::Registered => board::Phase::Registered,
        Phase::Waiting => board::Phase::Waiting,
        Phase::Started => board::Phase::Started,
        Phase::Stopped => board::Phase::Stopped,
        Phase::Finalized => board::Phase::Finalized,
    };
    let Page { since, heartbeat, unhealthy, warn_signal, given_up, .. } = *page;
    View { phase, since, heartbeat, unhealthy, warn_signal, given_up }
}

fn event(fact: Fact) -> Event {
    let received = |number| Received { number, value: None, by_kernel: false };
    match fact {
        Fact::Launched(pid) => Event::Launched { pid },
        Fact::LaunchFailed => Event::LaunchFailed(libc::EAGAIN),
        Fact::Tick => Event::Tick,
        Fact::Died(end) => Event::Died(status(end)),
        Fact::Left => Event::Left,
        Fact::Heir(heir, pid) => Event::Heir(match heir {
            Heir::None => Heirs::None,
            Heir::Caller => Heirs::Caller(pid),
            Heir::Only => Heirs::Only(pid),
            Heir::Several => Heirs::Several,
            Heir::OutOfReach => Heirs::OutOfReach(Some(pid)),
        }),
        Fact::Adopted(pid) => Event::Adopted { pid },
        Fact::LaunchImpossible => Event::LaunchImpossible,
        Fact::Stillborn(end) => Event::Stillborn(status(end)),
        Fact::SpareMade => Event::SpareMade,
        Fact::SpareLost => Event::SpareLost,
        Fact::StoppedBy(signal) => Event::Stopped(signal),
        Fact::Refused(signal) => Event::Refused { signal, errno: libc::EPERM },
        Fact::Cluster(quorum, shown) => Event::Corosync(Report {
            quorum: match quorum {
                Quorum::Unknown => Partition::Unknown,
                Quorum::Yes => Partition::Yes,
                Quorum::No => Partition::No,
                Quorum::Gone => Partition::Gone,
            },
            shown: shown.map(|key| match key {
                Key::Stopped => State::Stopped,
                Key::Running => State::Running,
                Key::Waiting => State::Waiting,
                Key::Failed => State::Failed,
                Key::Gone => State::Gone,
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

fn status(end: End) -> Status {
    match end {
        End::Exit(code) => Status::Exited(code),
        End::Signal(signal, core) => Status::Killed { signal, core },
        End::Unknown => Status::Unknown,
    }
}

fn end(status: Status) -> End {
    match status {
        Status::Exited(code) => End::Exit(code),
        Status::Killed { signal, core } => End::Signal(signal, core),
        Status::Unknown => End::Unknown,
    }
}

fn deed(effect: Effect) -> Deed {
    match effect {
        Effect::Launch { id, warn_signal } => Deed::Launch { id, warn_signal },
        Effect::Prepare => Deed::Prepare,
        Effect::SeekHeir => Deed::SeekHeir,
        Effect::Adopt(pid) => Deed::Adopt(pid),
        Effect::Send(signal) => Deed::Send(signal),
        Effect::PassOn(received) => Deed::PassOn(received.number),
        Effect::Inspect => Deed::Inspect,
        Effect::EndGroup(id) => Deed::EndGroup(id),
        Effect::Suspend => Deed::Suspend,
        Effect::Admit(since) => Deed::Admit(since),
        Effect::Show(since) => Deed::Show(since),
        Effect::Publish(record) => {
            let key = match record.state {
                State::Stopped => Key::Stopped,
                State::Running => Key::Running,
                State::Waiting => Key::Waiting,
                State::Failed => Key::Failed,
                State::Gone => Key::Gone,
            };
            Deed::Publish(key, record.last_updated)
        }
        Effect::Tell(notice) => logged(notice),
        Effect::Finish(status) => Deed::Finish(end(status)),
    }
}

fn logged(notice: Notice) -> Deed {
    let (line, id, pid) = match notice {
        Notice::Warned { id, pid, silent, limit: _, signal } => {
            (Line::Warned { silent, signal }, Some(id), Some(pid))
        }
        Notice::Unhealthy { id, pid } => (Line::Unhealthy, Some(id), Some(pid)),
        Notice::Recovered { id, pid, silent, at } => (Line::Recovered { silent, at }, Some(id), Some(pid)),
        Notice::Killed { id, pid, silent, signal } => (Line::Killed { silent, signal }, Some(id), Some(pid)),
        Notice::Overdue { id, pid, dumping } => (Line::Overdue { dumping }, Some(id), Some(pid)),
        Notice::Traced { id, pid, traced } => (Line::Traced(traced), Some(id), Some(pid)),
        Notice::Refused { id, pid, signal, errno: _ } => (Line::Refused { signal }, Some(id), Some(pid)),
        Notice::Final { id, pid, signal, way: _ } => (Line::Final { signal }, Some(id), Some(pid)),
        Notice::Dropped { id, signal } => (Line::Dropped { signal }, Some(id), None),
        Notice::Condemned { id, pid, signal } => (Line::QuorumWarned { signal }, Some(id), Some(pid)),
        Notice::Outlived { id, pid } => (Line::Outlived, Some(id), Some(pid)),
        Notice::QuorumLost => (Line::QuorumLost, None, None),
        Notice::QuorumBack => (Line::QuorumBack, None, None),
        Notice::Lost { id, pid, status, reason } => {
            let blame = reason.map(|reason| match reason {
                Reason::Silent => Blame::Silent,
                Reason::Unhealthy => Blame::Unhealthy,
                Reason::NoQuorum => Blame::NoQuorum,
            });
            (Line::Lost { end: end(status), blame }, Some(id), Some(pid))
        }
        Notice::Restarted { id, pid, took } => (Line::Restarted { took }, Some(id), Some(pid)),
        Notice::LaunchFailed { id, errno: _, pause } => (Line::LaunchFailed { pause }, Some(id), None),
        Notice::Delayed { id, pause } => (Line::Delayed { pause }, Some(id), None),
        Notice::LimitReached { id, limit: _ } => (Line::LimitReached, Some(id), None),
        Notice::Left { id, pid } => (Line::Left, Some(id), Some(pid)),
        Notice::Adopted { id, pid, before } => (Line::Adopted { before }, Some(id), Some(pid)),
        Notice::Strayed { id, pid: _ } => (Line::Strayed, Some(id), None),
        Notice::NoMoreProcesses { id } => (Line::NoMoreProcesses, Some(id), None),
        Notice::GroupEnded { .. }
        | Notice::CorosyncLost
        | Notice::CorosyncBack
        | Notice::CorosyncStalled { .. } => (Line::Other, None, None),
    };
    Deed::Log { line, id, pid }
}
