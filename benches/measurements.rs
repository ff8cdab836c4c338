//! The measurements and their goals.

use crate::samples::Figure::{self, Best, Median, P99};

/// A library or a method that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    /// Corosync's libsam, as Debian packages it.
    Libsam4,
    /// This library.
    Ours,
    /// This library with a warm spare.
    OursWithSpare,
    /// The least supervisor that can be, see `floor.h`.
    Floor,
    /// The same with a spare.
    FloorWithSpare,
    /// A program that links nothing but the C library.
    NoLibrary,
    /// One reading of the clock.
    Clock,
    /// One copy of the same number of bytes.
    OneCopy,
    /// A service under runit.
    Runit,
    /// A service under s6.
    S6,
    /// The watchdog datagram of a systemd service.
    SdNotify,
}
use Contender::{
    Clock, Floor, FloorWithSpare, Libsam4, NoLibrary, OneCopy, Ours, OursWithSpare, Runit, S6, SdNotify,
};

/// Returns the name for tables.
impl Contender {
    pub fn name(self) -> &'static str {
        match self {
            Libsam4 => "libsam4",
            Ours => "ours",
            OursWithSpare => "ours, warm spare",
            Floor => "least supervisor",
            FloorWithSpare => "least supervisor, spare",
            NoLibrary => "no library",
            Clock => "clock_gettime",
            OneCopy => "memcpy",
            Runit => "runit",
            S6 => "s6",
            SdNotify => "sd_notify",
        }
    }

    /// Returns the command by which this contender measures what `restart` measures with a library.
    pub fn command(self, restart: &str) -> String {
        let of_floor = |spare| format!("{} {spare}", restart.replacen("restart", "floor", 1));
        match self {
            Floor => of_floor("none"),
            FloorWithSpare => of_floor("spare"),
            _ => restart.to_owned(),
        }
    }
}

/// The unit of the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Time in ns.
    Time,
    /// Processor time in ns per second.
    Load,
    /// Memory in bytes.
    Bytes,
    /// Events per second.
    PerSecond,
}
use Unit::{Bytes, Load, PerSecond, Time};

/// The goal of a measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// No goal: the line is for comparison.
    None,
    /// The ratio of this library to the other contender is at most this.
    RatioAtMost(f64),
    /// That ratio is at least this.
    RatioAtLeast(f64),
    /// The figure of this library is at most this.
    AtMost(f64),
}
use Goal::{AtMost, RatioAtLeast, RatioAtMost};

/// A line of the table of results.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    pub what: &'static str,
    pub unit: Unit,
    pub figure: Figure,
    pub against: Contender,
    pub ours: Contender,
    pub goal: Goal,
}

impl Line {
    /// Returns how many times better a ratio of this library to the other contender is.
    pub fn better(&self, ratio: f64) -> f64 {
        if self.unit == PerSecond { ratio } else { 1.0 / ratio }
    }
}

/// Commands that measure the same thing, and the lines of the table that show it.
pub struct Measurement {
    pub rounds: usize,
    pub runs: Vec<(Contender, String)>,
    pub lines: Vec<Line>,
}

impl Measurement {
    /// Makes a measurement in which all contenders run the same command.
    fn new(rounds: usize, command: &str, contenders: &[Contender]) -> Measurement {
        let runs = contenders.iter().map(|who| (*who, who.command(command))).collect();
        Measurement { rounds, runs, lines: Vec::new() }
    }

    /// Adds a contender that runs another command.
    fn and(mut self, who: Contender, command: &str) -> Measurement {
        self.runs.push((who, command.to_owned()));
        self
    }

    /// Adds a line that compares corosync's libsam with this library.
    fn line(self, what: &'static str, unit: Unit, figure: Figure, goal: Goal) -> Measurement {
        self.line_of(what, unit, figure, (Libsam4, Ours), goal)
    }

    /// Adds a line that compares two contenders.
    fn line_of(
        mut self,
        what: &'static str,
        unit: Unit,
        figure: Figure,
        (against, ours): (Contender, Contender),
        goal: Goal,
    ) -> Measurement {
        self.lines.push(Line { what, unit, figure, against, ours, goal });
        self
    }
}

/// Returns all measurements of the table.
pub fn all() -> Vec<Measurement> {
    let both = &[Libsam4, Ours];
    let three = &[Libsam4, Ours, OursWithSpare];
    let five = &[Libsam4, Ours, OursWithSpare, Floor, FloorWithSpare];
    let spare = (Libsam4, OursWithSpare);
    let (floor, spare_floor) = ((Floor, Ours), (FloorWithSpare, OursWithSpare));
    vec![
        Measurement::new(5, "heartbeat_flood 10 100000", both)
            .and(SdNotify, "sd_notify 10000 0")
            .line("sam_hc_send, flood", Time, Median, RatioAtMost(1.0 / 18.0))
            .and(Clock, "clock_read 10 100000")
            .line_of("sam_hc_send, flood", Time, Median, (SdNotify, Ours), Goal::None)
            .line_of("sam_hc_send, flood", Time, Median, (Clock, Ours), Goal::None),
        Measurement::new(5, "heartbeat_asleep 5000", both)
            .and(SdNotify, "sd_notify 5000 100")
            .line("sam_hc_send, supervisor asleep", Time, Median, RatioAtMost(1.0 / 60.0))
            .line_of("sam_hc_send, supervisor asleep", Time, Median, (SdNotify, Ours), Goal::None),
        Measurement::new(5, "heartbeat_rate 5000 1 cost", both).line(
            "supervisor's CPU per 1000 heartbeats",
            Time,
            Median,
            RatioAtMost(1.0 / 400.0),
        ),
        Measurement::new(5, "restart 200 5 0", five)
            .and(Runit, "runsv")
            .and(S6, "s6-supervise")
            .line("crash to next instance", Time, Median, RatioAtMost(0.85))
            .line("crash to next instance", Time, P99, RatioAtMost(1.0))
            .line_of("crash to next instance", Time, Median, floor, RatioAtMost(1.3))
            .line_of("crash to next instance", Time, Median, spare, RatioAtMost(0.6))
            .line_of("crash to next instance", Time, P99, spare, RatioAtMost(1.0))
            .line_of("crash to next instance", Time, Median, spare_floor, RatioAtMost(1.3))
            .line_of("crash to next instance", Time, Median, (Runit, Ours), Goal::None)
            .line_of("crash to next instance", Time, Median, (S6, Ours), Goal::None),
        Measurement::new(5, "restart 15 40 256", five)
            .line(".. with 256 MiB in use", Time, Median, RatioAtMost(1.0))
            .line_of(".. with 256 MiB in use", Time, Median, floor, Goal::None)
            .line_of(".. with 256 MiB in use", Time, Median, spare, RatioAtMost(0.55))
            .line_of(".. with 256 MiB in use", Time, Median, spare_floor, Goal::None),
        Measurement::new(5, "restart 7 130 1024", five)
            .line(".. with 1 GiB in use", Time, Median, RatioAtMost(1.0))
            .line_of(".. with 1 GiB in use", Time, Median, floor, Goal::None)
            .line_of(".. with 1 GiB in use", Time, Median, spare, RatioAtMost(0.55))
            .line_of(".. with 1 GiB in use", Time, Median, spare_floor, Goal::None),
        Measurement::new(5, "crash_loop 10 200", three)
            .line("restarts per second in a crash loop", PerSecond, Median, RatioAtLeast(1.3))
            .line_of("restarts per second in a crash loop", PerSecond, Median, spare, Goal::None),
        Measurement::new(5, "warning 10 100", both)
            .line("lateness of the warning, 10 ms", Time, Median, RatioAtMost(0.6))
            .line("lateness of the warning, 10 ms", Time, P99, AtMost(500_000.0)),
        Measurement::new(5, "warning 50 30", both)
            .line("lateness of the warning, 50 ms", Time, Median, RatioAtMost(0.8))
            .line("lateness of the warning, 50 ms", Time, P99, AtMost(500_000.0)),
        Measurement::new(5, "warning 200 15", both)
            .line("lateness of the warning, 200 ms", Time, Median, RatioAtMost(0.8))
            .line("lateness of the warning, 200 ms", Time, P99, AtMost(500_000.0)),
        Measurement::new(5, "data_store 64 10000", both)
            .line("sam_data_store, 64 B", Time, Best, RatioAtMost(1.0 / 8.0))
            .line("sam_data_store, 64 B", Time, Median, Goal::None),
        Measurement::new(5, "data_store 4096 10000", both)
            .line("sam_data_store, 4 KiB", Time, Best, RatioAtMost(1.0 / 8.0))
            .line("sam_data_store, 4 KiB", Time, Median, Goal::None),
        Measurement::new(5, "data_store 1048576 300", both)
            .and(OneCopy, "copy 1048576 300")
            .line("sam_data_store, 1 MiB", Time, Best, RatioAtMost(1.0 / 12.0))
            .line_of("sam_data_store, 1 MiB", Time, Best, (OneCopy, Ours), Goal::None)
            .line("sam_data_store, 1 MiB", Time, Median, Goal::None),
        Measurement::new(5, "data_store 67108864 10", both)
            .and(OneCopy, "copy 67108864 10")
            .line("sam_data_store, 64 MiB", Time, Best, RatioAtMost(1.0 / 25.0))
            .line_of("sam_data_store, 64 MiB", Time, Best, (OneCopy, Ours), Goal::None)
            .line("sam_data_store, 64 MiB", Time, Median, Goal::None),
        Measurement::new(5, "start_up 300 ./empty-linked", both)
            .and(NoLibrary, "start_up 300 ./empty")
            .line("start-up, exec to exit", Time, Median, Goal::None)
            .line_of("start-up, exec to exit", Time, Median, (NoLibrary, Ours), RatioAtMost(1.15)),
        Measurement::new(3, "many 1000 100 2", both).line(
            "1000 programs, callbacks, 100 ms: CPU of all",
            Load,
            Median,
            RatioAtMost(0.5),
        ),
        Measurement::new(5, "memory", both).line(
            "private dirty memory of the supervisor",
            Bytes,
            Median,
            RatioAtMost(1.0),
        ),
    ]
}

/// A series of measurements of growing size.
pub struct Series {
    pub title: &'static str,
    /// The name of the size that grows.
    pub x: &'static str,
    /// The name of the measured quantity.
    pub y: &'static str,
    pub unit: Unit,
    pub contenders: &'static [Contender],
    pub points: Vec<(f64, String)>,
    /// True if the report also shows y per x, which is constant on a straight line through the origin.
    pub has_slope: bool,
}

/// Returns the growth series. A quick run takes a few points of each.
pub fn growth(quick: bool) -> Vec<Series> {
    let points = |full: &[u64], few: &[u64], command: &dyn Fn(u64) -> String| {
        let xs = if quick { few } else { full };
        xs.iter().map(|x| (*x as f64, command(*x))).collect()
    };
    vec![
        Series {
            title: "Heartbeat rate and the supervisor's CPU",
            x: "heartbeats per second",
            y: "CPU per second",
            unit: Load,
            contenders: &[Libsam4, Ours],
            points: points(
                &[1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000],
                &[1, 10_000, 10_000_000],
                &|rate| format!("heartbeat_rate {rate} 2 load"),
            ),
            has_slope: false,
        },
        Series {
            title: "Supervised programs, callbacks, 100 ms, and the CPU of all",
            x: "programs",
            y: "CPU per second",
            unit: Load,
            contenders: &[Libsam4, Ours],
            points: points(&[1, 10, 100, 500, 1_000, 2_000], &[1, 100, 500], &|count| {
                format!("many {count} 100 2")
            }),
            has_slope: true,
        },
        Series {
            title: "Memory in use and the time from crash to next instance",
            x: "MiB in use",
            y: "crash to next instance",
            unit: Time,
            contenders: &[Libsam4, Ours, OursWithSpare, Floor, FloorWithSpare],
            points: points(&[1, 4, 16, 64, 256, 1_024, 4_096], &[1, 64, 1_024], &|mib| {
                format!("restart 5 {} {mib}", 5 + mib / 8)
            }),
            has_slope: false,
        },
    ]
}
