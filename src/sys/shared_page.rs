//! One page of memory that this process shares with the processes it forks.
//!
//! A page that is a memory file is also shared with processes that may open this process's descriptors in /proc, such
//! as sam-status.
//!
//! Each page is a file of its own, because a process that has mapped a part of a memory file can reach the rest of it
//! with mremap(2) or remap_file_pages(2). So an instance cannot reach the page of another one.

use std::ffi::CStr;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::after_fork;
use super::large_file::{self, Attributes};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

/// The layout of the memory of a [`SharedPage`], which is the same for all uses.
///
/// It consists of atomic words only. So every content is valid, and a write by another process is no data race.
#[repr(C)]
struct Layout {
    words: [AtomicU64; SharedPage::WORDS],
    futexes: [AtomicU32; SharedPage::FUTEXES],
    lifeline: super::lifeline::Lifeline,
}

/// A mapped page of shared memory, full of zeros at first. Forked processes see the same words at the same address,
/// except as [`keep_to_this_process`](SharedPage::keep_to_this_process) says.
#[derive(Debug)]
pub struct SharedPage {
    layout: NonNull<Layout>,
    /// The descriptor and the inode number of the page's memory file. `None` if the page is no file or the descriptor
    /// is closed.
    file: Option<(OwnedFd, u64)>,
    /// The only process that has the page mapped, as `after_fork::generation` numbers it, if processes that it forks do
    /// not inherit the page. `None` if they do.
    sole_owner: Option<u32>,
}

// SAFETY: the mapping belongs to the process and not to a thread, so any thread may use it and unmap it.
unsafe impl Send for SharedPage {}
// SAFETY: a shared reference gives access to atomic words only.
unsafe impl Sync for SharedPage {}

impl SharedPage {
    /// The number of 64-bit words in the memory of a [`SharedPage`]. They need 1024 bytes; other words of the page
    /// follow.
    pub const WORDS: usize = 128;
    /// The number of 32-bit words in the memory of a [`SharedPage`], which processes can use as futexes, to wake each
    /// other.
    pub const FUTEXES: usize = 64;

    #[allow(clippy::unwrap_used)] // evaluated at compile time, which clippy 1.85 does not consider
    const MAPPED_BYTES: NonZeroUsize = NonZeroUsize::new(size_of::<Layout>()).unwrap();
    /// The size in bytes of the memory file of a [`SharedPage`]. It is 4096 also on machines whose memory pages are
    /// larger. No machine has smaller ones.
    const FILE_BYTES: u64 = 4096;
    const PROTECTION: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);
    /// The page is written soon, and MAP_POPULATE avoids a page fault then.
    const FLAGS: MapFlags = MapFlags::MAP_SHARED.union(MapFlags::MAP_POPULATE);

    /// Maps a page of zeros without a file. Forked processes share it.
    ///
    /// # Errors
    /// The error of mmap(2), such as `ENOMEM`.
    pub fn new() -> nix::Result<SharedPage> {
        // SAFETY: without MAP_FIXED the kernel chooses an unused address, so no existing memory changes.
        let address = unsafe { mmap_anonymous(None, Self::MAPPED_BYTES, Self::PROTECTION, Self::FLAGS)? };
        Ok(SharedPage { layout: address.cast(), file: None, sole_owner: None })
    }

    /// Maps a page of zeros that is a memory file. /proc shows it with `name`, see memfd_create(2).
    ///
    /// The file is exactly one page long. It is sealed, so that no process can change its length: access to a page
    /// beyond the end of a file raises SIGBUS. The descriptor is close-on-exec.
    ///
    /// # Errors
    /// The process has no free descriptor (`EMFILE`), there is not enough memory, or the limit of file sizes is too low
    /// (`EFBIG`, see RLIMIT_FSIZE in getrlimit(2)).
    pub fn in_file(name: &CStr) -> nix::Result<SharedPage> {
        let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        let fd = super::above_standard(fd)?;
        large_file::set_length(&fd, Self::FILE_BYTES).inspect_err(|&errno| {
            if errno == Errno::EFBIG {
                // With EFBIG the kernel also sends SIGXFSZ, which is not for the application.
                super::signals::forget_pending(super::signals::Signal::XFSZ);
            }
        })?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
        let inode = Attributes::of(&fd)?.inode;
        // SAFETY: without MAP_FIXED the kernel chooses an unused address, so no existing memory changes.
        let address = unsafe { mmap(None, Self::MAPPED_BYTES, Self::PROTECTION, Self::FLAGS, &fd, 0)? };
        Ok(SharedPage { layout: address.cast(), file: Some((fd, inode)), sole_owner: None })
    }

    /// Returns the number of the descriptor under which this page is open as a memory file, and the inode number of
    /// that file. `None` if the page is no file or the descriptor is closed.
    pub fn file(&self) -> Option<(RawFd, u64)> {
        let (fd, inode) = self.file.as_ref()?;
        Some((fd.as_raw_fd(), *inode))
    }

    /// Returns two mappings of one page of zeros, so that a test in one process can act for two processes that share
    /// the page.
    #[cfg(any(test, fuzzing))]
    pub fn mapped_twice() -> (SharedPage, SharedPage) {
        let page = SharedPage::in_file(c"sam-test").expect("a memory file");
        let (fd, inode) = page.file.as_ref().expect("the page has a file");
        // SAFETY: without MAP_FIXED the kernel chooses an unused address, so no existing memory changes.
        let address =
            unsafe { mmap(None, Self::MAPPED_BYTES, Self::PROTECTION, MapFlags::MAP_SHARED, fd, 0) };
        let fd = fd.try_clone().expect("a descriptor");
        let layout = address.expect("memory").cast();
        let again = SharedPage { layout, file: Some((fd, *inode)), sole_owner: None };
        (page, again)
    }

    /// Closes the descriptor of this page's memory file, if it has one. The page stays mapped.
    pub fn close_file(&mut self) {
        self.file = None;
    }

    /// Lets processes that are forked later not inherit this page. Such a process must do nothing with this value but
    /// drop it.
    ///
    /// # Errors
    /// The error of madvise(2) with `MADV_DONTFORK`.
    pub fn keep_to_this_process(&mut self) -> nix::Result<()> {
        // SAFETY: MADV_DONTFORK changes nothing in this process. In a forked process the page is not mapped. The
        // callers never access it there, and `drop` returns early there.
        unsafe { madvise(self.layout.cast(), size_of::<Layout>(), MmapAdvise::MADV_DONTFORK)? };
        self.sole_owner = Some(after_fork::generation());
        Ok(())
    }

    fn layout(&self) -> &Layout {
        // SAFETY: the mapping is at least as large as Layout, aligned to a page, and mapped until `drop`. Layout
        // consists of atomics, so all bytes are valid, and changes through other references or by other processes are
        // allowed.
        unsafe { self.layout.as_ref() }
    }

    /// Returns the 64-bit words of the page.
    #[inline]
    pub fn words(&self) -> &[AtomicU64; SharedPage::WORDS] {
        &self.layout().words
    }

    /// Returns the 32-bit words of the page, which processes can use as futexes, to wake each other.
    #[inline]
    pub fn futexes(&self) -> &[AtomicU32; SharedPage::FUTEXES] {
        &self.layout().futexes
    }

    /// Returns the lifeline of the page: a word that the kernel marks when the supervisor's thread ends, so that an
    /// instance notices.
    #[inline]
    pub fn lifeline(&self) -> &super::lifeline::Lifeline {
        &self.layout().lifeline
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        if self.sole_owner.is_some_and(|sole_owner| sole_owner != after_fork::generation()) {
            return;
        }
        self.lifeline().release();
        // SAFETY: the constructors made the mapping with this address and length, and no reference into it outlives
        // `self`. The kernel does not read it any more, because the lifeline was removed from its list. If the call
        // fails, the page only stays mapped.
        let _ = unsafe { munmap(self.layout.cast(), size_of::<Layout>()) };
    }
}

const _: () = assert!(size_of::<Layout>() as u64 <= SharedPage::FILE_BYTES);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn page_in_file_is_readable_through_its_descriptor() {
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
    fn file_of_page_cannot_change_its_length() {
        let page = SharedPage::in_file(c"sam-test").unwrap();
        let (descriptor, _) = page.file().unwrap();
        let path = format!("/proc/self/fd/{descriptor}");
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let length = SharedPage::FILE_BYTES;
        assert_eq!(file.metadata().unwrap().len(), length);
        for other in [0, length - 1, length + 1, 1 << 40] {
            assert!(file.set_len(other).is_err(), "{other} bytes");
        }
        assert!(fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).is_err());
    }

    #[test]
    fn page_stays_mapped_when_its_file_is_closed() {
        let mut page = SharedPage::in_file(c"sam-test").unwrap();
        page.words()[0].store(7, Ordering::Relaxed);
        page.close_file();
        assert_eq!((page.file(), page.words()[0].load(Ordering::Relaxed)), (None, 7));
        assert_eq!(SharedPage::new().unwrap().file(), None);
    }
}
