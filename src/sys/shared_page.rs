//! One page of memory that this process shares with the processes it forks, and with nobody else.

use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// How the page is divided: whatever it is used for, it holds atomic words only, so no content is invalid and
/// no write by another process a data race.
#[repr(C)]
struct Layout {
    words: [AtomicU64; SharedPage::WORDS],
    futexes: [AtomicU32; SharedPage::FUTEXES],
    lifeline: super::lifeline::Cord,
}

/// A zeroed page, mapped MAP_SHARED. Forked processes see the same words at the same address.
#[derive(Debug)]
pub struct SharedPage(NonNull<Layout>);

// SAFETY: the page holds nothing but atomics, and the mapping belongs to the process, not to a thread.
unsafe impl Send for SharedPage {}
// SAFETY: as above.
unsafe impl Sync for SharedPage {}

impl SharedPage {
    /// 64 bit words in a page.
    pub const WORDS: usize = 128;
    /// 32 bit words in a page, fit for futexes.
    pub const FUTEXES: usize = 64;

    /// Maps a page of zeros.
    pub fn new() -> nix::Result<SharedPage> {
        let length = const { NonZeroUsize::new(size_of::<Layout>()).unwrap() };
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let address = unsafe {
            mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED)?
        };
        Ok(SharedPage(address.cast()))
    }

    fn layout(&self) -> &Layout {
        // SAFETY: the mapping is as large as Layout, page aligned, lives as long as self, and any bytes are a
        // valid Layout, as it is made of atomics.
        unsafe { self.0.as_ref() }
    }

    /// The 64 bit words.
    #[inline]
    pub fn words(&self) -> &[AtomicU64; SharedPage::WORDS] {
        &self.layout().words
    }

    /// The 32 bit words.
    #[inline]
    pub fn futexes(&self) -> &[AtomicU32; SharedPage::FUTEXES] {
        &self.layout().futexes
    }

    /// Where the kernel marks the end of the process that holds the lifeline.
    #[inline]
    pub fn lifeline(&self) -> &super::lifeline::Cord {
        &self.layout().lifeline
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        self.lifeline().let_go();
        // SAFETY: the mapping was made by new(), and every borrow of it ended with self. A failure leaves it
        // mapped, which harms nobody.
        let _ = unsafe { munmap(self.0.cast(), size_of::<Layout>()) };
    }
}

const _: () = assert!(size_of::<Layout>() <= 4096);
