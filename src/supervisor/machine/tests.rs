//! Single steps of the machine, and a comparison with a model that looks at everything every millisecond.

use super::health::Health;
use super::signals::MAX_HELD_REALTIME;
use super::*;
use crate::settings::{HangSignal, RestartDelay, RestartLimit};
use crate::supervisor::log_event::{Delivery, Reason};
use proptest::prelude::*;

mod cluster;

const INTERVAL: Duration = ms(100);
const PID: Pid = Pid::from_raw(4711);
/// The pid of a process that goes on in the place of an instance which exited with 0.
const DAEMON: Pid = Pid::from_raw(72);

const EXITED: ExitStatus = ExitStatus::Exited(3);
const SEGV: ExitStatus = ExitStatus::Killed { signal: Signal::SEGV, core: true };

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Returns the time at this number of ms on the clock of the tests, which begins with 0.
const fn at(ms: u64) -> MonotonicTime {
    MonotonicTime::from_ns(ms * 1_000_000)
}

/// Returns the time 1 ns before `time`, which is the last one before it.
fn before(time: MonotonicTime) -> MonotonicTime {
    MonotonicTime::from_ns(time.as_ns() - 1)
}

/// Returns the number of ms since the clock of the tests began with 0.
fn in_ms(time: MonotonicTime) -> u64 {
    time.as_ns() / 1_000_000
}

/// The latest time that the clock can show. On a control page it is always forged.
const FUTURE: MonotonicTime = MonotonicTime::from_ns(u64::MAX);

fn view(phase: Phase, since: MonotonicTime, heartbeat: MonotonicTime) -> View {
    View { phase, since, heartbeat: Some(heartbeat), ..View::NO_INSTANCE }
}

/// Returns the contents of a control page on which a hostile instance has stored the given phase, times in ns and
/// number of its warning signal. No value has to be valid.
fn hostile(phase: Phase, since: u64, [heartbeat, unhealthy]: [u64; 2], warn_signal: i32) -> View {
    let time = |ns| Some(MonotonicTime::from_ns(ns));
    let since = MonotonicTime::from_ns(since);
    View {
        phase,
        since,
        heartbeat: time(heartbeat),
        unhealthy: time(unhealthy),
        warn_signal,
        marked_failed: false,
    }
}

fn started(now: MonotonicTime) -> View {
    view(Phase::Started, now, now)
}

fn real_time(number: i32) -> Signal {
    Signal::from_number(number).unwrap()
}

fn received(signal: Signal) -> Received {
    Received { signal, value: None, by_kernel: false, sender: None }
}

fn signal(signal: Signal) -> Event {
    Event::Signal { received: received(signal), shared: false }
}

fn log(id: u32, pid: Option<Pid>, kind: Kind) -> Effect {
    Effect::Log(LogEvent { id: Some(id), pid, kind })
}

/// Returns the state machine of a supervisor with this interval and recovery policy, and default settings. The machine
/// was told that instance 1 was made at 1000 ms.
fn machine(interval: Option<Duration>, recovery: Recovery) -> Machine {
    machine_with(interval, recovery, Settings::default())
}

fn machine_with(interval: Option<Duration>, recovery: Recovery, settings: Settings) -> Machine {
    let rules = Rules { interval, recovery, quorum: false, cmap: false, settings };
    let mut machine = Machine::new(rules, Some(Signal::TERM));
    machine.step(at(1000), Event::Launched { pid: PID }, &View::NO_INSTANCE);
    machine
}

impl Machine {
    /// Has the state machine handle `event` at `now`, while `view` is on the control page. Returns the effects that the
    /// machine asks for.
    fn step(&mut self, now: MonotonicTime, event: Event, view: &View) -> Vec<Effect> {
        let mut effects = vec![];
        self.handle(now, event, view, &mut effects);
        assert!(effects.len() <= MAX_EFFECTS);
        effects
    }
}

/// Returns the effects that are not log events.
fn deeds(effects: Vec<Effect>) -> Vec<Effect> {
    effects.into_iter().filter(|effect| !matches!(effect, Effect::Log(_))).collect()
}

/// Returns the log line about a SIGTERM that arrived before instance `id` was started.
fn stopping_without_instance(id: u32) -> Effect {
    let (signal, delivery) = (Signal::TERM, Delivery::NoInstance);
    log(id, None, Kind::ToldToEnd { signal, sender: None, delivery })
}

fn launch(id: u32) -> Vec<Effect> {
    vec![Effect::Launch { id, warn_signal: Some(Signal::TERM) }]
}

#[test]
fn end_of_instance_is_answered_by_policy_and_phase() {
    use Recovery::{Quit, Restart};
    let phases = [Phase::Registered, Phase::Started, Phase::Stopped, Phase::Finalized];
    for interval in [None, Some(INTERVAL)] {
        for recovery in [Quit, Restart] {
            for phase in phases {
                for status in [ExitStatus::Exited(0), EXITED, SEGV] {
                    let mut machine = machine(interval, recovery);
                    let seen = view(phase, at(1001), at(1001));
                    let effects = deeds(machine.step(at(1050), Event::Died(status), &seen));
                    let expected = match (recovery, phase) {
                        (Restart, Phase::Started) => launch(2),
                        _ => vec![Effect::Finish(status)],
                    };
                    assert_eq!(effects, expected, "{interval:?} {recovery:?} {phase:?} {status:?}");
                }
            }
        }
    }
}

#[test]
fn end_is_planned_after_a_termination_signal_or_an_announced_exit_with_0() {
    let died = |signal| ExitStatus::Killed { signal, core: false };
    for (told, phase, status, expected) in [
        (false, Phase::Started, ExitStatus::Exited(0), false),
        (false, Phase::Stopped, ExitStatus::Exited(0), true),
        (false, Phase::Finalized, ExitStatus::Exited(0), true),
        (false, Phase::Stopped, EXITED, false),
        (false, Phase::Stopped, SEGV, false),
        (true, Phase::Started, ExitStatus::Exited(0), true),
        (true, Phase::Started, EXITED, true),
        (true, Phase::Started, died(Signal::TERM), true),
        (true, Phase::Started, died(Signal::KILL), false),
        (true, Phase::Started, SEGV, false),
    ] {
        let mut machine = machine(None, Recovery::Restart);
        let seen = view(phase, at(1001), at(1001));
        if told {
            machine.step(at(1040), signal(Signal::TERM), &seen);
        }
        let effects = machine.step(at(1050), Event::Died(status), &seen);
        let restarts = !told && phase == Phase::Started;
        let lost = log(1, Some(PID), Kind::Lost { status, reason: None, planned: expected, restarts });
        assert_eq!(effects[0], lost, "told to end: {told}, {phase:?}");
    }
}

#[test]
fn aborted_instance_gets_sigterm_and_five_seconds_whatever_heartbeats_it_sends() {
    for interval in [None, Some(INTERVAL)] {
        let mut machine = machine(interval, Recovery::Restart);
        let sent = machine.step(at(1050), Event::Aborted, &started(at(1040)));
        assert_eq!(deeds(sent), [Effect::Send(Signal::TERM)]);
        assert!(machine.end_is_final());
        // systemd sends the signal once, but any process may repeat it.
        assert_eq!(machine.step(at(1060), Event::Aborted, &started(at(1060))), []);
        for now in [1200, 6000, 6049] {
            assert_eq!(machine.step(at(now), Event::Tick, &started(at(now))), [], "{now}");
        }
        assert_eq!(machine.wake_at(), Some(at(6050)));
        let sent = machine.step(at(6050), Event::Tick, &started(at(6050)));
        assert_eq!(sent, [log(1, Some(PID), Kind::KilledAfterAbort), Effect::Send(Signal::KILL)]);
        let died = ExitStatus::Killed { signal: Signal::KILL, core: false };
        let ended = machine.step(at(6051), Event::Died(died), &started(at(6050)));
        assert_eq!(deeds(ended), [Effect::Finish(died)]);
    }
}

#[test]
fn abort_during_restart_delay_ends_the_supervisor() {
    let delay = RestartDelay { first: ms(1000), last: ms(1000) };
    let settings = Settings { restart_delay: Some(delay), ..Settings::default() };
    let mut machine = machine_with(None, Recovery::Restart, settings);
    assert_eq!(deeds(machine.step(at(1050), Event::Died(SEGV), &started(at(1001)))), []);
    let ended = machine.step(at(1060), Event::Aborted, &View::NO_INSTANCE);
    let status = ExitStatus::Killed { signal: Signal::TERM, core: false };
    assert_eq!(deeds(ended), [Effect::Finish(status)]);
}

#[test]
fn instance_that_gave_up_or_was_told_to_end_is_not_restarted() {
    let mut marked_failed = machine(Some(INTERVAL), Recovery::Restart);
    let seen = View { marked_failed: true, ..started(at(1001)) };
    let effects = deeds(marked_failed.step(at(1050), Event::Died(SEGV), &seen));
    assert_eq!(effects, [Effect::Finish(SEGV)]);

    for (signal, is_final) in [
        (Signal::TERM, true),
        (Signal::INT, true),
        (Signal::QUIT, true),
        (Signal::HUP, false),
        (Signal::USR1, false),
        (real_time(40), false),
    ] {
        for shared in [false, true] {
            let mut machine = machine(Some(INTERVAL), Recovery::Restart);
            let seen = started(at(1001));
            let event = Event::Signal { received: received(signal), shared };
            let passed = deeds(machine.step(at(1002), event, &seen));
            let expected = if shared { vec![] } else { vec![Effect::Forward(received(signal))] };
            assert_eq!(passed, expected);
            let effects = deeds(machine.step(at(1050), Event::Died(EXITED), &seen));
            let expected = if is_final { vec![Effect::Finish(EXITED)] } else { launch(2) };
            assert_eq!(effects, expected, "{signal}, shared {shared}");
        }
    }
}

#[test]
fn restart_adds_one_to_the_id_which_wraps_to_zero() {
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    machine.id = i32::MAX as u32 - 1;
    for id in [i32::MAX as u32, 0, 1, 2] {
        let effects = deeds(machine.step(at(2000), Event::Died(SEGV), &started(at(1001))));
        assert_eq!(effects, launch(id));
        machine.step(at(2000), Event::Launched { pid: PID }, &View::NO_INSTANCE);
    }
}

#[test]
fn launch_that_fails_is_tried_again_with_growing_pauses() {
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    let mut now = at(1050);
    assert_eq!(deeds(machine.step(now, Event::Died(SEGV), &started(at(1001)))), launch(2));
    for pause in [10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
        let effects = machine.step(now, Event::LaunchFailed(Errno::EAGAIN), &View::NO_INSTANCE);
        let told = log(2, None, Kind::LaunchFailed { errno: Errno::EAGAIN, pause: ms(pause) });
        assert_eq!(effects, [told]);
        assert_eq!(machine.wake_at(), Some(now + ms(pause)));
        assert_eq!(machine.step(before(now + ms(pause)), Event::Tick, &View::NO_INSTANCE), [], "too early");
        now = now + ms(pause);
        assert_eq!(machine.step(now, Event::Tick, &View::NO_INSTANCE), launch(2));
    }
    assert_eq!(deeds(machine.step(now, Event::Launched { pid: PID }, &View::NO_INSTANCE)), []);
    assert_eq!(machine.wake_at(), Some(now + INTERVAL));

    // After a success the pauses begin with the first one again.
    machine.step(now, Event::Died(SEGV), &started(now));
    machine.step(now, Event::LaunchFailed(Errno::EAGAIN), &View::NO_INSTANCE);
    assert_eq!(machine.wake_at(), Some(now + ms(10)));
}

/// Returns the state machine of a supervisor that has no instance: instance 1 has ended at 1050 ms, and the kernel
/// refused to fork instance 2. The next try is due at 1060 ms.
fn machine_without_instance() -> Machine {
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    machine.step(at(1050), Event::Died(SEGV), &started(at(1001)));
    machine.step(at(1050), Event::LaunchFailed(Errno::EAGAIN), &View::NO_INSTANCE);
    machine
}

fn passed_on(signals: &[Signal]) -> Vec<Effect> {
    signals.iter().map(|&signal| Effect::Forward(received(signal))).collect()
}

fn dropped(id: u32, signal: Signal) -> Effect {
    log(id, None, Kind::SignalDropped { signal })
}

#[test]
fn signals_between_two_instances_wait_until_the_next_is_started_or_end_the_wait() {
    let mut machine = machine_without_instance();
    for number in [Signal::HUP, Signal::USR1, Signal::HUP] {
        assert_eq!(machine.step(at(1051), signal(number), &View::NO_INSTANCE), []);
    }
    let mut ended = machine.clone();
    let status = ExitStatus::Killed { signal: Signal::TERM, core: false };
    assert_eq!(
        ended.step(at(1052), signal(Signal::TERM), &View::NO_INSTANCE),
        [
            stopping_without_instance(2),
            dropped(2, Signal::HUP),
            dropped(2, Signal::USR1),
            Effect::Finish(status)
        ]
    );
    assert_eq!(ended.wake_at(), None);

    machine.step(at(1060), Event::Tick, &View::NO_INSTANCE);
    assert_eq!(deeds(machine.step(at(1060), Event::Launched { pid: PID }, &View::NO_INSTANCE)), []);
    // sam_start wakes nobody: the machine looks for it, less and less often.
    for now in [1070, 1090, 1130] {
        assert_eq!(machine.wake_at(), Some(at(now)));
        assert_eq!(machine.step(at(now), Event::Tick, &View::NO_INSTANCE), []);
    }
    for phase in [Phase::Started, Phase::Stopped, Phase::Waiting] {
        let mut machine = machine.clone();
        let effects = deeds(machine.step(at(1131), Event::Tick, &view(phase, at(1130), at(1130))));
        assert_eq!(effects, passed_on(&[Signal::HUP, Signal::USR1]), "{phase:?}");
    }
}

#[test]
fn held_signals_are_dropped_and_logged_when_the_instance_ends_before_it_is_started() {
    let mut machine = machine_without_instance();
    machine.step(at(1051), signal(Signal::HUP), &View::NO_INSTANCE);
    machine.step(at(1060), Event::Tick, &View::NO_INSTANCE);
    machine.step(at(1060), Event::Launched { pid: PID }, &View::NO_INSTANCE);
    let lost =
        log(2, Some(PID), Kind::Lost { status: EXITED, reason: None, planned: false, restarts: false });
    assert_eq!(
        machine.step(at(1065), Event::Died(EXITED), &View::NO_INSTANCE),
        [lost, dropped(2, Signal::HUP), Effect::Finish(EXITED)]
    );
}

#[test]
fn held_signals_wait_for_the_instance_after_one_that_was_started_unseen() {
    let mut machine = machine_without_instance();
    machine.step(at(1051), signal(Signal::HUP), &View::NO_INSTANCE);
    machine.step(at(1060), Event::Tick, &View::NO_INSTANCE);
    machine.step(at(1060), Event::Launched { pid: PID }, &View::NO_INSTANCE);
    assert_eq!(deeds(machine.step(at(1065), Event::Died(EXITED), &started(at(1061)))), launch(3));
    machine.step(at(1065), Event::Launched { pid: PID }, &View::NO_INSTANCE);
    let effects = deeds(machine.step(at(1070), Event::Tick, &started(at(1066))));
    assert_eq!(effects, passed_on(&[Signal::HUP]));
}

#[test]
fn signals_that_arrive_as_the_instance_dies_are_held_for_the_next() {
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    let seen = started(at(1001));
    assert_eq!(machine.step(at(1050), Event::Missed(received(Signal::USR1)), &seen), []);
    assert_eq!(deeds(machine.step(at(1050), Event::Died(SEGV), &seen)), launch(2));
    machine.step(at(1050), Event::Launched { pid: PID }, &View::NO_INSTANCE);
    let effects = deeds(machine.step(at(1060), Event::Tick, &started(at(1055))));
    assert_eq!(effects, passed_on(&[Signal::USR1]));
}

#[test]
fn signals_for_an_instance_that_was_just_restarted_wait_until_it_is_started() {
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    // The first instance is as a program without a supervisor would be.
    let effects = machine.step(at(1001), signal(Signal::HUP), &View::NO_INSTANCE);
    assert_eq!(effects, passed_on(&[Signal::HUP]));
    machine.step(at(1050), Event::Died(SEGV), &started(at(1001)));
    machine.step(at(1050), Event::Launched { pid: PID }, &View::NO_INSTANCE);
    assert_eq!(machine.step(at(1051), signal(Signal::HUP), &View::NO_INSTANCE), []);
    // Job control and the end do not wait, and neither does an instance that takes its time.
    for number in [Signal::TSTP, Signal::CONT, Signal::TERM] {
        let effects = deeds(machine.step(at(1052), signal(number), &View::NO_INSTANCE));
        assert_eq!(effects, passed_on(&[number]));
    }
    let effects = machine.step(at(2050), signal(Signal::USR1), &View::NO_INSTANCE);
    assert_eq!(effects, passed_on(&[Signal::USR1]));
    let effects = deeds(machine.step(at(2100), Event::Tick, &started(at(2051))));
    assert_eq!(effects, passed_on(&[Signal::HUP]));
}

#[test]
fn termination_signal_during_a_launch_is_passed_on_at_once_and_the_end_is_final() {
    for number in [Signal::TERM, Signal::INT, Signal::QUIT] {
        for withhold_signals in [false, true] {
            let settings = Settings { withhold_signals, ..Settings::default() };
            let mut machine = machine_with(Some(INTERVAL), Recovery::Restart, settings);
            machine.step(at(1050), Event::Died(SEGV), &started(at(1001)));
            machine.step(at(1050), signal(Signal::HUP), &View::NO_INSTANCE);
            machine.step(at(1050), signal(number), &View::NO_INSTANCE);
            let effects = deeds(machine.step(at(1051), Event::Launched { pid: PID }, &View::NO_INSTANCE));
            assert_eq!(effects, passed_on(&[number]));
            let effects = deeds(machine.step(at(1060), Event::Died(EXITED), &started(at(1055))));
            assert_eq!(effects, [Effect::Finish(EXITED)]);
        }
    }
}

#[test]
fn held_real_time_signals_keep_values_and_order_up_to_a_limit() {
    let mut machine = machine_without_instance();
    let queued = |value| Received { value: Some(value), ..received(real_time(40)) };
    let mut told = vec![];
    for value in 0..MAX_HELD_REALTIME as u64 + 3 {
        let event = Event::Signal { received: queued(value), shared: false };
        told.extend(machine.step(at(1051), event, &View::NO_INSTANCE));
    }
    assert_eq!(told, [dropped(2, real_time(40))], "once");
    assert_eq!(machine.step(at(1051), signal(Signal::HUP), &View::NO_INSTANCE), []);
    machine.step(at(1060), Event::Tick, &View::NO_INSTANCE);
    machine.step(at(1060), Event::Launched { pid: PID }, &View::NO_INSTANCE);
    let effects = deeds(machine.step(at(1070), Event::Tick, &started(at(1061))));
    let mut expected: Vec<Effect> =
        (0..MAX_HELD_REALTIME as u64).map(|value| Effect::Forward(queued(value))).collect();
    expected.extend(passed_on(&[Signal::HUP]));
    assert_eq!(effects, expected);
}

#[test]
fn first_termination_signal_is_logged_with_the_way_it_went() {
    for (shared, withhold_signals, delivery) in [
        (false, false, Delivery::Forwarded),
        (true, false, Delivery::ByTerminal),
        (false, true, Delivery::Withheld),
    ] {
        let settings = Settings { withhold_signals, ..Settings::default() };
        let mut machine = machine_with(None, Recovery::Restart, settings);
        let seen = started(at(1001));
        assert!(!machine.end_is_final());
        let event = |signal| Event::Signal { received: received(signal), shared };
        let effects = machine.step(at(9000), event(Signal::INT), &seen);
        let told = log(1, Some(PID), Kind::ToldToEnd { signal: Signal::INT, sender: None, delivery });
        assert!(effects.contains(&told), "{effects:?}");
        assert!(machine.end_is_final());
        let effects = machine.step(at(9001), event(Signal::TERM), &seen);
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Log(_))), "{effects:?}");
    }
}

#[test]
fn withheld_signals_reach_the_instance_if_the_kernel_sent_them_or_the_sender_may_have_missed_it() {
    let settings = Settings { withhold_signals: true, ..Settings::default() };
    let mut machine = machine_with(None, Recovery::Restart, settings);
    let seen = started(at(1001));
    for (now, signal, by_kernel, passed) in [
        (at(1500), Signal::HUP, false, false),
        (at(9000), Signal::HUP, false, false),
        (at(9000), Signal::HUP, true, true),
        (at(1999), Signal::TERM, false, true),
        (at(2000), Signal::TERM, false, false),
        (at(9000), Signal::CONT, false, false),
    ] {
        let received = Received { by_kernel, ..received(signal) };
        let effects = deeds(machine.step(now, Event::Signal { received, shared: false }, &seen));
        let expected = if passed { vec![Effect::Forward(received)] } else { vec![] };
        assert_eq!(effects, expected, "{signal} at {} ms", in_ms(now));
    }
    assert_eq!(deeds(machine.step(at(9001), Event::Died(EXITED), &seen)), [Effect::Finish(EXITED)]);
}

#[test]
fn kill_that_is_refused_is_tried_again_with_growing_pauses_and_logged_once() {
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    let seen = started(at(1000));
    machine.step(at(1100), Event::Tick, &seen);
    let refused = |signal| Event::Refused { signal, errno: Errno::EPERM };
    let told = log(1, Some(PID), Kind::SignalRefused { signal: Signal::TERM, errno: Errno::EPERM });
    assert_eq!(machine.step(at(1100), refused(Signal::TERM), &seen), [told]);
    assert_eq!(machine.wake_at(), Some(at(1200)), "a warning is not sent twice");
    let mut now = at(1200);
    assert_eq!(deeds(machine.step(now, Event::Tick, &seen)), [Effect::Send(Signal::KILL)]);
    for pause in [10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
        assert_eq!(machine.step(now, refused(Signal::KILL), &seen), []);
        assert_eq!(machine.wake_at(), Some(now + ms(pause)));
        assert_eq!(machine.activity(), (Activity::Ending, None), "it is killed already");
        assert_eq!(machine.step(before(now + ms(pause)), Event::Tick, &seen), [], "too early");
        now = now + ms(pause);
        assert_eq!(machine.step(now, Event::Tick, &seen), [Effect::Send(Signal::KILL)]);
    }
    assert_eq!(machine.wake_at(), None, "it was not refused this time");
}

#[test]
fn instance_that_another_thread_reaped_is_lost() {
    let seen = started(at(1001));
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    assert_eq!(deeds(machine.step(at(1050), Event::Died(ExitStatus::Unknown), &seen)), launch(2));
    let mut machine = self::machine(Some(INTERVAL), Recovery::Quit);
    let effects = deeds(machine.step(at(1050), Event::Died(ExitStatus::Unknown), &seen));
    assert_eq!(effects, [Effect::Finish(ExitStatus::Unknown)]);
}

#[test]
fn number_that_is_no_signal_leaves_the_warning_signal_as_it_is() {
    for (wanted, expected) in [
        (libc::SIGUSR1, vec![Effect::Send(Signal::USR1)]),
        (64, vec![Effect::Send(real_time(64))]),
        (0, vec![]),
        (65, vec![Effect::Send(Signal::TERM)]),
        (-1, vec![Effect::Send(Signal::TERM)]),
        (i32::MIN, vec![Effect::Send(Signal::TERM)]),
    ] {
        let mut machine = machine(Some(INTERVAL), Recovery::Restart);
        let seen = View { warn_signal: wanted, ..started(at(1000)) };
        assert_eq!(deeds(machine.step(at(1100), Event::Tick, &seen)), expected, "wanted {wanted}");
    }
}

#[test]
fn warning_signal_of_lost_instance_is_that_of_the_next() {
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    let seen = View { warn_signal: libc::SIGUSR2, ..started(at(1000)) };
    let effects = deeds(machine.step(at(1050), Event::Died(SEGV), &seen));
    assert_eq!(effects, [Effect::Launch { id: 2, warn_signal: Some(Signal::USR2) }]);
}

#[test]
fn times_in_the_future_on_the_page_are_ignored() {
    for seen in [
        view(Phase::Started, at(1000), FUTURE),
        view(Phase::Started, FUTURE, at(1000)),
        view(Phase::Started, FUTURE, FUTURE),
        View { unhealthy: Some(FUTURE), ..started(at(1000)) },
    ] {
        let mut machine = machine(Some(INTERVAL), Recovery::Restart);
        assert_eq!(deeds(machine.step(at(1100), Event::Tick, &seen)), [Effect::Send(Signal::TERM)]);
        assert_eq!(machine.wake_at(), Some(at(1200)));
        assert_eq!(deeds(machine.step(at(1200), Event::Tick, &seen)), [Effect::Send(Signal::KILL)]);
        assert_eq!(machine.wake_at(), None);
    }
}

#[test]
fn times_before_the_launch_on_the_page_are_ignored() {
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    let seen = view(Phase::Started, MonotonicTime::from_ns(1), MonotonicTime::from_ns(2));
    assert_eq!(deeds(machine.step(at(1050), Event::Tick, &seen)), []);
    assert_eq!(machine.wake_at(), Some(at(1100)));
    assert_eq!(deeds(machine.step(at(1100), Event::Tick, &seen)), [Effect::Send(Signal::TERM)]);
}

#[test]
fn late_supervisor_extends_the_deadline_once() {
    let seen = started(at(1000));
    for (late, owed) in [(20, 0), (25, 0), (26, 26), (60, 60), (100, 100), (5000, 100)] {
        let mut machine = machine(Some(INTERVAL), Recovery::Restart);
        let woken = at(1100 + late);
        let effects = deeds(machine.step(woken, Event::Tick, &seen));
        if owed == 0 {
            assert_eq!(effects, [Effect::Send(Signal::TERM)], "{late} ms late");
            continue;
        }
        assert_eq!(effects, [], "{late} ms late");
        let due = woken + ms(owed);
        assert_eq!(machine.wake_at(), Some(due));
        // Late again, and still no word: once is enough.
        let effects = deeds(machine.step(due + ms(90), Event::Tick, &seen));
        assert_eq!(effects, [Effect::Send(Signal::TERM)]);
    }
}

#[test]
fn late_supervisor_extends_the_deadline_again_after_a_heartbeat() {
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    assert_eq!(deeds(machine.step(at(1160), Event::Tick, &started(at(1000)))), []);
    let seen = started(at(1170));
    assert_eq!(deeds(machine.step(at(1220), Event::Tick, &seen)), []);
    assert_eq!(machine.wake_at(), Some(at(1270)));
    assert_eq!(deeds(machine.step(at(1330), Event::Tick, &seen)), []);
    assert_eq!(machine.wake_at(), Some(at(1390)));
    assert_eq!(deeds(machine.step(at(1390), Event::Tick, &seen)), [Effect::Send(Signal::TERM)]);
}

#[test]
fn killed_instance_is_not_warned_again_whatever_its_page_says() {
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    let seen = started(at(1000));
    machine.step(at(1100), Event::Tick, &seen);
    assert_eq!(deeds(machine.step(at(1200), Event::Tick, &seen)), [Effect::Send(Signal::KILL)]);
    machine.step(at(1210), Event::Tick, &view(Phase::Stopped, at(1205), at(1000)));
    for now in [1310, 1410, 1510].map(at) {
        assert_eq!(machine.step(now, Event::Tick, &seen), []);
    }
}

#[test]
fn sigcont_gives_the_instance_a_whole_interval() {
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    let seen = started(at(1000));
    assert_eq!(
        machine.step(at(1090), signal(Signal::CONT), &seen),
        [Effect::Forward(received(Signal::CONT))]
    );
    assert_eq!(machine.wake_at(), Some(at(1190)));
    assert_eq!(deeds(machine.step(at(1100), Event::Tick, &seen)), []);
    assert_eq!(deeds(machine.step(at(1190), Event::Tick, &seen)), [Effect::Send(Signal::TERM)]);
}

#[test]
fn repeated_sigcont_does_not_save_a_silent_instance() {
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    let seen = started(at(1000));
    let mut sent = vec![];
    for now in (1010..1410).map(at) {
        machine.step(now, signal(Signal::CONT), &seen);
        sent.extend(deeds(machine.step(now, Event::Tick, &seen)).into_iter().map(|deed| (in_ms(now), deed)));
    }
    // An interval of silence, put off once, and the same after the warning.
    let expected = [(1110, Effect::Send(Signal::TERM)), (1211, Effect::Send(Signal::KILL))];
    assert_eq!(sent, expected);
}

#[test]
fn instance_stopped_by_a_terminal_stops_the_supervisor_and_one_stopped_otherwise_hangs() {
    for number in [Signal::TSTP, Signal::TTIN, Signal::TTOU] {
        for stopped_by in [number, Signal::STOP] {
            let mut machine = machine(Some(INTERVAL), Recovery::Restart);
            let seen = started(at(1000));
            let stopped = Event::Stopped(stopped_by);
            assert_eq!(machine.step(at(1010), stopped, &seen), [], "nobody told the program to stop");
            machine.step(at(1011), signal(number), &seen);
            assert_eq!(machine.step(at(1012), stopped, &seen), [Effect::Suspend]);
            machine.step(at(1090), signal(Signal::CONT), &seen);
            assert_eq!(machine.step(at(1091), stopped, &seen), []);
        }
    }
}

#[test]
fn sigstop_long_after_an_ignored_stop_signal_does_not_stop_the_supervisor() {
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    let seen = started(at(1000));
    machine.step(at(1010), signal(Signal::TSTP), &seen);
    assert_eq!(machine.step(before(at(2010)), Event::Stopped(Signal::STOP), &seen), [Effect::Suspend]);
    assert_eq!(machine.step(at(2010), Event::Stopped(Signal::STOP), &seen), []);
    // The program blocked the signal all the time.
    assert_eq!(machine.step(at(9000), Event::Stopped(Signal::TSTP), &seen), [Effect::Suspend]);
}

#[test]
fn restart_beyond_the_limit_ends_the_supervisor_as_the_instance_did() {
    let limit = RestartLimit { restarts: 2, window: ms(1000) };
    let settings = Settings { restart_limit: Some(limit), ..Settings::default() };
    let mut machine = machine_with(Some(INTERVAL), Recovery::Restart, settings);
    for (now, id) in [(at(1100), 2), (at(1500), 3), (at(2100), 4)] {
        assert_eq!(deeds(machine.step(now, Event::Died(SEGV), &started(now))), launch(id));
        machine.step(now, Event::Launched { pid: PID }, &View::NO_INSTANCE);
    }
    let lost =
        log(4, Some(PID), Kind::Lost { status: EXITED, reason: None, planned: false, restarts: false });
    assert_eq!(
        machine.step(at(2499), Event::Died(EXITED), &started(at(2200))),
        [lost, log(4, None, Kind::LimitReached { limit }), Effect::Finish(EXITED)]
    );
}

#[test]
fn end_that_is_final_does_not_count_for_the_restart_limit() {
    let limit = RestartLimit { restarts: 1, window: ms(1000) };
    let settings = Settings { restart_limit: Some(limit), ..Settings::default() };
    let mut machine = machine_with(Some(INTERVAL), Recovery::Restart, settings);
    machine.step(at(1100), Event::Died(SEGV), &started(at(1050)));
    machine.step(at(1100), Event::Launched { pid: PID }, &View::NO_INSTANCE);
    let stopped = view(Phase::Stopped, at(1150), at(1140));
    let effects = machine.step(at(1200), Event::Died(EXITED), &stopped);
    let lost =
        log(2, Some(PID), Kind::Lost { status: EXITED, reason: None, planned: false, restarts: false });
    assert_eq!(effects, [lost, Effect::Finish(EXITED)]);
}

#[test]
fn delayed_restart_waits_and_termination_signal_cancels_it() {
    let delay = RestartDelay { first: ms(50), last: ms(80) };
    let settings = Settings { restart_delay: Some(delay), ..Settings::default() };
    let mut machine = machine_with(Some(INTERVAL), Recovery::Restart, settings);
    let mut now = at(1010);
    for (id, pause) in [(2, 50), (3, 80), (4, 80)] {
        let effects = machine.step(now, Event::Died(SEGV), &started(now));
        let delayed = log(id, None, Kind::Delayed { pause: ms(pause) });
        assert_eq!(effects[1..], [delayed]);
        assert_eq!(machine.wake_at(), Some(now + ms(pause)));
        assert_eq!(machine.step(before(now + ms(pause)), Event::Tick, &View::NO_INSTANCE), [], "too early");

        let mut ended = machine.clone();
        let status = ExitStatus::Killed { signal: Signal::TERM, core: false };
        assert_eq!(
            ended.step(now + ms(1), signal(Signal::TERM), &View::NO_INSTANCE),
            [stopping_without_instance(id), Effect::Finish(status)]
        );

        now = now + ms(pause);
        assert_eq!(machine.step(now, Event::Tick, &View::NO_INSTANCE), launch(id));
        machine.step(now, Event::Launched { pid: PID }, &View::NO_INSTANCE);
        now = now + ms(10);
    }
    // 790 ms in all, not quite ten times the pause; then it is.
    let effects = machine.step(now + ms(780), Event::Died(SEGV), &started(now));
    assert_eq!(effects[1..], [log(5, None, Kind::Delayed { pause: ms(80) })]);
    now = now + ms(860);
    machine.step(now, Event::Tick, &View::NO_INSTANCE);
    machine.step(now, Event::Launched { pid: PID }, &View::NO_INSTANCE);
    let effects = machine.step(now + ms(800), Event::Died(SEGV), &started(now));
    assert_eq!(effects[1..], [log(6, None, Kind::Delayed { pause: ms(50) })]);
}

/// Returns the state machine of a supervisor with SAM_HANG_SIGNAL=ABRT and a timeout of 700 ms. Instance 1 was silent
/// since 1000 ms, and was sent SIGABRT at 1200 ms.
fn machine_after_hang_signal() -> Machine {
    let hang_signal = Some(HangSignal { signal: Signal::ABRT, timeout: ms(700) });
    let mut machine =
        machine_with(Some(INTERVAL), Recovery::Restart, Settings { hang_signal, ..Settings::default() });
    let seen = started(at(1000));
    assert_eq!(deeds(machine.step(at(1100), Event::Tick, &seen)), [Effect::Send(Signal::TERM)]);
    let silent = ms(200);
    let told = log(1, Some(PID), Kind::Killed { silent, signal: Signal::ABRT, grace: Some(ms(700)) });
    let effects = machine.step(at(1200), Event::Tick, &seen);
    assert_eq!(effects, [told, Effect::Send(Signal::ABRT)]);
    assert_eq!(machine.wake_at(), Some(at(1900)));
    machine
}

#[test]
fn hung_instance_that_survives_the_hang_signal_gets_sigkill() {
    // Nothing that it does now saves it, and the look at it comes before the kill.
    for (ms, seen) in [
        (1250, started(at(1000))),
        (1300, started(at(1299))),
        (1400, view(Phase::Stopped, at(1399), at(1299))),
        (1500, view(Phase::Finalized, at(1499), at(1299))),
    ] {
        for dumping in [false, true] {
            let mut machine = machine_after_hang_signal();
            assert_eq!(machine.step(at(ms), Event::Tick, &seen), []);
            assert_eq!(machine.wake_at(), Some(at(1900)));
            assert_eq!(machine.step(at(1900), Event::Tick, &seen), [Effect::Inspect]);
            let found = Inspection { traced: false, dumping };
            let (hang_signal, after) = (Signal::ABRT, Duration::from_millis(700));
            let told = log(1, Some(PID), Kind::KilledAfterHangSignal { hang_signal, after, dumping });
            let effects = machine.step(at(1900), Event::Inspected(found), &seen);
            assert_eq!(effects, [told, Effect::Send(Signal::KILL)]);
            assert_eq!(machine.wake_at(), None);
            assert_eq!(machine.step(at(2500), Event::Tick, &seen), []);
        }
    }
}

#[test]
fn debugger_of_an_instance_after_the_hang_signal_puts_sigkill_off() {
    let mut machine = machine_after_hang_signal();
    machine.rules.settings.debug_hold = true;
    let seen = started(at(1000));
    let told = log(1, Some(PID), Kind::Traced { traced: true });
    assert_eq!(look(&mut machine, at(1300), true, &seen), [told]);
    assert_eq!(look(&mut machine, at(1900), true, &seen), []);
    let told = log(1, Some(PID), Kind::Traced { traced: false });
    assert_eq!(look(&mut machine, at(2000), false, &seen), [told]);
    assert_eq!(deeds(look(&mut machine, at(2599), false, &seen)), []);
    assert_eq!(deeds(look(&mut machine, at(2700), false, &seen)), [Effect::Send(Signal::KILL)]);
}

#[test]
fn instance_that_the_hang_signal_ended_was_lost_for_silence() {
    let status = ExitStatus::Killed { signal: Signal::ABRT, core: true };
    let effects = machine_after_hang_signal().step(at(1800), Event::Died(status), &started(at(1000)));
    let lost = log(
        1,
        Some(PID),
        Kind::Lost { status, reason: Some(Reason::Silent), planned: false, restarts: true },
    );
    assert_eq!(effects, [lost, launch(2).remove(0)]);
}

#[test]
fn phase_entered_after_the_decision_to_end_the_instance_does_not_count() {
    let mut killed = machine(Some(INTERVAL), Recovery::Restart);
    let silent = started(at(1000));
    killed.step(at(1100), Event::Tick, &silent);
    killed.step(at(1200), Event::Tick, &silent);
    for machine in [machine_after_hang_signal(), killed] {
        for phase in [Phase::Stopped, Phase::Finalized, Phase::Waiting, Phase::Registered] {
            let after = view(phase, at(1201), at(1000));
            let effects = deeds(machine.clone().step(at(1300), Event::Died(EXITED), &after));
            assert_eq!(effects, launch(2), "{phase:?}");
            // Said before that, and not seen in time.
            let before = view(phase, at(1200), at(1000));
            let effects = deeds(machine.clone().step(at(1300), Event::Died(EXITED), &before));
            assert_eq!(effects, [Effect::Finish(EXITED)], "{phase:?}");
        }
        // To give up is no way to call the recovery off.
        let marked_failed = View { marked_failed: true, ..started(at(1000)) };
        let effects = deeds(machine.clone().step(at(1300), Event::Died(EXITED), &marked_failed));
        assert_eq!(effects, [Effect::Finish(EXITED)]);
    }
}

#[test]
fn kill_without_hang_signal_needs_no_inspection() {
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    let seen = started(at(1000));
    machine.step(at(1100), Event::Tick, &seen);
    assert_eq!(deeds(machine.step(at(1200), Event::Tick, &seen)), [Effect::Send(Signal::KILL)]);
}

/// Returns the state machine of a supervisor with SAM_DEBUG_HOLD=1, which does not warn or kill an instance for silence
/// while a debugger traces it.
fn machine_that_holds() -> Machine {
    machine_with(Some(INTERVAL), Recovery::Restart, Settings { debug_hold: true, ..Settings::default() })
}

/// Sends the state machine a tick at `now`, and then the inspection that it asks for, in which `traced` says whether a
/// debugger traces the instance. Returns the effects.
fn look(machine: &mut Machine, now: MonotonicTime, traced: bool, seen: &View) -> Vec<Effect> {
    assert_eq!(machine.step(now, Event::Tick, seen), [Effect::Inspect]);
    machine.step(now, Event::Inspected(Inspection { traced, dumping: false }), seen)
}

/// Sends the state machine each tick that it asks for until `end` ms, with an inspection as in `look`. Returns the
/// effects, each with its time in ms, but without the log lines for warnings and kills.
fn look_until(machine: &mut Machine, end: u64, traced: bool, seen: &View) -> Vec<(u64, Effect)> {
    let mut done = vec![];
    while let Some(now) = machine.wake_at().filter(|&wake| wake <= at(end)) {
        done.extend(look(machine, now, traced, seen).into_iter().map(|effect| (in_ms(now), effect)));
    }
    done.retain(|(_, effect)| {
        !matches!(effect, Effect::Log(LogEvent { kind: Kind::Warned { .. } | Kind::Killed { .. }, .. }))
    });
    done
}

fn told(traced: bool) -> Effect {
    log(1, Some(PID), Kind::Traced { traced })
}

#[test]
fn silence_of_traced_instance_begins_when_the_debugger_detaches() {
    let mut machine = machine_that_holds();
    let seen = started(at(1000));
    look(&mut machine, at(1000), false, &seen);
    assert_eq!(look_until(&mut machine, 3000, true, &seen), [(1025, told(true))]);
    assert_eq!(
        look_until(&mut machine, 4000, false, &seen),
        [(3025, told(false)), (3100, Effect::Send(Signal::TERM)), (3200, Effect::Send(Signal::KILL))]
    );
}

#[test]
fn debugger_that_attaches_after_the_warning_cancels_the_kill() {
    let mut machine = machine_that_holds();
    let seen = started(at(1000));
    look(&mut machine, at(1000), false, &seen);
    assert_eq!(look_until(&mut machine, 1190, false, &seen), [(1100, Effect::Send(Signal::TERM))]);
    assert_eq!(look_until(&mut machine, 1210, true, &seen), [(1200, told(true))]);
    assert_eq!(
        look_until(&mut machine, 1310, false, &seen),
        [(1225, told(false)), (1300, Effect::Send(Signal::TERM))],
        "from the beginning"
    );
}

#[test]
fn without_debug_hold_or_interval_instance_is_not_inspected() {
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    let seen = started(at(1000));
    let traced = Event::Inspected(Inspection { traced: true, dumping: false });
    assert_eq!(machine.step(at(1050), traced, &seen), []);
    assert_eq!(deeds(machine.step(at(1100), Event::Tick, &seen)), [Effect::Send(Signal::TERM)]);

    let settings = Settings { debug_hold: true, ..Settings::default() };
    let mut machine = machine_with(None, Recovery::Restart, settings);
    assert_eq!(machine.step(at(1050), Event::Tick, &seen), [], "nothing to hold");
    assert_eq!(machine.wake_at(), None);
}

#[test]
fn orphans_are_killed_before_the_next_launch_and_before_the_end() {
    let settings = Settings { kill_group: true, ..Settings::default() };
    for (phase, next) in [
        (Phase::Started, Effect::Launch { id: 2, warn_signal: Some(Signal::TERM) }),
        (Phase::Stopped, Effect::Finish(EXITED)),
        (Phase::Finalized, Effect::Finish(EXITED)),
    ] {
        let mut machine = machine_with(Some(INTERVAL), Recovery::Restart, settings);
        let effects = machine.step(at(1050), Event::Died(EXITED), &view(phase, at(1001), at(1001)));
        assert_eq!(deeds(effects), [Effect::KillGroup(1), next]);
    }
}

#[test]
fn without_an_interval_the_machine_never_wakes() {
    let mut machine = machine(None, Recovery::Restart);
    assert_eq!(machine.wake_at(), None);
    assert_eq!(machine.step(MonotonicTime::from_ns(1 << 60), Event::Tick, &started(at(1000))), []);
    assert_eq!(machine.wake_at(), None);
}

/// Returns the state machine of a supervisor with SAM_STANDBY=1, which forks each next instance in advance. The machine
/// was told that instance 1 was made at 1000 ms. Also returns the effects of that.
fn machine_with_spare(recovery: Recovery) -> (Machine, Vec<Effect>) {
    let settings = Settings { standby: true, ..Settings::default() };
    let mut machine = Machine::new(
        Rules { interval: Some(INTERVAL), recovery, quorum: false, cmap: false, settings },
        Some(Signal::TERM),
    );
    let effects = machine.step(at(1000), Event::Launched { pid: PID }, &View::NO_INSTANCE);
    (machine, effects)
}

#[test]
fn launch_is_followed_by_a_spare_if_a_restart_is_possible() {
    let (mut machine, effects) = machine_with_spare(Recovery::Restart);
    assert_eq!(effects, [Effect::MakeSpare]);
    machine.step(at(1000), Event::SpareMade, &View::NO_INSTANCE);
    assert_eq!(deeds(machine.step(at(1050), Event::Died(SEGV), &started(at(1001)))), launch(2));
    assert_eq!(
        deeds(machine.step(at(1050), Event::Launched { pid: PID }, &View::NO_INSTANCE)),
        [Effect::MakeSpare]
    );

    let (_, effects) = machine_with_spare(Recovery::Quit);
    assert_eq!(effects, [], "nothing to restart");
}

#[test]
fn spare_that_is_due_between_two_instances_does_not_wake_the_machine() {
    let (mut machine, _) = machine_with_spare(Recovery::Restart);
    machine.step(at(1000), Event::SpareLost, &View::NO_INSTANCE);
    let lost = at(1005);
    assert_eq!(deeds(machine.step(lost, Event::Died(SEGV), &started(at(1001)))), launch(2));
    machine.step(lost, Event::LaunchFailed(Errno::EAGAIN), &View::NO_INSTANCE);
    assert_eq!(machine.wake_at(), Some(lost + ms(10)));
    assert_eq!(machine.step(lost + ms(10), Event::Tick, &View::NO_INSTANCE), launch(2));
    machine.step(lost + ms(10), Event::LaunchFailed(Errno::EAGAIN), &View::NO_INSTANCE);
    assert_eq!(machine.wake_at(), Some(lost + ms(30)), "the spare was due long ago");
}

#[test]
fn lost_spare_is_replaced_with_growing_pauses() {
    let (mut machine, _) = machine_with_spare(Recovery::Restart);
    let mut now = at(1000);
    let seen = View::NO_INSTANCE;
    for pause in [10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
        assert_eq!(machine.step(now, Event::SpareLost, &seen), []);
        assert!(machine.wake_at() <= Some(now + ms(pause)));
        assert_eq!(machine.step(before(now + ms(pause)), Event::Tick, &seen), []);
        now = now + ms(pause);
        assert_eq!(machine.step(now, Event::Tick, &seen), [Effect::MakeSpare]);
    }
    machine.step(now, Event::SpareMade, &seen);
    machine.step(now, Event::SpareLost, &seen);
    assert_eq!(machine.step(now + ms(10), Event::Tick, &seen), [Effect::MakeSpare]);
}

#[test]
fn without_an_instance_no_spare_is_made() {
    let (mut machine, _) = machine_with_spare(Recovery::Restart);
    machine.step(at(1010), Event::Died(SEGV), &started(at(1001)));
    machine.step(at(1010), Event::LaunchFailed(Errno::EAGAIN), &View::NO_INSTANCE);
    assert_eq!(machine.step(at(1011), Event::SpareLost, &View::NO_INSTANCE), []);
    let effects = deeds(machine.step(at(2000), Event::Tick, &View::NO_INSTANCE));
    assert_eq!(effects, launch(2));
    assert_eq!(
        deeds(machine.step(at(2000), Event::Launched { pid: PID }, &View::NO_INSTANCE)),
        [Effect::MakeSpare]
    );
}

#[test]
fn spare_that_ends_before_it_takes_over_leaves_its_id_to_the_next() {
    let (mut machine, _) = machine_with_spare(Recovery::Restart);
    machine.step(at(1010), Event::Died(SEGV), &started(at(1001)));
    machine.step(at(1010), Event::Launched { pid: PID }, &View::NO_INSTANCE);
    assert_eq!(deeds(machine.step(at(1011), Event::SpareDied(SEGV), &View::NO_INSTANCE)), []);
    assert_eq!(
        deeds(machine.step(at(1021), Event::Tick, &View::NO_INSTANCE)),
        launch(2),
        "the same number again"
    );
}

#[test]
fn spare_lost_during_a_restart_delay_does_not_wake_the_machine() {
    let delay = RestartDelay { first: ms(1000), last: ms(1000) };
    let settings = Settings { restart_delay: Some(delay), standby: true, ..Settings::default() };
    let mut machine = machine_with(Some(INTERVAL), Recovery::Restart, settings);
    machine.step(at(1010), Event::Died(SEGV), &started(at(1001)));
    machine.step(at(1020), Event::SpareLost, &View::NO_INSTANCE);
    assert_eq!(machine.wake_at(), Some(at(2010)));
}

/// Returns the machine of an instance that was warned at 1.1 s, after a fork that took this time, with the effects of the
/// warning that are about spares.
fn warned_after_fork(took: Duration, recovery: Recovery) -> (Machine, Vec<Effect>) {
    let mut machine = machine(Some(INTERVAL), recovery);
    machine.note_fork(took);
    machine.step(at(1000), Event::Launched { pid: PID }, &View::NO_INSTANCE);
    assert_eq!(machine.step(at(1050), Event::Tick, &started(at(1000))), [], "a healthy instance");
    let mut effects = machine.step(at(1100), Event::Tick, &started(at(1000)));
    effects.retain(|effect| matches!(effect, Effect::MakeSpare | Effect::DropSpare));
    (machine, effects)
}

#[test]
fn warned_instance_gets_a_spare_if_a_fork_takes_long_and_fits_into_the_interval() {
    for (took, recovery, expected) in [
        (ms(1), Recovery::Restart, vec![]),
        (ms(2), Recovery::Restart, vec![Effect::MakeSpare]),
        (INTERVAL / 4, Recovery::Restart, vec![Effect::MakeSpare]),
        (INTERVAL / 4 + ms(1), Recovery::Restart, vec![]),
        (ms(2), Recovery::Quit, vec![]),
    ] {
        let (machine, effects) = warned_after_fork(took, recovery);
        assert_eq!(effects, expected, "{took:?}");
        assert_eq!(machine.wake_at(), Some(at(1200)), "the kill is next");
    }
}

#[test]
fn spare_of_a_warned_instance_is_dropped_when_it_recovers_and_released_when_it_is_killed() {
    let (mut machine, _) = warned_after_fork(ms(5), Recovery::Restart);
    machine.step(at(1105), Event::SpareMade, &started(at(1000)));
    let effects = machine.step(at(1150), Event::Tick, &started(at(1149)));
    assert!(effects.contains(&Effect::DropSpare), "{effects:?}");
    assert_eq!(machine.wake_at(), Some(at(1249)), "no spare is due");

    let effects = machine.step(at(1249), Event::Tick, &started(at(1149)));
    assert!(effects.contains(&Effect::MakeSpare), "{effects:?}");
    machine.step(at(1254), Event::SpareMade, &started(at(1149)));
    let effects = machine.step(at(1349), Event::Tick, &started(at(1149)));
    assert!(effects.contains(&Effect::Send(Signal::KILL)), "{effects:?}");
    assert!(!effects.contains(&Effect::DropSpare), "{effects:?}");
    assert_eq!(deeds(machine.step(at(1350), Event::Died(SEGV), &started(at(1149)))), launch(2));
    let effects = machine.step(at(1350), Event::Launched { pid: PID }, &View::NO_INSTANCE);
    assert_eq!(deeds(effects), [], "no spare is made for a healthy instance");
}

#[test]
fn spare_of_a_warned_instance_that_is_lost_is_replaced_while_the_warning_stands() {
    let (mut machine, _) = warned_after_fork(ms(5), Recovery::Restart);
    assert_eq!(machine.step(at(1110), Event::SpareLost, &started(at(1000))), []);
    assert_eq!(machine.wake_at(), Some(at(1120)));
    assert_eq!(machine.step(at(1120), Event::Tick, &started(at(1000))), [Effect::MakeSpare]);
    machine.step(at(1121), Event::SpareLost, &started(at(1000)));
    machine.step(at(1122), Event::Tick, &started(at(1122)));
    assert_eq!(machine.wake_at(), Some(at(1222)), "the instance has recovered");
}

#[test]
fn instance_that_pretends_to_be_a_spare_evades_neither_end_nor_limit() {
    let (mut machine, _) = machine_with_spare(Recovery::Restart);
    machine.step(at(1001), signal(Signal::TERM), &View::NO_INSTANCE);
    assert_eq!(machine.step(at(1002), Event::SpareDied(SEGV), &View::NO_INSTANCE), [Effect::Finish(SEGV)]);

    let limit = RestartLimit { restarts: 2, window: ms(1000) };
    let settings = Settings { restart_limit: Some(limit), standby: true, ..Settings::default() };
    let mut machine = machine_with(Some(INTERVAL), Recovery::Restart, settings);
    for now in [at(1100), at(1200)] {
        assert_eq!(deeds(machine.step(now, Event::SpareDied(SEGV), &View::NO_INSTANCE)), []);
        machine.step(now + ms(50), Event::Tick, &View::NO_INSTANCE);
        machine.step(now + ms(50), Event::Launched { pid: PID }, &View::NO_INSTANCE);
    }
    let marked_failed = [log(1, None, Kind::LimitReached { limit }), Effect::Finish(EXITED)];
    assert_eq!(machine.step(at(1300), Event::SpareDied(EXITED), &View::NO_INSTANCE), marked_failed);
}

#[test]
fn spare_that_ends_before_it_takes_over_is_shown_as_stopped() {
    let (mut machine, _) = machine_with_spare(Recovery::Restart);
    machine.rules.cmap = true;
    machine.cmap = CmapRequests::new(Some(INTERVAL));
    let shows = |effects: Vec<Effect>, state| {
        effects.iter().any(|effect| matches!(effect, Effect::Publish(record) if record.state == state))
    };
    assert!(shows(machine.step(at(1050), Event::Tick, &started(at(1040))), CmapState::Running));
    let seen = started(at(1040));
    assert!(shows(machine.step(at(1060), Event::SpareDied(SEGV), &seen), CmapState::Stopped));
    assert_eq!(machine.wake_at(), Some(at(1070)), "nothing is published meanwhile");
}

/// An action of the simulated instance in one millisecond of a random test, in which the state machine is compared with
/// [`Model`].
#[derive(Debug, Clone, Copy)]
enum Act {
    Nothing,
    Heartbeat,
    Start,
    Stop,
    Unhealthy,
    Die,
    /// The instance exits with 0, and goes on in a process that it has forked.
    GoOn,
    Finalize,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        60 => Just(Act::Nothing),
        6 => Just(Act::Heartbeat),
        2 => Just(Act::Start),
        1 => Just(Act::Stop),
        1 => Just(Act::Unhealthy),
        1 => Just(Act::Die),
        1 => Just(Act::GoOn),
    ];
    let life = proptest::collection::vec(act, 1..400);
    (life, prop::bool::weighted(0.1)).prop_map(|(mut life, finalize)| {
        if finalize {
            life.push(Act::Finalize);
        }
        life
    })
}

/// A simple second implementation of the decisions about heartbeats, ends and restarts. It checks the instance every
/// millisecond. A random test compares the state machine with it.
struct Model {
    interval: Option<Duration>,
    recovery: Recovery,
    phase: Phase,
    last_activity: MonotonicTime,
    warned: Option<MonotonicTime>,
    killed: bool,
    id: u32,
    finished: bool,
}

impl Model {
    fn act(&mut self, now: MonotonicTime, act: Act) -> Vec<Effect> {
        match act {
            Act::Heartbeat if self.phase == Phase::Started => self.note_activity(now),
            Act::Start if matches!(self.phase, Phase::Registered | Phase::Stopped) => {
                self.phase = Phase::Started;
                self.note_activity(now);
            }
            Act::Stop if self.phase == Phase::Started => {
                self.phase = Phase::Stopped;
                self.warned = None;
            }
            Act::Unhealthy if self.phase == Phase::Started && self.interval.is_some() => {
                self.warned = self.warned.or(Some(now));
            }
            Act::Finalize => {
                self.phase = Phase::Finalized;
                self.warned = None;
            }
            Act::Die => return self.die(now, SEGV),
            Act::GoOn => {
                let is_end = matches!(self.phase, Phase::Stopped | Phase::Finalized);
                if is_end || self.warned.is_some() || self.killed {
                    return self.die(now, ExitStatus::Exited(0));
                }
            }
            _ => {}
        }
        vec![]
    }

    fn note_activity(&mut self, now: MonotonicTime) {
        self.last_activity = now;
        self.warned = None;
    }

    fn die(&mut self, now: MonotonicTime, status: ExitStatus) -> Vec<Effect> {
        // Stop and finalize after the kill do not count.
        if self.recovery == Recovery::Quit || self.phase != Phase::Started && !self.killed {
            self.finished = true;
            return vec![Effect::Finish(status)];
        }
        self.id += 1;
        (self.phase, self.last_activity, self.warned, self.killed) = (Phase::Registered, now, None, false);
        launch(self.id)
    }

    fn evaluate(&mut self, now: MonotonicTime) -> Vec<Effect> {
        let Some(interval) = self.interval.filter(|_| self.phase == Phase::Started && !self.killed) else {
            return vec![];
        };
        match self.warned {
            None if now >= self.last_activity + interval => {
                self.warned = Some(now);
                vec![Effect::Send(Signal::TERM)]
            }
            Some(at) if now >= at + interval => {
                self.killed = true;
                vec![Effect::Send(Signal::KILL)]
            }
            _ => vec![],
        }
    }
}

/// Changes `seen`, the contents of the control page of a simulated instance, as the instance does by the action `act`
/// at `now`.
fn write(seen: &mut View, now: MonotonicTime, act: Act) {
    match act {
        Act::Heartbeat if seen.phase == Phase::Started => seen.heartbeat = Some(now),
        Act::Start if matches!(seen.phase, Phase::Registered | Phase::Stopped) => {
            *seen = View { phase: Phase::Started, since: now, heartbeat: Some(now), ..*seen };
        }
        Act::Stop if seen.phase == Phase::Started => (seen.phase, seen.since) = (Phase::Stopped, now),
        // A callback that has objected is not asked again before the next start.
        Act::Unhealthy if seen.phase == Phase::Started && seen.unhealthy < seen.heartbeat => {
            seen.unhealthy = Some(now)
        }
        Act::Finalize => (seen.phase, seen.since) = (Phase::Finalized, now),
        _ => {}
    }
}

proptest! {
    /// The state machine, which gets ticks only when it has asked for them by `wake_at`, does the same as [`Model`],
    /// which checks the instance every millisecond.
    #[test]
    fn machine_that_sleeps_until_wake_at_does_what_the_model_does(
        life in acts(),
        interval in prop_oneof![Just(0), 1..60_u64],
        restart in any::<bool>(),
    ) {
        let recovery = if restart { Recovery::Restart } else { Recovery::Quit };
        let interval = (interval != 0).then_some(ms(interval));
        let mut machine = machine(interval, recovery);
        let born = at(1000);
        let mut seen = View::NO_INSTANCE;
        let mut model = Model {
            interval, recovery, phase: Phase::Registered, last_activity: born, warned: None, killed: false, id: 1, finished: false,
        };
        for (passed, &act) in (1..).zip(&life) {
            let now = born + ms(passed);
            let mut expected = model.act(now, act);
            let mut done = vec![];
            write(&mut seen, now, act);
            if matches!(act, Act::Die | Act::GoOn) {
                let event = if matches!(act, Act::Die) { Event::Died(SEGV) } else { Event::MayHaveDaemonized };
                done = deeds(machine.step(now, event, &seen));
                if done == [Effect::FindDaemon] {
                    done = deeds(machine.step(now, Event::DaemonSearched(Candidates::Caller(PID)), &seen));
                    prop_assert_eq!(done, [Effect::Adopt(PID)]);
                    done = deeds(machine.step(now, Event::Adopted { pid: PID }, &seen));
                    // As after each event that the kernel tells of.
                    done.extend(deeds(machine.step(now, Event::Tick, &seen)));
                }
                if matches!(done[..], [Effect::Launch { .. }]) {
                    seen = View::NO_INSTANCE;
                    machine.step(now, Event::Launched { pid: PID }, &seen);
                }
            }
            if model.finished {
                prop_assert_eq!(done, expected);
                prop_assert_eq!(machine.wake_at(), None);
                break;
            }
            expected.extend(model.evaluate(now));
            if machine.wake_at().is_some_and(|at| at <= now) {
                done.extend(deeds(machine.step(now, Event::Tick, &seen)));
            }
            prop_assert_eq!(done, expected, "at {} ms", passed);
            if let Some(at) = machine.wake_at() {
                prop_assert!(now < at && Some(at) <= interval.map(|interval| now + interval), "sleeps until {:?}", at);
            }
        }
    }

    /// For random contents of the control page, the state machine does nothing but send the instance signals. It asks
    /// for a tick within an interval, until the instance was sent SIGKILL.
    #[test]
    fn random_page_leads_to_signals_only_and_no_long_sleep(
        words in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u64>(), any::<i32>(), 0..4_u8), 1..60),
        steps in proptest::collection::vec(1..120_u64, 60),
    ) {
        let mut machine = machine(Some(INTERVAL), Recovery::Restart);
        let mut now = at(1000);
        for ((since, heartbeat, unhealthy, warn_signal, phase), step) in words.into_iter().zip(steps) {
            now = now + ms(step);
            let phase = [Phase::Registered, Phase::Started, Phase::Stopped, Phase::Finalized][usize::from(phase)];
            let seen = hostile(phase, since, [heartbeat, unhealthy], warn_signal);
            for effect in deeds(machine.step(now, Event::Tick, &seen)) {
                prop_assert!(matches!(effect, Effect::Send(_)), "{:?}", effect);
            }
            match machine.wake_at() {
                Some(at) => prop_assert!(at > now && at <= now + INTERVAL),
                None => {
                    let State::Watching(watch) = machine.state else { panic!("{:?}", machine.state) };
                    prop_assert_eq!(watch.health, Health::Killed { retry_at: None });
                    break;
                }
            }
        }
    }
}

/// Returns the state machine of a supervisor whose instance 1 exited with 0 at 1050 ms and left processes. The machine
/// has just asked for the search for one that goes on in the place of the instance. `seen` is on the control page of
/// instance 1.
fn machine_that_searches(interval: Option<Duration>, seen: &View) -> Machine {
    let mut machine = machine(interval, Recovery::Restart);
    assert_eq!(machine.step(at(1050), Event::MayHaveDaemonized, seen), [Effect::FindDaemon]);
    assert!(machine.searches_daemon());
    machine
}

#[test]
fn process_that_called_after_an_exit_0_becomes_the_instance() {
    for (interval, phase) in [
        (Some(INTERVAL), Phase::Registered),
        (Some(INTERVAL), Phase::Waiting),
        (Some(INTERVAL), Phase::Started),
        (None, Phase::Started),
    ] {
        let seen = view(phase, at(1001), at(1001));
        let mut machine = machine_that_searches(interval, &seen);
        assert_eq!(
            machine.step(at(1051), Event::DaemonSearched(Candidates::Caller(DAEMON)), &seen),
            [Effect::Adopt(DAEMON)],
            "{phase:?}"
        );
        let told = log(1, Some(DAEMON), Kind::Adopted { before: PID });
        assert_eq!(machine.step(at(1051), Event::Adopted { pid: DAEMON }, &seen), [told]);
        assert!(!machine.searches_daemon());
        assert_eq!(machine.wake_at(), interval.map(|interval| at(1051) + interval));
        // It is restarted as any other, and may go on in a further process.
        assert_eq!(machine.clone().step(at(1060), Event::MayHaveDaemonized, &seen), [Effect::FindDaemon]);
        let effects = deeds(machine.step(at(1060), Event::Died(SEGV), &started(at(1055))));
        assert_eq!(effects, launch(2));
    }
}

#[test]
fn process_that_takes_the_place_of_the_instance_inherits_no_warning_and_no_debugger() {
    let seen = started(at(1001));
    let mut machine = machine_that_searches(Some(INTERVAL), &seen);
    let State::AwaitingDaemon { watch, .. } = &mut machine.state else { panic!("{:?}", machine.state) };
    watch.traced = true;
    watch.dumping = true;
    watch.health = Health::Warned { at: at(1040), last_activity: at(1001) };
    watch.kill_retry = Some(Backoff::new(ms(10), ms(1000)));
    machine.step(at(1060), Event::Adopted { pid: DAEMON }, &seen);
    let State::Watching(watch) = machine.state else { panic!("{:?}", machine.state) };
    assert_eq!((watch.pid, watch.traced, watch.dumping), (DAEMON, false, false));
    assert_eq!((watch.health, watch.kill_retry), (Health::Healthy, None));
    assert_eq!(watch.traced_until, Some(at(1060)), "its silence begins where the debugger was last seen");
}

#[test]
fn finished_supervisor_does_nothing_more() {
    let mut machine = machine(Some(INTERVAL), Recovery::Quit);
    machine.step(at(1050), Event::Died(EXITED), &started(at(1001)));
    for event in [Event::Tick, signal(Signal::TERM), Event::Missed(received(Signal::USR1)), Event::Died(SEGV)]
    {
        assert_eq!(machine.step(at(9000), event, &View::NO_INSTANCE), [], "{event:?}");
    }
    assert_eq!(machine.wake_at(), None);
}

#[test]
fn exit_0_of_an_instance_that_was_to_end_is_final() {
    let expected = [Effect::Finish(ExitStatus::Exited(0))];
    for phase in [Phase::Stopped, Phase::Finalized] {
        let mut machine = machine(Some(INTERVAL), Recovery::Restart);
        let effects = deeds(machine.step(at(1050), Event::MayHaveDaemonized, &view(phase, at(1001), at(0))));
        assert_eq!(effects, expected, "{phase:?}");
    }
    let mut marked_failed = machine(Some(INTERVAL), Recovery::Restart);
    let seen = View { marked_failed: true, ..started(at(1001)) };
    assert_eq!(deeds(marked_failed.step(at(1050), Event::MayHaveDaemonized, &seen)), expected);

    let mut told = machine(Some(INTERVAL), Recovery::Restart);
    told.step(at(1040), signal(Signal::TERM), &started(at(1001)));
    assert_eq!(deeds(told.step(at(1140), Event::MayHaveDaemonized, &started(at(1120)))), expected);

    let mut warned = machine(Some(INTERVAL), Recovery::Restart);
    warned.step(at(1100), Event::Tick, &started(at(1000)));
    assert_eq!(deeds(warned.step(at(1110), Event::MayHaveDaemonized, &started(at(1000)))), launch(2));
}

#[test]
fn only_candidate_is_adopted_if_no_heartbeat_is_due() {
    for (interval, seen) in
        [(None, started(at(1001))), (Some(INTERVAL), view(Phase::Registered, at(0), at(0)))]
    {
        let mut machine = machine_that_searches(interval, &seen);
        assert_eq!(deeds(machine.step(at(1050), Event::DaemonSearched(Candidates::Only(DAEMON)), &seen)), []);
        assert_eq!(machine.wake_at(), Some(at(1060)));
        assert_eq!(machine.step(at(1060), Event::Tick, &seen), [Effect::FindDaemon]);
        assert_eq!(deeds(machine.step(at(1060), Event::DaemonSearched(Candidates::Several), &seen)), []);
        let effects = machine.step(at(1150), Event::DaemonSearched(Candidates::Only(DAEMON)), &seen);
        assert_eq!(effects, [Effect::Adopt(DAEMON)], "it has executed no other program meanwhile");
    }
}

#[test]
fn search_without_a_heartbeat_for_an_interval_ends_with_a_restart() {
    for found in [
        Candidates::Only(DAEMON),
        Candidates::Several,
        Candidates::OutOfReach(None),
        Candidates::OutOfReach(Some(DAEMON)),
    ] {
        let seen = started(at(1040));
        let mut machine = machine_that_searches(Some(INTERVAL), &seen);
        let mut now = at(1050);
        loop {
            let effects = deeds(machine.step(now, Event::DaemonSearched(found), &seen));
            if !effects.is_empty() {
                assert_eq!((effects, now), (launch(2), at(1150)), "{found:?}");
                break;
            }
            now = machine.wake_at().unwrap();
            assert_eq!(machine.step(now, Event::Tick, &seen), [Effect::FindDaemon]);
        }
    }
    let seen = started(at(1040));
    let mut machine = machine_that_searches(Some(INTERVAL), &seen);
    assert_eq!(deeds(machine.step(at(1051), Event::DaemonSearched(Candidates::None), &seen)), launch(2));
}

#[test]
fn process_that_cannot_be_supervised_ends_the_supervisor() {
    let last_activity = started(at(1060));
    for (interval, seen, end) in [
        (Some(INTERVAL), last_activity, 1150),
        (None, started(at(1001)), 2050),
        (Some(INTERVAL), view(Phase::Registered, at(0), at(0)), 2050),
    ] {
        let mut machine = machine_that_searches(interval, &seen);
        let found = Event::DaemonSearched(Candidates::OutOfReach(Some(DAEMON)));
        assert_eq!(deeds(machine.step(at(1051), found, &seen)), []);
        let told = log(1, Some(DAEMON), Kind::OutOfReach);
        let effects = machine.step(at(end), found, &seen);
        assert_eq!(effects, [told, Effect::Finish(ExitStatus::Exited(0))]);
    }
}

#[test]
fn termination_signal_during_a_search_waits_for_a_second_at_most() {
    let seen = view(Phase::Registered, at(0), at(0));
    let mut machine = machine_that_searches(Some(INTERVAL), &seen);
    assert_eq!(deeds(machine.step(at(1051), Event::DaemonSearched(Candidates::Several), &seen)), []);
    assert_eq!(machine.step(at(1052), signal(Signal::TERM), &seen), []);
    assert_eq!(deeds(machine.step(at(1053), Event::DaemonSearched(Candidates::Several), &seen)), []);
    let mut left = machine.clone();
    let effects = deeds(left.step(at(2050), Event::DaemonSearched(Candidates::Several), &seen));
    assert_eq!(effects, [Effect::Finish(ExitStatus::Exited(0))]);

    machine.step(at(1054), Event::DaemonSearched(Candidates::Caller(DAEMON)), &seen);
    let effects = machine.step(at(1054), Event::Adopted { pid: DAEMON }, &seen);
    let delivery = Delivery::Forwarded;
    let told = log(1, Some(DAEMON), Kind::ToldToEnd { signal: Signal::TERM, sender: None, delivery });
    assert_eq!(effects[1..], [passed_on(&[Signal::TERM]), vec![told]].concat());
    assert_eq!(
        deeds(machine.step(at(1060), Event::Died(EXITED), &started(at(1055)))),
        [Effect::Finish(EXITED)]
    );
}

#[test]
fn other_signals_during_a_search_wait_until_the_adopted_process_is_started() {
    let registered = view(Phase::Registered, at(0), at(0));
    let mut machine = machine_that_searches(Some(INTERVAL), &registered);
    for number in [Signal::HUP, Signal::TSTP, Signal::CONT, Signal::USR1] {
        assert_eq!(machine.step(at(1052), signal(number), &registered), []);
    }
    machine.step(at(1054), Event::DaemonSearched(Candidates::Only(DAEMON)), &registered);
    machine.step(at(1150), Event::DaemonSearched(Candidates::Only(DAEMON)), &registered);
    assert_eq!(deeds(machine.step(at(1150), Event::Adopted { pid: DAEMON }, &registered)), []);
    assert_eq!(machine.wake_at(), Some(at(1160)), "sam_start wakes nobody");
    assert_eq!(machine.step(at(1160), Event::Tick, &registered), []);
    let mut ended = machine.clone();
    let effects = deeds(machine.step(at(1180), Event::Tick, &started(at(1170))));
    assert_eq!(effects, passed_on(&[Signal::HUP, Signal::CONT, Signal::USR1]));

    let effects = ended.step(at(1170), Event::Died(EXITED), &registered);
    let expected = [Signal::HUP, Signal::CONT, Signal::USR1].map(|number| dropped(1, number));
    assert_eq!(effects[1..], [expected.to_vec(), vec![Effect::Finish(EXITED)]].concat());
}

#[test]
fn signals_that_arrived_as_the_instance_left_reach_the_process_that_goes_on() {
    let seen = started(at(1040));
    for number in [Signal::TERM, Signal::USR1] {
        let mut machine = machine(Some(INTERVAL), Recovery::Restart);
        assert_eq!(machine.step(at(1050), Event::Missed(received(number)), &seen), []);
        assert_eq!(
            machine.step(at(1050), Event::MayHaveDaemonized, &seen),
            [Effect::FindDaemon],
            "signal {number}"
        );
        let mut nobody = machine.clone();
        machine.step(at(1051), Event::DaemonSearched(Candidates::Caller(DAEMON)), &seen);
        let mut effects = deeds(machine.step(at(1051), Event::Adopted { pid: DAEMON }, &seen));
        effects.extend(deeds(machine.step(at(1052), Event::Tick, &seen)));
        assert_eq!(effects, passed_on(&[number]));

        let effects = nobody.step(at(1051), Event::DaemonSearched(Candidates::None), &seen);
        let (status, planned) = (ExitStatus::Exited(0), ends_program(number));
        let lost = log(1, Some(PID), Kind::Lost { status, reason: None, planned, restarts: !planned });
        let next = if ends_program(number) { vec![Effect::Finish(ExitStatus::Exited(0))] } else { launch(2) };
        assert_eq!(effects, [vec![lost], next].concat());
    }
}

#[test]
fn termination_signal_that_crossed_with_the_exit_of_the_instance_is_passed_on_again() {
    let seen = started(at(1040));
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    machine.step(at(1040), signal(Signal::TERM), &seen);
    assert_eq!(machine.step(at(1050), Event::MayHaveDaemonized, &seen), [Effect::FindDaemon]);
    let mut nobody = machine.clone();
    let effects = deeds(nobody.step(at(1051), Event::DaemonSearched(Candidates::None), &seen));
    assert_eq!(effects, [Effect::Finish(ExitStatus::Exited(0))]);
    machine.step(at(1300), Event::DaemonSearched(Candidates::Caller(DAEMON)), &seen);
    let effects = deeds(machine.step(at(1300), Event::Adopted { pid: DAEMON }, &seen));
    assert_eq!(effects, passed_on(&[Signal::TERM]));

    // It came from a terminal, which told all processes.
    let mut shared = self::machine(Some(INTERVAL), Recovery::Restart);
    let event = Event::Signal { received: received(Signal::INT), shared: true };
    shared.step(at(1040), event, &seen);
    let effects = deeds(shared.step(at(1050), Event::MayHaveDaemonized, &seen));
    assert_eq!(effects, [Effect::Finish(ExitStatus::Exited(0))]);
}

#[test]
fn termination_signal_that_reaches_no_process_that_may_go_on_is_logged_as_dropped() {
    for found in [Candidates::Several, Candidates::OutOfReach(None)] {
        let seen = view(Phase::Registered, at(0), at(0));
        let mut machine = machine_that_searches(Some(INTERVAL), &seen);
        machine.step(at(1051), signal(Signal::TERM), &seen);
        let effects = machine.step(at(2050), Event::DaemonSearched(found), &seen);
        assert!(effects.contains(&dropped(1, Signal::TERM)), "{effects:?}");
        assert_eq!(deeds(effects), [Effect::Finish(ExitStatus::Exited(0))]);
    }
}

#[test]
fn withheld_signals_are_not_held_for_a_process_that_was_there_when_they_were_sent() {
    let settings = Settings { withhold_signals: true, ..Settings::default() };
    let mut machine = machine_with(Some(INTERVAL), Recovery::Restart, settings);
    let seen = started(at(1001));
    machine.step(at(1050), Event::MayHaveDaemonized, &seen);
    let by_kernel = Received { by_kernel: true, ..received(Signal::HUP) };
    for received in [received(Signal::USR1), by_kernel, received(Signal::TERM)] {
        assert_eq!(machine.step(at(1051), Event::Signal { received, shared: false }, &seen), []);
    }
    machine.step(at(1052), Event::DaemonSearched(Candidates::Caller(DAEMON)), &seen);
    let mut effects = deeds(machine.step(at(1052), Event::Adopted { pid: DAEMON }, &seen));
    effects.extend(deeds(machine.step(at(1053), Event::Tick, &seen)));
    assert_eq!(effects, [Effect::Forward(received(Signal::TERM)), Effect::Forward(by_kernel)]);
}

#[test]
fn exit_0_after_the_hang_signal_is_a_loss() {
    for phase in [Phase::Registered, Phase::Waiting, Phase::Started] {
        let after = view(phase, at(1201), at(1000));
        let effects = deeds(machine_after_hang_signal().step(at(1300), Event::MayHaveDaemonized, &after));
        assert_eq!(effects, launch(2), "{phase:?}");
    }
}

#[test]
fn silent_adopted_process_is_warned_and_killed() {
    let seen = started(at(1040));
    let mut machine = machine_that_searches(Some(INTERVAL), &seen);
    machine.step(at(1051), Event::DaemonSearched(Candidates::Caller(DAEMON)), &seen);
    machine.step(at(1051), Event::Adopted { pid: DAEMON }, &seen);
    assert_eq!(deeds(machine.step(at(1151), Event::Tick, &seen)), [Effect::Send(Signal::TERM)]);
    let refused = |signal| Event::Refused { signal, errno: Errno::EPERM };
    let told = log(1, Some(DAEMON), Kind::SignalRefused { signal: Signal::TERM, errno: Errno::EPERM });
    assert_eq!(machine.step(at(1151), refused(Signal::TERM), &seen), [told]);
    let silent = ms(211);
    let told = log(1, Some(DAEMON), Kind::Killed { silent, signal: Signal::KILL, grace: None });
    let effects = machine.step(at(1251), Event::Tick, &seen);
    assert_eq!(effects, [told, Effect::Send(Signal::KILL)]);
    let stopped = view(Phase::Stopped, at(1252), at(1040));
    assert_eq!(deeds(machine.step(at(1260), Event::Died(SEGV), &stopped)), launch(2));
}

#[test]
fn launch_that_is_impossible_after_a_termination_signal_is_no_failure() {
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    machine.rules.cmap = true;
    machine.cmap = CmapRequests::new(Some(INTERVAL));
    machine.step(at(1049), Event::Tick, &started(at(1001)));
    machine.step(at(1050), Event::Died(EXITED), &started(at(1001)));
    machine.step(at(1051), signal(Signal::TERM), &View::NO_INSTANCE);
    let effects = machine.step(at(1051), Event::LaunchImpossible, &View::NO_INSTANCE);
    let shows_failed =
        |effect: &Effect| matches!(effect, Effect::Publish(record) if record.state == CmapState::Failed);
    assert!(!effects.iter().any(shows_failed), "{effects:?}");
}

#[test]
fn launch_that_is_impossible_ends_the_supervisor_as_the_last_instance_did() {
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    assert_eq!(deeds(machine.step(at(1050), Event::Died(EXITED), &started(at(1001)))), launch(2));
    let effects = machine.step(at(1051), Event::LaunchImpossible, &View::NO_INSTANCE);
    assert_eq!(effects, [log(2, None, Kind::NoMoreProcesses), Effect::Finish(EXITED)]);
}

#[test]
fn each_event_changes_id_and_activity() {
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    let seen = started(at(1000));
    assert_eq!((machine.id(), machine.activity()), (1, (Activity::Watched, None)));
    machine.step(at(1100), Event::Tick, &seen);
    assert_eq!(machine.activity(), (Activity::Warned, Some(at(1200))));
    machine.step(at(1200), Event::Tick, &seen);
    assert_eq!((machine.id(), machine.activity()), (1, (Activity::Ending, None)));
    machine.step(at(1201), Event::Died(SEGV), &seen);
    assert_eq!((machine.id(), machine.activity()), (2, (Activity::Launching, None)));
    machine.step(at(1201), Event::LaunchFailed(Errno::EAGAIN), &View::NO_INSTANCE);
    assert_eq!((machine.id(), machine.activity()), (2, (Activity::Pausing, Some(at(1211)))));
    assert_eq!(machine_after_hang_signal().activity(), (Activity::Ending, Some(at(1900))));
}

#[test]
fn traced_instance_is_shown_as_held() {
    let mut machine = machine_that_holds();
    let seen = started(at(1000));
    look(&mut machine, at(1025), true, &seen);
    assert_eq!(machine.activity(), (Activity::Held, None));
    look(&mut machine, at(1050), false, &seen);
    assert_eq!(machine.activity(), (Activity::Watched, None));

    let mut machine = machine_after_hang_signal();
    machine.rules.settings.debug_hold = true;
    let seen = started(at(1000));
    look(&mut machine, at(1300), true, &seen);
    assert_eq!(machine.activity(), (Activity::Held, None));

    // The callback returns "unhealthy" at the moment of the look.
    let mut machine = machine_that_holds();
    look(&mut machine, at(1025), true, &seen);
    let unhealthy = View { unhealthy: Some(at(1050)), ..seen };
    let effects = look(&mut machine, at(1050), true, &unhealthy);
    assert_eq!(effects, [log(1, Some(PID), Kind::Unhealthy { after: INTERVAL, then: Signal::KILL })]);
    assert_eq!(machine.activity(), (Activity::Held, None));
}

#[test]
fn log_events_have_the_length_of_silence_and_restart() {
    let mut machine = machine(Some(INTERVAL), Recovery::Restart);
    let seen = started(at(1000));
    let (signal, then) = (Some(Signal::TERM), Signal::KILL);
    let warned = log(1, Some(PID), Kind::Warned { silent: ms(103), limit: INTERVAL, signal, then });
    assert_eq!(machine.step(at(1103), Event::Tick, &seen), [warned, Effect::Send(Signal::TERM)]);
    assert_eq!(machine.step(at(1104), Event::Tick, &seen), [], "without a heartbeat it has not recovered");
    let seen = view(Phase::Started, at(1000), at(1107));
    let recovered = log(1, Some(PID), Kind::Recovered { silent: ms(107), at: at(1103) });
    assert_eq!(machine.step(at(1110), Event::Tick, &seen), [recovered]);

    machine.step(at(1120), Event::Died(SEGV), &seen);
    let effects = machine.step(at(1125), Event::Launched { pid: PID }, &View::NO_INSTANCE);
    assert_eq!(effects, [log(2, Some(PID), Kind::Restarted { took: ms(5) })]);
}
