//! The table for people: the most urgent program first, in the width of the terminal.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ColumnConstraint, Row, Table, Width};

use crate::report::{Report, Urgency};

/// A column: its heading, its alignment and its rank.
struct Column {
    heading: &'static str,
    is_number: bool,
    /// The place of the column in the order in which columns get a place on a narrow terminal. The lowest comes first.
    rank: u8,
}

const fn text(heading: &'static str, rank: u8) -> Column {
    Column { heading, is_number: false, rank }
}

const fn number(heading: &'static str, rank: u8) -> Column {
    Column { heading, is_number: true, rank }
}

/// The columns from left to right.
const COLUMNS: [Column; 14] = [
    text("PROGRAM", 0),
    text("STATE", 1),
    number("SUPERVISOR", 2),
    number("PID", 3),
    number("INSTANCE", 13),
    number("UPTIME", 6),
    number("RESTARTS", 7),
    number("RECENT", 5),
    number("HEARTBEAT", 9),
    number("LEFT", 8),
    number("INTERVAL", 11),
    text("POLICY", 12),
    text("LIBRARY", 10),
    text("LAST", 4),
];

/// The index of the column with the program's name, which is cut off if it is long.
const PROGRAM: usize = 0;
/// The index of the last column, which gets the rest of the line.
const LAST: usize = COLUMNS.len() - 1;

/// The widths of names, and of the last column, below which they are not cut off.
const MIN_PROGRAM: u16 = 12;
const MIN_LAST: u16 = 16;

/// The ends of log lines that say what followed. The state says the same.
const CONSEQUENCES: [&str; 2] = [" and is restarted", ", the supervisor ends"];

/// The spaces between two columns.
const GAP: u16 = 2;

/// The look of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The width of the terminal. `None` for all columns in full.
    pub width: Option<u16>,
    /// Use colours.
    pub color: bool,
}

/// Returns the lines of the table: the heading, and one for each report, the most urgent first.
pub fn lines(reports: &[Report], look: Look) -> Vec<String> {
    let mut reports: Vec<&Report> = reports.iter().collect();
    reports.sort_by_key(|report| (report.urgency(), report.state, report.supervisor));
    let mut table = Table::new();
    table.load_preset(NOTHING).set_truncation_indicator("…").set_header(COLUMNS.map(|column| column.heading));
    for report in &reports {
        let mut row = Row::from(cells(report));
        row.max_height(1);
        table.add_row(row);
    }
    let widths = look.width.map(|width| fitting(&table.column_max_content_widths(), width));
    for (index, column) in COLUMNS.iter().enumerate() {
        let shown = table.column_mut(index).expect("a column for each cell");
        shown.set_padding((0, if index == LAST { 0 } else { GAP }));
        if column.is_number {
            shown.set_cell_alignment(CellAlignment::Right);
        }
        match widths.map(|widths| widths[index]) {
            None => shown.set_constraint(ColumnConstraint::ContentWidth),
            Some(None) => shown.set_constraint(ColumnConstraint::Hidden),
            Some(Some(width)) => {
                let gap = if index == LAST { 0 } else { GAP };
                shown.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width + gap)))
            }
        };
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned());
    let of_lines = [None].into_iter().chain(reports.iter().map(Some));
    let painted = lines.zip(of_lines).map(|(line, report)| match report {
        _ if !look.color => line,
        None => bold(&line),
        Some(report) => with_colored_state(&line, report),
    });
    painted.collect()
}

/// Returns the width of each column on a terminal of this width. `None` for a column that has no place. `natural` has
/// the widths of the contents.
fn fitting(natural: &[u16], width: u16) -> [Option<u16>; COLUMNS.len()] {
    let mut widths = [None; COLUMNS.len()];
    let mut by_rank: Vec<usize> = (0..COLUMNS.len()).collect();
    by_rank.sort_by_key(|&index| COLUMNS[index].rank);
    let mut left = width;
    for index in by_rank {
        let wanted = match index {
            PROGRAM => natural[index].min(MIN_PROGRAM),
            LAST => natural[index].min(MIN_LAST),
            _ => natural[index],
        };
        if wanted + GAP <= left + u16::from(index == LAST) * GAP {
            widths[index] = Some(wanted);
            left = left.saturating_sub(wanted + GAP);
        } else {
            // No column of a lower rank takes the place.
            break;
        }
    }
    for index in [PROGRAM, LAST] {
        if let Some(width) = &mut widths[index] {
            let more = left.min(natural[index] - *width);
            *width += more;
            left -= more;
        }
    }
    widths
}

/// Returns the cells of a table row.
fn cells(report: &Report) -> [String; COLUMNS.len()] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let number = |number: Option<u64>| or_dash(number.map(|number| number.to_string()));
    let span = |ms: Option<u64>| or_dash(ms.map(|ms| if ms < 10_000 { format!("{ms} ms") } else { age(ms) }));
    let library = match (&report.library, report.library_is_old) {
        (Some(version), false) => version.clone(),
        (Some(version), true) => format!("{version} (old)"),
        (None, true) => "(old)".to_owned(),
        (None, false) => "-".to_owned(),
    };
    let last = report.last.as_ref();
    [
        report.program.clone(),
        report.state.name().to_owned(),
        report.supervisor.to_string(),
        number(report.pid.map(u64::from)),
        number(report.instance.map(u64::from)),
        or_dash(report.uptime_ms.map(age)),
        number(report.restarts),
        number(report.recent_restarts),
        span(report.heartbeat_age_ms),
        span(report.time_left_ms),
        span(report.interval_ms),
        or_dash(report.policy.clone()),
        library,
        or_dash(last.map(|last| format!("{}, {} ago", without_subject(&last.what), age(last.age_ms)))),
    ]
}

/// Returns a log line without `instance 3 (pid 455) ` at its beginning, and without what followed, because the columns
/// say it.
fn without_subject(line: &str) -> &str {
    let line = CONSEQUENCES.iter().find_map(|end| line.strip_suffix(end)).unwrap_or(line);
    let subject = line.strip_prefix("instance ").and_then(|rest| rest.split_once(" (pid "));
    match subject.and_then(|(_, rest)| rest.split_once(") ")) {
        Some((pid, rest)) if pid.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _ => line,
    }
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

/// Returns the line in bold (console_codes(4)).
fn bold(line: &str) -> String {
    format!("\x1b[1m{line}\x1b[0m")
}

/// Returns a line of the table with a colour for the state: red for trouble, yellow for what needs attention if it
/// lasts, green for what is well.
fn with_colored_state(line: &str, report: &Report) -> String {
    let color = match report.urgency() {
        Urgency::Trouble => 31,
        Urgency::Attention => 33,
        Urgency::None => 32,
    };
    let state = report.state.name();
    // The name of the program is before the state, in full or cut off, and may contain the name of the state.
    let gap = " ".repeat(GAP.into());
    let shared = line.char_indices().zip(report.program.chars()).find(|((_, in_line), c)| in_line != c);
    let after_program = shared.map_or(report.program.len(), |((index, _), _)| index).min(line.len());
    match line[after_program..].find(&format!("{gap}{state}")) {
        Some(at) => {
            let (before, rest) = line.split_at(after_program + at + gap.len());
            let (state, after) = rest.split_at(state.len());
            format!("{before}\x1b[{color}m{state}\x1b[0m{after}")
        }
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::State;

    fn plain(reports: &[Report], width: Option<u16>) -> String {
        lines(reports, Look { width, color: false }).join("\n")
    }

    /// Returns a program that runs, one that fails and one that waits for its restart.
    fn three() -> [Report; 3] {
        let failing = Report {
            program: "/long/name/of/a/program".to_owned(),
            supervisor: 1_234_567,
            state: State::Failing,
            well: false,
            restarts: Some(1234),
            recent_restarts: Some(57),
            uptime_ms: Some(33),
            ..Report::example()
        };
        let delayed = Report {
            program: "d".to_owned(),
            supervisor: 9,
            state: State::Delayed,
            well: false,
            pid: None,
            uptime_ms: None,
            heartbeat_age_ms: None,
            interval_ms: None,
            last: None,
            library: None,
            library_is_old: true,
            ..Report::example()
        };
        [Report::example(), delayed, failing]
    }

    #[test]
    fn table_without_a_width_has_all_columns_in_full() {
        assert_eq!(
            plain(&three(), None),
            "\
PROGRAM                  STATE    SUPERVISOR  PID  INSTANCE  UPTIME  RESTARTS  RECENT  HEARTBEAT     LEFT  INTERVAL  POLICY        LIBRARY  LAST
/long/name/of/a/program  failing     1234567  456         4   33 ms      1234      57     300 ms  1700 ms   2000 ms  restart+cmap  9.9.9    died of SIGABRT (core dumped), 61 s ago
d                        delayed           9    -         4       -         3       1          -  1700 ms         -  restart+cmap  (old)    -
daemon                   running         123  456         4    61 s         3       1     300 ms  1700 ms   2000 ms  restart+cmap  9.9.9    died of SIGABRT (core dumped), 61 s ago"
        );
    }

    #[test]
    fn narrow_table_has_the_most_important_columns() {
        assert_eq!(
            plain(&three(), Some(60)),
            "\
PROGRAM         STATE    SUPERVISOR  PID  LAST
/long/name/of…  failing     1234567  456  died of SIGABRT…
d               delayed           9    -  -
daemon          running         123  456  died of SIGABRT…"
        );
        assert_eq!(
            plain(&three(), Some(80)),
            "\
PROGRAM             STATE    SUPERVISOR  PID  UPTIME  RECENT  LAST
/long/name/of/a/p…  failing     1234567  456   33 ms      57  died of SIGABRT…
d                   delayed           9    -       -       1  -
daemon              running         123  456    61 s       1  died of SIGABRT…"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut reports = three().to_vec();
        reports[0].program = "程序".repeat(20);
        for width in 30..300 {
            for line in lines(&reports, Look { width: Some(width), color: false }) {
                assert!(line.chars().count() <= width.into(), "{width}: {line}");
            }
        }
    }

    #[test]
    fn state_is_colored_and_not_the_name_of_the_program() {
        let report = Report { program: "running  running".to_owned(), ..Report::example() };
        let look = Look { width: Some(70), color: true };
        let lines = lines(&[report], look);
        assert!(lines[0].starts_with("\x1b[1mPROGRAM"), "{lines:?}");
        assert!(lines[1].starts_with("running  running  \x1b[32mrunning\x1b[0m  "), "{lines:?}");
    }

    #[test]
    fn log_line_is_shown_without_the_instance() {
        for (line, shown) in [
            ("instance 3 (pid 455) exited 3", "exited 3"),
            ("instance 3 (pid 455) exited 3 and is restarted", "exited 3"),
            (
                "stopped: instance 3 (pid 455) exited 0, the supervisor ends",
                "stopped: instance 3 (pid 455) exited 0",
            ),
            ("instance 3 is started in 10 ms", "instance 3 is started in 10 ms"),
            ("quorum lost", "quorum lost"),
        ] {
            assert_eq!(without_subject(line), shown);
        }
    }

    #[test]
    fn age_is_formatted_with_the_largest_suitable_unit() {
        let ages = [999, 1000, 119_999, 120_000, 7_199_999, 7_200_000, 172_799_999, 172_800_000].map(age);
        assert_eq!(ages, ["999 ms", "1 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d"]);
    }
}
