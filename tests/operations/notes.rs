//! The commands of docs/operations.md print what it shows.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use crate::Folder;
use crate::common::{
    forget_settings,
    machine::{Ability, require},
    prefix,
    tools::run,
};

fn notes() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap()
}

/// The blocks of a section: what kind they are of, and what is in them.
fn blocks<'a>(notes: &'a str, section: &str) -> Vec<(&'a str, &'a str)> {
    let start = format!("\n## {section}\n");
    let text = notes.split_once(&start).unwrap_or_else(|| panic!("no section {section:?}")).1;
    let text = text.split_once("\n## ").map_or(text, |(text, _)| text);
    let inside = text.split("```").skip(1).step_by(2);
    inside.map(|block| block.split_once('\n').unwrap()).collect()
}

/// With pids and times that were measured taken out.
fn same(line: &str) -> String {
    let mut words: Vec<String> = vec![];
    for word in line.split(' ') {
        let is_before = |text: &str| words.last().is_some_and(|last| last == text);
        let measured = is_before("(pid") || (is_before("in") && word.contains('.'));
        words.push(if measured { "N".to_owned() } else { word.to_owned() });
    }
    words.join(" ").split_once("]: ").unwrap().1.to_owned()
}

pub fn a_program_made_for_the_original_gets_a_limit_and_a_log_by_environment_alone() {
    let notes = notes();
    let [(_, commands), (_, log)] = blocks(&notes, "Limit the restarts of a program")[..] else {
        panic!("other blocks")
    };
    let folder = Folder::new("notes");
    // By a name without a space.
    symlink(prefix(), folder.0.join("installed")).unwrap();
    let commands = commands.replace("/opt/libsam", "installed");
    let mut shell = Command::new("sh");
    shell.args(["-c", &commands]).current_dir(&folder.0).stdin(Stdio::null());
    forget_settings(&mut shell);
    let (status, errors) = run(shell);
    assert_eq!(status.code(), Some(3), "{errors}");
    let said: Vec<String> = errors.lines().map(same).collect();
    let shown: Vec<String> = log.lines().map(same).collect();
    assert_eq!(said, shown, "{errors}");
}

pub fn the_command_lines_of_sam_status_are_right() {
    require(&[Ability::Python]);
    let notes = notes();
    let (_, commands) =
        blocks(&notes, "See what is running").into_iter().find(|(kind, _)| *kind == "sh").unwrap();
    let path = format!("{}/bin:{}", prefix().display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh").args(["-c", commands]).env("PATH", path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    // A table without counter, the complaint, and a list.
    assert!(
        lines[0].starts_with("PROGRAM") && lines[1] == "counter needs attention" && lines[2].starts_with('['),
        "{text}"
    );
}

pub fn every_variable_is_there() {
    let notes = notes();
    let table: Vec<&str> = notes
        .lines()
        .filter_map(|line| line.strip_prefix("| `SAM_")?.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    let expected = [
        "LOG",
        "RESTART_LIMIT",
        "RESTART_DELAY",
        "HANG_SIGNAL",
        "HANG_GRACE",
        "DEBUG_HOLD",
        "KILL_GROUP",
        "FORWARD_SIGNALS",
        "NOTIFY",
        "STANDBY",
    ];
    assert_eq!(table, expected);
}
