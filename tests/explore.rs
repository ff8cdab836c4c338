//! The exploration: every sequence of events up to a depth, run on the state machine of the supervisor. The events are
//! those of the clock, the instance, the kernel, corosync and other processes. The rules of the contract are the
//! assertions. The first sequence that breaks a rule is one of the shortest. It is printed with the state that it leads
//! to.
//!
//! Environment variable: DEPTH replaces the depth of each search (`make explore DEPTH=12`).

#[path = "explore/adapter.rs"]
mod adapter;
mod common;
#[path = "explore/search.rs"]
mod search;
#[path = "explore/world.rs"]
mod world;

use std::{
    collections::BTreeMap,
    env, fmt,
    hash::{Hash, Hasher},
    process::ExitCode,
    sync::{Arc, Mutex},
};

use common::runner::{Test, run};
use search::{Explored, explore};
use world::{
    ADOPTION, Act, BASE, CLUSTER, CONT, CORE, DEATHS, DEBUGGER, ENDS_ITSELF, FORGERY, HEALTH, SIGNALS, TERM,
    TIME, USER, WARN_SIGNALS,
};

/// The step of the clock, in ns. All times of the machine are multiples of it, except the first pauses between retries.
const TICK: u64 = 125_000_000;
/// The interval, in ns.
const INTERVAL: u64 = 4 * TICK;
/// One second, in ns: the grace after a quorum loss without an interval, the age until which an instance is new, the
/// wait for cmap at the end, and the longest pause between retries.
const PATIENCE: u64 = 8 * TICK;
/// The age until which an instance is new, in ns.
const FRESH: u64 = PATIENCE;
/// The least age, in ns, at which a process that has made no call is adopted.
const SETTLED: u64 = 100_000_000;
/// The time between hang signal and SIGKILL, in ns.
const HANG_GRACE: u64 = 6 * TICK;
/// The time between SIGTERM and SIGKILL when the service manager aborts the program, in ns.
const ABORT_GRACE: u64 = 40 * TICK;
/// The restart limit.
const RESTARTS: usize = 1;
/// The period of the restart limit, in ns.
const RESTART_WINDOW: u64 = 12 * TICK;
/// The first and the longest restart delay, in ns.
const RESTART_PAUSE: (u64, u64) = (2 * TICK, 4 * TICK);
/// Times further than this in the past or in the future are treated as equal, in ns.
const EARLIEST: u64 = 24 * TICK;
const LATEST: u64 = 64 * TICK;
/// The time at which the first instance is made, in ns. Numbers above its half are times, smaller ones are durations.
const START: u64 = TICK << 20;
/// The time of an event that does not happen.
const NEVER: u64 = u64::MAX;

/// Instance n has the pid `PID` + n. A process that continues in its place has 2 * `PID` + n, the next one `PID` + n
/// again, and so on.
const PID: i32 = 1_000_000;
/// The warning signal that the program sets.
const WARN_SIGNAL: i32 = libc::SIGTERM;
/// The signal of SAM_HANG_SIGNAL.
const HANG_SIGNAL: i32 = libc::SIGABRT;

/// The policy and the settings of a supervisor.
#[derive(Debug, Clone, Copy, Default)]
struct Config {
    restart: bool,
    quorum: bool,
    cmap: bool,
    interval: bool,
    hang: bool,
    hold: bool,
    standby: bool,
    /// True if a fork takes long, so that an instance that was warned gets a spare.
    slow_fork: bool,
    limit: bool,
    delay: bool,
    kill_group: bool,
    withhold: bool,
    /// True if the instance may write anything to its page.
    hostile: bool,
}

/// Hashes nothing, because the configuration is the same in all states of a search.
impl Hash for Config {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.restart { "restart" } else { "quit" })?;
        for (is_set, name) in [
            (self.interval, "interval"),
            (self.quorum, "quorum"),
            (self.cmap, "cmap"),
            (self.hang, "hang-signal"),
            (self.hold, "debug-hold"),
            (self.standby, "standby"),
            (self.slow_fork, "slow-fork"),
            (self.limit, "limit"),
            (self.delay, "delay"),
            (self.kill_group, "kill-group"),
            (self.withhold, "withhold"),
            (self.hostile, "hostile"),
        ] {
            if is_set {
                write!(f, " {name}")?;
            }
        }
        Ok(())
    }
}

/// A group of searches: the acts that may happen, the depth, and the configurations.
struct Theme {
    name: &'static str,
    acts: Vec<Act>,
    configs: Vec<Config>,
    depth: usize,
    /// The least number of states that all searches together must reach.
    states: usize,
}

/// Returns all groups of searches.
fn themes() -> Vec<Theme> {
    let theme = |name, acts: &[&[Act]], configs: Vec<Config>, depth, states| Theme {
        name,
        acts: acts.concat(),
        configs,
        depth,
        states,
    };
    let plain = Config { restart: true, interval: true, ..Config::default() };
    let quit = Config { restart: false, ..plain };
    let hang = Config { hang: true, ..plain };
    let hold = Config { hold: true, ..plain };
    let both = Config { hold: true, ..hang };
    let endless = Config { interval: false, ..plain };
    let quorate = |config| Config { quorum: true, ..config };
    let shown = |config| Config { cmap: true, ..config };
    let delayed = Config { delay: true, ..endless };
    let limited = Config { limit: true, kill_group: true, ..endless };
    let standby = |config| Config { standby: true, ..config };
    let slow_fork = |config| Config { slow_fork: true, ..config };
    let hostile = |config| Config { hostile: true, ..config };
    let everything = [
        TIME,
        BASE,
        HEALTH,
        ENDS_ITSELF,
        WARN_SIGNALS,
        DEATHS,
        ADOPTION,
        DEBUGGER,
        CORE,
        USER,
        TERM,
        CONT,
        SIGNALS,
        CLUSTER,
    ];
    let clustered =
        [plain, quit].map(|config| [config, quorate(config), shown(config), quorate(shown(config))]).concat();
    vec![
        theme("everything", &everything, matrix(), 4, 3_899_000),
        theme("everything, deeper", &everything, clustered, 5, 3_197_000),
        theme("silence", &[TIME, BASE, HEALTH, TERM, CONT], vec![plain, quit, hang], 8, 2_120_000),
        theme("warning signals", &[TIME, BASE, HEALTH, WARN_SIGNALS], vec![plain], 9, 574_000),
        theme(
            "debugger and core",
            &[TIME, BASE, HEALTH, DEBUGGER, CORE, CONT],
            vec![hang, hold, both],
            8,
            1_811_000,
        ),
        theme("refused signals", &[TIME, BASE, HEALTH, USER, TERM], vec![plain, both], 8, 941_000),
        theme(
            "quorum",
            &[TIME, BASE, HEALTH, CLUSTER],
            [plain, endless, hang].map(quorate).into(),
            10,
            2_061_000,
        ),
        theme(
            "quorum and debugger",
            &[TIME, BASE, DEBUGGER, CORE, CLUSTER],
            vec![quorate(both)],
            10,
            909_000,
        ),
        theme(
            "cmap",
            &[TIME, BASE, HEALTH, ENDS_ITSELF, TERM],
            [plain, quit, endless, hold].map(shown).into(),
            8,
            3_862_000,
        ),
        theme(
            "quorum and cmap",
            &[TIME, BASE, CLUSTER],
            [plain, quit].map(shown).map(quorate).into(),
            9,
            843_000,
        ),
        theme("restarts", &[TIME, BASE, DEATHS, TERM], vec![delayed, limited], 14, 972_000),
        theme(
            "spares",
            &[TIME, BASE, DEATHS, TERM],
            [plain, delayed, limited].map(standby).into(),
            11,
            1_197_000,
        ),
        theme(
            "spares after a warning",
            &[TIME, BASE, HEALTH, DEATHS, TERM],
            [plain, quit, hang, quorate(plain)].map(slow_fork).into(),
            8,
            800_000,
        ),
        theme(
            "adoption",
            &[TIME, BASE, &[Act::Heartbeat, Act::Stop], ADOPTION, TERM],
            vec![plain, shown(plain), quorate(hold), Config { withhold: true, ..delayed }],
            7,
            1_623_000,
        ),
        theme("signals", &[TIME, BASE, TERM, CONT, SIGNALS, DEATHS], vec![delayed, plain], 8, 708_000),
        theme(
            "hostile",
            &[TIME, BASE, FORGERY],
            [plain, quorate(both), shown(quorate(endless))].map(hostile).into(),
            6,
            1_709_000,
        ),
    ]
}

/// Returns the combinations of settings, without those that are equivalent to another.
fn matrix() -> Vec<Config> {
    let mut configs = vec![];
    for bits in 0..1 << 9 {
        let bit = |number: u32| (bits >> number) & 1 == 1;
        let config = Config {
            restart: bit(0),
            quorum: bit(1),
            cmap: bit(2),
            interval: bit(3),
            hang: bit(4),
            hold: bit(5),
            standby: bit(6),
            slow_fork: bit(2) != bit(5),
            limit: bit(7),
            delay: bit(8),
            kill_group: bit(6) != bit(3),
            withhold: bit(7) != bit(4),
            hostile: false,
        };
        let pointless = (config.hang || config.hold) && !config.interval
            || (config.standby || config.limit || config.delay) && !config.restart
            || config.limit && config.delay;
        if !pointless {
            configs.push(config);
        }
    }
    configs
}

fn main() -> ExitCode {
    let wanted = env::var("DEPTH").ok().and_then(|depth| depth.parse().ok());
    // An unoptimised build would take minutes for the full depth.
    let less = if cfg!(debug_assertions) { 2 } else { 0 };
    let found: Arc<Mutex<BTreeMap<&str, Vec<Explored>>>> = Arc::default();
    let themes = themes();
    let mut tests: Vec<Test> = vec![];
    for Theme { name, acts, configs, depth, .. } in &themes {
        let depth = wanted.unwrap_or(depth - less);
        for &config in configs {
            let (name, acts, found) = (*name, acts.clone(), Arc::clone(&found));
            let search = move || {
                let explored = explore(config, &acts, depth);
                found.lock().unwrap().entry(name).or_default().push(explored);
            };
            tests.push((format!("{name}: {config}"), Box::new(search)));
        }
    }
    let code = run(tests, None);
    let found = found.lock().unwrap();
    let mut all_well = true;
    for theme in &themes {
        let Some(explored) = found.get(theme.name) else { continue };
        let sum = |count: fn(&Explored) -> usize| explored.iter().map(count).sum::<usize>();
        let depth = explored.iter().map(|explored| explored.depth).min().unwrap_or(0);
        let (states, steps) = (sum(|explored| explored.states), sum(|explored| explored.steps));
        println!(
            "{:20} depth {depth:2}, {:3} searches, {states:9} states, {steps:9} steps",
            theme.name,
            explored.len()
        );
        let is_whole = wanted.is_none() && less == 0 && explored.len() == theme.configs.len();
        if is_whole && (depth != theme.depth || states < theme.states) {
            println!("FAILED: {} must reach depth {} and {} states", theme.name, theme.depth, theme.states);
            all_well = false;
        }
    }
    if all_well { code } else { ExitCode::FAILURE }
}
