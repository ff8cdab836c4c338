//! The values of options: times, limits, signals and addresses.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal as Named;

/// The longest time that an option can have: a day, as in the variables of the library.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Parses a time such as `500ms`, `10s`, `2min` or `1h`, from 1 ms to a day.
pub fn time(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let ms_per_unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err("expected a number and ms, s, min or h, such as 500ms".to_owned()),
    };
    let ms = number.parse().ok().and_then(|number: u64| number.checked_mul(ms_per_unit));
    let time = ms.map(Duration::from_millis).filter(|time| !time.is_zero() && *time <= LONGEST);
    time.ok_or_else(|| "expected a time from 1ms to 24h".to_owned())
}

/// Formats a time as [`time`] reads it.
pub fn show_time(time: Duration) -> String {
    match time.as_millis() {
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

/// The value of `--restart-limit`, in the form of SAM_RESTART_LIMIT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartLimit(pub String);

/// Parses `N/TIME`. The time must be whole seconds.
pub fn restart_limit(text: &str) -> Result<RestartLimit, String> {
    let expected =
        || "expected N/TIME, such as 5/1min, N from 1 to 100000 and TIME in whole seconds".to_owned();
    let (number, window) = text.split_once('/').ok_or_else(expected)?;
    let number = number.parse::<u32>().ok().filter(|number| (1..=100_000).contains(number));
    let window = time(window)?;
    match number {
        Some(number) if window.subsec_nanos() == 0 => {
            Ok(RestartLimit(format!("{number}/{}", window.as_secs())))
        }
        _ => Err(expected()),
    }
}

/// The value of `--restart-delay`, in the form of SAM_RESTART_DELAY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartDelay(pub String);

/// Parses `MIN..MAX`, or one time for both.
pub fn restart_delay(text: &str) -> Result<RestartDelay, String> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let (first, last) = (time(first)?, time(last)?);
    match first <= last {
        true => Ok(RestartDelay(format!("{}..{}", first.as_millis(), last.as_millis()))),
        false => Err("the first time is longer than the second".to_owned()),
    }
}

/// A signal that an option names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(pub i32);

/// Parses a signal: a name with or without SIG, or a number.
pub fn signal(text: &str) -> Result<Signal, String> {
    let name = if text.starts_with("SIG") { text.to_owned() } else { format!("SIG{text}") };
    let number = name.parse::<Named>().map(|signal| signal as i32).ok().or_else(|| text.parse().ok());
    let number = number.filter(|number| (1..=libc::SIGRTMAX()).contains(number));
    number.map(Signal).ok_or_else(|| "expected a signal by name or number, such as TERM or 15".to_owned())
}

/// Parses a signal, or `none`.
pub fn signal_or_none(text: &str) -> Result<Signal, String> {
    if text == "none" { Ok(Signal(0)) } else { signal(text) }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Named::try_from(self.0) {
            Ok(named) => f.write_str(named.as_str()),
            Err(_) => write!(f, "signal {}", self.0),
        }
    }
}

/// An address on which the program listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A TCP port.
    Tcp(SocketAddr),
    /// The path of a Unix stream socket.
    Unix(PathBuf),
}

/// Parses `ADDR:PORT`, `[ADDR]:PORT` for IPv6, or `unix:PATH`.
pub fn address(text: &str) -> Result<Address, String> {
    match text.strip_prefix("unix:") {
        Some(path) if path.starts_with('/') => Ok(Address::Unix(path.into())),
        Some(_) => Err("expected an absolute path after unix:".to_owned()),
        None => text.parse().map(Address::Tcp).map_err(|_| {
            "expected ADDR:PORT with a numeric address, such as 0.0.0.0:80, or unix:PATH".to_owned()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_a_number_with_a_unit() {
        for (text, ms) in
            [("1ms", 1), ("500ms", 500), ("10s", 10_000), ("2min", 120_000), ("24h", 86_400_000)]
        {
            assert_eq!(time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in
            ["", "5", "s", "0s", "-1s", "+1s", "1.5s", "1 s", "1s ", "25h", "1d", "18446744073709551615h"]
        {
            assert!(time(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn time_is_shown_as_it_is_read() {
        for text in ["1ms", "1500ms", "10s"] {
            assert_eq!(show_time(time(text).unwrap()), text);
        }
    }

    #[test]
    fn limit_and_delay_take_the_form_of_the_library() {
        assert_eq!(restart_limit("5/1min").unwrap().0, "5/60");
        assert_eq!(restart_delay("10ms..5s").unwrap().0, "10..5000");
        assert_eq!(restart_delay("1s").unwrap().0, "1000..1000");
        for text in ["5", "5/60", "0/1s", "100001/1s", "1/500ms", "/1s", "-1/1s"] {
            assert!(restart_limit(text).is_err(), "{text:?}");
        }
        for text in ["5", "5s..1s", "..5s", "1s..", "1s..2s..3s"] {
            assert!(restart_delay(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn signal_has_a_name_or_a_number() {
        for (text, number) in [("TERM", 15), ("SIGTERM", 15), ("15", 15), ("64", 64)] {
            assert_eq!(signal(text), Ok(Signal(number)), "{text}");
        }
        for text in ["", "term", "0", "65", "-1", "SIGSIGTERM", "none"] {
            assert!(signal(text).is_err(), "{text:?}");
        }
        assert_eq!(signal_or_none("none"), Ok(Signal(0)));
        assert_eq!([Signal(15), Signal(40)].map(|signal| signal.to_string()), ["SIGTERM", "signal 40"]);
    }

    #[test]
    fn address_is_numeric_or_a_path() {
        assert_eq!(address("127.0.0.1:80"), Ok(Address::Tcp("127.0.0.1:80".parse().unwrap())));
        assert_eq!(address("[::]:80"), Ok(Address::Tcp("[::]:80".parse().unwrap())));
        assert_eq!(address("unix:/run/x"), Ok(Address::Unix("/run/x".into())));
        for text in ["", "80", "localhost:80", "unix:", "unix:x", "::1:80:", "127.0.0.1:65536"] {
            assert!(address(text).is_err(), "{text:?}");
        }
    }
}
