//! The session of this process: which call is legal when, and what each call does.
//!
//! A call that changes more than one word holds the session's lock and blocks all signals. So a signal handler may call
//! any function, whatever it interrupts. A heartbeat takes no lock, and the data store has a lock of its own.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use once_cell::sync::OnceCell;

use crate::cluster::Doorbell;
use crate::error::{Error, Result};
use crate::instance::callback_thread::{self, Callback};
use crate::instance::forked_child::Instance;
use crate::log::{Log, Priority, Step};
use crate::policy::Policy;
use crate::settings::{Route, Settings};
use crate::shared::control_page::{InstanceEnd, Phase};
use crate::shared::data_store::DataStore;
use crate::supervisor::event_loop::{self, Role};
use crate::supervisor::helper_handle;
use crate::supervisor::machine::Rules;
use crate::sys::event_count::EventCount;
use crate::sys::ffi_buf::{HealthCheck, InBuf, OutBuf};
use crate::sys::lock::{Lock, Locked};
use crate::sys::set_once::SetOnce;
use crate::sys::signals::Signal;
use crate::sys::{after_fork, clock, exit_as, process, program, signals, thread};
use crate::time::MonotonicTime;

/// The session of this process.
static SESSION: OnceCell<Session> = OnceCell::new();

/// The state of the session of this process, which decides which calls of the library are legal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum CallState {
    Initialized,
    Registered,
    Started,
    Stopped,
    Finalized,
}

impl CallState {
    const ALL: [CallState; 5] = [
        CallState::Initialized,
        CallState::Registered,
        CallState::Started,
        CallState::Stopped,
        CallState::Finalized,
    ];
}

/// The session of this process, which `sam_initialize` opens: settings, and the state of its calls. A forked process
/// inherits a copy.
#[derive(Debug)]
pub struct Session {
    policy: Policy,
    settings: Settings,
    /// The longest silence that the supervisor allows between two heartbeats. `None`: no limit.
    interval: Option<Duration>,
    callbacks: Callbacks,
    call_state: AtomicU8,
    /// The page that the instance shares with the supervisor, for heartbeats and all other communication. Empty until
    /// `sam_register` returns.
    control_page: SetOnce<InstanceEnd>,
    /// The counter by which the instance notifies the cluster helper of a request. Empty before `sam_register`, and for
    /// a policy without QUORUM and CMAP.
    doorbell: SetOnce<Doorbell>,
    /// The number of the warning signal that the application set before `sam_register`, 0 for none. The supervisor
    /// gives it to each new instance. In an instance the number on the control page is in force.
    warn_signal: AtomicI32,
    /// A counter of the starts and stops of health checking, and of the end of the session. The callback thread waits
    /// for it to change.
    changes: AtomicU32,
    has_thread: AtomicBool,
    data: DataStore,
    registered: Lock<Registered>,
}

/// The treatment of a health check callback that the application registers. The interval that it passed to
/// `sam_initialize` decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Callbacks {
    /// The callback thread calls the callback once per interval, because the interval is positive.
    Called,
    /// A callback can be registered and is never called, because the interval is negative: the supervisor allows any
    /// silence.
    Idle,
    /// `sam_hc_callback_register` refuses to register a callback, because the interval is 0.
    Refused,
}

/// The health check callback that the application has registered, guarded by the session's lock.
#[derive(Debug, Default)]
struct Registered {
    callback: Option<Callback>,
    /// `true` if the application has ever registered a callback. Without that, a call to remove the callback fails.
    ever: bool,
}

/// Returns the session of this process, or `None` before `sam_initialize`.
pub fn current() -> Option<&'static Session> {
    SESSION.get()
}

/// Returns the session of this process.
///
/// # Errors
/// `WrongState` before `sam_initialize`.
#[inline]
pub fn get() -> Result<&'static Session> {
    SESSION.get().ok_or(Error::WrongState)
}

/// Opens the session of this process, see `sam_initialize`. `interval_ms` is the longest silence that the supervisor
/// allows an instance, in ms; 0 or negative: no limit.
pub fn initialize(interval_ms: i32, policy: Policy) -> Result<()> {
    static INITIALIZING: Lock<()> = Lock::new(());
    // The handler must be installed before the lock is taken. It frees the lock in a process that another thread forks
    // meanwhile.
    after_fork::install(note_fork)?;
    let _locked = INITIALIZING.lock().ok_or(Error::WrongState)?;
    if SESSION.get().is_some() {
        return Err(Error::WrongState);
    }
    let session = Session::new(interval_ms, policy)?;
    after_fork::become_instance();
    SESSION.set(session).map_err(|_| Error::Internal)
}

/// Notes in the new process that it was forked: it has no callback thread, and the supervisor learns of the fork from
/// the control page. The C library calls this before fork(3) returns in the new process, also if a signal handler has
/// forked.
fn note_fork() {
    let Some(session) = current() else { return };
    session.has_thread.store(false, Ordering::Relaxed);
    if let Some(control_page) = session.control_page.get() {
        control_page.note_fork();
    }
}

/// Runs the callback thread: the body of the thread that [`Session::provide_thread`] makes. Returns when the session
/// has ended.
fn run_callback_thread() {
    if let Some(session) = current() {
        callback_thread::run(session);
    }
}

/// Logs an error that is a fault of this library, such as a panic.
pub fn complain(what: impl Display) {
    let route = current().map_or_else(Route::default, |session| session.settings.log);
    Log::open(route).say(Priority::Error, Step::Internal, what);
}

/// Logs the `error` of the C function `function` if it concerns corosync. For all other errors the code that the C
/// function returns says enough.
fn tell(settings: &Settings, function: &str, error: Error) {
    if matches!(error, Error::NotInstalled(_) | Error::Unreachable | Error::Corosync(_)) {
        Log::open(settings.log).say(
            Priority::Error,
            Step::Corosync,
            format_args!("{function} failed: {error}"),
        );
    }
}

/// Clears the parent-death signal of the calling thread, before the callback thread is made, which sets one of its own.
/// The kernel would send the application one SIGTERM for each thread. Returns `true` if the calling thread had that
/// signal.
fn hand_over_lifeline() -> bool {
    let had_one = process::signal_on_death_of_parent_now() == Some(Signal::TERM);
    if had_one {
        process::signal_on_death_of_parent(None);
    }
    had_one
}

impl Session {
    fn new(interval_ms: i32, policy: Policy) -> Result<Session> {
        let settings = Settings::read(program::variable).map_err(|malformed| {
            Log::open(malformed.log).say(Priority::Error, Step::Setting, malformed);
            Error::InvalidArgument
        })?;
        if policy.quorum {
            helper_handle::probe().inspect_err(|error| tell(&settings, "sam_initialize", *error))?;
        }
        Ok(Session {
            policy,
            settings,
            interval: u64::try_from(interval_ms).ok().filter(|&ms| ms > 0).map(Duration::from_millis),
            callbacks: match interval_ms {
                0 => Callbacks::Refused,
                1.. => Callbacks::Called,
                _ => Callbacks::Idle,
            },
            call_state: AtomicU8::new(CallState::Initialized as u8),
            control_page: SetOnce::empty(),
            doorbell: SetOnce::empty(),
            warn_signal: AtomicI32::new(settings.warn_signal.unwrap_or(libc::SIGTERM)),
            changes: AtomicU32::new(0),
            has_thread: AtomicBool::new(false),
            data: DataStore::empty(),
            registered: Lock::new(Registered::default()),
        })
    }

    /// Blocks all signals, and takes the lock that guards the session's state. Waits while other threads hold it.
    ///
    /// # Errors
    /// `WrongState` once the session is over. In a supervisor the session is over and the lock is closed, so a thread
    /// that the application started before `sam_register` does not wait there.
    fn lock(&self) -> Result<Locked<'_, Registered>> {
        let locked = self.registered.lock().ok_or(Error::WrongState)?;
        if self.is_over() { Err(Error::WrongState) } else { Ok(locked) }
    }

    #[inline]
    fn call_state(&self) -> CallState {
        CallState::ALL[usize::from(self.call_state.load(Ordering::Acquire)) % CallState::ALL.len()]
    }

    fn set_call_state(&self, call_state: CallState) {
        self.call_state.store(call_state as u8, Ordering::Release);
    }

    /// Returns the control page of the instance, for a call that is legal only in the states `call_state`.
    ///
    /// # Errors
    /// `WrongState` in other states, `SupervisorLost` if the supervisor has ended.
    #[inline]
    fn control_page_in(&self, call_state: &[CallState]) -> Result<&InstanceEnd> {
        if !call_state.contains(&self.call_state()) {
            return Err(Error::WrongState);
        }
        let control_page = self.control_page.get().ok_or(Error::WrongState)?;
        if control_page.supervisor_is_gone() { Err(Error::SupervisorLost) } else { Ok(control_page) }
    }

    /// Returns the control page of the instance, for a call that is legal until the session is over. `None` before
    /// `sam_register`.
    ///
    /// # Errors
    /// `WrongState` once the session is over, `SupervisorLost` if the supervisor has ended.
    fn control_page_if_any(&self) -> Result<Option<&InstanceEnd>> {
        match self.call_state() {
            CallState::Initialized => Ok(None),
            _ => self
                .control_page_in(&[CallState::Registered, CallState::Started, CallState::Stopped])
                .map(Some),
        }
    }

    /// Forks the first instance and makes this process the supervisor, see `sam_register`. Returns in each instance,
    /// with the instance id. In the supervisor it ends the process.
    pub fn register(&self) -> Result<u32> {
        let locked = self.lock()?;
        if self.call_state() != CallState::Initialized {
            return Err(Error::WrongState);
        }
        let mut slots = self.data.lock()?;
        let mut shared_slots = slots.share().map_err(|error| match error {
            Error::NoMemory => Error::System(libc::ENOMEM),
            error => error,
        })?;
        let Policy { recovery, quorum, cmap } = self.policy;
        let rules = Rules { interval: self.interval, recovery, quorum, cmap, settings: self.settings };
        let become_supervisor = || {
            // Other threads of the application remain in this process. Their calls fail from now on.
            self.set_call_state(CallState::Finalized);
            slots.clear();
            slots.close();
            locked.close();
        };
        let warn_signal = Signal::from_number(self.warn_signal.load(Ordering::Relaxed));
        let role = event_loop::supervise(rules, warn_signal, &become_supervisor);
        match role.inspect_err(|error| tell(&self.settings, "sam_register", *error))? {
            Role::Child(child) => {
                let Instance { id, control_page, doorbell } = child.take_over();
                after_fork::become_instance();
                self.control_page.set(control_page).map_err(|_| Error::Internal)?;
                if let Some(doorbell) = doorbell {
                    self.doorbell.set(doorbell).map_err(|_| Error::Internal)?;
                }
                slots.adopt(&mut shared_slots);
                self.set_call_state(CallState::Registered);
                Ok(id)
            }
            Role::Supervisor(status) => {
                // exit(3) runs the application's exit handlers in this process, and these may call the library.
                drop(slots);
                drop(locked);
                exit_as::exit_as(status)
            }
        }
    }

    /// Starts health checking of this instance, see `sam_start`.
    pub fn start(&self) -> Result<()> {
        if self.policy.quorum {
            self.wait_for_quorum()?;
        }
        let since = {
            let locked = self.lock()?;
            let control_page = self.startable()?;
            if locked.callback.is_some() {
                // A process that was forked from the instance has no callback thread yet.
                self.provide_thread()?;
            }
            let now = clock::now();
            control_page.heartbeat(now);
            self.enter(control_page, Phase::Started, now);
            self.set_call_state(CallState::Started);
            now
        };
        self.wait_until_published(since);
        Ok(())
    }

    /// Returns the control page for a call that starts health checking. If the calling process was forked from the
    /// instance, it also asks the supervisor to make it the instance when the present one exits with 0, as daemon(3)
    /// does.
    ///
    /// # Errors
    /// `WrongState` if health checking cannot be started now, `SupervisorLost` if the supervisor has ended.
    fn startable(&self) -> Result<&InstanceEnd> {
        let control_page = self.control_page_in(&[CallState::Registered, CallState::Stopped])?;
        /// The longest wait of a forked process for the exit of its parent, the instance that called daemon(3).
        const DAEMON_EXIT_TIMEOUT: Duration = Duration::from_millis(100);
        if after_fork::is_forked() {
            // Only an orphan gets the SIGTERM that tells of the end of the supervisor, see claim(). The program may
            // call no further function at which that could be made up for.
            after_fork::await_end_of_parent(DAEMON_EXIT_TIMEOUT);
            self.claim(control_page);
        } else {
            // The kernel has cleared the signal if the program has dropped its privileges since sam_register.
            self.arm_lifeline();
        }
        if control_page.supervisor_is_gone() { Err(Error::SupervisorLost) } else { Ok(control_page) }
    }

    /// Has the kernel send SIGTERM to this process when the supervisor, its parent, ends. Does nothing if the process
    /// has a callback thread, which sets that signal for itself.
    fn arm_lifeline(&self) {
        if !self.has_thread.load(Ordering::Relaxed) {
            process::signal_on_death_of_parent(Some(Signal::TERM));
        }
    }

    /// Stores the pid of the calling process, which was forked from the instance, on the control page: if the instance
    /// exits with 0, the supervisor adopts this process as the instance. Does nothing but mark this process as the
    /// instance if that has already happened.
    #[cold]
    fn claim(&self, control_page: &InstanceEnd) {
        let own = process::own_pid();
        let is_adopted = control_page.is_adopted(own.as_raw());
        if is_adopted || after_fork::is_orphan() {
            // While the parent is the process that forked this one, its end is not that of the supervisor.
            self.arm_lifeline();
        }
        if is_adopted {
            after_fork::become_instance();
        } else {
            control_page.claim(own.as_raw());
        }
    }

    /// Blocks the calling thread until the supervisor reports on the control page that the partition is quorate. Holds
    /// no lock and blocks no signal meanwhile, so a signal handler may call any function.
    fn wait_for_quorum(&self) -> Result<()> {
        let since = clock::now();
        {
            let _locked = self.lock()?;
            self.enter(self.startable()?, Phase::Waiting, since);
        }
        /// The time after which a waiting `sam_start` checks whether the supervisor has ended. The supervisor wakes it
        /// only for quorum, and not by its own end.
        const SUPERVISOR_POLL: Duration = Duration::from_millis(500);
        while !self
            .control_page_in(&[CallState::Registered, CallState::Stopped])?
            .wait_for_start_grant(since, SUPERVISOR_POLL)
        {}
        Ok(())
    }

    /// Stores on the control page that the instance starts, stops, waits or ends health checking. Wakes the cluster
    /// helper and the callback thread, which act on that.
    fn enter(&self, control_page: &InstanceEnd, phase: Phase, now: MonotonicTime) {
        control_page.enter(phase, now);
        if let Some(doorbell) = self.doorbell.get() {
            doorbell.rings().notify();
        }
        self.notify_thread();
    }

    /// Waits until corosync's cmap shows the phase of health checking, such as started, that the instance entered at
    /// `since`, or a later one. Waits for a second at most, because corosync may not answer. Sends heartbeats
    /// meanwhile, so that the supervisor does not take the wait for a hang.
    fn wait_until_published(&self, since: MonotonicTime) {
        const CMAP_ACK_TIMEOUT: Duration = Duration::from_secs(1);
        let Some(control_page) = self.control_page.get().filter(|_| self.policy.cmap) else { return };
        let beat = self.interval.map_or(CMAP_ACK_TIMEOUT, |interval| interval / 4);
        let deadline = clock::now() + CMAP_ACK_TIMEOUT;
        loop {
            let left = deadline.saturating_since(clock::now());
            if control_page.wait_until_published(since, left.min(beat))
                || left.is_zero()
                || control_page.supervisor_is_gone()
            {
                break;
            }
            let _ = self.heartbeat();
        }
        // The application's own silence begins now. Refused unless health checking is started.
        let _ = self.heartbeat();
    }

    /// Stops health checking of this instance, see `sam_stop`.
    pub fn stop(&self) -> Result<()> {
        let now = {
            let _locked = self.lock()?;
            let control_page = self.control_page_in(&[CallState::Started])?;
            if after_fork::is_forked() {
                self.claim(control_page);
            }
            let now = clock::now();
            self.set_call_state(CallState::Stopped);
            self.enter(control_page, Phase::Stopped, now);
            now
        };
        self.wait_until_published(now);
        Ok(())
    }

    /// Ends the session of this process, see `sam_finalize`.
    pub fn finalize(&self) -> Result<()> {
        let now = {
            let _locked = self.lock()?;
            self.set_call_state(CallState::Finalized);
            let now = clock::now();
            match self.control_page.get() {
                Some(control_page) => self.enter(control_page, Phase::Finalized, now),
                None => self.notify_thread(),
            }
            now
        };
        self.wait_until_published(now);
        Ok(())
    }

    /// Stores a heartbeat for the supervisor, see `sam_hc_send`.
    #[inline]
    pub fn heartbeat(&self) -> Result<()> {
        let control_page = self.control_page_in(&[CallState::Started])?;
        if after_fork::is_forked() {
            self.claim(control_page);
        }
        control_page.heartbeat(clock::now());
        Ok(())
    }

    /// Registers the application's health check callback, or removes it if `health_check` is `None`, see
    /// `sam_hc_callback_register`.
    pub fn register_callback(&self, health_check: Option<HealthCheck>) -> Result<()> {
        let mut locked = self.lock()?;
        self.control_page_in(&[CallState::Registered, CallState::Stopped])?;
        if self.callbacks == Callbacks::Refused || (health_check.is_none() && !locked.ever) {
            return Err(Error::InvalidArgument);
        }
        self.provide_thread()?;
        let mask = locked.mask_before();
        let callback = health_check.map(|health_check| Callback { health_check, mask });
        *locked = Registered { callback, ever: true };
        Ok(())
    }

    /// Makes the callback thread, unless this process has one or the interval says that callbacks are never called.
    fn provide_thread(&self) -> Result<()> {
        if self.callbacks != Callbacks::Called || self.has_thread.load(Ordering::Relaxed) {
            return Ok(());
        }
        let is_handed_over = hand_over_lifeline();
        thread::spawn_detached(run_callback_thread).map_err(|errno| {
            if is_handed_over {
                process::signal_on_death_of_parent(Some(Signal::TERM));
            }
            Error::System(errno)
        })?;
        self.has_thread.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Sets the number of the warning signal, 0 for none, see `sam_warn_signal_set`.
    pub fn set_warn_signal(&self, number: i32) -> Result<()> {
        let _locked = self.lock()?;
        let control_page = self.control_page_if_any()?;
        if number != 0 && Signal::from_number(number).is_none() {
            return Err(Error::InvalidArgument);
        }
        if self.settings.warn_signal.is_some() {
            // The administrator has chosen, because the program cannot be changed.
            return Ok(());
        }
        self.warn_signal.store(number, Ordering::Relaxed);
        if let Some(control_page) = control_page {
            control_page.set_warn_signal(number);
        }
        Ok(())
    }

    /// Returns the number of bytes that `sam_data_store` has stored, see `sam_data_getsize`. Works also if the
    /// supervisor has ended.
    pub fn stored_size(&self) -> Result<usize> {
        self.data()?.size()
    }

    /// Copies the data that `sam_data_store` has stored to `to`, see `sam_data_restore`. Works also if the supervisor
    /// has ended.
    pub fn restore(&self, to: OutBuf<'_>) -> Result<()> {
        self.data()?.restore(to)
    }

    /// Stores `data` for later instances, in place of earlier data, see `sam_data_store`.
    pub fn store(&self, data: InBuf<'_>) -> Result<()> {
        self.control_page_if_any()?;
        self.data.store(data)
    }

    fn data(&self) -> Result<&DataStore> {
        if self.is_over() { Err(Error::WrongState) } else { Ok(&self.data) }
    }

    /// Marks this instance as failed for good and kills it, see `sam_mark_failed`. The supervisor does not restart it.
    pub fn mark_failed(&self) -> Result<()> {
        let _locked = self.lock()?;
        let control_page =
            self.control_page_in(&[CallState::Registered, CallState::Started, CallState::Stopped])?;
        if !self.policy.cmap {
            return Err(Error::InvalidArgument);
        }
        control_page.mark_failed();
        signals::send_to_self(Signal::KILL);
        Ok(())
    }

    /// Wakes the callback thread, if there is one, after health checking was started or stopped or the session has
    /// ended.
    fn notify_thread(&self) {
        if self.has_thread.load(Ordering::Relaxed) {
            EventCount(&self.changes).notify();
        }
    }

    fn is_over(&self) -> bool {
        self.call_state() == CallState::Finalized
    }
}

impl callback_thread::Host for Session {
    fn interval(&self) -> Duration {
        self.interval.unwrap_or_default()
    }

    fn heartbeat(&self) -> Result<()> {
        self.heartbeat()
    }

    fn is_instance(&self) -> bool {
        !after_fork::is_forked()
            || self
                .control_page
                .get()
                .is_some_and(|control_page| control_page.is_adopted(process::own_pid().as_raw()))
    }

    fn is_child_of_supervisor(&self) -> bool {
        self.is_instance() || after_fork::is_orphan()
    }

    fn supervisor_is_gone(&self) -> bool {
        self.control_page.get().is_some_and(InstanceEnd::supervisor_is_gone)
    }

    fn changes(&self) -> EventCount<'_> {
        EventCount(&self.changes)
    }

    fn is_over(&self) -> bool {
        self.is_over()
    }

    fn callback_to_run(&self) -> Option<Callback> {
        let locked = self.lock().ok()?;
        locked.callback.filter(|_| self.call_state() == CallState::Started)
    }

    fn report_unhealthy(&self, is_current: &dyn Fn() -> bool) {
        let Ok(_locked) = self.lock() else { return };
        let Ok(control_page) = self.control_page_in(&[CallState::Started]) else { return };
        if is_current() {
            control_page.report_unhealthy(clock::now());
            if let Some(signal) = Signal::from_number(control_page.warn_signal()) {
                signals::send_to_self(signal);
            }
        }
    }
}
