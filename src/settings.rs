//! The environment variables by which an administrator configures programs that cannot be rebuilt.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::sys::signals::Signal;

/// The destination of the log, which the environment variable SAM_LOG selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Route {
    /// The log goes to a place where it is read: the journal if standard error goes there, else the syslog daemon if
    /// there is one, else standard error.
    #[default]
    Found,
    /// The log goes to the syslog daemon.
    Syslog,
    /// The log goes to the systemd journal, with fields beside the text.
    Journal,
    /// The log goes to the standard error of the program.
    Stderr,
    /// No log is written.
    Off,
}

/// The limit on restarts that SAM_RESTART_LIMIT sets: how many restarts are allowed within some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RestartLimit {
    /// The largest number of restarts within the time `window`.
    pub restarts: usize,
    /// The span of time in which at most `restarts` restarts are allowed.
    pub window: Duration,
}

/// The pauses before restarts that SAM_RESTART_DELAY sets. The pause doubles from restart to restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RestartDelay {
    /// The pause before the first restart. Each later pause is twice as long as the one before.
    pub first: Duration,
    /// The longest pause before a restart.
    pub last: Duration,
}

/// The signal that the supervisor sends a hung instance first, so that the instance can write a core file. SIGKILL
/// follows after a timeout. Set by SAM_HANG_SIGNAL and SAM_HANG_GRACE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HangSignal {
    /// The signal that the supervisor sends a hung instance at the time at which it would otherwise send SIGKILL.
    pub signal: Signal,
    /// The time between this signal and SIGKILL, in which the instance can end by itself.
    pub timeout: Duration,
}

impl HangSignal {
    /// The time between the signal to a hung instance and SIGKILL, unless SAM_HANG_GRACE sets another. It is enough for
    /// a core file of some GB.
    const TIMEOUT: Duration = Duration::from_secs(10);
}

/// The notifications that the supervisor sends to the service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Notify {
    /// The supervisor sends nothing.
    #[default]
    Nothing,
    /// The supervisor sends its state, and signs of life for the watchdog.
    State,
    /// As `State`. Also tells when the program is ready, and when it has ended for good.
    Readiness,
}

/// The settings of a supervisor from the environment variables of the program, which an administrator sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Settings {
    /// SAM_LOG: the destination of the log.
    pub log: Route,
    /// SAM_RESTART_LIMIT: the limit on restarts. `None`: no limit.
    pub restart_limit: Option<RestartLimit>,
    /// SAM_RESTART_DELAY: the pauses before restarts. `None`: the supervisor restarts at once.
    pub restart_delay: Option<RestartDelay>,
    /// SAM_STANDBY: the supervisor forks the next instance in advance, and lets it wait.
    pub standby: bool,
    /// SAM_WARN_SIGNAL: the number of the warning signal, whatever the program sets. 0 for no warning. `None`: the
    /// program decides.
    pub warn_signal: Option<i32>,
    /// SAM_HANG_SIGNAL and SAM_HANG_GRACE: the signal before SIGKILL. `None`: a hung instance gets SIGKILL at once.
    pub hang_signal: Option<HangSignal>,
    /// SAM_DEBUG_HOLD: the supervisor checks no deadlines while a debugger traces the instance.
    pub debug_hold: bool,
    /// SAM_KILL_GROUP: the supervisor kills the processes that a dead instance left behind.
    pub kill_group: bool,
    /// SAM_NOTIFY: the notifications that the supervisor sends to systemd, see sd_notify(3).
    pub notify: Notify,
    /// SAM_FORWARD_SIGNALS=0: the supervisor does not forward the signals that it receives to the instance.
    pub withhold_signals: bool,
}

/// The error of a setting whose environment variable has a value that is not allowed. `sam_initialize` logs it and
/// fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The name of the environment variable that has the wrong value, such as SAM_RESTART_LIMIT.
    pub variable: &'static str,
    /// The first 100 characters of the wrong value of the environment variable.
    pub value: String,
    /// A description of the values that are allowed for the environment variable.
    pub allowed: &'static str,
    /// The destination of the log line about the wrong value: the one that SAM_LOG names, or the default if SAM_LOG has
    /// the wrong value.
    pub log: Route,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Malformed { variable, value, allowed, .. } = self;
        write!(f, "sam_initialize failed (CS_ERR_INVALID_PARAM): {variable} is {value:?}, expected {allowed}")
    }
}

impl Settings {
    /// Reads all settings from the environment of the program. `environment` returns the value of the variable with the
    /// given name, or `None` if that is not set.
    ///
    /// # Errors
    /// The first environment variable whose value is not allowed.
    pub fn read(environment: impl Fn(&str) -> Option<Vec<u8>>) -> Result<Settings, Malformed> {
        let mut settings = Settings::default();
        let log = "auto, syslog, journal, stderr or off";
        if let Some(route) = parsed(&environment, Route::default(), "SAM_LOG", log, route)? {
            settings.log = route;
        }
        let log = settings.log;
        settings.restart_limit = parsed(
            &environment,
            log,
            "SAM_RESTART_LIMIT",
            "N/SECONDS, N from 1 to 100000 and SECONDS from 1 to 31536000",
            restart_limit,
        )?;
        settings.restart_delay = parsed(
            &environment,
            log,
            "SAM_RESTART_DELAY",
            "MS or MS..MAXMS, each from 1 to 86400000 and MAXMS not below MS",
            restart_delay,
        )?;
        let allowed = "a signal by its name or number, such as USR1, SIGUSR1 or 10, or 0 for no warning";
        settings.warn_signal = parsed(&environment, log, "SAM_WARN_SIGNAL", allowed, warn_signal)?;
        let allowed = "a signal by its name or number, such as ABRT, SIGABRT or 6";
        let signal = parsed(&environment, log, "SAM_HANG_SIGNAL", allowed, signal)?;
        let allowed = "a number of ms from 1 to 86400000";
        let timeout = parsed(&environment, log, "SAM_HANG_GRACE", allowed, milliseconds)?;
        let timeout = timeout.unwrap_or(HangSignal::TIMEOUT);
        settings.hang_signal = signal.map(|signal| HangSignal { signal, timeout });
        let given = |variable| parsed(&environment, log, variable, "0 or 1", switch);
        let switched = |variable| Ok(given(variable)?.unwrap_or(false));
        settings.debug_hold = switched("SAM_DEBUG_HOLD")?;
        settings.kill_group = switched("SAM_KILL_GROUP")?;
        settings.standby = switched("SAM_STANDBY")?;
        let notify = parsed(&environment, log, "SAM_NOTIFY", "0, 1 or ready", notify)?;
        settings.notify = notify.unwrap_or_default();
        settings.withhold_signals = given("SAM_FORWARD_SIGNALS")? == Some(false);
        Ok(settings)
    }
}

/// Reads the environment variable with the name `variable`, and converts its value by `parse`. Returns `Ok(None)` if
/// the variable is not set.
///
/// # Errors
/// `parse` does not accept the value. The error contains `variable`, `allowed` and `log` for the message.
fn parsed<T>(
    environment: impl Fn(&str) -> Option<Vec<u8>>,
    log: Route,
    variable: &'static str,
    allowed: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Malformed> {
    let Some(bytes) = environment(variable) else { return Ok(None) };
    // Where this replaces something, no parser accepts the replacement.
    let value = String::from_utf8_lossy(&bytes);
    match parse(&value) {
        Some(setting) => Ok(Some(setting)),
        None => Err(Malformed { variable, value: value.chars().take(100).collect(), allowed, log }),
    }
}

fn route(text: &str) -> Option<Route> {
    match text {
        "auto" => Some(Route::Found),
        "syslog" => Some(Route::Syslog),
        "journal" => Some(Route::Journal),
        "stderr" => Some(Route::Stderr),
        "off" => Some(Route::Off),
        _ => None,
    }
}

fn restart_limit(text: &str) -> Option<RestartLimit> {
    let (restarts, seconds) = text.split_once('/')?;
    Some(RestartLimit {
        restarts: usize::try_from(number(restarts, 1..=100_000)?).ok()?,
        window: Duration::from_secs(number(seconds, 1..=31_536_000)?),
    })
}

fn restart_delay(text: &str) -> Option<RestartDelay> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let delay = RestartDelay { first: milliseconds(first)?, last: milliseconds(last)? };
    (delay.first <= delay.last).then_some(delay)
}

fn switch(text: &str) -> Option<bool> {
    match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

fn notify(text: &str) -> Option<Notify> {
    match text {
        "0" => Some(Notify::Nothing),
        "1" => Some(Notify::State),
        "ready" => Some(Notify::Readiness),
        _ => None,
    }
}

/// Parses a signal: its name, with or without SIG, or its number, as in ABRT, SIGABRT and 6.
fn signal(text: &str) -> Option<Signal> {
    let numbered = || Signal::from_number(i32::try_from(number(text, 1..=1000)?).ok()?);
    Signal::from_name(text).or_else(numbered)
}

/// Parses the number of a warning signal: that of a signal, or 0.
fn warn_signal(text: &str) -> Option<i32> {
    if text == "0" { Some(0) } else { signal(text).map(Signal::number) }
}

/// Parses a time, which is given as a decimal number of ms from 1 to 86400000 (a day).
fn milliseconds(text: &str) -> Option<Duration> {
    number(text, 1..=86_400_000).map(Duration::from_millis)
}

/// Parses a decimal number that is in `range`. A sign or a space makes the text invalid.
fn number(text: &str, range: RangeInclusive<u64>) -> Option<u64> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|number| range.contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &[u8])]) -> Result<Settings, Malformed> {
        Settings::read(|name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value.to_vec())
        })
    }

    fn read_one(name: &str, value: &str) -> Result<Settings, Malformed> {
        read(&[(name, value.as_bytes())])
    }

    #[test]
    fn without_variables_the_log_goes_where_it_is_read_and_there_are_no_limits() {
        let settings = read(&[]).unwrap();
        let expected = Settings {
            log: Route::Found,
            restart_limit: None,
            restart_delay: None,
            hang_signal: None,
            warn_signal: None,
            debug_hold: false,
            kill_group: false,
            notify: Notify::Nothing,
            standby: false,
            withhold_signals: false,
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn sam_log_has_five_routes() {
        for (value, route) in [
            ("auto", Route::Found),
            ("syslog", Route::Syslog),
            ("journal", Route::Journal),
            ("stderr", Route::Stderr),
            ("off", Route::Off),
        ] {
            assert_eq!(read_one("SAM_LOG", value).unwrap().log, route);
        }
    }

    #[test]
    fn restart_limit_is_a_number_in_a_time() {
        for (value, restarts, seconds) in
            [("5/60", 5, 60), ("1/1", 1, 1), ("100000/31536000", 100_000, 31_536_000), ("007/08", 7, 8)]
        {
            let limit = read_one("SAM_RESTART_LIMIT", value).unwrap().restart_limit;
            assert_eq!(
                limit,
                Some(RestartLimit { restarts, window: Duration::from_secs(seconds) }),
                "{value}"
            );
        }
    }

    #[test]
    fn restart_delay_is_a_time_or_a_range_of_times() {
        for (value, first, last) in [
            ("250", 250, 250),
            ("1..1", 1, 1),
            ("100..30000", 100, 30_000),
            ("86400000", 86_400_000, 86_400_000),
        ] {
            let delay = read_one("SAM_RESTART_DELAY", value).unwrap().restart_delay;
            let expected =
                RestartDelay { first: Duration::from_millis(first), last: Duration::from_millis(last) };
            assert_eq!(delay, Some(expected), "{value}");
        }
    }

    #[test]
    fn hang_signal_has_a_name_or_a_number_and_a_grace() {
        for (value, number) in
            [("ABRT", 6), ("SIGABRT", 6), ("6", 6), ("QUIT", 3), ("SIGSEGV", 11), ("64", 64)]
        {
            let signal = read_one("SAM_HANG_SIGNAL", value).unwrap().hang_signal;
            let expected =
                HangSignal { signal: Signal::from_number(number).unwrap(), timeout: Duration::from_secs(10) };
            assert_eq!(signal, Some(expected), "{value}");
        }
        let both = read(&[("SAM_HANG_SIGNAL", b"ABRT"), ("SAM_HANG_GRACE", b"250")]).unwrap();
        let expected = HangSignal { signal: Signal::ABRT, timeout: Duration::from_millis(250) };
        assert_eq!(both.hang_signal, Some(expected));
        assert_eq!(read_one("SAM_HANG_GRACE", "250").unwrap().hang_signal, None);
    }

    #[test]
    fn switch_is_on_or_off() {
        let variables = ["SAM_DEBUG_HOLD", "SAM_KILL_GROUP", "SAM_STANDBY"];
        let switched = |variable, value| {
            let settings = read_one(variable, value).unwrap();
            [settings.debug_hold, settings.kill_group, settings.standby]
        };
        for variable in variables {
            assert_eq!(switched(variable, "1"), variables.map(|other| other == variable), "{variable}");
            assert_eq!(switched(variable, "0"), [false; 3], "{variable}");
        }
    }

    #[test]
    fn warn_signal_has_a_name_or_a_number_or_is_none() {
        for (value, number) in [("USR1", 10), ("SIGUSR1", 10), ("10", 10), ("KILL", 9), ("64", 64), ("0", 0)]
        {
            assert_eq!(read_one("SAM_WARN_SIGNAL", value).unwrap().warn_signal, Some(number), "{value}");
        }
    }

    #[test]
    fn notify_is_off_or_state_or_readiness() {
        for (value, notify) in [("0", Notify::Nothing), ("1", Notify::State), ("ready", Notify::Readiness)] {
            assert_eq!(read_one("SAM_NOTIFY", value).unwrap().notify, notify);
        }
    }

    #[test]
    fn forward_signals_0_withholds_signals() {
        assert!(read_one("SAM_FORWARD_SIGNALS", "0").unwrap().withhold_signals);
        assert!(!read_one("SAM_FORWARD_SIGNALS", "1").unwrap().withhold_signals);
    }

    /// Values that no variable accepts.
    const NEVER: [&str; 11] =
        ["", " ", "-1", "+1", "0x10", "1.5", "yes", "\u{661}", "1\n", "99999999999999999999999", "Syslog"];

    #[test]
    fn value_that_is_not_understood_is_refused_with_what_is_allowed() {
        let not_switched = ["2", "01", "true", "1 ", "on"];
        let refused: [(&str, &str, &[&str]); 11] = [
            (
                "SAM_LOG",
                "auto, syslog, journal, stderr or off",
                &["syslog ", " off", "OFF", "stderr,syslog", "1"],
            ),
            (
                "SAM_RESTART_LIMIT",
                "N/SECONDS",
                &[
                    "0",
                    "1",
                    "5",
                    "5/",
                    "/60",
                    "/",
                    "0/60",
                    "5/0",
                    "-5/60",
                    "5/-60",
                    "+5/60",
                    "5/60s",
                    "5 / 60",
                    " 5/60",
                    "5/60 ",
                    "5/60/1",
                    "5,60",
                    "100001/60",
                    "5/31536001",
                    "18446744073709551617/1",
                    "1/18446744073709551617",
                ],
            ),
            (
                "SAM_RESTART_DELAY",
                "MS or MS..MAXMS",
                &[
                    "0",
                    "0..10",
                    "10..",
                    "..10",
                    "..",
                    "10..9",
                    "10...20",
                    "10..20..30",
                    "10-20",
                    "10ms",
                    "10 ..20",
                    "10.. 20",
                    " 10",
                    "10 ",
                    "86400001",
                    "1..86400001",
                    "1..18446744073709551617",
                    "1..-2",
                ],
            ),
            (
                "SAM_HANG_SIGNAL",
                "such as ABRT, SIGABRT or 6",
                &["0", "abrt", "SIG", "SIGSIGABRT", "ABRT ", "6 ", "65", "SIG6", "KILLED", "RTMIN"],
            ),
            ("SAM_WARN_SIGNAL", "or 0 for no warning", &["00", "usr1", "none", "65", "-0", "SIG0"]),
            ("SAM_HANG_GRACE", "a number of ms from 1 to 86400000", &["0", "86400001", "10s", "1..2"]),
            ("SAM_DEBUG_HOLD", "0 or 1", &not_switched),
            ("SAM_KILL_GROUP", "0 or 1", &not_switched),
            ("SAM_NOTIFY", "0, 1 or ready", &["2", "01", "Ready", "ready ", "1,ready"]),
            ("SAM_STANDBY", "0 or 1", &not_switched),
            ("SAM_FORWARD_SIGNALS", "0 or 1", &not_switched),
        ];
        for (variable, allowed, values) in refused {
            for value in values.iter().chain(&NEVER) {
                let error = read_one(variable, value).expect_err(value);
                assert_eq!((error.variable, error.value.as_str()), (variable, *value));
                assert!(error.allowed.contains(allowed), "{error}");
            }
        }
    }

    #[test]
    fn value_that_is_not_utf8_is_refused() {
        let error = read(&[("SAM_LOG", b"off\xff")]).unwrap_err();
        assert_eq!(error.value, "off\u{fffd}");
    }

    #[test]
    fn complaint_names_variable_value_and_what_is_allowed_on_one_short_line() {
        let error = read(&[("SAM_RESTART_DELAY", b"1\n\x1b[2J")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "sam_initialize failed (CS_ERR_INVALID_PARAM): SAM_RESTART_DELAY is \"1\\n\\u{1b}[2J\", expected MS or \
             MS..MAXMS, each from 1 to 86400000 and MAXMS not below MS"
        );
        let long = read_one("SAM_LOG", &"x".repeat(100_000)).unwrap_err();
        assert!(long.to_string().len() < 220, "{long}");
    }

    #[test]
    fn complaint_goes_to_the_route_of_the_log() {
        let error = read(&[("SAM_LOG", b"stderr"), ("SAM_RESTART_DELAY", b"")]).unwrap_err();
        assert_eq!(error.log, Route::Stderr);
        assert_eq!(read_one("SAM_LOG", "stdout").unwrap_err().log, Route::Found);
    }
}
