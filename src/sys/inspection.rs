//! Finds out whether a debugger traces a process and whether the kernel writes its core file, from /proc.

use nix::unistd::Pid;

use super::proc_file;

/// The reasons why a hung instance may not be at fault: a debugger has stopped it, or the kernel writes its core file.
/// Read from /proc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inspection {
    /// `true` if a debugger traces the inspected process.
    pub traced: bool,
    /// `true` if the kernel writes the core file of the inspected process, which has crashed.
    pub dumping: bool,
}

impl Inspection {
    /// Reads from /proc whether a debugger traces `process`, and whether the kernel writes its core file. Both are
    /// `false` if /proc cannot be read.
    pub fn of(process: Pid) -> Inspection {
        Inspection::in_status(proc_file::read(process, "status", &mut [0; 4096]))
    }

    /// Finds in `text`, the contents of /proc/PID/status or the beginning of it, whether a debugger traces the process
    /// and whether the kernel writes its core file.
    fn in_status(text: &[u8]) -> Inspection {
        let mut found = Inspection::default();
        for line in text.split(|&byte| byte == b'\n') {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            let value = line[colon + 1..].trim_ascii();
            match &line[..colon] {
                // A tracer outside of this container has no pid here, but the stop that it causes shows.
                b"State" => found.traced |= value.starts_with(b"t"),
                b"TracerPid" => found.traced |= value != b"0",
                b"CoreDumping" => found.dumping = value == b"1",
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_file_shows_tracer_and_core_dump() {
        let status = |state: &str, tracer: u32, dumping: u32| {
            let text = format!(
                "Name:\tprog\nState:\t{state}\nPid:\t7\nTracerPid:\t{tracer}\nGroups:\t0 1 \nCoreDumping:\t{dumping}\n"
            );
            Inspection::in_status(text.as_bytes())
        };
        let inspection = |traced, dumping| Inspection { traced, dumping };
        assert_eq!(status("S (sleeping)", 0, 0), inspection(false, false));
        assert_eq!(status("S (sleeping)", 12, 0), inspection(true, false));
        assert_eq!(status("t (tracing stop)", 0, 0), inspection(true, false));
        assert_eq!(status("T (stopped)", 0, 0), inspection(false, false));
        assert_eq!(status("D (disk sleep)", 0, 1), inspection(false, true));
        assert_eq!(Inspection::in_status(b"Name:\tTracerPid:\tState"), inspection(false, false));
        assert_eq!(Inspection::in_status(b""), inspection(false, false));
    }

    #[test]
    fn process_without_tracer_is_not_traced() {
        assert_eq!(Inspection::of(Pid::from_raw(1)), Inspection::default());
        assert_eq!(Inspection::of(Pid::from_raw(-1)), Inspection::default());
    }
}
