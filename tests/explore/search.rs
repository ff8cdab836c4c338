//! The search: every sequence of acts up to a depth, the shorter ones first. States are merged if they differ only in
//! the current time, the instance id and the pid.

use std::{
    collections::HashSet,
    hash::{BuildHasherDefault, Hash, Hasher},
};

use super::{
    Config, EARLIEST, LATEST, PID, START,
    world::{Act, Broken, World},
};

/// The size of a search.
#[derive(Debug, Clone, Copy, Default)]
pub struct Explored {
    pub depth: usize,
    pub states: usize,
    pub steps: usize,
    /// True if no state was left to explore before the depth was reached.
    pub complete: bool,
}

/// A hasher for which worlds are equal if they differ only in time, id and pid. Hashes times relative to `now`, and ids
/// and pids relative to `id`.
struct Relative {
    hash: u64,
    now: u64,
    id: u32,
}

impl Relative {
    fn add(&mut self, value: u64) {
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.hash ^ value) * u128::from(FACTOR);
        self.hash = ((product >> 64) as u64 ^ product as u64).wrapping_add(FACTOR);
    }
}

impl Hasher for Relative {
    fn finish(&self) -> u64 {
        self.hash
    }

    fn write(&mut self, bytes: &[u8]) {
        // Slices of numbers are hashed as one run of bytes.
        for word in bytes.chunks(8) {
            self.write_u64(word.iter().rev().fold(0, |word, &byte| (word << 8) | u64::from(byte)));
        }
    }

    /// Hashes a time or a duration in ns. Times long ago are all equal.
    fn write_u64(&mut self, value: u64) {
        if value < START / 2 || value == u64::MAX {
            self.add(value);
        } else {
            let relative = value.clamp(self.now - EARLIEST, self.now + LATEST) - (self.now - EARLIEST);
            self.add(relative | (1 << 63));
        }
    }

    /// Hashes an instance id, or the ns of a duration: 0 or at least `LEAST_NS`.
    fn write_u32(&mut self, value: u32) {
        const LEAST_NS: u32 = 1_000_000;
        let is_id = (1..LEAST_NS).contains(&value);
        self.add(u64::from(if is_id { value.wrapping_sub(self.id) } else { value }));
    }

    /// Hashes a pid or a signal number.
    fn write_i32(&mut self, value: i32) {
        self.add(if value >= PID { (value - self.id as i32) as u64 } else { value as u64 });
    }

    fn write_u8(&mut self, value: u8) {
        self.add(u64::from(value));
    }

    fn write_usize(&mut self, value: usize) {
        self.add(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.add(value as u64);
    }
}

/// Returns the hash by which states are merged.
fn fingerprint(world: &World) -> u64 {
    let mut hasher = Relative { hash: 0x51_7c_c1, now: world.now, id: world.machine.id() };
    world.hash(&mut hasher);
    hasher.finish()
}

/// A hasher that takes a fingerprint as its own hash.
#[derive(Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("fingerprints are numbers");
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// The predecessor of a state, and the act that led to the state.
type Step = (u32, Act);

/// Tries every sequence of `acts` up to `depth`. Panics with a shortest sequence that breaks a rule.
pub fn explore(config: Config, acts: &[Act], depth: usize) -> Explored {
    let first = World::new(config).unwrap_or_else(|broken| panic!("{broken:?}"));
    let mut known: HashSet<u64, BuildHasherDefault<Same>> = HashSet::default();
    known.insert(fingerprint(&first));
    let mut steps: Vec<Step> = vec![(0, Act::Launched)];
    let mut layer = vec![(0_u32, first)];
    let mut explored = Explored { states: 1, ..Explored::default() };
    for reached in 1..=depth {
        let mut next = vec![];
        for (from, world) in &layer {
            for &act in acts {
                if !world.allows(act) {
                    continue;
                }
                explored.steps += 1;
                let mut changed = world.clone();
                if let Err(broken) = changed.apply(act, None) {
                    fail(config, &steps, *from, act, &broken);
                }
                if known.insert(fingerprint(&changed)) && reached < depth {
                    steps.push((*from, act));
                    next.push((steps.len() as u32 - 1, changed));
                }
            }
        }
        explored.depth = reached;
        explored.states = known.len();
        layer = next;
        if layer.is_empty() {
            explored.complete = reached < depth;
            break;
        }
    }
    explored
}

/// Panics with the sequence of acts that broke a rule, the effects of each, and the last state.
fn fail(config: Config, steps: &[Step], from: u32, last: Act, broken: &Broken) -> ! {
    let mut acts = vec![last];
    let mut at = from;
    while at != 0 {
        let (before, act) = steps[at as usize];
        acts.push(act);
        at = before;
    }
    acts.reverse();
    let mut story = vec![];
    let mut world = World::new(config).unwrap_or_else(|broken| panic!("{broken:?}"));
    for act in &acts {
        if world.apply(*act, Some(&mut story)).is_err() {
            break;
        }
    }
    panic!(
        "broken rule: {}: {}\nconfiguration: {config}\n{} acts:\n{}\nstate, times relative to now:\n{}",
        broken.rule,
        broken.detail,
        acts.len(),
        story.join("\n"),
        relative(&format!("{world:#?}"), world.now)
    );
}

/// Replaces the times in the text of a state by ms relative to `now`.
fn relative(text: &str, now: u64) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut digits = String::new();
    for letter in text.chars().chain(['\n']) {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        match digits.parse::<u64>() {
            Ok(u64::MAX) => shown.push_str("never"),
            Ok(time) if time >= START / 2 => {
                let ms = (i128::from(time) - i128::from(now)) / 1_000_000;
                shown.push_str(&format!("{ms:+} ms"));
            }
            _ => shown.push_str(&digits),
        }
        digits.clear();
        shown.push(letter);
    }
    shown
}
