//! The page between the supervisor and the process that talks to corosync for it: one writes what it wants to be
//! shown, the other what it found. Neither ever waits for the other. No instance has it.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::shared::cmap_record::{CmapRecord, CmapState};
use crate::sys::client_library::Refusal;
use crate::sys::shared_page::SharedPage;
use crate::sys::{clock, futex};

/// Where each word is on the page.
#[derive(Clone, Copy)]
enum Word {
    Requested = 0,
    SignOfLife = 8,
    Quorum = 9,
    Published = 10,
    Lost = 11,
}

/// What is known of the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuorumState {
    /// Nothing yet.
    Unknown = 0,
    /// Quorate.
    Yes = 1,
    /// Not quorate.
    No = 2,
    /// corosync is gone, and quorum with it.
    Gone = 3,
}

/// How the first connection went.
const PENDING: u32 = 0;
const CONNECTED: u32 = 1;
const MISSING: u32 = u32::MAX;

/// The page.
#[derive(Debug)]
pub struct Mailbox(SharedPage);

/// What the supervisor finds there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterReport {
    /// What is known of the partition.
    pub quorum: QuorumState,
    /// The state that can be read in cmap.
    pub published: Option<CmapState>,
    /// Whether corosync was lost, and is not back yet.
    pub lost: bool,
}

impl Mailbox {
    /// An empty desk.
    pub fn new() -> nix::Result<Mailbox> {
        SharedPage::new().map(Mailbox)
    }

    fn word(&self, word: Word) -> &AtomicU64 {
        &self.0.words()[word as usize]
    }

    /// The supervisor wants this to be shown.
    pub fn request(&self, record: CmapRecord) {
        self.word(Word::Requested).store(record.to_word(), SeqCst);
    }

    /// What the supervisor wants to be shown.
    pub fn requested(&self) -> Option<CmapRecord> {
        CmapRecord::from_word(self.word(Word::Requested).load(SeqCst))
    }

    /// Whether the supervisor's end is to be shown, and is not shown yet.
    pub fn owes_final_state(&self) -> bool {
        let last = self.requested().map(|record| record.state);
        matches!(last, Some(CmapState::Failed | CmapState::Gone)) && last != self.report().published
    }

    /// What the other side has found and done.
    pub fn report(&self) -> ClusterReport {
        ClusterReport {
            quorum: match self.word(Word::Quorum).load(SeqCst) {
                1 => QuorumState::Yes,
                2 => QuorumState::No,
                3 => QuorumState::Gone,
                _ => QuorumState::Unknown,
            },
            published: CmapState::from_word(self.word(Word::Published).load(SeqCst)),
            lost: self.word(Word::Lost).load(SeqCst) != 0,
        }
    }

    /// Says what is known of the partition.
    pub fn set_quorum(&self, quorum: QuorumState) {
        self.word(Word::Quorum).store(quorum as u64, SeqCst);
    }

    /// Says what state can be read in cmap; None while that changes. To be said before requested() is read: so the
    /// supervisor that wants another state, and then finds it shown, can rely on it.
    pub fn set_published(&self, state: Option<CmapState>) {
        self.word(Word::Published).store(state.map_or(0, |state| state as u64), SeqCst);
    }

    /// Shows that the other side gets on with its work.
    pub fn record_sign_of_life(&self) {
        self.word(Word::SignOfLife).store(clock::now(), SeqCst);
    }

    /// When the other side last got on with its work.
    pub fn last_sign_of_life(&self) -> u64 {
        self.word(Word::SignOfLife).load(SeqCst)
    }

    /// Says whether corosync is lost.
    pub fn set_lost(&self, lost: bool) {
        self.word(Word::Lost).store(lost.into(), SeqCst);
    }

    /// Says how the first connection went.
    pub fn set_connection_result(&self, connection_result: Result<(), Refusal>) {
        let word = match connection_result {
            Ok(()) => CONNECTED,
            Err(Refusal::Code(code)) => code as u32,
            Err(Refusal::Missing) => MISSING,
        };
        let connection_result = &self.0.futexes()[0];
        if connection_result.compare_exchange(PENDING, word, SeqCst, SeqCst).is_ok() {
            futex::wake_all(connection_result);
        }
    }

    /// Waits for the verdict, `timeout` ns at most.
    pub fn connection_result(&self, timeout: u64) -> Option<Result<(), Refusal>> {
        let deadline = clock::now() + timeout;
        loop {
            let left = deadline.saturating_sub(clock::now());
            match self.0.futexes()[0].load(SeqCst) {
                PENDING if left == 0 => return None,
                PENDING => futex::wait(&self.0.futexes()[0], PENDING, Some(left)),
                CONNECTED => return Some(Ok(())),
                MISSING => return Some(Err(Refusal::Missing)),
                code => return Some(Err(Refusal::Code(code as i32))),
            }
        }
    }
}
