//! The first steps of a forked process, until it is an instance.

#![forbid(unsafe_code)]

use nix::unistd::Pid;

use crate::cluster::Doorbell;
use crate::shared::control_page::InstanceEnd;
use crate::sys::process::{self, Origin};
use crate::sys::signals::{self, Signal};

/// A process that the supervisor has just forked: the next instance, or a spare, which waits to become one.
#[derive(Debug)]
pub struct ForkedChild {
    /// The pid of the supervisor that forked this process.
    supervisor: Pid,
    /// The instance id of the next instance. `None` for a spare, a process forked in advance that gets its id when it
    /// replaces a dead instance.
    id: Option<u32>,
    control_page: InstanceEnd,
    doorbell: Option<Doorbell>,
}

/// A process that has become an instance, with the shared memory by which it reaches the supervisor and the cluster
/// helper.
#[derive(Debug)]
pub struct Instance {
    /// The instance id, which `sam_register` returns.
    pub id: u32,
    /// The memory that the instance shares with its supervisor, for heartbeats and all other communication.
    pub control_page: InstanceEnd,
    /// The counter by which the instance notifies the cluster helper of a request on the control page. `None` for a
    /// policy without QUORUM and CMAP.
    pub doorbell: Option<Doorbell>,
}

impl ForkedChild {
    /// Describes the calling process, which the supervisor has just forked, as the instance with the given id.
    /// `supervisor` is the pid of the supervisor. The process becomes the instance in
    /// [`take_over`](ForkedChild::take_over).
    pub fn new(
        supervisor: Pid,
        id: u32,
        control_page: InstanceEnd,
        doorbell: Option<Doorbell>,
    ) -> ForkedChild {
        ForkedChild { supervisor, id: Some(id), control_page, doorbell }
    }

    /// Makes the calling process, which the supervisor has just forked, a spare: a process that waits until it has to
    /// replace a dead instance. `supervisor` is the pid of the supervisor.
    ///
    /// The kernel kills the spare when the supervisor ends. The spare is in a process group of its own, so that signals
    /// to the program's group do not reach it.
    pub fn spare(
        supervisor: Pid,
        origin: &Origin,
        control_page: InstanceEnd,
        doorbell: Option<Doorbell>,
    ) -> ForkedChild {
        process::signal_on_death_of_parent(Some(Signal::KILL));
        // The supervisor may have ended before the line above. The lifeline does not show that, because the supervisor
        // holds the lifeline of a spare only after the release.
        if origin.has_ended() {
            process::exit_now(0);
        }
        process::leave_group();
        ForkedChild { supervisor, id: None, control_page, doorbell }
    }

    /// Makes the calling process an instance of its supervisor, with SIGTERM when the supervisor ends. A spare, which
    /// was forked in advance, first waits here until it has to replace a dead instance.
    pub fn take_over(self) -> Instance {
        let ForkedChild { supervisor, id, control_page, doorbell } = self;
        let is_spare = id.is_none();
        let id = id.unwrap_or_else(|| {
            let id = control_page.wait_for_release();
            // Signals that are pending here were sent to the waiting spare. The supervisor forwards none to the
            // instance before `confirm_takeover`.
            signals::discard_pending();
            process::join_group_of(supervisor);
            id
        });
        process::signal_on_death_of_parent(Some(Signal::TERM));
        // The supervisor may have ended before the line above, and then there was no signal. In another PID namespace
        // the lifeline tells: at the end of a process the kernel marks it before it sends parent-death signals, so this
        // check or the signal notices the end. Reading it costs a page fault, so it is not read where the parent tells.
        let is_gone = match process::parent() {
            Some(parent) => parent != supervisor,
            None => control_page.supervisor_is_gone(),
        };
        if is_gone {
            signals::send_to_self(Signal::TERM);
        }
        if is_spare {
            control_page.confirm_takeover();
        }
        Instance { id, control_page, doorbell }
    }
}
