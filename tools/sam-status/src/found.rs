//! Finds the supervisors on this machine, as far as the user may read their descriptors in /proc.

use std::ffi::CStr;
use std::fs::{self, File};
use std::mem::MaybeUninit;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{io, iter, thread};

use rustix::fs::{FileType, RawDir, readlinkat_raw};
use rustix::path::DecInt;

use crate::memory::MemoryFiles;
use crate::process::Process;
use crate::shared::control_page::View;
use crate::shared::status_page::{self, PageLocation, Status, Unreadable, Words};

/// The number of attempts to read a status page that the supervisor is writing to.
const MAX_READS: usize = 100;

/// The maximum number of files that are opened for one process. A supervisor has one status page, but a hostile process
/// may have any number of files with the same name.
const MAX_CANDIDATES: usize = 8;

/// /proc/PID/fd shows a memory file by its name between these two (memfd_create(2)).
const AROUND_NAME: [&[u8]; 2] = [b"/memfd:", b" (deleted)"];

/// The size of the buffer for what /proc/PID/fd shows of a status page. One byte more, because the kernel cuts off what
/// does not fit.
const LINK: usize = AROUND_NAME[0].len() + status_page::FILE.to_bytes().len() + AROUND_NAME[1].len() + 1;

/// The size of the buffer for the list of a process's descriptors. Longer lists take more system calls.
const LIST: usize = 4096;

/// The number of processes from which on another thread is worth its costs.
const ITEMS_OF_THREAD: usize = 500;

/// A supervisor that was found.
#[derive(Debug)]
pub struct Found {
    /// The pid of the supervisor in the PID namespace of this process.
    pub pid: u32,
    /// The name of the process that the kernel keeps. `None` if the status page has a name.
    pub kernel_name: Option<String>,
    /// The name of the script, if the program is an interpreter.
    pub script: Option<String>,
    /// The systemd service that the supervisor belongs to.
    pub service: Option<String>,
    /// The file of the library that the supervisor uses was deleted or replaced, as an upgrade does.
    pub library_was_replaced: bool,
    /// The contents of its pages. `None` if this version does not know the layout of its status page.
    pub pages: Option<Pages>,
}

/// The contents of the pages of a supervisor.
#[derive(Debug)]
pub struct Pages {
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
    let mut pids = vec![];
    for entry in fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    let mut found = in_parallel(&pids, |&pid| supervisor(pid, &files));
    found.sort_by_key(|found| found.pid);
    Ok(found)
}

/// Returns what `look` finds at the items, in any order. Each processor takes the next item when it has finished one.
fn in_parallel<T: Sync, R: Send>(items: &[T], look: impl Fn(&T) -> Option<R> + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let take = || items.get(next.fetch_add(1, Ordering::Relaxed));
    let work = || iter::from_fn(take).filter_map(&look).collect::<Vec<R>>();
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(items.len() / ITEMS_OF_THREAD);
    thread::scope(|scope| {
        // Where no thread can be created, this one does the work alone.
        let others = (1..threads).filter_map(|_| thread::Builder::new().spawn_scoped(scope, work).ok());
        let others: Vec<_> = others.collect();
        let mut found = work();
        for other in others {
            found.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        found
    })
}

/// Returns the supervisor with the given pid. `None` if that process is no supervisor, or cannot be read.
fn supervisor(pid: u32, files: &MemoryFiles) -> Option<Found> {
    let process = Process::of(pid)?;
    let folder = process.descriptors()?;
    let mut buffer = [MaybeUninit::uninit(); LIST];
    let mut descriptors = RawDir::new(&folder, &mut buffer);
    let mut candidates = 0;
    while let Some(Ok(entry)) = descriptors.next() {
        // The others are the folder itself and its parent.
        let is_descriptor = entry.file_type() == FileType::Symlink;
        if !is_descriptor || !is_status_page(&folder, entry.file_name()) {
            continue;
        }
        if candidates == MAX_CANDIDATES {
            return None;
        }
        candidates += 1;
        let Some(file) = files.open(&folder, entry.file_name()) else { continue };
        let control_page = |place| control_page(&folder, files, place);
        let (supervisor, contents) = match read(&file, control_page) {
            Ok((status, view)) => (status.supervisor, Some((status, view))),
            Err(Unreadable::UnknownLayout { supervisor }) => (supervisor, None),
            Err(Unreadable::NotAPage) => continue,
        };
        // A process that a supervisor has just forked has inherited the descriptor, so the pid must match.
        if process.own_pid()? == supervisor {
            let program = contents.as_ref().map(|(status, _)| status.program.to_string());
            return Some(Found {
                pid,
                kernel_name: if contents.is_none() { process.kernel_name() } else { None },
                script: program.and_then(|program| process.script(&program)),
                service: process.service(),
                library_was_replaced: process.library_was_replaced(),
                pages: contents.map(|(status, view)| Pages {
                    instance: process.child(status.pid),
                    status,
                    view,
                }),
            });
        }
    }
    None
}

/// Returns `true` if the descriptor `name` in a folder of descriptors is shown as a memory file with the name of a status
/// page.
fn is_status_page(folder: &OwnedFd, name: &CStr) -> bool {
    let mut shown = [0; LINK];
    let Ok(length) = readlinkat_raw(folder, name, &mut shown) else { return false };
    let [before, after] = AROUND_NAME;
    let file = shown[..length].strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    file == Some(status_page::FILE.to_bytes())
}

/// Reads a status page, and the control page that it names.
///
/// Both are of the same moment, unless the supervisor still writes after [`MAX_READS`] attempts.
fn read(
    file: &File,
    control_page: impl Fn(PageLocation) -> Option<View>,
) -> Result<(Status, Option<View>), Unreadable> {
    let page = || words::<{ size_of::<Words>() / 8 }>(file, 0).ok_or(Unreadable::NotAPage);
    let mut last = Err(Unreadable::NotAPage);
    for _ in 0..MAX_READS {
        let words = page()?;
        last = Status::read(&words).map(|status| {
            let view = status.control_page.and_then(&control_page);
            (status, view)
        });
        let before = status_page::sequence(&words);
        let after = status_page::sequence(&page()?);
        if before == after && before % 2 == 0 {
            break;
        }
        std::thread::yield_now();
    }
    // A supervisor that was stopped (SIGSTOP) in the middle of a write does not complete it. A partly old status is
    // better than none.
    last
}

/// Reads the control page at `place` among the descriptors of a supervisor.
fn control_page(descriptors: &OwnedFd, files: &MemoryFiles, place: PageLocation) -> Option<View> {
    let file = files.open(descriptors, DecInt::new(place.descriptor))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_is_looked_at_once() {
        for number in [0, 1, 10 * ITEMS_OF_THREAD] {
            let items: Vec<usize> = (0..number).collect();
            let mut found = in_parallel(&items, |&item| (item % 3 == 0).then_some(item));
            found.sort_unstable();
            assert_eq!(found, (0..number).step_by(3).collect::<Vec<_>>());
        }
    }
}
