//! The options of sam-run.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::values::{self, Address, RestartDelay, RestartLimit, Signal};

/// The longest silence allowed unless `--interval` sets another: a program that has to send WATCHDOG=1 more often than
/// every 15 s is rare.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);

/// The variables by which the library is configured. The program does not get them.
pub const LIBRARY_VARIABLES: [&str; 12] = [
    "SAM_DEBUG_HOLD",
    "SAM_FORWARD_SIGNALS",
    "SAM_HANG_GRACE",
    "SAM_HANG_SIGNAL",
    "SAM_KILL_GROUP",
    "SAM_LOG",
    "SAM_NAME",
    "SAM_NOTIFY",
    "SAM_RESTART_DELAY",
    "SAM_RESTART_LIMIT",
    "SAM_STANDBY",
    "SAM_WARN_SIGNAL",
];

/// The end of the program after which it is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Restart {
    /// After each end.
    Always,
    /// After each end but an exit with status 0.
    OnFailure,
    /// After none.
    Never,
}

/// Runs PROGRAM under the supervision of libsam, and starts it again when it crashes or hangs.
#[derive(Debug, Parser)]
#[command(name = "sam-run", version, override_usage = "sam-run [OPTIONS] -- PROGRAM [ARGUMENT]...")]
pub struct Options {
    /// Name in sam-status and the log [default: the name of the program]
    #[arg(short, long)]
    pub name: Option<String>,
    /// Longest silence allowed between two heartbeats, such as 500ms or 10s [default: 30s]
    #[arg(short, long, value_name = "TIME", value_parser = values::time)]
    pub interval: Option<Duration>,
    /// Take the program's WATCHDOG=1 messages as heartbeats
    #[arg(long)]
    pub watchdog: bool,
    /// Take exit status 0 of this shell command as a heartbeat
    #[arg(long, value_name = "COMMAND")]
    pub check: Option<String>,
    /// Time between two starts of the check [default: half the interval]
    #[arg(long, value_name = "TIME", value_parser = values::time, requires = "check")]
    pub check_every: Option<Duration>,
    /// Time after which a check is killed [default: half the interval]
    #[arg(long, value_name = "TIME", value_parser = values::time, requires = "check")]
    pub check_timeout: Option<Duration>,
    /// Begin supervision with the program's READY=1
    #[arg(long)]
    pub ready: bool,
    /// Longest time until READY=1, and from STOPPING=1 to the end
    #[arg(long, value_name = "TIME", value_parser = values::time, default_value = "90s")]
    pub start_timeout: Duration,
    /// Open a socket and pass it to every instance: ADDR:PORT or unix:PATH; repeatable
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    pub listen: Vec<Address>,
    /// Run the program only while the cluster partition is quorate
    #[arg(long)]
    pub quorum: bool,
    /// Show the state to corosync's watchdog
    #[arg(long)]
    pub cmap: bool,
    /// Ends after which the program is started again
    #[arg(long, value_name = "WHEN", default_value = "always")]
    pub restart: Restart,
    /// Give up after more than N restarts in TIME
    #[arg(long, value_name = "N/TIME", value_parser = values::restart_limit)]
    pub restart_limit: Option<RestartLimit>,
    /// Wait before a restart, twice as long each time [default: 1ms..10s]
    #[arg(long, value_name = "MIN..MAX", value_parser = values::restart_delay)]
    pub restart_delay: Option<RestartDelay>,
    /// Signal that replaces SIGTERM for the program
    #[arg(long, value_name = "SIGNAL", value_parser = values::signal)]
    pub stop_signal: Option<Signal>,
    /// Signal that warns a silent program, or none [default: TERM]
    #[arg(long, value_name = "SIGNAL", value_parser = values::signal_or_none)]
    pub warn_signal: Option<Signal>,
    /// Signal for a hung program before SIGKILL, such as ABRT
    #[arg(long, value_name = "SIGNAL", value_parser = values::signal)]
    pub hang_signal: Option<Signal>,
    /// Kill the processes that the program leaves behind
    #[arg(long)]
    pub kill_group: bool,
    /// The program and its arguments
    #[arg(value_name = "PROGRAM", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<OsString>,
}

impl Options {
    /// Returns `true` if a process stays between the supervisor and the program.
    pub fn needs_agent(&self) -> bool {
        self.watchdog
            || self.check.is_some()
            || self.ready
            || self.quorum
            || self.restart == Restart::OnFailure
            || self.stop_signal.is_some()
    }

    /// Returns the longest silence allowed, or `None` if no heartbeats are expected.
    pub fn interval(&self) -> Option<Duration> {
        let default = (self.watchdog || self.check.is_some()).then_some(DEFAULT_INTERVAL);
        self.interval.filter(|_| self.needs_agent()).or(default)
    }

    /// Returns the time between two starts of the check, and the time after which a check is killed.
    pub fn check_times(&self) -> (Duration, Duration) {
        let half = self.interval().unwrap_or(DEFAULT_INTERVAL) / 2;
        (self.check_every.unwrap_or(half), self.check_timeout.unwrap_or(half))
    }

    /// Returns the name in sam-status and the log.
    pub fn name(&self) -> String {
        let file = Path::new(&self.command[0]).file_name().unwrap_or(&self.command[0]);
        self.name.clone().unwrap_or_else(|| file.to_string_lossy().into_owned())
    }

    /// Returns the signal that warns a silent program; 0: none. `variable` is the value of SAM_WARN_SIGNAL.
    ///
    /// # Errors
    /// The variable is no signal.
    pub fn warning(&self, variable: Option<String>) -> Result<Signal, String> {
        match (self.warn_signal, variable) {
            (Some(signal), _) => Ok(signal),
            (None, Some(text)) if text == "0" => Ok(Signal(0)),
            (None, Some(text)) => values::signal(&text).map_err(|error| format!("SAM_WARN_SIGNAL: {error}")),
            (None, None) => Ok(Signal(libc::SIGTERM)),
        }
    }

    /// Returns the variables that configure the library. `is_set` tells whether the caller has set a variable.
    pub fn library_settings(&self, is_set: impl Fn(&str) -> bool) -> Vec<(&'static str, String)> {
        let mut settings = vec![("SAM_NAME", self.name())];
        let limit = self.restart_limit.as_ref().map(|limit| ("SAM_RESTART_LIMIT", limit.0.clone()));
        // A program that fails at once is not started a thousand times per second.
        let delay = self.restart_delay.as_ref().map(|delay| delay.0.clone());
        let delay = delay.or_else(|| (!is_set("SAM_RESTART_DELAY")).then(|| "1..10000".to_owned()));
        let delay = delay.map(|delay| ("SAM_RESTART_DELAY", delay));
        let hang = self.hang_signal.map(|signal| ("SAM_HANG_SIGNAL", signal.0.to_string()));
        // The agent's end must be the program's.
        let group = (self.kill_group || self.needs_agent()).then(|| ("SAM_KILL_GROUP", "1".to_owned()));
        settings.extend([limit, delay, hang, group].into_iter().flatten());
        settings
    }

    /// Checks what depends on more than one option.
    ///
    /// # Errors
    /// A sentence that says which options do not fit together.
    pub fn check(&self) -> Result<(), String> {
        let has_heartbeats = self.watchdog || self.check.is_some() || self.quorum;
        if self.interval.is_some() && !has_heartbeats {
            return Err("--interval needs --watchdog or --check, which send heartbeats".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "../../completions.rs"]
mod completions;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn options(arguments: &str) -> Options {
        let words = ["sam-run"].into_iter().chain(arguments.split(' '));
        Options::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn program_keeps_its_own_options() {
        let options = options("-i 5s --watchdog -- ls -l --watchdog");
        assert_eq!(options.command, ["ls", "-l", "--watchdog"]);
        assert_eq!(options.interval(), Some(Duration::from_secs(5)));
    }

    #[test]
    fn agent_is_needed_only_where_something_has_to_be_watched() {
        for none in ["x", "--restart never x", "--listen 127.0.0.1:1 --cmap --kill-group x"] {
            assert!(!options(none).needs_agent(), "{none}");
        }
        for some in ["--watchdog", "--check true", "--ready", "--quorum", "--restart on-failure"] {
            assert!(options(&format!("{some} x")).needs_agent(), "{some}");
        }
    }

    #[test]
    fn settings_of_the_library_follow_from_the_options() {
        let settings = |text: &str| options(text).library_settings(|_| false);
        assert_eq!(
            settings("/usr/bin/x"),
            [("SAM_NAME", "x".to_owned()), ("SAM_RESTART_DELAY", "1..10000".to_owned())]
        );
        let all = settings("-n y --restart-limit 5/1min --restart-delay 1s --hang-signal ABRT --watchdog x");
        let all: Vec<_> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            all.join(" "),
            "SAM_NAME=y SAM_RESTART_LIMIT=5/60 SAM_RESTART_DELAY=1000..1000 SAM_HANG_SIGNAL=6 SAM_KILL_GROUP=1"
        );
        assert_eq!(options("x").library_settings(|_| true), [("SAM_NAME", "x".to_owned())]);
    }

    #[test]
    fn installed_completions_are_those_of_the_options() {
        completions::check(Options::command());
    }

    #[test]
    fn option_for_the_warning_has_precedence_over_the_variable() {
        let warning = |text: &str, variable: Option<&str>| options(text).warning(variable.map(str::to_owned));
        assert_eq!(warning("x", None), Ok(Signal(15)));
        assert_eq!(warning("x", Some("USR1")), Ok(Signal(10)));
        assert_eq!(warning("x", Some("0")), Ok(Signal(0)));
        assert_eq!(warning("--warn-signal none x", Some("USR1")), Ok(Signal(0)));
        assert!(warning("x", Some("no signal")).is_err());
    }

    #[test]
    fn interval_without_heartbeats_is_refused() {
        assert!(options("-i 5s x").check().is_err());
        assert!(options("-i 5s --check true x").check().is_ok());
        assert_eq!(options("--check true x").interval(), Some(Duration::from_secs(30)));
        assert_eq!(options("--quorum x").interval(), None);
    }

    #[test]
    fn every_variable_of_the_library_is_kept_from_the_program() {
        let source = include_str!("../../../src/settings.rs");
        let word = |c: char| !(c.is_ascii_uppercase() || c == '_');
        let names = source.split(word).filter(|name| name.starts_with("SAM_") && name.len() > 4);
        for name in names {
            assert!(LIBRARY_VARIABLES.contains(&name), "{name}");
        }
    }
}
