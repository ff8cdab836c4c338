//! The process that does all talking with corosync, which may block it for as long as it likes: nobody waits for
//! it. It ends with its supervisor, but for one thing: when the keys could not show yet how that ended, it goes on
//! until they do, or corosync is gone and the keys with it. Blocked in a call, it finds that out when corosync lets
//! it go.

#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Wiring;
use super::desk::{Desk, Quorum};
use super::keys::Keys;
use crate::policy::{Policy, Recovery};
use crate::sys::client_library::{Refusal, TRY_AGAIN};
use crate::sys::cmap::{Cmap, CmapLibrary};
use crate::sys::process::{self, Origin};
use crate::sys::quorum::{self, QuorumLibrary};
use crate::sys::thread;

/// The longest sleep, in ms: a sign of life is due. A second is felt by no machine.
const PULSE: u16 = 1000;

/// The pause between two tries to reach a corosync that is gone, or does not want to answer yet, in ms.
const RETRY: u16 = 100;

/// What the supervisor has to say about itself.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// Its policy.
    pub policy: Policy,
    /// Its interval in ms.
    pub interval: u64,
    /// Its pid.
    pub pid: i32,
}

/// Asks whether corosync's quorum service can be reached, for sam_initialize. What became of it is on the desk.
pub fn probe(wiring: &Wiring) {
    process::signal_on_death_of_parent(libc::SIGKILL);
    wiring.desk.set_verdict(QuorumLibrary::open().and_then(|library| library.connect().map(drop)));
}

/// Works until the process is killed, or has no reason to go on.
pub fn serve(wiring: &Wiring, supervisor: &Origin, subject: Subject) -> ! {
    thread::run_beside(wiring, listen, |wiring| {
        talk(wiring, supervisor, subject);
    })
}

/// Tells the supervisor when an instance wants something. The instance is not trusted: whatever it does, the
/// supervisor is woken a thousand times a second at most.
fn listen(wiring: &Wiring) {
    loop {
        let heard = wiring.bell.rings();
        wiring.to_supervisor.ring();
        std::thread::sleep(Duration::from_millis(1));
        wiring.bell.sleep(heard);
    }
}

/// Sees to what the policy needs, until a library is missing.
fn talk(wiring: &Wiring, supervisor: &Origin, subject: Subject) -> Option<()> {
    let desk = &wiring.desk;
    let missing = |refusal| desk.set_verdict(Err(refusal));
    let quorum_library = match subject.policy.quorum {
        true => Some(QuorumLibrary::open().map_err(missing).ok()?),
        false => None,
    };
    let cmap_library = match subject.policy.cmap {
        true => Some(CmapLibrary::open().map_err(missing).ok()?),
        false => None,
    };
    let mut verdict = quorum_library.as_ref().map(|library| Verdict { library, connection: None });
    let mut display = cmap_library.as_ref().map(|library| Display {
        library,
        connection: None,
        refused: false,
        keys: Keys::new(subject, desk),
    });
    loop {
        desk.sign_of_life();
        let was_lost = desk.report().lost;
        let mut done = true;
        if let Some(verdict) = &mut verdict {
            done &= verdict.attend(wiring);
        }
        if let Some(display) = &mut display {
            done &= display.attend(wiring);
        }
        let connections = [
            verdict.as_ref().map(|verdict| verdict.connection.is_some()),
            display.as_ref().map(|display| display.connection.is_some()),
        ];
        let lost = connections.contains(&Some(false));
        if lost != was_lost {
            desk.set_lost(lost);
            wiring.to_supervisor.ring();
        }
        let can_show = display.as_ref().is_some_and(|display| !display.refused);
        if supervisor.has_ended() && !(can_show && desk.is_owing()) {
            return None;
        }
        sleep(wiring, &verdict, &mut display, done);
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
struct Verdict<'a> {
    library: &'a QuorumLibrary,
    connection: Option<quorum::Quorum<'a>>,
}

impl Verdict<'_> {
    /// Hears what is new. False: to be tried again soon.
    fn attend(&mut self, wiring: &Wiring) -> bool {
        let library = self.library;
        let quorum =
            match connected(&mut self.connection, || library.connect()).and_then(|quorum| quorum.news()) {
                Ok(Some(true)) => Quorum::Yes,
                Ok(Some(false)) => Quorum::No,
                Ok(None) => return true,
                Err(TRY_AGAIN) => return false,
                Err(_) => {
                    self.connection = None;
                    Quorum::Gone
                }
            };
        if wiring.desk.report().quorum != quorum {
            wiring.desk.set_quorum(quorum);
            wiring.to_supervisor.ring();
        }
        self.connection.is_some()
    }
}

/// The keys in cmap.
struct Display<'a> {
    library: &'a CmapLibrary,
    connection: Option<Cmap<'a>>,
    /// corosync could not be reached when it was last tried. A connection that broke is not enough.
    refused: bool,
    keys: Keys,
}

impl Display<'_> {
    /// Shows what is new. False: to be tried again soon.
    fn attend(&mut self, wiring: &Wiring) -> bool {
        let desk = &wiring.desk;
        let library = self.library;
        let connection = connected(&mut self.connection, || library.connect());
        self.refused = connection.as_ref().is_err_and(|refusal| *refusal != TRY_AGAIN);
        match connection.and_then(|cmap| self.keys.show(cmap, desk)) {
            Ok(changed) => {
                desk.set_verdict(Ok(()));
                if changed {
                    wiring.to_supervisor.ring();
                }
                true
            }
            Err(TRY_AGAIN) => false,
            Err(refusal) => {
                desk.set_verdict(Err(refusal));
                self.lose(desk);
                false
            }
        }
    }

    /// The keys are gone with the corosync that kept them.
    fn lose(&mut self, desk: &Desk) {
        self.connection = None;
        self.keys.forget();
        desk.set_shown(None);
    }
}

/// Until the supervisor wants something, corosync has something to say, or it is time to try again.
fn sleep(wiring: &Wiring, verdict: &Option<Verdict<'_>>, display: &mut Option<Display<'_>>, done: bool) {
    let quorum = verdict.as_ref().and_then(|verdict| verdict.connection.as_ref());
    let cmap = display.as_ref().and_then(|display| display.connection.as_ref());
    let mut fds = vec![PollFd::new(wiring.to_side.as_fd(), PollFlags::POLLIN)];
    fds.extend(quorum.map(|quorum| PollFd::new(quorum.fd(), PollFlags::POLLIN)));
    // Nothing is to be heard from cmap but that it hangs up.
    fds.extend(cmap.map(|cmap| PollFd::new(cmap.fd(), PollFlags::empty())));
    let _ = poll(&mut fds, PollTimeout::from(if done { PULSE } else { RETRY }));
    let hung_up = cmap.is_some() && fds.last().and_then(PollFd::any).unwrap_or(false);
    wiring.to_side.silence();
    if let Some(display) = display.as_mut().filter(|_| hung_up) {
        display.lose(&wiring.desk);
    }
}

impl Recovery {
    /// Its name in cmap.
    pub fn name(self) -> &'static std::ffi::CStr {
        match self {
            Recovery::Quit => c"quit",
            Recovery::Restart => c"restart",
        }
    }
}
