//! The page between the supervisor and the process that talks to corosync for it: one writes what it wants to be
//! shown, the other what it found. Neither ever waits for the other. No instance has it.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::record::{Record, State};
use crate::sys::client_library::Refusal;
use crate::sys::shared_page::SharedPage;
use crate::sys::{clock, futex};

/// Where each word is on the page.
#[derive(Clone, Copy)]
enum Word {
    Wanted = 0,
    Alive = 8,
    Quorum = 9,
    Shown = 10,
    Lost = 11,
}

/// What is known of the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quorum {
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
pub struct Desk(SharedPage);

/// What the supervisor finds there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// What is known of the partition.
    pub quorum: Quorum,
    /// The state that can be read in cmap.
    pub shown: Option<State>,
    /// Whether corosync was lost, and is not back yet.
    pub lost: bool,
}

impl Desk {
    /// An empty desk.
    pub fn new() -> nix::Result<Desk> {
        SharedPage::new().map(Desk)
    }

    fn word(&self, word: Word) -> &AtomicU64 {
        &self.0.words()[word as usize]
    }

    /// The supervisor wants this to be shown.
    pub fn want(&self, record: Record) {
        self.word(Word::Wanted).store(record.to_word(), SeqCst);
    }

    /// What the supervisor wants to be shown.
    pub fn wanted(&self) -> Option<Record> {
        Record::from_word(self.word(Word::Wanted).load(SeqCst))
    }

    /// Whether the supervisor's end is to be shown, and is not shown yet.
    pub fn is_owing(&self) -> bool {
        let last = self.wanted().map(|record| record.state);
        matches!(last, Some(State::Failed | State::Gone)) && last != self.report().shown
    }

    /// What the other side has found and done.
    pub fn report(&self) -> Report {
        Report {
            quorum: match self.word(Word::Quorum).load(SeqCst) {
                1 => Quorum::Yes,
                2 => Quorum::No,
                3 => Quorum::Gone,
                _ => Quorum::Unknown,
            },
            shown: State::from_word(self.word(Word::Shown).load(SeqCst)),
            lost: self.word(Word::Lost).load(SeqCst) != 0,
        }
    }

    /// Says what is known of the partition.
    pub fn set_quorum(&self, quorum: Quorum) {
        self.word(Word::Quorum).store(quorum as u64, SeqCst);
    }

    /// Says what state can be read in cmap; None while that changes. To be said before wanted() is read: so the
    /// supervisor that wants another state, and then finds it shown, can rely on it.
    pub fn set_shown(&self, state: Option<State>) {
        self.word(Word::Shown).store(state.map_or(0, |state| state as u64), SeqCst);
    }

    /// Shows that the other side gets on with its work.
    pub fn sign_of_life(&self) {
        self.word(Word::Alive).store(clock::now(), SeqCst);
    }

    /// When the other side last got on with its work.
    pub fn last_sign_of_life(&self) -> u64 {
        self.word(Word::Alive).load(SeqCst)
    }

    /// Says whether corosync is lost.
    pub fn set_lost(&self, lost: bool) {
        self.word(Word::Lost).store(lost.into(), SeqCst);
    }

    /// Says how the first connection went.
    pub fn set_verdict(&self, verdict: Result<(), Refusal>) {
        let word = match verdict {
            Ok(()) => CONNECTED,
            Err(Refusal::Code(code)) => code as u32,
            Err(Refusal::Missing) => MISSING,
        };
        let verdict = &self.0.futexes()[0];
        if verdict.compare_exchange(PENDING, word, SeqCst, SeqCst).is_ok() {
            futex::wake_all(verdict);
        }
    }

    /// Waits for the verdict, `patience` ns at most.
    pub fn verdict(&self, patience: u64) -> Option<Result<(), Refusal>> {
        let deadline = clock::now() + patience;
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
