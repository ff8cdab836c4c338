//! Facts about processes that /proc shows.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Dir, Mode, OFlags, openat};
use rustix::path::Arg;

/// The beginnings of the names of programs that run a script.
const INTERPRETERS: [&str; 15] = [
    "python", "pypy", "perl", "ruby", "node", "php", "lua", "tclsh", "Rscript", "guile", "bash", "dash",
    "zsh", "ksh", "sh",
];

/// The largest part of a command line that is read. The user who starts a process chooses how long it is.
const MAX_COMMAND_LINE: u64 = 4096;

/// The capacity for the text of a file in /proc. Longer texts take more reads.
const TEXT: usize = 4096;

/// A process.
///
/// Its folder in /proc stays that of this process: once the process has ended, all reads fail, also if another process
/// has the same pid by then. So facts of two processes are never mixed.
#[derive(Debug)]
pub struct Process {
    /// The pid in the PID namespace of this process.
    pid: u32,
    folder: OwnedFd,
}

impl Process {
    /// Returns the process with the given pid. `None` if there is none, or /proc hides it from this user.
    pub fn of(pid: u32) -> Option<Process> {
        Some(Process { pid, folder: folder(CWD, format!("/proc/{pid}")).ok()? })
    }

    /// Opens the folder with the descriptors of the process.
    pub fn descriptors(&self) -> Option<OwnedFd> {
        open(&self.folder, "fd", OFlags::DIRECTORY).ok()
    }

    /// Returns the pid of the process in its own PID namespace.
    pub fn own_pid(&self) -> Option<i32> {
        own_pid(&text(&self.folder, "status")?)
    }

    /// Returns the child that has the pid `own` in its own PID namespace. The returned pid is the one in the namespace
    /// of sam-status. `None` if there is no such child, or `own` is 0.
    pub fn child(&self, own: i32) -> Option<u32> {
        if own == 0 {
            return None;
        }
        let status = |pid: i32| text(CWD, format!("/proc/{pid}/status"));
        // Without PID namespaces, both pids are the same.
        let is_child = |status: &str| own_pid(status) == Some(own) && parent(status) == Some(self.pid);
        if status(own).is_some_and(|status| is_child(&status)) {
            return own.try_into().ok();
        }
        let mut children = self.children().into_iter();
        let child = children.find(|&child| status(child).is_some_and(|status| own_pid(&status) == Some(own)));
        child?.try_into().ok()
    }

    /// Returns the pids of the children. Empty if the kernel has no `children` files (CONFIG_PROC_CHILDREN, see
    /// proc(5)).
    fn children(&self) -> Vec<i32> {
        let threads = open(&self.folder, "task", OFlags::DIRECTORY).and_then(Dir::new);
        let threads = threads.into_iter().flatten().flatten();
        let lists = threads.filter_map(|thread| {
            text(&self.folder, format!("task/{}/children", thread.file_name().to_str().ok()?))
        });
        lists
            .flat_map(|list| list.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect()
    }

    /// Returns the name of the process that the kernel keeps.
    pub fn kernel_name(&self) -> Option<String> {
        let name = text(&self.folder, "comm")?;
        Some(printable(name.strip_suffix('\n').unwrap_or(&name).as_bytes()))
    }

    /// Returns the file name of the script that the process runs, if `program` is an interpreter.
    pub fn script(&self, program: &str) -> Option<String> {
        if !is_interpreter(program) {
            return None;
        }
        // The kernel reads the command line from the memory of the process. Since Linux 4.17 it does not read memory
        // that is a mapped file, which may be on a file system that does not answer.
        let mut line = vec![];
        self.file("cmdline")?.take(MAX_COMMAND_LINE).read_to_end(&mut line).ok()?;
        script_in(&line, program)
    }

    /// Returns the systemd unit that the process belongs to, if it is a service.
    pub fn service(&self) -> Option<String> {
        service_in(&text(&self.folder, "cgroup")?)
    }

    /// Returns `true` if the file of the libsam that the process uses was deleted or replaced.
    pub fn library_was_replaced(&self) -> bool {
        let maps = self.file("maps").map(BufReader::new);
        let mut lines = maps.into_iter().flat_map(|maps| maps.split(b'\n')).map_while(io::Result::ok);
        lines.any(|line| is_deleted_library(&line))
    }

    /// Opens a file in the process's folder.
    fn file(&self, name: &str) -> Option<File> {
        open(&self.folder, name, OFlags::empty()).ok().map(File::from)
    }
}

/// Opens a file for reading, with more flags. `folder` is the folder that the path begins at.
pub fn open(folder: impl AsFd, path: impl Arg, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    openat(folder, path, OFlags::RDONLY | OFlags::CLOEXEC | flags, Mode::empty())
}

/// Opens a folder, to open files in it.
pub fn folder(folder: impl AsFd, path: impl Arg) -> rustix::io::Result<OwnedFd> {
    open(folder, path, OFlags::PATH | OFlags::DIRECTORY)
}

/// Returns the text of a file in /proc. What is not UTF-8 is replaced, because the name of a process can be any bytes.
pub fn text(folder: impl AsFd, path: impl Arg) -> Option<String> {
    let mut text = Vec::with_capacity(TEXT);
    let file = File::from(open(folder, path, OFlags::empty()).ok()?);
    // `take` keeps the standard library from asking for the length, which /proc does not know.
    file.take(u64::MAX).read_to_end(&mut text).ok()?;
    Some(String::from_utf8(text).unwrap_or_else(|text| String::from_utf8_lossy(text.as_bytes()).into_owned()))
}

/// Returns the value of a line in the text of a `/proc/PID/status` file.
fn value<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// Returns the pid of the parent in the text of a `/proc/PID/status` file.
fn parent(status: &str) -> Option<u32> {
    value(status, "PPid")?.trim().parse().ok()
}

/// Returns the pid of a process in its own PID namespace, in the text of its `/proc/PID/status` file. The line has the
/// pids from the outermost PID namespace to the innermost (proc(5)).
fn own_pid(status: &str) -> Option<i32> {
    value(status, "NSpid")?.split_whitespace().last()?.parse().ok()
}

/// Returns `true` if a program of this name runs a script: `python3.13`, but not `shutdown`.
fn is_interpreter(program: &str) -> bool {
    INTERPRETERS.iter().any(|name| {
        program
            .strip_prefix(name)
            .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '-'))
    })
}

/// Returns the file name of the script that `interpreter` runs in a command line, whose words end with a NUL byte. For
/// `python3 -m name` it is the name of the module. Words before the interpreter belong to a program that runs it, such
/// as sam-run.
fn script_in(line: &[u8], interpreter: &str) -> Option<String> {
    let file_name = |path: &[u8]| path.rsplit(|&byte| byte == b'/').next().map(printable);
    let mut words = line.split(|&byte| byte == 0).filter(|word| !word.is_empty());
    words.find(|word| file_name(word).as_deref() == Some(interpreter))?;
    loop {
        match words.next()? {
            // The program is in the command line itself.
            b"-c" | b"-e" => return None,
            b"-m" => return words.next().map(printable),
            // Options of Python with a value.
            b"-W" | b"-X" => _ = words.next(),
            [b'-', ..] => {}
            path => return file_name(path),
        }
    }
}

/// Returns the service in the text of a `/proc/PID/cgroup` file (cgroups(7)).
fn service_in(groups: &str) -> Option<String> {
    let folders =
        groups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).flat_map(|path| path.rsplit('/'));
    let mut services = folders.filter(|folder| folder.ends_with(".service") && !folder.starts_with("user@"));
    services.next().map(|service| printable(service.as_bytes()))
}

/// Returns `true` if a line of a `/proc/PID/maps` file is about a deleted libsam.so.4 (proc_pid_maps(5)).
fn is_deleted_library(line: &[u8]) -> bool {
    line.strip_suffix(b" (deleted)").and_then(|line| line.rsplit(|&byte| byte == b'/').next()).is_some_and(
        |file| {
            let version = file.strip_prefix(b"libsam.so.4");
            version.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
        },
    )
}

/// Returns text of another process for a terminal: control characters are replaced.
fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace(|c: char| c.is_control(), "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_in_namespaces_has_one_pid_for_each() {
        assert_eq!(own_pid("Name:\tx\nPid:\t7\nPPid:\t1\nNSpid:\t7\n"), Some(7));
        assert_eq!(own_pid("NSpid:\t4711\t12\t1\nNSpgid:\t1\n"), Some(1));
        assert_eq!(own_pid("Name:\tx\n"), None);
        assert_eq!(parent("Name:\tx\nPid:\t7\nPPid:\t5\nNSpid:\t7\n"), Some(5));
    }

    #[test]
    fn interpreter_is_known_by_its_name_with_any_version() {
        for name in ["python3", "python3.13", "perl", "sh", "bash", "php8.4", "node"] {
            assert!(is_interpreter(name), "{name}");
        }
        for name in ["daemon", "shutdown", "perldoc", "nodemon", "", "python3-config"] {
            assert!(!is_interpreter(name), "{name}");
        }
    }

    #[test]
    fn script_is_the_first_word_that_is_no_option() {
        for (line, interpreter, script) in [
            (&b"/usr/bin/python3\0-u\0/srv/feed/feed.py\0--fast\0"[..], "python3", Some("feed.py")),
            (b"python3\0-X\0dev\0-m\0http.server\0", "python3", Some("http.server")),
            (b"perl\0-w\0./poll.pl\0", "perl", Some("poll.pl")),
            (b"sam-run\0--interval\x005s\0--\0python3\0feed.py\0", "python3", Some("feed.py")),
            (b"sh\0-c\0sleep 1\0", "sh", None),
            (b"python3\0", "python3", None),
            (b"feed\0feed.py\0", "python3", None),
            (b"", "python3", None),
            (b"sh\0a\x1bb\0", "sh", Some("a?b")),
        ] {
            let found = script_in(line, interpreter);
            assert_eq!(found.as_deref(), script, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn service_is_the_innermost_one_of_the_control_group() {
        for (groups, service) in [
            ("0::/system.slice/counter.service\n", Some("counter.service")),
            ("0::/system.slice/counter.service/worker\n", Some("counter.service")),
            ("0::/user.slice/user-0.slice/user@0.service/app.slice/feed.service\n", Some("feed.service")),
            ("0::/user.slice/user-0.slice/session-1.scope\n", None),
            ("0::/user.slice/user-0.slice/user@0.service/init.scope\n", None),
            ("0::/\n", None),
            ("", None),
        ] {
            assert_eq!(service_in(groups).as_deref(), service, "{groups}");
        }
    }

    #[test]
    fn library_was_replaced_if_its_file_is_deleted() {
        let start = "7f00-7f01 r-xp 00000000 08:01 123    /usr/lib/x86_64-linux-gnu";
        assert!(is_deleted_library(format!("{start}/libsam.so.4.4.0 (deleted)").as_bytes()));
        assert!(is_deleted_library(format!("{start}/libsam.so.4 (deleted)").as_bytes()));
        assert!(!is_deleted_library(format!("{start}/libsam.so.4.4.0").as_bytes()));
        assert!(!is_deleted_library(format!("{start}/libsample.so.4 (deleted)").as_bytes()));
        assert!(!is_deleted_library(b"7f00-7f01 rw-p 00000000 00:01 1 /memfd:sam-status (deleted)"));
    }
}
