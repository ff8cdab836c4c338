//! The program as a process: it starts with what sam-run itself was started with.

use std::env;
use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::prctl;
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, sigaction,
};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getpgrp, getpid, getppid, setpgid, tcgetpgrp};
use sam_run::options::{LIBRARY_VARIABLES, Options};

use crate::sam;
use crate::sockets::Sockets;

/// The variables by which a service manager speaks to the process that it starts, except those of sd_listen_fds(3).
const OWN_VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];

/// The signal mask and dispositions that sam-run was started with, and that the program gets back.
#[derive(Debug, Clone, Copy)]
pub struct Inherited {
    mask: SigSet,
    child_action: SigAction,
    pipe_action: SigAction,
    /// The process group is that of a terminal's foreground job. The program stays in it, so that it can read from the
    /// terminal.
    pub is_in_foreground: bool,
}

impl Inherited {
    /// Returns the signal mask and the dispositions of the calling process.
    pub fn current() -> Result<Inherited, String> {
        let mut mask = SigSet::empty();
        let action = |signal| {
            let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            // SAFETY: no handler runs, and the former action is put back at once.
            unsafe {
                sigaction(signal, &default).and_then(|before| sigaction(signal, &before).map(|_| before))
            }
        };
        let actions = pthread_sigmask(SigmaskHow::SIG_BLOCK, None, Some(&mut mask))
            .and_then(|()| Ok((action(Signal::SIGCHLD)?, action(Signal::SIGPIPE)?)));
        let (child_action, pipe_action) = actions.map_err(|error| format!("cannot read signals: {error}"))?;
        Ok(Inherited { mask, child_action, pipe_action, is_in_foreground: is_in_foreground() })
    }

    /// Restores the signal mask and the dispositions.
    fn restore(&self) -> io::Result<()> {
        // SAFETY: both actions were in force when this program started, so they run no handler.
        unsafe {
            sigaction(Signal::SIGCHLD, &self.child_action)?;
            sigaction(Signal::SIGPIPE, &self.pipe_action)?;
        }
        Ok(self.mask.thread_set_mask()?)
    }

    /// Gives a command the signals of the program, and a process group of its own unless that of the terminal is
    /// needed.
    pub fn pass_on(
        self,
        command: &mut Command,
        prepare: impl Fn() -> io::Result<()> + Send + Sync + 'static,
    ) {
        let prepare = move || {
            prepare()?;
            self.restore()
        };
        // SAFETY: this process has one thread, so the new process may call any function.
        unsafe { command.pre_exec(prepare) };
    }
}

/// Returns `true` if the calling process belongs to the foreground job of its terminal.
fn is_in_foreground() -> bool {
    let terminal = open("/dev/tty", OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOCTTY, Mode::empty());
    terminal.is_ok_and(|terminal| tcgetpgrp(&terminal) == Ok(getpgrp()))
}

/// Removes from the environment what is meant for sam-run and not for the program.
pub fn clear_environment(sockets: &Sockets) {
    let listen = ["LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS"];
    let names = ["LISTEN_FDNAMES"].into_iter().filter(|_| !sockets.keep_names());
    for name in LIBRARY_VARIABLES.into_iter().chain(OWN_VARIABLES).chain(listen).chain(names) {
        // SAFETY: this process has one thread.
        unsafe { env::remove_var(name) };
    }
}

/// Returns the command that starts the program. `agent`: the process that starts it, and whose end ends it.
pub fn command(options: &Options, inherited: &Inherited, sockets: &Sockets, agent: Option<Pid>) -> Command {
    let mut command = Command::new(&options.command[0]);
    command.args(&options.command[1..]);
    let (sockets, own_group) = (*sockets, !inherited.is_in_foreground);
    let has_watchdog = options.watchdog;
    inherited.pass_on(&mut command, move || {
        if own_group {
            // Signals of the program to its own group, such as `kill 0` in a shell script, are not for the supervisor.
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
        }
        if let Some(agent) = agent {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() != agent {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        let own_pid = getpid().to_string();
        if sockets.count() > 0 {
            set_variable(c"LISTEN_FDS", &sockets.count().to_string())?;
            set_variable(c"LISTEN_PID", &own_pid)?;
            sockets.pass_on()?;
        }
        if has_watchdog {
            set_variable(c"WATCHDOG_PID", &own_pid)?;
        }
        Ok(())
    });
    command
}

/// Sets a variable in a process that [`Command`] has forked. There, std's own function would wait for ever for a lock
/// that the forked thread holds.
fn set_variable(name: &CStr, value: &str) -> io::Result<()> {
    let value = CString::new(value)?;
    // SAFETY: both are C strings, and this process has one thread.
    Ok(Errno::result(unsafe { libc::setenv(name.as_ptr(), value.as_ptr(), 1) }).map(drop)?)
}

/// Executes the program in the calling process. Returns only if that fails.
pub fn become_program(options: &Options, inherited: &Inherited, sockets: &Sockets) -> io::Error {
    command(options, inherited, sockets, None).exec()
}

/// Ends the calling instance for good, because the program cannot be executed. The exit codes are those of a shell.
pub fn give_up(options: &Options, error: &io::Error) -> ! {
    sam::stop();
    eprintln!("sam-run: cannot execute {}: {error}", options.command[0].to_string_lossy());
    exit_now(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}

/// Ends the calling process without exit handlers, which belong to the supervisor.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit runs no code of the process.
    unsafe { libc::_exit(code) }
}
