//! Commands that use the library under test, and a place for their files.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use super::{Running, forget_settings, prefix, reset_process_state};

/// Far longer than anything here takes, also on a machine that is busy with other things.
const LIMIT: Duration = Duration::from_secs(600);

/// A command that uses the library under test, whatever is set up outside.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    reset_process_state();
    let mut command = Command::new(program);
    forget_settings(&mut command);
    command.env("LD_LIBRARY_PATH", prefix().join("lib")).env("SAM_LOG", "off");
    command
}

/// Runs a command to its end, and returns its status and what it wrote. The test fails when that takes too long. What the
/// command leaves behind is ended.
pub fn run(mut command: Command) -> (ExitStatus, String) {
    command.stdin(Stdio::null());
    let outcome = Running::start_with_one_pipe(command).finish(LIMIT);
    let status = outcome.status.unwrap_or_else(|| panic!("still ran after {LIMIT:?}: {outcome}"));
    (status, outcome.text())
}

/// Returns the options that our installed `libsam.pc` has for a compiler. As in a Makefile, a shell splits them: a path
/// may have a space.
pub fn flags() -> Vec<OsString> {
    const SPLIT: &str =
        r#"flags=$(pkg-config --cflags --libs libsam); eval "set -- $flags"; printf '%s\0' "$@""#;
    let mut shell = command("sh");
    shell.args(["-ec", SPLIT]).env("PKG_CONFIG_PATH", prefix().join("lib/pkgconfig"));
    let output = shell.output().expect("run pkg-config");
    assert!(output.status.success(), "{output:?}");
    let flags = output.stdout.strip_suffix(b"\0").expect("options").split(|byte| *byte == 0);
    flags.map(|flag| OsString::from_vec(flag.to_vec())).collect()
}

/// A file of `examples/`.
pub fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(file)
}

/// Compiles an example with `compiler` and every warning an error, against the installed library.
pub fn build_example(scratch: &Scratch, compiler: &[&str], file: &str) -> PathBuf {
    let binary = scratch.path(file.split('.').next().expect("a name"));
    let mut cc = command(compiler[0]);
    cc.args(&compiler[1..]).args(["-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
    cc.arg(example(file)).args(flags()).arg("-o").arg(&binary);
    let (status, text) = run(cc);
    assert!(status.success(), "{compiler:?} {file}: {status}\n{text}");
    binary
}

/// Copies a program. In a process of its own: while this process has a file open for writing, a child that another test
/// forks meanwhile has it open, too, until it executes its program, and the kernel executes no such file (ETXTBSY).
pub fn copy_program(from: &Path, to: &Path) {
    let (status, said) = run({
        let mut copy = Command::new("cp");
        copy.arg("-L").args([from, to]);
        copy
    });
    assert!(status.success(), "cp {} {}: {said}", from.display(), to.display());
}

/// A folder that is gone after the test.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes the folder; `name` tells the tests of a file apart.
    pub fn new(name: &str) -> Scratch {
        // Commands in the documents do not quote: no space, and nothing that pkg-config escapes.
        let is_plain =
            |path: &PathBuf| path.to_str().is_some_and(|path| path.is_ascii() && !path.contains(' '));
        let parent = Some(std::env::temp_dir()).filter(is_plain).unwrap_or_else(|| "/tmp".into());
        let path = parent.join(format!("sam-test-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
