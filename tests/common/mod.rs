//! Runs the programs of `c-tests/` as a user would, with corosync's libsam or with this library, and ends every process
//! that they leave behind.

#![allow(dead_code, unused_imports)] // each test program uses a part of it

pub mod canary;
pub mod machine;
pub mod runner;
mod running;
pub mod tools;

use std::{
    collections::{HashMap, HashSet},
    env, fs,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, OnceLock},
    thread,
    time::Duration,
};

pub use running::{Ended, Outcome, PATIENCE, Running, reset_process_state};

/// The library that a program runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Library {
    /// Corosync's libsam (Debian's libsam4), as the loader finds it.
    Original,
    /// This library, found by `LD_LIBRARY_PATH`.
    Ours,
    /// This library, forced in by `LD_PRELOAD`.
    OursPreloaded,
}

/// Returns the libraries that a test compares: corosync's libsam first, then this library. With SAM_WITHOUT_ORIGINAL in
/// the environment, as on a machine that has no packages, this library alone.
pub fn libraries() -> Vec<Library> {
    let without_original = env::var_os("SAM_WITHOUT_ORIGINAL").is_some();
    [Library::Original, Library::Ours].into_iter().skip(without_original.into()).collect()
}

/// The headers and the library that a program was built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Built {
    /// Corosync's headers and libsam, with which distributions have built their programs so far.
    WithOriginal,
    /// The installed headers and library of libsam-rs.
    WithOurs,
    /// As `WithOurs`, with gcc's or clang's address and undefined-behaviour sanitizers.
    Sanitized,
}

/// Returns the folder that `make install prefix=..` filled.
pub fn prefix() -> PathBuf {
    reset_process_state();
    let prefix = env::var_os("SAM_PREFIX")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/prefix"), PathBuf::from);
    let prefix = prefix.canonicalize().unwrap_or(prefix);
    assert!(
        prefix.join("lib/libsam.so.4").exists(),
        "no library in {0}/lib: run make install prefix={0} libdir={0}/lib",
        prefix.display()
    );
    prefix
}

/// A program of `c-tests/` with its arguments.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    command: Vec<String>,
}

/// Removes this library's settings (`SAM_*`) from the environment of `command`, so that those of the caller do not
/// change the tests.
pub fn forget_settings(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("SAM_") {
            command.env_remove(name);
        }
    }
}

impl Program {
    /// Builds the program named by the first word of `command`. The other words are its arguments.
    pub fn new(built: Built, command: &[&str]) -> Program {
        Program {
            path: build(built, command[0]),
            command: command.iter().map(|word| word.to_string()).collect(),
        }
    }

    /// Returns a command that starts the program with `library`. For tests that start it in a special way.
    pub fn command(&self, library: Library) -> Command {
        self.command_through(&[], library)
    }

    /// Returns a command that starts the program with `library` through other commands, which become the program by
    /// exec.
    pub fn command_through(&self, others: &[&str], library: Library) -> Command {
        check_library(&self.path, library);
        let path = self.path.to_str().expect("a path in UTF-8");
        let mut words = others.iter().copied().chain([path]);
        let mut command = with_library(Command::new(words.next().expect("a command")), library);
        command.args(words).args(&self.command[1..]);
        forget_settings(&mut command);
        // This library's log belongs to what a failed test shows.
        command.env("SAM_LOG", "stderr");
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Returns the files that the program needs to run with `library`: itself, the loader, and each shared library.
    pub fn files(&self, library: Library) -> Vec<PathBuf> {
        check_library(&self.path, library);
        [vec![self.path.clone()], loaded(&self.path, library)].concat()
    }

    /// Starts the program with `library`.
    pub fn start(&self, library: Library) -> Running {
        self.start_as(self.command(library))
    }

    /// Starts the program with a command that `command` or `command_through` returned.
    pub fn start_as(&self, command: Command) -> Running {
        Running::start(command)
    }

    /// Runs the program with `library` to its end.
    pub fn run(&self, library: Library) -> Outcome {
        self.start(library).finish(PATIENCE)
    }

    /// Runs the program with `library`, and ends it as soon as it is stuck.
    pub fn run_until_stuck(&self, library: Library) -> Outcome {
        self.start(library).finish_when_stuck()
    }
}

/// The compiler options that build a program with sanitizers.
pub const SANITIZERS: [&str; 3] = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/// Builds a program of `c-tests/` once, and returns its path.
pub fn build(built: Built, name: &str) -> PathBuf {
    static PROGRAMS: OnceLock<Mutex<HashMap<(Built, String), PathBuf>>> = OnceLock::new();
    let mut programs =
        PROGRAMS.get_or_init(Mutex::default).lock().unwrap_or_else(|broken| broken.into_inner());
    let program = programs.entry((built, name.to_owned()));
    program.or_insert_with(|| compile(built, name)).clone()
}

/// Compiles a program of `c-tests/`. Every warning is an error. With SAM_PROGRAMS in the environment, as on a machine
/// without a compiler, the programs are in that folder.
fn compile(built: Built, name: &str) -> PathBuf {
    if let Some(folder) = env::var_os("SAM_PROGRAMS") {
        assert_eq!(built, Built::WithOurs, "a program of SAM_PROGRAMS");
        return Path::new(&folder).join(name);
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("c-tests/{built:?}"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("c-tests/{name}.c"));
    // Another test program may build the same program at this moment, so build under a name of our own and rename.
    let unfinished = folder.join(format!("{name}.{}", std::process::id()));
    let program = folder.join(name);
    fs::create_dir_all(&folder).expect("a folder for test programs");
    let mut compiler = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    compiler
        .args([
            "-std=c99",
            "-D_GNU_SOURCE",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-pthread",
            "-o",
        ])
        .arg(&unfinished)
        .arg(&source);
    match built {
        Built::WithOurs => compiler.args(tools::flags()),
        Built::Sanitized => compiler.args(SANITIZERS).args(tools::flags()),
        Built::WithOriginal => compiler.arg("-lsam"),
    };
    compiler.args(["-Wl,--as-needed", "-lcpg"]);
    reset_process_state();
    let output = compiler.output().expect("run the C compiler");
    assert!(output.status.success(), "{compiler:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    fs::rename(&unfinished, &program).expect("put the test program in its place");
    program
}

/// Makes `command` run with `library`.
fn with_library(mut command: Command, library: Library) -> Command {
    command.env_remove("LD_LIBRARY_PATH").env_remove("LD_PRELOAD");
    match library {
        Library::Original => &mut command,
        Library::Ours => command.env("LD_LIBRARY_PATH", prefix().join("lib")),
        // LD_PRELOAD separates its entries by spaces, so it cannot name a path that contains one.
        Library::OursPreloaded => {
            command.env("LD_PRELOAD", "./libsam.so.4").current_dir(prefix().join("lib"))
        }
    };
    command
}

/// Returns the shared libraries that the loader finds for a program, and the loader itself.
fn loaded(program: &Path, library: Library) -> Vec<PathBuf> {
    let mut loader = with_library(Command::new(program), library);
    reset_process_state();
    let output = loader.env("LD_TRACE_LOADED_OBJECTS", "1").output().expect("ask the loader");
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    // A line is NAME => PATH (ADDRESS), or PATH (ADDRESS) for the loader and preloaded libraries. The vDSO has no path.
    let paths = answer.lines().filter_map(|line| line.trim().rsplit_once(" (0x"));
    let paths = paths.map(|(line, _)| line.split_once(" => ").map_or(line, |(_, path)| path));
    paths.filter(|path| path.contains('/')).map(|path| prefix().join("lib").join(path)).collect()
}

/// Checks once that the loader gives the program exactly one libsam, and the requested one.
fn check_library(program: &Path, library: Library) {
    static CHECKED: OnceLock<Mutex<HashSet<(PathBuf, Library)>>> = OnceLock::new();
    let mut checked = CHECKED.get_or_init(Mutex::default).lock().unwrap_or_else(|broken| broken.into_inner());
    if !checked.insert((program.to_owned(), library)) {
        return;
    }
    let all = loaded(program, library);
    let is_libsam =
        |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libsam."));
    let found: Vec<PathBuf> =
        all.iter().filter(is_libsam).filter_map(|path| path.canonicalize().ok()).collect();
    let ours = prefix().join("lib/libsam.so.4").canonicalize().expect("our library");
    let right = match library {
        Library::Original => found.len() == 1 && found[0] != ours,
        Library::Ours | Library::OursPreloaded => found == [ours],
    };
    assert!(
        right,
        "{} would run with {found:?} instead of {library:?} (is libsam4 installed?), shared libraries: {all:#?}",
        program.display()
    );
}
