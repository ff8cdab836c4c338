//! The fault table: what is done to a supervised program, and what becomes of it with libsam4 and with ours. Each
//! row is a program of `c-tests/`, run with both. Prints the table; fails when ours fails in any row, or when the
//! original does something else than is written here.
//!
//! What differs in codes alone is in `codes.rs`.

mod common;

use std::{
    env,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use common::{
    Built, Ended,
    Ended::{By, ByRealTime, Exit, Never},
    Library, Outcome, PATIENCE, Program, Running,
    runner::{self, skip},
};
use nix::sys::signal::Signal::{SIGKILL, SIGSEGV, SIGTERM};

/// How long to look at a program that is expected to go wrong.
const GLANCE: Duration = Duration::from_secs(5);
/// How long to look at the original where nothing is asserted about it.
const CURIOSITY: Duration = Duration::from_secs(20);

/// How a program ends, and what it says until then.
#[derive(Clone, Copy)]
struct Shown(Ended, &'static [&'static str]);

/// What the original does. A row asserts only what does not depend on uninitialised memory, on a race or on the speed of
/// the machine.
#[derive(Clone, Copy)]
enum Original {
    /// Where it gets stuck, it may also be too slow to say all of this.
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

const WORKERS: &[&str] = &[
    "worker 0: data at the fork, draft of worker 0, data of worker 0",
    "worker 1: data at the fork, draft of worker 1, data of worker 1",
    "parent: data of the parent",
];

const GOES_WRONG: Original = Original::GoesWrong;
const LEFT_TO_CHANCE: Original = Original::LeftToChance;

/// What reaping_thread says.
const REAPED: &[&str] = &[
    "instance 1",
    "instance 2",
    "instance 3",
    "instance 4",
    "instance 5",
    "instance 6",
    "instance 7",
    "instance 8",
    "instance 9",
    "instance 10",
    "instance 11",
    "the supervisor is at rest",
];

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

    fn start(&self, library: Library) -> Running {
        let program = Program::new(Built::WithOurs, self.command);
        let mut command = program.command(library);
        command.envs(self.variables.iter().copied());
        if let Some(standby) = env::var_os("SAM_STANDBY") {
            command.env("SAM_STANDBY", standby);
        }
        program.start_as(command)
    }

    /// Runs the row with both libraries, and puts what they did into `table`. Fails unless both do what is written here.
    fn check(self, table: &Table) {
        let original = self.start(Library::Original);
        let original = match self.original {
            Original::Shows(Shown(Never, _)) => original.finish_when_stuck(),
            Original::GoesWrong => original.finish(GLANCE),
            Original::LeftToChance => original.finish(CURIOSITY),
            Original::Shows(_) => original.finish(PATIENCE),
        };
        let ours = self.start(Library::Ours).finish(PATIENCE);
        if let Some(reason) = ours.left_out() {
            skip(reason);
        }
        let row = Row {
            fault: self.fault,
            original_holds: original.is(self.ours.0, self.ours.1),
            original: seen(&original, self.ours),
            ours_holds: ours.is(self.ours.0, self.ours.1),
            ours: seen(&ours, self.ours),
        };
        let (original_holds, ours_holds) = (row.original_holds, row.ours_holds);
        table.lock().unwrap_or_else(PoisonError::into_inner).push(row);

        let Shown(ended, says) = self.ours;
        assert!(ours_holds, "{}: expected {ended:?} after {says:#?}, but {ours}", self.promise);
        let as_written = match self.original {
            Original::LeftToChance => true,
            Original::GoesWrong => !original_holds,
            Original::Shows(Shown(Never, says)) => {
                original.ended == Never && says.starts_with(&original.says())
            }
            Original::Shows(Shown(ended, says)) => original.is(ended, says),
        };
        assert!(as_written, "the original does not do what is written here: {original}");
    }
}

/// A line of the printed table.
struct Row {
    fault: &'static str,
    original_holds: bool,
    original: String,
    ours_holds: bool,
    ours: String,
}

/// The rows that have run, in the order in which they ended.
type Table = Mutex<Vec<Row>>;

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
    static TABLE: Table = Mutex::new(Vec::new());
    let faults = faults();
    let order: Vec<&str> = faults.iter().map(|fault| fault.fault).collect();
    let test = |fault: Fault| (fault.fault.to_owned(), Box::new(|| fault.check(&TABLE)) as Box<_>);
    let tests = faults.into_iter().map(test).collect();
    // Most of them sleep most of the time.
    let threads = thread::available_parallelism().map_or(2, |processors| processors.get()) + 4;
    let code = runner::run(tests, Some(threads));

    let mut rows = std::mem::take(&mut *TABLE.lock().unwrap_or_else(PoisonError::into_inner));
    rows.sort_by_key(|row| order.iter().position(|fault| *fault == row.fault));
    print(&rows);
    code
}

fn print(rows: &[Row]) {
    let verdict = |holds, seen: &str| format!("{}: {seen}", if holds { "holds" } else { "fails" });
    let head = ["fault", "libsam4", "ours"].map(str::to_owned);
    let cells = rows.iter().map(|row| {
        [row.fault.to_owned(), verdict(row.original_holds, &row.original), verdict(row.ours_holds, &row.ours)]
    });
    let lines: Vec<[String; 3]> = [head].into_iter().chain(cells).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or_default();
    let (fault, original) = (width(0), width(1));
    for line in &lines {
        println!("{:fault$}  {:original$}  {}", line[0], line[1], line[2]);
    }
    let fails = |holds: fn(&Row) -> bool| rows.iter().filter(|row| !holds(row)).count();
    println!(
        "\n{} faults; libsam4 fails {}, ours fails {}",
        rows.len(),
        fails(|row| row.original_holds),
        fails(|row| row.ours_holds)
    );
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
            GOES_WRONG, // a deadlock, as soon as a handler interrupts a call
            shows(Exit(0), &["1000 handlers, all answers right"]),
        ),
        fault(
            "handlers that store inside stores, and crashes",
            "what is restored is what one store has written, whoever interrupted whom",
            &["store_interrupted"],
            GOES_WRONG, // a deadlock, as soon as a handler interrupts a store
            shows(Exit(0), &["instance 6, all was whole"]),
        ),
        fault(
            "a handler sends heartbeats during stores of 64 MiB",
            "signals are delivered between the parts of large data",
            &["handlers_in_store"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["heartbeats during a store: many"]),
        ),
        fault(
            "data in pages that a handler of SIGSEGV makes accessible",
            "a fault in the application's memory reaches its handler, which may store",
            &["store_faults"],
            GOES_WRONG, // the kernel refuses to write such pages to a pipe
            shows(
                Exit(0),
                &[
                    "3 pages stored, each after a fault",
                    "restored whole",
                    "256 pages stored, each after a fault",
                    "restored whole",
                ],
            ),
        ),
        fault(
            "fork while another thread is in a sam call",
            "the lock of a thread that the new process does not have is free in that process",
            &["fork_in_call"],
            LEFT_TO_CHANCE,
            shows(
                Exit(0),
                &[
                    "store before sam_register: no child waits",
                    "warning signal before sam_register: no child waits",
                    "store: no child waits",
                    "warning signal: no child waits",
                ],
            ),
        ),
        fault(
            "handlers on a small alternate stack store data that grows",
            "every call that a handler makes needs little stack",
            &["handler_stack"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["little stack"]),
        ),
        fault(
            "heartbeats of one thread during a store of another",
            "heartbeats of one thread get into the middle of another's data on the C library's pipe",
            &["heartbeat_in_store"],
            LEFT_TO_CHANCE, // a race of two threads
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
            "workers forked before sam_register store data",
            "each program that registers has data of its own, which begins with what was stored before the fork",
            &["workers"],
            shows(Exit(0), WORKERS),
            shows(Exit(0), WORKERS),
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
            GOES_WRONG, // the supervisor takes the accidents for commands
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
            LEFT_TO_CHANCE, // the exit status is memory that was never written
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
            "the terminal of a session leader hangs up",
            "the kernel tells the leader alone, so it is passed on to the instance",
            &["terminal_hangup"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["SIGHUP: 1, SIGCONT: 1", "the supervisor ended with 4"]),
        ),
        fault(
            "a stop signal that the program ignores, and SIGSTOP much later",
            "the supervisor stops only as an answer to a stop signal, and so finds the hang",
            &["stop_ignored", "20"],
            LEFT_TO_CHANCE,
            shows(Exit(3), &["instance 1", "instance 2"]),
        ),
        fault(
            "alarm, setitimer and timer_create before sam_register",
            "timers of the calling process stay with it, and no instance gets their signals",
            &["early_timers"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["SIGALRM: 0, others: 0", "SIGALRM: 1"]),
        ),
        fault(
            "signals for the spare, then a crash",
            "what was sent to the spare itself does not reach the instance that it becomes",
            &["spare_signals"],
            LEFT_TO_CHANCE, // there is no spare
            shows(Exit(3), &["instance 1", "instance 2"]),
        )
        .with(&[("SAM_STANDBY", "1")]),
        fault(
            "sam_stop in the handler of the signal for a hang",
            "what an instance says after the decision to end it does not count",
            &["stop_in_abort", "stop"],
            LEFT_TO_CHANCE, // knows no such signal
            shows(Exit(3), &["instance 1", "sam_stop: 1", "instance 2"]),
        )
        .with(&[("SAM_HANG_SIGNAL", "ABRT")]),
        fault(
            "sam_finalize in the handler of the signal for a hang",
            "what an instance says after the decision to end it does not count",
            &["stop_in_abort", "finalize"],
            LEFT_TO_CHANCE, // knows no such signal
            shows(Exit(3), &["instance 1", "sam_finalize: 1", "instance 2"]),
        )
        .with(&[("SAM_HANG_SIGNAL", "ABRT")]),
        fault(
            "threads in the supervisor reap the instance",
            "an instance that another thread has reaped is restarted",
            &["reaping_thread"],
            LEFT_TO_CHANCE,
            shows(Exit(0), REAPED),
        ),
        fault(
            "the same, with a spare",
            "a spare that another thread has reaped is replaced",
            &["reaping_thread"],
            LEFT_TO_CHANCE,
            shows(Exit(0), REAPED),
        )
        .with(&[("SAM_STANDBY", "1")]),
        fault(
            "the same, and no descriptor to be had",
            "an instance that another thread has reaped is restarted",
            &["reaping_thread", "descriptors"],
            LEFT_TO_CHANCE,
            shows(Exit(0), REAPED),
        ),
        fault(
            "a hung instance that its supervisor may not signal",
            "a kill that the kernel refuses is tried again",
            &["kill_refused"],
            LEFT_TO_CHANCE,
            shows(Exit(3), &["instance 1", "lives", "instance 2"]),
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
        // Processes that the instance forks
        fault(
            "daemon(3) between sam_register and sam_start, then a crash",
            "a process that the instance forked before it exited with 0 is adopted, not restarted beside",
            &["daemonize", "daemon", "registered", "crash", "2500"],
            LEFT_TO_CHANCE, // the same, unless the machine is busy
            shows(Exit(0), &["instance 1 is alive", "instance 2 is alive"]),
        ),
        fault(
            "daemon(3) after sam_start, then a crash",
            "a process that the instance forked before it exited with 0 is adopted, not restarted beside",
            &["daemonize", "daemon", "started", "crash", "2500"],
            LEFT_TO_CHANCE, // the same, unless the machine is busy
            shows(Exit(0), &["instance 1 is alive", "instance 2 is alive"]),
        ),
        fault(
            "daemon(3) with a warm spare, then a crash",
            "a process that the instance forked before it exited with 0 is adopted, not restarted beside",
            &["daemonize", "daemon", "started", "crash", "2500"],
            LEFT_TO_CHANCE, // the same, unless the machine is busy
            shows(Exit(0), &["instance 1 is alive", "instance 2 is alive"]),
        )
        .with(&[("SAM_STANDBY", "1")]),
        fault(
            "daemon(3) with SAM_KILL_GROUP, then a crash",
            "a process that the instance forked before it exited with 0 is adopted, not restarted beside",
            &["daemonize", "daemon", "started", "crash", "2500"],
            LEFT_TO_CHANCE, // the same, unless the machine is busy
            shows(Exit(0), &["instance 1 is alive", "instance 2 is alive"]),
        )
        .with(&[("SAM_KILL_GROUP", "1")]),
        fault(
            "daemon(3) with no interval and no further call, then an exit",
            "a process that the instance forked before it exited with 0 is adopted, not restarted beside",
            &["daemonize", "daemon", "started", "exit", "0"],
            shows(Exit(0), &["instance 1 is alive", "instance 2 is alive"]),
            shows(Exit(0), &["instance 1 is alive", "instance 2 is alive"]),
        ),
        fault(
            "daemon(3), then a hang",
            "the process that goes on is warned and killed; the C library kills the one that ended",
            &["daemonize", "daemon", "started", "hang", "2500"],
            GOES_WRONG, // restarts it beside the hung one,
            shows(Exit(0), &["instance 1 is alive", "warned", "instance 2 is alive"]),
        ),
        fault(
            "daemon(3), then sam_stop and exit 0",
            "the end of the process that goes on is the end of the instance",
            &["daemonize", "daemon", "registered", "stop", "2500"],
            shows(Exit(0), &["instance 1 is alive"]),
            shows(Exit(0), &["instance 1 is alive"]),
        ),
        fault(
            "daemon(3) between a callback's registration and sam_start",
            "the thread that asks the callback is made in the process that goes on",
            &["daemonize", "daemon", "callback", "crash", "2500"],
            GOES_WRONG, // restarts it beside the daemon,
            shows(Exit(0), &["instance 1 is alive", "instance 2 is alive"]),
        ),
        fault(
            "fork and _exit(0) by hand, then a crash",
            "a process that the instance forked before it exited with 0 is adopted, not restarted beside",
            &["daemonize", "fork", "started", "crash", "2500"],
            LEFT_TO_CHANCE, // the same, unless the machine is busy
            shows(Exit(0), &["instance 1 is alive", "instance 2 is alive"]),
        ),
        fault(
            "two forks by hand, then a crash",
            "a process that the instance forked before it exited with 0 is adopted, not restarted beside",
            &["daemonize", "twice", "registered", "crash", "2500"],
            LEFT_TO_CHANCE, // the same, unless the machine is busy
            shows(Exit(0), &["instance 1 is alive", "instance 2 is alive"]),
        ),
        fault(
            "daemon(3), then SIGTERM to the supervisor",
            "signals are passed on to the process that goes on, and its end is passed out",
            &["daemonize", "daemon", "registered", "term", "0"],
            GOES_WRONG, // ends alone, or restarts,
            shows(Exit(6), &["instance 1 is alive", "warned"]),
        ),
        fault(
            "daemon(3), then the supervisor is killed",
            "the process that goes on is told, as any instance",
            &["daemonize", "daemon", "registered", "kill", "0"],
            GOES_WRONG,
            shows(By(SIGKILL), &["instance 1 is alive", "warned", "sam_hc_send: 2"]),
        ),
        fault(
            "a fork whose parent takes its time to end, then the supervisor is killed",
            "the process that goes on is told, as any instance",
            &["daemonize", "slow", "registered", "kill", "0"],
            GOES_WRONG,
            shows(By(SIGKILL), &["instance 1 is alive", "warned", "sam_hc_send: 2"]),
        ),
        fault(
            "daemon(3) in callback mode, then the supervisor is killed",
            "one SIGTERM tells the process that goes on, though two threads could have asked the kernel for it",
            &["daemonize", "daemon", "callback", "kill", "2500"],
            GOES_WRONG,
            shows(By(SIGKILL), &["instance 1 is alive", "warned", "sam_hc_send: 2"]),
        ),
        fault(
            "a fork that is started with a callback before its parent ends, then the supervisor is killed",
            "the process that goes on is told of the end of its supervisor, not of that of its parent",
            &["daemonize", "late", "callback", "kill", "2500"],
            LEFT_TO_CHANCE,
            shows(By(SIGKILL), &["instance 1 is alive", "warned", "sam_hc_send: 2"]),
        ),
        fault(
            "a helper that never calls sam outlives an exit 0",
            "a process that never calls sam is not taken for the instance",
            &["helper", "outlives"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["instance 1", "instance 2, supervised", "helper: alive"]),
        ),
        fault(
            "a helper outlives a crash, and calls sam",
            "what a crashed instance left behind cannot speak for the next one",
            &["helper", "calls"],
            GOES_WRONG,
            shows(
                Exit(0),
                &[
                    "instance 1",
                    "instance 2, supervised",
                    "the helper's sam_hc_send: 2",
                    "the helper's sam_stop: 2",
                ],
            ),
        ),
        fault(
            "heartbeats of a helper while the instance is silent",
            "a process that the instance forked speaks for it",
            &["helper", "beats"],
            shows(Exit(0), &["instance 1", "alive after four intervals"]),
            shows(Exit(0), &["instance 1", "alive after four intervals"]),
        ),
        fault(
            "SIGTERM after the exit of daemon(3)'s caller",
            "a signal that tells the program to end waits for the process that goes on, whose end is final",
            &["goes_on", "term"],
            GOES_WRONG, // ends alone
            shows(Exit(6), &["instance 1", "SIGTERM"]),
        ),
        fault(
            "SIGUSR1 after the exit of daemon(3)'s caller",
            "other signals wait until the process that goes on is started",
            &["goes_on", "usr1"],
            GOES_WRONG, // ends alone
            shows(Exit(0), &["instance 1", "SIGUSR1 after sam_start", "instance 2"]),
        ),
        fault(
            "what an adopted process forked outlives it",
            "SAM_KILL_GROUP ends what an adopted process left behind, as of any instance",
            &["goes_on", "helper"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["instance 1", "instance 2", "the other process is gone"]),
        )
        .with(&[("SAM_KILL_GROUP", "1")]),
        fault(
            "a daemon of a child from before sam_register, then an exit 0",
            "what the instance did not fork is not taken for the instance",
            &["goes_on", "early"],
            shows(Exit(0), &["instance 1", "instance 2", "the other process is alive"]),
            shows(Exit(0), &["instance 1", "instance 2", "the other process is alive"]),
        ),
        // PID namespaces
        fault(
            "instances in an existing PID namespace",
            "the end of the supervisor is told by other signs than getppid(2)",
            &["pid_namespace", "existing"],
            shows(
                Exit(0),
                &["instance 1", "alive after four intervals", "instance 2", "alive after four intervals"],
            ),
            shows(
                Exit(0),
                &["instance 1", "alive after four intervals", "instance 2", "alive after four intervals"],
            ),
        ),
        fault(
            "instances in a new PID namespace",
            "where no instance can follow, the supervisor ends as the last one did",
            &["pid_namespace", "new"],
            shows(
                Exit(1),
                &[
                    "instance 1",
                    "alive after four intervals",
                    "the program's code runs in the supervisor: sam_register: 2",
                ],
            ),
            shows(Exit(3), &["instance 1", "alive after four intervals"]),
        ),
        // Data
        fault(
            "large data is forgotten",
            "its memory is given back, also after a restart, and what is stored then is whole",
            &["store_gives_back"],
            LEFT_TO_CHANCE,
            shows(
                Exit(0),
                &[
                    "private memory of the instance: little",
                    "forgotten: little",
                    "small after large: little",
                    "shrunk in two steps: little",
                    "forgotten after a restart: little",
                ],
            ),
        ),
        fault(
            "a store that the supervisor has no memory for",
            "the supervisor never holds the data, so it cannot fail to",
            &["store_refused"],
            GOES_WRONG, // answers after half a minute, in which its supervisor does nothing else
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
            LEFT_TO_CHANCE, // SIGPIPE, when an instance dies between the end of a store and the answer
            shows(Exit(0), &["25 instances, data damaged: 0"]),
        ),
        // Time
        fault(
            "SIGSTOP, then SIGCONT, of supervisor and instance",
            "silence counts only while the supervisor could have seen a heartbeat",
            &["late_supervisor", "both"],
            LEFT_TO_CHANCE, // warned; killed, unless a heartbeat comes first
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
            "2.5 s without a processor for the supervisor, thrice",
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
            LEFT_TO_CHANCE, // a crash, unless there is other memory below the stack
            shows(Exit(0), &["instance 1", "called"]),
        ),
        fault(
            "a callback with an interval of 2 ms",
            "an interval of 2 ms is 2 ms, not a busy loop",
            &["callback_often"],
            LEFT_TO_CHANCE, // far more often than once per interval, if it gets the processor
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
