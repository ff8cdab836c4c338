//! Signals that the supervisor receives, which are for the program.

use std::collections::TryReserveError;
use std::time::Duration;

use nix::unistd::Pid;

use super::{Effect, Machine, RETRY_BACKOFF, State};
use crate::shared::cmap_record::CmapState;
use crate::shared::control_page::{Phase, View};
use crate::supervisor::backoff::Backoff;
use crate::supervisor::log_event::{Delivery, Kind};
use crate::sys::process::ExitStatus;
use crate::sys::signals::{Received, Signal};
use crate::time::MonotonicTime;

/// The time after a SIGTSTP, SIGTTIN or SIGTTOU in which a SIGSTOP of the instance counts as the answer to it. Some
/// programs save their terminal in a handler and then stop themselves by SIGSTOP. A second is enough for that.
const STOP_ANSWER_TIME: Duration = Duration::from_secs(1);

/// The highest number of real-time signals that the supervisor keeps while there is no instance. The kernel limits them
/// as well (RLIMIT_SIGPENDING in getrlimit(2)).
pub(super) const MAX_HELD_REALTIME: usize = 64;

/// The highest number of signals that the supervisor keeps while there is no instance: [`MAX_HELD_REALTIME`] real-time
/// signals, and one of each of the 31 other signals.
pub(super) const MAX_HELD: usize = MAX_HELD_REALTIME + 31;

/// An instance below this age is new. Its handlers may not be installed yet, and a sender that signals every process of
/// the program may have missed it. A second is enough for most programs to start, also on a busy machine.
const NEW_INSTANCE_AGE: Duration = Duration::from_secs(1);

/// Signals that arrived while there was no instance, or only one that was just made. The instance gets them when it is
/// started, because its handlers are installed by then.
#[derive(Debug, Clone, Hash)]
pub(super) struct HeldSignals {
    signals: Vec<Received>,
    /// `true` if a real-time signal for the next instance was dropped, because too many were kept already. The further
    /// ones are dropped without a log line.
    overflowed: bool,
    /// The time of the next check whether the instance has called `sam_start`. The instance gets the signals then. The
    /// supervisor has to check, because `sam_start` does not wake it.
    check_at: Option<MonotonicTime>,
    backoff: Backoff,
}

impl HeldSignals {
    pub(super) fn new() -> HeldSignals {
        HeldSignals { signals: Vec::new(), overflowed: false, check_at: None, backoff: RETRY_BACKOFF }
    }

    /// Reserves the memory for [`MAX_HELD`] signals, so that none is allocated when a signal is kept for the next
    /// instance.
    ///
    /// # Errors
    /// There is not enough memory.
    pub(super) fn reserve(&mut self) -> Result<(), TryReserveError> {
        self.signals.try_reserve_exact(MAX_HELD)
    }

    /// Returns the time of the next check whether the instance has called `sam_start`. Returns `None` if no signal is
    /// kept for the instance until then.
    pub(super) fn due(&self) -> Option<MonotonicTime> {
        self.check_at.filter(|_| !self.signals.is_empty())
    }

    /// Returns `true` if SIGTERM, SIGINT or SIGQUIT, which end the program, is among the signals that are kept for the
    /// next instance.
    pub(super) fn end_program(&self) -> bool {
        self.signals.iter().any(|held| ends_program(held.signal))
    }

    /// Discards SIGTERM, SIGINT and SIGQUIT, which end the program, from the signals that are kept for the next
    /// instance.
    pub(super) fn forget_end_signals(&mut self) {
        self.signals.retain(|held| !ends_program(held.signal));
    }

    /// Keeps a signal for the next instance. As the kernel does with blocked signals, keeps every real-time signal, and
    /// one of each other signal. Returns `false` if there is no room for a further real-time signal.
    fn keep(&mut self, received: Received) -> bool {
        let signal = received.signal;
        if signal.is_real_time() {
            if self.signals.iter().filter(|held| held.signal.is_real_time()).count() >= MAX_HELD_REALTIME {
                return false;
            }
        } else if self.signals.iter().any(|held| held.signal == signal) {
            return true;
        }
        self.signals.push(received);
        true
    }
}

impl Machine {
    /// Decides what follows from a signal that the supervisor received. Forwards it to the instance, or keeps it until
    /// a new or the next instance has called `sam_start`. `shared` says that a terminal has sent it to the instance as
    /// well.
    pub(super) fn signal(
        &mut self,
        now: MonotonicTime,
        received: Received,
        shared: bool,
        view: &View,
        effects: &mut Vec<Effect>,
    ) {
        let signal = received.signal;
        let is_first_end_signal = ends_program(signal) && !self.end_is_final;
        self.end_is_final |= ends_program(signal);
        // Job control: a shell waits for the supervisor, so the supervisor stops when the instance has stopped.
        if stops_program(signal) {
            self.stop_received = Some(now);
        } else if signal == Signal::CONT {
            self.stop_received = None;
            self.held.signals.retain(|held| !stops_program(held.signal));
        }
        match self.state {
            State::Watching(ref mut watch) => {
                watch.note_activity(now, view);
                let interval =
                    self.rules.interval.filter(|_| signal == Signal::CONT && !watch.extension_used);
                if let Some(interval) = interval {
                    // The supervisor may have been stopped, and the instance with it. It may as well be a lie, because
                    // every process of the session may send this signal, the instance too.
                    watch.extension_used = true;
                    let not_before = now + interval;
                    watch.not_before = Some(not_before);
                    self.wake = self.wake.map(|wake| wake.max(not_before));
                }
                let (pid, age) = (watch.pid, now.saturating_since(watch.born));
                let is_new =
                    self.lost_at.is_some() && age < NEW_INSTANCE_AGE && view.phase == Phase::Registered;
                let can_wait = !ends_program(signal) && !stops_program(signal) && signal != Signal::CONT;
                if is_new && can_wait && !shared {
                    // As if the signal had arrived a moment ago, when there was no instance.
                    return self.hold(received, effects);
                }
                let delivery = if shared { Delivery::ByTerminal } else { self.delivery(received, age) };
                if delivery == Delivery::Forwarded {
                    effects.push(Effect::Forward(received));
                    if ends_program(signal) {
                        self.last_end_signal = Some((now, received));
                    }
                }
                if is_first_end_signal {
                    let sender = received.sender;
                    self.log(Some(pid), Kind::ToldToEnd { signal, sender, delivery }, effects);
                }
            }
            State::Pausing if self.end_is_final => {
                let (sender, delivery) = (received.sender, Delivery::NoInstance);
                self.log(None, Kind::ToldToEnd { signal, sender, delivery }, effects);
                self.close(now, ExitStatus::Killed { signal, core: false }, CmapState::Gone, effects);
            }
            // With SAM_FORWARD_SIGNALS=0 every sender signals every process, so the process that goes on has the
            // signal.
            State::AwaitingDaemon { .. }
                if !shared && self.delivery(received, Duration::ZERO) == Delivery::Withheld => {}
            State::Launching | State::Pausing | State::AwaitingDaemon { .. } => self.hold(received, effects),
            State::Closing { .. } | State::Finished => {}
        }
    }

    /// Keeps a signal for the next instance that arrived when the last one had already ended.
    pub(super) fn signal_missed(&mut self, received: Received, effects: &mut Vec<Effect>) {
        self.end_is_final |= ends_program(received.signal);
        self.hold(received, effects);
    }

    /// Decides whether the supervisor forwards a signal to an instance of this age. With SAM_FORWARD_SIGNALS=0 it does
    /// not, because senders signal the instance themselves. Exceptions are signals of the kernel, and SIGTERM, SIGINT
    /// or SIGQUIT for a new instance.
    fn delivery(&self, received: Received, age: Duration) -> Delivery {
        // With SAM_FORWARD_SIGNALS=0 every sender signals the instance as well. The kernel does not, and a sender may
        // have missed an instance that was just made.
        let withheld = self.rules.settings.withhold_signals && !received.by_kernel;
        let missed = ends_program(received.signal) && age < NEW_INSTANCE_AGE;
        if withheld && !missed { Delivery::Withheld } else { Delivery::Forwarded }
    }

    /// Keeps a signal for the next instance. Drops it if too many real-time signals are kept already, and logs the
    /// first one that is dropped.
    pub(super) fn hold(&mut self, received: Received, effects: &mut Vec<Effect>) {
        if !self.held.keep(received) && !std::mem::replace(&mut self.held.overflowed, true) {
            self.log(None, Kind::SignalDropped { signal: received.signal }, effects);
        }
    }

    /// Discards all signals that are held for the next instance, and logs each.
    pub(super) fn drop_held(&mut self, effects: &mut Vec<Effect>) {
        for held in &self.held.signals {
            self.log(None, Kind::SignalDropped { signal: held.signal }, effects);
        }
        self.held.signals.clear();
    }

    /// Forwards SIGTERM, SIGINT and SIGQUIT to the instance `pid`, which was made at `now`, from the signals that the
    /// supervisor has kept for it. The others are kept until the instance has called `sam_start`.
    pub(super) fn forward_end_signals(&mut self, now: MonotonicTime, pid: Pid, effects: &mut Vec<Effect>) {
        self.held.backoff.reset();
        self.held.check_at = Some(now + self.held.backoff.advance());
        let delivery = Delivery::Forwarded;
        for received in self.held.signals.iter().copied().filter(|held| ends_program(held.signal)) {
            self.last_end_signal = Some((now, received));
            effects.push(Effect::Forward(received));
            let Received { signal, sender, .. } = received;
            self.log(Some(pid), Kind::ToldToEnd { signal, sender, delivery }, effects);
        }
        self.held.forget_end_signals();
    }

    /// Forwards all signals that the supervisor has kept for the instance, if the instance has called `sam_start`.
    pub(super) fn forward_held(&mut self, now: MonotonicTime, view: &View, effects: &mut Vec<Effect>) {
        if self.held.signals.is_empty() {
            return;
        }
        if matches!(view.phase, Phase::Started | Phase::Stopped | Phase::Waiting) {
            if self.held.signals.iter().any(|held| stops_program(held.signal)) {
                self.stop_received = Some(now);
            }
            self.held.overflowed = false;
            effects.extend(self.held.signals.drain(..).map(Effect::Forward));
        } else if self.held.check_at.is_some_and(|at| now >= at) {
            self.held.check_at = Some(now + self.held.backoff.advance());
        }
    }

    /// Returns `true` if the supervisor has to stop itself, because `signal` has stopped the instance. It does so after
    /// a stop signal of terminals such as SIGTSTP, for a shell that waits for the supervisor.
    pub(super) fn follows_stop(&self, now: MonotonicTime, signal: Signal) -> bool {
        let Some(stop_received) = self.stop_received else { return false };
        stops_program(signal) || now < stop_received + STOP_ANSWER_TIME
    }
}

/// Returns `true` for SIGTERM, SIGINT and SIGQUIT. No restart follows the end of an instance after one of them.
pub fn ends_program(signal: Signal) -> bool {
    [Signal::TERM, Signal::INT, Signal::QUIT].contains(&signal)
}

/// Returns `true` for SIGTSTP, SIGTTIN and SIGTTOU, by which a terminal stops a program.
fn stops_program(signal: Signal) -> bool {
    [Signal::TSTP, Signal::TTIN, Signal::TTOU].contains(&signal)
}
