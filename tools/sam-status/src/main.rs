//! Lists the programs that libsam-rs supervises on this machine, see sam-status(8).

#![forbid(unsafe_code)]

// The format of the pages is compiled from the library's own source. sam-status does not link the library, because it
// would get the library's allocator, destructor and ELF notes with it.
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

/// The text that `--help` prints.
const USAGE: &str = "\
Usage: sam-status [--json] [--watch[=SECONDS]] [PROGRAM | PID]...
Lists the programs that libsam-rs supervises on this machine: all, or those with
the given program names or supervisor pids.

  --json             print a JSON array instead of a table
  --watch[=SECONDS]  print the list again every SECONDS (0.1 to 86400, default 2)
  --help             print this help
  --version          print the version

Exit status: 0 all listed programs are well, 1 at least one is not, 2 an error
occurred, 3 nothing is supervised.
";

/// The result of a run, which is the exit code for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// All listed programs are well.
    Well = 0,
    /// At least one listed program is not well.
    Unwell = 1,
    /// An error occurred.
    Unknown = 2,
    /// No program is listed.
    Nothing = 3,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> ExitCode {
        ExitCode::from(verdict as u8)
    }
}

/// The options of a list.
#[derive(Debug, Default, PartialEq)]
struct Request {
    /// `true` to print JSON instead of a table.
    json: bool,
    /// The pause between two lists, if the list is printed repeatedly.
    watch: Option<Duration>,
    /// The names of programs and pids of supervisors to list. If empty, all are listed.
    wanted: Vec<String>,
}

/// The meaning of the command line.
#[derive(Debug, PartialEq)]
enum Command {
    /// A request for the list.
    List(Request),
    /// A text to print: the help or the version.
    Print(String),
}

fn main() -> ExitCode {
    match command(std::env::args_os()) {
        Ok(Command::List(request)) => list(&request),
        Ok(Command::Print(text)) => {
            check_output(io::stdout().write_all(text.as_bytes()), Verdict::Well).into()
        }
        Err(error) => {
            eprint!("sam-status: {error}\n{USAGE}");
            Verdict::Unknown.into()
        }
    }
}

/// Parses the command line.
fn command(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_iter(arguments);
    let mut request = Request::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("json") => request.json = true,
            Long("watch") => {
                let pause = match parser.optional_value() {
                    Some(seconds) => seconds.parse_with(parse_seconds)?,
                    None => Duration::from_secs(2),
                };
                request.watch = Some(pause);
            }
            Long("help") => return Ok(Command::Print(USAGE.to_owned())),
            Long("version") => {
                return Ok(Command::Print(format!("sam-status {}\n", env!("CARGO_PKG_VERSION"))));
            }
            Value(wanted) => request.wanted.push(wanted.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Command::List(request))
}

/// Parses a number of seconds from 0.1 to 86400, which is a day. Fractions are allowed.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected 0.1 to 86400 seconds".to_owned())
}

/// Prints the list, once or repeatedly.
fn list(request: &Request) -> ExitCode {
    let mut out = io::stdout();
    loop {
        let reports = match found::supervisors() {
            Ok(found) => found
                .into_iter()
                .map(|found| Report::of(&found))
                .filter(|report| report.is_wanted(&request.wanted)),
            Err(error) => {
                eprintln!("sam-status: cannot look for supervisors in /proc: {error}");
                return Verdict::Unknown.into();
            }
        };
        let reports: Vec<Report> = reports.collect();
        let written = write(&mut out, request, &reports);
        let verdict = check_output(written, verdict(&reports));
        match request.watch {
            // After `Unknown` the output cannot be written any more, for example because its reader has ended.
            Some(pause) if verdict != Verdict::Unknown => std::thread::sleep(pause),
            _ => return verdict.into(),
        }
    }
}

/// Writes one list.
fn write(out: &mut (impl Write + IsTerminal), request: &Request, reports: &[Report]) -> io::Result<()> {
    if request.json {
        serde_json::to_writer(&mut *out, reports)?;
        writeln!(out)?;
    } else {
        if request.watch.is_some() && out.is_terminal() {
            // Cursor home, then clear the screen (console_codes(4)).
            out.write_all(b"\x1b[H\x1b[2J")?;
        }
        out.write_all(report::table(reports).as_bytes())?;
    }
    out.flush()
}

/// Returns the verdict about the listed programs.
fn verdict(reports: &[Report]) -> Verdict {
    if reports.is_empty() {
        Verdict::Nothing
    } else if reports.iter().all(|report| report.well) {
        Verdict::Well
    } else {
        Verdict::Unwell
    }
}

/// Returns `verdict` if the output was written. Otherwise reports the error and returns `Unknown`.
fn check_output(written: io::Result<()>, verdict: Verdict) -> Verdict {
    match written {
        Ok(()) => verdict,
        Err(error) => {
            if error.kind() != io::ErrorKind::BrokenPipe {
                eprintln!("sam-status: cannot write to standard output: {error}");
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
    fn options_and_names_are_parsed_and_wrong_ones_refused() {
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
