//! The fault table: what is done to a supervised program, and what becomes of it with libsam4 and with ours. Each
//! row is a program of `c-tests/`, run with both. Prints the table; fails when ours fails in any row, or when the
//! original does something else than is written here.
//!
//! What differs in codes alone is in `codes.rs`.

mod common;

use std::{
    env, fmt,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use common::{
    Built, Ended,
    Ended::{By, ByRealTime, Exit, Never},
    Library, Outcome, Program,
};
use nix::sys::signal::Signal::{SIGKILL, SIGPIPE, SIGSEGV, SIGTERM};

/// In how many rows the original fails at least, or the programs do not show the faults any more.
const FAILURES_OF_THE_ORIGINAL: usize = 12;

/// How long to look at a program that is expected never to get further, and at one that should.
const STUCK: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);

/// How a program ends, and what it says until then.
#[derive(Clone, Copy)]
struct Shown(Ended, &'static [&'static str]);

/// What the original does.
#[derive(Clone, Copy)]
enum Original {
    Shows(Shown),
    /// Never what ours does. How it goes wrong is left to chance.
    GoesWrong,
    LeftToChance,
}

impl From<Shown> for Original {
    fn from(shown: Shown) -> Original {
        Original::Shows(shown)
    }
}

const fn shows(ended: Ended, says: &'static [&'static str]) -> Shown {
    Shown(ended, says)
}

const GOES_WRONG: Original = Original::GoesWrong;
const LEFT_TO_CHANCE: Original = Original::LeftToChance;

/// A row.
struct Fault {
    fault: &'static str,
    /// What ours promises.
    promise: &'static str,
    command: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
    original: Original,
    ours: Shown,
}

fn fault(
    fault: &'static str,
    promise: &'static str,
    command: &'static [&'static str],
    original: impl Into<Original>,
    ours: Shown,
) -> Fault {
    Fault { fault, promise, command, variables: &[], original: original.into(), ours }
}

impl Fault {
    /// With these variables in its environment.
    fn with(self, variables: &'static [(&'static str, &'static str)]) -> Fault {
        Fault { variables, ..self }
    }

    fn run(&self, library: Library, patience: Duration) -> Outcome {
        let program = Program::new(Built::WithOurs, self.command);
        let mut command = program.command(library);
        command.envs(self.variables.iter().copied());
        if let Some(standby) = env::var_os("SAM_STANDBY") {
            command.env("SAM_STANDBY", standby);
        }
        program.start_as(command).finish(patience)
    }

    fn show(&self) -> Row {
        let patience = match self.original {
            Original::Shows(Shown(Never, _)) | Original::GoesWrong => STUCK,
            _ => PATIENCE,
        };
        let original = self.run(Library::Original, patience);
        let ours = self.run(Library::Ours, PATIENCE);
        let verdict = |outcome: &Outcome| match left_out(outcome) {
            Some(why) => Verdict::LeftOut(why),
            None if outcome.is(self.ours.0, self.ours.1) => Verdict::Holds(seen(outcome, self.ours)),
            None => Verdict::Fails(seen(outcome, self.ours)),
        };
        let mut row =
            Row { fault: self.fault, original: verdict(&original), ours: verdict(&ours), problems: vec![] };
        if let Verdict::Fails(_) = row.ours {
            let Shown(ended, says) = self.ours;
            row.problems.push(format!("{}: expected {ended:?} after {says:#?}, but {ours}", self.promise));
        }
        let as_written = match (&row.original, self.original) {
            (Verdict::LeftOut(_), _) | (_, Original::LeftToChance) => true,
            (verdict, Original::GoesWrong) => matches!(verdict, Verdict::Fails(_)),
            (_, Original::Shows(Shown(ended, says))) => original.is(ended, says),
        };
        if !as_written {
            row.problems.push(format!("the original does not do what is written here: {original}"));
        }
        row
    }
}

/// How a library came through a fault.
enum Verdict {
    Holds(String),
    Fails(String),
    LeftOut(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Holds(seen) => write!(f, "holds: {seen}"),
            Verdict::Fails(seen) => write!(f, "fails: {seen}"),
            Verdict::LeftOut(why) => write!(f, "left out: {why}"),
        }
    }
}

/// A line of the printed table.
struct Row {
    fault: &'static str,
    original: Verdict,
    ours: Verdict,
    problems: Vec<String>,
}

/// Why a program could not do what it is for on this machine.
fn left_out(outcome: &Outcome) -> Option<String> {
    outcome.says().iter().find_map(|line| line.strip_prefix("left out: ").map(str::to_owned))
}

/// What a program did, in a few words: its end, or where it left the way that ours goes.
fn seen(outcome: &Outcome, ours: Shown) -> String {
    let says = outcome.says();
    let same = says.iter().zip(ours.1).take_while(|(said, expected)| said == expected).count();
    if let Some(line) = says.get(same) {
        return (*line).to_owned();
    }
    let ended = match outcome.ended {
        Exit(code) => format!("exit {code}"),
        By(signal) => signal.to_string(),
        ByRealTime(number) => format!("signal {number}"),
        Never => "stuck".to_owned(),
    };
    says.last().map_or(ended.clone(), |last| format!("{last}, {ended}"))
}

fn main() -> ExitCode {
    // As with other tests: words select the rows whose fault contains one of them.
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let selected = |fault: &Fault| words.is_empty() || words.iter().any(|word| fault.fault.contains(word));
    let faults: Vec<Fault> = faults().into_iter().filter(selected).collect();
    let rows = run(&faults);
    print(&rows);

    let originals_failures = rows.iter().filter(|row| matches!(row.original, Verdict::Fails(_))).count();
    let enough = !words.is_empty() || originals_failures >= FAILURES_OF_THE_ORIGINAL;
    if !enough {
        println!("the original should fail {FAILURES_OF_THE_ORIGINAL} times or more");
    }
    if enough && rows.iter().all(|row| row.problems.is_empty()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs them, several at a time: most of them sleep most of the time.
fn run(faults: &[Fault]) -> Vec<Row> {
    let next = AtomicUsize::new(0);
    let work = || {
        let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let mine = numbers.map_while(|number| Some((number, faults.get(number)?.show())));
        mine.collect::<Vec<(usize, Row)>>()
    };
    let threads = thread::available_parallelism().map_or(2, |processors| processors.get()) + 1;
    let mut rows: Vec<(usize, Row)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a row of the table")).collect()
    });
    rows.sort_by_key(|(number, _)| *number);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn print(rows: &[Row]) {
    let lines: Vec<[String; 3]> = [["fault", "libsam4", "ours"].map(str::to_owned)]
        .into_iter()
        .chain(rows.iter().map(|row| [row.fault.to_owned(), row.original.to_string(), row.ours.to_string()]))
        .collect();
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or_default();
    let (fault, original) = (width(0), width(1));
    for line in &lines {
        println!("{:fault$}  {:original$}  {}", line[0], line[1], line[2]);
    }
    let count = |is: fn(&Verdict) -> bool| {
        let count = |of: fn(&Row) -> &Verdict| rows.iter().filter(|row| is(of(row))).count();
        format!("{} of libsam4, {} of ours", count(|row| &row.original), count(|row| &row.ours))
    };
    println!(
        "\n{} faults; fails: {}; holds: {}; left out: {}",
        rows.len(),
        count(|verdict| matches!(verdict, Verdict::Fails(_))),
        count(|verdict| matches!(verdict, Verdict::Holds(_))),
        count(|verdict| matches!(verdict, Verdict::LeftOut(_))),
    );
    for row in rows {
        for problem in &row.problems {
            println!("\n{}\n{problem}", row.fault);
        }
    }
}

fn faults() -> Vec<Fault> {
    vec![
        // A heartbeat
        fault(
            "200,000 heartbeats while the supervisor is stopped",
            "a heartbeat is a store to memory, not a write to a pipe that fills up",
            &["heartbeat_flood"],
            shows(Never, &["supervisor stopped"]),
            shows(Exit(0), &["supervisor stopped", "200000 heartbeats"]),
        ),
        fault(
            "no system call allowed but exit (seccomp)",
            "a heartbeat makes no system call, so a filter that allows none lets it pass",
            &["heartbeat_seccomp"],
            shows(Exit(0), &[]), // killed by the filter, passed out as success
            shows(Exit(42), &[]),
        ),
        fault(
            "a compute loop under strict seccomp, then a hang",
            "an instance with no system calls but memory and output is watched as any other",
            &["compute_loop"],
            shows(Exit(0), &["instance 1", "instance 2"]), // killed by the filter at its first heartbeat
            shows(Exit(0), &["instance 1", "alive after four intervals", "warned", "instance 2"]),
        ),
        // Calls in handlers and threads
        fault(
            "warning handlers that call sam inside sam calls",
            "a call may interrupt a call; the C library holds a mutex and deadlocks",
            &["handler_calls"],
            shows(Never, &[]),
            shows(Exit(0), &["1000 handlers, all answers right"]),
        ),
        fault(
            "handlers that store inside stores, and crashes",
            "what is restored is what one store has written, whoever interrupted whom",
            &["store_interrupted"],
            shows(Never, &[]),
            shows(Exit(0), &["instance 6, all was whole"]),
        ),
        fault(
            "heartbeats of one thread during a store of another",
            "heartbeats of one thread get into the middle of another's data on the C library's pipe",
            &["heartbeat_in_store"],
            GOES_WRONG,
            shows(Exit(0), &["50 stores, the last one whole"]),
        ),
        fault(
            "every call from any thread",
            "calls of several threads do not get into each other's way",
            &["threads"],
            LEFT_TO_CHANCE, // it stops here more often than not
            shows(Exit(0), &["0 strange answers"]),
        ),
        fault(
            "a thread that stays in the supervisor calls sam",
            "calls in a supervisor are refused at once",
            &["left_thread"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["instance 1", "all calls refused", "instance 2", "data: kept"]),
        ),
        fault(
            "pthread_cancel of threads in sam calls",
            "no sam call is left by a cancellation",
            &["cancelled", "deferred"],
            LEFT_TO_CHANCE,
            shows(Exit(3), &["sam_data_store: 9", "done"]),
        ),
        fault(
            "asynchronous cancellation of threads in sam calls",
            "the thread ends outside the call, and nothing stays locked",
            &["cancelled", "asynchronous"],
            LEFT_TO_CHANCE,
            shows(Exit(3), &["sam_data_store: 9", "done"]),
        ),
        // Names
        fault(
            "a program with functions of its own named send, time ..",
            "the library calls the C library or the kernel, whatever functions the program has",
            &["own_names"],
            LEFT_TO_CHANCE, // its own libraries are led to the program's functions
            shows(Exit(0), &["instance 1", "instance 2", "instance 3", "alive after four intervals"]),
        ),
        fault(
            "the same, with all that an administrator can set",
            "the library calls the C library or the kernel, whatever functions the program has",
            &["own_names"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["instance 1", "instance 2", "instance 3", "alive after four intervals"]),
        )
        .with(&[
            ("SAM_LOG", "syslog"),
            ("SAM_KILL_GROUP", "1"),
            ("SAM_NOTIFY", "1"),
            ("NOTIFY_SOCKET", "@libsam-test-nobody"),
            ("SAM_HANG_SIGNAL", "TERM"),
            ("SAM_DEBUG_HOLD", "1"),
            ("SAM_RESTART_DELAY", "10..20"),
        ]),
        // Descriptors
        fault(
            "an exec'd grandchild outlives the crash",
            "the kernel tells of a death; the C library waits for the end of a pipe that children hold open",
            &["exec_child"],
            shows(Never, &["instance 1"]),
            shows(Exit(0), &["instance 1", "instance 2"]),
        ),
        fault(
            "a program started by the instance counts descriptors",
            "programs that the instance starts get no descriptor of the library",
            &["close_on_exec"],
            shows(Exit(0), &["2 more descriptors"]),
            shows(Exit(0), &["0 more descriptors"]),
        ),
        fault(
            "every descriptor closed, then heartbeats",
            "supervision needs no descriptor in the instance",
            &["close_everything", "beat"],
            shows(Exit(99), &["instance 1", "sam_start: 2", "sam_hc_send(): 9"]),
            shows(Exit(0), &["instance 1", "sam_start: 1", "alive after four intervals"]),
        ),
        fault(
            "every descriptor closed, then a hang",
            "supervision needs no descriptor in the instance",
            &["close_everything", "hang"],
            shows(Never, &["instance 1", "sam_start: 2"]),
            shows(Exit(0), &["instance 1", "sam_start: 1", "warned", "instance 2", "kept"]),
        ),
        fault(
            "every descriptor closed, then a crash",
            "supervision needs no descriptor in the instance",
            &["close_everything", "crash"],
            shows(Exit(0), &["instance 1", "sam_start: 2"]),
            shows(Exit(0), &["instance 1", "sam_start: 1", "instance 2", "kept"]),
        ),
        fault(
            "own files under the library's descriptor numbers",
            "a descriptor number that has become another file's is left alone",
            &["own_files"],
            shows(Never, &["instance 1", "the library wrote into the program's files"]),
            shows(
                Exit(0),
                &[
                    "instance 1",
                    "the program's files are as they were",
                    "instance 2",
                    "data of the last completed store",
                ],
            ),
        ),
        fault(
            "stdin, stdout and stderr closed before sam",
            "the library's descriptors never become stdin, stdout or stderr of a program that closed them",
            &["std_closed"],
            shows(Exit(0), &["instance 2: 1 accidents, kept"]),
            shows(Exit(0), &["instance 2: 0 accidents, kept"]),
        ),
        // How the supervisor ends
        fault(
            "policy QUIT and a crash",
            "the supervisor ends by the signal its last instance ended by, not with success",
            &["die", "QUIT", "0", "started", "signal", "11"],
            shows(Exit(0), &["instance 1: started"]),
            shows(By(SIGSEGV), &["instance 1: started"]),
        ),
        fault(
            "a crash while not started",
            "the supervisor ends by the signal its last instance ended by, not with success",
            &["die", "RESTART", "300", "registered", "signal", "15"],
            shows(Exit(0), &["instance 1: registered"]),
            shows(By(SIGTERM), &["instance 1: registered"]),
        ),
        fault(
            "policy QUIT and a hang",
            "the supervisor ends by the signal its last instance ended by, not with success",
            &["hang", "QUIT"],
            shows(Exit(0), &["instance 1", "warned by SIGTERM"]),
            shows(By(SIGKILL), &["instance 1", "warned by SIGTERM"]),
        ),
        fault(
            "exit handlers, and an end by a signal",
            "the supervisor's exit handlers run, once, also when it ends by a signal",
            &["exit_handlers", "crash"],
            shows(Exit(0), &["instance 1", "instance leaves", "instance 2", "supervisor leaves"]),
            shows(By(SIGSEGV), &["instance 1", "instance leaves", "instance 2", "supervisor leaves"]),
        ),
        fault(
            "SIGCHLD ignored",
            "the exit code is passed out also when the program ignores SIGCHLD",
            &["sigchld_ignored"],
            shows(Exit(0), &["instance 1"]),
            shows(Exit(7), &["instance 1"]),
        ),
        // Restarts that fail
        fault(
            "fork refused for 2 s at a restart",
            "a restart that fails is tried again; the C library returns into the program, in the supervisor",
            &["fork_fails", "processes"],
            shows(
                Exit(1),
                &[
                    "instance 1",
                    "the program's code runs in the supervisor: sam_register: 2",
                    "the limit is lifted",
                ],
            ),
            shows(Exit(0), &["instance 1", "the limit is lifted", "the next instance"]),
        ),
        fault(
            "no descriptor to be had at a restart",
            "a restart needs no descriptor; the C library returns into the program, in the supervisor",
            &["fork_fails", "descriptors"],
            shows(
                Exit(1),
                &[
                    "instance 1",
                    "the program's code runs in the supervisor: sam_register: 2",
                    "the limit is lifted",
                ],
            ),
            shows(Exit(0), &["instance 1", "the next instance", "the limit is lifted"]),
        ),
        fault(
            "no descriptor to be had while an instance hangs",
            "neither watching nor a restart needs a descriptor",
            &["fork_fails", "descriptors", "hang"],
            GOES_WRONG, // and leaves the hung instance behind
            shows(Exit(0), &["instance 1", "the next instance", "the limit is lifted"]),
        ),
        fault(
            "memory refused at a restart",
            "a restart needs no more memory than the one before it",
            &["fork_fails", "memory"],
            shows(Exit(0), &["instance 1", "the next instance", "the limit is lifted"]),
            shows(Exit(0), &["instance 1", "the next instance", "the limit is lifted"]),
        ),
        fault(
            "a full heap, then a crash and a hang",
            "the supervisor has memory of its own",
            &["full_heap"],
            shows(Exit(0), &["instance 1", "instance 2", "warned", "instance 3"]),
            shows(Exit(0), &["instance 1", "instance 2", "warned", "instance 3"]),
        ),
        // Signals to the supervisor
        fault(
            "SIGTERM to the supervisor",
            "a signal to the supervisor is passed on, and the end that it brings is passed out",
            &["signal_supervisor", "15", "default"],
            shows(By(SIGTERM), &["instance 1", "the instance lives on unwatched"]),
            shows(By(SIGTERM), &["instance 1"]),
        ),
        fault(
            "SIGTERM to the supervisor, a handler installed",
            "handlers run in the instance; an end after SIGTERM is final",
            &["signal_supervisor", "15", "handled"],
            shows(Exit(5), &["instance 1", "handled in the supervisor", "instance 2"]),
            shows(Exit(6), &["instance 1", "handled in the instance"]),
        ),
        fault(
            "SIGINT to the supervisor, a handler installed",
            "handlers run in the instance; an end after SIGINT is final",
            &["signal_supervisor", "2", "handled"],
            shows(Exit(5), &["instance 1", "handled in the supervisor", "instance 2"]),
            shows(Exit(6), &["instance 1", "handled in the instance"]),
        ),
        fault(
            "SIGQUIT to the supervisor, a handler installed",
            "handlers run in the instance; an end after SIGQUIT is final",
            &["signal_supervisor", "3", "handled"],
            shows(Exit(5), &["instance 1", "handled in the supervisor", "instance 2"]),
            shows(Exit(6), &["instance 1", "handled in the instance"]),
        ),
        fault(
            "SIGHUP to the supervisor, a handler installed",
            "handlers run in the instance; an end after SIGHUP is like any other",
            &["signal_supervisor", "1", "handled"],
            shows(Exit(5), &["instance 1", "handled in the supervisor", "instance 2"]),
            shows(Exit(5), &["instance 1", "handled in the instance", "instance 2"]),
        ),
        fault(
            "SIGUSR1 to the supervisor, a handler installed",
            "handlers run in the instance; an end after SIGUSR1 is like any other",
            &["signal_supervisor", "10", "handled"],
            shows(Exit(5), &["instance 1", "handled in the supervisor", "instance 2"]),
            shows(Exit(5), &["instance 1", "handled in the instance", "instance 2"]),
        ),
        fault(
            "Ctrl-Z in a terminal, then fg",
            "supervisor and instance stop and go on together",
            &["job_control", "suspend"],
            LEFT_TO_CHANCE,
            shows(
                Exit(0),
                &[
                    "instance 1",
                    "supervisor stopped",
                    "instance stopped: yes",
                    "alive, SIGINT: 0",
                    "the job ended with 3",
                ],
            ),
        ),
        fault(
            "Ctrl-C in a terminal",
            "the instance gets one SIGINT, and its end is final",
            &["job_control", "interrupt"],
            shows(Exit(0), &["instance 1", "the job ended by signal 2"]),
            shows(Exit(0), &["instance 1", "alive, SIGINT: 1", "the job ended with 3"]),
        ),
        fault(
            "the supervisor is killed",
            "no instance lives on unwatched: it gets SIGTERM, and calls say CS_ERR_LIBRARY without SIGPIPE",
            &["orphan", "keep"],
            shows(
                By(SIGKILL),
                &[
                    "supervised, sam_hc_send: 1",
                    "the instance lives on unwatched",
                    "SIGPIPE",
                    "sam_hc_send: 2",
                    "SIGPIPE",
                    "sam_data_store: 2",
                    "SIGPIPE",
                    "sam_stop: 2",
                ],
            ),
            shows(
                By(SIGKILL),
                &[
                    "supervised, sam_hc_send: 1",
                    "SIGTERM",
                    "sam_hc_send: 2",
                    "sam_data_store: 2",
                    "sam_stop: 2",
                ],
            ),
        ),
        fault(
            "root's rights dropped, then the supervisor is killed",
            "`sam_start` asks the kernel again for the signal that giving up rights takes away",
            &["orphan", "drop"],
            LEFT_TO_CHANCE,
            shows(
                By(SIGKILL),
                &[
                    "supervised, sam_hc_send: 1",
                    "SIGTERM",
                    "sam_hc_send: 2",
                    "sam_data_store: 2",
                    "sam_stop: 2",
                ],
            ),
        ),
        fault(
            "callback mode, then the supervisor is killed",
            "one SIGTERM, though two threads could have asked the kernel for it",
            &["orphan", "keep", "callback"],
            LEFT_TO_CHANCE,
            shows(
                By(SIGKILL),
                &[
                    "supervised, sam_hc_send: 1",
                    "SIGTERM",
                    "sam_hc_send: 2",
                    "sam_data_store: 2",
                    "sam_stop: 2",
                ],
            ),
        ),
        fault(
            "callback mode, root's rights dropped, then the supervisor is killed",
            "the library's thread asks the kernel again for the signal that giving up rights takes away",
            &["orphan", "drop", "callback"],
            LEFT_TO_CHANCE,
            shows(
                By(SIGKILL),
                &[
                    "supervised, sam_hc_send: 1",
                    "SIGTERM",
                    "sam_hc_send: 2",
                    "sam_data_store: 2",
                    "sam_stop: 2",
                ],
            ),
        ),
        fault(
            "callback mode, the supervisor killed right after root's rights",
            "the library's thread sends the signal that the kernel did not send",
            &["orphan", "drop", "prompt"],
            LEFT_TO_CHANCE,
            shows(
                By(SIGKILL),
                &[
                    "supervised, sam_hc_send: 1",
                    "SIGTERM",
                    "sam_hc_send: 2",
                    "sam_data_store: 2",
                    "sam_stop: 2",
                ],
            ),
        ),
        // Data
        fault(
            "a store that the supervisor has no memory for",
            "the supervisor never holds the data, so it cannot fail to",
            &["store_refused"],
            shows(Never, &[]),
            shows(Exit(0), &["answered"]),
        ),
        fault(
            "a store that the instance has no memory for",
            "refused, and the earlier data is intact",
            &["store_little_memory"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["refused", "instance 1 has first", "instance 2 has first"]),
        ),
        fault(
            "killed in the middle of a store, 25 times",
            "the earlier data stays whole, and supervision goes on",
            &["store_cut_off"],
            shows(By(SIGPIPE), &[]), // the supervisor, writing its answer
            shows(Exit(0), &["25 instances, data damaged: 0"]),
        ),
        // Time
        fault(
            "SIGSTOP, then SIGCONT, of supervisor and instance",
            "silence counts only while the supervisor could have seen a heartbeat",
            &["late_supervisor", "both"],
            shows(Exit(1), &["instance 1", "warned", "instance 2"]),
            shows(Exit(0), &["instance 1", "alive"]),
        ),
        fault(
            "SIGSTOP, then SIGCONT, of the supervisor",
            "silence counts only while the supervisor could have seen a heartbeat",
            &["late_supervisor", "supervisor"],
            shows(Exit(0), &["instance 1", "alive"]),
            shows(Exit(0), &["instance 1", "alive"]),
        ),
        fault(
            "SIGSTOP, then SIGCONT, of the instance",
            "a stop shorter than the interval is no silence",
            &["stopped_instance", "short"],
            shows(Exit(0), &["instance 1", "alive after three intervals"]),
            shows(Exit(0), &["instance 1", "alive after three intervals"]),
        ),
        fault(
            "SIGSTOP of the instance for ever",
            "a stop is a hang",
            &["stopped_instance", "long"],
            shows(Exit(0), &["instance 1", "instance 2"]),
            shows(Exit(0), &["instance 1", "instance 2"]),
        ),
        fault(
            "500 ms without a processor for the supervisor, often",
            "silence counts only while the supervisor could have seen a heartbeat",
            &["held_supervisor", "beat"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["instance 1", "alive"]),
        ),
        fault(
            "the same, while the instance hangs",
            "a hang is found by a supervisor that is late, too",
            &["held_supervisor", "hang"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["instance 1", "warned", "instance 2", "in time"]),
        ),
        fault(
            "a debugger attaches and leaves, to both",
            "being held for less than the interval is no silence, and holding the supervisor none of the instance's",
            &["debugger"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["instance 1", "alive", "instance 2"]),
        ),
        fault(
            "steps of the wall clock",
            "only the monotonic clock counts",
            &["clock_step"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["instance 1", "hangs", "warned", "instance 2", "in time"]),
        ),
        fault(
            "a second silence after a late heartbeat",
            "a heartbeat after the warning calls the kill off, and so the next silence is warned of again",
            &["next_silence"],
            shows(Exit(0), &["instance 1", "warned", "late heartbeat: 1", "instance 2"]),
            shows(Exit(0), &["instance 1", "warned", "late heartbeat: 1", "warned", "instance 2"]),
        ),
        // Callbacks
        fault(
            "a callback that says unhealthy",
            "the recovery begins at the callback's word; the C library falls silent for an interval first",
            &["callback_prompt"],
            shows(Exit(0), &["warned an interval later"]),
            shows(Exit(0), &["warned at once"]),
        ),
        fault(
            "a callback that needs more than 32 KiB of stack",
            "a callback has the stack of a thread, not 32 KiB",
            &["callback_stack"],
            shows(Exit(1), &["instance 1", "instance 2"]), // the first one crashed
            shows(Exit(0), &["instance 1", "called"]),
        ),
        fault(
            "a callback with an interval of 2 ms",
            "an interval of 2 ms is 2 ms, not a busy loop",
            &["callback_often"],
            shows(Exit(0), &["far more often than once per interval"]),
            shows(Exit(0), &["about once per interval"]),
        ),
        fault(
            "a callback that starts a command",
            "the callback and its commands have the signal mask of the thread that registered it; between callbacks no handler runs in the library's thread",
            &["callback_mask"],
            LEFT_TO_CHANCE,
            shows(
                Exit(0),
                &[
                    "the callback: as registered",
                    "its command: as registered",
                    "a handler ran with the callback",
                ],
            ),
        ),
        // What the operator sees
        fault(
            "a restart, and nobody says why",
            "every step of a recovery is a line in the log",
            &["log_line"],
            shows(Exit(0), &["not a word"]),
            shows(Exit(0), &["the loss, the restart"]),
        ),
        fault(
            "a full /dev/log, 99 restarts",
            "the supervisor never waits for the log",
            &["full_syslog"],
            shows(Exit(0), &["100 instances in time"]),
            shows(Exit(0), &["100 instances in time"]),
        )
        .with(&[("SAM_LOG", "syslog")]),
        fault(
            "an instance that crashes at once, every time",
            "the administrator can set a limit",
            &["troubled", "0", "run=30"],
            GOES_WRONG, // restarts it for ever
            shows(Exit(1), &["instance 1", "instance 2", "instance 3", "instance 4"]),
        )
        .with(&[("SAM_RESTART_LIMIT", "3/3600")]),
    ]
}
