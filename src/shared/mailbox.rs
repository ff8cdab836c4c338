//! The page that supervisor and cluster helper share. The supervisor stores what cmap is to show, the helper stores
//! what it knows of quorum and what cmap shows. Neither of them ever waits for the other. No instance has the page.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use super::cmap_record::{CmapRecord, CmapState};
use crate::sys::client_library::Refusal;
use crate::sys::shared_page::SharedPage;
use crate::sys::{clock, futex};
use crate::time::MonotonicTime;

/// The place of each word on the page.
#[derive(Clone, Copy)]
enum Word {
    Requested = 0,
    SignOfLife = 8,
    Quorum = 9,
    Published = 10,
    CorosyncLost = 11,
}

/// The quorum of the cluster partition of this machine, as far as the cluster helper knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuorumState {
    /// The cluster helper does not know yet, because corosync has not answered.
    Unknown = 0,
    /// The partition of this machine is quorate.
    Yes = 1,
    /// The partition of this machine is not quorate.
    No = 2,
    /// corosync has ended on this machine. That counts as a loss of quorum.
    Gone = 3,
}

// The word of the result of the first connection is one of these, or an error code of corosync's library.
const PENDING: u32 = 0;
const CONNECTED: u32 = 1;
const LIBRARY_MISSING: u32 = u32::MAX;

/// The page through which the supervisor and its cluster helper exchange words.
#[derive(Debug)]
pub struct Mailbox(SharedPage);

/// The mailbox as the supervisor uses it.
#[derive(Debug, Clone, Copy)]
pub struct SupervisorEnd<'a>(&'a Mailbox);

/// The mailbox as the cluster helper uses it.
#[derive(Debug, Clone, Copy)]
pub struct HelperEnd<'a>(&'a Mailbox);

/// A report of the cluster helper to the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterReport {
    /// The quorum of the cluster partition, as far as the helper knows.
    pub quorum: QuorumState,
    /// The state that cmap shows. `None` if that is not known.
    pub published: Option<CmapState>,
    /// The connection to corosync was lost, and is not back yet.
    pub lost: bool,
}

impl Mailbox {
    /// Makes an empty mailbox.
    ///
    /// # Errors
    /// The kernel refused the memory.
    pub fn new() -> nix::Result<Mailbox> {
        SharedPage::new().map(Mailbox)
    }

    /// Returns the mailbox for use by the supervisor.
    pub fn supervisor_end(&self) -> SupervisorEnd<'_> {
        SupervisorEnd(self)
    }

    /// Returns the mailbox for use by the cluster helper.
    pub fn helper_end(&self) -> HelperEnd<'_> {
        HelperEnd(self)
    }

    fn word(&self, word: Word) -> &AtomicU64 {
        &self.0.words()[word as usize]
    }

    fn requested(&self) -> Option<CmapRecord> {
        CmapRecord::from_word(self.word(Word::Requested).load(SeqCst))
    }

    /// Returns `true` if cmap is to show how the supervisor ended, and does not show that yet.
    pub fn owes_final_state(&self) -> bool {
        let last = self.requested().map(|record| record.state);
        matches!(last, Some(CmapState::Failed | CmapState::Gone)) && last != self.report().published
    }

    /// Returns the latest report of the cluster helper.
    pub fn report(&self) -> ClusterReport {
        ClusterReport {
            quorum: match self.word(Word::Quorum).load(SeqCst) {
                1 => QuorumState::Yes,
                2 => QuorumState::No,
                3 => QuorumState::Gone,
                _ => QuorumState::Unknown,
            },
            published: CmapState::from_word(self.word(Word::Published).load(SeqCst)),
            lost: self.word(Word::CorosyncLost).load(SeqCst) != 0,
        }
    }

    fn record_sign_of_life(&self) {
        self.word(Word::SignOfLife).store(clock::now().as_ns(), SeqCst);
    }
}

impl SupervisorEnd<'_> {
    /// Asks the cluster helper to show `record` in cmap, as soon as corosync allows it.
    pub fn request(self, record: CmapRecord) {
        self.0.word(Word::Requested).store(record.to_word(), SeqCst);
    }

    /// Takes the fork of a new helper, which follows, for its first sign of life.
    pub fn expect_new_helper(self) {
        self.0.record_sign_of_life();
    }

    /// Returns when the helper last completed a round of its work.
    pub fn last_sign_of_life(self) -> MonotonicTime {
        MonotonicTime::from_ns(self.0.word(Word::SignOfLife).load(SeqCst))
    }

    /// Waits until the helper has tried its first connection to corosync, for `timeout` at most. Returns how that went,
    /// or `None` after the timeout.
    pub fn wait_for_connection(self, timeout: Duration) -> Option<Result<(), Refusal>> {
        let result = &self.0.0.futexes()[0];
        let deadline = clock::now() + timeout;
        loop {
            let left = deadline.saturating_since(clock::now());
            match result.load(SeqCst) {
                PENDING if left.is_zero() => return None,
                PENDING => futex::wait(result, PENDING, Some(left)),
                CONNECTED => return Some(Ok(())),
                LIBRARY_MISSING => return Some(Err(Refusal::Missing)),
                code => return Some(Err(Refusal::Code(code as i32))),
            }
        }
    }
}

impl HelperEnd<'_> {
    /// Returns the record that the supervisor has asked to be shown in cmap.
    pub fn requested(self) -> Option<CmapRecord> {
        self.0.requested()
    }

    /// Returns `true` if cmap is to show how the supervisor ended, and does not show that yet.
    pub fn owes_final_state(self) -> bool {
        self.0.owes_final_state()
    }

    /// Returns what this process, or an earlier helper, has stored.
    pub fn report(self) -> ClusterReport {
        self.0.report()
    }

    /// Tells the supervisor whether the partition is quorate.
    pub fn set_quorum(self, quorum: QuorumState) {
        self.0.word(Word::Quorum).store(quorum as u64, SeqCst);
    }

    /// Stores the state that cmap shows, `None` while that changes. To be called before `requested`: a supervisor that
    /// requests a state and then finds it stored here can rely on it.
    pub fn set_published(self, state: Option<CmapState>) {
        self.0.word(Word::Published).store(state.map_or(0, |state| state as u64), SeqCst);
    }

    /// Stores that this process has completed a round of its work.
    pub fn record_sign_of_life(self) {
        self.0.record_sign_of_life();
    }

    /// Stores whether the connection to corosync is lost.
    pub fn set_lost(self, lost: bool) {
        self.0.word(Word::CorosyncLost).store(lost.into(), SeqCst);
    }

    /// Stores the result of the first connection. Later results are ignored.
    pub fn set_connection_result(self, result: Result<(), Refusal>) {
        let value = match result {
            Ok(()) => CONNECTED,
            Err(Refusal::Code(code)) => code as u32,
            Err(Refusal::Missing) => LIBRARY_MISSING,
        };
        let word = &self.0.0.futexes()[0];
        if word.compare_exchange(PENDING, value, SeqCst, SeqCst).is_ok() {
            futex::wake_all(word);
        }
    }
}
