//! The metrics in the OpenMetrics text format, which the textfile collector of node_exporter reads.
//!
//! The labels are the name of the program and its systemd service, which stay the same when the program is restarted.
//! Programs that have both in common are counted together.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::report::{Report, State};

/// The programs that have their labels in common.
type Group<'a> = Vec<&'a Report>;

/// A metric with one value for each group.
struct Metric {
    /// The name of the metric family.
    name: &'static str,
    /// The end of the sample's name, which OpenMetrics wants of counters.
    suffix: &'static str,
    kind: &'static str,
    help: &'static str,
    /// Returns the value for a group, if there is one.
    value: fn(&Group) -> Option<f64>,
}

/// The metrics with one value for each group.
const METRICS: [Metric; 7] = [
    Metric {
        name: "sam_restarts",
        suffix: "_total",
        kind: "counter",
        help: "Restarts since the supervisors began.",
        value: |group| sum(group, |report| report.restarts),
    },
    Metric {
        name: "sam_recent_restarts",
        suffix: "",
        kind: "gauge",
        help: "Restarts within the last five minutes.",
        value: |group| sum(group, |report| report.recent_restarts),
    },
    Metric {
        name: "sam_uptime_seconds",
        suffix: "",
        kind: "gauge",
        help: "Time since the beginning of the youngest instance.",
        value: |group| seconds(group.iter().filter_map(|report| report.uptime_ms).min()),
    },
    Metric {
        name: "sam_heartbeat_age_seconds",
        suffix: "",
        kind: "gauge",
        help: "Time since the oldest of the last heartbeats.",
        value: |group| seconds(group.iter().filter_map(|report| report.heartbeat_age_ms).max()),
    },
    Metric {
        name: "sam_interval_seconds",
        suffix: "",
        kind: "gauge",
        help: "Longest silence that is allowed between two heartbeats.",
        value: |group| seconds(group.iter().filter_map(|report| report.interval_ms).min()),
    },
    Metric {
        name: "sam_last_end_timestamp_seconds",
        suffix: "",
        kind: "gauge",
        help: "Time of the last end of an instance, since 1970.",
        value: |group| {
            let ends = group.iter().filter_map(|report| Some(report.last_end.as_ref()?.at));
            ends.reduce(f64::max)
        },
    },
    Metric {
        name: "sam_library_old",
        suffix: "",
        kind: "gauge",
        help: "Programs that use an older library than the installed one.",
        value: |group| sum(group, |report| Some(report.library_is_old.into())),
    },
];

fn sum(group: &Group, value: impl Fn(&Report) -> Option<u64>) -> Option<f64> {
    let values = group.iter().filter_map(|report| value(report));
    values.map(|value| value as f64).reduce(|sum, value| sum + value)
}

fn seconds(ms: Option<u64>) -> Option<f64> {
    ms.map(|ms| ms as f64 / 1000.0)
}

/// Returns the metrics about all reports.
pub fn text(reports: &[Report]) -> String {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for report in reports {
        let service = report.service.as_deref().unwrap_or_default();
        let labels = format!("program=\"{}\",service=\"{}\"", escaped(&report.program), escaped(service));
        groups.entry(labels).or_default().push(report);
    }
    let mut text = String::new();
    begin(&mut text, "sam_programs", "gauge", "Supervised programs in this state.");
    for (labels, group) in &groups {
        for state in State::ALL {
            let number = group.iter().filter(|report| report.state == state).count();
            let _ = writeln!(text, "sam_programs{{{labels},state=\"{}\"}} {number}", state.name());
        }
    }
    begin(&mut text, "sam_needs_attention", "gauge", "Supervised programs that need attention.");
    for (labels, group) in &groups {
        let number = group.iter().filter(|report| !report.well).count();
        let _ = writeln!(text, "sam_needs_attention{{{labels}}} {number}");
    }
    for Metric { name, suffix, kind, help, value } in METRICS {
        begin(&mut text, name, kind, help);
        for (labels, group) in &groups {
            if let Some(value) = value(group) {
                let _ = writeln!(text, "{name}{suffix}{{{labels}}} {value}");
            }
        }
    }
    text + "# EOF\n"
}

/// Begins a metric family.
fn begin(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Returns the value of a label as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(reports: &[Report]) -> Vec<String> {
        text(reports).lines().map(str::to_owned).collect()
    }

    #[test]
    fn programs_with_equal_labels_are_counted_together() {
        let delayed = Report {
            state: State::Delayed,
            well: false,
            supervisor: 124,
            uptime_ms: None,
            heartbeat_age_ms: None,
            ..Report::example()
        };
        let other = Report { program: "a\"b".to_owned(), service: None, ..Report::example() };
        let lines = lines(&[Report::example(), delayed, other]);
        let labels = "program=\"daemon\",service=\"daemon.service\"";
        for expected in [
            format!("sam_programs{{{labels},state=\"running\"}} 1"),
            format!("sam_programs{{{labels},state=\"delayed\"}} 1"),
            format!("sam_programs{{{labels},state=\"failing\"}} 0"),
            format!("sam_needs_attention{{{labels}}} 1"),
            format!("sam_restarts_total{{{labels}}} 6"),
            format!("sam_recent_restarts{{{labels}}} 2"),
            format!("sam_uptime_seconds{{{labels}}} 61"),
            format!("sam_heartbeat_age_seconds{{{labels}}} 0.3"),
            format!("sam_interval_seconds{{{labels}}} 2"),
            format!("sam_last_end_timestamp_seconds{{{labels}}} 1000"),
            format!("sam_library_old{{{labels}}} 0"),
            "sam_needs_attention{program=\"a\\\"b\",service=\"\"} 0".to_owned(),
        ] {
            assert_eq!(lines.iter().filter(|line| **line == expected).count(), 1, "{expected}\n{lines:#?}");
        }
    }

    #[test]
    fn labels_do_not_change_when_a_program_is_restarted() {
        let labels = |report: Report| -> Vec<String> {
            let lines = lines(&[report]).into_iter();
            lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
        };
        let restarted = Report { supervisor: 7, instance: Some(9), pid: Some(8), ..Report::example() };
        assert_eq!(labels(restarted), labels(Report::example()));
    }

    #[test]
    fn text_without_programs_has_families_and_an_end() {
        let lines = lines(&[]);
        assert!(lines.iter().all(|line| line.starts_with("# ")), "{lines:#?}");
        assert_eq!(lines.last().unwrap(), "# EOF");
    }
}
