//! The programs of `examples/`: they compile without a warning, and show what they are meant to show.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use common::machine::{Ability, require};
use common::tools::{Scratch, build_example, command, example, run};
use common::{Ended, PATIENCE, Running};

/// Compiles an example with `compiler`. Returns a command that runs it.
fn compile(scratch: &Scratch, compiler: &[&str], file: &str) -> Command {
    command(build_example(scratch, compiler, file))
}

/// Compiles a C example with gcc and clang. Returns a command that runs the program of gcc.
fn c(scratch: &Scratch, file: &str) -> Command {
    compile(scratch, &["clang", "-std=c11", "-D_GNU_SOURCE"], file);
    compile(scratch, &["gcc", "-std=c11", "-D_GNU_SOURCE"], file)
}

/// Runs an example and compares its exit code and its output.
fn prints(example: Command, exit: i32, lines: &[&str]) {
    let name = format!("{example:?}");
    let (status, text) = run(example);
    assert!(
        status.code() == Some(exit) && text.lines().eq(lines.iter().copied()),
        "expected exit code {exit} and output {lines:#?}, but {name} ended with {status} and printed:\n{text}"
    );
}

fn every_example_is_tested() {
    let there: BTreeSet<String> = fs::read_dir(example(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    let tested = [
        "daemon.c",
        "poll_loop.c",
        "quorum.c",
        "raii.cpp",
        "server.c",
        "state.c",
        "supervised.py",
        "supervised.service",
        "warning.c",
    ];
    assert_eq!(there, tested.map(str::to_owned).into());
}

fn daemon_that_crashes_is_restarted() {
    let scratch = Scratch::new("daemon");
    let mut daemon = c(&scratch, "daemon.c");
    daemon.arg("3");
    prints(daemon, 0, &["instance 1 works", "instance 2 works", "instance 2 is done"]);
}

fn poll_loop_that_hangs_is_restarted() {
    let scratch = Scratch::new("poll_loop");
    let says = [
        "instance 1: hello",
        "instance 1: hang",
        "instance 2: hello",
        "instance 2: hang",
        "instance 2: quit",
    ];
    prints(c(&scratch, "poll_loop.c"), 0, &says);
}

fn state_survives_crash_and_item_that_caused_it_is_skipped() {
    let scratch = Scratch::new("state");
    let says = [
        "instance 1: \"state\", 5 letters so far",
        "instance 1: \"survives\", 13 letters so far",
        "instance 2: the one before ended at \"poison\", which is left out",
        "instance 2: \"as\", 15 letters so far",
        "instance 2: \"well\", 19 letters so far",
    ];
    prints(c(&scratch, "state.c"), 0, &says);
}

fn warning_handler_saves_only_consistent_state() {
    let scratch = Scratch::new("warning");
    let says = [
        "instance 1: credit 0, debit 0",
        "warned: saves",
        "instance 2: credit 20, debit 20",
        "instance 2: credit 60, debit 60",
    ];
    prints(c(&scratch, "warning.c"), 0, &says);
}

fn quorum_is_waited_for_or_corosync_reported_unreachable() {
    let scratch = Scratch::new("quorum");
    let (status, text) = run(c(&scratch, "quorum.c"));
    let works = ["instance 1 waits for quorum", "instance 1 works"];
    match status.code() {
        // The machine runs corosync.
        Some(0) => assert!(text.lines().eq(works), "{text}"),
        Some(1) => assert!(text.lines().any(|line| line.starts_with("quorum: corosync")), "{text}"),
        _ => panic!("the quorum example ended with {status}:\n{text}"),
    }
}

fn exception_that_leaves_cxx_block_stops_health_checking() {
    let scratch = Scratch::new("raii");
    compile(&scratch, &["clang++", "-std=c++11"], "raii.cpp");
    let says = [
        "instance 1: step 1",
        "instance 1: step 2",
        "instance 2: step 1",
        "instance 2: step 2",
        "instance 2: step 3",
        "instance 2 gives up: no paper",
    ];
    prints(compile(&scratch, &["g++", "-std=c++11"], "raii.cpp"), 3, &says);
}

fn python_program_that_crashes_is_restarted_with_its_data() {
    let mut python = command("/usr/bin/python3");
    python.arg(example("supervised.py"));
    prints(python, 0, &["instance 2 has one two three"]);
}

/// Sends a server one line. Returns the connection and the answer, which is empty if the server closes the connection.
fn ask(server: SocketAddr, line: &str) -> (TcpStream, String) {
    let mut client = TcpStream::connect(server).unwrap_or_else(|error| panic!("{line}: {error}"));
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(line.as_bytes()).unwrap();
    let mut answer = [0; 64];
    // A server that dies before it reads the line resets the connection.
    let length = client.read(&mut answer).unwrap_or(0);
    (client, String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn server_refuses_no_client_and_loses_no_sum_when_it_crashes_or_hangs() {
    require(&[Ability::Loopback]);
    let scratch = Scratch::new("server");
    compile(&scratch, &["clang", "-std=c11", "-D_GNU_SOURCE"], "server.c");
    // The command of docs/writing.md selects no standard and no feature macro.
    let mut server = compile(&scratch, &["cc", "-pthread"], "server.c");
    // Clients come during the delay.
    server.env("SAM_RESTART_DELAY", "3000");
    server.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let server = Running::start(server);
    let port: u16 = server.wait_for("port ").trim().parse().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    server.wait_for("instance 1 serves, sum 0");
    assert_eq!(ask(address, "add 5\n").1, "5\n");
    assert_eq!(ask(address, "crash\n").1, "");
    // The kernel accepts the connection although there is no instance. The next instance answers.
    let waiting = TcpStream::connect(address).expect("connect during the restart delay");
    let said = server.said();
    assert!(!said.iter().any(|line| line.starts_with("instance 2")), "connected too late: {said:?}");
    assert_eq!(ask(address, "add 1\n").1, "6\n");
    drop(waiting);

    let mut hung = TcpStream::connect(address).unwrap();
    hung.write_all(b"hang\n").unwrap();
    server.wait_for_error("instance 2 hangs");
    assert_eq!(ask(address, "add 1\n").1, "7\n");
    kill(Pid::from_raw(server.pid() as i32), Signal::SIGTERM).unwrap();
    server.finish(PATIENCE).expect(
        Ended::Exit(0),
        &[
            &format!("port {port}"),
            "instance 1 serves, sum 0",
            "instance 2 serves, sum 5",
            "instance 3 serves, sum 6",
            "instance 3 stops",
        ],
    );
}

/// Runs `systemd-analyze verify` on a unit. Returns its status and its output.
fn verify(unit: &Path) -> (ExitStatus, String) {
    let mut verify = command("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no"]).arg(unit);
    run(verify)
}

fn systemd_accepts_the_unit() {
    let scratch = Scratch::new("unit");
    let text = fs::read_to_string(example("supervised.service")).unwrap();
    let real = text.replace("/usr/local/bin/daemon", "/bin/true");
    assert_ne!(real, text, "the unit does not start /usr/local/bin/daemon");

    let broken = scratch.path("broken.service");
    fs::write(&broken, real.replace("KillMode=mixed", "KillMode=sometimes")).unwrap();
    let (_, said) = verify(&broken);
    assert!(said.contains("kill mode"), "systemd-analyze did not report KillMode=sometimes: {said}");

    let unit = scratch.path("supervised.service");
    fs::write(&unit, real).unwrap();
    let (status, said) = verify(&unit);
    assert!(status.success() && said.is_empty(), "systemd-analyze verify ended with {status}:\n{said}");
}

common::runner::tests![
    every_example_is_tested,
    daemon_that_crashes_is_restarted,
    poll_loop_that_hangs_is_restarted,
    state_survives_crash_and_item_that_caused_it_is_skipped,
    warning_handler_saves_only_consistent_state,
    quorum_is_waited_for_or_corosync_reported_unreachable,
    exception_that_leaves_cxx_block_stops_health_checking,
    python_program_that_crashes_is_restarted_with_its_data,
    server_refuses_no_client_and_loses_no_sum_when_it_crashes_or_hangs,
    systemd_accepts_the_unit,
];
