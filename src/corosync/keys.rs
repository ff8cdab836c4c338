//! The keys of a supervisor in cmap: which are written when, and in what order.
//!
//! corosync's watchdog service begins to look when `state` is created, so `state` is written last and deleted
//! first. It takes every state but "stopped" as running and may reset the machine when `last_updated` is missing or
//! old.

#![forbid(unsafe_code)]

use std::ffi::{CStr, CString};

use super::desk::Desk;
use super::record::{Record, State};
use super::side::Subject;
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
pub struct Keys {
    names: Names,
    subject: Subject,
    /// What this process has written, and nobody else changes.
    written: Option<Record>,
    /// Whether what is there may be what an earlier supervisor with this pid has left behind.
    foreign: bool,
}

impl Keys {
    /// The keys of a supervisor.
    pub fn new(subject: Subject, desk: &Desk) -> Keys {
        let name =
            |key: &str| CString::new(format!("resources.process.{}.{key}", subject.pid)).unwrap_or_default();
        let names = Names {
            recovery: name("recovery"),
            poll_period: name("poll_period"),
            last_updated: name("last_updated"),
            state: name("state"),
        };
        Keys { names, subject, written: None, foreign: desk.report().shown.is_none() }
    }

    /// Nothing is known of them any more.
    pub fn forget(&mut self) {
        self.written = None;
    }

    /// Shows what the supervisor wants to be shown. Whether the desk's word on that was changed, though perhaps to
    /// what it was.
    pub fn show(&mut self, cmap: &Cmap<'_>, desk: &Desk) -> Result<bool, Refusal> {
        let Some(wanted) = desk.wanted() else { return Ok(false) };
        let is_shown = desk.report().shown == Some(wanted.state);
        if is_shown && self.written.is_some_and(|written| written.state == wanted.state) {
            return self.write(cmap, wanted).map(|()| false);
        }
        desk.set_shown(None);
        let Some(wanted) = desk.wanted() else { return Ok(true) };
        if self.written.is_none() {
            self.write_anew(cmap, wanted)?;
        } else {
            self.write(cmap, wanted)?;
        }
        desk.set_shown(Some(wanted.state));
        Ok(true)
    }

    /// Writes all of it, to a corosync that may know nothing of it, or what an earlier process wrote.
    fn write_anew(&mut self, cmap: &Cmap<'_>, wanted: Record) -> Result<(), Refusal> {
        if self.foreign || wanted.state == State::Gone {
            self.delete(cmap, wanted)?;
            self.foreign = false;
        }
        if wanted.state == State::Gone {
            return Ok(());
        }
        let found = cmap.string(&self.names.state)?;
        cmap.set_string(&self.names.recovery, self.subject.policy.recovery.name())?;
        cmap.set_uint64(&self.names.poll_period, self.subject.interval)?;
        cmap.set_uint64(&self.names.last_updated, wanted.last_updated)?;
        self.write_state(cmap, found.as_deref(), wanted.state)?;
        self.written = Some(wanted);
        Ok(())
    }

    fn write_state(&self, cmap: &Cmap<'_>, found: Option<&CStr>, state: State) -> Result<(), Refusal> {
        match state.name() {
            Some(name) if found != Some(name) => cmap.set_string(&self.names.state, name),
            _ => Ok(()),
        }
    }

    /// Writes what is new.
    fn write(&mut self, cmap: &Cmap<'_>, wanted: Record) -> Result<(), Refusal> {
        let Some(written) = self.written else { return Ok(()) };
        if wanted.state == State::Gone {
            return if written.state == State::Gone { Ok(()) } else { self.delete(cmap, wanted) };
        }
        if wanted.last_updated != written.last_updated {
            cmap.set_uint64(&self.names.last_updated, wanted.last_updated)?;
        }
        self.written = Some(Record { last_updated: wanted.last_updated, ..written });
        self.write_state(cmap, written.state.name(), wanted.state)?;
        self.written = Some(wanted);
        Ok(())
    }

    fn delete(&mut self, cmap: &Cmap<'_>, wanted: Record) -> Result<(), Refusal> {
        self.written = None;
        for key in
            [&self.names.state, &self.names.last_updated, &self.names.poll_period, &self.names.recovery]
        {
            cmap.delete(key)?;
        }
        self.written = Some(wanted);
        Ok(())
    }
}
