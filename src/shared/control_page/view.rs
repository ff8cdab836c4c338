//! The words of a control page, and what they mean. Used by both ends of the page, and by sam-status, which reads it.

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

    /// A phase and the ns at which it began, in one word.
    pub(super) fn since(self, now: u64) -> u64 {
        now << Phase::BITS | self as u64
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

/// What the supervisor found on the page. Times in ns, 0: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// What the instance has last asked for.
    pub phase: Phase,
    /// When it did.
    pub since: u64,
    /// Its last heartbeat.
    pub heartbeat: u64,
    /// When its callback last said that it is not well.
    pub unhealthy: u64,
    /// The signal to warn it with; any number.
    pub warn_signal: i32,
    /// Whether it wants to end without being started again.
    pub marked_failed: bool,
}

impl View {
    /// Where no instance is.
    pub const NO_INSTANCE: View = View {
        phase: Phase::Registered,
        since: 0,
        heartbeat: 0,
        unhealthy: 0,
        warn_signal: libc::SIGTERM,
        marked_failed: false,
    };

    /// How many words of a page there are to look at.
    pub const WORDS: usize = 16;

    /// From the words of a page.
    pub fn of(word: impl Fn(usize) -> u64) -> View {
        let word = |place: Word| word(place as usize);
        let phase = word(Word::Phase);
        View {
            phase: Phase::of(phase),
            since: phase >> Phase::BITS,
            heartbeat: word(Word::Heartbeat),
            unhealthy: word(Word::Unhealthy),
            warn_signal: word(Word::WarnSignal) as i32,
            marked_failed: word(Word::MarkedFailed) != 0,
        }
    }
}
