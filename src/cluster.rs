//! The communication with corosync, which takes place in a process of its own: the cluster helper.
//!
//! The supervisor forks the cluster helper and shares the mailbox with it (`shared/mailbox.rs`). In the mailbox the
//! helper stores whether the partition is quorate, and the supervisor stores the state that cmap is to show. Each of
//! the two has an event descriptor by which the other one wakes it. Only the helper loads corosync's libraries. If
//! corosync blocks the helper, no other process waits. The supervisor kills a helper that is blocked for too long, and
//! forks another one.
//!
//! An instance with a request notifies the helper through a futex that is shared by both. So the instance needs no
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

/// A counter by which instances notify the cluster helper, which then wakes the supervisor. The request itself is on
/// the instance's control page.
#[derive(Debug)]
pub struct Doorbell(SharedPage);

impl Doorbell {
    /// Makes a counter that instances inherit by fork(2).
    fn new() -> nix::Result<Doorbell> {
        SharedPage::new().map(Doorbell)
    }

    /// Returns the count of rings. The cluster helper waits until it changes, and then wakes the supervisor.
    pub fn rings(&self) -> EventCount<'_> {
        EventCount(&self.0.futexes()[0])
    }
}

/// The connections between the supervisor and the cluster helper.
#[derive(Debug)]
pub struct Channels {
    /// The memory for the supervisor's requests and the helper's reports.
    pub mailbox: Mailbox,
    /// The counter by which instances notify the helper.
    pub doorbell: Doorbell,
    /// The event descriptor by which the cluster helper wakes the supervisor.
    pub supervisor_waker: EventFdWaker,
    /// The event descriptor by which the supervisor wakes the cluster helper.
    pub helper_waker: EventFdWaker,
}

impl Channels {
    /// Makes the connections. To be called by the supervisor before it forks the helper.
    ///
    /// # Errors
    /// The kernel refuses the memory, or the process has no free descriptor (`EMFILE`).
    pub fn new() -> nix::Result<Channels> {
        Ok(Channels {
            mailbox: Mailbox::new()?,
            doorbell: Doorbell::new()?,
            supervisor_waker: EventFdWaker::new()?,
            helper_waker: EventFdWaker::new()?,
        })
    }
}

/// The properties of a supervisor that cmap shows in addition to its state.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// The recovery policy of the program, of which the key `recovery` shows a part.
    pub policy: Policy,
    /// The longest silence that the program allows its instances, for the key `poll_period`. `None`: no limit.
    pub interval: Option<Duration>,
    /// The pid of the supervisor, which is part of the names of the keys.
    pub pid: Pid,
}
