//! Finds the supervisors on this machine, as far as the user may read their descriptors in /proc.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::memory::MemoryFiles;
use crate::process;
use crate::shared::control_page::View;
use crate::shared::status_page::{self, PageLocation, Status, Unreadable, Words};

/// The number of attempts to read a status page that the supervisor is writing to.
const MAX_READS: usize = 100;

/// The maximum number of files that are opened for one process. A supervisor has one status page, but a hostile process
/// may have any number of files with the same name.
const MAX_CANDIDATES: usize = 8;

/// A supervisor that was found.
#[derive(Debug)]
pub struct Found {
    /// The pid of the supervisor in the PID namespace of this process.
    pub pid: u32,
    /// The name of the process that the kernel keeps.
    pub kernel_name: String,
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
    let folder = Path::new("/proc").join(pid.to_string());
    let wanted = format!("/memfd:{} (deleted)", status_page::FILE.to_str().ok()?);
    let descriptors = fs::read_dir(folder.join("fd")).ok()?;
    let paths = descriptors.map_while(|entry| Some(entry.ok()?.path()));
    let named =
        paths.filter(|path| fs::read_link(path).is_ok_and(|link| link.as_os_str() == wanted.as_str()));
    for path in named.take(MAX_CANDIDATES) {
        let Some(file) = files.open(&path) else { continue };
        let control_page = |place| control_page(&folder, files, place);
        let (supervisor, contents) = match read(&file, control_page) {
            Ok((status, view)) => (status.supervisor, Some((status, view))),
            Err(Unreadable::UnknownLayout { supervisor }) => (supervisor, None),
            Err(Unreadable::NotAPage) => continue,
        };
        // A process that a supervisor has just forked has inherited the descriptor, so the pid must match.
        if process::own_pid(&folder)? == supervisor {
            let program = contents.as_ref().map(|(status, _)| status.program.to_string());
            return Some(Found {
                pid,
                kernel_name: process::kernel_name(&folder).unwrap_or_default(),
                script: program.and_then(|program| process::script(&program, &folder)),
                service: process::service(&folder),
                library_was_replaced: process::library_was_replaced(&folder),
                pages: contents.map(|(status, view)| Pages {
                    instance: process::instance(&folder, status.pid),
                    status,
                    view,
                }),
            });
        }
    }
    None
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
