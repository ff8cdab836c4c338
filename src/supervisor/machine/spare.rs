//! Decides when to make a spare, which is the next instance, forked in advance.

use super::{Effect, Event, Machine, State};
use crate::policy::Recovery;
use crate::time::MonotonicTime;

/// The state of the spare, which is the next instance, forked in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Spare {
    /// There is no spare. One is to be made at this time, or, for `None`, as soon as an instance lives.
    Due(Option<MonotonicTime>),
    /// A spare waits, or is being made.
    Ready,
}

impl Spare {
    /// Returns when the spare is due, if there is none.
    pub(super) fn due(self) -> Option<MonotonicTime> {
        match self {
            Spare::Due(at) => at,
            Spare::Ready => None,
        }
    }
}

impl Machine {
    /// Asks for a spare as soon as an instance lives that the spare could follow.
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
