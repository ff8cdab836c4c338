//! A measure of the machine: how late it lets an ordinary program run.
//!
//! The kernel may keep a process that is ready to run off its processor for seconds, because it shares the processors
//! between sessions (`sched_autogroup_enabled`) and control groups. A test cannot tell such a process from one that the
//! library has delayed. So each test program has canaries: ordinary threads, one pinned to each processor, in the session
//! and the control group of the programs under test. A canary sleeps, and notes how late it wakes up.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// The time for which a canary sleeps.
const TICK: Duration = Duration::from_millis(10);
/// The least lateness that a canary notes.
const NOTED: Duration = Duration::from_millis(20);

struct Canary {
    /// The time at which the canary is to wake up next.
    due: Instant,
    /// The times at which the canary woke up late, and how late it was, in order of time.
    late: Vec<(Instant, Duration)>,
}

static CANARIES: OnceLock<Vec<Arc<Mutex<Canary>>>> = OnceLock::new();

/// Starts the canaries of this test program. Later calls do nothing.
pub fn start() {
    CANARIES.get_or_init(|| {
        let ours = sched_getaffinity(Pid::from_raw(0)).expect("the processors of this process");
        let processors = (0..CpuSet::count()).filter(|&processor| ours.is_set(processor) == Ok(true));
        processors.map(start_on).collect()
    });
}

fn start_on(processor: usize) -> Arc<Mutex<Canary>> {
    let canary = Arc::new(Mutex::new(Canary { due: Instant::now() + TICK, late: vec![] }));
    let own = Arc::clone(&canary);
    let watch = move || {
        let mut one = CpuSet::new();
        one.set(processor).expect("the number of a processor");
        sched_setaffinity(Pid::from_raw(0), &one).expect("pin a canary to its processor");
        loop {
            let due = lock(&own).due;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            lock(&own).wake_up(Instant::now());
        }
    };
    thread::Builder::new().name("canary".to_owned()).spawn(watch).expect("start a canary");
    canary
}

fn lock(canary: &Mutex<Canary>) -> MutexGuard<'_, Canary> {
    canary.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the greatest lateness of the canaries from `begin` until now.
pub fn lateness_since(begin: Instant) -> Duration {
    let now = Instant::now();
    let canaries = CANARIES.get().into_iter().flatten();
    canaries.map(|canary| lock(canary).lateness_since(begin, now)).max().unwrap_or_default()
}

impl Canary {
    fn wake_up(&mut self, now: Instant) {
        let lateness = now.saturating_duration_since(self.due);
        if lateness >= NOTED {
            self.late.push((now, lateness));
        }
        self.due = now + TICK;
    }

    /// Returns the greatest lateness from `begin` until `now`, at which the canary may be late still.
    fn lateness_since(&self, begin: Instant, now: Instant) -> Duration {
        let noted = self.late.iter().rev().take_while(|(at, _)| *at >= begin).map(|(_, lateness)| *lateness);
        noted.chain([now.saturating_duration_since(self.due)]).max().unwrap_or_default()
    }
}
