//! The search for a process that goes on in the place of an instance which exited with 0, as daemon(3) makes it.

use std::time::Duration;

use nix::unistd::Pid;

use super::health::{Health, QUORUM_GRACE, Watch, past};
use super::{Effect, Machine, State};
use crate::shared::cmap_record::CmapState;
use crate::shared::control_page::{Phase, View};
use crate::supervisor::backoff::Backoff;
use crate::supervisor::daemonized::Candidates;
use crate::supervisor::log_event::Kind;
use crate::sys::process::ExitStatus;
use crate::sys::signals::Received;
use crate::time::MonotonicTime;

/// The pause between two searches for a process that goes on in the place of an instance which exited with 0. It
/// doubles from 10 ms, the time that daemon(3) needs on a busy machine, to 1 s.
const SEARCH_BACKOFF: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));

/// The time after the exit of the instance from which the only process that it left is adopted, although that process
/// has not called the library. Until then the process may still execute another program, which a shell makes its
/// children do within a few ms.
const DAEMON_SETTLE_TIME: Duration = Duration::from_millis(100);

/// The time before the exit of an instance in which a signal may have come too late for the signal handler of the
/// instance. The process that goes on in its place gets the signal again. On a machine that is not overloaded, a
/// handler runs much sooner.
const SIGNAL_CROSSING_TIME: Duration = Duration::from_millis(100);

/// The longest search for the process that goes on in the place of an instance, if that process cannot be adopted or
/// the program was told to end. It is the time that an instance may go on without quorum. Service managers wait longer
/// for the end of a program.
const SEARCH_LIMIT: Duration = QUORUM_GRACE;

impl Machine {
    /// Decides what follows when the instance has exited with 0 and has left processes. The exit is the end of the
    /// instance if it was told to end, has stopped health checking or marked itself as failed, or was warned. Otherwise
    /// the search for the process that goes on in its place begins.
    pub(super) fn may_have_daemonized(
        &mut self,
        now: MonotonicTime,
        mut watch: Watch,
        view: &View,
        effects: &mut Vec<Effect>,
    ) {
        // A signal that is still held, or was sent a moment before the exit, may not have reached the instance.
        let is_unconfirmed = self.held.end_program() || self.unconfirmed_end_signal(now).is_some();
        let was_told = self.end_is_final && !is_unconfirmed;
        let may_go_on = matches!(watch.phase(view), Phase::Registered | Phase::Waiting | Phase::Started)
            && !view.marked_failed
            && !was_told
            && !self.is_in_recovery(now, &watch, view);
        if !may_go_on {
            return self.died(now, watch, ExitStatus::Exited(0), view, effects);
        }
        (watch.health, watch.reason) = (Health::Healthy, None);
        self.state = State::AwaitingDaemon { watch, since: now, backoff: SEARCH_BACKOFF };
        self.wake = None;
        effects.push(Effect::FindDaemon);
    }

    /// Returns the last SIGTERM, SIGINT or SIGQUIT for the instance, which exited with 0 at `since`, if it was
    /// forwarded less than [`SIGNAL_CROSSING_TIME`] before that. The instance may have exited before it handled the
    /// signal.
    fn unconfirmed_end_signal(&self, since: MonotonicTime) -> Option<Received> {
        let (_, received) = self.last_end_signal.filter(|(at, _)| since < *at + SIGNAL_CROSSING_TIME)?;
        Some(received)
    }

    /// Decides what follows from `found`, the processes that may go on in the place of the instance, which exited with
    /// 0 at `since`: adopts a process, searches again later, or ends the search.
    ///
    /// A process that called the library is adopted. If no heartbeat is due, the only process that may call the library
    /// is adopted as well, because no other process would pass signals on to it. If heartbeats are due, the machine
    /// waits for the first one, an interval at most.
    pub(super) fn daemon_searched(
        &mut self,
        now: MonotonicTime,
        (watch, since, mut backoff): (Watch, MonotonicTime, Backoff),
        found: Candidates,
        view: &View,
        effects: &mut Vec<Effect>,
    ) {
        let due_interval = self.rules.interval.filter(|_| view.phase == Phase::Started);
        let limit = match (found, due_interval) {
            (Candidates::Caller(pid), _) => return effects.push(Effect::Adopt(pid)),
            (Candidates::Only(pid), None) if now >= since + DAEMON_SETTLE_TIME => {
                return effects.push(Effect::Adopt(pid));
            }
            (Candidates::None, _) => Some(Duration::ZERO),
            (_, Some(interval)) => Some(interval),
            (Candidates::OutOfReach(_), None) => Some(SEARCH_LIMIT),
            (Candidates::Only(_) | Candidates::Several, None) => None,
        };
        let limit_at_end = self.end_is_final.then_some(SEARCH_LIMIT);
        let until = limit.into_iter().chain(limit_at_end).min().map(|limit| since + limit);
        if until.is_none_or(|until| now < until) {
            if self.wake.is_none() {
                let limit = until.map(|until| until.saturating_since(since));
                self.log(Some(watch.pid), Kind::MayHaveDaemonized { limit }, effects);
            }
            let next_search = now + backoff.advance();
            self.state = State::AwaitingDaemon { watch, since, backoff };
            self.wake = until.into_iter().chain([next_search]).min();
            return;
        }
        if found == Candidates::None {
            // No process is left that could get them.
            self.held.forget_end_signals();
        }
        let lives_on = due_interval.is_none() || past(now, view.heartbeat) > Some(since);
        match found {
            Candidates::OutOfReach(pid) if lives_on => self.give_up_search(now, pid, effects),
            _ => self.died(now, watch, ExitStatus::Exited(0), view, effects),
        }
    }

    /// Ends the supervisor, because the program goes on in a process that cannot be supervised. A restart would run the
    /// program twice.
    fn give_up_search(&mut self, now: MonotonicTime, pid: Option<Pid>, effects: &mut Vec<Effect>) {
        self.log(pid, Kind::OutOfReach, effects);
        self.kill_group(effects);
        self.close(now, ExitStatus::Exited(0), CmapState::Gone, effects);
    }

    /// Goes on with the process `pid` as the instance, which the event loop has adopted. `watch` is the state of the
    /// instance that exited with 0 at `since`.
    pub(super) fn adopted(
        &mut self,
        now: MonotonicTime,
        watch: Watch,
        since: MonotonicTime,
        pid: Pid,
        effects: &mut Vec<Effect>,
    ) {
        self.log(Some(pid), Kind::Adopted { before: watch.pid }, effects);
        if let Some(received) = self.unconfirmed_end_signal(since) {
            self.hold(received, effects);
        }
        self.forward_end_signals(now, pid, effects);
        let traced_until = if watch.traced { Some(now) } else { watch.traced_until };
        let health = Health::Healthy;
        self.state = State::Watching(Watch {
            pid,
            traced: false,
            dumping: false,
            traced_until,
            health,
            kill_retry: None,
            ..watch
        });
        self.wake = self.next_tick(now);
    }
}
