//! The state of the program that an agent runs, and what follows from what happens to it.

use std::time::{Duration, Instant};

use crate::message::Message;

/// The rules for the program, which follow from the options.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// WATCHDOG=1 messages are expected.
    pub watchdog: bool,
    /// A check command is run.
    pub check: bool,
    /// The start is complete with READY=1 only.
    pub ready: bool,
    /// The longest time until READY=1, and from STOPPING=1 to the end of the program.
    pub start_timeout: Duration,
    /// Supervision begins with the start of the program, although it is not ready yet.
    pub supervised_from_start: bool,
    /// An exit with status 0 ends the supervision.
    pub ends_with_clean_exit: bool,
}

/// A step that the agent has to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Begin supervision: sam_start.
    Start,
    /// End supervision: sam_stop.
    Stop,
    /// Send a heartbeat: sam_hc_send.
    Beat,
    /// Log the reason, and end the program by the hang signal, or by SIGKILL without one.
    End(&'static str),
    /// Kill the program, which has not ended.
    Kill,
}

/// The time from the hang signal to SIGKILL. It is that of the supervisor (SAM_HANG_GRACE).
const HANG_GRACE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The program has started, and READY=1 has not come yet.
    Starting,
    /// The program has to send heartbeats.
    Running,
    /// The program has sent STOPPING=1.
    Stopping,
    /// A signal has told the program to end.
    ToldToEnd,
    /// The program is being killed.
    Killed,
}

/// The state of the program.
#[derive(Debug)]
pub struct State {
    rules: Rules,
    phase: Phase,
    is_supervised: bool,
    /// The end of the time that a start, or an end, may take.
    deadline: Option<Instant>,
    /// The program has sent WATCHDOG=1 since the last heartbeat that the supervisor got.
    has_message: bool,
    /// The check has succeeded since then.
    has_check: bool,
    /// The supervisor has sent a warning.
    warned: bool,
}

impl Rules {
    /// Returns `true` if supervision begins before the program is started.
    pub fn begin_with_supervision(&self) -> bool {
        self.supervised_from_start || !self.ready
    }
}

impl State {
    /// Returns the state of a program that was started at `now`.
    pub fn new(rules: Rules, now: Instant) -> State {
        let phase = if rules.ready { Phase::Starting } else { Phase::Running };
        let is_supervised = rules.begin_with_supervision();
        let deadline = rules.ready.then(|| now + rules.start_timeout);
        let (has_message, has_check) = (!rules.watchdog, !rules.check);
        State { rules, phase, is_supervised, deadline, has_message, has_check, warned: false }
    }

    /// Returns `true` while the check has to be run.
    pub fn wants_checks(&self) -> bool {
        self.rules.check && self.phase == Phase::Running
    }

    /// Returns `true` while the agent itself sends the heartbeats: none is expected of the program.
    pub fn agent_sends_heartbeats(&self) -> bool {
        let none_expected = !self.rules.watchdog && !self.rules.check;
        self.is_supervised
            && match self.phase {
                Phase::Starting | Phase::Stopping => true,
                Phase::Running => none_expected,
                Phase::ToldToEnd | Phase::Killed => false,
            }
    }

    /// Returns `true` once the end of the program is final: STOPPING=1 is the truth for a service manager above.
    pub fn is_told_to_end(&self) -> bool {
        self.phase == Phase::ToldToEnd
    }

    /// Returns when to call `tick`.
    pub fn due(&self) -> Option<Instant> {
        self.deadline
    }

    /// Takes a message of the program.
    pub fn message(&mut self, now: Instant, message: &Message) -> Vec<Effect> {
        let mut effects = Vec::new();
        if message.ready && self.phase == Phase::Starting {
            (self.phase, self.deadline) = (Phase::Running, None);
            if !self.is_supervised {
                self.is_supervised = true;
                effects.push(Effect::Start);
            }
        }
        if message.stopping && self.phase == Phase::Running {
            (self.phase, self.deadline) = (Phase::Stopping, Some(now + self.rules.start_timeout));
        }
        if let (Some(extension), Some(deadline)) = (message.extension, self.deadline) {
            self.deadline = Some(deadline.max(now + extension.min(self.rules.start_timeout)));
        }
        if message.failed && self.rules.watchdog {
            effects.extend(self.end(now, "program reported WATCHDOG=trigger"));
        } else if message.heartbeat {
            self.has_message = true;
            effects.extend(self.beat());
        }
        effects
    }

    /// Notes that the check has succeeded.
    pub fn check_passed(&mut self) -> Option<Effect> {
        self.has_check = true;
        self.beat()
    }

    /// Returns a heartbeat when every source of heartbeats has given one since the last.
    fn beat(&mut self) -> Option<Effect> {
        if self.phase != Phase::Running || !self.has_message || !self.has_check {
            return None;
        }
        (self.has_message, self.has_check) = (!self.rules.watchdog, !self.rules.check);
        self.warned = false;
        Some(Effect::Beat)
    }

    /// Notes that a signal which ends the program is passed on. The sender decides how long the end may take.
    pub fn told_to_end(&mut self) -> Option<Effect> {
        if matches!(self.phase, Phase::ToldToEnd | Phase::Killed) {
            return None;
        }
        (self.phase, self.deadline) = (Phase::ToldToEnd, None);
        self.is_supervised.then_some(Effect::Stop)
    }

    /// Notes that the supervisor has warned the program.
    pub fn warned(&mut self) {
        self.warned = true;
    }

    /// Notes the time.
    pub fn tick(&mut self, now: Instant) -> Option<Effect> {
        self.deadline.filter(|&deadline| now >= deadline)?;
        match self.phase {
            Phase::Starting => self.end(now, "program did not send READY=1 in time"),
            Phase::Killed => {
                self.deadline = None;
                Some(Effect::Kill)
            }
            _ => self.end(now, "program did not end in time after STOPPING=1"),
        }
    }

    fn end(&mut self, now: Instant, reason: &'static str) -> Option<Effect> {
        if matches!(self.phase, Phase::ToldToEnd | Phase::Killed) {
            return None;
        }
        (self.phase, self.deadline) = (Phase::Killed, Some(now + HANG_GRACE));
        Some(Effect::End(reason))
    }

    /// Notes that the program has ended. `is_clean`: it exited with status 0. An end that follows a warning is a
    /// failure, because the program did not end on its own account.
    pub fn ended(&mut self, is_clean: bool) -> Option<Effect> {
        let is_final =
            self.rules.ends_with_clean_exit && is_clean && !self.warned && self.phase != Phase::Killed;
        (is_final && self.is_supervised).then_some(Effect::Stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        watchdog: false,
        check: false,
        ready: false,
        start_timeout: Duration::from_secs(10),
        supervised_from_start: true,
        ends_with_clean_exit: false,
    };

    fn start(rules: Rules) -> (State, Instant) {
        let now = Instant::now();
        (State::new(rules, now), now)
    }

    fn parsed(text: &str) -> Message {
        Message::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn heartbeat_needs_every_source() {
        let (mut state, now) = start(Rules { watchdog: true, check: true, ..RULES });
        let beat = parsed("WATCHDOG=1");
        assert_eq!(state.message(now, &beat), []);
        assert_eq!(state.check_passed(), Some(Effect::Beat));
        assert_eq!(state.check_passed(), None);
        assert_eq!(state.message(now, &beat), [Effect::Beat]);
    }

    #[test]
    fn supervision_of_first_instance_begins_with_ready() {
        let rules = Rules { ready: true, watchdog: true, supervised_from_start: false, ..RULES };
        let now = Instant::now();
        let mut state = State::new(rules, now);
        assert!(!rules.begin_with_supervision());
        assert!(!state.agent_sends_heartbeats());
        assert_eq!(state.message(now, &parsed("WATCHDOG=1")), []);
        assert_eq!(state.message(now, &parsed("READY=1")), [Effect::Start]);
        assert_eq!(state.message(now, &parsed("READY=1\nWATCHDOG=1")), [Effect::Beat]);
        assert_eq!(state.due(), None);
    }

    #[test]
    fn agent_sends_heartbeats_for_later_instance_until_it_is_ready() {
        let rules = Rules { ready: true, watchdog: true, ..RULES };
        let mut state = State::new(rules, Instant::now());
        assert!(rules.begin_with_supervision());
        assert!(state.agent_sends_heartbeats());
        state.message(Instant::now(), &parsed("READY=1"));
        assert!(!state.agent_sends_heartbeats());
    }

    #[test]
    fn start_that_takes_too_long_is_ended_and_then_killed_unless_it_is_extended() {
        let (mut state, now) = start(Rules { ready: true, ..RULES });
        assert_eq!(state.tick(now + Duration::from_secs(9)), None);
        state.message(now + Duration::from_secs(9), &parsed("EXTEND_TIMEOUT_USEC=5000000"));
        assert_eq!(state.tick(now + Duration::from_secs(13)), None);
        let end = Effect::End("program did not send READY=1 in time");
        assert_eq!(state.tick(now + Duration::from_secs(14)), Some(end));
        assert_eq!(state.tick(now + Duration::from_secs(23)), None);
        assert_eq!(state.tick(now + Duration::from_secs(24)), Some(Effect::Kill));
        assert_eq!(state.tick(now + Duration::from_secs(99)), None);
    }

    #[test]
    fn stopping_program_needs_no_heartbeats_and_has_a_limit() {
        let (mut state, now) = start(Rules { watchdog: true, ..RULES });
        assert_eq!(state.message(now, &parsed("STOPPING=1")), []);
        assert!(state.agent_sends_heartbeats());
        assert!(state.tick(now + Duration::from_secs(10)).is_some());
    }

    #[test]
    fn program_that_is_told_to_end_may_take_any_time() {
        let (mut state, now) = start(Rules { watchdog: true, ..RULES });
        assert_eq!(state.told_to_end(), Some(Effect::Stop));
        assert_eq!(state.told_to_end(), None);
        assert_eq!(state.message(now, &parsed("STOPPING=1\nWATCHDOG=trigger")), []);
        assert_eq!((state.due(), state.agent_sends_heartbeats()), (None, false));
    }

    #[test]
    fn clean_exit_is_final_only_on_request_and_without_a_warning() {
        let (mut state, _) = start(RULES);
        assert_eq!(state.ended(true), None);
        let rules = Rules { ends_with_clean_exit: true, watchdog: true, ..RULES };
        let (mut state, now) = start(rules);
        assert_eq!(state.ended(false), None);
        assert_eq!(state.ended(true), Some(Effect::Stop));
        state.warned();
        assert_eq!(state.ended(true), None);
        state.message(now, &parsed("WATCHDOG=1"));
        assert_eq!(state.ended(true), Some(Effect::Stop));
        state.message(now, &parsed("WATCHDOG=trigger"));
        assert_eq!(state.ended(true), None);
    }
}
