//! The report about one supervised program, printed as a table row or as a JSON object.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::found::Found;
use crate::policy::bits;
use crate::shared::control_page::{Phase, View};
use crate::shared::status_page::{Activity, Status};
use crate::time::MonotonicTime;

/// A row of the table, or an object of the JSON array.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    program: String,
    /// The pid of the supervisor.
    supervisor: u32,
    /// The instance id.
    instance: u32,
    /// The pid of the instance.
    pid: Option<u32>,
    state: &'static str,
    /// `true` if the state needs no attention.
    pub well: bool,
    policy: String,
    interval_ms: Option<u64>,
    heartbeat_age_ms: Option<u64>,
    /// The time until the supervisor acts: until the warning, the kill or the next start.
    time_left_ms: Option<u64>,
    restarts: u64,
    last: Option<Last>,
}

/// The last event that the supervisor logged.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Last {
    /// The text of the log line.
    what: String,
    /// The time of the event, in seconds since 1970.
    at: f64,
    age_ms: u64,
}

/// Converts ns to ms.
fn ms(ns: u64) -> u64 {
    ns / 1_000_000
}

impl Report {
    /// Makes a report about `found` at the current time.
    pub fn of(found: &Found) -> Report {
        let time_of_day =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        Report::at(found, now.as_nanos() as u64, time_of_day)
    }

    /// Makes a report about `found`. `now` is the time of CLOCK_MONOTONIC in ns, `time_of_day` is in ns since 1970.
    fn at(found: &Found, now: u64, time_of_day: u64) -> Report {
        let Status { activity, until, interval, .. } = found.status;
        let view = found.view.filter(|_| found.status.pid != 0);
        let (state, well) = match state(activity, view) {
            // The program runs, but its next end is final. That needs attention.
            ("running", _) if found.status.end_is_final => ("told to end", false),
            state => state,
        };
        let is_started = view.is_some_and(|view| view.phase == Phase::Started);
        // A later time is forged by the instance.
        let heartbeat = view.and_then(|view| view.heartbeat).map_or(0, MonotonicTime::as_ns);
        let heartbeat = if heartbeat <= now { heartbeat } else { 0 };
        let deadline = match activity {
            Activity::Watched if is_started && interval > 0 => Some(heartbeat.saturating_add(interval)),
            Activity::Watched | Activity::Launching | Activity::Held | Activity::Over => None,
            Activity::Warned | Activity::Ending | Activity::Pausing => Some(until).filter(|&until| until > 0),
        };
        let last = Last {
            what: found.status.last.clone(),
            at: found.status.last_at as f64 / 1e9,
            age_ms: ms(time_of_day.saturating_sub(found.status.last_at)),
        };
        Report {
            program: found.status.program.clone(),
            supervisor: found.pid,
            instance: found.status.id,
            pid: found.instance,
            state,
            well,
            policy: policy(found.status.policy),
            interval_ms: Some(ms(interval)).filter(|&interval| interval > 0),
            heartbeat_age_ms: Some(heartbeat)
                .filter(|&heartbeat| heartbeat > 0)
                .map(|heartbeat| ms(now - heartbeat)),
            time_left_ms: deadline.map(|deadline| ms(deadline.saturating_sub(now))),
            restarts: found.status.restarts,
            last: Some(last).filter(|_| found.status.last_at > 0),
        }
    }

    /// Returns `true` if `wanted` contains the program's name or the supervisor's pid, or is empty.
    pub fn is_wanted(&self, wanted: &[String]) -> bool {
        wanted.is_empty()
            || wanted.iter().any(|word| *word == self.program || *word == self.supervisor.to_string())
    }

    /// Returns the cells of the table row.
    fn cells(&self) -> [String; 11] {
        let ms = |ms: Option<u64>| ms.map_or("-".to_owned(), |ms| format!("{ms} ms"));
        let last = self.last.as_ref().map(|last| format!("{} ago: {}", age(last.age_ms), last.what));
        [
            self.program.clone(),
            self.supervisor.to_string(),
            self.instance.to_string(),
            self.pid.map_or("-".to_owned(), |pid| pid.to_string()),
            self.state.to_owned(),
            self.policy.clone(),
            ms(self.interval_ms),
            ms(self.heartbeat_age_ms),
            ms(self.time_left_ms),
            self.restarts.to_string(),
            last.unwrap_or("-".to_owned()),
        ]
    }
}

/// Returns the name of the state, and `true` if the state needs no attention.
fn state(activity: Activity, view: Option<View>) -> (&'static str, bool) {
    match (activity, view.map(|view| view.phase)) {
        (Activity::Launching, _) | (Activity::Watched, None) => ("starting", false),
        (Activity::Pausing, _) => ("delayed", false),
        (Activity::Over, _) => ("ended", false),
        (Activity::Held, _) => ("held by a debugger", false),
        (Activity::Warned, _) => ("warned", false),
        (Activity::Ending, _) => ("being killed", false),
        (Activity::Watched, Some(Phase::Registered)) => ("registered", true),
        (Activity::Watched, Some(Phase::Started)) => ("running", true),
        (Activity::Watched, Some(Phase::Stopped)) => ("stopped", true),
        (Activity::Watched, Some(Phase::Finalized)) => ("finalized", true),
        (Activity::Watched, Some(Phase::Waiting)) => ("waiting for quorum", false),
    }
}

/// Returns the recovery policy as text, such as `restart+quorum`.
fn policy(policy: u32) -> String {
    let names =
        [(bits::QUIT, "quit"), (bits::RESTART, "restart"), (bits::QUORUM, "quorum"), (bits::CMAP, "cmap")];
    let names: Vec<&str> = names.iter().filter(|(bit, _)| policy & bit != 0).map(|(_, name)| *name).collect();
    names.join("+")
}

/// Formats a duration with the largest suitable unit, from ms to days.
fn age(ms: u64) -> String {
    match ms / 1000 {
        0 => format!("{ms} ms"),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// Formats the reports as a table with a heading.
pub fn table(reports: &[Report]) -> String {
    let head = [
        "PROGRAM",
        "SUPERVISOR",
        "INSTANCE",
        "PID",
        "STATE",
        "POLICY",
        "INTERVAL",
        "HEARTBEAT",
        "LEFT",
        "RESTARTS",
        "LAST",
    ];
    let rows: Vec<[String; 11]> =
        [head.map(str::to_owned)].into_iter().chain(reports.iter().map(Report::cells)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let is_number = [1, 2, 3, 6, 7, 8, 9].contains(&column);
            let padding = " ".repeat(width - cell.chars().count());
            line += &if is_number { format!("{padding}{cell}  ") } else { format!("{cell}{padding}  ") };
        }
        text += line.trim_end();
        text += "\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn found(activity: Activity, view: Option<View>) -> Found {
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
            last: "instance 3 (pid 455) exited 3".to_owned(),
            program: "daemon".to_owned(),
        };
        Found { pid: 123, instance: Some(456), status, view }
    }

    fn view(phase: Phase, heartbeat: u64) -> Option<View> {
        Some(View { phase, heartbeat: Some(MonotonicTime::from_ns(heartbeat)), ..View::NO_INSTANCE })
    }

    fn report(activity: Activity, view: Option<View>) -> Report {
        Report::at(&found(activity, view), 10_000 * MS, 1_005_000 * MS)
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
        told.status.end_is_final = true;
        let report = Report::at(&told, 10_000 * MS, 1_005_000 * MS);
        assert_eq!((report.state, report.well), ("told to end", false));
    }

    #[test]
    fn table_has_one_aligned_line_per_report() {
        let one = report(Activity::Watched, view(Phase::Started, 9_700 * MS));
        let other = Report {
            program: "d".to_owned(),
            pid: None,
            interval_ms: None,
            heartbeat_age_ms: None,
            time_left_ms: None,
            last: None,
            ..one.clone()
        };
        assert_eq!(
            table(&[one, other]),
            "PROGRAM  SUPERVISOR  INSTANCE  PID  STATE    POLICY        INTERVAL  HEARTBEAT     LEFT  RESTARTS  LAST\n\
             daemon          123         4  456  running  restart+cmap   2000 ms     300 ms  1700 ms         3  5 s ago: instance 3 (pid 455) exited 3\n\
             d               123         4    -  running  restart+cmap         -          -        -         3  -\n"
        );
    }

    #[test]
    fn report_is_wanted_by_program_name_or_supervisor_pid() {
        let report = report(Activity::Launching, None);
        for (wanted, is_wanted) in
            [(&[][..], true), (&["daemon"], true), (&["x", "123"], true), (&["456", "dae"], false)]
        {
            let wanted: Vec<String> = wanted.iter().map(|word: &&str| (*word).to_owned()).collect();
            assert_eq!(report.is_wanted(&wanted), is_wanted, "{wanted:?}");
        }
    }

    #[test]
    fn age_is_formatted_with_the_largest_suitable_unit() {
        let ages = [999, 1000, 119_999, 120_000, 7_199_999, 7_200_000, 172_799_999, 172_800_000].map(age);
        assert_eq!(ages, ["999 ms", "1 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d"]);
    }
}
