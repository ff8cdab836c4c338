//! The machine as a table, and against a model that looks at everything every millisecond.

use super::*;
use crate::settings::{HangSignal, RestartDelay, RestartLimit};
use proptest::prelude::*;

mod cluster;

const MS: u64 = 1_000_000;
const INTERVAL: u64 = 100 * MS;
const PID: i32 = 4711;

const EXITED: ExitStatus = ExitStatus::Exited(3);
const SEGV: ExitStatus = ExitStatus::Killed { signal: libc::SIGSEGV, core: true };

fn view(phase: Phase, since: u64, heartbeat: u64) -> View {
    View { phase, since, heartbeat, ..View::NO_INSTANCE }
}

fn started(now: u64) -> View {
    view(Phase::Started, now, now)
}

fn received(number: i32) -> Received {
    Received { number, value: None, by_kernel: false }
}

fn signal(number: i32) -> Event {
    Event::Signal { received: received(number), shared: false }
}

/// A machine whose instance 1 was born at 1 s.
fn machine(interval: u64, recovery: Recovery) -> Machine {
    machine_with(interval, recovery, Settings::default())
}

fn machine_with(interval: u64, recovery: Recovery, settings: Settings) -> Machine {
    let rules = Rules { interval, recovery, last_signal: 64, quorum: false, cmap: false, settings };
    let mut machine = Machine::new(rules, libc::SIGTERM);
    machine.step(1000 * MS, Event::Launched { pid: PID }, &View::NO_INSTANCE);
    machine
}

/// What is to be done, without what is to be said.
fn deeds(effects: Vec<Effect>) -> Vec<Effect> {
    effects.into_iter().filter(|effect| !matches!(effect, Effect::Log(_))).collect()
}

fn launch(id: u32) -> Vec<Effect> {
    vec![Effect::Launch { id, warn_signal: libc::SIGTERM }]
}

#[test]
fn what_follows_a_death() {
    use Recovery::{Quit, Restart};
    let phases = [Phase::Registered, Phase::Started, Phase::Stopped, Phase::Finalized];
    for interval in [0, INTERVAL] {
        for recovery in [Quit, Restart] {
            for phase in phases {
                for status in [ExitStatus::Exited(0), EXITED, SEGV] {
                    let mut machine = machine(interval, recovery);
                    let seen = view(phase, 1001 * MS, 1001 * MS);
                    let effects = deeds(machine.step(1050 * MS, Event::Died(status), &seen));
                    let expected = match (recovery, phase) {
                        (Restart, Phase::Started) => launch(2),
                        _ => vec![Effect::Finish(status)],
                    };
                    assert_eq!(effects, expected, "{interval} {recovery:?} {phase:?} {status:?}");
                }
            }
        }
    }
}

#[test]
fn who_gave_up_or_was_told_to_end_is_not_started_again() {
    let mut marked_failed = machine(INTERVAL, Recovery::Restart);
    let seen = View { marked_failed: true, ..started(1001 * MS) };
    let effects = deeds(marked_failed.step(1050 * MS, Event::Died(SEGV), &seen));
    assert_eq!(effects, [Effect::Finish(SEGV)]);

    for (number, is_final) in [
        (libc::SIGTERM, true),
        (libc::SIGINT, true),
        (libc::SIGQUIT, true),
        (libc::SIGHUP, false),
        (libc::SIGUSR1, false),
        (40, false),
    ] {
        for shared in [false, true] {
            let mut machine = machine(INTERVAL, Recovery::Restart);
            let seen = started(1001 * MS);
            let event = Event::Signal { received: received(number), shared };
            let passed = deeds(machine.step(1002 * MS, event, &seen));
            let expected = if shared { vec![] } else { vec![Effect::Forward(received(number))] };
            assert_eq!(passed, expected);
            let effects = deeds(machine.step(1050 * MS, Event::Died(EXITED), &seen));
            let expected = if is_final { vec![Effect::Finish(EXITED)] } else { launch(2) };
            assert_eq!(effects, expected, "signal {number}, shared {shared}");
        }
    }
}

#[test]
fn ids_go_up_and_wrap_to_zero() {
    let mut machine = machine(INTERVAL, Recovery::Restart);
    machine.id = i32::MAX as u32 - 1;
    for id in [i32::MAX as u32, 0, 1, 2] {
        let effects = deeds(machine.step(2000 * MS, Event::Died(SEGV), &started(1001 * MS)));
        assert_eq!(effects, launch(id));
        machine.step(2000 * MS, Event::Launched { pid: PID }, &View::NO_INSTANCE);
    }
}

#[test]
fn an_instance_that_cannot_be_made_is_tried_again_with_growing_pauses() {
    let mut machine = machine(INTERVAL, Recovery::Restart);
    let mut now = 1050 * MS;
    assert_eq!(deeds(machine.step(now, Event::Died(SEGV), &started(1001 * MS))), launch(2));
    for pause in [10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
        let effects = machine.step(now, Event::LaunchFailed(libc::EAGAIN), &View::NO_INSTANCE);
        let told = LogEvent::LaunchFailed { id: 2, errno: libc::EAGAIN, pause: pause * MS };
        assert_eq!(effects, [Effect::Log(told)]);
        assert_eq!(machine.wake_at(), Some(now + pause * MS));
        assert_eq!(machine.step(now + pause * MS - 1, Event::Tick, &View::NO_INSTANCE), [], "too early");
        now += pause * MS;
        assert_eq!(machine.step(now, Event::Tick, &View::NO_INSTANCE), launch(2));
    }
    assert_eq!(deeds(machine.step(now, Event::Launched { pid: PID }, &View::NO_INSTANCE)), []);
    assert_eq!(machine.wake_at(), Some(now + INTERVAL));

    // After that the pauses begin anew.
    machine.step(now, Event::Died(SEGV), &started(now));
    machine.step(now, Event::LaunchFailed(libc::EAGAIN), &View::NO_INSTANCE);
    assert_eq!(machine.wake_at(), Some(now + 10 * MS));
}

/// A machine whose instance 1 was lost and whose instance 2 could not be made, at 1.05 s.
fn machine_without_instance() -> Machine {
    let mut machine = machine(INTERVAL, Recovery::Restart);
    machine.step(1050 * MS, Event::Died(SEGV), &started(1001 * MS));
    machine.step(1050 * MS, Event::LaunchFailed(libc::EAGAIN), &View::NO_INSTANCE);
    machine
}

fn passed_on(numbers: &[i32]) -> Vec<Effect> {
    numbers.iter().map(|&number| Effect::Forward(received(number))).collect()
}

fn dropped(id: u32, signal: i32) -> Effect {
    Effect::Log(LogEvent::SignalDropped { id, signal })
}

#[test]
fn signals_between_two_instances_wait_until_the_next_is_started_or_end_the_wait() {
    let mut machine = machine_without_instance();
    for number in [libc::SIGHUP, libc::SIGUSR1, libc::SIGHUP] {
        assert_eq!(machine.step(1051 * MS, signal(number), &View::NO_INSTANCE), []);
    }
    let mut ended = machine.clone();
    let status = ExitStatus::Killed { signal: libc::SIGTERM, core: false };
    assert_eq!(
        ended.step(1052 * MS, signal(libc::SIGTERM), &View::NO_INSTANCE),
        [dropped(2, libc::SIGHUP), dropped(2, libc::SIGUSR1), Effect::Finish(status)]
    );
    assert_eq!(ended.wake_at(), None);

    machine.step(1060 * MS, Event::Tick, &View::NO_INSTANCE);
    assert_eq!(deeds(machine.step(1060 * MS, Event::Launched { pid: PID }, &View::NO_INSTANCE)), []);
    // sam_start wakes nobody: the machine looks for it, less and less often.
    for now in [1070, 1090, 1130] {
        assert_eq!(machine.wake_at(), Some(now * MS));
        assert_eq!(machine.step(now * MS, Event::Tick, &View::NO_INSTANCE), []);
    }
    for phase in [Phase::Started, Phase::Stopped, Phase::Waiting] {
        let mut machine = machine.clone();
        let effects = deeds(machine.step(1131 * MS, Event::Tick, &view(phase, 1130 * MS, 1130 * MS)));
        assert_eq!(effects, passed_on(&[libc::SIGHUP, libc::SIGUSR1]), "{phase:?}");
    }
}

#[test]
fn held_signals_are_dropped_and_logged_when_the_instance_ends_before_it_is_started() {
    let mut machine = machine_without_instance();
    machine.step(1051 * MS, signal(libc::SIGHUP), &View::NO_INSTANCE);
    machine.step(1060 * MS, Event::Tick, &View::NO_INSTANCE);
    machine.step(1060 * MS, Event::Launched { pid: PID }, &View::NO_INSTANCE);
    let lost = LogEvent::Lost { id: 2, pid: PID, status: EXITED, reason: None };
    assert_eq!(
        machine.step(1065 * MS, Event::Died(EXITED), &View::NO_INSTANCE),
        [Effect::Log(lost), dropped(2, libc::SIGHUP), Effect::Finish(EXITED)]
    );
}

#[test]
fn held_signals_wait_for_the_instance_after_one_that_was_started_unseen() {
    let mut machine = machine_without_instance();
    machine.step(1051 * MS, signal(libc::SIGHUP), &View::NO_INSTANCE);
    machine.step(1060 * MS, Event::Tick, &View::NO_INSTANCE);
    machine.step(1060 * MS, Event::Launched { pid: PID }, &View::NO_INSTANCE);
    assert_eq!(deeds(machine.step(1065 * MS, Event::Died(EXITED), &started(1061 * MS))), launch(3));
    machine.step(1065 * MS, Event::Launched { pid: PID }, &View::NO_INSTANCE);
    let effects = deeds(machine.step(1070 * MS, Event::Tick, &started(1066 * MS)));
    assert_eq!(effects, passed_on(&[libc::SIGHUP]));
}

#[test]
fn signals_that_arrive_as_the_instance_dies_are_held_for_the_next() {
    let mut machine = machine(INTERVAL, Recovery::Restart);
    let seen = started(1001 * MS);
    assert_eq!(machine.step(1050 * MS, Event::Missed(received(libc::SIGUSR1)), &seen), []);
    assert_eq!(deeds(machine.step(1050 * MS, Event::Died(SEGV), &seen)), launch(2));
    machine.step(1050 * MS, Event::Launched { pid: PID }, &View::NO_INSTANCE);
    let effects = deeds(machine.step(1060 * MS, Event::Tick, &started(1055 * MS)));
    assert_eq!(effects, passed_on(&[libc::SIGUSR1]));
}

#[test]
fn signals_for_an_instance_that_was_just_restarted_wait_until_it_is_started() {
    let mut machine = machine(INTERVAL, Recovery::Restart);
    // The first instance is as a program without a supervisor would be.
    let effects = machine.step(1001 * MS, signal(libc::SIGHUP), &View::NO_INSTANCE);
    assert_eq!(effects, passed_on(&[libc::SIGHUP]));
    machine.step(1050 * MS, Event::Died(SEGV), &started(1001 * MS));
    machine.step(1050 * MS, Event::Launched { pid: PID }, &View::NO_INSTANCE);
    assert_eq!(machine.step(1051 * MS, signal(libc::SIGHUP), &View::NO_INSTANCE), []);
    // Job control and the end do not wait, and neither does an instance that takes its time.
    for number in [libc::SIGTSTP, libc::SIGCONT, libc::SIGTERM] {
        let effects = deeds(machine.step(1052 * MS, signal(number), &View::NO_INSTANCE));
        assert_eq!(effects, passed_on(&[number]));
    }
    let effects = machine.step(2050 * MS, signal(libc::SIGUSR1), &View::NO_INSTANCE);
    assert_eq!(effects, passed_on(&[libc::SIGUSR1]));
    let effects = deeds(machine.step(2100 * MS, Event::Tick, &started(2051 * MS)));
    assert_eq!(effects, passed_on(&[libc::SIGHUP]));
}

#[test]
fn termination_signal_during_a_launch_is_passed_on_at_once_and_the_end_is_final() {
    for number in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT] {
        for withhold_signals in [false, true] {
            let settings = Settings { withhold_signals, ..Settings::default() };
            let mut machine = machine_with(INTERVAL, Recovery::Restart, settings);
            machine.step(1050 * MS, Event::Died(SEGV), &started(1001 * MS));
            machine.step(1050 * MS, signal(libc::SIGHUP), &View::NO_INSTANCE);
            machine.step(1050 * MS, signal(number), &View::NO_INSTANCE);
            let effects = deeds(machine.step(1051 * MS, Event::Launched { pid: PID }, &View::NO_INSTANCE));
            assert_eq!(effects, passed_on(&[number]));
            let effects = deeds(machine.step(1060 * MS, Event::Died(EXITED), &started(1055 * MS)));
            assert_eq!(effects, [Effect::Finish(EXITED)]);
        }
    }
}

#[test]
fn real_time_signals_are_queued_with_their_values_up_to_a_limit() {
    let mut machine = machine_without_instance();
    let queued = |value| Received { number: 40, value: Some(value), by_kernel: false };
    let mut told = vec![];
    for value in 0..MAX_HELD_REALTIME as u64 + 3 {
        let event = Event::Signal { received: queued(value), shared: false };
        told.extend(machine.step(1051 * MS, event, &View::NO_INSTANCE));
    }
    assert_eq!(told, [dropped(2, 40)], "once");
    assert_eq!(machine.step(1051 * MS, signal(libc::SIGHUP), &View::NO_INSTANCE), []);
    machine.step(1060 * MS, Event::Tick, &View::NO_INSTANCE);
    machine.step(1060 * MS, Event::Launched { pid: PID }, &View::NO_INSTANCE);
    let effects = deeds(machine.step(1070 * MS, Event::Tick, &started(1061 * MS)));
    let mut expected: Vec<Effect> =
        (0..MAX_HELD_REALTIME as u64).map(|value| Effect::Forward(queued(value))).collect();
    expected.extend(passed_on(&[libc::SIGHUP]));
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
        let mut machine = machine_with(0, Recovery::Restart, settings);
        let seen = started(1001 * MS);
        assert!(!machine.end_is_final());
        let event = |number| Event::Signal { received: received(number), shared };
        let effects = machine.step(9000 * MS, event(libc::SIGINT), &seen);
        let told = Effect::Log(LogEvent::ToldToEnd { id: 1, pid: PID, signal: libc::SIGINT, delivery });
        assert!(effects.contains(&told), "{effects:?}");
        assert!(machine.end_is_final());
        let effects = machine.step(9001 * MS, event(libc::SIGTERM), &seen);
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Log(_))), "{effects:?}");
    }
}

#[test]
fn withheld_signals_reach_the_instance_if_the_kernel_sent_them_or_the_sender_may_have_missed_it() {
    let settings = Settings { withhold_signals: true, ..Settings::default() };
    let mut machine = machine_with(0, Recovery::Restart, settings);
    let seen = started(1001 * MS);
    for (now, number, by_kernel, passed) in [
        (1500 * MS, libc::SIGHUP, false, false),
        (9000 * MS, libc::SIGHUP, false, false),
        (9000 * MS, libc::SIGHUP, true, true),
        (1999 * MS, libc::SIGTERM, false, true),
        (2000 * MS, libc::SIGTERM, false, false),
        (9000 * MS, libc::SIGCONT, false, false),
    ] {
        let received = Received { number, value: None, by_kernel };
        let effects = deeds(machine.step(now, Event::Signal { received, shared: false }, &seen));
        let expected = if passed { vec![Effect::Forward(received)] } else { vec![] };
        assert_eq!(effects, expected, "{number} at {} ms", now / MS);
    }
    assert_eq!(deeds(machine.step(9001 * MS, Event::Died(EXITED), &seen)), [Effect::Finish(EXITED)]);
}

#[test]
fn kill_that_is_refused_is_tried_again_with_growing_pauses_and_logged_once() {
    let mut machine = machine(INTERVAL, Recovery::Restart);
    let seen = started(1000 * MS);
    machine.step(1100 * MS, Event::Tick, &seen);
    let refused = |signal| Event::Refused { signal, errno: libc::EPERM };
    let told = LogEvent::SignalRefused { id: 1, pid: PID, signal: libc::SIGTERM, errno: libc::EPERM };
    assert_eq!(machine.step(1100 * MS, refused(libc::SIGTERM), &seen), [Effect::Log(told)]);
    assert_eq!(machine.wake_at(), Some(1200 * MS), "a warning is not sent twice");
    let mut now = 1200 * MS;
    assert_eq!(deeds(machine.step(now, Event::Tick, &seen)), [Effect::Send(libc::SIGKILL)]);
    for pause in [10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
        assert_eq!(machine.step(now, refused(libc::SIGKILL), &seen), []);
        assert_eq!(machine.wake_at(), Some(now + pause * MS));
        assert_eq!(machine.step(now + pause * MS - 1, Event::Tick, &seen), [], "too early");
        now += pause * MS;
        assert_eq!(machine.step(now, Event::Tick, &seen), [Effect::Send(libc::SIGKILL)]);
    }
    assert_eq!(machine.wake_at(), None, "it was not refused this time");
}

#[test]
fn end_of_an_instance_that_another_thread_reaped_is_a_loss() {
    let seen = started(1001 * MS);
    let mut machine = machine(INTERVAL, Recovery::Restart);
    assert_eq!(deeds(machine.step(1050 * MS, Event::Died(ExitStatus::Unknown), &seen)), launch(2));
    let mut machine = self::machine(INTERVAL, Recovery::Quit);
    let effects = deeds(machine.step(1050 * MS, Event::Died(ExitStatus::Unknown), &seen));
    assert_eq!(effects, [Effect::Finish(ExitStatus::Unknown)]);
}

#[test]
fn the_warning_signal_is_the_last_one_that_makes_sense() {
    for (wanted, expected) in [
        (libc::SIGUSR1, vec![Effect::Send(libc::SIGUSR1)]),
        (64, vec![Effect::Send(64)]),
        (0, vec![]),
        (65, vec![Effect::Send(libc::SIGTERM)]),
        (-1, vec![Effect::Send(libc::SIGTERM)]),
        (i32::MIN, vec![Effect::Send(libc::SIGTERM)]),
    ] {
        let mut machine = machine(INTERVAL, Recovery::Restart);
        let seen = View { warn_signal: wanted, ..started(1000 * MS) };
        assert_eq!(deeds(machine.step(1100 * MS, Event::Tick, &seen)), expected, "wanted {wanted}");
    }
}

#[test]
fn the_next_instance_is_warned_as_the_last_one_was() {
    let mut machine = machine(INTERVAL, Recovery::Restart);
    let seen = View { warn_signal: libc::SIGUSR2, ..started(1000 * MS) };
    let effects = deeds(machine.step(1050 * MS, Event::Died(SEGV), &seen));
    assert_eq!(effects, [Effect::Launch { id: 2, warn_signal: libc::SIGUSR2 }]);
}

#[test]
fn stamps_from_the_future_count_as_none() {
    for seen in [
        view(Phase::Started, 1000 * MS, u64::MAX),
        view(Phase::Started, u64::MAX >> 2, 1000 * MS),
        view(Phase::Started, u64::MAX >> 2, u64::MAX),
        View { unhealthy: u64::MAX, ..started(1000 * MS) },
    ] {
        let mut machine = machine(INTERVAL, Recovery::Restart);
        assert_eq!(deeds(machine.step(1100 * MS, Event::Tick, &seen)), [Effect::Send(libc::SIGTERM)]);
        assert_eq!(machine.wake_at(), Some(1200 * MS));
        assert_eq!(deeds(machine.step(1200 * MS, Event::Tick, &seen)), [Effect::Send(libc::SIGKILL)]);
        assert_eq!(machine.wake_at(), None);
    }
}

#[test]
fn stamps_from_before_the_instance_was_made_count_as_none() {
    let mut machine = machine(INTERVAL, Recovery::Restart);
    let seen = view(Phase::Started, 1, 2);
    assert_eq!(deeds(machine.step(1050 * MS, Event::Tick, &seen)), []);
    assert_eq!(machine.wake_at(), Some(1100 * MS));
    assert_eq!(deeds(machine.step(1100 * MS, Event::Tick, &seen)), [Effect::Send(libc::SIGTERM)]);
}

#[test]
fn a_supervisor_that_was_late_owes_the_instance_that_time_once() {
    let seen = started(1000 * MS);
    for (late, owed) in [(20, 0), (25, 0), (26, 26), (60, 60), (100, 100), (5000, 100)] {
        let mut machine = machine(INTERVAL, Recovery::Restart);
        let woken = (1100 + late) * MS;
        let effects = deeds(machine.step(woken, Event::Tick, &seen));
        if owed == 0 {
            assert_eq!(effects, [Effect::Send(libc::SIGTERM)], "{late} ms late");
            continue;
        }
        assert_eq!(effects, [], "{late} ms late");
        let due = woken + owed * MS;
        assert_eq!(machine.wake_at(), Some(due));
        // Late again, and still no word: once is enough.
        let effects = deeds(machine.step(due + 90 * MS, Event::Tick, &seen));
        assert_eq!(effects, [Effect::Send(libc::SIGTERM)]);
    }
}

#[test]
fn a_supervisor_that_is_late_again_owes_that_to_who_has_spoken_meanwhile() {
    let mut machine = machine(INTERVAL, Recovery::Restart);
    assert_eq!(deeds(machine.step(1160 * MS, Event::Tick, &started(1000 * MS))), []);
    let seen = started(1170 * MS);
    assert_eq!(deeds(machine.step(1220 * MS, Event::Tick, &seen)), []);
    assert_eq!(machine.wake_at(), Some(1270 * MS));
    assert_eq!(deeds(machine.step(1330 * MS, Event::Tick, &seen)), []);
    assert_eq!(machine.wake_at(), Some(1390 * MS));
    assert_eq!(deeds(machine.step(1390 * MS, Event::Tick, &seen)), [Effect::Send(libc::SIGTERM)]);
}

#[test]
fn who_was_killed_is_not_warned_again_whatever_its_page_says_until_it_is_gone() {
    let mut machine = machine(INTERVAL, Recovery::Restart);
    let seen = started(1000 * MS);
    machine.step(1100 * MS, Event::Tick, &seen);
    assert_eq!(deeds(machine.step(1200 * MS, Event::Tick, &seen)), [Effect::Send(libc::SIGKILL)]);
    machine.step(1210 * MS, Event::Tick, &view(Phase::Stopped, 1205 * MS, 1000 * MS));
    for now in [1310 * MS, 1410 * MS, 1510 * MS] {
        assert_eq!(machine.step(now, Event::Tick, &seen), []);
    }
}

#[test]
fn a_supervisor_that_was_continued_gives_a_whole_interval() {
    let mut machine = machine(INTERVAL, Recovery::Restart);
    let seen = started(1000 * MS);
    assert_eq!(
        machine.step(1090 * MS, signal(libc::SIGCONT), &seen),
        [Effect::Forward(received(libc::SIGCONT))]
    );
    assert_eq!(machine.wake_at(), Some(1190 * MS));
    assert_eq!(deeds(machine.step(1100 * MS, Event::Tick, &seen)), []);
    assert_eq!(deeds(machine.step(1190 * MS, Event::Tick, &seen)), [Effect::Send(libc::SIGTERM)]);
}

#[test]
fn who_continues_the_supervisor_over_and_over_saves_no_silent_instance() {
    let mut machine = machine(INTERVAL, Recovery::Restart);
    let seen = started(1000 * MS);
    let mut sent = vec![];
    for now in (1010..1410).map(|ms| ms * MS) {
        machine.step(now, signal(libc::SIGCONT), &seen);
        sent.extend(deeds(machine.step(now, Event::Tick, &seen)).into_iter().map(|deed| (now / MS, deed)));
    }
    // An interval of silence, put off once, and the same after the warning.
    let expected = [(1110, Effect::Send(libc::SIGTERM)), (1211, Effect::Send(libc::SIGKILL))];
    assert_eq!(sent, expected);
}

#[test]
fn a_stop_by_job_control_stops_both_and_any_other_is_a_hang() {
    for number in [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
        for stopped_by in [number, libc::SIGSTOP] {
            let mut machine = machine(INTERVAL, Recovery::Restart);
            let seen = started(1000 * MS);
            let stopped = Event::Stopped(stopped_by);
            assert_eq!(machine.step(1010 * MS, stopped, &seen), [], "nobody told the program to stop");
            machine.step(1011 * MS, signal(number), &seen);
            assert_eq!(machine.step(1012 * MS, stopped, &seen), [Effect::Suspend]);
            machine.step(1090 * MS, signal(libc::SIGCONT), &seen);
            assert_eq!(machine.step(1091 * MS, stopped, &seen), []);
        }
    }
}

#[test]
fn sigstop_long_after_an_ignored_stop_signal_does_not_stop_the_supervisor() {
    let mut machine = machine(INTERVAL, Recovery::Restart);
    let seen = started(1000 * MS);
    machine.step(1010 * MS, signal(libc::SIGTSTP), &seen);
    assert_eq!(machine.step(2010 * MS - 1, Event::Stopped(libc::SIGSTOP), &seen), [Effect::Suspend]);
    assert_eq!(machine.step(2010 * MS, Event::Stopped(libc::SIGSTOP), &seen), []);
    // The program blocked the signal all the time.
    assert_eq!(machine.step(9000 * MS, Event::Stopped(libc::SIGTSTP), &seen), [Effect::Suspend]);
}

#[test]
fn at_the_restart_limit_it_ends_as_the_last_instance_did() {
    let limit = RestartLimit { restarts: 2, window: 1000 * MS };
    let settings = Settings { restart_limit: Some(limit), ..Settings::default() };
    let mut machine = machine_with(INTERVAL, Recovery::Restart, settings);
    for (now, id) in [(1100 * MS, 2), (1500 * MS, 3), (2100 * MS, 4)] {
        assert_eq!(deeds(machine.step(now, Event::Died(SEGV), &started(now))), launch(id));
        machine.step(now, Event::Launched { pid: PID }, &View::NO_INSTANCE);
    }
    let lost = LogEvent::Lost { id: 4, pid: PID, status: EXITED, reason: None };
    assert_eq!(
        machine.step(2499 * MS, Event::Died(EXITED), &started(2200 * MS)),
        [Effect::Log(lost), Effect::Log(LogEvent::LimitReached { id: 4, limit }), Effect::Finish(EXITED)]
    );
}

#[test]
fn an_end_that_is_final_anyway_is_none_of_the_restart_limit() {
    let limit = RestartLimit { restarts: 1, window: 1000 * MS };
    let settings = Settings { restart_limit: Some(limit), ..Settings::default() };
    let mut machine = machine_with(INTERVAL, Recovery::Restart, settings);
    machine.step(1100 * MS, Event::Died(SEGV), &started(1050 * MS));
    machine.step(1100 * MS, Event::Launched { pid: PID }, &View::NO_INSTANCE);
    let stopped = view(Phase::Stopped, 1150 * MS, 1140 * MS);
    let effects = machine.step(1200 * MS, Event::Died(EXITED), &stopped);
    let lost = LogEvent::Lost { id: 2, pid: PID, status: EXITED, reason: None };
    assert_eq!(effects, [Effect::Log(lost), Effect::Finish(EXITED)]);
}

#[test]
fn a_restart_with_a_delay_waits_and_can_be_called_off() {
    let delay = RestartDelay { first: 50 * MS, last: 80 * MS };
    let settings = Settings { restart_delay: Some(delay), ..Settings::default() };
    let mut machine = machine_with(INTERVAL, Recovery::Restart, settings);
    let mut now = 1010 * MS;
    for (id, pause) in [(2, 50), (3, 80), (4, 80)] {
        let effects = machine.step(now, Event::Died(SEGV), &started(now));
        let delayed = Effect::Log(LogEvent::Delayed { id, pause: pause * MS });
        assert_eq!(effects[1..], [delayed]);
        assert_eq!(machine.wake_at(), Some(now + pause * MS));
        assert_eq!(machine.step(now + pause * MS - 1, Event::Tick, &View::NO_INSTANCE), [], "too early");

        let mut ended = machine.clone();
        let status = ExitStatus::Killed { signal: libc::SIGTERM, core: false };
        assert_eq!(ended.step(now + MS, signal(libc::SIGTERM), &View::NO_INSTANCE), [Effect::Finish(status)]);

        now += pause * MS;
        assert_eq!(machine.step(now, Event::Tick, &View::NO_INSTANCE), launch(id));
        machine.step(now, Event::Launched { pid: PID }, &View::NO_INSTANCE);
        now += 10 * MS;
    }
    // 790 ms in all, not quite ten times the pause; then it is.
    let effects = machine.step(now + 780 * MS, Event::Died(SEGV), &started(now));
    assert_eq!(effects[1..], [Effect::Log(LogEvent::Delayed { id: 5, pause: 80 * MS })]);
    now += 860 * MS;
    machine.step(now, Event::Tick, &View::NO_INSTANCE);
    machine.step(now, Event::Launched { pid: PID }, &View::NO_INSTANCE);
    let effects = machine.step(now + 800 * MS, Event::Died(SEGV), &started(now));
    assert_eq!(effects[1..], [Effect::Log(LogEvent::Delayed { id: 6, pause: 50 * MS })]);
}

/// A machine that sends a hung instance SIGABRT first, and has just done so at 1.2 s.
fn machine_that_struck() -> Machine {
    let hang_signal = Some(HangSignal { number: libc::SIGABRT, timeout: 700 * MS });
    let mut machine =
        machine_with(INTERVAL, Recovery::Restart, Settings { hang_signal, ..Settings::default() });
    let seen = started(1000 * MS);
    assert_eq!(deeds(machine.step(1100 * MS, Event::Tick, &seen)), [Effect::Send(libc::SIGTERM)]);
    let silent = 200 * MS;
    let told = LogEvent::Killed { id: 1, pid: PID, silent, signal: libc::SIGABRT };
    let effects = machine.step(1200 * MS, Event::Tick, &seen);
    assert_eq!(effects, [Effect::Log(told), Effect::Send(libc::SIGABRT)]);
    assert_eq!(machine.wake_at(), Some(1900 * MS));
    machine
}

#[test]
fn a_hung_instance_gets_its_signal_and_sigkill_when_that_does_not_end_it() {
    // Nothing that it does now saves it, and the look at it comes before the kill.
    for (ms, seen) in [
        (1250, started(1000 * MS)),
        (1300, started(1299 * MS)),
        (1400, view(Phase::Stopped, 1399 * MS, 1299 * MS)),
        (1500, view(Phase::Finalized, 1499 * MS, 1299 * MS)),
    ] {
        for dumping in [false, true] {
            let mut machine = machine_that_struck();
            assert_eq!(machine.step(ms * MS, Event::Tick, &seen), []);
            assert_eq!(machine.wake_at(), Some(1900 * MS));
            assert_eq!(machine.step(1900 * MS, Event::Tick, &seen), [Effect::Inspect]);
            let found = Inspection { traced: false, dumping };
            let told = LogEvent::KilledAfterHangSignal { id: 1, pid: PID, dumping };
            let effects = machine.step(1900 * MS, Event::Inspected(found), &seen);
            assert_eq!(effects, [Effect::Log(told), Effect::Send(libc::SIGKILL)]);
            assert_eq!(machine.wake_at(), None);
            assert_eq!(machine.step(2500 * MS, Event::Tick, &seen), []);
        }
    }
}

#[test]
fn an_instance_that_its_signal_ended_was_lost_for_its_silence() {
    let status = ExitStatus::Killed { signal: libc::SIGABRT, core: true };
    let effects = machine_that_struck().step(1800 * MS, Event::Died(status), &started(1000 * MS));
    let lost = LogEvent::Lost { id: 1, pid: PID, status, reason: Some(Reason::Silent) };
    assert_eq!(effects, [Effect::Log(lost), launch(2).remove(0)]);
}

#[test]
fn what_an_instance_says_after_the_decision_to_end_it_does_not_count() {
    let mut killed = machine(INTERVAL, Recovery::Restart);
    let silent = started(1000 * MS);
    killed.step(1100 * MS, Event::Tick, &silent);
    killed.step(1200 * MS, Event::Tick, &silent);
    for machine in [machine_that_struck(), killed] {
        for phase in [Phase::Stopped, Phase::Finalized, Phase::Waiting, Phase::Registered] {
            let after = view(phase, 1201 * MS, 1000 * MS);
            let effects = deeds(machine.clone().step(1300 * MS, Event::Died(EXITED), &after));
            assert_eq!(effects, launch(2), "{phase:?}");
            // Said before that, and not seen in time.
            let before = view(phase, 1200 * MS, 1000 * MS);
            let effects = deeds(machine.clone().step(1300 * MS, Event::Died(EXITED), &before));
            assert_eq!(effects, [Effect::Finish(EXITED)], "{phase:?}");
        }
        // To give up is no way to call the recovery off.
        let marked_failed = View { marked_failed: true, ..started(1000 * MS) };
        let effects = deeds(machine.clone().step(1300 * MS, Event::Died(EXITED), &marked_failed));
        assert_eq!(effects, [Effect::Finish(EXITED)]);
    }
}

#[test]
fn a_kill_at_once_is_not_looked_at() {
    let mut machine = machine(INTERVAL, Recovery::Restart);
    let seen = started(1000 * MS);
    machine.step(1100 * MS, Event::Tick, &seen);
    assert_eq!(deeds(machine.step(1200 * MS, Event::Tick, &seen)), [Effect::Send(libc::SIGKILL)]);
}

/// A machine that leaves an instance alone while a debugger traces it.
fn machine_that_holds() -> Machine {
    machine_with(INTERVAL, Recovery::Restart, Settings { debug_hold: true, ..Settings::default() })
}

/// A tick with its look at the instance.
fn look(machine: &mut Machine, now: u64, traced: bool, seen: &View) -> Vec<Effect> {
    assert_eq!(machine.step(now, Event::Tick, seen), [Effect::Inspect]);
    machine.step(now, Event::Inspected(Inspection { traced, dumping: false }), seen)
}

/// All ticks that it asks for up to the ms `end`, with the ms at which something is to be done.
fn look_until(machine: &mut Machine, end: u64, traced: bool, seen: &View) -> Vec<(u64, Effect)> {
    let mut done = vec![];
    while let Some(now) = machine.wake_at().filter(|&at| at <= end * MS) {
        done.extend(look(machine, now, traced, seen).into_iter().map(|effect| (now / MS, effect)));
    }
    done.retain(|(_, effect)| {
        !matches!(effect, Effect::Log(LogEvent::Warned { .. } | LogEvent::Killed { .. }))
    });
    done
}

fn told(traced: bool) -> Effect {
    Effect::Log(LogEvent::Traced { id: 1, pid: PID, traced })
}

#[test]
fn a_traced_instance_is_left_alone_and_its_silence_begins_when_the_tracer_leaves() {
    let mut machine = machine_that_holds();
    let seen = started(1000 * MS);
    look(&mut machine, 1000 * MS, false, &seen);
    assert_eq!(look_until(&mut machine, 3000, true, &seen), [(1025, told(true))]);
    assert_eq!(
        look_until(&mut machine, 4000, false, &seen),
        [(3025, told(false)), (3100, Effect::Send(libc::SIGTERM)), (3200, Effect::Send(libc::SIGKILL))]
    );
}

#[test]
fn a_tracer_that_comes_after_the_warning_calls_the_kill_off() {
    let mut machine = machine_that_holds();
    let seen = started(1000 * MS);
    look(&mut machine, 1000 * MS, false, &seen);
    assert_eq!(look_until(&mut machine, 1190, false, &seen), [(1100, Effect::Send(libc::SIGTERM))]);
    assert_eq!(look_until(&mut machine, 1210, true, &seen), [(1200, told(true))]);
    assert_eq!(
        look_until(&mut machine, 1310, false, &seen),
        [(1225, told(false)), (1300, Effect::Send(libc::SIGTERM))],
        "from the beginning"
    );
}

#[test]
fn nobody_looks_for_a_debugger_unless_asked_to() {
    let mut machine = machine(INTERVAL, Recovery::Restart);
    let seen = started(1000 * MS);
    let traced = Event::Inspected(Inspection { traced: true, dumping: false });
    assert_eq!(machine.step(1050 * MS, traced, &seen), []);
    assert_eq!(deeds(machine.step(1100 * MS, Event::Tick, &seen)), [Effect::Send(libc::SIGTERM)]);

    let settings = Settings { debug_hold: true, ..Settings::default() };
    let mut machine = machine_with(0, Recovery::Restart, settings);
    assert_eq!(machine.step(1050 * MS, Event::Tick, &seen), [], "nothing to hold");
    assert_eq!(machine.wake_at(), None);
}

#[test]
fn what_an_instance_left_behind_ends_before_the_next_begins_and_at_the_end() {
    let settings = Settings { kill_group: true, ..Settings::default() };
    for (phase, next) in [
        (Phase::Started, Effect::Launch { id: 2, warn_signal: libc::SIGTERM }),
        (Phase::Stopped, Effect::Finish(EXITED)),
        (Phase::Finalized, Effect::Finish(EXITED)),
    ] {
        let mut machine = machine_with(INTERVAL, Recovery::Restart, settings);
        let effects = machine.step(1050 * MS, Event::Died(EXITED), &view(phase, 1001 * MS, 1001 * MS));
        assert_eq!(deeds(effects), [Effect::KillGroup(1), next]);
    }
}

#[test]
fn without_an_interval_nothing_is_waited_for_but_death() {
    let mut machine = machine(0, Recovery::Restart);
    assert_eq!(machine.wake_at(), None);
    assert_eq!(machine.step(1 << 60, Event::Tick, &started(1000 * MS)), []);
    assert_eq!(machine.wake_at(), None);
}

/// A machine whose instance 1 was born at 1 s, with its first effects.
fn machine_with_spare(recovery: Recovery) -> (Machine, Vec<Effect>) {
    let settings = Settings { standby: true, ..Settings::default() };
    let mut machine = Machine::new(
        Rules { interval: INTERVAL, recovery, last_signal: 64, quorum: false, cmap: false, settings },
        libc::SIGTERM,
    );
    let effects = machine.step(1000 * MS, Event::Launched { pid: PID }, &View::NO_INSTANCE);
    (machine, effects)
}

#[test]
fn a_spare_is_made_behind_each_instance_that_can_be_restarted() {
    let (mut machine, effects) = machine_with_spare(Recovery::Restart);
    assert_eq!(effects, [Effect::MakeSpare]);
    machine.step(1000 * MS, Event::SpareMade, &View::NO_INSTANCE);
    assert_eq!(deeds(machine.step(1050 * MS, Event::Died(SEGV), &started(1001 * MS))), launch(2));
    assert_eq!(
        deeds(machine.step(1050 * MS, Event::Launched { pid: PID }, &View::NO_INSTANCE)),
        [Effect::MakeSpare]
    );

    let (_, effects) = machine_with_spare(Recovery::Quit);
    assert_eq!(effects, [], "nothing to restart");
}

#[test]
fn between_two_instances_no_spare_is_waited_for() {
    let (mut machine, _) = machine_with_spare(Recovery::Restart);
    machine.step(1000 * MS, Event::SpareLost, &View::NO_INSTANCE);
    let lost = 1005 * MS;
    assert_eq!(deeds(machine.step(lost, Event::Died(SEGV), &started(1001 * MS))), launch(2));
    machine.step(lost, Event::LaunchFailed(libc::EAGAIN), &View::NO_INSTANCE);
    assert_eq!(machine.wake_at(), Some(lost + 10 * MS));
    assert_eq!(machine.step(lost + 10 * MS, Event::Tick, &View::NO_INSTANCE), launch(2));
    machine.step(lost + 10 * MS, Event::LaunchFailed(libc::EAGAIN), &View::NO_INSTANCE);
    assert_eq!(machine.wake_at(), Some(lost + 30 * MS), "the spare was due long ago");
}

#[test]
fn a_spare_that_is_lost_is_replaced_with_growing_pauses() {
    let (mut machine, _) = machine_with_spare(Recovery::Restart);
    let mut now = 1000 * MS;
    let seen = View::NO_INSTANCE;
    for pause in [10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
        assert_eq!(machine.step(now, Event::SpareLost, &seen), []);
        assert!(machine.wake_at() <= Some(now + pause * MS));
        assert_eq!(machine.step(now + pause * MS - 1, Event::Tick, &seen), []);
        now += pause * MS;
        assert_eq!(machine.step(now, Event::Tick, &seen), [Effect::MakeSpare]);
    }
    machine.step(now, Event::SpareMade, &seen);
    machine.step(now, Event::SpareLost, &seen);
    assert_eq!(machine.step(now + 10 * MS, Event::Tick, &seen), [Effect::MakeSpare]);
}

#[test]
fn no_spare_is_made_while_there_is_no_instance() {
    let (mut machine, _) = machine_with_spare(Recovery::Restart);
    machine.step(1010 * MS, Event::Died(SEGV), &started(1001 * MS));
    machine.step(1010 * MS, Event::LaunchFailed(libc::EAGAIN), &View::NO_INSTANCE);
    assert_eq!(machine.step(1011 * MS, Event::SpareLost, &View::NO_INSTANCE), []);
    let effects = deeds(machine.step(2000 * MS, Event::Tick, &View::NO_INSTANCE));
    assert_eq!(effects, launch(2));
    assert_eq!(
        deeds(machine.step(2000 * MS, Event::Launched { pid: PID }, &View::NO_INSTANCE)),
        [Effect::MakeSpare]
    );
}

#[test]
fn a_spare_that_ends_before_it_takes_over_is_no_instance() {
    let (mut machine, _) = machine_with_spare(Recovery::Restart);
    machine.step(1010 * MS, Event::Died(SEGV), &started(1001 * MS));
    machine.step(1010 * MS, Event::Launched { pid: PID }, &View::NO_INSTANCE);
    assert_eq!(deeds(machine.step(1011 * MS, Event::SpareDied(SEGV), &View::NO_INSTANCE)), []);
    assert_eq!(
        deeds(machine.step(1021 * MS, Event::Tick, &View::NO_INSTANCE)),
        launch(2),
        "the same number again"
    );
}

#[test]
fn a_spare_that_is_lost_between_two_instances_wakes_nobody() {
    let delay = RestartDelay { first: 1000 * MS, last: 1000 * MS };
    let settings = Settings { restart_delay: Some(delay), standby: true, ..Settings::default() };
    let mut machine = machine_with(INTERVAL, Recovery::Restart, settings);
    machine.step(1010 * MS, Event::Died(SEGV), &started(1001 * MS));
    machine.step(1020 * MS, Event::SpareLost, &View::NO_INSTANCE);
    assert_eq!(machine.wake_at(), Some(2010 * MS));
}

#[test]
fn who_claims_to_be_such_a_spare_gets_around_no_end() {
    let (mut machine, _) = machine_with_spare(Recovery::Restart);
    machine.step(1001 * MS, signal(libc::SIGTERM), &View::NO_INSTANCE);
    assert_eq!(machine.step(1002 * MS, Event::SpareDied(SEGV), &View::NO_INSTANCE), [Effect::Finish(SEGV)]);

    let limit = RestartLimit { restarts: 2, window: 1000 * MS };
    let settings = Settings { restart_limit: Some(limit), standby: true, ..Settings::default() };
    let mut machine = machine_with(INTERVAL, Recovery::Restart, settings);
    for now in [1100 * MS, 1200 * MS] {
        assert_eq!(deeds(machine.step(now, Event::SpareDied(SEGV), &View::NO_INSTANCE)), []);
        machine.step(now + 50 * MS, Event::Tick, &View::NO_INSTANCE);
        machine.step(now + 50 * MS, Event::Launched { pid: PID }, &View::NO_INSTANCE);
    }
    let marked_failed = [Effect::Log(LogEvent::LimitReached { id: 1, limit }), Effect::Finish(EXITED)];
    assert_eq!(machine.step(1300 * MS, Event::SpareDied(EXITED), &View::NO_INSTANCE), marked_failed);
}

#[test]
fn such_a_spare_is_not_shown_as_running() {
    let (mut machine, _) = machine_with_spare(Recovery::Restart);
    machine.rules.cmap = true;
    machine.cmap = CmapRequests::new(INTERVAL);
    let shows = |effects: Vec<Effect>, state| {
        effects.iter().any(|effect| matches!(effect, Effect::Publish(record) if record.state == state))
    };
    assert!(shows(machine.step(1050 * MS, Event::Tick, &started(1040 * MS)), CmapState::Running));
    let seen = started(1040 * MS);
    assert!(shows(machine.step(1060 * MS, Event::SpareDied(SEGV), &seen), CmapState::Stopped));
    assert_eq!(machine.wake_at(), Some(1070 * MS), "nothing is published meanwhile");
}

/// What the instance does, or is done to, in one millisecond.
#[derive(Debug, Clone, Copy)]
enum Act {
    Nothing,
    Heartbeat,
    Start,
    Stop,
    Unhealthy,
    Die,
    /// Exits with 0, and goes on in a process that it forked.
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

/// The contract, word for word, for a supervisor that looks at everything every millisecond.
struct Model {
    interval: u64,
    recovery: Recovery,
    phase: Phase,
    last_activity: u64,
    warned: Option<u64>,
    killed: bool,
    id: u32,
    finished: bool,
}

impl Model {
    fn act(&mut self, now: u64, act: Act) -> Vec<Effect> {
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
            Act::Unhealthy if self.phase == Phase::Started && self.interval > 0 => {
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

    fn note_activity(&mut self, now: u64) {
        self.last_activity = now;
        self.warned = None;
    }

    fn die(&mut self, now: u64, status: ExitStatus) -> Vec<Effect> {
        // Stop and finalize after the kill do not count.
        if self.recovery == Recovery::Quit || self.phase != Phase::Started && !self.killed {
            self.finished = true;
            return vec![Effect::Finish(status)];
        }
        self.id += 1;
        (self.phase, self.last_activity, self.warned, self.killed) = (Phase::Registered, now, None, false);
        launch(self.id)
    }

    fn evaluate(&mut self, now: u64) -> Vec<Effect> {
        if self.phase != Phase::Started || self.interval == 0 || self.killed {
            return vec![];
        }
        match self.warned {
            None if now - self.last_activity >= self.interval => {
                self.warned = Some(now);
                vec![Effect::Send(libc::SIGTERM)]
            }
            Some(at) if now - at >= self.interval => {
                self.killed = true;
                vec![Effect::Send(libc::SIGKILL)]
            }
            _ => vec![],
        }
    }
}

/// The page, as the instance would write it.
fn write(seen: &mut View, now: u64, act: Act) {
    match act {
        Act::Heartbeat if seen.phase == Phase::Started => seen.heartbeat = now,
        Act::Start if matches!(seen.phase, Phase::Registered | Phase::Stopped) => {
            *seen = View { phase: Phase::Started, since: now, heartbeat: now, ..*seen };
        }
        Act::Stop if seen.phase == Phase::Started => (seen.phase, seen.since) = (Phase::Stopped, now),
        // A callback that has objected is not asked again before the next start.
        Act::Unhealthy if seen.phase == Phase::Started && seen.unhealthy < seen.heartbeat => {
            seen.unhealthy = now
        }
        Act::Finalize => (seen.phase, seen.since) = (Phase::Finalized, now),
        _ => {}
    }
}

proptest! {
    /// The machine, which sleeps until `wake_at`, does what the model does, which never sleeps.
    #[test]
    fn waking_when_it_wants_to_it_misses_nothing(
        life in acts(),
        interval in prop_oneof![Just(0), 1..60_u64],
        restart in any::<bool>(),
    ) {
        let recovery = if restart { Recovery::Restart } else { Recovery::Quit };
        let interval = interval * MS;
        let mut machine = machine(interval, recovery);
        let born = 1000 * MS;
        let mut seen = View::NO_INSTANCE;
        let mut model = Model {
            interval, recovery, phase: Phase::Registered, last_activity: born, warned: None, killed: false, id: 1, finished: false,
        };
        for (ms, &act) in (1..).zip(&life) {
            let now = born + ms * MS;
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
            prop_assert_eq!(done, expected, "at {} ms", ms);
            if let Some(at) = machine.wake_at() {
                prop_assert!(at > now && at <= now + interval, "sleeps for {} ns", at - now);
            }
        }
    }

    /// Whatever an instance writes and however often it is looked at: it is warned at most once per interval, it
    /// is not killed without two intervals between its last true word and the kill, and the machine never sleeps
    /// longer than an interval.
    #[test]
    fn rubbish_on_the_page_neither_kills_the_innocent_nor_saves_the_silent(
        words in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u64>(), any::<i32>(), 0..4_u8), 1..60),
        steps in proptest::collection::vec(1..120_u64, 60),
    ) {
        let mut machine = machine(INTERVAL, Recovery::Restart);
        let mut now = 1000 * MS;
        for ((since, heartbeat, unhealthy, warn_signal, phase), step) in words.into_iter().zip(steps) {
            now += step * MS;
            let phase = [Phase::Registered, Phase::Started, Phase::Stopped, Phase::Finalized][usize::from(phase)];
            let seen = View { phase, since, heartbeat, unhealthy, warn_signal, marked_failed: false };
            for effect in deeds(machine.step(now, Event::Tick, &seen)) {
                let Effect::Send(signal) = effect else { panic!("{effect:?}") };
                prop_assert!((1..=64).contains(&signal));
            }
            match machine.wake_at() {
                Some(at) => prop_assert!(at > now && at <= now + INTERVAL),
                None => {
                    let State::Watching(watch) = machine.state else { panic!("{:?}", machine.state) };
                    prop_assert_eq!(watch.health, Health::Killed);
                    break;
                }
            }
        }
    }
}

/// A machine whose instance exited with 0 at 1050 ms.
fn machine_that_seeks(interval: u64, seen: &View) -> Machine {
    let mut machine = machine(interval, Recovery::Restart);
    assert_eq!(machine.step(1050 * MS, Event::MayHaveDaemonized, seen), [Effect::FindDaemon]);
    assert!(machine.searches_daemon());
    machine
}

#[test]
fn process_that_called_after_an_exit_0_becomes_the_instance() {
    for (interval, phase) in [
        (INTERVAL, Phase::Registered),
        (INTERVAL, Phase::Waiting),
        (INTERVAL, Phase::Started),
        (0, Phase::Started),
    ] {
        let seen = view(phase, 1001 * MS, 1001 * MS);
        let mut machine = machine_that_seeks(interval, &seen);
        assert_eq!(
            machine.step(1051 * MS, Event::DaemonSearched(Candidates::Caller(72)), &seen),
            [Effect::Adopt(72)],
            "{phase:?}"
        );
        let told = LogEvent::Adopted { id: 1, pid: 72, before: PID };
        assert_eq!(machine.step(1051 * MS, Event::Adopted { pid: 72 }, &seen), [Effect::Log(told)]);
        assert!(!machine.searches_daemon());
        assert_eq!(machine.wake_at(), (interval != 0).then_some(1051 * MS + interval));
        // It is restarted as any other, and may go on in a further process.
        assert_eq!(machine.clone().step(1060 * MS, Event::MayHaveDaemonized, &seen), [Effect::FindDaemon]);
        let effects = deeds(machine.step(1060 * MS, Event::Died(SEGV), &started(1055 * MS)));
        assert_eq!(effects, launch(2));
    }
}

#[test]
fn instance_that_was_to_end_goes_on_in_no_other_process() {
    let expected = [Effect::Finish(ExitStatus::Exited(0))];
    for phase in [Phase::Stopped, Phase::Finalized] {
        let mut machine = machine(INTERVAL, Recovery::Restart);
        let effects = deeds(machine.step(1050 * MS, Event::MayHaveDaemonized, &view(phase, 1001 * MS, 0)));
        assert_eq!(effects, expected, "{phase:?}");
    }
    let mut marked_failed = machine(INTERVAL, Recovery::Restart);
    let seen = View { marked_failed: true, ..started(1001 * MS) };
    assert_eq!(deeds(marked_failed.step(1050 * MS, Event::MayHaveDaemonized, &seen)), expected);

    let mut told = machine(INTERVAL, Recovery::Restart);
    told.step(1040 * MS, signal(libc::SIGTERM), &started(1001 * MS));
    assert_eq!(deeds(told.step(1140 * MS, Event::MayHaveDaemonized, &started(1120 * MS))), expected);

    let mut warned = machine(INTERVAL, Recovery::Restart);
    warned.step(1100 * MS, Event::Tick, &started(1000 * MS));
    assert_eq!(deeds(warned.step(1110 * MS, Event::MayHaveDaemonized, &started(1000 * MS))), launch(2));
}

#[test]
fn only_process_that_may_call_is_adopted_where_no_heartbeat_is_due() {
    for (interval, seen) in [(0, started(1001 * MS)), (INTERVAL, view(Phase::Registered, 0, 0))] {
        let mut machine = machine_that_seeks(interval, &seen);
        assert_eq!(deeds(machine.step(1050 * MS, Event::DaemonSearched(Candidates::Only(72)), &seen)), []);
        assert_eq!(machine.wake_at(), Some(1060 * MS));
        assert_eq!(machine.step(1060 * MS, Event::Tick, &seen), [Effect::FindDaemon]);
        assert_eq!(deeds(machine.step(1060 * MS, Event::DaemonSearched(Candidates::Several), &seen)), []);
        let effects = machine.step(1150 * MS, Event::DaemonSearched(Candidates::Only(72)), &seen);
        assert_eq!(effects, [Effect::Adopt(72)], "it has executed no other program meanwhile");
    }
}

#[test]
fn without_a_heartbeat_for_an_interval_the_next_instance_is_started() {
    for found in [
        Candidates::Only(72),
        Candidates::Several,
        Candidates::OutOfReach(None),
        Candidates::OutOfReach(Some(72)),
    ] {
        let seen = started(1040 * MS);
        let mut machine = machine_that_seeks(INTERVAL, &seen);
        let mut now = 1050 * MS;
        loop {
            let effects = deeds(machine.step(now, Event::DaemonSearched(found), &seen));
            if !effects.is_empty() {
                assert_eq!((effects, now), (launch(2), 1150 * MS), "{found:?}");
                break;
            }
            now = machine.wake_at().unwrap();
            assert_eq!(machine.step(now, Event::Tick, &seen), [Effect::FindDaemon]);
        }
    }
    let seen = started(1040 * MS);
    let mut machine = machine_that_seeks(INTERVAL, &seen);
    assert_eq!(deeds(machine.step(1051 * MS, Event::DaemonSearched(Candidates::None), &seen)), launch(2));
}

#[test]
fn process_that_cannot_be_supervised_ends_the_supervisor() {
    let last_activity = started(1060 * MS);
    for (interval, seen, end) in [
        (INTERVAL, last_activity, 1150),
        (0, started(1001 * MS), 2050),
        (INTERVAL, view(Phase::Registered, 0, 0), 2050),
    ] {
        let mut machine = machine_that_seeks(interval, &seen);
        let found = Event::DaemonSearched(Candidates::OutOfReach(Some(72)));
        assert_eq!(deeds(machine.step(1051 * MS, found, &seen)), []);
        let told = Effect::Log(LogEvent::OutOfReach { id: 1, pid: 72 });
        let effects = machine.step(end * MS, found, &seen);
        assert_eq!(effects, [told, Effect::Finish(ExitStatus::Exited(0))]);
    }
}

#[test]
fn signals_wait_for_the_process_that_goes_on_and_a_deadly_one_for_a_second() {
    let seen = view(Phase::Registered, 0, 0);
    let mut machine = machine_that_seeks(INTERVAL, &seen);
    assert_eq!(deeds(machine.step(1051 * MS, Event::DaemonSearched(Candidates::Several), &seen)), []);
    assert_eq!(machine.step(1052 * MS, signal(libc::SIGTERM), &seen), []);
    assert_eq!(deeds(machine.step(1053 * MS, Event::DaemonSearched(Candidates::Several), &seen)), []);
    let mut left = machine.clone();
    let effects = deeds(left.step(2050 * MS, Event::DaemonSearched(Candidates::Several), &seen));
    assert_eq!(effects, [Effect::Finish(ExitStatus::Exited(0))]);

    machine.step(1054 * MS, Event::DaemonSearched(Candidates::Caller(72)), &seen);
    let effects = machine.step(1054 * MS, Event::Adopted { pid: 72 }, &seen);
    let delivery = Delivery::Forwarded;
    let told = Effect::Log(LogEvent::ToldToEnd { id: 1, pid: 72, signal: libc::SIGTERM, delivery });
    assert_eq!(effects[1..], [passed_on(&[libc::SIGTERM]), vec![told]].concat());
    assert_eq!(
        deeds(machine.step(1060 * MS, Event::Died(EXITED), &started(1055 * MS))),
        [Effect::Finish(EXITED)]
    );
}

#[test]
fn signals_that_end_nothing_wait_until_the_process_that_goes_on_is_started() {
    let registered = view(Phase::Registered, 0, 0);
    let mut machine = machine_that_seeks(INTERVAL, &registered);
    for number in [libc::SIGHUP, libc::SIGTSTP, libc::SIGCONT, libc::SIGUSR1] {
        assert_eq!(machine.step(1052 * MS, signal(number), &registered), []);
    }
    machine.step(1054 * MS, Event::DaemonSearched(Candidates::Only(72)), &registered);
    machine.step(1150 * MS, Event::DaemonSearched(Candidates::Only(72)), &registered);
    assert_eq!(deeds(machine.step(1150 * MS, Event::Adopted { pid: 72 }, &registered)), []);
    assert_eq!(machine.wake_at(), Some(1160 * MS), "sam_start wakes nobody");
    assert_eq!(machine.step(1160 * MS, Event::Tick, &registered), []);
    let mut ended = machine.clone();
    let effects = deeds(machine.step(1180 * MS, Event::Tick, &started(1170 * MS)));
    assert_eq!(effects, passed_on(&[libc::SIGHUP, libc::SIGCONT, libc::SIGUSR1]));

    let effects = ended.step(1170 * MS, Event::Died(EXITED), &registered);
    let expected = [libc::SIGHUP, libc::SIGCONT, libc::SIGUSR1].map(|number| dropped(1, number));
    assert_eq!(effects[1..], [expected.to_vec(), vec![Effect::Finish(EXITED)]].concat());
}

#[test]
fn signals_that_arrived_as_the_instance_left_reach_the_process_that_goes_on() {
    let seen = started(1040 * MS);
    for number in [libc::SIGTERM, libc::SIGUSR1] {
        let mut machine = machine(INTERVAL, Recovery::Restart);
        assert_eq!(machine.step(1050 * MS, Event::Missed(received(number)), &seen), []);
        assert_eq!(
            machine.step(1050 * MS, Event::MayHaveDaemonized, &seen),
            [Effect::FindDaemon],
            "signal {number}"
        );
        let mut nobody = machine.clone();
        machine.step(1051 * MS, Event::DaemonSearched(Candidates::Caller(72)), &seen);
        let mut effects = deeds(machine.step(1051 * MS, Event::Adopted { pid: 72 }, &seen));
        effects.extend(deeds(machine.step(1052 * MS, Event::Tick, &seen)));
        assert_eq!(effects, passed_on(&[number]));

        let effects = nobody.step(1051 * MS, Event::DaemonSearched(Candidates::None), &seen);
        let lost = LogEvent::Lost { id: 1, pid: PID, status: ExitStatus::Exited(0), reason: None };
        let next = if ends_program(number) { vec![Effect::Finish(ExitStatus::Exited(0))] } else { launch(2) };
        assert_eq!(effects, [vec![Effect::Log(lost)], next].concat());
    }
}

#[test]
fn termination_signal_that_crossed_with_the_exit_of_the_instance_is_passed_on_again() {
    let seen = started(1040 * MS);
    let mut machine = machine(INTERVAL, Recovery::Restart);
    machine.step(1040 * MS, signal(libc::SIGTERM), &seen);
    assert_eq!(machine.step(1050 * MS, Event::MayHaveDaemonized, &seen), [Effect::FindDaemon]);
    let mut nobody = machine.clone();
    let effects = deeds(nobody.step(1051 * MS, Event::DaemonSearched(Candidates::None), &seen));
    assert_eq!(effects, [Effect::Finish(ExitStatus::Exited(0))]);
    machine.step(1300 * MS, Event::DaemonSearched(Candidates::Caller(72)), &seen);
    let effects = deeds(machine.step(1300 * MS, Event::Adopted { pid: 72 }, &seen));
    assert_eq!(effects, passed_on(&[libc::SIGTERM]));

    // It came from a terminal, which told all processes.
    let mut shared = self::machine(INTERVAL, Recovery::Restart);
    let event = Event::Signal { received: received(libc::SIGINT), shared: true };
    shared.step(1040 * MS, event, &seen);
    let effects = deeds(shared.step(1050 * MS, Event::MayHaveDaemonized, &seen));
    assert_eq!(effects, [Effect::Finish(ExitStatus::Exited(0))]);
}

#[test]
fn termination_signal_that_reaches_no_process_that_may_go_on_is_logged_as_dropped() {
    for found in [Candidates::Several, Candidates::OutOfReach(None)] {
        let seen = view(Phase::Registered, 0, 0);
        let mut machine = machine_that_seeks(INTERVAL, &seen);
        machine.step(1051 * MS, signal(libc::SIGTERM), &seen);
        let effects = machine.step(2050 * MS, Event::DaemonSearched(found), &seen);
        assert!(effects.contains(&dropped(1, libc::SIGTERM)), "{effects:?}");
        assert_eq!(deeds(effects), [Effect::Finish(ExitStatus::Exited(0))]);
    }
}

#[test]
fn withheld_signals_are_not_held_for_a_process_that_was_there_when_they_were_sent() {
    let settings = Settings { withhold_signals: true, ..Settings::default() };
    let mut machine = machine_with(INTERVAL, Recovery::Restart, settings);
    let seen = started(1001 * MS);
    machine.step(1050 * MS, Event::MayHaveDaemonized, &seen);
    let by_kernel = Received { by_kernel: true, ..received(libc::SIGHUP) };
    for received in [received(libc::SIGUSR1), by_kernel, received(libc::SIGTERM)] {
        assert_eq!(machine.step(1051 * MS, Event::Signal { received, shared: false }, &seen), []);
    }
    machine.step(1052 * MS, Event::DaemonSearched(Candidates::Caller(72)), &seen);
    let mut effects = deeds(machine.step(1052 * MS, Event::Adopted { pid: 72 }, &seen));
    effects.extend(deeds(machine.step(1053 * MS, Event::Tick, &seen)));
    assert_eq!(effects, [Effect::Forward(received(libc::SIGTERM)), Effect::Forward(by_kernel)]);
}

#[test]
fn instance_that_the_supervisor_decided_to_end_goes_on_in_no_other_process() {
    for phase in [Phase::Registered, Phase::Waiting, Phase::Started] {
        let after = view(phase, 1201 * MS, 1000 * MS);
        let effects = deeds(machine_that_struck().step(1300 * MS, Event::MayHaveDaemonized, &after));
        assert_eq!(effects, launch(2), "{phase:?}");
    }
}

#[test]
fn process_that_was_adopted_is_warned_and_killed_as_any_other() {
    let seen = started(1040 * MS);
    let mut machine = machine_that_seeks(INTERVAL, &seen);
    machine.step(1051 * MS, Event::DaemonSearched(Candidates::Caller(72)), &seen);
    machine.step(1051 * MS, Event::Adopted { pid: 72 }, &seen);
    assert_eq!(deeds(machine.step(1151 * MS, Event::Tick, &seen)), [Effect::Send(libc::SIGTERM)]);
    let refused = |signal| Event::Refused { signal, errno: libc::EPERM };
    let told = LogEvent::SignalRefused { id: 1, pid: 72, signal: libc::SIGTERM, errno: libc::EPERM };
    assert_eq!(machine.step(1151 * MS, refused(libc::SIGTERM), &seen), [Effect::Log(told)]);
    let silent = 211 * MS;
    let told = LogEvent::Killed { id: 1, pid: 72, silent, signal: libc::SIGKILL };
    let effects = machine.step(1251 * MS, Event::Tick, &seen);
    assert_eq!(effects, [Effect::Log(told), Effect::Send(libc::SIGKILL)]);
    let stopped = view(Phase::Stopped, 1252 * MS, 1040 * MS);
    assert_eq!(deeds(machine.step(1260 * MS, Event::Died(SEGV), &stopped)), launch(2));
}

#[test]
fn next_process_of_a_namespace_that_ended_is_no_failure_of_a_program_that_was_told_to_end() {
    let mut machine = machine(INTERVAL, Recovery::Restart);
    machine.rules.cmap = true;
    machine.cmap = CmapRequests::new(INTERVAL);
    machine.step(1049 * MS, Event::Tick, &started(1001 * MS));
    machine.step(1050 * MS, Event::Died(EXITED), &started(1001 * MS));
    machine.step(1051 * MS, signal(libc::SIGTERM), &View::NO_INSTANCE);
    let effects = machine.step(1051 * MS, Event::LaunchImpossible, &View::NO_INSTANCE);
    let shows_failed =
        |effect: &Effect| matches!(effect, Effect::Publish(record) if record.state == CmapState::Failed);
    assert!(!effects.iter().any(shows_failed), "{effects:?}");
}

#[test]
fn supervisor_without_a_further_instance_ends_as_the_last_one() {
    let mut machine = machine(INTERVAL, Recovery::Restart);
    assert_eq!(deeds(machine.step(1050 * MS, Event::Died(EXITED), &started(1001 * MS))), launch(2));
    let effects = machine.step(1051 * MS, Event::LaunchImpossible, &View::NO_INSTANCE);
    assert_eq!(effects, [Effect::Log(LogEvent::NoMoreProcesses { id: 2 }), Effect::Finish(EXITED)]);
}

#[test]
fn id_and_stage_tell_what_happens_and_until_when() {
    let mut machine = machine(INTERVAL, Recovery::Restart);
    let seen = started(1000 * MS);
    assert_eq!((machine.id(), machine.activity()), (1, (Activity::Watched, 0)));
    machine.step(1100 * MS, Event::Tick, &seen);
    assert_eq!(machine.activity(), (Activity::Warned, 1200 * MS));
    machine.step(1200 * MS, Event::Tick, &seen);
    assert_eq!((machine.id(), machine.activity()), (1, (Activity::Ending, 0)));
    machine.step(1201 * MS, Event::Died(SEGV), &seen);
    assert_eq!((machine.id(), machine.activity()), (2, (Activity::Launching, 0)));
    machine.step(1201 * MS, Event::LaunchFailed(libc::EAGAIN), &View::NO_INSTANCE);
    assert_eq!((machine.id(), machine.activity()), (2, (Activity::Pausing, 1211 * MS)));
    assert_eq!(machine_that_struck().activity(), (Activity::Ending, 1900 * MS));
}

#[test]
fn a_debugger_that_holds_the_silence_shows_as_held() {
    let mut machine = machine_that_holds();
    let seen = started(1000 * MS);
    look(&mut machine, 1025 * MS, true, &seen);
    assert_eq!(machine.activity(), (Activity::Held, 0));
    look(&mut machine, 1050 * MS, false, &seen);
    assert_eq!(machine.activity(), (Activity::Watched, 0));

    let mut machine = machine_that_struck();
    machine.rules.settings.debug_hold = true;
    let seen = started(1000 * MS);
    look(&mut machine, 1300 * MS, true, &seen);
    assert_eq!(machine.activity(), (Activity::Held, 0));
}

#[test]
fn the_log_says_how_long_an_instance_was_silent_and_how_long_its_restart_took() {
    let mut machine = machine(INTERVAL, Recovery::Restart);
    let seen = started(1000 * MS);
    let warned =
        LogEvent::Warned { id: 1, pid: PID, silent: 103 * MS, limit: INTERVAL, signal: libc::SIGTERM };
    assert_eq!(
        machine.step(1103 * MS, Event::Tick, &seen),
        [Effect::Log(warned), Effect::Send(libc::SIGTERM)]
    );
    assert_eq!(machine.step(1104 * MS, Event::Tick, &seen), [], "without a heartbeat it has not recovered");
    let seen = view(Phase::Started, 1000 * MS, 1107 * MS);
    let recovered = LogEvent::Recovered { id: 1, pid: PID, silent: 107 * MS, at: 1103 * MS };
    assert_eq!(machine.step(1110 * MS, Event::Tick, &seen), [Effect::Log(recovered)]);

    machine.step(1120 * MS, Event::Died(SEGV), &seen);
    let effects = machine.step(1125 * MS, Event::Launched { pid: PID }, &View::NO_INSTANCE);
    assert_eq!(effects, [Effect::Log(LogEvent::Restarted { id: 2, pid: PID, took: 5 * MS })]);
}
