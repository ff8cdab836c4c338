//! The soak test. A seeded random driver crashes, hangs, stops, starts and signals hundreds of supervised programs at
//! the same time, and checks each program after each step. Two counts follow: 100,000 restarts, of which none may be
//! lost, and 10,000 deaths inside `sam_data_store`, of which none may leave torn data.
//!
//! Environment variables: SOAK_SECONDS (default 20), SEED (the time), SOAK_SLOTS (60), SOAK_SLOT (run only this slot).
//! With the same seed each slot repeats its steps, unless a program failed while the machine was late.

mod common;

use std::{
    collections::BTreeMap,
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process::{ExitCode, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use common::{
    Built, Ended,
    Ended::{By, Exit},
    Library, PATIENCE, Program, Running,
    runner::{self, Test},
};
use nix::{
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::{
            Signal,
            Signal::{
                SIGABRT, SIGALRM, SIGCONT, SIGHUP, SIGKILL, SIGSEGV, SIGSTOP, SIGTERM, SIGUSR1, SIGWINCH,
            },
            kill,
        },
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// The longest time in ms from a deadline until a warning or a restart is observed, while many other programs run.
const TOLERANCE_MS: i64 = 15_000;
/// The lateness of the machine that every program allows. An instance sends eight heartbeats per interval, so it is warned
/// only if it does not run for 1750 ms.
const LATENESS: Duration = Duration::from_millis(500);
/// The size of the largest store.
const LARGEST_BYTES: u64 = 1 << 18;
/// The longest pause between two steps.
const PAUSE_MS: u64 = 800;

/// The number of restarts to count.
const RESTARTS: u64 = 100_000;
/// The number of deaths inside `sam_data_store` to count.
const KILLS: u64 = 10_000;
/// The number of programs that share the restarts and deaths.
const AT_ONCE: u64 = 4;

/// A generator of random numbers that a seed repeats (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// The state that all slots share.
struct Soak {
    until: Instant,
    failed: AtomicBool,
    /// The number of times that each kind of step was done, by its name.
    totals: Mutex<BTreeMap<&'static str, u64>>,
}

impl Soak {
    fn is_over(&self) -> bool {
        Instant::now() > self.until || self.failed.load(Ordering::Relaxed)
    }

    fn count(&self, what: &'static str) {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }
}

/// The version and the size in bytes of stored data.
type Data = (i64, u64);

const NOTHING: Data = (0, 0);

/// A supervised program, and the state that it must be in.
struct Supervised<'a> {
    soak: &'a Soak,
    running: Running,
    supervisor: i32,
    interval_ms: i64,
    restarts: bool,
    has_spare: bool,
    /// The id and the pid of the current instance.
    id: i64,
    pid: i32,
    started: bool,
    has_callback: bool,
    /// The data that may be stored. There are two candidates after a death inside a store.
    data: Vec<Data>,
    version: i64,
    /// The descriptors and mappings found at the first check. They must not change later.
    supervisors_files: Option<Vec<String>>,
    instances_files: Option<Vec<String>>,
    supervisors_maps: Option<Vec<String>>,
}

/// A line that the program printed: its first word, and the numbers that follow.
struct Said {
    word: String,
    numbers: Vec<i64>,
}

impl<'a> Supervised<'a> {
    fn start(soak: &'a Soak, random: &mut Random) -> Supervised<'a> {
        let interval_ms = 2000 + random.below(1000) as i64;
        let restarts = random.below(4) > 0;
        let policy = if restarts { "RESTART" } else { "QUIT" };
        let program = Program::new(Built::WithOurs, &["chaos", &interval_ms.to_string(), policy]);
        let mut command = program.command(Library::Ours);
        command.stdin(Stdio::piped()).env("SAM_STANDBY", standby());
        let running = Running::start_with_one_pipe(command);
        soak.count("supervisors");
        let mut supervised = Supervised {
            soak,
            supervisor: running.pid() as i32,
            running,
            interval_ms,
            restarts,
            has_spare: restarts && standby() == "1",
            id: 0,
            pid: 0,
            started: false,
            has_callback: false,
            data: vec![NOTHING],
            version: 0,
            supervisors_files: None,
            instances_files: None,
            supervisors_maps: None,
        };
        supervised.expect_instance();
        supervised
    }

    // Talking to the instance

    /// Sends a signal to a process of the program, and notes that in the transcript.
    fn signal(&mut self, process: i32, signal: Signal) {
        self.running.note(format!("{signal} to {process}"));
        kill(Pid::from_raw(process), signal).expect("send a signal");
    }

    /// Returns the next line of the instance, or `None` when the program has ended. Skips the supervisor's log lines.
    fn listen(&mut self) -> Option<Said> {
        loop {
            let line = self.running.next_line()?;
            if !line.starts_with("sam[") {
                let mut words = line.split(' ');
                let word = words.next().unwrap_or_default().to_owned();
                return Some(Said { word, numbers: words.map_while(|number| number.parse().ok()).collect() });
            }
        }
    }

    /// Waits for the next line of the instance, which must begin with `word`, and returns its numbers. Skips the lines
    /// that `skip` allows.
    fn hear(&mut self, word: &str) -> Vec<i64> {
        loop {
            let said =
                self.listen().unwrap_or_else(|| panic!("expected the line {word:?}, but the program ended"));
            if said.word == word {
                return said.numbers;
            }
            self.skip(&said, word);
        }
    }

    /// Skips a line about a store that completed before the death that was to cut it off. Fails at any other line.
    fn skip(&mut self, said: &Said, expected: &str) {
        let is_store = said.word == "done" && said.numbers == [1] && self.data.len() == 2;
        assert!(is_store, "expected the line {expected:?}, got {:?} {:?}", said.word, said.numbers);
        self.data.remove(0);
    }

    /// Tells the instance to do something, and expects the call to return `code`.
    fn ask(&mut self, command: &str, code: i64) {
        self.running.tell(command);
        assert_eq!(self.hear("done"), [code], "return code of {command:?}");
    }

    // After the end of an instance

    /// Expects the next instance if there must be one, and returns the time of its start in ns. Otherwise expects the
    /// supervisor to end as the instance did.
    fn expect_next(&mut self, ended: Ended) -> Option<i64> {
        if self.started && self.restarts {
            return Some(self.expect_instance());
        }
        self.expect_end(ended);
        None
    }

    /// Expects the next instance with the right id and data, and returns the time of its start in ns.
    fn expect_instance(&mut self) -> i64 {
        let started = self.hear("born");
        let [id, pid, at, version, size] = started[..] else {
            panic!("unexpected numbers after born: {started:?}")
        };
        assert_eq!(id, self.id + 1, "instance id: a restart was lost or made twice");
        let found = (version, size as u64);
        assert!(
            self.data.contains(&found),
            "restored data {found:?} (version, bytes) is none of {:?}",
            self.data
        );
        if self.data.len() == 2 {
            self.soak.count(if found == self.data[0] {
                "stores cut off, old data"
            } else {
                "stores cut off, new data"
            });
        }
        self.data = vec![found];
        (self.id, self.pid) = (id, pid as i32);
        (self.started, self.has_callback) = (false, false);
        self.soak.count("instances");
        self.check();
        at
    }

    /// Expects the supervisor to end like this, without further output, and to leave no process behind.
    fn expect_end(&mut self, ended: Ended) {
        while let Some(said) = self.listen() {
            self.skip(&said, "the end");
        }
        assert_eq!(self.running.end(), ended, "end of the supervisor");
        assert_eq!(self.running.left_behind(), [""; 0], "processes left behind by the supervisor");
        self.soak.count("supervisors that ended as expected");
    }

    // Checks

    /// Waits until the program is in the state that it must be in between two steps.
    fn check(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(wrong) = self.looks_right() {
            assert!(Instant::now() < deadline, "{wrong}");
            thread::sleep(Duration::from_millis(5));
        }
        self.soak.count("checks");
    }

    /// Returns what is wrong with the processes, descriptors and mappings of the program.
    fn looks_right(&mut self) -> Result<(), String> {
        let children = children(self.supervisor);
        if !children.contains(&self.pid) || children.len() != 1 + usize::from(self.has_spare) {
            return Err(format!(
                "the supervisor's children are {children:?}, expected instance {} and {} spares",
                self.pid,
                u8::from(self.has_spare)
            ));
        }
        if let Some(dead) = children.into_iter().find(|child| matches!(state(*child), None | Some('Z'))) {
            return Err(format!("process {dead} is a zombie"));
        }
        if state(self.supervisor) != Some('S') {
            return Err(format!(
                "the supervisor is in state {:?}, expected S (sleeping)",
                state(self.supervisor)
            ));
        }
        let supervisors_files = files(self.supervisor);
        if supervisors_files.iter().filter(|file| *file == "pidfd").count() != 1 {
            return Err(format!(
                "the supervisor must have one pidfd, its descriptors: {supervisors_files:#?}"
            ));
        }
        same(&mut self.supervisors_files, supervisors_files, "descriptors of the supervisor")?;
        same(&mut self.instances_files, files(self.pid), "descriptors of an instance")?;
        // The first restarts may allocate memory, which the supervisor keeps for later restarts.
        if self.id > 2 {
            same(&mut self.supervisors_maps, maps(self.supervisor), "mappings of the supervisor")?;
        }
        Ok(())
    }

    // Steps

    /// Does a random step. Returns `false` if it was the last step of this program.
    fn step(&mut self, random: &mut Random) -> bool {
        let lives = if self.started { self.step_of_started(random) } else { self.step_of_registered(random) };
        if lives {
            self.check();
        }
        lives
    }

    fn step_of_registered(&mut self, random: &mut Random) -> bool {
        match random.below(12) {
            0 => self.ends(Exit(random.below(256) as i32)),
            1 => self.ends(By(SIGSEGV)),
            2 => self.store(random),
            3..=5 => {
                self.ask("callback 1", 1);
                self.has_callback = true;
                self.start_checking()
            }
            _ => self.start_checking(),
        }
    }

    fn step_of_started(&mut self, random: &mut Random) -> bool {
        match random.below(22) {
            0 | 1 => self.ends(Exit(random.below(256) as i32)),
            2 | 3 => self.ends(By(random.pick(&[SIGKILL, SIGSEGV, SIGABRT, SIGALRM, SIGTERM]))),
            4 | 5 => self.is_killed(),
            6 | 7 => self.stop_checking(),
            8 | 9 => self.store(random),
            10..=12 => self.dies_storing(random),
            13 | 14 if self.has_callback => self.fails_health_check(),
            13 | 14 => self.falls_silent(random),
            15 | 16 => self.supervisor_is_signalled(random),
            17 => self.supervisor_is_stopped(random),
            18 => self.dies_while_supervisor_is_stopped(random),
            19 => self.is_told_to_end(random),
            20 => self.loses_supervisor(),
            _ => self.finalizes(random),
        }
    }

    fn start_checking(&mut self) -> bool {
        self.ask("start", 1);
        self.started = true;
        self.soak.count("starts");
        true
    }

    fn stop_checking(&mut self) -> bool {
        self.ask("stop", 1);
        self.started = false;
        self.ask("beat", 9);
        if self.has_callback {
            self.ask("callback 0", 1);
            self.has_callback = false;
        }
        self.soak.count("stops");
        true
    }

    /// Returns the version and the size of the next data to store.
    fn new_data(&mut self, random: &mut Random) -> Data {
        self.version += 1;
        let most = random.pick(&[64, 4096, LARGEST_BYTES]);
        (self.version, 8 + random.below(most - 8)) // the first 8 bytes hold the version
    }

    fn store(&mut self, random: &mut Random) -> bool {
        let data = self.new_data(random);
        self.ask(&format!("store {} {} 0", data.0, data.1), 1);
        self.data = vec![data];
        self.soak.count("stores");
        true
    }

    /// Tells the instance to store data and to die at a random moment around that.
    fn dies_storing(&mut self, random: &mut Random) -> bool {
        let data = self.new_data(random);
        self.running.tell(&format!("store {} {} {}", data.0, data.1, 1 + random.below(400)));
        self.data.push(data);
        self.soak.count("deaths around a store");
        self.expect_next(By(SIGKILL)).is_some()
    }

    /// Tells the instance to end.
    fn ends(&mut self, ended: Ended) -> bool {
        let command = match ended {
            Exit(code) => format!("exit {code}"),
            By(signal) => format!("die {}", signal as i32),
            Ended::ByRealTime(_) | Ended::Never => unreachable!("no step ends an instance like that"),
        };
        self.running.tell(&command);
        self.soak.count("crashes and exits");
        self.expect_next(ended).is_some()
    }

    fn is_killed(&mut self) -> bool {
        self.signal(self.pid, SIGKILL);
        self.soak.count("crashes and exits");
        self.expect_next(By(SIGKILL)).is_some()
    }

    /// Lets the callback say "unhealthy". The callback thread warns the instance at once, and the supervisor kills it
    /// an interval later.
    fn fails_health_check(&mut self) -> bool {
        self.ask("unhealthy", 1);
        let warned = self.hear("warned")[0];
        self.soak.count("failed health checks");
        let Some(started) = self.expect_next(By(SIGKILL)) else { return false };
        // The interval counts from the failed check, which precedes the delivery of the warning.
        self.in_time("kill after the warning", started - warned, self.interval_ms / 2, 2 * self.interval_ms);
        true
    }

    /// Lets the instance fall silent and react to the warning in a random way.
    fn falls_silent(&mut self, random: &mut Random) -> bool {
        const STAY_SILENT: u64 = 0;
        const STOP: u64 = 2;
        const CALL_ALL: u64 = 3;
        const EXIT: u64 = 4;
        let how = random.below(5);
        self.running.tell(&format!("silent {how}"));
        let silent = self.hear("silent")[0];
        let warning = self.hear("warned");
        self.in_time("warning", warning[0] - silent, self.interval_ms, self.interval_ms);
        match how {
            STAY_SILENT => {
                self.soak.count("hangs, killed");
                let Some(started) = self.expect_next(By(SIGKILL)) else { return false };
                self.in_time("restart", started - silent, 2 * self.interval_ms, 2 * self.interval_ms);
                return true;
            }
            EXIT => {
                self.soak.count("hangs, exit in the handler");
                return self.expect_next(Exit(3)).is_some();
            }
            STOP => {
                assert_eq!(warning[2..], [1], "return code of sam_stop in the warning handler");
                self.started = false;
                self.soak.count("hangs, stopped in the handler");
            }
            CALL_ALL => {
                assert_eq!(warning[2..], [1_111_111], "return codes of all calls in the warning handler");
                self.soak.count("hangs, all calls in the handler");
            }
            _ => self.soak.count("hangs, ended by the warning"),
        }
        self.hear("goes");
        true
    }

    /// Checks that an event came neither before its time nor much later. `took_ns` was measured in the program; the
    /// limits are in ms.
    fn in_time(&self, what: &str, took_ns: i64, least_ms: i64, most_ms: i64) {
        let took_ms = took_ns / 1_000_000;
        assert!(
            least_ms <= took_ms && took_ms <= most_ms + TOLERANCE_MS,
            "{what} after {took_ms} ms, expected {least_ms} to {most_ms} ms (tolerance {TOLERANCE_MS} ms)"
        );
    }

    fn supervisor_is_signalled(&mut self, random: &mut Random) -> bool {
        let signal = random.pick(&[SIGHUP, SIGUSR1, SIGWINCH]);
        self.signal(self.supervisor, signal);
        assert_eq!(self.hear("signal"), [i64::from(signal as i32)]);
        self.soak.count("signals forwarded");
        true
    }

    /// Stops the supervisor for up to two intervals.
    fn supervisor_is_stopped(&mut self, random: &mut Random) -> bool {
        self.signal(self.supervisor, SIGSTOP);
        thread::sleep(Duration::from_millis(random.below(2 * self.interval_ms as u64)));
        self.signal(self.supervisor, SIGCONT);
        self.soak.count("stops of the supervisor");
        true
    }

    fn dies_while_supervisor_is_stopped(&mut self, random: &mut Random) -> bool {
        self.signal(self.supervisor, SIGSTOP);
        self.signal(self.pid, SIGKILL);
        thread::sleep(Duration::from_millis(random.below(200)));
        self.signal(self.supervisor, SIGCONT);
        self.soak.count("crashes while the supervisor was stopped");
        self.expect_next(By(SIGKILL)).is_some()
    }

    /// Sends SIGTERM to the supervisor, after which the end of the instance is final.
    fn is_told_to_end(&mut self, random: &mut Random) -> bool {
        self.signal(self.supervisor, SIGTERM);
        assert_eq!(self.hear("signal"), [i64::from(SIGTERM as i32)]);
        self.soak.count("ends after SIGTERM to the supervisor");
        self.restarts = false;
        self.ends(random.pick(&[Exit(0), Exit(77), By(SIGTERM), By(SIGKILL)]))
    }

    fn finalizes(&mut self, random: &mut Random) -> bool {
        self.ask("finalize", 1);
        self.ask("beat", 9);
        self.soak.count("finalized");
        self.restarts = false;
        self.ends(random.pick(&[Exit(0), Exit(78), By(SIGSEGV)]))
    }

    /// Kills the supervisor. The instance must receive SIGTERM, and its calls must fail.
    fn loses_supervisor(&mut self) -> bool {
        self.signal(self.supervisor, SIGKILL);
        assert_eq!(self.hear("signal"), [i64::from(SIGTERM as i32)]);
        self.ask("beat", 2);
        self.running.tell("exit 0");
        self.soak.count("supervisors killed");
        self.expect_end(By(SIGKILL));
        false
    }
}

/// Returns the children of a process.
fn children(process: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Returns the state of a process as in /proc/PID/stat, such as S for sleeping and Z for zombie, or `None` if there is
/// no such process.
fn state(process: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Returns the targets of the descriptors of a process.
fn files(process: i32) -> Vec<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{process}/fd")) else { return vec![] };
    let mut files: Vec<String> = entries
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .map(|link| link.to_string_lossy().into_owned())
        .map(|link| if link.contains("pidfd") { "pidfd".to_owned() } else { link })
        .collect();
    files.sort();
    files
}

/// Returns the mappings of a process, each as its size in bytes, its permissions and its file.
fn maps(process: i32) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap_or_default();
    let mut maps: Vec<String> = maps.lines().filter_map(mapping).collect();
    maps.sort();
    maps
}

/// Parses a line of /proc/PID/maps.
fn mapping(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let (from, to) = words.next()?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let size = number(to)? - number(from)?;
    Some(format!("{size} {} {}", words.next()?, words.nth(3).unwrap_or("anonymous")))
}

/// Returns an error if the lines differ from those of the first check, which `first` keeps.
fn same(first: &mut Option<Vec<String>>, now: Vec<String>, of_what: &str) -> Result<(), String> {
    let first = first.get_or_insert_with(|| now.clone());
    if *first == now { Ok(()) } else { Err(format!("the {of_what} were {first:#?} and are {now:#?}")) }
}

/// Runs one slot: one program after the other, until the time is over. A program that fails while the machine is late is
/// followed by another one. Panics if a program fails.
fn run_slot(soak: &Soak, slot: u64, mut random: Random) {
    let name = format!("random_attacks, a program of slot {slot}");
    let mut attempt = 1;
    while !soak.is_over() {
        let begin = Instant::now();
        if let Err(failure) = catch_unwind(AssertUnwindSafe(|| run_program(soak, &mut random))) {
            if !runner::is_repeated(&name, begin, LATENESS, attempt) {
                resume_unwind(failure);
            }
            attempt += 1;
        }
    }
}

/// Runs a program until it ends or the time is over.
fn run_program(soak: &Soak, random: &mut Random) {
    let mut supervised = Supervised::start(soak, random);
    while supervised.step(random) && !soak.is_over() {
        thread::sleep(Duration::from_millis(random.below(PAUSE_MS)));
    }
}

/// Raises this process's limit of open files to what `slots` programs need, if the hard limit allows it. Login sessions
/// start with 1024, see systemd-system.conf(5).
fn allow_open_files(slots: u64) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("read RLIMIT_NOFILE");
    // For each program a pipe, a pidfd and the files of /proc that its check reads; 256 for the rest of this process.
    let needed = 8 * slots + 256;
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(needed)), hard).expect("set RLIMIT_NOFILE");
}

/// Runs all slots. Returns `true` if no check failed.
fn chaos(seed: u64) -> bool {
    let seconds = number_from("SOAK_SECONDS", 20);
    let slots = match env::var("SOAK_SLOT") {
        Ok(_) => number_from("SOAK_SLOT", 0)..number_from("SOAK_SLOT", 0) + 1,
        Err(_) => 0..number_from("SOAK_SLOTS", 60),
    };
    let soak = Soak {
        until: Instant::now() + Duration::from_secs(seconds),
        failed: AtomicBool::new(false),
        totals: Mutex::default(),
    };
    let many = slots.end - slots.start;
    allow_open_files(many);
    thread::scope(|scope| {
        for slot in slots {
            let random = Random(Random(seed).next() ^ slot);
            let soak = &soak;
            let run = move || {
                let result = catch_unwind(AssertUnwindSafe(|| run_slot(soak, slot, random)));
                if result.is_err() && !soak.failed.swap(true, Ordering::Relaxed) {
                    eprintln!("replay: make soak SECONDS={seconds} SEED={seed} SOAK_SLOT={slot}");
                }
            };
            thread::Builder::new()
                .name(format!("slot {slot}"))
                .spawn_scoped(scope, run)
                .expect("start the thread of a slot");
        }
    });
    println!("random attacks: {many} supervised programs at once for {seconds} s");
    for (what, count) in &*soak.totals.lock().unwrap_or_else(PoisonError::into_inner) {
        println!("{count:>10} {what}");
    }
    !soak.failed.load(Ordering::Relaxed)
}

/// Runs programs at the same time that share some work. Returns `true` if all ended and printed as expected.
fn share(work: &str, commands: impl Fn(u64) -> Vec<String>, says: &str) -> bool {
    let began = Instant::now();
    let running: Vec<_> = (0..AT_ONCE)
        .map(|part| {
            let words = commands(part);
            let program =
                Program::new(Built::WithOurs, &words.iter().map(String::as_str).collect::<Vec<_>>());
            let mut command = program.command(Library::Ours);
            command.env("SAM_LOG", "off").env("SAM_STANDBY", standby());
            program.start_as(command)
        })
        .collect();
    let mut all_well = true;
    for running in running {
        let outcome = running.finish(10 * PATIENCE);
        if !outcome.is(Exit(0), &[says]) {
            println!("{work}: expected the line {says:?}, but {outcome}");
            all_well = false;
        }
    }
    println!(
        "{work} in {:.1} s: {}",
        began.elapsed().as_secs_f64(),
        if all_well { "passed" } else { "FAILED" }
    );
    all_well
}

/// Counts restarts. Returns `true` if none was lost.
fn restarts() -> bool {
    let count = RESTARTS / AT_ONCE + 1; // instances of each program
    share(
        &format!("{RESTARTS} restarts, none lost"),
        |_| vec!["restart_often".to_owned(), count.to_string()],
        &format!("{count} instances, counted one by one"),
    )
}

/// Counts deaths inside `sam_data_store`. Returns `true` if none left torn data.
fn kills_in_stores(seed: u64) -> bool {
    let count = KILLS / AT_ONCE;
    share(
        &format!("{KILLS} deaths inside sam_data_store, no data torn"),
        |part| {
            vec!["store_kills".to_owned(), count.to_string(), (Random(seed ^ part).next() >> 1).to_string()]
        },
        &format!("{count} killed inside sam_data_store, torn: 0"),
    )
}

/// Returns `true` if no process is left. Orphans are reparented to this process, which is a subreaper.
fn is_alone() -> bool {
    while let Ok(news) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if news == WaitStatus::StillAlive {
            println!("processes left behind: {:?}", children(std::process::id() as i32));
            return false;
        }
    }
    true
}

/// Returns the value of SAM_STANDBY for the supervised programs: "1" with a warm spare, "0" without.
fn standby() -> String {
    env::var("SAM_STANDBY").unwrap_or_else(|_| "0".to_owned())
}

fn number_from(variable: &str, default: u64) -> u64 {
    match env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("invalid {variable}={text:?}: expected a number")),
        Err(_) => default,
    }
}

fn main() -> ExitCode {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let seed = number_from("SEED", time);
    println!("soak: SEED={seed}");
    let test = |name: &str, body: Box<dyn Fn() -> bool + Send>| -> Test {
        let body = move || {
            setrlimit(Resource::RLIMIT_CORE, 0, 0).expect("set RLIMIT_CORE to 0");
            assert!(body(), "the output above says what failed");
        };
        (name.to_owned(), Box::new(body))
    };
    let mut tests = vec![test("random_attacks", Box::new(move || chaos(seed) && is_alone()))];
    if env::var_os("SOAK_SLOT").is_none() {
        tests.push(test("no_restart_is_lost", Box::new(restarts)));
        tests.push(test("no_death_in_a_store_tears_data", Box::new(move || kills_in_stores(seed))));
    }
    runner::run(tests, Some(1))
}
