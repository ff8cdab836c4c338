//! What sam-status sees of a supervisor: its status page and the boards of its instances, each a memory file of its
//! own. Where there can be no such files, the boards are anonymous pages and nothing is seen.

#![forbid(unsafe_code)]

use crate::shared::control_page::ControlPage;
use crate::shared::status_page::{self, Status};
use crate::sys::shared_page::SharedPage;

/// The supervisor's end.
#[derive(Debug)]
pub struct StatusWriter(Option<Open>);

#[derive(Debug)]
struct Open {
    page: SharedPage,
    written: Option<Status>,
}

impl StatusWriter {
    /// An empty one.
    pub fn open() -> StatusWriter {
        let open = || {
            let mut page = SharedPage::in_file(status_page::FILE)?;
            // No instance may say how it stands with it.
            page.keep_to_this_process()?;
            nix::Result::Ok(Open { page, written: None })
        };
        StatusWriter(open().ok())
    }

    /// Makes a board for an instance.
    pub fn control_page(&self) -> nix::Result<ControlPage> {
        match self.0.as_ref().and_then(|_| SharedPage::in_file(status_page::CONTROL_PAGE_FILE).ok()) {
            Some(page) => Ok(ControlPage::on(page)),
            None => ControlPage::new(0),
        }
    }

    /// Shows it.
    pub fn write(&mut self, status: &Status) {
        let Some(open) = &mut self.0 else { return };
        if open.written.as_ref() != Some(status) {
            status_page::page::write(status, &open.page);
            open.written = Some(status.clone());
        }
    }
}
