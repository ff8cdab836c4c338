//! The test runner of a test program. Unlike Rust's own test harness, it can skip a test that has already begun.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    env,
    panic::{self, AssertUnwindSafe, catch_unwind, resume_unwind},
    process::ExitCode,
};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// A test: its name and its body, which fails by a panic.
pub type Test = (String, Box<dyn FnOnce() + Send>);

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
    /// The message of the last panic of such a thread.
    static MESSAGE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Ends the calling test as skipped. Call it in the thread that runs the test.
pub fn skip(reason: impl Into<String>) -> ! {
    resume_unwind(Box::new(Skipped(reason.into())))
}

/// Runs the tests that the command line selects, at most `threads` at a time unless the command line sets a number.
pub fn run(tests: Vec<Test>, threads: Option<usize>) -> ExitCode {
    super::reset_process_state();
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
fn trial(name: String, body: Box<dyn FnOnce() + Send>) -> Trial {
    Trial::ignorable_test(name, move || {
        RUNS_TESTS.set(true);
        catch_unwind(AssertUnwindSafe(body)).map(|()| Completion::Completed).or_else(skipped_or_failed)
    })
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
