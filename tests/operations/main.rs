//! What an administrator sets up from outside, for programs made for the original: the log, when to stop restarting,
//! what a hang leads to, what the service manager is told, and what sam-status shows.

#[path = "../common/mod.rs"]
mod common;
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

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program whose instances get into trouble.
fn troubled(troubles: &[&str]) -> Program {
    Program::new(Built::WithOriginal, &[&["troubled"], troubles].concat())
}

fn start(troubles: &[&str], variables: &[(&str, &str)]) -> Running {
    let program = troubled(troubles);
    let mut command = program.command(Library::Ours);
    command.envs(variables.iter().copied());
    program.start_as(command)
}

fn run(troubles: &[&str], variables: &[(&str, &str)]) -> Outcome {
    start(troubles, variables).finish(PATIENCE)
}

/// The number of instances that there were.
fn instances(outcome: &Outcome) -> usize {
    outcome.says().iter().filter(|line| line.starts_with("instance ")).count()
}

/// The lines of a log with what differs from run to run made equal: the supervisor's pid is P0, that of instance 1
/// is P1 and so on, and times that were measured are T.
fn same(supervisor: u32, outcome: &Outcome, lines: &[String]) -> Vec<String> {
    let pids: Vec<i64> = (1..=instances(outcome)).map(|id| outcome.note(&format!("pid of {id}"))).collect();
    let same = |line: &String| {
        let mut line = line.replace(&format!("sam[{supervisor}]"), "sam[P0]");
        for (id, pid) in (1..).zip(&pids) {
            line = line.replace(&format!("(pid {pid})"), &format!("(pid P{id})"));
        }
        let words: Vec<&str> = line.split(' ').collect();
        let measured = |place: usize| {
            place > 1
                && ["silent for", "ms in"].iter().any(|before| words[place - 2..place].join(" ") == *before)
                && words[place].parse::<f64>().is_ok()
                || place > 0 && words[place - 1] == "in" && line.contains("restarted as")
        };
        let words: Vec<&str> =
            (0..words.len()).map(|place| if measured(place) { "T" } else { words[place] }).collect();
        words.join(" ")
    };
    lines.iter().map(same).collect()
}

/// A folder of its own for a test, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("libsam-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// Where syslog's socket is for a program whose root folder is this one.
    fn syslog(&self) -> PathBuf {
        fs::create_dir_all(self.0.join("dev")).unwrap();
        self.0.join("dev/log")
    }

    /// Where the journal's socket is for a program whose root folder is this one.
    fn journal(&self) -> PathBuf {
        fs::create_dir_all(self.0.join("run/systemd/journal")).unwrap();
        self.0.join("run/systemd/journal/socket")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A daemon that collects datagrams from a socket until it is dropped.
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
                    // Asked before the socket is: what was sent before the end is received.
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

    /// All that was sent up to now.
    fn received(&self) -> Vec<String> {
        self.received.lock().unwrap().clone()
    }

    /// All that was sent.
    fn end(mut self) -> Vec<String> {
        self.ending.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        self.received()
    }

    /// Waits for a datagram that contains `text`.
    fn wait_for(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.received().iter().any(|datagram| datagram.contains(text)) {
            assert!(Instant::now() < deadline, "no {text:?} in {:#?}", self.received());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Starts a program whose root folder is `folder`: its /dev/log and the journal's socket are those that the test has
/// made there, or are missing.
fn start_with_sockets(folder: &Folder, troubles: &[&str], variables: &[(&str, &str)]) -> Running {
    require(&[Ability::Chroot]);
    let program = troubled(troubles);
    for file in program.files(Library::Ours) {
        let copy = folder.0.join(file.strip_prefix("/").expect("an absolute path"));
        fs::create_dir_all(copy.parent().expect("a folder")).unwrap();
        copy_program(&file, &copy);
    }
    let root = folder.0.to_str().expect("a path in UTF-8");
    let mut command = program.command_through(&[&words_in_root()[..], &[root]].concat(), Library::Ours);
    command.env_remove("SAM_LOG").envs(variables.iter().copied());
    program.start_as(command)
}

fn each_step_of_a_recovery_is_a_line() {
    let program = start(&["200", "exit=3", "signal=9", "hang", "recover"], &[]);
    let supervisor = program.pid();
    let outcome = program.finish(PATIENCE);
    outcome.expect(Ended::Exit(0), &["instance 1", "instance 2", "instance 3", "instance 4"]);
    assert_eq!(
        same(supervisor, &outcome, &outcome.errors()),
        [
            "sam[P0]: instance 1 (pid P1) exited 3",
            "sam[P0]: restarted as instance 2 (pid P2) in T ms",
            "sam[P0]: instance 2 (pid P2) died of SIGKILL",
            "sam[P0]: restarted as instance 3 (pid P3) in T ms",
            "sam[P0]: instance 3 (pid P3) silent for T ms (limit 200), sent SIGTERM",
            "sam[P0]: instance 3 (pid P3) silent for T ms in spite of the warning, killed",
            "sam[P0]: instance 3 (pid P3) died of SIGKILL after its silence",
            "sam[P0]: restarted as instance 4 (pid P4) in T ms",
            "sam[P0]: instance 4 (pid P4) silent for T ms (limit 200), sent SIGTERM",
            "sam[P0]: instance 4 (pid P4) recovered, silent for T ms at most",
            "sam[P0]: instance 4 (pid P4) exited 0",
        ],
        "{outcome}"
    );
}

fn the_silence_in_the_log_is_the_silence_there_was() {
    let outcome = run(&["300", "hang", "stop"], &[]);
    let silence = |line: &String| line.split_once("silent for ")?.1.split_once(" ms")?.0.parse::<u64>().ok();
    let silences: Vec<u64> = outcome.errors().iter().filter_map(silence).collect();
    let [warned, killed] = silences[..] else { panic!("{outcome}") };
    assert!(warned >= 300 && killed >= warned + 300, "{outcome}");
}

fn syslog_is_where_the_log_goes_unless_told_otherwise() {
    for variables in [&[][..], &[("SAM_LOG", "syslog")]] {
        let folder = Folder::new(&format!("syslog-{}", variables.len()));
        let (syslog, journal) = (Daemon::listen(folder.syslog()), Daemon::listen(folder.journal()));
        let program = start_with_sockets(&folder, &["200", "signal=9", "hang", "stop"], variables);
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
            same(supervisor, &outcome, &lines),
            [
                "<27> troubled: sam[P0]: instance 1 (pid P1) died of SIGKILL",
                "<29> troubled: sam[P0]: restarted as instance 2 (pid P2) in T ms",
                "<28> troubled: sam[P0]: instance 2 (pid P2) silent for T ms (limit 200), sent SIGTERM",
                "<27> troubled: sam[P0]: instance 2 (pid P2) silent for T ms in spite of the warning, killed",
                "<27> troubled: sam[P0]: instance 2 (pid P2) died of SIGKILL after its silence",
                "<29> troubled: sam[P0]: restarted as instance 3 (pid P3) in T ms",
                "<30> troubled: sam[P0]: instance 3 (pid P3) exited 0",
            ],
            "{outcome}"
        );
    }
}

fn the_journal_gets_fields() {
    let folder = Folder::new("journal");
    let (syslog, journal) = (Daemon::listen(folder.syslog()), Daemon::listen(folder.journal()));
    let program = start_with_sockets(&folder, &["200", "exit=3", "hang", "stop"], &[("SAM_LOG", "journal")]);
    let supervisor = program.pid();
    let outcome = program.finish(PATIENCE);
    outcome.expect(Ended::Exit(0), &["instance 1", "instance 2", "instance 3"]);
    assert!(outcome.errors().is_empty() && syslog.end().is_empty(), "{outcome}");
    let pid = |id: u32| outcome.note(&format!("pid of {id}"));
    let entry = |message: &str, priority: u32, step: &str, id: u32, reason: &str| {
        let reason = if reason.is_empty() { String::new() } else { format!("SAM_REASON={reason}\n") };
        format!(
            "MESSAGE=sam[P0]: {message}\nPRIORITY={priority}\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=troubled\n\
             SAM_STEP={step}\nSAM_INSTANCE={id}\nSAM_PID={}\n{reason}",
            pid(id)
        )
    };
    let silent = "instance 2 (pid P2) silent for T ms";
    assert_eq!(
        same(supervisor, &outcome, &journal.end()),
        [
            entry("instance 1 (pid P1) exited 3", 3, "lost", 1, "exited"),
            entry("restarted as instance 2 (pid P2) in T ms", 5, "restarted", 2, ""),
            entry(&format!("{silent} (limit 200), sent SIGTERM"), 4, "warned", 2, "silent"),
            entry(&format!("{silent} in spite of the warning, killed"), 3, "killed", 2, "silent"),
            entry("instance 2 (pid P2) died of SIGKILL after its silence", 3, "lost", 2, "silent"),
            entry("restarted as instance 3 (pid P3) in T ms", 5, "restarted", 3, ""),
            entry("instance 3 (pid P3) exited 0", 6, "lost", 3, "exited"),
        ],
        "{outcome}"
    );
}

fn off_is_off() {
    let folder = Folder::new("off");
    let (syslog, journal) = (Daemon::listen(folder.syslog()), Daemon::listen(folder.journal()));
    let troubles = ["0", "exit=3", "stop"];
    let outcome = start_with_sockets(&folder, &troubles, &[("SAM_LOG", "off")]).finish(PATIENCE);
    outcome.expect(Ended::Exit(0), &["instance 1", "instance 2"]);
    assert!(outcome.errors().is_empty(), "{outcome}");
    assert_eq!((syslog.end(), journal.end()), (vec![], vec![]));
}

fn without_a_daemon_the_lines_are_lost_and_nothing_else() {
    for route in ["syslog", "journal"] {
        let folder = Folder::new(&format!("absent-{route}"));
        let outcome =
            start_with_sockets(&folder, &["0", "exit=3", "stop"], &[("SAM_LOG", route)]).finish(PATIENCE);
        outcome.expect(Ended::Exit(0), &["instance 1", "instance 2"]);
        assert!(outcome.errors().is_empty(), "{outcome}");
    }
}

/// The lines that were lost, as the log itself says later.
fn lost(lines: &[String]) -> usize {
    let lost = |line: &String| {
        let (before, _) =
            line.split_once(if line.contains(" lines of") { " lines of" } else { " line of" })?;
        before.rsplit(' ').next()?.parse::<usize>().ok()
    };
    lines.iter().filter_map(lost).sum()
}

const STORM: usize = 60;

/// A program that restarts so often, and then waits.
fn storm() -> Vec<String> {
    let mut troubles = vec!["0".to_owned()];
    troubles.extend(vec!["exit=3".to_owned(); STORM]);
    troubles.push("hang".to_owned());
    troubles
}

/// Of a log that was full during a storm and has been emptied since.
fn expect_all_lines_accounted_for(lines: &[String]) {
    let lost = lost(lines);
    let about_lost = lines.iter().filter(|line| line.contains("lost before this line")).count();
    assert!(lost > 0, "nothing was lost: {lines:#?}");
    // The storm has two lines for each restart; then the instance that waited ends and one more begins.
    assert_eq!(lines.len() - about_lost + lost, 2 * STORM + 2, "{lines:#?}");
}

fn a_full_syslog_socket_never_holds_up_the_supervisor() {
    let folder = Folder::new("full");
    let socket = UnixDatagram::bind(folder.syslog()).unwrap();
    let storm = storm();
    let storm: Vec<&str> = storm.iter().map(String::as_str).collect();
    let program = start_with_sockets(&folder, &storm, &[]);
    let pid: i32 = program.wait_for(&format!("# pid of {} ", STORM + 1)).parse().unwrap();
    // Room again, and only then there is more to say.
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

/// Writes until there is no more room; how many bytes.
fn fill(mut file: impl Write) -> usize {
    (0..).take_while(|_| file.write_all(b"x").is_ok()).count()
}

/// Lines, as they arrive.
fn lines_of(file: File) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(file).lines();
        while lines.next().is_some_and(|line| sender.send(line.unwrap()).is_ok()) {}
    });
    receiver
}

fn a_full_stderr_never_holds_up_the_supervisor() {
    let folder = Folder::new("stderr");
    let path = folder.0.join("fifo");
    mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // A reader that does not wait for somebody to write.
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
        // Room again, and only then there is more to say.
        reader.read_exact(&mut vec![0; filled]).unwrap();
        let lines = lines_of(reader);
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        let mut all = vec![];
        let last = format!("restarted as instance {} ", STORM + 2);
        while !all.last().is_some_and(|line: &String| line.contains(&last)) {
            let line = lines.recv_timeout(PATIENCE);
            all.push(line.unwrap_or_else(|_| panic!("no {last:?} in {all:#?}")));
        }
        drop(program);
        expect_all_lines_accounted_for(&all);
    }
}

fn a_reader_of_stderr_that_goes_away_harms_nobody() {
    let (ours, theirs) = nix::unistd::pipe().unwrap();
    drop(ours);
    let program = troubled(&["0", "exit=3", "stop"]);
    let mut command = program.command(Library::Ours);
    command.stderr(theirs);
    program.start_as(command).finish(PATIENCE).expect(Ended::Exit(0), &["instance 1", "instance 2"]);
}

fn lines_in_a_file_are_kept_beside_those_of_the_program() {
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
    assert_eq!(lines.len(), 7, "{lines:#?}");
    assert_eq!((lines[0].as_str(), lines[6].as_str()), ("written before", "written after"));
    outcome.expect(Ended::Exit(0), &["instance 1", "instance 2", "instance 3"]);
}

fn the_instance_has_nothing_of_the_log() {
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

fn a_malformed_variable_is_refused_with_a_line_that_says_what_is_allowed() {
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
        ("SAM_HANG_GRACE", &["", "0", "10s"], "a number of ms from 1 to 86400000"),
        ("SAM_DEBUG_HOLD", &["", "2", "yes"], "0 or 1"),
        ("SAM_KILL_GROUP", &["", "2", "yes"], "0 or 1"),
        ("SAM_NOTIFY", &["", "2", "yes"], "0 or 1"),
        ("SAM_STANDBY", &["", "2", "yes"], "0 or 1"),
        ("SAM_FORWARD_SIGNALS", &["", "2", "yes"], "0 or 1"),
    ] {
        for value in values {
            let program = start(&["0", "stop"], &[(variable, value)]);
            let pid = program.pid();
            let outcome = program.finish(PATIENCE);
            outcome.expect(Ended::Exit(99), &["sam_initialize(interval, SAM_RECOVERY_POLICY_RESTART): 7"]);
            let line = format!("sam[{pid}]: {variable} is {value:?}, but allowed is {allowed}");
            assert_eq!(outcome.errors(), [line], "{outcome}");
        }
    }
}

fn a_malformed_route_is_told_to_syslog() {
    for value in ["", "Syslog", "stdout", "off "] {
        let folder = Folder::new(&format!("route-{}", value.len()));
        let syslog = Daemon::listen(folder.syslog());
        let outcome = start_with_sockets(&folder, &["0", "stop"], &[("SAM_LOG", value)]).finish(PATIENCE);
        outcome.expect(Ended::Exit(99), &["sam_initialize(interval, SAM_RECOVERY_POLICY_RESTART): 7"]);
        let lines = syslog.end();
        let line = format!("SAM_LOG is {value:?}, but allowed is syslog, journal, stderr or off");
        assert!(lines.len() == 1 && lines[0].starts_with("<27>") && lines[0].ends_with(&line), "{lines:?}");
    }
}

fn a_program_with_more_rights_than_its_caller_is_not_told_by_its_environment() {
    require(&[Ability::OtherUser]);
    let folder = Folder::new("setuid");
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
    // Such a program finds its library by the path built in only.
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
    assert_eq!(run(), (Some(99), "sam_initialize(interval, SAM_RECOVERY_POLICY_RESTART): 7".to_owned()));
    let nobody = 65534;
    chown(&program, Some(nobody), Some(nobody)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    assert_eq!(run(), (Some(0), "instance 1".to_owned()));
}

fn a_storm_of_restarts_ends_at_the_limit_as_its_last_instance_did() {
    for (trouble, ended) in
        [("exit=3", Ended::Exit(3)), ("exit=0", Ended::Exit(0)), ("signal=9", Ended::By(Signal::SIGKILL))]
    {
        let outcome = run(&["0", trouble], &[("SAM_RESTART_LIMIT", "20/3600")]);
        assert_eq!((outcome.ended, instances(&outcome)), (ended, 21), "{outcome}");
        let errors = outcome.errors();
        let last = errors.last().unwrap();
        assert!(last.ends_with("restart limit reached (20 within 3600 s), giving up"), "{outcome}");
        assert!(outcome.left_behind.is_empty(), "{outcome}");
    }
}

fn restarts_that_are_rare_enough_go_on() {
    let troubles = ["0", "run=1100", "run=1100", "run=1100", "stop"];
    let outcome = run(&troubles, &[("SAM_RESTART_LIMIT", "1/1")]);
    outcome.expect(Ended::Exit(0), &["instance 1", "instance 2", "instance 3", "instance 4"]);
}

fn the_pause_before_a_restart_doubles_and_is_kept() {
    let variables = [("SAM_RESTART_DELAY", "100..400")];
    let outcome = run(&["0", "exit=1", "exit=1", "exit=1", "exit=1", "stop"], &variables);
    assert_eq!(outcome.ended, Ended::Exit(0), "{outcome}");
    let pauses: Vec<String> = outcome
        .errors()
        .iter()
        .filter_map(|line| Some(line.split_once("]: ")?.1.to_owned()).filter(|line| line.contains("follows")))
        .collect();
    assert_eq!(
        pauses,
        [
            "instance 2 follows in 100 ms",
            "instance 3 follows in 200 ms",
            "instance 4 follows in 400 ms",
            "instance 5 follows in 400 ms",
        ]
    );
    assert!(outcome.lived >= Duration::from_millis(1100), "{outcome}");
}

fn a_pause_can_be_called_off() {
    let variables = [("SAM_RESTART_DELAY", "86400000")];
    let program = start(&["0", "exit=1"], &variables);
    program.wait_for("instance 1");
    program.wait_for_error("instance 2 follows in 86400000 ms");
    kill(Pid::from_raw(program.pid() as i32), Signal::SIGTERM).unwrap();
    program.finish(PATIENCE).expect(Ended::By(Signal::SIGTERM), &["instance 1"]);
}

/// The supervisor ends by the signal of its instance, but the core file that says why is the instance's.
fn the_supervisor_leaves_no_core_file() {
    let folder = Folder::new("crash_dump");
    let path = folder.0.to_str().expect("a path in UTF-8");
    let outcome = Program::new(Built::WithOurs, &["crash_dump", path]).run(Library::Ours);
    outcome.expect(Ended::By(Signal::SIGSEGV), &[]);
    assert!(!outcome.core_dumped, "{outcome}");
}

/// What a connection has brought until it is closed, or until `enough`: each record ends with a NUL byte.
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
        match connection.read(&mut buffer).expect("records") {
            0 => {
                assert_eq!(rest, "", "a record is cut off");
                return records;
            }
            length => text.extend(&buffer[..length]),
        }
    }
}

/// Accepts a connection.
fn accept(daemon: &UnixListener) -> UnixStream {
    daemon.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match daemon.accept() {
            Ok((connection, _)) => {
                connection.set_nonblocking(false).unwrap();
                return connection;
            }
            Err(error) => assert!(Instant::now() < deadline, "nobody connects: {error}"),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn a_stream_socket_of_the_syslog_daemon_gets_every_line() {
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
            let (priority, rest) = record.split_once('>').unwrap_or_else(|| panic!("{record:?}"));
            format!("{priority}>{}", &rest[15..])
        })
        .collect();
    assert_eq!(
        same(supervisor, &outcome, &lines),
        [
            "<27> troubled: sam[P0]: instance 1 (pid P1) exited 3",
            "<29> troubled: sam[P0]: restarted as instance 2 (pid P2) in T ms",
            "<27> troubled: sam[P0]: instance 2 (pid P2) died of SIGKILL",
            "<29> troubled: sam[P0]: restarted as instance 3 (pid P3) in T ms",
            "<30> troubled: sam[P0]: instance 3 (pid P3) exited 0",
        ],
        "{outcome}"
    );
}

fn a_syslog_daemon_that_closes_its_stream_is_connected_again() {
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
    assert!(records[0].ends_with(&format!("instance 2 (pid {pid}) died of SIGKILL")), "{records:#?}");
}

fn a_full_stream_of_the_syslog_daemon_never_holds_up_the_supervisor() {
    let folder = Folder::new("stream-full");
    let daemon = UnixListener::bind(folder.syslog()).unwrap();
    // More than the connection takes, and nobody reads.
    let troubles: Vec<&str> = std::iter::once("0").chain(std::iter::repeat_n("exit=3", 3000)).collect();
    let troubles = [&troubles[..], &["stop"]].concat();
    let outcome = start_with_sockets(&folder, &troubles, &[]).finish(PATIENCE);
    assert_eq!((outcome.ended, instances(&outcome)), (Ended::Exit(0), 3001), "{outcome}");
    let mut connection = accept(&daemon);
    let records = records(&mut connection, |_| false);
    assert!(!records.is_empty() && records.len() < 6000, "{} records", records.len());
}

common::runner::tests![
    each_step_of_a_recovery_is_a_line,
    the_silence_in_the_log_is_the_silence_there_was,
    syslog_is_where_the_log_goes_unless_told_otherwise,
    the_journal_gets_fields,
    off_is_off,
    without_a_daemon_the_lines_are_lost_and_nothing_else,
    a_full_syslog_socket_never_holds_up_the_supervisor,
    a_full_stderr_never_holds_up_the_supervisor,
    a_reader_of_stderr_that_goes_away_harms_nobody,
    lines_in_a_file_are_kept_beside_those_of_the_program,
    the_instance_has_nothing_of_the_log,
    a_malformed_variable_is_refused_with_a_line_that_says_what_is_allowed,
    a_malformed_route_is_told_to_syslog,
    a_program_with_more_rights_than_its_caller_is_not_told_by_its_environment,
    a_storm_of_restarts_ends_at_the_limit_as_its_last_instance_did,
    restarts_that_are_rare_enough_go_on,
    the_pause_before_a_restart_doubles_and_is_kept,
    a_pause_can_be_called_off,
    the_supervisor_leaves_no_core_file,
    group::what_a_dead_instance_left_behind_ends_before_the_next_begins,
    group::children_are_nobodys_business_unless_that_is_asked_for,
    hang::a_hung_instance_gets_the_signal_that_was_asked_for,
    hang::a_hang_leaves_a_core_file,
    hang::who_does_not_end_in_time_is_killed_all_the_same,
    hang::a_core_file_that_takes_too_long_is_cut_short,
    hang::an_instance_in_a_debugger_is_left_alone_where_that_is_asked_for,
    hang::a_debugger_does_not_save_a_hung_instance_unless_that_is_asked_for,
    notes::a_program_made_for_the_original_gets_a_limit_and_a_log_by_environment_alone,
    notes::the_command_lines_of_sam_status_are_right,
    notes::every_variable_is_there,
    notify::the_service_manager_is_told_at_every_change,
    notify::the_service_manager_watches_the_watcher,
    notify::the_watchdog_of_another_process_is_left_alone,
    notify::nothing_is_told_unless_that_is_asked_for,
    notify::a_service_manager_that_is_busy_or_gone_never_holds_up_the_supervisor,
    status::a_hundred_programs_are_listed_with_all_there_is_to_know,
    status::what_happened_last_and_when_and_how_often_is_told,
    status::heartbeats_are_seen_as_they_come,
    status::what_needs_a_look_is_not_well,
    status::scripts_are_told_by_the_exit_code,
    status::people_get_a_table,
    status::watching_goes_on_until_nobody_reads_it,
    status::programs_that_come_and_go_meanwhile_break_nothing,
    status::a_restart_leaves_no_memory_behind,
    status::a_program_in_a_container_is_seen_from_outside,
    status::where_there_can_be_no_file_all_goes_on_unseen,
    status::the_files_of_others_are_not_believed,
    status::other_users_see_nothing,
    signals::signals_that_arrive_in_a_restart_delay_reach_the_next_instance_once_it_is_started,
    signals::signals_for_an_instance_that_ends_before_it_is_started_are_dropped_and_logged,
    signals::termination_signal_that_the_program_survives_is_logged_and_shown_by_sam_status,
    signals::sigterm_for_the_whole_group_reaches_the_instance_once_when_forwarding_is_off,
    signals::sigterm_for_the_supervisor_alone_makes_the_end_final_also_when_forwarding_is_off,
    signals::sigterm_for_the_supervisor_alone_is_passed_on_by_default,
    signals::kill_that_is_refused_is_logged_once,
    signals::daemon_of_a_helper_from_before_sam_register_outlives_an_instance_whose_orphans_are_ended,
    status::sam_status_opens_no_fifo,
    status::sam_status_opens_no_device,
    status::sam_status_opens_no_file_that_is_not_in_memory,
    status::sam_status_looks_into_few_files_of_one_process,
    a_stream_socket_of_the_syslog_daemon_gets_every_line,
    a_syslog_daemon_that_closes_its_stream_is_connected_again,
    a_full_stream_of_the_syslog_daemon_never_holds_up_the_supervisor,
    status::a_process_that_goes_on_in_the_place_of_an_instance_is_shown_with_its_page,
];
