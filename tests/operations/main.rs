//! Settings of the administrator, for programs built for corosync's libsam: the log, the restart limit and delay, the
//! recovery of a hang, notifications to the service manager, and the output of sam-status.

#[path = "../common/mod.rs"]
mod common;
mod container;
mod group;
mod hang;
mod notes;
mod notify;
mod signals;
mod status;

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{OpenOptionsExt, PermissionsExt, chown},
            net::{UnixDatagram, UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use common::{
    Built, Ended, Library, Outcome, Program, Running,
    machine::{Ability, require, words_in_root},
    prefix,
    tools::copy_program,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, mkfifo},
};

/// The time limit for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the program whose instances cause these troubles, one trouble per instance (c-tests/troubled.c).
fn troubled(troubles: &[&str]) -> Program {
    Program::new(Built::WithOriginal, &[&["troubled"], troubles].concat())
}

/// Starts such a program with these settings.
fn start(troubles: &[&str], variables: &[(&str, &str)]) -> Running {
    let program = troubled(troubles);
    let mut command = program.command(Library::Ours);
    command.envs(variables.iter().copied());
    program.start_as(command)
}

/// Runs such a program with these settings to its end.
fn run(troubles: &[&str], variables: &[(&str, &str)]) -> Outcome {
    start(troubles, variables).finish(PATIENCE)
}

/// Returns the number of instances that the program started.
fn instances(outcome: &Outcome) -> usize {
    outcome.says().iter().filter(|line| line.starts_with("instance ")).count()
}

/// Returns log lines with the parts replaced that differ from run to run. The pid of the supervisor becomes P0, the pid
/// of instance 1 becomes P1 and so on, and measured times become T.
fn normalized(supervisor: u32, outcome: &Outcome, lines: &[String]) -> Vec<String> {
    let pids: Vec<i64> = (1..=instances(outcome)).map(|id| outcome.note(&format!("pid of {id}"))).collect();
    let normalize = |line: &String| {
        let mut line = line.replace(&format!("[{supervisor}]: "), "[P0]: ");
        for (id, pid) in (1..).zip(&pids) {
            line = line.replace(&format!("(pid {pid})"), &format!("(pid P{id})"));
        }
        let words: Vec<&str> = line.split(' ').collect();
        let measured = |place: usize| {
            place > 1
                && ["silent for", "silent after", "at most", "end within"]
                    .iter()
                    .any(|before| words[place - 2..place].join(" ") == *before)
                && words[place].parse::<f64>().is_ok()
                || place > 0 && words[place - 1] == "in" && line.contains("restarted as")
        };
        let words: Vec<&str> =
            (0..words.len()).map(|place| if measured(place) { "T" } else { words[place] }).collect();
        words.join(" ")
    };
    lines.iter().map(normalize).collect()
}

/// Returns the normalized text of the first line of a log.
fn first_line(interval_ms: u32) -> String {
    let interval =
        if interval_ms == 0 { "no interval".to_owned() } else { format!("interval {interval_ms} ms") };
    let version = env!("CARGO_PKG_VERSION");
    format!("supervising instance 1 (pid P1): policy restart, {interval}, libsam-rs {version}")
}

/// A temporary folder of a test, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("libsam-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// Returns the path of syslog's socket for a program whose root folder is this one.
    fn syslog(&self) -> PathBuf {
        fs::create_dir_all(self.0.join("dev")).unwrap();
        self.0.join("dev/log")
    }

    /// Returns the path of the journal's socket for a program whose root folder is this one.
    fn journal(&self) -> PathBuf {
        fs::create_dir_all(self.0.join("run/systemd/journal")).unwrap();
        self.0.join("run/systemd/journal/socket")
    }

    /// Copies the files that a program needs into this folder, which is to be its root folder.
    fn copy(&self, program: &Program) {
        for file in program.files(Library::Ours) {
            let copy = self.0.join(file.strip_prefix("/").expect("the path is absolute"));
            fs::create_dir_all(copy.parent().expect("the path has a parent folder")).unwrap();
            copy_program(&file, &copy);
        }
    }

    /// Returns a command that runs a program with this folder as its root folder, and without SAM_LOG.
    fn command(&self, program: &Program) -> Command {
        require(&[Ability::Chroot]);
        self.copy(program);
        let root = self.0.to_str().expect("the path is UTF-8");
        let mut command = program.command_through(&[&words_in_root()[..], &[root]].concat(), Library::Ours);
        command.env_remove("SAM_LOG");
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A log daemon that collects datagrams from a socket until it is dropped.
struct Daemon {
    received: Arc<Mutex<Vec<String>>>,
    ending: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Daemon {
    fn listen(path: PathBuf) -> Daemon {
        Daemon::serve(UnixDatagram::bind(path).unwrap())
    }

    fn serve(socket: UnixDatagram) -> Daemon {
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let ending = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (received, ending) = (Arc::clone(&received), Arc::clone(&ending));
            move || {
                let mut buffer = [0; 8192];
                loop {
                    // Read before the socket, so that every datagram sent before `end` is received.
                    let last = ending.load(Ordering::SeqCst);
                    match socket.recv(&mut buffer) {
                        Ok(length) => {
                            let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
                            received.lock().unwrap().push(text);
                        }
                        Err(error) if error.kind() == ErrorKind::WouldBlock && !last => {}
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
        Daemon { received, ending, thread: Some(thread) }
    }

    /// Returns all datagrams received so far.
    fn received(&self) -> Vec<String> {
        self.received.lock().unwrap().clone()
    }

    /// Ends the daemon and returns all datagrams that were sent to it.
    fn end(mut self) -> Vec<String> {
        self.ending.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        self.received()
    }

    /// Waits for a datagram that contains `text`.
    fn wait_for(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.received().iter().any(|datagram| datagram.contains(text)) {
            assert!(
                Instant::now() < deadline,
                "no datagram contains {text:?} after {PATIENCE:?}: {:#?}",
                self.received()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Starts a program whose root folder is `folder`. Its /dev/log and the journal's socket are those that the test made
/// there, or are absent.
fn start_with_sockets(folder: &Folder, troubles: &[&str], variables: &[(&str, &str)]) -> Running {
    let program = troubled(troubles);
    let mut command = folder.command(&program);
    command.envs(variables.iter().copied());
    program.start_as(command)
}

fn each_step_of_recovery_is_one_log_line() {
    let program = start(&["1500", "exit=3", "signal=9", "hang", "recover"], &[]);
    let supervisor = program.pid();
    let outcome = program.finish(PATIENCE);
    outcome.expect(Ended::Exit(0), &["instance 1", "instance 2", "instance 3", "instance 4"]);
    assert_eq!(
        normalized(supervisor, &outcome, &outcome.errors()),
        [
            &format!("sam[P0]: {}", first_line(1500)),
            "sam[P0]: instance 1 (pid P1) exited 3 and is restarted",
            "sam[P0]: restarted as instance 2 (pid P2) in T ms",
            "sam[P0]: instance 2 (pid P2) died of SIGKILL and is restarted",
            "sam[P0]: restarted as instance 3 (pid P3) in T ms",
            "sam[P0]: instance 3 (pid P3) silent for T ms (limit 1500), sent SIGTERM, SIGKILL follows in 1500 ms without a heartbeat",
            "sam[P0]: instance 3 (pid P3) still silent after T ms, sent SIGKILL",
            "sam[P0]: instance 3 (pid P3) died of SIGKILL after its silence and is restarted",
            "sam[P0]: restarted as instance 4 (pid P4) in T ms",
            "sam[P0]: instance 4 (pid P4) silent for T ms (limit 1500), sent SIGTERM, SIGKILL follows in 1500 ms without a heartbeat",
            "sam[P0]: instance 4 (pid P4) recovered after at most T ms of silence and runs on",
            "sam[P0]: stopped: instance 4 (pid P4) exited 0, the supervisor ends",
        ],
        "{outcome}"
    );
}

fn logged_silence_is_at_least_the_interval() {
    let outcome = run(&["1500", "hang", "stop"], &[]);
    let silence = |line: &String| {
        let time = line.split_once("silent for ").or_else(|| line.split_once("silent after "))?.1;
        time.split_once(" ms")?.0.parse::<u64>().ok()
    };
    let silences: Vec<u64> = outcome.errors().iter().filter_map(silence).collect();
    let [warned, killed] = silences[..] else { panic!("{outcome}") };
    assert!(warned >= 1500 && killed >= warned + 1500, "{outcome}");
}

fn log_goes_to_syslog_by_default() {
    for variables in [&[][..], &[("SAM_LOG", "syslog")]] {
        let folder = Folder::new(&format!("syslog-{}", variables.len()));
        let (syslog, journal) = (Daemon::listen(folder.syslog()), Daemon::listen(folder.journal()));
        let program = start_with_sockets(&folder, &["1500", "signal=9", "hang", "stop"], variables);
        let supervisor = program.pid();
        let outcome = program.finish(PATIENCE);
        outcome.expect(Ended::Exit(0), &["instance 1", "instance 2", "instance 3"]);
        assert!(outcome.errors().is_empty() && journal.end().is_empty(), "{outcome}");

        let mut lines = vec![];
        for datagram in syslog.end() {
            // <PRIORITY>Nov 22 04:05:06 troubled: ..
            let (priority, rest) = datagram.split_once('>').unwrap();
            let (date, line) = (&rest[..15], &rest[15..]);
            let is_date = date.bytes().zip("Nov 22 04:05:06".bytes()).all(|(byte, model)| match model {
                b'0'..=b'9' => byte.is_ascii_digit() || byte == b' ',
                b'A'..=b'z' => byte.is_ascii_alphabetic(),
                _ => byte == model,
            });
            assert!(is_date, "{datagram:?}");
            lines.push(format!("{priority}>{line}"));
        }
        assert_eq!(
            normalized(supervisor, &outcome, &lines),
            [
                &format!("<30> troubled[P0]: sam: {}", first_line(1500)),
                "<27> troubled[P0]: sam: instance 1 (pid P1) died of SIGKILL and is restarted",
                "<29> troubled[P0]: sam: restarted as instance 2 (pid P2) in T ms",
                "<28> troubled[P0]: sam: instance 2 (pid P2) silent for T ms (limit 1500), sent SIGTERM, SIGKILL follows in 1500 ms without a heartbeat",
                "<27> troubled[P0]: sam: instance 2 (pid P2) still silent after T ms, sent SIGKILL",
                "<27> troubled[P0]: sam: instance 2 (pid P2) died of SIGKILL after its silence and is restarted",
                "<29> troubled[P0]: sam: restarted as instance 3 (pid P3) in T ms",
                "<30> troubled[P0]: sam: stopped: instance 3 (pid P3) exited 0, the supervisor ends",
            ],
            "{outcome}"
        );
    }
}

fn log_in_journal_has_fields() {
    let folder = Folder::new("journal");
    let (syslog, journal) = (Daemon::listen(folder.syslog()), Daemon::listen(folder.journal()));
    let program = start_with_sockets(&folder, &["1500", "exit=3", "hang", "stop"], &[("SAM_LOG", "journal")]);
    let supervisor = program.pid();
    let outcome = program.finish(PATIENCE);
    outcome.expect(Ended::Exit(0), &["instance 1", "instance 2", "instance 3"]);
    assert!(outcome.errors().is_empty() && syslog.end().is_empty(), "{outcome}");
    let pid = |id: u32| outcome.note(&format!("pid of {id}"));
    let entry = |message: &str, priority: u32, step: &str, id: u32, fields: &str| {
        let fields: String = fields.split_whitespace().map(|field| format!("SAM_{field}\n")).collect();
        format!(
            "MESSAGE=sam: {message}\nPRIORITY={priority}\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=troubled\n\
             MESSAGE_ID={}\nSAM_STEP={step}\nSAM_INSTANCE={id}\nSAM_PID={}\n{fields}",
            notes::message_id(step),
            pid(id)
        )
    };
    let silent = "instance 2 (pid P2) silent for T ms";
    let rules = format!("POLICY=restart INTERVAL_MS=1500 VERSION={}", env!("CARGO_PKG_VERSION"));
    let by_kill = "REASON=silent SIGNAL=SIGKILL";
    assert_eq!(
        normalized(supervisor, &outcome, &journal.end()),
        [
            entry(&first_line(1500), 6, "started", 1, &rules),
            entry(
                "instance 1 (pid P1) exited 3 and is restarted",
                3,
                "lost",
                1,
                "REASON=exited EXIT_STATUS=3"
            ),
            entry("restarted as instance 2 (pid P2) in T ms", 5, "restarted", 2, ""),
            entry(
                &format!(
                    "{silent} (limit 1500), sent SIGTERM, SIGKILL follows in 1500 ms without a heartbeat"
                ),
                4,
                "warned",
                2,
                "REASON=silent SIGNAL=SIGTERM"
            ),
            entry("instance 2 (pid P2) still silent after T ms, sent SIGKILL", 3, "killed", 2, by_kill),
            entry(
                "instance 2 (pid P2) died of SIGKILL after its silence and is restarted",
                3,
                "lost",
                2,
                &format!("{by_kill} CORE=0")
            ),
            entry("restarted as instance 3 (pid P3) in T ms", 5, "restarted", 3, ""),
            entry(
                "stopped: instance 3 (pid P3) exited 0, the supervisor ends",
                6,
                "stopped",
                3,
                "REASON=exited EXIT_STATUS=0"
            ),
        ],
        "{outcome}"
    );
}

fn sam_log_off_writes_no_log() {
    let folder = Folder::new("off");
    let (syslog, journal) = (Daemon::listen(folder.syslog()), Daemon::listen(folder.journal()));
    let troubles = ["0", "exit=3", "stop"];
    let outcome = start_with_sockets(&folder, &troubles, &[("SAM_LOG", "off")]).finish(PATIENCE);
    outcome.expect(Ended::Exit(0), &["instance 1", "instance 2"]);
    assert!(outcome.errors().is_empty(), "{outcome}");
    assert_eq!((syslog.end(), journal.end()), (vec![], vec![]));
}

fn absent_log_daemon_does_not_disturb_supervision() {
    for route in ["syslog", "journal"] {
        let folder = Folder::new(&format!("absent-{route}"));
        let outcome =
            start_with_sockets(&folder, &["0", "exit=3", "stop"], &[("SAM_LOG", route)]).finish(PATIENCE);
        outcome.expect(Ended::Exit(0), &["instance 1", "instance 2"]);
        assert!(outcome.errors().is_empty(), "{outcome}");
    }
}

/// Returns how many lines were lost, according to the log itself.
fn lost(lines: &[String]) -> usize {
    let lost = |line: &String| {
        let (before, _) =
            line.split_once(if line.contains(" lines of") { " lines of" } else { " line of" })?;
        before.rsplit(' ').next()?.parse::<usize>().ok()
    };
    lines.iter().filter_map(lost).sum()
}

/// The number of restarts in a storm.
const STORM: usize = 60;

/// Returns the troubles of a program that restarts `STORM` times, and then hangs without an interval.
fn storm() -> Vec<String> {
    let mut troubles = vec!["0".to_owned()];
    troubles.extend(vec!["exit=3".to_owned(); STORM]);
    troubles.push("hang".to_owned());
    troubles
}

/// Checks the lines of a log that was full during a storm and has been emptied since: each line was received or counted
/// as lost.
fn expect_all_lines_accounted_for(lines: &[String]) {
    let lost = lost(lines);
    let about_lost = lines.iter().filter(|line| line.contains("lost before this line")).count();
    assert!(lost > 0, "the log reports no lost line: {lines:#?}");
    // The first line, two for each restart of the storm, then two for the end of the hanging instance and the restart
    // after it.
    assert_eq!(lines.len() - about_lost + lost, 1 + 2 * STORM + 2, "{lines:#?}");
}

fn full_syslog_socket_does_not_delay_supervisor() {
    let folder = Folder::new("full");
    let socket = UnixDatagram::bind(folder.syslog()).unwrap();
    let storm = storm();
    let storm: Vec<&str> = storm.iter().map(String::as_str).collect();
    let program = start_with_sockets(&folder, &storm, &[]);
    let pid: i32 = program.wait_for(&format!("# pid of {} ", STORM + 1)).parse().unwrap();
    // Empty the socket before anything more is logged, so that the next line reports the lost lines.
    socket.set_nonblocking(true).unwrap();
    let mut lines = vec![];
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer) {
        lines.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    socket.set_nonblocking(false).unwrap();
    let syslog = Daemon::serve(socket);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    syslog.wait_for(&format!("restarted as instance {} ", STORM + 2));
    drop(program);
    lines.extend(syslog.end());
    expect_all_lines_accounted_for(&lines);
}

/// Writes until the file takes no more. Returns the number of bytes written.
fn fill(mut file: impl Write) -> usize {
    (0..).take_while(|_| file.write_all(b"x").is_ok()).count()
}

/// Returns a channel that receives the lines of a file as they arrive.
fn lines_of(file: File) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(file).lines();
        while lines.next().is_some_and(|line| sender.send(line.unwrap()).is_ok()) {}
    });
    receiver
}

fn full_stderr_does_not_delay_supervisor() {
    let folder = Folder::new("stderr");
    let path = folder.0.join("fifo");
    mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Opened for reading and writing, because an open for reading alone would wait for a writer.
    let reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let pipe = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    let in_pipe = fill(&pipe);
    nix::fcntl::fcntl(&pipe, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty())).unwrap();

    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let in_socket = fill(&theirs);
    theirs.set_nonblocking(false).unwrap();

    let storm = storm();
    let storm: Vec<&str> = storm.iter().map(String::as_str).collect();
    let pipe = (OwnedFd::from(pipe), reader, in_pipe);
    let socket = (OwnedFd::from(theirs), File::from(OwnedFd::from(ours)), in_socket);
    for (stderr, mut reader, filled) in [pipe, socket] {
        let program = troubled(&storm);
        let mut command = program.command(Library::Ours);
        command.stderr(stderr);
        let program = program.start_as(command);
        let pid: i32 = program.wait_for(&format!("# pid of {} ", STORM + 1)).parse().unwrap();
        // Empty the pipe before anything more is logged, so that the next line reports the lost lines.
        reader.read_exact(&mut vec![0; filled]).unwrap();
        let lines = lines_of(reader);
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        let mut all = vec![];
        let last = format!("restarted as instance {} ", STORM + 2);
        while !all.last().is_some_and(|line: &String| line.contains(&last)) {
            let line = lines.recv_timeout(PATIENCE);
            all.push(
                line.unwrap_or_else(|_| panic!("no line contains {last:?} after {PATIENCE:?}: {all:#?}")),
            );
        }
        drop(program);
        expect_all_lines_accounted_for(&all);
    }
}

fn closed_reader_of_stderr_does_not_disturb_supervision() {
    let (ours, theirs) = nix::unistd::pipe().unwrap();
    drop(ours);
    let program = troubled(&["0", "exit=3", "stop"]);
    let mut command = program.command(Library::Ours);
    command.stderr(theirs);
    program.start_as(command).finish(PATIENCE).expect(Ended::Exit(0), &["instance 1", "instance 2"]);
}

fn log_lines_in_file_do_not_overwrite_lines_of_the_program() {
    let folder = Folder::new("file");
    let path = folder.0.join("errors");
    let mut file = File::create(&path).unwrap();
    writeln!(file, "written before").unwrap();
    let program = troubled(&["0", "exit=3", "exit=4", "stop"]);
    let mut command = program.command(Library::Ours);
    command.stderr(file.try_clone().unwrap());
    let outcome = program.start_as(command).finish(PATIENCE);
    writeln!(file, "written after").unwrap();
    let lines: Vec<String> = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 8, "{lines:#?}");
    assert_eq!((lines[0].as_str(), lines[7].as_str()), ("written before", "written after"));
    outcome.expect(Ended::Exit(0), &["instance 1", "instance 2", "instance 3"]);
}

fn instance_has_no_descriptor_of_the_log() {
    let folder = Folder::new("descriptors");
    let _syslog = Daemon::listen(folder.syslog());
    let program = start_with_sockets(&folder, &["0", "exit=3", "hang"], &[]);
    for id in 1..=2 {
        let pid = program.wait_for(&format!("# pid of {id} "));
        if id == 1 {
            continue;
        }
        let mut links: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .map(|entry| fs::read_link(entry.unwrap().path()).unwrap().to_string_lossy().into_owned())
            .filter(|link| !link.starts_with("pipe:") && link != "/dev/null")
            .collect();
        links.sort();
        assert_eq!(links, ["sam-data-0", "sam-data-1"].map(|name| format!("/memfd:{name} (deleted)")));
    }
}

fn malformed_variable_is_refused_and_allowed_values_are_logged() {
    for (variable, values, allowed) in [
        (
            "SAM_RESTART_LIMIT",
            &["", "5", "0/60", "5/0", "-1/60", "5/60 "][..],
            "N/SECONDS, N from 1 to 100000 and SECONDS from 1 to 31536000",
        ),
        (
            "SAM_RESTART_DELAY",
            &["", "0", "10..", "20..10", "1s"],
            "MS or MS..MAXMS, each from 1 to 86400000 and MAXMS not below MS",
        ),
        (
            "SAM_HANG_SIGNAL",
            &["", "0", "abrt", "65", "SIGABORT"],
            "a signal by its name or number, such as ABRT, SIGABRT or 6",
        ),
        (
            "SAM_WARN_SIGNAL",
            &["", "usr1", "65", "none"],
            "a signal by its name or number, such as USR1, SIGUSR1 or 10, or 0 for no warning",
        ),
        ("SAM_HANG_GRACE", &["", "0", "10s"], "a number of ms from 1 to 86400000"),
        ("SAM_DEBUG_HOLD", &["", "2", "yes"], "0 or 1"),
        ("SAM_KILL_GROUP", &["", "2", "yes"], "0 or 1"),
        ("SAM_NOTIFY", &["", "2", "yes"], "0, 1 or ready"),
        ("SAM_STANDBY", &["", "2", "yes"], "0 or 1"),
        ("SAM_FORWARD_SIGNALS", &["", "2", "yes"], "0 or 1"),
    ] {
        for value in values {
            let program = start(&["0", "stop"], &[(variable, value)]);
            let pid = program.pid();
            let outcome = program.finish(PATIENCE);
            outcome.expect(Ended::Exit(99), &["sam_initialize(interval_ms, SAM_RECOVERY_POLICY_RESTART): 7"]);
            let line = format!(
                "sam[{pid}]: sam_initialize failed (CS_ERR_INVALID_PARAM): {variable} is {value:?}, expected {allowed}"
            );
            assert_eq!(outcome.errors(), [line], "{outcome}");
        }
    }
}

fn malformed_sam_log_is_reported_to_syslog() {
    for value in ["", "Syslog", "stdout", "off "] {
        let folder = Folder::new(&format!("route-{}", value.len()));
        let syslog = Daemon::listen(folder.syslog());
        let outcome = start_with_sockets(&folder, &["0", "stop"], &[("SAM_LOG", value)]).finish(PATIENCE);
        outcome.expect(Ended::Exit(99), &["sam_initialize(interval_ms, SAM_RECOVERY_POLICY_RESTART): 7"]);
        let lines = syslog.end();
        let line = format!("SAM_LOG is {value:?}, expected auto, syslog, journal, stderr or off");
        assert!(lines.len() == 1 && lines[0].starts_with("<27>") && lines[0].ends_with(&line), "{lines:?}");
    }
}

fn setuid_program_ignores_environment_settings() {
    require(&[Ability::OtherUser]);
    let folder = Folder::new("setuid");
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
    // The loader ignores LD_LIBRARY_PATH for a setuid program (ld.so(8)), so the path of the library is built in.
    copy_program(&prefix().join("lib/libsam.so.4"), &folder.0.join("libsam.so.4"));
    let program = folder.0.join("troubled");
    let status = Command::new("cc")
        .args(["-D_GNU_SOURCE", "-o"])
        .arg(&program)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("c-tests/troubled.c"))
        .args([format!("-I{}/include", prefix().display()), format!("-L{}/lib", prefix().display())])
        .args(["-lsam".to_owned(), format!("-Wl,-rpath,{}", folder.0.display())])
        .status()
        .unwrap();
    assert!(status.success());
    let run = || {
        let mut command = Command::new(&program);
        let output = command.args(["0", "stop"]).env("SAM_RESTART_LIMIT", "nonsense").output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).lines().next().unwrap().to_owned())
    };
    assert_eq!(run(), (Some(99), "sam_initialize(interval_ms, SAM_RECOVERY_POLICY_RESTART): 7".to_owned()));
    let nobody = 65534;
    chown(&program, Some(nobody), Some(nobody)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    assert_eq!(run(), (Some(0), "instance 1".to_owned()));
}

fn restart_limit_ends_supervisor_as_last_instance_ended() {
    for (trouble, ended) in
        [("exit=3", Ended::Exit(3)), ("exit=0", Ended::Exit(0)), ("signal=9", Ended::By(Signal::SIGKILL))]
    {
        let outcome = run(&["0", trouble], &[("SAM_RESTART_LIMIT", "20/3600")]);
        assert_eq!((outcome.ended, instances(&outcome)), (ended, 21), "{outcome}");
        let errors = outcome.errors();
        let last = errors.last().unwrap();
        assert!(
            last.ends_with("restart limit reached (20 restarts within 3600 s), the supervisor ends"),
            "{outcome}"
        );
        assert!(outcome.left_behind.is_empty(), "{outcome}");
    }
}

fn restarts_below_the_limit_continue() {
    let troubles = ["0", "run=1100", "run=1100", "run=1100", "stop"];
    let outcome = run(&troubles, &[("SAM_RESTART_LIMIT", "1/1")]);
    outcome.expect(Ended::Exit(0), &["instance 1", "instance 2", "instance 3", "instance 4"]);
}

fn restart_delay_doubles_up_to_its_maximum() {
    let variables = [("SAM_RESTART_DELAY", "100..400")];
    let outcome = run(&["0", "exit=1", "exit=1", "exit=1", "exit=1", "stop"], &variables);
    assert_eq!(outcome.ended, Ended::Exit(0), "{outcome}");
    let pauses: Vec<String> = outcome
        .errors()
        .iter()
        .filter_map(|line| {
            Some(line.split_once("]: ")?.1.to_owned()).filter(|line| line.contains("is started in"))
        })
        .collect();
    assert_eq!(
        pauses,
        [
            "instance 2 is started in 100 ms (restart delay)",
            "instance 3 is started in 200 ms (restart delay)",
            "instance 4 is started in 400 ms (restart delay)",
            "instance 5 is started in 400 ms (restart delay)",
        ]
    );
    assert!(outcome.lived >= Duration::from_millis(1100), "{outcome}");
}

fn sigterm_during_restart_delay_ends_supervisor() {
    let variables = [("SAM_RESTART_DELAY", "86400000")];
    let program = start(&["0", "exit=1"], &variables);
    program.wait_for("instance 1");
    program.wait_for_error("instance 2 is started in 86400000 ms");
    kill(Pid::from_raw(program.pid() as i32), Signal::SIGTERM).unwrap();
    program.finish(PATIENCE).expect(Ended::By(Signal::SIGTERM), &["instance 1"]);
}

/// The supervisor ends by the signal that ended its instance, but only the instance may leave a core file.
fn supervisor_that_ends_by_sigsegv_leaves_no_core_file() {
    let folder = Folder::new("crash_dump");
    let path = folder.0.to_str().expect("a path in UTF-8");
    let outcome = Program::new(Built::WithOurs, &["crash_dump", path]).run(Library::Ours);
    outcome.expect(Ended::By(Signal::SIGSEGV), &[]);
    assert!(!outcome.core_dumped, "{outcome}");
}

/// Reads records from a connection, each ended by a NUL byte, until the connection is closed or `enough` returns
/// `true`.
fn records(connection: &mut UnixStream, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut text, mut buffer) = (Vec::new(), [0; 8192]);
    loop {
        let parts = text.split(|&byte| byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
        let mut records: Vec<String> = parts.collect();
        let rest = records.pop().unwrap();
        if enough(&records) {
            return records;
        }
        match connection.read(&mut buffer).expect("read records") {
            0 => {
                assert_eq!(rest, "", "the last record has no NUL byte");
                return records;
            }
            length => text.extend(&buffer[..length]),
        }
    }
}

/// Waits for a connection to the daemon and accepts it.
fn accept(daemon: &UnixListener) -> UnixStream {
    daemon.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match daemon.accept() {
            Ok((connection, _)) => {
                connection.set_nonblocking(false).unwrap();
                return connection;
            }
            Err(error) => assert!(
                Instant::now() < deadline,
                "no connection to the syslog socket after {PATIENCE:?}: {error}"
            ),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn syslog_stream_socket_gets_every_line() {
    let folder = Folder::new("stream");
    let daemon = UnixListener::bind(folder.syslog()).unwrap();
    let program = start_with_sockets(&folder, &["0", "exit=3", "signal=9", "stop"], &[]);
    let supervisor = program.pid();
    let mut connection = accept(&daemon);
    let outcome = program.finish(PATIENCE);
    outcome.expect(Ended::Exit(0), &["instance 1", "instance 2", "instance 3"]);
    let records = records(&mut connection, |_| false);
    let lines: Vec<String> = records
        .iter()
        .map(|record| {
            let (priority, rest) =
                record.split_once('>').unwrap_or_else(|| panic!("no priority in {record:?}"));
            format!("{priority}>{}", &rest[15..])
        })
        .collect();
    assert_eq!(
        normalized(supervisor, &outcome, &lines),
        [
            &format!("<30> troubled[P0]: sam: {}", first_line(0)),
            "<27> troubled[P0]: sam: instance 1 (pid P1) exited 3 and is restarted",
            "<29> troubled[P0]: sam: restarted as instance 2 (pid P2) in T ms",
            "<27> troubled[P0]: sam: instance 2 (pid P2) died of SIGKILL and is restarted",
            "<29> troubled[P0]: sam: restarted as instance 3 (pid P3) in T ms",
            "<30> troubled[P0]: sam: stopped: instance 3 (pid P3) exited 0, the supervisor ends",
        ],
        "{outcome}"
    );
}

fn closed_syslog_stream_is_reconnected() {
    let folder = Folder::new("stream-again");
    let daemon = UnixListener::bind(folder.syslog()).unwrap();
    let program = start_with_sockets(&folder, &["0", "exit=3", "hang", "stop"], &[]);
    let mut connection = accept(&daemon);
    records(&mut connection, |records| {
        records.iter().any(|record| record.contains("restarted as instance 2"))
    });
    drop(connection);
    let pid: i32 = program.wait_for("# pid of 2 ").parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let mut connection = accept(&daemon);
    let outcome = program.finish(PATIENCE);
    outcome.expect(Ended::Exit(0), &["instance 1", "instance 2", "instance 3"]);
    let records = records(&mut connection, |_| false);
    assert_eq!(records.len(), 3, "{records:#?}");
    assert!(
        records[0].ends_with(&format!("instance 2 (pid {pid}) died of SIGKILL and is restarted")),
        "{records:#?}"
    );
}

fn full_syslog_stream_does_not_delay_supervisor() {
    let folder = Folder::new("stream-full");
    let daemon = UnixListener::bind(folder.syslog()).unwrap();
    // More lines than the connection takes while the daemon does not read.
    let troubles: Vec<&str> = std::iter::once("0").chain(std::iter::repeat_n("exit=3", 3000)).collect();
    let troubles = [&troubles[..], &["stop"]].concat();
    let outcome = start_with_sockets(&folder, &troubles, &[]).finish(PATIENCE);
    assert_eq!((outcome.ended, instances(&outcome)), (Ended::Exit(0), 3001), "{outcome}");
    let mut connection = accept(&daemon);
    let records = records(&mut connection, |_| false);
    assert!(
        !records.is_empty() && records.len() < 6000,
        "the daemon received {} records, expected fewer than 6000",
        records.len()
    );
}

common::runner::tests![
    threads: Some(4), // they sleep most of the time
    each_step_of_recovery_is_one_log_line,
    logged_silence_is_at_least_the_interval,
    log_goes_to_syslog_by_default,
    log_in_journal_has_fields,
    sam_log_off_writes_no_log,
    absent_log_daemon_does_not_disturb_supervision,
    full_syslog_socket_does_not_delay_supervisor,
    full_stderr_does_not_delay_supervisor,
    closed_reader_of_stderr_does_not_disturb_supervision,
    log_lines_in_file_do_not_overwrite_lines_of_the_program,
    instance_has_no_descriptor_of_the_log,
    malformed_variable_is_refused_and_allowed_values_are_logged,
    malformed_sam_log_is_reported_to_syslog,
    setuid_program_ignores_environment_settings,
    restart_limit_ends_supervisor_as_last_instance_ended,
    restarts_below_the_limit_continue,
    restart_delay_doubles_up_to_its_maximum,
    sigterm_during_restart_delay_ends_supervisor,
    supervisor_that_ends_by_sigsegv_leaves_no_core_file,
    container::process_1_exits_as_its_last_instance_ended,
    container::sigterm_to_process_1_stops_the_container,
    container::process_1_reaps_orphans,
    container::process_1_restarts_without_proc_in_a_read_only_root,
    container::log_goes_to_stderr_where_no_log_daemon_is,
    container::log_goes_to_no_file_that_the_program_has_opened_as_stderr,
    container::log_goes_to_the_journal_if_stderr_does,
    container::malformed_variable_is_told_on_stderr_if_the_journal_reads_it,
    container::threads_that_stay_in_the_supervisor_are_counted_once,
    container::warn_signal_of_the_environment_overrides_that_of_the_program,
    group::kill_group_ends_leftover_processes_before_next_instance,
    group::leftover_processes_live_on_without_kill_group,
    hang::hang_signal_is_sent_to_hung_instance,
    hang::warned_instance_with_much_memory_has_a_spare_until_it_recovers,
    hang::hang_signal_abrt_leaves_core_file,
    hang::instance_that_ignores_hang_signal_is_killed_after_grace,
    hang::core_dump_longer_than_grace_is_cut_short,
    hang::debug_hold_suspends_health_checks_of_traced_instance,
    hang::traced_hung_instance_is_killed_without_debug_hold,
    notes::unmodified_program_gets_limit_and_log_from_environment_as_documented,
    notes::documented_sam_status_commands_work,
    notes::documentation_lists_every_variable,
    notify::every_change_is_notified_to_service_manager,
    notify::ready_is_sent_once_after_the_first_start_and_stopping_after_the_last_end,
    notify::stopping_is_not_sent_while_the_program_survives_its_signal,
    notify::program_that_ends_before_it_started_is_never_ready,
    notify::sigabrt_of_the_watchdog_ends_the_program_without_a_core_or_a_restart,
    notify::sigabrt_of_another_process_or_without_watchdog_is_forwarded,
    notify::watchdog_notifications_stop_when_supervisor_is_stopped,
    notify::watchdog_pid_of_other_process_disables_watchdog_notifications,
    notify::nothing_is_notified_without_sam_notify,
    notify::busy_or_absent_service_manager_does_not_delay_supervisor,
    status::hundred_programs_are_listed_with_all_fields,
    status::last_event_with_time_and_restart_count_are_shown,
    status::heartbeat_age_follows_heartbeats,
    status::hung_delayed_or_warned_program_is_not_well,
    status::exit_code_distinguishes_found_not_found_and_error,
    status::output_without_json_is_a_table,
    status::watch_ends_when_its_reader_closes_the_pipe,
    status::programs_that_start_and_end_during_listing_cause_no_error,
    status::restarts_do_not_grow_memory_of_pages,
    status::program_in_pid_namespace_is_listed_from_outside,
    status::program_without_page_files_is_supervised_but_not_listed,
    status::forged_status_page_is_not_listed,
    status::program_that_keeps_failing_is_not_well,
    status::end_after_silence_is_shown_with_its_reason,
    status::pid_of_one_program_is_printed_and_none_of_several,
    status::name_that_nothing_has_is_told_on_standard_error,
    status::table_fits_the_terminal_and_has_colors_unless_no_color_is_set,
    status::script_is_listed_by_its_own_name,
    status::program_whose_process_name_is_cut_inside_a_character_is_listed,
    status::openmetrics_counts_the_programs_of_a_name,
    status::page_of_another_version_is_read_as_far_as_it_is_known,
    status::program_whose_library_was_replaced_is_shown_as_old,
    status::other_user_sees_no_program,
    signals::signals_during_restart_delay_reach_next_instance_once_it_is_started,
    signals::signals_for_instance_that_ends_before_it_is_started_are_dropped_and_logged,
    signals::termination_signal_that_the_program_survives_is_logged_and_shown_by_sam_status,
    signals::sigterm_for_the_whole_group_reaches_the_instance_once_when_forwarding_is_off,
    signals::sigterm_for_the_supervisor_alone_makes_the_end_final_also_when_forwarding_is_off,
    signals::sigterm_for_the_supervisor_alone_is_forwarded_by_default,
    signals::kill_that_is_refused_is_logged_once,
    signals::daemon_of_helper_forked_before_sam_register_outlives_kill_group,
    status::sam_status_opens_no_fifo,
    status::sam_status_opens_no_device,
    status::sam_status_opens_no_file_that_is_not_in_memory,
    status::sam_status_looks_into_few_files_of_one_process,
    syslog_stream_socket_gets_every_line,
    closed_syslog_stream_is_reconnected,
    full_syslog_stream_does_not_delay_supervisor,
    status::adopted_process_is_shown_with_its_control_page,
];
