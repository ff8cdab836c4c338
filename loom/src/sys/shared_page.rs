use std::sync::Arc;

use loom::sync::atomic::{AtomicU32, AtomicU64};

#[derive(Debug)]
pub struct SharedPage(Arc<Layout>);

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

    /// Returns the page as two processes have it.
    pub fn mapped_twice() -> (SharedPage, SharedPage) {
        let page = SharedPage::new().expect("memory");
        let again = SharedPage(Arc::clone(&page.0));
        (page, again)
    }

    /// Returns `None`, because the model has no files.
    pub fn file(&self) -> Option<(i32, u64)> {
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

/// The lifeline, which the models leave out.
pub struct Lifeline;

impl Lifeline {
    pub fn take(&self) {}

    pub fn hold(&self) {}

    pub fn mark(&self) {}

    pub fn is_marked(&self) -> bool {
        false
    }
}
