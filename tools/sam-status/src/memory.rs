//! Opens memory files of other users' processes, and no other files.
//!
//! A hostile process may give another file the name of a memory file. To open a device can have effects, and to open a
//! file on a FUSE or network file system can wait forever. So the type is checked before a file is opened.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sys::memfd::{MFdFlags, memfd_create};

/// Distinguishes memory files from other files. All memory files are on one internal mount of the kernel, which has no
/// path.
#[derive(Debug)]
pub struct MemoryFiles {
    /// The id of that mount.
    mount: u64,
    /// A memory file of this process, on the same mount.
    _sample: OwnedFd,
}

impl MemoryFiles {
    /// Makes a memory file to learn the id of the mount.
    ///
    /// # Errors
    /// The memory file cannot be made, or /proc does not show its mount.
    pub fn new() -> io::Result<MemoryFiles> {
        let sample = memfd_create(c"sam-status-sample", MFdFlags::MFD_CLOEXEC)?;
        let mount = mount(&sample).ok_or_else(|| io::Error::other("no mnt_id line in /proc/self/fdinfo"))?;
        Ok(MemoryFiles { mount, _sample: sample })
    }

    /// Opens the file at `path` for reading. `path` is a descriptor of a process in /proc.
    ///
    /// Returns `None` if the file is no memory file. In that case it is not opened, and its file system gets no
    /// request.
    pub fn open(&self, path: &Path) -> Option<File> {
        // O_PATH refers to the file without opening it (open(2)).
        let found = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path).ok()?;
        if mount(&found)? != self.mount || !found.metadata().ok()?.is_file() {
            return None;
        }
        // Open the file through the O_PATH descriptor, because `path` may lead to another file by now.
        let same = own_path("fd", &found);
        OpenOptions::new().read(true).custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK).open(same).ok()
    }
}

/// Returns the path `/proc/self/FOLDER/NUMBER` of a descriptor of this process.
fn own_path(folder: &str, file: &impl AsRawFd) -> String {
    format!("/proc/self/{folder}/{}", file.as_raw_fd())
}

/// Returns the id of the mount that a file is on.
///
/// The id is read from /proc/self/fdinfo (proc(5)), which does not ask the file system. A FUSE file system is a
/// process, which may not answer.
fn mount(file: &impl AsRawFd) -> Option<u64> {
    let info = fs::read_to_string(own_path("fdinfo", file)).ok()?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn file_that_is_no_memory_file_is_not_opened() {
        let files = MemoryFiles::new().unwrap();
        let mut memory = File::from(memfd_create(c"sam-test", MFdFlags::MFD_CLOEXEC).unwrap());
        memory.write_all(b"text").unwrap();
        let mut text = String::new();
        files.open(Path::new(&own_path("fd", &memory))).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        for other in ["/proc/self/exe", "/dev/null", "/proc/self/fdinfo/0", "/proc/self", "/no/such/file"] {
            assert!(files.open(Path::new(other)).is_none(), "{other}");
        }
    }
}
