//! A process that was just forked, on its way to be an instance.

#![forbid(unsafe_code)]

use nix::unistd::Pid;

use crate::cluster::Doorbell;
use crate::shared::control_page::InstanceEnd;
use crate::sys::process::{self, Origin};
use crate::sys::signals::{self, Signal};

/// It has nothing of its supervisor any more but this.
#[derive(Debug)]
pub struct ForkedChild {
    /// The supervisor's pid.
    supervisor: Pid,
    /// Which instance it is to be. None: it is a spare, and will be told.
    id: Option<u32>,
    control_page: InstanceEnd,
    doorbell: Option<Doorbell>,
}

/// What an instance has.
#[derive(Debug)]
pub struct Instance {
    /// Its number.
    pub id: u32,
    /// What it shares with its supervisor.
    pub control_page: InstanceEnd,
    /// What it rings when it wants something, where corosync has a say.
    pub doorbell: Option<Doorbell>,
}

impl ForkedChild {
    /// The next instance.
    pub fn new(
        supervisor: Pid,
        id: u32,
        control_page: InstanceEnd,
        doorbell: Option<Doorbell>,
    ) -> ForkedChild {
        ForkedChild { supervisor, id: Some(id), control_page, doorbell }
    }

    /// The one after it, to be forked by `supervisor`: nobody but the supervisor shall reach it while it waits, and
    /// it ends when the supervisor does.
    pub fn spare(
        supervisor: Pid,
        origin: &Origin,
        control_page: InstanceEnd,
        doorbell: Option<Doorbell>,
    ) -> ForkedChild {
        process::signal_on_death_of_parent(Some(Signal::KILL));
        // Not by the lifeline: the supervisor holds that of a spare from the release on.
        if origin.has_ended() {
            process::exit_now(0);
        }
        process::leave_group();
        ForkedChild { supervisor, id: None, control_page, doorbell }
    }

    /// Becomes an instance, when its time has come.
    pub fn take_over(self) -> Instance {
        let ForkedChild { supervisor, id, control_page, doorbell } = self;
        let is_spare = id.is_none();
        let id = id.unwrap_or_else(|| {
            let id = control_page.wait_for_release();
            // Sent to the spare itself, and not to the program. The supervisor passes nothing on before confirm_takeover().
            signals::discard_pending();
            process::join_group_of(supervisor);
            id
        });
        process::signal_on_death_of_parent(Some(Signal::TERM));
        // The kernel marks the lifeline before it sends parent-death signals, so one of the two tells of the end of the
        // supervisor. In another PID namespace the supervisor has no pid.
        let has_other_parent = process::parent().is_some_and(|parent| parent != supervisor);
        if control_page.supervisor_is_gone() || has_other_parent {
            signals::send_to_self(Signal::TERM);
        }
        if is_spare {
            control_page.confirm_takeover();
        }
        Instance { id, control_page, doorbell }
    }
}
