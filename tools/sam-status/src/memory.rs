//! Opens memory files of other users' processes, and no other files.
//!
//! A hostile process may give another file the name of a memory file. To open a device can have effects, and to open a
//! file on a FUSE or network file system can wait forever. So the type is checked before a file is opened.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, MemfdFlags, OFlags, memfd_create};
use rustix::path::{Arg, DecInt};

use crate::process::{folder, open, text};

/// Distinguishes memory files from other files. All memory files are on one internal mount of the kernel, which has no
/// path.
#[derive(Debug)]
pub struct MemoryFiles {
    /// The id of that mount.
    mount: u64,
    /// A memory file of this process, on the same mount.
    _sample: OwnedFd,
    /// The folder /proc/self/fd.
    descriptors: OwnedFd,
    /// The folder /proc/self/fdinfo.
    facts: OwnedFd,
}

impl MemoryFiles {
    /// Makes a memory file to learn the id of the mount.
    ///
    /// # Errors
    /// The memory file cannot be made, or /proc does not show its mount.
    pub fn new() -> io::Result<MemoryFiles> {
        let sample = memfd_create("sam-status-sample", MemfdFlags::CLOEXEC)?;
        let descriptors = folder(CWD, "/proc/self/fd")?;
        let facts = folder(CWD, "/proc/self/fdinfo")?;
        let mount =
            mount(&facts, &sample).ok_or_else(|| io::Error::other("no mnt_id line in /proc/self/fdinfo"))?;
        Ok(MemoryFiles { mount, _sample: sample, descriptors, facts })
    }

    /// Opens a file for reading. `descriptors` is the folder of a process's descriptors in /proc, and `name` the file's
    /// name in it.
    ///
    /// Returns `None` if the file is no memory file. In that case it is not opened, and its file system gets no
    /// request.
    pub fn open(&self, descriptors: impl AsFd, name: impl Arg) -> Option<File> {
        // O_PATH refers to the file without opening it (open(2)).
        let found = open(descriptors, name, OFlags::PATH).ok()?;
        if mount(&self.facts, &found)? != self.mount {
            return None;
        }
        // Open the file through the O_PATH descriptor, because `name` may lead to another file by now.
        open(&self.descriptors, DecInt::from_fd(&found), OFlags::NOCTTY | OFlags::NONBLOCK)
            .ok()
            .map(File::from)
    }
}

/// Returns the id of the mount that a file is on. `facts` is the folder /proc/self/fdinfo.
///
/// The id is read from that folder (proc(5)), which does not ask the file system. A FUSE file system is a process,
/// which may not answer.
fn mount(facts: &OwnedFd, file: &OwnedFd) -> Option<u64> {
    let info = text(facts, DecInt::from_fd(file))?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn file_that_is_no_memory_file_is_not_opened() {
        let files = MemoryFiles::new().unwrap();
        let mut memory = File::from(memfd_create(c"sam-test", MemfdFlags::CLOEXEC).unwrap());
        memory.write_all(b"text").unwrap();
        let mut text = String::new();
        files
            .open(CWD, format!("/proc/self/fd/{}", memory.as_raw_fd()))
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "text");
        for other in ["/proc/self/exe", "/dev/null", "/proc/self/fdinfo/0", "/proc/self", "/no/such/file"] {
            assert!(files.open(CWD, other).is_none(), "{other}");
        }
    }
}
