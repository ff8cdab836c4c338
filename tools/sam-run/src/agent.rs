//! The agent: the instance that runs the program as its child, sends the heartbeats for it, and ends as it ends.

use std::convert::Infallible;
use std::env;
use std::fmt;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::unistd::{Pid, getpid};
use sam_run::options::{Options, Restart};
use sam_run::state::{Effect, Rules, State};
use sam_run::values::Signal as AnySignal;

use crate::check::Check;
use crate::log::Log;
use crate::notify::{NotifySocket, Received, ServiceManager, descends_from};
use crate::program::{self, Inherited};
use crate::sam;
use crate::sockets::Sockets;

/// The number of messages that are read before signals and timers get their turn.
const BATCH: usize = 64;

/// The heartbeats that the agent sends itself per interval.
const HEARTBEATS_PER_INTERVAL: u32 = 4;

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The process exited with this code.
    Exited(i32),
    /// The process was killed by this signal.
    Killed(AnySignal),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Exited(code) => write!(f, "exited {code}"),
            End::Killed(signal) => write!(f, "died of {signal}"),
        }
    }
}

/// Runs the program, and ends as it ends.
pub fn run(
    options: &Options,
    inherited: &Inherited,
    sockets: &Sockets,
    warning: AnySignal,
    supervisor: Pid,
    instance: u32,
) -> Result<Infallible, String> {
    let system = |what: &'static str| move |error: Errno| format!("cannot {what}: {error}");
    let rules = Rules {
        watchdog: options.watchdog,
        check: options.check.is_some(),
        ready: options.ready,
        start_timeout: options.start_timeout,
        supervised_from_start: options.quorum || instance != 1,
        ends_with_clean_exit: options.restart == Restart::OnFailure,
    };
    // Supervision begins first of all, because the end of an instance that is not supervised yet ends the supervisor.
    // While the agent waits for quorum, a signal that ends the program ends the agent. A terminal stops the agent at any
    // time, and the supervisor with it.
    let mut blocked = SigSet::all();
    for signal in [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU] {
        blocked.remove(signal);
    }
    let mut at_start = blocked;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        at_start.remove(signal);
    }
    at_start.thread_set_mask().map_err(system("block signals"))?;
    if rules.begin_with_supervision() {
        sam::start()?;
    }
    blocked.thread_set_mask().map_err(system("block signals"))?;
    prctl::set_child_subreaper(true).map_err(system("become a subreaper"))?;
    // While SIGCHLD is ignored, the kernel discards the exit status of children.
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default disposition runs no code.
    unsafe { sigaction(Signal::SIGCHLD, &default) }.map_err(system("receive SIGCHLD"))?;
    let log = Log::open(supervisor, options.name());
    let service_manager = ServiceManager::from_environment();
    program::clear_environment(sockets);
    let wants_messages = options.watchdog || options.ready || service_manager.is_some();
    let notify =
        wants_messages.then(NotifySocket::open).transpose().map_err(system("open the notify socket"))?;
    if let Some(notify) = &notify {
        // SAFETY: this process has one thread.
        unsafe { env::set_var("NOTIFY_SOCKET", &notify.name) };
    }
    if let Some(interval) = options.interval().filter(|_| options.watchdog) {
        // SAFETY: this process has one thread.
        unsafe { env::set_var("WATCHDOG_USEC", interval.as_micros().to_string()) };
    }
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let signals = SignalFd::with_flags(&blocked, flags).map_err(system("open a signal descriptor"))?;
    let child = program::command(options, inherited, sockets, Some(getpid())).spawn();
    let main = match child {
        Ok(child) => Pid::from_raw(child.id() as i32),
        Err(error) => program::give_up(options, &error),
    };
    let now = Instant::now();
    let check = options.check.clone().map(|command| Check::new(command, options.check_times(), now));
    let own_period = options.interval().map(|interval| interval / HEARTBEATS_PER_INTERVAL);
    let mut agent = Agent {
        options,
        inherited,
        warning,
        supervisor,
        log,
        service_manager,
        notify,
        signals,
        state: State::new(rules, now),
        check,
        own_period,
        next_own: now,
        main,
        refused: Vec::new(),
        end: None,
    };
    agent.watch()
}

struct Agent<'a> {
    options: &'a Options,
    inherited: &'a Inherited,
    /// The signal that warns the program. 0: none.
    warning: AnySignal,
    supervisor: Pid,
    log: Log,
    service_manager: Option<ServiceManager>,
    notify: Option<NotifySocket>,
    signals: SignalFd,
    state: State,
    check: Option<Check>,
    /// The time between two heartbeats of the agent itself. `None`: the silence has no limit.
    own_period: Option<Duration>,
    next_own: Instant,
    /// The main process of the program.
    main: Pid,
    /// The reasons for which messages were refused so far.
    refused: Vec<&'static str>,
    end: Option<End>,
}

impl Agent<'_> {
    fn watch(&mut self) -> ! {
        loop {
            self.run_due(Instant::now());
            self.wait();
            // Messages come before the end of their sender is noticed, so that the sender can still be looked up.
            for _ in 0..BATCH {
                let Some(received) = self.notify.as_ref().and_then(NotifySocket::receive) else { break };
                self.received(received);
            }
            while let Ok(Some(signal)) = self.signals.read_signal() {
                self.signalled(signal);
            }
            while let Some((pid, end)) = next_end() {
                self.child_ended(pid, end);
            }
            if let Some(end) = self.end {
                self.finish(end);
            }
        }
    }

    /// Sleeps until something happens, or something is due.
    fn wait(&self) {
        let own = self.own_period.filter(|_| self.state.agent_sends_heartbeats()).map(|_| self.next_own);
        let check = self.check.as_ref().filter(|_| self.state.wants_checks()).map(Check::due);
        let due = self.state.due().into_iter().chain(own).chain(check).min();
        let timeout = due.map(|due| due.saturating_duration_since(Instant::now()));
        // poll(2) takes ms. One more, so that the time has come when it returns.
        let timeout = timeout.map(|timeout| i32::try_from(timeout.as_millis() + 1).unwrap_or(i32::MAX));
        let timeout = timeout.and_then(|ms| PollTimeout::try_from(ms).ok()).unwrap_or(PollTimeout::NONE);
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.notify.as_ref().map(|notify| PollFd::new(notify.as_fd(), PollFlags::POLLIN)));
        let _ = poll(&mut fds, timeout);
    }

    fn run_due(&mut self, now: Instant) {
        let effect = self.state.tick(now);
        self.apply(effect);
        if let Some(period) = self.own_period.filter(|_| self.state.agent_sends_heartbeats()) {
            if now >= self.next_own {
                sam::heartbeat();
                self.next_own = now + period;
            }
        }
        if let Some(check) = self.check.as_mut().filter(|_| self.state.wants_checks()) {
            let line = check.run_due(now, self.inherited);
            line.into_iter().for_each(|line| self.log.say(line));
        }
    }

    fn received(&mut self, received: Received) {
        let message = match received {
            Ok(message) => message,
            Err((sender, reason)) => {
                // Any user can send messages, and would fill the log.
                if !self.refused.contains(&reason) {
                    self.refused.push(reason);
                    self.log.say(format_args!(
                        "ignored a notification of pid {sender} and further ones that are {reason}"
                    ));
                }
                return;
            }
        };
        if let Some(pid) = message.main_pid.filter(|&pid| descends_from(pid, getpid())) {
            self.main = Pid::from_raw(pid);
        }
        let effects = self.state.message(Instant::now(), &message);
        self.apply(effects);
        let Some(service_manager) = &self.service_manager else { return };
        // A program that ends to be started again is not stopping, as a service manager sees it.
        let is_final = self.state.is_told_to_end() || self.options.restart == Restart::Never;
        let stopping = if message.stopping && is_final { "STOPPING=1\n" } else { "" };
        let text = format!("{}{stopping}", message.relayed);
        if !text.is_empty() {
            service_manager.send(&text);
        }
    }

    fn signalled(&mut self, info: siginfo) {
        let signal = info.ssi_signo as i32;
        let is_from_kernel = info.ssi_code == libc::SI_KERNEL;
        // The kernel sends the signals of a terminal to the whole process group, and the supervisor leaves them to it.
        let is_passed_on = info.ssi_pid == self.supervisor.as_raw() as u32
            || is_from_kernel && !self.inherited.is_in_foreground;
        if signal == libc::SIGCHLD || !is_passed_on && !is_from_kernel {
            return;
        }
        if signal == crate::warning() {
            self.state.warned();
            let AnySignal(warning) = self.warning;
            if warning != 0 {
                self.log
                    .say(format_args!("passed the warning on: sent {} to pid {}", self.warning, self.main));
                self.send(warning);
            }
            return;
        }
        if [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT].contains(&signal) {
            let effect = self.state.told_to_end();
            self.apply(effect);
        }
        if is_passed_on {
            let stop = self.options.stop_signal.filter(|_| signal == libc::SIGTERM);
            self.send(stop.map_or(signal, |stop| stop.0));
        }
    }

    fn child_ended(&mut self, pid: Pid, end: End) {
        if pid == self.main {
            self.end = Some(end);
            let effect = self.state.ended(end == End::Exited(0));
            self.apply(effect);
        } else if let Some((succeeded, line)) = self.check.as_mut().and_then(|check| check.ended(pid, end)) {
            line.into_iter().for_each(|line| self.log.say(line));
            if succeeded {
                let effect = self.state.check_passed();
                self.apply(effect);
            }
        }
    }

    fn apply(&mut self, effects: impl IntoIterator<Item = Effect>) {
        for effect in effects {
            match effect {
                Effect::Start => {
                    let started = sam::start();
                    started.unwrap_or_else(|error| self.log.say(error));
                }
                Effect::Stop => sam::stop(),
                Effect::Beat => sam::heartbeat(),
                Effect::End(reason) => {
                    self.log.say(reason);
                    self.send(self.options.hang_signal.map_or(libc::SIGKILL, |signal| signal.0));
                }
                Effect::Kill => self.send(libc::SIGKILL),
            }
        }
    }

    fn send(&self, signal: i32) {
        // SAFETY: kill touches no memory. The program is not reaped yet, so the pid is its own.
        unsafe { libc::kill(self.main.as_raw(), signal) };
    }

    /// Ends what the program has left behind, and then the agent as the program has ended.
    fn finish(&mut self, end: End) -> ! {
        if let Some(check) = &mut self.check {
            check.kill();
        }
        end_children();
        match end {
            End::Exited(code) => program::exit_now(code),
            End::Killed(AnySignal(signal)) => die_of(signal),
        }
    }
}

/// Reaps a child that has ended. nix does not know the real-time signals by which one may have died.
fn next_end() -> Option<(Pid, End)> {
    wait_for_child(libc::WNOHANG)
}

fn wait_for_child(flags: i32) -> Option<(Pid, End)> {
    let mut status = 0;
    // SAFETY: waitpid writes a number to the pointer.
    let pid = unsafe { libc::waitpid(-1, &mut status, flags) };
    let end = match libc::WIFEXITED(status) {
        true => End::Exited(libc::WEXITSTATUS(status)),
        false => End::Killed(AnySignal(libc::WTERMSIG(status))),
    };
    (pid > 0).then_some((Pid::from_raw(pid), end))
}

/// Kills all descendants. Orphans among them become children of the agent, which is their subreaper. After an exit with
/// status 0, the supervisor would wait whether the program goes on in one of them.
fn end_children() {
    let list = format!("/proc/self/task/{}/children", getpid());
    loop {
        let children = std::fs::read_to_string(&list).unwrap_or_default();
        let pids: Vec<i32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            // SAFETY: kill touches no memory. Only this process reaps its children, so the pid is still the child's.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        wait_for_child(0);
    }
}

/// Ends the calling process by a signal, without a second core file.
fn die_of(signal: i32) -> ! {
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = prctl::set_dumpable(false);
    // SAFETY: the default disposition runs no code, and the set is initialised by sigemptyset.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::kill(libc::getpid(), signal);
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
    }
    // The first process of a PID namespace survives its signals (pid_namespaces(7)).
    program::exit_now(128 + signal)
}
