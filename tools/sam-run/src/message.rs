//! The messages of sd_notify(3).

use std::time::Duration;

/// The longest message that is read. systemd has the same limit.
pub const MAX_BYTES: usize = 4096;

/// The content of a message, as far as sam-run understands it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Message {
    /// READY=1: the start is complete.
    pub ready: bool,
    /// STOPPING=1: the program has begun to end.
    pub stopping: bool,
    /// WATCHDOG=1: a heartbeat.
    pub heartbeat: bool,
    /// WATCHDOG=trigger: the program declares itself failed.
    pub failed: bool,
    /// MAINPID: another process is the main process of the program from now on.
    pub main_pid: Option<i32>,
    /// EXTEND_TIMEOUT_USEC: the start, or the end, takes this much longer.
    pub extension: Option<Duration>,
    /// The lines that a service manager above can use: READY, STATUS, RELOADING and what belongs to these.
    pub relayed: String,
}

impl Message {
    /// Reads a message. Returns `None` if it is too long or is not text.
    pub fn parse(bytes: &[u8]) -> Option<Message> {
        let text =
            std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_BYTES && !text.contains('\0'))?;
        let mut message = Message::default();
        for line in text.lines() {
            let Some((name, value)) = line.split_once('=') else { continue };
            match (name, value) {
                ("READY", "1") => message.ready = true,
                ("STOPPING", "1") => message.stopping = true,
                ("WATCHDOG", "1") => message.heartbeat = true,
                ("WATCHDOG", "trigger") => message.failed = true,
                ("MAINPID", pid) => message.main_pid = pid.parse().ok().filter(|&pid: &i32| pid > 1),
                ("EXTEND_TIMEOUT_USEC", time) => {
                    message.extension = time.parse().ok().map(Duration::from_micros);
                }
                _ => {}
            }
            // MAINPID is not passed on: the main process of the service is the supervisor. Nor are the heartbeats,
            // for the supervisor sends its own.
            let is_relayed =
                ["READY", "STATUS", "RELOADING", "MONOTONIC_USEC", "EXTEND_TIMEOUT_USEC"].contains(&name);
            if is_relayed {
                message.relayed.push_str(line);
                message.relayed.push('\n');
            }
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_has_one_assignment_per_line() {
        let message = Message::parse(b"READY=1\nSTATUS=a=b\nMAINPID=4711\nWATCHDOG=1\nX_OWN=1").unwrap();
        let expected = Message {
            ready: true,
            heartbeat: true,
            main_pid: Some(4711),
            relayed: "READY=1\nSTATUS=a=b\n".to_owned(),
            ..Message::default()
        };
        assert_eq!(message, expected);
        assert!(Message::parse(b"STOPPING=1").unwrap().stopping);
        assert!(Message::parse(b"WATCHDOG=trigger\n").unwrap().failed);
        let extension = Message::parse(b"EXTEND_TIMEOUT_USEC=5000").unwrap().extension;
        assert_eq!(extension, Some(Duration::from_millis(5)));
    }

    #[test]
    fn values_that_are_not_understood_are_ignored() {
        for text in
            ["", "\n", "=", "READY", "READY=", "READY=0", " READY=1", "ready=1", "WATCHDOG=2", "WATCHDOG=1 "]
        {
            let message = Message::parse(text.as_bytes()).unwrap();
            assert_eq!(Message { relayed: String::new(), ..message }, Message::default(), "{text:?}");
        }
        for pid in ["0", "1", "-1", "x", "99999999999"] {
            assert_eq!(Message::parse(format!("MAINPID={pid}").as_bytes()).unwrap().main_pid, None, "{pid}");
        }
    }

    #[test]
    fn message_that_is_too_long_or_not_text_is_refused() {
        assert!(Message::parse(&vec![b'x'; MAX_BYTES]).is_some());
        assert!(Message::parse(&vec![b'x'; MAX_BYTES + 1]).is_none());
        assert!(Message::parse(b"READY=1\nSTATUS=\xff").is_none());
        assert!(Message::parse(b"READY=1\0").is_none());
    }
}
