//! systemd's notification protocol (sd_notify(3)): tells the service manager what is supervised, and that the
//! supervisor is alive. With SAM_NOTIFY=ready, also when the program is ready and when it has ended for good.
//!
//! `Notices` decides what is due, without a system call, and [`ServiceManager`] sends it. Sending never waits: a
//! notice that the service manager cannot take now is due again.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fmt;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::unistd::Pid;

use super::backoff::Backoff;
use crate::log;
use crate::settings::Notify;
use crate::shared::control_page::Phase;
use crate::sys::signals::{Received, Signal};
use crate::time::MonotonicTime;

/// The pause between two looks whether the program has called `sam_start`, which does not wake the supervisor. Only
/// until the program is ready. A unit that waits for this one does not notice a tenth of a second.
const START_POLL: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(100));

/// The time that the service manager is asked to wait for the next notice while the program waits for quorum.
const EXTENSION: Duration = Duration::from_secs(30);

/// The time between two such requests. Two of them may get lost.
const EXTENSION_PERIOD: Duration = Duration::from_secs(10);

/// The pause before a service manager that could not take a request is asked again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The progress of the program in the view of the service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// No instance runs, or the instance has not called `sam_start` yet.
    Prepares,
    /// The instance waits in `sam_start` for quorum.
    WaitsForQuorum,
    /// `sam_start` has succeeded in the instance.
    HasStarted,
    /// The last instance has ended, and no other one follows.
    IsOver,
}

impl Progress {
    /// Returns the progress of a program whose instance is in this phase.
    pub fn of(phase: Phase) -> Progress {
        match phase {
            Phase::Registered | Phase::Finalized => Progress::Prepares,
            Phase::Waiting => Progress::WaitsForQuorum,
            Phase::Started | Phase::Stopped => Progress::HasStarted,
        }
    }
}

/// A message to the service manager.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Notice {
    /// The state of the program, for a person.
    Status(String),
    /// The program is ready.
    Ready,
    /// The program needs more time to get ready.
    MoreTime,
    /// The supervisor is alive.
    Alive,
    /// The program has ended for good, and the supervisor is about to end.
    Stopping,
}

/// The notice in the form that systemd receives.
impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Status(status) => writeln!(f, "STATUS={status}"),
            Notice::Ready => f.write_str("READY=1\n"),
            Notice::MoreTime => writeln!(f, "EXTEND_TIMEOUT_USEC={}", EXTENSION.as_micros()),
            Notice::Alive => f.write_str("WATCHDOG=1\n"),
            Notice::Stopping => f.write_str("STOPPING=1\n"),
        }
    }
}

/// The part of the life of a service that the service manager is told about, with SAM_NOTIFY=ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// The service manager is told nothing more about readiness.
    Untold,
    /// READY=1 was not sent yet.
    StartsUp {
        /// The time of the next look whether the program has started.
        look_at: MonotonicTime,
        backoff: Backoff,
        /// The time at which the service manager is asked for more time, while the program waits for quorum.
        extend_at: Option<MonotonicTime>,
    },
    /// READY=1 was sent, and STOPPING=1 was not.
    Runs,
}

/// The service manager's watchdog (WATCHDOG_USEC in sd_watchdog_enabled(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Watchdog {
    /// The time between two messages that the supervisor is alive.
    period: Duration,
    /// The time of the next sign of life. `None`: at once.
    due: Option<MonotonicTime>,
}

impl Watchdog {
    fn is_due(&self, now: MonotonicTime) -> bool {
        self.due.is_none_or(|due| now >= due)
    }
}

/// The notices that the service manager has got, and so those that are due.
#[derive(Debug)]
struct Notices {
    status: String,
    /// The service manager does not know the status yet.
    status_is_new: bool,
    life: Life,
    waits_for_quorum: bool,
    watchdog: Option<Watchdog>,
}

impl Notices {
    fn new(notify: Notify, watchdog: Option<Duration>) -> Notices {
        let (look_at, backoff) = (MonotonicTime::from_ns(0), START_POLL);
        Notices {
            status: String::new(),
            status_is_new: false,
            life: match notify {
                Notify::Readiness => Life::StartsUp { look_at, backoff, extend_at: None },
                Notify::Nothing | Notify::State => Life::Untold,
            },
            waits_for_quorum: false,
            watchdog: watchdog.map(|period| Watchdog { period, due: None }),
        }
    }

    /// Takes the progress of the program over, which the supervisor has looked at.
    fn look(&mut self, now: MonotonicTime, progress: Progress) {
        let Life::StartsUp { look_at, backoff, extend_at } = &mut self.life else { return };
        let waits = progress == Progress::WaitsForQuorum;
        if waits != self.waits_for_quorum {
            self.waits_for_quorum = waits;
            self.status_is_new = true;
            *extend_at = waits.then_some(now);
        }
        if now >= *look_at {
            *look_at = now + backoff.advance();
        }
    }

    /// Returns the next notice that is due.
    fn next(&self, now: MonotonicTime, progress: Progress) -> Option<Notice> {
        if self.status_is_new {
            let wait = if self.waits_for_quorum { "waiting for quorum: " } else { "" };
            return Some(Notice::Status(format!("{wait}{}", self.status)));
        }
        match (self.life, progress) {
            (Life::StartsUp { .. }, Progress::HasStarted) => return Some(Notice::Ready),
            (Life::StartsUp { extend_at: Some(at), .. }, Progress::WaitsForQuorum) if now >= at => {
                return Some(Notice::MoreTime);
            }
            (Life::Runs, Progress::IsOver) => return Some(Notice::Stopping),
            _ => {}
        }
        self.watchdog.filter(|watchdog| watchdog.is_due(now)).map(|_| Notice::Alive)
    }

    /// Records that a notice was sent.
    fn note_sent(&mut self, notice: &Notice, now: MonotonicTime) {
        match (notice, &mut self.life) {
            (Notice::Status(_), _) => self.status_is_new = false,
            (Notice::MoreTime, Life::StartsUp { extend_at, .. }) => *extend_at = Some(now + EXTENSION_PERIOD),
            (Notice::Ready, life) => {
                *life = Life::Runs;
                self.status_is_new |= std::mem::take(&mut self.waits_for_quorum);
            }
            (Notice::Stopping, life) => *life = Life::Untold,
            (Notice::Alive, _) => {
                self.watchdog = self.watchdog.map(|sent| Watchdog { due: Some(now + sent.period), ..sent });
            }
            (Notice::MoreTime, _) => {}
        }
    }

    /// Records that the service manager could not take a notice. It is due again, but not at once.
    fn note_refused(&mut self, now: MonotonicTime) {
        if let Life::StartsUp { extend_at: Some(at), .. } = &mut self.life {
            *at = (*at).max(now + RETRY_PAUSE);
        }
        if let Some(watchdog) = self.watchdog.as_mut().filter(|watchdog| watchdog.is_due(now)) {
            watchdog.due = Some(now + watchdog.period / 4);
        }
    }

    /// Returns when something is due at the latest.
    fn due(&self) -> Option<MonotonicTime> {
        let start = match self.life {
            // The cluster helper wakes the supervisor when the program goes on.
            Life::StartsUp { extend_at: Some(at), .. } => Some(at),
            Life::StartsUp { look_at, .. } => Some(look_at),
            Life::Untold | Life::Runs => None,
        };
        let watchdog = self.watchdog.and_then(|watchdog| watchdog.due);
        start.into_iter().chain(watchdog).min()
    }
}

/// A connection to the service manager, which usually is systemd.
#[derive(Debug)]
pub struct ServiceManager {
    address: SocketAddr,
    /// `None` if no descriptor was left. The next message tries again.
    socket: Option<UnixDatagram>,
    notices: Notices,
}

impl ServiceManager {
    /// Opens the connection of the supervisor `own_pid`. Returns `None` if no service manager asks for notifications,
    /// or the administrator wants none. `variable` returns the value of an environment variable.
    pub fn open(
        notify: Notify,
        variable: impl Fn(&str) -> Option<Vec<u8>>,
        own_pid: Pid,
    ) -> Option<ServiceManager> {
        if notify == Notify::Nothing {
            return None;
        }
        let address = address(&variable("NOTIFY_SOCKET")?)?;
        let number = |name| String::from_utf8(variable(name)?).ok()?.parse::<u64>().ok();
        let is_ours = variable("WATCHDOG_PID").is_none()
            || number("WATCHDOG_PID") == u64::try_from(own_pid.as_raw()).ok();
        let limit = number("WATCHDOG_USEC").filter(|&limit| is_ours && limit > 1);
        // sd_watchdog_enabled(3) recommends half of the limit.
        let notices = Notices::new(notify, limit.map(|limit| Duration::from_micros(limit) / 2));
        Some(ServiceManager { address, socket: log::datagram_socket(), notices })
    }

    /// Sets the status that the next `send_due` sends.
    pub fn set_status(&mut self, status: String) {
        self.notices.status = status;
        self.notices.status_is_new = true;
    }

    /// Returns when to call `send_due` at the latest.
    pub fn due(&self) -> Option<MonotonicTime> {
        self.notices.due()
    }

    /// Returns `true` if the service manager, which is the process `parent`, sends this signal because its watchdog
    /// got no sign of life in time (WatchdogSignal= in systemd.service(5)).
    pub fn aborts_by(&self, received: Received, parent: Option<Pid>) -> bool {
        self.notices.watchdog.is_some()
            && received.signal == Signal::ABRT
            && !received.by_kernel
            && received.sender == parent
    }

    /// Sends everything that is due.
    pub fn send_due(&mut self, now: MonotonicTime, progress: Progress) {
        self.notices.look(now, progress);
        while let Some(notice) = self.notices.next(now, progress) {
            if !self.send(&notice.to_string()) {
                return self.notices.note_refused(now);
            }
            self.notices.note_sent(&notice, now);
        }
    }

    fn send(&mut self, message: &str) -> bool {
        if self.socket.is_none() {
            self.socket = log::datagram_socket();
        }
        let sent = self.socket.as_ref().map(|socket| socket.send_to_addr(message.as_bytes(), &self.address));
        matches!(sent, Some(Ok(_)))
    }
}

/// Returns the address in NOTIFY_SOCKET: a path, or `@` and the name of an abstract socket.
fn address(text: &[u8]) -> Option<SocketAddr> {
    match text {
        [b'/', _, ..] => SocketAddr::from_pathname(OsStr::from_bytes(text)).ok(),
        [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(variables: &[(&str, &str)]) -> Option<ServiceManager> {
        open_for(Notify::State, variables)
    }

    fn open_for(notify: Notify, variables: &[(&str, &str)]) -> Option<ServiceManager> {
        let found = |name: &str| variables.iter().find(|(variable, _)| *variable == name);
        ServiceManager::open(
            notify,
            |name| found(name).map(|(_, value)| value.as_bytes().to_vec()),
            Pid::from_raw(4711),
        )
    }

    const fn ms(ms: u64) -> MonotonicTime {
        MonotonicTime::from_ns(ms * 1_000_000)
    }

    /// Returns everything that is sent at `now`.
    fn sent(notices: &mut Notices, now: MonotonicTime, progress: Progress) -> String {
        notices.look(now, progress);
        let mut text = String::new();
        while let Some(notice) = notices.next(now, progress) {
            notices.note_sent(&notice, now);
            text += &notice.to_string();
        }
        text
    }

    /// Checks what is sent at each time, in ms, at which the program has made this progress.
    fn check(notify: Notify, steps: &[(u64, Progress, &str)]) {
        let mut notices = Notices::new(notify, None);
        for &(at, progress, expected) in steps {
            assert_eq!(sent(&mut notices, ms(at), progress), expected, "at {at} ms, {progress:?}");
        }
    }

    #[test]
    fn ready_is_sent_once_when_the_first_start_has_succeeded() {
        use Progress::{HasStarted, Prepares};
        check(
            Notify::Readiness,
            &[
                (0, Prepares, ""),
                (100, Prepares, ""),
                (200, HasStarted, "READY=1\n"),
                (300, HasStarted, ""),
                // The instance is restarted.
                (400, Prepares, ""),
                (500, HasStarted, ""),
            ],
        );
    }

    #[test]
    fn stopping_is_sent_once_after_ready_when_no_instance_follows() {
        use Progress::{HasStarted, IsOver, Prepares};
        check(
            Notify::Readiness,
            &[(0, HasStarted, "READY=1\n"), (1, Prepares, ""), (2, IsOver, "STOPPING=1\n"), (3, IsOver, "")],
        );
        check(Notify::Readiness, &[(0, Prepares, ""), (1, IsOver, "")]);
    }

    #[test]
    fn wait_for_quorum_is_shown_and_asks_for_more_time_until_ready() {
        use Progress::{HasStarted, Prepares, WaitsForQuorum};
        check(
            Notify::Readiness,
            &[
                (0, Prepares, ""),
                (100, WaitsForQuorum, "STATUS=waiting for quorum: \nEXTEND_TIMEOUT_USEC=30000000\n"),
                (9_000, WaitsForQuorum, ""),
                (10_100, WaitsForQuorum, "EXTEND_TIMEOUT_USEC=30000000\n"),
                (11_000, HasStarted, "STATUS=\nREADY=1\n"),
                // RuntimeMaxSec= is not to be extended.
                (12_000, WaitsForQuorum, ""),
            ],
        );
    }

    #[test]
    fn state_alone_tells_nothing_of_readiness() {
        use Progress::{HasStarted, IsOver, WaitsForQuorum};
        check(
            Notify::State,
            &[
                (0, WaitsForQuorum, ""),
                (20_000, WaitsForQuorum, ""),
                (20_001, HasStarted, ""),
                (3, IsOver, ""),
            ],
        );
    }

    #[test]
    fn supervisor_looks_for_the_start_until_ready_and_then_sleeps() {
        let mut notices = Notices::new(Notify::Readiness, None);
        let mut now = ms(0);
        let mut looks = 0;
        while now < ms(1000) {
            assert_eq!(sent(&mut notices, now, Progress::Prepares), "");
            let due = notices.due().expect("a look");
            assert!(due > now && due <= now + Duration::from_millis(100));
            (now, looks) = (due, looks + 1);
        }
        assert!(looks < 20, "{looks} looks in a second");
        assert_eq!(sent(&mut notices, now, Progress::HasStarted), "READY=1\n");
        assert_eq!(notices.due(), None);
    }

    #[test]
    fn refused_notice_is_due_again_and_does_not_make_the_supervisor_spin() {
        for progress in [Progress::HasStarted, Progress::WaitsForQuorum] {
            let mut notices = Notices::new(Notify::Readiness, Some(Duration::from_secs(4)));
            notices.look(ms(0), progress);
            let refused = notices.next(ms(0), progress).expect("a notice");
            notices.note_refused(ms(0));
            assert!(notices.due() > Some(ms(0)), "{refused:?}");
            notices.look(ms(2000), progress);
            assert_eq!(notices.next(ms(2000), progress), Some(refused));
        }
    }

    #[test]
    fn notify_socket_is_a_path_or_an_abstract_name() {
        assert!(open(&[("NOTIFY_SOCKET", "/run/systemd/notify")]).is_some());
        assert!(open(&[("NOTIFY_SOCKET", "@/org/systemd/notify")]).is_some());
        for address in ["", "@", "/", "run/notify", "vsock:2:1234", &format!("/{}", "x".repeat(200))] {
            assert!(open(&[("NOTIFY_SOCKET", address)]).is_none(), "{address:?}");
        }
        assert!(open(&[("WATCHDOG_USEC", "1000000")]).is_none());
        assert!(open_for(Notify::Nothing, &[("NOTIFY_SOCKET", "/run/systemd/notify")]).is_none());
    }

    #[test]
    fn watchdog_that_names_this_process_is_fed_twice_per_period() {
        let period = |variables: &[(&str, &str)]| {
            let socket = [("NOTIFY_SOCKET", "@test")];
            open(&[&socket, variables].concat()).unwrap().notices.watchdog.map(|watchdog| watchdog.period)
        };
        assert_eq!(period(&[]), None);
        assert_eq!(period(&[("WATCHDOG_USEC", "30000000")]), Some(Duration::from_secs(15)));
        assert_eq!(
            period(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "4711")]),
            Some(Duration::from_secs(15))
        );
        assert_eq!(period(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "4712")]), None);
        assert_eq!(period(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "")]), None);
        for limit in ["", "0", "-1", "soon"] {
            assert_eq!(period(&[("WATCHDOG_USEC", limit)]), None, "{limit:?}");
        }
        let mut notices = Notices::new(Notify::State, Some(Duration::from_secs(15)));
        let alive = "WATCHDOG=1\n";
        for (at, expected) in [(0, alive), (14_999, ""), (15_000, alive), (29_999, ""), (31_000, alive)] {
            assert_eq!(sent(&mut notices, ms(at), Progress::HasStarted), expected, "at {at} ms");
        }
    }

    #[test]
    fn sigabrt_of_the_parent_is_the_watchdogs_only_while_it_watches_the_supervisor() {
        let parent = Some(Pid::from_raw(1));
        let sent_by = |signal, sender| Received { signal, value: None, by_kernel: false, sender };
        let watched = open(&[("NOTIFY_SOCKET", "@test"), ("WATCHDOG_USEC", "1000000")]).unwrap();
        assert!(watched.aborts_by(sent_by(Signal::ABRT, parent), parent));
        assert!(!watched.aborts_by(sent_by(Signal::ABRT, Some(Pid::from_raw(70))), parent));
        assert!(!watched.aborts_by(sent_by(Signal::TERM, parent), parent));
        let unwatched = open(&[("NOTIFY_SOCKET", "@test")]).unwrap();
        assert!(!unwatched.aborts_by(sent_by(Signal::ABRT, parent), parent));
    }
}
