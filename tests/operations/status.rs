//! The output of sam-status.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    iter,
    os::{
        fd::OwnedFd,
        unix::fs::{FileExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        memfd::{MFdFlags, memfd_create},
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use serde_json::Value;

use crate::common::{
    Built, Ended, Library, Program, Running, build,
    machine::{Ability, as_nobody, as_root, require},
    prefix,
    runner::skip,
    tools::copy_program,
};
use crate::{Folder, PATIENCE, start, storm, troubled};

fn sam_status() -> PathBuf {
    prefix().join("bin/sam-status")
}

/// Runs sam-status. Returns its standard output, its standard error and its exit code.
fn said(arguments: &[&str]) -> (String, String, i32) {
    let output = Command::new(sam_status()).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

/// Returns the list that `sam-status --json` prints with these arguments, and its exit code.
fn listed(arguments: &[&str]) -> (Vec<Value>, i32) {
    let (text, errors, code) = said(&[&["--json"], arguments].concat());
    // With exit code 3, standard error says what was not found. A test that runs at the same time makes a page unreadable.
    let complaints = errors.lines().filter(|line| !line.contains("whose status this version cannot read"));
    assert!((complaints.count() == 0) == (code != 3), "exit code {code}: {errors}");
    let Ok(Value::Array(list)) = serde_json::from_str(&text) else {
        panic!("the output is no JSON list: {text:?}")
    };
    (list, code)
}

/// Waits until `wanted` is true of the entry of one program. Returns the entry and the exit code.
pub(crate) fn listed_when(program: &Running, wanted: impl Fn(&Value) -> bool) -> (Value, i32) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (list, code) = listed(&[&program.pid().to_string()]);
        if let [one] = &list[..] {
            if wanted(one) {
                return (one.clone(), code);
            }
        }
        assert!(
            Instant::now() < deadline,
            "the entry of the program is not as wanted after {PATIENCE:?}: {list:#?}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

pub fn hundred_programs_are_listed_with_all_fields() {
    let programs: Vec<Running> =
        (0..100).map(|_| start(&["86400000", "hang"], &[("SAM_LOG", "off")])).collect();
    let pids: Vec<String> = programs.iter().map(|program| program.wait_for("# pid of 1 ")).collect();
    let supervisors: Vec<String> = programs.iter().map(|program| program.pid().to_string()).collect();

    let supervisors: Vec<&str> = supervisors.iter().map(String::as_str).collect();
    // The supervisor may show an instance a little after the instance has begun, when it gets the processor.
    let deadline = Instant::now() + PATIENCE;
    let list = loop {
        let (list, code) = listed(&supervisors);
        if (list.len(), code) == (100, 0) && list.iter().all(|one| one["state"] == "running") {
            break list;
        }
        assert!(
            Instant::now() < deadline,
            "{} programs listed, exit code {code}, expected 100 running ones: {list:#?}",
            list.len()
        );
    };
    for (supervisor, pid) in supervisors.iter().zip(&pids) {
        let one = list.iter().find(|one| one["supervisor"].as_u64() == supervisor.parse().ok()).unwrap();
        let age = one["heartbeat_age_ms"].as_u64().unwrap();
        let left = one["time_left_ms"].as_u64().unwrap();
        assert!((86_399_999..=86_400_000).contains(&(age + left)), "{one}");
        assert!(one["uptime_ms"].as_u64() >= Some(age), "{one}");
        let expected = serde_json::json!({
            "program": "troubled", "supervisor": one["supervisor"], "instance": 1, "pid": pid.parse::<u32>().unwrap(),
            "state": "running", "well": true, "policy": "restart", "interval_ms": 86_400_000,
            "heartbeat_age_ms": age, "time_left_ms": left, "restarts": 0, "recent_restarts": 0,
            "uptime_ms": one["uptime_ms"], "last": null, "last_end": null, "library": env!("CARGO_PKG_VERSION"),
            "library_is_old": false, "service": one["service"],
        });
        assert_eq!(*one, expected);
    }

    // Without arguments all programs of this machine are listed, in the order of their supervisors' pids.
    let (all, _) = listed(&[]);
    let found: Vec<u64> = all.iter().map(|one| one["supervisor"].as_u64().unwrap()).collect();
    assert!(found.is_sorted(), "{found:?}");
    let found: BTreeSet<String> = found.iter().map(u64::to_string).collect();
    assert!(supervisors.iter().all(|supervisor| found.contains(*supervisor)), "{found:?}");
    let (named, _) = listed(&["troubled"]);
    assert!(named.len() >= 100 && named.iter().all(|one| one["program"] == "troubled"), "{named:#?}");
}

pub fn last_event_with_time_and_restart_count_are_shown() {
    let program = start(&["0", "exit=3", "signal=9", "hang"], &[]);
    let pid = program.wait_for("# pid of 3 ");
    let (one, code) = listed_when(&program, |one| one["restarts"] == 2 && one["state"] == "running");
    let before = program.wait_for("# pid of 2 ");
    assert_eq!(one["last"]["what"], format!("instance 2 (pid {before}) died of SIGKILL and is restarted"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let at = one["last"]["at"].as_f64().unwrap();
    assert!(at <= now.as_secs_f64() && at > now.as_secs_f64() - PATIENCE.as_secs_f64(), "{one}");
    assert_eq!((one["instance"].clone(), one["pid"].to_string(), code), (3.into(), pid, 0), "{one}");
    let end = serde_json::json!({
        "instance": 2, "pid": before.parse::<u32>().unwrap(), "reason": "signal", "exit_code": null,
        "signal": "SIGKILL", "core": false, "at": one["last"]["at"], "age_ms": one["last_end"]["age_ms"],
    });
    assert_eq!(one["last_end"], end, "{one}");
    assert_eq!(
        (one["interval_ms"].clone(), one["time_left_ms"].clone()),
        (Value::Null, Value::Null),
        "{one}"
    );
}

pub fn program_that_keeps_failing_is_not_well() {
    let storm = ["0", "exit=3", "exit=3", "exit=3", "hang"];
    let program = start(&storm, &[("SAM_LOG", "off")]);
    program.wait_for("# pid of 4 ");
    let (one, code) = listed_when(&program, |one| one["restarts"] == 3 && one["pid"] != Value::Null);
    let shown = (one["state"].as_str(), one["recent_restarts"].as_u64(), one["well"].as_bool(), code);
    assert_eq!(shown, (Some("failing"), Some(3), Some(false), 1), "{one}");
    assert_eq!(
        (one["last_end"]["reason"].as_str(), one["last_end"]["exit_code"].as_i64()),
        (Some("exited"), Some(3))
    );
}

pub fn end_after_silence_is_shown_with_its_reason() {
    let program = start(&["200", "deaf", "wait"], &[]);
    let (one, _) = listed_when(&program, |one| one["last_end"] != Value::Null);
    let end = &one["last_end"];
    assert_eq!((end["reason"].as_str(), end["signal"].as_str()), (Some("silent"), Some("SIGKILL")), "{one}");
}

pub fn pid_of_one_program_is_printed_and_none_of_several() {
    let name = format!("alone-{}", std::process::id());
    let program = start(&["0", "hang"], &[("SAM_NAME", &name)]);
    let pid = program.wait_for("# pid of 1 ");
    let (one, _) = listed_when(&program, |one| one["state"] == "running");
    assert_eq!(one["program"], *name, "{one}");
    assert_eq!(said(&["--pid", &name]), (format!("{pid}\n"), String::new(), 0));
    assert_eq!(said(&["--supervisor", &name]), (format!("{}\n", program.pid()), String::new(), 0));

    let other = start(&["0", "hang"], &[("SAM_NAME", &name)]);
    listed_when(&other, |one| one["state"] == "running");
    for option in ["--pid", "--supervisor"] {
        let (text, errors, code) = said(&[option, &name]);
        assert_eq!((text.as_str(), code), ("", 2), "{option}: {errors}");
        for pid in [program.pid(), other.pid()] {
            assert!(errors.contains(&format!(" {pid} ")), "{option} does not name {pid}: {errors}");
        }
    }
    let supervisor = other.pid().to_string();
    assert_eq!(said(&["--supervisor", &supervisor]), (format!("{supervisor}\n"), String::new(), 0));

    let delayed = start(&["0", "exit=3"], &[("SAM_RESTART_DELAY", "86400000")]);
    listed_when(&delayed, |one| one["state"] == "delayed");
    let (text, errors, code) = said(&["--pid", &delayed.pid().to_string()]);
    assert!(text.is_empty() && code == 3 && errors.contains("no instance"), "{code} {text} {errors}");
}

pub fn name_that_nothing_has_is_told_on_standard_error() {
    let program = start(&["0", "hang"], &[]);
    listed_when(&program, |one| one["state"] == "running");
    let pid = program.pid().to_string();
    for arguments in [&["nobody-has-this"][..], &[&pid, "nobody-has-this"], &["--pid", "nobody-has-this"]] {
        let (text, errors, code) = said(arguments);
        assert_eq!(code, 3, "{arguments:?}: {text} {errors}");
        assert_eq!(errors.lines().count(), 1, "{arguments:?}: {errors}");
        assert!(errors.starts_with("sam-status: ") && errors.contains("nobody-has-this"), "{errors}");
        assert_eq!(text.contains(&pid), arguments.contains(&pid.as_str()), "{arguments:?}: {text}");
    }
}

/// Returns what sam-status writes to a terminal with this number of columns, for the program of this supervisor.
fn on_terminal(columns: u16, color: bool, supervisor: u32) -> String {
    let no_color = if color { "" } else { "1" };
    let inner =
        format!("stty cols {columns} rows 9; NO_COLOR={no_color} '{}' {supervisor}", sam_status().display());
    let mut command = Command::new("script");
    command.args(["-qec", &inner, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null());
    match command.output() {
        Ok(output) => String::from_utf8(output.stdout).unwrap(),
        Err(error) => skip(format!("script(1), which makes a terminal, cannot be started: {error}")),
    }
}

pub fn table_fits_the_terminal_and_has_colors_unless_no_color_is_set() {
    let program = start(&["0", "exit=3", "hang"], &[("SAM_NAME", "a-daemon-with-quite-a-long-name")]);
    listed_when(&program, |one| one["state"] == "running" && one["restarts"] == 1);
    for columns in [60, 80, 200] {
        let text = on_terminal(columns, false, program.pid());
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert!(lines.len() == 2 && lines[0].starts_with("PROGRAM"), "{columns} columns: {text:?}");
        assert!(
            lines.iter().all(|line| line.chars().count() <= columns.into()),
            "{columns} columns:\n{text}"
        );
        assert!(!text.contains('\x1b'), "{text:?}");
        assert_eq!(lines[0].contains("POLICY"), columns == 200, "{columns} columns:\n{text}");
    }
    assert!(on_terminal(80, true, program.pid()).contains("\x1b[32mrunning\x1b[0m"));
}

pub fn script_is_listed_by_its_own_name() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/supervised.py");
    let folder = Folder::new("script");
    let copy = folder.0.join("feed.py");
    // The example ends by itself. The copy waits to be looked at before it does anything.
    let text = fs::read_to_string(script).unwrap();
    let text = text.replace("sam.sam_start()", "sam.sam_start()); __import__('time').sleep(86400); str(0");
    assert!(text.contains("sleep(86400)"), "examples/supervised.py does not call sam.sam_start()");
    fs::write(&copy, text).unwrap();
    let mut python = Command::new("python3");
    python.arg("-u").arg(&copy).env("LD_LIBRARY_PATH", prefix().join("lib")).stdout(Stdio::null());
    let python = Watcher(python.spawn().expect("start python3"));
    let supervisor = python.0.id().to_string();
    let deadline = Instant::now() + PATIENCE;
    let list = loop {
        let (list, _) = listed(&[&supervisor]);
        if list.first().is_some_and(|one| one["state"] == "running") {
            break list;
        }
        assert!(Instant::now() < deadline, "{list:#?}");
        thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(list[0]["program"], "feed.py", "{list:#?}");
    assert_eq!(said(&["--supervisor", "feed.py"]).0, format!("{supervisor}\n"));
}

pub fn program_whose_process_name_is_cut_inside_a_character_is_listed() {
    let folder = Folder::new("cut");
    // The kernel keeps 15 bytes of the name.
    let copy = folder.0.join("fourteen-bytesä");
    copy_program(&build(Built::WithOriginal, "troubled"), &copy);
    let mut command = Command::new(&copy);
    command.args(["0", "hang"]).env("LD_LIBRARY_PATH", prefix().join("lib")).env("SAM_LOG", "off");
    let program = Running::start(command);
    let (one, _) = listed_when(&program, |one| one["state"] == "running");
    assert_eq!(one["program"], "fourteen-bytesä", "{one}");
}

pub fn openmetrics_counts_the_programs_of_a_name() {
    let name = format!("measured \"{}\"", std::process::id());
    let program = start(&["2000", "exit=3", "wait"], &[("SAM_NAME", &name)]);
    listed_when(&program, |one| one["state"] == "running" && one["restarts"] == 1);
    let other = start(&["86400000", "hang"], &[("SAM_NAME", &name)]);
    listed_when(&other, |one| one["state"] == "running");
    let (text, errors, code) = said(&["--openmetrics", &name]);
    assert_eq!((errors.as_str(), code), ("", 0));
    let labels = format!("program=\"{}\"", name.replace('"', "\\\""));
    let value = |metric: &str, state: &str| {
        let mut lines = text.lines().filter(|line| {
            line.starts_with(&format!("{metric}{{{labels},")) && line.contains(&format!("{state}}} "))
        });
        lines.next().and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
    };
    assert_eq!(value("sam_programs", ",state=\"running\""), Some(2.0), "{text}");
    assert_eq!(value("sam_programs", ",state=\"failing\""), Some(0.0), "{text}");
    assert_eq!(value("sam_restarts_total", ""), Some(1.0), "{text}");
    assert_eq!(value("sam_recent_restarts", ""), Some(1.0), "{text}");
    assert_eq!(value("sam_interval_seconds", ""), Some(2.0), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

/// Returns the path of the status page of a supervisor in /proc.
fn status_page(supervisor: u32) -> PathBuf {
    let mut descriptors =
        fs::read_dir(format!("/proc/{supervisor}/fd")).unwrap().map(|entry| entry.unwrap().path());
    let page = descriptors.find(|path| {
        fs::read_link(path).is_ok_and(|link| link.to_str() == Some("/memfd:sam-status (deleted)"))
    });
    page.expect("a status page")
}

pub fn page_of_another_version_is_read_as_far_as_it_is_known() {
    let program = start(&["0", "exit=3", "hang"], &[]);
    listed_when(&program, |one| one["state"] == "running" && one["restarts"] == 1);
    let pid = program.pid().to_string();
    let page = File::options().write(true).open(status_page(program.pid())).unwrap();
    let put = |word: u64, value: u64| page.write_all_at(&value.to_ne_bytes(), word * 8).unwrap();

    // Version 0.2.0 leaves word 72 and all later ones at 0.
    put(72, 0);
    let (list, code) = listed(&[&pid]);
    let one = &list[0];
    assert_eq!(
        (one["state"].as_str(), one["restarts"].as_u64(), code),
        (Some("running"), Some(1), 0),
        "{one}"
    );
    assert_eq!(
        (one["library"].clone(), one["library_is_old"].as_bool(), one["recent_restarts"].clone()),
        (Value::Null, Some(true), Value::Null),
        "{one}"
    );
    // A later version may add words.
    put(72, 400);
    assert_eq!(listed(&[&pid]).0[0]["library"], env!("CARGO_PKG_VERSION"));

    put(0, u64::from_be_bytes(*b"sam-st 9"));
    let (text, errors, code) = said(&[&pid]);
    assert_eq!(code, 1, "{text} {errors}");
    assert!(text.contains(&pid) && text.contains("unknown"), "{text}");
    assert!(errors.contains("troubled") && errors.contains(&pid), "{errors}");
}

pub fn program_whose_library_was_replaced_is_shown_as_old() {
    let folder = Folder::new("replaced");
    let copy = folder.0.join("libsam.so.4");
    copy_program(&prefix().join("lib/libsam.so.4"), &copy);
    let program = troubled(&["0", "hang"]);
    let mut command = program.command(Library::Ours);
    command.env("LD_LIBRARY_PATH", &folder.0);
    let program = program.start_as(command);
    let (one, _) = listed_when(&program, |one| one["state"] == "running");
    assert_eq!(one["library_is_old"], false, "{one}");
    fs::remove_file(copy).unwrap();
    let (one, code) = listed_when(&program, |one| one["library_is_old"] == true);
    assert_eq!((one["library"].as_str(), code), (Some(env!("CARGO_PKG_VERSION")), 0), "{one}");
}

pub fn heartbeat_age_follows_heartbeats() {
    let silent = start(&["86400000", "hang"], &[]);
    let lively = start(&["2000", "wait"], &[]);
    let age = |program: &Running| {
        let (one, _) = listed_when(program, |one| one["state"] == "running");
        one["heartbeat_age_ms"].as_u64().unwrap()
    };
    let (begin, first) = (Instant::now(), age(&silent));
    let mut last = age(&lively);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let next = age(&lively);
        if next < last {
            break;
        }
        last = next;
        assert!(Instant::now() < deadline, "no heartbeat for {PATIENCE:?}, heartbeat_age_ms is {last}");
    }
    thread::sleep(Duration::from_millis(50));
    let second = age(&silent);
    let passed = begin.elapsed().as_millis() as u64;
    assert!(
        second >= first + 50 && second <= first + passed + 1,
        "heartbeat_age_ms was {first}, and {second} after {passed} ms"
    );
}

pub fn hung_delayed_or_warned_program_is_not_well() {
    let day = "86400000";
    let hung = start(&["200", "deaf"], &[("SAM_HANG_SIGNAL", "ABRT"), ("SAM_HANG_GRACE", day)]);
    let (one, code) = listed_when(&hung, |one| one["state"] == "being killed");
    let left = one["time_left_ms"].as_u64().unwrap();
    assert!(left <= 86_400_000 && left > 86_000_000 && one["well"] == false && code == 1, "{one}");

    let delayed = start(&["200", "exit=3"], &[("SAM_RESTART_DELAY", day)]);
    let (one, code) = listed_when(&delayed, |one| one["state"] == "delayed");
    let left = one["time_left_ms"].as_u64().unwrap();
    assert!(left <= 86_400_000 && left > 86_000_000 && one["well"] == false && code == 1, "{one}");
    assert_eq!((one["pid"].clone(), one["heartbeat_age_ms"].clone()), (Value::Null, Value::Null));

    let warned = start(&["3000", "hang"], &[]);
    let (one, code) = listed_when(&warned, |one| one["state"] == "warned");
    let left = one["time_left_ms"].as_u64().unwrap();
    assert!(left <= 3000 && one["heartbeat_age_ms"].as_u64() >= Some(3000) && code == 1, "{one}");
}

pub fn exit_code_distinguishes_found_not_found_and_error() {
    let program = start(&["0", "hang"], &[]);
    program.wait_for("# pid of 1 ");
    let code = |arguments: &[&str]| {
        let mut command = Command::new(sam_status());
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().code()
    };
    let pid = program.pid().to_string();
    listed_when(&program, |one| one["state"] == "running");
    assert_eq!(code(&[&pid]), Some(0));
    assert_eq!(code(&["a program that nobody has"]), Some(3));
    assert_eq!(code(&["--nonsense"]), Some(2));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(sam_status());
    let status = command.arg(&pid).stdout(full).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(2), "exit code when the output cannot be written");

    kill(Pid::from_raw(program.pid() as i32), Signal::SIGTERM).unwrap();
    drop(program);
    assert_eq!(code(&[&pid]), Some(3), "exit code after the program has ended");
}

pub fn output_without_json_is_a_table() {
    let program = start(&["0", "exit=3", "hang"], &[]);
    let pid = program.wait_for("# pid of 2 ");
    // Until the supervisor has written of the restart, the first instance is listed.
    let (one, _) = listed_when(&program, |one| one["restarts"] == 1 && one["state"] == "running");
    let output = Command::new(sam_status()).arg(program.pid().to_string()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let head = "PROGRAM STATE SUPERVISOR PID INSTANCE UPTIME RESTARTS RECENT HEARTBEAT LEFT INTERVAL POLICY LIBRARY LAST";
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>().join(" "), head, "{text}");
    let supervisor = program.pid();
    let words: Vec<&str> = lines[1].split_whitespace().collect();
    let start = format!("troubled running {supervisor} {pid} 2 ");
    assert!(words.join(" ").starts_with(&start) && lines[1].ends_with(" ago"), "{text}");
    assert!(lines[1].contains("  exited 3, "), "{text}");
    assert_eq!(
        one["last"]["what"].as_str().unwrap().split_once(") ").unwrap().1,
        "exited 3 and is restarted"
    );
    assert_eq!(lines.len(), 2, "{text}");
}

/// A child process that is killed when dropped.
struct Watcher(Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn watch_ends_when_its_reader_closes_the_pipe() {
    let program = start(&["0", "hang"], &[]);
    program.wait_for("# pid of 1 ");
    let mut command = Command::new(sam_status());
    command.args(["--json", "--watch=0.1", &program.pid().to_string()]);
    let mut watcher = Watcher(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(watcher.0.stdout.take().unwrap()).lines();
    // The list is empty until the supervisor has written its status page.
    let mut lists = lines
        .by_ref()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
        .skip_while(|list| list.as_array().is_some_and(Vec::is_empty));
    for _ in 0..3 {
        let list = lists.next().unwrap();
        assert_eq!(list[0]["supervisor"], program.pid(), "{list}");
    }
    drop(lines);
    let deadline = Instant::now() + PATIENCE;
    while watcher.0.try_wait().unwrap().is_none() {
        assert!(
            Instant::now() < deadline,
            "sam-status --watch still runs {PATIENCE:?} after its reader closed the pipe"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

pub fn programs_that_start_and_end_during_listing_cause_no_error() {
    let storms: Vec<Running> = (0..4)
        .map(|_| start(&["0", "exit=3"], &[("SAM_LOG", "off"), ("SAM_RESTART_LIMIT", "3000/3600")]))
        .collect();
    for _ in 0..60 {
        let (list, code) = listed(&["troubled"]);
        assert!([0, 1, 3].contains(&code), "exit code {code}: {list:#?}");
        drop(start(&["0", "hang"], &[]));
    }
    drop(storms);
}

pub fn restarts_do_not_grow_memory_of_pages() {
    let huge = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/shmem_enabled").unwrap_or_default();
    if ["[always]", "[within_size]", "[force]"].iter().any(|choice| huge.contains(choice)) {
        skip("transparent huge pages are enabled for memory files (shmem_enabled)");
    }
    let storm = storm();
    let storm: Vec<&str> = storm.iter().map(String::as_str).collect();
    let program = start(&storm, &[("SAM_LOG", "off")]);
    let (one, _) = listed_when(&program, |one| one["restarts"] == 60 && one["state"] == "failing");
    let names = ["/memfd:sam-status (deleted)", "/memfd:sam-control-page (deleted)"];
    let deadline = Instant::now() + PATIENCE;
    let files = loop {
        let files: Vec<PathBuf> = fs::read_dir(format!("/proc/{}/fd", program.pid()))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| fs::read_link(path).is_ok_and(|link| names.contains(&link.to_str().unwrap())))
            .collect();
        // The status page, the control page of the instance, and a control page for the next instance.
        if files.len() == 3 {
            break files;
        }
        assert!(Instant::now() < deadline, "expected 3 pages, got {files:?}: {one}");
        thread::sleep(Duration::from_millis(5));
    };
    let used: u64 = files.iter().map(|file| fs::metadata(file).unwrap().blocks() * 512).sum();
    let page = String::from_utf8(Command::new("getconf").arg("PAGESIZE").output().unwrap().stdout).unwrap();
    let page: u64 = page.trim().parse().unwrap();
    assert!(used > 0 && used <= 3 * page, "the pages use {used} bytes, expected at most {}", 3 * page);
}

pub fn program_in_pid_namespace_is_listed_from_outside() {
    require(&[Ability::PidNamespace]);
    let program = troubled(&["86400000", "exit=3", "hang"]);
    let others = [&["unshare"], as_root(), &["--pid", "--fork", "--kill-child"]].concat();
    let mut command = program.command_through(&others, Library::Ours);
    command.env("SAM_LOG", "off");
    let program = program.start_as(command);
    // The instances have pids 2 and 3 there, because the supervisor is process 1.
    program.wait_for("# pid of 2 3");
    let parent = |pid: &Value| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:\t").map(str::to_owned));
        line.unwrap_or_default()
    };
    let outside = program.pid().to_string();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (list, _) = listed(&["troubled"]);
        let ours = list.iter().find(|one| parent(&one["supervisor"]) == outside && one["restarts"] == 1);
        if let Some(one) = ours.filter(|one| one["pid"] != Value::Null) {
            assert_eq!(parent(&one["pid"]), one["supervisor"].to_string(), "{one}");
            assert_eq!(
                (one["state"].as_str(), one["instance"].as_u64()),
                (Some("running"), Some(2)),
                "{one}"
            );
            break;
        }
        assert!(Instant::now() < deadline, "{list:#?}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub fn program_without_page_files_is_supervised_but_not_listed() {
    let program = troubled(&["1500", "exit=3", "hang", "recover"]);
    let command = program.command_through(&["prlimit", "--fsize=0"], Library::Ours);
    let program = program.start_as(command);
    let supervisor = program.pid().to_string();
    program.wait_for("instance 2");
    assert_eq!(listed(&[&supervisor]), (vec![], 3));
    program.finish(PATIENCE).expect(Ended::Exit(0), &["instance 1", "instance 2", "instance 3"]);
}

pub fn forged_status_page_is_not_listed() {
    let fake = |words: &[u8]| -> OwnedFd {
        let fd = memfd_create(c"sam-status", MFdFlags::MFD_CLOEXEC).unwrap();
        File::from(fd.try_clone().unwrap()).write_all(words).unwrap();
        fd
    };
    let supervisor = start(&["0", "hang"], &[]);
    supervisor.wait_for("# pid of 1 ");
    listed_when(&supervisor, |one| one["state"] == "running");
    let real = status_page(supervisor.pid());
    let mut copy = vec![0; 4096];
    File::open(real).unwrap().read_exact_at(&mut copy, 0).unwrap();
    let _fakes = [fake(b""), fake(&[0xff; 65536]), fake(&copy)];
    let (list, code) = listed(&[&std::process::id().to_string()]);
    assert_eq!((list, code), (vec![], 3));
    assert_eq!(listed(&[&supervisor.pid().to_string()]).0.len(), 1);
}

pub fn other_user_sees_no_program() {
    require(&[Ability::OtherUser]);
    let folder = Folder::new("nobody");
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.0.join("sam-status");
    copy_program(&sam_status(), &copy);
    let program = start(&["0", "hang"], &[]);
    program.wait_for("# pid of 1 ");
    listed_when(&program, |one| one["state"] == "running");
    let output = as_nobody(Command::new(&copy).args(["--json", "troubled"])).output().unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(3), &b"[]\n"[..]), "{output:?}");
}

/// Starts a process that offers other files in place of a status page, and lists it. Returns how often sam-status
/// opened one.
fn opened(arguments: &[&str]) -> u32 {
    let mut command = Command::new(build(Built::WithOurs, "fake_status"));
    let child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut fake = Watcher(child.expect("start a test program"));
    let mut lines = BufReader::new(fake.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().expect("a first line of fake_status");
    if let Some(why) = first.strip_prefix("left out: ") {
        skip(why);
    }
    assert_eq!(first, "ready");
    assert_eq!(listed(&[&fake.0.id().to_string()]), (vec![], 3), "{arguments:?}");
    drop(fake.0.stdin.take());
    let last = lines.next().expect("a last line of fake_status");
    let number = last.strip_prefix("opened ").and_then(|rest| rest.strip_suffix(" times"));
    number.unwrap_or_else(|| panic!("{last}")).parse().unwrap()
}

/// Returns how often sam-status opened a file of this kind.
fn opened_of_kind(kind: &str) -> u32 {
    let folder = Folder::new(&format!("fake-{kind}"));
    opened(&[kind, folder.0.to_str().unwrap()])
}

pub fn sam_status_opens_no_fifo() {
    assert_eq!(opened_of_kind("fifo"), 0);
}

pub fn sam_status_opens_no_device() {
    assert_eq!(opened_of_kind("device"), 0);
}

pub fn sam_status_opens_no_file_that_is_not_in_memory() {
    assert_eq!(opened_of_kind("file"), 0);
}

pub fn sam_status_looks_into_few_files_of_one_process() {
    let expected = 1..=20;
    // Other tests list all processes, and what they open at the same time is counted as well.
    let deadline = Instant::now() + PATIENCE;
    let times = iter::repeat_with(|| opened(&["many", "900"]))
        .find(|times| expected.contains(times) || Instant::now() >= deadline)
        .unwrap_or_default();
    assert!(expected.contains(&times), "sam-status opened {times} files, expected 1 to 20");
}

pub fn adopted_process_is_shown_with_its_control_page() {
    let program = Program::new(Built::WithOurs, &["goes_on", "shown"]).start(Library::Ours);
    let pid: u32 = program.wait_for("# goes on as ").parse().unwrap();
    let (shown, _) = listed_when(&program, |one| one["pid"] == pid);
    assert_eq!((&shown["state"], &shown["instance"]), (&"running".into(), &1.into()), "{shown}");
    assert!(
        shown["heartbeat_age_ms"].is_u64(),
        "sam-status did not find the control page of the adopted process: {shown}"
    );
    kill(Pid::from_raw(program.pid() as i32), Signal::SIGTERM).unwrap();
    program.finish(PATIENCE).expect(Ended::Exit(6), &["instance 1", "SIGTERM"]);
}
