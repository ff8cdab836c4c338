//! The report about one supervised program. As JSON it is a stable interface, see sam-status(8).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use serde::{Serialize, Serializer};

use crate::found::{Found, Pages};
use crate::policy::bits;
use crate::shared::control_page::{Phase, View};
use crate::shared::status_page::{Activity, Details, EndStatus, LastEnd, Status};
use crate::time::MonotonicTime;

/// The number of recent restarts from which on a program that runs again counts as failing.
const FAILING: u64 = 3;

/// The report about a supervisor and its program, an object of the JSON array.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The name of the program.
    pub program: String,
    /// The pid of the supervisor.
    pub supervisor: u32,
    /// The instance id.
    pub instance: Option<u32>,
    /// The pid of the instance.
    pub pid: Option<u32>,
    /// The state of the program.
    pub state: State,
    /// `true` if the state needs no attention.
    pub well: bool,
    /// The recovery policy, such as `restart+quorum`.
    pub policy: Option<String>,
    /// The longest silence that is allowed.
    pub interval_ms: Option<u64>,
    /// The time since the last heartbeat.
    pub heartbeat_age_ms: Option<u64>,
    /// The time until the supervisor acts: until the warning, the kill or the next start.
    pub time_left_ms: Option<u64>,
    /// The number of instances after the first.
    pub restarts: Option<u64>,
    /// The restarts of the last five minutes.
    pub recent_restarts: Option<u64>,
    /// The time since the beginning of the instance.
    pub uptime_ms: Option<u64>,
    /// The last event that the supervisor logged.
    pub last: Option<Last>,
    /// The last end of an instance.
    pub last_end: Option<End>,
    /// The version of the library that the supervisor uses.
    pub library: Option<String>,
    /// `true` if the supervisor uses an older library than the installed one.
    pub library_is_old: bool,
    /// The systemd service that the supervisor belongs to.
    pub service: Option<String>,
    /// The file name of the program, which differs from `program` for a script.
    #[serde(skip)]
    pub file_name: String,
}

/// The last event that the supervisor logged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Last {
    /// The text of the log line.
    pub what: String,
    /// The time of the event, in seconds since 1970.
    pub at: f64,
    /// The time since the event.
    pub age_ms: u64,
}

/// The end of an instance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct End {
    /// The instance id.
    pub instance: u32,
    /// The pid of the instance in its own PID namespace.
    pub pid: i32,
    /// The reason of the end, as the field SAM_REASON of the log has it.
    pub reason: String,
    /// The exit code, if the instance exited.
    pub exit_code: Option<i32>,
    /// The name of the signal, if a signal killed the instance.
    pub signal: Option<String>,
    /// `true` if the kernel wrote a core file.
    pub core: bool,
    /// The time of the end, in seconds since 1970.
    pub at: f64,
    /// The time since the end.
    pub age_ms: u64,
}

/// The state of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The program runs now, but was restarted several times within the last minutes.
    Failing,
    /// The supervisor has killed the instance, which has not ended yet.
    BeingKilled,
    /// The instance has received a warning.
    Warned,
    /// The library has a status page that this version cannot read.
    Unknown,
    /// The supervisor creates the next instance after a delay.
    Delayed,
    /// The supervisor is creating the next instance.
    Starting,
    /// The instance waits for quorum.
    WaitingForQuorum,
    /// The instance was told to end, and no restart follows its end.
    ToldToEnd,
    /// A debugger traces the instance.
    Held,
    /// The supervisor has ended.
    Ended,
    /// The instance is registered, and has not started health checking yet.
    Registered,
    /// The instance has started health checking.
    Running,
    /// The instance has stopped health checking.
    Stopped,
    /// The instance has called `sam_finalize`.
    Finalized,
}

/// The urgency of a state, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// The program fails, or cannot be judged.
    Trouble,
    /// The state needs attention if it lasts.
    Attention,
    /// The state needs no attention.
    None,
}

impl State {
    /// All states, the most urgent first.
    pub const ALL: [State; 14] = [
        State::Failing,
        State::BeingKilled,
        State::Warned,
        State::Unknown,
        State::Delayed,
        State::Starting,
        State::WaitingForQuorum,
        State::ToldToEnd,
        State::Held,
        State::Ended,
        State::Registered,
        State::Running,
        State::Stopped,
        State::Finalized,
    ];

    /// Returns the name of the state, which is also its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            State::Failing => "failing",
            State::BeingKilled => "being killed",
            State::Warned => "warned",
            State::Unknown => "unknown",
            State::Delayed => "delayed",
            State::Starting => "starting",
            State::WaitingForQuorum => "waiting for quorum",
            State::ToldToEnd => "told to end",
            State::Held => "held by a debugger",
            State::Ended => "ended",
            State::Registered => "registered",
            State::Running => "running",
            State::Stopped => "stopped",
            State::Finalized => "finalized",
        }
    }

    /// Returns the urgency of the state.
    pub fn urgency(self) -> Urgency {
        match self {
            State::Failing | State::BeingKilled | State::Warned | State::Unknown => Urgency::Trouble,
            State::Delayed
            | State::Starting
            | State::WaitingForQuorum
            | State::ToldToEnd
            | State::Held
            | State::Ended => Urgency::Attention,
            State::Registered | State::Running | State::Stopped | State::Finalized => Urgency::None,
        }
    }

    /// Returns the state in the view of the supervisor and of the instance.
    fn of(activity: Activity, view: Option<View>) -> State {
        match (activity, view.map(|view| view.phase)) {
            (Activity::Launching, _) | (Activity::Watched, None) => State::Starting,
            (Activity::Pausing, _) => State::Delayed,
            (Activity::Over, _) => State::Ended,
            (Activity::Held, _) => State::Held,
            (Activity::Warned, _) => State::Warned,
            (Activity::Ending, _) => State::BeingKilled,
            (Activity::Watched, Some(Phase::Registered)) => State::Registered,
            (Activity::Watched, Some(Phase::Started)) => State::Running,
            (Activity::Watched, Some(Phase::Stopped)) => State::Stopped,
            (Activity::Watched, Some(Phase::Finalized)) => State::Finalized,
            (Activity::Watched, Some(Phase::Waiting)) => State::WaitingForQuorum,
        }
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The times that the clocks show.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The time of CLOCK_MONOTONIC in ns.
    monotonic: u64,
    /// The time of CLOCK_BOOTTIME in ns.
    since_boot: u64,
    /// The time in ns since 1970.
    since_1970: u64,
}

impl Now {
    /// Reads the clocks.
    pub fn read() -> Now {
        let clock = |id| clock_gettime(id).map_or(Duration::ZERO, Duration::from).as_nanos() as u64;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Now {
            monotonic: clock(ClockId::CLOCK_MONOTONIC),
            since_boot: clock(ClockId::CLOCK_BOOTTIME),
            since_1970: since_1970.map_or(0, |time| time.as_nanos() as u64),
        }
    }

    /// Returns the time since `at`, a time in ns since 1970, in ms.
    fn age_ms(self, at: u64) -> u64 {
        ms(self.since_1970.saturating_sub(at))
    }
}

/// Converts ns to ms.
fn ms(ns: u64) -> u64 {
    ns / 1_000_000
}

/// Converts ns to seconds.
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

impl Report {
    /// Makes a report about `found`.
    pub fn of(found: &Found, now: Now) -> Report {
        let kernel_name = found.kernel_name.clone().unwrap_or_default();
        let mut report = Report {
            program: kernel_name.clone(),
            supervisor: found.pid,
            instance: None,
            pid: None,
            state: State::Unknown,
            well: false,
            policy: None,
            interval_ms: None,
            heartbeat_age_ms: None,
            time_left_ms: None,
            restarts: None,
            recent_restarts: None,
            uptime_ms: None,
            last: None,
            last_end: None,
            library: None,
            library_is_old: found.library_was_replaced,
            service: found.service.clone(),
            file_name: kernel_name,
        };
        if let Some(pages) = &found.pages {
            report.program = found.script.clone().unwrap_or_else(|| pages.status.program.to_string());
            report.file_name = pages.status.program.to_string();
            report.add(pages, now);
        }
        report
    }

    /// Adds the contents of the pages.
    fn add(&mut self, pages: &Pages, now: Now) {
        let Status { activity, until, interval, last_at, last, .. } = pages.status;
        let view = pages.view.filter(|_| pages.status.pid != 0);
        let is_started = view.is_some_and(|view| view.phase == Phase::Started);
        // A later time is forged by the instance.
        let heartbeat = view.and_then(|view| view.heartbeat).map_or(0, MonotonicTime::as_ns);
        let heartbeat = if heartbeat <= now.monotonic { heartbeat } else { 0 };
        let deadline = match activity {
            Activity::Watched if is_started && interval > 0 => Some(heartbeat.saturating_add(interval)),
            Activity::Watched | Activity::Launching | Activity::Held | Activity::Over => None,
            Activity::Warned | Activity::Ending | Activity::Pausing => (until > 0).then_some(until),
        };
        self.instance = Some(pages.status.id);
        self.pid = pages.instance;
        self.policy = Some(policy(pages.status.policy));
        let interval_ms = ms(interval);
        self.interval_ms = (interval_ms > 0).then_some(interval_ms);
        self.heartbeat_age_ms = (heartbeat > 0).then(|| ms(now.monotonic - heartbeat));
        self.time_left_ms = deadline.map(|deadline| ms(deadline.saturating_sub(now.monotonic)));
        self.restarts = Some(pages.status.restarts);
        let event = Last { what: last.to_string(), at: seconds(last_at), age_ms: now.age_ms(last_at) };
        self.last = (last_at > 0).then_some(event);
        match &pages.status.details {
            Some(details) => self.add_details(details, now),
            // The library is version 0.2.0 or older.
            None => self.library_is_old = true,
        }
        self.state = match State::of(activity, view) {
            // The program runs, but its next end is final. That needs attention.
            State::Running if pages.status.end_is_final => State::ToldToEnd,
            State::Registered | State::Running | State::Stopped | State::Starting if self.is_failing() => {
                State::Failing
            }
            state => state,
        };
        self.well = self.state.urgency() == Urgency::None;
    }

    /// Adds what libraries after version 0.2.0 show.
    fn add_details(&mut self, details: &Details, now: Now) {
        self.recent_restarts = Some(details.recent_restarts.number_at(now.monotonic));
        let uptime = ms(now.since_boot.saturating_sub(details.born));
        self.uptime_ms = (details.born > 0 && self.pid.is_some()).then_some(uptime);
        self.last_end = details.last_end.as_ref().map(|end| End::of(end, now));
        let version = details.version.to_string();
        self.library_is_old |= is_older(&version, env!("CARGO_PKG_VERSION"));
        self.library = Some(version);
    }

    /// Returns `true` if there were several restarts within the last minutes.
    fn is_failing(&self) -> bool {
        self.recent_restarts.is_some_and(|restarts| restarts >= FAILING)
    }

    /// Returns how urgent it is to look at the program.
    pub fn urgency(&self) -> Urgency {
        if self.is_failing() && !self.well { Urgency::Trouble } else { self.state.urgency() }
    }

    /// Returns `true` if `wanted` is the program's name or the supervisor's pid.
    pub fn is(&self, wanted: &str) -> bool {
        wanted == self.program || wanted == self.file_name || wanted == self.supervisor.to_string()
    }
}

impl End {
    fn of(end: &LastEnd, now: Now) -> End {
        let (exit_code, signal, core) = match end.status {
            EndStatus::Unknown => (None, None, false),
            EndStatus::Exited(code) => (Some(code), None, false),
            EndStatus::Killed { signal, core } => (None, Some(signal_name(signal)), core),
        };
        End {
            instance: end.id,
            pid: end.pid,
            reason: end.reason.to_string(),
            exit_code,
            signal,
            core,
            at: seconds(end.at),
            age_ms: now.age_ms(end.at),
        }
    }
}

/// Returns the name of a signal as `kill -l` has it.
fn signal_name(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) if number > libc::SIGRTMIN() => format!("SIGRTMIN+{}", number - libc::SIGRTMIN()),
        Err(_) if number == libc::SIGRTMIN() => "SIGRTMIN".to_owned(),
        Err(_) => format!("signal {number}"),
    }
}

/// Returns `true` if `version` is a lower version number than `other`.
fn is_older(version: &str, other: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        text.split(['.', '-', '+']).map_while(|number| number.parse().ok()).collect()
    };
    numbers(version) < numbers(other)
}

/// Returns the recovery policy as text, such as `restart+quorum`.
fn policy(policy: u32) -> String {
    let names =
        [(bits::QUIT, "quit"), (bits::RESTART, "restart"), (bits::QUORUM, "quorum"), (bits::CMAP, "cmap")];
    let names: Vec<&str> = names.iter().filter(|(bit, _)| policy & bit != 0).map(|(_, name)| *name).collect();
    names.join("+")
}

#[cfg(test)]
impl Report {
    /// Returns a report for tests, about a program that runs.
    pub fn example() -> Report {
        Report {
            program: "daemon".to_owned(),
            supervisor: 123,
            instance: Some(4),
            pid: Some(456),
            state: State::Running,
            well: true,
            policy: Some("restart+cmap".to_owned()),
            interval_ms: Some(2000),
            heartbeat_age_ms: Some(300),
            time_left_ms: Some(1700),
            restarts: Some(3),
            recent_restarts: Some(1),
            uptime_ms: Some(61_000),
            last: Some(Last {
                what: "instance 3 (pid 455) died of SIGABRT (core dumped)".to_owned(),
                at: 1000.0,
                age_ms: 61_050,
            }),
            last_end: Some(End {
                instance: 3,
                pid: 455,
                reason: "signal".to_owned(),
                exit_code: None,
                signal: Some("SIGABRT".to_owned()),
                core: true,
                at: 1000.0,
                age_ms: 61_050,
            }),
            library: Some("9.9.9".to_owned()),
            library_is_old: false,
            service: Some("daemon.service".to_owned()),
            file_name: "daemon".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::status_page::{RecentRestarts, Text};

    const MS: u64 = 1_000_000;

    const NOW: Now = Now { monotonic: 10_000 * MS, since_boot: 20_000 * MS, since_1970: 1_005_000 * MS };

    fn found(activity: Activity, view: Option<View>) -> Found {
        let details = Details {
            version: Text::of(env!("CARGO_PKG_VERSION")),
            born: 12_500 * MS,
            recent_restarts: RecentRestarts::default(),
            last_end: Some(LastEnd {
                id: 3,
                pid: 455,
                at: 1_000_000 * MS,
                status: EndStatus::Exited(3),
                reason: Text::of("exited"),
            }),
        };
        let status = Status {
            supervisor: 1,
            policy: bits::RESTART | bits::CMAP,
            interval: 2000 * MS,
            control_page: None,
            id: 4,
            pid: 3,
            restarts: 3,
            activity,
            until: 10_700 * MS,
            last_at: 1_000_000 * MS,
            end_is_final: false,
            last: Text::of("instance 3 (pid 455) exited 3"),
            program: Text::of("daemon"),
            details: Some(details),
        };
        Found {
            pid: 123,
            kernel_name: Some("thread".to_owned()),
            script: None,
            service: None,
            library_was_replaced: false,
            pages: Some(Pages { instance: Some(456), status, view }),
        }
    }

    /// Returns the status page of `found`.
    fn status(found: &mut Found) -> &mut Status {
        &mut found.pages.as_mut().unwrap().status
    }

    fn view(phase: Phase, heartbeat: u64) -> Option<View> {
        Some(View { phase, heartbeat: Some(MonotonicTime::from_ns(heartbeat)), ..View::NO_INSTANCE })
    }

    fn report(activity: Activity, view: Option<View>) -> Report {
        Report::of(&found(activity, view), NOW)
    }

    /// Returns a supervisor whose running instance follows this number of recent restarts.
    fn restarted(restarts: u64, activity: Activity) -> Found {
        let mut found = found(activity, view(Phase::Started, 9_700 * MS));
        let details = status(&mut found).details.as_mut().unwrap();
        (0..restarts).for_each(|_| details.recent_restarts.count(NOW.monotonic));
        found
    }

    #[test]
    fn time_left_is_the_time_until_the_next_action() {
        let beat = 9_700 * MS;
        for (activity, phase, expected) in [
            (Activity::Watched, Phase::Started, Some(1700)),
            (Activity::Watched, Phase::Registered, None),
            (Activity::Watched, Phase::Stopped, None),
            (Activity::Warned, Phase::Started, Some(700)),
            (Activity::Ending, Phase::Started, Some(700)),
            (Activity::Pausing, Phase::Registered, Some(700)),
            (Activity::Held, Phase::Started, None),
        ] {
            assert_eq!(report(activity, view(phase, beat)).time_left_ms, expected, "{activity:?} {phase:?}");
        }
        let late = report(Activity::Watched, view(Phase::Started, 1000 * MS));
        assert_eq!((late.time_left_ms, late.heartbeat_age_ms), (Some(0), Some(9000)));
        let future = report(Activity::Watched, view(Phase::Started, u64::MAX));
        assert_eq!((future.time_left_ms, future.heartbeat_age_ms), (Some(0), None));
    }

    #[test]
    fn state_that_needs_attention_is_not_well() {
        let well = |activity, phase| report(activity, view(phase, 1)).well;
        for phase in [Phase::Registered, Phase::Started, Phase::Stopped, Phase::Finalized] {
            assert!(well(Activity::Watched, phase), "{phase:?}");
        }
        assert!(!well(Activity::Watched, Phase::Waiting));
        for activity in [
            Activity::Launching,
            Activity::Warned,
            Activity::Ending,
            Activity::Held,
            Activity::Pausing,
            Activity::Over,
        ] {
            assert!(!well(activity, Phase::Started), "{activity:?}");
        }
        assert!(!report(Activity::Watched, None).well);

        let mut told = found(Activity::Watched, view(Phase::Started, 1));
        status(&mut told).end_is_final = true;
        let report = Report::of(&told, NOW);
        assert_eq!((report.state, report.well), (State::ToldToEnd, false));
    }

    #[test]
    fn program_that_was_restarted_three_times_in_five_minutes_is_failing() {
        let report = |restarts, activity| Report::of(&restarted(restarts, activity), NOW);
        let twice = report(2, Activity::Watched);
        assert_eq!((twice.state, twice.recent_restarts, twice.well), (State::Running, Some(2), true));
        let often = report(3, Activity::Watched);
        assert_eq!((often.state, often.recent_restarts, often.well), (State::Failing, Some(3), false));
        let later = Now { monotonic: NOW.monotonic + 300_000 * MS, ..NOW };
        let later = Report::of(&restarted(3, Activity::Watched), later);
        assert_eq!((later.state, later.recent_restarts), (State::Running, Some(0)));
        // While the next instance waits, the state says so, but the trouble comes first.
        let delayed = report(3, Activity::Pausing);
        assert_eq!((delayed.state, delayed.urgency()), (State::Delayed, Urgency::Trouble));
        assert_eq!(report(2, Activity::Pausing).urgency(), Urgency::Attention);
    }

    #[test]
    fn uptime_and_last_end_are_those_of_the_page() {
        let report = report(Activity::Watched, view(Phase::Started, 1));
        assert_eq!(report.uptime_ms, Some(7500));
        let end = End {
            instance: 3,
            pid: 455,
            reason: "exited".to_owned(),
            exit_code: Some(3),
            signal: None,
            core: false,
            at: 1000.0,
            age_ms: 5000,
        };
        assert_eq!(report.last_end, Some(end));
        for (number, name) in [(6, "SIGABRT"), (34, "SIGRTMIN"), (36, "SIGRTMIN+2"), (33, "signal 33")] {
            assert_eq!(signal_name(number), name);
        }
    }

    #[test]
    fn library_is_old_if_its_version_is_lower_or_its_file_was_replaced() {
        let mut current = found(Activity::Launching, None);
        let is_old = |found: &Found| Report::of(found, NOW).library_is_old;
        assert!(!is_old(&current));
        current.library_was_replaced = true;
        assert!(is_old(&current));
        let mut old = found(Activity::Launching, None);
        status(&mut old).details.as_mut().unwrap().version = Text::of("0.0.9");
        assert!(is_old(&old));
        status(&mut old).details = None;
        let report = Report::of(&old, NOW);
        assert_eq!((report.library_is_old, report.library, report.recent_restarts), (true, None, None));
        assert!(is_older("0.9.0", "0.10.0") && !is_older("1.0.0", "0.10.0") && !is_older("0.2.0", "0.2.0"));
    }

    #[test]
    fn supervisor_with_unknown_layout_is_reported_by_the_name_of_its_process() {
        let unknown = Found { pages: None, ..found(Activity::Launching, None) };
        let report = Report::of(&unknown, NOW);
        let shown = (report.program.as_str(), report.supervisor, report.state, report.well);
        assert_eq!(shown, ("thread", 123, State::Unknown, false));
    }

    #[test]
    fn program_is_selected_by_name_file_name_or_supervisor_pid() {
        let script = Found { script: Some("feed.py".to_owned()), ..found(Activity::Launching, None) };
        let report = Report::of(&script, NOW);
        for (wanted, is_wanted) in
            [("feed.py", true), ("daemon", true), ("123", true), ("456", false), ("feed", false)]
        {
            assert_eq!(report.is(wanted), is_wanted, "{wanted}");
        }
    }

    #[test]
    fn states_are_ordered_by_their_urgency() {
        assert!(State::ALL.is_sorted());
        assert!(State::ALL.map(State::urgency).is_sorted());
    }
}
