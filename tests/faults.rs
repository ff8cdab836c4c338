//! The fault table: what a fault does to a supervised program, with corosync's libsam and with this library.
//!
//! Each row runs a program of `c-tests/` with both libraries. The test prints the table. It fails when this library
//! fails in any row, or when corosync's libsam does something else than the row says. Differences in error codes alone
//! are in `codes.rs`.

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

/// The time limit for corosync's libsam in a row where it is expected to go wrong.
const GLANCE: Duration = Duration::from_secs(5);
/// The time limit for corosync's libsam in a row that asserts nothing about it.
const CURIOSITY: Duration = Duration::from_secs(20);

/// The end of a program, and the lines that it prints until then.
#[derive(Clone, Copy)]
struct Shown(Ended, &'static [&'static str]);

/// The behaviour of corosync's libsam in a row. A row asserts only behaviour that does not depend on uninitialised
/// memory, on a race or on the speed of the machine.
#[derive(Clone, Copy)]
enum Original {
    /// It ends and prints like this. If it gets stuck (`Never`), it may print only the first of these lines.
    Shows(Shown),
    /// It never does what this library does. How it goes wrong varies.
    GoesWrong,
    /// Its behaviour varies, so the row asserts nothing about it.
    LeftToChance,
}

impl From<Shown> for Original {
    fn from(shown: Shown) -> Original {
        Original::Shows(shown)
    }
}

/// Shortens a row of the table.
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

/// The output of c-tests/reaping_thread.c.
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
    "the supervisor is idle",
];

/// A row of the fault table.
struct Fault {
    fault: &'static str,
    /// The promise of this library that the row checks.
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
    /// Sets these variables in the environment of the program.
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

    /// Runs the row with both libraries and adds the results to `table`. Fails unless both libraries do what the row
    /// says.
    fn check(&self, table: &Table) {
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
        {
            let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
            // An earlier attempt may have left a row.
            table.retain(|earlier| earlier.fault != row.fault);
            table.push(row);
        }

        let Shown(ended, says) = self.ours;
        assert!(ours_holds, "{}: expected end {ended:?} and output {says:#?}, but {ours}", self.promise);
        let as_written = match self.original {
            Original::LeftToChance => true,
            Original::GoesWrong => !original_holds,
            Original::Shows(Shown(Never, says)) => {
                original.ended == Never && says.starts_with(&original.says())
            }
            Original::Shows(Shown(ended, says)) => original.is(ended, says),
        };
        assert!(as_written, "corosync's libsam does not do what this row says: {original}");
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

/// The rows that have run, in the order in which they finished.
type Table = Mutex<Vec<Row>>;

/// Returns a short description of a run: the first line that differs from `ours`, otherwise the last line and the end.
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
    let test = |fault: Fault| (fault.fault.to_owned(), Box::new(move || fault.check(&TABLE)) as Box<_>);
    let tests = faults.into_iter().map(test).collect();
    // More threads than processors, because the programs sleep most of the time.
    let threads = thread::available_parallelism().map_or(2, |processors| processors.get()) + 6;
    let code = runner::run(tests, Some(threads));

    let mut rows = std::mem::take(&mut *TABLE.lock().unwrap_or_else(PoisonError::into_inner));
    rows.sort_by_key(|row| order.iter().position(|fault| *fault == row.fault));
    print(&rows);
    code
}

/// Prints the table, then in how many rows each library does not do what this library promises.
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
        // Heartbeats
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
            shows(Exit(0), &[]), // the filter kills the instance, and the supervisor exits with success
            shows(Exit(42), &[]),
        ),
        fault(
            "a compute loop under strict seccomp, then a hang",
            "an instance that may only allocate memory and write is supervised like any other",
            &["compute_loop"],
            shows(Exit(0), &["instance 1", "instance 2"]), // the filter kills it at its first heartbeat
            shows(Exit(0), &["instance 1", "alive after four intervals", "warned", "instance 2"]),
        ),
        // Calls in signal handlers and in threads
        fault(
            "warning handlers that call the library inside calls",
            "a call may interrupt a call; corosync's libsam holds a mutex and deadlocks",
            &["handler_calls"],
            GOES_WRONG, // a deadlock, as soon as a handler interrupts a call
            shows(Exit(0), &["1000 handlers, all results as expected"]),
        ),
        fault(
            "handlers that store data inside a store, then crashes",
            "restored data is whole: it is what one store wrote, also if stores interrupted each other",
            &["store_interrupted"],
            GOES_WRONG, // a deadlock, as soon as a handler interrupts a store
            shows(Exit(0), &["instance 6, all data whole"]),
        ),
        fault(
            "a handler sends heartbeats during stores of 64 MiB",
            "signals are delivered between the 256 KiB parts of a large store",
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
            "the child's lock is free, although a thread that the child does not have held it at the fork",
            &["fork_in_call"],
            LEFT_TO_CHANCE,
            shows(
                Exit(0),
                &[
                    "store before sam_register: no child blocks",
                    "warning signal before sam_register: no child blocks",
                    "store: no child blocks",
                    "warning signal: no child blocks",
                ],
            ),
        ),
        fault(
            "handlers that store growing data on a small alternate stack",
            "every call needs little stack",
            &["handler_stack"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["little stack"]),
        ),
        fault(
            "heartbeats of one thread during a store of another thread",
            "heartbeats do not damage the data; corosync's libsam mixes them into the data on its pipe",
            &["heartbeat_in_store"],
            LEFT_TO_CHANCE, // a race of two threads
            shows(Exit(0), &["50 stores, the last one whole"]),
        ),
        fault(
            "every call from any thread",
            "calls of several threads do not disturb each other",
            &["threads"],
            LEFT_TO_CHANCE, // it gets stuck here in most runs
            shows(Exit(0), &["0 unexpected results"]),
        ),
        fault(
            "calls of a thread that stays in the supervisor",
            "a call in a supervisor fails at once",
            &["left_thread"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["instance 1", "all calls refused", "instance 2", "data: kept"]),
        ),
        fault(
            "pthread_cancel of threads inside calls",
            "a cancellation never ends a thread inside a call",
            &["cancelled", "deferred"],
            LEFT_TO_CHANCE,
            shows(Exit(3), &["sam_data_store: 9", "done"]),
        ),
        fault(
            "asynchronous cancellation of threads inside calls",
            "the thread ends outside the call, and no lock stays locked",
            &["cancelled", "asynchronous"],
            LEFT_TO_CHANCE,
            shows(Exit(3), &["sam_data_store: 9", "done"]),
        ),
        // Function names
        fault(
            "a program that defines functions named send, time ..",
            "this library calls the C library or the kernel, whatever functions the program defines",
            &["own_names"],
            LEFT_TO_CHANCE, // the libraries that it needs call the program's functions
            shows(Exit(0), &["instance 1", "instance 2", "instance 3", "alive after four intervals"]),
        ),
        fault(
            "a program that defines functions named send, time .., all settings on",
            "this library calls the C library or the kernel, whatever functions the program defines",
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
            "a program started by the instance outlives its crash",
            "the kernel reports the death; corosync's libsam waits for the end of a pipe that children hold open",
            &["exec_child"],
            shows(Never, &["instance 1"]),
            shows(Exit(0), &["instance 1", "instance 2"]),
        ),
        fault(
            "a program started by the instance counts descriptors",
            "programs that the instance starts inherit no descriptor of this library",
            &["close_on_exec"],
            shows(Exit(0), &["2 more descriptors"]),
            shows(Exit(0), &["0 more descriptors"]),
        ),
        fault(
            "all descriptors closed, then heartbeats",
            "supervision needs no descriptor in the instance",
            &["close_everything", "beat"],
            shows(Exit(99), &["instance 1", "sam_start: 2", "sam_hc_send(): 9"]),
            shows(Exit(0), &["instance 1", "sam_start: 1", "alive after four intervals"]),
        ),
        fault(
            "all descriptors closed, then a hang",
            "supervision needs no descriptor in the instance",
            &["close_everything", "hang"],
            shows(Never, &["instance 1", "sam_start: 2"]),
            shows(Exit(0), &["instance 1", "sam_start: 1", "warned", "instance 2", "kept"]),
        ),
        fault(
            "all descriptors closed, then a crash",
            "supervision needs no descriptor in the instance",
            &["close_everything", "crash"],
            shows(Exit(0), &["instance 1", "sam_start: 2"]),
            shows(Exit(0), &["instance 1", "sam_start: 1", "instance 2", "kept"]),
        ),
        fault(
            "workers forked before sam_register store data",
            "each process that registers has its own data, initially what was stored before the fork",
            &["workers"],
            shows(Exit(0), WORKERS),
            shows(Exit(0), WORKERS),
        ),
        fault(
            "the program's files under the library's descriptor numbers",
            "this library does not use a descriptor number that the program has given to another file",
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
            "stdin, stdout and stderr closed before sam_initialize",
            "this library's descriptors never become stdin, stdout or stderr of the program",
            &["std_closed"],
            GOES_WRONG, // the program's stray output reaches the supervisor as commands
            shows(Exit(0), &["instance 2: 0 stray writes, kept"]),
        ),
        // The end of the supervisor
        fault(
            "policy QUIT and a crash",
            "the supervisor ends by the signal that ended its last instance, not with success",
            &["die", "QUIT", "0", "started", "signal", "11"],
            shows(Exit(0), &["instance 1: started"]),
            shows(By(SIGSEGV), &["instance 1: started"]),
        ),
        fault(
            "a crash before sam_start",
            "the supervisor ends by the signal that ended its last instance, not with success",
            &["die", "RESTART", "10000", "registered", "signal", "15"],
            shows(Exit(0), &["instance 1: registered"]),
            shows(By(SIGTERM), &["instance 1: registered"]),
        ),
        fault(
            "policy QUIT and a hang",
            "the supervisor ends by the signal that ended its last instance, not with success",
            &["hang", "QUIT"],
            shows(Exit(0), &["instance 1", "warned by SIGTERM"]),
            shows(By(SIGKILL), &["instance 1", "warned by SIGTERM"]),
        ),
        fault(
            "exit handlers, and a last instance that ends by a signal",
            "the supervisor runs its exit handlers once, also when it ends by a signal",
            &["exit_handlers", "crash"],
            shows(Exit(0), &["instance 1", "instance leaves", "instance 2", "supervisor leaves"]),
            shows(By(SIGSEGV), &["instance 1", "instance leaves", "instance 2", "supervisor leaves"]),
        ),
        fault(
            "SIGCHLD ignored",
            "the supervisor exits with the instance's code also when the program ignores SIGCHLD",
            &["sigchld_ignored"],
            LEFT_TO_CHANCE, // the exit status is uninitialised memory
            shows(Exit(7), &["instance 1"]),
        ),
        // Restarts that fail
        fault(
            "fork refused for 2 s at a restart",
            "a failed restart is retried; corosync's libsam returns into the program in the supervisor",
            &["fork_fails", "processes"],
            shows(
                Exit(1),
                &["instance 1", "the program's code runs in the supervisor", "the limit is lifted"],
            ),
            shows(Exit(0), &["instance 1", "the limit is lifted", "the next instance"]),
        ),
        fault(
            "no descriptor available at a restart",
            "a restart needs no descriptor; corosync's libsam returns into the program in the supervisor",
            &["fork_fails", "descriptors"],
            shows(
                Exit(1),
                &["instance 1", "the program's code runs in the supervisor", "the limit is lifted"],
            ),
            shows(Exit(0), &["instance 1", "the next instance", "the limit is lifted"]),
        ),
        fault(
            "no descriptor available while an instance hangs",
            "neither supervision nor a restart needs a descriptor",
            &["fork_fails", "descriptors", "hang"],
            GOES_WRONG, // it leaves the hung instance behind
            shows(Exit(0), &["instance 1", "the next instance", "the limit is lifted"]),
        ),
        fault(
            "no memory available at a restart",
            "a restart needs no memory beyond that of the previous instance",
            &["fork_fails", "memory"],
            shows(Exit(0), &["instance 1", "the next instance", "the limit is lifted"]),
            shows(Exit(0), &["instance 1", "the next instance", "the limit is lifted"]),
        ),
        fault(
            "heap full, then a crash and a hang",
            "the supervisor does not need the program's heap",
            &["full_heap"],
            shows(Exit(0), &["instance 1", "instance 2", "warned", "instance 3"]),
            shows(Exit(0), &["instance 1", "instance 2", "warned", "instance 3"]),
        ),
        // Signals to the supervisor
        fault(
            "SIGTERM to the supervisor",
            "the supervisor forwards the signal, and ends as the instance ends",
            &["signal_supervisor", "15", "default"],
            shows(By(SIGTERM), &["instance 1", "the instance lives on unsupervised"]),
            shows(By(SIGTERM), &["instance 1"]),
        ),
        fault(
            "SIGTERM to the supervisor, a handler installed",
            "the handler runs in the instance; an end after SIGTERM is final",
            &["signal_supervisor", "15", "handled"],
            shows(Exit(5), &["instance 1", "handled in the supervisor", "instance 2"]),
            shows(Exit(6), &["instance 1", "handled in the instance"]),
        ),
        fault(
            "SIGINT to the supervisor, a handler installed",
            "the handler runs in the instance; an end after SIGINT is final",
            &["signal_supervisor", "2", "handled"],
            shows(Exit(5), &["instance 1", "handled in the supervisor", "instance 2"]),
            shows(Exit(6), &["instance 1", "handled in the instance"]),
        ),
        fault(
            "SIGQUIT to the supervisor, a handler installed",
            "the handler runs in the instance; an end after SIGQUIT is final",
            &["signal_supervisor", "3", "handled"],
            shows(Exit(5), &["instance 1", "handled in the supervisor", "instance 2"]),
            shows(Exit(6), &["instance 1", "handled in the instance"]),
        ),
        fault(
            "SIGHUP to the supervisor, a handler installed",
            "the handler runs in the instance; an end after SIGHUP leads to a restart",
            &["signal_supervisor", "1", "handled"],
            shows(Exit(5), &["instance 1", "handled in the supervisor", "instance 2"]),
            shows(Exit(5), &["instance 1", "handled in the instance", "instance 2"]),
        ),
        fault(
            "SIGUSR1 to the supervisor, a handler installed",
            "the handler runs in the instance; an end after SIGUSR1 leads to a restart",
            &["signal_supervisor", "10", "handled"],
            shows(Exit(5), &["instance 1", "handled in the supervisor", "instance 2"]),
            shows(Exit(5), &["instance 1", "handled in the instance", "instance 2"]),
        ),
        fault(
            "Ctrl-Z in a terminal, then fg",
            "supervisor and instance stop and continue together",
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
            "the instance receives one SIGINT, and its end is final",
            &["job_control", "interrupt"],
            shows(Exit(0), &["instance 1", "the job ended by signal 2"]),
            shows(Exit(0), &["instance 1", "alive, SIGINT: 1", "the job ended with 3"]),
        ),
        fault(
            "the terminal of a session leader hangs up",
            "the kernel signals the session leader alone, so the supervisor forwards SIGHUP to the instance",
            &["terminal_hangup"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["SIGHUP: 1, SIGCONT: 1", "the supervisor ended with 4"]),
        ),
        fault(
            "a stop signal that the program ignores, SIGSTOP much later",
            "the supervisor stops itself only right after a stop signal, so it detects the hang",
            &["stop_ignored", "20"],
            LEFT_TO_CHANCE,
            shows(Exit(3), &["instance 1", "instance 2"]),
        ),
        fault(
            "alarm, setitimer and timer_create before sam_register",
            "timers stay with the process that set them, and no instance receives their signals",
            &["early_timers"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["SIGALRM: 0, others: 0", "SIGALRM: 1"]),
        ),
        fault(
            "signals sent to the warm spare, then a crash",
            "signals sent to the spare do not reach the instance that it becomes",
            &["spare_signals"],
            LEFT_TO_CHANCE, // it has no spare
            shows(Exit(3), &["instance 1", "instance 2"]),
        )
        .with(&[("SAM_STANDBY", "1")]),
        fault(
            "sam_stop in the handler of the hang signal",
            "a call does not stop a recovery that the supervisor has decided",
            &["stop_in_abort", "stop"],
            LEFT_TO_CHANCE, // it has no hang signal
            shows(Exit(3), &["instance 1", "sam_stop: 1", "instance 2"]),
        )
        .with(&[("SAM_HANG_SIGNAL", "ABRT")]),
        fault(
            "sam_finalize in the handler of the hang signal",
            "a call does not stop a recovery that the supervisor has decided",
            &["stop_in_abort", "finalize"],
            LEFT_TO_CHANCE, // it has no hang signal
            shows(Exit(3), &["instance 1", "sam_finalize: 1", "instance 2"]),
        )
        .with(&[("SAM_HANG_SIGNAL", "ABRT")]),
        fault(
            "a thread in the supervisor reaps the instance",
            "an instance that another thread has reaped is restarted",
            &["reaping_thread"],
            LEFT_TO_CHANCE,
            shows(Exit(0), REAPED),
        ),
        fault(
            "a thread in the supervisor reaps the warm spare",
            "a spare that another thread has reaped is replaced",
            &["reaping_thread"],
            LEFT_TO_CHANCE,
            shows(Exit(0), REAPED),
        )
        .with(&[("SAM_STANDBY", "1")]),
        fault(
            "a thread in the supervisor reaps the instance, no descriptor available",
            "an instance that another thread has reaped is restarted",
            &["reaping_thread", "descriptors"],
            LEFT_TO_CHANCE,
            shows(Exit(0), REAPED),
        ),
        fault(
            "a hung instance that its supervisor may not signal",
            "a kill that the kernel refuses is retried",
            &["kill_refused"],
            LEFT_TO_CHANCE,
            shows(Exit(3), &["instance 1", "lives", "instance 2"]),
        ),
        fault(
            "the supervisor is killed",
            "the instance receives SIGTERM, and calls return CS_ERR_LIBRARY without SIGPIPE",
            &["orphan", "keep"],
            shows(
                By(SIGKILL),
                &[
                    "supervised, sam_hc_send: 1",
                    "the instance lives on unsupervised",
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
            "root's privileges dropped, then the supervisor is killed",
            "`sam_start` requests the parent-death signal again, which the kernel cleared with the privileges",
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
            "the instance receives one SIGTERM, although two threads may request it from the kernel",
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
            "callback mode, root's privileges dropped, then the supervisor is killed",
            "the callback thread requests the parent-death signal again, which the kernel cleared with the privileges",
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
            "callback mode, root's privileges dropped, supervisor killed at once",
            "the callback thread sends the signal that the kernel did not send",
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
            "a process that the instance forked before it exited with 0 becomes the instance",
            &["daemonize", "daemon", "registered", "crash", "2500"],
            LEFT_TO_CHANCE, // as this library, unless the machine is busy
            shows(Exit(0), &["instance 1 is alive", "instance 2 is alive"]),
        ),
        fault(
            "daemon(3) after sam_start, then a crash",
            "a process that the instance forked before it exited with 0 becomes the instance",
            &["daemonize", "daemon", "started", "crash", "2500"],
            LEFT_TO_CHANCE, // as this library, unless the machine is busy
            shows(Exit(0), &["instance 1 is alive", "instance 2 is alive"]),
        ),
        fault(
            "daemon(3) with a warm spare, then a crash",
            "a process that the instance forked before it exited with 0 becomes the instance",
            &["daemonize", "daemon", "started", "crash", "2500"],
            LEFT_TO_CHANCE, // as this library, unless the machine is busy
            shows(Exit(0), &["instance 1 is alive", "instance 2 is alive"]),
        )
        .with(&[("SAM_STANDBY", "1")]),
        fault(
            "daemon(3) with SAM_KILL_GROUP, then a crash",
            "a process that the instance forked before it exited with 0 becomes the instance",
            &["daemonize", "daemon", "started", "crash", "2500"],
            LEFT_TO_CHANCE, // as this library, unless the machine is busy
            shows(Exit(0), &["instance 1 is alive", "instance 2 is alive"]),
        )
        .with(&[("SAM_KILL_GROUP", "1")]),
        fault(
            "daemon(3) with no interval and no further call, then an exit",
            "a process that the instance forked before it exited with 0 becomes the instance",
            &["daemonize", "daemon", "started", "exit", "0"],
            shows(Exit(0), &["instance 1 is alive", "instance 2 is alive"]),
            shows(Exit(0), &["instance 1 is alive", "instance 2 is alive"]),
        ),
        fault(
            "daemon(3), then a hang",
            "the adopted process is warned and killed; corosync's libsam signals the one that exited",
            &["daemonize", "daemon", "started", "hang", "2500"],
            GOES_WRONG, // it starts a second instance beside the hung one
            shows(Exit(0), &["instance 1 is alive", "warned", "instance 2 is alive"]),
        ),
        fault(
            "daemon(3), then sam_stop and exit 0",
            "the end of the adopted process is the end of the instance",
            &["daemonize", "daemon", "registered", "stop", "2500"],
            shows(Exit(0), &["instance 1 is alive"]),
            shows(Exit(0), &["instance 1 is alive"]),
        ),
        fault(
            "daemon(3) between a callback's registration and sam_start",
            "the callback thread is started in the adopted process",
            &["daemonize", "daemon", "callback", "crash", "2500"],
            GOES_WRONG, // it starts a second instance beside the daemon
            shows(Exit(0), &["instance 1 is alive", "instance 2 is alive"]),
        ),
        fault(
            "fork and _exit(0) by hand, then a crash",
            "a process that the instance forked before it exited with 0 becomes the instance",
            &["daemonize", "fork", "started", "crash", "2500"],
            LEFT_TO_CHANCE, // as this library, unless the machine is busy
            shows(Exit(0), &["instance 1 is alive", "instance 2 is alive"]),
        ),
        fault(
            "two forks by hand, then a crash",
            "a process that the instance forked before it exited with 0 becomes the instance",
            &["daemonize", "twice", "registered", "crash", "2500"],
            LEFT_TO_CHANCE, // as this library, unless the machine is busy
            shows(Exit(0), &["instance 1 is alive", "instance 2 is alive"]),
        ),
        fault(
            "daemon(3), then SIGTERM to the supervisor",
            "the supervisor forwards the signal to the adopted process, and ends as that process ends",
            &["daemonize", "daemon", "registered", "term", "0"],
            GOES_WRONG, // the supervisor ends alone, or restarts
            shows(Exit(6), &["instance 1 is alive", "warned"]),
        ),
        fault(
            "daemon(3), then the supervisor is killed",
            "the adopted process receives SIGTERM like any instance",
            &["daemonize", "daemon", "registered", "kill", "0"],
            GOES_WRONG,
            shows(By(SIGKILL), &["instance 1 is alive", "warned", "sam_hc_send: 2"]),
        ),
        fault(
            "a fork whose parent exits late, then the supervisor is killed",
            "the adopted process receives SIGTERM like any instance",
            &["daemonize", "slow", "registered", "kill", "0"],
            GOES_WRONG,
            shows(By(SIGKILL), &["instance 1 is alive", "warned", "sam_hc_send: 2"]),
        ),
        fault(
            "daemon(3) in callback mode, then the supervisor is killed",
            "the adopted process receives one SIGTERM, although two threads may request it from the kernel",
            &["daemonize", "daemon", "callback", "kill", "2500"],
            GOES_WRONG,
            shows(By(SIGKILL), &["instance 1 is alive", "warned", "sam_hc_send: 2"]),
        ),
        fault(
            "a fork that calls sam_start in callback mode before its parent exits, then the supervisor is killed",
            "the adopted process receives SIGTERM when its supervisor ends, not when its parent ends",
            &["daemonize", "late", "callback", "kill", "2500"],
            LEFT_TO_CHANCE,
            shows(By(SIGKILL), &["instance 1 is alive", "warned", "sam_hc_send: 2"]),
        ),
        fault(
            "a helper that never calls the library outlives an exit with 0",
            "a process that never calls the library does not become the instance",
            &["helper", "outlives"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["instance 1", "instance 2, supervised", "helper: alive"]),
        ),
        fault(
            "a helper outlives a crash and calls the library",
            "a process left behind by a crashed instance cannot call for the next instance",
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
            "a process that the instance forked may send its heartbeats",
            &["helper", "beats"],
            shows(Exit(0), &["instance 1", "alive after four intervals"]),
            shows(Exit(0), &["instance 1", "alive after four intervals"]),
        ),
        fault(
            "SIGTERM after the exit of daemon(3)'s caller",
            "a termination signal is held until the adopted process is found, whose end is then final",
            &["goes_on", "term"],
            GOES_WRONG, // the supervisor ends alone
            shows(Exit(6), &["instance 1", "SIGTERM"]),
        ),
        fault(
            "SIGUSR1 after the exit of daemon(3)'s caller",
            "other signals are held until the adopted process has called sam_start",
            &["goes_on", "usr1"],
            GOES_WRONG, // the supervisor ends alone
            shows(Exit(0), &["instance 1", "SIGUSR1 after sam_start", "instance 2"]),
        ),
        fault(
            "a child of an adopted process outlives it",
            "SAM_KILL_GROUP also ends the processes that an adopted process left behind",
            &["goes_on", "helper"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["instance 1", "instance 2", "the other process is gone"]),
        )
        .with(&[("SAM_KILL_GROUP", "1")]),
        fault(
            "a daemon of a child forked before sam_register, then an exit with 0",
            "a process that the instance did not fork does not become the instance",
            &["goes_on", "early"],
            shows(Exit(0), &["instance 1", "instance 2", "the other process is alive"]),
            shows(Exit(0), &["instance 1", "instance 2", "the other process is alive"]),
        ),
        // PID namespaces
        fault(
            "instances in an existing PID namespace",
            "the instance detects the end of its supervisor without getppid(2)",
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
            "if no further instance can be forked, the supervisor ends as the last instance ended",
            &["pid_namespace", "new"],
            shows(
                Exit(1),
                &["instance 1", "alive after four intervals", "the program's code runs in the supervisor"],
            ),
            shows(Exit(3), &["instance 1", "alive after four intervals"]),
        ),
        // Data
        fault(
            "large data replaced by no or little data",
            "its memory is freed, also after a restart, and the data stored next is whole",
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
            "a store larger than the memory that the supervisor may use",
            "the supervisor never holds the data, so the store is answered at once",
            &["store_refused"],
            GOES_WRONG, // answers after half a minute, in which its supervisor does nothing else
            shows(Exit(0), &["answered"]),
        ),
        fault(
            "a store larger than the memory that the instance may use",
            "the store is refused, and the earlier data is intact",
            &["store_little_memory"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["refused", "instance 1 has first", "instance 2 has first"]),
        ),
        fault(
            "an instance killed in the middle of a store, 25 times",
            "the earlier data stays whole, and supervision goes on",
            &["store_cut_off"],
            LEFT_TO_CHANCE, // SIGPIPE if an instance dies between the end of a store and the answer
            shows(Exit(0), &["25 instances, data damaged: 0"]),
        ),
        // Time
        fault(
            "SIGSTOP, then SIGCONT, of supervisor and instance",
            "silence counts only while the supervisor could have seen a heartbeat",
            &["late_supervisor", "both"],
            LEFT_TO_CHANCE, // warned, then killed unless a heartbeat comes first
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
            "a stop shorter than the interval does not count as silence",
            &["stopped_instance", "short"],
            shows(Exit(0), &["instance 1", "alive after three intervals"]),
            shows(Exit(0), &["instance 1", "alive after three intervals"]),
        ),
        fault(
            "SIGSTOP of the instance without SIGCONT",
            "a stopped instance is handled as a hang",
            &["stopped_instance", "long"],
            shows(Exit(0), &["instance 1", "instance 2"]),
            shows(Exit(0), &["instance 1", "instance 2"]),
        ),
        fault(
            "a supervisor without a processor for 2.5 s, three times",
            "silence counts only while the supervisor could have seen a heartbeat",
            &["held_supervisor", "beat"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["instance 1", "alive"]),
        ),
        fault(
            "a supervisor without a processor for 2.5 s, while the instance hangs",
            "a supervisor that wakes up late still detects the hang",
            &["held_supervisor", "hang"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["instance 1", "warned", "instance 2", "in time"]),
        ),
        fault(
            "a debugger attaches to both processes and detaches",
            "the instance held for less than the interval, or the supervisor for longer, is no silence",
            &["debugger"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["instance 1", "alive", "instance 2"]),
        ),
        fault(
            "the wall clock steps",
            "the supervisor uses only the monotonic clock",
            &["clock_step"],
            LEFT_TO_CHANCE,
            shows(Exit(0), &["instance 1", "hangs", "warned", "instance 2", "in time"]),
        ),
        fault(
            "a second silence after a late heartbeat",
            "a heartbeat after the warning cancels the kill, and the next silence causes a new warning",
            &["next_silence"],
            shows(Exit(0), &["instance 1", "warned", "late heartbeat: 1", "instance 2"]),
            shows(Exit(0), &["instance 1", "warned", "late heartbeat: 1", "warned", "instance 2"]),
        ),
        // Callbacks
        fault(
            "a callback that says unhealthy",
            "the recovery begins at once; corosync's libsam waits for an interval of silence first",
            &["callback_prompt"],
            shows(Exit(0), &["warned an interval later"]),
            shows(Exit(0), &["warned at once"]),
        ),
        fault(
            "a callback that needs more than 32 KiB of stack",
            "a callback has the default stack of a thread, not 32 KiB",
            &["callback_stack"],
            LEFT_TO_CHANCE, // a crash, unless there is other memory below the stack
            shows(Exit(0), &["instance 1", "called"]),
        ),
        fault(
            "a callback with an interval of 2 ms",
            "the callback is called about once per interval, not in a busy loop",
            &["callback_often"],
            LEFT_TO_CHANCE, // called far more often than once per interval, if it gets the processor
            shows(Exit(0), &["about once per interval"]),
        ),
        fault(
            "a callback that starts a command",
            "the callback and its commands have the signal mask of the thread that registered it; between callbacks no signal handler runs in the callback thread",
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
        // The log and the restart limit
        fault(
            "a restart whose reason the operator wants to know",
            "every step of a recovery writes a log line",
            &["log_line"],
            shows(Exit(0), &["nothing in the log"]),
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
            "the administrator can set a restart limit",
            &["troubled", "0", "run=30"],
            GOES_WRONG, // it restarts the instance without end
            shows(Exit(1), &["instance 1", "instance 2", "instance 3", "instance 4"]),
        )
        .with(&[("SAM_RESTART_LIMIT", "3/3600")]),
    ]
}
