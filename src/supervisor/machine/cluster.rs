//! The decisions that follow from the state of quorum and cmap in corosync.

use std::time::Duration;

use super::{Effect, Machine, State, Watch};
use crate::shared::cmap_record::CmapState;
use crate::shared::control_page::{Phase, View};
use crate::shared::mailbox::{ClusterReport, QuorumState};
use crate::supervisor::log_event::{Kind, LogEvent};
use crate::time::MonotonicTime;

/// The longest wait of the supervisor, at its end, until cmap shows how the program has ended. In an instance,
/// `sam_stop` and `sam_finalize` wait for cmap as long.
pub(super) const CMAP_ACK_TIMEOUT: Duration = Duration::from_secs(1);

impl Machine {
    /// Returns `true` if the policy asks for quorum, and quorum is known to be lost.
    pub(super) fn lacks_quorum(&self) -> bool {
        self.rules.quorum && matches!(self.quorum, QuorumState::No | QuorumState::Gone)
    }

    /// Stores the quorum and the state in cmap that the cluster helper reports. If quorum was lost or regained, logs
    /// that and checks the health of the instance. A supervisor that has only waited for cmap ends when cmap shows the
    /// state.
    pub(super) fn take_report(
        &mut self,
        now: MonotonicTime,
        report: ClusterReport,
        view: &View,
        effects: &mut Vec<Effect>,
    ) {
        self.cmap.published = report.published;
        if let State::Closing { status, .. } = self.state {
            if self.cmap.is_done() {
                self.finish(status, effects);
            }
            return;
        }
        let lacked = self.lacks_quorum();
        self.quorum = report.quorum;
        if self.lacks_quorum() == lacked {
            return;
        }
        let kind = if lacked { Kind::QuorumBack } else { Kind::QuorumLost };
        effects.push(Effect::Log(LogEvent::of_cluster(kind)));
        if let State::Watching(watch) = self.state {
            self.evaluate(now, watch, view, effects);
        }
    }

    /// Asks the cluster helper to show `state` and the time of the last sign of life in cmap, unless cmap was asked to
    /// show the same before. Does nothing without CMAP. Returns `true` if the helper was asked.
    pub(super) fn publish(
        &mut self,
        now: MonotonicTime,
        state: CmapState,
        last_activity: Option<MonotonicTime>,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let record = self.rules.cmap.then(|| self.cmap.publish(now, state, last_activity)).flatten();
        effects.extend(record.map(Effect::Publish));
        record.is_some()
    }

    /// Asks the cluster helper to show the phase and the heartbeat of the instance in cmap, if they have changed. Tells
    /// the instance when cmap shows its phase, and lets an instance start that waits for quorum when there is quorum.
    pub(super) fn answer_instance(
        &mut self,
        now: MonotonicTime,
        watch: &Watch,
        view: &View,
        effects: &mut Vec<Effect>,
    ) {
        let (state, last_activity) = match watch.phase(view) {
            // Heartbeats after the decision to end the instance do not count.
            Phase::Started if watch.end_decided_at.is_some() => {
                (CmapState::Running, watch.last_activity.max(Some(watch.born)))
            }
            // While a debugger holds the instance, the watchdog is not to look at the age of its heartbeat.
            Phase::Started if watch.traced => (CmapState::Running, None),
            Phase::Started => (CmapState::Running, Some(watch.last_activity_in(now, view))),
            Phase::Waiting => (CmapState::Waiting, None),
            Phase::Registered | Phase::Stopped | Phase::Finalized => (CmapState::Stopped, None),
        };
        self.publish(now, state, last_activity, effects);
        if self.cmap.is_done() && self.acknowledged != view.since {
            self.acknowledged = view.since;
            effects.push(Effect::AckPublished(view.since));
        }
        let may_start = state == CmapState::Waiting && self.quorum == QuorumState::Yes;
        if may_start && self.granted != view.since {
            self.granted = view.since;
            effects.push(Effect::GrantStart(view.since));
        }
    }
}
