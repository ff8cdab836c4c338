//! Hundreds of supervised programs at once, which a seeded random driver crashes, hangs, stops, starts and signals,
//! and a checker that looks at each after each step. Then two counts: 100,000 restarts of which none is lost, and
//! 10,000 deaths inside `sam_data_store` of which none tears the data.
//!
//! Set from outside: SOAK_SECONDS (60), SEED (the time), SOAK_SLOTS (300), SOAK_SLOT (all of them). With the same
//! seed each slot does the same again.

mod common;

use std::{
    collections::BTreeMap,
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
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
        resource::{Resource, setrlimit},
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

/// How much later than its time a warning or a restart may be seen, where many other things happen at once.
const TOLERANCE_MS: i64 = 15_000;
/// Bytes of the largest store.
const LARGEST: u64 = 1 << 18;
/// The longest pause between two steps.
const PAUSE_MS: u64 = 800;

const RESTARTS: u64 = 100_000;
const KILLS: u64 = 10_000;
/// So many programs share in making them.
const AT_ONCE: u64 = 4;

/// Random numbers that a seed repeats (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// What all slots share.
struct Soak {
    until: Instant,
    failed: AtomicBool,
    /// What was done, by name.
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

/// A version and its size.
type Data = (i64, u64);

const NOTHING: Data = (0, 0);

/// A supervised program, and what must be true of it.
struct Supervised<'a> {
    soak: &'a Soak,
    running: Running,
    supervisor: i32,
    interval: i64,
    restarts: bool,
    has_spare: bool,
    /// The number and pid of the instance that lives.
    id: i64,
    pid: i32,
    started: bool,
    has_callback: bool,
    /// What may be stored: two when a store was cut off.
    data: Vec<Data>,
    version: i64,
    /// What was held when they were first looked at.
    supervisors_files: Option<Vec<String>>,
    instances_files: Option<Vec<String>>,
    supervisors_maps: Option<Vec<String>>,
}

/// A line of a program: its first word, and the numbers that follow.
struct Said {
    word: String,
    numbers: Vec<i64>,
}

impl<'a> Supervised<'a> {
    fn start(soak: &'a Soak, random: &mut Random) -> Supervised<'a> {
        let interval = 1500 + random.below(1500) as i64;
        let restarts = random.below(4) > 0;
        let policy = if restarts { "RESTART" } else { "QUIT" };
        let program = Program::new(Built::WithOurs, &["chaos", &interval.to_string(), policy]);
        let mut command = program.command(Library::Ours);
        command.stdin(Stdio::piped()).env("SAM_STANDBY", standby());
        let running = Running::start_with_one_pipe(command);
        soak.count("supervisors");
        let mut supervised = Supervised {
            soak,
            supervisor: running.pid() as i32,
            running,
            interval,
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
        supervised.expect_birth();
        supervised
    }

    // What it says

    fn signal(&mut self, process: i32, signal: Signal) {
        self.running.note(format!("{signal} to {process}"));
        kill(Pid::from_raw(process), signal).expect("send a signal");
    }

    /// The next line of the instance; None at the end. The supervisor's log is left to the transcript.
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

    /// The numbers of the next line, which must begin with this word.
    fn hear(&mut self, word: &str) -> Vec<i64> {
        loop {
            let said = self.listen().unwrap_or_else(|| panic!("the end came, not {word:?}"));
            if said.word == word {
                return said.numbers;
            }
            self.forgive(&said, word);
        }
    }

    /// A line that was not expected is a failure, except that a store was done before the death that was to cut it
    /// off, or a warning where the machine really had no time for the program's heartbeats.
    fn forgive(&mut self, said: &Said, expected: &str) {
        if said.word == "done" && said.numbers == [1] && self.data.len() == 2 {
            self.data.remove(0);
            return;
        }
        let late = match said.numbers[..] {
            [at, last_beat] if said.word == "warned" => at - last_beat >= self.interval * 1_000_000,
            _ => false,
        };
        assert!(late, "{:?} {:?}, not {expected:?}", said.word, said.numbers);
        self.soak.count("warnings of programs that had no time to beat");
    }

    fn ask(&mut self, command: &str, code: i64) {
        self.running.tell(command);
        assert_eq!(self.hear("done"), [code], "the answer to {command:?}");
    }

    // How it goes on after the end of an instance

    /// The next instance comes, or the supervisor ends alike. Whether there is a next instance, born at which ns.
    fn expect_next(&mut self, ended: Ended) -> Option<i64> {
        if self.started && self.restarts {
            return Some(self.expect_birth());
        }
        self.expect_end(ended);
        None
    }

    fn expect_birth(&mut self) -> i64 {
        let born = self.hear("born");
        let [id, pid, at, version, size] = born[..] else { panic!("{born:?}") };
        assert_eq!(id, self.id + 1, "no restart is missed or made twice");
        let found = (version, size as u64);
        assert!(self.data.contains(&found), "stored is {found:?}, none of {:?}", self.data);
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

    /// The supervisor ends like this, with nothing more said, and nothing stays behind.
    fn expect_end(&mut self, ended: Ended) {
        while let Some(said) = self.listen() {
            self.forgive(&said, "the end");
        }
        assert_eq!(self.running.end(), ended, "the end of the supervisor");
        assert_eq!(self.running.left_behind(), [""; 0], "lives on without its supervisor");
        self.soak.count("supervisors that ended as they should");
    }

    // The checker

    /// Waits until everything is as it has to be between two steps.
    fn check(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(wrong) = self.looks_right() {
            assert!(Instant::now() < deadline, "{wrong}");
            thread::sleep(Duration::from_millis(5));
        }
        self.soak.count("checks");
    }

    fn looks_right(&mut self) -> Result<(), String> {
        let children = children(self.supervisor);
        if !children.contains(&self.pid) || children.len() != 1 + usize::from(self.has_spare) {
            return Err(format!("the instance is {}, the supervisor's children are {children:?}", self.pid));
        }
        if let Some(dead) = children.into_iter().find(|child| matches!(state(*child), None | Some('Z'))) {
            return Err(format!("{dead} is dead and not buried"));
        }
        if state(self.supervisor) != Some('S') {
            return Err(format!("the supervisor is {:?}, not asleep", state(self.supervisor)));
        }
        let supervisors_files = files(self.supervisor);
        if supervisors_files.iter().filter(|file| *file == "pidfd").count() != 1 {
            return Err(format!("the supervisor watches not one process: {supervisors_files:#?}"));
        }
        same(&mut self.supervisors_files, supervisors_files, "descriptors of the supervisor")?;
        same(&mut self.instances_files, files(self.pid), "descriptors of an instance")?;
        // What the first restarts take is kept for the others.
        if self.id > 2 {
            same(&mut self.supervisors_maps, maps(self.supervisor), "mappings of the supervisor")?;
        }
        Ok(())
    }

    // What is done to it

    /// One step. False when it was the last.
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
                self.go()
            }
            _ => self.go(),
        }
    }

    fn step_of_started(&mut self, random: &mut Random) -> bool {
        match random.below(22) {
            0 | 1 => self.ends(Exit(random.below(256) as i32)),
            2 | 3 => self.ends(By(random.pick(&[SIGKILL, SIGSEGV, SIGABRT, SIGALRM, SIGTERM]))),
            4 | 5 => self.is_killed(),
            6 | 7 => self.stop(),
            8 | 9 => self.store(random),
            10..=12 => self.dies_storing(random),
            13 | 14 if self.has_callback => self.is_unwell(),
            13 | 14 => self.falls_silent(random),
            15 | 16 => self.supervisor_is_signalled(random),
            17 => self.supervisor_is_stopped(random),
            18 => self.dies_while_supervisor_is_stopped(random),
            19 => self.is_told_to_end(random),
            20 => self.loses_supervisor(),
            _ => self.finalizes(random),
        }
    }

    fn go(&mut self) -> bool {
        self.ask("start", 1);
        self.started = true;
        self.soak.count("starts");
        true
    }

    fn stop(&mut self) -> bool {
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

    fn new_data(&mut self, random: &mut Random) -> Data {
        self.version += 1;
        let most = random.pick(&[64, 4096, LARGEST]);
        (self.version, 8 + random.below(most - 8)) // the first word tells the version
    }

    fn store(&mut self, random: &mut Random) -> bool {
        let data = self.new_data(random);
        self.ask(&format!("store {} {} 0", data.0, data.1), 1);
        self.data = vec![data];
        self.soak.count("stores");
        true
    }

    fn dies_storing(&mut self, random: &mut Random) -> bool {
        let data = self.new_data(random);
        self.running.tell(&format!("store {} {} {}", data.0, data.1, 1 + random.below(400)));
        self.data.push(data);
        self.soak.count("deaths around a store");
        self.expect_next(By(SIGKILL)).is_some()
    }

    fn ends(&mut self, ended: Ended) -> bool {
        let command = match ended {
            Exit(code) => format!("exit {code}"),
            By(signal) => format!("die {}", signal as i32),
            Ended::ByRealTime(_) | Ended::Never => unreachable!("nothing is ended like that"),
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

    /// Its health check says no: it is warned by itself, and killed an interval later.
    fn is_unwell(&mut self) -> bool {
        self.ask("unhealthy", 1);
        let warned = self.hear("warned")[0];
        self.soak.count("failed health checks");
        let Some(born) = self.expect_next(By(SIGKILL)) else { return false };
        // Counted from when it failed the check, which was a little before it felt the warning.
        self.in_time("the kill after the warning", born - warned, self.interval / 2, 2 * self.interval);
        true
    }

    fn falls_silent(&mut self, random: &mut Random) -> bool {
        const KEEP_ON: u64 = 0;
        const STOP: u64 = 2;
        const CALL_ALL: u64 = 3;
        const LEAVE: u64 = 4;
        let how = random.below(5);
        self.running.tell(&format!("silent {how}"));
        let silent = self.hear("silent")[0];
        let warning = self.hear("warned");
        self.in_time("the warning", warning[0] - silent, self.interval, self.interval);
        match how {
            KEEP_ON => {
                self.soak.count("hangs, killed");
                let Some(born) = self.expect_next(By(SIGKILL)) else { return false };
                self.in_time("the restart", born - silent, 2 * self.interval, 2 * self.interval);
                return true;
            }
            LEAVE => {
                self.soak.count("hangs, left in the handler");
                return self.expect_next(Exit(3)).is_some();
            }
            STOP => {
                assert_eq!(warning[2..], [1], "sam_stop in a handler");
                self.started = false;
                self.soak.count("hangs, stopped in the handler");
            }
            CALL_ALL => {
                assert_eq!(warning[2..], [1_111_111], "all calls in a handler");
                self.soak.count("hangs, all calls in the handler");
            }
            _ => self.soak.count("hangs, over at the warning"),
        }
        self.hear("goes");
        true
    }

    /// Times in ns, limits in ms; never too early, and not much too late.
    fn in_time(&self, what: &str, took: i64, least: i64, most: i64) {
        let took_ms = took / 1_000_000;
        assert!(least <= took_ms && took_ms <= most + TOLERANCE_MS, "{what} came after {took_ms} ms");
    }

    fn supervisor_is_signalled(&mut self, random: &mut Random) -> bool {
        let signal = random.pick(&[SIGHUP, SIGUSR1, SIGWINCH]);
        self.signal(self.supervisor, signal);
        assert_eq!(self.hear("signal"), [i64::from(signal as i32)]);
        self.soak.count("signals passed on");
        true
    }

    fn supervisor_is_stopped(&mut self, random: &mut Random) -> bool {
        self.signal(self.supervisor, SIGSTOP);
        thread::sleep(Duration::from_millis(random.below(2 * self.interval as u64)));
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

    /// SIGTERM to the supervisor: what ends then has ended for good.
    fn is_told_to_end(&mut self, random: &mut Random) -> bool {
        self.signal(self.supervisor, SIGTERM);
        assert_eq!(self.hear("signal"), [i64::from(SIGTERM as i32)]);
        self.soak.count("ends that were asked for");
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

/// The children of a process.
fn children(process: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The state of a process, as in /proc: S for asleep, Z for dead. None: there is none.
fn state(process: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// What the descriptors of a process are open on.
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

/// The mappings of a process: size, rights, and of what.
fn maps(process: i32) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap_or_default();
    let mut maps: Vec<String> = maps.lines().filter_map(mapping).collect();
    maps.sort();
    maps
}

fn mapping(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let (from, to) = words.next()?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let size = number(to)? - number(from)?;
    Some(format!("{size} {} {}", words.next()?, words.nth(3).unwrap_or("anonymous")))
}

/// Whether nothing has changed since it was first looked at.
fn same(first: &mut Option<Vec<String>>, now: Vec<String>, of_what: &str) -> Result<(), String> {
    let first = first.get_or_insert_with(|| now.clone());
    if *first == now { Ok(()) } else { Err(format!("the {of_what} were {first:#?} and are {now:#?}")) }
}

/// One slot: program after program, until the time is over.
fn run_slot(soak: &Soak, mut random: Random) {
    while !soak.is_over() {
        let mut supervised = Supervised::start(soak, &mut random);
        while supervised.step(&mut random) && !soak.is_over() {
            thread::sleep(Duration::from_millis(random.below(PAUSE_MS)));
        }
    }
}

fn chaos(seed: u64) -> bool {
    let seconds = number_from("SOAK_SECONDS", 60);
    let slots = match env::var("SOAK_SLOT") {
        Ok(_) => number_from("SOAK_SLOT", 0)..number_from("SOAK_SLOT", 0) + 1,
        Err(_) => 0..number_from("SOAK_SLOTS", 300),
    };
    let soak = Soak {
        until: Instant::now() + Duration::from_secs(seconds),
        failed: AtomicBool::new(false),
        totals: Mutex::default(),
    };
    let many = slots.end - slots.start;
    thread::scope(|scope| {
        for slot in slots {
            let random = Random(Random(seed).next() ^ slot);
            let soak = &soak;
            let run = move || {
                let result = catch_unwind(AssertUnwindSafe(|| run_slot(soak, random)));
                if result.is_err() && !soak.failed.swap(true, Ordering::Relaxed) {
                    eprintln!("replay: make soak SECONDS={seconds} SEED={seed} SOAK_SLOT={slot}");
                }
            };
            thread::Builder::new().name(format!("slot {slot}")).spawn_scoped(scope, run).expect("a thread");
        }
    });
    println!("chaos: {many} supervised programs at once for {seconds} s");
    for (what, count) in &*soak.totals.lock().unwrap_or_else(PoisonError::into_inner) {
        println!("{count:>10} {what}");
    }
    !soak.failed.load(Ordering::Relaxed)
}

/// Runs programs that share a work, each with its part. Whether all went well.
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
            println!("{work}: expected {says:?}, but {outcome}");
            all_well = false;
        }
    }
    println!(
        "{work} in {:.1} s: {}",
        began.elapsed().as_secs_f64(),
        if all_well { "as it should be" } else { "FAILED" }
    );
    all_well
}

fn restarts() -> bool {
    let count = RESTARTS / AT_ONCE + 1; // instances
    share(
        &format!("{RESTARTS} restarts, none lost"),
        |_| vec!["restart_often".to_owned(), count.to_string()],
        &format!("{count} instances, counted one by one"),
    )
}

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

/// Whether nothing lives on, here where everything comes whose supervisor has ended.
fn is_alone() -> bool {
    while let Ok(news) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if news == WaitStatus::StillAlive {
            println!("left behind: {:?}", children(std::process::id() as i32));
            return false;
        }
    }
    true
}

/// Whether the supervisors keep a spare instance.
fn standby() -> String {
    env::var("SAM_STANDBY").unwrap_or_else(|_| "0".to_owned())
}

fn number_from(variable: &str, default: u64) -> u64 {
    match env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, not a number")),
        Err(_) => default,
    }
}

fn main() -> ExitCode {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let seed = number_from("SEED", time);
    println!("soak: SEED={seed}");
    let test = |name: &str, body: Box<dyn FnOnce() -> bool + Send>| -> Test {
        let body = move || {
            setrlimit(Resource::RLIMIT_CORE, 0, 0).expect("no core files");
            assert!(body(), "see above");
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
