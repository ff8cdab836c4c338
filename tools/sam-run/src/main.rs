//! Supervises a program that does not know libsam, see sam-run(1).
//!
//! The process that is started becomes the supervisor in `sam_register`. The instance either becomes the program
//! (exec), or is the agent, which runs the program as its child and sends the heartbeats for it.

// The start-up code of Rust's library changes what the program would inherit: it ignores SIGPIPE, and opens standard
// descriptors that are closed.
#![no_main]

mod agent;
mod check;
mod log;
mod notify;
mod program;
mod sam;
mod sockets;

use std::convert::Infallible;
use std::env;
use std::ffi::{c_char, c_int};

use clap::Parser;
use nix::unistd::getpid;
use sam_run::options::{Options, Restart};

use program::Inherited;
use sam::Policy;
use sockets::Sockets;

/// The exit code if sam-run itself fails.
const FAILED: i32 = 125;

/// The signal by which the supervisor warns the agent. No other process is likely to send it, so the agent can tell a
/// warning from a signal that was passed on.
pub fn warning() -> i32 {
    libc::SIGRTMAX() - 1
}

/// The entry point, which the C library calls.
#[unsafe(no_mangle)]
pub extern "C" fn main(_count: c_int, _arguments: *const *const c_char) -> c_int {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { FAILED } else { 0 };
        }
    };
    match options.check().and_then(|()| run(&options)) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("sam-run: {error}");
            FAILED
        }
    }
}

fn run(options: &Options) -> Result<Infallible, String> {
    let inherited = Inherited::current()?;
    let sockets = Sockets::open(&options.listen)?;
    // SAFETY: this process has one thread.
    let set = |name, value: String| unsafe { env::set_var(name, value) };
    let warning_of_program = options.warning(env::var("SAM_WARN_SIGNAL").ok())?;
    for (name, value) in options.library_settings(|name| env::var_os(name).is_some()) {
        set(name, value);
    }
    if env::var_os("NOTIFY_SOCKET").is_some() && env::var_os("SAM_NOTIFY").is_none() {
        // Feeds the watchdog of the service manager above, too.
        // Without READY=1 of the program, its start is the start of supervision.
        set("SAM_NOTIFY", if options.ready { "1" } else { "ready" }.to_owned());
    }
    let interval_ms = options.interval().map_or(0, |interval| interval.as_millis() as c_int);
    let policy =
        Policy { restart: options.restart != Restart::Never, quorum: options.quorum, cmap: options.cmap };
    if options.needs_agent() {
        // SAM_WARN_SIGNAL is for the program.
        set("SAM_WARN_SIGNAL", warning().to_string());
    }
    sam::initialize(interval_ms, policy)?;
    let supervisor = getpid();
    let instance = sam::register()?;
    if options.needs_agent() {
        return agent::run(options, &inherited, &sockets, warning_of_program, supervisor, instance);
    }
    sam::start()?;
    program::clear_environment(&sockets);
    let error = program::become_program(options, &inherited, &sockets);
    program::give_up(options, &error)
}
