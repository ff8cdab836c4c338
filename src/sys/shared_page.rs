//! One page of memory that this process shares with the processes it forks, and with whoever may look into a file of
//! its own.

use std::ffi::CStr;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use nix::unistd::ftruncate;

use super::process;

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
pub struct SharedPage {
    layout: NonNull<Layout>,
    place: Option<u64>,
    /// The process that has it alone, where one has.
    keeper: Option<i32>,
}

// SAFETY: the page holds nothing but atomics, and the mapping belongs to the process, not to a thread.
unsafe impl Send for SharedPage {}
// SAFETY: as above.
unsafe impl Sync for SharedPage {}

impl SharedPage {
    /// 64 bit words in a page.
    pub const WORDS: usize = 128;
    /// 32 bit words in a page, fit for futexes.
    pub const FUTEXES: usize = 64;

    const LENGTH: NonZeroUsize = NonZeroUsize::new(size_of::<Layout>()).unwrap();
    const PROTECTION: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

    /// Maps a page of zeros.
    pub fn new() -> nix::Result<SharedPage> {
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let address = unsafe { mmap_anonymous(None, Self::LENGTH, Self::PROTECTION, MapFlags::MAP_SHARED)? };
        Ok(SharedPage { layout: address.cast(), place: None, keeper: None })
    }

    /// Where in a PageFile it is.
    pub fn place(&self) -> Option<u64> {
        self.place
    }

    /// Keeps the page from the processes that this one forks.
    /// A forked process can do nothing with it but drop it.
    pub fn keep_to_this_process(&mut self) -> nix::Result<()> {
        // SAFETY: nobody reads it in a forked process, which has no such page.
        unsafe { madvise(self.layout.cast(), size_of::<Layout>(), MmapAdvise::MADV_DONTFORK)? };
        self.keeper = Some(process::own_pid());
        Ok(())
    }

    fn layout(&self) -> &Layout {
        // SAFETY: the mapping is as large as Layout, page aligned, lives as long as self, and any bytes are a
        // valid Layout, as it is made of atomics.
        unsafe { self.layout.as_ref() }
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
        if self.keeper.is_some_and(|keeper| keeper != process::own_pid()) {
            return;
        }
        self.lifeline().let_go();
        // SAFETY: the mapping was made by new(), and every borrow of it ended with self. A failure leaves it
        // mapped, which harms nobody.
        let _ = unsafe { munmap(self.layout.cast(), size_of::<Layout>()) };
    }
}

const _: () = assert!(size_of::<Layout>() <= PageFile::PAGE as usize);

/// A file of pages, in memory. Its descriptor is close-on-exec.
#[derive(Debug)]
pub struct PageFile {
    fd: OwnedFd,
    /// The place of the next page.
    next: u64,
}

impl PageFile {
    /// Bytes from one place to the next. Also where the system's pages are larger, one instance never maps the page
    /// of another.
    pub const PAGE: u64 = 65536;
    /// Room for more pages than are ever made; there is memory behind those in use only.
    const LENGTH: i64 = 1 << 56;

    /// Makes a file. `name` shows in /proc.
    pub fn create(name: &CStr) -> nix::Result<PageFile> {
        let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        let fd = super::above_standard(fd)?;
        ftruncate(&fd, Self::LENGTH).inspect_err(|&errno| {
            if errno == Errno::EFBIG {
                super::signals::forget_pending(libc::SIGXFSZ);
            }
        })?;
        // Nobody who may look into it can cut it short.
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
        Ok(PageFile { fd, next: 0 })
    }

    /// A page of zeros at a place that none had before.
    pub fn page(&mut self) -> nix::Result<SharedPage> {
        let place = self.next;
        let offset = i64::try_from(place * Self::PAGE).map_err(|_| Errno::EOVERFLOW)?;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let address = unsafe {
            mmap(None, SharedPage::LENGTH, SharedPage::PROTECTION, MapFlags::MAP_SHARED, &self.fd, offset)?
        };
        self.next += 1;
        Ok(SharedPage { layout: address.cast(), place: Some(place), keeper: None })
    }

    /// Frees the memory behind a place.
    pub fn free(&self, place: u64) {
        let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        // Where that is refused the page stays.
        let _ = fallocate(&self.fd, how, (place * Self::PAGE) as i64, Self::PAGE as i64);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn pages_of_a_file_are_apart_can_be_read_in_it_and_leave_no_memory() {
        let mut pages = PageFile::create(c"sam-test").unwrap();
        let file = std::fs::File::from(pages.fd.try_clone().unwrap());
        for expected in 0..100 {
            let page = pages.page().unwrap();
            let place = page.place().unwrap();
            assert_eq!((place, page.words()[1].load(Ordering::Relaxed)), (expected, 0));
            page.words()[1].store(place + 7, Ordering::Relaxed);
            let mut word = [0; 8];
            file.read_exact_at(&mut word, place * PageFile::PAGE + 8).unwrap();
            assert_eq!(u64::from_ne_bytes(word), place + 7);
            drop(page);
            pages.free(place);
        }
        assert_eq!(file.metadata().unwrap().blocks(), 0);
        assert!(file.set_len(0).is_err() && file.set_len(1 << 57).is_err());
    }
}
