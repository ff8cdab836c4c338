//! Memory that outlives the process that wrote it: a memfd, mapped.

use std::cell::Cell;
use std::ffi::CStr;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, IntoRawFd, RawFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, OFlag, SealFlag, fallocate, fcntl, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::read;

use super::ffi_buf::{InBuf, OutBuf};
use super::signals::Blocked;
use crate::error::{Error, Result};

/// A file in memory. Its descriptor is close-on-exec and kept open for the life of the process; the application
/// may close it all the same, so it is checked before each use.
///
/// A signal handler may use it while it is in use, unless both write or one has to grow what the other reads.
#[derive(Debug)]
pub struct MemoryFile {
    /// `None` for memory that has no file.
    file: Option<Identified>,
    /// What is mapped changes while all signals are blocked.
    mapping: Cell<NonNull<u8>>,
    mapped: Cell<usize>,
    /// Bytes of memory that the file has, as far as this process knows.
    reserved: Cell<usize>,
}

/// A descriptor, and the file that it is while it is ours.
#[derive(Debug, Clone, Copy)]
struct Identified {
    fd: RawFd,
    device: libc::dev_t,
    inode: libc::ino_t,
}

// SAFETY: descriptor and mapping belong to the process, not to a thread.
unsafe impl Send for MemoryFile {}

/// Bytes that a file may keep when they are not used: most data is smaller, and stored without a system call.
const KEPT: usize = 256 * 1024;

/// The unit in which memory is given back: a multiple of every system's page.
const UNIT: usize = 65536;

const PROTECTION: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

impl MemoryFile {
    /// Makes an empty file. `name` shows in /proc.
    pub fn create(name: &CStr) -> nix::Result<MemoryFile> {
        let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        let fd = super::above_standard(fd)?;
        // Nobody who ever had it can cut it short under a reader's mapping.
        fcntl(&fd, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL))?;
        let stat = fstat(&fd)?;
        Ok(MemoryFile::on(Some(Identified { fd: fd.into_raw_fd(), device: stat.st_dev, inode: stat.st_ino })))
    }

    /// Makes empty memory without a file: a forked process gets a copy, and no descriptor is used.
    pub fn private() -> MemoryFile {
        MemoryFile::on(None)
    }

    fn on(file: Option<Identified>) -> MemoryFile {
        MemoryFile {
            file,
            mapping: Cell::new(NonNull::dangling()),
            mapped: Cell::new(0),
            reserved: Cell::new(0),
        }
    }

    /// The file, as an instance that is not trusted has it.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn exposed(&self) -> impl AsFd + use<> {
        Borrowed(self.file.expect("a file").fd)
    }

    /// Writes to the start of the file, which grows when it has to. On an error the earlier content may be gone.
    pub fn write(&self, data: InBuf<'_>) -> Result<()> {
        if !self.reaches(data.len()) {
            self.reserve(data.len())?;
        }
        // SAFETY: the mapping has room for the data, its pages are reserved, and the data cannot lie in it: it is
        // handed out by bytes() alone, for another file.
        unsafe { data.copy_to(self.mapping.get().as_ptr()) };
        Ok(())
    }

    /// Reads `length` bytes from the start of the file; on an error nothing was read.
    pub fn read(&self, mut room: OutBuf<'_>, length: usize) -> Result<()> {
        self.reach(length)?;
        // SAFETY: the mapping covers length bytes of a file that cannot shrink, and is no room of the application's.
        unsafe { room.fill(self.mapping.get().as_ptr(), length) };
        Ok(())
    }

    /// Copies `length` bytes from the start of this file to the start of `target`.
    pub fn copy_to(&self, target: &MemoryFile, length: usize) -> Result<()> {
        self.reach(length)?;
        // SAFETY: the mapping covers length bytes, and stays as it is until they are copied: `target` is another file.
        target.write(unsafe { InBuf::new(self.mapping.get().as_ptr(), length) })
    }

    /// Makes sure that the first `length` bytes can be read; an error when the file is shorter.
    pub fn reach(&self, length: usize) -> Result<()> {
        if self.reaches(length) {
            return Ok(());
        }
        let file = self.file.ok_or(Error::Internal)?;
        let _blocked = Blocked::all();
        let (file, size) = file.checked()?;
        if size < length {
            return Err(Error::Internal);
        }
        self.map(Some(&file), length, MapFlags::empty())
    }

    /// Whether the first `length` bytes can be read and written as it is.
    pub fn reaches(&self, length: usize) -> bool {
        length <= self.mapped.get()
    }

    /// Gives the file at least `length` bytes of memory that is really there, so that writing cannot fail later.
    fn reserve(&self, length: usize) -> Result<()> {
        let _blocked = Blocked::all();
        let file = self.file.map(Identified::checked).transpose()?;
        let memory = available_memory();
        if length > memory {
            return Err(Error::NoMemory);
        }
        // Some more than asked for, so that data which grows a little each time is not mapped anew each time.
        const PAGE: usize = 4096;
        let room = length.saturating_add(length / 8).min(memory).div_ceil(PAGE) * PAGE;
        if let Some((file, _)) = &file {
            match fallocate(file, FallocateFlags::empty(), 0, room as libc::off_t) {
                Ok(()) => {}
                Err(Errno::ENOMEM | Errno::ENOSPC) => return Err(Error::NoMemory),
                Err(Errno::EFBIG) => {
                    super::signals::forget_pending(libc::SIGXFSZ);
                    return Err(Error::NoMemory);
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        self.reserved.set(self.reserved.get().max(room));
        self.map(file.as_ref().map(|(file, _)| file), room, MapFlags::MAP_POPULATE)
    }

    fn map(&self, file: Option<&Borrowed>, length: usize, how: MapFlags) -> Result<()> {
        let room = NonZeroUsize::new(length).ok_or(Error::Internal)?;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let mapping = unsafe {
            match file {
                Some(file) => mmap(None, room, PROTECTION, MapFlags::MAP_SHARED | how, file, 0)?,
                None => mmap_anonymous(None, room, PROTECTION, MapFlags::MAP_PRIVATE | how)?,
            }
        };
        self.unmap_from(0);
        self.mapping.set(mapping.cast());
        self.mapped.set(length);
        Ok(())
    }

    /// Unmaps what is mapped at `start` and behind.
    fn unmap_from(&self, start: usize) {
        if let Some(length) = self.mapped.get().checked_sub(start).filter(|&length| length > 0) {
            // SAFETY: mapped by map(), and no reference into it is ever kept.
            let _ = unsafe { munmap(self.mapping.get().add(start).cast(), length) };
            self.mapped.set(start);
        }
    }

    /// Asks the kernel how much memory the file has: another process may have stored since this one was forked.
    pub fn survey(&self) {
        if let Some(Ok((_, size))) = self.file.map(Identified::checked) {
            self.reserved.set(size);
        }
    }

    /// Returns `true` if the file has much more memory than data of `length` bytes needs.
    pub fn is_wasteful(&self, length: usize) -> bool {
        self.reserved.get() > length.saturating_mul(2).max(KEPT)
    }

    /// Gives back the memory behind the first `length` bytes. All signals are blocked by the caller.
    pub fn give_back(&self, length: usize) {
        let room = length.div_ceil(UNIT).saturating_mul(UNIT);
        self.unmap_from(room);
        if let Some(Ok((file, _))) = self.file.map(Identified::checked) {
            let end = fstat(&file).map_or(0, |stat| stat.st_size);
            let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            if let Ok(start @ 0..) = i64::try_from(room) {
                // Where that is refused the memory stays.
                let _ = fallocate(&file, how, start, end.saturating_sub(start));
            }
        }
        // Not tried again where it failed.
        self.reserved.set(self.reserved.get().min(room));
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
    /// The descriptor and how many bytes of the file are really there, if the number is still ours. An instance
    /// that is not trusted may have made the file as long as it liked: reading its holes would cost memory that
    /// nobody has reserved.
    fn checked(self) -> Result<(Borrowed, usize)> {
        let file = Borrowed(self.fd);
        match fstat(&file) {
            Ok(stat) if (stat.st_dev, stat.st_ino) == (self.device, self.inode) => {
                const BLOCK: i64 = 512;
                Ok((file, stat.st_size.min(stat.st_blocks.saturating_mul(BLOCK)) as usize))
            }
            _ => Err(Error::DescriptorLost),
        }
    }
}

/// A descriptor number that may or may not be ours: good for one call, after a check.
struct Borrowed(RawFd);

impl AsFd for Borrowed {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        // SAFETY: the number is not -1. Where it is no open descriptor, the call says EBADF.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(self.0) }
    }
}

/// Bytes that can be had without driving the machine out of memory.
fn available_memory() -> usize {
    let file = open(c"/proc/meminfo", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok();
    let available = file.and_then(|file| available_in(|room| read(&file, room).unwrap_or(0)));
    available.unwrap_or_else(all_memory)
}

/// MemAvailable and SwapFree of /proc/meminfo, in bytes. `more` reads the next part of it.
///
/// Nothing is allocated: a signal handler that stores data may have interrupted malloc. And little is taken of the
/// stack, for a handler's may be small.
fn available_in(mut more: impl FnMut(&mut [u8]) -> usize) -> Option<usize> {
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
                // A line that does not fit is none of the two.
                *place = byte;
                length += 1;
            }
        }
    }
    available?.saturating_add(swap.unwrap_or(0)).checked_mul(1024)
}

/// The number in a line `NAME NUMBER kB`, if it is this one.
fn kib(line: &[u8], name: &[u8]) -> Option<usize> {
    let number = line.strip_prefix(name)?.strip_suffix(b" kB")?.trim_ascii();
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// All memory and swap, where /proc is not mounted or no descriptor is left to read it.
fn all_memory() -> usize {
    // SAFETY: sysinfo fills in plain data and cannot fail for a valid pointer.
    let info = unsafe {
        let mut info = std::mem::zeroed::<libc::sysinfo>();
        libc::sysinfo(&mut info);
        info
    };
    let units = info.totalram as u128 + info.totalswap as u128;
    usize::try_from(units * u128::from(info.mem_unit)).unwrap_or(usize::MAX)
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

    #[test]
    fn what_is_written_is_read_and_growing_keeps_it() {
        for file in [MemoryFile::create(c"sam-test").unwrap(), MemoryFile::private()] {
            for data in [&b"small"[..], &[7; 300_000], b"", b"again small"] {
                let mut back = vec![0; data.len()];
                file.write(data.into()).unwrap();
                file.read(back[..].as_mut().into(), data.len()).unwrap();
                assert_eq!(back, data);
            }
        }
    }

    #[test]
    fn a_number_that_means_another_file_by_now_is_left_alone() {
        let mut file = MemoryFile::create(c"sam-test").unwrap();
        let identified = file.file.unwrap();
        file.file = Some(Identified { inode: identified.inode + 1, ..identified });
        assert_eq!(file.write(InBuf::from(&[1; 10_000][..])), Err(Error::DescriptorLost));
        file.file = Some(identified);
        assert_eq!(identified.checked().unwrap().1, 0);
    }

    #[test]
    fn memory_given_back_is_gone_and_the_rest_stays() {
        const LARGE: usize = 10 * KEPT;
        for file in [MemoryFile::create(c"sam-test").unwrap(), MemoryFile::private()] {
            for kept in [0, 5, UNIT, 3 * KEPT] {
                file.write(InBuf::from(&vec![7; LARGE][..])).unwrap();
                assert!(file.is_wasteful(0) && file.is_wasteful(LARGE / 4) && !file.is_wasteful(LARGE));
                file.give_back(kept);
                assert!(!file.is_wasteful(kept), "{kept} bytes");
                file.survey();
                assert!(!file.is_wasteful(kept) && file.mapped.get() < kept + UNIT, "{kept} bytes");
                let mut back = vec![0; kept];
                file.read(back[..].as_mut().into(), kept).unwrap();
                assert_eq!(back, vec![7; kept]);
            }
        }
    }

    #[test]
    fn memory_that_another_process_reserved_is_found() {
        let file = MemoryFile::create(c"sam-test").unwrap();
        fallocate(file.exposed(), FallocateFlags::empty(), 0, 10 * KEPT as i64).unwrap();
        assert!(!file.is_wasteful(0));
        file.survey();
        assert!(file.is_wasteful(0));
        file.give_back(0);
        assert_eq!(file.file.unwrap().checked().unwrap().1, 0);
    }

    #[test]
    fn private_memory_reaches_what_was_written() {
        let memory = MemoryFile::private();
        assert_eq!(memory.reach(1), Err(Error::Internal));
        memory.write(b"data"[..].into()).unwrap();
        let copy = MemoryFile::create(c"sam-test").unwrap();
        memory.copy_to(&copy, 4).unwrap();
        let mut back = [0; 4];
        copy.read(back[..].as_mut().into(), 4).unwrap();
        assert_eq!(&back, b"data");
    }
}
