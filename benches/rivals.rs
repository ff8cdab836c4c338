//! The alternatives to the library: the same service under a classic supervisor.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Outcome;
use crate::samples::Samples;

/// The number of restarts per run. Each takes more than 1 s, the least time between two starts under these supervisors.
const RESTARTS: usize = 2;

/// A supervisor, which is told to end with its service when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// Runs the service under this supervisor until it has been restarted `RESTARTS` times. The supervisor executes the
/// compiled program, not a shell.
pub fn restart_time(supervisor: &str, programs: &Path) -> Outcome<Samples> {
    let service = programs.join("service");
    let _ = fs::remove_dir_all(&service);
    fs::create_dir(&service)?;
    symlink(programs.join("respawn"), service.join("run"))?;
    let mut command = Command::new(supervisor);
    command.arg(&service).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running(command.spawn()?);
    let deadline = Instant::now() + Duration::from_secs(30);
    let samples = loop {
        let text = fs::read_to_string(service.join("samples")).unwrap_or_default();
        if text.lines().count() >= RESTARTS {
            break Samples::parse(&text)?;
        }
        if Instant::now() > deadline {
            return Err(format!("{supervisor} did not restart its service within 30 s").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    drop(running);
    fs::remove_dir_all(&service)?;
    Ok(samples)
}
