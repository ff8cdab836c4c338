//! Talking with corosync, in a process of its own.
//!
//! The supervisor forks the cluster helper and shares the mailbox with it (`shared/mailbox.rs`). There the supervisor finds
//! whether the partition is quorate, and leaves what cmap is to show. Two event descriptors wake one and the other. Only
//! the helper opens corosync's libraries. Where corosync blocks the helper, no other process waits; a helper that is
//! blocked for too long is killed and forked again.
//!
//! An instance that wants something rings the [`Doorbell`], a futex that the helper waits on. So the instance needs no
//! descriptor.

#![forbid(unsafe_code)]

pub mod cmap_keys;
pub mod helper;

use std::time::Duration;

use nix::unistd::Pid;

use crate::policy::Policy;
use crate::shared::mailbox::Mailbox;
use crate::sys::event_count::EventCount;
use crate::sys::event_fd::EventFdWaker;
use crate::sys::shared_page::SharedPage;

/// What an instance rings when it wants something of its supervisor. What it wants is on its control page.
#[derive(Debug)]
pub struct Doorbell(SharedPage);

impl Doorbell {
    fn new() -> nix::Result<Doorbell> {
        SharedPage::new().map(Doorbell)
    }

    /// Returns the count of rings.
    pub fn rings(&self) -> EventCount<'_> {
        EventCount(&self.0.futexes()[0])
    }
}

/// All that connects supervisor and cluster helper.
#[derive(Debug)]
pub struct Channels {
    /// Requests and reports.
    pub mailbox: Mailbox,
    /// What instances ring.
    pub doorbell: Doorbell,
    /// Wakes the supervisor.
    pub supervisor_waker: EventFdWaker,
    /// Wakes the cluster helper.
    pub helper_waker: EventFdWaker,
}

impl Channels {
    /// Makes them, for a supervisor that is about to fork a helper.
    pub fn new() -> nix::Result<Channels> {
        Ok(Channels {
            mailbox: Mailbox::new()?,
            doorbell: Doorbell::new()?,
            supervisor_waker: EventFdWaker::new()?,
            helper_waker: EventFdWaker::new()?,
        })
    }
}

/// What cmap shows of a supervisor beside its state.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// Its policy.
    pub policy: Policy,
    /// The longest silence allowed. `None`: no limit.
    pub interval: Option<Duration>,
    /// Its pid.
    pub pid: Pid,
}
