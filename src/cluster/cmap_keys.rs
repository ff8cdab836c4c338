//! The keys of a supervisor in cmap.
//!
//! corosync's watchdog service watches a process from the moment when its key `state` is created. So the helper writes
//! `state` last and deletes it first. The watchdog takes every state but "stopped" for running, and may reset the
//! machine if `last_updated` is missing or old.

#![forbid(unsafe_code)]

use std::ffi::{CStr, CString};

use super::Subject;
use crate::policy::Recovery;
use crate::shared::cmap_record::{CmapRecord, CmapState};
use crate::shared::mailbox::HelperEnd;
use crate::sys::client_library::Refusal;
use crate::sys::cmap::Cmap;
use crate::time::MonotonicTime;

/// The names of the four keys that describe one supervisor in corosync's cmap. Each is `resources.process.PID.` with
/// the pid of the supervisor, followed by the name of the field.
#[derive(Debug)]
struct Names {
    recovery: CString,
    poll_period: CString,
    last_updated: CString,
    state: CString,
}

/// The four keys of one supervisor in corosync's cmap, and the values that the cluster helper has written there.
#[derive(Debug)]
pub struct CmapKeys {
    names: Names,
    subject: Subject,
    /// The values that this cluster helper wrote to cmap last. `None`: it has written nothing since it started or
    /// corosync ended, or a deletion was cut off. No other process changes the keys.
    written: Option<CmapRecord>,
    /// `true` if cmap may contain keys that an earlier supervisor with the same pid left behind. The cluster helper
    /// deletes such keys before it writes its own.
    may_be_foreign: bool,
}

impl CmapKeys {
    /// Returns the cmap keys of the supervisor that `subject` describes. Writes nothing to cmap yet. If no helper has
    /// stored a published state in `mailbox`, existing keys in cmap may be those of an earlier process with the same
    /// pid.
    pub fn new(subject: Subject, mailbox: HelperEnd<'_>) -> CmapKeys {
        let name =
            |key: &str| CString::new(format!("resources.process.{}.{key}", subject.pid)).unwrap_or_default();
        let names = Names {
            recovery: name("recovery"),
            poll_period: name("poll_period"),
            last_updated: name("last_updated"),
            state: name("state"),
        };
        CmapKeys { names, subject, written: None, may_be_foreign: mailbox.report().published.is_none() }
    }

    /// Forgets the values that this cluster helper has written to cmap. Called when corosync has ended: its cmap is in
    /// memory, so the keys are gone and all must be written again.
    pub fn forget(&mut self) {
        self.written = None;
    }

    /// Writes to cmap what the supervisor has requested in the mailbox, and stores the state that cmap shows in the
    /// mailbox. Returns `false` if the mailbox contained that state already. After `true` the caller wakes the
    /// supervisor.
    ///
    /// # Errors
    /// The error of corosync's client library. In this case some keys may be written and others not.
    pub fn publish(&mut self, cmap: &Cmap<'_>, mailbox: HelperEnd<'_>) -> Result<bool, Refusal> {
        let Some(requested) = mailbox.requested() else { return Ok(false) };
        let is_published = mailbox.report().published == Some(requested.state);
        if is_published && self.written.is_some_and(|written| written.state == requested.state) {
            return self.write(cmap, requested).map(|()| false);
        }
        mailbox.set_published(None);
        let Some(requested) = mailbox.requested() else { return Ok(true) };
        if self.written.is_none() {
            self.write_all(cmap, requested)?;
        } else {
            self.write(cmap, requested)?;
        }
        mailbox.set_published(Some(requested.state));
        Ok(true)
    }

    /// Writes all four keys of the supervisor to cmap, `state` last. Used when the cluster helper has not written them
    /// yet, so that cmap has none of them, or those of an earlier process with the same pid.
    fn write_all(&mut self, cmap: &Cmap<'_>, requested: CmapRecord) -> Result<(), Refusal> {
        if self.may_be_foreign || requested.state == CmapState::Gone {
            self.delete(cmap, requested)?;
            self.may_be_foreign = false;
        }
        if requested.state == CmapState::Gone {
            return Ok(());
        }
        let found = cmap.string(&self.names.state)?;
        cmap.set_string(&self.names.recovery, recovery_name(self.subject.policy.recovery))?;
        cmap.set_uint64(
            &self.names.poll_period,
            self.subject.interval.map_or(0, |interval| interval.as_millis() as u64),
        )?;
        cmap.set_uint64(&self.names.last_updated, last_updated(requested))?;
        self.write_state(cmap, found.as_deref(), requested.state)?;
        self.written = Some(requested);
        Ok(())
    }

    fn write_state(&self, cmap: &Cmap<'_>, found: Option<&CStr>, state: CmapState) -> Result<(), Refusal> {
        match state.name() {
            Some(name) if found != Some(name) => cmap.set_string(&self.names.state, name),
            _ => Ok(()),
        }
    }

    /// Writes the keys `last_updated` and `state` to cmap where `requested` differs from what the cluster helper wrote
    /// last. For the state [`CmapState::Gone`], deletes all keys. Does nothing before
    /// [`write_all`](CmapKeys::write_all).
    fn write(&mut self, cmap: &Cmap<'_>, requested: CmapRecord) -> Result<(), Refusal> {
        let Some(written) = self.written else { return Ok(()) };
        if requested.state == CmapState::Gone {
            return if written.state == CmapState::Gone { Ok(()) } else { self.delete(cmap, requested) };
        }
        if requested.last_updated != written.last_updated {
            cmap.set_uint64(&self.names.last_updated, last_updated(requested))?;
        }
        self.written = Some(CmapRecord { last_updated: requested.last_updated, ..written });
        self.write_state(cmap, written.state.name(), requested.state)?;
        self.written = Some(requested);
        Ok(())
    }

    fn delete(&mut self, cmap: &Cmap<'_>, requested: CmapRecord) -> Result<(), Refusal> {
        self.written = None;
        for key in
            [&self.names.state, &self.names.last_updated, &self.names.poll_period, &self.names.recovery]
        {
            cmap.delete(key)?;
        }
        self.written = Some(requested);
        Ok(())
    }
}

/// Returns the value of the cmap key `last_updated`: the time of the last heartbeat, in ns of CLOCK_MONOTONIC, or 0 if
/// the record has none.
fn last_updated(record: CmapRecord) -> u64 {
    record.last_updated.map_or(0, MonotonicTime::as_ns)
}

/// Returns the value of the cmap key `recovery`, by which corosync's watchdog service learns the recovery policy of the
/// program.
fn recovery_name(recovery: Recovery) -> &'static CStr {
    match recovery {
        Recovery::Quit => c"quit",
        Recovery::Restart => c"restart",
    }
}
