//! The process that does all talking with corosync, which may block it for as long as it likes: nobody waits for
//! it. It ends with its supervisor, but for one thing: when the keys could not show yet how that ended, it goes on
//! until they do, or corosync is gone and the keys with it. Blocked in a call, it finds that out when corosync lets
//! it go.

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
use crate::sys::thread;

/// The longest sleep, in ms: a sign of life is due. A second is felt by no machine.
const SIGN_OF_LIFE_PERIOD_MS: u16 = 1000;

/// The pause between two tries to reach a corosync that is gone, or does not want to answer yet, in ms.
const RETRY_PAUSE_MS: u16 = 100;

/// Asks whether corosync's quorum service can be reached, for sam_initialize. What became of it is on the desk.
pub fn probe(channels: &Channels) {
    process::signal_on_death_of_parent(libc::SIGKILL);
    channels
        .mailbox
        .helper_end()
        .set_connection_result(QuorumLibrary::open().and_then(|library| library.connect().map(drop)));
}

/// Works until the process is killed, or has no reason to go on.
pub fn serve(channels: &Channels, supervisor: &Origin, subject: Subject) -> ! {
    thread::run_beside(channels, listen, |channels| {
        talk(channels, supervisor, subject);
    })
}

/// Tells the supervisor when an instance wants something. The instance is not trusted: whatever it does, the
/// supervisor is woken a thousand times a second at most.
fn listen(channels: &Channels) {
    loop {
        let seen = channels.doorbell.rings().count();
        channels.supervisor_waker.wake();
        std::thread::sleep(Duration::from_millis(1));
        channels.doorbell.rings().wait(seen, None);
    }
}

/// Sees to what the policy needs, until a library is missing.
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

/// The connection, made now if there is none.
fn connected<C>(
    connection: &mut Option<C>,
    connect: impl FnOnce() -> Result<C, Refusal>,
) -> Result<&C, Refusal> {
    match connection {
        Some(connection) => Ok(connection),
        None => Ok(connection.insert(connect()?)),
    }
}

/// Whether the partition is quorate.
struct QuorumWatch<'a> {
    library: &'a QuorumLibrary,
    connection: Option<quorum::QuorumConnection<'a>>,
}

impl QuorumWatch<'_> {
    /// Hears what is new. False: to be tried again soon.
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

/// The keys in cmap.
struct CmapPublisher<'a> {
    library: &'a CmapLibrary,
    connection: Option<Cmap<'a>>,
    /// corosync could not be reached when it was last tried. A connection that broke is not enough.
    refused: bool,
    keys: CmapKeys,
}

impl CmapPublisher<'_> {
    /// Shows what is new. False: to be tried again soon.
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

    /// The keys are gone with the corosync that kept them.
    fn lose(&mut self, mailbox: HelperEnd<'_>) {
        self.connection = None;
        self.keys.forget();
        mailbox.set_published(None);
    }
}

/// Until the supervisor wants something, corosync has something to say, or it is time to try again.
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
    // Nothing is to be heard from cmap but that it hangs up.
    fds.extend(cmap.map(|cmap| PollFd::new(cmap.fd(), PollFlags::empty())));
    let _ = poll(&mut fds, PollTimeout::from(if done { SIGN_OF_LIFE_PERIOD_MS } else { RETRY_PAUSE_MS }));
    let hung_up = cmap.is_some() && fds.last().and_then(PollFd::any).unwrap_or(false);
    channels.helper_waker.drain();
    if let Some(cmap_publisher) = cmap_publisher.as_mut().filter(|_| hung_up) {
        cmap_publisher.lose(channels.mailbox.helper_end());
    }
}
