//! A program under test that does what it is told and reports each step.

use std::fmt;
use std::path::Path;
use std::process::Stdio;

use crate::common::{Built, Ended, Running, build, prefix};
use crate::namespace::{Namespace, wait_for};

/// What the program said: `<CLOCK_MONOTONIC in ms> <pid> <what> <number>`.
#[derive(Debug, Clone)]
pub struct Said {
    pub at: u64,
    pub pid: i32,
    pub what: String,
    pub number: i64,
}

impl Said {
    fn parse(line: &str) -> Option<Said> {
        let mut words = line.split(' ');
        let (at, pid) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (what, number) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        Some(Said { at, pid, what, number })
    }
}

/// A running program.
pub struct Program(Running);

impl Program {
    /// Starts a program in a namespace, with our library.
    pub fn start(namespace: &Namespace, program: &Path) -> Program {
        Program::start_under(namespace, &[], program)
    }

    /// As start(), under another program that is told by these words.
    pub fn start_under(namespace: &Namespace, words: &[&str], program: &Path) -> Program {
        let libraries = prefix().join("lib");
        let mut command = namespace.command("env");
        command.arg(format!("LD_LIBRARY_PATH={}", libraries.display())).arg("SAM_LOG=stderr");
        command.args(words).arg(program).stdin(Stdio::piped());
        Program(Running::start_with_one_pipe(command))
    }

    /// Starts `c-tests/steps.c` and has it take the first steps, each of which has to succeed.
    pub fn steps(namespace: &Namespace, first: &[&str]) -> Program {
        let mut program = Program::start(namespace, &build(Built::WithOurs, "steps"));
        program.do_all(first);
        program
    }

    /// As steps(), with the program built against the original.
    pub fn relinked_steps(namespace: &Namespace, first: &[&str]) -> Program {
        let mut program = Program::start(namespace, &build(Built::WithOriginal, "steps"));
        program.do_all(first);
        program
    }

    /// Tells it to do something.
    pub fn tell(&mut self, command: &str) {
        self.0.tell(command);
    }

    /// Waits for it to say `what`, skipping other words.
    pub fn hear(&mut self, what: &str) -> Said {
        loop {
            let line = self.0.next_line().unwrap_or_else(|| panic!("it ended without a word of {what:?}"));
            if let Some(said) = Said::parse(&line).filter(|said| said.what == what) {
                return said;
            }
        }
    }

    /// Tells it to do something and waits for what came of it.
    pub fn does(&mut self, command: &str) -> Said {
        self.tell(command);
        self.hear(command.split(' ').next().unwrap())
    }

    /// Tells it to do these things, each of which has to succeed.
    pub fn do_all(&mut self, commands: &[&str]) {
        for command in commands {
            let said = self.does(command);
            assert_eq!(said.number, 1, "{command}\n{self}");
        }
    }

    /// Whether it has said `what` since it was last looked at.
    pub fn has_said(&self, what: &str) -> bool {
        self.0.unread().iter().filter_map(|line| Said::parse(line)).any(|said| said.what == what)
    }

    /// Waits until the library's log says this.
    pub fn logs(&self, text: &str) {
        let said = wait_for(|| self.text().contains(text).then_some(()));
        assert!(said.is_some(), "{text:?} was not logged\n{self}");
    }

    /// All that it has written so far, standard error included.
    pub fn text(&self) -> String {
        self.0.said().join("\n")
    }

    /// Waits for its end; the code, or 128 and the signal.
    pub fn ends(&mut self) -> i32 {
        match self.0.end() {
            Ended::Exit(code) => code,
            Ended::By(signal) => 128 + signal as i32,
            Ended::ByRealTime(number) => 128 + number,
            Ended::Never => unreachable!("it has ended"),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
