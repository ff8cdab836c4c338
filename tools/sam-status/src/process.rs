//! Facts about processes that /proc shows.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// The beginnings of the names of programs that run a script.
const INTERPRETERS: [&str; 15] = [
    "python", "pypy", "perl", "ruby", "node", "php", "lua", "tclsh", "Rscript", "guile", "bash", "dash",
    "zsh", "ksh", "sh",
];

/// The largest part of a command line that is read. The user who starts a process chooses how long it is.
const MAX_COMMAND_LINE: u64 = 4096;

/// Returns the pid of a process in its own PID namespace. `process` is its folder in /proc.
pub fn own_pid(process: &Path) -> Option<i32> {
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
pub fn instance(supervisor: &Path, pid: i32) -> Option<u32> {
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

/// Returns the name of the process that the kernel keeps. `process` is its folder in /proc.
pub fn kernel_name(process: &Path) -> Option<String> {
    let name = fs::read(process.join("comm")).ok()?;
    Some(printable(name.strip_suffix(b"\n").unwrap_or(&name)))
}

/// Returns the file name of the script that `program` runs, if `program` is an interpreter. `process` is the folder of
/// the process in /proc.
pub fn script(program: &str, process: &Path) -> Option<String> {
    if !is_interpreter(program) {
        return None;
    }
    // The kernel reads the command line from the memory of the process. Since Linux 4.17 it does not read memory that is
    // a mapped file, which may be on a file system that does not answer.
    let mut line = vec![];
    File::open(process.join("cmdline")).ok()?.take(MAX_COMMAND_LINE).read_to_end(&mut line).ok()?;
    script_in(&line, program)
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

/// Returns the systemd unit that a process belongs to, if it is a service. `process` is its folder in /proc.
pub fn service(process: &Path) -> Option<String> {
    service_in(&fs::read_to_string(process.join("cgroup")).ok()?)
}

/// Returns the service in the text of a `/proc/PID/cgroup` file (cgroups(7)).
fn service_in(groups: &str) -> Option<String> {
    let folders =
        groups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).flat_map(|path| path.rsplit('/'));
    let mut services = folders.filter(|folder| folder.ends_with(".service") && !folder.starts_with("user@"));
    services.next().map(|service| printable(service.as_bytes()))
}

/// Returns `true` if the file of the libsam that a process uses was deleted or replaced. `process` is its folder in
/// /proc.
pub fn library_was_replaced(process: &Path) -> bool {
    let Ok(maps) = File::open(process.join("maps")) else { return false };
    BufReader::new(maps).lines().map_while(Result::ok).any(|line| is_deleted_library(&line))
}

/// Returns `true` if a line of a `/proc/PID/maps` file is about a deleted libsam.so.4 (proc_pid_maps(5)).
fn is_deleted_library(line: &str) -> bool {
    line.strip_suffix(" (deleted)").and_then(|line| line.rsplit('/').next()).is_some_and(|file| {
        let version = file.strip_prefix("libsam.so.4");
        version.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
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
        assert_eq!(pids("Name:\tx\nPid:\t7\nNSpid:\t7\n"), [7]);
        assert_eq!(pids("NSpid:\t4711\t12\t1\nNSpgid:\t1\n"), [4711, 12, 1]);
        assert!(pids("Name:\tx\n").is_empty());
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
        assert!(is_deleted_library(&format!("{start}/libsam.so.4.4.0 (deleted)")));
        assert!(is_deleted_library(&format!("{start}/libsam.so.4 (deleted)")));
        assert!(!is_deleted_library(&format!("{start}/libsam.so.4.4.0")));
        assert!(!is_deleted_library(&format!("{start}/libsample.so.4 (deleted)")));
        assert!(!is_deleted_library("7f00-7f01 rw-p 00000000 00:01 1 /memfd:sam-status (deleted)"));
    }
}
