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

/// The index of the futex on which a spare, a process forked in advance, waits. The supervisor sets it from 0 to 1 when
/// the spare is to become the instance.
const RELEASE: usize = 0;
/// The index of the futex on which an instance waits in `sam_start`, `sam_stop` and `sam_finalize`. It counts the
/// supervisor's answers to requests of the instance: start granted, and state published in cmap.
const ANSWERS: usize = 1;
/// The index of the futex on which the supervisor waits for a spare, a process forked in advance. The spare sets it
/// from 0 to 1 when it has become the instance.
const TAKEN_OVER: usize = 2;

/// The page of memory that one instance and its supervisor share, before the fork. After the fork the new process turns
/// it into an [`InstanceEnd`], and the supervisor turns it into a [`SupervisorEnd`].
#[derive(Debug)]
pub struct ControlPage(SharedPage);

/// The page shared with the supervisor, as the instance and the processes that it forks use it: they store heartbeats
/// and requests, and read answers.
#[derive(Debug)]
pub struct InstanceEnd(SharedPage);

/// The page shared with one instance, as the supervisor uses it: it reads heartbeats and requests, and stores answers.
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
    /// Maps a new control page, full of zeros, that is no file, so that sam-status cannot read it. Called by the
    /// supervisor before it forks the next instance.
    ///
    /// # Errors
    /// The kernel refused the memory.
    pub fn new() -> nix::Result<ControlPage> {
        SharedPage::new().map(ControlPage::on)
    }

    /// Makes a control page of `page`, which contains zeros. Stores the calling thread, the supervisor's, as the one
    /// whose end marks the page, so that the instance notices the end of its supervisor.
    pub fn on(page: SharedPage) -> ControlPage {
        page.lifeline().take();
        ControlPage(page)
    }

    /// Stores the number of the signal that warns the instance, 0 for no warning. Called by the supervisor before it
    /// forks the instance.
    pub fn set_warn_signal(&self, number: i32) {
        set_warn_signal(&self.0, number);
    }

    /// Has the kernel mark this page when the calling thread, the supervisor's, ends. By that mark the instance notices
    /// the end of its supervisor, see [`InstanceEnd::supervisor_is_gone`].
    pub fn hold_lifeline(&self) {
        self.0.lifeline().hold();
    }

    /// Returns the control page for use by the instance. Called in the new process after the fork. Closes the file
    /// descriptor of the page, which only the supervisor needs.
    pub fn into_instance_end(mut self) -> InstanceEnd {
        self.0.close_file();
        InstanceEnd(self.0)
    }

    /// Returns the control page for use by the supervisor. Called in the supervisor after it has forked the instance.
    /// Processes that are forked later do not inherit the page, so a later instance cannot write to it.
    pub fn into_supervisor_end(mut self) -> SupervisorEnd {
        // Where the kernel refuses, later children have a page that they never read.
        let _ = self.0.keep_to_this_process();
        SupervisorEnd(self.0)
    }

    /// Returns one control page as both instance and supervisor use it, in two mappings, as the two processes have it.
    /// For tests and fuzzing, which act for both sides in one process.
    #[cfg(any(test, fuzzing, loom))]
    pub fn both_ends() -> (InstanceEnd, SupervisorEnd) {
        let (instance, supervisor) = SharedPage::mapped_twice();
        supervisor.lifeline().take();
        (InstanceEnd(instance), SupervisorEnd(supervisor))
    }
}

impl InstanceEnd {
    /// Returns the memory of the control page, so that a test or fuzz target can store any words on it, as a hostile
    /// instance can.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn page(&self) -> &SharedPage {
        &self.0
    }

    /// Returns `true` if the supervisor has ended. Also `true` in a process that outlived its instance, once the
    /// supervisor has reaped that instance and supervises this page no more.
    #[inline]
    pub fn supervisor_is_gone(&self) -> bool {
        self.0.lifeline().is_marked()
    }

    /// Stores `now` as the time of the instance's last heartbeat. The supervisor reads it at its next wake-up.
    #[inline]
    pub fn heartbeat(&self, now: MonotonicTime) {
        word(&self.0, Word::Heartbeat).store(now.as_ns(), Ordering::Release);
    }

    /// Stores that the instance entered the phase `phase`, such as started or stopped health checking, at the time
    /// `now`. The supervisor reads it at its next wake-up.
    pub fn enter(&self, phase: Phase, now: MonotonicTime) {
        word(&self.0, Word::Phase).store(phase.since(now), Ordering::Release);
    }

    /// Stores that the application's health check callback returned "unhealthy" at `now`. The supervisor then begins
    /// the recovery of this instance.
    pub fn report_unhealthy(&self, now: MonotonicTime) {
        word(&self.0, Word::Unhealthy).store(now.as_ns(), Ordering::Release);
    }

    /// Stores the number of the signal that warns the instance, 0 for no warning. The supervisor sends this signal
    /// before it kills the instance.
    pub fn set_warn_signal(&self, number: i32) {
        set_warn_signal(&self.0, number);
    }

    /// Returns the number of the signal that warns the instance, 0 for no warning.
    pub fn warn_signal(&self) -> i32 {
        word(&self.0, Word::WarnSignal).load(Ordering::Acquire) as i32
    }

    /// Stores that the instance called `sam_mark_failed`, so the supervisor does not start another instance.
    pub fn mark_failed(&self) {
        word(&self.0, Word::MarkedFailed).store(1, Ordering::Release);
    }

    /// Blocks the calling process, a spare that was forked in advance, until the supervisor lets it become the
    /// instance. Returns the instance id that the supervisor has given it.
    pub fn wait_for_release(&self) -> u32 {
        let release = &self.0.futexes()[RELEASE];
        while release.load(Ordering::Acquire) == 0 {
            futex::wait(release, 0, None);
        }
        word(&self.0, Word::Id).load(Ordering::Relaxed) as u32
    }

    /// Tells the supervisor that the calling process, a spare that was forked in advance, has become the instance.
    pub fn confirm_takeover(&self) {
        let taken_over = &self.0.futexes()[TAKEN_OVER];
        taken_over.store(1, Ordering::Release);
        futex::wake_all(taken_over);
    }

    /// Waits until the supervisor allows this instance to start health checking, for `timeout` at most or until a
    /// signal arrives. Returns `true` if it does. `since` is the time at which the instance began to wait for quorum; a
    /// grant for an earlier wait does not count.
    pub fn wait_for_start_grant(&self, since: MonotonicTime, timeout: Duration) -> bool {
        self.wait_for_answer(Word::StartGranted, timeout, |granted| granted == since.as_ns())
    }

    /// Waits until corosync's cmap shows the phase, such as started, that the instance entered at `since`. Ends early
    /// after `timeout` or when a signal arrives. Returns `true` if cmap shows that phase or a later one, which another
    /// thread or a signal handler may have entered.
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

    /// Stores on the control page that the instance has forked a process, or a process that it forked has. Called in
    /// the new process. The supervisor then looks for a successor if the instance exits with 0.
    pub fn note_fork(&self) {
        word(&self.0, Word::Forked).store(1, Ordering::Release);
    }

    /// Stores `pid`, the pid of the calling process, on the control page. The process was forked from the instance and
    /// has called the library. If the instance exits with 0, the supervisor makes this process the instance.
    pub fn claim(&self, pid: i32) {
        word(&self.0, Word::Claimant).store(pid as u64, Ordering::Release);
    }

    /// Returns `true` if the supervisor has made the calling process, whose pid is `pid`, the instance. The process was
    /// forked from an earlier one, which exited with 0.
    pub fn is_adopted(&self, pid: i32) -> bool {
        word(&self.0, Word::Adopted).load(Ordering::Acquire) == pid as u64
    }
}

impl SupervisorEnd {
    /// Returns the descriptor number and the inode of the control page, by which sam-status opens it. `None` if the
    /// page is no file.
    pub fn location(&self) -> Option<PageLocation> {
        let (descriptor, inode) = self.0.file()?;
        Some(PageLocation { descriptor, inode })
    }

    /// Returns the phase, the times and the other values that the instance has stored on the page. Read the clock after
    /// this call: a later timestamp on the page is forged.
    pub fn view(&self) -> View {
        View::of(|word| self.0.words()[word].load(Ordering::Acquire))
    }

    /// Has the kernel mark this page when the calling thread, the supervisor's, ends, so that the instance notices it.
    /// The kernel marks the page of one instance only: the one for which this was called last.
    pub fn hold_lifeline(&self) {
        self.0.lifeline().hold();
    }

    /// Lets the process that waits on this page, a spare that was forked in advance, become the instance `id`.
    /// `warn_signal` is the number of the signal that is to warn it, 0 for none.
    pub fn release(&self, id: u32, warn_signal: i32) {
        set_warn_signal(&self.0, warn_signal);
        word(&self.0, Word::Id).store(u64::from(id), Ordering::Relaxed);
        let release = &self.0.futexes()[RELEASE];
        release.store(1, Ordering::Release);
        futex::wake_all(release);
    }

    /// Returns `true` if the spare, a process forked in advance, has become the instance after
    /// [`release`](SupervisorEnd::release).
    pub fn took_over(&self) -> bool {
        self.0.futexes()[TAKEN_OVER].load(Ordering::Acquire) != 0
    }

    /// Blocks the supervisor until the spare, a process forked in advance, has become the instance, for `timeout` at
    /// most. May return early, so the caller asks [`took_over`](SupervisorEnd::took_over) for the outcome.
    pub fn wait_for_takeover(&self, timeout: Duration) {
        futex::wait(&self.0.futexes()[TAKEN_OVER], 0, Some(timeout));
    }

    /// Allows the instance to start health checking: wakes its call of `sam_start`, which has waited for quorum since
    /// the time `since`. That time is on the page, and identifies the call.
    pub fn grant_start(&self, since: MonotonicTime) {
        self.answer(Word::StartGranted, since);
    }

    /// Tells the instance that corosync's cmap shows the phase of health checking that it entered at `since`. Wakes a
    /// call of `sam_start`, `sam_stop` or `sam_finalize` that waits for this. The time is on the page, and identifies
    /// the phase.
    pub fn ack_published(&self, since: MonotonicTime) {
        self.answer(Word::Published, since);
    }

    fn answer(&self, answer: Word, since: MonotonicTime) {
        word(&self.0, answer).store(since.as_ns(), Ordering::Release);
        EventCount(&self.0.futexes()[ANSWERS]).notify();
    }

    /// Returns `true` if the instance, or a process that it forked, has ever forked a process.
    pub fn has_forked(&self) -> bool {
        word(&self.0, Word::Forked).load(Ordering::Acquire) != 0
    }

    /// Returns the pid of the process that asks to become the instance if the present one exits with 0. `None`: no
    /// process has asked. A hostile instance may name any process.
    pub fn claimant(&self) -> Option<i32> {
        let pid = word(&self.0, Word::Claimant).load(Ordering::Acquire);
        i32::try_from(pid).ok().filter(|&pid| pid > 0)
    }

    /// Stores on the control page that the process `pid` is the instance from now on. The supervisor has found it among
    /// its children after the earlier process of the instance exited with 0.
    pub fn set_adopted(&self, pid: i32) {
        // When the claimant has ended, its pid may become another process's.
        word(&self.0, Word::Claimant).store(0, Ordering::Relaxed);
        word(&self.0, Word::Adopted).store(pid as u64, Ordering::Release);
    }

    /// Marks the control page of an instance that has ended. Processes that the instance left behind read from it that
    /// they are not supervised any more.
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

    /// Returns the time `ns` of the monotonic clock.
    fn at(ns: u64) -> MonotonicTime {
        MonotonicTime::from_ns(ns)
    }

    #[test]
    fn supervisor_reads_what_instance_stores() {
        let (instance, supervisor) = ControlPage::both_ends();
        instance.heartbeat(at(5));
        instance.report_unhealthy(at(7));
        instance.set_warn_signal(10);
        instance.mark_failed();
        let view = supervisor.view();
        assert_eq!((view.heartbeat, view.unhealthy), (Some(at(5)), Some(at(7))));
        assert_eq!((view.warn_signal, view.marked_failed), (10, true));
        assert_eq!(instance.warn_signal(), 10);
    }

    #[test]
    fn instance_starts_with_the_warning_signal_that_was_set_before_the_fork() {
        let page = ControlPage::new().unwrap();
        page.set_warn_signal(15);
        assert_eq!(page.into_instance_end().warn_signal(), 15);
    }

    #[test]
    fn page_that_is_held_before_the_fork_is_marked_when_the_thread_ends() {
        let page = std::thread::spawn(|| {
            let page = ControlPage::new().unwrap();
            page.hold_lifeline();
            page.into_instance_end()
        });
        let instance = page.join().unwrap();
        while !instance.supervisor_is_gone() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn page_in_a_file_has_a_location_and_another_page_has_none() {
        let page = ControlPage::on(SharedPage::in_file(c"test").unwrap()).into_supervisor_end();
        let location = page.location().expect("a location");
        let target = std::fs::metadata(format!("/proc/self/fd/{}", location.descriptor)).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::ino(&target), location.inode);
        assert_eq!(ControlPage::new().unwrap().into_supervisor_end().location(), None);
    }

    #[test]
    fn released_spare_gets_id_and_warning_signal_and_confirms() {
        let (instance, supervisor) = ControlPage::both_ends();
        std::thread::scope(|scope| {
            let spare = scope.spawn(|| instance.wait_for_release());
            supervisor.release(7, 12);
            assert_eq!(spare.join().unwrap(), 7);
        });
        assert_eq!(instance.warn_signal(), 12);
        assert!(!supervisor.took_over());
        instance.confirm_takeover();
        assert!(supervisor.took_over());
    }

    #[test]
    fn spare_is_not_released_before_the_supervisor_says_so() {
        let (instance, supervisor) = ControlPage::both_ends();
        let released = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let spare = scope.spawn(|| {
                instance.wait_for_release();
                released.load(Ordering::Acquire)
            });
            // The spare may not have begun to wait yet; the test then cannot fail, but is not wrong.
            std::thread::sleep(Duration::from_millis(10));
            released.store(true, Ordering::Release);
            supervisor.release(1, 0);
            assert!(spare.join().unwrap());
        });
    }

    #[test]
    fn start_is_granted_for_the_wait_that_the_grant_names() {
        let (instance, supervisor) = ControlPage::both_ends();
        let moment = Duration::from_millis(1);
        assert!(!instance.wait_for_start_grant(at(5), moment));
        supervisor.grant_start(at(4));
        assert!(!instance.wait_for_start_grant(at(5), moment));
        supervisor.grant_start(at(5));
        assert!(instance.wait_for_start_grant(at(5), moment));
    }

    #[test]
    fn phase_is_published_once_it_or_a_later_one_is() {
        let (instance, supervisor) = ControlPage::both_ends();
        let moment = Duration::from_millis(1);
        supervisor.ack_published(at(4));
        assert!(!instance.wait_until_published(at(5), moment));
        supervisor.ack_published(at(5));
        assert!(instance.wait_until_published(at(5), moment));
        supervisor.ack_published(at(6));
        assert!(instance.wait_until_published(at(5), moment));
    }

    #[test]
    fn answer_wakes_the_instance_before_its_timeout() {
        let (instance, supervisor) = ControlPage::both_ends();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let deadline = std::time::Instant::now() + Duration::from_secs(600);
                // A wait may also end early, without an answer.
                while !instance.wait_for_start_grant(at(5), Duration::from_secs(600)) {
                    assert!(std::time::Instant::now() < deadline, "the answer woke nobody");
                }
            });
            supervisor.grant_start(at(5));
            waiting.join().unwrap();
        });
    }

    #[test]
    fn process_that_claims_is_adopted_once_and_no_other_is() {
        let (instance, supervisor) = ControlPage::both_ends();
        assert!(!supervisor.has_forked());
        assert_eq!(supervisor.claimant(), None);
        instance.note_fork();
        instance.claim(4711);
        assert!(supervisor.has_forked());
        assert_eq!(supervisor.claimant(), Some(4711));
        assert!(!instance.is_adopted(4711));
        supervisor.set_adopted(4711);
        assert!(instance.is_adopted(4711) && !instance.is_adopted(4712));
        assert_eq!(supervisor.claimant(), None);
    }

    #[test]
    fn claim_that_is_no_pid_is_ignored() {
        let (instance, supervisor) = ControlPage::both_ends();
        for number in [0, -1] {
            instance.claim(number);
            assert_eq!(supervisor.claimant(), None);
        }
        word(&instance.0, Word::Claimant).store(1 << 40, Ordering::Release);
        assert_eq!(supervisor.claimant(), None);
    }

    #[test]
    fn closed_page_tells_processes_left_behind_that_no_supervisor_is_there() {
        let (instance, supervisor) = ControlPage::both_ends();
        supervisor.hold_lifeline();
        assert!(!instance.supervisor_is_gone());
        supervisor.close();
        assert!(instance.supervisor_is_gone());
    }
}
