//! A program under test that does what it is told and reports each step.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use crate::common::{Built, build, prefix};
use crate::namespace::{Namespace, PATIENCE, wait_for};

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

#[derive(Default)]
struct Output {
    lines: Vec<String>,
    ended: bool,
}

/// A running program.
pub struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: Arc<(Mutex<Output>, Condvar)>,
    /// Lines that have been looked at.
    read: usize,
}

impl Program {
    /// Starts a program in a namespace, with our library.
    pub fn start(namespace: &Namespace, program: &Path) -> Program {
        Program::start_under(namespace, &[], program)
    }

    /// As start(), under another program that is told by these words.
    pub fn start_under(namespace: &Namespace, words: &[&str], program: &Path) -> Program {
        let libraries = prefix().join("lib");
        let mut child = namespace
            .command("env")
            .arg(format!("LD_LIBRARY_PATH={}", libraries.display()))
            .arg("SAM_LOG=stderr")
            .args(words)
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::<(Mutex<Output>, Condvar)>::default();
        let streams: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for (index, stream) in streams.into_iter().enumerate() {
            let output = output.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    output.0.lock().unwrap().lines.push(line);
                    output.1.notify_all();
                }
                if index == 0 {
                    output.0.lock().unwrap().ended = true;
                    output.1.notify_all();
                }
            });
        }
        Program { input: child.stdin.take(), child, output, read: 0 }
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
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{command}").unwrap_or_else(|error| panic!("{command}: {error}\n{self}"));
    }

    /// Waits for it to say `what`, skipping other words.
    pub fn hear(&mut self, what: &str) -> Said {
        let begin = Instant::now();
        let (lock, news) = &*self.output.clone();
        let mut output = lock.lock().unwrap();
        loop {
            while self.read < output.lines.len() {
                let said = Said::parse(&output.lines[self.read]);
                self.read += 1;
                if let Some(said) = said.filter(|said| said.what == what) {
                    return said;
                }
            }
            if output.ended || begin.elapsed() > PATIENCE {
                drop(output);
                panic!("no word of {what:?} in {:?}\n{self}", begin.elapsed());
            }
            output = news.wait_timeout(output, PATIENCE / 10).unwrap().0;
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
        let output = self.output.0.lock().unwrap();
        output.lines[self.read..].iter().filter_map(|line| Said::parse(line)).any(|said| said.what == what)
    }

    /// Waits until the library's log says this.
    pub fn logs(&self, text: &str) {
        let said = wait_for(|| self.text().contains(text).then_some(()));
        assert!(said.is_some(), "{text:?} was not logged\n{self}");
    }

    /// All that it has written so far, standard error included.
    pub fn text(&self) -> String {
        self.output.0.lock().unwrap().lines.join("\n")
    }

    /// Waits for its end; the code, or 128 and the signal.
    pub fn ends(&mut self) -> i32 {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                use std::os::unix::process::ExitStatusExt;
                return status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
            }
            assert!(begin.elapsed() < PATIENCE, "it does not end\n{self}");
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // What runs inside ends with its namespace; this is the nsenter outside.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the program said:\n{}", self.text())
    }
}
