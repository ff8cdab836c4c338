//! The results: tables in Markdown for people, JSON for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::measurements::{Contender, Goal, Line, Series, Unit};
use crate::programs::Programs;
use crate::samples::{Figure, Samples};

/// A line of the table with its samples.
pub struct Row {
    pub line: Line,
    /// The samples of the other contender and of this library, by round.
    rounds: Vec<(Samples, Samples)>,
    theirs: Samples,
    ours: Samples,
}

impl Row {
    pub fn new(line: Line, rounds: Vec<(Samples, Samples)>) -> Row {
        let (theirs, ours) = rounds.iter().cloned().unzip::<_, _, Vec<_>, Vec<_>>();
        Row { line, rounds, theirs: theirs.into_iter().collect(), ours: ours.into_iter().collect() }
    }

    /// Returns the ratio of this library to the other contender.
    pub fn ratio(&self) -> Option<f64> {
        self.ratio_of(&self.theirs, &self.ours)
    }

    fn ratio_of(&self, theirs: &Samples, ours: &Samples) -> Option<f64> {
        Some(ours.figure(self.line.figure)? / theirs.figure(self.line.figure)?)
    }

    /// Returns how many times better this library is: 2 with half the time or memory, or with twice the events per
    /// second.
    pub fn better(&self) -> Option<f64> {
        self.ratio().map(|ratio| self.line.better(ratio))
    }

    /// Returns the least and the largest number of times better in one round.
    fn spread(&self) -> Option<(f64, f64)> {
        let ratios = self.rounds.iter().filter_map(|(theirs, ours)| self.ratio_of(theirs, ours));
        let mut sorted: Vec<f64> = ratios.map(|ratio| self.line.better(ratio)).collect();
        sorted.sort_by(f64::total_cmp);
        Some((*sorted.first()?, *sorted.last()?))
    }

    /// Returns `true` if the goal is met, or `None` if there is no goal or no ratio.
    fn is_met(&self) -> Option<bool> {
        match self.line.goal {
            Goal::None => None,
            Goal::RatioAtMost(most) => Some(self.ratio()? <= most),
            Goal::RatioAtLeast(least) => Some(self.ratio()? >= least),
            Goal::AtMost(most) => Some(self.ours.figure(self.line.figure)? <= most),
        }
    }
}

/// The points of one contender in a growth series.
pub struct Curve {
    pub who: Contender,
    pub points: Vec<(f64, f64)>,
}

impl Curve {
    /// Returns the slope of the straight line through the origin that fits best.
    fn slope(&self) -> f64 {
        let (mut xy, mut xx) = (0.0, 0.0);
        for (x, y) in &self.points {
            xy += x * y;
            xx += x * x;
        }
        xy / xx
    }
}

/// A growth series and its results.
pub struct Growth {
    pub series: Series,
    pub curves: Vec<Curve>,
}

/// Returns a value with its unit, scaled for people.
pub fn told(value: f64, unit: Unit) -> String {
    let (value, unit) = match unit {
        Unit::Time => scaled(value, &[("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)]),
        Unit::Load => scaled(value, &[("ns/s", 1.0), ("µs/s", 1e3), ("ms/s", 1e6), ("s/s", 1e9)]),
        Unit::Bytes => scaled(value, &[("B", 1.0), ("KiB", 1024.0), ("MiB", 1048576.0)]),
        Unit::PerSecond => (value, "/s"),
    };
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$} {unit}")
}

/// Returns a value in the largest unit that fits.
fn scaled(value: f64, units: &[(&'static str, f64)]) -> (f64, &'static str) {
    let fits = units.iter().rev().find(|(_, size)| value.abs() >= *size).unwrap_or(&units[0]);
    (value / fits.1, fits.0)
}

/// Returns how many times better as text.
fn told_better(better: f64) -> String {
    match better {
        better if better >= 10.0 => format!("{better:.0}"),
        better if better >= 3.0 => format!("{better:.1}"),
        better => format!("{better:.2}"),
    }
}

/// Returns a goal as text.
fn told_goal(line: &Line) -> String {
    match line.goal {
        Goal::None => String::new(),
        Goal::RatioAtMost(ratio) | Goal::RatioAtLeast(ratio) => {
            format!("≥ {}", told_better(line.better(ratio)))
        }
        Goal::AtMost(most) => format!("≤ {}", told(most, line.unit)),
    }
}

/// Returns the table of results.
pub fn table(rows: &[Row]) -> String {
    let head = [
        "what",
        "figure",
        "compared with",
        "theirs",
        "setting",
        "ours",
        "times better",
        "in each round",
        "goal",
        "met",
    ];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    for row in rows {
        let line = &row.line;
        let number = |samples: &Samples| {
            samples.figure(line.figure).map_or("-".into(), |value| told(value, line.unit))
        };
        let met = match (line.goal, row.is_met()) {
            (Goal::None, _) => "",
            (_, Some(true)) => "yes",
            (_, Some(false)) => "NO",
            (_, None) => "-",
        };
        cells.push(vec![
            line.what.into(),
            line.figure.name().into(),
            line.against.name().into(),
            number(&row.theirs),
            if line.ours == Contender::OursWithSpare { "warm spare".into() } else { String::new() },
            number(&row.ours),
            row.better().map_or("-".into(), told_better),
            row.spread().map_or("-".into(), |(least, most)| {
                format!("{} to {}", told_better(least), told_better(most))
            }),
            told_goal(line),
            met.into(),
        ]);
    }
    aligned(&cells)
}

/// Returns the tables of the growth series.
pub fn growth_tables(growth: &[Growth]) -> String {
    let mut text = String::new();
    for Growth { series, curves } in growth {
        let _ = writeln!(text, "\n{}\n", series.title);
        let mut cells = vec![vec![series.x.to_owned()]];
        cells[0].extend(curves.iter().map(|curve| curve.who.name().to_owned()));
        for (x, _) in &series.points {
            let mut row = vec![x.to_string()];
            for curve in curves {
                let y = curve.points.iter().find(|point| point.0 == *x);
                row.push(y.map_or("-".into(), |(_, y)| told(*y, series.unit)));
            }
            cells.push(row);
        }
        if series.has_slope {
            let mut row = vec!["for each".to_owned()];
            row.extend(curves.iter().map(|curve| told(curve.slope(), series.unit)));
            cells.push(row);
        }
        text += &aligned(&cells);
    }
    text
}

/// Returns a Markdown table whose columns are also aligned in plain text.
fn aligned(cells: &[Vec<String>]) -> String {
    let columns = cells[0].len();
    let widths: Vec<usize> = (0..columns)
        .map(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (number, row) in cells.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text += "|\n";
        if number == 0 {
            for width in &widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text += "|\n";
        }
    }
    text
}

/// Returns all results as JSON. Times are in ns.
pub fn json(programs: &Programs, quick: bool, rows: &[Row], growth: &[Growth]) -> Value {
    let figures = |samples: &Samples| {
        json!({
            "samples": samples.count(),
            "best": samples.figure(Figure::Best),
            "median": samples.median(),
            "p99": samples.figure(Figure::P99),
        })
    };
    let row = |row: &Row| {
        let line = &row.line;
        json!({
            "what": line.what,
            "unit": format!("{:?}", line.unit),
            "figure": line.figure.name(),
            "against": line.against.name(),
            "contender": line.ours.name(),
            "theirs": figures(&row.theirs),
            "ours": figures(&row.ours),
            "ratio": row.ratio(),
            "goal": told_goal(line),
            "met": row.is_met(),
        })
    };
    let series = |growth: &Growth| {
        let curve = |curve: &Curve| {
            let slope = growth.series.has_slope.then(|| curve.slope());
            json!({ "contender": curve.who.name(), "points": curve.points, "slope": slope })
        };
        json!({
            "title": growth.series.title,
            "x": growth.series.x,
            "y": growth.series.y,
            "unit": format!("{:?}", growth.series.unit),
            "curves": growth.curves.iter().map(curve).collect::<Vec<_>>(),
        })
    };
    json!({
        "quick": quick,
        "machine": machine(),
        "libsam4": programs.libsam4.file_name().map(|name| name.to_string_lossy()),
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
        "growth": growth.iter().map(series).collect::<Vec<_>>(),
    })
}

/// Returns the load averages of the machine.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// Returns a line that says when and where the results were measured, with the load averages at the beginning.
pub fn heading(programs: &Programs, load_before: &str) -> String {
    let machine = machine();
    let of = |key: &str| match &machine[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let date = std::process::Command::new("date").args(["-u", "+%-d %B %Y"]).output();
    let date =
        date.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let libsam4 = programs.libsam4.file_name().unwrap_or_default().to_string_lossy();
    let (processors, processor, memory) = (of("processors"), of("processor"), of("memory"));
    let (kernel, load_after) = (of("kernel"), load());
    format!(
        "Measured on {date} with corosync's {libsam4}, on a machine with {processors} processors ({processor}), \
         {memory} of memory and Linux {kernel}.\nThe load averages were {load_before} before the run, and {load_after} \
         after it.\n\n"
    )
}

/// Returns a description of the machine.
fn machine() -> Value {
    let line_of = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(|line| line.trim_start_matches([' ', '\t', ':']).to_owned())
    };
    json!({
        "processor": line_of("/proc/cpuinfo", "model name"),
        "processors": std::thread::available_parallelism().map(usize::from).unwrap_or(0),
        "memory": line_of("/proc/meminfo", "MemTotal"),
        "kernel": line_of("/proc/sys/kernel/osrelease", ""),
        "load_at_the_end": load(),
    })
}
