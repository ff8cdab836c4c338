//! Lists the programs that libsam-rs supervises on this machine, see sam-status(8).

#![forbid(unsafe_code)]

// The format of the pages is compiled from the library's own source. sam-status does not link the library, because it
// would get the library's allocator, destructor and ELF notes with it.
mod cli;
#[allow(dead_code)]
#[path = "../../../src/error.rs"]
mod error;
mod found;
mod memory;
mod openmetrics;
#[allow(dead_code)]
#[path = "../../../src/policy.rs"]
mod policy;
mod process;
mod report;
mod screen;
#[allow(dead_code)]
#[path = "../../../src/shared"]
mod shared {
    pub mod control_page {
        mod view;
        pub use view::{Phase, View};
    }
    pub mod status_page;
}
mod table;
#[allow(dead_code)]
#[path = "../../../src/time.rs"]
mod time;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use cli::{Form, Number, Request};
use nix::unistd::{Uid, User};
use report::{Now, Report, State};
use screen::Screen;

/// The result of a run, which is the exit code for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// All listed programs are well.
    Well = 0,
    /// At least one listed program is not well.
    Unwell = 1,
    /// An error occurred.
    Error = 2,
    /// No program is listed, or not all that were named.
    Missing = 3,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> ExitCode {
        ExitCode::from(verdict as u8)
    }
}

fn main() -> ExitCode {
    let verdict = match cli::parse(std::env::args_os()) {
        Ok(Request::List { form, watch: None, wanted }) => list_once(form, &wanted),
        Ok(Request::List { form, watch: Some(pause), wanted }) => list_repeatedly(form, pause, &wanted),
        Ok(Request::Print { number, program }) => print(number, &program),
        Err(error) => {
            let verdict = if error.use_stderr() { Verdict::Error } else { Verdict::Well };
            check_output(error.print(), verdict)
        }
    };
    verdict.into()
}

/// The programs that were found.
#[derive(Debug)]
struct Listing {
    reports: Vec<Report>,
    /// Lines for people about programs that are missing.
    notes: Vec<String>,
    verdict: Verdict,
}

impl Listing {
    /// Looks for the wanted programs, or for all if none is named. Prints an error to standard error.
    fn of(wanted: &[String]) -> Option<Listing> {
        let found = found::supervisors();
        let now = Now::read();
        match found {
            Ok(found) => {
                let reports = found.iter().map(|found| Report::of(found, now)).collect();
                Some(Listing::select(reports, wanted))
            }
            Err(error) => {
                complain(&format!("cannot look for supervisors in /proc: {error}"));
                None
            }
        }
    }

    /// Selects the wanted programs, or all if none is named.
    fn select(mut reports: Vec<Report>, wanted: &[String]) -> Listing {
        let missing: Vec<&String> =
            wanted.iter().filter(|&word| !reports.iter().any(|report| report.is(word))).collect();
        let mut notes: Vec<String> = missing.iter().map(|word| nothing_found(Some(word))).collect();
        if wanted.is_empty() && reports.is_empty() {
            notes.push(nothing_found(None));
        }
        reports.retain(|report| wanted.is_empty() || wanted.iter().any(|word| report.is(word)));
        for report in reports.iter().filter(|report| report.state == State::Unknown) {
            notes.push(format!(
                "{} (supervisor {}) uses a libsam whose status this version cannot read",
                report.program, report.supervisor
            ));
        }
        let verdict = if !missing.is_empty() || reports.is_empty() {
            Verdict::Missing
        } else if reports.iter().all(|report| report.well) {
            Verdict::Well
        } else {
            Verdict::Unwell
        };
        Listing { reports, notes, verdict }
    }

    /// Returns the list in a form.
    fn text(&self, form: Form, screen: &Screen) -> String {
        match form {
            Form::Json => serde_json::to_string(&self.reports).expect("a report is valid JSON") + "\n",
            Form::OpenMetrics => openmetrics::text(&self.reports),
            Form::Table | Form::Wide if self.reports.is_empty() => String::new(),
            Form::Table | Form::Wide => {
                let lines = table::lines(&self.reports, screen.look(form == Form::Wide));
                lines.join("\n") + "\n"
            }
        }
    }
}

/// Returns the line that says that a program was not found, or that nothing was found.
fn nothing_found(program: Option<&str>) -> String {
    let what = match program {
        Some(program) => format!("no supervised program {program:?} found"),
        None => "no supervised program found".to_owned(),
    };
    if Uid::effective().is_root() {
        return what;
    }
    let user = User::from_uid(Uid::effective()).ok().flatten();
    let user = user.map_or_else(|| format!("uid {}", Uid::effective()), |user| format!("user {}", user.name));
    format!("{what} ({user} sees only its own, root sees all)")
}

/// Prints the list once.
fn list_once(form: Form, wanted: &[String]) -> Verdict {
    let Some(listing) = Listing::of(wanted) else { return Verdict::Error };
    let text = listing.text(form, &Screen::of_standard_output());
    listing.notes.iter().for_each(|note| complain(note));
    let verdict = match form {
        // For a collector, a list of programs that fail is a success.
        Form::OpenMetrics => Verdict::Well,
        _ => listing.verdict,
    };
    check_output(print_all(&text), verdict)
}

/// Prints the list again and again. Ends when the output cannot be written any more, for example because its reader has
/// ended.
fn list_repeatedly(form: Form, pause: Duration, wanted: &[String]) -> Verdict {
    let mut told = vec![];
    loop {
        let Some(listing) = Listing::of(wanted) else { return Verdict::Error };
        let screen = Screen::of_standard_output();
        let mut text = listing.text(form, &screen);
        if form != Form::Json && screen.is_terminal() {
            let needy = listing.reports.iter().filter(|report| !report.well).count();
            let summary =
                format!("{}, every {} s", summary(listing.reports.len(), needy), pause.as_secs_f64());
            text = screen.frame(&summary, &listing.notes, &text);
        } else if listing.notes != told {
            listing.notes.iter().for_each(|note| complain(note));
            told = listing.notes;
        }
        if check_output(print_all(&text), Verdict::Well) == Verdict::Error {
            return Verdict::Error;
        }
        std::thread::sleep(pause);
    }
}

/// Returns a line about the number of programs and of those that need attention.
fn summary(programs: usize, needy: usize) -> String {
    let noun = if programs == 1 { "program" } else { "programs" };
    let verb = if needy == 1 { "needs" } else { "need" };
    let needy = if needy == 0 { "none".to_owned() } else { needy.to_string() };
    format!("{programs} supervised {noun}, {needy} {verb} attention")
}

/// Prints one number about the program of this name. If several programs have the name, none is chosen.
fn print(number: Number, program: &str) -> Verdict {
    let Some(listing) = Listing::of(&[program.to_owned()]) else { return Verdict::Error };
    let [report] = &listing.reports[..] else {
        if listing.reports.is_empty() {
            complain(&nothing_found(Some(program)));
            return Verdict::Missing;
        }
        complain(&format!(
            "{} supervisors run {program:?}, name one by its pid:\n{}",
            listing.reports.len(),
            listing.text(Form::Table, &Screen::of_standard_error()).trim_end()
        ));
        return Verdict::Error;
    };
    let pid = match number {
        Number::Instance => report.pid,
        Number::Supervisor => Some(report.supervisor),
    };
    match pid {
        Some(pid) => check_output(print_all(&format!("{pid}\n")), Verdict::Well),
        None => {
            let state = report.state.name();
            complain(&format!("{} has no instance at the moment, it is {state}", report.program));
            Verdict::Missing
        }
    }
}

/// Prints a message to standard error.
fn complain(message: &str) {
    // There is no other place for a message that cannot be written.
    let _ = writeln!(io::stderr(), "sam-status: {message}");
}

/// Writes a text to standard output at once, so that a screen shows no half of it.
fn print_all(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Returns `verdict` if the output was written. Otherwise reports the error and returns `Error`.
fn check_output(written: io::Result<()>, verdict: Verdict) -> Verdict {
    match written {
        Ok(()) => verdict,
        Err(error) => {
            if error.kind() != io::ErrorKind::BrokenPipe {
                complain(&format!("cannot write to standard output: {error}"));
            }
            Verdict::Error
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdict_is_that_of_the_wanted_programs() {
        let name = || "sick".to_owned();
        let sick = Report { program: name(), file_name: name(), well: false, ..Report::example() };
        let reports = || vec![Report::example(), sick.clone()];
        let verdict = |reports, wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|&word| word.to_owned()).collect();
            let Listing { reports, notes, verdict } = Listing::select(reports, &wanted);
            (reports.len(), notes.len(), verdict)
        };
        assert_eq!(verdict(reports(), &[]), (2, 0, Verdict::Unwell));
        assert_eq!(verdict(reports(), &["daemon"]), (1, 0, Verdict::Well));
        assert_eq!(verdict(reports(), &["sick"]), (1, 0, Verdict::Unwell));
        assert_eq!(verdict(reports(), &["daemon", "absent"]), (1, 1, Verdict::Missing));
        assert_eq!(verdict(vec![], &[]), (0, 1, Verdict::Missing));
    }

    #[test]
    fn supervisor_with_unknown_layout_is_noted() {
        let unknown = Report { state: State::Unknown, well: false, ..Report::example() };
        let listing = Listing::select(vec![unknown], &[]);
        assert_eq!(listing.verdict, Verdict::Unwell);
        assert!(listing.notes[0].contains("daemon (supervisor 123)"), "{:?}", listing.notes);
    }

    #[test]
    fn summary_counts_programs() {
        assert_eq!(summary(1, 0), "1 supervised program, none need attention");
        assert_eq!(summary(3, 1), "3 supervised programs, 1 needs attention");
    }
}
