//! One page of memory that this process shares with the processes it forks, and with those that may look at its
//! descriptors.
//!
//! Each page is a file of its own, named or not: a process that has a mapping of a memory file reaches all of the file
//! through it (mremap(2), remap_file_pages(2)).

use std::ffi::CStr;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use nix::sys::stat::fstat;
use nix::unistd::{Pid, ftruncate};

use super::process;

/// How the page is divided: whatever it is used for, it holds atomic words only, so no content is invalid and
/// no write by another process a data race.
#[repr(C)]
struct Layout {
    words: [AtomicU64; SharedPage::WORDS],
    futexes: [AtomicU32; SharedPage::FUTEXES],
    lifeline: super::lifeline::Lifeline,
}

/// A zeroed page, mapped MAP_SHARED. Forked processes see the same words at the same address.
#[derive(Debug)]
pub struct SharedPage {
    layout: NonNull<Layout>,
    /// The memory file that it is, and the file's inode number.
    file: Option<(OwnedFd, u64)>,
    /// The process that has it alone, where one has.
    sole_owner: Option<Pid>,
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
    /// Bytes of a page's file. No system has smaller pages; where they are larger it is one page all the same.
    const FILE_LENGTH: i64 = 4096;
    const PROTECTION: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

    /// Maps a page of zeros.
    pub fn new() -> nix::Result<SharedPage> {
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let address = unsafe { mmap_anonymous(None, Self::LENGTH, Self::PROTECTION, MapFlags::MAP_SHARED)? };
        Ok(SharedPage { layout: address.cast(), file: None, sole_owner: None })
    }

    /// Maps a page of zeros that this process shares with none: a forked process gets a copy.
    pub fn private() -> nix::Result<SharedPage> {
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let address = unsafe { mmap_anonymous(None, Self::LENGTH, Self::PROTECTION, MapFlags::MAP_PRIVATE)? };
        Ok(SharedPage { layout: address.cast(), file: None, sole_owner: None })
    }

    /// Maps a page of zeros that is a memory file. `name` shows in /proc. The file is exactly one page long, and
    /// sealed so that no process changes that. Its descriptor is close-on-exec.
    pub fn in_file(name: &CStr) -> nix::Result<SharedPage> {
        let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        let fd = super::above_standard(fd)?;
        ftruncate(&fd, Self::FILE_LENGTH).inspect_err(|&errno| {
            if errno == Errno::EFBIG {
                super::signals::forget_pending(super::signals::Signal::XFSZ);
            }
        })?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
        let inode = fstat(&fd)?.st_ino;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let address = unsafe { mmap(None, Self::LENGTH, Self::PROTECTION, MapFlags::MAP_SHARED, &fd, 0)? };
        Ok(SharedPage { layout: address.cast(), file: Some((fd, inode)), sole_owner: None })
    }

    /// Returns the number of the page's descriptor, and the inode number of its file. `None` if the page has no file.
    pub fn file(&self) -> Option<(RawFd, u64)> {
        let (fd, inode) = self.file.as_ref()?;
        Some((fd.as_raw_fd(), *inode))
    }

    /// Returns two mappings of one page of zeros, as two processes have them.
    #[cfg(any(test, fuzzing))]
    pub fn mapped_twice() -> (SharedPage, SharedPage) {
        let page = SharedPage::in_file(c"sam-test").expect("a memory file");
        let (fd, inode) = page.file.as_ref().expect("it is a file");
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let address = unsafe { mmap(None, Self::LENGTH, Self::PROTECTION, MapFlags::MAP_SHARED, fd, 0) };
        let fd = fd.try_clone().expect("a descriptor");
        let layout = address.expect("memory").cast();
        let again = SharedPage { layout, file: Some((fd, *inode)), sole_owner: None };
        (page, again)
    }

    /// Closes the descriptor. The page itself stays.
    pub fn close_file(&mut self) {
        self.file = None;
    }

    /// Keeps the page from the processes that this one forks.
    /// A forked process can do nothing with it but drop it.
    pub fn keep_to_this_process(&mut self) -> nix::Result<()> {
        // SAFETY: nobody reads it in a forked process, which has no such page.
        unsafe { madvise(self.layout.cast(), size_of::<Layout>(), MmapAdvise::MADV_DONTFORK)? };
        self.sole_owner = Some(process::own_pid());
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
    pub fn lifeline(&self) -> &super::lifeline::Lifeline {
        &self.layout().lifeline
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        if self.sole_owner.is_some_and(|sole_owner| sole_owner != process::own_pid()) {
            return;
        }
        self.lifeline().release();
        // SAFETY: the mapping was made by new(), and every borrow of it ended with self. A failure leaves it
        // mapped, which harms nobody.
        let _ = unsafe { munmap(self.layout.cast(), size_of::<Layout>()) };
    }
}

const _: () = assert!(size_of::<Layout>() as i64 <= SharedPage::FILE_LENGTH);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn page_in_file_is_read_through_its_descriptor() {
        let page = SharedPage::in_file(c"sam-test").unwrap();
        let (descriptor, inode) = page.file().unwrap();
        let file = std::fs::File::open(format!("/proc/self/fd/{descriptor}")).unwrap();
        assert_eq!(file.metadata().unwrap().ino(), inode);
        assert_eq!(page.words()[1].load(Ordering::Relaxed), 0);
        page.words()[1].store(7, Ordering::Relaxed);
        let mut word = [0; 8];
        file.read_exact_at(&mut word, 8).unwrap();
        assert_eq!(u64::from_ne_bytes(word), 7);
    }

    #[test]
    fn page_in_file_is_one_page_long_for_ever() {
        let page = SharedPage::in_file(c"sam-test").unwrap();
        let (descriptor, _) = page.file().unwrap();
        let path = format!("/proc/self/fd/{descriptor}");
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let length = SharedPage::FILE_LENGTH as u64;
        assert_eq!(file.metadata().unwrap().len(), length);
        for other in [0, length - 1, length + 1, 1 << 40] {
            assert!(file.set_len(other).is_err(), "{other} bytes");
        }
        assert!(fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).is_err());
    }

    #[test]
    fn page_whose_file_was_closed_has_no_place_and_stays() {
        let mut page = SharedPage::in_file(c"sam-test").unwrap();
        page.words()[0].store(7, Ordering::Relaxed);
        page.close_file();
        assert_eq!((page.file(), page.words()[0].load(Ordering::Relaxed)), (None, 7));
        assert_eq!(SharedPage::new().unwrap().file(), None);
    }
}
