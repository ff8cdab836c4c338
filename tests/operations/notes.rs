//! The commands of docs/operations.md print what the document shows.

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

/// Returns the text of docs/operations.md.
fn notes() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap()
}

/// Returns the MESSAGE_ID of a step in docs/log.md.
pub fn message_id(step: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/log.md")).unwrap();
    let ids = text.split_once("## Message ids").expect("the section of message ids").1;
    let row = ids.lines().find_map(|line| line.strip_prefix(&format!("| `{step}` | "))?.strip_suffix(" |"));
    row.unwrap_or_else(|| panic!("docs/log.md lists no step {step}")).to_owned()
}

/// Returns the code blocks of a section, each with its language.
fn blocks<'a>(notes: &'a str, section: &str) -> Vec<(&'a str, &'a str)> {
    let start = format!("\n## {section}\n");
    let text = notes.split_once(&start).unwrap_or_else(|| panic!("no section {section:?}")).1;
    let text = text.split_once("\n## ").map_or(text, |(text, _)| text);
    let inside = text.split("```").skip(1).step_by(2);
    inside.map(|block| block.split_once('\n').unwrap()).collect()
}

/// Returns a log line without its prefix, with pids and measured times replaced by N.
fn normalized(line: &str) -> String {
    let mut words: Vec<String> = vec![];
    for word in line.split(' ') {
        let is_before = |text: &str| words.last().is_some_and(|last| last == text);
        let measured = is_before("(pid") || is_before("libsam-rs") || (is_before("in") && word.contains('.'));
        words.push(if measured { "N".to_owned() } else { word.to_owned() });
    }
    words.join(" ").split_once("]: ").unwrap().1.to_owned()
}

pub fn unmodified_program_gets_limit_and_log_from_environment_as_documented() {
    let notes = notes();
    let [(_, commands), (_, log)] = blocks(&notes, "Limit the restarts of a program")[..] else {
        panic!("the section must have two code blocks: commands and their log")
    };
    let folder = Folder::new("notes");
    // The prefix may contain a space, which the commands do not quote. So use a link to it.
    symlink(prefix(), folder.0.join("installed")).unwrap();
    let commands = commands.replace("/opt/libsam", "installed");
    let mut shell = Command::new("sh");
    shell.args(["-c", &commands]).current_dir(&folder.0).stdin(Stdio::null());
    forget_settings(&mut shell);
    let (status, errors) = run(shell);
    assert_eq!(status.code(), Some(3), "{errors}");
    let said: Vec<String> = errors.lines().map(normalized).collect();
    let shown: Vec<String> = log.lines().map(normalized).collect();
    assert_eq!(said, shown, "{errors}");
}

pub fn documented_sam_status_commands_work() {
    require(&[Ability::Python]);
    let notes = notes();
    let (_, commands) =
        blocks(&notes, "See what is running").into_iter().find(|(kind, _)| *kind == "sh").unwrap();
    let path = format!("{}/bin:{}", prefix().display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh").args(["-c", commands]).env("PATH", path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().collect();
    // There is no program of that name: sam-status says so, and the commands print a message and a JSON list.
    assert!(output.status.success() && errors.contains("\"counter\""), "{output:?}");
    assert!(lines[0] == "counter needs attention" && lines[1].starts_with('['), "{text}");
}

pub fn documentation_lists_every_variable() {
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
        "WARN_SIGNAL",
        "HANG_SIGNAL",
        "HANG_GRACE",
        "DEBUG_HOLD",
        "KILL_GROUP",
        "FORWARD_SIGNALS",
        "NOTIFY",
        "NAME",
        "STANDBY",
    ];
    assert_eq!(table, expected);
}
