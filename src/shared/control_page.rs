//! The page that one instance and its supervisor share. It is the only protocol between the two.
//!
//! The instance stores single words, and the supervisor reads them when the kernel wakes it. The supervisor always
//! finds a valid state, but does not trust it: a hostile instance may store anything. Each instance has a page of its
//! own, so a process that an earlier instance left running cannot speak for a later one.
//!
//! The supervisor makes a [`ControlPage`] before it forks. After the fork the new process turns it into an
//! [`InstanceEnd`], and the supervisor turns it into a [`SupervisorEnd`].

#![forbid(unsafe_code)]

mod view;

use std::time::Duration;

use view::Word;
pub use view::{Phase, View};

use super::status_page::PageLocation;
use crate::sys::atomic::{AtomicU64, Ordering};
use crate::sys::event_count::EventCount;
use crate::sys::futex;
use crate::sys::shared_page::SharedPage;
use crate::time::MonotonicTime;

/// The futex that a spare waits on: 1 when it is to take over.
const RELEASE: usize = 0;
/// The futex that an instance waits on: counts the supervisor's answers.
const ANSWERS: usize = 1;
/// The futex that the supervisor waits on: 1 when the spare has taken over.
const TAKEN_OVER: usize = 2;

/// A control page before the fork of its instance.
#[derive(Debug)]
pub struct ControlPage(SharedPage);

/// The control page in the instance, and in the processes that the instance forks.
#[derive(Debug)]
pub struct InstanceEnd(SharedPage);

/// The control page as the supervisor uses it.
#[derive(Debug)]
pub struct SupervisorEnd(SharedPage);

#[inline]
fn word(page: &SharedPage, word: Word) -> &AtomicU64 {
    &page.words()[word as usize]
}

fn set_warn_signal(page: &SharedPage, number: i32) {
    word(page, Word::WarnSignal).store(number as u64, Ordering::Release);
}

impl ControlPage {
    /// Makes a control page that is no file, so sam-status cannot read it.
    ///
    /// # Errors
    /// The kernel refused the memory.
    pub fn new() -> nix::Result<ControlPage> {
        SharedPage::new().map(ControlPage::on)
    }

    /// Makes a control page of a page of zeros. The calling thread becomes the one whose end the instance notices.
    pub fn on(page: SharedPage) -> ControlPage {
        page.lifeline().take();
        ControlPage(page)
    }

    /// Sets the signal that warns the instance. 0: no warning.
    pub fn set_warn_signal(&self, number: i32) {
        set_warn_signal(&self.0, number);
    }

    /// Has the kernel mark the page when the calling thread ends, so that the instance notices.
    pub fn hold_lifeline(&self) {
        self.0.lifeline().hold();
    }

    /// Turns the page into the instance's end. To be called in the new process after the fork. Closes the descriptor,
    /// which is for the supervisor alone.
    pub fn into_instance_end(mut self) -> InstanceEnd {
        self.0.close_file();
        InstanceEnd(self.0)
    }

    /// Turns the page into the supervisor's end. To be called after the fork, in the process that forked. Processes
    /// that are forked later do not inherit the page.
    pub fn into_supervisor_end(mut self) -> SupervisorEnd {
        // Where the kernel refuses, later children have a page that they never read.
        let _ = self.0.keep_to_this_process();
        SupervisorEnd(self.0)
    }

    /// Returns both ends of one page, as two processes have them.
    #[cfg(any(test, fuzzing, loom))]
    pub fn both_ends() -> (InstanceEnd, SupervisorEnd) {
        let (instance, supervisor) = SharedPage::mapped_twice();
        supervisor.lifeline().take();
        (InstanceEnd(instance), SupervisorEnd(supervisor))
    }
}

impl InstanceEnd {
    /// Returns all words of the page, as a hostile instance has them.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn page(&self) -> &SharedPage {
        &self.0
    }

    /// Returns `true` if the supervisor has ended, or no longer looks at this page.
    #[inline]
    pub fn supervisor_is_gone(&self) -> bool {
        self.0.lifeline().is_marked()
    }

    /// Stores that the instance was healthy at `now`.
    #[inline]
    pub fn heartbeat(&self, now: MonotonicTime) {
        word(&self.0, Word::Heartbeat).store(now.as_ns(), Ordering::Release);
    }

    /// Stores that the instance entered `phase` at `now`.
    pub fn enter(&self, phase: Phase, now: MonotonicTime) {
        word(&self.0, Word::Phase).store(phase.since(now), Ordering::Release);
    }

    /// Stores that the instance's callback returned "unhealthy" at `now`.
    pub fn report_unhealthy(&self, now: MonotonicTime) {
        word(&self.0, Word::Unhealthy).store(now.as_ns(), Ordering::Release);
    }

    /// Sets the signal that warns the instance. 0: no warning.
    pub fn set_warn_signal(&self, number: i32) {
        set_warn_signal(&self.0, number);
    }

    /// Returns the signal that warns the instance. 0: no warning.
    pub fn warn_signal(&self) -> i32 {
        word(&self.0, Word::WarnSignal).load(Ordering::Acquire) as i32
    }

    /// Stores that the instance called `sam_mark_failed`: it is not to be started again.
    pub fn mark_failed(&self) {
        word(&self.0, Word::MarkedFailed).store(1, Ordering::Release);
    }

    /// Waits until the supervisor releases the calling process, which is the spare. Returns its instance id.
    pub fn wait_for_release(&self) -> u32 {
        let release = &self.0.futexes()[RELEASE];
        while release.load(Ordering::Acquire) == 0 {
            futex::wait(release, 0, None);
        }
        word(&self.0, Word::Id).load(Ordering::Relaxed) as u32
    }

    /// Stores that the spare has taken over, and wakes the supervisor.
    pub fn confirm_takeover(&self) {
        let taken_over = &self.0.futexes()[TAKEN_OVER];
        taken_over.store(1, Ordering::Release);
        futex::wake_all(taken_over);
    }

    /// Waits until the supervisor lets the instance start that began to wait at `since`, for `timeout` at most and
    /// until a signal arrives at most. Returns `true` if the instance may start.
    pub fn wait_for_start_grant(&self, since: MonotonicTime, timeout: Duration) -> bool {
        self.wait_for_answer(Word::StartGranted, timeout, |granted| granted == since.as_ns())
    }

    /// Waits until cmap shows the phase that was entered at `since`, for `timeout` at most and until a signal arrives
    /// at most. Returns `true` if cmap shows that phase or a later one, which another thread or a signal handler may
    /// have entered.
    pub fn wait_until_published(&self, since: MonotonicTime, timeout: Duration) -> bool {
        self.wait_for_answer(Word::Published, timeout, |published| published >= since.as_ns())
    }

    fn wait_for_answer(&self, answer: Word, timeout: Duration, is_awaited: impl Fn(u64) -> bool) -> bool {
        let has_come = || is_awaited(word(&self.0, answer).load(Ordering::Acquire));
        let answers = EventCount(&self.0.futexes()[ANSWERS]);
        let seen = answers.count();
        if !has_come() {
            answers.wait_once(seen, timeout);
        }
        has_come()
    }

    /// Stores that the instance, or a process that it forked, has forked. To be called in the new process.
    pub fn note_fork(&self) {
        word(&self.0, Word::Forked).store(1, Ordering::Release);
    }

    /// Stores that the calling process, whose pid is `pid`, was forked by the instance and has called the library.
    pub fn claim(&self, pid: i32) {
        word(&self.0, Word::Claimant).store(pid as u64, Ordering::Release);
    }

    /// Returns `true` if the supervisor adopted the calling process, whose pid is `pid`.
    pub fn is_adopted(&self, pid: i32) -> bool {
        word(&self.0, Word::Adopted).load(Ordering::Acquire) == pid as u64
    }
}

impl SupervisorEnd {
    /// Returns where sam-status finds the page, if the page is a file.
    pub fn location(&self) -> Option<PageLocation> {
        let (descriptor, inode) = self.0.file()?;
        Some(PageLocation { descriptor, inode })
    }

    /// Returns what the instance has stored. Read the clock after this call: a later timestamp on the page is forged.
    pub fn view(&self) -> View {
        View::of(|word| self.0.words()[word].load(Ordering::Acquire))
    }

    /// Has the kernel mark the page when the calling thread ends, so that the instance notices. The page of any other
    /// instance is not marked any more.
    pub fn hold_lifeline(&self) {
        self.0.lifeline().hold();
    }

    /// Lets the waiting spare take over as instance `id`, to be warned by `warn_signal`.
    pub fn release(&self, id: u32, warn_signal: i32) {
        set_warn_signal(&self.0, warn_signal);
        word(&self.0, Word::Id).store(u64::from(id), Ordering::Relaxed);
        let release = &self.0.futexes()[RELEASE];
        release.store(1, Ordering::Release);
        futex::wake_all(release);
    }

    /// Returns `true` if the spare has taken over.
    pub fn took_over(&self) -> bool {
        self.0.futexes()[TAKEN_OVER].load(Ordering::Acquire) != 0
    }

    /// Leaves the processor to the spare until it has taken over, for `timeout` at most.
    pub fn wait_for_takeover(&self, timeout: Duration) {
        futex::wait(&self.0.futexes()[TAKEN_OVER], 0, Some(timeout));
    }

    /// Lets the instance start that began to wait for quorum at `since`.
    pub fn grant_start(&self, since: MonotonicTime) {
        self.answer(Word::StartGranted, since);
    }

    /// Tells the instance that cmap shows the phase which it entered at `since`.
    pub fn ack_published(&self, since: MonotonicTime) {
        self.answer(Word::Published, since);
    }

    fn answer(&self, answer: Word, since: MonotonicTime) {
        word(&self.0, answer).store(since.as_ns(), Ordering::Release);
        EventCount(&self.0.futexes()[ANSWERS]).notify();
    }

    /// Returns `true` if the instance, or a process that it forked, has ever forked.
    pub fn has_forked(&self) -> bool {
        word(&self.0, Word::Forked).load(Ordering::Acquire) != 0
    }

    /// Returns the pid of the process that last claimed to go on in place of the instance. A hostile instance may name
    /// any process.
    pub fn claimant(&self) -> Option<i32> {
        let pid = word(&self.0, Word::Claimant).load(Ordering::Acquire);
        i32::try_from(pid).ok().filter(|&pid| pid > 0)
    }

    /// Stores that the process `pid` is the instance from now on.
    pub fn set_adopted(&self, pid: i32) {
        // When the claimant has ended, its pid may become another process's.
        word(&self.0, Word::Claimant).store(0, Ordering::Relaxed);
        word(&self.0, Word::Adopted).store(pid as u64, Ordering::Release);
    }

    /// Tells processes that the instance left behind that they are not supervised any more.
    pub fn close(&self) {
        self.0.lifeline().mark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_page_is_a_registered_instance_that_never_spoke() {
        let (instance, supervisor) = ControlPage::both_ends();
        instance.set_warn_signal(15);
        let view = supervisor.view();
        let expected = View {
            phase: Phase::Registered,
            since: MonotonicTime::from_ns(0),
            heartbeat: None,
            unhealthy: None,
            warn_signal: 15,
            marked_failed: false,
        };
        assert_eq!(view, expected);
    }

    #[test]
    fn phase_and_time_travel_in_one_word() {
        let (instance, supervisor) = ControlPage::both_ends();
        for phase in [Phase::Started, Phase::Stopped, Phase::Finalized, Phase::Waiting, Phase::Registered] {
            let since = MonotonicTime::from_ns(123_456_789_012_345);
            instance.enter(phase, since);
            let view = supervisor.view();
            assert_eq!((view.phase, view.since), (phase, since));
        }
    }

    #[test]
    fn the_supervisor_is_there_while_its_thread_lives() {
        let (instance, supervisor) = ControlPage::both_ends();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                supervisor.0.lifeline().take();
                supervisor.hold_lifeline();
                assert!(!instance.supervisor_is_gone());
            });
        });
        // The kernel marks the word while the thread goes; a joined thread may have a moment left.
        while !instance.supervisor_is_gone() {
            std::thread::yield_now();
        }
    }
}
