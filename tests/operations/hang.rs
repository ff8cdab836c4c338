//! SAM_HANG_SIGNAL, SAM_HANG_GRACE and SAM_DEBUG_HOLD: the recovery of a hung instance.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::common::{
    Built, Ended, Library, Program, Running,
    machine::{Ability, require, tracer_of},
    runner::skip,
};
use crate::{Folder, PATIENCE, first_line, normalized, start, troubled};

/// Starts a program in `folder` whose core file size limit is `limit`.
fn start_with_cores(limit: &str, folder: &Folder, troubles: &[&str], variables: &[(&str, &str)]) -> Running {
    let program = troubled(troubles);
    let limit = format!("--core={limit}");
    let mut command = program.command_through(&["prlimit", &limit], Library::Ours);
    command.current_dir(&folder.0).envs(variables.iter().copied());
    program.start_as(command)
}

pub fn hang_signal_is_sent_to_hung_instance() {
    for (name, signal) in [("USR2", Signal::SIGUSR2), ("SIGABRT", Signal::SIGABRT), ("24", Signal::SIGXCPU)] {
        let folder = Folder::new(&format!("hang-{name}"));
        let program = start_with_cores("0", &folder, &["1500", "hang", "stop"], &[("SAM_HANG_SIGNAL", name)]);
        let supervisor = program.pid();
        let outcome = program.finish(PATIENCE);
        outcome.expect(Ended::Exit(0), &["instance 1", "instance 2"]);
        assert_eq!(
            normalized(supervisor, &outcome, &outcome.errors()),
            [
                &format!("sam[P0]: {}", first_line(1500)),
                &format!(
                    "sam[P0]: instance 1 (pid P1) silent for T ms (limit 1500), sent SIGTERM, {signal} follows in 1500 \
                     ms without a heartbeat"
                ),
                &format!(
                    "sam[P0]: instance 1 (pid P1) still silent after T ms, sent {signal} \
                     (SAM_HANG_SIGNAL), SIGKILL follows in 10000 ms"
                ),
                &format!("sam[P0]: instance 1 (pid P1) died of {signal} after its silence and is restarted"),
                "sam[P0]: restarted as instance 2 (pid P2) in T ms",
                "sam[P0]: stopped: instance 2 (pid P2) exited 0, the supervisor ends",
            ],
            "{outcome}"
        );
    }
}

pub fn warned_instance_with_much_memory_has_a_spare_until_it_recovers() {
    let outcome = Program::new(Built::WithOurs, &["hang_large"]).run(Library::Ours);
    let said = outcome.says();
    if let Some(reason) = said.first().and_then(|line| line.strip_prefix("left out: ")) {
        skip(reason);
    }
    let expected = [
        "instance 1",
        "children: 1",
        "warned",
        "children: 2",
        "children: 1",
        "warned",
        "children: 2",
        "instance 2",
        "children: 1",
    ];
    outcome.expect(Ended::Exit(0), &expected);
}

pub fn hang_signal_abrt_leaves_core_file() {
    require(&[Ability::CoreFiles]);
    let folder = Folder::new("core");
    let program =
        start_with_cores("unlimited", &folder, &["1500", "hang", "stop"], &[("SAM_HANG_SIGNAL", "ABRT")]);
    let supervisor = program.pid();
    let outcome = program.finish(PATIENCE);
    outcome.expect(Ended::Exit(0), &["instance 1", "instance 2"]);
    let lines = normalized(supervisor, &outcome, &outcome.errors());
    let death =
        "sam[P0]: instance 1 (pid P1) died of SIGABRT (core dumped) after its silence and is restarted";
    assert!(lines.iter().any(|line| line == death), "{outcome}");
    let cores: Vec<_> = fs::read_dir(&folder.0)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    assert_eq!(cores.len(), 1, "{cores:?}");
    let core = fs::read(&cores[0]).unwrap();
    // Bytes 16 and 17 of an ELF header hold the type, here ET_CORE (elf(5)).
    assert!(core.starts_with(b"\x7fELF") && core[16..18] == 4_u16.to_ne_bytes(), "{:?}", &core[..20]);
}

pub fn instance_that_ignores_hang_signal_is_killed_after_grace() {
    let variables = [("SAM_HANG_SIGNAL", "ABRT"), ("SAM_HANG_GRACE", "3000")];
    let program = start(&["1500", "deaf", "stop"], &variables);
    let supervisor = program.pid();
    program.wait_for_error("sent SIGABRT (");
    let sent = Instant::now();
    program.wait_for_error("did not end within");
    let waited = sent.elapsed();
    let outcome = program.finish(PATIENCE);
    outcome.expect(Ended::Exit(0), &["instance 1", "instance 2"]);
    assert_eq!(
        normalized(supervisor, &outcome, &outcome.errors()),
        [
            &format!("sam[P0]: {}", first_line(1500)),
            "sam[P0]: instance 1 (pid P1) silent for T ms (limit 1500), sent SIGTERM, SIGABRT follows in 1500 ms without a heartbeat",
            "sam[P0]: instance 1 (pid P1) still silent after T ms, sent SIGABRT (SAM_HANG_SIGNAL), SIGKILL follows in 3000 ms",
            "sam[P0]: instance 1 (pid P1) did not end within T ms after SIGABRT (SAM_HANG_SIGNAL), sent SIGKILL",
            "sam[P0]: instance 1 (pid P1) died of SIGKILL after its silence and is restarted",
            "sam[P0]: restarted as instance 2 (pid P2) in T ms",
            "sam[P0]: stopped: instance 2 (pid P2) exited 0, the supervisor ends",
        ],
        "{outcome}"
    );
    // The grace is 3000 ms. The test allows 1500 ms less, because it may have read the first line late.
    assert!(
        waited >= Duration::from_millis(1500),
        "killed {waited:?} after SIGABRT, expected at least 1500 ms"
    );
}

pub fn core_dump_longer_than_grace_is_cut_short() {
    require(&[Ability::CoreFiles]);
    let folder = Folder::new("huge");
    let variables = [("SAM_HANG_SIGNAL", "ABRT"), ("SAM_HANG_GRACE", "1500")];
    let program = start_with_cores("unlimited", &folder, &["1500", "huge", "stop"], &variables);
    program.wait_for_error("sent SIGABRT (");
    let line = program.wait_for_error("did not end within");
    assert!(
        line.ends_with(
            "after SIGABRT (SAM_HANG_SIGNAL), sent SIGKILL, its core file is incomplete (see SAM_HANG_GRACE)"
        ),
        "{line}"
    );
    program.finish(PATIENCE).expect(Ended::Exit(0), &["instance 1", "instance 2"]);
}

/// A debugger that only watches. It detaches when dropped.
struct Tracer(Child);

impl Tracer {
    /// Attaches strace to a process, and waits until it traces the process.
    fn of(pid: &str) -> Tracer {
        let mut strace = Command::new("strace");
        strace.args(["-qq", "-o", "/dev/null", "-p", pid]);
        let child = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let tracer = Tracer(child.expect("strace"));
        let (pid, deadline) = (pid.parse().unwrap(), Instant::now() + PATIENCE);
        while tracer_of(pid) != tracer.0.id() {
            assert!(Instant::now() < deadline, "strace does not trace {pid}");
            thread::sleep(Duration::from_millis(5));
        }
        tracer
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Tells an instance that executes `wait` to hang.
fn tell_to_hang(pid: &str) {
    kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGUSR1).unwrap();
}

pub fn debug_hold_suspends_health_checks_of_traced_instance() {
    require(&[Ability::Tracing]);
    let program = start(&["1500", "wait", "stop"], &[("SAM_DEBUG_HOLD", "1")]);
    let pid = program.wait_for("# pid of 1 ");
    let tracer = Tracer::of(&pid);
    program.wait_for_error("is traced by a debugger, its heartbeats are not checked");
    let held = Instant::now();
    tell_to_hang(&pid);
    program.wait_for("hangs");
    // Far more than the two intervals after which the supervisor would kill the instance.
    thread::sleep(Duration::from_secs(6));
    drop(tracer);
    program.wait_for_error("is no longer traced by a debugger, its heartbeats are checked again");
    let line = program.wait_for_error("silent for");
    let silent: u64 = line.split_once("silent for ").unwrap().1.split_once(" ms").unwrap().0.parse().unwrap();
    assert!(line.contains("(limit 1500), sent SIGTERM,"), "{line}");
    assert!(
        silent >= 1500 && Duration::from_millis(silent) < held.elapsed() - Duration::from_secs(2),
        "{line}"
    );
    let outcome = program.finish(PATIENCE);
    outcome.expect(Ended::Exit(0), &["instance 1", "hangs", "instance 2"]);
    let errors = outcome.errors();
    assert!(errors[1].ends_with("(SAM_DEBUG_HOLD)") && errors[2].ends_with("checked again"), "{outcome}");
}

pub fn traced_hung_instance_is_killed_without_debug_hold() {
    require(&[Ability::Tracing]);
    for variables in [&[][..], &[("SAM_DEBUG_HOLD", "0")]] {
        let program = start(&["1500", "wait", "stop"], variables);
        let pid = program.wait_for("# pid of 1 ");
        let _tracer = Tracer::of(&pid);
        tell_to_hang(&pid);
        program.finish(PATIENCE).expect(Ended::Exit(0), &["instance 1", "hangs", "instance 2"]);
    }
}
