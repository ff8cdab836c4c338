//! Decides when to make a spare, which is the next instance, forked in advance.

use std::time::Duration;

use super::health::QUORUM_GRACE;
use super::{Effect, Event, Machine, State};
use crate::policy::Recovery;
use crate::shared::status_page::Activity;
use crate::time::MonotonicTime;

/// The time of a fork from which on an instance that was warned gets a spare. Programs of up to some 50 MiB fork faster.
/// A machine that is too busy for heartbeats shall not be made busier for these.
const SLOW_FORK: Duration = Duration::from_millis(2);

/// The state of the spare, which is the next instance, forked in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Spare {
    /// There is no spare, which is the next instance, forked in advance. One is to be forked at this time, or, for
    /// `None`, as soon as the next instance is made.
    Due(Option<MonotonicTime>),
    /// There is a spare, or the machine has asked the event loop to fork one. No other spare is forked meanwhile.
    Ready,
}

impl Spare {
    /// Returns the time at which a spare is to be forked. Returns `None` if there is one, or if no time is set.
    pub(super) fn due(self) -> Option<MonotonicTime> {
        match self {
            Spare::Due(at) => at,
            Spare::Ready => None,
        }
    }
}

impl Machine {
    /// Returns when a spare is due, if one is wanted and there is none.
    pub(super) fn spare_due(&self) -> Option<MonotonicTime> {
        let is_wanted = || {
            let is_warned = || self.activity().0 == Activity::Warned;
            self.rules.settings.standby || self.replaces_warned() && is_warned()
        };
        self.spare.due().filter(|_| is_wanted())
    }

    /// Returns `true` if an instance that was warned gets a spare: a fork takes long, and yet is over long before the
    /// instance is killed.
    fn replaces_warned(&self) -> bool {
        let grace = self.rules.interval.unwrap_or(QUORUM_GRACE);
        self.fork_time >= SLOW_FORK && self.fork_time <= grace / 4 && !self.end_is_final
    }

    /// Asks the event loop to fork a spare, the next instance in advance, if there is none and an instance lives that it
    /// could follow: with SAM_STANDBY=1 any instance, without it one that was warned. Asks for the end of the latter when
    /// the instance recovers. Does nothing if the recovery policy allows no restart. To be called after each event.
    pub(super) fn maintain_spare(&mut self, now: MonotonicTime, event: Event, effects: &mut Vec<Effect>) {
        let standby = self.rules.settings.standby;
        let may_replace = standby || self.replaces_warned() || self.spare == Spare::Ready;
        if !may_replace || self.rules.recovery == Recovery::Quit {
            return;
        }
        match event {
            Event::SpareMade => self.spare_retry.reset(),
            Event::SpareLost => self.spare = Spare::Due(Some(now + self.spare_retry.advance())),
            Event::Launched { .. } => self.spare = Spare::Due(Some(now)),
            _ => {}
        }
        if !matches!(self.state, State::Watching(_)) {
            return;
        }
        if self.spare_due().is_some_and(|at| now >= at) {
            self.spare = Spare::Ready;
            effects.push(Effect::MakeSpare);
        } else if !standby && self.spare == Spare::Ready && self.activity().0 == Activity::Watched {
            self.spare = Spare::Due(Some(now));
            effects.push(Effect::DropSpare);
        }
    }
}
