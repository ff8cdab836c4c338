//! A running program. It has a process group of its own, its output is read line by line, and every process that it
//! started is ended with it.

use std::{
    collections::HashMap,
    env,
    fmt::{self, Display, Formatter},
    fs::{self, File},
    io::{self, Read, Write},
    mem,
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, Command, ExitStatus, id},
    ptr,
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
        signal::{SigHandler, SigSet, Signal, kill, killpg, signal},
        stat::{Mode, umask},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, pipe2},
};

use super::runner::skip;

/// The time limit for anything that must happen, long enough for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// A program counts as stuck, or a process as left behind, when no process has run for this long.
const STILL: Duration = Duration::from_secs(4);
/// The time between two looks at the processes of a program.
const LOOK: Duration = Duration::from_millis(100);

/// The end of the process that the test started, which becomes the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Ended with an exit code.
    Exit(i32),
    /// Killed by a signal.
    By(Signal),
    /// Killed by a real-time signal, given by its number.
    ByRealTime(i32),
    /// Still there when the time limit of the test had passed.
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

/// Resets what the test process inherits from the caller of the tests, and makes it the reaper of its programs'
/// orphans. It can wait for its children although the caller ignores SIGCHLD, it blocks no signal, and it makes files
/// with the usual modes. Later calls do nothing.
pub fn reset_process_state() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the default disposition runs no code.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }.expect("reset SIGCHLD");
        SigSet::empty().thread_set_mask().expect("unblock signals");
        umask(Mode::S_IWGRP | Mode::S_IWOTH);
        prctl::set_child_subreaper(true).expect("become the subreaper of test programs");
    });
}

/// Handles a signal that the caller ignores, as nohup(1) does, by doing nothing: exec(3) resets the signals that are
/// handled, and not those that are ignored. So a program needs no preparation between fork and exec, and std starts it by
/// posix_spawn(3), which does not copy the memory of this process. SIGPIPE is reset by std, which ignores it.
fn handle_if_ignored(number: libc::c_int) {
    extern "C" fn do_nothing(_: libc::c_int) {}
    // SAFETY: zeroes are a valid sigaction, both pointers are valid or null, and the handler does nothing. The calls fail
    // for the signals of the C library, which are never ignored.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        if libc::sigaction(number, ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
            && number != libc::SIGPIPE
        {
            action.sa_sigaction = do_nothing as extern "C" fn(libc::c_int) as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(number, &action, ptr::null_mut());
        }
    }
}

/// The origin of a line in a transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Output,
    Error,
    /// The test, which notes its own actions.
    Test,
}

/// A line of a transcript, and the time at which it was read.
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

/// Returns the lines that the program wrote, without the notes of the test.
fn said(lines: &[Line]) -> Vec<String> {
    lines.iter().filter(|line| line.source != Source::Test).map(|line| line.text.clone()).collect()
}

/// The lines read so far, in order of arrival, and the number of pipes that are still open.
#[derive(Default)]
struct Text {
    lines: Vec<Line>,
    open: usize,
}

/// The shared transcript of a program, filled by one thread per pipe.
#[derive(Default)]
struct Transcript {
    text: Mutex<Text>,
    more: Condvar,
}

impl Transcript {
    fn text(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads lines from a pipe until its end, in a thread with a small stack, because a soak test has hundreds of them.
    fn read(self: &Arc<Transcript>, pipe: impl Read + Send + 'static, source: Source) {
        self.text().open += 1;
        let transcript = Arc::clone(self);
        let read = move || {
            for_each_line(pipe, |text| {
                transcript.text().lines.push(Line { source, text, at: Instant::now() });
                transcript.more.notify_all();
            });
            transcript.text().open -= 1;
            transcript.more.notify_all();
        };
        thread::Builder::new().stack_size(1 << 17).spawn(read).expect("start a reader thread");
    }

    /// Waits until `answer` returns a value. Returns `None` after the deadline, or when all pipes are closed and so no
    /// more lines can arrive.
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

/// Calls `take` with each line, until the end of the file or an error.
fn for_each_line(mut file: impl Read, mut take: impl FnMut(String)) {
    // The array is in memory before the first read(2). During a page fault the kernel would keep the lock of the pipe, for
    // which a program that writes to the pipe waits.
    let mut buffer = [0; 4096];
    let mut line = Vec::new();
    let mut end = |line: &mut Vec<u8>| take(String::from_utf8_lossy(&mem::take(line)).into_owned());
    loop {
        let length = match file.read(&mut buffer) {
            Ok(length @ 1..) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            _ => break,
        };
        for part in buffer[..length].split_inclusive(|&byte| byte == b'\n') {
            line.extend_from_slice(part.strip_suffix(b"\n").unwrap_or(part));
            if part.ends_with(b"\n") {
                end(&mut line);
            }
        }
    }
    if !line.is_empty() {
        end(&mut line);
    }
}

/// A started program. Dropping it ends all its processes.
pub struct Running {
    title: String,
    started: Instant,
    group: Pid,
    /// The environment variable that identifies the processes of this program, also those that left its process group.
    mark: String,
    transcript: Arc<Transcript>,
    /// The number of lines that `next_line` has consumed.
    read: usize,
    child: Child,
}

impl Running {
    /// Starts a command, and reads its standard output and standard error if they are pipes.
    pub fn start(command: Command) -> Running {
        Running::spawn(command, None)
    }

    /// Starts a command with one pipe for standard output and standard error, so that lines of both keep their order.
    pub fn start_with_one_pipe(mut command: Command) -> Running {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).expect("make a pipe");
        command.stdout(writer.try_clone().expect("duplicate a descriptor")).stderr(writer);
        Running::spawn(command, Some(reader))
    }

    fn spawn(mut command: Command, both: Option<OwnedFd>) -> Running {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        reset_process_state();
        let title = format!("{command:?}");
        let name = "LIBSAM_TEST_PROGRAM";
        // A program that this driver has started may use it, too, and not end what it has started.
        let outer = env::var(name).unwrap_or_default();
        let value = format!("{outer}{}.{}/", id(), COUNT.fetch_add(1, Ordering::Relaxed));
        command.env(name, &value).process_group(0);
        (1..=libc::SIGRTMAX()).for_each(handle_if_ignored);
        // Taken before the program starts, so that a lifetime is never measured as shorter than it was.
        let started = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {title}: {error}"));
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
        let input = self.child.stdin.as_mut().expect("the program's standard input is a pipe");
        // The line is written in one call, because the program may act on a part of it.
        input
            .write_all(format!("{line}\n").as_bytes())
            .unwrap_or_else(|error| panic!("cannot write {line:?} to the program: {error}"));
    }

    /// Adds a note of the test to the transcript.
    pub fn note(&self, text: String) {
        self.transcript.text().lines.push(Line { source: Source::Test, text, at: Instant::now() });
    }

    /// Waits until the program has printed a line that starts with `start`, and returns the rest of that line.
    pub fn wait_for(&self, start: &str) -> String {
        self.wait_until(start, |line| {
            line.text.strip_prefix(start).filter(|_| line.source == Source::Output).map(str::to_owned)
        })
    }

    /// Waits until the program has printed a line that contains `part` on standard error, and returns that line.
    pub fn wait_for_error(&self, part: &str) -> String {
        self.wait_until(part, |line| {
            (line.source == Source::Error && line.text.contains(part)).then(|| line.text.clone())
        })
    }

    fn wait_until(&self, what: &str, find: impl Fn(&Line) -> Option<String>) -> String {
        let found = self.transcript.wait(Instant::now() + PATIENCE, |text| text.lines.iter().find_map(&find));
        found.unwrap_or_else(|| panic!("{} did not print {what:?} within {PATIENCE:?}", self.title))
    }

    /// Waits for the next line from either pipe. Returns `None` when the program and all its descendants have closed
    /// their output.
    pub fn next_line(&mut self) -> Option<String> {
        let read = &mut self.read;
        let line = self.transcript.wait(Instant::now() + PATIENCE, |text| {
            let ahead = text.lines[*read..].iter().position(|line| line.source != Source::Test)?;
            *read += ahead + 1;
            Some(text.lines[*read - 1].text.clone())
        });
        assert!(
            line.is_some() || self.transcript.text().open == 0,
            "the program printed nothing for {PATIENCE:?}"
        );
        line
    }

    /// Returns the lines that the program has written and that `next_line` has not returned yet.
    pub fn unread(&self) -> Vec<String> {
        said(&self.transcript.text().lines[self.read..])
    }

    /// Returns all lines that the program has written so far.
    pub fn said(&self) -> Vec<String> {
        said(&self.transcript.text().lines)
    }

    /// Waits for the end of the process that the test started.
    pub fn end(&mut self) -> Ended {
        self.wait(PATIENCE, false)
            .map_or_else(|| panic!("{} did not end within {PATIENCE:?}", self.title), Ended::from)
    }

    /// Waits for the end of every process that the program has started. Returns the processes that do not end.
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

    /// Waits for the program and every process it started. Ends what is left after `patience`.
    pub fn finish(self, patience: Duration) -> Outcome {
        self.finish_or_stick(patience, false)
    }

    /// Waits as `finish` does, but ends the program as soon as it is stuck: none of its processes has run for a while.
    pub fn finish_when_stuck(self) -> Outcome {
        self.finish_or_stick(PATIENCE, true)
    }

    /// Waits for the program, ends what it leaves behind, and returns what happened.
    fn finish_or_stick(mut self, patience: Duration, may_stick: bool) -> Outcome {
        let status = self.wait(patience, may_stick);
        let lived = self.started.elapsed();
        let said_so_far = self.transcript.text().lines.len();
        // A program that has not ended leaves nothing behind: all of it is still there, which `Never` says.
        let left_behind = if status.is_some() { self.left_behind() } else { vec![] };
        assert!(
            self.end_all(),
            "{}: its processes are still there after SIGKILL and {PATIENCE:?}",
            self.title
        );
        self.transcript.wait(Instant::now() + PATIENCE, |_| None::<()>);
        let mut text = self.transcript.text();
        assert!(text.open == 0, "{}: a process still holds its output open", self.title);
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

    /// Waits for the end of the process that the test started. Gives up after `patience`, or when the program is stuck
    /// if `may_stick`.
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

    /// Waits for a few milliseconds, or until the program has closed its output.
    fn pause(&self) {
        let open = self.transcript.text().open;
        let moment = Instant::now() + Duration::from_millis(5);
        let changed = self.transcript.wait(moment, |text| (text.open != open).then_some(()));
        if changed.is_none() && open == 0 {
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Returns `true` if no process of the program's group lives. Reaps the group's zombies that were reparented to
    /// this process.
    fn group_is_gone(&mut self) -> bool {
        // Wait for the first process separately, because its exit status is needed later.
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

    /// Returns `true` if no process of the program lives, in its process group or outside.
    fn is_gone(&mut self) -> bool {
        self.group_is_gone() && strays(&self.mark).is_empty()
    }

    /// Kills every remaining process of the program. Returns `false` if a process is still there after `PATIENCE`.
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
            assert!(ended, "{}: its processes are still there after SIGKILL and {PATIENCE:?}", self.title);
        }
    }
}

impl Display for Running {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", thread::current().name().unwrap_or_default(), self.title)?;
        self.transcript.text().lines.iter().try_for_each(|line| write!(f, "{line}"))
    }
}

/// Returns the processes with this mark that were reparented to this process, because their parents have ended. They may
/// have left the process group of their program. The kernel lists them as children of the first thread.
fn strays(mark: &str) -> Vec<Pid> {
    let children = fs::read_to_string(format!("/proc/self/task/{}/children", id())).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    children.filter(|pid| has_mark(*pid, mark)).map(Pid::from_raw).collect()
}

/// Returns `true` if the process has `mark` in its environment, or the mark of a program that such a process has started
/// with this driver.
fn has_mark(pid: i32, mark: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(mark.as_bytes()))
}

/// Observes whether the processes of a program run.
struct Watch {
    /// The processes: pid, name and state of each, with text that changes whenever one of its threads runs.
    processes: HashMap<String, String>,
    looked: Instant,
    moved: Instant,
}

impl Watch {
    fn new() -> Watch {
        let now = Instant::now();
        Watch { processes: HashMap::new(), looked: now, moved: now }
    }

    /// Looks again if the last look is old enough. Returns for how long no process had run at the last look.
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

/// Returns the living processes of a group, and those with the mark wherever they are, in the form of
/// `Watch::processes`.
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

/// The recorded run of a program that has ended or was ended.
pub struct Outcome {
    title: String,
    started: Instant,
    /// The end of the process that the test started.
    pub ended: Ended,
    /// The wait status of that process, or `None` if it had not ended.
    pub status: Option<ExitStatus>,
    /// True if that process left a core file.
    pub core_dumped: bool,
    /// The time from the start to the end of that process.
    pub lived: Duration,
    lines: Vec<Line>,
    /// Processes of the program that were still there well after its end.
    pub left_behind: Vec<String>,
}

impl Outcome {
    /// Returns the lines from `source`.
    fn from(&self, source: Source) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| line.source == source)
    }

    /// Returns all that the program wrote.
    pub fn text(&self) -> String {
        said(&self.lines).into_iter().map(|line| line + "\n").collect()
    }

    /// Returns the lines that the program printed, without its notes (`# ..`).
    pub fn says(&self) -> Vec<&str> {
        self.from(Source::Output)
            .map(|line| line.text.as_str())
            .filter(|text| !text.starts_with('#'))
            .collect()
    }

    /// Returns the lines that the program wrote to standard error.
    pub fn errors(&self) -> Vec<String> {
        self.from(Source::Error).map(|line| line.text.clone()).collect()
    }

    /// Returns the number in the note `# NAME NUMBER` that the program printed.
    pub fn note(&self, name: &str) -> i64 {
        let start = format!("# {name} ");
        let number = self.from(Source::Output).find_map(|line| line.text.strip_prefix(&start)?.parse().ok());
        number.unwrap_or_else(|| panic!("the program printed no note {name:?}: {self}"))
    }

    /// Returns the time between a line and the next line, or the end of the program.
    pub fn time_after(&self, text: &str) -> Duration {
        let mut lines = self.from(Source::Output).skip_while(|line| line.text != text).map(|line| line.at);
        let at = lines.next().unwrap_or_else(|| panic!("the program did not print {text:?}: {self}"));
        lines.next().unwrap_or(self.started + self.lived) - at
    }

    /// Returns `true` if the program ended with `ended`, printed exactly `says`, and left no process behind.
    pub fn is(&self, ended: Ended, says: &[&str]) -> bool {
        self.ended == ended && self.says() == says && self.left_behind.is_empty()
    }

    /// Returns the reason why the program cannot run on this machine, if it printed one.
    pub fn left_out(&self) -> Option<&str> {
        self.says().into_iter().find_map(|line| line.strip_prefix("left out: "))
    }

    /// Fails unless `is` returns `true`. Ends the calling test as skipped if the program printed that it cannot run
    /// here.
    pub fn expect(&self, ended: Ended, says: &[&str]) {
        if let Some(reason) = self.left_out() {
            skip(reason);
        }
        assert!(self.is(ended, says), "expected end {ended:?} and output {says:#?}, but {self}");
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ended {:?} after {:?}", self.title, self.ended, self.lived)?;
        self.lines.iter().try_for_each(|line| write!(f, "{line}"))?;
        self.left_behind.iter().try_for_each(|process| writeln!(f, "  left behind {process}"))
    }
}
