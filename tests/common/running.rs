//! A running program: in a process group of its own, with its output read line by line, and ended together with all
//! that it started.

use std::{
    collections::HashMap,
    fmt::{self, Display, Formatter},
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Write},
    mem,
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, Command, ExitStatus, id},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::{
        prctl,
        signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, killpg, signal, sigprocmask},
        stat::{Mode, umask},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, pipe2},
};

use super::runner::skip;

/// How long anything that must happen may take, on a machine with other things to do.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long no process of a program has to move before it counts as stuck, or as left behind.
const STILL: Duration = Duration::from_secs(4);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(100);

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

/// Gives the test process a known state, whatever the caller of the tests has set: it can wait for its children although
/// the caller ignores SIGCHLD, blocks no signal, makes files with the usual modes, and adopts what programs leave.
/// Calling it again does nothing. SIGHUP and others that the caller ignores stay ignored in this process: nohup(1) works.
pub fn reset_process_state() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the default disposition runs no code.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }.expect("reset SIGCHLD");
        SigSet::empty().thread_set_mask().expect("unblock signals");
        umask(Mode::S_IWGRP | Mode::S_IWOTH);
        prctl::set_child_subreaper(true).expect("adopt what programs leave");
    });
}

/// Gives a program the default signal dispositions and no blocked signal. Runs between fork and exec.
fn reset_signals() -> io::Result<()> {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: the default disposition runs no code. SIGKILL, SIGSTOP and those of the C library cannot be changed,
        // and need not be.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Output,
    Error,
    /// The test, which tells what it did.
    Test,
}

/// A line of a transcript, and when it came.
#[derive(Clone, Debug)]
struct Line {
    source: Source,
    text: String,
    at: Instant,
}

impl Display for Line {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            Source::Output => "said ",
            Source::Error => "error",
            Source::Test => ">",
        };
        writeln!(f, "  {source} {}", self.text)
    }
}

/// Returns what a program has said of these lines.
fn said(lines: &[Line]) -> Vec<String> {
    lines.iter().filter(|line| line.source != Source::Test).map(|line| line.text.clone()).collect()
}

/// The lines so far, in the order in which they came, and the number of pipes from which more may come.
#[derive(Default)]
struct Text {
    lines: Vec<Line>,
    open: usize,
}

#[derive(Default)]
struct Transcript {
    text: Mutex<Text>,
    more: Condvar,
}

impl Transcript {
    fn text(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads lines from a pipe until its end, in a thread with a small stack: a soak has hundreds of them.
    fn read(self: &Arc<Transcript>, pipe: impl Read + Send + 'static, source: Source) {
        self.text().open += 1;
        let transcript = Arc::clone(self);
        let read = move || {
            for text in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line =
                    Line { source, text: String::from_utf8_lossy(&text).into_owned(), at: Instant::now() };
                transcript.text().lines.push(line);
                transcript.more.notify_all();
            }
            transcript.text().open -= 1;
            transcript.more.notify_all();
        };
        thread::Builder::new().stack_size(1 << 17).spawn(read).expect("a thread");
    }

    /// Waits for an answer; `None` when there can be none any more, or not in time.
    fn wait<T>(&self, deadline: Instant, mut answer: impl FnMut(&Text) -> Option<T>) -> Option<T> {
        let mut text = self.text();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = answer(&text);
            if answer.is_some() || text.open == 0 || left.is_zero() {
                return answer;
            }
            text = self.more.wait_timeout(text, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A program that was started. Ends whole when dropped.
pub struct Running {
    title: String,
    started: Instant,
    group: Pid,
    /// What its processes have in their environment, by which those that leave the group are known.
    mark: String,
    transcript: Arc<Transcript>,
    /// The number of lines that `next_line` is past.
    read: usize,
    child: Child,
}

impl Running {
    /// Starts a command. What it writes to standard output and standard error is read where the command has a pipe for it.
    pub fn start(command: Command) -> Running {
        Running::spawn(command, None)
    }

    /// Starts a command with one pipe for standard output and standard error, so that lines of both keep their order.
    pub fn start_with_one_pipe(mut command: Command) -> Running {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
        command.stdout(writer.try_clone().expect("a descriptor")).stderr(writer);
        Running::spawn(command, Some(reader))
    }

    fn spawn(mut command: Command, both: Option<OwnedFd>) -> Running {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        reset_process_state();
        let title = format!("{command:?}");
        let (name, value) =
            ("LIBSAM_TEST_PROGRAM", format!("{}.{}", id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        command.env(name, &value).process_group(0);
        // SAFETY: what it calls is allowed between fork and exec.
        unsafe { command.pre_exec(reset_signals) };
        // Before the program can do anything, so that it never seems to have lived for less time than it did.
        let started = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{title}: {error}"));
        let transcript = Arc::<Transcript>::default();
        let output = both.or(child.stdout.take().map(OwnedFd::from));
        output.into_iter().for_each(|pipe| transcript.read(File::from(pipe), Source::Output));
        child.stderr.take().into_iter().for_each(|pipe| transcript.read(pipe, Source::Error));
        Running {
            title,
            started,
            group: Pid::from_raw(child.id() as i32),
            mark: format!("{name}={value}"),
            transcript,
            read: 0,
            child,
        }
    }

    /// Returns the pid of the process that was started, the later supervisor.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to the program's standard input, which must be a pipe.
    pub fn tell(&mut self, line: &str) {
        self.note(line.to_owned());
        let input = self.child.stdin.as_mut().expect("a pipe to the program");
        // In one write: the program may read a line at once.
        input.write_all(format!("{line}\n").as_bytes()).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    }

    /// Adds to the transcript what the test does.
    pub fn note(&self, text: String) {
        self.transcript.text().lines.push(Line { source: Source::Test, text, at: Instant::now() });
    }

    /// Waits until the program has printed a line that starts with `start`, and returns the rest of that line.
    pub fn wait_for(&self, start: &str) -> String {
        self.wait_until(start, |line| {
            line.text.strip_prefix(start).filter(|_| line.source == Source::Output).map(str::to_owned)
        })
    }

    /// Waits until there is a line on standard error that contains `part`, and returns that line.
    pub fn wait_for_error(&self, part: &str) -> String {
        self.wait_until(part, |line| {
            (line.source == Source::Error && line.text.contains(part)).then(|| line.text.clone())
        })
    }

    fn wait_until(&self, what: &str, find: impl Fn(&Line) -> Option<String>) -> String {
        let found = self.transcript.wait(Instant::now() + PATIENCE, |text| text.lines.iter().find_map(&find));
        found.unwrap_or_else(|| panic!("{} never said {what:?}", self.title))
    }

    /// Waits for the next line, whichever pipe it comes from. Returns `None` when the program and all that it started have
    /// closed their output.
    pub fn next_line(&mut self) -> Option<String> {
        let read = &mut self.read;
        let line = self.transcript.wait(Instant::now() + PATIENCE, |text| {
            let ahead = text.lines[*read..].iter().position(|line| line.source != Source::Test)?;
            *read += ahead + 1;
            Some(text.lines[*read - 1].text.clone())
        });
        assert!(line.is_some() || self.transcript.text().open == 0, "not a word for {PATIENCE:?}");
        line
    }

    /// Returns what the program has said so far beyond what `next_line` has returned.
    pub fn unread(&self) -> Vec<String> {
        said(&self.transcript.text().lines[self.read..])
    }

    /// Returns what the program has said so far.
    pub fn said(&self) -> Vec<String> {
        said(&self.transcript.text().lines)
    }

    /// Waits for the end of the process that was started.
    pub fn end(&mut self) -> Ended {
        self.wait(PATIENCE, false).map_or_else(|| panic!("{} does not end", self.title), Ended::from)
    }

    /// Waits for the end of everything that the program has started. Returns what does not end.
    pub fn left_behind(&mut self) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut watch = Watch::new();
        while !self.is_gone() {
            let still = watch.look(self.group, &self.mark);
            if still >= STILL || Instant::now() > deadline {
                return watch.processes.into_keys().collect();
            }
            self.pause();
        }
        vec![]
    }

    /// Waits for the program and everything it started, and ends what does not end by itself.
    pub fn finish(self, patience: Duration) -> Outcome {
        self.finish_or_stick(patience, false)
    }

    /// Waits for the program as `finish` does, but ends it as soon as none of its processes has moved for a while.
    pub fn finish_when_stuck(self) -> Outcome {
        self.finish_or_stick(PATIENCE, true)
    }

    fn finish_or_stick(mut self, patience: Duration, may_stick: bool) -> Outcome {
        let status = self.wait(patience, may_stick);
        let lived = self.started.elapsed();
        let said_so_far = self.transcript.text().lines.len();
        // If it has not ended then all of it is still there: that is what `Never` says.
        let left_behind = if status.is_some() { self.left_behind() } else { vec![] };
        assert!(self.end_all(), "{} cannot be ended", self.title);
        self.transcript.wait(Instant::now() + PATIENCE, |_| None::<()>);
        let mut text = self.transcript.text();
        assert!(text.open == 0, "{}: its output is still open somewhere", self.title);
        let mut lines = mem::take(&mut text.lines);
        drop(text);
        if status.is_none() {
            lines.truncate(said_so_far);
        }
        Outcome {
            title: self.title.clone(),
            started: self.started,
            ended: status.map_or(Ended::Never, Ended::from),
            core_dumped: status.is_some_and(|status| status.core_dumped()),
            status,
            lived,
            lines,
            left_behind,
        }
    }

    /// Waits for the end of the process that was started, also for as long as it moves if it may get stuck.
    fn wait(&mut self, patience: Duration, may_stick: bool) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        let mut watch = Watch::new();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for a test program") {
                return Some(status);
            }
            let is_stuck = may_stick && watch.look(self.group, &self.mark) >= STILL;
            if is_stuck || Instant::now() > deadline {
                return None;
            }
            self.pause();
        }
    }

    /// Waits for a moment, or until the program has closed its output.
    fn pause(&self) {
        let open = self.transcript.text().open;
        let moment = Instant::now() + Duration::from_millis(5);
        let changed = self.transcript.wait(moment, |text| (text.open != open).then_some(()));
        if changed.is_none() && open == 0 {
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether no process of the program's group lives. Buries the dead that came to this process.
    fn group_is_gone(&mut self) -> bool {
        // The others only after the first, whose status is to be kept.
        if matches!(self.child.try_wait(), Ok(None)) {
            return false;
        }
        while let Ok(news) = waitpid(Pid::from_raw(-self.group.as_raw()), Some(WaitPidFlag::WNOHANG)) {
            if news == WaitStatus::StillAlive {
                return false;
            }
        }
        killpg(self.group, None) == Err(Errno::ESRCH)
    }

    fn is_gone(&mut self) -> bool {
        self.group_is_gone() && strays(&self.mark).is_empty()
    }

    /// Ends everything that is left of the program. Returns `false` if that does not end.
    fn end_all(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let group_is_gone = self.group_is_gone();
            if !group_is_gone {
                let _ = killpg(self.group, Signal::SIGKILL);
            }
            let strays = strays(&self.mark);
            for stray in &strays {
                if kill(*stray, Signal::SIGKILL).is_ok() {
                    let _ = waitpid(*stray, None);
                }
            }
            if group_is_gone && strays.is_empty() {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let ended = self.end_all();
        if thread::panicking() {
            eprint!("{self}");
        } else {
            assert!(ended, "{} cannot be ended", self.title);
        }
    }
}

impl Display for Running {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", thread::current().name().unwrap_or_default(), self.title)?;
        self.transcript.text().lines.iter().try_for_each(|line| write!(f, "{line}"))
    }
}

/// Returns the processes with this mark that have come to this process, because their parents have ended: those that left
/// the process group of their program, or will soon be known to be in it. A child comes to the first thread.
fn strays(mark: &str) -> Vec<Pid> {
    let children = fs::read_to_string(format!("/proc/self/task/{}/children", id())).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    children.filter(|pid| has_mark(*pid, mark)).map(Pid::from_raw).collect()
}

fn has_mark(pid: i32, mark: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

/// Watches whether the processes of a program move.
struct Watch {
    /// Each as its pid, name and state, with what changes when one of its threads runs.
    processes: HashMap<String, String>,
    looked: Instant,
    moved: Instant,
}

impl Watch {
    fn new() -> Watch {
        let now = Instant::now();
        Watch { processes: HashMap::new(), looked: now, moved: now }
    }

    /// Returns for how long nothing has moved, by what was seen at the last look.
    fn look(&mut self, group: Pid, mark: &str) -> Duration {
        if self.looked.elapsed() > LOOK {
            let processes = processes(group, mark);
            self.looked = Instant::now();
            if processes != mem::replace(&mut self.processes, processes.clone()) {
                self.moved = self.looked;
            }
        }
        self.looked - self.moved
    }
}

/// Returns the living processes of a group, and those with a mark wherever they are, as `Watch` has them.
fn processes(group: Pid, mark: &str) -> HashMap<String, String> {
    let mut processes = HashMap::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((name, rest)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = rest.split(' ').collect();
        let (state, is_member) = (fields[0], fields[2].parse() == Ok(group.as_raw()));
        if ["Z", "X"].contains(&state) || !is_member && !has_mark(pid, mark) {
            continue;
        }
        let mut turns = String::new();
        for thread in fs::read_dir(entry.path().join("task")).into_iter().flatten().flatten() {
            let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            turns.extend(status.lines().filter(|line| line.contains("ctxt_switches")));
            if ["R", "D"].iter().any(|runs| status.contains(&format!("State:\t{runs}"))) {
                turns += &format!("{:?}", Instant::now());
            }
        }
        processes.insert(format!("{name}) {state}"), turns);
    }
    processes
}

/// What a program did.
pub struct Outcome {
    title: String,
    started: Instant,
    /// How the process that was started ended.
    pub ended: Ended,
    /// The same as it was reported. `None`: it was still there.
    pub status: Option<ExitStatus>,
    /// Whether that process left a core file.
    pub core_dumped: bool,
    /// How long it took.
    pub lived: Duration,
    lines: Vec<Line>,
    /// Processes that were still there well after that.
    pub left_behind: Vec<String>,
}

impl Outcome {
    fn from(&self, source: Source) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| line.source == source)
    }

    /// Returns all that it wrote.
    pub fn text(&self) -> String {
        said(&self.lines).into_iter().map(|line| line + "\n").collect()
    }

    /// Returns the lines it printed, without notes.
    pub fn says(&self) -> Vec<&str> {
        self.from(Source::Output)
            .map(|line| line.text.as_str())
            .filter(|text| !text.starts_with('#'))
            .collect()
    }

    /// Returns the lines it printed on standard error.
    pub fn errors(&self) -> Vec<String> {
        self.from(Source::Error).map(|line| line.text.clone()).collect()
    }

    /// Returns the number in a note `# NAME NUMBER`.
    pub fn note(&self, name: &str) -> i64 {
        let start = format!("# {name} ");
        let number = self.from(Source::Output).find_map(|line| line.text.strip_prefix(&start)?.parse().ok());
        number.unwrap_or_else(|| panic!("no note {name:?}: {self}"))
    }

    /// Returns the time between a line and what came next: another line, or the end.
    pub fn time_after(&self, text: &str) -> Duration {
        let mut lines = self.from(Source::Output).skip_while(|line| line.text != text).map(|line| line.at);
        let at = lines.next().unwrap_or_else(|| panic!("no line {text:?}: {self}"));
        lines.next().unwrap_or(self.started + self.lived) - at
    }

    /// Whether the program ended like this, said this, and left nothing behind.
    pub fn is(&self, ended: Ended, says: &[&str]) -> bool {
        self.ended == ended && self.says() == says && self.left_behind.is_empty()
    }

    /// Returns why the program could not do on this machine what it is for, if it says so.
    pub fn left_out(&self) -> Option<&str> {
        self.says().into_iter().find_map(|line| line.strip_prefix("left out: "))
    }

    /// Fails unless it did. Ends the calling test as skipped if the program says that it cannot run here.
    pub fn expect(&self, ended: Ended, says: &[&str]) {
        if let Some(reason) = self.left_out() {
            skip(reason);
        }
        assert!(self.is(ended, says), "expected {ended:?} after {says:#?}, but {self}");
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ended {:?} after {:?}", self.title, self.ended, self.lived)?;
        self.lines.iter().try_for_each(|line| write!(f, "{line}"))?;
        self.left_behind.iter().try_for_each(|process| writeln!(f, "  left behind {process}"))
    }
}
