//! A program under test that executes commands and reports each step.

use std::fmt;
use std::path::Path;
use std::process::Stdio;

use crate::common::{Built, Ended, Running, build, prefix};
use crate::namespace::{Namespace, wait_for};

/// A line of the program: `<CLOCK_MONOTONIC in ms> <pid> <what> <number>`.
#[derive(Debug, Clone)]
pub struct Said {
    pub at_ms: u64,
    pub pid: i32,
    pub what: String,
    pub number: i64,
}

impl Said {
    /// Parses a line. Returns `None` for a line of another form.
    fn parse(line: &str) -> Option<Said> {
        let mut words = line.split(' ');
        let (at_ms, pid) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (what, number) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        Some(Said { at_ms, pid, what, number })
    }
}

/// A running program that reads commands.
pub struct Program(Running);

impl Program {
    /// Starts a program in a namespace with this library.
    pub fn start(namespace: &Namespace, program: &Path) -> Program {
        Program::start_under(namespace, &[], program)
    }

    /// Starts a program through another command, given by its words, which runs the program.
    pub fn start_under(namespace: &Namespace, words: &[&str], program: &Path) -> Program {
        let libraries = prefix().join("lib");
        let mut command = namespace.command("env");
        command.arg(format!("LD_LIBRARY_PATH={}", libraries.display())).arg("SAM_LOG=stderr");
        command.args(words).arg(program).stdin(Stdio::piped());
        Program(Running::start_with_one_pipe(command))
    }

    /// Starts `c-tests/steps.c` and lets it execute `first`. Each command must succeed.
    pub fn steps(namespace: &Namespace, first: &[&str]) -> Program {
        let mut program = Program::start(namespace, &build(Built::WithOurs, "steps"));
        program.do_all(first);
        program
    }

    /// Starts `c-tests/steps.c` in the same way, built for corosync's libsam.
    pub fn relinked_steps(namespace: &Namespace, first: &[&str]) -> Program {
        let mut program = Program::start(namespace, &build(Built::WithOriginal, "steps"));
        program.do_all(first);
        program
    }

    /// Writes a command to the program.
    pub fn tell(&mut self, command: &str) {
        self.0.tell(command);
    }

    /// Waits for the next line about `what`, and skips other lines.
    pub fn hear(&mut self, what: &str) -> Said {
        loop {
            let line = self
                .0
                .next_line()
                .unwrap_or_else(|| panic!("the program ended without a line about {what:?}\n{}", self.0));
            if let Some(said) = Said::parse(&line).filter(|said| said.what == what) {
                return said;
            }
        }
    }

    /// Writes a command, waits for the line about it, and returns the line.
    pub fn does(&mut self, command: &str) -> Said {
        self.tell(command);
        self.hear(command.split(' ').next().unwrap())
    }

    /// Lets the program execute commands, each of which must succeed.
    pub fn do_all(&mut self, commands: &[&str]) {
        for command in commands {
            let said = self.does(command);
            assert_eq!(said.number, 1, "return code of {command:?}\n{self}");
        }
    }

    /// Returns `true` if the unread lines contain one about `what`.
    pub fn has_said(&self, what: &str) -> bool {
        self.0.unread().iter().filter_map(|line| Said::parse(line)).any(|said| said.what == what)
    }

    /// Waits until the program or the library's log has written a line that contains `text`.
    pub fn logs(&self, text: &str) {
        let said = wait_for(|| self.text().contains(text).then_some(()));
        assert!(said.is_some(), "no line contains {text:?} after {:?}\n{self}", crate::common::PATIENCE);
    }

    /// Returns all that the program has written so far, standard error included.
    pub fn text(&self) -> String {
        self.0.said().join("\n")
    }

    /// Waits for the end of the program. Returns its exit code, or 128 plus the number of the signal that killed it.
    pub fn ends(&mut self) -> i32 {
        match self.0.end() {
            Ended::Exit(code) => code,
            Ended::By(signal) => 128 + signal as i32,
            Ended::ByRealTime(number) => 128 + number,
            Ended::Never => unreachable!("end() waits for the end"),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
