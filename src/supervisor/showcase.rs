//! What sam-status sees of a supervisor: its status page and the boards of its instances, each a memory file of its
//! own. Where there can be no such files, the boards are anonymous pages and nothing is seen.

#![forbid(unsafe_code)]

use crate::board::Board;
use crate::status::{self, Status};
use crate::sys::shared_page::SharedPage;

/// The supervisor's end.
#[derive(Debug)]
pub struct Showcase(Option<Open>);

#[derive(Debug)]
struct Open {
    page: SharedPage,
    shown: Option<Status>,
}

impl Showcase {
    /// An empty one.
    pub fn open() -> Showcase {
        let open = || {
            let mut page = SharedPage::in_file(status::FILE)?;
            // No instance may say how it stands with it.
            page.keep_to_this_process()?;
            nix::Result::Ok(Open { page, shown: None })
        };
        Showcase(open().ok())
    }

    /// Makes a board for an instance.
    pub fn board(&self) -> nix::Result<Board> {
        match self.0.as_ref().and_then(|_| SharedPage::in_file(status::BOARD_FILE).ok()) {
            Some(page) => Ok(Board::on(page)),
            None => Board::new(0),
        }
    }

    /// Shows it.
    pub fn show(&mut self, status: &Status) {
        let Some(open) = &mut self.0 else { return };
        if open.shown.as_ref() != Some(status) {
            status::page::write(status, &open.page);
            open.shown = Some(status.clone());
        }
    }
}
