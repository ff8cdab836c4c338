use std::sync::Arc;

use loom::sync::atomic::{AtomicU32, AtomicU64};

#[derive(Debug)]
pub struct SharedPage(Arc<Layout>);

/// There are no files.
#[derive(Debug, Clone, Copy)]
pub struct PageLocation;

#[derive(Debug)]
struct Layout {
    words: [AtomicU64; SharedPage::WORDS],
    futexes: [AtomicU32; SharedPage::FUTEXES],
}

impl SharedPage {
    pub const WORDS: usize = 19;
    pub const FUTEXES: usize = 3;

    pub fn new() -> nix::Result<SharedPage> {
        Ok(SharedPage(super::machine::memory(|| Layout {
            words: std::array::from_fn(|_| AtomicU64::new(0)),
            futexes: std::array::from_fn(|_| AtomicU32::new(0)),
        })))
    }

    pub fn private() -> nix::Result<SharedPage> {
        SharedPage::new()
    }

    pub fn location(&self) -> Option<PageLocation> {
        None
    }

    pub fn close_file(&mut self) {}

    pub fn keep_to_this_process(&mut self) -> nix::Result<()> {
        Ok(())
    }

    pub fn words(&self) -> &[AtomicU64; SharedPage::WORDS] {
        &self.0.words
    }

    pub fn futexes(&self) -> &[AtomicU32; SharedPage::FUTEXES] {
        &self.0.futexes
    }

    pub fn lifeline(&self) -> Lifeline {
        Lifeline
    }
}

/// The kernel's part, which is not modelled.
pub struct Lifeline;

impl Lifeline {
    pub fn take(&self) {}

    pub fn hold(&self) {}

    pub fn mark(&self) {}

    pub fn is_marked(&self) -> bool {
        false
    }
}
