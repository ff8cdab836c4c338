//! Calls on files with 64 bits for sizes and inode numbers on every architecture. On a 32-bit architecture the types of
//! nix have 32 bits, so its calls fail for larger numbers (`EOVERFLOW` in fstat(2)).

use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::fcntl::FallocateFlags;

/// Facts about an open file, see stat(3type).
#[derive(Debug, Clone, Copy)]
pub struct Attributes {
    /// The number of the device that has the file. Together with `inode` it identifies the file.
    pub device: u64,
    /// The number of the file on its device.
    pub inode: u64,
    /// The type of the file, and its permissions.
    pub mode: libc::mode_t,
    /// The length of the file, in bytes.
    pub length: u64,
    /// The memory that the file takes, in bytes. Holes take none.
    pub allocated: u64,
}

impl Attributes {
    /// Returns the facts about `file`.
    ///
    /// # Errors
    /// The error of fstat(2).
    pub fn of(file: &impl AsFd) -> nix::Result<Attributes> {
        /// The unit of `st_blocks`, in bytes.
        const BLOCK: u64 = 512;
        let number = |number: i64| u64::try_from(number).unwrap_or(0);
        // SAFETY: all zeros is a valid value of this plain structure, and the kernel writes to it during the call.
        let stat = unsafe {
            let mut stat = std::mem::zeroed::<libc::stat64>();
            Errno::result(libc::fstat64(file.as_fd().as_raw_fd(), &mut stat))?;
            stat
        };
        Ok(Attributes {
            device: stat.st_dev,
            inode: stat.st_ino,
            mode: stat.st_mode,
            length: number(stat.st_size),
            allocated: number(stat.st_blocks).saturating_mul(BLOCK),
        })
    }
}

/// Makes `file` `length` bytes long.
///
/// # Errors
/// The error of ftruncate(2). `EFBIG` if the kernel cannot express the length.
pub fn set_length(file: &impl AsFd, length: u64) -> nix::Result<()> {
    let length = offset(length)?;
    // SAFETY: the call takes numbers.
    Errno::result(unsafe { libc::ftruncate64(file.as_fd().as_raw_fd(), length) }).map(drop)
}

/// Takes or gives back the memory for the bytes of `file` in `range`.
///
/// # Errors
/// The error of fallocate(2). `EFBIG` if the kernel cannot express the range.
pub fn allocate(file: &impl AsFd, how: FallocateFlags, range: Range<u64>) -> nix::Result<()> {
    let start = offset(range.start)?;
    let length = offset(range.end.saturating_sub(range.start))?;
    // SAFETY: the call takes numbers.
    Errno::result(unsafe { libc::fallocate64(file.as_fd().as_raw_fd(), how.bits(), start, length) }).map(drop)
}

/// Returns a number of bytes in the type of the system calls.
fn offset(bytes: u64) -> nix::Result<libc::off64_t> {
    bytes.try_into().map_err(|_| Errno::EFBIG)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn file_of_more_than_4_gib_has_its_length_and_memory() {
        const LENGTH: u64 = 5 << 30;
        let file =
            nix::sys::memfd::memfd_create(c"sam-test", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
        set_length(&file, LENGTH).unwrap();
        allocate(&file, FallocateFlags::empty(), LENGTH - 1..LENGTH).unwrap();
        let found = Attributes::of(&file).unwrap();
        let expected = std::fs::File::from(file).metadata().unwrap();
        assert_eq!((found.device, found.inode), (expected.dev(), expected.ino()));
        assert_eq!((found.length, found.allocated), (LENGTH, expected.blocks() * 512));
        assert!((1..1 << 24).contains(&found.allocated), "{} bytes", found.allocated);
    }

    #[test]
    fn length_that_the_kernel_cannot_express_is_refused() {
        let file =
            nix::sys::memfd::memfd_create(c"sam-test", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
        assert_eq!(set_length(&file, u64::MAX), Err(Errno::EFBIG));
        assert_eq!(allocate(&file, FallocateFlags::empty(), 0..1 << 63), Err(Errno::EFBIG));
        assert_eq!(Attributes::of(&file).unwrap().length, 0);
    }
}
