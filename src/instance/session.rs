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
use crate::sys::signals::Signal;
use crate::sys::{after_fork, clock, exit_as, process, program, signals, thread};
use crate::time::MonotonicTime;

static SESSION: OnceCell<Session> = OnceCell::new();

/// The state of the session: which calls the application has made, and so which calls are legal next.
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

/// The session that `sam_initialize` opens.
#[derive(Debug)]
pub struct Session {
    policy: Policy,
    settings: Settings,
    /// The longest silence that is allowed between two heartbeats. `None`: no limit.
    interval: Option<Duration>,
    callbacks: Callbacks,
    call_state: AtomicU8,
    /// The control page. Set in an instance, when `sam_register` returns.
    control_page: OnceCell<InstanceEnd>,
    /// The doorbell that wakes the supervisor. Instances without QUORUM and CMAP have none.
    doorbell: OnceCell<Doorbell>,
    /// The warning signal. Once there is a control page, the one there counts.
    warn_signal: AtomicI32,
    /// Counts the changes that the callback thread has to look at.
    changes: AtomicU32,
    has_thread: AtomicBool,
    data: DataStore,
    registered: Lock<Registered>,
}

/// The use of callbacks, which depends on the interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Callbacks {
    /// The session calls callbacks once per interval.
    Called,
    /// The session accepts callbacks and never calls them, because the interval is negative.
    Idle,
    /// The session refuses callbacks, because the interval is 0.
    Refused,
}

/// The callback that the application has registered.
#[derive(Debug, Default)]
struct Registered {
    callback: Option<Callback>,
    /// `true` if the application has ever registered a callback.
    ever: bool,
}

/// Returns the session of this process. `None` before `sam_initialize`.
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

/// Opens the session, see `sam_initialize`. `interval_ms` is the longest silence allowed; 0 or negative: no limit.
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

/// Marks a forked process. The C library calls it in the new process before fork(3) returns there, also if a signal
/// handler has forked.
fn note_fork() {
    let Some(session) = current() else { return };
    session.has_thread.store(false, Ordering::Relaxed);
    if let Some(control_page) = session.control_page.get() {
        control_page.note_fork();
    }
}

/// Runs the callback thread.
fn run_callback_thread() {
    if let Some(session) = current() {
        callback_thread::run(session);
    }
}

/// Logs an error that is a fault of this library.
pub fn complain(what: impl Display) {
    let route = current().map_or_else(Route::default, |session| session.settings.log);
    Log::open(route).say(Priority::Error, Step::Internal, what);
}

/// Logs an error that the returned code alone does not explain.
fn tell(settings: &Settings, error: Error) {
    if matches!(error, Error::NotInstalled(_) | Error::Unreachable | Error::Corosync(_)) {
        Log::open(settings.log).say(Priority::Error, Step::Corosync, error);
    }
}

/// Clears the parent-death signal of the calling thread, because the callback thread, which is made next, arms its own.
/// With both the kernel would send two signals. Returns `true` if the calling thread had one.
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
            helper_handle::probe().inspect_err(|error| tell(&settings, *error))?;
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
            control_page: OnceCell::new(),
            doorbell: OnceCell::new(),
            warn_signal: AtomicI32::new(settings.warn_signal.unwrap_or(libc::SIGTERM)),
            changes: AtomicU32::new(0),
            has_thread: AtomicBool::new(false),
            data: DataStore::new()?,
            registered: Lock::new(Registered::default()),
        })
    }

    /// Takes the session's lock and blocks all signals. Waits for other threads.
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

    /// Returns the control page for a call that is legal in the states `call_state` alone, and needs a supervisor.
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

    /// Returns the control page for a call that is legal until the session is over. `None` before `sam_register`.
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

    /// Forks, see `sam_register`. Returns in each instance, with the instance id.
    pub fn register(&self) -> Result<u32> {
        let locked = self.lock()?;
        if self.call_state() != CallState::Initialized {
            return Err(Error::WrongState);
        }
        let mut slots = self.data.lock()?;
        let shared_slots = slots.share().map_err(|error| match error {
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
        match role.inspect_err(|error| tell(&self.settings, *error))? {
            Role::Child(child) => {
                let Instance { id, control_page, doorbell } = child.take_over();
                after_fork::become_instance();
                self.control_page.set(control_page).map_err(|_| Error::Internal)?;
                if let Some(doorbell) = doorbell {
                    self.doorbell.set(doorbell).map_err(|_| Error::Internal)?;
                }
                slots.adopt(shared_slots);
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

    /// Starts health checking, see `sam_start`.
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

    /// Returns the control page for a call that starts health checking. A process that the instance forked asks for
    /// adoption here.
    ///
    /// # Errors
    /// `WrongState` if health checking cannot be started now, `SupervisorLost` if the supervisor has ended.
    fn startable(&self) -> Result<&InstanceEnd> {
        let control_page = self.control_page_in(&[CallState::Registered, CallState::Stopped])?;
        /// The longest wait for the exit of a parent that called daemon(3).
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

    /// Has the kernel send SIGTERM to this process when its parent ends. A callback thread arms the signal itself.
    fn arm_lifeline(&self) {
        if !self.has_thread.load(Ordering::Relaxed) {
            process::signal_on_death_of_parent(Some(Signal::TERM));
        }
    }

    /// Asks for adoption of the calling process, which was forked from the instance: if the instance exits with 0, the
    /// supervisor makes this process the instance.
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

    /// Waits until the supervisor lets the instance start. Holds no lock and blocks no signal while it waits, so a
    /// signal handler may call any function.
    fn wait_for_quorum(&self) -> Result<()> {
        let since = clock::now();
        {
            let _locked = self.lock()?;
            self.enter(self.startable()?, Phase::Waiting, since);
        }
        /// The time between two looks whether the supervisor has ended. Its end wakes no waiter.
        const SUPERVISOR_POLL: Duration = Duration::from_millis(500);
        while !self
            .control_page_in(&[CallState::Registered, CallState::Stopped])?
            .wait_for_start_grant(since, SUPERVISOR_POLL)
        {}
        Ok(())
    }

    /// Stores a new phase on the control page, and wakes the cluster helper and the callback thread.
    fn enter(&self, control_page: &InstanceEnd, phase: Phase, now: MonotonicTime) {
        control_page.enter(phase, now);
        if let Some(doorbell) = self.doorbell.get() {
            doorbell.rings().notify();
        }
        self.notify_thread();
    }

    /// Waits until cmap shows the phase that was entered at `since`, or a later one. Waits for a second at most,
    /// because corosync may not answer. Sends heartbeats meanwhile, so that the supervisor does not take the wait for a
    /// hang.
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

    /// Stops health checking, see `sam_stop`.
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

    /// Ends the session, see `sam_finalize`.
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

    /// Sends a heartbeat, see `sam_hc_send`.
    #[inline]
    pub fn heartbeat(&self) -> Result<()> {
        let control_page = self.control_page_in(&[CallState::Started])?;
        if after_fork::is_forked() {
            self.claim(control_page);
        }
        control_page.heartbeat(clock::now());
        Ok(())
    }

    /// Registers or removes the callback, see `sam_hc_callback_register`.
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

    /// Makes the callback thread, unless this process has one or the session never calls callbacks.
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

    /// Sets the warning signal, see `sam_warn_signal_set`.
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

    /// Returns the size of the stored data in bytes, see `sam_data_getsize`. Needs no supervisor.
    pub fn stored_size(&self) -> Result<usize> {
        self.data()?.size()
    }

    /// Copies the stored data to `to`, see `sam_data_restore`. Needs no supervisor.
    pub fn restore(&self, to: OutBuf<'_>) -> Result<()> {
        self.data()?.restore(to)
    }

    /// Stores data for later instances, see `sam_data_store`.
    pub fn store(&self, data: InBuf<'_>) -> Result<()> {
        self.control_page_if_any()?;
        self.data.store(data)
    }

    fn data(&self) -> Result<&DataStore> {
        if self.is_over() { Err(Error::WrongState) } else { Ok(&self.data) }
    }

    /// Ends the instance for good, see `sam_mark_failed`.
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

    /// Wakes the callback thread, if there is one, so that it looks at what has changed.
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
