//! The supervisor's side of sam-status: writes the status page, and makes the control pages as memory files that
//! sam-status can read. If the kernel refuses such files, the control pages are anonymous memory, and sam-status shows
//! nothing.

#![forbid(unsafe_code)]

use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::fence;
use std::time::Duration;

use nix::unistd::Pid;

use super::log_event::{Kind, LogEvent};
use crate::shared::control_page::ControlPage;
use crate::shared::status_page::{
    self, Details, EndStatus, FIRST, LastEnd, RecentRestarts, SEQUENCE, Status, Text, Words,
};
use crate::sys::process::ExitStatus;
use crate::sys::shared_page::SharedPage;
use crate::time::{self, MonotonicTime};

/// The status page of the supervisor, if there is one.
#[derive(Debug)]
pub struct StatusWriter(Option<SharedPage>);

impl StatusWriter {
    /// Makes an empty status page. Without memory or descriptors there is none.
    pub fn open() -> StatusWriter {
        let open = || {
            let mut page = SharedPage::in_file(status_page::FILE)?;
            // No instance may write to the page.
            page.keep_to_this_process()?;
            nix::Result::Ok(page)
        };
        StatusWriter(open().ok())
    }

    /// Makes a control page, which is the memory that one instance will share with the supervisor. The page is a memory
    /// file that sam-status can read, or anonymous memory if the kernel refuses such a file.
    ///
    /// # Errors
    /// The kernel refused the memory.
    pub fn control_page(&self) -> nix::Result<ControlPage> {
        match self.0.as_ref().and_then(|_| SharedPage::in_file(status_page::CONTROL_PAGE_FILE).ok()) {
            Some(page) => Ok(ControlPage::on(page)),
            None => ControlPage::new(),
        }
    }

    /// Writes the status to the page, if it has changed.
    pub fn write(&self, status: &Status) {
        if let Some(page) = &self.0 {
            store(status, page);
        }
    }
}

/// Returns the details of a supervisor that has done nothing yet.
pub fn details() -> Details {
    Details {
        version: Text::of(env!("CARGO_PKG_VERSION")),
        born: 0,
        recent_restarts: RecentRestarts::default(),
        last_end: None,
    }
}

/// Records what a log line that is written at `now` changes. `since_1970` is the same time of the other clock.
pub fn note(details: &mut Details, event: &LogEvent, now: MonotonicTime, since_1970: Duration) {
    match event.kind {
        Kind::Restarted { .. } => details.recent_restarts.count(now.as_ns()),
        Kind::Lost { status, .. } => {
            details.last_end = Some(LastEnd {
                id: event.id.unwrap_or(0),
                pid: event.pid.map_or(0, Pid::as_raw),
                at: time::ns(since_1970),
                status: end_status(status),
                reason: Text::of(event.reason().unwrap_or("unknown")),
            });
        }
        _ => {}
    }
}

/// Returns an exit status as the status page shows it.
fn end_status(status: ExitStatus) -> EndStatus {
    match status {
        ExitStatus::Exited(code) => EndStatus::Exited(code),
        ExitStatus::Killed { signal, core } => EndStatus::Killed { signal: signal.number(), core },
        ExitStatus::Unknown => EndStatus::Unknown,
    }
}

/// Stores `status` on `page`, if it is not there yet. A reader that finds the same even sequence before and after has
/// read all of one status.
fn store(status: &Status, page: &SharedPage) {
    const { assert!(size_of::<Words>() / size_of::<u64>() <= SharedPage::WORDS) };
    let (from, to) = (status.words(), page.words());
    let changed = || from.iter().zip(to).skip(FIRST).filter(|(from, to)| **from != to.load(Relaxed));
    if changed().next().is_none() {
        return;
    }
    let sequence = to[SEQUENCE].load(Relaxed);
    to[SEQUENCE].store(sequence + 1, Relaxed);
    fence(Release);
    to[0].store(from[0], Relaxed);
    for (from, to) in changed() {
        to.store(*from, Relaxed);
    }
    to[SEQUENCE].store(sequence + 2, Release);
}

#[cfg(test)]
mod tests {
    use super::super::log_event::Reason;
    use super::*;
    use crate::sys::signals::Signal;

    #[test]
    fn status_is_complete_when_sequence_is_even() {
        let page = SharedPage::new().unwrap();
        for (id, sequence) in [(1, 2), (2, 4), (2, 4)] {
            let status = Status { id, ..Status::example() };
            store(&status, &page);
            let words: Vec<u64> = page.words().iter().map(|word| word.load(Relaxed)).collect();
            let words = words.first_chunk().unwrap();
            assert_eq!((status_page::sequence(words), Status::read(words)), (sequence, Ok(status)));
        }
    }

    #[test]
    fn end_and_restart_are_recorded_as_the_log_tells_them() {
        let mut details = details();
        let now = MonotonicTime::from_ns(5_000_000_000);
        let mut log = |kind| {
            let event = LogEvent { id: Some(3), pid: Some(Pid::from_raw(455)), kind };
            note(&mut details, &event, now, Duration::from_nanos(88));
        };
        let status = ExitStatus::Killed { signal: Signal::ABRT, core: true };
        log(Kind::Lost { status, reason: Some(Reason::Silent), planned: false, restarts: true });
        log(Kind::Restarted { took: Duration::ZERO });
        log(Kind::CorosyncLost { loses_quorum: true });
        let status = EndStatus::Killed { signal: 6, core: true };
        let end = LastEnd { id: 3, pid: 455, at: 88, status, reason: Text::of("silent") };
        assert_eq!(details.last_end, Some(end));
        assert_eq!(details.recent_restarts.number_at(now.as_ns()), 1);
    }
}
