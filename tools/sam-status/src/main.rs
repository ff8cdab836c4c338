//! Lists what libsam supervises on this machine: see sam-status(8).

#![forbid(unsafe_code)]

// What supervisors and instances write, from the library's own source. Nothing of the library is linked: not its
// allocator, its destructor or its notes.
#[allow(dead_code)]
#[path = "../../../src/error.rs"]
mod error;
mod found;
mod memory;
#[allow(dead_code)]
#[path = "../../../src/policy.rs"]
mod policy;
mod report;
#[allow(dead_code)]
#[path = "../../../src/shared"]
mod shared {
    pub mod control_page {
        mod view;
        pub use view::{Phase, View};
    }
    pub mod status_page;
}
#[allow(dead_code)]
#[path = "../../../src/time.rs"]
mod time;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;

use report::Report;

const USAGE: &str = "\
Usage: sam-status [--json] [--watch[=SECONDS]] [PROGRAM | PID]...
Lists what libsam supervises on this machine: all of it, or these programs and supervisors.

  --json            one array of objects in place of a table
  --watch[=SECONDS] again and again, every 2 seconds or as often as this
  --help, --version

Exit status: 0 all is well, 1 something is not, 2 it could not be found out, 3 nothing is supervised.
";

/// What was found to be so, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Well = 0,
    Unwell = 1,
    Unknown = 2,
    Nothing = 3,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> ExitCode {
        ExitCode::from(verdict as u8)
    }
}

/// What was asked for.
#[derive(Debug, Default, PartialEq)]
struct Request {
    json: bool,
    watch: Option<Duration>,
    /// Names of programs and pids of supervisors; none: all.
    wanted: Vec<String>,
}

/// What the command line says.
#[derive(Debug, PartialEq)]
enum Command {
    List(Request),
    Say(String),
}

fn main() -> ExitCode {
    match command(std::env::args_os()) {
        Ok(Command::List(request)) => list(&request),
        Ok(Command::Say(text)) => said(io::stdout().write_all(text.as_bytes()), Verdict::Well).into(),
        Err(error) => {
            eprint!("sam-status: {error}\n{USAGE}");
            Verdict::Unknown.into()
        }
    }
}

fn command(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_iter(arguments);
    let mut request = Request::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("json") => request.json = true,
            Long("watch") => {
                let pause = match parser.optional_value() {
                    Some(seconds) => seconds.parse_with(seconds_of)?,
                    None => Duration::from_secs(2),
                };
                request.watch = Some(pause);
            }
            Long("help") => return Ok(Command::Say(USAGE.to_owned())),
            Long("version") => {
                return Ok(Command::Say(format!("sam-status {}\n", env!("CARGO_PKG_VERSION"))));
            }
            Value(wanted) => request.wanted.push(wanted.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Command::List(request))
}

/// Seconds, whole or not, from a tenth to a day.
fn seconds_of(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "from 0.1 to 86400 seconds".to_owned())
}

fn list(request: &Request) -> ExitCode {
    let mut out = io::stdout();
    loop {
        let reports = match found::supervisors() {
            Ok(found) => found
                .into_iter()
                .map(|found| Report::of(&found))
                .filter(|report| report.is_wanted(&request.wanted)),
            Err(error) => {
                eprintln!("sam-status: /proc: {error}");
                return Verdict::Unknown.into();
            }
        };
        let reports: Vec<Report> = reports.collect();
        let written = write(&mut out, request, &reports);
        let verdict = said(written, verdict(&reports));
        match request.watch {
            // Who reads it may have gone away.
            Some(pause) if verdict != Verdict::Unknown => std::thread::sleep(pause),
            _ => return verdict.into(),
        }
    }
}

fn write(out: &mut (impl Write + IsTerminal), request: &Request, reports: &[Report]) -> io::Result<()> {
    if request.json {
        serde_json::to_writer(&mut *out, reports)?;
        writeln!(out)?;
    } else {
        if request.watch.is_some() && out.is_terminal() {
            // Cleared, from the top.
            out.write_all(b"\x1b[H\x1b[2J")?;
        }
        out.write_all(report::table(reports).as_bytes())?;
    }
    out.flush()
}

fn verdict(reports: &[Report]) -> Verdict {
    if reports.is_empty() {
        Verdict::Nothing
    } else if reports.iter().all(|report| report.well) {
        Verdict::Well
    } else {
        Verdict::Unwell
    }
}

fn said(written: io::Result<()>, verdict: Verdict) -> Verdict {
    match written {
        Ok(()) => verdict,
        Err(error) => {
            if error.kind() != io::ErrorKind::BrokenPipe {
                eprintln!("sam-status: {error}");
            }
            Verdict::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Command, String> {
        let words = ["sam-status"].iter().chain(words).map(OsString::from);
        command(words).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_says_what_and_how_and_how_often() {
        let all = Request::default();
        assert_eq!(parsed(&[]), Ok(Command::List(all)));
        let some = Request {
            json: true,
            watch: Some(Duration::from_millis(500)),
            wanted: vec!["daemon".to_owned(), "123".to_owned()],
        };
        assert_eq!(parsed(&["daemon", "--json", "--watch=0.5", "123"]), Ok(Command::List(some)));
        let often = Request { watch: Some(Duration::from_secs(2)), ..Request::default() };
        assert_eq!(parsed(&["--watch"]), Ok(Command::List(often)));
        for wrong in ["--watch=", "--watch=0", "--watch=nan", "--watch=1e9", "--jsonn", "-j", "--json=yes"] {
            assert!(parsed(&[wrong]).is_err(), "{wrong}");
        }
    }
}
