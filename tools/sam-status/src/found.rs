//! The supervisors of this machine, as far as this user may look at them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::memory::MemoryFiles;
use crate::shared::control_page::View;
use crate::shared::status_page::{self, PageLocation, Status, Words};

/// How often to read what is being written.
const TRIES: usize = 100;

/// How many descriptors of one process to look into: a supervisor has one status page, and a process that pretends to
/// be one may have any number of files of that name.
const CANDIDATES: usize = 8;

/// A supervisor.
#[derive(Debug)]
pub struct Found {
    /// Its pid, as seen from here.
    pub pid: u32,
    /// The pid of its instance, as seen from here.
    pub instance: Option<u32>,
    /// What it says.
    pub status: Status,
    /// What its instance says.
    pub view: Option<View>,
}

/// All there are, by pid. What ends meanwhile is not among them.
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

/// The supervisor with this pid, if it is one.
fn supervisor(pid: u32, files: &MemoryFiles) -> Option<Found> {
    let process = Path::new("/proc").join(pid.to_string());
    let wanted = format!("/memfd:{} (deleted)", status_page::FILE.to_str().ok()?);
    let descriptors = fs::read_dir(process.join("fd")).ok()?;
    let paths = descriptors.map_while(|entry| Some(entry.ok()?.path()));
    let named =
        paths.filter(|path| fs::read_link(path).is_ok_and(|link| link.as_os_str() == wanted.as_str()));
    for path in named.take(CANDIDATES) {
        let Some(file) = files.open(&path) else { continue };
        let control_page = |place| control_page(&process, files, place);
        let Some((status, view)) = read(&file, control_page) else { continue };
        // A process that a supervisor has just forked has the file as well.
        if own_pid(&process)? == status.supervisor {
            let instance = instance(&process, status.pid);
            return Some(Found { pid, instance, status, view });
        }
    }
    None
}

/// What the file and the board that it names say, all of the same moment.
fn read(file: &File, control_page: impl Fn(PageLocation) -> Option<View>) -> Option<(Status, Option<View>)> {
    let mut last = None;
    for _ in 0..TRIES {
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
    // A supervisor that is stopped while it writes does not go on: better half of it than nothing.
    last
}

/// What the board at this place of a supervisor says.
fn control_page(process: &Path, files: &MemoryFiles, place: PageLocation) -> Option<View> {
    let file = files.open(&process.join("fd").join(place.descriptor.to_string()))?;
    if file.metadata().ok()?.ino() != place.inode {
        return None;
    }
    let words = words::<{ View::WORDS }>(&file, 0)?;
    Some(View::of(|word| words[word]))
}

fn words<const N: usize>(file: &File, offset: u64) -> Option<[u64; N]> {
    let mut bytes = vec![0; N * 8];
    file.read_exact_at(&mut bytes, offset).ok()?;
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_ne_bytes(bytes.try_into().ok()?);
    }
    Some(words)
}

/// The pid of a process as itself sees it: the last of its pids.
fn own_pid(process: &Path) -> Option<i32> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    pids(&status).last().copied()
}

/// The pids in a status file, from the outermost namespace to its own.
fn pids(status: &str) -> Vec<i32> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.into_iter().flat_map(str::split_whitespace).filter_map(|pid| pid.parse().ok()).collect()
}

/// The child of a supervisor that has this pid in its own eyes, as seen from here.
fn instance(supervisor: &Path, pid: i32) -> Option<u32> {
    if pid == 0 {
        return None;
    }
    let mut children = children(supervisor).into_iter();
    let child = children.find(|child| own_pid(&Path::new("/proc").join(child.to_string())) == Some(pid));
    child?.try_into().ok()
}

/// Returns the pids of the children of a process, which is given as its folder in /proc. Empty where the kernel does not
/// tell.
fn children(process: &Path) -> Vec<i32> {
    let threads = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_that_a_process_sees_is_the_last() {
        assert_eq!(pids("Name:\tx\nPid:\t7\nNSpid:\t7\n"), [7]);
        assert_eq!(pids("NSpid:\t4711\t12\t1\nNSpgid:\t1\n"), [4711, 12, 1]);
        assert!(pids("Name:\tx\n").is_empty());
    }
}
