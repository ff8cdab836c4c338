//! The command line.

use std::ffi::OsString;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, Error, ValueHint};

/// The text about exit codes at the end of the help.
const EXIT_STATUS: &str = "\
Exit status:
  0  no listed program needs attention
  1  a listed program needs attention
  2  an error, or a name that must mean one program means several
  3  no program is listed, or a named one was not found";

/// The form in which the programs are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// A table with the columns that fit the terminal.
    #[default]
    Table,
    /// A table with all columns, however wide.
    Wide,
    /// A JSON array.
    Json,
    /// Metrics in the OpenMetrics text format.
    OpenMetrics,
}

/// The number that is printed about one program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// The pid of the instance.
    Instance,
    /// The pid of the supervisor.
    Supervisor,
}

/// The meaning of the command line.
#[derive(Debug, PartialEq)]
pub enum Request {
    /// List programs.
    List {
        /// The form of the list.
        form: Form,
        /// The pause between two lists, if the list is printed repeatedly.
        watch: Option<Duration>,
        /// The names of programs and pids of supervisors to list. If empty, all are listed.
        wanted: Vec<String>,
    },
    /// Print one number about one program.
    Print {
        /// The number to print.
        number: Number,
        /// The name of the program, or the pid of its supervisor.
        program: String,
    },
}

/// Returns the description of the command line, from which the help and the completions are made.
pub fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let of_one = |name: &'static str| {
        let others = ["json", "openmetrics", "wide", "watch", "program"];
        Arg::new(name)
            .long(name)
            .value_name("PROGRAM")
            .value_hint(ValueHint::Other)
            .conflicts_with_all(others)
    };
    Command::new("sam-status")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Lists the programs that libsam-rs supervises on this machine")
        .after_help(EXIT_STATUS)
        .arg(flag("json").help("Print a JSON array").conflicts_with_all(["openmetrics", "wide"]))
        .arg(
            flag("openmetrics")
                .help("Print metrics, for the textfile collector of node_exporter")
                .conflicts_with_all(["watch", "wide"]),
        )
        .arg(flag("wide").help("Print all columns, also beyond the width of the terminal"))
        .arg(
            Arg::new("watch")
                .long("watch")
                .value_name("SECONDS")
                .num_args(0..=1)
                .default_missing_value("2")
                .value_hint(ValueHint::Other)
                .help("Print the list again every SECONDS (0.1 to 86400, without a number 2)"),
        )
        .arg(of_one("pid").help("Print the pid of the instance of one program"))
        .arg(
            of_one("supervisor").conflicts_with("pid").help("Print the pid of the supervisor of one program"),
        )
        .arg(
            Arg::new("program")
                .value_name("PROGRAM")
                .num_args(0..)
                .value_hint(ValueHint::Other)
                .help("The name of a program or the pid of its supervisor; without one, all are listed"),
        )
}

/// Parses the command line.
///
/// # Errors
/// The command line is invalid, or asks for the help or the version.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let matches = command().try_get_matches_from(&arguments)?;
    for (option, number) in [("pid", Number::Instance), ("supervisor", Number::Supervisor)] {
        if let Some(program) = matches.get_one::<String>(option) {
            return Ok(Request::Print { number, program: program.clone() });
        }
    }
    let mut wanted: Vec<String> = matches.get_many("program").unwrap_or_default().cloned().collect();
    let mut watch = None;
    if let Some(text) = matches.get_one::<String>("watch") {
        let is_attached = arguments.iter().any(|argument| *argument == *format!("--watch={text}"));
        if !is_attached && !text.starts_with(|c: char| c.is_ascii_digit() || c == '.' || c == '-') {
            // `--watch counter` means the program.
            wanted.insert(0, text.clone());
            watch = Some(Duration::from_secs(2));
        } else {
            watch = Some(seconds(text)?);
        }
    }
    Ok(Request::List { form: form(&matches), watch, wanted })
}

fn form(matches: &ArgMatches) -> Form {
    let forms = [("json", Form::Json), ("openmetrics", Form::OpenMetrics), ("wide", Form::Wide)];
    let chosen = forms.into_iter().find(|(name, _)| matches.get_flag(name));
    chosen.map_or(Form::Table, |(_, form)| form)
}

/// Parses a number of seconds from 0.1 to 86400, which is a day. Fractions are allowed.
fn seconds(text: &str) -> Result<Duration, Error> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| {
        let message = format!("invalid value {text:?} for '--watch [<SECONDS>]': expected 0.1 to 86400");
        command().error(ErrorKind::ValueValidation, message)
    })
}

#[cfg(test)]
#[path = "../../completions.rs"]
mod completions;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Request, ErrorKind> {
        parse(["sam-status"].iter().chain(words).map(OsString::from)).map_err(|error| error.kind())
    }

    fn list(form: Form, watch: Option<f64>, wanted: &[&str]) -> Result<Request, ErrorKind> {
        let wanted = wanted.iter().map(|&word| word.to_owned()).collect();
        Ok(Request::List { form, watch: watch.map(Duration::from_secs_f64), wanted })
    }

    #[test]
    fn options_and_names_are_parsed() {
        assert_eq!(parsed(&[]), list(Form::Table, None, &[]));
        assert_eq!(
            parsed(&["daemon", "--json", "--watch=0.5", "123"]),
            list(Form::Json, Some(0.5), &["daemon", "123"])
        );
        assert_eq!(parsed(&["--wide"]), list(Form::Wide, None, &[]));
        assert_eq!(parsed(&["--openmetrics"]), list(Form::OpenMetrics, None, &[]));
    }

    #[test]
    fn watch_takes_a_number_but_no_name() {
        assert_eq!(parsed(&["--watch"]), list(Form::Table, Some(2.0), &[]));
        assert_eq!(parsed(&["--watch", "3"]), list(Form::Table, Some(3.0), &[]));
        assert_eq!(parsed(&["--watch", "3", "daemon"]), list(Form::Table, Some(3.0), &["daemon"]));
        assert_eq!(parsed(&["--watch", "daemon"]), list(Form::Table, Some(2.0), &["daemon"]));
        assert_eq!(parsed(&["--watch", "--json"]), list(Form::Json, Some(2.0), &[]));
        for wrong in ["--watch=0", "--watch=nan", "--watch=1e9", "--watch=-1", "--watch=x"] {
            assert_eq!(parsed(&[wrong]), Err(ErrorKind::ValueValidation), "{wrong}");
        }
    }

    #[test]
    fn number_is_printed_about_one_program() {
        let print = |number| Ok(Request::Print { number, program: "daemon".to_owned() });
        assert_eq!(parsed(&["--pid", "daemon"]), print(Number::Instance));
        assert_eq!(parsed(&["--supervisor=daemon"]), print(Number::Supervisor));
        for wrong in [&["--pid"][..], &["--pid", "a", "b"], &["--pid", "a", "--supervisor", "a"]] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn help_and_version_have_short_options_and_wrong_options_are_refused() {
        assert_eq!(parsed(&["-h"]), Err(ErrorKind::DisplayHelp));
        assert_eq!(parsed(&["--help"]), Err(ErrorKind::DisplayHelp));
        assert_eq!(parsed(&["-V"]), Err(ErrorKind::DisplayVersion));
        for wrong in [&["--jsonn"][..], &["-j"], &["--json=yes"], &["--json", "--openmetrics"]] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn installed_completions_are_those_of_the_options() {
        completions::check(command());
    }
}
