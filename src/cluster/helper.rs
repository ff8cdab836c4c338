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

/// The longest sleep, in ms. A sign of life once per second is a small fraction of the time after which the supervisor
/// takes the helper for blocked.
const SIGN_OF_LIFE_PERIOD_MS: u16 = 1000;

/// The pause, in ms, between two tries to reach a corosync that has ended or asks to try again.
const RETRY_PAUSE_MS: u16 = 100;

/// Connects to corosync's quorum service once, for `sam_initialize`, and stores the result in the mailbox.
pub fn probe(channels: &Channels) {
    process::signal_on_death_of_parent(Some(Signal::KILL));
    channels
        .mailbox
        .helper_end()
        .set_connection_result(QuorumLibrary::open().and_then(|library| library.connect().map(drop)));
}

/// Runs the helper. Returns never: the process ends.
pub fn serve(channels: &Channels, supervisor: &Origin, subject: Subject) -> ! {
    thread::run_beside(channels, listen, |channels| {
        talk(channels, supervisor, subject);
    })
}

/// Wakes the supervisor when an instance rings. Pauses after each ring, so that a hostile instance cannot wake the
/// supervisor more than a thousand times per second.
fn listen(channels: &Channels) {
    loop {
        let seen = channels.doorbell.rings().count();
        channels.supervisor_waker.wake();
        std::thread::sleep(Duration::from_millis(1));
        channels.doorbell.rings().wait(seen, None);
    }
}

/// Keeps the mailbox and cmap up to date. Returns when the helper has nothing left to do, or if a library that the
/// policy needs is missing.
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

/// Returns the connection, and makes it if there is none.
fn connected<C>(
    connection: &mut Option<C>,
    connect: impl FnOnce() -> Result<C, Refusal>,
) -> Result<&C, Refusal> {
    match connection {
        Some(connection) => Ok(connection),
        None => Ok(connection.insert(connect()?)),
    }
}

/// The connection by which the cluster helper learns whether the partition is quorate.
struct QuorumWatch<'a> {
    library: &'a QuorumLibrary,
    connection: Option<quorum::QuorumConnection<'a>>,
}

impl QuorumWatch<'_> {
    /// Stores whether the partition is quorate. Returns `false` if that is to be tried again soon.
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

/// The connection to cmap, and the keys there.
struct CmapPublisher<'a> {
    library: &'a CmapLibrary,
    connection: Option<Cmap<'a>>,
    /// The last try to connect was refused. After a connection that broke this stays `false` until the next try.
    refused: bool,
    keys: CmapKeys,
}

impl CmapPublisher<'_> {
    /// Writes what the supervisor has requested. Returns `false` if that is to be tried again soon.
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

    /// Drops the connection to cmap, which corosync has ended, and forgets what the keys contained.
    fn lose(&mut self, mailbox: HelperEnd<'_>) {
        self.connection = None;
        self.keys.forget();
        mailbox.set_published(None);
    }
}

/// Sleeps until the supervisor wakes the helper, corosync sends something, or it is time to try again.
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
