//! Turns any bytes into what a hostile instance may leave for its supervisor and for the next instance, and checks the
//! answer. Called by the fuzzing targets in `fuzz/`, and by the tests below.

#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::fcntl::FallocateFlags;
use nix::unistd::Pid;

use crate::policy::Recovery;
use crate::settings::{HangSignal, RestartDelay, RestartLimit, Settings};
use crate::shared::cmap_record::CmapState;
use crate::shared::control_page::{ControlPage, InstanceEnd, Phase, SupervisorEnd};
use crate::shared::data_store::{DataStore, Slots};
use crate::shared::mailbox::{ClusterReport, QuorumState};
use crate::supervisor::daemonized::Candidates;
use crate::supervisor::log_event::Kind;
use crate::supervisor::machine::{Effect, Event, Machine, Rules, ends_program};
use crate::sys::inspection::Inspection;
use crate::sys::large_file::{self, Attributes};
use crate::sys::memory_file::MemoryFile;
use crate::sys::process::ExitStatus;
use crate::sys::signals::{Received, Signal};
use crate::time::MonotonicTime;

const LAST_SIGNAL: i32 = 64;
/// The time that the rules under test grant an instance between the hang signal and SIGKILL. Also the longest time for
/// which the state machine may sleep for another reason than the deadline of the instance.
const TIMEOUT: Duration = Duration::from_secs(1);

const INSTANCE: Pid = Pid::from_raw(1);
/// The pid of the process that takes the place of the instance, as a child that daemon(3) makes does. The fuzz targets
/// have the state machine adopt it.
const DAEMON: Pid = Pid::from_raw(2);

/// Returns the signal that a byte of fuzz input selects. Every signal from 1 to 64 can occur.
fn any_signal(byte: u8) -> Signal {
    Signal::from_number(i32::from(byte) % LAST_SIGNAL + 1).expect("a signal")
}

/// The bytes of fuzz input that a target has not consumed yet. Reading beyond the end returns zeros.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn number(&mut self) -> u64 {
        (0..8).fold(0, |number, _| (number << 8) | u64::from(self.byte()))
    }

    /// Returns a number that the fuzz input selects. Any number can occur, but small numbers and numbers close to
    /// `near` are frequent, because comparisons with `near` are likely to fail there.
    fn word(&mut self, near: u64) -> u64 {
        let (kind, byte) = (self.byte(), u64::from(self.byte()));
        match kind % 8 {
            0 => byte,
            1 => u64::MAX - byte,
            2 => near,
            3 => near.wrapping_add(byte),
            4 => near.wrapping_sub(byte),
            5 => (near << 1) | (byte & 1),
            6 => (near.wrapping_sub(byte << 20) << 1) | 1,
            _ => self.number(),
        }
    }
}

/// Fuzz target: stores any words on the control page of an instance while the supervisor's state machine handles any
/// events. Panics if the machine acts against its rules, or does not kill the instance soon after its last heartbeat.
pub fn page(bytes: &[u8]) {
    let mut input = Input(bytes);
    let interval = [
        None,
        Some(Duration::from_nanos(1)),
        Some(Duration::from_millis(1)),
        Some(Duration::from_millis(100)),
        Some(Duration::from_millis(i32::MAX as u64)),
    ][usize::from(input.byte() % 5)];
    let window = interval.unwrap_or_default() + Duration::from_nanos(1);
    let recovery = if input.byte() % 4 == 0 { Recovery::Quit } else { Recovery::Restart };
    let settings = Settings {
        restart_limit: (input.byte() % 4 == 0).then_some(RestartLimit { restarts: 3, window }),
        restart_delay: (input.byte() % 4 == 0)
            .then_some(RestartDelay { first: Duration::from_nanos(10), last: Duration::from_micros(1) }),
        standby: input.byte() % 2 == 0,
        hang_signal: (input.byte() % 4 == 0).then_some(HangSignal { signal: Signal::ABRT, timeout: TIMEOUT }),
        kill_group: input.byte() % 4 == 0,
        withhold_signals: input.byte() % 4 == 0,
        ..Settings::default()
    };
    let (quorum, cmap) = (input.byte() % 4 == 0, input.byte() % 4 == 0);
    let rules = Rules { interval, recovery, settings, quorum, cmap };
    let mut watched = Watched::new(rules);
    while !input.is_empty() && !watched.finished {
        let event = match input.byte() % 8 {
            0..=2 => {
                let words = watched.instance_end.page().words();
                let (place, word) =
                    (usize::from(input.byte()) % words.len(), input.word(watched.now.as_ns()));
                words[place].store(word, Ordering::Relaxed);
                continue;
            }
            3 => {
                let step = (interval.unwrap_or_default() / 64).max(Duration::from_nanos(1));
                watched.now = watched.now + step * u32::from(input.byte());
                Event::Tick
            }
            4 => {
                watched.now = watched.now.max(watched.machine.wake_at().unwrap_or(watched.now));
                Event::Tick
            }
            5 => match input.byte() {
                code if code % 16 == 2 => Event::MayHaveDaemonized,
                code if code % 8 == 0 => Event::SpareDied(ExitStatus::Exited(code.into())),
                code if code % 2 == 0 => Event::Died(ExitStatus::Exited(code.into())),
                code => Event::Died(ExitStatus::Killed { signal: any_signal(code), core: code > 128 }),
            },
            6 => {
                let signal = any_signal(input.byte());
                let by_kernel = input.byte() % 2 == 0;
                let received = Received { signal, value: None, by_kernel, sender: None };
                match input.byte() % 8 {
                    0 => Event::Missed(received),
                    _ => Event::Signal { received, shared: received.by_kernel },
                }
            }
            _ => match input.byte() % 8 {
                0 => Event::SpareLost,
                1 => Event::Stopped(Signal::STOP),
                2 => Event::Stopped(Signal::TSTP),
                quorum => Event::Corosync(ClusterReport {
                    quorum: [QuorumState::Yes, QuorumState::No, QuorumState::Gone][usize::from(quorum % 3)],
                    published: CmapState::from_word(u64::from(input.byte() % 6)),
                    lost: false,
                }),
            },
        };
        watched.step(event);
    }
    watched.falls_silent();
}

/// A simulated supervision for the fuzz target [`page`]: the state machine, the control page of its instance, and the
/// facts from which the checks tell whether an effect of the machine is allowed.
struct Watched {
    rules: Rules,
    machine: Machine,
    instance_end: InstanceEnd,
    supervisor_end: SupervisorEnd,
    /// The time that the simulated clock shows.
    now: MonotonicTime,
    /// The instance id of the current instance.
    id: u32,
    /// `true` while an instance lives: it was launched or adopted, and has not ended.
    lives: bool,
    /// `true` once the state machine has logged that it kills the living instance. Its next signal must be SIGKILL.
    kill_logged: bool,
    /// `true` once the state machine has sent SIGKILL to the living instance.
    killed: bool,
    /// `true` once the state machine has ended the supervisor. No effect may follow.
    finished: bool,
    /// The signals that arrived at the simulated supervisor and that it has not forwarded to the instance.
    arrived: Vec<Received>,
    /// The signals that the simulated supervisor has forwarded to the instance.
    forwarded: Vec<Received>,
    /// The number of times that the state machine has looked for a process that goes on in the place of the instance.
    sought: usize,
}

impl Watched {
    fn new(rules: Rules) -> Watched {
        let machine = Machine::new(rules, Some(Signal::TERM));
        let (instance_end, supervisor_end) = control_page(Some(Signal::TERM));
        let mut watched = Watched {
            rules,
            machine,
            instance_end,
            supervisor_end,
            now: MonotonicTime::from_ns(1 << 40),
            id: 1,
            lives: true,
            kill_logged: false,
            killed: false,
            finished: false,
            arrived: vec![],
            forwarded: vec![],
            sought: 0,
        };
        watched.step(Event::Launched { pid: INSTANCE });
        watched
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Signal { received, .. } | Event::Missed(received) => self.arrived.push(received),
            Event::Launched { .. } | Event::Adopted { .. } => self.lives = true,
            Event::Died(_) | Event::SpareDied(_) | Event::MayHaveDaemonized => self.lives = false,
            _ => {}
        }
        let view = self.supervisor_end.view();
        let mut effects = vec![];
        self.machine.handle(self.now, event, &view, &mut effects);
        for effect in effects {
            assert!(!self.finished, "{effect:?} after the end");
            match effect {
                Effect::Log(event) => {
                    let kills = [Some(Signal::KILL), self.rules.settings.hang_signal.map(|hang| hang.signal)];
                    self.kill_logged |= match event.kind {
                        Kind::Killed { signal, .. } => {
                            assert!(kills.contains(&Some(signal)), "kills with {signal}");
                            signal == Signal::KILL
                        }
                        Kind::KilledForQuorum { .. } | Kind::KilledAfterHangSignal { .. } => true,
                        _ => false,
                    };
                    let text = event.entry().text;
                    assert!(!text.contains('\n') && text.len() < 200, "{text:?}");
                }
                Effect::Send(signal) => {
                    assert!(self.lives && !self.killed, "sends {signal} after {event:?}");
                    assert!(!self.kill_logged || signal == Signal::KILL, "kills with {signal}");
                    self.killed = self.kill_logged;
                }
                Effect::FindDaemon => {
                    assert!(!self.lives, "looks for another instance after {event:?}");
                    let found = [
                        Candidates::Several,
                        Candidates::Only(DAEMON),
                        Candidates::OutOfReach(None),
                        Candidates::Only(DAEMON),
                        Candidates::None,
                        Candidates::Several,
                        Candidates::Caller(DAEMON),
                    ];
                    self.sought += 1;
                    self.step(Event::DaemonSearched(found[self.sought % found.len()]));
                }
                Effect::Adopt(pid) => {
                    assert!(!self.lives && pid == DAEMON, "adopts {pid} after {event:?}");
                    (self.kill_logged, self.killed) = (false, false);
                    self.step(Event::Adopted { pid });
                }
                Effect::Inspect => self.step(Event::Inspected(Inspection::default())),
                Effect::KillGroup(id) => {
                    assert!(self.rules.settings.kill_group && id == self.id && !self.lives, "ends {id}");
                }
                Effect::GrantStart(since) => {
                    assert!(view.phase == Phase::Waiting && since == view.since);
                }
                Effect::AckPublished(since) => assert!(self.rules.cmap && since == view.since),
                Effect::Publish(record) => {
                    assert!(self.rules.cmap && record.last_updated <= Some(self.now), "publishes {record:?}");
                }
                Effect::Forward(received) => {
                    // A termination signal that may have come too late for the instance is passed on again.
                    let is_again =
                        matches!(event, Event::Adopted { .. }) && self.forwarded.contains(&received);
                    let place = self.arrived.iter().position(|arrived| *arrived == received);
                    match place {
                        Some(place) => self.forwarded.push(self.arrived.remove(place)),
                        None => assert!(is_again && ends_program(received.signal), "passes on {received:?}"),
                    }
                    assert!(self.lives, "passes on {received:?} after {event:?}");
                }
                Effect::Suspend => assert!(matches!(event, Event::Stopped(_)), "stops after {event:?}"),
                Effect::Launch { id, warn_signal } => {
                    let may = [self.id, self.id + 1].contains(&id);
                    assert!(may && !self.lives, "launches {id} after {event:?}");
                    (self.id, self.kill_logged, self.killed) = (id, false, false);
                    (self.instance_end, self.supervisor_end) = control_page(warn_signal);
                    return self.step(Event::Launched { pid: INSTANCE });
                }
                Effect::MakeSpare => {
                    assert!(self.rules.settings.standby && self.lives, "a spare after {event:?}");
                    self.step(Event::SpareMade);
                }
                Effect::DropSpare => panic!("drops a spare after {event:?}"),
                Effect::Finish(_) => self.finished = true,
            }
        }
        if let Some(at) = self.machine.wake_at() {
            // The machine waits for other things than the deadline of the instance for a second at most.
            let longest = self.rules.interval.unwrap_or_default().max(TIMEOUT);
            let checked = self.rules.interval.filter(|_| self.lives && !self.killed && !self.waits());
            let latest = self.now + checked.unwrap_or(longest);
            let soon = at > self.now || event != Event::Tick;
            assert!(
                !self.finished && soon && at <= latest,
                "at {:?} wakes at {at:?}: {:?}",
                self.now,
                self.machine
            );
        }
    }

    /// Returns `true` if the rules under test let the state machine wait for something in addition to the next
    /// heartbeat: for quorum, for cmap, or for the end of an instance that got the hang signal. Then its sleep may be
    /// longer.
    fn waits(&self) -> bool {
        self.rules.quorum || self.rules.cmap || self.rules.settings.hang_signal.is_some()
    }

    /// Lets time pass without further writes to the control page, until the state machine has killed the instance.
    /// Panics if that takes more than eight intervals: a forged heartbeat time in the future may pass for a heartbeat
    /// once, when that time comes.
    fn falls_silent(&mut self) {
        self.step(Event::Tick);
        let from = self.now;
        let Some(interval) = self.rules.interval.filter(|_| self.lives) else { return };
        while self.supervisor_end.view().phase == Phase::Started && !self.killed {
            self.now = self.machine.wake_at().expect("a machine that does not give up");
            let limit = interval * 8 + if self.waits() { TIMEOUT * 8 } else { Duration::ZERO };
            assert!(self.now.saturating_since(from) < limit, "not killed: {:?}", self.machine);
            self.step(Event::Tick);
        }
    }
}

/// Fuzz target: changes the header word of a data store and the sizes of its memory files, as a hostile instance can.
/// Panics if a restore returns more bytes than the files ever had, or if a later store and restore fails.
pub fn store(bytes: &[u8]) {
    const ROOM: usize = 20_000;
    let mut input = Input(bytes);
    let mut store = DataStore::of(Slots::shared().expect("memory"));
    // Data that can be damaged.
    store.store([7; 5000][..].into()).expect("room for a little");
    // The largest size that a mapping may have seen.
    let mut most = allocated(&mut store);
    while !input.is_empty() {
        let (header, files) = store.exposed();
        let file = files[usize::from(input.byte()) % files.len()].exposed();
        match input.byte() % 8 {
            0 | 1 => {
                let place = if input.byte() % 8 == 0 { 1 } else { 0 };
                header.words()[place].store(input.word(10_000), Ordering::Relaxed);
            }
            2 => {
                let _ = large_file::set_length(&file, input.word(ROOM as u64));
            }
            3 => {
                let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
                let start = u64::from(input.byte()) * 512;
                let _ = large_file::allocate(&file, how, start..start + ROOM as u64);
            }
            4 | 5 => {
                let length = usize::from(input.byte()) * 64;
                let data = vec![input.byte(); length];
                store.store(data[..].into()).expect("room for a little");
                assert_eq!(store.size(), Ok(length));
                let mut room = vec![0; length];
                store.restore(room[..].as_mut().into()).expect("what was stored");
                assert_eq!(room, data);
            }
            _ => {}
        }
        most = most.max(allocated(&mut store));
        let size = store.size().expect("a size, whatever is there");
        assert!(size <= most, "{size} bytes said to be stored");
        let mut room = [0xee; ROOM + 1];
        match store.restore(room[..ROOM].as_mut().into()) {
            Ok(()) => assert!(size <= ROOM && room[size..].iter().all(|&byte| byte == 0xee)),
            Err(error) => assert!(size > ROOM && room == [0xee; ROOM + 1], "{size} bytes: {error}"),
        }
    }
}

/// Returns the number of bytes of memory that the kernel has allocated for the larger of the two memory files of a data
/// store.
fn allocated(store: &mut DataStore) -> usize {
    let attributes = |file: &MemoryFile| Attributes::of(&file.exposed()).expect("the file");
    let allocated = store.exposed().1.iter().map(|file| attributes(file).allocated);
    allocated.max().unwrap_or(0).try_into().expect("as many bytes as memory has")
}

/// Returns the instance's and the supervisor's end of a new control page. `warn_signal` is stored on it as the warning
/// signal. `None` stands for no warning.
fn control_page(warn_signal: Option<Signal>) -> (InstanceEnd, SupervisorEnd) {
    let (instance_end, supervisor_end) = ControlPage::both_ends();
    instance_end.set_warn_signal(warn_signal.map_or(0, Signal::number));
    (instance_end, supervisor_end)
}

/// Fuzz target: reads the settings from environment variables with any values. Panics if an accepted setting is out of
/// bounds, or if the error message is not one short line of text.
pub fn settings(bytes: &[u8]) {
    const LEAST: Duration = Duration::from_millis(1);
    const DAY: Duration = Duration::from_secs(86_400);
    const NAMES: [&str; 11] = [
        "SAM_LOG",
        "SAM_RESTART_LIMIT",
        "SAM_RESTART_DELAY",
        "SAM_WARN_SIGNAL",
        "SAM_HANG_SIGNAL",
        "SAM_HANG_GRACE",
        "SAM_DEBUG_HOLD",
        "SAM_KILL_GROUP",
        "SAM_STANDBY",
        "SAM_NOTIFY",
        "SAM_FORWARD_SIGNALS",
    ];
    // In the order of the names. 0xff: the variable is not set.
    let values: Vec<&[u8]> = bytes.split(|&byte| byte == 0).collect();
    let read = Settings::read(|name| {
        let place = NAMES.iter().position(|&known| known == name).expect("a variable that is known here");
        values.get(place).filter(|value| **value != [0xff]).map(|value| value.to_vec())
    });
    match read {
        Ok(settings) => {
            if let Some(limit) = settings.restart_limit {
                assert!((1..=100_000).contains(&limit.restarts));
                assert!((1..=31_536_000).contains(&limit.window.as_secs()));
            }
            if let Some(hang) = settings.hang_signal {
                assert!((LEAST..=DAY).contains(&hang.timeout));
            }
            if let Some(delay) = settings.restart_delay {
                assert!(LEAST <= delay.first && delay.first <= delay.last && delay.last <= DAY);
            }
        }
        Err(malformed) => {
            let text = malformed.to_string();
            assert!(!text.contains(char::is_control) && text.len() < 2000, "{text:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    /// The same inputs in every run, as many as PROPTEST_CASES says and `most` at most: what `make fuzz` finds is added
    /// as a test of its own.
    fn same_each_time(most: u32) -> ProptestConfig {
        let config = ProptestConfig::default();
        let cases = config.cases.min(if cfg!(miri) { 20 } else { most });
        ProptestConfig { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(4), ..config }
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..300)
    }

    proptest! {
        #![proptest_config(same_each_time(u32::MAX))]

        #[test]
        fn no_page_leads_the_supervisor_astray(bytes in bytes()) {
            page(&bytes);
        }

        #[test]
        fn any_environment_is_understood_or_refused(
            bytes in prop_oneof![bytes(), "[a-z0-9/.\0 -]{0,40}".prop_map(String::into_bytes)],
        ) {
            settings(&bytes);
        }
    }

    proptest! {
        #![proptest_config(same_each_time(2_000))]

        #[test]
        fn no_store_leads_the_next_instance_astray(bytes in bytes()) {
            store(&bytes);
        }
    }
}
