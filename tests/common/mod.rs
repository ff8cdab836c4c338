//! Runs the programs of `c-tests/` as a user would, with libsam4 or with ours, and sees to it that nothing of
//! them stays behind.

#![allow(dead_code)] // each test binary uses its part

pub mod machine;
pub mod runner;
pub mod tools;

use std::{
    collections::{HashMap, HashSet},
    env, fmt, fs,
    io::{self, BufRead, BufReader, Read},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, Once, OnceLock},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        prctl,
        signal::{SigHandler, Signal, killpg, signal},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

/// How long a program that is expected to end may take, on a machine with other things to do.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// How long to look at a program that is expected never to get further.
const STUCK: Duration = Duration::from_secs(5);
/// How long the processes of a program may outlive the one that was started.
const GRACE: Duration = Duration::from_secs(4);

/// The library a program runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Library {
    /// The C library, as the loader finds it: Debian's libsam4.
    Original,
    /// Ours, found by `LD_LIBRARY_PATH`.
    Ours,
    /// Ours, forced in by `LD_PRELOAD`.
    OursPreloaded,
}

/// The headers and library a program was built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Built {
    /// Against the original's headers and library, as distributions built their programs so far.
    WithOriginal,
    /// Against our installed headers and library.
    WithOurs,
    /// The same, with gcc's or clang's sanitizers of addresses and undefined behaviour.
    Sanitized,
}

/// How the process that a test started, the later supervisor, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With an exit code.
    Exit(i32),
    /// By a signal.
    By(Signal),
    /// By a real-time signal, which has no name.
    ByRealTime(i32),
    /// It was still there when the test lost patience.
    Never,
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Ended {
        match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Exit(code),
            (_, Some(number)) => Signal::try_from(number).map_or(Ended::ByRealTime(number), Ended::By),
            _ => unreachable!("a process that was waited for has ended"),
        }
    }
}

/// The folder that `make install prefix=..` filled.
pub fn prefix() -> PathBuf {
    let prefix = env::var_os("SAM_PREFIX")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/prefix"), PathBuf::from);
    let prefix = prefix.canonicalize().unwrap_or(prefix);
    assert!(
        prefix.join("lib/libsam.so.4").exists(),
        "nothing to test in {}: make install prefix={0} libdir={0}/lib",
        prefix.display()
    );
    prefix
}

/// A program of `c-tests/` with its arguments.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    command: Vec<String>,
}

/// What whoever runs the tests has set is not part of them.
pub fn forget_settings(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("SAM_") {
            command.env_remove(name);
        }
    }
}

/// Takes back what nohup(1), or a shell that starts something in the background, has the tests ignore.
fn heed_the_terminal() -> io::Result<()> {
    for number in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        // SAFETY: the default disposition runs no code.
        unsafe { signal(number, SigHandler::SigDfl)? };
    }
    Ok(())
}

/// Puts signals of the calling process into the state that tests expect.
pub fn reset_process_state() {}

impl Program {
    /// `command`: the name of the program and its arguments.
    pub fn new(built: Built, command: &[&str]) -> Program {
        Program {
            path: build(built, command[0]),
            command: command.iter().map(|word| word.to_string()).collect(),
        }
    }

    /// How to start it with `library`: for tests that need something special.
    pub fn command(&self, library: Library) -> Command {
        self.command_through(&[], library)
    }

    /// How to start it with `library` through other commands, which become it by exec.
    pub fn command_through(&self, others: &[&str], library: Library) -> Command {
        check_library(&self.path, library);
        let path = self.path.to_str().expect("a path in UTF-8");
        let mut words = others.iter().copied().chain([path]);
        let mut command = with_library(Command::new(words.next().expect("a command")), library);
        command.args(words).args(&self.command[1..]);
        forget_settings(&mut command);
        // The log of ours: shown when a test fails.
        command.env("SAM_LOG", "stderr");
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: sigaction is allowed between fork and exec.
        unsafe { command.pre_exec(heed_the_terminal) };
        command
    }

    /// The files that it needs to run with `library`: itself, the loader, and each shared library.
    pub fn files(&self, library: Library) -> Vec<PathBuf> {
        check_library(&self.path, library);
        [vec![self.path.clone()], loaded(&self.path, library)].concat()
    }

    /// Starts it with `library`.
    pub fn start(&self, library: Library) -> Running {
        self.start_as(self.command(library))
    }

    /// Starts it with a command that `command` made.
    pub fn start_as(&self, mut command: Command) -> Running {
        static ADOPT: Once = Once::new();
        ADOPT.call_once(|| prctl::set_child_subreaper(true).expect("adopt what programs leave"));
        let mut child = command.spawn().expect("start a test program");
        let output = Arc::new(Output::default());
        let lines = child.stdout.take().map(|pipe| Output::collect(&output, pipe, |text| &mut text.lines));
        let errors = child.stderr.take().map(|pipe| Output::collect(&output, pipe, |text| &mut text.errors));
        Running {
            title: format!("{command:?}"),
            started: Instant::now(),
            group: Pid::from_raw(child.id() as i32),
            readers: lines.into_iter().chain(errors).collect(),
            output,
            child,
        }
    }

    /// Runs it with `library` to its end.
    pub fn run(&self, library: Library) -> Outcome {
        self.start(library).finish(PATIENCE)
    }

    /// Runs it with `library`, expecting that it gets stuck.
    pub fn run_until_stuck(&self, library: Library) -> Outcome {
        self.start(library).finish(STUCK)
    }
}

/// A line of output and when it came.
#[derive(Clone, Debug)]
struct Line {
    text: String,
    at: Instant,
}

#[derive(Default)]
struct Text {
    lines: Vec<Line>,
    errors: Vec<Line>,
}

#[derive(Default)]
struct Output {
    text: Mutex<Text>,
    more: Condvar,
}

impl Output {
    fn collect(
        output: &Arc<Output>,
        pipe: impl Read + Send + 'static,
        part: fn(&mut Text) -> &mut Vec<Line>,
    ) -> thread::JoinHandle<()> {
        let output = Arc::clone(output);
        thread::spawn(move || {
            for text in BufReader::new(pipe).split(b'\n') {
                let text = String::from_utf8_lossy(&text.expect("read what a program says")).into_owned();
                let at = Instant::now();
                part(&mut output.text.lock().unwrap()).push(Line { text, at });
                output.more.notify_all();
            }
        })
    }
}

/// A program that was started. Ends whole when dropped.
pub struct Running {
    title: String,
    started: Instant,
    group: Pid,
    output: Arc<Output>,
    readers: Vec<thread::JoinHandle<()>>,
    child: Child,
}

impl Running {
    /// The pid of the process that was started, the later supervisor.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the program has printed a line that starts with `start`, and returns the rest of that line.
    pub fn wait_for(&self, start: &str) -> String {
        self.wait_until(start, |text| {
            text.lines.iter().find_map(|line| line.text.strip_prefix(start).map(str::to_owned))
        })
    }

    /// Waits until there is a line on standard error that contains `part`, and returns that line.
    pub fn wait_for_error(&self, part: &str) -> String {
        self.wait_until(part, |text| {
            text.errors.iter().find(|line| line.text.contains(part)).map(|line| line.text.clone())
        })
    }

    fn wait_until(&self, what: &str, find: impl Fn(&Text) -> Option<String>) -> String {
        let text = self.output.text.lock().unwrap();
        let (text, _) =
            self.output.more.wait_timeout_while(text, PATIENCE, |text| find(text).is_none()).unwrap();
        find(&text).unwrap_or_else(|| {
            let said: Vec<_> = text.lines.iter().chain(&text.errors).map(|line| &line.text).collect();
            panic!("{} never said {what:?}; it said {said:#?}", self.title)
        })
    }

    /// Waits for the program and everything it started, and ends what does not end by itself.
    pub fn finish(mut self, patience: Duration) -> Outcome {
        let mut core_dumped = false;
        let ended = loop {
            if let Some(status) = self.child.try_wait().expect("wait for a test program") {
                core_dumped = status.core_dumped();
                break status.into();
            }
            if self.started.elapsed() > patience {
                break Ended::Never;
            }
            thread::sleep(Duration::from_millis(5));
        };
        let lived = self.started.elapsed();
        let said_so_far = self.output.text.lock().unwrap().lines.len();
        let left_behind = match ended {
            Ended::Never => Vec::new(), // all of it is still there: that is what `Never` says
            _ => self.wait_for_group(),
        };
        self.end_group();
        for reader in self.readers.drain(..) {
            reader.join().expect("read what a program says");
        }
        let mut text = self.output.text.lock().unwrap();
        if ended == Ended::Never {
            text.lines.truncate(said_so_far);
        }
        Outcome {
            title: self.title.clone(),
            started: self.started,
            ended,
            core_dumped,
            lived,
            lines: std::mem::take(&mut text.lines),
            errors: std::mem::take(&mut text.errors),
            left_behind,
        }
    }

    /// Gives the rest of the process group its time to end; what has not by then.
    fn wait_for_group(&self) -> Vec<String> {
        let deadline = Instant::now() + GRACE;
        loop {
            let members = members(self.group);
            if members.is_empty() || Instant::now() > deadline {
                return members;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn end_group(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The group's number is not given to others while one of its processes is there.
            if !matches!(self.child.try_wait(), Ok(None)) && members(self.group).is_empty() {
                return;
            }
            let _ = killpg(self.group, Signal::SIGKILL);
            assert!(Instant::now() < deadline, "{} cannot be ended: {:?}", self.title, members(self.group));
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end_group();
    }
}

/// The living processes of a group, each as its pid, name and state. Buries the dead that came to this process.
fn members(group: Pid) -> Vec<String> {
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((name, rest)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = rest.split(' ').collect();
        if fields[2].parse() != Ok(group.as_raw()) {
            continue;
        }
        if fields[0] != "Z" {
            members.push(format!("{name}) {}", fields[0]));
        } else if fields[1].parse() == Ok(std::process::id()) && pid != group.as_raw() {
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
    }
    members
}

/// What a program did.
pub struct Outcome {
    title: String,
    started: Instant,
    /// How the process that was started ended.
    pub ended: Ended,
    /// Whether that process left a core file.
    pub core_dumped: bool,
    /// How long it took.
    pub lived: Duration,
    lines: Vec<Line>,
    errors: Vec<Line>,
    /// Processes that were still there well after that.
    pub left_behind: Vec<String>,
}

impl Outcome {
    /// The lines it printed, without notes.
    pub fn says(&self) -> Vec<&str> {
        self.lines.iter().map(|line| line.text.as_str()).filter(|text| !text.starts_with('#')).collect()
    }

    /// The lines it printed on standard error.
    pub fn errors(&self) -> Vec<String> {
        self.errors.iter().map(|line| line.text.clone()).collect()
    }

    /// The number in a note `# NAME NUMBER`.
    pub fn note(&self, name: &str) -> i64 {
        let start = format!("# {name} ");
        let number = self.lines.iter().find_map(|line| line.text.strip_prefix(&start)?.parse().ok());
        number.unwrap_or_else(|| panic!("no note {name:?}: {self}"))
    }

    /// The time between a line and what came next: another line, or the end.
    pub fn time_after(&self, text: &str) -> Duration {
        let at = self.lines.iter().position(|line| line.text == text).unwrap_or_else(|| panic!("{self}"));
        let next = self.lines.get(at + 1).map_or(self.started + self.lived, |line| line.at);
        next - self.lines[at].at
    }

    /// Whether the program ended like this, said this, and left nothing behind.
    pub fn is(&self, ended: Ended, says: &[&str]) -> bool {
        self.ended == ended && self.says() == says && self.left_behind.is_empty()
    }

    /// Why the program could not do on this machine what it is for, as it says itself.
    pub fn left_out(&self) -> Option<&str> {
        self.says().into_iter().find_map(|line| line.strip_prefix("left out: "))
    }

    /// Fails unless it did. Ends the calling test as skipped if the program says that it cannot run here.
    pub fn expect(&self, ended: Ended, says: &[&str]) {
        if let Some(reason) = self.left_out() {
            runner::skip(reason);
        }
        assert!(self.is(ended, says), "expected {ended:?} after {says:#?}, but {self}");
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ended {:?} after {:?}", self.title, self.ended, self.lived)?;
        for line in &self.lines {
            writeln!(f, "  said  {}", line.text)?;
        }
        for line in &self.errors {
            writeln!(f, "  error {}", line.text)?;
        }
        for process in &self.left_behind {
            writeln!(f, "  left behind {process}")?;
        }
        Ok(())
    }
}

/// What makes a compiler build programs that look after themselves.
pub const SANITIZERS: [&str; 3] = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/// Builds a program of `c-tests/`, once. Where it is.
pub fn build(built: Built, name: &str) -> PathBuf {
    static PROGRAMS: OnceLock<Mutex<HashMap<(Built, String), PathBuf>>> = OnceLock::new();
    let mut programs =
        PROGRAMS.get_or_init(Mutex::default).lock().unwrap_or_else(|broken| broken.into_inner());
    let program = programs.entry((built, name.to_owned()));
    program.or_insert_with(|| compile(built, name)).clone()
}

fn compile(built: Built, name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("c-tests/{built:?}"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("c-tests/{name}.c"));
    // Another test binary may build the same program now.
    let unfinished = folder.join(format!("{name}.{}", std::process::id()));
    let program = folder.join(name);
    fs::create_dir_all(&folder).expect("a folder for test programs");
    let mut compiler = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    compiler
        .args([
            "-std=c99",
            "-D_GNU_SOURCE",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-pthread",
            "-o",
        ])
        .arg(&unfinished)
        .arg(&source);
    match built {
        Built::WithOurs => compiler.args(pkg_config()),
        Built::Sanitized => compiler.args(SANITIZERS).args(pkg_config()),
        Built::WithOriginal => compiler.arg("-lsam"),
    };
    compiler.args(["-Wl,--as-needed", "-lcpg"]);
    let output = compiler.output().expect("run the C compiler");
    assert!(output.status.success(), "{compiler:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    fs::rename(&unfinished, &program).expect("put the test program in its place");
    program
}

/// What our installed `libsam.pc` tells a compiler.
fn pkg_config() -> Vec<String> {
    let output = Command::new("pkg-config")
        .env("PKG_CONFIG_PATH", prefix().join("lib/pkgconfig"))
        .args(["--cflags", "--libs", "libsam"])
        .output()
        .expect("run pkg-config");
    assert!(output.status.success(), "pkg-config: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
}

fn with_library(mut command: Command, library: Library) -> Command {
    command.env_remove("LD_LIBRARY_PATH").env_remove("LD_PRELOAD");
    match library {
        Library::Original => &mut command,
        Library::Ours => command.env("LD_LIBRARY_PATH", prefix().join("lib")),
        Library::OursPreloaded => command.env("LD_PRELOAD", prefix().join("lib/libsam.so.4")),
    };
    command
}

/// Asks the loader for the shared libraries that a program gets, itself among them.
fn loaded(program: &Path, library: Library) -> Vec<PathBuf> {
    let mut loader = with_library(Command::new(program), library);
    let output = loader.env("LD_TRACE_LOADED_OBJECTS", "1").output().expect("ask the loader");
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    // Each line is "NAME => PATH (ADDRESS)" or "PATH (ADDRESS)"; what has no file has no path.
    let paths = answer.lines().filter_map(|line| {
        let (file, _address) = line.trim().rsplit_once(" (")?;
        let path = file.split_once(" => ").map_or(file, |(_name, path)| path);
        path.starts_with('/').then(|| PathBuf::from(path))
    });
    paths.collect()
}

/// Checks once that the loader gives the program exactly one libsam, and the right one.
fn check_library(program: &Path, library: Library) {
    static CHECKED: OnceLock<Mutex<HashSet<(PathBuf, Library)>>> = OnceLock::new();
    let mut checked = CHECKED.get_or_init(Mutex::default).lock().unwrap_or_else(|broken| broken.into_inner());
    if !checked.insert((program.to_owned(), library)) {
        return;
    }
    let all = loaded(program, library);
    let is_libsam =
        |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libsam."));
    let found: Vec<PathBuf> =
        all.iter().filter(is_libsam).filter_map(|path| path.canonicalize().ok()).collect();
    let ours = prefix().join("lib/libsam.so.4").canonicalize().expect("our library");
    let right = match library {
        Library::Original => found.len() == 1 && found[0] != ours,
        Library::Ours | Library::OursPreloaded => found == [ours],
    };
    assert!(
        right,
        "{} would run with {found:?}, not {library:?} (is libsam4 installed?): {all:#?}",
        program.display()
    );
}
