//! Quorum and cmap.

use super::*;

fn clustered(interval: Option<Duration>, recovery: Recovery, quorum: bool, cmap: bool) -> Machine {
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

fn published(state: CmapState, last_updated: Option<MonotonicTime>) -> Effect {
    Effect::Publish(CmapRecord { state, last_updated })
}

#[test]
fn waiting_instance_may_start_once_quorum_is_there() {
    for (before, after) in [
        (QuorumState::Unknown, QuorumState::Yes),
        (QuorumState::No, QuorumState::Yes),
        (QuorumState::Gone, QuorumState::Yes),
    ] {
        let mut machine = clustered(Some(INTERVAL), Recovery::Restart, true, false);
        let waiting = view(Phase::Waiting, at(1001), at(0));
        machine.step(at(1001), said(before), &waiting);
        assert_eq!(deeds(machine.step(at(1002), Event::Tick, &waiting)), [], "{before:?}");
        // However long it takes.
        assert_eq!(deeds(machine.step(at(9000), Event::Tick, &waiting)), []);
        assert_eq!(deeds(machine.step(at(9001), said(after), &waiting)), [Effect::GrantStart(at(1001))]);
        assert_eq!(deeds(machine.step(at(9002), Event::Tick, &waiting)), [], "once");
        let again = view(Phase::Waiting, at(9003), at(0));
        assert_eq!(deeds(machine.step(at(9004), Event::Tick, &again)), [Effect::GrantStart(at(9003))]);
    }
}

#[test]
fn quorum_loss_kills_instance_despite_heartbeats() {
    for lost in [QuorumState::No, QuorumState::Gone] {
        for (interval, limit) in [(Some(INTERVAL), INTERVAL), (None, ms(1000))] {
            let mut machine = clustered(interval, Recovery::Restart, true, false);
            machine.step(at(1001), said(QuorumState::Yes), &started(at(1001)));
            let lost_at = at(1050);
            let effects = machine.step(lost_at, said(lost), &started(lost_at));
            assert_eq!(deeds(effects), [Effect::Send(Signal::TERM)], "at once");
            assert_eq!(machine.wake_at(), Some(lost_at + limit));
            for now in [lost_at + ms(1), lost_at + limit / 2, before(lost_at + limit)] {
                // Neither heartbeats nor quorum save it now.
                assert_eq!(deeds(machine.step(now, said(QuorumState::Yes), &started(now))), []);
                assert_eq!(deeds(machine.step(now, Event::Tick, &started(now))), []);
            }
            let effects = deeds(machine.step(lost_at + limit, Event::Tick, &started(lost_at + limit)));
            assert_eq!(effects, [Effect::Send(Signal::KILL)]);
            assert_eq!(
                deeds(machine.step(lost_at + limit + ms(1), Event::Tick, &started(lost_at + limit + ms(1)))),
                []
            );
            let status = ExitStatus::Killed { signal: Signal::KILL, core: false };
            let effects =
                deeds(machine.step(lost_at + limit + ms(2), Event::Died(status), &started(lost_at)));
            assert_eq!(effects, launch(2));
        }
    }
}

#[test]
fn late_supervisor_does_not_extend_the_deadline_after_quorum_loss() {
    let mut machine = clustered(Some(INTERVAL), Recovery::Restart, true, false);
    machine.step(at(1001), said(QuorumState::Yes), &started(at(1001)));
    machine.step(at(1050), said(QuorumState::No), &started(at(1050)));
    let effects = deeds(machine.step(at(1150) + INTERVAL, Event::Tick, &started(at(1149))));
    assert_eq!(effects, [Effect::Send(Signal::KILL)]);
}

#[test]
fn quorum_loss_spares_an_instance_that_has_stopped() {
    let mut machine = clustered(Some(INTERVAL), Recovery::Restart, true, false);
    machine.step(at(1001), said(QuorumState::Yes), &started(at(1001)));
    machine.step(at(1050), said(QuorumState::No), &started(at(1050)));
    for phase in [Phase::Stopped, Phase::Waiting, Phase::Registered, Phase::Finalized] {
        let seen = view(phase, at(1060), at(1049));
        assert_eq!(deeds(machine.step(at(1070), Event::Tick, &seen)), []);
        assert_eq!(deeds(machine.step(at(5000), Event::Tick, &seen)), [], "{phase:?}");
    }
    // Started without having been let in: as if quorum were lost now.
    let effects = deeds(machine.step(at(5001), Event::Tick, &started(at(5001))));
    assert_eq!(effects, [Effect::Send(Signal::TERM)]);
}

#[test]
fn quorum_loss_after_a_warning_for_silence_warns_again() {
    let mut machine = clustered(Some(INTERVAL), Recovery::Restart, true, false);
    let seen = started(at(1000));
    machine.step(at(1001), said(QuorumState::Yes), &seen);
    assert_eq!(deeds(machine.step(at(1100), Event::Tick, &seen)), [Effect::Send(Signal::TERM)]);
    assert_eq!(deeds(machine.step(at(1150), said(QuorumState::No), &seen)), [Effect::Send(Signal::TERM)]);
    let seen = started(at(1190));
    assert_eq!(deeds(machine.step(at(1249), Event::Tick, &seen)), []);
    assert_eq!(deeds(machine.step(at(1250), Event::Tick, &seen)), [Effect::Send(Signal::KILL)]);
}

#[test]
fn quorum_loss_without_the_policy_is_ignored() {
    let mut machine = clustered(Some(INTERVAL), Recovery::Restart, false, true);
    for quorum in [QuorumState::Yes, QuorumState::No, QuorumState::Gone] {
        let effects = deeds(machine.step(at(1050), said(quorum), &started(at(1050))));
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Send(_))), "{effects:?}");
    }
}

#[test]
fn each_phase_is_published_and_acknowledged() {
    let mut machine = clustered(Some(INTERVAL), Recovery::Restart, true, true);
    for (phase, state, last_updated) in [
        (Phase::Registered, CmapState::Stopped, None),
        (Phase::Waiting, CmapState::Waiting, None),
        (Phase::Started, CmapState::Running, Some(at(1500))),
        (Phase::Stopped, CmapState::Stopped, None),
        (Phase::Started, CmapState::Running, Some(at(1500))),
        (Phase::Finalized, CmapState::Stopped, None),
    ] {
        let seen = view(phase, at(1500), at(1400));
        let before = machine.cmap.published;
        assert_eq!(deeds(machine.step(at(1500), Event::Tick, &seen)), [published(state, last_updated)]);
        // A report of the former state acknowledges nothing.
        assert_eq!(
            deeds(machine.step(at(1500), report(QuorumState::Unknown, before), &seen)),
            [],
            "{phase:?}"
        );
        machine.acknowledged = at(0);
        let effects = deeds(machine.step(at(1501), report(QuorumState::Unknown, Some(state)), &seen));
        assert_eq!(effects, [Effect::AckPublished(at(1500))], "{phase:?}");
        assert_eq!(
            deeds(machine.step(at(1501), report(QuorumState::Unknown, Some(state)), &seen)),
            [],
            "once"
        );
    }
}

#[test]
fn heartbeats_are_published_four_times_per_interval_and_forged_ones_never() {
    let interval = ms(1000);
    let mut machine = clustered(Some(interval), Recovery::Restart, false, true);
    let begin = at(2000);
    assert_eq!(
        deeds(machine.step(begin, Event::Tick, &started(begin))),
        [published(CmapState::Running, Some(begin))]
    );
    for beat in 1..20 {
        let now = machine.wake_at().expect("it wakes");
        assert_eq!(now, begin + interval * beat / 4);
        // A stamp from the future is not a heartbeat.
        let last = begin + interval * (beat - 1) / 4;
        let seen = view(Phase::Started, last, FUTURE);
        assert_eq!(
            deeds(machine.step(now, Event::Tick, &seen)),
            if beat == 1 { vec![] } else { vec![published(CmapState::Running, Some(last))] }
        );
    }
}

#[test]
fn heartbeat_after_the_decision_to_end_the_instance_is_not_published() {
    let mut machine = machine_after_hang_signal();
    machine.rules.cmap = true;
    for ms in (1210..1900).step_by(30) {
        for effect in deeds(machine.step(at(ms), Event::Tick, &started(at(ms)))) {
            let Effect::Publish(CmapRecord { last_updated, .. }) = effect else { continue };
            assert!(last_updated <= Some(at(1200)), "at {ms} ms: {effect:?}");
        }
    }
}

#[test]
fn signal_for_an_instance_that_ended_is_dropped_while_the_supervisor_ends() {
    let mut machine = clustered(Some(INTERVAL), Recovery::Quit, false, true);
    machine.step(at(1050), Event::Died(EXITED), &started(at(1001)));
    let missed = Event::Missed(received(Signal::USR1));
    assert_eq!(machine.step(at(1051), missed, &View::NO_INSTANCE), []);
    assert_eq!(deeds(machine.step(at(2050), Event::Tick, &View::NO_INSTANCE)), [Effect::Finish(EXITED)]);
}

/// The state in cmap depends on policy, phase, sam_mark_failed, and whether the program was told to end.
#[test]
fn end_waits_for_cmap_for_a_second_at_most() {
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
        let mut machine = clustered(Some(INTERVAL), recovery, false, true);
        let seen = View { marked_failed, ..view(phase, at(1001), at(1001)) };
        machine.step(at(1002), Event::Tick, &seen);
        if told {
            machine.step(at(1003), signal(Signal::TERM), &seen);
        }
        let last_updated = (state == CmapState::Failed).then_some(at(1050));
        let context = format!("{recovery:?} {phase:?} {marked_failed} {told}");
        let effects = deeds(machine.step(at(1050), Event::Died(EXITED), &seen));
        assert_eq!(effects, [published(state, last_updated)], "{context}");

        let mut shown = machine.clone();
        assert_eq!(deeds(shown.step(at(1051), report(QuorumState::Unknown, None), &seen)), []);
        let effects = deeds(shown.step(at(1052), report(QuorumState::Unknown, Some(state)), &seen));
        assert_eq!(effects, [Effect::Finish(EXITED)], "{context}");
        assert_eq!(machine.wake_at(), Some(at(2050)));
        assert_eq!(deeds(machine.step(at(2049), Event::Tick, &seen)), []);
        assert_eq!(deeds(machine.step(at(2050), Event::Tick, &seen)), [Effect::Finish(EXITED)], "{context}");
        assert_eq!(machine.wake_at(), None);
    }
}

#[test]
fn hung_instance_that_was_told_to_end_is_shown_as_failed() {
    let mut machine = clustered(Some(INTERVAL), Recovery::Quit, false, true);
    let seen = started(at(1000));
    machine.step(at(1010), signal(Signal::TERM), &seen);
    machine.step(at(1100), Event::Tick, &seen);
    machine.step(at(1200), Event::Tick, &seen);
    let status = ExitStatus::Killed { signal: Signal::KILL, core: false };
    let effects = deeds(machine.step(at(1201), Event::Died(status), &seen));
    assert_eq!(effects, [published(CmapState::Failed, Some(at(1201)))]);
}

#[test]
fn program_at_the_restart_limit_is_shown_as_failed() {
    let mut machine = clustered(Some(INTERVAL), Recovery::Restart, false, true);
    machine.restarts = Restarts::new(Some(RestartLimit { restarts: 0, window: ms(1000) }), None);
    let effects = deeds(machine.step(at(1050), Event::Died(SEGV), &started(at(1005))));
    assert_eq!(effects, [published(CmapState::Failed, Some(at(1050)))]);
}

#[test]
fn lost_instance_is_shown_as_stopped() {
    let mut machine = clustered(Some(INTERVAL), Recovery::Restart, false, true);
    machine.step(at(1010), Event::Tick, &started(at(1005)));
    let effects = deeds(machine.step(at(1050), Event::Died(SEGV), &started(at(1005))));
    assert_eq!(effects, [vec![published(CmapState::Stopped, None)], launch(2)].concat());
    assert_eq!(deeds(machine.step(at(1051), Event::Launched { pid: PID }, &View::NO_INSTANCE)), []);
}

proptest! {
    /// For random contents of the control page, an instance is not let in without quorum. If it is seen started without
    /// quorum, it is killed an interval later, unless it is seen in another phase before.
    #[test]
    fn random_page_does_not_outlive_quorum(
        words in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u64>(), any::<i32>(), 0..5_u8), 1..60),
        steps in proptest::collection::vec(1..120_u64, 60),
    ) {
        let mut machine = clustered(Some(INTERVAL), Recovery::Restart, true, true);
        let mut now = at(1000);
        machine.step(now, said(QuorumState::No), &View::NO_INSTANCE);
        let mut started_since = None;
        for ((since, heartbeat, unhealthy, warn_signal, phase), step) in words.into_iter().zip(steps) {
            now = now + ms(step);
            let phase = [Phase::Registered, Phase::Started, Phase::Stopped, Phase::Finalized, Phase::Waiting]
                [usize::from(phase)];
            let seen = hostile(phase, since, [heartbeat, unhealthy], warn_signal);
            let effects = deeds(machine.step(now, Event::Tick, &seen));
            prop_assert!(!effects.iter().any(|effect| matches!(effect, Effect::GrantStart(_))));
            let killed = effects.contains(&Effect::Send(Signal::KILL));
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
fn quorum_loss_after_the_hang_signal_shortens_the_time_to_end() {
    for traced in [false, true] {
        let mut machine = machine_after_hang_signal();
        machine.rules.quorum = true;
        machine.rules.settings.debug_hold = traced;
        let seen = started(at(1000));
        assert_eq!(deeds(machine.step(at(1300), said(QuorumState::No), &seen)), []);
        let found = Event::Inspected(Inspection { traced, dumping: true });
        assert_eq!(deeds(machine.step(at(1399), found, &seen)), []);
        assert!(machine.wake_at() <= Some(at(1400)));
        assert_eq!(deeds(machine.step(at(1400), Event::Tick, &seen)), [Effect::Inspect]);
        assert_eq!(deeds(machine.step(at(1400), found, &seen)), [Effect::Send(Signal::KILL)]);
    }
}

#[test]
fn quorum_loss_kills_a_traced_instance() {
    let mut machine = machine_that_holds();
    machine.rules.quorum = true;
    let seen = started(at(1000));
    look(&mut machine, at(1010), true, &seen);
    assert_eq!(deeds(machine.step(at(1050), said(QuorumState::No), &seen)), [Effect::Send(Signal::TERM)]);
    assert_eq!(deeds(look(&mut machine, at(1149), true, &seen)), []);
    assert_eq!(deeds(look(&mut machine, at(1150), true, &seen)), [Effect::Send(Signal::KILL)]);
}

#[test]
fn heartbeat_of_a_traced_instance_is_published_without_age() {
    let mut machine = machine_that_holds();
    machine.rules.cmap = true;
    let seen = started(at(1000));
    assert_eq!(
        machine.step(at(1001), Event::Tick, &seen),
        [Effect::Inspect, published(CmapState::Running, Some(at(1000)))]
    );
    assert_eq!(
        deeds(machine.step(at(1200), Event::Inspected(Inspection { traced: true, dumping: false }), &seen)),
        [published(CmapState::Running, None)]
    );
}

#[test]
fn traced_instance_after_quorum_loss_is_not_shown_as_held() {
    let mut machine = machine_that_holds();
    machine.rules.quorum = true;
    let seen = started(at(1000));
    look(&mut machine, at(1010), true, &seen);
    assert_eq!(machine.activity(), (Activity::Held, None));
    machine.step(at(1050), said(QuorumState::No), &seen);
    assert_eq!(machine.activity(), (Activity::Warned, Some(at(1150))));
    look(&mut machine, at(1150), true, &seen);
    assert_eq!(machine.activity(), (Activity::Ending, None));

    let mut machine = machine_after_hang_signal();
    (machine.rules.quorum, machine.rules.settings.debug_hold) = (true, true);
    look(&mut machine, at(1300), true, &seen);
    assert_eq!(machine.activity(), (Activity::Held, None));
    machine.step(at(1310), said(QuorumState::No), &seen);
    assert_eq!(machine.activity(), (Activity::Ending, Some(at(1410))));
}

#[test]
fn search_for_a_daemon_publishes_no_heartbeats() {
    let mut machine = clustered(Some(INTERVAL), Recovery::Restart, false, true);
    let seen = started(at(1005));
    machine.step(at(1010), Event::Tick, &seen);
    assert_eq!(machine.step(at(1050), Event::MayHaveDaemonized, &seen), [Effect::FindDaemon]);
    for now in [1050, 1060] {
        machine.step(at(now), Event::DaemonSearched(Candidates::Several), &seen);
    }
    machine.step(at(1145), Event::Tick, &seen);
    machine.step(at(1145), Event::DaemonSearched(Candidates::Several), &seen);
    assert_eq!(machine.wake_at(), Some(at(1150)), "when its time is up, not at once again and again");
}
