//! The health of a living instance: silence, loss of quorum, warning and kill.
//!
//! `Machine::evaluate` finds out facts about the instance, and `Machine::react` is the table that answers each of them:
//! a match of the health and the fact.

use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::{Effect, Machine, RETRY_BACKOFF, State};
use crate::shared::control_page::{Phase, View};
use crate::shared::status_page::Activity;
use crate::supervisor::backoff::Backoff;
use crate::supervisor::log_event::{Kind, Reason};
use crate::sys::inspection::Inspection;
use crate::sys::signals::Signal;
use crate::time::MonotonicTime;

/// The time that an instance may run on after a loss of quorum if the program has no interval (the longest silence that
/// it allows). With an interval, the interval is that time. sam_overview(3) documents it.
pub(super) const QUORUM_GRACE: Duration = Duration::from_secs(1);

/// The bounds of the pause between two looks for a debugger, which is a quarter of the interval. A look reads a file of
/// /proc, so the supervisor does not take more than a hundred per second. A person who attaches a debugger does not
/// wait more than a second.
const DEBUGGER_POLL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The time that an instance has to end when the watchdog of the service manager aborts the program. Enough for most
/// programs, and far below the time after which systemd kills all processes (TimeoutAbortSec= in systemd.service(5)).
pub const ABORT_GRACE: Duration = Duration::from_secs(5);

/// The health of a living instance, as the supervisor sees it. `Machine::react` is a table that says what follows from
/// each fact about the instance in each health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Health {
    /// The instance gives signs of life in time, or has not started health checking.
    Healthy,
    /// The instance was warned, or warned itself, at `at`. Its last sign of life before that was at `last_activity`.
    Warned { at: MonotonicTime, last_activity: MonotonicTime },
    /// The instance was warned because quorum was lost at `at`. Heartbeats do not save it.
    QuorumLost { at: MonotonicTime },
    /// The hung instance was sent the signal of SAM_HANG_SIGNAL. If the instance has not ended at `until`, SIGKILL
    /// follows.
    HangSignalSent { until: MonotonicTime },
    /// The service manager aborts the program. The instance was sent SIGTERM, and has to end until `until`.
    Aborted { until: MonotonicTime },
    /// The instance was sent SIGKILL. If the kernel refused that, it is sent again at `retry_at`.
    Killed { retry_at: Option<MonotonicTime> },
}

/// An observation about a living instance that may change its [`Health`]: about signs of life, quorum, a debugger, a
/// deadline or a refused signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    /// A debugger traces the instance. This counts only if SAM_DEBUG_HOLD=1 is set: then the supervisor does not warn
    /// or kill a traced instance for its silence.
    Traced,
    /// The supervisor has read the control page of the instance and the last report of the cluster helper.
    Seen {
        /// `true` if the instance has started health checking.
        is_started: bool,
        /// `true` if the partition is quorate, or the policy does not ask for quorum.
        is_quorate: bool,
    },
    /// The last sign of life of the instance, such as a heartbeat, was at this time. Observed only while health
    /// checking is started.
    SignOfLife(MonotonicTime),
    /// The callback of the instance returned "unhealthy" at `at`. Since then there was no sign of life: the last one
    /// was at `last_activity`.
    Unhealthy { at: MonotonicTime, last_activity: MonotonicTime },
    /// The deadline has passed at which the supervisor warns or kills the instance. The supervisor woke up later than
    /// it had asked for by `lateness`. The last sign of life of the instance was at `last_activity`.
    TimeUp { last_activity: MonotonicTime, lateness: Duration },
    /// The kernel refused to send SIGKILL to the instance.
    KillRefused,
}

/// An instance that lives, and what the supervisor knows of its health.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct Watch {
    pub(super) pid: Pid,
    pub(super) born: MonotonicTime,
    /// `true` if a debugger traces the instance and SAM_DEBUG_HOLD=1 is set.
    pub(super) traced: bool,
    /// `true` if the kernel was writing the core file of the instance at the last inspection.
    pub(super) dumping: bool,
    /// The time at which the supervisor last saw that a debugger traced the instance.
    pub(super) traced_until: Option<MonotonicTime>,
    pub(super) health: Health,
    /// The time of the latest sign of life of the instance, such as a heartbeat, that the supervisor has seen. `None`:
    /// it has seen none.
    pub(super) last_activity: Option<MonotonicTime>,
    /// The time before which no deadline of the instance counts as passed, because the supervisor woke up late or was
    /// continued by SIGCONT.
    pub(super) not_before: Option<MonotonicTime>,
    /// `true` if the deadline of the instance was put off by `not_before`. It is not put off again before the next sign
    /// of life, or before the instance is warned.
    pub(super) extension_used: bool,
    /// The reason for which the supervisor has warned or ended the instance. If the instance ends now, this is logged
    /// as the reason. `None`: it was not warned, or has recovered.
    pub(super) reason: Option<Reason>,
    /// The time at which the supervisor decided to end the instance.
    pub(super) end_decided_at: Option<MonotonicTime>,
    /// The pause before SIGKILL is sent again. `None` until the kernel refuses a signal.
    pub(super) kill_retry: Option<Backoff>,
}

impl Watch {
    pub(super) fn new(pid: Pid, born: MonotonicTime) -> Watch {
        Watch {
            pid,
            born,
            traced: false,
            dumping: false,
            traced_until: None,
            health: Health::Healthy,
            last_activity: None,
            not_before: None,
            extension_used: false,
            reason: None,
            end_decided_at: None,
            kill_retry: None,
        }
    }

    /// Returns the time of the last sign of life of the instance: its birth, its last call that changed the phase, its
    /// last heartbeat, or a debugger. A time on the control page that is later than `now` is forged, and is ignored.
    pub(super) fn last_activity_in(&self, now: MonotonicTime, view: &View) -> MonotonicTime {
        let signs = past(now, Some(view.since)).max(past(now, view.heartbeat)).max(self.traced_until);
        signs.map_or(self.born, |sign| sign.max(self.born))
    }

    /// Records the latest sign of life that the control page `view` shows at `now`: a heartbeat, or a call such as
    /// `sam_start`. After a new sign of life the supervisor may once more put off a deadline because it woke up late.
    pub(super) fn note_activity(&mut self, now: MonotonicTime, view: &View) {
        self.note(self.last_activity_in(now, view));
    }

    fn note(&mut self, last_activity: MonotonicTime) {
        if Some(last_activity) > self.last_activity {
            self.last_activity = Some(last_activity);
            self.extension_used = false;
        }
    }

    /// Returns the phase of the instance, such as started or stopped, from its control page. If the instance entered
    /// that phase after the supervisor had decided to end it, returns `Started`. So a handler of the hang signal cannot
    /// avoid the restart by `sam_stop`.
    pub(super) fn phase(&self, view: &View) -> Phase {
        if self.end_decided_at.is_none_or(|at| view.since <= at) { view.phase } else { Phase::Started }
    }

    fn decide_end(&mut self, now: MonotonicTime) {
        self.end_decided_at.get_or_insert(now);
    }

    /// Cancels the warning of the instance, because it sent a heartbeat, has stopped health checking or is traced by a
    /// debugger. Returns the new health, which is `Healthy`.
    fn recover(&mut self) -> Health {
        self.reason = None;
        Health::Healthy
    }
}

impl Machine {
    pub(super) fn next_tick(&self, now: MonotonicTime) -> Option<MonotonicTime> {
        self.rules.interval.map(|interval| now + interval)
    }

    /// Returns the time that an instance may run on after a loss of quorum: the interval, or [`QUORUM_GRACE`] without
    /// one.
    fn quorum_grace(&self) -> Duration {
        self.rules.interval.unwrap_or(QUORUM_GRACE)
    }

    /// Returns the signal for an instance that was silent in spite of the warning: that of SAM_HANG_SIGNAL, or SIGKILL.
    fn kill_signal(&self) -> Signal {
        self.rules.settings.hang_signal.map_or(Signal::KILL, |hang| hang.signal)
    }

    fn hang_signal_sent(&self, now: MonotonicTime) -> Health {
        let timeout = self.rules.settings.hang_signal.map_or(Duration::ZERO, |hang| hang.timeout);
        Health::HangSignalSent { until: now + timeout }
    }

    fn looks_for_debuggers(&self) -> bool {
        self.rules.settings.debug_hold && self.rules.interval.is_some()
    }

    /// Returns `true` if the supervisor has to read /proc before it checks the deadlines of the instance. It looks for
    /// a debugger, with SAM_DEBUG_HOLD, and before SIGKILL for a core file that the kernel still writes.
    pub(super) fn must_inspect(&self, now: MonotonicTime, watch: &Watch) -> bool {
        self.looks_for_debuggers() || matches!(watch.health, Health::HangSignalSent { until } if now >= until)
    }

    /// Returns what the supervisor does about a living instance, for sam-status: it watches, warns or ends the
    /// instance, or waits for a debugger. The time is the one at which that ends, if it is limited.
    pub(super) fn activity_of(&self, watch: &Watch) -> (Activity, Option<MonotonicTime>) {
        let until = self.deadline(watch, None);
        match watch.health {
            Health::Healthy | Health::Warned { .. } if watch.traced => (Activity::Held, None),
            Health::HangSignalSent { .. } if watch.traced && !self.lacks_quorum() => (Activity::Held, None),
            Health::Healthy => (Activity::Watched, None),
            Health::Warned { .. } | Health::QuorumLost { .. } => (Activity::Warned, until),
            Health::HangSignalSent { .. } | Health::Aborted { .. } => (Activity::Ending, until),
            Health::Killed { .. } => (Activity::Ending, None),
        }
    }

    /// Returns the time at which the supervisor warns or kills the instance, or sends SIGKILL again, if nothing changes
    /// before. `if_healthy` is the deadline of an instance that is healthy. `None`: there is no deadline.
    fn deadline(&self, watch: &Watch, if_healthy: Option<MonotonicTime>) -> Option<MonotonicTime> {
        match watch.health {
            Health::Healthy => if_healthy.max(watch.not_before),
            Health::Warned { at, .. } => self.next_tick(at).max(watch.not_before),
            Health::QuorumLost { at } => Some(at + self.quorum_grace()),
            Health::HangSignalSent { until } | Health::Aborted { until } => Some(until),
            Health::Killed { retry_at } => retry_at,
        }
    }

    /// Returns `true` if the instance was warned, has reported that it is unhealthy, or is to end, and has not
    /// recovered. A later sign of life ends a warning for silence. An instance that has stopped health checking is not
    /// in recovery.
    pub(super) fn is_in_recovery(&self, now: MonotonicTime, watch: &Watch, view: &View) -> bool {
        // An abort ends the instance in every phase.
        if matches!(watch.health, Health::Aborted { .. } | Health::Killed { .. }) {
            return true;
        }
        if watch.phase(view) != Phase::Started {
            return false;
        }
        let last_activity = watch.last_activity_in(now, view);
        let is_unhealthy = self.rules.interval.is_some() && past(now, view.unhealthy) >= Some(last_activity);
        match watch.health {
            Health::Healthy => is_unhealthy,
            Health::Warned { last_activity: before, .. } => is_unhealthy || last_activity <= before,
            Health::QuorumLost { .. } | Health::HangSignalSent { .. } => true,
            Health::Killed { .. } | Health::Aborted { .. } => true,
        }
    }

    /// Stores what the event loop has found out about the instance: whether a debugger traces it, and whether the
    /// kernel writes its core file. Then checks the health of the instance, see `evaluate`.
    pub(super) fn inspected(
        &mut self,
        now: MonotonicTime,
        mut watch: Watch,
        found: Inspection,
        view: &View,
        effects: &mut Vec<Effect>,
    ) {
        let traced = found.traced && self.rules.settings.debug_hold;
        if traced != watch.traced {
            self.log(Some(watch.pid), Kind::Traced { traced }, effects);
        }
        watch.traced = traced;
        watch.dumping = found.dumping;
        if traced {
            // The silence begins when the debugger detaches.
            watch.traced_until = Some(now);
            self.react(now, &mut watch, Fact::Traced, view, effects);
        }
        self.evaluate(now, watch, view, effects);
    }

    /// Notes that the kernel refused to send the instance `signal`, and logs the first refusal. SIGKILL is sent again
    /// later: the instance most likely has changed its user, and may change it back.
    pub(super) fn refused(
        &mut self,
        now: MonotonicTime,
        mut watch: Watch,
        (signal, errno): (Signal, Errno),
        view: &View,
        effects: &mut Vec<Effect>,
    ) {
        if watch.kill_retry.is_none() {
            watch.kill_retry = Some(RETRY_BACKOFF);
            self.log(Some(watch.pid), Kind::SignalRefused { signal, errno }, effects);
        }
        if signal == Signal::KILL {
            self.react(now, &mut watch, Fact::KillRefused, view, effects);
        }
        self.state = State::Watching(watch);
    }

    /// Ends the instance in its own way, and the program with it, because the service manager aborts the supervisor.
    /// The signal of the service manager, SIGABRT, is not passed on: the instance may be healthy, and would dump core.
    pub(super) fn aborted(&mut self, now: MonotonicTime, mut watch: Watch, effects: &mut Vec<Effect>) {
        self.end_is_final = true;
        if !matches!(watch.health, Health::Aborted { .. } | Health::Killed { .. }) {
            self.log(Some(watch.pid), Kind::Aborted, effects);
            effects.push(Effect::Send(Signal::TERM));
            watch.health = Health::Aborted { until: now + ABORT_GRACE };
            self.wake = self.deadline(&watch, None);
        }
        self.state = State::Watching(watch);
    }

    /// Checks the signs of life, the quorum and the deadlines of the instance, and warns or kills the instance if need
    /// be. Sets the time of the next check.
    pub(super) fn evaluate(
        &mut self,
        now: MonotonicTime,
        mut watch: Watch,
        view: &View,
        effects: &mut Vec<Effect>,
    ) {
        let lateness = self.wake.map_or(Duration::ZERO, |wake| now.saturating_since(wake));
        let is_started = view.phase == Phase::Started;
        let seen = Fact::Seen { is_started, is_quorate: !self.lacks_quorum() };
        self.react(now, &mut watch, seen, view, effects);

        // The control page is read every interval also while health checking is not started.
        let mut if_healthy = self.next_tick(now);
        let last_activity = watch.last_activity_in(now, view);
        if let Some(interval) = self.rules.interval.filter(|_| is_started) {
            self.react(now, &mut watch, Fact::SignOfLife(last_activity), view, effects);
            if let Some(at) = past(now, view.unhealthy).filter(|&at| at >= last_activity) {
                self.react(now, &mut watch, Fact::Unhealthy { at, last_activity }, view, effects);
            }
            if_healthy = Some(last_activity + interval);
        }
        if self.deadline(&watch, if_healthy).is_some_and(|deadline| now >= deadline) {
            self.react(now, &mut watch, Fact::TimeUp { last_activity, lateness }, view, effects);
        }
        self.wake = self.deadline(&watch, if_healthy);
        if self.looks_for_debuggers() {
            let pause = self.rules.interval.unwrap_or_default() / 4;
            let poll = now + pause.clamp(DEBUGGER_POLL.0, DEBUGGER_POLL.1);
            self.wake = self.wake.map(|wake| wake.min(poll));
        }
        self.state = State::Watching(watch);
    }

    /// Decides what follows from `fact` in the present health of the instance: sets the next health, and adds what is
    /// to be done to `effects`. The arms of the match are a table of all healths and facts.
    fn react(
        &mut self,
        now: MonotonicTime,
        watch: &mut Watch,
        fact: Fact,
        view: &View,
        effects: &mut Vec<Effect>,
    ) {
        let pid = Some(watch.pid);
        watch.health = match (watch.health, fact) {
            // SIGKILL was sent. The event that tells of the end ends this health.
            (Health::Killed { .. }, Fact::TimeUp { .. }) => {
                effects.push(Effect::Send(Signal::KILL));
                Health::Killed { retry_at: None }
            }
            (Health::Killed { .. }, Fact::KillRefused) => {
                self.wake = watch.kill_retry.as_mut().map(|backoff| now + backoff.advance());
                Health::Killed { retry_at: self.wake }
            }

            (Health::Aborted { .. }, Fact::TimeUp { .. }) => {
                self.log(pid, Kind::KilledAfterAbort, effects);
                effects.push(Effect::Send(Signal::KILL));
                Health::Killed { retry_at: None }
            }

            // Nothing that the instance does now saves it. Only a debugger gives it more time, and only a loss of
            // quorum less.
            (Health::HangSignalSent { .. }, Fact::TimeUp { .. }) => {
                let sent_at = watch.end_decided_at.unwrap_or(now);
                let kind = Kind::KilledAfterHangSignal {
                    hang_signal: self.kill_signal(),
                    after: now.saturating_since(sent_at),
                    dumping: watch.dumping,
                };
                self.log(pid, kind, effects);
                effects.push(Effect::Send(Signal::KILL));
                Health::Killed { retry_at: None }
            }
            (Health::HangSignalSent { until }, Fact::Seen { is_quorate: false, .. }) => {
                Health::HangSignalSent { until: until.min(now + self.quorum_grace()) }
            }
            (Health::HangSignalSent { .. }, Fact::Traced) if !self.lacks_quorum() => {
                self.hang_signal_sent(now)
            }

            // A warning is called off by sam_stop. After a loss of quorum nothing else does that.
            (
                Health::Healthy | Health::Warned { .. } | Health::QuorumLost { .. },
                Fact::Seen { is_started: false, .. },
            ) => watch.recover(),
            (Health::QuorumLost { at }, Fact::TimeUp { .. }) => {
                watch.decide_end(now);
                let (warned_by, after) = (self.warn_signal, now.saturating_since(at));
                self.log(pid, Kind::KilledForQuorum { warned_by, after }, effects);
                effects.push(Effect::Send(Signal::KILL));
                Health::Killed { retry_at: None }
            }
            (Health::Healthy | Health::Warned { .. }, Fact::Seen { is_quorate: false, .. }) => {
                self.update_warn_signal(view);
                watch.reason = Some(Reason::NoQuorum);
                let (signal, after) = (self.warn_signal, self.quorum_grace());
                self.log(pid, Kind::QuorumWarning { signal, after }, effects);
                effects.extend(signal.map(Effect::Send));
                Health::QuorumLost { at: now }
            }

            // Silence: a warning, and a kill an interval later.
            (Health::Healthy | Health::Warned { .. }, Fact::Traced) => watch.recover(),
            (Health::Warned { at, last_activity: before }, Fact::SignOfLife(last_activity))
                if last_activity > before =>
            {
                watch.note(last_activity);
                let silent = last_activity.saturating_since(before);
                self.log(pid, Kind::Recovered { silent, at }, effects);
                watch.recover()
            }
            (health @ (Health::Healthy | Health::Warned { .. }), Fact::SignOfLife(last_activity)) => {
                watch.note(last_activity);
                health
            }
            (Health::Healthy, Fact::Unhealthy { at, last_activity }) => {
                // The instance has warned itself, at that time.
                watch.reason = Some(Reason::Unhealthy);
                let until = self.next_tick(at).unwrap_or(now);
                let (after, then) = (until.saturating_since(now), self.kill_signal());
                self.log(pid, Kind::Unhealthy { after, then }, effects);
                Health::Warned { at, last_activity }
            }
            (health @ (Health::Healthy | Health::Warned { .. }), Fact::TimeUp { lateness, .. })
                if !watch.extension_used && self.is_much(lateness) =>
            {
                // Whatever delayed the supervisor may have delayed the instance as well, and the supervisor could not
                // see its heartbeats. So the deadline is put off by that time, once per sign of life and health.
                watch.extension_used = true;
                watch.not_before = self.next_tick(now).map(|tick| tick.min(now + lateness));
                health
            }
            (Health::Healthy, Fact::TimeUp { last_activity, .. }) => {
                self.update_warn_signal(view);
                watch.extension_used = false;
                watch.reason = Some(Reason::Silent);
                let (signal, limit) = (self.warn_signal, self.rules.interval.unwrap_or_default());
                let (silent, then) = (now.saturating_since(last_activity), self.kill_signal());
                self.log(pid, Kind::Warned { silent, limit, signal, then }, effects);
                effects.extend(signal.map(Effect::Send));
                Health::Warned { at: now, last_activity }
            }
            (Health::Warned { .. }, Fact::TimeUp { last_activity, .. }) => {
                watch.extension_used = false;
                watch.decide_end(now);
                let grace = self.rules.settings.hang_signal.map(|hang| hang.timeout);
                let (silent, signal) = (now.saturating_since(last_activity), self.kill_signal());
                self.log(pid, Kind::Killed { silent, signal, grace }, effects);
                effects.push(Effect::Send(signal));
                grace.map_or(Health::Killed { retry_at: None }, |_| self.hang_signal_sent(now))
            }

            (health, _) => health,
        };
    }

    /// Returns `true` if the supervisor woke up late by more than a quarter of the interval. Then it puts the deadline
    /// off, because the instance may have been delayed as well.
    fn is_much(&self, lateness: Duration) -> bool {
        self.rules.interval.is_some_and(|interval| lateness > interval / 4)
    }
}

/// Returns `time`, which the instance stored on its control page. Returns `None` if it is later than `now`, because the
/// instance must have forged it.
pub(super) fn past(now: MonotonicTime, time: Option<MonotonicTime>) -> Option<MonotonicTime> {
    time.filter(|&time| time <= now)
}
