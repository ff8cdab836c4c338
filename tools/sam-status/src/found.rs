//! Finds the supervisors on this machine, as far as the user may read their descriptors in /proc.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::memory::MemoryFiles;
use crate::shared::control_page::View;
use crate::shared::status_page::{self, PageLocation, Status, Words};

/// The number of attempts to read a status page that the supervisor is writing to.
const MAX_READS: usize = 100;

/// The maximum number of files that are opened for one process. A supervisor has one status page, but a hostile process
/// may have any number of files with the same name.
const MAX_CANDIDATES: usize = 8;

/// A supervisor that was found, and the contents of its pages.
#[derive(Debug)]
pub struct Found {
    /// The pid of the supervisor in the PID namespace of this process.
    pub pid: u32,
    /// The pid of the instance in the PID namespace of this process, if there is an instance.
    pub instance: Option<u32>,
    /// The contents of the status page.
    pub status: Status,
    /// The contents of the instance's control page, if that could be read.
    pub view: Option<View>,
}

/// Returns all supervisors, sorted by pid. Processes that end during the search are left out.
///
/// # Errors
/// /proc cannot be read, or this process cannot make a memory file.
pub fn supervisors() -> io::Result<Vec<Found>> {
    let files = MemoryFiles::new()?;
    let mut found = vec![];
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) {
            found.extend(supervisor(pid, &files));
        }
    }
    found.sort_by_key(|found| found.pid);
    Ok(found)
}

/// Returns the supervisor with the given pid. `None` if that process is no supervisor, or cannot be read.
fn supervisor(pid: u32, files: &MemoryFiles) -> Option<Found> {
    let process = Path::new("/proc").join(pid.to_string());
    let wanted = format!("/memfd:{} (deleted)", status_page::FILE.to_str().ok()?);
    let descriptors = fs::read_dir(process.join("fd")).ok()?;
    let paths = descriptors.map_while(|entry| Some(entry.ok()?.path()));
    let named =
        paths.filter(|path| fs::read_link(path).is_ok_and(|link| link.as_os_str() == wanted.as_str()));
    for path in named.take(MAX_CANDIDATES) {
        let Some(file) = files.open(&path) else { continue };
        let control_page = |place| control_page(&process, files, place);
        let Some((status, view)) = read(&file, control_page) else { continue };
        // A process that a supervisor has just forked has inherited the descriptor, so the pid must match.
        if own_pid(&process)? == status.supervisor {
            let instance = instance(&process, status.pid);
            return Some(Found { pid, instance, status, view });
        }
    }
    None
}

/// Reads a status page, and the control page that it names.
///
/// Both are of the same moment, unless the supervisor still writes after [`MAX_READS`] attempts.
fn read(file: &File, control_page: impl Fn(PageLocation) -> Option<View>) -> Option<(Status, Option<View>)> {
    let mut last = None;
    for _ in 0..MAX_READS {
        let words = words::<{ size_of::<Words>() / 8 }>(file, 0)?;
        let status = Status::read(&words)?;
        let view = status.control_page.and_then(&control_page);
        let before = status_page::sequence(&words);
        let after = status_page::sequence(&self::words(file, 0)?);
        last = Some((status, view));
        if before == after && before % 2 == 0 {
            break;
        }
        std::thread::yield_now();
    }
    // A supervisor that was stopped (SIGSTOP) in the middle of a write does not complete it. A partly old status is
    // better than none.
    last
}

/// Reads the control page at `place` among the descriptors of the supervisor whose folder in /proc is `process`.
fn control_page(process: &Path, files: &MemoryFiles, place: PageLocation) -> Option<View> {
    let file = files.open(&process.join("fd").join(place.descriptor.to_string()))?;
    if file.metadata().ok()?.ino() != place.inode {
        return None;
    }
    let words = words::<{ View::WORDS }>(&file, 0)?;
    Some(View::of(|word| words[word]))
}

/// Reads `N` words from `offset` of a file.
fn words<const N: usize>(file: &File, offset: u64) -> Option<[u64; N]> {
    let mut bytes = vec![0; N * 8];
    file.read_exact_at(&mut bytes, offset).ok()?;
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_ne_bytes(bytes.try_into().ok()?);
    }
    Some(words)
}

/// Returns the pid of a process in its own PID namespace. `process` is its folder in /proc.
fn own_pid(process: &Path) -> Option<i32> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    pids(&status).last().copied()
}

/// Returns the pids in the text of a `/proc/PID/status` file, from the outermost PID namespace to the innermost
/// (proc(5)).
fn pids(status: &str) -> Vec<i32> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.into_iter().flat_map(str::split_whitespace).filter_map(|pid| pid.parse().ok()).collect()
}

/// Returns the child of a supervisor that has the pid `pid` in the child's own PID namespace. The returned pid is the
/// one in the namespace of this process. `None` if there is no such child, or `pid` is 0.
fn instance(supervisor: &Path, pid: i32) -> Option<u32> {
    if pid == 0 {
        return None;
    }
    let mut children = children(supervisor).into_iter();
    let child = children.find(|child| own_pid(&Path::new("/proc").join(child.to_string())) == Some(pid));
    child?.try_into().ok()
}

/// Returns the pids of the children of a process. `process` is its folder in /proc. Empty if the kernel has no
/// `children` files (CONFIG_PROC_CHILDREN, see proc(5)).
fn children(process: &Path) -> Vec<i32> {
    let threads = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_in_namespaces_has_one_pid_for_each() {
        assert_eq!(pids("Name:\tx\nPid:\t7\nNSpid:\t7\n"), [7]);
        assert_eq!(pids("NSpid:\t4711\t12\t1\nNSpgid:\t1\n"), [4711, 12, 1]);
        assert!(pids("Name:\tx\n").is_empty());
    }
}
