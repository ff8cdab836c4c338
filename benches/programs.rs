//! Runs the C programs of this folder with the library to be measured, and ends every process that they leave behind.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::Outcome;
use crate::measurements::Contender;
use crate::rivals;
use crate::samples::Samples;

/// The time limit for a program that should take seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// The compiled programs and the libraries to compare.
pub struct Programs {
    folder: PathBuf,
    /// The folder of this library.
    ours: PathBuf,
    /// The file of corosync's libsam.
    pub libsam4: PathBuf,
}

impl Programs {
    /// Checks that the programs find two different libraries.
    pub fn new(folder: &Path, ours: &Path) -> Outcome<Programs> {
        let folder = folder.canonicalize()?;
        let mut programs = Programs { folder, ours: ours.canonicalize()?, libsam4: PathBuf::new() };
        let loaded = |who| -> Outcome<PathBuf> {
            let mut command = programs.command(who, "./empty-linked");
            let output = command.env("LD_TRACE_LOADED_OBJECTS", "1").output()?;
            let text = String::from_utf8(output.stdout)?;
            let line = text.lines().find_map(|line| line.trim().strip_prefix("libsam.so.4 => "));
            let file = line.and_then(|line| Some(line.rsplit_once(" (0x")?.0)); // a path may have a space
            Ok(Path::new(file.ok_or("the programs find no libsam.so.4")?).canonicalize()?)
        };
        let ours = loaded(Contender::Ours)?;
        let libsam4 = loaded(Contender::Libsam4)?;
        if !ours.starts_with(&programs.ours) || libsam4 == ours {
            return Err(format!(
                "cannot compare {} with {}: expected this library and corosync's libsam",
                ours.display(),
                libsam4.display()
            )
            .into());
        }
        programs.libsam4 = libsam4;
        // Instances whose supervisor was killed are reparented to this process.
        nix::sys::prctl::set_child_subreaper(true)?;
        Ok(programs)
    }

    /// Returns the command that runs a program with the library of a contender.
    fn command(&self, who: Contender, words: &str) -> Command {
        let mut words = words.split_whitespace();
        let program = words.next().unwrap_or_default();
        let mut command = Command::new(self.folder.join(program));
        command.args(words).current_dir(&self.folder);
        command.env_remove("LD_LIBRARY_PATH").env_remove("SAM_STANDBY");
        match who {
            // The program without a library runs with the same environment, so that only the library differs.
            Contender::Ours | Contender::NoLibrary => {
                command.env("LD_LIBRARY_PATH", &self.ours);
            }
            Contender::OursWithSpare => {
                command.env("LD_LIBRARY_PATH", &self.ours).env("SAM_STANDBY", "1");
            }
            _ => {}
        }
        command
    }

    /// Runs a program and returns the samples that it prints.
    pub fn run(&self, who: Contender, words: &str) -> Outcome<Samples> {
        if matches!(who, Contender::Runit | Contender::S6) {
            return rivals::restart_time(words, &self.folder);
        }
        let printed = self.folder.join("printed");
        let complaints = self.folder.join("complaints");
        let mut command = self.command(who, words);
        command.stdin(Stdio::null()).stdout(File::create(&printed)?).stderr(File::create(&complaints)?);
        let mut child = command.process_group(0).spawn()?;
        let ended = wait_with_patience(&mut child);
        if !ended? {
            let told = fs::read_to_string(&complaints)?;
            let end = told.lines().rev().take(5).collect::<Vec<_>>();
            return Err(format!("failed: {}", end.join("; ")).into());
        }
        Ok(Samples::parse(&fs::read_to_string(&printed)?)?)
    }
}

/// Waits for a program, and ends the rest of its process group. Returns `true` if it succeeded within the time limit.
fn wait_with_patience(child: &mut Child) -> Outcome<bool> {
    let group = Pid::from_raw(child.id() as i32);
    let (done, is_done) = channel::<()>();
    let status = std::thread::scope(|scope| {
        scope.spawn(move || {
            if is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = killpg(group, Signal::SIGKILL);
            }
        });
        let status = child.wait();
        drop(done);
        status
    })?;
    let _ = killpg(group, Signal::SIGKILL);
    while waitpid(Pid::from_raw(-group.as_raw()), None).is_ok() {}
    Ok(status.success())
}
