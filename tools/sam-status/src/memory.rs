//! Opens memory files that other users may have made, and nothing else: what has the name of one can be a device that
//! does something when it is opened, or a file that nobody answers for.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sys::memfd::{MFdFlags, memfd_create};

/// Tells memory files from others: they all are on one mount of the kernel's own, which has no path.
#[derive(Debug)]
pub struct MemoryFiles {
    mount: u64,
    /// A memory file of this process.
    _sample: OwnedFd,
}

impl MemoryFiles {
    /// Finds out which mount that is.
    pub fn new() -> io::Result<MemoryFiles> {
        let sample = memfd_create(c"sam-status-sample", MFdFlags::MFD_CLOEXEC)?;
        let mount = mount(&sample).ok_or_else(|| io::Error::other("no mnt_id in /proc/self/fdinfo"))?;
        Ok(MemoryFiles { mount, _sample: sample })
    }

    /// Opens a descriptor of a process, given as its path in /proc, for reading. Returns `None` if that is not a
    /// memory file; then it was not opened, and no file system was asked about it.
    pub fn open(&self, path: &Path) -> Option<File> {
        // Refers to the file without opening it.
        let found = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path).ok()?;
        if mount(&found)? != self.mount || !found.metadata().ok()?.is_file() {
            return None;
        }
        // The same file: whatever has become of the descriptor meanwhile.
        let same = own("fd", &found);
        OpenOptions::new().read(true).custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK).open(same).ok()
    }
}

/// The path in /proc of what this process knows about a descriptor of its own.
fn own(folder: &str, file: &impl AsRawFd) -> String {
    format!("/proc/self/{folder}/{}", file.as_raw_fd())
}

/// The number of the mount that a file is on. To ask the file itself is to ask its file system, which may be a process
/// that does not answer.
fn mount(file: &impl AsRawFd) -> Option<u64> {
    let info = fs::read_to_string(own("fdinfo", file)).ok()?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn memory_files_are_opened_and_others_are_not() {
        let files = MemoryFiles::new().unwrap();
        let mut memory = File::from(memfd_create(c"sam-test", MFdFlags::MFD_CLOEXEC).unwrap());
        memory.write_all(b"text").unwrap();
        let mut text = String::new();
        files.open(Path::new(&own("fd", &memory))).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        for other in ["/proc/self/exe", "/dev/null", "/proc/self/fdinfo/0", "/proc/self", "/no/such/file"] {
            assert!(files.open(Path::new(other)).is_none(), "{other}");
        }
    }
}
