//! The format of the control page's words. Both ends of the page use it, and sam-status, which only reads the page.

use crate::time::MonotonicTime;

/// The state that the instance last requested by a call of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The instance is registered, and has not started health checking yet.
    Registered = 0,
    /// The instance has started health checking.
    Started = 1,
    /// The instance has stopped health checking.
    Stopped = 2,
    /// The instance has called `sam_finalize`: the supervisor does not restart it.
    Finalized = 3,
    /// The instance wants to start health checking, and waits for quorum.
    Waiting = 4,
}

impl Phase {
    /// The number of bits that a phase takes in a word.
    const BITS: u32 = 3;

    /// Returns one word with the phase and the time at which it began.
    pub(super) fn since(self, now: MonotonicTime) -> u64 {
        now.as_ns() << Phase::BITS | self as u64
    }

    /// Returns the phase in a word. Unknown phases, which only a hostile instance stores, count as `Finalized`.
    fn of(word: u64) -> Phase {
        match word & ((1 << Phase::BITS) - 1) {
            0 => Phase::Registered,
            1 => Phase::Started,
            2 => Phase::Stopped,
            4 => Phase::Waiting,
            _ => Phase::Finalized,
        }
    }
}

/// The index of each word on the page. The heartbeat has a cache line of its own.
#[derive(Clone, Copy)]
pub(super) enum Word {
    Heartbeat = 0,
    Phase = 8,
    Unhealthy = 9,
    WarnSignal = 10,
    MarkedFailed = 11,
    Id = 12,
    StartGranted = 14,
    Published = 15,
    Claimant = 16,
    Adopted = 17,
    Forked = 18,
}

/// The contents of a control page that the instance stores. A hostile instance may store any values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The phase that the instance entered last.
    pub phase: Phase,
    /// The time at which the instance entered the phase. 0 ns on a fresh page.
    pub since: MonotonicTime,
    /// The time of the last heartbeat of the instance. `None`: it has sent none.
    pub heartbeat: Option<MonotonicTime>,
    /// The time at which the instance's callback last returned "unhealthy".
    pub unhealthy: Option<MonotonicTime>,
    /// The number of the warning signal, 0 for no warning. A hostile instance may store any number.
    pub warn_signal: i32,
    /// `true` if the instance called `sam_mark_failed`, so that it is not restarted.
    pub marked_failed: bool,
}

impl View {
    /// The view of an instance that has stored nothing, for times without an instance.
    pub const NO_INSTANCE: View = View {
        phase: Phase::Registered,
        since: MonotonicTime::from_ns(0),
        heartbeat: None,
        unhealthy: None,
        warn_signal: libc::SIGTERM,
        marked_failed: false,
    };

    /// The number of words at the start of a page that a view is made of.
    pub const WORDS: usize = 16;

    /// Makes a view. `word` returns the word of the page with the given index.
    pub fn of(word: impl Fn(usize) -> u64) -> View {
        let word = |place: Word| word(place as usize);
        let time = |place| Some(word(place)).filter(|&ns| ns != 0).map(MonotonicTime::from_ns);
        let phase = word(Word::Phase);
        View {
            phase: Phase::of(phase),
            since: MonotonicTime::from_ns(phase >> Phase::BITS),
            heartbeat: time(Word::Heartbeat),
            unhealthy: time(Word::Unhealthy),
            warn_signal: word(Word::WarnSignal) as i32,
            marked_failed: word(Word::MarkedFailed) != 0,
        }
    }
}
