//! Commands that use the library under test, and a place for their files.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{forget_settings, prefix};

/// Far longer than anything here takes, also on a machine that is busy with other things.
const LIMIT: Duration = Duration::from_secs(120);

/// A command that uses the library under test, whatever is set up outside.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    forget_settings(&mut command);
    command.env("LD_LIBRARY_PATH", prefix().join("lib")).env("SAM_LOG", "off");
    command
}

/// Runs a command until it and all that it left behind have closed its output, and returns its status and
/// what it wrote. It is ended, and the test fails, when that takes too long.
pub fn run(mut command: Command) -> (ExitStatus, String) {
    let name = format!("{command:?}");
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer).process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
    drop(command); // and with it the writing ends of the pipe

    let (sender, receiver) = mpsc::channel();
    let reading = thread::spawn(move || {
        let mut output = Vec::new();
        fs::File::from(reader).read_to_end(&mut output).unwrap();
        let _ = sender.send(());
        String::from_utf8_lossy(&output).into_owned()
    });
    let in_time = receiver.recv_timeout(LIMIT).is_ok();
    if !in_time {
        let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
    }
    let status = child.wait().unwrap();
    let output = reading.join().unwrap();
    assert!(in_time, "{name} still ran after {LIMIT:?}; it wrote:\n{output}");
    (status, output)
}

/// A file of `examples/`.
pub fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(file)
}

/// Compiles an example with `compiler` and every warning an error, against the installed library.
pub fn build_example(scratch: &Scratch, compiler: &[&str], file: &str) -> PathBuf {
    let binary = scratch.path(file.split('.').next().expect("a name"));
    let mut cc = command("sh");
    cc.args(["-c", r#"out=$0 file=$1; shift; "$@" "$file" $(pkg-config --cflags --libs libsam) -o "$out""#])
        .args([&binary, &example(file)])
        .args(compiler)
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror"])
        .env("PKG_CONFIG_PATH", prefix().join("lib/pkgconfig"));
    let (status, text) = run(cc);
    assert!(status.success(), "{compiler:?} {file}: {status}\n{text}");
    binary
}

/// A folder that is gone after the test.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes the folder; `name` tells the tests of a file apart.
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("sam-test-{name}-{}", std::process::id()));
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
