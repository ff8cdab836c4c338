//! Quorum and cmap.

use super::*;

fn clustered(interval: u64, recovery: Recovery, quorum: bool, cmap: bool) -> Machine {
    let mut machine = super::machine(interval, recovery);
    machine.rules.quorum = quorum;
    machine.rules.cmap = cmap;
    machine
}

fn report(quorum: QuorumState, published: Option<CmapState>) -> Event {
    Event::Corosync(ClusterReport { quorum, published, lost: false })
}

fn said(quorum: QuorumState) -> Event {
    report(quorum, None)
}

fn published(state: CmapState, last_updated: u64) -> Effect {
    Effect::Publish(CmapRecord { state, last_updated })
}

#[test]
fn who_waits_is_admitted_once_and_only_by_quorum() {
    for (before, after) in [
        (QuorumState::Unknown, QuorumState::Yes),
        (QuorumState::No, QuorumState::Yes),
        (QuorumState::Gone, QuorumState::Yes),
    ] {
        let mut machine = clustered(INTERVAL, Recovery::Restart, true, false);
        let waiting = view(Phase::Waiting, 1001 * MS, 0);
        machine.step(1001 * MS, said(before), &waiting);
        assert_eq!(deeds(machine.step(1002 * MS, Event::Tick, &waiting)), [], "{before:?}");
        // However long it takes.
        assert_eq!(deeds(machine.step(9000 * MS, Event::Tick, &waiting)), []);
        assert_eq!(deeds(machine.step(9001 * MS, said(after), &waiting)), [Effect::GrantStart(1001 * MS)]);
        assert_eq!(deeds(machine.step(9002 * MS, Event::Tick, &waiting)), [], "once");
        let again = view(Phase::Waiting, 9003 * MS, 0);
        assert_eq!(deeds(machine.step(9004 * MS, Event::Tick, &again)), [Effect::GrantStart(9003 * MS)]);
    }
}

#[test]
fn who_outlives_quorum_is_killed_whatever_it_sends() {
    for lost in [QuorumState::No, QuorumState::Gone] {
        for (interval, limit) in [(INTERVAL, INTERVAL), (0, 1000 * MS)] {
            let mut machine = clustered(interval, Recovery::Restart, true, false);
            machine.step(1001 * MS, said(QuorumState::Yes), &started(1001 * MS));
            let at = 1050 * MS;
            let effects = machine.step(at, said(lost), &started(at));
            assert_eq!(deeds(effects), [Effect::Send(libc::SIGTERM)], "at once");
            assert_eq!(machine.wake_at(), Some(at + limit));
            for now in [at + MS, at + limit / 2, at + limit - 1] {
                // Heartbeats, quorum back, corosync back: it was condemned.
                assert_eq!(deeds(machine.step(now, said(QuorumState::Yes), &started(now))), []);
                assert_eq!(deeds(machine.step(now, Event::Tick, &started(now))), []);
            }
            let effects = deeds(machine.step(at + limit, Event::Tick, &started(at + limit)));
            assert_eq!(effects, [Effect::Send(libc::SIGKILL)]);
            assert_eq!(deeds(machine.step(at + limit + 1, Event::Tick, &started(at + limit + 1))), []);
            let status = ExitStatus::Killed { signal: libc::SIGKILL, core: false };
            let effects = deeds(machine.step(at + limit + 2, Event::Died(status), &started(at)));
            assert_eq!(effects, launch(2));
        }
    }
}

#[test]
fn a_late_supervisor_owes_nothing_to_who_outlives_quorum() {
    let mut machine = clustered(INTERVAL, Recovery::Restart, true, false);
    machine.step(1001 * MS, said(QuorumState::Yes), &started(1001 * MS));
    machine.step(1050 * MS, said(QuorumState::No), &started(1050 * MS));
    let effects = deeds(machine.step(1150 * MS + INTERVAL, Event::Tick, &started(1149 * MS)));
    assert_eq!(effects, [Effect::Send(libc::SIGKILL)]);
}

#[test]
fn stopping_calls_it_off_and_who_is_not_started_is_left_alone() {
    let mut machine = clustered(INTERVAL, Recovery::Restart, true, false);
    machine.step(1001 * MS, said(QuorumState::Yes), &started(1001 * MS));
    machine.step(1050 * MS, said(QuorumState::No), &started(1050 * MS));
    for phase in [Phase::Stopped, Phase::Waiting, Phase::Registered, Phase::Finalized] {
        let seen = view(phase, 1060 * MS, 1049 * MS);
        assert_eq!(deeds(machine.step(1070 * MS, Event::Tick, &seen)), []);
        assert_eq!(deeds(machine.step(5000 * MS, Event::Tick, &seen)), [], "{phase:?}");
    }
    // Started without having been let in: as if quorum were lost now.
    let effects = deeds(machine.step(5001 * MS, Event::Tick, &started(5001 * MS)));
    assert_eq!(effects, [Effect::Send(libc::SIGTERM)]);
}

#[test]
fn who_was_warned_for_its_silence_is_warned_for_this_as_well() {
    let mut machine = clustered(INTERVAL, Recovery::Restart, true, false);
    let seen = started(1000 * MS);
    machine.step(1001 * MS, said(QuorumState::Yes), &seen);
    assert_eq!(deeds(machine.step(1100 * MS, Event::Tick, &seen)), [Effect::Send(libc::SIGTERM)]);
    assert_eq!(deeds(machine.step(1150 * MS, said(QuorumState::No), &seen)), [Effect::Send(libc::SIGTERM)]);
    let seen = started(1190 * MS);
    assert_eq!(deeds(machine.step(1249 * MS, Event::Tick, &seen)), []);
    assert_eq!(deeds(machine.step(1250 * MS, Event::Tick, &seen)), [Effect::Send(libc::SIGKILL)]);
}

#[test]
fn policies_without_quorum_do_not_care() {
    let mut machine = clustered(INTERVAL, Recovery::Restart, false, true);
    for quorum in [QuorumState::Yes, QuorumState::No, QuorumState::Gone] {
        let effects = deeds(machine.step(1050 * MS, said(quorum), &started(1050 * MS)));
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Send(_))), "{effects:?}");
    }
}

#[test]
fn cmap_shows_each_phase_and_who_waits_for_that_is_told() {
    let mut machine = clustered(INTERVAL, Recovery::Restart, true, true);
    for (phase, state, last_updated) in [
        (Phase::Registered, CmapState::Stopped, 0),
        (Phase::Waiting, CmapState::Waiting, 0),
        (Phase::Started, CmapState::Running, 1500 * MS),
        (Phase::Stopped, CmapState::Stopped, 0),
        (Phase::Started, CmapState::Running, 1500 * MS),
        (Phase::Finalized, CmapState::Stopped, 0),
    ] {
        let seen = view(phase, 1500 * MS, 1400 * MS);
        let before = machine.cmap.published;
        assert_eq!(deeds(machine.step(1500 * MS, Event::Tick, &seen)), [published(state, last_updated)]);
        // What was shown before is no answer to this.
        assert_eq!(
            deeds(machine.step(1500 * MS, report(QuorumState::Unknown, before), &seen)),
            [],
            "{phase:?}"
        );
        machine.answered.1 = 0;
        let effects = deeds(machine.step(1501 * MS, report(QuorumState::Unknown, Some(state)), &seen));
        assert_eq!(effects, [Effect::AckPublished(1500 * MS)], "{phase:?}");
        assert_eq!(
            deeds(machine.step(1501 * MS, report(QuorumState::Unknown, Some(state)), &seen)),
            [],
            "once"
        );
    }
}

#[test]
fn the_machine_wakes_to_publish_heartbeats_and_only_true_ones() {
    let interval = 1000 * MS;
    let mut machine = clustered(interval, Recovery::Restart, false, true);
    let begin = 2000 * MS;
    assert_eq!(
        deeds(machine.step(begin, Event::Tick, &started(begin))),
        [published(CmapState::Running, begin)]
    );
    for beat in 1..20 {
        let now = machine.wake_at().expect("it wakes");
        assert_eq!(now, begin + beat * interval / 4);
        // A stamp from the future is not a heartbeat.
        let last = begin + (beat - 1) * interval / 4;
        let seen = view(Phase::Started, last, u64::MAX);
        assert_eq!(
            deeds(machine.step(now, Event::Tick, &seen)),
            if beat == 1 { vec![] } else { vec![published(CmapState::Running, last)] }
        );
    }
}

/// How it ends -> what is shown, by policy, phase, and whether somebody told it to end.
#[test]
fn the_end_waits_until_it_is_shown_for_a_second_at_most() {
    use Recovery::{Quit, Restart};
    for (recovery, phase, marked_failed, told, state) in [
        (Quit, Phase::Registered, false, false, CmapState::Gone),
        (Quit, Phase::Started, false, false, CmapState::Failed),
        (Quit, Phase::Started, false, true, CmapState::Gone),
        (Quit, Phase::Stopped, false, false, CmapState::Gone),
        (Quit, Phase::Waiting, false, false, CmapState::Gone),
        (Quit, Phase::Finalized, false, false, CmapState::Gone),
        (Quit, Phase::Stopped, true, true, CmapState::Failed),
        (Restart, Phase::Registered, false, false, CmapState::Gone),
        (Restart, Phase::Registered, true, false, CmapState::Failed),
        (Restart, Phase::Started, true, false, CmapState::Failed),
        (Restart, Phase::Started, false, true, CmapState::Gone),
        (Restart, Phase::Stopped, false, false, CmapState::Gone),
    ] {
        let mut machine = clustered(INTERVAL, recovery, false, true);
        let seen = View { marked_failed, ..view(phase, 1001 * MS, 1001 * MS) };
        machine.step(1002 * MS, Event::Tick, &seen);
        if told {
            machine.step(1003 * MS, signal(libc::SIGTERM), &seen);
        }
        let last_updated = if state == CmapState::Failed { 1050 * MS } else { 0 };
        let context = format!("{recovery:?} {phase:?} {marked_failed} {told}");
        let effects = deeds(machine.step(1050 * MS, Event::Died(EXITED), &seen));
        assert_eq!(effects, [published(state, last_updated)], "{context}");

        let mut shown = machine.clone();
        assert_eq!(deeds(shown.step(1051 * MS, report(QuorumState::Unknown, None), &seen)), []);
        let effects = deeds(shown.step(1052 * MS, report(QuorumState::Unknown, Some(state)), &seen));
        assert_eq!(effects, [Effect::Finish(EXITED)], "{context}");
        assert_eq!(machine.wake_at(), Some(2050 * MS));
        assert_eq!(deeds(machine.step(2049 * MS, Event::Tick, &seen)), []);
        assert_eq!(deeds(machine.step(2050 * MS, Event::Tick, &seen)), [Effect::Finish(EXITED)], "{context}");
        assert_eq!(machine.wake_at(), None);
    }
}

#[test]
fn a_hang_that_was_told_to_end_and_had_to_be_killed_has_failed() {
    let mut machine = clustered(INTERVAL, Recovery::Quit, false, true);
    let seen = started(1000 * MS);
    machine.step(1010 * MS, signal(libc::SIGTERM), &seen);
    machine.step(1100 * MS, Event::Tick, &seen);
    machine.step(1200 * MS, Event::Tick, &seen);
    let status = ExitStatus::Killed { signal: libc::SIGKILL, core: false };
    let effects = deeds(machine.step(1201 * MS, Event::Died(status), &seen));
    assert_eq!(effects, [published(CmapState::Failed, 1201 * MS)]);
}

#[test]
fn who_is_restarted_too_often_has_failed() {
    let mut machine = clustered(INTERVAL, Recovery::Restart, false, true);
    machine.restarts = Restarts::new(Some(RestartLimit { restarts: 0, window: 1000 * MS }), None);
    let effects = deeds(machine.step(1050 * MS, Event::Died(SEGV), &started(1005 * MS)));
    assert_eq!(effects, [published(CmapState::Failed, 1050 * MS)]);
}

#[test]
fn between_two_instances_the_state_is_stopped() {
    let mut machine = clustered(INTERVAL, Recovery::Restart, false, true);
    machine.step(1010 * MS, Event::Tick, &started(1005 * MS));
    let effects = deeds(machine.step(1050 * MS, Event::Died(SEGV), &started(1005 * MS)));
    assert_eq!(effects, [vec![published(CmapState::Stopped, 0)], launch(2)].concat());
    assert_eq!(deeds(machine.step(1051 * MS, Event::Launched { pid: PID }, &View::NO_INSTANCE)), []);
}

proptest! {
    /// Whatever an instance writes: without quorum it is never let in, and from the moment it is seen started it is
    /// killed an interval later at the latest, unless it is seen not started.
    #[test]
    fn no_rubbish_on_the_page_helps_to_outlive_quorum(
        words in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u64>(), any::<i32>(), 0..5_u8), 1..60),
        steps in proptest::collection::vec(1..120_u64, 60),
    ) {
        let mut machine = clustered(INTERVAL, Recovery::Restart, true, true);
        let mut now = 1000 * MS;
        machine.step(now, said(QuorumState::No), &View::NO_INSTANCE);
        let mut started_since = None;
        for ((since, heartbeat, unhealthy, warn_signal, phase), step) in words.into_iter().zip(steps) {
            now += step * MS;
            let phase = [Phase::Registered, Phase::Started, Phase::Stopped, Phase::Finalized, Phase::Waiting]
                [usize::from(phase)];
            let seen = View { phase, since, heartbeat, unhealthy, warn_signal, marked_failed: false };
            let effects = deeds(machine.step(now, Event::Tick, &seen));
            prop_assert!(!effects.iter().any(|effect| matches!(effect, Effect::GrantStart(_))));
            let killed = effects.contains(&Effect::Send(libc::SIGKILL));
            if phase != Phase::Started {
                prop_assert!(!killed || warn_signal == libc::SIGKILL);
                started_since = None;
            } else if warn_signal != libc::SIGKILL {
                let begin = *started_since.get_or_insert(now);
                prop_assert_eq!(killed, now >= begin + INTERVAL);
            }
            if killed {
                break;
            }
        }
    }
}

#[test]
fn the_signal_for_a_hang_lets_nobody_outlive_quorum() {
    for traced in [false, true] {
        let mut machine = machine_that_struck();
        machine.rules.quorum = true;
        machine.rules.settings.debug_hold = traced;
        let seen = started(1000 * MS);
        assert_eq!(deeds(machine.step(1300 * MS, said(QuorumState::No), &seen)), []);
        let found = Event::Inspected(Inspection { traced, dumping: true });
        assert_eq!(deeds(machine.step(1399 * MS, found, &seen)), []);
        assert!(machine.wake_at() <= Some(1400 * MS));
        assert_eq!(deeds(machine.step(1400 * MS, Event::Tick, &seen)), [Effect::Inspect]);
        assert_eq!(deeds(machine.step(1400 * MS, found, &seen)), [Effect::Send(libc::SIGKILL)]);
    }
}

#[test]
fn a_debugger_holds_no_quorum() {
    let mut machine = machine_that_holds();
    machine.rules.quorum = true;
    let seen = started(1000 * MS);
    look(&mut machine, 1010 * MS, true, &seen);
    assert_eq!(deeds(machine.step(1050 * MS, said(QuorumState::No), &seen)), [Effect::Send(libc::SIGTERM)]);
    assert_eq!(deeds(look(&mut machine, 1149 * MS, true, &seen)), []);
    assert_eq!(deeds(look(&mut machine, 1150 * MS, true, &seen)), [Effect::Send(libc::SIGKILL)]);
}

#[test]
fn nobody_is_to_mind_the_age_of_what_a_debugger_holds() {
    let mut machine = machine_that_holds();
    machine.rules.cmap = true;
    let seen = started(1000 * MS);
    assert_eq!(
        machine.step(1001 * MS, Event::Tick, &seen),
        [Effect::Inspect, published(CmapState::Running, 1000 * MS)]
    );
    assert_eq!(
        deeds(machine.step(1200 * MS, Event::Inspected(Inspection { traced: true, dumping: false }), &seen)),
        [published(CmapState::Running, 0)]
    );
}

#[test]
fn a_traced_instance_that_is_to_end_for_lack_of_quorum_is_not_shown_as_held() {
    let mut machine = machine_that_holds();
    machine.rules.quorum = true;
    let seen = started(1000 * MS);
    look(&mut machine, 1010 * MS, true, &seen);
    assert_eq!(machine.activity(), (Activity::Held, 0));
    machine.step(1050 * MS, said(QuorumState::No), &seen);
    assert_eq!(machine.activity(), (Activity::Warned, 1150 * MS));
    look(&mut machine, 1150 * MS, true, &seen);
    assert_eq!(machine.activity(), (Activity::Ending, 0));

    let mut machine = machine_that_struck();
    (machine.rules.quorum, machine.rules.settings.debug_hold) = (true, true);
    look(&mut machine, 1300 * MS, true, &seen);
    assert_eq!(machine.activity(), (Activity::Held, 0));
    machine.step(1310 * MS, said(QuorumState::No), &seen);
    assert_eq!(machine.activity(), (Activity::Ending, 1410 * MS));
}

#[test]
fn no_heartbeat_is_due_for_cmap_while_an_heir_is_sought() {
    let mut machine = clustered(INTERVAL, Recovery::Restart, false, true);
    let seen = started(1005 * MS);
    machine.step(1010 * MS, Event::Tick, &seen);
    assert_eq!(machine.step(1050 * MS, Event::MayHaveDaemonized, &seen), [Effect::FindDaemon]);
    for now in [1050, 1060] {
        machine.step(now * MS, Event::DaemonSearched(Candidates::Several), &seen);
    }
    machine.step(1145 * MS, Event::Tick, &seen);
    machine.step(1145 * MS, Event::DaemonSearched(Candidates::Several), &seen);
    assert_eq!(machine.wake_at(), Some(1150 * MS), "when its time is up, not at once again and again");
}
