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

/// The index of each 64-bit word on the page that the supervisor and the cluster helper share.
#[derive(Clone, Copy)]
enum Word {
    Requested = 0,
    SignOfLife = 8,
    Quorum = 9,
    Published = 10,
    CorosyncLost = 11,
}

/// The quorum of the cluster partition of this machine, as far as the cluster helper knows from corosync.
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

/// The page of memory through which the supervisor and its cluster helper exchange words: requests in one direction,
/// reports in the other. No instance has it.
#[derive(Debug)]
pub struct Mailbox(SharedPage);

/// The memory shared with the cluster helper, as the supervisor uses it: it stores requests and reads reports.
#[derive(Debug, Clone, Copy)]
pub struct SupervisorEnd<'a>(&'a Mailbox);

/// The memory shared with the supervisor, as the cluster helper uses it: it reads requests and stores reports.
#[derive(Debug, Clone, Copy)]
pub struct HelperEnd<'a>(&'a Mailbox);

/// A report of the cluster helper to the supervisor: the state of the cluster, and of cmap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterReport {
    /// The quorum of the cluster partition, as far as the cluster helper knows.
    pub quorum: QuorumState,
    /// The state of the program that corosync's cmap shows. `None` if the cluster helper does not know: it has not
    /// written one yet, or is writing one now.
    pub published: Option<CmapState>,
    /// `true` if the cluster helper has lost the connection to corosync, or has not made it yet.
    pub lost: bool,
}

impl Mailbox {
    /// Maps the page that supervisor and cluster helper share. It contains no request and no report.
    ///
    /// # Errors
    /// The kernel refused the memory.
    pub fn new() -> nix::Result<Mailbox> {
        SharedPage::new().map(Mailbox)
    }

    /// Returns the shared memory for use by the supervisor, which stores requests and reads reports.
    pub fn supervisor_end(&self) -> SupervisorEnd<'_> {
        SupervisorEnd(self)
    }

    /// Returns the shared memory for use by the cluster helper, which reads requests and stores reports.
    pub fn helper_end(&self) -> HelperEnd<'_> {
        HelperEnd(self)
    }

    fn word(&self, word: Word) -> &AtomicU64 {
        &self.0.words()[word as usize]
    }

    fn requested(&self) -> Option<CmapRecord> {
        CmapRecord::from_word(self.word(Word::Requested).load(SeqCst))
    }

    /// Returns `true` if the supervisor has asked the cluster helper to show in cmap how it ended, and cmap does not
    /// show that yet. The cluster helper lives on until it does.
    pub fn owes_final_state(&self) -> bool {
        let last = self.requested().map(|record| record.state);
        matches!(last, Some(CmapState::Failed | CmapState::Gone)) && last != self.report().published
    }

    /// Returns the latest report of the cluster helper, which is in the shared memory.
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
    /// Asks the cluster helper to write `record` to corosync's cmap, as soon as corosync allows it.
    pub fn request(self, record: CmapRecord) {
        self.0.word(Word::Requested).store(record.to_word(), SeqCst);
    }

    /// Stores the present time as the helper's last sign of life. Called by the supervisor just before it forks a
    /// cluster helper, so that the new process has the usual time until it is taken for blocked.
    pub fn expect_new_helper(self) {
        self.0.record_sign_of_life();
    }

    /// Returns the time at which the cluster helper last went through its loop. The supervisor takes a helper for
    /// blocked if that is too long ago.
    pub fn last_sign_of_life(self) -> MonotonicTime {
        MonotonicTime::from_ns(self.0.word(Word::SignOfLife).load(SeqCst))
    }

    /// Waits until the cluster helper has tried its first connection to corosync, for `timeout` at most. Returns the
    /// result of that attempt, or `None` after the timeout.
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
    /// Returns the state and the heartbeat time that the supervisor asks the cluster helper to write to cmap. `None`:
    /// the supervisor has not asked yet.
    pub fn requested(self) -> Option<CmapRecord> {
        self.0.requested()
    }

    /// Returns `true` if the supervisor has asked the cluster helper to show in cmap how it ended, and cmap does not
    /// show that yet.
    pub fn owes_final_state(self) -> bool {
        self.0.owes_final_state()
    }

    /// Returns the report that is stored in the shared memory. This cluster helper has written it, or an earlier one
    /// that the supervisor has replaced.
    pub fn report(self) -> ClusterReport {
        self.0.report()
    }

    /// Stores whether the cluster partition is quorate. The supervisor reads it as a part of the report.
    pub fn set_quorum(self, quorum: QuorumState) {
        self.0.word(Word::Quorum).store(quorum as u64, SeqCst);
    }

    /// Stores the state that cmap shows, for the supervisor. The cluster helper stores `None` before it reads a request
    /// and writes that to cmap. So if the supervisor requests a state and then finds it stored here, cmap shows it.
    pub fn set_published(self, state: Option<CmapState>) {
        self.0.word(Word::Published).store(state.map_or(0, |state| state as u64), SeqCst);
    }

    /// Stores the present time as the cluster helper's sign of life. The helper calls this each time it goes through
    /// its loop. A helper that corosync blocks does not.
    pub fn record_sign_of_life(self) {
        self.0.record_sign_of_life();
    }

    /// Stores whether the cluster helper is without a connection to corosync. The supervisor logs the loss and the
    /// return.
    pub fn set_lost(self, lost: bool) {
        self.0.word(Word::CorosyncLost).store(lost.into(), SeqCst);
    }

    /// Stores the result of the first attempt to connect to corosync, and wakes the supervisor or `sam_initialize`,
    /// which waits for it. Does nothing if a result is stored already.
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
