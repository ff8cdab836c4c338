//! The costs of a restart, a heartbeat, a store and a list of sam-status in counts that do not depend on the speed or the
//! load of the machine: system calls, instructions, page faults and memory. The least supervisor that can be
//! (`benches/floor.h`) runs beside the library, because the page faults depend on the kernel, the C library and the size
//! of a page.

mod common;

use std::{
    collections::HashMap,
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use common::{
    Built,
    Ended::Exit,
    Library, PATIENCE, Program,
    machine::{Ability, require},
    prefix,
    tools::Scratch,
};

// Each bound on page faults and memory is half as much again as what was measured, because the addresses of stack and
// libraries decide how many pages they touch. Bounds on instructions have a quarter more, for other compilers.

/// The page faults of the new instance until sam_register returns, beyond those of the least supervisor: 7.
const FAULTS_OF_INSTANCE: i64 = 10;

/// The page faults of the supervisor for each restart, beyond those of the least supervisor: 3, or 4 if the part of the
/// stack that it uses lies in two pages.
const FAULTS_OF_SUPERVISOR: i64 = 6;

/// The pages that only the supervisor has written, beyond those of the least supervisor: 4 or 5.
const PAGES_OF_SUPERVISOR: i64 = 7;

/// The system calls of fork(3) in the C library. Their number differs between versions, so none of these is counted for a
/// restart.
const CALLS_OF_FORK: [&str; 6] = ["clone", "clone3", "fork", "rseq", "rt_sigprocmask", "set_robust_list"];

/// The system calls of the library in the new instance until sam_register returns.
const CALLS_OF_INSTANCE: usize = 9;

/// The system calls of the library in the supervisor for each restart: 18, and two if it wakes up once more.
const CALLS_OF_SUPERVISOR: usize = 20;

/// The system calls of a store, which block and unblock signals.
const CALLS_OF_STORE: usize = 2;

/// The system calls of sam-status for a supervisor and for its instance, without those that ask for the names of their
/// descriptors. They inherit any number of descriptors. Two more calls read a longer list of mappings.
const CALLS_OF_LISTING: [usize; 2] = [41 + 2, 6];

/// The instructions of the library for each heartbeat, without those of the clock: 38 by rustc 1.95, 42 by rustc 1.85.
const INSTRUCTIONS_OF_HEARTBEAT: u64 = 52;

/// The stores of the last instance, see `c-tests/counts.c`.
const STORES: usize = 10;

/// The numbers that `c-tests/counts.c` prints: page faults for each restart, and memory in KiB.
struct Counts {
    of_instance: i64,
    of_supervisor: i64,
    memory: i64,
}

/// Runs `c-tests/counts.c` several times with the library or with the least supervisor. Returns the smallest numbers,
/// because some page faults depend on the addresses that the kernel has given the libraries by chance.
fn counts(of: &str) -> Counts {
    const RUNS: usize = 5;
    let runs: Vec<Counts> = (0..RUNS).map(|_| counts_of_run(of)).collect();
    let least = |number: fn(&Counts) -> i64| runs.iter().map(number).min().expect("a run");
    let counts = Counts {
        of_instance: least(|counts| counts.of_instance),
        of_supervisor: least(|counts| counts.of_supervisor),
        memory: least(|counts| counts.memory),
    };
    println!(
        "{of}: {} page faults in the instance, {} in the supervisor, {} KiB",
        counts.of_instance, counts.of_supervisor, counts.memory
    );
    counts
}

/// Runs `c-tests/counts.c` once. Returns medians.
fn counts_of_run(of: &str) -> Counts {
    let program = Program::new(Built::WithOurs, &["counts", of, "9", "0"]);
    let mut command = program.command(Library::Ours);
    command.env("SAM_LOG", "off");
    let outcome = program.start_as(command).finish(PATIENCE);
    assert_eq!(outcome.ended, Exit(0), "{outcome}");
    let numbers = |line: &str| -> Vec<i64> {
        line.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    let said = outcome.says();
    let lines: Vec<Vec<i64>> = said.iter().map(|line| numbers(line)).collect();
    let (memory, restarts) = lines.split_last().expect("lines");
    let median = |column: usize| {
        let mut values: Vec<i64> = restarts.iter().map(|line| line[column]).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    Counts { of_instance: median(0), of_supervisor: median(1), memory: memory[0] }
}

fn page_faults_and_memory_stay_close_to_least_supervisor() {
    let (floor, sam) = (counts("floor"), counts("sam"));
    // SAFETY: sysconf has no conditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } / 1024;
    let beyond = (
        sam.of_instance - floor.of_instance,
        sam.of_supervisor - floor.of_supervisor,
        (sam.memory - floor.memory) / page,
    );
    let most = (FAULTS_OF_INSTANCE, FAULTS_OF_SUPERVISOR, PAGES_OF_SUPERVISOR);
    assert!(
        beyond.0 <= most.0 && beyond.1 <= most.1 && beyond.2 <= most.2,
        "page faults of instance and supervisor, and pages of memory, beyond the least supervisor: {beyond:?}, \
         expected at most {most:?}"
    );
}

/// The system calls of each process, in order. A call that is not complete when another process makes one is listed
/// once.
fn system_calls(of: &str) -> HashMap<u32, Vec<String>> {
    let scratch = Scratch::new(&format!("calls-{of}"));
    let list = scratch.path("calls");
    let program = Program::new(Built::WithOurs, &["counts", of, "4", "1000"]);
    let strace = ["strace", "-f", "-qq", "-o", list.to_str().expect("a path in UTF-8")];
    let mut command = program.command_through(&strace, Library::Ours);
    command.env("SAM_LOG", "off");
    let outcome = program.start_as(command).finish(PATIENCE);
    assert_eq!(outcome.ended, Exit(0), "{outcome}");
    calls_in(&list)
}

/// Returns the system calls in a list of strace.
fn calls_in(list: &Path) -> HashMap<u32, Vec<String>> {
    let mut calls = HashMap::<u32, Vec<String>>::new();
    for line in fs::read_to_string(list).expect("the list of system calls").lines() {
        let Some((process, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if call.starts_with(|c: char| c.is_ascii_lowercase()) {
            calls.entry(process.parse().expect("a pid")).or_default().push(call.to_owned());
        }
    }
    calls
}

fn is_fork(call: &str) -> bool {
    ["clone(", "clone3(", "fork("].iter().any(|name| call.starts_with(name))
}

/// Returns the calls of the last instance between two of its marks.
fn between<'a>(calls: &'a HashMap<u32, Vec<String>>, from: &str, to: &str) -> &'a [String] {
    let mark = |text: &str| format!("write(-1, \"{text}\"");
    let last = calls.values().find(|calls| calls.iter().any(|call| call.starts_with(&mark("stored"))));
    let last = last.expect("the last instance");
    let position = |text: &str| {
        last.iter()
            .position(|call| call.starts_with(&mark(text)))
            .unwrap_or_else(|| panic!("{text}: {last:#?}"))
    };
    let start = if from.is_empty() { 0 } else { position(from) + 1 };
    &last[start..position(to)]
}

fn system_calls_of_restart_heartbeat_and_store_are_counted() {
    require(&[Ability::Tracing]);
    let calls = system_calls("sam");
    let count = |calls: &[String], what: &str, most: usize| {
        println!("{what}: {}", calls.len());
        assert!(calls.len() <= most, "{what}: {}, expected at most {most}: {calls:#?}", calls.len());
    };
    let without_fork = |calls: &[String]| -> Vec<String> {
        let is_of_fork = |call: &&String| CALLS_OF_FORK.contains(&call.split('(').next().unwrap_or(call));
        calls.iter().filter(|call| !is_of_fork(call)).cloned().collect()
    };
    count(between(&calls, "heartbeats", "heartbeats sent"), "system calls of the heartbeats", 0);
    let stores = between(&calls, "stores", "stored");
    count(stores, "system calls of the stores", STORES * CALLS_OF_STORE);

    // The program itself calls getrusage.
    let mut of_instance = without_fork(between(&calls, "", "registered"));
    of_instance.retain(|call| !call.starts_with("getrusage("));
    count(&of_instance, "system calls of the instance", CALLS_OF_INSTANCE);

    let supervisor = calls.values().max_by_key(|calls| calls.iter().filter(|call| is_fork(call)).count());
    let supervisor = supervisor.expect("the supervisor");
    let forks: Vec<usize> = (0..supervisor.len()).filter(|&at| is_fork(&supervisor[at])).collect();
    let [.., before, last] = forks[..] else { panic!("{supervisor:#?}") };
    count(&without_fork(&supervisor[before..last]), "system calls of the supervisor", CALLS_OF_SUPERVISOR);
}

/// Returns the system calls by which sam-status looked at a process: from the call that opened the process's folder in
/// /proc to the one that closed it.
fn calls_about(process: &str, calls: &HashMap<u32, Vec<String>>) -> Vec<String> {
    let opens = format!("openat(AT_FDCWD, \"/proc/{process}\",");
    let of_thread = calls.values().find(|calls| calls.iter().any(|call| call.starts_with(&opens)));
    let of_thread = of_thread.unwrap_or_else(|| panic!("process {process}: {calls:#?}"));
    let first = of_thread.iter().position(|call| call.starts_with(&opens)).expect("the first call");
    let folder = of_thread[first].rsplit(' ').next().expect("a result");
    let closes = format!("close({folder})");
    let number =
        of_thread[first..].iter().position(|call| call.starts_with(&closes)).expect("the last call") + 1;
    of_thread[first..first + number].to_vec()
}

fn system_calls_of_sam_status_for_a_program_are_few() {
    require(&[Ability::Tracing]);
    let program = Program::new(Built::WithOriginal, &["troubled", "0", "hang"]).start(Library::Ours);
    let supervisor = program.pid().to_string();
    let instance = program.wait_for("# pid of 1 ");
    let sam_status = prefix().join("bin/sam-status");
    // The supervisor writes nothing to its status page once the program is shown as running.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = Command::new(&sam_status).arg(&supervisor).output().expect("run sam-status");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if text.contains(" running ") {
            break;
        }
        assert!(Instant::now() < deadline, "the program does not run: {output:?}");
        thread::sleep(Duration::from_millis(5));
    }

    let scratch = Scratch::new("calls-of-sam-status");
    fs::create_dir_all(scratch.path("")).expect("a folder");
    let list = scratch.path("calls");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o"]).arg(&list).arg(&sam_status).arg(&supervisor);
    let output = strace.output().expect("run strace");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let calls = calls_in(&list);
    for (process, most) in [supervisor, instance].iter().zip(CALLS_OF_LISTING) {
        let mut calls = calls_about(process, &calls);
        // The standard library checks descriptors with fcntl where it is built without optimisation.
        calls.retain(|call| !call.starts_with("readlinkat(") && !call.starts_with("fcntl("));
        println!("system calls of sam-status for process {process}: {}", calls.len());
        assert!(calls.len() <= most, "{} system calls, expected at most {most}: {calls:#?}", calls.len());
    }
}

/// Returns the instructions of the library in the instance, with this number of heartbeats.
fn instructions(heartbeats: &str) -> u64 {
    let scratch = Scratch::new(&format!("instructions-{heartbeats}"));
    fs::create_dir_all(scratch.path("")).expect("a folder");
    let output = format!("--callgrind-out-file={}", scratch.path("%p").display());
    let program = Program::new(Built::WithOurs, &["counts", "sam", "0", heartbeats]);
    let valgrind = ["valgrind", "--quiet", "--tool=callgrind", &output];
    let outcome = program.start_as(program.command_through(&valgrind, Library::Ours)).finish(PATIENCE);
    assert_eq!(outcome.ended, Exit(0), "{outcome}");
    let files = fs::read_dir(scratch.path("")).expect("the folder").flatten();
    files
        .map(|file| of_library(&fs::read_to_string(file.path()).expect("a file of callgrind")))
        .max()
        .unwrap_or(0)
}

/// Returns the instructions that were executed in the library itself, from a file in the format of callgrind.
fn of_library(text: &str) -> u64 {
    let mut is_library = false;
    let mut names = HashMap::new();
    let mut sum = 0;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        // The object of the lines that follow, or of a function that they call. The name follows the number once.
        let object = line.strip_prefix("ob=").or_else(|| line.strip_prefix("cob="));
        if let Some(object) = object {
            let (number, name) = object.split_once(' ').unwrap_or((object, ""));
            let is_ours = *names.entry(number).or_insert_with(|| name.contains("/libsam.so"));
            if line.starts_with("ob=") {
                is_library = is_ours;
            }
        } else if line.starts_with("calls=") {
            // The next line has the cost of the callee.
            lines.next();
        } else if is_library && line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
            sum += line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    sum
}

fn heartbeat_takes_few_instructions() {
    require(&[Ability::Valgrind]);
    const MORE: u64 = 2000;
    let (few, many) = (instructions("1000"), instructions("3000"));
    let each = (many - few) / MORE;
    println!("instructions of the library per heartbeat: {each}");
    assert!(
        each > 0 && each <= INSTRUCTIONS_OF_HEARTBEAT,
        "{few} instructions with 1000 heartbeats, {many} with 3000"
    );
}

common::runner::tests![
    page_faults_and_memory_stay_close_to_least_supervisor,
    system_calls_of_restart_heartbeat_and_store_are_counted,
    system_calls_of_sam_status_for_a_program_are_few,
    heartbeat_takes_few_instructions,
];
