//! Decides when to make a spare, which is the next instance, forked in advance.

use super::{Effect, Event, Machine, State};
use crate::policy::Recovery;
use crate::time::MonotonicTime;

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
    /// Asks the event loop to fork a spare, the next instance in advance, if there is none and an instance lives. Does
    /// nothing without SAM_STANDBY=1, or if the recovery policy allows no restart. To be called after each event.
    pub(super) fn maintain_spare(&mut self, now: MonotonicTime, event: Event, effects: &mut Vec<Effect>) {
        if !self.rules.settings.standby || self.rules.recovery == Recovery::Quit {
            return;
        }
        match event {
            Event::SpareMade => self.spare_retry.reset(),
            Event::SpareLost => self.spare = Spare::Due(Some(now + self.spare_retry.advance())),
            Event::Launched { .. } => self.spare = Spare::Due(Some(now)),
            _ => {}
        }
        if matches!(self.state, State::Watching(_)) && self.spare.due().is_some_and(|at| now >= at) {
            self.spare = Spare::Ready;
            effects.push(Effect::MakeSpare);
        }
    }
}
