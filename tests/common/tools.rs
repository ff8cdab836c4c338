//! Commands that use the library under test, and a temporary folder for their files.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::{ffi::OsStringExt, fs::PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use super::{Running, forget_settings, prefix, reset_process_state};

/// The time limit for a command, far longer than any takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(600);

/// Returns a command that uses the library under test, whatever the caller's environment sets.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    reset_process_state();
    let mut command = Command::new(program);
    forget_settings(&mut command);
    command.env("LD_LIBRARY_PATH", prefix().join("lib")).env("SAM_LOG", "off");
    command
}

/// Runs a command to its end, and returns its status and its output. The test fails after `LIMIT`. Processes that the
/// command leaves behind are ended.
pub fn run(mut command: Command) -> (ExitStatus, String) {
    command.stdin(Stdio::null());
    let outcome = Running::start_with_one_pipe(command).finish(LIMIT);
    let status = outcome.status.unwrap_or_else(|| panic!("the command still ran after {LIMIT:?}: {outcome}"));
    (status, outcome.text())
}

/// Returns the compiler options of the installed `libsam.pc`. A shell splits them, as in a Makefile, because a path may
/// contain a space.
pub fn flags() -> Vec<OsString> {
    const SPLIT: &str =
        r#"flags=$(pkg-config --cflags --libs libsam); eval "set -- $flags"; printf '%s\0' "$@""#;
    let mut shell = command("sh");
    shell.args(["-ec", SPLIT]).env("PKG_CONFIG_PATH", prefix().join("lib/pkgconfig"));
    let output = shell.output().expect("run pkg-config");
    assert!(output.status.success(), "pkg-config failed: {output:?}");
    let flags = output.stdout.strip_suffix(b"\0").expect("options").split(|byte| *byte == 0);
    flags.map(|flag| OsString::from_vec(flag.to_vec())).collect()
}

/// Returns the path of a file in `examples/`.
pub fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(file)
}

/// Compiles an example against the installed library, every warning being an error. Returns the path of the program.
pub fn build_example(scratch: &Scratch, compiler: &[&str], file: &str) -> PathBuf {
    let binary = scratch.path(file.split('.').next().expect("a file name"));
    let mut cc = command(compiler[0]);
    cc.args(&compiler[1..]).args(["-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
    cc.arg(example(file)).args(flags()).arg("-o").arg(&binary);
    let (status, text) = run(cc);
    assert!(status.success(), "{compiler:?} {file} failed with {status}:\n{text}");
    binary
}

/// Copies a program. A child process writes the copy. If this process wrote it, a child that another test forks at that
/// moment would hold the file open until its exec, and the kernel would refuse to execute the copy (ETXTBSY).
pub fn copy_program(from: &Path, to: &Path) {
    let (status, said) = run({
        let mut copy = Command::new("cp");
        copy.arg("-L").args([from, to]);
        copy
    });
    assert!(status.success(), "cp {} {} failed: {said}", from.display(), to.display());
}

/// Writes a script that can be executed. Like [`copy_program`], it leaves the last step to a child process.
pub fn write_script(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    fs::write(&draft, text).expect("write a script");
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).expect("make a script executable");
    copy_program(&draft, path);
}

/// A temporary folder that is removed after the test.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes the folder. `name` tells the folders of one test program apart.
    pub fn new(name: &str) -> Scratch {
        // Commands in the documents do not quote paths, so the path has no space and nothing that pkg-config would
        // escape.
        let is_plain =
            |path: &PathBuf| path.to_str().is_some_and(|path| path.is_ascii() && !path.contains(' '));
        let parent = Some(std::env::temp_dir()).filter(is_plain).unwrap_or_else(|| "/tmp".into());
        let path = parent.join(format!("sam-test-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    /// Returns the path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
