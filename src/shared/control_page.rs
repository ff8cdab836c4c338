//! The shared page of one instance and its supervisor: its words, their order and their meaning. It is the only
//! protocol there is.
//!
//! The instance writes single words, the supervisor reads them when the kernel wakes it. What it finds is always
//! a whole state, and may be anything: the instance is not trusted. Each instance has a page of its own, so that
//! nothing an earlier one left running can speak for a later one.

#![forbid(unsafe_code)]

use crate::sys::atomic::{AtomicU64, Ordering};
use crate::sys::futex;
use crate::sys::shared_page::{PageLocation, SharedPage};

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
    fn since(self, now: u64) -> u64 {
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
enum Word {
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

/// The futex that a spare waits on: 1 when it is to take over.
const RELEASE: usize = 0;
/// The futex that an instance waits on: counts the supervisor's answers.
const ANSWERS: usize = 1;
/// The futex that the supervisor waits on: 1 when the spare has taken over.
const TAKEN_OVER: usize = 2;

/// The page.
#[derive(Debug)]
pub struct ControlPage(SharedPage);

impl ControlPage {
    /// A fresh page of an instance that will be warned with `warn_signal`. To be made by the supervisor, before
    /// it forks the instance.
    pub fn new(warn_signal: i32) -> nix::Result<ControlPage> {
        let page = ControlPage::on(SharedPage::new()?);
        page.set_warn_signal(warn_signal);
        Ok(page)
    }

    /// On a page of zeros, without a warning signal.
    pub fn on(page: SharedPage) -> ControlPage {
        page.lifeline().take();
        ControlPage(page)
    }

    /// Returns where sam-status finds the page, if it is a file.
    pub fn location(&self) -> Option<PageLocation> {
        self.0.location()
    }

    /// The instance, after the fork: closes the descriptor of the page, which is for the supervisor alone.
    pub fn close_file(&mut self) {
        self.0.close_file();
    }

    /// All of it, as an instance that is not trusted has it.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn page(&self) -> &SharedPage {
        &self.0
    }

    #[inline]
    fn word(&self, word: Word) -> &AtomicU64 {
        &self.0.words()[word as usize]
    }

    /// The supervisor, after the fork: the instance shall know when this thread ends.
    pub fn hold_lifeline(&self) {
        self.0.lifeline().hold();
    }

    /// The instance: whether its supervisor is gone.
    #[inline]
    pub fn supervisor_is_gone(&self) -> bool {
        self.0.lifeline().is_marked()
    }

    /// The instance was well at `now` ns.
    #[inline]
    pub fn heartbeat(&self, now: u64) {
        self.word(Word::Heartbeat).store(now, Ordering::Release);
    }

    /// The instance enters `phase` at `now` ns.
    pub fn enter(&self, phase: Phase, now: u64) {
        self.word(Word::Phase).store(phase.since(now), Ordering::Release);
    }

    /// The instance's callback said at `now` ns that it is not well.
    pub fn report_unhealthy(&self, now: u64) {
        self.word(Word::Unhealthy).store(now, Ordering::Release);
    }

    /// The instance wants to be warned by signal `number`.
    pub fn set_warn_signal(&self, number: i32) {
        self.word(Word::WarnSignal).store(number as u64, Ordering::Release);
    }

    /// The instance's warning signal.
    pub fn warn_signal(&self) -> i32 {
        self.word(Word::WarnSignal).load(Ordering::Acquire) as i32
    }

    /// The instance gives up and is not to be started again.
    pub fn mark_failed(&self) {
        self.word(Word::MarkedFailed).store(1, Ordering::Release);
    }

    /// The supervisor: lets the spare that waits take over as instance `id`.
    pub fn release(&self, id: u32, warn_signal: i32) {
        self.set_warn_signal(warn_signal);
        self.word(Word::Id).store(u64::from(id), Ordering::Relaxed);
        self.0.futexes()[RELEASE].store(1, Ordering::Release);
        futex::wake_all(&self.0.futexes()[RELEASE]);
    }

    /// The spare: waits until it is to take over. Its number.
    pub fn wait_for_release(&self) -> u32 {
        while self.0.futexes()[RELEASE].load(Ordering::Acquire) == 0 {
            futex::wait(&self.0.futexes()[RELEASE], 0, None);
        }
        self.word(Word::Id).load(Ordering::Relaxed) as u32
    }

    /// The spare has taken over.
    pub fn confirm_takeover(&self) {
        self.0.futexes()[TAKEN_OVER].store(1, Ordering::Release);
        futex::wake_all(&self.0.futexes()[TAKEN_OVER]);
    }

    /// Whether the spare has taken over.
    pub fn took_over(&self) -> bool {
        self.0.futexes()[TAKEN_OVER].load(Ordering::Acquire) != 0
    }

    /// The supervisor: leaves the processor to the spare that takes over, for `timeout` ns at most.
    pub fn wait_for_takeover(&self, timeout: u64) {
        futex::wait(&self.0.futexes()[TAKEN_OVER], 0, Some(timeout));
    }

    /// The supervisor, after the fork: processes that are forked later shall not have the page.
    pub fn keep_from_later_children(&mut self) {
        // Where the kernel refuses, they have a page that nobody reads.
        let _ = self.0.keep_to_this_process();
    }

    /// The supervisor: the instance that began to wait at `since` may start.
    pub fn grant_start(&self, since: u64) {
        self.answer(Word::StartGranted, since);
    }

    /// The supervisor: the phase that the instance entered at `since` can be read in cmap.
    pub fn ack_published(&self, since: u64) {
        self.answer(Word::Published, since);
    }

    fn answer(&self, word: Word, since: u64) {
        self.word(word).store(since, Ordering::Release);
        let answers = &self.0.futexes()[ANSWERS];
        answers.fetch_add(1, Ordering::Release);
        futex::wake_all(answers);
    }

    /// The instance: waits, `timeout` ns at most and until a signal arrives at most, for grant_start(). Whether it has
    /// come.
    pub fn wait_for_start_grant(&self, since: u64, timeout: u64) -> bool {
        self.wait_for_answer(Word::StartGranted, timeout, |granted| granted == since)
    }

    /// The instance: as wait_for_start_grant(), for ack_published() of this phase or of a later one, which another thread or a
    /// signal handler may have entered.
    pub fn wait_until_published(&self, since: u64, timeout: u64) -> bool {
        self.wait_for_answer(Word::Published, timeout, |published| published >= since)
    }

    fn wait_for_answer(&self, word: Word, timeout: u64, is_answer: impl Fn(u64) -> bool) -> bool {
        let has_arrived = || is_answer(self.word(word).load(Ordering::Acquire));
        let answers = &self.0.futexes()[ANSWERS];
        let seen = answers.load(Ordering::Acquire);
        if !has_arrived() {
            futex::wait(answers, seen, Some(timeout));
        }
        has_arrived()
    }

    /// Notes that the instance, or a process that it forked, has forked. Called in the new process.
    pub fn note_fork(&self) {
        self.word(Word::Forked).store(1, Ordering::Release);
    }

    /// Returns `true` if the instance, or a process that it forked, has ever forked.
    pub fn has_forked(&self) -> bool {
        self.word(Word::Forked).load(Ordering::Acquire) != 0
    }

    /// A process that the instance forked has called the library. Called by that process; `pid` is its own.
    pub fn claim(&self, pid: i32) {
        self.word(Word::Claimant).store(pid as u64, Ordering::Release);
    }

    /// Returns the pid in the last claim, if there was one. The page may name any process.
    pub fn claimant(&self) -> Option<i32> {
        let pid = self.word(Word::Claimant).load(Ordering::Acquire);
        i32::try_from(pid).ok().filter(|&pid| pid > 0)
    }

    /// The supervisor adopted `pid`: that process is the instance from now on.
    pub fn set_adopted(&self, pid: i32) {
        // Its pid may be another's when it has ended.
        self.word(Word::Claimant).store(0, Ordering::Relaxed);
        self.word(Word::Adopted).store(pid as u64, Ordering::Release);
    }

    /// Returns `true` if the supervisor adopted `pid`. Called by that process.
    pub fn is_adopted(&self, pid: i32) -> bool {
        self.word(Word::Adopted).load(Ordering::Acquire) == pid as u64
    }

    /// The supervisor does not look at the page any more. Processes that the instance left behind are told that nobody
    /// supervises them.
    pub fn close(&self) {
        self.0.lifeline().mark();
    }

    /// Reads the page. Take the time afterwards: what is stamped later than that was never true.
    pub fn view(&self) -> View {
        View::of(|word| self.0.words()[word].load(Ordering::Acquire))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_page_is_a_registered_instance_that_never_spoke() {
        let view = ControlPage::new(15).unwrap().view();
        let expected = View {
            phase: Phase::Registered,
            since: 0,
            heartbeat: 0,
            unhealthy: 0,
            warn_signal: 15,
            marked_failed: false,
        };
        assert_eq!(view, expected);
    }

    #[test]
    fn phase_and_time_travel_in_one_word() {
        let page = ControlPage::new(0).unwrap();
        for phase in [Phase::Started, Phase::Stopped, Phase::Finalized, Phase::Waiting, Phase::Registered] {
            page.enter(phase, 123_456_789_012_345);
            let view = page.view();
            assert_eq!((view.phase, view.since), (phase, 123_456_789_012_345));
        }
    }

    #[test]
    fn the_supervisor_is_there_while_its_thread_lives() {
        let page = ControlPage::new(0).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                page.0.lifeline().take();
                page.hold_lifeline();
                assert!(!page.supervisor_is_gone());
            });
        });
        // The kernel marks the word while the thread goes; a joined thread may have a moment left.
        while !page.supervisor_is_gone() {
            std::thread::yield_now();
        }
    }
}
