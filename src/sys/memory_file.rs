//! Memory that outlives the process that wrote it: a memfd, mapped.

use std::ffi::CStr;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, IntoRawFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, OFlag, SealFlag, fcntl, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use nix::sys::stat::Mode;
use nix::unistd::read;

use super::ffi_buf::{InBuf, OutBuf};
use super::large_file::{self, Attributes};
use crate::error::{Error, Result};

/// Memory for the data that an application stores: a memory file that all instances share, or before `sam_register`
/// memory of this process alone.
///
/// The descriptor is close-on-exec and kept open for the life of the process. The application may close it all the
/// same, so it is checked before each use. One thread at a time uses the memory, with all signals blocked. Another
/// thread may fork meanwhile: at any moment the fields describe memory that is there.
#[derive(Debug)]
pub struct MemoryFile {
    /// The descriptor of the memory file. `None` for memory without a file, which belongs to this process alone.
    file: Option<Identified>,
    mapping: AtomicPtr<u8>,
    /// The number of bytes, from the start of the memory file, that this process has mapped.
    mapped: AtomicUsize,
    /// The number of bytes of memory that the kernel has allocated for the file, as far as this process knows.
    reserved: AtomicUsize,
}

/// The descriptor of a memory file, with the device and inode number of the file. If the application closes the
/// descriptor, its number may belong to another file later, and these numbers then differ.
#[derive(Debug, Clone, Copy)]
struct Identified {
    fd: RawFd,
    device: u64,
    inode: u64,
}

/// The largest number of unused bytes that a memory file keeps. Most data is smaller, so it can be stored again without
/// another allocation.
const KEPT: usize = 256 * 1024;

/// The unit in bytes in which a memory file gives memory back to the kernel: a multiple of every machine's page size.
const UNIT: usize = 65536;

const PROTECTION: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

impl MemoryFile {
    /// Makes an empty memory file, which processes that are forked later share. /proc shows it with `name`, see
    /// memfd_create(2).
    ///
    /// # Errors
    /// The error of memfd_create(2), fcntl(2) or fstat(2).
    pub fn create(name: &CStr) -> nix::Result<MemoryFile> {
        let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        let fd = super::above_standard(fd)?;
        // No process can shorten the file under a reader's mapping.
        fcntl(&fd, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL))?;
        let Attributes { device, inode, .. } = Attributes::of(&fd)?;
        Ok(MemoryFile::on(Some(Identified { fd: fd.into_raw_fd(), device, inode })))
    }

    /// Makes empty memory without a file and without a descriptor. A forked process gets a copy.
    pub fn private() -> MemoryFile {
        MemoryFile::on(None)
    }

    fn on(file: Option<Identified>) -> MemoryFile {
        MemoryFile {
            file,
            mapping: AtomicPtr::new(NonNull::dangling().as_ptr()),
            mapped: AtomicUsize::new(0),
            reserved: AtomicUsize::new(0),
        }
    }

    /// Returns the descriptor of the memory file, so that a test or fuzz target can change the size of the file, as a
    /// hostile instance can.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn exposed(&self) -> impl AsFd + use<> {
        Borrowed(self.file.expect("a file").fd)
    }

    /// Copies `data` into the memory, from the byte with the index `start` on.
    ///
    /// # Errors
    /// `Internal` if less memory than that is mapped: call [`reserve`](MemoryFile::reserve) first.
    pub fn write(&self, start: usize, data: InBuf<'_>) -> Result<()> {
        let place = self.place(start, data.len())?;
        // SAFETY: the mapping has room for the data at that place, and its pages are reserved. The data cannot lie in
        // the mapping: copy_to() alone hands it out, for another file.
        unsafe { data.copy_to(place) };
        Ok(())
    }

    /// Fills `room` from the memory, from the byte with the index `start` on.
    ///
    /// # Errors
    /// `Internal` if less memory than that is mapped: call [`reach`](MemoryFile::reach) first. Nothing was read in this
    /// case.
    pub fn read(&self, start: usize, mut room: OutBuf<'_>) -> Result<()> {
        let place = self.place(start, room.len())?;
        // SAFETY: the mapping has these bytes, of a file that cannot shrink, and is no room of the application's.
        unsafe { room.fill(place) };
        Ok(())
    }

    /// Copies the first `length` bytes of this memory to the start of `target`, which gets as much memory as that
    /// needs.
    ///
    /// # Errors
    /// The errors of [`reach`](MemoryFile::reach), and for `target` those of [`reserve`](MemoryFile::reserve).
    pub fn copy_to(&self, target: &MemoryFile, length: usize) -> Result<()> {
        self.reach(length)?;
        target.reserve(length)?;
        // SAFETY: the mapping has that many bytes, and stays as it is until they are copied: `target` is another file.
        target.write(0, unsafe { InBuf::new(self.mapping.load(Ordering::Relaxed), length) })
    }

    /// Returns the address at which `length` bytes of the memory are mapped, from the byte with the index `start` on.
    ///
    /// # Errors
    /// `Internal` if this process has not mapped all these bytes.
    fn place(&self, start: usize, length: usize) -> Result<*mut u8> {
        match start.checked_add(length) {
            Some(end) if self.reaches(end) => Ok(self.mapping.load(Ordering::Relaxed).wrapping_add(start)),
            _ => Err(Error::Internal),
        }
    }

    /// Returns `true` if this process has mapped at least the first `length` bytes of the memory.
    pub fn reaches(&self, length: usize) -> bool {
        length <= self.mapped.load(Ordering::Relaxed)
    }

    /// Maps at least the first `length` bytes of the memory file in this process, so that they can be read. Used for
    /// data that another instance has stored.
    ///
    /// # Errors
    /// `Internal` if there are fewer bytes. `DescriptorLost` if the application has closed the descriptor. The error of
    /// mmap(2).
    pub fn reach(&self, length: usize) -> Result<()> {
        if self.reaches(length) {
            return Ok(());
        }
        let (file, size) = self.file.ok_or(Error::Internal)?.checked()?;
        if size < length {
            return Err(Error::Internal);
        }
        let mapping = map(Some(&file), length)?;
        self.replace_mapping(mapping, length);
        Ok(())
    }

    /// Allocates and maps memory for at least `length` bytes, so that they can be written. If the memory has no file,
    /// as before `sam_register`, and has to grow, its content is lost.
    ///
    /// # Errors
    /// `NoMemory` if the machine or a limit of the process has no room for that. `DescriptorLost` if the application
    /// has closed the descriptor. The error of fallocate(2) or mmap(2).
    pub fn reserve(&self, length: usize) -> Result<()> {
        if self.reaches(length) {
            return Ok(());
        }
        let file = self.file.map(Identified::checked).transpose()?;
        let memory = available_memory();
        if length > memory {
            return Err(Error::NoMemory);
        }
        // An eighth more than asked for, so that data that grows a little with each store is not mapped each time.
        const PAGE: usize = 4096;
        let room = length.saturating_add(length / 8).min(memory).checked_next_multiple_of(PAGE);
        let room = room.ok_or(Error::NoMemory)?;
        // The mapping first: where the address space has no room for it, no memory is taken.
        let mapping = map(file.as_ref().map(|(file, _)| file), room)?;
        if let Some((file, _)) = &file {
            large_file::allocate(file, FallocateFlags::empty(), 0..room as u64).map_err(|errno| {
                unmap(mapping, room);
                match errno {
                    Errno::ENOMEM | Errno::ENOSPC => Error::NoMemory,
                    Errno::EFBIG => {
                        super::signals::forget_pending(super::signals::Signal::XFSZ);
                        Error::NoMemory
                    }
                    errno => errno.into(),
                }
            })?;
            // SAFETY: the mapping is new and as long as that. The kernel makes its pages accessible, and changes
            // nothing in them. Before Linux 5.14 this fails, and each page becomes accessible when it is used.
            let _ = unsafe { madvise(mapping.cast(), room, MmapAdvise::MADV_POPULATE_WRITE) };
        }
        self.reserved.fetch_max(room, Ordering::Relaxed);
        self.replace_mapping(mapping, room);
        Ok(())
    }

    /// Uses `mapping`, which has `length` bytes, in place of what was mapped before.
    fn replace_mapping(&self, mapping: NonNull<u8>, length: usize) {
        self.unmap_from(0);
        self.mapping.store(mapping.as_ptr(), Ordering::Relaxed);
        // After the mapping, also for a process that another thread forks now.
        self.mapped.store(length, Ordering::Release);
    }

    /// Unmaps all mapped bytes of the memory from the byte with the index `start` on.
    fn unmap_from(&self, start: usize) {
        let mapped = self.mapped.load(Ordering::Relaxed);
        if let Some(length) = mapped.checked_sub(start).filter(|&length| length > 0) {
            // Before the memory is gone, also for a process that another thread forks now.
            self.mapped.store(start, Ordering::SeqCst);
            let unused = NonNull::new(self.mapping.load(Ordering::Relaxed).wrapping_add(start));
            unused.into_iter().for_each(|unused| unmap(unused, length));
        }
    }

    /// Asks the kernel how much memory the file has, and stores it in this value. Called in a new instance, because
    /// another instance may have stored data since this process was forked.
    pub fn survey(&self) {
        if let Some(Ok((_, size))) = self.file.map(Identified::checked) {
            self.reserved.store(size, Ordering::Relaxed);
        }
    }

    /// Returns `true` if the file has more than twice the memory that `length` bytes of data need, and more than 256
    /// KiB.
    pub fn is_wasteful(&self, length: usize) -> bool {
        self.reserved.load(Ordering::Relaxed) > length.saturating_mul(2).max(KEPT)
    }

    /// Gives memory after the first `length` bytes, rounded up to 64 KiB, back to the kernel. The content after that
    /// is lost.
    pub fn give_back(&self, length: usize) {
        let room = length.div_ceil(UNIT).saturating_mul(UNIT);
        self.unmap_from(room);
        if let Some(Ok((file, _))) = self.file.map(Identified::checked) {
            let end = Attributes::of(&file).map_or(0, |attributes| attributes.length);
            let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            // Where that is refused the memory stays.
            let _ = large_file::allocate(&file, how, room as u64..end);
        }
        // Not tried again where it failed.
        self.reserved.fetch_min(room, Ordering::Relaxed);
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        self.unmap_from(0);
        if let Some(file) = self.file.filter(|file| file.checked().is_ok()) {
            let _ = nix::unistd::close(file.fd);
        }
    }
}

impl Identified {
    /// Returns the descriptor of this memory file, after a check that it is still that file, and the number of bytes
    /// that the kernel has allocated for it. A hostile instance may have made the file longer than that: reading the
    /// rest would take memory that is not reserved.
    ///
    /// # Errors
    /// `DescriptorLost` if the number is no longer a descriptor of this file, because the application closed it.
    fn checked(self) -> Result<(Borrowed, usize)> {
        let file = Borrowed(self.fd);
        match Attributes::of(&file) {
            Ok(found) if (found.device, found.inode) == (self.device, self.inode) => {
                Ok((file, found.length.min(found.allocated).try_into().unwrap_or(usize::MAX)))
            }
            _ => Err(Error::DescriptorLost),
        }
    }
}

/// Maps the first `length` bytes of a file, or as many of private memory.
///
/// # Errors
/// The error of mmap(2).
fn map(file: Option<&Borrowed>, length: usize) -> Result<NonNull<u8>> {
    let length = NonZeroUsize::new(length).ok_or(Error::Internal)?;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let mapping = unsafe {
        match file {
            Some(file) => mmap(None, length, PROTECTION, MapFlags::MAP_SHARED, file, 0)?,
            None => mmap_anonymous(None, length, PROTECTION, MapFlags::MAP_PRIVATE | MapFlags::MAP_POPULATE)?,
        }
    };
    Ok(mapping.cast())
}

/// Unmaps the `length` bytes at `mapping`, which are a part of what `map` returned.
fn unmap(mapping: NonNull<u8>, length: usize) {
    // SAFETY: mapped by map(), and no reference into it is ever kept.
    let _ = unsafe { munmap(mapping.cast(), length) };
}

/// The number of a descriptor that the application may have closed. It is used for one system call after a check, which
/// fails with `EBADF` if the descriptor is closed.
struct Borrowed(RawFd);

impl AsFd for Borrowed {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        // SAFETY: the number is not -1. Where it is no open descriptor, the call says EBADF.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(self.0) }
    }
}

/// Returns the number of bytes of memory that a process can allocate without driving the machine out of memory.
fn available_memory() -> usize {
    let file = open(c"/proc/meminfo", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok();
    let available = file.and_then(|file| available_in(|room| read(&file, room).unwrap_or(0)));
    available.unwrap_or_else(all_memory).try_into().unwrap_or(usize::MAX)
}

/// Returns the sum of MemAvailable and SwapFree of /proc/meminfo, in bytes. `more` reads the next part of that file.
///
/// Nothing is allocated, because a signal handler that stores data may have interrupted malloc(3). Little of the stack
/// is used, because the alternate stack of a handler may be small.
fn available_in(mut more: impl FnMut(&mut [u8]) -> usize) -> Option<u64> {
    let (mut part, mut line) = ([0; 256], [0; 64]);
    let mut length = 0;
    let (mut available, mut swap) = (None, None);
    while available.is_none() || swap.is_none() {
        let read = more(&mut part);
        if read == 0 {
            break;
        }
        for &byte in part.iter().take(read) {
            if byte == b'\n' {
                let whole = line.get(..length)?;
                available = available.or(kib(whole, b"MemAvailable:"));
                swap = swap.or(kib(whole, b"SwapFree:"));
                length = 0;
            } else if let Some(place) = line.get_mut(length) {
                // A line that does not fit is neither of the two.
                *place = byte;
                length += 1;
            }
        }
    }
    available?.saturating_add(swap.unwrap_or(0)).checked_mul(1024)
}

/// Returns the number in a line `NAME NUMBER kB` of /proc/meminfo, if the line has the name `name`.
fn kib(line: &[u8], name: &[u8]) -> Option<u64> {
    let number = line.strip_prefix(name)?.strip_suffix(b" kB")?.trim_ascii();
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// Returns the size of all memory and swap of the machine, in bytes. Used if /proc/meminfo cannot be read, because
/// /proc is not mounted or the process has no free descriptor.
fn all_memory() -> u64 {
    // SAFETY: sysinfo fills in plain data and cannot fail for a valid pointer.
    let info = unsafe {
        let mut info = std::mem::zeroed::<libc::sysinfo>();
        libc::sysinfo(&mut info);
        info
    };
    let units = info.totalram as u128 + info.totalswap as u128;
    u64::try_from(units * u128::from(info.mem_unit)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_what_proc_says() {
        let long = "x".repeat(1000);
        for (text, expected) in [
            ("MemTotal: 100 kB\nMemAvailable:   2048 kB\nSwapFree:  1024 kB\n", Some(3 * 1024 * 1024)),
            ("MemAvailable: 1 kB\n", Some(1024)),
            ("MemAvailable: 16000000 kB\n", Some(16_384_000_000)),
            (&format!("{long}\nMemAvailable: 1 kB\n{long}\nSwapFree: 1 kB\n{long}"), Some(2048)),
            ("MemAvailable: x kB\n", None),
            ("nonsense", None),
            ("", None),
        ] {
            for step in [1, 7, 4096] {
                let mut left = text.as_bytes();
                let more = |room: &mut [u8]| {
                    let length = room.len().min(step);
                    std::io::Read::read(&mut left, &mut room[..length]).unwrap()
                };
                assert_eq!(available_in(more), expected, "{step} bytes at a time of {text:?}");
            }
        }
    }

    fn write(file: &MemoryFile, data: &[u8]) -> Result<()> {
        file.reserve(data.len())?;
        file.write(0, data.into())
    }

    #[test]
    fn what_is_written_is_read_after_growing() {
        for file in [MemoryFile::create(c"sam-test").unwrap(), MemoryFile::private()] {
            for data in [&b"small"[..], &[7; 300_000], b"", b"again small"] {
                let mut back = vec![0; data.len()];
                write(&file, data).unwrap();
                file.read(0, back[..].as_mut().into()).unwrap();
                assert_eq!(back, data);
            }
        }
    }

    #[test]
    fn a_number_that_means_another_file_by_now_is_left_alone() {
        let mut file = MemoryFile::create(c"sam-test").unwrap();
        let identified = file.file.unwrap();
        file.file = Some(Identified { inode: identified.inode + 1, ..identified });
        assert_eq!(write(&file, &[1; 10_000]), Err(Error::DescriptorLost));
        file.file = Some(identified);
        assert_eq!(identified.checked().unwrap().1, 0);
    }

    #[test]
    fn memory_given_back_is_gone_and_the_rest_stays() {
        const LARGE: usize = 10 * KEPT;
        for file in [MemoryFile::create(c"sam-test").unwrap(), MemoryFile::private()] {
            for kept in [0, 5, UNIT, 3 * KEPT] {
                write(&file, &vec![7; LARGE]).unwrap();
                assert!(file.is_wasteful(0) && file.is_wasteful(LARGE / 4) && !file.is_wasteful(LARGE));
                file.give_back(kept);
                assert!(!file.is_wasteful(kept), "{kept} bytes");
                file.survey();
                assert!(!file.is_wasteful(kept) && !file.reaches(kept + UNIT), "{kept} bytes");
                let mut back = vec![0; kept];
                file.reach(kept).unwrap();
                file.read(0, back[..].as_mut().into()).unwrap();
                assert_eq!(back, vec![7; kept]);
            }
        }
    }

    #[test]
    fn memory_that_another_process_reserved_is_found() {
        let file = MemoryFile::create(c"sam-test").unwrap();
        large_file::allocate(&file.exposed(), FallocateFlags::empty(), 0..10 * KEPT as u64).unwrap();
        assert!(!file.is_wasteful(0));
        file.survey();
        assert!(file.is_wasteful(0));
        file.give_back(0);
        assert_eq!(file.file.unwrap().checked().unwrap().1, 0);
    }

    #[test]
    fn parts_are_written_and_read_at_their_place() {
        let file = MemoryFile::create(c"sam-test").unwrap();
        assert_eq!(file.write(0, b"x"[..].into()), Err(Error::Internal), "nothing is reserved");
        write(&file, b"one, two").unwrap();
        file.write(5, b"TWO"[..].into()).unwrap();
        let mut back = [0; 6];
        file.read(2, back[..].as_mut().into()).unwrap();
        assert_eq!(&back, b"e, TWO");
        for start in [UNIT, usize::MAX] {
            assert_eq!(file.read(start, back[..].as_mut().into()), Err(Error::Internal));
        }
    }

    #[test]
    fn private_memory_reaches_what_was_written() {
        let memory = MemoryFile::private();
        assert_eq!(memory.reach(1), Err(Error::Internal));
        write(&memory, b"data").unwrap();
        let copy = MemoryFile::create(c"sam-test").unwrap();
        memory.copy_to(&copy, 4).unwrap();
        let mut back = [0; 4];
        copy.read(0, back[..].as_mut().into()).unwrap();
        assert_eq!(&back, b"data");
    }
}
