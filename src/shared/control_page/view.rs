//! The words of a control page, and what they mean. Used by both ends of the page, and by sam-status, which reads it.

use crate::time::MonotonicTime;

/// What the instance has last asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Registered, not started yet.
    Registered = 0,
    /// Health checking is on.
    Started = 1,
    /// Health checking was stopped.
    Stopped = 2,
    /// The session is over: no recovery takes place.
    Finalized = 3,
    /// Not started: it waits for quorum.
    Waiting = 4,
}

impl Phase {
    const BITS: u32 = 3;

    /// Returns the word of a phase that began at `now`.
    pub(super) fn since(self, now: MonotonicTime) -> u64 {
        now.as_ns() << Phase::BITS | self as u64
    }

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

/// Where each word is on the page. The heartbeat has a cache line to itself.
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

/// What an instance has stored on its control page. A hostile instance may have stored any values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// What the instance has last asked for.
    pub phase: Phase,
    /// The time at which the phase began. 0 ns on a fresh page.
    pub since: MonotonicTime,
    /// The time of the last heartbeat.
    pub heartbeat: Option<MonotonicTime>,
    /// The time at which the callback last returned "unhealthy".
    pub unhealthy: Option<MonotonicTime>,
    /// The number of the warning signal, 0 for no warning. May be no signal at all.
    pub warn_signal: i32,
    /// The instance called `sam_mark_failed`: it is not to be started again.
    pub marked_failed: bool,
}

impl View {
    /// The view while there is no instance: that of a fresh page.
    pub const NO_INSTANCE: View = View {
        phase: Phase::Registered,
        since: MonotonicTime::from_ns(0),
        heartbeat: None,
        unhealthy: None,
        warn_signal: libc::SIGTERM,
        marked_failed: false,
    };

    /// The number of words that the view is made of.
    pub const WORDS: usize = 16;

    /// Returns the view of a page whose words `word` returns.
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
