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

/// A counter in memory that the instances and the cluster helper share. An instance increments it after it has written
/// a request to its control page. That wakes the cluster helper, which then wakes the supervisor.
#[derive(Debug)]
pub struct Doorbell(SharedPage);

impl Doorbell {
    /// Maps the page with the counter, which is 0. Called by the supervisor: instances and the cluster helper inherit
    /// the page by fork(2).
    fn new() -> nix::Result<Doorbell> {
        SharedPage::new().map(Doorbell)
    }

    /// Returns the counter of requests. An instance increments it after each request. The cluster helper waits until it
    /// changes, and then wakes the supervisor.
    pub fn rings(&self) -> EventCount<'_> {
        EventCount(&self.0.futexes()[0])
    }
}

/// The memory and the descriptors through which supervisor, cluster helper and instances reach each other. The
/// supervisor makes them, and the others inherit them by fork(2).
#[derive(Debug)]
pub struct Channels {
    /// The page with the supervisor's requests to the cluster helper, and the cluster helper's reports to the
    /// supervisor.
    pub mailbox: Mailbox,
    /// The counter that instances increment to tell the cluster helper of a request on a control page.
    pub doorbell: Doorbell,
    /// The event descriptor by which the cluster helper wakes the supervisor.
    pub supervisor_waker: EventFdWaker,
    /// The event descriptor by which the supervisor wakes the cluster helper.
    pub helper_waker: EventFdWaker,
}

impl Channels {
    /// Makes the shared memory and the event descriptors for the supervisor, a cluster helper and the instances. Called
    /// in the supervisor before it forks the helper, which inherits them.
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

/// The properties of a supervisor that the cluster helper writes to corosync's cmap in addition to the supervisor's
/// state.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// The recovery policy that the program passed to `sam_initialize`. The cluster helper writes "quit" or "restart"
    /// to the cmap key `recovery`.
    pub policy: Policy,
    /// The longest silence that the program allows its instances. The cluster helper writes it in ms to the cmap key
    /// `poll_period`. `None`: the program sets no limit, and the key is 0.
    pub interval: Option<Duration>,
    /// The pid of the supervisor. The names of its keys in cmap contain it, as in `resources.process.PID.state`.
    pub pid: Pid,
}
