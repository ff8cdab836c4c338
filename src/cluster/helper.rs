//! The cluster helper: the process that calls corosync's libraries, which may block it for any time. No other process
//! waits for the helper.
//!
//! The helper ends when its supervisor has ended, and when cmap shows how the supervisor ended or corosync has ended
//! and the keys with it. While corosync blocks a call, the helper cannot notice either.

#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::cmap_keys::CmapKeys;
use super::{Channels, Subject};
use crate::shared::mailbox::{HelperEnd, QuorumState};
use crate::sys::client_library::{Refusal, TRY_AGAIN};
use crate::sys::cmap::{Cmap, CmapLibrary};
use crate::sys::process::{self, Origin};
use crate::sys::quorum::{self, QuorumLibrary};
use crate::sys::signals::Signal;
use crate::sys::thread;

/// The longest sleep of the cluster helper in poll(2), in ms. It stores a sign of life in the mailbox after each. Once
/// per second is often compared with the time after which the supervisor takes the helper for blocked.
const SIGN_OF_LIFE_PERIOD_MS: u16 = 1000;

/// The pause of the cluster helper, in ms, before it tries again to reach a corosync that has ended or returned
/// `CS_ERR_TRY_AGAIN`.
const RETRY_PAUSE_MS: u16 = 100;

/// Connects to corosync's quorum service once, and stores the result in the mailbox. Runs in a child process that
/// `sam_initialize` forks to find out whether corosync can be reached, because the connection may block.
pub fn probe(channels: &Channels) {
    process::signal_on_death_of_parent(Some(Signal::KILL));
    channels
        .mailbox
        .helper_end()
        .set_connection_result(QuorumLibrary::open().and_then(|library| library.connect().map(drop)));
}

/// Runs the cluster helper in the calling process, which the supervisor has forked for this. Ends the process when the
/// supervisor has ended or a library of corosync is missing.
pub fn serve(channels: &Channels, supervisor: &Origin, subject: Subject) -> ! {
    thread::run_beside(channels, listen, |channels| {
        talk(channels, supervisor, subject);
    })
}

/// Wakes the supervisor whenever an instance increments the counter of requests. Runs in the second thread of the
/// cluster helper. Pauses for 1 ms each time, so that a hostile instance cannot wake the supervisor more than a
/// thousand times per second.
fn listen(channels: &Channels) {
    loop {
        let seen = channels.doorbell.rings().count();
        channels.supervisor_waker.wake();
        std::thread::sleep(Duration::from_millis(1));
        channels.doorbell.rings().wait(seen, None);
    }
}

/// Exchanges news with corosync until the cluster helper has nothing left to do: stores the quorum in the mailbox, and
/// writes the state of the supervisor to cmap. Always returns `None`: the supervisor has ended, or a library that the
/// recovery policy needs is missing.
fn talk(channels: &Channels, supervisor: &Origin, subject: Subject) -> Option<()> {
    let mailbox = channels.mailbox.helper_end();
    let missing = |refusal| mailbox.set_connection_result(Err(refusal));
    let quorum_library = match subject.policy.quorum {
        true => Some(QuorumLibrary::open().map_err(missing).ok()?),
        false => None,
    };
    let cmap_library = match subject.policy.cmap {
        true => Some(CmapLibrary::open().map_err(missing).ok()?),
        false => None,
    };
    let mut quorum_watch = quorum_library.as_ref().map(|library| QuorumWatch { library, connection: None });
    let mut cmap_publisher = cmap_library.as_ref().map(|library| CmapPublisher {
        library,
        connection: None,
        refused: false,
        keys: CmapKeys::new(subject, mailbox),
    });
    loop {
        mailbox.record_sign_of_life();
        let was_lost = mailbox.report().lost;
        let mut done = true;
        if let Some(quorum_watch) = &mut quorum_watch {
            done &= quorum_watch.update(channels);
        }
        if let Some(cmap_publisher) = &mut cmap_publisher {
            done &= cmap_publisher.update(channels);
        }
        let connections = [
            quorum_watch.as_ref().map(|quorum_watch| quorum_watch.connection.is_some()),
            cmap_publisher.as_ref().map(|cmap_publisher| cmap_publisher.connection.is_some()),
        ];
        let lost = connections.contains(&Some(false));
        if lost != was_lost {
            mailbox.set_lost(lost);
            channels.supervisor_waker.wake();
        }
        let can_publish = cmap_publisher.as_ref().is_some_and(|cmap_publisher| !cmap_publisher.refused);
        if supervisor.has_ended() && !(can_publish && mailbox.owes_final_state()) {
            return None;
        }
        sleep(channels, &quorum_watch, &mut cmap_publisher, done);
    }
}

/// Returns the cluster helper's connection to a service of corosync, which is in `connection`. Makes it by `connect` if
/// there is none yet.
fn connected<C>(
    connection: &mut Option<C>,
    connect: impl FnOnce() -> Result<C, Refusal>,
) -> Result<&C, Refusal> {
    match connection {
        Some(connection) => Ok(connection),
        None => Ok(connection.insert(connect()?)),
    }
}

/// The connection to corosync's quorum service, by which the cluster helper learns whether the partition is quorate.
struct QuorumWatch<'a> {
    library: &'a QuorumLibrary,
    connection: Option<quorum::QuorumConnection<'a>>,
}

impl QuorumWatch<'_> {
    /// Asks corosync whether the partition is quorate, and stores the answer in the mailbox. Wakes the supervisor if it
    /// has changed. Returns `false` if the cluster helper has to ask again after a short pause, because corosync was
    /// busy or could not be reached.
    fn update(&mut self, channels: &Channels) -> bool {
        let library = self.library;
        let quorum =
            match connected(&mut self.connection, || library.connect()).and_then(|quorum| quorum.news()) {
                Ok(Some(true)) => QuorumState::Yes,
                Ok(Some(false)) => QuorumState::No,
                Ok(None) => return true,
                Err(TRY_AGAIN) => return false,
                Err(_) => {
                    self.connection = None;
                    QuorumState::Gone
                }
            };
        if channels.mailbox.report().quorum != quorum {
            channels.mailbox.helper_end().set_quorum(quorum);
            channels.supervisor_waker.wake();
        }
        self.connection.is_some()
    }
}

/// The cluster helper's connection to corosync's cmap, and the keys that it writes there.
struct CmapPublisher<'a> {
    library: &'a CmapLibrary,
    connection: Option<Cmap<'a>>,
    /// `true` if corosync refused the last attempt to connect to cmap. A connection that breaks later does not set it.
    /// While it is set, the cluster helper of a supervisor that has ended does not wait to write the final state.
    refused: bool,
    keys: CmapKeys,
}

impl CmapPublisher<'_> {
    /// Writes the state that the supervisor has requested in the mailbox to cmap, and wakes the supervisor if cmap now
    /// shows it. Returns `false` if the cluster helper has to call this again after a short pause, because corosync was
    /// busy or the connection failed.
    fn update(&mut self, channels: &Channels) -> bool {
        let mailbox = channels.mailbox.helper_end();
        let library = self.library;
        let connection = connected(&mut self.connection, || library.connect());
        self.refused = connection.as_ref().is_err_and(|refusal| *refusal != TRY_AGAIN);
        match connection.and_then(|cmap| self.keys.publish(cmap, mailbox)) {
            Ok(changed) => {
                mailbox.set_connection_result(Ok(()));
                if changed {
                    channels.supervisor_waker.wake();
                }
                true
            }
            Err(TRY_AGAIN) => false,
            Err(refusal) => {
                mailbox.set_connection_result(Err(refusal));
                self.lose(mailbox);
                false
            }
        }
    }

    /// Drops the connection to cmap after corosync has ended it. The keys in cmap are gone with corosync, so the next
    /// connection writes all of them again.
    fn lose(&mut self, mailbox: HelperEnd<'_>) {
        self.connection = None;
        self.keys.forget();
        mailbox.set_published(None);
    }
}

/// Lets the cluster helper sleep until the supervisor wakes it, corosync sends something, or a timeout ends. `done`
/// selects the timeout: [`SIGN_OF_LIFE_PERIOD_MS`], or [`RETRY_PAUSE_MS`] if `false`.
fn sleep(
    channels: &Channels,
    quorum_watch: &Option<QuorumWatch<'_>>,
    cmap_publisher: &mut Option<CmapPublisher<'_>>,
    done: bool,
) {
    let quorum = quorum_watch.as_ref().and_then(|quorum_watch| quorum_watch.connection.as_ref());
    let cmap = cmap_publisher.as_ref().and_then(|cmap_publisher| cmap_publisher.connection.as_ref());
    let mut fds = vec![PollFd::new(channels.helper_waker.as_fd(), PollFlags::POLLIN)];
    fds.extend(quorum.map(|quorum| PollFd::new(quorum.fd(), PollFlags::POLLIN)));
    // cmap sends nothing. The descriptor tells of the end of the connection alone.
    fds.extend(cmap.map(|cmap| PollFd::new(cmap.fd(), PollFlags::empty())));
    let _ = poll(&mut fds, PollTimeout::from(if done { SIGN_OF_LIFE_PERIOD_MS } else { RETRY_PAUSE_MS }));
    let hung_up = cmap.is_some() && fds.last().and_then(PollFd::any).unwrap_or(false);
    channels.helper_waker.drain();
    if let Some(cmap_publisher) = cmap_publisher.as_mut().filter(|_| hung_up) {
        cmap_publisher.lose(channels.mailbox.helper_end());
    }
}
