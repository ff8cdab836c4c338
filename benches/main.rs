//! The benchmark. Measures Debian's libsam4 and this library side by side, and prints the results with their goals.
//! `make bench` builds the programs of this folder and runs it. It fails if a measurement yields no number, not if a
//! goal is missed.

mod chart;
mod measurements;
mod programs;
mod report;
mod rivals;
mod samples;

use std::error::Error;
use std::path::PathBuf;

use measurements::{Line, Measurement, Series};
use programs::Programs;
use report::{Curve, Growth, Row};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut quick = false;
    let mut folders = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => quick = true,
            _ => folders.push(PathBuf::from(argument)),
        }
    }
    let [folder, ours] = &folders[..] else {
        return Err("usage: bench [--quick] FOLDER_OF_PROGRAMS FOLDER_OF_OUR_LIBRARY".into());
    };
    let programs = Programs::new(folder, ours)?;

    let load_before = report::load();
    let mut rows = Vec::new();
    for measurement in measurements::all() {
        rows.extend(compare(&programs, &measurement, quick));
    }
    let growth: Vec<Growth> =
        measurements::growth(quick).into_iter().map(|series| follow(&programs, series)).collect();

    let heading = report::heading(&programs, &load_before);
    let table = heading + &report::table(&rows) + &report::growth_tables(&growth);
    println!("{table}");
    std::fs::write(folder.join("results.md"), &table)?;
    let results = report::json(&programs, quick, &rows, &growth);
    std::fs::write(folder.join("results.json"), format!("{results:#}\n"))?;
    chart::draw(folder, &rows, &growth)?;
    println!("Written: results.md, results.json, bench.svg and bench-growth.svg in {}", folder.display());

    let missing = rows.iter().filter(|row| row.ratio().is_none()).count()
        + growth.iter().flat_map(|growth| &growth.curves).filter(|curve| curve.points.is_empty()).count();
    if missing > 0 { Err(format!("{missing} measurements yielded no number").into()) } else { Ok(()) }
}

/// Runs the contenders of a measurement in turn, several times.
fn compare(programs: &Programs, measurement: &Measurement, quick: bool) -> Vec<Row> {
    let rounds = if quick { 1 } else { measurement.rounds };
    let of_round = || measurement.runs.iter().map(|(who, command)| (*who, measure(programs, *who, command)));
    let rounds: Vec<Vec<_>> = (0..rounds).map(|_| of_round().collect()).collect();
    let of = |round: &[(_, samples::Samples)], who| {
        round.iter().find(|run| run.0 == who).map(|run| run.1.clone()).unwrap_or_default()
    };
    let row = |line: &Line| {
        Row::new(*line, rounds.iter().map(|round| (of(round, line.against), of(round, line.ours))).collect())
    };
    measurement.lines.iter().map(row).collect()
}

fn follow(programs: &Programs, series: Series) -> Growth {
    let mut curves: Vec<Curve> =
        series.contenders.iter().map(|who| Curve { who: *who, points: Vec::new() }).collect();
    for (x, command) in &series.points {
        for curve in &mut curves {
            let samples = measure(programs, curve.who, &curve.who.command(command));
            curve.points.extend(samples.median().map(|y| (*x, y)));
        }
    }
    Growth { series, curves }
}

/// Runs a measurement. Returns no samples, and prints a message, if the program failed.
fn measure(programs: &Programs, who: measurements::Contender, command: &str) -> samples::Samples {
    eprintln!("{:<16} {command}", who.name());
    programs.run(who, command).unwrap_or_else(|error| {
        eprintln!("  {error}");
        samples::Samples::default()
    })
}
