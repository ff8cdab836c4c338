//! Every sequence of events up to a depth, on the state machine of the supervisor: what the clock, the instance, the
//! kernel, corosync and the outside can do, with the rules of the contract as assertions. The first sequence that breaks
//! a rule is the shortest, and is printed with the state that it leads to.
//!
//! Set from outside: DEPTH, the depth of each search in place of its own (`make explore DEPTH=12`).

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

/// The grid of time, in ns. All constants of the machine are multiples of it, but for the first pauses between tries.
const TICK: u64 = 125_000_000;
const INTERVAL: u64 = 4 * TICK;
/// One second: quorum's reprieve without an interval, the age of a new instance, the wait for cmap at the end and the
/// longest pause between two tries.
const PATIENCE: u64 = 8 * TICK;
const FRESH: u64 = PATIENCE;
/// So long a process must live that is adopted without a call.
const SETTLED: u64 = 100_000_000;
const HANG_GRACE: u64 = 6 * TICK;
const RESTARTS: usize = 1;
const RESTART_WINDOW: u64 = 12 * TICK;
const RESTART_PAUSE: (u64, u64) = (2 * TICK, 4 * TICK);
/// Times further in the past, and in the future, are all the same.
const EARLIEST: u64 = 24 * TICK;
const LATEST: u64 = 64 * TICK;
/// When the first instance is made. Numbers from half of it on are times, smaller ones are durations.
const START: u64 = TICK << 20;
const NEVER: u64 = u64::MAX;

/// Instance n has this pid and n, or where it goes on in another process, twice this and n, and so on in turn.
const PID: i32 = 1_000_000;
const WARN_SIGNAL: i32 = libc::SIGTERM;
const HANG_SIGNAL: i32 = libc::SIGABRT;

/// The rules of a supervisor.
#[derive(Debug, Clone, Copy, Default)]
struct Config {
    restart: bool,
    quorum: bool,
    cmap: bool,
    interval: bool,
    hang: bool,
    hold: bool,
    standby: bool,
    limit: bool,
    delay: bool,
    kill_group: bool,
    withhold: bool,
    /// The instance writes what it likes to its page.
    hostile: bool,
}

/// It is the same in all states of a search.
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

/// Searches of one kind: what may happen, how deep, and by which rules.
struct Theme {
    name: &'static str,
    acts: Vec<Act>,
    configs: Vec<Config>,
    depth: usize,
    /// The least number of states that all of them must reach together.
    states: usize,
}

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

/// All rules that differ in what matters.
fn matrix() -> Vec<Config> {
    let mut configs = vec![];
    for bits in 0..1 << 9 {
        let bit = |number: u32| bits >> number & 1 == 1;
        let config = Config {
            restart: bit(0),
            quorum: bit(1),
            cmap: bit(2),
            interval: bit(3),
            hang: bit(4),
            hold: bit(5),
            standby: bit(6),
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
    // Without optimisation all of it would take minutes.
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
            println!("{}: at least depth {}, {} states", theme.name, theme.depth, theme.states);
            all_well = false;
        }
    }
    if all_well { code } else { ExitCode::FAILURE }
}
