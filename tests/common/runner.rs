//! The test runner of a test program. Unlike Rust's own test harness, it can skip a test that has already begun, and it
//! runs a test again that failed while the machine was late.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    env,
    panic::{self, AssertUnwindSafe, catch_unwind, resume_unwind},
    process::ExitCode,
    time::{Duration, Instant},
};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use super::canary;

/// A test: its name and its body, which fails by a panic.
pub type Test = (String, Box<dyn Fn() + Send>);

/// The lateness of the machine that a test allows, unless it calls `allow_lateness`.
const ALLOWED: Duration = Duration::from_millis(100);
/// The number of times that a test may run, if the machine is late each time.
const ATTEMPTS: u32 = 4;

/// Defines `main` of a test program from the paths of its tests. By default as many tests run at a time as there are
/// processors. `threads` overrides that, for tests that wait more than they compute.
#[allow(unused_macros)] // unused in a program that builds its list of tests itself
macro_rules! tests {
    (threads: $threads:expr, $($test:path),+ $(,)?) => {
        fn main() -> std::process::ExitCode {
            let tests: Vec<$crate::common::runner::Test> =
                vec![$((stringify!($test).replace(' ', ""), Box::new($test))),+];
            $crate::common::runner::run(tests, $threads)
        }
    };
    ($($test:path),+ $(,)?) => {
        $crate::common::runner::tests![threads: None, $($test),+];
    };
}
#[allow(unused_imports)]
pub(crate) use tests;

/// The panic payload of a test that is skipped on this machine.
struct Skipped(String);

thread_local! {
    /// True in the threads that run tests, false in the threads that a test starts.
    static RUNS_TESTS: Cell<bool> = const { Cell::new(false) };
    /// The lateness of the machine that the running test allows.
    static LATENESS: Cell<Duration> = const { Cell::new(ALLOWED) };
    /// The message of the last panic of such a thread.
    static MESSAGE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Ends the calling test as skipped. Call it in the thread that runs the test.
pub fn skip(reason: impl Into<String>) -> ! {
    resume_unwind(Box::new(Skipped(reason.into())))
}

/// Names the lateness of the machine up to which the calling test gives the right answer. If the test fails while the
/// machine is later than that, it runs again. Call it at the beginning, in the thread that runs the test.
pub fn allow_lateness(most: Duration) {
    LATENESS.set(most);
}

/// Runs the tests that the command line selects, at most `threads` at a time unless the command line sets a number.
pub fn run(tests: Vec<Test>, threads: Option<usize>) -> ExitCode {
    super::reset_process_state();
    canary::start();
    keep_messages();
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(threads);
    let trials = tests.into_iter().map(|(name, body)| trial(name, body)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Keeps the panic message of a test for the report at the end. Other panics are printed at once.
fn keep_messages() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if RUNS_TESTS.get() {
            MESSAGE.set(panic.to_string());
        } else {
            print(panic);
        }
    }));
}

/// Turns a test into a trial of libtest-mimic, which can be reported as ignored.
fn trial(name: String, body: Box<dyn Fn() + Send>) -> Trial {
    Trial::ignorable_test(name.clone(), move || {
        RUNS_TESTS.set(true);
        attempts(&name, || {
            LATENESS.set(ALLOWED);
            catch_unwind(AssertUnwindSafe(&body)).map(|()| Completion::Completed).or_else(skipped_or_failed)
        })
    })
}

/// Runs a test until it gives an answer that the lateness of the machine does not explain.
fn attempts(name: &str, run: impl Fn() -> Result<Completion, Failed>) -> Result<Completion, Failed> {
    let mut attempt = 1;
    loop {
        let begin = Instant::now();
        let answer = run();
        let Err(failed) = &answer else { return answer };
        if !is_repeated(name, begin, LATENESS.get(), attempt) {
            return answer;
        }
        println!("{}", failed.message().unwrap_or_default());
        attempt += 1;
    }
}

/// Returns `true` if a test that has failed is run again: it has not been run too often, and between `begin` and now the
/// machine was later than the test allows. Then prints a line for tests/check.
pub fn is_repeated(name: &str, begin: Instant, allowed: Duration, attempt: u32) -> bool {
    let lateness = canary::lateness_since(begin);
    let is_repeated = attempt < ATTEMPTS && lateness > allowed;
    if is_repeated {
        println!(
            "repeated {name}: the machine was late by {} ms, the test allows {} ms (attempt {attempt} of {ATTEMPTS})",
            lateness.as_millis(),
            allowed.as_millis()
        );
    }
    is_repeated
}

/// Turns a panic of a test into "skipped" with the reason, or into "failed" with the panic message.
fn skipped_or_failed(payload: Box<dyn Any + Send>) -> Result<Completion, Failed> {
    let Ok(skipped) = payload.downcast::<Skipped>() else { return Err(MESSAGE.take().into()) };
    let reason = skipped.0;
    if env::var_os("SAM_TESTS_REQUIRE").is_some_and(|required| required == "all") {
        return Err(
            format!("SAM_TESTS_REQUIRE=all is set, but this machine cannot run the test: {reason}").into()
        );
    }
    Ok(Completion::ignored_with(reason))
}
