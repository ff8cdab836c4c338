//! Memory that outlives the process that wrote it: a memfd, mapped, that only grows.

use std::cell::Cell;
use std::ffi::CStr;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, IntoRawFd, RawFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::stat::fstat;

use super::foreign::{Bytes, Room};
use super::signals::Blocked;
use crate::error::{Error, Result};

/// A file in memory. Its descriptor is close-on-exec and kept open for the life of the process; the application
/// may close it all the same, so it is checked before each use.
///
/// A signal handler may use it while it is in use, unless both write or one has to grow what the other reads.
#[derive(Debug)]
pub struct MemoryFile {
    fd: RawFd,
    identity: (libc::dev_t, libc::ino_t),
    /// What is mapped changes while all signals are blocked.
    mapping: Cell<NonNull<u8>>,
    mapped: Cell<usize>,
}

// SAFETY: descriptor and mapping belong to the process, not to a thread.
unsafe impl Send for MemoryFile {}

impl MemoryFile {
    /// Makes an empty file. `name` shows in /proc.
    pub fn create(name: &CStr) -> nix::Result<MemoryFile> {
        let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        let fd = super::above_standard(fd)?;
        // Nobody who ever had it can cut it short under a reader's mapping.
        fcntl(&fd, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL))?;
        let stat = fstat(&fd)?;
        Ok(MemoryFile {
            fd: fd.into_raw_fd(),
            identity: (stat.st_dev, stat.st_ino),
            mapping: Cell::new(NonNull::dangling()),
            mapped: Cell::new(0),
        })
    }

    /// The file, as an instance that is not trusted has it.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn exposed(&self) -> impl AsFd + use<> {
        Borrowed(self.fd)
    }

    /// The descriptor and how many bytes of the file are really there, if the number is still ours. An instance
    /// that is not trusted may have made the file as long as it liked: reading its holes would cost memory that
    /// nobody has reserved.
    fn checked(&self) -> Result<(Borrowed, usize)> {
        let file = Borrowed(self.fd);
        match fstat(&file) {
            Ok(stat) if (stat.st_dev, stat.st_ino) == self.identity => {
                const BLOCK: i64 = 512;
                Ok((file, stat.st_size.min(stat.st_blocks.saturating_mul(BLOCK)) as usize))
            }
            _ => Err(Error::DescriptorLost),
        }
    }

    /// Writes to the start of the file, which grows when it has to. On an error the earlier content may be gone.
    pub fn write(&self, data: Bytes<'_>) -> Result<()> {
        if !self.reaches(data.len()) {
            self.reserve(data.len())?;
        }
        // SAFETY: the mapping has room for the data, its pages are reserved, and the data cannot lie in it: it is
        // never handed out.
        unsafe { data.copy_to(self.mapping.get().as_ptr()) };
        Ok(())
    }

    /// Reads `length` bytes from the start of the file; on an error nothing was read.
    pub fn read(&self, mut room: Room<'_>, length: usize) -> Result<()> {
        self.reach(length)?;
        // SAFETY: the mapping covers length bytes of a file that cannot shrink, and is never handed out.
        unsafe { room.fill(self.mapping.get().as_ptr(), length) };
        Ok(())
    }

    /// Makes sure that the first `length` bytes can be read; an error when the file is shorter.
    pub fn reach(&self, length: usize) -> Result<()> {
        if self.reaches(length) {
            return Ok(());
        }
        let _blocked = Blocked::all();
        let (file, size) = self.checked()?;
        if size < length {
            return Err(Error::Internal);
        }
        self.map(&file, length, MapFlags::empty())
    }

    /// Whether the first `length` bytes can be read and written as it is.
    pub fn reaches(&self, length: usize) -> bool {
        length <= self.mapped.get()
    }

    /// Gives the file at least `length` bytes of memory that is really there, so that writing cannot fail later.
    fn reserve(&self, length: usize) -> Result<()> {
        let _blocked = Blocked::all();
        let (file, _) = self.checked()?;
        let memory = available_memory();
        if length > memory {
            return Err(Error::NoMemory);
        }
        // Some more than asked for, so that data which grows a little each time is not mapped anew each time.
        const PAGE: usize = 4096;
        let room = length.saturating_add(length / 8).min(memory).div_ceil(PAGE) * PAGE;
        match fallocate(&file, FallocateFlags::empty(), 0, room as libc::off_t) {
            Ok(()) => self.map(&file, room, MapFlags::MAP_POPULATE),
            Err(Errno::ENOMEM | Errno::ENOSPC) => Err(Error::NoMemory),
            Err(Errno::EFBIG) => {
                super::signals::forget_pending(libc::SIGXFSZ);
                Err(Error::NoMemory)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn map(&self, file: &Borrowed, length: usize, how: MapFlags) -> Result<()> {
        let room = NonZeroUsize::new(length).ok_or(Error::Internal)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let mapping = unsafe { mmap(None, room, protection, MapFlags::MAP_SHARED | how, file, 0)? };
        self.unmap();
        self.mapping.set(mapping.cast());
        self.mapped.set(length);
        Ok(())
    }

    fn unmap(&self) {
        if self.mapped.get() > 0 {
            // SAFETY: mapped by map(), and no reference into it is ever kept.
            let _ = unsafe { munmap(self.mapping.get().cast(), self.mapped.get()) };
            self.mapped.set(0);
        }
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        self.unmap();
        if self.checked().is_ok() {
            let _ = nix::unistd::close(self.fd);
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
    // Read to the stack: a signal handler that stores data may have interrupted malloc.
    let mut text = [0; 4096];
    read_meminfo(&mut text).and_then(available_in).unwrap_or_else(all_memory)
}

fn read_meminfo(text: &mut [u8]) -> Option<&str> {
    use std::io::Read;
    let length = File::open("/proc/meminfo").ok()?.read(text).ok()?;
    std::str::from_utf8(&text[..length]).ok()
}

/// MemAvailable and SwapFree of /proc/meminfo, in bytes.
fn available_in(meminfo: &str) -> Option<usize> {
    let kib = |name: &str| -> Option<usize> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    kib("MemAvailable:")?.saturating_add(kib("SwapFree:").unwrap_or(0)).checked_mul(1024)
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
        let text = "MemTotal: 100 kB\nMemAvailable:   2048 kB\nSwapFree:  1024 kB\n";
        assert_eq!(available_in(text), Some(3 * 1024 * 1024));
        assert_eq!(available_in("MemAvailable: 1 kB\n"), Some(1024));
        assert_eq!(available_in("nonsense"), None);
    }

    #[test]
    fn what_is_written_is_read_and_growing_keeps_it() {
        let file = MemoryFile::create(c"sam-test").unwrap();
        for data in [&b"small"[..], &[7; 300_000], b"", b"again small"] {
            let mut back = vec![0; data.len()];
            file.write(data.into()).unwrap();
            file.read(back[..].as_mut().into(), data.len()).unwrap();
            assert_eq!(back, data);
        }
    }

    #[test]
    fn a_number_that_means_another_file_by_now_is_left_alone() {
        let mut file = MemoryFile::create(c"sam-test").unwrap();
        file.identity.1 += 1;
        assert_eq!(file.write(Bytes::from(&[1; 10_000][..])), Err(Error::DescriptorLost));
        file.identity.1 -= 1;
        assert_eq!(file.checked().unwrap().1, 0);
    }
}
