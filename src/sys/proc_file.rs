//! Reads the files in /proc that tell about one process.

use std::fmt::Write as _;
use std::io::Read;

use nix::unistd::Pid;

/// Reads the file /proc/PID/`name` of the process with the pid `process` into `room`. Returns the bytes that were read:
/// the first ones if the file is larger than `room`, and none if it cannot be read.
pub fn read<'a>(process: Pid, name: &str, room: &'a mut [u8]) -> &'a [u8] {
    let mut path = String::with_capacity(32);
    let _ = write!(path, "/proc/{process}/{name}");
    let length = std::fs::File::open(path).and_then(|mut file| file.read(room));
    &room[..length.unwrap_or(0)]
}
