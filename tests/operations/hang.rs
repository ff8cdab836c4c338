//! What a hang leads to: SAM_HANG_SIGNAL, SAM_HANG_GRACE, SAM_DEBUG_HOLD.

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
    Ended, Library, Running,
    machine::{Ability, require, tracer_of},
};
use crate::{Folder, PATIENCE, same, start, troubled};

/// Starts a program that may leave core files of this size, in `folder`.
fn start_with_cores(limit: &str, folder: &Folder, troubles: &[&str], variables: &[(&str, &str)]) -> Running {
    let program = troubled(troubles);
    let limit = format!("--core={limit}");
    let mut command = program.command_through(&["prlimit", &limit], Library::Ours);
    command.current_dir(&folder.0).envs(variables.iter().copied());
    program.start_as(command)
}

pub fn a_hung_instance_gets_the_signal_that_was_asked_for() {
    for (name, signal) in [("USR2", Signal::SIGUSR2), ("SIGABRT", Signal::SIGABRT), ("24", Signal::SIGXCPU)] {
        let folder = Folder::new(&format!("hang-{name}"));
        let program = start_with_cores("0", &folder, &["200", "hang", "stop"], &[("SAM_HANG_SIGNAL", name)]);
        let supervisor = program.pid();
        let outcome = program.finish(PATIENCE);
        outcome.expect(Ended::Exit(0), &["instance 1", "instance 2"]);
        assert_eq!(
            same(supervisor, &outcome, &outcome.errors()),
            [
                "sam[P0]: instance 1 (pid P1) silent for T ms (limit 200), sent SIGTERM",
                &format!(
                    "sam[P0]: instance 1 (pid P1) silent for T ms in spite of the warning, sent {signal}"
                ),
                &format!("sam[P0]: instance 1 (pid P1) died of {signal} after its silence"),
                "sam[P0]: restarted as instance 2 (pid P2) in T ms",
                "sam[P0]: instance 2 (pid P2) exited 0",
            ],
            "{outcome}"
        );
    }
}

pub fn a_hang_leaves_a_core_file() {
    require(&[Ability::CoreFiles]);
    let folder = Folder::new("core");
    let program =
        start_with_cores("unlimited", &folder, &["200", "hang", "stop"], &[("SAM_HANG_SIGNAL", "ABRT")]);
    let supervisor = program.pid();
    let outcome = program.finish(PATIENCE);
    outcome.expect(Ended::Exit(0), &["instance 1", "instance 2"]);
    let lines = same(supervisor, &outcome, &outcome.errors());
    let death = "sam[P0]: instance 1 (pid P1) died of SIGABRT (core dumped) after its silence";
    assert!(lines.iter().any(|line| line == death), "{outcome}");
    let cores: Vec<_> = fs::read_dir(&folder.0)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    assert_eq!(cores.len(), 1, "{cores:?}");
    let core = fs::read(&cores[0]).unwrap();
    // ELF, and in its header the type ET_CORE.
    assert!(core.starts_with(b"\x7fELF") && core[16..18] == 4_u16.to_ne_bytes(), "{:?}", &core[..20]);
}

pub fn who_does_not_end_in_time_is_killed_all_the_same() {
    let variables = [("SAM_HANG_SIGNAL", "ABRT"), ("SAM_HANG_GRACE", "300")];
    let program = start(&["200", "deaf", "stop"], &variables);
    let supervisor = program.pid();
    program.wait_for_error("sent SIGABRT");
    let sent = Instant::now();
    program.wait_for_error("did not end in time");
    let waited = sent.elapsed();
    let outcome = program.finish(PATIENCE);
    outcome.expect(Ended::Exit(0), &["instance 1", "instance 2"]);
    assert_eq!(
        same(supervisor, &outcome, &outcome.errors()),
        [
            "sam[P0]: instance 1 (pid P1) silent for T ms (limit 200), sent SIGTERM",
            "sam[P0]: instance 1 (pid P1) silent for T ms in spite of the warning, sent SIGABRT",
            "sam[P0]: instance 1 (pid P1) did not end in time, killed",
            "sam[P0]: instance 1 (pid P1) died of SIGKILL after its silence",
            "sam[P0]: restarted as instance 2 (pid P2) in T ms",
            "sam[P0]: instance 2 (pid P2) exited 0",
        ],
        "{outcome}"
    );
    // The first line may have been read late.
    assert!(waited >= Duration::from_millis(200), "killed after {waited:?}");
}

pub fn a_core_file_that_takes_too_long_is_cut_short() {
    require(&[Ability::CoreFiles]);
    let folder = Folder::new("huge");
    let variables = [("SAM_HANG_SIGNAL", "ABRT"), ("SAM_HANG_GRACE", "1500")];
    let program = start_with_cores("unlimited", &folder, &["200", "huge", "stop"], &variables);
    program.wait_for_error("sent SIGABRT");
    let line = program.wait_for_error("did not end in time");
    assert!(line.ends_with("did not end in time, killed, its core file cut short"), "{line}");
    program.finish(PATIENCE).expect(Ended::Exit(0), &["instance 1", "instance 2"]);
}

/// A debugger that looks on; leaves when dropped.
struct Tracer(Child);

impl Tracer {
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

/// An instance that waits is to hang.
fn tell(pid: &str) {
    kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGUSR1).unwrap();
}

pub fn an_instance_in_a_debugger_is_left_alone_where_that_is_asked_for() {
    require(&[Ability::Tracing]);
    let program = start(&["400", "wait", "stop"], &[("SAM_DEBUG_HOLD", "1")]);
    let pid = program.wait_for("# pid of 1 ");
    let tracer = Tracer::of(&pid);
    program.wait_for_error("is traced by a debugger, health checks held");
    let held = Instant::now();
    tell(&pid);
    program.wait_for("hangs");
    // Far more than the two intervals after which it would be killed.
    thread::sleep(Duration::from_secs(3));
    drop(tracer);
    program.wait_for_error("is traced no more, health checks go on");
    let line = program.wait_for_error("silent for");
    let silent: u64 = line.split_once("silent for ").unwrap().1.split_once(" ms").unwrap().0.parse().unwrap();
    assert!(line.ends_with("(limit 400), sent SIGTERM"), "{line}");
    assert!(
        silent >= 400 && Duration::from_millis(silent) < held.elapsed() - Duration::from_secs(2),
        "{line}"
    );
    let outcome = program.finish(PATIENCE);
    outcome.expect(Ended::Exit(0), &["instance 1", "hangs", "instance 2"]);
    let errors = outcome.errors();
    assert!(errors[0].ends_with("held") && errors[1].ends_with("go on"), "{outcome}");
}

pub fn a_debugger_does_not_save_a_hung_instance_unless_that_is_asked_for() {
    require(&[Ability::Tracing]);
    for variables in [&[][..], &[("SAM_DEBUG_HOLD", "0")]] {
        let program = start(&["400", "wait", "stop"], variables);
        let pid = program.wait_for("# pid of 1 ");
        let _tracer = Tracer::of(&pid);
        tell(&pid);
        program.finish(PATIENCE).expect(Ended::Exit(0), &["instance 1", "hangs", "instance 2"]);
    }
}
