//! The keys of a supervisor in cmap: which are written when, and in what order.
//!
//! corosync's watchdog service begins to look when `state` is created, so `state` is written last and deleted
//! first. It takes every state but "stopped" as running and may reset the machine when `last_updated` is missing or
//! old.

#![forbid(unsafe_code)]

use std::ffi::{CStr, CString};

use super::Subject;
use crate::policy::Recovery;
use crate::shared::cmap_record::{CmapRecord, CmapState};
use crate::shared::mailbox::HelperEnd;
use crate::sys::client_library::Refusal;
use crate::sys::cmap::Cmap;

/// The names of the keys.
#[derive(Debug)]
struct Names {
    recovery: CString,
    poll_period: CString,
    last_updated: CString,
    state: CString,
}

/// The keys, and what is known of them.
#[derive(Debug)]
pub struct CmapKeys {
    names: Names,
    subject: Subject,
    /// What this process has written, and nobody else changes.
    written: Option<CmapRecord>,
    /// Whether what is there may be what an earlier supervisor with this pid has left behind.
    may_be_foreign: bool,
}

impl CmapKeys {
    /// The keys of a supervisor.
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

    /// Nothing is known of them any more.
    pub fn forget(&mut self) {
        self.written = None;
    }

    /// Shows what the supervisor wants to be shown. Whether the desk's word on that was changed, though perhaps to
    /// what it was.
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

    /// Writes all of it, to a corosync that may know nothing of it, or what an earlier process wrote.
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
        cmap.set_uint64(&self.names.poll_period, self.subject.interval)?;
        cmap.set_uint64(&self.names.last_updated, requested.last_updated)?;
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

    /// Writes what is new.
    fn write(&mut self, cmap: &Cmap<'_>, requested: CmapRecord) -> Result<(), Refusal> {
        let Some(written) = self.written else { return Ok(()) };
        if requested.state == CmapState::Gone {
            return if written.state == CmapState::Gone { Ok(()) } else { self.delete(cmap, requested) };
        }
        if requested.last_updated != written.last_updated {
            cmap.set_uint64(&self.names.last_updated, requested.last_updated)?;
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

/// Returns the value of the key `recovery`.
fn recovery_name(recovery: Recovery) -> &'static CStr {
    match recovery {
        Recovery::Quit => c"quit",
        Recovery::Restart => c"restart",
    }
}
