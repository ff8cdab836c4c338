//! The format of the control page's words. Both ends of the page use it, and sam-status, which only reads the page.

use crate::time::MonotonicTime;

/// The phase of health checking that the instance last entered by a call of the library.
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
    /// The number of low bits of a word that contain the phase. The other bits contain the time in ns.
    const BITS: u32 = 3;

    /// Packs this phase and the time `now` at which it begins into one word for the control page. So the supervisor
    /// reads both in a single step.
    pub(super) fn since(self, now: MonotonicTime) -> u64 {
        (now.as_ns() << Phase::BITS) | self as u64
    }

    /// Returns the phase in the low bits of a word of the control page. A number that stands for no phase, which only a
    /// hostile instance stores, counts as `Finalized`.
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

/// The index of each 64-bit word on the control page. The heartbeat has a cache line of its own.
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

/// The values that an instance has stored on its control page, read by the supervisor or sam-status. A hostile instance
/// may store any values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The phase of health checking that the instance entered last, such as started or stopped.
    pub phase: Phase,
    /// The time at which the instance entered `phase`. 0 ns on a page on which the instance has stored nothing.
    pub since: MonotonicTime,
    /// The time of the last heartbeat of the instance. `None`: it has sent none.
    pub heartbeat: Option<MonotonicTime>,
    /// The time at which the instance's health check callback last returned "unhealthy". `None`: it never has.
    pub unhealthy: Option<MonotonicTime>,
    /// The number of the signal that warns the instance before it is killed, 0 for no warning. A hostile instance may
    /// store any number.
    pub warn_signal: i32,
    /// `true` if the instance called `sam_mark_failed`, so that it is not restarted.
    pub marked_failed: bool,
}

impl View {
    /// The values of an instance that has stored nothing. The supervisor uses them while there is no instance.
    pub const NO_INSTANCE: View = View {
        phase: Phase::Registered,
        since: MonotonicTime::from_ns(0),
        heartbeat: None,
        unhealthy: None,
        warn_signal: libc::SIGTERM,
        marked_failed: false,
    };

    /// The number of words at the start of a control page that contain the values of this type. sam-status reads so
    /// many.
    pub const WORDS: usize = 16;

    /// Reads the values of an instance from the words of its control page. `word` returns the word with the given
    /// index.
    pub fn of(word: impl Fn(usize) -> u64) -> View {
        let word = |place: Word| word(place as usize);
        let time = |place| MonotonicTime::from_word(word(place));
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
