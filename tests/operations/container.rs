//! A program as process 1 of a container, and the log where there is no log daemon.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::fd::AsFd,
};

use nix::{
    fcntl::OFlag,
    sys::{
        signal::{Signal, kill},
        stat::fstat,
    },
    unistd::{Pid, pipe2},
};

use crate::common::{
    Built, Ended, Library, Program, Running,
    machine::{Ability, as_root, require, words_in_container},
};
use crate::{Daemon, Folder, PATIENCE, start_with_sockets, troubled};

/// Starts a program of `c-tests/` as process 1, with these settings.
fn start_as_process_1(words: &[&str], variables: &[(&str, &str)]) -> Running {
    require(&[Ability::Container]);
    let program = Program::new(Built::WithOurs, words);
    let mut command = program.command_through(&words_in_container(), Library::Ours);
    command.envs(variables.iter().copied());
    program.start_as(command)
}

/// Returns the pid of process 1 of the container, as the test sees it: the only child of unshare(1).
fn process_1(container: &Running) -> Pid {
    let pid = container.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    Pid::from_raw(children.trim().parse().unwrap_or_else(|_| panic!("the children of {pid}: {children:?}")))
}

/// Process 1 cannot end by a signal of its own, so the supervisor exits with the status that a shell would report.
pub fn process_1_exits_as_its_last_instance_ended() {
    for (trouble, code) in [("exit=3", 3), ("exit=0", 0), ("signal=9", 137), ("signal=11", 139)] {
        let variables = [("SAM_RESTART_LIMIT", "2/3600")];
        let outcome = start_as_process_1(&["troubled", "0", trouble], &variables).finish(PATIENCE);
        outcome.expect(Ended::Exit(code), &["instance 1", "instance 2", "instance 3"]);
    }
}

pub fn sigterm_to_process_1_stops_the_container() {
    let container = start_as_process_1(&["service", "4"], &[]);
    container.wait_for("instance 1 runs");
    // From outside of the namespace, as container engines do it.
    kill(process_1(&container), Signal::SIGTERM).unwrap();
    let line = container.wait_for_error("stopping: SIGTERM");
    assert!(line.contains("SIGTERM passed on to instance 1"), "no sender has a pid in the container: {line}");
    let outcome = container.finish(PATIENCE);
    outcome.expect(Ended::Exit(4), &["instance 1 runs", "got SIGTERM", "SIGTERMs: 1"]);
}

pub fn process_1_reaps_orphans() {
    let outcome = start_as_process_1(&["orphans"], &[]).finish(PATIENCE);
    outcome.expect(Ended::Exit(0), &["the supervisor is process 1: 1", "the orphan was reaped"]);
}

/// A container without /dev/log, without /proc, and with a root folder that cannot be written.
pub fn process_1_restarts_without_proc_in_a_read_only_root() {
    require(&[Ability::Container, Ability::Chroot]);
    let folder = Folder::new("container");
    let program = troubled(&["1500", "signal=9", "hang", "stop"]);
    folder.copy(&program);
    let enter = r#"mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec chroot "$0" "$@""#;
    let root = folder.0.to_str().expect("the path is UTF-8");
    let words =
        [&["unshare"], as_root(), &["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", enter, root]]
            .concat();
    let mut command = program.command_through(&words, Library::Ours);
    command.env_remove("SAM_LOG");
    let outcome = program.start_as(command).finish(PATIENCE);
    outcome.expect(Ended::Exit(0), &["instance 1", "instance 2", "instance 3"]);
    let errors = outcome.errors();
    let [first, second, third] = [1, 2, 3].map(|id| outcome.note(&format!("pid of {id}")));
    for text in [
        format!("sam[1]: supervising instance 1 (pid {first})"),
        format!("sam[1]: instance 1 (pid {first}) died of SIGKILL"),
        format!("sam[1]: instance 2 (pid {second}) silent for"),
        format!("sam[1]: restarted as instance 3 (pid {third})"),
        format!("sam[1]: stopped: instance 3 (pid {third}) exited 0"),
    ] {
        assert!(errors.iter().any(|line| line.starts_with(&text)), "no line {text:?}: {outcome}");
    }
}

pub fn log_goes_to_stderr_where_no_log_daemon_is() {
    for value in [None, Some("auto")] {
        let folder = Folder::new("no-daemon");
        let variables: Vec<_> = value.map(|value| ("SAM_LOG", value)).into_iter().collect();
        let outcome = start_with_sockets(&folder, &["0", "exit=3", "stop"], &variables).finish(PATIENCE);
        outcome.expect(Ended::Exit(0), &["instance 1", "instance 2"]);
        let errors = outcome.errors();
        assert!(errors.len() == 4 && errors[1].ends_with("exited 3 and is restarted"), "{outcome}");
    }
}

pub fn log_goes_to_no_file_that_the_program_has_opened_as_stderr() {
    let folder = Folder::new("taken");
    let program = Program::new(Built::WithOurs, &["stderr_taken", "/file"]);
    let outcome = program.start_as(folder.command(&program)).finish(PATIENCE);
    outcome.expect(Ended::Exit(0), &["instance 2"]);
    assert_eq!(fs::read_to_string(folder.0.join("file")).unwrap(), "", "{outcome}");
}

/// Runs a program whose standard error is a pipe that JOURNAL_STREAM names. Returns what the pipe received.
fn run_with_journal_stream(folder: &Folder, limit: &str, ended: Ended) -> Vec<String> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let stat = fstat(writer.as_fd()).unwrap();
    let stream = format!("{}:{}", stat.st_dev, stat.st_ino);
    let program = troubled(&["0", "exit=3", "stop"]);
    let mut command = folder.command(&program);
    command.env("JOURNAL_STREAM", stream).env("SAM_RESTART_LIMIT", limit).stderr(writer);
    let outcome = program.start_as(command).finish(PATIENCE);
    assert_eq!(outcome.ended, ended, "{outcome}");
    BufReader::new(fs::File::from(reader)).lines().map(Result::unwrap).collect()
}

pub fn log_goes_to_the_journal_if_stderr_does() {
    let folder = Folder::new("stream-journal");
    let (syslog, journal) = (Daemon::listen(folder.syslog()), Daemon::listen(folder.journal()));
    assert_eq!(run_with_journal_stream(&folder, "5/60", Ended::Exit(0)), [""; 0]);
    let entries = journal.end();
    assert_eq!((entries.len(), syslog.end().len()), (4, 0), "{entries:#?}");
    assert!(entries[1].contains("SAM_STEP=lost\n"), "{entries:#?}");

    // The socket of the journal is hidden, but the stream is not.
    let folder = Folder::new("stream-alone");
    let lines = run_with_journal_stream(&folder, "5/60", Ended::Exit(0));
    assert!(lines.len() == 4 && lines[0].starts_with("<6>sam: supervising"), "{lines:#?}");
    assert!(
        lines[1].starts_with("<3>sam: instance 1") && lines[3].starts_with("<6>sam: stopped"),
        "{lines:#?}"
    );
}

/// journald finds the unit of a datagram by the pid, and would find none for a process that has ended.
pub fn malformed_variable_is_told_on_stderr_if_the_journal_reads_it() {
    let folder = Folder::new("stream-malformed");
    let journal = Daemon::listen(folder.journal());
    let lines = run_with_journal_stream(&folder, "often", Ended::Exit(99));
    assert!(
        lines.len() == 1
            && lines[0].starts_with("<3>sam: sam_init")
            && lines[0].contains("SAM_RESTART_LIMIT is"),
        "{lines:#?}"
    );
    assert_eq!(journal.end(), [""; 0]);
}

pub fn threads_that_stay_in_the_supervisor_are_counted_once() {
    let program = Program::new(Built::WithOurs, &["left_thread"]);
    let outcome = program.run(Library::Ours);
    let about = |line: &&String| line.contains("started before sam_register");
    let lines: Vec<String> = outcome.errors().iter().filter(about).cloned().collect();
    let [line] = &lines[..] else { panic!("{outcome}") };
    let text = "1 thread was started before sam_register and does not exist in the instances: the program should start \
                threads after sam_register";
    assert!(line.ends_with(&format!("]: {text}")), "{line}");
}

pub fn warn_signal_of_the_environment_overrides_that_of_the_program() {
    // The program sets SIGUSR1, and has no handler for SIGUSR2.
    for (value, text) in [("USR2", "sent SIGUSR2"), ("0", "no warning signal is set")] {
        let program = Program::new(Built::WithOurs, &["service"]);
        let mut command = program.command(Library::Ours);
        command.env("SAM_WARN_SIGNAL", value);
        let program = program.start_as(command);
        program.wait_for("instance 1 runs");
        let pid = program.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        kill(Pid::from_raw(children.trim().parse().unwrap()), Signal::SIGSTOP).unwrap();
        let line = program.wait_for_error("silent for");
        assert!(line.contains(&format!(", {text}, ")), "{line}");
        program.wait_for("instance 2 runs");
    }
}
